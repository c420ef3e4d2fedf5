"""What is said beside a frame: counts, kinds and amounts, in the exchange's words.

Amounts are computed in Decimal, from what the exchange sent.
"""

from __future__ import annotations

import time
from decimal import Decimal
from typing import TYPE_CHECKING, Protocol

from nbext.orders import decimal, list_of, price_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from nbext.orders import Row

_FEW = 3
_MINUS = "\N{MINUS SIGN}"


class Exchange(Protocol):
    """Anything that names an exchange, such as a client."""

    profile: str
    host: str


def subject(symbols: Sequence[str]) -> str:
    """Return the symbols that a call is about, for a message."""
    return ", ".join(symbols) or "all symbols"


def place(exchange: Exchange, *, is_live: bool = False) -> str:
    """Return the profile and host of an exchange, as messages end with them; of the local exchange, the profile."""
    if exchange.profile == "local" and not is_live:  # which it is once it has ended: anybody may answer in its place
        return "[local]"
    return f"[{exchange.profile}, {exchange.host}]"


def count(number: int, what: str) -> str:
    """Return a number with its noun, in the plural where due."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def kinds(rows: Sequence[Row]) -> str:
    """Count single orders and order lists, each list once: `` (2 single, 1 OCO list)``; empty without lists."""
    single = 0
    lists: dict[tuple[str, int], str] = {}
    for row in rows:
        # A list that the exchange did not describe, as where answers were lost, is a list anyway.
        list_id, kind = list_of(row.order_list or row.order), (row.order_list or {}).get("contingencyType")
        if list_id is None:
            single += 1
        else:
            lists[str(row.order.get("symbol")), list_id] = f"{kind} list" if isinstance(kind, str) else "order list"
    if not lists:
        return ""
    parts = [f"{single} single"] if single else []
    parts += [count(number, kind) for kind, number in _tally(lists.values()).items()]
    return f" ({', '.join(parts)})"


def traded(rows: Sequence[Row], *, canceled: bool = False) -> str:
    """Return what is partly filled: ``, 1 is partly filled (0.4 of 1.0)``; of what is canceled, ``, 1 was ...``."""
    parts = [
        f"{amount(executed)} of {amount(decimal(row.order.get('origQty')))}"
        for row in rows
        if (executed := decimal(row.order.get("executedQty"))) is not None and executed > 0
    ]
    if not parts:
        return ""
    verb = ("was" if canceled else "is") if len(parts) == 1 else ("were" if canceled else "are")
    some = f" ({', '.join(parts)})" if len(parts) <= _FEW else ""
    return f", {len(parts)} {verb} partly filled{some}"


def notional(rows: Sequence[Row]) -> str:
    """Sum price times remaining quantity: ``, worth 61,000 outside order lists``.

    Orders without a limit price, such as stops that trade at market, are left out, and so are order lists, of which
    at most one leg trades.
    """
    sums: dict[str, Decimal] = {}
    for row in rows:
        price = price_of(row.order)
        quantity, executed = (decimal(row.order.get(name)) for name in ("origQty", "executedQty"))
        if row.order_list is None and price and quantity:
            symbol = str(row.order.get("symbol"))
            sums[symbol] = sums.get(symbol, Decimal(0)) + price * (quantity - (executed or 0))
    if not sums:
        return ""
    outside = " outside order lists" if any(row.order_list is not None for row in rows) else ""
    worth = [grouped(total) for total in sums.values()]
    if len(sums) == 1:
        return f", worth {worth[0]}{outside}"
    return f", worth {', '.join(f'{amount} on {symbol}' for amount, symbol in zip(worth, sums, strict=True))}{outside}"


def beyond(number: int) -> str:
    """Return how many orders had not been chosen: ``, 1 of them only because a list is canceled as a whole``."""
    return f", {number} of them only because a list is canceled as a whole" if number else ""


def changes(came: int, went: int) -> str:
    """Return what has changed since a look: ``1 order is new since you looked, 2 are no longer open``; may be empty."""
    some = [(number, what) for number, what in ((came, "new since you looked"), (went, "no longer open")) if number]
    numbers = [count(number, "order") if not place else str(number) for place, (number, _) in enumerate(some)]
    return ", ".join(
        f"{said} {'is' if number == 1 else 'are'} {what}" for said, (number, what) in zip(numbers, some, strict=True)
    )


def outcomes(rows: Sequence[Row], *, not_chosen: int = 0) -> str:
    """Count the orders by outcome: ``4 orders canceled (2 single, 1 OCO list); 1 filled (1 single)``.

    Parameters
    ----------
    rows : sequence of Row
    not_chosen : int, default 0
        How many were canceled only because a list is canceled as a whole.
    """
    if not rows:
        return "nothing was open"
    by_outcome: dict[str, list[Row]] = {}
    for row in rows:
        by_outcome.setdefault(row.outcome, []).append(row)
    canceled = by_outcome.pop("canceled", [])
    said = f"{count(len(canceled), 'order')} canceled"
    if canceled:
        said += kinds(canceled) + beyond(not_chosen) + traded(canceled, canceled=True)
    rest = (f"{len(found)} {_said(state, found)}{kinds(found)}" for state, found in by_outcome.items())
    return "; ".join([said, *rest])


def _said(state: str, rows: Sequence[Row]) -> str:
    return f"still open{as_of(rows)}" if state == "open" else state


def as_of(rows: Sequence[Row]) -> str:
    """Return when orders were last known to be open, in UTC as in all tables: `` as of 12:03:07 UTC``, the earliest."""
    moments = [row.as_of for row in rows if row.outcome == "open" and row.as_of is not None]
    return time.strftime(" as of %H:%M:%S UTC", time.gmtime(min(moments))) if moments else ""


def inexact(counts: Mapping[str, int]) -> str:
    """Return which columns have floats that differ from the exchange's numbers."""
    if not counts:
        return ""
    return f"not exact as floats: {', '.join(f'{number} in {name}' for name, number in counts.items())}; use --exact"


def each(rows: Iterable[Row]) -> list[str]:
    """Return the order ids, one line per symbol and outcome: ``BTCUSDT canceled: 17, 18``."""
    named: dict[str, list[str]] = {}
    for row in rows:
        what = f"{row.order.get('symbol')} {_said(row.outcome, [row])}"
        named.setdefault(what, []).append(str(row.order.get("orderId")))
    return [f"{what}: {', '.join(ids)}" for what, ids in named.items()]


def amount(number: Decimal | None) -> str:
    """Return an amount in fixed-point digits, all of them and no more, like the floats of a frame: 0.4, 1.0."""
    if number is None:
        return "?"
    whole, _, decimals = format(number, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"


def grouped(number: Decimal) -> str:
    """Return an amount for a sentence, in groups of three: 59,958, 0.4."""
    return f"{number:,f}".rstrip("0").rstrip(".") if "." in f"{number:f}" else f"{number:,f}"


def distance(price: Decimal, last: Decimal) -> str:
    """Return how far a price is from the last one: ``+1.20 %``; below it, with a minus sign."""
    return f"{(price / last - 1) * 100:+z.2f} %".replace("-", _MINUS)


def clock(offset: float) -> str:
    """Return how far this machine's clock is off: ``90000 ms behind``."""
    return f"{abs(offset):.0f} ms {'behind' if offset > 0 else 'ahead of'}"


def _tally(items: Iterable[str]) -> dict[str, int]:
    tally: dict[str, int] = {}
    for item in items:
        tally[item] = tally.get(item, 0) + 1
    return tally
