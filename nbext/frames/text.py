"""A frame as plain text, fitted to the width of a terminal."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width

from nbext.frames import columns, log
from nbext.untrusted import is_terminal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pandas import DataFrame

_MOST_LINES = 200
"""The most rows shown in full, which is how many orders a symbol may have open; of more, the first and the last."""
_GIVEN_UP = ("origClientOrderId", "status", "age", "type", "list", "origQty", "side", "symbol", "trigger")
"""Columns to leave out, in this order, until the rest fits the width; never prices or traded quantities."""
_GIVEN_UP_OF_LOGS = ("error", "profile", "state", "sentAt")
_GREEN, _BLUE, _YELLOW, _RED, _GREY = 32, 34, 33, 31, 90
_COLORS = {
    "canceled": _GREEN,
    "BUY": _GREEN,
    "filled": _BLUE,
    "open": _BLUE,
    "would_cancel": _YELLOW,
    "unknown": _RED,
    "SELL": _RED,
    "expired": _GREY,
    "rejected": _GREY,
    "archived": _GREY,
}


def as_text(frame: DataFrame, width: int | None = None, *, captioned: bool = True, colored: bool = False) -> str:
    """Return a frame of ours as a plain table no wider than the terminal.

    Parameters
    ----------
    frame : DataFrame
    width : int, optional
        By default that of the terminal.
    captioned : bool, default True
        Say where the frame is from, and count its rows by outcome.
    colored : bool, default False
        Set outcomes and sides in color, which only a terminal shows.
    """
    import pandas as pd

    width = width or shutil.get_terminal_size().columns
    half = _MOST_LINES // 2
    shown = frame if len(frame) <= _MOST_LINES else pd.concat([frame[:half], frame[-half:]])
    lines: list[str] = []
    notes = []
    if len(shown):
        shown.attrs = frame.attrs
        table = columns.table(shown, captioned=captioned)
        for column in table.columns:
            if column.name == "list":
                brackets = columns.brackets(shown, plain=not draws("┌├└"))
                column.cells = [f"{each} {text}".rstrip() for each, text in zip(brackets, column.cells, strict=True)]
        lines = _fitted(table, _GIVEN_UP, width, colored=colored)
        notes.append(table.note())
    if len(frame) > _MOST_LINES:
        lines.insert(half + 1, f"... {len(frame) - 2 * half} more ...")
    if columns.is_dry_run(frame) and (captioned or len(frame)):
        notes.insert(0, "dry run: nothing was canceled")
    if captioned:
        notes.insert(0, columns.caption(frame))
    said = "; ".join(filter(None, notes))
    return "\n".join([*lines, *([said] if said else [])])


def log_as_text(frame: DataFrame, width: int | None = None, *, colored: bool = False) -> str:
    """Return the journal as a plain table no wider than the terminal."""
    table = log.table(frame)
    lines = _fitted(table, _GIVEN_UP_OF_LOGS, width or shutil.get_terminal_size().columns, colored=colored)
    return "\n".join([*(lines if len(frame) else []), "; ".join(filter(None, [log.caption(frame), table.note()]))])


def _fitted(table: columns.Table, given_up: Iterable[str], width: int, *, colored: bool) -> list[str]:
    """Set a table, leaving out columns one by one until the rest fits the width."""
    left = iter(given_up)
    while max(map(width_of, _lines(table.columns)), default=0) > width and (name := next(left, None)):
        table.columns = [column for column in table.columns if column.name != name]
    return _lines(table.columns, colored=colored)


def takes_color() -> bool:
    """Return whether standard output is a terminal that shows colors; ``NO_COLOR`` forbids them."""
    return is_terminal() and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"


def draws(letters: str) -> bool:
    """Return whether standard output can encode these letters."""
    try:
        letters.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _lines(table: Sequence[columns.Column], *, colored: bool = False) -> list[str]:
    """Set a table: words to the left, numbers to the right with their decimal points in line."""
    set_columns = []
    for column in table:
        cells = list(column.cells)
        if column.kind == "number":
            paddings = columns.paddings(cells)
            cells = [text + " " * padding for text, padding in zip(cells, paddings, strict=True)]
        cells = [column.name, *cells]
        widest = max(map(width_of, cells))
        blanks = [" " * (widest - width_of(cell)) for cell in cells]
        paint = _painted if colored and column.name in {"outcome", "side"} else str
        set_columns.append(
            [
                paint(cell) + blank if column.kind == "word" else blank + cell
                for cell, blank in zip(cells, blanks, strict=True)
            ]
        )
    return [" ".join(cells).rstrip() for cells in zip(*set_columns, strict=True)]


def _painted(text: str) -> str:
    return f"\x1b[{_COLORS[text]}m{text}\x1b[0m" if text in _COLORS else text


def width_of(text: str) -> int:
    """Return the number of places that a text takes in a terminal; symbols may be fullwidth."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)
