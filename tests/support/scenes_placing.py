"""Scenes of documented bodies: placing orders and order lists."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.exchange_client import ORDER
from support.stage import SCENES, Stage, leg_ids, scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.exchange_client import Answer


def market_sale(kind: str) -> Callable[[Stage], Answer]:
    """Sell ten at the market into bids from 4000 down, at 0.1 %."""

    def play(stage: Stage) -> Answer:
        stage.symbol("BTC", "USDT", last="4000", first_trade=56)
        stage.exchange.set_commission(taker="0.001")
        for price, quantity in (("4000", "1"), ("3999", "5"), ("3998", "2"), ("3997", "1"), ("3995", "1")):
            stage.rest("BTCUSDT", "BUY", price, quantity)
        stage.next_ids("BTCUSDT", 28)
        cid = "6gCrw2kRUAF9CvJDGP16IP"
        return stage.order("BTCUSDT", "SELL", "MARKET", quantity="10", newClientOrderId=cid, newOrderRespType=kind)

    return play


for _kind in ("ack", "result", "full"):
    SCENES[f"new_order_{_kind}"] = market_sale(_kind.upper())


@scene("new_order_full_market_expired")
def market_order_that_runs_dry(stage: Stage) -> Answer:
    """Buy six at the market where four are offered; the commission is paid in BNB."""
    stage.symbol("LTC", "BNB", last="1", first_trade=7)
    stage.exchange.set_commission(taker="0.0005", bnb_discount=0)
    for _ in range(2):
        stage.rest("LTCBNB", "SELL", "1", "2")
    stage.next_ids("LTCBNB", 32)
    return stage.order("LTCBNB", "BUY", "MARKET", quantity="6", newClientOrderId="8LGC97RRgNPVQk979VIhjt")


@scene("new_order_full_pegged")
def pegged_order(stage: Stage) -> Answer:
    """Buy at the best bid without naming a price."""
    stage.symbol("BTC", "USDT", last="0.05")
    stage.rest("BTCUSDT", "BUY", "0.04", "1")
    stage.next_ids("BTCUSDT", 18)
    params = {"timeInForce": "GTC", "quantity": "1", "pegPriceType": "PRIMARY_PEG"}
    return stage.order("BTCUSDT", "BUY", "LIMIT", newClientOrderId="q1fKs4Y7wgE61WSFMYRFKo", **params)


def self_trade(
    mode: str,
    client_id: str,
    taker_id: int,
    *makers: tuple[str, str],
    quantity: str,
    first_trade: int = 0,
    at_market: bool = False,
) -> Callable[[Stage], Answer]:
    """Sell into bids of one's own."""

    def play(stage: Stage) -> Answer:
        stage.symbol("BTC", "USDT", last="1", first_trade=first_trade)
        stage.next_ids("BTCUSDT", taker_id - len(makers))
        for number, (price, size) in enumerate(makers):
            first_id = {} if number else {"newClientOrderId": "wpNzhSclc16pV8g5THIOR3"}
            stage.rest("BTCUSDT", "BUY", price, size, account="main", **first_id)
        params = {"selfTradePreventionMode": mode, "newClientOrderId": client_id}
        if at_market:
            return stage.order("BTCUSDT", "SELL", "MARKET", quantity=quantity, **params)
        return stage.limit("BTCUSDT", "SELL", "1", quantity, **params)

    return play


SCENES["new_order_full_stp_none_filled"] = self_trade(
    "NONE", "Ay48Vtpghnsvy6w8RPQEde", 3, ("1", "1"), quantity="1", first_trade=1
)
BIDS = (("1.2", "1.2"), ("1.1", "1.3"), ("1", "8.1"))
EXPIRE_MAKER = self_trade("EXPIRE_MAKER", "WRzbhp257NhZsIJW4y2Nri", 5, *BIDS, quantity="3")
SCENES["new_order_full_stp_expire_maker"] = EXPIRE_MAKER
SCENES["new_order_full_stp_expire_taker"] = self_trade(
    "EXPIRE_TAKER", "zxrvnNNm1RXC3rkPLUPrc1", 1, ("1", "1"), quantity="1"
)
SCENES["new_order_full_stp_market_expired"] = self_trade(
    "EXPIRE_MAKER", "zqhsgGDEcdhxy2oza2Ljxd", 3, ("1", "1"), quantity="1", at_market=True
)


