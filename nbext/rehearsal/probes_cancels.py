"""Scenes with order lists: the cancel of a leg, and one cancel-all of lists and single orders."""

from __future__ import annotations

import time
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from nbext.orders import plain
from nbext.rehearsal import probes_answers as shown
from nbext.rehearsal.probes_reads import watch
from nbext.rehearsal.probes_stage import ALL_ORDERS, LIST, OPEN_ORDERS, ORDER

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.hands import Placed
    from nbext.rehearsal.probes_stage import Stage

TRAILING_RULES = ("trailing-start",)
LEG_RULES = ("list-response", "leg-cancel-reply", "list-cancel-form", "list-time", "order-reports")
ALL_RULES = (
    "opo-pending-quantity",
    "open-rows",
    "pending-listed",
    "cancel-ids",
    "pending-ends",
    "atomicity",
    "partial-refusal",
    "uncancelable",
    "row-order",
    "duplicate-report",
    "empty-memory",
    "list-order-ids",
    "list-cancel-form",
    "list-time",
    "order-reports",
)
_KINDS = ("LIMIT", "OCO", "OTO", "LIMIT", "OPO")
_MOMENT = 0.003  # seconds after which times in milliseconds differ


def trailing(stage: Stage) -> None:
    """Place a trailing stop, and see whether it has begun to follow."""
    placed, answer = stage.place("trailing stop", newOrderRespType="RESULT")
    if not placed:
        stage.skip(stage.why_not("trailing stop"), *TRAILING_RULES)
        return
    stage.judge("trailing-start", answer, lambda: shown.trailing_start(answer.body))
    stage.send("DELETE", ORDER, orderId=placed[0].number)
    stage.changed()


def one_leg(stage: Stage) -> None:
    """Cancel the second leg of a list."""
    legs, placement = stage.place("OCO")
    if not legs:
        stage.skip(stage.why_not("OCO"), *LEG_RULES)
        return
    stage.judge("list-response", placement, lambda: shown.list_response(placement.body))
    time.sleep(_MOMENT)
    answer = stage.send("DELETE", ORDER, orderId=legs[1].number)
    stage.changed()
    if answer.code is not None:
        stage.skip(f"the cancel of a leg was refused ({answer.code})", *LEG_RULES)
        return
    report: Any = answer.body
    in_list = isinstance(report, dict) and "orderReports" in report
    if not in_list or all(map(shown.has_ended, report["orderReports"])):
        stage.judge("leg-cancel-reply", answer, lambda: "list" if in_list else shown.number_of(report) and "leg")
    if in_list:
        row = plain(report)
        _judge_list(stage, answer, row)
        stage.judge("order-reports", answer, lambda: "first_leg" if shown.unreported(row) else None)


def _judge_list(stage: Stage, answer: Answer, row: Mapping[str, Any]) -> None:
    """Judge the report of a list that was canceled."""
    legs = [stage.hands.placed[number] for number in map(shown.number_of, row["orders"])]
    placed_at = stage.list_times.get(legs[0].list_number)
    stage.judge("list-cancel-form", answer, lambda: shown.list_form(row, legs[0].list_id))
    stage.judge("extra-fields", answer, lambda: shown.extra_fields(row), settles=False)
    if all(map(shown.has_ended, row["orderReports"])):
        stage.canceled_lists.append(legs)
        time_of_list = int(row["transactionTime"])
        stage.judge("list-time", answer, lambda: "placement" if time_of_list == placed_at else "cancel")


def everything(stage: Stage) -> None:
    """Cancel lists and single orders with one cancel-all."""
    if not stage.is_alone:
        stage.skip(f"others have open orders on {stage.symbol}, so there is no cancel-all", *ALL_RULES)
        return
    placed: list[Placed] = []
    for kind in _KINDS:
        changes = {"newOrderRespType": "RESULT"} if kind == "OPO" else {}
        orders, answer = stage.place(kind, **changes)
        placed += orders
        if not orders:
            stage.skip(stage.why_not(kind), *(_NEEDS.get(kind, ())))
        elif kind == "OPO":
            stage.judge("opo-pending-quantity", answer, partial(_pending_quantity, answer, orders[-1].number))
    if not placed:
        stage.skip(stage.why_not("LIMIT"), *ALL_RULES)
        return
    waiting = {each.number for each in placed if each.is_pending}
    listed = _read_open(stage, {each.number for each in placed} - waiting)
    if listed is None:
        stage.skip(f"reads are behind by more than {stage.patience:.0f} s", *ALL_RULES)
        return
    answer = stage.hands.answers[-1]
    stage.judge("open-rows", answer, lambda: shown.sequence(listed, "newest_first"))
    stage.judge("pending-listed", answer, lambda: _listed(waiting, listed))
    stage.settle()
    time.sleep(_MOMENT)
    canceled = stage.send("DELETE", OPEN_ORDERS)
    stage.changed()
    at_once = stage.send("GET", OPEN_ORDERS)
    still_open = stage.still_open()
    stage.settle()
    records = stage.rows(ALL_ORDERS, orderId=min(each.number for each in placed))
    if canceled.code is None:
        _judge_rows(stage, canceled, placed, still_open, records)
        if not still_open:
            _judge_memory(stage, at_once)
    else:
        _judge_refusal(stage, canceled, placed, still_open, records)
        stage.settle()
        records = stage.rows(ALL_ORDERS, orderId=min(each.number for each in placed))
    _judge_pending(stage, waiting, records)
    _query_list(stage)


