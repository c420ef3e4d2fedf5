"""What a browser does with a panel: click, wait for the threads, read attributes; and what its exchange saw."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange import LocalExchange
    from nbext.notebook.panel import CancelPanel


PATH = "/api/v3/openOrders"


class Clock:
    """Tells the panel the time of a click."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return what somebody set."""
        return self.now


def send(panel: CancelPanel, **message: Any) -> None:
    """Send what the script in the browser sends."""
    panel._handle_custom_msg(message, [])


def keys(panel: CancelPanel, *, lists: bool | None = None) -> list[str]:
    """Name the units that can be canceled, lists or single orders only if so wanted."""
    return [row["key"] for row in panel.rows if row["live"] and lists in (None, row["list"])]


def ask(panel: CancelPanel, *wanted: str, everything: bool = False) -> Any:
    """Click what asks, and give the question."""
    send(panel, do="ask", keys=list(wanted or keys(panel)), everything=everything or not wanted)
    panel_rests(panel)
    return panel.status["question"]


def panel_rests(panel: CancelPanel) -> None:
    """Wait until the panel has nothing to do."""
    until(lambda: not panel.status["busy"])
    panel.wait()


def agree(panel: CancelPanel, clock: Clock, typed: str = "") -> None:
    """Answer the question after a second, and wait."""
    clock.now += 1
    send(panel, do="confirm", question=panel.status["question"]["number"], typed=typed)
    panel_rests(panel)


def notes(panel: CancelPanel) -> str:
    """Return what is said below the buttons."""
    return "\n".join(panel.status["notes"])


def deletes(exchange: LocalExchange) -> list[Any]:
    """Ask the exchange which cancels came in."""
    return exchange.requests("DELETE")


def open_ids(exchange: LocalExchange) -> set[Any]:
    """Ask the exchange what is open."""
    return {order["orderId"] for order in exchange.open_orders("BTCUSDT")}


def until(fact: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.02)
