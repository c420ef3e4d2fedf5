"""The guard around every test run."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest


def test_a_test_cannot_reach_another_host() -> None:
    """Connecting to, or looking up, anything but loopback fails before a packet leaves."""
    with socket.socket() as sock, pytest.raises(RuntimeError, match="loopback only"):
        sock.connect(("192.0.2.1", 80))
    with pytest.raises(RuntimeError, match="loopback only"):
        socket.getaddrinfo("api.binance.com", 443)


def test_a_process_that_a_test_starts_cannot_either() -> None:
    """Children inherit the guard."""
    code = "import socket; socket.create_connection(('192.0.2.1', 80), 1)"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "loopback only" in child.stderr
