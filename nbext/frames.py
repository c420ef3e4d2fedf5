"""Reports in, one DataFrame out: one row per order, the same columns and dtypes whatever the exchange sent.

The rules, by which every field of every report can be named again:

- The 24 columns of `COLUMNS` are always there, in this order; then the documented conditional fields that occur; then
  fields that nobody has documented yet, in the order met.
- An order in a list has the list's fields beside its own. A list's field that says something else than the order's own
  field of that name stands in ``list.NAME``; what its ``orders`` entry for the leg says otherwise than the report, in
  ``list.orders.NAME``.
- A value that its column cannot hold (a price that is no number, an id beyond 64 bits) is missing there and stands as
  sent in ``wire.NAME``; so does a field that is named like nbext's own column, ``outcome``.
- ``-1`` as a time, and a negative ``cummulativeQuoteQty``, mean "not known" to the exchange and are missing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from itertools import chain
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nbext.rows import named_legs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbext.rows import Row

Kind = Literal["id", "text", "number", "time", "flag"]

_COLUMN_KINDS: dict[str, Kind] = {
    "symbol": "text",
    "orderId": "id",
    "orderListId": "id",
    "contingencyType": "text",
    "side": "text",
    "type": "text",
    "timeInForce": "text",
    "price": "number",
    "stopPrice": "number",
    "origQty": "number",
    "executedQty": "number",
    "cummulativeQuoteQty": "number",
    "origQuoteOrderQty": "number",
    "icebergQty": "number",
    "status": "text",
    "origClientOrderId": "text",
    "clientOrderId": "text",
    "listClientOrderId": "text",
    "listStatusType": "text",
    "listOrderStatus": "text",
    "transactTime": "time",
    "transactionTime": "time",
    "selfTradePreventionMode": "text",
    "outcome": "text",
}
COLUMNS = tuple(_COLUMN_KINDS)
# API docs, "Conditional fields in Order Responses", and what queries have beyond cancel reports.
_CONDITIONAL_KINDS: dict[str, Kind] = {
    "time": "time",
    "updateTime": "time",
    "isWorking": "flag",
    "workingTime": "time",
    "trailingDelta": "id",
    "trailingTime": "time",
    "strategyId": "id",
    "strategyType": "id",
    "preventedMatchId": "id",
    "preventedQuantity": "number",
    "tradeGroupId": "id",
    "pegPriceType": "text",
    "pegOffsetType": "text",
    "pegOffsetValue": "id",
    "peggedPrice": "number",
    "usedSor": "flag",
    "workingFloor": "text",
    "expiryReason": "text",
}
_KINDS: dict[str, Kind] = {**_COLUMN_KINDS, **_CONDITIONAL_KINDS}
_MISSING = frozenset({type(None)})


def frame(rows: Sequence[Row], *, exact: bool = False, summary: Mapping[str, Any] | None = None) -> pd.DataFrame:
    """Build the frame.

    Parameters
    ----------
    rows : sequence of Row
    exact : bool, default False
        Prices and quantities as `decimal.Decimal` in object columns, rather than float64.
    summary : Mapping, optional
        JSON-able facts about the call, kept in ``attrs["nbext"]``.

    Returns
    -------
    DataFrame
        Shape (number of orders, 24 or more), RangeIndex. Ids and counts ``Int64``, times ``datetime64[ms, UTC]``, text
        ``str``, flags ``boolean``, prices and quantities ``float64`` or, with `exact`, ``object``.
        ``attrs["nbext"]["inexact"]`` counts, by column, the values whose float does not give the exchange's number
        back.
    """
    orders = _with_list_fields(rows)
    names = dict.fromkeys(chain.from_iterable(orders))
    columns: dict[str, Any] = {}
    leftovers: dict[str, list[Any]] = {}
    inexact: dict[str, int] = {}
    for name in (*COLUMNS, *(name for name in _CONDITIONAL_KINDS if name in names)):
        values = [row.outcome for row in rows] if name == "outcome" else [order.get(name) for order in orders]
        kind = _KINDS[name]
        built = _numbers(values, name, exact=exact) if kind == "number" else _BUILDERS[kind](values)
        columns[name] = built.column
        if built.inexact:
            inexact[name] = built.inexact
        if built.unfit:
            leftovers[name] = [value if i in built.unfit else None for i, value in enumerate(values)]
    for name in names:
        if name not in _KINDS:
            columns[_free(_encodable(name), columns)] = _undocumented([order.get(name) for order in orders])
    for name, values in leftovers.items():
        columns[_free(f"wire.{name}", columns)] = _undocumented(values)
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(rows)), copy=False)
    table.attrs["nbext"] = {**(summary or {}), "inexact": inexact}
    return table


def is_frame(table: pd.DataFrame) -> bool:
    """Whether a DataFrame has all of `COLUMNS`, each in its dtype."""
    wanted = {"id": "Int64", "text": "str", "time": "datetime64[ms, UTC]"}
    dtypes = {name: str(dtype) for name, dtype in table.dtypes.items()}
    return all(
        dtypes.get(name) in ({"float64", "object"} if kind == "number" else {wanted[kind]})
        for name, kind in _COLUMN_KINDS.items()
    )


def open_orders_of(table: pd.DataFrame) -> list[Mapping[str, Any]]:
    """Name the orders of a frame that it does not show as ended: symbol, ids and status of each."""
    live = table[~table["outcome"].isin(["canceled", "filled", "gone"])].drop_duplicates(["symbol", "orderId"])
    names = ["symbol", "orderId", "orderListId", "origClientOrderId", "side", "type", "status"]
    columns = [[None if pd.isna(value) else value for value in live[name].tolist()] for name in names]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _with_list_fields(rows: Sequence[Row]) -> list[Mapping[str, Any]]:
    """Give each order the fields of its list, by column name."""
    return [_plain(row.order) if row.order_list is None else _joined(row.order, row.order_list) for row in rows]


def _plain(fields: Mapping[str, Any]) -> Mapping[str, Any]:
    """Rename the fields whose names are nbext's own."""
    if not any(map(_is_reserved, fields)):
        return fields
    return {f"wire.{name}" if _is_reserved(name) else name: value for name, value in fields.items()}


