"""The exchange as a server: starting, stopping, who gets in, and what clients see."""

from __future__ import annotations

import ast
import asyncio
import base64
import gc
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from support.exchange_client import OPEN_ORDERS, ORDER, Answer, Client, now, sign

from nbext.exchange import ApiKey, Dialect, LocalExchange, Refusal, is_ours
from nbext.exchange.api.app import MAX_ENTRIES
from nbext.exchange.engine.orders import Order

if TYPE_CHECKING:
    from pathlib import Path


def pem(key: rsa.RSAPublicKey | ed25519.Ed25519PublicKey) -> bytes:
    """Write a public key as PEM."""
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def test_stop_leaves_no_thread_and_no_socket() -> None:
    """After stop, which may be called twice, nothing listens and no thread is left."""
    before = threading.enumerate()
    exchange = LocalExchange().start()
    port = int(exchange.url.rpartition(":")[2])
    with Client(exchange.url) as client:
        assert client.public("/api/v3/ping").body == {}
        exchange.stop()
    exchange.stop()
    assert threading.enumerate() == before
    with pytest.raises(RuntimeError, match="not started"):
        _ = exchange.url
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port))


def test_it_may_be_started_again() -> None:
    """A stopped exchange keeps its orders and its keys."""
    exchange = LocalExchange()
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    for _ in range(2):
        with exchange, Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
            assert len(client.signed("GET", OPEN_ORDERS).body) == 1


def test_a_busy_port_raises_in_the_caller(exchange: LocalExchange) -> None:
    """Two exchanges cannot share a port, and the second fails at once."""
    with pytest.raises(OSError, match="in use"):
        LocalExchange(port=int(exchange.url.rpartition(":")[2])).start()


def test_it_listens_on_loopback_only(exchange: LocalExchange) -> None:
    """The address is 127.0.0.1, and no other."""
    assert exchange.url.startswith("http://127.0.0.1:")


def test_it_works_beside_a_running_event_loop() -> None:
    """Starting inside a coroutine does no harm, as in a kernel."""

    async def inside() -> int:
        with LocalExchange() as exchange, Client(exchange.url) as client:
            return (await asyncio.to_thread(client.public, "/api/v3/time")).status

    assert asyncio.run(inside()) == 200


def test_is_ours_knows_exactly_the_running_base_url() -> None:
    """Only the base URL of a running exchange of this process is ours."""
    with LocalExchange() as exchange:
        url = exchange.url
        port = url.rpartition(":")[2]
        assert is_ours(url)
        assert is_ours(f"http://localhost:{port}")
        others = ["http://127.0.0.1", f"https://127.0.0.1:{port}", f"http://127.0.0.1:{port}/api", "", "http://x:y"]
        others += [
            f"http://a@127.0.0.1:{port}",
            f"http://127.0.0.2:{port}",
            "http://127.0.0.1:1",
            f"{url}?a",
            f"{url}#",
        ]
        assert [other for other in others if is_ours(other)] == []
    assert not is_ours(url)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_does_not_serve_it(exchange: LocalExchange) -> None:
    """A forked child can use its url and nothing else: stopping it there, or exiting, does not affect the parent."""
    child = os.fork()
    if not child:
        refused = 0
        for touch in (
            exchange.seed_orders,
            exchange.open_orders,
            exchange.requests,
            exchange.add_key,
            exchange.reset,
            exchange.start,
            lambda: exchange.faults,
            lambda: exchange.last_price("BTCUSDT"),
            lambda: exchange.history(1, "BTCUSDT"),
            lambda: exchange.place("BTCUSDT", "BUY", "MARKET", quantity="1"),
        ):
            try:
                touch()
            except RuntimeError as error:
                refused += f"belongs to process {os.getppid()}" in str(error)
        exchange.stop()
        good = refused == 10 and not exchange.is_serving and exchange.is_inherited and is_ours(exchange.url)
        os._exit(int(not good))
    assert os.waitpid(child, 0)[1] == 0
    assert not exchange.is_inherited
    with Client(exchange.url) as client:
        assert client.public("/api/v3/ping").status == 200


