from __future__ import annotations

import random
import threading
import time
from typing import TYPE_CHECKING

from nbext.exchange import LocalExchange

from .proxy import Proxy
from .pulse import Pulse
from .troubles import Trouble

if TYPE_CHECKING:
    from pathlib import Path


def test_what_is_late_is_told_of_its_moment_only() -> None:
    """Between two moments the worst counts, and nothing that was over before or began afterwards."""
    pulse = Pulse()
    pulse._late = [(10.0, 0.1), (20.0, 0.5), (30.0, 0.2)]
    assert pulse.late(5.0, 40.0) == 0.5
    assert pulse.late(20.0, 40.0) == 0.2
    assert pulse.late(12.0, 19.4) == 0.0
    assert pulse.late(12.0, 19.6) == 0.5


def test_a_beat_goes_on_until_the_end() -> None:
    """A thread that measures ends with its block."""
    before = threading.active_count()
    with Pulse() as pulse:
        time.sleep(0.05)
        assert pulse.late(0.0, time.monotonic()) < 5.0
    assert threading.active_count() == before


def test_no_clock_jumps_after_its_round(tmp_path: Path) -> None:
    """Where nothing is canceled, the clock does not jump; later it would be the clock of another round."""
    with LocalExchange() as exchange:
        for seed in range(3):
            trouble = Trouble("clock jumps", random.Random(seed), tmp_path / "journal", exchange.faults)  # noqa: S311
            with trouble.around(Proxy(0)), trouble.during():
                pass
        time.sleep(2.6)  # longer than it waits for a cancel
        assert exchange.faults.skew == 0
