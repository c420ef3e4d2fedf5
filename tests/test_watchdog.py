"""Orders do not outlive the kernel that guarded them, however it ends: real kernels, an exchange beside them."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.kernels import Kernel, Served, serving, soon

from nbext.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

# jupyter_client leaves a socket of its event loop to the garbage collector.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning"),
    pytest.mark.skipif(os.name != "posix", reason="there is no watchdog on Windows"),
]


@pytest.fixture(scope="module")
def exchange() -> Iterator[Served]:
    """Start an exchange in a process of its own."""
    with serving() as served:
        yield served


@pytest.fixture
def kernel(exchange: Served, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Kernel]:
    """Start a kernel that goes to the exchange, where nothing is open."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        exchange.ask("DELETE", "/api/v3/openOrders", symbol=symbol)
    for name, value in exchange.environment.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    kernel = Kernel()
    kernel.run("import os, signal, time, nbext\n%load_ext nbext")
    yield kernel
    kernel.close()


def watchdog_of(said: str) -> int:
    """Read the watchdog's process from what a kernel said."""
    return int(re.findall(r"process (\d+)", said)[0])


def has_ended(pid: int) -> bool:
    """Return whether a process has."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except FileNotFoundError:
        return True


def _kill(number: int) -> Callable[[Kernel], None]:
    return lambda kernel: os.kill(kernel.pid, number)


ENDS: dict[str, Callable[[Kernel], None]] = {
    "SIGKILL": _kill(signal.SIGKILL),
    "SIGTERM": _kill(signal.SIGTERM),
    "os._exit": lambda kernel: kernel.begin("os._exit(3)"),
    "segfault": lambda kernel: kernel.begin("import ctypes; ctypes.string_at(0)"),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_kernel_that_is_ended_leaves_no_guarded_order(exchange: Served, kernel: Kernel, how: str) -> None:
    """What was guarded is canceled, once, and recorded; nothing else is touched; the next kernel tells."""
    exchange.place("BTCUSDT", "mine-1")
    exchange.place("BTCUSDT", "run7-1")
    exchange.place("ETHUSDT", "other")
    before = len(exchange.cancels())
    pid = watchdog_of(kernel.run("%nbext_guard BTCUSDT --prefix run7- --yes"))
    ENDS[how](kernel)
    assert soon(lambda: exchange.open() == {"mine-1"})
    assert exchange.open("ETHUSDT") == {"other"}
    assert soon(lambda: has_ended(pid))
    assert len(exchange.cancels()) == before + 1
    entry = Journal.from_environment().entries()[-1]
    assert [each["outcome"] for each in entry.outcomes] == ["canceled"]
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    told = kernel.run("%load_ext nbext\nx = %cancel_all ETHUSDT --yes")
    assert "While no kernel was running, the guard canceled 1 order on BTCUSDT (run7-*) [custom, " in told
    assert "While" not in kernel.run("x = %cancel_all ETHUSDT --yes")


@pytest.mark.parametrize("line", ["%nbext_guard --off", "%unload_ext nbext"])
def test_a_guard_that_was_removed_cancels_nothing(exchange: Served, kernel: Kernel, line: str) -> None:
    """The watchdog ends as the guard is removed, and what is open stays when the kernel is killed."""
    exchange.place("BTCUSDT", "mine-1")
    pid = watchdog_of(kernel.run("%nbext_guard BTCUSDT --yes"))
    kernel.run(line)
    assert has_ended(pid)
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.wait()
    assert not soon(lambda: exchange.open() != {"mine-1"}, 0.5)
