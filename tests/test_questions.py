"""Questions get over a clock that is off and over short limits; and what looks claim is no more than they can know."""

from __future__ import annotations

import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from support.reconciling import PATH, Quick
from support.server import answer

import nbext
from nbext.cancel.reads import OpenOrders, look, read
from nbext.cancel.selection import Filter, Latency, one_by_one
from nbext.exchange import Dialect, LocalExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from support.server import PlainServer, Request

    from nbext.spot.client import SpotClient


def consent(client: SpotClient, **more: Any) -> int:
    """Ask, agree, and cancel."""
    call = Quick(client, seen=True, **more)
    return len(call.run())


CALLS: dict[str, Callable[[Any], int]] = {
    "open_orders": lambda client: len(nbext.open_orders("BTCUSDT", client=client)),
    "dry run": lambda client: len(nbext.cancel_all("BTCUSDT", client=client, dry_run=True)),
    "consent": consent,
    "filter": lambda client: len(nbext.cancel_all("BTCUSDT", client=client, side="BUY", yes=True)),
    "all": lambda client: len(nbext.cancel_all(all=True, client=client, yes=True)),
    "frame": lambda client: len(
        nbext.cancel_orders(nbext.open_orders("BTCUSDT", client=client), client=client, yes=True)
    ),
    "check": lambda client: len(nbext.cancel_all("BTCUSDT", client=client, yes=True, check=True)),
}


@pytest.mark.parametrize("skew", [-30, 30])
@pytest.mark.parametrize("measured", [False, True], ids=["unmeasured", "gone stale"])
@pytest.mark.parametrize("call", CALLS)
def test_every_read_gets_over_a_clock_that_is_off(
    exchange: LocalExchange, client: SpotClient, call: str, measured: bool, skew: int
) -> None:
    """-1021 has the clock measured, also when that was done before the clock was set."""
    if measured:
        client.measure_clock_offset()
    exchange.faults.skew = skew
    assert CALLS[call](client) > 0
    assert client.clock_offset == pytest.approx(skew * 1000, abs=500)


@pytest.mark.parametrize("retry_after", [1, 0])
@pytest.mark.parametrize("call", CALLS)
def test_every_read_waits_out_a_short_limit(
    exchange: LocalExchange, client: SpotClient, call: str, retry_after: int
) -> None:
    """A 429 is waited out, for a second at least; without a burst, and without an error."""
    exchange.faults.on("GET", PATH).limit(retry_after=retry_after)
    began = time.monotonic()
    assert CALLS[call](client) > 0
    assert time.monotonic() - began >= 0.9
    assert len(exchange.requests("GET", PATH)) <= 3


def test_a_limit_without_end_is_not_waited_out_for_ever(exchange: LocalExchange, client: SpotClient) -> None:
    """Five attempts, and no more than the time allowed."""
    exchange.faults.on("GET", PATH, times=None).limit(retry_after=0)
    with pytest.raises(nbext.RateLimitedError):
        nbext.open_orders("BTCUSDT", client=client)
    assert len(exchange.requests("GET", PATH)) <= 5
    exchange.faults.on("GET", PATH, times=None).limit(retry_after=60)


def test_waits_of_a_read_count_together(exchange: LocalExchange, client: SpotClient) -> None:
    """Each wait alone would be short enough."""
    exchange.faults.on("GET", PATH, times=None).limit(retry_after=1)
    with pytest.raises(nbext.RateLimitedError):
        read(client, PATH, {"symbol": "BTCUSDT"}, max_wait=1.5)
    assert len(exchange.requests("GET", PATH)) == 2


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_ban_is_not_waited_out_however_short(exchange: LocalExchange, client: SpotClient, method: str) -> None:
    """After 418 nothing is sent again by itself, be it a question or a cancel."""
    exchange.faults.on(method, PATH).ban(retry_after=1)
    with pytest.raises(nbext.RateLimitedError) as banned:
        nbext.open_orders("BTCUSDT", client=client) if method == "GET" else Quick(client, max_wait=10.0).run()
    assert banned.value.http_status == 418
    assert len(exchange.requests(method, PATH)) == 1


def test_reconciling_gets_over_a_clock_that_jumps(exchange: LocalExchange, client: SpotClient) -> None:
    """The clock jumps after the cancel was sent, and whose answer got lost."""
    client.measure_clock_offset()
    call = Quick(client, seen=True)
    exchange.faults.lose_answer("DELETE", PATH)
    exchange.faults.on("DELETE", PATH).jump(seconds=30)
    assert set(call.run()["outcome"]) == {"canceled"}


@pytest.mark.parametrize("how", ["without a look, by lists", "one order, by queries"])
def test_each_read_of_reconciling_gets_over_a_clock_that_jumps(
    exchange: LocalExchange, client: SpotClient, how: str
) -> None:
    """The clock jumps after the first read; the second one, which confirms what was executed, is made all the same."""
    if is_one := how.startswith("one"):
        exchange.reset()
        exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    call = Quick(client, seen=is_one)
    exchange.faults.lose_answer("DELETE", PATH)
    exchange.faults.on("GET", "/api/v3/order" if is_one else "/api/v3/allOrders").jump(seconds=30)
    frame = call.run()
    assert len(frame) > 0
    assert set(frame["outcome"]) == {"canceled"}
    assert frame["executedQty"].notna().all()


# Nothing open.


