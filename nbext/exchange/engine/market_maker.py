"""The market maker: the account that all others trade with, and how it moves the market.

It quotes both sides of every symbol around a price. A price set by hand moves it at once; along a path it
moves step by step as time passes. The exchange's seed fixes every path.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, TypeVar

from nbext.exchange.engine.liquidity import offered
from nbext.exchange.engine.tickets import ZERO, Ticket, opposite

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.orders import Order
    from nbext.exchange.engine.symbols import Symbol

Reply = TypeVar("Reply")

MARKET_ACCOUNT = "market"
MARKET_WEALTH = 1_000  # how many times the funds of others the market has
QUOTE_LEVELS = 10
QUOTE_GAP = 5  # ticks from the price to the first quote, so that there is room between the quotes
QUOTE_LEVEL_SHARE = Decimal("0.0005")  # distance of further levels, as a share of the price


@dataclass(slots=True)
class Path:
    """A random walk of one symbol's price, pulled back to where it began so that it never runs away."""

    symbol: Symbol
    home: Decimal
    swing: Decimal  # typical size of one step, as a share of the price
    every: int  # microseconds
    due: int
    chance: random.Random = field(repr=False)
    is_realtime: bool = False  # moves as time passes, not only with `advance`

    def next_price(self, price: Decimal) -> Decimal:
        """Return the price after this one."""
        step = Decimal(self.chance.randint(-1000, 1000)) / 500 * self.swing
        pull = (self.home - price) / self.home / 50
        wanted = (price * (1 + step + pull)).quantize(self.symbol.tick)
        return max(wanted, self.symbol.tick * (QUOTE_GAP + 1))


class MarketMaker:
    """Opens trading on every symbol of an engine, and quotes there for the market account.

    Parameters
    ----------
    engine : Engine
        The engine whose market it makes.
    seed : int
        Fixes the paths.
    """

    def __init__(self, engine: Engine, seed: int) -> None:
        self._engine = engine
        self._seed = seed
        self._paths: dict[str, Path] = {}
        self.account = engine.account(MARKET_ACCOUNT)
        for balance in self.account.balances.values():
            balance.free *= MARKET_WEALTH
        for symbol in engine.symbols.values():
            self.set_price(symbol, engine.opening_price(symbol))
        engine.start_ids()
        engine.meanwhile = lambda order: self.set_price(order.symbol, order.limit)

    def place(self, symbol: Symbol, ticket: Ticket, write: Callable[[Order], Reply]) -> Reply:
        """Place an order of the market account, whose quotes step aside so that it meets the others first."""
        market = self._engine.begin(symbol)
        self.withdraw(symbol)
        try:
            return self._engine.place_unsettled(self.account, symbol, ticket, write)
        finally:
            # The quotes are back before anything is triggered, so that stops find a book.
            self.lay(symbol, market.last_price or symbol.listing_price)
            market.settle()

    def set_price(self, symbol: Symbol, price: Decimal) -> None:
        """Move the market to a price: it takes every order at or beyond it and quotes around it."""
        if symbol.status != "TRADING":
            raise ValueError(f"{symbol.name} is {symbol.status}: nothing trades")
        market = self._engine.begin(symbol)
        self.withdraw(symbol)
        for side in ("BUY", "SELL"):
            quantity = offered(market.book, side, price)
            if quantity:
                self._quote(symbol, side, price, quantity)
        if market.last_price != price:
            # One small trade with itself, so that the last price is this one.
            for side in ("SELL", "BUY"):
                self._quote(symbol, side, price, symbol.room / 1000)
        self.lay(symbol, price)
        market.settle()

    def withdraw(self, symbol: Symbol) -> None:
        """Withdraw the quotes of a symbol."""
        market = self._engine.markets[symbol.name]
        for order in list(self.account.open[symbol.name].values()):
            if order.is_quote:
                market.cancel(order, "")

    def lay(self, symbol: Symbol, price: Decimal) -> None:
        """Quote both sides around a price, deeper and larger level by level, without trading."""
        book = self._engine.markets[symbol.name].book
        for side, sign in (("BUY", -1), ("SELL", 1)):
            best = book.sides[opposite(side)].best_price()
            for level in range(QUOTE_LEVELS):
                distance = symbol.tick * QUOTE_GAP + price * level * QUOTE_LEVEL_SHARE
                at = (price + sign * distance).quantize(symbol.tick)
                if at > ZERO and (best is None or (best - at) * sign < 0):
                    self._quote(symbol, side, at, symbol.room * (level + 1) / QUOTE_LEVELS)

    def _quote(self, symbol: Symbol, side: str, price: Decimal, quantity: Decimal) -> None:
        ticket = Ticket(side=side, type="LIMIT", price=price, quantity=quantity)
        order = self._engine.make(self.account, symbol, ticket)
        order.is_quote = True
        order.lock_price = price
        self.account.hold([order])
        self._engine.accept(order, "NEW")
        self._engine.markets[symbol.name].enter(order)

    # Paths.

    def start(self, symbol: Symbol, *, every: int, swing: Decimal, realtime: bool = False) -> None:
        """Start a symbol's price on its path, one step every `every` microseconds."""
        market = self._engine.begin(symbol)
        self._paths[symbol.name] = Path(
            symbol,
            home=market.last_price or symbol.listing_price,
            swing=swing,
            every=every,
            due=market.now + every,
            chance=random.Random(f"{self._seed} {symbol.name}"),
            is_realtime=realtime,
        )

    def stop(self, symbol: Symbol) -> None:
        """Stop moving a symbol's price."""
        self._paths.pop(symbol.name, None)

    def walk(self, until: int, pass_time: Callable[[int], None]) -> None:
        """Take every step due up to a moment, in order; `pass_time` moves the clock to each."""
        while self._paths:
            path = min(self._paths.values(), key=lambda each: each.due)
            if path.due > until:
                break
            pass_time(path.due)
            path.due += path.every
            self._step(path)
        pass_time(until)

    def due_by(self, now: int) -> list[Path]:
        """Return the paths that move with the time and have a step due."""
        return [path for path in self._paths.values() if path.is_realtime and path.due <= now]

    def catch_up(self, now: int) -> None:
        """Take the step that is due on each path that moves with the time; what was missed is missed."""
        for path in self.due_by(now):
            path.due = max(path.due + path.every, now + 1)
            self._step(path)

    def _step(self, path: Path) -> None:
        price = path.next_price(self._engine.last_price(path.symbol.name))
        if path.symbol.status == "TRADING":  # a halted symbol misses its steps, but its path continues
            self.set_price(path.symbol, price)
