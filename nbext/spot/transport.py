"""One request, one answer, one deadline, and certainty about whether anything went out.

requests reads the environment and opens the way: proxies, certificates, the pool of connections. That is done once, and
again when the settings change. A connection is opened by urllib3; on one that is kept, the request is written and the
answer read here, since preparing both anew takes longer than the rest of a call. What requests and urllib3 leave open
is added on the connections: a timeout there starts anew with every byte received, no exception tells whether the
request had left, an interim answer passes for the final one, and what follows an answer passes for the next. Nothing
is ever sent twice, and redirects are not followed.

Connections belong to the process that made them: a forked child opens its own.
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
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet, WeakValueDictionary

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict, HTTPResponse
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.exceptions import HTTPError
from urllib3.util import Timeout

from nbext.credentials import Secret
from nbext.signals import from_a_signal
from nbext.spot.causes import BUNDLES, LateError, explain, require_bundle, set_up
from nbext.spot.dialing import dial, look_up, within

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from urllib3 import BaseHTTPResponse

CONNECT_SECONDS = 3.0
# The exchange gives a request up after 10 s (API docs, -1007), so 12 s hear its answer if there is one.
ANSWER_SECONDS = 12.0
# A firewall may have forgotten a connection that was idle for longer, and then drops what is sent on it without a word.
IDLE_SECONDS = 30.0
# 20,000 orders are about 10 MB. More than this is not an answer of this API.
LARGEST_BODY = 64 * 1024 * 1024
FORK_SECONDS = 1.0
_AT_ONCE = 1 << 20
_ENDS_A_LINE = re.compile("[\r\n]")
_MOST_INTERIM_ANSWERS = 100
_SETTINGS = ("https_proxy", "HTTPS_PROXY", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "no_proxy", "NO_PROXY")


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
    advice : str
        What to do, in a sentence.
    """

    def __init__(self, reason: str, advice: str, *, written: bool) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
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
    idle_timeout : float
        Seconds after which a connection that was not used is not trusted any more.
    """

    def __init__(
        self,
        base_url: str,
        headers: Mapping[str, str],
        *,
        proxied: bool,
        connect_timeout: float = CONNECT_SECONDS,
        answer_timeout: float = ANSWER_SECONDS,
        idle_timeout: float = IDLE_SECONDS,
    ) -> None:
        self._base_url = base_url
        self._headers = dict(headers)
        self._timeouts = connect_timeout, answer_timeout, idle_timeout
        self._timeout = Timeout(connect=connect_timeout, read=answer_timeout)
        self._proxied = proxied
        # Plain HTTP goes to loopback, directly, whatever the settings are.
        self._watched = (*_SETTINGS, *BUNDLES) if proxied or base_url.startswith("https") else ()
        self._start_anew()
        _wires.add(self)

    def _start_anew(self) -> None:
        self._opening = threading.Lock()
        self._adapter = _DeadlineAdapter(pool_maxsize=8)
        self._pool: HTTPConnectionPool | None = None
        self._settings: Secret | None = None
        self._proxy = Secret("")

    def close(self) -> None:
        """Close the connections; later calls open new ones."""
        self._pool = None
        self._adapter.close()

    def _way(self) -> HTTPConnectionPool:
        """Give the way to the host; a new one when there is none yet, or the settings are not what they were."""
        settings = Secret("\0".join(os.environ.get(name, "") for name in self._watched))
        pool = self._pool
        if pool is not None and settings == self._settings:
            return pool
        with self._opening:
            if self._pool is None or settings != self._settings:
                self.close()
                self._settings = settings
                self._pool = self._open()
            return self._pool

    def _open(self) -> HTTPConnectionPool:
        """Choose proxy and certificates as requests does, once for all calls."""
        asked = requests.Request("GET", self._base_url).prepare()
        host = str(asked.url).partition("://")[2].rstrip("/")
        default = ":443" if self._base_url.startswith("https") else ":80"
        self._host = host.removesuffix(default)
        proxies = requests.utils.get_environ_proxies(self._base_url) if self._proxied else {}
        self._proxy = Secret(requests.utils.select_proxy(self._base_url, proxies) or "")  # which may hold a password
        verify = next(filter(None, map(os.environ.get, BUNDLES)), None)
        if verify is not None and self._base_url.startswith("https"):
            require_bundle(verify)
        try:
            pool: Any = self._adapter.get_connection_with_tls_context(asked, verify or True, proxies=proxies)
        except (ValueError, HTTPError, requests.RequestException) as error:
            raise set_up(error, self._proxy.reveal()) from None
        self._adapter.cert_verify(pool, asked.url, verify or True, None)  # type: ignore[no-untyped-call]
        return pool  # type: ignore[no-any-return]

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
        self,
        method: str,
        target: str,
        headers: Mapping[str, str] | None = None,
        *,
        until: float | None = None,
        unless: Callable[[], bool] | None = None,
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
        unless : callable, optional
            Asked in the last moment before the request is written; if it says so, nothing is.

        Raises
        ------
        Unanswered
            No answer began to arrive.
        """
        sent = {**self._headers, **(headers or {})}
        if method != "GET":
            sent["Content-Length"] = "0"
        try:
            _call.begin(self._timeouts, until, unless)
            pool = self._way()
            line: Any = pool._get_conn()  # noqa: SLF001 - one that may be used, or a closed one
            if not line.is_closed and not line.proxy_is_forwarding:
                return self._ask(pool, line, method, target, sent)
            pool._put_conn(line)  # noqa: SLF001
            answer = pool.urlopen(
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
            if (signalled := from_a_signal(error)) is not None:
                raise signalled.with_traceback(None) from None  # whose frames hold the signed URL
            host = self._base_url.partition("://")[2]
            why = explain(error, _call.stage, host, self._proxy.reveal(), _call.tunnel_status)
        finally:
            _call.under_way = False
        # Raised out here: chained to it, requests' error would carry the signed URL into every traceback.
        raise Unanswered(*why, written=_call.written)

    def _ask(
        self, pool: HTTPConnectionPool, line: _WatchedConnection, method: str, target: str, headers: Mapping[str, str]
    ) -> Answer:
        """Send a request on a connection that is open, and give the connection back."""
        kept = False
        try:
            head = _head(method, target, {"Host": self._host, **headers})
            # The answer may have come before the connection broke, as where the exchange has had enough.
            with suppress(BrokenPipeError, ConnectionResetError):
                line.send(head)
            reply = line.response_class(line.sock, method=method)
            try:
                reply.begin()
                body = _body(reply)
                kept = body is not None and reply.isclosed() and not reply.will_close
                return Answer(reply.status, cast("Mapping[str, str]", reply.headers), body, line.number)
            finally:
                reply.close()
        finally:
            if not kept:
                line.close()
            pool._put_conn(line)  # noqa: SLF001 - closed, it is opened anew


def _head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    """Write the head of a request, which has no body."""
    lines = [f"{method} {target} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    head = "\r\n".join(lines)
    if _ENDS_A_LINE.search(head.replace("\r\n", "")) or head.count("\r\n") >= len(lines) or target.count(" "):
        raise http.client.InvalidURL("a target or a header with a line end in it")
    return head.encode("latin-1")


def _body(reply: _TimedResponse) -> bytes | None:
    """Read a body to its end; None when it is not whole."""
    if "Content-Encoding" in reply.headers:
        fields = HTTPHeaderDict(reply.headers.items())
        return _read(HTTPResponse(reply, fields, reply.status, preload_content=False, original_response=reply))
    chunks: list[bytes] = []
    size = 0
    try:
        if reply.length is not None and reply.length < _AT_ONCE:
            return reply.read()
        while chunk := reply.read(_AT_ONCE):
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_BODY:
                return None
    except (OSError, http.client.HTTPException):
        return None
    return None if reply.length else b"".join(chunks)


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


class _Call(threading.local):
    """The one call that each thread has under way."""

    under_way = False
    connecting = False
    written = False
    stage = ""
    tunnel_status = 0
    connection = 0
    deadline = 0.0
    connect_timeout = CONNECT_SECONDS
    answer_timeout = ANSWER_SECONDS
    idle_timeout = IDLE_SECONDS
    until = math.inf
    unless: Callable[[], bool] | None = None

    def begin(
        self, timeouts: tuple[float, float, float], until: float | None, unless: Callable[[], bool] | None
    ) -> None:
        self.under_way, self.connecting, self.written = True, False, False
        self.stage, self.tunnel_status = "request", 0
        self.connect_timeout, self.answer_timeout, self.idle_timeout = timeouts
        self.until, self.unless = math.inf if until is None else until, unless
        if self.until <= time.monotonic():
            raise LateError

    def abandon(self) -> None:
        """Let nothing more be sent or read for this call."""
        self.until = self.deadline = -math.inf

    def allow(self, seconds: float) -> None:
        """Give the next step so many seconds, or what is left of the call's time."""
        self.deadline = min(time.monotonic() + seconds, self.until)

    @property
    def remaining(self) -> float:
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise LateError if self.deadline == self.until else TimeoutError("the deadline has passed")
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
        self.ended = False
        """Whether the answer is whole: then nothing more is read."""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.ended:
            return None
        self._socket.settimeout(_call.remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _TimedResponse(http.client.HTTPResponse):
    """An answer that keeps the call's deadline, is never an interim one, and tells when more follows it."""

    def __init__(self, line: _WatchedConnection, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._line = line
        self._reader = _TimedReader(sock, self.fp.detach())
        self.fp: io.BufferedReader = io.BufferedReader(self._reader)

    def _read_status(self) -> tuple[str, int, str]:
        # http.client takes every 1xx but 100 for the final answer, and what follows for the answer to the next request.
        for _ in range(_MOST_INTERIM_ANSWERS):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK:
                if _call.connecting:
                    _call.tunnel_status = status
                return version, status, reason
            if status == HTTPStatus.SWITCHING_PROTOCOLS:
                break
            http.client.parse_headers(self.fp)
        raise http.client.BadStatusLine("interim answers only")

    def _close_conn(self) -> None:
        # Bytes after the end of an answer would be taken for the answer to the next request.
        self._reader.ended = True
        self._line.ended(followed=self._line_has_more())
        super()._close_conn()  # type: ignore[misc]

    def _line_has_more(self) -> bool:
        return not self.fp.closed and bool(self.fp.peek(1))


class _Handshakes:
    """TLS handshakes under way. A fork waits a little for them: OpenSSL's locks would come to the child as taken."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._numbers: set[int] = set()  # of connections

    def begin(self, number: int) -> None:
        with self._change:
            self._numbers.add(number)

    def end(self, number: int) -> None:
        """Take note that keys are agreed: in TLS 1.3 the first answer brings tickets, and they belong to that."""
        if number in self._numbers:
            with self._change:
                self._numbers.discard(number)
                self._change.notify_all()

    def before_fork(self) -> None:
        self._change.acquire()
        # Not for ever: the handshake may be the forking thread's own, in a signal handler.
        self._change.wait_for(lambda: not self._numbers, FORK_SECONDS)

    def after_fork(self) -> None:
        self._change.release()


_handshakes = _Handshakes()
_numbers = itertools.count(1)
_connections: WeakValueDictionary[int, _WatchedConnection] = WeakValueDictionary()
_sockets: WeakSet[socket.socket] = WeakSet()


class _WatchedConnection(HTTPConnection):
    """A connection that keeps the deadlines of the call, and notes when the request begins to go out."""

    debuglevel = 0  # http.client's own, for all connections, prints whole requests, and with them key and signature
    number = 0
    _spoiled = False
    _used = 0.0, 0.0

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> _TimedResponse:  # type: ignore[override]
        """Make an answer that knows its connection."""
        return _TimedResponse(self, sock, *args, **kwargs)

    @property
    def is_connected(self) -> bool:
        """Whether the next request may go out here: what urllib3 asks of a kept connection."""
        if self._spoiled or not isinstance(self.sock, socket.socket):  # TLS within TLS does not tell what it has unread
            return False
        if isinstance(self.sock, ssl.SSLSocket) and self.sock.pending():
            return False
        # A machine that was suspended shows on its wall clock alone.
        steady, wall = self._used
        if max(time.monotonic() - steady, time.time() - wall) > _call.idle_timeout:
            return False
        return super().is_connected

    def ended(self, *, followed: bool) -> None:
        """Take note that an answer was read to its end."""
        self._spoiled = self._spoiled or followed
        self._used = time.monotonic(), time.time()
        if not _call.connecting:
            _handshakes.end(self.number)

    def close(self) -> None:
        """Close it; it can be opened anew."""
        super().close()
        _handshakes.end(self.number)

    def connect(self) -> None:
        _call.connecting, self.number, self._spoiled = True, next(_numbers), False
        _connections[self.number] = self
        _call.allow(_call.connect_timeout)
        try:
            super().connect()
        except BaseException:
            _handshakes.end(self.number)
            raise
        finally:
            _call.connecting = False
        _sockets.add(getattr(self.sock, "socket", self.sock))  # TLS within TLS is wrapped
        _call.stage = "request"

    def hang_up(self, number: int) -> None:
        """End the connection of this number, from any thread."""
        sock = self.sock
        if number == self.number and isinstance(sock, socket.socket):
            self._spoiled = True
            with suppress(OSError):
                # The thread that uses it closes it. TLS's own shutdown would let it read on, without TLS.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _new_conn(self) -> socket.socket:
        sock = self._reach()
        _sockets.add(sock)
        sock.settimeout(_call.remaining)  # TLS gets what the connection has left over
        if isinstance(self, HTTPSConnection):
            _handshakes.begin(self.number)
        _call.stage = "TLS"
        return sock

    def _reach(self) -> socket.socket:
        _call.stage = "name"
        addresses = look_up(self._dns_host, self.port, _call.deadline)
        _call.stage = "connection"
        sock = dial(addresses, _call.deadline, self.socket_options or ())
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def _tunnel(self) -> None:
        _call.stage = "tunnel"
        super()._tunnel()
        _call.stage = "TLS"

    def send(self, data: Any) -> None:
        if self.sock is None:
            self.connect()
        if not (_call.connecting or _call.written):  # asking a proxy for a tunnel is not yet the request
            _call.allow(_call.answer_timeout)
            _ = _call.remaining
            if _call.unless is not None and _call.unless():
                raise LateError
            _call.written, _call.connection = True, self.number
        self.sock.settimeout(_call.remaining)
        super().send(data)


class _WatchedTLSConnection(_WatchedConnection, HTTPSConnection):
    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> Any:
        _call.stage = "proxy TLS"
        return super()._connect_tls_proxy(hostname, sock)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = _WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


@cache
def _socks_pools() -> dict[str, type[HTTPConnectionPool]]:
    """Watch connections through a SOCKS proxy, for which urllib3 has connections of its own."""
    from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection

    class WatchedSocks(_WatchedConnection, SOCKSConnection):
        def _reach(self) -> socket.socket:
            _call.stage = "socks"
            self.timeout = _call.remaining
            # PySocks looks names up, and gives each address and each step the whole time.
            sock: socket.socket = within(_call.deadline, lambda: SOCKSConnection._new_conn(self), socket.socket.close)  # noqa: SLF001 - ours
            return sock

    class WatchedSocksTLS(WatchedSocks, _WatchedTLSConnection, SOCKSHTTPSConnection):
        pass

    class SocksPool(HTTPConnectionPool):
        ConnectionCls = WatchedSocks

    class SocksTLSPool(HTTPSConnectionPool):
        ConnectionCls = WatchedSocksTLS

    return {"http": SocksPool, "https": SocksTLSPool}


class _DeadlineAdapter(HTTPAdapter):
    """requests' adapter over watched connections. Like `HTTPAdapter` by default, it retries nothing."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _socks_pools()
        else:
            self._watch(manager)
        return manager

    @staticmethod
    def _watch(manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}


_wires: WeakSet[Wire] = WeakSet()


def _disown() -> None:
    """Leave a parent's connections to the parent: what it sends there, and what it hears, is not this process's."""
    global _handshakes  # noqa: PLW0603 - those of the parent are not under way here
    _handshakes = _Handshakes()
    _call.abandon()
    _connections.clear()
    for sock in list(_sockets):
        # Without a word on the connection, and at once: a read that a signal handler has interrupted would go on.
        if (descriptor := sock.detach()) >= 0:
            os.close(descriptor)
    _sockets.clear()
    for wire in list(_wires):
        wire._start_anew()  # noqa: SLF001 - of this module


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _handshakes.before_fork(),  # noqa: PLW0108 - that of the process that forks
        after_in_parent=lambda: _handshakes.after_fork(),  # noqa: PLW0108
        after_in_child=_disown,
    )
