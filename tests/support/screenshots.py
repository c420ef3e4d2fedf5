"""Pictures of what the pages showed, kept for whoever reviews a change.

They land in ``.ci/screenshots``, or in the folder that ``NBEXT_SCREENSHOTS`` names. A name says what is seen and
in which state: ``panel-asking``, ``panel-dark``, ``frame-untrusted``.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Locator, Page

# Read on import: each test runs without the variables of the user.
FOLDER = Path(os.environ.get("NBEXT_SCREENSHOTS") or Path(__file__).parents[2] / ".ci" / "screenshots").absolute()


def keep(page: Page, name: str, of: Locator | None = None) -> Path:
    """Keep what a page shows now, or all of one element, however tall it is.

    Returns
    -------
    Path
        The picture, as PNG; a later one of the same name replaces it.
    """
    FOLDER.mkdir(parents=True, exist_ok=True)
    path = FOLDER / f"{name}.png"
    if of is None:
        page.screenshot(path=path)
        return path
    size, box = page.viewport_size, of.bounding_box()
    if size and box:  # an application scrolls a part of its page, and cuts off what is taller
        page.set_viewport_size({"width": size["width"], "height": max(size["height"], int(box["height"]) + 300)})
    of.scroll_into_view_if_needed()
    of.screenshot(path=path)
    if size:
        page.set_viewport_size(size)
    return path
