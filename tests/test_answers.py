"""Each answer is checked against its request; what contradicts the request, or itself, leaves the outcome unknown."""

from __future__ import annotations

import json
import threading
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job
from support.server import Request, answer

import nbext
from nbext.spot import answers

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer

    Serve = Callable[..., PlainServer]

ALL, ONE, LIST = "/api/v3/openOrders", "/api/v3/order", "/api/v3/orderList"


def report(symbol: object, order_id: object = 1, **fields: object) -> dict[str, Any]:
    """Make the report of a canceled order."""
    return {
        "symbol": symbol,
        "orderId": order_id,
        "orderListId": -1,
        "origClientOrderId": "own",
        "clientOrderId": "cancel",
        "transactTime": 1700000000000,
        "status": "CANCELED",
        **fields,
    }


def queried(symbol: str, order_id: object = 1, status: str = "NEW") -> dict[str, Any]:
    """Make an order as a query shows it."""
    times = {"time": 1700000000000, "updateTime": 1700000000000, "isWorking": True}
    return {"symbol": symbol, "orderId": order_id, "orderListId": -1, "clientOrderId": "own", "status": status, **times}


def order_list(symbol: str, list_id: object, *legs: dict[str, Any]) -> dict[str, Any]:
    """Make the report of a canceled list."""
    return {"orderListId": list_id, "contingencyType": "OCO", "symbol": symbol, "orders": [], "orderReports": [*legs]}


def connect(server: PlainServer) -> nbext.SpotClient:
    """Connect to a server, with a key."""
    return nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64, answer_timeout=10)


ASTRAY: list[tuple[str, str, dict[str, Any], object]] = [
    ("DELETE", ALL, {}, [report("ETHUSDT")]),
    ("DELETE", ALL, {}, [report("BTCUSDT"), report("ETHUSDT")]),
    ("DELETE", ALL, {}, [report(7)]),
    ("DELETE", ALL, {}, [order_list("BTCUSDT", 0, report("ETHUSDT"))]),
    ("DELETE", ALL, {}, [order_list("ETHUSDT", 0, report("BTCUSDT"))]),
    ("DELETE", ALL, {}, [queried("BTCUSDT")]),
    ("DELETE", ONE, {"orderId": 1}, report("BTCUSDT", 2)),
    ("DELETE", ONE, {"orderId": 1}, report("BTCUSDT", "2")),
    ("DELETE", ONE, {"orderId": 1}, report("ETHUSDT", 1)),
    ("DELETE", ONE, {"orderId": 1}, order_list("BTCUSDT", 5, report("BTCUSDT", 2), report("BTCUSDT", 3))),
    ("DELETE", LIST, {"orderListId": 0}, order_list("BTCUSDT", 5, report("BTCUSDT"))),
    ("DELETE", LIST, {"orderListId": 0}, order_list("ETHUSDT", 0, report("ETHUSDT"))),
    ("GET", ALL, {}, [queried("ETHUSDT")]),
    ("GET", ALL, {}, [report("BTCUSDT")]),
    ("GET", "/api/v3/allOrders", {}, [queried("BTCUSDT"), queried("ETHUSDT")]),
    ("GET", "/api/v3/openOrderList", {}, [queried("BTCUSDT")]),
    ("GET", ALL, {}, [{"symbol": "BTCUSDT", "orderListId": 5, "contingencyType": "OCO", "orders": []}]),
    ("GET", ONE, {"orderId": 1}, queried("BTCUSDT", 2)),
    ("GET", ONE, {"orderId": 1}, queried("ETHUSDT", 1)),
]
IN_STEP: list[tuple[str, str, dict[str, Any], object]] = [
    ("DELETE", ALL, {}, []),
    ("DELETE", ALL, {}, [{"orderId": 1}]),
    ("DELETE", ALL, {}, [report(None)]),
    ("DELETE", ALL, {}, [report("BTCUSDT", workingTime=-1, fills=[])]),
    ("DELETE", ALL, {}, [order_list("BTCUSDT", 0, report("BTCUSDT"))]),
    ("DELETE", ONE, {"orderId": 1}, report("BTCUSDT", "1")),
    ("DELETE", ONE, {"orderId": "1"}, report("BTCUSDT", 1)),
    ("DELETE", ONE, {"orderId": 1}, report("BTCUSDT", None)),
    ("DELETE", ONE, {"orderId": 1}, order_list("BTCUSDT", 5, report("BTCUSDT", 2), report("BTCUSDT", 1))),
    ("DELETE", LIST, {"orderListId": 0}, order_list("BTCUSDT", "0", report("BTCUSDT"))),
    ("DELETE", LIST, {"orderListId": 0, "listClientOrderId": "L"}, {"listClientOrderId": "M", "orderReports": []}),
    ("GET", ALL, {}, [queried("BTCUSDT")]),
    ("GET", ONE, {"orderId": 1}, queried("BTCUSDT", "1")),
    ("GET", ONE, {"orderId": 1}, {"orderId": 1, "status": "NEW"}),
]


