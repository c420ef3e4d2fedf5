"""What the book offers an order: how much, for how much money, and where self-trade prevention would strike."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbext.exchange.engine.tickets import ZERO, opposite

if TYPE_CHECKING:
    from collections.abc import Iterator
    from decimal import Decimal

    from nbext.exchange.engine.order_book import Book
    from nbext.exchange.engine.orders import Order


def would_prevent(taker: Order, maker: Order) -> bool:
    """Return whether a match of these two is prevented: the taker's mode decides (rule: self-trade-prevention)."""
    return taker.stp_mode != "NONE" and taker.account.trades_as(maker.account)


def offered(book: Book, side: str, price: Decimal | None = None) -> Decimal:
    """Return what the other side holds, hidden parts included, down to a limit price."""
    total = ZERO
    for order in book.sides[opposite(side)]:
        if price is not None and (order.limit > price if side == "BUY" else order.limit < price):
            break
        total += order.remaining
    return total


def fillable(book: Book, order: Order, *, keeps_place: bool) -> Decimal:
    """Return what others offer down to an order's limit, before prevention would strike."""
    # At the level of an own order only what is visible ahead of it comes first, if refilled icebergs queue behind.
    total = before = ahead = ZERO
    level: Decimal | None = None
    for maker in book.sides[opposite(order.side)]:
        if not order.crosses(maker.limit):
            break
        if maker.limit != level:
            level, before, ahead = maker.limit, total, ZERO
        if not would_prevent(order, maker):
            total += maker.remaining
            ahead += maker.remaining if keeps_place else maker.visible
        elif order.stp_mode != "EXPIRE_MAKER":
            return before + ahead
    return total


def estimate(book: Book, order: Order) -> tuple[Decimal, Decimal]:
    """Return quantity and money of a market order, were it executed now."""
    quantity = money = ZERO
    for maker in _counterparts(book, order):
        left = _lots(order, maker.limit, money) if order.quote_quantity else order.remaining - quantity
        part = min(left, maker.remaining)
        if not part:
            break
        quantity += part
        if not would_prevent(order, maker):
            money += part * maker.limit
        elif order.stp_mode != "DECREMENT":
            break
    return quantity, money


def _counterparts(book: Book, order: Order) -> Iterator[Order]:
    """Walk the other side of the book without the orders that prevention would sweep aside."""
    for maker in book.sides[opposite(order.side)]:
        if order.stp_mode != "EXPIRE_MAKER" or not would_prevent(order, maker):
            yield maker


def unserved(book: Book, order: Order, quantity: Decimal, money: Decimal, last_price: Decimal | None) -> Decimal:
    """Return what the unspent money could still have bought, had the book not run dry (rule: market-orders)."""
    on_offer = sum((maker.remaining for maker in _counterparts(book, order)), start=ZERO)
    if quantity < on_offer or last_price is None:
        return ZERO
    return _lots(order, last_price, money)


def _lots(order: Order, price: Decimal, spent: Decimal) -> Decimal:
    """Return how much the rest of a quote amount buys, in whole lots."""
    step = order.symbol.filters.step("LOT_SIZE")
    return (order.quote_quantity - spent) / price // step * step
