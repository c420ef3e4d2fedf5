"""Every documented body that can arise: the scenario is played over HTTP, and the answer compared field for field.

The stage is set with the symbols, ids and amounts of the documentation, so that the values agree as well: amounts as
numbers, times by their type and by which of them are equal.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import OPEN_ORDERS, ORDER, Client, now

from nbext.exchange import LocalExchange
from nbext.exchange.engine.accounts import Balance
from nbext.exchange.engine.filters import Filters
from nbext.exchange.engine.matching import Market
from nbext.exchange.engine.symbols import FEATURES, Listing, Symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.exchange_client import Answer

FIXTURES = Path(__file__).parents[1] / "fixtures"
LIST = "/api/v3/orderList"
WEALTH = Decimal(10**9)
EIGHT_DECIMALS = re.compile(r"[0-9]+\.[0-9]{8}")
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
TIMES = {"transactTime", "transactionTime", "workingTime", "time", "updateTime", "serverTime", "closeTime"}
# Fields that came to the API after the example was written (INDEX.md, 8.1, 8.5).
NEWER = {"origQuoteOrderQty", "expiryReason", "makerSymbol"}
# Values that the documentation itself has wrong or makes up, so that no scenario leads to them.
DIFFERENT = {
    "new_order_result": {"cummulativeQuoteQty"},  # ten units at about 4000 do not cost 10
    "new_order_full": {"cummulativeQuoteQty"},
    "account": {"canWithdraw", "canDeposit", "uid"},  # nothing comes into or goes out of this exchange
    # Special and tax commissions exist on the live exchange only, and so does the account that would pay them.
    "test_order_commission_rates": {"maker", "taker", "discount"},
    "depth": {"lastUpdateId"},
    "exchange_info": {"rateLimits", "sors"},  # a placeholder, and smart order routing: see the tests below
    "ws_open_orders_result": {"cummulativeQuoteQty"},  # filled at several prices that the example does not tell
}
# Bodies that cannot arise here, and why.
CANNOT_ARISE = {
    "new_order_full_stp_transfer": "TRANSFER is not offered (rule: self-trade-prevention)",
    "ws_cancel_order_result": "a slip: neutral conditional fields on a LIMIT order (rule: zero-fields)",
    "ws_cancel_all_open_orders_result": "a slip: the same, and one id for two orders (rule: duplicate-report)",
    "ws_cancel_order_list_result": "a slip: no origClientOrderId in the reports (rule: list-cancel-form)",
    "ws_query_order_result": "shows every optional field at once, trailing ones on a LIMIT order",
    "ws_exchange_info_result": "its CONNECTIONS limiter and its sors exist in the WebSocket API only",
    "error_ip_banned_ws": "its data member exists in the WebSocket API only",
    "filter_max_asset": "shown by GET /myFilters only, which is not part of this API",
    "rate_limit_orders": "an illustration of the shape, compared below",
    "rate_limit_raw_requests": "an illustration of the shape, compared below",
    "rate_limit_request_weight": "an illustration of the shape, compared below",
}


class Stage:
    """An exchange whose symbols, ids and empty books are those of an example."""

    def __init__(self, exchange: LocalExchange, client: Client) -> None:
        self.exchange = exchange
        self.client = client
        self.engine = exchange._engine

    def symbol(self, base: str, quote: str, *, last: str | None = None, first_trade: int = 0) -> Symbol:
        """List a symbol without filters and with an empty book."""
        symbol = Symbol(Listing(base, quote, "1", "0.00000001", "0.00000001", "0", "1"), 200)
        symbol.filters = Filters([])
        engine = self.engine
        engine.symbols[symbol.name] = symbol
        engine.markets[symbol.name] = Market(symbol, first_trade, lambda asset: engine.worth("BNB", asset))
        engine.markets[symbol.name].last_price = None if last is None else Decimal(last)
        engine._next_order_id[symbol.name] = 0
        engine._given_out.clear()
        for name in ("main", "other"):
            account = engine.account(name)
            for asset in (base, quote):
                account.balances[asset] = Balance(WEALTH)
        return symbol

    def next_ids(self, symbol: str, order_id: int, list_id: int = 0) -> None:
        """Say which ids come next."""
        self.engine._next_order_id[symbol] = order_id
        self.engine._next_list_id = list_id
        self.engine._given_out.clear()

    def rest(self, symbol: str, side: str, price: str, quantity: str, account: str = "other", **more: str) -> None:
        """Let an order rest in the book."""
        params = {"timeInForce": "GTC", "price": price, "quantity": quantity, **more}
        self.exchange.place(symbol, side, "LIMIT", account=account, **params)

    def signed(self, method: str, path: str, **params: object) -> Answer:
        """Send a signed request of the main account."""
        return self.client.signed(method, path, headers=None, **params)

    def order(self, symbol: str, side: str, kind: str, **params: object) -> Answer:
        """Place an order of the main account over HTTP."""
        return self.signed("POST", ORDER, symbol=symbol, side=side, type=kind, **params)

    def limit(self, symbol: str, side: str, price: str, quantity: str, **params: object) -> Answer:
        """Place a LIMIT order of the main account over HTTP."""
        params = {"timeInForce": "GTC", "price": price, "quantity": quantity, "newOrderRespType": "FULL", **params}
        return self.order(symbol, side, "LIMIT", **params)

    def list(self, kind: str, symbol: str, **params: object) -> Answer:
        """Place an order list over HTTP."""
        path = "/api/v3/order/oco" if kind == "deprecated" else f"{LIST}/{kind}"
        return self.signed("POST", path, symbol=symbol, **params)


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Set the stage."""
    with LocalExchange(order_limits=(50, 160_000)) as exchange:
        exchange.add_key(account="other")
        with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
            yield Stage(exchange, client)


