"""Every endpoint with whatever parameters: documented refusals, never an error of the exchange itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from wire import Client, now, sign

from nbext.exchange import LocalExchange
from nbext.exchange.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange.endpoints import Endpoint

WORDS = [
    "BTCUSDT",
    "ETHBTC",
    "NOSUCH",
    '["BTCUSDT"]',
    "[]",
    "BUY",
    "SELL",
    "LIMIT",
    "MARKET",
    "STOP_LOSS",
    "LIMIT_MAKER",
]
WORDS += ["TAKE_PROFIT_LIMIT", "GTC", "IOC", "FOK", "true", "false", "FULL", "ACK", "NONE", "mine", "ONLY_NEW"]
NUMBERS = [
    "0",
    "1",
    "0.1",
    "100",
    "59000",
    "61000",
    "1000000",
    "0.00000001",
    "9999999999",
    "1e9",
    "-1",
    "9" * 20,
    "9" * 21,
]
values = st.one_of(st.sampled_from(WORDS), st.sampled_from(NUMBERS), st.text(max_size=8))


@pytest.fixture(scope="module")
def lenient() -> Iterator[Client]:
    """Start an exchange without rate limits; an error in it fails the module at the end."""
    with LocalExchange(weight_limit=10**9, order_limits=(10**9, 10**9)) as exchange:
        exchange.seed_orders()
        with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
            yield client


@st.composite
def calls(draw: st.DrawFn) -> tuple[Endpoint, dict[str, str]]:
    """Draw an endpoint with most of what it needs, some of what it takes, and now and then a stranger."""
    endpoint = draw(st.sampled_from(ENDPOINTS))
    names = {name for name in endpoint.mandatory if draw(st.integers(0, 9))}
    if endpoint.readers:
        names |= draw(st.sets(st.sampled_from(sorted(endpoint.readers)), max_size=4))
    if not draw(st.integers(0, 9)):
        names.add(draw(st.text(min_size=1, max_size=5)))
    return endpoint, {name: fitting(draw, name) for name in sorted(names)}


def fitting(draw: st.DrawFn, name: str) -> str:
    """Draw a value, most often one that fits the name."""
    fit: Any = values
    if draw(st.integers(0, 3)):
        for ending, choices in {
            "symbol": ["BTCUSDT"],
            "ide": ["BUY", "SELL"],
            "ype": ["LIMIT", "MARKET", "STOP_LOSS", "TAKE_PROFIT", "LIMIT_MAKER", "STOP_LOSS_LIMIT"],
            "InForce": ["GTC", "IOC"],
            "rice": ["58000", "60000", "62000"],
            "uantity": ["0.1", "1"],
        }.items():
            if name.endswith(ending):
                fit = st.sampled_from(choices)
    return str(draw(fit))


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(call=calls())
def test_no_call_is_an_error_of_the_exchange(lenient: Client, call: tuple[Endpoint, dict[str, str]]) -> None:
    """Whatever is sent, the answer is a reply or a documented refusal."""
    endpoint, params = call
    query = urlencode(params, errors="surrogatepass")
    if endpoint.is_signed:
        query = f"{query}&timestamp={now()}" if query else f"timestamp={now()}"
        query = f"{query}&signature={sign(lenient.secret_key, query)}"
    answer = lenient.send(endpoint.method, f"{endpoint.path}?{query}")
    assert answer.status in {200, 400}
    if answer.status != 200:
        code, text = answer.refusal
        assert -2100 < code <= -1000
        assert text
