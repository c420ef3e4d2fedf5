"""Tell exceptions raised by signal handlers from failures."""

from __future__ import annotations

import signal


def from_a_signal(error: BaseException | None) -> BaseException | None:
    """Return the exception that a signal handler raised, such as a time limit, if that caused an error.

    It may come between any two instructions and is not a failure: code that handles the failures of a step has to let
    it pass, whatever its class. A time limit is often a TimeoutError, which is an OSError.
    """
    return _origin(error)[0]


def number_of(error: BaseException) -> int | None:
    """Return the number of the signal whose handler raised an exception; None if none did."""
    number = _origin(error)[1]
    # Python's own handler of an interrupt is not in the traceback.
    return signal.SIGINT if number is None and isinstance(error, KeyboardInterrupt) else number


def _origin(error: BaseException | None) -> tuple[BaseException | None, int | None]:
    numbers = range(1, signal.NSIG)  # valid_signals() takes ten times as long
    handlers = {getattr(signal.getsignal(number), "__code__", None): number for number in numbers}
    handlers.pop(None, None)
    while handlers and error is not None:
        step = error.__traceback__
        while step is not None:
            if (number := handlers.get(step.tb_frame.f_code)) is not None:
                return error, number
            step = step.tb_next
        error = error.__cause__ or error.__context__
    return None, None


def let_through(error: BaseException) -> None:
    """Raise an error again where it is what a signal's handler raised; else leave it to the step that caught it.

    For any step on the caller's thread that survives ``Exception``, ``OSError`` or ``TimeoutError``.
    """
    if from_a_signal(error) is not None:
        raise error
