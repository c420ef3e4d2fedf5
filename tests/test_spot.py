from __future__ import annotations

import base64
import contextlib
import csv
import hmac
import io
import itertools
import json
import logging
import pickle
import re
import socket
import time
import traceback
import zlib
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.documents import FIXTURES, fixture_body
from support.networking import TLSServer
from support.server import PlainServer, Request, ResetConnection, answer

from nbext.base_url import is_loopback, parse_base_url
from nbext.errors import (
    ConfigurationError,
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.spot import client as spot
from nbext.spot import transport
from nbext.spot.client import SpotClient
from nbext.spot.parameters import parse_recv_window, parse_symbol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Responder = Callable[[Request], bytes | Iterable[bytes]]
    Serve = Callable[[Responder], PlainServer]
    Connect = Callable[..., SpotClient]
    Wrong = Any  # what the signatures forbid, and callers give all the same

API_KEY = "kTestApiKey0000000000000000000000000000000000000000000000000WXYZ"
SECRET_KEY = "sTestSecretKey000000000000000000000000000000000000000000000000QQ"
ED25519 = ed25519.Ed25519PrivateKey.generate()
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PATH = "/api/v3/openOrders"


def pem(key: ed25519.Ed25519PrivateKey | rsa.RSAPrivateKey) -> bytes:
    """Write a private key in PKCS#8."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def always(content: bytes | list[bytes]) -> Responder:
    """Answer every request alike: bytes keep the connection open, a list closes it."""
    return lambda _: content


CREDENTIALS: dict[str, dict[str, Wrong]] = {
    "HMAC": {"api_key": API_KEY, "secret_key": SECRET_KEY},
    "Ed25519": {"api_key": API_KEY, "private_key": pem(ED25519)},
    "RSA": {"api_key": API_KEY, "private_key": pem(RSA)},
}


def empty(_: Request) -> bytes:
    """Answer that nothing was open."""
    return answer([])


@pytest.fixture
def connect() -> Iterator[Callable[..., SpotClient]]:
    """Make clients with an HMAC key and short deadlines, which are closed when the test ends."""
    with contextlib.ExitStack() as clients:

        def make(url: str, **settings: Wrong) -> SpotClient:
            if not {"api_key", "private_key"} & settings.keys():
                settings |= {"api_key": API_KEY, "secret_key": SECRET_KEY}
            settings.setdefault("connect_timeout", 1.0)
            settings.setdefault("answer_timeout", 2.0)
            return clients.enter_context(SpotClient(url, **settings))

        yield make


# What goes out


def test_a_cancel_is_these_bytes(serve: Serve, connect: Connect) -> None:
    """A cancel-all is one DELETE with symbol, recvWindow, timestamp and signature, in this order, and an empty body."""
    server = serve(empty)
    before = time.time_ns() // 1_000_000
    assert connect(server.url).cancel_open_orders(" btcusdt\n", recv_window=5000) == []
    after = time.time_ns() // 1_000_000
    (request,) = server.requests
    assert request.method == "DELETE"
    match = re.fullmatch(
        r"/api/v3/openOrders\?(symbol=BTCUSDT&recvWindow=5000&timestamp=(\d{13}))&signature=([0-9a-f]{64})",
        request.target,
    )
    assert match is not None
    assert before <= int(match[2]) <= after
    assert match[3] == hmac.digest(SECRET_KEY.encode(), match[1].encode(), "sha256").hex()
    assert request.headers["X-MBX-APIKEY"] == API_KEY
    assert request.headers["Content-Length"] == "0"
    assert request.headers["Accept"] == "application/json"
    assert request.headers["User-Agent"].startswith("nbext/")
    assert "Transfer-Encoding" not in request.headers


def test_without_a_recv_window_none_is_sent(serve: Serve, connect: Connect) -> None:
    """The exchange's own default applies when no recv window is given."""
    server = serve(empty)
    connect(server.url).cancel_open_orders("BTCUSDT")
    assert list(server.requests[0].params) == ["symbol", "timestamp", "signature"]


@pytest.mark.parametrize("kind", ["HMAC", "Ed25519", "RSA"])
def test_the_bytes_received_are_the_bytes_signed(serve: Serve, connect: Connect, kind: str) -> None:
    """Symbol and base64 signature are percent-encoded once, and the signature is over the encoded bytes."""
    server = serve(empty)
    client = connect(server.url, **CREDENTIALS[kind])
    assert client.key_kind == kind
    for _ in range(8):  # enough that a base64 signature has its special characters
        client.cancel_open_orders("１２３４５６")
    for request in server.requests:
        payload, _, sent = request.target.partition("?")[2].rpartition("&signature=")
        assert payload.startswith("symbol=%EF%BC%91%EF%BC%92%EF%BC%93%EF%BC%94%EF%BC%95%EF%BC%96&timestamp=")
        assert re.fullmatch(r"(?:[A-Za-z0-9]|%2B|%2F|%3D)+", sent)
        signature = unquote(sent)
        if kind == "HMAC":
            assert signature == hmac.digest(SECRET_KEY.encode(), payload.encode(), "sha256").hex()
        elif kind == "Ed25519":
            ED25519.public_key().verify(base64.b64decode(signature, validate=True), payload.encode())
        else:
            RSA.public_key().verify(
                base64.b64decode(signature, validate=True), payload.encode(), padding.PKCS1v15(), SHA256()
            )


@pytest.mark.parametrize(
    ("value", "sent"),
    [
        (1, "1"),
        (60000, "60000"),
        ("60000", "60000"),
        ("6000.346", "6000.346"),
        (Decimal("6E+4"), "60000"),
        (Decimal("0.001"), "0.001"),
        (Decimal("5000.50"), "5000.50"),
        ("0.001", "0.001"),
        ("5000.0", "5000.0"),
        ("007", "007"),
    ],
)
def test_a_recv_window_is_sent_as_it_was_written(
    serve: Serve, connect: Connect, value: str | int | Decimal, sent: str
) -> None:
    """What the API allows goes out, digit for digit."""
    server = serve(empty)
    connect(server.url).cancel_open_orders("BTCUSDT", recv_window=value)
    assert f"&recvWindow={sent}&" in server.requests[0].target


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        ("0", "'0'"),
        ("0.000", "'0.000'"),
        (-1, "-1"),
        ("-1", "'-1'"),
        ("+1", "'+1'"),
        (60001, "60001"),
        ("60000.001", "'60000.001'"),
        ("1.2345", "'1.2345'"),
        ("1.", "'1.'"),
        (".5", "'.5'"),
        ("abc", "'abc'"),
        ("", "''"),
        (" 5000", "' 5000'"),
        ("5000\n", r"'5000\n'"),
        ("5_000", "'5_000'"),
        ("1e3", "'1e3'"),
        ("５０００", "'５０００'"),  # noqa: RUF001 - digits of another script
        ("NaN", "'NaN'"),
        (True, "True"),
        (5.5, "5.5"),
        (b"5000", "b'5000'"),
        ([5000], "[5000]"),
        (Decimal("NaN"), "NaN"),
        (Decimal("sNaN"), "sNaN"),
        (Decimal("Infinity"), "Infinity"),
        (Decimal("60000.001"), "60000.001"),
        (Decimal("1.2345"), "1.2345"),
        (Decimal("1E+999999999"), "1E+999999999"),
        (Decimal("1E-999999999"), "1E-999999999"),
        pytest.param(10**5000, "1000", id="10**5000"),
    ],
)
def test_any_other_recv_window_is_refused_before_anything_is_sent(
    serve: Serve, connect: Connect, value: Wrong, shown: str
) -> None:
    """The message says what was typed, and that nothing was sent."""
    server = serve(empty)
    client = connect(server.url)
    for call in (
        lambda: client.cancel_open_orders("BTCUSDT", recv_window=value),
        lambda: client.request("GET", "/api/v3/account", {"recvWindow": value}),
    ):
        with pytest.raises(ConfigurationError, match=re.escape(f"recv window {shown}")) as caught:
            call()
        assert "nothing was sent" in str(caught.value)
        assert "60000" in str(caught.value)
        assert len(str(caught.value)) < 250
    assert server.connections == 0
    with pytest.raises(ConfigurationError):
        parse_recv_window(None)  # type: ignore[arg-type] # what an unset variable gives


