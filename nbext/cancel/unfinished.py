"""Read the journal: as a DataFrame, a raw answer, and to reconcile requests without a recorded outcome."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from nbext import messages, processes, profiles, session
from nbext.cancel.reconciliation import Reconciliation
from nbext.cancel.searches import reconcile
from nbext.cancel.selection import CancelRequest, Latency
from nbext.cancel.sending import Attempt
from nbext.entries import Conclusion
from nbext.errors import ConfigurationError, Interrupted, NbextError
from nbext.frames import log
from nbext.orders import FINAL, Row, identity, named
from nbext.spot.parameters import parse_count, parse_recv_window

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pandas import DataFrame

    from nbext.entries import Entry
    from nbext.journal import Journal
    from nbext.spot.client import SpotClient


LAST = 1000
"""How many requests are shown by default."""

# Reconciling is bounded: in all, for one request, and in how many requests are held in memory at a time.
_SECONDS, _SECONDS_EACH, _PAGE = 60.0, 20.0, 100
_INTERRUPTED = "%cancel_log --reconcile: interrupted; what it has found out is recorded."
_NOTHING_FOUND = "found no order that this cancel can have ended; whether anything was open is not known"


def cancel_log(last: int | None = LAST) -> DataFrame:
    """Return what was asked and what came back, oldest first; see `nbext.cancel_log`."""
    last = None if last is None else parse_count("last", last)
    return log.frame(session.journal().entries(last), time.time_ns() // 1_000_000)


def shown_of(last: int | None) -> str:
    """Return a line with the number of requests if not all are shown; otherwise an empty one."""
    recorded = session.journal().count()
    if last is None or recorded <= last:
        return ""
    return f"The last {last:,} of {recorded:,} requests. Use --last N to see more."


def raw_answer(intent_id: str) -> str:
    """Return one answer as it came, secrets hidden.

    Raises
    ------
    ConfigurationError
        The journal holds no answer to that request.
    """
    answer = session.journal().answer(intent_id)
    if answer is None:
        raise ConfigurationError(f"the journal holds no answer to {intent_id!r}. %cancel_log lists the ids.")
    return answer.decode("utf-8", "replace")


def reconcile_open(*, seconds: float = _SECONDS, say: Callable[[str], None]) -> DataFrame:
    """Find and record the outcomes of requests without one.

    Each is reconciled by one kernel, the first to claim it, and only with the API key that sent it.

    Parameters
    ----------
    seconds : float, default 60
        Total limit.
    say : callable
        Takes messages.

    Returns
    -------
    DataFrame
        As `cancel_log`.
    """
    journal, me = session.journal(), processes.name()
    now = time.time_ns() // 1_000_000
    ends, after, found = time.monotonic() + seconds, 0, False
    try:
        while time.monotonic() < ends and (page := journal.overdue(now, after=after, most=_PAGE)):
            for number, entry in page:
                after = number
                if (left := ends - time.monotonic()) <= 0:
                    break
                if not entry.is_damaged and _reconcile_alone(journal, me, entry, min(_SECONDS_EACH, left), say):
                    found = True
    except KeyboardInterrupt:
        have = messages.count(waiting := journal.count_open(), "request") + (" has" if waiting == 1 else " have")
        said = f"{_INTERRUPTED} {have} no recorded outcome. Run it again."
        raise Interrupted(said, frame=None, failures={}) from None
    if waiting := journal.count_open():
        say(
            f"{messages.count(waiting, 'request')} left: sent in the last minutes, being reconciled by another "
            "kernel, or still unknown. Try again in a minute."
        )
    elif not found:
        say("Every request has a recorded outcome.")
    return cancel_log()


def _reconcile_alone(journal: Journal, me: str, entry: Entry, seconds: float, say: Callable[[str], None]) -> bool:
    """Reconcile a request unless another kernel does; return whether it was tried."""
    ended = entry.claimed_by if entry.claimed_by and processes.has_ended(entry.claimed_by) else None
    try:
        if not journal.claim(entry.intent.id, me, time.time_ns() // 1_000_000, ended=ended):
            return False
        said = _reconcile(journal, entry, seconds, say)
        say(f"{log.request(entry)} [{entry.intent.profile}, {entry.intent.host}]: {said}")
        return True
    finally:
        journal.release(entry.intent.id, me)


def _reconcile(journal: Journal, entry: Entry, seconds: float, say: Callable[[str], None]) -> str:
    try:
        client = _client_of(entry)
        if client is not None:
            _require_key(client, journal, entry)
        recv_window = _recv_window(entry)
    except ConfigurationError as error:
        return f"not reconciled, {error}"
    if client is None:
        reason = "the local exchange that it went to has ended"
        journal.conclude(entry.intent.id, http_status=None, answer=None, outcomes=_unknown(entry), error=reason)
        return f"outcome unknown for good, {reason}"
    try:
        client.measure_clock_offset()
    except NbextError as error:
        return f"not reconciled, {error}"
    search = Reconciliation(
        client,
        _as_attempt(entry, client),
        recv_window,
        Latency(),
        until=entry.intent.deadline if entry.left_at is None else None,
    )
    try:
        reconcile([search], seconds=seconds, say=say)
    finally:  # what it has found out is recorded even if it is interrupted
        rows = _with_earlier(search.rows(), entry)
        is_known = search.is_reconciled or (bool(entry.intent.seen) and all(row.outcome in FINAL for row in rows))
        # Absence proves nothing: reads may lag, and the time of the cancel is known within limits only.
        said = "reconciled later" if rows else _NOTHING_FOUND
        if is_known or any(row.outcome != "unknown" for row in rows):
            outcomes = [{**named(row), "outcome": row.outcome} for row in rows]
            conclusion = Conclusion(
                entry.intent.id, None, None, outcomes, said if is_known else entry.error, is_final=is_known
            )
            journal.conclude_all([conclusion])
    if not is_known:
        return f"not reconciled within {seconds:.0f} s; {messages.outcomes(rows)}"
    return messages.outcomes(rows) if rows else _NOTHING_FOUND


def _with_earlier(rows: Sequence[Row], entry: Entry) -> list[Row]:
    """Return the rows with the final outcomes that were recorded before, which reads may have forgotten since."""
    kept = {identity(order): order for order in entry.outcomes if order.get("outcome") in FINAL and identity(order)}
    merged: list[Row] = []
    for row in rows:
        before = None if row.outcome in FINAL - {"archived"} else kept.get(identity(row.order))
        merged.append(row if before is None else row._replace(outcome=str(before["outcome"])))
    told = {identity(row.order) for row in rows}
    return merged + [Row(order, None, str(order["outcome"])) for ident, order in kept.items() if ident not in told]


def _require_key(client: SpotClient, journal: Journal, entry: Entry) -> None:
    """Refuse another account's key, which would see none of the orders.

    Raises
    ------
    ConfigurationError
        The key is not the one that sent it.
    """
    if entry.intent.account and client.fingerprint(journal.salt()) != entry.intent.account:
        now = f"has the key ...{client.key_hint}" if client.key_hint else "has no key"
        raise ConfigurationError(
            f"since it was sent with the key ...{entry.intent.key}, and the profile {entry.intent.profile!r} {now} "
            "now. Use that key, then reconcile again."
        )


def _recv_window(entry: Entry) -> str | None:
    """Return the recv window that a request was sent with; None for the exchange's default.

    Raises
    ------
    ConfigurationError
        The record is damaged.
    """
    text = entry.intent.params.get("recvWindow")
    try:
        return None if text is None else parse_recv_window(text)
    except ConfigurationError:
        raise ConfigurationError("since its record is damaged. Check %open_orders.") from None


def _client_of(entry: Entry) -> SpotClient | None:
    """Return a client for where the request went; None if that was a local exchange that has ended.

    Raises
    ------
    ConfigurationError
        The profile has another host now.
    """
    profile = entry.intent.profile
    if profile == profiles.DEFAULT and profiles.resolve(profile).base_url.partition("//")[2] != entry.intent.host:
        return None
    client = session.client_for(profile)
    if client.host != entry.intent.host:
        raise ConfigurationError(
            f"since the profile {profile!r} now has the host {client.host}. Set it back, then reconcile again."
        )
    return client


def _as_attempt(entry: Entry, client: SpotClient) -> Attempt:
    """Return the request as if this process had sent it; the client's clock has just been measured."""
    intent = entry.intent
    seen: Sequence[Row] = [Row(order, None, "unknown") for order in intent.seen]
    symbol = intent.params.get("symbol", "")
    stamp = entry.left_at or intent.sent_at
    ago = (client.now() - stamp) / 1000
    request = CancelRequest(symbol, intent.path, dict(intent.params), seen or None)
    return Attempt(request, at=time.monotonic() - ago, stamp=stamp)


def _unknown(entry: Entry) -> list[Mapping[str, object]]:
    return [{**order, "outcome": "unknown"} for order in entry.intent.seen]
