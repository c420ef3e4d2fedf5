"""Rows that no answer told: every id, number and outcome is the exchange's own, in every dialect, or missing."""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job
from support.reconciling import PATH, Quick, require_truth
from support.server import PlainServer, Request, answer

import nbext
from nbext import session
from nbext.cancel.reads import look
from nbext.cancel.reconciliation import Reconciliation
from nbext.cancel.selection import CancelRequest, Latency, orders_of
from nbext.cancel.sending import Attempt
from nbext.exchange import Dialect, LocalExchange
from nbext.orders import Row, as_reported, from_reports, in_doubt

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.spot.client import SpotClient


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange with orders on it."""
    with LocalExchange(max_num_orders=2000) as exchange:
        exchange.seed_orders()
        yield exchange


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[SpotClient]:
    """Connect with deadlines that keep a test short."""
    with nbext.SpotClient(
        exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key, answer_timeout=2.0
    ) as client:
        yield client


def speak(exchange: LocalExchange, **settings: Any) -> None:
    """Open anew in a dialect, with orders."""
    exchange.reset(dialect=Dialect(**settings))
    exchange.seed_orders()


def place(exchange: LocalExchange, price: str = "50000", **more: str) -> dict[str, Any]:
    """Place an order far from the price."""
    return exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price=price, **more)


# Ids.


@pytest.mark.parametrize("shows", ["cancel_id", "own_id"])
def test_a_reconciled_row_has_the_orders_own_id_and_the_cancels(
    exchange: LocalExchange, client: SpotClient, shows: str
) -> None:
    """Whichever id a query of a canceled order shows, a row never calls one the other."""
    speak(exchange, cancel_id_in_queries=shows)
    own = {order["orderId"]: order["origClientOrderId"] for order in exchange.orders("BTCUSDT")}
    call = Quick(client, seen=True)
    exchange.faults.lose_answer("DELETE", PATH)
    frame = call.run()
    require_truth(exchange, frame)
    assert dict(zip(frame["orderId"], frame["origClientOrderId"], strict=True)) == {
        number: own[number] for number in frame["orderId"]
    }
    assert frame["clientOrderId"].notna().all() == (shows == "cancel_id")
    assert frame["contingencyType"].notna().any()
    for name in ("listStatusType", "listOrderStatus", "transactionTime"):  # of a list, these were the look's
        assert frame[name].isna().all()


@pytest.mark.parametrize("shows", ["cancel_id", "own_id"])
def test_without_a_look_an_id_that_may_be_either_is_neither(
    exchange: LocalExchange, client: SpotClient, shows: str
) -> None:
    """Nobody saw the orders before, so which id a query shows cannot be told; it stands in a column of its own."""
    speak(exchange, cancel_id_in_queries=shows)
    exchange.faults.lose_answer("DELETE", PATH)
    frame = Quick(client).run()
    require_truth(exchange, frame)
    assert len(frame) == 13
    assert frame["origClientOrderId"].isna().all()
    assert frame["clientOrderId"].isna().all()
    assert frame["wire.clientOrderId"].notna().all()


def test_a_single_cancel_that_got_lost_keeps_the_ids(exchange: LocalExchange, client: SpotClient) -> None:
    """The same through the endpoint for single orders."""
    exchange.faults.lose_answer("DELETE", "/api/v3/order", times=None)
    frame = Quick(client, side="BUY").run()
    require_truth(exchange, frame)
    assert frame["origClientOrderId"].notna().all()
    singles = frame[frame["orderListId"] < 0]
    assert len(singles)
    assert singles["clientOrderId"].notna().all()


@pytest.mark.parametrize("ends", ["open", "filled", "expired", "unknown"])
def test_an_order_that_was_amended_and_is_reported_open_has_one_row(
    exchange: LocalExchange, client: SpotClient, ends: str
) -> None:
    """The cancel's answer tells of the id that an amendment has given it, and the look of the one before: one order."""
    exchange.reset(dialect=Dialect(uncancelable="reported_open", order_ids="from_zero"))
    placed = place(exchange)
    call = Quick(client, seen=True, reconcile=3.0)
    exchange.amend("BTCUSDT", int(placed["orderId"]), "0.005")
    exchange.faults.on("DELETE", PATH).answer_late(seconds=0.3)
    act = threading.Timer(1.0, lambda: None)
    if ends == "filled":
        act = threading.Timer(1.0, exchange.set_price, ["BTCUSDT", "49000"])
    elif ends == "expired":
        act = threading.Timer(1.0, exchange.withdraw, ["BTCUSDT", int(placed["orderId"])])
    elif ends == "unknown":
        exchange.faults.fail("GET", "*", times=None)
    act.start()
    if ends in {"open", "unknown"}:
        with pytest.raises(nbext.IncompleteError if ends == "open" else nbext.OutcomeUnknownError) as failed:
            call.run()
        frame = failed.value.frame
    else:
        frame = call.run()
    act.join()
    assert frame is not None
    assert frame["outcome"].tolist() == [ends]
    assert frame["origQty"].tolist() == [0.005]
    require_truth(exchange, frame)


