"""Values in, one typed column out; and beside it, what the column cannot hold."""

from __future__ import annotations

import math
import re
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Kind = Literal["id", "text", "number", "time", "flag"]

NONE = type(None)
NONE_AT_ZERO = frozenset({"price", "stopPrice", "origQty", "origQuoteOrderQty", "icebergQty"})
"""Where a zero means that an order has none."""


@dataclass(slots=True)
class Built:
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


def joined(parts: Iterable[tuple[int, Built]], length: int, *, exact: bool) -> Built:
    """Put the parts of a column of numbers together; there is nothing between them."""
    whole = np.full(length, None, object) if exact else np.full(length, np.nan)
    unfit: dict[int, Any] = {}
    inexact = 0
    for start, part in parts:
        whole[start : start + len(part.column)] = part.column
        unfit |= {start + i: value for i, value in part.unfit.items()}
        inexact += part.inexact
    return Built(pd.Series(whole, dtype=object) if exact else whole, unfit, inexact)  # or pandas would infer it


def _split(values: list[Any], fit: Callable[[list[Any]], bool]) -> tuple[list[Any], dict[int, Any]]:
    """Separate the values that a column cannot hold from the others."""
    if fit(values):
        return values, {}
    unfit = {i: value for i, value in enumerate(values) if not fit([value])}
    return [None if i in unfit else value for i, value in enumerate(values)], unfit


_WHOLE = re.compile(r"-?[1-9][0-9]{0,18}|0", re.ASCII)


def _are_int64(values: list[Any]) -> bool:
    if not set(map(type, values)) <= {int, NONE}:
        return False
    return min(filter(None, values), default=0) >= -(2**63) and max(filter(None, values), default=0) < 2**63


def _are_texts(values: list[Any]) -> bool:
    distinct = distinct_texts(values)
    try:
        "".join(distinct or ()).encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which JSON can hold and Arrow cannot
        return False
    return distinct is not None


def _are_flags(values: list[Any]) -> bool:
    return set(map(type, values)) <= {bool, NONE}


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


def _ids(values: list[Any]) -> Built:
    data, missing, unfit = _integers(values)
    return Built(pd.arrays.IntegerArray(data, missing), unfit)


_TEXT = pd.StringDtype(na_value=np.nan)  # "str", without looking it up each time


def _texts(values: list[Any]) -> Built:
    values, unfit = _split(values, _are_texts)
    return Built(pd.array(values, dtype=_TEXT), unfit)


def _flags(values: list[Any]) -> Built:
    values, unfit = _split(values, _are_flags)
    missing = np.array([value is None for value in values], bool)
    return Built(pd.arrays.BooleanArray(np.array([value is True for value in values], bool), missing), unfit)


_NOT_A_TIME = np.iinfo(np.int64).min
# The exchange sends milliseconds, or microseconds where asked: 13 and 16 digits since 2017 (API docs, "General API
# information"). Nothing in between, so the size tells the unit. The year 10000 bounds what a clock can show.
_FIRST_MICROSECOND = 10**14
_LAST_MILLISECOND = 253_402_300_799_999


def _times(values: list[Any]) -> Built:
    data, missing, unfit = _integers(values)
    missing |= data == -1
    absurd = ~missing & ((data < 0) | (data > _LAST_MILLISECOND * 1000))
    fine = data >= _FIRST_MICROSECOND
    cut = absurd | (fine & (data % 1000 != 0))
    data[fine] //= 1000
    data[missing | absurd] = _NOT_A_TIME
    times = pd.DatetimeIndex(data.view("datetime64[ms]")).tz_localize("UTC")
    return Built(times, unfit | {i: values[i] for i in np.flatnonzero(cut).tolist()})


_NUMBER = re.compile(r"-?[0-9]+(?:\.[0-9]+)?", re.ASCII)
_NUMBERS = re.compile(rf"(?:{_NUMBER.pattern},)*+", re.ASCII)
_ABSURD = 10**30
# A double round-trips any decimal of 15 digits (C's DBL_DIG).
_SURELY_EXACT = 15


def numbers_of(values: list[Any], name: str, *, exact: bool) -> Built:
    """Return a column of prices or quantities, or a part of one."""
    texts, distinct = values, distinct_texts(values)
    if distinct is None:
        texts = [value if value is None or type(value) is str else _number_text(value) for value in values]
        distinct = distinct_texts(texts) or []
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
    elif name in NONE_AT_ZERO and 0 in known.values():
        known = {text: number if number or text in rounded else None for text, number in known.items()}
    array = np.array(list(map(known.get, texts)), object if exact else np.float64)
    return Built(array, unfit, sum(text in rounded for text in texts) if rounded else 0)


def distinct_texts(values: Sequence[Any]) -> list[str] | None:
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


BUILDERS: dict[Kind, Callable[[list[Any]], Built]] = {
    "id": _ids,
    "text": _texts,
    "time": _times,
    "flag": _flags,
}


def undocumented(values: list[Any]) -> Any:
    """Return an undocumented field in the narrowest dtype that holds all its values as sent."""
    for fit, build in ((_are_int64, _ids), (_are_texts, _texts), (_are_flags, _flags)):
        if any(value is not None for value in values) and fit(values):
            return build(values).column
    array = np.empty(len(values), object)
    array[:] = values
    return pd.Series(array, dtype=object)  # explicit, or pandas would infer it