def test_representations_hide_secrets(exchange: LocalExchange) -> None:
    """Neither the exchange nor an API key shows a secret key."""
    extra = exchange.add_key()
    assert extra.secret_key
    assert exchange.secret_key not in repr(exchange)
    assert extra.secret_key not in repr(extra)
    assert len({exchange.api_key, exchange.secret_key, extra.api_key, extra.secret_key}) == 4
    for text in (exchange.api_key, exchange.secret_key):
        assert len(text) == 64
        assert text.isalnum()


def test_the_seed_fixes_ids_and_prices_but_no_key() -> None:
    """Two exchanges of one seed agree on everything but keys, client ids and times; another seed differs."""

    def run(seed: int) -> tuple[list[object], set[str]]:
        exchange = LocalExchange(seed=seed)
        exchange.seed_orders()
        exchange.set_price("BTCUSDT", 58500)
        varies = {"time", "updateTime", "workingTime", "trailingTime", "clientOrderId"}
        rows = [{name: value for name, value in row.items() if name not in varies} for row in exchange.open_orders()]
        return [*rows, exchange.last_price("ETHUSDT")], {exchange.api_key, exchange.secret_key}

    (first, keys), (second, other_keys), (third, _) = run(5), run(5), run(6)
    assert first == second
    assert first != third
    assert not keys & other_keys


def test_reset_goes_back_to_the_seeded_start(client: Client, exchange: LocalExchange) -> None:
    """After a reset order ids and prices begin again, and the keys still work."""
    exchange.reset()
    start = exchange.last_price("BTCUSDT")
    first = client.limit("BUY", 50000).body
    exchange.set_price("BTCUSDT", 50000)
    exchange.reset()
    assert exchange.last_price("BTCUSDT") == start
    assert exchange.open_orders() == []
    again = client.limit("BUY", 50000).body
    assert again["orderId"] == first["orderId"]
    assert again["clientOrderId"] != first["clientOrderId"]


def both_ids(exchange: LocalExchange) -> set[tuple[object, ...]]:
    """Place orders and lists, with and without client ids of their owner's choice; name all by both their ids."""
    exchange.seed_orders()
    gtc = {"timeInForce": "GTC", "quantity": "0.1"}
    for number in range(3):
        exchange.place("BTCUSDT", "BUY", "LIMIT", price="40000", newClientOrderId=f"run7-{number}", **gtc)
    oco = {"side": "SELL", "quantity": "0.1", "aboveType": "LIMIT_MAKER", "belowType": "STOP_LOSS"}
    prices = {"abovePrice": "90000", "belowStopPrice": "40000"}
    names = {"listClientOrderId": "mine", "aboveClientOrderId": "above", "belowClientOrderId": "below"}
    exchange.place_list("oco", "BTCUSDT", **oco, **prices, **names)
    found: set[tuple[object, ...]] = set()
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
        for row in client.signed("GET", "/api/v3/openOrders").body:
            found.add((row["symbol"], row["orderId"], row["clientOrderId"]))
        for row in client.signed("GET", "/api/v3/openOrderList").body:
            found.add((row["symbol"], "list", row["orderListId"], row["listClientOrderId"]))
    return found


def test_no_order_ever_has_both_ids_of_an_earlier_one() -> None:
    """After a reset, or in another exchange of the same seed, even at the same port, earlier ids find nothing."""
    met: set[tuple[object, ...]] = set()

    def meet(exchange: LocalExchange) -> None:
        found = both_ids(exchange)
        assert len(found) > 20
        assert not found & met
        met.update(found)

    with LocalExchange(seed=9) as exchange:
        meet(exchange)
        for dialect in (None, Dialect(order_ids="from_zero", list_ids="from_zero"), None):
            exchange.reset(dialect=dialect)
            meet(exchange)
    with LocalExchange(seed=9) as exchange:
        meet(exchange)
        port = int(exchange.url.rpartition(":")[2])
    for _ in range(2):
        with LocalExchange(seed=9, port=port) as exchange:
            meet(exchange)


