from __future__ import annotations

import base64
import gzip
import html
import json
import os
import pickle
import re
import subprocess
import sys
import time
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from support.jobs import make_job
from support.server import answer

from nbext.errors import NbextError, RejectedError
from nbext.spot.client import SpotClient
from nbext.spot.scrubbing import scrub
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import PlainServer, Request

API_KEY = "kT7zPq2mVw9XcR4bNs8LhJ3gFd6YtA1eKuQ5iZoWxB0vCyMnDpErSaGjHlTfUkIq"
SECRET_KEY = "sR5nKd8WqT2vXz7LbHm4PcJy9GfA3eUo6IiQ1tYwVrN0sBxMkZpDhCgFjElSaOuT"

HOSTILE = [
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\u202eevil\u2066",
    "\u200f\u061c",
    "a\r\nb\x00\x7f",
    "\ud83d\udc80 \udc00",
    "\u2028\u2029\ufeff\u200b",
]


def is_safe(text: str) -> bool:
    """Whether a terminal shows a text and does nothing else, and any stream can write it."""
    text.encode()
    return text.isprintable()


@pytest.mark.parametrize("text", HOSTILE)
def test_what_a_terminal_might_obey_is_escaped(text: str) -> None:
    """Escape sequences, controls, bidirectional marks and lone surrogates become escapes; the rest stays."""
    assert is_safe(printable(text))
    assert is_safe(str(NbextError(f"BTCUSDT: {text}")))
    assert printable("BTC１２３ — naïve 日本") == "BTC１２３ — naïve 日本"
    assert printable("a\n\tb\x1b", lines=True) == "a\n\tb\\x1b"


@pytest.mark.parametrize("text", HOSTILE)
def test_what_an_exchange_says_reaches_no_terminal_as_it_is(text: str, serve: Callable[..., PlainServer]) -> None:
    """Neither an error's message and attributes nor a summary line holds what a terminal might obey."""
    said: list[str] = []

    def respond(_: object) -> bytes:
        return reply

    server = serve(respond)
    client = SpotClient(server.url, api_key="kTest", secret_key="sTest")
    reply = answer(f'{{"code":-1100,"msg":{_json(text)}}}', 400)
    with pytest.raises(RejectedError) as caught:
        client.request("GET", "/api/v3/account")
    assert is_safe(str(caught.value))
    assert is_safe(caught.value.msg)
    assert pickle.loads(pickle.dumps(caught.value)).args == caught.value.args  # noqa: S301 - written here
    report = '[{"symbol":X,"orderId":1,"orderListId":1,"contingencyType":X,"orders":[],"orderReports":[{"symbol":X,'
    report += '"orderId":1,"orderListId":1,"origClientOrderId":X,"status":X,"origQty":"1","executedQty":"0"}]}]'
    reply = answer(report.replace("X", _json(text)))
    with pytest.raises(NbextError) as odd:
        make_job(["BTCUSDT"], client=client, reconcile=0, say=said.append).run()
    assert all(map(is_safe, [*said, str(odd.value), *map(str, getattr(odd.value, "failures", {}).values())]))
    assert said


PLAIN_TERMINAL = """
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
for cell in ("%load_ext nbext", "%config NBExt.confirm = 'always'", "%cancel_all \u5e01\u5b89USDT", "%cancel_log"):
    assert shell.run_cell(cell).success, cell
assert not shell.run_cell("%cancel_all \u5e01\u5b89 --yes").success
"""


@pytest.mark.parametrize("encoding", ["ascii", "cp1252"])
def test_a_symbol_that_a_terminal_cannot_write_takes_no_word_away(
    serve: Callable[..., PlainServer], tmp_path: Path, encoding: str
) -> None:
    """Preview, question, outcomes, journal and error are all written, with escapes for what the encoding lacks."""
    order = {"symbol": "\u5e01\u5b89USDT", "orderId": 1, "orderListId": -1, "side": "BUY", "type": "LIMIT"}
    order |= {"price": "1.0", "origQty": "2.0", "executedQty": "0.0", "timeInForce": "GTC"}
    opened = {**order, "clientOrderId": "a", "status": "NEW", "isWorking": True, "time": 1700000000000}
    report = {**order, "origClientOrderId": "a", "clientOrderId": "b", "status": "CANCELED", "transactTime": 1}

    def respond(request: Request) -> bytes:
        if request.params["symbol"] != order["symbol"]:
            return answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        return answer([report if request.method == "DELETE" else opened])

    environment = {**os.environ, "NBEXT_BASE_URL": serve(respond).url, "NBEXT_JOURNAL": str(tmp_path / "journal")}
    environment |= {"BINANCE_API_KEY": API_KEY, "BINANCE_API_SECRET": SECRET_KEY, "PYTHONIOENCODING": encoding}
    command = [sys.executable, "-c", PLAIN_TERMINAL]
    done = subprocess.run(command, env=environment, input=b"1\n", capture_output=True, timeout=60, check=False)
    said = done.stdout.decode(encoding)
    assert done.returncode == 0, said + done.stderr.decode()
    for words in (
        r"all 1 open order on \u5e01\u5b89USDT, worth 2",
        r"\u5e01\u5b89USDT: 1 order canceled",
        r"cancel all on \u5e01\u5b89USDT",
        r"RejectedError: \u5e01\u5b89 on custom",
    ):
        assert words in said


