"""Every endpoint with whatever parameters: documented refusals, never an error of the exchange itself."""

from __future__ import annotations

import csv
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, given, settings
from support.exchange_client import Client, now, sign

from nbext.exchange import LocalExchange
from nbext.exchange.api.endpoints import ENDPOINTS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.exchange_client import Answer

    from nbext.exchange.api.endpoints import Endpoint

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
WORDS += ["STOP_ON_FAILURE", "ALLOW_FAILURE", "CANCEL_ONLY", "DECREMENT", "PRIMARY_PEG", "MARKET_PEG", "PRICE_LEVEL"]
WORDS += [
    "HALT",
    "TRADING",
    "MINI",
    "SPOT",
    '["SPOT","MARGIN"]',
    "１２３４５６",
    "btcusdt",
    "[",
    '[["BTCUSDT"]]',
    "null",
]
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
    "1700000000000000",
    "6000.3456",
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
    """Draw an endpoint with most of what it needs, some of what it takes, and sometimes a foreign parameter."""
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
            "Mode": ["STOP_ON_FAILURE", "ALLOW_FAILURE", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT"],
            "PriceType": ["PRIMARY_PEG", "MARKET_PEG"],
            "OffsetType": ["PRICE_LEVEL"],
            "OffsetValue": ["1", "10", "100"],
            "rderId": ["1", "5083001"],
        }.items():
            if name.endswith(ending):
                fit = st.sampled_from(choices)
    return str(draw(fit))


def documented_texts() -> dict[int, re.Pattern[str]]:
    """Read the error table: which texts may come with a code."""
    with (Path(__file__).parents[1] / "fixtures" / "ERRORS.csv").open(encoding="utf-8", newline="") as table:
        rows = {int(row["code"]): row["messages"].split(" | ") for row in csv.DictReader(table)}
    # -1013, -2010 and -2011 share one table of texts in errors.md.
    shared = rows[-1013] + rows[-2010] + rows[-2011]
    rows |= dict.fromkeys((-1013, -2010, -2011), shared)
    rows[-2013].append("Order list does not exist.")
    rows[-1128].append("Combination of optional parameters invalid. Recommendation: '%s' should also be sent.")
    return {
        code: re.compile("|".join(re.escape(text).replace("%s", ".+") for text in texts), re.DOTALL)
        for code, texts in rows.items()
    }


TEXTS = documented_texts()
LONG = "NBEXT_LONG_TESTS" in os.environ
MANY = settings(max_examples=10_000 if LONG else 400, deadline=None, suppress_health_check=list(HealthCheck))


def check(answer: Answer) -> None:
    """Check that an answer is a reply or a documented refusal."""
    assert answer.status in {200, 400, 401, 409}
    if answer.status != 200:
        code, text = answer.refusal
        assert TEXTS[code].fullmatch(text), (code, text)
        assert (answer.status == 409) == (code == -2021)
        assert (answer.status == 401) == (code in {-2014, -2015})


@pytest.mark.timeout(3600 if LONG else 120)
@MANY
@given(call=calls())
def test_no_call_is_an_error_of_the_exchange(lenient: Client, call: tuple[Endpoint, dict[str, str]]) -> None:
    """Whatever is sent, the answer is a reply or a documented refusal."""
    endpoint, params = call
    query = urlencode(params, errors="surrogatepass")
    if endpoint.is_signed:
        query = f"{query}&timestamp={now()}" if query else f"timestamp={now()}"
        query = f"{query}&signature={sign(lenient.secret_key, query)}"
    check(lenient.send(endpoint.method, f"{endpoint.path}?{query}"))


@pytest.mark.timeout(3600 if LONG else 120)
@MANY
@given(call=calls(), split=st.integers(0, 5), noise=st.binary(max_size=6), api_key=st.sampled_from(["", "x", "k" * 64]))
def test_no_bytes_are_an_error_of_the_exchange(
    lenient: Client, call: tuple[Endpoint, dict[str, str]], split: int, noise: bytes, api_key: str
) -> None:
    """Whatever bytes are sent in query and body, signed or not, the answer is a reply or a documented refusal."""
    endpoint, params = call
    pairs = urlencode({**params, "timestamp": now()}, errors="surrogatepass").split("&")
    query, body = "&".join(pairs[split:]), "&".join(pairs[:split])
    query += "".join(f"%{byte:02X}" if byte % 2 else chr(33 + byte % 90) for byte in noise).replace("#", "&")
    query += f"&signature={sign(lenient.secret_key, query + body)}"
    headers = {"X-MBX-APIKEY": api_key} if api_key else {}
    check(lenient.send(endpoint.method, f"{endpoint.path}?{query}", body or None, headers))


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda endpoint: f"{endpoint.method} {endpoint.path}")
def test_every_endpoint_names_what_is_missing(lenient: Client, endpoint: Endpoint) -> None:
    """Without parameters an endpoint answers, or says which one it needs; a foreign parameter is refused."""
    for params in ({}, {"foreign": "1"}):
        answer = lenient.signed(endpoint.method, endpoint.path, headers=None, **params)
        if not endpoint.is_signed:
            answer = lenient.public(endpoint.path, **params)
        check(answer)
        if params:
            assert answer.refusal[0] in {-1101, -1104}
        elif endpoint.mandatory:
            assert answer.refusal == (
                -1102,
                f"Mandatory parameter '{endpoint.mandatory[0]}' was not sent, was empty/null, or malformed.",
            )
        elif answer.status != 200:
            assert answer.refusal[0] == -1102
