"""The cell below ``%%cancel_all``: compiled before anything is asked or sent, then run."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING, Any

from IPython.core.error import UsageError
from IPython.display import display

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell


def compile_cell(shell: InteractiveShell, cell: str) -> tuple[Any, Any]:
    """Compile a cell into its statements and its last expression, whose value is shown.

    Raises
    ------
    SyntaxError
        The cell does not compile.
    UsageError
        The cell awaits at top level, which would run it elsewhere than in `run`.
    """
    source = shell.transform_cell(cell)
    if shell.should_run_async(cell, transformed_cell=source):
        raise UsageError("%%cancel_all cannot run a cell with a top-level await. Nothing was run and nothing was sent.")
    number = len(shell.user_ns.get("In", [""])) - 1  # the count of executions has already moved on
    name = shell.compile.cache(source, number, raw_code=cell)
    tree = shell.transform_ast(shell.compile.ast_parse(source, filename=name))
    shows = tree.body and isinstance(tree.body[-1], ast.Expr) and not source.rstrip().endswith(";")
    expression = ast.Expression(tree.body.pop().value) if shows else None
    flags = shell.compile.flags
    return compile(tree, name, "exec", flags), expression and compile(expression, name, "eval", flags)


def run(shell: InteractiveShell, code: tuple[Any, Any]) -> None:
    """Run a compiled cell."""
    __tracebackhide__ = True
    statements, expression = code
    exec(statements, shell.user_ns)
    if expression is not None and (value := eval(expression, shell.user_ns)) is not None:
        display(value)


def is_from_one(error: BaseException) -> bool:
    """Return whether an exception came out of a cell that `run` ran."""
    step = error.__traceback__
    while step is not None:
        if step.tb_frame.f_code is run.__code__:
            return True
        step = step.tb_next
    return False
