"""The price ladder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from decimal import Decimal
from html import unescape
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest

import nbext
from nbext.frames import build
from nbext.frames.ladder_view import as_html, as_text
from nbext.orders import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange
    from nbext.frames.ladder import Ladder

ladder = nbext.ladder


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Yield the exchange of the local profile, with orders."""
    exchange = nbext.local()
    exchange.reset()
    exchange.seed_orders()
    yield exchange
    exchange.reset()


def order(price: str, **fields: object) -> Row:
    """Make a row of one single order."""
    outcome = str(fields.pop("outcome", "open"))
    sent = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "price": price, "origQty": "2.0", "executedQty": "0.0"}
    return Row({**sent, **fields}, None, outcome)


def rows(drawn: Ladder, **how: bool) -> list[list[str]]:
    """Return the cells of the rows below the heads, as a page without styles shows them, bars left out."""
    body = re.sub(r"<thead>.*?</thead>|<style>.*?</style>", "", as_html(drawn, **how), flags=re.DOTALL)
    body = body.replace("&nbsp;", " ")
    body = re.sub(r'<span class="bar[^>]*>[^<]*</span>', "", body)
    cells = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL) for row in re.findall(r"<tr.*?</tr>", body, re.DOTALL)
    ]
    return [[text for cell in row if (text := unescape(re.sub("<(?!s>|/s>)[^>]*>", "", cell)))] for row in cells]


def bars(drawn: Ladder) -> list[list[str]]:
    """Return the kinds of the bars of each row."""
    found = [re.findall(r'class="bar ([^"]*)"', row) for row in re.findall(r"<tr.*?</tr>", as_html(drawn), re.DOTALL)]
    return found[1:]


def test_orders_stand_by_price_with_the_last_price_among_them() -> None:
    """The highest price is on top, and each order says how far it is from the last one."""
    drawn = ladder(build.frame([order("90"), order("110", side="SELL"), order("105", side="SELL")]), last=100)
    assert rows(drawn) == [
        ["110.0", "SELL 2.0 LIMIT", "+10.00 %"],
        ["105.0", "SELL 2.0 LIMIT", "+5.00 %"],
        ["last 100.0"],
        ["90.0", "BUY 2.0 LIMIT", "\N{MINUS SIGN}10.00 %"],
    ]
    assert bars(drawn) == [["SELL"], ["SELL"], [], ["BUY"]]


def test_what_was_canceled_is_struck_through() -> None:
    """A canceled order is struck through; what was filled or is unknown says so; what is open is plain."""
    orders = [order("4", outcome="canceled"), order("3", outcome="filled", executedQty="2.0")]
    orders += [order("2", outcome="unknown"), order("1")]
    drawn = ladder(build.frame(orders), last={})
    assert rows(drawn) == [
        ["4.0", "<s>BUY 2.0 LIMIT</s>"],
        ["3.0", "BUY 2.0 (2.0 traded) LIMIT  (● filled)"],
        ["2.0", "BUY 2.0 LIMIT  (? unknown)"],
        ["1.0", "BUY 2.0 LIMIT"],
    ]
    assert bars(drawn) == [["BUY ended"], ["BUY traded"], ["BUY"], ["BUY"]]


def test_what_waits_is_hollow_and_stands_at_its_trigger() -> None:
    """A stop that has not triggered, and a leg that waits for another order; once triggered, it stands at its price."""
    stop = {"type": "STOP_LOSS_LIMIT", "stopPrice": "96", "side": "SELL", "status": "NEW"}
    orders = [
        order("95", **stop, isWorking=False),
        order("94", **stop, isWorking=True),
        order("97", side="SELL", status="PENDING_NEW", isWorking=False),
        order("0", **{**stop, "type": "STOP_LOSS", "stopPrice": "93"}),
        order("92", status="NEW", isWorking=True),
    ]
    drawn = ladder(build.frame(orders), last={})
    assert rows(drawn) == [
        ["97.0", "SELL 2.0 LIMIT pending"],
        ["96.0", "SELL 2.0 STOP_LOSS_LIMIT then 95.0"],
        ["94.0", "SELL 2.0 STOP_LOSS_LIMIT stop 96.0"],
        ["93.0", "SELL 2.0 STOP_LOSS"],
        ["92.0", "BUY 2.0 LIMIT"],
    ]
    assert bars(drawn) == [["SELL waits"], ["SELL waits"], ["SELL"], ["SELL waits"], ["BUY"]]
    assert "Outlined: pending or not triggered" in as_html(drawn)
    assert [line.count("░") > 0 for line in as_text(drawn, 100).splitlines()[1:6]] == [True, True, False, True, False]


