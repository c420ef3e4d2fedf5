"""What Binder makes of this repository: an environment from ``binder/`` alone, in which every notebook runs."""

from __future__ import annotations

import os
import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
BINDER = ROOT / "binder"
# The environment that was built as Binder builds it. Read before a fixture clears NBEXT_*.
PYTHON = os.environ.get("NBEXT_BINDER_PYTHON")


def canonical(name: str) -> str:
    """Spell a distribution's name in one way."""
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_pin_is_exact_and_everything_needed_is_pinned() -> None:
    """What the project depends on, and what its tests and plots do, stands there as name==version and nothing else."""
    lines = (BINDER / "requirements.txt").read_text("utf-8").splitlines()
    pinned = {canonical(line.partition("==")[0]) for line in lines if re.fullmatch(r"[\w.-]+==[\w.]+", line)}
    assert len(pinned) == len(lines)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    extras = project["optional-dependencies"]
    wanted = [*project["dependencies"], *extras["test"], *extras["plot"]]
    assert {canonical(re.split(r"[<>=!~\[; ]", each)[0]) for each in wanted} <= pinned


def test_binder_is_told_a_python_that_will_do() -> None:
    """The version in runtime.txt is one that the project takes; Binder's own default is too old."""
    major, minor = re.fullmatch(r"python-(\d+)\.(\d+)\n", (BINDER / "runtime.txt").read_text("utf-8")).groups()  # type: ignore[union-attr]
    assert (int(major), int(minor)) >= (3, 11)


def test_a_step_that_fails_ends_the_build(tmp_path: Path) -> None:
    """The build passes no failure over: without pip it does not go on to the next line."""
    (tmp_path / "pip").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "pip").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    done = subprocess.run(["/usr/bin/env", "bash", BINDER / "postBuild"], env=environment, cwd=ROOT, check=False)
    assert done.returncode == 3
    assert not (tmp_path / ".jupyter").exists()


def test_no_news_pops_up_over_the_notebook(tmp_path: Path) -> None:
    """The build turns JupyterLab's question about news off, where JupyterLab looks."""
    (tmp_path / "pip").write_text("#!/bin/sh\n")
    (tmp_path / "pip").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "HOME": str(tmp_path)}
    subprocess.run(["/usr/bin/env", "bash", BINDER / "postBuild"], env=environment, cwd=ROOT, check=True)
    config = (tmp_path / ".jupyter/labconfig/page_config.json").read_text("utf-8")
    assert '"@jupyterlab/apputils-extension:announcements": true' in config


@pytest.mark.timeout(600)
def test_every_notebook_runs_there() -> None:
    """In the environment that Binder builds, every notebook gives the outputs that it is stored with."""
    if PYTHON is None:
        reason = "NBEXT_BINDER_PYTHON names no interpreter of an environment made from binder/ alone"
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    command = [PYTHON, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(ROOT / "tests/test_notebooks.py")]
    done = subprocess.run(command, cwd=BINDER, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-4000:]
    assert " skipped" not in done.stdout
    where = "import nbext, sys; print(nbext.__file__.startswith(sys.prefix))"
    assert (
        subprocess.run([PYTHON, "-c", where], cwd=BINDER, capture_output=True, text=True, check=True).stdout == "True\n"
    )
