"""Shapes: the forms that a dialect gives to replies on their way out.

`replies` writes the default form; a dialect with another one changes that document. What the engine knows, and what
direct calls return, stays the same.
"""

from __future__ import annotations

import json
import re
from random import Random
from typing import TYPE_CHECKING, Any

from nbext.exchange.api.replies import NOTHING, Json, write

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from nbext.exchange.api.replies import Report
    from nbext.exchange.dialect import Dialect

CANCELS = frozenset({"cancel", "cancelAll", "cancelList"})
QUERIES = frozenset({"query", "openOrders", "allOrders"})
MADE_UP_STATUS = "PARKED"
# Undocumented fields: readers must pass them through or ignore them.
FLAT_EXTRA: Report = {"rebateRate": "0.10000000", "deskNote": "unasked"}
NESTED_EXTRA: Report = {"routing": {"venue": "A", "hops": [1, 2]}, "tags": ["x", {"y": None}]}

_IDS = re.compile(r'"(orderId|orderListId)":(-?[0-9]+)')
_IDS_AND_TIMES = re.compile(
    r'"(orderId|orderListId|transactTime|transactionTime|time|updateTime|workingTime)":(-?[0-9]+)'
)
_AMOUNT = re.compile(r'"(-?[0-9]+\.[0-9]{6})([0-9]{2})"')


def shaped(call: str, answer: object, dialect: Dialect) -> object:
    """Return a call's reply as the dialect has it; the reply to a refused cancel-replace has both halves too."""
    if not dialect.settings:
        return answer
    document: Any = json.loads(answer) if isinstance(answer, Json) else answer
    if isinstance(document, dict) and "code" in document and "data" not in document:
        return document
    if call in CANCELS:
        document = _canceled(call, document, dialect)
    elif call in QUERIES:
        document = _queried(call, document, dialect)
    elif call == "cancelReplace" and isinstance(document, dict):
        document = _replaced(document, dialect)
    elif isinstance(document, dict) and "orderReports" in document:
        document = document | {"orderReports": [_with_quantity(leg, dialect) for leg in document["orderReports"]]}
    text = write(document)
    if dialect.quoted_ids != "numbers":
        text = (_IDS if dialect.quoted_ids == "ids" else _IDS_AND_TIMES).sub(r'"\1":"\2"', text)
    if dialect.decimals != "eight":
        text = _AMOUNT.sub(_fewer_decimals if dialect.decimals == "six" else _no_more_decimals, text)
    return Json(text)


def _fewer_decimals(found: re.Match[str]) -> str:
    return f'"{found[1]}"' if found[2] == "00" else found[0]


def _no_more_decimals(found: re.Match[str]) -> str:
    return f'"{(found[1] + found[2]).rstrip("0").rstrip(".")}"'


def _canceled(call: str, document: Report | list[Report], dialect: Dialect) -> object:
    rows: list[Report] = document if isinstance(document, list) else [document]
    if call == "cancelAll":
        rows = _ordered(_repeated(rows, dialect.duplicate_report), dialect.row_order)
    rows = [_canceled_row(row, dialect) for row in rows]
    return rows if isinstance(document, list) else rows[0]


def _repeated(rows: list[Report], how: str) -> list[Report]:
    """Report legs flat: the first one of a list beside it, or all of them instead of it."""
    if how == "once":
        return rows
    told: list[Report] = []
    for row in rows:
        legs = row.get("orderReports", [])
        told += legs if how == "flat_only" and legs else [row, *(dict(leg) for leg in legs[:1])]
    return told


def _ordered(rows: list[Report], how: str) -> list[Report]:
    if how == "descending":
        return rows[::-1]
    if how == "lists_first":
        return sorted(rows, key=lambda row: "orderReports" not in row)
    if how == "shuffled":
        chance = Random(len(rows))
        for each in (rows, *(row["orderReports"] for row in rows if "orderReports" in row)):
            chance.shuffle(each)
            if each == sorted(each, key=_first_id):
                each.reverse()  # so that two rows show it too
    return rows


def _first_id(row: Report) -> int:
    return int(row["orderId"] if "orderId" in row else row["orders"][0]["orderId"])


def _canceled_row(row: Report, dialect: Dialect) -> Report:
    if "orderReports" not in row:
        return _cancel_report(row, dialect)
    legs = [_cancel_report(leg, dialect) for leg in row["orderReports"]]
    if dialect.list_cancel_form == "websocket":
        for leg in legs:
            leg["clientOrderId"] = leg.pop("origClientOrderId")
    return _extended(row | {"orderReports": legs}, dialect)


def _cancel_report(report: Report, dialect: Dialect) -> Report:
    report = _with_quantity(report, dialect)
    if dialect.zero_fields != "absent":
        report = {"stopPrice": NOTHING, "icebergQty": NOTHING} | report
    if dialect.zero_fields == "neutral":
        report = {"trailingDelta": 0, "trailingTime": -1} | report
    return _extended(_aged(report, ("transactTime",), dialect), dialect)


def _queried(call: str, document: Report | list[Report], dialect: Dialect) -> object:
    rows: list[Report] = document if isinstance(document, list) else [document]
    if call == "openOrders" and dialect.pending_listed == "when_released":
        rows = [row for row in rows if row["status"] != "PENDING_NEW"]
    rows = [_queried_row(row, dialect) for row in rows]
    if call == "openOrders" and dialect.open_rows != "ascending":
        rows = _ordered(rows, "descending" if dialect.open_rows == "newest_first" else "shuffled")
    return rows if isinstance(document, list) else rows[0]


def _queried_row(row: Report, dialect: Dialect) -> Report:
    row = _aged(_with_quantity(row, dialect), ("workingTime",), dialect)
    if row["status"] == "NEW" and dialect.open_status != "documented":
        status = MADE_UP_STATUS if dialect.open_status == "made_up" else dialect.open_status
        row = row | {"status": status}
    return _extended(row, dialect)


def _replaced(document: Report, dialect: Dialect) -> Report:
    halves: list[tuple[str, Callable[[Report, Dialect], Report]]]
    halves = [("cancelResponse", _canceled_row), ("newOrderResponse", _with_quantity)]
    data: Report = document.get("data", document)
    told = {name: tell(data[name], dialect) for name, tell in halves if _is_report(data.get(name))}
    return document | {"data": data | told} if "data" in document else document | told


def _is_report(half: object) -> bool:
    return isinstance(half, dict) and "code" not in half


def _with_quantity(report: Report, dialect: Dialect) -> Report:
    """Return a report with some quantity for a pending leg that does not have one yet."""
    if "executedQty" not in report or "origQty" in report or dialect.opo_pending_quantity == "absent":
        return report
    return report | {"origQty": NOTHING if dialect.opo_pending_quantity == "zero" else None}


def _aged(report: Report, further: Iterable[str], dialect: Dialect) -> Report:
    """Return a report without the fields that the API has added over the years."""
    if dialect.older_fields == "present":
        return report
    newer = {"origQuoteOrderQty", "selfTradePreventionMode", *further}
    if report["orderListId"] == -1:
        newer.add("orderListId")
    return {name: value for name, value in report.items() if name not in newer}


def _extended(report: Report, dialect: Dialect) -> Report:
    if dialect.extra_fields == "none":
        return report
    return report | (FLAT_EXTRA if dialect.extra_fields == "flat" else NESTED_EXTRA)
