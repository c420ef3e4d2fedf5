"""Whether what a call told is true: each rule by itself, by the exchange's own record.

The judge shares no code with nbext. What it knows of a call is what the caller got (`Told`), what the exchange has on
record (`Truth`), and what passed on the wire (`Talk`), which it only uses for what depends on it: what must have been
known, what has been sent, and when.

What a word claims, and for when:

- ``canceled``, ``filled``, ``expired``, ``rejected``: that is how the exchange's record of the order ends.
- ``archived``: it ends with CANCELED or EXPIRED, and nothing of it was filled.
- ``open``: it was open when a read showed it so, and this call has not canceled it. Where reads lag, or cancels take
  effect, later than nbext says it allows for, that is counted apart.
- ``unknown`` is never untrue. But what a read has proven is not unknown, and where nothing goes wrong nothing is.
"""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .record import LIVE, OUTCOMES, Id, Truth

if TYPE_CHECKING:
    from .proxy import Talk
    from .told import Told

ALL, ONE, LIST = "/api/v3/openOrders", "/api/v3/order", "/api/v3/orderList"
OPEN_LISTS = "/api/v3/openOrderList"

COLUMNS = (
    *("symbol", "orderId", "orderListId", "contingencyType", "side", "type", "timeInForce", "price", "stopPrice"),
    *("origQty", "executedQty", "cummulativeQuoteQty", "origQuoteOrderQty", "icebergQty", "status"),
    *("origClientOrderId", "clientOrderId", "listClientOrderId", "listStatusType", "listOrderStatus"),
    *("transactTime", "transactionTime", "selfTradePreventionMode", "outcome"),
)
IDS = frozenset({"orderId", "orderListId", "trailingDelta", "strategyId", "strategyType"})
TIMES = frozenset({"transactTime", "transactionTime", "time", "updateTime", "workingTime", "trailingTime"})
NUMBERS = frozenset(
    {"price", "stopPrice", "origQty", "executedQty", "cummulativeQuoteQty", "origQuoteOrderQty", "icebergQty"}
)
FLAGS = frozenset({"isWorking"})
AMOUNTS = frozenset(
    {"executedQty", "cummulativeQuoteQty", "orderListId"}
)  # of which zero, or -1, is a value like any other
TEXTS = frozenset(COLUMNS) - IDS - TIMES - NUMBERS
LASTING = (
    *("symbol", "orderId", "orderListId", "contingencyType", "side", "type", "timeInForce", "price", "stopPrice"),
    *("origQty", "origQuoteOrderQty", "icebergQty", "origClientOrderId", "listClientOrderId"),
    *("selfTradePreventionMode", "trailingDelta", "strategyId", "strategyType", "expiryReason"),
)
FINAL = frozenset({"canceled", "filled", "expired", "rejected", "archived"})
STATES = FINAL | {"open", "unknown"}
LIST_WORDS = {"listStatusType": ("EXEC_STARTED", "ALL_DONE"), "listOrderStatus": ("EXECUTING", "ALL_DONE")}
# A call that was ended from outside may not have heard what was passed to it.
CUT_SHORT = frozenset({"Interrupted", "KeyboardInterrupt", "killed", "Alarm", "Callback"})
LONGEST = 25.0


