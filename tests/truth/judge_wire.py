"""The rules for what was sent, and for what the journal says of it."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from .case import CUT_SHORT, LIST, LONGEST, ONE, TIME, identity
from .judge_rows import outcome_is_true

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .case import Case
    from .proxy import Talk


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
            on_its_way = 0.25 + 3 * case.late(talk.at, later.at)
            if talk.done_at + on_its_way < later.at < talk.done_at + wait - 0.1:
                yield (
                    f"{later.method} {later.path} {later.at - talk.done_at:.2f} s after HTTP {talk.status}, "
                    f"which asked for {talk.retry_after} s"
                )
                break


def nothing_is_sent_afterwards(case: Case) -> Iterator[str]:
    """Require that a call which has ended sends nothing more, and that it ends in time."""
    on_its_way = 0.02 + 3 * case.late(case.returned - 0.1, case.returned + 1.0)
    for talk in case.deletes:
        if talk.at > case.returned + on_its_way and case.told.error not in {"killed", "KeyboardInterrupt"}:
            yield f"{talk.path} {talk.params.get('symbol')} was sent {talk.at - case.returned:.2f} s after the end"
    took = case.told.returned - case.told.began
    if took > LONGEST:
        yield f"the call took {took:.1f} s"


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
    # What happens at the exchange is told by its clock, as far as the call has measured that, and at whichever moment.
    doubt = 50 + 2000 * case.hold_up + 1000 * _fastest(case)
    early, late = 1000 * min(case.skews) - doubt, 1000 * max(case.skews) + doubt
    is_timed = case.told.error != "killed"
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
        if truth is None or seen["origClientOrderId"] not in truth.could_be("origClientOrderId"):
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
                yield from outcome_is_true(case, order, each["outcome"], truth, None)
        if case.told.error in {"", "ConfigurationError"}:
            yield f"all is known, and {entry['params']} has no conclusion"
        return
    if is_timed and not began <= entry["concluded_at"] <= returned + 500:
        yield f"it was concluded at {entry['concluded_at']}, and the call ended at {returned:.0f}"
    yield from _conclusion(case, entry, talks)


def _fastest(case: Case) -> float:
    """Return how fast the exchange told the time, at best: by half of that a call cannot know the time."""
    times = [talk.done_at - talk.at for talk in case.talks if talk.path == TIME and talk.done_at is not None]
    return min(times, default=0.0)


def _conclusion(case: Case, entry: Mapping[str, Any], talks: list[Talk]) -> Iterator[str]:
    given = {}
    for each in entry["outcomes"]:
        order = str(each["symbol"]), int(each["orderId"])
        truth = case.truth(order)
        given[order] = each["outcome"]
        if truth is None:
            yield f"{each}, and there is no such order"
            continue
        if each["outcome"] == "unknown" and talks:  # about a cancel that never left nothing remains to be found out
            yield f"concluded with {each}"
        known = (
            truth.could_be("origClientOrderId") if each["outcome"] == "open" else {truth.lasting["origClientOrderId"]}
        )
        if each.get("origClientOrderId") not in {None, *known}:
            yield f"{each}, and its id is {truth.lasting['origClientOrderId']}"
        yield from outcome_is_true(case, order, each["outcome"], truth, None)
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
