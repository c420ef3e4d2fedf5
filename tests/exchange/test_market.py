"""The market: what the public sees of it, how it moves, and what happens when it is halted."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import OPEN_ORDERS, ORDER, now

from nbext.exchange import LocalExchange, Refusal
from nbext.exchange.engine.market_maker import Path

if TYPE_CHECKING:
    from support.exchange_client import Client

SYMBOL = "BTCUSDT"
INFO = "/api/v3/exchangeInfo"


def walk(seed: int, *waits: float) -> list[Decimal]:
    """Return the prices that a path passes, one after each wait."""
    exchange = LocalExchange(seed=seed)
    exchange.start_market(SYMBOL, every=0.5, swing=0.01)
    prices = []
    for wait in waits:
        exchange.advance(wait)
        prices.append(exchange.last_price(SYMBOL))
    return prices


def test_a_path_is_fixed_by_the_seed() -> None:
    """The same seed takes the same steps, however the time is cut; another one takes others."""
    path = walk(3, *[0.5] * 20)
    assert len(set(path)) > 15
    assert walk(3, *[0.5] * 20) == path
    assert walk(3, 5, 5) == [path[9], path[19]]
    assert walk(4, *[0.5] * 20) != path


def test_a_path_does_not_run_away() -> None:
    """After ten thousand large steps the price is still of the same order."""
    symbol = LocalExchange()._engine.symbol(SYMBOL)
    path = Path(symbol, Decimal(60000), Decimal("0.02"), every=1, due=1, chance=random.Random(1))  # noqa: S311 - prices
    prices = [Decimal(60000)]
    for _ in range(10_000):
        prices.append(path.next_price(prices[-1]))
    assert 15_000 < min(prices) < 45_000
    assert 75_000 < max(prices) < 240_000


def test_paths_of_several_symbols_run_side_by_side() -> None:
    """Each symbol goes its own way, at its own pace, whether or not another one moves."""
    exchange = LocalExchange(seed=3)
    exchange.start_market(SYMBOL, every=0.5, swing=0.01)
    exchange.start_market("ETHUSDT", every=2, swing=0.01)
    exchange.advance(10)
    assert exchange.last_price(SYMBOL) == walk(3, 10)[0]
    trades = exchange._engine.markets["ETHUSDT"].trades
    assert len({trade.time for trade in list(trades)[1:]}) == 5


def test_a_moving_market_trades_with_what_is_in_its_way() -> None:
    """Along a path limit orders fill, stops trigger, and one leg of an OCO ends the other."""
    exchange = LocalExchange(seed=1)
    last = exchange.last_price(SYMBOL)
    gtc = {"timeInForce": "GTC"}
    near = {"below": str((last * Decimal("0.99")).quantize(Decimal(1)))}
    near["above"] = str((last * Decimal("1.01")).quantize(Decimal(1)))
    bid = exchange.place(SYMBOL, "BUY", "LIMIT", quantity="0.1", price=near["below"], **gtc)
    stop = exchange.place(SYMBOL, "BUY", "STOP_LOSS", quantity="0.1", stopPrice=near["above"])
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": near["above"]}
    legs |= {"belowType": "STOP_LOSS", "belowStopPrice": near["below"]}
    pair = exchange.place_list("oco", SYMBOL, side="SELL", quantity="0.1", **legs)
    exchange.start_market(SYMBOL, every=1, swing=0.005)
    for _ in range(600):
        exchange.advance(1)
        if not exchange.open_orders(SYMBOL):
            break
    ends = [exchange.history(order["orderId"], SYMBOL)[-1]["status"] for order in (bid, stop, *pair["orderReports"])]
    assert ends[:2] == ["FILLED", "FILLED"]
    assert sorted(map(str, ends[2:])) == ["EXPIRED", "FILLED"]


def test_a_stopped_path_rests(exchange: LocalExchange) -> None:
    """After stop_market time passes and the price stays."""
    exchange.start_market(SYMBOL)
    exchange.advance(5)
    exchange.stop_market(SYMBOL)
    price = exchange.last_price(SYMBOL)
    exchange.advance(5)
    assert exchange.last_price(SYMBOL) == price


def test_advance_moves_the_clock(client: Client, exchange: LocalExchange) -> None:
    """The server's time, and that of what happens from then on, is ahead; a stale timestamp is refused."""
    exchange.advance(3600)
    ahead = client.public("/api/v3/time").body["serverTime"] - now()
    assert 3_590_000 < ahead <= 3_600_000
    assert client.signed("GET", OPEN_ORDERS).refusal[0] == -1021
    placed = exchange.place(SYMBOL, "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    assert placed["transactTime"] - now() > 3_590_000
    with pytest.raises(ValueError, match="seconds must not be negative"):
        exchange.advance(-1)


def test_old_orders_are_archived_unless_they_traded(client: Client, exchange: LocalExchange) -> None:
    """After 90 days queries no longer find what ended without a fill; open and traded orders stay."""
    resting = client.limit("BUY", "50000").body["orderId"]
    traded = client.limit("BUY", "70000").body["orderId"]
    ended = client.limit("BUY", "50000", timeInForce="IOC").body["orderId"]
    for days, known in ((89, [resting, traded, ended]), (2, [resting, traded])):
        exchange.advance(days * 86_400)
        clock = {"timestamp": client.public("/api/v3/time").body["serverTime"]}
        rows = client.signed("GET", "/api/v3/allOrders", headers=None, symbol=SYMBOL, **clock).body
        assert [row["orderId"] for row in rows] == known
        for order_id in (resting, traded, ended):
            answer = client.signed("GET", ORDER, headers=None, symbol=SYMBOL, orderId=order_id, **clock)
            assert answer.status == 200 if order_id in known else answer.refusal[0] == -2026


def test_reset_stops_the_paths_and_sets_the_clock_right(exchange: LocalExchange) -> None:
    """A reset exchange is at its seeded price, in the present, and stays there."""
    price = exchange.last_price(SYMBOL)
    exchange.start_market(SYMBOL, every=1)
    exchange.advance(60)
    exchange.reset()
    exchange.advance(60)
    assert exchange.last_price(SYMBOL) == price


@pytest.mark.parametrize("params", [{"every": 0}, {"swing": 0}, {"swing": 2}])
def test_impossible_paths(exchange: LocalExchange, params: dict[str, Any]) -> None:
    """A path needs a pace and a swing."""
    with pytest.raises(ValueError, match="every must be"):
        exchange.start_market(SYMBOL, **params)


# Halted.


@pytest.mark.parametrize("status", ["HALT", "BREAK", "CANCEL_ONLY", "END_OF_DAY"])
def test_a_halted_symbol_takes_cancels_only(client: Client, exchange: LocalExchange, status: str) -> None:
    """Placements of every kind are refused, and every way to cancel works."""
    exchange.seed_orders()
    exchange.set_status(SYMBOL, status)
    closed = (-1013, "Market is closed.")
    first, *_, last = client.signed("GET", OPEN_ORDERS, symbol=SYMBOL).body
    assert client.limit("BUY", "50000").refusal == closed
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": "70000", "belowType": "STOP_LOSS", "belowStopPrice": "50000"}
    pair = {"symbol": SYMBOL, "side": "SELL", "quantity": "1", **legs}
    assert client.signed("POST", "/api/v3/orderList/oco", headers=None, **pair).refusal == closed
    assert client.signed("DELETE", ORDER, symbol=SYMBOL, orderId=first["orderId"]).status == 200
    assert client.signed("DELETE", "/api/v3/orderList", symbol=SYMBOL, orderListId=last["orderListId"]).status == 200
    assert len(client.cancel_all().body) > 3
    with pytest.raises(ValueError, match=f"{SYMBOL} is {status}"):
        exchange.set_price(SYMBOL, 61000)
    exchange.set_status(SYMBOL, "TRADING")
    assert client.limit("BUY", "50000").status == 200


def test_a_halted_symbol_misses_its_steps() -> None:
    """The path of a halted symbol goes on without it."""
    exchange = LocalExchange()
    exchange.start_market(SYMBOL)
    exchange.set_status(SYMBOL, "HALT")
    price = exchange.last_price(SYMBOL)
    exchange.advance(5)
    assert exchange.last_price(SYMBOL) == price
    with pytest.raises(ValueError, match="status must be one of"):
        exchange.set_status(SYMBOL, "CLOSED")


@pytest.mark.parametrize("path", ["depth", "ticker/price", "ticker/bookTicker", "ticker/24hr"])
def test_symbol_status_selects(client: Client, exchange: LocalExchange, path: str) -> None:
    """One symbol of another status is refused; in lists such are left out."""
    exchange.set_status(SYMBOL, "HALT")
    path = f"/api/v3/{path}"
    mismatch = (-1220, "The symbol's status does not match the requested symbolStatus.")
    assert client.public(path, symbol=SYMBOL, symbolStatus="TRADING").refusal == mismatch
    assert client.public(path, symbol=SYMBOL, symbolStatus="HALT").status == 200
    assert client.public(path, symbol=SYMBOL, symbolStatus="CANCEL_ONLY").refusal == (-1122, "Invalid symbolStatus.")
    if path != "/api/v3/depth":
        assert [row["symbol"] for row in client.public(path, symbolStatus="HALT").body] == [SYMBOL]
        assert client.public(path, symbols='["ETHUSDT"]', symbolStatus="HALT").body == []


# What the public sees.


def test_exchange_info_selects(client: Client, exchange: LocalExchange) -> None:
    """Symbols can be chosen by name, names, status or permission, and the permission sets left out."""

    def names(**params: str) -> Any:
        return [row["symbol"] for row in client.public(INFO, **params).body["symbols"]]

    exchange.set_status("ETHUSDT", "BREAK")
    assert names(symbol=SYMBOL) == [SYMBOL]
    assert names(symbols='["ETHUSDT","BTCUSDT"]') == ["ETHUSDT", "BTCUSDT"]
    assert names(symbolStatus="BREAK") == ["ETHUSDT"]
    assert len(names()) == len(names(permissions="SPOT")) == len(names(permissions='["MARGIN","SPOT"]')) == 7
    assert names(permissions="LEVERAGED") == []
    assert "permissionSets" not in client.public(INFO, symbol=SYMBOL, showPermissionSets="false").body["symbols"][0]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({"symbol": "NOSUCH"}, -1121),
        ({"symbols": '["BTCUSDT","NOSUCH"]'}, -1121),
        ({"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ({"symbols": "BTCUSDT"}, -1135),
        ({"symbol": SYMBOL, "symbols": '["BTCUSDT"]'}, -1128),
        ({"symbol": SYMBOL, "permissions": "SPOT"}, -1128),
        ({"symbols": '["BTCUSDT"]', "permissions": "SPOT"}, -1128),
        ({"symbol": SYMBOL, "symbolStatus": "TRADING"}, -1128),
        ({"permissions": "[SPOT"}, -1135),
        ({"permissions": "EVERYTHING"}, -1130),
        ({"showPermissionSets": "yes"}, -1130),
    ],
)
def test_exchange_info_refuses(client: Client, params: dict[str, str], code: int) -> None:
    """Parameters that exclude each other, or mean nothing, are refused."""
    assert client.public(INFO, **params).refusal[0] == code


def test_trades_and_averages(client: Client, exchange: LocalExchange) -> None:
    """Trades are public, newest last; the average weighs the last five minutes by quantity."""
    exchange.advance(600)
    exchange.set_price(SYMBOL, 60000)
    exchange.advance(400)
    engine = exchange._engine
    engine.markets[SYMBOL].trades.clear()
    for price, quantity in (("60100", "1"), ("60200", "3")):
        gtc = {"timeInForce": "GTC", "price": price, "quantity": quantity}
        exchange.place(SYMBOL, "SELL", "LIMIT", account="market", **gtc)
        exchange.place(SYMBOL, "BUY", "MARKET", quantity=quantity)
    rows = client.public("/api/v3/trades", symbol=SYMBOL).body
    assert list(rows[0]) == ["id", "price", "qty", "quoteQty", "time", "isBuyerMaker", "isBestMatch"]
    assert client.public("/api/v3/trades", symbol=SYMBOL, limit=1).body == rows[-1:]
    assert [row["id"] for row in rows] == sorted(row["id"] for row in rows)
    money, volume = (sum((Decimal(row[name]) for row in rows), Decimal(0)) for name in ("quoteQty", "qty"))
    average = client.public("/api/v3/avgPrice", symbol=SYMBOL).body
    assert Decimal(average["price"]) == (money / volume).quantize(Decimal("0.00000001"))
    assert average["closeTime"] == rows[-1]["time"]
    exchange.advance(301)
    # Without a trade in the window it is the price of the latest one.
    assert client.public("/api/v3/avgPrice", symbol=SYMBOL).body["price"] == rows[-1]["price"]


@pytest.mark.parametrize(("side", "is_buyer_maker"), [("BUY", False), ("SELL", True)])
def test_trades_say_who_was_there_first(
    client: Client, exchange: LocalExchange, side: str, *, is_buyer_maker: bool
) -> None:
    """A market order to buy meets a seller who is the maker, and the other way round."""
    exchange.place(SYMBOL, side, "MARKET", quantity="0.1")
    (trade,) = client.public("/api/v3/trades", symbol=SYMBOL, limit=1).body
    assert trade["isBuyerMaker"] is is_buyer_maker


def test_the_day_in_one_row(client: Client, exchange: LocalExchange) -> None:
    """The 24 hour ticker sums up the trades of a day, in full or without the prices of the book."""
    exchange.set_price(SYMBOL, 60000)
    exchange.advance(86_400)
    for price in (61000, 58000, 60500):
        exchange.set_price(SYMBOL, price)
    row = client.public("/api/v3/ticker/24hr", symbol=SYMBOL).body
    prices = ["openPrice", "highPrice", "lowPrice"]
    sums = ["volume", "quoteVolume", "openTime", "closeTime", "firstId", "lastId", "count"]
    changes = ["priceChange", "priceChangePercent", "weightedAvgPrice", "prevClosePrice", "lastPrice", "lastQty"]
    assert list(row) == ["symbol", *changes, "bidPrice", "bidQty", "askPrice", "askQty", *prices, *sums]
    assert {name for name, value in row.items() if isinstance(value, int)} == set(sums[2:])
    wanted = {"openPrice": 61000, "highPrice": 61000, "lowPrice": 58000, "lastPrice": 60500, "prevClosePrice": 60000}
    assert {name: Decimal(row[name]) for name in wanted} == wanted
    assert (row["priceChange"], row["priceChangePercent"]) == ("-500.00000000", "-0.820")
    assert (row["count"], row["lastId"] - row["firstId"]) == (3, 2)
    assert row["closeTime"] - row["openTime"] == 86_400_000
    mini = client.public("/api/v3/ticker/24hr", symbol=SYMBOL, type="MINI").body
    assert {name: mini[name] for name in mini if not name.endswith("Time")}.items() <= row.items()
    assert list(mini) == ["symbol", *prices, "lastPrice", *sums]
    assert len(client.public("/api/v3/ticker/24hr").body) == 7
    assert client.public("/api/v3/ticker/24hr", type="TINY").refusal[0] == -1139


def test_the_weight_of_day_tickers(client: Client) -> None:
    """One symbol weighs 2, all of them 80."""
    before = int(client.public("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"])
    after = int(client.public("/api/v3/ticker/24hr").headers["X-MBX-USED-WEIGHT-1M"])
    assert after in {before + 80, 80}  # 80 if a minute of the clock has just begun


# Commissions.


def test_commission_is_taken_off_what_is_received(client: Client, exchange: LocalExchange) -> None:
    """Maker and taker pay their share of the asset received; the account says so in basis points."""
    exchange.set_commission(maker="0.001", taker="0.002", buyer="0.0005")
    account = client.signed("GET", "/api/v3/account").body
    assert (account["makerCommission"], account["takerCommission"], account["buyerCommission"]) == (10, 20, 5)
    assert account["commissionRates"]["taker"] == "0.00200000"
    btc = exchange._engine.account("main").balances["BTC"]
    before = btc.free
    bought = exchange.place(SYMBOL, "BUY", "MARKET", quantity="1")
    for fill in bought["fills"]:
        assert Decimal(fill["commission"]) == Decimal(fill["qty"]) * Decimal("0.0025")
        assert fill["commissionAsset"] == "BTC"
    assert btc.free - before == Decimal("0.9975")
    sold = exchange.place(SYMBOL, "SELL", "MARKET", quantity="0.1")
    fill = sold["fills"][0]
    assert Decimal(fill["commission"]) == Decimal(fill["price"]) * Decimal(fill["qty"]) * Decimal("0.002")
    assert fill["commissionAsset"] == "USDT"


def test_commission_in_bnb(exchange: LocalExchange) -> None:
    """With the discount on, BNB pays as long as there is enough of it."""
    exchange.set_price("BNBUSDT", 600)
    exchange.set_price(SYMBOL, 60000)
    exchange.set_commission(taker="0.001", bnb_discount="0.25")
    sold = exchange.place(SYMBOL, "SELL", "MARKET", quantity="0.1")["fills"][0]
    money = Decimal(sold["price"]) * Decimal(sold["qty"])
    assert sold["commissionAsset"] == "BNB"
    assert Decimal(sold["commission"]) == (money * Decimal("0.00075") / 600).quantize(Decimal("0.00000001"))
    exchange._engine.account("main").balances["BNB"].free = Decimal(0)
    assert exchange.place(SYMBOL, "SELL", "MARKET", quantity="0.1")["fills"][0]["commissionAsset"] == "USDT"


def test_there_is_no_commission_unless_set(exchange: LocalExchange) -> None:
    """An exchange that was just opened, or reset, charges nothing; rates that make no sense are refused."""
    exchange.set_commission(taker="0.001")
    exchange.reset()
    assert exchange.place(SYMBOL, "BUY", "MARKET", quantity="0.1")["fills"][0]["commission"] == "0.00000000"
    for maker, taker, discount in ((-1, 0, 0), (0, 1, 0), (0, 0, 2)):
        with pytest.raises(ValueError, match="rates must be between"):
            exchange.set_commission(maker=maker, taker=taker, bnb_discount=discount)


# Accounts.


def test_accounts_trade_with_each_other(exchange: LocalExchange) -> None:
    """Two accounts have each their own orders and funds, and one key of each."""
    exchange.add_key(account="other")
    exchange.set_price(SYMBOL, 60000)
    params = {"timeInForce": "GTC", "quantity": "1", "price": "60000"}
    exchange.place(SYMBOL, "BUY", "LIMIT", **params)
    exchange.place(SYMBOL, "SELL", "LIMIT", account="other", **params)
    main, other = (exchange._engine.account(name) for name in ("main", "other"))
    assert main.balances["BTC"].free - other.balances["BTC"].free == 2
    assert other.balances["USDT"].free - main.balances["USDT"].free == 120_000
    with pytest.raises(Refusal, match="Unknown order"):
        exchange._engine.cancel_all(other, exchange._engine.symbol(SYMBOL))
