"""Probes: find the rules of `nbext/exchange/RULES.md`, part 2, by which an exchange differs from the practice exchange.

About 70 requests show most of them: refusals, a few small orders far from the market with what the exchange says of
them, and one cancel-all. The usual values are in `probes_rules`; nothing here knows the practice exchange.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nbext.rehearsal import probes_cancels as cancels
from nbext.rehearsal import probes_orders as orders
from nbext.rehearsal import probes_refusals as refusals
from nbext.rehearsal.findings import Difference
from nbext.rehearsal.probes_answers import ODD
from nbext.rehearsal.probes_rules import MEANINGS
from nbext.rehearsal.probes_stage import NOT_UNDERSTOOD, Stage, words

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.rehearsal.hands import Hands

PATIENCE = 45.0
"""Seconds that reads may be behind before the probes give up. 36 s have been reported."""

_FIRST = (refusals.keys, refusals.refusals, refusals.nothing_open, refusals.public)
# They place orders.
_LATER = {
    refusals.first_ids: refusals.FIRST_IDS_RULES,
    orders.singles: orders.RULES,
    cancels.trailing: cancels.TRAILING_RULES,
    cancels.one_leg: cancels.LEG_RULES,
    cancels.everything: cancels.ALL_RULES,
}


class Probes:
    """Asks an exchange for everything that RULES.md lists as a dialect, and that can be seen from outside.

    Parameters
    ----------
    hands : Hands
        On a symbol of their choice. What the probes place, they cancel.
    patience : float
        Seconds that reads may be behind before the probes give up.

    Attributes
    ----------
    not_asked : dict of str to str
        Rules that could not be asked for on this exchange, and why. Complete once all differences were taken.
    """

    def __init__(self, hands: Hands, patience: float = PATIENCE) -> None:
        self._hands, self._patience = hands, patience
        self.not_asked: dict[str, str] = {}

    def differences(self) -> Iterator[Difference]:
        """Yield each difference as it is found, and clean up."""
        stage = Stage(self._hands, self._patience)
        try:
            for scene in _FIRST:
                scene(stage)
                yield from stage.taken()
            for scene, rules in _LATER.items():
                if not (stage.may_trade and stage.may_read):
                    break
                try:
                    scene(stage)
                except ODD:
                    raw = self._hands.answers[-1].raw
                    for rule in rules:
                        stage.odd.setdefault(rule, Difference(rule, words(rule), NOT_UNDERSTOOD, raw))
                yield from stage.taken()
            orders.judge_clock(stage)
            yield from stage.taken()
            for rule in MEANINGS.keys() - stage.asked:
                if rule in stage.odd:
                    yield stage.odd[rule]
                else:
                    self.not_asked[rule] = stage.reasons.get(rule, stage.why_in_general)
        finally:
            if self._hands.has_placed and stage.may_read:
                stuck = "uncancelable" in stage.differing
                self._hands.clean_up(1.0 if stuck else math.ceil(stage.patience))


def differences(hands: Hands, symbol: str) -> Iterator[Difference]:
    """Yield each difference as it is found; see `Probes`."""
    hands.symbol = symbol
    return Probes(hands).differences()
