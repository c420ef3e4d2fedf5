"""Calls with short delays, and what the exchange itself has on record of their orders."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pandas as pd

from nbext.cancel.selection import Latency
from support.jobs import make_job

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient

    Setting = float | str | list[Any] | Latency | Callable[[int, int], None]

PATH = "/api/v3/openOrders"
ENDED = {
    "CANCELED": "canceled",
    "FILLED": "filled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "rejected",
}
TEXTS = ("symbol", "side", "type", "status", "origClientOrderId", "clientOrderId")
AMOUNTS = ("price", "stopPrice", "origQty", "executedQty", "cummulativeQuoteQty", "icebergQty")


class Quick:
    """A job with small recv window and engine time, and what it said."""

    def __init__(self, client: SpotClient, *symbols: str, seen: bool = False, **changes: Setting) -> None:
        self.said: list[str] = []
        settings: dict[str, Any] = {
            "recv_window": 500,
            "reconcile": 6.0,
            "latency": Latency(engine=0.7, lag=0.2),
            **changes,
        }
        if not {"orders", "all_symbols"} & settings.keys():
            symbols = symbols or ("BTCUSDT",)
        self.job = make_job(symbols, client=client, say=self.said.append, **settings)
        if seen:
            self.job.obtain_consent(lambda preview, _: str(len(preview)))

    def run(self, *, check: bool = False) -> pd.DataFrame:
        """Cancel."""
        return self.job.run(check=check)


def executed(exchange: LocalExchange) -> list[bool]:
    """Return for each cancel-all that arrived whether it was carried out."""
    return [bool(request["executed"]) for request in exchange.requests("DELETE", PATH)]


def require_truth(exchange: LocalExchange, frame: pd.DataFrame) -> None:
    """Check every id, status and amount that a frame tells against the exchange's own record, and every outcome."""
    record = {order["orderId"]: order for order in exchange.orders()}
    for row in frame.to_dict("records"):
        true = record[row["orderId"]]
        status = str(true["status"])
        if row["outcome"] != "unknown":
            assert row["outcome"] == ENDED.get(status, "open"), row
        for name in TEXTS:
            assert pd.isna(row[name]) or row[name] == true[name], (name, row[name], true[name])
        for name in AMOUNTS:
            assert pd.isna(row[name]) or row[name] == float(str(true[name])), (name, row[name], true[name])
