"""A tiny client for the tests: percent-encodes, signs with HMAC, and sends with `http.client`."""

from __future__ import annotations

import hmac
import http.client
import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlencode, urlsplit

if TYPE_CHECKING:
    from collections.abc import Mapping

OPEN_ORDERS = "/api/v3/openOrders"
ORDER = "/api/v3/order"


def sign(secret_key: str, payload: str) -> str:
    """Sign a payload as the documentation's HMAC example does."""
    return hmac.new(secret_key.encode(), payload.encode(), "sha256").hexdigest()


def now() -> int:
    """Return the time in milliseconds."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True)
class Answer:
    """One answer; `body` is the JSON document, or the raw text if it is not JSON."""

    status: int
    headers: http.client.HTTPMessage
    body: Any

    @property
    def refusal(self) -> tuple[int, str]:
        """The code and text of a refusal."""
        return self.body["code"], self.body["msg"]


class Client:
    """Sends signed requests over one connection."""

    def __init__(self, url: str, api_key: str = "", secret_key: str = "") -> None:
        parts = urlsplit(url)
        assert parts.hostname
        self._connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        self.api_key = api_key
        self.secret_key = secret_key

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def send(
        self, method: str, target: str, body: str | None = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        """Send exactly this."""
        kind = {} if body is None else {"Content-Type": "application/x-www-form-urlencoded"}
        self._connection.request(method, target, body, {"X-MBX-APIKEY": self.api_key, **kind, **(headers or {})})
        response = self._connection.getresponse()
        text = response.read().decode()
        is_json = response.headers.get("Content-Type", "").startswith("application/json")
        return Answer(response.status, response.headers, json.loads(text) if is_json and text else text)

    def public(self, path: str, **params: object) -> Answer:
        """Send a GET without a signature."""
        return self.send("GET", f"{path}?{urlencode(params)}" if params else path)

    def signed(
        self, method: str, path: str, /, *, headers: Mapping[str, str] | None = None, **params: object
    ) -> Answer:
        """Send a stamped and signed request, all parameters in the query."""
        query = urlencode({"timestamp": now(), **params})
        return self.send(method, f"{path}?{query}&signature={sign(self.secret_key, query)}", headers=headers)

    def limit(self, side: str, price: object, quantity: object = "0.1", **more: object) -> Answer:
        """Place a LIMIT order on BTCUSDT."""
        fields = {"symbol": "BTCUSDT", "type": "LIMIT", "timeInForce": "GTC", **more}
        return self.signed("POST", ORDER, headers=None, side=side, price=price, quantity=quantity, **fields)

    def cancel_all(self, symbol: str = "BTCUSDT") -> Answer:
        """Cancel every open order on a symbol."""
        return self.signed("DELETE", OPEN_ORDERS, symbol=symbol)

    def query(self, order_id: int, symbol: str = "BTCUSDT") -> Any:
        """Return an order as queries show it."""
        return self.signed("GET", ORDER, symbol=symbol, orderId=order_id).body
