"""What an answer proves: what it is about, whether it contradicts itself, and what may be believed of the orders.

A missing field contradicts nothing, since the exchange may leave fields out. A different value does: the answer then
belongs to another request, and so may every other answer on its connection.
"""

from __future__ import annotations

import json
import math
import re
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypedDict

from nbext.errors import DOCTOR, NbextError, NotSentError, OutcomeUnknownError, RateLimitedError, RejectedError
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbext.spot.transport import Answer


class OrderReport(TypedDict, total=False):
    """One order as a cancel reports it (API docs, "Cancel order"). Prices and quantities are decimal text."""

    symbol: str
    origClientOrderId: str
    orderId: int
    orderListId: int
    clientOrderId: str
    transactTime: int
    price: str
    origQty: str
    executedQty: str
    origQuoteOrderQty: str
    cummulativeQuoteQty: str
    status: str
    timeInForce: str
    type: str
    side: str
    selfTradePreventionMode: str


class OrderListReport(TypedDict, total=False):
    """An order list as a cancel reports it, the reports of its orders inside (API docs, "Cancel Order lists")."""

    orderListId: int
    contingencyType: str
    listStatusType: str
    listOrderStatus: str
    listClientOrderId: str
    transactionTime: int
    symbol: str
    orders: list[dict[str, Any]]
    orderReports: list[OrderReport]


Report = OrderReport | OrderListReport

SHORTEST_WAIT = 1.0
# The API docs ("IP Limits") count weights by the minute, and have bans last from 2 minutes to 3 days. If a host
# does not say how long to wait, it is left alone for the rest of the minute at most, or for the shortest ban.
UNTOLD_WAITS = {429: 60.0, 418: 120.0}
LONGEST_WAIT = 3 * 86400.0

_REPORTED = frozenset({"orderId", "orderListId", "orderReports", "clientOrderId", "transactTime", "cancelResult"})
_ENGINE_CODES = range(-2999, -2000 + 1)
_REQUEST_CODES = range(-1299, -1100 + 1)  # API docs, "Error codes": "11xx - Request issues"
_OF_FILTERS = -1013
# The API itself returns these, before the engine has seen anything (API docs, "Error codes").
_WRONG_SIGNATURE = -1022
KEY_CODES = frozenset({_WRONG_SIGNATURE, -2008, -2014, -2015, -2017})
"""These refuse the key or its signature, and retrying does not help."""

CLOCK_IS_OFF = -1021
TOO_MANY = 429
NOTHING_OPEN = -2011, "Unknown order sent."
"""Code and text with which the live service says that nothing was open."""
OUTCOME_UNKNOWN = frozenset({-1000, -1001, -1006, -1007, -1008, -1161})
"""The codes after which an order may have been changed anyway (API docs, "Error codes")."""
_RATE_LIMITED = frozenset({-1003, -1015})
RATE_LIMIT_STATUSES = frozenset({418, 429})
# 408 is a proxy's timeout, 409 a cancel-replace carried out by half: neither is a refusal.
_AMBIGUOUS_STATUSES = frozenset({408, 409})

_NO_LONGER = "The exchange does not offer this here, or not now: see its announcements."
_CLOSED = "The symbol may not be trading now."
_ADVICE = {
    -1002: "Allow the key to trade, or use another.",
    -1016: _NO_LONGER,
    -1020: _NO_LONGER,
    -1021: f"This machine's clock is off, or the request was slow: set the clock, or raise the recv window{DOCTOR}.",
    -1022: f"The secret key does not match this API key: check both{DOCTOR}.",
    -1100: "Check the spelling of the symbol.",
    -1121: "Unknown symbol: check its spelling and the profile.",
    -2013: "Check the symbol and the ids.",
    -2039: "Check the symbol and the ids.",
    -2008: f"Unknown API key: deleted, from another host (testnet, demo, live), or mixed up with the secret{DOCTOR}.",
    -2014: "Check the API key: its format is invalid.",
    -2015: f"Check that the API key is for this host, may trade, and allows this IP address{DOCTOR}.",
    -2017: "The exchange has locked this account's API keys: unlock them on its website, or make a new one.",
}
# Refusals by the engine share a few codes; their texts tell them apart (API docs, "Messages for -1010 ... -2011").
_NOT_FOR_THIS_ACCOUNT = "Ask the exchange's support: the account may not trade this symbol."
_ADVICE_BY_TEXT = {
    "This account may not place or cancel orders.": "Ask the exchange's support: the account is disabled for trading.",
    "This action is disabled on this account.": "Ask the exchange's support: the account is restricted.",
    "This symbol is not permitted for this account.": _NOT_FOR_THIS_ACCOUNT,
    "This symbol is restricted for this account.": _NOT_FOR_THIS_ACCOUNT,
    "Rest API trading is not enabled.": "This host takes no orders: check the base URL.",
    "Market is closed.": _CLOSED,
}
_ADVICE_BY_STATUS = {
    403: "A firewall in front of the exchange refused; wait some minutes, then try again.",
    404: "Check the base URL: this host does not serve the endpoint.",
    407: "Check the proxy's credentials.",
    451: "The exchange refuses this country or cloud; use the local profile, or run where it is allowed.",
}
# How CloudFront's page, and the exchange's own text, say so.
_COUNTRY = re.compile(rb"(?i)access from your country|restricted location")


