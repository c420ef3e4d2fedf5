"""The hands of a rehearsal: small orders far from the market, every answer kept, nothing left behind."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from nbext.exchange.engine.filters import Filters
from nbext.rehearsal.hands import KINDS, PREFIX

if TYPE_CHECKING:
    from nbext.exchange import LocalExchange
    from nbext.rehearsal.hands import Hands


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


@pytest.mark.parametrize(
    ("feature", "gone"),
    [
        ("opo", {"OPO"}),
        ("iceberg", {"iceberg"}),
        ("trailing", {"trailing stop"}),
        ("oco", {"OCO", "OTOCO"}),
        ("oto", {"OTO", "OTOCO", "OPO"}),
    ],
)
def test_what_a_symbol_does_not_allow_is_not_played(
    exchange: LocalExchange, hands: Hands, feature: str, gone: set[str]
) -> None:
    """It is noted with the flag that says so, and never sent."""
    symbol = exchange._app.engine.symbol("BTCUSDT")
    symbol.features -= {feature}
    hands.look_around()
    placed = {each.kind for kind in KINDS for each in hands.place(kind)}
    assert hands.not_played.keys() == gone == set(KINDS) - placed
    assert all("Allowed" in reason or "allow" in reason for reason in hands.not_played.values())
    assert {request["status"] for request in exchange.requests("POST")} == {200}
    assert hands.clean_up() == []


def test_order_types_that_are_not_there_are_not_played(exchange: LocalExchange, hands: Hands) -> None:
    """Neither alone nor as a leg."""
    exchange._app.engine.symbol("BTCUSDT").order_types = ("LIMIT", "MARKET")
    hands.look_around()
    placed = {each.kind for kind in KINDS for each in hands.place(kind)}
    assert placed == {"LIMIT", "iceberg", "OTO", "OPO"}
    assert hands.not_played["OCO"] == "BTCUSDT does not have LIMIT_MAKER orders"


@pytest.mark.parametrize(
    ("funds", "played"),
    [
        ({"BTC": "0.01", "USDT": "0"}, set(KINDS) - {"OPO"}),
        ({"BTC": "0", "USDT": "200"}, set(KINDS)),
        ({"BTC": "0", "USDT": "20"}, {"LIMIT", "STOP_LOSS_LIMIT", "trailing stop"}),
        ({"BTC": "0", "USDT": "0"}, set()),
    ],
)
def test_poor_accounts_play_what_they_can_afford(
    exchange: LocalExchange, hands: Hands, funds: dict[str, str], played: set[str]
) -> None:
    """On the side for which there is money; the exchange refuses nothing for want of it."""
    for asset, amount in funds.items():
        exchange._app.engine.account("main").balances[asset].free = Decimal(amount)
    hands.look_around()
    placed = {each.kind for kind in KINDS for each in hands.place(kind)}
    assert placed == played == set(KINDS) - hands.not_played.keys()
    assert all("too little free" in reason for reason in hands.not_played.values())
    assert {request["status"] for request in exchange.requests("POST")} <= {200}


def test_tight_filters_are_kept(exchange: LocalExchange, hands: Hands) -> None:
    """Prices within a percent, coarse grids, a high least value, few basis points, two iceberg parts."""
    symbol = exchange._app.engine.symbol("BTCUSDT")
    tight: dict[str, dict[str, str | int | bool]] = {
        "PERCENT_PRICE_BY_SIDE": {
            "bidMultiplierUp": "1.01",
            "bidMultiplierDown": "0.99",
            "askMultiplierUp": "1.01",
            "askMultiplierDown": "0.99",
        },
        "PRICE_FILTER": {"tickSize": "5.00"},
        "LOT_SIZE": {"minQty": "0.003", "stepSize": "0.003"},
        "NOTIONAL": {"minNotional": "500"},
        "TRAILING_DELTA": {"minTrailingAboveDelta": 90, "maxTrailingAboveDelta": 100, "maxTrailingBelowDelta": 50},
        "ICEBERG_PARTS": {"limit": 2},
    }
    symbol.filters = Filters({**each, **tight.get(str(each["filterType"]), {})} for each in symbol.filters.wire)
    hands.look_around()
    placed = [each for kind in KINDS for each in hands.place(kind)]
    assert hands.not_played == {}
    assert len(placed) == 13
    assert {row["status"] for row in exchange.open_orders("BTCUSDT")} <= {"NEW", "PENDING_NEW", "PARTIALLY_FILLED"}
    assert hands.clean_up() == []
