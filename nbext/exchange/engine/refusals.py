"""Refusals: codes and texts of the documented error tables."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


MANDATORY = -1102
MISMATCH = -2039


class Refusal(Exception):
    """A documented refusal.

    Parameters
    ----------
    code : int
        Stable code of the error table, for example ``-1121``.
    text : str
        The documented wording.
    """

    retry_after: int | None = None  # in seconds, if the refusal says when to try again

    def __init__(self, code: int, text: str) -> None:
        super().__init__(f"{code}: {text}")
        self.code = code
        self.text = text

    @property
    def body(self) -> dict[str, object]:
        """The answer's body."""
        return {"code": self.code, "msg": self.text}


class ReplaceFailed(Refusal):
    """A cancel-replace of which one half failed (-2021) or both did (-2022).

    Parameters
    ----------
    data : Mapping
        What happened to each half.
    is_partial : bool
        Whether one of them succeeded.
    retry_after : int, optional
        Seconds until the account may place an order again, if that is why.
    """

    def __init__(self, data: Mapping[str, object], *, is_partial: bool, retry_after: int | None = None) -> None:
        if is_partial:
            super().__init__(-2021, "Order cancel-replace partially failed.")
        else:
            super().__init__(-2022, "Order cancel-replace failed.")
        self._data = data
        self.retry_after = retry_after

    @property
    def body(self) -> dict[str, object]:
        """The answer's body, with both halves."""
        return {**super().body, "data": self._data}


def not_canceled(says: str = "CANCEL_REJECTED", code: int = -2011) -> Refusal:
    """Return the refusal of a cancel; the texts of -2011 vary (rule: unknown-order-text)."""
    return Refusal(code, says)


def not_amended(says: str) -> Refusal:
    """Return the refusal of an amendment."""
    return Refusal(-2038, says)


def mismatch(name: str, code: int) -> Refusal:
    """Return the refusal of two ids that do not belong together; `name` is the second one's."""
    if code == MISMATCH:
        return Refusal(code, "Client order ID is not correct for this order ID.")
    if code == MANDATORY:
        return mandatory(name)
    return Refusal(code, "Unknown order sent.")


def mandatory(name: str) -> Refusal:
    """Return the refusal for a parameter that should have been sent."""
    return Refusal(-1102, f"Mandatory parameter '{name}' was not sent, was empty/null, or malformed.")


def one_of(first: str, second: str) -> Refusal:
    """Return the refusal when neither of two alternative parameters was sent."""
    return Refusal(-1102, f"Param '{first}' or '{second}' must be sent, but both were empty/null!")


def neither(first: str, second: str, code: int) -> Refusal:
    """Return the refusal of a call without any id, by one of the codes that it may have."""
    return one_of(first, second) if code == MANDATORY else bad_combination(second)


def not_required(name: str) -> Refusal:
    """Return the refusal for a parameter that this kind of order does not take."""
    return Refusal(-1106, f"Parameter '{name}' sent when not required.")


def bad_combination(missing: str = "") -> Refusal:
    """Return the refusal of optional parameters that exclude each other, or of one `missing`."""
    advice = f" Recommendation: '{missing}' should also be sent." if missing else ""
    return Refusal(-1128, f"Combination of optional parameters invalid.{advice}")


def invalid(name: str) -> Refusal:
    """Return the refusal of a well-formed value that means nothing here."""
    return Refusal(-1130, f"Data sent for parameter '{name}' is not valid.")


def insufficient_balance() -> Refusal:
    """Return the refusal of a placement that the account cannot pay for."""
    return Refusal(-2010, "Account has insufficient balance for requested action.")


def duplicate_order() -> Refusal:
    """Return the refusal of a client id that an open order already uses."""
    return Refusal(-2010, "Duplicate order sent.")


class TooMuch(Refusal):
    """A broken rate limit; `retry_after` is in seconds (rule: too-many-requests)."""

    retry_after: int

    def __init__(self, code: int, text: str, retry_after: int) -> None:
        super().__init__(code, text)
        self.retry_after = retry_after
