"""What the first cancel needs is there before it is needed, and nothing is imported while a cell runs."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from support.kernels import Kernel, serving, soon
from support.networking import TLSServer
from support.server import PlainServer, Request, answer

from nbext.entries import Intent
from nbext.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    Serve = Callable[[Callable[[Request], bytes | Iterable[bytes]]], PlainServer]

# jupyter_client leaves a socket of its event loop to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::pytest.PytestUnraisableExceptionWarning")

IS_DONE = "from nbext.notebook.preloading import preloader; print(preloader.done.is_set())"
COUNT_PATTERNS = """
import re
compiled, compiles = [], re._compiler.compile
re._compiler.compile = lambda pattern, flags: compiled.append(pattern) or compiles(pattern, flags)
"""
FORKS = """
import os, sys, time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%load_ext nbext")
# The thread has begun with pandas, which takes longer than anything else.
while "pandas" not in sys.modules:
    time.sleep(0.001)
child = os.fork()
if child == 0:
    import pandas
    os._exit(7)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.fixture
def kernel() -> Iterator[Kernel]:
    """Start a kernel."""
    kernel = Kernel()
    yield kernel
    kernel.close()


def test_the_first_cancel_imports_and_compiles_nothing_and_no_host_is_asked(kernel: Kernel) -> None:
    """Between loading and the first cancel everything comes in; the exchange hears of it with the DELETE."""
    with serving() as exchange:
        exchange.place()
        settings = {**exchange.environment, "NBEXT_JOURNAL": "off"}
        kernel.run(f"import os; os.environ.update({settings!r})")
        kernel.run("%load_ext nbext")
        assert soon(lambda: kernel.run(IS_DONE).strip() == "True")
        heard = exchange.ask("GET", "/nbext/requests")
        assert {each["path"] for each in heard} == {"/api/v3/order"}
        kernel.run("import sys; before = set(sys.modules)")
        kernel.run(COUNT_PATTERNS)
        kernel.run("%cancel_all BTCUSDT --yes")
        assert kernel.run("print(compiled)").strip() == "[]"
        new = json.loads(kernel.run("import json; print(json.dumps(sorted(set(sys.modules) - before)))"))
        assert [each for each in new if not each.startswith("pyarrow.")] == []
        assert len(exchange.cancels()) == 1


def test_a_cell_has_the_kernel_to_itself(kernel: Kernel) -> None:
    """While a cell runs nothing is imported, however long it takes; afterwards it goes on."""
    kernel.begin("%load_ext nbext")
    kernel.begin("import sys, time; n = len(sys.modules); time.sleep(1)")
    assert kernel.run("print(len(sys.modules) - n, 'pandas' in sys.modules)").split()[1] == "False"
    assert soon(lambda: kernel.run(IS_DONE).strip() == "True")


def test_no_cell_meets_a_half_imported_module(kernel: Kernel, tmp_path: Path) -> None:
    """Importing a part of a package that a thread imports fails in Python: the cell begins when the module is there."""
    begun = tmp_path / "begun"
    (tmp_path / "pyarrow").mkdir()  # in place of the one that is imported
    slow = f"import pathlib, time\npathlib.Path({str(begun)!r}).touch()\ntime.sleep(1)\nwhole = True\n"
    (tmp_path / "pyarrow/__init__.py").write_text(slow, "utf-8")
    kernel.run(f"import sys\nsys.path.insert(0, {str(tmp_path)!r})\nimport nbext\n%load_ext nbext")
    assert soon(begun.exists, 20)
    assert kernel.run("print(hasattr(sys.modules['pyarrow'], 'whole'))") == "True\n"


SLOW = """
import os, pathlib, sys, time
class Slow:
    def find_spec(name, path=None, target=None):
        if name == {module!r}:
            pathlib.Path({begun!r}).touch()
            time.sleep(4)
sys.meta_path.insert(0, Slow)
os.environ.update({settings!r})
"""


