"""The endpoints and their parameters, as one table, and what a value looks like (rule: value-forms)."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from nbext.exchange.engine.candles import INTERVALS
from nbext.exchange.engine.limits import DAY, MINUTE
from nbext.exchange.engine.refusals import Refusal, invalid
from nbext.exchange.engine.tickets import ORDER_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Value = str | int | Decimal | bool | list[str]
    Readers = dict[str, Callable[[str, str], Value]]

MAX_INTEGER = 2**63 - 1
MAX_DECIMAL = Decimal(MAX_INTEGER) / 10**8
MAX_SYMBOLS = 100

# Patterns: what is matched, and how the refusal spells it.
_ID = (re.compile(r"[0-9]{1,20}", re.ASCII), r"^[0-9]{1,20}$")
_DECIMAL = (re.compile(r"[0-9]{1,20}(\.[0-9]{1,20})?", re.ASCII), r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
_CLIENT_ID = (re.compile(r"[a-zA-Z0-9_-]{1,36}", re.ASCII), r"^[a-zA-Z0-9-_]{1,36}$")
# The refusal quotes Java's class intersection; non-ASCII letters are allowed too (rule: value-forms).
_TIME_ZONE = re.compile(r"(?P<sign>[+-]?)(?P<hours>[0-9]{1,2})(:(?P<minutes>[0-5][0-9]))?", re.ASCII)
_WINDOW = re.compile(r"(?P<number>[1-9][0-9]?)(?P<unit>[mhd])", re.ASCII)
_LONGEST_WINDOW = {"m": 59, "h": 23, "d": 7}
_PERMISSION = re.compile(r"SPOT|MARGIN|LEVERAGED|TRD_GRP_[0-9]{3}", re.ASCII)
_SYMBOL = (re.compile(r"(?:(?![a-z])[\w.-]){1,50}"), r"^[\w\-._&&[^a-z]]{1,50}$")


def _match(name: str, value: str, form: tuple[re.Pattern[str], str]) -> str:
    pattern, spelling = form
    if not pattern.fullmatch(value):
        raise Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{spelling}'.")
    return value


def _symbol(name: str, value: str) -> str:
    return _match(name, value, _SYMBOL)


def _client_id(name: str, value: str) -> str:
    return _match(name, value, _CLIENT_ID)


def _integer(name: str, value: str) -> int:
    number = int(_match(name, value, _ID))
    if number > MAX_INTEGER:
        raise Refusal(-1108, f"Parameter '{name}' overflowed.")
    return number


def _decimal(name: str, value: str) -> Decimal:
    number = Decimal(_match(name, value, _DECIMAL))
    if number > MAX_DECIMAL:
        raise Refusal(-1108, f"Parameter '{name}' overflowed.")
    return number


def _text(_name: str, value: str) -> str:
    return value


def _boolean(name: str, value: str) -> bool:
    if value not in {"true", "false"}:
        raise invalid(name)
    return value == "true"


def _limit(maximum: int) -> Callable[[str, str], int]:
    def read(name: str, value: str) -> int:
        number = _integer(name, value)
        if number > maximum:
            raise Refusal(-1102, f"'{name}' contains unexpected value. Cannot be greater than {maximum}.")
        if number < 1:
            raise invalid(name)
        return number

    return read


def _word(allowed: tuple[str, ...], code: int = -1130, says: str | None = None) -> Callable[[str, str], str]:
    """Return a reader of enum values; unknown ones have a code by field (rule: unknown-words)."""

    def read(name: str, value: str) -> str:
        if value not in allowed:
            raise invalid(name) if says is None else Refusal(code, says)
        return value

    return read


def _permissions(name: str, value: str) -> list[str]:
    """Read one permission, or a JSON array of them."""
    try:
        names = json.loads(value) if value.startswith("[") else [value]
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise Refusal(-1135, f"JSON sent for parameter '{name}' is not valid")
    if not all(_PERMISSION.fullmatch(each) for each in names):
        raise invalid(name)
    return names


def _symbols(name: str, value: str) -> list[str]:
    try:
        names = json.loads(value)
    except ValueError:
        names = None
    if not isinstance(names, list) or not all(isinstance(each, str) for each in names):
        raise Refusal(-1135, f"JSON sent for parameter '{name}' is not valid")
    if len(names) > MAX_SYMBOLS:
        raise Refusal(-1101, f"Too many values sent for parameter '{name}', maximum allowed up to {MAX_SYMBOLS}.")
    if len(set(names)) < len(names):
        raise Refusal(-1151, "Symbol is present multiple times in the list.")
    return [_symbol(name, each) for each in names]


def _time_zone(name: str, value: str) -> int:
    """Read a time zone as microseconds ahead of UTC (rule: candles)."""
    form = _TIME_ZONE.fullmatch(value)
    if form is None:
        raise invalid(name)
    minutes = int(form["hours"]) * 60 + int(form["minutes"] or 0)
    minutes = -minutes if form["sign"] == "-" else minutes
    if not -12 * 60 <= minutes <= 14 * 60:
        raise invalid(name)
    return minutes * MINUTE


def _window(name: str, value: str) -> int:
    """Read the size of a rolling window, in microseconds (rule: rolling-window)."""
    form = _WINDOW.fullmatch(value)
    if form is None or int(form["number"]) > _LONGEST_WINDOW[form["unit"]]:
        raise invalid(name)
    return int(form["number"]) * {"m": MINUTE, "h": 60 * MINUTE, "d": DAY}[form["unit"]]


_SIDE = _word(("BUY", "SELL"), -1117, "Invalid side.")
_TYPE = _word(ORDER_TYPES, -1116, "Invalid orderType.")
_TIME_IN_FORCE = _word(("GTC", "IOC", "FOK"), -1115, "Invalid timeInForce.")
_RESPONSE = _word(("ACK", "RESULT", "FULL"))
_STP = _word(("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT", "TRANSFER"))
_RESTRICTIONS = _word(("ONLY_NEW", "ONLY_PARTIALLY_FILLED"), -1145, "Invalid cancelRestrictions")
_STATUS = _word(("TRADING", "HALT", "BREAK"), -1122, "Invalid symbolStatus.")
_PEG_PRICE = _word(("PRIMARY_PEG", "MARKET_PEG"), -1210, "Invalid pegPriceType.")
_PEG_OFFSET = _word(("PRICE_LEVEL",), -1211, "Invalid pegOffsetType.")
_REPLACE_MODE = _word(("STOP_ON_FAILURE", "ALLOW_FAILURE"))
_LIMIT_MODE = _word(("DO_NOTHING", "CANCEL_ONLY"))
_TICKER_TYPE = _word(("FULL", "MINI"), -1139, "Invalid ticker type.")


@dataclass(frozen=True)
class Endpoint:
    """What one call takes and costs.

    `security` is NONE, TRADE or USER_DATA; `free` calls cost nothing when they succeed (rule: free-trades); `orders`
    is what an accepted placement adds to the unfilled order count (rule: order-count).
    """

    name: str
    method: str
    path: str
    readers: Mapping[str, Callable[[str, str], Value]]
    mandatory: tuple[str, ...] = ()
    security: str = "NONE"
    weight: int = 1
    orders: int = 0

    @property
    def is_signed(self) -> bool:
        """Whether the call needs a key and a signature."""
        return self.security != "NONE"

    @property
    def is_free(self) -> bool:
        """Whether success costs no weight."""
        return self.security == "TRADE" and self.name != "test"


def _leg(prefix: str) -> Readers:
    """Return the parameters of one leg of a list (rule: list-parameters), or of a single order, without a prefix."""
    fields: Readers = {
        "TimeInForce": _TIME_IN_FORCE,
        "Price": _decimal,
        "StopPrice": _decimal,
        "TrailingDelta": _integer,
        "IcebergQty": _decimal,
        "StrategyId": _integer,
        "StrategyType": _integer,
        "PegPriceType": _PEG_PRICE,
        "PegOffsetType": _PEG_OFFSET,
        "PegOffsetValue": _integer,
    }
    if not prefix:
        return {name[0].lower() + name[1:]: reader for name, reader in fields.items()}
    return {prefix + name: reader for name, reader in ({"ClientOrderId": _client_id} | fields).items()}


_STOPLESS = ("StopPrice", "TrailingDelta")
_WORKING: Readers = {name: reader for name, reader in _leg("working").items() if not name.endswith(_STOPLESS)}
_ORDER: Readers = {
    "symbol": _symbol,
    "side": _SIDE,
    "type": _TYPE,
    "quantity": _decimal,
    "quoteOrderQty": _decimal,
    "newClientOrderId": _client_id,
    "newOrderRespType": _RESPONSE,
    "selfTradePreventionMode": _STP,
    **_leg(""),
}
_LIST: Readers = {
    "symbol": _symbol,
    "listClientOrderId": _client_id,
    "newOrderRespType": _RESPONSE,
    "selfTradePreventionMode": _STP,
}
_WORKING_ORDER: Readers = {"workingType": _TYPE, "workingSide": _SIDE, "workingQuantity": _decimal, **_WORKING}
_WORKING_NEEDS = ("workingType", "workingSide", "workingQuantity")  # workingPrice unless pegged: read with the leg
_OTO: Readers = {
    **_LIST,
    **_WORKING_ORDER,
    "pendingType": _TYPE,
    "pendingSide": _SIDE,
    "pendingQuantity": _decimal,
    **_leg("pending"),
}
_OTO_NEEDS = ("symbol", *_WORKING_NEEDS, "pendingType", "pendingSide")
_OTOCO: Readers = {
    **_LIST,
    **_WORKING_ORDER,
    "pendingSide": _SIDE,
    "pendingQuantity": _decimal,
    "pendingAboveType": _TYPE,
    "pendingBelowType": _TYPE,
    **_leg("pendingAbove"),
    **_leg("pendingBelow"),
}
_OTOCO_NEEDS = ("symbol", *_WORKING_NEEDS, "pendingSide", "pendingAboveType")
_ONE: Readers = {"symbol": _symbol, "orderId": _integer, "origClientOrderId": _client_id}
_SPAN: Readers = {"startTime": _integer, "endTime": _integer}
_INTERVAL = _word(tuple(INTERVALS), -1120, "Invalid interval.")
_CANDLES: Readers = {
    "symbol": _symbol,
    "interval": _INTERVAL,
    "startTime": _integer,
    "endTime": _integer,
    "timeZone": _time_zone,
    "limit": _limit(1000),
}
_TICKER: Readers = {"symbol": _symbol, "symbols": _symbols, "symbolStatus": _STATUS}

# Public, and yet signed by some clients.
_EITHER_WAY: Readers = dict.fromkeys(("symbol", "timestamp", "recvWindow", "signature"), _text)

ENDPOINTS = (
    Endpoint("ping", "GET", "/api/v3/ping", {}),
    Endpoint("time", "GET", "/api/v3/time", {}),
    Endpoint(
        "exchangeInfo",
        "GET",
        "/api/v3/exchangeInfo",
        {
            "symbol": _symbol,
            "symbols": _symbols,
            "permissions": _permissions,
            "showPermissionSets": _boolean,
            "symbolStatus": _STATUS,
        },
        weight=20,
    ),
    Endpoint(
        "depth",
        "GET",
        "/api/v3/depth",
        {"symbol": _symbol, "limit": _integer, "symbolStatus": _STATUS},
        ("symbol",),
        weight=5,
    ),
    Endpoint("trades", "GET", "/api/v3/trades", {"symbol": _symbol, "limit": _limit(1000)}, ("symbol",), weight=25),
    Endpoint(
        "historicalTrades",
        "GET",
        "/api/v3/historicalTrades",
        {"symbol": _symbol, "limit": _limit(1000), "fromId": _integer},
        ("symbol",),
        weight=25,
    ),
    Endpoint(
        "aggTrades",
        "GET",
        "/api/v3/aggTrades",
        {"symbol": _symbol, "fromId": _integer, **_SPAN, "limit": _limit(1000)},
        ("symbol",),
        weight=4,
    ),
    Endpoint("klines", "GET", "/api/v3/klines", _CANDLES, ("symbol", "interval"), weight=2),
    Endpoint("uiKlines", "GET", "/api/v3/uiKlines", _CANDLES, ("symbol", "interval"), weight=2),
    Endpoint("avgPrice", "GET", "/api/v3/avgPrice", {"symbol": _symbol}, ("symbol",), weight=2),
    Endpoint("ticker/24hr", "GET", "/api/v3/ticker/24hr", {**_TICKER, "type": _TICKER_TYPE}, weight=2),
    Endpoint(
        "ticker/tradingDay",
        "GET",
        "/api/v3/ticker/tradingDay",
        {**_TICKER, "timeZone": _time_zone, "type": _TICKER_TYPE},
        weight=4,
    ),
    Endpoint("ticker", "GET", "/api/v3/ticker", {**_TICKER, "windowSize": _window, "type": _TICKER_TYPE}, weight=4),
    Endpoint("ticker/price", "GET", "/api/v3/ticker/price", _TICKER, weight=2),
    Endpoint("ticker/bookTicker", "GET", "/api/v3/ticker/bookTicker", _TICKER, weight=2),
    Endpoint("order", "POST", "/api/v3/order", _ORDER, ("symbol", "side", "type"), "TRADE", orders=1),
    Endpoint(
        "test",
        "POST",
        "/api/v3/order/test",
        {**_ORDER, "computeCommissionRates": _boolean},
        ("symbol", "side", "type"),
        "TRADE",
    ),
    Endpoint(
        "cancelReplace",
        "POST",
        "/api/v3/order/cancelReplace",
        {
            **_ORDER,
            "cancelReplaceMode": _REPLACE_MODE,
            "cancelOrderId": _integer,
            "cancelOrigClientOrderId": _client_id,
            "cancelNewClientOrderId": _client_id,
            "cancelRestrictions": _RESTRICTIONS,
            "orderRateLimitExceededMode": _LIMIT_MODE,
        },
        ("symbol", "side", "type", "cancelReplaceMode"),
        "TRADE",
        orders=1,
    ),
    Endpoint(
        "cancel",
        "DELETE",
        "/api/v3/order",
        {**_ONE, "newClientOrderId": _client_id, "cancelRestrictions": _RESTRICTIONS},
        ("symbol",),
        "TRADE",
    ),
    Endpoint("query", "GET", "/api/v3/order", _ONE, ("symbol",), "USER_DATA", 4),
    Endpoint("cancelAll", "DELETE", "/api/v3/openOrders", {"symbol": _symbol}, ("symbol",), "TRADE"),
    Endpoint("openOrders", "GET", "/api/v3/openOrders", {"symbol": _symbol}, (), "USER_DATA", 6),
    Endpoint(
        "allOrders",
        "GET",
        "/api/v3/allOrders",
        {"symbol": _symbol, "orderId": _integer, **_SPAN, "limit": _limit(1000)},
        ("symbol",),
        "USER_DATA",
        20,
    ),
    Endpoint(
        "oco",
        "POST",
        "/api/v3/orderList/oco",
        {
            **_LIST,
            "side": _SIDE,
            "quantity": _decimal,
            "aboveType": _TYPE,
            "belowType": _TYPE,
            **_leg("above"),
            **_leg("below"),
        },
        ("symbol", "side", "quantity", "aboveType", "belowType"),
        "TRADE",
        orders=2,
    ),
    Endpoint(
        "oco/deprecated",
        "POST",
        "/api/v3/order/oco",
        {
            **_LIST,
            "side": _SIDE,
            "quantity": _decimal,
            "price": _decimal,
            "limitClientOrderId": _client_id,
            "limitIcebergQty": _decimal,
            "limitStrategyId": _integer,
            "limitStrategyType": _integer,
            "stopPrice": _decimal,
            "stopClientOrderId": _client_id,
            "stopLimitPrice": _decimal,
            "stopLimitTimeInForce": _TIME_IN_FORCE,
            "stopIcebergQty": _decimal,
            "stopStrategyId": _integer,
            "stopStrategyType": _integer,
            "trailingDelta": _integer,
        },
        ("symbol", "side", "quantity", "price", "stopPrice"),
        "TRADE",
        orders=2,
    ),
    Endpoint("oto", "POST", "/api/v3/orderList/oto", _OTO, (*_OTO_NEEDS, "pendingQuantity"), "TRADE", orders=2),
    Endpoint("otoco", "POST", "/api/v3/orderList/otoco", _OTOCO, (*_OTOCO_NEEDS, "pendingQuantity"), "TRADE", orders=3),
    # An OPO's pending legs must not have a quantity; it is known here so that -1225 can name it.
    Endpoint("opo", "POST", "/api/v3/orderList/opo", _OTO, _OTO_NEEDS, "TRADE", orders=2),
    Endpoint("opoco", "POST", "/api/v3/orderList/opoco", _OTOCO, _OTOCO_NEEDS, "TRADE", orders=3),
    Endpoint(
        "cancelList",
        "DELETE",
        "/api/v3/orderList",
        {
            "symbol": _symbol,
            "orderListId": _integer,
            "listClientOrderId": _client_id,
            "newClientOrderId": _client_id,
        },
        ("symbol",),
        "TRADE",
    ),
    Endpoint(
        "queryList",
        "GET",
        "/api/v3/orderList",
        {"orderListId": _integer, "origClientOrderId": _client_id},
        (),
        "USER_DATA",
        4,
    ),
    Endpoint("openOrderList", "GET", "/api/v3/openOrderList", {}, (), "USER_DATA", 6),
    Endpoint(
        "allOrderList",
        "GET",
        "/api/v3/allOrderList",
        {"fromId": _integer, **_SPAN, "limit": _limit(1000)},
        (),
        "USER_DATA",
        20,
    ),
    Endpoint("account", "GET", "/api/v3/account", {"omitZeroBalances": _boolean}, (), "USER_DATA", 20),
    Endpoint(
        "myTrades",
        "GET",
        "/api/v3/myTrades",
        {"symbol": _symbol, "orderId": _integer, **_SPAN, "fromId": _integer, "limit": _limit(1000)},
        ("symbol",),
        "USER_DATA",
        20,
    ),
    Endpoint(
        "myPreventedMatches",
        "GET",
        "/api/v3/myPreventedMatches",
        {
            "symbol": _symbol,
            "preventedMatchId": _integer,
            "orderId": _integer,
            "fromPreventedMatchId": _integer,
            "limit": _limit(1000),
        },
        ("symbol",),
        "USER_DATA",
        2,
    ),
    Endpoint("commission", "GET", "/api/v3/account/commission", {"symbol": _symbol}, ("symbol",), "USER_DATA", 20),
    Endpoint("myFilters", "GET", "/api/v3/myFilters", {"symbol": _symbol}, ("symbol",), "USER_DATA", 40),
    # Outside of /api (rule: wallet-replies).
    Endpoint("coins", "GET", "/sapi/v1/capital/config/getall", {}, (), "USER_DATA", 10),
    Endpoint("tradeFee", "GET", "/sapi/v1/asset/tradeFee", {"symbol": _symbol}, (), "USER_DATA"),
    Endpoint("marginPairs", "GET", "/sapi/v1/margin/allPairs", _EITHER_WAY),
    Endpoint("isolatedPairs", "GET", "/sapi/v1/margin/isolated/allPairs", _EITHER_WAY, weight=10),
    Endpoint("systemStatus", "GET", "/sapi/v1/system/status", _EITHER_WAY),
    Endpoint("keyRights", "GET", "/sapi/v1/account/apiRestrictions", {}, (), "USER_DATA"),
    Endpoint("delistSchedule", "GET", "/sapi/v1/spot/delist-schedule", _EITHER_WAY, weight=100),
    Endpoint("rateLimit", "GET", "/api/v3/rateLimit/order", {}, (), "USER_DATA", 40),
)

BY_PATH: dict[str, dict[str, Endpoint]] = {}
for _endpoint in ENDPOINTS:
    BY_PATH.setdefault(_endpoint.path, {})[_endpoint.method] = _endpoint
BY_NAME = {endpoint.name: endpoint for endpoint in ENDPOINTS}
