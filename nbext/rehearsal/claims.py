"""The claims: everything that nbext said, compared with what the exchange's own records say.

Each field of each row is compared with the answers that nbext got, and with ``GET /api/v3/order``, ``/allOrders``,
``/openOrders``, ``/orderList`` and ``/openOrderList``. Records may lag: what contradicts is read again for a while.
"""

from __future__ import annotations

import time
from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple

from nbext.errors import RejectedError
from nbext.frames.build import is_frame
from nbext.orders import FINAL, decimal, outcome, plain
from nbext.rehearsal.findings import Claim
from nbext.spot.answers import CLOCK_IS_OFF, TOO_MANY, identifier

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pandas import DataFrame

    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.hands import Hands
    from nbext.rehearsal.play import Told

COLUMNS = "Every frame has all columns, in their dtypes"
ROWS = "Every order in an answer has one row, and no other order has one"
COMPLETE = "No order was canceled without a row"
OWN_IDS = "Every row has the ids that the order was placed with"
ANSWERS = "Every field is what the answer to the cancel says"
ORDER = "Every field is what GET /order says"
ALL_ORDERS = "Every field is what GET /allOrders says"
OPEN_ORDERS = "GET /openOrders lists what is open as shown, and nothing that ended"
LISTS = "Every field of a list is what GET /orderList and /openOrderList say"
ONCE = "A cancel is sent once, a dry run and a look send none"
REFUSED = "Where it says that no orders were changed, none was"
OTHERS = "No cancel, and no answer to one, named an order of anyone else"
CLAIMS = (COLUMNS, ROWS, COMPLETE, OWN_IDS, ANSWERS, ORDER, ALL_ORDERS, OPEN_ORDERS, LISTS, ONCE, REFUSED, OTHERS)

PATIENCE = 60.0
"""Seconds for which contradictions are read again. Reads that lag by 36 s have been reported."""
_LESS_PATIENCE = 2.0
_MOST_DETAILS = 5
_NONE_AT_ZERO = frozenset({"price", "stopPrice", "origQty", "origQuoteOrderQty", "icebergQty"})
# In a query these are something else: an id may be the cancel's, and times and reasons are told by some replies only.
_OF_THE_ANSWER = frozenset({"clientOrderId", "origClientOrderId", "transactTime", "transactionTime", "outcome"})
_SAME_MOMENT_MS = 1000
_OF_LISTS = ("contingencyType", "listStatusType", "listOrderStatus")


class _Found(NamedTuple):
    """One comparison."""

    claim: str
    what: str
    ours: object
    theirs: object
    agree: bool


class _Records(NamedTuple):
    """What the exchange's records say: orders by id and list entries by list id; None where they could not be read."""

    order: Mapping[int, Mapping[str, Any]]
    all_orders: Mapping[int, Mapping[str, Any]]
    open_orders: Mapping[int, Mapping[str, Any]] | None
    lists: Mapping[int, Mapping[str, Any]]
    open_lists: Mapping[int, Mapping[str, Any]] | None
    lacks_any: bool
    """Whether an order that was asked for is not there."""


class Claims:
    """Compares what nbext says with what the exchange's records say.

    Parameters
    ----------
    hands : Hands
    patience : float
        For how many seconds what contradicts is read again.
    """

    def __init__(self, hands: Hands, patience: float = PATIENCE) -> None:
        self._hands, self._patience, self._awaits_absent = hands, patience, True
        self._compared: defaultdict[str, int] = defaultdict(int)
        self._contradictions: defaultdict[str, list[str]] = defaultdict(list)

    def results(self) -> list[Claim]:
        """Return each claim, and whether it held."""
        return [
            Claim(
                name,
                not self._contradictions[name] if self._compared[name] else None,
                self._compared[name],
                "; ".join(self._contradictions[name][:_MOST_DETAILS])
                if self._compared[name]
                else "nothing could be compared",
            )
            for name in CLAIMS
        ]

    def check(self, told: Told) -> None:
        """Compare what nbext said about one call."""
        until, pause = time.monotonic() + self._patience, 0.1
        at_once = [*_of_the_call(told, self._hands), *_of_the_answers(told)]
        while True:
            records, later = self._of_the_records(told)
            contradicted = not all(each.agree for each in later)
            absent = self._awaits_absent and records.lacks_any
            if not (contradicted or absent):
                break
            if time.monotonic() + pause > until:  # it has had its time, and the rest of the rehearsal needs some, too
                self._awaits_absent = self._awaits_absent and not absent
                self._patience = min(self._patience, _LESS_PATIENCE) if contradicted else self._patience
                break
            time.sleep(pause)
            pause = min(2 * pause, 5.0)
        for each in (*at_once, *later):
            self._compared[each.claim] += 1
            if not each.agree:
                said = f"{told.way}, {each.what}: {_short(each.ours)} instead of {_short(each.theirs)}"
                self._contradictions[each.claim].append(said)

    def _of_the_records(self, told: Told) -> tuple[_Records, list[_Found]]:
        rows = [] if told.frame is None else _rows(told.frame)
        numbers = {row["orderId"] for row in rows if row["orderId"] is not None}
        records = self._read(numbers | told.meant, {row["orderListId"] for row in rows})
        found = [each for row in rows for each in _of_one_row(row, records)]
        return records, [*found, *(_of_the_rest(told, numbers, records) if told.cancels else ())]

    def _read(self, numbers: set[int], lists: set[int | None]) -> _Records:
        """Read the records of some orders and lists."""
        hands = self._hands
        every = {number: hands.send("GET", "/api/v3/order", symbol=hands.symbol, orderId=number) for number in numbers}
        in_lists = {
            number: hands.send("GET", "/api/v3/orderList", orderListId=number)
            for number in sorted(each for each in lists if type(each) is int and each >= 0)
        }
        orders = {number: plain(each.body) for number, each in every.items() if each.status == HTTPStatus.OK}
        every_order: Mapping[int, Mapping[str, Any]] = {}
        if numbers:
            every_order = self._entries("/api/v3/allOrders", symbol=hands.symbol, orderId=min(numbers)) or {}
        return _Records(
            orders,
            every_order,
            self._entries("/api/v3/openOrders", symbol=hands.symbol),
            {number: plain(each.body) for number, each in in_lists.items() if each.status == HTTPStatus.OK},
            self._entries("/api/v3/openOrderList", "orderListId"),
            bool(numbers - orders.keys() or numbers - every_order.keys()),
        )

    def _entries(self, path: str, key: str = "orderId", **asked: Any) -> dict[int, Mapping[str, Any]] | None:
        answer = self._hands.send("GET", path, **asked)
        if answer.status != HTTPStatus.OK or not isinstance(answer.body, list):
            return None
        return {entry[key]: entry for entry in map(plain, answer.body) if key in entry}


