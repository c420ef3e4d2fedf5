"""What the exchange sent, order by order, without pandas."""

from __future__ import annotations

import re
from decimal import Decimal, InvalidOperation
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

OUTCOMES = ("canceled", "filled", "expired", "rejected", "archived", "open", "unknown")
"""Outcomes: the state of an order as last proven. Before a cancel there is also ``would_cancel``."""
FINAL = frozenset({"canceled", "filled", "expired", "rejected", "archived"})
"""Outcomes that never change. An archived order was canceled or has expired; the exchange no longer says which."""
OPEN_STATUSES = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})

_ENDED = {
    "CANCELED": "canceled",
    "FILLED": "filled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "rejected",
}
# A cancel's id may replace the order's own in later queries: the docs mention it once (WebSocket API,
# "Cancel order"), without an example. A cancel ends orders with these statuses; a list's pending orders may expire.
_MAY_SHOW_THE_CANCEL = frozenset({"CANCELED", "EXPIRED"})
_ENDED_OTHERWISE = frozenset({"filled", "rejected"})
# Fields that change: what a look showed of them means nothing once an answer, or time, casts doubt on the look.
_PASSING = frozenset(
    {
        "clientOrderId",
        "status",
        "executedQty",
        "cummulativeQuoteQty",
        "transactTime",  # of what was told then
        "updateTime",
        "isWorking",
        "workingTime",
        "trailingTime",
        "peggedPrice",
        "preventedMatchId",
        "preventedQuantity",
    }
)
_PASSING_OF_LISTS = frozenset({"listStatusType", "listOrderStatus", "transactionTime"})
_NUMBERS = frozenset(
    {
        "orderId",
        "orderListId",
        "transactTime",
        "transactionTime",
        "time",
        "updateTime",
        "workingTime",
        "trailingTime",
    }
)
_KEYS = ("symbol", "status", "orderId", "orderListId", "clientOrderId", "origClientOrderId")
_KEYS_OF = itemgetter(*_KEYS)
KEPT_BESIDE = frozenset(f"wire.{name}" for name in _KEYS)
"""Columns for keys that are malformed, or not known to be what their names say."""
_MOST_DIGITS = 40
_WHOLE_NUMBER = re.compile(r"-?[1-9][0-9]{0,18}|0", re.ASCII)
SHOWN_ID = "wire.clientOrderId"
"""The client order id that a query shows of a canceled order, either the order's own or the cancel's."""


class Row(NamedTuple):
    """One order on its way into a frame.

    Attributes
    ----------
    order : Mapping
        The order's own fields, by wire name.
    order_list : Mapping or None
        Its order list as sent, if one was.
    outcome : str
        The order's state as last proven.
    as_of : float or None
        For an order that was read as open: Unix time at which it certainly was, allowing for lagging reads.
    """

    order: Mapping[str, Any]
    order_list: Mapping[str, Any] | None
    outcome: str
    as_of: float | None = None


class Unit(NamedTuple):
    """What is canceled as one: a single order, or a whole order list."""

    symbol: str
    is_list: bool
    number: int | str


def list_of(order: Mapping[str, Any]) -> int | None:
    """Return the id of the list that an order belongs to; None for a single order. 0 is an id like any other."""
    list_id = order.get("orderListId")
    return list_id if type(list_id) is int and list_id >= 0 else None


def list_key(order: Mapping[str, Any]) -> tuple[object, int] | None:
    """Return the symbol and id of the list that an order or a list entry is about; None for a single order.

    The id alone is enough by the documentation, but a mistake would cancel the orders of another symbol.
    """
    return None if (list_id := list_of(order)) is None else (order.get("symbol"), list_id)


def unit_of(row: Row) -> Unit:
    """Return what is canceled together with this order."""
    symbol, number, list_id = str(row.order.get("symbol")), row.order.get("orderId"), list_of(row.order)
    if list_id is not None:
        return Unit(symbol, True, list_id)
    return Unit(symbol, False, number if isinstance(number, int) else str(number))


def units(rows: Iterable[Row]) -> dict[Unit, list[Row]]:
    """Group the orders that are canceled as one, in the order first met."""
    found: dict[Unit, list[Row]] = {}
    for row in rows:
        found.setdefault(unit_of(row), []).append(row)
    return found


