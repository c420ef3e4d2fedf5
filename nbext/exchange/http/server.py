"""HTTP on loopback: sockets, connections, and how an answer leaves, or does not."""

from __future__ import annotations

import _thread
import asyncio
import os
import signal
import socket
import struct
import time
from contextlib import suppress
from functools import partial
from http.client import responses
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, HTTPMessageDelegate, HTTPServerConnectionDelegate, ResponseStartLine
from tornado.iostream import StreamClosedError

from nbext.exchange.api.admission import Request
from nbext.exchange.api.responses import Response
from nbext.exchange.http.control import Control

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPConnection, RequestStartLine
    from tornado.iostream import IOStream

    from nbext.exchange.api.app import App, RequestContext
    from nbext.exchange.api.faults import Fault
    from nbext.exchange.http.control import Market

HOST = "127.0.0.1"
BACKLOG = 1024
MAX_BODY = 64 * 1024
MAX_HEADERS = 16 * 1024
MAX_CONNECTIONS = 256
HEADER_SECONDS = 300.0  # a notebook's kept-alive connection should survive a look at the frame
BODY_SECONDS = 10.0
MARKET_SECONDS = 0.05  # how often to look whether a market that moves with the time has a step to take
EARLY_HINTS = 103
TOO_MUCH = frozenset({418, 429})
RESET = struct.pack("ii", 1, 0)  # linger for zero seconds: closing sends RST