@dataclass
class Case:
    """One call, and what is known of it.

    Attributes
    ----------
    way : str
        How it was called.
    told : Told
    record : mapping
        The exchange's own.
    talks : list of Talk
        What passed between the call and the exchange, looks and previews included.
    symbols : list of str
        Those asked for; empty for all.
    host, profile, key : str
    exact : bool
    seen : set of Id
        The orders that the call has seen open, and should cancel.
    numbers : set of int
        The numbers that the exchange gave to the call's cancels.
    lag : float
        Seconds by which reads lag behind.
    skew : float
        Seconds by which the exchange's clock is ahead.
    beyond : bool
        Whether reads lag, or cancels come, later than nbext allows for.
    clock_moves : bool
        Whether the exchange's clock, or what it says of it, moves.
    lossless : bool
        Whether nothing has gone wrong: no fault, nobody else, the usual dialect.
    doubtful : bool
        Whether answers were such that nobody has to believe them.
    hasty : bool
        Whether the call had hardly any time to find out what became of orders.
    dialect : mapping
        What differs from the usual one.
    answer_seconds : float
        For so long the call waits for an answer.
    returned : float
        Monotonic time at which it returned.
    """

    way: str
    told: Told
    record: Mapping[Id, Truth]
    talks: list[Talk]
    symbols: list[str]
    host: str
    key: str
    profile: str = "custom"
    exact: bool = False
    seen: set[Id] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)
    lag: float = 0.0
    skew: float = 0.0
    beyond: bool = False
    clock_moves: bool = False
    lossless: bool = False
    doubtful: bool = False
    hasty: bool = False
    dialect: Mapping[str, Any] = field(default_factory=dict)
    answer_seconds: float = 12.0
    returned: float = 0.0
    to_exchange: Callable[[float], float] = lambda monotonic: monotonic
    entries: list[dict[str, Any]] | None = None
    facts: Counter[str] = field(default_factory=Counter)

    @property
    def deletes(self) -> list[Talk]:
        """The cancels that went out."""
        return [talk for talk in self.talks if talk.method == "DELETE"]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its frame."""
        return self.told.rows or []

    def truth(self, order: Id) -> Truth | None:
        """Look an order up."""
        return self.record.get(order)

    def heard(self, talk: Talk) -> Any:
        """Give an answer that the call must have heard, and had reason to believe; else None."""
        if talk.done_at is None or talk.done_at - talk.at > self.answer_seconds / 4 or talk.done_at > self.returned:
            return None
        if talk.mangled or talk.status != 200 or self.told.error in CUT_SHORT or self.doubtful:
            return None
        return talk.document()

    def has_the_word(self, symbol: str) -> bool:
        """Say whether the exchange itself said that nothing was open on a symbol, where nobody had looked before.

        An empty answer, or an unknown order, names nothing that would show that it is another request's, or that some
        orders were canceled all the same. No client can see through it, so it is counted apart.
        """
        hidden = self.dialect.get("partial_refusal") == "unknown_after_some"
        for talk in self.deletes:
            if talk.path == ALL and talk.params.get("symbol") == symbol and (talk.mangled or hidden) and not self.seen:
                document = talk.document()
                refused = isinstance(document, dict) and document.get("code") in {-1013, -2011}
                if document == [] or refused:
                    self.facts["the exchange's word that nothing was open"] += 1
                    return True
        return False


def judge(case: Case) -> list[str]:
    """Say what is untrue in what a call told."""
    return [lie for rule in RULES for lie in rule(case)]


# What answers say.


def reports(document: object) -> Iterator[tuple[Id, dict[str, Any], dict[str, Any] | None]]:
    """Give each order in an answer, with the list that it came in."""
    entries = [document] if isinstance(document, dict) else document if isinstance(document, list) else []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        legs = entry.get("orderReports")
        for order in legs if isinstance(legs, list) else [entry]:
            if isinstance(order, dict) and "orderId" in order and "status" in order:
                yield (str(order.get("symbol")), int(order["orderId"])), order, entry if legs is not None else None


def identity(row: Mapping[str, Any]) -> Id:
    """Say which order a row is about; an id that its column cannot hold stands beside it."""
    number = row.get("orderId")
    return str(row.get("symbol")), int(row.get("wire.orderId") or -1) if number is None else int(number)


# The frame as a whole.


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


# Row by row.


def outcomes_are_true(case: Case) -> Iterator[str]:
    """Require of each row that its outcome is what the record says, and what reads have proven."""
    proven = _proven(case)
    for row in case.rows:
        order, state = identity(row), row["outcome"]
        case.facts[f"row {state}"] += 1
        truth = case.truth(order)
        if truth is None:
            continue
        yield from _outcome(case, order, state, truth, proven.get(order))


def _outcome(case: Case, order: Id, state: str, truth: Truth, proven: str | None) -> Iterator[str]:
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
    """Say of which orders the call must have heard that they have ended, and how."""
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
    if name in NUMBERS:
        return truth.lasting[name] is not None and _is_number(cell, truth.lasting[name], exact=case.exact)
    if name in {"trailingDelta", "strategyId", "strategyType"} and "zero_fields" in case.dialect:
        return bool(cell == (truth.lasting[name] or 0))
    if name in LASTING:
        renamed = name == "listClientOrderId" and "list_cancel_form" in case.dialect
        return bool(cell == truth.lasting[name]) or renamed
    if name == "status":
        made_up = "open_status" in case.dialect and cell not in LIVE | set(OUTCOMES) and row["outcome"] not in FINAL
        return cell in {step.status for step in steps} or made_up
    if name == "clientOrderId":
        return cell in truth.cancel_ids
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
        return bool(cell == truth.changing[name]) or row["outcome"] not in FINAL
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
    """Require in each cell what the exchange has told the call of that order, if it has told it."""
    told_of: dict[Id, set[str]] = {}
    first = min((number for number, talk in enumerate(case.talks) if talk.method == "DELETE"), default=len(case.talks))
    for number, talk in enumerate(case.talks):
        for order, shown, order_list in reports(case.heard(talk)):
            names = told_of.setdefault(order, set())
            present = {name for name, value in shown.items() if name in AMOUNTS or not _is_nothing(value)}
            if talk.method == "DELETE":
                truth = case.truth(order)  # some replies give an order's own id once more, or nothing but that
                own = truth is not None and shown.get("clientOrderId") == truth.lasting["origClientOrderId"]
                names |= present - ({"clientOrderId"} if own else set())
                names |= set(order_list or ()) & set(COLUMNS)
                continue
            if case.told.error or case.hasty or case.beyond:  # amounts that may be torn, and no time to find out
                present -= {"executedQty", "cummulativeQuoteQty"}
            if number < first:  # before the cancel an order goes by its own id
                names |= {"origClientOrderId" if name == "clientOrderId" else name for name in present}
            else:
                names |= present - {"clientOrderId"}
    reported = {order for talk in case.deletes for order, _, _ in reports(case.heard(talk))}
    for row in case.rows:
        if row["outcome"] in {"unknown", "archived"}:
            continue
        of_cancel = {"clientOrderId", "transactTime", "transactionTime"} if row["outcome"] == "open" else set()
        for name in told_of.get(identity(row), set()) & set(COLUMNS) - of_cancel:
            if row.get(name) is not None or row.get(f"wire.{name}") is not None:
                continue
            if name in {"executedQty", "cummulativeQuoteQty"} and not case.lossless and identity(row) not in reported:
                case.facts["amounts that no second read confirmed in time"] += 1  # missing, which is true
                continue
            yield f"{identity(row)} ({row['outcome']}) lacks {name}, which was told"


def _is_nothing(value: object) -> bool:
    return value is None or value == -1 or (isinstance(value, str) and re.fullmatch(r"-?0*\.?0*", value) is not None)


# What stands beside the frame.


def attrs_are_true(case: Case) -> Iterator[str]:
    """Require of each entry of ``attrs["nbext"]`` that it is so."""
    if case.told.rows is None:
        return
    attrs = case.told.attrs
    json.dumps(attrs)
    if (attrs.get("profile"), attrs.get("host")) != (case.profile, case.host):
        yield f"attrs name {attrs.get('profile')} {attrs.get('host')}, and it is {case.profile} {case.host}"
    if case.symbols and attrs.get("requested") != case.symbols:
        yield f"attrs say that {attrs.get('requested')} were requested, and {case.symbols} were"
    elapsed = case.told.returned - case.told.began
    if not isinstance(attrs.get("elapsed"), float) or not 0 <= attrs["elapsed"] <= elapsed + 0.01:
        yield f"attrs say that {attrs.get('elapsed')} s have elapsed, and {elapsed:.3f} s have"
    if attrs.get("inexact") != (counted := _inexact(case)):
        yield f"attrs count {attrs.get('inexact')} as inexact, and {counted} are"
    without = sum(_without_report(case.heard(talk)) for talk in case.deletes)
    if attrs.get("legs_without_report", 0) < without:
        yield f"attrs count {attrs.get('legs_without_report')} legs without a report, and there are {without}"
    complete = attrs.get("complete")
    if not isinstance(complete, bool):
        yield f"attrs say complete: {complete!r}"
    if complete and not case.beyond and case.way == "all" and case.told.error not in CUT_SHORT:
        given = {identity(row) for row in case.rows}
        for order in _ended_by(case):
            if order not in given and case.dialect.get("order_reports") == "first_leg":
                case.facts["canceled, and named without a report"] += 1
            elif order not in given and not case.has_the_word(order[0]):
                yield f"{order} was canceled by the call, which calls its frame complete without it"


def _inexact(case: Case) -> dict[str, int]:
    counts: Counter[str] = Counter()
    for row in case.rows:
        truth = case.truth(identity(row))
        for name in NUMBERS & set(row):
            if truth is None or case.exact or row[name] is None:
                continue
            step = next((s for s in reversed(truth.steps) if row.get("executedQty") in {float(s.executed), None}), None)
            amounts = {} if step is None else {"executedQty": step.executed, "cummulativeQuoteQty": step.quote}
            value = amounts.get(name, truth.lasting.get(name))
            counts[name] += value is not None and Decimal(repr(float(value))) != value
    return {name: count for name, count in counts.items() if count}


def _without_report(document: object) -> int:
    lists = [document] if isinstance(document, dict) else document if isinstance(document, list) else []
    count = 0
    for each in lists:
        if isinstance(each, dict) and isinstance(each.get("orderReports"), list):
            told = {leg.get("orderId") for leg in each["orderReports"]}
            count += sum(leg.get("orderId") not in told for leg in each.get("orders", ()))
    return count


def _ended_by(case: Case) -> Iterator[Id]:
    for order, truth in case.record.items():
        if truth.is_canceled_by(case.numbers):
            yield order


SUMMARY = re.compile(r"^(?P<subject>[^:]+): (?P<said>.*) \[(?P<place>[^\]]+)\]\.?$")
PART = re.compile(
    r"^(?P<count>\d+) (?:orders? )?"
    r"(?P<state>canceled|filled|expired|rejected|archived|still open|open|unknown)\b(?P<rest>.*)$"
)
KINDS = re.compile(r"^ ?(?:as of [0-9:]{8})? ?\((?P<kinds>[^)]*)\)(?P<rest>.*)$")
KIND = re.compile(r"^(\d+) (single|[A-Za-z]+ lists?)$")
TRADED = re.compile(r"([0-9.?]+) of ([0-9.?]+)")
CAPTION = re.compile(r"^[^:]+: \d+ orders?, ")
PASSING = ("no clear answer; checking each order", "read again", "dry run", "waiting", "Not recorded", "still checking")


def summary_counts_right(case: Case) -> Iterator[str]:
    """Require of each number in the summary line, counts, kinds and amounts, that it is so."""
    lines = [line for line in case.told.said if SUMMARY.match(line) and not any(word in line for word in PASSING)]
    lines = [line for line in lines if not CAPTION.match(line)]
    for line in [line for line in lines if ": not exact as floats: " in line]:
        yield from _other_part(case, line.partition(": ")[2].partition(" [")[0].partition(", see")[0])
        lines.remove(line)
    if not lines:
        if case.rows and case.told.error not in CUT_SHORT:
            yield f"there are {len(case.rows)} rows, and no summary line among {case.told.said}"
        return
    found = SUMMARY.match(lines[-1])
    if found is None:
        return
    if found["place"] != f"{case.profile}, {case.host}":
        yield f"the summary names the place {found['place']}"
    subject = ", ".join(case.symbols) or "all symbols"
    if found["subject"] != subject:
        yield f"the summary is about {found['subject']}, and {subject} was asked for"
    counted: dict[str, int] = {}
    for part in found["said"].split("; "):
        if (each := PART.match(part)) is None:
            yield from _other_part(case, part)
            continue
        state = each["state"].removeprefix("still ")
        counted[state] = counted.get(state, 0) + int(each["count"])
        rows = [row for row in case.rows if row["outcome"] == state]
        yield from _details(case, rows, state, each["rest"])
    there = Counter(row["outcome"] for row in case.rows)
    for state in STATES:
        if counted.get(state, 0) != there[state] and (counted or there):
            yield f"the summary counts {counted.get(state, 0)} {state}, and {there[state]} rows are: {lines[-1]}"


def _other_part(case: Case, part: str) -> Iterator[str]:
    if part.startswith("not exact as floats: "):
        counts = {name: int(number) for number, name in re.findall(r"(\d+) in (\w+)", part)}
        if counts != _inexact(case):
            yield f"the summary says {part}, and {_inexact(case)} are"
    elif re.search(r"\d", re.sub(r"[A-Z0-9]{5,}|[0-9:]{8}", "", part)):
        case.facts[f"a part with numbers that nobody judges: {re.sub('[0-9]+', 'N', part)}"] += 1
    elif part in {"nothing was open", "nothing is open"} and case.rows:
        yield f"the summary says that nothing was open, and there are {len(case.rows)} rows"
    elif part == "nothing was open":
        yield from _nothing_was_open(case)


def _nothing_was_open(case: Case) -> Iterator[str]:
    """Require that, at no moment of a call that found nothing, nothing was open that it has not canceled."""
    if case.beyond or case.way not in {"all", "all, seen", "everything"} or case.told.error:
        return
    symbols = set(case.symbols) or {symbol for symbol, _ in case.record}
    for order, truth in case.record.items():
        if order[0] in symbols and truth.is_canceled_by(case.numbers) and not case.has_the_word(order[0]):
            yield f"nothing was open, it says, and it has canceled {order}"


def _details(case: Case, rows: list[dict[str, Any]], state: str, rest: str) -> Iterator[str]:
    """Require of kinds and amounts that they are those of these rows."""
    found = KINDS.match(rest)
    if found is not None:
        told = Counter[str]()
        for item in found["kinds"].split(", "):
            if (kind := KIND.match(item)) is not None:
                told[kind[2].removesuffix("s") if kind[2].endswith("lists") else kind[2]] += int(kind[1])
            else:
                case.facts[f"a kind that nobody judges: {item}"] += 1
        kinds = _kinds(case, rows)
        if told["order list"]:  # of a kind that it did not know, or did not say
            told, kinds = _unspecific(told), _unspecific(kinds)
        if +told != kinds:
            yield f"the summary says ({found['kinds']}) {state}, and they are {dict(kinds)}"
        rest = found["rest"]
    parts = [
        (truth.last if row["outcome"] in FINAL else None, row, truth)
        for row in rows
        if (truth := case.truth(identity(row))) is not None and row.get("executedQty")
    ]
    if (many := re.search(r"(\d+) (?:is|are|was|were) partly filled", rest)) is not None:
        if int(many[1]) != len(parts):
            yield f"the summary says {rest!r} of what is {state}, and {len(parts)} have traded"
        amounts = [(Decimal(a), None if b == "?" else Decimal(b)) for a, b in TRADED.findall(rest)]
        true = [(Decimal(str(row["executedQty"])), truth.lasting["origQty"]) for _, row, truth in parts]
        if amounts and amounts != true:
            yield f"the summary says {rest!r}, and the amounts are {true}"
    elif parts and state == "canceled":
        yield f"the summary does not tell that {len(parts)} had traded: {rest!r}"


def _unspecific(kinds: Counter[str]) -> Counter[str]:
    lists = sum(count for kind, count in kinds.items() if kind != "single")
    return +Counter({"single": kinds["single"], "order list": lists})


def _kinds(case: Case, rows: list[dict[str, Any]]) -> Counter[str]:
    kinds: Counter[str] = Counter()
    lists: dict[tuple[str, int], str] = {}
    for row in rows:
        truth = case.truth(identity(row))
        if truth is None or truth.lasting["orderListId"] == -1:
            kinds["single"] += 1
            continue
        known = row.get("contingencyType")
        number = truth.lasting["symbol"], truth.lasting["orderListId"]
        lists[number] = f"{known} list" if known else lists.get(number, "order list")
    kinds.update(lists.values())
    return kinds


def error_is_right(case: Case) -> Iterator[str]:
    """Require of the error's type, its numbers and its text that they go with the rows and the answers."""
    told, states = case.told, {str(row["outcome"]) for row in case.rows}
    if not told.is_last:
        yield "the error's frame is not nbext.last" if told.error else "the frame is not nbext.last"
    if not told.error and states & {"open", "unknown"}:
        yield f"no error, and rows that are {sorted(states)}"
    if told.error == "IncompleteError" and "unknown" in states:
        yield "IncompleteError with unknown rows"
    if told.error == "IncompleteError" and "open" not in states and not told.failures:
        yield "IncompleteError, and nothing is open and nothing has failed"
    if told.error == "OutcomeUnknownError" and "unknown" not in states and not case.deletes:
        yield "OutcomeUnknownError, and nothing was sent"
    if told.error in {"NotSentError", "ConfigurationError"} and any(_ended_by(case)):
        yield f"{told.error}, and a cancel was carried out"
    if told.error in {"RejectedError", "RateLimitedError"}:
        yield from _refusal(case)
    for symbol in told.failures:
        if case.symbols and symbol not in case.symbols:
            yield f"failures name {symbol}"
    yield from _dated(case)
    for count, words in re.findall(r"(\d+) orders? (still open|is not known|are not known)", told.message):
        state = "open" if words == "still open" else "unknown"
        if int(count) != sum(row["outcome"] == state for row in case.rows):
            yield f"the error says {count} {words}, and the frame has {dict(Counter(r['outcome'] for r in case.rows))}"
    if case.lossless and (told.error or states - {"canceled", "filled", "expired"}):
        yield f"nothing went wrong, and the outcome is {told.error or 'no error'} with {sorted(states)}: {told.message}"


