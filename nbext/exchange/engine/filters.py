"""Filters of a symbol or of the whole exchange, as data (rule: filters).

A filter is the very object that ``exchangeInfo`` shows. Each kind has one function here that
looks at an order and says whether it passes.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.tickets import ZERO, Ticket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    Wire = Mapping[str, str | int | bool]
    Members = Mapping[str, Decimal]
    Average = Callable[[int], Decimal | None]  # price over this many minutes; None before any trade


@dataclass(frozen=True, slots=True)
class Counts:
    """Open orders of an account, or the ones that a placement would add."""

    orders: int = 0
    algo: int = 0
    iceberg: int = 0
    lists: int = 0


def _in_range(value: Decimal, low: Decimal, high: Decimal, step: Decimal) -> bool:
    """Check bounds and grid; a member of zero is off, and the grid starts at zero."""
    return value >= low and not (high and value > high) and not (step and value % step)


def _limits(ticket: Ticket) -> list[Decimal]:
    """Return the limit prices of an order: a peg's own once it is known, and `price` if sent (rule: pegged-orders)."""
    if not ticket.is_limit:
        return []
    if not ticket.is_pegged:
        return [ticket.price]
    return [price for price in (ticket.price, ticket.pegged_price) if price]


def _price_filter(rule: Members, ticket: Ticket, _average: Average) -> bool:
    prices = _limits(ticket)
    if ticket.stop_price is not None:
        prices.append(ticket.stop_price)
    return all(_in_range(price, rule["minPrice"], rule["maxPrice"], rule["tickSize"]) for price in prices)


def _percent_price(rule: Members, ticket: Ticket, average: Average) -> bool:
    return _within_percent(rule["multiplierDown"], rule["multiplierUp"], rule, ticket, average)


def _percent_price_by_side(rule: Members, ticket: Ticket, average: Average) -> bool:
    side = "bid" if ticket.side == "BUY" else "ask"
    return _within_percent(rule[f"{side}MultiplierDown"], rule[f"{side}MultiplierUp"], rule, ticket, average)


def _within_percent(down: Decimal, up: Decimal, rule: Members, ticket: Ticket, average: Average) -> bool:
    limits = _limits(ticket)
    reference = average(int(rule["avgPriceMins"])) if limits else None
    return reference is None or all(reference * down <= price <= reference * up for price in limits)


def _lot_size(rule: Members, ticket: Ticket, _average: Average) -> bool:
    sizes = [] if ticket.quote_quantity else [ticket.quantity]
    if ticket.iceberg_quantity is not None:
        sizes.append(ticket.iceberg_quantity)
    return all(_in_range(size, rule["minQty"], rule["maxQty"], rule["stepSize"]) for size in sizes)


def _market_lot_size(rule: Members, ticket: Ticket, average: Average) -> bool:
    return ticket.type != "MARKET" or _lot_size(rule, ticket, average)


def _notionals(ticket: Ticket, rule: Members, average: Average) -> list[Decimal]:
    """Return the money an order is about; unknown for a market order before any trade and for a peg to come."""
    if ticket.is_limit:
        return [price * ticket.quantity for price in _limits(ticket)]
    if ticket.quote_quantity:
        return [ticket.quote_quantity]
    price = average(int(rule["avgPriceMins"]))
    return [] if price is None else [price * ticket.quantity]


def _min_notional(rule: Members, ticket: Ticket, average: Average) -> bool:
    if not ticket.is_limit and not rule["applyToMarket"]:
        return True
    return all(value >= rule["minNotional"] for value in _notionals(ticket, rule, average))


def _notional_range(rule: Members, ticket: Ticket, average: Average) -> bool:
    has_least = ticket.is_limit or rule["applyMinToMarket"]
    has_most = ticket.is_limit or rule["applyMaxToMarket"]
    return not any(
        (has_least and value < rule["minNotional"]) or (has_most and value > rule["maxNotional"])
        for value in _notionals(ticket, rule, average)
    )