TEE = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance(colors="nocolor")
class Tee:  # as many programs have, to write what is printed into a file as well
    write, flush = sys.__stdout__.write, sys.__stdout__.flush
sys.stdout = Tee()
for cell in ("%load_ext nbext", "%cancel_all A B C D E F G H I J --yes", "%cancel_log", "%nbext"):
    assert shell.run_cell(cell).success, cell
"""


def test_any_standard_output_will_do(serve: Callable[..., PlainServer], tmp_path: Path) -> None:
    """A stream that only writes takes no progress, and a call of more than a second goes on all the same."""

    def respond(request: Request) -> bytes:
        time.sleep(0.8 * (request.method == "DELETE"))
        return answer([])

    server = serve(respond)
    environment = {**os.environ, "NBEXT_BASE_URL": server.url, "NBEXT_JOURNAL": str(tmp_path / "journal")}
    environment |= {"BINANCE_API_KEY": API_KEY, "BINANCE_API_SECRET": SECRET_KEY}
    command = [sys.executable, "-c", TEE]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "nothing was open" in done.stdout
    assert sum(request.method == "DELETE" for request in server.requests) == 10


def test_an_amount_beyond_all_measure_is_not_written_out(serve: Callable[..., PlainServer]) -> None:
    """A quantity of a hundred million digits becomes neither a line nor a delay."""
    report = {"symbol": "BTCUSDT", "orderId": 1, "orderListId": -1, "origClientOrderId": "own", "status": "CANCELED"}
    server = serve(lambda _: answer(json.dumps([{**report, "origQty": "1e99999999", "executedQty": "1e99999999"}])))
    said: list[str] = []
    client = SpotClient(server.url, api_key="kTest", secret_key="sTest")
    make_job(["BTCUSDT"], client=client, say=said.append).run()
    assert said[0].startswith("BTCUSDT: 1 order canceled [")


def _json(text: str) -> str:
    return '"' + "".join(f"\\u{ord(c):04x}" for c in text) + '"'


# What was sent, echoed


def _query(echo: str) -> dict[str, str]:
    return dict(parse_qsl(urlsplit(echo.split(" ")[1]).query))


SPELLINGS: dict[str, Callable[[str], str | bytes]] = {
    "plain": str,
    "HTML": html.escape,
    "HTML, numbered": lambda echo: re.sub(r"[/+=&%]", lambda found: f"&#x{ord(found[0]):X};", echo),
    "HTML, decimal": lambda echo: re.sub(r"[/+=&%]", lambda found: f"&#{ord(found[0])};", echo),
    "HTML, all named": lambda echo: unquote(echo).replace("/", "&sol;").replace("+", "&plus;").replace("=", "&equals;"),
    "JSON with \\/": lambda echo: json.dumps(echo).replace("/", "\\/"),
    "all as \\u": lambda echo: "".join(f"\\u{ord(c):04x}" for c in echo),
    "JSON in JSON": lambda echo: json.dumps({"request": json.dumps({"url": unquote(echo)})}).replace("/", "\\/"),
    "UTF-16": lambda echo: echo.encode("utf-16"),
    "UTF-16 without a mark": lambda echo: echo.encode("utf-16-le"),
    "UTF-32": lambda echo: echo.encode("utf-32-be"),
    "encoded once more": lambda echo: quote(echo, safe=""),
    "encoded three times": lambda echo: quote(quote(quote(echo, safe=""), safe=""), safe=""),
    "lower-case escapes": lambda echo: re.sub(r"%[0-9A-F]{2}", lambda found: found[0].lower(), quote(echo, safe="")),
    "lower case": str.lower,
    "upper case": str.upper,
    "base64": lambda echo: base64.b64encode(echo.encode()),
    "base64, wrapped": lambda echo: base64.encodebytes(echo.encode()),
    "base64 for URLs": lambda echo: base64.urlsafe_b64encode(b"x" + echo.encode()),
    "wrapped": lambda echo: "\n".join(echo[start : start + 76] for start in range(0, len(echo), 76)),
    "compressed": lambda echo: gzip.compress(echo.encode()),
    "decoded": unquote,
    "as a dict": lambda echo: repr(_query(echo)) + echo.partition("HTTP/1.1")[2],
    "as an object": lambda echo: json.dumps({"query": _query(echo)}),
    "as an object with \\/": lambda echo: json.dumps({"query": _query(echo)}).replace("/", "\\/"),
    "as an object with \\u002b": lambda echo: (
        json.dumps({"query": _query(echo)}).replace("+", "\\u002b").replace("=", "\\u003d")
    ),
    "XML": lambda echo: f"<p n='signature'>{unquote(echo.partition('signature=')[2].partition(' ')[0])}</p>",
    "a log line": lambda echo: f'client: 1.2.3.4, request: "{echo.partition(" HTTP")[0]}", host: "x"',
    "cut off": lambda echo: echo[: echo.index("signature=") + 40],
    "a part, unnamed": lambda echo: f"near {_query(echo)['signature'][8:48]} of {echo.rstrip()[-40:]}",
    "Latin-1": lambda echo: "accès refusé ".encode("latin-1") + echo.encode(),
}


def _from_base64(text: str) -> str:
    runs = re.findall(r"[A-Za-z0-9+/]{8,}", text.replace("-", "+").replace("_", "/"))
    return "".join(base64.b64decode(run[: len(run) // 4 * 4]).decode("latin-1") for run in runs)


def longest_shown(secret: str, text: str) -> int:
    """Return the length of the longest part of a secret that a text shows to whoever knows encodings."""
    forms = [text]
    for undo in (
        html.unescape,
        unquote,
        lambda text: text.replace("\\/", "/"),
        lambda text: re.sub(r"\\u([0-9a-fA-F]{4})", lambda found: chr(int(found[1], 16)), text),
        lambda text: re.sub(r"[\0\s]", "", text),
        _from_base64,
    ):
        forms += [undo(form) for form in forms[-2:]]
    longest = 0
    for form in {form.lower() for form in forms}:
        for start in range(len(secret)):
            while start + longest < len(secret) and secret[start : start + longest + 1].lower() in form:
                longest += 1
    return longest


def test_an_echo_that_is_wrapped_right_before_the_key_keeps_its_document() -> None:
    """Hiding a key that begins a line leaves a document of the same form, whose other fields can be believed."""
    key = "Ab3" * 21 + "Z"
    body = json.dumps([{"symbol": "BTCUSDT", "echo": f"X-MBX-APIKEY: \n{key}\r\n", "status": "CANCELED"}])
    (report,) = json.loads(scrub(body.encode(), (key, "s" * 64)))
    assert (report["symbol"], report["status"]) == ("BTCUSDT", "CANCELED")
    assert key not in report["echo"]


def _pem(kind: str) -> bytes:
    key = ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else rsa.generate_private_key(65537, 2048)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


@pytest.fixture(scope="module", params=["HMAC", "Ed25519", "RSA"])
def secret(request: pytest.FixtureRequest) -> dict[str, str | bytes]:
    """Return a secret of each kind, as `SpotClient` takes it."""
    return {"secret_key": SECRET_KEY} if request.param == "HMAC" else {"private_key": _pem(request.param)}


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_an_echo_is_hidden_in_whatever_spelling(
    spelling: str, secret: dict[str, str], serve: Callable[..., PlainServer]
) -> None:
    """Neither messages nor the kept body nor a frame shows a key or a signature that came back."""
    sent: list[Request] = []

    def respond(request: Request) -> bytes:
        sent.append(request)
        echo = f"{request.method} {request.target} HTTP/1.1\r\nX-MBX-APIKEY: {request.headers['X-MBX-APIKEY']}\r\n"
        spelled = SPELLINGS[spelling](echo)
        body = spelled if isinstance(spelled, bytes) else spelled.encode()
        text = body.decode("latin-1")
        if place == "msg":
            return answer({"code": -1100, "msg": text}, 400)
        if place == "field":
            report = {"symbol": "BTCUSDT", "orderId": 7, "orderListId": -1, "status": "CANCELED", "echo": text}
            return answer([{**report, "origQty": "1.10", text: 1.5}])
        return answer(body, 403)

    server = serve(respond)
    client = SpotClient(server.url, api_key=API_KEY, **secret)  # type: ignore[arg-type]
    for place in ("body", "msg", "field"):
        said: list[str] = []
        shown: list[str] = []
        try:
            frame = make_job(["BTCUSDT"], client=client, say=said.append).run()
            shown += [str(frame.to_dict()), repr(frame.attrs), frame.to_csv()]
            assert frame["orderId"].tolist() == [7]
            assert frame["origQty"].tolist() == [1.1]
            shown.append(repr(client.cancel_open_orders("BTCUSDT")))
        except RejectedError as error:
            assert place != "field"
            shown += [str(error), repr(error), str(vars(error))]
            with pytest.raises(RejectedError):
                client.cancel_open_orders("BTCUSDT")
        status, kept = client.heard()
        assert status == {"body": 403, "msg": 400, "field": 200}[place]
        assert kept
        shown += [*said, kept.decode("latin-1"), kept.decode("utf-16", "replace"), kept.decode("utf-32", "replace")]
        try:
            shown.append(repr(client.request("GET", "/api/v3/account")))
        except RejectedError as error:
            shown += [str(error), error.msg]
        shown.append((client.heard()[1] or b"").decode("latin-1"))
        for text in shown:
            assert longest_shown(API_KEY, text) <= 12, (place, text)
            for request in sent:
                assert longest_shown(request.params["signature"], text) <= 16, (place, text)


def test_a_body_without_an_echo_is_kept_as_it_came() -> None:
    """Escapes, entities, other scripts and words about keys change nothing by themselves."""
    secrets = [API_KEY, "a+b/c=" * 5]
    for text in (
        "{}",
        '{"code":-2015,"msg":"Invalid API-key, IP, or permissions for action."}',
        '{"code":-1022,"msg":"Signature for this request is not valid."}',
        '[{"symbol":"１２３４５６","note":"a\\/b \\u002b &amp; 50%2F = 5 %"}]',
        "<html>&copy; 100%</html>",
        "\\" * 1000,
        "",
    ):
        assert scrub(text.encode(), secrets) == text.encode()
    for raw in ("accès".encode("latin-1"), '{"a":"é"}'.encode("utf-16")):
        assert scrub(raw, secrets) == raw
    assert scrub(b"\x1f\x8b\x08\x00\xff\xfe\x80", secrets) == b"<7 bytes that are not text>"
    assert scrub(b"kTest signed", ["kTest", ""]) == b"kTest signed"


def test_what_is_named_a_key_or_a_signature_is_hidden_whatever_it_is() -> None:
    """An answer may echo another request's signature, which is nobody's to see either."""
    assert scrub(b"GET /?a=1&signature=abc%2B&b=2", []) == b"GET /?a=1&signature=<hidden>&b=2"
    assert scrub(b"a%26Signature%3Dabc d", []) == b"a&Signature=<hidden> d"
    assert scrub(b"X-MBX-APIKEY: abc, api-key=def", []) == b"X-MBX-APIKEY: <hidden> api-key=<hidden>"
    assert scrub(b'{"signature": "abc=", "n": 1}', []) == b'{"signature":"<hidden>","n":1}'
    deep = "signature=abc"
    for _ in range(30):
        deep = quote(deep, safe="")
    assert b"abc" not in scrub(deep.encode(), [])


def test_scrubbing_takes_time_in_proportion() -> None:
    """Ten times the orders take about ten times as long, with an echo and without."""
    report = {"symbol": "BTCUSDT", "orderId": 1, "price": "0.089853", "clientOrderId": "pXLV6Hz6mprAcVYpVMTGgx"} | {
        f"field{number}": "some text" for number in range(12)
    }

    def seconds(orders: int, echo: str) -> float:
        body = json.dumps([{**report, "echo": echo}, *[report] * orders], separators=(",", ":")).encode()
        fastest = 9.0
        for _ in range(3):
            began = time.thread_time()
            scrub(body, [API_KEY, SECRET_KEY])
            fastest = min(fastest, time.thread_time() - began)
        return fastest

    for echo in ("", f"&#x2F;{API_KEY} \\\\\\ %2525"):
        assert seconds(20_000, echo) < 40 * seconds(2_000, echo)
    assert seconds(200, "") < seconds(200, "&")
