"""The journal as a DataFrame: one row per request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbext.orders import OUTCOMES

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

    from nbext.journal import Entry

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
        "state": pd.array([_state(entry, now) for entry in entries], dtype="str"),
        "httpStatus": pd.array([entry.http_status for entry in entries], dtype="Int64"),
    }
    for outcome in OUTCOMES:
        counts = [sum(order.get("outcome") == outcome for order in entry.outcomes) for entry in entries]
        columns[outcome] = pd.array(counts, dtype="Int64")
    columns["error"] = pd.array([entry.error or None for entry in entries], dtype="str")
    columns["callId"] = pd.array([entry.intent.call_id for entry in entries], dtype="str")
    return pd.DataFrame(columns, index=pd.RangeIndex(len(entries)))


def request(entry: Entry) -> str:
    """Return what a request asked for, in words: ``cancel order 12 on BTCUSDT``."""
    params = entry.intent.params
    what = {"/api/v3/order": "order", "/api/v3/orderList": "order list"}.get(entry.intent.path, "all")
    number = params.get("orderId") or params.get("orderListId")
    return " ".join(filter(None, ["cancel", what, number, "on", params.get("symbol")]))


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