def test_an_amendment_in_between_leaves_no_wrong_id(exchange: LocalExchange, client: SpotClient) -> None:
    """An amended order has another own id, which nobody saw: it is missing rather than wrong."""
    exchange.reset()
    placed = place(exchange, newClientOrderId="first")
    call = Quick(client, seen=True)
    exchange.amend("BTCUSDT", int(placed["orderId"]), "0.005")
    exchange.faults.lose_answer("DELETE", PATH)
    frame = call.run()
    require_truth(exchange, frame)
    assert frame["origQty"].tolist() == [0.005]
    assert frame["origClientOrderId"].isna().all()


def place_oto(exchange: LocalExchange) -> list[int]:
    """Place a list far from the price."""
    working = {"workingType": "LIMIT", "workingSide": "BUY", "workingTimeInForce": "GTC", "workingPrice": "50000"}
    pending = {"pendingType": "LIMIT", "pendingSide": "SELL", "pendingTimeInForce": "GTC", "pendingPrice": "70000"}
    placed = exchange.place_list("oto", "BTCUSDT", **working, workingQuantity="0.01", **pending, pendingQuantity="0.01")
    return [int(leg["orderId"]) for leg in placed["orders"]]


def test_the_list_of_an_amended_order_tells_no_id_that_it_had(exchange: LocalExchange, client: SpotClient) -> None:
    """A look shows the ids of a list's orders, too, which are as old as the look."""
    exchange.reset()
    working, _ = place_oto(exchange)
    call = Quick(client, seen=True)
    exchange.amend("BTCUSDT", working, "0.005")
    exchange.faults.lose_answer("DELETE", PATH)
    frame = call.run()
    require_truth(exchange, frame)
    assert frame["origClientOrderId"].isna().tolist() == [True, False]
    assert not any(str(name).startswith("list.orders.") for name in frame)


def test_a_frame_takes_no_amended_order_for_what_it_was(exchange: LocalExchange, client: SpotClient) -> None:
    """The id in the frame is the one that the order had; after its end a query may show another, or the cancel's."""
    exchange.reset()
    number = int(place(exchange, newClientOrderId="first")["orderId"])
    shown = nbext.open_orders("BTCUSDT", client=client)
    exchange.amend("BTCUSDT", number, "0.005", client_order_id="second")
    exchange.withdraw("BTCUSDT", number)
    frame = Quick(client, orders=orders_of(shown, client)).run()
    require_truth(exchange, frame)
    assert frame["outcome"].tolist() == ["expired"]


