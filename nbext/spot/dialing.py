"""Connect to a host by a deadline: look up its name, then try its addresses in parallel."""

from __future__ import annotations

import _thread
import queue
import selectors
import socket
import time
from contextlib import suppress
from itertools import chain, zip_longest
from typing import TYPE_CHECKING, Any, TypeVar

from urllib3.util.connection import allowed_gai_family

from nbext.signals import let_through

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

# Delay after which the next address is tried in parallel (RFC 8305, "Connection Attempt Delay").
STAGGER_SECONDS = 0.25

Address = tuple[int, int, int, str, Any]
"""A row of `socket.getaddrinfo`."""
_T = TypeVar("_T")
# Unlike epoll, these need no file descriptor of their own.
_Selector: type[selectors.BaseSelector] = getattr(selectors, "PollSelector", selectors.SelectSelector)


class _Failed:
    def __init__(self, error: BaseException) -> None:
        self.error = error


def within(deadline: float, work: Callable[[], _T], discard: Callable[[_T], object] = lambda _: None) -> _T:
    """Run something that takes no deadline, and abandon it when time runs out.

    Parameters
    ----------
    deadline : float
        On the monotonic clock.
    work : callable
        Runs on a thread of its own, which nothing waits for.
    discard : callable, optional
        Takes a result that came too late.

    Raises
    ------
    TimeoutError
        Its time is over.
    """
    results: queue.SimpleQueue[_T | _Failed] = queue.SimpleQueue()
    left = False

    def run() -> None:
        try:
            results.put(work())
        except BaseException as error:  # noqa: BLE001 - raised below, on the caller's thread
            results.put(_Failed(error))
        if left:
            throw_away()

    def throw_away() -> None:
        with suppress(queue.Empty):
            if not isinstance(result := results.get_nowait(), _Failed):
                discard(result)

    try:
        _thread.start_new_thread(run, ())
    except RuntimeError:  # a process that ends can start no thread, and its last cancel matters more than a deadline
        return work()
    try:
        result = results.get(timeout=max(0.0, deadline - time.monotonic()))
    except queue.Empty:
        raise TimeoutError from None
    finally:
        left = True  # then one of the two threads finds what came late
        throw_away()
    if isinstance(result, _Failed):
        raise result.error
    return result


def look_up(host: str, port: int, deadline: float) -> Sequence[Address]:
    """Return the addresses of a host, in the order in which to try them.

    Raises
    ------
    TimeoutError
        The lookup takes longer than the deadline allows.
    OSError, UnicodeError
        The name is unknown.
    """
    host = host.strip("[]")
    family = allowed_gai_family()
    with suppress(socket.gaierror):  # a number needs no lookup, and so no thread
        return socket.getaddrinfo(host, port, family, socket.SOCK_STREAM, 0, socket.AI_NUMERICHOST)
    found = within(deadline, lambda: socket.getaddrinfo(host, port, family, socket.SOCK_STREAM))
    first = [row for row in found if row[0] == found[0][0]]
    second = [row for row in found if row[0] != found[0][0]]
    return [row for row in chain.from_iterable(zip_longest(first, second)) if row is not None]


def dial(
    addresses: Sequence[Address], deadline: float, options: Sequence[tuple[int, int, int | bytes]]
) -> socket.socket:
    """Connect to whichever address answers first; each has a head start over the next.

    Parameters
    ----------
    addresses : sequence
        From `look_up`.
    deadline : float
        For all of them together, on the monotonic clock.
    options : sequence
        Arguments of `socket.setsockopt`.

    Raises
    ------
    TimeoutError
        None answered in time.
    OSError
        Each refused.
    """
    waiting, error, due = list(reversed(addresses)), OSError("no address"), time.monotonic()
    with _Selector() as selector:
        try:
            while waiting or selector.get_map():
                now = time.monotonic()
                if now >= deadline:
                    raise TimeoutError
                if waiting and (now >= due or not selector.get_map()):
                    due = now + STAGGER_SECONDS
                    try:
                        selector.register(_call(waiting.pop(), options), selectors.EVENT_WRITE)
                    except OSError as refused:
                        let_through(refused)
                        error, due = refused, now
                        continue
                pause = min(deadline, due) if waiting else deadline
                for key, _ in selector.select(max(0.0, pause - time.monotonic())):
                    caller: socket.socket = key.fileobj  # type: ignore[assignment]
                    selector.unregister(caller)
                    if not (code := caller.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)):
                        return caller
                    caller.close()
                    error, due = (
                        OSError(code, "refused"),
                        now,
                    )  # OSError makes ConnectionRefusedError and the like of it
            raise error
        finally:
            for key in list(selector.get_map().values()):
                key.fileobj.close()  # type: ignore[union-attr]


def _call(address: Address, options: Sequence[tuple[int, int, int | bytes]]) -> socket.socket:
    family, kind, protocol, _, where = address
    caller = socket.socket(family, kind, protocol)
    try:
        caller.setblocking(False)
        for option in options:
            caller.setsockopt(*option)
        with suppress(BlockingIOError):
            caller.connect(where)
    except BaseException:
        caller.close()
        raise
    return caller
