"""Connections that are opened before they are needed, as while the user reads a question.

A handshake takes two round trips, and a request on an open connection one. Nothing but handshakes is sent ahead: TCP,
what a proxy asks for, and TLS. One that fails says nothing: the request that needs a connection finds out why.

Nothing here is locked, since an interrupt could leave it locked: who takes a connection out of the queue owns it.
"""

from __future__ import annotations

import _thread
import math
import threading
import time
from collections import deque
from contextlib import contextmanager, suppress
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, cast
from weakref import finalize

from nbext.spot.connections import call

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from urllib3.connectionpool import HTTPConnectionPool

    from nbext.spot.connections import WatchedConnection

LONGEST = 60.0
"""Seconds for which connections are renewed while nobody answers."""
LATE = 1.5
"""A handshake is late when it takes so many times as long as the last one; then no request waits for it."""
TOGETHER = 0.03
"""Seconds that handshakes side by side may take longer than one: their arithmetic is done one after another."""
_STEP = 0.01


class Ahead:
    """A pool of connections, and those beside it that wait for their first request.

    Parameters
    ----------
    pool : HTTPConnectionPool
    timeouts : tuple of float
        Seconds for connecting, for an answer, and for being idle.
    """

    def __init__(self, pool: HTTPConnectionPool, timeouts: tuple[float, float, float]) -> None:
        self.pool = pool
        self._timeouts = timeouts
        self._ready: SimpleQueue[WatchedConnection] = SimpleQueue()
        self._coming: deque[float] = deque()  # when each began
        self._usual = 0.0  # seconds that one may take, going by the last one
        self._ended = threading.Event()
        finalize(self, _drop, self._ready, -1.0)

    def close(self) -> None:
        """Close what waits, and what is still to come."""
        self._ended.set()
        _drop(self._ready, older_than=-1.0)

    def take(self) -> WatchedConnection | None:
        """Return a connection that is open, or will be in a moment; None if it is better to open one."""
        while True:
            # Nothing is waited for before it is known how long that would be.
            left = max(self._coming.copy(), default=-math.inf) + self._usual - time.monotonic()
            try:
                line = self._ready.get(timeout=min(left, _STEP)) if left > 0 else self._ready.get_nowait()
            except Empty:
                if left <= 0 or time.monotonic() > call.until:
                    return None
                continue
            if line.is_connected:
                return line
            line.close()

    def connect(self, line: WatchedConnection) -> None:
        """Open a connection: TCP, what a proxy asks for, and TLS."""
        began = time.monotonic()
        line.timeout = self._timeouts[0]
        if self.pool.proxy is None:
            line.connect()
        else:
            self.pool._prepare_proxy(line)
        self._usual = LATE * (time.monotonic() - began) + TOGETHER

    def open(self, count: int) -> None:
        """Begin to open connections until there are so many, with that of the request which follows now.

        Those that stay unused are closed.
        """
        if self._begin(count, least=1):
            _start(self._expire)

    @contextmanager
    def kept(self, count: int) -> Iterator[None]:
        """Have so many connections while something goes on that may take longer than they last; but not forever."""
        over = threading.Event()
        renewed_after = self._timeouts[2] * 0.8

        def keep() -> None:
            until = time.monotonic() + LONGEST
            while not (over.wait(renewed_after) or self._ended.is_set() or time.monotonic() > until):
                _drop(self._ready, older_than=renewed_after / 2)
                self._begin(count)
            self._expire()

        self._begin(count)
        _start(keep)
        try:
            yield
        finally:
            over.set()

    def _expire(self) -> None:
        """Close what stays unused, until nothing is left."""
        idle = self._timeouts[2]
        while not self._ended.wait(min(idle / 4, 1.0)) and (self._coming or self._ready.qsize()):
            _drop(self._ready, older_than=idle)

    def _begin(self, count: int, least: int = 0) -> int:
        """Begin to open what is missing, if there are so many at least; return how many those are."""
        places = self.pool.pool
        proxy = self.pool.proxy
        # The tickets that follow a handshake look like an answer in TLS within TLS, so none that has waited is used.
        if places is None or (proxy is not None and proxy.scheme == "https"):
            return 0
        inside = [cast("WatchedConnection | None", line) for line in list(places.queue)]
        fresh = sum(line is not None and line.idle_for < self._timeouts[2] for line in inside)
        in_use = places.maxsize - len(inside)
        missing = min(count, places.maxsize) - max(least, fresh + in_use + self._ready.qsize() + len(self._coming))
        for _ in range(missing):
            self._coming.append(began := time.monotonic())
            if not _start(partial(self._connect, began)):
                self._coming.remove(began)
        return max(0, missing)

    def _connect(self, began: float) -> None:
        try:
            call.begin(self._timeouts, None, None)
            line = cast("WatchedConnection", self.pool._new_conn())
            try:
                self.connect(line)
            except BaseException:
                line.close()
                raise
            self._ready.put(line)
            if self._ended.is_set():
                self.close()
        except Exception:  # noqa: BLE001, S110 - whoever needs a connection will find out
            pass
        finally:
            self._coming.remove(began)


def _start(work: Callable[[], object]) -> bool:
    """Run something on a thread of its own; return False where none can be started, as in a process that ends."""
    try:
        _thread.start_new_thread(work, ())
    except RuntimeError:
        return False
    return True


def _drop(ready: SimpleQueue[WatchedConnection], older_than: float) -> None:
    """Close the connections that have waited for longer."""
    with suppress(Empty):
        for _ in range(ready.qsize()):
            line = ready.get_nowait()
            if line.idle_for > older_than:
                line.close()
            else:
                ready.put(line)
