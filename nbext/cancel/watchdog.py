"""Cancel what a kernel has guarded once it has ended: ``python -m nbext.cancel.watchdog``, a process of its own.

A kernel that sets a guard starts one of these (`nbext.cancel.guard`) in a session of its own, so that what ends the
kernel's process group does not reach it, and with an environment that says little more than where Python finds its
modules. Standard input is one end of a socket pair. What goes over it is JSON, one object a line.

From the kernel::

    {"do": "begin", "kernel": PID, "environment": {...}}     first: whom to watch; the settings of network and journal
    {"do": "guard", "id": 1, "client": {...}, "terms": {...}, "after": SECONDS or null}
    {"do": "announce", "id": 1}    it wants to cancel by itself, which is answered: {"id": 1, "goes": true}
    {"do": "forget", "id": 1}      the guard was removed, or has run, or the user has been told what it did
    {"do": "alive"}                a sign of life, for guards with "after"
    {"do": "end"}                  it ends normally: all guards run now, each tells, and {"over": true} comes last
    {"do": "bye"}                  nothing is guarded any more: this process ends

To the kernel, beside these answers::

    {"id": 1, "runs": true}        the guard runs now, since no sign of life has come
    {"id": 1, "did": TEXT}         the guard has run, for that reason or at the end

Each guard cancels once at most, here or in the kernel, and this process decides which: the kernel sends nothing that
"goes" has not allowed. The kernel has ended when the socket pair is at its end of file without a "bye", or when its
process has ended, even if another process holds the socket open. After that this process lives for 60 s at most.

A kernel that had announced a cancel may have sent it or not. Then what is open is read at once, and canceled only if
it is still open when that cancel can no longer arrive: a recv window, and the time that an exchange may take, later.
"""

from __future__ import annotations

import importlib
import json
import os
import selectors
import signal
import socket
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nbext import messages, session
from nbext.cancel import job as cancel
from nbext.cancel import notices, report
from nbext.cancel.selection import Filter, Latency, Options, Selection
from nbext.errors import IncompleteError, NbextError, NotSentError
from nbext.spot.client import SpotClient

if TYPE_CHECKING:
    from collections.abc import Mapping

LIFE_SECONDS = 60.0
"""How long a watchdog may live once its kernel has ended."""
RECV_WINDOW = 5000.0

_AGAIN_SECONDS = 20.0  # how long to retry without a connection
_PAUSE = 1.0
_GRACE_SECONDS = 2.0  # after SIGTERM, which may have gone to the kernel as well, as where a service is stopped
_POLL_SECONDS = 0.25  # where no descriptor tells of the kernel's end
_SEND_SECONDS = 1.0
_PIECE = 1 << 16


class Line:
    """One end of the socket pair: messages out, messages in.

    Attributes
    ----------
    closed : bool
        Whether the other side is gone.
    """

    def __init__(self, end: socket.socket) -> None:
        self._end = end
        self._rest = b""
        self._reading = threading.Lock()
        self.closed = False

    def fileno(self) -> int:
        """Return the descriptor, for a selector."""
        return self._end.fileno()

    def close(self) -> None:
        """Close this end."""
        self.closed = True
        self._end.close()

    def send(self, **message: object) -> bool:
        """Send a message; return whether the other side can have it."""
        if self.closed:
            return False
        try:
            self._end.settimeout(_SEND_SECONDS)
            self._end.sendall(json.dumps(message).encode() + b"\n")
        except OSError:
            self.closed = True
        return not self.closed

    def receive(self, seconds: float = 0.0) -> list[dict[str, Any]]:
        """Return the messages that have come, and wait this long for the first one."""
        messages: list[dict[str, Any]] = []
        mine = self._reading.acquire(timeout=_SEND_SECONDS)
        try:
            while not self.closed:
                self._end.settimeout(0.0 if messages else max(0.0, seconds))
                try:
                    piece = self._end.recv(_PIECE)
                except (BlockingIOError, TimeoutError):
                    break
                except OSError:
                    piece = b""
                self.closed = not piece
                *whole, self._rest = (self._rest + piece).split(b"\n")
                messages += map(json.loads, whole)
        finally:
            if mine:
                self._reading.release()
        return messages


class Kernel:
    """The process whose end is waited for.

    Parameters
    ----------
    pid : int
        The parent of this process, unless it has ended already.
    """

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self.descriptor: int | None = None
        if hasattr(os, "pidfd_open"):  # on Linux
            try:
                self.descriptor = os.pidfd_open(pid)
            except OSError:  # it is gone, or the system does not let us
                self.descriptor = None

    @property
    def has_ended(self) -> bool:
        """Whether it has: then this process has another parent."""
        return os.getppid() != self.pid


