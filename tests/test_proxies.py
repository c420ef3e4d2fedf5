"""Proxies and certificates as people set them: what works, and which fault is named."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.networking import (
    TLSProxy,
    TLSServer,
    Tunnels,
    dead_address,
    http_proxy,
    need_pysocks,
    socks_proxy,
    web_server,
)
from support.server import Request, answer

from nbext.spot.transport import Unanswered, Wire

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def exchange(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TLSServer]:
    """Serve as exchange.invalid behind TLS, with its certificate trusted: only a proxy finds the way."""

    def respond(request: Request) -> bytes:
        return answer(request.target) * (1 + request.target.count("more"))

    with contextlib.closing(TLSServer(respond, tmp_path, name="exchange.invalid")) as server:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
        yield server


@pytest.fixture
def start() -> Iterator[Callable[[Tunnels], Tunnels]]:
    """Close proxies when the test ends."""
    with contextlib.ExitStack() as open_ones:
        yield lambda proxy: open_ones.enter_context(contextlib.closing(proxy))


def fault(url: str, **settings: float) -> str:
    """Send, see that nothing went out, and give reason and advice as one line."""
    with contextlib.closing(Wire(url, {}, proxied=True, **settings)) as line, pytest.raises(Unanswered) as caught:
        line.send("DELETE", "/api?signature=secret")
    assert not caught.value.written
    assert "secret" not in caught.value.reason + caught.value.advice
    return f"{caught.value.reason}. {caught.value.advice}"


def test_a_tunnel_keeps_its_connection(
    exchange: TLSServer, start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """One CONNECT serves many requests, with the password from the proxy's URL."""
    asked: list[str] = []
    proxy = start(http_proxy(exchange.port, asked))
    monkeypatch.setenv("https_proxy", f"http://me:pass@127.0.0.1:{proxy.port}")
    with contextlib.closing(Wire(exchange.url, {"X-Key": "k"}, proxied=True)) as line:
        assert [line.send("DELETE", f"/{number}").body for number in range(3)] == [b"/0", b"/1", b"/2"]
    (head,) = asked
    assert head.startswith(f"CONNECT exchange.invalid:{exchange.port} HTTP/1.")
    assert "Proxy-Authorization: Basic bWU6cGFzcw==" in head
    assert "X-Key" not in head


@pytest.fixture
def tls_proxy(
    exchange: TLSServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Callable[..., TLSProxy]]:
    """Start a proxy that speaks TLS, is known to `REQUESTS_CA_BUNDLE` as the exchange is, and is set as proxy."""
    folder = tmp_path / "proxy"
    folder.mkdir()
    with contextlib.ExitStack() as open_ones:

        def start(**settings: Any) -> TLSProxy:
            proxy = open_ones.enter_context(contextlib.closing(TLSProxy(exchange.port, folder, **settings)))
            both = tmp_path / "both.pem"
            both.write_text(exchange.certificate.read_text() + proxy.certificate.read_text())
            monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(both))
            monkeypatch.setenv("HTTPS_PROXY", f"https://me:pass@localhost:{proxy.port}")
            return proxy

        yield start


def test_a_proxy_may_be_reached_through_tls(exchange: TLSServer, tls_proxy: Callable[..., TLSProxy]) -> None:
    """TLS to the proxy, and TLS to the exchange within it, both checked against the certificates that are set."""
    proxy = tls_proxy()
    with contextlib.closing(Wire(exchange.url, {"X-Key": "k"}, proxied=True)) as line:
        line.open_ahead(2)
        assert [line.send("DELETE", f"/{number}").body for number in range(3)] == [b"/0", b"/1", b"/2"]
    assert all(head.startswith(f"CONNECT exchange.invalid:{exchange.port} HTTP/1.") for head in proxy.asked)
    assert all("Proxy-Authorization: Basic bWU6cGFzcw==" in head and "X-Key" not in head for head in proxy.asked)


def test_faults_of_the_certificate_of_a_proxy_are_named(
    exchange: TLSServer, tls_proxy: Callable[..., TLSProxy], monkeypatch: pytest.MonkeyPatch
) -> None:
    """An authority that nobody knows, and another host's certificate: of the proxy, not of the exchange."""
    proxy = tls_proxy()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(exchange.certificate))
    told = fault(exchange.url).replace(str(proxy.port), "PORT")
    assert told == (
        "the certificate of the proxy https://localhost:PORT could not be verified: its issuer is not known here. "
        "Point REQUESTS_CA_BUNDLE at a file with its authority's certificate, in PEM."
    )
    other = tls_proxy(name="other.invalid")
    told = fault(exchange.url).replace(str(other.port), "PORT")
    assert told == (
        "the certificate of the proxy https://localhost:PORT could not be verified: it is for another host. "
        "Check the proxy's address in HTTPS_PROXY."
    )
    assert not proxy.asked
    assert not other.asked