def identifier(value: object) -> int | None:
    """Return an id as a number, even if it was sent as text; None for anything else."""
    if type(value) is int:
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    return None


def of_the_engine(code: int | None) -> bool:
    """Return whether an error code comes from the engine: some of the request may have been carried out.

    -1013 and -1010 pass on a refusal by the engine (API docs, "Error codes"). Most other codes from -1000 on are the
    API's own and prove that the engine never saw the request.
    """
    return code in {-1010, -1013} or (code in _ENGINE_CODES and code not in KEY_CODES)


def is_unseen(error: NbextError | None) -> bool:
    """Return whether an error proves that the matching engine never saw the request, so that it cannot arrive later.

    A refusal by the engine itself proves only that this answer was given: orders may have been canceled before it.
    """
    if isinstance(error, (NotSentError, RateLimitedError)):
        return True
    return isinstance(error, RejectedError) and not of_the_engine(error.code)


def refuses_all(errors: Sequence[RejectedError]) -> bool:
    """Return whether refusals show that any other request would be refused, too.

    One about the key or the country does. A signature or a firewall may have stumbled over what one request contains,
    so that takes two of a kind.
    """
    kinds = [(error.code, error.http_status) for error in errors]
    return any(
        code in KEY_CODES - {_WRONG_SIGNATURE} or (code is None and status == HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS)
        for code, status in kinds
    ) or any(
        kinds.count(kind) > 1
        for kind in kinds
        if kind[0] == _WRONG_SIGNATURE or (kind[0] is None and kind[1] == HTTPStatus.FORBIDDEN)
    )


def contradicts_request(method: str, path: str, asked: Mapping[str, Any], document: object) -> str:
    """Return what an answer is about if it contradicts the request; otherwise an empty string.

    Parameters
    ----------
    method, path : str
    asked : Mapping
        The parameters of the request.
    document : object
        The parsed body.
    """
    where = (method, path.removeprefix("/api/v3/"))
    if where not in _CHECKED:
        return ""
    parts = document if isinstance(document, list) else [document]
    entries: list[Mapping[str, Any]] = [entry for entry in parts if isinstance(entry, dict)]
    orders = entries + [leg for entry in entries for leg in _legs(entry)]
    return (method == "GET" and _another_kind(path, entries)) or _another_one(method, path, asked, entries, orders)


def _another_kind(path: str, entries: Sequence[Mapping[str, Any]]) -> str:
    """Return what a query got instead: orders for order lists, or the reverse."""
    if path.lower().endswith("orderlist"):
        return "orders, not order lists" if any("orderId" in entry for entry in entries) else ""
    lists = any("contingencyType" in entry and "orderId" not in entry for entry in entries)
    return "order lists, not orders" if lists else ""


def _another_one(
    method: str,
    path: str,
    asked: Mapping[str, Any],
    entries: Sequence[Mapping[str, Any]],
    orders: Sequence[Mapping[str, Any]],
) -> str:
    symbol = asked.get("symbol")
    if symbol is not None and any(entry.get("symbol", symbol) not in (symbol, None) for entry in orders):
        return "another symbol"
    mark, marks = _QUERIED if method == "DELETE" else _CANCELED
    if any(mark in entry and not marks.intersection(entry) for entry in orders):
        return "open orders, not a cancel" if method == "DELETE" else "a cancel, not open orders"
    if path.endswith("/order") and (wanted := identifier(asked.get("orderId"))) is not None:
        ids = [entry["orderId"] for entry in orders if entry.get("orderId") is not None]
        if ids and all(identifier(found) != wanted for found in ids):
            return "another order"
    if path.endswith("/orderList") and (wanted := identifier(asked.get("orderListId"))) is not None:
        lists = [entry.get("orderListId") for entry in entries]
        if any(found is not None and identifier(found) != wanted for found in lists):
            return "another order list"
    return ""


# Fields that only a query has, and only a cancel report, so that neither is mistaken for the other.
_QUERIED = "isWorking", frozenset({"transactTime", "origClientOrderId"})
_CANCELED = "transactTime", frozenset({"time", "updateTime", "isWorking"})
_CHECKED = frozenset(
    {
        *(("DELETE", name) for name in ("openOrders", "order", "orderList")),
        *(("GET", name) for name in ("openOrders", "allOrders", "order", "orderList", "openOrderList", "allOrderList")),
    }
)


