"""The servers of the figures, each in a process of its own: ``python serving.py canned|tornado|exchange [OPTION]``.

The first line on standard output is a greeting in JSON; the process ends with its standard input.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import re
import socket
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Any

import floors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from nbext.exchange import LocalExchange

HOST = "127.0.0.1"
HEADERS = {
    "X-Mbx-Uuid": "9f1c2a34-5b6d-4e7f-a8b9-0c1d2e3f4a5b",
    "Content-Type": "application/json;charset=UTF-8",
    "Date": "Fri, 27 Nov 2026 08:00:00 GMT",
    "X-MBX-USED-WEIGHT": "1200",
    "X-MBX-USED-WEIGHT-1M": "1200",
}


@dataclass(frozen=True)
class Server:
    """Where a server is, and the key that it knows."""

    url: str
    api_key: str = floors.API_KEY
    secret_key: str = floors.SECRET_KEY

    def arrivals(self) -> list[dict[str, Any]]:
        """Return the requests that a canned server has met since it was last asked."""
        with floors.HandSigned(self.url) as asking:
            met: list[dict[str, Any]] = json.loads(asking.send("GET", "/arrivals"))
        return met

    def cancel(self) -> float:
        """Return when the one cancel arrived that was sent since the arrivals were last asked for; wait for it."""
        while not (met := [each["at"] for each in self.arrivals() if each["request"].startswith("DELETE")]):
            time.sleep(0.05)
        (at,) = met
        return float(at)


@contextmanager
def serving(kind: str, *options: object) -> Iterator[Server]:
    """Run a server in a process of its own."""
    command = [sys.executable, __file__, kind, *map(str, options)]
    with Popen(command, stdin=PIPE, stdout=PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        try:
            yield Server(**json.loads(process.stdout.readline()))
        finally:
            process.stdin.close()


class Canned:
    """Answers a cancel-all with prepared bytes, as fast as Python can: a raw socket and a thread for each connection.

    The symbol ``N200USDT`` gets 200 orders, ``N0USDT`` the refusal that says that nothing is open, any other four.

    Parameters
    ----------
    delay : float
        Seconds that each answer to a cancel takes.
    """

    def __init__(self, delay: float) -> None:
        self._delay = delay
        self._answers = {b"N0USDT": _answer(b'{"code":-2011,"msg":"Unknown order sent."}', "400 Bad Request")}
        self._arrivals: list[dict[str, object]] = []
        self._ids = itertools.count()

    def serve(self, listening: socket.socket) -> None:
        """Serve until the process ends."""
        number = 0
        while True:
            connection, _ = listening.accept()
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            number += 1
            threading.Thread(target=self._talk, args=(connection, number), daemon=True).start()

    def _talk(self, connection: socket.socket, number: int) -> None:
        with connection:
            while request := _receive(connection):
                at = time.monotonic()
                own = b"\r\nX-Mbx-Uuid: %d\r\n" % next(self._ids)
                connection.sendall(self._reply(request, number, at).replace(b"\r\n", own, 1))

    def _reply(self, request: bytes, number: int, at: float) -> bytes:
        start = request[: request.index(b"\r\n")]
        if start.startswith(b"GET /arrivals"):
            met, self._arrivals = self._arrivals, []
            return _answer(json.dumps(met).encode())
        target = start[: start.index(b"?")] if b"?" in start else start.rpartition(b" ")[0]
        self._arrivals.append({"connection": number, "at": at, "request": target.decode()})
        if not target.startswith(b"DELETE "):
            return _answer(b"{}")
        if self._delay:
            time.sleep(self._delay)
        asked = re.search(rb"symbol=([A-Z0-9]+)", request)
        symbol = asked[1] if asked else b"BTCUSDT"
        if symbol not in self._answers:
            wanted = re.fullmatch(rb"N([0-9]+)USDT", symbol)
            body = floors.body(int(wanted[1]) if wanted else 4)
            self._answers[symbol] = _answer(body.replace(b'"BTCUSDT"', b'"%s"' % symbol))
        return self._answers[symbol]


def _answer(body: bytes, status: str = "200 OK") -> bytes:
    head = f"HTTP/1.1 {status}\r\nContent-Type: application/json;charset=UTF-8\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body


def _receive(connection: socket.socket) -> bytes:
    request = b""
    while piece := connection.recv(1 << 16):
        request += piece
        head, end, content = request.partition(b"\r\n\r\n")
        length = re.search(rb"(?i)\r\ncontent-length: *([0-9]+)", head)
        if end and len(content) >= (int(length[1]) if length else 0):
            return request
    return b""


def canned(delay: str = "0") -> None:
    """Serve prepared answers."""
    listening = socket.create_server((HOST, 0), backlog=256)
    threading.Thread(target=Canned(float(delay)).serve, args=(listening,), daemon=True).start()
    _greet(url=f"http://{HOST}:{listening.getsockname()[1]}")


def tornado() -> None:
    """Serve with bare tornado: it answers a DELETE with what was last PUT, in headers like a `LocalExchange`'s."""
    from tornado.http1connection import HTTP1Connection
    from tornado.httpserver import HTTPServer
    from tornado.httputil import HTTPHeaders, HTTPServerRequest, ResponseStartLine
    from tornado.netutil import bind_sockets

    kept = [b""]

    def answer(request: HTTPServerRequest) -> None:
        if request.method == "PUT":
            kept[0] = request.body
        body = kept[0] if request.method == "DELETE" else b"{}"
        fields = HTTPHeaders({**HEADERS, "Content-Length": str(len(body))})
        assert isinstance(request.connection, HTTP1Connection)
        request.connection.write_headers(ResponseStartLine("HTTP/1.1", 200, "OK"), fields, body)
        request.connection.finish()

    async def serve() -> None:
        sockets = bind_sockets(0, HOST)
        HTTPServer(answer).add_sockets(sockets)
        await asyncio.to_thread(_greet, url=f"http://{HOST}:{sockets[0].getsockname()[1]}")

    asyncio.run(serve())


