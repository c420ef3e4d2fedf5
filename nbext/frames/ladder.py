"""Orders as a picture: a ladder of prices, with the last price among them."""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from io import BytesIO
from typing import TYPE_CHECKING, Any

from nbext.errors import ConfigurationError
from nbext.frames import columns
from nbext.orders import FINAL

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from pandas import DataFrame

    Price = Decimal | float | str

# Distinct without color, too: buys extend to the left, sells to the right.
_SIDES = {"BUY": ("#1a7f37", -1), "SELL": ("#cf222e", 1)}
_OTHER = "#57606a", 1
_WIDTH, _RUNG = 10.5, 0.26
"""Width of the picture, and distance from one price to the next, in inches."""
_STROKE = "\N{COMBINING LONG STROKE OVERLAY}"
_INK, _PALE, _BLUE = "#1f2328", "#57606a", "#0550ae"
_TEXT: dict[str, Any] = {"family": "DejaVu Sans", "fontsize": 8.5, "color": _INK, "parse_math": False}
_HEAD: dict[str, Any] = {**_TEXT, "fontsize": 9.5}
"""Set on each text, since no picture may depend on the user's settings: a panel draws on a thread of its own, where
matplotlib's settings, which are global, cannot be changed for a while."""


def merged(*frames: DataFrame) -> DataFrame:
    """Return the orders of one or more frames in one frame, each order as the last frame has it.

    Raises
    ------
    ConfigurationError
        A frame is not one of ours, or the frames are from different exchanges.
    """
    if not frames or not all(map(columns.is_ours, frames)):
        raise ConfigurationError("this frame was not made by nbext, or has lost its columns. Use %open_orders.")
    if len(set(map(origin, frames))) > 1:
        raise ConfigurationError("these frames are from different exchanges. Draw one exchange at a time.")
    filled = [frame for frame in frames if len(frame)]
    if len(filled) < 2:  # noqa: PLR2004 - nothing to merge
        return (filled or frames)[-1]
    import pandas as pd

    together = pd.concat(filled, ignore_index=True)
    together = together[together["orderId"].isna() | ~together.duplicated(["symbol", "orderId"], keep="last")]
    together.attrs = dict(filled[-1].attrs)
    return together


def origin(frame: DataFrame) -> tuple[object, object]:
    """Return the profile and the host that a frame is from, None where it does not say."""
    made: Any = frame.attrs.get("nbext")
    return (made.get("profile"), made.get("host")) if isinstance(made, dict) else (None, None)


def symbols_of(frame: DataFrame) -> list[str]:
    """Return the symbols of a frame in the order first met."""
    return list(dict.fromkeys(frame["symbol"].dropna()))


