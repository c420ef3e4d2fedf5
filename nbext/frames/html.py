"""A frame as an HTML table that needs no script, so that GitHub, exports and untrusted notebooks show its rows.

A long one carries what makes it searchable in the same output, compressed: it depends on no other cell and no network.
"""

from __future__ import annotations

from base64 import b64encode
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING

from nbext.frames import columns

if TYPE_CHECKING:
    from pandas import DataFrame

_MOST_ROWS = 1000
"""The most rows that the HTML has."""
_LONG = 30
"""A table of more rows than this can be searched, sorted and paged."""


def as_html(frame: DataFrame, *, searchable: bool = True) -> str:
    """Return a frame of ours as an HTML table; values are escaped.

    Parameters
    ----------
    frame : DataFrame
    searchable : bool, default True
        Include what makes a long table searchable. Useless where scripts do not run, as in a widget.
    """
    shown = frame[:_MOST_ROWS]
    is_long = searchable and len(shown) > _LONG
    mark = "<b>Dry run: nothing was canceled</b>" if columns.is_dry_run(frame) else ""
    said = escape(columns.caption(frame) + (f"; the first {len(shown)} are shown" if len(shown) < len(frame) else ""))
    table = f"<p>{mark}{said}</p>"
    if len(shown):
        texts = columns.texts(shown)
        brackets = columns.brackets(shown)
        paddings = {name: columns.paddings(column) for name, column in texts.items() if name in columns.NUMBERS}
        rows = [
            "".join(
                _cell(name, column[row], brackets[row], paddings[name][row] if name in paddings else "")
                for name, column in texts.items()
            )
            for row in range(len(shown))
        ]
        head = "".join(f'<th scope="col"{" class=n" * (name in columns.NUMBERS)}>{name}</th>' for name in texts)
        body = "\n".join(f"<tr>{row}</tr>" for row in rows)
        title = f"<caption>{mark}{said}</caption>"
        table = f'<table class="t">{title}<thead><tr>{head}</tr></thead><tbody>\n{body}\n</tbody></table>'
    box = f'<div class="nbext-table{" long" * is_long}">{table}</div>'
    # Lab, Notebook, VS Code and Colab tell the style sheet which theme is on; elsewhere the page's colors decide.
    return f"<style>\n{_beside('table.css')}</style>{box}{_search_script() if is_long else ''}"


def _cell(name: str, text: str, bracket: str, padding: str) -> str:
    shown = escape(text)
    if name == "orderId":
        return f'<th scope="row">{shown}</th>'
    if name in columns.NUMBERS:
        some = " some" if name == "executedQty" and text.strip("0.") else ""
        return f'<td class="n{some}"{f" data-pad={padding}" if padding else ""}>{shown}</td>'
    if name == "list":
        place = {"┌": " first", "└": " last", " ": " first last"}.get(bracket, "")
        drawn = f'<span class="k" aria-hidden="true">{bracket}</span> {shown}'
        return f'<td class="l{place}">{_unbroken(drawn)}</td>' if text else "<td></td>"
    if name in {"outcome", "side"} and text in columns.GLYPHS:
        words = f'<span aria-hidden="true">{columns.GLYPHS[text]}</span> {shown.replace("_", " ")}'
        return f'<td class="{shown}">{_unbroken(words)}</td>'
    return f"<td>{shown}</td>"


def _unbroken(html: str) -> str:
    """Keep a cell on one line even without our style sheet: on GitHub, and in notebooks that are not trusted."""
    mark, end, words = html.partition("</span>")
    return mark + end + words.replace(" ", "&nbsp;")


@cache
def _beside(name: str) -> str:
    return resources.files(__package__).joinpath(name).read_text("utf-8")


@cache
def _search_script() -> str:
    import gzip
    from pathlib import Path

    import itables

    script = _beside("table.js")
    folder = Path(itables.__file__).parent / "html"
    for placeholder, file in (("PACKED_STYLE", "dt_bundle.css"), ("PACKED_SCRIPT", "dt_bundle.js")):
        packed = b64encode(gzip.compress((folder / file).read_bytes(), mtime=0)).decode()
        script = script.replace(placeholder, packed)
    return f'<script type="module">\n{script}</script>'
