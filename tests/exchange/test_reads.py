"""What queries show in each dialect of reads, and what the exchange itself knows meanwhile."""

from __future__ import annotations

import re
import time
from contextlib import contextmanager
from dataclasses import fields
from email.utils import parsedate_to_datetime
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import OPEN_ORDERS, ORDER, Client, now

from nbext.exchange import Dialect, LocalExchange

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from support.exchange_client import Answer

ALL_ORDERS = "/api/v3/allOrders"
HOUR = 3_600_000


@pytest.fixture(scope="module")
def kept() -> Iterator[LocalExchange]:
    """Serve an exchange that keeps its past."""
    with LocalExchange(keeps_past=True) as exchange:
        yield exchange


class Punctual(Client):
    """Stamps its requests with the exchange's own time, which these tests move."""

    def signed(
        self, method: str, path: str, /, *, headers: Mapping[str, str] | None = None, **params: object
    ) -> Answer:
        """Send a request with a stamp that the exchange finds right."""
        stamp = self.public("/api/v3/time").body["serverTime"]
        return super().signed(method, path, headers=headers, **{"timestamp": stamp, **params})


@contextmanager
def speaking(exchange: LocalExchange, **settings: Any) -> Iterator[Client]:
    """Start an exchange with a dialect, and a client of it."""
    exchange.reset(dialect=Dialect(**settings))
    with Punctual(exchange.url, exchange.api_key, exchange.secret_key) as client:
        yield client


def place(client: Client, price: int = 50_000, **more: object) -> int:
    """Place an order and return its id."""
    return int(client.limit("BUY", price, **more).body["orderId"])


def shown(client: Client) -> list[int]:
    """Return the ids of the orders that the exchange shows as open."""
    return [row["orderId"] for row in client.signed("GET", OPEN_ORDERS, symbol="BTCUSDT").body]


def ask(client: Client, path: str, **params: object) -> Any:
    """Query something on BTCUSDT."""
    return client.signed("GET", path, headers=None, symbol="BTCUSDT", **params).body


def ids(rows: list[dict[str, Any]]) -> list[int]:
    """Return the ids of orders."""
    return [row["orderId"] for row in rows]


# Sources that are behind.


def test_a_fresh_memory_over_an_old_database(exchange: LocalExchange) -> None:
    """What is open is shown at once; what has just ended is not in memory, and the database still calls it open."""
    with speaking(exchange, lag_database=30) as client:
        first = place(client)
        exchange.advance(31)
        second = place(client)
        assert shown(client) == [first, second]
        assert client.query(second)["status"] == "NEW"
        assert ids(ask(client, ALL_ORDERS)) == [first]
        assert client.cancel_all().status == 200
        assert shown(client) == []
        assert client.query(first)["status"] == "NEW"
        assert client.query(second)["code"] == -2013
        assert [row["status"] for row in ask(client, ALL_ORDERS)] == ["NEW"]
        exchange.advance(31)
        assert client.query(first)["status"] == client.query(second)["status"] == "CANCELED"


def test_an_empty_memory_asks_the_database(exchange: LocalExchange) -> None:
    """After a full cancel-all, the most delayed source lists what it has just ended."""
    with speaking(exchange, lag_database=30, empty_memory="database") as client:
        first = place(client)
        exchange.advance(31)
        assert client.cancel_all().status == 200
        assert shown(client) == [first]
        second = place(client, 40_000)
        assert shown(client) == [second]


def test_a_memory_that_is_behind(exchange: LocalExchange) -> None:
    """Memory may be the slower one: it shows as open what the database knows has ended, and misses what is new."""
    with speaking(exchange, lag_memory=30) as client:
        first = place(client)
        assert shown(client) == []
        assert client.query(first)["status"] == "NEW"
        exchange.advance(31)
        client.cancel_all()
        assert shown(client) == [first]
        assert client.query(first)["status"] == "NEW"
        assert ask(client, ALL_ORDERS)[0]["status"] == "CANCELED"


def test_replicas_go_back_in_time(exchange: LocalExchange) -> None:
    """One read does not show an order, and the next one does."""
    with speaking(exchange, replicas=30) as client:
        placed = place(client)
        exchange.advance(31)
        client.cancel_all()
        reads = [bool(shown(client)) for _ in range(40)]
        assert reads != sorted(reads, reverse=True)
        exchange.advance(31)
        assert {client.query(placed)["status"] for _ in range(20)} == {"CANCELED"}