@pytest.mark.parametrize(("method", "path", "asked", "document"), ASTRAY, ids=lambda each: json.dumps(each)[:60])
def test_an_answer_about_something_else_is_nobodys(
    serve: Serve, method: str, path: str, asked: dict[str, Any], document: object
) -> None:
    """A cancel's outcome is unknown then, a question has no answer, and the connection is not used again."""
    server = serve(lambda _: answer(document))
    client = connect(server)
    expected = nbext.OutcomeUnknownError if method == "DELETE" else nbext.RejectedError
    with pytest.raises(expected, match="the answer is about"):
        client.request(method, path, {"symbol": "BTCUSDT", **asked})
    with pytest.raises(expected):
        client.request(method, path, {"symbol": "BTCUSDT", **asked})
    assert server.connections == 2


@pytest.mark.parametrize(("method", "path", "asked", "document"), IN_STEP, ids=lambda each: json.dumps(each)[:60])
def test_what_an_answer_leaves_out_contradicts_nothing(
    serve: Serve, method: str, path: str, asked: dict[str, Any], document: object
) -> None:
    """Fields may be missing, ids may come as text, and 0 is the id of a list."""
    server = serve(lambda _: answer(document))
    client = connect(server)
    for _ in range(2):
        assert client.request(method, path, {"symbol": "BTCUSDT", **asked}) == document
    assert server.connections == 1


CONTRADICTORY: list[tuple[int, object]] = [
    *((status, [report("BTCUSDT")]) for status in (302, 400, 401, 403, 404, 418, 429)),
    (400, report("BTCUSDT")),
    (404, order_list("BTCUSDT", 0, report("BTCUSDT"))),
    (400, []),
    (400, [{"code": -2011, "msg": "Unknown order sent."}]),
    (200, {"code": -2011, "msg": "Unknown order sent."}),
    (200, {"code": -1121, "msg": "Invalid symbol."}),
    (200, [{"code": -2011, "msg": "Unknown order sent."}]),
    (200, [report("BTCUSDT"), {"code": -2011, "msg": "Unknown order sent."}]),
    (429, {"code": -2011, "msg": "Unknown order sent."}),
]


@pytest.mark.parametrize(("status", "document"), CONTRADICTORY, ids=lambda each: json.dumps(each)[:60])
def test_a_body_that_contradicts_its_status_leaves_the_outcome_unknown(
    serve: Serve, status: int, document: object
) -> None:
    """It is never called a refusal, never sent again, and it never says that no orders were changed."""
    server = serve(lambda _: answer(document, status, {"Retry-After": "1"}))
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        connect(server).cancel_open_orders("BTCUSDT")
    assert "no orders were changed" not in str(unknown.value)
    assert len(server.requests) == 1


@pytest.mark.parametrize("method", ["GET", "DELETE"])
@pytest.mark.parametrize("document", [{"code": -2013, "msg": "Order does not exist."}, {"code": -1000, "msg": ""}])
def test_an_error_below_200_is_never_handed_out(serve: Serve, method: str, document: object) -> None:
    """Neither as the answer to a question nor as that of a cancel."""
    expected = nbext.RejectedError if method == "GET" else nbext.OutcomeUnknownError
    with pytest.raises(expected):
        connect(serve(lambda _: answer(document))).request(method, ONE, {"symbol": "BTCUSDT", "orderId": 1})


@pytest.mark.parametrize(
    ("whole", "says"),
    [
        (answer("<html>Welcome to our hotel. Please log in.</html>"), "the body is not JSON, as that of a login page"),
        (answer(""), "the body is not JSON, as that of a login page"),
        (answer("[", length=50), "the body is incomplete"),
    ],
)
def test_a_page_in_place_of_an_answer_is_no_refusal(serve: Serve, whole: bytes, says: str) -> None:
    """Nothing was refused, and nothing is wrong with the request: something else has answered, or was cut off."""
    with pytest.raises(nbext.RejectedError, match=f"read failed, {says}; no orders were changed. ") as page:
        connect(serve(lambda _: iter([whole]))).request("GET", ALL, {"symbol": "BTCUSDT"})
    assert page.value.http_status == 200
    assert "refused" not in str(page.value)
    assert "Fix the request" not in str(page.value)


@pytest.mark.parametrize(("code", "reaches"), [(-2008, 0), (-2014, 0), (-2015, 0), (-2017, 0), (-2010, 1), (-2011, 1)])
def test_a_refused_key_never_reaches_the_engine(code: int, reaches: int) -> None:
    """Though its codes stand between those of the engine."""
    assert answers.of_the_engine(code) is bool(reaches)


