"""Scenes of documented bodies: canceling and querying."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from typing import TYPE_CHECKING

from nbext.exchange.engine.accounts import Balance
from nbext.exchange.engine.filters import Filters
from nbext.exchange.engine.symbols import FEATURES
from support.exchange_client import OPEN_ORDERS, ORDER
from support.stage import LIST, SCENES, Stage, leg_ids, scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.exchange_client import Answer


@scene("cancel_order")
def cancel_order(stage: Stage) -> Answer:
    """Cancel an order under a name of one's own."""
    stage.symbol("LTC", "BTC")
    stage.next_ids("LTCBTC", 4)
    stage.limit("LTCBTC", "BUY", "2", "1", newClientOrderId="myOrder1")
    params = {"symbol": "LTCBTC", "origClientOrderId": "myOrder1", "newClientOrderId": "cancelMyOrder1"}
    return stage.signed("DELETE", ORDER, **params)


def protected_sale(stage: Stage, order_id: int, list_id: int, *ids: str, quantity: str = "10") -> Answer:
    """Place the OCO that several examples show: 3 above, 1 below."""
    if "LTCBTC" not in stage.engine.symbols:
        stage.symbol("LTC", "BTC", last="2")
    stage.next_ids("LTCBTC", order_id, list_id)
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": "3", "belowType": "STOP_LOSS_LIMIT", "belowStopPrice": "1"}
    legs |= {"belowPrice": "1", "belowTimeInForce": "GTC"}
    names = leg_ids("list", ids[0], "below", ids[1], "above", ids[2])
    return stage.list("oco", "LTCBTC", side="SELL", quantity=quantity, **legs, **names)


@scene("cancel_order_list")
def cancel_list(stage: Stage) -> Answer:
    """Cancel an order list."""
    protected_sale(stage, 2, 0, "C3wyj4WVEktd7u9aVBRXcN", "pO9ufTiFGg3nw2fOdgeOXa", "TXOvglzXuaubXAaENpaRCB")
    params = {"symbol": "LTCBTC", "orderListId": 0, "newClientOrderId": "unfWT8ig8i0uj6lPuYLez6"}
    return stage.signed("DELETE", LIST, **params)


@scene("cancel_all_open_orders")
def cancel_all(stage: Stage) -> Answer:
    """Cancel two single orders and an OCO at once."""
    stage.symbol("BTC", "USDT", last="0.1")
    for order_id, price, name in (
        (11, "0.089853", "E6APeyTJvkMvLMYMqu1KQ4"),
        (13, "0.090430", "A3EF2HCwxgZPFMrfwbgrhv"),
    ):
        stage.next_ids("BTCUSDT", order_id)
        stage.limit("BTCUSDT", "BUY", price, "0.178622", newClientOrderId=name)
    stage.next_ids("BTCUSDT", 20, 1929)
    above = {"Type": "STOP_LOSS_LIMIT", "StopPrice": "0.378131", "Price": "0.668611", "TimeInForce": "GTC"}
    legs = {f"above{name}": value for name, value in above.items()} | {"aboveIcebergQty": "0.017083"}
    legs |= {"belowType": "LIMIT_MAKER", "belowPrice": "0.008791", "belowIcebergQty": "0.639962"}
    ids = leg_ids(
        "list", "2inzWQdDvZLHbbAmAozX2N", "above", "CwOOIPHSmYywx6jZX77TdL", "below", "461cPg51vQjV3zIMOXNz39"
    )
    stage.list("oco", "BTCUSDT", side="BUY", quantity="0.690354", **legs, **ids)
    answer = stage.signed("DELETE", OPEN_ORDERS, symbol="BTCUSDT")
    # The one name that the exchange makes up: 22 characters, the same in all rows.
    made_up = answer.body[0]["clientOrderId"]
    assert re.fullmatch(r"[A-Za-z0-9]{22}", made_up)
    body = json.loads(json.dumps(answer.body).replace(made_up, "pXLV6Hz6mprAcVYpVMTGgx"))
    return replace(answer, body=body)


