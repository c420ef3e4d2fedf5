"""The panel, without a browser: click, wait for the threads, read attributes, and ask the exchange what it saw."""

from __future__ import annotations

import atexit
import gc
import html
import json
import re
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from ipywidgets import Widget
from support.server import answer

import nbext
from nbext.exchange import Dialect, LocalExchange
from nbext.notebook import clicks, magics, panel_view
from nbext.notebook.panel import ARMED, ARMED_LIVE, CancelPanel

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

    from nbext.spot.client import SpotClient

PATH = "/api/v3/openOrders"


class Clock:
    """Tells the panel the time of a click."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Give what somebody set."""
        return self.now


@pytest.fixture
def clock() -> Clock:
    """Make a clock that stands still."""
    return Clock()


@pytest.fixture
def panel(client: SpotClient, clock: Clock) -> Iterator[CancelPanel]:
    """Open a panel that has read what is open."""
    panel = CancelPanel("BTCUSDT", client=client, clock=clock)
    panel.wait()
    yield panel
    panel.close()
    panel.wait()


def text(widget: Any) -> str:
    """Give what an HTML widget says, without tags and style."""
    body = re.sub(r"<style>.*?</style>", "", widget.value, flags=re.DOTALL)
    return html.unescape(re.sub(r"<[^>]*>", " ", body)).strip()


def deletes(exchange: LocalExchange) -> list[Any]:
    """Ask the exchange which cancels came in."""
    return exchange.requests("DELETE")


def fire(panel: CancelPanel, button: Any, clock: Clock) -> None:
    """Click twice, a second apart, and wait."""
    button.click()
    clock.now += 1
    button.click()
    panel.wait()


def open_ids(exchange: LocalExchange) -> set[Any]:
    """Ask the exchange what is open."""
    return {order["orderId"] for order in exchange.open_orders("BTCUSDT")}


def test_it_shows_what_is_open_and_where(exchange: LocalExchange, panel: CancelPanel) -> None:
    """The badge names the exchange in words; lists stand together; what has traded is shown; symbols are suggested."""
    assert "LOCAL" in text(panel.badge)
    assert "no real money" in text(panel.badge)
    assert panel.symbol.options == ("BTCUSDT", "ETHUSDT")
    assert "BTCUSDT: 13 open orders (6 single, 1 OCO list, 2 OTO lists)" in text(panel.reading)
    assert len(panel.orders.options) == 9
    labels = [label for label, _ in panel.orders.options]
    assert sum("traded 0.4" in label for label in labels) == 1
    assert sum(label.startswith("BTCUSDT OTO ") and " + " in label for label in labels) == 2
    assert panel.cancel_all.description == "Cancel all on BTCUSDT"
    assert panel.cancel_selected.disabled
    assert deletes(exchange) == []


