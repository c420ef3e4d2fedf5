"""Checks of what is placed, against the account, its open orders and the market."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbext.exchange.engine import liquidity, refusals
from nbext.exchange.engine.filters import Counts
from nbext.exchange.engine.tickets import ZERO, anchor, bad_relation

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from decimal import Decimal

    from nbext.exchange.engine.accounts import Account
    from nbext.exchange.engine.filters import Filters
    from nbext.exchange.engine.matching import Market
    from nbext.exchange.engine.orders import Order
    from nbext.exchange.engine.symbols import Symbol
    from nbext.exchange.engine.tickets import Ticket


def check_client_ids(account: Account, symbol: Symbol, legs: Iterable[Ticket]) -> None:
    """Refuse client ids that an open order uses already (rule: client-ids)."""
    ids = [leg.client_order_id for leg in legs if leg.client_order_id is not None]
    if len(set(ids)) < len(ids) or any(account.is_open_id(symbol.name, each) for each in ids):
        raise refusals.duplicate_order()


def check_position(account: Account, symbol: Symbol, legs: list[Ticket]) -> None:
    """Refuse purchases that would make the account's position in the base asset too large."""
    bought = max((leg.quantity for leg in legs if leg.side == "BUY"), default=ZERO)
    if not bought or not symbol.filters.limits_position:
        return
    # The docs do not say whether the new order counts: a position that it would break is refused.
    balance = account.balances[symbol.base]
    open_buys = (order.remaining for order in account.open[symbol.name].values() if order.side == "BUY")
    symbol.filters.check_position(sum(open_buys, start=balance.free + balance.locked + bought))


def check_counts(account: Account, symbol: Symbol, everywhere: Filters, legs: Sequence[Ticket], *, lists: int) -> None:
    """Refuse what would leave too many orders or lists open on the symbol, or `everywhere`."""
    added = Counts(
        orders=len(legs),
        algo=sum(leg.is_stop for leg in legs),
        iceberg=sum(leg.iceberg_quantity is not None for leg in legs),
        lists=lists,
    )
    open_here = account.open[symbol.name]
    symbol.filters.check_counts(Counts(len(open_here), open_here.algo, open_here.iceberg, open_here.lists), added)
    books = account.open.values()
    everywhere.check_counts(
        Counts(
            sum(len(each) for each in books),
            sum(each.algo for each in books),
            sum(each.iceberg for each in books),
            len(account.open_lists),
        ),
        added,
    )


def check_purse(account: Account, market: Market, order: Order) -> None:
    """Refuse a market order that the account cannot pay for completely (rule: market-orders)."""
    quantity, money = liquidity.estimate(market.book, order)
    needed = max(money, order.quote_quantity) if order.side == "BUY" else max(quantity, order.quantity)
    if account.balances[order.lock_asset].free < needed:
        raise refusals.insufficient_balance()


def check_prices(pair: list[Ticket], last: Decimal | None) -> None:
    """Refuse a pair that does not have the last trade between its prices (rule: list-prices)."""
    for ticket in pair:
        at = anchor(ticket)
        if at is None or last is None:
            continue
        above = ticket.triggers_above if ticket.is_stop else ticket.side == "SELL"
        if not (at > last if above else at < last):
            raise bad_relation()
