"""Guards: cancel on the way out of a ``with`` block, or when the kernel ends, however it ends.

What a guard of the kernel cancels, and a block's that is to outlive the kernel, is known to one `nbext.cancel.watchdog`
for each process, which says what goes over the line between the two.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Self

from nbext import messages, profiles, session
from nbext.cancel import watchdog
from nbext.credentials import sealed
from nbext.errors import ConfigurationError, NbextError
from nbext.forks import in_child
from nbext.spot.parameters import parse_flag

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from pandas import DataFrame

    from nbext.cancel.consent import Ask, Confirm
    from nbext.cancel.job import Job

_PATIENCE = 5.0  # for what a watchdog has to say; a kernel that is shut down has about as long
_LEAST_AFTER = 1.0
_LONGEST_WINDOW = 30_000  # with the rest of a cancel, what a watchdog has time to wait for
_BETWEEN_SIGNS = 0.05
# What Python needs to start as it did here. Everything else stays here: keys, and passwords of proxies.
_KEPT = ("HOME", "LANG", "LANGUAGE", "LD_LIBRARY_PATH", "PATH", "TMPDIR", "TZ", "SSL_CERT_DIR", "SSL_CERT_FILE")
_NETWORK = ("https_proxy", "http_proxy", "all_proxy", "no_proxy", "requests_ca_bundle", "curl_ca_bundle")


class Guard:
    """Cancel a job's orders when its block ends: normally, with an error, an interrupt or ``sys.exit``.

    Made by `nbext.guard`. Consent is given when the block begins. A forked child that leaves the block cancels nothing.

    Attributes
    ----------
    frame : DataFrame or None
        The result, once the block has ended.
    """

    def __init__(
        self, job: Job, *, yes: bool, confirm: Confirm = "live", ask: Ask | None, outlive: bool = False
    ) -> None:
        self.frame: DataFrame | None = None
        self._job = job
        self._yes = parse_flag("yes", yes)
        self._confirm = confirm
        self._ask = ask
        self._outlive = outlive
        self._kept: Kept | None = None
        self._pid = os.getpid()

    def __enter__(self) -> Self:
        self._job.agree(self._ask, yes=self._yes, confirm=self._confirm, before_cell=True)
        if self._outlive:
            self._kept = keeper.keep(self._job)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if os.getpid() != self._pid:
            return  # the parent is still inside
        try:
            if self._kept is None or keeper.announce(self._kept):
                self.frame = self._job.run()
        except BaseException as failed:
            self.frame = getattr(failed, "frame", None)
            if isinstance(failed, NbextError | KeyboardInterrupt):
                raise failed from error
            raise
        finally:
            if self._kept is not None:
                keeper.drop(self._kept)


@dataclass(eq=False, slots=True)
class Kept:
    """A guard of this process.

    Attributes
    ----------
    number : int
        Names it on the line to the watchdog.
    job : Job
    after : float or None
        Seconds without a sign of life after which the watchdog cancels.
    say : callable or None
        Takes what the watchdog did.
    did : str
        That, and empty while the guard stands.
    """

    number: int
    job: Job
    after: float | None = None
    say: Callable[[str], None] | None = None
    did: str = ""
    alive_at: float = field(default_factory=time.monotonic)

    @property
    def name(self) -> str:
        """What it guards: symbols and prefix, profile and host."""
        prefix = self.job.terms["prefix"]
        symbols = messages.subject(self.job.symbols)
        return f"{symbols}{f' {prefix}*' if prefix else ''} {messages.place(self.job.client)}"


class Keeper:
    """The guards of this process, and its watchdog.

    Attributes
    ----------
    pid : int or None
        The watchdog's process.
    flaw : str
        Why there is no watchdog.
    """

    def __init__(self) -> None:
        self._line: watchdog.Line | None = None
        self._told_at_exit = 0
        self.forget()

    def forget(self) -> None:
        """Start without guards, as in a forked child: they are its parent's, and so is the line to the watchdog."""
        if self._line is not None:
            self._line.close()
        self._line = None
        self._guards: list[Kept] = []
        self._numbers = 0
        self._starting = threading.RLock()
        self.pid: int | None = None
        self.flaw = ""

    def keep(self, job: Job, *, after: float | None = None, say: Callable[[str], None] | None = None) -> Kept | None:
        """Guard what a job cancels until this process ends, in place of an earlier guard of the same orders.

        Consent has been given by then.

        Parameters
        ----------
        job : Job
        after : float, optional
            Seconds without a sign of life (`alive`) after which it is canceled, too.
        say : callable, optional
            Takes lines worth reading. Guards with one count as the kernel's, the others as those of a block.

        Returns
        -------
        Kept or None
            None where the exchange ends with this process, and its orders with it.

        Raises
        ------
        ConfigurationError
            `after` or the recv window is out of range. Nothing was sent.
        """
        if after is not None and after < _LEAST_AFTER:
            raise ConfigurationError(
                f"--after must be at least {_LEAST_AFTER:g}s; nothing is guarded. Use a longer time."
            )
        if float(job.terms["recv_window"] or 0) > _LONGEST_WINDOW:
            raise ConfigurationError(
                f"the recv window of a guard is at most {_LONGEST_WINDOW} ms; nothing is guarded. Use a shorter one."
            )
        if profiles.ends_with_this_process(job.client.base_url):
            return None
        with self._starting:
            self._numbers += 1
            kept = Kept(self._numbers, job, after, say)
            earlier = [each for each in self._guards if say and each.say and each.name == kept.name]
            line = self._reach()
            self._guards.append(kept)
            if line is not None:
                _hand_over(line, kept)
            for each in earlier:
                self.drop(each)
            if self._told_at_exit != os.getpid():
                self._told_at_exit = os.getpid()
                atexit.register(self.end)
        return kept

    def announce(self, kept: Kept) -> bool:
        """Ask the watchdog whether this process may cancel now, which is so once, and not after the watchdog has."""
        line = self._line
        if line is None or not line.send(do="announce", id=kept.number):
            return True
        ends = time.monotonic() + _PATIENCE
        while not line.closed and (left := ends - time.monotonic()) > 0:
            for message in self._hear(line, left):
                if message["id"] == kept.number:
                    return bool(message["goes"])
        if not line.closed and self.pid is not None:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)  # it hangs: so that one of the two cancels, and not both
        return True

    def drop(self, kept: Kept) -> None:
        """Guard it no more; a watchdog without guards ends."""
        if kept in self._guards:
            self._guards.remove(kept)
        line, pid = self._line, self.pid
        if line is None:
            return
        if self._guards:
            line.send(do="forget", id=kept.number)
            return
        line.send(do="bye")
        self._line = self.pid = None
        line.receive(_PATIENCE)  # ends with the process
        line.close()
        _bury(pid)

    def remove(self, symbol: str | None = None) -> list[str]:
        """Remove the kernel's guards of a symbol, or all where none is named; return what they guarded."""
        found = [each for each in self._guards if each.say and symbol in {None, *each.job.symbols}]
        for each in found:
            self.drop(each)
        return [each.name for each in found]

    def shown(self) -> list[str]:
        """Return a line for each guard that stands, or has run."""
        self.look()
        return [each.name + self._state(each) for each in self._guards]

    def _state(self, kept: Kept) -> str:
        if kept.did:
            return ": has run, set it again"
        if kept.after is None:
            return ""
        left = max(0.0, kept.alive_at + kept.after - time.monotonic())
        return f", {left:.0f} s left of {kept.after:g} s"

    def alive(self) -> bool:
        """Tell the watchdog that this process is alive; return whether all guards that wait for one still stand."""
        now = time.monotonic()
        waiting = [each for each in self._guards if each.after is not None]
        line = self._line
        if line is not None and any(not each.did and now - each.alive_at >= _BETWEEN_SIGNS for each in waiting):
            line.send(do="alive")
            for each in waiting:
                each.alive_at = now
        self.look()
        return not any(each.did for each in waiting)

    def look(self) -> None:
        """Say what the watchdog did; start another one where it has ended."""
        line = self._line
        if line is None:
            return
        self._hear(line)
        if line.closed and any(not each.did for each in self._guards):
            ended, listeners = self.pid, [each.say for each in self._guards if each.say]
            with self._starting:
                self._reach()
            if listeners:
                listeners[0](f"The watchdog, process {ended}, had ended; {self.state}.")

    @property
    def state(self) -> str:
        """Who watches, in words."""
        return f"not running ({self.flaw})" if self.pid is None else f"process {self.pid} watches"

    def end(self) -> None:
        """Let the watchdog cancel when this process ends normally; without a watchdog, cancel here."""
        line, guards = self._line, [each for each in self._guards if not each.did]
        if line is not None and guards and line.send(do="end"):
            ends, is_over = time.monotonic() + _PATIENCE, False
            while not (is_over or line.closed) and (left := ends - time.monotonic()) > 0:
                is_over = any("over" in message for message in self._hear(line, left))
            if line.closed and not is_over:
                sys.stderr.write("nbext: the watchdog ended before it had told what it did. Check %open_orders.\n")
            self._guards.clear()
            line.close()
            return
        for each in guards:
            if each.say is None:  # a block that another thread has not left
                continue
            try:
                each.job.run_at_exit()
            except (NbextError, KeyboardInterrupt) as error:
                sys.stderr.write(f"nbext: {type(error).__name__}: {error}\n")

    def _hear(self, line: watchdog.Line, seconds: float = 0.0) -> list[dict[str, object]]:
        """Take what the watchdog says; return what answers a question."""
        answers = []
        for message in line.receive(seconds):
            if not message.keys() & {"runs", "did"}:
                answers.append(message)
                continue
            for each in self._guards:
                if each.number == message["id"]:
                    each.did = str(message.get("did", "The watchdog cancels now."))
                    if "did" in message:
                        line.send(do="forget", id=each.number)
                        (each.say or str)(each.did)
        return answers

    def _reach(self) -> watchdog.Line | None:
        """Return the line to the watchdog; where there is none, start one, and tell it of the guards so far."""
        if self._line is not None and not self._line.closed:
            return self._line
        if self._line is not None:
            self._line.close()
            _bury(self.pid)
        self._line = self.pid = None
        self.flaw = "" if os.name == "posix" else "not available on this system"
        if not self.flaw:
            try:
                self._line, self.pid = _start()
            except OSError as error:
                self.flaw = f"it could not be started: {error.strerror}"
        if self._line is not None:
            for each in self._guards:
                if not each.did:
                    _hand_over(self._line, each)
        return self._line


