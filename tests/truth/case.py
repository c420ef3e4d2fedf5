"""One call and what is known of it, and what answers say of orders."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from .proxy import Talk
    from .record import Id, Truth
    from .told import Told

ALL, ONE, LIST = "/api/v3/openOrders", "/api/v3/order", "/api/v3/orderList"
OPEN_LISTS, TIME, HISTORY = "/api/v3/openOrderList", "/api/v3/time", "/api/v3/allOrders"

COLUMNS = (
    *("symbol", "orderId", "orderListId", "contingencyType", "side", "type", "timeInForce", "price", "stopPrice"),
    *("origQty", "executedQty", "cummulativeQuoteQty", "origQuoteOrderQty", "icebergQty", "status"),
    *("origClientOrderId", "clientOrderId", "listClientOrderId", "listStatusType", "listOrderStatus"),
    *("transactTime", "transactionTime", "selfTradePreventionMode", "outcome"),
)
IDS = frozenset(
    {"orderId", "orderListId", "trailingDelta", "strategyId", "strategyType", "preventedMatchId", "pegOffsetValue"}
)
TIMES = frozenset({"transactTime", "transactionTime", "time", "updateTime", "workingTime", "trailingTime"})
NUMBERS = frozenset(
    {
        *("price", "stopPrice", "origQty", "executedQty", "cummulativeQuoteQty", "origQuoteOrderQty", "icebergQty"),
        *("preventedQuantity", "peggedPrice"),
    }
)
FLAGS = frozenset({"isWorking"})
AMOUNTS = frozenset(
    {"executedQty", "cummulativeQuoteQty", "orderListId"}
)  # of which zero, or -1, is a value like any other
TEXTS = frozenset({*COLUMNS, "pegPriceType", "pegOffsetType"}) - IDS - TIMES - NUMBERS
LASTING = (
    *("symbol", "orderId", "orderListId", "contingencyType", "side", "type", "timeInForce", "price", "stopPrice"),
    *("origQty", "origQuoteOrderQty", "icebergQty", "origClientOrderId", "listClientOrderId"),
    *("selfTradePreventionMode", "trailingDelta", "strategyId", "strategyType", "expiryReason"),
    *("pegPriceType", "pegOffsetType", "pegOffsetValue"),
)
FINAL = frozenset({"canceled", "filled", "expired", "rejected", "archived"})
STATES = FINAL | {"open", "unknown"}
LIST_WORDS = {"listStatusType": ("EXEC_STARTED", "ALL_DONE"), "listOrderStatus": ("EXECUTING", "ALL_DONE")}
# A call that was ended from outside may not have heard what was passed to it.
CUT_SHORT = frozenset({"Interrupted", "KeyboardInterrupt", "killed", "Alarm", "Callback"})
LONGEST = 25.0
MOMENT = 0.1
"""What a call may take between two steps, on a machine that does nothing else."""


@dataclass
class Case:
    """One call, and what is known of it.

    Attributes
    ----------
    way : str
        How it was called.
    told : Told
    record : mapping
        The exchange's own.
    talks : list of Talk
        What passed between the call and the exchange, looks and previews included.
    symbols : list of str
        Those asked for; empty for all.
    host, profile, key : str
    exact : bool
    seen : set of Id
        The orders that the call has seen open, and should cancel.
    numbers : set of int
        The numbers that the exchange gave to the call's cancels.
    lag : float
        Seconds by which reads lag behind.
    beyond : bool
        Whether reads lag, or cancels come, later than nbext allows for.
    clock_moves : bool
        Whether the exchange's clock, or what it says of it, moves.
    lossless : bool
        Whether nothing has gone wrong: no fault, nobody else, the usual dialect.
    doubtful : bool
        Whether answers were such that nobody has to believe them.
    reconcile : float
        Seconds that the call had to find out what became of orders.
    lag_allowed : float
        Seconds by which the call was told that reads may lag.
    cancel_lasts : float
        Seconds after which a cancel, as the call was told, can no longer arrive or be worked on.
    dialect : mapping
        What differs from the usual one.
    answer_seconds : float
        For so long the call waits for an answer.
    returned : float
        Monotonic time at which it returned.
    late : callable
        By how much a thread was woken too late at worst, between two moments of the monotonic clock.
    """

    way: str
    told: Told
    record: Mapping[Id, Truth]
    talks: list[Talk]
    symbols: list[str]
    host: str
    key: str
    profile: str = "custom"
    exact: bool = False
    seen: set[Id] = field(default_factory=set)
    numbers: set[int] = field(default_factory=set)
    lag: float = 0.0
    beyond: bool = False
    clock_moves: bool = False
    lossless: bool = False
    doubtful: bool = False
    reconcile: float = 0.0
    lag_allowed: float = 0.0
    cancel_lasts: float = 0.0
    dialect: Mapping[str, Any] = field(default_factory=dict)
    answer_seconds: float = 12.0
    returned: float = 0.0
    late: Callable[[float, float], float] = lambda *_: 0.0
    entries: list[dict[str, Any]] | None = None
    facts: Counter[str] = field(default_factory=Counter)

    @property
    def deletes(self) -> list[Talk]:
        """The cancels that went out."""
        return [talk for talk in self.talks if talk.method == "DELETE"]

    @property
    def rows(self) -> list[dict[str, Any]]:
        """The rows of its frame."""
        return self.told.rows or []

    def truth(self, order: Id) -> Truth | None:
        """Look an order up."""
        return self.record.get(order)

    @property
    def skews(self) -> set[float]:
        """By how many seconds the exchange's clock was ahead, at any request and by what it told; and by none."""
        told = {0.0, *(talk.skew for talk in self.talks)}
        for talk in self.talks:
            document = talk.document() if talk.path == TIME else None
            if isinstance(document, dict) and isinstance(told_time := document.get("serverTime"), int):
                told.add(told_time / 1000 - talk.wall)
        return told

    @property
    def hold_up(self) -> float:
        """Seconds that the machine may have taken from any step of this call."""
        return self.late(min((talk.at for talk in self.talks), default=self.returned) - 1.0, self.returned)

    @property
    def reads(self) -> list[Talk]:
        """What was read to find out what became of orders, whatever came of it."""
        last = max((number for number, talk in enumerate(self.talks) if talk.method == "DELETE"), default=None)
        if last is not None:
            return [talk for talk in self.talks[last + 1 :] if talk.method == "GET"]
        first = next((number for number, talk in enumerate(self.talks) if talk.path in {ONE, HISTORY}), len(self.talks))
        return self.talks[first:]

    def is_late(self, talk: Talk) -> bool:
        """Return whether a read was answered when the time for reading was up, or about to be.

        A call promises to read for so long and no longer (``reconcile``), so it gives up a read that is under way then.
        Its time began before its first read was heard of here, and an answer is on its way for a while.
        """
        reads = self.reads
        if talk.done_at is None or talk not in reads:
            return False
        ends = reads[0].at + self.reconcile
        return talk.at < ends and talk.done_at > ends - MOMENT - self.hold_up

    def heard(self, talk: Talk) -> Any:
        """Return an answer that the call must have heard, and had reason to believe; else None."""
        if talk.done_at is None or talk.done_at - talk.at > self.answer_seconds / 4 or talk.done_at > self.returned:
            return None
        held_up = self.late(talk.at - self.answer_seconds, talk.done_at + self.answer_seconds)
        if talk.done_at - talk.at + 3 * held_up > self.answer_seconds / 2:  # the call may have given it up
            return None
        if talk.mangled or talk.status != 200 or self.told.error in CUT_SHORT or self.doubtful or self.is_late(talk):
            return None
        return talk.document()

    def has_the_word(self, symbol: str) -> bool:
        """Return whether the exchange itself said that nothing was open on a symbol, where nobody had looked before.

        An empty answer, or an unknown order, names nothing that would show that it is another request's, or that some
        orders were canceled all the same. No client can see through it, so it is counted apart.
        """
        hidden = self.dialect.get("partial_refusal") == "unknown_after_some"
        for talk in self.deletes:
            if talk.path == ALL and talk.params.get("symbol") == symbol and (talk.mangled or hidden) and not self.seen:
                document = talk.document()
                refused = isinstance(document, dict) and document.get("code") in {-1013, -2011}
                if document == [] or refused:
                    self.facts["the exchange's word that nothing was open"] += 1
                    return True
        return False


def reports(document: object) -> Iterator[tuple[Id, dict[str, Any], dict[str, Any] | None]]:
    """Yield each order in an answer, with the list that it came in."""
    entries = [document] if isinstance(document, dict) else document if isinstance(document, list) else []
    for entry in entries:
        if not isinstance(entry, dict):
            continue
        legs = entry.get("orderReports")
        for order in legs if isinstance(legs, list) else [entry]:
            if isinstance(order, dict) and "orderId" in order and "status" in order:
                yield (str(order.get("symbol")), int(order["orderId"])), order, entry if legs is not None else None


def identity(row: Mapping[str, Any]) -> Id:
    """Return which order a row is about; an id that its column cannot hold stands beside it."""
    number = row.get("orderId")
    return str(row.get("symbol")), int(row.get("wire.orderId") or -1) if number is None else int(number)
