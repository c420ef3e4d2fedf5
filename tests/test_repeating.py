"""A failure while the machine stood still does not count; any other does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

TESTS = """
import os, subprocess, sys, time

PAUSE = "import os, signal, time\\nos.kill({0}, signal.SIGSTOP)\\ntime.sleep(0.3)\\nos.kill({0}, signal.SIGCONT)"
runs = []

def stand_still():
    subprocess.run([sys.executable, "-c", PAUSE.format(os.getpid())], check=True)
    time.sleep(0.1)

def test_one(tmp_path):
    runs.append(tmp_path)
    if len(runs) == 1:
        stand_still()
        assert len(set(runs)) == 2

def test_plain():
    runs.append("plain")
    assert runs.count("plain") == 2

def test_always():
    stand_still()
    assert False
"""


@pytest.mark.parametrize("workers", ["0", "2"])
def test_a_failure_while_the_machine_stood_still_does_not_count(tmp_path: Path, workers: str) -> None:
    """The test is run again, twice at most, and the failure is shown; on a machine that keeps up it fails at once."""
    (tmp_path / "test_it.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(f"[pytest]\npythonpath = {Path(__file__).parent}\n")
    (tmp_path / "conftest.py").write_text('pytest_plugins = ["support.repeating"]\n')
    command = [sys.executable, "-m", "pytest", "-n", workers, "-p", "no:cacheprovider", "-q", str(tmp_path)]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert "2 failed, 1 passed, 3 repeated" in done.stdout, done.stdout + done.stderr
    assert done.stdout.count("repeated: test_it.py::test_one") == 1
    assert done.stdout.count("repeated: test_it.py::test_always") == 2
    assert done.stdout.count("The machine stood still for 0.") == 3
