"""The panel in a real kernel: what a reading of many orders sends to the browser, and how soon a click is a cancel."""

from __future__ import annotations

import time
from queue import Empty
from typing import TYPE_CHECKING, Any

import pytest
from jupyter_client.manager import start_new_kernel
from support.front_end import FrontEnd
from support.server import PlainServer, answer

if TYPE_CHECKING:
    from pathlib import Path

    from figures import Figures
    from support.server import Request

ORDERS = 200
OPEN = f"""
import nbext
from nbext.notebook.panel import CancelPanel
local = nbext.local()
for n in range({ORDERS}):
    local.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price=str(50_000 - n))
panel = CancelPanel("BTCUSDT", profile="local")
panel.wait()
"""
READ = """
local.set_price("BTCUSDT", {price})
panel.refresh()
panel.wait()
assert len(panel.rows) == 200
"""
QUIET = 0.5
"""Seconds without a message after which none is on its way."""


def messages(client: Any, code: str) -> list[int]:
    """Run code, and give the sizes of the widget messages that the browser gets meanwhile."""
    client.execute(code)
    sizes: list[int] = []
    is_idle = False
    while True:
        try:
            message = client.get_iopub_msg(timeout=QUIET if is_idle else 60)
        except Empty:
            return sizes
        assert message["msg_type"] != "error", message["content"]
        if message["msg_type"] == "comm_msg":
            sizes.append(len(str(message["content"])))
        is_idle = is_idle or message["content"].get("execution_state") == "idle"


def test_a_reading_is_one_message(figures: Figures) -> None:
    """Each reading of 200 orders, all of which look different since the price moved, sends one message."""
    manager, client = start_new_kernel(kernel_name="python3")
    try:
        messages(client, OPEN)
        counted = [messages(client, READ.format(price=price)) for price in (58_000, 59_000, 60_500)]
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
    assert all(min(sizes) > 100 * ORDERS for sizes in counted), counted  # the rows are in it
    figures.count("messages to the browser for a reading of the panel", str(ORDERS), max(map(len, counted)), 1)


BESIDE = {
    "idle": "",
    "computing in Python": "n = 0\nwhile True: n += 1",
    "computing in numpy": "while True: np.exp(values)",
}
ASKING = """
import nbext, numpy as np
from nbext.notebook.panel import CancelPanel
client = nbext.connect(base_url={url!r}, api_key="k" * 64, secret_key="s" * 64)
panel = CancelPanel("BTCUSDT", client=client, confirm=lambda: "never")
panel.wait()
values = np.random.default_rng(1).random(1_000_000)
"""
READ_BY_NOW = 0.7
"""Seconds in which a question is read."""


class OneOpen:
    """An exchange on which one order is open: the next, once that is canceled."""

    def __init__(self) -> None:
        self._number = 7

    def __call__(self, request: Request) -> bytes:
        """Answer a request."""
        order = {"symbol": "BTCUSDT", "orderId": self._number, "orderListId": -1, "side": "BUY", "type": "LIMIT"}
        name = f"mine{self._number}"
        if request.method == "DELETE":
            self._number += 1
            return answer([{**order, "origClientOrderId": name, "clientOrderId": "its", "status": "CANCELED"}])
        return answer([{**order, "clientOrderId": name, "status": "NEW"}] if "openOrders" in request.path else [])


@pytest.mark.parametrize(
    ("beside", "place"), [*((beside, "on disk") for beside in BESIDE), ("computing in Python", "in memory")]
)
def test_from_a_click_to_the_cancel(
    figures: Figures, places: dict[str, Path], monkeypatch: pytest.MonkeyPatch, beside: str, place: str
) -> None:
    """The click comes in on a subshell, as from JupyterLab; between it and the cancel there is one look.

    The intent's commit waits for five syncs of the disk (by strace). What remains without them is a row without a bar.
    """
    monkeypatch.setenv("NBEXT_JOURNAL", str(places[place] / "journal.sqlite3"))
    server = PlainServer(OneOpen())
    manager, client = start_new_kernel(kernel_name="python3")
    took: list[float] = []
    try:
        client.execute_interactive(ASKING.format(url=server.url), timeout=60)
        page = FrontEnd(client)
        client.execute(BESIDE[beside])
        for _ in range(figures.rounds(12)):
            number, met = page.ask(), len(server.requests)
            time.sleep(READ_BY_NOW)
            clicked = page.post(do="confirm", question=number, after=READ_BY_NOW)
            page.says("canceled")
            took.append(next(each.at for each in server.requests[met:] if each.method == "DELETE") - clicked)
            time.sleep(READ_BY_NOW)  # the table is read again
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        server.close()
    what = f"from a click to the DELETE, kernel {beside}, journal {place}, floor the 20 ms it may take"
    figures.time(what, "1", took, [0.02], 1.0 if place == "on disk" else None)