def _dated(case: Case) -> Iterator[str]:
    """Require of a moment that the error or the summary names that it lies within the call, and what was open then."""
    for line in [*case.told.said, case.told.message]:
        for clock in re.findall(r"as of (\d\d:\d\d:\d\d)", line):
            moments = range(int(case.told.began), int(case.told.returned) + 1)  # a call may see midnight
            if clock not in {time.strftime("%H:%M:%S", time.localtime(moment)) for moment in moments}:
                yield f"as of {clock}, it says, and the call had {len(moments)} s that were not"
            case.facts["dated statements"] += 1


def _refusal(case: Case) -> Iterator[str]:
    """Require that code, text and status are those of an answer."""
    facts = case.told.facts
    answers = [(talk.status, talk.document()) for talk in case.talks if talk.status is not None]
    told = [(status, each.get("code"), each.get("msg")) for status, each in answers if isinstance(each, dict)]
    statuses = {talk.line for talk in case.talks}
    if facts.get("http_status") is not None and facts["http_status"] not in statuses | {418, 429}:
        yield f"the error says HTTP {facts['http_status']}, and {statuses} were answered"
    if facts.get("code") is not None and facts["code"] not in {code for _, code, _ in told}:
        yield f"the error says {facts['code']}, and {told} were answered"
    if facts.get("msg") and " ".join(facts["msg"].split()) not in {" ".join(str(msg).split()) for _, _, msg in told}:
        yield f"the error says {facts['msg']!r}, and {told} were answered"
    for row in case.rows:
        truth = case.truth(identity(row))
        if truth is not None and "no orders were changed" in case.told.message and truth.is_canceled_by(case.numbers):
            yield f"no orders were changed, says the error, and {identity(row)} is {truth.outcome} by this call"
    if "no orders were changed" in case.told.message:
        for order, truth in case.record.items():
            if truth.is_canceled_by(case.numbers):
                yield f"{case.told.message!r}, and {order} is {truth.outcome} by this call"


