"""What a call writes into the journal: its requests before they are sent, and what came of each after."""

from __future__ import annotations

import os
import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nbext import journal, wording
from nbext.errors import NbextError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbext.rows import Row
    from nbext.select import Target
    from nbext.send import Sent
    from nbext.settle import Limits
    from nbext.spot import SpotClient

_journals: dict[str, journal.Journal] = {}
_reported: list[bool] = []


def current() -> journal.Journal:
    """Give the journal that the environment names now."""
    named = os.environ.get("NBEXT_JOURNAL", "")
    if named not in _journals:
        _journals[named] = journal.Journal.from_environment()
    return _journals[named]


class Record:
    """What a call writes into the journal."""

    def __init__(
        self, client: SpotClient, call_id: str, targets: Sequence[Target], recv_window: str | None, delays: Limits
    ) -> None:
        self._journal = current()
        self._reason = ""
        self._ids = [secrets.token_hex(8) for _ in targets]
        self._of = {id(target): intent for target, intent in zip(targets, self._ids, strict=True)}
        if not targets:
            return
        sent_at = time.time_ns() // 1_000_000
        good_for = float(recv_window or 5000) + delays.engine * 1000
        self._reason = self._journal.intend(
            [
                journal.Intent(
                    id=intent,
                    call_id=call_id,
                    sent_at=sent_at,
                    deadline=sent_at + round(good_for),
                    profile=client.profile,
                    host=client.host,
                    method="DELETE",
                    path=target.path,
                    params={name: str(value) for name, value in wire.items()},
                    seen=[named(row) for row in target.seen or ()],
                )
                for intent, target, wire in zip(
                    self._ids,
                    targets,
                    ({**target.params, **({"recvWindow": recv_window} if recv_window else {})} for target in targets),
                    strict=True,
                )
            ]
        )

    def conclude(self, known: Iterable[tuple[Sent, Sequence[Row]]]) -> None:
        """Write the answers and the outcomes of requests, in one commit.

        Whatever ends the process before leaves intents that are open, which is true, and can be settled later.
        """
        if self._reason:
            return
        self._reason = self._journal.conclude_all(
            [
                journal.Conclusion(
                    self._of[id(sent.target)],
                    sent.http_status,
                    sent.answer,
                    [{**named(row), "outcome": row.outcome} for row in rows],
                    "" if sent.error is None else str(sent.error),
                )
                for sent, rows in known
                if id(sent.target) in self._of
            ]
        )

    def report(self, say: Callable[[str], None]) -> None:
        """Say what was not recorded, and, once in a process, what earlier calls left open."""
        if self._reason and self._journal.path is not None:
            say(f"Not recorded in the journal: {self._reason}")
        if not _reported:
            _reported.append(True)
            with suppress(NbextError):
                unsettled = self._journal.unsettled(time.time_ns() // 1_000_000)
                if unsettled:
                    say(
                        f"{wording.count(len(unsettled), 'earlier cancel')} without a recorded outcome: "
                        "see %cancel_log, or run %cancel_log --reconcile."
                    )


def named(row: Row) -> dict[str, object]:
    """Name an order: symbol and ids."""
    field = row.order.get
    return {
        "symbol": field("symbol"),
        "orderId": field("orderId"),
        "origClientOrderId": field("origClientOrderId"),
    }


def close() -> None:
    """Close the journals, and let what earlier calls left open be reported anew."""
    while _journals:
        _journals.popitem()[1].close()
    _reported.clear()
