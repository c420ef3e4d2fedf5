"""Magic lines: split into words, then parsed."""

from __future__ import annotations

import difflib
import functools
import io
import shlex
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError

from nbext.errors import Interrupted, NbextError
from nbext.notebook import cells
from nbext.untrusted import printable

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser, Namespace
    from collections.abc import Callable

_DASHES = ("\N{EN DASH}", "\N{EM DASH}", "\N{MINUS SIGN}")  # what word processors make of ``--``
_INTERRUPTED = "%{}: interrupted before its end. %open_orders shows what is open now."


def arguments_of(parser: ArgumentParser) -> list[Action]:
    """Return the arguments of a parser, positional ones and options."""
    return parser._actions  # noqa: SLF001 - nothing public lists them


def whole_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Accept no abbreviated options: ``--d`` must not mean ``--dry-run``, nor ``--a`` ``--all``."""
    function.parser.allow_abbrev = False  # type: ignore[attr-defined] # magic_arguments puts it there
    return function


def in_one_line(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let an interrupt end a magic with one line, wherever it comes; that of a cell keeps its place in the cell."""

    @functools.wraps(function)
    def magic(*args: Any) -> Any:
        __tracebackhide__ = True
        try:
            return function(*args)
        except KeyboardInterrupt as error:
            if isinstance(error, Interrupted) or cells.is_from_one(error):
                raise
            if isinstance(told := error.__context__, NbextError | Interrupted):  # it was being shown
                raise told from None
            raise Interrupted(_INTERRUPTED.format(function.__name__), frame=None, failures={}) from None

    return magic


def parse(magic: Any, line: str) -> Namespace:
    """Parse the line of a magic.

    Raises
    ------
    UsageError
        The line is not one that the magic takes.
    """
    words = split(line)
    try:
        args: Namespace = magic.parser.parse_args(words)
    except UsageError as error:
        said = _unknown_option(magic, words) if str(error).startswith("unrecognized") else None
        if said is None:
            raise
        raise UsageError(said) from None
    if (said := _unknown_option(magic, words, only=_DASHES)) is not None:
        raise UsageError(said)
    if getattr(args, "symbols", None):
        between = (filter(None, word.split(",")) if "," in word else [word] for word in args.symbols)
        args.symbols = [symbol for symbols in between for symbol in symbols]
    if getattr(args, "profile", None) is not None and not args.profile.strip():
        raise UsageError("--profile is blank; nothing was sent. Name one, or leave it out.")
    return args


def split(line: str) -> list[str]:
    """Split a line as a shell does: quotes group, ``#`` before a word begins a comment, and a last ``;`` is dropped.

    Raises
    ------
    UsageError
        A quote is not closed.
    """
    source = io.StringIO(line)
    lexer = shlex.shlex(source, posix=True)
    lexer.whitespace_split, lexer.commenters = True, ""  # its own comments also begin within a word
    words: list[str] = []
    try:
        while not line[source.tell() :].lstrip().startswith("#") and (word := lexer.get_token()) is not None:
            words.append(word)
    except ValueError as error:
        raise UsageError(f"{line.strip()!r} cannot be read: {str(error).lower()}. Nothing was sent.") from None
    if words and words[-1].endswith(";"):
        words[-1:] = [words[-1][:-1]] if words[-1] != ";" else []
    return words


def _unknown_option(magic: Any, words: list[str], only: tuple[str, ...] = ("-", *_DASHES)) -> str | None:
    """Return an error for the first option that the magic does not have, with the one it resembles most."""
    known = [name for action in arguments_of(magic.parser) for name in action.option_strings]
    for word in words:
        typed = word.partition("=")[0]
        together = all(f"-{letter}" in known for letter in typed[1:])  # as in -ny
        if word.startswith(only) and typed not in known and not together:
            if typed in {"-h", "--help"}:
                return f"%{magic.parser.prog}? shows the options. Nothing was sent."
            bare = "--" + typed.lstrip("-" + "".join(_DASHES)).lower().replace("_", "-")
            near = [bare] if bare in known else difflib.get_close_matches(bare, known, 1)
            meant = f" Did you mean {near[0]}?" if near else ""
            return f"Unknown option {printable(typed)}.{meant} Nothing was sent."
    return None
