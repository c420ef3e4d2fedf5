"""`LocalExchange`: the exchange with its keys, served over HTTP by a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import os
import secrets
import string
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from nbext.exchange.api.admission import hmac_verifier, public_key_verifier
from nbext.exchange.api.app import App
from nbext.exchange.direct import DirectCalls
from nbext.exchange.engine.accounts import KEPT_ORDERS
from nbext.exchange.engine.limits import RequestLimits
from nbext.exchange.http.server import HOST, Server

if TYPE_CHECKING:
    from nbext.exchange.dialect import Dialect

KEY_ALPHABET = string.ascii_letters + string.digits
KEY_LENGTH = 64

_running: dict[int, LocalExchange] = {}  # by port
_given_out: dict[int, defaultdict[str, int]] = {}  # ids, by seed


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key and, for HMAC, its secret key, which is not shown."""

    api_key: str
    secret_key: str | None = field(default=None, repr=False)


class LocalExchange(DirectCalls):
    """A practice exchange with Binance Spot's API, bound to loopback.

    Parameters
    ----------
    seed : int
        Fixes order ids and starting prices. Keys and client ids are never made from it, and the clock is the real one.
    port : int
        Port to listen on; 0 for a free one.
    api_key, secret_key : str, optional
        The main account's key; generated if left out.
    max_num_orders : int
        MAX_NUM_ORDERS of each symbol; the other counting filters keep their proportion to it.
    weight_limit : int
        Request weight allowed in a minute, by address.
    raw_request_limit : int
        Requests allowed in five minutes, by address.
    patience : int
        How many requests in a minute get a 429 before the next one is a ban (418).
    order_limits : tuple of int
        Unfilled order count allowed in ten seconds and in a day. Higher than on the live exchange, so that
        a test may place its orders in one go.
    kept_orders : int
        At least 1: how many ended orders each account can still look up, the latest ones. A live exchange archives by
        age; here a bot may run for days in the memory of a notebook.
    dialect : Dialect, optional
        What it does where the API's documentation is silent.
    keeps_past : bool
        Whether `orders` can say what was true at an earlier moment, which costs time and memory.

    Attributes
    ----------
    api_key, secret_key : str
    pid : int
        The process that made it. A forked child can only send requests to its url.

    Examples
    --------
    >>> with LocalExchange() as exchange:
    ...     row = exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    ...     [order["status"] for order in exchange.open_orders("BTCUSDT")]
    ['NEW']
    """

    def __init__(
        self,
        *,
        seed: int = 0,
        port: int = 0,
        api_key: str | None = None,
        secret_key: str | None = None,
        max_num_orders: int = 200,
        weight_limit: int = 6_000,
        raw_request_limit: int = 300_000,
        patience: int = 10,
        order_limits: tuple[int, int] = (10_000, 160_000),
        kept_orders: int = KEPT_ORDERS,
        dialect: Dialect | None = None,
        keeps_past: bool = False,
    ) -> None:
        if kept_orders < 1:
            raise ValueError("kept_orders must be at least 1")
        self._port = port
        self.api_key = api_key or _made_up()
        self.secret_key = secret_key or _made_up()
        app = App(
            seed=seed,
            max_num_orders=max_num_orders,
            request_limits=RequestLimits(weight_limit, raw_request_limit, patience),
            order_limits=order_limits,
            kept_orders=kept_orders,
            dialect=dialect,
            keeps_past=keeps_past,
            given_out=_ids_of_a_port() if port else _given_out.setdefault(seed, defaultdict(lambda: -1)),
        )
        super().__init__(app)
        app.add_key(self.api_key, "main", hmac_verifier(self.secret_key), can_trade=True)
        self._port_used = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None

    def __repr__(self) -> str:
        where = self.url if self.is_serving else "not started"
        return f"<LocalExchange {where}>"

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """The base URL.

        Raises
        ------
        RuntimeError
            If the exchange is not started.
        """
        if not (self.is_serving or self.is_inherited):
            raise RuntimeError("the exchange is not started: use `with`, or call start()")
        return f"http://{HOST}:{self._port_used}"

    def start(self) -> Self:
        """Bind in the caller's thread, then serve from a thread of its own.

        Raises
        ------
        OSError
            If the port is taken.
        RuntimeError
            If another process made it.
        """
        self._require_own()
        if self.is_serving:
            return self
        server = Server(self._app, self._port, self)
        self._port_used = server.port
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(server, started)), name="nbext-exchange", daemon=True
        )
        self._thread.start()
        started.wait()
        _running[self._port_used] = self
        atexit.register(self.stop)
        return self

    def stop(self) -> None:
        """Stop serving, close every connection, and end the thread. Stopping twice does no harm.

        Raises
        ------
        RuntimeError
            If a request met an error of the exchange itself.
        """
        if self.pid != os.getpid():
            return  # a forked child may leave a with block or exit, while its parent's exchange keeps running
        if self.is_serving and self._loop is not None and self._stopping is not None:
            del _running[self._port_used]
            atexit.unregister(self.stop)
            self._loop.call_soon_threadsafe(self._stopping.set)
            if self._thread is not None:
                self._thread.join()
        self._thread = self._loop = self._stopping = None
        self._report_errors()

    def add_key(
        self,
        *,
        public_key: str | bytes | None = None,
        secret_key: str | None = None,
        trade: bool = True,
        account: str = "main",
        api_key: str | None = None,
    ) -> ApiKey:
        """Register another API key.

        Parameters
        ----------
        public_key : str or bytes, optional
            PEM of an RSA or Ed25519 public key. Without one the key signs by HMAC.
        secret_key : str, optional
            HMAC secret key; generated if neither it nor a public key is given.
        trade : bool
            Whether the key may place and cancel.
        account : str
            Account it acts for; a new name opens a new account.
        api_key : str, optional
            The API key: generated, or a known one, which then accepts these signatures too.
        """
        api_key = api_key or _made_up()
        if public_key is not None:
            pem = public_key.encode() if isinstance(public_key, str) else public_key
            verifier, secret_key = public_key_verifier(pem), None
        else:
            secret_key = secret_key or _made_up()
            verifier = hmac_verifier(secret_key)
        self._report_errors()
        self._app.add_key(api_key, account, verifier, can_trade=trade)
        return ApiKey(api_key, secret_key)

    @property
    def is_serving(self) -> bool:
        """Whether this process has started it."""
        # A forked child inherits the object, but not its thread, and must not stop it.
        return self._thread is not None and self.pid == os.getpid()

    @property
    def is_inherited(self) -> bool:
        """Whether the process this one was forked from has started it: it can only be reached at its url."""
        return self._thread is not None and self.pid != os.getpid()

    async def _serve(self, server: Server, started: threading.Event) -> None:
        """Run the server on its own thread."""
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        started.set()
        await server.serve(self._stopping)


def is_ours(url: str) -> bool:
    """Return whether a `LocalExchange` that this process started or inherited is at exactly this base URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    exchange = _running.get(port or 0)
    return (
        exchange is not None
        and url.removesuffix("/").lower() in {f"http://{HOST}:{port}", f"http://localhost:{port}"}
        and (exchange.is_serving or exchange.is_inherited)
    )


def _ids_of_a_port() -> defaultdict[str, int]:
    """Return counts that start at now, in microseconds: another process may have had the port and given out ids."""
    now = time.time_ns() // 1000
    return defaultdict(lambda: now)


def _made_up() -> str:
    return "".join(secrets.choice(KEY_ALPHABET) for _ in range(KEY_LENGTH))
