"""The market of the campaign: what an account can hold occurs in it."""

from __future__ import annotations

import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from nbext.exchange import LocalExchange

from . import market
from . import record as truth
from .rounds import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 12


@pytest.fixture(scope="module")
def exchange() -> Iterator[LocalExchange]:
    """Yield an exchange that keeps the past, as the campaign's does."""
    with LocalExchange(keeps_past=True, max_num_orders=2000) as exchange:
        yield exchange


@pytest.mark.parametrize("kind", market.KINDS)
def test_each_kind_is_accepted(exchange: LocalExchange, kind: str) -> None:
    """On every symbol, whatever is drawn for the rest: nothing is refused by mistake."""
    for number in range(TIMES):
        exchange.reset()
        market.place_one(exchange, SYMBOLS[number % len(SYMBOLS)], kind, random.Random(number))
        assert truth.read(exchange)


def test_what_an_account_can_hold_occurs(exchange: LocalExchange) -> None:
    """Every type, list, and turn in the life of an order that a cancel can meet."""
    found: Counter[str] = Counter()
    for kind in market.KINDS:
        for number in range(TIMES):
            exchange.reset()
            market.place_one(exchange, "BTCUSDT", kind, random.Random(number))
            for order in truth.read(exchange).values():
                found.update(order.traits)
    assert set(truth.TRAITS) - set(found) == set()


def test_an_amended_order_is_known_by_what_it_was_before(exchange: LocalExchange) -> None:
    """Its latest id and quantity are lasting; the ones before are on record, too."""
    exchange.reset()
    placed = exchange.place(
        "BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000", newClientOrderId="mine"
    )
    exchange.amend("BTCUSDT", int(placed["orderId"]), "0.04", client_order_id="lower")
    order = truth.read(exchange)["BTCUSDT", int(placed["orderId"])]
    assert order.lasting["origClientOrderId"] == "lower"
    assert order.could_be("origClientOrderId") == {"mine", "lower"}
    assert {float(value) for value in order.could_be("origQty")} == {0.1, 0.04}
