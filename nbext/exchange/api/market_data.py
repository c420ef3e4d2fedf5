"""Market data: public queries about symbols, books and trades."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

from nbext.exchange.api import replies
from nbext.exchange.api.admission import to_microseconds
from nbext.exchange.api.endpoints import MAX_DECIMAL, MAX_INTEGER
from nbext.exchange.api.parsing import number, row_limit
from nbext.exchange.engine import refusals
from nbext.exchange.engine.candles import INTERVALS, Interval
from nbext.exchange.engine.limits import DAY, MILLISECOND, MINUTE
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.symbols import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.parsing import Params
    from nbext.exchange.api.replies import Report
    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.limits import RequestLimits
    from nbext.exchange.engine.matching import Trade
    from nbext.exchange.engine.symbols import Symbol

DEFAULT_DEPTH = 100
MAX_DEPTH = 5000
AVERAGE_MINUTES = 5


class MarketData:
    """Answers public queries.

    Parameters
    ----------
    engine : Engine
        The engine behind it.
    limits : RequestLimits
        What each address may ask for, as ``exchangeInfo`` shows it.
    clock : callable
        Returns the time that ``GET /time`` shows, in microseconds; the engine's own clock may differ.
    """

    def __init__(self, engine: Engine, limits: RequestLimits, clock: Callable[[], int]) -> None:
        self._engine = engine
        self._limits = limits
        self._clock = clock
        self.calls: dict[str, Callable[[Call], Report | list[Report]]] = {
            "ping": lambda _: {},
            "time": lambda call: {"serverTime": self._clock() // call.unit},
            "exchangeInfo": self._exchange_info,
            "depth": self._depth,
            "trades": self._public_trades,
            "historicalTrades": self._historical_trades,
            "aggTrades": self._aggregate_trades,
            "klines": self._candles,
            "uiKlines": self._candles,
            "avgPrice": self._average_price,
            "ticker/24hr": lambda call: self._ticker(call, lambda symbol: self._day(call, symbol)),
            "ticker/tradingDay": self._trading_day,
            "ticker": self._rolling_window,
            "ticker/price": lambda call: self._ticker(call, self._price),
            "ticker/bookTicker": lambda call: self._ticker(call, self._best),
        }

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
                replies.rate_limit("REQUEST_WEIGHT", "MINUTE", 1, self._limits.weight),
                replies.rate_limit("ORDERS", "SECOND", 10, count.ten_seconds.limit),
                replies.rate_limit("ORDERS", "DAY", 1, count.day.limit),
                replies.rate_limit("RAW_REQUESTS", "MINUTE", 5, self._limits.raw_requests),
            ],
            "exchangeFilters": self._engine.filters.wire if dialect.exchange_filters == "listed" else [],
            "symbols": entries,
        }

    def _depth(self, call: Call) -> Report:
        symbol = self._symbol(call.params)
        _check_status(symbol, call.params)
        market = self._engine.markets[symbol.name]
        wanted = number(call.params, "limit")
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

    def _ticker(self, call: Call, row: Callable[[Symbol], Report]) -> Report | list[Report]:
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

    def _window(self, call: Call, begin: int, close_time: int) -> Report | list[Report]:
        """Show what happened since some moment, on one symbol or several named ones (rule: rolling-window)."""
        if "symbol" not in call.params and "symbols" not in call.params:
            raise refusals.neither("symbol", "symbols", self._engine.dialect.neither_id_code)
        is_full = call.params.get("type") != "MINI"

        def row(symbol: Symbol) -> Report:
            return replies.window_ticker(
                self._engine.markets[symbol.name], begin, close_time, call.unit, is_full=is_full
            )

        return self._ticker(call, row)

    def _rolling_window(self, call: Call) -> Report | list[Report]:
        now = self._engine.now()
        begin = now - now % MINUTE - cast("int", call.params.get("windowSize", DAY))
        return self._window(call, begin, replies.stamp(now, call.unit))

    def _trading_day(self, call: Call) -> Report | list[Report]:
        day = Interval(DAY, cast("int", call.params.get("timeZone", 0)))
        begin = day.start_of(self._engine.now())
        return self._window(call, begin, replies.stamp(day.after(begin), call.unit) - 1)

    def _candles(self, call: Call) -> list[Any]:
        """Show candles (rule: candles)."""
        params = call.params
        market = self._engine.markets[self._symbol(params).name]
        interval = Interval(INTERVALS[str(params["interval"])], cast("int", params.get("timeZone", 0)))
        start, end = number(params, "startTime"), number(params, "endTime")
        rows = market.candles.rows(
            interval,
            None if start is None else to_microseconds(start),
            None if end is None else to_microseconds(end),
            row_limit(params),
            self._engine.now(),
        )
        return [replies.candle(row, interval.after(row.start), call.unit) for row in rows]

    def _historical_trades(self, call: Call) -> list[Report]:
        first = number(call.params, "fromId")
        trades = list(self._engine.markets[self._symbol(call.params).name].trades)
        limit = row_limit(call.params)
        chosen = trades[-limit:] if first is None else [trade for trade in trades if trade.trade_id >= first][:limit]
        return [replies.public_trade(trade, call.unit) for trade in chosen]

    def _aggregate_trades(self, call: Call) -> list[Report]:
        """Show trades that go on with each other as one (rule: aggregate-trades)."""
        params = call.params
        first, start, end = (number(params, name) for name in ("fromId", "startTime", "endTime"))
        if first is not None and (start is not None or end is not None):
            raise refusals.bad_combination()
        together: dict[int, list[Trade]] = {}
        for trade in self._engine.markets[self._symbol(params).name].trades:
            together.setdefault(trade.aggregate_id, []).append(trade)
        begin = 0 if start is None else to_microseconds(start)
        until = MAX_INTEGER if end is None else to_microseconds(end) + MILLISECOND
        rows = [
            trades
            for number_, trades in together.items()
            if number_ >= (first or 0) and begin <= trades[0].time < until
        ]
        limit = row_limit(params)
        rows = rows[-limit:] if first is None and start is None else rows[:limit]
        return [replies.aggregate_trade(trades, call.unit) for trades in rows]

    def _public_trades(self, call: Call) -> list[Report]:
        trades = self._engine.markets[self._symbol(call.params).name].trades
        return [replies.public_trade(trade, call.unit) for trade in list(trades)[-row_limit(call.params) :]]

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


def _check_status(symbol: Symbol, params: Params) -> None:
    if params.get("symbolStatus") not in {None, symbol.status}:
        raise Refusal(-1220, "The symbol's status does not match the requested symbolStatus.")