def _start() -> tuple[watchdog.Line, int]:
    """Start a watchdog, and tell it of this process."""
    mine, theirs = socket.socketpair()
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", watchdog.__name__],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=_environment(),
        )
    process.returncode = 0  # it outlives this process on purpose, so no warning
    line = watchdog.Line(mine)
    journal = session.journal().path
    network = {name: value for name, value in os.environ.items() if name.lower() in _NETWORK}
    line.send(
        do="begin",
        kernel=os.getpid(),
        environment={**network, "NBEXT_JOURNAL": "off" if journal is None else str(journal)},
    )
    return line, process.pid


def _environment() -> dict[str, str]:
    """Return the environment of a watchdog: what Python needs to find the modules that this process has."""
    kept = {name: value for name, value in os.environ.items() if name in _KEPT or name.startswith(("LC_", "PYTHON"))}
    ours = str(Path(__file__).parents[2])
    paths = [str(Path(path).absolute()) for path in sys.path if path]
    return {**kept, "PYTHONPATH": os.pathsep.join(paths if ours in paths else [*paths, ours])}


@sealed  # its frames hold the secrets
def _hand_over(line: watchdog.Line, kept: Kept) -> None:
    client = kept.job.client.written_out()
    line.send(do="guard", id=kept.number, client=client, terms=kept.job.terms, after=kept.after)


def _bury(pid: int | None) -> None:
    """Reap a watchdog that has ended, as its parent has to."""
    if pid is not None:
        with suppress(OSError):
            os.waitpid(pid, 0)


keeper = Keeper()
in_child(keeper.forget)
