"""What a call told its caller, in plain values that can be handed on from one process to another."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pandas as pd

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass
class Told:
    """What a call told.

    Attributes
    ----------
    rows : list of dict or None
        The frame, row by row: missing values are None, times milliseconds; None where there is no frame.
    columns : list of str
    dtypes : dict of str to str
    attrs : dict
        ``attrs["nbext"]``.
    index : bool
        Whether the index counts from zero.
    error : str
        Type of the error; empty without one.
    message : str
    facts : dict
        The error's further attributes.
    failures : dict of str to str
        By symbol, the type of what went wrong.
    said : list of str
        The lines that were said.
    is_last : bool
        Whether the frame is `nbext.last`.
    seen : list of tuple
        Orders that a preview has shown: symbol and id.
    began, returned : float
        Wall clock times.
    """

    rows: list[dict[str, Any]] | None = None
    columns: list[str] = field(default_factory=list)
    dtypes: dict[str, str] = field(default_factory=dict)
    attrs: dict[str, Any] = field(default_factory=dict)
    index: bool = True
    error: str = ""
    message: str = ""
    facts: dict[str, Any] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    is_last: bool = True
    seen: list[tuple[str, int]] = field(default_factory=list)
    began: float = 0.0
    returned: float = 0.0

    def take_frame(self, frame: Any, last: Any) -> None:
        """Take down a frame."""
        self.is_last = frame is last
        if frame is None:
            return
        self.rows = rows_of(frame)
        self.columns = [str(name) for name in frame.columns]
        self.dtypes = {str(name): str(dtype) for name, dtype in frame.dtypes.items()}
        self.attrs = dict(frame.attrs.get("nbext", {}))
        self.index = isinstance(frame.index, pd.RangeIndex) and list(frame.index) == list(range(len(frame)))

    def take_error(self, error: BaseException) -> None:
        """Take down an error."""
        self.error, self.message = type(error).__name__, str(error)
        names = ("code", "msg", "http_status", "retry_after")
        self.facts = {name: getattr(error, name) for name in names if hasattr(error, name)}
        self.failures = {symbol: type(each).__name__ for symbol, each in getattr(error, "failures", {}).items()}


def rows_of(frame: Any) -> list[dict[str, Any]]:
    """Return a frame row by row."""
    columns: Sequence[list[Any]] = [
        [_plain(value) for value in frame.iloc[:, at].tolist()] for at in range(frame.shape[1])
    ]
    names = [str(name) for name in frame.columns]
    return [dict(zip(names, values, strict=True)) for values in zip(*columns, strict=True)]


def _plain(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        return value
    if value is None or pd.isna(value):
        return None
    return round(value.timestamp() * 1000) if isinstance(value, pd.Timestamp) else value