@pytest.mark.parametrize("module", ["pandas.core.api", "nbext.exchange.engine.matching"])
def test_a_cancel_does_not_wait_for_what_only_its_table_needs(
    kernel: Kernel, serve: Serve, tmp_path: Path, module: str
) -> None:
    """While the thread imports what builds tables, or the exchange, the DELETE of a cancel leaves at once."""
    server = serve(lambda _: answer([]))
    begun = tmp_path / "begun"
    settings = {"NBEXT_BASE_URL": server.url, "BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
    kernel.run(SLOW.format(module=module, begun=str(begun), settings=settings))
    kernel.run("%load_ext nbext")
    assert soon(begun.exists, 20)
    entered = time.monotonic()
    assert "nothing was open" in kernel.run("df = %cancel_all BTCUSDT --yes")
    (request,) = server.requests
    assert request.at - entered < 2.5
    assert kernel.run("print(len(df.columns))") == "24\n"
    assert soon(lambda: kernel.run(IS_DONE).strip() == "True")


def test_what_is_set_in_between_counts(kernel: Kernel, serve: Serve) -> None:
    """The key of a cancel is that of its moment, whatever was there when the extension was loaded."""
    server = serve(lambda _: answer([]))
    kernel.run("%env BINANCE_API_KEY=" + "early" * 12)
    kernel.run("%env BINANCE_API_SECRET=" + "s" * 64)
    kernel.run(f"%env NBEXT_BASE_URL={server.url}")
    kernel.run("%load_ext nbext")
    assert soon(lambda: kernel.run(IS_DONE).strip() == "True")
    kernel.run("%env BINANCE_API_KEY=" + "later" * 12)
    kernel.run("%cancel_all BTCUSDT --yes")
    assert [request.headers["X-MBX-APIKEY"] for request in server.requests] == ["later" * 12]


def test_certificates_are_read_before_the_first_cancel(kernel: Kernel, tmp_path: Path) -> None:
    """Reading all that a system trusts takes longer than a cancel; nobody is connected to for it."""
    server = TLSServer(lambda _: answer([]), tmp_path)
    settings = {"NBEXT_BASE_URL": server.url, "BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}
    settings["REQUESTS_CA_BUNDLE"] = str(server.certificate)
    kernel.run(f"import os; os.environ.update({settings!r})")
    kernel.run("%load_ext nbext")
    assert soon(lambda: kernel.run(IS_DONE).strip() == "True")
    assert server.connections == 0
    server.certificate.unlink()
    assert "nothing was open" in kernel.run("df = %cancel_all BTCUSDT --yes")
    assert (server.connections, len(server.requests)) == (1, 1)
    server.close()


def test_the_journal_is_open_before_the_first_cancel(kernel: Kernel, tmp_path: Path) -> None:
    """One that is there is opened ahead, and none is made."""
    missing, there = tmp_path / "missing", tmp_path / "there"
    assert Journal(there).intend([Intent("id", "call", 0, 0, "p", "h", "DELETE", "/", {})]) == ""
    held = "import os; print(any(os.path.realpath(f'/proc/self/fd/{n}') == PATH for n in os.listdir('/proc/self/fd')))"
    for path, is_open in (missing, "False"), (there, "True"):
        kernel.run(f"PATH = {str(path)!r}\n%env NBEXT_JOURNAL={path}")
        kernel.run("%load_ext nbext")
        assert soon(lambda: kernel.run(IS_DONE).strip() == "True")
        assert kernel.run(held).strip() == is_open
        kernel.run("%unload_ext nbext")
    assert not missing.exists()


def test_unloading_ends_it(kernel: Kernel) -> None:
    """Nothing is imported for an extension that is gone."""
    kernel.run("%load_ext nbext\n%unload_ext nbext")
    kernel.run("import time; time.sleep(0.3)")
    assert kernel.run("import sys; print('pandas' in sys.modules)").strip() == "False"
    kernel.run("%load_ext nbext")
    kernel.run("%unload_ext nbext\n%load_ext nbext")
    assert soon(lambda: kernel.run(IS_DONE).strip() == "True")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no fork")
@pytest.mark.parametrize("attempt", range(3))
def test_a_child_that_is_forked_meanwhile_can_import(attempt: int) -> None:
    """A child gets a whole interpreter, not one that waits for a thread it does not have."""
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", FORKS], stdout=subprocess.PIPE, text=True, timeout=60, check=False
    )
    assert done.stdout.split() == ["7"], attempt