def test_a_connection_through_a_tls_proxy_is_kept(exchange: TLSServer, tls_proxy: Callable[..., TLSProxy]) -> None:
    """Each new one would cost four round trips; what has nothing unread, in either TLS, serves the next request."""
    proxy = tls_proxy()
    with contextlib.closing(Wire(exchange.url, {}, proxied=True)) as line:
        sent = [line.send("DELETE", f"/{number}") for number in range(4)]
    assert [answer.body for answer in sent] == [b"/0", b"/1", b"/2", b"/3"]
    assert len(proxy.asked) == 1
    assert len({answer.connection for answer in sent}) == 1


def test_what_follows_an_answer_through_a_tls_proxy_is_no_answer(
    exchange: TLSServer, tls_proxy: Callable[..., TLSProxy]
) -> None:
    """Such a connection serves no further request."""
    proxy = tls_proxy()
    with contextlib.closing(Wire(exchange.url, {}, proxied=True)) as line:
        for target in ("/more", "/more-more", "/2", "/3"):
            assert line.send("DELETE", target).body == target.encode()
    assert len(proxy.asked) == 3


def test_a_proxy_that_drips_has_the_timeouts_in_all(exchange: TLSServer, tls_proxy: Callable[..., TLSProxy]) -> None:
    """Within TLS there is nothing to read before a whole record has arrived, and each piece took the whole time."""
    tls_proxy(piece=10, pause=0.1)
    began = time.monotonic()
    assert "timed out" in fault(exchange.url, connect_timeout=0.5)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("scheme", ["socks5h", "socks5"])
def test_socks_proxies_work(
    start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch, scheme: str, tmp_path: Path
) -> None:
    """With TLS inside, a password, and one connection kept; the proxy resolves names where it is asked to."""
    need_pysocks()
    asked: list[str] = []
    # socks5 looks the name up here, so that it has to be one of this machine.
    name = "exchange.invalid" if scheme == "socks5h" else "localhost"
    server = TLSServer(lambda request: answer(request.target), tmp_path, name=name)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(server.certificate))
    proxy = start(socks_proxy(server.port, asked, password=b"pass"))
    monkeypatch.setenv("HTTPS_PROXY", f"{scheme}://me:pass@127.0.0.1:{proxy.port}")
    with contextlib.closing(server), contextlib.closing(Wire(server.url, {}, proxied=True)) as line:
        answers = [line.send("DELETE", f"/{number}") for number in range(3)]
        assert [each.body for each in answers] == [b"/0", b"/1", b"/2"]
        assert len({each.connection for each in answers}) == 1
    assert asked == ["me", f"{name if scheme == 'socks5h' else '127.0.0.1'}:{server.port}"]


