"""A host that is far away: TLS, behind a line on loopback that takes its time and counts the round trips.

``python far_host.py PORT CERTIFICATE SECONDS`` ends TLS in front of a plain server on that port. What passes in either
direction takes half of a round trip and streams on meanwhile. A new connection is charged one round trip more, for
the handshake of TCP, which nobody can hold up on loopback: its first bytes wait that much longer. Neither TCP's slow
start nor a lookup of names is part of it.

**Round trips** are counted as a logical clock, so that the machine's speed has no part in it. The clock shows how many
one after another whoever calls has waited for. What is sent carries the clock's time; the answer, that time and one
more; when an answer arrives, the clock shows at least its time. So requests side by side cost one round trip
together, requests that wait for each other one each, and what arrives unasked and late costs nothing more.
"""

from __future__ import annotations

import asyncio
import json
import selectors
import ssl
import sys
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from subprocess import PIPE, Popen
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from types import TracebackType

HOST = "127.0.0.1"
_FOREVER = 30.0


@dataclass(frozen=True)
class Counted:
    """What has passed since the count began.

    Attributes
    ----------
    round_trips : int
        That were waited for, one after another.
    connections : int
        That were opened.
    answered : float
        Monotonic time, the same in all processes, at which the last bytes arrived at the client.
    """

    round_trips: int
    connections: int
    answered: float


class FarHost:
    """The other end, in a process of its own.

    Parameters
    ----------
    port : int
        Of a plain server on loopback.
    certificate : Path
        With its key; its name is ``localhost``.
    round_trip : float
        Seconds.
    """

    def __init__(self, port: int, certificate: Path, round_trip: float) -> None:
        command = [sys.executable, __file__, str(port), str(certificate), str(round_trip)]
        self.round_trip = round_trip
        self._process = Popen(command, stdin=PIPE, stdout=PIPE, text=True, bufsize=1)
        self.url = f"https://localhost:{self._read()}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        with self._process:
            assert self._process.stdin is not None
            self._process.stdin.close()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()[:-1]

    def _ask(self, what: str) -> list[float]:
        assert self._process.stdin is not None
        self._process.stdin.write(f"{what}\n")
        answer: list[float] = json.loads(self._read())
        return answer

    def begin(self) -> None:
        """Wait until nothing is under way, and count from here."""
        until = time.monotonic() + _FOREVER
        while self._ask("quiet")[0] < 2 * self.round_trip + 0.05 and time.monotonic() < until:
            time.sleep(self.round_trip / 2)
        self._ask("begin")

    def counted(self) -> Counted:
        """Return what has passed since then."""
        round_trips, connections, answered = self._ask("counted")
        return Counted(int(round_trips), int(connections), answered)


class _Line:
    """What all connections have in common: the count, and the host's name outside and inside."""

    def __init__(self, round_trip: float) -> None:
        self.round_trip = round_trip
        self.clock = 0
        self.outside = self.inside = b"localhost"
        self.begin()

    def begin(self) -> None:
        self.began = self.clock
        self.connections = 0
        self.answered = self.touch()

    def touch(self) -> float:
        """Note that something moves, and return when."""
        self.moved = time.monotonic()
        return self.moved

    def say(self, what: str) -> list[float]:
        if what == "begin":
            self.begin()
        if what == "quiet":
            return [time.monotonic() - self.moved]
        return [self.clock - self.began, self.connections, self.answered]


class _End(asyncio.Protocol):
    """One end of a connection that is passed on: what arrives here leaves, after a while, at the other end."""

    other: _End
    transport: asyncio.Transport

    def __init__(self, line: _Line) -> None:
        self.line = line
        self._held: deque[Callable[[], None]] = deque()
        self._last = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.pass_on(lambda: self.other.transport.write(data))

    def connection_lost(self, error: Exception | None) -> None:
        self.pass_on(lambda: self.other.transport.abort() if error else self.other.transport.close())

    def pass_on(self, act: Callable[[], None]) -> None:
        """Have something happen at the other end."""
        act()

    def after(self, seconds: float, act: Callable[[], None]) -> None:
        """Act this late, and in the order asked for."""
        loop = asyncio.get_running_loop()
        self._last = max(self._last, loop.time() + seconds)
        self._held.append(act)
        loop.call_at(self._last, self._act)

    def _act(self) -> None:
        self._held.popleft()()


class _Front(_End):
    """Where TLS ends: the server behind is to hear its own name."""

    def data_received(self, data: bytes) -> None:
        super().data_received(data.replace(self.line.outside, self.line.inside))


class _Near(_End):
    """The client's end of the line."""

    other: _Far

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        self.line.connections += 1
        self._open_at = self.line.touch() + self.line.round_trip
        self._least = self.line.clock + 1

    def pass_on(self, act: Callable[[], None]) -> None:
        stamp = max(self.line.clock, self._least)
        still = max(0.0, self._open_at - self.line.touch())

        def arrive() -> None:
            self.other.stamp = stamp
            act()

        self.after(still + self.line.round_trip / 2, arrive)


class _Far(_End):
    """The server's end of the line."""

    stamp = 0

    def pass_on(self, act: Callable[[], None]) -> None:
        stamp = self.stamp + 1

        def arrive() -> None:
            if not self.other.transport.is_closing():  # nobody waits for it any more
                self.line.clock = max(self.line.clock, stamp)
                self.line.answered = self.line.touch()
                act()

        self.after(self.line.round_trip / 2, arrive)


async def _listen(
    port: int, near: Callable[[], _End], far: Callable[[], _End], context: ssl.SSLContext | None = None
) -> int:
    """Pass connections on to a port, and return where."""
    loop = asyncio.get_running_loop()
    connecting: set[asyncio.Task[None]] = set()

    async def connect(here: _End) -> None:
        try:
            _, there = await loop.create_connection(far, HOST, port)
        except OSError:
            here.transport.abort()
            return
        here.other, there.other = there, here
        here.transport.resume_reading()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            assert isinstance(transport, asyncio.Transport)
            here = near()
            here.connection_made(transport)
            transport.set_protocol(here)
            transport.pause_reading()
            task = loop.create_task(connect(here))
            connecting.add(task)
            task.add_done_callback(connecting.discard)

    server = await loop.create_server(Accepted, HOST, 0, ssl=context, backlog=256)
    return int(server.sockets[0].getsockname()[1])


async def _serve(port: int, certificate: str, round_trip: float) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    line = _Line(round_trip)
    # Behind the line stands what speaks TLS, at once.
    behind = await _listen(port, lambda: _Front(line), lambda: _End(line), context)
    front = await _listen(behind, lambda: _Near(line), lambda: _Far(line))
    line.outside, line.inside = (b"localhost:%d" % each for each in (front, port))
    print(front, flush=True)  # noqa: T201 - a program prints
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while asked := await reader.readline():
        print(json.dumps(line.say(asked.decode().strip())), flush=True)  # noqa: T201


def _main(port: str, certificate: str, round_trip: str) -> None:
    # Unlike epoll, which counts in milliseconds, select wakes in time.
    loop = asyncio.SelectorEventLoop(selectors.SelectSelector())
    with suppress(KeyboardInterrupt):
        loop.run_until_complete(_serve(int(port), certificate, float(round_trip)))


if __name__ == "__main__":
    _main(*sys.argv[1:])
