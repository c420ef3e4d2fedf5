"""What a reader sees of tables: in JupyterLab and Notebook 7, trusted or not, with one library for all long ones."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from driving import CONTRAST

if TYPE_CHECKING:
    from driving import Notebook
    from playwright.sync_api import Locator

pytest_plugins = ["browser_fixtures"]

LOAD = "import nbext\n%load_ext nbext"
SEED = "nbext.local().seed_orders();"
MANY = """client = nbext.connect()
for place in range(40):
    ticket = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.01"}
    client.request("POST", "/api/v3/order", ticket | {"price": 50_000 + place});"""
LARGE_IDS = """import pandas as pd
df = nbext.open_orders("BTCUSDT")
df["orderId"] = pd.array([2**53 + (n * 7) % len(df) for n in range(len(df))], "Int64")
df"""
apps = pytest.mark.parametrize("app", ["lab", "notebooks"])


def expect(locator: Locator) -> Any:
    """Wait until a locator is as expected."""
    from playwright.sync_api import expect as wait

    return wait(locator)


def outputs(notebook: Notebook, cell: int) -> Locator:
    """Find what a cell shows."""
    return notebook.visible.locator(".jp-Cell").nth(cell).locator(".jp-OutputArea-output")


def lines(notebook: Notebook, cell: int) -> list[str]:
    """Return the lines that a reader sees of a cell's outputs."""
    return [line for text in outputs(notebook, cell).all_inner_texts() for line in text.splitlines() if line.strip()]


def header(notebook: Notebook, cell: int) -> list[str]:
    """Return the names of the columns that a cell's table shows."""
    return outputs(notebook, cell).locator("thead th").all_inner_texts()


@apps
def test_what_the_user_added_shows(notebook: Notebook, app: str) -> None:
    """After `assign`, `merge`, `head`, `concat` and `iloc`: each column and index of theirs, and a note that counts."""
    first = "import pandas as pd\ndf = nbext.open_orders('BTCUSDT')"
    notebook.run(
        LOAD,
        SEED,
        first,
        "df.assign(distance=0.5)",
        "df.merge(pd.DataFrame({'side': ['BUY'], 'why': ['dip']}), on='side')",
        "df.head(3)",
        "pd.concat([df.head(2), df.head(1)])",
        "df.iloc[4:6]",
        app=app,
    )
    assert header(notebook, 3)[-1] == "distance"
    assert "10 of 31 columns" in lines(notebook, 3)[-1]
    assert header(notebook, 4)[-1] == "why"
    assert lines(notebook, 4)[-1].startswith("all: side BUY; ")
    assert "index" not in header(notebook, 5)
    assert header(notebook, 6)[0] == header(notebook, 7)[0] == "index"
    assert outputs(notebook, 7).locator("tbody tr td:first-child").all_inner_texts() == ["4", "5"]


@apps
def test_a_table_is_no_formula(notebook: Notebook, app: str) -> None:
    """Dollars and backslashes stay what they are: pages set formulas in what they show, also across cells."""
    note = r"'risk $50, stop $40, \\(x\\)'"
    df = f"df = nbext.open_orders('BTCUSDT').assign(note={note})"
    notebook.run(
        LOAD, SEED, df, "df", "nbext.ladder(df)", "df = %cancel_all BTCUSDT", f"df.assign(note={note})", app=app
    )
    notebook.page.wait_for_timeout(1500)
    shown = outputs(notebook, 3).locator("tbody tr td:last-child").all_inner_texts()
    assert {text.replace("\xa0", " ") for text in shown} == {r"risk $50, stop $40, \(x\)"}
    assert notebook.visible.locator(".jp-OutputArea mjx-container").count() == 0


@apps
def test_everything_is_said_once(notebook: Notebook, app: str) -> None:
    """The summary line names symbol and exchange, the table does not; nothing open is one line."""
    notebook.run(
        LOAD, "%open_orders BTCUSDT", SEED, "%open_orders BTCUSDT", "%cancel_all BTCUSDT", "nbext.last", app=app
    )
    (only,) = lines(notebook, 1)
    assert only.startswith("BTCUSDT: ")
    assert "nbext.local().seed_orders()" in only
    for cell in (3, 4):
        shown = lines(notebook, cell)
        assert shown[0].startswith("BTCUSDT: 13 ")
        assert sum("BTCUSDT" in line or "local" in line for line in shown) == 1
        assert "127.0.0.1" not in "".join(shown)
    assert [line for line in lines(notebook, 5) if line.startswith("BTCUSDT: 13 ")]
    notebook.screenshot(f"tables-{app}")


