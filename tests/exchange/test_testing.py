"""The fixture for other people's tests, used as they would use it."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

import pytest
from support.exchange_client import OPEN_ORDERS, Client

from nbext.exchange import LocalExchange

if TYPE_CHECKING:
    from pathlib import Path

OPTED_IN = """
pytest_plugins = ["nbext.exchange.testing"]

def test_nothing_is_open(local_exchange):
    assert local_exchange.url.startswith("http://127.0.0.1:")
    assert local_exchange.open_orders() == []
"""


def test_one_line_opts_in(tmp_path: Path) -> None:
    """A module that names the plugin gets the fixture, and needs nothing else."""
    (tmp_path / "test_mine.py").write_text(OPTED_IN)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "-q",
        "-p",
        "no:cacheprovider",
        "--rootdir",
        str(tmp_path),
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, cwd=tmp_path)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("turn", [1, 2, 3])
def test_each_test_finds_the_seeded_start(local_exchange: LocalExchange, turn: int) -> None:
    """The next test finds none of what one leaves behind: orders, faults, limits, record."""
    gtc = {"timeInForce": "GTC", "quantity": "0.1", "price": "50000"}
    first = LocalExchange().place("BTCUSDT", "BUY", "LIMIT", **gtc)["orderId"]
    with Client(local_exchange.url, local_exchange.api_key, local_exchange.secret_key) as client:
        assert local_exchange.open_orders() == local_exchange.requests() == local_exchange.faults.pending() == []
        placed = [client.limit("BUY", 50000) for _ in range(turn)]
        assert placed[0].body["orderId"] == first
        assert placed[-1].headers["X-MBX-ORDER-COUNT-1D"] == str(turn)
    local_exchange.faults.fail("GET", OPEN_ORDERS, times=None)
    local_exchange.faults.skew = 500
    local_exchange.faults.lag = 5


@pytest.fixture
def seen_url(local_exchange_server: LocalExchange) -> str:
    """Return the server's URL without resetting it."""
    return local_exchange_server.url


def test_one_server_serves_all_tests(seen_url: str, local_exchange: LocalExchange) -> None:
    """The server stays the same; only its contents are reset."""
    assert local_exchange.url == seen_url


def test_the_fixture_is_opt_in() -> None:
    """No entry point loads the plugin, and the exchange alone does not import pytest."""
    code = "import sys, nbext.exchange; print('pytest' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == "False"
    assert not [each for each in entry_points(group="pytest11") if each.value.startswith("nbext")]
