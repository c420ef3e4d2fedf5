"""A pool of threads that start on demand and end when idle.

A kernel opens a socket for each thread that touches a widget, and closes it only seconds after the thread has ended.
Reusing threads keeps the sockets few, however often the user clicks.
"""

from __future__ import annotations

import threading
import time
from concurrent.futures import Future, wait
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

from nbext.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 5.0
"""Seconds after which an idle thread ends."""


class Workers:
    """Daemon threads, one for each piece of work at a time."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Start without threads, as in a forked child, which has none of its parent's."""
        self._lock = threading.Lock()
        self._free = 0  # threads that wait, less the pieces of work on their way
        self._work: SimpleQueue[tuple[Future[None], Callable[[], object]]] = SimpleQueue()

    def start(self, work: Callable[[], object]) -> Future[None]:
        """Run something on a free thread, or on a new one."""
        done: Future[None] = Future()
        with self._lock:
            if self._free:
                self._free -= 1
            else:
                threading.Thread(target=self._serve, name="nbext-worker", daemon=True).start()
            self._work.put((done, work))
        return done

    def _serve(self) -> None:
        while True:
            try:
                done, work = self._work.get(timeout=IDLE)
            except Empty:
                with self._lock:
                    if self._free:
                        self._free -= 1
                        return
                continue  # work is on its way
            try:
                work()
            except BaseException as error:  # noqa: BLE001 - the caller gets it with the result
                done.set_exception(error)
            else:
                done.set_result(None)
            del done, work  # or an idle thread would keep the objects of its last work alive
            with self._lock:
                self._free += 1


class Started:
    """What somebody has started on the workers."""

    def __init__(self) -> None:
        self._work: set[Future[None]] = set()

    def start(self, work: Callable[[], object]) -> None:
        """Start something more."""
        self._work = {each for each in self._work if not each.done()} | {workers.start(work)}

    def wait(self, seconds: float) -> None:
        """Wait until all of it is done; raise TimeoutError after so many seconds."""
        end = time.monotonic() + seconds
        while self._work:  # work that is done may have started more
            if wait(list(self._work), max(0.0, end - time.monotonic())).not_done:
                raise TimeoutError("the panel is still busy")
            self._work = {each for each in self._work if not each.done()}


workers = Workers()
in_child(workers.forget)
