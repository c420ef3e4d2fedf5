"""How a ladder looks: as HTML that needs no script, or as plain text."""

from __future__ import annotations

import re
import shutil
from functools import cache
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, NamedTuple

from nbext.frames import columns
from nbext.frames.text import draws, width_of
from nbext.messages import amount

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from decimal import Decimal

    from nbext.frames.ladder import Ladder, Mark, Rung, Symbol

# Where our style sheet is stripped, one color has to do for light and dark pages.
_COLORS = {"BUY": "#148d2f", "SELL": "#e23640"}
_OTHER, _BLUE = "#797a7a", "#1f78df"
_CELL = "padding:1px 5px;font-weight:normal"
_NUMBER = f"{_CELL};white-space:nowrap"
_NARROW, _WIDE = 1, 40
"""The widths of columns, in percent: of numbers, which take what they need, and of bars, which share the rest."""
_TRACKS = 8
"""The most order lists drawn side by side; the labels name them in any case."""
_LONGEST, _SHORTEST = 14, 4
"""How long the longest bar of a side is in text."""
_WORDED = 6
"""The most orders of a level that are named when the pointer rests on it."""
_JOINED = re.compile(r" (?=%|\d+\])")
"""Blanks of a label at which no line ends: ``5 %``, ``[OCO 7917]``."""
_PLAIN = frozenset({"open", "would_cancel", ""})
"""Outcomes that need no words."""
_LEGENDS = {
    "waits": "Outlined: pending or not triggered, at the trigger.",
    "bound": "≥ or ≤: a trailing stop, where it triggers if the price turns now.",
    "traded": "Hatched: traded.",
    "depth": "Thin: all that is on the book from the last price up to there.",
}


def as_html(ladder: Ladder, *, selectable: bool = False) -> str:
    """Return a ladder as HTML; values are escaped.

    Parameters
    ----------
    ladder : Ladder
    selectable : bool, default False
        Make each price a button. Either way, a rung is a ``tr`` whose ``data-order-ids`` holds the ids of its open
        orders, separated by blanks, in a ``table`` whose ``data-symbol`` names their symbol.
    """
    mark = '<span class="dry">Dry run: nothing was canceled</span>' if ladder.is_dry_run else ""
    parts = [f"<style>\n{_style()}</style>", f"<p>{mark}{escape(ladder.caption)}</p>"]
    parts += [(_levels_html if symbol.step else _singles_html)(symbol, selectable) for symbol in ladder.symbols]
    occurs = _occurs(ladder.symbols)
    if legend := " ".join(words for name, words in _LEGENDS.items() if occurs[name]):
        parts.append(f'<p class="legend"><small>{escape(legend)}</small></p>')
    return f'<div class="nbext-ladder tex2jax_ignore mathjax_ignore">{"".join(parts)}</div>'


def _singles_html(symbol: Symbol, selectable: bool) -> str:
    most = max((mark.quantity for rung in symbol.rungs for mark in rung.marks), default=None) or 1
    tracks = _tracks(symbol)
    rows = []
    for place, rung in enumerate(symbol.rungs):
        drawn = "".join(_track(place, track) for track in tracks)
        if rung.is_last:
            said = f'<td class="last" colspan="2" align="center" style="padding:1px;text-align:center;color:{_BLUE}">'
            said += f"<b>last {_amount(rung.at)}</b></td>"
            rows.append(f'<tr class="last"><td></td>{said}{drawn}<td></td></tr>')
            continue
        (mark,) = rung.marks
        bar, label = "".join(_bars(mark, most)), _label_html(mark)
        left, right = (bar, label) if mark.side == "BUY" else (label, bar)
        cells = f"{_td(left, 'right', 'buy wide')}{_td(right, 'left', 'wide')}{drawn}{_distance(symbol, rung)}"
        rows.append(f"<tr{_ids(rung)}{_title(rung)}>{_price(rung, f'{mark.bound} '.lstrip(), selectable)}{cells}</tr>")
    heads = [("price", "right", _NARROW), ("buys", "right", _WIDE), ("sells", "left", _WIDE)]
    return _table(symbol, [*heads, *[("", "left", _NARROW)] * len(tracks), ("from last", "right", _NARROW)], rows)


