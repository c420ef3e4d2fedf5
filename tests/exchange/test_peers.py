"""Other people's clients, unmodified, against the exchange: they should not notice the difference."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from nbext.exchange import LocalExchange

HERE = Path(__file__).parent
README = (HERE.parents[1] / "README.md").read_text("utf-8")
LOOPBACK = HERE.parent / "guard" / "loopback.cjs"
# Each lives in an environment of its own, since some share an import name: a Python, or a folder with node_modules.
# Read before a fixture clears NBEXT_*.
PEERS = {
    peer: os.environ.get(f"NBEXT_PEER_{peer.upper()}")
    for peer in ("python_binance", "binance_connector", "binance_sdk_spot", "ccxt", "binance_npm")
}


def place_of(peer: str) -> str:
    """Return where a client is; skip if it is nowhere, but fail in CI, which has all but what needs a missing npm."""
    place = PEERS[peer]
    if place is None:
        needs = "with npm's binance" if peer == "binance_npm" else f"with requirements-{peer.replace('_', '-')}.txt"
        reason = f"NBEXT_PEER_{peer.upper()} names no environment {needs}"
        if os.environ.get("CI") == "true" and (peer != "binance_npm" or shutil.which("npm")):
            pytest.fail(reason)
        pytest.skip(reason)
    return place


def snippet(language: str, named: str) -> str:
    """Return the one block of the README in a language that has a name."""
    blocks = re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)
    (block,) = (each for each in blocks if re.search(rf"{named}\b", each))
    return str(block)


def connecting(peer: str, exchange: LocalExchange, folder: Path) -> Path:
    """Write the program with which the README connects a client."""
    if peer == "binance_npm":
        given = {"url": exchange.url, "apiKey": exchange.api_key, "secretKey": exchange.secret_key}
        script = f"const {{ url, apiKey, secretKey }} = {json.dumps(given)};\n{snippet('js', '// binance')}"
        path, text = folder / "readme.cjs", f"{script}\nmodule.exports = client;\n"
    elif peer == "freqtrade":
        block = snippet("json", "ccxt_config")
        (address,) = set(re.findall(r"http://127\.0\.0\.1:\d+", block))
        assert f"--port {address.rpartition(':')[2]}" in README
        config = json.loads(block.replace(address, exchange.url))
        assert (config["dry_run"], config["exchange"]["enable_ws"]) == (False, False)  # there are no streams
        # What freqtrade makes of it: a client of ccxt with all that is in ccxt_config.
        keys = "{'apiKey': api_key, 'secret': secret_key}"
        made = f"ccxt.{config['exchange']['name']}({config['exchange']['ccxt_config']!r} | {keys})"
        path, text = folder / "readme.py", f"import ccxt\n\nclient = {made}\n"
    else:
        path, text = folder / "readme.py", snippet("python", f"# {peer.replace('_', '-')}")
    path.write_text(text)
    return path


@pytest.mark.peers
@pytest.mark.parametrize("peer", [*PEERS, "freqtrade"])
def test_a_peer_trades_unmodified(exchange: LocalExchange, tmp_path: Path, peer: str) -> None:
    """Connected as the README says, it places, lists and cancels, and reads markets, candles, trades and balances."""
    client = "ccxt" if peer == "freqtrade" else peer  # freqtrade's own connection is ccxt, configured
    program = place = place_of(client)
    (session,) = (HERE / "peers").glob(f"session_{client}.*")
    environ = {
        **os.environ,  # PYTHONPATH, with the guard that keeps every Python on this machine, is from tests/conftest.py
        "EXCHANGE_URL": exchange.url,
        "EXCHANGE_API_KEY": exchange.api_key,
        "EXCHANGE_SECRET_KEY": exchange.secret_key,
        "EXCHANGE_README": str(connecting(peer, exchange, tmp_path)),
    }
    if session.suffix == ".cjs":
        program = "node"
        environ |= {"NODE_OPTIONS": f"--require={LOOPBACK}", "NODE_PATH": f"{place}/node_modules"}
    done = subprocess.run(
        [program, str(session)], env=environ, capture_output=True, text=True, timeout=100, check=False
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert {"PRICE_FILTER", "LOT_SIZE", "NOTIONAL", "MAX_NUM_ORDERS"} <= set(seen.pop("filters"))
    assert seen == {
        "guard": "guard",
        "candles": [3, True],  # the last one closes at the last price
        "placed": ["NEW", "NEW"],
        "listed": True,
        "queried": True,
        "canceled": "CANCELED",
        "oco": ["OCO", "EXECUTING", 2],
        "rows": ["list", "order"],
        "nothing": [-2011, "Unknown order sent."],
        "trades": 0.01,
        "bought": 0.01,
        "account": ["balances", "canTrade", "commissionRates", "uid"],
        "left": [],
    }
    cancels = [entry["status"] for entry in exchange.requests("DELETE", "/api/v3/openOrders")]
    assert cancels == [200, 400]
