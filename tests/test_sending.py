"""How cancels are sent: never in a burst, never twice for one order, and never after the call's last moment."""

from __future__ import annotations

import itertools
import logging
import socket
import sys
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job
from support.server import Request, answer

import nbext
from nbext.cancel import job as cancel
from nbext.cancel.reads import ATTEMPTS
from nbext.cancel.selection import Options, by_symbol
from nbext.cancel.sending import Sending
from nbext.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import FrameType

    from support.server import PlainServer

    Serve = Callable[..., PlainServer]


def connect(server: PlainServer, *, answer_timeout: float = 10.0) -> nbext.SpotClient:
    """Connect to a server, with a key."""
    return nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64, answer_timeout=answer_timeout)


def report(symbol: str) -> dict[str, object]:
    """Make the report of a canceled order."""
    return {"symbol": symbol, "orderId": 1, "orderListId": -1, "status": "CANCELED", "transactTime": 1700000000000}


LIMITED: list[Mapping[str, str]] = [
    {"Retry-After": "0"},
    {"Retry-After": "0.0"},
    {"Retry-After": "-5"},
    {"Retry-After": "Tue, 14 Nov 2023 22:13:00 GMT"},
]


@pytest.mark.parametrize("headers", LIMITED, ids=lambda each: each["Retry-After"])
def test_a_limit_that_asks_for_no_wait_gets_no_burst(serve: Serve, headers: Mapping[str, str]) -> None:
    """Each wait is a second at least, one request tries it after each, and there are few of them in all."""
    server = serve(lambda _: answer({"code": -1003, "msg": "Too many requests."}, 429, headers))
    symbols = [f"V{number}USDT" for number in range(30)]
    with pytest.raises(nbext.IncompleteError) as incomplete:
        make_job(symbols, client=connect(server), max_wait=3).run()
    assert len(incomplete.value.failures) == len(symbols)
    arrived = [request.at for request in server.requests]
    assert len(arrived) <= 8 + 3
    assert all(later - earlier >= 0.5 for earlier, later in itertools.pairwise(arrived[7:]))


def test_a_request_is_tried_five_times_at_most(serve: Serve) -> None:
    """Also where the reader has patience for more."""
    server = serve(lambda _: answer(b"", 429, {"Retry-After": "0"}))
    with pytest.raises(nbext.RateLimitedError):
        make_job(["BTCUSDT"], client=connect(server), max_wait=60).run()
    assert len(server.requests) == ATTEMPTS


@pytest.mark.parametrize("status", [418, 429])
@pytest.mark.parametrize("headers", [{}, {"Retry-After": "60.5"}, {"Retry-After": "Thu, 31 Dec 2099 23:59:59 GMT"}])
def test_nothing_goes_to_a_host_before_its_time_is_up(serve: Serve, status: int, headers: Mapping[str, str]) -> None:
    """Whatever form the time has, and also when there is none: three calls are one request, of any client."""
    server = serve(lambda _: answer({"code": -1003, "msg": "Way too many requests."}, status, headers))
    for _ in range(3):
        with pytest.raises(nbext.RateLimitedError) as limited:
            make_job(["BTCUSDT"], client=connect(server)).run()
        assert limited.value.retry_after is not None
        assert limited.value.retry_after > 50
    assert len(server.requests) == 1


def test_a_clock_that_stays_off_is_corrected_once(serve: Serve) -> None:
    """An exchange that goes on refusing the timestamp gets each cancel twice, and no more."""

    def respond(request: Request) -> bytes:
        if request.path == "/api/v3/time":
            return answer({"serverTime": 1700000000000})
        return answer({"code": -1021, "msg": "Timestamp for this request is outside of the recvWindow."}, 400)

    server = serve(respond)
    with pytest.raises(nbext.RejectedError):
        make_job(["BTCUSDT"], client=connect(server)).run()
    assert sum(request.method == "DELETE" for request in server.requests) == 2