@scene("ws_cancel_order_leg_result")
def cancel_leg(stage: Stage) -> Answer:
    """Cancel one leg: the whole list goes, and comes back."""
    stage.symbol("BTC", "USDT", last="23420")
    stage.next_ids("BTCUSDT", 12569099453, 19431)
    above = {"Type": "STOP_LOSS_LIMIT", "StopPrice": "23430", "Price": "23450.5", "TimeInForce": "GTC"}
    legs = {f"above{name}": value for name, value in above.items()}
    legs |= {"belowType": "LIMIT_MAKER", "belowPrice": "23400"}
    ids = leg_ids(
        "list", "iuVNVJYYrByz6C4yGOPPK0", "above", "bX5wROblo6YeDwa9iTLeyY", "below", "Tnu2IP0J5Y4mxw3IATBfmW"
    )
    stage.list("oco", "BTCUSDT", side="BUY", quantity="0.0085", **legs, **ids)
    params = {"symbol": "BTCUSDT", "orderId": 12569099453, "newClientOrderId": "OFFXQtxVFZ6Nbcg4PgE2DA"}
    return stage.signed("DELETE", ORDER, **params)


def my_order(method: str, path: str, **params: object) -> Callable[[Stage], Answer]:
    """Place the order that the query examples show, then ask."""

    def play(stage: Stage) -> Answer:
        stage.symbol("LTC", "BTC")
        stage.next_ids("LTCBTC", 1)
        stage.limit("LTCBTC", "BUY", "0.1", "1", newClientOrderId="myOrder1")
        return stage.signed(method, path, symbol="LTCBTC", **params)

    return play


SCENES["query_order"] = my_order("GET", ORDER, orderId=1)
SCENES["open_orders"] = my_order("GET", OPEN_ORDERS)
SCENES["all_orders"] = my_order("GET", "/api/v3/allOrders")


@scene("ws_open_orders_result")
def partly_filled(stage: Stage) -> Answer:
    """Query a partly filled order."""
    stage.symbol("BTC", "USDT")
    stage.next_ids("BTCUSDT", 12569099453)
    stage.limit("BTCUSDT", "SELL", "23416.1", "0.00847", newClientOrderId="4d96324ff9d44481926157")
    stage.rest("BTCUSDT", "BUY", "23416.1", "0.0072")
    return stage.signed("GET", OPEN_ORDERS, symbol="BTCUSDT")


@scene("order_list")
def query_list(stage: Stage) -> Answer:
    """Query an order list."""
    protected_sale(stage, 4, 27, "h2USkA5YQpaXHPIrkd96xE", "qD1gy3kc3Gx0rihm9Y3xwS", "ARzZ9I00CPM8i3NhmU9Ega")
    return stage.signed("GET", LIST, orderListId=27)


@scene("open_order_list")
def open_lists(stage: Stage) -> Answer:
    """Query the open order lists."""
    protected_sale(stage, 4, 31, "wuB13fmulKj3YjdqWEcsnp", "r3EH2N76dHfLoSZWIUw1bT", "Cv1SnyPD3qhqpbjpYEHbd2")
    return stage.signed("GET", "/api/v3/openOrderList")


@scene("all_order_list")
def all_lists(stage: Stage) -> Answer:
    """Query two order lists; the example has them newest first, unlike the text."""
    protected_sale(stage, 2, 28, "hG7hFNxJV6cZy3Ze4AUT4d", "j6lFOfbmFMRjTYA7rRJ0LP", "z0KCjOdditiLS5ekAFtK81")
    protected_sale(stage, 4, 29, "amEEAXryFzFwYF1FeRpUoZ", "oD7aesZqjEGlZrbtRpy5zB", "Jr1h6xirOxgeJOUuYQS7V3")
    answer = stage.signed("GET", "/api/v3/allOrderList", fromId=28)
    answer.body.reverse()
    return answer


