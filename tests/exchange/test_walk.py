"""Markets that move by themselves, and a second process that moves them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import Client

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from nbext.exchange import LocalExchange

SYMBOL = "BTCUSDT"


def until(happens: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something is so."""
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.02)


@pytest.fixture
def walking() -> Iterator[Client]:
    """Start an exchange of its own with a market that walks, and connect to it."""
    command = [sys.executable, "-m", "nbext.exchange", "--walk", SYMBOL, "--walk", "ETHUSDT"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert process.stdout
    greeting = json.loads(process.stdout.readline())
    with Client(greeting["url"], greeting["apiKey"], greeting["secretKey"]) as client:
        yield client
    process.terminate()
    assert process.wait(20) == 0
    process.stdout.close()


def price(client: Client, symbol: str = SYMBOL) -> Decimal:
    """Return the last price."""
    return Decimal(client.public("/api/v3/ticker/price", symbol=symbol).body["price"])


def test_a_served_market_walks_by_itself(walking: Client) -> None:
    """The prices of the symbols named change without a request that changes them, and others stand still."""
    first = {symbol: price(walking, symbol) for symbol in (SYMBOL, "ETHUSDT", "BNBUSDT")}
    until(lambda: price(walking) != first[SYMBOL] and price(walking, "ETHUSDT") != first["ETHUSDT"])
    assert price(walking, "BNBUSDT") == first["BNBUSDT"]
    unknown = subprocess.run(
        [sys.executable, "-m", "nbext.exchange", "--walk", "NOPE"], capture_output=True, text=True, check=False
    )
    assert (unknown.returncode, unknown.stdout) == (2, "")


def test_orders_fill_and_stops_trigger_meanwhile(client: Client, exchange: LocalExchange) -> None:
    """A limit order close to the price, and a stop on the other side, are filled while nobody asks for it."""
    last = price(client)
    client.limit("BUY", last - 5, selfTradePreventionMode="NONE")
    stop: dict[str, Any] = {"symbol": SYMBOL, "side": "BUY", "type": "STOP_LOSS", "quantity": "0.1"}
    assert client.signed("POST", "/api/v3/order", **stop, stopPrice=last + 5).status == 200
    exchange.start_market(SYMBOL, every=0.05, swing=0.01, realtime=True)
    until(lambda: exchange.open_orders(SYMBOL) == [])
    rows = client.signed("GET", "/api/v3/allOrders", symbol=SYMBOL).body
    assert [row["status"] for row in rows] == ["FILLED", "FILLED"]
    assert exchange.history(rows[0]["orderId"], SYMBOL)[-1]["by"] == "the market"
    exchange.stop_market(SYMBOL)
    stands = price(client)
    time.sleep(0.3)
    assert price(client) == stands


def test_without_realtime_it_moves_with_advance_only(client: Client, exchange: LocalExchange) -> None:
    """As long as nobody moves the clock, the price stands."""
    exchange.start_market(SYMBOL, every=0.05, swing=0.01)
    before = price(client)
    time.sleep(0.3)
    assert price(client) == before
    exchange.advance(1)
    assert price(client) != before


def test_a_halted_market_misses_its_steps(client: Client, exchange: LocalExchange) -> None:
    """Nothing trades, nothing breaks, and it goes on afterwards."""
    exchange.start_market(SYMBOL, every=0.05, swing=0.01, realtime=True)
    exchange.set_status(SYMBOL, "HALT")
    before = price(client)
    time.sleep(0.3)
    assert price(client) == before
    exchange.set_status(SYMBOL, "TRADING")
    until(lambda: price(client) != before)


def test_a_second_process_moves_the_market(client: Client, exchange: LocalExchange) -> None:
    """It sets a price, starts and stops a walk, and moves the clock, with the same checks as in Python."""
    assert client.signed("POST", "/nbext/price", symbol=SYMBOL, price="61000").body["price"] == "61000"
    assert price(client) == 61_000
    started = client.signed("POST", "/nbext/market", symbol=SYMBOL, every="0.05", swing="0.01", realtime="true")
    assert started.status == 200
    until(lambda: price(client) != 61_000)
    assert client.signed("DELETE", "/nbext/market", symbol=SYMBOL).status == 200
    before = client.public("/api/v3/time").body["serverTime"]
    assert client.signed("POST", "/nbext/advance", seconds="60").body["serverTime"] >= before + 60_000
    assert exchange.last_price(SYMBOL) == price(client)


@pytest.mark.parametrize(
    ("method", "path", "params"),
    [
        ("POST", "price", {"symbol": SYMBOL, "price": "0.001"}),
        ("POST", "price", {"symbol": "NOPE", "price": "1"}),
        ("POST", "price", {"symbol": SYMBOL}),
        ("POST", "market", {"symbol": SYMBOL, "every": "0"}),
        ("POST", "market", {"symbol": SYMBOL, "swing": "2"}),
        ("POST", "market", {"symbol": SYMBOL, "realtime": "yes"}),
        ("POST", "advance", {"seconds": "-1"}),
        ("DELETE", "market", {}),
    ],
)
def test_moves_that_make_no_sense_are_refused(client: Client, method: str, path: str, params: dict[str, str]) -> None:
    """With a code, and nothing moves."""
    before = price(client)
    answer = client.signed(method, f"/nbext/{path}", headers=None, **params)
    assert answer.status == 400
    assert answer.refusal[0] < 0
    assert price(client) == before


def test_nobody_else_moves_the_market(client: Client, exchange: LocalExchange) -> None:
    """No move without the main account's key."""
    for method, path in (("POST", "price"), ("POST", "market"), ("DELETE", "market"), ("POST", "advance")):
        assert client.send(method, f"/nbext/{path}").refusal[0] == -1102
    key = exchange.add_key(account="other")
    with Client(exchange.url, key.api_key, key.secret_key or "") as other:
        assert other.signed("POST", "/nbext/price", symbol=SYMBOL, price="1").refusal[0] == -2015
        assert other.signed("POST", "/nbext/advance", seconds="1").refusal[0] == -2015
