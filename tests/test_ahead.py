"""Connections are opened before they are needed: after a look or a question, a cancel costs one round trip."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.far_host import FarHost
from support.kernels import soon
from support.networking import (
    TLSServer,
    Tunnels,
    certificate,
    dead_address,
    http_proxy,
    need_pysocks,
    socks_proxy,
)
from support.server import answer

import nbext
from nbext import session
from nbext.cancel.job import Job
from nbext.cancel.selection import Selection
from nbext.spot import ahead

if TYPE_CHECKING:
    import socket
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
    """Answer as an exchange on which each symbol has orders, with an id for each answer: none has to be proven."""
    symbol = request.params.get("symbol", "BTCUSDT")
    if request.path == "/api/v3/time":
        return answer({"serverTime": round(time.time() * 1000)})
    if request.method == "DELETE":
        asked = request.params.get("orderId")
        reports = [
            {**order(symbol, number), "status": "CANCELED", "origClientOrderId": f"c{number}"}
            for number in ([int(asked)] if asked else range(1, MANY + 1))
        ]
        return answer(reports[0] if asked else reports)
    return answer([order(symbol, number) for number in range(1, MANY + 1)], headers={"X-MBX-UUID": uuid.uuid4().hex})


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


def waits(server: TLSServer, client: SpotClient, count: int) -> None:
    """Have so many connections open that no request has used."""
    before = server.handshakes
    client.connect_ahead(count + 1)  # with that of the request which follows
    assert soon(lambda: server.handshakes == before + count)
    pools = client._wire._pools
    assert pools is not None
    assert soon(lambda: pools._ready.qsize() == count)


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
    client.connect_ahead(1)  # the request that follows opens it
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
        assert 1.0 <= time.monotonic() - began < 10


@pytest.mark.parametrize("used", [False, True])
def test_a_handshake_that_hangs_holds_nothing_up(near: TLSServer, connect: Connect, *, used: bool) -> None:
    """A request waits for it as long as handshakes usually take, and not at all before that is known."""
    hang = threading.Event()

    def handshake(_: socket.socket) -> bool:
        if hang.is_set() and len(met) < hanging:
            met.append(None)
            over.wait(60)
            return False
        return True

    met: list[None] = []
    over = threading.Event()
    hanging = MANY - 1
    line = Tunnels(near.port, handshake)
    client = connect(f"https://localhost:{line.port}", connect_timeout=40.0)
    if used:
        waits(near, client, 1)
        assert len(client.cancel_open_orders("BTCUSDT")) == MANY
        client.close()
        client.cancel_open_orders("BTCUSDT")  # of which it knows how long a handshake takes
        near.hang_up()
    hang.set()
    client.connect_ahead(MANY)
    assert soon(lambda: len(met) == hanging)
    began = time.monotonic()
    assert len(client.cancel_open_orders("BTCUSDT")) == MANY
    took = time.monotonic() - began
    over.set()
    line.close()
    assert took < 20


def test_it_goes_through_a_proxy(near: TLSServer, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy is asked for a tunnel, and one that is named later is the only one that is used from then on."""
    asked: list[str] = []
    proxy = http_proxy(near.port, asked)
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{proxy.port}")
    client = connect("https://api.example", connect_timeout=3.0)
    client.connect_ahead(3)
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


@pytest.mark.parametrize("kind", ["http", "socks5h"])
def test_a_cancel_takes_a_tunnel_that_is_open(
    tmp_path: Path, connect: Connect, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """Through an HTTP proxy as through a SOCKS proxy: it asks for nothing more, and TLS is with the exchange."""
    if kind == "socks5h":
        need_pysocks()
    far = TLSServer(respond, tmp_path, name="exchange.invalid")  # only the proxy finds the way
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(far.certificate))
    asked: list[str] = []
    proxy = (http_proxy if kind == "http" else socks_proxy)(far.port, asked)
    monkeypatch.setenv("HTTPS_PROXY", f"{kind}://127.0.0.1:{proxy.port}")
    client = connect(far.url, connect_timeout=3.0)
    waits(far, client, 2)
    assert (len(asked), far.requests) == (2, [])
    assert len(client.cancel_open_orders("BTCUSDT")) == MANY
    assert (len(asked), far.connections, len(far.requests)) == (2, 2, 1)
    proxy.close()
    far.close()


