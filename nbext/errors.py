"""The error tree, sorted by what may be believed about the orders.

::

    NbextError
      ConfigurationError     nothing was sent: key, endpoint or argument
      NotSentError           no connection; no orders were changed
      RejectedError          the exchange refused; the message says whether any orders were changed
        RateLimitedError     refused for now; try again after ``retry_after`` seconds
      IncompleteError        known, and not everything asked for is canceled
      OutcomeUnknownError    sent, and not everything could be proven
    Interrupted              a KeyboardInterrupt, not an NbextError: Ctrl-C during a call

Every message is one line that ends with what to do next. None holds a secret key, a signature or a signed URL.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbext.untrusted import encodable, printable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pandas import DataFrame


DOCTOR = "; see %nbext --doctor"
"""Ends the advice of a message where checking the whole set-up finds out more than the message can say."""


class NbextError(Exception):
    """Base class of the errors that nbext raises."""

    frame: DataFrame | None = None
    """What is known about each order so far, in the usual columns; None when nothing is known."""

    def __init__(self, message: str = "") -> None:
        super().__init__(printable(message))  # it may quote the exchange, and is shown in terminals

    def _render_traceback_(self) -> list[str]:
        """Show IPython one line: the user needs the message, not our call stack."""
        return [encodable(f"{type(self).__name__}: {self}")]


class ConfigurationError(NbextError):
    """Nothing was sent: a key, an endpoint or an argument is invalid."""


class NotSentError(NbextError):
    """No connection, or no answer to a read: no orders were changed."""


class RejectedError(NbextError):
    """The exchange, or something in front of it, refused.

    A request that never reached the matching engine changed no orders. A refusal by the engine itself does not prove
    that: then ``frame`` has each order seen before, as it was read afterwards.

    Attributes
    ----------
    code : int or None
        The exchange's error code, such as -2015. None when the answer has none (a firewall's page, a redirect).
    msg : str
        The exchange's text for the code; empty without a code.
    http_status : int or None
        Status of the answer.
    """

    def __init__(self, message: str, *, code: int | None = None, msg: str = "", http_status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.msg = msg
        self.http_status = http_status


class RateLimitedError(RejectedError):
    """429 or 418: the exchange refuses requests from this address for now.

    Attributes
    ----------
    retry_after : float or None
        Seconds to wait before sending anything else to that host; None when the exchange did not say.
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
    """A call in which some orders, or some requests, did not end as asked."""

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
    """Everything is known, and not everything asked for is canceled.

    Attributes
    ----------
    frame : DataFrame or None
        One row per order, each with its ``outcome``.
    failures : dict of str to NbextError
        What went wrong, by symbol.
    """


class OutcomeUnknownError(_PartialError):
    """Sent, and not everything could be proven: check what is open first.

    Attributes
    ----------
    frame : DataFrame or None
        One row per known order, each with its ``outcome``.
    failures : dict of str to NbextError
        What went wrong, by symbol.
    """


class Interrupted(KeyboardInterrupt):
    """The user interrupted a call. The message says what had been sent.

    A `KeyboardInterrupt`, so that it ends even a loop that handles `NbextError`.

    Attributes
    ----------
    frame : DataFrame or None
        What is known of each order so far; None if nothing had been sent.
    failures : dict of str to NbextError
        What was not sent or is not known, by symbol.
    """

    def __init__(self, message: str, *, frame: DataFrame | None, failures: Mapping[str, NbextError]) -> None:
        super().__init__(printable(message))
        self.frame = frame
        self.failures = dict(failures)

    def _render_traceback_(self) -> list[str]:
        return [encodable(f"Interrupted: {self}")]
