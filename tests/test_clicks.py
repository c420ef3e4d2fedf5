"""Clicks beside a cell: which count, how they come in, and how threads take turns while a question is open."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.front_end import FrontEnd
from support.kernels import Kernel
from support.panels import Clock, agree, ask, deletes, keys, notes, panel_rests, send

from nbext.notebook.clicks import ANSWER, LATE, TOO_SOON, TURN

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange
    from nbext.notebook.panel import CancelPanel

# jupyter_client leaves a socket of its event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

OPEN = """
import nbext
from nbext.notebook.panel import CancelPanel
exchange = nbext.local()
exchange.seed_orders()
panel = CancelPanel("BTCUSDT")
panel.wait()
executed = []
get_ipython().events.register("post_execute", lambda: executed.append(1))
"""
COMPUTE = "n = 0\nwhile panel.frame is None: n += 1"
DELETES = "len(exchange.requests('DELETE'))"


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """Start a kernel that shows a panel."""
    kernel = Kernel()
    kernel.run(OPEN)
    yield kernel
    kernel.close()


def test_a_click_counts_while_a_cell_computes(kernel: Kernel) -> None:
    """On a subshell the panel asks and cancels; that runs none of what runs after cells, such as closing figures."""
    page = FrontEnd(kernel.client)
    executed = int(kernel.run("print(len(executed))"))
    kernel.begin(COMPUTE)
    number = page.ask()
    time.sleep(TOO_SOON + 0.1)
    page.post(do="confirm", question=number, after=TOO_SOON + 0.1)
    page.says("13 orders canceled")
    assert kernel.run(f"print({DELETES}, len(executed))").split() == ["1", str(executed + 2)]  # two cells, no click


def test_a_click_that_could_not_come_in_does_nothing(kernel: Kernel) -> None:
    """What lets no other thread run holds clicks up on a subshell, too: they are dropped, and the panel says so."""
    page = FrontEnd(kernel.client)
    number = page.ask()
    time.sleep(TOO_SOON + 0.1)
    page.post(do="confirm", question=number, after=-LATE)  # as when it had waited for so long
    page.says("Click ignored: it reached the kernel late. Click again.")
    page.post(do="confirm", question=number, after=TOO_SOON + 0.1)
    page.says("13 orders canceled")
    assert kernel.run(f"print({DELETES})").strip() == "1"


@pytest.mark.parametrize(("waited", "canceled"), [(LATE - 0.1, 1), (LATE + 0.1, 0)])
def test_a_late_answer_is_none(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock, waited: float, canceled: int
) -> None:
    """How long a click has waited is the time since the question here, less the time that had passed in the browser."""
    number = ask(panel)["number"]
    clock.now += 10 + waited
    send(panel, do="confirm", question=number, after=10.0)
    panel_rests(panel)
    assert len(deletes(exchange)) == canceled
    assert ("reached the kernel late" in notes(panel)) is not bool(canceled)


def test_a_page_that_has_just_come_shows_no_question(panel: CancelPanel) -> None:
    """It cannot tell how long it has been open."""
    assert ask(panel) is not None
    send(panel, do="greet")
    panel_rests(panel)
    assert panel.status["question"] is None


@pytest.mark.parametrize("end", ["keep", "confirm", "close", "late"])
def test_threads_take_short_turns_while_a_question_is_open(panel: CancelPanel, clock: Clock, end: str) -> None:
    """And as before afterwards, however it ends."""
    usual = sys.getswitchinterval()
    assert usual > TURN
    ask(panel, keys(panel)[0])
    assert sys.getswitchinterval() == pytest.approx(TURN)
    if end == "keep":
        send(panel, do="keep")
    elif end == "confirm":
        agree(panel, clock)
    elif end == "close":
        panel.close()
    else:
        clock.now += ANSWER + 1
        ask(panel, keys(panel)[1])
        send(panel, do="keep")
    panel_rests(panel)
    assert sys.getswitchinterval() == usual


def test_turns_stay_short_from_the_question_to_the_end_of_its_cancel(panel: CancelPanel, clock: Clock) -> None:
    """What the panel shows meanwhile does not lengthen them, or the cancel would wait beside a cell."""
    ask(panel, keys(panel)[0])
    shown: list[tuple[str, float]] = []
    panel.observe(lambda change: shown.append((change["new"]["busy"], sys.getswitchinterval())), "status")
    agree(panel, clock)
    canceling = [turn for busy, turn in shown if busy.startswith("Canceling")]
    assert canceling
    assert canceling[0] == pytest.approx(TURN)


def test_turns_that_somebody_else_has_set_stay(panel: CancelPanel) -> None:
    """Whether before or during a question."""
    usual = sys.getswitchinterval()
    try:
        for early, late in ((TURN / 2, TURN / 2), (usual, 0.02)):
            sys.setswitchinterval(early)
            ask(panel, keys(panel)[0])
            sys.setswitchinterval(late)
            send(panel, do="keep")
            assert sys.getswitchinterval() == pytest.approx(late)
    finally:
        sys.setswitchinterval(usual)
