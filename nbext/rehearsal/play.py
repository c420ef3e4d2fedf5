"""The play: a few small orders, canceled in every way that nbext has.

First one order of each kind, all of which one cancel-all ends; then a few, ended by a filter, a frame, as a list, by a
leg, and with a recv window and a clock that do not work. Where others have orders on the symbol, a prefix stands in for
the plain cancel-all.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from nbext import api
from nbext.errors import NbextError
from nbext.rehearsal.hands import KINDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pandas import DataFrame

    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.hands import Hands, Placed

_FEW = ("LIMIT", "STOP_LOSS_LIMIT", "OCO", "OTO", "LIMIT")
_CLOCK_MS = 30_000.0
_NO_SYMBOL = "NBEXTNOSUCHPAIR"


class Told(NamedTuple):
    """What nbext said about one call.

    Attributes
    ----------
    way : str
        What was tried.
    frame : DataFrame or None
        What it returned, or what its error has.
    error : NbextError or None
    meant : set of int
        The orders that it was to cancel, or show.
    cancels : bool
        Whether it was to cancel, rather than to show.
    answers : list of Answer
        Everything that was sent for it.
    """

    way: str
    frame: DataFrame | None
    error: NbextError | None
    meant: set[int]
    cancels: bool
    answers: list[Answer]

    def __str__(self) -> str:
        said = "no frame" if self.frame is None else f"{len(self.frame)} rows"
        if self.frame is not None and len(self.frame):
            counts = self.frame["outcome"].value_counts()
            said += f", {', '.join(f'{count} {outcome}' for outcome, count in counts.items())}"
        return f"{self.way}: {said}{'' if self.error is None else f'; {type(self.error).__name__}'}"


def play(hands: Hands) -> Iterator[Told]:
    """Play everything, one call after the other; the caller may look at the exchange in between."""
    hands.look_around()
    alone = not hands.foreign()
    if not alone:
        hands.not_played["plain cancel-all"] = f"others have open orders on {hands.symbol}; a prefix was used instead"
    which: dict[str, Any] = {"client": hands.client}
    everything = which if alone else {**which, "prefix": hands.prefix}
    symbol = hands.symbol

    placed = [each for kind in KINDS for each in hands.place(kind)]
    hands.await_listed(placed)
    meant = _numbers(placed)
    yield _told(hands, "what is open", meant, False, lambda: api.open_orders(symbol, **which))
    yield _told(hands, "dry run", meant, False, lambda: api.cancel_all(symbol, dry_run=True, **everything))
    yield _told(hands, "cancel all", meant, True, lambda: api.cancel_all(symbol, yes=True, **everything))
    yield _told(hands, "nothing open", set(), True, lambda: api.cancel_all(symbol, yes=True, **everything))

    hands.look_around()
    few = [hands.place(kind) for kind in _FEW if kind not in hands.not_played]
    by_kind = {orders[0].kind: orders for orders in few if orders}  # of the LIMITs, the last
    placed = [each for orders in few for each in orders]
    hands.await_listed(placed)
    meant = _numbers(placed)
    yield _told(hands, "wrong symbol", meant, True, lambda: api.cancel_all(_NO_SYMBOL, yes=True, **which))
    first = next((orders for orders in few if orders), [])
    if first:
        narrow = {**which, "prefix": first[0].own_id, "type": "LIMIT"}
        yield _told(
            hands, "filters", _numbers(first), True, lambda: api.cancel_all(symbol, yes=True, exact=True, **narrow)
        )
    for way, kind, legs in (("a frame", "STOP_LOSS_LIMIT", 1), ("a list", "OCO", 2), ("a leg", "OTO", 1)):
        if orders := by_kind.get(kind, []):
            frame = api.open_orders(symbol, **which)
            chosen = frame[frame["orderId"].isin([each.number for each in orders[:legs]])]
            yield _told(hands, way, _numbers(orders), True, partial(api.cancel_orders, chosen, yes=True, **which))
    meant = _still_open(hands)
    yield _told(
        hands,
        "short recv window",
        meant,
        True,
        lambda: api.cancel_all(symbol, yes=True, recv_window="0.001", **everything),
    )
    meant = _still_open(hands)
    hands.client.clock_offset = (hands.client.clock_offset or 0.0) - _CLOCK_MS
    yield _told(hands, "clock off", meant, True, lambda: api.cancel_all(symbol, yes=True, **everything))
    hands.client.measure_clock_offset()


def _still_open(hands: Hands) -> set[int]:
    """Return the orders that are listed as open and were not seen to end: a read may be older than an earlier one."""
    return ({row["orderId"] for row in hands.open_rows()} & hands.placed.keys()) - hands.ended()


def _numbers(placed: list[Placed]) -> set[int]:
    return {each.number for each in placed}


def _told(hands: Hands, way: str, meant: set[int], cancels: bool, call: Callable[[], DataFrame]) -> Told:
    before, error = len(hands.answers), None
    try:
        frame: DataFrame | None = call()
    except NbextError as raised:
        frame, error = raised.frame, raised
    return Told(way, frame, error, meant, cancels, hands.answers[before:])
