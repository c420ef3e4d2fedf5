"""The notebooks run from top to bottom, and leave nothing behind."""

from __future__ import annotations

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
