"""Report a call: journal and messages first, then the frame, or the error that says what may be believed."""

from __future__ import annotations

import _imp
import _thread
import importlib
import logging
import secrets
import sys
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from nbext import messages, profiles, session
from nbext.cancel.reads import OpenOrders, look
from nbext.errors import IncompleteError, Interrupted, NbextError, NotSentError, OutcomeUnknownError, RejectedError
from nbext.forks import imports, in_child
from nbext.orders import FINAL, Row, from_reports, identity, unique
from nbext.signals import from_a_signal, let_through
from nbext.spot.answers import is_unseen

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from nbext.cancel.call import Call
    from nbext.cancel.reconciliation import Reconciliation
    from nbext.cancel.sending import Attempt
    from nbext.spot.client import SpotClient


def conclude(call: Call) -> None:
    """Record the outcomes and say them, and only then build the frame, which may fail."""
    tell(call)
    if call.table is None and not call.no_key:
        _build(call)


def tell(call: Call) -> None:
    """Record the outcomes and say them."""
    if not call.recorded:
        _assess(call)
        if call.no_key:
            call.recorder.conclude((each, ()) for each in call.results)
        else:
            call.recorder.conclude(call.known, call.unknown)
        call.recorded = True
    if not call.told and not call.no_key:
        if call.rows or not call.failures:
            call.say(_word(call))
            if call.beyond and not call.say.is_heard:
                logging.getLogger("nbext").warning("%s", _word(call))
        if call.recorder.unrecorded and not call.say.is_heard:
            logging.getLogger("nbext").warning("%s %s", call.recorder.unrecorded, call.place)
        call.recorder.report(call.say)
        call.told = True


def ending(call: Call, cause: BaseException | None) -> DataFrame | BaseException:
    """Return what the call ends with: its frame, or the error that says what may be believed."""
    if call.no_key is not None:
        return call.no_key
    told = _failures(call)
    if isinstance(cause, KeyboardInterrupt):
        told = told or "the outcome of everything sent is known; nothing more was sent."
        return Interrupted(f"{call.subject} {call.place}: {told}", frame=call.table, failures=call.failures)
    if cause is not None:
        cause.add_note(f"nbext: {_word(call)} {told}".rstrip())
        return cause
    if (error := shortfall(call)) is not None:
        return error
    if call.table is None:
        return _without_table(call)
    return call.table


def shortfall(call: Call) -> NbextError | None:
    """Return the error that says what may be believed, unless everything is done."""
    try:
        _raise_unless_done(call, _failures(call))
    except NbextError as error:
        return call.no_key or error
    return None


def _failures(call: Call) -> str:
    """Return what went wrong, the same of several symbols once: ``BTCUSDT, ETHUSDT on live (...): not sent, ...``.

    Where it befell only some of the cancels on a symbol, it is said of these: others may have changed orders.
    """
    symbols: dict[str, list[str]] = {}
    for symbol in call.failures:
        alike: dict[object, list[NbextError]] = {}
        for attempt in call.failed:
            if attempt.request.symbol == symbol and (error := attempt.error) is not None:
                kind = type(error), getattr(error, "code", None), getattr(error, "http_status", None)
                alike.setdefault(kind, []).append(error)
        number = sum(attempt.request.symbol == symbol for attempt in call.results if attempt.request.path)
        for errors in alike.values():
            which = symbol if len(errors) == number else f"{len(errors)} of {number} cancels on {symbol}"
            said = str(errors[0])
            if _refusal(errors[0]) is not errors[0]:  # which is said of the request that was refused
                said = f"{said.rpartition(' refused (')[0]} refused; no orders were changed."
            if said.startswith(f"{symbol} on "):
                symbols.setdefault(said.removeprefix(symbol), []).append(which)
            else:
                symbols.setdefault(said if which == symbol else f"{which}: {said}", [])
    return " ".join(f"{', '.join(of)}{said}" for said, of in symbols.items())


def check(call: Call) -> None:
    """Read again, and say what is open now."""
    ended = {identity(row.order) for row in call.rows if row.outcome in FINAL}  # a read may lag
    now = look(call.client, call.requested, say=call.say) if call.requested else OpenOrders([], [])
    left = now.only(lambda order: identity(order) not in ended)
    said = "nothing is listed as open"
    if left.orders:
        fresh = messages.count(len(left.orders), "order")
        said = f"{fresh} open now{messages.kinds(left.rows())}, on {messages.subject(left.symbols())}"
    call.say(f"{call.subject}: read again, {said} {call.place}")


def frame_of(rows: Sequence[Row], client: SpotClient, *, exact: bool = False, **facts: object) -> DataFrame:
    """Build the frame of orders that were read through a client.

    Parameters
    ----------
    **facts
        More for its ``attrs["nbext"]``.
    """
    from nbext.frames import build

    session.note_shown((row.order for row in rows), client)
    facts = {"profile": client.profile, "host": client.host, "at": round(client.now()), **facts}
    table = build.frame(rows, exact=exact, summary=facts)
    if undocumented := [name for name in table.columns if name not in build.DOCUMENTED]:
        table.attrs["nbext"]["undocumented"] = undocumented  # to tell them from columns that the user adds
    return table


