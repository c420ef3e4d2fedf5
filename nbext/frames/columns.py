"""Which columns of a frame a table shows, and their text.

The frame itself stays as it is. What the question was decides: of open orders, what they wait for, how far they are
filled and how old they are; of results, the outcome first. Columns that the user added always show, and so does an
index that says more than the position. A column with the same value in every row goes into the note below the table.
"""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, replace
from decimal import ROUND_DOWN, Decimal
from typing import TYPE_CHECKING, Any

from nbext.messages import amount
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from pandas import DataFrame, Series

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

_OF_OPEN_ORDERS = (
    "outcome",
    "symbol",
    "orderId",
    "list",
    "side",
    "type",
    "price",
    "trigger",
    "origQty",
    "filled",
    "status",
    "origClientOrderId",
    "age",
)
_OF_RESULTS = (
    "outcome",
    "symbol",
    "orderId",
    "list",
    "side",
    "type",
    "price",
    "trigger",
    "origQty",
    "executedQty",
    "status",
)
_NUMBERS = frozenset({"price", "trigger", "origQty", "executedQty"})
_TO_THE_RIGHT = _NUMBERS | {"orderId", "filled", "age"}
_ALWAYS = frozenset({"orderId", "price"})
"""What shows even where it is the same in every row."""
# The status that an outcome goes without saying.
_USUAL_STATUS = {
    "canceled": {"CANCELED"},
    "filled": {"FILLED"},
    "expired": {"EXPIRED"},
    "rejected": {"REJECTED"},
    "open": {"NEW", "PARTIALLY_FILLED"},
    "would_cancel": {"NEW", "PARTIALLY_FILLED"},
}
_SAID = {"would_cancel": "would be canceled"}
_NO_LIST = "-1"
_LEAST_SHARE = Decimal("0.01")
_MADE_UP = 22
"""The length of the client order ids that an exchange makes up, of letters and digits."""
_LONGEST = 12
"""The most characters of a float in a column of the user's."""


@dataclass(slots=True)
class Column:
    """A column of a table.

    Attributes
    ----------
    name : str
        As its header has it: the frame's own name where the cells are the frame's values.
    cells : list of str
        Empty where a value is missing.
    kind : str
        ``number`` for decimals, to be set point below point; ``right`` for what else stands to the right; ``word``.
    is_index : bool
    """

    name: str
    cells: list[str]
    kind: str = "word"
    is_index: bool = False


@dataclass(slots=True)
class Table:
    """A frame as it is shown.

    Attributes
    ----------
    columns : list of Column
    same : list of Column
        What is the same in every row, and not among them.
    of : int
        How many columns the frame has.
    """

    columns: list[Column]
    same: list[Column]
    of: int

    def note(self) -> str:
        """Return what goes below: what is the same in every row, and how many of the frame's columns are shown."""
        same = ", ".join(f"{each.name} {each.cells[0]}" for each in self.same)
        shown = sum(not each.is_index for each in self.columns)
        counted = f"{shown} of {self.of} columns" if shown < self.of else ""
        return "; ".join(filter(None, [f"all: {same}" if same else "", counted]))


def is_ours(frame: DataFrame) -> bool:
    """Return whether a frame has all 24 columns in their dtypes, however its rows were filtered or sorted."""
    from nbext.frames import build

    return hasattr(frame, "columns") and frame.columns.is_unique and build.is_frame(frame)


def table(frame: DataFrame, *, captioned: bool = True) -> Table:
    """Return what a table of a frame of ours shows.

    Parameters
    ----------
    frame : DataFrame
    captioned : bool, default True
        Whether the caption beside it names the symbol.
    """
    asked = _is_question(frame)
    cells = {name: _CELLS.get(name, _wire)(frame, name) for name in (_OF_OPEN_ORDERS if asked else _OF_RESULTS)}
    same: list[Column] = []
    if len(set(cells["symbol"])) == 1:
        symbol = cells.pop("symbol")
        if not captioned and _facts(frame).get("requested") != symbol[:1]:
            same.append(Column("symbol", symbol))
    if asked and len(set(cells["outcome"])) == 1:
        del cells["outcome"]
    ours = [Column(name, column, _kind(name)) for name, column in cells.items() if any(column)]
    if len(frame) > 1:
        always = _ALWAYS if asked else {*_ALWAYS, "outcome"}
        same += [each for each in ours if each.name not in always and len(set(each.cells)) == 1]
    ours = [each for each in ours if each not in same]
    more = [added(str(name), frame[name]) for name in frame.columns if _wasadded(frame, name)]
    return Table([*index_of(frame), *ours, *more], same, len(frame.columns))


