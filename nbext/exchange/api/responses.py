"""HTTP responses: status, headers and body of replies and refusals, as the dialect has them."""

from __future__ import annotations

import re
from email.utils import formatdate
from functools import lru_cache
from random import getrandbits
from string import printable
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from nbext.exchange.api.replies import Json, write
from nbext.exchange.api.shapes import shaped
from nbext.exchange.dialect import Dialect
from nbext.exchange.engine.limits import SECOND, Banned

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange.engine.refusals import Refusal

JSON_TYPE = "application/json;charset=UTF-8"
BANNED = 418
LONGEST_PATH = 200
_BAN_END = re.compile(rb" until [0-9]+")
# The dialect's status for refusals unless named here.
STATUS = {-2021: 409}
KEY_CODES = frozenset({-2014, -2015})
ILLEGAL = -1100
PLAIN = Dialect()

# Status and text by code (rule: server-error-status).
UNKNOWN_OUTCOMES = {
    -1000: (500, "An unknown error occurred while processing the request."),
    -1001: (500, "Internal error; unable to process your request. Please try again."),
    -1006: (500, "An unexpected response was received from the message bus. Execution status unknown."),
    -1007: (
        504,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    -1008: (503, "Server is currently overloaded with other requests. Please try again in a few minutes."),
}


def answer_id() -> str:
    """Return an id for an answer, in the form of a UUID."""
    digits = f"{getrandbits(128):032x}"  # uuid.uuid4 asks the system for each, and takes five times as long
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


@lru_cache(maxsize=1)
def http_date(seconds: int) -> str:
    """Return a moment as HTTP's headers have it; most answers go out in the same second as the one before."""
    return formatdate(seconds, usegmt=True)


def error_status(code: int, dialect: Dialect) -> int:
    """Return the HTTP status of a fault on the exchange's side."""
    return UNKNOWN_OUTCOMES[code][0] if dialect.server_error_status == "split" else int(dialect.server_error_status)


class Response(NamedTuple):
    """An HTTP response, ready to be sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


def unserved(path: str) -> Response:
    """Return the response to a request for what this exchange does not have (rule: unserved-paths)."""
    named = quote(path if len(path) <= LONGEST_PATH else path[:LONGEST_PATH] + "...", printable, "latin-1")
    body = {"code": -1020, "msg": f"This practice exchange does not serve {named}."}
    return Response(404, write(body).encode(), {"Content-Type": JSON_TYPE})


def refused(refusal: Refusal, dialect: Dialect = PLAIN, call: str = "") -> Response:
    """Return the response to a refusal: its documented body, and the dialect's status."""
    headers = {"Content-Type": JSON_TYPE}
    body, status = refusal.body, STATUS.get(refusal.code, dialect.refusal_status)
    if refusal.code in KEY_CODES:
        status = dialect.key_status
    elif refusal.code == ILLEGAL and "parameter 'symbol'" in refusal.text and dialect.lower_case_symbol != ILLEGAL:
        body = {"code": dialect.lower_case_symbol, "msg": "Invalid symbol."}
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
        status = 418 if isinstance(refusal, Banned) else 429
    return Response(status, to_json(shaped(call, body, dialect)), headers)


def unknown_outcome(code: int, dialect: Dialect) -> Response:
    """Return the response for an unknown outcome or a failure of the exchange itself."""
    _, text = UNKNOWN_OUTCOMES[code]
    status = error_status(code, dialect)
    return Response(status, to_json({"code": code, "msg": text}), {"Content-Type": JSON_TYPE})


def to_json(reply: object) -> bytes:
    """Write a JSON document as the wire has it."""
    return (reply if isinstance(reply, Json) else write(reply)).encode()


def held_back(response: Response, dialect: Dialect, now: int) -> Response:
    """Return a 429 or 418 in the form that the dialect has for it (rule: retry-after, ban-status, ban-end)."""
    headers, body, status = dict(response.headers), response.body, response.status
    is_ban = status == BANNED
    seconds = headers.get("Retry-After", "")
    if seconds.isdecimal():  # no text that a fault has asked for
        form = _retry_after(int(seconds), dialect, now)
        del headers["Retry-After"]
        if form is not None and not (is_ban and dialect.ban_end == "text"):
            headers["Retry-After"] = form
    if is_ban:
        status = dialect.ban_status
        if dialect.ban_end == "header":
            body = _BAN_END.sub(b"", body)
    return Response(status, body, headers)


def _retry_after(seconds: int, dialect: Dialect, now: int) -> str | None:
    when = now / SECOND + seconds
    forms = {
        "seconds": str(seconds),
        "zero": "0",
        "fraction": f"{seconds - 0.5}",
        "date": formatdate(when, usegmt=True),
        "negative": f"{-seconds}",
        "absurd": str(10**10),
        "words": "soon",
    }
    return forms.get(dialect.retry_after)
