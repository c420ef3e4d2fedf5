"""Nothing that is shown, kept or logged holds a secret: shells and notebooks fail, and all output is searched."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import textwrap
import time
from base64 import b64decode, b64encode
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import nbformat
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from nbclient import NotebookClient
from support.server import answer
from test_untrusted import SPELLINGS
from truth.proxy import Mishap, Proxy

from nbext.cancel.watchdog import Line
from nbext.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from support.server import PlainServer, Request

    from nbext.exchange import LocalExchange

PASSPHRASE = "tR0ub4dor-passphrase"
KINDS = ["HMAC", "RSA", "Ed25519"]

PREPARE = """
import logging, sys, traceback
logging.basicConfig(level=1, stream=sys.stdout, force=True)
for name in list(logging.root.manager.loggerDict): logging.getLogger(name).setLevel(1)
import http.client
http.client.HTTPConnection.debuglevel = 1
import nbext
from nbext.cancel import job as cancel
from nbext import session as clients
from nbext.cancel import unfinished as log
from nbext.spot import client as spot
from nbext.spot import transport as wire
from nbext import profiles
def attempt(call):
    try:
        return call()
    except BaseException as error:
        for locals_ in (False, True):
            print("".join(traceback.TracebackException.from_exception(error, capture_locals=locals_).format()))
        print(repr(error), str(error), vars(error), error.args, getattr(error, "failures", None))
        return error
def enriched(call):
    from rich.console import Console
    from rich.traceback import Traceback
    try:
        call()
    except BaseException as error:
        trace = type(error), error, error.__traceback__
        Console(width=200).print(Traceback.from_exception(*trace, show_locals=True, locals_max_string=None))
def wrapped(call):
    try:
        call()
    except BaseException as error:
        raise RuntimeError("mine") from error
