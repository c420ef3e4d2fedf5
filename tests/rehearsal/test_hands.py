"""The hands of a rehearsal: small orders far from the market, every answer kept, nothing left behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbext.credentials import Credential, Secret
from nbext.profiles import Endpoint
from nbext.rehearsal.hands import KINDS, PREFIX, Hands

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange


@pytest.fixture
def hands(exchange: LocalExchange) -> Iterator[Hands]:
    """Lay hands on an exchange with orders of somebody else's."""
    credential = Credential(Secret(exchange.api_key), Secret(exchange.secret_key))
    with Hands(Endpoint("custom", exchange.url, credential), "BTCUSDT") as hands:
        hands.look_around()
        yield hands


def test_each_kind_is_placed_and_only_these_are_cleaned_up(exchange: LocalExchange, hands: Hands) -> None:
    """Each order has a client id of the rehearsal's own, rests, and is gone afterwards; those of others stay."""
    before = exchange.open_orders()
    placed = [each for kind in KINDS for each in hands.place(kind)]
    assert hands.not_played == {}
    assert len(placed) == len(exchange.open_orders()) - len(before) == 13
    assert all(each.own_id.startswith(PREFIX) and len(each.own_id) <= 36 for each in placed)
    assert hands.clean_up() == []
    assert exchange.open_orders() == before


def test_every_answer_is_kept_and_a_refusal_raises_nothing(hands: Hands) -> None:
    """Also the refusals, in order, with code, headers and times, and without secrets."""
    count = len(hands.answers)
    refused = hands.send("DELETE", "/api/v3/order", symbol="BTCUSDT", orderId=1)
    unknown = hands.send("GET", "/api/v3/account", key="k" * 64)
    assert hands.answers[count:] == [refused, unknown]
    assert (refused.status, refused.code, unknown.status, unknown.code) == (400, -2011, 401, -2015)
    assert refused.request == ("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": 1})
    assert "x-mbx-used-weight-1m" in refused.headers
    assert refused.sent_at <= refused.received_at
