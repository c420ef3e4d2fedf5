"""What every test stands on: nothing leaves this machine, and none of the user's own settings come in."""

from __future__ import annotations

import os
import runpy
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.server import PlainServer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from support.server import Request

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
        session.reset(holds=True)  # a port may come again, for another server


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
