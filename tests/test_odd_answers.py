"""Whole calls against an exchange that answers anything: no accident reaches the user, and no word is false."""

from __future__ import annotations

import json
import re
import time
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.jobs import make_job
from support.server import PlainServer, Request, answer

import nbext
from nbext import session
from nbext.cancel import unfinished
from nbext.cancel.selection import Latency, orders_of
from nbext.spot.client import forget_holds

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ODD: list[Any] = [
    None, True, False, 0, -1, 1, 2**53, 2**63, -(2**63) - 1, 10**30, 1.5, -0.0, 1e308, "", "x", "NEW", "CANCELED",
    "FILLED", "0", "-1", "1e5", "NaN", "\ud800", "\x00", "\x1b[2J", "a" * 5000, [], [1], {}, {"a": 1}, [[]], "٣", "1_0",
    " 1", "+1", "9" * 40, "1" * 5000, [{"orderId": 1}], {"orderId": 1}, [None], {"code": -2011, "msg": "x"},
]  # fmt: skip
NAMES = [
    "extra",
    "outcome",
    "wire.price",
    "list.x",
    "orderReports",
    "orders",
    "\ud800",
    "",
    "a b",
    "index",
    "code",
    "msg",
]
STATUSES = [200, 200, 200, 200, 200, 200, 400, 401, 403, 404, 409, 418, 429, 500, 503]


def spoiled(document: Any, chance: Random) -> Any:  # noqa: PLR0911 - JSON of any kind
    """Change something, somewhere in a document."""
    if isinstance(document, list) and document:
        kind = chance.random()
        if kind < 0.1:
            return [*document, chance.choice([*ODD, *document])]
        if kind < 0.15:
            return chance.choice(ODD)
        at = chance.randrange(len(document))
        return [spoiled(each, chance) if index == at else each for index, each in enumerate(document)]
    if isinstance(document, dict) and document:
        kind, name = chance.random(), chance.choice(list(document))
        if kind < 0.1:
            return {key: value for key, value in document.items() if key != name}
        if kind < 0.2:
            return {**document, chance.choice(NAMES): chance.choice(ODD)}
        if kind < 0.25:
            return chance.choice(ODD)
        deeper = isinstance(document[name], list | dict) and chance.random() < 0.7
        return {**document, name: spoiled(document[name], chance) if deeper else chance.choice(ODD)}
    return chance.choice(ODD)


