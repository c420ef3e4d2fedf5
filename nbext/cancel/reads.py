"""Read from the exchange, and retry: reads change nothing."""

from __future__ import annotations

import _thread
import json
import queue
import time
from collections import deque
from contextlib import suppress
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import TYPE_CHECKING, Any

from nbext import messages
from nbext.errors import NbextError, RateLimitedError, RejectedError
from nbext.orders import from_open_orders, identity, list_key, list_of, plain, with_keys
from nbext.spot.answers import CLOCK_IS_OFF, TOO_MANY

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from nbext.orders import Row
    from nbext.spot.client import SpotClient

OPEN_ORDERS = "/api/v3/openOrders"
MAX_WAIT = 10.0
ATTEMPTS = 5
"""A request is sent at most this many times, each time after an answer that proves a refusal."""
WIDTH = 8
"""At most this many requests are in flight."""
_SLICE = 0.2  # an interrupt just before a wait does not end it, so no wait is longer than this
_PRICE_WAIT = 2.0
"""Longest total wait for rate limits, in seconds, where only a price is wanted."""


def read(
    client: SpotClient,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    signed: bool = True,
    max_wait: float = MAX_WAIT,
    say: Callable[[str], None] | None = None,
) -> Any:
    """Read until there is an answer.

    Retry after -1021, once the exchange's clock has been measured again, and after 429, once the wait it asks for is
    over.

    Parameters
    ----------
    client : SpotClient
    path : str
    params : mapping, optional
    signed : bool, default True
    max_wait : float, default 10
        Longest total wait for rate limits (429), in seconds.
    say : callable, optional
        Takes messages.

    Raises
    ------
    NotSentError, RejectedError, RateLimitedError
        As `SpotClient.request`.
    """
    waited, attempts, corrected, clock_is_off = 0.0, 0, False, False
    while True:
        attempts += 1
        try:
            if clock_is_off:
                offset = client.measure_clock_offset()
                clock_is_off, corrected = False, True
                if say:
                    say(f"This machine's clock is {messages.clock(offset)} the exchange's; corrected, asking again.")
            return client.request("GET", path, params, signed=signed)
        except RateLimitedError as refused:
            wait = max(refused.retry_after or 0.0, client.held_for)
            if refused.http_status != TOO_MANY or attempts >= ATTEMPTS or waited + wait > max_wait:
                raise
            if say:
                say(f"{client.host}: 429, waiting {wait:.0f} s before asking again.")
            time.sleep(wait)
            waited += wait
        except RejectedError as refused:
            if refused.code != CLOCK_IS_OFF or corrected:
                raise
            clock_is_off = True


def read_list(
    client: SpotClient,
    path: str,
    params: Mapping[str, Any] | None = None,
    *,
    max_wait: float = MAX_WAIT,
    say: Callable[[str], None] | None = None,
) -> list[Mapping[str, Any]]:
    """Read a list of objects: orders or order lists.

    Each order once, with the requested symbol if it names none, and with its ids as numbers.

    Raises
    ------
    NotSentError, RejectedError, RateLimitedError
        There was no such answer, or it was about another symbol.
    """
    document = read(client, path, params, max_wait=max_wait, say=say)
    symbol = (params or {}).get("symbol")
    if not isinstance(document, list) or not all(isinstance(entry, dict) for entry in document):
        raise RejectedError(f"{client.host} did not answer {path} with a list. Check the base URL.", http_status=200)
    told: dict[object, Mapping[str, Any]] = {}
    for number, entry in enumerate(with_keys(plain(entry)) for entry in document):
        if symbol is not None and entry.get("symbol", symbol) != symbol:
            raise RejectedError(
                f"{client.host} answered {path} about another symbol than {symbol}. Try again.",
                http_status=200,
            )
        whole = entry if symbol is None or "symbol" in entry else {"symbol": symbol, **entry}
        ids = whole.get("symbol"), whole.get("orderId"), whole.get("orderListId")
        known = all(isinstance(part, (str, int, type(None))) for part in ids) and ids[1:] != (None, None)
        told[ids if known else number] = whole
    return list(told.values())


def last_prices(client: SpotClient, symbols: Sequence[str]) -> dict[str, Decimal]:
    """Return the last price of each symbol (``GET /api/v3/ticker/price``, weight 4 at most), as far as known.

    Nothing is raised: without them a picture only lacks a line.
    """
    if not symbols:
        return {}
    names = json.dumps(list(symbols), ensure_ascii=False, separators=(",", ":"))
    try:
        tickers = read(client, "/api/v3/ticker/price", {"symbols": names}, signed=False, max_wait=_PRICE_WAIT)
        prices = {ticker["symbol"]: Decimal(ticker["price"]) for ticker in tickers}
    except (NbextError, LookupError, TypeError, ValueError, InvalidOperation):
        return {}
    return {symbol: price for symbol, price in prices.items() if price.is_finite() and price > 0}


