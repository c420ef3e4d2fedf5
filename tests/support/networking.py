"""What stands between a client and an exchange: TLS, proxies that tunnel, SOCKS proxies, dead addresses."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.server import PlainServer, Request

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path


def need_pysocks() -> None:
    """Skip where PySocks is not installed; fail where it has to be."""
    if os.environ.get("CI") != "true":
        pytest.importorskip("socks")
    importlib.import_module("socks")


def certificate(folder: Path, name: str = "localhost", days: int = 1) -> Path:
    """Write a certificate and its key; only its own file vouches for it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
    end = datetime.now(UTC) + timedelta(days=days)
    signed = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(end - timedelta(days=9))
        .not_valid_after(end)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, SHA256())
    )
    secret = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path = folder / "certificate.pem"
    path.write_bytes(signed.public_bytes(Encoding.PEM) + secret)
    return path


class TLSServer(PlainServer):
    """A plain server behind TLS, with a certificate that only its own file vouches for; it counts its handshakes."""

    def __init__(
        self,
        respond: Callable[[Request], bytes | Iterable[bytes]],
        folder: Path,
        *,
        name: str = "localhost",
        days: int = 1,
    ) -> None:
        self.certificate = certificate(folder, name, days)
        self._context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._context.load_cert_chain(self.certificate)
        self.handshakes = 0
        super().__init__(respond)
        self.port = int(self.url.rpartition(":")[2])
        self.url = f"https://{name}:{self.port}"

    def _serve(self, connection: socket.socket, number: int) -> None:
        try:
            wrapped = self._context.wrap_socket(connection, server_side=True)
        except OSError:
            connection.close()
        else:
            self._open.append(wrapped)
            self.handshakes += 1
            super()._serve(wrapped, number)


class Tunnels:
    """Listens on loopback, lets a handshake choose whether to go on, and then passes bytes to one port.

    Parameters
    ----------
    port : int
        Where all tunnels lead, whatever they are asked for.
    handshake : callable
        Speaks with the client on the new connection, and tells whether the tunnel is to be.
    """

    def __init__(self, port: int, handshake: Callable[[socket.socket], bool]) -> None:
        self._target = port
        self._handshake = handshake
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: list[socket.socket] = [self._listener]
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        for each in self._open:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                self._open.append(client)
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            if not self._handshake(client):
                client.close()
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            self._open.append(server)
            threading.Thread(target=_pass_on, args=(client, server), daemon=True).start()
            _pass_on(server, client)


def _pass_on(source: socket.socket, sink: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_RDWR)


def http_proxy(port: int, asked: list[str], answer: bytes = b"HTTP/1.1 200 Connection established\r\n\r\n") -> Tunnels:
    """Start a proxy that is asked by CONNECT, and gives one answer."""

    def handshake(client: socket.socket) -> bool:
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            if not (more := client.recv(1)):
                return False
            head += more
        asked.append(head.decode())
        client.sendall(answer)
        return b" 200 " in answer

    return Tunnels(port, handshake)


class TLSProxy:
    """A proxy to which clients speak TLS before they ask it by CONNECT; all its tunnels lead to one port.

    Parameters
    ----------
    port : int
    folder : Path
        Where its certificate is written, which only its own file vouches for.
    name : str, optional
        The host that the certificate is for.
    piece, pause : int, float
        How many bytes at a time it passes on to the client, and how many seconds after each.
    """

    def __init__(
        self, port: int, folder: Path, *, name: str = "localhost", piece: int = 65536, pause: float = 0.0
    ) -> None:
        self.asked: list[str] = []
        self.certificate = certificate(folder, name)
        self._target, self._piece, self._pause = port, piece, pause
        self._loop = asyncio.new_event_loop()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.certificate)
        self._server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0, ssl=context))
        self.port: int = self._server.sockets[0].getsockname()[1]
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Close everything."""
        asyncio.run_coroutine_threadsafe(self._stop(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _stop(self) -> None:
        self._server.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.wait_for(asyncio.gather(*others, return_exceptions=True), 5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer), contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            self.asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            answers, onward = await asyncio.open_connection("127.0.0.1", self._target)
            with contextlib.closing(onward):
                ways = self._pass_on(reader, onward, 65536), self._pass_on(answers, writer, self._piece, self._pause)
                both = [asyncio.ensure_future(way) for way in ways]
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
                for way in both:
                    way.cancel()

    @staticmethod
    async def _pass_on(
        source: asyncio.StreamReader, sink: asyncio.StreamWriter, piece: int, pause: float = 0.0
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await source.read(piece):
                sink.write(data)
                await sink.drain()
                await asyncio.sleep(pause)


def socks_proxy(port: int, asked: list[str], *, password: bytes = b"", code: int = 0) -> Tunnels:
    """Start a SOCKS 5 proxy (RFC 1928, RFC 1929) that answers every request with one code."""

    def handshake(client: socket.socket) -> bool:
        stream = client.makefile("rb")
        _, methods = stream.read(2)
        offered = stream.read(methods)
        method = 2 if password and 2 in offered else 255 if password else 0
        client.sendall(bytes([5, method]))
        if method == 255:
            return False
        if password:
            name = stream.read(stream.read(2)[1])
            given = stream.read(stream.read(1)[0])
            client.sendall(bytes([1, given != password]))
            asked.append(name.decode())
            if given != password:
                return False
        kind = stream.read(4)[3]
        host = stream.read(stream.read(1)[0]).decode() if kind == 3 else socket.inet_ntoa(stream.read(4))
        asked.append(f"{host}:{int.from_bytes(stream.read(2), 'big')}")
        client.sendall(bytes([5, code, 0, 1, 0, 0, 0, 0, 0, 0]))
        return code == 0

    return Tunnels(port, handshake)


def web_server() -> Tunnels:
    """Start something that is no proxy and speaks no TLS, and says so at once."""

    def refuse(client: socket.socket) -> bool:
        client.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n")
        return False

    return Tunnels(0, refuse)


@contextlib.contextmanager
def dead_address() -> Iterator[tuple[str, int]]:
    """Yield an address at which connecting neither succeeds nor fails."""
    with socket.socket() as listener, contextlib.ExitStack() as filling:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for _ in range(3):  # its queue is full, so that the kernel drops what else comes
            caller = filling.enter_context(socket.socket())
            caller.setblocking(False)
            with contextlib.suppress(BlockingIOError):
                caller.connect(listener.getsockname())
        yield listener.getsockname()