def _legs(order_list: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = (order_list.get(name) for name in ("orderReports", "orders"))
    return [leg for legs in named if isinstance(legs, list) for leg in legs if isinstance(leg, dict)]


def contradicts_status(status: int, document: object, code: int | None) -> bool:
    """Return whether a body contradicts its status: a report with 4XX, or an error with 200.

    Parameters
    ----------
    status : int
    document : object
        The parsed body.
    code : int or None
        Its error code.
    """
    if status == HTTPStatus.OK:
        return code is not None and code < 0 and not _REPORTED.intersection(_names(document))
    if isinstance(document, list):
        return True
    if _REPORTED.intersection(_names(document)):
        return True
    # An engine code with a status that means nothing reached the engine.
    return (status in RATE_LIMIT_STATUSES or _redirects(status)) and of_the_engine(code)


def _names(document: object) -> Iterable[str]:
    return document if isinstance(document, dict) else ()


def wait_asked(status: int, headers: Mapping[str, str], msg: str, now: float) -> float:
    """Return how many seconds to leave a host alone after it limited requests.

    Parameters
    ----------
    status : int
        429 or 418.
    headers : Mapping
        ``Retry-After`` as seconds or as a date (RFC 9110), and ``Date``, the host's own clock.
    msg : str
        May name the end of a ban: ``IP banned until 1573549110000``, in milliseconds.
    now : float
        The exchange's time in milliseconds, as far as known, for an answer without ``Date``.

    Returns
    -------
    float
        From `SHORTEST_WAIT` to `LONGEST_WAIT`; the longer one if header and text differ.
    """
    seconds = now / 1000 if (dated := _date(headers.get("Date", ""))) is None else dated
    said = headers.get("Retry-After", "").strip()
    asked: list[float] = []
    if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]*)?", said):
        asked.append(float(said[:400]))
    elif (until := _date(said)) is not None:
        asked.append(until - seconds)
    if banned := re.search(r"until\D{0,3}([0-9]{13})(?![0-9])", msg):
        asked.append(int(banned[1]) / 1000 - seconds)
    wait = max(asked, default=UNTOLD_WAITS.get(status, UNTOLD_WAITS[429]))
    return wait if SHORTEST_WAIT <= wait <= LONGEST_WAIT else (LONGEST_WAIT if wait > SHORTEST_WAIT else SHORTEST_WAIT)


def _date(text: str) -> float | None:
    """Return an HTTP date as seconds since 1970."""
    try:
        moment = parsedate_to_datetime(text).timestamp() if text else math.nan
    except (ValueError, TypeError, OverflowError, IndexError, AttributeError):
        return None
    return moment if math.isfinite(moment) else None


def accept(answer: Answer, document: object, method: str, where: str, now: float) -> Any:
    """Return the document if the request was carried out; otherwise raise what the answer proves.

    Parameters
    ----------
    answer : Answer
    document : object
        Its body, from `parse`.
    method, where : str
        The request, and its name in messages.
    now : float
        The exchange's time in milliseconds, as far as known.

    Raises
    ------
    RejectedError, RateLimitedError
        The exchange refused.
    NotSentError
        A read got no usable answer.
    OutcomeUnknownError
        The outcome is not known.
    """
    status = answer.status
    code, msg = code_and_msg(document)
    if contradicts_status(status, document, code):
        raise unrelated(method, where, status, f"the body contradicts HTTP {status}")
    if status == HTTPStatus.OK and document is not _UNREADABLE:
        return document
    said = f"{code} {msg}".rstrip(". ")
    if code is None:
        said = f"HTTP {status}, {'incomplete body' if answer.body is None else 'no error code'}"
    if method != "GET" and (
        status < HTTPStatus.MULTIPLE_CHOICES
        or status >= HTTPStatus.INTERNAL_SERVER_ERROR
        or status in _AMBIGUOUS_STATUSES
        or code in OUTCOME_UNKNOWN
        or (code is None and not _refuses(status, answer.body, document))
    ):
        raise unanswered(method, where, f"the exchange answered {said}")
    if status < HTTPStatus.MULTIPLE_CHOICES:
        raise RejectedError(f"{where}: read failed, {_unusable(answer, document)}", http_status=status)
    if status in RATE_LIMIT_STATUSES or code in _RATE_LIMITED:
        wait = None
        if status in RATE_LIMIT_STATUSES:
            wait = wait_asked(status, answer.headers, msg, now)
        when = "later" if wait is None else f"in {math.ceil(wait)} s"
        raise RateLimitedError(
            f"{where}: refused for now ({said}); no orders were changed. Try again {when}.",
            code=code,
            msg=msg,
            http_status=status,
            retry_after=wait,
        )
    said, advice = _advice(answer, code, said)
    unchanged = "; no orders were changed"
    if method != "GET" and of_the_engine(code):  # which may have canceled some orders first
        unchanged, advice = "", f"{advice} %open_orders shows what is open."
    raise RejectedError(f"{where}: refused ({said}){unchanged}. {advice}", code=code, msg=msg, http_status=status)


