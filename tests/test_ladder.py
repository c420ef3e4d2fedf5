"""The price ladder."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import nbext
from nbext.frames import build
from nbext.frames.ladder import png
from nbext.orders import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange

ladder = nbext.ladder
STROKE = "\N{COMBINING LONG STROKE OVERLAY}"


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Give the exchange of the local profile, with orders."""
    exchange = nbext.local()
    exchange.reset()
    exchange.seed_orders()
    yield exchange
    exchange.reset()


def texts(figure: Any) -> list[str]:
    """Give what is written in a picture, from top to bottom."""
    figure.draw_without_rendering()
    found = [text for ax in figure.axes for text in ax.texts]
    return [text.get_text() for text in sorted(found, key=lambda text: -text.get_position()[1])]


def order(price: str, **fields: object) -> Row:
    """Make a row of one single order."""
    outcome = str(fields.pop("outcome", "open"))
    sent = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": price, "origQty": "2.0", "executedQty": "0.0"}
    return Row({**sent, **fields}, None, outcome)


def test_orders_stand_by_price_with_the_last_price_among_them() -> None:
    """The highest price is on top, and each order says how far it is from the last one."""
    figure = ladder(build.frame([order("90"), order("110", side="SELL"), order("105", side="SELL")]), last=100)
    assert texts(figure) == [
        "SELL 2.0 LIMIT",
        "+10.00 %",
        "SELL 2.0 LIMIT",
        "+5.00 %",
        "last 100.0",
        "BUY 2.0 LIMIT",
        "-10.00 %",
    ]
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["110.0", "105.0", "90.0"]


def test_what_was_canceled_is_struck_through() -> None:
    """Each letter of a canceled order has a stroke; what was filled or is unknown says so; what is open is plain."""
    rows = [order("4", outcome="canceled"), order("3", outcome="filled", executedQty="2.0")]
    rows += [order("2", outcome="unknown"), order("1")]
    struck, filled, unknown, plain = texts(ladder(build.frame(rows)))
    assert struck.replace(STROKE, "") == "BUY 2.0 LIMIT"
    assert struck.count(STROKE) == len("BUY 2.0 LIMIT")
    assert filled == "BUY 2.0 (2.0 traded) LIMIT  (● filled)"
    assert unknown == "BUY 2.0 LIMIT  (? unknown)"
    assert plain == "BUY 2.0 LIMIT"


@pytest.mark.usefixtures("exchange")
def test_the_last_price_is_asked_of_the_exchange_that_the_frame_is_from() -> None:
    """Without `last`, each symbol gets the exchange's own; a frame of elsewhere gets none."""
    frame = nbext.open_orders()
    assert sum(text.startswith("last ") for text in texts(ladder(frame))) == 2
    frame.attrs["nbext"]["host"] = "127.0.0.1:1"
    assert sum(text.startswith("last ") for text in texts(ladder(frame))) == 0


def test_several_frames_are_one_picture() -> None:
    """An order that is in two frames is drawn once, as the last one has it; orders without an id stay apart."""
    before = build.frame([order("4", orderId=1), order("3", orderId=2), order("2"), order("1")])
    after = build.frame([order("4", orderId=1, outcome="canceled")])
    struck, *plain = texts(ladder(before, after, build.frame([]), last={}))
    assert struck.replace(STROKE, "") == "BUY 2.0 LIMIT"
    assert struck.count(STROKE) == len("BUY 2.0 LIMIT")
    assert plain == ["BUY 2.0 LIMIT"] * 3
    assert ladder(before, after, last={}).get_suptitle() == "BTCUSDT: 4 orders, 3 open, 1 canceled"


def test_frames_of_two_exchanges_are_no_picture() -> None:
    """Order ids of one exchange say nothing on another."""
    here, there = (build.frame([order("1", orderId=1)], summary={"profile": "p", "host": host}) for host in "ab")
    with pytest.raises(nbext.ConfigurationError, match="different exchanges"):
        ladder(here, there)


def test_the_readers_settings_change_nothing() -> None:
    """A dark style, large letters or a grid: the picture stays as it is, and readable."""
    import matplotlib as mpl
    from matplotlib import style

    frame = build.frame([order("4", orderListId=1), order("3", orderListId=1, executedQty="1.0"), order("0")])
    expected = png(ladder(frame, last=2))
    with style.context("dark_background"), mpl.rc_context({"font.size": 20, "axes.grid": True}):
        assert png(ladder(frame, last=2)) == expected


@pytest.mark.usefixtures("exchange")
def test_a_notebook_shows_it_once_without_pyplot() -> None:
    """The figure is its own PNG; pyplot, which would number it and show it again, does not know it."""
    figure: Any = ladder(nbext.open_orders("BTCUSDT"))
    assert figure._repr_png_().startswith(b"\x89PNG")
    assert not hasattr(figure, "number")


@pytest.mark.usefixtures("exchange")
def test_a_dry_run_says_so_in_its_title() -> None:
    """No picture of a dry run looks like one of orders that are gone."""
    figure = ladder(nbext.cancel_all("BTCUSDT", dry_run=True))
    assert figure.get_suptitle().startswith("DRY RUN, nothing was canceled: BTCUSDT: 13 orders")


def test_odd_orders_have_their_place() -> None:
    """Nothing open, orders without a price, without a side, or with fields missing, are drawn all the same."""
    assert ladder(build.frame([])).get_suptitle() == "no orders"
    rows = [order("0", type="$STOP_LOSS$"), Row({"symbol": "BTCUSDT"}, None, "unknown")]
    figure = ladder(build.frame(rows), last="1")
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["no price", "no price"]
    assert "BUY 2.0 $STOP_LOSS$" in texts(figure)


@pytest.mark.parametrize("last", [0, -1, "many", float("nan"), {"BTCUSDT": "inf"}])
def test_a_last_price_has_to_be_one(last: Any) -> None:
    """A last price that is none is refused in one sentence."""
    with pytest.raises(nbext.ConfigurationError, match="is not a price of BTCUSDT"):
        ladder(build.frame([order("1")]), last=last)


def test_one_last_price_is_not_that_of_two_symbols() -> None:
    """Several symbols need a price each."""
    with pytest.raises(nbext.ConfigurationError, match="Give a dict by symbol"):
        ladder(build.frame([order("1"), order("1", symbol="ETHUSDT")]), last=1)


def test_frames_of_others_are_refused() -> None:
    """Only a frame of ours can be drawn."""
    with pytest.raises(nbext.ConfigurationError, match="not made by nbext"):
        ladder(pd.DataFrame({"price": [1.0]}))


def test_without_matplotlib_the_error_names_the_extra() -> None:
    """Where matplotlib is missing, one sentence says what to install."""
    code = (
        "import sys\nsys.modules['matplotlib'] = None\nfrom nbext import ConfigurationError, ladder\n"
        "from nbext.frames import build\n"
        "try: ladder(build.frame([]))\nexcept ConfigurationError as e: print(e)"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "nbext[plot]"' in child.stdout