def decimal(value: object) -> Decimal | None:
    """Return a number that the exchange sent; None for what is not one, or is too large or too small to be an amount.

    Written out, ``1e999999999`` would be a gigabyte of zeros.
    """
    try:
        number = Decimal(value) if isinstance(value, str | int) and not isinstance(value, bool) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() and abs(number.adjusted()) < _MOST_DIGITS else None


def price_of(order: Mapping[str, Any]) -> Decimal | None:
    """Return the limit price at which an order stands; zero or None if it has none.

    That of a pegged order is ``peggedPrice``, once it has been taken from the book; ``price`` is what the order was
    placed with, mostly zero (API docs, "Pegged orders").
    """
    return decimal(order.get("peggedPrice")) or decimal(order.get("price"))


def is_pegged(order: Mapping[str, Any]) -> bool:
    """Return whether an order takes its price from the book."""
    return isinstance(kind := order.get("pegPriceType"), str) and bool(kind)


def from_reports(reports: Iterable[Mapping[str, Any]], seen: Sequence[Row] = ()) -> list[Row]:
    """Return rows for the answer to a cancel, order lists expanded, each order once.

    Parameters
    ----------
    reports : iterable of Mapping
        Cancel reports, and order lists with ``orderReports``, in any mixture. Only the presence of ``orderReports``
        tells them apart (API docs, "Cancel All Open Orders on a Symbol").
    seen : sequence of Row, optional
        The orders as they were last seen open, for reports without the order's own id.
    """
    rows: list[Row] = []
    numbers: set[int] = set()
    for report in reports:
        legs, order_list = report.get("orderReports"), None
        if legs is None:
            legs = (report,)
        else:
            order_list = plain(report)
        for leg in legs:
            try:
                symbol, status, number, list_id, shown, own = _KEYS_OF(leg)
            except KeyError:
                status = None
            if status == "CANCELED" and shown != own and type(number) is type(list_id) is int and type(symbol) is str:
                numbers.add(number)
                rows.append(Row(leg, order_list, "canceled"))
            else:
                rows.append(Row(_report(leg, order_list, seen), order_list, outcome(leg)))
    # Thousands of usual reports, each about a different order, need no further check.
    if len(numbers) == len(rows):
        return rows
    return unique(rows)


def _report(report: Mapping[str, Any], order_list: Mapping[str, Any] | None, seen: Sequence[Row]) -> Mapping[str, Any]:
    """Return a report with the order's own id and the cancel's under their proper names, as far as known."""
    report = plain(report)
    shown, number = report.get("clientOrderId"), report.get("orderId")
    if not isinstance(shown, str):
        return report
    if "origClientOrderId" in report:
        own = [report["origClientOrderId"]]
    else:  # the one id may be the order's own, as the WebSocket API documents, or the cancel's
        own = [leg.get("clientOrderId") for leg in named_legs(order_list or {}) if leg.get("orderId") == number]
        own += [row.order.get("origClientOrderId") for row in seen if row.order.get("orderId") == number]
        own = [each for each in own if isinstance(each, str)]
    rest = {name: value for name, value in report.items() if name != "clientOrderId"}
    if not own:
        return {**rest, SHOWN_ID: shown}
    if "origClientOrderId" not in report and shown in own:
        return {**rest, "origClientOrderId": shown}
    # An order that a cancel merely reports, because it had ended or could not be canceled, has no cancel id.
    by_a_cancel = shown not in own and not is_open(report) and outcome(report) not in _ENDED_OTHERWISE
    return {**rest, "origClientOrderId": own[0], "clientOrderId" if by_a_cancel else SHOWN_ID: shown}


def from_open_orders(
    orders: Iterable[Mapping[str, Any]], order_lists: Iterable[Mapping[str, Any]] = (), *, dry_run: bool = False
) -> list[Row]:
    """Return rows for orders as a query shows them, in the columns of a cancel.

    ``origClientOrderId`` is the order's own id, as in a cancel report; there is no cancel, so ``clientOrderId`` is
    missing.

    Parameters
    ----------
    orders : iterable of Mapping
        ``GET /api/v3/openOrders``.
    order_lists : iterable of Mapping
        ``GET /api/v3/openOrderList``; the columns of other lists are missing.
    dry_run : bool
        Whether the outcome of what is open is ``would_cancel`` rather than ``open``.
    """
    by_key = {key: entry for entry in order_lists if (key := list_key(entry)) is not None}
    rows = []
    for order in orders:
        state = "open" if is_open(order) else outcome(order)
        state = "would_cancel" if dry_run and state == "open" else state
        key = list_key(order)
        rows.append(Row(as_reported(order), None if key is None else by_key.get(key), state))
    return rows


