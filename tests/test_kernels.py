"""Where notebooks are run: real kernels, restarted, and the programs that run notebooks without a page."""

from __future__ import annotations

import importlib.util
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
import pytest
from support.kernels import Kernel
from support.server import answer

from nbext import LocalExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

QUICKSTART = Path(__file__).parents[1] / "notebooks/01-quickstart.ipynb"

# jupyter_client leaves a socket of its event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """Start a kernel."""
    kernel = Kernel()
    yield kernel
    kernel.close()


def port_of(kernel: Kernel) -> int:
    """Return the port of the local exchange in a kernel."""
    return int(kernel.run("print(nbext.local().url)").rpartition(":")[2])


def test_a_kernel_restarts_with_the_exchange_in_it(kernel: Kernel) -> None:
    """Each time there is a new exchange with nothing of the old one, whose port is free again; nothing is printed."""
    work = "import nbext\n%load_ext nbext\nnbext.local().seed_orders()\nx = %cancel_all BTCUSDT"
    ports = []
    for _ in range(3):
        said = kernel.run(work)
        assert said.startswith("BTCUSDT: 13 orders canceled"), said
        ports.append(port_of(kernel))
        kernel.restart()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", ports[-1]), timeout=5)
    assert kernel.run("1").strip() == ""


def test_nothing_open_is_one_line(kernel: Kernel) -> None:
    """No empty output stands beside the line, and the frame is there all the same."""
    kernel.run("import nbext\n%load_ext nbext")
    for line in ("%cancel_all BTCUSDT", "%open_orders"):
        heard: list[Any] = []
        kernel.client.execute_interactive(line, timeout=60, output_hook=heard.append)
        assert [each["msg_type"] for each in heard if "data" in each["content"] or "text" in each["content"]] == [
            "stream"
        ]
        assert kernel.run("print(len(_), 'orderId' in _)") == "0 True\n"


def test_a_busy_kernel_restarts(kernel: Kernel) -> None:
    """An exchange with a market under way, a panel that refreshes itself and a guard do not hold a restart up."""
    kernel.run("import nbext\n%load_ext nbext\nnbext.local().seed_orders()\n%nbext_guard BTCUSDT --yes")
    kernel.run("panel = %cancel_panel BTCUSDT\npanel.auto_refresh = True\npanel.wait()")
    port = port_of(kernel)
    kernel.restart()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    assert "nothing was open" in kernel.run("%load_ext nbext\nx = %cancel_all BTCUSDT")


