"""A real JupyterLab, and a notebook to drive in a real Chromium."""

from __future__ import annotations

import importlib.util
import json
import os
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import nbformat
from support import screenshots

if TYPE_CHECKING:
    from collections.abc import Sequence

    from playwright.sync_api import Locator, Page

CHROMIUM = "/usr/bin/chromium"
ARGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
# The toolbar says "idle" for a moment before a session exists at all, and a run started then never ends.
IDLE = """(name) => {
  const widget = window.jupyterapp?.shell.currentWidget, session = widget?.sessionContext;
  return widget?.context?.path === name && session?.isReady && session.kernelDisplayStatus === 'idle';
}"""
CLOSE = """async () => {
  const widget = window.jupyterapp?.shell.currentWidget;
  if (!widget?.context) return;
  await widget.sessionContext.shutdown();
  widget.context.model.dirty = false;
  widget.close();
}"""
# evaluate() has no timeout of its own, hence the race.
COMMAND = """([name, args]) => Promise.race([
  window.jupyterapp.commands.execute(name, args).then(value => value !== false),
  new Promise((_, no) => setTimeout(() => no(new Error(name + ' timed out')), 60000))])"""
EXECUTE = """(code) => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
  .requestExecute({code, silent: false, store_history: false}).done.then(reply => reply.content.status)"""
EXPRESSION = """(code) => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel
  .requestExecute({code: '', silent: true, user_expressions: {it: code}}).done
  .then(reply => JSON.parse(reply.content.user_expressions.it.data['application/json'] ??
                            reply.content.user_expressions.it.data['text/plain']))"""
CONTRAST = """(element) => {
  const parse = text => (text.match(/[\\d.]+/g) ?? []).map(Number);
  const light = ([r, g, b]) => [r, g, b].map(v => v / 255)
    .map(v => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
    .reduce((sum, v, place) => sum + v * [0.2126, 0.7152, 0.0722][place], 0);
  let behind = element, ground = [0, 0, 0, 0];
  while (behind && (ground.length > 3 && ground[3] < 1)) {
    ground = parse(getComputedStyle(behind).backgroundColor);
    behind = behind.parentElement;
  }
  const [a, b] = [light(parse(getComputedStyle(element).color)), light(ground)].sort((x, y) => y - x);
  return (a + 0.05) / (b + 0.05);
}"""


def missing() -> str:
    """Return what a browser test needs and does not find here."""
    packages = [name for name in ("jupyterlab", "notebook", "playwright") if importlib.util.find_spec(name) is None]
    lacking = [*packages, *([] if Path(CHROMIUM).exists() else [CHROMIUM])]
    return f"no browser tests without {', '.join(lacking)}" if lacking else ""


LOAD = "import nbext\n%load_ext nbext"
SEED = "nbext.local().seed_orders();"
OPEN = "%cancel_panel BTCUSDT"
KEYS = {"BINANCE_API_KEY": "k" * 64, "BINANCE_API_SECRET": "s" * 64}


def expect(locator: Locator) -> Any:
    """Wait until a locator is as expected."""
    from playwright.sync_api import expect as wait

    return wait(locator)


def connect_to(url: str) -> str:
    """Write the code that makes another server the exchange."""
    return f"import os\nos.environ.update({json.dumps({'NBEXT_BASE_URL': url, **KEYS})})"


