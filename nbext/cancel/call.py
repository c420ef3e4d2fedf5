"""The state of one call to cancel, from its first request to its last message."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from nbext import messages, profiles
from nbext.cancel.selection import CANCEL_ALL
from nbext.errors import ConfigurationError, NbextError, OutcomeUnknownError
from nbext.orders import identity, legs_without_report

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pandas import DataFrame

    from nbext.cancel.reconciliation import Reconciliation
    from nbext.cancel.recording import Recorder
    from nbext.cancel.selection import Options, Selection
    from nbext.cancel.sending import Attempt, Sending
    from nbext.orders import Row
    from nbext.spot.client import SpotClient


class Voice:
    """A callback for messages. If it fails once, it is not called again, and the call goes on.

    Parameters
    ----------
    say : callable or None
        Takes a line; None if nothing shows it.
    """

    def __init__(self, say: Callable[[str], None] | None) -> None:
        self._say = say
        self.is_heard = say is not None
        self.failed = False

    def __call__(self, line: str) -> None:
        """Say a line. An exception of the callback is raised, once."""
        if self.failed or self._say is None:
            return
        try:
            self._say(line)
        except BaseException as error:
            self.failed = not isinstance(
                error, KeyboardInterrupt
            )  # which may come at any time, and is not about this line
            raise


@dataclass(slots=True)
class Call:
    """One call, from its first request to its last message.

    Each step fills in what the next one needs, so that an interrupted call continues where it was.

    Attributes
    ----------
    id : str
    client : SpotClient
    selection : Selection
    options : Options
    say : Voice
    requested : list of str
        Its symbols.
    sending : Sending
    recorder : Recorder
    meant : frozenset or None
        The orders that were chosen, by symbol and id; None where all were.
    vanished : list of Attempt
        Given orders that were no longer open: nothing to send.
    began : float
        Monotonic time.
    results : list of Attempt
        The result of each request, once all have ended.
    searches : list of Reconciliation or None
        For each of `results`, the search for outcomes that its answer did not give.
    rows : list of Row
    known, unknown : list of tuple
        The requests whose orders are all known, and the others, each with its rows, for the journal.
    failed : list of Attempt
        The requests that went wrong.
    failures : dict of str to NbextError
        What went wrong, by symbol: the first, or the first whose outcome is not known.
    only_read : set of str
        Symbols on which a cancel was refused, and only reads show that nothing was open.
    recorded, told : bool
        Whether the outcomes are in the journal, and shown to the user.
    table : DataFrame or None
    no_table : Exception or None
        Why it could not be built.
    """

    id: str
    client: SpotClient
    selection: Selection
    options: Options
    say: Voice
    requested: list[str]
    sending: Sending
    recorder: Recorder
    meant: frozenset[tuple[str, int] | None] | None
    vanished: list[Attempt]
    began: float = field(default_factory=time.monotonic)
    results: list[Attempt] = field(default_factory=list)
    searches: list[Reconciliation | None] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)
    known: list[tuple[Attempt, Sequence[Row]]] = field(default_factory=list)
    unknown: list[tuple[Attempt, Sequence[Row]]] = field(default_factory=list)
    failed: list[Attempt] = field(default_factory=list)
    failures: dict[str, NbextError] = field(default_factory=dict)
    only_read: set[str] = field(default_factory=set)
    recorded: bool = False
    told: bool = False
    table: DataFrame | None = None
    no_table: Exception | None = None

    @property
    def subject(self) -> str:
        """The symbols, in words."""
        return self.selection.subject

    @property
    def place(self) -> str:
        """Profile and host, in words."""
        return messages.place(self.client, is_live=profiles.is_live(self.client.base_url))

    @property
    def beyond(self) -> int:
        """How many orders were canceled that had not been chosen: with the rest of their list."""
        if self.meant is None:
            return 0
        return sum(row.outcome == "canceled" and identity(row.order) not in self.meant for row in self.rows)

    @property
    def lost(self) -> list[str]:
        """The symbols on which an answer was lost."""
        lost = (each.request.symbol for each in self.results if isinstance(each.error, OutcomeUnknownError))
        return list(dict.fromkeys(lost))

    def end_sending(self) -> None:
        """Collect the result of each request. From now on nothing is sent."""
        results = self.sending.results()
        if any(attempt.has_left for attempt in results):
            self.sending.name_unsendable(results)
        self.results = results + self.vanished

    @property
    def no_key(self) -> ConfigurationError | None:
        """The error of a client without a usable key, which is that of every request: nothing was sent."""
        errors = (attempt.error for attempt in self.results)
        return next((error for error in errors if isinstance(error, ConfigurationError)), None)

    @property
    def facts(self) -> dict[str, object]:
        """What the frame's ``attrs["nbext"]`` says about the call."""
        # Orders may have been placed between the look, if any, and a cancel-all whose answer was lost.
        guessed = any(
            attempt.request.path == CANCEL_ALL
            for attempt in self.results
            if isinstance(attempt.error, OutcomeUnknownError)
        )
        return {
            "call_id": self.id,
            "complete": not self.failures and not guessed and not self.only_read,
            "beyond": self.beyond,
            "legs_without_report": sum(legs_without_report(attempt.reply or ()) for attempt in self.results),
        }
