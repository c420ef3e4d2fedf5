"""Each request gets its own answer: interim answers, doubled answers, stale ones, over TCP, TLS and proxies.

These stand on private hooks of http.client and urllib3: a Python or a urllib3 that lacks one fails here.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from support.networking import TLSServer, Tunnels, http_proxy, need_pysocks, socks_proxy
from support.server import PlainServer, Request, answer

from nbext.spot.transport import Unanswered, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Respond = Callable[[Request], bytes | Iterable[bytes]]

INTERIM = (
    b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n",
    b"HTTP/1.1 102 Processing\r\n\r\n",
    b"HTTP/1.1 199 X\r\n\r\n",
)


class Way:
    """A way to a server: a wire, and what stands between."""

    def __init__(self, kind: str, respond: Respond, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.server: PlainServer = PlainServer(respond) if kind == "TCP" else TLSServer(respond, folder)
        self.proxy: Tunnels | None = None
        url = self.server.url
        if isinstance(self.server, TLSServer):
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(self.server.certificate))
        if kind in {"tunnel", "SOCKS"}:
            port = int(url.rpartition(":")[2])
            self.proxy = http_proxy(port, []) if kind == "tunnel" else socks_proxy(port, [])
            scheme = "http" if kind == "tunnel" else "socks5h"
            monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://127.0.0.1:{self.proxy.port}")
        self.wire = Wire(url, {}, proxied=self.proxy is not None)

    def bodies(self, count: int, *, pause: float = 0.0) -> list[bytes | None]:
        """Send so many requests, and give their answers' bodies."""
        bodies = []
        for number in range(count):
            bodies.append(self.wire.send("DELETE", f"/{number}").body)
            time.sleep(pause)
        return bodies

    def close(self) -> None:
        """Close everything."""
        self.wire.close()
        self.server.close()
        if self.proxy:
            self.proxy.close()


@pytest.fixture(params=["TCP", "TLS", "tunnel", "SOCKS"])
def open_way(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[[Respond], Way]]:
    """Open ways to servers, each kind in turn, that are closed after the test."""
    if request.param == "SOCKS":
        need_pysocks()
    with contextlib.ExitStack() as ways:
        yield lambda respond: ways.enter_context(contextlib.closing(Way(request.param, respond, tmp_path, monkeypatch)))


def own(request: Request) -> bytes:
    """Answer with the target, so that each answer shows whose it is."""
    return answer(request.target)


def test_interim_answers_are_not_the_answer(open_way: Callable[[Respond], Way]) -> None:
    """Any 1xx, in one piece with the answer or before it, is passed over, and the connection is kept."""

    def respond(request: Request) -> Iterator[bytes]:
        yield b"".join(INTERIM)
        time.sleep(0.02)
        yield INTERIM[0]
        yield own(request)
        released.wait(5)

    def in_one(request: Request) -> bytes:
        return b"".join([*INTERIM, b"HTTP/1.1 100 Continue\r\n\r\n", own(request)])

    released = threading.Event()
    way = open_way(in_one)
    assert way.bodies(3) == [b"/0", b"/1", b"/2"]
    assert way.server.connections == 1
    assert open_way(respond).bodies(1) == [b"/0"]
    released.set()


def test_a_switch_of_protocols_is_no_answer(open_way: Callable[[Respond], Way]) -> None:
    """101 was never asked for: what came of the request is not known, and the connection is not used again."""

    def respond(request: Request) -> bytes:
        if request.target == "/switch":
            return b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n" + own(request)
        return own(request)

    way = open_way(respond)
    with pytest.raises(Unanswered) as lost:
        way.wire.send("DELETE", "/switch")
    assert (lost.value.written, lost.value.reason) == (True, "the answer was not HTTP")
    assert way.bodies(2) == [b"/0", b"/1"]
    assert way.server.connections == 2


def test_interim_answers_without_end_are_given_up(open_way: Callable[[Respond], Way]) -> None:
    """A flood of 1xx ends before the deadline, as unknown."""
    way = open_way(lambda _: INTERIM[1] * 10_000)
    with pytest.raises(Unanswered) as lost:
        way.wire.send("DELETE", "/", until=time.monotonic() + 5)
    assert lost.value.written
    assert lost.value.reason == "the answer was not HTTP"


