"""What clients ask for outside of /api when they start (rule: wallet-replies)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.exchange_client import Client

if TYPE_CHECKING:
    from nbext.exchange import LocalExchange


def test_coins_have_the_accounts_balances_and_no_network(client: Client) -> None:
    """Every coin of the account, with what it holds; nothing can be deposited or withdrawn."""
    coins = client.signed("GET", "/sapi/v1/capital/config/getall").body
    balances = client.signed("GET", "/api/v3/account").body["balances"]
    assert [(coin["coin"], coin["free"], coin["locked"]) for coin in coins] == [
        (balance["asset"], balance["free"], balance["locked"]) for balance in balances
    ]
    assert {(coin["depositAllEnable"], coin["withdrawAllEnable"], *coin["networkList"]) for coin in coins} == {
        (False, False)
    }


def test_fees_are_those_that_are_charged(client: Client, exchange: LocalExchange) -> None:
    """For every symbol, or for one."""
    exchange.set_commission(maker="0.001", taker="0.002")
    fees = client.signed("GET", "/sapi/v1/asset/tradeFee").body
    assert {fee["symbol"] for fee in fees} == {
        row["symbol"] for row in client.public("/api/v3/exchangeInfo").body["symbols"]
    }
    assert client.signed("GET", "/sapi/v1/asset/tradeFee", symbol="BTCUSDT").body == [
        {"symbol": "BTCUSDT", "makerCommission": "0.00100000", "takerCommission": "0.00200000"}
    ]
    assert client.public("/sapi/v1/asset/tradeFee").status == 400


def test_weights_are_those_of_the_official_sdk(client: Client) -> None:
    """As the sources of its Wallet and Margin clients say (rule: wallet-replies)."""
    weights = {
        "/sapi/v1/capital/config/getall": 10,
        "/sapi/v1/asset/tradeFee": 1,
        "/sapi/v1/margin/allPairs": 1,
        "/sapi/v1/margin/isolated/allPairs": 10,
        "/sapi/v1/system/status": 1,
        "/sapi/v1/account/apiRestrictions": 1,
        "/sapi/v1/spot/delist-schedule": 100,
    }
    used = 0
    for path, weight in weights.items():
        now_used = int(client.signed("GET", path).headers["X-MBX-USED-WEIGHT-1M"])
        assert now_used - used == weight, path
        used = now_used


def test_a_key_may_what_it_may(exchange: LocalExchange, client: Client) -> None:
    """It may read, and trade if it was made for that; nothing else is there to be allowed."""
    may = client.signed("GET", "/sapi/v1/account/apiRestrictions").body
    assert {name for name, allowed in may.items() if allowed} == {"enableReading", "enableSpotAndMarginTrading"}
    reader = exchange.add_key(trade=False)
    with Client(exchange.url, reader.api_key, reader.secret_key or "") as other:
        told = other.signed("GET", "/sapi/v1/account/apiRestrictions").body
        assert told == {**may, "enableSpotAndMarginTrading": False}
    assert client.public("/sapi/v1/account/apiRestrictions").status == 400


def test_the_system_is_up(client: Client) -> None:
    """It says so to whoever asks."""
    assert client.public("/sapi/v1/system/status").body == {"status": 0, "msg": "normal"}
    assert client.signed("GET", "/sapi/v1/system/status").body == {"status": 0, "msg": "normal"}


def test_there_is_no_margin_and_nothing_is_delisted(client: Client) -> None:
    """No pairs and no plans, asked with a signature or without."""
    for path in ("/sapi/v1/margin/allPairs", "/sapi/v1/margin/isolated/allPairs", "/sapi/v1/spot/delist-schedule"):
        assert client.public(path).body == []
        assert client.signed("GET", path).body == []