def keep(
    rows: Sequence[Row],
    client: SpotClient,
    *,
    call: str,
    requested: Sequence[str],
    began: float,
    exact: bool,
    **facts: object,
) -> DataFrame:
    """Build the frame of a call, and keep it as the last one."""
    session.symbols_met.update(requested, (met for row in rows if isinstance(met := row.order.get("symbol"), str)))
    session.last = table = frame_of(
        rows,
        client,
        exact=exact,
        **{
            "call": call,
            "call_id": secrets.token_hex(8),
            "requested": list(requested),
            "elapsed": round(time.monotonic() - began, 3),
            "complete": True,
            "legs_without_report": 0,
            **facts,
        },
    )
    return table


def with_invitation(nothing: str, client: SpotClient) -> str:
    """Return that nothing is open, and where; for a local exchange without orders, also how to get some."""
    where = messages.place(client, is_live=profiles.is_live(client.base_url))
    if not profiles.is_untouched(client):
        return f"{nothing} {where}"
    return f"{nothing} {where}. nbext.local().seed_orders() places orders to practice with."


def _word(call: Call) -> str:
    """Return the outcomes, summed up; bare numbers if fields are malformed."""
    try:
        return _summary(call)
    except Exception as error:  # noqa: BLE001 - nothing that an exchange sends may take the word away
        let_through(error)
        return f"{call.subject}: {counted(call.rows)} {call.place}"


def _summary(call: Call) -> str:
    rows, nothing = call.rows, call.selection.nothing
    said = f"{nothing}; nothing was canceled"
    if rows or not call.selection.chooses:
        said = messages.outcomes(rows, not_chosen=call.beyond)
    if call.only_read:
        refused = f"a cancel on {', '.join(sorted(call.only_read))} was refused, "
        said = f"{said}; {refused}so this is what reads show" if rows else f"{refused}and reads list nothing open"
    met = {str(row.order.get("symbol")) for row in rows}
    if shown := [symbol for symbol in call.lost if symbol in met]:
        which = "an answer was" if len(call.results) == 1 else f"answers on {', '.join(shown)} were"
        told = [(each, found) for each, found in (*call.known, *call.unknown) if _has_no_answer(each)]
        said += f"; {which} {'lost' if any(each.done for each, _ in told) else 'not waited for'}"
        if any(row.outcome != "unknown" for _, found in told for row in found):
            said += ", so this is what the exchange's own records show"
    if unknown := [symbol for symbol in call.lost if symbol not in met]:
        said = f"{said}; what was open on {', '.join(unknown)} is not known" if rows else "what was open is not known"
    if not rows and not call.failures and not call.only_read:
        return f"{call.subject}: {with_invitation(said, call.client)}"
    return f"{call.subject}: {said} {call.place}"


def _assess(call: Call) -> None:
    """Collect the rows, the failures, and the requests with a known result."""
    call.rows, call.known, call.unknown, call.failed, call.failures = [], [], [], [], {}
    for attempt, search in zip(call.results, call.searches, strict=True):
        found = _found(attempt, search)
        is_lost = _is_lost(attempt, search)
        if (error := attempt.error) is not None and (is_lost or not _has_no_answer(attempt)):
            call.failed.append(attempt)
            symbol = attempt.request.symbol
            # What may have changed orders must not be hidden behind what has not.
            if symbol not in call.failures or (is_lost and not isinstance(call.failures[symbol], OutcomeUnknownError)):
                call.failures[symbol] = error
        is_known = not is_lost and all(row.outcome != "unknown" for row in found)
        # Of what never left, nothing remains to be found out, whatever has become of its orders meanwhile.
        is_known = is_known or (isinstance(error, NotSentError) and not attempt.has_left)
        (call.known if is_known else call.unknown).append((attempt, found))
        call.rows += found
    call.rows = unique(call.rows)
    call.known = _with_all_seen(call)


def _with_all_seen(call: Call) -> list[tuple[Attempt, Sequence[Row]]]:
    """Add to each request what other answers say about its orders, such as a leg that ended with its list."""
    if all(attempt.request.seen is None for attempt, _ in call.known):
        return call.known
    told = {ident: row for row in call.rows if (ident := identity(row.order)) is not None}
    whole: list[tuple[Attempt, Sequence[Row]]] = []
    for attempt, found in call.known:
        given = {identity(row.order) for row in found}
        seen = [identity(row.order) for row in attempt.request.seen or ()]
        others = [told[ident] for ident in seen if ident in told and ident not in given]
        whole.append((attempt, [*found, *others]))
    return whole


