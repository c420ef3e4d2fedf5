"""What a rehearsal finds: answers, claims that held or did not, and differences from RULES.md."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Unplayable(Exception):
    """The rehearsal cannot go on, and why."""


class Answer(NamedTuple):
    """One request and its answer, without secrets.

    Attributes
    ----------
    status : int
        HTTP status; 0 if no answer came.
    headers : Mapping
        Names in any case.
    body : object
        The parsed JSON; None if there is none.
    raw : str
        The body as it came, with secrets hidden; without an answer, why there is none.
    sent_at, received_at : int
        Milliseconds on the exchange's clock, as far as known.
    request : tuple
        Method, path and parameters, without timestamp and signature.
    """

    status: int
    headers: Mapping[str, str]
    body: Any
    raw: str
    sent_at: int
    received_at: int
    request: tuple[str, str, Mapping[str, Any]]

    @property
    def code(self) -> int | None:
        """The exchange's error code; None without one."""
        return self.body.get("code") if isinstance(self.body, dict) else None


class Claim(NamedTuple):
    """Something that nbext promises.

    Attributes
    ----------
    name : str
    held : bool or None
        None if nothing could be compared.
    compared : int
        How many values were compared.
    detail : str
        The first contradictions, or why nothing could be compared.
    """

    name: str
    held: bool | None
    compared: int
    detail: str = ""


class Difference(NamedTuple):
    """Where this exchange does something else than RULES.md says is usual.

    Attributes
    ----------
    rule : str
        Its heading in RULES.md.
    usual, found : str
        What the practice exchange does by default, and what this one did.
    raw : str
        The answer that shows it, with secrets hidden.
    """

    rule: str
    usual: str
    found: str
    raw: str
