"""Select: which open orders are meant, how to cancel them, and the requests for that."""

from __future__ import annotations

import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Self, cast

from nbext import messages, session
from nbext.cancel.reads import OpenOrders, look
from nbext.errors import ConfigurationError, RejectedError
from nbext.orders import FINAL, Row, decimal, identity, in_doubt, list_key, unique
from nbext.spot.parameters import parse_flag, parse_recv_window, parse_seconds, parse_symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from decimal import Decimal

    from pandas import DataFrame

    from nbext.spot.client import SpotClient

CANCEL_ALL = "/api/v3/openOrders"
LOOK_SECONDS = 15.0
"""Reading what is open takes at most this long, all symbols together."""
_OLDEST_PANDAS = 3
_FIXED = ("side", "type", "time")  # what no amendment changes
_CLOCK_SAMPLES = 3

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
        The orders that it was meant to cancel, as they were last seen open; None where there was no look.
    """

    symbol: str
    path: str
    params: Mapping[str, Any]
    seen: Sequence[Row] | None = None


def by_symbol(symbols: Sequence[str], seen: OpenOrders | None) -> list[CancelRequest]:
    """Return one request per symbol that cancels everything on it.

    Parameters
    ----------
    symbols : sequence of str
        Those named; none means those of `seen`.
    seen : OpenOrders or None
        If the user was shown what is open, only symbols with open orders are meant.
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
    """Return requests that cancel the chosen orders one by one, and their live order lists as a whole.

    An order is named by its id and its client order id: another account's order never has both.

    Raises
    ------
    RejectedError
        An order was listed without them. Nothing was sent.
    """
    live = {key: entry for entry in chosen.order_lists if (key := list_key(entry)) is not None}
    lists: dict[tuple[object, int], list[Row]] = {}
    requests = []
    for row in chosen.rows():
        order = row.order
        if identity(order) is None or not isinstance(order.get("origClientOrderId"), str):
            raise RejectedError(
                "the exchange lists an open order without its symbol, its id or its client order id, so it cannot be "
                "canceled alone; nothing was sent. Leave the filter out to cancel all orders on its symbol."
            )
        symbol, key = order["symbol"], list_key(order)
        if key is not None and key in live:
            legs = lists.setdefault(key, [])
            if not legs:
                named = {"orderListId": key[1], "listClientOrderId": live[key].get("listClientOrderId")}
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
        Side, order type, and start of the client order id; None for any.
    older_than : timedelta or None
        Minimum age, by the exchange's clock.
    """

    side: str | None = None
    type: str | None = None
    prefix: str | None = None
    older_than: timedelta | None = None

    @classmethod
    def parse(
        cls,
        side: str | None = None,
        type: str | None = None,
        prefix: str | None = None,
        older_than: str | timedelta | None = None,
    ) -> Self:
        """Check what the caller gave.

        Raises
        ------
        ConfigurationError
            A value is blank, or not one of its kind. Nothing was sent.
        """
        for name, value in (("side", side), ("type", type), ("prefix", prefix), ("older than", older_than)):
            if name != "older than" and not isinstance(value, str | None):
                raise ConfigurationError(f"{name} must be text, not {value!r}; nothing was sent. Correct it.")
            if isinstance(value, str) and not value.strip():
                raise ConfigurationError(f"{name} is blank; nothing was sent. Set it, or leave it out.")
        if side is not None and side.upper() not in _SIDES:
            raise ConfigurationError(f"unknown side {side!r}; nothing was sent. Use BUY or SELL.")
        if type is not None and not re.fullmatch(r"[A-Za-z_]+", type):
            raise ConfigurationError(f"unknown order type {type!r}; nothing was sent. Use one like LIMIT.")
        return cls(side and side.upper(), type and type.upper(), prefix, parse_age(older_than))

    def __bool__(self) -> bool:
        return any(value is not None for value in (self.side, self.type, self.prefix, self.older_than))

    def matches(self, order: Mapping[str, Any], now: float, placed: object = None) -> bool:
        """Return whether an open order is meant. A missing field never matches.

        Parameters
        ----------
        order : Mapping
            As ``GET /api/v3/openOrders`` shows it.
        now : float
            The exchange's time in milliseconds.
        placed : int, optional
            When it was placed, if known better than by its ``time``.
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
        said += [f"older than {_spelled(self.older_than)}" if self.older_than is not None else None]
        return ", ".join(filter(None, said))


