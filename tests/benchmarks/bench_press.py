"""From Enter to the DELETE in a real kernel that has just loaded nbext, and what getting ready for it costs a cell."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from figures import by_turns
from support.kernels import Kernel

from nbext.entries import Intent
from nbext.journal import Journal

if TYPE_CHECKING:
    from pathlib import Path

    from figures import Figures
    from serving import Server

# jupyter_client leaves a socket of its event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

CANCEL = "%cancel_all BTCUSDT --yes"
MOST = 0.010
"""Seconds that may pass from the kernel's receipt of the cell to the DELETE's arrival."""
SOON = 1.0
"""Seconds after loading at which somebody who is quick presses Enter."""
UNREADY = "from nbext.notebook.preloading import preloader\npreloader.start = lambda *_: None\n"
IMPORT = """
import json, sys, time
assert "pandas" not in sys.modules
began = time.perf_counter()
import pandas
print(json.dumps(time.perf_counter() - began))
"""


def entered(kernel: Kernel, server: Server) -> tuple[float, float]:
    """Run the cell that cancels; give the seconds to the DELETE, from the kernel's receipt and from the client's Enter.

    A kernel says that it is busy as soon as it has read the message: the receipt is when it wrote that. Both clocks
    are this machine's; the server reads its own when a request has arrived.
    """
    server.arrivals()
    ahead = time.time() - time.monotonic()
    at = time.monotonic()
    asked = kernel.client.execute(CANCEL)
    received = None
    while True:
        message = kernel.client.get_iopub_msg(timeout=60)
        if message["parent_header"].get("msg_id") != asked or message["msg_type"] != "status":
            continue
        if message["content"]["execution_state"] == "idle":
            break
        received = message["header"]["date"].timestamp() - ahead
    assert kernel.client.get_shell_msg(timeout=60)["content"]["status"] == "ok"
    assert received is not None
    arrived = server.cancel()
    return arrived - received, arrived - at


def test_the_first_cancel_of_a_kernel_leaves_at_once(
    figures: Figures, canned: Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One second after the cell with `%load_ext nbext` has ended, a cancel takes at most 10 ms to its DELETE."""
    monkeypatch.setenv("NBEXT_BASE_URL", canned.url)
    monkeypatch.setenv("BINANCE_API_KEY", canned.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", canned.secret_key)
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    Journal(tmp_path / "journal.sqlite3").intend([Intent("id", "call", 0, 0, "p", "h", "DELETE", "/", {})])
    took: dict[str, list[tuple[float, float]]] = {}

    def begin(name: str, before: str = "import sys") -> None:
        with closing(Kernel()) as kernel:
            kernel.run(before)
            kernel.run("%load_ext nbext")
            time.sleep(SOON)
            took.setdefault(name, []).append(entered(kernel, canned))
            if before != UNREADY:
                time.sleep(SOON)
                took.setdefault("the second", []).append(entered(kernel, canned))

    begin("compiles")
    took.clear()
    for _ in range(figures.rounds(20)):
        begin("1 s after loading")
        begin("without preloading", UNREADY)
    for name, seconds in took.items():
        received, sent = zip(*seconds, strict=True)
        bar = 1.0 if name == "1 s after loading" else None
        figures.time("from a kernel's receipt of `%cancel_all` to the DELETE, floor 10 ms", name, received, [MOST], bar)
        figures.time("the same from Enter, floor 10 ms", name, sent, [MOST])


def test_a_cell_that_imports_pandas_next_is_not_slowed(figures: Figures) -> None:
    """An `import pandas` right after `%load_ext nbext` takes at most 1.05 times as long as without preloading."""

    def importing(before: str) -> float:
        with closing(Kernel()) as kernel:
            if before:
                kernel.run(before)
            kernel.begin("%load_ext nbext")
            return float(json.loads(kernel.run(IMPORT)))

    ours, floor = by_turns(figures.rounds(20), lambda: importing("import sys"), lambda: importing(UNREADY))
    figures.time("`import pandas` in the cell after `%load_ext nbext`, floor without preloading", "", ours, floor, 1.05)
