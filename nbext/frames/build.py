"""Reports in, one DataFrame out: one row per order, always with the same columns and dtypes.

The rules, by which every field of every report can be traced:

- The 24 columns of `COLUMNS` are always there, in this order; then the documented conditional fields that occur; then
  undocumented fields, roughly in the order met.
- An order in a list has the list's fields beside its own. A list's field that differs from the order's own field of
  that name is in ``list.NAME``; where the list's ``orders`` entry for the leg differs from the report, it is in
  ``list.orders.NAME``.
- A value that its column cannot hold (a price that is not a number, an id beyond 64 bits) is missing there, and is in
  ``wire.NAME`` as sent; so is a field that is named like nbext's own column, ``outcome``.
- ``-1`` as a time, and a negative ``cummulativeQuoteQty``, mean "not known" to the exchange and are missing.
- A zero as ``price``, ``stopPrice``, ``origQuoteOrderQty`` or ``icebergQty`` means that an order has none, and is
  missing, so that no comparison of prices finds an order at market. Other zeros are amounts.
- An id, a count or a time that was sent as text of digits is that number.
"""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

from nbext.orders import KEPT_BESIDE, named_legs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from nbext.orders import Row

    _Layer = Sequence[Mapping[str, Any]]

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
DOCUMENTED = frozenset(_KINDS)
_NONE_AT_ZERO = frozenset({"price", "stopPrice", "origQuoteOrderQty", "icebergQty"})


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
    sent, numbers = _by_column(rows, exact=exact)
    nothing = [None] * len(rows)
    columns: dict[str, Any] = {}
    leftovers: dict[str, Mapping[int, Any]] = {}
    inexact: dict[str, int] = {}
    for name in (*COLUMNS, *(name for name in _CONDITIONAL_KINDS if name in sent or name in numbers)):
        kind = _KINDS[name]
        built = _joined(numbers.get(name, ()), len(rows), exact=exact) if kind == "number" else None
        built = built or _BUILDERS[kind](sent.pop(name, nothing))
        columns[name] = built.column
        if built.inexact:
            inexact[name] = built.inexact
        if built.unfit:
            leftovers[name] = built.unfit
    for name, values in sent.items():
        columns[_free(_encodable(name), columns)] = _undocumented(values)
    for name, unfit in leftovers.items():
        columns[_free(f"wire.{name}", columns)] = _undocumented([unfit.get(i) for i in range(len(rows))])
    table = pd.DataFrame(columns, index=pd.RangeIndex(len(rows)), copy=False)
    table.attrs["nbext"] = {**(summary or {}), "inexact": inexact}
    return table


def is_frame(table: pd.DataFrame) -> bool:
    """Return whether a DataFrame has all of `COLUMNS`, each in its dtype."""
    wanted = {"id": "Int64", "text": "str", "time": "datetime64[ms, UTC]"}
    dtypes = {name: str(dtype) for name, dtype in table.dtypes.items()}
    return all(
        dtypes.get(name) in ({"float64", "object"} if kind == "number" else {wanted[kind]})
        for name, kind in _COLUMN_KINDS.items()
    )


_NAMING: dict[str, type] = {
    "symbol": str,
    "orderId": int,
    "origClientOrderId": str,
    "orderListId": int,
    "side": str,
    "type": str,
    "status": str,
    "outcome": str,
}