@pytest.mark.parametrize(
    ("typed", "symbol"),
    [
        ("BTCUSDT", "BTCUSDT"),
        (" btcusdt ", "BTCUSDT"),
        ("\tbtcUSDT\n", "BTCUSDT"),
        ("BTC/USDT", "BTCUSDT"),
        ("btc/usdt", "BTCUSDT"),
        ("btc-usdt_1.x", "BTC-USDT_1.X"),
        ("币安人生usdt", "币安人生USDT"),
        ("１２３４５６", "１２３４５６"),
        ("straßeusdt", "STRAßEUSDT"),
        ("ﬁusdt", "ﬁUSDT"),
        ("ıiusdt", "ıIUSDT"),  # noqa: RUF001 - the dotless i
        ("éΑβusdt", "éΑβUSDT"),  # noqa: RUF001 - letters of another script
    ],
)
def test_symbols_are_trimmed_and_ascii_upper_cased(serve: Serve, connect: Connect, typed: str, symbol: str) -> None:
    """Only ASCII letters change, since other letters may become others in upper case."""
    server = serve(empty)
    assert parse_symbol(typed) == symbol
    connect(server.url).cancel_open_orders(typed)
    assert server.requests[0].target.startswith(f"{PATH}?symbol={quote(symbol, safe='')}&timestamp=")


@pytest.mark.parametrize(
    ("typed", "words"),
    [
        ("", "is empty"),
        ("  ", "is empty"),
        ("\n", "is empty"),
        ("{nope}", "the variable 'nope' is not defined"),
        ("{ nope.symbol }", "the variable 'nope.symbol' is not defined"),
        ("$nope", "the variable 'nope' is not defined"),
        ("BTC USDT", "holds ' '"),
        ("BTC&USDT", "holds '&'"),
        ("BTC/", "holds '/'"),
        ("/USDT", "holds '/'"),
        ("/", "holds '/'"),
        ("A/B/C", "holds '/'"),
        ("BTC%55", "holds '%'"),
        ("BTC=1", "holds '='"),
        ("BTC#", "holds '#'"),
        ("BTC?x", "holds '?'"),
        ("BTC+", "holds '+'"),
        ("BTC,ETH", "holds ','"),
        ('"BTC"', "holds '\"'"),
        ("BTC\x00USDT", r"holds '\x00'"),
        ("BTC\nUSDT", r"holds '\n'"),
        ("BTC\u200bUSDT", r"holds '\u200b'"),
        ("BTC\ud800", r"holds '\ud800'"),
        ("BTC\U0001f600", "holds '\U0001f600'"),
        (5, "is text, not int"),
        (None, "is text, not NoneType"),
        (["BTCUSDT"], "is text, not list"),
    ],
)
def test_what_is_no_symbol_is_refused_with_what_was_typed(
    serve: Serve, connect: Connect, typed: Wrong, words: str
) -> None:
    """The message repeats the text and names its flaw, and nothing is sent."""
    server = serve(empty)
    with pytest.raises(ConfigurationError, match=re.escape(words)) as caught:
        connect(server.url).cancel_open_orders(typed)
    assert not isinstance(typed, str) or repr(typed) in str(caught.value)
    assert "nothing was sent" in str(caught.value)
    assert server.connections == 0


def test_any_endpoint_can_be_asked(serve: Serve, connect: Connect) -> None:
    """Parameters keep their order; lists become JSON, flags words, numbers plain digits, and None goes."""
    server = serve(lambda _: answer({"ok": [1, None]}))
    client = connect(server.url)
    params = {
        "symbols": ["BTCUSDT", "币"],
        "none": None,
        "flag": True,
        "off": False,
        "id": 2**63 - 1,
        "quantity": Decimal("1E-8"),
        "large": Decimal("1E+3"),
        "price": 0.1,
        "small": 1e-8,
        "numpy": np.float64(0.1),
        "text": "a b&c=d/é",
        "none too": (),
    }
    assert client.request("get", "/api/v3/ticker/price", params, signed=False) == {"ok": [1, None]}
    assert client.request("POST", "/api/v3/order", {"b": 1, "a": 2}) == {"ok": [1, None]}
    assert client.request("GET", "/api/v3/account") == {"ok": [1, None]}
    assert client.request("GET", "/api/v3/ping", {"timestamp": 1, "signature": "x"}, signed=False) == {"ok": [1, None]}
    unsigned, post, bare, _ = server.requests
    assert unsigned.method == "GET"
    assert unsigned.target == (
        "/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22%2C%22%E5%B8%81%22%5D&flag=true&off=false"
        "&id=9223372036854775807&quantity=0.00000001&large=1000&price=0.1&small=0.00000001&numpy=0.1"
        "&text=a%20b%26c%3Dd%2F%C3%A9&none%20too=%5B%5D"
    )
    assert "X-MBX-APIKEY" not in unsigned.headers
    assert post.target.startswith("/api/v3/order?b=1&a=2&timestamp=")
    assert bare.target.startswith("/api/v3/account?timestamp=")
    connect(server.url).request("GET", "/api/v3/ping", signed=False)
    assert server.requests[-1].target == "/api/v3/ping"


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("PATCH", "/api/v3/order", None),
        ("", "/api/v3/order", None),
        ("GET / HTTP/1.1\r\nX: y", "/api/v3/order", None),
        ("GET", "", None),
        ("GET", "/api", None),
        ("GET", "/api/", None),
        ("GET", "/sapi/v1/account", None),
        ("GET", "/apiv3/order", None),
        ("GET", "api/v3/order", None),
        ("GET", "/api/v3/order/", None),
        ("GET", "/api/v3/../order", None),
        ("GET", "/api/v3/order?symbol=X", None),
        ("GET", "/api/v3/order#x", None),
        ("GET", "/api/v3/order\r\nX: y", None),
        ("GET", "//other.example/api/v3", None),
        ("GET", "https://other.example/api/v3/order", None),
        ("GET", "/api/v3/order", {"timestamp": 1}),
        ("GET", "/api/v3/order", {"a": 1, "signature": "x"}),
        ("GET", "/api/v3/order", {"a": b"x"}),
        ("GET", "/api/v3/order", {"a": {"b": 1}}),
        ("GET", "/api/v3/order", {"a": [1]}),
        ("GET", "/api/v3/order", {"a": ["x", Decimal(1)]}),
        ("GET", "/api/v3/order", {"a": float("nan")}),
        ("GET", "/api/v3/order", {"a": float("inf")}),
        ("GET", "/api/v3/order", {"a": Decimal("NaN")}),
        ("GET", "/api/v3/order", {"a": "\ud800"}),
        ("GET", "/api/v3/order", {"\ud800": "a"}),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(
    serve: Serve, connect: Connect, method: str, path: str, params: Wrong
) -> None:
    """Methods, paths and parameters that this API does not have raise before anything is sent."""
    server = serve(empty)
    with pytest.raises(ConfigurationError, match="nothing was sent"):
        connect(server.url).request(method, path, params)
    assert server.connections == 0


