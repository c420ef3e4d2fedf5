"""How far reads are behind: one read again and again after a change, until it shows the change for good."""

from __future__ import annotations

import time
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

FEW, MANY = 3, 10
"""Reads that have to agree at once: few, or many where another source was behind and so may this one be."""
_AT_ONCE = 12  # reads without a pause, after which one that goes back in time is hardly missed
_IN_A_ROW = 6  # reads that have to agree after one that was behind
_SHORTEST, _LONGEST, _GROWTH = 0.005, 1.0, 1.4


class Watched(NamedTuple):
    """What became visible when.

    Attributes
    ----------
    seconds : float
        From the change to the first read after which all reads showed it; 0 if all did.
    went_back : bool
        Whether a read showed the change and a later one did not.
    is_over : bool
        Whether reads showed it in the end.
    """

    seconds: float
    went_back: bool
    is_over: bool


def watch(shows: Callable[[], bool], changed_at: float, patience: float, first: int = FEW) -> Watched:
    """Read until reads show a change.

    Parameters
    ----------
    shows : callable
        Reads once and returns whether it shows the change.
    changed_at : float
        When the change was made, on the monotonic clock.
    patience : float
        Longest time from then on, in seconds.
    first : int
        Reads that have to show it at once for it not to be behind.
    """
    seen: list[bool] = []
    seconds, pause = 0.0, _SHORTEST
    while True:
        began = time.monotonic() - changed_at
        seen.append(shows())
        if not seen[-1] or (len(seen) > 1 and not seen[-2]):
            seconds = began
        wanted = first if all(seen) else _IN_A_ROW
        is_over = len(seen) >= wanted and all(seen[-wanted:])
        if is_over or began > patience:
            went_back = any(before and not after for before, after in pairwise(seen))
            return Watched(0.0 if all(seen) else seconds, went_back, is_over)
        if len(seen) >= _AT_ONCE:
            time.sleep(pause)
            pause = min(_SHORTEST if seen[-1] else pause * _GROWTH, _LONGEST)
