"""What a panel shows, as plain data for its script: orders in the words of its table, the exchange, recent cancels."""

from __future__ import annotations

import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nbext import messages, profiles
from nbext.cancel import report
from nbext.cancel.reads import last_prices
from nbext.frames import columns, ladder, ladder_view
from nbext.messages import grouped
from nbext.orders import FINAL, OUTCOMES, Row, Unit, decimal, identity, is_pegged, list_key, price_of, units
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from pandas import DataFrame

    from nbext.spot.client import SpotClient

_PRACTICE = {
    "testnet": ("testnet", "TESTNET", "practice exchange of Binance, no real money"),
    "demo": ("demo", "DEMO", "demo exchange of Binance, no real money"),
}
_LOCAL = ("local", "LOCAL", "practice exchange in this kernel, no real money")
_LIVE = ("live", "LIVE", "real orders, real money")
_UNKNOWN = ("live", "LIVE", "treated as LIVE: not known to be a practice exchange")
_STOPPED = ("live", "STOPPED", "this practice exchange has ended; whatever answers in its place is treated as LIVE")
_BINANCE = re.compile(r"https://api([1-4]|-gcp)?\.binance\.com")

# Request weight of a read, and what auto-refresh may use of the 6000 that an address has per minute.
_WEIGHT_SYMBOL, _WEIGHT_ALL, _WEIGHT_LISTS, _WEIGHT_PRICE = 6, 80, 6, 4
_WEIGHT_SHARE, _WEIGHT_BUSY = 300, 3000
_FASTEST, _SLOWEST = 2.0, 30.0
_AMOUNTS = frozenset({"price", "stopPrice", "origQty", "executedQty"})
_BASIS_POINTS = 100
_TOLD = frozenset({"executedQty", "status"})
"""What the answer to a cancel tells of an order better than an earlier look."""

Ended = dict[tuple[str, int], Row]
"""Orders that a cancel of this panel has told of, with their outcomes, by symbol and id."""


def exchange(client: SpotClient) -> dict[str, str]:
    """Return which exchange it is: its style, its name, what that means, and where it is."""
    if not profiles.is_live(client.base_url):
        kind, word, meaning = _PRACTICE.get(profiles.PRACTICE_HOSTS.get(client.host, ""), _LOCAL)
    elif client.profile == profiles.DEFAULT:
        kind, word, meaning = _STOPPED
    else:
        kind, word, meaning = _LIVE if _BINANCE.fullmatch(client.base_url) else _UNKNOWN
    key = f"key …{client.key_hint}" if client.key_hint else "no key"
    place = [] if client.profile == profiles.DEFAULT and kind == "local" else [client.profile, client.host]
    where = " · ".join(place if kind == "local" else [*place, key])
    return {"kind": kind, "word": word, "meaning": meaning, "where": printable(where)}


def unread(client: SpotClient, symbols: Sequence[str]) -> dict[str, Any]:
    """Return the status of a panel that has read nothing yet."""
    return {
        "subject": messages.subject(symbols),
        "symbols": [],
        "exchange": exchange(client),
        "read": "",
        "clock": 0,
        "pace": "",
        "summary": "Reading …",
        "problem": "",
        "ready": False,
        "busy": "",
        "question": None,
        "notes": [],
        "mood": "info",
    }


def pause(client: SpotClient, *, everything: bool) -> float:
    """Return how long to wait before the next read, to use a small share of the request weight."""
    if (client.used_weight or 0) > _WEIGHT_BUSY:
        return _SLOWEST
    weight = (_WEIGHT_ALL if everything else _WEIGHT_SYMBOL) + _WEIGHT_LISTS + _WEIGHT_PRICE
    return max(_FASTEST, weight * 60 / _WEIGHT_SHARE)


def key(unit: Unit) -> str:
    """Return a unit as text, by which the script names it."""
    return f"{printable(unit.symbol)} {'list' if unit.is_list else 'order'} {printable(str(unit.number))}"