def test_two_clicks_cancel_all(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """The first click sends nothing and says what the second one would do; then outcomes and the journal are shown."""
    panel.cancel_all.click()
    panel.wait()
    assert deletes(exchange) == []
    assert panel.cancel_all.description == "Click again to cancel 13 open orders"
    clock.now += 1
    panel.cancel_all.click()
    panel.wait()
    assert [request["path"] for request in deletes(exchange)] == [PATH]
    assert panel.frame is not None
    assert panel.frame["outcome"].tolist() == ["canceled"] * 13
    assert "13 orders canceled" in text(panel.message)
    assert "13 canceled" in text(panel.result)
    assert "cancel all on BTCUSDT" in text(panel.calls)
    assert "nothing is open" in text(panel.reading)
    assert open_ids(exchange) == set()
    assert panel.cancel_all.description == "Cancel all on BTCUSDT"
    assert not panel.cancel_all.disabled


def test_selected_orders_go_and_lists_go_whole(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """One single order and one list: these requests and no others."""
    before = open_ids(exchange)
    single = next(unit for _, unit in panel.orders.options if not unit.is_list)
    whole = next(unit for _, unit in panel.orders.options if unit.is_list)
    legs = {order["orderId"] for order in exchange.open_orders("BTCUSDT") if order["orderListId"] == whole.number}
    panel.orders.value = [single, whole]
    assert panel.cancel_selected.description == "Cancel selected (2)"
    fire(panel, panel.cancel_selected, clock)
    assert sorted(request["path"] for request in deletes(exchange)) == ["/api/v3/order", "/api/v3/orderList"]
    assert open_ids(exchange) == before - {single.number} - legs
    assert panel.orders.value == ()
    assert panel.cancel_selected.disabled


def test_rows_and_list_are_one_selection(panel: CancelPanel) -> None:
    """A click on a leg chooses its whole list, a click on another leg lets go of it; the list follows, and leads."""
    pytest.importorskip("anywidget")
    cells = panel.table.df["list"].tolist()
    legs = [place for place, cell in enumerate(cells) if cell.startswith("OCO")]
    assert len(legs) == 2
    panel.table.selected_rows = [0, legs[1]]
    assert panel.table.selected_rows == [0, *legs]
    assert [unit.is_list for unit in panel.orders.value] == [False, True]
    panel.table.selected_rows = [0, legs[1]]
    assert panel.table.selected_rows == [0]
    panel.orders.value = [unit for _, unit in panel.orders.options if unit.is_list][:1]
    assert panel.table.selected_rows == legs
    panel.symbol.value = "ETHUSDT"
    panel.wait()
    assert panel.table.selected_rows == []
    assert panel.orders.value == ()


@pytest.mark.parametrize("gap", [0.0, 0.2, 0.69])
def test_clicks_without_a_pause_never_fire(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock, gap: float
) -> None:
    """A double click, and any number of clicks as fast, arm and nothing more."""
    for _ in range(20):
        panel.cancel_all.click()
        clock.now += gap
    panel.wait()
    assert deletes(exchange) == []
    clock.now += clicks.DOUBLE_CLICK
    panel.cancel_all.click()
    panel.wait()
    assert len(deletes(exchange)) == 1


def test_a_double_click_fires_once(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """The second half of a firing double click neither fires nor arms; the next firing takes two clicks again."""
    panel.cancel_all.click()
    clock.now += 1
    panel.cancel_all.click()
    panel.cancel_all.click()
    panel.wait()
    clock.now += 0.3
    panel.cancel_all.click()
    panel.wait()
    assert len(deletes(exchange)) == 1
    assert panel.cancel_all.description == "Cancel all on BTCUSDT"
    clock.now += 1
    panel.cancel_all.click()
    panel.wait()
    assert len(deletes(exchange)) == 1


def test_an_arming_does_not_last(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """A second click after five seconds is a first one."""
    panel.cancel_all.click()
    clock.now += ARMED + 0.1
    panel.cancel_all.click()
    panel.wait()
    assert deletes(exchange) == []
    assert panel.cancel_all.description.startswith("Click again")


def test_what_was_armed_is_what_fires(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """Another button, another symbol, another selection: each disarms."""
    units = [unit for _, unit in panel.orders.options]
    panel.orders.value = units[:1]
    panel.cancel_all.click()
    clock.now += 1
    panel.cancel_selected.click()
    assert panel.cancel_all.description == "Cancel all on BTCUSDT"
    clock.now += 1
    panel.orders.value = units[1:2]
    panel.cancel_selected.click()
    clock.now += 1
    panel.symbol.value = "eth/usdt"
    panel.wait()
    assert panel.symbol.value == "ETHUSDT"
    assert panel.cancel_all.description == "Cancel all on ETHUSDT"
    panel.cancel_all.click()
    panel.wait()
    assert deletes(exchange) == []


def test_while_it_works_clicks_are_dropped(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """The buttons are off, and a click that had queued up does nothing."""
    exchange.faults.answer_late("DELETE", PATH, seconds=0.5)
    panel.cancel_all.click()
    clock.now += 1
    panel.cancel_all.click()
    assert panel.cancel_all.disabled
    for _ in range(5):
        clock.now += 1
        panel.cancel_all.click()
    assert "still busy" in text(panel.message)
    panel.wait()
    assert len(deletes(exchange)) == 1
    assert not panel.cancel_all.disabled


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
    """A click in a cell, or just after its end, does nothing and says so; a cell takes an arming away."""
    panel = CancelPanel("BTCUSDT", client=client, clock=clock)
    panel.wait()
    shell.user_ns["panel"] = panel
    panel.cancel_all.click()
    clock.now += 1
    shell.run_cell("panel.cancel_all.click()")
    assert "ignored: it came while a cell was running" in text(panel.message)
    panel.message.value = ""
    clock.now += 0.2
    panel.cancel_all.click()
    assert "ignored: it came while a cell was running" in text(panel.message)
    clock.now += 0.2
    panel.cancel_all.click()
    assert panel.cancel_all.description.startswith("Click again")
    shell.run_cell("1/1")
    assert "confirmation was reset" in text(panel.message)
    assert panel.cancel_all.description == "Cancel all on BTCUSDT"
    panel.close()
    shell.run_cell("1")
    assert deletes(exchange) == []


def test_on_live_the_number_is_typed(serve: Callable[..., PlainServer], clock: Clock) -> None:
    """Two clicks are not enough: the number of orders has to be typed, and the right one."""
    orders = [
        {
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
        for number in (7, 8)
    ]

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
        assert "LIVE" in text(panel.badge)
        assert panel.number.layout.display == "none"
        for typed in ("", "3", "all"):
            panel.cancel_all.click()
            assert panel.number.layout.display is None
            assert "LIVE exchange. Type 2 and click again" in text(panel.message)
            clock.now += 10
            panel.number.value = typed
            panel.cancel_all.click()
            panel.wait()
            assert isinstance(panel.error, nbext.ConfigurationError)
            assert "not confirmed; nothing was canceled" in text(panel.message)
            assert panel.number.value == ""
            clock.now += 1
        panel.cancel_all.click()
        clock.now += ARMED_LIVE + 1
        panel.number.value = "2"
        panel.cancel_all.click()
        panel.wait()
        assert all(request.method == "GET" for request in server.requests)
        clock.now += 1
        panel.number.value = " 2 "
        panel.cancel_all.click()
        panel.wait()
        assert [request.path for request in server.requests if request.method == "DELETE"] == [PATH]
        assert panel.frame is not None
        assert panel.frame["outcome"].tolist() == ["canceled"] * 2
        panel.close()


def test_errors_are_shown_in_the_words_of_the_error_tree(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """A refusal, an outcome that is not known, and an exchange that is down: each is named, and the panel goes on."""
    body = '{"code":-2015,"msg":"Invalid API-key."}'
    exchange.faults.fail("DELETE", PATH, status=400, body=body, after_executing=False)
    fire(panel, panel.cancel_all, clock)
    assert text(panel.message).startswith("RejectedError: ")
    assert len(open_ids(exchange)) == 13
    exchange.faults.lose_answer("DELETE", PATH)
    clock.now += 1
    fire(panel, panel.cancel_all, clock)
    assert "13 orders canceled" in text(panel.message)
    assert "an answer was lost" in text(panel.message)
    exchange.stop()
    panel.refresh_button.click()
    panel.wait()
    assert text(panel.reading).startswith("NotSentError: ")
    assert "The table is as of" in text(panel.reading)
    clock.now += 1
    fire(panel, panel.cancel_all, clock)
    assert text(panel.message).startswith("NotSentError: ")
    assert not panel.cancel_all.disabled


def test_a_wrong_symbol_is_told_of(exchange: LocalExchange, panel: CancelPanel) -> None:
    """Nothing can be canceled, and nothing is sent."""
    sent = len(exchange.requests())
    panel.symbol.value = "BTC USDT!"
    panel.wait()
    assert text(panel.reading).startswith("ConfigurationError: ")
    assert panel.cancel_all.disabled
    assert len(exchange.requests()) == sent


def test_without_a_symbol_only_selected_orders_can_go(exchange: LocalExchange, client: SpotClient) -> None:
    """No symbol never means all."""
    panel = CancelPanel(client=client)
    panel.wait()
    assert "all symbols: 18 open orders" in text(panel.reading)
    assert panel.cancel_all.disabled
    assert {unit.symbol for _, unit in panel.orders.options} == {"BTCUSDT", "ETHUSDT"}
    panel.close()
    assert deletes(exchange) == []


def test_a_refresh_keeps_the_selection_that_is_left(exchange: LocalExchange, panel: CancelPanel) -> None:
    """What filled meanwhile goes from the list; what stays selected keeps its arming."""
    (nearest,), (other,) = ([unit for label, unit in panel.orders.options if at in label] for at in ("59958", "61757"))
    panel.orders.value = [nearest, other]
    panel.cancel_selected.click()
    panel.refresh()
    panel.wait()
    assert panel.cancel_selected.description.startswith("Click again")
    exchange.set_price("BTCUSDT", "59900")
    panel.refresh()
    panel.wait()
    assert panel.orders.value == (other,)
    assert panel.cancel_selected.description == "Cancel selected (1)"


def test_auto_refresh_follows_and_stops_at_an_error(exchange: LocalExchange, client: SpotClient) -> None:
    """It reads again by itself, no faster than its share of the weight; what goes wrong ends it."""
    panel = CancelPanel("BTCUSDT", client=client)
    panel.wait()
    panel.auto_refresh.value = True
    nbext.cancel_all("BTCUSDT", client=client)
    until(lambda: "nothing is open" in text(panel.reading))
    assert re.search(r"every [2-9] s", panel.auto_refresh.description)
    exchange.stop()
    until(lambda: not panel.auto_refresh.value)
    assert text(panel.reading).startswith("NotSentError: ")
    panel.close()


def test_the_ladder_shows_what_is_open_and_what_has_just_gone(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """Switched on, it is drawn with each reading; what was canceled stays in it until somebody refreshes."""
    alone = panel_view.pause(panel._client, everything=False)
    assert panel.picture.value == ""
    panel.ladder.value = True
    panel.wait()
    assert "<p>BTCUSDT: 13 orders, 13 open [" in panel.picture.value
    panel.orders.value = [unit for _, unit in panel.orders.options][:2]
    fire(panel, panel.cancel_selected, clock)
    assert "BTCUSDT: 13 orders, 11 open, 2 canceled [" in panel.picture.value
    assert len([1 for request in exchange.requests("GET") if "ticker" in str(request["path"])]) == 2
    panel.refresh_button.click()
    panel.wait()
    assert "BTCUSDT: 11 orders, 11 open [" in panel.picture.value
    panel.ladder.value = False
    panel.wait()
    assert panel.picture.value == ""
    assert panel_view.pause(panel._client, everything=False, price=True) > alone


def test_the_ladder_strikes_out_what_has_ended_and_nothing_else(
    exchange: LocalExchange, panel: CancelPanel, clock: Clock
) -> None:
    """An order that a cancel left open is drawn as it is read later; one that has gone is gone, read again or not."""
    panel.ladder.value = True
    panel.orders.value = [unit for _, unit in panel.orders.options][:1]
    (kept,) = panel.orders.value
    exchange.faults.firewall("DELETE", "/api/v3/order")
    fire(panel, panel.cancel_selected, clock)
    assert "BTCUSDT: 13 orders, 13 open [" in panel.picture.value
    panel._client.cancel("/api/v3/order", {"symbol": "BTCUSDT", "orderId": kept.number})
    panel.refresh()
    panel.wait()
    assert "BTCUSDT: 12 orders, 12 open [" in panel.picture.value
    exchange.faults.firewall("GET", PATH, times=3)
    clock.now += 1
    fire(panel, panel.cancel_all, clock)
    assert text(panel.reading).startswith("RejectedError")
    assert "BTCUSDT: 12 orders, 12 canceled [" in panel.picture.value


def test_the_magic_asks_when_the_reader_wants_to_be_asked(shell: InteractiveShell) -> None:
    """The trait `confirm` holds for the panel, too, from the next first click on."""
    nbext.local().reset()
    nbext.local().seed_orders()
    shell.run_cell("%load_ext nbext")
    panel = shell.run_line_magic("cancel_panel", "BTCUSDT")
    panel.wait()
    clock = panel._trigger._clock = Clock()
    shell.run_cell("%config NBExt.confirm = 'always'")
    clock.now += 1
    fire(panel, panel.cancel_all, clock)
    assert "not confirmed; nothing was canceled" in text(panel.message)
    assert deletes(nbext.local()) == []
    shell.run_cell("%config NBExt.confirm = 'live'")
    clock.now += 10
    fire(panel, panel.cancel_all, clock)
    assert len(deletes(nbext.local())) == 1
    shell.run_cell("%unload_ext nbext")


def until(fact: Callable[[], bool], seconds: float = 20.0) -> None:
    """Wait for a fact."""
    end = time.monotonic() + seconds
    while not fact():
        assert time.monotonic() < end
        time.sleep(0.02)


def test_no_trait_holds_a_secret(exchange: LocalExchange, panel: CancelPanel, clock: Clock) -> None:
    """Whatever is saved with the notebook as widget state holds neither key nor signature."""
    exchange.faults.firewall("GET", PATH, echo=True)
    panel.refresh()
    panel.wait()
    assert "RejectedError" in text(panel.reading)
    fire(panel, panel.cancel_all, clock)
    state = json.dumps(Widget.get_manager_state(), default=str)
    assert "BTCUSDT" in state
    assert exchange.secret_key not in state
    assert exchange.api_key not in state
    assert "signature=" not in state


def test_text_of_the_exchange_is_escaped(serve: Callable[..., PlainServer]) -> None:
    """Markup in an answer stays text."""
    evil = "<img src=x onerror=alert(1)>"
    order = {"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "c", "type": evil, "side": "BUY", "status": "NEW"}
    server = serve(lambda _: answer([{**order, "orderListId": -1}]))
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client)
        panel.wait()
        assert evil in panel.orders.options[0][0]
        for widget in (panel.reading, panel.message, panel.result, panel.calls, panel.badge):
            assert evil not in widget.value
        assert evil not in getattr(panel.table, "value", "")
        panel.close()


def test_a_list_of_the_id_zero_goes_whole(clock: Clock) -> None:
    """The first list of an exchange is a list like any other: one line, one name, one request."""
    with (
        LocalExchange(dialect=Dialect(list_ids="from_zero", order_ids="from_zero")) as exchange,
        nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client,
    ):
        exchange.seed_orders()
        panel = CancelPanel("BTCUSDT", client=client, clock=clock)
        panel.wait()
        assert "13 open orders (6 single, 1 OCO list, 2 OTO lists)" in text(panel.reading)
        label, unit = next(each for each in panel.orders.options if "OCO" in each[0])
        assert unit == ("BTCUSDT", True, 0)
        assert label.startswith("BTCUSDT OCO 0: ")
        panel.orders.value = [unit]
        fire(panel, panel.cancel_selected, clock)
        assert [request["path"] for request in deletes(exchange)] == ["/api/v3/orderList"]
        assert "2 orders canceled (1 OCO list)" in text(panel.message)
        assert panel.frame is not None
        assert panel.frame["orderListId"].tolist() == [0, 0]
        assert text(panel.result).replace("\xa0", " ").count("OCO 0") == 1
        panel.close()


def test_odd_orders_are_shown_all_the_same(serve: Callable[..., PlainServer]) -> None:
    """Whatever the fields of an order hold, the panel shows it as text, with what it can say of it."""
    evil = "<img src=x onerror=alert(1)>\x1b[31m\ud800"
    odd: list[Any] = [None, True, 10**30, 1.5, "", evil, [], [[1]], {"a": 1}, "1e5", "0.00", "\u0663"]
    names = ("clientOrderId", "type", "side", "price", "stopPrice", "origQty", "executedQty", "trailingDelta")
    whole = {"symbol": "BTCUSDT", "orderListId": -1, "status": "NEW", "clientOrderId": "c"}
    orders = [{**whole, "orderId": number, **dict.fromkeys(names, value)} for number, value in enumerate(odd)]
    server = serve(lambda _: answer(json.dumps(orders)))
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client)
        panel.wait()
        assert text(panel.message) == ""
        assert "12 open orders" in text(panel.reading)
        assert [label.isprintable() for label, _ in panel.orders.options] == [True] * len(odd)
        assert "<img" not in panel.reading.value + getattr(panel.table, "value", "")
        json.dumps(Widget.get_manager_state(), ensure_ascii=False, default=str).encode()
        panel.close()


def test_the_magic_opens_a_panel_and_goes_with_the_extension(shell: InteractiveShell) -> None:
    """It takes a symbol and a profile, a comment and a semicolon; run again, it replaces; unload takes it away."""
    magics.load(shell)
    first = shell.run_line_magic("cancel_panel", "BTCUSDT # mine")
    first.wait()
    assert first.symbol.value == "BTCUSDT"
    assert "LOCAL" in text(first.badge)
    second = shell.run_line_magic("cancel_panel", "BTCUSDT --profile local;")
    second.wait()
    assert first.comm is None
    assert "run %cancel_panel again" in second._repr_mimebundle_()["text/html"]
    result = shell.run_cell("%cancel_panel --prof local", store_history=False)
    assert type(result.error_in_exec or result.error_before_exec).__name__ == "UsageError"
    magics.unload(shell)
    assert "cancel_panel" not in shell.magics_manager.magics["line"]
    assert second.comm is None


def widgets() -> int:
    """Count the widgets that a saved notebook would hold."""
    return len(Widget.get_manager_state()["state"])


def test_a_closed_panel_leaves_nothing_behind(exchange: LocalExchange, client: SpotClient) -> None:
    """However it was used, closing takes every widget and thread with it, at once, and nothing is read any more."""
    panel = CancelPanel("BTCUSDT", client=client)  # whatever is made once for all panels, it makes
    panel.wait()
    panel.close()
    before = widgets(), threading.active_count()
    for number in range(20):
        panel = CancelPanel("BTCUSDT", client=client, confirm=lambda: "always")
        panel.ladder.value = number % 10 == 0
        panel.auto_refresh.value = True
        panel.wait()
        panel.cancel_all.click()  # armed for a minute
        assert widgets() > before[0] + 20
        panel.close()
        assert widgets() == before[0]
        asked = len(exchange.requests())
        panel.refresh()
        panel.cancel_all.click()
        panel.wait()
        assert len(exchange.requests()) == asked
    end = time.monotonic() + 10
    while threading.active_count() > before[1] and time.monotonic() < end:
        time.sleep(0.1)
    assert threading.active_count() <= before[1]


def test_a_panel_that_cannot_be_made_leaves_nothing_behind(client: SpotClient) -> None:
    """A symbol or a profile that cannot be one is told of before any widget is there."""
    before = widgets()
    for wrong in ({"symbol": "BTC USDT", "client": client}, {"symbol": "BTCUSDT", "profile": "nowhere"}):
        with pytest.raises(nbext.ConfigurationError):
            CancelPanel(**wrong)
    gc.collect()  # which closes what was not made
    assert widgets() == before


def test_a_panel_closed_at_work_ends_what_was_sent(serve: Callable[..., PlainServer], clock: Clock) -> None:
    """The answer to a cancel that was under way is waited for and recorded; nothing is read after that."""
    order = {"symbol": "BTCUSDT", "orderId": 1, "orderListId": -1, "status": "NEW"}
    closed = threading.Event()

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            closed.wait(20)
            return answer([{**order, "status": "CANCELED", "origClientOrderId": "c", "clientOrderId": "d"}])
        return answer([{**order, "clientOrderId": "c"}])

    server = serve(respond)
    with nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        panel = CancelPanel("BTCUSDT", client=client, clock=clock, confirm=lambda: "never")
        panel.wait()
        panel.cancel_all.click()
        clock.now += 1
        panel.cancel_all.click()
        while not any(request.method == "DELETE" for request in server.requests):
            time.sleep(0.01)
        panel.close()
        closed.set()
        panel.wait()
        assert panel.frame is not None
        assert panel.frame["outcome"].tolist() == ["canceled"]
        assert server.requests[-1].method == "DELETE"
        assert nbext.cancel_log(1)["canceled"].tolist() == [1]


def test_an_open_panel_does_not_hold_up_the_end(serve: Callable[..., PlainServer]) -> None:
    """A program that ends while panels read and wait ends at once, without a word."""

    def drip(_: Request) -> Iterator[bytes]:
        for _number in range(100):
            yield b" "
            time.sleep(0.2)

    server = serve(drip)
    script = (
        "import nbext, time; from nbext.notebook.panel import CancelPanel;"
        f"client = nbext.connect(base_url={server.url!r}, api_key='k' * 64, secret_key='s' * 64);"
        "panel = CancelPanel('BTCUSDT', client=client); panel.auto_refresh.value = True; time.sleep(0.5)"
    )
    began = time.monotonic()
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert time.monotonic() - began < 10


def test_loading_the_magic_costs_nothing() -> None:
    """The toolkit is imported with the first panel."""
    script = (
        "import sys; from IPython.core.interactiveshell import InteractiveShell; s = InteractiveShell.instance();"
        "from nbext.notebook import magics; magics.load(s);"
        "print({'requests', 'pandas', 'ipywidgets', 'itables'} & {*sys.modules})"
    )
    out = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True).stdout
    assert out.strip() == "set()"
