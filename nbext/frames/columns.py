"""Which columns of a frame a table shows, and their text.

The frame itself stays as it is. A table has the columns that matter, with amounts in the exchange's own digits.
"""

from __future__ import annotations

from collections import Counter
from decimal import Decimal
from numbers import Integral
from typing import TYPE_CHECKING, Any

from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pandas import DataFrame

# In the order shown: the outcome of an order comes before what it was.
SHOWN = (
    "symbol",
    "orderId",
    "outcome",
    "list",
    "side",
    "type",
    "price",
    "stopPrice",
    "origQty",
    "executedQty",
    "status",
)
"""``list`` is the contingency type with the list's id."""
NUMBERS = frozenset({"price", "stopPrice", "origQty", "executedQty"})
_NO_LIST = -1
# Beside the word, so that nothing depends on color.
GLYPHS = {
    "canceled": "✓",
    "filled": "●",
    "expired": "–",
    "rejected": "✕",
    "archived": "≡",
    "open": "○",
    "unknown": "?",
    "would_cancel": "▷",
    "BUY": "▲",
    "SELL": "▼",
}


def is_ours(frame: DataFrame) -> bool:
    """Return whether a frame has all 24 columns in their dtypes, however its rows were filtered or sorted."""
    from nbext.frames import build

    return frame.columns.is_unique and build.is_frame(frame)


def readable(frame: DataFrame) -> DataFrame:
    """Return `texts` as a DataFrame."""
    import pandas as pd

    return pd.DataFrame(texts(frame), index=frame.index, dtype="str")


def texts(frame: DataFrame) -> dict[str, list[str]]:
    """Return the text of each column in `SHOWN` that holds anything; `caption` names a symbol common to all rows."""
    columns = {name: _lists(frame) if name == "list" else _column(frame, name) for name in SHOWN}
    if len(set(columns["symbol"])) == 1:
        del columns["symbol"]
    return {name: column for name, column in columns.items() if any(column)}


def amount(number: Decimal) -> str:
    """Return an amount in fixed-point digits, all of them and no more: 0.00000001, 1.0."""
    whole, _, decimals = format(number, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def caption(frame: DataFrame) -> str:
    """Return a line that says where a frame comes from and counts its rows by outcome."""
    facts = _facts(frame)
    where = (
        f" [{_text('', facts['profile'])}, {_text('', facts['host'])}]" if {"profile", "host"} <= facts.keys() else ""
    )
    if not len(frame):
        return f"{'what was open is not known' if facts.get('complete') is False else 'no orders'}{where}"
    outcomes = Counter(filter(None, _column(frame, "outcome")))
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in outcomes.items()) or "none"
    symbols = ", ".join(dict.fromkeys(filter(None, _column(frame, "symbol"))))
    return f"{symbols}: {len(frame)} order{'' if len(frame) == 1 else 's'}, {counts}{where}"


def is_dry_run(frame: DataFrame) -> bool:
    """Return whether a frame is a preview: nothing was canceled."""
    return _facts(frame).get("call") == "dry_run" if not len(frame) else "would_cancel" in set(frame["outcome"])


def brackets(frame: DataFrame, *, plain: bool = False) -> list[str]:
    """Return, row by row, the bracket that joins the legs of a list, where they are next to each other."""
    top, middle, bottom = "/|\\" if plain else "┌├└"
    symbols, ids, lists = _column(frame, "symbol"), _column(frame, "orderListId"), _lists(frame)
    keys = [(symbol, id_ or text) if text else None for symbol, id_, text in zip(symbols, ids, lists, strict=True)]
    drawn = []
    for key, above, below in zip(keys, [None, *keys[:-1]], [*keys[1:], None], strict=True):
        joins = key is not None and key == above, key is not None and key == below
        drawn.append({(False, True): top, (True, True): middle, (True, False): bottom}.get(joins, " "))
    return drawn


def paddings(numbers: Iterable[str]) -> list[str]:
    """Return the zeros that each number lacks, so that the decimal points line up."""
    decimals = [len(text.partition(".")[2]) for text in numbers]
    most = max(decimals)
    return ["0" * (most - places) for places in decimals]


def _column(frame: DataFrame, name: str) -> list[str]:
    return [_text(name, value) for value in frame[name]]


def _lists(frame: DataFrame) -> list[str]:
    both = zip(_column(frame, "contingencyType"), _column(frame, "orderListId"), strict=True)
    return [" ".join(filter(None, each)) for each in both]


def _text(name: str, value: Any) -> str:
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | Decimal):
        number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
        if number.is_nan():
            return ""
        if not number.is_finite():
            return str(number)
        return amount(number)
    if name == "orderListId" and isinstance(value, Integral) and value == _NO_LIST:
        return ""
    return printable(str(value))


def _facts(frame: DataFrame) -> Mapping[str, Any]:
    facts = frame.attrs.get("nbext")
    return facts if isinstance(facts, dict) else {}
