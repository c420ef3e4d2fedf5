"""The thin signing core: stamp, encode, sign, send once.

`SpotClient` sends each request exactly once, and its errors say what may be believed afterwards. It knows nothing about
notebooks, tables or files.
"""

from __future__ import annotations

import math
import re
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Never, Self, cast
from urllib.parse import quote, urlsplit

from nbext.base_url import is_loopback, parse_base_url
from nbext.credentials import Credential, Secret, quoted, sealed
from nbext.errors import ConfigurationError, NotSentError, RateLimitedError, RejectedError
from nbext.spot import answers, signing
from nbext.spot.connections import ANSWER_SECONDS, CONNECT_SECONDS
from nbext.spot.parameters import Value, encode, parse_symbol, texts
from nbext.spot.scrubbing import scrub
from nbext.spot.transport import Unanswered, Wire
from nbext.version import __version__

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager
    from decimal import Decimal

    from nbext.spot.answers import Report
    from nbext.spot.transport import Answer


# What a clock may show, in milliseconds: 2001 to 5138. Anything else would stamp every request with nonsense.
_TIMES = range(10**12, 10**14)
# Until when each host wants no requests, on the monotonic clock, and with which status it said so. Limits are per IP
# address, so all clients of the process share them (API docs, "IP Limits").
_holds: dict[str, tuple[float, int]] = {}


def forget_holds() -> None:
    """Forget which hosts have asked to wait, as a new process would."""
    _holds.clear()