_NEEDS = {
    "OPO": ("opo-pending-quantity",),
    "OTO": ("pending-listed", "pending-ends"),
    "OCO": ("duplicate-report", "list-order-ids", "list-cancel-form", "list-time", "order-reports"),
}


def _pending_quantity(answer: Answer, number: int) -> str:
    reports = answer.body["orderReports"]
    return shown.pending_quantity(next(each for each in reports if shown.number_of(each) == number))


def _read_open(stage: Stage, wanted: set[int]) -> list[int] | None:
    """Read open orders until all that are wanted are listed; return their ids as they are listed."""
    listed: list[int] = []

    def shows() -> bool:
        listed[:] = stage.rows(OPEN_ORDERS)
        return wanted <= set(listed)

    if stage.lag:
        watch(shows, stage.changed_at, stage.patience)
        return listed if wanted <= set(listed) else None
    return listed if shows() else None


def _listed(waiting: set[int], listed: Sequence[int]) -> str | None:
    if not waiting:
        return None
    return "at_once" if waiting <= set(listed) else "when_released"


def _judge_rows(
    stage: Stage,
    answer: Answer,
    placed: list[Placed],
    still_open: set[int],
    records: Mapping[int, Mapping[str, Any]],
) -> None:
    """Judge the reply to a cancel-all, with what is still open and what the records say."""
    known = stage.hands.placed
    rows = [plain(row) for row in shown.rows_of(answer)]
    reports = {shown.number_of(report): report for report, _ in shown.reports_of(rows)}
    are_open = [number for number, report in reports.items() if not shown.has_ended(report)]
    unreported = {each.number for each in placed} - reports.keys()
    filled = [number for number in unreported if records.get(number, {}).get("status") == "FILLED"]
    stage.judge("partial-refusal", answer, lambda: "all_or_nothing")
    stage.judge("uncancelable", answer, lambda: "reported_open" if are_open else "left_out" if still_open else "none")
    stage.judge("atomicity", answer, lambda: "fill_between" if filled else "one_step")
    stage.judge("row-order", answer, lambda: shown.row_order(rows))
    stage.judge("cancel-ids", answer, lambda: shown.cancel_ids(rows, known))
    stage.judge("duplicate-report", answer, lambda: shown.duplicate_report(rows, known))
    stage.judge("extra-fields", answer, lambda: shown.extra_fields(*rows))
    stage.judge("older-fields", answer, lambda: _older(rows))
    lists = [row for row in rows if "orderReports" in row]
    for row in lists:
        _judge_list(stage, answer, row)
    lacking = {number for row in lists for number in shown.unreported(row) & unreported}
    ended = [number for number in lacking if shown.has_ended(records.get(number, {}))]
    if lists:
        stage.judge("order-reports", answer, lambda: "first_leg" if ended else "canceled_now")


def _older(rows: Sequence[Mapping[str, Any]]) -> str:
    found = {shown.older_fields(report, "transactTime") for report, _ in shown.reports_of(rows)}
    return min(found)


def _judge_refusal(
    stage: Stage,
    answer: Answer,
    placed: list[Placed],
    still_open: set[int],
    records: Mapping[int, Mapping[str, Any]],
) -> None:
    """Judge the refusal of a cancel-all, by what it has changed."""
    canceled = [each for each in placed if shown.has_ended(records.get(each.number, {}))]
    if canceled and still_open:
        as_if_none = shown.refusal(answer) == stage.nothing_open
        stage.judge("partial-refusal", answer, lambda: "unknown_after_some" if as_if_none else "after_some")
    elif still_open:
        stage.judge("uncancelable", answer, lambda: "call_refused")
    stage.skip(f"the cancel-all was refused ({answer.code})", *ALL_RULES)
    for number in sorted({each.list_number for each in placed if each.number in still_open and each.list_number >= 0}):
        one = stage.send("DELETE", LIST, orderListId=number)
        stage.changed()
        if one.code is None:
            _judge_list(stage, one, plain(one.body))


def _judge_pending(stage: Stage, waiting: set[int], records: Mapping[int, Mapping[str, Any]]) -> None:
    """Judge how legs ended that were waiting for another order."""
    ended = [row for number, row in records.items() if number in waiting and shown.has_ended(row)]
    if ended:
        answer = stage.hands.answers[-1]
        expired = any(row["status"] == "EXPIRED" for row in ended)
        stage.judge("pending-ends", answer, lambda: "EXPIRED" if expired else "CANCELED")


def _judge_memory(stage: Stage, at_once: Answer) -> None:
    """Judge what a read of open orders showed right after all of them were canceled."""
    if not stage.lags["database"].seconds:
        stage.skip("all orders do not lag behind open ones", "empty-memory")
    elif not (stage.lags["memory"].seconds or "replicas" in stage.differing):
        stage.judge("empty-memory", at_once, lambda: "database" if shown.rows_of(at_once) else "empty")


def _query_list(stage: Stage) -> None:
    """Query a canceled list."""
    if not stage.canceled_lists:
        stage.skip("no list was canceled", "list-order-ids")
        return
    legs = stage.canceled_lists[0]
    answer = stage.send("GET", LIST, orderListId=legs[0].list_number)
    if answer.status == HTTPStatus.OK:
        stage.judge("list-order-ids", answer, lambda: shown.list_order_ids(answer.body, {each.own_id for each in legs}))