def _levels_html(symbol: Symbol, selectable: bool) -> str:
    sides = ("BUY", "SELL")
    most = max(_total(rung, side) for rung in symbol.rungs for side in sides) or 1
    deepest = max((rung.depth.get(side) or most * 0 for rung in symbol.rungs for side in sides), default=0) or 1
    rows = []
    for rung in symbol.rungs:
        cells = {side: _level_cells(rung, side, most, deepest) for side in sides}
        drawn = "".join(cells["BUY"]) + "".join(reversed(cells["SELL"]))
        here = f'<b style="color:{_BLUE}">last {_amount(symbol.last)}</b>'
        far = _td(here, "right", "last") if rung.is_last else _distance(symbol, rung)
        said = f"{rung.beyond} " if rung.beyond else ""
        row = f"{_price(rung, said, selectable)}{drawn}{far}"
        rows.append(f"<tr{' class=here' * rung.is_last}{_ids(rung)}{_title(rung)}>{row}</tr>")
    heads = [(name, "right", _NARROW) for name in ("price", "depth", "buys")]
    heads += [("", "right", _WIDE), ("", "left", _WIDE), ("sells", "left", _NARROW), ("depth", "left", _NARROW)]
    return _table(symbol, [*heads, ("from last", "right", _NARROW)], rows)


def _level_cells(rung: Rung, side: str, most: Decimal | int, deepest: Decimal | int) -> list[str]:
    """Return depth, quantities and bars of one side, from the outside to the middle."""
    align = "right" if side == "BUY" else "left"
    on_book, waiting, ended = rung.on_book(side), rung.waiting(side), rung.ended(side)
    parts = [
        _part(side, "", on_book / most),
        _part(side, "waits", waiting / most),
        _part(side, "ended", ended / most),
    ]
    depth = rung.depth.get(side)
    thin = _part(side, "depth", depth / deepest) if depth else ""
    bars = "".join(parts[::-1] if side == "BUY" else parts)
    said = [_amount(on_book)] if on_book else []
    said += [f"({_amount(waiting)})"] if waiting else []
    said += [f"<s>{_amount(ended)}</s>"] if ended else []
    stacked = (
        f'<div style="line-height:12px">{bars}</div><div style="line-height:4px">{thin}</div>' if bars or thin else ""
    )
    return [
        _td(_amount(depth) if depth else "", align, "pale"),
        _td(" ".join(said), align),
        _td(stacked, align, "buy" if side == "BUY" else ""),
    ]


def _table(symbol: Symbol, heads: Iterable[tuple[str, str, int]], rows: Iterable[str]) -> str:
    """Set a table; a head has a name, an alignment and a width in percent."""
    head = "".join(
        f'<th scope="col" width="{width}%" align="{align}" style="{_CELL};width:{width}%;text-align:{align}">'
        f"{name}</th>"
        for name, align, width in heads
    )
    name = escape(symbol.name)
    return (
        f'<table class="t" width="100%" style="width:100%;table-layout:auto" data-symbol="{name}">'
        f'<caption align="left" style="text-align:left"><b>{name}</b></caption><thead><tr>{head}</tr></thead><tbody>\n'
        + "\n".join(rows)
        + "\n</tbody></table>"
    )


def _bars(mark: Mark, most: Decimal | int) -> Iterator[str]:
    """Draw an order: what has traded next to the middle, what is left outside."""
    state = "ended" if mark.has_ended else "waits" if mark.waits or mark.outcome == "would_cancel" else ""
    left = max(mark.quantity - mark.traded, mark.quantity * 0)
    parts = [_part(mark.side, "traded", mark.traded / most), _part(mark.side, state, left / most)]
    yield from parts[::-1] if mark.side == "BUY" else parts


def _part(side: str, state: str, share: Decimal | float) -> str:
    """Return a piece of a bar. Its letters show only where all styles are stripped, as on GitHub."""
    if not share:
        return ""
    color = _COLORS.get(side, _OTHER)
    looks = {
        "waits": f"border:1px solid {color};padding:5px 0",
        "ended": f"background:{color};opacity:0.25;padding:6px 0",
        "traded": f"background:{color};opacity:0.45;padding:6px 0",
        "depth": f"background:{color};opacity:0.5;padding:1px 0",
        "": f"background:{color};padding:6px 0",
    }[state]
    letters = {"waits": "░", "ended": "·", "traded": "▒", "depth": "", "": "█"}[state] * max(1, round(share * 16))
    size = f"display:inline-block;font-size:0;width:{max(float(share) * 96, 0.4):.1f}%"
    kind = escape(f"bar {side} {state}".strip())
    return f'<span class="{kind}" aria-hidden="true" style="{size};{looks}">{letters}</span>'


