"""What every test stands on: nothing leaves this machine, and none of the user's own settings come in."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.panels import Clock
from support.server import PlainServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.server import Request
    from support.spot_clients import Connect

    from nbext.exchange import LocalExchange
    from nbext.notebook.panel import CancelPanel
    from nbext.spot.client import SpotClient

pytest_plugins = ["support.repeating"]

GUARD = Path(__file__).parent / "guard"

runpy.run_path(str(GUARD / "sitecustomize.py"))
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(GUARD), os.environ.get("PYTHONPATH")]))


@pytest.fixture(autouse=True)
def no_settings_of_the_user(
    monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[None]:
    """Run each test as somebody who has just installed nbext: no keys, no profiles, no proxies, an empty home."""
    for name in list(os.environ):
        if name.startswith(("NBEXT_", "BINANCE_")) or name.lower().endswith(("_proxy", "_ca_bundle")):
            monkeypatch.delenv(name)
    home = tmp_path_factory.mktemp("home")
    for name in ("HOME", "IPYTHONDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME", "JUPYTER_CONFIG_DIR", "JUPYTER_RUNTIME_DIR"):
        monkeypatch.setenv(name, str(home))
    yield
    if session := sys.modules.get("nbext.session"):
        session.reset()
    if client := sys.modules.get("nbext.spot.client"):
        client.forget_holds()  # a port may come again, for another server


@pytest.fixture
def serve() -> Iterator[Callable[..., PlainServer]]:
    """Start plain servers that end with the test."""
    servers: list[PlainServer] = []

    def start(respond: Callable[[Request], bytes | Iterable[bytes]]) -> PlainServer:
        servers.append(PlainServer(respond))
        return servers[-1]

    yield start
    for server in servers:
        server.close()


# What many tests begin with; nbext is imported when the first of them asks for it. A file may have its own instead.


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange with orders on BTCUSDT and ETHUSDT."""
    from nbext.exchange import LocalExchange

    with LocalExchange() as exchange:
        exchange.seed_orders()
        yield exchange


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[SpotClient]:
    """Connect to it."""
    import nbext

    with nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
        yield client


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Make clients with a key, which are closed when the test ends."""
    from support.spot_clients import clients

    with clients() as make:
        yield make


@pytest.fixture
def journal_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Have calls recorded in a journal of the test's own."""
    path = tmp_path / "journal.sqlite3"
    monkeypatch.setenv("NBEXT_JOURNAL", str(path))
    return path


@pytest.fixture
def clock() -> Clock:
    """Make a clock that stands still."""
    return Clock()


@pytest.fixture
def panel(client: SpotClient, clock: Clock) -> Iterator[CancelPanel]:
    """Open a panel that has read what is open."""
    from nbext.notebook.panel import CancelPanel

    panel = CancelPanel("BTCUSDT", client=client, clock=clock)
    panel.wait()
    yield panel
    panel.close()
    panel.wait()