@scene("new_order_full_stp_expire_both")
def both_expire(stage: Stage) -> Answer:
    """Sell three into a bid of one, in a trade group."""
    stage.exchange.set_trade_group(1)
    makers = (("1", "1"), ("1", "1"), ("1", "1"))
    return self_trade("EXPIRE_BOTH", "qMaz8yrOXk2iUIz74cFkiZ", 5, *makers, quantity="3")(stage)


@scene("query_order_stp_maker_expired")
def query_expired_maker(stage: Stage) -> Answer:
    """Query the first maker that expired."""
    EXPIRE_MAKER(stage)
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=2)


@scene("query_order_stp_taker_expired")
def query_expired_taker(stage: Stage) -> Answer:
    """Query a taker that expired."""
    self_trade("EXPIRE_TAKER", "kocvDAi4GNN2y1l1Ojg1Ri", 5, *BIDS, quantity="3")(stage)
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=5)


@scene("query_order_stp_decrement_maker")
def query_decremented_maker(stage: Stage) -> Answer:
    """Query a maker that lost two of six and stays."""
    stage.symbol("BTC", "USDT", last="2")
    stage.engine.markets["BTCUSDT"]._next_prevented_id = 4
    stage.next_ids("BTCUSDT", 23)
    mode = {"selfTradePreventionMode": "DECREMENT"}
    stage.limit("BTCUSDT", "BUY", "2", "6", newClientOrderId="Kxb4RpsBhfQrkK2r2YO2Z9", **mode)
    stage.limit("BTCUSDT", "SELL", "2", "2", **mode)
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=23)


@scene("test_order")
def order_test(stage: Stage) -> Answer:
    """Try an order."""
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1"}
    return stage.signed("POST", f"{ORDER}/test", **params)


@scene("test_order_commission_rates")
def order_test_with_rates(stage: Stage) -> Answer:
    """Try an order and ask what it would cost."""
    stage.exchange.set_commission(maker="0.00000112", taker="0.00000114", bnb_discount="0.25")
    params = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quantity": "1", "computeCommissionRates": "true"}
    return stage.signed("POST", f"{ORDER}/test", **params)


@scene("new_order_list_oco_result")
def oco(stage: Stage) -> Answer:
    """Sell at 3, or at 1 once 1 is traded."""
    stage.symbol("LTC", "BTC", last="2")
    stage.next_ids("LTCBTC", 10, 1)
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": "3", "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "1"}
    legs |= {"belowPrice": "1", "belowTimeInForce": "GTC", "belowIcebergQty": "1"}
    ids = leg_ids(
        "list", "lH1YDkuQKWiXVXHPSKYEIp", "below", "44nZvqpemY7sVYgPYbvPih", "above", "NuMp0nVYnciDiFmVqfpBqK"
    )
    return stage.list("oco", "LTCBTC", side="SELL", quantity="5", **legs, **ids)


@scene("new_oco_deprecated_result")
def deprecated_oco(stage: Stage) -> Answer:
    """Buy lower, or at the market once it is higher."""
    stage.symbol("LTC", "BTC", last="0.5")
    stage.next_ids("LTCBTC", 2, 0)
    ids = leg_ids("list", "JYVpp3F0f5CAG15DhtrqLp", "stop", "Kk7sqHb9J6mJWTMDVW7Vos", "limit", "xTXKaGYd4bluPVp78IVRvl")
    params = {"side": "BUY", "quantity": "0.624363", "price": "0.036435", "stopPrice": "0.960664"}
    return stage.list("deprecated", "LTCBTC", **params, **ids)


