"""Jobs, made as the public functions make them: parsed and validated."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nbext.cancel.job import Job
from nbext.cancel.selection import Filter, Options, Selection

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from nbext.spot.client import SpotClient

_FILTERS = ("side", "type", "prefix", "older_than")
_CHOICES = ("all_symbols", "orders")


def make_job(
    symbols: Sequence[str] = (),
    *,
    client: SpotClient,
    say: Callable[[str], None] | None = None,
    progress: Callable[[int, int], None] | None = None,
    **settings: Any,
) -> Job:
    """Return a job, of settings for its filter, its selection and its options."""
    only = Filter.parse(**{name: settings.pop(name) for name in _FILTERS if name in settings})
    choices = {name: settings.pop(name) for name in _CHOICES if name in settings}
    selection = Selection.parse(symbols, only, **choices)
    return Job(client, selection, Options.parse(**settings), say=say, progress=progress)