def _of_the_call(told: Told, hands: Hands) -> Iterator[_Found]:
    """Compare a frame and the requests for it with what was asked."""
    deletes = [each for each in told.answers if each.request[0] == "DELETE"]
    yield from _of_the_requests(told, deletes)
    named = {number for each in deletes for report in _reports(each.body) if (number := report.get("orderId"))}
    named |= {number for each in deletes if (number := identifier(each.request[2].get("orderId"))) is not None}
    if deletes:
        strangers = named - hands.placed.keys()
        yield _Found(OTHERS, "orders named", sorted(strangers), [], not strangers)
    if told.frame is None:
        return
    yield _Found(COLUMNS, "dtypes", is_frame(told.frame), True, is_frame(told.frame))
    rows = _rows(told.frame)
    numbers = [row["orderId"] for row in rows]
    shown = {identifier(row.get("orderId")) for each in told.answers for row in _listed(each)}
    missing = (named if told.cancels else told.meant & shown) - set(numbers)
    yield _Found(ROWS, "orders without a row", sorted(missing), [], not missing)
    yield _Found(
        ROWS, "rows, each of another order", len(numbers), len(set(numbers)), len(numbers) == len(set(numbers))
    )
    if told.cancels:
        extra = set(numbers) - named - told.meant
        yield _Found(ROWS, "rows of other orders", sorted(extra, key=str), [], not extra)
    for row in rows:
        if (placed := hands.placed.get(row["orderId"])) is not None:
            given = {"origClientOrderId": placed.own_id}
            if not told.cancels:  # which may give a list another id
                given["listClientOrderId"] = placed.list_id
            for name, own in given.items():
                if row[name] is not None:
                    yield _Found(OWN_IDS, f"{name} of {placed.number}", row[name], own, row[name] == own)


def _listed(answer: Answer) -> list[dict[str, Any]]:
    """Return the open orders that an answer lists."""
    listed = answer.request[:2] == ("GET", "/api/v3/openOrders") and isinstance(answer.body, list)
    return answer.body if listed else []


def _of_the_requests(told: Told, deletes: list[Answer]) -> Iterator[_Found]:
    """Compare the cancels that were sent with what was promised."""
    if not told.cancels:
        yield _Found(ONCE, "cancels sent", len(deletes), 0, not deletes)
    tries: defaultdict[str, list[Answer]] = defaultdict(list)
    for each in deletes:
        tries[f"{each.request[1]} {sorted(each.request[2].items())}"].append(each)
    for asked, answers in tries.items():
        # Only what proves that the engine never saw a cancel may be followed by another.
        unproven = [each for each in answers[:-1] if each.code != CLOCK_IS_OFF and each.status != TOO_MANY]
        yield _Found(ONCE, f"{asked}, sent", len(answers), 1, not unproven)


def _of_the_answers(told: Told) -> Iterator[_Found]:
    """Compare each row with the report of it in the answer to its cancel."""
    rows = {} if told.frame is None else {row["orderId"]: row for row in _rows(told.frame)}
    for answer in told.answers:
        if answer.request[0] != "DELETE" or answer.status != HTTPStatus.OK:
            continue
        for report in _reports(answer.body):
            if outcome(report) == "unknown":
                continue  # it had not ended, so that a later read counts
            row = rows.get(report.get("orderId", 0), {})
            for name, sent in report.items():
                if name == "clientOrderId" and "origClientOrderId" not in report:
                    continue  # the order's own or the cancel's
                ours = [row[column] for column in (name, f"list.{name}", f"wire.{name}") if column in row]
                yield _Found(
                    ANSWERS,
                    f"{name} of {report.get('orderId')}",
                    ours,
                    sent,
                    any(_agree(name, each, sent) for each in ours),
                )


