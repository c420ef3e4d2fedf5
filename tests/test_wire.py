from __future__ import annotations

import contextlib
import gzip
import logging
import random
import threading
import time
import tracemalloc
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from unittest.mock import ANY

import pytest
from support.server import PlainServer, Request, answer

from nbext.spot.transport import LARGEST_BODY, Answer, Unanswered, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Serve = Callable[[Callable[[Request], bytes | Iterable[bytes]]], PlainServer]


def wire(server: PlainServer, **settings: float) -> contextlib.closing[Wire]:
    """Make a wire to a server, to be used in a with statement."""
    return contextlib.closing(Wire(server.url, {"X-Always": "1"}, proxied=False, **settings))


def test_each_thread_gets_its_own_answer(serve: Serve) -> None:
    """Eight threads on one wire never see each other's answer, and share few connections."""

    def respond(request: Request) -> bytes:
        time.sleep(random.random() / 200)  # noqa: S311 - jitter
        return answer(request.target)

    server = serve(respond)
    with wire(server) as line, ThreadPoolExecutor(8) as threads:
        targets = [f"/{number}?x={number}" for number in range(200)]
        answers = list(threads.map(lambda target: line.send("DELETE", target), targets))
    assert [got.body for got in answers] == [target.encode() for target in targets]
    assert sorted(request.target for request in server.requests) == sorted(targets)
    assert 2 <= server.connections <= 8


def test_more_threads_than_connections_are_all_served(serve: Serve) -> None:
    """Beyond eight at once a call waits or opens one more connection, and no call is lost or warned about."""
    gate = threading.Barrier(12)

    def respond(request: Request) -> bytes:
        gate.wait(5)
        return answer(request.target)

    server = serve(respond)
    with wire(server) as line, ThreadPoolExecutor(12) as threads:
        answers = list(threads.map(lambda number: line.send("GET", f"/{number}").body, range(12)))
    assert answers == [f"/{number}".encode() for number in range(12)]


def test_deadlines_of_threads_do_not_mix(serve: Serve) -> None:
    """A body that drips is given up in time, however many calls other threads begin meanwhile."""

    def respond(request: Request) -> bytes | Iterator[bytes]:
        return drip() if request.target == "/slow" else answer(request.target)

    def drip() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
        while not over.wait(0.04):
            yield b"x"

    over = threading.Event()
    server = serve(respond)
    with wire(server, answer_timeout=1.5) as line, ThreadPoolExecutor(1) as threads:
        began = time.monotonic()
        slow = threads.submit(line.send, "GET", "/slow")
        while not slow.done():
            assert line.send("GET", "/fast").body == b"/fast"
        assert slow.result().body is None
        assert time.monotonic() - began < 20
    over.set()


