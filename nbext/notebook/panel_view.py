"""What a panel looks like: its widgets, and the words and tables in them."""

from __future__ import annotations

import importlib.util
from functools import cache
from html import escape
from importlib import resources
from itertools import chain
from typing import TYPE_CHECKING, Any

from ipywidgets import (
    HTML,
    Button,
    Checkbox,
    Combobox,
    HBox,
    IntProgress,
    Layout,
    SelectMultiple,
    Text,
    VBox,
    Widget,
)

from nbext import messages, profiles
from nbext.cancel import report
from nbext.cancel.reads import last_prices
from nbext.frames import ladder, ladder_view
from nbext.orders import FINAL, OUTCOMES, list_of, unit_of
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

    from nbext.cancel.job import Job
    from nbext.orders import Row, Unit
    from nbext.spot.client import SpotClient

_PRACTICE = {
    "testnet": ("testnet", "TESTNET", "practice exchange of Binance, no real money"),
    "demo": ("demo", "DEMO", "demo exchange of Binance, no real money"),
}
_LOCAL = ("local", "LOCAL", "practice exchange in this kernel, no real money")
_LIVE = ("live", "LIVE", "real orders, real money")
_STOPPED = ("live", "STOPPED", "this practice exchange has ended: whatever answers in its place counts as LIVE")

_COLUMNS = {
    "list": "list",
    "symbol": "symbol",
    "orderId": "order",
    "side": "side",
    "type": "type",
    "price": "price",
    "stopPrice": "stop price",
    "origQty": "quantity",
    "executedQty": "traded",
}
_AMOUNTS = {"price", "stopPrice", "origQty", "executedQty"}
_NONE_AT_ZERO = {"price", "stopPrice"}

# Request weight of a read, and what auto-refresh may use of the 6000 that an address has per minute.
_WEIGHT_SYMBOL, _WEIGHT_ALL, _WEIGHT_LISTS, _WEIGHT_PRICE = 6, 80, 6, 4
_WEIGHT_SHARE, _WEIGHT_BUSY = 300, 3000
_FASTEST, _SLOWEST = 2.0, 30.0
_LINES = 8
"""The most lines of the list that are shown without scrolling."""
_FEW = 3
"""The most selected orders that are named one by one."""

_STYLE = f"<style>{resources.files(__package__).joinpath('panel.css').read_text('utf-8')}</style>"


class PanelView(VBox):  # type: ignore[misc] # ipywidgets has no types
    """The widgets of a panel, and how they show things. What they do is up to the panel."""

    def __init__(self, symbol: str) -> None:
        self._rows: list[Row] = []
        self._drawing = False
        wide = {"description_width": "initial"}
        self.badge = HTML(layout=Layout(width="auto"))
        self.symbol = Combobox(
            value=symbol,
            description="Symbol",
            placeholder="all that have open orders",
            continuous_update=False,
            style=wide,
            layout=Layout(width="19em"),
        )
        self.refresh_button = Button(description="Refresh", tooltip="Read the open orders again")
        self.auto_refresh = Checkbox(description="Auto-refresh", indent=False, layout=Layout(width="auto"))
        self.ladder = Checkbox(description="Ladder", indent=False, layout=Layout(width="auto"))
        self.reading = HTML(layout=Layout(width="auto"))
        self.table = _orders_table()
        self._has_rows_to_click = not isinstance(self.table, HTML)
        self.orders = SelectMultiple(
            description="Select", rows=1, style=wide, layout=Layout(width="auto"), tooltip="Orders to cancel"
        )
        self.cancel_selected = Button(layout=Layout(width="auto"))
        self.cancel_all = Button(layout=Layout(width="auto"))
        self.number = Text(description="Number of orders", style=wide, layout=Layout(width="16em", display="none"))
        self.progress = IntProgress(description="Requests", style=wide, layout=Layout(display="none"))
        self.message, self.result, self.picture, self.calls = (HTML(layout=Layout(width="auto")) for _ in range(4))
        wraps = Layout(flex_flow="row wrap", align_items="center")
        children = [
            self.badge,
            HBox([self.symbol, self.refresh_button, self.auto_refresh, self.ladder], layout=wraps),
            self.reading,
            self.table,
            self.orders,
            HBox([self.cancel_selected, self.cancel_all, self.number], layout=wraps),
            self.progress,
            self.message,
            self.result,
            self.picture,
            self.calls,
            *_key_guards(),
        ]
        super().__init__(children, layout=Layout(width="100%"))
        self.add_class("nbext-panel")

    def _show_exchange(self, client: SpotClient) -> None:
        """Show which exchange it is now: a local one may have ended."""
        kind, word, meaning = exchange(client)
        where = f"{escape(client.profile)}, {escape(client.host)}"
        self.badge.value = f'{_STYLE}<div class="nbext-badge nbext-{kind}"><b>{word}</b>{meaning} &nbsp;[{where}]</div>'

    def _show_orders(self, rows: list[Row], units: Mapping[Unit, Sequence[Row]]) -> None:
        """Show open orders in the table and in the list; those still there stay selected."""
        kept = [unit for unit in self.orders.value if unit in units]
        self._rows = rows
        self._drawing = True
        try:
            self.orders.options = [(_describe(unit, legs), unit) for unit, legs in units.items()]
            self.orders.rows = min(max(len(units), 1), _LINES)
            self.orders.value = kept
            self.orders.layout.display = self.table.layout.display = None if rows else "none"
            self._fill_table(kept)
        finally:
            self._drawing = False

    def _fill_table(self, kept: Sequence[Unit]) -> None:
        cells = [_cells(row) for row in self._rows]
        if not self._has_rows_to_click:
            self.table.value = _table_html(cells, "Open orders") if cells else ""
            return
        import pandas as pd

        frame = pd.DataFrame(cells, columns=list(_COLUMNS.values()), dtype="str")
        self.table.update(frame, selected_rows=[])  # a selection beyond the last row would raise
        self.table.selected_rows = self._places(kept)

    def _places(self, units: Sequence[Unit]) -> list[int]:
        return [place for place, row in enumerate(self._rows) if unit_of(row) in units]

    def _mark_rows(self) -> None:
        if self._has_rows_to_click:
            self.table.selected_rows = self._places(self.orders.value)

    def _show_progress(self, done: int, total: int) -> None:
        self.progress.max, self.progress.value = total, done
        self.progress.description = f"Requests {done} of {total}"

    def _tell(self, kind: str, *lines: str) -> None:
        self.message.value = note(kind, *lines, alert=kind in {"armed", "error"})


