"""Cancel on the way out, whatever happened inside: of a ``with`` block, or of the kernel."""

from __future__ import annotations

import atexit
import sys
from typing import TYPE_CHECKING, Self

from nbext.errors import NbextError

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pandas import DataFrame

    from nbext.cancel import Ask, Confirm, Job


class Guard:
    """Cancels a job's orders when its block ends, be it by its end, an error, an interrupt or ``sys.exit``.

    Made by `nbext.guard`. Consent is taken when the block begins.

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

    def __enter__(self) -> Self:
        if self._job.must_ask(yes=self._yes, confirm=self._confirm):
            self._job.obtain_consent(self._ask, before_cell=True)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        try:
            self.frame = self._job.run()
        except (NbextError, KeyboardInterrupt) as failed:
            self.frame = getattr(failed, "frame", None)
            raise failed from error


_at_exit: dict[str, Callable[[], None]] = {}


def set_at_exit(name: str, job: Job) -> None:
    """Cancel when this process ends in good order, as a kernel that is shut down or restarted does.

    The consent has been taken by then. A process that is ended by SIGTERM or SIGKILL, or by the machine, cancels
    nothing.

    Parameters
    ----------
    name : str
        Setting the same name again takes the place of what was set.
    job : Job
    """
    unset_at_exit(name)

    def cancel() -> None:
        try:
            job.run_at_exit()
        except (NbextError, KeyboardInterrupt) as error:
            sys.stderr.write(f"nbext: {type(error).__name__}: {error}\n")

    _at_exit[name] = cancel
    atexit.register(cancel)


def unset_at_exit(name: str | None = None) -> list[str]:
    """Take back what `set_at_exit` set, all of it where no name is given; give the names."""
    names = [each for each in _at_exit if name in {None, each}]
    for each in names:
        atexit.unregister(_at_exit.pop(each))
    return names
