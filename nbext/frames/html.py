"""A frame as an HTML table that needs no script, so that GitHub, exports and untrusted notebooks show its rows.

GitHub keeps attributes, an untrusted notebook keeps inline styles, and only a trusted one keeps the style sheet and the
scripts. So alignment, spacing and color are said in all three, and glyphs and words carry what matters. A long table is
made searchable by a library that one output of a notebook carries for all of them, compressed.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from nbext.frames import checks, columns, log

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_ROWS = 1000
"""The most rows that the HTML has."""
_CLASSES = "nbext-table tex2jax_ignore mathjax_ignore"
"""Pages set formulas in what they show, even across cells, unless told not to."""
_LONG = 30
"""A table of more rows than this can be searched, sorted and paged."""
_FIGURE_SPACE = "\N{FIGURE SPACE}"
"""As wide as a digit: it lines decimal points up where nothing else does."""
_LEFT, _RIGHT = (
    f' align="{side}" nowrap style="text-align:{side};white-space:nowrap;padding:2px 6px"' for side in ("left", "right")
)
# Readable on white and on #111, 4.3:1, which is the best that one color can do; the style sheet has better ones. On the
# tint that pages give to every other row they would be below 4, so where the sheet is stripped there is no tint.
_GREEN, _BLUE, _GREY, _ORANGE, _RED = "#148d2f", "#1f78df", "#797a7a", "#bb621a", "#e23640"
_ROW = '<tr style="background:none">'
_COLORS = {
    "canceled": _GREEN,
    "filled": _BLUE,
    "open": _BLUE,
    "expired": _GREY,
    "rejected": _GREY,
    "archived": _GREY,
    "would_cancel": _ORANGE,
    "unknown": _RED,
    "BUY": _GREEN,
    "SELL": _RED,
}
_COLORED_LIKE = {"ok": "canceled", "warn": "would_cancel", "fail": "unknown"}
"""The states of a check, and the outcome whose color each has."""


def is_long(frame: DataFrame) -> bool:
    """Return whether a table of a frame can be searched, where scripts run."""
    return len(frame) > _LONG


def as_html(frame: DataFrame, *, captioned: bool = True, searchable: bool = True, carries: bool = True) -> str:
    """Return a frame of ours as an HTML table; values are escaped.

    Parameters
    ----------
    frame : DataFrame
    captioned : bool, default True
        Say where the frame is from, and count its rows by outcome.
    searchable : bool, default True
        Include what makes a long table searchable. Useless where scripts do not run, as in a widget.
    carries : bool, default True
        Whether to include the library as well, or to rely on another output of the notebook that does.
    """
    shown = frame[:_MOST_ROWS]
    scripted = searchable and is_long(shown)
    mark = "<b>Dry run: nothing was canceled</b>" if columns.is_dry_run(frame) and (captioned or len(frame)) else ""
    said = mark + (escape(columns.caption(frame)) if captioned else "")
    if not len(shown):
        return f'{_style()}<div class="{_CLASSES}"><p>{said}</p></div>' if said else ""
    cut = f"the first {len(shown)} of {len(frame)} orders are shown" if len(shown) < len(frame) else ""
    html = _html(columns.table(shown, captioned=captioned), shown, said, cut, scripted=scripted)
    return html + (_scripts(carries=carries) if scripted else "")


def log_as_html(frame: DataFrame) -> str:
    """Return the journal as an HTML table; values are escaped. Of more rows than it has, the latest."""
    shown = frame[-_MOST_ROWS:]
    said = escape(log.caption(frame))
    if not len(shown):
        return f'{_style()}<div class="{_CLASSES}"><p>{said}</p></div>'
    cut = f"the last {len(shown)} of {len(frame)} requests are shown" if len(shown) < len(frame) else ""
    return _html(log.table(shown), shown, said, cut, scripted=False)


def checks_as_html(frame: DataFrame) -> str:
    """Return the doctor's checks as an HTML table, whose long texts wrap; values are escaped."""
    side = ' align="left" style="text-align:left;padding:2px 6px"'
    rows = [
        f"<tr>{_colored(_COLORED_LIKE.get(state, ''), escape(state))}"
        f"<th{side}>{_unbroken(escape(check))}</th><td{side}>{escape(found)}</td></tr>"
        for state, check, found in checks.rows(frame)
    ]
    body = "\n".join(rows)
    return (
        f'{_style()}<div class="{_CLASSES}"><table class="t" cellpadding="4" style="margin:0"><tbody>\n{body}\n'
        "</tbody></table></div>"
    )


