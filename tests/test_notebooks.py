"""The notebooks run from top to bottom, give what they are stored with, and leave nothing behind."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from notebook_outputs import NOTEBOOKS, differences, execute

if TYPE_CHECKING:
    from pathlib import Path

    from nbformat import NotebookNode

each_notebook = pytest.mark.parametrize("path", sorted(NOTEBOOKS.glob("*.ipynb")), ids=lambda path: path.stem)


def one_off(kind: str, content: str) -> str:
    """Change a text by one digit, its last one, and the height of a picture by one pixel."""
    if kind != "image/png":
        return re.sub(r"\d(?=\D*\Z)", lambda digit: str(9 - int(digit[0])), content)
    picture = bytearray(b64decode(content))
    picture[23] ^= 1
    return b64encode(picture).decode()


def stored(name: str) -> NotebookNode:
    """Read a notebook with its outputs."""
    notebook: NotebookNode = nbformat.read(NOTEBOOKS / f"{name}.ipynb", as_version=4)
    return notebook


def output(notebook: NotebookNode, source: str, kind: str = "text/plain") -> Any:
    """Return what the cell with this source showed in one of its forms."""
    cell = next(cell for cell in notebook.cells if cell.source == source)
    if kind == "stream":
        return "".join(each.text for each in cell.outputs if each.output_type == "stream")
    return next(each.data[kind] for each in cell.outputs if each.output_type == "execute_result")


# nbclient and jupyter_client leave sockets of their event loop to the garbage collector.
@pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")
@each_notebook
def test_a_notebook_gives_what_is_stored(path: Path, tmp_path: Path) -> None:
    """Executed again, every cell gives the same outputs, and no file is left where it ran."""
    changed = differences(nbformat.read(path, as_version=4), execute(path, tmp_path))
    if changed:
        pytest.fail(f"{changed}\nIf that is right: python tests/notebook_outputs.py {path.stem}", pytrace=False)
    assert list(tmp_path.iterdir()) == []


@each_notebook
def test_a_stored_notebook_can_be_shown_to_anybody(path: Path) -> None:
    """It is valid, was run once from top to bottom, and holds no warning, surprise, script, secret or path."""
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert len({cell.id for cell in notebook.cells}) == len(notebook.cells)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    for cell in code:
        assert not [each for each in cell.outputs if each.get("name") == "stderr"], cell.id
        has_failed = "error" in {each.output_type for each in cell.outputs}
        assert has_failed == ("raises-exception" in cell.metadata.get("tags", [])), cell.id
        assert "execution" not in cell.metadata, cell.id
    assert notebook.metadata.language_info == {"name": "python"}
    assert "widgets" not in notebook.metadata

    for cell in notebook.cells:  # in base64 anything may stand
        cell.pop("attachments", None)
        for each in cell.get("outputs", []):
            each.get("data", {}).pop("image/png", None)
    text = nbformat.writes(notebook)
    for unwanted in ("<script", "signature=", "/home/", "/tmp/", "/root/", "/Users/", "PRIVATE KEY-----"):  # noqa: S108
        assert unwanted not in text
    assert not re.findall(r"\b(?=\w*\d)\w{40,}\b", text), "an API key or a secret key has 64 letters and digits"


def test_one_altered_digit_is_found() -> None:
    """Whichever text is off by one digit, or picture by one pixel in height, the comparison names the cell."""
    kinds = set()
    for name in ("02-order-lists", "03-cleanup-after-backtest"):
        as_stored, altered = stored(name), stored(name)
        for cell in altered.cells:
            for part in [part for each in cell.get("outputs", []) for part in (each, each.get("data", {}))]:
                for kind in part.keys() & {"text", "text/plain", "text/html", "evalue", "image/png"}:
                    kept = part[kind]
                    part[kind] = one_off(kind, kept)
                    if part[kind] != kept:
                        kinds.add(kind)
                        assert f"--- {cell.id}, stored" in differences(as_stored, altered), (cell.id, kind)
                    part[kind] = kept
        assert differences(as_stored, altered) == ""
    assert kinds == {"text", "text/plain", "text/html", "evalue", "image/png"}


@each_notebook
def test_a_notebook_leads_on(path: Path) -> None:
    """It ends with a link to a notebook that is there, and its *Your turn* has an answer, folded."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    (link,) = re.findall(r"\]\(([^)]*\.ipynb)\)", cells[-1].splitlines()[-1])
    following = sorted(each.name for each in NOTEBOOKS.glob("*.ipynb"))
    assert link == following[(following.index(path.name) + 1) % len(following)]
    (turn,) = (place for place, source in enumerate(cells) if "## Your turn" in source)
    assert "<details><summary>Answer" in "".join(cells[turn:])


