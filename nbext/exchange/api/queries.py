"""Queries of an account: its orders, its trades and itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from nbext.exchange.api import replies
from nbext.exchange.api.admission import to_microseconds
from nbext.exchange.api.endpoints import MAX_INTEGER
from nbext.exchange.api.parsing import number, row_limit, word
from nbext.exchange.engine import refusals
from nbext.exchange.engine.limits import DAY, MILLISECOND
from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.parsing import Params
    from nbext.exchange.api.replies import Report
    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.orders import Order, OrderList
    from nbext.exchange.engine.symbols import Symbol

Row = TypeVar("Row")

ARCHIVE_AGE = 90 * DAY


class Queries:
    """Answers an account's queries.

    Parameters
    ----------
    engine : Engine
        The engine as it is, or as it was.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: dict[str, Callable[[Call], Report | list[Report]]] = {
            "query": self._query,
            "openOrders": self._open_orders,
            "allOrders": self._all_orders,
            "queryList": self._query_list,
            "openOrderList": self._open_lists,
            "allOrderList": self._all_lists,
            "account": self._account,
            "myTrades": self._trades,
            "myPreventedMatches": self._prevented_matches,
            "commission": self._commission,
            "myFilters": self._filters,
            "rateLimit": self._rate_limit,
        }

    def _query(self, call: Call) -> Report:
        params = call.params
        symbol = self._symbol(params)
        order_id, client_id = number(params, "orderId"), word(params, "origClientOrderId")
        if order_id is None and client_id is None:
            raise refusals.neither("origClientOrderId", "orderId", self._engine.dialect.neither_id_code)
        order = self._engine.account(call.account).find(symbol.name, order_id, client_id)
        if order is None:
            raise Refusal(-2013, "Order does not exist.")
        if client_id is not None and client_id not in self._ids(order):
            if order_id is None:
                raise Refusal(-2013, "Order does not exist.")
            raise refusals.mismatch("origClientOrderId", refusals.MISMATCH)
        if self._is_archived(order):
            says = "Order was canceled or expired with no executed qty over 90 days ago and has been archived."
            raise Refusal(-2026, says)
        return self._queried(order, call, with_reason=True)

    def _queried(self, order: Order, call: Call, *, with_reason: bool = False) -> Report:
        shown = order.current_id if self._engine.dialect.cancel_id_in_queries == "cancel_id" else order.own_id
        return replies.queried(order, call.unit, shown, with_reason=with_reason)

    def _ids(self, order: Order) -> set[str]:
        """Return the client ids by which an order is found."""
        dialect = self._engine.dialect
        if order.cancel_id is None or dialect.cancel_id_in_queries == "own_id":
            return {order.own_id}
        return {order.cancel_id} if dialect.old_id_lookup == "not_found" else {order.own_id, order.cancel_id}

    def _is_archived(self, order: Order) -> bool:
        """Return whether an order ended without a fill too long ago for queries to find it (rule: archived-orders)."""
        start = self._engine.dialect.archive_from
        if order.executed or order.is_live:
            return start == "live" and not order.executed
        since = order.time if start == "creation" else order.update_time
        return self._engine.now() - since > ARCHIVE_AGE

    def _open_orders(self, call: Call) -> list[Report]:
        account = self._engine.account(call.account)
        if "symbol" in call.params:
            names: Iterable[str] = [self._symbol(call.params).name]
        else:
            names = self._engine.symbols
        # One flat row per live or pending leg, ascending in each symbol (rule: pending-listed, open-rows).
        return [self._queried(order, call) for name in names for order in account.open[name].values()]

    def _all_orders(self, call: Call) -> list[Report]:
        params = call.params
        known = self._engine.account(call.account).orders[self._symbol(params).name].values()
        orders = [order for order in known if not self._is_archived(order)]
        first = number(params, "orderId")
        dialect = self._engine.dialect
        if dialect.all_orders_sort == "update_time":
            orders.sort(key=lambda order: order.update_time)
        if "startTime" in params or "endTime" in params:
            by_creation = dialect.all_orders_time == "creation"
            time_of = (lambda order: order.time) if by_creation else (lambda order: order.update_time)
            rows = _in_span(params, orders, time_of, dialect.start_only_span)
        elif first is not None:
            rows = [order for order in orders if order.order_id >= first][: row_limit(params)]
        else:
            rows = orders[-row_limit(params) :]
        return [self._queried(order, call, with_reason=True) for order in rows]

    def _query_list(self, call: Call) -> Report:
        list_id, client_id = number(call.params, "orderListId"), word(call.params, "origClientOrderId")
        if list_id is None and client_id is None:
            raise refusals.neither("orderListId", "origClientOrderId", self._engine.dialect.neither_id_code)
        # With both, only the client id counts (rule: list-queries).
        order_list = self._engine.account(call.account).find_list(None if client_id else list_id, client_id)
        if order_list is None:
            raise Refusal(self._engine.dialect.unknown_list_code, "Order list does not exist.")
        return self._listed(order_list, call)

    def _listed(self, order_list: OrderList, call: Call) -> Report:
        report = replies.listed(order_list, call.unit)
        if self._engine.dialect.list_order_ids == "cancel_id":
            for order, leg in zip(report["orders"], order_list.legs, strict=True):
                order["clientOrderId"] = leg.current_id
        if self._engine.dialect.list_expiry_reason == "in_orders":
            for order, leg in zip(report["orders"], order_list.legs, strict=True):
                if leg.expiry_reason is not None:
                    order["expiryReason"] = leg.expiry_reason
        return report

    def _open_lists(self, call: Call) -> list[Report]:
        lists = self._engine.account(call.account).open_lists.values()
        return [self._listed(order_list, call) for order_list in lists]

    def _all_lists(self, call: Call) -> list[Report]:
        params = call.params
        lists = list(self._engine.account(call.account).lists.values())
        first = number(params, "fromId")
        has_times = "startTime" in params or "endTime" in params
        if first is not None and not (has_times and self._engine.dialect.list_from_id == "from_id_ignored"):
            if has_times:
                raise refusals.bad_combination()
            rows = [each for each in lists if each.order_list_id >= first][: row_limit(params)]
        elif has_times:
            rows = _in_span(params, lists, lambda each: each.time, self._engine.dialect.start_only_span)
        else:
            rows = lists[-row_limit(params) :]
        return [self._listed(each, call) for each in rows]

    # The account itself.

    def _account(self, call: Call) -> Report:
        account = self._engine.account(call.account)
        omit_zero = bool(call.params.get("omitZeroBalances"))
        return replies.account_state(account, call.unit, can_trade=call.can_trade, omit_zero=omit_zero)

    def _trades(self, call: Call) -> list[Report]:
        params = call.params
        fills = list(self._engine.account(call.account).fills[self._symbol(params).name])
        sent = frozenset(params) & {"orderId", "startTime", "endTime", "fromId"}
        if len(sent) > 1 and sent not in ({"startTime", "endTime"}, {"orderId", "fromId"}):
            raise refusals.bad_combination()
        order_id, first = number(params, "orderId"), number(params, "fromId")
        if order_id is not None:
            fills = [fill for fill in fills if fill.order.order_id == order_id]
        if sent & {"startTime", "endTime"}:
            fills = _in_span(params, fills, lambda fill: fill.time, self._engine.dialect.start_only_span)
        elif first is not None:
            fills = [fill for fill in fills if fill.trade_id >= first][: row_limit(params)]
        else:
            fills = fills[-row_limit(params) :]
        return [replies.trade(fill, call.unit) for fill in fills]

    def _prevented_matches(self, call: Call) -> list[Report]:
        """Show self-trades that were prevented, by the orders that took (rule: own-prevented-matches)."""
        params = call.params
        symbol, account = self._symbol(params), self._engine.account(call.account)
        page = {"orderId", "fromPreventedMatchId"}
        sent = frozenset(params) & {"preventedMatchId", "limit", *page}
        if sent not in ({"preventedMatchId"}, {"orderId"}, page, {*page, "limit"}):
            raise refusals.bad_combination()
        order_id, match_id = number(params, "orderId"), number(params, "preventedMatchId")
        first = number(params, "fromPreventedMatchId") or 0
        found = [
            (match, order)
            for order in account.orders[symbol.name].values()
            for match in order.prevented_matches or ()
            if order_id in {None, order.order_id, match.maker.order_id}
            and match_id in {None, match.prevented_match_id}
            and match.prevented_match_id >= first
        ]
        found.sort(key=lambda pair: pair[0].prevented_match_id)
        return [replies.own_prevented(match, order, call.unit) for match, order in found[: row_limit(params)]]

    def _commission(self, call: Call) -> Report:
        return replies.commission(self._symbol(call.params), self._engine.account(call.account))

    def _filters(self, call: Call) -> Report:
        """Show what counts the account's orders (rule: own-filters)."""
        symbol = self._symbol(call.params)
        return {
            "exchangeFilters": self._engine.filters.wire,
            "symbolFilters": [each for each in symbol.filters.wire if str(each["filterType"]).startswith("MAX_")],
            "assetFilters": [],
        }

    def _rate_limit(self, call: Call) -> list[Report]:
        count = self._engine.account(call.account).order_count
        now = self._engine.now()
        return [
            replies.rate_limit("ORDERS", "SECOND", 10, count.ten_seconds.limit) | {"count": count.ten_seconds.at(now)},
            replies.rate_limit("ORDERS", "DAY", 1, count.day.limit) | {"count": count.day.at(now)},
        ]

    def _symbol(self, params: Params) -> Symbol:
        return self._engine.symbol(str(params["symbol"]))


def _in_span(params: Params, rows: Sequence[Row], time_of: Callable[[Row], int], start_only: str) -> list[Row]:
    """Return the rows between ``startTime`` and ``endTime``, both inclusive (rule: time-spans)."""
    start, end = number(params, "startTime"), number(params, "endTime")
    first = None if start is None else to_microseconds(start)
    last = None if end is None else to_microseconds(end)
    if first is not None and last is None:
        last = {"unlimited": None, "day": first + DAY, "refused": MAX_INTEGER}[start_only]
    if first is not None and last is not None and last - first > DAY:
        raise Refusal(-1127, "More than 24 hours between startTime and endTime.")
    # Replies have milliseconds, the engine's clock microseconds: an end includes its whole millisecond.
    found = [
        row
        for row in rows
        if (first is None or time_of(row) >= first) and (last is None or time_of(row) < last + MILLISECOND)
    ]
    return found[-row_limit(params) :] if first is None else found[: row_limit(params)]
