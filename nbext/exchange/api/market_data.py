"""Market data: public queries about symbols, books and trades."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from nbext.exchange.api import replies
from nbext.exchange.api.endpoints import MAX_DECIMAL
from nbext.exchange.api.parsing import number, row_limit
from nbext.exchange.engine import refusals
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.symbols import text

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.parsing import Params
    from nbext.exchange.api.replies import Report
    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.limits import RequestLimits
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
            "avgPrice": self._average_price,
            "ticker/24hr": lambda call: self._ticker(call, lambda symbol: self._day(call, symbol)),
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
