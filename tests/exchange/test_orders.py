"""Orders over HTTP: replies, trades and refusals."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import OPEN_ORDERS, ORDER, Client, now

from nbext.exchange import LocalExchange, Refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

FIXTURES = Path(__file__).parents[1] / "fixtures"
AMOUNT = re.compile(r"\d+\.\d{8}")
REPORT = list(json.loads((FIXTURES / "cancel_all_open_orders.json").read_text("utf-8"))[0])


def fixture(name: str) -> Any:
    """Load a documented body."""
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def same_form(ours: Mapping[str, Any], documented: Mapping[str, Any]) -> None:
    """Compare names, their order, and the types of values."""
    assert list(ours) == list(documented)
    for name, value in ours.items():
        assert type(value) is type(documented[name]), name
        if isinstance(value, str) and name.endswith(("Qty", "price", "Price", "qty", "free", "locked")):
            assert AMOUNT.fullmatch(value), name


def balance(client: Client, asset: str) -> list[Decimal]:
    """Return what is free and what is locked."""
    rows = client.signed("GET", "/api/v3/account").body["balances"]
    return next([Decimal(row["free"]), Decimal(row["locked"])] for row in rows if row["asset"] == asset)


def at(exchange: LocalExchange, share: str, symbol: str = "BTCUSDT") -> str:
    """Return a whole price this far from the last one."""
    return str((exchange.last_price(symbol) * (1 + Decimal(share))).quantize(Decimal(1)))


def test_acknowledgement_has_five_fields(client: Client) -> None:
    """ACK is the documented five fields."""
    answer = client.limit("BUY", 50000, newOrderRespType="ACK")
    same_form(answer.body, fixture("new_order_ack"))


def test_result_and_full_of_a_market_order(client: Client) -> None:
    """RESULT and FULL have the documented fields in the documented order; MARKET defaults to FULL."""
    order = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "0.5"}
    result = client.signed("POST", ORDER, headers=None, newOrderRespType="RESULT", **order).body
    same_form(result, fixture("new_order_result"))
    full = client.signed("POST", ORDER, headers=None, **order).body
    documented = fixture("new_order_full")
    same_form(full, documented)
    same_form(full["fills"][0], documented["fills"][0])
    assert (full["price"], full["timeInForce"], full["status"]) == ("0.00000000", "GTC", "FILLED")


def test_default_reply_is_full_for_limit_and_ack_for_others(client: Client, exchange: LocalExchange) -> None:
    """LIMIT answers FULL with empty fills; a stop answers ACK."""
    assert client.limit("BUY", 50000).body["fills"] == []
    stop = exchange.place("BTCUSDT", "SELL", "STOP_LOSS", quantity="0.1", stopPrice="50000")
    assert len(stop) == 5


def test_open_orders_have_the_documented_fields(client: Client) -> None:
    """A queried order carries stopPrice, icebergQty and origQuoteOrderQty whether used or not."""
    placed = client.limit("BUY", 50000).body
    rows = client.signed("GET", OPEN_ORDERS, symbol="BTCUSDT").body
    assert set(rows[0]) == set(fixture("open_orders")[0])
    same_form(client.query(placed["orderId"]), fixture("query_order"))
    assert rows == [client.query(placed["orderId"])]
    assert client.signed("GET", OPEN_ORDERS).body == rows


def test_cancel_report_of_a_plain_order(client: Client) -> None:
    """A canceled order is reported with sixteen fields, and the cancel id replaces its client id."""
    placed = client.limit("BUY", 50000, newClientOrderId="mine").body
    (row,) = client.cancel_all().body
    same_form(row, fixture("cancel_all_open_orders")[0])
    assert (row["origClientOrderId"], row["orderId"], row["status"]) == ("mine", placed["orderId"], "CANCELED")
    assert re.fullmatch("[A-Za-z0-9]{22}", row["clientOrderId"])
    assert client.query(placed["orderId"])["clientOrderId"] == row["clientOrderId"]
    by_old_id = client.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId="mine")
    assert by_old_id.body["orderId"] == placed["orderId"]


def test_conditional_fields_stand_at_their_places(client: Client, exchange: LocalExchange) -> None:
    """Iceberg, stop, trailing and strategy fields come after the side, only when they were sent."""
    place = exchange.place
    place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="50000", icebergQty="0.1")
    place("BTCUSDT", "SELL", "STOP_LOSS", quantity="1", trailingDelta=500, strategyId=7, strategyType=1_000_001)
    place("BTCUSDT", "SELL", "STOP_LOSS_LIMIT", timeInForce="GTC", quantity="1", price="50000", stopPrice="51000")
    extra = [list(row)[REPORT.index("side") + 1 : -1] for row in client.cancel_all().body]
    assert extra == [
        ["icebergQty"],
        ["stopPrice", "trailingDelta", "trailingTime", "strategyId", "strategyType"],
        ["stopPrice"],
    ]


def test_cancel_all_with_nothing_open(client: Client) -> None:
    """Nothing to cancel is a 400 with -2011, and costs its weight."""
    before = int(client.public("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"])
    answer = client.cancel_all()
    assert (answer.status, *answer.refusal) == (400, -2011, "Unknown order sent.")
    assert answer.headers["X-MBX-USED-WEIGHT"] == answer.headers["X-MBX-USED-WEIGHT-1M"]
    assert int(answer.headers["X-MBX-USED-WEIGHT"]) in {before + 1, 1}  # 1 if a minute of the clock has just begun


def test_cancel_all_is_free_shares_one_id_and_ascends(client: Client) -> None:
    """A successful cancel-all costs no weight; its rows ascend and share one cancel id."""
    for price in (50000, 49000, 51000):
        client.limit("BUY", price)
    before = client.public("/api/v3/ping").headers["X-MBX-USED-WEIGHT-1M"]
    answer = client.cancel_all()
    assert answer.headers["X-MBX-USED-WEIGHT-1M"] in {before, "0"}  # 0 if a minute of the clock has just begun
    ids = [row["orderId"] for row in answer.body]
    assert ids == sorted(ids)
    assert len({row["clientOrderId"] for row in answer.body}) == 1


def test_cancel_all_leaves_other_symbols_and_accounts_alone(client: Client, exchange: LocalExchange) -> None:
    """Only the account's orders on the symbol are canceled."""
    other = exchange.add_key(account="other")
    assert other.secret_key
    client.limit("BUY", 50000)
    exchange.place("ETHUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="2000")
    with Client(exchange.url, other.api_key, other.secret_key) as second:
        second.limit("BUY", 50000)
        client.cancel_all()
        assert len(second.signed("GET", OPEN_ORDERS).body) == 1
    assert [row["symbol"] for row in exchange.open_orders()] == ["ETHUSDT"]


def test_price_time_priority(exchange: LocalExchange) -> None:
    """The better price trades first, then the earlier order, at the maker's price."""
    last = exchange.last_price("BTCUSDT")
    tick = Decimal("0.01")
    ids = [
        exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price=str(price))["orderId"]
        for price in (last, last + tick, last)
    ]
    sold = exchange.place(
        "BTCUSDT", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.25", price=str(last)
    )
    assert [fill["price"] for fill in sold["fills"]] == [f"{price:.8f}" for price in (last + tick, last, last)]
    assert [row["orderId"] for row in exchange.open_orders("BTCUSDT")] == [ids[2]]
    assert exchange.open_orders("BTCUSDT")[0]["executedQty"] == "0.05000000"