def exchange(client: SpotClient) -> tuple[str, str, str]:
    """Return which exchange it is: its style, its name, and what that means."""
    if profiles.is_live(client.base_url):
        return _STOPPED if client.profile == profiles.DEFAULT else _LIVE
    return _PRACTICE.get(profiles.PRACTICE_HOSTS.get(client.host, ""), _LOCAL)


def pause(client: SpotClient, *, everything: bool, price: bool = False) -> float:
    """Return how long to wait before the next read, to use a small share of the request weight."""
    if (client.used_weight or 0) > _WEIGHT_BUSY:
        return _SLOWEST
    weight = (_WEIGHT_ALL if everything else _WEIGHT_SYMBOL) + _WEIGHT_LISTS + price * _WEIGHT_PRICE
    return max(_FASTEST, weight * 60 / _WEIGHT_SHARE)


def _kind(row: Row) -> str:
    """Return the order list that an order belongs to; empty for a single one."""
    list_id = list_of(row.order)
    return "" if list_id is None else f"{_text((row.order_list or {}).get('contingencyType', 'list'))} {list_id}"


def _cells(row: Row) -> dict[str, str]:
    """Return an order's text by column of the table."""
    texts = {name: _text(row.order.get(name)) for name in _COLUMNS} | {"list": _kind(row)}
    return {title: _amount(name, texts[name]) if name in _AMOUNTS else texts[name] for name, title in _COLUMNS.items()}


def _describe(unit: Unit, legs: Sequence[Row]) -> str:
    """Return what is canceled as one in a line, for a list without columns."""
    orders = " + ".join(_sentence(row) for row in legs)
    cell = _cells(legs[0])
    what = f"{cell['list']}: {orders}" if unit.is_list else f"{orders} (order {cell['order']})"
    return f"{cell['symbol']} {what}"


def _sentence(row: Row) -> str:
    cell = _cells(row)
    said = f"{cell['side']} {cell['quantity']} {cell['type']}"
    said += f" at {cell['price']}" if cell["price"] else ""
    said += f" stop {cell['stop price']}" if cell["stop price"] else ""
    said += f" trailing {_text(row.order['trailingDelta'])}" if row.order.get("trailingDelta") else ""
    return f"{said}, traded {cell['traded']}" if cell["traded"].strip("0") else said


def _amount(name: str, text: str) -> str:
    """Return an amount without trailing zeros; empty where zero means that there is none."""
    if name in _NONE_AT_ZERO and not text.strip("0."):
        return ""
    return text.rstrip("0").rstrip(".") if "." in text else text


def _text(value: object) -> str:
    """Return what an exchange sent, whatever it is, as printable text."""
    return "" if value is None else printable(str(value))


