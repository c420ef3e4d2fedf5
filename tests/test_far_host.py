"""A host that is far away costs a call its round trips, and nbext takes no more of them than it needs."""

from __future__ import annotations

import contextlib
import http.client
import itertools
import math
import ssl
import time
from typing import TYPE_CHECKING

import pytest
from support.far_host import FarHost
from support.networking import certificate
from support.server import answer

import nbext
from nbext.cancel.reads import WIDTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from support.server import PlainServer, Request
    from support.spot_clients import Connect

ROUND_TRIP = 0.1


def test_the_line_counts_what_was_waited_for(serve: Callable[..., PlainServer], tmp_path: Path) -> None:
    """TCP, TLS and a request are one round trip each; on an open connection a request is one."""
    server = serve(lambda _: answer(b"x" * 1_000_000))
    proof = certificate(tmp_path)
    context = ssl.create_default_context(cafile=str(proof))
    port_of_server = int(server.url.rpartition(":")[2])
    with contextlib.ExitStack() as closing:
        host = closing.enter_context(FarHost(port_of_server, proof, ROUND_TRIP))
        port = int(host.url.rpartition(":")[2])

        def line() -> http.client.HTTPSConnection:
            opened = http.client.HTTPSConnection("localhost", port, context=context)
            closing.callback(opened.close)
            return opened

        kept = line()
        for trips in (3, 1):
            host.begin()
            began = time.monotonic()
            kept.request("GET", "/")
            assert len(kept.getresponse().read()) == 1_000_000
            counted = host.counted()
            assert counted.round_trips == trips
            assert counted.answered - began > trips * ROUND_TRIP
        host.begin()
        pair = line(), line()
        for each in pair:  # connected one after the other
            each.connect()
        for each in pair:  # and asked side by side
            each.request("GET", "/")
        for each in pair:
            each.getresponse().read()
        counted = host.counted()
        assert (counted.round_trips, counted.connections) == (2 + 2 + 1, 2)


@pytest.fixture
def far(serve: Callable[..., PlainServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarHost]:
    """Serve, far away, an exchange at which nothing is open, and whose answers have ids as everywhere."""
    ids = itertools.count()

    def respond(request: Request) -> bytes:
        own = {"X-MBX-UUID": f"{next(ids)}"}
        if request.method == "DELETE":
            return answer({"code": -2011, "msg": "Unknown order sent."}, 400, own)
        return answer("[]", headers=own)

    proof = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proof))
    with FarHost(int(serve(respond).url.rpartition(":")[2]), proof, ROUND_TRIP) as host:
        yield host


def test_a_first_cancel_connects_and_asks(far: FarHost, connect: Connect) -> None:
    """TCP, TLS and the DELETE."""
    client = connect(far.url)
    far.begin()
    nbext.cancel_all("BTCUSDT", client=client, yes=True)
    assert far.counted().round_trips == 3
    far.begin()
    nbext.cancel_all("BTCUSDT", client=client, yes=True)
    assert far.counted().round_trips == 1


@pytest.mark.parametrize("symbols", [8, 50])
def test_a_look_goes_side_by_side(far: FarHost, connect: Connect, symbols: int) -> None:
    """The first symbol tells whether key and clock are right; the others are then read eight at a time."""
    client = connect(far.url)
    names = [f"S{number}USDT" for number in range(symbols)]
    for connecting in (2, 0):
        far.begin()
        nbext.open_orders(*names, client=client)
        assert far.counted().round_trips <= connecting + 1 + math.ceil((symbols - 1) / WIDTH)
    assert far.counted().connections == 0


@pytest.mark.parametrize("symbols", [1, 8, 50])
def test_after_a_look_only_the_cancels_cost_round_trips(far: FarHost, connect: Connect, symbols: int) -> None:
    """Connections for all workers are open when the look has been read: eight cancels cost one round trip."""
    client = connect(far.url)
    names = [f"S{number}USDT" for number in range(symbols)]
    nbext.open_orders(*names, client=client)
    far.begin()
    nbext.cancel_all(*names, client=client, yes=True)
    counted = far.counted()
    assert (counted.round_trips, counted.connections) == (math.ceil(symbols / WIDTH), 0)
