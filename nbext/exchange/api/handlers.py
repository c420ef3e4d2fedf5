"""Handlers: one per endpoint, from checked parameters to the engine and back to a reply.

They know neither HTTP nor signatures. Placing and canceling are here; an account's queries are in `queries`, public
ones in `market_data`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from nbext.exchange.api import parsing, replies
from nbext.exchange.api.market_data import MarketData
from nbext.exchange.api.parsing import number, word
from nbext.exchange.api.queries import Queries
from nbext.exchange.api.wallet import Wallet
from nbext.exchange.engine import refusals
from nbext.exchange.engine.market_maker import MARKET_ACCOUNT
from nbext.exchange.engine.refusals import Refusal, ReplaceFailed, TooMuch
from nbext.exchange.engine.symbols import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.parsing import Params
    from nbext.exchange.api.replies import Json, Report
    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.limits import RequestLimits
    from nbext.exchange.engine.market_maker import MarketMaker
    from nbext.exchange.engine.orders import Order, OrderList
    from nbext.exchange.engine.symbols import Symbol
    from nbext.exchange.engine.tickets import ListTicket, Ticket

    Answer = Report | list[Report] | Json

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
        What each address may ask for, as ``exchangeInfo`` shows it.
    clock : callable
        Returns the time that ``GET /time`` shows, in microseconds; the engine's own clock may differ.
    maker : MarketMaker
        Places orders for the market account.
    """

    def __init__(self, engine: Engine, limits: RequestLimits, clock: Callable[[], int], maker: MarketMaker) -> None:
        self._engine = engine
        self._clock = clock
        self._limits = limits
        self._maker = maker
        self._calls: dict[str, Callable[[Call], Answer]] = {
            **MarketData(engine, limits, clock).calls,
            **Queries(engine).calls,
            **Wallet(engine).calls,
            "order": self._place,
            "test": self._test,
            "cancelReplace": self._replace,
            "cancel": self._cancel,
            "cancelAll": self._cancel_all,
            **dict.fromkeys(LISTS, self._place_list),
            "cancelList": self._cancel_list,
        }

    def with_engine(self, engine: Engine) -> Handlers:
        """Return handlers for another engine, or for this one as it was."""
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
        kind = word(params, "newOrderRespType")

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
        # What the side adds is part of both (rule: commission).
        side_rate = account.buyer_rate if params["side"] == "BUY" else account.seller_rate
        own = {"maker": text(account.maker_rate + side_rate), "taker": text(account.taker_rate + side_rate)}
        none = {"maker": replies.NOTHING, "taker": replies.NOTHING}
        return {
            "standardCommissionForOrder": own,
            "specialCommissionForOrder": none,
            "taxCommissionForOrder": none,
            "discount": replies.discount(account),
        }

    def _place_list(self, call: Call) -> Report:
        params = call.params
        symbol = self._symbol(params)
        ticket: ListTicket = LISTS[call.endpoint.name](params)
        for leg in ticket.legs:
            _with_stp(params, symbol, leg)
        kind = word(params, "newOrderRespType")

        def write(order_list: OrderList) -> Report:
            return replies.placed_list(order_list, call.unit, kind or self._engine.dialect.list_response)

        return self._engine.place_list(self._engine.account(call.account), symbol, ticket, write)

    def _replace(self, call: Call) -> Report:
        """Cancel an order and place another one (rule: cancel-replace)."""
        params = call.params
        symbol = self._symbol(params)
        account = self._engine.account(call.account)
        order_id, client_id = number(params, "cancelOrderId"), word(params, "cancelOrigClientOrderId")
        if order_id is None and client_id is None:
            raise refusals.neither("cancelOrigClientOrderId", "cancelOrderId", self._engine.dialect.neither_id_code)
        cancel_id, restrictions = word(params, "cancelNewClientOrderId"), word(params, "cancelRestrictions")
        kind = word(params, "newOrderRespType")
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
            self.count_orders(call)  # an order that was not attempted counts too (rule: cancel-replace)
        # 429 if the first failure stops, else 400 and 409 as usual (rule: cancel-replace).
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
        order_id, client_id = number(params, "orderId"), word(params, "origClientOrderId")
        if order_id is None and client_id is None:
            raise refusals.neither("origClientOrderId", "orderId", self._engine.dialect.neither_id_code)
        row = self._engine.cancel(
            self._engine.account(call.account),
            symbol,
            order_id,
            client_id,
            cancel_id=word(params, "newClientOrderId"),
            restrictions=word(params, "cancelRestrictions"),
        )
        return replies.canceled_row(row, call.unit)

    def _cancel_list(self, call: Call) -> Json:
        params = call.params
        symbol = self._symbol(params)
        list_id, client_id = number(params, "orderListId"), word(params, "listClientOrderId")
        if list_id is None and client_id is None:
            raise refusals.neither("orderListId", "listClientOrderId", self._engine.dialect.neither_id_code)
        row = self._engine.cancel_list(
            self._engine.account(call.account),
            symbol,
            list_id,
            client_id,
            cancel_id=word(params, "newClientOrderId"),
        )
        return replies.canceled_row(row, call.unit)

    def _cancel_all(self, call: Call) -> Json:
        symbol = self._symbol(call.params)
        rows = self._engine.cancel_all(self._engine.account(call.account), symbol)
        return replies.canceled_rows(rows, call.unit)

    def _symbol(self, params: Params) -> Symbol:
        return self._engine.symbol(str(params["symbol"]))


def _outcome(half: Report | Refusal | None) -> str:
    if half is None:
        return "NOT_ATTEMPTED"
    return "FAILURE" if isinstance(half, Refusal) else "SUCCESS"


def _with_stp(params: Params, symbol: Symbol, ticket: Ticket) -> Ticket:
    """Note the self-trade prevention mode, if the symbol allows it (rule: self-trade-prevention)."""
    mode = word(params, "selfTradePreventionMode")
    if mode is not None and mode not in symbol.stp_modes:
        raise Refusal(-1013, "This symbol does not allow the specified self-trade prevention mode.")
    ticket.stp_mode = mode or symbol.stp_modes[0]
    return ticket
