"""From a name to a connection: many addresses, dead ones among them, and lookups that hang, all by one deadline."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.networking import dead_address
from support.server import PlainServer, Request, answer

from nbext.spot.dialing import dial, look_up, within
from nbext.spot.transport import Unanswered, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    Serve = Callable[[Callable[[Request], bytes | Iterable[bytes]]], PlainServer]
    Addresses = Callable[..., None]

FAMILY = socket.AF_INET
LOOKUP = socket.getaddrinfo
WITHOUT_FLAGS = 4  # arguments of a lookup beside the name; one that wants only numbers has flags


def row(address: tuple[str, int]) -> tuple[int, int, int, str, Any]:
    """Write an address as a lookup gives it."""
    return (FAMILY, socket.SOCK_STREAM, 0, "", address)


def refused() -> tuple[str, int]:
    """Return an address that refuses."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address: tuple[str, int] = taken.getsockname()
    return address


@pytest.fixture
def dead() -> Iterator[tuple[str, int]]:
    """Yield an address that never answers."""
    with dead_address() as address:
        yield address


@pytest.fixture
def resolve(monkeypatch: pytest.MonkeyPatch) -> Addresses:
    """Let the resolver, which is outside, give exchange.test certain addresses, when something has happened."""

    def install(*addresses: tuple[str, int], after: threading.Event | None = None) -> None:
        def lookup(host: str, *rest: int) -> Any:
            if host != "exchange.test":
                return LOOKUP(host, *rest)
            if len(rest) > WITHOUT_FLAGS:
                raise socket.gaierror(socket.EAI_NONAME, "not a number")
            if after is not None:
                after.wait(30)
            return [row(address) for address in addresses]

        monkeypatch.setattr(socket, "getaddrinfo", lookup)

    return install


def wire(**settings: float) -> contextlib.closing[Wire]:
    """Make a wire to exchange.test."""
    return contextlib.closing(Wire("http://exchange.test:80", {}, proxied=False, **settings))


def test_a_dead_first_address_costs_a_quarter_of_a_second(
    serve: Serve, resolve: Addresses, dead: tuple[str, int]
) -> None:
    """The next one is tried beside it, and wins; the one that refuses costs nothing."""
    server = serve(lambda _: answer(b"ok"))
    live = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with wire(connect_timeout=20.0) as line:
        resolve(dead, live)
        began = time.monotonic()
        assert line.send("DELETE", "/").body == b"ok"
        assert 0.2 < time.monotonic() - began < 10
        line.close()
        resolve(*[refused()] * 60, live)
        began = time.monotonic()
        assert line.send("DELETE", "/").body == b"ok"
        assert time.monotonic() - began < 60 * 0.25 / 2
        line.close()
        resolve(dead, dead, dead, live)
        assert line.send("DELETE", "/").body == b"ok"
    assert server.connections == 3


def test_many_dead_addresses_stop_at_the_connect_timeout(resolve: Addresses, dead: tuple[str, int]) -> None:
    """All of them together get the time of one."""
    resolve(*[dead] * 60)
    with wire(connect_timeout=0.7) as line:
        began = time.monotonic()
        with pytest.raises(Unanswered) as caught:
            line.send("DELETE", "/")
        assert 0.6 < time.monotonic() - began < 60 * 0.25 / 2
        assert (caught.value.written, caught.value.reason) == (False, "the connection timed out")
    with wire(connect_timeout=20.0) as line:
        began = time.monotonic()
        with pytest.raises(Unanswered, match="the connection timed out"):
            line.send("DELETE", "/", until=began + 0.2)
        assert time.monotonic() - began < 10


def test_addresses_that_all_refuse_say_so(resolve: Addresses) -> None:
    """At once, however many."""
    resolve(*[refused()] * 40)
    began = time.monotonic()
    with wire() as line, pytest.raises(Unanswered, match="the connection was refused"):
        line.send("DELETE", "/")
    assert time.monotonic() - began < 40 * 0.25 / 2
    resolve()
    with wire() as line, pytest.raises(Unanswered, match="the host could not be reached"):
        line.send("DELETE", "/")