# Connections


def test_one_connection_serves_many_calls(serve: Serve, connect: Connect) -> None:
    """Answers with and without a body, and refusals, leave the connection open for the next call."""
    bodies = itertools.cycle([answer([]), answer({"code": -1121, "msg": "Invalid symbol."}, 400), answer(b"", 403)])
    server = serve(lambda _: next(bodies))
    client = connect(server.url)
    for _ in range(9):
        with contextlib.suppress(RejectedError):
            client.cancel_open_orders("BTCUSDT")
    assert len(server.requests) == 9
    assert server.connections == 1
    client.close()
    with contextlib.suppress(RejectedError):
        client.cancel_open_orders("BTCUSDT")
    assert server.connections == 2


def test_no_cookie_is_kept(serve: Serve, connect: Connect) -> None:
    """What a server wants remembered is not."""
    server = serve(lambda _: answer([], headers={"Set-Cookie": "a=b; Path=/"}))
    client = connect(server.url)
    client.cancel_open_orders("BTCUSDT")
    client.cancel_open_orders("BTCUSDT")
    assert all("Cookie" not in request.headers for request in server.requests)


def test_a_connection_that_was_closed_meanwhile_is_opened_again(serve: Serve, connect: Connect) -> None:
    """Each cancel reaches the server once, on a connection of its own when the last one is gone."""
    server = serve(lambda _: iter([answer([])]))
    client = connect(server.url)
    for _ in range(3):
        client.cancel_open_orders("BTCUSDT")
        time.sleep(0.05)
    assert [request.connection for request in server.requests] == [1, 2, 3]


def test_a_connection_that_dies_under_a_cancel_is_not_tried_again(serve: Serve, connect: Connect) -> None:
    """A kept-alive connection that closes without an answer leaves the outcome unknown, and nothing is re-sent."""
    server = serve(lambda _: answer([]) if len(server.requests) == 1 else iter(()))
    client = connect(server.url)
    client.cancel_open_orders("BTCUSDT")
    with pytest.raises(OutcomeUnknownError, match="the connection broke"):
        client.cancel_open_orders("BTCUSDT")
    assert len(server.requests) == 2
    assert server.connections == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects_are_never_followed(serve: Serve, connect: Connect, status: int) -> None:
    """A redirect is a refusal: the other server sees nothing."""
    other = serve(empty)
    server = serve(lambda request: answer(b"", status, {"Location": other.url + request.target}))
    for method in ("DELETE", "GET"):
        with pytest.raises(RejectedError, match="a redirect, which is never followed; orders untouched") as caught:
            connect(server.url).request(method, PATH, {"symbol": "BTCUSDT"})
        assert (caught.value.code, caught.value.msg, caught.value.http_status) == (None, "", status)
    assert other.connections == 0
    assert len(server.requests) == 2


# Answers


def test_reports_come_back_as_they_were_sent(serve: Serve, connect: Connect) -> None:
    """Keys, digits and order of the documented body are kept."""
    for name in ("cancel_all_open_orders", "constructed_cancel_all_large_ids", "constructed_cancel_all_unicode_symbol"):
        body = fixture_body(name)
        server = serve(always(answer(body)))
        assert connect(server.url).cancel_open_orders(body[0]["symbol"]) == body


def test_nothing_open_is_an_empty_list(serve: Serve, connect: Connect) -> None:
    """Both the live service's -2011 and an empty array mean that nothing was open."""
    for body, status in (
        (fixture_body("constructed_error_no_open_orders"), 400),
        (fixture_body("error_unknown_order"), 400),
        ([], 200),
    ):
        server = serve(always(answer(body, status)))
        assert connect(server.url).cancel_open_orders("BTCUSDT") == []
        assert len(server.requests) == 1


def test_another_text_under_the_same_code_is_a_refusal(serve: Serve, connect: Connect) -> None:
    """-2011 with any other text raises, with code, text and status; so does the text under another status of fault."""
    for msg in ("Order was not canceled due to cancel restrictions.", "This action is disabled on this account.", ""):
        server = serve(always(answer({"code": -2011, "msg": msg}, 400)))
        with pytest.raises(RejectedError) as caught:
            connect(server.url).cancel_open_orders("BTCUSDT")
        assert (caught.value.code, caught.value.msg, caught.value.http_status) == (-2011, msg, 400)
    server = serve(lambda _: answer({"code": -2011, "msg": "Unknown order sent."}, 500))
    with pytest.raises(OutcomeUnknownError):
        connect(server.url).cancel_open_orders("BTCUSDT")


