"""Dialects: each field can be chosen, is explained, and makes the difference that it says."""

from __future__ import annotations

import re
import subprocess
import sys
from dataclasses import fields
from typing import Any

import pytest

from nbext.exchange import Dialect, LocalExchange

FIELDS = fields(Dialect)


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.name)
def test_every_value_is_a_choice(field: Any) -> None:
    """The default is the first of at least two values, each can be chosen, and nothing else can."""
    values = field.metadata["values"]
    assert field.default == values[0]
    assert len(set(values)) == len(values) >= 2
    for value in values:
        dialect = Dialect(**{field.name: value})
        assert dialect == Dialect.read([f"{field.name}={value}"])
        assert dialect.settings == ({} if value == field.default else {field.name: value})
    nonsense: dict[str, Any] = {field.name: "nonsense"}
    with pytest.raises(ValueError, match=f"^{field.name} must be one of {re.escape(repr(values[0]))}, "):
        Dialect(**nonsense)


def test_an_exchange_says_what_it_speaks() -> None:
    """A dialect is chosen at the start, changed by a reset, and back after the next."""
    first, second = Dialect(nothing_open="empty"), Dialect(row_order="shuffled")
    exchange = LocalExchange(dialect=first)
    assert exchange.dialect == first
    exchange.reset(dialect=second)
    assert exchange.dialect == second
    exchange.reset()
    assert exchange.dialect == first


@pytest.mark.parametrize(
    ("setting", "says"),
    [
        ("tongue=forked", "write a dialect as NAME=VALUE, with NAME one of"),
        ("nothing_open=0", "nothing_open must be one of"),
    ],
)
def test_a_program_refuses_what_is_no_dialect(setting: str, says: str) -> None:
    """The command line names the valid choices."""
    command = [sys.executable, "-m", "nbext.exchange", "--dialect", setting]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert says in done.stderr
