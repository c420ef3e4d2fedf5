"""The journal, read: as a DataFrame, answer by answer, and to reconcile what has no recorded outcome."""

from __future__ import annotations

import os
import socket
import time
from typing import TYPE_CHECKING, Any

from nbext import profiles, wording
from nbext.clients import client_for
from nbext.errors import ConfigurationError, NbextError
from nbext.record import current, named
from nbext.rows import OUTCOMES, Row
from nbext.select import Target
from nbext.send import Sent
from nbext.settle import Limits, Settlement, settle

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pandas import DataFrame

    from nbext.journal import Entry, Journal
    from nbext.spot import SpotClient


def cancel_log(last: int | None = None) -> DataFrame:
    """Show what was asked and what came back, oldest first; see `nbext.cancel_log`."""
    import pandas as pd

    entries = current().entries(last)
    now = time.time_ns() // 1_000_000
    columns: dict[str, Any] = {
        "id": pd.array([entry.intent.id for entry in entries], dtype="str"),
        "sentAt": _times([entry.intent.sent_at for entry in entries]),
        "profile": pd.array([entry.intent.profile for entry in entries], dtype="str"),
        "host": pd.array([entry.intent.host for entry in entries], dtype="str"),
        "request": pd.array([_request(entry) for entry in entries], dtype="str"),
        "state": pd.array([_state(entry, now) for entry in entries], dtype="str"),
        "httpStatus": pd.array([entry.http_status for entry in entries], dtype="Int64"),
    }
    for outcome in OUTCOMES:
        counts = [sum(order.get("outcome") == outcome for order in entry.outcomes) for entry in entries]
        columns[outcome] = pd.array(counts, dtype="Int64")
    columns["error"] = pd.array([entry.error or None for entry in entries], dtype="str")
    columns["callId"] = pd.array([entry.intent.call_id for entry in entries], dtype="str")
    return pd.DataFrame(columns, index=pd.RangeIndex(len(entries)))


def raw_answer(intent_id: str) -> str:
    """Give one answer as it came, secrets hidden.

    Raises
    ------
    ConfigurationError
        The journal holds no answer to that request.
    """
    answer = current().answer(intent_id)
    if answer is None:
        raise ConfigurationError(f"the journal holds no answer to {intent_id!r}. %cancel_log lists the ids.")
    return answer.decode("utf-8", "replace")


def settle_open(*, seconds: float = 20.0, say: Callable[[str], None]) -> DataFrame:
    """Find out what became of the requests without a recorded outcome, and record it.

    Each is reconciled by one kernel only, whichever claims it first.

    Returns
    -------
    DataFrame
        As `cancel_log`, of the whole journal.
    """
    journal = current()
    me = f"{socket.gethostname()}:{os.getpid()}"
    now = time.time_ns() // 1_000_000
    entries = [entry for entry in journal.unsettled(now) if journal.claim(entry.intent.id, me, now)]
    waiting = sum(entry.concluded_at is None for entry in journal.entries()) - len(entries)
    if waiting:
        say(
            f"{wording.count(waiting, 'request')} cannot be reconciled yet: under way, sent within the last minute or "
            "so, or taken up by another kernel. Ask again in a minute."
        )
    elif not entries:
        say("Nothing is left to reconcile.")
    for entry in entries:
        say(f"{_request(entry)} [{entry.intent.profile}, {entry.intent.host}]: {_settle(journal, entry, seconds, say)}")
    return cancel_log()


def _settle(journal: Journal, entry: Entry, seconds: float, say: Callable[[str], None]) -> str:
    try:
        client = _client_of(entry)
    except ConfigurationError as error:
        return f"not reconciled, {error}"
    if client is None:
        reason = "the local exchange that it went to has ended"
        journal.conclude(entry.intent.id, http_status=None, answer=None, outcomes=_unknown(entry), error=reason)
        return f"never to be known, {reason}"
    try:
        client.measure_clock_offset()
    except NbextError as error:
        return f"not reconciled, {error}"
    search = Settlement(client, _as_sent(entry), entry.intent.params.get("recvWindow"), Limits())
    settle([search], seconds=seconds, say=say)
    rows = search.rows()
    if not search.done:
        return f"not reconciled within {seconds:.0f} s; {wording.outcomes(rows)}"
    outcomes = [{**named(row), "outcome": row.outcome} for row in rows]
    journal.conclude(entry.intent.id, http_status=None, answer=None, outcomes=outcomes, error="reconciled later")
    return wording.outcomes(rows)


def _client_of(entry: Entry) -> SpotClient | None:
    """Connect to where the request went; None where that was a local exchange which is no more.

    Raises
    ------
    ConfigurationError
        The profile leads elsewhere now.
    """
    profile = entry.intent.profile
    if profile == profiles.DEFAULT and profiles.local().url.partition("//")[2] != entry.intent.host:
        return None
    client = client_for(profile)
    if client.host != entry.intent.host:
        raise ConfigurationError(
            f"since the profile {profile!r} leads to {client.host} now. Set it as it was, then reconcile again."
        )
    return client


def _as_sent(entry: Entry) -> Sent:
    intent = entry.intent
    seen: Sequence[Row] = [Row(order, None, "unknown") for order in intent.seen]
    symbol = intent.params["symbol"]
    ago = (time.time_ns() // 1_000_000 - intent.sent_at) / 1000
    target = Target(symbol, intent.path, dict(intent.params), seen or None)
    return Sent(target, at=time.monotonic() - ago, stamp=intent.sent_at)


def _unknown(entry: Entry) -> list[Mapping[str, object]]:
    return [{**order, "outcome": "unknown"} for order in entry.intent.seen]


def _request(entry: Entry) -> str:
    params = entry.intent.params
    what = {"/api/v3/order": "order", "/api/v3/orderList": "order list"}.get(entry.intent.path, "all")
    number = params.get("orderId") or params.get("orderListId")
    return " ".join(filter(None, ["cancel", what, number, "on", params.get("symbol")]))


def _state(entry: Entry, now: int) -> str:
    if entry.concluded_at is not None:
        return "concluded"
    return "under way" if now <= entry.intent.deadline else "not concluded"


def _times(milliseconds: list[int]) -> Any:  # noqa: ANN401 - an index of times
    import pandas as pd

    return pd.to_datetime(pd.array(milliseconds, dtype="Int64"), unit="ms", utc=True).as_unit("ms")
