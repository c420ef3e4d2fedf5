"""What can be made to go wrong, and what the exchange then says about what really happened."""

from __future__ import annotations

import http.client
import re
import socket
import threading
import time
from contextlib import closing, suppress
from typing import Any

import pytest
from support.exchange_client import OPEN_ORDERS, ORDER, Client, now, sign

from nbext.exchange import Dialect, LocalExchange


def cancels(exchange: LocalExchange) -> list[tuple[object, object]]:
    """Return status and execution of each cancel-all that arrived."""
    return [(each["status"], each["executed"]) for each in exchange.requests("DELETE", "openOrders")]


def control(client: Client, method: str, name: str, /, **params: object) -> Any:
    """Set faults or read the truth over HTTP."""
    answer = client.signed(method, f"/nbext/{name}", headers=None, **params)
    assert answer.status == 200, answer.body
    return answer.body


@pytest.mark.parametrize(("reset", "error"), [(False, http.client.RemoteDisconnected), (True, ConnectionResetError)])
@pytest.mark.parametrize("executed", [True, False])
def test_lost_answers(
    exchange: LocalExchange, client: Client, reset: bool, error: type[Exception], executed: bool
) -> None:
    """The connection is closed or reset without an answer; the engine has or has not executed the cancel."""
    client.limit("BUY", 50000)
    exchange.faults.lose_answer("DELETE", OPEN_ORDERS, after_executing=executed, reset=reset)
    with pytest.raises(error) as caught:
        client.cancel_all()
    assert type(caught.value) is error
    assert len(exchange.open_orders("BTCUSDT")) == (not executed)
    assert cancels(exchange) == [(None, executed)]
    assert client.cancel_all().status == (400 if executed else 200)


@pytest.mark.parametrize(("code", "status"), [(-1000, 500), (-1001, 500), (-1006, 500), (-1007, 504), (-1008, 503)])
@pytest.mark.parametrize("executed", [True, False])
def test_unknown_outcomes(exchange: LocalExchange, client: Client, code: int, status: int, executed: bool) -> None:
    """A 5XX has its documented code, and does not say whether the request was executed."""
    client.limit("BUY", 50000)
    exchange.faults.fail("DELETE", "openOrders", code=code, after_executing=executed)
    answer = client.cancel_all()
    assert (answer.status, answer.refusal[0]) == (status, code)
    assert len(exchange.open_orders("BTCUSDT")) == (not executed)
    assert cancels(exchange) == [(status, executed)]


@pytest.mark.parametrize("body", ["", "<html><body>Bad Gateway</body></html>"])
def test_any_status_and_body_can_take_the_place_of_an_answer(
    exchange: LocalExchange, client: Client, body: str
) -> None:
    """A gateway's 599 with an empty or an HTML body, while the orders are canceled."""
    client.limit("BUY", 50000)
    exchange.faults.fail("DELETE", "openOrders", status=599, body=body)
    answer = client.cancel_all()
    assert (answer.status, answer.body, exchange.open_orders()) == (599, body, [])


def test_late_answers_do_not_hold_up_others(exchange: LocalExchange, client: Client) -> None:
    """While one answer is delayed, others are served and the book changes."""
    client.limit("BUY", 50000)
    exchange.faults.answer_late("DELETE", "openOrders", seconds=1)
    answers = []
    waiting = threading.Thread(target=lambda: answers.append(client.cancel_all()))
    begun = time.monotonic()
    waiting.start()
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as other:
        while not cancels(exchange):
            time.sleep(0.01)
        assert cancels(exchange) == [(None, True)]
        placed = other.limit("BUY", 40000).body["orderId"]
        assert [row["orderId"] for row in other.signed("GET", OPEN_ORDERS).body] == [placed]
        assert cancels(exchange) == [(None, True)]
    waiting.join()
    assert time.monotonic() - begun > 1
    assert (answers[0].status, len(answers[0].body)) == (200, 1)
    assert cancels(exchange) == [(200, True)]


