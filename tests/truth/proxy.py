"""A TCP proxy between client and exchange: it spoils what passes, and writes down what the client was told."""

from __future__ import annotations

import json
import re
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
INTERIM = b"HTTP/1.1 %d %b\r\nLink: </style.css>; rel=preload\r\n\r\n"
LISTINGS = frozenset({"proxy_lists_twice", "proxy_lacks_symbol"})
MANGLING = LISTINGS | {"proxy_foreign_reply", "proxy_previous_reply", "proxy_report_refused", "proxy_error_200"}
KEEPS_BACK = MANGLING | {
    *("proxy_cuts_reply", "proxy_delays_reply", "proxy_drips_reply", "proxy_page_after"),
    *("proxy_doubles_reply", "proxy_doubles_later"),
}
ERRORS = (
    b'{"code":-2011,"msg":"Unknown order sent."}',
    b'{"code":-1021,"msg":"Timestamp for this request is outside of the recvWindow."}',
    b'{"code":-1003,"msg":"Too much request weight used."}',
    b'{"code":-2010,"msg":"Account has insufficient balance for requested action."}',
)
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
    line: int | None = None
    """The status that was passed on, be the rest as it may."""
    wall: float = field(default_factory=time.time)
    retry_after: float | None = None
    mangled: bool = False
    """Whether what was passed on is not what the exchange has answered."""
    skew: float = 0.0
    """By how many seconds the exchange's clock was ahead when it arrived."""
    connection: int = 0
    """The client's port: what comes on one connection comes from one process."""

    def document(self) -> Any:
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
    executes: bool = True
    count: int = 1


@dataclass(slots=True)
class Proxy:
    """Passes requests on to a port of this machine.

    Attributes
    ----------
    upstream : int
    on_delete : callable
        Told of each DELETE that has arrived whole, before it is passed on.
    skew : callable
        Tells by how many seconds the exchange's clock is ahead.
    talks : list of Talk
    """

    upstream: int
    on_delete: Callable[[Talk], None] = lambda _: None
    skew: Callable[[], float] = lambda: 0.0
    talks: list[Talk] = field(default_factory=list)
    deleting: threading.Event = field(default_factory=threading.Event)
    port: int = 0
    _previous: bytes = b""
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
            port = client.getpeername()[1]
            while request := self._read_request(client):
                with self._lock:
                    self._busy += 1
                try:
                    if not self._handle(client, request, port):
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

    def _handle(self, client: socket.socket, request: bytes, port: int) -> bool:
        """Deal with one request; say whether the connection is still good."""
        method, target, _ = request.split(b"\r\n", 1)[0].decode().split(" ")
        parts = urlsplit(target)
        talk = Talk(method, parts.path, dict(parse_qsl(parts.query)), time.monotonic())
        talk.skew, talk.connection = self.skew(), port
        self.talks.append(talk)
        mishap = self._take(method)
        if method == "DELETE":
            self.on_delete(talk)
            self.deleting.set()
        request = request.replace(b"127.0.0.1:%d" % self.port, b"127.0.0.1:%d" % self.upstream)
        if mishap.kind == "proxy_drops_request":
            return self._break_off(client, mishap)
        if mishap.kind == "proxy_page_before":
            talk.line = 502
            client.sendall(BAD_GATEWAY)
            return True
        if mishap.kind == "proxy_delays_request":
            time.sleep(mishap.seconds)
        if mishap.kind == "proxy_interim":
            for code, words in [(103, b"Early Hints"), (102, b"Processing"), (100, b"Continue")][: mishap.count]:
                client.sendall(INTERIM % (code, words))
        if mishap.kind in {"proxy_previous_reply", "proxy_error_200"} and not mishap.executes:
            return self._hand_over(client, b"", talk, mishap)
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
        keeps_back = mishap.kind in KEEPS_BACK
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
            talk.line = int(whole[9:12]) if len(whole) > 12 else None
            if not keeps_back:
                client.sendall(piece)
            if size is None and b"\r\n\r\n" in whole:
                size = _size(whole)
        return self._hand_over(client, whole, talk, mishap)

    def _hand_over(self, client: socket.socket, whole: bytes, talk: Talk, mishap: Mishap) -> bool:
        """Pass on to the client what the mishap leaves of an answer that has come whole."""
        if mishap.kind == "proxy_page_after":
            talk.line = 502
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
        if mishap.kind in MANGLING:
            mangled = _mangled(whole, self._previous, talk, mishap)
            talk.mangled, whole = mangled != whole, mangled
            if not whole:  # there was nothing to send in its place
                return self._break_off(client, mishap)
            client.sendall(whole)
        elif b" 200 " in whole[:20]:
            self._previous = whole
        head, _, talk.body = whole.partition(b"\r\n\r\n")
        talk.status = talk.line = int(head.split(b" ", 2)[1])
        if (found := re.search(rb"(?i)\r\nretry-after: *([0-9]+)\r", head + b"\r")) is not None:
            talk.retry_after = float(found[1])
        talk.done_at = time.monotonic()
        if mishap.kind in {"proxy_doubles_reply", "proxy_doubles_later"}:
            if mishap.kind == "proxy_doubles_later":
                client.sendall(whole)
                time.sleep(mishap.seconds)
                client.sendall(whole)
            else:
                client.sendall(whole + whole)
            talk.done_at = time.monotonic()
        return True

    @staticmethod
    def _break_off(client: socket.socket, mishap: Mishap) -> bool:
        if mishap.reset:
            client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        return False


