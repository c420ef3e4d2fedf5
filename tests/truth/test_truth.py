from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from .campaign import Campaign
from .faults import FAULTS, MISHAPS

if TYPE_CHECKING:
    from pathlib import Path

SEEDS = range(4)
OUTCOMES = {"canceled", "filled", "expired", "open", "unknown"}
ERRORS = {
    "none",
    "ConfigurationError",
    "NotSentError",
    "RejectedError",
    "RateLimitedError",
    "IncompleteError",
    "OutcomeUnknownError",
    "Interrupted",
    "killed",
}


@pytest.fixture(scope="session")
def reached(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Path:
    """Name a folder in which all workers of a run say what their rounds have reached."""
    base = tmp_path_factory.getbasetemp()
    folder = (base if worker_id == "master" else base.parent) / "reached"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", SEEDS)
def test_no_row_and_no_line_of_the_journal_is_untrue(seed: int, reached: Path) -> None:
    """125 rounds with whatever can go wrong: nothing false was said; and in all 500, all that can be said was."""
    with Campaign(seed) as campaign:
        report = campaign.play(125)
    print(report)  # noqa: T201 - the figures belong into the log
    assert report.lies == []
    assert len(set(report.faults) & {*FAULTS, *MISHAPS}) >= 25
    assert report.facts["intents left by kill -9"] > 0
    # Which errors a few rounds meet depends on the machine's pace, so only the whole is asked for everything.
    written = reached / f"{seed}.part"
    written.write_text(json.dumps([*report.rows, *report.errors]))
    written.rename(reached / f"{seed}.json")
    told = [path.read_text() for path in reached.glob("*.json")]
    if len(told) == len(SEEDS):
        assert {name for each in told for name in json.loads(each)} >= OUTCOMES | ERRORS
