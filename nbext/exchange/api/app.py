"""The app: everything behind HTTP, and the way of a request through it.

It owns the clock, the engine, the admission, the faults and the record of requests. `arrive` records a request, `enter`
checks it, and `execute` takes it to the engine; time may pass in between.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, defaultdict, deque
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from decimal import Context, localcontext
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from nbext.exchange.api import past
from nbext.exchange.api.admission import Admission, Key
from nbext.exchange.api.endpoints import BY_PATH
from nbext.exchange.api.faults import Faults, full_path
from nbext.exchange.api.handlers import Handlers
from nbext.exchange.api.reads import Reads
from nbext.exchange.api.responses import (
    JSON_TYPE,
    Response,
    answer_id,
    held_back,
    http_date,
    refused,
    to_json,
    unknown_outcome,
    unserved,
)
from nbext.exchange.api.shapes import shaped
from nbext.exchange.dialect import Dialect
from nbext.exchange.engine.accounts import KEPT_ORDERS
from nbext.exchange.engine.engine import Engine
from nbext.exchange.engine.limits import MILLISECOND, SECOND, RequestLimits
from nbext.exchange.engine.market_maker import MarketMaker
from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange.api.admission import Call, Request, Verifier
    from nbext.exchange.api.endpoints import Endpoint
    from nbext.exchange.engine.orders import Event

# Prices and quantities have up to 19 digits each: their products stay exact.
EXACT = Context(prec=60)
MAX_ENTRIES = 100_000


@dataclass(slots=True)
class Entry:
    """One request and its result: a line of the record."""

    number: int
    time: int
    method: str
    path: str
    symbol: str | None = None
    status: int | None = None  # None: no answer was sent, or not yet
    executed: bool = False  # the engine carried it out
    fault: str | None = None

    @property
    def name(self) -> str:
        """The request as histories name it."""
        return f"{self.method} {self.path}".strip()


@dataclass(slots=True)
class RequestContext:
    """A request on its way through the exchange."""

    entry: Entry
    request: Request
    engine: Engine
    call: Call | None = None
    refusal: Response | None = None
    has_departed: bool = False  # it has passed the last check of its age

    def symbol(self) -> str | None:
        """Return the symbol of the request, if it can be read."""
        for raw in (self.request.query, self.request.body):
            named = parse_qs(raw.decode("utf-8", "replace"), errors="replace").get("symbol")
            if named:
                return named[0]
        return None


class App:
    """An exchange without HTTP.

    Parameters
    ----------
    seed : int
        Fixes ids and starting prices.
    max_num_orders : int
        MAX_NUM_ORDERS of each symbol.
    request_limits : RequestLimits
        What each address may ask for.
    order_limits : tuple of int
        Unfilled order count allowed in ten seconds and in a day.
    kept_orders : int
        How many ended orders each account can look up.
    dialect : Dialect, optional
        What it does where the documentation is silent.
    keeps_past : bool
        Whether it can say what was true at an earlier moment.
    given_out : defaultdict, optional
        As the engine's.
    """

    def __init__(
        self,
        *,
        seed: int,
        max_num_orders: int,
        request_limits: RequestLimits,
        order_limits: tuple[int, int],
        kept_orders: int = KEPT_ORDERS,
        dialect: Dialect | None = None,
        keeps_past: bool = False,
        given_out: defaultdict[str, int] | None = None,
    ) -> None:
        self._seed = seed
        self._given_out = defaultdict(lambda: -1) if given_out is None else given_out
        self._max_num_orders = max_num_orders
        self._order_limits = order_limits
        self._kept_orders = kept_orders
        self._ahead = 0
        self._skew = 0
        self._moment: int | None = None
        # What each moment's step was for, and when it was by a clock that is right.
        self._causes: OrderedDict[int, tuple[Entry, int]] = OrderedDict()
        self._entries: deque[Entry] = deque(maxlen=MAX_ENTRIES)
        self._asked = 0
        self._to_refund: deque[Call] = deque()
        self.lock = threading.RLock()
        self.errors: list[Exception] = []
        self.faults = Faults(self.lock, self._faults_changed)
        self.reads = Reads(self.faults, self.steady_clock, keeps_past=keeps_past)
        self.admission = Admission(self.clock, request_limits)
        self.open(dialect or Dialect())

    def open(self, dialect: Dialect) -> None:
        """Open for the first time, or again, with the same prices; keys and their accounts stay."""
        self.dialect = self.faults.dialect = dialect
        self._engine_ahead = int(dialect.engine_clock * SECOND)
        self._ahead = self._asked = 0
        self.faults.clear()
        cause = self._causes.get(self._moment or 0)
        self._causes.clear()
        if cause is not None:
            # The step that caused this began when the clock was still ahead.
            self._moment = self.clock() + self._engine_ahead
            self._causes[self._moment] = cause[0], self.steady_clock()
        self._entries.clear()
        self.admission.dialect = dialect
        self.admission.forget_callers()
        with localcontext(EXACT):
            self.engine = Engine(
                seed=self._seed,
                clock=self._engine_clock,
                max_num_orders=self._max_num_orders,
                order_limits=self._order_limits,
                kept_orders=self._kept_orders,
                dialect=dialect,
                given_out=self._given_out,
            )
            self.maker = MarketMaker(self.engine, self._seed)
            for key in self.admission.keys.values():
                self.engine.account(key.account)
        self.handlers = Handlers(self.engine, self.admission.limits, self.clock, self.maker)
        self.reads.open(self.engine, self.handlers, self._seed)

    def add_key(self, api_key: str, account: str, verifier: Verifier, *, can_trade: bool) -> None:
        """Allow an API key to act for an account, opened if new, with one more kind of signature."""
        with self.lock:
            self.engine.account(account)
            self.reads.prepare()
            self.admission.keys.setdefault(api_key, Key(account, can_trade=can_trade)).verifiers.append(verifier)

    # Time. It does not pass within a step, and no two steps that change something share a moment: the moment
    # of an event says which request caused it.

    def clock(self) -> int:
        """Return the exchange's time in microseconds."""
        return self.steady_clock() + self._skew

    def steady_clock(self) -> int:
        """Return the true time in microseconds, without skew."""
        return time.time_ns() // 1000 + self._ahead

    def advance(self, microseconds: int) -> None:
        """Move the clock forward, within a step too."""
        with self.lock:
            self._ahead += microseconds
            if self._moment is not None:
                cause, _ = self._causes[self._moment]
                self._moment = self._new_moment(self._moment + microseconds, cause)

    def _engine_clock(self) -> int:
        return self.clock() + self._engine_ahead if self._moment is None else self._moment

    def _new_moment(self, moment: int, cause: Entry) -> int:
        """Return the first free moment from this one on, and note its cause; of very many, the latest are kept."""
        while moment in self._causes:
            moment += 1
        if len(self._causes) >= MAX_ENTRIES:
            self._causes.popitem(last=False)
        self._causes[moment] = cause, self.steady_clock()
        return moment

    @contextmanager
    def step(self, cause: str) -> Iterator[None]:
        """Hold the engine for one step that may change something, and name its cause."""
        with self.lock, localcontext(EXACT):
            outer = self._begin(Entry(0, 0, "", cause))
            try:
                yield
            finally:
                self._end(outer)

    def _begin(self, cause: Entry) -> int | None:
        outer = self._moment
        self._moment = self._new_moment(self.clock() + self._engine_ahead, cause)
        return outer

    def _end(self, outer: int | None) -> None:
        self._moment = outer
        if outer is None and self.reads.keeps_past:
            self.reads.note()

    def move(self) -> None:
        """Move the markets that move with the time."""
        with self.lock:
            if not self.maker.due_by(self.engine.now()):
                return
            try:
                with self.step("the market"):
                    self.maker.catch_up(self.engine.now())
            except Exception as error:  # noqa: BLE001 - kept, and raised where the caller is
                self._broken(error)

    # The way of a request.

    def arrive(self, method: str, path: str, request: Request) -> RequestContext:
        """Write a request into the record."""
        with self.lock:
            self._asked += 1
            entry = Entry(self._asked, self.clock() // MILLISECOND, method, path)
            self._entries.append(entry)
            return RequestContext(entry, request, self.engine)

    def enter(self, context: RequestContext) -> None:
        """Check a request in the usual order (rule: checks)."""
        entry = context.entry
        with self.lock:
            try:
                self.admission.count_request(context.request)
                endpoints = BY_PATH.get(entry.path)
                if endpoints is None:
                    context.refusal = unserved(entry.path)
                elif entry.method not in endpoints:
                    context.refusal = Response(405)  # rule: wrong-method
                else:
                    context.call = self._admit(endpoints[entry.method], context.request)
            except Refusal as refusal:
                context.refusal = refused(refusal, self.dialect)
            except Exception as error:  # noqa: BLE001 - kept, and raised where the caller is
                context.refusal = self._broken(error)
        entry.symbol = _symbol_of(context)

    def _admit(self, endpoint: Endpoint, request: Request) -> Call:
        call = self.admission.admit(endpoint, request)
        if endpoint.orders:
            self.handlers.check_order_count(call)
        return call

    def tail(self, context: RequestContext) -> float:
        """Return how many seconds a request that changes something takes after the last check of its age.

        If it takes any, the check is made now.
        """
        call, seconds = context.call, self.dialect.engine_tail
        if call is None or call.endpoint.method == "GET" or not seconds:
            return 0.0
        try:
            with self.lock:
                self.admission.check_departure(call)
        except Refusal:
            return 0.0  # and is made again
        context.has_departed = True
        return seconds

    def execute(self, context: RequestContext) -> Response:
        """Execute an admitted request and answer it; an error of the exchange itself is kept for the caller."""
        call = context.call
        if call is None:
            return context.refusal or Response(500)
        with self.lock, localcontext(EXACT):
            if context.engine is not self.engine:
                # It was under way during a reset: nothing from before reaches what comes after.
                return unknown_outcome(-1007, self.dialect)
            headers = {"Content-Type": JSON_TYPE}
            answer: object
            try:
                if call.endpoint.method == "GET":
                    answer = self.reads.answer(call)
                else:
                    outer = self._begin(context.entry)
                    try:
                        answer = self._change(context, call, headers)
                    finally:
                        self._end(outer)
                answer = shaped(call.endpoint.name, answer, self.dialect)
                response = Response(200, to_json(answer), headers)
            except Refusal as refusal:
                return refused(refusal, self.dialect, call.endpoint.name)
            except Exception as error:  # noqa: BLE001 - kept, and raised where the caller is
                return self._broken(error)
        context.entry.executed = True
        return response

    def _change(self, context: RequestContext, call: Call, headers: dict[str, str]) -> object:
        orders = call.endpoint.orders
        try:
            if not context.has_departed:
                self.admission.check_departure(call)
        except Refusal:
            if orders:
                self.handlers.count_orders(call)  # this check is late enough to count (rule: refused-count)
            raise
        answer = self.reads.for_cancel(call).answer(call)
        if self.dialect.weight_refund == "after_answer":
            self._to_refund.append(call)
        else:
            self.admission.refund(call)
        if orders:
            headers |= self.handlers.count_orders(call)
        return answer

    def date(self) -> dict[str, str]:
        """Return the header that says what time it is by the exchange's clock (rule: date)."""
        return {"Date": http_date(self.clock() // SECOND)}

    def limit_headers(self, request: Request) -> dict[str, str]:
        """Return the headers that every response carries (rule: request-limits, date, answer-ids)."""
        used = str(self.admission.used_weight(request))
        while self._to_refund:
            self.admission.refund(self._to_refund.popleft())
        headers = {**self.date(), "X-MBX-USED-WEIGHT": used, "X-MBX-USED-WEIGHT-1M": used}
        if self.dialect.answer_ids == "each":
            headers["X-MBX-UUID"] = answer_id()
        return headers

    def held_back(self, response: Response) -> Response:
        """Return a 429 or 418 in the form that the dialect has for it."""
        return held_back(response, self.dialect, self.clock())

    def _broken(self, error: Exception) -> Response:
        self.errors.append(error)
        return unknown_outcome(-1000, self.dialect)

    def _faults_changed(self) -> None:
        self._skew = int(self.faults.skew * SECOND)
        self.reads.prepare()

    # The truth.

    def requests(
        self, method: str | None = None, path: str | None = None, symbol: str | None = None
    ) -> list[dict[str, object]]:
        """Return the record of requests, oldest first."""
        with self.lock:
            entries = list(self._entries)
        wanted = {"method": method, "path": None if path is None else full_path(path), "symbol": symbol}
        return [
            asdict(entry)
            for entry in entries
            if all(value is None or getattr(entry, name) == value for name, value in wanted.items())
        ]

    def history(self, order_id: int, symbol: str) -> list[dict[str, object]]:
        """Return what happened to an order, in sequence."""
        with self.lock:
            for account in self.engine.accounts.values():
                order = account.orders[symbol].get(order_id)
                if order is not None:
                    return [self._event(event) for event in order.history]
        raise LookupError(f"no order {order_id} on {symbol}")

    def orders(self, symbol: str | None, at: float | None, account: str) -> list[dict[str, object]]:
        """Return all orders of an account as they were at a moment, in seconds of true time."""
        if at is not None and not self.reads.keeps_past:
            raise ValueError("`at` needs an exchange made with keeps_past=True")
        moment = None if at is None else int(at * SECOND)
        with self.lock:
            known = self.engine.account(account).orders
            rows = []
            for order in [order for name in known for order in known[name].values() if symbol in {None, name}]:
                told = past.truth(order, moment)
                if told is not None:
                    happened = [each for each in order.history if moment is None or self._happened(each)[1] <= moment]
                    rows.append(told | {"history": [self._event(event) for event in happened]})
            return rows

    def _happened(self, event: Event) -> tuple[Entry | None, int]:
        """Return what caused an event, and when; neither is known of very old ones."""
        return self._causes.get(event.time, (None, 0))

    def _event(self, event: Event) -> dict[str, object]:
        cause, moment = self._happened(event)
        return {
            "time": event.time // MILLISECOND,
            "at": moment / SECOND if moment else None,
            "status": event.status,
            "executedQty": str(event.executed),
            "cause": event.cause,
            "by": None if cause is None else cause.name,
            "request": None if cause is None else cause.number or None,
        }


def _symbol_of(context: RequestContext) -> str | None:
    if context.call is None:
        return context.symbol()
    symbol = context.call.params.get("symbol")
    return symbol if isinstance(symbol, str) else None
