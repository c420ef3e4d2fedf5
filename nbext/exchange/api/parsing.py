"""From parameters to tickets: which parameters make which order (rule: order-parameters, list-parameters).

Parameters arrive here well formed, as numbers and words; their combination is judged here.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, cast

from nbext.exchange.engine import refusals
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.tickets import (
    LIMIT_TYPES,
    ORDER_TYPES,
    PRECISION,
    STOP_TYPES,
    ZERO,
    ListTicket,
    Ticket,
    anchor,
    bad_relation,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange.api.endpoints import Value

    Params = Mapping[str, Value]

DEFAULT_ROWS = 500
LEAST_STRATEGY_TYPE = 1_000_000
WORKING_TYPES = frozenset({"LIMIT", "LIMIT_MAKER"})
PAIR_TYPES = STOP_TYPES | {"LIMIT_MAKER"}

_STOP = ("StopPrice", "TrailingDelta")
# What each type must have, and what it may have besides.
_TAKES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
    "LIMIT": (("TimeInForce", "Price"), ("IcebergQty",)),
    "LIMIT_MAKER": (("Price",), ("IcebergQty",)),
    "MARKET": ((), ()),
    "STOP_LOSS": ((), _STOP),
    "TAKE_PROFIT": ((), _STOP),
    "STOP_LOSS_LIMIT": (("TimeInForce", "Price"), (*_STOP, "IcebergQty")),
    "TAKE_PROFIT_LIMIT": (("TimeInForce", "Price"), (*_STOP, "IcebergQty")),
}
_SOMETIMES = ("TimeInForce", "Price", *_STOP, "IcebergQty")
_PEG = ("PegPriceType", "PegOffsetType", "PegOffsetValue")
MAX_PEG_OFFSET = 100
# The parameters of the deprecated OCO by the names that a pair's legs have today.
_OLD_LIMIT_LEG = {
    "price": "Price",
    "limitClientOrderId": "ClientOrderId",
    "limitIcebergQty": "IcebergQty",
    "limitStrategyId": "StrategyId",
    "limitStrategyType": "StrategyType",
}
_OLD_STOP_LEG = {
    "stopPrice": "StopPrice",
    "stopLimitPrice": "Price",
    "stopLimitTimeInForce": "TimeInForce",
    "stopClientOrderId": "ClientOrderId",
    "stopIcebergQty": "IcebergQty",
    "stopStrategyId": "StrategyId",
    "stopStrategyType": "StrategyType",
    "trailingDelta": "TrailingDelta",
}


class _Leg:
    """The parameters of one leg, under their prefix."""

    def __init__(self, params: Params, prefix: str = "", names: Mapping[str, str] | None = None) -> None:
        self._params = params
        self._prefix = prefix
        self._names = {field: name for name, field in names.items()} if names is not None else None

    def name(self, field: str) -> str:
        """Return the wire name of a field of this leg."""
        if self._names is not None:
            return self._names.get(field, "")
        return self._prefix + field if self._prefix else field[0].lower() + field[1:]

    def has(self, field: str) -> bool:
        return self.name(field) in self._params

    def amount(self, field: str) -> Decimal | None:
        """Read a price or quantity; the assets take eight decimals."""
        value = self._params.get(self.name(field))
        if not isinstance(value, Decimal):
            return None
        exponent = value.normalize().as_tuple().exponent
        if isinstance(exponent, int) and -exponent > PRECISION:
            raise Refusal(-1111, f"Parameter '{self.name(field)}' has too much precision.")
        return value

    def number(self, field: str) -> int | None:
        value = self._params.get(self.name(field))
        return value if isinstance(value, int) else None

    def word(self, field: str) -> str | None:
        value = self._params.get(self.name(field))
        return value if isinstance(value, str) else None


def word(params: Params, name: str) -> str | None:
    """Return a parameter that is text, None if it was not sent."""
    return cast("str | None", params.get(name))


def number(params: Params, name: str) -> int | None:
    """Return a parameter that is a whole number, None if it was not sent."""
    return cast("int | None", params.get(name))


def row_limit(params: Params) -> int:
    """Return how many rows are wanted at most."""
    return number(params, "limit") or DEFAULT_ROWS


def single(params: Params) -> Ticket:
    """Read the ticket of ``POST /order``."""
    kind = str(params["type"])
    leg = _Leg(params)
    money = leg.amount("QuoteOrderQty")
    if kind == "MARKET":
        if "quantity" not in params and money is None:
            raise refusals.one_of("quantity", "quoteOrderQty")
        if "quantity" in params and money is not None:
            raise refusals.bad_combination()
    elif money is not None:
        raise refusals.not_required("quoteOrderQty")
    elif "quantity" not in params:
        raise refusals.mandatory("quantity")
    return _ticket(leg, kind, str(params["side"]), leg.amount("Quantity"), id_field="NewClientOrderId", money=money)


def oco(params: Params) -> ListTicket:
    """Read the tickets of ``POST /orderList/oco``."""
    quantity = _Leg(params).amount("Quantity")
    pair = _pair(params, "above", "below", str(params["side"]), quantity)
    return ListTicket("OCO", _list_id(params), pair=pair)


def oto(params: Params) -> ListTicket:
    """Read the tickets of ``POST /orderList/oto``."""
    leg = _Leg(params, "pending")
    pending = _ticket(leg, str(params["pendingType"]), str(params["pendingSide"]), leg.amount("Quantity"))
    return ListTicket("OTO", _list_id(params), working=_working(params), pending=pending)


def opo(params: Params) -> ListTicket:
    """Read the tickets of ``POST /orderList/opo``: the pending order sells what the working one buys."""
    _check_opo(params)
    leg = _Leg(params, "pending")
    pending = _ticket(leg, str(params["pendingType"]), str(params["pendingSide"]), None, awaits_quantity=True)
    return ListTicket("OPO", _list_id(params), working=_working(params), pending=pending)


def opoco(params: Params) -> ListTicket:
    """Read the tickets of ``POST /orderList/opoco``."""
    _check_opo(params)
    if "pendingBelowType" not in params:
        raise refusals.mandatory("pendingBelowType")
    side = str(params["pendingSide"])
    pair = _pair(params, "pendingAbove", "pendingBelow", side, None, awaits_quantity=True)
    return ListTicket("OPOCO", _list_id(params), working=_working(params), pair=pair)


def _check_opo(params: Params) -> None:
    if "pendingQuantity" in params:
        raise Refusal(-1225, "Pending orders should not include the 'pendingQuantity' tag.")
    if params["workingSide"] != "BUY":
        raise Refusal(-1222, "Working order in an OPO list must be a bid.")
    if params["pendingSide"] != "SELL":
        raise Refusal(-1223, "Pending orders in an OPO list must be asks.")


def deprecated_oco(params: Params) -> ListTicket:
    """Read the tickets of ``POST /order/oco``: a LIMIT_MAKER, and a STOP_LOSS or STOP_LOSS_LIMIT."""
    has_limit = "stopLimitPrice" in params
    if has_limit and "stopLimitTimeInForce" not in params:
        text = "Combination of optional parameters invalid. Recommendation: 'stopLimitTimeInForce' should also be sent."
        raise Refusal(-1128, text)
    side = str(params["side"])
    quantity = _Leg(params).amount("Quantity")
    stop_kind = "STOP_LOSS_LIMIT" if has_limit else "STOP_LOSS"
    stop = _ticket(_Leg(params, names=_OLD_STOP_LEG), stop_kind, side, quantity)
    limit = _ticket(_Leg(params, names=_OLD_LIMIT_LEG), "LIMIT_MAKER", side, quantity)
    _check_relation(stop, limit)
    return ListTicket("OCO", _list_id(params), pair=(stop, limit))


def otoco(params: Params) -> ListTicket:
    """Read the tickets of ``POST /orderList/otoco``."""
    if "pendingBelowType" not in params:
        # The page marks it as optional, but describes no list with only two legs.
        raise refusals.mandatory("pendingBelowType")
    quantity = _Leg(params, "pending").amount("Quantity")
    pair = _pair(params, "pendingAbove", "pendingBelow", str(params["pendingSide"]), quantity)
    return ListTicket("OTOCO", _list_id(params), working=_working(params), pair=pair)


def _list_id(params: Params) -> str | None:
    return _Leg(params).word("ListClientOrderId")


def _working(params: Params) -> Ticket:
    kind = str(params["workingType"])
    if kind not in WORKING_TYPES:
        raise Refusal(-1116, "Invalid orderType.")
    leg = _Leg(params, "working")
    return _ticket(leg, kind, str(params["workingSide"]), leg.amount("Quantity"))


def _pair(
    params: Params, above: str, below: str, side: str, quantity: Decimal | None, *, awaits_quantity: bool = False
) -> tuple[Ticket, Ticket]:
    """Read two orders of which one may execute; the stop-loss leg comes first, as in all examples."""
    kinds = {prefix: str(params[f"{prefix}Type"]) for prefix in (above, below)}
    for kind in kinds.values():
        if kind not in PAIR_TYPES:
            raise Refusal(-1158, "Order type not supported in OCO.")
    if set(kinds.values()) == {"LIMIT_MAKER"}:
        raise Refusal(-1168, "At least one OCO order must be contingent.")
    _check_places(side, kinds[above], kinds[below])
    legs = []
    for prefix, kind in kinds.items():
        leg = _Leg(params, prefix)
        if leg.has("IcebergQty") and leg.word("TimeInForce") in {"IOC", "FOK"}:
            name = leg.name("IcebergQty")
            raise Refusal(
                -1160, f"Parameter '{name}' is not supported if aboveTimeInForce/belowTimeInForce is not GTC."
            )
        legs.append(_ticket(leg, kind, side, quantity, awaits_quantity=awaits_quantity))
    stop, limit = sorted(legs, key=lambda ticket: not ticket.type.startswith("STOP_LOSS"))
    _check_relation(stop, limit)
    return stop, limit


def _check_places(side: str, above: str, below: str) -> None:
    """Refuse a leg on the wrong side of the market (rule: list-prices)."""
    stop_place, limit_place = (above, below) if side == "SELL" else (below, above)
    word = "buy" if side == "BUY" else "sell"
    far, near = ("below", "above") if side == "BUY" else ("above", "below")
    if limit_place == "LIMIT_MAKER":
        raise Refusal(-1165 if side == "BUY" else -1166, f"A limit order in a {word} OCO must be {far}.")
    if stop_place.startswith("STOP_LOSS"):
        raise Refusal(-1196 if side == "BUY" else -1197, f"A stop loss order in a {word} OCO must be {near}.")
    if limit_place.startswith("TAKE_PROFIT"):
        raise Refusal(-1198 if side == "BUY" else -1199, f"A take profit order in a {word} OCO must be {far}.")


def _check_relation(stop: Ticket, limit: Ticket) -> None:
    stop_at, limit_at = anchor(stop), anchor(limit)
    if stop_at is None or limit_at is None:
        return
    if not (limit_at > stop_at if stop.side == "SELL" else limit_at < stop_at):
        raise bad_relation()


def _ticket(  # noqa: C901 - one refusal after the other, in the order of the page
    leg: _Leg,
    kind: str,
    side: str,
    quantity: Decimal | None,
    *,
    id_field: str = "ClientOrderId",
    money: Decimal | None = None,
    awaits_quantity: bool = False,
) -> Ticket:
    if kind not in ORDER_TYPES:
        raise Refusal(-1116, "Invalid orderType.")
    _check_peg(leg, kind)
    is_pegged = leg.has("PegPriceType")
    needed, allowed = _TAKES[kind]
    for field in needed:
        if not leg.has(field) and not (is_pegged and field == "Price"):
            raise refusals.mandatory(leg.name(field))
    for field in _SOMETIMES:
        if leg.has(field) and field not in needed and field not in allowed:
            raise refusals.not_required(leg.name(field))
    if kind in STOP_TYPES and not (leg.has("StopPrice") or leg.has("TrailingDelta")):
        raise refusals.one_of(leg.name("StopPrice"), leg.name("TrailingDelta"))
    iceberg = leg.amount("IcebergQty")
    price = leg.amount("Price") or ZERO
    quantity = quantity or ZERO
    time_in_force = leg.word("TimeInForce") or "GTC"
    if iceberg is not None and time_in_force != "GTC":
        raise Refusal(-1014, "Unsupported order combination.")
    if kind in LIMIT_TYPES and not price and (leg.has("Price") or not is_pegged):
        raise Refusal(-1013, "Price * QTY is zero or less.")
    if not (quantity or money or awaits_quantity):
        raise Refusal(-1013, "Price * QTY is zero or less.")
    if iceberg is not None and iceberg >= quantity and not awaits_quantity:
        raise Refusal(-1013, "IcebergQty exceeds QTY.")
    strategy_type = leg.number("StrategyType")
    if strategy_type is not None and strategy_type < LEAST_STRATEGY_TYPE:
        raise Refusal(-1134, "strategyType was less than 1000000.")
    return Ticket(
        side=side,
        type=kind,
        time_in_force=time_in_force,
        quantity=quantity,
        quote_quantity=money or ZERO,
        price=price,
        stop_price=leg.amount("StopPrice"),
        trailing_delta=leg.number("TrailingDelta"),
        iceberg_quantity=iceberg,
        client_order_id=leg.word(id_field),
        strategy_id=leg.number("StrategyId"),
        strategy_type=strategy_type,
        peg_price_type=leg.word("PegPriceType"),
        peg_offset_type=leg.word("PegOffsetType"),
        peg_offset_value=leg.number("PegOffsetValue"),
        awaits_quantity=awaits_quantity,
    )


def _check_peg(leg: _Leg, kind: str) -> None:
    """Refuse pegs that do not exist (rule: pegged-orders)."""
    if not any(leg.has(field) for field in _PEG):
        return
    offset_type, offset_value = leg.name("PegOffsetType"), leg.name("PegOffsetValue")
    if leg.has("PegOffsetType") != leg.has("PegOffsetValue"):
        raise Refusal(-1128, f"Fields ['{offset_type}', '{offset_value}'] must be sent together or omitted entirely.")
    if not leg.has("PegPriceType"):
        raise refusals.bad_combination()
    if (leg.number("PegOffsetValue") or 0) > MAX_PEG_OFFSET:
        raise Refusal(-1102, f"'{offset_value}' contains unexpected value. Cannot be greater than {MAX_PEG_OFFSET}.")
    if kind not in LIMIT_TYPES:
        raise Refusal(-1013, "This order type may not use pegged price.")
    is_primary = leg.word("PegPriceType") == "PRIMARY_PEG"
    waits = leg.word("TimeInForce") in {"IOC", "FOK"}
    if (kind == "LIMIT_MAKER" and not is_primary) or (kind == "LIMIT" and is_primary and waits):
        raise Refusal(-1013, "This price peg cannot be used with this order type.")
