"""The panel in the hand: what a click, a key and a late second click do, in JupyterLab and Notebook 7."""

from __future__ import annotations

import json
import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from driving import CONTRAST, LOAD, OPEN, SEED, connect_to, expect
from support.server import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driving import Notebook
    from playwright.sync_api import Locator, WebSocket
    from support.server import PlainServer, Request

pytest_plugins = ["browser_fixtures"]

both = pytest.mark.parametrize("app", ["lab", "notebooks"])
DELETES = "len(nbext.local().requests('DELETE'))"
STILL_OPEN = "len(nbext.local().open_orders('BTCUSDT'))"
PLACE = "nbext.local().place('BTCUSDT', 'BUY', 'LIMIT', timeInForce='GTC', quantity='0.1', price='50000')"
BEGIN_CELL = """() => {
  const code = 'import os\\nwhile not os.path.exists("end-of-cell"): pass\\nos.remove("end-of-cell")';
  window.cell = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.requestExecute({code}).done;
  window.cell.then(() => { window.cell.isOver = true; });
}"""
NO_SUBSHELLS = """() => {
  window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.commsOverSubshells = 'disabled';
}"""
CELL_RUNS = "() => !window.cell.isOver"
BUSY = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
FRESH = 600
"""Milliseconds after which a control that has just appeared takes clicks."""
AFTER_CELL = 900


def button(notebook: Notebook, name: str, *, exact: bool = False) -> Locator:
    """Find a button of the panel by how its name begins."""
    found: Locator = notebook.panel.get_by_role("button", name=re.compile(f"^{re.escape(name)}{'$' if exact else ''}"))
    return found


def asking(notebook: Notebook) -> Locator:
    """Find the question."""
    found: Locator = notebook.panel.locator(".asking")
    return found


def select(notebook: Notebook, name: str) -> Locator:
    """Find the checkbox of a unit by how its name begins."""
    found: Locator = notebook.panel.get_by_role("checkbox", name=re.compile(f"^select {re.escape(name)}"))
    return found


def practice(notebook: Notebook, app: str = "lab", *cells: str) -> None:
    """Open a panel on the practice exchange, and wait until it has read what is open."""
    notebook.run(LOAD, SEED, *cells, OPEN, app=app)
    expect(notebook.panel).to_contain_text("13 open orders", timeout=30_000)
    notebook.page.wait_for_timeout(AFTER_CELL)  # a click just after a cell would be dropped


def confirm(notebook: Notebook) -> None:
    """Answer the question with yes, once it can be answered."""
    expect(asking(notebook)).to_be_visible()
    notebook.page.wait_for_timeout(FRESH)
    asking(notebook).locator(".go").click()
    expect(asking(notebook)).to_have_count(0)


def keep_picture(notebook: Notebook, name: str) -> None:
    """Keep what the panel looks like."""
    notebook.panel.scroll_into_view_if_needed()
    notebook.screenshot(f"panel-{name}")


FOLD = """open => {
  window.jupyterapp.shell[open ? 'expandLeft' : 'collapseLeft']?.();
  return document.querySelector('.jp-NotebookPanel:not(.lm-mod-hidden)').clientWidth > innerWidth / 2;
}"""


def resize(notebook: Notebook, width: int, height: int = 768) -> None:
    """Resize the page, without JupyterLab's sidebar where there is little room."""
    notebook.page.set_viewport_size({"width": width, "height": height})
    notebook.page.wait_for_function(FOLD, arg=width > 1000)
    notebook.page.wait_for_timeout(300)