@scene("account")
def account(stage: Stage) -> Answer:
    """Query an account that pays 0.15 %."""
    stage.exchange.set_commission(maker="0.0015", taker="0.0015")
    main = stage.engine.account("main")
    main.update_time = 123456789_000
    main.balances = {"BTC": Balance(Decimal("4723846.89208129")), "LTC": Balance(Decimal("4763368.68006011"))}
    return stage.signed("GET", "/api/v3/account")


@scene("my_trades")
def my_trades(stage: Stage) -> Answer:
    """Query a purchase."""
    stage.symbol("BNB", "BTC", first_trade=28457)
    stage.rest("BNBBTC", "SELL", "4.000001", "12")
    stage.engine.account("main").taker_rate = Decimal("10.1") / 12
    stage.next_ids("BNBBTC", 100234)
    stage.limit("BNBBTC", "BUY", "4.000001", "12")
    return stage.signed("GET", "/api/v3/myTrades", symbol="BNBBTC")


@scene("rate_limit_order")
def unfilled_orders(stage: Stage) -> Answer:
    """Query the unfilled order count."""
    return stage.signed("GET", "/api/v3/rateLimit/order")


@scene("ping")
def ping(stage: Stage) -> Answer:
    """Knock."""
    return stage.client.public("/api/v3/ping")


@scene("server_time")
def server_time(stage: Stage) -> Answer:
    """Query the time."""
    return stage.client.public("/api/v3/time")


@scene("depth")
def depth(stage: Stage) -> Answer:
    """Query a book of two orders."""
    stage.symbol("LTC", "BTC")
    stage.rest("LTCBTC", "BUY", "4", "431")
    stage.rest("LTCBTC", "SELL", "4.000002", "12")
    return stage.client.public("/api/v3/depth", symbol="LTCBTC")


@scene("avg_price")
def average_price(stage: Stage) -> Answer:
    """Query the average price after a trade."""
    stage.symbol("LTC", "BTC")
    stage.rest("LTCBTC", "SELL", "9.35751834", "1")
    stage.limit("LTCBTC", "BUY", "9.35751834", "1")
    return stage.client.public("/api/v3/avgPrice", symbol="LTCBTC")


def tickers(path: str, **params: str) -> Callable[[Stage], Answer]:
    """Query the prices of two symbols, or of the first."""

    def play(stage: Stage) -> Answer:
        stage.symbol("LTC", "BTC", last="4.000002")
        stage.symbol("ETH", "BTC", last="0.079466")
        stage.rest("LTCBTC", "BUY", "4", "431")
        stage.rest("LTCBTC", "SELL", "4.000002", "9")
        stage.rest("ETHBTC", "BUY", "0.079467", "9")
        stage.rest("ETHBTC", "SELL", "100000", "1000")
        return stage.client.public(f"/api/v3/ticker/{path}", **params)

    return play


BOTH = '["LTCBTC","ETHBTC"]'
SCENES["ticker_price_single"] = tickers("price", symbol="LTCBTC")
SCENES["ticker_price_multiple"] = tickers("price", symbols=BOTH)
SCENES["book_ticker_single"] = tickers("bookTicker", symbol="LTCBTC")
SCENES["book_ticker_multiple"] = tickers("bookTicker", symbols=BOTH)


@scene("exchange_info")
def exchange_info(stage: Stage) -> Answer:
    """Query a symbol that has neither trailing stops nor cancel-replace."""
    symbol = stage.symbol("ETH", "BTC")
    symbol.features = frozenset(FEATURES.values()) - {"trailing", "cancelReplace", "amend"}
    symbol.permissions = ("SPOT", "MARGIN")
    symbol.stp_modes = ("NONE",)
    stage.engine.filters = Filters([])
    return stage.client.public("/api/v3/exchangeInfo", symbol="ETHBTC")