@apps
def test_progress_comes_and_goes(notebook: Notebook, app: str) -> None:
    """After a second there is one line that says what is counted; at the end nothing is left of it."""
    slow = "nbext.local().faults.on('DELETE', '/api/v3/openOrders', times=None).answer_late(seconds=1.5)"
    names = "BTCUSDT ETHUSDT BNBUSDT SOLUSDT XRPUSDT ADAUSDT DOGEUSDT ETHBTC BNBBTC"
    notebook.run(LOAD, SEED, slow, app=app)
    notebook.page.evaluate("window.jupyterapp.commands.execute('notebook:insert-cell-below')")
    notebook.page.evaluate(
        "code => window.jupyterapp.shell.currentWidget.content.activeCell.model.sharedModel.setSource(code)",
        f"df = %cancel_all {names} --yes",
    )
    notebook.page.evaluate("() => { window.jupyterapp.commands.execute('notebook:run-cell') }")
    last = notebook.visible.locator(".jp-Cell").last
    expect(last).to_contain_text("of 9 requests answered", timeout=10_000)
    assert last.locator("progress").count() == 1
    expect(last).to_contain_text("18 orders canceled", timeout=20_000)
    expect(last).not_to_contain_text("requests answered")
    assert last.locator("progress").count() == 0


@apps
def test_one_output_carries_the_library_for_all(notebook: Notebook, app: str) -> None:
    """Two long tables can be searched, now and after a reload; the file has the library once."""
    notebook.run(LOAD, SEED, MANY, "nbext.open_orders('BTCUSDT')", LARGE_IDS, app=app)
    both = [outputs(notebook, cell) for cell in (3, 4)]
    for each in both:
        expect(each.locator(".dt-search input")).to_be_visible()
        expect(each.locator("tbody tr")).to_have_count(25)
    notebook.command("docmanager:save")
    saved = notebook.path.read_text()
    assert saved.count("DecompressionStream") == 1
    assert saved.count("await library.promise") == 2
    assert len(saved) < 600_000
    notebook.open(app, fresh=True)
    for cell in (3, 4):
        expect(outputs(notebook, cell).locator(".dt-search input")).to_be_visible()
    outputs(notebook, 4).locator(".dt-search input").fill("STOP_LOSS_LIMIT")
    expect(outputs(notebook, 4).locator("tbody tr")).to_have_count(2)
    outputs(notebook, 4).locator(".dt-search input").fill("")
    notebook.screenshot(f"tables-long-{app}", outputs(notebook, 4).first)


@apps
def test_sorting_is_exact_and_keeps_lists_together(notebook: Notebook, app: str) -> None:
    """Ids that are no floats sort as ids; by list, the legs of each stay together, with their brackets."""
    notebook.run(LOAD, SEED, MANY, LARGE_IDS, app=app)
    table = outputs(notebook, 3)

    def sort(name: str, way: str) -> list[str]:
        place = table.locator("thead th").filter(has_text=re.compile(f"^{name}$"))
        place.locator(".dt-column-order").click()
        expect(place).to_have_attribute("aria-sort", way)
        column = header(notebook, 3).index(name)
        return table.locator(f"tbody tr > :nth-child({column + 1})").all_inner_texts()

    assert [int(each) for each in sort("orderId", "ascending")] == list(range(2**53, 2**53 + 25))
    mark = table.locator("td.l .k").first
    lists = [each.strip() for each in sort("list", "ascending") if each.strip()]
    assert [each.split()[-1] for each in lists] == ["7917"] * 2 + ["7918"] * 2 + ["7919"] * 3
    assert [each[0] for each in lists] == list("┌└┌└┌├└")
    assert mark.evaluate("mark => getComputedStyle(mark).visibility") == "visible"
    sort("price", "ascending")
    table.locator(".dt-search input").fill("OTO 7919")
    assert mark.evaluate("mark => getComputedStyle(mark).visibility") == "hidden"
    assert_wide_tables_scroll(notebook, table)


