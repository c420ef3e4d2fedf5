"""Candles: what traded in each interval, and an invented history before the first trade (rule: candles).

Trades are added up by the second; finished seconds are added to minutes, those to hours, and those to days. So a trade
costs the same regardless of later queries, and memory is bounded.
"""

from __future__ import annotations

import random
from array import array
from bisect import bisect_left, bisect_right
from collections import deque
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import chain
from math import exp, sqrt
from typing import TYPE_CHECKING

from nbext.exchange.engine.limits import DAY, MINUTE, SECOND
from nbext.exchange.engine.tickets import ZERO

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HOUR = 60 * MINUTE
WEEK = 7 * DAY
_MONDAY = 4 * DAY
"""1970 began on a Thursday, and weeks begin on Monday."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MOST_KEPT = {SECOND: 3_600, MINUTE: 30_000, HOUR: 12_000, DAY: 10_000}
"""How many candles of each size are kept, where something traded: enough for 1,000 of each interval made from them."""
INTERVALS = {
    "1s": SECOND,
    **{f"{minutes}m": minutes * MINUTE for minutes in (1, 3, 5, 15, 30)},
    **{f"{hours}h": hours * HOUR for hours in (1, 2, 4, 6, 8, 12)},
    **{f"{days}d": days * DAY for days in (1, 3)},
    "1w": WEEK,
    "1M": 0,
}
"""The intervals of rest-api.md, "Kline/Candlestick chart intervals", in microseconds; a month has no fixed length."""
# The invented past: from one point to the next, up to which age.
_STEPS = (
    (SECOND, 20 * MINUTE),
    (15 * SECOND, DAY),
    (2 * MINUTE, 11 * DAY),
    (10 * MINUTE, 42 * DAY),
    (HOUR, 170 * DAY),
    (6 * HOUR, 3 * 365 * DAY),
    (DAY, 9 * 365 * DAY),
    (2 * DAY, 20 * 365 * DAY),
    (WEEK, 85 * 365 * DAY),
)
_DAILY_SWING, _WIDEST_SWING = 0.02, 0.5
_CENTS = Decimal("0.00001")


@dataclass(slots=True)
class Candle:
    """What traded from `start` on, in microseconds. `taker` parts are what buyers took."""

    start: int
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    money: Decimal
    count: int
    taker_volume: Decimal
    taker_money: Decimal

    def add(self, later: Candle) -> None:
        """Add what traded afterwards."""
        if not self.low <= later.low <= later.high <= self.high:  # rarely so, and max and min take longer
            self.high = max(self.high, later.high)
            self.low = min(self.low, later.low)
        self.close = later.close
        self.volume += later.volume
        self.money += later.money
        self.count += later.count
        self.taker_volume += later.taker_volume
        self.taker_money += later.taker_money

    def at(self, start: int) -> Candle:
        """Return a copy that starts at another moment."""
        return Candle(
            start, self.open, self.high, self.low, self.close, self.volume, self.money, self.count,
            self.taker_volume, self.taker_money,
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Interval:
    """An interval in a time zone.

    Attributes
    ----------
    size : int
        Its length in microseconds; 0 for a month.
    shift : int
        How far the time zone is ahead of UTC, in microseconds.
    """

    size: int
    shift: int = 0

    def start_of(self, moment: int) -> int:
        """Return the start of the interval that a moment is in."""
        local = moment + self.shift
        if not self.size:
            day = _EPOCH + timedelta(microseconds=local)
            first = day.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
            return (first - _EPOCH) // timedelta(microseconds=1) - self.shift
        begin = _MONDAY if self.size == WEEK else 0
        return (local - begin) // self.size * self.size + begin - self.shift

    def after(self, start: int) -> int:
        """Return the start of the interval after the one that starts here."""
        return start + self.size if self.size else self.start_of(start + 32 * DAY)

    def before(self, start: int) -> int:
        """Return the start of the interval before the one that starts here."""
        return start - self.size if self.size else self.start_of(start - 1)


class _Level:
    """Candles of one size; what falls out of the newest is added to the next larger size."""

    def __init__(self, size: int, larger: _Level | None) -> None:
        self.size = size
        self.larger = larger
        self.newest: Candle | None = None
        self.kept: deque[Candle] = deque(maxlen=_MOST_KEPT[size])

    def add(self, candle: Candle) -> None:
        """Add what traded after the newest."""
        newest = self.newest
        if newest is not None and candle.start - newest.start < self.size:
            newest.add(candle)
            return
        self.begin(candle.at(candle.start - candle.start % self.size))

    def begin(self, candle: Candle) -> None:
        """Add a new candle as the newest."""
        newest = self.newest
        if newest is not None:
            self.kept.append(newest)
            if self.larger is not None:
                self.larger.add(newest)
        self.newest = candle


class Candles:
    """The candles of one symbol.

    Parameters
    ----------
    seed : str
        Fixes the invented history.
    tick : Decimal
        The step of its prices.
    daily_volume : Decimal
        What trades in a day of it.
    """

    def __init__(self, seed: str, tick: Decimal, daily_volume: Decimal) -> None:
        self._seed, self._tick, self._daily_volume = seed, tick, float(daily_volume)
        days = _Level(DAY, None)
        hours = _Level(HOUR, days)
        minutes = _Level(MINUTE, hours)
        self._seconds = _Level(SECOND, minutes)
        self._levels = (days, hours, minutes, self._seconds)
        self._first: tuple[int, Decimal] | None = None
        self._past: _Past | None = None

    def add(self, time: int, price: Decimal, quantity: Decimal, *, taker_buys: bool) -> None:
        """Add a trade."""
        money = price * quantity
        newest = self._seconds.newest
        if newest is not None and time - newest.start < SECOND:
            if price > newest.high:
                newest.high = price
            elif price < newest.low:
                newest.low = price
            newest.close = price
            newest.volume += quantity
            newest.money += money
            newest.count += 1
            if taker_buys:
                newest.taker_volume += quantity
                newest.taker_money += money
            return
        if self._first is None:
            self._first = time, price
        bought, spent = (quantity, money) if taker_buys else (ZERO, ZERO)
        start = time - time % SECOND
        self._seconds.begin(Candle(start, price, price, price, price, quantity, money, 1, bought, spent))

    def rows(self, interval: Interval, start: int | None, end: int | None, limit: int, now: int) -> list[Candle]:
        """Return candles by their start: from `start` on if it is given, else the latest up to `end`."""
        if self._first is None:
            return []
        size = interval.size or DAY
        level = next(each for each in self._levels if each.size <= size and not interval.shift % each.size)
        newest = interval.start_of(now if end is None else min(end, now))
        oldest = self._oldest(level)
        if start is None:
            first = newest
            for _ in range(limit - 1):
                first = interval.before(first)
        else:
            first = interval.start_of(start)
            first = first if first >= start else interval.after(first)
        while first < oldest:
            first = interval.after(first) if interval.start_of(oldest) <= first else interval.start_of(oldest)
        starts: list[int] = []
        while first <= newest and len(starts) < limit:
            starts.append(first)
            first = interval.after(first)
        return list(self._filled(interval, level, starts))

    def _oldest(self, level: _Level) -> int:
        """Return the moment before which nothing is known."""
        if len(level.kept) == level.kept.maxlen:
            return level.kept[0].start
        return self._history().oldest

    def _filled(self, interval: Interval, level: _Level, starts: list[int]) -> Iterator[Candle]:
        """Make candles from trades, from the invented history, and where nothing traded, from the price before."""
        if not starts or self._first is None:
            return
        opened, price = self._first
        traded: dict[int, Candle] = {}
        for candle in self._since(level):
            begin = interval.start_of(candle.start)
            if begin < starts[0]:
                price = candle.close
            elif begin in traded:
                traded[begin].add(candle)
            else:
                traded[begin] = candle.at(begin)
        for begin in starts:
            found = traded.get(begin)
            if begin < opened:
                invented = self._history().candle(begin, min(interval.after(begin), opened))
                if found is not None:
                    invented.add(found)
                found = invented
            found = found or Candle(begin, price, price, price, price, ZERO, ZERO, 0, ZERO, ZERO)
            price = found.close
            yield found

    def _since(self, level: _Level) -> Iterable[Candle]:
        """Return the candles of a level, and the newest of the finer ones, which no larger one has yet."""
        finer = self._levels[self._levels.index(level) :]
        return chain(level.kept, (each.newest for each in finer if each.newest is not None))

    def _history(self) -> _Past:
        if self._past is None and self._first is not None:
            self._past = _Past(self._seed, *self._first, self._tick, self._daily_volume)
        if self._past is None:
            raise RuntimeError("nothing has traded yet")
        return self._past


class _Past:
    """An invented history: a random walk that ends at the first price, the finer the younger."""

    def __init__(self, seed: str, ends: int, price: Decimal, tick: Decimal, daily_volume: float) -> None:
        chance = random.Random(seed)
        # Points from the youngest to the oldest: time, price, and what has traded since, in all and by buyers.
        points = [(ends, float(price), 0.0, 0.0, 0.0, 0.0)]
        distance = 0.0
        for step, until in _STEPS:
            while points[-1][0] > max(ends - until, 0):  # no time is negative (rule: candles)
                moment, later, *sums = points[-1]
                earlier = (moment - 1) // step * step
                days = (moment - earlier) / DAY
                # Pulled back to the price at the end, so that it never runs away.
                distance *= exp(-days * _DAILY_SWING**2 / (2 * _WIDEST_SWING**2))
                distance += chance.gauss(0, _DAILY_SWING * sqrt(days))
                before = float(price) * exp(distance)
                volume, share = daily_volume * days * (0.5 + chance.random()), 0.3 + 0.4 * chance.random()
                money = volume * (later + before) / 2
                added = (volume, money, volume * share, money * share)
                points.append((earlier, before, *(old + new for old, new in zip(sums, added, strict=True))))  # type: ignore[arg-type]
        times, prices, *sums_ = zip(*reversed(points), strict=True)
        self._times: array[int] = array("q", times)
        self._prices: array[float] = array("d", prices)
        self._sums = [array("d", column) for column in sums_]
        self._tick = tick
        self.oldest = self._times[0]

    def candle(self, begin: int, end: int) -> Candle:
        """Return what is said to have traded between two moments."""
        among = self._prices[bisect_right(self._times, begin) : bisect_left(self._times, end)]
        first, last = self._at(self._prices, begin), self._at(self._prices, end)
        sums = [Decimal(self._at(each, begin) - self._at(each, end)).quantize(_CENTS) for each in self._sums]
        volume, money, bought, spent = (max(each, ZERO) for each in sums)
        return Candle(
            begin,
            self._price(first),
            self._price(max(first, last, *among)),
            self._price(min(first, last, *among)),
            self._price(last),
            volume,
            money,
            max(1, end // SECOND - begin // SECOND),
            min(bought, volume),
            min(spent, money),
        )

    def _price(self, price: float) -> Decimal:
        return max(round(Decimal(price) / self._tick), 1) * self._tick

    def _at(self, values: array[float], moment: int) -> float:
        """Return a value between two points."""
        place = bisect_right(self._times, moment)
        if place == len(self._times):
            return values[-1]
        if not place:
            return values[0]
        before, after = self._times[place - 1], self._times[place]
        share = (moment - before) / (after - before)
        return values[place - 1] + share * (values[place] - values[place - 1])
