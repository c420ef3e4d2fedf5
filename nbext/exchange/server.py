"""`LocalExchange`: the exchange over HTTP on loopback, served by a thread of its own."""

from __future__ import annotations

import asyncio
import atexit
import json
import os
import secrets
import socket
import string
import threading
import time
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Context, Decimal, localcontext
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from tornado.httpserver import HTTPServer
from tornado.httputil import HTTPHeaders, ResponseStartLine

from nbext.exchange import gate, reports
from nbext.exchange.desk import Desk
from nbext.exchange.endpoints import BY_NAME, BY_PATH
from nbext.exchange.engine import Engine
from nbext.exchange.refusals import Refusal, TooMuch
from nbext.exchange.seeding import seed_orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tornado.httputil import HTTPServerRequest

    from nbext.exchange.endpoints import Endpoint
    from nbext.exchange.reports import Report

HOST = "127.0.0.1"
KEY_ALPHABET = string.ascii_letters + string.digits
KEY_LENGTH = 64
BACKLOG = 1024
MAX_BODY = 64 * 1024
MAX_HEADERS = 16 * 1024
JSON_TYPE = "application/json;charset=UTF-8"
# Prices and quantities have up to 19 digits each: their products stay exact.
EXACT = Context(prec=60)

# 17 #15: 400 unless named here; broken limits are 429.
_STATUS = {-2014: 401, -2015: 401}
_REASONS = {200: "OK", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden", 404: "Not Found"} | {
    405: "Method Not Allowed",
    429: "Too Many Requests",
    500: "Internal Server Error",
}
_NOT_FOUND = b"<html><head><title>404 Not Found</title></head><body><h1>404 Not Found</h1></body></html>"

_running: dict[int, LocalExchange] = {}  # by port


@dataclass(frozen=True, slots=True)
class ApiKey:
    """An API key and, for HMAC, its secret key, which is not shown."""

    api_key: str
    secret_key: str | None = field(default=None, repr=False)