def documented_errors() -> list[Any]:
    """Read the error table: one case for each code and text."""
    with (FIXTURES / "ERRORS.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) > 60
    cases = []
    for row in rows:
        known = re.match(r"\d{3}", row["http_status_if_known"])
        # A code to reconcile says so by itself, also where the status alone would refuse.
        status = int(known[0]) if known and row["retryable"] != "reconcile" else 400
        for number, msg in enumerate(row["messages"].split(" | ")):
            cases.append(pytest.param(int(row["code"]), status, msg, row["retryable"], id=f"{row['code']}-{number}"))
    return cases


@pytest.mark.parametrize(("code", "status", "msg", "retryable"), documented_errors())
def test_every_documented_code_has_its_class(  # noqa: PLR0917 - a row of the table
    serve: Serve, connect: Connect, code: int, status: int, msg: str, retryable: str
) -> None:
    """Codes to reconcile leave a cancel's outcome unknown; limits say when; everything else is a refusal."""
    for method in ("DELETE", "GET"):  # each to a host of its own, since a limit holds everything back from a host
        server = serve(lambda _: answer({"code": code, "msg": msg}, status, {"Retry-After": "7"}))
        expected: type[NbextError] = RejectedError
        if code in {-1003, -1015}:
            expected = RateLimitedError
        elif method == "DELETE" and (retryable == "reconcile" or status >= 500):
            expected = OutcomeUnknownError
        with pytest.raises(NbextError) as caught:
            connect(server.url).request(method, PATH, {"symbol": "BTCUSDT"})
        error = caught.value
        assert type(error) is expected
        message = str(error)
        assert message.startswith("BTCUSDT on custom (127.0.0.1:")
        assert str(code) in message
        assert len(message.splitlines()) == 1
        assert error._render_traceback_() == [f"{expected.__name__}: {message}"]
        if isinstance(error, RejectedError):
            # What the engine refuses may have been carried out in part.
            by_engine = method == "DELETE" and (code in {-1010, -1013} or code <= -2000)
            by_engine = by_engine and code not in {-2008, -2014, -2015, -2017}
            assert ("orders untouched" in message) is not by_engine
            assert ("%open_orders" in message) or not by_engine
            assert (error.code, error.msg, error.http_status) == (code, msg.strip(), status)
        else:
            assert "orders untouched" not in message
            assert "%open_orders" in message
        if isinstance(error, RateLimitedError):
            assert error.retry_after == 7
        assert len(server.requests) == 1


def drip(content: bytes, every: float = 0.04) -> Iterator[bytes]:
    """Send one byte at a time, never so slow that one read alone would time out."""
    for byte in content:
        yield bytes([byte])
        time.sleep(every)


def broken_off(content: bytes) -> Iterator[bytes]:
    """Send some of an answer, then reset the connection."""
    yield content
    time.sleep(0.05)
    raise ResetConnection


def silence(_: Request) -> bytes:
    """Say nothing for longer than any deadline of these tests."""
    time.sleep(1.5)
    return answer([])


def reset(_: Request) -> bytes:
    """Break off with a reset, before an answer."""
    raise ResetConnection


def endless() -> Iterator[bytes]:
    """Stream more chunks than an answer of this API can have."""
    yield b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunk = b"100000\r\n" + b" " * 0x100000 + b"\r\n"
    for _ in range(transport.LARGEST_BODY // 0x100000 + 2):
        yield chunk


def bomb() -> bytes:
    """Write little that unpacks to more than an answer can be."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    packed = b"".join([packer.compress(b" " * 2**20) for _ in range(transport.LARGEST_BODY // 2**20 + 2)])
    return answer(packed + packer.flush(), headers={"Content-Encoding": "gzip"})


HTML = "<html><head><title>Oops</title></head><body><h1>Oops</h1></body></html>"
AS_HTML = {"Content-Type": "text/html"}
OK = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n"

# Faults in which no answer, or half of one, arrives: what a GET then raises.
LOST: dict[str, tuple[Responder, type[NbextError]]] = {
    "reset before the answer": (reset, NotSentError),
    "reset in the head": (lambda _: broken_off(b"HTTP/1.1 200 OK\r\nContent-"), NotSentError),
    "reset in the body": (lambda _: broken_off(OK + b"[{"), RejectedError),
    "closed before the answer": (lambda _: iter(()), NotSentError),
    "closed in the head": (lambda _: iter([b"HTTP/1.1 200 OK\r\nContent-"]), RejectedError),
    "closed in the body": (lambda _: iter([OK + b"[]"]), RejectedError),
    "silence": (silence, NotSentError),
    "silence after the head": (lambda _: itertools.chain([OK], (silence(_) for _ in [_])), RejectedError),
    "head that drips": (lambda _: drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 60), NotSentError),
    "body that drips": (lambda _: itertools.chain([OK], drip(b" " * 60)), RejectedError),
    "chunks that drip": (
        lambda _: itertools.chain(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
            itertools.chain.from_iterable(drip(b"1\r\n \r\n") for _ in range(20)),
        ),
        RejectedError,
    ),
    "chunks that break off": (
        lambda _: iter([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n[]\r\n"]),
        RejectedError,
    ),
    "not HTTP": (lambda _: iter([b"220 ready\r\n"]), NotSentError),
    "endless head": (lambda _: iter([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 300]), NotSentError),
    "larger than any answer": (lambda _: endless(), RejectedError),
    "unpacks to more than any answer": (lambda _: bomb(), RejectedError),
    "packed, and not really": (lambda _: answer([], headers={"Content-Encoding": "gzip"}), RejectedError),
    "empty body": (lambda _: answer(b""), RejectedError),
    "no content": (lambda _: answer(b"", 204), RejectedError),
    "HTML body": (lambda _: answer(HTML, headers=AS_HTML), RejectedError),
    "cut JSON": (lambda _: answer(b'[{"orderId": 1'), RejectedError),
    "not UTF-8": (lambda _: answer(b'["\xff\xfe"]'), RejectedError),
    "NaN": (lambda _: answer(b'[{"orderId": 1, "price": NaN}]'), RejectedError),
    "Infinity": (lambda _: answer(b'[{"orderId": 1, "price": -Infinity}]'), RejectedError),
    "nested too deep": (lambda _: answer(b"[" * 100_000 + b"]" * 100_000), RejectedError),
    "endless number": (lambda _: answer(b'[{"orderId": ' + b"1" * 5000 + b"}]"), RejectedError),
    "400 cut short": (
        lambda _: iter([answer({"code": -1121, "msg": "Invalid symbol."}, 400, length=90)]),
        RejectedError,
    ),
    "401 cut short": (lambda _: iter([answer(b"", 401, length=90)]), RejectedError),
    "408": (lambda _: answer(HTML, 408, AS_HTML), RejectedError),
    "409": (lambda _: answer({"code": -2021, "msg": "Order cancel-replace partially failed."}, 409), RejectedError),
    "500": (lambda _: answer(fixture_body("constructed_error_unexpected_response"), 500), RejectedError),
    "500, empty": (lambda _: answer(b"", 500), RejectedError),
    "500 that says rejected": (lambda _: answer({"code": -2010, "msg": "Market is closed."}, 500), RejectedError),
    "502, HTML": (lambda _: answer(HTML, 502, AS_HTML), RejectedError),
    "503": (lambda _: answer({"code": -1008, "msg": "Server is currently overloaded."}, 503), RejectedError),
    "504": (lambda _: answer(fixture_body("constructed_error_timeout_unknown"), 504), RejectedError),
    "504, HTML": (lambda _: answer(HTML, 504, AS_HTML), RejectedError),
    "599": (lambda _: answer(b"", 599), RejectedError),
}


@pytest.mark.parametrize("fault", LOST)
def test_a_cancel_without_a_clear_answer_is_unknown(serve: Serve, connect: Connect, fault: str) -> None:
    """It was sent once, whole, and what became of the orders is not known; within the deadline, however it drips."""
    respond, _ = LOST[fault]
    server = serve(respond)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match="what became of the orders is not known") as caught:
        connect(server.url, answer_timeout=0.4 if re.search("silence|drip", fault) else 8).cancel_open_orders("BTCUSDT")
    if "silence" in fault or "drip" in fault:
        assert 0.35 < time.monotonic() - began < 1.2
    assert "orders untouched" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(server.requests) == 1
    assert server.connections == 1


@pytest.mark.parametrize("fault", LOST)
def test_a_question_without_a_clear_answer_changed_nothing(serve: Serve, connect: Connect, fault: str) -> None:
    """The same faults under a GET never claim that an outcome is unknown."""
    respond, expected = LOST[fault]
    server = serve(respond)
    with pytest.raises(NbextError, match="orders untouched") as caught:
        connect(server.url, answer_timeout=0.4 if re.search("silence|drip", fault) else 8).request(
            "GET", PATH, {"symbol": "BTCUSDT"}
        )
    assert type(caught.value) is expected
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "document",
    [
        {},
        {"code": -2011, "msg": "Unknown order sent."},
        fixture_body("constructed_cancel_order_leg_returns_list"),
        "OK",
        None,
        True,
        0,
        [1, 2],
        [None],
        [[]],
        ["BTCUSDT"],
        [{}],
        [{"symbol": "BTCUSDT", "status": "CANCELED"}],
        [{"orderId": 1}, {"symbol": "BTCUSDT"}],
        [{"orderListId": 1, "contingencyType": "OCO", "orders": []}],
        [{"orderListId": 1, "orderReports": None}],
        [{"orderListId": 1, "orderReports": {}}],
        [{"orderListId": 1, "orderReports": "x"}],
        [{"orderListId": 1, "orderReports": [1]}],
        [{"orderListId": 1, "orderReports": [{"symbol": "BTCUSDT"}]}],
        [{"orderId": 1, "orderReports": [{"orderId": 1}, None]}],
    ],
    ids=json.dumps,
)
def test_a_body_that_is_not_documented_leaves_the_outcome_unknown(
    serve: Serve, connect: Connect, document: object
) -> None:
    """200 with anything but reports proves nothing about the orders."""
    server = serve(lambda _: answer(json.dumps(document)))
    with pytest.raises(OutcomeUnknownError, match="what became of the orders is not known"):
        connect(server.url).cancel_open_orders("BTCUSDT")
    assert len(server.requests) == 1
    if not (isinstance(document, dict) and "code" in document):  # an error below 200 is no answer to a question either
        assert connect(server.url).request("GET", "/api/v3/account") == document


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, HTML, "A firewall"),
        (403, b"", "A firewall"),
        (404, HTML, "Check the base URL"),
        (404, b"", "Check the base URL"),
        (405, HTML, "Mend the request"),
        (406, b"", "Mend the request"),
        (407, HTML, "Check the proxy"),
        (451, {"code": 0, "msg": "Service unavailable from a restricted location."}, "refuses this country or cloud"),
        (451, HTML, "refuses this country or cloud"),
        (451, b"", "refuses this country or cloud"),
        (400, HTML, "Mend the request"),
        (400, {"code": "-1121", "msg": "Invalid symbol."}, "Mend the request"),
        (400, {"code": True, "msg": "x"}, "Mend the request"),
        (400, {"msg": "x"}, "Mend the request"),
        (418, HTML, "Try again in 120 s"),
        (429, b"", "Try again in 60 s"),
    ],
)
def test_refusals_say_so_whatever_their_body(
    serve: Serve, connect: Connect, status: int, body: object, words: str
) -> None:
    """A status that refuses is a refusal with or without a readable body, even a body cut short where that is safe."""
    answers = [answer(body, status)]
    if status not in {400, 406}:
        answers.append(answer(body, status, length=5000))
    for content in answers:
        for method in ("DELETE", "GET"):
            server = serve(always([content]))
            with pytest.raises(RejectedError, match=words) as caught:
                connect(server.url).request(method, PATH, {"symbol": "BTCUSDT"})
            assert caught.value.http_status == status
            assert "orders untouched" in str(caught.value)
            assert "Oops" not in str(caught.value)
            assert type(caught.value) is (RateLimitedError if status in {418, 429} else RejectedError)
            assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, "<H1>403 ERROR</H1> configured to block access from your country.", "refuses this country or cloud"),
        (403, {"code": 0, "msg": "Service unavailable from a restricted location."}, "refuses this country or cloud"),
        (403, "<H1>403 ERROR</H1> Request blocked.", "firewall"),
        (400, {"code": -2008, "msg": "Invalid Api-Key ID."}, "No such API key here"),
        (401, {"code": -2017, "msg": "API Keys are locked on this account."}, "has locked this account's API keys"),
    ],
)
def test_a_refusal_names_what_is_at_fault(
    serve: Serve, connect: Connect, status: int, body: object, words: str
) -> None:
    """A country is told apart from a firewall, a key that does not exist from one that is locked."""
    with pytest.raises(RejectedError, match=words) as caught:
        connect(serve(lambda _: answer(body, status)).url).request("DELETE", PATH, {"symbol": "BTCUSDT"})
    assert ("firewall" in str(caught.value)) is (words == "firewall")
    assert caught.value.code != 0


def test_an_error_without_text_or_with_a_strange_one_is_one_line(serve: Serve, connect: Connect) -> None:
    """Line ends, endless texts and other types in msg do not get into the line."""
    for body in (
        {"code": -1121},
        {"code": -1121, "msg": None},
        {"code": -1121, "msg": "a\r\nb\u2028c\x0bd"},
        {"code": -1121, "msg": "x" * 10_000},
        {"code": -1121, "msg": {"a": [1]}},
    ):
        server = serve(always(answer(body, 400)))
        with pytest.raises(RejectedError) as caught:
            connect(server.url).cancel_open_orders("BTCUSDT")
        assert caught.value.code == -1121
        assert len(str(caught.value).splitlines()) == 1
        assert len(str(caught.value)) < 600


# Limits and time


@pytest.mark.parametrize("status", [418, 429])
def test_nothing_goes_out_before_the_time_is_up(serve: Serve, connect: Connect, status: int) -> None:
    """After 429 or 418 every call is refused here until Retry-After has passed."""
    server = serve(
        lambda _: (
            answer([])
            if len(server.requests) > 1
            else answer({"code": -1003, "msg": "x"}, status, {"Retry-After": "1"})
        )
    )
    client = connect(server.url)
    assert client.held_for == 0
    with pytest.raises(RateLimitedError, match="Try again in 1 s") as first:
        client.cancel_open_orders("BTCUSDT")
    assert (first.value.code, first.value.http_status, first.value.retry_after) == (-1003, status, 1)
    for call in (
        lambda: client.cancel_open_orders("BTCUSDT"),
        lambda: client.request("GET", "/api/v3/ping", signed=False),
    ):
        with pytest.raises(RateLimitedError, match=r"not sent.*Try again in 1 s") as held:
            call()
        assert held.value.http_status == status
        assert held.value.retry_after is not None
        assert 0 < held.value.retry_after <= 1
    assert len(server.requests) == 1
    time.sleep(client.held_for + 0.01)
    assert client.cancel_open_orders("BTCUSDT") == []
    assert len(server.requests) == 2


def test_a_longer_hold_is_not_shortened(serve: Serve, connect: Connect) -> None:
    """Retry-After on any other status holds nothing back."""
    server = serve(lambda _: answer(b"", 403, {"Retry-After": "60"}))
    client = connect(server.url)
    for _ in range(2):
        with pytest.raises(RejectedError):
            client.cancel_open_orders("BTCUSDT")
    assert client.held_for == 0


def test_the_used_weight_is_that_of_the_last_answer(serve: Serve, connect: Connect) -> None:
    """The header is read in any case, from refusals too, and nonsense in it is passed over."""
    weights = iter(["12", "7", "x", ""])
    server = serve(
        lambda _: answer(
            {"code": -1121, "msg": "x"}, 400, {"x-mbx-used-weight-1m": next(weights), "x-mbx-used-weight": "99"}
        )
    )
    client = connect(server.url)
    assert client.used_weight is None
    for expected in (12, 7, 7, 7):
        with pytest.raises(RejectedError):
            client.cancel_open_orders("BTCUSDT")
        assert client.used_weight == expected


def test_the_clock_offset_is_measured_and_used(serve: Serve, connect: Connect) -> None:
    """A server whose clock is 90 s ahead gets stamps of its own time, and a slow first answer does not count."""

    def respond(request: Request) -> bytes:
        if request.path != "/api/v3/time":
            return answer([])
        if len(server.requests) == 1:
            time.sleep(0.3)
            return answer({"serverTime": 5})
        return answer({"serverTime": time.time_ns() // 1_000_000 + 90_000})

    server: PlainServer = serve(respond)
    client = connect(server.url)
    assert vars(client)["clock_offset"] is None
    measured = client.measure_clock_offset()
    assert measured == client.clock_offset
    assert abs(measured - 90_000) < 100
    assert len(server.requests) == 5
    assert all("X-MBX-APIKEY" not in request.headers and "?" not in request.target for request in server.requests)
    before = time.time_ns() // 1_000_000
    client.cancel_open_orders("BTCUSDT")
    assert abs(int(server.requests[-1].params["timestamp"]) - before - 90_000) < 300


@pytest.mark.parametrize("body", [{}, [], None, 5, {"serverTime": "5"}, {"serverTime": None}])
def test_a_server_that_does_not_tell_its_time_is_refused(serve: Serve, connect: Connect, body: object) -> None:
    """An offset is kept only when it was measured."""
    server = serve(lambda _: answer(body))
    client = connect(server.url)
    with pytest.raises(RejectedError, match="did not tell its time"):
        client.measure_clock_offset()
    assert client.clock_offset is None


# Never sent


def never_sent(client: SpotClient, words: str, *, within: float = 1.0) -> None:
    """Check that both a cancel and a question say that nothing was sent."""
    for method in ("DELETE", "GET"):
        began = time.monotonic()
        with pytest.raises(NotSentError, match=words) as caught:
            client.request(method, PATH, {"symbol": "BTCUSDT"})
        assert time.monotonic() - began < within
        assert "nothing was sent" in str(caught.value)
        assert "orders untouched" in str(caught.value)


def test_a_refused_connection_was_not_sent(connect: Connect) -> None:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    never_sent(connect(f"http://127.0.0.1:{port}"), "the connection was refused")
    never_sent(connect(f"http://localhost:{port}"), "the connection was refused")


def test_a_name_that_cannot_be_resolved_was_not_sent(connect: Connect) -> None:
    """The lookup fails before there is a connection (here at the guard, which lets no lookup out)."""
    never_sent(connect("https://exchange.invalid"), "nothing was sent")


def test_a_connection_that_is_not_taken_was_not_sent(connect: Connect) -> None:
    """A listener whose queue is full lets connecting time out."""
    with socket.socket() as listener, contextlib.ExitStack() as waiting:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(4):
            filler = waiting.enter_context(socket.socket())
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        time.sleep(0.05)
        never_sent(
            connect(f"http://127.0.0.1:{listener.getsockname()[1]}", connect_timeout=0.3),
            "no connection came about in time",
        )


def test_a_handshake_that_stalls_was_not_sent(connect: Connect) -> None:
    """TLS shares the time for connecting, and a listener that says nothing uses it up."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        never_sent(
            connect(f"https://127.0.0.1:{mute.getsockname()[1]}", connect_timeout=0.3),
            "the TLS handshake was not answered in time",
        )


# Proxies


def test_loopback_is_never_proxied(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nonsense, or a working proxy, in the proxy variables does not come between this machine and itself."""
    server, proxy = serve(empty), serve(empty)
    for value in ("http://192.0.2.1:9", "nonsense", proxy.url):
        for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
            monkeypatch.setenv(name, value)
        for url in (server.url, server.url.replace("127.0.0.1", "localhost")):
            assert connect(url).cancel_open_orders("BTCUSDT") == []
    assert proxy.connections == 0
    assert len(server.requests) == 6


@pytest.mark.parametrize(
    "respond",
    [
        lambda _: iter([answer(b"", 407)]),
        lambda _: iter([answer(HTML, 503)]),
        lambda _: iter(()),
        lambda _: iter([b"HTTP/1.1 200 Connection established\r\n\r\n"]),
        lambda _: drip(b"HTTP/1.1 200 Connection established\r\nX: " + b"x" * 60),
        silence,
        reset,
    ],
    ids=["407", "503", "closed", "no TLS behind it", "drips", "silence", "reset"],
)
def test_a_proxy_that_gives_no_tunnel_means_not_sent(
    serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch, respond: Responder
) -> None:
    """The proxy is asked for a tunnel and sees neither path nor key; without one, nothing was sent."""
    proxy = serve(respond)
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    never_sent(connect("https://exchange.invalid", connect_timeout=0.4), "nothing was sent", within=0.9)
    assert [request.method for request in proxy.requests] == ["CONNECT"] * 2
    assert {request.target for request in proxy.requests} == {"exchange.invalid:443"}
    assert API_KEY not in repr(proxy.requests)


def test_proxy_settings_are_those_of_now(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client notices a proxy that is set, changed or taken away after it was made and used."""
    proxy = serve(lambda _: iter([answer(b"", 407)]))
    client = connect("https://exchange.invalid")
    never_sent(client, "nothing was sent")
    assert proxy.connections == 0
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    never_sent(client, "wants another name and password")
    assert proxy.connections == 2
    monkeypatch.setenv("NO_PROXY", "*")
    never_sent(client, "nothing was sent")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("HTTPS_PROXY")
    never_sent(client, "nothing was sent")
    assert proxy.connections == 2


# Keys


def test_keys_are_trimmed(serve: Serve, connect: Connect) -> None:
    """Blanks and line ends that came along with pasting go."""
    server = serve(empty)
    client = connect(server.url, api_key=f"\t{API_KEY} \n", secret_key=f" {SECRET_KEY}\r\n")
    client.cancel_open_orders("BTCUSDT")
    (request,) = server.requests
    payload, _, signature = request.target.partition("?")[2].rpartition("&signature=")
    assert request.headers["X-MBX-APIKEY"] == API_KEY
    assert signature == hmac.digest(SECRET_KEY.encode(), payload.encode(), "sha256").hex()


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"api_key": "kTest apiKey", "secret_key": SECRET_KEY}, "the API key holds a blank"),
        ({"api_key": "kTest\napiKey", "secret_key": SECRET_KEY}, "the API key holds a blank"),
        ({"api_key": "kTestapiKeyé", "secret_key": SECRET_KEY}, "the API key holds a blank"),
        ({"api_key": " \n", "secret_key": SECRET_KEY}, "the API key is empty"),
        ({"api_key": API_KEY, "secret_key": "sTest Secret"}, "the secret key holds a blank"),
        ({"api_key": API_KEY, "secret_key": "sTest\x00Secret"}, "the secret key holds a blank"),
        ({"api_key": API_KEY, "secret_key": ""}, "the secret key is empty"),
        ({"api_key": API_KEY}, "has neither a secret key nor"),
        ({"api_key": None, "secret_key": SECRET_KEY}, "has no API key"),
        ({"api_key": None, "private_key": pem(ED25519)}, "has no API key"),
        (
            {"api_key": API_KEY, "secret_key": SECRET_KEY, "private_key": pem(ED25519)},
            "holds a secret key and a private key",
        ),
        ({"api_key": API_KEY, "private_key": SECRET_KEY.encode()}, "not PEM in PKCS#8"),
        ({"api_key": API_KEY, "private_key": pem(ED25519), "passphrase": "sTestSecret"}, "is not encrypted"),
    ],
)
def test_a_key_that_cannot_be_one_is_refused_unseen(settings: Wrong, words: str) -> None:
    """Neither the message nor a traceback with local variables shows any of it."""
    with pytest.raises(ConfigurationError, match=words) as caught:
        SpotClient("http://127.0.0.1:9", **settings)
    shown = everything_of(caught.value, skip=1)
    for text in ("kTest", "sTest", "PRIVATE KEY", *pem(ED25519).decode().splitlines()):
        assert text not in shown
    assert "nothing was sent" in shown


