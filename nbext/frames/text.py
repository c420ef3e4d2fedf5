"""A frame as plain text, fitted to the width of a terminal."""

from __future__ import annotations

import shutil
import sys
from typing import TYPE_CHECKING
from unicodedata import combining, east_asian_width

from nbext.frames import columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

_MOST_LINES = 200
"""The most rows shown in full, which is how many orders a symbol may have open; of more, the first and the last."""
_GIVEN_UP = ("status", "executedQty", "stopPrice", "type", "list", "symbol", "price", "origQty")
"""The columns left out, one after the other, until the rest fits the width."""


def as_text(frame: DataFrame, width: int | None = None) -> str:
    """Return a frame of ours as a plain table no wider than the terminal."""
    import pandas as pd

    width = width or shutil.get_terminal_size().columns
    half = _MOST_LINES // 2
    shown = frame if len(frame) <= _MOST_LINES else pd.concat([frame[:half], frame[-half:]])
    texts = columns.texts(shown)
    if "list" in texts:
        brackets = columns.brackets(shown, plain=not draws("┌├└"))
        texts["list"] = [f"{bracket} {text}".rstrip() for bracket, text in zip(brackets, texts["list"], strict=True)]
    for given_up in ("", *_GIVEN_UP):
        texts.pop(given_up, None)
        lines = _lines(texts) if len(shown) else []
        if max(map(width_of, lines), default=0) <= width:
            break
    if len(frame) > _MOST_LINES:
        lines.insert(half + 1, f"... {len(frame) - 2 * half} more ...")
    said = columns.caption(frame) + (" (dry run: nothing was canceled)" if columns.is_dry_run(frame) else "")
    return "\n".join([*lines, said])


def draws(letters: str) -> bool:
    """Return whether standard output can encode these letters."""
    try:
        letters.encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _lines(texts: Mapping[str, Sequence[str]]) -> list[str]:
    """Set a table: words to the left, numbers to the right with their decimal points in line."""
    set_columns = []
    for name, column in texts.items():
        cells = list(column)
        to_the_right = name in columns.NUMBERS or name == "orderId"
        if name in columns.NUMBERS:
            paddings = columns.paddings(cells)
            cells = [text + " " * len(padding) for text, padding in zip(cells, paddings, strict=True)]
        cells = [name, *cells]
        widest = max(map(width_of, cells))
        blanks = [" " * (widest - width_of(cell)) for cell in cells]
        set_columns.append(
            [blank + cell if to_the_right else cell + blank for cell, blank in zip(cells, blanks, strict=True)]
        )
    return [" ".join(cells).rstrip() for cells in zip(*set_columns, strict=True)]


def width_of(text: str) -> int:
    """Return the number of places that a text takes in a terminal; symbols may be fullwidth."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)
