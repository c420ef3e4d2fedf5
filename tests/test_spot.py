"""What `SpotClient` sends, over which connection, with which key, and when it holds back."""

from __future__ import annotations

import base64
import contextlib
import hmac
import io
import itertools
import pickle
import re
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

import numpy as np
import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from support.server import PlainServer, Request, answer
from support.spot_clients import (
    API_KEY,
    CREDENTIALS,
    ED25519,
    PATH,
    RSA,
    SECRET_KEY,
    empty,
    everything_of,
    pem,
)

from nbext.base_url import is_loopback, parse_base_url
from nbext.errors import (
    ConfigurationError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.spot.client import SpotClient
from nbext.spot.parameters import parse_recv_window, parse_symbol

if TYPE_CHECKING:
    from support.spot_clients import Connect, Serve, Wrong


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
        (5.5, "5.5"),
        (5000.0, "5000.0"),
        (np.float64(5000.125), "5000.125"),
        (np.float32(0.1), "0.1"),
        (np.int64(5000), "5000"),
        (np.uint16(60000), "60000"),
        (np.str_("5000"), "5000"),
    ],
)
def test_a_recv_window_is_sent_as_it_was_written(
    serve: Serve, connect: Connect, value: str | float | Decimal, sent: str
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
        (np.True_, "np.True_"),
        (5.0005, "5.0005"),
        (60000.5, "60000.5"),
        (float("nan"), "NaN"),
        (float("inf"), "Infinity"),
        (np.float64("-inf"), "-Infinity"),
        (1e-9, "1E-9"),
        (Fraction(5000, 3), "Fraction(5000, 3)"),
        (pd.NA, "<NA>"),
        (np.array([5000]), "array([5000])"),
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
        ("BTC USDT", "contains ' '"),
        ("BTC&USDT", "contains '&'"),
        ("BTC/", "contains '/'"),
        ("/USDT", "contains '/'"),
        ("/", "contains '/'"),
        ("A/B/C", "contains '/'"),
        ("BTC%55", "contains '%'"),
        ("BTC=1", "contains '='"),
        ("BTC#", "contains '#'"),
        ("BTC?x", "contains '?'"),
        ("BTC+", "contains '+'"),
        ("BTC,ETH", "contains ','"),
        ('"BTC"', "contains '\"'"),
        ("BTC\x00USDT", r"contains '\x00'"),
        ("BTC\nUSDT", r"contains '\n'"),
        ("BTC\u200bUSDT", r"contains '\u200b'"),
        ("BTC\ud800", r"contains '\ud800'"),
        ("BTC\U0001f600", "contains '\U0001f600'"),
        (5, "must be text, not int"),
        (None, "must be text, not NoneType"),
        (["BTCUSDT"], "must be text, not list"),
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
        "single": np.float32(0.1),
        "np id": np.int64(2**62),
        "np flag": np.False_,
        "text": "a b&c=d/é",
        "none too": (),
    }
    assert client.request("get", "/api/v3/ticker/price", params, signed=False) == {"ok": [1, None]}
    assert client.request("POST", "/api/v3/order", {"b": 1, "a": 2}) == {"ok": [1, None]}
    assert client.request("GET", "/api/v3/account") == {"ok": [1, None]}
    assert client.request("GET", "/api/v3/time", {"timestamp": 1, "signature": "x"}, signed=False) == {"ok": [1, None]}
    unsigned, post, bare, _ = server.requests
    assert unsigned.method == "GET"
    assert unsigned.target == (
        "/api/v3/ticker/price?symbols=%5B%22BTCUSDT%22%2C%22%E5%B8%81%22%5D&flag=true&off=false"
        "&id=9223372036854775807&quantity=0.00000001&large=1000&price=0.1&small=0.00000001&numpy=0.1&single=0.1"
        "&np%20id=4611686018427387904&np%20flag=false"
        "&text=a%20b%26c%3Dd%2F%C3%A9&none%20too=%5B%5D"
    )
    assert "X-MBX-APIKEY" not in unsigned.headers
    assert post.target.startswith("/api/v3/order?b=1&a=2&timestamp=")
    assert bare.target.startswith("/api/v3/account?timestamp=")
    connect(server.url).request("GET", "/api/v3/time", signed=False)
    assert server.requests[-1].target == "/api/v3/time"


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
    bodies = itertools.cycle([answer([]), answer({"code": -1121, "msg": "Invalid symbol."}, 400), answer(b"")])
    server = serve(lambda _: next(bodies))
    client = connect(server.url)
    for _ in range(9):
        with contextlib.suppress(RejectedError, OutcomeUnknownError):
            client.cancel_open_orders("BTCUSDT")
    assert len(server.requests) == 9
    assert server.connections == 1
    client.close()
    with contextlib.suppress(RejectedError, OutcomeUnknownError):
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
        with pytest.raises(RejectedError, match="redirects are never followed\\); no orders were changed") as caught:
            connect(server.url).request(method, PATH, {"symbol": "BTCUSDT"})
        assert (caught.value.code, caught.value.msg, caught.value.http_status) == (None, "", status)
    assert other.connections == 0
    assert len(server.requests) == 2


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
    """Of two requests that were under way together, one is asked to wait for a minute, the other for a second."""
    both = threading.Barrier(2)

    def respond(request: Request) -> bytes:
        both.wait(5)
        is_short = request.params["symbol"] == "SHORT"
        time.sleep(0.2 if is_short else 0.0)
        return answer(b"", 429, {"Retry-After": "1" if is_short else "60"})

    client = connect(serve(respond).url)
    with ThreadPoolExecutor(2) as threads:
        for refused in [threads.submit(client.cancel_open_orders, symbol) for symbol in ("LONG", "SHORT")]:
            assert isinstance(refused.exception(5), RateLimitedError)
    assert client.held_for > 50


