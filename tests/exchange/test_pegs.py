"""Pegged orders: a price picked from the book, once (rule: pegged-orders)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from nbext.exchange import Refusal

if TYPE_CHECKING:
    from nbext.exchange import LocalExchange

SYMBOL = "BTCUSDT"
PRIMARY = {"pegPriceType": "PRIMARY_PEG"}
MARKET = {"pegPriceType": "MARKET_PEG"}
LIMIT = {"timeInForce": "GTC", "quantity": "1"}


def deeper(levels: int) -> dict[str, object]:
    """Return an offset."""
    return {"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": levels}


@pytest.fixture(autouse=True)
def _at_sixty_thousand(exchange: LocalExchange) -> None:
    """Start every test at the same price: quotes at 0.05 beside it and at 30 steps from there."""
    exchange.set_price(SYMBOL, 60000)


@pytest.mark.parametrize(
    ("side", "peg", "price"),
    [
        ("BUY", PRIMARY, "59999.95000000"),
        ("SELL", PRIMARY, "60000.05000000"),
        ("BUY", PRIMARY | deeper(1), "59969.95000000"),
        ("BUY", MARKET, "60000.05000000"),
        ("SELL", MARKET | deeper(2), "59939.95000000"),
    ],
)
def test_a_peg_picks_a_level(exchange: LocalExchange, side: str, peg: dict[str, str], price: str) -> None:
    """PRIMARY_PEG is the best price of the own side, MARKET_PEG of the other, and an offset goes deeper."""
    reply = exchange.place(SYMBOL, side, "LIMIT", quantity="0.1", timeInForce="GTC", newOrderRespType="FULL", **peg)
    assert (reply["price"], reply["peggedPrice"]) == ("0.00000000", price)
    assert ("pegOffsetValue" in reply) == ("pegOffsetValue" in peg)
    assert (reply["status"] == "FILLED") == (peg["pegPriceType"] == "MARKET_PEG")


def test_a_peg_stays_where_it_was_put(exchange: LocalExchange) -> None:
    """The price is taken once: it does not follow the market."""
    exchange.place(SYMBOL, "BUY", "LIMIT", **LIMIT, **PRIMARY)
    exchange.set_price(SYMBOL, 61000)
    assert exchange.open_orders(SYMBOL)[0]["peggedPrice"] == "59999.95000000"
    assert exchange._engine.account("main").balances["USDT"].locked == Decimal("59999.95")
    exchange.set_price(SYMBOL, 59900)
    assert exchange.open_orders(SYMBOL) == []


def test_a_stop_is_pegged_when_it_triggers(exchange: LocalExchange) -> None:
    """A stop-limit order has no pegged price before it triggers, and the market's of that moment after."""
    params = {**LIMIT, **PRIMARY, "stopPrice": "58000"}
    exchange.place(SYMBOL, "SELL", "STOP_LOSS_LIMIT", **params)
    assert "peggedPrice" not in exchange.open_orders(SYMBOL)[0]
    exchange.set_price(SYMBOL, 58000)
    (row,) = exchange.open_orders(SYMBOL)
    assert (row["isWorking"], row["peggedPrice"]) == (True, "58000.05000000")


def test_a_triggered_peg_locks_its_own_price(exchange: LocalExchange) -> None:
    """A BUY that waits locks what its stop price may cost, and what it is pegged to from then on."""
    usdt = exchange._engine.account("main").balances["USDT"]
    params = {**LIMIT, **PRIMARY, **deeper(2), "stopPrice": "62000"}
    placed = exchange.place(SYMBOL, "BUY", "STOP_LOSS_LIMIT", account="main", **params)
    assert usdt.locked == 62000
    exchange.set_price(SYMBOL, 62000)
    (row,) = exchange.open_orders(SYMBOL)
    assert usdt.locked == Decimal(row["peggedPrice"]) < 62000
    assert [event["status"] for event in exchange.history(placed["orderId"], SYMBOL)] == ["NEW", "TRIGGERED"]


def test_a_triggered_peg_beyond_its_funds_expires(exchange: LocalExchange) -> None:
    """A BUY whose peg costs more than what is free expires as rejected and frees what it held."""
    usdt = exchange._engine.account("main").balances["USDT"]
    usdt.free = Decimal(62100)
    params = {**LIMIT, **MARKET, **deeper(9), "stopPrice": "62000"}
    placed = exchange.place(SYMBOL, "BUY", "STOP_LOSS_LIMIT", account="main", **params)
    exchange.set_price(SYMBOL, 62000)
    assert exchange.history(placed["orderId"], SYMBOL)[-1]["status"] == "EXPIRED"
    assert usdt.free == 62100
    assert usdt.locked == 0


