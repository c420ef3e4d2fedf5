"""How IPython shows our frames; other frames look as they always did."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

# Frames are recognized by the name of their type, so that registering imports neither pandas nor `frames`.
_TYPE = "pandas", "DataFrame"


def register(shell: InteractiveShell) -> None:
    """Show our frames our way in this shell."""
    for kind, ours in _PRINTERS.items():
        formatter = _formatter(shell, kind)
        earlier = formatter.pop(".".join(_TYPE), None)
        formatter.for_type_by_name(*_TYPE, ours(earlier.earlier if isinstance(earlier, ours) else earlier))


def unregister(shell: InteractiveShell) -> None:
    """Show all frames as before."""
    for kind, ours in _PRINTERS.items():
        formatter = _formatter(shell, kind)
        printer = formatter.pop(".".join(_TYPE), None)
        before = printer.earlier if isinstance(printer, ours) else printer
        if before is not None:
            formatter.for_type_by_name(*_TYPE, before)


@dataclass(frozen=True, slots=True)
class _Plain:
    """Prints our frames as text, and others as they were printed before."""

    earlier: Callable[[DataFrame, Any, bool], None] | None

    def __call__(self, frame: DataFrame, printer: Any, cycle: bool) -> None:
        from nbext.frames.columns import is_ours
        from nbext.frames.text import as_text

        if is_ours(frame):
            printer.text(as_text(frame))
        elif self.earlier is not None:
            self.earlier(frame, printer, cycle)
        else:
            printer.text(repr(frame))


@dataclass(frozen=True, slots=True)
class _Html:
    """Renders our frames as HTML, and others as they were rendered before."""

    earlier: Callable[[DataFrame], str | None] | None

    def __call__(self, frame: DataFrame) -> str | None:
        from nbext.frames.columns import is_ours
        from nbext.frames.html import as_html

        if is_ours(frame):
            return as_html(frame)
        if self.earlier is not None:
            return self.earlier(frame)
        html: str | None = frame._repr_html_()  # type: ignore[operator] # what IPython would have called
        return html


_PRINTERS: dict[str, Any] = {"text/plain": _Plain, "text/html": _Html}


def _formatter(shell: InteractiveShell, kind: str) -> Any:
    return shell.display_formatter.formatters[kind]  # type: ignore[union-attr] # every running shell has one
