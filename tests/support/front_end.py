"""What JupyterLab does with the channel of a panel: a subshell, a comm on it, and what is clicked."""

from __future__ import annotations

import time
import uuid
from queue import Empty
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class FrontEnd:
    """The page that shows the panel of a kernel which is at hand there as ``panel``.

    Parameters
    ----------
    client : BlockingKernelClient
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        reply = client.execute_interactive("", user_expressions={"it": "panel.address"}, timeout=60)
        self._address = reply["content"]["user_expressions"]["it"]["data"]["text/plain"].strip("'")
        client.control_channel.send(client.session.msg("create_subshell_request", {}))
        while (reply := client.get_control_msg(timeout=60))["msg_type"] != "create_subshell_reply":
            pass
        self._subshell, self._comm = reply["content"]["subshell_id"], uuid.uuid4().hex
        self._send("comm_open", target_name="nbext.panel", data={})

    def _send(self, kind: str, **content: Any) -> float:
        message = self._client.session.msg(kind, {"comm_id": self._comm, **content})
        message["header"]["subshell_id"] = self._subshell
        at = time.monotonic()
        self._client.shell_channel.send(message)
        return at

    def post(self, **message: Any) -> float:
        """Send what was clicked, and return when."""
        return self._send("comm_msg", data={"panel": self._address, "message": message})

    def until(self, fact: Callable[[Mapping[str, Any]], object], seconds: float = 30.0) -> Mapping[str, Any]:
        """Return the first state of a widget that the kernel sends and that is as wanted."""
        ends = time.monotonic() + seconds
        while time.monotonic() < ends:
            try:
                message = self._client.get_iopub_msg(timeout=1)
            except Empty:
                continue
            state = message["content"].get("data", {}).get("state") if message["msg_type"] == "comm_msg" else None
            if state is not None and fact(state):
                return dict(state)
        raise TimeoutError

    def ask(self) -> int:
        """Click what asks about everything, and return the number of the question."""
        self.post(do="ask", keys=[], everything=True)
        state = self.until(lambda state: state.get("status", {}).get("question"))
        return int(state["status"]["question"]["number"])

    def says(self, words: str) -> None:
        """Wait until the panel says something below its buttons."""
        self.until(lambda state: words in "\n".join(state.get("status", {}).get("notes", [])))
