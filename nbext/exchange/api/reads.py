"""What queries show: the truth, or in some dialects, and with a lag, what was true a while ago.

The documentation names three sources by growing delay, of which the engine answers no query. Memory holds what is open;
the database holds everything. Each of them can be behind, by its own number of seconds.
"""

from __future__ import annotations

import random
from copy import copy
from typing import TYPE_CHECKING, cast

from nbext.exchange.api import past
from nbext.exchange.api.handlers import Desk
from nbext.exchange.engine.limits import SECOND
from nbext.exchange.engine.market_maker import MARKET_ACCOUNT
from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from nbext.exchange.api.admission import Admission
    from nbext.exchange.api.app import Venue
    from nbext.exchange.api.handlers import Answer
    from nbext.exchange.engine.orders import Order

NO_SUCH_ORDER = -2013
MAX_FORGOTTEN = 10_000
# Data sources of rest-api.md: "Memory => Database" asks the second if the first has nothing.
MEMORY_FIRST = frozenset({"query", "openOrders", "openOrderList"})
MEMORY = frozenset({"account", "myTrades"})
DATABASE = frozenset({"allOrders", "queryList", "allOrderList"})
BEHIND = MEMORY_FIRST | MEMORY | DATABASE


class Reads:
    """Answers queries of a venue as its dialect and its faults have it.

    Parameters
    ----------
    venue : Venue
        The venue that it belongs to.
    keeps_past : bool
        Keep the past even while no query needs it.
    """

    def __init__(self, venue: Venue, *, keeps_past: bool) -> None:
        self._venue = venue
        self._always = keeps_past
        self.keeps_past = False
        self._is_open = False

    def open(self, seed: int) -> None:
        """Begin anew."""
        self._random = random.Random(seed)  # noqa: S311 - which replica answers, no secret
        self._asked: dict[Order, int] = {}  # when each was asked for first, by those that forget
        self._lagging_since = 0
        self.keeps_past = False
        self._is_open = True
        self.prepare()

    def prepare(self) -> None:
        """Keep the past from now on if it is needed, of accounts that have just been opened, too."""
        if not self._is_open:
            return
        dialect, lag = self._venue.dialect, self._venue.faults.lag
        if not lag:
            self._lagging_since = 0
        elif not self._lagging_since:
            self._lagging_since = self._venue.steady_clock()
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
            for name, account in self._venue.engine.accounts.items():
                if name != MARKET_ACCOUNT:
                    past.watch(account)

    def note(self) -> None:
        """Remember what has just changed."""
        for account in self._venue.engine.accounts.values():
            past.note(account, self._venue.steady_clock())

    def answer(self, asked: Admission) -> Answer:
        """Answer a query."""
        name, dialect = asked.endpoint.name, self._venue.dialect
        if self._are_true or name not in BEHIND:
            return self._venue.desk.answer(asked)
        if name == "query":
            self._forgets(asked)
        older = dialect.replicas * self._random.choice((0, 0.5, 1)) if dialect.replicas else 0
        if name in MEMORY_FIRST:
            try:
                found = self._desk(asked, dialect.lag_memory + older, only_open=True).answer(asked)
            except Refusal as refusal:
                if refusal.code != NO_SUCH_ORDER:
                    raise
            else:
                if found or dialect.empty_memory == "empty":
                    return found
        lag = dialect.lag_memory if name in MEMORY else dialect.lag_database
        return self._desk(asked, lag + older).answer(asked)

    def for_cancel(self, asked: Admission) -> Desk:
        """Return the desk that serves what changes something: the venue's, or one that has forgotten the order."""
        forgets = self._venue.dialect.forgetting and asked.endpoint.name == "cancel" and self._forgets(asked)
        return self._desk(asked, 0) if forgets else self._venue.desk

    def _desk(self, asked: Admission, lag: float, *, only_open: bool = False) -> Desk:
        """Return a desk that knows the account as it was so many seconds ago."""
        venue = self._venue
        now = venue.steady_clock()
        moment = now - int(lag * SECOND)
        if venue.faults.lag:
            # What happened before the lag was set is known.
            moment = min(moment, max(self._lagging_since, now - int(venue.faults.lag * SECOND)))
        engine = copy(venue.engine)
        then = past.look_back(
            engine.account(asked.account),
            moment,
            only_open=only_open,
            torn=int(venue.dialect.torn_read * SECOND),
            without={order for order in self._asked if self._is_forgotten(order, now)},
        )
        engine.accounts = engine.accounts | {asked.account: then}
        return Desk(engine, venue.gate.limits, venue.clock)

    def _forgets(self, asked: Admission) -> bool:
        """Tell whether the one order that a request names is forgotten at present; every second one will be, once."""
        params, now = asked.params, self._venue.steady_clock()
        symbol, order_id, client_id = params["symbol"], params.get("orderId"), params.get("origClientOrderId")
        if symbol not in self._venue.engine.symbols:
            return False
        account = self._venue.engine.account(asked.account)
        order = account.find(str(symbol), cast("int | None", order_id), cast("str | None", client_id))
        if order is None or not order.is_live or order.order_id % 2:
            return False
        if len(self._asked) >= MAX_FORGOTTEN:
            del self._asked[next(iter(self._asked))]
        self._asked.setdefault(order, now)
        return self._is_forgotten(order, now)

    def _is_forgotten(self, order: Order, now: int) -> bool:
        return now - self._asked[order] < self._venue.dialect.forgetting * SECOND
