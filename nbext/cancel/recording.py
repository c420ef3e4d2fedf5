"""What a call writes into the journal: its requests before they are sent, and the outcome of each afterwards."""

from __future__ import annotations

import secrets
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nbext import messages, session
from nbext.cancel import notices
from nbext.entries import Conclusion, Intent
from nbext.errors import NbextError
from nbext.orders import named
from nbext.spot.parameters import DEFAULT_RECV_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbext.cancel.selection import CancelRequest, Options
    from nbext.cancel.sending import Attempt
    from nbext.orders import Row
    from nbext.spot.client import SpotClient


class Recorder:
    """What a call writes into the journal.

    Parameters
    ----------
    client : SpotClient
    call_id : str
    requests : sequence of CancelRequest
    options : Options
    last_moment : float
        Monotonic time after which this call sends nothing. It bounds what a killed process can have sent, so that the
        outcome can be found later.
    """

    def __init__(
        self,
        client: SpotClient,
        call_id: str,
        requests: Sequence[CancelRequest],
        options: Options,
        *,
        last_moment: float,
    ) -> None:
        self._journal = session.journal()
        self._reason = ""
        self._of = {id(request): secrets.token_hex(8) for request in requests}
        now = client.now()
        sending = max(0.0, last_moment - time.monotonic())
        good_for = float(options.recv_window or DEFAULT_RECV_WINDOW) + (sending + options.latency.engine) * 1000
        self._reason = self._journal.intend(
            [
                Intent(
                    id=self._of[id(request)],
                    call_id=call_id,
                    sent_at=now,
                    deadline=now + round(good_for),
                    profile=client.profile,
                    host=client.host,
                    method="DELETE",
                    path=request.path,
                    params={
                        **{name: str(value) for name, value in request.params.items() if value is not None},
                        **({"recvWindow": options.recv_window} if options.recv_window else {}),
                    },
                    seen=[_as_seen(row) for row in request.seen or ()],
                    key=client.key_hint,
                )
                for request in requests
            ],
            client.fingerprint,
        )

    def conclude(
        self, known: Iterable[tuple[Attempt, Sequence[Row]]], unknown: Iterable[tuple[Attempt, Sequence[Row]]] = ()
    ) -> None:
        """Record the answers and the outcomes of requests, in one commit.

        If the process ends before, the intents stay open, which is true, and can be reconciled later.

        Parameters
        ----------
        known : iterable of tuple
            Requests whose orders are all known, and these.
        unknown : iterable of tuple
            Requests that stay open, and what is known about their orders so far.
        """
        if self._reason:
            return
        self._reason = self._journal.conclude_all(
            [
                Conclusion(
                    self._of[id(attempt.request)],
                    attempt.http_status,
                    attempt.answer,
                    [{**named(row), "outcome": row.outcome} for row in rows],
                    "" if attempt.error is None else str(attempt.error),
                    left_at=attempt.stamp if attempt.has_left else None,
                    is_final=is_final,
                )
                for group, is_final in ((known, True), (unknown, False))
                for attempt, rows in group
                if id(attempt.request) in self._of
            ]
        )

    @property
    def unrecorded(self) -> str:
        """A line that says why this call was not recorded; empty if it was, or if the journal is off."""
        return f"Not recorded in the journal: {self._reason}" if self._reason and self._journal.path is not None else ""

    def report(self, say: Callable[[str], None]) -> None:
        """Say what was not recorded and, once per process, that earlier cancels have no recorded outcome."""
        if self.unrecorded:
            say(self.unrecorded)
        if not session.has_user:
            return
        notices.tell(say)
        if not session.unfinished_reported:
            session.unfinished_reported = True
            with suppress(NbextError):
                number = self._journal.count_open(before=time.time_ns() // 1_000_000)
                if number:
                    have = "has" if number == 1 else "have"
                    say(
                        f"{messages.count(number, 'earlier cancel')} {have} no recorded outcome: "
                        "see %cancel_log, or run %cancel_log --reconcile."
                    )


def _as_seen(row: Row) -> dict[str, object]:
    """Return an order's symbol and ids, and its quantity, which only an amendment lowers, with the id."""
    quantity = row.order.get("origQty")
    return {**named(row), "origQty": quantity} if isinstance(quantity, str) else named(row)