def _unusable(answer: Answer, document: object) -> str:
    """Return why an answer that refuses nothing is not what was asked for, and what to do."""
    if answer.body is None:
        return "the body is incomplete; no orders were changed. Try again."
    problem = f"HTTP {answer.status} is not an answer of this API"
    if document is _UNREADABLE:
        problem = "the body is not JSON, as that of a login page"
    return f"{problem}; no orders were changed. Check the base URL, and whether this network asks for a login."


def unanswered(method: str, where: str, problem: str) -> NotSentError | OutcomeUnknownError:
    """Return the error for a request that was sent and got no usable answer."""
    if method == "GET":
        return NotSentError(f"{where}: read failed, {problem}; no orders were changed. Try again.")
    return OutcomeUnknownError(f"{where}: sent, but {problem}; the outcome is not known. Check %open_orders first.")


def unrelated(method: str, where: str, status: int, problem: str) -> NbextError:
    """Return the error for an answer that belongs to another request, or contradicts itself."""
    if method == "GET":
        said = f"{where}: read failed, {problem}; no orders were changed. Try again."
        return RejectedError(said, http_status=status)
    return unanswered(method, where, problem)


def _advice(answer: Answer, code: int | None, said: str) -> tuple[str, str]:
    """Return what a refusal says, and what to do next."""
    status = answer.status
    if code is None and _redirects(status):
        return f"HTTP {status}, redirects are never followed", "Check the base URL."
    if code is None and status == HTTPStatus.FORBIDDEN and _COUNTRY.search(answer.body or b""):
        return f"HTTP {status}, because of the country", _ADVICE_BY_STATUS[HTTPStatus.UNAVAILABLE_FOR_LEGAL_REASONS]
    otherwise = "Try again in a moment."
    if status < HTTPStatus.INTERNAL_SERVER_ERROR:
        # Only these are about the form of a request; other codes may be about the account, the key or the symbol.
        of_form = code is None or code == _OF_FILTERS or code in _REQUEST_CODES
        otherwise = "Fix the request and try again." if of_form else "If the reason does not help, ask its support."
    by_text = _ADVICE_BY_TEXT.get(code_and_msg(parse(answer.body))[1])
    return said, by_text or _ADVICE.get(code or 0) or _ADVICE_BY_STATUS.get(status) or otherwise


def are_cancel_reports(document: object) -> bool:
    """Return whether an answer has the documented form of cancel-all: order reports, and lists of such reports."""
    return isinstance(document, list) and all(
        isinstance(entry, dict)
        and (_are_reports(entry["orderReports"]) if "orderReports" in entry else "orderId" in entry)
        for entry in document
    )


def _are_reports(document: object) -> bool:
    """Return whether these are the reports of a list that was canceled: at least one of its orders was, then."""
    return (
        isinstance(document, list)
        and bool(document)
        and all(isinstance(entry, dict) and "orderId" in entry for entry in document)
    )


class _Unreadable:
    """A body that is not JSON: None would be null, which is JSON."""


_UNREADABLE = _Unreadable()


def parse(body: bytes | None) -> object:
    """Return a body as JSON, or `_UNREADABLE`."""
    try:
        return _UNREADABLE if body is None else _JSON.decode(body.decode(json.detect_encoding(body), "surrogatepass"))
    except (ValueError, RecursionError):
        return _UNREADABLE


def _redirects(status: int) -> bool:
    return HTTPStatus.MULTIPLE_CHOICES <= status < HTTPStatus.BAD_REQUEST


def _refuses(status: int, body: bytes | None, document: object) -> bool:
    """Return whether a status proves that nothing was carried out, even if no error code could be read.

    400 does not: its code may have been the engine's, which may have canceled some orders first. Neither does 404 if
    what is left of its body may have had a code; a whole page, or a document without a code, is another server's.
    """
    if status == HTTPStatus.NOT_FOUND:
        return body is not None and (document is not _UNREADABLE or not body.lstrip().startswith((b"{", b"[")))
    return _redirects(status) or status in RATE_LIMIT_STATUSES or status in {403, 405, 407, 451}


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_JSON = json.JSONDecoder(parse_constant=_refuse_constant)


def code_and_msg(document: object) -> tuple[int | None, str]:
    """Return the code and text of an error body."""
    # Refusals because of the country (451) have 0 here, which is not a code.
    if not isinstance(document, dict) or type(code := document.get("code")) is not int or not code:
        return None, ""
    msg = " ".join(str(document.get("msg", "")).split())
    return code, printable(msg[:300])