SCENES: dict[str, Callable[[Stage], Answer]] = {}


def scene(*names: str) -> Callable[[Callable[[Stage], Answer]], Callable[[Stage], Answer]]:
    """Enter a scene under the names of the bodies that it leads to."""

    def enter(play: Callable[[Stage], Answer]) -> Callable[[Stage], Answer]:
        SCENES.update(dict.fromkeys(names, play))
        return play

    return enter


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
    """Look at the first maker that expired."""
    EXPIRE_MAKER(stage)
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=2)


@scene("query_order_stp_taker_expired")
def query_expired_taker(stage: Stage) -> Answer:
    """Look at a taker that expired."""
    self_trade("EXPIRE_TAKER", "kocvDAi4GNN2y1l1Ojg1Ri", 5, *BIDS, quantity="3")(stage)
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=5)


@scene("query_order_stp_decrement_maker")
def query_decremented_maker(stage: Stage) -> Answer:
    """Look at a maker that lost two of six and stays."""
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


def leg_ids(*names_and_ids: str) -> dict[str, str]:
    """Pair names of legs with client ids."""
    names, ids = names_and_ids[::2], names_and_ids[1::2]
    return {f"{name}ClientOrderId": each for name, each in zip(names, ids, strict=True)}


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
    """Look at an order of which a part was bought."""
    stage.symbol("BTC", "USDT")
    stage.next_ids("BTCUSDT", 12569099453)
    stage.limit("BTCUSDT", "SELL", "23416.1", "0.00847", newClientOrderId="4d96324ff9d44481926157")
    stage.rest("BTCUSDT", "BUY", "23416.1", "0.0072")
    return stage.signed("GET", OPEN_ORDERS, symbol="BTCUSDT")


@scene("order_list")
def query_list(stage: Stage) -> Answer:
    """Look at an order list."""
    protected_sale(stage, 4, 27, "h2USkA5YQpaXHPIrkd96xE", "qD1gy3kc3Gx0rihm9Y3xwS", "ARzZ9I00CPM8i3NhmU9Ega")
    return stage.signed("GET", LIST, orderListId=27)


@scene("open_order_list")
def open_lists(stage: Stage) -> Answer:
    """Look at the open order lists."""
    protected_sale(stage, 4, 31, "wuB13fmulKj3YjdqWEcsnp", "r3EH2N76dHfLoSZWIUw1bT", "Cv1SnyPD3qhqpbjpYEHbd2")
    return stage.signed("GET", "/api/v3/openOrderList")


@scene("all_order_list")
def all_lists(stage: Stage) -> Answer:
    """Look at two order lists; the example has them newest first, unlike the text."""
    protected_sale(stage, 2, 28, "hG7hFNxJV6cZy3Ze4AUT4d", "j6lFOfbmFMRjTYA7rRJ0LP", "z0KCjOdditiLS5ekAFtK81")
    protected_sale(stage, 4, 29, "amEEAXryFzFwYF1FeRpUoZ", "oD7aesZqjEGlZrbtRpy5zB", "Jr1h6xirOxgeJOUuYQS7V3")
    answer = stage.signed("GET", "/api/v3/allOrderList", fromId=28)
    answer.body.reverse()
    return answer


