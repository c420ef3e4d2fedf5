"""What queries show: the truth, or, with a lag and in some dialects, what was true a while ago.

The documentation names three sources by growing delay, of which the engine answers no query. Memory has open orders;
the database has everything. Each can lag by its own number of seconds.
"""

from __future__ import annotations

import random
from copy import copy
from typing import TYPE_CHECKING, cast

from nbext.exchange.api import past
from nbext.exchange.engine.limits import SECOND
from nbext.exchange.engine.market_maker import MARKET_ACCOUNT
from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.faults import Faults
    from nbext.exchange.api.handlers import Answer, Handlers
    from nbext.exchange.engine.engine import Engine
    from nbext.exchange.engine.orders import Order

NO_SUCH_ORDER = -2013
MAX_FORGOTTEN = 10_000
# Data sources of rest-api.md: "Memory => Database" asks the second if the first has nothing.
MEMORY_FIRST = frozenset({"query", "openOrders", "openOrderList"})
MEMORY = frozenset({"account", "myTrades"})
DATABASE = frozenset({"allOrders", "queryList", "allOrderList"})
BEHIND = MEMORY_FIRST | MEMORY | DATABASE


class Reads:
    """Answers queries as the dialect and the faults demand.

    Parameters
    ----------
    faults : Faults
        Whose `Faults.lag` counts.
    steady_clock : callable
        Returns the true time in microseconds.
    keeps_past : bool
        Keep the past even while no query needs it.
    """

    _engine: Engine
    _handlers: Handlers

    def __init__(self, faults: Faults, steady_clock: Callable[[], int], *, keeps_past: bool) -> None:
        self._faults = faults
        self._steady_clock = steady_clock
        self._always = keeps_past
        self.keeps_past = False
        self._is_open = False

    def open(self, engine: Engine, handlers: Handlers, seed: int) -> None:
        """Start over with this engine and the handlers that see it as it is."""
        self._engine, self._handlers = engine, handlers
        self._random = random.Random(seed)
        self._asked: dict[Order, int] = {}  # when each was first asked for (rule: forgetting)
        self._lagging_since = 0
        self.keeps_past = False
        self._is_open = True
        self.prepare()

    def prepare(self) -> None:
        """Keep the past from now on if it is needed, for new accounts too."""
        if not self._is_open:
            return
        dialect, lag = self._engine.dialect, self._faults.lag
        if not lag:
            self._lagging_since = 0
        elif not self._lagging_since:
            self._lagging_since = self._steady_clock()
        self._are_true = not (
            lag
            or dialect.lag_memory
            or dialect.lag_database
            or dialect.replicas
            or dialect.torn_read
            or dialect.forgetting
        )
        self.keeps_past = self.keeps_past or self._always or not self._are_true
        if self.keeps_past:
            for name, account in self._engine.accounts.items():
                if name != MARKET_ACCOUNT:
                    past.watch(account)

    def note(self) -> None:
        """Remember what has just changed."""
        for account in self._engine.accounts.values():
            past.note(account, self._steady_clock())

    def answer(self, call: Call) -> Answer:
        """Answer a query."""
        name, dialect = call.endpoint.name, self._engine.dialect
        if self._are_true or name not in BEHIND:
            return self._handlers.answer(call)
        if name == "query":
            self._forgets(call)
        older = dialect.replicas * self._random.choice((0, 0.5, 1)) if dialect.replicas else 0
        if name in MEMORY_FIRST:
            try:
                found = self._earlier(call, dialect.lag_memory + older, only_open=True).answer(call)
            except Refusal as refusal:
                if refusal.code != NO_SUCH_ORDER:
                    raise
            else:
                if found or dialect.empty_memory == "empty":
                    return found
        lag = dialect.lag_memory if name in MEMORY else dialect.lag_database
        return self._earlier(call, lag + older).answer(call)

    def for_cancel(self, call: Call) -> Handlers:
        """Return the handlers for a change: the usual ones, or ones that have forgotten the order."""
        forgets = self._engine.dialect.forgetting and call.endpoint.name == "cancel" and self._forgets(call)
        return self._earlier(call, 0) if forgets else self._handlers

    def _earlier(self, call: Call, lag: float, *, only_open: bool = False) -> Handlers:
        """Return handlers that see the account as it was `lag` seconds ago."""
        now = self._steady_clock()
        moment = now - int(lag * SECOND)
        if self._faults.lag:
            # What happened before the lag was set is known.
            moment = min(moment, max(self._lagging_since, now - int(self._faults.lag * SECOND)))
        engine = copy(self._engine)
        then = past.look_back(
            engine.account(call.account),
            moment,
            only_open=only_open,
            torn=int(self._engine.dialect.torn_read * SECOND),
            without={order for order in self._asked if self._is_forgotten(order, now)},
        )
        engine.accounts = engine.accounts | {call.account: then}
        return self._handlers.with_engine(engine)

    def _forgets(self, call: Call) -> bool:
        """Return whether the order that a request names is forgotten now; every second one is, once."""
        params, now = call.params, self._steady_clock()
        symbol, order_id, client_id = params["symbol"], params.get("orderId"), params.get("origClientOrderId")
        if symbol not in self._engine.symbols:
            return False
        account = self._engine.account(call.account)
        order = account.find(str(symbol), cast("int | None", order_id), cast("str | None", client_id))
        if order is None or not order.is_live or order.order_id % 2:
            return False
        if len(self._asked) >= MAX_FORGOTTEN:
            del self._asked[next(iter(self._asked))]
        self._asked.setdefault(order, now)
        return self._is_forgotten(order, now)

    def _is_forgotten(self, order: Order, now: int) -> bool:
        return now - self._asked[order] < self._engine.dialect.forgetting * SECOND
