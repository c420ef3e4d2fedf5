"""What a reader sees and does: in JupyterLab and Notebook 7, with mouse and keyboard."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from driving import CONTRAST
from support.documents import fixture_body
from support.server import answer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driving import Notebook
    from playwright.sync_api import Locator
    from support.server import PlainServer, Request

pytest_plugins = ["browser_fixtures"]

LOAD = "import nbext\n%load_ext nbext"
SEED = "nbext.local().seed_orders();"
OPEN = "%cancel_panel BTCUSDT"
DELETES = "len(nbext.local().requests('DELETE'))"
STILL_OPEN = "len(nbext.local().open_orders('BTCUSDT'))"
KEYS = {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
BEGIN_CELL = """() => {
  window.cell = window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
    .requestExecute({code: 'import time; time.sleep(2.5)'}).done;
}"""
BUSY = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.status === 'busy'"
PAUSE = 900
"""Milliseconds to wait where time is what matters: after a cell, and between a click that arms and one that fires."""


def expect(locator: Locator) -> Any:
    """Wait until a locator is as expected."""
    from playwright.sync_api import expect as wait

    return wait(locator)


def button(notebook: Notebook, name: str) -> Locator:
    """Find a button of the panel by how its name begins."""
    found: Locator = notebook.panel.get_by_role("button", name=re.compile(f"^{re.escape(name)}"))
    return found


def practice(notebook: Notebook, app: str = "lab") -> None:
    """Open a panel on the exchange that nbext brings along, and wait until it has read what is open."""
    notebook.run(LOAD, SEED, OPEN, app=app)
    expect(notebook.panel).to_contain_text("13 open orders", timeout=30_000)
    notebook.page.wait_for_timeout(PAUSE)  # a click just after a cell would be dropped


def arm_and_fire(notebook: Notebook, name: str) -> None:
    """Click, pause, click."""
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, name).click()
    again = button(notebook, "Click again")
    expect(again).to_be_visible()
    notebook.page.wait_for_timeout(PAUSE)
    again.click()


def connect_to(server: PlainServer) -> str:
    """Write the code that makes another server the exchange."""
    return f"import os\nos.environ.update({json.dumps({'NBEXT_BASE_URL': server.url, **KEYS})})"


def test_the_documented_sample(notebook: Notebook, serve: Callable[..., PlainServer]) -> None:
    """The four rows of the documentation's own answer, in a frame and without an error."""
    server = serve(lambda _: answer(fixture_body("cancel_all_open_orders")))
    notebook.run(LOAD, "df = %cancel_all BTCUSDT --yes", "df", first=connect_to(server))
    rows = notebook.visible.locator(".jp-OutputArea-executeResult tbody tr")
    expect(rows).to_have_count(4)
    text = notebook.visible.locator(".jp-OutputArea-executeResult").inner_text()
    assert all(number in text for number in ("11", "13", "20", "21"))
    expect(notebook.visible.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(0)
    assert [request.method for request in server.requests] == ["DELETE"]
    notebook.screenshot("sample")


def test_select_arm_cancel(notebook: Notebook) -> None:
    """By mouse: rows of the table and of the list are one selection, the second click cancels, outcomes are shown."""
    practice(notebook)
    notebook.screenshot("panel")
    choice = notebook.panel.get_by_role("listbox")
    rows = notebook.panel.locator(".dt-scroll-body tbody tr")
    expect(rows).to_have_count(13)
    rows.filter(has_text="OCO").first.click()
    expect(notebook.panel.locator("tr.selected")).to_have_count(2)
    rows.nth(0).click()
    expect(button(notebook, "Cancel selected (2)")).to_be_enabled()
    assert choice.evaluate("list => list.selectedOptions.length") == 2
    button(notebook, "Cancel selected").click()
    expect(notebook.panel).to_contain_text("Click again within 5 s to cancel 3 open orders")
    notebook.screenshot("armed")
    assert notebook.value(DELETES) == 0
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Click again").click()
    expect(notebook.panel).to_contain_text("3 orders canceled")
    expect(notebook.panel).to_contain_text("10 open orders")
    expect(rows).to_have_count(10)
    expect(notebook.panel).to_contain_text("Last calls, from the journal")
    notebook.screenshot("canceled-selected")
    arm_and_fire(notebook, "Cancel all on BTCUSDT")
    expect(notebook.panel).to_contain_text("nothing is open")
    notebook.screenshot("canceled-all")
    assert notebook.value(STILL_OPEN) == 0


def test_the_ladder(notebook: Notebook) -> None:
    """Switched on, it stands below the orders, with a button for each price; what is canceled is struck through."""
    practice(notebook)
    notebook.panel.get_by_role("checkbox", name="Ladder").check()
    picture = notebook.panel.locator(".nbext-ladder")
    expect(picture).to_contain_text("13 orders, 13 open")
    expect(picture.get_by_role("button", name=re.compile("^Select at"))).to_have_count(13)
    notebook.panel.get_by_role("listbox").select_option(index=[0, 6])
    arm_and_fire(notebook, "Cancel selected")
    expect(picture).to_contain_text("13 orders, 10 open, 3 canceled")
    expect(picture.locator("s")).to_have_count(3)
    expect(picture.get_by_role("button", name=re.compile("^Select at"))).to_have_count(10)
    notebook.screenshot("ladder", picture)


def test_double_clicks(notebook: Notebook) -> None:
    """A double click cancels nothing; one on an armed button cancels once."""
    practice(notebook)
    button(notebook, "Cancel all").dblclick()
    expect(button(notebook, "Click again")).to_be_visible()
    assert notebook.value(DELETES) == 0
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Click again").dblclick()
    expect(notebook.panel).to_contain_text("13 orders canceled")
    notebook.page.wait_for_timeout(PAUSE)
    assert notebook.value(DELETES) == 1
    expect(button(notebook, "Cancel all on BTCUSDT")).to_be_enabled()


def test_clicks_while_a_cell_runs(notebook: Notebook) -> None:
    """They queue up, are dropped when the cell ends, and the panel says so."""
    practice(notebook)
    notebook.page.evaluate(BEGIN_CELL)
    notebook.page.wait_for_function(BUSY)
    for _ in range(3):
        button(notebook, "Cancel all").click()
        notebook.page.wait_for_timeout(400)
    notebook.page.evaluate("() => window.cell.then(() => true)")
    expect(notebook.panel).to_contain_text("Click ignored: it came while a cell was running")
    notebook.screenshot("dropped")
    assert notebook.value(DELETES) == 0
    expect(button(notebook, "Cancel all on BTCUSDT")).to_be_enabled()


def test_an_exchange_that_is_down(notebook: Notebook) -> None:
    """The error of the tree stands in the panel, in words, and the buttons stay usable."""
    practice(notebook)
    assert notebook.execute("nbext.local().stop()") == "ok"
    button(notebook, "Refresh").click()
    expect(notebook.panel).to_contain_text("NotSentError: ")
    expect(notebook.panel).to_contain_text("The table is as of")
    expect(notebook.panel).to_contain_text("STOPPED")  # what this process serves no more may be anybody's
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Cancel all").click()
    notebook.panel.get_by_role("textbox", name="Number of orders").fill("13")
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Type the number").click()
    expect(notebook.panel.get_by_role("alert").filter(has_text="NotSentError: ")).to_have_count(2)
    expect(button(notebook, "Cancel all on BTCUSDT")).to_be_enabled()
    notebook.screenshot("exchange-down")


def test_the_page_is_reloaded(notebook: Notebook) -> None:
    """The panel comes back as it was, and still works."""
    practice(notebook)
    notebook.panel.get_by_role("listbox").select_option(index=[0])
    expect(button(notebook, "Cancel selected (1)")).to_be_enabled()
    notebook.command("docmanager:save")
    notebook.open(fresh=True)
    expect(button(notebook, "Cancel selected (1)")).to_be_enabled()
    expect(notebook.panel.locator("tr.selected")).to_have_count(1)
    notebook.screenshot("reloaded")
    arm_and_fire(notebook, "Cancel selected")
    expect(notebook.panel).to_contain_text("1 order canceled")
    assert notebook.value(DELETES) == 1


@pytest.fixture
def dark(notebook: Notebook) -> Iterator[None]:
    """Have the dark theme for a test."""
    notebook.write([])
    notebook.open()
    for theme, light in (("JupyterLab Dark", "false"), ("JupyterLab Light", "true")):
        notebook.command("apputils:change-theme", theme=theme)
        notebook.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)
        if light == "false":
            yield
            notebook.page.set_viewport_size({"width": 1280, "height": 1000})
            notebook.command("application:toggle-left-area")


