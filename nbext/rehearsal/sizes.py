"""Prices far from the market, and the smallest quantities, that the filters of a symbol allow."""

from __future__ import annotations

from decimal import ROUND_CEILING, ROUND_DOWN, ROUND_FLOOR, Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_BELOW, _ABOVE = Decimal("0.75"), Decimal("1.3")
_MARGIN = Decimal("0.1")  # of the way from the market to a filter's bound is kept off the bound: averages move
_SPARE = Decimal("1.05")  # more money than a filter wants, for the same reason
_FAR_BIPS = 2000


class Sizes:
    """What an order on a symbol may cost, by the filters of ``exchangeInfo`` (API docs, "Filters").

    Parameters
    ----------
    info : Mapping
        The symbol's entry in ``GET /api/v3/exchangeInfo``.
    low, high : Decimal
        The lower and the higher of what the market pays now: last price, average price, best bid and ask.
    """

    def __init__(self, info: Mapping[str, Any], low: Decimal, high: Decimal) -> None:
        self._filters = {each["filterType"]: each for each in info["filters"]}
        self.low, self.high = low, high

    def price(self, side: str, *, above: bool, number: int = 0) -> Decimal:
        """Return a limit or stop price far above or far below the market.

        Parameters
        ----------
        side : {"BUY", "SELL"}
            Of the order; filters may bound either side differently.
        above : bool
        number : int
            Other numbers get other prices, while a tick is small.
        """
        tick = self._of("PRICE_FILTER", "tickSize")
        least, most = self._bounds(side)
        if above:
            wanted = self.high * _ABOVE
            wanted = min(wanted, most - (most - self.high) * _MARGIN) if most else wanted
        else:
            wanted = max(self.low * _BELOW, least + (self.low - least) * _MARGIN)
        if tick:
            if wanted > tick * 10_000:
                wanted += tick * number
            wanted = _to(wanted, tick, ROUND_FLOOR if above else ROUND_CEILING)
        return wanted

    def quantity(self, lowest_price: Decimal, parts: int = 1) -> Decimal:
        """Return the smallest quantity, of a whole number of equal parts, that has enough money at a price."""
        step = self._of("LOT_SIZE", "stepSize") or Decimal("0.00000001")
        money = max(self._of("NOTIONAL", "minNotional"), self._of("MIN_NOTIONAL", "minNotional"))
        part = max(self._of("LOT_SIZE", "minQty"), money * _SPARE / lowest_price / parts, step)
        return _to(part, step, ROUND_CEILING) * parts

    def trailing_delta(self, *, above: bool) -> int:
        """Return how far a trailing stop may stay away, in basis points."""
        where = "Above" if above else "Below"
        least, most = (self._of("TRAILING_DELTA", f"{bound}Trailing{where}Delta") for bound in ("min", "max"))
        return int(max(least, min(most or _FAR_BIPS, _FAR_BIPS)))

    def _bounds(self, side: str) -> tuple[Decimal, Decimal]:
        """Return the lowest and the highest price of an order; 0 for none."""
        which = "bid" if side == "BUY" else "ask"
        least, most = self._of("PRICE_FILTER", "minPrice"), self._of("PRICE_FILTER", "maxPrice")
        for name, down, up in (
            ("PERCENT_PRICE", "multiplierDown", "multiplierUp"),
            ("PERCENT_PRICE_BY_SIDE", f"{which}MultiplierDown", f"{which}MultiplierUp"),
        ):
            least = max(least, self.high * self._of(name, down))
            if highest := self.low * self._of(name, up):
                most = min(most or highest, highest)
        return least, most

    def _of(self, name: str, field: str) -> Decimal:
        """Return a number of a filter; 0 if it is not there."""
        return Decimal(str(self._filters.get(name, {}).get(field, 0)))


def _to(number: Decimal, grid: Decimal, rounding: str) -> Decimal:
    return (number / grid).to_integral_value(rounding) * grid


def text(number: Decimal) -> str:
    """Return an amount as a request has it."""
    written = format(number.quantize(Decimal("0.00000001"), ROUND_DOWN), "f")
    return written.rstrip("0").rstrip(".") if "." in written else written