@scene("account")
def account(stage: Stage) -> Answer:
    """Look at an account that pays 0.15 %."""
    stage.exchange.set_commission(maker="0.0015", taker="0.0015")
    main = stage.engine.account("main")
    main.update_time = 123456789_000
    main.balances = {"BTC": Balance(Decimal("4723846.89208129")), "LTC": Balance(Decimal("4763368.68006011"))}
    return stage.signed("GET", "/api/v3/account")


@scene("my_trades")
def my_trades(stage: Stage) -> Answer:
    """Look at a purchase."""
    stage.symbol("BNB", "BTC", first_trade=28457)
    stage.rest("BNBBTC", "SELL", "4.000001", "12")
    stage.engine.account("main").taker_rate = Decimal("10.1") / 12
    stage.next_ids("BNBBTC", 100234)
    stage.limit("BNBBTC", "BUY", "4.000001", "12")
    return stage.signed("GET", "/api/v3/myTrades", symbol="BNBBTC")


@scene("rate_limit_order")
def unfilled_orders(stage: Stage) -> Answer:
    """Look at the unfilled order count."""
    return stage.signed("GET", "/api/v3/rateLimit/order")


@scene("ping")
def ping(stage: Stage) -> Answer:
    """Knock."""
    return stage.client.public("/api/v3/ping")


@scene("server_time")
def server_time(stage: Stage) -> Answer:
    """Ask for the time."""
    return stage.client.public("/api/v3/time")


@scene("depth")
def depth(stage: Stage) -> Answer:
    """Look at a book of two orders."""
    stage.symbol("LTC", "BTC")
    stage.rest("LTCBTC", "BUY", "4", "431")
    stage.rest("LTCBTC", "SELL", "4.000002", "12")
    return stage.client.public("/api/v3/depth", symbol="LTCBTC")


@scene("avg_price")
def average_price(stage: Stage) -> Answer:
    """Ask for the average price after a trade."""
    stage.symbol("LTC", "BTC")
    stage.rest("LTCBTC", "SELL", "9.35751834", "1")
    stage.limit("LTCBTC", "BUY", "9.35751834", "1")
    return stage.client.public("/api/v3/avgPrice", symbol="LTCBTC")


def tickers(path: str, **params: str) -> Callable[[Stage], Answer]:
    """Ask for the prices of two symbols, or of the first."""

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
    """Ask about a symbol that has neither trailing stops nor cancel-replace."""
    symbol = stage.symbol("ETH", "BTC")
    symbol.features = frozenset(FEATURES.values()) - {"trailing", "cancelReplace", "amend"}
    symbol.permissions = ("SPOT", "MARGIN")
    symbol.stp_modes = ("NONE",)
    stage.engine.filters = Filters([])
    return stage.client.public("/api/v3/exchangeInfo", symbol="ETHBTC")


# Refusals.


@scene("error_invalid_symbol")
def no_such_symbol(stage: Stage) -> Answer:
    """Ask about a symbol that is not listed."""
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
    """Name a restriction that does not exist."""
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
    """Ask for TRANSFER."""
    return stage.client.limit("BUY", "50000", selfTradePreventionMode="TRANSFER")


@scene("error_order_does_not_exist")
def no_such_order(stage: Stage) -> Answer:
    """Ask for an order that never was."""
    return stage.signed("GET", ORDER, symbol="BTCUSDT", orderId=1)


@scene("error_order_archived")
def archived_order(stage: Stage) -> Answer:
    """Ask for an order that was canceled more than 90 days ago."""
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
    """Ask for trades by order and by time."""
    return stage.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=1, startTime=1)


@scene("error_stop_limit_tif_missing")
def no_time_in_force(stage: Stage) -> Answer:
    """Name a stop limit without its time in force."""
    params = {"side": "SELL", "quantity": "1", "price": "63000", "stopPrice": "57000", "stopLimitPrice": "56900"}
    return stage.list("deprecated", "BTCUSDT", **params)


@scene("error_too_many_symbols")
def too_many_symbols(stage: Stage) -> Answer:
    """Name more than a hundred symbols."""
    return stage.client.public("/api/v3/ticker/price", symbols=json.dumps([f"A{number}" for number in range(101)]))


