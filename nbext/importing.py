"""How long to wait for a module that another thread is importing."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import _thread

PATIENCE = 5.0
"""Seconds without a new module after which an import is taken to wait for what the waiting thread holds."""


def acquire_after_import(lock: _thread.LockType) -> bool:
    """Acquire a lock that is held during an import; return False if that import has come to a standstill.

    A fork waits for it, however slow the machine: its child would wait for the same module forever.
    """
    before = len(sys.modules)
    while not lock.acquire(timeout=PATIENCE):
        if len(sys.modules) == before:
            return False
        before = len(sys.modules)
    return True
