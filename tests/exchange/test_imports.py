"""The exchange's imports point one way, those for type checkers included, which import-linter leaves out."""

from __future__ import annotations

import ast
from graphlib import TopologicalSorter
from pathlib import Path

from nbext import exchange

PACKAGE = Path(exchange.__file__).parent
# An order belongs to an account, and an account has orders: for types only.
KNOWN = ("nbext.exchange.engine.orders", "nbext.exchange.engine.accounts")


def module(path: Path) -> str:
    """Return the name of a module."""
    return ".".join(("nbext", "exchange", *path.relative_to(PACKAGE).with_suffix("").parts))


def test_no_modules_import_each_other() -> None:
    """No module imports itself in a circle, but for Order and Account."""
    modules = {module(path): path for path in PACKAGE.rglob("*.py") if path.name != "__init__.py"}
    graph: dict[str, set[str]] = {}
    for name, path in modules.items():
        found = graph.setdefault(name, set())
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module:
                found |= {node.module, *(f"{node.module}.{each.name}" for each in node.names)} & modules.keys()
    assert KNOWN[1] in graph[KNOWN[0]]
    graph[KNOWN[0]].discard(KNOWN[1])
    TopologicalSorter(graph).prepare()  # raises CycleError
