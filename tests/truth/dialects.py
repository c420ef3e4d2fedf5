"""Which dialect the exchange speaks in a round."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from nbext.exchange import Dialect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from random import Random

CHOICES: dict[str, tuple[str | int, ...]] = {each.name: each.metadata["values"] for each in fields(Dialect)}
# These hold up reads and cancels, for seconds: a campaign has only so many.
SLOW = frozenset({"engine_tail", "lag_memory", "lag_database", "replicas", "torn_read", "forgetting"})
CLOCKS = frozenset({"engine_clock"})


def draw(chance: Random) -> dict[str, str | int]:
    """Draw what differs from the usual dialect: mostly nothing or little, sometimes all that can differ."""
    count = chance.choices([0, 1, 2, 3, 10, len(CHOICES)], [35, 25, 15, 10, 10, 5])[0]
    names = chance.sample(sorted(CHOICES), count)
    drawn = {name: chance.choice(CHOICES[name][1:]) for name in names}
    return {name: value for name, value in drawn.items() if name not in SLOW or count == 1 or chance.random() < 0.2}


def made(settings: Mapping[str, Any]) -> Dialect:
    """Make the dialect that differs from the usual one by these settings."""
    return Dialect(**settings)


def is_beyond(settings: Mapping[str, Any], lag: float, engine: float) -> bool:
    """Return whether reads lag, or cancels come, later than is allowed for."""
    lags = [settings.get(name, 0) for name in ("lag_memory", "lag_database")]
    slow = max(lags) > lag or settings.get("engine_tail", 0) > engine
    return slow or bool({"replicas", "torn_read", "forgetting"} & set(settings))
