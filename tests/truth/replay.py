"""One round, played again: whether it is untrue again, and what it takes."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING

from .campaign import Campaign
from .rounds import Plan, draw

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator


def replay(seed: int, number: int, *, times: int = 3) -> Iterator[str]:
    """Play a round again, and then without one thing or another, to find out which of them it takes."""
    plan = draw(seed, number)
    with Campaign(seed) as campaign:

        def lies(changed: Plan, like: Collection[str] = ()) -> list[str]:
            """Play some times, and say how often that kind of thing was untrue, and what."""
            played = [
                [lie for lie in campaign.play_one(changed) if not like or _kind(lie) in like] for _ in range(times)
            ]
            return [
                f"{sum(map(bool, played))} of {times} times",
                *dict.fromkeys(lie for each in played for lie in each),
            ]

        told = lies(plan)
        kinds = {_kind(lie) for lie in told[1:]}
        yield f"{plan}\nfalse {told[0]}"
        yield from told[1:]
        if len(told) == 1:
            return
        without: dict[str, Plan] = {
            f"{name}={value!r}": replace(plan, dialect={key: each for key, each in plan.dialect.items() if key != name})
            for name, value in plan.dialect.items()
        }
        without["all of the dialect"] = replace(plan, dialect={})
        without |= {"the others": replace(plan, others=False)} if plan.others else {}
        without |= {plan.fault: replace(plan, fault="none")} if plan.fault != "none" else {}
        without |= {plan.trouble: replace(plan, trouble="")} if plan.trouble else {}
        for what, changed in without.items():
            yield f"without {what}: false {lies(changed, kinds)[0]}"


def _kind(lie: str) -> str:
    """Return what kind of thing is untrue, whatever the round, the order, and the numbers."""
    what = lie.partition("), ")[2].partition(": ")[2]
    return re.sub(r"\([^)]*\)|'[^']*'|b'.*|[0-9.]+|[A-Za-z0-9_-]{16,}", "", what)
