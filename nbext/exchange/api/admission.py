"""Admission to the engine: keys, signatures, timing, limits and parameters (rule: request-security).

The bytes are checked as they arrived. Checks run in a fixed order, cheap ones first (rule: checks); a request that
passes becomes a `Call`.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import re
import sys
from dataclasses import dataclass, field, replace
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import unquote_plus

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

from nbext.exchange.api.endpoints import MAX_INTEGER, MAX_SYMBOLS
from nbext.exchange.dialect import Dialect
from nbext.exchange.engine import refusals
from nbext.exchange.engine.limits import SECOND, Caller, RequestLimits
from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbext.exchange.api.endpoints import Endpoint, Value

    Verifier = Callable[[bytes, str], bool]  # payload and signature text -> whether it is genuine

MILLISECOND = 1000
TIMING_NAMES = ("recvWindow", "timestamp", "signature")
DEFAULT_RECV_WINDOW = 5_000 * MILLISECOND
MAX_RECV_WINDOW = 60_000
MAX_PAIRS = 100  # more than twice what any endpoint takes; beyond this nothing is read
MAX_CALLERS = 256
# Refusing a request costs as much as answering one of this weight.
CHEAP = 4
# From here on a time parameter is read as microseconds (rule: time-units).
LEAST_MICROSECONDS = 10**14
MICROSECOND_WORDS = frozenset({"MICROSECOND", "microsecond"})
MILLISECOND_WORDS = frozenset({"MILLISECOND", "millisecond"})

_KEY_FORM = re.compile(r"[A-Za-z0-9]{64}", re.ASCII)
_DIGITS = re.compile(r"[0-9]{1,20}", re.ASCII)
_WINDOW_FORM = re.compile(r"([0-9]{1,20})(?:\.([0-9]{1,20}))?", re.ASCII)


class Request(NamedTuple):
    """One request as it arrived."""

    query: bytes
    body: bytes
    headers: Mapping[str, str]
    address: str = "127.0.0.1"


@dataclass(slots=True)
class Key:
    """What an API key may do, and how its signatures are checked."""

    account: str
    can_trade: bool
    verifiers: list[Verifier] = field(default_factory=list, repr=False)


class Call(NamedTuple):
    """A request that may go to the engine."""

    endpoint: Endpoint
    params: dict[str, Value]
    account: str
    can_trade: bool
    unit: int
    weight: int
    caller: Caller | None = None
    timestamp: int = 0
    recv_window: int = 0


def hmac_verifier(secret_key: str) -> Verifier:
    """Return a check for HMAC-SHA-256 signatures in hex, upper or lower case (rule: key-kinds)."""
    keyed = hmac.new(secret_key.encode(), digestmod="sha256")

    def verify(payload: bytes, signature: str) -> bool:
        mac = keyed.copy()
        mac.update(payload)
        return hmac.compare_digest(mac.hexdigest().encode(), signature.lower().encode())

    return verify


def public_key_verifier(pem: bytes) -> Verifier:
    """Return a check for RSA (PKCS1-v1_5, SHA-256) or Ed25519 signatures in base64.

    Raises
    ------
    ValueError
        If the PEM has neither kind of public key.
    """
    key = serialization.load_pem_public_key(pem)
    if isinstance(key, ed25519.Ed25519PublicKey):
        check = key.verify
    elif isinstance(key, rsa.RSAPublicKey):
        check = partial(_check_rsa, key)
    else:
        raise ValueError("a public key must be RSA or Ed25519")  # noqa: TRY004 - the text is wrong, not its type

    def verify(payload: bytes, signature: str) -> bool:
        try:
            check(base64.b64decode(signature, validate=True), payload)
        except (InvalidSignature, binascii.Error, ValueError):
            return False
        return True

    return verify


def _check_rsa(key: rsa.RSAPublicKey, signature: bytes, payload: bytes) -> None:
    key.verify(signature, payload, padding.PKCS1v15(), hashes.SHA256())


def split_pairs(raw: bytes) -> tuple[dict[str, str], list[bytes]]:
    """Read ``name=value`` pairs; return them decoded, and the raw ones that are signed.

    The signature may stand anywhere; its pair and one ``&`` are dropped (rule: signature-place).
    """
    values: dict[str, str] = {}
    signed = []
    if raw.count(b"&") > MAX_PAIRS:
        raise Refusal(-1101, f"Too many parameters; expected '{MAX_PAIRS}' and received '{raw.count(b'&') + 1}'.")
    # Bytes that are not text become a mark that no pattern allows; no ampersand is lost to them.
    decode = _unquote if b"%" in raw or b"+" in raw else str
    for pair, text in zip(raw.split(b"&"), raw.decode("utf-8", "replace").split("&"), strict=True) if raw else ():
        coded_name, _, coded_value = text.partition("=")
        name = decode(coded_name)
        if name != "signature":
            signed.append(pair)
        if not pair:
            continue
        if name in values:
            # Twice in one place is an error; once in the query and once in the body is not (rule: names-twice).
            raise Refusal(-1101, "Duplicate values for a parameter detected.")
        values[name] = decode(coded_value)
    return values, signed


_unquote = partial(unquote_plus, errors="replace")


class Admission:
    """Decides which requests reach the engine.

    Parameters
    ----------
    clock : callable
        Returns the time in microseconds.
    limits : RequestLimits, optional
        What each address may ask for.
    """

    def __init__(self, clock: Callable[[], int], limits: RequestLimits | None = None) -> None:
        self._clock = clock
        self.limits = limits or RequestLimits()
        self.dialect = Dialect()
        self.keys: dict[str, Key] = {}
        self._callers: dict[str, Caller] = {}
        self._anonymous = Caller(replace(self.limits, patience=sys.maxsize))

    def caller(self, request: Request) -> Caller:
        """Return the count for the address that a request comes from.

        Requests without a key of this exchange, such as those of a page in a browser, share limits of their own and are
        never banned, so they are in no other caller's way (rule: strangers).
        """
        if request.headers.get("X-MBX-APIKEY") not in self.keys:
            return self._anonymous
        address = request.address
        caller = self._callers.get(address)
        if caller is None:
            if len(self._callers) == MAX_CALLERS:
                # The whole of 127.0.0.0/8 is loopback: the oldest address makes room.
                del self._callers[next(iter(self._callers))]
            patient = self.dialect.limit_order == "limit_first"
            limits = self.limits if patient else replace(self.limits, patience=0)
            caller = self._callers[address] = Caller(limits)
        return caller

    def forget_callers(self) -> None:
        """Lift every ban and count from zero again."""
        self._callers.clear()
        self._anonymous = Caller(replace(self.limits, patience=sys.maxsize))

    def count_request(self, request: Request) -> None:
        """Count a request against the limits of its address, before anything else."""
        if (caller := self.caller(request)) is not self._anonymous:
            caller.count_request(self._clock())

    def admit(self, endpoint: Endpoint, request: Request) -> Call:
        """Check a request and read its parameters.

        Raises
        ------
        Refusal
            With the documented code and text of the first thing that is wrong.
        """
        now = self._clock()
        query, query_signed = split_pairs(request.query)
        body: dict[str, str] = {}
        body_signed: list[bytes] = []
        # A GET is its query only (rule: body-of-get).
        if request.body and endpoint.method != "GET" and _is_form(request.headers):
            body, body_signed = split_pairs(request.body)
        values = body | query  # rule: parameter-places
        weight = weigh(endpoint, values)
        caller = self.caller(request)
        if caller is not self._anonymous or (weight > CHEAP and not endpoint.is_signed):
            is_checked = not (endpoint.is_free and self.dialect.weight_refund == "never_counted")
            caller.spend(weight, now, is_checked=is_checked)
        headers = request.headers
        # Tested first: `get` of a missing header, as it nearly always is, goes through an exception.
        unit = time_unit(headers["X-MBX-TIME-UNIT"]) if "X-MBX-TIME-UNIT" in headers else MILLISECOND
        if not endpoint.is_signed:
            params = read(endpoint, values, is_signed=False)
            return Call(endpoint, params, "", can_trade=False, unit=unit, weight=weight, caller=caller)
        api_key = headers.get("X-MBX-APIKEY", "")
        key = self.keys.get(api_key)
        if key is None and not _KEY_FORM.fullmatch(api_key):
            raise Refusal(-2014, "API-key format invalid.")  # rule: missing-key
        params = read(endpoint, values, is_signed=True)
        recv_window = read_recv_window(values.get("recvWindow"))
        timestamp = read_time(values["timestamp"])
        check_arrival(timestamp, recv_window, now)
        refuses_to_read = self.dialect.key_reads == "refused" and endpoint.security == "USER_DATA"
        if key is None or (endpoint.security == "TRADE" and not key.can_trade) or (refuses_to_read and key.can_trade):
            raise Refusal(-2015, "Invalid API-key, IP, or permissions for action.")
        # Joined without a separator (rule: signature-payload).
        payload = b"&".join(query_signed) + b"&".join(body_signed)
        signature = values["signature"]
        if not any(verify(payload, signature) for verify in key.verifiers):
            raise Refusal(-1022, "Signature for this request is not valid.")
        return Call(endpoint, params, key.account, key.can_trade, unit, weight, caller, timestamp, recv_window)

    def check_departure(self, call: Call) -> None:
        """Check the age of a signed request once more, just before the engine (rule: timing)."""
        if call.endpoint.is_signed:
            _check_age(call.timestamp, call.recv_window, self._clock())

    def refund(self, call: Call) -> None:
        """Refund the weight of a trade request that succeeded (rule: free-trades)."""
        if call.endpoint.is_free and call.caller is not None:
            call.caller.weight.add(-call.weight, self._clock())

    def used_weight(self, request: Request) -> int:
        """Return the weight used in this minute by the address of a request."""
        return self.caller(request).weight.at(self._clock())


def _is_form(headers: Mapping[str, str]) -> bool:
    kind = headers.get("Content-Type")
    return kind is None or kind.partition(";")[0].strip().lower() == "application/x-www-form-urlencoded"


def time_unit(word: str) -> int:
    """Return the requested unit of the reply's times, in microseconds (rule: reply-time-unit)."""
    if word in MILLISECOND_WORDS:
        return MILLISECOND
    if word in MICROSECOND_WORDS:
        return 1
    # No other spelling (rule: time-unit-header).
    raise Refusal(-1194, "Invalid value for time unit; expected either MICROSECOND or MILLISECOND.")


