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
- A zero as ``price``, ``stopPrice``, ``origQty``, ``origQuoteOrderQty`` or ``icebergQty`` means that an order has none,
  or none yet, and is missing, so that no comparison of prices finds an order at market. Other zeros are amounts.
- An id, a count or a time that was sent as text of digits is that number.
"""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nbext.frames.typed import BUILDERS, NONE, distinct_texts, joined, numbers_of, undocumented
from nbext.orders import KEPT_BESIDE, named_legs

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbext.frames.typed import Built, Kind
    from nbext.orders import Row

    _Layer = Sequence[Mapping[str, Any]]

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
        built = joined(numbers.get(name, ()), len(rows), exact=exact) if kind == "number" else None
        built = built or BUILDERS[kind](sent.pop(name, nothing))
        columns[name] = built.column
        if built.inexact:
            inexact[name] = built.inexact
        if built.unfit:
            leftovers[name] = built.unfit
    for name, values in sent.items():
        columns[_free(_encodable(name), columns)] = undocumented(values)
    for name, unfit in leftovers.items():
        columns[_free(f"wire.{name}", columns)] = undocumented([unfit.get(i) for i in range(len(rows))])
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


_EXACT_DIGITS = 15
"""A float holds any number of so many digits."""
_MOST_WRITTEN = Decimal("1e18")
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
        and the quantity as text, which tells an order that was amended later from another. None if this is neither a
        frame nor a row of one, or lacks a column that names an order.
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
    orders = [dict(zip(_NAMING, values, strict=True)) for values in zip(*columns, strict=True)]
    if names.count("origQty") == 1:
        for order, value in zip(orders, table["origQty"].tolist(), strict=True):
            if (quantity := _written(value)) is not None:
                order["origQty"] = quantity
    return orders


def _written(value: object) -> str | None:
    """Return a quantity as an exchange writes it; None for what is none, or may have been rounded."""
    number = Decimal(repr(float(value))) if isinstance(value, float) else value
    if not isinstance(number, Decimal) or not number.is_finite() or not 0 < number < _MOST_WRITTEN:
        return None
    if isinstance(value, float) and len(number.as_tuple().digits) > _EXACT_DIGITS:
        return None
    return f"{number:f}"


def _plain(value: object, kind: type) -> object:
    if isinstance(value, kind) and not isinstance(value, bool):
        return value
    if kind is int and hasattr(value, "__index__") and not isinstance(value, bool | np.bool_):
        return int(value)
    if kind is int and isinstance(value, float) and value.is_integer():  # what an id becomes next to missing ones
        return int(value)
    return None


_ABSENT: Any = object()  # distinct from null, which is a value
_AT_A_TIME = 500


def _by_column(rows: Sequence[Row], *, exact: bool) -> tuple[dict[str, list[Any]], dict[str, list[tuple[int, Built]]]]:
    """Sort what was sent by column, None where there is nothing: an order's own fields, and under them its list's.

    Prices and quantities, most of which are different texts, are read at once, and returned with the places where they
    begin.
    """
    columns: dict[str, list[Any]] = {}
    numbers: dict[str, list[tuple[int, Built]]] = {}
    # This many orders stay in the processor's cache while they are read once per column.
    for start in range(0, len(rows), _AT_A_TIME):
        for name, values in _some_by_column(rows[start : start + _AT_A_TIME]).items():
            if _KINDS.get(name) == "number":
                numbers.setdefault(name, []).append((start, numbers_of(values, name, exact=exact)))
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
    some = distinct_texts(values[: 2 * _FEW])
    if some and len(some) <= _FEW:
        first: dict[Any, Any] = {}
        with suppress(TypeError):  # of what has no hash
            equal = list(map(first.setdefault, values, values))
            if set(map(type, first)) <= {str, NONE}:
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


# With the first column of text pyarrow imports more, under a lock of its own. A fork waits for this import only.
frame([])
