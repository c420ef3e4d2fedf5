"""Stops and trailing stops, with the worked numbers of the documentation."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

import pytest

from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange import LocalExchange


def status(exchange: LocalExchange, reply: Mapping[str, int]) -> list[object]:
    """Return the history of an order on BTCUSDT."""
    return [event["status"] for event in exchange.history(reply["orderId"], "BTCUSDT")]


@pytest.mark.parametrize(
    ("side", "start", "delta", "path", "level"),
    [
        ("BUY", 50000, 500, [46000, 42000, 43000], 44100),
        ("SELL", 38000, 1000, [39000, 41000, 38000], 36900),
        ("BUY", 40000, 850, [37000, 38000], 40145),
        ("SELL", 45000, 750, [46500, 44000], "43012.5"),
        ("SELL", 45000, 700, [45500, 44000], 42315),
    ],
)
def test_trailing_levels(  # noqa: PLR0917 - one row of the documentation's table
    exchange: LocalExchange, side: str, start: int, delta: int, path: list[int], level: int | str
) -> None:
    """A trailing stop triggers at exactly its distance from the best price since it began."""
    exchange.set_price("BTCUSDT", start)
    placed = exchange.place("BTCUSDT", side, "STOP_LOSS", quantity="0.01", trailingDelta=delta)
    short = Decimal("0.01") if side == "SELL" else Decimal("-0.01")
    for price in [*map(Decimal, path), Decimal(level) + short]:
        exchange.set_price("BTCUSDT", price)
        assert status(exchange, placed) == ["NEW"]
    exchange.set_price("BTCUSDT", level)
    assert status(exchange, placed)[:2] == ["NEW", "TRIGGERED"]
    assert status(exchange, placed)[-1] == "FILLED"


def test_trailing_without_a_stop_price_begins_at_once(exchange: LocalExchange) -> None:
    """Tracking starts from the last price at placement: the first move may trigger."""
    exchange.set_price("BTCUSDT", 40000)
    placed = exchange.place("BTCUSDT", "SELL", "STOP_LOSS", quantity="0.01", trailingDelta=1000)
    assert exchange.open_orders("BTCUSDT")[0]["trailingTime"] != -1
    exchange.set_price("BTCUSDT", 36000)
    assert status(exchange, placed)[-1] == "FILLED"


def test_trailing_with_a_stop_price_begins_when_it_is_met(exchange: LocalExchange) -> None:
    """Tracking starts with the first trade that meets the stop condition."""
    exchange.set_price("BTCUSDT", 40000)
    placed = exchange.place("BTCUSDT", "SELL", "TAKE_PROFIT", quantity="0.01", stopPrice="44000", trailingDelta=700)
    assert exchange.open_orders("BTCUSDT")[0]["trailingTime"] == -1
    exchange.set_price("BTCUSDT", 30000)
    assert exchange.open_orders("BTCUSDT")[0]["trailingTime"] == -1
    exchange.set_price("BTCUSDT", 45500)
    assert exchange.open_orders("BTCUSDT")[0]["trailingTime"] != -1
    exchange.set_price("BTCUSDT", "42315.01")
    assert status(exchange, placed) == ["NEW"]
    exchange.set_price("BTCUSDT", 42315)
    assert status(exchange, placed)[-1] == "FILLED"


@pytest.mark.parametrize(
    ("side", "type_", "stop", "short", "hit"),
    [
        ("BUY", "STOP_LOSS", 62000, 61999, 62000),
        ("SELL", "TAKE_PROFIT", 62000, 61999, 62000),
        ("SELL", "STOP_LOSS", 58000, 58001, 58000),
        ("BUY", "TAKE_PROFIT", 58000, 58001, 58000),
    ],
)
def test_sides_of_the_market(  # noqa: PLR0917 - one row of the rule
    exchange: LocalExchange, side: str, type_: str, stop: int, short: int, hit: int
) -> None:
    """Each kind of stop triggers on its side, at its price exactly, and not on the other side."""
    exchange.set_price("BTCUSDT", 60000)
    with pytest.raises(Refusal, match="Order would trigger immediately"):
        exchange.place("BTCUSDT", side, type_, quantity="0.1", stopPrice=120000 - stop)
    placed = exchange.place("BTCUSDT", side, type_, quantity="0.1", stopPrice=stop)
    assert exchange.open_orders("BTCUSDT")[0]["isWorking"] is False
    exchange.set_price("BTCUSDT", short)
    assert status(exchange, placed) == ["NEW"]
    exchange.set_price("BTCUSDT", hit)
    assert status(exchange, placed)[1] == "TRIGGERED"
    assert status(exchange, placed)[-1] == "FILLED"


def test_a_triggered_stop_limit_rests_at_its_price(exchange: LocalExchange) -> None:
    """A stop limit order enters the book when it triggers and waits there for its price."""
    exchange.set_price("BTCUSDT", 60000)
    placed = exchange.place(
        "BTCUSDT", "SELL", "STOP_LOSS_LIMIT", timeInForce="GTC", quantity="0.1", stopPrice=59000, price=59500
    )
    exchange.set_price("BTCUSDT", 58500)
    (row,) = exchange.open_orders("BTCUSDT")
    assert (row["status"], row["isWorking"]) == ("NEW", True)
    exchange.set_price("BTCUSDT", 59500)
    assert status(exchange, placed)[-1] == "FILLED"


def test_stops_of_one_trade_go_by_order_id_and_cascade(exchange: LocalExchange) -> None:
    """One price that triggers several stops executes them in order, and their trades trigger more."""
    exchange.set_price("BTCUSDT", 60000)
    placed = [
        exchange.place("BTCUSDT", "SELL", "STOP_LOSS", quantity="3", stopPrice=stop) for stop in (59000, 59500, 58985)
    ]
    exchange.set_price("BTCUSDT", 59000)
    orders = exchange._engine.account("main").orders["BTCUSDT"]
    first, second, cascaded = (orders[reply["orderId"]] for reply in placed)
    assert [order.status for order in (first, second, cascaded)] == ["FILLED"] * 3
    trades = [fill.trade_id for order in (first, second, cascaded) for fill in (order.fills or ())[:1]]
    assert len(trades) == 3
    assert trades == sorted(trades)


def test_a_market_stop_that_cannot_be_paid_any_more_expires(exchange: LocalExchange) -> None:
    """A BUY stop that gaps beyond the account's funds ends EXPIRED and frees what it held."""
    exchange.set_price("BTCUSDT", 60000)
    main = exchange._engine.account("main")
    placed = exchange.place("BTCUSDT", "BUY", "STOP_LOSS", quantity="1", stopPrice=61000)
    assert main.balances["USDT"].locked == 61000
    main.balances["USDT"].free = Decimal(0)
    exchange.set_price("BTCUSDT", 70000)
    order = main.orders["BTCUSDT"][placed["orderId"]]
    assert (order.status, order.expiry_reason) == ("EXPIRED", "REJECTED")
    assert [main.balances["USDT"].free, main.balances["USDT"].locked] == [61000, 0]


def test_moving_the_price_takes_what_is_in_its_way(exchange: LocalExchange) -> None:
    """A price set by hand fills the orders at or beyond it and leaves the rest."""
    exchange.set_price("BTCUSDT", 60000)
    for price in (58000, 59000):
        exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price=price)
    exchange.place("BTCUSDT", "SELL", "LIMIT", timeInForce="GTC", quantity="0.1", price=61000)
    exchange.set_price("BTCUSDT", 59000)
    assert [row["price"] for row in exchange.open_orders("BTCUSDT")] == ["58000.00000000", "61000.00000000"]
    assert exchange.last_price("BTCUSDT") == 59000
    with pytest.raises(ValueError, match="multiple"):
        exchange.set_price("BTCUSDT", "59000.001")


def test_trades_of_the_counterparty_trigger_stops_that_find_a_book(exchange: LocalExchange) -> None:
    """A stop triggered by an order of the market account executes against the market's quotes."""
    exchange.set_price("BTCUSDT", 60000)
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price=59000)
    stop = exchange.place("BTCUSDT", "SELL", "STOP_LOSS", quantity="0.1", stopPrice=59500)
    exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.05", price=59000)
    assert status(exchange, stop)[-1] == "FILLED"
