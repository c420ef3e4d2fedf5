"""An exchange for each test, at its seeded start, and a client of its main account."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.exchange_client import Client

from nbext.exchange.testing import local_exchange, local_exchange_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange

__all__ = ["local_exchange", "local_exchange_server"]  # fixtures that these use


@pytest.fixture
def exchange(local_exchange: LocalExchange) -> LocalExchange:
    """Return the exchange of this test run at its seeded start. Tests that stop it start one of their own."""
    return local_exchange


@pytest.fixture
def client(exchange: LocalExchange) -> Iterator[Client]:
    """Connect to the exchange as its main account."""
    with Client(exchange.url, exchange.api_key, exchange.secret_key) as connected:
        yield connected