def test_a_socks_proxy_without_pysocks_is_named(tmp_path: Path) -> None:
    """It says that PySocks is missing, and how to get it."""
    program = """
import sys
sys.modules["socks"] = None  # as where it is not installed
from nbext.spot.transport import Unanswered, Wire
try:
    Wire("https://exchange.invalid", {}, proxied=True).send("DELETE", "/")
except Unanswered as fault:
    print(fault.written, fault.reason, fault.advice)
"""
    command = [sys.executable, "-c", program]
    environment = {"ALL_PROXY": "socks5h://me:secret@127.0.0.1:9", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout == (
        "False the proxy socks5h://127.0.0.1:9 is a SOCKS proxy, and PySocks is not installed "
        "Run %pip install pysocks, then restart the kernel.\n"
    )


def test_faults_of_socks_proxies_are_named(
    exchange: TLSServer, start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wrong password, a host it cannot reach, nobody there, no answer, and something that is no SOCKS proxy."""
    need_pysocks()

    def told(port: int, credentials: str = "") -> str:
        monkeypatch.setenv("HTTPS_PROXY", f"socks5h://{credentials}127.0.0.1:{port}")
        return fault(exchange.url, connect_timeout=0.5).replace(str(port), "PORT")

    with_password = start(socks_proxy(exchange.port, [], password=b"pass"))
    check = "Check the proxy's address in HTTPS_PROXY."
    proxy = "the proxy socks5h://127.0.0.1:PORT"
    assert told(with_password.port, "me:secret@") == f"{proxy} requires a valid user name and password. {check}"
    assert told(with_password.port) == f"{proxy} requires a valid user name and password. {check}"
    cut_off = start(socks_proxy(exchange.port, [], code=4))
    assert told(cut_off.port) == f"{proxy} could not connect to exchange.invalid:{exchange.port}. {check}"
    assert told(free_port()) == f"{proxy} refused the connection. {check}"
    with dead_address() as (_, port):
        assert told(port) == f"{proxy} did not answer in time. {check}"
    web = start(http_proxy(0, []))  # it waits for a line that does not come
    assert told(web.port) == f"{proxy} did not answer in time. {check}"
    talker = start(web_server())
    assert told(talker.port) == f"the server at {proxy[10:]} does not answer like a SOCKS proxy. {check}"


def test_a_socks_proxy_that_drips_has_the_connect_timeout_in_all(
    start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """PySocks gives each byte the whole time."""
    need_pysocks()
    through = threading.Event()

    def drip(client: socket.socket) -> bool:
        for reply in (b"\x05\x00", b"\x05\x00\x00\x01" + bytes(6)):
            client.recv(99)
            for number in range(len(reply)):
                time.sleep(0.25)
                client.sendall(reply[number : number + 1])
        through.set()
        return False

    monkeypatch.setenv("HTTPS_PROXY", f"socks5h://127.0.0.1:{start(Tunnels(0, drip)).port}")
    began = time.monotonic()
    assert "did not answer in time" in fault("https://exchange.invalid", connect_timeout=1.5)
    assert time.monotonic() - began < 12 * 0.25
    assert through.wait(20)  # what came late is closed by whoever opened it


def test_a_slow_tunnel_leaves_tls_the_rest_of_the_time(
    start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its answer comes late, and then nothing comes."""

    def dawdle(client: socket.socket) -> bool:
        client.recv(9999)
        time.sleep(1.2)
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        return bool(client.recv(9999)) and client.recv(1) == b"x"

    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{start(Tunnels(0, dawdle)).port}")
    began = time.monotonic()
    assert "the TLS handshake timed out" in fault("https://exchange.invalid", connect_timeout=2.5)
    assert time.monotonic() - began < 2.5 + 1.2 - 0.1


def free_port() -> int:
    """Return a port at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


ANSWERS = {
    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n": (
        "the proxy PROXY requires a valid user name and password (407). "
        "Check the proxy's address in HTTPS_PROXY: http://name:password@host:port."
    ),
    b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n": (
        "the proxy PROXY refused to connect to HOST (403), or is not a proxy. Check the proxy's address in HTTPS_PROXY."
    ),
    b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 405 Method Not Allowed\r\nContent-Length: 0\r\n\r\n": (
        "the proxy PROXY refused to connect to HOST (405), or is not a proxy. Check the proxy's address in HTTPS_PROXY."
    ),
    b"SSH-2.0-OpenSSH_9.2p1 Debian\r\n": (
        "the server at PROXY does not answer like a proxy. Check the proxy's address in HTTPS_PROXY."
    ),
    b"": "the server at PROXY does not answer like a proxy. Check the proxy's address in HTTPS_PROXY.",
}


@pytest.mark.parametrize(("reply", "words"), ANSWERS.items(), ids=["407", "403", "405", "ssh", "closed"])
def test_a_refused_tunnel_is_named(
    start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch, reply: bytes, words: str
) -> None:
    """It tells a proxy that wants a password, one that refuses the host, and something that is no proxy."""
    proxy = start(http_proxy(0, [], reply))
    monkeypatch.setenv("HTTPS_PROXY", f"http://me:secret@127.0.0.1:{proxy.port}")
    told = fault("https://exchange.invalid").replace(f"http://127.0.0.1:{proxy.port}", "PROXY")
    assert told == words.replace("HOST", "exchange.invalid")


def test_a_proxy_that_is_not_there_is_named(
    start: Callable[[Tunnels], Tunnels], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Refused, silent, silent about the tunnel, a URL that is none, TLS with a proxy that speaks none."""

    def told(proxy: str, variable: str = "HTTPS_PROXY") -> str:
        monkeypatch.setenv(variable, proxy)
        return fault("https://exchange.invalid", connect_timeout=0.4).replace(proxy.rpartition(":")[2], "PORT")

    port = free_port()
    check = "Check the proxy's address in HTTPS_PROXY."
    assert told(f"http://127.0.0.1:{port}") == f"the proxy http://127.0.0.1:PORT refused the connection. {check}"
    assert told(f"127.0.0.1:{port}") == f"the proxy http://127.0.0.1:PORT refused the connection. {check}"
    with dead_address() as (_, port):
        assert told(f"http://127.0.0.1:{port}") == f"the proxy http://127.0.0.1:PORT did not answer in time. {check}"
    silent = start(Tunnels(0, lambda client: bool(client.recv(9999)) and client.recv(1) == b"x"))
    words = f"the proxy http://127.0.0.1:PORT did not connect to exchange.invalid in time. {check}"
    assert told(f"http://127.0.0.1:{silent.port}") == words
    plain = start(web_server())
    words = f"the proxy https://127.0.0.1:PORT does not use TLS, so its URL should begin with http://. {check}"
    assert told(f"https://127.0.0.1:{plain.port}") == words
    patient = start(http_proxy(0, []))
    words = f"the proxy https://127.0.0.1:PORT did not answer in TLS in time; without TLS, use http://. {check}"
    assert told(f"https://127.0.0.1:{patient.port}") == words
    for nonsense in ("socks://127.0.0.1:1080", "quic://127.0.0.1:1080"):
        assert "the proxy URL in HTTPS_PROXY cannot be used. Set HTTPS_PROXY to http://host:port" in told(nonsense)
    monkeypatch.delenv("HTTPS_PROXY")
    assert told(f"http://127.0.0.1:{free_port()}", "ALL_PROXY").endswith("Check the proxy's address in ALL_PROXY.")


def test_faults_of_certificates_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, start: Callable[[Tunnels], Tunnels]
) -> None:
    """An authority that nobody knows, another host's certificate, one out of date, and no TLS at all."""
    with contextlib.closing(TLSServer(lambda _: answer(b""), tmp_path)) as server:
        told = fault(server.url)
        assert "its issuer is not known here, as behind a proxy or firewall that inspects TLS" in told
        assert "point REQUESTS_CA_BUNDLE at a file" in told
        monkeypatch.setenv("CURL_CA_BUNDLE", str(server.certificate))
        assert "it is for another host" in fault(server.url.replace("localhost", "127.0.0.1"))
        with contextlib.closing(Wire(server.url, {}, proxied=False)) as line:
            assert line.send("GET", "/").status == 200
    with contextlib.closing(TLSServer(lambda _: answer(b""), tmp_path, days=-1)) as server:
        assert "it is out of date, or this machine's clock is off" in fault(server.url)
    plain = start(web_server())
    words = "the server there does not use TLS. Check the host and the network; see %nbext --doctor."
    assert fault(f"https://127.0.0.1:{plain.port}") == words


def test_a_file_of_certificates_that_cannot_be_used_is_named(
    exchange: TLSServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Missing, or without a certificate in it; by the variable that names it. Once fixed, the same wire works."""
    url = exchange.url.replace("exchange.invalid", "localhost")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    words = "the certificate file in REQUESTS_CA_BUNDLE does not exist. Fix REQUESTS_CA_BUNDLE, or unset"
    assert words in fault(url)
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "missing.pem"))
    assert "the certificate file in CURL_CA_BUNDLE does not exist" in fault(url)
    (tmp_path / "empty.pem").write_text("no certificates\n")
    monkeypatch.setenv("CURL_CA_BUNDLE", str(tmp_path / "empty.pem"))
    assert "the certificate file in CURL_CA_BUNDLE contains no certificates" in fault(url)


def test_a_later_cell_may_set_what_was_missing(
    exchange: TLSServer, start: Callable[[Tunnels], Tunnels], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A wire that has failed for want of a proxy, and then of a certificate, works once both are set."""
    certificate = str(exchange.certificate)
    proxy = start(http_proxy(exchange.port, []))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    with contextlib.closing(Wire(exchange.url, {}, proxied=True)) as line:
        for _ in range(2):
            with pytest.raises(Unanswered, match="does not exist"):
                line.send("GET", "/")
        monkeypatch.delenv("REQUESTS_CA_BUNDLE")
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{proxy.port}")
        with pytest.raises(Unanswered, match="not known here"):
            line.send("GET", "/")
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", certificate)
        assert line.send("GET", "/now").body == b"/now"
        monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
        with pytest.raises(Unanswered, match="refused the connection"):
            line.send("GET", "/")
