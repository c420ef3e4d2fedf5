"""Probes: find the rules of `nbext/exchange/RULES.md`, part 2, by which an exchange differs from the practice exchange.

About 70 requests show most of them: refusals, a few small orders far from the market with what the exchange says of
them, and one cancel-all. The usual values are in `probes_rules`; nothing here knows the practice exchange.
"""

from __future__ import annotations

import math
from contextlib import suppress
from typing import TYPE_CHECKING

from nbext.rehearsal import probes_cancels as cancels
from nbext.rehearsal import probes_orders as orders
from nbext.rehearsal import probes_refusals as refusals
from nbext.rehearsal.findings import Difference, Unplayable
from nbext.rehearsal.probes_answers import ODD
from nbext.rehearsal.probes_rules import MEANINGS
from nbext.rehearsal.probes_stage import NOT_UNDERSTOOD, Stage, words

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nbext.rehearsal.hands import Hands

    Scenes = Mapping[Callable[[Stage], None], tuple[str, ...]]  # with the rules that each asks for

PATIENCE = 45.0
"""Seconds that reads may be behind before the probes give up. 36 s have been reported."""

_FIRST: Scenes = {
    refusals.keys: ("key-status", "key-reads"),
    refusals.refusals: refusals.REFUSALS_RULES,
    refusals.nothing_open: ("nothing-open", "nothing-open-text"),
    refusals.public: ("exchange-filters", "default-stp"),
}
_FIRST_ORDERS: Scenes = {refusals.first_ids: refusals.FIRST_IDS_RULES}
_LATER: Scenes = {
    Stage.look_again: (),
    orders.singles: orders.RULES,
    cancels.trailing: cancels.TRAILING_RULES,
    cancels.one_leg: cancels.LEG_RULES,
    cancels.everything: cancels.ALL_RULES,
    orders.judge_clock: ("engine-clock",),
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
        self._stage: Stage | None = None
        self.not_asked: dict[str, str] = {}

    def first(self) -> Iterator[Difference]:
        """Yield the differences that have to be looked for before orders are placed: with them, ids tell nothing."""
        stage = self._stage = Stage(self._hands, self._patience)
        yield from self._play(stage, _FIRST)
        if stage.may_trade and stage.may_read:
            yield from self._play(stage, _FIRST_ORDERS)

    def differences(self) -> Iterator[Difference]:
        """Yield each difference as it is found, those of `first` if it was not called before; then clean up."""
        try:
            if self._stage is None:
                yield from self.first()
            if (stage := self._stage) is not None:
                yield from self._rest(stage)
        finally:
            if self._hands.has_placed and self._stage is not None and self._stage.may_read:
                stuck = "uncancelable" in self._stage.differing
                # The rehearsal cleans up again, and says what is left.
                with suppress(Unplayable, *ODD):
                    self._hands.clean_up(1.0 if stuck else math.ceil(self._patience))

    def _rest(self, stage: Stage) -> Iterator[Difference]:
        if stage.may_trade and stage.may_read:
            yield from self._play(stage, _LATER)
        for rule in MEANINGS.keys() - stage.asked:
            if rule in stage.odd:
                yield stage.odd[rule]
            else:
                self.not_asked[rule] = stage.reasons.get(rule, stage.why_in_general)

    def _play(self, stage: Stage, scenes: Scenes) -> Iterator[Difference]:
        """Play scenes; a form of answer that keeps one from its end is noted for the rules that it asks for."""
        for scene, rules in scenes.items():
            try:
                scene(stage)
            except ODD:
                raw = self._hands.answers[-1].raw
                for rule in rules:
                    stage.odd.setdefault(rule, Difference(rule, words(rule), NOT_UNDERSTOOD, raw))
            yield from stage.taken()
