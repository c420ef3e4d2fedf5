"""Scenes that need no order to rest: what keys may do, how the exchange refuses, and what it shows to everyone."""

from __future__ import annotations

import time
from http import HTTPStatus
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from nbext.rehearsal import probes_answers as shown
from nbext.rehearsal.probes_stage import ALL_LISTS, LIST, OPEN_ORDERS, ORDER
from nbext.spot.answers import KEY_CODES

if TYPE_CHECKING:
    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.probes_stage import Stage

REFUSALS_RULES = (
    "lower-case-symbol",
    "unknown-order-text",
    "unknown-list-text",
    "unknown-code",
    "neither-id-code",
    "refusal-status",
    "unknown-list-code",
    "list-from-id",
)
FIRST_IDS_RULES = ("order-ids", "weight-refund", "list-ids", "list-expiry-reason")
_FOREIGN_KEY = "A" * 64
_HOUR = 3_600_000
_NOT_TOGETHER = -1128  # "Combination of optional parameters invalid."
_INFO = "/api/v3/exchangeInfo"


def keys(stage: Stage) -> None:
    """Use a key that the exchange does not know, then find out what one's own may do."""
    foreign = stage.hands.send("GET", OPEN_ORDERS, symbol=stage.symbol, key=_FOREIGN_KEY)
    stage.judge("key-status", foreign, lambda: shown.key_status(foreign))
    stage.unknown = unknown = stage.send("DELETE", ORDER, origClientOrderId=f"{stage.hands.prefix}none")
    look = stage.send("GET", OPEN_ORDERS)
    stage.may_trade, stage.may_read = (each.code not in KEY_CODES for each in (unknown, look))
    stage.is_empty = look.status == HTTPStatus.OK and look.body == []
    if not stage.may_trade:
        stage.skip("the key may not trade", "key-reads")
    elif not stage.may_read:
        stage.judge("key-reads", look, lambda: "refused")
    else:
        stage.judge("key-reads", look, lambda: "allowed" if shown.rows_of(look) is not None else None)


def refusals(stage: Stage) -> None:
    """Ask for what the exchange has to refuse."""
    prefix = stage.hands.prefix
    lower = stage.hands.send("GET", OPEN_ORDERS, symbol=stage.symbol.lower())
    if stage.may_read or lower.code not in KEY_CODES:
        stage.judge("lower-case-symbol", lower, lambda: shown.refusal(lower)[0])
    if stage.may_trade and stage.unknown is not None:
        order = stage.unknown
        order_list = stage.send("DELETE", LIST, listClientOrderId=f"{prefix}none")
        neither = stage.send("DELETE", ORDER)
        stage.judge("unknown-order-text", order, lambda: shown.refusal(order)[1])
        stage.judge("unknown-list-text", order_list, lambda: shown.refusal(order_list)[1])
        stage.judge("unknown-code", order, lambda: _code(order, order_list))
        stage.judge("neither-id-code", neither, lambda: shown.refusal(neither)[0])
        stage.judge("refusal-status", order, lambda: shown.refusal_status(order))
    if stage.may_read:
        query = stage.send("GET", LIST, origClientOrderId=f"{prefix}none")
        now = query.received_at
        both = stage.send("GET", ALL_LISTS, fromId=1, startTime=now - _HOUR, endTime=now)
        stage.judge("unknown-list-code", query, lambda: shown.refusal(query)[0])
        stage.judge("list-from-id", both, lambda: _from_id(both))


def _code(order: Answer, order_list: Answer) -> int:
    """Return the code for what is unknown; where there are two, the one of lists."""
    (code, _), (other, _) = shown.refusal(order), shown.refusal(order_list)
    return other if code != other else code


def _from_id(answer: Answer) -> str:
    if answer.status == HTTPStatus.OK:
        shown.rows_of(answer)
        return "from_id_ignored"
    code, text = shown.refusal(answer)
    return "refused" if code == _NOT_TOGETHER else f"refused: {code} {text}"


