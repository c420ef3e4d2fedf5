"""The panels' own channel to the kernel, on which a click need not wait for the cell that runs.

ipykernel takes what arrives for a widget to the shell that last sent something about it, in case somebody waits there:
as a rule, the one that runs cells. A comm that the front end opens, and that never sends, stays where the front end
puts it. JupyterLab puts the comms of each target on a subshell, which is a thread of its own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from comm import get_comm_manager
from comm.base_comm import BaseComm

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ipywidgets import Widget

TARGET = "nbext.panel"
"""The target of the comms that the script of a panel opens: one for all panels in a page."""

_panels: dict[str, Callable[[Mapping[str, Any]], object]] = {}


def listen(panel: Widget, address: str, take: Callable[[Mapping[str, Any]], object]) -> None:
    """Give a panel what is sent to its address and, where a front end opens no comms, to its widget."""
    panel.on_msg(lambda _panel, content, _buffers: take(content))
    _panels[address] = take
    get_comm_manager().register_target(TARGET, _open)


def stop_listening(address: str) -> None:
    """Drop what is sent to an address from now on."""
    _panels.pop(address, None)


class _Channel(BaseComm):
    """Passes messages on, without the events around the code of a user.

    Such events belong to cells: at their end, matplotlib closes figures, also those that a running cell still draws.

    Parameters
    ----------
    opened : BaseComm
        What the kernel made of it, which closes its counterpart in the front end when it goes.
    """

    def __init__(self, opened: BaseComm) -> None:
        super().__init__(comm_id=opened.comm_id, primary=False)
        self._opened = opened

    def publish_msg(self, *args: Any, **keys: Any) -> None:
        """Send nothing: ipykernel would take the answers to the shell that sent."""

    def handle_msg(self, msg: dict[str, Any]) -> None:
        """Take a message to the panel that it is for."""
        data = msg["content"]["data"]
        if (take := _panels.get(str(data.get("panel")))) is not None:
            take(data["message"])


def _open(opened: BaseComm, _: object) -> None:
    get_comm_manager().register_comm(_Channel(opened))