def _is_reserved(name: str) -> bool:
    return name == "outcome" or name.startswith(("list.", "wire."))


def _joined(order: Mapping[str, Any], order_list: Mapping[str, Any]) -> Mapping[str, Any]:
    joined = dict(_plain(order))

    def add(name: str, value: object, otherwise: str) -> None:
        if _is_reserved(name):
            name = otherwise
        known = joined.setdefault(name, value)
        if known is not value and (type(known) is not type(value) or known != value):
            joined[otherwise] = value

    for name, value in order_list.items():
        if name not in {"orders", "orderReports"} or (name == "orders" and not isinstance(value, list)):
            add(name, value, f"list.{name}")
    for leg in named_legs(order_list):
        if leg.get("orderId") == order.get("orderId"):
            for name, value in leg.items():
                # A leg keeps its original client order id here; the report calls that one origClientOrderId.
                add("origClientOrderId" if name == "clientOrderId" else name, value, f"list.orders.{name}")
    return joined


def _encodable(name: str) -> str:
    """Escape halves of surrogate pairs, which JSON can hold and column names cannot."""
    return name.encode("utf-8", "backslashreplace").decode()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = f"wire.{name}"
    return name


@dataclass(slots=True)
class _Built:
    column: Any
    unfit: frozenset[int] = frozenset()
    inexact: int = 0


def _split(values: list[Any], fits: Callable[[Any], bool]) -> tuple[list[Any], frozenset[int]]:
    """Take out the values that a column cannot hold, and remember where they stood."""
    unfit = frozenset(i for i, value in enumerate(values) if value is not None and not fits(value))
    return ([None if i in unfit else value for i, value in enumerate(values)] if unfit else values), unfit


def _is_int64(value: object) -> bool:
    return type(value) is int and -(2**63) <= value < 2**63


def _is_text(value: object) -> bool:
    if type(value) is not str:
        return False
    try:
        value.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and Arrow cannot
        return False
    return True


def _is_flag(value: object) -> bool:
    return type(value) is bool


def _ids(values: list[Any]) -> _Built:
    values, unfit = _split(values, _is_int64)
    mask = np.fromiter((value is None for value in values), bool, len(values))
    data = np.fromiter((value or 0 for value in values), np.int64, len(values))
    return _Built(pd.arrays.IntegerArray(data, mask), unfit)