def test_a_trailing_stop_stands_where_it_would_trigger_now() -> None:
    """If the price turned now: 5 % below the last price, above it for a buy; before it follows, at its stop price."""
    trailing = {"type": "STOP_LOSS", "trailingDelta": 500, "isWorking": False, "status": "NEW"}
    follows = {**trailing, "trailingTime": 1_700_000_000_000}
    orders = [
        order("0", **follows, side="SELL"),
        order("0", **follows, side="BUY"),
        order("0", **{**trailing, "type": "TAKE_PROFIT"}, side="SELL", stopPrice="120", trailingTime=-1),
    ]
    assert rows(ladder(build.frame(orders), last="100.0")) == [
        ["120.0", "SELL 2.0 TAKE_PROFIT trailing 5 % from 120.0", "+20.00 %"],
        ["≤ 105.0", "BUY 2.0 STOP_LOSS trailing 5 %", "+5.00 %"],
        ["last 100.0"],
        ["≥ 95.0", "SELL 2.0 STOP_LOSS trailing 5 %", "\N{MINUS SIGN}5.00 %"],
    ]
    assert rows(ladder(build.frame(orders[:1]), last={})) == [["no price", "SELL 2.0 STOP_LOSS trailing 5 %"]]


def test_a_trailing_stop_triggers_where_the_ladder_says(exchange: LocalExchange) -> None:
    """On the exchange itself: a tick above, it is still open; at the price of the ladder it is not."""
    exchange.reset()
    client = nbext.connect()
    ticket: dict[str, str | int] = {
        "symbol": "BTCUSDT",
        "side": "SELL",
        "type": "STOP_LOSS",
        "quantity": "0.3",
        "trailingDelta": 500,
    }
    client.request("POST", "/api/v3/order", ticket)
    (found,) = (row[0] for row in rows(ladder(nbext.open_orders("BTCUSDT"))) if "STOP_LOSS" in "".join(row))
    bound, at = found.split()
    assert bound == "≥"
    exchange.set_price("BTCUSDT", Decimal(at) + 10)
    assert len(nbext.open_orders("BTCUSDT")) == 1
    exchange.set_price("BTCUSDT", Decimal(at) - 10)
    assert len(nbext.open_orders("BTCUSDT")) == 0


@pytest.mark.usefixtures("exchange")
def test_the_last_price_is_asked_of_the_exchange_that_the_frame_is_from() -> None:
    """Without `last`, each symbol gets the exchange's own; a frame of elsewhere gets none."""
    frame = nbext.open_orders()
    assert sum(row[0].startswith("last ") for row in rows(ladder(frame))) == 2
    frame.attrs["nbext"]["host"] = "127.0.0.1:1"
    assert sum(row[0].startswith("last ") for row in rows(ladder(frame))) == 0


def test_several_frames_are_one_ladder() -> None:
    """An order that is in two frames is drawn once, as the last one has it; orders without an id stay apart."""
    stop = {"type": "STOP_LOSS_LIMIT", "stopPrice": "5", "side": "SELL", "orderId": 1}
    before = build.frame([order("4", **stop, isWorking=True), order("3", orderId=2), order("2"), order("1")])
    after = build.frame([order("4", **stop, outcome="canceled")])
    drawn = ladder(before, after, build.frame([]), last={})
    assert rows(drawn)[0] == ["4.0", "<s>SELL 2.0 STOP_LOSS_LIMIT stop 5.0</s>"], (
        "it had triggered, the first frame says"
    )
    assert rows(drawn)[1:] == [["3.0", "BUY 2.0 LIMIT"], ["2.0", "BUY 2.0 LIMIT"], ["1.0", "BUY 2.0 LIMIT"]]
    assert drawn.caption == "BTCUSDT: 4 orders, 3 open, 1 canceled"


def test_frames_of_two_exchanges_are_no_ladder() -> None:
    """Order ids of one exchange say nothing on another."""
    here, there = (build.frame([order("1", orderId=1)], summary={"profile": "p", "host": host}) for host in "ab")
    with pytest.raises(nbext.ConfigurationError, match="different exchanges"):
        ladder(here, there)