@both
def test_the_question_is_never_where_the_click_was(notebook: Notebook, app: str) -> None:
    """At any width: what confirms covers no place of what asks, and a double click anywhere cancels nothing."""
    practice(notebook, app)
    page = notebook.page
    select(notebook, "order").first.check()
    for width in (1280, 800, 420):
        page.set_viewport_size({"width": width, "height": 768})
        ways = button(notebook, "Cancel 1 order", exact=True), button(notebook, "Cancel all 13"), cross(notebook)
        for asks in ways:
            resize(notebook, width)
            asks.scroll_into_view_if_needed()
            page.wait_for_timeout(FRESH)
            place = asks.bounding_box()
            asks.dblclick()
            expect(asking(notebook)).to_be_visible()
            other = asking(notebook).locator(".go").bounding_box()
            assert place
            assert other
            # Side by side, however the page is scrolled to show the question.
            assert other["x"] >= place["x"] + place["width"] or other["x"] + other["width"] <= place["x"], width
            page.wait_for_timeout(FRESH)
            page.mouse.dblclick(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
            page.wait_for_timeout(FRESH)
            page.keyboard.press("Escape")
            expect(asking(notebook)).to_have_count(0)
    resize(notebook, 1280, 1000)
    assert notebook.value(DELETES) == 0
    assert notebook.value(STILL_OPEN) == 13


def cross(notebook: Notebook) -> Locator:
    """Find the ✕ of the first order."""
    found: Locator = notebook.panel.locator("button.cross").first
    return found


@both
def test_select_ask_cancel(notebook: Notebook, app: str) -> None:
    """By mouse: a box for each order and each list, one question, outcomes in place, struck through."""
    practice(notebook, app)
    expect(notebook.panel.locator(".where")).to_have_text(re.compile(r"^read at [\d:]+ UTC$"))  # LOCAL says the rest
    assert_nothing_covered(notebook)
    keep_picture(notebook, f"idle-{app}")
    select(notebook, "OCO list").check()
    select(notebook, "order").nth(1).check()
    expect(notebook.panel.locator("tr.picked")).to_have_count(4)
    button(notebook, "Cancel 3 orders").click()
    expect(asking(notebook)).to_contain_text("Cancel 3 orders on BTCUSDT?")
    expect(asking(notebook)).to_contain_text("1 single, 1 OCO list")
    expect(button(notebook, "Cancel all")).to_have_count(0)
    keep_picture(notebook, f"asking-{app}")
    assert notebook.value(DELETES) == 0
    confirm(notebook)
    expect(notebook.panel).to_contain_text("3 orders canceled")
    expect(notebook.panel.locator("tr.gone")).to_have_count(4)
    expect(notebook.panel.locator("tr.gone").filter(has_text="canceled")).to_have_count(3)
    expect(notebook.panel).to_contain_text("10 open orders")
    assert_nothing_covered(notebook)
    keep_picture(notebook, f"done-{app}")
    notebook.panel.get_by_text("Recent cancels on this exchange").click()
    expect(notebook.panel.locator("details tbody tr")).to_have_count(2)
    button(notebook, "Refresh").click()
    expect(notebook.panel.locator("tr.gone")).to_have_count(0)
    notebook.page.wait_for_timeout(FRESH)
    button(notebook, "Cancel all 10 on BTCUSDT").click()
    confirm(notebook)
    expect(notebook.panel).to_contain_text("Nothing is open on BTCUSDT.")
    assert notebook.value(STILL_OPEN) == 0


def assert_nothing_covered(notebook: Notebook) -> None:
    """Beside JupyterLab's sidebar, too, the last column covers no other, and all rows end where it does."""
    ends = "rows => new Set(rows.map(row => Math.round(row.lastChild.getBoundingClientRect().right))).size"
    assert notebook.panel.locator(".orders tr:visible").evaluate_all(ends) == 1
    assert notebook.panel.locator(".orders").evaluate("box => box.scrollWidth <= box.clientWidth")


CLICK_AT_ONCE = """() => {
  const all = (name) => [...document.querySelectorAll(`.nbext-panel .asking ${name}`)];
  const shown = (name) => all(name).find((each) => each.offsetParent);
  new MutationObserver((_, watch) => {
    if (shown(".go") && shown(".first:not([hidden])")) {
      watch.disconnect();
      shown(".go").click();
      shown(".first:not([hidden])").click();
      window.clickedAtOnce = true;
    }
  }).observe(document.body, { subtree: true, childList: true, attributes: true });
}"""
"""Clicks in the page itself: on a busy machine, half a second may be over before a mouse gets there."""


def test_what_has_just_appeared_ignores_clicks(notebook: Notebook) -> None:
    """For half a second, confirming and keeping do nothing; after that, one double click cancels once."""
    practice(notebook)
    notebook.page.evaluate(CLICK_AT_ONCE)
    button(notebook, "Cancel all").click()
    notebook.page.wait_for_function("window.clickedAtOnce")
    notebook.page.wait_for_timeout(FRESH)
    expect(asking(notebook)).to_be_visible()
    assert notebook.value(DELETES) == 0
    asking(notebook).locator(".go").dblclick()
    expect(notebook.panel).to_contain_text("13 orders canceled")
    notebook.page.wait_for_timeout(FRESH)
    assert notebook.value(DELETES) == 1


@both
def test_the_number_is_typed(notebook: Notebook, app: str) -> None:
    """The box for it is focused; 13 for 14 orders leads to a new question; Esc keeps, Enter confirms."""
    practice(notebook, app, "%config NBExt.confirm = 'always'")
    page = notebook.page
    button(notebook, "Cancel all 13").click()
    box = notebook.panel.get_by_role("textbox", name="Type 13:")
    expect(box).to_be_focused()
    keep_picture(notebook, f"typing-{app}")
    page.keyboard.press("Escape")
    expect(asking(notebook)).to_have_count(0)
    expect(button(notebook, "Cancel all 13")).to_be_focused()
    page.wait_for_timeout(FRESH)
    page.keyboard.press("Enter")
    expect(box).to_be_focused()
    notebook.execute(PLACE)
    expect(notebook.panel).to_contain_text("You ran a cell")
    page.wait_for_timeout(AFTER_CELL)
    button(notebook, "Cancel all 13").click()
    box = notebook.panel.get_by_role("textbox", name="Type 14:")
    expect(box).to_be_focused()
    expect(asking(notebook)).to_contain_text("1 order is new since you looked.")
    page.wait_for_timeout(FRESH)
    page.keyboard.type("13")
    page.keyboard.press("Enter")
    expect(asking(notebook)).to_contain_text("'13' is not the number of orders.")
    assert notebook.value(DELETES) == 0


def live(orders: list[dict[str, Any]]) -> Callable[[Request], bytes]:
    """Make a server that cancels and lists these orders."""

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            gone = [{**each, "status": "CANCELED", "origClientOrderId": each["clientOrderId"]} for each in orders]
            orders.clear()
            return answer(gone)
        if "ticker" in request.path:
            return answer([{"symbol": "BTCUSDT", "price": "60000.0"}])
        return answer([] if "openOrderList" in request.path else orders)

    return respond


def limit(number: int) -> dict[str, Any]:
    """Make an open order as a query shows it."""
    order = {"symbol": "BTCUSDT", "orderId": number, "orderListId": -1, "clientOrderId": f"run7-{number}"}
    order |= {"price": f"{60_000 - 10 * number}.0", "origQty": "0.5", "executedQty": "0.0", "status": "NEW"}
    return {**order, "type": "LIMIT", "side": "BUY" if number % 2 else "SELL", "time": 1_700_000_000_000}


@both
def test_live(notebook: Notebook, serve: Callable[..., PlainServer], app: str) -> None:
    """The badge says why it is LIVE; 3 typed after a fourth order came leads to a new question, and 4 cancels."""
    orders = [limit(number) for number in (1, 2, 3)]
    server = serve(live(orders))
    notebook.run(LOAD, OPEN, first=connect_to(server.url), app=app)
    expect(notebook.panel).to_contain_text("3 open orders")
    expect(notebook.panel).to_contain_text("treated as LIVE: not known to be a practice exchange")
    notebook.page.wait_for_timeout(AFTER_CELL)
    button(notebook, "Cancel all 3 on BTCUSDT").click()
    expect(notebook.panel.get_by_role("textbox", name="Type 3:")).to_be_focused()
    expect(asking(notebook)).to_contain_text("Cancel 3 orders on BTCUSDT? LIVE.")
    keep_picture(notebook, f"live-{app}")
    orders.append(limit(4))
    notebook.page.wait_for_timeout(FRESH)
    notebook.page.keyboard.type("3")
    notebook.page.keyboard.press("Enter")
    expect(asking(notebook)).to_contain_text("1 order is new since you looked.")
    expect(notebook.panel.get_by_role("textbox", name="Type 4:")).to_be_focused()
    assert {request.method for request in server.requests} == {"GET"}
    notebook.page.wait_for_timeout(FRESH)
    notebook.page.keyboard.type("4")
    button(notebook, "Cancel 4 orders").click()
    expect(notebook.panel).to_contain_text("4 orders canceled")
    assert [request.method for request in server.requests].count("DELETE") == 1


@both
def test_filters_narrow_what_is_canceled(notebook: Notebook, app: str) -> None:
    """Hidden orders are not canceled, selected or not; filters and selection survive a refresh; the label says so."""
    practice(notebook, app)
    select(notebook, "order").nth(2).check()  # a sell
    select(notebook, "order").nth(0).check()  # a buy
    expect(button(notebook, "Cancel 2 orders")).to_be_visible()
    notebook.panel.get_by_label("Side").select_option("BUY")
    expect(button(notebook, "Cancel 1 order")).to_be_visible()
    notebook.panel.get_by_label("Type").select_option("LIMIT")
    shown = notebook.panel.locator("tbody tr.single:visible, tbody tr.leg:visible")
    count = shown.count()
    expect(button(notebook, f"Cancel {count} shown", exact=True)).to_be_visible()
    button(notebook, "Refresh").click()
    notebook.page.wait_for_timeout(FRESH)
    expect(shown).to_have_count(count)
    expect(button(notebook, "Cancel 1 order", exact=True)).to_be_visible()
    notebook.panel.get_by_label("Older than").select_option("1 day")
    expect(shown).to_have_count(0)
    notebook.panel.get_by_label("Older than").select_option("any age")
    notebook.panel.get_by_label("Client id begins").fill("nobody's")
    expect(shown).to_have_count(0)
    notebook.panel.get_by_label("Client id begins").fill("")
    button(notebook, f"Cancel {count} shown").click()
    expect(asking(notebook)).to_contain_text(f"Cancel {count} orders on BTCUSDT?")
    keep_picture(notebook, f"filtered-{app}")
    confirm(notebook)
    expect(notebook.panel).to_contain_text(f"{count} orders canceled")
    assert notebook.value(STILL_OPEN) == 13 - count
    notebook.panel.get_by_label("Side").select_option("any")
    expect(button(notebook, "Cancel 1 order", exact=True)).to_be_visible()  # selected all the time, but hidden
    assert notebook.value("len([r for r in nbext.local().requests('DELETE') if r['path'].endswith('openOrders')])") == 0


@both
def test_keyboard_only(notebook: Notebook, app: str) -> None:
    """One Tab stop for the table; arrows, Space and Shift select; Tab, Space and Enter cancel; focus comes back."""
    practice(notebook, app)
    keyboard = notebook.page.keyboard
    button(notebook, "Refresh").focus()
    keyboard.press("Tab")
    expect(select(notebook, "order").nth(0)).to_be_focused()
    keyboard.press("ArrowDown")
    expect(select(notebook, "order").nth(1)).to_be_focused()
    keyboard.press("Space")
    expect(select(notebook, "order").nth(1)).to_be_checked()
    keyboard.press("Shift+ArrowDown")
    keyboard.press("Shift+ArrowDown")
    expect(button(notebook, "Cancel 3 orders")).to_be_visible()
    keyboard.press("ArrowRight")
    expect(notebook.panel.locator("button.cross").nth(3)).to_be_focused()
    keyboard.press("ArrowLeft")
    keyboard.press("Tab")
    expect(button(notebook, "Cancel 3 orders")).to_be_focused()
    keyboard.press("Shift+Tab")
    expect(select(notebook, "order").nth(3)).to_be_focused()
    keyboard.press("Tab")
    notebook.page.wait_for_timeout(FRESH)  # whatever is pressed just after the rows have moved is ignored
    keyboard.press("Space")
    expect(button(notebook, "Keep them")).to_be_focused()
    notebook.page.wait_for_timeout(FRESH)
    keyboard.press("Tab")
    expect(asking(notebook).locator(".go")).to_be_focused()
    keyboard.press("Enter")
    expect(notebook.panel).to_contain_text("3 orders canceled")
    expect(button(notebook, "Cancel selected")).to_be_focused()
    assert notebook.value(STILL_OPEN) == 10
    keyboard.press("Shift+Tab")
    keyboard.press("Home")
    keyboard.press("ArrowUp")
    expect(notebook.panel.get_by_role("checkbox", name="select all shown")).to_be_focused()
    keyboard.press("Space")
    expect(button(notebook, "Cancel 10 orders")).to_be_visible()
    assert notebook.visible.locator(".jp-Cell").count() == 3  # no shortcut of the notebook was taken


@both
def test_a_reading_changes_nothing_else(notebook: Notebook, app: str) -> None:
    """Focus, selection, scroll position and what is typed stay, while orders come and go."""
    practice(notebook, app)
    notebook.panel.locator(".orders").evaluate("box => { box.scrollTop = 60; }")
    select(notebook, "OTO list").first.check()
    select(notebook, "order").nth(5).focus()
    notebook.execute(PLACE)
    notebook.execute("nbext.local().set_price('BTCUSDT', '59900')")
    notebook.execute(
        "from gc import get_objects; panel = next(o for o in get_objects() "
        "if type(o).__name__ == 'CancelPanel'); panel.refresh()"
    )
    expect(notebook.panel).to_contain_text("13 open orders")
    expect(notebook.panel.locator("tr.single")).to_have_count(6)
    expect(select(notebook, "OTO list").first).to_be_checked()
    assert notebook.panel.locator(".orders").evaluate("box => box.scrollTop") > 20
    focused = "document.activeElement.getAttribute('aria-label')"
    assert notebook.page.evaluate(focused).startswith("select order")


def test_a_cross_cancels_one(notebook: Notebook) -> None:
    """It asks like any other button, and the focus goes on to the next order."""
    practice(notebook)
    cross(notebook).click()
    expect(asking(notebook)).to_contain_text("Cancel 1 order on BTCUSDT?")
    confirm(notebook)
    expect(notebook.panel).to_contain_text("1 order canceled")
    assert notebook.value(STILL_OPEN) == 12


def test_rows_that_move_ignore_clicks(notebook: Notebook) -> None:
    """Where another order has just come under the pointer, its ✕ asks nothing."""
    practice(notebook)
    notebook.panel.get_by_role("checkbox", name="auto-refresh").check()
    place = notebook.panel.locator("button.cross").nth(2).bounding_box()
    assert place
    first = notebook.value("nbext.local().open_orders('BTCUSDT')[0]['orderId']")
    gone = f"{{'symbol': 'BTCUSDT', 'orderId': {first}}}"
    assert notebook.execute(f"nbext.connect('local').cancel('/api/v3/order', {gone})") == "ok"
    notebook.page.wait_for_timeout(AFTER_CELL)
    notebook.page.wait_for_function("() => document.querySelectorAll('.nbext-panel tr.single').length === 5")
    notebook.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    notebook.page.wait_for_timeout(FRESH)
    expect(asking(notebook)).to_have_count(0)
    notebook.page.mouse.click(place["x"] + place["width"] / 2, place["y"] + place["height"] / 2)
    expect(asking(notebook)).to_contain_text("Cancel 1 order on BTCUSDT?")


@both
def test_a_click_beside_a_cell_counts_at_once(notebook: Notebook, app: str) -> None:
    """A cell computes; meanwhile the panel asks, cancels and shows what came of it. The cell's own output is whole."""
    practice(notebook, app)
    notebook.page.evaluate(BEGIN_CELL)
    notebook.page.wait_for_function(BUSY)
    button(notebook, "Cancel all 13").click()
    expect(asking(notebook)).to_contain_text("Cancel 13 orders on BTCUSDT?")
    notebook.page.wait_for_timeout(FRESH)
    button(notebook, "Cancel 13 orders").click()
    expect(notebook.panel).to_contain_text("13 orders canceled")
    assert notebook.page.evaluate(CELL_RUNS)
    (notebook.lab.home / "end-of-cell").touch()
    assert notebook.page.evaluate("() => window.cell.then(reply => reply.content.status)") == "ok"
    assert notebook.value(DELETES) == 1


def test_clicks_that_wait_for_a_cell_do_nothing(notebook: Notebook) -> None:
    """Where clicks have to wait, as without subshells, they are dropped when the cell ends, and the panel says so."""
    practice(notebook)
    notebook.page.evaluate(NO_SUBSHELLS)
    notebook.page.evaluate(BEGIN_CELL)
    notebook.page.wait_for_function(BUSY)
    for _ in range(3):
        button(notebook, "Cancel all").click(force=True)  # whatever it says of itself meanwhile
        notebook.page.wait_for_timeout(400)
    (notebook.lab.home / "end-of-cell").touch()
    expect(notebook.panel).to_contain_text("Click ignored: it came while a cell was running")
    expect(asking(notebook)).to_have_count(0)
    assert notebook.value(DELETES) == 0


@both
def test_without_connection_no_button_does_anything(notebook: Notebook, app: str) -> None:
    """The error stands in words, the badge says STOPPED, and clicks lead to no question."""
    practice(notebook, app)
    select(notebook, "order").first.check()
    assert notebook.execute("nbext.local().stop()") == "ok"
    notebook.page.wait_for_timeout(AFTER_CELL)
    button(notebook, "Cancel all").click()
    expect(notebook.panel).to_contain_text("NotSentError: ")
    expect(notebook.panel).to_contain_text("The table is as of")
    expect(notebook.panel).to_contain_text("STOPPED")  # what this process serves no more may be anybody's
    for each in (button(notebook, "Cancel all"), button(notebook, "Cancel 1 order", exact=True), cross(notebook)):
        expect(each).to_be_disabled()
        each.click(force=True)
    notebook.page.wait_for_timeout(FRESH)
    expect(asking(notebook)).to_have_count(0)
    keep_picture(notebook, f"stopped-{app}")


@both
def test_no_such_symbol(notebook: Notebook, app: str) -> None:
    """The exchange's word stands there, and nothing can be canceled; another symbol, or all of them, can be shown."""
    practice(notebook, app)
    notebook.panel.get_by_label("Symbol").fill("NOSUCH")
    notebook.panel.get_by_label("Symbol").press("Enter")
    expect(notebook.panel).to_contain_text("RejectedError: ")
    expect(button(notebook, "Cancel all")).to_be_disabled()
    notebook.panel.get_by_label("Symbol").fill("eth/usdt")
    notebook.panel.get_by_label("Symbol").press("Enter")
    expect(notebook.panel).to_contain_text("5 open orders on ETHUSDT")
    expect(button(notebook, "Cancel all 5 on ETHUSDT")).to_be_enabled()
    notebook.panel.get_by_label("Symbol").fill("")
    notebook.panel.get_by_label("Symbol").press("Enter")
    expect(notebook.panel).to_contain_text("18 open orders on all symbols")
    expect(notebook.panel.locator("thead .symbol")).to_be_visible()
    assert_nothing_covered(notebook)  # beside a sidebar, symbols take the place of the client ids
    keep_picture(notebook, f"symbols-{app}")


def test_the_page_is_reloaded(notebook: Notebook) -> None:
    """The panel comes back as it was, and still works."""
    practice(notebook)
    select(notebook, "order").nth(1).check()
    notebook.panel.get_by_label("Side").select_option("BUY")
    expect(button(notebook, "Cancel 1 order", exact=True)).to_be_enabled()
    notebook.command("docmanager:save")
    notebook.open(fresh=True)
    expect(button(notebook, "Cancel 1 order", exact=True)).to_be_enabled()
    expect(notebook.panel.get_by_label("Side")).to_have_value("BUY")
    notebook.page.wait_for_timeout(FRESH)
    button(notebook, "Cancel 1 order", exact=True).click()
    confirm(notebook)
    expect(notebook.panel).to_contain_text("1 order canceled")
    assert notebook.value(DELETES) == 1


RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.restartKernel()"


def test_a_panel_ends_with_its_kernel(notebook: Notebook) -> None:
    """After a restart, its question is gone, it says what to do, and no button does anything."""
    practice(notebook)
    button(notebook, "Cancel all 13").click()
    expect(asking(notebook)).to_be_visible()
    notebook.page.evaluate(RESTART)
    expect(notebook.panel).to_contain_text("The kernel has ended or was restarted")
    expect(asking(notebook)).to_have_count(0)
    for each in (button(notebook, "Cancel all"), button(notebook, "Refresh"), cross(notebook)):
        expect(each).to_be_disabled()
    expect(notebook.panel.get_by_label("Symbol")).to_be_disabled()
    assert_readable(notebook)
    keep_picture(notebook, "ended")


def test_a_saved_panel_is_not_taken_for_a_living_one(notebook: Notebook) -> None:
    """A notebook may keep the state of widgets; opened with another kernel, its panel shows no question as open."""
    practice(notebook)
    button(notebook, "Cancel all 13").click()
    expect(asking(notebook)).to_be_visible()
    keep_state = "@jupyter-widgets/jupyterlab-manager:saveWidgetState"
    notebook.command(keep_state)
    try:
        notebook.command("docmanager:save")
        notebook.close()
        notebook.open(fresh=True)
        expect(notebook.panel).to_contain_text("No answer from the kernel yet")
        expect(asking(notebook)).to_have_count(0)
        expect(button(notebook, "Cancel all")).to_be_disabled()
    finally:
        notebook.command(keep_state)


@both
def test_the_ladder_selects(notebook: Notebook, app: str) -> None:
    """A click on a price selects its orders in the table, another one lets go of them."""
    practice(notebook, app)
    notebook.panel.get_by_role("checkbox", name="ladder").check()
    rung = notebook.panel.locator("tr[data-order-ids]").first
    expect(rung).to_be_visible()
    rung.get_by_role("button").click()
    expect(notebook.panel.locator(".orders tr.picked").first).to_be_attached()
    expect(rung).to_have_class(re.compile("selected"))
    notebook.screenshot(f"panel-ladder-{app}", notebook.panel)
    rung.get_by_role("button").click()
    expect(notebook.panel.locator(".orders tr.picked")).to_have_count(0)


@pytest.fixture(params=["light", "dark"])
def theme(notebook: Notebook, request: pytest.FixtureRequest) -> Iterator[str]:
    """Have a theme for a test."""
    notebook.write([])
    notebook.open()
    for name in (request.param, "light"):
        notebook.command("apputils:change-theme", theme=f"JupyterLab {name.title()}")
        light = "true" if name == "light" else "false"
        notebook.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
        if name == request.param:
            yield name
            resize(notebook, 1280, 1000)
            if request.param == "light":
                return


def test_in_both_themes_at_any_size(notebook: Notebook, theme: str) -> None:
    """All text stands out, nothing is cut off at 420 px or at 200 % zoom, and the panel fits into 768 px."""
    notebook.close()
    practice(notebook)
    select(notebook, "OCO list").check()
    button(notebook, "Cancel 2 orders").click()
    expect(asking(notebook)).to_be_visible()
    assert_readable(notebook)
    keep_picture(notebook, theme)
    confirm(notebook)
    expect(notebook.panel).to_contain_text("2 orders canceled")
    assert_readable(notebook)
    fits = "panel => panel.scrollWidth <= panel.clientWidth + 1"
    for name, width, height in (("zoomed", 640, 384), ("narrow", 420, 768), ("low", 1366, 768)):
        resize(notebook, width, height)
        notebook.page.wait_for_function(fits, arg=notebook.panel.element_handle(), timeout=5_000)
        assert_nothing_covered(notebook)
        notebook.screenshot(f"panel-{name}-{theme}", None if name == "low" else notebook.panel)
        assert_readable(notebook)
    box = notebook.panel.bounding_box()
    assert box
    assert box["height"] < 768 - 120
    notebook.panel.get_by_role("checkbox", name="ladder").check()
    expect(notebook.panel.locator("tr[data-order-ids]").first).to_be_visible()
    assert_readable(notebook)
    notebook.screenshot(f"panel-ladder-{theme}", notebook.panel)


def test_little_room(notebook: Notebook) -> None:
    """At 420 px, side, price and trigger stand in the first line of an order; rows stay rows for all readers."""
    practice(notebook)
    try:
        resize(notebook, 420)
        assert_nothing_covered(notebook)
        row = notebook.panel.locator("tr.single").filter(has_text="STOP_LOSS_LIMIT")
        box = notebook.panel.locator(".orders").bounding_box()
        cells = [row.locator(f".{name}").bounding_box() for name in ("side", "price", "trigger")]
        assert box
        for cell, after in zip(cells, [*cells[1:], None], strict=True):
            assert cell
            assert abs(cell["y"] - cells[0]["y"]) < 1  # type: ignore[index]
            assert cell["x"] + cell["width"] <= (after["x"] if after else box["x"] + box["width"]) + 1
        tree = notebook.panel.get_by_role("grid").aria_snapshot()
        assert tree.count("- row ") == 1 + 13 + 3
        assert tree.count("- columnheader") == 11
        select(notebook, "OCO list").check()
        button(notebook, "Cancel 2 orders").click()
        confirm(notebook)
        expect(notebook.panel.locator("tr.gone")).to_have_count(3)
        assert_nothing_covered(notebook)
        assert notebook.panel.locator("tr.told .outcome").first.is_visible()
    finally:
        resize(notebook, 1280, 1000)
    spare = "box => box.getBoundingClientRect().height - box.firstChild.getBoundingClientRect().height"
    assert notebook.panel.locator(".orders").evaluate(spare) < 30  # none of the height that narrow rows took


def assert_readable(notebook: Notebook) -> None:
    """Every piece of text of the panel stands out from what is behind it."""
    for kind in (".badge b", ".where", ".notes", "td", "th", "label", "button", "summary", ".hint", ".outcome"):
        for element in notebook.panel.locator(f"{kind}:visible").all()[:6]:
            if element.inner_text().strip() and element.get_attribute("aria-disabled") != "true":
                assert element.evaluate(CONTRAST) >= 4.5, (kind, element.inner_text())


WHEN_SHOWN = """(text) => {
  window.shown = new Promise(tell => {
    const look = () => {
      const rows = document.querySelectorAll('.nbext-panel .orders tr[data-unit]');
      if (rows.length < 200 || ![...rows].every(row => row.textContent.includes(text))) return;
      observer.disconnect();
      requestAnimationFrame(() => requestAnimationFrame(() => tell(Date.now() / 1000)));
    };
    const observer = new MutationObserver(look);
    observer.observe(document.body, {childList: true, subtree: true, characterData: true});
  });
}"""
SOON = 2.0
"""Seconds from an answer to its rows on screen: 0.09 on an idle machine, 0.6 beside many other jobs on two cores."""


def test_200_orders(notebook: Notebook, serve: Callable[..., PlainServer]) -> None:
    """All of them change, and are soon on screen, with one message; selecting them all takes one click."""
    orders, answered = [limit(number) for number in range(1, 201)], [0.0]
    respond = live(orders)

    def timed(request: Request) -> bytes:
        written = respond(request)
        if request.path.endswith("openOrders"):
            answered[0] = time.time()
        return written

    frames: list[bytes | str] = []

    def listen(socket: WebSocket) -> None:
        socket.on("framereceived", lambda frame: frames.append(frame))  # noqa: PLW0108 - Playwright writes on its listeners

    notebook.page.on("websocket", listen)
    server = serve(timed)
    notebook.run(LOAD, OPEN, first=connect_to(server.url))
    expect(notebook.panel).to_contain_text("200 open orders", timeout=30_000)
    notebook.page.remove_listener("websocket", listen)
    notebook.page.wait_for_timeout(AFTER_CELL)
    orders[:] = [{**order, "origQty": "0.77"} for order in orders]
    notebook.page.evaluate(WHEN_SHOWN, "0.77")
    frames.clear()
    button(notebook, "Refresh").click()
    shown = notebook.page.evaluate("() => window.shown")
    assert 0 < shown - answered[0] < SOON
    updates = [frame for frame in frames if isinstance(frame, bytes) and b'"update"' in frame]
    assert len(updates) == 1
    assert b"run7-200" in updates[0]
    notebook.panel.get_by_role("checkbox", name="select all shown").check()
    expect(button(notebook, "Cancel 200 orders")).to_be_visible()
    keep_picture(notebook, "200-orders")


AXE_SCRIPT = os.environ.get("NBEXT_AXE", "")
RUN_AXE = """() => axe.run('.jp-NotebookPanel:not(.lm-mod-hidden) .nbext-panel', {resultTypes: ['violations']})
  .then(found => JSON.stringify(found.violations.map(each =>
    [each.impact, each.id, each.nodes.map(node => node.html.slice(0, 200))])))"""


@both
def test_axe_finds_nothing_serious(notebook: Notebook, app: str) -> None:
    """Idle, asking, done, with the ladder and the recent cancels open, and with little room."""
    if not AXE_SCRIPT:
        pytest.skip("NBEXT_AXE does not name axe-core's axe.min.js; .ci/run fetches it")
    script = Path(AXE_SCRIPT).read_text("utf-8")
    practice(notebook, app)

    def check(state: str) -> None:
        notebook.page.evaluate(f"() => {{ {script}\n }}")
        found = json.loads(notebook.page.evaluate(RUN_AXE))
        assert [each for each in found if each[0] in {"serious", "critical"}] == [], state

    check("idle")
    select(notebook, "OCO list").check()
    button(notebook, "Cancel 2 orders").click()
    expect(asking(notebook)).to_be_visible()
    check("asking")
    confirm(notebook)
    expect(notebook.panel).to_contain_text("2 orders canceled")
    notebook.panel.get_by_text("Recent cancels on this exchange").click()
    notebook.panel.get_by_role("checkbox", name="ladder").check()
    expect(notebook.panel.locator("tr[data-order-ids]").first).to_be_visible()
    check("done")
    try:
        resize(notebook, 420)
        check("narrow")
    finally:
        resize(notebook, 1280, 1000)


@both
def test_each_control_is_named_once(notebook: Notebook, app: str) -> None:
    """No two controls of the accessibility tree share role and name, and none is without a name."""
    practice(notebook, app)
    tree = notebook.panel.aria_snapshot()
    controls = re.findall(r"- (checkbox|button|combobox|textbox)(?: \"([^\"]*)\")?", tree)
    assert len(controls) > 25
    assert all(name for _, name in controls)
    assert len(set(controls)) == len(controls)
    assert tree.count('grid "Open orders on BTCUSDT"') == 1
