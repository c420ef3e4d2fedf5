"""Which clicks count: none that queued up behind a cell, none that came before its question could be read."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable

TOO_SOON = 0.5
"""Seconds after a question in which an answer is ignored: it was meant for what was there before."""
AFTER_CELL = 0.3
"""Seconds after the end of a cell in which clicks that queued up meanwhile arrive."""
ANSWER = 60.0
"""Seconds for which a question stays."""

Verdict = Literal["fire", "too soon", "stale", "after cell"]


class Clicks:
    """Distinguishes clicks that count from clicks that do not. Each cancel needs a question of its own.

    Parameters
    ----------
    clock : callable, optional
        Returns seconds.

    Attributes
    ----------
    question : int or None
        The number of the question that is open.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._cell_runs = False
        self._cell_ended = self._asked = -float("inf")
        self._questions = 0
        self.question: int | None = None

    def ask(self) -> int:
        """Open a question, and return its number; the one before it is closed."""
        self._questions += 1
        self._asked, self.question = self._clock(), self._questions
        return self._questions

    def answer(self, question: object) -> Verdict:
        """Return what a confirmation does; one that fires closes its question."""
        if self.are_queued:
            return "after cell"
        if self.question is None or question != self.question or self._clock() - self._asked > ANSWER:
            return "stale"
        if self._clock() - self._asked < TOO_SOON:
            return "too soon"
        self.question = None
        return "fire"

    def close(self) -> None:
        """Close the question: no answer to it counts any more."""
        self.question = None

    @property
    def are_queued(self) -> bool:
        """Whether a click that arrives now was made while a cell was running."""
        return self._cell_runs or self._clock() - self._cell_ended < AFTER_CELL

    def cell_begins(self) -> None:
        """Note that the kernel runs a cell: clicks queue up now."""
        self._cell_runs = True

    def cell_ends(self) -> None:
        """Note that the cell has ended: queued clicks come next."""
        self._cell_runs = False
        self._cell_ended = self._clock()
