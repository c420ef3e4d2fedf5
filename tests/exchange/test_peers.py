"""Other people's clients, unmodified, against the exchange: they should not notice the difference."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nbext.exchange import LocalExchange

PEERS = Path(__file__).parent / "peers"
# Each lives in an environment of its own, since they share an import name. Read before a fixture clears NBEXT_*.
PYTHONS = {
    "python_binance": os.environ.get("NBEXT_PEER_PYTHON_BINANCE"),
    "binance_connector": os.environ.get("NBEXT_PEER_BINANCE_CONNECTOR"),
}


README = Path(__file__).parents[2] / "README.md"
BALANCES = {"python_binance": "client.get_account()['balances']", "binance_connector": "client.account()['balances']"}


def interpreter(peer: str) -> str:
    """Return the Python that has a client; skip if there is none, but fail in CI."""
    python = PYTHONS[peer]
    if python is None:
        reason = f"NBEXT_PEER_{peer.upper()} names no interpreter with peers/requirements-{peer.replace('_', '-')}.txt"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return python


@pytest.mark.peers
@pytest.mark.parametrize("peer", PYTHONS)
def test_the_readme_says_how(exchange: LocalExchange, peer: str) -> None:
    """What the README shows, with the exchange's address and keys filled in, gets a signed answer."""
    blocks = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    (block,) = (block for block in blocks if f"# {peer.replace('_', '-')}" in block)
    given = f"url, api_key, secret_key = {exchange.url!r}, {exchange.api_key!r}, {exchange.secret_key!r}\n"
    code = f"{given}{block}\nprint(len({BALANCES[peer]}))"
    done = subprocess.run([interpreter(peer), "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 1
    assert [entry["status"] for entry in exchange.requests("GET", "/api/v3/account")] == [200]


@pytest.mark.peers
@pytest.mark.parametrize("peer", PYTHONS)
def test_a_peer_trades_unmodified(exchange: LocalExchange, peer: str) -> None:
    """It places, lists and cancels singly and by symbol, places an OCO, and reads account and trades."""
    python = interpreter(peer)
    keys = {"EXCHANGE_API_KEY": exchange.api_key, "EXCHANGE_SECRET_KEY": exchange.secret_key}
    done = subprocess.run(
        [python, str(PEERS / f"session_{peer}.py")],
        # PYTHONPATH, with the guard that keeps every process on this machine, comes from tests/conftest.py.
        env={**os.environ, "EXCHANGE_URL": exchange.url, **keys},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert {"PRICE_FILTER", "LOT_SIZE", "NOTIONAL", "MAX_NUM_ORDERS"} <= set(seen.pop("filters"))
    assert seen == {
        "guard": "guard",
        "placed": ["NEW", "NEW"],
        "listed": True,
        "queried": True,
        "canceled": "CANCELED",
        "oco": ["OCO", "EXECUTING", 2],
        "rows": ["list", "order"],
        "nothing": [400, -2011, "Unknown order sent."],
        "trades": 0.01,
        "account": ["balances", "canTrade", "commissionRates", "uid"],
        "left": [],
    }
    cancels = [entry["status"] for entry in exchange.requests("DELETE", "/api/v3/openOrders")]
    assert cancels == [200, 400]