def test_another_key_and_another_profile_have_connections_of_their_own(
    near: TLSServer, serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened for one key or host carries nothing of another: no request of a second one ever goes there."""
    other = serve(respond)
    monkeypatch.setenv("BINANCE_API_KEY", "early" * 12)
    monkeypatch.setenv("BINANCE_API_SECRET", "s" * 64)
    monkeypatch.setenv("NBEXT_BASE_URL", near.url)
    waits(near, session.client_for(), 3)
    monkeypatch.setenv("BINANCE_API_KEY", "later" * 12)
    nbext.cancel_all("BTCUSDT", yes=True)
    (request,) = near.requests
    assert (request.headers["X-MBX-APIKEY"], request.connection) == ("later" * 12, 4)
    monkeypatch.setenv("NBEXT_BASE_URL", other.url)
    nbext.cancel_all("BTCUSDT", yes=True)
    assert (len(near.requests), near.connections) == (1, 4)
    assert (len(other.requests), other.connections) == (1, 1)
    session.reset()
    assert soon(lambda: near.at_work == other.at_work == 0)


FORKS = """
import json, os, sys, time
import nbext
client = nbext.connect(base_url=sys.argv[1], api_key="k" * 64, secret_key="s" * 64)
client.connect_ahead(4)
time.sleep(1)
child = os.fork()
if not child:
    client.cancel_open_orders("CHILDUSDT")
    os._exit(0)
assert os.waitpid(child, 0)[1] == 0
client.cancel_open_orders("PARENTUSDT")
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_a_forked_child_opens_its_own(near: TLSServer) -> None:
    """What its parent has opened ahead stays the parent's, and stays open."""
    subprocess.run([sys.executable, "-W", "ignore", "-c", FORKS, near.url], check=True, timeout=60)
    used = {request.params["symbol"]: request.connection for request in near.requests}
    assert (near.connections, len(near.requests)) == (4, 2)
    assert used["CHILDUSDT"] == 4
    assert used["PARENTUSDT"] < 4


PROFILE = """
[desk]
base_url = "{url}"
api_key = "kkkkkkkk"
secret_key = "ssssssss"
"""


@pytest.mark.parametrize(("met", "opened"), [(0, 1), (3, 3), (20, 8)])
def test_a_profile_that_is_selected_is_connected_to(
    near: TLSServer, capsys: pytest.CaptureFixture[str], met: int, opened: int
) -> None:
    """One connection, which reading the clock opens, and as many as this session has met symbols; 8 at most."""
    path = Path(os.environ["XDG_CONFIG_HOME"], "nbext", "profiles.toml")
    path.parent.mkdir(parents=True)
    path.write_text(PROFILE.format(url=near.url))
    path.chmod(0o600)
    session.symbols_met.update(f"S{number}USDT" for number in range(met))
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbext")
    time.sleep(0.2)
    assert near.connections == 0
    shell.run_line_magic("nbext", "desk")
    assert "host          localhost" in capsys.readouterr().out
    assert soon(lambda: near.connections == opened)
    time.sleep(0.2)
    assert near.connections == opened
    assert {request.params.get("symbol") for request in near.requests} == {None}
    assert [request.target for request in near.requests] == ["/api/v3/time"] * 5
    shell.run_line_magic("unload_ext", "nbext")


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
    with client.kept_connected(3):
        assert soon(lambda: near.connections >= 9)
    assert soon(lambda: near.at_work == 0)
    made = near.connections
    monkeypatch.setattr(ahead, "LONGEST", 1.0)

    def is_over() -> bool:
        met = near.connections
        return near.at_work == 0 and not soon(lambda: near.connections > met, 0.6)

    with client.kept_connected(3):
        assert soon(is_over)
        assert near.connections <= made + 15
    assert near.requests == []
