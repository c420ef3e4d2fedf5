"""Order lists: placement, the ways they end, and how a cancel reports them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import ORDER, Client, now

from nbext.exchange.engine.refusals import Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange import LocalExchange

FIXTURES = Path(__file__).parents[1] / "fixtures"
SYMBOL = "BTCUSDT"
OCO = {
    "side": "SELL",
    "quantity": "0.5",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "63000",
    "belowType": "STOP_LOSS_LIMIT",
    "belowStopPrice": "57000",
    "belowPrice": "56900",
    "belowTimeInForce": "GTC",
}
OTO = {
    "workingType": "LIMIT",
    "workingSide": "BUY",
    "workingTimeInForce": "GTC",
    "workingPrice": "58000",
    "workingQuantity": "0.1",
    "pendingType": "LIMIT",
    "pendingSide": "SELL",
    "pendingTimeInForce": "GTC",
    "pendingPrice": "62000",
    "pendingQuantity": "0.1",
}
OTOCO = {name: value for name, value in OTO.items() if name.startswith("working")} | {
    "pendingSide": "SELL",
    "pendingQuantity": "0.1",
    "pendingAboveType": "LIMIT_MAKER",
    "pendingAbovePrice": "62000",
    "pendingBelowType": "STOP_LOSS",
    "pendingBelowStopPrice": "55000",
}
KINDS = {"oco": OCO, "oto": OTO, "otoco": OTOCO}


@pytest.fixture(autouse=True)
def _at_sixty_thousand(exchange: LocalExchange) -> None:
    """Start every test at the same price."""
    exchange.set_price(SYMBOL, 60000)


def fixture(name: str) -> Any:
    """Load a documented body."""
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def place(exchange: LocalExchange, kind: str, changes: Mapping[str, object | None] | None = None) -> Any:
    """Place a list of a kind, with other parameters, or without those that are None."""
    params = {name: value for name, value in {**KINDS[kind], **(changes or {})}.items() if value is not None}
    return exchange.place_list(kind, SYMBOL, account="main", **params)


def legs(reply: Any) -> list[int]:
    """Return the order ids of a list."""
    return [order["orderId"] for order in reply["orders"]]


def states(client: Client, reply: Any) -> list[tuple[str, str | None]]:
    """Return status and expiry reason of each leg."""
    rows = [client.query(order_id) for order_id in legs(reply)]
    return [(row["status"], row.get("expiryReason")) for row in rows]


def list_status(client: Client, reply: Any) -> tuple[str, str]:
    """Return what the list says of itself."""
    body = client.signed("GET", "/api/v3/orderList", orderListId=reply["orderListId"]).body
    return body["listStatusType"], body["listOrderStatus"]


def locked(exchange: LocalExchange, asset: str) -> Decimal:
    """Return what the main account has locked."""
    return exchange._engine.account("main").balances[asset].locked


def names(document: Any) -> Any:
    """Reduce a document to the names in it, in their order."""
    if isinstance(document, dict):
        return {name: names(value) for name, value in document.items()}
    return [names(value) for value in document] if isinstance(document, list) else None


@pytest.mark.parametrize(
    ("kind", "documented", "changes"),
    [
        ("oco", "new_order_list_oco_result", {"belowIcebergQty": "0.1"}),
        ("oto", "new_order_list_oto_result", {}),
        ("otoco", "new_order_list_otoco_result", {"pendingBelowType": "STOP_LOSS"}),
    ],
)
def test_placement_replies_have_the_documented_form(
    client: Client, kind: str, documented: str, changes: dict[str, str]
) -> None:
    """Over HTTP each kind answers its documented form, the stop leg before the limit leg."""
    reply = client.signed("POST", f"/api/v3/orderList/{kind}", headers=None, symbol=SYMBOL, **(KINDS[kind] | changes))
    body, sample = reply.body, fixture(documented)
    assert json.dumps(names(body)) == json.dumps(names(sample))
    assert reply.headers["X-MBX-ORDER-COUNT-10S"] == str(len(sample["orders"]))
    assert body["contingencyType"] == sample["contingencyType"]
    for ours, theirs in zip(body["orderReports"], sample["orderReports"], strict=True):
        assert ours["status"] == theirs["status"]
        assert (ours["workingTime"] == -1) == (theirs["workingTime"] == -1)
    first = body["orders"][0]["orderId"]
    assert legs(body) == list(range(first, first + len(sample["orders"])))


@pytest.mark.parametrize(("kind", "size"), [("oco", 2), ("oto", 2), ("otoco", 3)])
def test_cancel_all_returns_a_list_once_with_all_legs(
    client: Client, exchange: LocalExchange, kind: str, size: int
) -> None:
    """Cancel-all reports a list as one row, done, with a report for each leg and one time."""
    placed = place(exchange, kind)
    assert len(exchange.open_orders()) == size
    (row,) = client.cancel_all().body
    sample = fixture("cancel_all_open_orders")[2]
    assert list(row) == list(sample)
    assert (row["listStatusType"], row["listOrderStatus"]) == ("ALL_DONE", "ALL_DONE")
    assert legs(row) == legs(placed) == [report["orderId"] for report in row["orderReports"]]
    assert {report["status"] for report in row["orderReports"]} == {"CANCELED"}
    assert {report["transactTime"] for report in row["orderReports"]} == {row["transactionTime"]}
    originals = [order["clientOrderId"] for order in placed["orders"]]
    assert [report["origClientOrderId"] for report in row["orderReports"]] == originals
    assert [order["clientOrderId"] for order in row["orders"]] == originals
    assert exchange.open_orders() == []
    assert [locked(exchange, asset) for asset in ("BTC", "USDT")] == [0, 0]


def test_cancel_all_has_the_documented_form(client: Client, exchange: LocalExchange) -> None:
    """The documented mixture of two orders and an OCO is reproduced name for name."""
    for price in ("50000", "50001"):
        exchange.place(SYMBOL, "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price=price)
    oco = {
        "side": "BUY",
        "aboveType": "STOP_LOSS_LIMIT",
        "aboveStopPrice": "63000",
        "abovePrice": "63100",
        "aboveTimeInForce": "GTC",
        "aboveIcebergQty": "0.1",
        "belowType": "LIMIT_MAKER",
        "belowPrice": "57000",
        "belowIcebergQty": "0.2",
        "belowStopPrice": None,
        "belowTimeInForce": None,
    }
    place(exchange, "oco", oco)
    body = client.cancel_all().body
    assert json.dumps(names(body)) == json.dumps(names(fixture("cancel_all_open_orders")))


def test_seeded_mixture_is_canceled_whole(client: Client, exchange: LocalExchange) -> None:
    """Cancel-all of the seeded orders names every open leg once and leaves ETHUSDT alone."""
    exchange.seed_orders()
    before = [row["orderId"] for row in exchange.open_orders(SYMBOL)]
    assert len(before) == 13
    assert len(exchange.open_orders("ETHUSDT")) == 5
    body = client.cancel_all().body
    rows = [report for row in body for report in row.get("orderReports", [row])]
    assert [row["orderId"] for row in rows] == before
    assert rows[0]["executedQty"] == "0.40000000"
    assert exchange.open_orders(SYMBOL) == []
    assert len(exchange.open_orders("ETHUSDT")) == 5
    assert client.cancel_all().refusal == (-2011, "Unknown order sent.")


def test_touched_limit_leg_ends_the_stop_leg(client: Client, exchange: LocalExchange) -> None:
    """The first partial fill of the limit leg expires the stop leg; the survivor is a single order again."""
    placed = place(exchange, "oco")
    exchange.place(SYMBOL, "BUY", "LIMIT", account="market", timeInForce="IOC", quantity="0.2", price="63000")
    assert states(client, placed) == [("EXPIRED", "OCO_TRIGGER"), ("PARTIALLY_FILLED", None)]
    assert list_status(client, placed) == ("ALL_DONE", "ALL_DONE")
    assert locked(exchange, "BTC") == Decimal("0.3")
    (row,) = client.cancel_all().body
    assert "orderReports" not in row
    assert (row["orderListId"], row["executedQty"]) == (placed["orderListId"], "0.20000000")


def test_triggered_stop_leg_ends_the_limit_leg(client: Client, exchange: LocalExchange) -> None:
    """A triggered stop first expires the limit leg, then works."""
    placed = place(exchange, "oco")
    exchange.set_price(SYMBOL, 56000)
    assert states(client, placed) == [("NEW", None), ("EXPIRED", "OCO_TRIGGER")]
    assert client.query(legs(placed)[0])["isWorking"] is True
    exchange.set_price(SYMBOL, 57000)
    assert states(client, placed)[0] == ("FILLED", None)
    assert locked(exchange, "BTC") == 0


def test_take_profit_pair(client: Client, exchange: LocalExchange) -> None:
    """An OCO of take-profit above and stop-loss below executes one of them."""
    changes = {"aboveType": "TAKE_PROFIT", "aboveStopPrice": "63000", "abovePrice": None}
    placed = place(exchange, "oco", changes)
    exchange.set_price(SYMBOL, 63000)
    assert states(client, placed) == [("EXPIRED", "OCO_TRIGGER"), ("FILLED", None)]


def test_oto_releases_its_pending_leg_when_filled(client: Client, exchange: LocalExchange) -> None:
    """The pending order works once the working one is filled, and the list ends with it."""
    placed = place(exchange, "oto")
    assert [row["status"] for row in exchange.open_orders()] == ["NEW", "PENDING_NEW"]
    exchange.place(SYMBOL, "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.05", price="58000")
    assert states(client, placed) == [("PARTIALLY_FILLED", None), ("PENDING_NEW", None)]
    exchange.set_price(SYMBOL, 58000)
    assert states(client, placed) == [("FILLED", None), ("NEW", None)]
    assert list_status(client, placed) == ("EXEC_STARTED", "EXECUTING")
    exchange.set_price(SYMBOL, 62000)
    assert states(client, placed) == [("FILLED", None), ("FILLED", None)]
    assert list_status(client, placed) == ("ALL_DONE", "ALL_DONE")


def test_oto_filled_at_once_is_answered_before_the_release(client: Client, exchange: LocalExchange) -> None:
    """The reply says working FILLED and pending still PENDING_NEW."""
    placed = place(exchange, "oto", {"workingPrice": "60500", "workingTimeInForce": "IOC"})
    assert [report["status"] for report in placed["orderReports"]] == ["FILLED", "PENDING_NEW"]
    assert states(client, placed) == [("FILLED", None), ("NEW", None)]
    (row,) = client.cancel_all().body
    assert [report["orderId"] for report in row["orderReports"]] == legs(placed)[1:]
    assert legs(row) == legs(placed)


def test_oto_ends_with_its_working_order(client: Client, exchange: LocalExchange) -> None:
    """A working order that expires takes the pending one along."""
    placed = place(exchange, "oto", {"workingTimeInForce": "IOC"})
    assert states(client, placed) == [
        ("EXPIRED", "UNFILLED_IOC_QUANTITY_EXPIRED"),
        ("EXPIRED", "OTO_PHASE_ONE_EXPIRED"),
    ]
    assert list_status(client, placed) == ("ALL_DONE", "ALL_DONE")
    assert exchange.open_orders() == []


def test_a_release_that_is_refused_expires_the_pending_legs(client: Client, exchange: LocalExchange) -> None:
    """A pending stop that would trigger at its release ends EXPIRED, REJECTED."""
    placed = place(exchange, "otoco")
    exchange.set_price(SYMBOL, 54000)
    assert states(client, placed) == [("FILLED", None), ("EXPIRED", "REJECTED"), ("EXPIRED", "REJECTED")]
    assert locked(exchange, "BTC") == 0


def test_pending_market_order_executes_on_release(client: Client, exchange: LocalExchange) -> None:
    """A pending MARKET order trades as soon as it is released."""
    changes = {"pendingType": "MARKET", "pendingPrice": None, "pendingTimeInForce": None}
    placed = place(exchange, "oto", changes)
    exchange.set_price(SYMBOL, 58000)
    assert states(client, placed) == [("FILLED", None), ("FILLED", None)]


def test_otoco_becomes_an_oco(client: Client, exchange: LocalExchange) -> None:
    """Once its working order is filled, an OTOCO's pair behaves as an OCO and decides the list."""
    placed = place(exchange, "otoco")
    exchange.set_price(SYMBOL, 58000)
    assert states(client, placed) == [("FILLED", None), ("NEW", None), ("NEW", None)]
    exchange.set_price(SYMBOL, 62000)
    assert states(client, placed) == [("FILLED", None), ("EXPIRED", "OCO_TRIGGER"), ("FILLED", None)]
    assert list_status(client, placed) == ("ALL_DONE", "ALL_DONE")


