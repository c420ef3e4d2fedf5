"""Faults and truth over HTTP, for a second process: what goes wrong, and what really happened.

The endpoints are outside ``/api`` and need what a trade request there needs: the main account's API key, a timestamp,
and a signature. Their clock is never skewed, so that a skew can be undone:

- ``POST /nbext/faults``: ``kind`` is a method of `UpcomingRequests`, such as ``lose_answer``; the arguments of
  `Faults.on` and its own follow in the wire's spelling (``afterExecuting=false&times=2``, ``times=all``,
  ``statuses=102,103``). ``lag`` and ``skew`` may be set alone or along with it.
- ``GET /nbext/faults`` and ``DELETE /nbext/faults``: list what is wrong now; remove all faults.
- ``GET /nbext/history`` (``symbol``, ``orderId``), ``GET /nbext/orders`` (``symbol``, ``at``) and ``GET
  /nbext/requests`` (``method``, ``path``, ``symbol``): the same as the methods of `LocalExchange` of these names.
- ``POST /nbext/price`` (``symbol``, ``price``), ``POST /nbext/market`` (``symbol``, ``every``, ``swing``,
  ``realtime``), ``DELETE /nbext/market`` (``symbol``) and ``POST /nbext/advance`` (``seconds``): `set_price`,
  `start_market`, `stop_market` and `advance`. The answer has the last price, or the exchange's time.
"""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol

from nbext.exchange.api.admission import Admission, Request
from nbext.exchange.api.endpoints import BY_NAME, Endpoint
from nbext.exchange.api.faults import UpcomingRequests
from nbext.exchange.api.responses import JSON_TYPE, Response, refused, to_json, unserved
from nbext.exchange.engine.refusals import Refusal, invalid, mandatory

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbext.exchange.api.app import App
    from nbext.exchange.api.endpoints import Readers, Value
    from nbext.exchange.api.faults import Faults

_NUMBER = re.compile(r"-?[0-9]{1,9}(\.[0-9]{1,6})?", re.ASCII)
_MOMENT = re.compile(r"[0-9]{1,10}(\.[0-9]{1,6})?", re.ASCII)
_WHOLE = re.compile(r"-?[0-9]{1,9}", re.ASCII)
_ALL = "all"


def _number(name: str, value: str) -> str:
    if not _NUMBER.fullmatch(value):
        raise invalid(name)
    return value


def _moment(name: str, value: str) -> str:
    if not _MOMENT.fullmatch(value):
        raise invalid(name)
    return value


def _whole(name: str, value: str) -> str:
    if not _WHOLE.fullmatch(value):
        raise invalid(name)
    return value


def _count(name: str, value: str) -> str:
    return value if value == _ALL else _whole(name, value)


