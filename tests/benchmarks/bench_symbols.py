"""Many symbols in one call: side by side on a slow line, and within the exchange's limits."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest
from figures import by_turns, timed
from serving import list_more, serving

import nbext
from nbext.cancel.reads import WIDTH

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Figures
    from serving import Server

ROUND_TRIP = 0.05
BARS = {50: 1.25}


@pytest.fixture(scope="module")
def slow() -> Iterator[Server]:
    """Yield a server that answers after 50 ms."""
    with serving("canned", ROUND_TRIP) as server:
        yield server


@pytest.mark.parametrize("symbols", [1, 8, 50])
def test_symbols_go_side_by_side(figures: Figures, slow: Server, symbols: int) -> None:
    """So many symbols take little more than so many eighths of a round trip, and no more than 8 connections."""
    names = [f"S{number}USDT" for number in range(symbols)]
    with nbext.connect(base_url=slow.url, api_key=slow.api_key, secret_key=slow.secret_key) as client:
        slow.arrivals()
        (ours,) = by_turns(figures.rounds(8), lambda: timed(lambda: nbext.cancel_all(*names, client=client, yes=True)))
    connections = len({each["connection"] for each in slow.arrivals()})
    figures.count("connections of a `cancel_all` of many symbols", f"{symbols} symbols", connections, WIDTH)
    floor = (1 + math.ceil(symbols / WIDTH)) * ROUND_TRIP
    what = "`cancel_all` at 50 ms a round trip, floor (1 + ceil(symbols / 8)) x 50 ms"
    figures.time(what, f"{symbols} symbols", ours, [floor], BARS.get(symbols))


def test_two_hundred_symbols_stay_within_the_limits(figures: Figures) -> None:
    """A look at 200 symbols, a cancel of each and a look afterwards stay within the weight of a minute: no 429."""
    names = [f"S{number}USDT" for number in range(200)]
    with nbext.LocalExchange() as exchange:
        list_more(exchange, names)
        for name in names:
            exchange.place(name, "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="9")
        with nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
            assert len(nbext.open_orders(*names, client=client)) == len(names)
            canceled = nbext.cancel_all(*names, client=client, yes=True, check=True)
        answered = [entry["status"] for entry in exchange.requests()]
    assert set(canceled["outcome"]) == {"canceled"}
    assert len(canceled) == len(names)
    figures.count("429 after looks and cancels against `LocalExchange`", "200 symbols", answered.count(429), 0)