def _spelled(age: timedelta) -> str:
    """Return an age in the largest unit that leaves no rest: ``90 min``."""
    seconds = age.total_seconds()
    units = ((86400, "d"), (3600, "h"), (60, "min"))
    unit, name = next((each for each in units if seconds and seconds % each[0] == 0), (1, "s"))
    return f"{seconds / unit:g} {name}"


def parse_age(age: str | timedelta | None) -> timedelta | None:
    """Read a time such as ``15m``.

    Raises
    ------
    ConfigurationError
        It is none.
    """
    if age is None or (isinstance(age, timedelta) and age >= timedelta(0)):
        return age
    if isinstance(age, str) and (parts := re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h|d)\s*", age)):
        with suppress(OverflowError):  # longer than there have been clocks
            return timedelta(seconds=float(parts[1]) * _UNITS[parts[2]])
    raise ConfigurationError(f"unknown age {age!r}; nothing was sent. Use one like 90s, 15m, 2h or 1d.")


@dataclass(frozen=True, slots=True)
class Latency:
    """Allowances for an exchange's delays, in seconds.

    Attributes
    ----------
    engine : float, default 10
        How long the exchange may work on a request that has arrived (API docs, -1007). The docs promise no bound; this
        is when the exchange itself stops waiting.
    lag : float, default 2
        How far a read may lag behind the engine. The docs promise no bound. If reads lag further, an order may be
        reported as open at a time when it no longer was, and the quantities of an ended order may be too small.
    """

    engine: float = 10.0
    lag: float = 2.0


@dataclass(frozen=True, slots=True)
class Options:
    """How to cancel, validated.

    Attributes
    ----------
    recv_window : str or None
        Milliseconds; None for the exchange's default.
    exact, max_wait, reconcile
        As in `nbext.cancel_all`.
    latency : Latency
    """

    recv_window: str | None = None
    exact: bool = False
    max_wait: float = 10.0
    reconcile: float = 20.0
    latency: Latency = Latency()

    @classmethod
    def parse(cls, recv_window: str | float | Decimal | None = None, **others: Any) -> Self:
        """Check what the caller gave.

        Raises
        ------
        ConfigurationError
            The recv window, or a number of seconds, is invalid. Nothing was sent.
        """
        for name in {"max_wait", "reconcile"} & others.keys():
            others[name] = parse_seconds(name, others[name])
        others["exact"] = parse_flag("exact", others.get("exact", False))
        return cls(None if recv_window is None else parse_recv_window(recv_window), **others)