%load_ext nbext
%xmode Verbose
%config NBExt
%config NBExt.confirm = 'never'
"""

FAIL = """
%nbext
%open_orders
df = %cancel_all BTCUSDT --yes --recv-window 700
%tb
attempt(lambda: nbext.cancel_all("BTCUSDT", yes=True, reconcile=0))
wrapped(lambda: nbext.cancel_all("BTCUSDT", yes=True, reconcile=0))
wrapped(lambda: nbext.open_orders("BTCUSDT"))
enriched(lambda: nbext.open_orders("BTCUSDT"))
%xmode Context
nbext.open_orders("BTCUSDT")
%xmode Plain
nbext.open_orders("BTCUSDT")
%xmode Verbose
attempt(lambda: nbext.open_orders("ETHUSDT"))
%cancel_all ETHUSDT NOSUCH --side SELL
"""

AFTERWARDS = """
import pickle
client = clients.client_for()
attempt(lambda: pickle.dumps(client))
attempt(lambda: pickle.dumps(client._signing_key))
wrapped(lambda: pickle.dumps(profiles.resolve()))
client
print(repr(client), str(client), f"{client!r}", vars(client), client.__dict__, client._signing_key)
print(clients._clients, profiles.resolve(), nbext.last, nbext.last.attrs if nbext.last is not None else None)
print(vars(client._wire), client._heard, vars(client._heard), client.heard())
attempt(lambda: nbext.connect("local", api_key=client._api_key, secret_key="sNotThisOne"))
%cancel_log
for one in nbext.cancel_log()["id"]: attempt(lambda: print(log.raw_answer(one)))
%who
%whos
%history
%history -g
%tb
%debug?
"""


@dataclass
class Stage:
    """An exchange behind a proxy, a home, and everything that must not be found there."""

    exchange: LocalExchange
    proxy: Proxy
    home: Path
    environment: dict[str, str]
    secrets: list[str] = field(default_factory=list)
    shown: list[str] = field(default_factory=list)

    def shell(self, *parts: str, environment: dict[str, str] | None = None) -> str:
        """Feed lines to an IPython of its own, and keep all that it writes."""
        lines = "\n".join(map(_cells, parts)) + "\nexit\n"
        ran = subprocess.run(
            [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
            input=lines,
            capture_output=True,
            text=True,
            timeout=100,
            env={**os.environ, **self.environment, **(environment or {})},
            check=False,
        )
        self.shown += [ran.stdout, ran.stderr]
        return ran.stdout + ran.stderr

    def search(self, signatures: Sequence[str] = (), *, history: bool = True) -> None:
        """Look for every secret, and every signature, in all that was shown and in every file that was written."""
        texts = {f"output {number}": text.encode("utf-8", "replace") for number, text in enumerate(self.shown)}
        for path in self.home.rglob("*"):
            if path.is_file() and "keys" not in path.parts:
                texts[str(path)] = path.read_bytes()
        path = self.home / "journal.sqlite3"
        with closing(Journal(path)) as journal:
            for entry in journal.entries():
                texts[f"answer {entry.intent.id}"] = journal.answer(entry.intent.id) or b""
        assert any(name.endswith("history.sqlite") for name in texts) is history
        sent = [talk.params["signature"] for talk in self.proxy.talks if "signature" in talk.params]
        assert sent or signatures
        for secret in [*self.secrets, *sent, *signatures]:
            for form in {secret, quote(secret, safe=""), unquote(secret)}:
                for piece in (form[:20], form[-20:]):
                    for name, text in texts.items():
                        at = text.find(piece.encode())
                        found = text[max(0, at - 300) : at + 60]
                        assert at < 0, f"{name} holds {piece[:6]}...: {found!r}"


def _cells(source: str) -> str:
    """Write lines as somebody types them: a blank line ends what is indented."""
    typed: list[str] = []
    for line in textwrap.dedent(source).strip().splitlines():
        if typed and typed[-1].startswith((" ", "for ")) and not line.startswith(" ") and line:
            typed.append("")
        typed.append(line)
    return "\n".join([*typed, ""])


def _credential(kind: str, exchange: LocalExchange, home: Path) -> tuple[dict[str, str], list[str]]:
    """Return environment variables of a key, and what of it must not be seen."""
    if kind == "HMAC":
        names = {"BINANCE_API_KEY": exchange.api_key, "BINANCE_API_SECRET": exchange.secret_key}
        return names, [exchange.api_key[:-4], exchange.secret_key]
    key = ed25519.Ed25519PrivateKey.generate() if kind == "Ed25519" else rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    api_key = exchange.add_key(public_key=public).api_key
    pem = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(PASSPHRASE.encode()),
    ).decode()
    path = home / "keys" / "key.pem"
    path.parent.mkdir()
    path.write_text(pem)
    bare = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    ).decode()
    lines = [line for each in (pem, bare) for line in each.splitlines() if not line.startswith("-----")]
    names = {
        "BINANCE_API_KEY": api_key,
        "BINANCE_PRIVATE_KEY": str(path),
        "BINANCE_PRIVATE_KEY_PASSPHRASE": PASSPHRASE,
    }
    # Every PKCS#8 file of a kind begins alike.
    return names, [api_key[:-4], PASSPHRASE, *(line for line in lines[1:] if len(b64decode(line + "==")) > 20)]


@pytest.fixture(params=KINDS)
def stage(request: pytest.FixtureRequest, exchange: LocalExchange, tmp_path: Path) -> Iterator[Stage]:
    """Set up a home, a key of each kind in the environment, and a proxy that sees every signature."""
    names, secrets = _credential(request.param, exchange, tmp_path)
    proxy = Proxy(int(exchange.url.rpartition(":")[2])).start()
    homes = ("HOME", "IPYTHONDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME")
    environment = {
        **dict.fromkeys(homes, str(tmp_path)),
        "NBEXT_BASE_URL": proxy.url,
        "NBEXT_JOURNAL": str(tmp_path / "journal.sqlite3"),
        "NO_COLOR": "1",
        **names,
    }
    yield Stage(exchange, proxy, tmp_path, environment, secrets)
    proxy.stop()


def test_shells_that_meet_every_fault_show_no_secret(stage: Stage) -> None:
    """Firewalls that echo the signed URL, lost and broken answers, limits: nothing of it is shown or kept."""
    faults, path = stage.exchange.faults, "*"
    faults.firewall("GET", path, echo=True)
    faults.firewall("DELETE", path, echo=True)
    faults.fail("DELETE", path, code=-1007)
    faults.truncate("DELETE", path, size=10)
    faults.truncate("GET", path, size=10)
    faults.lose_answer("GET", path, reset=True)
    faults.unavailable("DELETE", path)
    faults.lose_answer("DELETE", path, after_executing=False)
    stage.proxy.spoil(Mishap("proxy_page_after", "*", times=2))
    out = stage.shell(PREPARE, FAIL, FAIL, AFTERWARDS)
    for shown in (
        "403",
        "OutcomeUnknownError",
        "RejectedError",
        "RuntimeError: mine",
        "cannot be pickled",
        " columns]",
    ):
        assert shown in out
    faults.clear()
    faults.ban("*", path, retry_after=60)
    assert "418" in stage.shell(PREPARE, FAIL, AFTERWARDS)
    stage.search()


@pytest.mark.parametrize("stage", ["HMAC", "Ed25519"], indirect=True)
def test_an_exchange_that_is_down_and_keys_that_are_wrong_show_no_secret(stage: Stage) -> None:
    """A secret with a line end or a blank in it, a wrong one, a file that is no key, no exchange at all."""
    stage.shell(PREPARE, FAIL, AFTERWARDS)
    flawed = "sWrongSecretThatMustNotBeSeenAnywhere"
    stage.secrets.append(flawed)
    key = {"BINANCE_API_KEY": stage.exchange.api_key, "BINANCE_PRIVATE_KEY": "", "BINANCE_PRIVATE_KEY_PASSPHRASE": ""}
    stage.secrets.append(stage.exchange.api_key[:-4])
    for secret in (flawed, f"{flawed[:24]}\n{flawed[24:]}", f"{flawed} blank"):
        stage.shell(PREPARE, FAIL, AFTERWARDS, environment={**key, "BINANCE_API_SECRET": secret})
    broken = {"BINANCE_API_SECRET": "", "BINANCE_PRIVATE_KEY": flawed}
    stage.shell(PREPARE, FAIL, AFTERWARDS, environment={**key, **broken})
    stage.shell(PREPARE, FAIL, AFTERWARDS, environment={"BINANCE_PRIVATE_KEY_PASSPHRASE": flawed})
    stage.proxy.stop()
    assert "NotSentError" in stage.shell(PREPARE, FAIL, AFTERWARDS)
    stage.search()


@pytest.mark.parametrize("stage", ["HMAC"], indirect=True)
def test_arguments_that_are_refused_show_no_secret(stage: Stage) -> None:
    """`connect` raises before it has a client: its tracebacks have neither the arguments nor the environment."""
    secret = "sArgumentThatMustNotBeSeenAnywhere"
    path = stage.home / "keys"
    path.mkdir(exist_ok=True)
    (path / "secret").write_text(secret)
    stage.secrets.append(secret)
    calls = """
    def hidden(**more):
        read = lambda: open(sys.argv[0] and profiles.os.environ["SECRET_FILE"]).read()
        given = lambda value: read() if value is None else value(read()) if callable(value) else value
        return lambda: nbext.connect(**{name: given(value) for name, value in more.items()})
    attempt(hidden(base_url="https://user@example.invalid", api_key=None, secret_key=None))
    attempt(hidden(base_url="http://127.0.0.1:9", api_key=None))
    attempt(hidden(base_url="http://127.0.0.1:9", secret_key=None))
    attempt(hidden(base_url="http://127.0.0.1:9", api_key="k", secret_key=None, private_key="x"))
    attempt(hidden(base_url="http://127.0.0.1:9", api_key="k", private_key=None))
    attempt(hidden(base_url="http://127.0.0.1:9", api_key="k", private_key=None, passphrase=None))
    attempt(hidden(profile="nosuch", api_key=None, secret_key=None))
    attempt(hidden(profile="local", api_key=None, secret_key=None))
    attempt(hidden(profile="testnet", api_key=None, secret_key=None))
    wrapped(hidden(profile="local", api_key=None, secret_key=None, passphrase=None))
    class Hostile:
        def __init__(self, text): self.get_secret_value = lambda: text
        def __repr__(self): return self.get_secret_value()
        def __fspath__(self): raise ValueError(self.get_secret_value())
    forms = [str.encode, bytearray, Hostile, lambda text: [text], lambda text: {"a": text}, lambda text: (text, 5)]
    live = {"profile": "testnet"}
    for form in forms[2:]: attempt(hidden(**live, api_key=None, secret_key=form))
    for form in forms: enriched(hidden(**live, api_key=None, private_key=form))
    for form in forms: attempt(hidden(**live, api_key="k k", secret_key=form, passphrase=form))
    for form in forms[2:]: hidden(**live, api_key=form, secret_key=None)()
    urls = ["https://user:{}@example.invalid", "https://{}@example.invalid", "https://example.invalid/?key={}"]
    for url in urls: attempt(hidden(base_url=url.format))
    attempt(hidden(profile=None, api_key=None, secret_key=None))
    attempt(hidden(base_url=None, api_key=None, secret_key=None))
    attempt(hidden(base_url="http://127.0.0.1:9", api_key="k", secret=None))
    """
    out = stage.shell(PREPARE, calls, FAIL, environment={"SECRET_FILE": str(path / "secret")})
    assert out.count("ConfigurationError") >= 25
    stage.search()


@pytest.mark.parametrize("stage", ["HMAC", "RSA"], indirect=True)
def test_an_interrupt_in_the_middle_of_a_request_shows_no_secret(stage: Stage) -> None:
    """Ctrl-C while looking, sending or settling: the traceback has no frame with the signed URL."""
    interrupt = """
    import os, signal, threading
    def soon(seconds=0.5): threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT)).start()
    soon(); nbext.open_orders("BTCUSDT")
    soon(); attempt(lambda: nbext.open_orders("BTCUSDT"))
    soon(); wrapped(lambda: nbext.open_orders("BTCUSDT"))
    soon(); wrapped(lambda: clients.client_for().measure_clock_offset())
    soon(); soon(0.8); nbext.cancel_all("BTCUSDT", yes=True)
    soon(); soon(0.8); wrapped(lambda: nbext.cancel_all("BTCUSDT", yes=True))
    """
    stage.exchange.faults.answer_late("*", "*", seconds=2, times=None)
    out = stage.shell(PREPARE, interrupt, AFTERWARDS)
    assert out.count("KeyboardInterrupt") > 3
    assert "Interrupted" in out
    stage.search()


def _killed(stage: Stage) -> None:
    """Interrupt a script that no IPython protects, in the middle of a question."""
    script = "import nbext\nnbext.open_orders('BTCUSDT')"
    with subprocess.Popen(
        [sys.executable, "-X", "dev", "-c", script],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, **stage.environment},
    ) as child:
        ends = time.monotonic() + 20
        while not stage.proxy.talks and time.monotonic() < ends:
            time.sleep(0.02)
        child.send_signal(signal.SIGINT)
        stage.shown.append(child.communicate(timeout=20)[0])
    assert "Interrupted" in stage.shown[-1]


# nbclient and jupyter_client leave sockets of their event loop to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("stage", ["HMAC", "Ed25519"], indirect=True)
def test_a_saved_notebook_holds_no_secret(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """An executed notebook whose cells failed, with its widgets and progress bars, is saved and searched."""
    stage.exchange.faults.answer_late("*", "*", seconds=2)
    _killed(stage)
    stage.exchange.faults.clear()
    for name, value in stage.environment.items():
        monkeypatch.setenv(name, value)
    faults = stage.exchange.faults
    faults.firewall("*", "*", echo=True)
    faults.truncate("DELETE", "*", size=10)
    faults.firewall("DELETE", "*", echo=True, times=4)
    several = "attempt(lambda: nbext.cancel_all('BTCUSDT', 'ETHUSDT', 'BNBUSDT', yes=True, reconcile=0))"
    sources = [PREPARE, *FAIL.strip().splitlines(), several, "%cancel_all BTCUSDT ETHUSDT BNBUSDT SOLUSDT"]
    sources += ["%cancel_panel BTCUSDT", "%cancel_log --reconcile", "%nbext_guard BTCUSDT --yes", AFTERWARDS]
    notebooks: Any = nbformat.v4
    cells = [notebooks.new_code_cell(source.strip()) for source in sources]
    notebook = notebooks.new_notebook(cells=cells)
    resources = {"metadata": {"path": str(stage.home)}}
    NotebookClient(
        notebook, timeout=60, kernel_name="python3", allow_errors=True, store_widget_state=True, resources=resources
    ).execute()
    written: str = notebooks.writes(notebook)
    (stage.home / "executed.ipynb").write_text(written, "utf-8")
    assert "RejectedError" in written
    stage.search(history=False)


WATCHDOG = """
%nbext_guard BTCUSDT --yes
%nbext_guard ETHUSDT --yes --after 1s
from pathlib import Path
from nbext.cancel.guard import keeper
while not Path(f"/proc/{keeper.pid}/environ").read_bytes(): pass
for name in ("cmdline", "environ", "status"): print(Path(f"/proc/{keeper.pid}/{name}").read_bytes())
%nbext
attempt(lambda: [keeper, vars(keeper), keeper._guards, vars(keeper._line)])
enriched(lambda: keeper.keep(keeper._guards[0].job, after=0.1))
enriched(lambda: 1 / 0)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="there is no /proc")
def test_a_watchdog_shows_no_secret(stage: Stage) -> None:
    """Its arguments, its environment, its files, what it prints when all goes wrong, and the kernel that has one."""
    stage.exchange.faults.firewall("*", "*", echo=True, times=3)
    out = stage.shell(PREPARE, WATCHDOG, AFTERWARDS)
    assert "nbext.cancel.watchdog" in out
    assert "PYTHONPATH" in out
    assert "BINANCE" not in out.partition("nbext.cancel.watchdog")[2].partition("profile")[0]
    stage.exchange.faults.firewall("*", "*", echo=True, times=3)
    stage.exchange.faults.truncate("*", "*", size=10)
    names = {"api_key": "API_KEY", "secret_key": "API_SECRET", "private_key": "PRIVATE_KEY"}
    names["passphrase"] = "PRIVATE_KEY_PASSPHRASE"
    secrets = {name: stage.environment.get(f"BINANCE_{spelled}") for name, spelled in names.items()}
    client = {"base_url": stage.proxy.url, "profile": "custom", "clock_offset": None, **secrets}
    assert _watchdog(stage, client) == ""
    assert "ConfigurationError" in _watchdog(stage, {**client, "base_url": "ftp://a"})
    stage.search()