def caption(frame: DataFrame) -> str:
    """Return a line that says where a frame comes from and counts its rows by outcome."""
    facts = _facts(frame)
    where = ""
    if {"profile", "host"} <= facts.keys():
        names = [facts["profile"]] if facts["profile"] == "local" else [facts["profile"], facts["host"]]
        where = f" [{', '.join(printable(str(name)) for name in names)}]"
    if not len(frame):
        return f"{'what was open is not known' if facts.get('complete') is False else 'no orders'}{where}"
    outcomes = Counter(filter(None, _wire(frame, "outcome")))
    symbols = ", ".join(dict.fromkeys(filter(None, _wire(frame, "symbol"))))
    plural = "" if len(frame) == 1 else "s"
    counts = ", ".join(f"{number} {_SAID.get(name, name)}" for name, number in outcomes.items()) or "none"
    return f"{symbols}: {len(frame)} order{plural}, {counts}{where}"


def is_dry_run(frame: DataFrame) -> bool:
    """Return whether a frame is a preview: nothing was canceled."""
    return _facts(frame).get("call") == "dry_run" if not len(frame) else "would_cancel" in set(frame["outcome"])


def brackets(frame: DataFrame, *, plain: bool = False) -> list[str]:
    """Return, row by row, the bracket that joins the legs of a list, where they are next to each other."""
    top, middle, bottom = "/|\\" if plain else "┌├└"
    keys = list_keys(frame)
    drawn = []
    for key, above, below in zip(keys, ["", *keys[:-1]], [*keys[1:], ""], strict=True):
        joins = key != "" and key == above, key != "" and key == below
        drawn.append({(False, True): top, (True, True): middle, (True, False): bottom}.get(joins, " "))
    return drawn


def list_keys(frame: DataFrame) -> list[str]:
    """Return, row by row, a text that all legs of a list share, and no other order; empty for single orders.

    Sorted by it, lists are together, by kind and id.
    """
    texts, ids, symbols = _lists(frame), _wire(frame, "orderListId"), _wire(frame, "symbol")
    kinds = _wire(frame, "contingencyType")
    return [
        f"{kind} {id_ or text:0>20} {symbol}" if text else ""
        for text, kind, id_, symbol in zip(texts, kinds, ids, symbols, strict=True)
    ]


def paddings(numbers: Iterable[str]) -> list[int]:
    """Return how many decimals each number lacks, so that the decimal points line up; 0 for what is not a number."""
    decimals = [len(text.partition(".")[2]) if _is_decimal(text) else -1 for text in numbers]
    most = max(decimals, default=0)
    return [most - places if places >= 0 else 0 for places in decimals]


def _is_decimal(text: str) -> bool:
    return text.replace(".", "", 1).removeprefix("-").isdigit()


def _kind(name: str) -> str:
    return "number" if name in _NUMBERS else "right" if name in _TO_THE_RIGHT else "word"


def _is_question(frame: DataFrame) -> bool:
    """Return whether a frame is about what is open, rather than about the outcome of a cancel."""
    call = _facts(frame).get("call")
    if call is not None:
        return call in {"open_orders", "preview", "dry_run"}
    return "time" in frame.columns and bool(frame["outcome"].isin(["open", "would_cancel"]).all())


def _wasadded(frame: DataFrame, name: object) -> bool:
    """Return whether a column is the user's, rather than filled by the exchange or by nbext."""
    from nbext.frames import build

    undocumented = _facts(frame).get("undocumented")
    return (
        name not in build.DOCUMENTED
        and not str(name).startswith(("list.", "wire."))
        and not (isinstance(undocumented, list) and name in undocumented)
    )


def _wire(frame: DataFrame, name: str) -> list[str]:
    """Return the text of a column of the frame; amounts in fixed-point digits."""
    if name not in frame.columns:
        return [""] * len(frame)
    values = frame[name].tolist()
    if frame[name].dtype == object:  # where values of different types may be equal, or have no hash
        return list(map(_text, values))
    texts = {value: _text(value) for value in set(values)}  # most values come often
    return [texts[value] for value in values]


def _text(value: Any) -> str:
    import pandas as pd

    if value is None or value is pd.NA or value is pd.NaT:
        return ""
    if isinstance(value, float | Decimal):
        number = value if isinstance(value, Decimal) else Decimal(repr(float(value)))
        if number.is_nan():
            return ""
        return amount(number) if number.is_finite() else str(number)
    return printable(str(value))


def _lists(frame: DataFrame, _: str = "list") -> list[str]:
    kinds, ids = _wire(frame, "contingencyType"), _wire(frame, "orderListId")
    return [f"{kind} {'' if id_ == _NO_LIST else id_}".strip() for kind, id_ in zip(kinds, ids, strict=True)]


def _types(frame: DataFrame, _: str) -> list[str]:
    """Return the order types, with marks: ``LIMIT iceberg``, ``LIMIT_MAKER pegged``."""
    columns = zip(*(_wire(frame, name) for name in ("type", "icebergQty", "pegPriceType")), strict=True)
    return [f"{kind}{' iceberg' if visible else ''}{' pegged' if peg else ''}" for kind, visible, peg in columns]


def _prices(frame: DataFrame, name: str) -> list[str]:
    """Return the prices at which the orders stand: of pegged ones, that which was taken from the book."""
    both = zip(_wire(frame, "peggedPrice"), _wire(frame, name), strict=True)
    return [pegged if pegged.strip("0.") else price for pegged, price in both]


