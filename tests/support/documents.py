"""Bodies of answers: documented ones, and ones constructed from the documented rules."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

FIXTURES = Path(__file__).parent.parent / "fixtures"


def fixture_body(name: str) -> Any:
    """Load a documented body, or the body of a constructed one."""
    path = FIXTURES / f"{name}.json"
    if path.exists():
        return json.loads(path.read_text("utf-8"))
    return json.loads((FIXTURES / "constructed" / f"{name}.json").read_text("utf-8"))["body"]
