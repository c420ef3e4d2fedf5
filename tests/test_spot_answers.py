"""What `SpotClient` makes of an answer, or of none, and that no error shows a secret."""

from __future__ import annotations

import contextlib
import csv
import itertools
import json
import logging
import re
import socket
import time
import zlib
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import pytest
from support.documents import FIXTURES, fixture_body
from support.kernels import soon
from support.networking import TLSServer
from support.server import PlainServer, Request, ResetConnection, answer
from support.spot_clients import API_KEY, CREDENTIALS, PATH, SECRET_KEY, always, empty, everything_of

from nbext.errors import (
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.spot import client as spot
from nbext.spot import transport

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.spot_clients import Connect, Responder, Serve

    from nbext.spot.client import SpotClient


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
            assert ("no orders were changed" in message) is not by_engine
            assert ("%open_orders" in message) or not by_engine
            assert (error.code, error.msg, error.http_status) == (code, msg.strip(), status)
        else:
            assert "no orders were changed" not in message
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
    """Stay silent for longer than any deadline of these tests."""
    time.sleep(10)
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
    "head that drips": (lambda _: drip(b"HTTP/1.1 200 OK\r\nX-Slow: " + b"x" * 250), NotSentError),
    "body that drips": (lambda _: itertools.chain([OK], drip(b" " * 250)), RejectedError),
    "chunks that drip": (
        lambda _: itertools.chain(
            [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
            itertools.chain.from_iterable(drip(b"1\r\n \r\n") for _ in range(50)),
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
    """It was sent once, whole, and the outcome is not known; within the deadline, however it drips."""
    respond, _ = LOST[fault]
    server = serve(respond)
    began = time.monotonic()
    with pytest.raises(OutcomeUnknownError, match="the outcome is not known") as caught:
        connect(server.url, answer_timeout=1.2 if re.search("silence|drip", fault) else 20).cancel_open_orders(
            "BTCUSDT"
        )
    if "silence" in fault or "drip" in fault:
        assert 1.1 < time.monotonic() - began < 8
    assert "no orders were changed" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert len(server.requests) == 1
    assert server.connections == 1


@pytest.mark.parametrize("fault", LOST)
def test_a_question_without_a_clear_answer_changed_nothing(serve: Serve, connect: Connect, fault: str) -> None:
    """The same faults under a GET never claim that an outcome is unknown."""
    respond, expected = LOST[fault]
    server = serve(respond)
    with pytest.raises(NbextError, match="no orders were changed") as caught:
        connect(server.url, answer_timeout=1.2 if re.search("silence|drip", fault) else 20).request(
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
        [{"orderListId": 1, "orders": [{"orderId": 1}], "orderReports": []}],
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
    with pytest.raises(OutcomeUnknownError, match="the outcome is not known"):
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
        (405, HTML, "Fix the request"),
        (407, HTML, "Check the proxy"),
        (451, {"code": 0, "msg": "Service unavailable from a restricted location."}, "refuses this country or cloud"),
        (451, HTML, "refuses this country or cloud"),
        (451, b"", "refuses this country or cloud"),
        (418, HTML, "Try again in 120 s"),
        (429, b"", "Try again in 60 s"),
    ],
)
def test_refusals_say_so_whatever_their_body(
    serve: Serve, connect: Connect, status: int, body: object, words: str
) -> None:
    """A status that refuses is a refusal with or without a readable body, even a body cut short where that is safe."""
    answers = [answer(body, status)]
    if status != 404:
        answers.append(answer(body, status, length=5000))
    for content in answers:
        for method in ("DELETE", "GET"):
            server = serve(always([content]))
            with pytest.raises(RejectedError, match=words) as caught:
                connect(server.url).request(method, PATH, {"symbol": "BTCUSDT"})
            assert caught.value.http_status == status
            assert "no orders were changed" in str(caught.value)
            assert "Oops" not in str(caught.value)
            assert type(caught.value) is (RateLimitedError if status in {418, 429} else RejectedError)
            assert len(server.requests) == 1


@pytest.mark.parametrize("status", [400, 404, 406, 422])
@pytest.mark.parametrize(
    "body", ['{"code":-2011,"msg":"Order', "{", b"", HTML, {"code": "-1121"}, {"code": True, "msg": "x"}, {"msg": "x"}]
)
def test_a_refusal_without_a_readable_code_leaves_the_outcome_unknown(
    serve: Serve, connect: Connect, status: int, body: object
) -> None:
    """Whatever took the code away, it may have been the engine's, which may have canceled some orders first."""
    whole = body in (b"", HTML) or isinstance(body, dict)
    contents = [answer(body, status, length=5000)] if status == 404 and whole else [answer(body, status)]
    for content in contents:
        server = serve(always([content]))
        with pytest.raises(OutcomeUnknownError):
            connect(server.url).cancel_open_orders("BTCUSDT")
        with pytest.raises((RejectedError, NotSentError), match="no orders were changed"):
            connect(server.url).request("GET", PATH, {"symbol": "BTCUSDT"})


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (403, "<H1>403 ERROR</H1> configured to block access from your country.", "refuses this country or cloud"),
        (403, {"code": 0, "msg": "Service unavailable from a restricted location."}, "refuses this country or cloud"),
        (403, "<H1>403 ERROR</H1> Request blocked.", "firewall"),
        (400, {"code": -2008, "msg": "Invalid Api-Key ID."}, "Unknown API key"),
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


@pytest.mark.parametrize(
    ("code", "helps"), [*((code, True) for code in (-1021, -1022, -2008, -2015)), (-1002, False), (-1121, False)]
)
def test_a_refusal_mentions_the_doctor_where_that_finds_out_more(
    serve: Serve, connect: Connect, code: int, *, helps: bool
) -> None:
    """Which key it was and from where, the clock and the latency; once, and not where the fix is named."""
    with pytest.raises(RejectedError) as caught:
        connect(serve(always(answer({"code": code, "msg": "Refused."}, 400))).url).cancel_open_orders("BTCUSDT")
    assert str(caught.value).count("--doctor") == helps
    assert not helps or str(caught.value).endswith("; see %nbext --doctor.")


def test_a_network_that_fails_mentions_the_doctor(connect: Connect) -> None:
    """Whatever lies between here and the host."""
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        with pytest.raises(NotSentError) as caught:
            connect(f"http://127.0.0.1:{nobody.getsockname()[1]}").cancel_open_orders("BTCUSDT")
    assert str(caught.value).endswith("Check the host and the network; see %nbext --doctor.")


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


# Never sent


def never_sent(client: SpotClient, words: str) -> None:
    """Check that both a cancel and a question say that nothing was sent."""
    for method in ("DELETE", "GET"):
        began = time.monotonic()
        with pytest.raises(NotSentError, match=words) as caught:
            client.request(method, PATH, {"symbol": "BTCUSDT"})
        assert time.monotonic() - began < 8
        assert "not sent, because" in str(caught.value)
        assert "no orders were changed" in str(caught.value)


def test_a_refused_connection_was_not_sent(connect: Connect) -> None:
    """A port where nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    never_sent(connect(f"http://127.0.0.1:{port}"), "the connection was refused")
    never_sent(connect(f"http://localhost:{port}"), "the connection was refused")


def test_a_name_that_cannot_be_resolved_was_not_sent(connect: Connect) -> None:
    """The lookup fails before there is a connection (here at the guard, which lets no lookup out)."""
    never_sent(connect("https://exchange.invalid"), "not sent")


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
            "the connection timed out",
        )


def test_a_handshake_that_stalls_was_not_sent(connect: Connect) -> None:
    """TLS shares the time for connecting, and a listener that says nothing uses it up."""
    with socket.create_server(("127.0.0.1", 0)) as mute:
        never_sent(
            connect(f"https://127.0.0.1:{mute.getsockname()[1]}", connect_timeout=0.3),
            "the TLS handshake timed out",
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
        lambda _: drip(b"HTTP/1.1 200 Connection established\r\nX: " + b"x" * 250),
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
    never_sent(connect("https://exchange.invalid", connect_timeout=0.8), "not sent")
    assert [request.method for request in proxy.requests] == ["CONNECT"] * 2
    assert {request.target for request in proxy.requests} == {"exchange.invalid:443"}
    assert API_KEY not in repr(proxy.requests)


def test_proxy_settings_are_those_of_now(serve: Serve, connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """A client notices a proxy that is set, changed or taken away after it was made and used."""
    proxy = serve(lambda _: iter([answer(b"", 407)]))
    client = connect("https://exchange.invalid")
    never_sent(client, "not sent")
    assert proxy.connections == 0
    monkeypatch.setenv("HTTPS_PROXY", proxy.url)
    never_sent(client, "requires a valid user name and password")
    assert proxy.connections == 2
    monkeypatch.setenv("NO_PROXY", "*")
    never_sent(client, "not sent")
    monkeypatch.delenv("NO_PROXY")
    monkeypatch.delenv("HTTPS_PROXY")
    never_sent(client, "not sent")
    assert proxy.connections == 2


# Secrets


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
    client = connect(server.url, answer_timeout=0.5 if echoed == "silence" else 20, **CREDENTIALS[kind])
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
    assert soon(lambda: len(server.requests) == 3)
    shown = "\n".join([*map(everything_of, errors), caplog.text, *(repr(vars(record)) for record in caplog.records)])
    assert "BTCUSDT" in shown
    for request in server.requests:
        signature = request.target.rpartition("signature=")[2]
        for secret in (signature, unquote(signature), quote(signature), API_KEY, SECRET_KEY):
            assert secret not in shown
            assert secret[:30] not in shown


def test_a_debug_log_has_connections_and_no_signature(
    serve: Serve, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    """Every package logs all it has to say."""
    caplog.set_level(logging.DEBUG)
    server = serve(empty)
    connect(server.url).cancel_open_orders("BTCUSDT")
    assert server.requests[0].params["signature"]
    assert "connection (1): 127.0.0.1" in caplog.text
    assert "signature" not in caplog.text


# TLS


def test_a_certificate_that_nobody_vouches_for_means_not_sent(connect: Connect, tmp_path: Path) -> None:
    """A self-signed certificate is refused before the request is written."""
    server = TLSServer(empty, tmp_path)
    with contextlib.closing(server):
        never_sent(connect(server.url), "the host's certificate could not be verified")
    assert server.requests == []


@pytest.mark.parametrize("is_known", [True, False])
def test_a_client_that_was_prepared_reads_no_certificates_when_it_connects(
    connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """It has read them, connected to nobody, and trusts no more hosts than any other."""
    server = TLSServer(empty, tmp_path)
    bundle = tmp_path / "bundle.pem"
    with contextlib.closing(server), contextlib.closing(TLSServer(empty, tmp_path_of(tmp_path))) as other:
        bundle.write_bytes((server if is_known else other).certificate.read_bytes())
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(bundle))
        client = connect(server.url)
        client.prepare()
        assert server.connections == 0
        bundle.write_bytes(b"")
        if is_known:
            assert client.cancel_open_orders("BTCUSDT") == []
        else:
            never_sent(client, "could not be verified")


def tmp_path_of(folder: Path) -> Path:
    """Make a folder in a folder."""
    (folder / "other").mkdir()
    return folder / "other"


def test_the_same_rules_hold_over_tls(connect: Connect, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its certificate in REQUESTS_CA_BUNDLE the server is reached, one connection kept, and the deadline holds."""
    bodies = iter([[answer([])], [answer([])], itertools.chain([OK], drip(b" " * 250))])
    server = TLSServer(lambda _: b"".join(body) if isinstance(body := next(bodies), list) else body, tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    with contextlib.closing(server):
        client = connect(server.url, answer_timeout=0.4)
        assert client.cancel_open_orders("BTCUSDT") == []
        assert client.cancel_open_orders("BTCUSDT") == []
        began = time.monotonic()
        with pytest.raises(OutcomeUnknownError):
            client.cancel_open_orders("BTCUSDT")
        assert 0.35 < time.monotonic() - began < 8
        assert server.connections == 1
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        never_sent(connect(server.url.replace("localhost", "127.0.0.1")), "could not be verified")


@pytest.mark.parametrize(
    ("code", "text", "advice"),
    [
        (-2011, "This account may not place or cancel orders.", "Ask the exchange's support"),
        (-2010, "This action is disabled on this account.", "Ask the exchange's support"),
        (-2011, "Market is closed.", "The symbol may not be trading now"),
        (-1010, "Market is closed.", "The symbol may not be trading now"),
        (-2011, "This symbol is not permitted for this account.", "support: the account may not trade this symbol"),
        (-1013, "This symbol is restricted for this account.", "support: the account may not trade this symbol"),
        (-2010, "Rest API trading is not enabled.", "This host takes no orders"),
        (-1016, "This service is no longer available.", "see its announcements"),
        (-1020, "This operation is not supported.", "see its announcements"),
        (-3022, "You account's trading is banned.", "ask its support"),
        (-2099, "Something that no document has.", "ask its support"),
    ],
)
def test_refusals_that_share_a_code_have_advice_of_their_own(
    serve: Serve, connect: Connect, code: int, text: str, advice: str
) -> None:
    """There is nothing to fix in a request that the engine refuses because of the account or the symbol."""
    server = serve(lambda _: answer({"code": code, "msg": text}, status=400))
    with pytest.raises(RejectedError, match=advice) as refused:
        connect(server.url).cancel_open_orders("BTCUSDT")
    assert "Fix the request" not in str(refused.value)
    by_engine = code in {-1010, -1013} or -2999 <= code <= -2000
    assert ("no orders were changed" not in str(refused.value)) is by_engine
    assert str(refused.value).count("%open_orders") == by_engine


@pytest.mark.parametrize(
    ("method", "refusal", "advice"),
    [
        ("POST", (-1013, "Filter failure: LOT_SIZE"), "Fix the request"),
        ("POST", (-1111, "Parameter 'quantity' has too much precision."), "Fix the request"),
        ("GET", (-2013, "Order does not exist."), "Check the symbol and the ids"),
        ("GET", (-2039, "Client order ID is not correct for this order ID."), "Check the symbol and the ids"),
    ],
)
def test_a_refusal_of_any_request_says_what_is_wrong_with_it(
    serve: Serve, connect: Connect, method: str, refusal: tuple[int, str], advice: str
) -> None:
    """The advice is about the request that was made, which may be none that nbext makes itself."""
    code, text = refusal
    server = serve(lambda _: answer({"code": code, "msg": text}, status=400))
    with pytest.raises(RejectedError, match=advice):
        connect(server.url).request(method, "/api/v3/order", {"symbol": "BTCUSDT"})


@pytest.mark.parametrize(
    ("status", "body"), [(200, HTML), (200, b""), (200, b"{"), (203, HTML), (204, b""), (203, {"serverTime": 1})]
)
def test_a_page_in_place_of_an_answer_is_not_called_a_refusal(
    serve: Serve, connect: Connect, status: int, body: object
) -> None:
    """As from a network that wants a login first: there is nothing to fix in the request."""
    server = serve(lambda _: answer(body, status))
    words = "HTTP 203 is not an answer of this API" if isinstance(body, dict) else "not JSON, as that of a login page"
    with pytest.raises(RejectedError, match=rf"read failed, .*{words}; no .* asks for a login\.$") as failed:
        connect(server.url).request("GET", "/api/v3/openOrders")
    assert "refused" not in str(failed.value)