def test_only_a_limit_holds_anything_back(serve: Serve, connect: Connect) -> None:
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
            return answer({"serverTime": 1_000_000_000_005})
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


@pytest.mark.parametrize(
    "body",
    [
        *("{}", "[]", "null", "5", '{"serverTime": "1700000000000"}', '{"serverTime": null}', '{"serverTime": true}'),
        *(f'{{"serverTime": {told}}}' for told in ("0", "-1", "1e999", "1e300", "9" * 400, "1700000000000.5")),
    ],
    ids=lambda body: body[:40],
)
def test_a_server_that_does_not_tell_its_time_is_refused(serve: Serve, connect: Connect, body: str) -> None:
    """An offset is kept only when it was measured, and no clock shows what cannot be now."""
    server = serve(lambda _: answer(body))
    client = connect(server.url)
    with pytest.raises(RejectedError, match="did not return its time"):
        client.measure_clock_offset()
    assert client.clock_offset is None


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
        ({"api_key": "kTest apiKey", "secret_key": SECRET_KEY}, "the API key contains a blank"),
        ({"api_key": "kTest\napiKey", "secret_key": SECRET_KEY}, "the API key contains a blank"),
        ({"api_key": "kTestapiKeyé", "secret_key": SECRET_KEY}, "the API key contains a blank"),
        ({"api_key": " \n", "secret_key": SECRET_KEY}, "the API key is empty"),
        ({"api_key": API_KEY, "secret_key": "sTest Secret"}, "the secret key contains a blank"),
        ({"api_key": API_KEY, "secret_key": "sTest\x00Secret"}, "the secret key contains a blank"),
        ({"api_key": API_KEY, "secret_key": ""}, "the secret key is empty"),
        ({"api_key": API_KEY}, "neither a secret key nor"),
        ({"api_key": None, "secret_key": SECRET_KEY}, "but no API key"),
        ({"api_key": None, "private_key": pem(ED25519)}, "but no API key"),
        (
            {"api_key": API_KEY, "secret_key": SECRET_KEY, "private_key": pem(ED25519)},
            "has both a secret key and a private key",
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
        with pytest.raises(TypeError, match="cannot be pickled"):
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
