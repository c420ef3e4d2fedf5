"""The rules for the frame: its form, its rows, and each of their cells."""

from __future__ import annotations

import re
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .case import (
    ALL,
    AMOUNTS,
    COLUMNS,
    CUT_SHORT,
    FINAL,
    FLAGS,
    IDS,
    LASTING,
    LIST_WORDS,
    NUMBERS,
    TEXTS,
    TIMES,
    identity,
    reports,
)
from .record import LIVE, OUTCOMES, Id, Truth

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .case import Case


PASSING = frozenset({"transactTime", "executedQty", "cummulativeQuoteQty"})
"""What an answer tells of the moment of the answer, besides the status."""


def frame_has_its_form(case: Case) -> Iterator[str]:
    """Require the columns, in their order and dtypes, and a plain index, whatever the frame holds."""
    told = case.told
    if told.rows is None:
        return
    if tuple(told.columns[: len(COLUMNS)]) != COLUMNS:
        yield f"the frame begins with the columns {told.columns[: len(COLUMNS)]}"
    if len(set(told.columns)) < len(told.columns):
        yield f"a column is there twice: {told.columns}"
    if not told.index:
        yield "the index does not count from zero"
    number = "object" if case.exact else "float64"
    for name, dtype in told.dtypes.items():
        kinds = ((IDS, "Int64"), (TIMES, "datetime64[ms, UTC]"), (TEXTS, "str"), (NUMBERS, number), (FLAGS, "boolean"))
        for names, wanted in kinds:
            if name in names and dtype != wanted:
                yield f"the column {name} is {dtype}, and not {wanted}"
    for name in told.columns[len(COLUMNS) :]:
        if name not in IDS | TIMES | TEXTS | NUMBERS | FLAGS | {"expiryReason"}:
            case.facts[f"column {name}"] += 1


def rows_are_those_of_the_call(case: Case) -> Iterator[str]:
    """Require a row for each order seen or reported, no order twice, and none that is not meant."""
    if case.told.rows is None:
        if case.deletes and case.told.error not in {"KeyboardInterrupt", "killed"}:
            yield "something was sent, and there is no frame"
        return
    given = [identity(row) for row in case.rows]
    for order, count in Counter(given).items():
        if count > 1:
            yield f"{order} has {count} rows"
        if order not in case.record:
            yield f"{order} has a row, and there is no such order"
        elif case.symbols and order[0] not in case.symbols:
            yield f"{order} has a row, and is on none of {case.symbols}"
    for order in case.seen - set(given):
        yield f"{order} had been seen, and has no row"
    reported = {order for talk in case.deletes for order, _, _ in reports(case.heard(talk))}
    for order in reported - set(given):
        yield f"{order} was reported, and has no row"
    if case.beyond or case.clock_moves or not case.deletes or case.told.error in CUT_SHORT:
        return
    began = case.deletes[0].wall * 1000 - 1300
    for order in set(given) - case.seen - reported:
        truth = case.truth(order)
        if truth is not None and truth.outcome in FINAL and truth.last.at < began and case.way.startswith("all"):
            yield f"{order} has a row, and had ended {began + 1300 - truth.last.at:.0f} ms before anything was sent"


def rows_stand_in_order(case: Case) -> Iterator[str]:
    """Require symbols in the order given, and the orders of an answer in the order sent."""
    given = [identity(row) for row in case.rows]
    symbols = list(dict.fromkeys(symbol for symbol, _ in given))
    if case.symbols and case.way not in {"orders", "concat"} and symbols != [s for s in case.symbols if s in symbols]:
        yield f"rows of {symbols}, and {case.symbols} were asked for"
    for talk in case.deletes:
        if talk.path == ALL and (document := case.heard(talk)):
            sent = list(dict.fromkeys(order for order, _, _ in reports(document)))
            got = [order for order in given if order in set(sent)]
            if got != sent and not case.doubtful:
                yield f"rows stand in the order {got}, and were sent as {sent}"


def outcomes_are_true(case: Case) -> Iterator[str]:
    """Require of each row that its outcome is what the record says, and what reads have proven."""
    proven = _proven(case)
    for row in case.rows:
        order, state = identity(row), row["outcome"]
        case.facts[f"row {state}"] += 1
        truth = case.truth(order)
        if truth is None:
            continue
        yield from outcome_is_true(case, order, state, truth, proven.get(order))