@dataclass(slots=True)
class Watched:
    """A guard, as its watchdog keeps it.

    Attributes
    ----------
    client : SpotClient
    terms : Mapping
        Which orders, as `Job.terms` says.
    after : float or None
        Seconds without a sign of life after which it runs.
    is_announced : bool
        Whether the kernel was allowed to cancel by itself.
    ran_early : bool
        Whether it has run while the kernel lived.
    did : str
        What came of it; empty before.
    """

    client: SpotClient
    terms: Mapping[str, Any]
    after: float | None
    alive_at: float = field(default_factory=time.monotonic)
    is_announced: bool = False
    ran_early: bool = False
    did: str = ""
    thread: threading.Thread | None = None

    @property
    def due(self) -> float | None:
        """When it runs, unless a sign of life comes; None if it waits for none, or has run."""
        return None if self.after is None or self.thread is not None else self.alive_at + self.after

    def start(self, line: Line, number: int, *, kernel_lives: bool) -> None:
        """Run on a thread of its own, once, and tell."""
        since = time.monotonic()
        self.ran_early = kernel_lives
        if kernel_lives:
            line.send(id=number, runs=True)  # before anything else, lest it go on as if the guard still stood

        def run() -> None:
            try:
                what = self._cancel(since)
            except Exception as error:  # noqa: BLE001 - a mistake of ours is told like any other failure
                what = self._failed(error)
            self.did = f"No sign of life came for {self.after:g} s, so {what}" if kernel_lives else what
            line.send(id=number, did=self.did[0].upper() + self.did[1:])
            if not kernel_lives:
                notices.leave(f"While no kernel was running, {what}")

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def _cancel(self, since: float) -> str:
        """Cancel, once, and return what came of it."""
        late = self.is_announced
        if late and not self._must_still_cancel(since):
            return f"{self._head('found nothing left open')}; the kernel had begun to cancel (see %cancel_log)"
        while True:
            try:
                call = self._job(since if late else None).settle(until=since + LIFE_SECONDS - 2.0)
                error = report.shortfall(call)
            except NbextError as refused:
                error = refused
            if not _is_not_sent(error) or time.monotonic() > since + _AGAIN_SECONDS:
                break
            late = True  # from now on, the next kernel may have placed orders of its own
            time.sleep(_PAUSE)
        if error is not None:
            return self._failed(error)
        rows = call.rows
        if all(row.outcome == "canceled" for row in rows):
            return self._head(f"canceled {messages.count(len(rows), 'order')}" if rows else "found nothing open") + (
                " (see %cancel_log)"
            )
        return f"{self._head('ran')}: {messages.outcomes(rows)} (see %cancel_log)"

    def _must_still_cancel(self, since: float) -> bool:
        """Wait until what the kernel may have sent can no longer arrive; return False if nothing is open before."""
        with suppress(NbextError):  # it is tried again later
            if not self._job(since).finds_anything():
                return False
        window = float(self.terms["recv_window"] or RECV_WINDOW) / 1000
        allowance = window + Latency().engine + Latency().lag
        time.sleep(max(0.0, since + allowance - time.monotonic()))
        return True

    def _job(self, since: float | None) -> cancel.Job:
        """Return what is to be done: with a moment, only about orders that are older."""
        age = None if since is None else timedelta(seconds=time.monotonic() - since)
        symbols, only = self.terms["symbols"], Filter(prefix=self.terms["prefix"], older_than=age)
        selection = Selection.parse(symbols, only, all_symbols=not symbols)
        return cancel.Job(self.client, selection, Options(self.terms["recv_window"]))

    def _failed(self, error: Exception) -> str:
        return f"{self._head('could not do its work')}: {type(error).__name__}: {error}"

    def _head(self, did: str) -> str:
        prefix = f" ({self.terms['prefix']}*)" if self.terms["prefix"] else ""
        where = f"on {messages.subject(self.terms['symbols'])}{prefix} {messages.place(self.client)}"
        return f"the guard {did} {where} at {time.strftime('%H:%M:%S UTC', time.gmtime())}"


def _is_not_sent(error: NbextError | None) -> bool:
    """Return whether nothing went out at all, so that it can be tried again."""
    if isinstance(error, IncompleteError):
        return bool(error.failures) and all(isinstance(each, NotSentError) for each in error.failures.values())
    return isinstance(error, NotSentError)


