"""Parameters: what the user typed, checked and encoded."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from decimal import Decimal
from numbers import Integral, Rational, Real
from typing import Any, SupportsFloat, SupportsIndex
from urllib.parse import quote

from nbext.errors import ConfigurationError

# SupportsIndex and SupportsFloat: numpy's numbers and flags, which the parsing below tells from anything else.
Value = str | int | float | Decimal | bool | SupportsIndex | SupportsFloat | list[str] | tuple[str, ...] | None

DEFAULT_RECV_WINDOW = 5000.0
_MOST_DIGITS = 40
_FINEST = -3  # thousandths
_LONGEST = 60_000  # ms, for a recv window (API docs, "Timing security")


def parse_symbol(text: object) -> str:
    """Return the symbol that the user typed.

    Surrounding blanks are dropped, ASCII letters become upper case and ``BTC/USDT`` means ``BTCUSDT``. Letters and
    digits may be of any script (API docs, "General API information").

    Raises
    ------
    ConfigurationError
        It is empty, an unexpanded ``{name}``, or contains an invalid character.
    """
    if not isinstance(text, str):
        several = isinstance(text, Iterable) and not isinstance(text, bytes)
        raise ConfigurationError(
            f"a symbol must be text, not {type(text).__name__}; nothing was sent. "
            + ("Unpack what holds several, as in cancel_all(*symbols)." if several else "Use one like 'BTCUSDT'.")
        )
    typed, symbol = text, text.strip()
    if not symbol:
        raise ConfigurationError(f"the symbol {typed!r} is empty; nothing was sent. Name one, like BTCUSDT.")
    if name := re.fullmatch(r"\{\s*(.*?)\s*\}|\$(\w+)", symbol):
        variable = name[1] if name[2] is None else name[2]
        raise ConfigurationError(
            f"{typed!r}: the variable {variable!r} is not defined; nothing was sent. Define it first."
        )
    base, slash, quoted = symbol.partition("/")
    if slash and base and quoted:
        symbol = base + quoted
    if strange := next((c for c in symbol if not (c.isalnum() or c in "-_.")), None):
        advice = "Use letters and digits, like BTCUSDT."
        if strange in "[](){}'\"":  # what a list leaves of itself in a line
            advice = "Write the symbols of a list as {' '.join(symbols)}, and in Python as *symbols."
        raise ConfigurationError(f"symbol {typed!r} contains {strange!r}; nothing was sent. {advice}")
    # Only ASCII: upper-casing other scripts can change the letters themselves, and the exchange compares bytes.
    return "".join(c.upper() if c.isascii() else c for c in symbol)


def parse_symbols(texts: Iterable[object]) -> list[str]:
    """Return the symbols that the user typed, each once; commas separate symbols, too.

    Raises
    ------
    ConfigurationError
        As `parse_symbol`.
    """
    parts: list[Any] = []
    for text in texts:
        if isinstance(text, str) and "," in text:
            parts += [part for part in text.split(",") if part.strip()] or [text]
        else:
            parts.append(text)
    return list(dict.fromkeys(map(parse_symbol, parts)))


def is_flag(value: object) -> bool:
    """Return whether a value is True or False, or numpy's."""
    return type(value).__name__ in {"bool", "bool_"}


def parse_flag(name: str, value: object) -> bool:
    """Return True or False, also for 1 or 0. Text is refused: ``"no"`` would count as True.

    Raises
    ------
    ConfigurationError
        It is anything else.
    """
    if not (is_flag(value) or (isinstance(value, Integral) and value in {0, 1})):
        raise ConfigurationError(
            f"{name} must be True or False, not {str(value)[:40]!r}; nothing was sent. Correct it."
        )
    return bool(value)


def plain_number(value: object) -> int | Decimal | None:
    """Return a number of any kind, numpy's included; None for anything else.

    Floats have the fewest digits that mean them, as they are shown.
    """
    if isinstance(value, Integral) and not is_flag(value):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Rational):
        return Decimal(str(value))
    return value if isinstance(value, Decimal) else None


def parse_count(name: str, value: object) -> int:
    """Return a number of things, at least 1.

    Raises
    ------
    ConfigurationError
        It is anything else.
    """
    number = plain_number(value)
    if number is None or not Decimal(number).is_finite() or number < 1 or number != int(number):
        raise ConfigurationError(f"invalid {name} {str(value)[:40]!r}; nothing was sent. Use a number from 1 on.")
    return int(number)


def parse_seconds(name: str, value: object) -> float:
    """Return a number of seconds.

    Raises
    ------
    ConfigurationError
        It is negative, infinite, or no number.
    """
    number = plain_number(value)
    if number is None or not Decimal(number).is_finite() or number < 0:
        raise ConfigurationError(f"invalid {name} {str(value)[:40]!r}; nothing was sent. Use seconds, such as 10.")
    return float(number)


def parse_recv_window(value: str | float | Decimal) -> str:
    """Check a recv window and return the text to send, with the digits as written.

    Parameters
    ----------
    value : str, int, float or Decimal
        Milliseconds: over 0, at most 60000, at most three decimals (API docs, "Timing security").

    Raises
    ------
    ConfigurationError
        It is anything else.
    """
    number = plain_number(value)
    given = value if number is None else Decimal(number)
    text = ""
    if isinstance(given, str):
        text = given
    # Bounded before it is written out: Decimal("1E+999999999") would be a gigabyte of zeros.
    elif isinstance(given, Decimal) and given.is_finite() and -1 <= given <= _LONGEST and given.adjusted() >= _FINEST:
        text = format(given, "f")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text) or not 0 < Decimal(text) <= _LONGEST:
        shown = repr(value) if number is None else str(given)
        raise ConfigurationError(
            f"invalid recv window {shown[:40]}; nothing was sent. "
            "Use milliseconds over 0, at most 60000 and with at most three decimals, or leave it out."
        )
    return text


def texts(params: object) -> dict[str, str]:
    """Return the parameters to send, as text; None values are left out.

    Raises
    ------
    ConfigurationError
        They are no mapping of names, or a value is none that can be sent.
    """
    if not (isinstance(params, Mapping) and all(isinstance(name, str) for name in params)):
        raise ConfigurationError("params must be a dict by wire name; nothing was sent. Correct the call.")
    return {
        name: parse_recv_window(value) if name == "recvWindow" else _wire_text(name, value)
        for name, value in params.items()
        if value is not None
    }


def encode(params: Mapping[str, str]) -> str:
    """Percent-encode parameters, once: this text is both signed and sent."""
    pairs = []
    for name, text in params.items():
        try:
            pairs.append(f"{quote(name, safe='')}={quote(text, safe='')}")
        except UnicodeEncodeError:  # half of a surrogate pair
            raise ConfigurationError(
                f"parameter {name!r} contains text that cannot be encoded; nothing was sent. Correct it."
            ) from None
    return "&".join(pairs)


def _wire_text(name: str, value: object) -> str:
    if is_flag(value):
        return "true" if value else "false"
    if isinstance(value, str):
        return str(value)
    number = plain_number(value)
    # Bounded before it is written out, as above.
    if number is not None and Decimal(number).is_finite() and abs(Decimal(number).adjusted()) < _MOST_DIGITS:
        return format(Decimal(number), "f")
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    raise ConfigurationError(
        f"parameter {name!r} cannot be sent as {type(value).__name__}; nothing was sent. Use text or a number."
    )