@pytest.mark.parametrize("later", [0, 90_000])
def test_an_order_given_as_it_was_before_an_amendment_has_the_id_it_had_last(later: int) -> None:
    """The call's own look shows it; one that was placed at another time, under an id given again, is another order."""
    placed = {"symbol": "BTCUSDT", "orderId": 7, "orderListId": -1, "side": "BUY", "type": "LIMIT", "time": 10**12}
    given = {**placed, "origClientOrderId": "first", "origQty": "1.0"}
    listed = {**placed, "time": 10**12 + later, "clientOrderId": "second", "origQty": "0.5", "status": "NEW"}
    ended = {**listed, "clientOrderId": "the cancel's", "status": "CANCELED", "updateTime": 10**12, "executedQty": "0"}

    def respond(request: Request) -> bytes:
        if request.path.endswith("/time"):
            return answer({"serverTime": round(time.time() * 1000)})
        return answer([listed] if request.path.endswith("/openOrders") else ended)

    with contextlib.closing(PlainServer(respond)) as server:
        client = nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64)
        job = make_job(client=client, orders=[given], reconcile=1.0, latency=Latency(engine=0.1, lag=0.1))
        with contextlib.suppress(nbext.NbextError):
            job.run()
    assert nbext.last is not None
    row = nbext.last.iloc[0]
    own, outcome = ("first", "unknown") if later else ("second", "canceled")
    assert (row["origClientOrderId"], row["outcome"]) == (own, outcome)


def test_the_journal_takes_no_amended_order_for_what_it_was(exchange: LocalExchange, client: SpotClient) -> None:
    """What was seen has its quantity in the journal, so that an amendment can be told when it is reconciled later."""
    exchange.reset()
    number = int(place(exchange, newClientOrderId="first")["orderId"])
    call = Quick(client, seen=True, reconcile=0.0)
    exchange.amend("BTCUSDT", number, "0.005", client_order_id="second")
    exchange.faults.lose_answer("DELETE", PATH)
    with pytest.raises(nbext.OutcomeUnknownError):
        call.run()
    (entry,) = session.journal().entries(1)
    assert entry.intent.seen == (
        {"symbol": "BTCUSDT", "orderId": number, "origClientOrderId": "first", "origQty": "0.01000000"},
    )


@pytest.mark.parametrize("lost", [False, True])
def test_an_amended_order_that_is_canceled_with_its_list_has_one_row(
    exchange: LocalExchange, client: SpotClient, lost: bool
) -> None:
    """A frame names it by the id that it had; the list goes by the order that has kept its own."""
    exchange.reset()
    _, pending = place_oto(exchange)
    shown = nbext.open_orders("BTCUSDT", client=client)
    exchange.amend("BTCUSDT", pending, "0.005", client_order_id="lower")
    if lost:
        exchange.faults.lose_answer("DELETE", "*")
    frame = Quick(client, orders=orders_of(shown, client)).run()
    require_truth(exchange, frame)
    assert frame["outcome"].tolist() == ["canceled", "canceled"]
    assert frame["origQty"].tolist() == [0.01, 0.005]
    assert frame.attrs["nbext"]["beyond"] == 0


def test_as_reported_takes_nothing_for_the_cancels_id_that_may_be_another() -> None:
    """The rename, by itself."""
    before = {"origClientOrderId": "own", "origQty": "1.000"}
    canceled = {"status": "CANCELED", "clientOrderId": "x", "origQty": "1"}
    assert as_reported({"status": "NEW", "clientOrderId": "own"})["origClientOrderId"] == "own"
    assert as_reported(canceled, before) == canceled | {"origClientOrderId": "own"}
    assert as_reported(canceled | {"clientOrderId": "own"}, before).get("clientOrderId") is None
    assert as_reported(canceled)["wire.clientOrderId"] == "x"
    # Of an order in the journal nothing but its ids is known.
    told = as_reported(canceled, {"origClientOrderId": "own"})
    assert (told["origClientOrderId"], told.get("clientOrderId")) == ("own", None)
    assert as_reported(canceled | {"origQty": "0.5"}, before)["origClientOrderId"] is None
    assert as_reported({"status": "EXPIRED", "clientOrderId": "x"}).get("origClientOrderId") is None