@dataclass(frozen=True, slots=True)
class Selection:
    """Which orders are meant, validated.

    Attributes
    ----------
    symbols : list of str
        As the exchange spells them; empty for all.
    filter : Filter
    orders : Mapping or None
        Only these, each by its symbol, id and client order id.
    """

    symbols: list[str]
    filter: Filter
    orders: Mapping[tuple[str, int, str], Mapping[str, Any]] | None = None

    @classmethod
    def parse(
        cls,
        symbols: Sequence[str] = (),
        only: Filter = Filter(),
        *,
        all_symbols: bool = False,
        orders: Sequence[Mapping[str, Any]] | None = None,
    ) -> Self:
        """Check what the caller gave: symbols, all of them, or orders.

        Parameters
        ----------
        symbols : sequence of str, optional
        only : Filter, optional
        all_symbols : bool, default False
            Every symbol that has open orders.
        orders : sequence of Mapping, optional
            Only these: ``symbol``, ``orderId`` and ``origClientOrderId`` of each.

        Raises
        ------
        ConfigurationError
            It is ambiguous or invalid. Nothing was sent.
        """
        if parse_flag("all", all_symbols) and symbols:
            raise ConfigurationError("symbols and all were both given; nothing was sent. Use one of them.")
        if not all_symbols and not symbols and orders is None:
            raise ConfigurationError("no symbol was named; nothing was sent. Name some, or ask for all.")
        refuse_old_pandas()
        named = parse_symbols(symbols)
        if orders is None:
            return cls(named, only)
        by_identity = {_identity(order): order for order in orders}
        return cls(list(dict.fromkeys(symbol for symbol, _, _ in by_identity)), only, by_identity)

    @property
    def chooses(self) -> bool:
        """Whether only some open orders of the symbols are meant."""
        return self.orders is not None or bool(self.filter)

    @property
    def subject(self) -> str:
        """The symbols, in words."""
        return messages.subject(self.symbols)

    @property
    def nothing(self) -> str:
        """A phrase that says that nothing of this selection is open."""
        return "nothing open matches" if self.chooses else "nothing is listed as open"

    @property
    def matching(self) -> str:
        """The filter, as a phrase to follow a number of orders."""
        return f" matching {self.filter}" if self.filter else ""

    def means(self, order: Mapping[str, Any], now: float, placed: Mapping[tuple[object, int], int]) -> bool:
        """Return whether an open order, as a query shows it, is meant.

        Parameters
        ----------
        now : float
            The exchange's time in milliseconds.
        placed : Mapping
            When each list was placed.
        """
        if self.orders is not None:
            named = order.get("symbol"), order.get("orderId"), order.get("clientOrderId")
            if not all(isinstance(part, (str, int)) for part in named) or named not in self.orders:
                return False
        key = list_key(order)
        return self.filter.matches(order, now, None if key is None else placed.get(key))

    def read(self, client: SpotClient, say: Callable[[str], None]) -> OpenOrders:
        """Read what is open and meant."""
        if self.orders is not None and not self.orders:
            return OpenOrders([], [])
        with client.until(time.monotonic() + LOOK_SECONDS):
            if self.filter.older_than is not None:
                # Ages go by the exchange's clock, and this machine's may have been set since it was measured.
                client.measure_clock_offset(samples=_CLOCK_SAMPLES)
            seen = look(client, self.symbols, say=say)
        placed = seen.placed() if self.filter.older_than is not None else {}
        return seen.only(lambda order: self.means(order, client.now(), placed)) if self.chooses else seen

    def read_again_if_empty(
        self, seen: OpenOrders, client: SpotClient, say: Callable[[str], None], *, lag: float
    ) -> OpenOrders:
        """Read again if nothing was open: the first read may lag behind orders just placed."""
        if seen.orders or self.orders is not None:
            return seen
        time.sleep(max(0.0, seen.taken + lag - time.monotonic()))
        return self.read(client, say)

    def requests(self, seen: OpenOrders | None) -> list[CancelRequest]:
        """Return the requests, given what was seen open; None if there was no look."""
        return one_by_one(seen) if self.chooses and seen is not None else by_symbol(self.symbols, seen)

    def meant(self, seen: OpenOrders | None) -> frozenset[tuple[str, int] | None] | None:
        """Return the orders that are meant, without the rest of their lists, by symbol and id; None where all are."""
        if not self.chooses or seen is None:
            return None
        given = frozenset(named[:2] for named in self.orders or ())
        return given.union({identity(order) for order in seen.orders} - seen.beyond)

    def vanished(self, seen: OpenOrders | None) -> list[CancelRequest]:
        """Return the orders, given or shown, that are no longer open: nothing to send, but something to tell."""
        if seen is None:
            return []
        listed = OpenOrders([*seen.orders, *seen.passed_over], []).rows()
        still = {_identity(row.order) for row in listed}
        current = {identity(row.order): row for row in listed}
        rows = [*(Row(order, None, "unknown") for order in (self.orders or {}).values()), *map(in_doubt, seen.gone)]
        # An order that was amended has another id of its owner's, and may be canceled with its list all the same.
        vanished = {_identity(row.order): row for row in rows if identity(row.order) not in seen.beyond}
        return [
            CancelRequest(named[0], "", {}, [_as_amended(row, current.get(identity(row.order)))])
            for named, row in vanished.items()
            if named not in still
        ]


