"""Scenes of documented bodies: candles, trades and windows, and what an account may ask about itself."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from nbext.exchange.engine.candles import Candle
from nbext.exchange.engine.filters import Filters
from nbext.exchange.engine.matching import Trade
from support.stage import SCENES, Stage, scene

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.exchange_client import Answer

MONDAY = 1_499_040_000_000
AGGREGATE = 26129


@scene("historical_trades")
def older_trades(stage: Stage) -> Answer:
    """Ask for a trade by its id."""
    stage.symbol("BNB", "BTC", first_trade=28457)
    stage.rest("BNBBTC", "BUY", "4.000001", "12")
    stage.limit("BNBBTC", "SELL", "4.000001", "12")
    return stage.client.public("/api/v3/historicalTrades", symbol="BNBBTC", fromId=28457)


@scene("agg_trades")
def aggregate_trades(stage: Stage) -> Answer:
    """Ask for one aggregate trade by its id."""
    symbol = stage.symbol("BNB", "BTC")
    at, quantity = stage.engine.now(), Decimal("4.70443515")
    trade = Trade(27781, at, Decimal("0.01633102"), quantity, is_buyer_maker=True, aggregate_id=AGGREGATE)
    stage.engine.markets[symbol.name].trades.append(trade)
    return stage.client.public("/api/v3/aggTrades", symbol=symbol.name, fromId=AGGREGATE)


def candles(path: str) -> Callable[[Stage], Answer]:
    """Ask for the candle of a week in which so much was traded."""

    def play(stage: Stage) -> Answer:
        symbol = stage.symbol("LTC", "BTC")
        kept = stage.engine.markets[symbol.name].candles
        first, high, low, last = map(Decimal, ("0.0163479", "0.8", "0.015758", "0.015771"))
        volume, money = Decimal("148976.11427815"), Decimal("2434.19055334")
        bought, spent = Decimal("1756.87402397"), Decimal("28.46694368")
        kept._first = MONDAY * 1000, first
        kept._levels[0].begin(Candle(MONDAY * 1000, first, high, low, last, volume, money, 308, bought, spent))
        return stage.client.public(f"/api/v3/{path}", symbol=symbol.name, interval="1w", startTime=MONDAY, limit=1)

    return play


SCENES["klines"] = candles("klines")
SCENES["ui_klines"] = candles("uiKlines")

# Prices and quantities of what was traded in a window, and the id of the first trade. Where an example has more trades
# than are kept, only its prices and its ids can be had.
TRADED = {
    ("window_full", "BNBBTC"): (0, [("9", "37.5"), *[("1", "2.5")] * 59, ("1", "2")]),
    ("window_mini", "LTCBTC"): (0, [*[("0.1", "1")] * 34, ("2", "5")]),
    ("window_mini_again", "BNBBTC"): (0, [*[("0.1", "1")] * 34, ("2", "5")]),
    ("window_mini_again", "LTCBTC"): (0, [("0.07", "1")] * 33),
    ("window_full_again", "BTCUSDT"): (11147809, [(price, "1") for price in ("20825.27", "20972.46", "20327.92")]),
    ("window_full_again", "BNBBTC"): (2351674, [(price, "1") for price in ("0.0103617", "0.0104985", "0.0103387")]),
    ("day", "BTCUSDT"): (3220151555, [(price, "1") for price in ("26304.8", "26397.46", "26088.34")]),
    ("day", "BNBUSDT"): (672397461, [(price, "1") for price in ("210", "213.7", "209.7")]),
}
LAST = {
    ("window_full_again", "BTCUSDT"): (11149775, "20671.14"),
    ("window_full_again", "BNBBTC"): (2352034, "0.010447"),
    ("day", "BTCUSDT"): (3220849281, "26221.67"),
    ("day", "BNBUSDT"): (672496158, "212.6"),
}


def window(path: str, example: str, symbols: dict[str, str], **params: str) -> Callable[[Stage], Answer]:
    """Ask what was traded of one symbol, or of several."""

    def play(stage: Stage) -> Answer:
        for name, base in symbols.items():
            stage.symbol(base, name.removeprefix(base))
            first, traded = TRADED[example, name]
            numbered = [(first + number, *pair) for number, pair in enumerate(traded)]
            if (example, name) in LAST:
                number, price = LAST[example, name]
                numbered.append((number, price, "1"))
            market = stage.engine.markets[name]
            for number, price, quantity in numbered:
                market.trades.append(
                    Trade(
                        number,
                        stage.engine.now(),
                        Decimal(price),
                        Decimal(quantity),
                        is_buyer_maker=True,
                        aggregate_id=number,
                    )
                )
        names = list(symbols)
        several = '["{}"]'.format('","'.join(names))
        chosen = {"symbol": names[0]} if len(names) == 1 else {"symbols": several}
        return stage.client.public(f"/api/v3/{path}", **chosen, **params)

    return play


BTC, BNB, LTC = {"BTCUSDT": "BTC"}, {"BNBBTC": "BNB"}, {"LTCBTC": "LTC"}
SCENES["ticker_window_full_single"] = window("ticker", "window_full", BNB)
SCENES["ticker_window_full_multiple"] = window("ticker", "window_full_again", BTC | BNB)
SCENES["ticker_window_mini_single"] = window("ticker", "window_mini", LTC, type="MINI")
SCENES["ticker_window_mini_multiple"] = window("ticker", "window_mini_again", BNB | LTC, type="MINI")
for _size, _params in (("full", {}), ("mini", {"type": "MINI"})):
    SCENES[f"ticker_trading_day_{_size}_single"] = window("ticker/tradingDay", "day", BTC, **_params)
    _both = BTC | {"BNBUSDT": "BNB"}
    SCENES[f"ticker_trading_day_{_size}_multiple"] = window("ticker/tradingDay", "day", _both, **_params)


@scene("prevented_matches")
def prevented_matches(stage: Stage) -> Answer:
    """Ask which trade with oneself an order that took was kept from."""
    stage.symbol("BTC", "USDT")
    stage.exchange.set_trade_group(1)
    stage.engine.markets["BTCUSDT"]._next_prevented_id = 1
    stage.next_ids("BTCUSDT", 3)
    stage.limit("BTCUSDT", "SELL", "1.1", "1.3")
    stage.next_ids("BTCUSDT", 5)
    stage.limit("BTCUSDT", "BUY", "1.1", "2", selfTradePreventionMode="EXPIRE_MAKER")
    return stage.signed("GET", "/api/v3/myPreventedMatches", symbol="BTCUSDT", orderId=5)


@scene("commission_rates")
def commission_rates(stage: Stage) -> Answer:
    """Ask what trades cost; paid in BNB, three quarters of it."""
    stage.exchange.set_commission(bnb_discount="0.25")
    return stage.signed("GET", "/api/v3/account/commission", symbol="BTCUSDT")


@scene("my_filters")
def own_filters(stage: Stage) -> Answer:
    """Ask which filters count for an account."""
    stage.symbol("BTC", "USDT").filters = Filters([{"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20}])
    stage.engine.filters = Filters([{"filterType": "EXCHANGE_MAX_NUM_ORDERS", "maxNumOrders": 1000}])
    return stage.signed("GET", "/api/v3/myFilters", symbol="BTCUSDT")