def read(endpoint: Endpoint, values: Mapping[str, str], *, is_signed: bool) -> dict[str, Value]:
    """Count, name-check and read parameters (rule: parameter-errors); `Admission` reads the timing ones."""
    readers = endpoint.readers
    timing = TIMING_NAMES if is_signed else ()
    expected = len(readers) + len(timing)
    if len(values) > expected:
        raise Refusal(-1101, f"Too many parameters; expected '{expected}' and received '{len(values)}'.")
    foreign = [name for name in values if name not in readers and name not in timing]
    if foreign:
        known = len(values) - len(foreign)
        text = f"Not all sent parameters were read; read '{known}' parameter(s) but was sent '{len(values)}'."
        raise Refusal(-1104, text)
    mandatory = (*endpoint.mandatory, *timing[1:])
    for name in mandatory:
        if not values.get(name):
            raise refusals.mandatory(name)
    params = {}
    for name, value in values.items():
        if not value:
            raise Refusal(-1105, f"Parameter '{name}' was empty.")
        if name in readers:
            params[name] = readers[name](name, value)
    return params


def read_recv_window(value: str | None) -> int:
    """Read ``recvWindow``: milliseconds with up to three decimals; return microseconds (rule: recv-window)."""
    if value is None:
        return DEFAULT_RECV_WINDOW
    form = _WINDOW_FORM.fullmatch(value)
    if form is None:
        raise _illegal("recvWindow", r"^([0-9]{1,20})(\.[0-9]{1,20})?$")
    if len((form[2] or "").rstrip("0")) > len("000"):
        raise Refusal(-1111, "Parameter 'recvWindow' has too much precision.")
    milliseconds = Decimal(value)
    if milliseconds > MAX_RECV_WINDOW:
        raise Refusal(-1102, f"'recvWindow' contains unexpected value. Cannot be greater than {MAX_RECV_WINDOW}.")
    return int(milliseconds * MILLISECOND)


