"""``python -m nbext``: the main job, in a real IPython shell, on the built-in practice exchange."""

from __future__ import annotations

import sys
import tempfile

from IPython.terminal.interactiveshell import TerminalInteractiveShell
from traitlets.config import Config

CELLS = (
    "%load_ext nbext",
    "import nbext\nexchange = nbext.local()\nexchange.seed_orders()",
    "%open_orders BTCUSDT",
    "%cancel_all BTCUSDT --dry-run",
    "%cancel_all BTCUSDT",
    "%open_orders",
)


def main() -> int:
    """Run each cell, printing what goes in and what comes out.

    Returns
    -------
    int
        0 if every cell succeeded, otherwise 1.
    """
    if len(sys.argv) > 1:
        print(f"{__doc__}\n\nIt takes no arguments.", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="nbext-") as folder:
        # A shell of its own: the user's profile, start-up files and history are neither read nor written.
        config = Config({"HistoryManager": {"enabled": False}, "TerminalInteractiveShell": {"colors": "NoColor"}})
        shell = TerminalInteractiveShell.instance(config=config, ipython_dir=folder)
        for cell in CELLS:
            prompt = f"In [{shell.execution_count}]: "
            print(prompt + cell.replace("\n", "\n" + "...: ".rjust(len(prompt))), flush=True)
            if not shell.run_cell(cell, store_history=True).success:
                return 1
            print(flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