# What was sent, and when.


def each_is_sent_once(case: Case) -> Iterator[str]:
    """Require that each order is sent for once, and again only after an answer that proves the request unseen."""
    targets: dict[str, list[Talk]] = {}
    for talk in case.deletes:
        named = {name: value for name, value in talk.params.items() if name not in {"timestamp", "signature"}}
        targets.setdefault(f"{talk.path} {json.dumps(named, sort_keys=True)}", []).append(talk)
        if not case.symbols or talk.params.get("symbol") in case.symbols:
            continue
        yield f"sent for {talk.params.get('symbol')}, and {case.symbols} were asked for"
    for target, talks in targets.items():
        if len(talks) > 5:
            yield f"sent {len(talks)} times: {target}"
        for talk in talks[:-1]:
            document = talk.document()
            code = document.get("code") if isinstance(document, dict) else None
            unseen = talk.status == 429 or (talk.status is not None and talk.status < 500 and code == -1021)
            if unseen and not talk.mangled:
                case.facts[f"sent again after {code}"] += 1
            else:
                yield f"sent again after HTTP {talk.status} {code}: {target}"
    ids = [talk.params.get("orderId") for talk in case.deletes if talk.path == ONE]
    lists = [talk.params.get("orderListId") for talk in case.deletes if talk.path == LIST]
    for symbol, number in case.record:
        truth = case.record[symbol, number]
        if str(number) in ids and str(truth.lasting["orderListId"]) in lists and truth.lasting["orderListId"] != -1:
            yield f"{symbol, number} was sent for by itself, and with its list"


