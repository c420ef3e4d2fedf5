"""The README keeps its word."""

from __future__ import annotations

import re
from pathlib import Path

from IPython.core.interactiveshell import InteractiveShell

import nbext
from nbext import errors
from nbext.magics import NBExt

README = (Path(__file__).parents[1] / "README.md").read_text("utf-8")


def test_every_magic_option_variable_and_error_is_documented() -> None:
    """What a reader can type or catch stands in the README."""
    for names in NBExt.magics.values():
        for name in names:
            assert f"%{name}" in README
    options = {option for action in vars(NBExt.cancel_all)["parser"]._actions for option in action.option_strings}
    for wanted in options | {name for name in vars(errors) if name.endswith("Error") and not name.startswith("_")} - {
        "NbextError"
    }:
        assert wanted in README, wanted
    sources = "".join(path.read_text("utf-8") for path in Path(nbext.__file__).parent.glob("*.py"))
    for variable in set(re.findall(r'"((?:NBEXT|BINANCE)_[A-Z_]+)"', sources)):
        assert variable in README, variable


def test_the_python_block_runs() -> None:
    """The Python in the README works as it stands."""
    InteractiveShell.clear_instance()
    blocks = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    assert blocks
    for block in blocks:
        exec(block, {})  # noqa: S102 - our own README