def test_reports_in_other_shapes_become_one_row_for_each_order() -> None:
    """Reported twice, with quoted ids, or in the WebSocket form without an own id: one row, with the right ids."""
    leg = {"symbol": "A", "orderId": 1, "orderListId": 0, "status": "CANCELED", "clientOrderId": "own"}
    order_list = {"orderListId": 0, "orders": [{"symbol": "A", "orderId": 1, "clientOrderId": "own"}]}
    flat = leg | {"origClientOrderId": "own", "clientOrderId": "cancel"}
    (row,) = from_reports([flat, order_list | {"orderReports": [leg]}])
    assert row.order_list is not None
    assert (row.order["origClientOrderId"], row.order["clientOrderId"]) == ("own", "cancel")
    (row,) = from_reports([order_list | {"orderReports": [leg]}])
    assert row.order["origClientOrderId"] == "own"
    assert "clientOrderId" not in row.order
    (row,) = from_reports([flat | {"orderId": "1", "orderListId": "0"}, flat])
    assert row.order["orderId"] == 1
    two = from_reports([flat, flat | {"origClientOrderId": "another"}])
    assert len(two) == 2, "the documented sample of the WebSocket API gives two orders one number"


def test_a_report_with_one_id_only_takes_the_orders_own_from_the_look() -> None:
    """It is the order's own, or else the cancel's; without a look it may be either."""
    seen = [Row({"symbol": "BTCUSDT", "orderId": 7, "origClientOrderId": "own"}, None, "open")]
    told = {"symbol": "BTCUSDT", "orderId": 7, "status": "CANCELED"}
    for shown, ids in {"own": ("own", None), "other": ("own", "other")}.items():
        (row,) = from_reports([{**told, "clientOrderId": shown}], seen)
        assert (row.order.get("origClientOrderId"), row.order.get("clientOrderId")) == ids
    (row,) = from_reports([{**told, "clientOrderId": "own"}])
    assert not {"origClientOrderId", "clientOrderId"} & row.order.keys()


def test_an_order_that_no_cancel_has_ended_has_no_cancels_id() -> None:
    """Reported along with its list, or left open: `clientOrderId` is missing, and what else stood there is kept."""
    leg = {"symbol": "A", "orderId": 1, "orderListId": 0, "origClientOrderId": "own", "clientOrderId": "own"}
    for status in ("FILLED", "NEW", "CANCELED", "EXPIRED", "REJECTED"):
        (row,) = from_reports([{"orderListId": 0, "orderReports": [leg | {"status": status}]}])
        assert row.order.get("origClientOrderId") == "own"
        assert "clientOrderId" not in row.order
        assert row.order["wire.clientOrderId"] == "own"
        (row,) = from_reports([leg | {"status": status, "clientOrderId": "another"}])
        name = "clientOrderId" if status in {"CANCELED", "EXPIRED"} else "wire.clientOrderId"
        assert {key: value for key, value in row.order.items() if value == "another"} == {name: "another"}


# Looks that are in doubt.

REFUSALS = {
    "-2011 as today": {},
    "-2011 in other words": {"unknown_order_text": "UNKNOWN_ORDER", "unknown_list_text": "CANCEL_REJECTED"},
    "-1013": {"unknown_code": -1013},
}


@pytest.mark.parametrize("how", ["prefix", "frame"])
@pytest.mark.parametrize("refusal", REFUSALS)
def test_a_refused_single_cancel_reads_the_order(
    exchange: LocalExchange, client: SpotClient, refusal: str, how: str
) -> None:
    """Filled between the look and the cancel: whatever the words of the refusal, the row says filled, and no error."""
    exchange.reset(dialect=Dialect(**REFUSALS[refusal]))  # type: ignore[arg-type] # as above
    last = exchange.last_price("BTCUSDT")
    place(exchange, str(round(last * 99 / 100)), newClientOrderId="me-1")
    place(exchange, newClientOrderId="me-2")
    if how == "prefix":
        call = Quick(client, prefix="me-", seen=True)
    else:
        orders = [
            {"symbol": "BTCUSDT", "orderId": order["orderId"], "origClientOrderId": order["origClientOrderId"]}
            for order in exchange.orders("BTCUSDT")
        ]
        call = Quick(client, orders=orders, seen=True)
    exchange.set_price("BTCUSDT", round(last * 98 / 100))
    frame = call.run()
    require_truth(exchange, frame)
    assert sorted(frame["outcome"]) == ["canceled", "filled"]


