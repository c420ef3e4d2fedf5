"""Fixtures as a plugin: a second conftest.py would hide the first one from tests that import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wire import Client

from nbext.exchange import LocalExchange

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange that ends with the test."""
    with LocalExchange() as started:
        yield started


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[Client]:
    """Connect to the exchange as its main account."""
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as connected:
        yield connected
