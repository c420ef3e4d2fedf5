"""pytest fixtures for other people's tests.

Opt in with one line in a ``conftest.py`` or a test module; nothing is loaded by itself::

    pytest_plugins = ["nbext.exchange.testing"]

and ask for ``local_exchange``::

    def test_my_strategy_leaves_nothing_open(local_exchange):
        run_strategy(local_exchange.url, local_exchange.api_key, local_exchange.secret_key)
        assert local_exchange.open_orders() == []

One exchange serves the whole test run (with pytest-xdist, one for each worker). Before each test it is back at its
seeded start: same prices, no orders, no faults, limits unused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from nbext.exchange import LocalExchange

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def local_exchange_server() -> Iterator[LocalExchange]:
    """Serve one exchange for the whole test run."""
    with LocalExchange() as exchange:
        yield exchange


@pytest.fixture
def local_exchange(local_exchange_server: LocalExchange) -> LocalExchange:
    """Return the exchange at its seeded start.

    Its ``url``, ``api_key`` and ``secret_key`` are for the client under test; `seed_orders`, `place`, `set_price` and
    `faults` set the scene; `open_orders`, `history` and `requests` show what really happened.
    """
    local_exchange_server.reset()
    return local_exchange_server
