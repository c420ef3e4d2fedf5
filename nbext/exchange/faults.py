"""What can be made to go wrong, for lessons and tests.

A fault waits for the next requests that match its method, path and symbol, and does two things to each: it
decides whether and when the request reaches the engine, and what becomes of the answer. Two more things can
be wrong with the exchange as a whole: its clock (`Faults.skew`) and the age of what its queries show
(`Faults.lag`).
"""

from __future__ import annotations

import html
import time
from dataclasses import KW_ONLY, dataclass
from fnmatch import fnmatchcase
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from nbext.exchange.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

API = "/api/v3/"
MAX_FAULTS = 100
MAX_TIMES = 1_000_000
MAX_SECONDS = 3_600.0
MAX_TEXT = 16 * 1024
JSON_TYPE = "application/json;charset=UTF-8"

# By code; RULES.md, server-error-status, for the statuses.
UNKNOWN_OUTCOMES = {
    -1000: (500, "An unknown error occurred while processing the request."),
    -1001: (500, "Internal error; unable to process your request. Please try again."),
    -1006: (500, "An unexpected response was received from the message bus. Execution status unknown."),
    -1007: (
        504,
        "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    ),
    -1008: (503, "Server is currently overloaded with other requests. Please try again in a few minutes."),
}


def error_status(code: int, dialect: Dialect) -> int:
    """Return the HTTP status of a fault on the exchange's side."""
    return UNKNOWN_OUTCOMES[code][0] if dialect.server_error_status == "split" else int(dialect.server_error_status)


def full_path(path: str) -> str:
    """Return a path as it is requested: ``openOrders`` is short for ``/api/v3/openOrders``."""
    return path if path.startswith(("/", "*")) else API + path


class Reply(NamedTuple):
    """An answer, ready to be sent."""

    status: int
    body: bytes = b""
    headers: Mapping[str, str] = MappingProxyType({})


@dataclass(slots=True)
class Fault:
    """One thing that goes wrong, for the next `times` requests that match (None: until cleared).

    The request is executed after `delay` seconds if `executes`; `late` seconds after that, the answer leaves: its
    own one, or `reply` in its place. `ending` says what becomes of the connection meanwhile.
    """

    kind: str
    method: str
    path: str
    symbol: str | None
    times: int | None
    _: KW_ONLY
    executes: bool = True
    delay: float = 0.0
    late: float = 0.0
    reply: Reply | None = None
    echo: bool = False
    ending: str = "kept"  # kept, closed, reset, truncated, dripped
    size: int = 0
    pause: float = 0.0

    def __post_init__(self) -> None:
        """Refuse what would never end or never match."""
        self.path = full_path(self.path)
        for name, value, most in (
            ("times", self.times, MAX_TIMES),
            ("delay", self.delay, MAX_SECONDS),
            ("late", self.late, MAX_SECONDS),
            ("seconds", self.pause, MAX_SECONDS),
            ("size", self.size, 1 << 30),
        ):
            if value is not None and not 0 <= value <= most:
                raise ValueError(f"{name} must be between 0 and {most:g}")
        if self.times == 0:
            raise ValueError("times must be positive, or None for every request until cleared")

    def hits(self, method: str, path: str, symbol: str | None) -> bool:
        """Tell whether this request is one of those that it waits for."""
        return (
            self.method in {"*", method}
            and (self.path == path or fnmatchcase(path, self.path))
            and (self.symbol is None or self.symbol == symbol)
        )

    def replace(self, url: str, headers: Mapping[str, str]) -> Reply | None:
        """Return the answer sent in place of the request's own, if any."""
        if self.reply is None or not self.echo:
            return self.reply
        # Firewalls quote what they block; signature and API key stand in it.
        quoted = "\n".join([url, *(f"{name}: {value}" for name, value in headers.items())])
        body = self.reply.body.decode().replace("</body>", f"<pre>{html.escape(quoted)}</pre></body>")
        return Reply(self.reply.status, body.encode(), self.reply.headers)

    def wire(self) -> dict[str, object]:
        """Write it as ``GET /nbext/faults`` shows it."""
        return {
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "symbol": self.symbol,
            "times": self.times,
        }


class Faults:
    """What goes wrong at an exchange. Each method makes the next `times` matching requests meet one fault.

    Every method takes the same four arguments to say which requests: `method` (``"DELETE"``; ``"*"`` is any),
    `path` (``"/api/v3/openOrders"``, ``"openOrders"`` for short; ``*`` is a wildcard), `symbol` (any when None) and
    `times` (None: every one until `clear`). One request meets one fault, the one that was asked for first.

    Parameters
    ----------
    lock : context manager
        Held while anything changes.
    on_change : callable
        Told after `lag` or `skew` has been set.

    Examples
    --------
    >>> from nbext.exchange import LocalExchange
    >>> with LocalExchange() as exchange:
    ...     exchange.faults.lose_answer("DELETE", "openOrders", symbol="BTCUSDT")
    ...     exchange.faults.pending()
    [{'kind': 'lose_answer', 'method': 'DELETE', 'path': '/api/v3/openOrders', 'symbol': 'BTCUSDT', 'times': 1}]
    """

    def __init__(self, lock: AbstractContextManager[object], on_change: Callable[[], None]) -> None:
        self._lock = lock
        self._on_change = on_change
        self.dialect = Dialect()
        self._waiting: list[Fault] = []
        self._lag = 0.0
        self._skew = 0.0

    @property
    def lag(self) -> float:
        """Seconds by which queries are behind the engine.

        What happened before the lag was set is known to them; what happens afterwards, they show so much later.
        """
        return self._lag

    @lag.setter
    def lag(self, seconds: float) -> None:
        if not 0 <= seconds <= MAX_SECONDS:
            raise ValueError(f"lag must be between 0 and {MAX_SECONDS:g} seconds")
        with self._lock:
            self._lag = seconds
            self._on_change()

    @property
    def skew(self) -> float:
        """Seconds by which the exchange's clock is ahead of the true time; negative when it is behind."""
        return self._skew

    @skew.setter
    def skew(self, seconds: float) -> None:
        if not -MAX_SECONDS * 24 <= seconds <= MAX_SECONDS * 24:
            raise ValueError("skew must be within a day")
        with self._lock:
            self._skew = seconds
            self._on_change()

    def clear(self) -> None:
        """Let everything go right again: no faults, no lag, no skew."""
        with self._lock:
            self._waiting.clear()
            self._lag = self._skew = 0.0
            self._on_change()

    def pending(self) -> list[dict[str, object]]:
        """Return the faults that still wait for a request."""
        with self._lock:
            return [fault.wire() for fault in self._waiting]

    def add(self, fault: Fault) -> None:
        """Let a fault wait for its requests."""
        with self._lock:
            if len(self._waiting) == MAX_FAULTS:
                raise ValueError(f"{MAX_FAULTS} faults are waiting: clear() some")
            self._waiting.append(fault)

    def take(self, method: str, path: str, symbol: Callable[[], str | None]) -> Fault | None:
        """Return the fault that this request meets, which has then hit once more."""
        if not self._waiting:
            return None
        with self._lock:
            for fault in self._waiting:
                if fault.hits(method, path, symbol() if fault.symbol is not None else None):
                    if fault.times is not None:
                        fault.times -= 1
                        if not fault.times:
                            self._waiting.remove(fault)
                    return fault
        return None

    # One method per kind.

    def answer_late(
        self, method: str = "*", path: str = "*", *, seconds: float, symbol: str | None = None, times: int | None = 1
    ) -> None:
        """Execute at once, and answer `seconds` later. Others are served meanwhile."""
        self.add(Fault("answer_late", method, path, symbol, times, late=seconds))

    def execute_late(
        self, method: str = "*", path: str = "*", *, seconds: float, symbol: str | None = None, times: int | None = 1
    ) -> None:
        """Execute `seconds` after arrival, if the request is not too old by then (3.5), and answer."""
        self.add(Fault("execute_late", method, path, symbol, times, delay=seconds))

    def lose_answer(
        self,
        method: str = "*",
        path: str = "*",
        *,
        after_executing: bool = True,
        reset: bool = False,
        delay: float = 0.0,
        late: float = 0.0,
        symbol: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Drop the connection, before executing or after it, instead of answering.

        Parameters
        ----------
        method, path, symbol, times
            Which requests, and how many of them.
        after_executing : bool
            Whether the request is executed all the same.
        reset : bool
            Break the connection off (RST) rather than close it (FIN).
        delay : float
            Seconds until it is executed.
        late : float
            Seconds from then until the connection is dropped.
        """
        ending = "reset" if reset else "closed"
        fault = Fault(
            "lose_answer", method, path, symbol, times, executes=after_executing, delay=delay, late=late, ending=ending
        )
        self.add(fault)

    def fail(
        self,
        method: str = "*",
        path: str = "*",
        *,
        code: int = -1007,
        status: int | None = None,
        body: str | None = None,
        after_executing: bool = True,
        delay: float = 0.0,
        late: float = 0.0,
        symbol: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer 5XX, having executed the request or not.

        Parameters
        ----------
        method, path, symbol, times
            Which requests, and how many of them.
        code : int
            -1000, -1001, -1006, -1007 or -1008, with its documented text.
        status : int, optional
            HTTP status, any from 200 to 599; the code's own when left out.
        body : str, optional
            Sent instead of the documented body: empty, HTML, anything.
        after_executing : bool
            Whether the request is executed.
        delay, late : float
            Seconds until it is executed, and from then until it is answered.
        """
        if code not in UNKNOWN_OUTCOMES:
            raise ValueError(f"code must be one of {', '.join(map(str, UNKNOWN_OUTCOMES))}")
        _, text = UNKNOWN_OUTCOMES[code]
        self._answer(
            "fail",
            (method, path, symbol, times),
            status=error_status(code, self.dialect) if status is None else status,
            body=f'{{"code":{code},"msg":"{text}"}}' if body is None else body,
            executes=after_executing,
            delay=delay,
            late=late,
        )

    def truncate(
        self, method: str = "*", path: str = "*", *, size: int = 20, symbol: str | None = None, times: int | None = 1
    ) -> None:
        """Execute, send only the first `size` bytes of the body, and close the connection."""
        self.add(Fault("truncate", method, path, symbol, times, ending="truncated", size=size))

    def drip(
        self,
        method: str = "*",
        path: str = "*",
        *,
        seconds: float = 1.0,
        size: int = 1,
        symbol: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Execute, and send the body `size` bytes at a time, every `seconds`."""
        self.add(Fault("drip", method, path, symbol, times, ending="dripped", size=max(size, 1), pause=seconds))

    def firewall(
        self,
        method: str = "*",
        path: str = "*",
        *,
        echo: bool = False,
        symbol: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer 403 with HTML, as a web application firewall does; with `echo`, it quotes URL and headers."""
        page = "<html><head><title>403 Forbidden</title></head><body><h1>Request blocked</h1></body></html>"
        self._answer("firewall", (method, path, symbol, times), status=403, body=page, echo=echo)

    def limit(
        self,
        method: str = "*",
        path: str = "*",
        *,
        retry_after: int | None = 1,
        symbol: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer 429 with ``Retry-After`` in seconds (None leaves the header out), and do not execute."""
        text = (
            "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        self._answer(
            "limit",
            (method, path, symbol, times),
            status=429,
            body=f'{{"code":-1003,"msg":"{text}"}}',
            retry_after=retry_after,
        )

    def ban(
        self,
        method: str = "*",
        path: str = "*",
        *,
        retry_after: int | None = 120,
        symbol: str | None = None,
        times: int | None = 1,
    ) -> None:
        """Answer 418 with ``Retry-After`` in seconds (None leaves the header out), and do not execute."""
        until = int((time.time() + self._skew + (retry_after or 0)) * 1000)
        text = (
            f"Way too much request weight used; IP banned until {until}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        self._answer(
            "ban",
            (method, path, symbol, times),
            status=418,
            body=f'{{"code":-1003,"msg":"{text}"}}',
            retry_after=retry_after,
        )

    def unavailable(
        self, method: str = "*", path: str = "*", *, symbol: str | None = None, times: int | None = 1
    ) -> None:
        """Answer 451, as where the service is not offered, and do not execute."""
        text = "Service unavailable from a restricted location."
        self._answer("unavailable", (method, path, symbol, times), status=451, body=f'{{"code":0,"msg":"{text}"}}')

    def _answer(
        self,
        kind: str,
        which: tuple[str, str, str | None, int | None],
        *,
        status: int,
        body: str,
        retry_after: int | None = None,
        executes: bool = False,
        echo: bool = False,
        delay: float = 0.0,
        late: float = 0.0,
    ) -> None:
        """Add a fault that answers something else."""
        if not 200 <= status <= 599:  # noqa: PLR2004 - the range of final statuses
            raise ValueError("status must be between 200 and 599")
        if len(body) > MAX_TEXT:
            raise ValueError(f"a body has at most {MAX_TEXT} characters")
        if retry_after is not None and retry_after < 0:
            raise ValueError("retry_after must not be negative")
        headers = {"Content-Type": JSON_TYPE if body.startswith("{") else "text/html"}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        reply = Reply(status, body.encode(), headers)
        self.add(Fault(kind, *which, executes=executes, reply=reply, echo=echo, delay=delay, late=late))
