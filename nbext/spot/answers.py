"""What an answer proves: whether it is about what was asked, whether it contradicts itself, and how long to wait.

A field that is missing contradicts nothing, since the exchange may leave fields out. One that says something else does:
the answer then belongs to another request, and so may every other answer on its connection.
"""

from __future__ import annotations

import math
import re
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SHORTEST_WAIT = 1.0
# The API docs ("IP Limits") count weights by the minute, and have bans last from 2 minutes to 3 days. A host that says
# nothing usable of how long is left alone for the longest that a full minute can last, or for the shortest ban.
UNTOLD_WAITS = {429: 60.0, 418: 120.0}
LONGEST_WAIT = 3 * 86400.0

_REPORTED = frozenset({"orderId", "orderListId", "orderReports", "clientOrderId", "transactTime", "cancelResult"})
_ENGINE_CODES = range(-2999, -2000 + 1)
# The codes of that range that the API answers itself, before the engine has seen anything (API docs, "Error codes").
_KEY_CODES = frozenset({-2008, -2014, -2015, -2017})


def identifier(value: object) -> int | None:
    """Return an id as a number, also where it was sent as text; None for what is no id."""
    if type(value) is int:
        return value
    if isinstance(value, str) and re.fullmatch(r"-?[0-9]{1,19}", value):
        return int(value)
    return None


def of_the_engine(code: int | None) -> bool:
    """Return whether an error code comes from the engine: then the request has reached it, and some of it may be done.

    -1013 and -1010 pass on what the engine refused (API docs, "Error codes"); most other codes from -1000 on are the
    API's own, and prove that the engine never saw the request.
    """
    return code in {-1010, -1013} or (code in _ENGINE_CODES and code not in _KEY_CODES)


def contradicts_request(method: str, path: str, asked: Mapping[str, Any], document: object) -> str:
    """Return what an answer is about, where that is not what was asked; empty where nothing contradicts.

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
    entries = document if isinstance(document, list) else [document]
    orders: list[Mapping[str, Any]] = [entry for entry in entries if isinstance(entry, dict)]
    for entry in list(orders):
        if "orderReports" in entry or "orders" in entry:
            orders += _legs(entry)
    symbol = asked.get("symbol")
    if symbol is not None and any(entry.get("symbol", symbol) not in (symbol, None) for entry in orders):
        return "another symbol"
    mark, marks = _QUERIED if method == "DELETE" else _CANCELED
    if any(mark in entry and not marks.intersection(entry) for entry in orders):
        return "what is open, and not about a cancel" if method == "DELETE" else "a cancel, and not about what is open"
    if path.endswith("/order") and (wanted := identifier(asked.get("orderId"))) is not None:
        ids = [entry["orderId"] for entry in orders if entry.get("orderId") is not None]
        if ids and all(identifier(found) != wanted for found in ids):
            return "another order"
    if path.endswith("/orderList") and (wanted := identifier(asked.get("orderListId"))) is not None:
        lists = [entry.get("orderListId") for entry in entries if isinstance(entry, dict)]
        if any(found is not None and identifier(found) != wanted for found in lists):
            return "another order list"
    return ""


# What only a query has, and only a report of a cancel, so that one is not taken for the other.
_QUERIED = "isWorking", frozenset({"transactTime", "origClientOrderId"})
_CANCELED = "transactTime", frozenset({"time", "updateTime", "isWorking"})
_CHECKED = frozenset(
    {
        *(("DELETE", name) for name in ("openOrders", "order", "orderList")),
        *(("GET", name) for name in ("openOrders", "allOrders", "order", "orderList")),
    }
)


def _legs(order_list: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = (order_list.get(name) for name in ("orderReports", "orders"))
    return [leg for legs in named if isinstance(legs, list) for leg in legs if isinstance(leg, dict)]


def contradicts_status(status: int, document: object, code: int | None) -> bool:
    """Return whether a body says something else than its status: a report below 4XX, or an error below 200.

    Parameters
    ----------
    status : int
    document : object
        The parsed body, of any kind.
    code : int or None
        The error code that it holds.
    """
    if status == 200:  # noqa: PLR2004 - OK
        return code is not None and code < 0 and not _REPORTED.intersection(_names(document))
    if isinstance(document, list):
        return True
    if _REPORTED.intersection(_names(document)):
        return True
    # What the engine said, below a status with which nothing gets as far as the engine.
    return (status in {418, 429} or 300 <= status < 400) and of_the_engine(code)  # noqa: PLR2004 - redirects


def _names(document: object) -> Iterable[str]:
    return document if isinstance(document, dict) else ()


def wait_asked(status: int, headers: Mapping[str, str], msg: str, now: float) -> float:
    """Return for how many seconds a host that limits requests is left alone.

    Parameters
    ----------
    status : int
        429 or 418.
    headers : Mapping
        ``Retry-After`` as seconds or as a date (RFC 9110), and ``Date``, by which the host reckons.
    msg : str
        May name the end of a ban: ``IP banned until 1573549110000``, in milliseconds.
    now : float
        The exchange's time in milliseconds, as far as known, where there is no ``Date``.

    Returns
    -------
    float
        At least `SHORTEST_WAIT`, at most `LONGEST_WAIT`; the longer one where header and text differ.
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
