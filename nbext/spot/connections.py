"""Connections that keep a call's deadlines, and tell whether its request has begun to go out.

This adds what requests and urllib3 lack: their timeout starts again with every byte received, no exception says whether
the request had been sent, an interim answer passes for the final one, and what follows an answer passes for the next.
"""

from __future__ import annotations

import http.client
import io
import itertools
import math
import socket
import ssl
import sys
import threading
import time
from contextlib import suppress
from functools import cache
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakValueDictionary

from requests.adapters import HTTPAdapter
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.util.ssltransport import SSLTransport

from nbext.forks import sockets
from nbext.spot.causes import LateError
from nbext.spot.dialing import dial, look_up, within

if TYPE_CHECKING:
    from collections.abc import Callable

CONNECT_SECONDS = 3.0
# The exchange gives a request up after 10 s (API docs, -1007), so 12 s hear its answer if there is one.
ANSWER_SECONDS = 12.0
# A firewall may have forgotten a connection that was idle for longer, and then silently drops what is sent on it.
IDLE_SECONDS = 30.0
_MOST_INTERIM_ANSWERS = 100


class Call(threading.local):
    """The current call of each thread."""

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
        """Start a call; raise if its deadline has passed."""
        self.connecting, self.written = False, False
        self.stage, self.tunnel_status = "request", 0
        self.connect_timeout, self.answer_timeout, self.idle_timeout = timeouts
        self.until, self.unless = math.inf if until is None else until, unless
        if self.until <= time.monotonic():
            raise LateError

    def abandon(self) -> None:
        """Stop sending and reading for this call."""
        self.until = self.deadline = -math.inf

    def allow(self, seconds: float) -> None:
        """Limit the next step to some seconds, and to the rest of the call's time."""
        self.deadline = min(time.monotonic() + seconds, self.until)

    @property
    def remaining(self) -> float:
        """Seconds left for the current step."""
        remaining = self.deadline - time.monotonic()
        if remaining <= 0:
            raise LateError if self.deadline == self.until else TimeoutError("the deadline has passed")
        return remaining


call = Call()


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
        self._socket.settimeout(call.remaining)
        return self._raw.readinto(buffer)

    def close(self) -> None:
        self._raw.close()
        super().close()