def documented(name: str) -> Any:  # noqa: ANN401 - a JSON document
    """Read a documented body."""
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def differences(told: Any, got: Any, different: set[str], where: str = "") -> list[str]:  # noqa: ANN401 - JSON documents
    """Return where an answer departs from a documented body."""
    name = re.sub(r"\[[0-9]+\]$", "", where).rpartition(".")[2]
    if isinstance(told, dict) and isinstance(got, dict):
        missing = set(told) - set(got) - different
        strange = set(got) - set(told) - NEWER
        found = [f"{where}: missing {missing}"] if missing else []
        found += [f"{where}: strange {strange}"] if strange else []
        shared = [key for key in told if key in got]
        return found + [
            line for key in shared for line in differences(told[key], got[key], different, f"{where}.{key}")
        ]
    if name in different:
        return [] if type(told) is type(got) else [f"{where}: {told!r} is not of the type of {got!r}"]
    if isinstance(told, list) and isinstance(got, list):
        if len(told) != len(got):
            return [f"{where}: {len(got)} items"]
        pairs = enumerate(zip(told, got, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, different, f"{where}[{index}]")]
    return [] if _agree(name, told, got) else [f"{where}: {told!r} became {got!r}"]


def _agree(name: str, told: object, got: object) -> bool:
    if type(told) is not type(got):
        return False
    if isinstance(told, str) and isinstance(got, str) and NUMBER.fullmatch(told):
        # Eight decimals everywhere; the documentation has six to eight.
        return EIGHT_DECIMALS.fullmatch(got) is not None and Decimal(told) == Decimal(got)
    if name in TIMES and told != -1:
        return isinstance(got, int) and len(str(got)) >= len(str(told)) and got != -1
    return told == got


def moments(body: Any, found: dict[str, int] | None = None, where: str = "") -> dict[str, int]:  # noqa: ANN401 - JSON
    """Return all times in a body."""
    found = {} if found is None else found
    if isinstance(body, dict):
        for name, value in body.items():
            if name in TIMES:
                found[f"{where}.{name}"] = value
            moments(value, found, f"{where}.{name}")
    elif isinstance(body, list):
        for index, value in enumerate(body):
            moments(value, found, f"{where}[{index}]")
    return found


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_documented_body_is_reproduced(stage: Stage, name: str) -> None:
    """The scenario of an example ends in the example: names, order of legs, types, formats and values."""
    got, told = SCENES[name](stage).body, documented(name)
    assert differences(told, got, DIFFERENT.get(name, set())) == []
    # What happened at one moment in the example did so here.
    times, here = moments(told), moments(got)
    for first in times:
        for second in times:
            if times[first] == times[second]:
                assert here[first] == here[second]


FILTERS = sorted(path.stem for path in FIXTURES.glob("filter_*.json") if path.stem not in CANNOT_ARISE)


@pytest.mark.parametrize("name", FILTERS)
def test_a_documented_filter_is_shown_as_it_is(stage: Stage, name: str) -> None:
    """A symbol, or the exchange, that has a documented filter shows it in exchangeInfo."""
    told = documented(name)
    symbol = stage.symbol("LTC", "BTC")
    symbol.filters = stage.engine.filters = Filters([told])
    body = stage.client.public("/api/v3/exchangeInfo", symbol="LTCBTC").body
    shown = body["exchangeFilters"] if told["filterType"].startswith("EXCHANGE_") else body["symbols"][0]["filters"]
    assert shown == [told]
    assert list(shown[0]) == list(told)


@pytest.mark.parametrize("name", ["request_weight", "orders", "raw_requests"])
def test_a_limiter_has_the_documented_members(stage: Stage, name: str) -> None:
    """Each kind of limiter is listed with the documented members."""
    told = documented(f"rate_limit_{name}")
    rows = stage.client.public("/api/v3/exchangeInfo").body["rateLimits"]
    assert list(next(row for row in rows if row["rateLimitType"] == told["rateLimitType"])) == list(told)


def test_no_documented_body_is_forgotten() -> None:
    """Every fixture has a scene, is a filter, or has a reason why it cannot arise."""
    names = {path.stem for path in FIXTURES.glob("*.json")}
    assert names == set(SCENES) | set(CANNOT_ARISE) | set(FILTERS)
    assert not set(SCENES) & set(CANNOT_ARISE)
