"""What the figures are measured against: the answer to a cancel-all, and the least that anybody must do about it.

Standard library only, but for what is imported inside functions: other people's clients run beside it in environments
of their own.
"""

from __future__ import annotations

import hmac
import json
import time
from copy import deepcopy
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Iterable

    from pandas import DataFrame

API_KEY = "k" * 64
SECRET_KEY = "s" * 64
OPEN_ORDERS = "/api/v3/openOrders"

_SAMPLE = Path(__file__).parents[1] / "fixtures" / "cancel_all_open_orders.json"
_IDS = ("orderId", "orderListId")
_NUMBERS = (
    "price",
    "stopPrice",
    "origQty",
    "executedQty",
    "cummulativeQuoteQty",
    "origQuoteOrderQty",
    "icebergQty",
)
_TIMES = ("transactTime", "transactionTime")
_ABSENT_IF_ZERO = ("price", "stopPrice", "icebergQty", "origQuoteOrderQty")


def reports(orders: int) -> list[dict[str, Any]]:
    """Make the answer to a cancel-all of so many orders, a multiple of 4.

    The documented sample, two single orders and an OCO list of two, over and over, with ids and prices of their own.
    """
    sample = json.loads(_SAMPLE.read_text("utf-8"))
    entries: list[dict[str, Any]] = []
    for turn in range(orders // 4):
        single, other, order_list = deepcopy(sample)
        legs = order_list["orderReports"]
        for place, report in enumerate((single, other, *legs)):
            report["orderId"] = 10_000_000 + 4 * turn + place
            report["origClientOrderId"] = f"run7-{report['orderId']:017d}"
            report["price"] = f"{58_000 + turn * 0.37 + place:.8f}"
            report["transactTime"] += turn
        order_list["orderListId"] = 7_000 + turn
        order_list["listClientOrderId"] = f"list-{turn:017d}"
        for named, leg in zip(order_list["orders"], legs, strict=True):
            leg["orderListId"] = order_list["orderListId"]
            named |= {"orderId": leg["orderId"], "clientOrderId": leg["origClientOrderId"]}
        entries += [single, other, order_list]
    return entries


def body(orders: int) -> bytes:
    """Write `reports` as an exchange does."""
    return json.dumps(reports(orders), separators=(",", ":")).encode()


def signed(path: str, query: str, secret_key: str = SECRET_KEY) -> str:
    """Write a target, stamped and signed by hand."""
    query = f"{query}&timestamp={time.time_ns() // 1_000_000}"
    signature = hmac.new(secret_key.encode(), query.encode(), "sha256").hexdigest()
    return f"{path}?{query}&signature={signature}"


class HandSigned:
    """`http.client` on one kept-alive connection, each request signed by hand: the floor of every client."""

    def __init__(self, url: str, api_key: str = API_KEY, secret_key: str = SECRET_KEY) -> None:
        import http.client

        address = urlsplit(url)
        self._connection = http.client.HTTPConnection(address.hostname or "", address.port)
        self._headers = {"X-MBX-APIKEY": api_key}
        self._secret_key = secret_key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(self, method: str, target: str, content: bytes | None = None) -> bytes:
        """Send a request, and give the body of the answer."""
        self._connection.request(method, target, content, self._headers)
        return self._connection.getresponse().read()

    def ask(self, method: str, path: str, query: str) -> bytes:
        """Send a signed request, and give the body of the answer."""
        return self.send(method, signed(path, query, self._secret_key))

    def cancel(self, symbol: str) -> Any:
        """Cancel every open order on a symbol, and give the parsed answer."""
        return json.loads(self.ask("DELETE", OPEN_ORDERS, f"symbol={symbol}"))


def flatten(entries: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return one flat dict for each order, those in lists with the fields of their list."""
    flat: list[dict[str, Any]] = []
    for entry in entries:
        if "orderReports" in entry:
            shared = {name: value for name, value in entry.items() if name not in {"orders", "orderReports"}}
            flat += [{**shared, **leg} for leg in entry["orderReports"]]
        else:
            flat.append(entry)
    return flat


def table(entries: Iterable[dict[str, Any]], columns: Iterable[str]) -> DataFrame:
    """Build, with nothing but pandas, a frame in the columns and dtypes of nbext's."""
    import pandas as pd

    frame = pd.DataFrame(flatten(entries), columns=list(columns))
    frame["outcome"] = frame["status"].str.lower()
    for name in _TIMES:
        frame[name] = pd.to_datetime(frame[name], unit="ms", utc=True).astype("datetime64[ms, UTC]")
    others = {name: "str" for name in frame.columns if name not in {*_TIMES, *_IDS, *_NUMBERS}}
    frame = frame.astype(dict.fromkeys(_IDS, "Int64") | dict.fromkeys(_NUMBERS, "float64") | others)
    for name in _ABSENT_IF_ZERO:
        frame[name] = frame[name].where(frame[name] != 0.0)
    return frame
