"""Replies in the exchange's own words: orders, lists, cancel reports, trades.

`unit` is the number of microseconds in the unit of the reply's times (rule: reply-time-unit).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from nbext.exchange.engine.limits import DAY
from nbext.exchange.engine.orders import Order, OrderList
from nbext.exchange.engine.symbols import text
from nbext.exchange.engine.tickets import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from nbext.exchange.engine.accounts import Account
    from nbext.exchange.engine.candles import Candle
    from nbext.exchange.engine.matching import Market, Trade
    from nbext.exchange.engine.orders import Fill, PreventedMatch
    from nbext.exchange.engine.symbols import Symbol

    Report = dict[str, Any]

NOTHING = text(ZERO)
MILLISECOND = 1000

write = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False).encode


class Json(str):
    """A JSON document, already written as text."""

    __slots__ = ()


def stamp(time: int, unit: int) -> int:
    """Write a time; the sentinel -1 stays as it is, as floor division has it."""
    return time // unit


def placement(order: Order, unit: int, kind: str | None) -> Report:
    """Write the reply to a placement: ACK, RESULT or FULL (rule: placement-replies)."""
    kind = kind or ("FULL" if order.type in {"MARKET", "LIMIT"} else "ACK")
    report: Report = {
        "symbol": order.symbol.name,
        "orderId": order.order_id,
        "orderListId": list_id(order),
        "clientOrderId": order.own_id,
        "transactTime": stamp(order.time, unit),
    }
    if kind == "ACK":
        return report
    report |= {
        "price": text(order.price),
        **_peg(order),
        **_quantity(order),
        "executedQty": text(order.executed),
        "origQuoteOrderQty": text(order.quote_quantity),
        "cummulativeQuoteQty": text(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
    }
    _add_stop(report, order, unit)
    report["workingTime"] = stamp(order.working_time, unit)
    _add_iceberg_and_strategy(report, order)
    report["selfTradePreventionMode"] = order.stp_mode
    if order.prevented_matches:
        if order.prevented:
            report["preventedQuantity"] = text(order.prevented)
        if order.account.trade_group_id >= 0:
            report["tradeGroupId"] = order.account.trade_group_id
    if order.expiry_reason is not None:
        report["expiryReason"] = order.expiry_reason
    if kind == "FULL" and order.prevented_matches:
        report["preventedMatches"] = [_prevented(match) for match in order.prevented_matches]
    if kind == "FULL":
        report["fills"] = [
            {
                "price": text(fill.price),
                "qty": text(fill.quantity),
                "commission": text(fill.commission),
                "commissionAsset": fill.commission_asset,
                "tradeId": fill.trade_id,
            }
            for fill in order.fills or ()
        ]
    return report


def queried(order: Order, unit: int, client_id: str, *, with_reason: bool = False) -> Report:
    """Write an order as queries show it (rule: queried-orders), with the client id it has by now."""
    report: Report = {
        "symbol": order.symbol.name,
        "orderId": order.order_id,
        "orderListId": list_id(order),
        "clientOrderId": client_id,
        "price": text(order.price),
        **_peg(order),
        **_quantity(order),
        "executedQty": text(order.executed),
        "cummulativeQuoteQty": text(order.quote_executed),
        "status": order.status,
        "timeInForce": order.time_in_force,
        "type": order.type,
        "side": order.side,
        "stopPrice": NOTHING if order.stop_price is None else text(order.stop_price),
    }
    if order.trailing_delta is not None:
        report["trailingDelta"] = order.trailing_delta
        report["trailingTime"] = stamp(order.trailing_time, unit)
    report |= {
        "icebergQty": NOTHING if order.iceberg_quantity is None else text(order.iceberg_quantity),
        "time": stamp(order.time, unit),
        "updateTime": stamp(order.update_time, unit),
        "isWorking": order.is_working,
        "workingTime": stamp(order.working_time, unit),
        "origQuoteOrderQty": text(order.quote_quantity),
    }
    _add_strategy(report, order)
    report["selfTradePreventionMode"] = order.stp_mode
    if order.prevented_match_id is not None:
        report["preventedMatchId"] = order.prevented_match_id
    _add_prevented(report, order)
    if with_reason and order.expiry_reason is not None:
        report["expiryReason"] = order.expiry_reason
    return report


def canceled(order: Order, unit: int) -> str:
    """Write the cancel report of one order (rule: cancel-reports)."""
    # Written as text directly: encoding a dict takes longer than the cancel itself. Nothing in it needs
    # escapes: admission lets neither quotes nor backslashes into ids and symbols (rule: value-forms).
    peg = _members(_peg(order)) if order.is_pegged else ""
    quantity = "" if order.awaits_quantity else f'"origQty":"{text(order.quantity)}",'
    further: Report = {}
    if order.is_stop:
        _add_stop(further, order, unit)
    _add_iceberg_and_strategy(further, order)
    if order.prevented:
        _add_prevented(further, order)
    return (
        f'{{"symbol":"{order.symbol.name}","origClientOrderId":"{order.own_id}","orderId":{order.order_id},'
        f'"orderListId":{list_id(order)},"clientOrderId":"{order.current_id}",'
        f'"transactTime":{stamp(order.update_time, unit)},"price":"{text(order.price)}",{peg}{quantity}'
        f'"executedQty":"{text(order.executed) if order.executed else NOTHING}",'
        f'"origQuoteOrderQty":"{text(order.quote_quantity) if order.quote_quantity else NOTHING}",'
        f'"cummulativeQuoteQty":"{text(order.quote_executed) if order.quote_executed else NOTHING}",'
        f'"status":"{order.status}","timeInForce":"{order.time_in_force}","type":"{order.type}","side":"{order.side}",'
        f'{_members(further) if further else ""}"selfTradePreventionMode":"{order.stp_mode}"}}'
    )


def canceled_row(row: Order | tuple[OrderList, list[Order]], unit: int) -> Json:
    """Write what one cancel ended: a single order flat, a list as a list with its reports."""
    if isinstance(row, Order):
        return Json(canceled(row, unit))
    order_list, legs = row
    own = _members(listed(order_list, unit))
    return Json(f'{{{own}"orderReports":{canceled_rows(legs, unit)}}}')


def canceled_rows(rows: Iterable[Order | tuple[OrderList, list[Order]]], unit: int) -> Json:
    """Write what several cancels ended."""
    return Json(f"[{','.join([canceled_row(row, unit) for row in rows])}]")


def placed_list(order_list: OrderList, unit: int, kind: str) -> Report:
    """Write the reply to the placement of an order list."""
    reports = [placement(leg, unit, kind) for leg in order_list.legs]
    return listed(order_list, unit) | {"orderReports": reports}


def listed(order_list: OrderList, unit: int) -> Report:
    """Write an order list without reports; its orders keep the ids they were placed with (rule: list-replies)."""
    name = order_list.symbol.name
    return {
        "orderListId": order_list.order_list_id,
        "contingencyType": order_list.contingency_type,
        "listStatusType": "ALL_DONE" if order_list.is_done else "EXEC_STARTED",
        "listOrderStatus": "ALL_DONE" if order_list.is_done else "EXECUTING",
        "listClientOrderId": order_list.client_order_id,
        "transactionTime": stamp(order_list.time, unit),
        "symbol": name,
        "orders": [{"symbol": name, "orderId": leg.order_id, "clientOrderId": leg.own_id} for leg in order_list.legs],
    }


def trade(fill: Fill, unit: int) -> Report:
    """Write one side of a trade as ``GET /myTrades`` shows it (rule: own-trades)."""
    order = fill.order
    return {
        "symbol": order.symbol.name,
        "id": fill.trade_id,
        "orderId": order.order_id,
        "orderListId": list_id(order),
        "price": text(fill.price),
        "qty": text(fill.quantity),
        "quoteQty": text(fill.quote),
        "commission": text(fill.commission),
        "commissionAsset": fill.commission_asset,
        "time": stamp(fill.time, unit),
        "isBuyer": order.side == "BUY",
        "isMaker": fill.is_maker,
        "isBestMatch": True,
    }


def account_state(account: Account, unit: int, *, can_trade: bool, omit_zero: bool) -> Report:
    """Write the state of an account (rule: account-replies)."""
    group = {"tradeGroupId": account.trade_group_id} if account.trade_group_id >= 0 else {}
    basis_points = {"maker": int(account.maker_rate * 10_000), "taker": int(account.taker_rate * 10_000)}
    return {
        "makerCommission": basis_points["maker"],
        "takerCommission": basis_points["taker"],
        "buyerCommission": int(account.buyer_rate * 10_000),
        "sellerCommission": int(account.seller_rate * 10_000),
        "commissionRates": {
            "maker": text(account.maker_rate),
            "taker": text(account.taker_rate),
            "buyer": text(account.buyer_rate),
            "seller": text(account.seller_rate),
        },
        "canTrade": can_trade,
        "canWithdraw": False,
        "canDeposit": False,
        "brokered": False,
        "requireSelfTradePrevention": False,
        "preventSor": False,
        "updateTime": stamp(max(account.update_time, 0), unit),
        "accountType": "SPOT",
        "balances": [
            {"asset": asset, "free": text(balance.free), "locked": text(balance.locked)}
            for asset, balance in account.balances.items()
            if not omit_zero or balance.free or balance.locked
        ],
        "permissions": ["SPOT"],
        "uid": account.uid,
        **group,
    }


def public_trade(trade: Trade, unit: int) -> Report:
    """Write a trade as ``GET /trades`` shows it to the public."""
    return {
        "id": trade.trade_id,
        "price": text(trade.price),
        "qty": text(trade.quantity),
        "quoteQty": text(trade.price * trade.quantity),
        "time": stamp(trade.time, unit),
        "isBuyerMaker": trade.is_buyer_maker,
        "isBestMatch": True,
    }


def best_prices(market: Market) -> Report:
    """Write the best level of each side, zero if there is none."""
    row: Report = {}
    for word, side in (("bid", "BUY"), ("ask", "SELL")):
        price, quantity = next(market.book.sides[side].levels(1), (ZERO, ZERO))
        row[f"{word}Price"], row[f"{word}Qty"] = text(price), text(quantity)
    return row


def aggregate_trade(trades: list[Trade], unit: int) -> Report:
    """Write trades that go on with each other as ``GET /aggTrades`` shows them (rule: aggregate-trades)."""
    first, last = trades[0], trades[-1]
    return {
        "a": first.aggregate_id,
        "p": text(first.price),
        "q": text(sum((trade.quantity for trade in trades), start=ZERO)),
        "f": first.trade_id,
        "l": last.trade_id,
        "T": stamp(first.time, unit),
        "m": first.is_buyer_maker,
        "M": True,
    }


def candle(row: Candle, until: int, unit: int) -> list[object]:
    """Write a candle as ``GET /klines`` shows it (rule: candles)."""
    return [
        stamp(row.start, unit),
        *map(text, (row.open, row.high, row.low, row.close, row.volume)),
        stamp(until, unit) - 1,
        text(row.money),
        row.count,
        text(row.taker_volume),
        text(row.taker_money),
        "0",
    ]


def day_ticker(market: Market, now: int, unit: int, *, is_full: bool) -> Report:
    """Write what happened on a symbol in the last 24 hours."""
    row = window_ticker(market, now - DAY, stamp(now, unit), unit, is_full=is_full)
    if is_full:
        earlier = [trade.price for trade in market.trades if trade.time < now - DAY]
        last = [trade.quantity for trade in market.trades if trade.time >= now - DAY][-1:]
        before = text(earlier[-1]) if earlier else row["openPrice"]
        own = {"prevClosePrice": before, "lastPrice": row.pop("lastPrice"), "lastQty": text(last[0] if last else ZERO)}
        changes = ("symbol", "priceChange", "priceChangePercent", "weightedAvgPrice")
        row = {name: row.pop(name) for name in changes} | own | best_prices(market) | row
    return row


def window_ticker(market: Market, since: int, close_time: int, unit: int, *, is_full: bool) -> Report:
    """Write what happened on a symbol from a moment on (rule: rolling-window)."""
    trades = [trade for trade in market.trades if trade.time >= since]
    prices = [trade.price for trade in trades] or [market.last_price or ZERO]
    volume = sum((trade.quantity for trade in trades), start=ZERO)
    money = sum((trade.price * trade.quantity for trade in trades), start=ZERO)
    change = prices[-1] - prices[0]
    row: Report = {"symbol": market.symbol.name}
    if is_full:
        row |= {
            "priceChange": text(change),
            "priceChangePercent": f"{change / prices[0] * 100 if prices[0] else ZERO:.3f}",
            "weightedAvgPrice": text(money / volume if volume else ZERO),
        }
    return row | {
        "openPrice": text(prices[0]),
        "highPrice": text(max(prices)),
        "lowPrice": text(min(prices)),
        "lastPrice": text(prices[-1]),
        "volume": text(volume),
        "quoteVolume": text(money),
        "openTime": stamp(since, unit),
        "closeTime": close_time,
        "firstId": trades[0].trade_id if trades else -1,
        "lastId": trades[-1].trade_id if trades else -1,
        "count": len(trades),
    }


def rate_limit(kind: str, interval: str, number: int, limit: int) -> Report:
    """Write a rate limit."""
    return {"rateLimitType": kind, "interval": interval, "intervalNum": number, "limit": limit}


def list_id(order: Order) -> int:
    """Return the id of the order's list, -1 for a single order."""
    return -1 if order.order_list is None else order.order_list.order_list_id


