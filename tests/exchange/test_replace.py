"""Cancel-replace: two halves, of which either may fail."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import Client

from nbext.exchange import LocalExchange

if TYPE_CHECKING:
    from support.exchange_client import Answer

REPLACE = "/api/v3/order/cancelReplace"
UNKNOWN = {"code": -2011, "msg": "Unknown order sent."}
WOULD_TAKE = {"code": -2010, "msg": "Order would immediately match and take."}


def replace(client: Client, mode: str, **changes: object) -> Answer:
    """Replace an order of BTCUSDT by a bid at 51000."""
    params: dict[str, object] = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT_MAKER", "quantity": "0.1"}
    params |= {"price": "51000", "cancelReplaceMode": mode, "newOrderRespType": "RESULT", **changes}
    return client.signed("POST", REPLACE, headers=None, **params)


@pytest.fixture
def order_id(client: Client) -> Any:
    """Place the order to be replaced."""
    return client.limit("BUY", "50000", newClientOrderId="old").body["orderId"]


@pytest.mark.parametrize("mode", ["STOP_ON_FAILURE", "ALLOW_FAILURE"])
def test_both_halves_succeed(client: Client, exchange: LocalExchange, order_id: int, mode: str) -> None:
    """The old order is canceled with the caller's cancel id, the new one placed, and the call costs nothing."""
    answer = replace(client, mode, cancelOrderId=order_id, cancelNewClientOrderId="gone", newClientOrderId="old")
    assert answer.status == 200
    assert list(answer.body) == ["cancelResult", "newOrderResult", "cancelResponse", "newOrderResponse"]
    assert (answer.body["cancelResult"], answer.body["newOrderResult"]) == ("SUCCESS", "SUCCESS")
    assert answer.body["cancelResponse"]["clientOrderId"] == "gone"
    assert answer.body["newOrderResponse"]["clientOrderId"] == "old"
    assert answer.headers["X-MBX-USED-WEIGHT-1M"] == "0"
    assert answer.headers["X-MBX-ORDER-COUNT-10S"] == "2"
    assert [row["price"] for row in exchange.open_orders()] == ["51000.00000000"]


def test_the_cancel_fails_and_all_stops(client: Client, exchange: LocalExchange) -> None:
    """STOP_ON_FAILURE does not try the new order after a failed cancel: 400 and -2022, and it still counts."""
    answer = replace(client, "STOP_ON_FAILURE", cancelOrigClientOrderId="nobody")
    assert answer.status == 400
    assert answer.body == {
        "code": -2022,
        "msg": "Order cancel-replace failed.",
        "data": {
            "cancelResult": "FAILURE",
            "newOrderResult": "NOT_ATTEMPTED",
            "cancelResponse": UNKNOWN,
            "newOrderResponse": None,
        },
    }
    assert exchange.open_orders() == []
    assert client.signed("GET", "/api/v3/rateLimit/order").body[0]["count"] == 1


def test_the_cancel_fails_and_the_order_is_placed(client: Client, exchange: LocalExchange) -> None:
    """ALLOW_FAILURE continues: 409 and -2021 say that half of it succeeded, and the order counts."""
    answer = replace(client, "ALLOW_FAILURE", cancelOrigClientOrderId="nobody")
    assert answer.status == 409
    assert (answer.body["code"], answer.body["msg"]) == (-2021, "Order cancel-replace partially failed.")
    assert (answer.body["data"]["cancelResult"], answer.body["data"]["newOrderResult"]) == ("FAILURE", "SUCCESS")
    assert answer.body["data"]["cancelResponse"] == UNKNOWN
    assert len(exchange.open_orders()) == 1
    assert exchange._engine.account("main").order_count.ten_seconds.used == 1


@pytest.mark.parametrize("mode", ["STOP_ON_FAILURE", "ALLOW_FAILURE"])
def test_the_order_fails_after_the_cancel(client: Client, exchange: LocalExchange, order_id: int, mode: str) -> None:
    """The old order is canceled although the new one was refused: 409 and -2021."""
    answer = replace(client, mode, cancelOrderId=order_id, price="90000")
    assert answer.status == 409
    assert (answer.body["data"]["cancelResult"], answer.body["data"]["newOrderResult"]) == ("SUCCESS", "FAILURE")
    assert answer.body["data"]["newOrderResponse"] == WOULD_TAKE
    assert exchange.open_orders() == []


