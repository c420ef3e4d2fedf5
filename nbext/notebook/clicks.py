"""Which clicks count: none that queued up behind a cell, none that came before its question could be read."""

from __future__ import annotations

import threading
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
        self._asked = -float("inf")
        self._cells = threading.local()
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
        """Whether a click that arrives now, on this thread, waited for a cell. Beside the cell none has to wait."""
        return self._clock() - getattr(self._cells, "ended", -float("inf")) < AFTER_CELL

    def cell_begins(self) -> None:
        """Note that this thread runs a cell: the clicks that it is to take queue up now."""
        self._cells.ended = float("inf")

    def cell_ends(self) -> None:
        """Note that the cell has ended: queued clicks come next."""
        self._cells.ended = self._clock()