@pytest.mark.parametrize("code", [-2011, -2039, -1102])
def test_an_order_that_was_amended_is_read_again(exchange: LocalExchange, client: SpotClient, code: int) -> None:
    """The ids do not belong together any more: the order is open, as of a moment after the refusal."""
    exchange.reset(dialect=Dialect(mismatch_code=code))
    placed = place(exchange, newClientOrderId="me-1")
    call = Quick(client, prefix="me-", seen=True)
    exchange.amend("BTCUSDT", int(placed["orderId"]), "0.005")
    with pytest.raises((nbext.RejectedError, nbext.IncompleteError)) as refused:
        call.run()
    frame = refused.value.frame
    assert frame is not None
    require_truth(exchange, frame)
    assert frame["outcome"].tolist() == ["open"]
    assert frame["origQty"].tolist() == [0.005]
    assert any("1 still open as of " in line for line in call.said)


@pytest.mark.parametrize("refusal", ["418", "429", "403", "-2015", "-2011", "down"])
def test_a_refused_cancel_all_repeats_no_preview(exchange: LocalExchange, client: SpotClient, refusal: str) -> None:
    """Orders filled after the preview are not open, whatever refused the cancel: read again, or unknown."""
    call = Quick(client, seen=True)
    for order in exchange.open_orders("BTCUSDT")[:1]:
        exchange.withdraw("BTCUSDT", int(str(order["orderId"])))
    coming = exchange.faults.on("DELETE", PATH)
    if refusal == "418":
        coming.ban(retry_after=60)
    elif refusal == "429":
        coming.limit(retry_after=60)
    elif refusal == "403":
        coming.firewall()
    elif refusal == "down":
        exchange.stop()
        client.close()
    else:
        coming.fail(code=int(refusal), text="Not now.", status=400, after_executing=False)
    with pytest.raises(nbext.NbextError) as refused:
        call.run()
    frame = refused.value.frame
    assert frame is not None
    if refusal in {"418", "429", "down"}:
        assert set(frame["outcome"]) == {"unknown"}
        assert frame["status"].isna().all()
        assert frame["executedQty"].isna().all()
        assert not isinstance(refused.value, nbext.OutcomeUnknownError)
        return
    require_truth(exchange, frame)
    assert sorted(set(frame["outcome"])) in (["expired", "open"], ["canceled", "open"])
    assert isinstance(refused.value, nbext.RejectedError)


def test_a_refusal_after_some_were_canceled_is_read_order_by_order(exchange: LocalExchange, client: SpotClient) -> None:
    """A refusal by the engine does not prove that nothing was changed."""
    speak(exchange, partial_refusal="after_some")
    call = Quick(client, seen=True)
    with pytest.raises(nbext.NbextError) as refused:
        call.run()
    assert refused.value.frame is not None
    require_truth(exchange, refused.value.frame)
    assert set(refused.value.frame["outcome"]) == {"canceled", "open"}


