"""Handlers: each endpoint's call, from checked parameters to the engine and back to a reply.

One method per endpoint. It knows neither HTTP nor signatures.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, TypeVar, cast

from nbext.exchange.api import parsing, replies
from nbext.exchange.api.admission import to_microseconds
from nbext.exchange.api.endpoints import MAX_DECIMAL, MAX_INTEGER
from nbext.exchange.engine import refusals
from nbext.exchange.engine.limits import DAY
from nbext.exchange.engine.market_maker import MARKET_ACCOUNT
from nbext.exchange.engine.refusals import Refusal, ReplaceFailed, TooMuch
from nbext.exchange.engine.symbols import text
from nbext.exchange.engine.tickets import ZERO

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.endpoints import Value
    from nbext.exchange.api.replies import Json, Report
    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.limits import RequestLimits
    from nbext.exchange.engine.market_maker import MarketMaker
    from nbext.exchange.engine.orders import Order, OrderList
    from nbext.exchange.engine.symbols import Symbol
    from nbext.exchange.engine.tickets import ListTicket, Ticket

    Params = dict[str, Value]
    Answer = Report | list[Report] | Json

Row = TypeVar("Row")

MILLISECOND = 1000
DEFAULT_ROWS = 500
DEFAULT_DEPTH = 100
MAX_DEPTH = 5000
AVERAGE_MINUTES = 5
ARCHIVE_AGE = 90 * DAY
LISTS = {
    "oco": parsing.oco,
    "oco/deprecated": parsing.deprecated_oco,
    "oto": parsing.oto,
    "otoco": parsing.otoco,
    "opo": parsing.opo,
    "opoco": parsing.opoco,
}


class Handlers:
    """Serves admitted requests.

    Parameters
    ----------
    engine : Engine
        The engine behind it.
    limits : RequestLimits
        What each address may ask for, which ``exchangeInfo`` says.
    clock : callable
        Returns the time as ``GET /time`` says it, in microseconds; the engine's own may be another.
    maker : MarketMaker
        Places orders for the market account.
    """

    def __init__(self, engine: Engine, limits: RequestLimits, clock: Callable[[], int], maker: MarketMaker) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._maker = maker
        self._calls: dict[str, Callable[[Call], Answer]] = {
            "ping": lambda _: {},
            "time": lambda call: {"serverTime": self._clock() // call.unit},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._public_trades,
            "avgPrice": self._average_price,
            "ticker/24hr": lambda call: self._ticker(call, lambda symbol: self._day(call, symbol)),
            "ticker/price": lambda call: self._ticker(call, self._price),
            "ticker/bookTicker": lambda call: self._ticker(call, self._best),
            "order": self._place,
            "test": self._test,
            "cancelReplace": self._replace,
            "cancel": self._cancel,
            "query": self._query,
            "cancelAll": self._cancel_all,
            "openOrders": self._open_orders,
            "allOrders": self._all_orders,
            **dict.fromkeys(LISTS, self._place_list),
            "cancelList": self._cancel_list,
            "queryList": self._query_list,
            "openOrderList": self._open_lists,
            "allOrderList": self._all_lists,
            "account": self._account,
            "myTrades": self._trades,
            "rateLimit": self._rate_limit,
        }

    def with_engine(self, engine: Engine) -> Handlers:
        """Return another one for another engine, or for one as it was."""
        return Handlers(engine, self._limits, self._clock, self._maker)

    def answer(self, call: Call) -> Answer:
        """Carry out one admitted request and return its reply."""
        return self._calls[call.endpoint.name](call)

    # Placing.

    def _place(self, call: Call) -> Report:
        params = call.params
        symbol = self._symbol(params)
        account = self._engine.account(call.account)
        ticket = _with_stp(params, symbol, parsing.single(params))
        kind = _word(params, "newOrderRespType")

        def write(order: Order) -> Report:
            return replies.placement(order, call.unit, kind)

        if account.name == MARKET_ACCOUNT:
            return self._maker.place(symbol, ticket, write)
        return self._engine.place(account, symbol, ticket, write)

    def _test(self, call: Call) -> Report:
        params = call.params
        symbol = self._symbol(params)
        account = self._engine.account(call.account)
        self._engine.check(account, symbol, _with_stp(params, symbol, parsing.single(params)))
        if not params.get("computeCommissionRates"):
            return {}
        own = {"maker": text(account.maker_rate), "taker": text(account.taker_rate)}
        none = {"maker": replies.NOTHING, "taker": replies.NOTHING}
        return {
            "standardCommissionForOrder": own,
            "specialCommissionForOrder": none,
            "taxCommissionForOrder": none,
            "discount": {
                "enabledForAccount": account.bnb_discount is not None,
                "enabledForSymbol": account.bnb_discount is not None,
                "discountAsset": "BNB",
                "discount": text(account.bnb_discount or ZERO),
            },
        }

    def _place_list(self, call: Call) -> Report:
        params = call.params
        symbol = self._symbol(params)
        ticket: ListTicket = LISTS[call.endpoint.name](params)
        for leg in ticket.legs:
            _with_stp(params, symbol, leg)
        kind = _word(params, "newOrderRespType")

        def write(order_list: OrderList) -> Report:
            return replies.placed_list(order_list, call.unit, kind or self._engine.dialect.list_response)

        return self._engine.place_list(self._engine.account(call.account), symbol, ticket, write)

    def _replace(self, call: Call) -> Report:
        """Cancel an order and place another one (rule: cancel-replace)."""
        params = call.params
        symbol = self._symbol(params)
        account = self._engine.account(call.account)
        order_id, client_id = _number(params, "cancelOrderId"), _word(params, "cancelOrigClientOrderId")
        if order_id is None and client_id is None:
            raise self._neither("cancelOrigClientOrderId", "cancelOrderId")
        cancel_id, restrictions = _word(params, "cancelNewClientOrderId"), _word(params, "cancelRestrictions")
        kind = _word(params, "newOrderRespType")
        ticket = _with_stp(params, symbol, parsing.single(params))

        def cancel() -> Report:
            row = self._engine.cancel(
                account, symbol, order_id, client_id, cancel_id=cancel_id, restrictions=restrictions
            )
            report: Report = json.loads(replies.canceled_row(row, call.unit))
            return report

        def place() -> Report:
            self._check_room(call)
            return self._engine.place(account, symbol, ticket, lambda order: replies.placement(order, call.unit, kind))

        stops = params["cancelReplaceMode"] == "STOP_ON_FAILURE"
        too_much = self._too_much(call)
        halves = self._engine.replace(account, symbol, ticket, cancel, place, stop_on_failure=stops)
        canceled, placed = halves
        data = {
            "cancelResult": _outcome(canceled),
            "newOrderResult": _outcome(placed),
            "cancelResponse": canceled.body if isinstance(canceled, Refusal) else canceled,
            "newOrderResponse": placed.body if isinstance(placed, Refusal) else placed,
        }
        successes = sum(isinstance(half, dict) for half in halves)
        if successes == len(halves):
            return data
        if not isinstance(placed, Refusal):
            self.count_orders(call)  # one that was not attempted counts too, says the same page
        # The page's table has 429 where the first failure stops, and 400 and 409 as usual where it does not.
        retry_after = too_much.retry_after if stops and too_much is not None else None
        raise ReplaceFailed(data, is_partial=successes > 0, retry_after=retry_after)

    def check_order_count(self, call: Call) -> None:
        """Refuse a placement that the unfilled order count has no room for (rule: order-count)."""
        if call.params.get("orderRateLimitExceededMode") != "CANCEL_ONLY":
            self._check_room(call)

    def _check_room(self, call: Call) -> None:
        too_much = self._too_much(call)
        if too_much is not None:
            raise too_much

    def _too_much(self, call: Call) -> TooMuch | None:
        account = self._engine.account(call.account)
        now = self._engine.now()
        exhausted = account.order_count.exhausted(call.endpoint.orders, now)
        if exhausted is None:
            return None
        window, interval = exhausted
        says = f"Too many new orders; current limit is {window.limit} orders per {interval}."
        return TooMuch(-1015, says, window.seconds_left(now))

    def count_orders(self, call: Call) -> dict[str, str]:
        """Count an accepted placement and return the headers that say so (rule: order-count)."""
        count = self._engine.account(call.account).order_count
        now = self._engine.now()
        count.placed(call.endpoint.orders, now)
        return {
            "X-MBX-ORDER-COUNT-10S": str(count.ten_seconds.at(now)),
            "X-MBX-ORDER-COUNT-1D": str(count.day.at(now)),
        }

    # Canceling.

    def _cancel(self, call: Call) -> Json:
        params = call.params
        symbol = self._symbol(params)
        order_id, client_id = _number(params, "orderId"), _word(params, "origClientOrderId")
        if order_id is None and client_id is None:
            raise self._neither("origClientOrderId", "orderId")
        row = self._engine.cancel(
            self._engine.account(call.account),
            symbol,
            order_id,
            client_id,
            cancel_id=_word(params, "newClientOrderId"),
            restrictions=_word(params, "cancelRestrictions"),
        )
        return replies.canceled_row(row, call.unit)

    def _cancel_list(self, call: Call) -> Json:
        params = call.params
        symbol = self._symbol(params)
        list_id, client_id = _number(params, "orderListId"), _word(params, "listClientOrderId")
        if list_id is None and client_id is None:
            raise self._neither("orderListId", "listClientOrderId")
        row = self._engine.cancel_list(
            self._engine.account(call.account),
            symbol,
            list_id,
            client_id,
            cancel_id=_word(params, "newClientOrderId"),
        )
        return replies.canceled_row(row, call.unit)

    def _cancel_all(self, call: Call) -> Json:
        symbol = self._symbol(call.params)
        rows = self._engine.cancel_all(self._engine.account(call.account), symbol)
        return replies.canceled_rows(rows, call.unit)

    def _neither(self, first: str, second: str) -> Refusal:
        code = self._engine.dialect.neither_id_code
        return refusals.one_of(first, second) if code == refusals.MANDATORY else refusals.bad_combination(second)

    # Asking about orders.

    def _query(self, call: Call) -> Report:
        params = call.params
        symbol = self._symbol(params)
        order_id, client_id = _number(params, "orderId"), _word(params, "origClientOrderId")
        if order_id is None and client_id is None:
            raise self._neither("origClientOrderId", "orderId")
        order = self._engine.account(call.account).find(symbol.name, order_id, client_id)
        if order is None:
            raise Refusal(-2013, "Order does not exist.")
        if client_id is not None and client_id not in self._ids(order):
            if order_id is None:
                raise Refusal(-2013, "Order does not exist.")
            raise refusals.mismatch("origClientOrderId", -2039)
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
        first = _number(params, "orderId")
        dialect = self._engine.dialect
        if dialect.all_orders_sort == "update_time":
            orders.sort(key=lambda order: order.update_time)
        if "startTime" in params or "endTime" in params:
            by_creation = dialect.all_orders_time == "creation"
            time_of = (lambda order: order.time) if by_creation else (lambda order: order.update_time)
            rows = _in_span(params, orders, time_of, dialect.start_only_span)
        elif first is not None:
            rows = [order for order in orders if order.order_id >= first][: _rows(params)]
        else:
            rows = orders[-_rows(params) :]
        return [self._queried(order, call, with_reason=True) for order in rows]

    def _query_list(self, call: Call) -> Report:
        list_id, client_id = _number(call.params, "orderListId"), _word(call.params, "origClientOrderId")
        if list_id is None and client_id is None:
            raise self._neither("orderListId", "origClientOrderId")
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
        first = _number(params, "fromId")
        has_times = "startTime" in params or "endTime" in params
        if first is not None and not (has_times and self._engine.dialect.list_from_id == "from_id_ignored"):
            if has_times:
                raise refusals.bad_combination()
            rows = [each for each in lists if each.order_list_id >= first][: _rows(params)]
        elif has_times:
            rows = _in_span(params, lists, lambda each: each.time, self._engine.dialect.start_only_span)
        else:
            rows = lists[-_rows(params) :]
        return [self._listed(each, call) for each in rows]

    # Asking about the account.

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
        order_id, first = _number(params, "orderId"), _number(params, "fromId")
        if order_id is not None:
            fills = [fill for fill in fills if fill.order.order_id == order_id]
        if sent & {"startTime", "endTime"}:
            fills = _in_span(params, fills, lambda fill: fill.time, self._engine.dialect.start_only_span)
        elif first is not None:
            fills = [fill for fill in fills if fill.trade_id >= first][: _rows(params)]
        else:
            fills = fills[-_rows(params) :]
        return [replies.trade(fill, call.unit) for fill in fills]

    def _rate_limit(self, call: Call) -> list[Report]:
        count = self._engine.account(call.account).order_count
        now = self._engine.now()
        return [
            _limit("ORDERS", "SECOND", 10, count.ten_seconds.limit) | {"count": count.ten_seconds.at(now)},
            _limit("ORDERS", "DAY", 1, count.day.limit) | {"count": count.day.at(now)},
        ]

    # Asking about the market.

    def _exchange_info(self, call: Call) -> Report:
        params = call.params
        if "symbolStatus" in params and ("symbol" in params or "symbols" in params):
            raise refusals.bad_combination()
        dialect, count = self._engine.dialect, self._engine.account("main").order_count
        chosen = self._chosen(params)
        if "permissions" in params:
            if "symbol" in params or "symbols" in params:
                raise refusals.bad_combination()
            wanted = set(cast("list[str]", params["permissions"]))
            chosen = [symbol for symbol in chosen if not wanted.isdisjoint(symbol.permissions)]
        entries = [symbol.info() for symbol in chosen]
        if params.get("showPermissionSets") is False:
            for entry in entries:
                del entry["permissionSets"]
        return {
            "timezone": "UTC",
            "serverTime": self._clock() // call.unit,
            "rateLimits": [
                _limit("REQUEST_WEIGHT", "MINUTE", 1, self._limits.weight),
                _limit("ORDERS", "SECOND", 10, count.ten_seconds.limit),
                _limit("ORDERS", "DAY", 1, count.day.limit),
                _limit("RAW_REQUESTS", "MINUTE", 5, self._limits.raw_requests),
            ],
            "exchangeFilters": self._engine.filters.wire if dialect.exchange_filters == "listed" else [],
            "symbols": entries,
        }

    def _depth(self, call: Call) -> Report:
        symbol = self._symbol(call.params)
        _check_status(symbol, call.params)
        market = self._engine.markets[symbol.name]
        wanted = _number(call.params, "limit")
        limit = min(DEFAULT_DEPTH if wanted is None else wanted, MAX_DEPTH)
        sides = {
            word: [
                # Quantities are capped at the largest 64-bit value (rule: public-replies).
                [text(price), text(min(quantity, MAX_DECIMAL))]
                for price, quantity in market.book.sides[side].levels(limit)
            ]
            for word, side in (("bids", "BUY"), ("asks", "SELL"))
        }
        return {"lastUpdateId": market.update_id, **sides}

    def _ticker(self, call: Call, row: Callable[[Symbol], Report]) -> Answer:
        chosen = self._chosen(call.params)
        if "symbol" in call.params:
            _check_status(chosen[0], call.params)
            return row(chosen[0])
        return [row(symbol) for symbol in chosen]

    def _price(self, symbol: Symbol) -> Report:
        last = self._engine.markets[symbol.name].last_price
        return {"symbol": symbol.name, "price": replies.NOTHING if last is None else text(last)}

    def _best(self, symbol: Symbol) -> Report:
        return {"symbol": symbol.name, **replies.best_prices(self._engine.markets[symbol.name])}

    def _day(self, call: Call, symbol: Symbol) -> Report:
        is_full = call.params.get("type") != "MINI"
        return replies.day_ticker(self._engine.markets[symbol.name], self._engine.now(), call.unit, is_full=is_full)

    def _public_trades(self, call: Call) -> list[Report]:
        trades = self._engine.markets[self._symbol(call.params).name].trades
        return [replies.public_trade(trade, call.unit) for trade in list(trades)[-_rows(call.params) :]]

    def _average_price(self, call: Call) -> Report:
        market = self._engine.begin(self._symbol(call.params))
        price = market.average(AVERAGE_MINUTES)
        return {
            "mins": AVERAGE_MINUTES,
            "price": replies.NOTHING if price is None else text(price),
            "closeTime": replies.stamp(market.trades[-1].time, call.unit) if market.trades else -1,
        }

    def _chosen(self, params: Params) -> list[Symbol]:
        """Return the symbols that a public query is about: one, several, or all."""
        if "symbol" in params:
            if "symbols" in params:
                raise refusals.bad_combination()
            return [self._symbol(params)]
        names = cast("list[str]", params.get("symbols", list(self._engine.symbols)))
        chosen = [self._engine.symbol(name) for name in names]
        status = params.get("symbolStatus")
        return [symbol for symbol in chosen if status in {None, symbol.status}]

    def _symbol(self, params: Params) -> Symbol:
        return self._engine.symbol(str(params["symbol"]))


def _outcome(half: Report | Refusal | None) -> str:
    if half is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(half, Refusal) else "SUCCESS"


def _word(params: Params, name: str) -> str | None:
    return cast("str | None", params.get(name))


def _number(params: Params, name: str) -> int | None:
    return cast("int | None", params.get(name))


def _rows(params: Params) -> int:
    return _number(params, "limit") or DEFAULT_ROWS


def _with_stp(params: Params, symbol: Symbol, ticket: Ticket) -> Ticket:
    """Note the self-trade prevention mode, if the symbol allows it (rule: self-trade-prevention)."""
    mode = _word(params, "selfTradePreventionMode")
    if mode is not None and mode not in symbol.stp_modes:
        raise Refusal(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    ticket.stp_mode = mode or symbol.stp_modes[0]
    return ticket


def _check_status(symbol: Symbol, params: Params) -> None:
    if params.get("symbolStatus") not in {None, symbol.status}:
        raise Refusal(-1220, "The symbol's status does not match the requested symbolStatus.")


def _limit(kind: str, interval: str, number: int, limit: int) -> Report:
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def _in_span(params: Params, rows: Sequence[Row], time_of: Callable[[Row], int], start_only: str) -> list[Row]:
    """Return the rows between ``startTime`` and ``endTime``, both inclusive (rule: time-spans)."""
    start, end = _number(params, "startTime"), _number(params, "endTime")
    first = None if start is None else to_microseconds(start)
    last = None if end is None else to_microseconds(end)
    if first is not None and last is None:
        last = {"unlimited": None, "day": first + DAY, "refused": MAX_INTEGER}[start_only]
    if first is not None and last is not None and last - first > DAY:
        raise Refusal(-1127, "More than 24 hours between startTime and endTime.")
    # The unit of a reply is coarser than the engine's clock: a millisecond means all of it.
    found = [
        row
        for row in rows
        if (first is None or time_of(row) >= first) and (last is None or time_of(row) < last + MILLISECOND)
    ]
    return found[-_rows(params) :] if first is None else found[: _rows(params)]