def test_a_stop_without_a_level_expires(exchange: LocalExchange) -> None:
    """A stop that triggers where the book is not deep enough expires as rejected."""
    params = {**LIMIT, **PRIMARY, **deeper(100), "stopPrice": "58000"}
    placed = exchange.place(SYMBOL, "SELL", "STOP_LOSS_LIMIT", account="main", **params)
    exchange.set_price(SYMBOL, 58000)
    assert [event["status"] for event in exchange.history(placed["orderId"], SYMBOL)] == ["NEW", "TRIGGERED", "EXPIRED"]
    assert exchange._engine.account("main").balances["BTC"].locked == 0


def test_pending_legs_are_pegged_on_release(exchange: LocalExchange) -> None:
    """The pending leg of an OTO enters at the best price after the working order has been filled."""
    exchange.place_list(
        "oto",
        SYMBOL,
        workingType="LIMIT",
        workingSide="BUY",
        workingTimeInForce="GTC",
        workingPrice="59000",
        workingQuantity="1",
        pendingType="LIMIT_MAKER",
        pendingSide="SELL",
        pendingQuantity="1",
        pendingPegPriceType="PRIMARY_PEG",
    )
    assert "peggedPrice" not in exchange.open_orders(SYMBOL)[1]
    exchange.set_price(SYMBOL, 58000)
    assert exchange.open_orders(SYMBOL)[0]["peggedPrice"] == "58000.05000000"


def test_a_list_may_be_pegged_without_a_price(exchange: LocalExchange) -> None:
    """An OCO's limit leg takes the best offer."""
    legs = {"aboveType": "LIMIT_MAKER", "abovePegPriceType": "PRIMARY_PEG", "belowType": "STOP_LOSS"}
    placed = exchange.place_list("oco", SYMBOL, side="SELL", quantity="1", belowStopPrice="58000", **legs)
    assert placed["orderReports"][1]["peggedPrice"] == "60000.05000000"


@pytest.mark.parametrize(
    ("kind", "changes", "refusal"),
    [
        ("MARKET", {"quantity": "1", **PRIMARY}, (-1013, "This order type may not use pegged price.")),
        ("LIMIT_MAKER", {"quantity": "1", **MARKET}, (-1013, "This price peg cannot be used with this order type.")),
        (
            "LIMIT",
            {**LIMIT, **PRIMARY, "timeInForce": "IOC"},
            (-1013, "This price peg cannot be used with this order type."),
        ),
        (
            "LIMIT",
            {**LIMIT, **PRIMARY, **deeper(99)},
            (-2010, "Order book liquidity is too low for this pegged order."),
        ),
        (
            "LIMIT",
            {**LIMIT, **PRIMARY, **deeper(101)},
            (-1102, "'pegOffsetValue' contains unexpected value. Cannot be greater than 100."),
        ),
        (
            "LIMIT",
            {**LIMIT, **PRIMARY, "pegOffsetValue": "1"},
            (-1128, "Fields ['pegOffsetType', 'pegOffsetValue'] must be sent together or omitted entirely."),
        ),
        ("LIMIT", {**LIMIT, **deeper(1)}, (-1128, "Combination of optional parameters invalid.")),
        ("LIMIT", {**LIMIT, **PRIMARY, "pegPriceType": "BEST"}, (-1210, "Invalid pegPriceType.")),
        ("LIMIT", {**LIMIT, **PRIMARY, **deeper(1), "pegOffsetType": "TICK"}, (-1211, "Invalid pegOffsetType.")),
        ("LIMIT", {**LIMIT, **PRIMARY, "price": "0"}, (-1013, "Price * QTY is zero or less.")),
        ("LIMIT", {**LIMIT, **PRIMARY, "price": "60000.001"}, (-1013, "Filter failure: PRICE_FILTER")),
        ("LIMIT", {**LIMIT, **PRIMARY, "quantity": "0.00001"}, (-1013, "Filter failure: NOTIONAL")),
    ],
)
def test_refused_pegs(exchange: LocalExchange, kind: str, changes: dict[str, object], refusal: tuple[int, str]) -> None:
    """Invalid pegs are refused with the documented texts."""
    with pytest.raises(Refusal) as caught:
        exchange.place(SYMBOL, "BUY", kind, account="main", **changes)
    assert (caught.value.code, caught.value.text) == refusal
