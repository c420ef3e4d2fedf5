"""One server and one browser for the whole run; each test has a notebook, a kernel and a page of its own.

Screenshots land in the folder that ``NBEXT_SCREENSHOTS`` names, or else in a temporary one; the run says where.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from driving import ARGS, CHROMIUM, Lab, Notebook, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, Page


@pytest.fixture(scope="session")
def chromium() -> str:
    """Name the browser; skip where something is missing, but fail on a machine that decides."""
    if reason := missing():
        if os.environ.get("CI") == "true":
            pytest.fail(reason)
        pytest.skip(reason)
    return CHROMIUM


@pytest.fixture(scope="session")
def lab(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:  # noqa: ARG001 - no lab without it
    """Start the one server of the run."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    yield lab
    lab.close()


@pytest.fixture(scope="session")
def browser(chromium: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Start the one browser of the run."""
    from playwright.sync_api import sync_playwright

    home = str(tmp_path_factory.mktemp("chromium"))
    with sync_playwright() as play:
        browser = play.chromium.launch(executable_path=chromium, args=ARGS, env={**os.environ, "HOME": home})
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def screenshots(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Path:
    """Name the folder for what the pages looked like."""
    named = os.environ.get("NBEXT_SCREENSHOTS")
    folder = Path(named) if named else tmp_path_factory.mktemp("screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    if reporter := request.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.write_line(f"screenshots: {folder}")
    return folder


@pytest.fixture(scope="session")
def page(lab: Lab, browser: Browser) -> Iterator[Page]:
    """Open the one page of the run. Every request that it makes stays on this machine."""
    page = browser.new_page(viewport={"width": 1280, "height": 1000})
    page.set_default_timeout(30_000)
    asked: list[str] = []
    page.on("request", lambda each: asked.append(each.url))
    yield page
    page.close()
    assert [url for url in asked if not url.startswith((lab.url, "data:", "blob:"))] == []


@pytest.fixture
def notebook(page: Page, lab: Lab, screenshots: Path, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """Give a notebook that is named after the test, with a kernel of its own."""
    notebook = Notebook(page, lab, screenshots, request.node.name.removeprefix("test_"))
    yield notebook
    notebook.close()