def _iceberg_parts(rule: Members, ticket: Ticket, _average: Average) -> bool:
    iceberg = ticket.iceberg_quantity
    # ceil(quantity / iceberg) <= limit, without the division.
    return not iceberg or ticket.quantity <= rule["limit"] * iceberg


def _trailing_delta(rule: Members, ticket: Ticket, _average: Average) -> bool:
    if ticket.trailing_delta is None:
        return True
    where = "Above" if ticket.triggers_above else "Below"
    return rule[f"minTrailing{where}Delta"] <= ticket.trailing_delta <= rule[f"maxTrailing{where}Delta"]


# In the order in which they are asked.
_ORDER_RULES: dict[str, Callable[[Members, Ticket, Average], bool]] = {
    "PRICE_FILTER": _price_filter,
    "PERCENT_PRICE": _percent_price,
    "PERCENT_PRICE_BY_SIDE": _percent_price_by_side,
    "LOT_SIZE": _lot_size,
    "MARKET_LOT_SIZE": _market_lot_size,
    "MIN_NOTIONAL": _min_notional,
    "NOTIONAL": _notional_range,
    "ICEBERG_PARTS": _iceberg_parts,
    "TRAILING_DELTA": _trailing_delta,
}
# Member that holds the limit, and what it limits. EXCHANGE_ ones count over all symbols.
_COUNT_RULES = {
    "MAX_NUM_ORDERS": ("maxNumOrders", "orders"),
    "MAX_NUM_ALGO_ORDERS": ("maxNumAlgoOrders", "algo"),
    "MAX_NUM_ICEBERG_ORDERS": ("maxNumIcebergOrders", "iceberg"),
    "MAX_NUM_ORDER_LISTS": ("maxNumOrderLists", "lists"),
}


_WORDS = frozenset({"filterType", "asset"})  # members that are no numbers


class Filters:
    """A set of filters, ready to be asked.

    Parameters
    ----------
    wire : iterable of mappings
        The filters as ``exchangeInfo`` shows them.
    """

    def __init__(self, wire: Iterable[Wire]) -> None:
        self.wire = [dict(each) for each in wire]
        self._members = {
            str(each["filterType"]): {key: Decimal(value) for key, value in each.items() if key not in _WORDS}
            for each in self.wire
        }
        self._counted = [
            (name, int(members[key]), what)
            for name, members in self._members.items()
            for key, what in [_COUNT_RULES.get(name.removeprefix("EXCHANGE_"), ("", ""))]
            if key
        ]

    def check(self, ticket: Ticket, average: Average) -> None:
        """Refuse an order that fails a rule about price, quantity or money."""
        for name, passes in _ORDER_RULES.items():
            members = self._members.get(name)
            if members is not None and not passes(members, ticket, average):
                raise Refusal(-1013, f"Filter failure: {name}")

    @property
    def limits_position(self) -> bool:
        """Whether there is a MAX_POSITION to check."""
        return "MAX_POSITION" in self._members

    def check_position(self, position: Decimal) -> None:
        """Refuse a BUY that would make the account's position in the base asset too large."""
        if position > self._members["MAX_POSITION"]["maxPosition"]:
            raise Refusal(-1013, "Filter failure: MAX_POSITION")

    def check_counts(self, now: Counts, added: Counts) -> None:
        """Refuse a placement that would leave too many orders or lists open."""
        for name, limit, what in self._counted:
            extra = getattr(added, what)
            if extra and getattr(now, what) + extra > limit:
                raise Refusal(-2010, f"Filter failure: {name}")

    def least_quantity(self, name: str) -> Decimal:
        """Return ``minQty`` of a lot size filter, zero without one."""
        return self._members.get(name, {}).get("minQty", ZERO)

    def step(self, name: str) -> Decimal:
        """Return ``stepSize`` of a lot size filter, zero without one."""
        return self._members.get(name, {}).get("stepSize", ZERO)
