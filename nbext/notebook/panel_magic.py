"""``%cancel_panel``: open the panel. Loading it costs nothing; the toolkit comes with the first panel."""

from __future__ import annotations

from typing import TYPE_CHECKING

from IPython.core.error import UsageError
from IPython.core.magic import Magics, line_magic, magics_class
from IPython.core.magic_arguments import argument, magic_arguments, parse_argstring

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell

    from nbext.notebook.panel import CancelPanel


@magics_class
class PanelMagics(Magics):
    """The magic that opens a panel."""

    shell: InteractiveShell

    def __init__(self, shell: InteractiveShell) -> None:
        super().__init__(shell)
        self._panels: dict[str, CancelPanel] = {}

    @magic_arguments()
    @argument(
        "symbol", nargs="?", default="", metavar="SYMBOL", help="such as BTCUSDT; none means all with open orders"
    )
    @argument("--profile", metavar="P", help="local, testnet, demo, live, custom, or one from profiles.toml")
    @line_magic
    def cancel_panel(self, line: str) -> CancelPanel:
        """Open a panel with the open orders, and buttons that cancel them.

        Examples::

            %cancel_panel
            %cancel_panel BTCUSDT
        """
        words, _, _ = line.partition(" #")
        args = parse_argstring(self.cancel_panel, words.strip().removesuffix(";"))
        if args.profile is not None and not args.profile.strip():
            raise UsageError("--profile is blank; nothing was sent. Name one, or leave it out.")
        if type(self.shell).__name__ == "TerminalInteractiveShell":
            raise UsageError("%cancel_panel needs a notebook. Here, take %open_orders and %cancel_all.")
        from nbext.notebook.panel import CancelPanel

        if args.symbol in self._panels:  # a cell that is run again shows its new panel only
            self._panels.pop(args.symbol).close()
        panel = self._panels[args.symbol] = CancelPanel(
            args.symbol, profile=args.profile, confirm=lambda: self.shell.magics_manager.registry["NBExt"].confirm
        )
        return panel

    def close(self) -> None:
        """Take all panels away."""
        while self._panels:
            self._panels.popitem()[1].close()


def load(shell: InteractiveShell) -> None:
    """Register ``%cancel_panel``."""
    PanelMagics.cancel_panel.parser.allow_abbrev = False
    shell.register_magics(PanelMagics(shell))


def unload(shell: InteractiveShell) -> None:
    """Take ``%cancel_panel`` and all panels away."""
    magics = shell.magics_manager.registry.pop("PanelMagics", None)
    shell.magics_manager.magics["line"].pop("cancel_panel", None)
    if magics is not None:
        magics.close()
    if magics in shell.configurables:
        shell.configurables.remove(magics)