def test_a_pair_is_paid_for_once(exchange: LocalExchange) -> None:
    """An OCO locks the dearer leg only; an OTO locks its pending leg as well."""
    place(exchange, "oco")
    assert locked(exchange, "BTC") == Decimal("0.5")
    buy = {
        "side": "BUY",
        "aboveType": "STOP_LOSS",
        "aboveStopPrice": "63000",
        "abovePrice": None,
        "belowType": "LIMIT_MAKER",
        "belowPrice": "57000",
        "belowStopPrice": None,
        "belowTimeInForce": None,
    }
    place(exchange, "oco", buy)
    assert locked(exchange, "USDT") == 31500
    place(exchange, "otoco")
    assert locked(exchange, "BTC") == Decimal("0.6")
    assert locked(exchange, "USDT") == 37300


def test_a_list_that_cannot_be_paid_leaves_nothing_behind(exchange: LocalExchange) -> None:
    """Funds are needed for all legs, and a refusal uses up neither funds nor ids."""
    first = exchange.place(SYMBOL, "SELL", "LIMIT", timeInForce="GTC", quantity="9999.95", price="70000")
    with pytest.raises(Refusal, match="insufficient balance"):
        place(exchange, "oto")
    assert len(exchange.open_orders()) == 1
    assert locked(exchange, "USDT") == 0
    placed = exchange.place(SYMBOL, "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    assert placed["orderId"] == first["orderId"] + 1


def test_cancel_of_one_leg_cancels_the_list(client: Client, exchange: LocalExchange) -> None:
    """`DELETE /order` on a leg returns the list with all its reports."""
    for index, kind in enumerate(KINDS):
        placed = place(exchange, kind)
        leg = legs(placed)[-1]
        body = client.signed("DELETE", ORDER, symbol=SYMBOL, orderId=leg, newClientOrderId=f"bye{index}").body
        assert {report["clientOrderId"] for report in body["orderReports"]} == {f"bye{index}"}
        assert [report["orderId"] for report in body["orderReports"]] == legs(placed)
    assert exchange.open_orders() == []


def test_cancel_list_by_either_id(client: Client, exchange: LocalExchange) -> None:
    """`DELETE /orderList` takes the list's id or client id, and checks one against the other."""
    placed = place(exchange, "oco", {"listClientOrderId": "mine"})
    path = "/api/v3/orderList"
    number = placed["orderListId"]
    wrong = client.signed("DELETE", path, symbol=SYMBOL, orderListId=number, listClientOrderId="x")
    assert wrong.refusal == (-2011, "Unknown order sent.")
    neither = client.signed("DELETE", path, symbol=SYMBOL)
    assert neither.refusal[0] == -1102
    body = client.signed("DELETE", path, symbol=SYMBOL, listClientOrderId="mine").body
    assert json.dumps(names(body)) == json.dumps(names(fixture("cancel_order_list")))
    assert client.signed("DELETE", path, symbol=SYMBOL, orderListId=number).refusal[0] == -2011


def test_list_queries(client: Client, exchange: LocalExchange) -> None:
    """Lists are found by id and by client id, open ones and all of them."""
    start = now()
    first, second = place(exchange, "oco", {"listClientOrderId": "mine"}), place(exchange, "oto")
    listed = client.signed("GET", "/api/v3/openOrderList").body
    assert [row["orderListId"] for row in listed] == [first["orderListId"], second["orderListId"]]
    assert json.dumps(names(listed[0])) == json.dumps(names(fixture("open_order_list")[0]))
    assert client.signed("GET", "/api/v3/orderList", origClientOrderId="mine").body == listed[0]
    missing = client.signed("GET", "/api/v3/orderList", orderListId=1)
    assert missing.refusal == (-2013, "Order list does not exist.")
    client.cancel_all()
    assert client.signed("GET", "/api/v3/openOrderList").body == []
    everything = client.signed("GET", "/api/v3/allOrderList", startTime=start).body
    assert [row["listOrderStatus"] for row in everything] == ["ALL_DONE", "ALL_DONE"]
    both = client.signed("GET", "/api/v3/allOrderList", fromId=1, startTime=start)
    assert both.refusal[0] == -1128


@pytest.mark.parametrize(
    ("kind", "changes", "code"),
    [
        ("oco", {"side": "BUY"}, -1165),
        ("oco", {"aboveType": "STOP_LOSS", "abovePrice": None, "aboveStopPrice": "63000"}, -1197),
        ("oco", {"belowType": "LIMIT_MAKER", "belowStopPrice": None, "belowTimeInForce": None}, -1168),
        ("oco", {"belowType": "TAKE_PROFIT", "belowPrice": None, "belowTimeInForce": None}, -1199),
        ("oco", {"aboveType": "TAKE_PROFIT", "belowType": "LIMIT_MAKER"}, -1166),
        ("oco", {"side": "BUY", "aboveType": "TAKE_PROFIT"}, -1196),
        ("oco", {"side": "BUY", "aboveType": "TAKE_PROFIT", "belowType": "TAKE_PROFIT"}, -1198),
        ("oco", {"aboveType": "MARKET"}, -1158),
        ("oco", {"belowTimeInForce": "IOC", "belowIcebergQty": "0.1"}, -1160),
        ("oco", {"abovePrice": "59000"}, -2010),
        ("oco", {"belowStopPrice": "61000"}, -2010),
        ("oco", {"belowPrice": None}, -1102),
        ("oco", {"aboveTimeInForce": "GTC"}, -1106),
        ("oco", {"quantity": None}, -1102),
        ("oco", {"aboveClientOrderId": "same", "belowClientOrderId": "same"}, -2010),
        ("oto", {"workingType": "MARKET"}, -1116),
        ("oto", {"workingStopPrice": "1"}, -1104),
        ("oto", {"workingTimeInForce": None}, -1102),
        ("oto", {"pendingStopPrice": "1"}, -1106),
        ("otoco", {"pendingBelowType": None}, -1102),
        ("otoco", {"pendingAbovePrice": "54000"}, -2010),
    ],
)
def test_refused_lists(exchange: LocalExchange, kind: str, changes: dict[str, str | None], code: int) -> None:
    """Each fault of an order list has its documented code, and nothing is placed."""
    with pytest.raises(Refusal) as caught:
        place(exchange, kind, changes)
    assert caught.value.code == code
    assert exchange.open_orders() == []
    assert [locked(exchange, asset) for asset in ("BTC", "USDT")] == [0, 0]


def test_list_limits(exchange: LocalExchange) -> None:
    """The 21st open list of a symbol is refused, and so is a second open list of the same client id."""
    place(exchange, "oco", {"listClientOrderId": "mine"})
    with pytest.raises(Refusal, match="Duplicate order sent"):
        place(exchange, "oco", {"listClientOrderId": "mine"})
    for _ in range(19):
        place(exchange, "oto")
    with pytest.raises(Refusal, match="Filter failure: MAX_NUM_ORDER_LISTS"):
        place(exchange, "oto")


@pytest.mark.parametrize(
    ("kind", "leg", "reasons"),
    [
        ("oco", 0, ["EXCHANGE_CANCELED", "OCO_TRIGGER"]),
        ("oco", 1, ["OCO_TRIGGER", "EXCHANGE_CANCELED"]),
        ("oto", 0, ["EXCHANGE_CANCELED", "OTO_PHASE_ONE_EXPIRED"]),
        ("oto", 1, ["EXCHANGE_CANCELED", "OTO_PHASE_ONE_EXPIRED"]),
        ("otoco", 0, ["EXCHANGE_CANCELED", "OTO_PHASE_ONE_EXPIRED", "OTO_PHASE_ONE_EXPIRED"]),
    ],
)
def test_the_exchange_withdraws_an_order(
    client: Client, exchange: LocalExchange, kind: str, leg: int, reasons: list[str]
) -> None:
    """It expires, and so does what cannot be without it; the funds are free again."""
    legs = exchange.place_list(kind, SYMBOL, **KINDS[kind])["orders"]
    exchange.withdraw(SYMBOL, legs[leg]["orderId"])
    rows = [client.query(each["orderId"]) for each in legs]
    assert [(row["status"], row["expiryReason"]) for row in rows] == [("EXPIRED", reason) for reason in reasons]
    with pytest.raises(Refusal, match="-2011"):
        exchange.withdraw(SYMBOL, legs[leg]["orderId"])
    assert [locked(exchange, asset) for asset in ("BTC", "USDT")] == [0, 0]
    assert client.signed("GET", "/api/v3/openOrderList").body == []
