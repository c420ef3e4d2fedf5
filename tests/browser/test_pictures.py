"""What a reader sees of ladders: in a notebook of theirs, in both themes, and in one that is not trusted."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from driving import CONTRAST

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from driving import Notebook
    from playwright.sync_api import Locator

pytest_plugins = ["browser_fixtures"]

CELLS = (
    "import nbext\n%load_ext nbext\nnbext.local().seed_orders();",
    """before = nbext.open_orders("BTCUSDT")
gone = nbext.cancel_orders(before.iloc[[0, 6]])
nbext.ladder(before, gone)""",
    """client = nbext.connect()
for place in range(140):
    side, price = ("BUY", 59_900 - 43 * place) if place % 2 else ("SELL", 60_100 + 43 * place)
    ticket = {"symbol": "BTCUSDT", "side": side, "type": "LIMIT", "timeInForce": "GTC", "price": price}
    client.request("POST", "/api/v3/order", ticket | {"quantity": round(0.1 + place % 7 / 5, 1)})
nbext.ladder(nbext.open_orders("BTCUSDT"))""",
    "nbext.ladder(nbext.open_orders('BNBUSDT'))",
)


CUT = "cells => cells.filter(cell => cell.scrollWidth > cell.clientWidth).map(cell => cell.textContent)"


def expect(locator: Locator) -> Any:
    """Wait until a locator is as expected."""
    from playwright.sync_api import expect as wait

    return wait(locator)


@pytest.fixture
def theme(notebook: Notebook) -> Iterator[Callable[[str], None]]:
    """Switch the theme, for a test."""

    def switch(name: str) -> None:
        notebook.command("apputils:change-theme", theme=f"JupyterLab {name}")
        light = str(name == "Light").lower()
        notebook.page.wait_for_function("light => document.body.dataset.jpThemeLight === light", arg=light)

    yield switch
    switch("Light")


def test_ladders_follow_the_theme(notebook: Notebook, theme: Callable[[str], None]) -> None:
    """Orders one by one, and 150 of them by level in less than 900 pixels: words and bars stand out from any ground."""
    notebook.run(*CELLS)
    few, many, nothing = (notebook.visible.locator(".nbext-ladder").nth(place) for place in range(3))
    expect(few.locator("s")).to_have_count(3)
    expect(many).to_contain_text("150 orders, 150 open")
    expect(nothing).to_have_text(re.compile("^Nothing to draw: no orders"))
    assert many.bounding_box()["height"] < 900  # type: ignore[index]
    shown = "cells => [...new Set(cells.map(cell => getComputedStyle(cell).display))]"  # Lab has rules for many classes
    assert many.locator("td").evaluate_all(shown) == ["table-cell"]
    grounds = set()
    for name in ("Light", "Dark"):
        theme(name)
        ending = "" if name == "Light" else "-dark"
        for locator in (few.locator("th, td, s, p"), many.locator("th, td, p")):
            for element in locator.all():
                if element.is_visible() and element.inner_text().strip():
                    assert element.evaluate(CONTRAST) >= 4.5, (name, element.inner_text())
        grounds.add(few.locator(".bar.BUY").first.evaluate("bar => getComputedStyle(bar).backgroundColor"))
        notebook.screenshot(f"ladder{ending}", few)
        notebook.screenshot(f"ladder-150{ending}", many)
    assert len(grounds) == 2
    hollow = few.locator(".bar.waits").first
    assert hollow.evaluate("bar => getComputedStyle(bar).backgroundColor") == "rgba(0, 0, 0, 0)"
    assert hollow.bounding_box()["height"] > 8  # type: ignore[index]
    assert_nothing_is_cut_off(notebook, few, many)


def assert_nothing_is_cut_off(notebook: Notebook, few: Locator, many: Locator) -> None:
    """Where there is little room, labels take more lines, and prices stay whole."""
    dots = "cells => cells.filter(cell => getComputedStyle(cell).textOverflow === 'ellipsis').length"
    try:
        for width in (1280, 828):
            notebook.page.set_viewport_size({"width": width, "height": 1000})
            notebook.page.wait_for_timeout(300)
            for ladder in (few, many):
                assert ladder.locator("th, td").evaluate_all(CUT) == []
                assert ladder.locator("td").evaluate_all(dots) == 0
        for words in ("TAKE_PROFIT_LIMIT then 64695.0", "5 %", "[OTO 7919]"):
            assert words in few.inner_text().replace("\N{NO-BREAK SPACE}", " ")
    finally:
        notebook.page.set_viewport_size({"width": 1280, "height": 1000})


def test_a_ladder_that_is_not_trusted(notebook: Notebook) -> None:
    """Without our style sheet, too, bars stand on their side of the middle, as long as the order is large."""
    notebook.run(*CELLS)
    expect(notebook.visible.locator(".nbext-ladder")).to_have_count(3)
    notebook.command("docmanager:save")
    document = nbformat.read(notebook.path, as_version=4)
    document.cells[0].source += "\n# somebody else's"
    notebook.path = notebook.path.with_name("ladder-from-somebody-else.ipynb")
    nbformat.write(document, notebook.path)
    notebook.open(fresh=True)  # without the style sheets of what was open before
    few = notebook.visible.locator(".nbext-ladder").first
    expect(few).to_contain_text("13 orders, 10 open, 3 canceled")
    assert few.locator("style").count() == 0
    boxes = [bar.bounding_box() for bar in few.locator(".bar").all()]
    assert all(box and box["height"] >= 10 for box in boxes)
    assert max(box["width"] for box in boxes if box) > 10 * min(box["width"] for box in boxes if box)
    for ladder in (few, notebook.visible.locator(".nbext-ladder").nth(1)):
        assert ladder.locator("th, td").evaluate_all(CUT) == []
        heights = "rows => rows.map(row => row.getBoundingClientRect().height)"
        assert max(ladder.locator("tbody tr").evaluate_all(heights)) < 50  # labels may take a second line
    notebook.screenshot("ladder-untrusted", few)
    notebook.screenshot("ladder-150-untrusted", notebook.visible.locator(".nbext-ladder").nth(1))