def is_open(order: Mapping[str, Any]) -> bool:
    """Return whether an order has one of the statuses of open orders."""
    return isinstance(status := order.get("status"), str) and status in OPEN_STATUSES


def may_show_the_cancel(order: Mapping[str, Any]) -> bool:
    """Return whether the client order id that a query shows may be that of the cancel that has ended the order."""
    return isinstance(status := order.get("status"), str) and status in _MAY_SHOW_THE_CANCEL


def as_reported(order: Mapping[str, Any], before: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Rename the ids of a queried order as cancel reports name them: the only place that does.

    Parameters
    ----------
    order : Mapping
        As a query shows it: ``clientOrderId`` is the order's own or, after a cancel, perhaps the cancel's.
    before : Mapping, optional
        The same order as known before, with the names of a cancel report.

    Returns
    -------
    dict
        With the order's own id as ``origClientOrderId`` if known, and the cancel's as ``clientOrderId`` if the query
        can show nothing else: the order's own id was known, and only an amendment could have changed it, which would
        have lowered the quantity (API docs, "Order Amend Keep Priority").
    """
    named = {name: value for name, value in plain(order).items() if name != "clientOrderId"}
    shown = order.get("clientOrderId")
    if shown is None:
        return named
    if not may_show_the_cancel(order):
        return {**named, "origClientOrderId": shown}
    own = None if before is None else before.get("origClientOrderId")
    if own is None:
        return {**named, SHOWN_ID: shown}
    if shown == own:
        return {**named, "origClientOrderId": own}
    quantity, known = order.get("origQty"), before is not None and before.get("origQty")
    if isinstance(quantity, str) and isinstance(known, str):
        if same_number(quantity, known):
            return {**named, "origClientOrderId": own, "clientOrderId": shown}
        if decimal(known):  # else it had none yet, as pending orders of an OPO
            own = None  # amended in between, which may have given it this id or another
    return {**named, "origClientOrderId": own, SHOWN_ID: shown}


def in_doubt(row: Row) -> Row:
    """Return a row without the fields that may have changed since it was read."""
    order = {name: value for name, value in row.order.items() if name not in _PASSING}
    return Row(order, lasting(row.order_list), "unknown")


def lasting(order_list: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return an order list without the fields that may have changed since it was read."""
    if order_list is None:
        return None
    if legs := named_legs(order_list):  # an amendment changes the id of a leg
        named = [{name: value for name, value in leg.items() if name != "clientOrderId"} for leg in legs]
        order_list = {**order_list, "orders": named}
    return {name: value for name, value in order_list.items() if name not in _PASSING_OF_LISTS}


def outcome(order: Mapping[str, Any]) -> str:
    """Return the outcome that a status proves: ``canceled``, ``filled``, ``expired``, ``rejected``, or ``unknown``.

    An open status proves nothing here: whether an order is still open after a cancel depends on when it was read.
    """
    status = order.get("status")
    return _ENDED.get(status, "unknown") if isinstance(status, str) else "unknown"


def identity(order: Mapping[str, Any]) -> tuple[str, int] | None:
    """Return an order's symbol and id; None if it lacks one of them."""
    symbol, number = order.get("symbol"), order.get("orderId")
    return (symbol, number) if isinstance(symbol, str) and type(number) is int else None


def named(row: Row) -> dict[str, object]:
    """Return an order's symbol and ids."""
    return {name: row.order.get(name) for name in ("symbol", "orderId", "origClientOrderId")}


def unique(rows: list[Row], *, amended: bool = False) -> list[Row]:
    """Return each order once: reports of one order are merged, the most informative first.

    Rows with different own ids are different orders, even with the same order id.

    Parameters
    ----------
    rows : list of Row
    amended : bool, default False
        Whether the rows are of different times, so that an order may have been amended in between, which gives it
        another id and lowers its quantity.
    """
    ids = [identity(row.order) for row in rows]
    if len({each for each in ids if each is not None}) == len(ids):
        return rows
    if None in ids:
        ids = _with_ids(rows, ids)
    kept: dict[object, Row] = {}
    for number, (row, ident) in enumerate(zip(rows, ids, strict=True)):
        key: object = number if ident is None else ident
        before = kept.get(key)
        if before is not None and _are_of_two_orders(row, before, amended=amended):
            key = ident, row.order["origClientOrderId"]
            before = kept.get(key)
        if before is None:
            kept[key] = row
            continue
        better, other = (row, before) if _tells_of(row) > _tells_of(before) else (before, row)
        if other.outcome not in FINAL:  # an order that had not ended may have changed since
            other = in_doubt(other)
        kept[key] = better._replace(
            order={**other.order, **better.order}, order_list=before.order_list or row.order_list
        )
    return list(kept.values())


def own_name(order: Mapping[str, Any]) -> tuple[str, str] | None:
    """Return an order's symbol and own id, which no two open orders share; None if it lacks one of them."""
    symbol, own = order.get("symbol"), order.get("origClientOrderId")
    return (symbol, own) if isinstance(symbol, str) and isinstance(own, str) and own else None


def _with_ids(rows: Sequence[Row], ids: Sequence[tuple[str, int] | None]) -> list[tuple[str, int] | None]:
    """Return the identity of each row, that of one without an id by its own id, if that is one order's."""
    found: dict[tuple[str, str] | None, set[tuple[str, int]]] = {}
    for row, ident in zip(rows, ids, strict=True):
        if ident is not None:
            found.setdefault(own_name(row.order), set()).add(ident)
    alike = [found.get(name, set()) if (name := own_name(row.order)) is not None else set() for row in rows]
    return [
        next(iter(same)) if ident is None and len(same) == 1 else ident for ident, same in zip(ids, alike, strict=True)
    ]


def _tells_of(row: Row) -> tuple[int, bool]:
    return (2 if row.outcome in FINAL else 1 if row.outcome != "unknown" else 0), row.order_list is not None


def _are_of_two_orders(one: Row, other: Row, *, amended: bool) -> bool:
    ids = one.order.get("origClientOrderId"), other.order.get("origClientOrderId")
    if ids[0] == ids[1] or not all(isinstance(each, str) for each in ids):
        return False
    quantities = decimal(one.order.get("origQty")), decimal(other.order.get("origQty"))
    return not amended or None in quantities or quantities[0] == quantities[1]


def plain(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ids and times as numbers, even if an exchange sends them as text."""
    if type(entry.get("orderId", 0)) is int and type(entry.get("orderListId", 0)) is int:
        return entry
    named = _with_numbers(entry)
    if isinstance(legs := named.get("orders"), list):
        named["orders"] = [_with_numbers(leg) if isinstance(leg, dict) else leg for leg in legs]
    return named


def with_keys(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """Move lists and objects from fields for names, ids and statuses to ``wire.NAME``."""
    odd = [name for name in _KEYS if isinstance(entry.get(name), (list, dict))]
    return {f"wire.{name}" if name in odd else name: value for name, value in entry.items()} if odd else entry


def _with_numbers(entry: Mapping[str, Any]) -> dict[str, Any]:
    named = dict(entry)
    for name in _NUMBERS & named.keys():
        value = named[name]
        if isinstance(value, str) and _WHOLE_NUMBER.fullmatch(value) is not None:
            named[name] = int(value)
    return named


def same_number(one: str, other: str) -> bool:
    """Return whether two amounts are the same number, trailing zeros aside."""
    return _trimmed(one) == _trimmed(other)


def _trimmed(text: str) -> str:
    return text.rstrip("0").rstrip(".") if "." in text else text


def legs_without_report(reports: Iterable[Mapping[str, Any]]) -> int:
    """Count the orders that lists name without a report: they had ended before the cancel."""
    count = 0
    for report in reports:
        if (reports_of_legs := report.get("orderReports")) is not None:
            reported = [leg.get("orderId") for leg in reports_of_legs]
            count += sum(leg.get("orderId") not in reported for leg in named_legs(report))
    return count


def named_legs(order_list: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the ``orders`` of a list, each with its ids; empty if there are none in that form."""
    legs = order_list.get("orders")
    return [leg for leg in legs if isinstance(leg, dict)] if isinstance(legs, list) else []
