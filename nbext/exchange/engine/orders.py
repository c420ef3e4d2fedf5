"""Accepted orders and order lists, and their lives (rule: order-life).

The engine turns a `Ticket` into an `Order`, which has an id, a status and a history; an `OrderList` ties two or three
orders together.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from nbext.exchange.engine.tickets import BASIS_POINTS, LIMIT_TYPES, ZERO, Ticket

if TYPE_CHECKING:
    from decimal import Decimal

    from nbext.exchange.dialect import Dialect
    from nbext.exchange.engine.accounts import Account
    from nbext.exchange.engine.symbols import Symbol

LIVE = frozenset({"NEW", "PENDING_NEW", "PARTIALLY_FILLED"})


@dataclass(frozen=True, slots=True)
class Fill:
    """One side of a trade."""

    trade_id: int
    order: Order
    price: Decimal
    quantity: Decimal
    commission: Decimal
    commission_asset: str
    time: int
    is_maker: bool

    @property
    def quote(self) -> Decimal:
        """The money that changed hands."""
        return self.price * self.quantity


class Event(NamedTuple):
    """One step in the life of an order, and what caused it."""

    time: int
    status: str
    executed: Decimal
    cause: str  # place, release, fill, prevent, trigger, amend, cancel, expire


@dataclass(frozen=True, slots=True)
class PreventedMatch:
    """A self-trade that was prevented (rule: self-trade-prevention); None for a side that lost nothing."""

    prevented_match_id: int
    maker: Order
    price: Decimal
    taker_quantity: Decimal | None
    maker_quantity: Decimal | None
    time: int


@dataclass(slots=True, eq=False, kw_only=True)
class Order(Ticket):
    """An accepted order and its life (rule: order-life). Times are microseconds; -1 is "not yet"."""

    symbol: Symbol
    account: Account
    time: int
    order_id: int = -1
    own_id: str = ""  # the client id it was placed with; a cancel adds another one
    order_list: OrderList | None = None
    cancel_id: str | None = None
    status: str = "NEW"
    limit: Decimal = ZERO  # the worst price it trades at: `price`, or what its peg has picked
    executed: Decimal = ZERO
    quote_executed: Decimal = ZERO
    prevented: Decimal = ZERO  # lost to self-trade prevention
    prevented_match_id: int | None = None  # the latest of them
    received: Decimal = ZERO  # what the working order of an OPO has bought so far for this leg
    update_time: int = -1
    working_time: int = -1
    trailing_time: int = -1
    extreme: Decimal = ZERO  # best trade price since tracking began (rule: trailing-stops)
    visible: Decimal = ZERO  # what the book shows: less than the rest for an iceberg (rule: icebergs)
    lock_price: Decimal = ZERO  # what a unit bought may cost at most (rule: funds)
    locked: Decimal = ZERO
    expiry_reason: str | None = None
    is_quote: bool = False  # one of the market's own quotes, which leave no trace when withdrawn
    fills: list[Fill] | None = None  # None before the first, as with most orders: empty lists would add up
    prevented_matches: list[PreventedMatch] | None = None  # as the taker
    history: list[Event] = field(default_factory=list)
    past: list[tuple[int, Order]] | None = None  # what it was after each change, while that is kept

    @property
    def is_live(self) -> bool:
        """Whether the order is still open, waiting or pending."""
        return self.status in LIVE

    @property
    def is_working(self) -> bool:
        """Whether the order has reached the book."""
        return self.working_time >= 0

    @property
    def current_id(self) -> str:
        """The client id that later queries show: a cancel replaces it (rule: cancel-id-in-queries)."""
        return self.cancel_id or self.own_id

    @property
    def remaining(self) -> Decimal:
        """What is left to trade."""
        return self.quantity - self.executed - self.prevented

    @property
    def lock_asset(self) -> str:
        """The asset that the order may have to give."""
        return self.symbol.quote if self.side == "BUY" else self.symbol.base

    @property
    def need(self) -> Decimal:
        """Funds that the rest of the order may cost."""
        # Price x rest in quote for a BUY, the rest in base for a SELL (rule: funds).
        if self.awaits_quantity:
            return self.received
        return self.lock_price * self.remaining if self.side == "BUY" else self.remaining

    def as_ticket(self) -> Ticket:
        """Return what was requested."""
        return Ticket(**{name: getattr(self, name) for name in Ticket.__slots__})

    def crosses(self, price: Decimal) -> bool:
        """Return whether the order would trade at this price of the other side."""
        if self.type not in LIMIT_TYPES:
            return True
        return self.limit >= price if self.side == "BUY" else self.limit <= price

    def track(self, price: Decimal, now: int) -> bool:
        """Note a trade and return whether it triggers this stop (rule: stop-triggers, trailing-stops)."""
        if self.trailing_delta is None:
            return self.meets_stop(price)
        if self.trailing_time < 0:
            if self.meets_stop(price):
                self.trailing_time, self.extreme = now, price
                self.touch()
            return False
        share = self.trailing_delta / BASIS_POINTS
        if self.side == "SELL":
            self.extreme = max(self.extreme, price)
            return price <= self.extreme * (1 - share)
        self.extreme = min(self.extreme, price)
        return price >= self.extreme * (1 + share)

    def note(self, status: str, now: int, cause: str) -> None:
        """Move to a status and write it into the order's history."""
        self.status = status
        self.update_time = now
        self.history.append(Event(now, status, self.executed, cause))
        self.touch()

    def touch(self) -> None:
        """Notify the account that the order has changed, if its past is kept."""
        if self.account.touched is not None:
            self.account.touched.add(self)


@dataclass(slots=True, eq=False, kw_only=True)
class OrderList:
    """Two or three orders that depend on each other (rule: oco, oto, opo).

    `working` is the first order of an OTO or OPO; `pair` are two orders of which only one may execute.
    """

    order_list_id: int
    client_order_id: str
    kind: str  # OCO, OTO, OTOCO, OPO, OPOCO
    symbol: Symbol
    account: Account
    time: int
    legs: list[Order] = field(default_factory=list)
    working: Order | None = None
    pair: tuple[Order, Order] | None = None
    decided: bool = False  # one of the pair was touched or triggered, the other has ended
    is_done: bool = False
    past: list[tuple[int, OrderList]] | None = None  # as with orders

    @property
    def contingency_type(self) -> str:
        """The wire word: all but an OCO say OTO (rule: contingency-types)."""
        return "OCO" if self.kind == "OCO" else "OTO"

    @property
    def pending(self) -> list[Order]:
        """The legs that wait for the working order."""
        return [leg for leg in self.legs if leg.status == "PENDING_NEW"]

    def partner(self, order: Order) -> Order | None:
        """Return the other order of an undecided pair."""
        if self.pair is None or self.decided or order is self.working:
            return None
        first, second = self.pair
        return second if order is first else first

    def has_finished(self, dialect: Dialect) -> bool:
        """Return whether nothing in the list is contingent any more."""
        # The docs are silent on when that is (rule: oco-done, oto-done).
        if self.decided and dialect.oco_done == "decided":
            return True
        if self.working is not None and self.pair is None and dialect.oto_done == "released":
            return not self.working.is_live and not self.pending
        return not any(leg.is_live for leg in self.legs)
