"""Lost answers are settled: what the frame says of an order is what the exchange knows of it."""

from __future__ import annotations

import gc
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from support.reconciling import PATH, Quick, executed

import nbext
from nbext.cancel.call import Voice
from nbext.cancel.selection import Latency, Options, by_symbol
from nbext.cancel.sending import Sending
from nbext.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient

    Setting = float | Latency | Callable[[int, int], None]


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[SpotClient]:
    """Connect with deadlines that keep a test short."""
    with nbext.SpotClient(
        exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key, answer_timeout=0.6
    ) as client:
        yield client


LOSSES: dict[str, Callable[[Any, bool], None]] = {
    "504 -1007": lambda faults, after: faults.fail("DELETE", PATH, code=-1007, after_executing=after),
    "500 -1006": lambda faults, after: faults.fail("DELETE", PATH, code=-1006, after_executing=after),
    "503 -1008": lambda faults, after: faults.fail("DELETE", PATH, code=-1008, after_executing=after),
    "502 HTML": lambda faults, after: faults.fail(
        "DELETE", PATH, code=-1000, status=502, body="<html>bad gateway</html>", after_executing=after
    ),
    "500 empty": lambda faults, after: faults.fail("DELETE", PATH, code=-1000, body="", after_executing=after),
    "closed": lambda faults, after: faults.lose_answer("DELETE", PATH, after_executing=after),
    "reset": lambda faults, after: faults.lose_answer("DELETE", PATH, after_executing=after, reset=True),
}


@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen"])
@pytest.mark.parametrize("loss", LOSSES)
def test_an_answer_lost_after_executing_is_settled(
    exchange: LocalExchange, client: SpotClient, loss: str, seen: bool
) -> None:
    """The orders are gone, each has its row that says so, and nothing was sent twice."""
    before = {order["orderId"] for order in exchange.open_orders("BTCUSDT")}
    LOSSES[loss](exchange.faults, True)
    call = Quick(client, seen=seen)
    frame = call.run()
    assert set(frame["orderId"]) == before
    assert set(frame["outcome"]) == {"canceled"}
    assert frame.attrs["nbext"]["complete"] is False
    assert executed(exchange) == [True]
    assert call.said[0].startswith("BTCUSDT: no clear answer; checking each order")
    assert "an answer was lost" in call.said[-1]


@pytest.mark.parametrize("loss", LOSSES)
def test_an_answer_lost_before_executing_leaves_orders_open_and_says_so(
    exchange: LocalExchange, client: SpotClient, loss: str
) -> None:
    """`open` is said only when the cancel can no longer arrive, and with it the error that all is known."""
    before = {order["orderId"] for order in exchange.open_orders("BTCUSDT")}
    LOSSES[loss](exchange.faults, False)
    began = time.monotonic()
    with pytest.raises(nbext.IncompleteError) as incomplete:
        Quick(client, seen=True).run()
    assert time.monotonic() - began >= 0.5 + 0.7 + 0.2
    frame = incomplete.value.frame
    assert frame is not None
    assert frame is nbext.last
    assert set(frame["orderId"]) == before
    assert set(frame["outcome"]) == {"open"}
    assert executed(exchange) == [False]
    assert "13 orders still open" in str(incomplete.value)


def test_without_time_to_settle_nothing_is_claimed(exchange: LocalExchange, client: SpotClient) -> None:
    """What cannot be proven in the time given is `unknown`, also when it happens to be true."""
    exchange.faults.fail("DELETE", PATH, code=-1007, after_executing=False)
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        Quick(client, seen=True, reconcile=0.5).run()
    assert unknown.value.frame is not None
    assert set(unknown.value.frame["outcome"]) == {"unknown"}
    exchange.faults.fail("DELETE", PATH, code=-1007, after_executing=True)
    with pytest.raises(nbext.OutcomeUnknownError):
        Quick(client, reconcile=0.0).run()


def test_a_cancel_that_arrives_late_is_waited_for(exchange: LocalExchange, client: SpotClient) -> None:
    """No answer in time, and the engine carries it out afterwards: the rows say canceled, not open."""
    exchange.faults.execute_late("DELETE", PATH, seconds=1.0)
    frame = Quick(client, seen=True, recv_window=2000).run()
    assert set(frame["outcome"]) == {"canceled"}
    assert executed(exchange) == [True]