@pytest.mark.parametrize("kept", ["left_out", "reported_open"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_an_order_that_cannot_be_canceled_is_open_late_or_not_at_all(
    exchange: LocalExchange, client: SpotClient, kept: str, seen: bool
) -> None:
    """What an answered cancel leaves out, or reports as open, is open once no cancel can arrive, with a date."""
    speak(exchange, uncancelable=kept)
    call = Quick(client, seen=seen)
    if kept == "left_out" and not seen:  # nobody was told of them
        frame = call.run()
    else:
        with pytest.raises(nbext.IncompleteError, match=" still open as of ") as incomplete:
            call.run()
        assert incomplete.value.frame is not None
        frame = incomplete.value.frame
        left = {order["orderId"] for order in exchange.open_orders("BTCUSDT")}
        assert set(frame.loc[frame["outcome"] == "open", "orderId"]) == left
    require_truth(exchange, frame)


def test_a_stale_read_after_an_answered_cancel_proves_nothing(exchange: LocalExchange, client: SpotClient) -> None:
    """An order that the answer does not name is not open because one read shows it so: it filled before."""
    exchange.reset()
    last = exchange.last_price("BTCUSDT")
    place(exchange, str(round(last * 99 / 100)))
    place(exchange)
    call = Quick(client, seen=True, reconcile=1.0, latency=Latency(engine=5.0, lag=0.1))
    exchange.faults.lag = 20
    exchange.set_price("BTCUSDT", round(last * 98 / 100))
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        call.run()
    assert unknown.value.frame is not None
    require_truth(exchange, unknown.value.frame)
    assert sorted(unknown.value.frame["outcome"]) == ["canceled", "unknown"]


# Quantities, and what reads cannot tell.


def test_a_torn_read_shows_too_little_of_nothing(exchange: LocalExchange, client: SpotClient) -> None:
    """CANCELED beside an older quantity: the quantity is told once a later read has caught up, and not before."""
    exchange.reset(dialect=Dialect(torn_read=1))
    last = exchange.last_price("BTCUSDT")
    price = str(round(last * 99 / 100))
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price=price)
    for seconds, latency in ((6.0, Latency(engine=0.2, lag=1.3)), (0.6, Latency(engine=0.2, lag=1.3))):
        call = Quick(client, seen=True, reconcile=seconds, latency=latency)
        exchange.place("BTCUSDT", "SELL", "LIMIT", timeInForce="GTC", quantity="0.25", price=price)
        exchange.faults.lose_answer("DELETE", PATH)
        frame = call.run()
        require_truth(exchange, frame)
        assert frame["outcome"].tolist() == ["canceled"]
        assert frame["executedQty"].isna().tolist() == [seconds < 1]
        exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price=price)


@pytest.mark.parametrize("status", ["PENDING_CANCEL", "made_up"])
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
def test_an_unfamiliar_status_is_unknown_and_not_absent(
    exchange: LocalExchange, client: SpotClient, status: str, seen: bool
) -> None:
    """An order that is listed as open with a status that nobody knows is neither dropped nor called open."""
    speak(exchange, open_status=status)
    assert len(nbext.open_orders("BTCUSDT", client=client)) == 13
    call = Quick(client, seen=seen, reconcile=2.5)
    exchange.faults.lose_answer("DELETE", PATH, after_executing=False)
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        call.run()
    assert unknown.value.frame is not None
    require_truth(exchange, unknown.value.frame)
    assert len(unknown.value.frame) == 13
    assert "unknown" in set(unknown.value.frame["outcome"])


@pytest.mark.parametrize("age", ["live", "creation"])
def test_an_order_that_was_open_a_moment_ago_is_not_archived(
    exchange: LocalExchange, client: SpotClient, age: str
) -> None:
    """-2026 about an order that changed within 90 days proves nothing."""
    exchange.reset(dialect=Dialect(archive_from=age, all_orders_time="creation"))
    place(exchange)
    exchange.advance(91 * 86400)
    client.measure_clock_offset()
    call = Quick(client, seen=True, reconcile=1.0)
    exchange.faults.lose_answer("DELETE", PATH, after_executing=age == "creation")
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        call.run()
    assert unknown.value.frame is not None
    assert unknown.value.frame["outcome"].tolist() == ["unknown"]


def test_nothing_found_after_a_lost_answer_is_not_nothing(exchange: LocalExchange, client: SpotClient) -> None:
    """Nobody looked before, the answer got lost, and no read shows anything: whether anything was open is not known."""
    exchange.reset()
    exchange.faults.lose_answer("DELETE", PATH)
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        Quick(client).run()
    assert unknown.value.frame is not None
    assert len(unknown.value.frame) == 0
    assert unknown.value.frame.attrs["nbext"]["complete"] is False


