"""A file that only its owner may read and write: the profiles and the journal."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


class UnfitError(Exception):
    """The file cannot be used or trusted."""


def flaw(facts: os.stat_result) -> str:
    """Return why other users can get at a file; empty if they cannot, and on Windows."""
    if os.name != "posix":
        return ""
    if facts.st_uid != os.geteuid():
        return "belongs to another user"
    return "can be read or written by others: chmod 600 it" if facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO) else ""


def inspect(path: Path) -> os.stat_result:
    """Return the status of a file, without opening it.

    Raises
    ------
    UnfitError
        It is a link, not a file, or open to other users.
    FileNotFoundError
    """
    facts = path.lstat()
    if stat.S_ISLNK(facts.st_mode):
        found = "is a symbolic link: use the file that it points to"
    elif not stat.S_ISREG(facts.st_mode):
        found = "is not a file"
    else:
        found = flaw(facts)
    if found:
        raise UnfitError(f"{path} {found}")
    return facts


def create(path: Path) -> None:
    """Create an empty file that only its owner can read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # another process was quicker
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