def read_time(value: str) -> int:
    """Read a time parameter in milliseconds or microseconds; return microseconds."""
    if not _DIGITS.fullmatch(value):
        raise _illegal("timestamp", "^[0-9]{1,20}$")
    number = int(value)
    if number > MAX_INTEGER:
        raise Refusal(-1108, "Parameter 'timestamp' overflowed.")
    return to_microseconds(number)


def to_microseconds(number: int) -> int:
    """Return a time as microseconds, whichever unit it came in."""
    return number if number >= LEAST_MICROSECONDS else number * MILLISECOND


def check_arrival(timestamp: int, recv_window: int, now: int) -> None:
    """Refuse a request from the future or from too far back (rule: timing)."""
    # The future bound is strict, the age bound inclusive. Far off either way is the same (rule: far-timestamps).
    if timestamp >= now + SECOND:
        raise Refusal(-1021, "Timestamp for this request was 1000ms ahead of the server's time.")
    _check_age(timestamp, recv_window, now)


def _check_age(timestamp: int, recv_window: int, now: int) -> None:
    if now - timestamp > recv_window:
        raise Refusal(-1021, "Timestamp for this request is outside of the recvWindow.")


def _illegal(name: str, legal: str) -> Refusal:
    return Refusal(-1100, f"Illegal characters found in parameter '{name}'; legal range is '{legal}'.")


