"""Faults: what can be made to go wrong, for lessons and tests.

A fault waits for the next requests that match its method, path and symbol, and does two things to each: it
decides whether and when the request reaches the engine, and what happens to the answer. Two more things can
be wrong with the exchange as a whole: its clock (`Faults.skew`) and the age of what its queries show
(`Faults.lag`). In sentences: ``faults.on("DELETE", "openOrders", times=2).fail(code=-1007)``.
"""

from __future__ import annotations

import html
import json
import time
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import partial
from typing import TYPE_CHECKING

from nbext.exchange.api.responses import JSON_TYPE, UNKNOWN_OUTCOMES, Response, error_status
from nbext.exchange.dialect import Dialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from contextlib import AbstractContextManager

API = "/api/v3/"
MAX_FAULTS = 100
MAX_TIMES = 1_000_000
MAX_SECONDS = 3_600.0
MAX_TEXT = 16 * 1024
FINAL = range(200, 600)  # statuses that end a request
INTERIM = frozenset(range(100, 200)) - {101}
# The fields that differ in an answer about something else.
MISTAKEN = {
    "symbol": frozenset({"symbol"}),
    "order": frozenset({"orderId", "origClientOrderId", "clientOrderId"}),
    "list": frozenset({"orderListId", "listClientOrderId"}),
}
OTHER_IDS = 1_000_003
SYMBOLS = ("BTCUSDT", "ETHUSDT")


def full_path(path: str) -> str:
    """Return a path as it is requested: ``openOrders`` is short for ``/api/v3/openOrders``."""
    return path if path.startswith(("/", "*")) else API + path


@dataclass(slots=True, kw_only=True)
class Fault:
    """One thing that goes wrong, for the next `times` requests that match (None: until cleared).

    The request is executed after `delay` seconds if `executes`; `late` seconds after that, the answer leaves: its
    own one, or `response` in its place, or its own one made to be about something else or of another `status`. `ending`
    says what happens to the connection meanwhile.
    """

    kind: str
    method: str
    path: str
    symbol: str | None
    times: int | None
    executes: bool = True
    delay: float = 0.0
    late: float = 0.0
    response: Response | None = None
    echo: bool = False
    about: str | None = None
    status: int | None = None
    interim: tuple[int, ...] = ()  # sent before anything else
    copies: int = 1
    ending: str = "kept"  # kept, closed, reset, truncated, dripped; answered or silent, and then dead
    size: int = 0
    pause: float = 0.0
    jump: float = 0.0  # of the clock, before the answer leaves

    def __post_init__(self) -> None:
        """Refuse values that would never end or never match."""
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
        if self.status is not None and self.status not in FINAL:
            raise ValueError("status must be between 200 and 599")

    def hits(self, method: str, path: str, symbol: str | None) -> bool:
        """Return whether this request is one that it waits for."""
        return (
            self.method in {"*", method}
            and (self.path == path or fnmatchcase(path, self.path))
            and (self.symbol is None or self.symbol == symbol)
        )

    @property
    def hides_answer(self) -> bool:
        """Whether the result of the request is hidden from the client."""
        return self.response is not None or self.ending in {"closed", "reset", "silent"}

    def replace(self, own: Response, url: str, headers: Mapping[str, str]) -> Response:
        """Return what is sent in place of the request's own answer."""
        response = self.response
        if response is None:
            body = own.body if self.about is None else _mistaken(own.body, self.about)
            return Response(self.status or own.status, body, own.headers)
        if self.echo:
            # Firewalls quote what they block, signature and API key included.
            quoted = "\n".join([url, *(f"{name}: {value}" for name, value in headers.items())])
            page = response.body.decode().replace("</body>", f"<pre>{html.escape(quoted)}</pre></body>")
            return Response(response.status, page.encode(), response.headers)
        return response

    def wire(self) -> dict[str, object]:
        """Write it as ``GET /nbext/faults`` shows it."""
        return {
            "kind": self.kind,
            "method": self.method,
            "path": self.path,
            "symbol": self.symbol,
            "times": self.times,
        }