def _tracks(symbol: Symbol) -> list[list[tuple[int, int]]]:
    """Return where order lists reach from and to, in as few columns as keep them apart."""
    tracks: list[list[tuple[int, int]]] = []
    for first, last in symbol.order_lists():
        free = next((track for track in tracks if track[-1][1] < first), None)
        if free is not None:
            free.append((first, last))
        elif len(tracks) < _TRACKS:
            tracks.append([(first, last)])
    return tracks


def _track(place: int, reaches: Sequence[tuple[int, int]]) -> str:
    inside = any(first <= place <= last for first, last in reaches)
    return (
        f'<td class="track on" style="padding:0;border-left:2px solid {_OTHER}"></td>'
        if inside
        else '<td class="track"></td>'
    )


def _label_html(mark: Mark) -> str:
    words = _JOINED.sub("&nbsp;", escape(mark.words))
    if mark.outcome == "canceled":
        return f"<s>{words}</s>"
    return words + escape(_outcome(mark))


def _outcome(mark: Mark) -> str:
    """Return what a label says of an outcome that nothing else shows."""
    if mark.outcome in _PLAIN:
        return ""
    return f"  ({columns.GLYPHS.get(mark.outcome, '')} {mark.outcome})"


def _price(rung: Rung, before: str, selectable: bool) -> str:
    said = f"{before}{_amount(rung.at)}" if rung.at is not None else "no price"
    ids = _open_ids(rung)
    if selectable and ids:
        words = "; ".join(mark.words for mark in rung.marks if not mark.has_ended)
        said = (
            f'<button type="button" data-lm-suppress-shortcuts="true" aria-label="Select at {said}: {escape(words)}">'
            f"{said}</button>"
        )
    return f'<th scope="row" align="right" style="{_NUMBER};text-align:right">{said}</th>'


def _distance(symbol: Symbol, rung: Rung) -> str:
    return _td(symbol.distance(rung.at) if rung.at else "", "right", "pale")