class Fuzzed:
    """An exchange with five orders on one symbol, two of them in a list, that spoils some of what it says."""

    def __init__(self, chance: Random) -> None:
        self.chance = chance
        self.which = chance.choice(["DELETE", "DELETE", "openOrders", "allOrders", "order", "openOrderList", "time"])
        self.loses = self.which in {"allOrders", "order", "time"} or chance.random() < 0.2
        self.status = dict.fromkeys(range(1, 6), "NEW")
        self.told: list[Any] = []

    def order(self, number: int) -> dict[str, Any]:
        """Return an order's own fields."""
        return {
            "symbol": "BTCUSDT",
            "orderId": number,
            "orderListId": 7 if number > 3 else -1,
            "price": "1.50",
            "origQty": "2.0",
            "executedQty": "0.0",
            "cummulativeQuoteQty": "0.0",
            "status": self.status[number],
            "timeInForce": "GTC",
            "type": "LIMIT",
            "side": "BUY" if number % 2 else "SELL",
        }

    def queried(self, number: int) -> dict[str, Any]:
        """Show an order as a query does."""
        now = time.time_ns() // 1_000_000
        times = {"time": now, "updateTime": now, "isWorking": True, "workingTime": now}
        return {**self.order(number), "clientOrderId": f"own-{number}", **times}

    def report(self, number: int) -> dict[str, Any]:
        """Cancel an order, and report it."""
        self.status[number] = "CANCELED"
        now = time.time_ns() // 1_000_000
        ids = {"origClientOrderId": f"own-{number}", "clientOrderId": "cancel", "transactTime": now}
        return {**self.order(number), **ids}

    def the_list(self) -> dict[str, Any]:
        """Describe the list."""
        legs = [{"symbol": "BTCUSDT", "orderId": number, "clientOrderId": f"own-{number}"} for number in (4, 5)]
        kind = {"contingencyType": "OCO", "listStatusType": "EXEC_STARTED", "listOrderStatus": "EXECUTING"}
        ids = {"orderListId": 7, "listClientOrderId": "L7", "transactionTime": time.time_ns() // 1_000_000}
        return {**ids, **kind, "symbol": "BTCUSDT", "orders": legs}

    def document(self, request: Request) -> object:  # noqa: PLR0911 - an endpoint each
        """Answer as the exchange would."""
        name, asked = request.path.rpartition("/")[2], request.params
        if request.method == "DELETE":
            if name == "order":
                return self.report(int(asked["orderId"]))
            legs = {**self.the_list(), "orderReports": [self.report(4), self.report(5)]}
            return legs if name == "orderList" else [*map(self.report, (1, 2, 3)), legs]
        if name == "openOrders":
            return [self.queried(number) for number, status in self.status.items() if status == "NEW"]
        if name == "openOrderList":
            return [self.the_list()] if self.status[4] == "NEW" else []
        if name == "allOrders":
            return [self.queried(number) for number in self.status]
        if name == "order":
            return self.queried(int(asked["orderId"])) if asked.get("orderId") in {*"12345"} else {"code": -2013}
        return {"serverTime": time.time_ns() // 1_000_000}

    def respond(self, request: Request) -> Any:
        """Answer, spoiled where it is its turn."""
        document, status = self.document(request), 200
        if request.method == "DELETE" and self.loses:
            return iter(())
        if self.which in {request.method, request.path.rpartition("/")[2]}:
            document = spoiled(document, self.chance)
            if self.chance.random() < 0.3:
                document = spoiled(document, self.chance)
            status = self.chance.choice(STATUSES)
        self.told.append(document)
        return answer(json.dumps(document).encode("utf-8", "surrogatepass"), status, {"Retry-After": "1"})


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder for the journal of all examples."""
    return tmp_path_factory.mktemp("fuzz")


def call(way: str, client: nbext.SpotClient, said: list[str], *, exact: bool) -> Any:
    """Cancel in one of the ways."""
    kept: dict[str, Any] = {
        "client": client,
        "latency": Latency(engine=0.02, lag=0.01),
        "reconcile": 0.15,
        "recv_window": "50",
        "exact": exact,
        "say": said.append,
    }
    if way == "filter":
        return make_job(["BTCUSDT"], side="BUY", **kept).run(check=True)
    if way == "everything":
        return make_job(all_symbols=True, **kept).run()
    if way == "orders":
        return make_job(orders=orders_of(nbext.open_orders("BTCUSDT", client=client), client), **kept).run()
    job = make_job(["BTCUSDT"], **kept)
    if way == "agreed":
        job.obtain_consent(lambda preview, _: str(len(preview)))
    return job.run()


def test_a_symbol_that_no_request_can_name_costs_the_others_no_word(tmp_path: Path, monkeypatch: Any) -> None:
    """The others are canceled and in the frame; for it alone nothing was sent, and the journal can be shown."""
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    session.reset()
    exchange = Fuzzed(Random(1))  # noqa: S311 - it spoils nothing here
    exchange.loses, exchange.which = False, ""

    def respond(request: Request) -> Any:
        document = exchange.document(request)
        if request.path.endswith("/openOrders") and request.method == "GET":
            document = [*document, {**exchange.queried(1), "symbol": "\ud800", "orderId": 9}]  # type: ignore[misc] # a list
        return answer(json.dumps(document).encode())

    server = PlainServer(respond)
    said: list[str] = []
    with (
        nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64) as client,
        pytest.raises(nbext.OutcomeUnknownError) as failed,
    ):
        call("everything", client, said, exact=False)
    server.close()
    assert "nothing was sent" not in str(failed.value)
    assert set(failed.value.failures) == {"\ud800"}
    assert "not sent, because symbol" in str(failed.value.failures["\ud800"])
    frame = failed.value.frame
    assert frame is not None
    assert frame is nbext.last
    assert list(frame["outcome"]) == ["canceled"] * 5 + ["unknown"]
    log = unfinished.cancel_log()
    assert sorted(log["request"]) == ["cancel all on BTCUSDT", r"cancel all on \ud800"]
    assert list(log.loc[log["request"] == "cancel all on BTCUSDT", "canceled"]) == [5]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(seed=st.integers(0, 2**40))
def test_whatever_an_exchange_answers_there_is_a_word_and_it_is_true(fuzzed: Path, seed: int) -> None:
    """A frame, or an error of ours: recorded, kept, and with no order called canceled that nobody said to be."""
    session.reset()
    forget_holds()
    chance = Random(seed)  # noqa: S311 - used by the server's threads, as hypothesis's own may not be
    exchange = Fuzzed(chance)
    server = PlainServer(exchange.respond)
    said: list[str] = []
    kept: dict[str, Any] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NBEXT_JOURNAL", str(fuzzed / "journal.sqlite3"))
        patch.setattr(session, "last", None)
        with nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64, answer_timeout=1) as client:
            try:
                way = chance.choice(["plain", "agreed", "filter", "orders", "everything"])
                kept["frame"] = call(way, client, said, exact=chance.random() < 0.3)
            except nbext.NbextError as failed:
                kept = {"error": failed, "frame": failed.frame}
        error: nbext.NbextError | None = kept.get("error")
        frame: Any = kept.get("frame")
        sent = [request for request in server.requests if request.method == "DELETE"]
        if sent:
            assert error is None or type(error) is not nbext.NbextError, error  # the table could be built
            assert frame is not None
        if frame is not None:
            assert id(frame) == id(nbext.last)
            canceled = frame.loc[frame["outcome"] == "canceled"]
            assert not any(exchange.status.get(number) == "NEW" for number in canceled["orderId"].dropna())
            for line in said:
                if counted := re.match(r"[A-Z, ]+: ([0-9]+) orders? canceled", line):
                    assert int(counted[1]) == len(canceled)
            if error is None:
                assert set(frame["outcome"]) <= {"canceled", "filled", "expired", "rejected", "archived"}
        logged = unfinished.cancel_log()
        assert len(logged) >= len(sent)
        session.reset()
    server.close()


@pytest.mark.parametrize("reported", [True, False])
def test_an_order_listed_without_its_id_is_neither_waited_for_nor_shown_twice(
    serve: Callable[[Callable[[Request], bytes]], PlainServer], reported: bool
) -> None:
    """The cancel's report is known by the order's own id; without one it is unknown, at once, as no read can tell."""

    def respond(request: Request) -> bytes:
        orders = [named(number) for number in (1, 2)]
        if request.method == "DELETE":
            return answer([{**order, "status": "CANCELED"} for order in orders[: 2 if reported else 1]])
        listed = [{**order, "clientOrderId": order.pop("origClientOrderId")} for order in orders]
        del listed[1]["orderId"]
        return answer(listed)

    def named(number: int) -> dict[str, Any]:
        order = {"symbol": "BTCUSDT", "orderId": number, "orderListId": -1, "origClientOrderId": f"own-{number}"}
        return {**order, "price": "1.0", "origQty": "1", "executedQty": "0", "status": "NEW", "side": "BUY"}

    server = serve(respond)
    client = nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64)
    began = time.monotonic()
    frame: Any
    if reported:
        frame = make_job(all_symbols=True, client=client).run()
    else:
        with pytest.raises(nbext.OutcomeUnknownError, match="the outcome of 1 order is not known") as unknown:
            make_job(all_symbols=True, client=client).run()
        frame = unknown.value.frame
    assert time.monotonic() - began < 10
    assert frame["origClientOrderId"].tolist() == ["own-1", "own-2"]
    assert frame["outcome"].tolist() == ["canceled", "canceled" if reported else "unknown"]


STRANGE = {
    "a page of maintenance under 200": b"<html>system upgrade</html>",
    "null": b"null",
    "an empty object": b"{}",
    "the order of before": b"",
}


@pytest.mark.parametrize("body", STRANGE)
def test_single_cancels_that_were_answered_with_something_else_are_looked_up(
    serve: Callable[[Callable[[Request], bytes]], PlainServer], body: str
) -> None:
    """As other clients have met them: each row is what a query shows, and no cancel goes out twice."""

    def respond(request: Request) -> bytes:
        if request.path.endswith("/time"):
            return answer({"serverTime": time.time_ns() // 1_000_000})
        if request.path.endswith("/openOrders"):
            return answer([shown(number, "NEW") for number in (1, 2, 3)])
        number = int(request.params["orderId"])
        if request.method == "DELETE":
            return answer(STRANGE[body] or json.dumps(shown(number, "NEW")))
        return answer(shown(number, "FILLED" if number == 2 else "CANCELED"))

    def shown(number: int, status: str) -> dict[str, Any]:
        executed = "1" if status == "FILLED" else "0"
        order = {"symbol": "BTCUSDT", "orderId": number, "orderListId": -1, "clientOrderId": f"own-{number}"}
        amounts = {"price": "1.0", "origQty": "1", "executedQty": executed, "cummulativeQuoteQty": executed}
        times = {"time": 1700000000000, "updateTime": 1700000000000}
        return {**order, **amounts, **times, "status": status, "side": "BUY", "type": "LIMIT", "isWorking": True}

    server = serve(respond)
    client = nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64)
    frame = make_job(["BTCUSDT"], client=client, side="BUY").run()
    assert frame["outcome"].tolist() == ["canceled", "filled", "canceled"]
    assert sum(request.method == "DELETE" for request in server.requests) == 3
