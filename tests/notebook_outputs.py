"""Store the notebooks' outputs: ``python tests/notebook_outputs.py [NAME ...]``.

Each is executed in a kernel and a folder of its own, without the caller's settings, and written where it stands. The
tests execute them the same way, and compare.
"""

from __future__ import annotations

import argparse
import difflib
import json
import os
import re
import struct
import tempfile
from base64 import b64decode
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from nbclient import NotebookClient

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbformat import NotebookNode

_FORMAT: Any = nbformat  # its functions have no types
NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
_SETTINGS = "BINANCE_", "NBEXT_", "IPYTHON", "JUPYTER", "MPL"
_STEADY = {  # what changes from run to run, and what is stored in its place
    r"127\.0\.0\.1:\d+": "127.0.0.1:8080",  # a port that was free
    r"as of \d\d:\d\d:\d\d": "as of 12:03:07",
    r"is \d{5} ms behind the exchange's(, [^;]*)?;": "is 90000 ms behind the exchange's;",
    r"is 14[34]\d{5} ms behind": "is 14400000 ms behind",
    r"is 21[56]\d{5} ms behind": "is 21600000 ms behind",
    r"clock offset  -?\d+ ms[^\"\\\\]*": "clock offset  0 ms",
    r"used weight   \d+": "used weight   21",
    r"key( +)\.\.\.(?!0001)\w{4} ": r"key\1...a1b2 ",
    r"(connected in|the first after|ok    latency     ) \d+ ms": r"\1 1 ms",
    r"ok    clock        [^\\]*": "ok    clock        in step with the exchange's",
    r"weight \d+ of": "weight 21 of",
    r"ok    journal      [^\\]*": "ok    journal      ~/.local/share/nbext/journal-2.sqlite3",
    r"ok    pandas       [^\\]*": "ok    pandas       3.1.1",
    r"ok    IPython      [^\\]*": "ok    IPython      9.18.1",
    r"ok    ipywidgets   [^\\]*": "ok    ipywidgets   8.1.9",
    r"process \d+ watches": "process 4711 watches",
    r"(run11-\*\).*) at \d\d:\d\d:\d\d": r"\1 at 12:03:07",
    r"Try again in 1\d s": "Try again in 11 s",
}
_WIDGET = "application/vnd.jupyter.widget-view+json"
"""Names a widget of a kernel that is gone; a reader would see an error in place of the text beside it."""


def execute(path: Path, folder: Path) -> NotebookNode:
    """Execute a notebook from top to bottom in an empty folder, as somebody who has just installed nbext.

    Returns
    -------
    NotebookNode
        With its outputs, and without what changes from run to run and says nothing: times, ports, the version of
        Python, and widgets, which live in a kernel only.
    """
    notebook: NotebookNode = _FORMAT.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as home:
        kept = {name: value for name, value in os.environ.items() if not name.startswith(_SETTINGS)}
        homes = dict.fromkeys(("HOME", "IPYTHONDIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), home)
        client = NotebookClient(
            notebook,
            kernel_name="python3",
            extra_arguments=["--IPKernelApp.log_level=ERROR"],
            resources={"metadata": {"path": str(folder)}},
            timeout=60,
            coalesce_streams=True,
            record_timing=False,
            store_widget_state=False,
        )
        client.execute(env=kept | homes | {"NBEXT_JOURNAL": str(Path(home, "journal")), "COLUMNS": "120"})
    notebook.metadata.language_info = {"name": "python"}
    for cell in notebook.cells:
        if cell.cell_type == "code":
            text = json.dumps(cell.outputs)
            for changing, steady in _STEADY.items():
                text = re.sub(changing, steady, text)
            cell.outputs = _FORMAT.from_dict(json.loads(text))
            for output in cell.outputs:
                output.get("data", {}).pop(_WIDGET, None)
            # Progress leaves nothing behind, but only where a cell took long enough to show any.
            cell.outputs = [output for output in cell.outputs if any(output.get("data", {"": "not data"}).values())]
    return notebook


def differences(stored: NotebookNode, fresh: NotebookNode) -> str:
    """Compare two executions of a notebook, cell by cell.

    Returns
    -------
    str
        A unified diff for each cell whose source or outputs differ; empty where there is none.
    """
    return "\n".join(
        line
        for one, other in zip(stored.cells, fresh.cells, strict=True)
        for line in difflib.unified_diff(
            list(_lines(one)), list(_lines(other)), f"{one.id}, stored", f"{other.id}, executed again", lineterm=""
        )
    )


def _lines(cell: NotebookNode) -> Iterator[str]:
    yield f"{cell.cell_type} [{cell.get('execution_count')}]"
    yield from cell.source.splitlines()
    for output in cell.get("outputs", []):
        if output.output_type == "error":  # each version of Python and IPython writes tracebacks its own way
            yield from ("error", f"{output.ename}: {output.evalue}")
            continue
        for mime, content in sorted(output.get("data", {output.get("name"): output.get("text")}).items()):
            yield f"{output.output_type} {mime}"
            if mime == "image/png":  # fonts are drawn a little differently everywhere
                yield "{} x {} pixels".format(*struct.unpack_from(">2I", b64decode(content), 16))
            else:
                yield from str(content).splitlines()


def main() -> None:
    """Execute the notebooks that are named, or all, and store their outputs."""
    parser = argparse.ArgumentParser(description="Execute notebooks, and store their outputs in them.")
    parser.add_argument("names", nargs="*", metavar="NAME", help="such as 01-quickstart; none means all")
    names = parser.parse_args().names or sorted(path.stem for path in NOTEBOOKS.glob("*.ipynb"))
    paths = [NOTEBOOKS / f"{name.removesuffix('.ipynb')}.ipynb" for name in names]
    if missing := [path.name for path in paths if not path.exists()]:
        parser.error(f"there is no {', '.join(missing)} in {NOTEBOOKS.name}")
    for path in paths:
        with tempfile.TemporaryDirectory() as folder:
            _FORMAT.write(execute(path, Path(folder)), path)
        print(path.name)  # noqa: T201 - a program prints


if __name__ == "__main__":
    main()