def test_after_a_limit_the_others_follow_side_by_side(serve: Serve) -> None:
    """One request tries it when the wait is over; the others do not wait for each other."""
    begun: list[float] = []
    tried = threading.Event()

    def respond(request: Request) -> bytes:
        begun.append(request.at)
        if request.at < begun[0] + 0.9:  # whenever its thread got to it: before the second that is asked for is over
            return answer(b"", 429, {"Retry-After": "1"})
        first = not tried.is_set()
        tried.set()
        time.sleep(0.4)
        if first:
            answered.append(time.monotonic())
        else:
            together.wait(10)
        return answer([report(request.params["symbol"])])

    answered: list[float] = []
    together = threading.Barrier(7)  # they could not meet here if one waited for another
    server = serve(respond)
    assert len(make_job([f"V{number}USDT" for number in range(8)], client=connect(server)).run()) == 8
    first, *others = sorted(request.at for request in server.requests if request.at >= begun[0] + 0.9)
    assert first < answered[0] < min(others)  # which go when that one has been answered
    assert not together.broken


def test_an_alarm_while_a_call_is_stopped_leaves_no_lock_locked(serve: Serve) -> None:
    """Wherever it comes, in whatever code is called there: stopping again, on the way out, waits for nothing."""
    left = 0

    def ring(_frame: FrameType, _event: str, _argument: object) -> Any:
        nonlocal left
        left -= 1
        if not left:
            raise TimeoutError
        return ring

    client, before = connect(serve(lambda _: answer([]))), sys.gettrace()
    for step in itertools.count(1):
        sending, left = Sending(client, by_symbol(["BTCUSDT"], None), Options(), say=lambda _: None), step
        sys.settrace(ring)
        try:
            sending.hold_back()
        except TimeoutError:
            pass
        finally:
            sys.settrace(before)
        again = threading.Thread(target=sending.hold_back, daemon=True)
        again.start()
        again.join(10)
        assert not again.is_alive()
        if left > 0:  # that was further than all of it
            break
    assert step > 2


def test_an_interrupt_ends_the_wait_for_a_limit(serve: Serve) -> None:
    """Nothing is in flight, so there is nothing to wait for."""

    def interrupt(line: str) -> None:
        if "429, waiting" in line:
            raise KeyboardInterrupt

    server = serve(lambda _: answer(b"", 429, {"Retry-After": "8"}))
    began = time.monotonic()
    with pytest.raises(Interrupted):
        make_job(["BTCUSDT", "ETHUSDT"], client=connect(server), say=interrupt).run()
    assert time.monotonic() - began < 7
    assert len(server.requests) <= 2


