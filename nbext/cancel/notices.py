"""What a watchdog has to tell the next kernel: lines in a file beside the journal, read once."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from nbext import private_files, session
from nbext.private_files import UnfitError
from nbext.signals import from_a_signal

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def leave(text: str) -> None:
    """Leave a line for the next kernel, unless the journal is off or its folder cannot be written."""
    path = _path()
    if path is None:
        return
    with suppress(OSError, UnfitError):
        private_files.create(path)
        private_files.inspect(path)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(text) + "\n")


def take() -> list[str]:
    """Return the lines that were left, and delete them."""
    path = _path()
    if path is None:
        return []
    mine = path.with_name(f"{path.name}-{os.getpid()}")
    try:
        path.rename(mine)
        private_files.inspect(mine)
        lines = mine.read_text("utf-8", "replace").splitlines()
        mine.unlink()
    except (OSError, UnfitError) as error:  # nearly always, there is none
        if from_a_signal(error) is error:
            raise
        return []
    texts: list[str] = []
    for line in lines:
        with suppress(ValueError):
            texts.append(str(json.loads(line)))
    return texts


def tell(say: Callable[[str], None]) -> None:
    """Say what was left."""
    for line in take():
        say(line)


def _path() -> Path | None:
    journal = session.journal().path
    return None if journal is None else journal.with_name(f"{journal.name}-guard")
