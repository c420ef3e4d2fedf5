"""The checks of the doctor as a DataFrame: one row each."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame

COLUMNS = ("check", "state", "found")


def frame(found: Sequence[Sequence[str]]) -> DataFrame:
    """Return what was found, all text, in the columns check, state and found."""
    import pandas as pd

    made = pd.DataFrame(
        {name: pd.array([row[place] for row in found], dtype="str") for place, name in enumerate(COLUMNS)}
    )
    made.attrs["nbext"] = {"call": "doctor", "call_id": secrets.token_hex(4)}
    return made


def is_checks(frame: DataFrame) -> bool:
    """Return whether a frame is of checks, however its rows were filtered or sorted."""
    return tuple(frame.columns) == COLUMNS


def line(state: str, check: str, found: str) -> str:
    """Return a check as a line, in columns with the others."""
    return f"{state:<5} {check:<12} {found}"


def rows(frame: DataFrame) -> list[tuple[str, str, str]]:
    """Return state, check and finding of each."""
    return list(frame[["state", "check", "found"]].itertuples(index=False, name=None))


def as_text(frame: DataFrame) -> str:
    """Return the checks, a line each, as they were printed."""
    return "\n".join(line(*row) for row in rows(frame))
