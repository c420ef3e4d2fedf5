"""The exchange that comes along: requests per second, how it grows with the orders, and what it keeps."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest
from figures import by_turns, timed
from floors import OPEN_ORDERS, HandSigned, signed
from serving import serving
from tornado.httputil import HTTPHeaders

from nbext.exchange import LocalExchange
from nbext.exchange.api.admission import Request
from nbext.exchange.engine.candles import Candles
from nbext.exchange.http import server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from figures import Figures, Race

SYMBOL = "BTCUSDT"
UNLIMITED: dict[str, Any] = {"weight_limit": 10**9, "raw_request_limit": 10**9, "order_limits": (10**9, 10**9)}
# Resident memory at the sixth hour of a market that quotes 100,000 orders in a day, and at its end.
DAY = """
import json
from nbext.exchange import LocalExchange

def resident():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * 4096

exchange = LocalExchange(seed=7)
quoted = exchange._app.engine._next_order_id["BTCUSDT"]
exchange.start_market("BTCUSDT", every=19)
held = []
for hour in range(24):
    exchange.advance(3600)
    if hour % 6 == 5:
        held.append(resident())
print(json.dumps([exchange._app.engine._next_order_id["BTCUSDT"] - quoted, held]))
"""


class Trader(HandSigned):
    """A hand-signed client that places orders, and leaves answers unparsed: reading them is not the exchange's time."""

    def place(self, orders: int) -> None:
        """Place so many orders that rest in the book, each at a price of its own."""
        order = f"symbol={SYMBOL}&side=BUY&type=LIMIT&timeInForce=GTC&quantity=0.001"
        for number in range(orders):
            self.ask("POST", "/api/v3/order", f"{order}&price={40_000 + number / 100:.2f}")

    def list(self) -> bytes:
        """Ask for the open orders."""
        return self.ask("GET", OPEN_ORDERS, f"symbol={SYMBOL}")

    def cancel_all(self) -> bytes:
        """Cancel them."""
        return self.ask("DELETE", OPEN_ORDERS, f"symbol={SYMBOL}")


def place(exchange: LocalExchange, orders: int) -> None:
    """Place so many orders that rest, without HTTP."""
    for number in range(orders):
        price = f"{40_000 + number / 100:.2f}"
        exchange.place(SYMBOL, "BUY", "LIMIT", timeInForce="GTC", quantity="0.001", price=price)


@pytest.fixture(scope="module")
def trader() -> Iterator[Trader]:
    """Yield a client of a `LocalExchange` in another process."""
    with serving("exchange") as server, Trader(server.url, server.api_key, server.secret_key) as client:
        yield client


@pytest.fixture(scope="module")
def bare() -> Iterator[Trader]:
    """Yield a client of a bare tornado in another process, which checks and cancels nothing."""
    with serving("tornado") as server, Trader(server.url) as client:
        yield client


def test_a_cancel_all_is_served_nearly_as_fast_as_its_body(race: Race, trader: Trader, bare: Trader) -> None:
    """Signature check, four cancels and reports: at least 0.7 times the requests per second of bare tornado.

    Both send the same body and headers: what a client takes to read them is no time of the exchange's.
    """
    trader.place(4)
    body = trader.cancel_all()
    assert len(json.loads(body)) == 4
    bare.send("PUT", "/", body)
    what = "`LocalExchange` cancel-all, floor bare tornado (0.7 of its requests per second)"
    prepare = partial(trader.place, 4), partial(bare.place, 4)  # both have just been busy
    race(what, "4", trader.cancel_all, bare.cancel_all, 1 / 0.7, rounds=600, prepare=prepare)


