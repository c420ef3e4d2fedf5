"""One request, one answer, one deadline, and certainty about whether anything went out.

requests reads the environment and sets up proxies, certificates and the pool of connections, once, and again when the
settings change. Connections are urllib3's; requests go through http.client, since urllib3's preparations take longer
than the rest of a call. Nothing is ever sent twice, and redirects are not followed.

A proxy may deliver an answer twice, the second time when the next request is on its way, and nothing in HTTP tells
whose it is. So an answer that may be the one before it on its connection, since it has the same body and no id of its
own, counts only once a ping behind it has been answered.

Connections belong to the process that made them: a forked child opens its own.
"""

from __future__ import annotations

import http.client
import logging
import os
import threading
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakSet

import requests
from urllib3 import HTTPHeaderDict, HTTPResponse, HTTPSConnectionPool
from urllib3.exceptions import HTTPError

from nbext.credentials import Secret
from nbext.forks import in_child
from nbext.signals import from_a_signal, let_through
from nbext.spot import connections
from nbext.spot.ahead import Ahead
from nbext.spot.causes import BUNDLES, MixedUpError, explain, require_bundle, set_up
from nbext.spot.connections import ANSWER_SECONDS, CONNECT_SECONDS, IDLE_SECONDS, DeadlineAdapter, call
from nbext.spot.encryption import context_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from urllib3.connectionpool import HTTPConnectionPool

    from nbext.spot.connections import TimedResponse, WatchedConnection

_LOG = logging.getLogger("nbext")
# 20,000 orders are about 10 MB. More than this is not an answer of this API.
LARGEST_BODY = 64 * 1024 * 1024
_AT_ONCE = 1 << 20
_PING = "/api/v3/ping"  # weight 1, and its answer is like no other (API docs, "Test connectivity")
# Other answers may be repeated for as long as something lasts, and asking a host that limits or fails for a ping helps
# nobody: what follows goes on another connection.
_KEPT_AFTER = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST})
_NO_PING = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.METHOD_NOT_ALLOWED, HTTPStatus.NOT_IMPLEMENTED})  # stand-ins
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
        None if it was incomplete, late or too large.
    connection : int
        Number of its connection, unique in this process, for `Wire.distrust`.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)  # may echo what was sent
    connection: int = field(default=0, compare=False)