class LocalExchange:
    """An exchange of one's own, with Binance Spot's API, bound to loopback.

    Parameters
    ----------
    seed : int
        Fixes ids and starting prices. Keys are never made from it, and the clock is the real one.
    port : int
        Port to listen at; 0 takes a free one.
    api_key, secret_key : str, optional
        The main account's key; made up when left out.
    max_num_orders : int
        MAX_NUM_ORDERS of each symbol; the other counting filters keep their proportion to it.
    weight_limit : int
        Request weight allowed in a minute.
    order_limits : tuple of int
        Unfilled order count allowed in ten seconds and in a day. Higher than on the live exchange, so that
        a test may place its orders in one go.

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
        order_limits: tuple[int, int] = (10_000, 160_000),
    ) -> None:
        self._seed = seed
        self._port = port
        self._port_used = 0
        self._max_num_orders = max_num_orders
        self._order_limits = order_limits
        self.api_key = api_key or _made_up()
        self.secret_key = secret_key or _made_up()
        self._lock = threading.RLock()
        self._faults: list[Exception] = []
        self._pid = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._hosts: frozenset[str] = frozenset()
        self._gate = gate.Gate(_clock, weight_limit)
        self._gate.keys[self.api_key] = gate.Key("main", can_trade=True)
        self._gate.keys[self.api_key].verifiers.append(gate.hmac_verifier(self.secret_key))
        self._open()

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
        if not self.is_serving:
            raise RuntimeError("the exchange is not started: use `with`, or call start()")
        return f"http://{HOST}:{self._port_used}"

    def start(self) -> Self:
        """Bind in the caller's thread, then serve from a thread of its own.

        Raises
        ------
        OSError
            If the port is taken.
        """
        if self.is_serving:
            return self
        listening = socket.create_server((HOST, self._port), backlog=BACKLOG)
        listening.setblocking(False)
        self._port_used = listening.getsockname()[1]
        names = (HOST, "localhost", "[::1]")
        self._hosts = frozenset(names) | {f"{name}:{self._port_used}" for name in names}
        started = threading.Event()
        self._thread = threading.Thread(
            target=lambda: asyncio.run(self._serve(listening, started)), name="nbext-exchange", daemon=True
        )
        self._thread.start()
        started.wait()
        self._pid = os.getpid()
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
        if self.is_serving and self._loop is not None and self._stopping is not None:
            del _running[self._port_used]
            atexit.unregister(self.stop)
            self._loop.call_soon_threadsafe(self._stopping.set)
            if self._thread is not None:
                self._thread.join()
        self._thread = self._loop = self._stopping = None
        self._report_faults()

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
            HMAC secret key; made up when neither it nor a public key is given.
        trade : bool
            Whether the key may place and cancel.
        account : str
            Account it acts for; a new name opens a new account.
        api_key : str, optional
            The API key itself: made up, or one already known, which then accepts these signatures too.
        """
        api_key = api_key or _made_up()
        if public_key is not None:
            pem = public_key.encode() if isinstance(public_key, str) else public_key
            verifier, secret_key = gate.public_key_verifier(pem), None
        else:
            secret_key = secret_key or _made_up()
            verifier = gate.hmac_verifier(secret_key)
        with self._step():
            self._engine.account(account)
            key = self._gate.keys.setdefault(api_key, gate.Key(account, can_trade=trade))
            key.verifiers.append(verifier)
        return ApiKey(api_key, secret_key)

    def place(self, symbol: str, side: str, type: str, *, account: str = "main", **params: object) -> Report:  # noqa: A002 - the wire's word
        """Place an order without HTTP: same checks and reply as ``POST /api/v3/order``.

        Parameters
        ----------
        symbol, side, type : str
            As on the wire.
        account : str
            ``main``, or ``market`` for the counterparty, whose quotes step aside.
        **params
            Further parameters under their wire names; times are out of place.

        Raises
        ------
        Refusal
            With the documented code and text.
        """
        return self._direct("order", account, {"symbol": symbol, "side": side, "type": type, **params})

    def place_list(self, kind: str, symbol: str, *, account: str = "main", **params: object) -> Report:
        """Place an order list without HTTP: same checks and reply as ``POST /api/v3/orderList/...``.

        Parameters
        ----------
        kind : str
            ``oco``, ``oto`` or ``otoco``.
        symbol : str
            As on the wire.
        account : str
            Account to place it for.
        **params
            Further parameters under their wire names.
        """
        if kind not in {"oco", "oto", "otoco"}:
            raise ValueError("kind must be oco, oto or otoco")
        return self._direct(kind, account, {"symbol": symbol, **params})

    def seed_orders(self) -> None:
        """Place a realistic mixture of orders on BTCUSDT and ETHUSDT, one of them partly filled."""
        with self._step():
            seed_orders(self)

    def set_price(self, symbol: str, price: Decimal | str | float) -> None:
        """Move the market to a price: it takes the orders on its way, and what that triggers follows."""
        with self._step():
            wanted = Decimal(str(price))
            if wanted <= 0 or wanted % self._engine.symbol(symbol).tick:
                raise ValueError(f"a price of {symbol} is a positive multiple of {self._engine.symbol(symbol).tick}")
            self._engine.set_price(symbol, wanted)

    def reset(self) -> None:
        """Go back to the seeded start: same ids, same prices, no orders. Keys and their accounts stay."""
        with self._step():
            self._open()

    def last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade."""
        with self._step():
            return self._engine.last_price(symbol)

    def open_orders(self, symbol: str | None = None) -> list[Report]:
        """Return the main account's open orders as the engine knows them."""
        with self._step():
            params = {} if symbol is None else {"symbol": symbol}
            admission = gate.Admission(
                BY_NAME["openOrders"], dict(params), "main", can_trade=True, unit=reports.MILLISECOND, weight=0
            )
            rows = self._desk.answer(admission)
            return rows if isinstance(rows, list) else [rows]

    def history(self, order_id: int, symbol: str) -> list[dict[str, object]]:
        """Return what happened to an order, in sequence, whatever was answered.

        Raises
        ------
        LookupError
            If no account has such an order.
        """
        with self._step():
            for account in self._engine.accounts.values():
                order = account.orders[symbol].get(order_id)
                if order is not None:
                    return [
                        {"time": time // reports.MILLISECOND, "status": status, "executedQty": str(executed)}
                        for time, status, executed in order.history
                    ]
        raise LookupError(f"no order {order_id} on {symbol}")

    def _open(self) -> None:
        """Open the exchange for the first time, or anew."""
        with localcontext(EXACT):
            self._engine = Engine(
                seed=self._seed,
                clock=_clock,
                max_num_orders=self._max_num_orders,
                order_limits=self._order_limits,
            )
            for key in self._gate.keys.values():
                self._engine.account(key.account)
        self._gate.weight.used = 0
        self._desk = Desk(self._engine, self._gate.weight)

    @contextmanager
    def _step(self) -> Iterator[None]:
        """Hold the engine for one direct call; errors of earlier requests come out here."""
        self._report_faults()
        with self._lock, localcontext(EXACT):
            yield

    def _direct(self, name: str, account: str, params: dict[str, object]) -> Report:
        endpoint = BY_NAME[name]
        with self._step():
            if account not in self._engine.accounts:
                raise ValueError(f"there is no account {account!r}; a key of it opens it (add_key)")
            texts = {key: _wire_text(value) for key, value in params.items()}
            admission = gate.Admission(
                endpoint,
                gate.read(endpoint, texts, is_signed=False),
                account,
                can_trade=True,
                unit=reports.MILLISECOND,
                weight=0,
            )
            reply = self._desk.answer(admission)
        if isinstance(reply, list):
            raise TypeError(f"{name} answers with rows")
        return reply

    def _report_faults(self) -> None:
        if self._faults:
            first = self._faults[0]
            self._faults.clear()
            raise RuntimeError("a request met an error of the exchange itself") from first

    @property
    def is_serving(self) -> bool:
        """Whether this process has it started."""
        # A forked child inherits the object, but neither its thread nor the right to stop it.
        return self._thread is not None and self._pid == os.getpid()

    # What runs on the server's thread.

    async def _serve(self, listening: socket.socket, started: threading.Event) -> None:
        server = HTTPServer(self._handle, max_body_size=MAX_BODY, max_header_size=MAX_HEADERS)
        server.add_socket(listening)
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        started.set()
        await self._stopping.wait()
        server.stop()
        await server.close_all_connections()

    def _handle(self, request: HTTPServerRequest) -> None:
        status, headers, body = self._respond(request)
        connection = request.connection
        if connection is None:
            return
        headers["Content-Length"] = str(len(body))
        connection.write_headers(ResponseStartLine("HTTP/1.1", status, _REASONS[status]), HTTPHeaders(headers), body)
        connection.finish()

    def _respond(self, request: HTTPServerRequest) -> tuple[int, dict[str, str], bytes]:
        """Answer a request; an error of the exchange itself is answered and kept for the caller."""
        headers = {"x-mbx-uuid": str(uuid.uuid4())}
        if request.headers.get("Host", "").lower() not in self._hosts:
            # A page that rebinds its name to loopback must get nowhere.
            return 403, headers, b""
        endpoints = BY_PATH.get(request.path)
        if endpoints is None:
            wants_html = "text/html" in request.headers.get("Accept", "")
            body = _NOT_FOUND if wants_html else b""
            status = 404
        elif request.method not in endpoints:
            body, status = b"", 405  # 17 #24
        else:
            headers["Content-Type"] = JSON_TYPE
            arrived = gate.Request(request.query.encode("latin-1", "replace"), request.body, request.headers)
            with self._lock, localcontext(EXACT):
                status, body = self._call(endpoints[request.method], arrived, headers)
        used = str(self._gate.used_weight())
        headers["X-MBX-USED-WEIGHT"] = headers["X-MBX-USED-WEIGHT-1M"] = used
        return status, headers, body

    def _call(self, endpoint: Endpoint, arrived: gate.Request, headers: dict[str, str]) -> tuple[int, bytes]:
        try:
            admission = self._gate.admit(endpoint, arrived)
            if endpoint.orders:
                self._desk.check_order_count(admission)
            self._gate.check_departure(admission)
            body = _json(self._desk.answer(admission))
            self._gate.forgive(admission)
            if endpoint.orders:
                headers |= self._desk.count_orders(admission)
        except TooMuch as refusal:
            headers["Retry-After"] = str(refusal.retry_after)
            return 429, _error(refusal.code, refusal.text)
        except Refusal as refusal:
            return _STATUS.get(refusal.code, 400), _error(refusal.code, refusal.text)
        except Exception as fault:  # noqa: BLE001 - kept, and raised where the caller is
            self._faults.append(fault)
            return 500, _error(-1000, "An unknown error occurred while processing the request.")
        return 200, body


def _wire_text(value: object) -> str:
    """Write a parameter as it would be sent; numbers never in scientific notation."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{Decimal(str(value)):f}" if isinstance(value, (float, Decimal)) else str(value)


def _json(reply: object) -> bytes:
    return json.dumps(reply, separators=(",", ":"), ensure_ascii=False).encode()


def _error(code: int, text: str) -> bytes:
    return _json({"code": code, "msg": text})


def is_ours(url: str) -> bool:
    """Tell whether a `LocalExchange` that this process started is listening at exactly this base URL."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return False
    exchange = _running.get(port or 0)
    return (
        exchange is not None
        and url.removesuffix("/").lower() in {f"http://{HOST}:{port}", f"http://localhost:{port}"}
        and exchange.is_serving
    )


def _made_up() -> str:
    return "".join(secrets.choice(KEY_ALPHABET) for _ in range(KEY_LENGTH))


def _clock() -> int:
    return time.time_ns() // 1000
