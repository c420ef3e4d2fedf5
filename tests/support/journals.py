"""Journals to test with: intents, processes that share one, and what is on disk."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from typing import TYPE_CHECKING

import pytest

from nbext.entries import Entry, Intent

if TYPE_CHECKING:
    from pathlib import Path

    from nbext.journal import Journal

NOW = 1_700_000_000_000
OUTCOME = {"symbol": "BTCUSDT", "orderId": 2**63 - 1, "outcome": "canceled"}
PRELUDE = """
import os, sys, threading, time
from pathlib import Path
from nbext.entries import Intent
from nbext.journal import Journal

def intent(name, call="c"):
    return Intent(name, call, 1, 2, "local", "localhost", "DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"})

def put(name):
    # A busy machine may keep a lock for longer than anybody waits; that is said, and no other reason is good.
    while reason := journal.intend([intent(name)]):
        assert reason.endswith("200 ms"), reason

path = Path(sys.argv[1])
journal = Journal(path)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="owners, modes and signals as POSIX has them")
root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")


def intent(name: str = "one", *, call: str = "call", deadline: int = NOW) -> Intent:
    """Make an intent like those of a cancel-all."""
    return Intent(
        name, call, NOW, deadline, "local", "127.0.0.1:1", "DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"}
    )


def conclude(journal: Journal, name: str = "one", *, answer: bytes | None = b"[]") -> str:
    """Conclude an intent with a cancel of one order."""
    return journal.conclude(name, http_status=200, answer=answer, outcomes=[OUTCOME])


def ids(journal: Journal) -> list[str]:
    """Names of the intents in a journal."""
    return [entry.intent.id for entry in journal.entries()]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that has the journal of its first argument."""
    program = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(code: str, *arguments: object) -> str:
    """Return what such a process says until it has ended well."""
    process = start(code, *arguments)
    said, _ = process.communicate()
    assert process.returncode == 0
    return said


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Return all that stands in a folder, to the byte."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir()) if path.is_file()
    }


def commits(path: Path) -> int:
    """Return the file change counter of a database, which every transaction that changes it makes one larger."""
    return int.from_bytes(path.read_bytes()[24:28], "big")


def unsettled(journal: Journal, now: int) -> list[Entry]:
    """Read what is overdue, without the numbers."""
    return [entry for _, entry in journal.overdue(now)]