def weigh(endpoint: Endpoint, values: Mapping[str, str]) -> int:
    """Return what a call weighs with these parameters (rule: weights)."""
    weigher = _WEIGHERS.get(endpoint.name)
    return endpoint.weight if weigher is None else weigher(values)


def _weigh_depth(values: Mapping[str, str]) -> int:
    limit = values.get("limit", "100")
    wanted = int(limit) if _DIGITS.fullmatch(limit) else 0
    for up_to, weight in ((100, 5), (500, 25), (1000, 50)):
        if wanted <= up_to:
            return weight
    return 250


def _weigh_day_ticker(values: Mapping[str, str]) -> int:
    if "symbol" in values:
        return 2
    wanted = values["symbols"].count(",") + 1 if "symbols" in values else MAX_SYMBOLS + 1
    for up_to, weight in ((20, 2), (MAX_SYMBOLS, 40)):
        if wanted <= up_to:
            return weight
    return 80


def _weigh_window(values: Mapping[str, str]) -> int:
    """Each symbol weighs 4, all together 200 at most (rule: weights)."""
    return min(4 * (values["symbols"].count(",") + 1), 200) if "symbols" in values else 4


_WEIGHERS: dict[str, Callable[[Mapping[str, str]], int]] = {
    "openOrders": lambda values: 6 if "symbol" in values else 80,
    "depth": _weigh_depth,
    "ticker/24hr": _weigh_day_ticker,
    "ticker/price": lambda values: 2 if "symbol" in values else 4,
    "ticker/bookTicker": lambda values: 2 if "symbol" in values else 4,
    "ticker": _weigh_window,
    "ticker/tradingDay": _weigh_window,
    "myPreventedMatches": lambda values: 20 if "orderId" in values else 2,
    "myTrades": lambda values: 5 if "orderId" in values else 20,
    "test": lambda values: 20 if values.get("computeCommissionRates") == "true" else 1,
}