def test_no_other_process_gives_an_order_both_ids_of_an_earlier_one() -> None:
    """An exchange started again at the same port with the same seed gives its orders other ids."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    script = (
        "import sys; from nbext.exchange import LocalExchange; e = LocalExchange(port=int(sys.argv[1])).start();"
        "e.seed_orders(); e.place('BTCUSDT', 'BUY', 'LIMIT', quantity='1', price='40000', timeInForce='GTC',"
        "newClientOrderId='mine'); print({(r['symbol'], r['orderId'], r['clientOrderId']) for r in e.open_orders()})"
    )
    runs = [
        ast.literal_eval(
            subprocess.run([sys.executable, "-c", script, str(port)], capture_output=True, text=True, check=True).stdout
        )
        for _ in range(2)
    ]
    assert len(runs[0]) == len(runs[1]) > 10
    assert not runs[0] & runs[1]


def test_errors_of_the_server_reach_the_caller() -> None:
    """An error in a handler is answered 500 and raised by the next direct call, or by stop."""
    exchange = LocalExchange().start()
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
        exchange._handlers._calls["ping"] = lambda _: {"x": 1 // 0}
        answer = client.public("/api/v3/ping")
        assert (answer.status, answer.refusal[0]) == (500, -1000)
        with pytest.raises(RuntimeError, match="error of the exchange") as caught:
            exchange.open_orders()
        assert isinstance(caught.value.__cause__, ZeroDivisionError)
        client.public("/api/v3/ping")
    with pytest.raises(RuntimeError, match="error of the exchange"):
        exchange.stop()
    exchange.stop()


@pytest.mark.parametrize("host", ["evil.example", "127.0.0.1:1", "127.0.0.1.evil.example", ""])
def test_foreign_hosts_are_turned_away(client: Client, host: str) -> None:
    """A Host header that is not this server's is 403."""
    assert client.send("GET", "/api/v3/ping", headers={"Host": host}).status == 403


def test_own_hosts_are_let_in(client: Client, exchange: LocalExchange) -> None:
    """The three loopback names pass, with and without the port."""
    port = exchange.url.rpartition(":")[2]
    for name in ("127.0.0.1", "localhost", "LOCALHOST", "[::1]"):
        for host in (name, f"{name}:{port}"):
            assert client.send("GET", "/api/v3/ping", headers={"Host": host}).status == 200


@pytest.mark.parametrize(
    ("target", "named"),
    [
        ("/api/v3/nope?symbol=BTCUSDT", "/api/v3/nope"),
        ("/sapi/v1/account/status", "/sapi/v1/account/status"),
        ("/wapi/v3/systemStatus.html", "/wapi/v3/systemStatus.html"),
        ("/nbext/nope", "/nbext/nope"),
        ("/api/v3/time/", "/api/v3/time/"),
        ("/api/v3/t%69me", "/api/v3/t%69me"),
        ("//api/v3/time", "//api/v3/time"),
        ("*", "*"),
        ("/", "/"),
        ('/a"b\\c', '/a"b\\c'),
        ("/caf\u00e9", "/caf%E9"),
        ("/" + "x" * 5000, "/" + "x" * 199 + "..."),
    ],
)
def test_an_unserved_path_is_named(client: Client, exchange: LocalExchange, target: str, named: str) -> None:
    """Whatever the method, and whatever the caller would rather read, it is 404 with a JSON body that has the path."""
    port = int(exchange.url.rpartition(":")[2])
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "FOO"):
        # As `http.client` refuses to send some of these targets.
        with socket.create_connection(("127.0.0.1", port), timeout=5) as raw:
            lines = f"{method} {target} HTTP/1.1", "Host: localhost", "Accept: text/html, */*", "Connection: close"
            raw.sendall("\r\n".join([*lines, "", ""]).encode("latin-1"))
            head, _, body = b"".join(iter(lambda: raw.recv(65536), b"")).partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 404 ")
        assert b"\r\nContent-Type: application/json;charset=UTF-8\r\n" in head
        assert b"access-control" not in head.lower()
        assert json.loads(body) == {"code": -1020, "msg": f"This practice exchange does not serve {named}."}
    assert client.public("/api/v3/time").status == 200


def test_a_known_path_with_another_method(client: Client) -> None:
    """It is 405 without a body, and allows no other origins."""
    for path in (OPEN_ORDERS, "/nbext/faults"):
        wrong = client.send("OPTIONS", path, headers={"Origin": "http://evil.example"})
        assert (wrong.status, wrong.body) == (405, "")
        assert not [name for name in wrong.headers if name.lower().startswith("access-control")]


