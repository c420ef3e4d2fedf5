"""What the first cancel needs, imported in the background before it is needed, one module at a time between cells.

Loading the extension imports next to nothing. After the cell that loaded it has ended, a daemon thread imports the
rest while the kernel is idle, and opens the journal if there is one. It reads no key and contacts no host.

A fork while a module is being imported would leave a child that waits for that import forever, and a cell could get
half a module. So both wait until the module is there.
"""

from __future__ import annotations

import atexit
import importlib
import os
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

MODULES = (
    "sqlite3",
    "urllib3",
    "requests",
    "nbext.api",
    "nbext.cancel.job",
    "nbext.journal",
    "nbext.cancel.unfinished",
    "numpy",
    "pyarrow",
    "pandas",
    "pyarrow.pandas_compat",
    "nbext.cancel.reconciliation",
    "nbext.frames.build",
    "nbext.frames.html",
    "nbext.frames.text",
    "tornado.httpserver",
    "nbext.exchange.local",
)
"""In this order, each imports as little as possible of those after it."""
PAUSE = 0.02
"""Seconds of idleness before the next module."""
_LONGEST_IMPORT = 2.0  # seconds that a cell, a fork or the end of the process waits


class Preloader:
    """Imports modules on a thread of its own while no cell runs, and ends."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Be as new, as in a forked child, which has none of its parent's threads."""
        self._idle = threading.Event()
        self._importing = threading.Lock()
        self._is_held = False
        self._thread: threading.Thread | None = None
        self._stopped = True
        self.done = threading.Event()

    def start(self, shell: InteractiveShell) -> None:
        """Begin when the cell that runs now has ended."""
        self._stopped = False
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

    def _pause(self, _: object = None) -> None:
        self._idle.clear()
        # Two threads that import parts of one package, each in its own order, can both get half of it and fail.
        if self._importing.acquire(timeout=_LONGEST_IMPORT):
            self._importing.release()

    def _go_on(self, _: object = None) -> None:
        self._idle.set()
        if self._thread is None and not self._stopped:
            self._thread = threading.Thread(target=self._run, name="nbext-preloading", daemon=True)
            self._thread.start()

    def _end(self) -> None:
        self._stopped = True
        self._idle.set()
        if self._thread is not None:
            self._thread.join(_LONGEST_IMPORT)

    def _run(self) -> None:
        for name in MODULES:
            while not (self._stopped or self._has_imported(name)):
                pass
            if self._stopped:
                return
        with suppress(Exception):
            sys.modules["nbext.session"].journal().salt()
        self.done.set()

    def _has_imported(self, name: str) -> bool:
        """Wait until the kernel idles and import a module; return False if a cell came in between."""
        self._idle.wait()
        time.sleep(PAUSE)
        with self._importing:
            if not self._idle.is_set():
                return False
            if name not in sys.modules:
                with suppress(Exception):  # what is missing or broken, the first call says
                    importlib.import_module(name)
            return True

    def before_fork(self) -> None:
        """Wait until the module that is being imported is there."""
        self._is_held = self._importing.acquire(timeout=_LONGEST_IMPORT)

    def after_fork(self) -> None:
        """Resume the parent's thread."""
        if self._is_held:
            self._importing.release()


preloader = Preloader()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=preloader.before_fork, after_in_parent=preloader.after_fork, after_in_child=preloader.forget
    )