@pytest.mark.parametrize(
    "first", [answer([]), answer({"code": -2011, "msg": "Unknown order sent."}, 400), answer({"code": -1021}, 400)]
)
def test_an_answer_out_of_step_makes_the_others_on_its_connection_doubtful(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, first: bytes
) -> None:
    """What was on its way already answers the first cancel, the first one's answer the second, and nothing raises."""
    canceled: list[str] = []

    def respond(request: Request) -> bytes:
        symbol = request.params.get("symbol", "")
        if request.method == "DELETE":
            canceled.append(symbol)
            return first if len(canceled) == 1 else answer([report(canceled[-2])])
        if request.path == "/api/v3/time":
            return answer({"serverTime": 1700000000000})
        return answer([])

    server = serve(respond)
    monkeypatch.setattr("nbext.cancel.sending.WIDTH", 1)  # one after the other, on one connection
    said: list[str] = []
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        make_job(["BTCUSDT", "ETHUSDT"], client=connect(server), reconcile=0.3, say=said.append).run()
    assert set(unknown.value.failures) == {"BTCUSDT", "ETHUSDT"}
    assert not any("nothing was open" in line for line in said)


def test_a_read_that_is_out_of_step_makes_an_earlier_empty_answer_doubtful(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was open, it said; then a read shows that the connection had mixed up its answers."""

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":  # to the first that nothing was open, and to the second nothing that tells
            return answer([] if request.params["symbol"] == "BTCUSDT" else {})
        if request.path == "/api/v3/time":
            return answer({"serverTime": 1700000000000})
        return answer([queried("BTCUSDT")])  # to whatever is asked about ETHUSDT

    monkeypatch.setattr("nbext.cancel.sending.WIDTH", 1)
    said: list[str] = []
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        make_job(["BTCUSDT", "ETHUSDT"], client=connect(serve(respond)), reconcile=0.5, say=said.append).run()
    assert set(unknown.value.failures) == {"BTCUSDT", "ETHUSDT"}
    assert "what was open on ETHUSDT is not known" in said[-1]


@pytest.mark.parametrize("refusal", [(-2011, "Unknown order sent."), (-1021, "Timestamp..."), (-1003, "Too much.")])
def test_a_refusal_that_comes_twice_is_not_that_of_the_next_cancel(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, refusal: tuple[int, str]
) -> None:
    """The second cancel was carried out, and neither "nothing was open" nor "no orders were changed" is said of it."""
    code, msg = refusal
    status = 429 if code == -1003 else 400
    refused = answer({"code": code, "msg": msg}, status, {"Retry-After": "60"} if status == 429 else None)

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            first = request.params["symbol"] == "BTCUSDT"
            return refused if first else refused + answer([report("ETHUSDT")])
        return answer({"serverTime": 1700000000000} if request.path == "/api/v3/time" else [])

    monkeypatch.setattr("nbext.cancel.sending.WIDTH", 1)
    said: list[str] = []
    with pytest.raises(nbext.NbextError) as failed:
        make_job(["BTCUSDT", "ETHUSDT"], client=connect(serve(respond)), reconcile=0.5, say=said.append).run()
    told = getattr(failed.value, "failures", {})["ETHUSDT"]
    if code == -1003:  # nothing at all went out on that connection again
        assert isinstance(told, nbext.RateLimitedError)
        return
    assert isinstance(told, nbext.OutcomeUnknownError)
    assert not any(line.startswith("ETHUSDT") and ("nothing was open" in line or "no orders" in line) for line in said)


def test_an_empty_look_that_comes_twice_hides_no_order(serve: Serve) -> None:
    """The look at the second symbol meets the first one's answer: it is not told that nothing is open there."""

    def respond(request: Request) -> bytes | Iterator[bytes]:
        return answer([]) if request.params["symbol"] == "BTCUSDT" else meeting(request)

    def meeting(request: Request) -> Iterator[bytes]:
        yield answer([])
        yield answer([queried(request.params["symbol"])])
        released.wait(5)

    released = threading.Event()
    server = serve(respond)
    client = connect(server)
    with pytest.raises(nbext.NotSentError, match="its answer may belong to another request; no orders were changed"):
        nbext.cancel_all("BTCUSDT", "ETHUSDT", side="BUY", client=client, yes=True)
    assert {request.method for request in server.requests} == {"GET"}
    with pytest.raises(nbext.NotSentError, match="its answer may belong to another request"):
        nbext.open_orders("BTCUSDT", "ETHUSDT", client=client)
    released.set()


def test_an_order_that_is_listed_without_its_id_is_not_said_to_be_open(serve: Serve) -> None:
    """The cancel's answer is lost, and no read can be about that order: what it was before is not repeated."""
    nameless = {name: value for name, value in queried("BTCUSDT").items() if name != "orderId"}

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer({"code": -1007, "msg": ""}, 504)
        return answer({"serverTime": 1700000000000} if request.path == "/api/v3/time" else [nameless])

    job = make_job(["BTCUSDT"], client=connect(serve(respond)), reconcile=0.5)
    job.obtain_consent(lambda preview, _: str(len(preview)))
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        job.run()
    assert unknown.value.frame is not None
    assert unknown.value.frame["outcome"].tolist() == ["unknown"]
    assert unknown.value.frame["status"].isna().all()


def test_a_read_that_names_no_order_tells_of_none(serve: Serve) -> None:
    """The order is read, and the answer may be about any: it proves nothing, and breaks nothing."""

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer({"code": -1007, "msg": ""}, 504)
        if request.path == ONE:
            return answer({"symbol": "BTCUSDT", "clientOrderId": "own", "status": "CANCELED", "executedQty": "0"})
        if request.path == "/api/v3/time":
            return answer({"serverTime": 1700000000000})
        return answer([queried("BTCUSDT")] if request.path == ALL else [])

    job = make_job(["BTCUSDT"], client=connect(serve(respond)), reconcile=0.5)
    job.obtain_consent(lambda preview, _: str(len(preview)))
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        job.run()
    assert unknown.value.frame is not None
    assert unknown.value.frame["outcome"].tolist() == ["unknown"]


def test_an_order_that_ended_is_no_failure_however_its_cancel_was_refused(serve: Serve) -> None:
    """-1102 is how ids are refused that do not belong together any more; the read shows how the order ended."""
    shown = queried("BTCUSDT") | {"side": "BUY", "origQty": "1", "executedQty": "1"}

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer({"code": -1102, "msg": "Param 'origClientOrderId' was not sent."}, 400)
        if request.path == ONE:
            return answer(shown | {"status": "FILLED"})
        return answer({"serverTime": 1700000000000} if request.path == "/api/v3/time" else [shown])

    frame = make_job(["BTCUSDT"], client=connect(serve(respond)), side="BUY", reconcile=1.0).run()
    assert frame[["orderId", "outcome"]].to_numpy().tolist() == [[1, "filled"]]


def test_a_report_that_names_what_was_asked_for_proves_itself(serve: Serve, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stays as it is where another answer on its connection was out of step."""

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer([report("BTCUSDT")])  # to both
        return answer({"serverTime": 1700000000000} if request.path == "/api/v3/time" else [])

    monkeypatch.setattr("nbext.cancel.sending.WIDTH", 1)
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        make_job(["BTCUSDT", "ETHUSDT"], client=connect(serve(respond)), reconcile=0.3).run()
    assert set(unknown.value.failures) == {"ETHUSDT"}
    frame = unknown.value.frame
    assert frame is not None
    assert frame[["symbol", "outcome"]].to_numpy().tolist() == [["BTCUSDT", "canceled"]]


@pytest.mark.parametrize(
    ("headers", "msg", "expected"),
    [
        ({"Retry-After": "7"}, "", 7),
        ({"Retry-After": "0"}, "", 1),
        ({"Retry-After": "-30"}, "", 1),
        ({"Retry-After": "60.5"}, "", 60.5),
        ({"Retry-After": "9" * 500}, "", 3 * 86400),
        ({"Retry-After": "Sat, 14 Nov 2023 22:14:20 GMT", "Date": "Sat, 14 Nov 2023 22:13:50 GMT"}, "", 30),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:25 GMT"}, "", 5),
        ({"Retry-After": "Tue, 14 Nov 2023 22:13:00 GMT"}, "", 1),
        ({"Retry-After": "Fri, 31 Dec 9999 23:59:59 GMT"}, "", 3 * 86400),
        ({"Retry-After": "soon"}, "", 60),
        ({"Retry-After": ""}, "", 60),
        ({"Retry-After": "5, 7"}, "", 60),
        ({}, "", 60),
        ({}, "Way too many requests; IP banned until 1700000140000. Please use WebSocket.", 140),
        ({"Retry-After": "3"}, "IP banned until 1700000140000.", 140),
        ({"Retry-After": "300"}, "IP banned until 1700000140000.", 300),
        ({}, "IP banned until 1573549110000.", 1),
        ({}, "IP banned until 17000001400001234.", 60),
    ],
)
def test_every_form_of_a_wait(headers: dict[str, str], msg: str, expected: float) -> None:
    """At least a second, at most the longest ban, by the exchange's clock, whatever it says."""
    now = 1700000000000.0
    assert answers.wait_asked(429, headers, msg, now) == pytest.approx(expected)


def test_a_ban_that_says_nothing_lasts_as_long_as_the_shortest() -> None:
    """418 without a word is held for two minutes (API docs, "IP Limits")."""
    assert answers.wait_asked(418, {}, "", 0) == 120
