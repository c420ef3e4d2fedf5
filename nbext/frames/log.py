"""The journal as a DataFrame: one row per request, and how a table shows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbext.frames.columns import Column, Table, added, index_of
from nbext.orders import OUTCOMES
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from nbext.entries import Entry

COLUMNS = (
    *("request", "outcome", "sentAt", "state", "error", "profile", "host", "key", "httpStatus"),
    *OUTCOMES,
    *("id", "callId"),
)
_SHOWN = ("request", "outcome", "sentAt", "state", "error", "profile", "id")
_END_OF_TIME = 9_000_000_000_000  # the year 2255; nanoseconds, in which pandas begins, go no further than 2262


def frame(entries: Sequence[Entry], now: int) -> DataFrame:
    """Return the entries, in their order, with the columns that `nbext.cancel_log` documents.

    Parameters
    ----------
    entries : sequence of Entry
    now : int
        Milliseconds UTC; tells requests under way from those that were never concluded.
    """
    import pandas as pd

    columns: dict[str, Any] = {
        "id": pd.array([entry.intent.id for entry in entries], dtype="str"),
        "sentAt": _times([entry.left_at or entry.intent.sent_at for entry in entries]),
        "profile": pd.array([entry.intent.profile for entry in entries], dtype="str"),
        "host": pd.array([entry.intent.host for entry in entries], dtype="str"),
        "key": pd.array([entry.intent.key or None for entry in entries], dtype="str"),
        "request": pd.array([request(entry) for entry in entries], dtype="str"),
        "outcome": pd.array([_outcome(entry) for entry in entries], dtype="str"),
        "state": pd.array([_state(entry, now) for entry in entries], dtype="str"),
        "httpStatus": pd.array([entry.http_status for entry in entries], dtype="Int64"),
    }
    for outcome in OUTCOMES:
        counts = [sum(order.get("outcome") == outcome for order in entry.outcomes) for entry in entries]
        columns[outcome] = pd.array(counts, dtype="Int64")
    columns["error"] = pd.array([entry.error or None for entry in entries], dtype="str")
    columns["callId"] = pd.array([entry.intent.call_id for entry in entries], dtype="str")
    return pd.DataFrame({name: columns[name] for name in COLUMNS}, index=pd.RangeIndex(len(entries)))


def is_log(frame: DataFrame) -> bool:
    """Return whether a frame is the journal, however its rows were filtered or sorted."""
    return frame.columns.is_unique and set(COLUMNS) <= set(frame.columns)


def table(frame: DataFrame) -> Table:
    """Return what a table of the journal shows: the request and its outcome first."""
    cells = {name: added(name, frame[name]).cells for name in _SHOWN}
    cells["sentAt"] = [moment.partition(".")[0].partition("+")[0] for moment in cells["sentAt"]]
    hosts = zip(cells["profile"], added("host", frame["host"]).cells, strict=True)
    cells["profile"] = [profile if profile == "local" else f"{profile}, {host}" for profile, host in hosts]
    ours = [Column(name, column) for name, column in cells.items() if any(column)]
    same = [each for each in ours if each.name in {"state", "profile"} and len(set(each.cells)) == 1 < len(frame)]
    more = [added(str(name), frame[name]) for name in frame.columns if name not in COLUMNS]
    return Table([*index_of(frame), *(each for each in ours if each not in same), *more], same, len(frame.columns))


def caption(frame: DataFrame) -> str:
    """Return how many requests a table of the journal shows."""
    return f"{len(frame)} request{'' if len(frame) == 1 else 's'}; times in UTC"


def request(entry: Entry) -> str:
    """Return what a request asked for, in words: ``cancel order 12 on BTCUSDT``."""
    params = entry.intent.params
    what = {"/api/v3/order": "order", "/api/v3/orderList": "order list"}.get(entry.intent.path, "all")
    number = params.get("orderId") or params.get("orderListId")
    said = " ".join(filter(None, ["cancel", what, number, "on", params.get("symbol")]))
    return printable(said)  # an exchange may list a symbol with half of a surrogate pair, which no column can hold


def _outcome(entry: Entry) -> str | None:
    """Return the outcomes of the orders: ``13 canceled, 1 filled``; None before that is known.

    A cancel that was refused or never left tells nothing about what was open, so it does not say ``no orders``.
    """
    if entry.concluded_at is None or entry.is_damaged:
        return None
    counts = {each: sum(order.get("outcome") == each for order in entry.outcomes) for each in OUTCOMES}
    said = ", ".join(f"{count} {each}" for each, count in counts.items() if count)
    if entry.error and entry.left_at is None and entry.http_status is None:
        return f"not sent; {said}" if said else "not sent"
    return said or ("refused" if entry.error else "no orders")


def _state(entry: Entry, now: int) -> str:
    if entry.is_damaged:
        return "damaged"
    if entry.concluded_at is not None:
        return "concluded"
    is_waited_for = entry.left_at is None and now <= entry.intent.deadline  # the end of a call records when it left
    return "under way" if is_waited_for else "not concluded"


def _times(milliseconds: list[int]) -> Any:
    import pandas as pd

    readable = [each if 0 < each < _END_OF_TIME else None for each in milliseconds]
    return pd.to_datetime(pd.array(readable, dtype="Int64"), unit="ms", utc=True).as_unit("ms")
