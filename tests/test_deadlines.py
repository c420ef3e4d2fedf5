"""One deadline for a request, from the name lookup to the last byte; and connections that can be named."""

from __future__ import annotations

import contextlib
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.server import PlainServer, Request, answer

from nbext.errors import NotSentError, OutcomeUnknownError
from nbext.spot.client import SpotClient
from nbext.spot.transport import Unanswered, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Serve = Callable[[Callable[[Request], bytes | Iterable[bytes]]], PlainServer]


def wire(server: PlainServer, **settings: float) -> contextlib.closing[Wire]:
    """Make a wire to a server, to be used in a with statement."""
    return contextlib.closing(Wire(server.url, {}, proxied=False, **settings))


def test_a_call_ends_at_its_own_deadline(serve: Serve) -> None:
    """An answer that would come within the answer timeout, but not by the call's deadline, is not waited for."""
    gate = threading.Event()

    def respond(request: Request) -> bytes:
        if request.target == "/slow":
            gate.wait(60)
        return answer(b"ok")

    server = serve(respond)
    with wire(server, answer_timeout=40.0) as line:
        assert line.send("GET", "/", until=time.monotonic() + 20).body == b"ok"
        began = time.monotonic()
        with pytest.raises(Unanswered) as lost:
            line.send("DELETE", "/slow", until=began + 1.5)
        assert 1.4 < time.monotonic() - began < 20
        assert lost.value.written
        gate.set()
        assert line.send("GET", "/").body == b"ok"


def test_a_body_that_drips_ends_at_the_calls_deadline(serve: Serve) -> None:
    """The deadline is for the last byte, too."""

    def respond(_: Request) -> Iterator[bytes]:
        yield b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"
        while not over.wait(0.05):
            yield b"x"

    over = threading.Event()
    began = time.monotonic()
    with wire(serve(respond), answer_timeout=40.0) as line:
        assert line.send("DELETE", "/", until=began + 1.5).body is None
    assert time.monotonic() - began < 20
    over.set()


def test_nothing_is_sent_once_the_time_is_over(serve: Serve) -> None:
    """Neither on a kept connection nor on a new one; and that nothing was sent is certain."""
    server = serve(lambda _: answer(b"ok"))
    with wire(server) as line:
        for _ in range(2):
            with pytest.raises(Unanswered) as refused:
                line.send("DELETE", "/late", until=time.monotonic() - 1)
            assert not refused.value.written
            assert line.send("GET", "/").body == b"ok"
    assert [request.target for request in server.requests] == ["/", "/"]


def test_a_block_ends_every_request_of_its_thread(serve: Serve) -> None:
    """`SpotClient.until` holds for requests of this thread and no other; the inner of two blocks cannot outlast."""
    gate = threading.Event()

    def respond(request: Request) -> bytes:
        if "SLOW" in request.target:
            gate.wait(60)
        return answer([])

    server = serve(respond)
    with (
        SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64, answer_timeout=40.0) as client,
        ThreadPoolExecutor(1) as other,
    ):
        began = time.monotonic()
        with client.until(began + 1.5), client.until(began + 60):
            elsewhere = other.submit(client.cancel_open_orders, "SLOWER")
            with pytest.raises(OutcomeUnknownError):
                client.cancel_open_orders("SLOW")
            assert time.monotonic() - began < 20
            with pytest.raises(NotSentError, match="not sent, because time ran out"):
                client.cancel_open_orders("BTCUSDT")
        assert not elsewhere.done()
        gate.set()
        assert elsewhere.result() == []
        assert client.cancel_open_orders("BTCUSDT") == []


def test_answers_name_their_connection(serve: Serve) -> None:
    """Answers on one connection have its number; a new one has another, also for another host."""
    server, other = serve(lambda _: answer(b"")), serve(lambda _: answer(b""))
    with wire(server) as line, wire(other) as stranger:
        first, second = line.send("GET", "/"), line.send("GET", "/")
        line.close()
        numbers = {first.connection, line.send("GET", "/").connection, stranger.send("GET", "/").connection}
    assert first.connection == second.connection
    assert len(numbers) == 3


def test_a_distrusted_connection_is_never_used_again(serve: Serve) -> None:
    """The next call opens another. Distrusting it twice, or when it is gone, does no harm to a later one."""
    server = serve(lambda _: answer(b"ok"))
    with wire(server) as line:
        first = line.send("GET", "/").connection
        line.distrust(first)
        second = line.send("GET", "/").connection
        line.distrust(first)
        line.distrust(0)
        third = line.send("GET", "/").connection
    assert second == third != first
    assert [request.connection for request in server.requests] == [1, 2, 2]


def test_whoever_waits_on_a_distrusted_connection_hears_nothing(serve: Serve) -> None:
    """A request under way there counts as sent and unanswered, at once."""
    arrived, gate = threading.Event(), threading.Event()

    def respond(request: Request) -> bytes:
        if request.target == "/wait":
            arrived.set()
            gate.wait(60)
        return answer(b"late")

    server = serve(respond)
    with wire(server, answer_timeout=40.0) as line, ThreadPoolExecutor(1) as other:
        number = line.send("GET", "/").connection
        waiting = other.submit(line.send, "DELETE", "/wait")
        assert arrived.wait(5)
        line.distrust(number)
        with pytest.raises(Unanswered) as lost:
            waiting.result(20)
        gate.set()
    assert lost.value.written
