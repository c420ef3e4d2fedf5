"""Orders do not outlive the kernel that guarded them, however it ends: real kernels, an exchange beside them."""

from __future__ import annotations

import os
import re
import secrets
import signal
import subprocess
import sys
import time
from contextlib import suppress
from functools import partial
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


# As where a native library cannot allocate: C++ ends the process. Python's own MemoryError would leave it alive.
EAT = """
import ctypes, resource
library = ctypes.CDLL("libstdc++.so.6")
with open("/proc/self/statm") as file:
    most = int(file.read().split()[0]) * resource.getpagesize() + (64 << 20)
resource.setrlimit(resource.RLIMIT_AS, (most, most))
library._Znwm(ctypes.c_size_t(1 << 30))
"""


def _kill(number: int) -> Callable[[Kernel], None]:
    return lambda kernel: os.kill(kernel.pid, number)


ENDS: dict[str, Callable[[Kernel], None]] = {
    "SIGKILL": _kill(signal.SIGKILL),
    "SIGTERM": _kill(signal.SIGTERM),
    "os._exit": lambda kernel: kernel.begin("os._exit(3)"),
    "out of memory": lambda kernel: kernel.begin(EAT),
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


@pytest.mark.parametrize("how", ["restart", "shutdown"])
def test_a_kernel_that_ends_in_good_order_has_canceled(exchange: Served, kernel: Kernel, how: str) -> None:
    """When it is gone, so is what it guarded, by one cancel."""
    exchange.place()
    before = len(exchange.cancels())
    pid = watchdog_of(kernel.run("%nbext_guard BTCUSDT --yes"))
    if how == "restart":
        kernel.manager.restart_kernel(now=False)
        kernel.client.wait_for_ready(timeout=60)
    else:
        kernel.manager.shutdown_kernel(now=False)
    assert exchange.open() == set()
    assert len(exchange.cancels()) == before + 1
    assert soon(lambda: has_ended(pid))
    if how == "restart":
        told = kernel.run("%load_ext nbext\n%nbext")
        assert "While no kernel was running, the guard canceled 1 order on BTCUSDT [custom, " in told


FORK = """
import multiprocessing, subprocess, sys
pool = multiprocessing.get_context("fork").Pool(1)
pool.apply(abs, (1,))
children = [os.fork()]
if not children[0]:
    os._exit(0)
os.waitpid(children[0], 0)
children = [os.fork()]
if not children[0]:
    os.setsid()
    time.sleep(60)
    os._exit(0)
%load_ext nbext
!(true)
subprocess.run(["true"], close_fds=False)
print("children", *children, *(each.pid for each in pool._pool))
"""


def test_what_is_not_the_end_of_the_kernel(exchange: Served, kernel: Kernel) -> None:
    """Interrupts, forks, pools, a subshell and loading again trigger nothing; children that live on hold nothing up."""
    exchange.place("BTCUSDT", "mine-1")
    pid = watchdog_of(kernel.run("%nbext_guard BTCUSDT --yes"))
    assert watchdog_of(kernel.run("%nbext_guard ETHUSDT --yes")) == pid
    said = kernel.run(FORK)
    children = [int(child) for child in re.findall(r"children ([0-9 ]+)", said)[0].split()]
    kernel.begin("time.sleep(60)")
    time.sleep(0.3)
    kernel.manager.interrupt_kernel()
    time.sleep(0.5)  # what is asked meanwhile is dropped with the cell
    shown = kernel.run("%nbext_guard\n%nbext")
    assert (
        len(re.findall(rf"BTCUSDT \[custom, .*\n.*ETHUSDT \[custom, .*\n.*watchdog: process {pid} watches", shown)) == 2
    )
    assert not has_ended(pid)
    assert exchange.open() == {"mine-1"}
    before = len(exchange.cancels())
    try:
        os.kill(kernel.pid, signal.SIGKILL)
        assert soon(lambda: exchange.open() == set(), 2.0)
        assert soon(lambda: has_ended(pid), 2.0)
        assert len(exchange.cancels()) == before + 1
    finally:
        for child in children:
            with suppress(ProcessLookupError):  # those of the pool end with their parent
                os.kill(child, signal.SIGKILL)


def test_a_kernel_that_hangs_is_taken_for_dead(exchange: Served, kernel: Kernel) -> None:
    """Cells that finish are signs of life; without one the switch cancels, once, and the kernel that wakes is told."""
    exchange.place("BTCUSDT", "mine-1")
    kernel.run("%nbext_guard BTCUSDT --after 2s --yes")
    for _ in range(5):
        time.sleep(0.5)
        kernel.run("1")
    shown = kernel.run("%nbext_guard\nprint(nbext.alive())")
    assert re.search(r"BTCUSDT \[custom, .*\], 2 s left of 2 s", shown)
    assert shown.endswith("True\n")
    assert exchange.open() == {"mine-1"}
    os.kill(kernel.pid, signal.SIGSTOP)
    began = time.monotonic()
    assert soon(lambda: exchange.open() == set())
    assert 1.5 < time.monotonic() - began < 5
    before = len(exchange.cancels())
    os.kill(kernel.pid, signal.SIGCONT)
    told = kernel.run("print(nbext.alive())")
    if "No sign" not in told:  # it has only just been answered
        told += kernel.run("time.sleep(1)")
    assert "No sign of life came for 2 s, so the guard canceled 1 order on BTCUSDT [custom, " in told
    assert "False\n" in told
    assert ": has run, set it again" in kernel.run("%nbext_guard")
    exchange.place("BTCUSDT", "mine-2")
    os.kill(kernel.pid, signal.SIGKILL)
    kernel.wait()
    assert not soon(lambda: exchange.open() != {"mine-2"}, 0.5)
    assert len(exchange.cancels()) == before


def test_the_next_kernel_is_told_what_one_that_hung_was_not(exchange: Served, kernel: Kernel) -> None:
    """A kernel that never woke up heard nothing of its switch."""
    exchange.place()
    pid = watchdog_of(kernel.run("%nbext_guard BTCUSDT --after 1s --yes"))
    os.kill(kernel.pid, signal.SIGSTOP)
    assert soon(lambda: exchange.open() == set())
    os.kill(kernel.pid, signal.SIGKILL)
    assert soon(lambda: has_ended(pid))
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    assert "No sign of life came for 1 s, so the guard" in kernel.run("%load_ext nbext\n%nbext")


def test_the_practice_exchange_needs_no_guard(kernel: Kernel) -> None:
    """It ends with the kernel, and its orders with it."""
    said = kernel.run("del os.environ['NBEXT_BASE_URL']\nnbext.local()\n%nbext_guard BTCUSDT")
    assert "Nothing to guard: the exchange ends with this kernel, and its orders with it [local]" in said
    assert "Nothing is guarded" in kernel.run("%nbext_guard")


BLOCK = """
import os, signal, sys, nbext
client = nbext.connect()
with nbext.guard("BTCUSDT", client=client, yes=True, outlive=True, **eval(sys.argv[1])):
    exec(sys.argv[2])
print(len(nbext.last))
"""


def block(exchange: Served, tmp_path: Path, options: str, inside: str) -> subprocess.Popen[str]:
    """Start a script that has a guarded block."""
    environment = {**os.environ, **exchange.environment, "NBEXT_JOURNAL": str(tmp_path / "journal.sqlite3")}
    command = [sys.executable, "-c", BLOCK, options, inside]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


@pytest.fixture
def empty(exchange: Served) -> Served:
    """Return the exchange with nothing open."""
    for symbol in ("BTCUSDT", "ETHUSDT"):
        exchange.ask("DELETE", "/api/v3/openOrders", symbol=symbol)
    return exchange


@pytest.mark.parametrize("inside", ["pass", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_block_that_outlives_its_process(empty: Served, tmp_path: Path, inside: str) -> None:
    """Left in good order, it cancels itself, and the watchdog does not; killed inside, the watchdog does."""
    empty.place()
    before = len(empty.cancels())
    with block(empty, tmp_path, "{}", inside) as process:
        said, _ = process.communicate(timeout=30)
    assert said == ("1\n" if inside == "pass" else "")
    assert soon(lambda: empty.open() == set())
    time.sleep(0.3)
    assert len(empty.cancels()) == before + 1


def test_a_process_that_was_killed_between_announcing_and_sending(empty: Served, tmp_path: Path) -> None:
    """What is open stays until an announced cancel can no longer arrive; then it goes, but what is younger stays."""
    empty.place("BTCUSDT", "run-1")
    before = len(empty.cancels())
    empty.ask("POST", "/nbext/faults", kind="answer_late", method="GET", path="openOrders", seconds=2)
    reads = len(empty.ask("GET", "/nbext/requests", method="GET", path="openOrders"))
    with block(empty, tmp_path, "{'prefix': 'run-', 'recv_window': 100}", "pass") as process:
        assert soon(lambda: len(empty.ask("GET", "/nbext/requests", method="GET", path="openOrders")) > reads)
        process.kill()
    killed = time.monotonic()
    empty.ask("DELETE", "/nbext/faults")
    time.sleep(0.5)
    empty.place("BTCUSDT", "run-2")
    assert soon(lambda: empty.open() == {"run-2"}, 20)
    assert time.monotonic() - killed > 12
    assert len(empty.cancels()) == before + 1


def test_a_process_that_was_killed_after_sending(empty: Served, tmp_path: Path) -> None:
    """The cancel that it had sent is found to have been carried out, and none is sent again."""
    empty.place()
    before = len(empty.cancels())
    empty.ask("POST", "/nbext/faults", kind="answer_late", method="DELETE", path="openOrders", seconds=20)
    with block(empty, tmp_path, "{}", "pass") as process:
        assert soon(lambda: len(empty.cancels()) > before)
        process.kill()
    empty.ask("DELETE", "/nbext/faults")
    notice = tmp_path / "journal.sqlite3-guard"
    assert soon(notice.exists)
    assert "the guard found nothing left open on BTCUSDT" in notice.read_text()
    assert len(empty.cancels()) == before + 1


ANYWHERE = """
import os, signal, socket, subprocess, sys, time
from nbext.cancel.watchdog import Line
mine, theirs = socket.socketpair()
program = "import os, sys; del os.pidfd_open; from nbext.cancel import watchdog; sys.exit(watchdog.main())"
with theirs:
    subprocess.Popen([sys.executable, "-c", program], stdin=theirs.fileno(), stderr=theirs.fileno())
line = Line(mine)
keys = {"api_key": os.environ["BINANCE_API_KEY"], "secret_key": os.environ["BINANCE_API_SECRET"]}
client = {"base_url": os.environ["NBEXT_BASE_URL"], "profile": "custom", "clock_offset": None, **keys}
line.send(do="begin", kernel=os.getpid(), environment={"NBEXT_JOURNAL": "off"})
for number, symbol in enumerate(["BTCUSDT", "ETHUSDT"]):
    line.send(do="guard", id=number, client=client, after=None,
              terms={"symbols": [symbol], "prefix": None, "recv_window": None})
if os.fork():
    time.sleep(1)
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(10)
"""


def test_a_system_without_pidfd_notices_the_end_as_well(empty: Served) -> None:
    """By its parent's end, though a forked child holds the connection open."""
    empty.place()
    with subprocess.Popen([sys.executable, "-c", ANYWHERE], env={**os.environ, **empty.environment}) as process:
        process.wait()
    assert soon(lambda: empty.open() == set(), 2.0)


@pytest.mark.parametrize("who", ["both", "watchdog"])
def test_sigterm_to_both_is_the_end_of_the_kernel(exchange: Served, kernel: Kernel, who: str) -> None:
    """As where a service is stopped; to the watchdog alone, it ends, and another one watches after the next cell."""
    exchange.place()
    exchange.place("ETHUSDT")
    pid = watchdog_of(kernel.run("%nbext_guard BTCUSDT ETHUSDT --yes"))
    time.sleep(1)  # until it has begun to wait
    os.kill(pid, signal.SIGTERM)
    if who == "watchdog":
        assert soon(lambda: has_ended(pid), 5)
        told = kernel.run("1") + kernel.run("%nbext_guard")
        assert f"The watchdog, process {pid}, had ended; process " in told
        assert watchdog_of(told.partition("had ended")[2]) != pid
    os.kill(kernel.pid, signal.SIGTERM)
    assert soon(lambda: exchange.open() | exchange.open("ETHUSDT") == set())
    kernel.manager.restart_kernel(now=True)
    kernel.client.wait_for_ready(timeout=60)
    told = kernel.run("%load_ext nbext\n%nbext")
    assert told.count("While no kernel was running, the guard canceled 1 order on ") == 2


PLACE = """
%nbext_guard BTCUSDT --yes
client = nbext.connect()
order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "20000"}
for number in range(40):
    client.request("POST", "/api/v3/order", {"symbol": "BTCUSDT", **order})
    client.request("POST", "/api/v3/order", {"symbol": "ETHUSDT", **order, "quantity": "1", "price": "1000"})
"""
KILLS = int(os.environ.get("NBEXT_KILLS", "4"))


def ids_on(exchange: Served, symbol: str, status: str = "") -> set[int]:
    """Return the ids of all orders that there have been on a symbol, from the exchange's own record."""
    orders = exchange.ask("GET", "/nbext/orders", symbol=symbol)
    return {order["orderId"] for order in orders if status in {"", order["status"]}}


def is_canceled(exchange: Served, before: int) -> bool:
    """Return whether another cancel has come, and nothing is open."""
    return len(exchange.cancels()) > before and exchange.open() == set()


@pytest.mark.timeout(60 + 3 * KILLS)
def test_kills_at_random_moments(exchange: Served, kernel: Kernel) -> None:
    """Whatever a cell was about, what it placed on the guarded symbol goes by one cancel, and the rest stays."""
    first, others = ids_on(exchange, "BTCUSDT"), ids_on(exchange, "ETHUSDT")
    for number in range(KILLS):
        before, seen = len(exchange.cancels()), ids_on(exchange, "BTCUSDT")
        kernel.begin(PLACE)
        time.sleep(secrets.randbelow(600) / 1000)
        os.kill(kernel.pid, signal.SIGKILL)
        kernel.wait()
        placed = ids_on(exchange, "BTCUSDT") - seen
        assert soon(partial(is_canceled, exchange, before if placed else -1)), (number, placed)
        kernel.manager.restart_kernel(now=True)
        kernel.client.wait_for_ready(timeout=60)
        kernel.run("import nbext\n%load_ext nbext")
        assert exchange.open() == set()
        assert len(exchange.cancels()) <= before + 1
        assert ids_on(exchange, "ETHUSDT", "NEW") == ids_on(exchange, "ETHUSDT") - others
        exchange.ask("DELETE", "/api/v3/openOrders", symbol="ETHUSDT")
        others = ids_on(exchange, "ETHUSDT")
    entries = Journal.from_environment().entries()
    recorded = [each["orderId"] for entry in entries for each in entry.outcomes if each["outcome"] == "canceled"]
    assert all(entry.concluded_at for entry in entries)
    assert len(recorded) == len(set(recorded))
    assert set(recorded) == ids_on(exchange, "BTCUSDT") - first
