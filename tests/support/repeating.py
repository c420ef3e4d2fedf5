"""Repeats a test that failed while the machine stood still: that tells something of the machine, and nothing of nbext.

A thread wakes every hundredth of a second, and notes how much too late. A test that fails is run again, twice at most,
if a wake-up during it was late by 0.05 s. The end of the run lists each failure that did not count.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from _pytest.runner import runtestprotocol
from truth.pulse import Pulse

if TYPE_CHECKING:
    from collections.abc import Iterator

ATTEMPTS = 3
LATE = 0.05
PATIENCE = 60.0
"""Seconds after which nothing is repeated: pytest-timeout measures all attempts together, and fires once."""
REPEATED = "repeated"

_pulse = pytest.StashKey[Pulse]()


@pytest.hookimpl(wrapper=True)
def pytest_runtestloop(session: pytest.Session) -> Iterator[None]:
    """Measure while tests run."""
    with Pulse() as session.config.stash[_pulse]:
        return (yield)


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool:
    """Run a test until it passes, or fails while the machine kept up."""
    hooks, pulse = item.ihook, item.config.stash[_pulse]
    hooks.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    ends = time.monotonic() + PATIENCE
    for left in reversed(range(ATTEMPTS)):
        began = time.monotonic()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
        late = pulse.late(began, time.monotonic())
        again = left > 0 and late > LATE and time.monotonic() < ends and any(report.failed for report in reports)
        for report in reports:
            if again and report.failed:
                report.outcome = REPEATED  # type: ignore[assignment]
                report.sections.append(("Repeated", f"The machine stood still for {late:.2f} s during this."))
            if not again or report.outcome == REPEATED:
                hooks.pytest_runtest_logreport(report=report)
        if not again:
            break
    hooks.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_report_teststatus(report: pytest.TestReport) -> tuple[str, str, str] | None:
    """Name what did not count."""
    return (REPEATED, "R", REPEATED.upper()) if report.outcome == REPEATED else None


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show it."""
    for report in terminalreporter.getreports(REPEATED):
        terminalreporter.write_sep("_", f"repeated: {report.nodeid}")
        terminalreporter._outrep_summary(report)