@pytest.mark.parametrize("age", [0, 31])
def test_torn_reads(exchange: LocalExchange, age: float) -> None:
    """The status is final, the quantity older; the cancel's own report has the correct one."""
    with speaking(exchange, torn_read=30) as client:
        placed = place(client, quantity=1)
        exchange.advance(age)
        exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", quantity="0.4", price="50000", timeInForce="IOC")
        assert client.query(placed)["executedQty"] == "0.40000000"
        report = client.cancel_all().body[0]
        assert (report["status"], report["executedQty"]) == ("CANCELED", "0.40000000")
        torn = client.query(placed)
        assert (torn["status"], torn["executedQty"], torn["cummulativeQuoteQty"]) == ("CANCELED", *["0.00000000"] * 2)
        exchange.advance(31)
        assert client.query(placed)["executedQty"] == "0.40000000"


def test_lists_that_are_behind(exchange: LocalExchange) -> None:
    """A list and its legs are shown as of the same moment."""
    with speaking(exchange, lag_database=30, list_order_ids="cancel_id") as client:
        oco: dict[str, Any] = {"aboveType": "LIMIT_MAKER", "abovePrice": 70000, "belowType": "STOP_LOSS"}
        placed = exchange.place_list("oco", "BTCUSDT", side="SELL", quantity="0.1", belowStopPrice=40000, **oco)
        exchange.advance(31)
        client.cancel_all()

        def read() -> Any:
            return client.signed("GET", "/api/v3/orderList", orderListId=placed["orderListId"]).body

        shown_before = read()
        assert (shown_before["listStatusType"], shown_before["orders"]) == ("EXEC_STARTED", placed["orders"])
        exchange.advance(31)
        assert read()["listStatusType"] == "ALL_DONE"
        assert {leg["clientOrderId"] for leg in read()["orders"]} == {exchange.orders()[0]["clientOrderId"]}


def test_trades_that_are_behind(exchange: LocalExchange) -> None:
    """For an order filled step by step, the trades up to that moment are shown."""
    with speaking(exchange, lag_memory=30) as client:
        placed = place(client, quantity=1)
        for _ in range(3):
            exchange.place(
                "BTCUSDT", "SELL", "LIMIT", account="market", quantity="0.1", price="50000", timeInForce="IOC"
            )
            exchange.advance(20)
        trades = client.signed("GET", "/api/v3/myTrades", symbol="BTCUSDT").body
        assert [trade["orderId"] for trade in trades] == [placed] * 2
        assert client.query(placed)["executedQty"] == "0.20000000"


def test_live_orders_are_forgotten_for_a_while(exchange: LocalExchange) -> None:
    """Once an even id is first queried, queries and cancels do not know it, while the order is open."""
    with speaking(exchange, forgetting=30) as client:
        orders = [place(client, 50_000), place(client, 49_000)]
        even, odd = sorted(orders, key=lambda order_id: order_id % 2)
        assert sorted(shown(client)) == sorted(orders)
        refused = client.signed("DELETE", ORDER, symbol="BTCUSDT", orderId=even)
        assert (refused.status, refused.refusal) == (400, (-2011, "Unknown order sent."))
        assert client.query(even)["code"] == -2013
        assert shown(client) == [odd]
        assert client.query(odd)["status"] == "NEW"
        assert ids(exchange.open_orders()) == orders
        exchange.advance(31)
        assert client.query(even)["status"] == "NEW"
        assert client.signed("DELETE", ORDER, symbol="BTCUSDT", orderId=even).status == 200


# Looking for what has ended.


@pytest.mark.parametrize("by", ["update", "creation"])
def test_spans_go_by_update_or_by_creation(exchange: LocalExchange, by: str) -> None:
    """An old order that has just been canceled is found by its end, or is not."""
    with speaking(exchange, all_orders_time=by) as client:
        old = place(client)
        exchange.advance(7_200)
        client.cancel_all()
        since = client.query(old)["updateTime"] - HOUR
        assert ids(ask(client, ALL_ORDERS, startTime=since)) == ([old] if by == "update" else [])


@pytest.mark.parametrize("by", ["order_id", "update_time"])
def test_what_a_limit_keeps(exchange: LocalExchange, by: str) -> None:
    """Rows are sorted by id or by their last change, before the limit cuts."""
    with speaking(exchange, all_orders_sort=by) as client:
        first, second = place(client, 50_000), place(client, 49_000)
        client.signed("DELETE", ORDER, symbol="BTCUSDT", orderId=first)
        assert ids(ask(client, ALL_ORDERS, limit=1)) == [second if by == "order_id" else first]