def test_late_executions_reach_the_engine_later(exchange: LocalExchange, client: Client) -> None:
    """An order placed meanwhile is canceled too, although the client has long hung up."""
    client.limit("BUY", 50000)
    exchange.faults.execute_late("DELETE", "openOrders", seconds=0.6)
    query = f"symbol=BTCUSDT&timestamp={now()}"
    target = f"{OPEN_ORDERS}?{query}&signature={sign(exchange.secret_key, query)}"
    with closing(http.client.HTTPConnection(exchange.url[len("http://") :])) as hasty:
        hasty.request("DELETE", target, headers={"X-MBX-APIKEY": exchange.api_key})
        while not exchange.requests("DELETE"):
            time.sleep(0.01)
    client.limit("BUY", 40000)
    assert len(exchange.open_orders()) == 2
    while not exchange.requests("DELETE")[0]["executed"]:
        time.sleep(0.01)
    assert exchange.open_orders() == []


def test_nothing_late_outlives_a_reset(exchange: LocalExchange, client: Client) -> None:
    """A request under way during a reset does not reach what comes after."""
    exchange.faults.execute_late("DELETE", "openOrders", seconds=0.6)
    waiting = threading.Thread(target=client.cancel_all)
    waiting.start()
    while not exchange.requests():
        time.sleep(0.01)
    exchange.reset()
    exchange.seed_orders()
    waiting.join()
    assert len(exchange.open_orders("BTCUSDT")) == 13
    assert exchange.requests() == []


def test_late_executions_meet_the_third_timing_check(exchange: LocalExchange, client: Client) -> None:
    """A request whose window ends on the way is -1021, and counts if it is a placement."""
    exchange.faults.execute_late("*", "*", seconds=0.3, times=2)
    client.limit("BUY", 50000, recvWindow=10000)
    late = client.limit("BUY", 50000, recvWindow=200)
    assert late.refusal == (-1021, "Timestamp for this request is outside of the recvWindow.")
    counts = {row["interval"]: row["count"] for row in client.signed("GET", "/api/v3/rateLimit/order").body}
    assert counts["DAY"] == 2
    assert len(exchange.open_orders()) == 1


def test_truncated_bodies(exchange: LocalExchange, client: Client) -> None:
    """The head promises the whole body, a part of it comes, and the orders are canceled."""
    client.limit("BUY", 50000)
    exchange.faults.truncate("DELETE", "openOrders", size=17)
    with pytest.raises(http.client.IncompleteRead) as caught:
        client.cancel_all()
    assert caught.value.partial == b'[{"symbol":"BTCUS'
    assert cancels(exchange) == [(200, True)]


def test_dripping_bodies(exchange: LocalExchange, client: Client) -> None:
    """A body comes slowly, in pieces, and complete in the end."""
    exchange.faults.drip("GET", "time", seconds=0.05, size=8)
    begun = time.monotonic()
    assert "serverTime" in client.public("/api/v3/time").body
    assert time.monotonic() - begun > 0.15


def test_firewalls_quote_what_they_block(exchange: LocalExchange, client: Client) -> None:
    """403 with HTML, quoting signature and key with echo; nothing is executed."""
    client.limit("BUY", 50000)
    exchange.faults.firewall("DELETE", "openOrders")
    plain = client.cancel_all()
    exchange.faults.firewall("DELETE", "openOrders", echo=True)
    echoing = client.cancel_all()
    assert plain.status == echoing.status == 403
    assert plain.headers["Content-Type"] == "text/html"
    assert exchange.api_key not in plain.body
    assert exchange.api_key in echoing.body
    assert "signature=" in echoing.body
    assert exchange.url in echoing.body
    assert cancels(exchange) == [(403, False)] * 2
    assert len(exchange.open_orders()) == 1


