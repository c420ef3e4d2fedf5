"""The market of one symbol: matching, stop triggers and the life of orders and lists (section 15).

Every step of the engine runs to its end in `settle`: what a trade sets off (stops, released legs) waits
in a queue until the order that caused it has been dealt with and its reply has been written.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from nbext.exchange.book import Book
from nbext.exchange.limits import MINUTE
from nbext.exchange.orders import BASIS_POINTS, ZERO, Fill, Order, OrderList, opposite
from nbext.exchange.refusals import Refusal

if TYPE_CHECKING:
    from decimal import Decimal

    from nbext.exchange.symbols import Symbol

RECENT_TRADES = 10_000


class Market:
    """Book, waiting stops and trades of one symbol.

    Parameters
    ----------
    symbol : Symbol
        What is traded.
    first_trade_id : int
        Id of the first trade.
    """

    def __init__(self, symbol: Symbol, first_trade_id: int) -> None:
        self.symbol = symbol
        self.book = Book()
        self.last_price: Decimal | None = None
        self.update_id = 1
        self.now = 0
        self._stops: dict[int, Order] = {}
        self._next_trade_id = first_trade_id
        self._recent: deque[tuple[int, Decimal, Decimal]] = deque(maxlen=RECENT_TRADES)
        self._aftermath: deque[Decimal | OrderList] = deque()

    # What can be known about the market.

    def average(self, minutes: int) -> Decimal | None:
        """Return the volume-weighted price of the last minutes, else the last price (section 16)."""
        since = self.now - minutes * MINUTE
        money = volume = ZERO
        for time, price, quantity in reversed(self._recent):
            if time < since or not minutes:
                break
            money += price * quantity
            volume += quantity
        return money / volume if volume else self.last_price

    def offered_to(self, side: str, price: Decimal | None = None) -> Decimal:
        """Return what the other side holds, hidden parts included, down to a limit price."""
        total = ZERO
        for order in self.book.sides[opposite(side)]:
            if price is not None and (order.price > price if side == "BUY" else order.price < price):
                break
            total += order.remaining
        return total

    def lock_price(self, order: Order) -> Decimal:
        """Return what a unit may cost at most, as far as that can be known beforehand."""
        # 17 #29: the limit; for a market-type stop its stop price. Without one, the level where a trailing
        # stop that began now would trigger; for a pending market order the last price.
        if order.is_limit:
            return order.price
        if order.stop_price is not None:
            return order.stop_price
        last = self.last_price or ZERO
        return last * (1 + (order.trailing_delta or 0) / BASIS_POINTS)

    def check_entry(self, order: Order) -> None:
        """Refuse what may not enter: a stop that would trigger, a maker that would take, a dry book."""
        if order.is_stop:
            # 17 #30: before the first trade there is nothing to compare with.
            if order.stop_price is not None and self.last_price is not None and order.meets_stop(self.last_price):
                raise Refusal(-2010, "Order would trigger immediately.")
        elif order.type == "LIMIT_MAKER":
            best = self.book.sides[opposite(order.side)].best_price()
            if best is not None and order.crosses(best):
                raise Refusal(-2010, "Order would immediately match and take.")
        elif order.type == "MARKET":
            self._check_liquidity(order)

    def _check_liquidity(self, order: Order) -> None:
        offered = self.offered_to(order.side)
        filters = self.symbol.filters
        if not offered:
            raise Refusal(-2010, "Order book liquidity is less than symbol minimum quantity.")
        for name in ("LOT_SIZE", "MARKET_LOT_SIZE"):
            if offered < filters.least_quantity(name):
                raise Refusal(-2010, f"Order book liquidity is less than {name} filter minimum quantity.")

    # The life of an order.

    def enter(self, order: Order) -> None:
        """Start an order that has been paid for: a stop waits, anything else goes to the book."""
        if order.is_stop:
            if order.trailing_delta is not None and order.stop_price is None and self.last_price is not None:
                # 17 #31: tracking starts from the last price at once.
                order.trailing_time, order.extreme = self.now, self.last_price
            self._stops[order.order_id] = order
        elif order.is_limit:
            self._work(order)
        else:
            self._execute(order)

    def _work(self, order: Order) -> None:
        """Match an order, then let the rest stay in the book or expire (15.3, 15.4)."""
        order.working_time = self.now
        is_market = not order.is_limit
        if order.time_in_force == "FOK" and self.offered_to(order.side, order.price) < order.remaining:
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
        while taker.remaining and (maker := makers.first()) is not None and taker.crosses(maker.price):
            quantity = min(taker.remaining, maker.visible)
            self._trade(taker, maker, quantity)
            if not maker.remaining:
                continue
            maker.visible -= quantity
            if not maker.visible:
                # 17 #33: a refilled iceberg queues again.
                self._show(maker)
                makers.requeue(maker)

    def _trade(self, taker: Order, maker: Order, quantity: Decimal) -> None:
        price = maker.price
        trade_id = self._next_trade_id
        self._next_trade_id += 1
        self.update_id += 1
        partners = [self._take_over(order) for order in (maker, taker)]
        for order, is_maker in ((maker, True), (taker, False)):
            self._fill(order, trade_id, price, quantity, is_maker=is_maker)
        self.last_price = price
        self._recent.append((self.now, price, quantity))
        self._aftermath.append(price)
        # 15.9: a touched limit leg trades first, and the stop leg is ended after.
        for partner in partners:
            if partner is not None:
                self.expire(partner, "OCO_TRIGGER")
        for order in (maker, taker):
            if not order.remaining:
                self._end(order, "FILLED")

    def _fill(self, order: Order, trade_id: int, price: Decimal, quantity: Decimal, *, is_maker: bool) -> None:
        account, symbol = order.account, order.symbol
        if not order.fills:
            account.order_count.first_fill(self.now, is_maker=is_maker)
        account.pay(order, price, quantity)
        received, asset = (quantity, symbol.base) if order.side == "BUY" else (price * quantity, symbol.quote)
        commission = received * (account.maker_rate if is_maker else account.taker_rate)
        account.balances[asset].free -= commission
        account.update_time = self.now
        order.executed += quantity
        order.quote_executed += price * quantity
        fill = Fill(trade_id, order, price, quantity, commission, asset, self.now, is_maker)
        if not order.is_quote:
            order.fills.append(fill)
            account.fills[symbol.name].append(fill)
        if order.remaining:
            order.note("PARTIALLY_FILLED", self.now)

    def expire(self, order: Order, reason: str) -> None:
        """End an order by a rule."""
        order.expiry_reason = reason
        self._end(order, "EXPIRED")

    def cancel(self, order: Order, cancel_id: str) -> None:
        """End an order because its owner says so."""
        order.cancel_id = cancel_id
        self._end(order, "CANCELED")

    def _end(self, order: Order, status: str) -> None:
        self._stops.pop(order.order_id, None)
        if order.is_working and order.is_limit:
            self.book.remove(order)
            self.update_id += 1
        order.account.release(order)
        order.note(status, self.now)
        order.account.dismiss(order)
        if order.order_list is not None:
            self._leg_ended(order, order.order_list)

    # The life of an order list (15.9).

    def _leg_ended(self, order: Order, order_list: OrderList) -> None:
        if order is order_list.working:
            if order.status == "FILLED":
                self._aftermath.append(order_list)
            elif order.status == "EXPIRED":
                for leg in order_list.pending:
                    self.expire(leg, "OTO_PHASE_ONE_EXPIRED")
        self._close_list(order_list)

    def _close_list(self, order_list: OrderList) -> None:
        if not order_list.is_done and order_list.has_finished():
            order_list.is_done = True
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
        """Let the pending legs work, now that the working order is filled."""
        pending = order_list.pending
        try:
            for leg in pending:
                self.check_entry(leg)
        except Refusal:
            for leg in pending:
                self.expire(leg, "REJECTED")
            return
        for leg in pending:
            if leg.is_live:
                leg.note("NEW", self.now)
                self.enter(leg)

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
        # 17 #32: by ascending order id, each fully processed, cascades allowed.
        triggered = [order for order in self._stops.values() if order.track(price, self.now)]
        for order in sorted(triggered, key=lambda each: each.order_id):
            if order.order_id not in self._stops:
                continue
            del self._stops[order.order_id]
            order.history.append((self.now, "TRIGGERED", order.executed))
            partner = self._take_over(order)
            if partner is not None:
                # 15.9: a triggered stop first ends the limit leg, then executes.
                self.expire(partner, "OCO_TRIGGER")
            if order.is_limit:
                order.update_time = self.now
                self._work(order)
            else:
                self._execute(order)

    def _execute(self, order: Order) -> None:
        """Execute a market order, exchanging its estimated hold for what it really costs."""
        order.account.release(order)
        quantity, money = self.estimate(order)
        if order.quote_quantity:
            order.quantity = quantity + self._unserved(order, quantity, money)
        asset, cost = order.lock_asset, money if order.side == "BUY" else order.remaining
        if order.account.balances[asset].free < cost:
            self.expire(order, "REJECTED")
            return
        order.lock_price = ZERO
        order.account.lock(order, asset, cost)
        self._work(order)

    def estimate(self, order: Order) -> tuple[Decimal, Decimal]:
        """Return quantity and money of a market order, were it executed now."""
        quantity = money = ZERO
        for maker in self.book.sides[opposite(order.side)]:
            left = self._lots(order, maker.price, money) if order.quote_quantity else order.remaining - quantity
            part = min(left, maker.remaining)
            if not part:
                break
            quantity += part
            money += part * maker.price
        return quantity, money

    def _unserved(self, order: Order, quantity: Decimal, money: Decimal) -> Decimal:
        """Return what the unspent money could still have bought, had the book not run dry (15.4)."""
        if quantity < self.offered_to(order.side) or self.last_price is None:
            return ZERO
        return self._lots(order, self.last_price, money)

    def _lots(self, order: Order, price: Decimal, spent: Decimal) -> Decimal:
        """Return how much the rest of a quote amount buys, in whole lots."""
        step = self.symbol.filters.lot_step
        return (order.quote_quantity - spent) / price // step * step
