"""Scenes with two single orders: how soon reads show them, how they are reported, and how they are found again."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nbext.orders import plain
from nbext.rehearsal import probes_answers as shown
from nbext.rehearsal.probes_reads import FEW, MANY, watch
from nbext.rehearsal.probes_stage import ALL_ORDERS, OPEN_ORDERS, ORDER

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.hands import Placed
    from nbext.rehearsal.probes_reads import Watched
    from nbext.rehearsal.probes_rules import Value
    from nbext.rehearsal.probes_stage import Stage

RULES = (
    "open-status",
    "quoted-ids",
    "decimals",
    "older-fields",
    "extra-fields",
    "lag-memory",
    "lag-database",
    "replicas",
    "forgetting",
    "archive-from",
    "mismatch-code",
    "zero-fields",
    "all-orders-sort",
    "all-orders-time",
    "start-only-span",
    "cancel-id-in-queries",
    "old-id-lookup",
)
NO_SUCH_ORDER = -2013
_ARCHIVED = -2026
_MORE_THAN_A_DAY = -1127
_HOUR = 3_600_000
_MOST_ROWS = 1_000
_PAUSE = 0.02
_CLOCKS_AGREE = 0.2  # seconds


def singles(stage: Stage) -> None:
    """Place two orders, watch reads show them, and look at how they are shown."""
    placed = [order for _ in range(2) for order in stage.place("LIMIT")[0]]
    if len(placed) <= 1:
        stage.skip(stage.why_not("LIMIT"), *RULES)
        return
    numbers = {each.number for each in placed}

    def shows() -> bool:
        return numbers <= stage.rows(OPEN_ORDERS).keys()

    _watch(stage, "memory", shows)
    answer = stage.hands.answers[-1]
    row = next((each for each in shown.rows_of(answer) if int(each["orderId"]) in numbers), None)
    if row is not None:
        _judge_form(stage, answer, row)
    for order, other in (placed, placed[::-1]):
        _query_open(stage, order, other)
    stage.judge("forgetting", stage.hands.answers[-1], lambda: 0)
    _cancel(stage, placed)


def _watch(stage: Stage, source: str, shows: Any) -> None:
    first = MANY if stage.lag else FEW
    watched = stage.lags[source] = watch(shows, stage.changed_at, stage.patience, first)
    stage.lag = max(stage.lag, watched.seconds)
    stage.is_behind = stage.is_behind or not watched.is_over


def _judge_form(stage: Stage, answer: Answer, row: Mapping[str, Any]) -> None:
    """Judge how a query shows an open order."""
    stage.judge("open-status", answer, lambda: shown.open_status(row))
    stage.judge("quoted-ids", answer, lambda: shown.quoted_ids(row))
    stage.judge("decimals", answer, lambda: shown.decimals(row))
    # Cancel reports have further fields.
    stage.judge("older-fields", answer, lambda: shown.older_fields(row, "workingTime"), settles=False)
    stage.judge("extra-fields", answer, lambda: shown.extra_fields(row), settles=False)


def _query_open(stage: Stage, order: Placed, other: Placed) -> None:
    """Query an open order by its id. It may be called archived, or be forgotten: not found while another one is."""
    asked_at = time.monotonic()
    forgotten = behind = 0
    while (answer := stage.send("GET", ORDER, orderId=order.number)).code == NO_SUCH_ORDER:
        listed = stage.rows(OPEN_ORDERS)
        forgotten += other.number in listed and order.number not in listed
        behind += other.number not in listed
        if time.monotonic() - asked_at > stage.patience:
            break
        time.sleep(_PAUSE)
    seconds = time.monotonic() - asked_at
    if forgotten > behind:
        is_over = answer.code != NO_SUCH_ORDER
        stage.judge("forgetting", answer, lambda: seconds if is_over else f"more than {seconds:.1f}")
    elif forgotten or behind:  # reads had shown both orders before
        stage.went_back = True
        stage.lag = max(stage.lag, time.monotonic() - stage.changed_at)
    if answer.code == _ARCHIVED:
        stage.judge("archive-from", answer, lambda: "live")
    elif answer.code is None:
        stage.judge("archive-from", answer, lambda: "ending" if shown.number_of(answer.body) else None, settles=False)


def _cancel(stage: Stage, placed: list[Placed]) -> None:
    """Cancel both orders, the later one first, and see how that is reported and shown."""
    first, second = placed
    wrong = stage.send("DELETE", ORDER, orderId=second.number, origClientOrderId=f"{stage.hands.prefix}none")
    accepted = wrong.status == HTTPStatus.OK
    stage.judge("mismatch-code", wrong, lambda: "accepted" if accepted else shown.refusal(wrong)[0])
    ended = []
    for order in (second, first):
        cancel_id = f"{stage.hands.prefix}c{order.number % 1000}"
        answer = stage.send("DELETE", ORDER, orderId=order.number, newClientOrderId=cancel_id)
        stage.changed()
        if answer.code is not None:
            continue
        if isinstance(answer.body, dict) and not shown.has_ended(answer.body):
            stage.judge("uncancelable", answer, lambda: "reported_open")
            continue
        _judge_report(stage, answer, answer.body)
        ended.append((order, cancel_id))
    if ended:
        _after(stage, ended)


def _judge_report(stage: Stage, answer: Answer, report: Mapping[str, Any]) -> None:
    """Judge how the cancel of a plain order is reported."""
    stage.judge("zero-fields", answer, lambda: shown.zero_fields(report))
    stage.judge("older-fields", answer, lambda: shown.older_fields(report, "transactTime"))
    stage.judge("extra-fields", answer, lambda: shown.extra_fields(report), settles=False)


def _after(stage: Stage, ended: list[tuple[Placed, str]]) -> None:
    """Read what was canceled, in every way; `ended` has it in the sequence of the cancels."""
    numbers = [order.number for order, _ in ended]
    since = min(numbers)

    def shows() -> bool:
        rows = stage.rows(ALL_ORDERS, orderId=since)
        return all(number in rows and shown.has_ended(rows[number]) for number in numbers)

    _watch(stage, "database", shows)
    _judge_lags(stage)
    answer = stage.hands.answers[-1]
    if stage.is_behind:
        stage.skip(f"reads are behind by more than {stage.patience:.0f} s", *RULES)
        return
    rows = [plain(row) for row in shown.rows_of(answer) if int(row["orderId"]) in numbers]
    last, cancel_id = ended[-1]
    row = next(each for each in rows if each["orderId"] == last.number)
    if len(rows) > 1:
        stage.judge("all-orders-sort", answer, partial(_sort, [each["orderId"] for each in rows]))
    is_own = row["clientOrderId"] == last.own_id
    stage.judge("cancel-id-in-queries", answer, lambda: "own_id" if is_own else _told(row, cancel_id))
    stage.settle()
    if is_own:
        stage.skip("queries show a canceled order's own id", "old-id-lookup")
    else:
        by_own = stage.send("GET", ORDER, origClientOrderId=last.own_id)
        stage.judge("old-id-lookup", by_own, lambda: _lookup(by_own, last.number))
    _spans(stage, row)


def _judge_lags(stage: Stage) -> None:
    memory, database = stage.lags["memory"], stage.lags["database"]
    answer = stage.hands.answers[-1]
    stage.went_back = stage.went_back or memory.went_back or database.went_back
    if stage.went_back:
        stage.judge("replicas", answer, lambda: stage.lag)
        stage.skip("reads come from copies of different age", "lag-memory", "lag-database", "empty-memory")
        return
    stage.judge("replicas", answer, lambda: 0)
    stage.judge("lag-memory", answer, lambda: _seconds(memory))
    stage.judge("lag-database", answer, lambda: _seconds(database))


def _seconds(watched: Watched) -> Value:
    """Return how far reads were behind, or at least how far."""
    return watched.seconds if watched.is_over else f"more than {watched.seconds:.1f}"


def _sort(numbers: list[int]) -> str:
    """Return what two orders were sorted by, of which the later one was canceled first."""
    return "order_id" if numbers == sorted(numbers) else "update_time"


def _told(row: Mapping[str, Any], cancel_id: str) -> str:
    return "cancel_id" if row["clientOrderId"] == cancel_id else f"another one: {row['clientOrderId']}"


def _lookup(answer: Answer, number: int) -> str:
    if answer.code == NO_SUCH_ORDER:
        return "not_found"
    if int(answer.body["orderId"]) != number:
        raise ValueError(answer.raw)
    return "found"


def _spans(stage: Stage, row: Mapping[str, Any]) -> None:
    """Ask for a span that contains an order's end but not its beginning, and for one from yesterday on."""
    number, placed_at, ended_at = row["orderId"], int(row["time"]), int(row["updateTime"])
    if placed_at < ended_at:
        span = stage.send("GET", ALL_ORDERS, startTime=ended_at, endTime=ended_at + _HOUR)
        stage.judge("all-orders-time", span, lambda: "update" if number in _ids(span) else "creation")
    since = stage.send("GET", ALL_ORDERS, startTime=placed_at - 25 * _HOUR, limit=_MOST_ROWS)

    def reach() -> str | None:
        if since.code == _MORE_THAN_A_DAY:
            return "refused"
        ids = _ids(since)
        if number in ids:
            return "unlimited"
        return None if len(ids) >= _MOST_ROWS else "day"

    stage.judge("start-only-span", since, reach)


def _ids(answer: Answer) -> set[int]:
    return set(map(shown.number_of, shown.rows_of(answer)))


def judge_clock(stage: Stage) -> None:
    """Compare times of transactions with when their answers were sent and received, by ``GET /api/v3/time``."""
    ahead, last = [], None
    for answer in stage.hands.answers:
        told = answer.body.get("transactTime") if isinstance(answer.body, dict) else None
        if answer.request[0] != "GET" and isinstance(told, (int, str)) and str(told).isdecimal():
            ahead.append((int(told) - answer.received_at, int(told) - answer.sent_at))
            last = answer
    if last is None:
        stage.skip("no answer has a transactTime", "engine-clock")
        return
    least, most = max(low for low, _ in ahead) / 1000, min(high for _, high in ahead) / 1000
    agrees = least <= _CLOCKS_AGREE and most >= -_CLOCKS_AGREE
    stage.judge("engine-clock", last, lambda: 0 if agrees else (least + most) / 2)
