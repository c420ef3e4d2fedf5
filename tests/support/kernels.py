"""Real kernels that can be ended in every way, and an exchange in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from jupyter_client.manager import start_new_kernel

from support.exchange_client import Client, now, sign

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Served:
    """An exchange in another process, and its own record of what happened."""

    url: str
    api_key: str
    secret_key: str

    def ask(self, method: str, path: str, /, **params: object) -> Any:
        """Send a signed request on a connection of its own."""
        with Client(self.url, self.api_key, self.secret_key) as client:
            query = urlencode({"timestamp": now(), **params})
            return client.send(method, f"{path}?{query}&signature={sign(self.secret_key, query)}").body

    def place(self, symbol: str = "BTCUSDT", name: str = "") -> None:
        """Place an order that rests."""
        named = {"newClientOrderId": name} if name else {}
        order = {"side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.1", "price": "20000"}
        order |= {} if symbol == "BTCUSDT" else {"quantity": "1", "price": "1000"}
        answer = self.ask("POST", "/api/v3/order", symbol=symbol, **order, **named)
        assert "orderId" in answer, answer

    def open(self, symbol: str = "BTCUSDT") -> set[str]:
        """Return the client order ids of what is open."""
        return {order["clientOrderId"] for order in self.ask("GET", "/api/v3/openOrders", symbol=symbol)}

    def cancels(self, symbol: str = "BTCUSDT") -> list[dict[str, Any]]:
        """Return the requests that were to cancel something, as the exchange recorded them."""
        met: list[dict[str, Any]] = self.ask("GET", "/nbext/requests", method="DELETE", symbol=symbol)
        return met

    @property
    def environment(self) -> dict[str, str]:
        """The settings with which nbext goes there."""
        return {
            "NBEXT_BASE_URL": self.url,
            "BINANCE_API_KEY": self.api_key,
            "BINANCE_API_SECRET": self.secret_key,
        }


@contextmanager
def serving(*options: str) -> Iterator[Served]:
    """Run an exchange in a process of its own."""
    command = [sys.executable, "-m", "nbext.exchange", *options]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            greeting = json.loads(process.stdout.readline())
            yield Served(greeting["url"], greeting["apiKey"], greeting["secretKey"])
        finally:
            process.terminate()


class Kernel:
    """A kernel, and what it prints."""

    def __init__(self) -> None:
        self.manager: Any
        self.manager, self.client = start_new_kernel(kernel_name="python3")

    def run(self, code: str, *, fails: bool = False) -> str:
        """Run a cell that has to go well, unless it `fails`, and give what it printed."""
        printed: list[str] = []

        def listen(message: Any) -> None:
            content = message["content"]
            printed.append(content.get("text", "") or "\n".join(content.get("traceback", [])))

        reply = self.client.execute_interactive(code, timeout=60, output_hook=listen)
        assert (reply["content"]["status"] == "ok") is not fails, "".join(printed)
        return "".join(printed)

    def begin(self, code: str) -> None:
        """Send a cell, and wait for nothing."""
        self.client.execute(code)

    @property
    def pid(self) -> int:
        """The process."""
        return int(self.manager.provisioner.pid)

    def wait(self) -> None:
        """Wait until the process has ended."""
        process = self.manager.provisioner.process
        process.wait(20)

    def restart(self) -> None:
        """Restart it as a front end does."""
        self.manager.restart_kernel(now=False)
        self.client.wait_for_ready(timeout=60)

    def close(self) -> None:
        """End it."""
        self.client.stop_channels()
        if self.manager.has_kernel:
            self.manager.shutdown_kernel(now=True)


def soon(fact: Callable[[], object], seconds: float = 10.0) -> bool:
    """Wait until something is so."""
    ends = time.monotonic() + seconds
    while not (so := bool(fact())) and time.monotonic() < ends:
        time.sleep(0.02)
    return so
