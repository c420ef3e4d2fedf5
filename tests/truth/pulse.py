"""How late a busy machine wakes a thread: what it takes from each step of a call, measured while the call is made."""

from __future__ import annotations

import bisect
import math
import threading
import time
from typing import Self

BEAT = 0.01
NOTABLE = 0.002


class Pulse:
    """Sleeps again and again, and writes down how much too late it has woken."""

    def __init__(self) -> None:
        self._late: list[tuple[float, float]] = []
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _beat(self) -> None:
        while not self._over.is_set():
            due = time.monotonic() + BEAT
            time.sleep(BEAT)
            woke = time.monotonic()
            if woke - due > NOTABLE:
                self._late.append((woke, woke - due))

    def late(self, since: float, until: float) -> float:
        """Return by how much it was too late at worst, between two moments of the monotonic clock."""
        worst = 0.0
        for woke, late in self._late[bisect.bisect_right(self._late, (since, math.inf)) :]:
            if woke - late >= until:
                break
            worst = max(worst, late)
        return worst