def nothing_open(stage: Stage) -> None:
    """Cancel everything where nothing is open."""
    if not (stage.may_trade and stage.is_empty):
        stage.skip("orders are open on the symbol", "nothing-open", "nothing-open-text")
        return
    answer = stage.send("DELETE", OPEN_ORDERS)
    if answer.body == []:
        stage.judge("nothing-open", answer, lambda: "empty")
        stage.skip("a cancel-all with nothing open is not refused", "nothing-open-text")
        return
    stage.judge("nothing-open", answer, lambda: shown.refusal(answer)[1] and "refused")
    stage.judge("nothing-open-text", answer, lambda: shown.refusal(answer)[1])
    if answer.code is not None:
        stage.nothing_open = shown.refusal(answer)


def public(stage: Stage) -> None:
    """Read what the exchange says of itself."""
    known = [each for each in stage.hands.answers if each.request[1] == _INFO and each.status == HTTPStatus.OK]
    info = known[-1] if known else stage.hands.send("GET", _INFO, signed=False, symbol=stage.symbol)

    def default_stp() -> str:
        entry = next(each for each in info.body["symbols"] if each["symbol"] == stage.symbol)
        return str(entry["defaultSelfTradePreventionMode"])

    stage.judge("exchange-filters", info, lambda: "listed" if len(info.body["exchangeFilters"]) else "empty")
    stage.judge("default-stp", info, default_stp)


def first_ids(stage: Stage) -> None:
    """Place an order and a list that expire at once, without client ids; see their ids and their weight.

    The exchange chooses ids more freely where the caller chooses none.
    """
    before = [_weight(stage.send("GET", OPEN_ORDERS)) for _ in range(2)]
    placed, answer = stage.place("LIMIT", timeInForce="IOC", newClientOrderId=None)
    if placed:
        number = placed[0].number
        stage.judge("order-ids", answer, lambda: shown.first_id(number))
        _judge_weight(stage, [*before, _weight(answer), _weight(stage.send("GET", OPEN_ORDERS))], answer)
    unnamed = dict.fromkeys(("workingClientOrderId", "pendingClientOrderId", "listClientOrderId"))
    legs, answer = stage.place("OTO", workingTimeInForce="IOC", **unnamed)
    if not legs:
        stage.skip(stage.why_not("OTO"), "list-ids", "list-expiry-reason")
        return
    list_number = legs[0].list_number
    stage.judge("list-ids", answer, lambda: shown.first_id(list_number))
    until = time.monotonic() + stage.patience
    query = stage.send("GET", LIST, orderListId=list_number)
    while not _is_done(query) and time.monotonic() < until:
        time.sleep(0.05)
        query = stage.send("GET", LIST, orderListId=list_number)
    if query.code is None:
        stage.judge("list-expiry-reason", query, lambda: _reason(query.body))
    else:
        stage.skip(f"the query of a list that has expired was refused ({query.code})", "list-expiry-reason")


def _is_done(answer: Answer) -> bool:
    """Return whether a list is shown as done, or something is that never will be."""
    if answer.code is not None:
        return False
    return not isinstance(answer.body, dict) or answer.body.get("listOrderStatus") in {None, "ALL_DONE"}


def _reason(body: Any) -> str:
    legs = body["orders"]
    shown.number_of(legs[0])
    return "in_orders" if any("expiryReason" in leg for leg in legs) else "absent"


def _weight(answer: Answer) -> int | None:
    used = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
    return int(used) if used.isdecimal() else None


def _judge_weight(stage: Stage, used: list[int | None], answer: Answer) -> None:
    """Judge by the used weight before two equal reads, a placement and a third such read."""
    counts = [each for each in used if each is not None]
    if len(counts) < len(used):
        stage.skip("the answers do not have the used weight", "weight-refund")
        return
    read, placement, after = (later - earlier for earlier, later in pairwise(counts))
    if read <= 0 or placement < 0 or after < 0 or placement + after not in {read, read + 1}:
        stage.skip("other requests were counted meanwhile, or a new minute began", "weight-refund")
        return

    def refund() -> str:
        if not placement:
            return "before_answer"
        return "after_answer" if placement + after == read else "not at all: the weight stays"

    stage.judge("weight-refund", answer, refund)
