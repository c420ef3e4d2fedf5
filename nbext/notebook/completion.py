"""What Tab offers on a line of our magics: options, their values, profiles, and symbols seen before.

Everything is read from what this process already has; Tab sends nothing.
"""

from __future__ import annotations

import re
import sys
from typing import TYPE_CHECKING, Any

from IPython.core.completer import SimpleCompletion, context_matcher
from IPython.core.error import UsageError

from nbext import profiles
from nbext.errors import ConfigurationError
from nbext.notebook.lines import arguments_of, split

if TYPE_CHECKING:
    from argparse import Action, ArgumentParser
    from collections.abc import Iterable, Iterator

    from IPython.core.completer import CompletionContext, SimpleMatcherResult
    from IPython.core.interactiveshell import InteractiveShell

_IDENTIFIER = "nbext"
# IPython's own token ends at the last ``-``, and takes no assignment, loop or other magic before ours.
_LINE = re.compile(r"^(?:.*[\s=])?%%?(?P<name>\w+)\s+(?P<before>(?:.*\s)?)(?P<fragment>\S*)$")
_CURSOR = "\N{REPLACEMENT CHARACTER}"
_SYMBOL = re.compile(r"\w[\w.-]*")
_TYPES = (
    "LIMIT",
    "LIMIT_MAKER",
    "STOP_LOSS",
    "STOP_LOSS_LIMIT",
    "TAKE_PROFIT",
    "TAKE_PROFIT_LIMIT",
)
_VALUES = {"side": ("BUY", "SELL"), "type": _TYPES, "older_than": ("90s", "15m", "2h", "1d")}


def register(shell: InteractiveShell) -> None:
    """Complete our magics in this shell."""
    unregister(shell)

    @context_matcher(identifier=_IDENTIFIER, priority=100)
    def match(context: CompletionContext) -> SimpleMatcherResult:
        return complete(shell, context.text_until_cursor)

    _matchers(shell).append(match)


def unregister(shell: InteractiveShell) -> None:
    """Undo `register`."""
    matchers = _matchers(shell)
    matchers[:] = [matcher for matcher in matchers if getattr(matcher, "matcher_identifier", None) != _IDENTIFIER]


def complete(shell: InteractiveShell, line: str) -> SimpleMatcherResult:
    """Return what may come next on a line.

    Parameters
    ----------
    shell : InteractiveShell
    line : str
        Up to the cursor.

    Returns
    -------
    dict
        As IPython's matchers return it. On a line that is not ours, or that ends in a variable, it is empty and does
        not suppress other matchers.
    """
    found = _LINE.search(line)
    parser = _parser(shell, found["name"]) if found else None
    if found is None or parser is None or found["fragment"].startswith(("{", "$", "#")):
        return {"completions": [], "suppress": False}
    fragment, words = found["fragment"], _words(found["before"] + _CURSOR)
    if not words or words.pop() != _CURSOR:  # in a comment or in quotes
        return {"completions": [], "suppress": False}
    options = _options(parser)
    before, joined, value = fragment.partition("=")
    if joined and before in options:
        fragment, words = value, [*words, before]
    option = options.get(words[-1]) if words else None
    if option is not None and option.nargs != 0:
        offered = [(value, "value") for value in _values(option)]
    else:
        offered = [] if fragment.startswith("-") else [(value, "value") for value in _positionals(shell, parser, words)]
        offered += [(name, "param") for name in _left(options, words) if name.startswith("--") or fragment == "-"]
    matching = [
        SimpleCompletion(text, type=kind) for text, kind in offered if text.lower().startswith(fragment.lower())
    ]
    return {"completions": matching, "matched_fragment": fragment, "ordered": True, "suppress": True}


def _words(line: str) -> list[str]:
    """Split a line; one with an open quote has no words."""
    try:
        return split(line)
    except UsageError:
        return []


def _matchers(shell: InteractiveShell) -> list[Any]:
    matchers: list[Any] = shell.Completer.custom_matchers
    return matchers


def _parser(shell: InteractiveShell, name: str) -> ArgumentParser | None:
    """Return the parser of a magic, if it is one of ours."""
    magic: Any = shell.magics_manager.magics["line"].get(name)
    if (getattr(magic, "__module__", None) or "").partition(".")[0] != "nbext":
        return None
    parser: ArgumentParser | None = getattr(magic, "parser", None)
    return parser


def _options(parser: ArgumentParser) -> dict[str, Action]:
    """Return the options by how they are written."""
    return {name: action for action in arguments_of(parser) for name in action.option_strings}


def _names(parser: ArgumentParser) -> set[str]:
    """Return the names of the positional arguments."""
    return {action.dest for action in arguments_of(parser) if not action.option_strings}


def _left(options: dict[str, Action], words: Iterable[str]) -> list[str]:
    """Return the options that are not on the line yet."""
    given = {options[word.partition("=")[0]].dest for word in words if word.partition("=")[0] in options}
    return [name for name, action in options.items() if action.dest not in given]


def _values(action: Action) -> Iterable[str]:
    return _profiles() if action.dest == "profile" else _VALUES.get(action.dest, ())


def _positionals(shell: InteractiveShell, parser: ArgumentParser, words: list[str]) -> list[str]:
    names = _names(parser)
    if "profile" in names:
        return [] if words else _profiles()
    if not names & {"symbol", "symbols"}:
        return []
    return sorted({*_symbols_met(), *_symbols_typed(shell)} - {word.upper() for word in words})


def _profiles() -> list[str]:
    try:
        return profiles.names()
    except ConfigurationError:  # profiles.toml cannot be read: reported when a profile is used, not on Tab
        return ["local", "testnet", "demo", "live"]


def _symbols_met() -> set[str]:
    """Return the symbols that calls have met, in loops and functions, too."""
    met: set[str] = getattr(sys.modules.get("nbext.session"), "symbols_met", set())
    return {symbol for symbol in met if _SYMBOL.fullmatch(symbol)}


def _symbols_typed(shell: InteractiveShell) -> Iterator[str]:
    """Yield the symbols on the lines of this session."""
    for cell in shell.history_manager.input_hist_raw if shell.history_manager else ():
        for line in cell.splitlines():
            found = _LINE.search(line.strip().rstrip(";"))
            parser = _parser(shell, found["name"]) if found else None
            if found is None or parser is None or not _names(parser) & {"symbol", "symbols"}:
                continue
            options = _options(parser)
            takes_value = False
            for word in _words(found["before"] + found["fragment"]):
                if not takes_value and _SYMBOL.fullmatch(word):
                    yield word.upper()
                takes_value = word in options and options[word].nargs != 0