def test_head_gets_the_head_alone(client: Client, exchange: LocalExchange, capfd: pytest.CaptureFixture[str]) -> None:
    """Whatever the answer is, it has the length of a body and no body, and the connection can go on."""
    for path, status in (("/api/v3/nope", 404), ("/nbext/nope", 404), ("/api/v3/time", 405)):
        answer = client.send("HEAD", path)
        assert (answer.status, answer.headers["Content-Length"] != "0") == (status, status == 404)
        assert client.public("/api/v3/time").status == 200
    exchange.faults.on("HEAD", "time", times=None).fail(code=-1007)
    exchange.faults.on("HEAD", "ping", times=None).answer_twice()
    for path in ("/api/v3/time", "/api/v3/ping"):
        client.send("HEAD", path)
        assert client.public("/api/v3/ping").body == {}
    assert capfd.readouterr().err == ""


def test_bodies_and_headers_are_bounded(exchange: LocalExchange) -> None:
    """A body over 64 KiB is refused, and so is an endless header."""
    with Client(exchange.url, exchange.api_key) as client:
        assert client.send("DELETE", OPEN_ORDERS, "x=" + "y" * 65_000).status == 400
    port = int(exchange.url.rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"DELETE /api/v3/openOrders HTTP/1.1\r\nHost: localhost\r\nContent-Length: 70000\r\n\r\n")
        assert raw.recv(100).startswith(b"HTTP/1.1 400")
    with socket.create_connection(("127.0.0.1", port)) as raw:
        raw.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\nX: " + b"y" * 20_000)
        raw.settimeout(5)
        with suppress(ConnectionResetError):
            assert raw.recv(100) == b""


def test_answers_are_dated(client: Client, exchange: LocalExchange) -> None:
    """Every answer has the time of the exchange's clock as HTTP writes it, those to strangers too."""

    def age(answer: Answer) -> float:
        return parsedate_to_datetime(answer.headers["Date"]).timestamp() - time.time()

    for path in ("/api/v3/time", "/api/v3/nope", "/nbext/nope", "/nbext/faults"):
        assert abs(age(client.public(path))) < 2
    assert abs(age(client.send("GET", "/api/v3/time", headers={"Host": "evil.example"}))) < 2
    exchange.advance(86_400)
    exchange.faults.on("GET", "ping").fail(code=-1001)
    for path in ("/api/v3/time", "/api/v3/ping"):
        assert abs(age(client.public(path)) - 86_400) < 2


def test_answers_carry_the_usual_headers(client: Client) -> None:
    """Every answer has a content type, the used weight and an id of its own."""
    answer = client.public("/api/v3/time")
    assert answer.headers["Content-Type"] == "application/json;charset=UTF-8"
    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "1"
    assert len(answer.headers["x-mbx-uuid"]) == 36
    assert answer.headers["x-mbx-uuid"] != client.public("/api/v3/time").headers["x-mbx-uuid"]
    assert abs(answer.body["serverTime"] - now()) < 5_000


def test_microseconds_on_request(client: Client) -> None:
    """The header turns every time of the reply into microseconds, and -1 stays -1."""
    header = {"X-MBX-TIME-UNIT": "MICROSECOND"}
    assert client.send("GET", "/api/v3/time", headers=header).body["serverTime"] > 10**15
    client.limit("BUY", 50000)
    (row,) = client.signed("GET", OPEN_ORDERS, headers=header, symbol="BTCUSDT").body
    assert min(row["time"], row["updateTime"], row["workingTime"]) > 10**15
    (gone,) = client.signed("DELETE", OPEN_ORDERS, headers=header, symbol="BTCUSDT").body
    assert gone["transactTime"] > 10**15


def test_too_much_weight_is_429() -> None:
    """Over the limit every call is refused with the seconds to wait."""
    with LocalExchange(weight_limit=1) as small, Client(small.url, small.api_key) as client:
        client.public("/api/v3/ping")
        answer = client.public("/api/v3/ping")
        assert (answer.status, answer.refusal[0]) == (429, -1003)
        assert 1 <= int(answer.headers["Retry-After"]) <= 60
        assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "2"


