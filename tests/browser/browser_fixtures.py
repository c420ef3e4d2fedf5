"""One server and one browser for each worker of the run; each test has a notebook, a kernel and a page of its own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from driving import ARGS, CHROMIUM, Lab, Notebook, missing
from support import screenshots

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
def lab(
    chromium: str,  # noqa: ARG001 - no lab without it
    tmp_path_factory: pytest.TempPathFactory,
    request: pytest.FixtureRequest,
) -> Iterator[Lab]:
    """Start the one server of the run."""
    lab = Lab(tmp_path_factory.mktemp("lab"))
    if reporter := request.config.pluginmanager.get_plugin("terminalreporter"):
        reporter.write_line(f"screenshots: {screenshots.FOLDER}")
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
def notebook(page: Page, lab: Lab, request: pytest.FixtureRequest) -> Iterator[Notebook]:
    """Yield a notebook that is named after the test, with a kernel of its own."""
    notebook = Notebook(page, lab, request.node.name.removeprefix("test_"))
    yield notebook
    notebook.close()