def invitation(rows: Sequence[Row], labels: Sequence[str] | None, job: Job, client: SpotClient, how: str) -> str:
    """Return what a second click would cancel: the selected orders, by their labels, or all."""
    what = messages.count(len(rows), "open order") + (messages.kinds(rows) if rows else "") + messages.traded(rows)
    if labels is None:
        what = f"all that is open, as last read {what},"
    elif len(labels) <= _FEW:
        what += f": {'; '.join(labels)};"
    live = "LIVE exchange. " if profiles.is_live(client.base_url) else ""
    return f"{live}{how} to cancel {what} on {messages.subject(job.symbols)} {messages.place(client)}"


def note(kind: str, *lines: str, alert: bool = False) -> str:
    """Return lines as a note that screen readers announce."""
    said = "<br>".join(escape(printable(line)) for line in lines)
    return f'<div class="nbext-note nbext-{kind}" role="{"alert" if alert else "status"}">{said}</div>'


def scrolling(table: str) -> str:
    """Let a wide table scroll on its own, with the keyboard, too."""
    return f'<div class="nbext-scroll" tabindex="0">{table}</div>'


def _table_html(cells: Sequence[Mapping[str, str]], caption: str) -> str:
    """Return a table that needs no script; values are escaped."""
    head = "".join(f'<th scope="col">{escape(title)}</th>' for title in cells[0])
    rows = "".join(
        f"<tr>{''.join(f'<td>{escape(printable(text))}</td>' for text in cell.values())}</tr>" for cell in cells
    )
    return scrolling(
        f"<table><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
    )


def _orders_table() -> Any:
    """Return a table whose rows can be clicked; without anywidget, one that cannot."""
    if importlib.util.find_spec("anywidget") is None:
        return HTML(layout=Layout(width="100%"))
    import pandas as pd
    from itables.widget import ITable

    return ITable(
        pd.DataFrame(columns=list(_COLUMNS.values()), dtype="str"),
        select="multi",
        maxBytes=0,  # rows left out for their size could not be selected
        paging=False,
        scrollY="16em",
        scrollCollapse=True,
        scrollX=True,
        showIndex=False,
        order=[],
        classes="display compact nowrap",
        text_in_header_can_be_selected=False,
    )


def parts(widget: Any) -> list[Any]:
    """Return the widgets that a widget is made of: its children, and their layouts and styles."""
    found: dict[int, Any] = {}
    queue = [widget]
    while queue:
        values = queue.pop().trait_values(sync=True).values()
        held = chain.from_iterable(value if isinstance(value, list | tuple) else [value] for value in values)
        fresh = {id(each): each for each in held if isinstance(each, Widget) and id(each) not in found}
        found |= fresh
        queue += fresh.values()
    return list(found.values())


def _key_guards() -> list[Any]:
    """Return what keeps the notebook's shortcuts from the list: arrows move in it, and no letter cuts a cell."""
    return [] if importlib.util.find_spec("anywidget") is None else [_key_guard()()]


@cache  # classes of widgets are never forgotten
def _key_guard() -> Any:
    from anywidget import AnyWidget

    class KeyGuard(AnyWidget):
        _esm = resources.files(__package__).joinpath("select_keys.js").read_text("utf-8")

    return KeyGuard


def ended(frame: DataFrame | None) -> DataFrame | None:
    """Return the orders that have ended, which is final, whatever other reads say."""
    return None if frame is None else frame[frame["outcome"].isin(FINAL)]


def picture(rows: Sequence[Row], gone: DataFrame | None, client: SpotClient) -> str:
    """Show open orders as a ladder, and among them what has just ended."""
    opened = report.frame_of(rows, client, call="open_orders")
    orders = ladder.merged(opened, *([] if gone is None else [gone]))
    return ladder_view.as_html(ladder.Ladder(orders, last_prices(client, ladder.symbols_of(orders))), selectable=True)


def calls_html(calls: DataFrame) -> str:
    """Return the calls of the journal as a table, the latest first."""
    rows = [
        {
            "sent": f"{call['sentAt']:%Y-%m-%d %H:%M:%S} UTC",
            "exchange": f"{call['profile']}, {call['host']}",
            "request": call["request"],
            "orders": ", ".join(f"{call[name]} {name}" for name in OUTCOMES if call[name]) or "none",
            "state": call["state"] if call["error"] is None else call["error"],
        }
        for call in calls.iloc[::-1].astype(object).where(calls.notna(), None).to_dict("records")
    ]
    return _table_html(rows, "Last calls, from the journal") if rows else ""
