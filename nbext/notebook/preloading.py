"""What the first cancel needs, imported in the background before it is needed, one module at a time between cells.

Loading the extension imports next to nothing. After the cell that loaded it has ended, a daemon thread imports the
rest while the kernel is idle, goes the way of a cancel once, opens the journal if there is one, and reads the key and
the certificates of the profile in use. It contacts no host.

A fork while a module is being imported would leave a child that waits for that import forever, and a cell could get
half a module. So both wait until the module is there. A cancel does not wait for modules that only its table needs:
their import stands still for a moment instead.
"""

from __future__ import annotations

import atexit
import importlib
import re
import sys
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from nbext.errors import NbextError
from nbext.forks import imports, in_child

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Callable, Iterator, Sequence
    from importlib.machinery import ModuleSpec

    from IPython.core.interactiveshell import ExecutionInfo, InteractiveShell

TO_SEND = ("sqlite3", "urllib3", "requests", "nbext.session", "nbext.api", "nbext.cancel.unfinished")
"""What stands before the DELETE. In this order, each imports as little as possible of those after it."""
TO_SHOW = (
    "numpy",
    "pyarrow",
    "pandas",
    "nbext.frames.build",
    "nbext.frames.html",
    "nbext.frames.text",
    "tornado.httpserver",
    "cryptography.hazmat.primitives.serialization",
    "nbext.exchange.local",
)
"""What comes after the DELETE, and the exchange of the `local` profile."""
PAUSE = 0.02
"""Seconds of idleness before an import: cells that run one after the other have the kernel to themselves."""
STANDSTILL = 0.05
"""Seconds for which an import makes way for a cancel, which may come to need it: then it goes on."""
BRIEFLY = 0.0005
"""Seconds after which the thread that imports lets others have their turn."""
_LONGEST_WAIT = 2.0  # seconds that a cell or the end of the process waits for an import
_A_CANCEL = re.compile(r"\s*(\w+\s*=\s*)?%cancel_all\b.*\s*")


class Preloader:
    """Imports modules on a thread of its own while no cell runs, and ends."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new, as in a forked child, which has none of its parent's threads."""
        self._idle = threading.Event()
        self._idle_from = self._makes_way_until = 0.0
        self._importing = threading.Lock()
        self._can_send = False
        self._importer = 0
        self._thread: threading.Thread | None = None
        self._stopped = True
        self.done = threading.Event()
        with suppress(ValueError):
            sys.meta_path.remove(self)

    def start(self, shell: InteractiveShell, parse: Callable[[str], Namespace]) -> None:
        """Begin when the cell that runs now has ended.

        Parameters
        ----------
        shell : InteractiveShell
        parse : callable
            Takes the line of a cancel.
        """
        self._parse = parse
        self._stopped = False
        self.done.clear()
        shell.events.register("pre_run_cell", self._pause)
        shell.events.register("post_run_cell", self._go_on)
        atexit.register(self._end)

    def stop(self, shell: InteractiveShell) -> None:
        """Import nothing more, once the module that is being imported is there."""
        self._end()
        self._thread = None
        atexit.unregister(self._end)
        for event, callback in ("pre_run_cell", self._pause), ("post_run_cell", self._go_on):
            with suppress(ValueError):
                shell.events.unregister(event, callback)

    def _pause(self, cell: ExecutionInfo) -> None:
        self._idle.clear()
        if self._can_send and _A_CANCEL.fullmatch(cell.raw_cell or ""):
            self._makes_way_until = time.monotonic() + STANDSTILL
            return
        # Two threads that import parts of one package, each in its own order, can both get half of it and fail.
        if self._importing.acquire(timeout=_LONGEST_WAIT):
            self._importing.release()

    def _go_on(self, _: object = None) -> None:
        self._idle_from = time.monotonic()
        self._idle.set()
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="nbext-preloading", daemon=True)
            self._thread.start()

    def _end(self) -> None:
        self._stopped = True
        self._idle.set()
        if self._thread is not None:
            self._thread.join(_LONGEST_WAIT)

    def _run(self) -> None:
        self._importer = threading.get_ident()
        if not (
            all(map(self._brings, TO_SEND)) and self._does(lambda: _rehearse(self._parse)) and self._does(_prepare)
        ):
            return
        self._can_send = True
        if all(map(self._brings, TO_SHOW)):
            self.done.set()

    def _brings(self, name: str) -> bool:
        """Import a module while the kernel is idle; return False if that is over."""
        return self._does(lambda: name in sys.modules or importlib.import_module(name))

    def _does(self, work: Callable[[], object]) -> bool:
        """Do something while the kernel is idle; return False if that is over."""
        while not self._stopped:
            self._idle.wait()
            time.sleep(max(0.0, self._idle_from + PAUSE - time.monotonic()))
            with imports, self._importing:
                if self._idle.is_set() and not self._stopped:
                    with suppress(Exception), self._giving_way():  # what is missing or broken, the first call says
                        work()
                    return True
        return False

    @contextmanager
    def _giving_way(self) -> Iterator[None]:
        """Have other threads wait less for this one, as a cell passes through several before it runs."""
        usual = sys.getswitchinterval()
        sys.setswitchinterval(BRIEFLY)
        sys.meta_path.insert(0, self)
        try:
            yield
        finally:
            with suppress(ValueError):
                sys.meta_path.remove(self)
            if sys.getswitchinterval() == BRIEFLY:
                sys.setswitchinterval(usual)

    def find_spec(self, _name: str, _path: Sequence[str] | None, _target: object = None) -> ModuleSpec | None:
        """Find nothing; between the parts of a package, make way for a cancel."""
        if threading.get_ident() == self._importer and not self._idle.is_set():
            self._idle.wait(max(0.0, self._makes_way_until - time.monotonic()))
        return None


def _rehearse(parse: Callable[[str], Namespace]) -> None:
    """Go the way of a cancel as far as it contacts no host, since its first steps take several times as long.

    Patterns are compiled, defaults made, and the journal is opened if there is one. The client is made up, and no
    request of its ever begins: its time is over.
    """
    from nbext import session
    from nbext.credentials import Credential, Secret
    from nbext.spot.client import SpotClient

    (symbol,) = parse("BTCUSDT --yes").symbols
    with SpotClient("http://127.0.0.1:9", credential=Credential(Secret("nobody's"), Secret("nobody's"))) as client:
        client.prepare()
        with suppress(NbextError), client.until(0.0):
            client.cancel_open_orders(symbol)
        client.fingerprint(session.journal().salt())


def _prepare() -> None:
    """Read key and certificates of the profile in use; both are compared with what is set when a call needs them."""
    from nbext import profiles, session

    if profiles.chosen()[0] != profiles.DEFAULT:  # whose exchange starts with its first use
        session.client_for().prepare()


preloader = Preloader()
in_child(preloader.forget)