def outcome_is_true(case: Case, order: Id, state: str, truth: Truth, proven: str | None) -> Iterator[str]:
    """Require of an outcome that it is what the record says, and what was proven of it."""
    ends = truth.outcome
    if state == "archived":
        if ends not in {"canceled", "expired"} or truth.last.executed:
            yield f"{order} is said to be archived, and is {ends}"
        elif not case.dialect.get("archive_from"):
            yield f"{order} is said to be archived, and is far too young"
    elif state in FINAL:
        if ends != state:
            yield f"{order} is said to be {state}, and is {ends}"
    elif state == "unknown":
        if proven is not None and case.told.error not in CUT_SHORT:
            yield f"{order} is said to be unknown, and a read had shown that it is {proven}"
    elif state != "open":
        yield f"{order} has the outcome {state!r}"
    elif case.beyond:
        case.facts["untrue open beyond the allowance"] += ends != "open"
    elif proven is not None:
        yield f"{order} is said to be open, and a read had shown that it is {proven}"
    elif truth.is_canceled_by(case.numbers):
        yield f"{order} is said to be open, and the call has canceled it"
    elif ends != "open":
        case.facts["open, ended by another"] += 1
        yield from _was_open(case, order, truth)


def _was_open(case: Case, order: Id, truth: Truth) -> Iterator[str]:
    """Require a read that showed the order open, and was no older than reads may be."""
    for talk in case.talks:
        for each, shown, _ in reports(talk.document() if talk.method == "GET" else None):
            dated = (talk.wall - case.lag) * 1000
            if each == order and shown["status"] not in OUTCOMES and dated <= truth.last.at + 5:
                return
    yield f"{order} is said to be open, and no read had shown that"


def _proven(case: Case) -> dict[Id, str]:
    """Return the orders whose end the call must have heard of, and how they ended."""
    proven: dict[Id, str] = {}
    if {"torn_read", "replicas", "archive_from"} & set(case.dialect):
        return proven  # where reads contradict themselves, one of them proves nothing
    first = min((number for number, talk in enumerate(case.talks) if talk.method == "DELETE"), default=len(case.talks))
    for talk in case.talks[first:]:
        for order, shown, _ in reports(case.heard(talk)):
            if shown["status"] in OUTCOMES:
                proven[order] = OUTCOMES[shown["status"]]
    return proven


def cells_are_true(case: Case) -> Iterator[str]:
    """Require of each cell that it holds what the record says of that order, at or after the claim, or nothing."""
    for row in case.rows:
        truth = case.truth(identity(row))
        if truth is None:
            continue
        for name, cell in row.items():
            if cell is not None and not _cell_is_true(case, row, truth, name, cell):
                yield f"{identity(row)} ({row['outcome']}) has {name} {cell!r}, and {_known(truth, name)} is on record"
        if not ("torn_read" in case.dialect and case.beyond and row["outcome"] != "filled"):
            yield from _agrees(row, truth)


def _cell_is_true(case: Case, row: Mapping[str, Any], truth: Truth, name: str, cell: Any) -> bool:
    steps = [truth.last] if row["outcome"] in FINAL - {"archived"} else truth.steps
    if name in {"executedQty", "cummulativeQuoteQty"}:
        if "torn_read" in case.dialect and case.beyond and row["outcome"] != "filled":
            case.facts["amounts that may be torn beyond the allowance"] += 1
            return True
        values = [step.executed if name == "executedQty" else step.quote for step in steps]
        return any(_is_number(cell, value, exact=case.exact) for value in values)
    over = row["outcome"] in FINAL
    if name in NUMBERS:
        known: set[Any] = truth.could_be(name) if name in truth.lasting and not over else {_known(truth, name)}
        if name not in truth.lasting and not over:
            return True  # a peg that is yet to be set, or what was prevented so far
        return any(_is_number(cell, value, exact=case.exact) for value in known - {None})
    if name in {"trailingDelta", "strategyId", "strategyType"} and "zero_fields" in case.dialect:
        return bool(cell == (truth.lasting[name] or 0))
    if name in LASTING:
        renamed = name == "listClientOrderId" and "list_cancel_form" in case.dialect
        return cell == truth.lasting[name] or renamed or (not over and cell in truth.could_be(name))
    if name == "status":
        made_up = "open_status" in case.dialect and cell not in LIVE | set(OUTCOMES) and row["outcome"] not in FINAL
        return cell in {step.status for step in steps} or made_up
    if name == "clientOrderId":
        return cell in truth.cancel_ids
    if name == "list.orders.clientOrderId":  # either of them, by the dialect
        return cell in {truth.lasting["origClientOrderId"], *truth.cancel_ids}
    if name in LIST_WORDS:
        running, done = LIST_WORDS[name]
        if truth.lasting["orderListId"] == -1:
            return False
        return truth.list_is_done if cell == done else cell == running and row["outcome"] != "canceled"
    if name == "transactionTime":
        return cell in truth.list_times
    if name in {"transactTime", "updateTime"}:
        return cell in {step.time for step in steps}
    if name == "time":
        return cell == truth.steps[0].time or cell in {step.time for step in truth.steps if step.cause == "release"}
    if name in truth.changing:
        return bool(cell == truth.changing[name]) or not over
    return True


