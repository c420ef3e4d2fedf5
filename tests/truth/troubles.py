"""What befalls a call itself: alarms, callbacks that raise, clocks that jump, journals that fail, dead addresses."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from random import Random

    from nbext.exchange.api.faults import Faults

    from .proxy import Proxy

TROUBLES = (
    *("alarm", "alarm", "say raises", "progress raises", "clock jumps", "clock jumps"),
    *("journal locked", "journal full", "dead address, refused", "dead address, silent"),
)


class AlarmError(Exception):
    """A time limit of somebody else is over."""


class CallbackError(Exception):
    """A callback of the caller fails."""


class Trouble:
    """What befalls one call.

    Parameters
    ----------
    name : str
        One of `TROUBLES`; empty for none.
    chance : Random
    journal : Path
    faults : Faults
        Of the exchange, whose clock may jump.
    """

    def __init__(self, name: str, chance: Random, journal: Path, faults: Faults) -> None:
        self.name = name
        self._chance = chance
        self._journal = journal
        self._faults = faults
        self._after = chance.choice([0.0, 0.003, 0.02, 0.1, 0.3, 0.5])
        self._lines = chance.choice([0, 0, 1])
        self._armed = False
        self._over = threading.Event()
        self._proxy: Proxy | None = None

    @contextmanager
    def around(self, proxy: Proxy) -> Iterator[None]:
        """Let it be so from before a call is made until all is over."""
        self._proxy = proxy
        with ExitStack() as stack:
            if self.name == "journal locked":
                stack.enter_context(self._locked())
            elif self.name == "journal full":
                stack.enter_context(self._full())
            elif self.name.startswith("dead address"):
                stack.enter_context(_dead_address(proxy.port, silent="silent" in self.name))
            yield

    @contextmanager
    def during(self) -> Iterator[None]:
        """Let it happen during a call."""
        if self.name == "alarm":
            before = signal.signal(signal.SIGUSR1, self._ring)
            self._armed = True
            threading.Thread(target=self._raise_alarm, args=(threading.main_thread().ident,), daemon=True).start()
            try:
                yield
            finally:
                self._armed = False
                signal.signal(signal.SIGUSR1, before if before is not signal.SIG_DFL else signal.SIG_IGN)
        elif self.name == "clock jumps":
            jump = threading.Thread(target=self._jump, daemon=True)
            jump.start()
            try:
                yield
            finally:  # a clock that jumped later would be that of another round
                self._over.set()
                jump.join()
        else:
            yield

    def say(self, said: list[str]) -> Callable[[str], None]:
        """Make what takes the lines."""

        def take(line: str) -> None:
            said.append(line)
            if self.name == "say raises" and len(said) > self._lines:
                self._lines = 10**9
                raise CallbackError("nobody listens")

        return take

    def progress(self, done: int, total: int) -> None:  # noqa: ARG002 - as the faces have it
        """Take progress."""
        if self.name == "progress raises" and done > self._lines:
            self._lines = 10**9
            raise CallbackError("no bar to be seen")

    def _wait(self) -> None:
        """Wait for the first DELETE, and some time more; not beyond the end of the call."""
        ends = time.monotonic() + 2
        while self._proxy is not None and time.monotonic() < ends and not self._over.is_set():
            if self._proxy.deleting.wait(0.05):
                break
        self._over.wait(self._after)

    def _raise_alarm(self, thread: int | None) -> None:
        self._wait()
        if self._armed and thread is not None:
            signal.pthread_kill(thread, signal.SIGUSR1)

    def _ring(self, *_: Any) -> None:
        if self._armed:
            self._armed = False
            raise AlarmError("time is over")

    def _jump(self) -> None:
        self._wait()
        if self._over.is_set():
            return
        self._faults.skew = self._chance.choice([-20, -3, -0.5, 0.5, 3, 20])

    @contextmanager
    def _locked(self) -> Iterator[None]:
        with suppress(FileExistsError):
            os.close(os.open(self._journal, os.O_CREAT | os.O_EXCL, 0o600))
        with suppress(sqlite3.Error):
            lock = sqlite3.connect(self._journal, isolation_level=None, timeout=1)
            lock.execute("BEGIN EXCLUSIVE")
        try:
            yield
        finally:
            with suppress(sqlite3.Error):
                lock.rollback()
            lock.close()

    @contextmanager
    def _full(self) -> Iterator[None]:
        """Let no file of this process grow."""
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        size = self._journal.stat().st_size if self._journal.exists() else 0
        resource.setrlimit(resource.RLIMIT_FSIZE, (min(size, 512), hard))
        try:
            yield
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def _dead_address(port: int, *, silent: bool) -> Iterator[None]:
    """Let ``localhost`` have a first address where nobody answers, or where nothing is heard at all."""
    real = socket.getaddrinfo

    def resolve(host: Any, *args: Any, **more: Any) -> list[Any]:
        found = real(host, *args, **more)
        if host not in {"localhost", b"localhost"}:
            return found
        dead = [(*each[:4], ("127.0.0.2", each[4][1])) for each in found if each[0] == socket.AF_INET]
        return dead + found

    with ExitStack() as stack:
        if silent and os.name == "posix":
            listener = stack.enter_context(socket.create_server(("127.0.0.2", port), backlog=0))
            for _ in range(4):  # a queue that is full takes no more
                each = stack.enter_context(socket.socket())
                each.setblocking(False)
                with suppress(BlockingIOError):
                    each.connect(listener.getsockname())
        socket.getaddrinfo = resolve
        try:
            yield
        finally:
            socket.getaddrinfo = real
