"""Parameters: what the user typed, checked and encoded."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

from nbext.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Value = str | int | float | Decimal | bool | list[str] | tuple[str, ...] | None

DEFAULT_RECV_WINDOW = 5000.0
_LONGEST = 60_000  # ms, for a recv window (API docs, "Timing security")


def parse_symbol(text: str) -> str:
    """Return the symbol that the user typed.

    Surrounding blanks are dropped, ASCII letters become upper case and ``BTC/USDT`` means ``BTCUSDT``. Letters and
    digits may be of any script (API docs, "General API information").

    Raises
    ------
    ConfigurationError
        It is empty, an unexpanded ``{name}``, or contains an invalid character.
    """
    if not isinstance(text, str):
        raise ConfigurationError(
            f"a symbol must be text, not {type(text).__name__}; nothing was sent. Use one like 'BTCUSDT'."
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
        raise ConfigurationError(
            f"symbol {typed!r} contains {strange!r}; nothing was sent. Use letters and digits, like BTCUSDT."
        )
    # Only ASCII: upper-casing other scripts can change the letters themselves, and the exchange compares bytes.
    return "".join(c.upper() if c.isascii() else c for c in symbol)


def parse_symbols(texts: Iterable[str]) -> list[str]:
    """Return the symbols that the user typed, each once; commas separate symbols, too.

    Raises
    ------
    ConfigurationError
        As `parse_symbol`.
    """
    parts: list[str] = []
    for text in texts:
        several = hasattr(text, "split") and "," in text
        parts += [part for part in text.split(",") if part.strip()] or [text] if several else [text]
    return list(dict.fromkeys(map(parse_symbol, parts)))


def parse_recv_window(value: str | int | Decimal) -> str:
    """Check a recv window and return the text to send, with the digits as written.

    Parameters
    ----------
    value : str, int or Decimal
        Milliseconds: over 0, at most 60000, at most three decimals (API docs, "Timing security").

    Raises
    ------
    ConfigurationError
        It is anything else.
    """
    given = Decimal(value) if isinstance(value, int) and not isinstance(value, bool) else value
    text = ""
    if isinstance(given, str):
        text = given
    # Bounded before it is written out: Decimal("1E+999999999") would be a gigabyte of zeros.
    elif isinstance(given, Decimal) and given.is_finite() and -1 <= given <= _LONGEST and given.adjusted() >= -3:  # noqa: PLR2004 - thousandths
        text = format(given, "f")
    if not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,3})?", text) or not 0 < Decimal(text) <= _LONGEST:
        shown = str(given) if isinstance(given, Decimal) else repr(given)
        raise ConfigurationError(
            f"invalid recv window {shown[:40]}; nothing was sent. "
            "Use milliseconds over 0, at most 60000 and with at most three decimals, or leave it out."
        )
    return text


def encode(params: Mapping[str, Value]) -> str:
    """Percent-encode parameters, once: this text is both signed and sent."""
    pairs = []
    for name, value in params.items():
        if value is None:
            continue
        text = parse_recv_window(value) if name == "recvWindow" else _wire_text(name, value)  # type: ignore[arg-type] # it refuses other types itself
        try:
            pairs.append(f"{quote(name, safe='')}={quote(text, safe='')}")
        except UnicodeEncodeError:  # half of a surrogate pair
            raise ConfigurationError(
                f"parameter {name!r} contains text that cannot be encoded; nothing was sent. Correct it."
            ) from None
    return "&".join(pairs)


def _wire_text(name: str, value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str | int):
        return str(value)
    if isinstance(value, float | Decimal) and math.isfinite(value):
        return format(Decimal(repr(float(value))) if isinstance(value, float) else value, "f")
    if isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False)
    raise ConfigurationError(
        f"parameter {name!r} cannot be sent as {type(value).__name__}; nothing was sent. Use text or a number."
    )