@pytest.mark.parametrize("seen", [False, True], ids=["unseen", "seen"])
def test_reads_that_lag_do_not_mislead(exchange: LocalExchange, client: SpotClient, seen: bool) -> None:
    """A query that still shows canceled orders as open, within the allowance, makes no row untrue."""
    exchange.faults.lag = 0.8
    exchange.faults.lose_answer("DELETE", PATH)
    frame = Quick(client, seen=seen, latency=Latency(engine=0.3, lag=1.0)).run()
    assert set(frame["outcome"]) == {"canceled"}
    assert len(frame) == 13


def test_orders_that_filled_meanwhile_are_filled(exchange: LocalExchange, client: SpotClient) -> None:
    """An order that trades before the cancel arrives is told apart from those that were canceled."""
    call = Quick(client, seen=True)
    exchange.set_price("BTCUSDT", "59900")  # the partly filled order fills
    exchange.faults.fail("DELETE", PATH, code=-1007, after_executing=True)
    frame = call.run().set_index("orderId")
    for order_id, row in frame.iterrows():
        told = str(exchange.history(int(str(order_id)), "BTCUSDT")[-1]["status"])
        assert row["outcome"] == {"CANCELED": "canceled", "FILLED": "filled"}[told]
    assert {"canceled", "filled"} <= set(frame["outcome"])


def test_the_exchange_down_while_settling_leaves_unknown(exchange: LocalExchange, client: SpotClient) -> None:
    """If nobody can be asked any more, nothing is claimed, and the checking says so."""
    call = Quick(client, seen=True, reconcile=1.0)
    exchange.faults.lose_answer("DELETE", PATH)
    exchange.faults.fail("GET", "*", times=None)
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        call.run()
    assert unknown.value.frame is not None
    assert set(unknown.value.frame["outcome"]) == {"unknown"}
    assert any("still checking" in line and "no orders were changed" not in line for line in call.said)


@pytest.mark.parametrize("skew", [-90, 90])
def test_a_clock_that_is_off_is_corrected_and_said(exchange: LocalExchange, client: SpotClient, skew: int) -> None:
    """-1021 proves that the engine never saw the cancel: the clock is measured, and it is sent once more."""
    exchange.faults.skew = skew
    call = Quick(client)
    frame = call.run()
    assert len(frame) == 13
    assert client.clock_offset == pytest.approx(skew * 1000, abs=300)
    way = "behind" if skew > 0 else "ahead of"
    assert any(f"ms {way} the exchange's; corrected, sending again" in line for line in call.said)
    assert [request["status"] for request in exchange.requests("DELETE", PATH)] == [400, 200]
    exchange.reset()
    exchange.seed_orders()


def test_a_short_rate_limit_is_waited_out(exchange: LocalExchange, client: SpotClient) -> None:
    """429 within `max_wait`: wait as asked, say so, and send again."""
    exchange.faults.limit("DELETE", PATH, retry_after=1)
    call = Quick(client)
    began = time.monotonic()
    assert len(call.run()) == 13
    assert time.monotonic() - began >= 1
    assert any("429, waiting 1 s as the exchange asks" in line for line in call.said)
    assert [request["status"] for request in exchange.requests("DELETE", PATH)] == [429, 200]


