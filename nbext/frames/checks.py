"""Checks as a DataFrame: one row each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pandas import DataFrame


def frame(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> DataFrame:
    """Return the rows, all text."""
    import pandas as pd

    return pd.DataFrame(
        {name: pd.array([row[number] for row in rows], dtype="str") for number, name in enumerate(columns)}
    )
