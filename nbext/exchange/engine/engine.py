"""The matching engine: accounts, symbols and their markets. It does not know HTTP.

Each public method is one step: nothing else happens between its beginning and its end. The clock counts
microseconds.
"""

from __future__ import annotations

import random
import string
from collections import defaultdict
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from nbext.exchange.dialect import Dialect
from nbext.exchange.engine import checks, refusals
from nbext.exchange.engine.accounts import KEPT_ORDERS, Account
from nbext.exchange.engine.limits import OrderCount
from nbext.exchange.engine.matching import Market
from nbext.exchange.engine.orders import Order, OrderList
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.symbols import FUNDS, exchange_filters, list_symbols
from nbext.exchange.engine.tickets import ZERO, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.engine.symbols import Symbol
    from nbext.exchange.engine.tickets import ListTicket

    Canceled = Order | tuple[OrderList, list[Order]]

Reply = TypeVar("Reply")

ONE = Decimal(1)
BRIDGE = "USDT"
ID_ALPHABET = string.ascii_letters + string.digits
ID_LENGTH = 22
STUCK_EACH = 3
LISTS = "lists"  # beside the symbols, which are upper case


class Engine:
    """Accounts, books and orders of one exchange.

    Parameters
    ----------
    seed : int
        Fixes ids and starting prices.
    clock : callable
        Returns the time in microseconds.
    max_num_orders : int
        MAX_NUM_ORDERS of each symbol.
    order_limits : tuple of int
        Unfilled order count allowed in ten seconds and in a day.
    kept_orders : int
        How many ended orders each account can look up.
    dialect : Dialect, optional
        What it does where the documentation is silent.
    given_out : defaultdict, optional
        The highest order id of each symbol, and the highest list id, given out by earlier openings; updated here.
    """

    def __init__(
        self,
        *,
        seed: int,
        clock: Callable[[], int],
        max_num_orders: int = 200,
        order_limits: tuple[int, int] = (50, 160_000),
        kept_orders: int = KEPT_ORDERS,
        dialect: Dialect | None = None,
        given_out: defaultdict[str, int] | None = None,
    ) -> None:
        self.dialect = dialect or Dialect()
        self._random = random.Random(seed)
        # Not from the seed: generated client ids differ each time an exchange opens.
        self._letters = "".join(random.Random().sample(ID_ALPHABET, len(ID_ALPHABET)))
        self._given_out = defaultdict(lambda: -1) if given_out is None else given_out
        self._clock = clock
        self._order_limits = order_limits
        self._kept_orders = kept_orders
        self.symbols = list_symbols(max_num_orders)
        self.filters = exchange_filters(max_num_orders)
        self.accounts: dict[str, Account] = {}
        self.markets: dict[str, Market] = {}
        self._next_order_id: dict[str, int] = {}
        self._next_list_id = self._random.randrange(1_000, 9_000)
        for symbol in self.symbols.values():
            symbol.stp_modes = tuple(sorted(symbol.stp_modes, key=lambda mode: mode != self.dialect.default_stp))
            self._next_order_id[symbol.name] = self._random.randrange(1_000_000, 9_000_000)
            first_trade_id = self._random.randrange(10_000, 90_000)
            self.markets[symbol.name] = Market(
                symbol, first_trade_id, lambda asset: self.worth("BNB", asset), self.dialect
            )
        # What happens to an order that rests in the book while a cancel-all is half done (rule: atomicity).
        self.meanwhile: Callable[[Order], None] = lambda _: None

    def opening_price(self, symbol: Symbol) -> Decimal:
        """Draw the price at which a symbol begins to trade."""
        jitter = self._random.randint(-25, 25)
        return (symbol.listing_price * (10_000 + jitter) / 10_000).quantize(symbol.tick)

    def start_ids(self) -> None:
        """Choose the first ids for orders other than the market's first quotes."""
        if self.dialect.order_ids == "from_zero":
            self._next_order_id = dict.fromkeys(self._next_order_id, 0)
        if self.dialect.list_ids == "from_zero":
            self._next_list_id = 0

    def now(self) -> int:
        """Return the time in microseconds."""
        return self._clock()

    def account(self, name: str) -> Account:
        """Return an account, opening it with the usual funds when it is new."""
        if name not in self.accounts:
            uid = 100_000_000 + len(self.accounts)
            self.accounts[name] = Account(name, uid, FUNDS, OrderCount(*self._order_limits), self._kept_orders)
        return self.accounts[name]

    def symbol(self, name: str) -> Symbol:
        """Return a listed symbol."""
        try:
            return self.symbols[name]
        except KeyError:
            raise Refusal(-1121, "Invalid symbol.") from None

    def _number(self, of: str, number: int, client_id: str | None) -> int:
        """Return a new id; with a client id of the caller's, which may come again, one that was never given out.

        So no order has both ids of an earlier one (rule: fresh-ids).
        """
        if client_id is not None:
            number = max(number, self._given_out[of] + 1)
        self._given_out[of] = max(number, self._given_out[of])
        return number

    def client_id(self) -> str:
        """Generate a client id, as the exchange does if none is sent."""
        chance, letters, many = self._random.random, self._letters, len(self._letters)
        return "".join([letters[int(chance() * many)] for _ in range(ID_LENGTH)])

    # Placing.

    def place(self, account: Account, symbol: Symbol, ticket: Ticket, write: Callable[[Order], Reply]) -> Reply:
        """Accept one order.

        The reply is written once the order is dealt with, before what its trades set off.
        """
        reply = self.place_unsettled(account, symbol, ticket, write)
        self.markets[symbol.name].settle()
        return reply

    def place_unsettled(
        self, account: Account, symbol: Symbol, ticket: Ticket, write: Callable[[Order], Reply]
    ) -> Reply:
        """Accept one order, and leave what its trades set off to the caller, who settles the market."""
        order = self.check(account, symbol, ticket)
        if order.type != "MARKET":
            account.hold([order])
        self.accept(order, "NEW")
        self.markets[symbol.name].enter(order)
        return write(order)

    def replace(
        self,
        account: Account,
        symbol: Symbol,
        ticket: Ticket,
        cancel: Callable[[], Reply],
        place: Callable[[], Reply],
        *,
        stop_on_failure: bool,
    ) -> tuple[Reply | Refusal, Reply | Refusal | None]:
        """Cancel an order and place another one; return the result of each, None if it was not attempted.

        What the rules alone can refuse is refused before the cancel.
        """
        if "cancelReplace" not in symbol.features:
            raise Refusal(-1020, "This operation is not supported.")
        self._check_rules(account, symbol, [ticket], lists=0)
        canceled: Reply | Refusal
        try:
            canceled = cancel()
        except Refusal as refusal:
            canceled = refusal
            if stop_on_failure:
                return canceled, None
        try:
            return canceled, place()
        except Refusal as refusal:
            return canceled, refusal

    def check(self, account: Account, symbol: Symbol, ticket: Ticket) -> Order:
        """Refuse a single order as `place` would; return it as it would be, without accepting it."""
        market = self._check_rules(account, symbol, [ticket], lists=0)
        checks.check_client_ids(account, symbol, [ticket])
        order = self.make(account, symbol, ticket)
        market.check_entry(order)
        if order.type == "MARKET":
            checks.check_purse(account, market, order)
        else:
            order.lock_price = market.lock_price(order)
            account.check_funds([order])
        return order

    def place_list(
        self, account: Account, symbol: Symbol, ticket: ListTicket, write: Callable[[OrderList], Reply]
    ) -> Reply:
        """Accept an order list, whole or not at all."""
        symbol.check_list(ticket.kind)
        market = self._check_rules(account, symbol, ticket.legs, lists=1, starting=ticket.starting)
        checks.check_client_ids(account, symbol, ticket.legs)
        if ticket.client_order_id is not None and account.is_open_list_id(ticket.client_order_id):
            raise refusals.duplicate_order()
        if ticket.working is None:
            checks.check_prices(ticket.starting, market.last_price)
        for leg in ticket.starting:
            market.check_entry(self.make(account, symbol, leg))
        order_list = self._build_list(account, symbol, ticket, market)
        for leg in order_list.legs:
            is_pending = order_list.working is not None and leg is not order_list.working
            self.accept(leg, "PENDING_NEW" if is_pending else "NEW")
        account.admit_list(order_list)
        self._next_list_id = order_list.order_list_id + 1
        for leg in order_list.legs:
            if leg.status == "NEW":
                market.enter(leg)
        reply = write(order_list)
        market.settle()
        return reply

    def _build_list(self, account: Account, symbol: Symbol, ticket: ListTicket, market: Market) -> OrderList:
        """Create the orders of a list and lock what they need."""
        order_list = OrderList(
            order_list_id=self._number(LISTS, self._next_list_id, ticket.client_order_id),
            client_order_id=ticket.client_order_id or self.client_id(),
            kind=ticket.kind,
            symbol=symbol,
            account=account,
            time=market.now,
        )
        for leg_ticket in ticket.legs:
            leg = self.make(account, symbol, leg_ticket)
            leg.order_list = order_list
            leg.lock_price = market.lock_price(leg)
            order_list.legs.append(leg)
        payers = list(order_list.legs)
        if ticket.working is not None:
            order_list.working = order_list.legs[0]
        if ticket.pair is not None:
            first, second = order_list.legs[-2:]
            order_list.pair = first, second
            # A pair is paid for once, by its dearer leg (rule: funds).
            payers.remove(min(first, second, key=lambda leg: leg.need))
        account.hold(payers)
        return order_list

    def begin(self, symbol: Symbol) -> Market:
        """Return a symbol's market for a step that begins now."""
        market = self.markets[symbol.name]
        market.now = self._clock()
        return market

    def make(self, account: Account, symbol: Symbol, ticket: Ticket) -> Order:
        """Create an order from a ticket; it gets its ids when it is accepted."""
        fields = {name: getattr(ticket, name) for name in Ticket.__slots__}
        now = self.markets[symbol.name].now
        limit = ticket.price if ticket.pegged_price is None else ticket.pegged_price
        return Order(**fields, symbol=symbol, account=account, time=now, limit=limit)

    def accept(self, order: Order, status: str) -> None:
        """Assign an order's ids and record it."""
        name = order.symbol.name
        order.order_id = self._number(name, self._next_order_id[name], order.client_order_id)
        order.own_id = order.client_order_id or self.client_id()
        self._next_order_id[name] = order.order_id + 1
        order.note(status, order.time, "place")
        order.account.admit(order)

    def _check_rules(
        self,
        account: Account,
        symbol: Symbol,
        legs: list[Ticket],
        *,
        lists: int,
        starting: list[Ticket] | None = None,
    ) -> Market:
        """Refuse what the symbol's status, its features, a filter or a count forbids; set the pegs that start now."""
        market = self.begin(symbol)
        if symbol.status != "TRADING":
            raise Refusal(self.dialect.closed_placement_code, "Market is closed.")
        for leg in legs:
            symbol.check_features(leg)
        for leg in legs if starting is None else starting:
            if leg.is_pegged and not leg.is_stop:
                market.peg(leg)
        for leg in legs:
            if not leg.awaits_quantity:  # checked on release (rule: opo)
                symbol.filters.check(leg, market.average)
        checks.check_position(account, symbol, legs)
        checks.check_counts(account, symbol, self.filters, legs, lists=lists)
        return market

    def withdraw(self, account: Account, symbol: Symbol, order_id: int) -> None:
        """End an open order, and what depends on it, for the exchange's own reasons."""
        order = account.find(symbol.name, order_id, None)
        if order is None or not order.is_live:
            raise refusals.not_canceled("Unknown order sent.")
        self.begin(symbol).withdraw(order)

    # Amending.

    def amend(
        self, account: Account, symbol: Symbol, order_id: int, quantity: Decimal, client_order_id: str | None
    ) -> Order:
        """Lower the quantity of an open order, which keeps its place and gets a new client id.

        The orders of an OCO change together (rule: amendments).
        """
        order = account.find(symbol.name, order_id, None)
        if order is None or not order.is_live:
            raise refusals.not_amended("Unknown order sent.")
        if order.awaits_quantity:
            raise refusals.not_amended("Order amend (pending OPO order) is not supported.")
        if quantity == order.quantity:
            raise refusals.not_amended("The requested action would change no state; rejecting")
        if quantity > order.quantity or quantity <= order.executed + order.prevented:
            # Where nothing would be left, the live exchange expires the order.
            raise refusals.not_amended("Order amend (quantity increase) is not supported.")
        if order.iceberg_quantity is not None and order.iceberg_quantity >= quantity:
            raise refusals.not_amended("IcebergQty exceeds QTY.")
        market = self.begin(symbol)
        symbol.filters.check(replace(order.as_ticket(), quantity=quantity), market.average)
        if client_order_id not in {None, order.own_id} and account.is_open_id(symbol.name, client_order_id or ""):
            raise refusals.duplicate_order()
        partner = order.order_list.partner(order) if order.order_list is not None else None
        for leg in (order, partner):
            if leg is not None:
                market.shrink(leg, quantity)
        account.rename(order, client_order_id or self.client_id())
        return order

    # Canceling.

    def cancel(
        self,
        account: Account,
        symbol: Symbol,
        order_id: int | None,
        client_order_id: str | None,
        *,
        cancel_id: str | None = None,
        restrictions: str | None = None,
    ) -> Canceled:
        """Cancel one order; for a leg of an unfinished list, the whole list (rule: cancel-one)."""
        self._check_closed(symbol)
        order = account.find(symbol.name, order_id, client_order_id)
        if order is None or not order.is_live:
            raise refusals.not_canceled(self.dialect.unknown_order_text, self.dialect.unknown_code)
        if order_id is not None and client_order_id is not None and client_order_id != order.current_id:
            raise refusals.mismatch("origClientOrderId", self.dialect.mismatch_code)
        # The status that the order must have (rule: cancel-restrictions).
        wanted = {"ONLY_NEW": "NEW", "ONLY_PARTIALLY_FILLED": "PARTIALLY_FILLED"}.get(restrictions or "")
        if wanted is not None and order.status != wanted:
            raise refusals.not_canceled("Order was not canceled due to cancel restrictions.")
        self.begin(symbol)
        row = self._cancel_row(order, cancel_id or self.client_id())
        return row if self.dialect.leg_cancel_reply == "list" else order

    def cancel_list(
        self,
        account: Account,
        symbol: Symbol,
        order_list_id: int | None,
        client_order_id: str | None,
        *,
        cancel_id: str | None = None,
    ) -> Canceled:
        """Cancel what is live in an order list; return the list and the legs canceled now."""
        self._check_closed(symbol)
        order_list = account.find_list(order_list_id, client_order_id)
        if order_list is None or order_list.is_done or order_list.symbol is not symbol:
            raise refusals.not_canceled(self.dialect.unknown_list_text, self.dialect.unknown_code)
        if order_list_id is not None and client_order_id not in {None, order_list.client_order_id}:
            raise refusals.mismatch("listClientOrderId", self.dialect.mismatch_code)
        self.begin(symbol)
        order = next(leg for leg in order_list.legs if leg.is_live)
        return self._cancel_row(order, cancel_id or self.client_id())

    def cancel_all(self, account: Account, symbol: Symbol) -> list[Canceled]:
        """Cancel every open order of the account on the symbol, lists whole (rule: cancel-all)."""
        self._check_closed(symbol)
        dialect = self.dialect
        orders = list(account.open[symbol.name].values())
        if not orders:
            if dialect.nothing_open == "empty":
                return []
            raise refusals.not_canceled(dialect.nothing_open_text, dialect.unknown_code)
        if dialect.uncancelable == "call_refused" and any(map(self._is_stuck, orders)):
            raise refusals.not_canceled()
        if dialect.uncancelable == "left_out":
            orders = [order for order in orders if not self._is_stuck(order)]
        self.begin(symbol)
        cancel_id = self.client_id()
        has_halves = dialect.atomicity != "one_step" or dialect.partial_refusal != "all_or_nothing"
        half = (len({_row_of(order) for order in orders}) + 1) // 2 if has_halves else -1
        canceled: dict[int, Canceled] = {}
        for order in orders:
            if len(canceled) == half:
                self._cut_short([each for each in orders if each.is_live and _row_of(each) not in canceled])
                half = 0  # once
            row = _row_of(order)
            if row in canceled or not order.is_live:
                continue
            if canceled and dialect.cancel_ids != "one":
                cancel_id = self.client_id()
            canceled[row] = self._cancel_row(order, cancel_id, is_own=True)
        return list(canceled.values())

    def _cut_short(self, rest: list[Order]) -> None:
        """Interrupt a cancel-all between its two halves, if the dialect has it so."""
        if rest and self.dialect.partial_refusal == "unknown_after_some":
            raise refusals.not_canceled(self.dialect.nothing_open_text, self.dialect.unknown_code)
        if rest and self.dialect.partial_refusal == "after_some":
            raise refusals.not_canceled()
        resting = next((order for order in rest if order.is_working), None)
        if self.dialect.atomicity == "fill_between" and resting and resting.symbol.status == "TRADING":
            self.meanwhile(resting)

    def _check_closed(self, symbol: Symbol) -> None:
        if self.dialect.closed_cancel != "accepted" and symbol.status not in {"TRADING", "CANCEL_ONLY"}:
            raise refusals.not_canceled("Market is closed.", int(self.dialect.closed_cancel))

    def _is_stuck(self, order: Order) -> bool:
        """Return whether an order, or its list, cannot be canceled: every third one, by its first id."""
        if self.dialect.uncancelable == "none":
            return False
        first = order if order.order_list is None else order.order_list.legs[0]
        return first.order_id % STUCK_EACH == 0

    def _cancel_row(self, order: Order, cancel_id: str, *, is_own: bool = False) -> Canceled:
        """Cancel an order, or the list that it belongs to; `is_own`: the exchange has made up the cancel's id."""
        dialect, order_list = self.dialect, order.order_list
        stays = self._is_stuck(order)
        if stays and dialect.uncancelable != "reported_open":
            raise refusals.not_canceled()
        if order_list is None or (order_list.is_done and dialect.done_list_leg == "flat"):
            if not stays:
                self.markets[order.symbol.name].cancel(order, cancel_id)
            return order
        live = [leg for leg in order_list.legs if leg.is_live]
        if not stays:
            self._cancel_legs(order_list, live, cancel_id, is_own=is_own)
        reported = {"canceled_now": live, "all_legs": order_list.legs, "first_leg": live[:1]}
        return order_list, reported[dialect.order_reports]

    def _cancel_legs(self, order_list: OrderList, live: list[Order], cancel_id: str, *, is_own: bool) -> None:
        market = self.markets[order_list.symbol.name]
        if self.dialect.list_time == "cancel":
            order_list.time = market.now
        if self.dialect.list_cancel_form == "list_id_replaced":
            order_list.account.rename_list(order_list, cancel_id)
        for number, leg in enumerate(live):
            if number and is_own and self.dialect.cancel_ids == "each_report":
                cancel_id = self.client_id()
            market.cancel(leg, cancel_id)

    # Prices.

    def last_price(self, name: str) -> Decimal:
        """Return the price of a symbol's last trade."""
        return self.markets[self.symbol(name).name].last_price or ZERO

    def worth(self, asset: str, other: str) -> Decimal | None:
        """Return what one unit of an asset costs in another one, by last trades; through USDT if need be."""
        if asset == other:
            return ONE
        direct, inverse = self.markets.get(asset + other), self.markets.get(other + asset)
        if direct is not None and direct.last_price:
            return direct.last_price
        if inverse is not None and inverse.last_price:
            return 1 / inverse.last_price
        if BRIDGE in {asset, other}:
            return None
        first, second = self.worth(asset, BRIDGE), self.worth(other, BRIDGE)
        return first / second if first and second else None


def _row_of(order: Order) -> int:
    """Return what identifies the row of a cancel-all: the order, or the list that ends with it."""
    return id(order if order.order_list is None or order.order_list.is_done else order.order_list)
