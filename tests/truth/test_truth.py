from __future__ import annotations

import pytest

from .campaign import Campaign
from .faults import FAULTS, MISHAPS

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


@pytest.mark.timeout(300)
@pytest.mark.parametrize("seed", range(4))
def test_no_row_and_no_line_of_the_journal_is_untrue(seed: int) -> None:
    """125 rounds with whatever can go wrong: nothing false was said, and all that can be said was."""
    with Campaign(seed) as campaign:
        report = campaign.play(125)
    print(report)  # noqa: T201 - the figures belong into the log
    assert report.lies == []
    assert set(report.rows) == {"canceled", "filled", "gone", "open", "unknown"}
    assert set(report.errors) >= ERRORS
    assert len(set(report.faults) & {*FAULTS, *MISHAPS}) >= 25
    assert report.facts["intents left by kill -9"] > 0