def _flag(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise invalid(name)
    return value == "true"


def _statuses(name: str, value: str) -> str:
    if not all(_WHOLE.fullmatch(each) for each in value.split(",")):
        raise invalid(name)
    return value


def _text(_name: str, value: str) -> str:
    return value


_symbol = BY_NAME["cancelAll"].readers["symbol"]
_price = BY_NAME["order"].readers["price"]
_order_id = BY_NAME["query"].readers["orderId"]
_WHICH: Readers = {"method": _text, "path": _text, "symbol": _symbol}
# Python's name of each option of a fault, by the name on the wire, with how it is read and converted.
_OPTIONS: dict[str, tuple[str, Callable[[str, str], Value], Callable[[str], object] | None]] = {
    "times": ("times", _count, lambda value: None if value == _ALL else int(value)),
    "seconds": ("seconds", _number, float),
    "delay": ("delay", _number, float),
    "late": ("late", _number, float),
    "size": ("size", _whole, int),
    "code": ("code", _whole, int),
    "text": ("text", _text, None),
    "status": ("status", _whole, int),
    "retryAfter": ("retry_after", _text, lambda value: int(value) if _WHOLE.fullmatch(value) else value),
    "statuses": ("statuses", _statuses, lambda value: [int(each) for each in value.split(",")]),
    "other": ("other", _text, None),
    "answered": ("answered", _flag, None),
    "body": ("body", _text, None),
    "afterExecuting": ("after_executing", _flag, None),
    "reset": ("reset", _flag, None),
    "echo": ("echo", _flag, None),
}
KINDS = frozenset(name for name in vars(UpcomingRequests) if not name.startswith("_"))
_ASKED: Readers = {
    "kind": _text,
    "lag": _number,
    "skew": _number,
    **_WHICH,
    **{name: reader for name, (_, reader, _) in _OPTIONS.items()},
}

ENDPOINTS = {
    (each.method, each.path): each
    for each in (
        Endpoint("addFault", "POST", "/nbext/faults", _ASKED, (), "TRADE", 0),
        Endpoint("faults", "GET", "/nbext/faults", {}, (), "TRADE", 0),
        Endpoint("clearFaults", "DELETE", "/nbext/faults", {}, (), "TRADE", 0),
        Endpoint(
            "history",
            "GET",
            "/nbext/history",
            {"symbol": _symbol, "orderId": _order_id},
            ("symbol", "orderId"),
            "TRADE",
            0,
        ),
        Endpoint("orders", "GET", "/nbext/orders", {"symbol": _symbol, "at": _moment}, (), "TRADE", 0),
        Endpoint("requests", "GET", "/nbext/requests", _WHICH, (), "TRADE", 0),
        Endpoint(
            "price", "POST", "/nbext/price", {"symbol": _symbol, "price": _price}, ("symbol", "price"), "TRADE", 0
        ),
        Endpoint(
            "start",
            "POST",
            "/nbext/market",
            {"symbol": _symbol, "every": _number, "swing": _number, "realtime": _flag},
            ("symbol",),
            "TRADE",
            0,
        ),
        Endpoint("stop", "DELETE", "/nbext/market", {"symbol": _symbol}, ("symbol",), "TRADE", 0),
        Endpoint("advance", "POST", "/nbext/advance", {"seconds": _number}, ("seconds",), "TRADE", 0),
    )
}


class Market(Protocol):
    """What can be moved of an exchange: the methods of `LocalExchange` of these names."""

    def set_price(self, symbol: str, price: Decimal | str | float) -> None:
        """Move the market to a price."""

    def start_market(self, symbol: str, *, every: float = ..., swing: float = ..., realtime: bool = ...) -> None:
        """Start a random walk of a price."""

    def stop_market(self, symbol: str) -> None:
        """Stop it."""

    def advance(self, seconds: float) -> None:
        """Move the clock forward."""

    def last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade."""


class Control:
    """Lets a second process set faults, move the market and read the truth.

    Parameters
    ----------
    app : App
        The exchange it controls.
    market : Market
        The same exchange, as its owner moves it.
    """

    def __init__(self, app: App, market: Market) -> None:
        self._app = app
        self._market = market
        self._admission = Admission(app.steady_clock)
        self._admission.keys = app.admission.keys
        self._calls: dict[str, Callable[[Mapping[str, Value]], object]] = {
            "addFault": self._add,
            "faults": lambda _: self._state(),
            "clearFaults": self._clear,
            "history": lambda params: app.history(_int(params["orderId"]), str(params["symbol"])),
            "orders": self._orders,
            "price": self._set_price,
            "start": self._start,
            "stop": self._stop,
            "advance": self._advance,
            "requests": lambda params: app.requests(**{name: str(value) for name, value in params.items()}),
        }

    def answer(self, method: str, path: str, request: Request) -> Response:
        """Check the key and the signature, then answer."""
        endpoint = ENDPOINTS.get((method, path))
        if endpoint is None:
            return Response(405) if any(path == known for _, known in ENDPOINTS) else unserved(path)
        try:
            with self._app.lock:
                call = self._admission.admit(endpoint, request)
            if call.account != "main":
                return refused(Refusal(-2015, "Invalid API-key, IP, or permissions for action."))
            body = self._calls[endpoint.name](call.params)
        except Refusal as refusal:
            return refused(refusal)
        except LookupError:
            return refused(Refusal(-2013, "Order does not exist."))
        except (TypeError, ValueError) as error:
            return refused(Refusal(-1130, str(error)))
        return Response(200, to_json(body), {"Content-Type": JSON_TYPE})

    def _add(self, params: Mapping[str, Value]) -> object:
        faults = self._app.faults
        kind = params.get("kind")
        if kind is not None:
            if kind not in KINDS:
                raise invalid("kind")
            which, options = _arguments(params)
            statuses = options.pop("statuses", ())
            getattr(faults.on(**which), str(kind))(*statuses, **options)
        elif not {"lag", "skew"} & params.keys():
            raise mandatory("kind")
        if "lag" in params:
            faults.lag = float(str(params["lag"]))
        if "skew" in params:
            faults.skew = float(str(params["skew"]))
        return self._state()

    def _orders(self, params: Mapping[str, Value]) -> object:
        symbol, at = (str(params[name]) if name in params else None for name in ("symbol", "at"))
        return self._app.orders(symbol, None if at is None else float(at), "main")

    def _set_price(self, params: Mapping[str, Value]) -> object:
        self._market.set_price(str(params["symbol"]), Decimal(str(params["price"])))
        return self._last_price(params)

    def _start(self, params: Mapping[str, Value]) -> object:
        how: dict[str, Any] = {name: float(str(params[name])) for name in ("every", "swing") if name in params}
        self._market.start_market(str(params["symbol"]), realtime=bool(params.get("realtime", False)), **how)
        return self._last_price(params)

    def _stop(self, params: Mapping[str, Value]) -> object:
        self._market.stop_market(str(params["symbol"]))
        return self._last_price(params)

    def _advance(self, params: Mapping[str, Value]) -> object:
        self._market.advance(float(str(params["seconds"])))
        return {"serverTime": self._app.clock() // 1000}

    def _last_price(self, params: Mapping[str, Value]) -> object:
        symbol = str(params["symbol"])
        return {"symbol": symbol, "price": str(self._market.last_price(symbol))}

    def _clear(self, _: Mapping[str, Value]) -> object:
        self._app.faults.clear()
        return self._state()

    def _state(self) -> object:
        faults: Faults = self._app.faults
        return {"lag": faults.lag, "skew": faults.skew, "faults": faults.pending()}


def _arguments(params: Mapping[str, Value]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return which requests meet a fault, and its options, under Python's names."""
    which: dict[str, Any] = {name: params[name] for name in _WHICH if name in params}
    options: dict[str, Any] = {}
    for name, (argument, _, make) in _OPTIONS.items():
        if name in params:
            into = which if argument == "times" else options
            into[argument] = params[name] if make is None else make(str(params[name]))
    return which, options


def _int(value: Value) -> int:
    return int(str(value))