class SpotClient:
    """One exchange, one key: signs a request, sends it once, and classifies the answer.

    Parameters
    ----------
    base_url : str
        Base endpoint, such as ``https://api.binance.com``. Plain ``http`` only to loopback.
    profile : str, default "custom"
        Name that messages use for it.
    api_key, secret_key : str, optional
        A key and its HMAC secret key. Blanks and line ends around them are dropped.
    private_key : str, bytes or path, optional
        RSA or Ed25519 private key in PEM (PKCS#8), or the path of one, in place of `secret_key`.
    passphrase : str, optional
        For an encrypted `private_key`.
    credential : Credential, optional
        In place of these four.
    connect_timeout : float, default 3.0
        Seconds for connecting, TLS included.
    answer_timeout : float, default 12.0
        Seconds from sending to the last byte of the answer, however slowly it comes.

    Attributes
    ----------
    base_url, profile, host : str
    used_weight : int or None
        Request weight used in this minute, as the last answer said. None before the first.
    clock_offset : float or None
        Milliseconds that this machine's clock is behind the exchange's; None until measured.
    doubted : set of int
        Connections that delivered an answer to another request, so that none of their other answers proves anything.

    Raises
    ------
    ConfigurationError
        The base URL or the key is invalid.

    Notes
    -----
    Proxy and certificate settings are those of the environment at each request. Redirects are never followed,
    certificates always verified, and loopback is never proxied. A client may be used from several threads, and in a
    forked child, which opens connections of its own.
    """

    @sealed
    def __init__(
        self,
        base_url: str,
        *,
        profile: str = "custom",
        api_key: str | None = None,
        secret_key: str | None = None,
        private_key: str | bytes | os.PathLike[str] | None = None,
        passphrase: str | None = None,
        credential: Credential | None = None,
        connect_timeout: float = CONNECT_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
    ) -> None:
        self.profile, self.host = profile, ""
        self._api_key: Secret | None = None
        self._signing_key: signing.SigningKey | None = None
        self.base_url = parse_base_url(base_url)
        self.host = urlsplit(self.base_url).netloc
        self.used_weight: int | None = None
        self.clock_offset: float | None = None
        self.doubted: set[int] = set()
        self.connect_timeout, self.answer_timeout = connect_timeout, answer_timeout
        self._heard = threading.local()
        if credential is None:
            credential = Credential.taken(
                f"profile {quoted(profile)}",
                api_key=api_key,
                secret_key=secret_key,
                private_key=private_key,
                passphrase=passphrase,
            )
        self._credential = credential
        if credential is not None:
            self._api_key, self._signing_key = credential.api_key, _signing_key(credential)
        self._wire = Wire(
            self.base_url,
            {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": f"nbext/{__version__}"},
            proxied=not is_loopback(urlsplit(self.base_url).hostname or ""),
            connect_timeout=connect_timeout,
            answer_timeout=answer_timeout,
        )
        self.connect_ahead, self.kept_connected = self._wire.open_ahead, self._wire.kept_open

    def __repr__(self) -> str:
        key = "no key" if self._api_key is None else f"key ...{self.key_hint}"
        return f"<SpotClient {self.profile} {self.host}, {key}>"

    def __reduce__(self) -> Never:
        raise TypeError("a client cannot be pickled, since that would save its key")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The client can still be used, and opens new ones."""
        self._wire.close()

    def prepare(self) -> None:
        """Do what the first request would do before it connects."""
        self._wire.prepare()

    def written_out(self) -> dict[str, str | float | None]:
        """Return what makes the same client in another process, with its secrets as plain text.

        Call it where it is sent, from a `sealed` function, and do not keep the result.
        """
        whole = self._credential
        secrets = {
            name: None if (secret := getattr(whole, name, None)) is None else secret.reveal()
            for name in ("api_key", "secret_key", "private_key", "passphrase")
        }
        return {"base_url": self.base_url, "profile": self.profile, "clock_offset": self.clock_offset, **secrets}

    @classmethod
    @sealed
    def from_written(cls, written: Mapping[str, Any]) -> Self:
        """Make the client that `written_out` describes."""
        arguments = dict(written)
        offset = arguments.pop("clock_offset")
        client = cls(arguments.pop("base_url"), **arguments)
        client.clock_offset = offset
        return client

    @property
    def key_hint(self) -> str:
        """The last four characters of the API key, never more; empty without a key."""
        return "" if self._api_key is None else self._api_key.reveal()[-4:]

    def fingerprint(self, salt: bytes) -> str:
        """Return a fingerprint that identifies this API key without revealing it; empty without a key."""
        import hmac

        return (
            "" if self._api_key is None else hmac.new(salt, self._api_key.reveal().encode(), "sha256").hexdigest()[:32]
        )

    @property
    def key_kind(self) -> str:
        """``HMAC``, ``RSA`` or ``Ed25519``; empty without a key."""
        return "" if self._signing_key is None else self._signing_key.kind

    @property
    def key_source(self) -> str:
        """Where the key was given, such as ``the environment``; empty if that is not known."""
        return "" if self._credential is None else self._credential.source

    @property
    def held_for(self) -> float:
        """Seconds until this host accepts requests again (429 or 418); 0 if it has not asked to wait."""
        return max(0.0, _holds.get(self.host, (0.0, 0))[0] - time.monotonic())

    @property
    def is_banned(self) -> bool:
        """Whether that was 418, after which nothing is sent again automatically."""
        return bool(self.held_for) and _holds[self.host][1] != HTTPStatus.TOO_MANY_REQUESTS

    def now(self) -> int:
        """Return the exchange's time in milliseconds, as far as its clock has been measured."""
        return time.time_ns() // 1_000_000 + round(self.clock_offset or 0)

    def until(self, moment: float) -> AbstractContextManager[None]:
        """End each request of this thread at a given moment, name lookup to last byte included.

        Parameters
        ----------
        moment : float
            On the monotonic clock (`time.monotonic`). In nested blocks, the earlier one counts.
        """
        return self.within({"until": min(moment, self.limits["until"] or math.inf)})

    def unless(self, called_off: Callable[[], bool]) -> AbstractContextManager[None]:
        """Send no request of this thread that has been called off before it is written.

        Parameters
        ----------
        called_off : callable
            Called just before a request is written.
        """
        return self.within({"unless": called_off})

    @property
    def limits(self) -> dict[str, Any]:
        """What bounds the requests of this thread; `within` has another thread keep it."""
        return {name: getattr(self._heard, name, None) for name in ("until", "unless")}

    @contextmanager
    def within(self, limits: Mapping[str, Any]) -> Iterator[None]:
        """Keep limits on this thread."""
        before = self.limits
        vars(self._heard).update(limits)
        try:
            yield
        finally:
            vars(self._heard).update(before)

    def heard(self) -> tuple[int | None, bytes | None]:
        """Status and body of the last answer on this thread, with secrets hidden; None if there was none."""
        answer: Answer | None = getattr(self._heard, "answer", None)
        return (None, None) if answer is None else (answer.status, answer.body)

    @property
    def heard_on(self) -> int | None:
        """The connection that delivered the last answer on this thread; None if there was none."""
        answer: Answer | None = getattr(self._heard, "answer", None)
        return None if answer is None else answer.connection

    def cancel_open_orders(self, symbol: str, *, recv_window: str | float | Decimal | None = None) -> list[Report]:
        """Cancel every open order on a symbol, order lists included. Sent exactly once.

        ``DELETE /api/v3/openOrders`` (API docs, "Cancel All Open Orders on a Symbol"; weight 1, TRADE).

        Parameters
        ----------
        symbol : str
            As `parse_symbol` takes it.
        recv_window : str, int, float or Decimal, optional
            Milliseconds, at most 60000 with at most three decimals, sent as written. The exchange's default is 5000.

        Returns
        -------
        list of dict
            The reports as the exchange sent them: a cancel report for a single order, an object with
            ``orderReports`` for an order list. Empty when nothing was open.

        Raises
        ------
        ConfigurationError, NotSentError, RejectedError, RateLimitedError
            No orders were changed.
        OutcomeUnknownError
            The cancel may have been carried out, or may still be.
        """
        return self.cancel("/api/v3/openOrders", {"symbol": parse_symbol(symbol)}, recv_window=recv_window)

    def cancel(
        self, path: str, params: Mapping[str, Value], *, recv_window: str | float | Decimal | None = None
    ) -> list[Report]:
        """Cancel through any endpoint that cancels. Sent exactly once.

        Parameters
        ----------
        path : str
            ``/api/v3/openOrders``, ``/api/v3/order`` or ``/api/v3/orderList`` (API docs, "Trading endpoints").
        params : mapping
            Wire parameters that name what to cancel.
        recv_window : str, int, float or Decimal, optional
            As in `cancel_open_orders`.

        Returns
        -------
        list of dict
            As `cancel_open_orders` returns. Empty when there was nothing to cancel.

        Raises
        ------
        ConfigurationError, NotSentError, RejectedError, RateLimitedError
            No orders were changed.
        OutcomeUnknownError
            The cancel may have been carried out, or may still be.
        """
        params = {**params, "recvWindow": recv_window}
        try:
            answer = self.request("DELETE", path, params)
        except RejectedError as refused:
            # How the live service says that nothing was open.
            if (refused.code, refused.msg) == answers.NOTHING_OPEN:
                return []
            raise
        reports = [answer] if isinstance(answer, dict) else answer  # one order, or one list, comes by itself
        if answers.are_cancel_reports(reports) and (isinstance(answer, list) is (path == "/api/v3/openOrders")):
            return cast("list[Report]", reports)
        problem = "the answer is not in the documented form"
        raise answers.unanswered("DELETE", self._where("DELETE", path, params), problem)

    def request(
        self,
        method: str,
        path: str,
        params: Mapping[str, Value] | None = None,
        *,
        signed: bool = True,
    ) -> Any:
        """Send a request to any endpoint below ``/api/``, once.

        Parameters
        ----------
        method : {"GET", "POST", "PUT", "DELETE"}
        path : str
            Such as ``/api/v3/order``.
        params : mapping, optional
            Parameters by wire name, in the order to send; None values are left out, lists become JSON arrays.
            ``timestamp`` and ``signature`` are added, not given.
        signed : bool, default True
            Whether the endpoint wants a key and a signature.

        Returns
        -------
        object
            The parsed JSON body.

        Raises
        ------
        ConfigurationError
            An argument or the key is invalid. Nothing was sent.
        NotSentError
            No connection. For GET also: no answer.
        RejectedError, RateLimitedError
            The exchange refused. For GET also: no usable answer.
        OutcomeUnknownError
            Never for GET: sent, and the outcome is not known.
        """
        self._heard.answer = None
        asked = texts(params or {})
        method, query = str(method).upper(), encode(asked)
        _require_request(method, path, query, signed=signed)
        where = self._where(method, path, asked)
        self._refuse_while_held(where)
        return self._ask(method, path, query, where, asked, signed=signed)

    @sealed  # its frames hold the signed URL, the headers and what a proxy echoed
    def _ask(self, method: str, path: str, query: str, where: str, asked: Mapping[str, str], *, signed: bool) -> Any:
        signature, headers = "", None
        if signed:
            if self._signing_key is None or self._api_key is None:
                raise ConfigurationError(
                    f"{where}: profile {self.profile!r} has no key; nothing was sent. "
                    "Set BINANCE_API_KEY with BINANCE_API_SECRET or BINANCE_PRIVATE_KEY."
                )
            stamp = f"timestamp={self.now()}"
            query = f"{query}&{stamp}" if query else stamp
            signature = self._signing_key.sign(query.encode("ascii"))
            query = f"{query}&signature={quote(signature, safe='')}"
            headers = {"X-MBX-APIKEY": self._api_key.reveal()}
        answer = self._send(method, f"{path}?{query}" if query else path, where, headers)
        if answer.body is not None:  # a proxy may have echoed secrets
            key = "" if self._api_key is None else self._api_key.reveal()
            answer = replace(answer, body=scrub(answer.body, (signature, key)))
        self._heard.answer = answer
        document = answers.parse(answer.body)
        if answer.status == HTTPStatus.OK and (astray := answers.contradicts_request(method, path, asked, document)):
            self.doubted.add(answer.connection)
            self._wire.distrust(answer.connection)
            raise answers.unrelated(method, where, answer.status, f"the answer is about {astray}")
        return answers.accept(answer, document, method, where, self.now())

    def measure_clock_offset(self, samples: int = 5) -> float:
        """Measure by how much this machine's clock is behind the exchange's, and stamp requests accordingly.

        Asks ``GET /api/v3/time`` several times and trusts the fastest answer.

        Returns
        -------
        float
            Milliseconds to add to this machine's clock. Also kept as `clock_offset`.

        Raises
        ------
        NotSentError, RejectedError, RateLimitedError
            The exchange did not tell the time.
        """
        measured: list[tuple[float, float]] = []
        for _ in range(samples):
            began, at = time.monotonic(), time.time()
            answer = self.request("GET", "/api/v3/time", signed=False)
            took = time.monotonic() - began
            told = answer.get("serverTime") if isinstance(answer, dict) else None
            if type(told) is not int or told not in _TIMES:
                raise RejectedError(f"{self.host} did not return its time; no orders were changed. Check the base URL.")
            measured.append((took, told - (at + took / 2) * 1000))
        self.clock_offset = min(measured)[1]
        return self.clock_offset

    def _where(self, method: str, path: str, params: Mapping[str, Value]) -> str:
        subject = params.get("symbol") or f"{method} {path}"
        return f"{subject} on {self.profile} ({self.host})"

    def _refuse_while_held(self, where: str) -> None:
        if held := self.held_for:
            raise RateLimitedError(
                f"{where}: not sent, because the exchange asked to wait; no orders were changed. "
                f"Try again in {math.ceil(held)} s.",
                http_status=_holds[self.host][1],
                retry_after=held,
            )

    def _send(self, method: str, target: str, where: str, headers: Mapping[str, str] | None) -> Answer:
        try:
            answer = self._wire.send(method, target, headers, **self.limits)
        except Unanswered as lost:
            if lost.mixed_up is not None:
                self.doubted.add(lost.mixed_up)
            if lost.written:
                raise answers.unanswered(method, where, lost.reason) from None
            said = f"{where}: not sent, because {lost.reason}; no orders were changed. {lost.advice}"
            raise NotSentError(said) from None
        self._note(answer)
        return answer

    def _note(self, answer: Answer) -> None:
        """Note what an answer says about limits."""
        weight = answer.headers.get("X-MBX-USED-WEIGHT-1M", "")
        if weight.isdecimal():
            self.used_weight = int(weight)
        if answer.status in answers.RATE_LIMIT_STATUSES:
            msg = answers.code_and_msg(answers.parse(answer.body))[1]
            wait = answers.wait_asked(answer.status, answer.headers, msg, self.now())
            _holds[self.host] = max(_holds.get(self.host, (0.0, 0)), (time.monotonic() + wait, answer.status))


def _signing_key(credential: Credential) -> signing.SigningKey:
    """Make the key that signs.

    Raises
    ------
    ConfigurationError
        It cannot sign.
    """
    try:
        signing.require_api_key(credential.api_key.reveal())
        if credential.private_key is not None:
            passphrase = credential.passphrase
            return signing.private_key(
                credential.private_key.reveal().encode(), None if passphrase is None else passphrase.reveal()
            )
        return signing.hmac_key("" if credential.secret_key is None else credential.secret_key.reveal())
    except ValueError as error:
        flaw = str(error)
    raise ConfigurationError(f"unusable credential: {flaw}; nothing was sent. Correct it.")


def _require_request(method: str, path: object, query: str, *, signed: bool) -> None:
    flaw = ""
    if method not in {"GET", "POST", "PUT", "DELETE"}:
        flaw = f"{method!r} is not a method of this API"
    elif not (isinstance(path, str) and re.fullmatch(r"/api(/[A-Za-z0-9]+)+", path)):
        flaw = f"{path!r} is not a path below /api/"
    elif signed and re.search(r"(^|&)(timestamp|signature)=", query):
        flaw = "timestamp and signature are added, not given"
    if flaw:
        raise ConfigurationError(f"{flaw}; nothing was sent. Correct the call.")