@pytest.mark.parametrize("size", [2, 8192, 16384])
def test_a_doubled_answer_is_not_the_next_ones(open_way: Callable[[Respond], Way], size: int) -> None:
    """What follows an answer in the same piece is dropped with its connection, wherever it is buffered."""

    def respond(request: Request) -> bytes:
        body = request.target.encode()
        least = len(answer(body)) - len(str(len(body))) - len(body)
        whole = answer(body.ljust(size - least - len(str(size - least))))
        assert len(whole) == max(size, len(answer(body)))  # so that no buffer holds a byte of what follows
        return whole + answer(b'["again"]')

    way = open_way(respond)
    assert [(body or b"").strip() for body in way.bodies(4)] == [b"/0", b"/1", b"/2", b"/3"]
    assert way.server.connections == 4


def test_a_doubled_answer_that_comes_later_is_not_the_next_ones(open_way: Callable[[Respond], Way]) -> None:
    """The same, when it arrives between two requests."""

    def respond(request: Request) -> Iterator[bytes]:
        yield own(request)
        time.sleep(0.03)
        yield answer(b'["again"]')
        released.wait(5)

    released = threading.Event()
    way = open_way(respond)
    assert way.bodies(3, pause=0.15) == [b"/0", b"/1", b"/2"]
    assert way.server.connections == 3
    released.set()


@pytest.mark.parametrize("own_ids", [True, False])
@pytest.mark.parametrize("status", [200, 400])
def test_an_answer_that_may_be_the_one_before_it_is_proven_by_a_ping(
    open_way: Callable[[Respond], Way], status: int, *, own_ids: bool
) -> None:
    """Where nothing was open twice, the connection is kept; with an id in each answer, nothing needs to be proven."""
    ids = itertools.count()

    def respond(_: Request) -> bytes:
        return answer([], status, {"x-mbx-uuid": str(next(ids))} if own_ids else None)

    way = open_way(respond)
    assert way.bodies(5) == [b"[]"] * 5
    assert way.server.connections == 1
    assert len(way.server.pings) == (0 if own_ids else 2)  # a ping's answer stands between the others
    assert {(ping.method, ping.target, ping.headers.get("X-Mbx-Apikey")) for ping in way.server.pings} <= {
        ("GET", "/api/v3/ping", None)
    }


@pytest.mark.parametrize("follows", ["at once", "later", "never"])
@pytest.mark.parametrize("body", ["[]", '{"code":-2011,"msg":"Unknown order sent."}'])
def test_a_doubled_answer_is_not_that_of_the_request_it_meets(
    open_way: Callable[[Respond], Way], body: str, follows: str
) -> None:
    """It comes when the next request is on its way, whose own answer comes after it: what came of that is not known."""
    released = threading.Event()
    doubled = answer(body, 200 if body == "[]" else 400, {"X-MBX-UUID": "8edbfa20"})

    def respond(request: Request) -> bytes | Iterator[bytes]:
        if request.target == "/first":
            return doubled
        return doubled + own(request) if follows == "at once" else meeting(request)

    def meeting(request: Request) -> Iterator[bytes]:
        yield doubled
        time.sleep(0.05)
        if follows == "later":
            yield own(request)
        released.wait(5)

    way = open_way(respond)
    first = way.wire.send("DELETE", "/first")
    assert first.body == body.encode()
    with pytest.raises(Unanswered) as lost:
        way.wire.send("DELETE", "/met", until=time.monotonic() + (0.5 if follows == "never" else 10))
    assert lost.value.written
    if follows != "never":
        assert lost.value.reason == "its answer may belong to another request"
        assert lost.value.mixed_up == first.connection
    released.set()


@pytest.mark.parametrize("told", [answer("[]"), answer({"error": "no such path"}, 404)])
def test_a_stand_in_without_a_ping_is_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: bytes) -> None:
    """One that answers everything alike has answered this request, too; and 404 is about nothing but the ping."""
    way = Way("TCP", lambda _: answer("[]"), tmp_path, monkeypatch)
    way.server.pong = told
    with contextlib.closing(way):
        assert way.bodies(6) == [b"[]"] * 6
        assert len(way.server.pings) == 3
        assert way.server.connections == (3 if told == answer("[]") else 1)