def test_refusals_of_admission_over_http(client: Client, exchange: LocalExchange) -> None:
    """Wrong signature, old stamp, missing and unknown key have their code and status."""
    query = f"symbol=BTCUSDT&timestamp={now()}"
    assert client.send("DELETE", f"{OPEN_ORDERS}?{query}&signature={'0' * 64}").refusal[0] == -1022
    old = client.signed("DELETE", OPEN_ORDERS, symbol="BTCUSDT", timestamp=now() - 6000)
    assert (old.status, *old.refusal) == (400, -1021, "Timestamp for this request is outside of the recvWindow.")
    for key, code in (("", -2014), ("A" * 64, -2015)):
        answer = client.send(
            "DELETE",
            f"{OPEN_ORDERS}?{query}&signature={sign(exchange.secret_key, query)}",
            headers={"X-MBX-APIKEY": key},
        )
        assert (answer.status, answer.refusal[0]) == (401, code)


def test_public_queries(client: Client) -> None:
    """Depth, tickers and exchangeInfo answer objects for one symbol and arrays for several."""
    depth = client.public("/api/v3/depth", symbol="BTCUSDT", limit=3).body
    bids, asks = ([float(price) for price, _ in depth[side]] for side in ("bids", "asks"))
    assert bids == sorted(bids, reverse=True)
    assert asks == sorted(asks)
    assert bids[0] < asks[0]
    assert len(bids) == len(asks) == 3
    assert client.public("/api/v3/ticker/price", symbol="BTCUSDT").body["symbol"] == "BTCUSDT"
    both = client.public("/api/v3/ticker/price", symbols='["BTCUSDT","ETHUSDT"]').body
    assert [row["symbol"] for row in both] == ["BTCUSDT", "ETHUSDT"]
    assert len(client.public("/api/v3/ticker/bookTicker").body) == 7
    for params, code in [
        ({"symbol": "BTCUSDT", "symbols": '["BTCUSDT"]'}, -1128),
        ({"symbols": '["BTCUSDT","BTCUSDT"]'}, -1151),
        ({"symbols": "[BTCUSDT"}, -1135),
        ({"symbol": "NOSUCH"}, -1121),
        ({"symbol": "BTCUSDT", "symbolStatus": "HALT"}, -1220),
        ({"symbol": "BTCUSDT", "symbolStatus": "ASLEEP"}, -1122),
    ]:
        assert client.public("/api/v3/ticker/price", **params).refusal[0] == code
    info = client.public("/api/v3/exchangeInfo", symbol="BTCUSDT").body
    sample = {"timezone", "serverTime", "rateLimits", "exchangeFilters", "symbols"}
    assert set(info) == sample
    assert len(client.public("/api/v3/exchangeInfo").body["symbols"]) == 7


def test_read_only_keys_and_unknown_accounts(exchange: LocalExchange) -> None:
    """A key without the trade right reads and does not cancel; an unknown account name is an error."""
    key = exchange.add_key(trade=False)
    assert isinstance(key, ApiKey)
    with Client(exchange.url, key.api_key, key.secret_key or "") as client:
        assert client.signed("GET", OPEN_ORDERS).status == 200
        assert client.cancel_all().refusal[0] == -2015
    with pytest.raises(ValueError, match="no account"):
        exchange.place("BTCUSDT", "BUY", "MARKET", account="mian", quantity="1")
    with pytest.raises(Refusal, match="-1116"):
        exchange.place("BTCUSDT", "BUY", "PERHAPS")


def start_alone(*arguments: str, **environment: str) -> tuple[subprocess.Popen[str], Any]:
    """Start ``python -m nbext.exchange`` and read its first line."""
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "nbext.exchange", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, **environment},
    )
    assert process.stdout
    return process, json.loads(process.stdout.readline())


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_alone_it_greets_serves_and_leaves_quietly(tmp_path: Path, number: signal.Signals) -> None:
    """Its first line says where and with which key; a signal ends it with 0 and no output."""
    key = ed25519.Ed25519PrivateKey.generate()
    path = tmp_path / "public.pem"
    path.write_bytes(pem(key.public_key()))
    api_key, secret_key = "A" * 64, "b" * 64
    process, greeting = start_alone(
        "--public-key",
        str(path),
        "--seed-orders",
        NBEXT_EXCHANGE_API_KEY=api_key,
        NBEXT_EXCHANGE_SECRET_KEY=secret_key,
    )
    with process:
        assert (greeting["apiKey"], greeting["secretKey"]) == (api_key, secret_key)
        with Client(greeting["url"], api_key, secret_key) as client:
            assert len(client.cancel_all().body) == 9
            query = f"timestamp={now()}"
            signature = key.sign(query.encode())
            text = quote(base64.b64encode(signature).decode(), safe="")
            assert client.send("GET", f"{OPEN_ORDERS}?{query}&signature={text}").status == 200
        process.send_signal(number)
        rest, errors = process.communicate(timeout=10)
        assert (process.returncode, rest, errors) == (0, "", "")


