"""Which process this is, so that another one can tell later whether it has ended.

A process id means something on one machine only, and is given again there. So a name has the machine's run (Linux: its
boot id and the namespace of its process ids), and when the process began. Where that is not known, as on other systems,
nothing proves that a process has ended.
"""

from __future__ import annotations

import os
import socket
from functools import cache
from pathlib import Path

_BEGAN = 19  # field 22 of /proc/PID/stat, counted after the name of the program (proc_pid_stat(5))
_ENDED = frozenset("ZXx")  # it has ended, and its parent has not asked how


def name() -> str:
    """Return the name of this process, unique among machines and over time as far as the system tells."""
    _, began = _look_up("self")
    return f"{socket.gethostname()}:{os.getpid()}:{began}:{_machine()}"


def has_ended(named: str) -> bool:
    """Return whether the process of this name has ended for certain; of another machine's nothing is certain.

    Parameters
    ----------
    named : str
        From `name`.
    """
    *_, number, began, machine = f":::{named}".split(":")
    if not (machine and began and number.isdecimal()) or machine != _machine():
        return False
    state, began_now = _look_up(number)
    return state in _ENDED or (bool(state) and began_now != began)


@cache
def _machine() -> str:
    """Return what the process ids of this machine, or of this container, are good for; empty if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
        return f"{boot}/{Path('/proc/self/ns/pid').stat().st_ino}"
    except (OSError, ValueError):
        return ""


def _look_up(number: str) -> tuple[str, str]:
    """Return a process's state, and when it began; ``X`` if there is none, empty if that is not known."""
    try:
        fields = Path(f"/proc/{number}/stat").read_bytes().rpartition(b")")[2].decode("ascii").split()
        return fields[0], fields[_BEGAN]
    except (FileNotFoundError, ProcessLookupError):
        return "X", ""
    except (OSError, ValueError, IndexError):
        return "", ""
