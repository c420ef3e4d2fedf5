"""Self-trade prevention: what each mode takes from whom (rule: self-trade-prevention)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from nbext.exchange import LocalExchange

SYMBOL = "BTCUSDT"
HERE = "60000.01"  # between the market's quotes


@pytest.fixture(autouse=True)
def _at_sixty_thousand(exchange: LocalExchange) -> None:
    """Start every test at the same price, with a second account."""
    exchange.set_price(SYMBOL, 60000)
    exchange.add_key(account="other")


def rest(exchange: LocalExchange, side: str, quantity: str, account: str = "main", **more: object) -> Any:
    """Place an order that rests between the market's quotes."""
    params = {"timeInForce": "GTC", "price": HERE, "quantity": quantity, "newOrderRespType": "FULL", **more}
    return exchange.place(SYMBOL, side, "LIMIT", account=account, **params)


def end(exchange: LocalExchange, order: Any) -> tuple[str, str]:
    """Return the last status of an order and what it executed."""
    last = exchange.history(order["orderId"], SYMBOL)[-1]
    return str(last["status"]), str(last["executedQty"])


@pytest.mark.parametrize(
    ("mode", "maker_size", "taker_size", "maker_end", "taker_end"),
    [
        ("NONE", "1", "2", ("FILLED", "1"), ("PARTIALLY_FILLED", "1")),
        ("EXPIRE_TAKER", "1", "2", ("NEW", "0"), ("EXPIRED_IN_MATCH", "0")),
        ("EXPIRE_MAKER", "1", "2", ("EXPIRED_IN_MATCH", "0"), ("NEW", "0")),
        ("EXPIRE_BOTH", "1", "2", ("EXPIRED_IN_MATCH", "0"), ("EXPIRED_IN_MATCH", "0")),
        ("DECREMENT", "1", "2", ("EXPIRED_IN_MATCH", "0"), ("NEW", "0")),
        ("DECREMENT", "2", "1", ("NEW", "0"), ("EXPIRED_IN_MATCH", "0")),
        ("DECREMENT", "2", "2", ("EXPIRED_IN_MATCH", "0"), ("EXPIRED_IN_MATCH", "0")),
    ],
)
def test_modes(  # noqa: PLR0917 - one row of the documented table
    exchange: LocalExchange,
    mode: str,
    maker_size: str,
    taker_size: str,
    maker_end: tuple[str, str],
    taker_end: tuple[str, str],
) -> None:
    """The taker's mode says who expires, whatever the maker's is."""
    maker = rest(exchange, "BUY", maker_size, selfTradePreventionMode="EXPIRE_MAKER")
    taker = rest(exchange, "SELL", taker_size, selfTradePreventionMode=mode)
    assert end(exchange, maker) == maker_end
    assert end(exchange, taker) == taker_end
    assert ("preventedMatches" in taker) == (mode != "NONE")


def test_others_trade_before_and_after_the_own_order(exchange: LocalExchange) -> None:
    """A taker that continues trades with the orders of others before and behind its own."""
    first = rest(exchange, "BUY", "1", account="other")
    own = rest(exchange, "BUY", "1")
    last = rest(exchange, "BUY", "1", account="other")
    taker = rest(exchange, "SELL", "3", selfTradePreventionMode="DECREMENT")
    assert (taker["status"], taker["executedQty"], taker["preventedQuantity"]) == ("FILLED", "2.00000000", "1.00000000")
    assert [end(exchange, order)[0] for order in (first, own, last)] == ["FILLED", "EXPIRED_IN_MATCH", "FILLED"]


def test_fill_or_kill_counts_only_what_others_offer(exchange: LocalExchange) -> None:
    """A FOK order that would meet its own account before it is filled expires without a fill, and the maker stays."""
    rest(exchange, "BUY", "1", account="other")
    own = rest(exchange, "BUY", "1")
    rest(exchange, "BUY", "1", account="other")
    for mode, size, status in (("EXPIRE_TAKER", "2", "EXPIRED"), ("EXPIRE_MAKER", "3", "EXPIRED")):
        params = {"timeInForce": "FOK", "price": HERE, "quantity": size, "selfTradePreventionMode": mode}
        assert exchange.place(SYMBOL, "SELL", "LIMIT", **params)["status"] == status
    assert end(exchange, own) == ("NEW", "0")
    params = {"timeInForce": "FOK", "price": HERE, "quantity": "2", "selfTradePreventionMode": "EXPIRE_MAKER"}
    assert exchange.place(SYMBOL, "SELL", "LIMIT", **params)["status"] == "FILLED"
    assert end(exchange, own) == ("EXPIRED_IN_MATCH", "0")


