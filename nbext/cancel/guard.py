"""Cancel on the way out, whatever happened inside: of a ``with`` block, or of the kernel."""

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
    """Cancels a job's orders when its block ends, be it by its end, an error, an interrupt or ``sys.exit``.

    Made by `nbext.guard`. Consent is taken when the block begins. A forked child that leaves the block cancels nothing.

    Attributes
    ----------
    frame : DataFrame or None
        What became of each order, once the block has ended.
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
            return  # whoever made it is still inside
        try:
            self.frame = self._job.run()
        except BaseException as failed:
            self.frame = getattr(failed, "frame", None)
            if isinstance(failed, NbextError | KeyboardInterrupt):
                raise failed from error
            raise


_at_exit: dict[tuple[str, str], Callable[[], None]] = {}


def set_at_exit(symbol: str, job: Job, prefix: str = "") -> None:
    """Cancel when this process ends in good order, as a kernel that is shut down or restarted does.

    The consent has been taken by then. A process that is ended by SIGTERM or SIGKILL, or by the machine, cancels
    nothing.

    Parameters
    ----------
    symbol : str
    job : Job
        Takes the place of what was set for the same symbol and prefix; other prefixes are guarded beside it.
    prefix : str, optional
        Of the client order ids that it takes.
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
    """Say what is guarded: symbols, and the prefix where there is one."""
    return [f"{symbol} {prefix}*" if prefix else symbol for symbol, prefix in _at_exit]


def unset_at_exit(symbol: str | None = None) -> list[str]:
    """Take back what `set_at_exit` set, all of it where no symbol is given; give the symbols."""
    found = [each for each in _at_exit if symbol in {None, each[0]}]
    for each in found:
        atexit.unregister(_at_exit.pop(each))
    return list(dict.fromkeys(symbol for symbol, _ in found))