def _texts(values: list[Any]) -> _Built:
    values, unfit = _split(values, _is_text)
    return _Built(pd.array(values, dtype="str"), unfit)


def _flags(values: list[Any]) -> _Built:
    values, unfit = _split(values, _is_flag)
    mask = np.fromiter((value is None for value in values), bool, len(values))
    data = np.fromiter((value is True for value in values), bool, len(values))
    return _Built(pd.arrays.BooleanArray(data, mask), unfit)


_NOT_A_TIME = np.iinfo(np.int64).min
# The exchange sends milliseconds, or microseconds where asked: 13 and 16 digits since 2017 (API docs, "General API
# information"). Nothing between, so the size tells the unit. The year 10000 bounds what a clock can show.
_FIRST_MICROSECOND = 10**14
_LAST_MILLISECOND = 253_402_300_799_999


def _times(values: list[Any]) -> _Built:
    unfit = set()
    data = np.empty(len(values), np.int64)
    for i, value in enumerate(values):
        if value is None or value == -1:
            data[i] = _NOT_A_TIME
            if type(value) is float:
                unfit.add(i)
        elif type(value) is not int or not 0 <= value <= _LAST_MILLISECOND * 1000:
            data[i] = _NOT_A_TIME
            unfit.add(i)
        elif value < _FIRST_MICROSECOND:
            data[i] = value
        else:
            data[i], rest = divmod(value, 1000)
            if rest:
                unfit.add(i)
    times = pd.DatetimeIndex(data.view("datetime64[ms]")).tz_localize("UTC")
    return _Built(times, frozenset(unfit))


_NUMBER = re.compile(r"-?[0-9]+(\.[0-9]+)?", re.ASCII)
_ABSURD = 10**30
# A double carries any decimal of 15 digits there and back (C's DBL_DIG).
_SURELY_EXACT = 15


def _numbers(values: list[Any], name: str, *, exact: bool) -> _Built:
    missing = None if exact else np.nan
    known: dict[str, tuple[Any, bool]] = {}
    column: list[Any] = []
    unfit: list[int] = []
    inexact = 0
    for i, value in enumerate(values):
        if value is None:
            column.append(missing)
            continue
        text = value if type(value) is str else _number_text(value)
        if text not in known:  # most quantities are the same few, zero above all
            known[text] = _number(text, exact=exact)
        number, rounded = known[text]
        inexact += rounded
        if number is None:
            unfit.append(i)
            number = missing
        column.append(number)
    array = np.empty(len(values), object if exact else np.float64)
    array[:] = column
    if name == "cummulativeQuoteQty":
        array[[number is not None and number < 0 for number in column]] = missing
    return _Built(pd.Series(array, copy=False, dtype=array.dtype), frozenset(unfit), inexact)


def _number_text(value: object) -> str:
    """Read a JSON number where the exchange documents text; anything else becomes what is no number."""
    if type(value) is int or type(value) is float:
        return format(Decimal(repr(value)), "f") if abs(value) < _ABSURD else ""
    return ""


def _number(text: str, *, exact: bool) -> tuple[Any, bool]:
    """Convert decimal text; None when it is none, and whether the float is not quite the exchange's number."""
    if not _NUMBER.fullmatch(text):
        return None, False
    if exact:
        return Decimal(text), False
    number = float(text)
    if number in (float("inf"), float("-inf")):
        return None, False
    if len(text.rstrip("0")) <= _SURELY_EXACT + ("." in text):
        return number, False
    return number, Decimal(repr(number)) != Decimal(text)


_BUILDERS: dict[Kind, Callable[[list[Any]], _Built]] = {
    "id": _ids,
    "text": _texts,
    "time": _times,
    "flag": _flags,
}


def _undocumented(values: list[Any]) -> Any:  # noqa: ANN401 - whatever array fits
    """Give a field that nobody has documented the narrowest dtype that holds all its values as they were sent."""
    kinds = {type(value) for value in values} - _MISSING
    for kind, fits, build in ((int, _is_int64, _ids), (str, _is_text, _texts), (bool, _is_flag, _flags)):
        if kinds == {kind} and all(value is None or fits(value) for value in values):
            return build(values).column
    array = np.empty(len(values), object)
    array[:] = values
    return pd.Series(array, dtype=object)  # said, or pandas would try what it might be