def waits_are_kept(case: Case) -> Iterator[str]:
    """Require that nothing goes out while the exchange has asked for quiet, for 1 s at least."""
    for number, talk in enumerate(case.talks):
        if talk.status not in {418, 429} or talk.done_at is None or talk.mangled:
            continue
        if talk.done_at - talk.at > case.answer_seconds / 2:
            continue  # nobody may have waited for it
        wait = max(1.0, talk.retry_after or 0.0)
        for later in case.talks[number + 1 :]:
            if talk.done_at + 0.25 < later.at < talk.done_at + wait - 0.1:  # others may have been on their way
                yield (
                    f"{later.method} {later.path} {later.at - talk.done_at:.2f} s after HTTP {talk.status}, "
                    f"which asked for {talk.retry_after} s"
                )
                break


def nothing_is_sent_afterwards(case: Case) -> Iterator[str]:
    """Require that a call which has ended sends nothing more, and that it ends in time."""
    for talk in case.deletes:
        if talk.at > case.returned + 0.02 and case.told.error not in {"killed", "KeyboardInterrupt"}:
            yield f"{talk.path} {talk.params.get('symbol')} was sent {talk.at - case.returned:.2f} s after the end"
    took = case.told.returned - case.told.began
    if took > LONGEST:
        yield f"the call took {took:.1f} s"


