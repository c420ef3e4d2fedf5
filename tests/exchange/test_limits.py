"""Request weight, raw requests, order counts, and what happens beyond the limits."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING

import pytest
from support.exchange_client import OPEN_ORDERS, Client

from nbext.exchange import LocalExchange
from nbext.exchange.api.admission import Admission, Key, Request
from nbext.exchange.api.endpoints import BY_NAME
from nbext.exchange.engine.limits import DAY, MINUTE, SECOND, Banned, OrderCount, RequestLimits
from nbext.exchange.engine.refusals import TooMuch

if TYPE_CHECKING:
    from collections.abc import Callable

NOON = 20_000 * DAY + 12 * 60 * MINUTE
OCO = {
    "symbol": "BTCUSDT",
    "side": "SELL",
    "quantity": "0.1",
    "aboveType": "LIMIT_MAKER",
    "abovePrice": "70000",
    "belowType": "STOP_LOSS",
    "belowStopPrice": 50000,
}


class HandClock:
    """A clock in microseconds that stands still until it is set."""

    def __init__(self) -> None:
        self.now = NOON

    def __call__(self) -> int:
        """Return the time."""
        return self.now


@pytest.fixture
def clock() -> HandClock:
    """Return a clock at noon."""
    return HandClock()


def ping(admission: Admission, address: str = "127.0.0.1") -> None:
    """Send one request of weight 1 through admission, with a key that it knows."""
    admission.keys.setdefault("k", Key("main", can_trade=True))
    request = Request(b"", b"", {"X-MBX-APIKEY": "k"}, address)
    admission.count_request(request)
    admission.admit(BY_NAME["ping"], request)


def refusals(call: Callable[[], object], times: int) -> list[tuple[type[TooMuch], int]]:
    """Return kind and waiting time of this many refusals."""
    found = []
    for _ in range(times):
        with pytest.raises(TooMuch) as caught:
            call()
        assert caught.value.code == -1003
        found.append((type(caught.value), caught.value.retry_after))
    return found


def test_bans_grow_for_repeat_offenders(clock: HandClock) -> None:
    """429 as often as patience allows, then bans of two minutes, four, eight, and three days at most."""
    admission = Admission(clock, RequestLimits(weight=1, patience=2))
    lengths = []
    for _ in range(14):
        ping(admission)
        assert refusals(lambda: ping(admission), 2) == [(TooMuch, 60)] * 2
        ((kind, length),) = refusals(lambda: ping(admission), 1)
        assert kind is Banned
        clock.now += (length - 1) * SECOND
        assert refusals(lambda: ping(admission), 3) == [(Banned, 1)] * 3
        clock.now += SECOND
        lengths.append(length)
    assert lengths[:3] == [120, 240, 480]
    assert lengths[-2:] == [3 * 86_400] * 2


def test_a_ban_says_until_when(clock: HandClock) -> None:
    """The text has the end of the ban in milliseconds."""
    admission = Admission(clock, RequestLimits(weight=0, patience=0))
    with pytest.raises(Banned) as caught:
        ping(admission)
    assert f"IP banned until {NOON // 1000 + 120_000}." in caught.value.text


def test_patience_is_new_each_minute(clock: HandClock) -> None:
    """Occasional refusals, minutes apart, never lead to a ban."""
    admission = Admission(clock, RequestLimits(weight=0, patience=2))
    for _ in range(5):
        assert refusals(lambda: ping(admission), 2) == [(TooMuch, 60)] * 2
        clock.now += MINUTE


def test_raw_requests_count_by_five_minutes_of_the_clock(clock: HandClock) -> None:
    """They count whatever they weigh, and start again at the next five minutes."""
    clock.now += 60 * SECOND + 1
    admission = Admission(clock, RequestLimits(raw_requests=3))
    for _ in range(3):
        ping(admission)
    assert refusals(lambda: ping(admission), 1) == [(TooMuch, 240)]
    clock.now = NOON + 5 * MINUTE
    ping(admission)


def test_limits_go_by_address(clock: HandClock) -> None:
    """An address over its limits does not affect another; of very many, the oldest are forgotten."""
    admission = Admission(clock, RequestLimits(weight=1, patience=0))
    ping(admission, "127.0.0.1")
    refusals(lambda: ping(admission, "127.0.0.1"), 1)
    ping(admission, "127.0.0.2")
    for number in range(1000):
        admission.count_request(Request(b"", b"", {"X-MBX-APIKEY": "k"}, f"127.0.1.{number}"))
    assert len(admission._callers) <= 256


def test_order_counts_by_interval() -> None:
    """When the day is exhausted the ten-second count no longer rises; both restart with the clock."""
    count = OrderCount(100, 5)
    count.placed(5, NOON)
    count.placed(3, NOON)
    assert (count.ten_seconds.at(NOON), count.day.at(NOON)) == (5, 8)
    assert count.ten_seconds.at(NOON + 10 * SECOND) == 0
    assert count.exhausted(1, NOON + DAY) is None


def test_weight_is_refunded_to_trade_requests_that_succeed(exchange: LocalExchange, client: Client) -> None:
    """Placing and canceling cost nothing, a failed cancel and a query what is listed (rule: free-trades, weights)."""

    def used() -> int:
        return int(client.public("/api/v3/nowhere").headers["X-MBX-USED-WEIGHT-1M"])

    exchange.reset()
    client.limit("BUY", 50000)
    client.cancel_all()
    assert used() == 0
    client.cancel_all()
    assert used() == 1
    client.signed("GET", OPEN_ORDERS, symbol="BTCUSDT")
    assert used() == 7
    client.signed("POST", "/api/v3/order/test", symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.1")
    assert used() == 8


def test_429_then_418_over_http() -> None:
    """Over the limit 429 with Retry-After, then 418 on every path, and every answer has the used weight."""
    with LocalExchange(weight_limit=2, patience=2) as small, Client(small.url, small.api_key) as client:
        answers = [client.public("/api/v3/ping") for _ in range(5)]
        assert [answer.status for answer in answers] == [200, 200, 429, 429, 418]
        assert [answer.headers["X-MBX-USED-WEIGHT"] for answer in answers] == ["1", "2", "3", "4", "5"]
        assert 1 <= int(answers[2].headers["Retry-After"]) <= 60
        assert answers[4].headers["Retry-After"] == "120"
        assert client.public("/api/v3/nowhere").status == 418
        small.reset()
        assert client.public("/api/v3/ping").status == 200


def test_raw_requests_over_http() -> None:
    """Unknown paths count as well; exchangeInfo announces the limits."""
    with (
        LocalExchange(raw_request_limit=3, weight_limit=77, order_limits=(5, 9)) as small,
        Client(small.url, small.api_key) as client,
    ):
        limits = client.public("/api/v3/exchangeInfo", symbol="BTCUSDT").body["rateLimits"]
        assert sorted(
            (each["rateLimitType"], each["interval"], each["intervalNum"], each["limit"]) for each in limits
        ) == [
            ("ORDERS", "DAY", 1, 9),
            ("ORDERS", "SECOND", 10, 5),
            ("RAW_REQUESTS", "MINUTE", 5, 3),
            ("REQUEST_WEIGHT", "MINUTE", 1, 77),
        ]
        assert [client.public("/nowhere").status for _ in range(3)] == [404, 404, 429]


@pytest.mark.parametrize("api_key", ["", "k" * 64])
def test_requests_without_a_key_are_in_nobodys_way(api_key: str) -> None:
    """Requests without a key of this exchange ban no one, and use up only limits of their own."""
    with (
        LocalExchange() as exchange,
        Client(exchange.url, exchange.api_key, exchange.secret_key) as owner,
        Client(exchange.url, api_key, "s" * 64) as stranger,
    ):
        owner.limit("BUY", 50000)
        heavy = [stranger.public("/api/v3/exchangeInfo").status for _ in range(320)]
        assert heavy == [200] * 300 + [429] * 20  # weight 20 each; they may wait, and are never banned
        refused = {stranger.signed("DELETE", OPEN_ORDERS, symbol="BTCUSDT").status for _ in range(320)}
        assert refused == {401}
        assert {stranger.public("/api/v3/time").status for _ in range(320)} == {200}  # no dearer than a refusal
        answer = owner.signed("GET", OPEN_ORDERS, symbol="BTCUSDT")
        assert (answer.status, answer.headers["X-MBX-USED-WEIGHT"]) == (200, "6")
        assert owner.cancel_all().status == 200
        stranger.api_key = exchange.api_key  # with a known key, what is refused counts, too
        for _ in range(100):
            stranger.signed("GET", OPEN_ORDERS)
        assert owner.cancel_all().status == 418


def test_pages_in_a_browser_get_nowhere(exchange: LocalExchange, client: Client) -> None:
    """A browser names the kind of page that a request comes from, and no page can change that."""
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        assert client.send("GET", "/api/v3/ping", headers={"Sec-Fetch-Site": site}).status == status
    before = len(exchange.requests())
    answer = client.send("DELETE", f"{OPEN_ORDERS}?symbol=BTCUSDT", headers={"Sec-Fetch-Site": "cross-site"})
    assert (answer.status, len(exchange.requests())) == (403, before)


def test_order_counts_over_http() -> None:
    """Accepted placements count by their orders, by account over all its keys; refused ones have no count header."""
    with LocalExchange(order_limits=(6, 100)) as exchange:
        second = exchange.add_key()
        other = exchange.add_key(account="other")
        with (
            Client(exchange.url, exchange.api_key, exchange.secret_key) as client,
            Client(exchange.url, second.api_key, second.secret_key or "") as same,
            Client(exchange.url, other.api_key, other.secret_key or "") as stranger,
        ):
            # Wherever in the ten seconds this begins: a clock that has just begun a new interval.
            exchange.advance(10 - client.public("/api/v3/time").body["serverTime"] / 1000 % 10 + 0.1)
            at = exchange._app.clock() // 1000
            answers = [
                client.limit("BUY", 50000, timestamp=at),
                same.signed("POST", "/api/v3/orderList/oco", headers=None, timestamp=at, **OCO),
                client.limit("BUY", 1, timestamp=at),
                client.limit("BUY", 50000, timestamp=at),
                client.signed("POST", "/api/v3/orderList/oco", headers=None, timestamp=at, **OCO),
                same.limit("BUY", 50000, timestamp=at),
            ]
            counts = [
                (answer.headers["X-MBX-ORDER-COUNT-10S"], answer.headers["X-MBX-ORDER-COUNT-1D"]) for answer in answers
            ]
            assert counts == [("1", "1"), ("3", "3"), (None, None), ("4", "4"), ("6", "6"), (None, None)]
            assert [answer.status for answer in answers] == [200, 200, 400, 200, 200, 429]
            assert answers[-1].refusal == (-1015, "Too many new orders; current limit is 6 orders per 10 SECOND.")
            assert 1 <= int(answers[-1].headers["Retry-After"]) <= 10
            assert stranger.limit("BUY", 50000, timestamp=at).status == 200
            rows = client.signed("GET", "/api/v3/rateLimit/order", timestamp=at).body
            assert [(row["interval"], row["limit"], row["count"]) for row in rows] == [
                ("SECOND", 6, 6),
                ("DAY", 100, 6),
            ]
            exchange.advance(10)
            assert client.limit("BUY", 50000, timestamp=at + 10_000).headers["X-MBX-ORDER-COUNT-10S"] == "1"


@pytest.mark.parametrize(
    "path",
    [
        "/api/v3/time",
        "/api/v3/order",
        "/api/v3/openOrders",
        "/api/v3/openOrderList",
        "/api/v3/myTrades",
        "/api/v3/allOrders",
        "/api/v3/account",
    ],
)
def test_every_time_of_a_reply_is_in_the_unit_asked_for(exchange: LocalExchange, client: Client, path: str) -> None:
    """With the header all times have sixteen digits, without it thirteen, and -1 stays -1."""
    exchange.seed_orders()
    order_id = exchange.open_orders("BTCUSDT")[0]["orderId"]
    params = {"/api/v3/order": {"symbol": "BTCUSDT", "orderId": order_id}}.get(path, {"symbol": "BTCUSDT"})
    if path in {"/api/v3/openOrderList", "/api/v3/account"}:
        params = {}

    def times(document: object) -> list[int]:
        if isinstance(document, list):
            return [each for row in document for each in times(row)]
        assert isinstance(document, dict)
        found = [value for name, value in document.items() if name == "time" or name.endswith("Time")]
        nested = [value for name, value in document.items() if name in {"orders", "fills"}]
        return [*found, *(each for value in nested for each in times(value))]

    def ask(unit: str) -> list[int]:
        headers = {"X-MBX-TIME-UNIT": unit}
        if path == "/api/v3/time":
            return times(client.send("GET", path, headers=headers).body)
        return times(client.signed("GET", path, headers=headers, **params).body)

    coarse, fine = ask("MILLISECOND"), ask("microsecond")
    assert len(coarse) == len(fine) > 0
    assert {len(str(each)) for each in coarse if each > 0} == {13}
    assert {len(str(each)) for each in fine if each > 0} == {16}
    if path != "/api/v3/time":
        assert coarse == [each // 1000 if each > 0 else each for each in fine]


def test_microsecond_stamps_and_spans(exchange: LocalExchange, client: Client) -> None:
    """Stamps and spans in microseconds mean the same as in milliseconds; another unit is -1194 before anything."""
    client.limit("BUY", 50000)
    row = client.signed("GET", OPEN_ORDERS, headers={"X-MBX-TIME-UNIT": "MICROSECOND"}).body[0]
    span = {"startTime": row["time"], "endTime": row["time"]}
    found = client.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT", timestamp=row["time"], **span).body
    assert [each["orderId"] for each in found] == [row["orderId"]]
    later = {"startTime": row["time"] + 1000}
    assert client.signed("GET", "/api/v3/allOrders", symbol="BTCUSDT", **later).body == []
    odd = client.signed("DELETE", OPEN_ORDERS, headers={"X-MBX-TIME-UNIT": "second"}, symbol="BTCUSDT")
    assert (odd.status, odd.refusal[0]) == (400, -1194)
    assert len(exchange.open_orders()) == 1


def test_a_banned_address_still_reaches_backstage() -> None:
    """Faults can be taken back by who is banned."""
    with (
        LocalExchange(weight_limit=0, patience=0) as small,
        Client(small.url, small.api_key, small.secret_key) as client,
    ):
        assert client.public("/api/v3/ping").status == 418
        assert client.signed("GET", "/nbext/faults").status == http.client.OK
