"""The market of one symbol: matching, stop triggers and the life of orders and lists (rule: order-life).

Every step of the engine ends in `settle`: what a trade sets off (stops, released legs) waits in a queue until the
order that caused it is dealt with and its reply is written.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from nbext.exchange.dialect import Dialect
from nbext.exchange.engine import liquidity
from nbext.exchange.engine.candles import Candles
from nbext.exchange.engine.limits import MINUTE
from nbext.exchange.engine.order_book import Book
from nbext.exchange.engine.orders import Event, Fill, Order, OrderList, PreventedMatch
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.tickets import BASIS_POINTS, ZERO, Ticket, opposite

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from nbext.exchange.engine.symbols import Symbol

RECENT_TRADES = 10_000
DAILY_ROOMS = 300  # what is said to have traded in a day before the start, in multiples of what the market offers
# Self-trade prevention modes by what they take from the two sides (rule: self-trade-prevention).
TAKER_EXPIRES = frozenset({"EXPIRE_TAKER", "EXPIRE_BOTH"})
MAKER_EXPIRES = frozenset({"EXPIRE_MAKER", "EXPIRE_BOTH"})


class Trade(NamedTuple):
    """A trade as the public sees it."""

    trade_id: int
    time: int
    price: Decimal
    quantity: Decimal
    is_buyer_maker: bool
    aggregate_id: int


class Market:
    """Book, waiting stops and trades of one symbol.

    Parameters
    ----------
    symbol : Symbol
        What is traded.
    first_trade_id : int
        Id of the first trade.
    bnb_price : callable
        Returns what one BNB costs in an asset, if that is known: commissions may be paid in it (rule: commission).
    dialect : Dialect, optional
        What it does where the documentation is silent.
    """

    def __init__(
        self,
        symbol: Symbol,
        first_trade_id: int,
        bnb_price: Callable[[str], Decimal | None],
        dialect: Dialect | None = None,
    ) -> None:
        self._dialect = dialect or Dialect()
        self._keeps_place = self._dialect.iceberg_refill == "keeps_place"
        self.symbol = symbol
        self.book = Book()
        self.last_price: Decimal | None = None
        self.update_id = 1
        self.now = 0
        self._stops: dict[int, Order] = {}
        self._next_trade_id = first_trade_id
        self._next_prevented_id = 0
        self._bnb_price = bnb_price
        self.trades: deque[Trade] = deque(maxlen=RECENT_TRADES)
        self.candles = Candles(f"{symbol.name} {first_trade_id}", symbol.tick, symbol.room * DAILY_ROOMS)
        self._aftermath: deque[Decimal | OrderList] = deque()

    # What can be known about the market.

    def average(self, minutes: int) -> Decimal | None:
        """Return the volume-weighted price of the last minutes, else the last price (rule: average-price)."""
        since = self.now - minutes * MINUTE
        money = volume = ZERO
        for trade in reversed(self.trades):
            if trade.time < since or not minutes:
                break
            money += trade.price * trade.quantity
            volume += trade.quantity
        return money / volume if volume else self.last_price

    def lock_price(self, order: Order) -> Decimal:
        """Return what a unit may cost at most, as far as that can be known beforehand."""
        # The limit; for a market-type stop its stop price. Without one, the level where a trailing stop that began now
        # would trigger; for a pending market order, or a peg still to be set, the last price (rule: funds).
        if order.limit:
            return order.limit
        if order.stop_price is not None:
            return order.stop_price
        last = self.last_price or ZERO
        return last * (1 + (order.trailing_delta or 0) / BASIS_POINTS)

    def check_entry(self, order: Order) -> None:
        """Refuse what may not enter: a stop that would trigger, a maker that would take, a dry book."""
        if order.is_stop:
            # Before the first trade there is nothing to compare with (rule: stop-before-trade).
            if order.stop_price is not None and self.last_price is not None and order.meets_stop(self.last_price):
                raise Refusal(-2010, "Order would trigger immediately.")
        elif order.type == "LIMIT_MAKER":
            best = self.book.sides[opposite(order.side)].best_price()
            if best is not None and order.crosses(best):
                raise Refusal(-2010, "Order would immediately match and take.")
        elif order.type == "MARKET":
            self._check_liquidity(order)

    def _check_liquidity(self, order: Order) -> None:
        offered = liquidity.offered(self.book, order.side)
        filters = self.symbol.filters
        if not offered:
            raise Refusal(-2010, "Order book liquidity is less than symbol minimum quantity.")
        for name in ("LOT_SIZE", "MARKET_LOT_SIZE"):
            if offered < filters.least_quantity(name):
                raise Refusal(-2010, f"Order book liquidity is less than {name} filter minimum quantity.")

    def peg(self, ticket: Ticket) -> Decimal:
        """Set the price of a pegged order from the book, once (rule: pegged-orders)."""
        side = ticket.side if ticket.peg_price_type == "PRIMARY_PEG" else opposite(ticket.side)
        price = self.book.sides[side].price_at(ticket.peg_offset_value or 0)
        if price is None:
            raise Refusal(-2010, "Order book liquidity is too low for this pegged order.")
        ticket.pegged_price = price
        return price

    # The life of an order.

    def enter(self, order: Order) -> None:
        """Start an order whose funds are locked: a stop waits, anything else is matched."""
        if order.is_stop:
            starts_now = order.trailing_delta is not None and self._dialect.trailing_start == "last_price"
            if starts_now and order.stop_price is None and self.last_price is not None:
                order.trailing_time, order.extreme = self.now, self.last_price
            self._stops[order.order_id] = order
        elif order.is_limit:
            self._work(order)
        else:
            self._execute(order)

    def _work(self, order: Order) -> None:
        """Match an order, then let the rest stay in the book or expire (rule: time-in-force, market-orders)."""
        order.working_time = self.now
        is_market = not order.is_limit
        if (
            order.time_in_force == "FOK"
            and liquidity.fillable(self.book, order, keeps_place=self._keeps_place) < order.remaining
        ):
            self.expire(order, "UNFILLED_FOK_ORDER_EXPIRED")
            return
        self._match(order)
        if not order.is_live:
            return
        if is_market:
            self.expire(order, "INSUFFICIENT_LIQUIDITY")
        elif order.time_in_force != "GTC":
            self.expire(order, "UNFILLED_IOC_QUANTITY_EXPIRED")
        else:
            self._show(order)
            self.book.add(order)
            self.update_id += 1

    @staticmethod
    def _show(order: Order) -> None:
        """Decide what the book shows of an order."""
        order.visible = min(order.remaining, order.iceberg_quantity or order.remaining)

    def _match(self, taker: Order) -> None:
        makers = self.book.sides[opposite(taker.side)]
        while (
            taker.is_live and taker.remaining and (maker := makers.first()) is not None and taker.crosses(maker.limit)
        ):
            quantity = min(taker.remaining, maker.visible)
            if liquidity.would_prevent(taker, maker):
                self._prevent(taker, maker, quantity)
            else:
                self._trade(taker, maker, quantity)
            if not maker.is_live:
                continue
            maker.visible -= quantity
            if not maker.visible:
                self._show(maker)
                if not self._keeps_place:
                    makers.requeue(maker)

    def _trade(self, taker: Order, maker: Order, quantity: Decimal) -> None:
        price = maker.limit
        trade_id = self._next_trade_id
        self._next_trade_id += 1
        self.update_id += 1
        partners = [self._take_over(order) for order in (maker, taker)]
        for order, is_maker in ((maker, True), (taker, False)):
            self._fill(order, trade_id, price, quantity, is_maker=is_maker)
        self.last_price = price
        self._publish(trade_id, price, quantity, maker.side == "BUY")
        self._aftermath.append(price)
        # A touched limit leg trades first, and the stop leg ends afterwards (rule: oco).
        for partner in partners:
            if partner is not None:
                self.expire(partner, "OCO_TRIGGER")
        for order in (maker, taker):
            if not order.remaining:
                self._end(order, "FILLED", "fill")

    def _publish(self, trade_id: int, price: Decimal, quantity: Decimal, is_buyer_maker: bool) -> None:
        """Show a trade to the public; one that goes on with the last is added up with it (rule: aggregate-trades)."""
        aggregate = 0
        if self.trades:
            last = self.trades[-1]
            goes_on = (last.time, last.price, last.is_buyer_maker) == (self.now, price, is_buyer_maker)
            aggregate = last.aggregate_id + (not goes_on)
        self.trades.append(Trade(trade_id, self.now, price, quantity, is_buyer_maker, aggregate))
        self.candles.add(self.now, price, quantity, taker_buys=not is_buyer_maker)

    def _prevent(self, taker: Order, maker: Order, quantity: Decimal) -> None:
        """Keep an account from trading with itself, as the taker's mode says (rule: self-trade-prevention)."""
        mode = taker.stp_mode
        decrement = quantity if mode == "DECREMENT" else None
        taker_loses = taker.remaining if mode in TAKER_EXPIRES else decrement
        maker_loses = maker.remaining if mode in MAKER_EXPIRES else decrement
        match = PreventedMatch(self._next_prevented_id, maker, maker.limit, taker_loses, maker_loses, self.now)
        self._next_prevented_id += 1
        self.update_id += 1
        taker.prevented_matches = [*(taker.prevented_matches or ()), match]
        hit = [(order, loss) for order, loss in ((maker, maker_loses), (taker, taker_loses)) if loss is not None]
        # A prevented match affects a pair as a fill does (rule: prevented-pairs).
        partners = [self._take_over(order) for order, _ in hit]
        for order, loss in hit:
            order.prevented += loss
            order.prevented_match_id = match.prevented_match_id
            order.account.give_back(order, loss)
        for partner in partners:
            if partner is not None:
                self.expire(partner, "OCO_TRIGGER")
        for order, _ in hit:
            if order.remaining:
                order.note(order.status, self.now, "prevent")
            else:
                self._end(order, "EXPIRED_IN_MATCH", "prevent")

    def _fill(self, order: Order, trade_id: int, price: Decimal, quantity: Decimal, *, is_maker: bool) -> None:
        account, symbol = order.account, order.symbol
        if not order.fills:
            account.order_count.first_fill(self.now, is_maker=is_maker)
        received, asset = (quantity, symbol.base) if order.side == "BUY" else (price * quantity, symbol.quote)
        commission, asset = account.commission(
            received, asset, self._bnb_price, is_maker=is_maker, is_buyer=order.side == "BUY"
        )
        # Commission on what an OPO buys comes out of other free funds if they suffice, unless it is BNB (rule: opo).
        spared = asset != symbol.base or (asset != "BNB" and account.balances[asset].free >= commission)
        account.pay(order, price, quantity)
        account.balances[asset].free -= commission
        account.update_time = self.now
        if order.order_list is not None and order is order.order_list.working:
            self._put_aside(order.order_list, quantity if spared else quantity - commission)
        order.executed += quantity
        order.quote_executed += price * quantity
        fill = Fill(trade_id, order, price, quantity, commission, asset, self.now, is_maker)
        if not order.is_quote:
            if order.fills is None:
                order.fills = []
            order.fills.append(fill)
            account.fills[symbol.name].append(fill)
        if order.remaining:
            order.note("PARTIALLY_FILLED", self.now, "fill")

    def expire(self, order: Order, reason: str) -> None:
        """End an order by a rule."""
        order.expiry_reason = reason
        self._end(order, "EXPIRED", "expire")

    def withdraw(self, order: Order) -> None:
        """End an open order for the exchange's own reasons, and with it the other one of a pair.

        For an order that waits for a working order, the working order ends: neither order of an OTO stays alone.
        """
        if order.status == "PENDING_NEW" and order.order_list is not None and order.order_list.working is not None:
            order = order.order_list.working
        partner = self._take_over(order)
        self.expire(order, "EXCHANGE_CANCELED")
        if partner is not None:
            # The whole OCO expires (rule: expiry-reasons).
            self.expire(partner, "OCO_TRIGGER")

    def cancel(self, order: Order, cancel_id: str) -> None:
        """End an order at its owner's request."""
        order.cancel_id = cancel_id
        if order.status == "PENDING_NEW" and self._dialect.pending_ends == "EXPIRED":
            self.expire(order, "OTO_PHASE_ONE_EXPIRED")
        else:
            self._end(order, "CANCELED", "cancel")

    def shrink(self, order: Order, quantity: Decimal) -> None:
        """Lower the quantity of an open order, which keeps its place in the book."""
        order.account.give_back(order, order.quantity - quantity)
        order.quantity = quantity
        order.visible = min(order.visible, order.remaining)
        self.update_id += 1
        order.note(order.status, self.now, "amend")

    def _end(self, order: Order, status: str, cause: str) -> None:
        self._stops.pop(order.order_id, None)
        if order.is_working and order.is_limit:
            self.book.remove(order)
            self.update_id += 1
        order.account.release(order)
        order.note(status, self.now, cause)
        order.account.dismiss(order)
        if order.order_list is not None:
            self._leg_ended(order, order.order_list)

    # The life of an order list (rule: oco, oto).

    def _leg_ended(self, order: Order, order_list: OrderList) -> None:
        if order is order_list.working:
            if order.status == "FILLED":
                self._aftermath.append(order_list)
            elif order.status in {"EXPIRED", "EXPIRED_IN_MATCH"}:
                for leg in order_list.pending:
                    self.expire(leg, "OTO_PHASE_ONE_EXPIRED")
        self._close_list(order_list)

    def _close_list(self, order_list: OrderList) -> None:
        if not order_list.is_done and order_list.has_finished(self._dialect):
            order_list.is_done = True
            if self._dialect.list_time == "cancel":
                order_list.time = self.now
            order_list.account.dismiss_list(order_list)

    def _take_over(self, order: Order) -> Order | None:
        """Decide a pair in favour of this order: the pair's hold becomes its own. Return the loser."""
        order_list = order.order_list
        partner = order_list.partner(order) if order_list is not None else None
        if order_list is None or partner is None:
            return None
        order_list.decided = True
        account = order.account
        account.release(partner)
        if not order.locked:
            account.lock(order, order.lock_asset, order.need)
        return partner

    def _release(self, order_list: OrderList) -> None:
        """Start the pending legs, now that the working order is filled."""
        pending = order_list.pending
        try:
            for leg in pending:
                self._measure(leg)
                if leg.is_pegged and not leg.is_stop:
                    self._set_peg(leg)
                self.symbol.filters.check(leg, self.average)
                self.check_entry(leg)
            order_list.account.rehold(pending)
        except Refusal:
            for leg in pending:
                self.expire(leg, "REJECTED")
            return
        for leg in pending:
            if leg.is_live:
                if self._dialect.released_time == "release":
                    leg.time = self.now
                leg.note("NEW", self.now, "release")
                self.enter(leg)
        self._close_list(order_list)

    def _put_aside(self, order_list: OrderList, quantity: Decimal) -> None:
        """Lock what the working order of an OPO has just bought, for its pending legs (rule: opo)."""
        waiting = [leg for leg in order_list.pending if leg.awaits_quantity]
        for leg in waiting:
            leg.received += quantity
        for leg in waiting[:1]:
            leg.account.lock(leg, leg.lock_asset, quantity)

    def _measure(self, leg: Order) -> None:
        """Set the quantity of an OPO's pending leg: what was bought, in whole lots (rule: opo)."""
        if not leg.awaits_quantity:
            return
        leg.awaits_quantity = False
        leg.quantity = leg.received
        for name in ("LOT_SIZE", "MARKET_LOT_SIZE") if leg.type == "MARKET" else ("LOT_SIZE",):
            step = self.symbol.filters.step(name)
            if step:
                leg.quantity = leg.quantity // step * step
        if leg.iceberg_quantity is not None and leg.iceberg_quantity >= leg.quantity:
            raise Refusal(-2010, "IcebergQty exceeds QTY.")

    def _set_peg(self, order: Order) -> None:
        """Set the price of a pegged order that has waited until now (rule: pegged-orders)."""
        order.limit = order.lock_price = self.peg(order)
        self.symbol.filters.check(order, self.average)

    # What trades set off.

    def settle(self) -> None:
        """Work off what the trades so far have set off, and what that sets off in turn."""
        while self._aftermath:
            cause = self._aftermath.popleft()
            if isinstance(cause, OrderList):
                self._release(cause)
            elif self._stops:
                self._trigger(cause)

    def _trigger(self, price: Decimal) -> None:
        # Each is fully processed before the next (rule: trigger-sequence).
        triggered = [order for order in self._stops.values() if order.track(price, self.now)]
        is_descending = self._dialect.trigger_sequence == "descending"
        for order in sorted(triggered, key=lambda each: each.order_id, reverse=is_descending):
            if order.order_id not in self._stops:
                continue
            del self._stops[order.order_id]
            order.history.append(Event(self.now, "TRIGGERED", order.executed, "trigger"))
            order.touch()
            partner = self._take_over(order)
            if partner is not None:
                # A triggered stop first ends the limit leg, then executes (rule: oco).
                self.expire(partner, "OCO_TRIGGER")
            if order.is_limit:
                order.update_time = self.now
                if order.is_pegged and not self._pegs_in_time(order):
                    continue
                self._work(order)
            else:
                self._execute(order)

    def _pegs_in_time(self, order: Order) -> bool:
        """Peg a triggered order; without a level, or beyond a filter or the account's funds, it expires."""
        try:
            self._set_peg(order)
            order.account.rehold([order])
        except Refusal:
            self.expire(order, "REJECTED")
            return False
        return True

    def _execute(self, order: Order) -> None:
        """Execute a market order, exchanging its estimated hold for what it really costs."""
        order.account.release(order)
        quantity, money = liquidity.estimate(self.book, order)
        if order.quote_quantity:
            order.quantity = quantity + liquidity.unserved(self.book, order, quantity, money, self.last_price)
        asset, cost = order.lock_asset, money if order.side == "BUY" else order.remaining
        if order.account.balances[asset].free < cost:
            self.expire(order, "REJECTED")
            return
        order.lock_price = ZERO
        order.account.lock(order, asset, cost)
        self._work(order)