def test_without_a_key_only_signing_is_refused(serve: Serve, connect: Connect) -> None:
    """Public endpoints work without a key, and signed ones say which variables to set."""
    server = serve(lambda _: answer({"serverTime": 1}))
    client = connect(server.url, api_key=None)
    assert client.request("GET", "/api/v3/time", signed=False) == {"serverTime": 1}
    assert (client.key_hint, client.key_kind) == ("", "")
    assert "no key" in repr(client)
    for call in (lambda: client.cancel_open_orders("BTCUSDT"), lambda: client.request("GET", "/api/v3/account")):
        with pytest.raises(ConfigurationError, match=r"no key.*nothing was sent.*BINANCE_API_KEY"):
            call()
    assert len(server.requests) == 1


def test_a_client_shows_four_characters_of_its_key(connect: Connect) -> None:
    """Its repr names profile, host and the last four characters of the API key, and nothing more of it."""
    client = connect("http://127.0.0.1:9", profile="desk")
    assert repr(client) == "<SpotClient desk 127.0.0.1:9, key ...WXYZ>"
    assert (client.host, client.base_url, client.key_kind) == ("127.0.0.1:9", "http://127.0.0.1:9", "HMAC")


def test_a_pickled_client_carries_no_secret(connect: Connect) -> None:
    """Saving a client that has a key is refused, with each kind of key."""
    for settings in CREDENTIALS.values():
        written = io.BytesIO()
        with pytest.raises(TypeError, match="not pickled"):
            pickle.Pickler(written).dump(connect("http://127.0.0.1:9", **settings))
        assert SECRET_KEY.encode() not in written.getvalue()