def test_where_the_difference_to_bare_tornado_goes(figures: Figures, trader: Trader, bare: Trader) -> None:
    """A cancel-all of four is checked, carried out and written, and that is all that it takes longer than tornado."""
    stages: dict[str, list[float]] = {"checked": [], "carried out": [], "written": []}
    with LocalExchange(**UNLIMITED) as exchange:
        app, headers = exchange._app, HTTPHeaders({"X-Mbx-Apikey": exchange.api_key})
        for turn in range(figures.rounds(1600) + 1):
            place(exchange, 4)
            query = signed(OPEN_ORDERS, f"symbol={SYMBOL}", exchange.secret_key).partition("?")[2]
            request = Request(query.encode(), b"", headers)
            held = [time.perf_counter()]
            context = app.arrive("DELETE", OPEN_ORDERS, request)
            app.enter(context)
            held.append(time.perf_counter())
            response = app.execute(context)
            held.append(time.perf_counter())
            written = server._written(response, app.limit_headers(request))
            held.append(time.perf_counter())
            assert written.count(b'"status":"CANCELED"') == 4
            if turn:
                for seconds, (before, after) in zip(stages.values(), pairwise(held), strict=True):
                    seconds.append(after - before)
    whole = list(map(sum, zip(*stages.values(), strict=True)))
    for stage, seconds in stages.items():
        figures.time(f"cancel-all {stage} by `LocalExchange`, floor its whole time beside HTTP", "4", seconds, whole)

    def cancel(client: Trader) -> float:
        client.place(4)
        return timed(client.cancel_all)

    trader.place(4)
    bare.send("PUT", "/", trader.cancel_all())
    ours, floor = by_turns(figures.rounds(800), partial(cancel, trader), partial(cancel, bare))
    further = [more - less for more, less in zip(ours, floor, strict=True)]
    what = "`LocalExchange` cancel-all, longer than bare tornado, floor its whole time beside HTTP"
    figures.time(what, "4", further, whole)


def test_a_further_order_costs_little(figures: Figures, trader: Trader) -> None:
    """Each order beyond the fourth adds at most 20 microseconds to a cancel-all."""
    few, many = 4, 200

    def cancel(orders: int) -> float:
        trader.place(orders)
        return timed(trader.cancel_all)

    (small, large) = by_turns(figures.rounds(30), partial(cancel, few), partial(cancel, many))
    further = [(more - less) / (many - few) for less, more in zip(small, large, strict=True)]
    figures.time("`LocalExchange` cancel-all, each further order, floor 20 us", f"{many}", further, [20e-6], 1.0)


@pytest.mark.parametrize("many", [10_000])
def test_very_many_orders_cost_no_more_each(figures: Figures, many: int) -> None:
    """Placing, listing and canceling 10,000 open orders takes ten times as long as 1,000, and not a hundred."""
    few = many // 10
    with (
        LocalExchange(max_num_orders=many, **UNLIMITED) as exchange,
        Trader(exchange.url, exchange.api_key, exchange.secret_key) as trader,
    ):
        steps: dict[str, Callable[[int], object]] = {
            "placed": partial(place, exchange),  # directly: HTTP takes ten times as long as the rest
            "listed": lambda _: trader.list(),
            "canceled": lambda _: trader.cancel_all(),
        }
        taken: dict[tuple[str, int], list[float]] = {(step, orders): [] for step in steps for orders in (few, many)}
        for turn in range(figures.rounds(10) + 1):
            for orders in (few, many):
                for step, act in steps.items():
                    each = timed(partial(act, orders)) / orders
                    if turn:
                        taken[step, orders].append(each)
    for step in steps:
        ours, floor = taken[step, many], taken[step, few]
        figures.time(f"`LocalExchange`, one order {step}, floor one of {few:,}", f"{many:,}", ours, floor, 1.5)


@pytest.mark.parametrize(("pace", "every"), [("10 a second", 100_000), ("1 a second", 1_000_000)])
def test_candles_cost_a_trade_little(figures: Figures, pace: str, every: int) -> None:
    """Adding a trade to the candles takes at most 2 microseconds, at the end of a second as well."""
    trades = [(Decimal(60_000 + number % 37), Decimal("0.013")) for number in range(20_000)]

    def add() -> None:
        candles, now = Candles("", Decimal("0.01"), Decimal(1000)), 1_760_000_000_000_000
        for price, quantity in trades:
            now += every
            candles.add(now, price, quantity, taker_buys=True)

    (ours,) = by_turns(figures.rounds(20), partial(timed, add, time.process_time))
    each = [seconds / len(trades) for seconds in ours]
    figures.time("`LocalExchange`, candles of a trade, floor the 2 us they may take", pace, each, [2e-6], 1.0)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_a_day_of_a_market_fits_into_memory(figures: Figures) -> None:
    """A market that quotes 100,000 orders in a day needs little more memory at its end than at its sixth hour."""
    quoted, held = json.loads(subprocess.run([sys.executable, "-c", DAY], stdout=subprocess.PIPE, check=True).stdout)
    assert quoted > 95_000
    what = "`LocalExchange`, memory after a day of a market, floor after 6 h"
    figures.memory(what, f"{quoted:,}", held[-1], held[0], 1.25)
