"""A server on loopback that answers what a test tells it to, byte for byte."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


@dataclass(frozen=True)
class Request:
    """A request as it came in, byte for byte."""

    method: str
    target: str
    headers: Mapping[str, str]
    connection: int
    at: float
    """Monotonic time of its arrival, the same in all processes."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return urlsplit(self.target).path

    @property
    def params(self) -> dict[str, str]:
        """The decoded query parameters."""
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))


class ResetConnection(Exception):
    """Raised by a responder: break the connection off with a TCP reset."""


def answer(
    body: object = b"", status: int = 200, headers: Mapping[str, str] | None = None, *, length: int | None = None
) -> bytes:
    """Write an HTTP answer; `body` is bytes, text, or a JSON document, and `length` may lie about it."""
    if not isinstance(body, bytes):
        body = (body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)).encode()
    fields = {
        "Content-Type": "application/json;charset=UTF-8",
        "Content-Length": str(len(body) if length is None else length),
        **(headers or {}),
    }
    try:
        phrase = HTTPStatus(status).phrase
    except ValueError:
        phrase = "Unknown"
    head = f"HTTP/1.1 {status} {phrase}\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return head.encode() + b"\r\n" + body


class PlainServer:
    """An HTTP server on loopback that answers what its responder says, byte for byte.

    ``connections`` counts those that were opened, ``at_work`` those that are open.

    The responder gets a `Request` and returns the bytes of the answer, or an iterable of pieces to send one by one.
    The connection stays open after ``bytes``, and is closed after an iterable.

    Pings, with which a client makes sure of an answer that is just like the one before, get their answer like on every
    exchange, and are listed in ``pings`` rather than in ``requests``.
    """

    def __init__(self, respond: Callable[[Request], bytes | Iterable[bytes]]) -> None:
        self._respond = respond
        self.requests: list[Request] = []
        self.pings: list[Request] = []
        self.pong = answer({})
        self.connections = 0
        self.at_work = 0
        self._socket = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = []
        self.url = f"http://127.0.0.1:{self._socket.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop listening, and close what is open."""
        self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._socket.close()
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            self.connections += 1
            self._open.append(connection)
            self.at_work += 1
            threading.Thread(target=self._attend, args=(connection, self.connections), daemon=True).start()

    def hang_up(self) -> None:
        """Close all connections."""
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def _attend(self, connection: socket.socket, number: int) -> None:
        try:
            self._serve(connection, number)
        finally:
            self.at_work -= 1

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            with connection, connection.makefile("rb") as lines:
                # What is not HTTP, such as the greeting of a SOCKS client, may end without a line end.
                while lines.peek(1)[:1].isalpha():
                    method, target, _ = lines.readline().decode("latin-1").split(" ")
                    headers = {}
                    while (line := lines.readline().decode("latin-1").strip()) != "":
                        name, _, value = line.partition(":")
                        headers[name] = value.strip()
                    request = Request(method, target, headers, number, time.monotonic())
                    if target == "/api/v3/ping":
                        self.pings.append(request)
                        connection.sendall(self.pong)
                        continue
                    self.requests.append(request)
                    try:
                        pieces = self._respond(request)
                        for piece in [pieces] if isinstance(pieces, bytes) else pieces:
                            connection.sendall(piece)
                    except ResetConnection:
                        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                        return
                    if not isinstance(pieces, bytes):
                        return
        except OSError:
            pass
