"""The time for reconciling is used: whatever reads can still prove before it is over, they are asked for."""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING

import pytest
from support.reconciling import PATH, Quick, executed, require_truth
from support.server import PlainServer, Request, answer

import nbext
from nbext.cancel.selection import Latency, orders_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[SpotClient]:
    """Connect with deadlines that keep a test short."""
    with nbext.SpotClient(
        exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key, answer_timeout=0.5
    ) as client:
        yield client


@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_amounts_are_confirmed_where_time_is_left(exchange: LocalExchange, client: SpotClient, seen: bool) -> None:
    """Reads show late that an order has ended: the one that confirms its amounts comes before the time is up."""
    call = Quick(client, seen=seen, recv_window=3000, reconcile=3.0, latency=Latency(engine=0.5, lag=0.25))
    exchange.faults.execute_late("DELETE", PATH, seconds=2.2)  # 1.7 s after the answer was given up
    frame = call.run()
    require_truth(exchange, frame)
    assert set(frame["outcome"]) == {"canceled"}
    assert frame["executedQty"].notna().all()
    assert frame["cummulativeQuoteQty"].notna().all()


def test_open_is_proven_where_time_is_left(exchange: LocalExchange, client: SpotClient) -> None:
    """What is open is read once that proves something, however long the pauses between reads have become."""
    exchange.faults.lose_answer("DELETE", PATH, after_executing=False)
    with pytest.raises(nbext.IncompleteError) as incomplete:
        Quick(client, seen=True, reconcile=2.0, latency=Latency(engine=0.9, lag=0.2)).run()
    assert incomplete.value.frame is not None
    assert set(incomplete.value.frame["outcome"]) == {"open"}


def test_a_stamp_that_is_ahead_keeps_a_cancel_good_for_longer(exchange: LocalExchange) -> None:
    """From a clock that is 0.8 s ahead, a cancel is let in, and may be carried out 0.8 s longer: `open` waits."""
    exchange.reset()
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    exchange.faults.skew = -0.8
    with nbext.SpotClient(
        exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key, answer_timeout=0.4
    ) as client:
        call = Quick(client, seen=True, recv_window=600, latency=Latency(engine=0.1, lag=0.1))
        exchange.faults.execute_late("DELETE", PATH, seconds=1.2)
        frame = call.run()
    assert executed(exchange) == [True]
    assert frame["outcome"].tolist() == ["canceled"]