def _watchdog(stage: Stage, client: dict[str, str | None]) -> str:
    """Let a watchdog run two guards; return what it prints."""
    mine, theirs = socket.socketpair()
    command = [sys.executable, "-X", "dev", "-m", "nbext.cancel.watchdog"]
    with (
        theirs,
        closing(Line(mine)) as line,
        subprocess.Popen(
            command, stdin=theirs.fileno(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process,
    ):
        theirs.close()
        line.send(do="begin", kernel=os.getpid(), environment={"NBEXT_JOURNAL": stage.environment["NBEXT_JOURNAL"]})
        for number, prefix in enumerate([None, "a"]):
            terms = {"symbols": ["BTCUSDT"], "prefix": prefix, "recv_window": None}
            line.send(do="guard", id=number, client=client, terms=terms, after=None)
        line.send(do="end")
        said, _ = process.communicate(timeout=70)
        stage.shown += [said, str(line.receive())]
    return said


@pytest.mark.parametrize("stage", ["HMAC", "RSA"], indirect=True)
def test_echoes_in_every_spelling_show_no_secret(stage: Stage, serve: Callable[..., PlainServer]) -> None:
    """Pages, messages and valid reports that hold what was sent, as frameworks write it."""
    spellings = list(SPELLINGS.values())
    signatures: list[str] = []

    def respond(request: Request) -> bytes:
        signature = request.params.get("signature")
        if signature is None:
            return answer({"serverTime": time.time_ns() // 1_000_000})
        signatures.append(signature)
        echo = f"{request.method} {request.target} HTTP/1.1\r\nX-MBX-APIKEY: {request.headers['X-MBX-APIKEY']}\r\n"
        spelled = spellings[len(signatures) % len(spellings)](echo)
        body = spelled if isinstance(spelled, bytes) else spelled.encode()
        text = body.decode("latin-1")
        if len(signatures) % 3 == 0:
            return answer(body, (403, 400, 502)[len(signatures) % 9 // 3])
        if len(signatures) % 3 == 1:
            return answer({"code": -1100, "msg": text}, 400)
        order = {"symbol": "BTCUSDT", "orderId": 7, "orderListId": -1, "origQty": "1", "status": "NEW", "echo": text}
        return answer(
            [{**order, "clientOrderId": "own", "status": "CANCELED" if request.method == "DELETE" else "NEW"}]
        )

    environment = {"NBEXT_BASE_URL": serve(respond).url}
    out = stage.shell(PREPARE, FAIL, FAIL, FAIL, AFTERWARDS, environment=environment)
    assert "-1100" in out
    assert "<hidden>" in out
    stage.search(signatures)


@pytest.mark.parametrize("stage", ["HMAC"], indirect=True)
def test_urls_with_passwords_show_none(stage: Stage, serve: Callable[..., PlainServer]) -> None:
    """Of a proxy that refuses, breaks off or is not there; in a base URL in the environment and in the file."""
    password = "sPasswordThatMustNotBeSeen"
    stage.secrets += [password, b64encode(f"user:{password}".encode()).decode()]
    stage.shell(PREPARE, FAIL, AFTERWARDS)

    def echo(request: Request) -> bytes:
        return answer(f"{request.target} {dict(request.headers)}", 407 if len(server.requests) % 2 else 502)

    server = serve(echo)
    for port in (server.url.rpartition(":")[2], "9"):
        for scheme in ("http", "socks5h"):
            proxy = {
                "HTTPS_PROXY": f"{scheme}://user:{password}@127.0.0.1:{port}",
                "NBEXT_BASE_URL": "https://a.invalid",
            }
            out = stage.shell(PREPARE, FAIL, AFTERWARDS, environment=proxy)
            assert "NotSentError" in out or "ConfigurationError" in out
    url = f"https://user:{password}@a.invalid"
    assert "NBEXT_BASE_URL cannot be used" in stage.shell(PREPARE, FAIL, environment={"NBEXT_BASE_URL": url})
    path = stage.home / "nbext" / "profiles.toml"
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    path.write_text(f'[desk]\nbase_url = "{url}"\n')
    desk = {"NBEXT_BASE_URL": "", "NBEXT_PROFILE": "desk"}
    assert "base_url of profile 'desk' cannot be used" in stage.shell(PREPARE, FAIL, environment=desk)
    path.unlink()
    stage.search()
