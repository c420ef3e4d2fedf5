from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from .mutations import MUTATIONS, ROOT, Mutation, apply

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_a_rule_can_still_be_broken_on_purpose(mutation: Mutation, tmp_path: Path) -> None:
    """Each mutation applies, and leaves something that is Python: ``python -m tests.truth.mutations`` needs that."""
    path = tmp_path / mutation.file
    path.parent.mkdir(exist_ok=True)
    shutil.copy(ROOT / "nbext" / mutation.file, path)
    apply(mutation, tmp_path)
    compile(path.read_text("utf-8"), str(path), "exec")
