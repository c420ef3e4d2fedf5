"""A TCP proxy between client and exchange: it spoils what passes, and writes down what the client was told."""

from __future__ import annotations

import json
import socket
import struct
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable

PAGE = b"<html>bad gateway</html>"
BAD_GATEWAY = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\nContent-Length: %d\r\n\r\n%b" % (len(PAGE), PAGE)
RESET = struct.pack("ii", 1, 0)


@dataclass(slots=True)
class Talk:
    """One request, and what of its answer was passed on."""

    method: str
    path: str
    params: dict[str, str]
    at: float
    status: int | None = None
    body: bytes | None = None
    """The whole body, where all of it was passed on."""
    done_at: float | None = None

    def document(self) -> Any:  # noqa: ANN401 - a JSON document
        """Read the answer; None where there was none to read."""
        try:
            return None if self.body is None else json.loads(self.body)
        except ValueError:
            return None


@dataclass(slots=True)
class Mishap:
    """What the proxy does to the next requests of a method."""

    kind: str
    method: str
    share: float = 0.5
    seconds: float = 0.0
    reset: bool = False
    times: int = 1


@dataclass(slots=True)
class Proxy:
    """Passes requests on to a port of this machine.

    Attributes
    ----------
    upstream : int
    on_delete : callable
        Told of each DELETE that has arrived whole, before it is passed on.
    talks : list of Talk
    """

    upstream: int
    on_delete: Callable[[Talk], None] = lambda _: None
    talks: list[Talk] = field(default_factory=list)
    deleting: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    _mishaps: list[Mishap] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _busy: int = 0
    _listener: socket.socket | None = None

    def start(self) -> Proxy:
        """Listen."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()
        return self

    @property
    def url(self) -> str:
        """The base URL for clients."""
        return f"http://{self.host}"

    @property
    def host(self) -> str:
        """How the journal names it."""
        return f"127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Listen no more. What is under way goes on."""
        if self._listener is not None:
            with suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None

    def spoil(self, mishap: Mishap) -> None:
        """Let something happen to the next requests."""
        self._mishaps.append(mishap)

    def wait_until_idle(self, seconds: float = 20.0) -> None:
        """Wait until nothing is under way any more, so that nothing can be carried out late."""
        ends = time.monotonic() + seconds
        while self._busy:
            if time.monotonic() > ends:
                raise TimeoutError("the proxy is still busy")
            time.sleep(0.005)

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client, suppress(OSError):
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            while request := self._read_request(client):
                with self._lock:
                    self._busy += 1
                try:
                    if not self._handle(client, request):
                        return
                finally:
                    with self._lock:
                        self._busy -= 1

    @staticmethod
    def _read_request(client: socket.socket) -> bytes:
        request = b""
        while b"\r\n\r\n" not in request:
            piece = client.recv(65536)
            if not piece:
                return b""
            request += piece
        return request

    def _handle(self, client: socket.socket, request: bytes) -> bool:
        """Deal with one request; say whether the connection is still good."""
        method, target, _ = request.split(b"\r\n", 1)[0].decode().split(" ")
        parts = urlsplit(target)
        talk = Talk(method, parts.path, dict(parse_qsl(parts.query)), time.monotonic())
        self.talks.append(talk)
        mishap = self._take(method)
        if method == "DELETE":
            self.on_delete(talk)
            self.deleting.set()
        request = request.replace(b"127.0.0.1:%d" % self.port, b"127.0.0.1:%d" % self.upstream)
        if mishap.kind == "proxy_drops_request":
            return self._break_off(client, mishap)
        if mishap.kind == "proxy_page_before":
            client.sendall(BAD_GATEWAY)
            return True
        if mishap.kind == "proxy_delays_request":
            time.sleep(mishap.seconds)
        with socket.create_connection(("127.0.0.1", self.upstream)) as upstream:
            upstream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            if mishap.kind == "proxy_cuts_request":
                upstream.sendall(request[: int(len(request) * mishap.share)])
                return self._break_off(client, mishap)
            upstream.sendall(request)
            return self._pass_on(client, upstream, talk, mishap)

    def _take(self, method: str) -> Mishap:
        with self._lock:
            for mishap in self._mishaps:
                if mishap.method in {"*", method}:
                    mishap.times -= 1
                    if not mishap.times:
                        self._mishaps.remove(mishap)
                    return mishap
        return Mishap("none", method)

    def _pass_on(self, client: socket.socket, upstream: socket.socket, talk: Talk, mishap: Mishap) -> bool:
        whole, size = b"", None
        keeps_back = mishap.kind in {"proxy_cuts_reply", "proxy_delays_reply", "proxy_drips_reply", "proxy_page_after"}
        while size is None or len(whole) < size:
            try:
                piece = upstream.recv(65536)
            except ConnectionResetError:
                return self._break_off(client, Mishap("", "", reset=True))
            if not piece:  # the exchange broke off
                if keeps_back:
                    client.sendall(whole)
                return self._break_off(client, Mishap("", ""))
            whole += piece
            if not keeps_back:
                client.sendall(piece)
            if size is None and b"\r\n\r\n" in whole:
                size = _size(whole)
        return self._hand_over(client, whole, talk, mishap)

    def _hand_over(self, client: socket.socket, whole: bytes, talk: Talk, mishap: Mishap) -> bool:
        """Give the client what the mishap leaves of an answer that has come whole."""
        if mishap.kind == "proxy_page_after":
            client.sendall(BAD_GATEWAY)
            return True
        if mishap.kind == "proxy_cuts_reply":
            client.sendall(whole[: int(len(whole) * mishap.share)])
            return self._break_off(client, mishap)
        if mishap.kind == "proxy_delays_reply":
            time.sleep(mishap.seconds)
            client.sendall(whole)
        if mishap.kind == "proxy_drips_reply":
            for start in range(0, len(whole), 100):
                client.sendall(whole[start : start + 100])
                time.sleep(mishap.seconds)
        talk.status = int(whole.split(b" ", 2)[1])
        talk.body = whole.partition(b"\r\n\r\n")[2]
        talk.done_at = time.monotonic()
        return True

    @staticmethod
    def _break_off(client: socket.socket, mishap: Mishap) -> bool:
        if mishap.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return False


def _size(answer: bytes) -> int:
    head = answer.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    return len(head) + 4
