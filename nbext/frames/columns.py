"""How a frame of ours looks: the columns that matter, amounts in the digits that the exchange uses, fitted in.

The frame itself stays as it is. Frames that are not ours look as they always did. A notebook gets an HTML table that
needs no script, so that it shows its rows on GitHub, in exports and before it is trusted. A long one brings what makes
it searchable along in the same output, compressed: no other cell and no network can fail it.
"""

from __future__ import annotations

import shutil
import sys
from base64 import b64encode
from collections import Counter
from dataclasses import dataclass
from decimal import Decimal
from functools import cache
from html import escape
from numbers import Integral
from typing import TYPE_CHECKING, Any
from unicodedata import combining, east_asian_width

from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

# Frames are recognised by the name of their type, so that registering does not import pandas.
_TYPE = "pandas", "DataFrame"
# In the order to show: what became of the order comes before what it was. ``list`` is the contingency type with the
# list's id. Where the width does not suffice, the columns of _GIVEN_UP go, one after the other.
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
_GIVEN_UP = ("status", "executedQty", "stopPrice", "type", "list", "symbol", "price", "origQty")
_NUMBERS = frozenset({"price", "stopPrice", "origQty", "executedQty"})
_NO_LIST = -1
# Beside the word, so that nothing hangs on colour.
GLYPHS = {
    "canceled": "✓",
    "filled": "●",
    "expired": "–",  # noqa: RUF001 - a dash
    "rejected": "✕",
    "archived": "≡",
    "open": "○",
    "unknown": "?",
    "would_cancel": "▷",
    "BUY": "▲",
    "SELL": "▼",
}

_MOST_LINES = 200
"""So many rows a terminal shows, which is how many orders a symbol may have open; of more, the first and the last."""
_MOST_ROWS = 1000
"""So many rows the HTML has."""
_LONG = 30
"""From more rows than that on, the HTML table can be searched, sorted and paged."""

# Lab, Notebook, VS Code and Colab say which theme is on; elsewhere the page's own colour scheme decides.
_STYLE = """
.nbext-table{--nbx-good:#116329;--nbx-done:#0550ae;--nbx-warn:#953800;--nbx-bad:#a40e26;--nbx-dim:#57606a}
@supports (color:light-dark(#000,#fff)){.nbext-table{--nbx-good:light-dark(#116329,#56d364);
--nbx-done:light-dark(#0550ae,#79c0ff);--nbx-warn:light-dark(#953800,#f0b35e);--nbx-bad:light-dark(#a40e26,#ff9b94);
--nbx-dim:light-dark(#57606a,#a0a8b2)}}
[data-jp-theme-light=false] .nbext-table,.vscode-dark .nbext-table,.vscode-high-contrast .nbext-table,
html[theme=dark] .nbext-table{--nbx-good:#56d364;--nbx-done:#79c0ff;--nbx-warn:#f0b35e;--nbx-bad:#ff9b94;
--nbx-dim:#a0a8b2}
.nbext-table{overflow:auto;max-height:42em}
.nbext-table p,.nbext-table caption{caption-side:top;text-align:left;padding:.2em 0 .5em;margin:0;color:inherit}
.nbext-table b{border:1px dashed var(--nbx-warn);color:var(--nbx-warn);padding:0 .4em;margin-right:.6em}
.nbext-table .t{border-collapse:collapse;table-layout:auto;min-width:min(40em,100%);font-size:.9em;
font-variant-numeric:tabular-nums}
.nbext-table .t.t th,.nbext-table .t.t td{padding:.2em .35em;white-space:nowrap;text-align:left}
.nbext-table .t.t .n{text-align:right}
.nbext-table .t tbody th{font-weight:inherit}
.nbext-table [data-pad]::after{content:attr(data-pad);visibility:hidden}
.nbext-table .k{font-family:monospace;color:var(--nbx-dim)}
.nbext-table:has(th[aria-sort]) .k{visibility:hidden}
.nbext-table .l{position:relative}
.nbext-table .l::before{content:"";position:absolute;left:0;top:0;bottom:0;border-left:3px solid var(--nbx-dim)}
.nbext-table .first::before{top:.3em}
.nbext-table .last::before{bottom:.3em}
.nbext-table .some{font-weight:bold}
.nbext-table .canceled,.nbext-table .BUY{color:var(--nbx-good)}
.nbext-table .filled,.nbext-table .open{color:var(--nbx-done)}
.nbext-table .expired,.nbext-table .rejected,.nbext-table .archived{color:var(--nbx-dim)}
.nbext-table .would_cancel{color:var(--nbx-warn)}
.nbext-table .unknown,.nbext-table .SELL{color:var(--nbx-bad)}
.nbext-table .unknown{font-weight:bold}
"""
# The bundle of itables goes into the page once, whichever table brings it; where it cannot, the plain table stays.
_SCRIPT = """<script type="module">
const read = packed => new Response(new Blob([Uint8Array.from(atob(packed), letter => letter.charCodeAt(0))])
  .stream().pipeThrough(new DecompressionStream("gzip"))).text();
window.nbextTables ??= (async () => {
  const style = document.createElement("style");
  style.textContent = await read("%(style)s");
  document.head.prepend(style);
  const source = await read("%(script)s");
  return import(URL.createObjectURL(new Blob([source], {type: "text/javascript"})));
})();
const {ITable, set_or_remove_dark_class} = await window.nbextTables;
set_or_remove_dark_class();
document.querySelectorAll(".nbext-table.long").forEach(box => {
  box.classList.remove("long");
  box.style.maxHeight = "none";
  new ITable(box.querySelector("table"), {order: [], pageLength: 25, lengthMenu: [10, 25, 50, 100], autoWidth: false});
});
</script>"""