@pytest.mark.parametrize(("span", "found"), [("unlimited", 1), ("day", 0), ("refused", None)])
def test_how_far_a_start_alone_reaches(exchange: LocalExchange, span: str, found: int | None) -> None:
    """Everything since, a day, or a refusal."""
    with speaking(exchange, start_only_span=span) as client:
        since = now()
        exchange.advance(100_000)
        place(client)
        answer = client.signed("GET", ALL_ORDERS, symbol="BTCUSDT", startTime=since)
        assert (answer.refusal[0] == -1127) if found is None else (len(answer.body) == found)


@pytest.mark.parametrize("seconds", [3, -3])
def test_an_engine_with_a_clock_of_its_own(exchange: LocalExchange, seconds: float) -> None:
    """What the engine stamps is off; ``/time`` and the check of timestamps are not."""
    with speaking(exchange, engine_clock=seconds) as client:
        placed = client.limit("BUY", 50_000).body
        canceled = client.cancel_all().body[0]
        read = client.query(placed["orderId"])
        for stamp in (placed["transactTime"], canceled["transactTime"], read["updateTime"]):
            assert abs(stamp - now() - seconds * 1000) < 1_000
        assert abs(client.public("/api/v3/time").body["serverTime"] - now()) < 1_000
        (truth,) = exchange.orders("BTCUSDT")
        assert [abs(event["at"] - time.time()) < 1 for event in truth["history"]] == [True, True]  # type: ignore[attr-defined]


def test_reading_with_a_key_that_may_trade(exchange: LocalExchange) -> None:
    """Where such a key may not read, its cancels still go through, and another key reads."""
    with speaking(exchange, key_reads="refused") as client:
        place(client)
        for path in (OPEN_ORDERS, ORDER, ALL_ORDERS):
            more = {"orderId": 1} if path == ORDER else {}
            answer = client.signed("GET", path, headers=None, symbol="BTCUSDT", **more)
            assert (answer.status, answer.refusal[0]) == (401, -2015)
        assert client.cancel_all().status == 200
        key = exchange.add_key(trade=False)
        with Client(exchange.url, key.api_key, key.secret_key or "") as reader:
            assert reader.signed("GET", OPEN_ORDERS).status == 200


# Rate limits.


@pytest.mark.parametrize(
    ("refund", "seen", "at_the_limit"),
    [("before_answer", [0, 0], 429), ("after_answer", [1, 1], 429), ("never_counted", [0, 0], 200)],
)
def test_when_weight_is_taken_back(refund: str, seen: list[int], at_the_limit: int) -> None:
    """Before the header is written or after it; or it is not even checked."""
    exchange = LocalExchange(weight_limit=20, patience=9, dialect=Dialect(weight_refund=refund))
    with exchange, Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
        answers = [client.limit("BUY", 50_000), client.cancel_all()]
        assert [int(answer.headers["X-MBX-USED-WEIGHT-1M"]) for answer in answers] == seen
        client.limit("BUY", 50_000)
        client.public("/api/v3/exchangeInfo")
        assert client.cancel_all().status == at_the_limit


@pytest.mark.parametrize(("order", "statuses"), [("limit_first", [429, 429, 418]), ("ban_at_once", [418, 418, 418])])
def test_whether_a_ban_is_announced(order: str, statuses: list[int]) -> None:
    """429 comes first, or there is no warning."""
    exchange = LocalExchange(raw_request_limit=1, patience=2, dialect=Dialect(limit_order=order))
    with exchange, Client(exchange.url, exchange.api_key) as client:
        client.public("/api/v3/ping")
        assert [client.public("/api/v3/ping").status for _ in statuses] == statuses


FORMS = {
    "seconds": "7",
    "zero": "0",
    "fraction": "6.5",
    "missing": None,
    "negative": "-7",
    "absurd": "10000000000",
    "words": "soon",
}


@pytest.mark.parametrize("form", [*FORMS, "date"])
def test_every_form_of_retry_after(exchange: LocalExchange, form: str) -> None:
    """What the exchange itself or a fault gives in seconds comes in this form; what a fault gives as text stays."""
    with speaking(exchange, retry_after=form) as client:
        exchange.faults.on("GET", "ping").limit(retry_after=7)
        exchange.faults.on("GET", "ping").limit(retry_after="in a while")
        said, text = (client.public("/api/v3/ping").headers["Retry-After"] for _ in range(2))
        assert text == "in a while"
        if form == "date":
            assert abs(parsedate_to_datetime(said).timestamp() - time.time() - 7) < 2
        else:
            assert said == FORMS[form]


