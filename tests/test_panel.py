"""The panel, without a browser: click, wait for the threads, read attributes, and ask the exchange what it saw."""

from __future__ import annotations

import atexit
import json
import re
import time
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import Widget
from support.panels import Clock, agree, ask, deletes, keys, notes, open_ids, panel_rests, send, until
from support.server import answer

import nbext
from nbext.exchange import Dialect, LocalExchange
from nbext.notebook import clicks, magics
from nbext.notebook.panel import CancelPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

    from nbext.spot.client import SpotClient

PATH = "/api/v3/openOrders"


def test_it_shows_what_is_open_and_where(exchange: LocalExchange, panel: CancelPanel) -> None:
    """The badge names the exchange in words; lists stand together; what has traded is shown; symbols are suggested."""
    assert panel.status["exchange"]["word"] == "LOCAL"
    assert "no real money" in panel.status["exchange"]["meaning"]
    assert panel.status["symbols"] == ["BTCUSDT", "ETHUSDT"]
    assert "13 open orders on BTCUSDT (6 single, 1 OCO list, 2 OTO lists)" in panel.status["summary"]
    assert [row["live"] for row in panel.rows] == [1, 1, 1, 1, 1, 1, 2, 2, 3]
    orders = {order["order"]: order for row in panel.rows for order in row["orders"]}
    assert [order["filled"] for order in orders.values() if order["filled"]] == [40]
    assert sum(order["pending"] for order in orders.values()) == 3
    assert [row["name"] for row in panel.rows if row["list"]] == ["OCO list 7917", "OTO list 7918", "OTO list 7919"]
    assert panel.rows[6]["about"] == "SELL 0.5, one cancels the other"
    assert panel.rows[7]["about"] == "BUY 0.1, then SELL 0.1"
    assert panel.rows[8]["about"] == "BUY 0.25, then SELL 0.25"
    assert deletes(exchange) == []


def test_orders_are_shown_in_words(exchange: LocalExchange, panel: CancelPanel) -> None:
    """A trailing stop has no price and trails by percent; an iceberg says so; distances are from the last price."""
    cells = {order["order"]: order for row in panel.rows for order in row["orders"]}
    trailing = next(order for order in cells.values() if "trailing" in order["trigger"])
    assert (trailing["price"], trailing["trigger"], trailing["distance"]) == ("market", "5 % trailing", "")
    assert "2, iceberg 0.25" in {order["quantity"] for order in cells.values()}
    exchange.set_price("BTCUSDT", "60000")
    panel.refresh()
    panel.wait()
    limit = next(order for row in panel.rows for order in row["orders"] if order["price"] == "58,759")
    assert limit["distance"] == "\N{MINUS SIGN}2.07 %"
    stop = next(order for row in panel.rows for order in row["orders"] if order["trigger"] == "56,361")
    assert (stop["price"], stop["distance"]) == ("56,241", "\N{MINUS SIGN}6.06 %")  # of the trigger, as in the ladder
    assert abs(panel.status["clock"] - limit["placed"]) < 60_000