# Base URLs


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://api.binance.com", "https://api.binance.com"),
        ("https://api.binance.com/", "https://api.binance.com"),
        (" https://API.Binance.com:8443/\n", "https://api.binance.com:8443"),
        ("HTTPS://api.binance.com", "https://api.binance.com"),
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://127.0.0.1:8000/", "http://127.0.0.1:8000"),
        ("http://127.1.2.3", "http://127.1.2.3"),
        ("http://[::1]:8000", "http://[::1]:8000"),
        ("https://[2001:db8::1]", "https://[2001:db8::1]"),
    ],
)
def test_base_urls_are_brought_into_one_form(text: str, url: str) -> None:
    """Blanks, a trailing slash and upper case go."""
    assert parse_base_url(text) == url
    assert parse_base_url(url) == url


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not like"),
        ("api.binance.com", "not like"),
        ("ftp://api.binance.com", "not like"),
        ("file:///etc/passwd", "not like"),
        ("https://", "not like"),
        ("https:///api", "not like"),
        ("https://pTestUser:pTestPassword@api.binance.com", "user info"),
        ("https://pTestUser@api.binance.com", "user info"),
        ("https://@api.binance.com", "user info"),
        ("https://api.binance.com/api", "more than"),
        ("https://api.binance.com//", "more than"),
        ("https://api.binance.com?x=pTestPassword", "more than"),
        ("https://api.binance.com/?", "more than"),
        ("https://api.binance.com#x", "more than"),
        ("https://api.binance.com:port", "cannot be read"),
        ("https://api.binance.com:99999", "cannot be read"),
        ("https://[::1", "cannot be read"),
        ("https://api binance.com", "its host"),
        ("https://api.binance.com\\pTestPassword", "its host"),
        ("http://api.binance.com", "use https"),
        ("http://192.0.2.1", "use https"),
        ("http://0.0.0.0", "use https"),
        ("http://localhost.example.com", "use https"),
        ("http://127.0.0.1.example.com", "use https"),
        ("http://[2001:db8::1]", "use https"),
    ],
)
def test_base_urls_that_cannot_be_used_are_refused_unseen(text: str, words: str) -> None:
    """The message names the flaw and not the text, which may hold a password."""
    for make in (parse_base_url, SpotClient):
        with pytest.raises(ConfigurationError, match=words) as caught:
            make(text)
        assert "nothing was sent" in str(caught.value)
        assert "pTest" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_loopback_over_ipv6_works(connect: Connect) -> None:
    """A base URL with an IPv6 address in brackets is connected to."""
    with socket.create_server(("::1", 0), family=socket.AF_INET6) as listener:
        client = connect(f"http://[::1]:{listener.getsockname()[1]}", answer_timeout=0.2)
        with pytest.raises(OutcomeUnknownError):
            client.cancel_open_orders("BTCUSDT")
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(6) == b"DELETE"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.0.0.1", True),
        ("127.9.9.9", True),
        ("::1", True),
        ("", False),
        ("localhost.", False),
        ("api.binance.com", False),
        ("10.0.0.1", False),
        ("0.0.0.0", False),  # noqa: S104 - refused here
        ("::", False),
    ],
)
def test_loopback_is_told_from_other_hosts(host: str, here: bool) -> None:
    """Only this machine's own addresses and its usual name are loopback."""
    assert is_loopback(host) is here


