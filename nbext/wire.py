"""One request, one answer, one deadline, and certainty about whether anything went out.

requests reads the environment and opens the way: proxies, certificates, the pool of connections. That is done once;
each call then goes straight to the pool, which is urllib3's, since preparing a request anew takes longer than sending
it. What both leave open is added on the connections: a timeout there starts anew with every byte received, and no
exception tells whether the request had left. Nothing is ever sent twice, and redirects are not followed.
"""

from __future__ import annotations

import http.client
import io
import itertools
import logging
import math
import os
import re
import socket
import ssl
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from weakref import WeakValueDictionary

import requests
from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

if TYPE_CHECKING:
    from collections.abc import Mapping

    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 3.0
# The exchange gives a request up after 10 s (API docs, -1007), so 12 s hear its answer if there is one.
ANSWER_SECONDS = 12.0
# 20,000 orders are about 10 MB. More than this is not an answer of this API.
LARGEST_BODY = 64 * 1024 * 1024
_AT_ONCE = 1 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer that began to arrive.

    Attributes
    ----------
    status : int
    headers : Mapping
        Names in any case.
    body : bytes or None
        None when it broke off, dripped past the deadline, or was beyond all measure.
    connection : int
        Names the connection that it came on, and no other of this process; `Wire.distrust` takes it.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)  # may echo what was sent
    connection: int = field(default=0, compare=False)


