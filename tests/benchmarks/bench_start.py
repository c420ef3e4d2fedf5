"""What happens once in a process: loading the extension, the first cancel, and the way to it."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from figures import NEAR_PEERS, PEERS, by_turns

if TYPE_CHECKING:
    from figures import Figures
    from serving import Server

CONTENDERS = Path(__file__).with_name("contenders.py")
SLOW = ("requests", "pandas", "ipywidgets", "itables")
# Each program prints one line of JSON.
SHELL = "import json, sys, time\nfrom IPython.core.interactiveshell import InteractiveShell\n"
LOAD = f"""{SHELL}
shell = InteractiveShell.instance()
before, began = set(sys.modules), time.perf_counter()
shell.run_line_magic("load_ext", sys.argv[1])
took = time.perf_counter() - began
print(json.dumps([took, sorted(set(sys.modules) - before)]))
"""
ENTER = f"""{SHELL}
came = []
class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "pandas":
            came.append(time.monotonic())
sys.meta_path.insert(0, Watch())
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nbext")
shell.user_ns["url"] = sys.argv[2]
entered = time.monotonic()
assert shell.run_cell(sys.argv[1]).success
print("\\n" + json.dumps([entered, came]))
"""
BARE = """
import hashlib, hmac, time
import requests
query = f"symbol=BTCUSDT&timestamp={time.time_ns() // 1_000_000}"
signature = hmac.new(b"s" * 64, query.encode(), hashlib.sha256).hexdigest()
headers = {"X-MBX-APIKEY": "k" * 64}
response = requests.delete(f"{url}/api/v3/openOrders?{query}&signature={signature}", headers=headers)
"""


def run(*command: str) -> Any:
    """Run a program in a fresh process, and give its last line."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def test_loading_takes_little_more_than_an_extension_that_does_nothing_yet(figures: Figures) -> None:
    """`%load_ext nbext` in a fresh IPython takes at most twice as long as `%load_ext autoreload`, and loads no more."""
    pulled: set[str] = set()

    def load(extension: str) -> float:
        took, modules = run(sys.executable, "-c", LOAD, extension)
        if extension == "nbext":
            pulled.update(module.partition(".")[0] for module in modules)
        return float(took)

    ours, floor = by_turns(figures.rounds(24), partial(load, "nbext"), partial(load, "autoreload"))
    assert "nbext" in pulled
    figures.count(f"{', '.join(SLOW)} after `%load_ext nbext`", "", len(pulled & {*SLOW}), 0)
    figures.time("`%load_ext nbext`, floor `%load_ext autoreload`", "", ours, floor, 2.0)


def test_the_first_cancel_is_one_request_and_leaves_before_pandas_comes(
    figures: Figures, canned: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After Enter one DELETE goes out on one connection, before pandas; a bare requests script is timed beside it."""
    monkeypatch.setenv("NBEXT_BASE_URL", canned.url)
    monkeypatch.setenv("BINANCE_API_KEY", canned.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", canned.secret_key)
    most = {"requests": 0, "connections": 0, "after pandas": 0}

    def enter(line: str) -> float:
        canned.arrivals()
        entered, pandas = run(sys.executable, "-c", ENTER, line, canned.url)
        arrivals = canned.arrivals()
        sent = float(arrivals[0]["at"])
        if line != BARE:
            assert len(pandas) == 1
            seen = len(arrivals), len({each["connection"] for each in arrivals}), int(sent > pandas[0])
            most.update({name: max(known, now) for (name, known), now in zip(most.items(), seen, strict=True)})
        return sent - float(entered)

    ours, floor = by_turns(figures.rounds(12), partial(enter, "%cancel_all BTCUSDT --yes"), partial(enter, BARE))
    figures.count("first `%cancel_all --yes`: requests", "4", most["requests"], 1)
    figures.count("first `%cancel_all --yes`: connections", "4", most["connections"], 1)
    figures.count("first `%cancel_all --yes`: DELETEs after pandas", "4", most["after pandas"], 0)
    figures.time("from Enter to the first DELETE, floor a bare `requests` script", "4", ours, floor)


@pytest.mark.parametrize("client", ["nbext", *NEAR_PEERS])
def test_a_fresh_process_has_its_first_answer_soon(figures: Figures, canned: Server, client: str) -> None:
    """From the start of Python to the first answer `SpotClient` takes at most 1.2 times as long as bare requests."""

    def start(python: str, name: str) -> float:
        began = time.monotonic()
        return float(run(python, str(CONTENDERS), "fresh", name, canned.url, "BTCUSDT")) - began

    bare = partial(start, sys.executable, "bare_requests")
    ours, floor = by_turns(figures.rounds(20), partial(start, PEERS.get(client, sys.executable), client), bare)
    label = "`SpotClient`" if client == "nbext" else client
    what = f"fresh process to first answer, {label}, floor a bare `requests` script"
    figures.time(what, "4", ours, floor, 1.2 if client == "nbext" else None)
