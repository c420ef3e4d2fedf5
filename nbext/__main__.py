"""``python -m nbext``: the main job, in a real IPython shell, on the built-in practice exchange.

``python -m nbext doctor [--profile P]`` checks everything that a cancel needs instead, and cancels nothing.
``python -m nbext rehearse [--profile P]`` plays all that nbext does against a practice exchange, and compares.
"""

from __future__ import annotations

import argparse
import sys
import tempfile

from IPython.terminal.interactiveshell import TerminalInteractiveShell
from traitlets.config import Config

from nbext import doctor
from nbext.rehearsal.rehearse import rehearse
from nbext.untrusted import encodable, printable

_DOCTOR = "check everything that a cancel needs; cancels nothing"
_REHEARSE = "play all that nbext does against testnet, demo or a local exchange, and compare with its records"

CELLS = (
    "%load_ext nbext",
    "import nbext\nexchange = nbext.local()\nexchange.seed_orders()",
    "%open_orders BTCUSDT",
    "%cancel_all BTCUSDT --dry-run",
    "%cancel_all BTCUSDT",
    "%open_orders",
)


def main() -> int:
    """Run each cell, printing what goes in and what comes out; or the doctor, or a rehearsal.

    Returns
    -------
    int
        0 if everything succeeded, otherwise 1; of a rehearsal that could not be played, 2.
    """
    parser = argparse.ArgumentParser(
        "python -m nbext",
        description="Without a command: the main job in a real IPython shell, on the built-in practice exchange.",
    )
    commands = parser.add_subparsers(dest="command")
    checking = commands.add_parser("doctor", help=_DOCTOR, description=_DOCTOR)
    checking.add_argument("--profile", metavar="P", help="the profile to check (default: the one in use)")
    rehearsing = commands.add_parser("rehearse", help=_REHEARSE, description=_REHEARSE)
    rehearsing.add_argument("--profile", metavar="P", help="testnet, demo, local, or one of your own; never a live one")
    rehearsing.add_argument("--symbol", metavar="S", help="the symbol to play on (default: one without open orders)")
    rehearsing.add_argument(
        "--file", metavar="F", default="rehearsal.json", help="where to write what was found (default: rehearsal.json)"
    )
    arguments = parser.parse_args()
    if arguments.command == "rehearse":
        return rehearse(arguments.profile, arguments.symbol, arguments.file)
    return _examine(arguments.profile) if arguments.command == "doctor" else _show()


def _examine(profile: str | None) -> int:
    checks = []
    for check in doctor.examine(profile):
        print(encodable(printable(str(check))), flush=True)
        checks.append(check)
    print(encodable(printable(doctor.summary(checks))))
    return int("fail" in {check.state for check in checks})


def _show() -> int:
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
