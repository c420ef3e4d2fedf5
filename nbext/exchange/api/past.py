"""The past: orders, lists and balances as they were after each change.

Lagging reads use it, and so does `LocalExchange.orders` with a moment. It is kept only once it is needed, and beside
what it is about, so that both are forgotten together. Moments are microseconds.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict, deque
from copy import copy
from operator import itemgetter
from typing import TYPE_CHECKING, TypeVar

from nbext.exchange.engine.limits import MILLISECOND
from nbext.exchange.engine.orders import Order, OrderList
from nbext.exchange.engine.symbols import text
from nbext.exchange.engine.tickets import ZERO

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence
    from decimal import Decimal

    from nbext.exchange.engine.accounts import Account
    from nbext.exchange.engine.orders import Fill

Thing = TypeVar("Thing", Order, OrderList)
State = TypeVar("State")


def watch(account: Account) -> None:
    """Keep an account's past from now on; what is true now counts as true before."""
    if account.touched is None:
        account.touched = {order for orders in account.open.values() for order in orders.values()}
        note(account, 0)


def note(account: Account, moment: int) -> None:
    """Remember an account as it is after a change."""
    if account.touched is None:
        return
    for order in account.touched:
        _keep(order, moment)
        if order.order_list is not None:
            _keep(order.order_list, moment)
    account.touched.clear()
    account.past.append((moment, account.without_records()))


def _keep(thing: Thing, moment: int) -> None:
    twin = copy(thing)
    twin.past = None
    if thing.past is None:
        thing.past = []
    thing.past.append((moment, twin))


def as_of(thing: Thing, moment: int | None) -> Thing | None:
    """Return an order or a list as it was, None if it had not been placed yet; as it is when no moment is given."""
    # An order that ended before the past was kept has not changed since.
    return thing if moment is None or thing.past is None else _latest(thing.past, moment)


def _latest(past: Sequence[tuple[int, State]], moment: int) -> State | None:
    place = bisect_right(past, moment, key=itemgetter(0))
    return past[place - 1][1] if place else None


def look_back(
    account: Account,
    moment: int,
    *,
    only_open: bool = False,
    torn: int = 0,
    without: Collection[Order] = (),
) -> Account:
    """Return an account as it was.

    Parameters
    ----------
    account : Account
        An account whose past is kept.
    moment : int
        When that was.
    only_open : bool
        Leave out what had ended.
    torn : int
        How much further behind the executed quantities of ended orders are.
    without : collection of Order
        Orders to leave out.
    """
    # The oldest state is kept longest, and stands for what was before.
    then = (_latest(account.past, moment) or account.past[0][1]).without_records()
    known: set[tuple[str, int]] = set()  # trades
    for name, orders in account.orders.items():
        for order in orders.values():
            was = as_of(order, moment)
            if was is None or order in without:
                continue
            known.update((name, fill.trade_id) for fill in _fills(order, was))
            if was.is_live or not only_open:
                then.show(was if was.is_live or not torn else _torn(was, as_of(order, moment - torn)))
    for order_list in account.lists.values():
        past_list = as_of(order_list, moment)
        if past_list is not None and not (only_open and past_list.is_done):
            past_list = copy(past_list)
            past_list.legs = [leg for each in order_list.legs if (leg := as_of(each, moment)) is not None]
            then.show_list(past_list)
    fills: defaultdict[str, deque[Fill]] = defaultdict(deque)
    for name, done in account.fills.items():
        fills[name].extend(fill for fill in done if (name, fill.trade_id) in known)
    then.fills = fills
    return then


def _fills(order: Order, was: Order) -> Iterator[Fill]:
    """Return the fills that an order had then."""
    executed = ZERO
    for fill in order.fills or ():
        executed += fill.quantity
        if executed > was.executed:
            break
        yield fill


def _torn(order: Order, earlier: Order | None) -> Order:
    """Return an ended order with the quantities that it had earlier, none at all before it was placed."""
    torn = copy(order)
    torn.executed, torn.quote_executed = (ZERO, ZERO) if earlier is None else (earlier.executed, earlier.quote_executed)
    return torn


def truth(order: Order, moment: int | None) -> dict[str, object] | None:
    """Return everything about an order as it was, including what replies omit; None before it was placed."""
    was = as_of(order, moment)
    if was is None:
        return None
    order_list = None if order.order_list is None else as_of(order.order_list, moment)
    return {
        "symbol": was.symbol.name,
        "orderId": was.order_id,
        "orderListId": -1 if order.order_list is None else order.order_list.order_list_id,
        "origClientOrderId": was.own_id,
        "clientOrderId": was.cancel_id,
        "status": was.status,
        "side": was.side,
        "type": was.type,
        "timeInForce": was.time_in_force,
        "price": text(was.price),
        "stopPrice": _amount(was.stop_price),
        "trailingDelta": was.trailing_delta,
        "trailingTime": _time(was.trailing_time),
        "origQty": None if was.awaits_quantity else text(was.quantity),
        "origQuoteOrderQty": text(was.quote_quantity),
        "executedQty": text(was.executed),
        "cummulativeQuoteQty": text(was.quote_executed),
        "icebergQty": _amount(was.iceberg_quantity),
        "time": _time(was.time),
        "updateTime": _time(was.update_time),
        "workingTime": _time(was.working_time),
        "isWorking": was.is_working,
        "selfTradePreventionMode": was.stp_mode,
        "preventedMatchId": was.prevented_match_id,
        "preventedQuantity": _amount(was.prevented or None),
        "tradeGroupId": was.account.trade_group_id,
        "strategyId": was.strategy_id,
        "strategyType": was.strategy_type,
        "pegPriceType": was.peg_price_type,
        "pegOffsetType": was.peg_offset_type,
        "pegOffsetValue": was.peg_offset_value,
        "peggedPrice": _amount(was.pegged_price),
        "expiryReason": was.expiry_reason,
        "list": None
        if order_list is None
        else {
            "orderListId": order_list.order_list_id,
            "listClientOrderId": order_list.client_order_id,
            "contingencyType": order_list.contingency_type,
            "isDone": order_list.is_done,
            "transactionTime": _time(order_list.time),
            "orderIds": [leg.order_id for leg in order_list.legs],
        },
    }


def _amount(number: Decimal | None) -> str | None:
    return None if number is None else text(number)


def _time(moment: int) -> int | None:
    return None if moment < 0 else moment // MILLISECOND