def name(unit: Unit, legs: Sequence[Row]) -> str:
    """Return a unit in words: ``order 12``, ``OCO list 7``."""
    if not unit.is_list:
        return f"order {printable(str(unit.number))}"
    kind = (legs[0].order_list or {}).get("contingencyType")
    return f"{printable(kind) + ' ' if isinstance(kind, str) else 'order '}list {unit.number}"


def shown(
    rows: Sequence[Row],
    ended: Ended,
    before: Sequence[Mapping[str, Any]],
    prices: Mapping[str, Decimal],
    placed: Mapping[tuple[object, int], int],
) -> list[dict[str, Any]]:
    """Return what the table shows: a unit after the other, in the places they had before, new ones at the end.

    Parameters
    ----------
    rows : sequence of Row
        What is open, as last read.
    ended : mapping
        Orders that stay in the table although they are no longer open.
    before : sequence of Mapping
        The units as they stood in the table. What a list did stays as it was said before its legs ended.
    prices : mapping
        The last price of each symbol, as far as it is known.
    placed : mapping
        When each order list was placed.
    """
    merged = {identity(row.order) or number: row for number, row in enumerate(rows)}
    ended_for_good = final(ended)
    merged |= {which: row for which, row in ended.items() if which not in merged or which in ended_for_good}
    found = {key(unit): (unit, legs) for unit, legs in units(merged.values()).items()}
    stood = {each["key"]: each for each in before if each["key"] in found}
    listed = {id(row) for row in rows}  # these can be canceled, whatever their status is
    made = []
    for each in [*stood, *(new for new in found if new not in stood)]:
        live = sum(id(row) in listed for row in found[each][1])
        unit = {**_unit(each, *found[each], prices, placed), "live": live}
        made.append({**unit, "about": stood[each]["about"]} if each in stood and not live else unit)
    return made


def final(ended: Ended) -> set[tuple[str, int]]:
    """Return the orders that have ended for good, whatever later reads show."""
    return {which for which, row in ended.items() if row.outcome in FINAL}


def _unit(
    named: str, unit: Unit, legs: Sequence[Row], prices: Mapping[str, Decimal], placed: Mapping[tuple[object, int], int]
) -> dict[str, Any]:
    orders = [_order(row, prices.get(unit.symbol), placed) for row in legs]
    return {
        "key": named,
        "symbol": printable(unit.symbol),
        "name": name(unit, legs),
        "list": unit.is_list,
        "about": _about(orders, legs) if unit.is_list else "",
        "orders": orders,
    }


def _about(orders: Sequence[Mapping[str, Any]], legs: Sequence[Row]) -> str:
    """Return what a list does, in words: ``SELL 0.5, one cancels the other``; ``BUY 0.1, then SELL 0.1``."""
    said = [f"{order['side']} {order['quantity']}".rstrip() for order in orders]
    if (legs[0].order_list or {}).get("contingencyType") == "OCO":
        return f"{said[0]}, one cancels the other"
    now = [text for text, order in zip(said, orders, strict=True) if not order["pending"]]
    later = [text for text, order in zip(said, orders, strict=True) if order["pending"]]
    return ", then ".join(" or ".join(dict.fromkeys(part)) for part in (now, later) if part)