@scene("new_order_list_oto_result")
def oto(stage: Stage) -> Answer:
    """Sell one, then buy five at the market."""
    stage.symbol("LTC", "BTC", last="0.9")
    stage.next_ids("LTCBTC", 4, 0)
    ids = leg_ids(
        "list", "yl2ERtcar1o25zcWtqVBTC", "working", "Bq17mn9fP6vyCn75Jw1xya", "pending", "arLFo0zGJVDE69cvGBaU0d"
    )
    pending = {"pendingType": "MARKET", "pendingSide": "BUY", "pendingQuantity": "5"}
    return stage.list("oto", "LTCBTC", **working("SELL", "1", "1"), **pending, **ids)


@scene("new_order_list_otoco_result")
def otoco(stage: Stage) -> Answer:
    """Sell one, then buy five one way or the other."""
    stage.symbol("LTC", "BTC", last="0.9")
    stage.next_ids("LTCBTC", 6, 1)
    ids = leg_ids(
        *("list", "RumwQpBaDctlUu5jyG5rs0", "working", "fM9Y4m23IFJVCQmIrlUmMK"),
        *("pendingAbove", "6pcQbFIzTXGZQ1e2MkGDq4", "pendingBelow", "r4JMv9cwAYYUwwBZfbussx"),
    )
    above = {"Type": "STOP_LOSS_LIMIT", "StopPrice": "6", "Price": "1", "TimeInForce": "IOC"}
    pending = {f"pendingAbove{name}": value for name, value in above.items()}
    pending |= {"pendingBelowType": "LIMIT_MAKER", "pendingBelowPrice": "3"}
    pending |= {"pendingSide": "BUY", "pendingQuantity": "5"}
    return stage.list("otoco", "LTCBTC", **working("SELL", "1", "1"), **pending, **ids)


@scene("new_order_list_opo_result")
def opo(stage: Stage) -> Answer:
    """Buy, then sell what was bought at the market."""
    stage.symbol("BTC", "USDT", last="103000")
    stage.next_ids("BTCUSDT", 2, 0)
    ids = leg_ids(
        "list", "H94qCqO27P74OEiO4X8HOG", "working", "JX6xfdjo0wysiGumfHNmPu", "pending", "2ZJCY0IjOhuYIMLGN8kU8S"
    )
    pending = {"pendingType": "MARKET", "pendingSide": "SELL"}
    return stage.list("opo", "BTCUSDT", **working("BUY", "102264", "0.0006"), **pending, **ids)


@scene("new_order_list_opoco_result")
def opoco(stage: Stage) -> Answer:
    """Buy, then sell what was bought one way or the other."""
    stage.symbol("BTC", "USDT", last="103000")
    stage.next_ids("BTCUSDT", 9, 2)
    ids = leg_ids(
        *("list", "bcedxMpQG6nFrZUPQyshoL", "working", "OLSBhMWaIlLSzZ9Zm7fnKB"),
        *("pendingBelow", "mfif39yPTHsB3C0FIXznR2", "pendingAbove", "yINkaXSJeoi3bU5vWMY8Z8"),
    )
    below = {"Type": "STOP_LOSS_LIMIT", "StopPrice": "10100", "Price": "101613", "TimeInForce": "GTC"}
    pending = {f"pendingBelow{name}": value for name, value in below.items()}
    pending |= {"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "104261", "pendingSide": "SELL"}
    return stage.list("opoco", "BTCUSDT", **working("BUY", "102496", "0.0017"), **pending, **ids)


def working(side: str, price: str, quantity: str) -> dict[str, str]:
    """Return a working LIMIT order."""
    return {
        "workingType": "LIMIT",
        "workingSide": side,
        "workingTimeInForce": "GTC",
        "workingPrice": price,
        "workingQuantity": quantity,
    }