# Secrets


def everything_of(error: BaseException, *, skip: int = 0) -> str:
    """Write out all that can be shown of an error: its chain, attributes, and tracebacks with local variables."""
    parts: list[str] = []
    chain: list[BaseException | None] = [error]
    seen: set[int] = set()
    for link in chain:
        if link is None or id(link) in seen:
            continue
        seen.add(id(link))
        frames = link.__traceback__
        for _ in range(skip if link is error else 0):  # the test's own frame, whose variables are the test's
            frames = frames and frames.tb_next
        shown = traceback.TracebackException(type(link), link, frames, capture_locals=True)
        parts += [str(link), repr(link), repr(link.args), repr(vars(link)), "".join(shown.format(chain=False))]
        parts += getattr(link, "_render_traceback_", list)()
        chain += [link.__cause__, link.__context__]
    return "\n".join(parts)


def echo(request: Request) -> str:
    """Write what a chatty proxy repeats: the signed URL, plain and encoded, and the headers."""
    url = f"https://api.binance.com{request.target}"
    signature = request.target.rpartition("signature=")[2]
    return (
        f"cannot fetch {url} | {unquote(url)} | {quote(url, safe='')} | sig {signature} {unquote(signature)} | "
        f"X-MBX-APIKEY: {request.headers['X-MBX-APIKEY']} key={quote(request.headers['X-MBX-APIKEY'])}"
    )