@each_notebook
def test_running_all_cells_asks_nothing_and_leaves_no_trap(path: Path) -> None:
    """No cell wants an answer from a prompt, and no fault and no changed setting waits for the next click."""
    notebook = nbformat.read(path, as_version=4)
    errors = [each.evalue for cell in notebook.cells for each in cell.get("outputs", []) if each.output_type == "error"]
    assert not [error for error in errors if "cannot prompt" in error]
    lines = [line for cell in notebook.cells if cell.cell_type == "code" for line in cell.source.splitlines()]
    traps = [line for line in lines if "faults." in line or "%config" in line]
    assert path.stem.startswith("05") or all(line.startswith("#") for line in traps)


def test_the_quickstart_does_the_main_job() -> None:
    """Open orders, single ones and lists, go from a symbol; another symbol keeps its own."""
    notebook = stored("01-quickstart")
    html = output(notebook, "df", "text/html")
    assert html.count("<tr") == 14
    assert "13 canceled" in html
    assert "13 orders canceled (6 single, 1 OCO list, 2 OTO lists)" in output(
        notebook, "df = %cancel_all BTCUSDT", "stream"
    )
    assert "nothing was open" in output(notebook, "%cancel_all BTCUSDT", "stream")
    assert "5 open orders (3 single, 1 OCO list)" in output(notebook, "%open_orders", "stream")
    assert "all: symbol ETHUSDT" in output(notebook, "%open_orders")
    assert "nothing is listed as open" in output(notebook, "%cancel_all ETHUSDT --check", "stream")


def test_order_lists_end_as_the_notebook_says() -> None:
    """Each list plays its life: which leg fills, which expires, which waits, and that a list goes whole."""
    notebook = stored("02-order-lists")
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


def test_only_the_orders_of_the_run_are_cleaned_up() -> None:
    """What the dead run left behind goes; the orders that were there before it stay open, and no others do."""
    notebook = stored("03-cleanup-after-backtest")
    mess, gone, left = (
        set(re.findall(r"\b\d{7}\b", output(notebook, source)))
        for source in (
            "before = %open_orders BTCUSDT\nbefore",
            "gone = %cancel_all BTCUSDT --prefix run7-\ngone",
            "%open_orders BTCUSDT",
        )
    )
    assert (len(mess), len(gone), len(left)) == (9, 6, 3)
    assert mess == gone | left


def test_only_the_orders_of_one_bot_are_cleaned_up() -> None:
    """The list of the bot that goes on stays whole, and the chart draws what was canceled, and what was not."""
    notebook = stored("07-clean-up-after-a-bot")
    left, gone, rest = (
        set(re.findall(r"\b\d{7}\b", output(notebook, source)))
        for source in (
            "before = %open_orders BTCUSDT\nbefore",
            "gone = %cancel_all BTCUSDT --prefix grid-\ngone",
            "%open_orders BTCUSDT",
        )
    )
    assert (len(left), len(gone), len(rest)) == (12, 10, 2)
    assert left == gone | rest
    charts = [cell for cell in notebook.cells if cell.source.startswith("chart(")]
    assert [list(each.outputs[0].data) for each in charts] == [["image/png", "text/plain"]] * 2
    old = output(notebook, "run(hours=3)\n%cancel_all BTCUSDT --prefix grid- --older-than 50m --dry-run", "stream")
    assert "2 orders matching prefix 'grid-', older than 50 min would be canceled" in old


def test_what_is_said_when_things_go_wrong_is_true() -> None:
    """Beside what the exchange has on record, no outcome is wrong, and no order is missing."""
    notebook = stored("05-when-things-go-wrong")
    means = {"canceled": {"CANCELED"}, "open": {"NEW"}, "unknown": {"NEW", "CANCELED"}}
    said = []
    for cell in notebook.cells:
        for each in cell.get("outputs", []):
            text = each.get("data", {}).get("text/plain", "")
            if "really" in text:
                rows = re.findall(r"^\d +\w+ +\d+ +(\w+) +(\w+)", text, re.MULTILINE)
                assert len(rows) == 3, cell.id
                assert all(really in means[outcome] for outcome, really in rows), cell.id
                said.append(rows[0])
    assert said == [
        *[("canceled", "CANCELED")] * 3,
        ("unknown", "NEW"),
        ("open", "NEW"),
        *[("canceled", "CANCELED")] * 3,
    ]