def many(count: int, **fields: object) -> pd.DataFrame:
    """Make a frame of so many orders, buys below 100 and sells above it, one of each every 0.5."""
    sells = [("SELL", 100 + Decimal(place) / 2) for place in range(1, count // 2 + 1)]
    buys = [("BUY", 100 - Decimal(place) / 2) for place in range(1, count - count // 2 + 1)]
    return build.frame(
        [
            order(str(price), side=side, **{"orderId": place, **fields})
            for place, (side, price) in enumerate(sells + buys)
        ]
    )


def test_more_than_forty_orders_are_added_up_on_a_true_axis() -> None:
    """Forty stand one by one; of more there are levels of equal height, none left out, and each order is in its own."""
    assert len(rows(ladder(many(40), last=100))) == 41
    drawn = ladder(many(150), last=100)
    (symbol,) = drawn.symbols
    assert len(symbol.rungs) <= 36
    assert {above.at - below.at for above, below in zip(symbol.rungs, symbol.rungs[1:], strict=False)} == {symbol.step}  # type: ignore[operator]
    assert sum(len(rung.marks) for rung in symbol.rungs) == 150
    for rung in symbol.rungs:
        assert all(rung.at <= mark.at < rung.at + symbol.step for mark in rung.marks)  # type: ignore[operator]
    assert [rung.at <= 100 < rung.at + symbol.step for rung in symbol.rungs] == [rung.is_last for rung in symbol.rungs]  # type: ignore[operator]


def test_depth_comes_together_from_the_last_price_outward() -> None:
    """It counts what can trade, less what has traded, and nothing that waits or has ended."""
    frame = pd.concat(
        [
            many(60, executedQty="0.5"),
            build.frame(
                [
                    order("99", orderId=901, status="PENDING_NEW"),
                    order("98", orderId=902, outcome="canceled"),
                    order("0", orderId=903, type="STOP_LOSS", stopPrice="105", side="BUY"),
                ]
            ),
        ]
    )
    drawn = ladder(frame, last=100)
    (symbol,) = drawn.symbols
    assert symbol.rungs[0].depth["SELL"] == symbol.rungs[-1].depth["BUY"] == 30 * Decimal("1.5")
    depths = [rung.depth["BUY"] for rung in symbol.rungs]
    assert depths == sorted(depths)
    assert sum(rung.waiting("BUY") for rung in symbol.rungs) == 4
    assert sum(rung.ended("BUY") for rung in symbol.rungs) == 2
    assert rows(drawn)[-1][1] == "45.0"


def test_one_order_far_away_does_not_squeeze_the_others() -> None:
    """It stands beyond the axis, with where the axis ends."""
    frame = pd.concat([many(60), build.frame([order("1", orderId=901), order("9000", side="SELL", orderId=902)])])
    drawn = ladder(frame, last=100)
    assert len([row for row in rows(drawn) if len(row) > 3]) > 10
    assert rows(drawn)[0][0].startswith("above 1")
    assert rows(drawn)[-1][0].startswith("below ")
    assert [mark.order_id for mark in drawn.symbols[0].rungs[0].marks] == ["902"]
    assert [mark.order_id for mark in drawn.symbols[0].rungs[-1].marks] == ["901"]


@pytest.mark.parametrize(
    "prices", [["5"] * 60, ["0.00000001"] * 60, ["1", *["1e12"] * 59], [str(n) for n in range(1, 90000, 900)]]
)
def test_any_prices_make_few_levels(prices: list[str]) -> None:
    """All the same, tiny, or far apart: every order has its place, and there are levels for one screen."""
    drawn = ladder(build.frame([order(price, orderId=place) for place, price in enumerate(prices)]), last={})
    (symbol,) = drawn.symbols
    assert len(symbol.rungs) <= 38
    assert sum(len(rung.marks) for rung in symbol.rungs) == len(prices)


def test_many_symbols_share_one_screen() -> None:
    """A symbol with few orders shows each; the levels of the others get fewer."""
    frame = pd.concat([many(100), many(100, symbol="ETHUSDT"), many(3, symbol="BNBUSDT")])
    drawn = ladder(frame, last={})
    assert [symbol.name for symbol in drawn.symbols] == ["BTCUSDT", "ETHUSDT", "BNBUSDT"]
    assert [symbol.step is None for symbol in drawn.symbols] == [False, False, True]
    assert len(rows(drawn)) <= 40


def test_each_rung_names_its_open_orders() -> None:
    """A panel selects them by these ids, at the press of a button; an order that has ended cannot be selected."""
    frame = build.frame([order("2", orderId=2**60), order("1", orderId=7, outcome="canceled")])
    html = as_html(ladder(frame, last={}), selectable=True)
    assert re.findall(r'data-symbol="([^"]*)"', html) == ["BTCUSDT"]
    assert re.findall(r'data-order-ids="([^"]*)"', html) == [str(2**60)]
    assert re.findall(r'<button[^>]*aria-label="([^"]*)"', html) == ["Select at 2.0: BUY 2.0 LIMIT"]
    assert "<button" not in as_html(ladder(frame, last={}))
    levels = as_html(ladder(many(100, orderListId=-1), last=100), selectable=True)
    ids = " ".join(re.findall(r'data-order-ids="([^"]*)"', levels)).split()
    assert sorted(map(int, ids)) == list(range(100))


@pytest.mark.usefixtures("exchange")
def test_text_fits_the_terminal() -> None:
    """However wide it is, no line is longer, and prices and bars are there."""
    drawn = ladder(nbext.open_orders())
    for width in (60, 80, 120):
        lines = as_text(drawn, width).splitlines()
        assert max(map(len, lines[:-1])) <= width
        assert any(line.startswith("  59958.0") and "█" in line for line in lines)
    assert as_text(ladder(many(100), last=100), 80).count("\n") < 40
    assert max(map(len, as_text(ladder(many(100), last=100), 60).splitlines()[:-1])) <= 60


def test_a_terminal_without_these_letters_gets_others() -> None:
    """Where the output is ASCII, so is the ladder."""
    code = (
        "from nbext.frames import build\nfrom nbext.orders import Row\nimport nbext\n"
        "stop = {'type': 'STOP_LOSS', 'trailingDelta': 1, 'side': 'BUY', 'origQty': '1', 'symbol': 'A'}\n"
        "rows = [Row(stop, None, 'open'), Row({**stop, 'type': 'LIMIT', 'price': '1'}, None, 'expired')]\n"
        "print(nbext.ladder(build.frame(rows), last=2))"
    )
    child = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert "<= 2.0002 :::" in child.stdout
    assert child.stdout.isascii()


@pytest.mark.usefixtures("exchange")
def test_a_dry_run_says_so() -> None:
    """No ladder of a dry run looks like one of orders that are canceled."""
    drawn = ladder(nbext.cancel_all("BTCUSDT", dry_run=True))
    assert "Dry run: nothing was canceled" in as_html(drawn)
    assert "dry run: nothing was canceled" in as_text(drawn)
    assert "ended" not in {kind for row in bars(drawn) for kind in " ".join(row).split()}


def test_nothing_to_draw_says_so() -> None:
    """An empty frame is one sentence, in a notebook and in a terminal."""
    drawn = ladder(build.frame([]))
    assert as_text(drawn) == "Nothing to draw: no orders"
    assert "<p>Nothing to draw: no orders</p>" in as_html(drawn)
    assert "<table" not in as_html(drawn)


def test_odd_orders_have_their_place() -> None:
    """Orders without a price, without a side, or with fields missing, are shown too, and nothing in them is markup."""
    orders = [order("0", type="<b>STOP</b>"), Row({"symbol": "BTCUSDT"}, None, "unknown")]
    drawn = ladder(build.frame(orders), last="1")
    assert [row[0] for row in rows(drawn)] == ["last 1.0", "no price", "no price"]
    assert "&lt;b&gt;STOP" in as_html(drawn)
    assert "<b>STOP" not in as_html(drawn)


@pytest.mark.parametrize("last", [0, -1, "many", float("nan"), {"BTCUSDT": "inf"}])
def test_a_last_price_has_to_be_one(last: Any) -> None:
    """A last price that is none is refused in one sentence."""
    with pytest.raises(nbext.ConfigurationError, match="is not a price of BTCUSDT"):
        ladder(build.frame([order("1")]), last=last)


def test_one_last_price_is_not_that_of_two_symbols() -> None:
    """Several symbols need a price each."""
    with pytest.raises(nbext.ConfigurationError, match="Pass a dict by symbol"):
        ladder(build.frame([order("1"), order("1", symbol="ETHUSDT")]), last=1)


def test_frames_of_others_are_refused() -> None:
    """Only a frame of ours can be drawn."""
    with pytest.raises(nbext.ConfigurationError, match="not made by nbext"):
        ladder(pd.DataFrame({"price": [1.0]}))