class Unanswered(Exception):
    """No answer began to arrive.

    Attributes
    ----------
    written : bool
        Whether any of the request may have been sent. False proves that the exchange never saw it.
    reason : str
        Why, without quoting the request.
    advice : str
        What to do, in a sentence.
    mixed_up : int or None
        The connection on which another request's answer may have arrived instead.
    """

    def __init__(self, reason: str, advice: str, *, written: bool, mixed_up: int | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.advice = advice
        self.written = written
        self.mixed_up = mixed_up


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
        Seconds after which an unused connection is not used again.
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
        self._proxied = proxied
        # Plain HTTP goes to loopback, directly, regardless of the settings.
        self._watched = (*_SETTINGS, *BUNDLES) if proxied or base_url.startswith("https") else ()
        self.start_over()
        _wires.add(self)

    def start_over(self) -> None:
        """Start without connections."""
        self._opening = threading.Lock()
        self._adapter = DeadlineAdapter(pool_maxsize=8)
        self._pools: Ahead | None = None
        self._settings: Secret | None = None
        self._proxy = Secret("")

    def close(self) -> None:
        """Close the connections; later calls open new ones."""
        if (pools := self._pools) is not None:
            self._pools = None
            pools.close()
        self._adapter.close()

    def prepare(self) -> None:
        """Choose proxy and certificates now, and read these; the first request reports what is wrong."""
        with suppress(Exception):
            self._way()

    def open_ahead(self, count: int) -> None:
        """Begin to open connections, up to so many, for requests that follow soon."""
        try:
            self._way().open(count)
        except Exception as error:  # noqa: BLE001 - the request that follows reports it
            let_through(error)

    @contextmanager
    def kept_open(self, count: int) -> Iterator[None]:
        """Keep up to so many connections open while something goes on, for requests that follow it."""
        with ExitStack() as while_open:
            try:
                while_open.enter_context(self._way().kept(count))
            except Exception as error:  # noqa: BLE001 - as above
                let_through(error)
            yield

    def _way(self) -> Ahead:
        """Return the connections to the host; new ones on first use, and after the settings have changed."""
        settings = Secret("\0".join(os.environ.get(name, "") for name in self._watched))
        pools = self._pools
        if pools is not None and settings == self._settings:
            return pools
        with self._opening:
            if self._pools is None or settings != self._settings:
                self.close()
                self._settings = settings
                pool = self._open()
                with suppress(Exception):  # the handshake reports it
                    _share_context(pool)
                self._pools = Ahead(pool, self._timeouts)
            return self._pools

    def _open(self) -> HTTPConnectionPool:
        """Choose proxy and certificates as requests does, once for all calls."""
        asked = requests.Request("GET", self._base_url).prepare()
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
        """Close a connection whose answers were out of step; a request that waits there gets no answer.

        Parameters
        ----------
        connection : int
            From `Answer.connection`; may be closed already.
        """
        if (known := connections.known.get(connection)) is not None:
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
            Path and query, percent-encoded, sent as they are.
        headers : mapping, optional
            More headers, for this request.
        until : float, optional
            Monotonic time at which it ends, connecting included, unless the timeouts end it earlier.
        unless : callable, optional
            Called just before the request is written; if it returns True, nothing is written.

        Raises
        ------
        Unanswered
            No answer began to arrive.
        """
        sent = {**self._headers, **(headers or {})}
        if method != "GET":
            sent["Content-Length"] = "0"
        try:
            # Path and host only: the query has the signature. Asking logging whether anybody listens takes a lock.
            if _LOG.getEffectiveLevel() <= logging.DEBUG:
                _LOG.debug("%s %s at %s", method, target.partition("?")[0], self._base_url)
            call.begin(self._timeouts, until, unless)
            pools = self._way()
            pool = pools.pool
            line: Any = pool._get_conn()
            if line.is_closed:
                line = pools.take() or line
            return self._ask(pools, line, method, target, sent)
        except Exception as error:  # noqa: BLE001 - whatever it is, the only question is whether the request had gone
            if (signalled := from_a_signal(error)) is not None:
                raise signalled from None  # the client's frames are sealed, and with them the signed URL in these
            host = self._base_url.partition("://")[2]
            why = explain(error, call.stage, host, self._proxy.reveal(), call.tunnel_status)
            mixed_up = call.connection if isinstance(error, MixedUpError) else None
        # Raised here: chained to it, requests' error would carry the signed URL into every traceback.
        raise Unanswered(*why, written=call.written, mixed_up=mixed_up)

    def _ask(
        self, pools: Ahead, line: WatchedConnection, method: str, target: str, headers: Mapping[str, str]
    ) -> Answer:
        """Send a request on a connection, opened if need be, and return the connection to the pool."""
        kept = False
        try:
            if line.is_closed:
                pools.connect(line)
            answer, kept = _exchange(line, method, target, headers)
            before, line.last = line.last, None if _is_account(method, answer) else _identity(answer)
            if kept and line.last is not None and line.last == before:
                kept = False  # also where this raises
                kept = self._is_in_step(line)
            return answer
        finally:
            if not kept:
                line.close()
            pools.pool._put_conn(line)

    def _is_in_step(self, line: WatchedConnection) -> bool:
        """Return whether a ping is answered next, after an answer that may be the one before it, come twice.

        False if the next one is the same again. Then it may have been meant for this request, which has its answer.
        """
        suspect = line.last
        if line.is_connected:
            ping, _ = _exchange(line, "GET", _PING, self._headers)
            line.last = _identity(ping)
            if ping.status in _NO_PING or (ping.status, (ping.body or b"").strip()) == (HTTPStatus.OK, b"{}"):
                return True
            if line.last == suspect:
                return False
        raise MixedUpError


def _is_account(method: str, answer: Answer) -> bool:
    """Return whether an answer to a cancel names what was canceled, and so shows by itself what it is about."""
    return method == "DELETE" and answer.status == HTTPStatus.OK and (answer.body or b"").strip() not in {b"", b"[]"}


def _identity(answer: Answer) -> int:
    """Return what two answers have in common if they may be one that came twice."""
    return hash((answer.status, answer.headers.get("X-MBX-UUID"), answer.body))


def _exchange(line: WatchedConnection, method: str, target: str, headers: Mapping[str, str]) -> tuple[Answer, bool]:
    """Send a request and read its answer; return also whether the connection can be used again."""
    line.putrequest(method, target, skip_accept_encoding=True)
    for name, value in headers.items():
        line.putheader(name, value)
    # The answer may have come before the connection broke, as when the exchange closes it early.
    with suppress(BrokenPipeError, ConnectionResetError):
        line.endheaders()
    reply = line.reply()
    try:
        body = _body(reply)
        whole = body is not None and reply.isclosed() and not reply.will_close
        answer = Answer(reply.status, cast("Mapping[str, str]", reply.headers), body, line.number)
        return answer, whole and reply.status in _KEPT_AFTER
    finally:
        reply.close()


def _share_context(pool: HTTPConnectionPool) -> None:
    """Read the certificates once for all connections, rather than for each."""
    if isinstance(pool, HTTPSConnectionPool) and (pool.ca_certs or pool.ca_cert_dir):
        context = context_for(pool.ca_certs, pool.ca_cert_dir)
        pool.conn_kw["ssl_context"], pool.ca_certs, pool.ca_cert_dir = context, None, None
        if pool.proxy_config is not None:  # TLS to a proxy is checked against the same ones
            pool.conn_kw["proxy_config"] = pool.proxy_config._replace(ssl_context=context)


def _body(reply: TimedResponse) -> bytes | None:
    """Return a whole body; None if it is incomplete."""
    if "Content-Encoding" in reply.headers:
        return _unpacked(reply)
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
    except (OSError, http.client.HTTPException) as error:
        let_through(error)
        return None
    return None if reply.length else b"".join(chunks)


def _unpacked(reply: TimedResponse) -> bytes | None:
    """Return a compressed body; None if it is incomplete, or larger than an answer of this API."""
    fields = HTTPHeaderDict(reply.headers.items())
    answer = HTTPResponse(reply, fields, reply.status, preload_content=False, original_response=reply)
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := answer.read(_AT_ONCE, decode_content=True):
            chunks.append(chunk)
            size += len(chunk)
            if size > LARGEST_BODY:
                answer.close()
                return None
    except (HTTPError, OSError, http.client.HTTPException) as error:
        answer.close()
        let_through(error)
        return None
    return b"".join(chunks)


_wires: WeakSet[Wire] = WeakSet()


def _disown() -> None:
    connections.disown()
    for wire in list(_wires):
        wire.start_over()


in_child(_disown)