def test_limits_bans_and_borders(exchange: LocalExchange, client: Client) -> None:
    """429 and 418 say how long to wait, if told to; 451 does not; none of them executes anything."""
    client.limit("BUY", 50000)
    exchange.faults.limit("DELETE", retry_after=7)
    exchange.faults.limit("DELETE", retry_after=None)
    exchange.faults.ban("DELETE", retry_after=120)
    exchange.faults.unavailable("DELETE")
    answers = [client.cancel_all() for _ in range(4)]
    assert [answer.status for answer in answers] == [429, 429, 418, 451]
    assert [answer.headers["Retry-After"] for answer in answers] == ["7", None, "120", None]
    assert [answer.refusal[0] for answer in answers] == [-1003, -1003, -1003, 0]
    assert abs(int(answers[2].refusal[1].split("until ")[1].split(".")[0]) - now() - 120_000) < 10_000
    assert len(exchange.open_orders()) == 1


def test_faults_hit_what_they_wait_for(exchange: LocalExchange, client: Client) -> None:
    """Method, path and symbol must match; each counts down; None lasts until cleared; the first one set wins."""
    faults = exchange.faults
    faults.limit("DELETE", "/api/v3/open*", symbol="ETHUSDT", times=2)
    faults.unavailable("DELETE", "openOrders", symbol="ETHUSDT", times=None)
    assert client.cancel_all("BTCUSDT").status == 400
    assert client.signed("GET", OPEN_ORDERS, symbol="ETHUSDT").status == 200
    assert client.signed("DELETE", ORDER, symbol="ETHUSDT", orderId=1).status == 400
    statuses = [client.cancel_all("ETHUSDT").status for _ in range(4)]
    in_body = client.send("DELETE", OPEN_ORDERS, "symbol=ETHUSDT")
    assert [*statuses, in_body.status] == [429, 429, 451, 451, 451]
    assert [(each["kind"], each["times"]) for each in faults.pending()] == [("unavailable", None)]
    faults.clear()
    assert client.cancel_all("ETHUSDT").status == 400
    assert [each["fault"] for each in exchange.requests(symbol="ETHUSDT")][-2:] == ["unavailable", None]


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("fail", {"code": -2011}),
        ("fail", {"status": 100}),
        ("fail", {"body": "x" * 20_000}),
        ("limit", {"retry_after": -1}),
        ("limit", {"retry_after": "1\r\nX-Forged: 1"}),
        ("limit", {"times": 0}),
        ("limit", {"times": -1}),
        ("answer_late", {"seconds": -1}),
        ("answer_late", {"seconds": 10**9}),
        ("execute_late", {"seconds": float("nan")}),
        ("truncate", {"size": -1}),
    ],
)
def test_faults_that_make_no_sense(exchange: LocalExchange, kind: str, options: dict[str, Any]) -> None:
    """Nonsense is refused where it is set, and nothing waits afterwards."""
    with pytest.raises(ValueError, match=r"must|at most"):
        getattr(exchange.faults, kind)(**options)
    assert exchange.faults.pending() == []


def test_a_hundred_faults_are_enough(exchange: LocalExchange) -> None:
    """The number of waiting faults is bounded, and so are lag and skew."""
    for _ in range(100):
        exchange.faults.limit()
    with pytest.raises(ValueError, match="clear"):
        exchange.faults.limit()
    for name in ("lag", "skew"):
        for seconds in (-(10**6), 10**6):
            with pytest.raises(ValueError, match="must"):
                setattr(exchange.faults, name, seconds)


@pytest.mark.parametrize("skew", [90, -90])
def test_a_skewed_clock(exchange: LocalExchange, client: Client, skew: float) -> None:
    """Timestamps of a correct clock are refused, and every time in a reply is off."""
    exchange.faults.skew = skew
    assert client.limit("BUY", 50000).refusal[0] == -1021
    stamp = client.public("/api/v3/time").body["serverTime"]
    assert abs(stamp - now() - skew * 1000) < 2_000
    placed = client.limit("BUY", 50000, timestamp=stamp).body
    assert abs(placed["transactTime"] - stamp) < 2_000
    exchange.faults.skew = 0
    assert client.cancel_all().status == 200


