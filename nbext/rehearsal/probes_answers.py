"""What an answer shows of a dialect: one function for each rule, from what was answered to the value of the rule.

They return None where the answer cannot show it, and raise one of `ODD` where it does not have the documented form.
"""

from __future__ import annotations

from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nbext.frames.build import DOCUMENTED
from nbext.orders import outcome
from nbext.spot.answers import KEY_CODES

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.hands import Placed

    Row = Mapping[str, Any]

ODD = (LookupError, TypeError, ValueError, AttributeError)
_FIELDS_OF_LISTS = frozenset({"orders", "orderReports"})
# Added over the years (API docs, "CHANGELOG").
_NEWER = frozenset({"orderListId", "origQuoteOrderQty", "selfTradePreventionMode"})
_LOW = 1_000
_DECIMALS = {8: "eight", 6: "six", 0: "trimmed"}


def refusal(answer: Answer) -> tuple[int, str]:
    """Return code and text of a refusal."""
    code, text = answer.body["code"], answer.body["msg"]
    if type(code) is not int or not isinstance(text, str) or code >= 0:
        raise ValueError(answer.raw)
    return code, text


def refusal_status(answer: Answer) -> int:
    """Return the HTTP status of a refusal that is about neither a key nor a limit."""
    code, _ = refusal(answer)
    if code in KEY_CODES or not HTTPStatus.BAD_REQUEST <= answer.status < HTTPStatus.INTERNAL_SERVER_ERROR:
        raise ValueError(answer.raw)
    return answer.status


def key_status(answer: Answer) -> int:
    """Return the HTTP status with which a key is refused."""
    code, _ = refusal(answer)
    if code not in KEY_CODES:
        raise ValueError(answer.raw)
    return answer.status


def rows_of(answer: Answer) -> list[dict[str, Any]]:
    """Return the rows of an answer that has to be a list of objects."""
    if answer.status != HTTPStatus.OK or not isinstance(answer.body, list):
        raise ValueError(answer.raw)
    if not all(isinstance(row, dict) for row in answer.body):
        raise TypeError(answer.raw)
    return answer.body


def number_of(row: Row) -> int:
    """Return an order's id."""
    return int(row["orderId"])


def has_ended(row: Row) -> bool:
    """Return whether an order is shown as canceled or expired."""
    return outcome(row) in {"canceled", "expired"}


# One order.


def quoted_ids(row: Row) -> str:
    """Return whether ids and times are numbers."""
    number_of(row)
    times = [row[name] for name in ("time", "updateTime", "transactTime") if name in row]
    if any(isinstance(each, str) for each in times):
        return "ids_and_times"
    return "ids" if isinstance(row["orderId"], str) else "numbers"


def decimals(row: Row) -> str:
    """Return how many decimals amounts have; `row` is an order without a fill."""
    amount = row["executedQty"]
    if float(amount) != 0:
        raise ValueError(amount)
    places = len(amount.partition(".")[2])
    return _DECIMALS.get(places, f"{places} decimals")


def older_fields(row: Row, *further: str) -> str:
    """Return whether fields that were added over the years are there."""
    number_of(row)
    missing = sorted((_NEWER | {*further}) - row.keys())
    return f"absent: {', '.join(missing)}" if missing else "present"


def extra_fields(*documents: Any) -> str:
    """Return whether orders, order lists or cancel reports have undocumented fields."""
    extra = {name: value for row in _every(documents) for name, value in row.items() if name not in DOCUMENTED}
    for name in _FIELDS_OF_LISTS & extra.keys():
        del extra[name]
    if not extra:
        return "none"
    kind = "nested" if any(isinstance(value, (dict, list)) for value in extra.values()) else "flat"
    return f"{kind}: {', '.join(sorted(extra))}"


def _every(documents: Collection[Any]) -> Iterator[Row]:
    """Yield every order and order list in some documents."""
    for document in documents:
        if isinstance(document, dict):
            yield document
        inner = [document.get(name, ()) for name in _FIELDS_OF_LISTS] if isinstance(document, dict) else document
        for each in inner:
            yield from _every(each if isinstance(each, (list, tuple)) else [each])


def zero_fields(report: Row) -> str:
    """Return whether the cancel report of a plain order has fields of stops and icebergs."""
    number_of(report)
    if {"trailingDelta", "trailingTime"} & report.keys():
        return "neutral"
    return "zero" if {"stopPrice", "icebergQty"} & report.keys() else "absent"


