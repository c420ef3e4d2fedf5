"""Tickets: orders and order lists as requested, complete and well formed, but not yet accepted."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from nbext.exchange.engine.refusals import Refusal

ZERO = Decimal(0)
BASIS_POINTS = Decimal(10_000)

STOP_TYPES = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
LIMIT_TYPES = frozenset({"LIMIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT", "TAKE_PROFIT_LIMIT"})
ORDER_TYPES = ("LIMIT", "LIMIT_MAKER", "MARKET", "STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT")
PRECISION = 8  # decimals of every asset, and of every amount in a reply (rule: decimals)


def opposite(side: str) -> str:
    """Return the other side of the book."""
    return "SELL" if side == "BUY" else "BUY"


@dataclass(slots=True, eq=False, kw_only=True)
class Ticket:
    """One order as requested, complete and well formed, but not yet accepted."""

    side: str
    type: str
    time_in_force: str = "GTC"
    quantity: Decimal = ZERO
    quote_quantity: Decimal = ZERO
    price: Decimal = ZERO
    stop_price: Decimal | None = None
    trailing_delta: int | None = None
    iceberg_quantity: Decimal | None = None
    client_order_id: str | None = None
    strategy_id: int | None = None
    strategy_type: int | None = None
    stp_mode: str = "NONE"
    peg_price_type: str | None = None
    peg_offset_type: str | None = None
    peg_offset_value: int | None = None
    pegged_price: Decimal | None = None  # the level of the book that a peg has picked (rule: pegged-orders)
    awaits_quantity: bool = False  # pending leg of an OPO, sells what the working order buys (rule: opo)

    @property
    def is_pegged(self) -> bool:
        """Whether the price comes from the book."""
        return self.peg_price_type is not None

    @property
    def is_stop(self) -> bool:
        """Whether the order waits for a trade before it works."""
        return self.type in STOP_TYPES

    @property
    def is_limit(self) -> bool:
        """Whether the order has a worst price."""
        return self.type in LIMIT_TYPES

    @property
    def triggers_above(self) -> bool:
        """Whether a trade at or above the stop price triggers, rather than at or below (rule: stop-triggers)."""
        return self.type.startswith("STOP_LOSS") == (self.side == "BUY")

    def meets_stop(self, price: Decimal) -> bool:
        """Return whether a trade at this price meets the stop condition (rule: stop-triggers)."""
        stop = self.stop_price
        if stop is None:
            return True
        return price >= stop if self.triggers_above else price <= stop


@dataclass(frozen=True, slots=True)
class ListTicket:
    """An order list as requested; `pair` and `pending` are in the order of the reply."""

    kind: str
    client_order_id: str | None
    working: Ticket | None = None
    pending: Ticket | None = None
    pair: tuple[Ticket, Ticket] | None = None

    @property
    def starting(self) -> list[Ticket]:
        """The legs that do not wait for another one."""
        return [self.working] if self.working else list(self.pair or ())

    @property
    def legs(self) -> list[Ticket]:
        """All legs, working order first."""
        return [leg for leg in (self.working, self.pending, *(self.pair or ())) if leg is not None]


def anchor(ticket: Ticket) -> Decimal | None:
    """Return the price that places a leg: its stop price, or the limit of a LIMIT_MAKER; a peg's once it is set."""
    if ticket.is_stop:
        return ticket.stop_price
    return ticket.pegged_price if ticket.is_pegged else ticket.price


def bad_relation() -> Refusal:
    """Return the refusal of a pair whose prices are the wrong way round."""
    return Refusal(-2010, "The relationship of the prices for the orders is not correct.")
