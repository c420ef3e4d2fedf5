"""The rules for what was not told: only what time or reads did not allow may be missing or unknown.

How much time a call had is taken from the wire: its reconciling began with the first read after the last cancel. That
reads came is taken from there, too: each of them was answered, soon, and with what was asked for. What a busy machine
took from the call is measured meanwhile (`Pulse`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .case import CUT_SHORT, FINAL, ONE, TIME, identity, reports
from .record import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .case import Case
    from .proxy import Talk
    from .record import Id, Truth

HISTORY = "/api/v3/allOrders"
CLOCK_DOUBT = 1.0
"""For so much longer a cancel may be good where the exchange's clock was not read (API docs, "Timing security")."""
MOMENT = 0.1
"""What a call may take between two steps, on a machine that does nothing else."""
PAUSE = 0.08
"""Reads between which less time passes are of one round: a call asks for order after order, and then pauses."""
# Where reads contradict themselves, or show states that nobody knows, there is nothing that they must have told.
PUZZLING = frozenset({"torn_read", "replicas", "forgetting", "archive_from", "open_status"})


def amounts_are_confirmed(case: Case) -> Iterator[str]:
    """Require the amounts of orders that have ended, where reads had the time to confirm them.

    An answer to a cancel tells them for good. Of reads it takes two, the second of them begun an allowance for lag
    after the first has shown the end.
    """
    reported = {order for talk in case.deletes for order, _, _ in reports(case.heard(talk))}
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
        began = _reads(case)[0].at if _reads(case) else 0.0
        left = _left(case, began, _provable(case, truth))
        if left > 0:
            yield f"{identity(row)} is said to be unknown, and {left:.2f} s were left to find it {truth.outcome}"
        else:
            case.facts["unknown, as time or reads did not allow to find out"] += 1


def _provable(case: Case, truth: Truth) -> float:
    """Return the monotonic time from which on a read proves an order's state."""
    if truth.outcome in FINAL:
        return case.talks[0].at + truth.last.at / 1000 - case.talks[0].wall + case.lag
    last = max((talk.at for talk in case.deletes), default=_reads(case)[0].at if _reads(case) else 0.0)
    doubt = 0.0 if any(talk.path == TIME for talk in case.talks) else CLOCK_DOUBT
    return last + case.cancel_lasts + case.lag_allowed + doubt


def _reads(case: Case) -> list[Talk]:
    """Return what was read to find out what became of orders, whatever came of it."""
    last = max((number for number, talk in enumerate(case.talks) if talk.method == "DELETE"), default=None)
    if last is not None:
        return [talk for talk in case.talks[last + 1 :] if talk.method == "GET"]
    first = next((number for number, talk in enumerate(case.talks) if talk.path in {ONE, HISTORY}), len(case.talks))
    return case.talks[first:]


def _first_shown(case: Case, order: Id) -> tuple[float, set[str]]:
    """Return when a read had first shown that an order had ended, and which amounts it told."""
    for talk in _reads(case):
        for each, shown, _ in reports(case.heard(talk)):
            if each == order and shown["status"] in OUTCOMES and talk.done_at is not None:
                amounts = {name: shown.get(name) for name in ("executedQty", "cummulativeQuoteQty")}
                return talk.done_at, {name for name, told in amounts.items() if told and not str(told).startswith("-")}
    return 0.0, set()


def _left(case: Case, since: float, ready: float) -> float:
    """Return the seconds left for a read that was to begin at `ready`; none if a read after `since` failed."""
    reads = _reads(case)
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
