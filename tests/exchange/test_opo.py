"""OPO and OPOCO: the pending legs sell what the working order buys (rule: opo)."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import OPEN_ORDERS

from nbext.exchange import Refusal

if TYPE_CHECKING:
    from support.exchange_client import Client

    from nbext.exchange import LocalExchange

SYMBOL = "BTCUSDT"
WORKING = {
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingTimeInForce": "GTC",
    "workingPrice": "59000",
    "workingQuantity": "1",
}
OPO = WORKING | {
    "pendingType": "LIMIT",
    "pendingSide": "SELL",
    "pendingTimeInForce": "GTC",
    "pendingPrice": "62000",
}
OPOCO = WORKING | {
    "pendingSide": "SELL",
    "pendingAboveType": "LIMIT_MAKER",
    "pendingAbovePrice": "62000",
    "pendingBelowType": "STOP_LOSS",
    "pendingBelowStopPrice": "50000",
}


@pytest.fixture(autouse=True)
def _at_sixty_thousand(exchange: LocalExchange) -> None:
    """Start every test at the same price."""
    exchange.set_price(SYMBOL, 60000)


def buy_part(exchange: LocalExchange, quantity: str) -> None:
    """Sell this much to the working order from the market account."""
    params = {"timeInForce": "IOC", "price": "59000", "quantity": quantity}
    exchange.place(SYMBOL, "SELL", "LIMIT", account="market", **params)


def locked(exchange: LocalExchange) -> list[float]:
    """Return what is locked of both assets."""
    balances = exchange._engine.account("main").balances
    return [float(balances[asset].locked) for asset in ("BTC", "USDT")]


def rows(exchange: LocalExchange) -> Any:
    """Return what is open."""
    return exchange.open_orders(SYMBOL)


@pytest.mark.parametrize(("kind", "params"), [("opo", OPO), ("opoco", OPOCO)])
def test_what_is_bought_stays_locked_for_the_pending_legs(
    exchange: LocalExchange, kind: str, params: dict[str, str]
) -> None:
    """A part is locked as soon as it is bought; the pending legs get a quantity when all is bought."""
    exchange.place_list(kind, SYMBOL, account="main", **params)
    assert locked(exchange) == [0, 59000]
    buy_part(exchange, "0.4")
    assert locked(exchange) == [0.4, 35400]
    assert all("origQty" not in row for row in rows(exchange)[1:])
    buy_part(exchange, "0.6")
    assert locked(exchange) == [1, 0]
    assert {(row["status"], row["origQty"]) for row in rows(exchange)} == {("NEW", "1.00000000")}
    exchange.set_price(SYMBOL, 63000)
    assert locked(exchange) == [0, 0]


def test_cancel_all_reports_legs_that_never_had_a_quantity(client: Client, exchange: LocalExchange) -> None:
    """All three legs are reported, the pending ones without a quantity, and nothing stays locked."""
    exchange.place_list("opoco", SYMBOL, account="main", **OPOCO)
    buy_part(exchange, "0.4")
    (row,) = client.signed("DELETE", OPEN_ORDERS, symbol=SYMBOL).body
    assert row["contingencyType"] == "OTO"
    assert ["origQty" in report for report in row["orderReports"]] == [True, False, False]
    assert row["orderReports"][0]["executedQty"] == "0.40000000"
    assert locked(exchange) == [0, 0]


def test_commission_comes_out_of_free_funds_if_those_suffice(exchange: LocalExchange) -> None:
    """With free funds the pending leg sells all that was bought."""
    exchange.set_commission(maker="0.001")
    exchange.place_list("opo", SYMBOL, account="main", **OPO)
    buy_part(exchange, "1")
    assert rows(exchange)[0]["origQty"] == "1.00000000"


def test_commission_is_taken_off_if_nothing_else_is_there(exchange: LocalExchange) -> None:
    """Without free funds the leg sells what is left, in whole lots, and the remainder is free."""
    btc = exchange._engine.account("main").balances["BTC"]
    btc.free = Decimal(0)
    exchange.set_commission(maker="0.0010005")
    exchange.place_list("opo", SYMBOL, account="main", **OPO)
    buy_part(exchange, "1")
    assert rows(exchange)[0]["origQty"] == "0.99899000"
    assert (btc.free, btc.locked) == (Decimal("0.0000095"), Decimal("0.99899"))


def test_commission_in_bnb_is_taken_off_bnb(exchange: LocalExchange) -> None:
    """Commission in BNB on what was bought in BNB leaves less to sell, free funds or not."""
    exchange.set_price("BNBUSDT", 600)
    exchange.set_commission(maker="0.001", bnb_discount=0)
    working = WORKING | {"workingPrice": "500"}
    pending = {"pendingType": "LIMIT", "pendingSide": "SELL", "pendingTimeInForce": "GTC", "pendingPrice": "700"}
    exchange.place_list("opo", "BNBUSDT", account="main", **working, **pending)
    exchange.set_price("BNBUSDT", 490)
    assert exchange.open_orders("BNBUSDT")[0]["origQty"] == "0.99900000"


def test_filters_are_asked_on_release(exchange: LocalExchange) -> None:
    """A leg that fails a filter is accepted, and expires when released; what it held is free."""
    exchange.place_list("opo", SYMBOL, account="main", **OPO | {"pendingPrice": "62000.001"})
    placed = rows(exchange)[1]["orderId"]
    buy_part(exchange, "1")
    assert rows(exchange) == []
    assert exchange.history(placed, SYMBOL)[-1]["status"] == "EXPIRED"
    assert locked(exchange) == [0, 0]


@pytest.mark.parametrize(
    ("kind", "changes", "refusal"),
    [
        ("opo", {"workingSide": "SELL"}, (-1222, "Working order in an OPO list must be a bid.")),
        ("opo", {"pendingSide": "BUY"}, (-1223, "Pending orders in an OPO list must be asks.")),
        ("opo", {"pendingQuantity": "1"}, (-1225, "Pending orders should not include the 'pendingQuantity' tag.")),
        ("opoco", {"pendingSide": "BUY"}, (-1223, "Pending orders in an OPO list must be asks.")),
        ("opoco", {"pendingQuantity": "1"}, (-1225, "Pending orders should not include the 'pendingQuantity' tag.")),
        ("opoco", {"pendingBelowType": "LIMIT_MAKER"}, (-1168, "At least one OCO order must be contingent.")),
    ],
)
def test_refused_lists(exchange: LocalExchange, kind: str, changes: dict[str, str], refusal: tuple[int, str]) -> None:
    """A list that breaks a rule of OPO is refused with that rule's code."""
    with pytest.raises(Refusal) as caught:
        exchange.place_list(kind, SYMBOL, account="main", **({"opo": OPO, "opoco": OPOCO}[kind] | changes))
    assert (caught.value.code, caught.value.text) == refusal


@pytest.mark.parametrize(
    ("kind", "missing", "text"),
    [
        ("opo", "opo", "OPO orders are not supported for this symbol."),
        ("opoco", "oco", "OCO orders are not supported for this symbol"),
    ],
)
def test_symbols_may_lack_a_kind_of_list(exchange: LocalExchange, kind: str, missing: str, text: str) -> None:
    """An OPO needs opoAllowed, and an OPOCO ocoAllowed as well."""
    symbol = exchange._engine.symbol(SYMBOL)
    symbol.features -= {missing}
    with pytest.raises(Refusal, match=text):
        exchange.place_list(kind, SYMBOL, account="main", **{"opo": OPO, "opoco": OPOCO}[kind])
