"""How a frame of ours looks: the columns that matter, amounts in the digits that the exchange uses, fitted in.

The frame itself stays as it is. Frames that are not ours look as they always did.
"""

from __future__ import annotations

import shutil
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

# Frames are recognised by the name of their type, so that registering does not import pandas.
_TYPE = "pandas", "DataFrame"
# In the order to show: what became of the order comes before what it was. ``list`` is the contingency type with the
# list's id. Where the width does not suffice, the columns of _GIVEN_UP go, one after the other.
_SHOWN = (
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
_GIVEN_UP = ("status", "executedQty", "stopPrice", "symbol", "type")
# How the exchange says that an order has none of it.
_UNUSED = {"orderListId": -1, "price": 0, "stopPrice": 0}


def register(shell: InteractiveShell) -> None:
    """Have our frames shown our way in this shell."""
    for kind, ours in _FORMATTERS.items():
        _formatter(shell, kind).for_type_by_name(*_TYPE, ours)


def unregister(shell: InteractiveShell) -> None:
    """Have all frames shown as before."""
    for kind, ours in _FORMATTERS.items():
        formatter = _formatter(shell, kind)
        for printers in (formatter.deferred_printers, formatter.type_printers):
            for key in [key for key, printer in printers.items() if printer is ours]:
                del printers[key]


def is_ours(frame: DataFrame) -> bool:
    """Whether a frame has all 24 columns in their dtypes, whatever rows were taken out of it or put in order."""
    from nbext import frames

    return frames.is_frame(frame)


def as_text(frame: DataFrame, width: int | None = None) -> str:
    """Write a frame of ours as a plain table no wider than the terminal."""
    width = width or shutil.get_terminal_size().columns
    table = _readable(frame)
    text = ""
    for given_up in (None, *_GIVEN_UP):
        if given_up in table.columns:
            table = table.drop(columns=given_up)
        text = table.to_string(index=False) if len(table) else ""
        if max(map(len, text.splitlines()), default=0) <= width:
            break
    return "\n".join(filter(None, [text, _caption(frame)]))


def as_html(frame: DataFrame) -> str:
    """Write a frame of ours as an HTML table that needs no script; values are escaped."""
    from html import escape

    table = _readable(frame).to_html(index=False, border=0, classes="dataframe nbext") if len(frame) else ""
    return f"<div>{table}<p>{escape(_caption(frame))}</p></div>"


def _plain(frame: DataFrame, printer: Any, cycle: bool) -> None:  # noqa: ANN401, ARG001 - IPython's signature
    printer.text(as_text(frame) if is_ours(frame) else repr(frame))


def _html(frame: DataFrame) -> str | None:
    return as_html(frame) if is_ours(frame) else frame._repr_html_()  # type: ignore[operator] # what IPython would have called


_FORMATTERS = {"text/plain": _plain, "text/html": _html}


def _formatter(shell: InteractiveShell, kind: str) -> Any:  # noqa: ANN401 - a formatter of IPython's, untyped
    return shell.display_formatter.formatters[kind]  # type: ignore[union-attr] # every running shell has one


def _readable(frame: DataFrame) -> DataFrame:
    """Copy the columns that matter and hold anything, as text."""
    import pandas as pd

    lists = zip(frame["contingencyType"], frame["orderListId"], strict=True)
    columns = {
        name: [
            " ".join(filter(None, (_text("contingencyType", kind), _text("orderListId", id_)))) for kind, id_ in lists
        ]
        if name == "list"
        else [_text(name, value) for value in frame[name]]
        for name in _SHOWN
    }
    if len(set(frame["symbol"])) == 1:  # the caption names it
        del columns["symbol"]
    return pd.DataFrame({name: texts for name, texts in columns.items() if any(texts)}, dtype="str")


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - a cell
    import pandas as pd

    if pd.isna(value) or (name in _UNUSED and value == _UNUSED[name]):
        return ""
    if isinstance(value, float | Decimal):
        number = Decimal(repr(value)) if isinstance(value, float) else value
        whole, _, decimals = format(number, "f").partition(".")
        return f"{whole}.{decimals.rstrip('0') or '0'}"
    return str(value)


def _caption(frame: DataFrame) -> str:
    """Say where from, and count the rows that are shown."""
    facts = frame.attrs.get("nbext", {})
    outcomes = Counter(frame["outcome"].dropna())
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in outcomes.items()) or "none"
    where = f" [{facts['profile']}, {facts['host']}]" if {"profile", "host"} <= facts.keys() else ""
    symbols = ", ".join(frame["symbol"].dropna().unique())
    return (
        f"{symbols}: {len(frame)} order{'' if len(frame) == 1 else 's'}, {counts}{where}"
        if len(frame)
        else f"no orders{where}"
    )