def test_an_interrupt_ends_every_magic_with_one_line(
    kernel: Kernel, serve: Callable[[Callable[[Request], bytes]], PlainServer]
) -> None:
    """Whatever it is reading."""
    reached = threading.Event()

    def respond(_: Request) -> bytes:
        reached.set()
        time.sleep(1.0)
        return answer([])

    def stop() -> None:
        reached.wait(20)
        time.sleep(0.1)
        os.kill(kernel.pid, signal.SIGINT)  # the manager would leave an event loop behind on this thread

    keys = {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
    kernel.run(f"import os; os.environ.update({ {'NBEXT_BASE_URL': serve(respond).url, **keys} })\n%load_ext nbext")
    for line in ("%nbext", "%nbext --doctor", "%open_orders BTCUSDT", "%nbext_guard BTCUSDT", "%cancel_all BTCUSDT"):
        reached.clear()
        heard: list[Any] = []
        stopper = threading.Thread(target=stop)
        stopper.start()
        kernel.client.execute_interactive(line, timeout=60, output_hook=heard.append)
        stopper.join()
        shown = ["\n".join(each["content"]["traceback"]) for each in heard if each["msg_type"] == "error"]
        assert [(said.partition(":")[0], said.count("\n")) for said in shown] == [("Interrupted", 0)], (line, shown)


def test_a_guard_with_a_prefix_takes_only_those_orders(kernel: Kernel) -> None:
    """When the kernel restarts, the orders of a run go, and what others placed stays."""
    with LocalExchange() as exchange:
        for number, name in enumerate(("run7-1", "mine-1", "run7-2")):
            price = str(50_000 + number)
            order = {"timeInForce": "GTC", "quantity": "0.1", "price": price, "newClientOrderId": name}
            exchange.place("BTCUSDT", "BUY", "LIMIT", **order)
        keys = {"BINANCE_API_KEY": exchange.api_key, "BINANCE_API_SECRET": exchange.secret_key}
        kernel.run(f"import os; os.environ.update({ {'NBEXT_BASE_URL': exchange.url, **keys} })")
        said = kernel.run("%load_ext nbext\n%nbext_guard BTCUSDT --prefix run7- --yes")
        assert "Open orders whose client order id starts with run7- are canceled when" in said
        assert exchange.requests("DELETE") == []
        kernel.restart()
        assert [order["clientOrderId"] for order in exchange.open_orders("BTCUSDT")] == ["mine-1"]


def outputs_of(path: Path) -> str:
    """Read the text that an executed notebook shows."""
    notebook: Any = nbformat.read(path, as_version=4)
    return "\n".join(output.get("text", "") for cell in notebook.cells for output in cell.get("outputs", []))


def test_jupyter_execute_runs_a_notebook(tmp_path: Path) -> None:
    """``jupyter execute`` does the main job, and says so in the notebook."""
    copy = tmp_path / "notebook.ipynb"
    copy.write_bytes(QUICKSTART.read_bytes())
    command = [sys.executable, "-m", "jupyter_core", "execute", "--inplace", str(copy)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stderr
    assert "BTCUSDT: 13 orders canceled (6 single, 1 OCO list, 2 OTO lists)" in outputs_of(copy)


@pytest.mark.skipif(importlib.util.find_spec("papermill") is None, reason="papermill is not installed")
def test_papermill_runs_a_notebook_with_a_parameter(tmp_path: Path) -> None:
    """A symbol comes in as a parameter; a live exchange that nobody can be asked about ends the run."""
    source, done = tmp_path / "in.ipynb", tmp_path / "out.ipynb"
    cells = [nbformat.v4.new_code_cell(code) for code in ("symbol = 'ETHUSDT'", "%load_ext nbext")]
    cells[0].metadata.tags = ["parameters"]
    cells.append(nbformat.v4.new_code_cell("import nbext\nnbext.local().seed_orders()\ndf = %cancel_all {symbol}"))
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec}), source)
    command = [sys.executable, "-m", "papermill", str(source), str(done), "-p", "symbol", "BTCUSDT"]
    run = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert run.returncode == 0, run.stderr
    assert "BTCUSDT: 13 orders canceled" in outputs_of(done)


def test_closed_panels_leave_a_kernel_as_it_was(kernel: Kernel) -> None:
    """Panels that are replaced, and then go with the extension, leave no widget, no thread and no open file behind."""
    kernel.run(
        "import nbext, os, threading, time, ipywidgets\n%load_ext nbext\nnbext.local().seed_orders()\n"
        "def held():\n"
        "    widgets = len(ipywidgets.Widget.get_manager_state()['state'])\n"
        "    return widgets, threading.active_count(), len(os.listdir('/dev/fd'))\n"
        "def cycle(number):\n"
        "    for _ in range(number):\n"
        "        panel = get_ipython().run_line_magic('cancel_panel', 'BTCUSDT')\n"
        "        panel.auto_refresh = True\n"
        "        panel.wait()\n"
        "    %unload_ext nbext\n"
        "    %load_ext nbext\n"
        "cycle(3)\nbefore = held()"
    )
    # Sockets and threads come and go, a few at a time; what each panel left behind would be there twenty times.
    held = "after = held()\nprint(all(a <= b + 5 for a, b in zip(after, before)) or (before, after), end='')"
    assert kernel.run(f"cycle(20)\n{held}") == "True"
