"""The stage of the probes: what they send, what they have found so far, and what they know of the exchange."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from nbext.orders import plain
from nbext.rehearsal.findings import Difference, Unplayable
from nbext.rehearsal.probes_answers import ODD, rows_of
from nbext.rehearsal.probes_rules import MEANINGS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from nbext.rehearsal.findings import Answer
    from nbext.rehearsal.hands import Hands, Placed
    from nbext.rehearsal.probes_reads import Watched
    from nbext.rehearsal.probes_rules import Value

ORDER, OPEN_ORDERS, ALL_ORDERS = "/api/v3/order", "/api/v3/openOrders", "/api/v3/allOrders"
LIST, ALL_LISTS = "/api/v3/orderList", "/api/v3/allOrderList"
_SOME_SECONDS = 5.0
NOT_UNDERSTOOD = "not understood"


class Stage:
    """What all scenes of the probes share.

    Parameters
    ----------
    hands : Hands
    patience : float
        Seconds that reads may be behind before the probes give up.

    Attributes
    ----------
    found : list of Difference
        What no one has taken yet.
    asked, judged, differing : set of str
        Rules that were asked for and answered, those of which nothing more is to be seen, and those that differ.
    odd : dict of str to Difference
        Rules whose answer did not have the documented form.
    reasons : dict of str to str
        Why rules could not be asked for.
    may_trade, may_read : bool
        What the key may do.
    unknown : Answer or None
        To the cancel of an unknown order.
    is_empty, is_alone : bool
        Whether no order was open on the symbol at the start, and none of anyone else later on.
    lag : float
        Seconds that reads have been behind.
    is_behind : bool
        Whether reads were still behind when the patience ended.
    went_back : bool
        Whether a read did not show what an earlier one did.
    lags : dict of str to Watched
        By ``memory`` and ``database``.
    nothing_open : tuple
        Code and text of a cancel-all with nothing open.
    list_times : dict of int to int
        When order lists were placed, by their id.
    canceled_lists : list of list of Placed
        Their legs.
    """

    def __init__(self, hands: Hands, patience: float) -> None:
        self.hands, self.symbol, self.patience = hands, hands.symbol, patience
        self.found: list[Difference] = []
        self.differing: set[str] = set()
        self.asked: set[str] = set()
        self.judged: set[str] = set()
        self.odd: dict[str, Difference] = {}
        self.reasons: dict[str, str] = {}
        self.may_trade = self.may_read = False
        self.is_empty = self.is_alone = False
        self.unknown: Answer | None = None
        self.lag, self.is_behind, self.went_back = 0.0, False, False
        self.lags: dict[str, Watched] = {}
        self.nothing_open: tuple[int, str] | None = None
        self.list_times: dict[int, int] = {}
        self.canceled_lists: list[list[Placed]] = []
        self._changed_at = time.monotonic()

    def judge(self, rule: str, answer: Answer, value: Callable[[], Value | None], *, settles: bool = True) -> None:
        """Compare a rule's value with the usual one; the first value of a rule that can be told counts.

        Parameters
        ----------
        rule : str
        answer : Answer
            What shows it.
        value : callable
            Returns the value, or None if it cannot be told.
        settles : bool
            Whether the usual value settles it; if not, more is to be seen, and the rule counts as asked for.
        """
        if rule in self.judged:
            return
        usual = next(iter(MEANINGS[rule]))
        try:
            found = value()
        except ODD:
            self.odd.setdefault(rule, Difference(rule, words(rule), NOT_UNDERSTOOD, answer.raw))
            return
        if found is None:
            return
        self.asked.add(rule)
        if found == usual and not settles:
            return
        self.judged.add(rule)
        if found != usual:
            self.differing.add(rule)
            self.found.append(Difference(rule, words(rule), words(rule, found), answer.raw))

    def skip(self, reason: str, *rules: str) -> None:
        """Note why rules are not asked for."""
        for rule in rules:
            self.reasons.setdefault(rule, reason)

    @property
    def why_in_general(self) -> str:
        """Why a rule could not be asked for, if nothing else was noted."""
        if not self.may_trade:
            return "the key may not trade"
        return "no answer shows it" if self.may_read else "the key may not read"

    def taken(self) -> list[Difference]:
        """Return what was found since the last time."""
        found, self.found = self.found, []
        return found

    # Sending.

    def send(self, method: str, path: str, **parameters: Any) -> Answer:
        """Send a signed request on the symbol."""
        if path not in {LIST, ALL_LISTS} or method != "GET":
            parameters = {"symbol": self.symbol, **parameters}
        return self.hands.send(method, path, **parameters)

    def place(self, kind: str, **changes: Any) -> tuple[list[Placed], Answer]:
        """Place an order or a list; return it with the answer. A refusal is noted for this stage only."""
        before = dict(self.hands.not_played)
        placed = self.hands.place(kind, **changes)
        self.changed()
        answer = self.hands.answers[-1]
        if not placed:
            self.reasons[kind] = self.hands.not_played.get(kind, "")
            self.hands.not_played = before
        elif placed[0].list_number >= 0:
            with suppress(*ODD):
                self.list_times[placed[0].list_number] = int(answer.body["transactionTime"])
        return placed, answer

    def why_not(self, kind: str) -> str:
        """Return why an order of a kind could not be placed."""
        return f"no {kind} order: {self.reasons.get(kind, '')}"

    def changed(self) -> None:
        """Note that an order has just changed."""
        self._changed_at = time.monotonic()

    def look_again(self) -> None:
        """Cancel what the rehearsal has left open, and see whether others have open orders on the symbol."""
        with suppress(Unplayable, *ODD):
            if self.rows(OPEN_ORDERS):
                self.hands.clean_up(_SOME_SECONDS)
            self.is_alone = not self.hands.foreign()

    @property
    def changed_at(self) -> float:
        """When something was changed last, on the monotonic clock."""
        return self._changed_at

    def settle(self) -> None:
        """Wait until reads show the last change, as far as their lag is known."""
        time.sleep(max(0.0, self.settled_at - time.monotonic()))

    @property
    def settled_at(self) -> float:
        """When reads show the last change, on the monotonic clock."""
        # Where reads differ, the one that was furthest behind may not have been seen.
        return self._changed_at + min(self.lag * (2.5 if self.went_back else 1.2), self.patience)

    def still_open(self) -> set[int]:
        """Return which orders of this rehearsal stay open, whatever reads show for a while."""
        while (listed := set(self.rows(OPEN_ORDERS))) and time.monotonic() < self.settled_at:
            time.sleep(min(self.lag / 4, 1.0))
        return listed

    def rows(self, path: str, **parameters: Any) -> dict[int, Mapping[str, Any]]:
        """Read a list of orders; return this rehearsal's, by id, in the sequence of the answer."""
        rows = map(plain, rows_of(self.send("GET", path, **parameters)))
        return {row["orderId"]: row for row in rows if row.get("orderId") in self.hands.placed}


def words(rule: str, value: Value | None = None) -> str:
    """Return a value in words, by default the usual one."""
    meanings = MEANINGS[rule]
    value = next(iter(meanings)) if value is None else value
    if isinstance(value, float):
        value = f"about {value:.1f}"
    named = meanings.get(value) or meanings.get(str(value).partition(":")[0]) or next(iter(meanings.values()))
    return f"{value} ({named})"