def _members(fields: Report) -> str:
    """Write fields as the beginning of an object."""
    return f"{write(fields)[1:-1]},"


def _peg(order: Order) -> Report:
    """Return the fields of a peg, which stand after the price (rule: conditional-fields)."""
    fields: Report = {}
    if order.peg_price_type is not None:
        fields["pegPriceType"] = order.peg_price_type
        if order.peg_offset_type is not None:
            fields |= {"pegOffsetType": order.peg_offset_type, "pegOffsetValue": order.peg_offset_value}
        if order.pegged_price is not None:
            fields["peggedPrice"] = text(order.pegged_price)
    return fields


def _quantity(order: Order) -> Report:
    """Return the ordered quantity, which the pending leg of an OPO may never have had (rule: conditional-fields)."""
    return {} if order.awaits_quantity else {"origQty": text(order.quantity)}


def _prevented(match: PreventedMatch) -> Report:
    report: Report = {
        "preventedMatchId": match.prevented_match_id,
        "makerSymbol": match.maker.symbol.name,
        "makerOrderId": match.maker.order_id,
        "price": text(match.price),
    }
    if match.taker_quantity is not None:
        report["takerPreventedQuantity"] = text(match.taker_quantity)
    if match.maker_quantity is not None:
        report["makerPreventedQuantity"] = text(match.maker_quantity)
    return report