# The journal.


def journal_is_true(case: Case) -> Iterator[str]:
    """Require that each line of the journal is so, and that none is missing."""
    if case.entries is None:
        return
    for entry in case.entries:
        yield from (f"journal: {lie}" for lie in _entry(case, entry))
    for talk in case.deletes:
        if not any(is_of(talk, entry) for entry in case.entries):
            yield f"journal: the intent of {talk.path} {talk.params.get('symbol')} is lost"
    numbers = Counter(entry["id"] for entry in case.entries)
    if any(count > 1 for count in numbers.values()):
        yield "journal: an id is there twice"


def is_of(talk: Talk, entry: Mapping[str, Any]) -> bool:
    """Whether a request is the one that an intent is about."""
    names = ("symbol", "orderId", "orderListId")
    return talk.path == entry["path"] and all(talk.params.get(name) == entry["params"].get(name) for name in names)


def _entry(case: Case, entry: Mapping[str, Any]) -> Iterator[str]:
    talks = [talk for talk in case.deletes if is_of(talk, entry)]
    began, returned = case.told.began * 1000 - 2, case.told.returned * 1000 + 2
    # What happens at the exchange is told by its clock, as far as the call has measured that.
    early, late = min(0.0, case.skew * 1000) - 50, max(0.0, case.skew * 1000) + 50
    is_timed = case.told.error != "killed" and not case.clock_moves
    if (entry["profile"], entry["host"], entry["method"]) != (case.profile, case.host, "DELETE"):
        yield f"it is {entry['method']} to {entry['profile']} {entry['host']}"
    if case.told.attrs and case.told.attrs.get("call_id") != entry["call_id"]:
        yield f"it is of the call {entry['call_id']}, and the frame of {case.told.attrs['call_id']}"
    if is_timed and not began + early <= entry["sent_at"] <= returned + late:
        yield f"it was sent at {entry['sent_at']}, and the call was from {began:.0f} to {returned:.0f}"
    left, last = entry.get("left_at"), talks[-1].wall * 1000 if talks else None
    if left is not None and last is not None and is_timed and not last - 500 + early <= left <= last + late:
        yield f"it left at {left}, and arrived at {last:.0f}"
    if left is not None and last is None and is_timed and case.told.error not in CUT_SHORT:
        yield f"it left at {left}, and never arrived"
    for talk in talks:
        sent = {name: value for name, value in talk.params.items() if name not in {"timestamp", "signature"}}
        if sent != entry["params"]:
            yield f"it has the parameters {entry['params']}, and {sent} were sent"
        if is_timed and entry["deadline"] < talk.wall * 1000 + float(sent.get("recvWindow", 5000)) + early:
            yield f"its deadline is {entry['deadline']}, and it was sent at {talk.wall * 1000:.0f}"
    for seen in entry["seen"]:
        truth = case.truth((seen["symbol"], int(seen["orderId"])))
        if truth is None or seen["origClientOrderId"] != truth.lasting["origClientOrderId"]:
            yield f"it has seen {seen}, and there is no such order"
    if entry["key"] != case.key[-4:] and case.told.error != "ConfigurationError":
        yield f"it was sent with the key {entry['key']}, and that ends with {case.key[-4:]}"
    for name, value in entry.items():
        if isinstance(value, str) and case.key in value:
            yield f"{name} holds the API key"
    if entry["concluded_at"] is None:  # what is known so far
        for each in entry["outcomes"]:
            order = str(each["symbol"]), int(each["orderId"] or -1)  # an answer about nothing has rows without an id
            if (truth := case.truth(order)) is not None:
                yield from _outcome(case, order, each["outcome"], truth, None)
        if case.told.error in {"", "ConfigurationError"}:
            yield f"all is known, and {entry['params']} has no conclusion"
        return
    if case.told.error != "killed" and not began <= entry["concluded_at"] <= returned + 500:
        yield f"it was concluded at {entry['concluded_at']}, and the call ended at {returned:.0f}"
    yield from _conclusion(case, entry, talks)