def _is_number(cell: Any, value: Decimal, *, exact: bool) -> bool:
    if exact:
        return isinstance(cell, Decimal) and cell == value
    return isinstance(cell, float) and cell == float(value)


def _agrees(row: Mapping[str, Any], truth: Truth) -> Iterator[str]:
    """Require that status, amounts and outcome are those of one moment."""
    status, state, executed = row.get("status"), row["outcome"], row.get("executedQty")
    if status in OUTCOMES and OUTCOMES[status] != state and state != "archived":
        yield f"{identity(row)} has the status {status}, and is called {state}"
    if status in LIVE and state in FINAL:
        yield f"{identity(row)} has the status {status}, and is called {state}"
    if executed is not None and status is not None:
        both = {(step.status, float(step.executed)) for step in truth.steps}
        if (status in LIVE or status in OUTCOMES) and (status, float(executed)) not in both:
            yield f"{identity(row)} was never {status} with {executed} executed"


def _known(truth: Truth, name: str) -> object:
    if name in {"status", "executedQty", "cummulativeQuoteQty", "updateTime", "transactTime"}:
        return truth.last
    if name == "clientOrderId":
        return set(truth.cancel_ids) or None
    if name == "transactionTime":
        return set(truth.list_times)
    return {**truth.lasting, **truth.changing}.get(name, truth.list_is_done)


def nothing_told_is_missing(case: Case) -> Iterator[str]:
    """Require in each cell what the exchange has told the call of that order, if it has told it.

    A cancel may report an order as open, which ends later, in whatever way. What such a report dates and counts is
    then older than the row, which is about the end: there it would be untrue (`cells_are_true`).
    """
    told_of: dict[Id, set[str]] = {}
    while_open: dict[Id, set[str]] = {}
    first = min((number for number, talk in enumerate(case.talks) if talk.method == "DELETE"), default=len(case.talks))
    sizes = {
        order: shown["origQty"]
        for talk in case.talks[:first]
        for order, shown, _ in reports(case.heard(talk))
        if shown.get("origQty") is not None
    }
    for number, talk in enumerate(case.talks):
        for order, shown, order_list in reports(case.heard(talk)):
            names = told_of.setdefault(order, set())
            present = {name for name, value in shown.items() if name in AMOUNTS or not _is_nothing(value)}
            if talk.method == "DELETE":
                truth = case.truth(order)  # some replies give an order's own id once more, or nothing but that
                own = truth is not None and shown.get("clientOrderId") == truth.lasting["origClientOrderId"]
                passing = set() if shown["status"] in OUTCOMES else present & PASSING
                while_open.setdefault(order, set()).update(passing)
                names |= present - passing - ({"clientOrderId"} if own else set())
                names |= set(order_list or ()) & set(COLUMNS)
                continue
            if not case.lossless:  # amounts that a read shows may be torn, and want to be confirmed (`judge_time`)
                present -= {"executedQty", "cummulativeQuoteQty"}
            if number < first:  # before the cancel an order goes by its own id
                # One look may have no quantity, that of a pending order, and a later one has.
                size = sizes.get(order) if shown.get("origQty") is None else shown["origQty"]
                ended = shown["status"] in OUTCOMES and shown["status"] != "FILLED"  # whose id may be the cancel's
                if ended or _was_amended_since(size, case.truth(order)):
                    present.discard("clientOrderId")
                names |= {"origClientOrderId" if name == "clientOrderId" else name for name in present}
            else:
                names |= present - {"clientOrderId"}
    for row in case.rows:
        if row["outcome"] in {"unknown", "archived"}:
            continue
        of_cancel = {"clientOrderId", "transactTime", "transactionTime"} if row["outcome"] == "open" else set()
        told = told_of.get(identity(row), set()) | (while_open.get(identity(row), set()) if of_cancel else set())
        for name in told & set(COLUMNS) - of_cancel:
            if row.get(name) is None and row.get(f"wire.{name}") is None:
                yield f"{identity(row)} ({row['outcome']}) lacks {name}, which was told"


def _was_amended_since(shown_quantity: object, truth: Truth | None) -> bool:
    """Return whether an order's quantity has been lowered since, and its id changed, for all that a client can know.

    A query of a canceled order may show the cancel's id, so that the amendment's own stays untold.
    """
    quantity = None if truth is None else truth.lasting["origQty"]
    return quantity is not None and shown_quantity is not None and Decimal(str(shown_quantity)) > quantity


def _is_nothing(value: object) -> bool:
    return value is None or value == -1 or (isinstance(value, str) and re.fullmatch(r"-?0*\.?0*", value) is not None)
