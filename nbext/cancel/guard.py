"""Cancel on the way out of a ``with`` block, or of the kernel, whatever happened inside."""

from __future__ import annotations

import atexit
import os
import sys
from typing import TYPE_CHECKING, Self

from nbext.errors import NbextError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pandas import DataFrame

    from nbext.cancel.consent import Ask, Confirm
    from nbext.cancel.job import Job


class Guard:
    """Cancel a job's orders when its block ends: normally, with an error, an interrupt or ``sys.exit``.

    Made by `nbext.guard`. Consent is given when the block begins. A forked child that leaves the block cancels nothing.

    Attributes
    ----------
    frame : DataFrame or None
        The result, once the block has ended.
    """

    def __init__(self, job: Job, *, yes: bool, confirm: Confirm = "live", ask: Ask | None) -> None:
        self.frame: DataFrame | None = None
        self._job = job
        self._yes = yes
        self._confirm = confirm
        self._ask = ask
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        self._job.agree(self._ask, yes=self._yes, confirm=self._confirm, before_cell=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if os.getpid() != self._pid:
            return  # the parent is still inside
        try:
            self.frame = self._job.run()
        except BaseException as failed:
            self.frame = getattr(failed, "frame", None)
            if isinstance(failed, NbextError | KeyboardInterrupt):
                raise failed from error
            raise


_at_exit: dict[tuple[str, str], Callable[[], None]] = {}


def set_at_exit(symbol: str, job: Job, prefix: str = "") -> None:
    """Cancel when this process ends normally, as a kernel does that is shut down or restarted.

    Consent has been given by then. A process that is ended by SIGTERM or SIGKILL, or by the machine, cancels
    nothing.

    Parameters
    ----------
    symbol : str
    job : Job
        Replaces what was set for the same symbol and prefix; other prefixes stay guarded.
    prefix : str, optional
        Of the client order ids that it cancels.
    """
    if (symbol, prefix) in _at_exit:
        atexit.unregister(_at_exit.pop((symbol, prefix)))

    mine = os.getpid()

    def cancel() -> None:
        if os.getpid() != mine:
            return  # a forked child ends, and the guarded process does not
        try:
            job.run_at_exit()
        except (NbextError, KeyboardInterrupt) as error:
            sys.stderr.write(f"nbext: {type(error).__name__}: {error}\n")

    _at_exit[symbol, prefix] = cancel
    atexit.register(cancel)


def guarded() -> list[str]:
    """Return what is guarded: symbols, each with its prefix where there is one."""
    return [f"{symbol} {prefix}*" if prefix else symbol for symbol, prefix in _at_exit]


def unset_at_exit(symbol: str | None = None) -> list[str]:
    """Undo `set_at_exit` for a symbol, or for all where none is given; return the symbols."""
    found = [each for each in _at_exit if symbol in {None, each[0]}]
    for each in found:
        atexit.unregister(_at_exit.pop(each))
    return list(dict.fromkeys(symbol for symbol, _ in found))
