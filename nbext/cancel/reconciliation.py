"""Find the outcomes that no answer gives.

What is believed, and why (API docs, "Data sources" and error -1007):

- A terminal status is final, whichever read shows it. Its quantities may be older than the status, so they are believed
  once a later read has had time to catch up, or when nothing is left to execute.
- Absence from ``openOrders`` proves nothing, nor does -2013: a read may lag, an exchange may forget an order for a
  while, or the order may have ended in any way. -2026 is believed only of orders that have not changed for 90 days.
- A cancel that was sent may still arrive while its recv window lasts, and may then take as long as the exchange allows
  any request. So ``open`` needs a read that began after that, and after the allowance for lagging reads. The same holds
  if the answer does not name an order that was seen open before. A cancel that the exchange never saw cannot arrive, so
  the allowance alone is enough.
- What nothing proves is ``unknown``.

No document bounds how long a cancel may take inside the engine, or how far reads lag. So ``open`` has a date, and says
nothing about later.

Outcomes are states of orders. They say what happened, not who caused it: that cannot be known.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from nbext.cancel.reads import read, read_list
from nbext.errors import NbextError, RateLimitedError, RejectedError
from nbext.orders import (
    FINAL,
    Row,
    as_reported,
    decimal,
    identity,
    in_doubt,
    is_open,
    lasting,
    may_show_the_cancel,
    outcome,
    plain,
)
from nbext.spot.answers import KEY_CODES, of_the_engine
from nbext.spot.parameters import DEFAULT_RECV_WINDOW

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbext.cancel.selection import Latency
    from nbext.cancel.sending import Attempt
    from nbext.spot.client import SpotClient

# What a cancel can have left behind; an order that was not seen before and FILLED may have nothing to do with it.
_CANCELED = frozenset({"CANCELED", "EXPIRED"})
_ARCHIVED = -2026
_ARCHIVED_AFTER = 90 * 86_400_000
# Reading one order costs 4, all of a symbol 20: up to this many at a time are read one by one.
_SINGLY = 5
_MOST_SINGLY = 25
_PAGE = 1000
_MOST_PAGES = 50
_A_DAY = 86_400_000 - 1
# A preview may be a minute old, and what it showed may have ended at any time since.
_PREVIEW = 90_000
# The engine's clock may be off by some seconds against the one that `GET /api/v3/time` tells of.
_CLOCKS = 5_000
# A request is taken from a clock that is behind by its recv window, 60 s at most.
_BEHIND = 60_000 + _CLOCKS
_EXECUTED = ("executedQty", "cummulativeQuoteQty")


# Nothing changes these of an order.
_FIXED = ("side", "type")


@dataclass(slots=True)
class _Known:
    """What is known of one order: its fields, in the names of a cancel report, and its state as last proven."""

    order: dict[str, Any] = field(default_factory=dict)
    order_list: Mapping[str, Any] | None = None
    state: str = "unknown"
    ended_by: float = 0.0
    """Monotonic end of the first read that showed that it had ended."""
    is_whole: bool = False
    """Whether its quantities are final as well."""
    as_of: float | None = None


class Reconciliation:
    """The search for the outcomes of the orders of one cancel.

    Parameters
    ----------
    client : SpotClient
    attempt : Attempt
        The cancel, with the time at which it was sent.
    recv_window : str or None
        Milliseconds; None for the exchange's default.
    latency : Latency
    missing : sequence of Row, optional
        The cancel was answered, and these orders, seen open before, are not in the answer. Otherwise the answer was
        lost: the orders are those of the request, and the cancel may still arrive.
    unseen : bool, default False
        Whether the engine never saw the cancel, so that it cannot arrive any more.
    ended : collection of (str, int)
        Orders of which an answer says that they have ended: a read that shows one of them open is older than that.
    until : int, optional
        Milliseconds by the exchange's clock after which the cancel cannot have been sent, if its time is not known.
    """

    def __init__(
        self,
        client: SpotClient,
        attempt: Attempt,
        recv_window: str | None,
        latency: Latency,
        *,
        missing: Sequence[Row] | None = None,
        unseen: bool = False,
        ended: frozenset[tuple[str, int]] = frozenset(),
        until: int | None = None,
    ) -> None:
        self._client = client
        self._symbol = attempt.request.symbol
        self._lag = latency.lag
        self._in_flight = missing is None
        self._unseen = unseen
        self._ended = {number for symbol, number in ended if symbol == self._symbol}
        seen = attempt.request.seen if missing is None else missing
        self._seen = None if seen is None else list(seen)
        self._known: dict[Any, _Known] = {}
        for row in self._seen or ():
            if (ident := identity(row.order)) is not None:
                bare = in_doubt(row)
                # Executed quantities never decrease.
                executed = {name: row.order[name] for name in _EXECUTED if name in row.order}
                self._known[ident[1]] = _Known({**bare.order, **executed}, bare.order_list)
        self._sent_at = attempt.at
        stamped, really = attempt.stamp, attempt.stamp - 1000.0
        if client.clock_offset is not None:
            really = min(stamped, client.now() - (time.monotonic() - attempt.at) * 1000)
        # A stamp from a clock that runs ahead keeps the request good for longer.
        good_for = (stamped - really + float(recv_window or DEFAULT_RECV_WINDOW)) / 1000
        may_take = good_for + latency.engine
        self._proven_after = (time.monotonic() if unseen else attempt.at + may_take) + latency.lag
        self._really = really
        self._since = round(really) - (1000 if self._seen is None else _PREVIEW)
        self._until = max(round(really + may_take * 1000), until or 0)
        self._none_open_at: float | None = None
        self._found_all = self._helpless = False
        self._has_read = not attempt.request.path  # an order that is gone was missed in what had just been read
        self._asked: Counter[Any] = Counter()
        self._all_pages_read = True

    @property
    def done(self) -> bool:
        """Whether further reads are useless."""
        # No read can be told to be about an order that was listed without its id.
        return self._helpless or (self._knows_all if self._seen is not None else self.is_reconciled)

    @property
    def is_reconciled(self) -> bool:
        """Whether reads have shown all they can."""
        return self._knows_all and (self._found_all if self._seen is None else self._names_all)

    @property
    def _knows_all(self) -> bool:
        return all(each.is_whole if each.state in FINAL else each.state == "open" for each in self._known.values())

    @property
    def proven(self) -> bool:
        """Whether the outcome of each order is known.

        Without an earlier look, orders that reads do not show may have existed, so finding nothing proves nothing.
        """
        known = all(each.state != "unknown" for each in self._known.values())
        return known and (self._names_all if self._seen is not None else self._found_all and bool(self._known))

    @property
    def ended(self) -> bool:
        """Whether every order is known to have ended."""
        return self.proven and all(known.state in FINAL for known in self._known.values())

    @property
    def _names_all(self) -> bool:
        return all(identity(row.order) is not None for row in self._seen or ())

    def read(self, until: float) -> None:
        """Read once, and keep what it proves.

        Parameters
        ----------
        until : float
            Monotonic time at which reading ends.

        Raises
        ------
        NbextError
            The exchange did not answer.
        """
        failed: NbextError | None = None
        with self._client.until(until):
            for step in (self._read_unseen,) if self._seen is None else self._steps:
                try:
                    step(until)
                except NbextError as error:  # one endpoint, or one order, may fail by itself
                    failed = failed or error
                    hopeless = isinstance(error, RejectedError) and error.code in KEY_CODES
                    limited = isinstance(error, RateLimitedError)
                    waits_for_longer = self._client.held_for > until - time.monotonic()
                    out_of_reach = self._unseen and not self._has_read and not limited
                    self._helpless = hopeless or waits_for_longer or out_of_reach
                    if self._helpless or limited:
                        break
        if failed is not None:
            raise failed

    @property
    def due(self) -> float:
        """Monotonic time from which a read proves what none could prove before; infinity, where none is to come."""
        moments = [self._proven_after, self._sent_at + self._lag]
        moments += [] if self._none_open_at is None else [self._none_open_at + self._lag]
        moments += [each.ended_by + self._lag for each in self._known.values() if each.ended_by and not each.is_whole]
        return min((moment for moment in moments if moment > time.monotonic()), default=math.inf)

    @property
    def _steps(self) -> tuple[Callable[[float], None], ...]:
        """The ways to read orders that were seen open, of which each takes what the ones before it have left."""
        return self._read_pages, self._read_late, self._read_by_id, self._read_singly

    def _read_pages(self, until: float) -> None:
        if len(self._wanted()) > _SINGLY:
            for orders, began in self._pages(until):
                self._note_all(orders, began)

    def _read_late(self, until: float) -> None:
        """Read what is open, once that proves something."""
        if time.monotonic() >= self._proven_after and any(each.state == "unknown" for each in self._known.values()):
            self._read_open(until)

    def _read_singly(self, until: float) -> None:
        """Read order by order, those first that were asked for least: none that cannot be read hides another."""
        left = sorted(self._wanted(), key=lambda number: self._asked[number])
        for number in left[: _SINGLY if len(left) < len(self._known) else _MOST_SINGLY]:
            self._asked[number] += 1
            self._query(number, until)

    def _wanted(self) -> list[Any]:
        """Return the orders of which a read could tell more now."""
        now = time.monotonic()
        return [
            number
            for number, known in self._known.items()
            if known.state == "unknown"
            or (known.state in FINAL and not known.is_whole and now >= known.ended_by + self._lag)
        ]

    def _read_open(self, until: float, *, adopt: bool = False) -> dict[Any, Mapping[str, Any]]:
        """Read what is listed as open; where the read is late enough, that proves it.

        Parameters
        ----------
        until : float
        adopt : bool
            Whether to count orders that have not been seen before.
        """
        began = time.monotonic()
        orders = self._list("/api/v3/openOrders", {}, until)
        listed = {order.get("orderId"): order for order in orders if outcome(order) not in FINAL}
        # An order that has ended for certain shows how old the read is, whatever else it shows.
        stale = any(
            number in self._ended or ((known := self._known.get(number)) is not None and known.state in FINAL)
            for number in listed
        )
        for number, order in listed.items():
            if adopt and number not in self._known and not self._came_later(order):
                self._known[number] = _Known()
            if number in self._known:
                self._note(order, began, proves_open=not stale)
        return listed

    def _came_later(self, order: Mapping[str, Any]) -> bool:
        """Return whether an order was placed when the cancel could no longer arrive, so that it is not concerned.

        The legs of a list may show the time of their release in place of that of their placing.
        """
        placed = order.get("time")
        return order.get("orderListId", -1) == -1 and type(placed) is int and placed > self._until + _CLOCKS

    def _read_by_id(self, until: float) -> None:
        """Read from the lowest wanted id on, until that finds no more, whatever the times say."""
        for _ in range(_MOST_PAGES):
            wanted = self._wanted()
            if len(wanted) <= _SINGLY:
                return
            began = time.monotonic()
            orders = self._list("/api/v3/allOrders", {"orderId": min(wanted), "limit": _PAGE}, until)
            self._note_all(orders, began)
            if len(self._wanted()) == len(wanted):
                return

    def _read_unseen(self, until: float) -> None:
        """Look for what the cancel may have ended, where there was no look before."""
        began = time.monotonic()
        proven = began >= self._proven_after
        listed = self._read_open(until, adopt=True)
        listed_at = time.monotonic()
        for orders, page_began in self._pages(until):
            for order in orders:
                updated, number = order.get("updateTime"), order.get("orderId")
                in_time = type(updated) is int and self._since <= updated <= self._until
                if in_time and str(order.get("status")) in _CANCELED and number not in self._known:
                    self._known[number] = _Known()
            self._note_all(orders, page_began)
        for number in self._wanted()[:_SINGLY]:
            if number not in listed:
                self._query(number, until)
        # A read shows what was at some moment between its beginning less the lag and its end. So one that begins a lag
        # after the sending and shows nothing open proves that nothing was left to cancel, and a list of what ended,
        # asked for another lag later, holds all that had ended by then.
        if self._none_open_at is None and not listed and began >= self._sent_at + self._lag:
            self._none_open_at = began
        self._found_all = self._all_pages_read and (
            proven or (self._none_open_at is not None and listed_at >= self._none_open_at + self._lag)
        )

    def _pages(self, until: float) -> Iterator[tuple[list[Mapping[str, Any]], float]]:
        """Read every order that changed in the span in question, whatever the exchange sorts and filters by.

        Spans of a day at most, as longer ones are refused. A full page may have left some out, and which is
        unknown, so its span is read again in two parts; the rest of one full millisecond, by id.
        """
        last = self._until if self._seen is None else min(self._client.now() + _CLOCKS, self._since + _A_DAY)
        spans, pages = [(self._since, max(last, self._since))], 0
        self._all_pages_read = True
        while spans:
            first, last = spans.pop()
            began, pages = time.monotonic(), pages + 1
            page = self._list("/api/v3/allOrders", {"startTime": first, "endTime": last, "limit": _PAGE}, until)
            yield page, began
            if len(page) < _PAGE:
                continue
            if self._seen is None and (first == last or pages > _MOST_PAGES):
                yield from self._pages_by_id(until)
                return
            if pages > _MOST_PAGES:
                return
            if first == last:  # what is missing is asked for by its id
                continue
            middle = min(_middle(page, first, last), last - 1)
            spans += [(middle + 1, last), (first, middle)]

    def _pages_by_id(self, until: float) -> Iterator[tuple[list[Mapping[str, Any]], float]]:
        """Read all there is, by id, as far as the exchange sorts by it."""
        number: Any = 0
        for _ in range(_MOST_PAGES):
            began = time.monotonic()
            page = self._list("/api/v3/allOrders", {"orderId": number, "limit": _PAGE}, until)
            yield page, began
            ids: list[Any] = [order.get("orderId") for order in page]
            if len(page) < _PAGE:
                return
            if not all(type(each) is int for each in ids) or ids != sorted(ids) or ids[-1] < number:
                break
            number = ids[-1] + 1
        self._all_pages_read = False

    def _list(self, path: str, params: Mapping[str, Any], until: float) -> list[Mapping[str, Any]]:
        wait = until - time.monotonic()
        told = read_list(self._client, path, {"symbol": self._symbol, **params}, max_wait=wait)
        self._has_read = True
        return told

    def _query(self, number: Any, until: float) -> None:
        began, params = time.monotonic(), {"symbol": self._symbol, "orderId": number}
        try:
            order = read(self._client, "/api/v3/order", params, max_wait=until - began)
        except RateLimitedError:
            raise
        except RejectedError as refused:
            if refused.code == _ARCHIVED and self._is_old:
                self._known[number].state, self._known[number].is_whole = "archived", True
            elif not of_the_engine(refused.code):
                raise
            return
        self._has_read = True
        if isinstance(order, dict) and plain(order).get("orderId") == number:
            told = {"symbol": self._symbol, **plain(order)}
            if told["symbol"] == self._symbol:
                self._note(told, began, proves_open=True)

    @property
    def _is_old(self) -> bool:
        """Return whether the orders were last seen open long enough ago to have been archived since."""
        return self._client.now() - self._really > _ARCHIVED_AFTER

    def _note_all(self, orders: Sequence[Mapping[str, Any]], began: float) -> None:
        for order in orders:
            if order.get("orderId") in self._known:
                self._note(order, began)

    def _note(self, order: Mapping[str, Any], began: float, *, proves_open: bool = False) -> None:
        """Note what a read that began then shows of an order, unless what is known is newer."""
        known = self._known[order.get("orderId")]
        if self._is_another(order, known.order):
            return
        state = outcome(order)
        if state not in FINAL and known.state in FINAL:
            return
        told = as_reported(order, known.order)
        is_more = _executed(told) >= _executed(known.order)
        kept = {} if is_more else {name: known.order.get(name) for name in _EXECUTED}
        known.order = {**known.order, **told, **kept}
        if state in FINAL:
            now = time.monotonic()
            known.ended_by = known.ended_by or now
            caught_up = began >= known.ended_by + self._lag or self._ended_long_ago(order, began)
            known.is_whole = known.is_whole or (
                is_more and (_is_all_executed(order) or (caught_up and _is_plausible(order)))
            )
            known.state, known.as_of = state, None
        elif proves_open and is_open(order) and began >= self._proven_after:
            known.state = "open"
            known.as_of = time.time() - (time.monotonic() - began) - self._lag

    def _is_another(self, order: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
        """Return whether an order has the id of another: an exchange that begins anew, as testnets do, gives ids again.

        An order that was seen open had been placed before the cancel was sent. The legs of a list may show the time of
        their release in place of that of their placing. An order that no cancel has ended shows its own id, which only
        an amendment changes, and that lowers the quantity.
        """
        if any(order.get(name, known) != known for name in _FIXED if (known := before.get(name)) is not None):
            return True
        placed, own, shown = order.get("time"), before.get("origClientOrderId"), order.get("clientOrderId")
        if order.get("orderListId", -1) == -1 and self._seen is not None and type(placed) is int:
            known = before.get("time")
            if placed > (known + _CLOCKS if type(known) is int else self._really + _BEHIND):
                return True
        if own is None or shown is None or shown == own or may_show_the_cancel(order):
            return False
        quantity, known = decimal(order.get("origQty")), decimal(before.get("origQty"))
        return quantity is None or known is None or quantity >= known > 0

    def _ended_long_ago(self, order: Mapping[str, Any], began: float) -> bool:
        """Return whether an order had ended, by its own account, when the quantities that a read shows were true."""
        updated = order.get("updateTime")
        if type(updated) is not int or self._client.clock_offset is None:
            return False
        shown = self._client.now() - (time.monotonic() - began + self._lag) * 1000
        return updated + _CLOCKS < shown

    def rows(self) -> list[Row]:
        """Return each order with its outcome, as far as proven."""
        if self._seen is None:
            return [_row(known) for known in self._known.values()]
        rows = []
        for seen in self._seen:
            ident = identity(seen.order)
            known = None if ident is None else self._known[ident[1]]
            rows.append(in_doubt(seen) if known is None else _row(known))
        return rows


def _row(known: _Known) -> Row:
    row = Row(known.order, lasting(known.order_list), known.state, known.as_of)
    if known.state == "unknown":
        return in_doubt(row)
    if known.state in FINAL and not known.is_whole:  # it may have traded more than the read had heard of
        return row._replace(order={**known.order, "executedQty": None, "cummulativeQuoteQty": None})
    return row


def _executed(order: Mapping[str, Any]) -> Decimal:
    return decimal(order.get("executedQty")) or Decimal(0)


def _is_all_executed(order: Mapping[str, Any]) -> bool:
    """Return whether nothing was left to be executed, so that no read can show too little."""
    executed, quantity = decimal(order.get("executedQty")), decimal(order.get("origQty"))
    return executed is not None and quantity is not None and executed == quantity > 0


def _is_plausible(order: Mapping[str, Any]) -> bool:
    """Return whether the quantities can belong to the status: a filled order has executed something."""
    return outcome(order) != "filled" or _executed(order) > 0


def _middle(page: Sequence[Mapping[str, Any]], first: int, last: int) -> int:
    """Return the time that halves a page, by whichever of their times the exchange has chosen its orders."""
    for name in ("updateTime", "time"):
        times = [told for order in page if type(told := order.get(name)) is int and first <= told <= last]
        if len(times) == len(page):
            return sorted(times)[len(times) // 2]
    return (first + last) // 2
