"""The exchange's own record of its orders, in plain values: what the judge goes by."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping

    from nbext.exchange import LocalExchange

Id = tuple[str, int]

LIVE = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})
OUTCOMES = {
    "CANCELED": "canceled",
    "FILLED": "filled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "rejected",
}


@dataclass(frozen=True, slots=True)
class Step:
    """One step in the life of an order: milliseconds of the engine's clock, and of one that is right."""

    time: int
    at: float
    status: str
    executed: Decimal
    quote: Decimal
    cause: str
    request: int | None


@dataclass(frozen=True, slots=True)
class Truth:
    """What the exchange knows of an order.

    Attributes
    ----------
    lasting : Mapping
        What never changes, by wire name, an amendment aside; None where the order has no such thing.
    cancel_ids : set of str
        The client ids that its cancel may be called by.
    steps : list of Step
    list_times : set of int
        Moments that its list may be dated by.
    list_is_done : bool
    changing : Mapping
        Further fields as they are now, by wire name.
    former : Mapping
        Of what an amendment or a release has changed, by wire name, what it was before.
    traits : list of str
        What is special about it, of `TRAITS`.
    """

    lasting: Mapping[str, Any]
    cancel_ids: frozenset[str]
    steps: list[Step]
    list_times: frozenset[int]
    list_is_done: bool
    changing: Mapping[str, Any]
    former: Mapping[str, frozenset[Any]] = field(default_factory=dict)
    traits: tuple[str, ...] = ()

    def could_be(self, name: str) -> set[Any]:
        """Return what a field may have been at any time."""
        return {self.lasting[name], *self.former.get(name, ())}

    @property
    def last(self) -> Step:
        """Its latest step."""
        return self.steps[-1]

    def is_canceled_by(self, numbers: Collection[int]) -> bool:
        """Whether one of these requests has canceled it."""
        return self.last.cause == "cancel" and self.last.request in numbers

    @property
    def outcome(self) -> str:
        """What has become of it."""
        return OUTCOMES.get(self.last.status, "open")


def read(exchange: LocalExchange, account: str = "main") -> dict[Id, Truth]:
    """Read the whole record of an account."""
    app = exchange._app
    with app.lock:
        orders = app.engine.accounts[account].orders
        return {(name, number): _truth(each, app) for name, some in orders.items() for number, each in some.items()}


def _truth(order: Any, app: Any) -> Truth:
    order_list = order.order_list
    fills, executed, quote = {Decimal(0): Decimal(0)}, Decimal(0), Decimal(0)
    for fill in order.fills or ():
        executed, quote = executed + fill.quantity, quote + fill.price * fill.quantity
        fills[executed] = quote
    steps = []
    for event in order.history:
        cause, moment = app._happened(event)
        request = None if cause is None else cause.number or None
        amounts = event.executed, fills[event.executed]
        steps.append(Step(event.time // 1000, moment / 1000, event.status, *amounts, event.cause, request))
    lasting = {
        "symbol": order.symbol.name,
        "orderId": order.order_id,
        "orderListId": -1 if order_list is None else order_list.order_list_id,
        "contingencyType": None if order_list is None else order_list.contingency_type,
        "side": order.side,
        "type": order.type,
        "timeInForce": order.time_in_force,
        "price": order.price or None,
        "stopPrice": order.stop_price or None,
        "origQty": None if order.awaits_quantity else order.quantity,
        "origQuoteOrderQty": order.quote_quantity or None,
        "icebergQty": order.iceberg_quantity or None,
        "origClientOrderId": order.own_id,
        "listClientOrderId": None if order_list is None else order_list.client_order_id,
        "selfTradePreventionMode": order.stp_mode,
        "trailingDelta": order.trailing_delta,
        "strategyId": order.strategy_id,
        "strategyType": order.strategy_type,
        "expiryReason": order.expiry_reason,
        "pegPriceType": order.peg_price_type,
        "pegOffsetType": order.peg_offset_type,
        "pegOffsetValue": order.peg_offset_value,
    }
    was = [each for _, each in order.past or ()]
    former = {
        "origClientOrderId": frozenset(each.own_id for each in was),
        "origQty": frozenset(each.quantity for each in was if not each.awaits_quantity),
    }
    legs = [] if order_list is None else order_list.legs
    times = {event.time // 1000 for leg in legs for event in leg.history}
    times |= set() if order_list is None else {order_list.time // 1000}
    changing = {
        "workingTime": order.working_time // 1000 if order.is_working else None,
        "isWorking": order.is_working,
        "peggedPrice": order.pegged_price,
        "preventedMatchId": order.prevented_match_id,
        "preventedQuantity": order.prevented or None,
    }
    cancel_ids = frozenset(filter(None, [order.cancel_id]))
    is_done = order_list is not None and order_list.is_done
    traits = tuple(_traits(order))
    return Truth(lasting, cancel_ids, steps, frozenset(times), is_done, changing, former, traits)


TRAITS = (
    *("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"),
    *("OCO list", "OTO list", "OTOCO list", "OPO list", "OPOCO list"),
    *("iceberg", "trailing", "pegged", "by its value", "amended", "prevented", "partly filled", "not GTC", "strategy"),
)


def _traits(order: Any) -> Iterator[str]:
    """Yield what is special about an order: its type, its list, and what has befallen it."""
    yield order.type
    if order.order_list is not None:
        yield f"{order.order_list.kind} list"
    causes = {event.cause for event in order.history}
    special = {
        "iceberg": order.iceberg_quantity,
        "trailing": order.trailing_delta,
        "pegged": order.peg_price_type,
        "by its value": order.quote_quantity,
        "amended": "amend" in causes,
        "prevented": order.prevented_match_id is not None,
        "partly filled": 0 < order.executed < order.quantity,
        "not GTC": order.time_in_force != "GTC",
        "strategy": order.strategy_id,
    }
    yield from (name for name, there in special.items() if there)