def draw(frame: DataFrame, last: Price | Mapping[str, Price]) -> Figure:
    """Draw the orders of a frame as a ladder of prices.

    Parameters
    ----------
    frame : DataFrame
        As `merged` returns it.
    last : Decimal, float, str or Mapping
        The last price, or last prices by symbol; a symbol without one is drawn without that line.

    Raises
    ------
    ConfigurationError
        matplotlib is missing, or `last` is not a price.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ConfigurationError(
            'ladder draws with matplotlib, which is not installed. Install it with: pip install "nbext[plot]"'
        ) from None

    class Picture(Figure):
        """A figure that a notebook shows without pyplot, which would show it a second time."""

        def _repr_png_(self) -> bytes:
            return png(self)

    symbols = symbols_of(frame)
    prices = _prices(last, symbols)
    rungs = [_Rungs(frame[frame["symbol"] == symbol], prices.get(symbol)) for symbol in symbols]
    heights = [len(each.prices) + len(each.unpriced) + 2 for each in rungs] or [3]
    figure = Picture(figsize=(_WIDTH, _RUNG * sum(heights) + 0.6), layout="constrained", facecolor="white")
    mark = "DRY RUN, nothing was canceled: " if columns.is_dry_run(frame) else ""
    figure.suptitle(mark + columns.caption(frame), **_HEAD, x=0.01, ha="left", wrap=True)
    if rungs:
        axes = figure.subplots(len(rungs), squeeze=False, height_ratios=heights)
        for symbol, each, ax in zip(symbols, rungs, axes[:, 0], strict=True):
            each.draw(ax, symbol)
    return figure


def png(figure: Figure) -> bytes:
    """Return a picture for a screen."""
    file = BytesIO()
    figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


class _Rungs:
    """The orders on one symbol, and the last price, from the highest price to the lowest.

    Orders are drawn at equal distances, so that none hides another.
    """

    def __init__(self, frame: DataFrame, last: Decimal | None) -> None:
        empty: dict[Any, str] = dict.fromkeys(columns.SHOWN, "")
        orders = [{**empty, **order} for order in columns.readable(frame).to_dict("records")]
        priced = [(order, _decimal(order["price"]) or _decimal(order["stopPrice"])) for order in orders]
        self.last = last
        self.prices: list[tuple[Decimal, dict[str, str] | None]] = [(price, order) for order, price in priced if price]
        if last is not None:
            self.prices.append((last, None))
        self.prices.sort(key=lambda rung: rung[0], reverse=True)
        self.unpriced = [order for order, price in priced if not price]

    def draw(self, ax: Axes, symbol: str) -> None:
        """Draw them, the highest price on top."""
        rows: list[tuple[Decimal | None, dict[str, str] | None]] = [
            *self.prices,
            *((None, each) for each in self.unpriced),
        ]
        most = max((_decimal(order["origQty"]) or Decimal(0) for _, order in rows if order), default=Decimal(0))
        ax.set(xlim=(-1.25, 1.4), ylim=(-len(rows) + 0.3, 0.7), xticks=[])
        ax.set_title(symbol, loc="left", **_HEAD, fontweight="bold")
        ax.set_facecolor("white")
        ax.grid(visible=False)
        ax.spines[:].set_visible(False)
        ax.axvline(0, color="#8c959f", linewidth=0.8)
        ax.tick_params(axis="y", length=0)
        ax.set_yticks(
            [-row for row, (_, order) in enumerate(rows) if order],
            [_amount(price) if price else "no price" for price, order in rows if order],
            **_TEXT,
        )
        lists: dict[str, list[int]] = {}
        for row, (price, order) in enumerate(rows):
            if order is None:
                ax.axhline(-row, color=_BLUE, linewidth=1.4, zorder=0)
                box = {"facecolor": "white", "edgecolor": _BLUE, "boxstyle": "round,pad=0.25"}
                blue = {**_TEXT, "color": _BLUE}
                ax.text(0, -row, f"last {_amount(price)}", **blue, ha="center", va="center", bbox=box)
                continue
            self._draw_order(ax, -row, order, most)
            if price and self.last:
                distance = f"{(price / self.last - 1) * 100:+.2f} %"
                ax.text(1.38, -row, distance, **{**_TEXT, "color": _PALE}, ha="right", va="center")
            if order["list"]:
                lists.setdefault(order["list"], []).append(-row)
        for track, legs in enumerate(legs for legs in lists.values() if len(legs) > 1):
            x = 1.05 + 0.03 * (track % 6)
            ax.plot([x] * len(legs), legs, color=_PALE, linewidth=0.9, marker="_", markersize=5)

    @staticmethod
    def _draw_order(ax: Axes, y: float, order: Mapping[str, str], most: Decimal) -> None:
        color, side = _SIDES.get(order["side"], _OTHER)
        outcome = order["outcome"]
        whole, traded = (float((_decimal(order[name]) or 0) / (most or 1)) for name in ("origQty", "executedQty"))
        ended = outcome in FINAL
        ax.barh(y, side * whole, height=0.62, linewidth=0, color=color, alpha=0.12 if ended else 0.75)
        ax.barh(y, side * traded, height=0.62, fill=False, hatch="////", edgecolor=color, linewidth=0)
        if outcome == "would_cancel":
            ax.barh(y, side * whole, height=0.62, fill=False, edgecolor=color, linestyle="--", linewidth=1)
        label = " ".join(_words(order))
        if outcome == "canceled":
            label = "".join(letter + _STROKE for letter in label)
        elif outcome not in {"open", "would_cancel"}:
            label = f"{label}  ({columns.GLYPHS.get(outcome, '')} {outcome})"
        align = "right" if side > 0 else "left"
        ax.text(-0.02 * side, y, label, **_TEXT, ha=align, va="center", alpha=0.65 if ended else 1)


def _words(order: Mapping[str, str]) -> Iterator[str]:
    yield order["side"]
    yield order["origQty"]
    if order["executedQty"].strip("0."):
        yield f"({order['executedQty']} traded)"
    yield order["type"]
    if order["price"] and order["stopPrice"]:
        yield f"stop {order['stopPrice']}"
    if order["list"]:
        yield f"[{order['list']}]"


def _prices(last: Price | Mapping[str, Price], symbols: Sequence[str]) -> dict[str, Decimal]:
    """Check the last prices, given as one or by symbol."""
    if not isinstance(last, Mapping):
        if len(symbols) > 1:
            raise ConfigurationError(f"one last price for {', '.join(symbols)}. Give a dict by symbol.")
        last = dict.fromkeys(symbols, last)
    prices = {symbol: _decimal(str(price)) for symbol, price in last.items()}
    for symbol, price in prices.items():
        if price is None or price <= 0:
            raise ConfigurationError(f"{last[symbol]!r} is not a price of {symbol}. Give a number, such as 61000.")
    return {symbol: price for symbol, price in prices.items() if price is not None}


def _decimal(text: str) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() else None


def _amount(number: Decimal | None) -> str:
    return "" if number is None else columns.amount(number)