def _conclusion(case: Case, entry: Mapping[str, Any], talks: list[Talk]) -> Iterator[str]:
    given = {}
    for each in entry["outcomes"]:
        order = str(each["symbol"]), int(each["orderId"])
        truth = case.truth(order)
        given[order] = each["outcome"]
        if truth is None:
            yield f"{each}, and there is no such order"
            continue
        if each["outcome"] == "unknown":
            yield f"concluded with {each}"
        if each.get("origClientOrderId") not in {None, truth.lasting["origClientOrderId"]}:
            yield f"{each}, and its id is {truth.lasting['origClientOrderId']}"
        yield from _outcome(case, order, each["outcome"], truth, None)
        rows = [row["outcome"] for row in case.rows if identity(row) == order]
        if rows and rows != [each["outcome"]]:
            yield f"{order} is {each['outcome']}, and {rows} in the frame"
    for seen in entry["seen"]:
        if (seen["symbol"], int(seen["orderId"])) not in given:
            yield f"{seen} had been seen, and is missing"
    if not talks and (entry["http_status"] is not None or entry["answer"] is not None):
        yield f"nothing was sent, and HTTP {entry['http_status']} is written down"
    if talks and case.heard(talks[-1]) is not None:
        if entry["http_status"] != talks[-1].status:
            yield f"HTTP {talks[-1].status} was answered, and {entry['http_status']} is written down"
        if entry["answer"] != talks[-1].body:
            yield f"{entry['answer']!r} is written down, and {talks[-1].body!r} was answered"


Rule = Callable[[Case], Iterable[str]]
RULES: tuple[Rule, ...] = (
    frame_has_its_form,
    rows_are_those_of_the_call,
    rows_stand_in_order,
    outcomes_are_true,
    cells_are_true,
    nothing_told_is_missing,
    attrs_are_true,
    summary_counts_right,
    error_is_right,
    each_is_sent_once,
    waits_are_kept,
    nothing_is_sent_afterwards,
    journal_is_true,
)
