"""Exchanges to rehearse on: an honest one, and a relay that changes what it says."""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any

import pytest
from support.server import answer

from nbext.credentials import Credential, Secret
from nbext.profiles import Endpoint
from nbext.rehearsal.hands import Hands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

    from nbext.exchange import LocalExchange

    Change = Callable[[Request, Any], Any]


@pytest.fixture
def custom(exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> LocalExchange:
    """Make an exchange with orders of somebody else's the profile `custom`, as another process would."""
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url)
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    return exchange


@pytest.fixture
def hands(exchange: LocalExchange) -> Iterator[Hands]:
    """Lay hands on an exchange with orders of somebody else's."""
    credential = Credential(Secret(exchange.api_key), Secret(exchange.secret_key))
    with Hands(Endpoint("custom", exchange.url, credential), "BTCUSDT") as hands:
        hands.look_around()
        yield hands


@pytest.fixture
def relay(
    custom: LocalExchange, serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> Callable[[Change], PlainServer]:
    """Put a relay before the exchange, which passes everything on and changes the answers."""

    def start(change: Change) -> PlainServer:
        def pass_on(request: Request) -> bytes:
            host = custom.url.removeprefix("http://")
            connection = http.client.HTTPConnection(host)
            connection.request(request.method, request.target, headers={**request.headers, "Host": host})
            got = connection.getresponse()
            body = got.read()
            connection.close()
            kept = {name: value for name, value in got.headers.items() if name.startswith("X-Mbx-Used")}
            return answer(change(request, json.loads(body)) if body else body, got.status, kept)

        server = serve(pass_on)
        monkeypatch.setenv("NBEXT_BASE_URL", server.url)
        return server

    return start
