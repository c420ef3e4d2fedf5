"""Orders by price, beside the last price: what a ladder consists of. `ladder_view` says how it looks."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import ROUND_FLOOR, Decimal, InvalidOperation
from math import isnan
from typing import TYPE_CHECKING, Any

from nbext.errors import ConfigurationError
from nbext.frames import columns
from nbext.messages import amount, distance
from nbext.orders import FINAL
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from pandas import DataFrame

    Price = Decimal | float | str

MOST_SINGLE = 40
"""The most orders drawn one by one; more are added up by levels of the price."""
_BANDS, _FEWEST_BANDS = 36, 6
"""The most levels of a ladder, and the fewest that a symbol gets in a ladder of many symbols."""
_TRIGGERED = frozenset({"STOP_LOSS", "STOP_LOSS_LIMIT", "TAKE_PROFIT", "TAKE_PROFIT_LIMIT"})
_BASIS_POINTS = 10_000
_NO_LIST = -1


class Ladder:
    """Orders by price, beside the last price. A notebook shows bars in its own theme, a terminal shows text.

    Up to 40 orders stand one by one, at equal distances, so that none hides another. More are added up on a true price
    axis, with the depth that comes together from the last price outward.

    Parameters
    ----------
    frame : DataFrame
        As `merged` returns it.
    last : Decimal, float, str or Mapping
        The last price, or last prices by symbol; a symbol without one is drawn without it.

    Attributes
    ----------
    caption : str
        Counts the orders.
    is_dry_run : bool
    symbols : list of Symbol
        One ladder for each symbol.

    Raises
    ------
    ConfigurationError
        `last` is not a price.
    """

    def __init__(self, frame: DataFrame, last: Price | Mapping[str, Price]) -> None:
        names = symbols_of(frame)
        prices = _prices(last, names)
        self.caption = columns.caption(frame) if names else f"Nothing to draw: {columns.caption(frame)}"
        self.is_dry_run = columns.is_dry_run(frame)
        orders: dict[str, list[Mapping[Any, Any]]] = defaultdict(list)
        for order in frame.to_dict("records"):
            orders[order["symbol"]].append(order)
        bands = len(frame) if len(frame) <= MOST_SINGLE else max(_FEWEST_BANDS, _BANDS // len(names))
        self.symbols = [Symbol.of(name, orders[name], prices.get(name), bands) for name in names]

    def __repr__(self) -> str:
        from nbext.frames.ladder_view import as_text

        return as_text(self)

    def _repr_html_(self) -> str:
        from nbext.frames.ladder_view import as_html

        return as_html(self)


@dataclass(frozen=True, slots=True)
class Mark:
    """One order on a ladder."""

    order_id: str
    side: str
    words: str
    """What the order is, in a few words."""
    at: Decimal | None
    """The price it stands at: its own, or its trigger while it waits for that."""
    bound: str
    """How the trigger of a trailing stop relates to `at`, which supposes that the price turns now: ``≥`` or ``≤``."""
    quantity: Decimal
    traded: Decimal
    waits: bool
    """Whether it is not on the book yet: pending, or not triggered."""
    outcome: str
    order_list: str

    @property
    def has_ended(self) -> bool:
        """Whether its outcome is final."""
        return self.outcome in FINAL

    @property
    def remaining(self) -> Decimal:
        """What could still trade."""
        return Decimal(0) if self.has_ended else max(self.quantity - self.traded, Decimal(0))

    @classmethod
    def of(cls, order: Mapping[Any, Any], last: Decimal | None) -> Mark:
        """Return the mark of an order of a frame."""
        price, stop = _number(order.get("peggedPrice")) or _number(order["price"]), _number(order["stopPrice"])
        delta = _number(order.get("trailingDelta"))
        side, kind = _text(order["side"]), _text(order["type"])
        pending = _text(order["status"]) == "PENDING_NEW"
        waits = pending or (
            kind in _TRIGGERED and _text(order.get("isWorking")) != "True" and not _number(order["executedQty"])
        )
        trails = (
            waits and delta is not None and not pending and (stop is None or _text(order.get("trailingTime")) != "")
        )
        at, bound = (stop or price, "") if waits else (price or stop, "")
        if trails and delta and last:
            share, bound = (-delta, "≥") if side == "SELL" else (delta, "≤")
            at = _rounded(last * (1 + share / _BASIS_POINTS), last)
        elif trails:
            at = None
        words = [side]  # the pending order of an OPO has no quantity yet
        words += [amount(_number(order["origQty"]) or Decimal(0))] if _text(order["origQty"]) else []
        traded = _number(order["executedQty"]) or Decimal(0)
        words += [f"({amount(traded)} traded)"] if traded else []
        words += [kind, "pegged" if _text(order.get("pegPriceType")) else ""]
        words += [f"trailing {amount(delta / 100).removesuffix('.0')} %"] if delta and waits else []
        words += [f"from {amount(stop)}"] if delta and stop and waits and not trails else []
        words += [f"then {amount(price)}"] if price and waits and at != price else []
        words += [f"stop {amount(stop)}"] if price and stop and not waits else []
        words += ["pending"] if pending else []
        id_ = _text(order["orderListId"])
        order_list = "" if id_ in {"", str(_NO_LIST)} else f"{_text(order['contingencyType'])} {id_}".strip()
        words += [f"[{order_list}]"] if order_list else []
        return cls(
            order_id=_text(order["orderId"]),
            side=side,
            words=" ".join(filter(None, words)),
            at=at,
            bound=bound,
            quantity=_number(order["origQty"]) or Decimal(0),
            traded=traded,
            waits=waits,
            outcome=_text(order["outcome"]),
            order_list=order_list,
        )


@dataclass(slots=True)
class Rung:
    """One line of a ladder: an order, all orders of a level, or the last price."""

    at: Decimal | None
    """The price, or the lower end of the level."""
    marks: list[Mark] = field(default_factory=list)
    is_last: bool = False
    """Whether the last price stands here."""
    beyond: str = ""
    """``above`` or ``below``: here are the orders that stand far away from the others."""
    depth: dict[str, Decimal] = field(default_factory=dict)
    """What is on the book from the last price up to here, by side."""

    def on_book(self, side: str) -> Decimal:
        """Return the quantity that can trade here now."""
        return self._sum(mark.remaining for mark in self.marks if mark.side == side and not mark.waits)

    def waiting(self, side: str) -> Decimal:
        """Return the quantity that waits for its trigger or for another order."""
        return self._sum(mark.remaining for mark in self.marks if mark.side == side and mark.waits)

    def ended(self, side: str) -> Decimal:
        """Return the quantity of the orders that have ended."""
        return self._sum(mark.quantity for mark in self.marks if mark.side == side and mark.has_ended)

    @staticmethod
    def _sum(quantities: Iterable[Decimal]) -> Decimal:
        return sum(quantities, Decimal(0))


@dataclass(slots=True)
class Symbol:
    """The ladder of one symbol, from the highest price to the lowest."""

    name: str
    last: Decimal | None
    rungs: list[Rung]
    step: Decimal | None
    """The height of a level; None where the orders stand one by one."""

    @classmethod
    def of(cls, name: str, orders: Sequence[Mapping[Any, Any]], last: Decimal | None, most: int) -> Symbol:
        """Return the ladder of the orders, level by level if there are more than `most`."""
        marks = [Mark.of(order, last) for order in orders]
        priced = sorted((mark for mark in marks if mark.at is not None), key=lambda mark: mark.at or 0, reverse=True)
        unpriced = [mark for mark in marks if mark.at is None]
        step = None
        if len(marks) > most and priced:
            step, rungs = _levels(priced, last, most)
            rungs += [Rung(None, unpriced)] if unpriced else []
        else:
            rungs = [Rung(mark.at, [mark]) for mark in priced]
            if last is not None:
                above = sum(mark.at is not None and mark.at >= last for mark in priced)
                rungs.insert(above, Rung(last, is_last=True))
            rungs += [Rung(None, [mark]) for mark in unpriced]
        return cls(printable(name), last, rungs, step)

    def distance(self, price: Decimal) -> str:
        """Return how far a price is from the last one."""
        return distance(price, self.last) if self.last else ""

    def order_lists(self) -> list[tuple[int, int]]:
        """Return the first and the last rung of each order list that has several, the longest reach first."""
        places: dict[str, list[int]] = defaultdict(list)
        for place, rung in enumerate(self.rungs):
            for mark in rung.marks:
                if mark.order_list:
                    places[mark.order_list].append(place)
        return sorted(((min(each), max(each)) for each in places.values() if len(each) > 1), key=lambda ends: ends[0])


def merged(*frames: DataFrame) -> DataFrame:
    """Return the orders of one or more frames in one frame, each order as the last frame has it.

    Raises
    ------
    ConfigurationError
        A frame is not one of ours, or the frames are from different exchanges.
    """
    if not frames or not all(map(columns.is_ours, frames)):
        raise ConfigurationError("this frame was not made by nbext, or has lost columns. Use %open_orders.")
    if len(set(map(origin, frames))) > 1:
        raise ConfigurationError("these frames are from different exchanges. Draw one exchange at a time.")
    filled = [frame for frame in frames if len(frame)]
    if len(filled) <= 1:  # nothing to merge
        return (filled or frames)[-1]
    import pandas as pd

    together = pd.concat(filled, ignore_index=True)
    named = together["orderId"].notna()
    if "isWorking" in together:  # cancel reports do not say whether an order was triggered; an earlier look does
        known = together[named].groupby(["symbol", "orderId"])["isWorking"].ffill()
        together.loc[named, "isWorking"] = known
    together = together[~named | ~together.duplicated(["symbol", "orderId"], keep="last")]
    together.attrs = dict(filled[-1].attrs)
    return together


def origin(frame: DataFrame) -> tuple[object, object]:
    """Return the profile and the host that a frame is from, None where it does not say."""
    made: Any = frame.attrs.get("nbext")
    return (made.get("profile"), made.get("host")) if isinstance(made, dict) else (None, None)


def symbols_of(frame: DataFrame) -> list[str]:
    """Return the symbols of a frame in the order first met."""
    return list(dict.fromkeys(frame["symbol"].dropna()))


def _levels(priced: Sequence[Mark], last: Decimal | None, most: int) -> tuple[Decimal, list[Rung]]:
    """Return levels of equal height, and that height; what is far away from the rest stands above or below them."""
    prices = sorted([mark.at for mark in priced if mark.at is not None] + ([last] if last is not None else []))
    low, high = prices[0], prices[-1]
    spare = len(prices) // 20
    inner_low, inner_high = (prices[spare], prices[-1 - spare])
    if last is not None:
        inner_low, inner_high = min(inner_low, last), max(inner_high, last)
    inner = inner_high - inner_low
    if high - low > 2 * inner > 0:
        low, high = max(low, inner_low - inner / 4), min(high, inner_high + inner / 4)
    step = _step(low, high, most - 2)
    first, top = (int((price / step).to_integral_value(ROUND_FLOOR)) for price in (low, high))
    rungs = {place: Rung(place * step) for place in range(top, first - 1, -1)}
    above, below = Rung((top + 1) * step, beyond="above"), Rung(first * step, beyond="below")
    for mark in priced:
        place = int(((mark.at or Decimal(0)) / step).to_integral_value(ROUND_FLOOR))
        rungs.get(place, above if place > top else below).marks.append(mark)
    if last is not None:
        rungs[int((last / step).to_integral_value(ROUND_FLOOR))].is_last = True
    levels = [*([above] if above.marks else []), *rungs.values(), *([below] if below.marks else [])]
    for side, outward in (("BUY", levels), ("SELL", levels[::-1])):
        depth = Decimal(0)
        for rung in outward:
            depth += rung.on_book(side)
            rung.depth[side] = depth
    return step, levels


def _step(low: Decimal, high: Decimal, most: int) -> Decimal:
    """Return the smallest of 1, 2, 2.5 and 5 times a power of ten that cuts a range into at most this many levels."""
    wanted = (high - low) / most or high / 1000
    power = Decimal(1).scaleb(wanted.adjusted())
    steps = (power * times for times in map(Decimal, ("1", "2", "2.5", "5", "10", "20")))
    return next(step for step in steps if _count(low, high, step) <= most)


def _count(low: Decimal, high: Decimal, step: Decimal) -> int:
    return int((high / step).to_integral_value(ROUND_FLOOR) - (low / step).to_integral_value(ROUND_FLOOR)) + 1


def _prices(last: Price | Mapping[str, Price], symbols: Sequence[str]) -> dict[str, Decimal]:
    """Check the last prices, given as one or by symbol."""
    if not isinstance(last, Mapping):
        if len(symbols) > 1:
            raise ConfigurationError(f"one last price for {', '.join(symbols)}. Pass a dict by symbol.")
        last = dict.fromkeys(symbols, last)
    prices = {symbol: _number(price) for symbol, price in last.items()}
    for symbol, price in prices.items():
        if price is None or price <= 0:
            raise ConfigurationError(f"{last[symbol]!r} is not a price of {symbol}. Pass a number, such as 61000.")
    return {symbol: price for symbol, price in prices.items() if price is not None}


def _rounded(price: Decimal, last: Decimal) -> Decimal:
    """Round a computed price to the digits that the last price has, or to six."""
    digits: Any = last.as_tuple().exponent  # a number, as `last` is finite
    return price.quantize(Decimal(1).scaleb(min(digits, last.adjusted() - 5)))


def _number(value: object) -> Decimal | None:
    """Return a value of a frame as a number; zero in a frame means that there is none."""
    try:
        number = Decimal(str(value))
    except InvalidOperation:
        return None
    return number if number.is_finite() and number else None


def _text(value: object) -> str:
    import pandas as pd

    is_missing = value is None or value is pd.NA or value is pd.NaT or (isinstance(value, float) and isnan(value))
    return "" if is_missing else printable(str(value))
