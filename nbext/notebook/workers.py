"""Threads that take one piece of work after another.

A kernel opens a socket for each thread that touches a widget, and closes it only some seconds after the thread's end.
Threads that are used again keep those few, however often somebody clicks.
"""

from __future__ import annotations

import os
import threading
from concurrent.futures import Future
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 5.0
"""Seconds after which a thread without work ends."""


class Workers:
    """As many threads as there is work at a time. None of them holds up the end of the process."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin without a thread, as in a forked child, which has none of its parent's."""
        self._lock = threading.Lock()
        self._free = 0  # threads that wait and that no work is on its way to
        self._work: SimpleQueue[tuple[Future[None], Callable[[], object]]] = SimpleQueue()

    def begin(self, work: Callable[[], object]) -> Future[None]:
        """Have something done on a thread that is free, or on a new one."""
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
            except BaseException as error:  # noqa: BLE001 - it belongs to whoever waits for the result
                done.set_exception(error)
            else:
                done.set_result(None)
            del done, work  # or a thread without work would keep alive what the last one was for
            with self._lock:
                self._free += 1


workers = Workers()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=workers.forget)