def register(shell: InteractiveShell) -> None:
    """Have our frames shown our way in this shell."""
    for kind, ours in _PRINTERS.items():
        formatter = _formatter(shell, kind)
        earlier = formatter.pop(".".join(_TYPE), None)
        formatter.for_type_by_name(*_TYPE, ours(earlier.earlier if isinstance(earlier, ours) else earlier))


def unregister(shell: InteractiveShell) -> None:
    """Have all frames shown as before."""
    for kind, ours in _PRINTERS.items():
        formatter = _formatter(shell, kind)
        printer = formatter.pop(".".join(_TYPE), None)
        before = printer.earlier if isinstance(printer, ours) else printer
        if before is not None:
            formatter.for_type_by_name(*_TYPE, before)


def is_ours(frame: DataFrame) -> bool:
    """Whether a frame has all 24 columns in their dtypes, whatever rows were taken out of it or put in order."""
    from nbext.frames import build

    return frame.columns.is_unique and build.is_frame(frame)


def readable(frame: DataFrame) -> DataFrame:
    """Copy the columns of a frame of ours that matter and hold anything, as text, amounts in exact fixed-point digits.

    ``list`` is the contingency type with the list's id.
    """
    import pandas as pd

    return pd.DataFrame(_columns(frame), index=frame.index, dtype="str")


def as_text(frame: DataFrame, width: int | None = None) -> str:
    """Write a frame of ours as a plain table no wider than the terminal."""
    import pandas as pd

    width = width or shutil.get_terminal_size().columns
    half = _MOST_LINES // 2
    shown = frame if len(frame) <= _MOST_LINES else pd.concat([frame[:half], frame[-half:]])
    columns = _columns(shown)
    if "list" in columns:
        columns["list"] = _bracketed(columns, _brackets(shown, plain=not _draws_lines()))
    for given_up in ("", *_GIVEN_UP):
        columns.pop(given_up, None)
        lines = _lines(columns) if len(shown) else []
        if max(map(_width, lines), default=0) <= width:
            break
    if len(frame) > _MOST_LINES:
        lines.insert(half + 1, f"... {len(frame) - 2 * half} more ...")
    said = caption(frame) + (" (dry run: nothing was canceled)" if is_dry_run(frame) else "")
    return "\n".join([*lines, said])