def test_partial_fill_then_cancel(client: Client, exchange: LocalExchange) -> None:
    """A partly filled order is reported as CANCELED with what had traded, and the rest is free again."""
    free, _ = balance(client, "USDT")
    placed = client.limit("BUY", at(exchange, "-0.01"), "1.0").body
    price = placed["price"]
    exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.4", price=price)
    assert client.query(placed["orderId"])["status"] == "PARTIALLY_FILLED"
    assert balance(client, "USDT") == [free - Decimal(price), Decimal(price) * Decimal("0.6")]
    (row,) = client.cancel_all().body
    assert (row["status"], row["executedQty"]) == ("CANCELED", "0.40000000")
    assert Decimal(row["cummulativeQuoteQty"]) == Decimal(price) * Decimal("0.4")
    assert balance(client, "USDT") == [free - Decimal(price) * Decimal("0.4"), 0]
    states = [event["status"] for event in exchange.history(placed["orderId"], "BTCUSDT")]
    assert states == ["NEW", "PARTIALLY_FILLED", "CANCELED"]


def test_a_better_price_leaves_the_difference_free(client: Client, exchange: LocalExchange) -> None:
    """A BUY above the market pays the market's price."""
    free, _ = balance(client, "USDT")
    body = client.limit("BUY", at(exchange, "0.1"), "0.1").body
    assert body["status"] == "FILLED"
    assert balance(client, "USDT") == [free - Decimal(body["cummulativeQuoteQty"]), 0]