@dataclass(slots=True)
class OpenOrders:
    """What was open at the time of a look.

    Attributes
    ----------
    orders : list of Mapping
        ``GET /api/v3/openOrders``.
    order_lists : list of Mapping
        ``GET /api/v3/openOrderList``, asked for only where an order belongs to a list.
    taken : float
        Monotonic time at which the look began.
    beyond : frozenset
        The orders, by symbol and id, that are included only because a list is canceled as a whole.
    passed_over : list of Mapping
        What was open, too, but is not selected.
    gone : list of Row
        What an earlier look showed to the user, and this one does not.
    """

    orders: list[Mapping[str, Any]]
    order_lists: list[Mapping[str, Any]]
    taken: float = field(default_factory=time.monotonic)
    beyond: frozenset[tuple[str, int] | None] = frozenset()
    passed_over: list[Mapping[str, Any]] = field(default_factory=list)
    gone: list[Row] = field(default_factory=list)

    def rows(self, *, dry_run: bool = False) -> list[Row]:
        """Return rows for everything that was open."""
        return from_open_orders(self.orders, self.order_lists, dry_run=dry_run)

    def symbols(self) -> list[str]:
        """Return the symbols with open orders, in the order met."""
        return list(dict.fromkeys(symbol for order in self.orders if isinstance(symbol := order.get("symbol"), str)))

    def only(self, wanted: Callable[[Mapping[str, Any]], bool]) -> OpenOrders:
        """Return the wanted orders and the other orders of their lists: a list is canceled as a whole."""
        live = {list_key(entry) for entry in self.order_lists} - {None}
        chosen = {id(order) for order in self.orders if wanted(order)}
        lists = {list_key(order) for order in self.orders if id(order) in chosen} & live
        kept: list[Mapping[str, Any]] = []
        passed_over: list[Mapping[str, Any]] = []
        for order in self.orders:
            (kept if id(order) in chosen or list_key(order) in lists else passed_over).append(order)
        beyond = frozenset(identity(order) for order in kept if id(order) not in chosen)
        return OpenOrders(kept, self.order_lists, self.taken, beyond, passed_over)

    def placed(self) -> dict[tuple[object, int], int]:
        """Return when each list was placed, at the latest: the legs of a list are placed together.

        An order that waited for another may show the time of its release instead of its placing; the docs do not say
        which. Neither is earlier than the first time that its list shows.
        """
        times: dict[tuple[object, int], int] = {}
        for entry in (*self.orders, *self.order_lists):
            for name in ("time", "transactionTime"):
                if (key := list_key(entry)) is not None and type(told := entry.get(name)) is int and told > 0:
                    times[key] = min(told, times.get(key, told))
        return times


def look(client: SpotClient, symbols: Sequence[str], *, say: Callable[[str], None] | None = None) -> OpenOrders:
    """Read what is open, on all symbols when none is named.

    Weight 6 for each symbol, 80 for all; 6 more where an order belongs to a list.

    Parameters
    ----------
    client : SpotClient
    symbols : sequence of str
    say : callable, optional
        Takes messages, on this thread.

    Raises
    ------
    NotSentError, RejectedError, RateLimitedError
        Reading failed. No orders were changed.
    """
    taken = time.monotonic()
    orders = list(chain.from_iterable(_each(client, symbols, say)))
    if not all(isinstance(order.get("symbol"), str) for order in orders):
        raise RejectedError(
            f"{client.host} lists an open order without its symbol, so it cannot be canceled; nothing was sent. "
            "Name the symbols.",
            http_status=200,
        )
    in_a_list = any(list_of(order) is not None for order in orders)
    return OpenOrders(orders, read_list(client, "/api/v3/openOrderList", say=say) if in_a_list else [], taken)


def _each(
    client: SpotClient, symbols: Sequence[str], say: Callable[[str], None] | None
) -> Iterator[list[Mapping[str, Any]]]:
    """Read the open orders on each symbol, on all at once if none is named.

    The first one alone, since whatever is wrong with the key, the clock or the limits is wrong for all; then side by
    side, on threads that are left behind if this one is interrupted: reads change nothing.
    """
    wanted = [{"symbol": symbol} for symbol in symbols] or [{}]
    if len(wanted) > 1:
        client.connect_ahead(len(wanted))  # for the cancels that may follow, too
    yield read_list(client, OPEN_ORDERS, wanted[0], say=say)
    waiting = deque(enumerate(wanted[1:]))
    found: dict[int, list[Mapping[str, Any]]] = {}
    news: queue.SimpleQueue[str | Exception | None] = queue.SimpleQueue()
    limits = client.limits

    def work() -> None:
        with client.within(limits):
            while True:
                try:
                    place, params = waiting.popleft()
                except IndexError:
                    return
                try:
                    found[place] = read_list(client, OPEN_ORDERS, params, say=news.put)
                except Exception as error:  # noqa: BLE001 - raised by the thread that waits
                    news.put(error)
                    return
                news.put(None)

    try:
        _on_threads(work, min(WIDTH, len(waiting)))
        while len(found) < len(wanted) - 1:
            with suppress(queue.Empty):
                told = news.get(timeout=_SLICE)
                if isinstance(told, Exception):
                    raise told
                if told is not None and say is not None:
                    say(told)
    finally:
        waiting.clear()
    yield from map(found.__getitem__, sorted(found))


def _on_threads(work: Callable[[], None], count: int) -> None:
    """Do work on so many threads; here, if none can be started, as in a process that ends."""
    for _ in range(count):
        try:
            _thread.start_new_thread(work, ())
        except RuntimeError:
            work()