def _mistaken(body: bytes, about: str) -> bytes:
    """Return an answer's body as if it were about something else of the same kind."""
    try:
        document = json.loads(body)
    except ValueError:
        return body
    return json.dumps(_renamed(document, MISTAKEN[about]), separators=(",", ":"), ensure_ascii=False).encode()


def _renamed(part: object, names: frozenset[str]) -> object:
    if isinstance(part, list):
        return [_renamed(each, names) for each in part]
    if isinstance(part, dict):
        return {name: _other(name, value) if name in names else _renamed(value, names) for name, value in part.items()}
    return part


def _other(name: str, value: object) -> object:
    """Return another symbol, another id, or another client id; -1 for no list stays."""
    if name == "symbol":
        return SYMBOLS[value == SYMBOLS[0]]
    if isinstance(value, int):
        return value + OTHER_IDS if value >= 0 else value
    text = str(value)
    return str(int(text) + OTHER_IDS) if text.isdecimal() else text[::-1]


class UpcomingRequests:
    """The next requests that match; each method says what goes wrong with them.

    Parameters
    ----------
    faults : Faults
        Where the fault waits for them.
    method, path, symbol, times
        As `Faults.on` takes them.
    """

    def __init__(self, faults: Faults, method: str, path: str, symbol: str | None, times: int | None) -> None:
        self._faults = faults
        self._fault = partial(Fault, method=method, path=path, symbol=symbol, times=times)

    # Late, or lost.

    def answer_late(self, *, seconds: float) -> None:
        """Execute at once, and answer `seconds` later. Others are served meanwhile."""
        self._faults.add(self._fault(kind="answer_late", late=seconds))

    def execute_late(self, *, seconds: float) -> None:
        """Execute `seconds` after arrival, if the request is not too old by then (rule: timing), and answer."""
        self._faults.add(self._fault(kind="execute_late", delay=seconds))

    def lose_answer(
        self, *, after_executing: bool = True, reset: bool = False, delay: float = 0.0, late: float = 0.0
    ) -> None:
        """Drop the connection, before executing or after it, instead of answering.

        Parameters
        ----------
        after_executing : bool
            Whether the request is executed anyway.
        reset : bool
            Reset the connection (RST) instead of closing it (FIN).
        delay : float
            Seconds until it is executed.
        late : float
            Seconds from then until the connection is dropped.
        """
        ending = "reset" if reset else "closed"
        self._faults.add(
            self._fault(kind="lose_answer", executes=after_executing, delay=delay, late=late, ending=ending)
        )

    def go_dead(self, *, answered: bool = True, after_executing: bool = True) -> None:
        """Keep the connection open without ever answering.

        Parameters
        ----------
        answered : bool
            Answer this request first, so that a later one on the connection gets no answer.
        after_executing : bool
            Whether the request is executed anyway, when it is not answered.
        """
        self._faults.add(
            self._fault(
                kind="go_dead", executes=answered or after_executing, ending="answered" if answered else "silent"
            )
        )

    # Answers that say nothing.

    def fail(
        self,
        *,
        code: int = -1007,
        text: str | None = None,
        status: int | None = None,
        body: str | None = None,
        after_executing: bool = True,
        delay: float = 0.0,
        late: float = 0.0,
    ) -> None:
        """Answer 5XX, whether or not the request is executed.

        Parameters
        ----------
        code : int
            -1000, -1001, -1006, -1007 or -1008, with its documented text; any other code needs a `text`.
        text : str, optional
            Text of the refusal.
        status : int, optional
            HTTP status from 200 to 599; if left out, the code's own, or 400 if it has none.
        body : str, optional
            Sent instead of the documented body: empty, HTML, anything.
        after_executing : bool
            Whether the request is executed.
        delay, late : float
            Seconds until it is executed, and from then until it is answered.
        """
        if code not in UNKNOWN_OUTCOMES and not text:
            raise ValueError(f"code must be one of {', '.join(map(str, UNKNOWN_OUTCOMES))}, or come with a text")
        if status is None:
            status = error_status(code, self._faults.dialect) if code in UNKNOWN_OUTCOMES else 400
        self._answer(
            "fail",
            status=status,
            body=_error(code, text or UNKNOWN_OUTCOMES[code][1]) if body is None else body,
            executes=after_executing,
            delay=delay,
            late=late,
        )

    def truncate(self, *, size: int = 20) -> None:
        """Execute, send only the first `size` bytes of the body, and close the connection."""
        self._faults.add(self._fault(kind="truncate", ending="truncated", size=size))

    def drip(self, *, seconds: float = 1.0, size: int = 1) -> None:
        """Execute, and send the body `size` bytes at a time, every `seconds`."""
        self._faults.add(self._fault(kind="drip", ending="dripped", size=max(size, 1), pause=seconds))

    def firewall(self, *, echo: bool = False) -> None:
        """Answer 403 with HTML, as a web application firewall does; with `echo`, it quotes URL and headers."""
        page = "<html><head><title>403 Forbidden</title></head><body><h1>Request blocked</h1></body></html>"
        self._answer("firewall", status=403, body=page, echo=echo)

    def limit(self, *, retry_after: int | str | None = 1) -> None:
        """Answer 429 without executing; ``Retry-After`` is seconds, any text, or absent (None)."""
        text = (
            "Too much request weight used; current limit is 6000 request weight per 1 MINUTE. "
            "Please use WebSocket Streams for live updates to avoid polling the API."
        )
        self._answer("limit", status=429, body=_error(-1003, text), retry_after=retry_after)

    def ban(self, *, retry_after: int | str | None = 120) -> None:
        """Answer 418 without executing; ``Retry-After`` is seconds, any text, or absent (None)."""
        seconds = retry_after if isinstance(retry_after, int) else 0
        until = int((time.time() + self._faults.skew + seconds) * 1000)
        text = (
            f"Way too much request weight used; IP banned until {until}. "
            "Please use WebSocket Streams for live updates to avoid bans."
        )
        self._answer("ban", status=418, body=_error(-1003, text), retry_after=retry_after)

    def unavailable(self) -> None:
        """Answer 451, as where the service is not offered, without executing."""
        self._answer("unavailable", status=451, body=_error(0, "Service unavailable from a restricted location."))

    # Answers that do not fit.

    def interim(self, *statuses: int) -> None:
        """Send these interim answers before the final one; 103 if none is named."""
        if not INTERIM.issuperset(statuses):
            raise ValueError("interim statuses must be between 100 and 199, except 101, which is final")
        self._faults.add(self._fault(kind="interim", interim=statuses or (103,)))

    def answer_twice(self, *, seconds: float = 0.0) -> None:
        """Send the answer, and the same once more, in the same piece or `seconds` later."""
        self._faults.add(self._fault(kind="answer_twice", copies=2, pause=seconds))

    def answer_about(self, other: str = "symbol") -> None:
        """Execute, and answer as if it had been about another ``symbol``, another ``order``, or another ``list``."""
        if other not in MISTAKEN:
            raise ValueError(f"other must be one of {', '.join(MISTAKEN)}")
        self._faults.add(self._fault(kind="answer_about", about=other))

    def answer_under(self, status: int) -> None:
        """Execute, and send the answer's own body, a report or a refusal, under this HTTP status."""
        self._faults.add(self._fault(kind="answer_under", status=status))

    # The clock.

    def jump(self, *, seconds: float) -> None:
        """Serve the request, then let the exchange's clock jump, so that earlier measurements are stale."""
        self._faults.add(self._fault(kind="jump", jump=seconds))

    def _answer(
        self,
        kind: str,
        *,
        status: int,
        body: str,
        retry_after: int | str | None = None,
        executes: bool = False,
        delay: float = 0.0,
        late: float = 0.0,
        echo: bool = False,
    ) -> None:
        """Add a fault that answers something else."""
        if len(body) > MAX_TEXT:
            raise ValueError(f"a body has at most {MAX_TEXT} characters")
        if isinstance(retry_after, int) and retry_after < 0:
            raise ValueError("retry_after must not be negative")
        if isinstance(retry_after, str) and not (retry_after.isascii() and retry_after.isprintable()):
            raise ValueError("retry_after must be one line of ASCII")
        headers = {"Content-Type": JSON_TYPE if body.startswith("{") else "text/html"}
        if retry_after is not None:
            headers["Retry-After"] = str(retry_after)
        fault = self._fault(kind=kind, status=status, executes=executes, delay=delay, late=late, echo=echo)
        fault.response = Response(status, body.encode(), headers)
        self._faults.add(fault)