@pytest.mark.parametrize("status", [418, 429])
@pytest.mark.parametrize("end", ["header_and_text", "header", "text"])
def test_where_a_ban_says_when_it_ends(end: str, status: int) -> None:
    """In the header, in the text, or in both, under 418 or under 429."""
    dialect = Dialect(ban_end=end, ban_status=status, limit_order="ban_at_once")
    with (
        LocalExchange(raw_request_limit=1, dialect=dialect) as exchange,
        Client(exchange.url, exchange.api_key) as client,
    ):
        client.public("/api/v3/ping")
        answer = client.public("/api/v3/ping")
        assert (answer.status, answer.refusal[0]) == (status, -1003)
        assert (answer.headers["Retry-After"] == "120") == (end != "text")
        until = re.search(r"until (\d+)", answer.refusal[1])
        assert (until is not None) == (end != "header")
        assert "banned" in answer.refusal[1]


# What the exchange itself knows.


@pytest.mark.parametrize("skew", [0, 50])
def test_the_record_of_every_order(skew: float) -> None:
    """Every order as it is and as it was, in one spelling, whatever queries show and whatever the clocks say."""
    with LocalExchange(keeps_past=True, dialect=Dialect(lag_memory=60, lag_database=60)) as exchange:
        exchange.faults.skew = skew
        moments = []
        with Punctual(exchange.url, exchange.api_key, exchange.secret_key) as client:

            def then() -> None:
                moments.append(time.time())
                time.sleep(0.002)

            then()
            placed = place(client, 50_000, quantity=1, newClientOrderId="mine")
            then()
            exchange.place(
                "BTCUSDT", "SELL", "LIMIT", account="market", quantity="0.4", price="50000", timeInForce="IOC"
            )
            then()
            oco: dict[str, Any] = {"aboveType": "LIMIT_MAKER", "abovePrice": 70000, "belowType": "STOP_LOSS"}
            exchange.place_list("oco", "BTCUSDT", side="SELL", quantity="0.1", belowStopPrice=40000, **oco)
            report = client.signed("DELETE", OPEN_ORDERS, symbol="BTCUSDT").body[0]
        before, new, filled = (exchange.orders("BTCUSDT", at=moment) for moment in moments)
        assert before == []
        assert exchange.orders(at=moments[-1]) == filled
        told = [
            [rows[0][name] for name in ("status", "executedQty", "cummulativeQuoteQty", "clientOrderId")]
            for rows in (new, filled, exchange.orders())
        ]
        assert told == [
            ["NEW", "0.00000000", "0.00000000", None],
            ["PARTIALLY_FILLED", "0.40000000", "20000.00000000", None],
            ["CANCELED", "0.40000000", "20000.00000000", report["clientOrderId"]],
        ]
        order, *legs = exchange.orders()
        assert report.pop("transactTime") == order["updateTime"]
        assert {name: order[name] for name in report} == report
        assert (order["orderId"], order["origClientOrderId"]) == (placed, "mine")
        history: Any = order["history"]
        assert [event["status"] for event in history] == ["NEW", "PARTIALLY_FILLED", "CANCELED"]
        assert [len(rows[0]["history"]) for rows in (new, filled)] == [1, 2]  # type: ignore[arg-type]
        held: Any = [leg["list"] for leg in legs]
        assert held[0] == held[1]
        assert (held[0]["isDone"], held[0]["orderIds"]) == (True, [leg["orderId"] for leg in legs])


def random_dialect(chance: Random) -> Dialect:
    """Return a dialect with about every third choice made differently, and a hundredth of its waits."""
    settings: dict[str, Any] = {}
    for field in fields(Dialect):
        if chance.random() < 0.3:
            value = chance.choice(field.metadata["values"])
            settings[field.name] = value / 100 if "seconds" in field.metadata else value
    return Dialect(**settings)