def test_iceberg_shows_a_part_and_queues_again(client: Client, exchange: LocalExchange) -> None:
    """The book shows the iceberg's visible part; refilled, it trades after orders that came in between."""
    last = str(exchange.last_price("BTCUSDT"))
    iceberg = client.limit("BUY", last, "1", icebergQty="0.2").body["orderId"]
    plain = client.limit("BUY", last, "0.3").body["orderId"]
    best = client.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT").body
    assert best["bidQty"] == "0.50000000"
    exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.4", price=last)
    assert client.query(iceberg)["executedQty"] == "0.20000000"
    assert client.query(plain)["executedQty"] == "0.20000000"
    exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.9", price=last)
    assert client.query(iceberg)["status"] == client.query(plain)["status"] == "FILLED"


def test_immediate_or_cancel_expires_the_rest(client: Client) -> None:
    """IOC trades what it can; the rest is EXPIRED with its reason."""
    ask = client.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT").body
    body = client.limit("BUY", ask["askPrice"], "5", timeInForce="IOC").body
    assert (body["status"], body["executedQty"]) == ("EXPIRED", ask["askQty"])
    assert body["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"
    assert client.query(body["orderId"])["expiryReason"] == "UNFILLED_IOC_QUANTITY_EXPIRED"


def test_fill_or_kill_is_all_or_nothing(client: Client) -> None:
    """FOK expires without a fill when the book is too thin, and fills at once otherwise."""
    ask = client.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT").body
    killed = client.limit("BUY", ask["askPrice"], "5", timeInForce="FOK").body
    assert (killed["status"], killed["executedQty"]) == ("EXPIRED", "0.00000000")
    assert killed["expiryReason"] == "UNFILLED_FOK_ORDER_EXPIRED"
    assert client.limit("BUY", ask["askPrice"], "0.1", timeInForce="FOK").body["status"] == "FILLED"


def test_a_maker_never_takes(client: Client) -> None:
    """A LIMIT_MAKER that would trade is refused."""
    ask = client.public("/api/v3/ticker/bookTicker", symbol="BTCUSDT").body["askPrice"]
    answer = client.signed("POST", ORDER, symbol="BTCUSDT", side="BUY", type="LIMIT_MAKER", quantity="0.1", price=ask)
    assert (answer.status, *answer.refusal) == (400, -2010, "Order would immediately match and take.")


def test_market_by_quote_amount(client: Client) -> None:
    """A reverse market order buys what the amount pays for, in whole lots."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", "quoteOrderQty": "5000"}
    body = client.signed("POST", ORDER, headers=None, **order).body
    assert (body["status"], body["origQuoteOrderQty"]) == ("FILLED", "5000.00000000")
    assert 4999 < Decimal(body["cummulativeQuoteQty"]) <= 5000
    assert Decimal(body["origQty"]) % Decimal("0.00001") == 0


@pytest.mark.parametrize("size", [{"quantity": "2000"}, {"quoteOrderQty": "100000000"}])
def test_market_order_on_a_book_that_runs_dry(client: Client, size: dict[str, str]) -> None:
    """What the book cannot fill is EXPIRED for lack of liquidity; the next order finds an empty book."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "MARKET", **size}
    body = client.signed("POST", ORDER, headers=None, **order).body
    assert (body["status"], body["expiryReason"]) == ("EXPIRED", "INSUFFICIENT_LIQUIDITY")
    assert Decimal(body["executedQty"]) > 0
    again = client.signed("POST", ORDER, headers=None, **order)
    assert again.refusal == (-2010, "Order book liquidity is less than symbol minimum quantity.")
    assert balance(client, "USDT")[1] == 0


@pytest.mark.parametrize(
    ("order", "code", "text"),
    [
        ({"type": "LIMIT", "price": "1", "quantity": "1"}, -1102, "Mandatory parameter 'timeInForce' was not sent"),
        ({"type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}, -1102, "Mandatory parameter 'price'"),
        ({"type": "LIMIT", "timeInForce": "GTC", "price": "1"}, -1102, "Mandatory parameter 'quantity'"),
        ({"type": "MARKET"}, -1102, "Param 'quantity' or 'quoteOrderQty' must be sent, but both were empty/null!"),
        ({"type": "MARKET", "quantity": "1", "quoteOrderQty": "1"}, -1128, "Combination of optional parameters"),
        ({"type": "MARKET", "quantity": "1", "price": "1"}, -1106, "Parameter 'price' sent when not required."),
        ({"type": "STOP_LOSS", "quantity": "1"}, -1102, "Param 'stopPrice' or 'trailingDelta' must be sent"),
        ({"type": "STOP_LOSS", "quantity": "1", "stopPrice": "70000"}, -2010, "Order would trigger immediately."),
        ({"type": "STOP_LOSS", "quantity": "1", "trailingDelta": "5"}, -1013, "Filter failure: TRAILING_DELTA"),
        ({"price": "50000.001"}, -1013, "Filter failure: PRICE_FILTER"),
        ({"price": "50000.000000001"}, -1111, "Parameter 'price' has too much precision."),
        ({"price": "5000"}, -1013, "Filter failure: PERCENT_PRICE_BY_SIDE"),
        ({"quantity": "0.000001"}, -1013, "Filter failure: LOT_SIZE"),
        ({"quantity": "0.00001"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "0"}, -1013, "Price * QTY is zero or less."),
        ({"quantity": "9000", "price": "599000", "side": "BUY"}, -1013, "Filter failure: NOTIONAL"),
        ({"quantity": "1", "icebergQty": "0.001"}, -1013, "Filter failure: ICEBERG_PARTS"),
        ({"quantity": "1", "icebergQty": "1"}, -1013, "IcebergQty exceeds QTY."),
        ({"quantity": "1", "icebergQty": "0.5", "timeInForce": "IOC"}, -1014, "Unsupported order combination."),
        ({"quantity": "9999.99999", "side": "SELL", "price": "90000"}, 0, ""),
        ({"quantity": "10000", "side": "SELL", "price": "90000", "newClientOrderId": "x"}, 0, ""),
        ({"symbol": "NOSUCH"}, -1121, "Invalid symbol."),
        ({"strategyType": "999999"}, -1134, "strategyType was less than 1000000."),
        ({"selfTradePreventionMode": "TRANSFER"}, -1013, "This symbol does not allow the specified self-trade"),
        ({"pegPriceType": "BEST_PEG"}, -1210, "Invalid pegPriceType."),
    ],
)
def test_refused_placements(client: Client, order: dict[str, str], code: int, text: str) -> None:
    """Each fault of a placement has its documented code and text."""
    base = {"symbol": "BTCUSDT", "side": "SELL" if "stop" in str(order).lower() else "BUY"}
    plain = {"type": "LIMIT", "timeInForce": "GTC", "price": "50000", "quantity": "0.1"}
    answer = client.signed("POST", ORDER, headers=None, **(base | ({} if "type" in order else plain) | order))
    if not code:
        assert answer.status == 200
        return
    assert answer.status == 400
    assert answer.refusal[0] == code
    assert answer.refusal[1].startswith(text)
    assert "X-MBX-ORDER-COUNT-10S" not in answer.headers


def test_funds_are_needed_and_locked(client: Client, exchange: LocalExchange) -> None:
    """An order locks what it may cost; one that costs more than what is free is refused."""
    client.limit("SELL", at(exchange, "0.1"), "9999")
    assert balance(client, "BTC") == [1, 9999]
    answer = client.limit("SELL", at(exchange, "0.1"), "1.00001")
    assert answer.refusal == (-2010, "Account has insufficient balance for requested action.")
    market = {"symbol": "BTCUSDT", "side": "SELL", "type": "MARKET", "quantity": "1.00001"}
    assert client.signed("POST", ORDER, headers=None, **market).refusal[0] == -2010
    client.cancel_all()
    assert balance(client, "BTC") == [10_000, 0]


def test_client_ids_are_unique_among_open_orders(client: Client) -> None:
    """A client id is refused while an open order uses it, and free again after."""
    client.limit("BUY", 50000, newClientOrderId="mine")
    assert client.limit("BUY", 50001, newClientOrderId="mine").refusal == (-2010, "Duplicate order sent.")
    client.cancel_all()
    assert client.limit("BUY", 50000, newClientOrderId="mine").status == 200


def test_count_filters(client: Client) -> None:
    """The 201st order of a symbol is refused, and so is the 101st stop."""
    with LocalExchange(max_num_orders=4) as small, Client(small.url, small.api_key, small.secret_key) as other:
        stop = {"type": "STOP_LOSS", "stopPrice": "50000", "quantity": "0.1"}
        for _ in range(2):
            assert other.signed("POST", ORDER, headers=None, symbol="BTCUSDT", side="SELL", **stop).status == 200
        answer = other.signed("POST", ORDER, headers=None, symbol="BTCUSDT", side="SELL", **stop)
        assert answer.refusal == (-2010, "Filter failure: MAX_NUM_ALGO_ORDERS")
        other.limit("BUY", 50000)
        other.limit("BUY", 50000)
        assert other.limit("BUY", 50000).refusal == (-2010, "Filter failure: MAX_NUM_ORDERS")
    filters = client.public("/api/v3/exchangeInfo", symbol="BTCUSDT").body["symbols"][0]["filters"]
    assert {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": 200} in filters
    assert {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": 20} in filters


def test_order_test_checks_everything_and_places_nothing(client: Client, exchange: LocalExchange) -> None:
    """`order/test` answers an empty object, rates on request, and refuses as a placement would."""
    order = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "1"}
    assert client.signed("POST", f"{ORDER}/test", headers=None, price="50000", **order).body == {}
    rates = client.signed("POST", f"{ORDER}/test", headers=None, price="50000", computeCommissionRates="true", **order)
    documented = fixture("test_order_commission_rates")
    assert {name: list(value) for name, value in rates.body.items()} == {
        name: list(value) for name, value in documented.items()
    }
    account = exchange._engine.account("main")
    account.maker_rate, account.taker_rate, account.buyer_rate = (
        Decimal("0.0000004"),
        Decimal("0.0000005"),
        Decimal("0.0000001"),
    )
    rates = client.signed("POST", f"{ORDER}/test", headers=None, price="50000", computeCommissionRates="true", **order)
    # The example of faqs/commission_faq.md: what a buyer pays is part of both.
    assert rates.body["standardCommissionForOrder"] == {"maker": "0.00000050", "taker": "0.00000060"}
    account.maker_rate = account.taker_rate = account.buyer_rate = Decimal(0)
    client.limit("SELL", 70000, "9999.5")
    poor = client.signed("POST", f"{ORDER}/test", headers=None, price="70000", **(order | {"side": "SELL"}))
    assert poor.refusal == (-2010, "Account has insufficient balance for requested action.")
    client.cancel_all()
    bad = client.signed("POST", f"{ORDER}/test", headers=None, price="50000.001", **order)
    assert bad.refusal == (-1013, "Filter failure: PRICE_FILTER")
    assert exchange.open_orders() == []


def test_single_cancel(client: Client, exchange: LocalExchange) -> None:
    """A single cancel takes either id, its own cancel id, and restrictions."""
    first = client.limit("BUY", 50000, newClientOrderId="one").body["orderId"]
    client.limit("BUY", 50000, newClientOrderId="two")

    def cancel(**params: object) -> tuple[int, str]:
        return client.signed("DELETE", ORDER, headers=None, symbol="BTCUSDT", **params).refusal

    assert cancel() == (-1102, "Param 'origClientOrderId' or 'orderId' must be sent, but both were empty/null!")
    assert cancel(orderId=first, origClientOrderId="two") == (-2011, "Unknown order sent.")
    assert cancel(orderId=first, cancelRestrictions="NEVER") == (-1145, "Invalid cancelRestrictions")
    restricted = cancel(orderId=first, cancelRestrictions="ONLY_PARTIALLY_FILLED")
    assert restricted == (-2011, "Order was not canceled due to cancel restrictions.")
    row = client.signed("DELETE", ORDER, symbol="BTCUSDT", orderId=first, newClientOrderId="bye").body
    same_form(row, fixture("cancel_order"))
    assert (row["origClientOrderId"], row["clientOrderId"]) == ("one", "bye")
    assert cancel(orderId=first) == (-2011, "Unknown order sent.")
    assert client.signed("DELETE", ORDER, symbol="BTCUSDT", origClientOrderId="two").status == 200
    assert exchange.open_orders() == []


def test_queries_that_find_nothing(client: Client) -> None:
    """An unknown order is -2013, ids that do not belong together are -2039."""
    first = client.limit("BUY", 50000, newClientOrderId="one").body["orderId"]
    assert client.signed("GET", ORDER, symbol="BTCUSDT", orderId=1).refusal == (-2013, "Order does not exist.")
    mixed = client.signed("GET", ORDER, symbol="BTCUSDT", orderId=first, origClientOrderId="x")
    assert mixed.refusal == (-2039, "Client order ID is not correct for this order ID.")
    assert client.signed("GET", ORDER, symbol="BTCUSDT").refusal[0] == -1102
    assert client.signed("GET", ORDER, symbol="NOSUCH", orderId=1).refusal == (-1121, "Invalid symbol.")


def test_all_orders_and_spans(client: Client) -> None:
    """`allOrders` pages by id, by limit and by time; a span over a day is refused."""
    start = now()
    ids = [client.limit("BUY", 50000 + step).body["orderId"] for step in range(4)]
    client.cancel_all()

    def rows(**params: object) -> Any:
        return client.signed("GET", "/api/v3/allOrders", headers=None, symbol="BTCUSDT", **params).body

    assert [row["orderId"] for row in rows()] == ids
    assert [row["orderId"] for row in rows(limit=2)] == ids[2:]
    assert [row["orderId"] for row in rows(orderId=ids[1], limit=2)] == ids[1:3]
    assert [row["orderId"] for row in rows(startTime=start, endTime=now())] == ids
    assert [row["orderId"] for row in rows(startTime=start * 1000, limit=1)] == ids[:1]
    assert rows(endTime=start - 1) == []
    assert rows(startTime=start, endTime=start + 86_400_001)["code"] == -1127
    assert rows(limit=1001)["msg"] == "'limit' contains unexpected value. Cannot be greater than 1000."


def test_trades_and_account(client: Client, exchange: LocalExchange) -> None:
    """Trades and account have the documented fields; `myTrades` takes only the allowed sets."""
    exchange.place("BTCUSDT", "BUY", "MARKET", quantity="0.1")
    exchange.place("BTCUSDT", "SELL", "MARKET", quantity="0.1")
    trades = client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT").body
    same_form(trades[0], fixture("my_trades")[0])
    assert [row["isBuyer"] for row in trades] == [True, False]
    only = client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=trades[1]["orderId"]).body
    assert only == trades[1:]
    assert client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", fromId=trades[1]["id"]).body == trades[1:]
    bad = client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT", orderId=1, startTime=1)
    assert bad.refusal == (-1128, "Combination of optional parameters invalid.")
    account = client.signed("GET", "/api/v3/account", omitZeroBalances="true").body
    same_form(account, fixture("account"))
    same_form(account["balances"][0], fixture("account")["balances"][0])


def test_order_counts_come_with_placements(client: Client) -> None:
    """Accepted placements carry the unfilled order counts, and the limit answers 429."""
    answer = client.limit("BUY", 50000)
    assert answer.headers["X-MBX-ORDER-COUNT-1D"] == "1"
    counts = client.signed("GET", "/api/v3/rateLimit/order").body
    assert [list(row) for row in counts] == [list(row) for row in fixture("rate_limit_order")]
    with LocalExchange(order_limits=(10, 1)) as small, Client(small.url, small.api_key, small.secret_key) as other:
        assert other.limit("BUY", 50000).status == 200
        over = other.limit("BUY", 50000)
        assert (over.status, *over.refusal) == (429, -1015, "Too many new orders; current limit is 1 orders per 1 DAY.")
        assert int(over.headers["Retry-After"]) >= 1


def test_non_ascii_symbol(client: Client) -> None:
    """A fullwidth symbol is placed, listed and canceled under its own name."""
    symbol = "\uff11\uff12\uff13\uff14\uff15\uff16"
    assert client.limit("BUY", "0.1", "100", symbol=symbol).status == 200
    (row,) = client.cancel_all(symbol).body
    assert row["symbol"] == symbol
    assert client.public("/api/v3/ticker/price", symbol=symbol).body["symbol"] == symbol


def test_an_amendment_shrinks_an_order_in_its_place(client: Client, exchange: LocalExchange) -> None:
    """An amended order keeps id and place, gets a new client id and locks less; an OCO's orders shrink together."""
    first = client.limit("BUY", "50000", "0.3", newClientOrderId="mine").body["orderId"]
    second = client.limit("BUY", "50000", "0.3").body["orderId"]
    assert exchange.amend("BTCUSDT", first, "0.2", client_order_id="mine") == "mine"
    renamed = exchange.amend("BTCUSDT", first, 0.1)
    balance = exchange._engine.account("main").balances["USDT"]
    assert balance.locked == 50_000 * (Decimal("0.1") + Decimal("0.3"))
    assert client.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId="mine").refusal[0] == -2013
    assert client.signed("GET", ORDER, symbol="BTCUSDT", origClientOrderId=renamed).body["origQty"] == "0.10000000"
    assert [event["cause"] for event in exchange.history(first, "BTCUSDT")] == ["place", "amend", "amend"]
    exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="0.2", price="50000")
    assert [client.query(each)["executedQty"] for each in (first, second)] == ["0.10000000", "0.10000000"]
    exchange.set_price("BTCUSDT", 60_000)
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": "70000", "belowType": "STOP_LOSS", "belowStopPrice": "50000"}
    pair = [
        leg["orderId"] for leg in exchange.place_list("oco", "BTCUSDT", side="SELL", quantity="1", **legs)["orders"]
    ]
    exchange.amend("BTCUSDT", pair[0], "0.4")
    assert [client.query(each)["origQty"] for each in pair] == ["0.40000000"] * 2
    assert exchange._engine.account("main").balances["BTC"].locked == Decimal("0.4")
    for quantity, says in (("0.4", "change no state"), ("0.5", "quantity increase"), ("0.000001", "LOT_SIZE")):
        with pytest.raises(Refusal, match=says):
            exchange.amend("BTCUSDT", pair[0], quantity)
    with pytest.raises(Refusal, match="-2038: Unknown order sent"):
        exchange.amend("BTCUSDT", first, "0.01")
