"""The order book of one symbol: price levels, each in order of arrival."""

from __future__ import annotations

from bisect import bisect_left, insort
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from nbext.exchange.engine.orders import Order


class BookSide:
    """Bids or asks. A level is a dict by order id: it keeps arrival order and forgets in one step."""

    def __init__(self, side: str) -> None:
        self._best = -1 if side == "BUY" else 0
        self._prices: list[Decimal] = []  # ascending
        self._levels: dict[Decimal, dict[int, Order]] = {}

    def add(self, order: Order) -> None:
        """Add an order at the end of its level."""
        level = self._levels.get(order.limit)
        if level is None:
            self._levels[order.limit] = {order.order_id: order}
            insort(self._prices, order.limit)
        else:
            level[order.order_id] = order

    def remove(self, order: Order) -> None:
        """Remove an order, if it rests here, and its level if that is empty now."""
        level = self._levels.get(order.limit)
        if level is None or level.pop(order.order_id, None) is None:
            return
        if not level:
            del self._levels[order.limit]
            del self._prices[bisect_left(self._prices, order.limit)]

    def requeue(self, order: Order) -> None:
        """Send an order to the end of its level."""
        level = self._levels[order.limit]
        level[order.order_id] = level.pop(order.order_id)

    def best_price(self) -> Decimal | None:
        """Return the price that trades first."""
        return self._prices[self._best] if self._prices else None

    def price_at(self, depth: int) -> Decimal | None:
        """Return the price `depth` levels below the best one."""
        if depth >= len(self._prices):
            return None
        return self._prices[-1 - depth] if self._best else self._prices[depth]

    def first(self) -> Order | None:
        """Return the order that trades first: best price, then earliest."""
        if not self._prices:
            return None
        return next(iter(self._levels[self._prices[self._best]].values()))

    def __iter__(self) -> Iterator[Order]:
        """Walk the orders in the sequence in which they would trade."""
        for price in reversed(self._prices) if self._best else self._prices:
            yield from self._levels[price].values()

    def levels(self, limit: int) -> Iterator[tuple[Decimal, Decimal]]:
        """Walk price and visible quantity of the best levels."""
        prices = self._prices[: -limit - 1 : -1] if self._best else self._prices[:limit]
        for price in prices:
            yield price, sum((order.visible for order in self._levels[price].values()), start=price * 0)


class Book:
    """Both sides of one symbol's book."""

    def __init__(self) -> None:
        self.sides = {"BUY": BookSide("BUY"), "SELL": BookSide("SELL")}

    def add(self, order: Order) -> None:
        """Add an order to its side."""
        self.sides[order.side].add(order)

    def remove(self, order: Order) -> None:
        """Remove an order, if it rests here."""
        self.sides[order.side].remove(order)