def as_html(frame: DataFrame, *, searchable: bool = True) -> str:
    """Write a frame of ours as an HTML table that needs no script; values are escaped.

    Parameters
    ----------
    frame : DataFrame
    searchable : bool, default True
        Bring along what makes a long table searchable. Of no use where scripts do not run, as in a widget.
    """
    shown = frame[:_MOST_ROWS]
    is_long = searchable and len(shown) > _LONG
    mark = "<b>Dry run: nothing was canceled</b>" if is_dry_run(frame) else ""
    said = escape(caption(frame) + (f"; the first {len(shown)} are shown" if len(shown) < len(frame) else ""))
    table = f"<p>{mark}{said}</p>"
    if len(shown):
        columns = _columns(shown)
        brackets = _brackets(shown)
        paddings = {name: _paddings(texts) for name, texts in columns.items() if name in _NUMBERS}
        rows = [
            "".join(
                _cell(name, texts[row], brackets[row], paddings[name][row] if name in paddings else "")
                for name, texts in columns.items()
            )
            for row in range(len(shown))
        ]
        head = "".join(f'<th scope="col"{" class=n" * (name in _NUMBERS)}>{name}</th>' for name in columns)
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        title = f"<caption>{mark}{said}</caption>"
        table = f'<table class="t">{title}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
    box = f'<div class="nbext-table{" long" * is_long}">{table}</div>'
    return f"<style>{_STYLE}</style>{box}{_search_script() if is_long else ''}"


def amount(number: Decimal) -> str:
    """Write an amount in fixed-point digits, all of them and no more: 0.00000001, 1.0."""
    whole, _, decimals = format(number, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def caption(frame: DataFrame) -> str:
    """Say where a frame of ours is from, and count the rows that are there."""
    facts = _facts(frame)
    where = (
        f" [{_text('', facts['profile'])}, {_text('', facts['host'])}]" if {"profile", "host"} <= facts.keys() else ""
    )
    if not len(frame):
        return f"{'what was open is not known' if facts.get('complete') is False else 'no orders'}{where}"
    outcomes = Counter(filter(None, _texts(frame, "outcome")))
    counts = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in outcomes.items()) or "none"
    symbols = ", ".join(dict.fromkeys(filter(None, _texts(frame, "symbol"))))
    return f"{symbols}: {len(frame)} order{'' if len(frame) == 1 else 's'}, {counts}{where}"


def is_dry_run(frame: DataFrame) -> bool:
    """Whether a frame of ours shows what would be canceled, and nothing was."""
    return _facts(frame).get("call") == "dry_run" if not len(frame) else "would_cancel" in set(frame["outcome"])


@dataclass(frozen=True, slots=True)
class _Plain:
    """Prints our frames as text, and others as they were printed before."""

    earlier: Callable[[DataFrame, Any, bool], None] | None

    def __call__(self, frame: DataFrame, printer: Any, cycle: bool) -> None:  # noqa: ANN401 - IPython's
        if is_ours(frame):
            printer.text(as_text(frame))
        elif self.earlier is not None:
            self.earlier(frame, printer, cycle)
        else:
            printer.text(repr(frame))


@dataclass(frozen=True, slots=True)
class _Html:
    """Renders our frames as HTML, and others as they were rendered before."""

    earlier: Callable[[DataFrame], str | None] | None

    def __call__(self, frame: DataFrame) -> str | None:
        if is_ours(frame):
            return as_html(frame)
        if self.earlier is not None:
            return self.earlier(frame)
        html: str | None = frame._repr_html_()  # type: ignore[operator] # what IPython would have called
        return html


_PRINTERS: dict[str, Any] = {"text/plain": _Plain, "text/html": _Html}


def _formatter(shell: InteractiveShell, kind: str) -> Any:  # noqa: ANN401 - a formatter of IPython's, untyped
    return shell.display_formatter.formatters[kind]  # type: ignore[union-attr] # every running shell has one


def _columns(frame: DataFrame) -> dict[str, list[str]]:
    """Write the columns that matter and hold anything."""
    columns = {name: _lists(frame) if name == "list" else _texts(frame, name) for name in SHOWN}
    if len(set(columns["symbol"])) == 1:  # the caption names it
        del columns["symbol"]
    return {name: texts for name, texts in columns.items() if any(texts)}


def _texts(frame: DataFrame, name: str) -> list[str]:
    return [_text(name, value) for value in frame[name]]


def _lists(frame: DataFrame) -> list[str]:
    both = zip(_texts(frame, "contingencyType"), _texts(frame, "orderListId"), strict=True)
    return [" ".join(filter(None, each)) for each in both]


def _text(name: str, value: Any) -> str:  # noqa: ANN401 - a cell
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