def _build(call: Call) -> None:
    """Build the frame and keep it as the last one; if that fails, say the outcome of each order instead."""
    try:
        _load_frames()
        call.table = keep(
            call.rows,
            call.client,
            call="cancel_all" if call.selection.orders is None else "cancel_orders",
            requested=call.requested,
            began=call.began,
            exact=call.options.exact,
            **call.facts,
        )
    except Exception as error:  # a broken pandas, a lack of memory, an unforeseen value
        if from_a_signal(error) is not None:
            raise
        session.last = None  # or an earlier frame would pass for this one
        call.no_table = error
        for line in messages.each(call.rows):
            call.say(f"{call.subject}: {line} {call.place}")
        return
    if said := messages.inexact(call.table.attrs["nbext"]["inexact"]):
        call.say(f"{call.subject}: {said} {call.place}")


def _without_table(call: Call) -> NbextError:
    reason = call.no_table
    error = NbextError(
        f"{_word(call)}. Only the table cannot be built "
        f"({type(reason).__name__}: {_first_line(reason)}). %cancel_log shows the outcomes; to get tables again, "
        "restart the kernel or reinstall pandas."
    )
    error.__cause__ = reason
    return error


def _raise_unless_done(call: Call, told: str) -> None:
    """Raise the error that says what may be believed, unless everything is done."""
    rows, failures = call.rows, call.failures
    where = f"{call.subject} {call.place}"
    unknown = sum(row.outcome == "unknown" for row in rows)
    still_open = sum(row.outcome == "open" for row in rows)
    lost = any(isinstance(failure, OutcomeUnknownError) for failure in failures.values())
    refused = _refused_in_one(call.results)
    if lost or (unknown and not is_unseen(refused)):
        not_known = f"{where}: the outcome of {messages.count(unknown, 'order')} is not known. "
        raise OutcomeUnknownError(
            told if lost else f"{told} {not_known}Check %open_orders first.".lstrip(),
            frame=call.table,
            failures=failures,
        )
    if refused is not None:
        refused.frame = call.table
        raise refused
    if failures or still_open:
        left = f"{where}: {messages.count(still_open, 'order')} still open{messages.as_of(rows)}. Cancel again."
        raise IncompleteError(f"{told} {left}".lstrip() if still_open else told, frame=call.table, failures=failures)


def _found(attempt: Attempt, search: Reconciliation | None) -> list[Row]:
    """Return what is known about one request's orders, from its answer or from reads."""
    rows = from_reports(attempt.reply or (), attempt.request.seen or ())
    return rows if search is None else unique(rows + search.rows(), amended=True)


def _has_no_answer(attempt: Attempt) -> bool:
    """Return whether it was sent, and no answer tells the outcome."""
    return isinstance(attempt.error, OutcomeUnknownError)


def _is_lost(attempt: Attempt, search: Reconciliation | None) -> bool:
    """Return whether an answer was lost and not all outcomes are known."""
    return _has_no_answer(attempt) and not (search is not None and search.proven)


def _refused_in_one(results: Sequence[Attempt]) -> NbextError | None:
    """Return the error of a call for one symbol whose requests were all refused or not sent."""
    errors = [_refusal(attempt.error) for attempt in results]
    if len({attempt.request.symbol for attempt in results}) != 1 or len({type(error) for error in errors}) != 1:
        return None
    return None if isinstance(errors[0], OutcomeUnknownError) else errors[0]


def _refusal(error: NbextError | None) -> NbextError | None:
    """Return the refusal of another cancel because of which one was not sent; otherwise what went wrong with it."""
    return error.__cause__ if error is not None and isinstance(error.__cause__, RejectedError) else error


_loading: list[_thread.LockType] = []
_IMPORT_SECONDS = 60.0


def _load_frames() -> None:
    """Import pandas on another thread: an interrupt during the import would break it for the whole process."""
    loading = _loading[:1]
    if not loading:
        if "nbext.frames.build" in sys.modules:
            return
        loading = [_thread.allocate_lock()]
        loading[0].acquire()
        try:
            _thread.start_new_thread(_import_frames, (loading[0],))
        except RuntimeError:  # no threads left
            return
    _free_import_lock()
    if loading[0].acquire(timeout=_IMPORT_SECONDS):
        loading[0].release()


def _free_import_lock() -> None:
    """Release what an interrupted import has left locked: all other threads would wait forever.

    Nothing here runs inside the import system, so whatever this thread still holds there has been left.
    """
    with suppress(RuntimeError):  # this thread holds nothing
        while True:
            _imp.release_lock()


in_child(_loading.clear)


def _import_frames(at_work: _thread.LockType) -> None:
    _loading.append(at_work)  # here rather than by the caller: no fork can come between this and the import
    try:
        with imports, suppress(Exception):  # the caller meets the same error again, and can report it
            # It wants to hear of forks, and had better not begin to while one waits.
            importlib.import_module("concurrent.futures.thread")
            importlib.import_module("nbext.frames.build")
    finally:
        _loading.remove(at_work)
        at_work.release()


def counted(rows: Sequence[Row]) -> str:
    """Return the number of orders by outcome; bare numbers if fields are malformed."""
    try:
        return messages.outcomes(rows)
    except Exception as error:  # noqa: BLE001 - nothing that an exchange sends may take the word away
        let_through(error)
        outcomes = [row.outcome for row in rows]
        return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]