def test_lagging_queries(exchange: LocalExchange, client: Client) -> None:
    """Queries show one earlier moment; what happened before the lag was set is known; other replies are current."""
    first = client.limit("BUY", 50000).body["orderId"]
    exchange.faults.lag = 20
    second = client.limit("BUY", 40000).body["orderId"]
    client.signed("DELETE", ORDER, symbol="BTCUSDT", orderId=first)
    bought = client.signed("POST", ORDER, symbol="BTCUSDT", side="BUY", type="MARKET", quantity="0.01").body
    oco = {"aboveType": "LIMIT_MAKER", "abovePrice": 70000, "belowType": "STOP_LOSS", "belowStopPrice": 50000}
    listed = client.signed(
        "POST", "/api/v3/orderList/oco", headers=None, symbol="BTCUSDT", side="SELL", quantity="0.1", **oco
    ).body["orderListId"]

    def ask(path: str, **params: object) -> Any:
        return client.signed("GET", f"/api/v3/{path}", headers=None, recvWindow=60_000, **params).body

    def seen() -> dict[str, object]:
        return {
            "open": [row["orderId"] for row in ask("openOrders")],
            "first": ask("order", symbol="BTCUSDT", orderId=first).get("status"),
            "second": ask("order", symbol="BTCUSDT", orderId=second).get("code"),
            "all": len(ask("allOrders", symbol="BTCUSDT")),
            "trades": len(ask("myTrades", symbol="BTCUSDT")),
            "lists": len(ask("openOrderList")),
            "list": ask("orderList", orderListId=listed).get("code"),
            "locked": sum(float(each["locked"]) > 0 for each in ask("account")["balances"]),
        }

    before = {"open": [first], "first": "NEW", "second": -2013, "all": 1, "trades": 0, "lists": 0, "list": -2013}
    assert seen() == before | {"locked": 1}
    exchange.faults.lag = 30
    assert seen() == before | {"locked": 1}
    assert bought["status"] == "FILLED"
    assert exchange.open_orders("BTCUSDT")[0]["orderId"] == second
    exchange.advance(31)
    after = seen()
    assert after == {
        "open": [second, second + 2, second + 3],
        "first": "CANCELED",
        "second": None,
        "all": 5,
        "trades": 1,
        "lists": 1,
        "list": None,
        "locked": 2,
    }
    assert client.signed("DELETE", OPEN_ORDERS, symbol="BTCUSDT", recvWindow=60_000).status == 200
    assert seen() == after
    exchange.faults.lag = 0
    assert ask("openOrders") == []


def test_history_names_causes(exchange: LocalExchange, client: Client) -> None:
    """Each event says what happened and which request, or which direct call, led to it."""
    placed = client.limit("BUY", 50000, 1).body["orderId"]
    exchange.place("BTCUSDT", "SELL", "LIMIT", account="market", quantity="0.4", price="50000", timeInForce="IOC")
    exchange.faults.lose_answer("DELETE", "openOrders")
    with pytest.raises(http.client.RemoteDisconnected):
        client.cancel_all()
    events = exchange.history(placed, "BTCUSDT")
    assert [(each["status"], each["executedQty"], each["cause"], each["by"], each["request"]) for each in events] == [
        ("NEW", "0", "place", "POST /api/v3/order", 1),
        ("PARTIALLY_FILLED", "0.4", "fill", "place()", None),
        ("CANCELED", "0.4", "cancel", "DELETE /api/v3/openOrders", 2),
    ]
    assert all(abs(float(str(each["time"])) - now()) < 10_000 for each in events)
    assert exchange.requests()[1]["number"] == 2
    moved = exchange.place("BTCUSDT", "BUY", "LIMIT", quantity="0.1", price="49000", timeInForce="GTC")["orderId"]
    exchange.set_price("BTCUSDT", 48000)
    assert [each["by"] for each in exchange.history(int(str(moved)), "BTCUSDT")] == ["place()", "set_price()"]
    with pytest.raises(LookupError):
        exchange.history(1, "BTCUSDT")


