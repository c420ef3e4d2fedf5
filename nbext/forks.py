"""Work that no fork may catch half done, and what a forked child does first.

A child has only the thread that forked it. A lock that another thread held at that moment, be it OpenSSL's, SQLite's or
the import system's, stays locked in the child. So whatever works outside Python's own lock does so in a ``with`` block
of one of the three kinds of `Work` here, and a fork waits until no other thread is in one. These blocks are short, and
none contains a wait for the network.

What Python runs around a fork cannot raise: an exception is printed and dropped. So what a signal's handler raises
there is caught, the work is completed, and the signal is given again once all is done.
"""

from __future__ import annotations

import _thread
import importlib
import logging
import os
import socket
import sys
import threading
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast
from weakref import WeakSet

from nbext.signals import number_of

if TYPE_CHECKING:
    import signal
    from collections.abc import Callable, Sequence

PATIENCE = 5.0
"""Seconds for which a fork waits. While there is an import that makes progress, the time starts again."""
LONGEST_WAIT = 1.0
"""Seconds for which work waits for a fork, as it matters more."""
_LEAVING_SECONDS = 1.0
_STEP = 0.0005

sockets: WeakSet[socket.socket] = WeakSet()
"""Sockets that belong to this process alone: a forked child closes its copies."""

_threads: deque[tuple[int, int]] = deque(maxlen=1000)  # system id and Python's, of those that did such work


# The first by thread; `threading` does not know those that were started without it.
_frames, _frame = sys._current_frames, sys._getframe  # noqa: SLF001


class _Noted(threading.local):
    is_noted = False


_noted = _Noted()


class Work:
    """Work of one kind that a fork waits for; for `with` in a function that is no generator, also within itself.

    There is no lock, since an interrupt could leave it locked: threads note what they do, and see what others noted.
    What is noted counts for as long as the function runs, since an interrupt may come instead of `__exit__`.
    """

    def __init__(self) -> None:
        self.under_way: dict[int, tuple[int, int]] = {}
        """How deep each thread is in it, and the id of the frame in which that began."""
        self.forking: list[int] = []
        """Threads that are about to fork."""

    def __enter__(self) -> None:
        me = threading.get_ident()
        if (known := self.under_way.get(me)) is not None and self._is_in(me, known):
            depth, began = known
        else:
            depth, began = 0, id(_frame(1))
        self.under_way[me] = depth + 1, began
        if not depth:
            if not _noted.is_noted:
                _threads.append((threading.get_native_id(), me))
                _noted.is_noted = True
            if self.forking:
                self._make_way(me)

    def __exit__(self, *_: object) -> None:
        me = threading.get_ident()
        depth, began = self.under_way.pop(me, (1, 0))
        if depth > 1:
            self.under_way[me] = depth - 1, began

    def _make_way(self, me: int) -> None:
        until, known = time.monotonic() + LONGEST_WAIT, self.under_way[me]
        while self.forking and me not in self.forking and time.monotonic() < until:
            self.under_way.pop(me, None)
            time.sleep(_STEP)
            self.under_way[me] = known

    @staticmethod
    def _is_in(thread: int, known: tuple[int, int]) -> bool:
        frame = _frames().get(thread)
        while frame is not None and id(frame) != known[1]:
            frame = frame.f_back
        return frame is not None

    def await_others(self) -> None:
        """Wait, on a thread that is about to fork, until no other is at it; none begins."""
        me, modules = threading.get_ident(), len(sys.modules)
        if me not in self.forking:
            self.forking.append(me)
        until = time.monotonic() + PATIENCE
        while any(each[0] != me and self._is_in(*each) for each in list(self.under_way.items())):
            if time.monotonic() > until:
                if len(sys.modules) == modules:  # it may well wait for what this thread holds
                    return
                until, modules = time.monotonic() + PATIENCE, len(sys.modules)
            time.sleep(_STEP)


imports = Work()
"""The import of what a child may need: it would wait forever for a module that is half imported."""
records = Work()
"""Transactions of a journal: the child would inherit half of one, and what SQLite remembers of its locks."""
encryption = Work()
"""Signatures, and steps of TLS: OpenSSL has locks inside."""


def _await_leaving() -> None:
    """Wait for threads that have ended for Python only: a thread's last act is to take a lock of OpenSSL."""
    until = time.monotonic() + _LEAVING_SECONDS
    while time.monotonic() < until:
        running = _frames().keys()
        for thread in list(_threads):
            # Elsewhere than on Linux nothing tells. There, a process with threads cannot count on forks anyway.
            if thread[1] not in running and not Path(f"/proc/self/task/{thread[0]}").exists():
                _threads.remove(thread)
        if {ident for _, ident in _threads} <= _frames().keys():
            return  # and before the fork no thread gets to run Python, let alone to end
        time.sleep(_STEP)


def _disown_sockets() -> None:
    for sock in list(sockets):
        # At once and without a word on the connection: Python's own method would wait for whoever still reads.
        socket.SocketType.close(sock)
    sockets.clear()


# What may take longest comes first, as nothing of a kind begins once that has been waited for.
_kinds = imports, records, encryption
_before: list[Callable[[], object]] = [*(kind.await_others for kind in _kinds), _await_leaving]
# Python frees logging's locks in the child before that. It is in Python, and what interrupts it leaves them locked.
_free_logging: Callable[[], object] = getattr(logging, "_after_at_fork_child_reinit_locks", lambda: None)
_in_child: list[Callable[[], object]] = [_free_logging, _disown_sockets]
_late: list[map[None]] = []


def in_child(work: Callable[[], object]) -> None:
    """Have a forked child do something at once; it may be done twice.

    Parameters
    ----------
    work : callable
        Takes no lock, since another thread of the parent may have held it.
    """
    _in_child.append(work)


def _complete(steps: Sequence[Callable[[], object]]) -> None:
    """Do everything, whatever a signal raises meanwhile."""
    for step in steps:
        while True:
            try:
                step()
                break
            except BaseException as error:
                if (number := number_of(error)) is None:
                    raise
                _late.append(map(_thread.interrupt_main, [cast("signal.Signals", number)]))


if hasattr(os, "register_at_fork"):
    importlib.import_module(
        "random"
    )  # its own, like logging's, is in Python, and so has to come before the last of ours
    # What is registered as a method in C cannot be interrupted. The last one has each late signal given again: `any`
    # takes the one element of a map, and so calls `interrupt_main`, after which no more of our Python code follows.
    os.register_at_fork(before=lambda: _complete(_before), after_in_child=_late.clear)
    for _kind in _kinds:
        os.register_at_fork(after_in_parent=_kind.forking.pop, after_in_child=_kind.forking.clear)
        os.register_at_fork(after_in_child=_kind.under_way.clear)
    os.register_at_fork(after_in_child=_threads.clear)
    os.register_at_fork(after_in_child=lambda: _complete(_in_child))
    _again = partial(_late.sort, key=any)
    os.register_at_fork(after_in_parent=_again, after_in_child=_again)
