"""Reconciling later, interrupted or killed: what was found out is kept, and nothing stays claimed by who has ended."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.kernels import Kernel
from support.server import answer

from nbext import processes
from nbext.entries import Intent
from nbext.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

    Serve = Callable[[Callable[[Request], bytes]], PlainServer]

linux = pytest.mark.skipif(sys.platform != "linux", reason="only /proc tells whether a process has ended")
# jupyter_client leaves a socket of its event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
LINES = ("%load_ext nbext", "%cancel_log --reconcile")


class Stage:
    """Three cancels of an hour ago without an answer, and an exchange that hangs when asked for the order 22."""

    def __init__(self, serve: Serve, path: Path) -> None:
        self.asked, self.answers = threading.Event(), threading.Event()
        self.path = path
        self.server = serve(self._respond)
        self.journal = Journal(path)
        an_hour_ago = time.time_ns() // 1_000_000 - 3_600_000
        host = self.server.url.partition("//")[2]
        asked = {"symbol": "BTCUSDT"}
        cancels = ((1, (11,)), (2, (21, 22)), (3, (31,)))
        intents = [
            Intent(
                *(f"cancel-{number}", "call", an_hour_ago, an_hour_ago + 5000, "custom", host),
                *("DELETE", "/api/v3/openOrders", asked),
                [{"symbol": "BTCUSDT", "orderId": order, "origClientOrderId": f"own-{order}"} for order in orders],
            )
            for number, orders in cancels
        ]
        assert self.journal.intend(intents) == ""
        self.journal.close()

    def _respond(self, request: Request) -> bytes:
        if request.path.endswith("/time"):
            return answer({"serverTime": time.time_ns() // 1_000_000})
        number = int(request.params.get("orderId", "0"))
        if number == 22:
            self.asked.set()
            self.answers.wait(20)
        ended = {"executedQty": "0", "cummulativeQuoteQty": "0", "origQty": "1", "updateTime": 1700000000000}
        return answer({"symbol": "BTCUSDT", "orderId": number, "clientOrderId": "x", "status": "CANCELED", **ended})

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which nbext goes there."""
        keys = {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
        return {"NBEXT_BASE_URL": self.server.url, "NBEXT_JOURNAL": str(self.path), **keys}

    def start(self) -> subprocess.Popen[str]:
        """Start an IPython that reconciles."""
        command = [sys.executable, "-m", "IPython", "--no-banner", "--colors=NoColor", "-c", "\n".join(LINES)]
        return subprocess.Popen(
            command, env={**os.environ, **self.environment}, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )

    def recorded(self) -> list[tuple[str, bool, str | None, list[Any]]]:
        """Return of each cancel its id, whether it is concluded, who has claimed it, and what is known."""
        entries = self.journal.entries()
        self.journal.close()
        return [
            (
                each.intent.id,
                each.concluded_at is not None,
                each.claimed_by if each.concluded_at is None else None,
                [order["outcome"] for order in each.outcomes],
            )
            for each in entries
        ]

    def require_what_was_found_out(self) -> None:
        """Require that what came before the interrupt is recorded, and that nothing is claimed."""
        assert self.recorded() == [
            ("cancel-1", True, None, ["canceled"]),
            ("cancel-2", False, None, ["canceled", "unknown"]),
            ("cancel-3", False, None, []),
        ]


@pytest.fixture
def stage(serve: Serve, tmp_path: Path) -> Iterator[Stage]:
    """Set it up."""
    stage = Stage(serve, tmp_path / "journal.sqlite3")
    yield stage
    stage.answers.set()


INTERRUPTED = (
    "Interrupted: %cancel_log --reconcile: interrupted; what it has found out is recorded. "
    "2 requests have no recorded outcome. Run it again."
)


def test_an_interrupt_keeps_what_reconciling_has_found_out_in_ipython(stage: Stage) -> None:
    """The rest is said in one line, and is anyone's to finish, with what was found out before."""
    with stage.start() as process:
        assert stage.asked.wait(30)
        process.send_signal(signal.SIGINT)
        said, _ = process.communicate(timeout=30)
    assert said.splitlines()[-1] == INTERRUPTED
    assert "Traceback" not in said
    stage.require_what_was_found_out()
    stage.answers.set()
    with stage.start() as process:
        said, _ = process.communicate(timeout=60)
    assert stage.recorded()[1:] == [
        ("cancel-2", True, None, ["canceled", "canceled"]),
        ("cancel-3", True, None, ["canceled"]),
    ], said


def test_an_interrupt_keeps_what_reconciling_has_found_out_in_a_kernel(stage: Stage) -> None:
    """As in a terminal."""
    kernel = Kernel()
    try:
        kernel.run(f"import os; os.environ.update({stage.environment})")

        def stop() -> None:
            stage.asked.wait(30)
            os.kill(kernel.pid, signal.SIGINT)

        stopper = threading.Thread(target=stop)
        stopper.start()
        said = kernel.run("\n".join(LINES), fails=True)
        stopper.join()
    finally:
        kernel.close()
    assert said.splitlines()[-1] == INTERRUPTED
    assert "Traceback" not in said
    stage.require_what_was_found_out()


@linux
def test_the_claim_of_a_killed_process_is_free_at_once(stage: Stage) -> None:
    """While it lives, nobody else reconciles the same cancel; once it is killed, the next one does."""
    with stage.start() as killed:
        assert stage.asked.wait(30)
        with stage.start() as other:
            said, _ = other.communicate(timeout=60)
        assert "1 request left" in said
        assert [concluded for _, concluded, *_ in stage.recorded()] == [True, False, True]
        killed.send_signal(signal.SIGKILL)  # and it stays a zombie until its parent asks for it
        stage.answers.set()
        with stage.start() as other:
            said, _ = other.communicate(timeout=60)
    assert "2 orders canceled" in said
    assert "left" not in said
    assert stage.recorded()[1] == ("cancel-2", True, None, ["canceled", "canceled"])


FORKED = """
import os, sys, threading
from nbext.cancel.unfinished import reconcile_open
reconciling = threading.Thread(target=reconcile_open, kwargs={"say": str})
reconciling.start()
sys.stdin.readline()
child = os.fork()
if not child:
    reconcile_open(say=print)
    sys.stdout.flush()
    os._exit(0)
os.waitpid(child, 0)
print("the child has ended", flush=True)
reconciling.join()
"""


@linux
def test_a_forked_child_leaves_alone_what_its_parent_reconciles(stage: Stage) -> None:
    """It has a name of its own, so its parent's claim is another kernel's; and what it claims is its own to release."""
    command = [sys.executable, "-W", "ignore", "-c", FORKED]  # Python 3.12 warns of forks beside threads
    environment = {**os.environ, **stage.environment}
    with subprocess.Popen(command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdin is not None
        assert parent.stdout is not None
        assert stage.asked.wait(30)
        stage.asked.clear()
        parent.stdin.write("\n")
        parent.stdin.flush()
        said = list(iter(parent.stdout.readline, "the child has ended\n"))
        assert "1 request left" in said[-1]
        assert not stage.asked.is_set()
        assert [concluded for _, concluded, *_ in stage.recorded()] == [True, False, True]
        stage.answers.set()
        parent.communicate(timeout=60)
    assert stage.recorded()[1] == ("cancel-2", True, None, ["canceled", "canceled"])


@linux
def test_only_a_process_of_this_machine_is_known_to_have_ended() -> None:
    """A process id alone proves nothing: it is given again, and means another process elsewhere."""
    mine = processes.name()
    assert not processes.has_ended(mine)
    host, number, began, machine = mine.split(":")
    assert host == socket.gethostname()
    with subprocess.Popen(
        [sys.executable, "-c", "from nbext import processes; print(processes.name())"],
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        assert child.stdout is not None
        named = child.stdout.readline().strip()
    assert processes.has_ended(named)
    assert processes.has_ended(f"{host}:{number}:{int(began) - 1}:{machine}")  # its id was given to this process
    elsewhere = named.replace(machine, f"another-{machine}")
    boot = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    container = str(Path("/proc/self/ns/pid").stat().st_ino)
    for part in (boot, container):  # after a restart, and in another container, the same id means another process
        assert not processes.has_ended(named.replace(part, part[::-1] + "1")), part
    for unknown in ("", "host:1", elsewhere, elsewhere.rpartition(":")[0], f"{named}:more", named.replace(machine, "")):
        assert not processes.has_ended(unknown), unknown


@linux
def test_a_claim_taken_over_is_taken_once(tmp_path: Path) -> None:
    """Of two that find the holder dead, the second finds another holder."""
    journal = Journal(tmp_path / "journal.sqlite3")
    now = time.time_ns() // 1_000_000
    assert journal.intend([Intent("one", "c", 1, 2, "p", "h", "DELETE", "/api/v3/openOrders", {})]) == ""
    assert journal.claim("one", "dead", now)
    assert not journal.claim("one", "second", now)
    assert journal.claim("one", "second", now, ended="dead")
    assert not journal.claim("one", "third", now, ended="dead")
    journal.release("one", "third")
    assert not journal.claim("one", "third", now)
    journal.release("one", "second")
    assert journal.claim("one", "third", now)
    journal.close()
    with sqlite3.connect(tmp_path / "journal.sqlite3") as connection:
        assert connection.execute("SELECT claimed_by FROM intents").fetchall() == [("third",)]
    connection.close()
