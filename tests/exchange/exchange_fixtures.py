"""Fixtures as a plugin: a second conftest.py would hide the first one from tests that import it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from wire import Client

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange

pytest_plugins = ["nbext.exchange.testing"]


@pytest.fixture
def exchange(local_exchange: LocalExchange) -> LocalExchange:
    """Give the exchange of this test run, as it was at its start. Tests that stop it start one of their own."""
    return local_exchange


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[Client]:
    """Connect to the exchange as its main account."""
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as connected:
        yield connected
