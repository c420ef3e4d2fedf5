"""Rate limits: request weight and raw requests by address, unfilled order count by account.

Intervals are aligned to the clock, not sliding: a minute starts at ``:00``.
"""

from __future__ import annotations

from dataclasses import dataclass

from nbext.exchange.engine.refusals import TooMuch

MILLISECOND = 1000
SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND

# What the first fill of an order takes off the unfilled order count (rule: fill-relief).
MAKER_RELIEF = 5
TAKER_RELIEF = 1

FIRST_BAN = 2 * MINUTE
LONGEST_BAN = 3 * DAY


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """What one address may ask for (rule: request-limits).

    Parameters
    ----------
    weight : int
        Request weight in a minute.
    raw_requests : int
        Requests in five minutes, of any weight.
    patience : int
        How many requests in an interval get a 429 before the next one is a ban. The documentation
        names no number; it leaves room for requests that were under way together.
    """

    weight: int = 6_000
    raw_requests: int = 300_000
    patience: int = 10


class Banned(TooMuch):
    """The refusal of an address that went on after a 429 (rule: too-many-requests)."""

    def __init__(self, until: int, now: int) -> None:
        text = (
            f"Way too much request weight used; IP banned until {until // MILLISECOND}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        super().__init__(-1003, text, max(1, -(-(until - now) // SECOND)))


@dataclass(slots=True)
class Window:
    """A counter that starts again with each interval of the clock."""

    interval: int
    limit: int
    used: int = 0
    number: int = -1

    def at(self, now: int) -> int:
        """Return what has been used in the interval that holds this moment."""
        number = now // self.interval
        if number != self.number:
            self.number, self.used = number, 0
        return self.used

    def add(self, amount: int, now: int) -> None:
        """Count something, or take it back with a negative amount."""
        self.used = max(0, self.at(now) + amount)

    def has_room(self, amount: int, now: int) -> bool:
        """Return whether this much more stays within the limit."""
        return self.at(now) + amount <= self.limit

    def seconds_left(self, now: int) -> int:
        """Return whole seconds until the interval ends, at least one: the ``Retry-After``."""
        return max(1, -(-(self.interval - now % self.interval) // SECOND))


class Caller:
    """One address, and what it has used. Limits go by address, not by key (rule: request-limits).

    Parameters
    ----------
    limits : RequestLimits
        What it may use.
    """

    def __init__(self, limits: RequestLimits) -> None:
        self.weight = Window(MINUTE, limits.weight)
        self.raw = Window(5 * MINUTE, limits.raw_requests)
        # Requests answered with 429, by the shorter interval; beyond the limit comes a ban.
        self._told_to_wait = Window(MINUTE, limits.patience)
        self._bans = 0
        self._banned_until = 0

    def count_request(self, now: int) -> None:
        """Count a request, before anything about it is looked at."""
        if now < self._banned_until:
            raise Banned(self._banned_until, now)
        self.raw.add(1, now)
        if self.raw.used > self.raw.limit:
            self._refuse("Too many requests queued.", self.raw, now)

    def spend(self, weight: int, now: int, *, is_checked: bool = True) -> None:
        """Count what a request weighs, even if it is refused."""
        self.weight.add(weight, now)
        if is_checked and self.weight.used > self.weight.limit:
            text = (
                f"Too much request weight used; current limit is {self.weight.limit} request weight per 1 MINUTE. "
                "Please use WebSocket Streams for live updates to avoid polling the API."
            )
            self._refuse(text, self.weight, now)

    def _refuse(self, text: str, window: Window, now: int) -> None:
        if not self._told_to_wait.has_room(1, now):
            # Longer each time (rule: too-many-requests).
            self._banned_until = now + min(FIRST_BAN << min(self._bans, 20), LONGEST_BAN)
            self._bans += 1
            raise Banned(self._banned_until, now)
        self._told_to_wait.add(1, now)
        raise TooMuch(-1003, text, window.seconds_left(now))


class OrderCount:
    """Unfilled order count of one account over ten seconds and a day (rule: order-count).

    Parameters
    ----------
    per_ten_seconds, per_day : int
        The limits that ``exchangeInfo`` announces.
    """

    def __init__(self, per_ten_seconds: int, per_day: int) -> None:
        self.ten_seconds = Window(10 * SECOND, per_ten_seconds)
        self.day = Window(DAY, per_day)

    def exhausted(self, orders: int, now: int) -> tuple[Window, str] | None:
        """Return the window without room for this many more orders, with its name, if any."""
        if not self.ten_seconds.has_room(orders, now):
            return self.ten_seconds, "10 SECOND"
        if not self.day.has_room(orders, now):
            return self.day, "1 DAY"
        return None

    def placed(self, orders: int, now: int) -> None:
        """Count orders. When the day is exhausted, the shorter count no longer rises (rule: order-count)."""
        if self.day.at(now) < self.day.limit:
            self.ten_seconds.add(orders, now)
        self.day.add(orders, now)

    def first_fill(self, now: int, *, is_maker: bool) -> None:
        """Credit the first fill of an order."""
        relief = MAKER_RELIEF if is_maker else TAKER_RELIEF
        self.ten_seconds.add(-relief, now)
        self.day.add(-relief, now)
