"""The notebooks run from top to bottom, and leave nothing behind."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from nbclient import NotebookClient

if TYPE_CHECKING:
    from nbformat import NotebookNode

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"


def run(path: Path, folder: Path) -> NotebookNode:
    """Execute a notebook in a kernel of its own, away from where it stands."""
    notebook: NotebookNode = nbformat.read(path, as_version=4)
    NotebookClient(notebook, timeout=60, kernel_name="python3", resources={"metadata": {"path": str(folder)}}).execute()
    return notebook


def output(notebook: NotebookNode, source: str, kind: str) -> Any:  # noqa: ANN401 - text or HTML
    """Give what the cell with this source showed in one of its forms."""
    cell = next(cell for cell in notebook.cells if cell.source == source)
    if kind == "stream":
        return "".join(each.text for each in cell.outputs if each.output_type == "stream")
    return next(each.data[kind] for each in cell.outputs if each.output_type == "execute_result")


# nbclient and jupyter_client leave sockets of their event loop to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_quickstart_does_the_main_job(tmp_path: Path) -> None:
    """Open orders, single ones and lists, go from a symbol; another symbol keeps its own."""
    notebook = run(NOTEBOOKS / "01-quickstart.ipynb", tmp_path)
    html = output(notebook, "df", "text/html")
    assert html.count("<tr") == 14
    assert "13 canceled" in html
    assert "TAKE_PROFIT_LIMIT" in html
    assert "13 orders canceled (6 single, 1 OCO list, 2 OTO lists)" in output(
        notebook, "df = %cancel_all BTCUSDT", "stream"
    )
    assert "nothing was open" in output(notebook, "%cancel_all BTCUSDT", "stream")
    assert "ETHUSDT: 5 orders, 5 open" in output(notebook, "%open_orders", "text/html")
    assert "nothing is open now" in output(notebook, "%cancel_all ETHUSDT --check", "stream")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
def test_order_lists_end_as_the_notebook_says(tmp_path: Path) -> None:
    """Each list plays its life: which leg fills, which expires, which waits, and that a list goes whole."""
    notebook = run(NOTEBOOKS / "02-order-lists.ipynb", tmp_path)
    shown = [
        "".join(each["data"]["text/plain"] for each in cell.outputs if each.output_type == "execute_result")
        for cell in notebook.cells
        if cell.cell_type == "code"
    ]
    words = r"PENDING_NEW|NEW|TRIGGERED|FILLED|EXPIRED|CANCELED"
    lives = [re.findall(rf"\b(?:{words})\b", text) for text in shown if "executedQty" in text and "cause" in text]
    assert lives[:4] == [
        ["NEW", "EXPIRED", "NEW", "FILLED"],
        ["NEW", "TRIGGERED", "FILLED", "NEW", "EXPIRED"],
        ["NEW", "FILLED", "PENDING_NEW", "NEW"],
        ["NEW", "CANCELED", "PENDING_NEW", "CANCELED", "PENDING_NEW", "CANCELED"],
    ]
    assert sorted(lives[4]) == ["EXPIRED", "FILLED", "FILLED"]
    assert "('ALL_DONE', ['CANCELED', 'CANCELED', 'CANCELED'])" in shown
    assert "1 order canceled (1 OTO list)" in output(notebook, "%cancel_all BTCUSDT", "stream")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)
def test_notebooks_are_kept_without_outputs(path: Path) -> None:
    """No output and no execution count is stored, and every cell has an id of its own."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [cell for cell in code if cell.outputs or cell.execution_count]
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
