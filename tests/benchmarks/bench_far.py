"""A far host: what a cancel costs in round trips, counted and timed, beside other people's clients.

TLS through a line that takes its time; see ``tests/support/far_host.py`` for what is counted.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import certifi
import pytest
from figures import PEERS
from floors import OPEN_ORDERS, HandSigned
from serving import serving
from support.far_host import FarHost
from support.kernels import Kernel, soon
from support.networking import certificate

from nbext.cancel.reads import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Figures
    from serving import Server

CONTENDERS = Path(__file__).with_name("far_contenders.py")
ROUND_TRIPS = (0.02, 0.1)
SYMBOLS = (1, 8, 50, 200)
NAMES = [f"S{number}USDT" for number in range(SYMBOLS[-1])]
FRESH, LOOKED, LOST = "fresh {} to the answer", "after a look, {} symbols", "after a look, and the answer is lost"
CLIENTS = {"nbext": sys.executable} | {
    peer: PEERS[peer] for peer in ("python_binance", "ccxt", "binance_sdk_spot") if peer in PEERS
}
DONE = "from nbext.notebook.preloading import preloader; print(preloader.done.is_set())"


@dataclass(frozen=True)
class Scene:
    """An exchange in a process of its own, where it is far away, and somebody next to it."""

    exchange: Server
    host: FarHost
    near: HandSigned

    def place(self, names: list[str]) -> None:
        """Have an order open on each of these symbols."""
        for name in names:
            order = f"symbol={name}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=1&price=9"
            assert b"orderId" in self.near.ask("POST", "/api/v3/order", order)

    def lose_the_next_answer(self) -> None:
        """Have the next cancel carried out and its answer lost."""
        fault = f"kind=lose_answer&method=DELETE&path={OPEN_ORDERS}"
        self.near.ask("POST", "/nbext/faults", fault)


@pytest.fixture(scope="module")
def exchange() -> Iterator[Server]:
    """Yield a `LocalExchange` with 200 symbols in another process."""
    with serving("exchange", len(NAMES)) as server:
        yield server


@pytest.fixture(params=ROUND_TRIPS, ids=lambda seconds: f"{seconds * 1e3:.0f} ms")
def scene(
    exchange: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> Iterator[Scene]:
    """Move it far away, behind a certificate that stands among all those that a system trusts."""
    own = certificate(tmp_path)
    bundle = tmp_path / "bundle.pem"
    bundle.write_bytes(Path(certifi.where()).read_bytes() + own.read_bytes())
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    with (
        FarHost(int(exchange.url.rpartition(":")[2]), own, request.param) as host,
        HandSigned(exchange.url, exchange.api_key, exchange.secret_key) as near,
    ):
        yield Scene(exchange, host, near)


class Contender:
    """A client in a process of its own."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def do(self, kind: str, *names: str) -> tuple[float, float, str | None]:
        """Have it do something; return when it began and was done, and what it raised."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(" ".join((kind, *names)) + "\n")
        began, ended, error = json.loads(self._process.stdout.readline())
        return began, ended, error


@contextmanager
def contending(client: str, scene: Scene) -> Iterator[Contender]:
    """Start a process for a client."""
    command = [CLIENTS[client], str(CONTENDERS), client, scene.host.url]
    command += [scene.exchange.api_key, scene.exchange.secret_key]
    # Installed packages have their bytecode beside them, and ours in a folder of this run.
    cached = {} if client == "nbext" else {"PYTHONPYCACHEPREFIX": ""}
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1, env=os.environ | cached
    ) as process:
        yield Contender(process)
        assert process.stdin is not None
        process.stdin.close()


@pytest.mark.parametrize("client", CLIENTS)
def test_a_client_far_from_its_exchange(figures: Figures, scene: Scene, client: str) -> None:
    """A fresh process to its first answer; then cancels on more and more symbols, each time after a look at them."""
    ours = client == "nbext"
    sizes = SYMBOLS[: 4 if ours else 2 if figures.short else 3]  # others go on as they begin
    with contending(client, scene) as contender:
        contender.do("first", NAMES[0])  # compiles
    for _ in range(1 if figures.short else 5):
        scene.place(NAMES[:1])
        scene.host.begin()
        began = time.monotonic()
        with contending(client, scene) as contender:
            _, ended, error = contender.do("first", NAMES[0])
            assert error is None, error
            figures.far(FRESH.format("process"), client, scene.host, ended - began)
            scene.place(NAMES[:1])
            contender.do("cancel", NAMES[0])  # imports what a first call of each kind does
            for size in sizes:
                names = NAMES[:size]
                scene.place(names)
                contender.do("look", *names)
                scene.host.begin()
                began, ended, error = contender.do("cancel", *names)
                assert error is None, error
                least = math.ceil(size / WIDTH)
                bars = (least, least + 0.5) if ours and size <= 50 else None
                figures.far(LOOKED.format(size), client, scene.host, ended - began, bars)
            if not ours:
                scene.place(NAMES[:1])
                contender.do("look", NAMES[0])
                scene.lose_the_next_answer()
                scene.host.begin()
                began, ended, error = contender.do("cancel", NAMES[0])
                figures.far(f"{LOST}: {error}", client, scene.host, ended - began)


class Asked:
    """A kernel whose cells answer questions."""

    def __init__(self, kernel: Kernel, scene: Scene) -> None:
        self._kernel = kernel
        self._scene = scene

    def run(self, line: str, reply: str = "") -> float:
        """Run a cell, answer its question if there is one, and give the seconds from the last Enter to its end."""
        entered = [time.monotonic()]

        def answer(_: object) -> None:
            self._scene.host.begin()  # somebody reads
            entered.append(time.monotonic())
            self._kernel.client.input(reply)

        done = self._kernel.client.execute_interactive(line, timeout=60, stdin_hook=answer, output_hook=lambda _: None)
        assert done["content"]["status"] == "ok", done["content"]
        assert len(entered) == 1 + bool(reply)
        return time.monotonic() - entered[-1]


def wait_until_ready(kernel: Kernel) -> None:
    """Wait as long as somebody takes to write a cell."""
    assert soon(lambda: kernel.run(DONE).strip() == "True")


def test_a_notebook_far_from_its_exchange(figures: Figures, scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first cancel of a kernel that has loaded nbext; one after a question; and one whose answer gets lost."""
    monkeypatch.setenv("NBEXT_BASE_URL", scene.host.url)
    monkeypatch.setenv("BINANCE_API_KEY", scene.exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", scene.exchange.secret_key)
    for _ in range(1 if figures.short else 5):
        with closing(Kernel()) as kernel:
            kernel.run("%load_ext nbext")
            wait_until_ready(kernel)
            cell = Asked(kernel, scene)
            scene.place(NAMES[:1])
            scene.host.begin()
            figures.far(FRESH.format("kernel"), "nbext", scene.host, cell.run(f"%cancel_all {NAMES[0]} --yes"), (4, 4))
            for names in NAMES[:1], NAMES[:WIDTH]:
                scene.place(names)
                took = cell.run(f"%cancel_all {' '.join(names)}", str(len(names)))
                least = 2 + (len(names) > 1)  # a last look, which reads the first symbol alone, and the cancels
                bars = least, least + 0.5
                figures.far(f"after a question, {len(names)} symbols", "nbext", scene.host, took, bars)
            scene.place(NAMES[:1])
            scene.lose_the_next_answer()
            figures.far(f"{LOST}, from the question", "nbext", scene.host, cell.run(f"%cancel_all {NAMES[0]}", "1"))