def _html(table: columns.Table, frame: DataFrame, said: str, cut: str, *, scripted: bool) -> str:
    cells = [_cells(column, frame, scripted=scripted) for column in table.columns]
    body = "\n".join(f"{_ROW}{''.join(row)}</tr>" for row in zip(*cells, strict=True))
    head = "".join(map(_header, table.columns))
    note = "; ".join(filter(None, [cut, table.note()]))
    return (
        f'{_style()}<div class="{_CLASSES}{" long" * scripted}">'
        f'<table class="t" cellpadding="4" style="margin:0">{f"<caption{_LEFT}>{said}</caption>" if said else ""}'
        f"<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>"
        f"{f'<p class=note>{escape(note)}</p>' if note else ''}</div>"
    )


def _header(column: columns.Column) -> str:
    side = _LEFT if column.kind == "word" else _RIGHT
    by_list = ' class="by-list"' if column.name == "list" else ""
    return f'<th scope="col"{by_list}{side}>{escape(column.name)}</th>'


def _cells(column: columns.Column, frame: DataFrame, *, scripted: bool) -> list[str]:
    """Return the cells of a column, with what a script is to sort by where the text will not do."""
    texts = [escape(text) for text in column.cells]
    if column.name == "orderId":
        # The key is text: of a number, a script would keep 53 bits, also behind a currency's letter (k, r or f).
        return [f'<th scope="row"{_key(f"id{text:0>20}", scripted)}{_RIGHT}>{text}</th>' for text in texts]
    if column.name == "list":
        return [
            f'<td class="l{_PLACES[bracket] if text else ""}"{_key(key or _AFTER_LISTS, scripted)}{_LEFT}>'
            f"{f'<span class=k aria-hidden=true>{bracket}</span> {_unbroken(text)}' if text else ''}</td>"
            for text, key, bracket in zip(texts, columns.list_keys(frame), columns.brackets(frame), strict=True)
        ]
    if column.name in {"outcome", "side"}:
        marked = {text: _marked(text) for text in set(texts)}
        return [marked[text] for text in texts]
    if column.kind == "number":
        some = ' class="some"' if column.name == "executedQty" else ""
        return [
            f"<td{some if text.strip('0.') else ''}{_key(text, scripted)}{_RIGHT}>{text}{_FIGURE_SPACE * padding}</td>"
            for text, padding in zip(texts, columns.paddings(column.cells), strict=True)
        ]
    side = _LEFT if column.kind == "word" else _RIGHT
    return [f"<td{side}>{_unbroken(text)}</td>" for text in texts]


_AFTER_LISTS = "~"
"""What single orders are sorted by among lists."""
_PLACES = {"┌": " first", "├": "", "└": " last", " ": " first last"}


def _key(key: str, scripted: bool) -> str:
    return f' data-order="{escape(key)}"' if scripted else ""


def _marked(text: str) -> str:
    """Return the cell of an outcome or a side, with its glyph and in its color, if it is one that we know."""
    if text not in columns.GLYPHS:
        return f"<td{_LEFT}>{text}</td>"
    words = _unbroken(text.replace("_", " "))
    return _colored(text, f"<span aria-hidden=true>{columns.GLYPHS[text]}</span> {words}")


def _colored(kind: str, html: str) -> str:
    color = _COLORS.get(kind, "inherit")
    return f'<td class="{kind}"{_LEFT}><font color="{color}" style="color:{color}">{html}</font></td>'


def _unbroken(text: str) -> str:
    """Keep a text on one line even where neither styles nor attributes do."""
    return text.replace(" ", "&nbsp;")


@cache
def _style() -> str:
    # Lab, Notebook, VS Code and Colab tell the style sheet which theme is on; elsewhere the page's colors decide.
    return f"<style>\n{_beside('table.css')}</style>"


@cache
def _beside(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


@cache
def _scripts(*, carries: bool) -> str:
    """Return the script of a long table, and the library that it waits for, unless another output has that."""
    import gzip
    from pathlib import Path

    import itables

    script = _beside("table.js")
    if carries:
        library = _beside("library.js")
        folder = Path(itables.__file__).parent / "html"
        for placeholder, file in (("PACKED_STYLE", "dt_bundle.css"), ("PACKED_SCRIPT", "dt_bundle.js")):
            packed = b64encode(gzip.compress((folder / file).read_bytes(), mtime=0)).decode()
            library = library.replace(placeholder, packed)
        script = library + script
    return f'<script type="module">\n{script}</script>'