def test_a_second_process_can_ask_for_faults_and_truth(exchange: LocalExchange, client: Client) -> None:
    """The same is available over HTTP, unaffected by the faults themselves."""
    placed = client.limit("BUY", 50000).body["orderId"]
    state = control(
        client,
        "POST",
        "faults",
        kind="lose_answer",
        method="DELETE",
        path="openOrders",
        symbol="BTCUSDT",
        times="1",
        afterExecuting="true",
        reset="true",
        skew="-30.5",
        lag="2",
    )
    fault = {"kind": "lose_answer", "method": "DELETE", "path": OPEN_ORDERS, "symbol": "BTCUSDT", "times": 1}
    assert state == {"lag": 2.0, "skew": -30.5, "faults": [fault]}
    control(client, "POST", "faults", skew=0)
    with pytest.raises(ConnectionResetError):
        client.cancel_all()
    assert control(client, "GET", "faults")["faults"] == []
    assert control(client, "GET", "history", symbol="BTCUSDT", orderId=placed) == exchange.history(placed, "BTCUSDT")
    assert control(client, "GET", "requests", method="DELETE") == exchange.requests("DELETE")
    assert len(exchange.requests()) == 2
    control(client, "POST", "faults", kind="limit", times="all", retryAfter="3")
    assert client.public("/api/v3/ping").headers["Retry-After"] == "3"
    assert control(client, "DELETE", "faults") == {"lag": 0.0, "skew": 0.0, "faults": []}
    assert client.public("/api/v3/ping").status == 200


def talk(exchange: LocalExchange, *requests: tuple[str, str], pause: float = 0.2) -> bytes:
    """Send signed requests over one connection, one after the other, and return all that comes back in the end."""
    received = b""
    with socket.create_connection(("127.0.0.1", int(exchange.url.rpartition(":")[2]))) as connection:
        connection.settimeout(pause)
        for method, path in requests:
            query = f"symbol=BTCUSDT&timestamp={now()}"
            target = f"/api/v3/{path}?{query}&signature={sign(exchange.secret_key, query)}"
            head = f"{method} {target} HTTP/1.1\r\nHost: localhost\r\nX-MBX-APIKEY: {exchange.api_key}\r\n\r\n"
            connection.sendall(head.encode())
            with suppress(TimeoutError):
                while part := connection.recv(65_536):
                    received += part
    return received


CANCEL, READ = ("DELETE", "openOrders"), ("GET", "openOrders")


@pytest.mark.parametrize("statuses", [(), (100,), (102, 103), (103, 100, 102)])
def test_answers_that_are_not_the_last_one(exchange: LocalExchange, client: Client, statuses: tuple[int, ...]) -> None:
    """Interim answers, with or without fields, come before the one that counts, on the same connection."""
    client.limit("BUY", 50000)
    exchange.faults.on("DELETE", "openOrders").interim(*statuses)
    heard = re.findall(rb"HTTP/1.1 (\d+) ", talk(exchange, CANCEL, READ))
    assert [int(status) for status in heard] == [*(statuses or (103,)), 200, 200]


@pytest.mark.parametrize("seconds", [0, 0.05])
def test_answers_that_come_twice(exchange: LocalExchange, client: Client, seconds: float) -> None:
    """The second one is read by the next request."""
    client.limit("BUY", 50000)
    exchange.faults.on("DELETE", "openOrders").answer_twice(seconds=seconds)
    first, again, read = talk(exchange, CANCEL, READ).split(b"HTTP/1.1 200 OK\r\n")[1:]
    assert first.split(b"\r\n\r\n")[1] == again.split(b"\r\n\r\n")[1]
    assert read.endswith(b"[]")
    assert cancels(exchange) == [(200, True)]