def act(exchange: LocalExchange, client: Client, chance: Random) -> None:
    """Do something that may change orders, or ask for some; what is refused is refused."""
    oco = {"aboveType": "LIMIT_MAKER", "abovePrice": 90_000, "belowType": "STOP_LOSS", "belowTrailingDelta": 100}
    working = {"Type": "LIMIT", "Side": "BUY", "TimeInForce": "GTC", "Price": 59_000, "Quantity": "0.1"}
    begins = {f"working{name}": value for name, value in working.items()} | {"pendingSide": "SELL"}
    pending = {"pendingType": "LIMIT", "pendingTimeInForce": "GTC", "pendingPrice": 90_000}
    both = {f"pending{name[0].upper()}{name[1:]}": value for name, value in oco.items()}
    quantity = {"pendingQuantity": "0.1"}
    chosen = {"symbol": "BTCUSDT", "orderId": chance.choice([row["orderId"] for row in exchange.orders()] or [1])}
    stop = {"symbol": "BTCUSDT", "side": "SELL", "type": "STOP_LOSS_LIMIT", "timeInForce": "GTC", "quantity": "0.1"}
    sent: list[tuple[str, str, dict[str, object]]] = [
        ("POST", "order", {**stop, "stopPrice": 59_300, "price": 65_000}),
        ("POST", "order", {**stop, "stopPrice": 59_300, "price": 50_000, "trailingDelta": 500}),
        ("POST", "orderList/oco", {"symbol": "BTCUSDT", "side": "SELL", "quantity": "0.1", **oco}),
        ("POST", "orderList/oto", {"symbol": "BTCUSDT", **begins, **pending, **quantity}),
        ("POST", "orderList/otoco", {"symbol": "BTCUSDT", **begins, **both, **quantity}),
        ("POST", "orderList/opo", {"symbol": "BTCUSDT", **begins, **pending}),
        ("DELETE", "openOrders", {"symbol": "BTCUSDT"}),
        ("DELETE", "order", chosen),
        ("GET", "order", chosen),
    ]
    sent += [("GET", path, {"symbol": "BTCUSDT"}) for path in ("openOrders", "allOrders", "myTrades")]
    sent += [("GET", path, {}) for path in ("openOrders", "openOrderList", "allOrderList", "account")]
    what = chance.randrange(len(sent) + 4)
    if what < len(sent):
        method, path, params = sent[what]
        client.signed(method, f"/api/v3/{path}", headers=None, **params)
    elif what < len(sent) + 2:
        client.limit("BUY", chance.choice([58_000, 59_500]), chance.choice([0.1, 1]))
    elif chance.random() < 0.5:
        exchange.set_price("BTCUSDT", chance.choice([58_500, 59_200, 60_000, 61_000]))
    else:
        exchange.advance(chance.random())


@pytest.mark.parametrize("seed", range(30))
def test_the_record_of_a_moment_is_what_was_true_then(kept: LocalExchange, seed: int) -> None:
    """Whatever happens to an order, in any dialect, its past is found exactly as it was."""
    chance = Random(seed)  # noqa: S311 - a program, no secret
    kept.reset(dialect=random_dialect(chance))
    kept.set_price("BTCUSDT", 60_000)
    seen = []
    with Punctual(kept.url, kept.api_key, kept.secret_key) as client:
        for _ in range(40):
            act(kept, client, chance)
            clock = client.send("GET", "/api/v3/time", headers={"X-MBX-TIME-UNIT": "MICROSECOND"})
            seen.append((clock.body["serverTime"] / 1e6, kept.orders()))
    assert seen[-1][1]
    for moment, told in seen:
        assert kept.orders(at=moment) == told


def test_the_past_goes_with_what_is_forgotten() -> None:
    """However long a bot runs, only orders that can be looked up have a past."""
    with LocalExchange(keeps_past=True, kept_orders=5) as exchange:
        with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
            for _ in range(20):
                place(client)
                client.cancel_all()
        assert len(exchange.orders()) == len(exchange.orders(at=time.time())) == 5


def test_the_record_can_be_asked_for_over_http(exchange: LocalExchange, client: Client) -> None:
    """A second process is told the same; without a past, only what is true now."""
    placed = place(client)
    assert client.signed("GET", "/nbext/orders").body == exchange.orders()
    assert client.signed("GET", "/nbext/orders", symbol="ETHUSDT").body == []
    assert [row["orderId"] for row in exchange.orders("BTCUSDT")] == [placed]
    assert client.signed("GET", "/nbext/orders", at=f"{time.time():.6f}").refusal[0] == -1130
    with pytest.raises(ValueError, match="keeps_past"):
        exchange.orders(at=time.time())
