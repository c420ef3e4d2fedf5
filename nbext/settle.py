"""Find out what became of orders after a cancel whose answer was lost.

What is believed, and why (API docs, "Data sources" and error -1007):

- A terminal status is final, whichever read shows it.
- Absence from ``openOrders`` proves nothing: the read may lag, or the order may have ended in any way.
- A cancel that was sent may still arrive while its recv window lasts, and may then take as long as the exchange gives
  any request. So ``open`` needs a read that began after that, and after the allowance for reads that lag.
- What nothing proves is ``unknown``.

Outcomes are states of orders. Who brought them about, this cancel or another hand, is not said, as nobody can know.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbext.errors import NbextError, RejectedError
from nbext.rows import Row, from_open_orders, outcome
from nbext.select import read_list

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbext.send import Sent
    from nbext.spot import SpotClient

_ENDED = frozenset({"CANCELED", "FILLED", "EXPIRED", "EXPIRED_IN_MATCH", "REJECTED"})
_OPEN = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})
# What a cancel can have left behind; an order that was not seen before and FILLED may have nothing to do with it.
_CANCELED = frozenset({"CANCELED", "EXPIRED"})
_ARCHIVED = -2026
_DEFAULT_RECV_WINDOW = 5000.0
# Asking for one order costs 4, for all of a symbol 20: so few at a time are asked for singly.
_SINGLY = 5
_PAGE = 1000
_FIRST_PAUSE, _LONGEST_PAUSE = 0.1, 1.0


@dataclass(frozen=True, slots=True)
class Limits:
    """What is known about an exchange's delays, in seconds.

    Attributes
    ----------
    engine : float, default 10
        For so long the exchange may work on a request that has arrived (API docs, -1007).
    lag : float, default 2
        By so much a read may lag behind the engine. The docs promise no bound; this is the allowance that is made.
        Reads that lag further can make ``open`` untrue, and nothing else.
    """

    engine: float = 10.0
    lag: float = 2.0


class Settlement:
    """The search for what became of the orders of one cancel.

    Parameters
    ----------
    client : SpotClient
    sent : Sent
        The cancel, with the time at which it was sent.
    recv_window : str or None
        Milliseconds; None for the exchange's default.
    limits : Limits
    missing : sequence of Row, optional
        The cancel was answered, and these orders, seen open before, are not in the answer. Otherwise the answer was
        lost: the orders are those of the target, and the cancel may still arrive.
    until : int, optional
        Milliseconds by the exchange's clock; the last moment at which the cancel can have been carried out, where it is
        not known when it was sent.
    """

    def __init__(
        self,
        client: SpotClient,
        sent: Sent,
        recv_window: str | None,
        limits: Limits,
        *,
        missing: Sequence[Row] | None = None,
        until: int | None = None,
    ) -> None:
        self._client = client
        self._symbol = sent.target.symbol
        self._lag = limits.lag
        self._in_flight = missing is None
        seen = sent.target.seen if missing is None else missing
        self._seen = None if seen is None else {row.order.get("orderId"): row for row in seen}
        self._sent_at = sent.at
        stamped, really = sent.stamp, sent.stamp - 1000.0
        if client.clock_offset is not None:
            really = min(stamped, client.now() - (time.monotonic() - sent.at) * 1000)
        # A stamp from a clock that runs ahead keeps the request good for longer.
        good_for = (stamped - really + float(recv_window or _DEFAULT_RECV_WINDOW)) / 1000
        may_take = good_for + limits.engine if missing is None else 0.0
        self._proven_after = sent.at + may_take + limits.lag
        self._since = round(really) - 1000
        self._until = round(really + may_take * 1000)
        if until is not None:
            self._until = max(self._until, until)
        self._known: dict[Any, tuple[Mapping[str, Any], str]] = {}
        self._none_open_at: float | None = None
        self._found_all = False

    @property
    def done(self) -> bool:
        """Whether further reads could change nothing."""
        if self._seen is not None:
            return all(order_id in self._known for order_id in self._seen)
        return self._found_all and all(state != "unknown" for _, state in self._known.values())

    def read(self) -> None:
        """Read once, and remember what it proves.

        Raises
        ------
        NbextError
            The exchange did not answer; nothing is lost by asking again.
        """
        if self._seen is None:
            self._read_unseen()
        else:
            self._read_seen(self._seen)

    def _read_seen(self, seen: Mapping[Any, Row]) -> None:
        if len(self._missing(seen)) > _SINGLY:
            for order in self._updated_since():
                if order.get("orderId") in seen:
                    self._note_ended(order)
        if time.monotonic() >= self._proven_after:
            for order_id, order in self._open_orders().items():
                if order_id in seen and order_id not in self._known:
                    self._known[order_id] = order, "open"
        for order_id in self._missing(seen)[:_SINGLY]:
            self._query(order_id)

    def _missing(self, seen: Mapping[Any, Row]) -> list[Any]:
        return [order_id for order_id in seen if order_id not in self._known]

    def _read_unseen(self) -> None:
        """Look for what the cancel may have ended, nobody having looked before."""
        began = time.monotonic()
        proven = began >= self._proven_after
        # Orders placed after the last moment at which the cancel can have worked are none of its business.
        orders = {
            order_id: order
            for order_id, order in self._open_orders().items()
            if not isinstance(order.get("time"), int) or order["time"] <= self._until
        }
        for order_id, order in orders.items():
            if self._known.get(order_id, ({}, "unknown"))[1] == "unknown":
                self._known[order_id] = order, "open" if proven else "unknown"
        listed = time.monotonic()
        for order in self._updated_since():
            updated = order.get("updateTime")
            by_cancel = order.get("status") in _CANCELED and isinstance(updated, int) and updated <= self._until
            if by_cancel or order.get("orderId") in self._known:
                self._note_ended(order)
        lost = [id_ for id_, (_, state) in self._known.items() if state == "unknown" and id_ not in orders]
        for order_id in lost[:_SINGLY]:
            self._query(order_id)
        # A read shows what was at some moment between its beginning less the lag and its end. So one that begins a lag
        # after the sending and shows nothing open proves that nothing was left to cancel, and a list of what ended,
        # asked for another lag later, holds all that had ended by then.
        if self._none_open_at is None and not orders and began >= self._sent_at + self._lag:
            self._none_open_at = began
        self._found_all = proven or (self._none_open_at is not None and listed >= self._none_open_at + self._lag)

    def _open_orders(self) -> dict[Any, Mapping[str, Any]]:
        orders = read_list(self._client, "/api/v3/openOrders", {"symbol": self._symbol})
        return {order.get("orderId"): order for order in orders if order.get("status") in _OPEN}

    def _updated_since(self) -> list[Mapping[str, Any]]:
        """Read every order that has changed since the sending, page by page."""
        orders: list[Mapping[str, Any]] = []
        since = self._since
        while True:
            params = {"symbol": self._symbol, "startTime": since, "limit": _PAGE}
            if self._in_flight:  # of an old cancel, what came later would be the whole history
                params["endTime"] = self._until
            page = read_list(self._client, "/api/v3/allOrders", params)
            orders += page
            latest = max((order.get("updateTime", since) for order in page), default=since)
            if len(page) < _PAGE or latest <= since:
                return orders
            since = latest

    def _query(self, order_id: Any) -> None:  # noqa: ANN401 - an id, or whatever stood in its place
        try:
            order = self._client.request("GET", "/api/v3/order", {"symbol": self._symbol, "orderId": order_id})
        except RejectedError as refused:
            if refused.code == _ARCHIVED:  # it ended long ago without a fill; how, is not told
                self._known[order_id] = {"status": None}, "archived"
            return
        if isinstance(order, dict) and order.get("orderId") == order_id:
            self._note_ended(order)

    def _note_ended(self, order: Mapping[str, Any]) -> None:
        if order.get("status") in _ENDED:
            self._known[order.get("orderId")] = order, outcome(order)

    def rows(self) -> list[Row]:
        """Give each order with its outcome as far as proven."""
        if self._seen is None:
            return [_row(order, None, state) for order, state in self._known.values()]
        rows = []
        for order_id, seen in self._seen.items():
            if order_id in self._known:
                order, state = self._known[order_id]
                rows.append(_row({**_as_queried(seen), **order}, seen.order_list, state))
            else:
                rows.append(Row(seen.order, seen.order_list, "unknown"))
        return rows


def _row(order: Mapping[str, Any], order_list: Mapping[str, Any] | None, state: str) -> Row:
    return Row(from_open_orders([order])[0].order, order_list, state)


def _as_queried(row: Row) -> Mapping[str, Any]:
    """Undo what `rows.from_open_orders` renamed."""
    return {"clientOrderId" if name == "origClientOrderId" else name: value for name, value in row.order.items()}


def settle(settlements: Sequence[Settlement], *, seconds: float, say: Callable[[str], None]) -> None:
    """Read until all is proven, or the time is up.

    Parameters
    ----------
    settlements : sequence of Settlement
    seconds : float
        For so long at most.
    say : callable
        Takes lines worth reading.
    """
    ends, pause = time.monotonic() + seconds, _FIRST_PAUSE
    complained = False
    while pending := [each for each in settlements if not each.done]:
        for each in pending:
            if time.monotonic() >= ends:
                return
            try:
                each.read()
            except NbextError as error:
                if not complained:
                    say(
                        f"A read came to nothing ({type(error).__name__}); "
                        "what became of the orders is still being checked."
                    )
                complained = True
        left = ends - time.monotonic()
        if left <= 0 or all(each.done for each in settlements):
            return
        time.sleep(min(pause, left))
        pause = min(pause * 1.5, _LONGEST_PAUSE)