@pytest.mark.parametrize("kind", ["limit", "ban"])
def test_a_long_wait_or_a_ban_is_not_waited_out(exchange: LocalExchange, client: SpotClient, kind: str) -> None:
    """Beyond `max_wait`, and after 418 at all, nothing is sent again, by no client of this process."""
    getattr(exchange.faults, kind)("DELETE", PATH, retry_after=11 if kind == "limit" else 1)
    with pytest.raises(nbext.RateLimitedError) as refused:
        Quick(client, seen=False).run()
    assert refused.value.frame is not None
    with (
        nbext.SpotClient(exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as other,
        pytest.raises(nbext.RateLimitedError, match="not sent, because the exchange asked to wait"),
    ):
        other.request("GET", "/api/v3/openOrders")
    assert len(exchange.requests()) == 1


def test_several_symbols_go_side_by_side(exchange: LocalExchange) -> None:
    """Six answers that take a second each take little more than that together."""
    symbols = ["BTCUSDT", "ETHUSDT", "BNBUSDT", "ETHBTC", "SOLUSDT", "DOGEUSDT"]
    exchange.faults.answer_late("DELETE", PATH, seconds=1.0, times=None)
    done: list[tuple[int, int]] = []
    with nbext.SpotClient(exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
        call = Quick(client, *symbols, progress=lambda *counts: done.append(counts))
        began = time.monotonic()
        frame = call.run()
        assert time.monotonic() - began < 5 * 1.0
    assert frame["symbol"].unique().tolist() == ["BTCUSDT", "ETHUSDT"]
    assert done[-1] == (6, 6)
    assert [request["symbol"] for request in exchange.requests("DELETE", PATH)] != []


def test_one_lost_answer_does_not_cost_the_others(exchange: LocalExchange, client: SpotClient) -> None:
    """Each symbol has its own truth: one refused, one lost and settled, one answered."""
    exchange.faults.fail("DELETE", PATH, code=-1007, symbol="ETHUSDT")
    with pytest.raises(nbext.IncompleteError) as incomplete:
        Quick(client, "BTCUSDT", "ETHUSDT", "NOSUCH").run()
    frame = incomplete.value.frame
    assert frame is not None
    assert frame.groupby("symbol")["outcome"].unique().map(list).to_dict() == {
        "BTCUSDT": ["canceled"],
        "ETHUSDT": ["canceled"],
    }
    assert list(incomplete.value.failures) == ["NOSUCH"]


def test_an_interrupt_while_settling_keeps_what_was_found_out(exchange: LocalExchange, client: SpotClient) -> None:
    """The frame tells what had been read by then; only what was still in doubt is `unknown`."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    exchange.faults.lose_answer("DELETE", PATH, symbol="BTCUSDT")
    exchange.faults.fail("DELETE", PATH, code=-1007, after_executing=False, symbol="ETHUSDT")
    call = Quick(client, "BTCUSDT", "ETHUSDT", seen=True, recv_window=20000, reconcile=30.0)
    before = signal.signal(signal.SIGALRM, interrupt)
    signal.setitimer(signal.ITIMER_REAL, 2.0)
    try:
        with pytest.raises(Interrupted) as interrupted:
            call.run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    frame = interrupted.value.frame
    assert frame is not None
    assert frame.groupby("symbol")["outcome"].unique().map(list).to_dict() == {
        "BTCUSDT": ["canceled"],
        "ETHUSDT": ["unknown"],
    }


def test_check_names_a_symbol_on_which_orders_keep_appearing(exchange: LocalExchange, client: SpotClient) -> None:
    """`--check` reads again, and what it finds is named; a read that lags is not mistaken for new orders."""
    call = Quick(client, "BTCUSDT", "ETHUSDT")
    exchange.faults.answer_late("DELETE", PATH, seconds=0.3, symbol="ETHUSDT")

    def place_again(line: str) -> None:
        call.said.append(line)
        if "canceled" in line:
            exchange.place("ETHUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="2000")

    call.job._say = Voice(place_again)
    call.run(check=True)
    assert "1 order open now, on ETHUSDT" in call.said[-1]


def test_an_interrupt_while_the_workers_start_holds_everything_back_that_it_says(
    exchange: LocalExchange, client: SpotClient
) -> None:
    """Whenever in the first moments Ctrl-C comes, what is said not to be sent never arrives."""

    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    held_back: set[str] = set()
    before = signal.signal(signal.SIGALRM, interrupt)
    gc.disable()  # an interrupt during one of the callbacks of other libraries would be lost
    try:
        for step in range(40):
            sending = Sending(
                client,
                by_symbol([f"STEP{step}N{number}" for number in range(12)], None),
                Options(max_wait=0),
                say=lambda _: None,
            )
            signal.setitimer(signal.ITIMER_REAL, 0.0002 + step * 0.0001)
            try:
                with suppress(KeyboardInterrupt):
                    sending.run()
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            results = sending.results()
            held_back |= {str(sent.request.symbol) for sent in results if isinstance(sent.error, nbext.NotSentError)}
    finally:
        signal.signal(signal.SIGALRM, before)
        gc.enable()
    time.sleep(0.5)  # for what is under way
    arrived = {request["symbol"] for request in exchange.requests("DELETE")}
    assert held_back
    assert arrived
    assert held_back.isdisjoint(arrived)