def _as_amended(row: Row, current: Row | None) -> Row:
    """Return an order as it is listed now, if that is the order, amended: then its own id is the one it has now.

    An exchange that begins anew gives ids again: what differs in more than that and a lower quantity is another order.
    """
    if current is None or any(
        current.order.get(name) != known for name in _FIXED if (known := row.order.get(name)) is not None
    ):
        return row
    same = unique([current, row], amended=True)
    return in_doubt(same[0]) if len(same) == 1 and _is_less(current.order, row.order) else row


def _is_less(order: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    quantity, known = decimal(order.get("origQty")), decimal(before.get("origQty"))
    return quantity is not None and known is not None and quantity < known


def _identity(order: Mapping[str, Any]) -> tuple[Any, Any, Any]:
    return order.get("symbol"), order.get("orderId"), order.get("origClientOrderId")


def orders_of(frame: object, client: SpotClient) -> list[Mapping[str, Any]]:
    """Return the orders of a frame to cancel: those that it does not show as ended.

    A frame of ours names its profile and host. If that got lost, as in ``pd.concat``, this process must have shown each
    of its orders, for this profile and host only.

    Raises
    ------
    ConfigurationError
        The frame is not one of ours, or was made for another profile or host. Nothing was sent.
    """
    refuse_old_pandas()
    from nbext.frames import build

    here = client.profile, client.host
    orders = build.orders_of(frame)
    if orders is None:
        raise ConfigurationError(
            f"cancel_orders takes rows of a frame that nbext made, not {_described(frame)}; nothing was sent. "
            "Pass rows of %open_orders, as in df[df['price'] > 65000]."
        )
    places = {session.shown_at(order) for order in orders}
    made = getattr(frame, "attrs", {}).get("nbext")
    if isinstance(made, dict) and getattr(frame, "ndim", 0) > 1 and build.is_frame(cast("DataFrame", frame)):
        places = {(str(made.get("profile")), str(made.get("host")))}
    live = [order for order in orders if order.pop("outcome") not in FINAL]
    # Attrs outlive what makes rows of nothing, such as reindex or an outer merge.
    if None in places or not all(map(identity, live)):
        raise ConfigurationError(
            "not every row of this frame names an order that nbext showed in this kernel; nothing was sent. "
            "Pass rows of %open_orders with their symbol, orderId and origClientOrderId."
        )
    strange = sorted(place for place in places if place and place != here)
    if strange:
        where = " and ".join("several exchanges" if at == session.SEVERAL else f"{at[0]} ({at[1]})" for at in strange)
        raise ConfigurationError(
            f"this frame has orders of {where}, and the call goes to {here[0]} ({here[1]}); nothing was sent. "
            "Use the profile of the frame, and pass orders of one exchange at a time."
        )
    return list({(order["symbol"], order["orderId"]): order for order in live}.values())


def _described(thing: object) -> str:
    kind, origin = type(thing).__name__, type(thing).__module__.partition(".")[0]
    if hasattr(thing, "to_pandas"):
        return f"a {origin} {kind}, whose to_pandas() may be one"
    return f"a {kind} without the columns that name an order" if kind in {"DataFrame", "Series"} else f"{kind}"


def refuse_old_pandas() -> None:
    """Refuse a loaded pandas that is too old, as on Colab before anything is installed.

    Raises
    ------
    ConfigurationError
        It is.
    """
    version = str(getattr(sys.modules.get("pandas"), "__version__", ""))
    if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < _OLDEST_PANDAS:
        raise ConfigurationError(
            f"this kernel has pandas {version} loaded, and nbext needs 3 or newer; nothing was sent. "
            "Restart the kernel, after pip install -U pandas where needed."
        )