def test_what_is_open_was_so_before_the_read_began(exchange: LocalExchange) -> None:
    """The time that is told with `open` lies before the read that showed it, by the allowance for lag."""
    exchange.reset()
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    slow, lag = 1.5, 1.5
    with nbext.SpotClient(exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
        call = Quick(client, seen=True, reconcile=10.0, latency=Latency(engine=0.1, lag=lag))
        exchange.faults.lose_answer("DELETE", PATH, after_executing=False)
        for path in (PATH, "/api/v3/order"):
            exchange.faults.answer_late("GET", path, seconds=slow, times=None)
        with pytest.raises(nbext.IncompleteError) as incomplete:
            call.run()
    latest = time.time() - slow - lag
    told = {re.findall(r"still open as of ([0-9:]{8}) UTC", line)[0] for line in (str(incomplete.value), call.said[-1])}
    assert told <= {time.strftime("%H:%M:%S", time.gmtime(latest - earlier)) for earlier in range(60)}


def test_the_last_pause_does_not_last_to_the_end(exchange: LocalExchange, client: SpotClient) -> None:
    """What happens between the last read but one and the end is read, too, though no moment proves more then."""
    exchange.reset()
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    call = Quick(client, seen=True, recv_window=4000, reconcile=1.9, latency=Latency(engine=5.0, lag=0.1))
    exchange.faults.execute_late("DELETE", PATH, seconds=2.1)  # 1.6 s after the answer was given up
    assert call.run()["outcome"].tolist() == ["canceled"]


def test_a_clock_that_is_told_slowly_does_not_outlast_the_time(exchange: LocalExchange) -> None:
    """After a lost answer the exchange's time is asked for first, within the same time."""
    with nbext.SpotClient(exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
        call = Quick(client, seen=True, reconcile=1.0)
        exchange.faults.lose_answer("DELETE", PATH, after_executing=False)
        exchange.faults.answer_late("GET", "/api/v3/time", seconds=10, times=None)
        began = time.monotonic()
        with pytest.raises(nbext.OutcomeUnknownError):
            call.run()
        assert time.monotonic() - began < 6


def test_reading_ends_with_the_time(exchange: LocalExchange, client: SpotClient) -> None:
    """What cannot be proven in time costs no more than that, and no read that the end would cut off."""
    call = Quick(client, seen=True, reconcile=0.7, latency=Latency(engine=20.0, lag=0.2))
    exchange.faults.lose_answer("DELETE", PATH, after_executing=False)
    began = time.monotonic()
    with pytest.raises(nbext.OutcomeUnknownError):
        call.run()
    assert time.monotonic() - began < 10
    assert not any("Read failed" in line for line in call.said)


@pytest.mark.parametrize("good", [0, 1])
def test_a_read_that_fails_once_is_not_the_last(exchange: LocalExchange, client: SpotClient, good: int) -> None:
    """An order that is gone when it is to be canceled is read until its state and its amounts are known."""
    exchange.reset()
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    shown = nbext.open_orders("BTCUSDT", client=client)
    exchange.withdraw("BTCUSDT", int(shown["orderId"].iloc[0]))
    call = Quick(client, orders=orders_of(shown, client))
    for _ in range(good):
        exchange.faults.answer_late("GET", "/api/v3/order", seconds=0.0)
    exchange.faults.fail("GET", "/api/v3/order", code=-1007)
    frame = call.run()
    require_truth(exchange, frame)
    assert frame["outcome"].tolist() == ["expired"]
    assert frame["executedQty"].tolist() == [0.0]


def _order(number: int, status: str) -> dict[str, object]:
    return {
        "symbol": "BTCUSDT",
        "orderId": number,
        "orderListId": -1,
        "clientOrderId": f"own-{number}",
        "status": status,
        "origQty": "1",
        "executedQty": "0",
        "cummulativeQuoteQty": "0",
        "updateTime": 1,
        "isWorking": True,
    }


def test_an_order_that_cannot_be_read_hides_no_other() -> None:
    """The first order's queries all fail: the others are read all the same."""
    canceled: list[Request] = []

    def respond(request: Request) -> bytes:
        if request.path == "/api/v3/time":
            return answer({"serverTime": round(time.time() * 1000)})
        if request.method == "DELETE":
            canceled.append(request)
            return answer("{}", status=502)
        if request.path == "/api/v3/order":
            number = int(request.params["orderId"])
            return answer("<html>", status=502) if number == 1 else answer(_order(number, "CANCELED"))
        return answer([] if canceled else [_order(number, "NEW") for number in (1, 2, 3)])

    server = PlainServer(respond)
    try:
        with nbext.SpotClient(server.url, api_key="key", secret_key="secret") as client:
            call = Quick(client, seen=True, reconcile=1.5)
            with pytest.raises(nbext.OutcomeUnknownError) as unknown:
                call.run()
    finally:
        server.close()
    frame = unknown.value.frame
    assert frame is not None
    assert frame["outcome"].tolist() == ["unknown", "canceled", "canceled"]


def test_an_id_that_was_given_again_tells_nothing_of_the_order_before() -> None:
    """Testnets begin anew every month, and orders' ids with them: the other order's outcome is not this one's."""
    canceled: list[str] = []

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            canceled.append(request.path)
            return answer("<html>", status=502)
        if request.path.endswith("/order"):
            return answer({**_order(1, "FILLED"), "side": "SELL"})
        return answer([] if canceled else [{**_order(1, "NEW"), "side": "BUY"}])

    server = PlainServer(respond)
    try:
        with (
            nbext.SpotClient(server.url, api_key="key", secret_key="secret") as client,
            pytest.raises(nbext.OutcomeUnknownError) as unknown,
        ):
            Quick(client, seen=True, reconcile=1.5).run()
    finally:
        server.close()
    frame = unknown.value.frame
    assert frame is not None
    assert frame["outcome"].tolist() == ["unknown"]
    assert frame["side"].tolist() == ["BUY"]
