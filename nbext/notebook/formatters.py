"""How IPython shows our frames; other frames look as they always did."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from nbext.messages import count
from nbext.untrusted import encodable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

# Frames are recognized by the name of their type, so that registering imports neither pandas nor `frames`.
_TYPE = "pandas", "DataFrame"
_summed_up: deque[tuple[object, ...]] = deque(maxlen=100)
"""The frames of which a line has been printed, and in which cell."""


def register(shell: InteractiveShell) -> None:
    """Show our frames our way in this shell."""
    for kind, ours in _PRINTERS.items():
        formatter = _formatter(shell, kind)
        earlier = formatter.pop(".".join(_TYPE), None)
        formatter.for_type_by_name(*_TYPE, ours(earlier.earlier if isinstance(earlier, ours) else earlier))
    if library.before_cell not in shell.events.callbacks["pre_run_cell"]:
        shell.events.register("pre_run_cell", library.before_cell)


def unregister(shell: InteractiveShell) -> None:
    """Show all frames as before."""
    for kind, ours in _PRINTERS.items():
        formatter = _formatter(shell, kind)
        printer = formatter.pop(".".join(_TYPE), None)
        before = printer.earlier if isinstance(printer, ours) else printer
        if before is not None:
            formatter.for_type_by_name(*_TYPE, before)
    if library.before_cell in shell.events.callbacks["pre_run_cell"]:
        shell.events.unregister("pre_run_cell", library.before_cell)


def note_summed_up(frame: DataFrame) -> None:
    """Note that a line about a frame was printed just now: in this cell, its table needs no caption that repeats it."""
    _summed_up.append((_this_cell(), *_identity(frame)))


def _identity(frame: DataFrame) -> tuple[object, ...]:
    made = frame.attrs.get("nbext")
    facts: Mapping[str, object] = made if isinstance(made, dict) else {}
    return facts.get("call"), facts.get("call_id"), len(frame)


def _is_summed_up(frame: DataFrame) -> bool:
    return "nbext" in frame.attrs and (_this_cell(), *_identity(frame)) in _summed_up


def _this_cell() -> object:
    """Return what tells the execution of one cell from that of another, also where several run at a time."""
    shell = get_ipython()
    message = _message(shell)
    return message.get("header", {}).get("msg_id") or getattr(shell, "execution_count", None)


def _message(shell: Any) -> Mapping[str, Any]:
    """Return the front end's message that made this cell run; empty in a terminal."""
    parent = shell.get_parent() if hasattr(shell, "get_parent") else None
    return parent if isinstance(parent, dict) else {}


class _Library:
    """Which output of a notebook carries the library that makes long tables searchable.

    One is enough for all, wherever it is. It is sent again when its cell runs again or was deleted, and with every long
    table where the front end does not name its cells, since each output may then have a frame of its own.
    """

    def __init__(self) -> None:
        self._cell: object = None

    def before_cell(self, _: object = None) -> None:
        """Forget the cell that carries it, when its output is about to go or has gone."""
        metadata = self._metadata()
        deleted = metadata.get("deletedCells")
        if self._cell in {metadata.get("cellId"), *(deleted if isinstance(deleted, list) else ())}:
            self._cell = None

    def is_due(self) -> bool:
        """Return whether the output that is being made has to carry it."""
        cell = self._metadata().get("cellId")
        is_due = cell is None or self._cell is None
        if is_due:
            self._cell = cell
        return is_due

    @staticmethod
    def _metadata() -> Mapping[str, Any]:
        metadata = _message(get_ipython()).get("metadata")
        return metadata if isinstance(metadata, dict) else {}


library = _Library()


@dataclass(frozen=True, slots=True)
class _Plain:
    """Prints our frames as text, and others as they were printed before."""

    earlier: Callable[[DataFrame, Any, bool], None] | None

    def __call__(self, frame: DataFrame, printer: Any, cycle: bool) -> None:
        from nbext.frames import checks, columns, log, text

        if columns.is_ours(frame):
            said = text.as_text(frame, captioned=not _is_summed_up(frame), colored=text.takes_color())
            if not said and len(printer.stack) == 1:
                said = _in_brief(columns.caption(frame))
            printer.text(encodable(said))
        elif log.is_log(frame):
            printer.text(encodable(text.log_as_text(frame)))
        elif checks.is_checks(frame):
            is_said = _is_summed_up(frame) and len(printer.stack) == 1  # its lines have just been printed
            printer.text(_in_brief(count(len(frame), "check")) if is_said else encodable(checks.as_text(frame)))
        elif self.earlier is not None:
            self.earlier(frame, printer, cycle)
        else:
            printer.text(repr(frame))


def _in_brief(words: str) -> str:
    """Return what stands for a frame about which all has been said: a terminal has written ``Out[3]:`` already."""
    if _message(get_ipython()):
        raise NotImplementedError  # IPython's word for no output at all, not even a prompt beside it
    return words


@dataclass(frozen=True, slots=True)
class _Html:
    """Renders our frames as HTML, and others as they were rendered before."""

    earlier: Callable[[DataFrame], str | None] | None

    def __call__(self, frame: DataFrame) -> str | None:
        from nbext.frames import checks, html, log
        from nbext.frames.columns import is_ours

        if is_ours(frame):
            carries = html.is_long(frame) and library.is_due()
            return html.as_html(frame, captioned=not _is_summed_up(frame), carries=carries) or None
        if log.is_log(frame):
            return html.log_as_html(frame)
        if checks.is_checks(frame):
            return None if _is_summed_up(frame) else html.checks_as_html(frame)
        if self.earlier is not None:
            return self.earlier(frame)
        its_own: str | None = frame._repr_html_()  # type: ignore[operator] # what IPython would have called
        return its_own


_PRINTERS: dict[str, Any] = {"text/plain": _Plain, "text/html": _Html}


def _formatter(shell: InteractiveShell, kind: str) -> Any:
    return shell.display_formatter.formatters[kind]  # type: ignore[union-attr] # every running shell has one