def test_a_lookup_that_hangs_is_left_behind(serve: Serve, resolve: Addresses) -> None:
    """The connect timeout bounds it, and nothing was sent; a later lookup that answers is used."""
    server = serve(lambda _: answer(b"ok"))
    live = ("127.0.0.1", int(server.url.rpartition(":")[2]))
    with wire(connect_timeout=0.3) as line:
        resolve(live, after=(over := threading.Event()))
        began = time.monotonic()
        with pytest.raises(Unanswered) as caught:
            line.send("DELETE", "/")
        assert time.monotonic() - began < 15
        assert (caught.value.written, caught.value.reason) == (False, "looking up the host name took too long")
        assert server.connections == 0
        over.set()
        resolve(live)
    with wire() as line:
        assert line.send("DELETE", "/").body == b"ok"
        threads = threading.active_count()
        assert line.send("DELETE", "/").body == b"ok"
        assert threading.active_count() == threads


def test_a_name_that_does_not_exist_is_named() -> None:
    """As what it is, also one that cannot be a name at all."""

    def fails(*_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    with pytest.MonkeyPatch.context() as patch, wire() as line:
        patch.setattr(socket, "getaddrinfo", fails)
        with pytest.raises(Unanswered, match="the host name could not be resolved") as caught:
            line.send("DELETE", "/")
        assert not caught.value.written
    with contextlib.closing(Wire(f"http://{'x' * 64}.test", {}, proxied=False)) as line:
        with pytest.raises(Unanswered, match="the host name could not be resolved") as caught:
            line.send("DELETE", "/")
        assert not caught.value.written


def test_families_take_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """A resolver that gives four IPv6 addresses first does not keep IPv4 waiting behind all of them."""
    six = [(socket.AF_INET6, socket.SOCK_STREAM, 0, "", (f"::{number}", 1, 0, 0)) for number in range(1, 5)]
    four = [row(("127.0.0.1", 1)), row(("127.0.0.2", 1))]

    def lookup(*args: int) -> Any:
        if len(args) > WITHOUT_FLAGS + 1:
            raise socket.gaierror(socket.EAI_NONAME, "not a number")
        return [*six, *four]

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    assert look_up("exchange.test", 1, time.monotonic() + 10) == [six[0], four[0], six[1], four[1], six[2], six[3]]


def test_a_number_needs_no_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    """IPv4 and IPv6, with brackets or without."""
    monkeypatch.setattr("_thread.start_new_thread", None)
    deadline = time.monotonic() + 10
    assert look_up("127.0.0.1", 5, deadline)[0][4] == ("127.0.0.1", 5)
    assert look_up("[::1]", 5, deadline)[0][4][:2] == ("::1", 5)


def test_no_socket_stays_behind(dead: tuple[str, int]) -> None:
    """Those that lost, those that were late, and those that were tried in vain are closed."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        live = listener.getsockname()
        before = descriptors()
        options = [(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)]
        with dial([row(dead), row(live), row(live)], time.monotonic() + 15, options) as sock:
            assert sock.getpeername() == live
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        with pytest.raises(ConnectionRefusedError):
            dial([row(refused()), row(refused())], time.monotonic() + 15, ())
        with pytest.raises(TimeoutError):
            dial([row(dead)] * 3, time.monotonic() + 0.1, ())
        assert descriptors() == before


def descriptors() -> int:
    """Count the file descriptors that are open."""
    count = 0
    for number in range(256):
        with contextlib.suppress(OSError), socket.socket(fileno=number) as probe:
            probe.detach()
            count += 1
    return count


def test_what_comes_late_is_thrown_away() -> None:
    """The caller has gone on; whoever opened something closes it. An error of the work is the caller's."""
    thrown, release = threading.Event(), threading.Event()

    def work() -> str:
        release.wait(5)
        return "late"

    def discard(result: str) -> None:
        assert result == "late"
        thrown.set()

    with pytest.raises(TimeoutError):
        within(time.monotonic() + 0.05, work, discard)
    assert not thrown.is_set()
    release.set()
    assert thrown.wait(5)
    assert within(time.monotonic() + 5, lambda: 3) == 3
    with pytest.raises(ZeroDivisionError):
        within(time.monotonic() + 5, lambda: 1 // 0)


def test_a_process_that_ends_still_finds_its_host(serve: Serve) -> None:
    """Where no thread can be started any more, names are looked up all the same: a last cancel must get out."""
    server = serve(lambda _: answer(b"ok"))
    url = server.url.replace("127.0.0.1", "localhost")
    program = f"""
import atexit, threading
from nbext.spot.transport import Wire
wire = Wire({url!r}, {{}}, proxied=False)
atexit.register(lambda: print(wire.send("DELETE", "/atexit").body))
threading._register_atexit(lambda: print(wire.send("DELETE", "/threads").body))
"""
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=30)
    assert done.stdout == "b'ok'\nb'ok'\n", done.stderr
