"""What is open, and which of it is meant: the step before anything is canceled."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nbext.cancel.reads import read_list
from nbext.errors import ConfigurationError, RejectedError
from nbext.orders import from_open_orders, identity

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbext.orders import Row
    from nbext.spot.client import SpotClient

CANCEL_ALL = "/api/v3/openOrders"

_SIDES = ("BUY", "SELL")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class CancelRequest:
    """One request that cancels: every order of a symbol, one order, or one order list.

    Attributes
    ----------
    symbol : str
    path : str
        Endpoint for DELETE.
    params : Mapping
        Wire parameters, without recv window, timestamp and signature.
    seen : sequence of Row or None
        The orders that it was meant to cancel, as they were last seen open; None where nobody looked.
    """

    symbol: str
    path: str
    params: Mapping[str, Any]
    seen: Sequence[Row] | None = None


@dataclass(slots=True)
class OpenOrders:
    """What was open when it was looked at.

    Attributes
    ----------
    orders : list of Mapping
        ``GET /api/v3/openOrders``.
    order_lists : list of Mapping
        ``GET /api/v3/openOrderList``, asked for only where an order belongs to a list.
    taken : float
        Monotonic time at which the look began.
    """

    orders: list[Mapping[str, Any]]
    order_lists: list[Mapping[str, Any]]
    taken: float = field(default_factory=time.monotonic)

    def rows(self, *, dry_run: bool = False) -> list[Row]:
        """Make rows of all that was open."""
        return from_open_orders(self.orders, self.order_lists, dry_run=dry_run)

    def symbols(self) -> list[str]:
        """Name the symbols on which something was open, in the order met."""
        return list(dict.fromkeys(symbol for order in self.orders if isinstance(symbol := order.get("symbol"), str)))

    def only(self, wanted: Callable[[Mapping[str, Any]], bool]) -> OpenOrders:
        """Keep the orders that are wanted, and the other orders of their lists: a list is canceled as a whole."""
        live = {list_of(entry) for entry in self.order_lists} - {None}
        chosen = {id(order) for order in self.orders if wanted(order)}
        lists = {list_of(order) for order in self.orders if id(order) in chosen} & live
        kept = [order for order in self.orders if id(order) in chosen or list_of(order) in lists]
        return OpenOrders(kept, self.order_lists, self.taken)

    def placed(self) -> dict[int, int]:
        """Say of each list when it was placed at the latest: the legs of a list are placed together.

        An order that waited for another one may show the time of its release in place of that of its placing, which
        the docs do not tell apart. Either is later than the first of all times that its list shows.
        """
        times: dict[int, int] = {}
        for entry in (*self.orders, *self.order_lists):
            for name in ("time", "transactionTime"):
                if (list_id := list_of(entry)) is not None and type(told := entry.get(name)) is int and told > 0:
                    times[list_id] = min(told, times.get(list_id, told))
        return times


def look(client: SpotClient, symbols: Sequence[str], *, say: Callable[[str], None] | None = None) -> OpenOrders:
    """Read what is open, on all symbols when none is named.

    Weight 6 for each symbol, 80 for all; 6 more where an order belongs to a list.

    Parameters
    ----------
    client : SpotClient
    symbols : sequence of str
    say : callable, optional
        Takes lines worth reading.

    Raises
    ------
    NotSentError, RejectedError, RateLimitedError
        It could not be read. The orders are untouched.
    """
    taken = time.monotonic()
    orders: list[Mapping[str, Any]] = []
    for params in [{"symbol": symbol} for symbol in symbols] or [{}]:
        orders += read_list(client, "/api/v3/openOrders", params, say=say)
    if not all(isinstance(order.get("symbol"), str) for order in orders):
        raise RejectedError(
            f"{client.host} lists an open order without its symbol, so that it cannot be canceled; nothing was sent. "
            "Name the symbols.",
            http_status=200,
        )
    in_a_list = any(list_of(order) is not None for order in orders)
    return OpenOrders(orders, read_list(client, "/api/v3/openOrderList", say=say) if in_a_list else [], taken)


def list_of(order: Mapping[str, Any]) -> int | None:
    """Give the id of the list that an order belongs to; None for a single order. 0 is an id like any other."""
    list_id = order.get("orderListId")
    return list_id if type(list_id) is int and list_id >= 0 else None


def by_symbol(symbols: Sequence[str], seen: OpenOrders | None) -> list[CancelRequest]:
    """Cancel everything on each symbol with one request.

    Parameters
    ----------
    symbols : sequence of str
        Those named; none means those of `seen`.
    seen : OpenOrders or None
        Where somebody was shown what is open, only the symbols that had something are meant.
    """
    if seen is not None:
        open_symbols = seen.symbols()
        symbols = [symbol for symbol in symbols or open_symbols if symbol in open_symbols]
    rows = None if seen is None else seen.rows()
    return [
        CancelRequest(
            symbol,
            CANCEL_ALL,
            {"symbol": symbol},
            None if rows is None else [row for row in rows if row.order.get("symbol") == symbol],
        )
        for symbol in symbols
    ]


def one_by_one(chosen: OpenOrders) -> list[CancelRequest]:
    """Cancel the chosen orders singly, and each live order list they belong to as a whole.

    An order is named by its id and by its client order id: a stranger's order of the same id does not have both.

    Raises
    ------
    RejectedError
        An order was listed without them. Nothing was sent.
    """
    live = {list_id: entry for entry in chosen.order_lists if (list_id := list_of(entry)) is not None}
    lists: dict[tuple[str, int], list[Row]] = {}
    requests = []
    for row in chosen.rows():
        order = row.order
        if identity(order) is None or not isinstance(order.get("origClientOrderId"), str):
            raise RejectedError(
                "the exchange lists an open order without its symbol, its id or its client order id, so that it cannot "
                "be canceled by itself; nothing was sent. Leave the filter out to cancel all orders on its symbol."
            )
        symbol, list_id = order["symbol"], list_of(order)
        if list_id is not None and list_id in live:
            legs = lists.setdefault((symbol, list_id), [])
            if not legs:
                named = {"orderListId": list_id, "listClientOrderId": live[list_id].get("listClientOrderId")}
                requests.append(CancelRequest(symbol, "/api/v3/orderList", {"symbol": symbol, **named}, legs))
            legs.append(row)
        else:
            named = {"orderId": order.get("orderId"), "origClientOrderId": order.get("origClientOrderId")}
            requests.append(CancelRequest(symbol, "/api/v3/order", {"symbol": symbol, **named}, [row]))
    return requests


@dataclass(frozen=True, slots=True)
class Filter:
    """Which orders are meant, when not all are.

    Attributes
    ----------
    side, type, prefix : str or None
        Side, order type, and beginning of the client order id; None where any will do.
    older_than : timedelta or None
        Age, by the exchange's clock, that an order must have reached.
    """

    side: str | None = None
    type: str | None = None
    prefix: str | None = None
    older_than: timedelta | None = None

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.side, self.type, self.prefix, self.older_than))

    def matches(self, order: Mapping[str, Any], now: float, placed: object = None) -> bool:
        """Say whether an open order is meant. What an order does not tell of itself never matches.

        Parameters
        ----------
        order : Mapping
            As ``GET /api/v3/openOrders`` shows it.
        now : float
            The exchange's time in milliseconds.
        placed : int, optional
            When it was placed, where that is better known than by the order's own ``time``.
        """
        placed = order.get("time") if placed is None else placed
        return (
            (self.side is None or order.get("side") == self.side)
            and (self.type is None or order.get("type") == self.type)
            and (self.prefix is None or str(order.get("clientOrderId", "")).startswith(self.prefix))
            and (
                self.older_than is None
                or (isinstance(placed, int) and now - placed >= self.older_than.total_seconds() * 1000)
            )
        )

    def __str__(self) -> str:
        said = [self.side, self.type]
        said += [f"prefix {self.prefix!r}" if self.prefix else None]
        said += [f"older than {self.older_than}" if self.older_than is not None else None]
        return ", ".join(filter(None, said))


def parse_filter(
    side: str | None,
    type: str | None,  # noqa: A002 - the wire's word
    prefix: str | None,
    older_than: str | timedelta | None,
) -> Filter:
    """Check what somebody typed to say which orders are meant.

    Raises
    ------
    ConfigurationError
        A value is blank, or not one of its kind.
    """
    for name, value in (("side", side), ("type", type), ("prefix", prefix), ("older than", older_than)):
        if isinstance(value, str) and not value.strip():
            raise ConfigurationError(f"{name} is blank; nothing was sent. Say which, or leave it out.")
    if side is not None and side.upper() not in _SIDES:
        raise ConfigurationError(f"{side!r} is no side; nothing was sent. Give BUY or SELL.")
    if type is not None and not re.fullmatch(r"[A-Za-z_]+", type):
        raise ConfigurationError(f"{type!r} is no order type; nothing was sent. Give one like LIMIT.")
    return Filter(side and side.upper(), type and type.upper(), prefix, _parse_age(older_than))


def _parse_age(age: str | timedelta | None) -> timedelta | None:
    if age is None or (isinstance(age, timedelta) and age >= timedelta(0)):
        return age
    if isinstance(age, str) and (parts := re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\s*", age)):
        return timedelta(seconds=float(parts[1]) * _UNITS[parts[2]])
    raise ConfigurationError(f"{age!r} is no age; nothing was sent. Give one like 90s, 15m, 2h or 1d.")
