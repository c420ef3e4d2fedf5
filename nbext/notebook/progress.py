"""The progress of a call with several requests: one line, shown after a second and removed at the end."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Self

from IPython.core.getipython import get_ipython
from IPython.display import display

from nbext.signals import let_through
from nbext.untrusted import is_terminal

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

_AFTER = 1.0
"""Seconds before it appears: most calls are over by then."""
_EVERY = 0.2
"""Seconds between two of its changes at least."""


class Progress:
    """A line such as ``Canceling: 12 of 50 requests answered``, in notebooks and terminals; elsewhere nothing."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._shown_at = 0.0
        self._line: Any = None
        self._given_up = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._try(self._clear)

    def __call__(self, done: int, total: int) -> None:
        """Show how many requests are answered, of how many."""
        self._try(self._tell, done, total)

    def _try(self, step: Callable[..., None], *counts: int) -> None:
        """Give up once something cannot be shown, as by a stream that is not Python's: that must not end the call."""
        if not self._given_up:
            try:
                step(*counts)
            except (AttributeError, TypeError, ValueError, OSError, RuntimeError) as error:
                self._given_up = True
                let_through(error)

    def _tell(self, done: int, total: int) -> None:
        now = time.monotonic()
        if done >= total:
            self._clear()
        elif now - self._began >= _AFTER and now - self._shown_at >= _EVERY:
            self._shown_at = now
            self._show(f"Canceling: {done} of {total} requests answered", done / total)

    def _show(self, said: str, share: float) -> None:
        if is_terminal():
            self._line = self._line or True
            sys.stdout.write(f"\r{said}\x1b[K")
            sys.stdout.flush()
            return
        if not hasattr(get_ipython(), "kernel"):
            return
        bar = f'<progress aria-label="{said}" value="{share:.2f}"></progress> {said}'
        data = {"text/plain": said, "text/html": bar}
        if self._line is None:
            self._line = display(data, raw=True, display_id=True)
        else:
            self._line.update(data, raw=True)

    def _clear(self) -> None:
        if self._line is None:
            return
        line, self._line = self._line, None
        if line is True:
            sys.stdout.write("\r\x1b[K")
            sys.stdout.flush()
        else:
            line.update({"text/plain": "", "text/html": ""}, raw=True)
