"""TLS in steps, between which this process may fork.

OpenSSL works outside Python's lock and has locks of its own, which a child that is forked meanwhile would find locked
for good. A whole handshake, or a whole read, would keep a fork waiting for as long as the network takes. So sockets are
asked for what can be done at once, and are waited for between such steps.
"""

from __future__ import annotations

import math
import ssl
import time
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from urllib3.util import wait_for_read, wait_for_write
from urllib3.util.ssl_ import create_urllib3_context

from nbext.forks import encryption, sockets

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

T = TypeVar("T")


class _Socket(ssl.SSLSocket):
    """For Python it never waits; how long it does is up to us.

    A timeout is for all that follows until it is set again, in however many steps.
    """

    _sslobj: Any
    _patience: float | None = None
    _until = math.inf

    def settimeout(self, value: float | None) -> None:
        super().settimeout(0.0)
        self._patience = value
        self._until = math.inf if value is None else time.monotonic() + value

    def gettimeout(self) -> float | None:
        return self._patience

    def do_handshake(self, *_: Any) -> None:
        self.getpeername()  # or it raises: the connection may have broken before
        self._in_steps(self._sslobj.do_handshake)  # Python's own method would set the timeout again

    def read(self, *args: Any) -> Any:
        return self._in_steps(partial(super().read, *args))

    def send(self, data: Any, flags: int = 0) -> int:
        return self._in_steps(partial(super().send, data, flags))

    def _in_steps(self, step: Callable[[], T]) -> T:
        while True:
            try:
                with encryption:
                    return step()
            except ssl.SSLWantReadError:
                if self._patience == 0:
                    raise
                wait = wait_for_read
            except ssl.SSLWantWriteError:
                if self._patience == 0:
                    raise
                wait = wait_for_write
            left = self._until - time.monotonic()
            # A forked child that comes back from a signal's handler finds it closed.
            if self.fileno() < 0 or left <= 0 or not wait(self, left if left < math.inf else None):
                raise TimeoutError("timed out")


class _WithinTLS(ssl.SSLObject):
    """TLS over TLS, to a proxy; urllib3 does the waiting."""

    def do_handshake(self) -> None:
        with encryption:
            super().do_handshake()

    def read(self, *args: Any) -> Any:
        with encryption:
            return super().read(*args)

    def write(self, data: Any) -> int:
        with encryption:
            return super().write(data)

    def unwrap(self) -> None:
        with encryption:
            super().unwrap()


if TYPE_CHECKING:
    _PythonsContext = ssl.SSLContext
else:  # a program may have put another class in its place
    _PythonsContext = next(kind for kind in ssl.SSLContext.__mro__ if kind.__module__ == "ssl")


class _Context(_PythonsContext):
    sslsocket_class = _Socket
    sslobject_class = _WithinTLS

    def wrap_socket(self, sock: socket.socket, *_: Any, server_hostname: Any = None, **__: Any) -> ssl.SSLSocket:
        with encryption:
            wrapped = super().wrap_socket(sock, server_hostname=server_hostname, do_handshake_on_connect=False)
        sockets.add(wrapped)
        try:
            wrapped.do_handshake()
        except BaseException:
            wrapped.close()
            raise
        return wrapped

    def wrap_bio(self, *args: Any, **kwargs: Any) -> ssl.SSLObject:
        with encryption:
            return super().wrap_bio(*args, **kwargs)


def context_for(ca_certs: str | None, ca_cert_dir: str | None) -> ssl.SSLContext:
    """Return the settings of TLS, urllib3's, with the certificates that count."""
    with encryption:
        context = create_urllib3_context(cert_reqs=ssl.CERT_REQUIRED)
        context.load_verify_locations(ca_certs, ca_cert_dir)
    if type(context) is _PythonsContext:  # others check certificates in ways of their own, as truststore's do
        context.__class__ = _Context  # urllib3 decides what is safe, and offers no way to have another class do it
    return context