class Lab:
    """A running JupyterLab that shares no state with the user's own."""

    def __init__(self, home: Path) -> None:
        self.home, self.token = home, secrets.token_hex(16)
        config = home / ".config/labconfig"
        config.mkdir(parents=True)
        off = {"@jupyterlab/apputils-extension:announcements": True}  # a pop-up about news
        (config / "page_config.json").write_text(json.dumps({"disabledExtensions": off}))
        hidden = ("NBEXT_", "BINANCE_")
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(hidden) and not name.lower().endswith("_proxy")
        }
        own = {
            "HOME": home,
            "IPYTHONDIR": home / ".ipython",
            "XDG_CONFIG_HOME": home / ".xdg",
            "XDG_DATA_HOME": home / ".xdg",
            "JUPYTER_CONFIG_DIR": home / ".config",
            "JUPYTER_RUNTIME_DIR": home / ".runtime",
            "JUPYTER_DATA_DIR": home / ".data",
        }
        command = [
            sys.executable,
            *("-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1", "--ServerApp.port=0"),
            f"--ServerApp.root_dir={home}",
            f"--IdentityProvider.token={self.token}",
            "--LabApp.expose_app_in_browser=True",
            "--JupyterNotebookApp.expose_app_in_browser=True",
        ]
        with (home / ".lab.log").open("w") as output:
            self._process = subprocess.Popen(
                command, env={**kept, **{name: str(path) for name, path in own.items()}}, stdout=output, stderr=output
            )
        self.url = self._find_url()

    def _find_url(self, seconds: float = 60.0) -> str:
        """Read the port, which the system chose, where the server writes it."""
        facts, end = self.home / f".runtime/jpserver-{self._process.pid}.json", time.monotonic() + seconds
        while time.monotonic() < end and self._process.poll() is None:
            try:
                return str(json.loads(facts.read_text())["url"])
            except (OSError, ValueError):
                time.sleep(0.05)
        raise RuntimeError((self.home / ".lab.log").read_text())

    def close(self) -> None:
        """Stop the server, which stops its kernels."""
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(20)


class Notebook:
    """A notebook, open in a page."""

    def __init__(self, page: Page, lab: Lab, name: str) -> None:
        self.page, self.lab, self.name = page, lab, name
        self.path = lab.home / f"{name}.ipynb"

    def write(self, cells: Sequence[str]) -> None:
        """Write it to disk, with these code cells."""
        notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in cells])
        notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
        nbformat.write(notebook, self.path)

    def open(self, app: str = "lab", *, fresh: bool = False) -> None:
        """Open it in JupyterLab, or in Notebook 7 as ``notebooks``, and wait for its kernel."""
        from playwright.sync_api import TimeoutError as Late

        folder = "lab/tree" if app == "lab" else app
        for patience in (30_000, 60_000):
            if fresh or not self.page.url.startswith(f"{self.lab.url}{app}"):
                self.page.goto(f"{self.lab.url}{folder}/{self.path.name}?token={self.lab.token}&reset")
            else:
                self.command("docmanager:open", path=self.path.name)
            try:
                self.page.wait_for_function(IDLE, arg=self.path.name, timeout=patience)
            except Late:  # now and then a page of a busy machine never hears that its kernel is there
                fresh = True
            else:
                return
        raise RuntimeError(f"{self.path.name} has no idle kernel")

    def close(self) -> None:
        """Close what is open, unsaved as it is, and end its kernel."""
        self.page.evaluate(CLOSE)

    def command(self, name: str, **args: str) -> bool:
        """Execute a command of the application, wait for its end, and say whether it went well."""
        return bool(self.page.evaluate(COMMAND, [name, args]))

    def run(self, *cells: str, app: str = "lab", first: str = "") -> None:
        """Write, open and run it; every cell must go well. `first` runs unseen."""
        self.write(cells)
        self.open(app)
        assert not first or self.execute(first) == "ok"
        assert self.command("notebook:run-all-cells"), self.visible.inner_text()

    def execute(self, code: str) -> str:
        """Run code in its kernel as a cell would, and give the status of the reply."""
        return str(self.page.evaluate(EXECUTE, code))

    def value(self, expression: str) -> Any:
        """Return the value of an expression in its kernel: a number or a list of them."""
        return self.page.evaluate(EXPRESSION, expression)

    def text(self, expression: str) -> str:
        """Return the value of an expression in its kernel: a text."""
        codes = self.value(f"[ord(character) for character in {expression}]")
        return "".join(map(chr, codes))

    @property
    def visible(self) -> Locator:
        """The part of the page that shows the notebook."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    @property
    def panel(self) -> Locator:
        """The panel in it."""
        return self.visible.locator(".nbext-panel")

    def screenshot(self, what: str, of: Locator | None = None) -> None:
        """Keep a picture of what the page shows now, or of all of one element."""
        screenshots.keep(self.page, what, of)
