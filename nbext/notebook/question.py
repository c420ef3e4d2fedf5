"""The question of a panel: which orders a yes would cancel, what it says, and whether it still holds when it counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nbext import messages, profiles
from nbext.orders import units

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbext.cancel.job import Job
    from nbext.orders import Row
    from nbext.spot.client import SpotClient

_HIGHEST_ID = 2**63

Ids = Counter[tuple[object, object]]


class ChangedError(Exception):
    """Other orders are open than those that the question was about. Nothing was sent."""


@dataclass(frozen=True, slots=True)
class Question:
    """What a yes would cancel.

    Attributes
    ----------
    number : int
        Of the question.
    everything : bool
        Whether all of the symbol is meant, rather than some orders.
    keys : frozenset of str
        What was asked about, by the keys of `panel_view.key`.
    job : Job
    rows : sequence of Row
        The orders that the question is about.
    typed : bool
        Whether their number has to be typed.
    """

    number: int
    everything: bool
    keys: frozenset[str]
    job: Job
    rows: Sequence[Row]
    typed: bool

    @property
    def ids(self) -> Ids:
        """The orders that the question is about, by symbol and id."""
        return ids_of(row.order for row in self.rows)

    def shown(self, client: SpotClient, before: Ids, note: str) -> dict[str, Any]:
        """Return what the browser shows.

        Parameters
        ----------
        client : SpotClient
        before : Counter
            What the user was looking at: the question says what has changed since.
        note : str
            What to say first; may be empty.
        """
        count = messages.count(len(self.rows), "order")
        live = " LIVE." if profiles.is_live(client.base_url) else ""
        lists = sum(unit.is_list for unit in units(self.rows))
        along = ", each list as a whole" if lists > 1 else ", the list as a whole" if lists else ""
        changes = messages.changes((self.ids - before).total(), (before - self.ids).total())
        return {
            "number": self.number,
            "sentence": f"Cancel {count} on {messages.subject(self.job.symbols)}?{live}",
            "detail": f"{messages.kinds(self.rows).strip(' ()')}{along}{messages.traded(self.rows)}".removeprefix(", "),
            "news": " ".join(filter(None, [note, changes and f"{changes}."])),
            "confirm": f"Cancel {count}",
            "type": str(len(self.rows)) if self.typed else "",
            "keys": sorted(self.keys),
        }

    def still_holds(self, rows: Iterable[Row]) -> None:
        """Raise if other orders are open now than those that the question was about."""
        now = ids_of(row.order for row in rows)
        if now - self.ids or (self.typed and self.ids - now):
            raise ChangedError


def ids_of(orders: Iterable[Mapping[str, Any]]) -> Ids:
    """Count orders by symbol and id; an id that a frame does not hold is none."""
    return Counter(
        (
            symbol if isinstance(symbol := order.get("symbol"), str) else None,
            number if type(number := order.get("orderId")) is int and abs(number) < _HIGHEST_ID else None,
        )
        for order in orders
    )
