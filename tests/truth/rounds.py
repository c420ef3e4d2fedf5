"""Which rounds there are, what is known of one while it is played, and what a campaign came to."""

from __future__ import annotations

import random
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from . import dialects
from .faults import FAULTS, MISHAPS
from .told import Told
from .troubles import TROUBLES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange import LocalExchange

    from .proxy import Proxy
    from .record import Id

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
QUANTITY = {"BTCUSDT": "0.05", "ETHUSDT": "0.5", "BNBUSDT": "2"}
RECV_WINDOW = 600
ANSWER_SECONDS = 0.4
ENGINE, LAG = 0.2, 0.25
RECONCILE_SECONDS = 2.0
BEYOND = 1.5
GRACE = 62.0
KILLS, MOST_KILLS, CHILDREN = 0.1, 10, 0.12

WAYS = ("all", "all", "all, seen", "all, seen", "everything", "filter", "orders", "one order", "concat", "guard")
CHILD_WAYS = ("all", "all", "all, seen", "all, seen", "fork", "magic")
OTHERS = ("none", "none", "beyond", "down", "no key")


@dataclass
class Report:
    """What a campaign came to."""

    rounds: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    orders: Counter[str] = field(default_factory=Counter)
    """What was special about the orders of these rows."""
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    dialects: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)
    lies: list[str] = field(default_factory=list)
    lied: list[str] = field(default_factory=list)
    """The rounds that lied, as SEED:ROUND."""

    def add(self, other: Report) -> None:
        """Add what another campaign came to."""
        self.rounds += other.rounds
        for name in ("rows", "orders", "errors", "faults", "ways", "dialects", "facts"):
            getattr(self, name).update(getattr(other, name))
        self.lies += other.lies
        self.lied += other.lied

    def __str__(self) -> str:
        told = [f"{self.rounds} rounds, {sum(self.rows.values())} rows, {len(self.lies)} lies"]
        for name in ("rows", "orders", "errors", "ways", "faults", "dialects", "facts"):
            counts = sorted(getattr(self, name).items(), key=lambda item: (-item[1], item[0]))
            told.append(f"{name:9}" + ", ".join(f"{what} {count}" for what, count in counts))
        return "\n".join(told + self.lies)


@dataclass(frozen=True)
class Plan:
    """What a round is to be: all of it follows from seed and number.

    Attributes
    ----------
    seed, number : int
    child : bool
        Whether another process makes the call.
    way, fault, trouble : str
        How the call is made, what goes wrong on its way, and what befalls it itself.
    dialect : mapping
        What differs from the usual one.
    others : bool
        Whether somebody else trades meanwhile.
    """

    seed: int
    number: int
    child: bool
    way: str
    fault: str
    trouble: str
    dialect: Mapping[str, Any]
    others: bool = True

    def chance(self, purpose: str) -> random.Random:
        """Return the numbers for one purpose, so that a change of one does not change what the others draw."""
        return random.Random(f"{self.seed}:{self.number}:{purpose}")  # noqa: S311 - a program of rounds, no secret

    def __str__(self) -> str:
        spoken = " ".join(f"{name}={value!r}" for name, value in self.dialect.items()) or "usual dialect"
        trouble = f", {self.trouble}" if self.trouble else ""
        return f"{self.seed}:{self.number} ({self.way}; {self.fault}{trouble}; {spoken})"


def draw(seed: int, number: int) -> Plan:
    """Draw a round."""
    chance = random.Random(f"{seed}:{number}:plan")  # noqa: S311 - as above
    child = chance.random() < CHILDREN
    kinds = (FAULTS, FAULTS, FAULTS, MISHAPS, MISHAPS, MISHAPS, OTHERS, OTHERS)
    way, fault = chance.choice(CHILD_WAYS if child else WAYS), chance.choice(chance.choice(kinds))
    trouble = chance.choice(TROUBLES) if chance.random() < 0.25 and not child else ""
    if way == "magic":  # which has the usual patience
        fault = chance.choice(["none", "limit", "skew", "answer_late", "proxy_interim", "unavailable"])
    if fault == "no key" and way == "guard":
        way = "all"
    return Plan(seed, number, child, way, fault, trouble, dialects.draw(chance))


@dataclass
class Round:
    """What is known of a round while it is played."""

    plan: Plan
    exchange: LocalExchange
    proxy: Proxy
    told: Told = field(default_factory=Told)
    symbols: list[str] = field(default_factory=list)
    way: str = ""
    seen: set[Id] = field(default_factory=set)
    wanted: dict[str, str] = field(default_factory=dict)
    exact: bool = False
    unrecorded: list[str] = field(default_factory=list)
    returned: float = 0.0
    meddled: bool = False
    profile: str = "custom"
    host: str = ""
    reconcile: float = RECONCILE_SECONDS
    since: int = 0
    """The number of the journal's latest line before it began."""

    @property
    def name(self) -> str:
        """How lies name it."""
        return f"{self.plan}, {self.told.error or 'no error'}"

    @property
    def lag_allowed(self) -> float:
        """Seconds by which nbext is told that reads may lag."""
        return LAG + max(
            (lag for name in ("lag_memory", "lag_database") if (lag := self.plan.dialect.get(name, 0)) < 2), default=0
        )

    @property
    def engine_allowed(self) -> float:
        """Seconds that nbext is told a cancel may take."""
        tail = self.plan.dialect.get("engine_tail", 0)
        return ENGINE + (tail if tail < 3 and self.plan.number % 2 else 0)

    @property
    def is_beyond(self) -> bool:
        """Whether the exchange is slower than nbext is told."""
        return self.plan.fault == "beyond" or dialects.is_beyond(
            self.plan.dialect, self.lag_allowed, self.engine_allowed
        )