def test_both_halves_fail(client: Client) -> None:
    """Nothing happened: 400 and -2022 with both reasons."""
    answer = replace(client, "ALLOW_FAILURE", cancelOrigClientOrderId="nobody", price="90000")
    assert (answer.status, answer.body["code"]) == (400, -2022)
    assert (answer.body["data"]["cancelResponse"], answer.body["data"]["newOrderResponse"]) == (UNKNOWN, WOULD_TAKE)


def test_rules_come_before_the_cancel(client: Client, exchange: LocalExchange, order_id: int) -> None:
    """What a filter or a parameter refuses is refused as a whole, before anything is canceled."""
    for changes, refusal in (
        ({"price": "51000.001"}, (-1013, "Filter failure: PRICE_FILTER")),
        ({"type": "LIMIT"}, (-1102, "Mandatory parameter 'timeInForce' was not sent, was empty/null, or malformed.")),
    ):
        assert replace(client, "ALLOW_FAILURE", cancelOrderId=order_id, **changes).refusal == refusal
    assert replace(client, "ALLOW_FAILURE").refusal == (
        -1102,
        "Param 'cancelOrigClientOrderId' or 'cancelOrderId' must be sent, but both were empty/null!",
    )
    assert [row["orderId"] for row in exchange.open_orders()] == [order_id]


def test_cancel_restrictions_hold(client: Client, exchange: LocalExchange, order_id: int) -> None:
    """An order that does not fit the restrictions is not canceled."""
    answer = replace(client, "STOP_ON_FAILURE", cancelOrderId=order_id, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    says = "Order was not canceled due to cancel restrictions."
    assert answer.body["data"]["cancelResponse"] == {"code": -2011, "msg": says}
    assert [row["orderId"] for row in exchange.open_orders()] == [order_id]


def test_a_leg_takes_its_list_along(client: Client, exchange: LocalExchange) -> None:
    """Replacing one leg of a list cancels the whole list."""
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": "70000", "belowType": "STOP_LOSS", "belowStopPrice": "50000"}
    placed = exchange.place_list("oco", "BTCUSDT", side="SELL", quantity="1", **legs)
    answer = replace(client, "STOP_ON_FAILURE", cancelOrderId=placed["orders"][0]["orderId"])
    assert len(answer.body["cancelResponse"]["orderReports"]) == 2
    assert len(exchange.open_orders()) == 1


def test_an_exhausted_order_count() -> None:
    """Without room for the new order nothing is done, or only the cancel, if that was requested."""
    with LocalExchange(order_limits=(100, 1)) as exchange:

        def placed() -> int:
            order: dict[str, int] = exchange.place(
                "BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="50000"
            )
            return order["orderId"]

        order_id = placed()
        exchange._engine.account("main").order_count.placed(1, exchange._engine.now())
        with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
            answer = replace(client, "STOP_ON_FAILURE", cancelOrderId=order_id)
            assert (answer.status, answer.refusal[0]) == (429, -1015)
            assert len(exchange.open_orders()) == 1
            mode = {"orderRateLimitExceededMode": "CANCEL_ONLY"}
            unknown = {"cancelOrigClientOrderId": "nobody", **mode}
            # By the page's table: 429 if the first failure stops, else as without the limit.
            answer = replace(client, "STOP_ON_FAILURE", **unknown)
            assert (answer.status, answer.refusal[0], int(answer.headers["Retry-After"]) > 0) == (429, -2022, True)
            assert replace(client, "ALLOW_FAILURE", **unknown).status == 400
            stop = placed()
            answer = replace(client, "STOP_ON_FAILURE", cancelOrderId=order_id, **mode)
            assert (answer.status, answer.refusal[0], int(answer.headers["Retry-After"]) > 0) == (429, -2021, True)
            assert answer.body["data"]["newOrderResponse"]["code"] == -1015
            assert replace(client, "ALLOW_FAILURE", cancelOrderId=stop, **mode).status == 409
            assert exchange.open_orders() == []