@pytest.mark.parametrize("how", ["consent", "all", "filter"])
def test_nothing_open_is_looked_at_twice(exchange: LocalExchange, client: SpotClient, how: str) -> None:
    """A first read that lags behind what was just placed does not have the call say that nothing was open."""
    exchange.reset()
    exchange.faults.lag = 0.4
    time.sleep(0.5)
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    settings: dict[str, Any] = {"latency": Latency(engine=0.2, lag=0.6)}
    if how == "filter":
        settings["side"] = "BUY"
    call = Quick(client, **settings) if how != "all" else Quick(client, all_symbols=True, **settings)
    if how == "consent":
        call.job.obtain_consent(lambda preview, _: str(len(preview)))
    assert call.run()["outcome"].tolist() == ["canceled"]


def test_a_refused_cancel_all_is_nothing_open_only_if_reads_that_are_late_enough_say_so(
    exchange: LocalExchange, client: SpotClient
) -> None:
    """In other words than usual, and the first read lags: the orders are there, so the refusal stands."""
    exchange.reset()
    exchange.faults.lag = 0.4
    time.sleep(0.5)
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    exchange.faults.fail(
        "DELETE", PATH, code=-2011, text="Order was not canceled due to cancel restrictions.", after_executing=False
    )
    with pytest.raises(nbext.RejectedError, match="cancel restrictions"):
        Quick(client, latency=Latency(engine=0.2, lag=0.6)).run()


@pytest.mark.parametrize("code", [-2011, -1013])
def test_a_refusal_in_other_words_with_nothing_open_is_no_error(
    exchange: LocalExchange, client: SpotClient, code: int
) -> None:
    """The same refusal where there is nothing: an empty frame, and the summary says how it is known."""
    exchange.reset(dialect=Dialect(nothing_open_text="CANCEL_REJECTED", unknown_code=code))
    call = Quick(client)
    frame = call.run()
    assert len(frame) == 0
    assert call.said[-1].startswith("BTCUSDT: a cancel on BTCUSDT was refused, and reads list nothing open")
    assert "nothing was open" not in call.said[-1]


def test_a_check_says_what_is_listed_and_takes_nothing_away(exchange: LocalExchange, client: SpotClient) -> None:
    """What `--check` cannot read is said, and the frame is there all the same."""
    call = Quick(client)
    exchange.faults.fail("GET", PATH, times=None)
    assert len(call.run(check=True)) == 13
    assert any("could not be read" in line for line in call.said)
    exchange.faults.clear()
    again = Quick(client)
    again.run(check=True)
    assert "read again, nothing is listed as open" in again.said[-1]


# What a read has to be about.


def listing(*orders: dict[str, Any]) -> Callable[[Request], bytes]:
    """Answer everything with these orders."""
    return lambda request: answer({"serverTime": 0} if request.path == "/api/v3/time" else list(orders))


ORDER = {"orderId": 1, "clientOrderId": "a", "status": "NEW", "orderListId": -1}


def connect(server: PlainServer) -> SpotClient:
    """Connect with some key."""
    return nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64)


def test_a_look_is_about_what_was_asked(serve: Callable[..., PlainServer]) -> None:
    """Each order once, with its symbol; another symbol is no answer."""
    with connect(serve(listing(ORDER, ORDER | {"symbol": "BTCUSDT"}, ORDER | {"orderId": "2"}))) as client:
        seen = look(client, ["BTCUSDT"])
        assert [order["orderId"] for order in seen.orders] == [1, 2]
        assert seen.symbols() == ["BTCUSDT"]
        assert len(one_by_one(seen)) == 2
        with pytest.raises(nbext.RejectedError, match="without its symbol"):
            look(client, [])
    for other in ("ETHUSDT", None):
        with (
            connect(serve(listing(ORDER | {"symbol": other}))) as client,
            pytest.raises(nbext.RejectedError, match="another symbol"),
        ):
            look(client, ["BTCUSDT"])


@pytest.mark.parametrize("name", ["status", "orderId", "orderListId", "clientOrderId"])
@pytest.mark.parametrize("value", [[1], {"a": 1}])
def test_a_key_that_can_be_none_stands_beside(serve: Callable[..., PlainServer], name: str, value: object) -> None:
    """An order whose name, id or status is a list or an object is shown, with that under `wire.NAME`."""
    with connect(serve(listing(ORDER | {"symbol": "BTCUSDT"} | {name: value}))) as client:
        frame = nbext.open_orders("BTCUSDT", client=client)
    assert frame[f"wire.{name}"].tolist() == [value]


def test_an_order_without_its_ids_is_not_canceled_by_one_of_them() -> None:
    """A single cancel names an order by both ids, or is not sent."""
    with pytest.raises(nbext.RejectedError, match="nothing was sent"):
        one_by_one(OpenOrders([{"symbol": "A", "status": "NEW", "orderId": 1}], []))


def test_the_age_of_a_leg_is_that_of_its_list() -> None:
    """A leg may show the time of its release; its list was placed no later than the first time that it shows."""
    legs: list[Mapping[str, Any]] = [
        {"symbol": "A", "orderListId": 0, "orderId": 1, "time": 5_000},
        {"symbol": "A", "orderListId": 0, "orderId": 2, "time": 90_000},
    ]
    seen = OpenOrders(legs, [{"symbol": "A", "orderListId": 0, "transactionTime": 4_000}])
    assert seen.placed() == {("A", 0): 4_000}
    assert not Filter(older_than=timedelta(minutes=1)).matches(legs[1], 100_000)
    assert Filter(older_than=timedelta(minutes=1)).matches(legs[1], 100_000, seen.placed()["A", 0])
