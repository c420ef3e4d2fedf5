"""HTTP on loopback: sockets, connections, and how an answer leaves, or fails to."""

from __future__ import annotations

import asyncio
import socket
import struct
import uuid
from contextlib import suppress
from http import HTTPStatus
from typing import TYPE_CHECKING

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine
from tornado.iostream import StreamClosedError

from nbext.exchange.backstage import Backstage
from nbext.exchange.faults import Reply
from nbext.exchange.gate import Request

if TYPE_CHECKING:
    from tornado.http1connection import HTTP1Connection
    from tornado.httputil import HTTPServerRequest
    from tornado.iostream import IOStream

    from nbext.exchange.faults import Fault
    from nbext.exchange.venue import Venue, Visit

HOST = "127.0.0.1"
BACKLOG = 1024
MAX_BODY = 64 * 1024
MAX_HEADERS = 16 * 1024
MAX_CONNECTIONS = 256
HEADER_SECONDS = 300.0  # a notebook's kept-alive connection should survive a look at the frame
BODY_SECONDS = 10.0
RESET = struct.pack("ii", 1, 0)  # linger for zero seconds: closing sends RST


class Connections(HTTPServer):
    """Keeps connections few: a thousand idle ones take no file descriptors from the process they sit in."""

    def initialize(self, *args: object, **kwargs: object) -> None:
        """Prepare as tornado does."""
        super().initialize(*args, **kwargs)  # type: ignore[arg-type]
        self._streams: dict[IOStream, None] = {}  # the one heard from longest ago comes first

    def handle_stream(self, stream: IOStream, address: tuple[str, int]) -> None:
        """Serve a new connection; the one heard from longest ago makes room for it."""
        if len(self._streams) >= MAX_CONNECTIONS:
            for each in [each for each in self._streams if each.closed()]:
                del self._streams[each]
        if len(self._streams) >= MAX_CONNECTIONS:
            oldest = next(iter(self._streams))
            del self._streams[oldest]
            oldest.close()
        self._streams[stream] = None
        super().handle_stream(stream, address)

    def heard_from(self, stream: IOStream) -> None:
        """Move a connection to the end of the queue of those that make room."""
        self._streams.pop(stream, None)
        self._streams[stream] = None

    def owes(self, stream: IOStream) -> None:
        """Let a connection not make room while an answer is on its way."""
        self._streams.pop(stream, None)


class Listener:
    """Serves a venue at one port of this machine.

    Parameters
    ----------
    venue : Venue
        What is behind it.
    port : int
        Port to listen at; 0 takes a free one. A port that is taken raises OSError here.
    header_seconds, body_seconds : float
        How long a request may take to arrive; the first also bounds how long a connection may stay idle.
    """

    def __init__(
        self, venue: Venue, port: int, *, header_seconds: float = HEADER_SECONDS, body_seconds: float = BODY_SECONDS
    ) -> None:
        self._venue = venue
        self._deadlines = header_seconds, body_seconds
        self._backstage = Backstage(venue)
        self._socket = socket.create_server((HOST, port), backlog=BACKLOG)
        self._socket.setblocking(False)
        self.port: int = self._socket.getsockname()[1]
        names = (HOST, "localhost", "[::1]")
        self._hosts = frozenset(names) | {f"{name}:{self.port}" for name in names}
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: Connections

    async def serve(self, stopping: asyncio.Event) -> None:
        """Serve until told to stop, then close every connection."""
        self._server = Connections(
            self._handle,
            max_body_size=MAX_BODY,
            max_header_size=MAX_HEADERS,
            idle_connection_timeout=self._deadlines[0],
            body_timeout=self._deadlines[1],
        )
        self._server.add_socket(self._socket)
        await stopping.wait()
        self._server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._server.close_all_connections()

    def _handle(self, request: HTTPServerRequest) -> None:
        connection: HTTP1Connection = request.connection  # type: ignore[assignment]
        self._server.heard_from(connection.stream)
        venue = self._venue
        if request.headers.get("Host", "").lower() not in self._hosts:
            # A page that rebinds its name to loopback must get nowhere.
            send(connection, Reply(403))
            return
        method, path = request.method or "", request.path
        address = request.remote_ip or HOST
        arrived = Request(request.query.encode("latin-1", "replace"), request.body, request.headers, address)
        if path.startswith("/nbext/"):
            send(connection, self._backstage.answer(method, path, arrived))
            return
        visit = venue.arrive(method, path, arrived, wants_html="text/html" in request.headers.get("Accept", ""))
        fault = venue.faults.take(method, path, visit.symbol)
        if fault is None:
            venue.enter(visit)
            reply = venue.execute(visit)
            visit.entry.status = reply.status
            send(connection, reply, venue.limit_headers(address))
            return
        self._server.owes(connection.stream)
        task = asyncio.get_running_loop().create_task(self._go_wrong(fault, visit, request, connection))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _go_wrong(
        self, fault: Fault, visit: Visit, request: HTTPServerRequest, connection: HTTP1Connection
    ) -> None:
        """Serve a request that meets a fault. Others are served while it waits."""
        venue, entry = self._venue, visit.entry
        entry.fault = fault.kind
        reply = Reply(200)
        if fault.executes:
            venue.enter(visit)
            await asyncio.sleep(fault.delay)
            reply = venue.execute(visit)
        else:
            entry.symbol = visit.symbol()
            await asyncio.sleep(fault.delay)
        await asyncio.sleep(fault.late)
        url = f"http://{request.host}{request.uri}"
        reply = fault.replace(url, request.headers) or reply
        entry.status = None if fault.ending in {"closed", "reset"} else reply.status
        headers = venue.limit_headers(visit.request.address)
        if fault.ending == "kept":
            send(connection, reply, headers)
            self._server.heard_from(connection.stream)
        else:
            await end(connection.detach(), fault, reply, headers)


def send(connection: HTTP1Connection, reply: Reply, headers: dict[str, str] | None = None) -> None:
    """Send an answer; nobody is there any more is no error."""
    with suppress(StreamClosedError):
        start = ResponseStartLine("HTTP/1.1", reply.status, _phrase(reply.status))
        connection.write_headers(start, _headers(reply, headers), reply.body)
        connection.finish()


async def end(stream: IOStream, fault: Fault, reply: Reply, headers: dict[str, str]) -> None:
    """Send what the fault leaves of an answer, then close the connection."""
    try:
        with suppress(StreamClosedError):
            if fault.ending in {"truncated", "dripped"}:
                headers["Connection"] = "close"
                fields = "".join(f"{name}: {value}\r\n" for name, value in _headers(reply, headers).get_all())
                await stream.write(f"HTTP/1.1 {reply.status} {_phrase(reply.status)}\r\n{fields}\r\n".encode())
            if fault.ending == "truncated":
                await stream.write(reply.body[: fault.size])
            elif fault.ending == "dripped":
                for start in range(0, len(reply.body), fault.size):
                    await stream.write(reply.body[start : start + fault.size])
                    await asyncio.sleep(fault.pause)
            elif fault.ending == "reset" and stream.socket is not None:
                stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
    finally:
        stream.close()


def _headers(reply: Reply, more: dict[str, str] | None) -> HTTPHeaders:
    fields = {"x-mbx-uuid": str(uuid.uuid4()), **reply.headers, **(more or {}), "Content-Length": str(len(reply.body))}
    return HTTPHeaders(fields)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown"
