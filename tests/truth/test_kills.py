"""What a kill leaves behind: a journal that can be read all the same."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

from .campaign import read_journal

if TYPE_CHECKING:
    from pathlib import Path

# The smallest cache makes SQLite write to the file amid the transaction, which the kill then leaves half done.
AMID_A_COMMIT = """
import os, signal, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA journal_mode = PERSIST")
file.execute("PRAGMA cache_size = 1")
file.execute("BEGIN IMMEDIATE")
file.execute("UPDATE intents SET params = '{\\"a\\": 1}' || hex(zeroblob(9))")
file.executemany("INSERT INTO intents VALUES (?, '{}', '[]', '[]', NULL)", [(number,) for number in range(2, 9999)])
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_journal_whose_writer_was_killed_amid_a_commit_can_be_read(tmp_path: Path) -> None:
    """What was half done is undone by whoever reads next."""
    path = tmp_path / "journal.sqlite3"
    file = sqlite3.connect(path)
    file.execute("CREATE TABLE intents (number INTEGER, params TEXT, seen TEXT, outcomes TEXT, answer BLOB)")
    file.execute("INSERT INTO intents VALUES (1, '{}', '[]', '[]', NULL)")
    file.commit()
    file.close()
    killed = subprocess.run([sys.executable, "-c", AMID_A_COMMIT, str(path)], env=os.environ, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert [entry["number"] for entry in read_journal(path)] == [1]