def _brackets(frame: DataFrame, *, plain: bool = False) -> list[str]:
    """Draw what holds the legs of a list together, where they stand one below the other."""
    top, middle, bottom = "/|\\" if plain else "┌├└"
    symbols, ids, lists = _texts(frame, "symbol"), _texts(frame, "orderListId"), _lists(frame)
    keys = [(symbol, id_ or text) if text else None for symbol, id_, text in zip(symbols, ids, lists, strict=True)]
    drawn = []
    for key, above, below in zip(keys, [None, *keys[:-1]], [*keys[1:], None], strict=True):
        joins = key is not None and key == above, key is not None and key == below
        drawn.append({(False, True): top, (True, True): middle, (True, False): bottom}.get(joins, " "))
    return drawn


def _bracketed(columns: Mapping[str, Sequence[str]], brackets: Sequence[str]) -> list[str]:
    return [f"{bracket} {text}".rstrip() for bracket, text in zip(brackets, columns["list"], strict=True)]


def _draws_lines() -> bool:
    """Whether what is printed can hold a bracket: not everywhere is the encoding UTF-8."""
    try:
        "┌├└".encode(getattr(sys.stdout, "encoding", None) or "utf-8")
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _paddings(texts: Iterable[str]) -> list[str]:
    """Say by how many places each number has to move to the left, for all to stand point below point."""
    decimals = [len(text.partition(".")[2]) for text in texts]
    most = max(decimals)
    return ["0" * (most - places) for places in decimals]


def _lines(columns: Mapping[str, Sequence[str]]) -> list[str]:
    """Set a table: words to the left, numbers to the right with point below point."""
    set_columns = []
    for name, texts in columns.items():
        cells = list(texts)
        to_the_right = name in _NUMBERS or name == "orderId"
        if name in _NUMBERS:
            cells = [text + " " * len(padding) for text, padding in zip(cells, _paddings(cells), strict=True)]
        cells = [name, *cells]
        widest = max(map(_width, cells))
        blanks = [" " * (widest - _width(cell)) for cell in cells]
        set_columns.append(
            [blank + cell if to_the_right else cell + blank for cell, blank in zip(cells, blanks, strict=True)]
        )
    return [" ".join(cells).rstrip() for cells in zip(*set_columns, strict=True)]


def _width(text: str) -> int:
    """Count the places that a text takes in a terminal; symbols may be fullwidth."""
    if text.isascii():
        return len(text)
    return sum(0 if combining(letter) else 1 + (east_asian_width(letter) in "WF") for letter in text)


def _cell(name: str, text: str, bracket: str, padding: str) -> str:
    shown = escape(text)
    if name == "orderId":
        return f'<th scope="row">{shown}</th>'
    if name in _NUMBERS:
        some = " some" if name == "executedQty" and text.strip("0.") else ""
        return f'<td class="n{some}"{f" data-pad={padding}" if padding else ""}>{shown}</td>'
    if name == "list":
        place = {"┌": " first", "└": " last", " ": " first last"}.get(bracket, "")
        drawn = f'<span class="k" aria-hidden="true">{bracket}</span> {shown}'
        return f'<td class="l{place}">{_unbroken(drawn)}</td>' if text else "<td></td>"
    if name in {"outcome", "side"} and text in GLYPHS:
        words = f'<span aria-hidden="true">{GLYPHS[text]}</span> {shown.replace("_", " ")}'
        return f'<td class="{shown}">{_unbroken(words)}</td>'
    return f"<td>{shown}</td>"


def _unbroken(html: str) -> str:
    """Keep a cell on one line where our style is taken away: on GitHub, and in notebooks that are not trusted."""
    mark, end, words = html.partition("</span>")
    return mark + end + words.replace(" ", "&nbsp;")


@cache
def _search_script() -> str:
    import gzip
    from pathlib import Path

    import itables

    folder = Path(itables.__file__).parent / "html"
    packed = {
        name: b64encode(gzip.compress((folder / file).read_bytes(), mtime=0)).decode()
        for name, file in (("style", "dt_bundle.css"), ("script", "dt_bundle.js"))
    }
    return _SCRIPT % packed


def _facts(frame: DataFrame) -> Mapping[str, Any]:
    facts = frame.attrs.get("nbext")
    return facts if isinstance(facts, dict) else {}