def _td(inner: str, align: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    style = _CELL if "wide" in kind else _NUMBER
    return f'<td{named} align="{align}" style="{style};text-align:{align}">{inner}</td>'


def _ids(rung: Rung) -> str:
    ids = _open_ids(rung)
    return f' data-order-ids="{" ".join(ids)}"' if ids else ""


def _open_ids(rung: Rung) -> list[str]:
    return [escape(mark.order_id) for mark in rung.marks if mark.order_id and not mark.has_ended]


def _title(rung: Rung) -> str:
    words = [mark.words + _outcome(mark) for mark in rung.marks[:_WORDED]]
    words += [f"and {len(rung.marks) - _WORDED} more"] * (len(rung.marks) > _WORDED)
    return f' title="{escape("; ".join(words))}"' if words else ""


def _occurs(symbols: Iterable[Symbol]) -> dict[str, bool]:
    """Return what has to be explained."""
    marks = [mark for symbol in symbols for rung in symbol.rungs for mark in rung.marks]
    return {
        "waits": any(mark.waits and not mark.has_ended for mark in marks),
        "bound": any(mark.bound for mark in marks),
        "traded": any(mark.traded for mark in marks),
        "depth": any(symbol.step for symbol in symbols),
    }


def _total(rung: Rung, side: str) -> Decimal:
    return rung.on_book(side) + rung.waiting(side) + rung.ended(side)


def _amount(number: Decimal | None) -> str:
    return "" if number is None else amount(number)


@cache
def _style() -> str:
    return resources.files(__package__).joinpath("ladder.css").read_text("utf-8")


def as_text(ladder: Ladder, width: int | None = None) -> str:
    """Return a ladder as text no wider than the terminal."""
    width = width or shutil.get_terminal_size().columns
    letters = _Letters() if draws("".join(_Letters())) else _Letters("#", ":", "/", ".", "|", "-", ">=", "<=", "-")
    bar = max(_SHORTEST, min(_LONGEST, (width - 50) // 2))
    lines = []
    for symbol in ladder.symbols:
        lines += [symbol.name, *(_levels_text if symbol.step else _singles_text)(symbol, width, bar, letters)]
    said = ladder.caption + (" (dry run: nothing was canceled)" if ladder.is_dry_run else "")
    legend = [f"{letters.waits}: pending or not triggered, at the trigger."] * _occurs(ladder.symbols)["waits"]
    return "\n".join([*lines, *legend, said])


class _Letters(NamedTuple):
    solid: str = "█"
    waits: str = "░"
    traded: str = "▒"
    ended: str = "·"
    middle: str = "│"
    line: str = "─"
    at_least: str = "≥"
    at_most: str = "≤"
    minus: str = "\N{MINUS SIGN}"

    def bound(self, mark: Mark) -> str:
        return {"≥": self.at_least, "≤": self.at_most}.get(mark.bound, "")

    def distance(self, symbol: Symbol, rung: Rung) -> str:
        return symbol.distance(rung.at).replace(_Letters().minus, self.minus) if rung.at else ""


def _singles_text(symbol: Symbol, width: int, longest: int, letters: _Letters) -> Iterator[str]:
    most = max((mark.quantity for rung in symbol.rungs for mark in rung.marks), default=None) or 1
    prices = [
        " ".join(filter(None, [*map(letters.bound, rung.marks), _amount(rung.at) or "no price"]))
        for rung in symbol.rungs
    ]
    widest = max(map(len, prices))
    room = width - widest - 2 * longest - 14
    for rung, price in zip(symbol.rungs, prices, strict=True):
        if rung.is_last:
            yield f"{price:>{widest}} {' last price ':{letters.line}^{2 * longest + 1}}"
            continue
        (mark,) = rung.marks
        state = letters.ended if mark.has_ended else letters.waits if mark.waits else letters.solid
        traded = _run(letters.traded, mark.traded / most, longest)
        left = _run(state, (mark.quantity - mark.traded) / most, longest)
        bar = (
            f"{left + traded:>{longest}}{letters.middle}{'':{longest}}"
            if mark.side == "BUY"
            else f"{'':{longest}}{letters.middle}{traded + left:<{longest}}"
        )
        words = ("" if mark.outcome in _PLAIN else f"{mark.outcome}: ") + mark.words
        if width_of(words) > room > 0:
            words = words[: max(room - 3, 0)] + "..."
        far = letters.distance(symbol, rung)
        yield f"{price:>{widest}} {bar} {words}{' ' * (room - width_of(words))} {far:>10}".rstrip()


def _levels_text(symbol: Symbol, width: int, longest: int, letters: _Letters) -> Iterator[str]:
    most = max(_total(rung, side) for rung in symbol.rungs for side in ("BUY", "SELL")) or 1
    table = [("price", "depth", "buys", "", "sells", "depth", "from last")]
    for rung in symbol.rungs:
        cells = {}
        for side in ("BUY", "SELL"):
            on_book, waiting, ended = rung.on_book(side), rung.waiting(side), rung.ended(side)
            runs = [(letters.solid, on_book), (letters.waits, waiting), (letters.ended, ended)]
            said = [_amount(on_book)] * bool(on_book) + [f"({_amount(waiting)})"] * bool(waiting)
            drawn = [_run(letter, share / most, longest) for letter, share in runs]
            cells[side] = _amount(rung.depth.get(side) or None), " ".join(said), drawn
        left, right = "".join(cells["BUY"][2][::-1]), "".join(cells["SELL"][2])
        bars = f"{left[-longest:]:>{longest}}{letters.middle}{right[:longest]:<{longest}}"
        price = " ".join(filter(None, [rung.beyond, _amount(rung.at) or "no price"]))
        far = f"last {_amount(symbol.last)}" if rung.is_last else letters.distance(symbol, rung)
        table.append((price, *cells["BUY"][:2], bars, cells["SELL"][1], cells["SELL"][0], far))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    shown = [place for place in range(len(widths)) if sum(widths) + 6 <= width or place not in {1, 5}]
    for row in table:
        cells_ = [
            row[place].ljust(widths[place]) if place in {4, 5} else row[place].rjust(widths[place]) for place in shown
        ]
        yield " ".join(cells_).rstrip()


def _run(letter: str, share: Decimal | float, longest: int) -> str:
    return letter * (max(1, round(share * longest)) if share > 0 else 0)