def test_answers_about_something_else(exchange: LocalExchange, client: Client) -> None:
    """A report names another symbol, order or list than the request; the request itself is executed."""
    differing = {}
    for other in ("symbol", "order", "list"):
        exchange.reset()
        oco = {"aboveType": "LIMIT_MAKER", "abovePrice": 70000, "belowType": "STOP_LOSS", "belowStopPrice": 50000}
        exchange.place_list("oco", "BTCUSDT", side="SELL", quantity="0.1", **oco)  # type: ignore[arg-type]
        exchange.faults.on("DELETE", "openOrders").answer_about(other)
        (row,) = client.cancel_all().body
        assert exchange.open_orders() == []
        known: Any = exchange.orders()[0]
        report = row["orderReports"][0]
        own = {name: known[name] for name in ("symbol", "orderId", "orderListId", "origClientOrderId", "clientOrderId")}
        differing[other] = {name for name in own if report[name] != own[name]}
    assert differing == {
        "symbol": {"symbol"},
        "order": {"orderId", "origClientOrderId", "clientOrderId"},
        "list": {"orderListId"},
    }


def test_bodies_that_contradict_their_status(exchange: LocalExchange, client: Client) -> None:
    """A report under 404 or 429, although the orders are canceled; a refusal under 200, whether they are or not."""
    for status in (400, 403, 404, 429):
        client.limit("BUY", 50000)
        exchange.faults.on("DELETE", "openOrders").answer_under(status)
        answer = client.cancel_all()
        assert (answer.status, answer.body[0]["status"], exchange.open_orders()) == (status, "CANCELED", [])
    exchange.faults.on("DELETE").answer_under(200)
    answer = client.cancel_all()
    assert (answer.status, answer.refusal) == (200, (-2011, "Unknown order sent."))
    client.limit("BUY", 50000)
    exchange.faults.on("DELETE").fail(code=-2011, text="Unknown order sent.", status=200)
    answer = client.cancel_all()
    assert (answer.status, answer.refusal[0], exchange.open_orders()) == (200, -2011, [])