def test_a_question_then_everything_is_canceled(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """The first click sends nothing and asks; a yes cancels all at once, and outcomes and the journal are shown."""
    question = ask(panel)
    assert deletes(exchange) == []
    assert question["sentence"] == "Cancel 13 orders on BTCUSDT?"
    assert question["confirm"] == "Cancel 13 orders"
    assert question["type"] == ""
    agree(panel, clock)
    assert [request["path"] for request in deletes(exchange)] == [PATH]
    assert panel.frame is not None
    assert panel.frame["outcome"].tolist() == ["canceled"] * 13
    assert "13 orders canceled" in notes(panel)
    assert "Nothing is open" in panel.status["summary"]
    assert open_ids(exchange) == set()
    assert panel.status["question"] is None
    sent, request, orders, state = panel.recent[0]
    assert (request, orders, state) == ("cancel all on BTCUSDT", "13 canceled", "concluded")
    assert sent[:13] == time.strftime("%Y-%m-%d %H")


def test_what_was_canceled_stays_until_a_refresh(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """In its place, with its outcome, and out of reach; a reading by itself leaves it there."""
    before = [row["key"] for row in panel.rows]
    ask(panel, before[1], before[6])
    agree(panel, clock)
    panel.refresh()
    panel.wait()
    assert [row["key"] for row in panel.rows] == before
    outcomes = [[order["outcome"] for order in row["orders"]] for row in panel.rows]
    assert outcomes[1] == ["canceled"]
    assert outcomes[6] == ["canceled"] * 2
    assert sum(row["live"] for row in panel.rows) == len(open_ids(exchange)) == 10
    assert ask(panel, before[1]) is None
    assert "Nothing of this is open any more; nothing was canceled." in notes(panel)
    send(panel, do="refresh")
    panel_rests(panel)
    assert [row["key"] for row in panel.rows] == [each for each in before if each not in (before[1], before[6])]


@pytest.mark.parametrize(("chosen", "price"), [(slice(2, 4), 61757), (slice(0), 58759)])
def test_what_was_traded_meanwhile_is_told(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock, chosen: slice, price: int
) -> None:
    """An order that was asked about and is filled before the yes has a row and an outcome, as one that was canceled."""
    ask(panel, *[row["key"] for row in panel.rows][chosen])
    exchange.set_price("BTCUSDT", price)
    agree(panel, clock)
    assert panel.frame is not None
    filled = panel.frame[panel.frame["outcome"] == "filled"]
    assert price in set(filled["price"])
    assert f"; {len(filled)} filled" in notes(panel)
    shown = [order for row in panel.rows for order in row["orders"] if order["outcome"] == "filled"]
    assert f"{price:,}" in {order["price"] for order in shown}


def test_what_a_list_did_is_still_said_when_it_has_ended(panel: CancelPanel, clock: Clock) -> None:
    """Its second order is no longer pending then, and came later anyway."""
    before = {row["key"]: row["about"] for row in panel.rows if row["list"]}
    ask(panel)
    agree(panel, clock)
    assert {row["key"]: row["about"] for row in panel.rows if row["list"]} == before
    assert "BUY 0.1, then SELL 0.1" in before.values()


def test_selected_orders_go_and_lists_go_whole(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """One single order and one list: these requests and no others."""
    before = open_ids(exchange)
    single, whole = keys(panel, lists=False)[0], keys(panel, lists=True)[0]
    ours = {int(order["order"]) for row in panel.rows if row["key"] in (single, whole) for order in row["orders"]}
    question = ask(panel, single, whole)
    assert question["sentence"] == "Cancel 3 orders on BTCUSDT?"
    assert "1 single, 1 OCO list, the list as a whole" in question["detail"]
    assert question["keys"] == sorted([single, whole])
    agree(panel, clock)
    assert sorted(request["path"] for request in deletes(exchange)) == ["/api/v3/order", "/api/v3/orderList"]
    assert open_ids(exchange) == before - ours


def test_an_answer_that_comes_too_soon_does_not_count(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """Half a second must pass between a question and its answer; the question stays."""
    question = ask(panel)
    for _ in range(20):
        send(panel, do="confirm", question=question["number"])
        clock.now += clicks.TOO_SOON / 25
    panel.wait()
    assert deletes(exchange) == []
    assert panel.status["question"] == question
    agree(panel, clock)
    assert len(deletes(exchange)) == 1


def test_a_question_is_answered_once(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """Neither a second answer nor one to another question does anything."""
    question = ask(panel, keys(panel)[0])
    clock.now += 1
    for number in (question["number"], question["number"], question["number"] + 1, None, "1"):
        send(panel, do="confirm", question=number)
    panel_rests(panel)
    clock.now += 1
    send(panel, do="confirm", question=question["number"])
    panel_rests(panel)
    assert len(deletes(exchange)) == 1


def test_a_question_does_not_last(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """An answer after a minute is none."""
    question = ask(panel)
    clock.now += clicks.ANSWER + 0.1
    send(panel, do="confirm", question=question["number"])
    panel_rests(panel)
    assert deletes(exchange) == []


def test_what_was_asked_about_is_what_goes(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """Keeping, another selection, another filter, another symbol: each closes the question."""
    first, second = keys(panel)[:2]

    def change(name: str, value: object) -> None:
        with panel.hold_sync():
            setattr(panel, name, value)

    for closes in (
        lambda: send(panel, do="keep"),
        lambda: change("picked", [second]),
        lambda: change("filters", {"side": "BUY"}),
        lambda: change("symbol", "eth/usdt"),
    ):
        number = ask(panel, first)["number"]
        clock.now += 1
        closes()
        assert panel.status["question"] is None
        send(panel, do="confirm", question=number)
        panel_rests(panel)
    assert panel.symbol == "ETHUSDT"
    assert {row["symbol"] for row in panel.rows} == {"ETHUSDT"}
    assert deletes(exchange) == []


def test_a_new_order_leads_to_a_new_question(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """What came after the question is counted and asked about; what was filled meanwhile is not asked about again."""
    ask(panel)
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    agree(panel, clock)
    assert deletes(exchange) == []
    question = panel.status["question"]
    assert question["sentence"] == "Cancel 14 orders on BTCUSDT?"
    assert question["news"] == "1 order is new since you looked."
    exchange.set_price("BTCUSDT", "59900")
    agree(panel, clock)
    assert len(deletes(exchange)) == 1
    assert open_ids(exchange) == set()


def test_the_count_is_taken_when_asking(exchange: LocalExchange, panel: CancelPanel) -> None:
    """The question counts what is open now, and says what is new since the table was read."""
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    question = ask(panel)
    assert question["confirm"] == "Cancel 14 orders"
    assert question["news"] == "1 order is new since you looked."
    assert sum(row["live"] for row in panel.rows) == 14


def test_only_what_was_shown_goes(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """A narrowed table sends the orders that it shows; one that came meanwhile is not among them."""
    buys = [row["key"] for row in panel.rows if not row["list"] and row["orders"][0]["side"] == "BUY"]
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price="50000")
    send(panel, do="ask", keys=buys, everything=False)
    panel_rests(panel)
    assert panel.status["question"]["confirm"] == f"Cancel {len(buys)} orders"
    agree(panel, clock)
    assert {request["path"] for request in deletes(exchange)} == {"/api/v3/order"}
    assert len(deletes(exchange)) == len(buys)
    assert len(open_ids(exchange)) == 14 - len(buys)


def test_keys_that_are_not_open_cancel_nothing(exchange: LocalExchange, panel: CancelPanel) -> None:
    """Whatever a browser sends, only orders of the last look can be meant."""
    unknown: list[list[Any]] = [
        ["BTCUSDT order 1"],
        ["ETHUSDT order 4231693"],
        [],
        [None, {}],
        ["BTCUSDT list 4231693"],
    ]
    for wrong in unknown:
        send(panel, do="ask", keys=wrong, everything=False)
        panel_rests(panel)
        assert panel.status["question"] is None
        assert "nothing was canceled" in notes(panel)
    for odd in ({}, {"do": "fire"}, {"do": "ask"}, {"do": "confirm"}, {"do": "ask", "keys": 7}):
        send(panel, **odd)
        panel_rests(panel)
    assert deletes(exchange) == []


def test_while_it_works_clicks_are_dropped(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """A click that had queued up does nothing."""
    exchange.faults.answer_late("DELETE", PATH, seconds=0.5)
    number = ask(panel)["number"]
    clock.now += 1
    send(panel, do="confirm", question=number)
    for _ in range(5):
        clock.now += 1
        send(panel, do="ask", keys=keys(panel), everything=True)
    assert "still busy" in notes(panel)
    panel_rests(panel)
    assert len(deletes(exchange)) == 1
    assert panel.status["question"] is None


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """Start an IPython shell, whose cells the panel hears of."""
    InteractiveShell.clear_instance()
    shell = InteractiveShell.instance()
    yield shell
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


def test_clicks_around_a_cell_are_dropped(
    shell: InteractiveShell, exchange: LocalExchange, client: SpotClient, clock: Clock
) -> None:
    """A click in a cell, or just after its end, does nothing and says so; a cell closes the question."""
    panel = CancelPanel("BTCUSDT", client=client, clock=clock)
    panel.wait()
    shell.user_ns.update(panel=panel, send=send, ask=ask)
    shell.run_cell("ask(panel)")
    assert "ignored: it came while a cell was running" in notes(panel)
    clock.now += 0.2
    assert ask(panel) is None
    assert "ignored: it came while a cell was running" in notes(panel)
    clock.now += 0.2
    number = ask(panel)["number"]
    shell.run_cell("1/1")
    assert "confirmation was reset" in notes(panel)
    assert panel.status["question"] is None
    clock.now += 1
    send(panel, do="confirm", question=number)
    panel_rests(panel)
    panel.close()
    shell.run_cell("1")
    assert deletes(exchange) == []


def stranger(number: int) -> dict[str, Any]:
    """Make an open order as another server shows it."""
    return {
        "symbol": "BTCUSDT",
        "orderId": number,
        "orderListId": -1,
        "clientOrderId": f"mine{number}",
        "price": "1.0",
        "origQty": "2.0",
        "executedQty": "0.0",
        "status": "NEW",
        "type": "LIMIT",
        "side": "BUY",
        "time": 1,
    }


def test_on_live_the_number_is_typed(serve: Callable[..., PlainServer], clock: Clock) -> None:
    """A click is not enough: the number of orders has to be typed, the right one, and of what is open then."""
    orders = [stranger(7), stranger(8)]

    def respond(request: Request) -> bytes:
        if request.method == "GET":
            return answer(orders)
        return answer(
            [{**order, "origClientOrderId": order["clientOrderId"], "status": "CANCELED"} for order in orders]
        )

    server = serve(respond)
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client, clock=clock)
        panel.wait()
        assert panel.status["exchange"]["word"] == "LIVE"
        assert panel.status["exchange"]["meaning"] == "treated as LIVE: not known to be a practice exchange"
        assert panel.status["exchange"]["where"].endswith("key …kkkk")
        assert ask(panel)["sentence"] == "Cancel 2 orders on BTCUSDT? LIVE."
        for typed in ("", "3", "all"):
            assert panel.status["question"]["type"] == "2"
            agree(panel, clock, typed)
            assert panel.status["question"]["news"] == (f"{typed!r} is not the number of orders." if typed else "")
        clock.now += clicks.ANSWER + 1
        send(panel, do="confirm", question=panel.status["question"]["number"], typed="2")
        panel_rests(panel)
        assert all(request.method == "GET" for request in server.requests)
        ask(panel)
        orders.append(stranger(9))
        agree(panel, clock, "2")
        assert panel.status["question"]["news"] == "1 order is new since you looked."
        assert panel.status["question"]["type"] == "3"
        assert panel.error is None
        del orders[0]
        agree(panel, clock, "3")
        assert panel.status["question"]["news"] == "1 order is no longer open."
        assert all(request.method == "GET" for request in server.requests)
        agree(panel, clock, " 2 ")
        assert [request.path for request in server.requests if request.method == "DELETE"] == [PATH]
        assert panel.frame is not None
        assert panel.frame["outcome"].tolist()[-2:] == ["canceled"] * 2
        panel.close()


@pytest.mark.parametrize(("confirm", "typed"), [("live", "2"), ("never", "")])
def test_a_yes_costs_one_look_and_what_is_new_in_it_is_asked_about(
    serve: Callable[..., PlainServer], clock: Clock, confirm: Any, typed: str
) -> None:
    """Between a yes and the cancel stands one request; an order that it shows and the question did not asks again."""
    orders = [stranger(7), stranger(8)]

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer(
                [{**each, "origClientOrderId": each["clientOrderId"], "status": "CANCELED"} for each in orders]
            )
        return answer(orders)

    server = serve(respond)
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client, clock=clock, confirm=lambda: confirm)
        panel.wait()
        ask(panel)
        orders.append(stranger(9))
        agree(panel, clock, typed)
        assert all(request.method == "GET" for request in server.requests)
        assert panel.status["question"]["sentence"] == "Cancel 3 orders on BTCUSDT? LIVE."
        assert panel.status["question"]["news"] == "1 order is new since you looked."
        assert (panel.error, notes(panel)) == (None, "")
        before = len(server.requests)
        agree(panel, clock, typed and "3")
        sent = [(request.method, request.path) for request in server.requests]
        assert sent[before : before + 2] == [("GET", PATH), ("DELETE", PATH)]
        assert [method for method, _ in sent].count("DELETE") == 1
        assert panel.frame is not None
        assert panel.frame["outcome"].tolist() == ["canceled"] * 3
        panel.close()


def test_errors_are_shown_in_the_words_of_the_error_tree(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """A refusal, an outcome that is not known, and an exchange that is down: each is named, and the panel goes on."""
    body = '{"code":-2015,"msg":"Invalid API-key."}'
    exchange.faults.fail("DELETE", PATH, status=400, body=body, after_executing=False)
    ask(panel)
    agree(panel, clock)
    assert "RejectedError: " in notes(panel)
    assert len(open_ids(exchange)) == 13
    exchange.faults.lose_answer("DELETE", PATH)
    ask(panel)
    agree(panel, clock)
    assert "13 orders canceled" in notes(panel)
    assert "an answer was lost" in notes(panel)
    exchange.stop()
    send(panel, do="refresh")
    panel_rests(panel)
    assert panel.status["problem"].startswith("NotSentError: ")
    assert "The table is as of" in panel.status["problem"]
    assert not panel.status["ready"]


def test_an_exchange_that_does_not_answer_is_not_asked_about(exchange: LocalExchange, panel: CancelPanel) -> None:
    """Where nothing can be counted, no click leads to a question."""
    before = keys(panel)
    exchange.stop()
    send(panel, do="ask", keys=before, everything=True)
    panel_rests(panel)
    assert panel.status["question"] is None
    assert panel.status["problem"].startswith("NotSentError: ")


@pytest.mark.parametrize("refusal", ["clock", "limit"])
def test_a_refusal_that_passes_keeps_nothing_from_view(
    exchange: LocalExchange, client: SpotClient, clock: Clock, refusal: str
) -> None:
    """The first look, a reading again and a question get over a clock that is off, and over a limit of a second."""
    skews = iter((30, -30, 30))

    def refuse() -> None:
        if refusal == "clock":
            exchange.faults.skew = next(skews)
        else:
            exchange.faults.on("GET", PATH).limit(retry_after=1)

    refuse()
    panel = CancelPanel("BTCUSDT", client=client, clock=clock)
    panel.wait()
    assert (panel.status["problem"], len(panel.rows)) == ("", 9)
    refuse()
    panel.refresh()
    panel.wait()
    assert (panel.status["problem"], len(panel.rows)) == ("", 9)
    refuse()
    assert ask(panel)["sentence"] == "Cancel 13 orders on BTCUSDT?"
    refused = [request["status"] for request in exchange.requests("GET", PATH) if request["status"] != 200]
    assert refused == [400 if refusal == "clock" else 429] * 3
    panel.close()


def test_without_a_key_or_such_a_symbol_nothing_can_be_asked(exchange: LocalExchange, panel: CancelPanel) -> None:
    """The panel says what is missing, and is not ready."""
    for wrong, error in (("BTC USDT!", "ConfigurationError: "), ("NOSUCH", "RejectedError: ")):
        panel.symbol = wrong
        panel_rests(panel)
        assert panel.status["problem"].startswith(error)
        assert not panel.status["ready"]
        assert panel.rows == []
        send(panel, do="ask", keys=[], everything=True)
        panel_rests(panel)
        assert panel.status["question"] is None
    with nbext.SpotClient(exchange.url) as client:
        bare = CancelPanel("BTCUSDT", client=client)
        bare.wait()
        assert "no key" in bare.status["problem"] or "API key" in bare.status["problem"]
        assert not bare.status["ready"]
        bare.close()
    assert deletes(exchange) == []


def test_without_a_symbol_only_selected_orders_can_go(
    exchange: LocalExchange, client: SpotClient, clock: Clock
) -> None:
    """No symbol never means all."""
    panel = CancelPanel(client=client, clock=clock)
    panel.wait()
    assert "18 open orders on all symbols" in panel.status["summary"]
    assert ask(panel) is None
    assert {row["symbol"] for row in panel.rows} == {"BTCUSDT", "ETHUSDT"}
    assert ask(panel, keys(panel)[0])["confirm"] == "Cancel 1 order"
    panel.close()
    assert deletes(exchange) == []


def test_auto_refresh_follows_and_stops_at_an_error(exchange: LocalExchange, client: SpotClient) -> None:
    """It reads again by itself, no faster than its share of the weight; what goes wrong ends it."""
    panel = CancelPanel("BTCUSDT", client=client)
    panel.wait()
    panel.auto_refresh = True
    nbext.cancel_all("BTCUSDT", client=client)
    until(lambda: "Nothing is open" in panel.status["summary"])
    assert re.search(r"every [2-9] s", panel.status["pace"])
    exchange.stop()
    until(lambda: not panel.auto_refresh)
    assert panel.status["problem"].startswith("NotSentError: ")
    panel.close()


def test_the_ladder_shows_what_is_open_and_what_has_just_gone(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """Switched on, it is drawn with each reading; what was canceled stays in it until somebody refreshes."""
    assert panel.picture == ""
    panel.ladder = True
    panel.wait()
    assert "BTCUSDT: 13 orders, 13 open [" in panel.picture
    ask(panel, *keys(panel)[:2])
    agree(panel, clock)
    assert "BTCUSDT: 13 orders, 11 open, 2 canceled [" in panel.picture
    send(panel, do="refresh")
    panel_rests(panel)
    assert "BTCUSDT: 11 orders, 11 open [" in panel.picture
    panel.ladder = False
    panel.wait()
    assert panel.picture == ""
    assert len(deletes(exchange)) == 2


def test_what_has_ended_is_struck_out_and_nothing_else(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """An order that a cancel left open is shown as it is read later; one that has gone is gone, read again or not."""
    panel.ladder = True
    kept = keys(panel)[0]
    exchange.faults.firewall("DELETE", "/api/v3/order")
    ask(panel, kept)
    agree(panel, clock)
    assert "BTCUSDT: 13 orders, 13 open [" in panel.picture
    assert kept in keys(panel)
    panel._client.cancel("/api/v3/order", {"symbol": "BTCUSDT", "orderId": int(kept.split()[-1])})
    panel.refresh()
    panel.wait()
    assert "BTCUSDT: 12 orders, 12 open [" in panel.picture
    number = ask(panel)["number"]
    clock.now += 1
    send(panel, do="confirm", question=number)
    panel_rests(panel)
    assert "BTCUSDT: 12 orders, 12 canceled [" in panel.picture
    assert [order["outcome"] for row in panel.rows for order in row["orders"]] == ["canceled"] * 12


def test_the_magic_asks_when_the_reader_wants_to_be_asked(shell: InteractiveShell) -> None:
    """The trait `confirm` holds for the panel, too, from the next question on."""
    nbext.local().reset()
    nbext.local().seed_orders()
    shell.run_cell("%load_ext nbext")
    panel = shell.run_line_magic("cancel_panel", "BTCUSDT")
    panel.wait()
    clock = panel._clicks._clock = Clock()
    shell.run_cell("%config NBExt.confirm = 'always'")
    clock.now += 1
    assert ask(panel)["type"] == "13"
    agree(panel, clock)
    assert panel.status["question"]["type"] == "13"
    assert deletes(nbext.local()) == []
    shell.run_cell("%config NBExt.confirm = 'live'")
    clock.now += 10
    assert ask(panel)["type"] == ""
    agree(panel, clock)
    assert len(deletes(nbext.local())) == 1
    shell.run_cell("%unload_ext nbext")


def test_no_trait_holds_a_secret(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """Whatever is saved with the notebook as widget state holds neither key nor signature."""
    exchange.faults.firewall("GET", PATH, echo=True)
    panel.refresh()
    panel.wait()
    assert "RejectedError" in panel.status["problem"]
    ask(panel)
    agree(panel, clock)
    state = json.dumps(Widget.get_manager_state(), default=str)
    assert "BTCUSDT" in state
    assert exchange.secret_key not in state
    assert exchange.api_key not in state
    assert "signature=" not in state


def test_a_list_of_the_id_zero_goes_whole(clock: Clock) -> None:
    """The first list of an exchange is a list like any other: one header, one name, one request."""
    with (
        LocalExchange(dialect=Dialect(list_ids="from_zero", order_ids="from_zero")) as exchange,
        nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client,
    ):
        exchange.seed_orders()
        panel = CancelPanel("BTCUSDT", client=client, clock=clock)
        panel.wait()
        assert "13 open orders on BTCUSDT (6 single, 1 OCO list, 2 OTO lists)" in panel.status["summary"]
        row = next(row for row in panel.rows if "OCO" in row["name"])
        assert (row["key"], row["name"], row["live"]) == ("BTCUSDT list 0", "OCO list 0", 2)
        ask(panel, row["key"])
        agree(panel, clock)
        assert [request["path"] for request in deletes(exchange)] == ["/api/v3/orderList"]
        assert "2 orders canceled (1 OCO list)" in notes(panel)
        assert panel.frame is not None
        assert panel.frame["orderListId"].tolist() == [0, 0]
        panel.close()


def test_odd_orders_are_shown_all_the_same(serve: Callable[..., PlainServer]) -> None:
    """Whatever the fields of an order hold, the panel shows it as text, with what it can say of it."""
    evil = "<img src=x onerror=alert(1)>\x1b[31m\ud800"
    odd: list[Any] = [None, True, 10**30, 1.5, "", evil, [], [[1]], {"a": 1}, "1e5", "0.00", "\u0663", "1e999999"]
    names = ("clientOrderId", "type", "side", "price", "stopPrice", "origQty", "executedQty", "trailingDelta", "time")
    whole = {"symbol": "BTCUSDT", "orderListId": -1, "status": "NEW", "clientOrderId": "c"}
    orders = [{**whole, "orderId": number, **dict.fromkeys(names, value)} for number, value in enumerate(odd)]
    orders[0]["status"] = "A_STATUS_TO_COME"
    server = serve(lambda _: answer(json.dumps(orders)))
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client)
        panel.wait()
        assert notes(panel) == ""
        assert "13 open orders" in panel.status["summary"]
        assert sum(row["live"] for row in panel.rows) == 13  # as many as the question would be about
        shown = [str(value) for row in panel.rows for order in row["orders"] for value in order.values()]
        assert all(text.isprintable() and len(text) < 200 for text in shown)
        json.dumps(Widget.get_manager_state(), ensure_ascii=False, default=str).encode()
        panel.close()


def test_the_magic_opens_a_panel_and_goes_with_the_extension(shell: InteractiveShell) -> None:
    """It takes a symbol and a profile, a comment and a semicolon; run again, it replaces; unload takes it away."""
    magics.load(shell)
    first = shell.run_line_magic("cancel_panel", "BTCUSDT # mine")
    first.wait()
    assert first.symbol == "BTCUSDT"
    assert first.status["exchange"]["word"] == "LOCAL"
    second = shell.run_line_magic("cancel_panel", "btc/usdt --profile local;")
    second.wait()
    assert first.comm is None
    bundle = second._repr_mimebundle_()
    assert "run %cancel_panel again" in bundle[0]["text/html"]
    result = shell.run_cell("%cancel_panel --prof local", store_history=False)
    assert type(result.error_in_exec or result.error_before_exec).__name__ == "UsageError"
    magics.unload(shell)
    assert "cancel_panel" not in shell.magics_manager.magics["line"]
    assert second.comm is None


def test_panels_are_kept_by_profile_and_symbol(
    shell: InteractiveShell, exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A panel replaces that of the same exchange and symbol, and no other."""
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url)
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    magics.load(shell)
    there = shell.run_line_magic("cancel_panel", "BTCUSDT")
    monkeypatch.delenv("NBEXT_BASE_URL")
    here = shell.run_line_magic("cancel_panel", "BTCUSDT --profile local")
    other = shell.run_line_magic("cancel_panel", "ETHUSDT --profile local")
    assert all(panel.comm is not None for panel in (there, here, other))
    again = shell.run_line_magic("cancel_panel", "BTCUSDT --profile local")
    assert here.comm is None
    assert all(panel.comm is not None for panel in (there, other, again))
    magics.unload(shell)
    assert again.comm is None


def test_recent_cancels_are_of_this_exchange(panel: CancelPanel, client: SpotClient, clock: Clock) -> None:
    """What was canceled elsewhere does not show."""
    nbext.local().reset()
    nbext.local().seed_orders()
    nbext.cancel_all("ETHUSDT", profile="local")
    ask(panel, keys(panel)[0])
    agree(panel, clock)
    assert len(panel.recent) == 1
    assert panel.recent[0][1].startswith("cancel order ")
    assert len(nbext.cancel_log(10)) == 2
    assert client.profile == "custom"
