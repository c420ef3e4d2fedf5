"""Which clicks count: none that had to wait, and none that came before its question could be read."""

from __future__ import annotations

import sys
import threading
import time
from typing import TYPE_CHECKING, Literal
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable

TOO_SOON = 0.5
"""Seconds after a question in which an answer is ignored: it was meant for what was there before."""
AFTER_CELL = 0.3
"""Seconds after the end of a cell in which clicks that queued up meanwhile arrive."""
LATE = 2.0
"""Seconds between click and kernel after which an answer is ignored: something kept it waiting."""
ANSWER = 60.0
"""Seconds for which a question stays."""

TURN = 0.0005
"""Seconds after which a thread that computes gives way to others while a question is open; by default it is 5 ms."""

Verdict = Literal["fire", "too soon", "late", "stale", "after cell"]


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

    def answer(self, question: object, after: object = None) -> Verdict:
        """Return what a confirmation does; one that fires closes its question.

        Parameters
        ----------
        question : int
            Its number.
        after : float, optional
            Seconds between the question and the click, in the browser.
        """
        if self.are_queued:
            return "after cell"
        if self.question is None or question != self.question or self._clock() - self._asked > ANSWER:
            return "stale"
        if self._clock() - self._asked < TOO_SOON:
            return "too soon"
        if isinstance(after, int | float) and self._clock() - self._asked - after > LATE:
            return "late"
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

    def cell_ends(self, *_: object) -> None:
        """Note that the cell has ended: queued clicks come next."""
        self._cells.ended = self._clock()


class Turns:
    """Lets threads take shorter turns while a question is open and while its cancel goes out.

    A click passes through five threads on its way to the request. Beside a cell that computes in Python, each waits for
    a turn. Where no thread waits, the length of a turn makes no difference.
    """

    def __init__(self) -> None:
        self._asking: WeakSet[object] = WeakSet()
        self._usual: float | None = None

    def shorten(self, reason: object) -> None:
        """Take short turns, until this reason for them is gone: an open question, or a cancel on its way."""
        self._asking.add(reason)
        if self._usual is None and (usual := sys.getswitchinterval()) > TURN:
            self._usual = usual
            sys.setswitchinterval(TURN)

    def restore(self, reason: object) -> None:
        """Take turns as before, if nothing else needs short ones and nobody has changed them meanwhile."""
        self._asking.discard(reason)
        if self._usual is not None and not self._asking:
            if abs(sys.getswitchinterval() - TURN) < TURN / 2:
                sys.setswitchinterval(self._usual)
            self._usual = None


turns = Turns()