def _error(code: int, text: str) -> str:
    return json.dumps({"code": code, "msg": text}, separators=(",", ":"))


class _Directly:
    """A method of `UpcomingRequests` after the arguments of `Faults.on`: ``faults.fail("DELETE", code=-1007)``."""

    def __set_name__(self, _: type, name: str) -> None:
        self._name = name

    def __get__(self, faults: Faults, _: type) -> Callable[..., None]:
        def call(
            method: str = "*", path: str = "*", *, symbol: str | None = None, times: int | None = 1, **what: object
        ) -> None:
            getattr(faults.on(method, path, symbol=symbol, times=times), self._name)(**what)

        return call


class Faults:
    """What goes wrong at an exchange: `on` says which requests meet a fault, and `UpcomingRequests` which fault.

    Parameters
    ----------
    lock : context manager
        Held while anything changes.
    on_change : callable
        Called after `lag` or `skew` has been set.

    Examples
    --------
    >>> from nbext.exchange import LocalExchange
    >>> with LocalExchange() as exchange:
    ...     exchange.faults.on("DELETE", "openOrders", symbol="BTCUSDT").lose_answer()
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

    def on(
        self, method: str = "*", path: str = "*", *, symbol: str | None = None, times: int | None = 1
    ) -> UpcomingRequests:
        """Return the next requests that match, to say what goes wrong with them.

        One request meets one fault, the one set first.

        Parameters
        ----------
        method : str
            ``"DELETE"``; ``"*"`` is any.
        path : str
            ``"/api/v3/openOrders"``, ``"openOrders"`` for short; ``*`` is a wildcard.
        symbol : str, optional
            Any if left out.
        times : int, optional
            How many of them; None for every one until `clear`.
        """
        return UpcomingRequests(self, method, path, symbol, times)

    answer_late = _Directly()
    execute_late = _Directly()
    lose_answer = _Directly()
    fail = _Directly()
    truncate = _Directly()
    drip = _Directly()
    firewall = _Directly()
    limit = _Directly()
    ban = _Directly()
    unavailable = _Directly()

    @property
    def lag(self) -> float:
        """Seconds by which queries are behind the engine.

        They know what happened before the lag was set, and show what happens afterwards this much later.
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
        """Remove everything: no faults, no lag, no skew."""
        with self._lock:
            self._waiting.clear()
            self._lag = self._skew = 0.0
            self._on_change()

    def pending(self) -> list[dict[str, object]]:
        """Return the faults that still wait for a request."""
        with self._lock:
            return [fault.wire() for fault in self._waiting]

    def add(self, fault: Fault) -> None:
        """Add a fault, which waits for its requests."""
        with self._lock:
            if len(self._waiting) == MAX_FAULTS:
                raise ValueError(f"{MAX_FAULTS} faults are waiting: clear() some")
            self._waiting.append(fault)

    def take(self, method: str, path: str, symbol: Callable[[], str | None]) -> Fault | None:
        """Return the fault that this request meets, and count the hit."""
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
