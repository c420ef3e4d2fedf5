"""Two-step confirmation: which clicks arm, which fire, and which are dropped."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

DOUBLE_CLICK = 0.7
"""Seconds within which a second click counts as a double click, and does not fire."""
AFTER_CELL = 0.3
"""Seconds after the end of a cell in which clicks that queued up meanwhile arrive."""

Verdict = Literal["arm", "again", "fire", "after cell", "after firing"]


@dataclass(frozen=True, slots=True)
class Arming:
    """What a first click has armed.

    Attributes
    ----------
    meant : object
        What a second click would do; a click that means anything else arms that instead.
    lasts : float
        Seconds until it expires.
    at : float
        When it was armed.
    """

    meant: object
    lasts: float
    at: float


class Trigger:
    """Distinguishes clicks that arm from clicks that fire. Each firing needs a new arming.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cell_runs = False
        self._cell_ended = self._fired = -float("inf")
        self.armed: Arming | None = None

    def click(self, meant: object) -> Verdict:
        """Return what a click does.

        The first click of a double click arms, the second one restarts the wait, and so do all that follow as fast:
        only a click after a pause fires.

        Returns
        -------
        {"arm", "again", "fire", "after cell", "after firing"}
            Arm; wait again; fire; or drop it, since it came while a cell was running, or with the click that fired.
        """
        now, armed = self._clock(), self.armed
        if now - self._fired < DOUBLE_CLICK:
            return "after firing"
        if self._cell_runs or now - self._cell_ended < AFTER_CELL:
            return "after cell"
        if armed is None or armed.meant != meant or now - armed.at > armed.lasts:
            return "arm"
        if now - armed.at < DOUBLE_CLICK:
            self.armed = replace(armed, at=now)
            return "again"
        self.armed, self._fired = None, now
        return "fire"

    def arm(self, meant: object, lasts: float) -> Arming:
        """Let the next click fire, unless it is too early or too late."""
        self.armed = Arming(meant, lasts, self._clock())
        return self.armed

    def cell_begins(self) -> None:
        """Note that the kernel runs a cell: clicks queue up now."""
        self._cell_runs = True

    def cell_ends(self) -> None:
        """Note that the cell has ended: queued clicks come next."""
        self._cell_runs = False
        self._cell_ended = self._clock()