@pytest.mark.usefixtures("dark")
def test_dark_and_narrow(notebook: Notebook) -> None:
    """In the dark theme all text can be read, and in a narrow window nothing is cut off."""
    notebook.close()
    practice(notebook)
    arm_and_fire(notebook, "Cancel all")
    expect(notebook.panel).to_contain_text("13 orders canceled")
    assert_readable(notebook)
    notebook.screenshot("dark")
    notebook.execute("nbext.local().seed_orders()")
    button(notebook, "Refresh").click()
    expect(notebook.panel).to_contain_text("13 open orders")
    notebook.page.set_viewport_size({"width": 480, "height": 1000})
    notebook.command("application:toggle-left-area")
    assert_readable(notebook)
    notebook.screenshot("dark-narrow")
    notebook.panel.get_by_text("Last calls").scroll_into_view_if_needed()
    notebook.screenshot("dark-narrow-below")
    fits = "panel => panel.scrollWidth <= panel.clientWidth + 1"
    notebook.page.wait_for_function(fits, arg=notebook.panel.element_handle(), timeout=5_000)


def assert_readable(notebook: Notebook) -> None:
    """Every piece of text of the panel stands out from what is behind it."""
    for kind in (".nbext-badge", ".nbext-note", "td", "th", "option", "button", "caption", "summary"):
        for element in notebook.panel.locator(kind).all()[:3]:
            if element.is_visible() and element.is_enabled():
                assert element.evaluate(CONTRAST) >= 4.5, (kind, element.inner_text())


