"""What a reader sees and does: in JupyterLab and Notebook 7, with mouse and keyboard."""

from __future__ import annotations

from typing import TYPE_CHECKING

import nbformat
from driving import LOAD, OPEN, SEED, connect_to, expect
from support.documents import fixture_body
from support.server import answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from driving import Notebook
    from support.server import PlainServer

pytest_plugins = ["browser_fixtures"]


def test_the_documented_sample(notebook: Notebook, serve: Callable[..., PlainServer]) -> None:
    """The four rows of the documentation's own answer, in a frame and without an error."""
    server = serve(lambda _: answer(fixture_body("cancel_all_open_orders")))
    notebook.run(LOAD, "df = %cancel_all BTCUSDT --yes", "df", first=connect_to(server.url))
    rows = notebook.visible.locator(".jp-OutputArea-executeResult tbody tr")
    expect(rows).to_have_count(4)
    text = notebook.visible.locator(".jp-OutputArea-executeResult").inner_text()
    assert all(number in text for number in ("11", "13", "20", "21"))
    expect(notebook.visible.locator("[data-mime-type='application/vnd.jupyter.stderr']")).to_have_count(0)
    assert [request.method for request in server.requests] == ["DELETE"]
    notebook.screenshot("sample")


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
    notebook.open(fresh=True)  # without the style sheets of what was open before
    expect(notebook.visible.locator(".jp-OutputArea-executeResult tbody tr").first).to_be_visible()
    assert notebook.page.locator(".nbext-table style").count() == 0
    buy = notebook.visible.locator(".nbext-table td.BUY font").first
    assert buy.evaluate("word => getComputedStyle(word).color") == "rgb(20, 141, 47)"  # as the inline style has it
    expect(notebook.visible).to_contain_text("BTCUSDT: 13 orders, 13 open")
    notebook.screenshot("untrusted")
