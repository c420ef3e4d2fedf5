"""Connections are opened before they are needed: after a look or a question, a cancel costs one round trip."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from support.far_host import FarHost
from support.kernels import soon
from support.networking import TLSServer, certificate, dead_address, http_proxy
from support.server import answer

import nbext
from nbext.cancel.job import Job
from nbext.cancel.selection import Selection
from nbext.spot import ahead

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pandas import DataFrame
    from support.server import PlainServer, Request
    from support.spot_clients import Connect

    from nbext.spot.client import SpotClient

ROUND_TRIP = 0.1
MANY = 8


def order(symbol: str, number: int) -> dict[str, object]:
    """Describe an open order."""
    return {
        "symbol": symbol,
        "orderId": number,
        "orderListId": -1,
        "clientOrderId": f"c{number}",
        "price": "1.0",
        "origQty": "1.0",
        "executedQty": "0.0",
        "cummulativeQuoteQty": "0.0",
        "status": "NEW",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "time": 1_700_000_000_000,
        "updateTime": 1_700_000_000_000,
    }


def respond(request: Request) -> bytes:
    """Answer as an exchange on which each symbol has orders."""
    symbol = request.params.get("symbol", "BTCUSDT")
    if request.method == "DELETE":
        asked = request.params.get("orderId")
        reports = [
            {**order(symbol, number), "status": "CANCELED", "origClientOrderId": f"c{number}"}
            for number in ([int(asked)] if asked else range(1, MANY + 1))
        ]
        return answer(reports[0] if asked else reports)
    return answer([order(symbol, number) for number in range(1, MANY + 1)])


@pytest.fixture
def far(serve: Callable[..., PlainServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FarHost]:
    """Serve such an exchange far away."""
    proof = certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(proof))
    with FarHost(int(serve(respond).url.rpartition(":")[2]), proof, ROUND_TRIP) as host:
        yield host


@pytest.fixture
def near(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TLSServer]:
    """Serve it behind TLS on loopback."""
    server = TLSServer(respond, tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    yield server
    server.close()


def waits(server: PlainServer, client: SpotClient, count: int) -> None:
    """Have so many connections open that no request has used."""
    before = server.connections
    client.connect_ahead(count)
    assert soon(lambda: server.connections == before + count)
    time.sleep(0.1)  # for the handshakes, whose tickets come last


def test_a_cancel_after_a_question_is_one_round_trip(far: FarHost, connect: Connect) -> None:
    """Typing the number takes long enough for all handshakes; each request after it is one round trip."""
    client = connect(far.url)
    names = [f"S{number}USDT" for number in range(MANY)]
    waited: list[int] = []

    def read_and_type(preview: DataFrame, question: str) -> str:
        time.sleep(5 * ROUND_TRIP)
        waited.append(far.counted().connections)
        far.begin()
        assert f"Type {len(preview)} to cancel" in question
        return str(len(preview))

    job = Job(client, Selection.parse(names))
    job.agree(read_and_type, yes=False, confirm="always")
    looked = far.counted()
    job.run()
    done = far.counted()
    assert waited == [MANY]
    assert (looked.round_trips, done.round_trips) == (2, 3)  # a look reads the first symbol alone
    assert done.connections == 0


def test_a_cancel_after_a_look_is_one_round_trip(far: FarHost, connect: Connect) -> None:
    """While the look is under way, connections for all cancels are made."""
    client = connect(far.url)
    far.begin()
    canceled = nbext.cancel_all("BTCUSDT", side="BUY", client=client, yes=True)
    counted = far.counted()
    assert canceled["outcome"].tolist() == ["canceled"] * MANY
    assert counted.round_trips == 2 + 1 + 1
    assert counted.connections == MANY


def test_a_look_at_one_symbol_needs_one_connection_for_both(far: FarHost, connect: Connect) -> None:
    """What has looked cancels."""
    client = connect(far.url)
    nbext.open_orders("BTCUSDT", client=client)
    far.begin()
    nbext.cancel_all("BTCUSDT", client=client, yes=True)
    assert (far.counted().round_trips, far.counted().connections) == (1, 0)


def test_nothing_but_handshakes_is_sent(near: TLSServer, connect: Connect) -> None:
    """No request, and no more connections than were asked for; those that are there count."""
    client = connect(near.url)
    waits(near, client, 3)
    client.connect_ahead(3)
    client.request("GET", "/api/v3/time", signed=False)
    client.connect_ahead(3)
    time.sleep(0.2)
    assert (near.connections, len(near.requests)) == (3, 1)
    assert near.requests[0].connection <= 3


def test_a_connection_that_was_closed_meanwhile_is_not_used(near: TLSServer, connect: Connect) -> None:
    """Neither a cancel in doubt nor a second one: it goes out once, on a connection of its own."""
    client = connect(near.url)
    waits(near, client, 2)
    near.hang_up()
    assert len(client.cancel_open_orders("BTCUSDT")) == MANY
    assert (near.connections, len(near.requests)) == (3, 1)


def test_a_handshake_that_fails_says_nothing(connect: Connect) -> None:
    """The call finds out why, in its own time: neither is it told of, nor does it take from the call's."""
    with dead_address() as (host, port):
        client = connect(f"https://{host}:{port}", connect_timeout=1.0)
        client.connect_ahead(MANY)
        time.sleep(0.1)
        began = time.monotonic()
        with pytest.raises(nbext.NotSentError, match="not sent, because"):
            client.cancel_open_orders("BTCUSDT")
        assert 1.0 <= time.monotonic() - began < 1.0 + ahead.PATIENCE + 0.5


def test_it_goes_through_a_proxy(near: TLSServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for a tunnel, and one that is named later is the only one that is used from then on."""
    asked: list[str] = []
    proxy = http_proxy(near.port, asked)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    client = connect("https://api.example", connect_timeout=3.0)
    client.connect_ahead(2)
    assert soon(lambda: len(asked) == 2)
    assert all(each.startswith("CONNECT api.example:443 ") for each in asked)
    others: list[str] = []
    other = http_proxy(near.port, others)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{other.port}")
    with pytest.raises(nbext.NotSentError, match="certificate"):
        client.cancel_open_orders("BTCUSDT")
    assert (len(asked), len(others)) == (2, 1)
    proxy.close()
    other.close()


DESCRIPTORS = Path("/proc/self/fd")


@pytest.mark.skipif(not DESCRIPTORS.exists(), reason="counts in /proc")
def test_nothing_is_left_open(near: TLSServer, connect: Connect) -> None:
    """What is closed while handshakes are under way leaves nothing behind."""
    client = connect(near.url)
    client.cancel_open_orders("BTCUSDT")
    client.close()
    assert soon(lambda: near.at_work == 0)
    before = len(list(DESCRIPTORS.iterdir()))
    for pause in (0.0, 0.002, 0.005, 0.01, 0.02, 0.1):
        client.connect_ahead(MANY)
        time.sleep(pause)
        client.close()
    assert soon(lambda: near.at_work == 0 and len(list(DESCRIPTORS.iterdir())) == before)


def test_what_is_not_used_is_closed_before_it_is_doubtful(
    near: TLSServer, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody answers: connections are renewed for a while, and then there are none."""
    client = connect(near.url)
    client._wire._timeouts = (*client._wire._timeouts[:2], 0.5)
    monkeypatch.setattr(ahead, "LONGEST", 1.5)
    with client.kept_connected(3):
        time.sleep(1.2)
        assert near.at_work == 3
        assert near.connections > 3
        assert soon(lambda: near.at_work == 0)
        made = near.connections
        time.sleep(0.6)
        assert near.connections == made <= 15
    assert near.requests == []
