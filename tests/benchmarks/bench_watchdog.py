"""What a guard that outlives its kernel costs: to set it, while its watchdog waits, and from a kill to the DELETE."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from figures import Figures
    from serving import Server

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="measured in /proc")

# A kernel that has been used, as preparing the first call of a process has its own figure.
USED = """
import json, os, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "nbext")
shell.run_line_magic("nbext", "")
from nbext.cancel import job
began = time.perf_counter()
shell.run_line_magic("nbext_guard", "BTCUSDT --yes")
took = time.perf_counter() - began
from nbext.cancel.guard import keeper
print("\\n" + json.dumps([took, keeper.pid]), flush=True)
time.sleep(60)
"""
READY = 0.8
"""Seconds after which a watchdog has imported everything, on a busy machine as well."""
MOST = {"set": 0.050, "memory": 60e6, "sent": 0.020}


def guarded() -> tuple[subprocess.Popen[str], float, int]:
    """Start a process that sets a guard; give the seconds that took, and its watchdog."""
    process = subprocess.Popen([sys.executable, "-c", USED], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    line = next(line for line in process.stdout if line.startswith("["))
    took, watchdog = json.loads(line)
    return process, took, watchdog


def test_a_watchdog_costs_little_and_acts_at_once(
    figures: Figures, canned: Server, monkeypatch: pytest.MonkeyPatch, places: dict[str, Path]
) -> None:
    """Setting a guard takes at most 50 ms, waiting for the end 60 MB, and from kill to DELETE at most 20 ms."""
    monkeypatch.setenv("NBEXT_BASE_URL", canned.url)
    monkeypatch.setenv("BINANCE_API_KEY", canned.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", canned.secret_key)
    setting: list[float] = []
    sent: dict[str, list[float]] = {place: [] for place in places}
    resident = pandas = 0
    for place in [*places] * figures.rounds(20):
        monkeypatch.setenv("NBEXT_JOURNAL", str(places[place] / "journal.sqlite3"))
        canned.arrivals()
        process, took, watchdog = guarded()
        with process:
            time.sleep(READY)
            status = Path(f"/proc/{watchdog}/status").read_text()
            resident = max(resident, int(re.findall(r"VmRSS:\s+(\d+) kB", status)[0]) * 1024)
            pandas += "pandas" in Path(f"/proc/{watchdog}/maps").read_text()
            killed = time.monotonic()
            os.kill(process.pid, signal.SIGKILL)
        sent[place].append(canned.cancel() - killed)
        setting.append(took)
    figures.count("pandas in a watchdog that waits", "", pandas, 0)
    figures.memory(
        "memory of a watchdog that waits, floor the 60 MB it may have", "", resident, int(MOST["memory"]), 1.0
    )
    figures.time("`%nbext_guard`, watchdog started, floor the 50 ms it may take", "", setting, [MOST["set"]], 1.0)
    for place, bar in (("in memory", 1.0), ("on disk", None)):
        what = f"from SIGKILL to the DELETE's arrival, journal {place}, floor the 20 ms it may take"
        figures.time(what, "", sent[place], [MOST["sent"]], bar)