class Watchdog:
    """The guards of a kernel, and the wait for its end.

    Parameters
    ----------
    line : Line
        To the kernel.
    """

    def __init__(self, line: Line) -> None:
        self._line = line
        self._guards: dict[int, Watched] = {}
        self._clients: dict[str, SpotClient] = {}
        self._kernel = Kernel(os.getppid())
        self._is_over = self._is_finishing = False

    def leave(self, *_: object) -> None:
        """End soon, unless the kernel does before."""

        def exit_unless_needed() -> None:
            if not self._is_finishing:
                os._exit(0)

        threading.Timer(_GRACE_SECONDS, exit_unless_needed).start()

    def wait(self) -> None:
        """Do what the kernel says, and run the guards that get no sign of life, until the kernel has ended."""
        with selectors.DefaultSelector() as selector:
            selector.register(self._line, selectors.EVENT_READ)
            if self._kernel.descriptor is not None:
                selector.register(self._kernel.descriptor, selectors.EVENT_READ)
            gone = False
            while not (gone or self._is_over or self._line.closed):
                selector.select(self._patience())
                gone = self._kernel.has_ended  # asked first: what it had said by then is there to be read
                for message in self._line.receive():
                    self._do(message)
                now = time.monotonic()
                for number, guard in self._guards.items():
                    if not (gone or self._is_over) and guard.due is not None and guard.due <= now:
                        guard.start(self._line, number, kernel_lives=True)

    def finish(self) -> None:
        """Run all guards that have not run, side by side, and give them the time that this process has left."""
        self._is_finishing = True
        ends = time.monotonic() + LIFE_SECONDS
        for number, guard in self._guards.items():
            if guard.thread is None:
                guard.start(self._line, number, kernel_lives=False)
        for guard in self._guards.values():
            if guard.thread is not None:
                guard.thread.join(max(0.0, ends - time.monotonic()))
            if guard.ran_early and guard.did:  # a kernel that has been told of it would have had it forgotten
                notices.leave(guard.did)
        self._line.send(over=True)

    def _patience(self) -> float | None:
        due = [guard.due for guard in self._guards.values() if guard.due is not None]
        left = [max(0.0, min(due) - time.monotonic())] if due else []
        return min([*left, *([] if self._kernel.descriptor is not None else [_POLL_SECONDS])], default=None)

    def _do(self, message: dict[str, Any]) -> None:
        what, number = message["do"], message.get("id", 0)
        if what == "guard":
            self._guards[number] = Watched(self._client(message["client"]), message["terms"], message["after"])
        elif what == "announce":
            guard = self._guards[number]
            guard.is_announced = guard.thread is None
            self._line.send(id=number, goes=guard.is_announced)
        elif what == "forget":
            self._guards.pop(number, None)
        elif what == "alive":
            for guard in self._guards.values():
                guard.alive_at = time.monotonic()
        elif what == "begin":
            self._is_over = message["kernel"] != self._kernel.pid  # it had ended before this process could look
            os.environ.update(message["environment"])
        elif what == "bye":
            os._exit(0)
        elif what == "end":
            self._is_over = True

    def _client(self, written: Mapping[str, Any]) -> SpotClient:
        """Make a client that is ready to connect, or take the one that another guard has."""
        same = json.dumps(written, sort_keys=True)
        if same not in self._clients:
            self._clients[same] = client = SpotClient.from_written(written)
            client.prepare()
            with suppress(NbextError):
                session.journal().salt()  # which opens it, where there is one
        return self._clients[same]


def main() -> int:
    """Wait for the end of the kernel at the other end of standard input, and cancel what it had guarded."""
    try:
        end = socket.socket(fileno=os.dup(0))
    except OSError:
        sys.stderr.write(f"{__doc__}\nIt is started by %nbext_guard, and takes no arguments.\n")
        return 2
    with Path(os.devnull).open("rb") as null:
        os.dup2(null.fileno(), 0)
    for number in (signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    importlib.import_module("sqlite3")  # the journal's, so that nothing is left to import when there is haste
    session.has_user = False
    watchdog = Watchdog(Line(end))
    signal.signal(signal.SIGTERM, watchdog.leave)
    watchdog.wait()
    watchdog.finish()
    os._exit(0)  # whatever still hangs


if __name__ == "__main__":
    sys.exit(main())