def assert_wide_tables_scroll(notebook: Notebook, table: Locator) -> None:
    """Beside JupyterLab's sidebar no column is cut off at 1280 px; in less room the last one scrolls into view."""
    scroller = table.locator(".dt-layout-full")
    fades = "box => [box.scrollWidth > box.clientWidth, getComputedStyle(box).maskImage !== 'none']"
    assert scroller.evaluate(fades) == [False, False]
    try:
        notebook.page.set_viewport_size({"width": 600, "height": 1000})
        expect(scroller).to_have_css("mask-image", re.compile("gradient"))
        scroller.evaluate("box => { box.scrollLeft = box.scrollWidth }")
        expect(scroller).to_have_css("mask-image", "none")
        right = "box => box.getBoundingClientRect().right"
        assert table.locator("thead th").last.evaluate(right) <= scroller.evaluate(right) + 1
    finally:
        notebook.page.set_viewport_size({"width": 1280, "height": 1000})


def test_the_library_is_sent_again_when_its_cell_goes(notebook: Notebook) -> None:
    """When it is run again, or deleted, the next long table brings it; a notebook is never without."""
    notebook.run(LOAD, SEED, MANY, "nbext.open_orders('BTCUSDT')", "nbext.open_orders('BTCUSDT')")

    def run(cell: int) -> None:
        activate = "place => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = place }"
        notebook.page.evaluate(activate, cell)
        assert notebook.command("notebook:run-cell")
        expect(outputs(notebook, cell).locator(".dt-search input")).to_be_visible()

    def carriers() -> list[int]:
        notebook.command("docmanager:save")
        document = nbformat.read(notebook.path, as_version=4)
        cells = enumerate(document.cells)
        return [place for place, cell in cells if "DecompressionStream" in json.dumps(cell.outputs)]

    assert carriers() == [3]
    run(4)
    assert carriers() == [3]
    run(3)
    assert carriers() == [3]
    notebook.page.evaluate("() => { window.jupyterapp.shell.currentWidget.content.activeCellIndex = 3 }")
    notebook.command("notebook:delete-cell")
    run(3)
    assert carriers() == [3]
    notebook.open(fresh=True)
    expect(outputs(notebook, 3).locator(".dt-search input")).to_be_visible()


@apps
@pytest.mark.parametrize("theme", ["Light", "Dark"])
def test_an_untrusted_table_keeps_alignment_and_color(notebook: Notebook, app: str, theme: str) -> None:
    """Without style sheet and scripts, cells stay aligned and on one line, and words keep a color that can be read."""
    notebook.run(LOAD, SEED, MANY, "%open_orders BTCUSDT", "%cancel_all BTCUSDT --side SELL", app=app)
    notebook.command("docmanager:save")
    document = nbformat.reads(notebook.path.read_text(), as_version=4)
    document.cells[0].source += "\n# somebody else's"
    notebook.close()
    notebook.path = notebook.path.with_name(f"untrusted-{app}-{theme}.ipynb")
    nbformat.write(document, notebook.path)
    notebook.open(app, fresh=True)
    notebook.command("apputils:change-theme", theme=f"JupyterLab {theme}")
    try:
        assert notebook.visible.locator("style, .dt-search").count() == 0
        rows = outputs(notebook, 3).locator("tbody tr")
        expect(rows).to_have_count(53)
        for cell in (3, 4):
            for each in outputs(notebook, cell).locator("td").all()[:30]:
                style = each.evaluate(
                    "cell => { const s = getComputedStyle(cell); return [s.textAlign, s.whiteSpace] }"
                )
                assert style == [each.get_attribute("align"), "nowrap"]
            for word in outputs(notebook, cell).locator("td font").all()[:8]:
                assert word.evaluate(CONTRAST) >= 4.3, word.inner_text()
        notebook.screenshot(f"tables-untrusted-{app}-{theme.lower()}")
    finally:
        notebook.command("apputils:change-theme", theme="JupyterLab Light")
