"""Candles, aggregated trades and windows: what clients ask for when they start."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from nbext.exchange import LocalExchange
from nbext.exchange.engine.candles import INTERVALS, Candle, Candles, Interval

if TYPE_CHECKING:
    from support.exchange_client import Client

SYMBOL = "BTCUSDT"
KLINES = "/api/v3/klines"
HOUR = 3_600_000


def klines(client: Client, interval: str, **params: object) -> list[list[Any]]:
    """Return candles of BTCUSDT with their numbers as Decimals."""
    rows = client.public(KLINES, symbol=SYMBOL, interval=interval, **params).body
    return [[Decimal(each) if isinstance(each, str) else each for each in row] for row in rows]


def test_a_candle_has_the_documented_form(client: Client) -> None:
    """Twelve members: amounts as text with eight decimals, times and the count as numbers."""
    (row,) = client.public(KLINES, symbol=SYMBOL, interval="1h", limit=1).body
    assert [type(each) for each in row] == [int, *[str] * 5, int, str, int, str, str, str]
    assert all(len(text.partition(".")[2]) == 8 for text in row[1:6])
    assert row[0] % HOUR == 0
    assert row[6] == row[0] + HOUR - 1


@pytest.mark.parametrize("interval", INTERVALS)
def test_there_is_a_history_before_the_first_trade(client: Client, exchange: LocalExchange, interval: str) -> None:
    """A thousand candles of each interval, one after the other, each within its high and low, up to the last price.

    Of months there are fewer, since no time is negative.
    """
    rows = klines(client, interval, limit=1000)
    assert len(rows) == 1000 or (interval == "1M" and rows[0][0] == 0)
    for row, following in pairwise(rows):
        assert row[6] + 1 == following[0]
        assert row[3] <= min(row[1], row[4]) <= max(row[1], row[4]) <= row[2]
        assert row[4] == following[1], "no jump"
        assert row[9] <= row[5]
    assert rows[-1][4] == exchange.last_price(SYMBOL)
    assert {price % Decimal("0.01") for row in rows for price in row[1:5]} == {0}


def test_the_history_follows_the_seed() -> None:
    """With the same seed, a market that begins at the same moment has the same past; with another one, another."""
    begin, day = 1_700_000_000_123_456, 86_400_000_000
    tick, volume = Decimal("0.01"), Decimal(100)

    def past(seed: str) -> list[Candle]:
        candles = Candles(seed, tick, volume)
        candles.add(begin, Decimal(60_000), Decimal(1), taker_buys=True)
        return candles.rows(Interval(day), None, None, 100, begin)

    assert past("1") == past("1")
    assert past("1") != past("2")


def test_long_candles_are_made_of_short_ones(client: Client, exchange: LocalExchange) -> None:
    """An hour is what its minutes are, and a minute what its seconds are, invented or traded."""
    exchange.start_market(SYMBOL, every=1, swing=0.001)
    exchange.advance(2 * 3600)
    for long, short, ago in (
        ("1h", "1m", 1),
        ("1h", "1m", 2),
        ("1h", "5m", 3),
        ("1m", "1s", 1),
        ("1d", "1h", 1),
        ("1d", "1h", 5),
    ):
        row = klines(client, long, limit=ago + 1)[0]
        parts = klines(client, short, startTime=row[0], endTime=row[6], limit=1000)
        assert (parts[0][1], parts[-1][4]) == (row[1], row[4])
        assert (max(part[2] for part in parts), min(part[3] for part in parts)) == (row[2], row[3])
        for member in (5, 7, 9, 10):
            assert abs(sum(part[member] for part in parts) - row[member]) <= Decimal("0.01"), (long, short, member)
        assert sum(part[8] for part in parts) == row[8]


def test_trades_are_in_the_candles(client: Client, exchange: LocalExchange) -> None:
    """First, highest, lowest and last price, volume and count of what traded; a quiet minute repeats the last price."""
    exchange.advance(60 - time.time() % 60 + 60)  # into a minute in which nothing has traded
    for price in (60_000, 61_000, 59_000, 60_500):
        exchange.set_price(SYMBOL, price)
    trades = client.public("/api/v3/trades", symbol=SYMBOL, limit=1000).body
    exchange.advance(120)
    *_, traded, quiet, _now = klines(client, "1m", limit=4)
    inside = [trade for trade in trades if traded[0] <= trade["time"] <= traded[6]]
    assert traded[1:5] == [60_000, 61_000, 59_000, 60_500]
    assert traded[5] == sum(Decimal(trade["qty"]) for trade in inside)
    assert traded[7] == sum(Decimal(trade["quoteQty"]) for trade in inside)
    assert traded[8] == len(inside)
    assert traded[9] == sum(Decimal(trade["qty"]) for trade in inside if not trade["isBuyerMaker"])
    assert quiet[1:6] == [60_500, 60_500, 60_500, 60_500, 0]
    assert quiet[8] == 0


def test_spans_and_limits(client: Client) -> None:
    """From a start on, up to an end, or both; 500 unless told otherwise, 1,000 at most."""
    rows = klines(client, "1h", limit=100)
    assert len(klines(client, "1h")) == 500
    assert klines(client, "1h", startTime=rows[10][0], limit=5) == rows[10:15]
    assert klines(client, "1h", startTime=rows[10][0] + 1, limit=5) == rows[11:16]
    assert klines(client, "1h", endTime=rows[20][0], limit=5) == rows[16:21]
    assert klines(client, "1h", startTime=rows[10][0], endTime=rows[12][6]) == rows[10:13]
    assert klines(client, "1h", startTime=rows[-1][0] + HOUR) == []
    assert client.public(KLINES, symbol=SYMBOL, interval="1h", limit=1001).refusal[0] == -1102
    assert client.public(KLINES, symbol=SYMBOL, interval="7m").refusal == (-1120, "Invalid interval.")


def test_time_zones_move_where_intervals_begin(client: Client) -> None:
    """A day begins at midnight there, a week on Monday, and a month on its first day."""
    (row,) = klines(client, "1d", timeZone="5:30", limit=1)
    assert row[0] % (24 * HOUR) == 24 * HOUR - 5.5 * HOUR
    (week,) = klines(client, "1w", limit=1)
    assert datetime.fromtimestamp(week[0] / 1000, UTC).strftime("%a %H:%M") == "Mon 00:00"
    (month,) = klines(client, "1M", timeZone="-3", limit=1)
    assert datetime.fromtimestamp(month[0] / 1000, UTC).strftime("%d %H:%M") == "01 03:00"
    for zone in ("15", "-12:30", "5:60", "x", ""):
        assert client.public(KLINES, symbol=SYMBOL, interval="1d", timeZone=zone).refusal[0] in {-1105, -1130}


@pytest.mark.parametrize("zone", ["0", "-12:00", "14"])
@pytest.mark.parametrize("interval", ["3d", "1w", "1M"])
def test_no_candle_is_before_1970(client: Client, interval: str, zone: str) -> None:
    """The oldest candle begins in or after the first of the times, which are never negative."""
    for times in ({}, {"startTime": 0}, {"endTime": 40 * 24 * HOUR}):
        rows = klines(client, interval, timeZone=zone, limit=1000, **times)
        assert all(row[0] >= 0 for row in rows)
        assert rows


def test_memory_is_bounded() -> None:
    """However long trading goes on, so many candles are kept; what has been dropped is not made up."""
    exchange = LocalExchange()
    candles = exchange._engine.markets[SYMBOL].candles
    assert candles._first
    begin = candles._first[0]
    for second in range(5_000):
        candles.add(begin + second * 1_000_000, Decimal(60_000 + second), Decimal(1), taker_buys=True)
    assert len(candles._seconds.kept) == 3_600
    exchange.advance(5_000)
    with exchange:
        from support.exchange_client import Client

        with Client(exchange.url) as client:
            rows = klines(client, "1s", limit=1000, startTime=begin // 1000)
            assert rows[0][1] >= 60_000 + 5_000 - 3_602
            assert len(klines(client, "1m", limit=1000)) == 1000


def test_candles_cost_a_trade_little() -> None:
    """At most 2 us each, in the best of some runs, whether a second has many trades or one."""
    best = []
    for apart in (1_000, 1_000_000):
        runs = []
        for _ in range(7):
            candles = LocalExchange()._engine.markets[SYMBOL].candles
            assert candles._first
            at, price, quantity = candles._first[0], Decimal("60000.01"), Decimal("0.1")
            began = time.perf_counter()
            for number in range(2_000):
                candles.add(at + number * apart, price, quantity, taker_buys=True)
            runs.append((time.perf_counter() - began) / 2_000)
        best.append(min(runs))
    assert max(best) < 10e-6, best  # the bar is 2 us on a quiet machine; this finds a cost that grows


def test_trades_of_one_order_at_one_price_are_one(client: Client, exchange: LocalExchange) -> None:
    """Aggregated trades add up to the trades, one for each price that an order took."""
    exchange.place(SYMBOL, "BUY", "MARKET", quantity="30")
    trades = client.public("/api/v3/trades", symbol=SYMBOL, limit=1000).body
    together = client.public("/api/v3/aggTrades", symbol=SYMBOL, limit=1000).body
    assert [row["a"] for row in together] == list(range(len(together)))
    assert sum(Decimal(row["q"]) for row in together) == sum(Decimal(trade["qty"]) for trade in trades)
    assert [row["f"] for row in together[1:]] == [row["l"] + 1 for row in together[:-1]]
    last = together[-1]
    assert (last["p"], last["m"], last["M"]) == (trades[-1]["price"], trades[-1]["isBuyerMaker"], True)
    assert client.public("/api/v3/aggTrades", symbol=SYMBOL, fromId=last["a"]).body == [last]
    assert client.public("/api/v3/aggTrades", symbol=SYMBOL, startTime=last["T"], endTime=last["T"]).body[-1] == last
    assert client.public("/api/v3/aggTrades", symbol=SYMBOL, fromId=1, startTime=1).refusal[0] == -1128


def test_older_trades_can_be_asked_for_by_id(client: Client) -> None:
    """From an id on, or the latest."""
    trades = client.public("/api/v3/trades", symbol=SYMBOL).body
    older = client.public("/api/v3/historicalTrades", symbol=SYMBOL, fromId=trades[0]["id"], limit=1).body
    assert older == trades[:1]
    assert client.public("/api/v3/historicalTrades", symbol=SYMBOL, limit=1).body == trades[-1:]


def test_windows(client: Client, exchange: LocalExchange) -> None:
    """A rolling window and a trading day count what traded in them; symbols are one or several, never all."""
    exchange.advance(3 * 3600)
    for price in (60_000, 66_000):
        exchange.set_price(SYMBOL, price)
    row = client.public("/api/v3/ticker", symbol=SYMBOL, windowSize="2h").body
    assert (row["openPrice"], row["lastPrice"]) == ("60000.00000000", "66000.00000000")
    assert (row["priceChange"], row["priceChangePercent"]) == ("6000.00000000", "10.000")
    assert row["count"] == row["lastId"] - row["firstId"] + 1
    # "openTime always starts on a minute, while the closeTime is the current time of the request".
    assert row["openTime"] == row["closeTime"] - row["closeTime"] % 60_000 - 2 * HOUR
    several = client.public("/api/v3/ticker", symbols=f'["{SYMBOL}","ETHUSDT"]', type="MINI").body
    assert [each["symbol"] for each in several] == [SYMBOL, "ETHUSDT"]
    assert "priceChange" not in several[0]
    day = client.public("/api/v3/ticker/tradingDay", symbol=SYMBOL, timeZone="0").body
    assert day["openTime"] % (24 * HOUR) == 0
    assert day["closeTime"] == day["openTime"] + 24 * HOUR - 1
    for path in ("ticker", "ticker/tradingDay", "ticker/24hr"):
        refusal = client.public(f"/api/v3/{path}", symbol=SYMBOL, type="TINY").refusal
        assert refusal == (-1139, "Invalid ticker type.")
    for wrong in ("60m", "24h", "8d", "0m", "1w"):
        assert client.public("/api/v3/ticker", symbol=SYMBOL, windowSize=wrong).refusal[0] == -1130
    assert client.public("/api/v3/ticker").refusal[0] == -1102


def test_what_an_account_may_ask_about_itself(client: Client, exchange: LocalExchange) -> None:
    """Its commission, the filters that count its orders, and the self-trades that were prevented."""
    exchange.set_commission(maker="0.001", taker="0.002", bnb_discount="0.25")
    shown = client.signed("GET", "/api/v3/account/commission", symbol=SYMBOL).body
    assert shown["standardCommission"] == {
        "maker": "0.00100000",
        "taker": "0.00200000",
        "buyer": "0.00000000",
        "seller": "0.00000000",
    }
    assert shown["discount"]["discount"] == "0.75000000", "what the commission is multiplied by"
    filters = client.signed("GET", "/api/v3/myFilters", symbol=SYMBOL).body
    assert client.public("/api/v3/exchangeInfo").body["exchangeFilters"] == []
    assert "EXCHANGE_MAX_NUM_ORDERS" in {each["filterType"] for each in filters["exchangeFilters"]}
    assert "MAX_NUM_ORDERS" in {each["filterType"] for each in filters["symbolFilters"]}
    assert filters["assetFilters"] == []

    exchange.set_price(SYMBOL, 60_000)
    maker = client.limit("BUY", "59999.99").body
    taker = client.limit("SELL", "59999.99", selfTradePreventionMode="EXPIRE_TAKER").body
    asked = {"symbol": SYMBOL, "orderId": taker["orderId"]}
    (match,) = client.signed("GET", "/api/v3/myPreventedMatches", **asked).body
    assert (match["takerOrderId"], match["makerOrderId"]) == (taker["orderId"], maker["orderId"])
    assert (match["takerPreventedQuantity"], "makerPreventedQuantity" in match) == ("0.10000000", False)
    by_id = {"symbol": SYMBOL, "preventedMatchId": match["preventedMatchId"]}
    assert client.signed("GET", "/api/v3/myPreventedMatches", **by_id).body == [match]
    page = asked | {"fromPreventedMatchId": match["preventedMatchId"]}
    assert client.signed("GET", "/api/v3/myPreventedMatches", **page).body == [match]
    assert client.signed("GET", "/api/v3/myPreventedMatches", **page, limit=1).body == [match]
    for wrong in ({"symbol": SYMBOL}, asked | {"limit": 1}, by_id | {"limit": 1}, asked | by_id):
        assert client.signed("GET", "/api/v3/myPreventedMatches", **wrong).refusal[0] == -1128