def test_a_cancel_that_names_its_orders_needs_no_ping(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its account shows by itself what it is about; that of a read may have been true a while ago only."""
    way = Way("TCP", lambda _: answer([{"symbol": "BTCUSDT", "orderId": 1}]), tmp_path, monkeypatch)
    with contextlib.closing(way):
        assert len(way.bodies(3)) == 3
        assert way.server.pings == []
        way.wire.send("GET", "/")
        way.wire.send("GET", "/")
        assert len(way.server.pings) == 1


def test_what_a_limited_host_repeats_comes_on_another_connection(open_way: Callable[[Respond], Way]) -> None:
    """It says the same to everyone, a ping included, so nothing would prove whose answer it is."""
    way = open_way(lambda _: answer({"code": -1003, "msg": "Too many requests."}, 429))
    assert len(way.bodies(3)) == 3
    assert (way.server.connections, way.server.pings) == (3, [])


def test_a_new_connection_repeats_nothing(open_way: Callable[[Respond], Way]) -> None:
    """What its first answer resembles came on another one, so it needs no proof."""
    way = open_way(lambda request: answer([], headers={"Connection": "close"} if request.target == "/0" else None))
    assert way.bodies(2) == [b"[]"] * 2
    assert (way.server.connections, way.server.pings) == (2, [])


def test_a_host_that_refuses_pings_proves_nothing(open_way: Callable[[Respond], Way]) -> None:
    """An empty refusal of all, as of a firewall, is no answer to a ping: the next request gets another connection."""
    way = open_way(lambda _: answer({}, 400))
    way.server.pong = answer({}, 400)
    assert way.bodies(4) == [b"{}"] * 4
    assert (way.server.connections, len(way.server.pings)) == (2, 2)


def test_a_chunked_answer_may_not_be_followed_either(open_way: Callable[[Respond], Way]) -> None:
    """Bodies in chunks, and answers without any body, end where they say."""

    def respond(request: Request) -> bytes:
        if request.target == "/1":
            return b"HTTP/1.1 204 No Content\r\n\r\n" + answer(b"again")
        return b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n0\r\n\r\n" + answer(b"again")

    way = open_way(respond)
    assert way.bodies(3) == [b"[]", b"", b"[]"]
    assert way.server.connections == 3


def test_a_distrusted_connection_ends_at_once(open_way: Callable[[Respond], Way]) -> None:
    """Whoever waits there hears nothing, also not in TLS, and the next request has a new connection."""
    arrived, release = threading.Event(), threading.Event()

    def respond(request: Request) -> bytes:
        if request.target == "/wait":
            arrived.set()
            release.wait(5)
        return own(request)

    way = open_way(respond)
    number = way.wire.send("GET", "/").connection
    with ThreadPoolExecutor(1) as other:
        waiting = other.submit(way.wire.send, "DELETE", "/wait")
        assert arrived.wait(5)
        way.wire.distrust(number)
        with pytest.raises(Unanswered) as lost:
            waiting.result(2)
        release.set()
    assert lost.value.written
    assert way.wire.send("GET", "/next").body == b"/next"
    assert way.server.connections == 2


def test_a_connection_that_was_idle_is_not_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its idle time a connection is replaced; used more often than that, it is kept."""
    way = Way("TCP", own, tmp_path, monkeypatch)
    with contextlib.closing(way), contextlib.closing(Wire(way.server.url, {}, proxied=False, idle_timeout=0.3)) as line:
        for _ in range(4):
            line.send("GET", "/")
            time.sleep(0.1)
        assert way.server.connections == 1
        time.sleep(0.4)
        line.send("DELETE", "/")
        assert way.server.connections == 2


def test_a_wall_clock_that_was_set_back_hides_no_idle_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The steady clock counts, too."""
    way, real = Way("TCP", own, tmp_path, monkeypatch), time.time
    with contextlib.closing(way), contextlib.closing(Wire(way.server.url, {}, proxied=False, idle_timeout=0.3)) as line:
        line.send("GET", "/")
        monkeypatch.setattr(time, "time", lambda: real() - 3600)
        time.sleep(0.4)
        line.send("DELETE", "/")
        assert way.server.connections == 2


def test_a_machine_that_slept_trusts_no_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the steady clock stood still and the wall clock went on, connections count as idle."""
    way, real = Way("TCP", own, tmp_path, monkeypatch), time.time
    with contextlib.closing(way):
        assert way.bodies(2) == [b"/0", b"/1"]
        monkeypatch.setattr(time, "time", lambda: real() + 40)  # there is no other way to let a machine sleep
        assert way.bodies(2) == [b"/0", b"/1"]
        assert way.server.connections == 2
        monkeypatch.setattr(time, "time", real)  # set back: no reason for another
        assert way.bodies(1) == [b"/0"]
        assert way.server.connections == 2