def test_alone_it_says_in_one_line_why_it_cannot_start(exchange: LocalExchange, tmp_path: Path) -> None:
    """A port in use, or a file that is not a public key, ends it with 2 and one line, no traceback."""
    nonsense = tmp_path / "nonsense.pem"
    nonsense.write_text("nonsense")
    for arguments in (["--port", exchange.url.rpartition(":")[2]], ["--public-key", str(nonsense)]):
        done = subprocess.run(
            [sys.executable, "-m", "nbext.exchange", *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert "Traceback" not in done.stderr


def test_a_script_that_forgets_to_stop_ends_promptly() -> None:
    """An exchange that is never stopped does not keep the interpreter alive, and prints nothing."""
    code = "from nbext.exchange import LocalExchange; exchange = LocalExchange().start(); print(exchange.url)"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", code],
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_the_engine_stands_on_the_standard_library_alone() -> None:
    """Importing the engine and the filters brings in neither tornado nor cryptography, nor the rest of nbext."""
    code = (
        "import sys, types, pathlib, nbext\n"
        "before = set(sys.modules)\n"
        "package = types.ModuleType('nbext.exchange')\n"
        "package.__path__ = [str(pathlib.Path(nbext.__file__).parent / 'exchange')]\n"
        "sys.modules['nbext.exchange'] = package\n"
        "import nbext.exchange.engine.engine\n"
        "foreign = {'tornado', 'cryptography', 'asyncio'}\n"
        "added = sorted(set(sys.modules) - before)\n"
        "print(*[name for name in added if name.split('.')[0] in foreign or name.startswith('nbext.')\n"
        "        and not name.startswith('nbext.exchange')])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=True)
    assert done.stdout.strip() == ""


def test_ended_orders_are_kept_up_to_a_number() -> None:
    """A bot that runs all day leaves the latest orders, lists and trades, and no more memory than that."""
    price = {"timeInForce": "GTC", "price": "50000", "quantity": "0.001"}
    pair = {"aboveType": "LIMIT_MAKER", "abovePrice": "70000", "belowType": "STOP_LOSS", "belowStopPrice": "50000"}
    with (
        LocalExchange(kept_orders=39, order_limits=(10**6, 10**6)) as exchange,
        Client(exchange.url, exchange.api_key, exchange.secret_key) as client,
    ):

        def work(turns: int) -> int:
            for turn in range(turns):
                exchange.place("BTCUSDT", "BUY", "LIMIT", newClientOrderId=f"run-{turn % 7}", **price)
                exchange.place_list("oco", "BTCUSDT", side="SELL", quantity="0.001", **pair)
                exchange.place("BTCUSDT", "BUY" if turn % 2 else "SELL", "MARKET", quantity="0.001")
                assert client.cancel_all().status == 200
            gc.collect()
            account = exchange._engine.account("main")
            known = [*account.orders["BTCUSDT"].values()]
            assert {id(order) for order in account._by_client_id.values()} <= {id(order) for order in known}
            return len(known) + len(account.lists) + len(account._lists_by_client_id) + len(account.fills["BTCUSDT"])

        first = exchange.place("BTCUSDT", "BUY", "LIMIT", **price)["orderId"]
        held = work(100)
        orders = sum(isinstance(each, Order) for each in gc.get_objects())
        assert work(100) == held
        assert sum(isinstance(each, Order) for each in gc.get_objects()) <= orders + 8
        rows = client.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT").body
        assert len(rows) == 39
        assert len({row["orderListId"] for row in rows} - {-1}) == len(
            client.signed("GET", "/api/v3/allOrderList").body
        )
        assert client.signed("GET", ORDER, symbol="BTCUSDT", orderId=first).refusal[0] == -2013


def test_causes_of_steps_are_kept_up_to_a_number() -> None:
    """A market that takes very many steps within one call leaves no more than the record holds."""
    exchange = LocalExchange()
    app = exchange._app
    with app.step("test"):
        for _ in range(MAX_ENTRIES + 10):
            app.advance(1)
    assert len(app._causes) == MAX_ENTRIES
