"""Scenes of documented bodies: refusals."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import TYPE_CHECKING

from support.exchange_client import OPEN_ORDERS, ORDER, now
from support.stage import Stage, scene

if TYPE_CHECKING:
    from support.exchange_client import Answer


@scene("error_invalid_symbol")
def no_such_symbol(stage: Stage) -> Answer:
    """Query a symbol that is not listed."""
    return stage.client.public("/api/v3/depth", symbol="NOSUCH")


@scene("error_unknown_order")
def nothing_to_cancel(stage: Stage) -> Answer:
    """Cancel where nothing is open."""
    return stage.client.cancel_all()


@scene("error_would_match_and_take")
def maker_that_would_take(stage: Stage) -> Answer:
    """Offer below the best bid, but only as a maker."""
    return stage.order("BTCUSDT", "SELL", "LIMIT_MAKER", quantity="1", price="50000")


@scene("error_insufficient_balance")
def too_poor(stage: Stage) -> Answer:
    """Buy for more than there is."""
    stage.engine.account("main").balances["USDT"].free = Decimal(1)
    return stage.client.limit("BUY", "50000")


@scene("error_invalid_cancel_restrictions")
def strange_restrictions(stage: Stage) -> Answer:
    """Send a restriction that does not exist."""
    return stage.signed("DELETE", ORDER, symbol="BTCUSDT", orderId=1, cancelRestrictions="ONLY_OLD")


@scene("error_cancel_restrictions_not_met")
def restrictions_not_met(stage: Stage) -> Answer:
    """Cancel a new order only if it is partly filled."""
    order_id = stage.client.limit("BUY", "50000").body["orderId"]
    params = {"symbol": "BTCUSDT", "orderId": order_id, "cancelRestrictions": "ONLY_PARTIALLY_FILLED"}
    return stage.signed("DELETE", ORDER, **params)


@scene("error_too_many_orders")
def too_many_orders(stage: Stage) -> Answer:
    """Place two orders where one is allowed."""
    stage.engine.account("main").order_count.ten_seconds.limit = 1
    stage.client.limit("BUY", "50000")
    answer = stage.client.limit("BUY", "50000")
    # Ten seconds of the clock may have ended between the two.
    return answer if answer.status != 200 else stage.client.limit("BUY", "50000")


REPLACE = f"{ORDER}/cancelReplace"
TAKES = {"side": "SELL", "type": "LIMIT_MAKER", "quantity": "1", "price": "0.005"}


def sale(stage: Stage, order_id: int, price: str, quantity: str, kind: str = "LIMIT", **more: str) -> Stage:
    """Offer something above the best bid, for the replacements that follow."""
    stage.symbol("BTC", "USDT")
    stage.rest("BTCUSDT", "BUY", "0.005", "1")
    stage.next_ids("BTCUSDT", order_id)
    stage.order("BTCUSDT", "SELL", kind, price=price, quantity=quantity, **more)
    return stage


@scene("cancel_replace")
def replaced(stage: Stage) -> Answer:
    """Replace an offer by a bid."""
    sale(stage, 9, "0.01", "0.0001", timeInForce="GTC", newClientOrderId="DnLo3vTAQcjha43lAZhZ0y")
    params = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.04", "price": "0.02"}
    params |= {"newClientOrderId": "wOceeeOzNORyLiQfw7jd8S", "cancelNewClientOrderId": "osxN3JXAtJvKvCqGeMWMVR"}
    params |= {"cancelReplaceMode": "STOP_ON_FAILURE"}
    return stage.signed("POST", REPLACE, symbol="BTCUSDT", cancelOrderId=9, **params)


@scene("error_cancel_replace_stopped")
def stopped_replacement(stage: Stage) -> Answer:
    """Try to replace what is not there."""
    stage.symbol("BTC", "USDT")
    return stage.signed(
        "POST", REPLACE, symbol="BTCUSDT", cancelOrderId=1, cancelReplaceMode="STOP_ON_FAILURE", **TAKES
    )


@scene("error_cancel_replace_order_refused")
def refused_replacement(stage: Stage) -> Answer:
    """Replace an offer by one that would take."""
    sale(stage, 3, "0.006123", "10000", "LIMIT_MAKER", newClientOrderId="86M8erehfExV8z2RC8Zo8k")
    params = {"cancelReplaceMode": "STOP_ON_FAILURE", "cancelNewClientOrderId": "G1kLo6aDv2KGNTFcjfTSFq"}
    return stage.signed("POST", REPLACE, symbol="BTCUSDT", cancelOrderId=3, **TAKES, **params)


@scene("error_cancel_replace_cancel_refused")
def half_a_replacement(stage: Stage) -> Answer:
    """Place an order in place of one that is not there."""
    stage.symbol("BTC", "USDT")
    stage.next_ids("BTCUSDT", 11)
    params = {"cancelReplaceMode": "ALLOW_FAILURE", "newClientOrderId": "pfojJMg6IMNDKuJqDxvoxN"}
    return stage.signed("POST", REPLACE, symbol="BTCUSDT", cancelOrderId=1, **TAKES, **params)


@scene("error_cancel_replace_both_refused")
def no_replacement(stage: Stage) -> Answer:
    """Replace what is not there by an order that would take."""
    sale(stage, 1, "0.01", "1", "LIMIT_MAKER")
    return stage.signed("POST", REPLACE, symbol="BTCUSDT", cancelOrderId=7, cancelReplaceMode="ALLOW_FAILURE", **TAKES)


@scene("error_cancel_replace_order_count")
def replacement_beyond_the_count(stage: Stage) -> Answer:
    """Cancel only, since the account has placed as many orders as it may."""
    stage.symbol("LTC", "BNB")
    stage.next_ids("LTCBNB", 64)
    stage.limit("LTCBNB", "SELL", "1", "10", newClientOrderId="GKt5zzfOxRDSQLveDYCTkc")
    window = stage.engine.account("main").order_count.ten_seconds
    window.limit = 1
    window.add(1, stage.engine.now())  # ten seconds of the clock may have ended since
    params = {"cancelReplaceMode": "STOP_ON_FAILURE", "orderRateLimitExceededMode": "CANCEL_ONLY"}
    params |= {"cancelNewClientOrderId": "loehOJF3FjoreUBDmv739R"}
    answer = stage.signed("POST", REPLACE, symbol="LTCBNB", cancelOrderId=64, **TAKES, **params)
    assert (answer.status, int(answer.headers["Retry-After"]) > 0) == (429, True)
    return answer


@scene("error_stp_mode_not_allowed")
def mode_not_allowed(stage: Stage) -> Answer:
    """Request TRANSFER."""
    return stage.client.limit("BUY", "50000", selfTradePreventionMode="TRANSFER")


@scene("error_order_does_not_exist")
def no_such_order(stage: Stage) -> Answer:
    """Query an order that never existed."""
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=1)


@scene("error_order_archived")
def archived_order(stage: Stage) -> Answer:
    """Query an order that was canceled more than 90 days ago."""
    order_id = stage.client.limit("BUY", "50000").body["orderId"]
    stage.client.cancel_all()
    stage.exchange.advance(91 * 86_400)
    later = now() + 91 * 86_400_000
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=order_id, timestamp=later)


@scene("error_missing_symbol")
def missing_symbol(stage: Stage) -> Answer:
    """Cancel all without saying where."""
    return stage.signed("DELETE", OPEN_ORDERS)


@scene("error_optional_params_combination")
def strange_combination(stage: Stage) -> Answer:
    """Query trades by order and by time."""
    return stage.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=1, startTime=1)


@scene("error_stop_limit_tif_missing")
def no_time_in_force(stage: Stage) -> Answer:
    """Send a stop limit without its time in force."""
    params = {"side": "SELL", "quantity": "1", "price": "63000", "stopPrice": "57000", "stopLimitPrice": "56900"}
    return stage.list("deprecated", "BTCUSDT", **params)


@scene("error_too_many_symbols")
def too_many_symbols(stage: Stage) -> Answer:
    """Query more than a hundred symbols."""
    return stage.client.public("/api/v3/ticker/price", symbols=json.dumps([f"A{number}" for number in range(101)]))