def _triggers(frame: DataFrame, _: str) -> list[str]:
    """Return what orders wait for: the stop price, or how far they trail, ``5 % trailing``."""
    both = zip(_wire(frame, "stopPrice"), _wire(frame, "trailingDelta"), strict=True)
    return [
        ", ".join(filter(None, [stop, f"{_percent(Decimal(delta) / 100)} trailing" if delta.isdigit() else delta]))
        for stop, delta in both
    ]


def _filled(frame: DataFrame, _: str) -> list[str]:
    """Return how much of each order has traded, in percent; never 0 or 100 of what is in between."""
    shares = []
    for executed, quantity in zip(_wire(frame, "executedQty"), _wire(frame, "origQty"), strict=True):
        if not (_is_decimal(executed) and _is_decimal(quantity)) or not Decimal(quantity):
            shares.append("0 %" if _is_decimal(executed) and not Decimal(executed) else executed)
            continue
        share = 100 * Decimal(executed) / Decimal(quantity)
        shares.append(_percent(share) if share >= _LEAST_SHARE or not share else f"< {_percent(_LEAST_SHARE)}")
    return shares


def _percent(number: Decimal) -> str:
    return f"{amount(number.quantize(_LEAST_SHARE, ROUND_DOWN)).removesuffix('.0')} %"


def _statuses(frame: DataFrame, _: str) -> list[str]:
    """Return the statuses, where one of them tells more than the outcome and the quantities."""
    statuses, outcomes = _wire(frame, "status"), _wire(frame, "outcome")
    both = zip(statuses, outcomes, strict=True)
    is_usual = all(not status or status in _USUAL_STATUS.get(outcome, ()) for status, outcome in both)
    return [""] * len(frame) if is_usual else statuses


def _client_ids(frame: DataFrame, name: str) -> list[str]:
    """Return the client order ids that were chosen, and the start of those that the exchange made up, if any."""
    ids = _wire(frame, name)
    chosen = [not (len(each) == _MADE_UP and each.isalnum() and not each.islower()) for each in ids]
    if not any(each and was_chosen for each, was_chosen in zip(ids, chosen, strict=True)):
        return [""] * len(frame)
    return [each if was_chosen else f"{each[:6]}…" for each, was_chosen in zip(ids, chosen, strict=True)]


def _ages(frame: DataFrame, _: str) -> list[str]:
    """Return how old the orders were when they were read."""
    import pandas as pd

    at, placed = _facts(frame).get("at"), frame.get("time")
    if not isinstance(at, int) or placed is None or getattr(placed.dtype, "tz", None) is None:
        return [""] * len(frame)
    ages = (pd.Timestamp(at, unit="ms", tz="UTC") - placed).dt.total_seconds().tolist()
    return ["" if math.isnan(age) else _age(age) for age in ages]


def _age(seconds: float) -> str:
    minutes = int(seconds // 60)
    if minutes < 1:
        return "< 1 min"
    hours, days = minutes // 60, minutes // 1440
    if hours < 1:
        return f"{minutes} min"
    if days < 1:
        return f"{hours} h {minutes % 60} min" if minutes % 60 else f"{hours} h"
    return f"{days} d {hours % 24} h" if hours % 24 else f"{days} d"


_CELLS: dict[str, Callable[[DataFrame, str], list[str]]] = {
    "list": _lists,
    "type": _types,
    "price": _prices,
    "trigger": _triggers,
    "filled": _filled,
    "status": _statuses,
    "origClientOrderId": _client_ids,
    "age": _ages,
}


def added(name: str, column: Series[Any]) -> Column:
    """Return a column of the user's."""
    kind = "number" if column.dtype.kind in "fc" else "right" if column.dtype.kind in "iumM" else "word"
    return Column(printable(name), [_brief(value) for value in column.tolist()], kind)


def _brief(value: Any) -> str:
    """Return the text of a value that may be anything, of floats no more digits than pandas shows."""
    if isinstance(value, float) and len(text := _text(value)) > _LONGEST and text.lstrip("-")[:1].isdigit():
        return amount(Decimal(f"{value:.7g}"))
    try:
        return _text(value)
    except Exception:  # noqa: BLE001 - whatever an object's own __str__ does
        return f"<{type(value).__name__}>"


def index_of(frame: DataFrame) -> list[Column]:
    """Return the levels of an index that says more than the position of each row."""
    index = frame.index
    if index.nlevels == 1 and index.name is None and index.tolist() == list(range(len(frame))):
        return []
    levels = [index.get_level_values(level).to_series() for level in range(index.nlevels)]
    names = ["index" if name is None else str(name) for name in index.names]
    return [replace(added(name, level), is_index=True) for name, level in zip(names, levels, strict=True)]


def _facts(frame: DataFrame) -> Mapping[str, Any]:
    facts = frame.attrs.get("nbext")
    return facts if isinstance(facts, dict) else {}
