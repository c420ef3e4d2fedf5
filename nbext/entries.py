"""What a journal holds of each request: what was asked, what came of it, and how both stand in a row.

Damaged rows are read as far as possible.
"""

from __future__ import annotations

import json
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Self, TypeVar

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

T = TypeVar("T")
Row = tuple[Any, ...]

_INTENT_COLUMNS = 12
# They are made when a request is signed, after its intent is recorded: who passes them passes what must not be kept.
NEVER_KEPT = frozenset({"signature", "timestamp"})

INTEND = """
    INSERT INTO intents (id, call_id, sent_at, deadline, profile, host, key, account, method, path, params, seen)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
CONCLUDE = """
    UPDATE intents
    SET concluded_at = coalesce(?, concluded_at), left_at = coalesce(?, left_at),
        http_status = coalesce(?, http_status), error = ?, outcomes = ?, answer = coalesce(?, answer)
    WHERE id = ?
"""
ENTRIES = """
    SELECT number, id, call_id, sent_at, deadline, profile, host, key, account, method, path, params, seen,
           left_at, concluded_at, http_status, error, outcomes, answer IS NOT NULL, claimed_by
    FROM intents
"""


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that is about to be sent.

    Attributes
    ----------
    id : str
        Unique, made by the caller.
    call_id : str
        The same for all requests of a call.
    sent_at : int
        Milliseconds by the exchange's clock, as far as known: the request does not leave before.
    deadline : int
        The same clock: from then on the exchange can no longer carry it out, however late it left.
    profile, host, method, path : str
        Where it goes.
    params : mapping of str to str
        Wire parameters, without timestamp and signature.
    seen : sequence of mappings
        Orders known to be open before: ``symbol``, ``orderId``, ``origClientOrderId``.
    key : str
        The last characters of the API key.
    account : str
        Fingerprint of the API key, as `Journal.intend` made it.
    """

    id: str
    call_id: str
    sent_at: int
    deadline: int
    profile: str
    host: str
    method: str
    path: str
    params: Mapping[str, str]
    seen: Sequence[Mapping[str, object]] = ()
    key: str = ""
    account: str = ""

    def row(self, account: str) -> Row:
        """Return the values of `INTEND`, with the account unless it has one."""
        return (
            self.id,
            self.call_id,
            self.sent_at,
            self.deadline,
            self.profile,
            self.host,
            self.key,
            self.account or account,
            self.method,
            self.path,
            _json(self.params),
            _json(self.seen),
        )


@dataclass(frozen=True, slots=True)
class Conclusion:
    """The result of a request.

    Attributes
    ----------
    intent_id : str
    http_status : int or None
        None if no answer came.
    answer : bytes or None
        The raw body, scrubbed.
    outcomes : sequence of mappings
        ``symbol``, ``orderId`` and ``outcome``.
    error : str
        What went wrong; empty if nothing did.
    left_at : int or None
        When the request left for the last time, in milliseconds by the exchange's clock. Earlier attempts got
        answers which prove that the matching engine never saw them.
    is_final : bool
        False for what is known so far about a request to reconcile later.
    """

    intent_id: str
    http_status: int | None
    answer: bytes | None
    outcomes: Sequence[Mapping[str, object]]
    error: str = ""
    left_at: int | None = None
    is_final: bool = True

    def row(self, now: int) -> Row:
        """Return the values of `CONCLUDE`."""
        return (
            now if self.is_final else None,
            self.left_at,
            self.http_status,
            # An exchange's text may hold half a surrogate pair, which UTF-8, and so SQLite, cannot store.
            self.error.encode("utf-8", "backslashreplace").decode(),
            _json(self.outcomes),
            # Level 1: an answer is JSON and shrinks to a tenth either way, and the user waits for the frame.
            None if self.answer is None else zlib.compress(self.answer, 1),
            self.intent_id,
        )


@dataclass(frozen=True, slots=True)
class Entry:
    """An intent and its result.

    Attributes
    ----------
    intent : Intent
    left_at : int or None
        As in `Conclusion`; None if the process ended before that was recorded.
    concluded_at : int or None
        Milliseconds UTC; None while nothing is known.
    http_status : int or None
        None if no answer came.
    error : str
        Empty when there was none.
    outcomes : sequence of mappings
        ``symbol``, ``orderId`` and ``outcome``.
    has_answer : bool
        Whether `Journal.answer` has the raw answer.
    claimed_by : str or None
        Who is reconciling it, has concluded it, or was killed over it.
    is_damaged : bool
        Whether some of it could not be read; the rest is as recorded.
    """

    intent: Intent
    left_at: int | None
    concluded_at: int | None
    http_status: int | None
    error: str
    outcomes: Sequence[Mapping[str, object]]
    has_answer: bool
    claimed_by: str | None
    is_damaged: bool = False

    @classmethod
    def from_row(cls, row: Row) -> Self:
        """Return a row of `ENTRIES`, without its number, as an entry. Damaged fields are left out."""
        flaws: list[str] = []

        def take(value: object, kind: type[T], otherwise: T) -> T:
            if isinstance(value, kind):
                return value
            flaws.append(kind.__name__)
            return otherwise

        def number(value: object) -> int | None:
            return None if value is None else take(value, int, 0)

        def document(value: object, kind: type[T]) -> T:
            try:
                return take(json.loads(take(value, str, "")), kind, kind())
            except (ValueError, RecursionError):
                flaws.append("json")
                return kind()

        def orders(value: object) -> tuple[Mapping[str, object], ...]:
            return tuple(take(each, dict, {}) for each in document(value, list))

        id_, call_id, sent_at, deadline, profile, host, key, account, method, path, params, seen = row[:_INTENT_COLUMNS]
        left_at, concluded_at, http_status, error, outcomes, has_answer, claimed_by = row[_INTENT_COLUMNS:]
        intent = Intent(
            id=take(id_, str, ""),
            call_id=take(call_id, str, ""),
            sent_at=take(sent_at, int, -1),
            deadline=take(deadline, int, -1),
            profile=take(profile, str, ""),
            host=take(host, str, ""),
            method=take(method, str, ""),
            path=take(path, str, ""),
            params={name: take(value, str, "") for name, value in document(params, dict).items()},
            seen=orders(seen),
            key=take(key, str, ""),
            account=take(account, str, ""),
        )
        return cls(
            intent,
            number(left_at),
            number(concluded_at),
            number(http_status),
            take(error, str, ""),
            orders(outcomes),
            bool(has_answer),
            None if claimed_by is None else take(claimed_by, str, ""),
            is_damaged=bool(flaws),
        )


def _json(document: object) -> str:
    return json.dumps(document, separators=(",", ":"))
