"""What may be believed about the orders, one class for each answer.

::

    NbextError
      ConfigurationError     nothing was sent: a key, an endpoint or an argument is at fault
      NotSentError           no connection; the orders are untouched
      RejectedError          the exchange refused; the message says whether the orders are untouched
        RateLimitedError     it refuses for now: wait ``retry_after`` seconds
      IncompleteError        all is known, and not everything asked for is canceled
      OutcomeUnknownError    it was sent, and what became of it is not known
    Interrupted              a KeyboardInterrupt, not an NbextError: Ctrl-C after something was sent

Every message is one line that ends with what to do next. None holds a secret key, a signature or a signed URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame


class NbextError(Exception):
    """Everything that nbext raises on purpose."""

    frame: DataFrame | None = None
    """What is known about each order so far, in the columns of every other result; None when nothing is."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))  # it may quote the exchange, and is shown in terminals

    def _render_traceback_(self) -> list[str]:
        """Show IPython one line: the reader's orders are at stake, our call stack is not."""
        return [f"{type(self).__name__}: {self}"]


class ConfigurationError(NbextError):
    """Nothing was sent: a key, an endpoint or an argument is at fault."""


class NotSentError(NbextError):
    """No connection, or no answer to a mere question: the orders are untouched."""


class RejectedError(NbextError):
    """The exchange, or something in front of it, refused.

    The orders are untouched where it cannot have got as far as the matching engine. A refusal by the engine itself does
    not prove that no order was changed: then ``frame`` has each order that was seen before as it was read afterwards.

    Attributes
    ----------
    code : int or None
        The exchange's error code, such as -2015. None when the answer held none (a firewall's page, a redirect).
    msg : str
        The exchange's text beside the code; empty without a code.
    http_status : int or None
        Status of the answer.
    """

    def __init__(self, message: str, *, code: int | None = None, msg: str = "", http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.msg = msg
        self.http_status = http_status


class RateLimitedError(RejectedError):
    """429 or 418: the exchange refuses this address for now.

    Attributes
    ----------
    retry_after : float or None
        Seconds to wait before anything else goes to that host; None when it did not say.
    """

    def __init__(
        self,
        message: str,
        *,
        code: int | None = None,
        msg: str = "",
        http_status: int | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message, code=code, msg=msg, http_status=http_status)
        self.retry_after = retry_after


class _PartialError(NbextError):
    """A call that ended with some of its orders, or some of its requests, not as asked."""

    def __init__(
        self,
        message: str,
        *,
        frame: DataFrame | None = None,
        failures: Mapping[str, NbextError] | None = None,
    ) -> None:
        super().__init__(message)
        self.frame = frame
        self.failures = dict(failures or {})


class IncompleteError(_PartialError):
    """All is known, and not everything asked for is canceled.

    Attributes
    ----------
    frame : DataFrame or None
        One row per order, each with its ``outcome``.
    failures : dict of str to NbextError
        What went wrong, by symbol.
    """


class OutcomeUnknownError(_PartialError):
    """It was sent, and what became of it is not known: look before doing anything else.

    Attributes
    ----------
    frame : DataFrame or None
        One row per order that is known of, each with its ``outcome``.
    failures : dict of str to NbextError
        What went wrong, by symbol.
    """


class Interrupted(KeyboardInterrupt):
    """The user interrupted a call that had begun to send.

    A `KeyboardInterrupt`, so that it ends even a loop that handles `NbextError`.

    Attributes
    ----------
    frame : DataFrame or None
        What is known of each order so far.
    failures : dict of str to NbextError
        What was not sent, or is not known, by symbol.
    """

    def __init__(self, message: str, *, frame: DataFrame | None, failures: Mapping[str, NbextError]) -> None:
        super().__init__(printable(message))
        self.frame = frame
        self.failures = dict(failures)

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]