def open_status(row: Row) -> str:
    """Return how the status of an open order is called."""
    status = str(row["status"])
    if status in {"NEW", "PENDING_CANCEL"}:
        return "documented" if status == "NEW" else status
    return f"made_up: {status}"


def trailing_start(report: Row) -> str:
    """Return whether a trailing stop has begun to follow in the reply to its placement."""
    return "last_price" if int(report["trailingTime"]) > 0 else "next_trade"


def pending_quantity(report: Row) -> str:
    """Return the quantity of a leg that does not have one yet."""
    number_of(report)
    if "origQty" not in report:
        return "absent"
    quantity = report["origQty"]
    return "null" if quantity is None else "zero" if float(quantity) == 0 else str(quantity)


def first_id(number: int) -> str:
    """Return whether ids begin at zero, by the first one that was given out."""
    return "from_zero" if 0 <= number < _LOW else "seeded"


# A list.


def list_response(body: Row) -> str:
    """Return the form of the reply to the placement of a list."""
    leg = body["orderReports"][0]
    number_of(leg)
    return "FULL" if "fills" in leg else "RESULT" if "status" in leg else "ACK"


def list_form(row: Row, own_list_id: str) -> str:
    """Return which ids the report of a canceled list has."""
    if any("origClientOrderId" not in leg for leg in row["orderReports"]):
        return "websocket"
    return "rest" if row["listClientOrderId"] == own_list_id else "list_id_replaced"


def unreported(row: Row) -> set[int]:
    """Return the legs of a canceled list that have no report."""
    return set(map(number_of, row["orders"])) - set(map(number_of, row["orderReports"]))


def list_order_ids(body: Row, own_ids: Collection[str]) -> str | None:
    """Return which client ids a query of a canceled list shows; None if it is not shown as done."""
    if body["listOrderStatus"] != "ALL_DONE":
        return None
    return "own_id" if all(leg["clientOrderId"] in own_ids for leg in body["orders"]) else "cancel_id"


# A cancel-all, and lists of orders.


def reports_of(rows: Sequence[Row]) -> Iterator[tuple[Row, bool]]:
    """Yield each report of a cancel-all, and whether it is in a list."""
    for row in rows:
        if "orderReports" in row:
            yield from ((leg, True) for leg in row["orderReports"])
        else:
            yield row, False


def sequence(numbers: Sequence[int], descending: str) -> str | None:
    """Return in which sequence order ids are; `descending` is the word for one of them."""
    if len(set(numbers)) <= 1:  # one is in every sequence
        return None
    if list(numbers) == sorted(numbers):
        return "ascending"
    return descending if list(numbers) == sorted(numbers, reverse=True) else "shuffled"


def row_order(rows: Sequence[Row]) -> str | None:
    """Return the sequence of the rows of a cancel-all."""

    def first(row: Row) -> int:
        return number_of(row["orders"][0] if "orders" in row else row)

    found = sequence([first(row) for row in rows], "descending")
    lists = [first(row) for row in rows if "orders" in row]
    singles = [first(row) for row in rows if "orders" not in row]
    lists_first = [first(row) for row in rows] == sorted(lists) + sorted(singles)
    return "lists_first" if found not in {None, "ascending"} and lists_first else found


def cancel_ids(rows: Sequence[Row], placed: Mapping[int, Placed]) -> str | None:
    """Return which reports of a cancel-all share a cancel id."""
    by_row: defaultdict[tuple[str, int], set[str]] = defaultdict(set)
    for report, _ in reports_of(rows):
        order = placed.get(number_of(report))
        if order is None or "origClientOrderId" not in report or not has_ended(report):
            continue
        in_list = order.list_number >= 0
        by_row["list" if in_list else "order", order.list_number if in_list else order.number].add(
            report["clientOrderId"]
        )
    if any(len(ids) > 1 for ids in by_row.values()):
        return "each_report"
    if len(by_row) <= 1:  # one shows nothing
        return None
    return "one" if len(set.union(*by_row.values())) == 1 else "each_row"


def duplicate_report(rows: Sequence[Row], placed: Mapping[int, Placed]) -> str | None:
    """Return whether a cancel-all reports legs beside their list, or without it."""
    found = [(number_of(report), in_list) for report, in_list in reports_of(rows)]
    legs = [(number, in_list) for number, in_list in found if number in placed and placed[number].list_number >= 0]
    flat, inside = {number for number, in_list in legs if not in_list}, {number for number, in_list in legs if in_list}
    if not legs:
        return None
    return "flat_too" if flat & inside else "flat_only" if flat else "once"
