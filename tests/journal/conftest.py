"""A journal for each test, in a folder that is not there yet."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbext.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name a journal that is not there yet, nor is its folder; calls are recorded in it."""
    path = tmp_path / "data" / "journal.sqlite3"
    monkeypatch.setenv("NBEXT_JOURNAL", str(path))
    return path


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Yield a journal that nothing has been written into."""
    journal = Journal(path)
    yield journal
    journal.close()