def own_prevented(match: PreventedMatch, taker: Order, unit: int) -> Report:
    """Write a prevented self-trade as ``GET /myPreventedMatches`` shows it (rule: own-prevented-matches)."""
    row: Report = {
        "symbol": taker.symbol.name,
        "preventedMatchId": match.prevented_match_id,
        "takerOrderId": taker.order_id,
        "makerSymbol": match.maker.symbol.name,
        "makerOrderId": match.maker.order_id,
        "tradeGroupId": taker.account.trade_group_id,
        "selfTradePreventionMode": taker.stp_mode,
        "price": text(match.price),
    }
    for name, quantity in (("maker", match.maker_quantity), ("taker", match.taker_quantity)):
        if quantity is not None:
            row[f"{name}PreventedQuantity"] = text(quantity)
    return row | {"transactTime": stamp(match.time, unit)}


def commission(symbol: Symbol, account: Account) -> Report:
    """Write what an account pays on a symbol, as ``GET /account/commission`` shows it (rule: commission)."""
    rates = {
        "maker": account.maker_rate,
        "taker": account.taker_rate,
        "buyer": account.buyer_rate,
        "seller": account.seller_rate,
    }
    none = dict.fromkeys(rates, NOTHING)
    return {
        "symbol": symbol.name,
        "standardCommission": {name: text(rate) for name, rate in rates.items()},
        "specialCommission": none,
        "taxCommission": none,
        "discount": discount(account),
    }


def discount(account: Account) -> Report:
    """Write what paying in BNB multiplies the standard commission by (rule: commission)."""
    return {
        "enabledForAccount": account.bnb_discount is not None,
        "enabledForSymbol": account.bnb_discount is not None,
        "discountAsset": "BNB",
        "discount": text(1 - (account.bnb_discount or ZERO)),
    }


def _add_prevented(report: Report, order: Order) -> None:
    if order.prevented:
        report["preventedQuantity"] = text(order.prevented)


def _add_stop(report: Report, order: Order, unit: int) -> None:
    if not order.is_stop:
        return
    report["stopPrice"] = NOTHING if order.stop_price is None else text(order.stop_price)
    if order.trailing_delta is not None:
        report["trailingDelta"] = order.trailing_delta
        report["trailingTime"] = stamp(order.trailing_time, unit)


def _add_iceberg_and_strategy(report: Report, order: Order) -> None:
    if order.iceberg_quantity is not None:
        report["icebergQty"] = text(order.iceberg_quantity)
    _add_strategy(report, order)


def _add_strategy(report: Report, order: Order) -> None:
    if order.strategy_id is not None:
        report["strategyId"] = order.strategy_id
    if order.strategy_type is not None:
        report["strategyType"] = order.strategy_type