def _order(row: Row, last: Decimal | None, placed: Mapping[tuple[object, int], int]) -> dict[str, Any]:
    """Return an order in the words of the table."""
    order = row.order
    price = price_of(order)
    trigger, quantity, executed = (decimal(order.get(field)) for field in ("stopPrice", "origQty", "executedQty"))
    key, time = list_key(order), order.get("time")
    if key is not None:  # the legs of a list are placed together
        time = placed.get(key, time)
    waits = order.get("isWorking") is False  # not on the book yet, so it stands at its trigger, as in the ladder
    at = (trigger or price) if waits else (price or trigger)
    triggers = [_text(order, "stopPrice")] if trigger or trigger is None else []
    if (trailing := decimal(order.get("trailingDelta"))) is not None:
        triggers.append(f"{grouped(trailing / _BASIS_POINTS)} % trailing")
    visible = decimal(order.get("icebergQty"))
    return {
        "order": _text(order, "orderId"),
        "side": _text(order, "side"),
        "type": _text(order, "type"),
        "price": _price(order, price),
        "trigger": ", ".join(filter(None, triggers)),
        "quantity": _text(order, "origQty") + (f", iceberg {grouped(visible)}" if visible else ""),
        "filled": int(executed / quantity * 100) if executed and quantity else 0,
        "executed": grouped(executed) if executed else "",
        "distance": messages.distance(at, last) if at and last else "",
        "placed": time if type(time) is int else None,
        "client": _text(order, "origClientOrderId"),
        "pending": order.get("status") == "PENDING_NEW",
        "outcome": "" if row.outcome == "open" else row.outcome,
        "glyph": columns.GLYPHS.get(row.outcome, ""),
    }


def _price(order: Mapping[str, Any], price: Decimal | None) -> str:
    if is_pegged(order):
        return f"{grouped(price)}, pegged" if price else "pegged"
    return "market" if price == 0 else _text(order, "price")


def told(frame: DataFrame, known: Mapping[tuple[str, int], Row]) -> Ended:
    """Return the orders of a result that are not just open, as they were known before with what is new of them."""
    found: Ended = {}
    records: Any = frame.astype(object).where(frame.notna(), None).to_dict("records")
    for record in records:
        report = {field: value for field, value in record.items() if value is not None}
        which = identity(report)
        if which is None or record["outcome"] == "open":
            continue
        before = known.get(which)
        said = {
            field: f"{value:f}" if isinstance(value, float | Decimal) else value
            for field, value in report.items()
            if field in _TOLD or before is None
        }
        seen = {} if before is None else before.order
        order_list = None if before is None else before.order_list
        if order_list is None and "contingencyType" in report:
            order_list = {"contingencyType": report["contingencyType"]}
        found[which] = Row({**seen, **said}, order_list, record["outcome"])
    return found


def calls(log: DataFrame, client: SpotClient, most: int) -> list[list[str]]:
    """Return the cancels on this exchange, the latest first: when (local time), what was asked, and what came of it."""
    here = log[(log["profile"] == client.profile) & (log["host"] == client.host)]
    return [
        [
            f"{call['sentAt'].to_pydatetime().astimezone():%Y-%m-%d %H:%M:%S}" if call["sentAt"] is not None else "",
            printable(call["request"]),
            ", ".join(f"{call[outcome]} {outcome}" for outcome in OUTCOMES if call[outcome]) or "none",
            printable(call["state"] if call["error"] is None else call["error"]),
        ]
        for call in here[-most:].iloc[::-1].astype(object).where(here.notna(), None).to_dict("records")
    ]


def summary(rows: Sequence[Row], symbols: Sequence[str]) -> str:
    """Return what is open, in a line."""
    if not rows:
        return f"Nothing is open on {messages.subject(symbols)}."
    said = f"{messages.count(len(rows), 'open order')} on {messages.subject(symbols)}"
    return printable(f"{said}{messages.kinds(rows)}{messages.notional(rows)}")


def picture(rows: Sequence[Row], ended: Ended, client: SpotClient) -> str:
    """Show open orders as a ladder, and among them what has just ended."""
    opened = report.frame_of(rows, client, call="open_orders")
    gone = [report.frame_of(list(ended.values()), client, call="cancel_all")] if ended else []
    orders = ladder.merged(opened, *gone)
    return ladder_view.as_html(ladder.Ladder(orders, last_prices(client, ladder.symbols_of(orders))), selectable=True)


def _text(order: Mapping[str, Any], field: str) -> str:
    """Return what an exchange sent, whatever it is, as printable text; amounts readable."""
    value = order.get(field)
    if field in _AMOUNTS and (number := decimal(value)) is not None:
        return grouped(number)
    return "" if value is None else printable(str(value))
