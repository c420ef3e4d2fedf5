"""Find the orders of a call that no answer mentions, and search for their outcomes."""

from __future__ import annotations

import math
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from nbext import messages
from nbext.cancel.reads import look
from nbext.cancel.reconciliation import Reconciliation
from nbext.cancel.selection import CANCEL_ALL
from nbext.errors import NbextError, OutcomeUnknownError, RateLimitedError, RejectedError
from nbext.orders import FINAL, from_reports, identity, outcome, own_name, unique
from nbext.spot.answers import is_unseen, of_the_engine

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from nbext.cancel.call import Call
    from nbext.cancel.sending import Attempt
    from nbext.spot.client import SpotClient

# How the engine refuses a cancel-all, also when nothing is open (API docs, "Error codes").
_NOTHING_TO_CANCEL = frozenset({-2011, -1013})
# It may refuse ids that do not belong together in this way, as after an amendment.
_WRONG_PARAMETER = -1102
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


def find_out(call: Call, *, at_once: bool) -> bool:
    """Find the outcomes that no answer gave; with `at_once` only note which. Return whether the user interrupted."""
    if call.no_key is not None:
        call.searches = [None] * len(call.results)
        return False
    call.only_read.clear()
    if all(map(_is_clear, call.results)):  # as in nearly every call
        call.searches = [None] * len(call.results)
        return False
    ends = time.monotonic() + call.options.reconcile
    ended = ended_orders(call.results)
    searches = [_search(call, attempt, ended) for attempt in call.results]
    if at_once:
        call.searches = searches
        return False
    interrupted = False
    try:
        with call.client.until(ends):
            _disprove(call, ends)
            if call.lost:
                call.say(f"{messages.subject(call.lost)}: no clear answer; checking each order {call.place}")
                with suppress(NbextError):
                    call.client.measure_clock_offset()
                searches = [_search(call, attempt, ended) for attempt in call.results]  # which use the clock
        left = ends - time.monotonic()
        reconcile([each for each in searches if each is not None], seconds=left, say=call.say)
    except KeyboardInterrupt:
        interrupted = True
    for attempt, search in zip(call.results, searches, strict=True):
        if search is not None and _is_about_orders(attempt.error) and search.ended:
            attempt.reply, attempt.error = attempt.reply or [], None  # there was nothing left to cancel
            if attempt.request.path == CANCEL_ALL:
                call.only_read.add(attempt.request.symbol)
    call.searches = searches
    return interrupted


def reconcile(reconciliations: Sequence[Reconciliation], *, seconds: float, say: Callable[[str], None]) -> None:
    """Read until all is proven, or the time is up.

    Pauses grow, but none goes on beyond a moment from which a read proves more, nor into the end of the time: one read
    more comes before that.

    Parameters
    ----------
    reconciliations : sequence of Reconciliation
    seconds : float
        At most this long.
    say : callable
        Takes lines worth reading.
    """
    ends, pause, complained = time.monotonic() + seconds, _FIRST_PAUSE, False
    while pending := [each for each in reconciliations if not each.done]:
        began = time.monotonic()
        for each in pending:
            if time.monotonic() >= ends:
                return
            try:
                each.read(ends)
            except NbextError as error:
                if not complained and time.monotonic() < ends:
                    say(f"Read failed ({type(error).__name__}); still checking the orders.")
                    complained = True
        pending = [each for each in pending if not each.done]
        now = time.monotonic()
        due = min((each.due for each in pending), default=math.inf)
        wake = min(now + pause, max(now + _FIRST_PAUSE, due))
        if wake >= ends:
            wake = due if due < ends else ends - max(_FIRST_PAUSE, 2 * (now - began))
        if not pending or wake <= now:
            return
        time.sleep(wake - now)
        pause = min(pause * 1.5, _LONGEST_PAUSE)


def ended_orders(results: Iterable[Attempt]) -> frozenset[tuple[str, int]]:
    """Return the orders that have ended according to any answer."""
    rows = (row for attempt in results for row in from_reports(attempt.reply or ()) if row.outcome in FINAL)
    return frozenset(ident for row in rows if (ident := identity(row.order)) is not None)


def _search(call: Call, attempt: Attempt, ended: frozenset[tuple[str, int]]) -> Reconciliation | None:
    """Search for the outcomes of orders that were seen open and have not ended according to any answer."""
    search = partial(Reconciliation, call.client, attempt, call.options.recv_window, call.options.latency, ended=ended)
    if isinstance(attempt.error, OutcomeUnknownError):
        return search()
    rows = [] if attempt.error is not None else from_reports(attempt.reply or ())
    told = {own_name(row.order) for row in rows if row.outcome in FINAL}  # a read may have listed one without its id
    left = [
        row
        for row in (*rows, *(attempt.request.seen or ()))
        if (ident := identity(row.order)) not in ended
        and (ident is not None or own_name(row.order) not in told - {None})
    ]
    if not left:
        return None
    return search(missing=unique(left, amended=True), unseen=not attempt.request.path or is_unseen(attempt.error))


def _disprove(call: Call, ends: float) -> None:
    """Drop refusals of cancel-all that only mean that nothing was open.

    Two reads have to prove that, the second begun once everything open at the refusal had to be visible. If the user
    looked before, each order is searched for instead.
    """
    late_enough = time.monotonic() + call.options.latency.lag
    if late_enough > ends:
        return
    refused = [attempt for attempt in call.results if _may_mean_nothing_open(attempt)]
    left = [attempt for attempt in refused if _lists_nothing(call.client, attempt.request.symbol)]
    if left:
        time.sleep(max(0.0, late_enough - time.monotonic()))
    for attempt in left:
        if _lists_nothing(call.client, attempt.request.symbol):
            attempt.reply, attempt.error = [], None
            call.only_read.add(attempt.request.symbol)


def _lists_nothing(client: SpotClient, symbol: str) -> bool:
    try:
        return not look(client, [symbol]).orders
    except NbextError:
        return False


def _is_clear(attempt: Attempt) -> bool:
    """Return whether an answer gives all outcomes."""
    return (
        attempt.error is None
        and attempt.request.seen is None
        and all(
            outcome(order) in FINAL for report in attempt.reply or () for order in report.get("orderReports", (report,))
        )
    )


def _may_mean_nothing_open(attempt: Attempt) -> bool:
    refused = isinstance(attempt.error, RejectedError) and attempt.error.code in _NOTHING_TO_CANCEL
    return refused and attempt.request.path == CANCEL_ALL and not attempt.request.seen


def _is_about_orders(error: NbextError | None) -> bool:
    """Return whether a refusal is about the orders (not found, or not cancelable), whatever its text."""
    return (
        isinstance(error, RejectedError)
        and not isinstance(error, RateLimitedError)
        and (error.code == _WRONG_PARAMETER or of_the_engine(error.code))
    )