def orders_of(table: object) -> list[dict[str, Any]] | None:
    """Return the orders of a frame, or of one row of it, whatever has happened to its dtypes.

    Returns
    -------
    list of dict or None
        Symbol, ids, side, type, status and outcome of each row, None where a value is missing or is not of its kind;
        None if this is neither a frame nor a row of one, or lacks a column that names an order.
    """
    if isinstance(table, pd.Series):
        table = table.to_frame().T
    if not isinstance(table, pd.DataFrame):
        return None
    names = table.columns.tolist()
    if any(names.count(name) != 1 for name in ("symbol", "orderId", "origClientOrderId")):
        return None
    columns = [
        [_plain(value, kind) for value in table[name].tolist()] if names.count(name) == 1 else [None] * len(table)
        for name, kind in _NAMING.items()
    ]
    return [dict(zip(_NAMING, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(value: object, kind: type) -> object:
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    if kind is int and hasattr(value, "__index__") and not isinstance(value, bool | np.bool_):
        return int(value)
    if kind is int and isinstance(value, float) and value.is_integer():  # what an id becomes next to missing ones
        return int(value)
    return None


_NONE = type(None)
_ABSENT: Any = object()  # distinct from null, which is a value
_AT_A_TIME = 500


def _by_column(rows: Sequence[Row], *, exact: bool) -> tuple[dict[str, list[Any]], dict[str, list[tuple[int, _Built]]]]:
    """Sort what was sent by column, None where there is nothing: an order's own fields, and under them its list's.

    Prices and quantities, most of which are different texts, are read at once, and returned with the places where they
    begin.
    """
    columns: dict[str, list[Any]] = {}
    numbers: dict[str, list[tuple[int, _Built]]] = {}
    # This many orders stay in the processor's cache while they are read once per column.
    for start in range(0, len(rows), _AT_A_TIME):
        for name, values in _some_by_column(rows[start : start + _AT_A_TIME]).items():
            if _KINDS.get(name) == "number":
                numbers.setdefault(name, []).append((start, _numbers(values, name, exact=exact)))
                continue
            column = columns.setdefault(name, [])
            column += [None] * (start - len(column))
            column += values
    for column in columns.values():
        column.extend([None] * (len(rows) - len(column)))
    return columns, numbers


def _some_by_column(rows: Sequence[Row]) -> dict[str, list[Any]]:
    """Sort what was sent by column; a column that none of these orders has is left out."""
    orders, order_lists, outcomes, _ = zip(*rows, strict=True)
    places, lists, legs = _of_lists(orders, order_lists)
    shapes = _shapes(orders)
    sources: dict[str, list[tuple[_Layer, str, str]]] = {}
    for layer, prefix in (orders, "wire."), (lists, "list."), (legs, "list.orders."):
        for name in dict.fromkeys(chain.from_iterable(shapes if layer is orders else _shapes(layer))):
            clashes = name == "outcome" or (name.startswith(("list.", "wire.")) and name not in KEPT_BESIDE)
            column = f"{prefix}{name}" if clashes else name
            if layer is legs and name == "clientOrderId":
                # A leg keeps its original client order id here; the report calls that one origClientOrderId.
                column = "origClientOrderId"
            sources.setdefault(column, []).append((layer, name, f"{prefix}{name}"))
    common = _common(orders, shapes)
    columns = {"outcome": list(outcomes)}
    otherwise: dict[str, list[Any]] = {}
    for column, [(own, name, _), *below] in sources.items():
        absent = _ABSENT if below else None
        values = common.get(name) if own is orders else None
        if values is None:
            values = [fields.get(name, absent) for fields in own]
            values = values if own is orders else _spread(_equal_texts_once(values), places, len(rows), absent)
        columns[column] = _with_those_below(values, below, places, otherwise) if below else values
    for name, values in otherwise.items():
        columns[_free(name, columns)] = values
    return columns


def _shapes(layer: _Layer) -> Iterable[tuple[str, ...]]:
    """Return the different sets of fields, a few whatever the number of orders."""
    return dict.fromkeys(map(tuple, layer))


def _common(orders: _Layer, shapes: Iterable[tuple[str, ...]]) -> dict[str, list[Any]]:
    """Return the fields that all of these orders have, faster than one by one."""
    names = set.intersection(*map(set, shapes))
    columns = zip(*map(itemgetter(*names), orders), strict=True) if len(names) > 1 else ()
    return {
        name: list(values) if _KINDS.get(name) == "number" else _equal_texts_once(values)
        for name, values in zip(names, columns, strict=False)
    }


_FEW = 16


def _equal_texts_once(values: Sequence[Any]) -> list[Any]:
    """Make equal texts one object, while they are in the processor's cache: later steps read each again."""
    some = _distinct_texts(values[: 2 * _FEW])
    if some and len(some) <= _FEW:
        first: dict[Any, Any] = {}
        with suppress(TypeError):  # of what has no hash
            equal = list(map(first.setdefault, values, values))
            if set(map(type, first)) <= {str, _NONE}:
                return equal
    return list(values)


def _with_those_below(
    values: list[Any],
    below: Iterable[tuple[_Layer, str, str]],
    places: Sequence[int],
    otherwise: dict[str, list[Any]],
) -> list[Any]:
    """Fill what is absent from the layers below, and put what differs there into `otherwise`."""
    known = [values[place] for place in places]
    for under, name, beside in below:
        others = [fields.get(name, value) for fields, value in zip(under, known, strict=True)]
        if others == known and list(map(type, others)) == list(map(type, known)):
            continue
        differs = [
            value is not _ABSENT and (type(value) is not type(other) or value != other)
            for value, other in zip(known, others, strict=True)
        ]
        if any(differs):
            beside_them = [other if differ else None for other, differ in zip(others, differs, strict=True)]
            otherwise[_free(beside, otherwise)] = _spread(beside_them, places, len(values))
        known = [other if value is _ABSENT else value for value, other in zip(known, others, strict=True)]
        for place, value in zip(places, known, strict=True):
            values[place] = value
    return [None if value is _ABSENT else value for value in values]


def _spread(values: list[Any], places: Sequence[int], length: int, filling: object = None) -> list[Any]:
    """Put values in their places, and a filling in all others."""
    spread = [filling] * length
    for place, value in zip(places, values, strict=True):
        spread[place] = value
    return spread


def _of_lists(orders: _Layer, order_lists: Iterable[Mapping[str, Any] | None]) -> tuple[list[int], _Layer, _Layer]:
    """Return which orders are in a list, and for each of these the fields of the list and of its entry for the leg."""
    places: list[int] = []
    lists: list[Mapping[str, Any]] = []
    legs: list[Mapping[str, Any]] = []
    order_list, shared, named = None, {}, []
    for place, sent in enumerate(order_lists):
        if sent is None:
            continue
        if sent is not order_list:  # the legs of a list follow each other
            order_list, named = sent, named_legs(sent)
            shared = dict(sent)
            shared.pop("orderReports", None)
            if isinstance(shared.get("orders"), list):
                del shared["orders"]
        places.append(place)
        lists.append(shared)
        number = orders[place].get("orderId")
        found = [leg for leg in named if leg.get("orderId") == number]
        legs.append(found[0] if len(found) == 1 else {name: leg[name] for leg in found for name in leg})
    return places, lists, legs


def _encodable(name: str) -> str:
    """Escape halves of surrogate pairs, which JSON can hold and column names cannot."""
    return name.encode("utf-8", "backslashreplace").decode()


def _free(name: str, taken: Mapping[str, Any]) -> str:
    while name in taken:
        name = f"wire.{name}"
    return name


@dataclass(slots=True)
class _Built:
    """A column, or a part of one.

    Attributes
    ----------
    column : array
    unfit : dict
        What it cannot hold, by place.
    inexact : int
        How many of its floats do not give the exchange's number back.
    """

    column: Any
    unfit: Mapping[int, Any] = field(default_factory=dict)
    inexact: int = 0


def _joined(parts: Iterable[tuple[int, _Built]], length: int, *, exact: bool) -> _Built:
    """Put the parts of a column of numbers together; there is nothing between them."""
    whole = np.full(length, None, object) if exact else np.full(length, np.nan)
    unfit: dict[int, Any] = {}
    inexact = 0
    for start, part in parts:
        whole[start : start + len(part.column)] = part.column
        unfit |= {start + i: value for i, value in part.unfit.items()}
        inexact += part.inexact
    return _Built(pd.Series(whole, dtype=object) if exact else whole, unfit, inexact)  # or pandas would infer it


def _split(values: list[Any], fit: Callable[[list[Any]], bool]) -> tuple[list[Any], dict[int, Any]]:
    """Separate the values that a column cannot hold from the others."""
    if fit(values):
        return values, {}
    unfit = {i: value for i, value in enumerate(values) if not fit([value])}
    return [None if i in unfit else value for i, value in enumerate(values)], unfit


_WHOLE = re.compile(r"-?[1-9][0-9]{0,18}|0", re.ASCII)


def _are_int64(values: list[Any]) -> bool:
    if not set(map(type, values)) <= {int, _NONE}:
        return False
    return min(filter(None, values), default=0) >= -(2**63) and max(filter(None, values), default=0) < 2**63


def _are_texts(values: list[Any]) -> bool:
    distinct = _distinct_texts(values)
    try:
        "".join(distinct or ()).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and Arrow cannot
        return False
    return distinct is not None


def _are_flags(values: list[Any]) -> bool:
    return set(map(type, values)) <= {bool, _NONE}


def _integers(values: list[Any]) -> tuple[np.ndarray, np.ndarray, dict[int, Any]]:
    """Return 64-bit integers, which are missing, and which did not fit."""
    if set(map(type, values)) == {int}:
        with suppress(OverflowError):
            return np.array(values, np.int64), np.zeros(len(values), bool), {}
    sent = values
    values, unfit = _split(sent, _are_int64)
    if unfit:
        read = [int(value) if type(value) is str and _WHOLE.fullmatch(value) else value for value in sent]
        values, unfit = _split(read, _are_int64)
        unfit = {i: sent[i] for i in unfit}
    missing = np.array([value is None for value in values], bool)
    return np.array([value or 0 for value in values], np.int64), missing, unfit


def _ids(values: list[Any]) -> _Built:
    data, missing, unfit = _integers(values)
    return _Built(pd.arrays.IntegerArray(data, missing), unfit)


_TEXT = pd.StringDtype(na_value=np.nan)  # "str", without looking it up each time


def _texts(values: list[Any]) -> _Built:
    values, unfit = _split(values, _are_texts)
    return _Built(pd.array(values, dtype=_TEXT), unfit)


def _flags(values: list[Any]) -> _Built:
    values, unfit = _split(values, _are_flags)
    missing = np.array([value is None for value in values], bool)
    return _Built(pd.arrays.BooleanArray(np.array([value is True for value in values], bool), missing), unfit)


_NOT_A_TIME = np.iinfo(np.int64).min
# The exchange sends milliseconds, or microseconds where asked: 13 and 16 digits since 2017 (API docs, "General API
# information"). Nothing in between, so the size tells the unit. The year 10000 bounds what a clock can show.
_FIRST_MICROSECOND = 10**14
_LAST_MILLISECOND = 253_402_300_799_999


def _times(values: list[Any]) -> _Built:
    data, missing, unfit = _integers(values)
    missing |= data == -1
    absurd = ~missing & ((data < 0) | (data > _LAST_MILLISECOND * 1000))
    fine = data >= _FIRST_MICROSECOND
    cut = absurd | (fine & (data % 1000 != 0))
    data[fine] //= 1000
    data[missing | absurd] = _NOT_A_TIME
    times = pd.DatetimeIndex(data.view("datetime64[ms]")).tz_localize("UTC")
    return _Built(times, unfit | {i: values[i] for i in np.flatnonzero(cut).tolist()})


_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_NUMBERS = re.compile(rf"(?:{_NUMBER.pattern},)*+", re.ASCII)
_ABSURD = 10**30
# A double round-trips any decimal of 15 digits (C's DBL_DIG).
_SURELY_EXACT = 15


def _numbers(values: list[Any], name: str, *, exact: bool) -> _Built:
    texts, distinct = values, _distinct_texts(values)
    if distinct is None:
        texts = [value if value is None or type(value) is str else _number_text(value) for value in values]
        distinct = _distinct_texts(texts) or []
    # Each text once: most quantities are the same few, zero above all.
    numbers = distinct if _are_numbers(distinct) else [text for text in distinct if _NUMBER.fullmatch(text)]
    known: dict[str, Any] = dict(zip(numbers, map(Decimal if exact else float, numbers), strict=True))
    rounded = set()
    for text in [text for text in numbers if len(text) > _SURELY_EXACT and not exact]:
        if math.isinf(known[text]):
            del known[text]
        elif _is_rounded(text, known[text]):
            rounded.add(text)
    unfit = {}
    if len(known) < len(distinct):
        unfit = {i: values[i] for i, text in enumerate(texts) if text is not None and text not in known}
    if name == "cummulativeQuoteQty":
        known = {text: None if number < 0 else number for text, number in known.items()}
    elif name in _NONE_AT_ZERO and 0 in known.values():
        known = {text: number if number or text in rounded else None for text, number in known.items()}
    array = np.array(list(map(known.get, texts)), object if exact else np.float64)
    return _Built(array, unfit, sum(text in rounded for text in texts) if rounded else 0)


def _distinct_texts(values: Sequence[Any]) -> list[str] | None:
    """Return each text once, as first met, or None if anything else is among them."""
    try:
        distinct = dict.fromkeys(values)  # unlike a set, in the order in which the texts lie in memory
    except TypeError:
        return None
    distinct.pop(None, None)
    return list(distinct) if set(map(type, distinct)) <= {str} else None


def _are_numbers(texts: list[str]) -> bool:
    joined = ",".join((*texts, ""))
    return joined.count(",") == len(texts) and _NUMBERS.fullmatch(joined) is not None


def _number_text(value: object) -> str:
    """Return the text of a JSON number where the exchange documents text; anything else becomes empty."""
    if type(value) is int or type(value) is float:
        return format(Decimal(repr(value)), "f") if abs(value) < _ABSURD else ""
    return ""


def _is_rounded(text: str, number: float) -> bool:
    """Return whether a float differs from the exchange's number."""
    if len(text.rstrip("0")) <= _SURELY_EXACT + ("." in text):
        return False
    return Decimal(repr(number)) != Decimal(text)


_BUILDERS: dict[Kind, Callable[[list[Any]], _Built]] = {
    "id": _ids,
    "text": _texts,
    "time": _times,
    "flag": _flags,
}


def _undocumented(values: list[Any]) -> Any:
    """Return an undocumented field in the narrowest dtype that holds all its values as sent."""
    for fit, build in ((_are_int64, _ids), (_are_texts, _texts), (_are_flags, _flags)):
        if any(value is not None for value in values) and fit(values):
            return build(values).column
    array = np.empty(len(values), object)
    array[:] = values
    return pd.Series(array, dtype=object)  # explicit, or pandas would infer it


# With the first column of text pyarrow imports more, under a lock of its own. A fork waits for this import only.
frame([])
