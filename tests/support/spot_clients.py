"""Clients to test with: keys of each kind, and the simplest answers."""

from __future__ import annotations

import contextlib
import traceback
from typing import TYPE_CHECKING, Any

from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from nbext.spot.client import SpotClient
from support.server import PlainServer, Request, answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

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


@contextlib.contextmanager
def clients() -> Iterator[Connect]:
    """Make clients with an HMAC key, which are closed at the end."""
    with contextlib.ExitStack() as opened:

        def make(url: str, **settings: Wrong) -> SpotClient:
            if not {"api_key", "private_key"} & settings.keys():
                settings |= {"api_key": API_KEY, "secret_key": SECRET_KEY}
            settings.setdefault("connect_timeout", 5.0)
            settings.setdefault("answer_timeout", 10.0)
            return opened.enter_context(SpotClient(url, **settings))

        yield make


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