def _reports(body: Any) -> Iterator[dict[str, Any]]:
    """Return the reports of orders in an answer to a cancel, each with the fields of its list that it lacks."""
    for entry in body if isinstance(body, list) else [body]:
        if isinstance(entry, dict) and isinstance(legs := entry.get("orderReports"), list):
            shared = {name: value for name, value in plain(entry).items() if name not in {"orderReports", "orders"}}
            yield from ({**shared, **plain(leg)} for leg in legs if isinstance(leg, dict))
        elif isinstance(entry, dict) and "orderId" in entry:
            yield dict(plain(entry))


def _of_one_row(row: Mapping[str, Any], records: _Records) -> Iterator[_Found]:
    """Compare a row with the records of its order and its list."""
    number, state = row["orderId"], row["outcome"]
    for claim, found in ((ORDER, records.order.get(number)), (ALL_ORDERS, records.all_orders.get(number))):
        if found is not None:
            yield from _of_one_record(claim, row, found)
    if records.open_orders is not None and state != "unknown":
        listed = records.open_orders.get(number)
        if state in FINAL:
            yield _Found(OPEN_ORDERS, f"order {number} listed", False, listed is not None, listed is None)
        elif listed is not None:  # that it is not listed proves nothing
            yield from _of_one_record(OPEN_ORDERS, row, listed)
    for lists in (records.lists, records.open_lists or {}):
        if (entry := lists.get(row["orderListId"])) is not None:
            for name in _OF_LISTS:
                if row[name] is not None and name in entry:
                    yield _Found(LISTS, f"{name} of {number}", row[name], entry[name], row[name] == entry[name])


def _of_one_record(claim: str, row: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[_Found]:
    number = row["orderId"]
    for name, ours in row.items():
        if name in found and name not in _OF_THE_ANSWER and (ours is not None or name in _NONE_AT_ZERO):
            yield _Found(claim, f"{name} of {number}", ours, found[name], _agree(name, ours, found[name]))
    if (shown := found.get("clientOrderId")) is not None and row["origClientOrderId"] is not None:
        known = {row["origClientOrderId"], row["clientOrderId"] or shown}
        yield _Found(claim, f"client id of {number}", sorted(known), shown, shown in known)
    if row["outcome"] != "unknown":
        state = outcome(found)
        is_open = row["outcome"] not in FINAL
        agree = (state == "unknown") if is_open else (state == row["outcome"])
        yield _Found(claim, f"outcome of {number}", row["outcome"], found.get("status"), agree)
    if row["outcome"] == "canceled" and row["transactTime"] is not None and (at := identifier(found.get("updateTime"))):
        ours = round(row["transactTime"].timestamp() * 1000)
        yield _Found(claim, f"time of {number}", ours, at, abs(ours - at) <= _SAME_MOMENT_MS)


def _of_the_rest(told: Told, numbers: set[int], records: _Records) -> Iterator[_Found]:
    """Compare what has no row with the records: after a cancel, and after what was refused."""
    shown = {**(records.open_orders or {}), **records.order}
    known = {number: shown[number].get("status") for number in told.meant & shown.keys()}
    if told.frame is not None and not isinstance(told.error, RejectedError):
        without = {number for number, status in known.items() if status == "CANCELED"} - numbers
        told_of = told.frame.attrs["nbext"].get("legs_without_report", 0)
        yield _Found(COMPLETE, "canceled without a row", sorted(without), [], len(without) <= told_of)
    if told.error is not None and "no orders were changed" in str(told.error):
        for number, status in known.items():
            yield _Found(REFUSED, f"status of {number}", "open", status, outcome({"status": status}) == "unknown")


def _agree(name: str, ours: Any, sent: Any) -> bool:
    """Return whether a value of a frame is what was sent (see `nbext.frames.build` for what is missing when)."""
    number = decimal(sent)
    if ours is None:
        none_at_zero = name in _NONE_AT_ZERO and number == 0
        return sent is None or none_at_zero or (number is not None and number < 0)
    if hasattr(ours, "timestamp"):
        return bool(round(ours.timestamp() * 1000) == identifier(sent))
    if isinstance(ours, (bool, str, list, dict)):
        return bool(ours in (sent, str(sent)))
    if type(ours) is int:
        return ours == identifier(sent)
    return number is not None and float(number) == float(ours)


def _rows(frame: DataFrame) -> list[dict[str, Any]]:
    """Return the rows of a frame, None for what is missing."""
    return [
        {str(name): value for name, value in row.items()}
        for row in frame.astype(object).where(frame.notna(), None).to_dict("records")
    ]


def _short(value: object) -> str:
    return str(value)[:120]
