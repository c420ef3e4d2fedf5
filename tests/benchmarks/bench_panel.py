"""The panel in a real kernel: what a reading of many orders sends to the browser."""

from __future__ import annotations

from queue import Empty
from typing import TYPE_CHECKING, Any

from jupyter_client.manager import start_new_kernel

if TYPE_CHECKING:
    from figures import Figures

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
