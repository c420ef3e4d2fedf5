"""Text from outside, made safe to show.

An answer of the exchange, or of a proxy or firewall in front of it, can contain anything: escape sequences for a
terminal, and halves of surrogate pairs, which no stream can write. `scrubbing` hides what it echoes of the request.
"""

from __future__ import annotations

import sys


def printable(text: str, *, lines: bool = False) -> str:
    r"""Return a text that any terminal and any stream can take, escaped as in a string literal.

    Control characters, escape sequences, bidirectional controls, line ends, invisible characters and lone surrogates
    become escapes such as ``\x1b``; everything else stays.

    Parameters
    ----------
    text : str
    lines : bool, default False
        Keep line ends and tabs, for a text of several lines.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or (lines and c in "\n\t") else _escaped(c) for c in text)


def _escaped(character: str) -> str:
    return character.encode("unicode_escape").decode("ascii")


def encodable(text: str) -> str:
    """Return a text that standard output can encode, with escapes for what it cannot, such as a symbol in Chinese.

    What a terminal or a file cannot take must not end a call before it has said what happened to the orders.
    """
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    try:
        text.encode(encoding)
    except UnicodeEncodeError:
        return text.encode(encoding, "backslashreplace").decode(encoding)
    except (LookupError, TypeError):  # of a stream that is not Python's
        return text
    return text


def is_terminal() -> bool:
    """Return whether standard output is a terminal; whatever else a program has put there is none."""
    isatty = getattr(sys.stdout, "isatty", None)
    return bool(isatty is not None and isatty())
