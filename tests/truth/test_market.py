"""The market of the campaign: what an account can hold occurs in it."""

from __future__ import annotations

import random
from collections import Counter
from itertools import product
from typing import TYPE_CHECKING

import pytest

from nbext.exchange import LocalExchange

from . import market
from . import record as truth
from .rounds import SYMBOLS

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 8


@pytest.fixture(scope="module")
def exchange() -> Iterator[LocalExchange]:
    """Yield an exchange that keeps the past, as the campaign's does."""
    with LocalExchange(keeps_past=True, max_num_orders=2000) as exchange:
        yield exchange


def test_what_an_account_can_hold_occurs(exchange: LocalExchange) -> None:
    """Nothing is refused by mistake; and every type, list, and turn in the life of an order occurs."""
    found: Counter[str] = Counter()
    for number, (kind, time) in enumerate(product(market.KINDS, range(TIMES))):
        exchange.reset()
        chance = random.Random(f"{kind}:{time}")  # noqa: S311 - a program of orders, no secret
        market.place_one(exchange, SYMBOLS[number % len(SYMBOLS)], kind, chance)
        found.update(trait for order in truth.read(exchange).values() for trait in order.traits)
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
