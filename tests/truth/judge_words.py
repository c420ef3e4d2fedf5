"""The rules for what stands beside the frame: its attrs, the summary line, and the error."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .case import CUT_SHORT, FINAL, NUMBERS, STATES, identity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .case import Case
    from .record import Id, Truth


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
            value = amounts.get(name, truth.lasting.get(name, truth.changing.get(name)))
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
KINDS = re.compile(r"^ ?(?:as of [0-9:]{8} UTC)? ?\((?P<kinds>[^)]*)\)(?P<rest>.*)$")
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
        true = [(Decimal(str(row["executedQty"])), _quantities(row, truth)) for _, row, truth in parts]
        if amounts and not all(
            executed == amount and quantity in quantities
            for (executed, quantity), (amount, quantities) in zip(amounts, true, strict=False)
        ):
            yield f"the summary says {rest!r}, and the amounts are {true}"
    elif parts and state == "canceled":
        yield f"the summary does not tell that {len(parts)} had traded: {rest!r}"


def _quantities(row: Mapping[str, Any], truth: Truth) -> set[Decimal | None]:
    """Return the quantity of an order; of one that may be amended yet, also those that it had."""
    return {truth.lasting["origQty"]} if row["outcome"] in FINAL else {None, *truth.could_be("origQty")}


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
        for clock in re.findall(r"as of (\d\d:\d\d:\d\d)(?: UTC)?", line):
            moments = range(int(case.told.began), int(case.told.returned) + 1)  # a call may see midnight
            if clock not in {time.strftime("%H:%M:%S", time.gmtime(moment)) for moment in moments}:
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