class Unanswered(Exception):  # noqa: N818 - a fact, which the caller turns into an error
    """No answer began to arrive.

    Attributes
    ----------
    written : bool
        Whether any of the request may have left. False proves that the exchange never saw it.
    reason : str
        Why, in words that hold nothing of the request.
    """

    def __init__(self, reason: str, *, written: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.written = written


class Wire:
    """Connections to one host, kept alive between calls, usable from several threads.

    Parameters
    ----------
    base_url : str
        Scheme, host and port.
    headers : mapping
        Sent with every request.
    proxied : bool
        Whether the environment's proxies apply.
    connect_timeout, answer_timeout : float
        Seconds for connecting, TLS included, and from sending to the last byte of the answer.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        proxied: bool,
        connect_timeout: float = CONNECT_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
    ) -> None:
        self._base_url = base_url
        self._headers = dict(headers)
        self._timeouts = connect_timeout, answer_timeout
        self._timeout = Timeout(connect=connect_timeout, read=answer_timeout)
        self._proxies = requests.utils.get_environ_proxies(base_url) if proxied else {}
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
        self._adapter = _DeadlineAdapter(pool_maxsize=8)
        self._pool: HTTPConnectionPool | None = None

    def close(self) -> None:
        """Close the connections; later calls open new ones."""
        self._pool = None
        self._adapter.close()

    def _open(self) -> HTTPConnectionPool:
        """Choose proxy and certificates as requests does, once for all calls."""
        asked = requests.Request("GET", self._base_url).prepare()
        pool: Any = self._adapter.get_connection_with_tls_context(asked, self._verify, proxies=self._proxies)
        self._adapter.cert_verify(pool, asked.url, self._verify, None)  # type: ignore[no-untyped-call]
        self._pool = pool
        return self._pool

    @staticmethod
    def distrust(connection: int) -> None:
        """Close a connection, since what came on it was out of step; whoever waits for an answer there gets none.

        Parameters
        ----------
        connection : int
            From `Answer.connection`. One that is closed already does no harm.
        """
        if (known := _connections.get(connection)) is not None:
            known.hang_up(connection)

    def send(
        self, method: str, target: str, headers: Mapping[str, str] | None = None, *, until: float | None = None
    ) -> Answer:
        """Send one request, once.

        Parameters
        ----------
        method : str
        target : str
            Path and query, percent-encoded: these bytes go out.
        headers : mapping, optional
            More headers, for this request.
        until : float, optional
            Monotonic time at which all of it ends, connecting included, if the timeouts do not end it before.

        Raises
        ------
        Unanswered
            No answer began to arrive.
        """
        sent = {**self._headers, **(headers or {})}
        if method != "GET":
            sent["Content-Length"] = "0"
        _call.begin(*self._timeouts, until)
        try:
            answer = (self._pool or self._open()).urlopen(
                method,
                target,
                headers=sent,
                timeout=self._timeout,
                retries=False,
                redirect=False,
                assert_same_host=False,
                preload_content=False,
            )
            return Answer(answer.status, answer.headers, _read(answer), _call.connection)
        except Exception as error:  # noqa: BLE001 - whatever it is, the only question is whether the request had gone
            reason = _reason(error)
        finally:
            _call.under_way = False
        # Raised out here: chained to it, requests' error would carry the signed URL into every traceback.
        raise Unanswered(reason, written=_call.written)


def _read(answer: BaseHTTPResponse) -> bytes | None:
    """Read a body to its end, which gives the connection back; one that is not whole closes it."""
    chunks: list[bytes] = []
    size = 0
    try:
        if (answer.length_remaining or LARGEST_BODY) < _AT_ONCE and "Content-Encoding" not in answer.headers:
            return answer.read()
        while chunk := answer.read(1 << 20, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_BODY:
                answer.close()
                return None
    except (HTTPError, OSError, http.client.HTTPException):
        answer.close()
        return None
    answer.release_conn()
    return b"".join(chunks)


class _LateError(TimeoutError):
    """The call's own deadline has passed."""


_REASONS: tuple[tuple[type[BaseException], str], ...] = (
    (_LateError, "its time was over"),
    (socket.gaierror, "the host name could not be resolved"),
    (ConnectionRefusedError, "the connection was refused"),
    (ssl.SSLCertVerificationError, "the host's certificate could not be verified"),
    (ssl.SSLError, "TLS failed"),
    (TimeoutError, "no answer came in time"),
    (ConnectionError, "the connection broke"),
    (http.client.HTTPException, "the answer was not HTTP"),
)


def _reason(error: BaseException) -> str:
    """Say why a connection failed, from its innermost known cause; never in the error's words, which quote the URL."""
    chain: list[BaseException] = [error]
    found = "the network failed"
    for cause in chain:
        # requests' own errors are OSErrors and say nothing; what they wrap does.
        if not isinstance(cause, requests.RequestException):
            found = next((words for kind, words in _REASONS if isinstance(cause, kind)), found)
        links = (getattr(cause, "reason", None), cause.__cause__, cause.__context__, *cause.args)
        chain += [link for link in links if isinstance(link, BaseException) and link not in chain]
    return found


class _Call(threading.local):
    """The one call that each thread has under way."""

    under_way = False
    connecting = False
    written = False
    connection = 0
    deadline = 0.0
    connect_timeout = CONNECT_SECONDS
    answer_timeout = ANSWER_SECONDS
    until = math.inf

    def begin(self, connect_timeout: float, answer_timeout: float, until: float | None) -> None:
        self.under_way, self.connecting, self.written = True, False, False
        self.connect_timeout, self.answer_timeout = connect_timeout, answer_timeout
        self.until = math.inf if until is None else until

    def allow(self, seconds: float) -> None:
        """Give the next step so many seconds, or what is left of the call's time."""
        self.deadline = min(time.monotonic() + seconds, self.until)

    @property
    def remaining(self) -> float:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise _LateError if self.deadline == self.until else TimeoutError("the deadline has passed")
        return remaining


_call = _Call()


def _hide_signature(record: logging.LogRecord) -> bool:
    """Keep signatures out of urllib3's log, which has lines with the whole URL; only in our own calls."""
    if _call.under_way and isinstance(record.args, tuple):
        record.args, record.exc_info = tuple(map(_without_signature, record.args)), None
    return True


def _without_signature(arg: object) -> object:
    if isinstance(arg, Exception):  # its words may quote what a proxy echoed
        return type(arg).__name__
    return re.sub(r"signature=[^&\s]*", "signature=<hidden>", arg) if isinstance(arg, str) else arg


for _name in ("urllib3.connection", "urllib3.connectionpool"):
    logging.getLogger(_name).addFilter(_hide_signature)


class _TimedReader(io.RawIOBase):
    """A socket's reading end that gives each read only what is left of the whole answer's time."""

    def __init__(self, sock: socket.socket, raw: io.RawIOBase) -> None:
        self._socket = sock
        self._raw = raw

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:  # noqa: ANN401 - any writable buffer
        self._socket.settimeout(_call.remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in http.client
        super().__init__(sock, *args, **kwargs)
        self.fp: io.BufferedReader = io.BufferedReader(_TimedReader(sock, self.fp.detach()))


_numbers = itertools.count(1)
_connections: WeakValueDictionary[int, _WatchedConnection] = WeakValueDictionary()


class _WatchedConnection(HTTPConnection):
    """A connection that keeps the deadlines of the call, and notes when the request begins to go out."""

    response_class = _TimedResponse
    number = 0
    debuglevel = 0  # http.client's own, for all connections, prints whole requests, and with them key and signature

    def connect(self) -> None:
        _call.connecting, self.number = True, next(_numbers)
        _connections[self.number] = self
        _call.allow(_call.connect_timeout)
        try:
            super().connect()
        finally:
            _call.connecting = False

    def hang_up(self, number: int) -> None:
        """End the connection of this number, from any thread."""
        sock = self.sock
        if number == self.number and isinstance(sock, socket.socket):
            with suppress(OSError):
                # The thread that uses it closes it. TLS's own shutdown would let it read on, without TLS.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _new_conn(self) -> socket.socket:
        self.timeout = _call.remaining
        sock = super()._new_conn()
        sock.settimeout(_call.remaining)  # TLS gets what the connection has left over
        return sock

    def send(self, data: Any) -> None:  # noqa: ANN401 - as in http.client
        if self.sock is None:
            self.connect()
        if not (_call.connecting or _call.written):  # asking a proxy for a tunnel is not yet the request
            _call.allow(_call.answer_timeout)
            _ = _call.remaining
            _call.written, _call.connection = True, self.number
        self.sock.settimeout(_call.remaining)
        super().send(data)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    pass


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


class _DeadlineAdapter(HTTPAdapter):
    """requests' adapter over watched connections. Like `HTTPAdapter` by default, it retries nothing."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:  # noqa: ANN401 - as in requests
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:  # noqa: ANN401 - as in requests
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        self._watch(manager)
        return manager

    @staticmethod
    def _watch(manager: Any) -> None:  # noqa: ANN401 - PoolManager or ProxyManager
        manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}