def echo_json(status: int) -> Responder:
    """Echo in the msg of an error body."""
    return lambda request: answer({"code": -1100, "msg": echo(request)}, status, {"Retry-After": "0"})


def echo_html(status: int) -> Responder:
    """Echo in a web page, and in the headers."""
    return lambda request: answer(
        f"<pre>{echo(request)}</pre>",
        status,
        {"Location": f"https://x.example{request.target}", "X-Echo": echo(request)},
    )


ECHOES: dict[str, Responder] = {
    **{f"{status}, JSON": echo_json(status) for status in (200, 400, 401, 403, 404, 409, 418, 429, 451, 500, 503)},
    **{f"{status}, HTML": echo_html(status) for status in (200, 302, 307, 400, 403, 405, 407, 429, 451, 502)},
    "list": lambda request: answer([{"url": echo(request)}]),
    "text": lambda request: answer(json.dumps(echo(request))),
    "unknown code": lambda request: answer({"code": -1007, "msg": echo(request)}, 400),
    "status line": lambda request: f"HTTP/1.1 400 {request.target}\r\nContent-Length: 0\r\n\r\n".encode(),
    "no status": lambda request: iter([f"HTTP/1.1 {request.target} 400\r\n\r\n".encode()]),
    "not HTTP": lambda request: iter([echo(request).encode() + b"\r\n\r\n"]),
    "bad header": lambda request: answer([1], headers={"X-Fine": "1\r\n" + echo(request) + "\r\nbad"}),
    "bad chunk": lambda request: iter(
        [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + echo(request).encode() + b"\r\n"]
    ),
    "cut": lambda request: iter([answer(echo(request), length=9999)]),
    "reset": reset,
    "closed": lambda _: iter(()),
    "silence": silence,
}


@pytest.mark.parametrize("kind", ["HMAC", "Ed25519"])
@pytest.mark.parametrize("echoed", ECHOES)
def test_no_error_shows_a_secret_a_signature_or_a_signed_url(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture, echoed: str, kind: str
) -> None:
    """Not in text, repr, arguments, causes, tracebacks with local variables or debug logs, whatever a proxy echoes."""
    caplog.set_level(logging.DEBUG)
    server: PlainServer = serve(ECHOES[echoed])
    # Unpacked here, so that the test's own variables hold no key.
    client = connect(server.url, answer_timeout=0.3 if echoed == "silence" else 2, **CREDENTIALS[kind])
    errors: list[NbextError] = []
    for call in (
        lambda: client.cancel_open_orders("BTCUSDT"),
        lambda: client.request("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1}),
        lambda: client.request("GET", PATH, {"symbol": "BTCUSDT"}),
    ):
        spot.forget_holds()
        try:
            call()
        except NbextError as error:
            errors.append(error)
    assert errors
    assert len(server.requests) == 3
    shown = "\n".join([*map(everything_of, errors), caplog.text, *(repr(vars(record)) for record in caplog.records)])
    assert "BTCUSDT" in shown
    for request in server.requests:
        signature = request.target.rpartition("signature=")[2]
        for secret in (signature, unquote(signature), quote(signature), API_KEY, SECRET_KEY):
            assert secret not in shown
            assert secret[:30] not in shown


def test_a_debug_log_keeps_the_url_without_its_signature(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """urllib3's own log line stays useful, and lines of others stay as they are."""
    caplog.set_level(logging.DEBUG)
    server = serve(empty)
    connect(server.url).cancel_open_orders("BTCUSDT")
    assert "symbol=BTCUSDT&timestamp=" in caplog.text
    assert "signature=<hidden>" in caplog.text
    logging.getLogger("urllib3.connectionpool").debug("theirs %s", "signature=theirs")
    assert "signature=theirs" in caplog.text


# TLS


def test_a_certificate_that_nobody_vouches_for_means_not_sent(connect: Connect, tmp_path: Path) -> None:
    """A self-signed certificate is refused before the request is written."""
    server = TLSServer(empty, tmp_path)
    with contextlib.closing(server):
        never_sent(connect(server.url), "the host's certificate could not be verified")
    assert server.requests == []


def test_the_same_rules_hold_over_tls(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its certificate in REQUESTS_CA_BUNDLE the server is reached, one connection kept, and the deadline holds."""
    bodies = iter([[answer([])], [answer([])], itertools.chain([OK], drip(b" " * 60))])
    server = TLSServer(lambda _: b"".join(body) if isinstance(body := next(bodies), list) else body, tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    with contextlib.closing(server):
        client = connect(server.url, answer_timeout=0.4)
        assert client.cancel_open_orders("BTCUSDT") == []
        assert client.cancel_open_orders("BTCUSDT") == []
        began = time.monotonic()
        with pytest.raises(OutcomeUnknownError):
            client.cancel_open_orders("BTCUSDT")
        assert 0.35 < time.monotonic() - began < 1
        assert server.connections == 1
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        never_sent(connect(server.url.replace("localhost", "127.0.0.1")), "could not be verified")