class TimedResponse(http.client.HTTPResponse):
    """An answer that keeps the call's deadline, is never an interim one, and tells when more follows it."""

    def __init__(self, line: WatchedConnection, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._line = line
        self._reader = _TimedReader(sock, self.fp.detach())
        self.fp: io.BufferedReader = io.BufferedReader(self._reader)

    def _read_status(self) -> tuple[str, int, str]:
        # http.client takes every 1xx but 100 for the final answer, and what follows for the answer to the next request.
        for _ in range(_MOST_INTERIM_ANSWERS):
            version, status, reason = super()._read_status()  # type: ignore[misc]
            if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK:
                if call.connecting:
                    call.tunnel_status = status
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


def _holds_more(sock: Any) -> bool:
    """Return whether TLS holds something that came after an answer and would be taken for the next one."""
    if isinstance(sock, SSLTransport):  # TLS within the TLS of a proxy
        return bool(sock.sslobj.pending() or sock.incoming.pending) or _holds_more(sock.socket)
    if isinstance(sock, ssl.SSLSocket):
        return bool(sock.pending())
    return not isinstance(sock, socket.socket)  # which cannot say


_numbers = itertools.count(1)
known: WeakValueDictionary[int, WatchedConnection] = WeakValueDictionary()


class WatchedConnection(HTTPConnection):
    """A connection that keeps the deadlines of the call, and notes when the request begins to go out."""

    debuglevel = 0  # http.client's own, for all connections, prints whole requests, and with them key and signature
    number = 0
    last: int | None = None
    """Stands for the last answer on it, to tell whether another is just like it; None if that shows whose it is."""
    _spoiled = False
    _heard = False
    _used = -math.inf, -math.inf

    def response_class(self, sock: socket.socket, *args: Any, **kwargs: Any) -> TimedResponse:  # type: ignore[override]
        """Return an answer that knows its connection."""
        return TimedResponse(self, sock, *args, **kwargs)

    @property
    def is_connected(self) -> bool:
        """Whether the next request may use this connection; urllib3 asks before reusing it."""
        if self._spoiled or self.sock is None or _holds_more(self.sock):
            return False
        return self.idle_for <= call.idle_timeout and (super().is_connected or self._has_tickets_only())

    @property
    def idle_for(self) -> float:
        """Seconds since it was last used, or opened; infinite if it is closed."""
        # A machine that was suspended shows on its wall clock alone.
        steady, wall = self._used
        return math.inf if self.sock is None else max(time.monotonic() - steady, time.time() - wall)

    def _has_tickets_only(self) -> bool:
        """Return whether what has arrived is only the end of the handshake: in TLS 1.3 tickets follow it, unasked."""
        if self._heard or not isinstance(self.sock, ssl.SSLSocket):
            return False
        try:
            self.sock.settimeout(0)
            self.sock.recv(1)
        except ssl.SSLWantReadError:
            return True
        except OSError:
            pass
        return False

    def ended(self, *, followed: bool) -> None:
        """Note that an answer was read completely."""
        self._spoiled = self._spoiled or followed
        self._used = time.monotonic(), time.time()
        if not call.connecting:
            self._heard = True

    def connect(self) -> None:
        """Open it, within the time for that."""
        call.connecting, self.number, self._spoiled, self._heard = True, next(_numbers), False, False
        self.last = None
        known[self.number] = self
        call.allow(call.connect_timeout)
        try:
            super().connect()
        finally:
            call.connecting = False
        self._used = time.monotonic(), time.time()
        call.stage = "request"

    def reply(self) -> TimedResponse:
        """Return the answer, once its head is there, to what `putrequest` and the like have written."""
        return cast("TimedResponse", http.client.HTTPConnection.getresponse(self))  # urllib3's wants its own `request`

    def hang_up(self, number: int) -> None:
        """End the connection of this number, from any thread."""
        sock: Any = self.sock
        while isinstance(sock, SSLTransport):
            sock = sock.socket
        if number == self.number and isinstance(sock, socket.socket):
            self._spoiled = True
            with suppress(OSError):
                # The thread that uses it closes it. TLS's own shutdown would let it read on, without TLS.
                socket.socket.shutdown(sock, socket.SHUT_RDWR)

    def _new_conn(self) -> socket.socket:
        sock = self._reach()
        sockets.add(sock)
        sock.settimeout(call.remaining)  # TLS gets what the connection has left over
        call.stage = "TLS"
        return sock

    def _reach(self) -> socket.socket:
        call.stage = "name"
        addresses = look_up(self._dns_host, self.port, call.deadline)
        call.stage = "connection"
        sock = dial(addresses, call.deadline, self.socket_options or ())
        sys.audit("http.client.connect", self, self.host, self.port)
        return sock

    def _tunnel(self) -> None:
        call.stage = "tunnel"
        super()._tunnel()
        self.sock.settimeout(call.remaining)
        call.stage = "TLS"

    def send(self, data: Any) -> None:
        """Write, and note that the request is being sent; write nothing for a call that has ended or was called off."""
        if self.sock is None:
            self.connect()
        if not (call.connecting or call.written):  # asking a proxy for a tunnel is not yet the request
            call.allow(call.answer_timeout)
            _ = call.remaining
            if call.unless is not None and call.unless():
                raise LateError
            call.written, call.connection = True, self.number
        self.sock.settimeout(call.remaining)
        super().send(data)


class _WatchedTLSConnection(WatchedConnection, HTTPSConnection):
    def _connect_tls_proxy(self, hostname: str, sock: socket.socket) -> Any:
        call.stage = "proxy TLS"
        return super()._connect_tls_proxy(hostname, sock)


class _WatchedPool(HTTPConnectionPool):
    ConnectionCls = WatchedConnection


class _WatchedTLSPool(HTTPSConnectionPool):
    ConnectionCls = _WatchedTLSConnection


@cache
def _socks_pools() -> dict[str, type[HTTPConnectionPool]]:
    """Watch connections through a SOCKS proxy, for which urllib3 has connections of its own."""
    from urllib3.contrib.socks import SOCKSConnection, SOCKSHTTPSConnection

    class WatchedSocks(WatchedConnection, SOCKSConnection):
        def _reach(self) -> socket.socket:
            call.stage = "socks"
            self.timeout = call.remaining
            # PySocks looks names up, and gives each address and each step the whole time.
            sock: socket.socket = within(call.deadline, lambda: SOCKSConnection._new_conn(self), socket.socket.close)
            return sock

    class WatchedSocksTLS(WatchedSocks, _WatchedTLSConnection, SOCKSHTTPSConnection):
        pass

    class SocksPool(HTTPConnectionPool):
        ConnectionCls = WatchedSocks

    class SocksTLSPool(HTTPSConnectionPool):
        ConnectionCls = WatchedSocksTLS

    return {"http": SocksPool, "https": SocksTLSPool}


class DeadlineAdapter(HTTPAdapter):
    """requests' adapter over watched connections. Like `HTTPAdapter` by default, it retries nothing."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        """Create the pools of direct connections."""
        super().init_poolmanager(*args, **kwargs)
        self._watch(self.poolmanager)

    def proxy_manager_for(self, proxy: str, **proxy_kwargs: Any) -> Any:
        """Return the pools of connections through a proxy."""
        manager = super().proxy_manager_for(proxy, **proxy_kwargs)
        if proxy.lower().startswith("socks"):
            manager.pool_classes_by_scheme = _socks_pools()
        else:
            self._watch(manager)
        return manager

    @staticmethod
    def _watch(manager: Any) -> None:
        manager.pool_classes_by_scheme = {"http": _WatchedPool, "https": _WatchedTLSPool}


def disown() -> None:
    """Forget the connections of the parent, which alone may use them."""
    call.abandon()
    known.clear()
