"""The rules for what was not told: only what time or reads did not allow may be missing or unknown.

How much time a call had is taken from the wire: its reconciling began with the first read after the last cancel. That
reads came is taken from there, too: each of them was answered, soon, and with what was asked for. What a busy machine
took from the call is measured meanwhile (`Pulse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .case import CUT_SHORT, FINAL, MOMENT, TIME, identity, reports
from .record import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .case import Case
    from .proxy import Talk
    from .record import Id, Truth

CLOCK_DOUBT = 1.0
"""For so much longer a cancel may be good where the exchange's clock was not read (API docs, "Timing security")."""
PAUSE = 0.08
"""Reads between which less time passes are of one round: a call asks for order after order, and then pauses."""
# Where reads contradict themselves, or show states that nobody knows, there is nothing that they must have told.
PUZZLING = frozenset({"torn_read", "replicas", "forgetting", "archive_from", "open_status"})


def amounts_are_confirmed(case: Case) -> Iterator[str]:
    """Require the amounts of orders that have ended, where reads had the time to confirm them.

    An answer to a cancel tells them for good. Of reads it takes two, the second of them begun an allowance for lag
    after the first has shown the end.
    """
    reported = {
        order
        for talk in case.deletes
        for order, told, _ in reports(case.heard(talk))
        if told["status"] in OUTCOMES  # one that was reported open may have traded since
    }
    for row in case.rows:
        order = identity(row)
        if row["outcome"] not in FINAL - {"archived"} or order in reported or case.truth(order) is None:
            continue
        ended, told = _first_shown(case, order)
        for name in sorted(told):
            if row.get(name) is not None or row.get(f"wire.{name}") is not None:
                continue
            left = _left(case, ended, ended + case.lag_allowed)
            if left > 0:
                yield f"{order} ({row['outcome']}) lacks {name}, and {left:.2f} s were left to confirm it"
            else:
                case.facts["amounts that time or reads did not allow to confirm"] += 1


def nothing_is_needlessly_unknown(case: Case) -> Iterator[str]:
    """Require an outcome wherever reads came after it could be proven."""
    if PUZZLING & set(case.dialect) or case.clock_moves or case.doubtful or any(talk.skew for talk in case.talks):
        return
    for row in case.rows:
        truth = case.truth(identity(row))
        if row["outcome"] != "unknown" or truth is None:
            continue
        began = case.reads[0].at if case.reads else 0.0
        left = _left(case, began, _provable(case, truth))
        if left > 0:
            yield f"{identity(row)} is said to be unknown, and {left:.2f} s were left to find it {truth.outcome}"
        else:
            case.facts["unknown, as time or reads did not allow to find out"] += 1


def _provable(case: Case, truth: Truth) -> float:
    """Return the monotonic time from which on a read proves an order's state."""
    if truth.outcome in FINAL:
        return case.talks[0].at + truth.last.at / 1000 - case.talks[0].wall + case.lag
    last = max((talk.at for talk in case.deletes), default=case.reads[0].at if case.reads else 0.0)
    doubt = 0.0 if _has_read_the_clock(case) else CLOCK_DOUBT
    return last + case.cancel_lasts + case.lag_allowed + doubt


def _has_read_the_clock(case: Case) -> bool:
    """Return whether the call itself has read the exchange's clock, and not another process at the same time.

    Requests for the time name no symbol, so their connection has to tell whose they are.
    """
    own = {talk.connection for talk in case.talks if "symbol" in talk.params}
    return any(talk.path == TIME and talk.connection in own for talk in case.talks)


def _first_shown(case: Case, order: Id) -> tuple[float, set[str]]:
    """Return when a read had first shown that an order had ended, and which amounts it told."""
    for talk in case.reads:
        for each, shown, _ in reports(case.heard(talk)):
            if each == order and shown["status"] in OUTCOMES and talk.done_at is not None:
                amounts = {name: shown.get(name) for name in ("executedQty", "cummulativeQuoteQty")}
                return talk.done_at, {name for name, told in amounts.items() if told and not str(told).startswith("-")}
    return 0.0, set()


def _left(case: Case, since: float, ready: float) -> float:
    """Return the seconds left for a read that was to begin at `ready`; none if a read after `since` failed."""
    reads = case.reads
    limited = any(talk.line in {418, 429} for talk in case.talks)
    if not reads or case.beyond or limited or case.told.error in CUT_SHORT:
        return 0.0
    if any(case.heard(talk) is None for talk in reads if talk.at >= since):
        return 0.0
    # A call cannot know how long its last round of reads will take. What it allows for is what one took before.
    slowest = max(talk.done_at - talk.at for talk in reads if talk.done_at is not None)
    needs = MOMENT + 2 * _longest_round(reads) + 4 * slowest + 4 * case.hold_up
    return reads[0].at + case.reconcile - ready - needs


def _longest_round(reads: list[Talk]) -> float:
    """Return how long a round of reads took at most."""
    longest, began, ended = 0.0, reads[0].at, reads[0].at
    for talk in reads:
        if talk.at - ended > PAUSE:
            began = talk.at
        ended = talk.done_at or talk.at
        longest = max(longest, ended - began)
    return longest
