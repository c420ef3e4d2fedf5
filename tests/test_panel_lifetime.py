"""The end of a panel: what it leaves behind, and what it finishes."""

from __future__ import annotations

import gc
import subprocess
import sys
import threading
import time
import weakref
from typing import TYPE_CHECKING

import pytest
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import Widget
from support.panels import Clock, ask, keys, send
from support.server import answer
from traitlets.config import Config

import nbext
from nbext.notebook.panel import CancelPanel
from nbext.notebook.workers import IDLE, Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient

PATH = "/api/v3/openOrders"


def widgets() -> int:
    """Count the widgets that a saved notebook would hold."""
    return len(Widget.get_manager_state()["state"])


def test_a_closed_panel_is_told_of_no_cell(client: SpotClient) -> None:
    """What a shell calls before and after each cell would keep the panel, and all that it holds, for good."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance(config=Config({"HistoryManager": {"enabled": False}}))
    try:
        before = {name: list(hooks) for name, hooks in shell.events.callbacks.items()}
        panel = CancelPanel("BTCUSDT", client=client)
        panel.wait()
        assert shell.events.callbacks != before
        panel.close()
        assert shell.events.callbacks == before
    finally:
        InteractiveShell.clear_instance()


def test_a_closed_panel_leaves_nothing_behind(exchange: LocalExchange, client: SpotClient) -> None:
    """However it was used, closing takes every widget and thread with it, at once, and nothing is read any more."""
    panel = CancelPanel("BTCUSDT", client=client)  # whatever is made once for all panels, it makes
    panel.wait()
    panel.close()
    before = widgets(), threading.active_count()
    for number in range(20):
        panel = CancelPanel("BTCUSDT", client=client, confirm=lambda: "always")
        panel.ladder = number % 10 == 0
        panel.auto_refresh = True
        panel.wait()
        ask(panel)  # which waits a minute for an answer
        assert widgets() > before[0]
        panel.close()
        assert widgets() == before[0]
        asked = len(exchange.requests())
        panel.refresh()
        send(panel, do="ask", keys=keys(panel), everything=True)
        panel.wait()
        assert len(exchange.requests()) == asked
    end = time.monotonic() + 10
    while threading.active_count() > before[1] and time.monotonic() < end:
        time.sleep(0.1)
    assert threading.active_count() <= before[1]


def test_an_idle_thread_keeps_nothing_of_its_last_work() -> None:
    """What a panel had done is not held until the thread that did it ends."""

    class Panel:
        def work(self) -> None:
            """Do nothing."""

    panel = Panel()
    gone = weakref.ref(panel)
    Workers().start(panel.work).result()
    del panel
    end = time.monotonic() + IDLE - 1
    while gone() is not None and time.monotonic() < end:
        time.sleep(0.01)
    assert gone() is None


def test_a_panel_that_cannot_be_made_leaves_nothing_behind(client: SpotClient) -> None:
    """A symbol or a profile that cannot be one is told of before any widget is there."""
    before = widgets()
    for wrong in ({"symbol": "BTC USDT", "client": client}, {"symbol": "BTCUSDT", "profile": "nowhere"}):
        with pytest.raises(nbext.ConfigurationError):
            CancelPanel(**wrong)
    gc.collect()  # which closes what was not made
    assert widgets() == before


def test_a_panel_closed_at_work_ends_what_was_sent(serve: Callable[..., PlainServer]) -> None:
    """The answer to a cancel that was under way is waited for and recorded; nothing is read after that."""
    clock = Clock()
    order = {"symbol": "BTCUSDT", "orderId": 1, "orderListId": -1, "status": "NEW"}
    closed = threading.Event()

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            closed.wait(20)
            return answer([{**order, "status": "CANCELED", "origClientOrderId": "c", "clientOrderId": "d"}])
        return answer([{**order, "clientOrderId": "c"}])

    server = serve(respond)
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client, clock=clock, confirm=lambda: "never")
        panel.wait()
        number = ask(panel)["number"]
        clock.now += 1
        send(panel, do="confirm", question=number)
        while not any(request.method == "DELETE" for request in server.requests):
            time.sleep(0.01)
        panel.close()
        closed.set()
        panel.wait()
        assert panel.frame is not None
        assert panel.frame["outcome"].tolist() == ["canceled"]
        assert server.requests[-1].method == "DELETE"
        assert nbext.cancel_log(1)["canceled"].tolist() == [1]


def test_an_open_panel_does_not_hold_up_the_end(serve: Callable[..., PlainServer]) -> None:
    """A program that ends while panels read and wait ends at once, without a word."""

    def drip(_: Request) -> Iterator[bytes]:
        for _number in range(100):
            yield b" "
            time.sleep(0.2)

    server = serve(drip)
    script = (
        "import nbext, time; from nbext.notebook.panel import CancelPanel;"
        f"client = nbext.connect(base_url={server.url!r}, api_key='k' * 64, secret_key='s' * 64);"
        "panel = CancelPanel('BTCUSDT', client=client); panel.auto_refresh = True; time.sleep(0.5)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 10


def test_loading_the_magic_costs_nothing() -> None:
    """The toolkit is imported with the first panel."""
    script = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell; s = InteractiveShell.instance();"
        "from nbext.notebook import magics; magics.load(s);"
        "print({'requests', 'pandas', 'ipywidgets', 'itables'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