def test_a_body_beyond_all_measure_is_given_up(serve: Serve) -> None:
    """One byte more than the bound is no answer; what is within it comes whole."""

    def respond(request: Request) -> Iterator[bytes]:
        size = LARGEST_BODY + (request.target == "/more")
        yield f"HTTP/1.1 200 OK\r\nContent-Length: {size}\r\n\r\n".encode()
        yield from [b" " * 2**20] * (size // 2**20)
        yield b" " * (size % 2**20)

    server = serve(respond)
    with wire(server) as line:
        assert line.send("GET", "/more").body is None
        whole = line.send("GET", "/").body
    assert whole is not None
    assert len(whole) == LARGEST_BODY


def test_a_body_beyond_all_measure_is_given_up_on_a_kept_connection(serve: Serve) -> None:
    """Chunked, so that no length announces it."""

    def respond(request: Request) -> bytes | Iterator[bytes]:
        return answer(b"ok") if request.target == "/" else chunks()

    def chunks() -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for _ in range(LARGEST_BODY // 2**20 + 2):
            yield b"100000\r\n" + b" " * 2**20 + b"\r\n"
        yield b"0\r\n\r\n"

    server = serve(respond)
    with wire(server) as line:
        assert line.send("GET", "/").body == b"ok"
        assert line.send("GET", "/more").body is None
    assert server.connections == 1


def test_a_new_call_has_its_whole_time(serve: Serve) -> None:
    """The deadline starts anew with each call, also on a kept connection."""

    def respond(_: Request) -> bytes:
        time.sleep(0.2)
        return answer(b"ok")

    server = serve(respond)
    with wire(server, connect_timeout=0.2, answer_timeout=0.4) as line:
        assert [line.send("GET", "/").body for _ in range(3)] == [b"ok"] * 3
    assert server.connections == 1


def test_an_answer_has_status_headers_and_body(serve: Serve) -> None:
    """Header names are found in any case, and chunked bodies come whole."""

    def respond(request: Request) -> bytes:
        if request.target == "/chunked":
            return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"
        return answer(b"body", 400, {"Retry-After": "7"})

    server = serve(respond)
    with wire(server) as line:
        refusal, chunked = line.send("GET", "/"), line.send("POST", "/chunked", {"X-More": "2"})
    assert (refusal.status, refusal.headers["RETRY-after"], refusal.body) == (400, "7", b"body")
    assert (chunked.status, chunked.body) == (200, b"abc")
    first, second = server.requests
    assert first.headers["X-Always"] == second.headers["X-Always"] == "1"
    assert "Content-Length" not in first.headers
    assert "X-More" not in first.headers
    assert (second.headers["X-More"], second.headers["Content-Length"]) == ("2", "0")
    assert server.connections == 1


def test_headers_of_one_call_do_not_stay(serve: Serve) -> None:
    """A key that goes with one request is not sent with the next."""
    server = serve(lambda _: answer(b""))
    with wire(server) as line:
        line.send("DELETE", "/", {"X-MBX-APIKEY": "k"})
        line.send("GET", "/")
    assert "X-MBX-APIKEY" in server.requests[0].headers
    assert not {"X-MBX-APIKEY", "Content-Length"} & server.requests[1].headers.keys()


def test_what_went_out_is_told_for_each_call(serve: Serve) -> None:
    """Once a connection is kept, a lost answer still counts as written, and a refused connection never does."""
    server = serve(lambda request: answer(b"") if request.target == "/fine" else iter(()))
    with wire(server) as line:
        assert line.send("GET", "/fine").status == 200
        with pytest.raises(Unanswered) as lost:
            line.send("GET", "/lost")
        assert lost.value.written
        assert lost.value.__cause__ is lost.value.__context__ is None
        server.close()
        server.close = lambda: None  # type: ignore[method-assign] # it is closed
        with pytest.raises(Unanswered) as refused:
            line.send("GET", "/refused")
        assert (refused.value.written, refused.value.reason) == (False, "the connection was refused")


def test_a_body_that_drips_is_given_up_with_its_status(serve: Serve) -> None:
    """The status line came in time; the body did not, and is None."""

    def respond(_: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 429 Too Many Requests\r\nRetry-After: 3\r\nContent-Length: 99\r\n\r\n"
        while not over.wait(0.05):
            yield b"x"

    over = threading.Event()
    server = serve(respond)
    began = time.monotonic()
    with wire(server, answer_timeout=1.5) as line:
        got = line.send("GET", "/")
    assert time.monotonic() - began < 20
    over.set()
    assert got == Answer(429, got.headers, None)
    assert got.headers["Retry-After"] == "3"


def test_a_proxy_is_asked_for_a_tunnel_and_told_nothing_else(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another host goes through the environment's proxy, which sees its name and no header; loopback never does."""
    proxy = serve(lambda _: answer(b"", 407))
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    monkeypatch.setenv("HTTP_PROXY", proxy.url)
    remote = Wire("https://exchange.invalid", {"X-MBX-APIKEY": "secret"}, proxied=True)
    for _ in range(2):
        with contextlib.closing(remote), pytest.raises(Unanswered) as caught:
            remote.send("DELETE", "/api/v3/openOrders?signature=secret")
        assert not caught.value.written
    assert [(request.method, request.target) for request in proxy.requests] == [("CONNECT", "exchange.invalid:443")] * 2
    assert not any("secret" in value for request in proxy.requests for value in request.headers.values())
    server = serve(lambda _: answer({}))
    with wire(server) as direct:
        assert direct.send("GET", "/").status == 200
    assert len(proxy.requests) == 2


def test_the_first_request_and_the_next_look_the_same(serve: Serve) -> None:
    """A kept connection carries the same head as a new one, in the same spelling."""
    server = serve(lambda _: answer(b""))
    always = {"Accept-Encoding": "identity", "User-Agent": "a test"}  # what else urllib3 would fill in
    with contextlib.closing(Wire(server.url, always, proxied=False)) as line:
        for _ in range(3):
            line.send("DELETE", "/a?b=%2F%3D&c=d", {"X-MBX-APIKEY": "k"})
    first, *others = server.requests
    for other in others:
        assert (other.method, other.headers) == (first.method, first.headers)
        assert other.target == first.target == "/a?b=%2F%3D&c=d"
    assert server.connections == 1


@pytest.mark.parametrize("target", ["/a\r\nX: y", "/a\nb", "/a b", "/a\r"])
def test_nothing_smuggles_a_line_into_the_head(serve: Serve, target: str) -> None:
    """Neither on a new connection nor on a kept one: it is refused, or goes out as one harmless line."""
    server = serve(lambda _: answer(b""))
    with wire(server) as line:
        for _ in range(2):
            with contextlib.suppress(Unanswered):
                line.send("GET", target)
            line.send("GET", "/fine")
            with pytest.raises(Unanswered) as refused:
                line.send("GET", "/key", {"X-Key": f"k{target}"} if "\n" in target or "\r" in target else {"X": "a\nb"})
            assert not refused.value.written
    assert all(" " not in request.target and "X" not in request.headers for request in server.requests)


BODIES: dict[str, tuple[bytes, bytes | None, int]] = {
    "empty": (answer(b""), b"", 1),
    "no content": (b"HTTP/1.1 204 No Content\r\n\r\n", b"", 3),
    "chunked": (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n", b"[]", 1),
    "gzip": (answer(gzip.compress(b"[1]"), headers={"Content-Encoding": "gzip"}), b"[1]", 1),
    "no gzip": (answer(b"[1]", headers={"Content-Encoding": "gzip"}), None, 3),
    "bomb": (answer(gzip.compress(bytes(2**27)), headers={"Content-Encoding": "gzip"}), None, 3),
    "large": (answer(b" " * 3_000_000), b" " * 3_000_000, 1),
    "asked to close": (answer(b"[]", headers={"Connection": "close"}), b"[]", 3),
}


@pytest.mark.parametrize(("raw", "body", "connections"), BODIES.values(), ids=BODIES)
def test_bodies_are_read_alike_on_every_connection(
    serve: Serve, raw: bytes, body: bytes | None, connections: int
) -> None:
    """The first answer and later ones, however they are framed; a connection is kept while its answers are whole."""
    server = serve(lambda _: raw)
    with wire(server) as line:
        assert [line.send("GET", "/").body for _ in range(3)] == [body] * 3
    assert server.connections <= connections


def test_a_body_that_unpacks_to_more_than_any_answer_takes_bounded_memory(serve: Serve) -> None:
    """What unpacks to 256 MB is given up at the size of the largest body; urllib3 2.5 unpacked all of it."""
    raw = answer(gzip.compress(bytes(2**28)), headers={"Content-Encoding": "gzip"})
    server = serve(lambda _: raw)
    tracemalloc.start()
    try:
        with wire(server) as line:
            assert [line.send("GET", "/").body for _ in range(2)] == [None] * 2
        assert tracemalloc.get_traced_memory()[1] < 2.5 * LARGEST_BODY
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "cut",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n[]",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n5\r\n12",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n[]\r\n",
    ],
)
def test_a_body_that_breaks_off_is_none_on_every_connection(serve: Serve, cut: bytes) -> None:
    """The status is told, and that the body is not whole."""
    server = serve(lambda request: [cut] if request.target == "/cut" else answer(b"ok"))
    with wire(server) as line:
        assert line.send("DELETE", "/cut").body is None
        assert line.send("DELETE", "/").body == b"ok"
        assert line.send("DELETE", "/cut") == Answer(200, ANY, None)
        assert line.send("DELETE", "/").body == b"ok"
    assert server.connections == 3


def test_a_debug_log_tells_where_each_request_went(serve: Serve, caplog: pytest.LogCaptureFixture) -> None:
    """Its method, path and host, and nothing of the query, which has the signature."""
    server = serve(lambda _: answer("[]"))
    with caplog.at_level("DEBUG", "nbext"), wire(server) as line:
        line.send("DELETE", "/api/v3/openOrders?symbol=BTCUSDT&signature=abc", {"X-MBX-APIKEY": "secret"})
    assert caplog.messages == [f"DELETE /api/v3/openOrders at {server.url}"]


def test_a_request_on_an_open_connection_takes_no_lock_of_logging(serve: Serve) -> None:
    """A fork or an interrupt may have left it locked, and whether anybody listens is known without it."""
    locked, sent = threading.Event(), threading.Event()

    def hold() -> None:
        with logging._lock:  # type: ignore[attr-defined]
            locked.set()
            sent.wait(10)

    holder = threading.Thread(target=hold)
    with wire(serve(lambda _: answer("[]"))) as line:
        line.send("GET", "/")
        logging.getLogger("nbext.tests").setLevel(logging.WARNING)  # which makes all loggers forget what they know
        holder.start()
        assert locked.wait(10)
        began = time.monotonic()
        line.send("GET", "/again")
        took = time.monotonic() - began
    sent.set()
    holder.join()
    assert took < 8