def _mangled(whole: bytes, previous: bytes, talk: Talk, mishap: Mishap) -> bytes:
    """Make another answer of one: about something else, or at odds with itself."""
    if mishap.kind == "proxy_previous_reply":
        return previous
    if mishap.kind == "proxy_error_200":
        return _answer(b"200 OK", ERRORS[mishap.count % len(ERRORS)])
    body = whole.partition(b"\r\n\r\n")[2]
    if b" 200 " not in whole[:20]:
        return whole
    if mishap.kind == "proxy_report_refused":
        return _answer([b"400 Bad Request", b"403 Forbidden", b"404 Not Found", b"429 Too Many"][mishap.count], body)
    try:
        document = json.loads(body)
    except ValueError:
        return whole
    if mishap.kind in LISTINGS:
        if not isinstance(document, list):
            return whole
        if mishap.kind == "proxy_lists_twice":
            document = document + document[: mishap.count]
        elif "symbol" in talk.params:
            document = [{name: value for name, value in each.items() if name != "symbol"} for each in document]
    elif isinstance(document, dict) and mishap.share < 0.5:  # another order, or another list, of the same symbol
        if "orderId" in document:
            document |= {
                "orderId": int(document["orderId"]) + 1,
                "clientOrderId": "another",
                "origClientOrderId": "another",
            }
        if "orderReports" in document:
            document |= {"orderListId": int(document["orderListId"]) + 1, "listClientOrderId": "another"}
            for leg in document["orderReports"]:
                leg |= {"orderListId": document["orderListId"], "orderId": int(leg["orderId"]) + 100}
    elif symbol := talk.params.get("symbol"):
        other = "ETHUSDT" if symbol == "BTCUSDT" else "BTCUSDT"
        document = json.loads(body.replace(b'"%b"' % symbol.encode(), b'"%b"' % other.encode()))
    changed = json.dumps(document, separators=(",", ":")).encode()
    return whole if json.loads(body) == document else _answer(b"200 OK", changed)


def _answer(status: bytes, body: bytes) -> bytes:
    return b"HTTP/1.1 %b\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (status, len(body), body)


def _size(answer: bytes) -> int:
    head = answer.partition(b"\r\n\r\n")[0]
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.lower() == b"content-length":
            return len(head) + 4 + int(value)
    return len(head) + 4
