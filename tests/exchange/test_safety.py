"""The exchange on a host with other users: who gets in, and what no one can do to it."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.exchange_client import OPEN_ORDERS, Client

from nbext.exchange.api.app import App
from nbext.exchange.direct import DirectCalls
from nbext.exchange.engine.limits import RequestLimits
from nbext.exchange.http.server import MAX_CONNECTIONS, Server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange

IDLE = 1000


def port_of(exchange: LocalExchange) -> int:
    """Return the port that the exchange listens on."""
    return int(exchange.url.rpartition(":")[2])


@pytest.fixture
def file_descriptors() -> Iterator[None]:
    """Allow this process the sockets that a test opens."""
    resource = pytest.importorskip("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * IDLE
    if soft != resource.RLIM_INFINITY and soft < wanted:
        if hard != resource.RLIM_INFINITY and hard < wanted:
            pytest.skip("too few file descriptors allowed")
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("file_descriptors")
@pytest.mark.parametrize("sent", [b"", b"GET /api/v3/ping HTTP/1.1\r\nHost: local"])
def test_a_thousand_idle_connections_do_no_harm(exchange: LocalExchange, client: Client, sent: bytes) -> None:
    """With a thousand connections that say nothing, or half a request, others are served as before."""
    client.limit("BUY", 50000)
    with ExitStack() as idle:
        connections = [
            idle.enter_context(socket.create_connection(("127.0.0.1", port_of(exchange)), 10)) for _ in range(IDLE)
        ]
        for connection in connections:
            with suppress(OSError):
                connection.sendall(sent)
        with Client(exchange.url, exchange.api_key, exchange.secret_key) as late:
            begun = time.monotonic()
            for _ in range(20):
                assert late.public("/api/v3/ping").status == 200
            assert late.cancel_all().status == 200
            assert time.monotonic() - begun < 5
        connections[0].settimeout(5)
        with suppress(ConnectionResetError):
            assert connections[0].recv(10) == b""
        open_here = len(list(Path("/proc/self/fd").iterdir())) if sys.platform == "linux" else 0
        assert open_here < IDLE + MAX_CONNECTIONS + 200
    exchange.reset()


def test_busy_connections_are_not_the_ones_to_go(exchange: LocalExchange) -> None:
    """An active connection stays while idle ones make room."""
    with ExitStack() as stack:
        busy = stack.enter_context(Client(exchange.url))
        for number in range(MAX_CONNECTIONS + 50):
            if number % 50 == 0:
                assert busy.public("/api/v3/ping").status == 200
                local = busy._connection.sock.getsockname()
            stack.enter_context(socket.create_connection(("127.0.0.1", port_of(exchange))))
        assert busy.public("/api/v3/ping").status == 200
        assert busy._connection.sock.getsockname() == local


def test_who_waits_for_an_answer_keeps_its_connection(exchange: LocalExchange) -> None:
    """A connection that waits for an answer does not make room; once answered, it is like the others."""
    ping = b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\n\r\n"
    address = ("127.0.0.1", port_of(exchange))
    exchange.faults.answer_late("GET", "ping", seconds=0.5)
    with ExitStack() as stack:
        owed = stack.enter_context(socket.create_connection(address, 5))
        owed.sendall(ping)
        while not exchange.requests():
            time.sleep(0.01)
        for turn in (b"HTTP/1.1 200 OK", b""):
            for _ in range(MAX_CONNECTIONS + 10):
                stack.enter_context(socket.create_connection(address))
            with Client(exchange.url) as late:
                assert late.public("/api/v3/time").status == 200
            with suppress(ConnectionResetError):
                assert owed.recv(4096)[:15] == turn


@contextmanager
def impatient() -> Iterator[Server]:
    """Serve with deadlines of 0.4 seconds."""
    app = App(seed=0, max_num_orders=200, request_limits=RequestLimits(), order_limits=(50, 100))
    serving = Server(app, 0, DirectCalls(app), header_seconds=0.4, body_seconds=0.4)
    with asyncio.Runner() as runner:
        stopping = asyncio.Event()
        thread = threading.Thread(target=runner.run, args=(serving.serve(stopping),))
        thread.start()
        yield serving
        runner.get_loop().call_soon_threadsafe(stopping.set)
        thread.join()


@pytest.mark.parametrize("head", [b"X: ", b"Content-Length: 100\r\n\r\n"], ids=["headers", "body"])
def test_requests_that_never_end_are_cut_off(head: bytes) -> None:
    """Headers, or a body, that arrive byte by byte have one deadline as a whole."""
    with impatient() as serving, socket.create_connection(("127.0.0.1", serving.port), 5) as slow:
        slow.sendall(b"DELETE /api/v3/openOrders HTTP/1.1\r\nHost: localhost\r\n" + head)
        begun = time.monotonic()
        with suppress(OSError):
            while time.monotonic() - begun < 5:
                slow.sendall(b"x")
                slow.settimeout(0.1)
                with suppress(TimeoutError):
                    if slow.recv(100) == b"":
                        break
        assert 0.2 < time.monotonic() - begun < 3


def test_a_connection_may_stay_idle_for_so_long() -> None:
    """Each request restarts the time; a connection that is silent for longer is closed."""
    with impatient() as serving, socket.create_connection(("127.0.0.1", serving.port), 5) as connection:
        for _ in range(6):
            connection.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert connection.recv(4096).startswith(b"HTTP/1.1 200 OK\r\n")
            time.sleep(0.15)
        assert connection.recv(4096) == b""


def test_it_listens_at_one_address_alone(exchange: LocalExchange) -> None:
    """Not even another loopback address answers, as it would if the exchange listened everywhere."""
    for address in ("127.0.0.2", "::1"):
        with pytest.raises(OSError, match=r"\[Errno"):
            socket.create_connection((address, port_of(exchange)), 1).close()


def test_parameters_are_bounded(exchange: LocalExchange, client: Client) -> None:
    """Hundreds of parameters are refused before they are read."""
    body = "&".join(f"a{number}=1" for number in range(300))
    answer = client.send("DELETE", OPEN_ORDERS, body)
    assert answer.refusal == (-1101, "Too many parameters; expected '100' and received '300'.")
    assert client.send("POST", "/nbext/faults", body).refusal[0] == -1101
    assert exchange.requests()[0]["status"] == 400
    assert client.send("DELETE", OPEN_ORDERS, "&".join(f"a{number}=1" for number in range(6_000))).status == 400


def test_no_origin_is_allowed(client: Client) -> None:
    """No reply has a CORS header, those of control included, whatever the page asks."""
    asks = {"Origin": "http://evil.example", "Access-Control-Request-Method": "DELETE"}
    for method, path in (("OPTIONS", OPEN_ORDERS), ("OPTIONS", "/nbext/faults"), ("GET", "/api/v3/ping")):
        answer = client.send(method, path, headers=asks)
        assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_backstage_checks_the_host(client: Client) -> None:
    """A page that rebinds its name gets no faults and no truth."""
    assert client.send("GET", "/nbext/faults", headers={"Host": "evil.example"}).status == 403


def test_keys_never_stand_on_a_command_line() -> None:
    """The program takes keys from the environment or generates them; it has no option for them."""
    done = subprocess.run(
        [sys.executable, "-m", "nbext.exchange", "--help"], capture_output=True, text=True, timeout=20, check=True
    )
    options = [word for word in done.stdout.replace("[", " ").split() if word.startswith("--")]
    assert "--port" in options
    assert not [option for option in options if "secret" in option or "api" in option]


def test_nothing_shows_a_secret(exchange: LocalExchange) -> None:
    """Neither the exchange nor its faults, its record or its threads' names hold the secret key."""
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
        client.limit("BUY", 50000)
        exchange.faults.firewall(echo=True)
        shown = [exchange, exchange.faults, exchange.faults.pending(), exchange.requests(), *threading.enumerate()]
        assert exchange.secret_key not in repr(shown)