@pytest.mark.parametrize("answered", [True, False])
def test_connections_that_are_dead(answered: bool) -> None:
    """After an answer, or instead of one, nothing more comes, and nothing is closed until the exchange stops."""
    with LocalExchange() as exchange:
        exchange.place("BTCUSDT", "BUY", "LIMIT", quantity="0.1", price="50000", timeInForce="GTC")
        exchange.faults.on("DELETE", "openOrders").go_dead(answered=answered)
        received = talk(exchange, CANCEL, READ)
        assert received.count(b"HTTP/1.1") == answered
        assert cancels(exchange) == [(200 if answered else None, True)]
        assert len(exchange.requests()) == 1
        port = int(exchange.url.rpartition(":")[2])
        exchange.faults.on("GET", "ping").go_dead(answered=answered)
        kept = socket.create_connection(("127.0.0.1", port))
        kept.sendall(b"GET /api/v3/ping HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while len(exchange.requests()) < 2:
            time.sleep(0.01)
    with closing(kept):
        kept.settimeout(5)
        while kept.recv(65_536):
            pass


def test_clocks_jump(exchange: LocalExchange, client: Client) -> None:
    """What a client has just measured no longer holds."""
    exchange.faults.on("GET", "time").jump(seconds=90)
    assert abs(client.public("/api/v3/time").body["serverTime"] - now()) < 2_000
    assert client.cancel_all().refusal[0] == -1021
    assert abs(client.public("/api/v3/time").body["serverTime"] - now() - 90_000) < 2_000
    exchange.faults.on("GET", "time").jump(seconds=-180)
    client.public("/api/v3/time")
    assert exchange.faults.skew == -90


@pytest.mark.parametrize("how", ["fail", "lose_answer", "reset", "go_dead"])
@pytest.mark.parametrize("tail", [0, 0.4])
def test_cancels_that_land_late(exchange: LocalExchange, client: Client, how: str, tail: float) -> None:
    """In the dialect for it, the engine executes after the recvWindow a request whose answer is hidden."""
    exchange.reset(dialect=Dialect(engine_tail=tail))
    client.limit("BUY", 50000)
    coming = exchange.faults.on("DELETE", "openOrders")
    if how == "fail":
        coming.fail()
    elif how == "go_dead":
        coming.go_dead(answered=False)
    else:
        coming.lose_answer(reset=how == "reset")
    query = f"symbol=BTCUSDT&recvWindow=200&timestamp={now()}"
    target = f"{OPEN_ORDERS}?{query}&signature={sign(exchange.secret_key, query)}"
    with closing(http.client.HTTPConnection(exchange.url[len("http://") :], timeout=0.2)) as hasty:
        hasty.request("DELETE", target, headers={"X-MBX-APIKEY": exchange.api_key})
        with suppress(OSError, http.client.HTTPException):
            hasty.getresponse()
    assert len(exchange.open_orders()) == bool(tail)
    client.limit("BUY", 40000)
    time.sleep(tail + 0.2)
    assert len(exchange.open_orders()) == (not tail)
    assert [row["status"] for row in exchange.orders()] == ["CANCELED", "CANCELED" if tail else "NEW"]


def test_what_is_too_old_has_no_tail(exchange: LocalExchange, client: Client) -> None:
    """A request whose recvWindow ends before the engine is not executed later; queries are never late."""
    exchange.reset(dialect=Dialect(engine_tail=0.1))
    client.limit("BUY", 50000)
    exchange.faults.on("DELETE", times=1).fail(delay=0.3)
    exchange.faults.on("GET").fail()
    assert client.signed("DELETE", OPEN_ORDERS, symbol="BTCUSDT", recvWindow=100).status == 504
    assert client.signed("GET", OPEN_ORDERS).status == 504
    time.sleep(0.2)
    assert len(exchange.open_orders()) == 1
    assert [each["executed"] for each in exchange.requests()] == [True, False, True]


KINDS: list[dict[str, Any]] = [
    {"kind": "answer_late", "seconds": "0.001"},
    {"kind": "execute_late", "seconds": "0.001"},
    {"kind": "lose_answer", "delay": "0", "late": "0"},
    {"kind": "fail", "code": "-1006", "status": "502", "body": "x"},
    {"kind": "truncate", "size": "3"},
    {"kind": "drip", "size": "3", "seconds": "0"},
    {"kind": "firewall", "echo": "true"},
    {"kind": "limit", "retryAfter": "1"},
    {"kind": "ban"},
    {"kind": "unavailable"},
    {"kind": "limit", "retryAfter": "Fri, 27 Nov 2026 07:28:00 GMT"},
    {"kind": "fail", "code": "-2011", "text": "UNKNOWN_ORDER", "status": "200"},
    {"kind": "interim"},
    {"kind": "interim", "statuses": "102,103"},
    {"kind": "answer_twice", "seconds": "0.01"},
    {"kind": "answer_about", "other": "order"},
    {"kind": "answer_under", "status": "404"},
    {"kind": "go_dead", "answered": "true"},
    {"kind": "jump", "seconds": "-3"},
]


@pytest.mark.parametrize("asked", KINDS, ids=lambda asked: str(asked["kind"]))
def test_every_kind_can_be_set_over_http(exchange: LocalExchange, client: Client, asked: dict[str, Any]) -> None:
    """Each kind takes its own options, and meets the next request."""
    control(client, "POST", "faults", **asked)
    with suppress(http.client.HTTPException, ValueError):
        client.public("/api/v3/ping")
    assert exchange.requests()[0]["fault"] == asked["kind"]


@pytest.mark.parametrize(
    ("params", "code"),
    [
        ({}, -1102),
        ({"kind": "meltdown"}, -1130),
        ({"kind": "clear"}, -1130),
        ({"kind": "drip", "seconds": "x"}, -1130),
        ({"kind": "drip", "seconds": "nan"}, -1130),
        ({"kind": "limit", "seconds": "1"}, -1130),
        ({"kind": "answer_late"}, -1130),
        ({"kind": "limit", "times": "0"}, -1130),
        ({"kind": "limit", "times": "1.5"}, -1130),
        ({"kind": "lose_answer", "reset": "perhaps"}, -1130),
        ({"kind": "limit", "colour": "red"}, -1104),
        ({"lag": "-1"}, -1130),
        ({"skew": "999999999"}, -1130),
        ({"kind": "limit", "symbol": "btcusdt"}, -1100),
        ({"kind": "interim", "statuses": "200"}, -1130),
        ({"kind": "interim", "statuses": "103,x"}, -1130),
        ({"kind": "answer_about", "other": "galaxy"}, -1130),
        ({"kind": "answer_under"}, -1130),
        ({"kind": "answer_under", "status": "103"}, -1130),
        ({"kind": "_meet"}, -1130),
    ],
)
def test_backstage_refuses_nonsense(exchange: LocalExchange, client: Client, params: dict[str, Any], code: int) -> None:
    """Impossible values are a refusal, never a 500, and change nothing."""
    answer = client.signed("POST", "/nbext/faults", headers=None, **params)
    assert (answer.status, answer.refusal[0]) == (400, code)
    assert (exchange.faults.pending(), exchange.faults.lag, exchange.faults.skew) == ([], 0, 0)


def test_backstage_asks_for_the_key(exchange: LocalExchange, client: Client) -> None:
    """Nothing is told without a key, with a wrong signature, or with a key that may not trade or is not main's."""
    placed = client.limit("BUY", 50000).body["orderId"]
    asked = [("POST", "faults"), ("GET", "faults"), ("DELETE", "faults"), ("GET", "requests")]
    for method, path in asked:
        assert client.send(method, f"/nbext/{path}").refusal[0] == -1102
        assert client.send(method, f"/nbext/{path}", headers={"X-MBX-APIKEY": ""}).refusal[0] == -2014
        forged = f"/nbext/{path}?timestamp={now()}&signature={'0' * 64}"
        assert client.send(method, forged).refusal[0] == -1022
    for key in (exchange.add_key(trade=False), exchange.add_key(account="other")):
        with Client(exchange.url, key.api_key, key.secret_key or "") as other:
            answers = [
                other.signed("GET", "/nbext/history", symbol="BTCUSDT", orderId=placed),
                other.signed("POST", "/nbext/faults", kind="limit"),
                *(other.signed(method, f"/nbext/{path}") for method, path in asked[1:]),
            ]
            assert [(answer.status, answer.refusal[0]) for answer in answers] == [(401, -2015)] * 5
    old = client.signed("GET", "/nbext/requests", timestamp=now() - 6_000)
    assert old.refusal[0] == -1021
    assert client.signed("GET", "/nbext/history", symbol="BTCUSDT", orderId=1).refusal[0] == -2013
    assert client.signed("PUT", "/nbext/faults").status == 405
    assert client.signed("GET", "/nbext/keys").status == 404


def test_stopping_does_not_wait_for_late_answers() -> None:
    """An exchange that stops drops the answers it still owes."""
    exchange = LocalExchange().start()
    exchange.faults.answer_late("GET", "ping", seconds=60)
    exchange.faults.drip("GET", "time", seconds=60)
    port = int(exchange.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port)) as first,
        socket.create_connection(("127.0.0.1", port)) as second,
    ):
        for raw, name in ((first, b"ping"), (second, b"time")):
            raw.sendall(b"GET /api/v3/" + name + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
        while len(exchange.requests()) < 2:
            time.sleep(0.01)
        begun = time.monotonic()
        exchange.stop()
        assert time.monotonic() - begun < 5
        assert first.recv(10) == b""
