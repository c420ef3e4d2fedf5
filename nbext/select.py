"""What is open, and which of it is meant: the step before anything is canceled."""

from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from nbext.errors import ConfigurationError, RejectedError
from nbext.rows import from_open_orders

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from nbext.rows import Row
    from nbext.spot import SpotClient

CANCEL_ALL = "/api/v3/openOrders"

_SIDES = ("BUY", "SELL")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}


@dataclass(frozen=True, slots=True)
class Target:
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
class Look:
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
        return list(dict.fromkeys(order["symbol"] for order in self.orders))

    def only(self, wanted: Callable[[Mapping[str, Any]], bool]) -> Look:
        """Keep the orders that are wanted, and the other orders of their lists: a list is canceled as a whole."""
        live = {entry.get("orderListId") for entry in self.order_lists}
        chosen = {id(order) for order in self.orders if wanted(order)}
        lists = {order.get("orderListId") for order in self.orders if id(order) in chosen} & live
        kept = [order for order in self.orders if id(order) in chosen or order.get("orderListId") in lists]
        return Look(kept, self.order_lists, self.taken)


def look(client: SpotClient, symbols: Sequence[str]) -> Look:
    """Read what is open, on all symbols when none is named.

    Weight 6 for each symbol, 80 for all; 6 more where an order belongs to a list.

    Raises
    ------
    NotSentError, RejectedError, RateLimitedError
        It could not be read. The orders are untouched.
    """
    taken = time.monotonic()
    orders: list[Mapping[str, Any]] = []
    for params in [{"symbol": symbol} for symbol in symbols] or [{}]:
        orders += read_list(client, "/api/v3/openOrders", params)
    in_a_list = any(order.get("orderListId", -1) != -1 for order in orders)
    return Look(orders, read_list(client, "/api/v3/openOrderList") if in_a_list else [], taken)


def read_list(client: SpotClient, path: str, params: Mapping[str, Any] | None = None) -> list[Mapping[str, Any]]:
    """Ask a question that is answered with a list of objects.

    Raises
    ------
    NotSentError, RejectedError, RateLimitedError
        There was no such answer. The orders are untouched.
    """
    document = client.request("GET", path, params)
    if isinstance(document, list) and all(isinstance(entry, dict) for entry in document):
        return document
    raise RejectedError(
        f"{client.host} did not answer {path} with a list; orders untouched. Check the base URL.", http_status=200
    )


def by_symbol(symbols: Sequence[str], seen: Look | None) -> list[Target]:
    """Cancel everything on each symbol with one request.

    Parameters
    ----------
    symbols : sequence of str
        Those named; none means those of `seen`.
    seen : Look or None
        Where somebody was shown what is open, only the symbols that had something are meant.
    """
    if seen is not None:
        open_symbols = seen.symbols()
        symbols = [symbol for symbol in symbols or open_symbols if symbol in open_symbols]
    rows = None if seen is None else seen.rows()
    return [
        Target(
            symbol,
            CANCEL_ALL,
            {"symbol": symbol},
            None if rows is None else [row for row in rows if row.order.get("symbol") == symbol],
        )
        for symbol in symbols
    ]


def one_by_one(chosen: Look) -> list[Target]:
    """Cancel the chosen orders singly, and each live order list they belong to as a whole.

    An order is named by its id and by its client order id: a stranger's order of the same id does not have both.
    """
    live = {entry.get("orderListId"): entry for entry in chosen.order_lists}
    lists: dict[tuple[str, int], list[Row]] = {}
    targets = []
    for row in chosen.rows():
        order, symbol = row.order, row.order["symbol"]
        list_id = order.get("orderListId", -1)
        if list_id in live:
            legs = lists.setdefault((symbol, list_id), [])
            if not legs:
                named = {"orderListId": list_id, "listClientOrderId": live[list_id].get("listClientOrderId")}
                targets.append(Target(symbol, "/api/v3/orderList", {"symbol": symbol, **named}, legs))
            legs.append(row)
        else:
            named = {"orderId": order.get("orderId"), "origClientOrderId": order.get("origClientOrderId")}
            targets.append(Target(symbol, "/api/v3/order", {"symbol": symbol, **named}, [row]))
    return targets


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

    def matches(self, order: Mapping[str, Any], now: float) -> bool:
        """Say whether an open order is meant. What an order does not tell of itself never matches.

        Parameters
        ----------
        order : Mapping
            As ``GET /api/v3/openOrders`` shows it.
        now : float
            The exchange's time in milliseconds.
        """
        placed = order.get("time")
        return (
            self.side in {None, order.get("side")}
            and self.type in {None, order.get("type")}
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