def test_what_ended_otherwise_is_not_taken_for_the_cancels(exchange: LocalExchange, client: SpotClient) -> None:
    """Without a look before, an order that was filled at the same moment gets no row: no cancel fills orders."""
    exchange.reset()
    last = exchange.last_price("BTCUSDT")
    left = place(exchange)
    place(exchange, str(round(last * 99 / 100)))
    exchange.set_price("BTCUSDT", round(last * 98 / 100))
    exchange.faults.lose_answer("DELETE", PATH)
    frame = Quick(client).run()
    assert frame[["orderId", "outcome"]].to_numpy().tolist() == [[left["orderId"], "canceled"]]


# Many orders.


@pytest.mark.timeout(120)
@pytest.mark.parametrize("seen", [True, False], ids=["seen", "unseen"])
@pytest.mark.parametrize("span", ["unlimited", "day", "refused"])
def test_a_full_page_within_one_millisecond_loses_no_order(
    exchange: LocalExchange, client: SpotClient, span: str, seen: bool
) -> None:
    """1,100 orders canceled at once, more than any page of ``allOrders`` holds, are read in pages."""
    exchange.reset(dialect=Dialect(start_only_span=span))
    for _ in range(1100):
        exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.001", price="50000")
    call = Quick(client, seen=seen, reconcile=30.0)
    exchange.faults.lose_answer("DELETE", PATH)
    frame = call.run()
    assert len(frame) == 1100
    assert set(frame["outcome"]) == {"canceled"}
    require_truth(exchange, frame)
    assert len(exchange.requests("GET", "/api/v3/order")) <= 25  # not one by one: each costs 4, a page of 1,000 20


@pytest.mark.parametrize("sort", ["order_id", "update_time"])
@pytest.mark.parametrize("by", ["update", "creation"])
def test_orders_are_found_however_all_orders_sorts_and_filters(
    exchange: LocalExchange, client: SpotClient, sort: str, by: str
) -> None:
    """With a look before, every order is found; without one, what is not found is not claimed to be nothing."""
    for seen in (True, False):
        speak(exchange, all_orders_sort=sort, all_orders_time=by)
        exchange.advance(3600)
        client.measure_clock_offset()
        call = Quick(client, seen=seen)
        exchange.faults.lose_answer("DELETE", PATH)
        if by == "creation" and not seen:
            with pytest.raises(nbext.OutcomeUnknownError) as unknown:
                call.run()
            assert unknown.value.frame is not None
            assert len(unknown.value.frame) == 0
        else:
            frame = call.run()
            require_truth(exchange, frame)
            assert len(frame) == 13


def test_what_ended_long_ago_needs_no_second_read(exchange: LocalExchange, client: SpotClient) -> None:
    """A journal of many old requests is not held up: quantities that had the time to catch up are final at once."""
    exchange.reset()
    placed = place(exchange)
    seen = look(client, ["BTCUSDT"]).rows()
    exchange.withdraw("BTCUSDT", int(placed["orderId"]))
    exchange.advance(3600)
    client.measure_clock_offset()
    request = CancelRequest("BTCUSDT", PATH, {"symbol": "BTCUSDT"}, seen)
    search = Reconciliation(
        client, Attempt(request, at=time.monotonic() - 3600, stamp=client.now() - 3_600_000), None, Latency(lag=30)
    )
    search.read(time.monotonic() + 5)
    assert search.is_reconciled
    assert [row.order["executedQty"] for row in search.rows()] == ["0.00000000"]


def test_what_is_in_doubt_keeps_no_time_of_what_was_told() -> None:
    """A cancel may report an order as open, with the time of that report, which is no time of the order's end."""
    told = {"symbol": "BTCUSDT", "orderId": 1, "side": "BUY", "status": "NEW", "transactTime": 5, "updateTime": 4}
    assert in_doubt(Row(told, None, "open")).order == {"symbol": "BTCUSDT", "orderId": 1, "side": "BUY"}
