"""Rate limits (section 5): request weight by address, unfilled order count by account.

Intervals are aligned to the clock, not sliding: a minute starts at ``:00``.
"""

from __future__ import annotations

from dataclasses import dataclass

SECOND = 1_000_000
MINUTE = 60 * SECOND
DAY = 86_400 * SECOND

# 17 #34: what the first fill of an order takes off the unfilled order count.
MAKER_RELIEF = 5
TAKER_RELIEF = 1


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
        """Tell whether this much more stays within the limit."""
        return self.at(now) + amount <= self.limit

    def seconds_left(self, now: int) -> int:
        """Return whole seconds until the interval ends, at least one: the ``Retry-After``."""
        return max(1, -(-(self.interval - now % self.interval) // SECOND))


class OrderCount:
    """Unfilled order count of one account over ten seconds and a day (5.3).

    Parameters
    ----------
    per_ten_seconds, per_day : int
        The limits that ``exchangeInfo`` announces.
    """

    def __init__(self, per_ten_seconds: int, per_day: int) -> None:
        self.ten_seconds = Window(10 * SECOND, per_ten_seconds)
        self.day = Window(DAY, per_day)

    def exhausted(self, orders: int, now: int) -> tuple[Window, str] | None:
        """Return the window that has no room for so many more orders, with its name, if any."""
        if not self.ten_seconds.has_room(orders, now):
            return self.ten_seconds, "10 SECOND"
        if not self.day.has_room(orders, now):
            return self.day, "1 DAY"
        return None

    def placed(self, orders: int, now: int) -> None:
        """Count accepted orders."""
        self.ten_seconds.add(orders, now)
        self.day.add(orders, now)

    def first_fill(self, now: int, *, is_maker: bool) -> None:
        """Credit the first fill of an order."""
        relief = MAKER_RELIEF if is_maker else TAKER_RELIEF
        self.ten_seconds.add(-relief, now)
        self.day.add(-relief, now)