def list_more(exchange: LocalExchange, names: Iterable[str]) -> None:
    """List symbols that the exchange does not come with, and give every account some of each."""
    from nbext.exchange.engine.accounts import Balance
    from nbext.exchange.engine.matching import Market
    from nbext.exchange.engine.symbols import Listing, Symbol

    engine = exchange._app.engine
    for name in names:
        symbol = Symbol(Listing(name.removesuffix("USDT"), "USDT", "10", "0.01", "0.01", "5", "1000"), 200)
        engine.symbols[name] = symbol
        engine.markets[name] = Market(symbol, 1, lambda _: None)
        engine._next_order_id[name] = 1
        for account in engine.accounts.values():
            account.balances[symbol.base] = Balance(Decimal(10**9))
        exchange._app.maker.set_price(symbol, symbol.listing_price)


def exchange(more: str = "0") -> None:
    """Serve a `LocalExchange` that never says 429 and takes 20,000 orders on a symbol, with so many symbols more."""
    from nbext.exchange import LocalExchange

    many = 10**9
    with LocalExchange(
        max_num_orders=20_000, weight_limit=many, raw_request_limit=many, order_limits=(many, many)
    ) as served:
        list_more(served, (f"S{number}USDT" for number in range(int(more))))
        _greet(url=served.url, api_key=served.api_key, secret_key=served.secret_key)


def _greet(**greeting: str) -> None:
    """Print where it is, and stay until whoever started it is done."""
    sys.stdout.write(json.dumps(greeting) + "\n")
    sys.stdout.flush()
    sys.stdin.read()


_KINDS: dict[str, Callable[..., None]] = {"canned": canned, "tornado": tornado, "exchange": exchange}

if __name__ == "__main__":
    _KINDS[sys.argv[1]](*sys.argv[2:])