def test_fill_or_kill_looks_behind_an_iceberg(exchange: LocalExchange) -> None:
    """Only the visible part of an iceberg comes before an own order at the same price."""
    rest(exchange, "BUY", "1", account="other", icebergQty="0.2")
    rest(exchange, "BUY", "1")
    params = {"timeInForce": "FOK", "price": HERE, "selfTradePreventionMode": "EXPIRE_TAKER"}
    assert exchange.place(SYMBOL, "SELL", "LIMIT", account="main", quantity="0.3", **params)["status"] == "EXPIRED"
    assert exchange.place(SYMBOL, "SELL", "LIMIT", account="main", quantity="0.2", **params)["status"] == "FILLED"


@pytest.mark.parametrize(
    ("mode", "status", "spent"),
    [
        ("EXPIRE_MAKER", "FILLED", 12000),
        ("EXPIRE_TAKER", "EXPIRED_IN_MATCH", 0),
        ("DECREMENT", "FILLED", 12000),
    ],
)
def test_a_quote_amount_is_spent_on_others(exchange: LocalExchange, mode: str, status: str, spent: int) -> None:
    """A market order by quote amount spends nothing on its own account's offers."""
    rest(exchange, "SELL", "0.1")
    params = {"quoteOrderQty": "12000", "selfTradePreventionMode": mode}
    reply = exchange.place(SYMBOL, "BUY", "MARKET", account="main", **params)
    assert reply["status"] == status
    assert spent - 1 < float(reply["cummulativeQuoteQty"]) <= spent


def test_a_trade_group_is_one_trader(exchange: LocalExchange) -> None:
    """Two accounts trade with each other unless they share a trade group, which the reply then names."""
    mode = {"selfTradePreventionMode": "EXPIRE_TAKER"}
    rest(exchange, "BUY", "1", account="other")
    assert rest(exchange, "SELL", "1", **mode)["status"] == "FILLED"
    for account in ("main", "other"):
        exchange.set_trade_group(3, account)
    rest(exchange, "BUY", "1", account="other")
    reply = rest(exchange, "SELL", "1", **mode)
    assert (reply["status"], reply["tradeGroupId"]) == ("EXPIRED_IN_MATCH", 3)


def test_prevented_funds_are_free_again(exchange: LocalExchange) -> None:
    """What an order loses to prevention is no longer locked."""
    usdt = exchange._engine.account("main").balances["USDT"]
    rest(exchange, "BUY", "2")
    locked = usdt.locked
    rest(exchange, "SELL", "0.5", selfTradePreventionMode="DECREMENT")
    assert usdt.locked == locked * 3 / 4
    assert exchange.open_orders(SYMBOL)[0]["preventedQuantity"] == "0.50000000"


def test_a_prevented_leg_ends_its_partner(exchange: LocalExchange) -> None:
    """A leg of a pair that meets its own account counts as touched."""
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": HERE, "belowType": "STOP_LOSS", "belowStopPrice": "55000"}
    placed = exchange.place_list("oco", SYMBOL, side="SELL", quantity="1", **legs)
    rest(exchange, "BUY", "0.4", selfTradePreventionMode="DECREMENT")
    stop, limit = placed["orderReports"]
    assert end(exchange, stop)[0] == "EXPIRED"
    assert [row["orderId"] for row in exchange.open_orders(SYMBOL)] == [limit["orderId"]]


def test_a_prevented_working_order_takes_its_pending_leg_along(exchange: LocalExchange) -> None:
    """When the working order expires in a match, the pending one expires in phase one."""
    rest(exchange, "BUY", "1")
    placed = exchange.place_list(
        "oto",
        SYMBOL,
        workingType="LIMIT",
        workingSide="SELL",
        workingTimeInForce="GTC",
        workingPrice=HERE,
        workingQuantity="1",
        pendingType="MARKET",
        pendingSide="BUY",
        pendingQuantity="1",
        selfTradePreventionMode="EXPIRE_TAKER",
    )
    assert [end(exchange, leg)[0] for leg in placed["orderReports"]] == ["EXPIRED_IN_MATCH", "EXPIRED"]
    assert placed["listOrderStatus"] == "ALL_DONE"