def test_keyboard_only(notebook: Notebook) -> None:
    """Select in the list, reach the button with Tab, and cancel with Space: no mouse, and roles with names."""
    practice(notebook)
    panel, keyboard = notebook.panel, notebook.page.keyboard
    assert panel.get_by_role("combobox", name="Symbol").input_value() == "BTCUSDT"
    assert all(panel.get_by_role("checkbox", name=name).count() == 1 for name in ("Auto-refresh", "Ladder"))
    panel.get_by_role("button", name="Refresh").focus()
    choice = panel.get_by_role("listbox", name="Select")
    for _ in range(30):
        keyboard.press("Tab")
        if choice.evaluate("list => list === document.activeElement"):
            break
    keyboard.press("Home")
    expect(button(notebook, "Cancel selected (1)")).to_be_enabled()
    keyboard.press("Shift+ArrowDown")
    expect(button(notebook, "Cancel selected (2)")).to_be_enabled()
    keyboard.press("Tab")
    expect(button(notebook, "Cancel selected (2)")).to_be_focused()
    keyboard.press("Space")
    expect(button(notebook, "Click again")).to_be_focused()
    notebook.screenshot("keyboard")
    notebook.page.wait_for_timeout(PAUSE)
    keyboard.press("Space")
    expect(panel).to_contain_text("2 orders canceled")
    assert notebook.value(STILL_OPEN) == 11


def test_live_wants_the_number(notebook: Notebook, serve: Callable[..., PlainServer]) -> None:
    """The badge says LIVE; two clicks cancel nothing, the typed number and a click do."""
    canceled = fixture_body("cancel_all_open_orders")
    opened = [
        {**leg, "status": "NEW", "clientOrderId": leg.pop("origClientOrderId"), "time": leg.pop("transactTime")}
        for entry in fixture_body("cancel_all_open_orders")
        for leg in entry.get("orderReports", [entry])
    ]
    opened = [
        {name: order[name] for name in order if name not in {"origClientOrderId", "transactTime"}} for order in opened
    ]
    lists = [{name: entry[name] for name in entry if name != "orderReports"} for entry in canceled if "orders" in entry]

    def respond(request: Request) -> bytes:
        if request.method == "DELETE":
            return answer(canceled)
        if any(each.method == "DELETE" for each in server.requests):
            return answer([])
        return answer(lists if "openOrderList" in request.path else opened)

    server = serve(respond)
    notebook.run(LOAD, OPEN, first=connect_to(server))
    expect(notebook.panel).to_contain_text("LIVE")
    expect(notebook.panel).to_contain_text("4 open orders")
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Cancel all on BTCUSDT").click()
    expect(notebook.panel).to_contain_text("Type 4 and click again")
    notebook.screenshot("live-armed")
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Type the number").click()
    expect(notebook.panel).to_contain_text("not confirmed; nothing was canceled")
    assert {request.method for request in server.requests} == {"GET"}
    expect(button(notebook, "Cancel all on BTCUSDT")).to_be_enabled()
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Cancel all on BTCUSDT").click()
    notebook.panel.get_by_role("textbox", name="Number of orders").fill("4")
    notebook.page.wait_for_timeout(PAUSE)
    button(notebook, "Type the number").click()
    expect(notebook.panel).to_contain_text("4 orders canceled")
    expect(notebook.panel).to_contain_text("nothing is open")
    assert [request.method for request in server.requests].count("DELETE") == 1
    notebook.screenshot("live-canceled")


def test_saved_and_reopened_untrusted(notebook: Notebook) -> None:
    """Rows of a frame can be read without trust and without a kernel that knows them; nothing secret was saved."""
    notebook.run(LOAD, SEED, "df = %open_orders BTCUSDT", "df", OPEN)
    expect(notebook.panel).to_contain_text("13 open orders")
    wide, room = notebook.visible.locator(".nbext-table").first.evaluate("box => [box.scrollWidth, box.clientWidth]")
    assert wide <= room, "a column is cut off"
    notebook.screenshot("frame")
    secrets = [notebook.text("nbext.local().secret_key"), notebook.text("nbext.local().api_key")]
    notebook.command("docmanager:save")
    saved = notebook.path.read_text()
    assert all(secret not in saved for secret in secrets)
    document = nbformat.reads(saved, as_version=4)
    document.cells[0].source += "\n# somebody else's"
    notebook.path = notebook.path.with_name("from-somebody-else.ipynb")
    nbformat.write(document, notebook.path)
    notebook.open()
    expect(notebook.visible.locator(".jp-OutputArea-executeResult tbody tr").first).to_be_visible()
    expect(notebook.visible).to_contain_text("BTCUSDT: 13 orders, 13 open")
    notebook.screenshot("untrusted")


def test_notebook_7(notebook: Notebook) -> None:
    """The same panel works there."""
    practice(notebook, app="notebooks")
    arm_and_fire(notebook, "Cancel all on BTCUSDT")
    expect(notebook.panel).to_contain_text("13 orders canceled")
    notebook.screenshot("notebook-7")
    assert notebook.value(STILL_OPEN) == 0