class Connections(HTTPServer):
    """Bounds the number of connections, so that idle ones do not use up the file descriptors of the process."""

    def initialize(self, *args: object, **kwargs: object) -> None:
        """Prepare as tornado does."""
        super().initialize(*args, **kwargs)  # type: ignore[arg-type]
        # A timer for each request would cost a tenth of its time: `close_idle` checks all of them now and then.
        self.conn_params.header_timeout = None
        self._streams: dict[IOStream, float] = {}  # when each last sent something, the longest idle first
        self.open: WeakSet[IOStream] = WeakSet()

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Serve a new connection; the longest idle one makes room for it."""
        if len(self._streams) >= MAX_CONNECTIONS:
            for each in [each for each in self._streams if each.closed()]:
                del self._streams[each]
        if len(self._streams) >= MAX_CONNECTIONS:
            oldest = next(iter(self._streams))
            del self._streams[oldest]
            oldest.close()
        self.heard_from(stream)
        self.open.add(stream)
        super().handle_stream(stream, address)

    def heard_from(self, stream: IOStream) -> None:
        """Move a connection to the end of the queue of those that make room."""
        self._streams.pop(stream, None)
        self._streams[stream] = time.monotonic()

    def owes(self, stream: IOStream) -> None:
        """Keep a connection from making room while an answer is on its way."""
        self._streams.pop(stream, None)

    def close_detached(self) -> None:
        """Close what tornado no longer knows of."""
        for stream in self._streams:
            stream.close()

    async def close_idle(self, seconds: float) -> None:
        """Close, until canceled, connections without a complete request for this long."""
        while True:
            await asyncio.sleep(seconds / 4)
            for stream in [each for each, heard in self._streams.items() if heard < time.monotonic() - seconds]:
                if not stream.writing():  # a slow reader of a long answer is not idle
                    del self._streams[stream]
                    stream.close()


class Message(HTTPMessageDelegate):
    """A request as it arrives, piece by piece; `handle` gets it when it is complete.

    Tornado's own `HTTPServerRequest` would parse the query twice; here only `api.admission` does.
    """

    target: str
    method: str
    headers: HTTPHeaders
    is_plain: bool  # what is answered has a body, and the connection stays

    def __init__(self, connection: HTTP1Connection, handle: Callable[[Message], None]) -> None:
        self.connection = connection
        self.body = b""
        self._handle = handle

    def headers_received(self, start_line: RequestStartLine | ResponseStartLine, headers: HTTPHeaders) -> None:
        """Receive the head."""
        self.method, self.target, version = cast("RequestStartLine", start_line)
        self.headers = headers
        kept = "Connection" not in headers or headers["Connection"].lower() == "keep-alive"
        self.is_plain = version == "HTTP/1.1" and self.method != "HEAD" and kept

    def data_received(self, chunk: bytes) -> None:
        """Receive a piece of the body, which is small."""
        self.body += chunk

    def finish(self) -> None:
        """Pass the complete request on."""
        self._handle(self)


class Server(HTTPServerConnectionDelegate):
    """Serves an exchange at one port of this machine.

    Parameters
    ----------
    app : App
        The exchange without its HTTP side.
    port : int
        Port to listen on; 0 for a free one. A port in use raises OSError here.
    market : Market
        What a second process can move.
    header_seconds, body_seconds : float
        How long a request may take to arrive; the first also bounds how long a connection may stay idle.
    """

    def __init__(
        self,
        app: App,
        port: int,
        market: Market,
        *,
        header_seconds: float = HEADER_SECONDS,
        body_seconds: float = BODY_SECONDS,
    ) -> None:
        self._app = app
        self._deadlines = header_seconds, body_seconds
        self._control = Control(app, market)
        self._socket = socket.create_server((HOST, port), backlog=BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        names = (HOST, "localhost", "[::1]")
        self._hosts = frozenset(names) | {f"{name}:{self.port}" for name in names}
        self._tasks: set[asyncio.Task[None]] = set()
        self._connections: Connections
        _servers.add(self)

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until told to stop, then close every connection."""
        header_seconds, body_seconds = self._deadlines
        self._connections = Connections(
            self,
            max_body_size=MAX_BODY,
            max_header_size=MAX_HEADERS,
            body_timeout=body_seconds,
        )
        self._connections.add_socket(self._socket)
        self._tasks.add(asyncio.create_task(self._connections.close_idle(header_seconds)))
        self._tasks.add(asyncio.create_task(self._follow_the_time()))
        await stopping.wait()
        self._connections.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._connections.close_all_connections()
        self._connections.close_detached()

    async def _follow_the_time(self) -> None:
        while True:
            await asyncio.sleep(MARKET_SECONDS)
            self._app.move()

    def disown(self) -> None:
        """Close, in a forked child, the parent's listening socket and connections, so that they end with the parent.

        Only this process's descriptors: the event loop is shared with the parent and must not notice.
        """
        self._socket.close()
        for stream in (
            list(self._connections.open) if hasattr(self, "_server") else ()
        ):  # it may not have begun to serve
            if stream.socket is not None:
                stream.socket.close()

    def start_request(self, server_conn: object, request_conn: HTTPConnection) -> Message:  # noqa: ARG002 - tornado's
        """Begin to read a request."""
        return Message(cast("HTTP1Connection", request_conn), self._handle)

    def _handle(self, request: Message) -> None:
        connection, app = request.connection, self._app
        self._connections.heard_from(connection.stream)
        if request.headers.get("Host", "").lower() not in self._hosts:
            # A page that rebinds its name to loopback is turned away.
            send(request, Response(403), app.date())
            return
        if request.headers.get("Sec-Fetch-Site", "none") not in {"none", "same-origin"}:
            # So is any other page: a browser says of each request what kind of page it comes from.
            send(request, Response(403), app.date())
            return
        method = request.method
        path, _, query = request.target.partition("?")
        address: str = connection.context.remote_ip  # type: ignore[attr-defined]
        arrived = Request(query.encode("latin-1"), request.body, request.headers, address)
        if path.startswith("/nbext/"):
            send(request, self._control.answer(method, path, arrived), app.date())
            return
        context = app.arrive(method, path, arrived)
        fault = app.faults.take(method, path, context.symbol)
        if fault is None:
            app.enter(context)
            response = app.execute(context)
            if response.status in TOO_MUCH:
                response = app.held_back(response)
            context.entry.status = response.status
            send(request, response, app.limit_headers(arrived))
            return
        self._connections.owes(connection.stream)
        self._later(self._go_wrong(fault, context, request))

    def _later(self, work: Coroutine[None, None, None]) -> None:
        """Run a task beside everything else."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_wrong(self, fault: Fault, context: RequestContext, request: Message) -> None:
        """Serve a request that meets a fault. Others are served while it waits."""
        app, entry, connection = self._app, context.entry, request.connection
        entry.fault = fault.kind
        if fault.interim:
            with suppress(StreamClosedError):
                await connection.stream.write(b"".join(map(_interim, fault.interim)))
        response = Response(200)
        if fault.executes:
            app.enter(context)
            await asyncio.sleep(fault.delay)
            tail = app.tail(context) if fault.hides_answer else 0.0
            if tail:
                self._later(self._execute_later(context, tail))
            else:
                response = app.execute(context)
        else:
            entry.symbol = context.symbol()
            await asyncio.sleep(fault.delay)
        await asyncio.sleep(fault.late)
        response = fault.replace(response, f"http://{request.headers['Host']}{request.target}", request.headers)
        if request.method == "HEAD":
            response = _without_body(response)
        if response.status in TOO_MUCH:
            response = app.held_back(response)
        entry.status = None if fault.ending in {"closed", "reset", "silent"} else response.status
        if fault.jump:
            app.faults.skew += fault.jump
        headers = app.limit_headers(context.request)
        if fault.ending in {"answered", "silent"}:
            await self._go_dead(connection, _written(response, headers) if fault.ending == "answered" else b"")
        elif fault.ending != "kept":
            await end(connection.detach(), fault, response, headers)
        else:
            send(request, response, headers, copies=1 if fault.pause else fault.copies)
            self._connections.heard_from(connection.stream)
            if fault.copies > 1 and fault.pause:
                await asyncio.sleep(fault.pause)
                with suppress(StreamClosedError):
                    await connection.stream.write(_written(response, headers))

    async def _execute_later(self, context: RequestContext, seconds: float) -> None:
        """Execute a request after all, when its answer is no longer awaited."""
        await asyncio.sleep(seconds)
        self._app.execute(context)

    async def _go_dead(self, connection: HTTP1Connection, last: bytes) -> None:
        """Send a last answer, or none, and leave the connection open until others need its place."""
        stream = connection.detach()
        self._connections.heard_from(stream)
        with suppress(StreamClosedError):
            await stream.write(last)


_servers: WeakSet[Server] = WeakSet()


_late: list[map[None]] = []


def _disown_all() -> None:
    try:
        for server in list(_servers):
            server.disown()
    except KeyboardInterrupt:  # it would be printed and lost, and some sockets would stay open
        _late.append(map(_thread.interrupt_main, [signal.SIGINT]))
        _disown_all()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_disown_all)
    # Gives it again: `any` takes the element of a map, and so calls `interrupt_main`. No signal interrupts this, as it
    # is all in C.
    os.register_at_fork(after_in_child=partial(_late.sort, key=any))


def send(request: Message, response: Response, headers: dict[str, str] | None = None, *, copies: int = 1) -> None:
    """Send an answer; a client that has left is not an error."""
    connection = request.connection
    with suppress(StreamClosedError):
        if not request.is_plain:
            if request.method == "HEAD":
                response = _without_body(response)
            start = ResponseStartLine("HTTP/1.1", response.status, _phrase(response.status))
            connection.write_headers(start, HTTPHeaders(_fields(response, headers)), response.body)
            connection.finish()
            return
        # Tornado's own way with headers costs a tenth of a whole cancel.
        written = connection.stream.write(_written(response, headers) * copies)
        if connection.stream.writing():
            written.add_done_callback(lambda _: connection.finish())
        else:
            connection.finish()


async def end(stream: IOStream, fault: Fault, response: Response, headers: dict[str, str]) -> None:
    """Send what the fault leaves of the answer, then close the connection."""
    try:
        with suppress(StreamClosedError):
            if fault.ending in {"truncated", "dripped"}:
                await stream.write(_head(response, headers | {"Connection": "close"}))
            if fault.ending == "truncated":
                await stream.write(response.body[: fault.size])
            elif fault.ending == "dripped":
                for start in range(0, len(response.body), fault.size):
                    await stream.write(response.body[start : start + fault.size])
                    await asyncio.sleep(fault.pause)
            elif fault.ending == "reset" and stream.socket is not None:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    finally:
        stream.close()


def _without_body(response: Response) -> Response:
    """Return what HEAD gets: the length of the body, and not the body."""
    return response._replace(body=b"", headers={"Content-Length": str(len(response.body)), **response.headers})


def _interim(status: int) -> bytes:
    hint = "Link: </style.css>; rel=preload; as=style\r\n" if status == EARLY_HINTS else ""
    return f"HTTP/1.1 {status} {_phrase(status)}\r\n{hint}\r\n".encode()


def _written(response: Response, headers: dict[str, str] | None) -> bytes:
    return _head(response, headers) + response.body


def _head(response: Response, headers: dict[str, str] | None) -> bytes:
    lines = "\r\n".join([f"{name}: {value}" for name, value in _fields(response, headers).items()])
    return f"HTTP/1.1 {response.status} {_phrase(response.status)}\r\n{lines}\r\n\r\n".encode("latin-1")


def _fields(response: Response, more: dict[str, str] | None) -> dict[str, str]:
    return {"Content-Length": str(len(response.body)), **response.headers, **(more or {})}


def _phrase(status: int) -> str:
    return responses.get(status, "Unknown")
