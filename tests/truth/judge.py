"""Whether what a call told is true: each rule by itself, by the exchange's own record.

The judge shares no code with nbext. What it knows of a call is what the caller got (`Told`), what the exchange has on
record (`Truth`), and what passed on the wire (`Talk`), which it only uses for what depends on it: what must have been
known, what has been sent, and when.

What a word claims, and for when:

- ``canceled``, ``filled``, ``expired``, ``rejected``: that is how the exchange's record of the order ends.
- ``archived``: it ends with CANCELED or EXPIRED, and nothing of it was filled.
- ``open``: it was open when a read showed it so, and this call has not canceled it. Where reads lag, or cancels take
  effect, later than nbext says it allows for, that is counted apart.
- ``unknown`` is never untrue. But what a read has proven is not unknown, nor what a read could have proven while time
  was left and reads came; and where nothing goes wrong nothing is. The same goes for amounts that are missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from . import judge_rows, judge_time, judge_wire, judge_words
from .case import Case

Rule = Callable[[Case], Iterable[str]]
RULES: tuple[Rule, ...] = (
    judge_rows.frame_has_its_form,
    judge_rows.rows_are_those_of_the_call,
    judge_rows.rows_stand_in_order,
    judge_rows.outcomes_are_true,
    judge_rows.cells_are_true,
    judge_rows.nothing_told_is_missing,
    judge_time.amounts_are_confirmed,
    judge_time.nothing_is_needlessly_unknown,
    judge_words.attrs_are_true,
    judge_words.summary_counts_right,
    judge_words.error_is_right,
    judge_wire.each_is_sent_once,
    judge_wire.waits_are_kept,
    judge_wire.nothing_is_sent_afterwards,
    judge_wire.journal_is_true,
)


def judge(case: Case) -> list[str]:
    """Yield what is untrue in what a call told."""
    return [lie for rule in RULES for lie in rule(case)]