def test_many_symbols_at_a_slow_host_end_in_bounded_time(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """What has waited past the last moment is not sent, and says so; the reads that follow have their own bound."""
    monkeypatch.setattr(cancel, "SENDING_SECONDS", 1.5)

    def respond(request: Request) -> bytes:
        time.sleep(1.0)
        return answer([report(request.params["symbol"])] if request.method == "DELETE" else [])

    server = serve(respond)
    symbols = [f"V{number}USDT" for number in range(200)]
    client = nbext.SpotClient(
        server.url, api_key="k" * 64, secret_key="s" * 64, connect_timeout=0.5, answer_timeout=0.8
    )
    began = time.monotonic()
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        make_job(symbols, client=client, reconcile=1.5, max_wait=0).run()
    assert time.monotonic() - began < 200 / 8 * 0.8 / 2
    deletes = [request for request in server.requests if request.method == "DELETE"]
    assert len(deletes) < 200 / 2
    not_sent = {symbol for symbol, error in unknown.value.failures.items() if isinstance(error, nbext.NotSentError)}
    assert not_sent == set(symbols) - {request.params["symbol"] for request in deletes}
    assert not_sent


def test_a_request_that_waits_past_the_last_moment_is_not_sent(serve: Serve) -> None:
    """It is told apart from one whose outcome is not known."""
    server = serve(lambda request: answer([report(request.params["symbol"])]))
    client = connect(server)
    sending = Sending(
        client,
        by_symbol(["BTCUSDT"], None),
        Options(max_wait=0),
        say=lambda _: None,
        last_moment=time.monotonic() + 0.01,
    )
    time.sleep(0.02)
    sending.run()
    assert isinstance(sending.attempts[0].error, nbext.NotSentError)
    assert server.requests == []


def test_what_is_still_connecting_at_the_last_moment_is_not_sent() -> None:
    """The host accepts the connection after the time for sending is over, and no request comes."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as crowded:
        address = crowded.getsockname()
        first = socket.create_connection(address)  # fills the queue, so that the next one waits until this is accepted
        client = nbext.SpotClient(f"http://127.0.0.1:{address[1]}", api_key="k" * 64, secret_key="s" * 64)
        sending = Sending(
            client,
            by_symbol(["BTCUSDT"], None),
            Options(max_wait=0),
            say=lambda _: None,
            last_moment=time.monotonic() + 0.3,
        )
        worker = threading.Thread(target=sending.run)
        worker.start()
        time.sleep(0.5)
        crowded.settimeout(5)
        accepted = [crowded.accept()[0]]
        came = b""
        with suppress(TimeoutError, ConnectionError):  # the worker may have been too late even to connect
            accepted.append(crowded.accept()[0])
            accepted[1].settimeout(0.5)
            came = accepted[1].recv(4096)
        for each in (*accepted, first):
            each.close()
        worker.join()
        client.close()
    assert came == b""
    assert isinstance(sending.attempts[0].error, nbext.NotSentError)


@pytest.mark.parametrize("check", [False, True], ids=["look", "check"])
def test_reading_what_is_open_has_a_bound(serve: Serve, monkeypatch: pytest.MonkeyPatch, check: bool) -> None:
    """Many symbols at a host that takes its time to answer questions."""
    monkeypatch.setattr("nbext.cancel.selection.LOOK_SECONDS", 1.5)
    monkeypatch.setattr("nbext.cancel.job.LOOK_SECONDS", 1.5)

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer([report(request.params["symbol"])])
        time.sleep(0.5)
        return answer([])

    client, began = connect(serve(respond)), time.monotonic()
    job = make_job([f"V{number}USDT" for number in range(250)], client=client, side=None if check else "BUY")
    if check:
        assert len(job.run(check=True)) == 250
    else:
        with pytest.raises(nbext.NotSentError):
            job.run()
    assert time.monotonic() - began < 250 / 8 * 0.5 / 1.5


def test_a_check_that_fails_takes_nothing_away(serve: Serve) -> None:
    """The orders are canceled; that they could not be read again is said beside the frame."""
    server = serve(lambda request: answer([report("BTCUSDT")]) if request.method == "DELETE" else answer(b"no", 403))
    said: list[str] = []
    frame = make_job(["BTCUSDT"], client=connect(server), say=said.append).run(check=True)
    assert frame["outcome"].tolist() == ["canceled"]
    assert "could not be read" in said[-1]


def queried(symbol: str | None, order_id: int | None, list_id: int = -1) -> dict[str, object]:
    """Show an open order, with or without what names it."""
    named: dict[str, object] = {
        "symbol": symbol,
        "orderId": order_id,
        "orderListId": list_id,
        "clientOrderId": f"own-{order_id}",
    }
    named |= {"status": "NEW", "side": "BUY"}
    return {name: value for name, value in named.items() if value is not None}


def exchange_that_lists(orders: list[object], lists: list[object], deletes: list[str]) -> Callable[[Request], bytes]:
    """Make a responder that lists these, and cancels what it is asked to."""

    def respond(request: Request) -> bytes:
        asked = request.params
        if request.path == "/api/v3/openOrderList":
            return answer(lists)
        if request.method == "GET":
            return answer(orders if request.path == "/api/v3/openOrders" and not deletes else [])
        if request.path == "/api/v3/order" and asked.get("origClientOrderId") != f"own-{asked['orderId']}":
            return answer({"code": -2011, "msg": "Unknown order sent."}, 400)
        deletes.append(asked.get("orderId") or f"list {asked['orderListId']}")
        canceled = {**report("BTCUSDT"), "orderId": int(asked.get("orderId", 3)), "origClientOrderId": "own"}
        legs = [{**canceled, "orderListId": 7, "orderId": number} for number in (3, 4)]
        whole = {"symbol": "BTCUSDT", "orderListId": 7, "orders": [], "orderReports": legs}
        return answer(whole if request.path == "/api/v3/orderList" else canceled)

    return respond


def test_what_a_read_lists_twice_is_canceled_once(serve: Serve) -> None:
    """Orders, lists and legs; an order without its symbol is of the symbol that was asked about."""
    orders: list[object] = [
        queried("BTCUSDT", 1),
        queried("BTCUSDT", 2),
        queried("BTCUSDT", 1),
        queried(None, 2),
        *(queried("BTCUSDT", number, 7) for number in (3, 4, 3)),
    ]
    order_list = {"orderListId": 7, "contingencyType": "OCO", "symbol": "BTCUSDT", "listClientOrderId": "L"}
    deletes: list[str] = []
    server = serve(exchange_that_lists(orders, [order_list, order_list], deletes))
    frame = make_job(["BTCUSDT"], client=connect(server), side="BUY").run()
    assert sorted(deletes) == ["1", "2", "list 7"]
    assert sorted(frame["orderId"]) == [1, 2, 3, 4]
    assert frame["outcome"].tolist() == ["canceled"] * 4


@pytest.mark.parametrize("nameless", [queried("BTCUSDT", None), queried(None, 5)])
def test_nothing_is_sent_while_one_request_cannot_be_made(serve: Serve, nameless: dict[str, object]) -> None:
    """An order that nothing names is found out about before the first cancel leaves, not after it."""
    deletes: list[str] = []
    server = serve(exchange_that_lists([queried("BTCUSDT", 1), nameless], [], deletes))
    with pytest.raises(nbext.RejectedError, match="nothing was sent"):
        make_job(all_symbols=True, side="BUY", client=connect(server)).run()
    assert deletes == []


def test_without_a_thread_to_be_had_it_is_sent_all_the_same(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the system has none left, or where the interpreter is about to end."""

    def refuse(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    server = serve(lambda request: answer([report(request.params["symbol"])]))
    symbols = [f"V{number}USDT" for number in range(10)]
    client = connect(server)
    monkeypatch.setattr("nbext.cancel.sending._thread.start_new_thread", refuse)
    job = make_job(symbols, client=client)
    call = job._record(job._select(), time.monotonic())
    call.sending.run()
    assert [sent.error for sent in call.sending.attempts] == [None] * 10


def test_a_worker_that_hangs_does_not_hang_the_call(serve: Serve) -> None:
    """A log handler that blocks holds a worker up for good: the call goes on when the time of its request is over."""

    class Blocking(logging.Handler):
        def emit(self, _: logging.LogRecord) -> None:
            threading.Event().wait(timeout=8)

    server = serve(lambda request: answer([report(request.params["symbol"])]))
    client = nbext.SpotClient(
        server.url, api_key="k" * 64, secret_key="s" * 64, connect_timeout=0.2, answer_timeout=0.2
    )
    logger, handler = logging.getLogger("urllib3.connectionpool"), Blocking()
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        sending = Sending(
            client,
            by_symbol(["BTCUSDT"], None),
            Options(max_wait=0),
            say=lambda _: None,
            last_moment=time.monotonic() + 0.2,
        )
        began = time.monotonic()
        sending.run()
        assert time.monotonic() - began < 5
        (attempt,) = sending.results()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert isinstance(attempt.error, nbext.NotSentError | nbext.OutcomeUnknownError)
    assert server.requests == []


@pytest.mark.parametrize(("status", "words"), [(401, "-2015"), (403, "A firewall"), (502, "HTTP 502")])
def test_what_went_wrong_for_many_symbols_is_said_once(serve: Serve, status: int, words: str) -> None:
    """With the names of them all, so that one sentence does not fill the screen; each error is kept for its symbol."""
    refusal: object = (
        {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."} if status == 401 else b""
    )
    together = threading.Barrier(8, timeout=20)  # all are in flight when the first is refused

    def respond(request: Request) -> bytes:
        if request.method == "GET":
            return answer([])
        together.wait()
        return answer(refusal, status)

    server = serve(respond)
    symbols = [f"S{number}USDT" for number in range(8)]
    client = nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64)
    with client, pytest.raises((nbext.IncompleteError, nbext.OutcomeUnknownError)) as failed:
        nbext.cancel_all(*symbols, client=client, yes=True, reconcile=0)
    assert str(failed.value).startswith(f"{', '.join(symbols)} on custom ({client.host}): ")
    assert str(failed.value).count(words) == 1
    assert list(failed.value.failures) == symbols
    assert str(failed.value.failures["S7USDT"]).startswith("S7USDT on custom")


REFUSED = {
    "-2015": (401, {"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}),
    "-2014": (401, {"code": -2014, "msg": "API-key format invalid."}),
    "-2008": (400, {"code": -2008, "msg": "Invalid Api-Key ID."}),
    "-1022": (400, {"code": -1022, "msg": "Signature for this request is not valid."}),
    "403": (403, "<html>Request blocked.</html>"),
    "451": (451, {"code": 0, "msg": "Service unavailable from a restricted location."}),
}


@pytest.mark.parametrize("refusal", REFUSED)
def test_after_a_refusal_of_every_request_the_rest_is_not_sent(serve: Serve, refusal: str) -> None:
    """What is in flight is waited for; of the rest it says that it was not sent, and why."""
    status, body = REFUSED[refusal]
    together, numbers = threading.Barrier(8, timeout=20), itertools.count()

    def respond(_: Request) -> bytes:
        if next(numbers) < 8:
            together.wait()  # so that eight are in flight when the first is refused
        return answer(body, status)

    server = serve(respond)
    symbols = [f"V{number}USDT" for number in range(30)]
    with pytest.raises(nbext.IncompleteError) as incomplete:
        make_job(symbols, client=connect(server, answer_timeout=20.0)).run()
    assert len(server.requests) < 16
    failures = incomplete.value.failures
    assert list(failures) == symbols
    left = {name for name, failure in failures.items() if isinstance(failure, nbext.RejectedError)}
    assert left == {request.params["symbol"] for request in server.requests}
    unsent = next(failure for failure in failures.values() if isinstance(failure, nbext.NotSentError))
    assert "not sent, because V" in str(unsent)
    assert f"refused ({'HTTP ' if status in {403, 451} else ''}{refusal}" in str(unsent)
    assert str(unsent).count("no orders were changed") == 1
    assert len(str(incomplete.value).splitlines()) == 1
    assert str(incomplete.value).count("refused (") == 1
    assert "not sent, because V" in str(incomplete.value)


@pytest.mark.parametrize("refusal", ["-1022", "403", "-2015", "-1121"])
def test_a_refusal_that_is_not_of_every_request_stops_nothing(serve: Serve, refusal: str) -> None:
    """A query may hold what a firewall takes for an attack, a key may be refused on one of two addresses only."""
    status, body = REFUSED.get(refusal, (400, {"code": -1121, "msg": "Invalid symbol."}))
    let_through = threading.Event()

    def respond(request: Request) -> bytes:
        symbol = request.params["symbol"]
        if symbol == "V0USDT" or refusal == "-1121":
            let_through.wait(20)
            return answer(body, status)
        if int(symbol[1:-4]) >= 8:  # it goes out once another has been answered
            let_through.set()
        return answer([report(symbol)])

    server = serve(respond)
    if refusal == "-1121":
        let_through.set()
    symbols = [f"V{number}USDT" for number in range(30)]
    with pytest.raises(nbext.IncompleteError) as incomplete:
        make_job(symbols, client=connect(server, answer_timeout=20.0)).run()
    assert len(server.requests) == len(symbols)
    assert list(incomplete.value.failures) == (symbols if refusal == "-1121" else ["V0USDT"])


@pytest.mark.parametrize("refusal", ["-1022", "403"])
def test_one_refusal_of_what_a_request_contains_stops_nothing(serve: Serve, refusal: str) -> None:
    """Also while nothing else has been answered: only a second one of its kind would be about every request."""
    status, body = REFUSED[refusal]
    went_on = threading.Event()

    def respond(request: Request) -> bytes:
        symbol = request.params["symbol"]
        if symbol == "V0USDT":
            return answer(body, status)
        if int(symbol[1:-4]) >= 8:
            went_on.set()
        went_on.wait(10)
        return answer([report(symbol)])

    server = serve(respond)
    symbols = [f"V{number}USDT" for number in range(20)]
    with pytest.raises(nbext.IncompleteError) as incomplete:
        make_job(symbols, client=connect(server, answer_timeout=20.0)).run()
    assert len(server.requests) == len(symbols)
    assert list(incomplete.value.failures) == ["V0USDT"]


def test_the_reason_is_the_refusal_of_every_request(serve: Serve) -> None:
    """Not one that came first, and is about its own symbol only."""
    went_on = threading.Event()

    def respond(request: Request) -> bytes:
        symbol = request.params["symbol"]
        if symbol == "V0USDT":
            return answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        if int(symbol[1:-4]) >= 8:
            went_on.set()
        went_on.wait(10)
        status, body = REFUSED["-2015"]
        return answer(body, status)

    symbols = [f"V{number}USDT" for number in range(40)]
    with pytest.raises(nbext.IncompleteError) as incomplete:
        make_job(symbols, client=connect(serve(respond), answer_timeout=20.0)).run()
    unsent = [str(each) for each in incomplete.value.failures.values() if isinstance(each, nbext.NotSentError)]
    assert unsent
    assert all("refused (-2015" in each for each in unsent)


def test_what_the_matching_engine_refuses_was_let_through(serve: Serve) -> None:
    """Where nothing is open, its refusal proves that the key is good for some requests, as any other answer does."""
    status, body = REFUSED["-2015"]
    let_through = threading.Event()

    def respond(request: Request) -> bytes:
        if request.method == "GET":
            return answer([])
        if request.params["symbol"] == "V0USDT":
            let_through.wait(20)
            return answer(body, status)
        if int(request.params["symbol"][1:-4]) >= 8:
            let_through.set()
        return answer({"code": -2011, "msg": "The matching engine says no."}, 400)

    server = serve(respond)
    symbols = [f"V{number}USDT" for number in range(30)]
    with pytest.raises(nbext.IncompleteError) as incomplete:
        make_job(symbols, client=connect(server, answer_timeout=20.0), reconcile=0).run()
    assert sum(request.method == "DELETE" for request in server.requests) == len(symbols)
    assert not any(isinstance(failure, nbext.NotSentError) for failure in incomplete.value.failures.values())


def test_a_refused_symbol_raises_its_refusal_however_many_cancels_it_had(serve: Serve) -> None:
    """Cancels that were not sent because of it are no failure of another kind, and end in the journal."""
    orders = [queried("BTCUSDT", number) for number in range(1, 31)]
    status, body = REFUSED["-2015"]
    server = serve(lambda request: answer(orders) if request.method == "GET" else answer(body, status))
    with pytest.raises(nbext.RejectedError) as rejected:
        make_job(["BTCUSDT"], client=connect(server), side="BUY", reconcile=0).run()
    assert rejected.value.code == -2015
    assert sum(request.method == "DELETE" for request in server.requests) < 30
    log = nbext.cancel_log()
    assert len(log) == 30
    assert log["error"].str.contains("not sent, because another cancel was refused").any()
