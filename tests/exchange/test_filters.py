"""Every filter (rule: filters): what it lets pass, and what it says when it does not."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from nbext.exchange import LocalExchange, Refusal
from nbext.exchange.engine.filters import Counts, Filters
from nbext.exchange.engine.tickets import Ticket

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).parents[1] / "fixtures"
REFERENCE = Decimal(100)  # the average, or last, price


def documented(name: str) -> dict[str, Any]:
    """Read a documented filter."""
    body: dict[str, Any] = json.loads((FIXTURES / f"filter_{name}.json").read_text("utf-8"))
    return body


def ticket(**fields: Any) -> Ticket:
    """Return a ticket; amounts are given as text."""
    amounts = {"price", "quantity", "stop_price", "iceberg_quantity", "quote_quantity", "pegged_price"}
    values = {name: Decimal(value) if name in amounts else value for name, value in fields.items()}
    usual: dict[str, Any] = {"side": "BUY", "type": "LIMIT", "price": Decimal(100), "quantity": Decimal(1)}
    return Ticket(**usual | values)


STOP = {"type": "STOP_LOSS", "price": "0"}
PEG = {"peg_price_type": "PRIMARY_PEG", "price": "0"}
MARKET = {"type": "MARKET", "price": "0"}
CASES: list[tuple[str, dict[str, Any], bool]] = [
    ("price_filter", {"price": "0.000001"}, True),
    ("price_filter", {"price": "100000"}, True),
    ("price_filter", {"price": "100000.000001"}, False),
    ("price_filter", {"price": "0.0000015"}, False),
    ("price_filter", {**STOP, "stop_price": "0.0000015"}, False),
    ("price_filter", {**PEG, "pegged_price": "100001"}, False),
    ("price_filter", PEG, True),
    ("price_filter", MARKET, True),
    ("percent_price", {"price": "130"}, True),
    ("percent_price", {"price": "130.1"}, False),
    ("percent_price", {"price": "69.9"}, False),
    ("percent_price", {**PEG, "pegged_price": "131"}, False),
    ("percent_price", {**STOP, "stop_price": "500"}, True),
    ("percent_price_by_side", {"price": "120"}, True),
    ("percent_price_by_side", {"price": "120.1"}, False),
    ("percent_price_by_side", {"price": "120.1", "side": "SELL"}, True),
    ("percent_price_by_side", {"price": "79", "side": "SELL"}, False),
    ("percent_price_by_side", {"price": "79"}, True),
    ("lot_size", {"quantity": "0.001"}, True),
    ("lot_size", {"quantity": "0.0015"}, False),
    ("lot_size", {"quantity": "100001"}, False),
    ("lot_size", {"iceberg_quantity": "0.0005"}, False),
    ("lot_size", {**MARKET, "quantity": "0.0005"}, False),
    ("lot_size", {**MARKET, "quantity": "0", "quote_quantity": "5"}, True),
    ("market_lot_size", {"quantity": "0.0005"}, True),
    ("market_lot_size", {**MARKET, "quantity": "0.0005"}, False),
    ("min_notional", {"price": "0.001", "quantity": "1"}, True),
    ("min_notional", {"price": "0.001", "quantity": "0.9"}, False),
    ("min_notional", {**MARKET, "quantity": "0.00001"}, True),
    ("min_notional", {**MARKET, "quantity": "0.000009"}, False),
    ("min_notional", {**PEG, "pegged_price": "0.0009"}, False),
    ("notional", {"price": "10"}, True),
    ("notional", {"price": "9.99"}, False),
    ("notional", {"price": "10000.01"}, False),
    ("notional", {**MARKET, "quantity": "0.01"}, True),
    ("notional", {**MARKET, "quantity": "1000"}, True),
    ("iceberg_parts", {"iceberg_quantity": "0.1"}, True),
    ("iceberg_parts", {"iceberg_quantity": "0.099"}, False),
    ("trailing_delta", {**STOP, "trailing_delta": 10}, True),
    ("trailing_delta", {**STOP, "trailing_delta": 9}, False),
    ("trailing_delta", {**STOP, "trailing_delta": 2001, "side": "SELL"}, False),
]


@pytest.mark.parametrize(("name", "fields", "passes"), CASES)
def test_rules_about_one_order(name: str, fields: dict[str, Any], passes: bool) -> None:
    """A filter allows what its documented members say, to the last tick, and no more."""
    rule = documented(name)
    filters = Filters([rule])
    if passes:
        filters.check(ticket(**fields), lambda _: REFERENCE)
        return
    with pytest.raises(Refusal) as caught:
        filters.check(ticket(**fields), lambda _: REFERENCE)
    assert (caught.value.code, caught.value.text) == (-1013, f"Filter failure: {rule['filterType']}")


def test_trailing_deltas_have_bounds_by_direction() -> None:
    """Above applies to orders that trigger above the market, below to the others."""
    rule = documented("trailing_delta") | {"minTrailingBelowDelta": 50}
    filters = Filters([rule])
    low = {"trailing_delta": 20}
    for kind, side, passes in (
        ("STOP_LOSS", "BUY", True),
        ("TAKE_PROFIT", "SELL", True),
        ("STOP_LOSS_LIMIT", "SELL", False),
        ("TAKE_PROFIT_LIMIT", "BUY", False),
    ):
        asked = ticket(type=kind, side=side, **low)
        if passes:
            filters.check(asked, lambda _: REFERENCE)
        else:
            with pytest.raises(Refusal):
                filters.check(asked, lambda _: REFERENCE)


def test_a_notional_may_apply_to_market_orders() -> None:
    """With the apply members set, a market order is measured by the average price."""
    rule = documented("notional") | {"applyMinToMarket": True, "applyMaxToMarket": True}
    for quantity in ("0.01", "1000"):
        with pytest.raises(Refusal, match="NOTIONAL"):
            Filters([rule]).check(ticket(**MARKET | {"quantity": quantity}), lambda _: REFERENCE)


def test_members_of_zero_are_off() -> None:
    """A bound or a grid of zero is off."""
    rule = documented("price_filter") | {"minPrice": "0", "maxPrice": "0", "tickSize": "0"}
    Filters([rule]).check(ticket(price="123456789.12345678"), lambda _: REFERENCE)


@pytest.mark.parametrize("prefix", ["", "exchange_"])
@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("max_num_orders", "orders"),
        ("max_num_algo_orders", "algo"),
        ("max_num_iceberg_orders", "iceberg"),
        ("max_num_order_lists", "lists"),
    ],
)
def test_rules_about_counts(prefix: str, name: str, what: str) -> None:
    """A count may reach its limit but not exceed it, whatever else is open."""
    rule = documented(prefix + name)
    limit = next(value for key, value in rule.items() if key != "filterType")
    filters = Filters([rule])
    filters.check_counts(Counts(**{what: limit - 2}), Counts(**{what: 2}))
    filters.check_counts(Counts(10**6, 10**6, 10**6, 10**6), Counts())
    with pytest.raises(Refusal) as caught:
        filters.check_counts(Counts(**{what: limit - 2}), Counts(**{what: 3}))
    assert (caught.value.code, caught.value.text) == (-2010, f"Filter failure: {rule['filterType']}")


@pytest.fixture
def doge() -> Iterator[LocalExchange]:
    """Return an exchange on which the account can hold a thousand DOGE."""
    exchange = LocalExchange()
    symbol = exchange._engine.symbol("DOGEUSDT")
    symbol.filters = Filters([documented("max_position") | {"maxPosition": "1000"}])
    balance = exchange._engine.account("main").balances["DOGE"]
    balance.free = Decimal(400)
    yield exchange
    exchange.stop()


def test_a_position_is_free_locked_and_bid_for(doge: LocalExchange) -> None:
    """MAX_POSITION counts what is free, what is locked and every open BUY, and holds for BUY orders alone."""
    gtc = {"timeInForce": "GTC"}
    doge.place("DOGEUSDT", "SELL", "LIMIT", quantity="100", price="0.9", **gtc)
    doge.place("DOGEUSDT", "BUY", "LIMIT", quantity="500", price="0.1", **gtc)
    with pytest.raises(Refusal) as caught:
        doge.place("DOGEUSDT", "BUY", "LIMIT", quantity="101", price="0.1", **gtc)
    assert (caught.value.code, caught.value.text) == (-1013, "Filter failure: MAX_POSITION")
    doge.place("DOGEUSDT", "BUY", "LIMIT", quantity="100", price="0.1", **gtc)
    doge.place("DOGEUSDT", "SELL", "LIMIT", quantity="300", price="0.9", **gtc)


def test_older_filters_are_still_met(doge: LocalExchange) -> None:
    """One of the seeded symbols has PERCENT_PRICE, MIN_NOTIONAL and MAX_POSITION instead of their successors."""
    doge.reset()
    params = {"timeInForce": "GTC", "quantity": "100"}
    for price, text in (("2.1", "PERCENT_PRICE"), ("0.019", "PERCENT_PRICE")):
        with pytest.raises(Refusal, match=f"Filter failure: {text}$"):
            doge.place("DOGEUSDT", "BUY", "LIMIT", account="main", **params, price=price)
    with pytest.raises(Refusal, match="Filter failure: MIN_NOTIONAL"):
        doge.place("DOGEUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="0.1")


@pytest.mark.parametrize(
    ("feature", "kind", "params", "text"),
    [
        ("iceberg", "LIMIT", {"icebergQty": "0.5"}, "Iceberg orders are not supported for this symbol."),
        (
            "quoteOrderQty",
            "MARKET",
            {"quoteOrderQty": "100"},
            "Quote order qty market orders are not support for this symbol.",
        ),
        ("trailing", "STOP_LOSS", {"trailingDelta": "100"}, "Trailing stop orders are not supported for this symbol."),
        ("peg", "LIMIT", {"pegPriceType": "PRIMARY_PEG"}, "Pegged orders are not supported for this symbol."),
        (None, "MARKET", {}, "Market orders are not supported for this symbol."),
        (None, "STOP_LOSS", {"stopPrice": "70000"}, "Stop loss orders are not supported for this symbol."),
        (None, "TAKE_PROFIT", {"stopPrice": "50000"}, "Take profit orders are not supported for this symbol."),
    ],
)
def test_symbols_may_lack_a_feature(feature: str | None, kind: str, params: dict[str, str], text: str) -> None:
    """What exchangeInfo says a symbol lacks is refused with the documented text."""
    exchange = LocalExchange()
    symbol = exchange._engine.symbol("BTCUSDT")
    if feature is None:
        symbol.order_types = ("LIMIT",)
    else:
        symbol.features -= {feature}
    fields: dict[str, object] = {"quantity": "1"} if "quoteOrderQty" not in params else {}
    fields |= {"timeInForce": "GTC", "price": "50000"} if kind == "LIMIT" else {}
    with pytest.raises(Refusal) as caught:
        exchange.place("BTCUSDT", "BUY", kind, account="main", **fields | params)
    assert (caught.value.code, caught.value.text) == (-1013, text)
