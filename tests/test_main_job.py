"""The main job on the exchange that nbext brings along: what another client placed goes, and the frame says so."""

from __future__ import annotations

import hmac
import http.client
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

import pandas as pd
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from support.jobs import make_job

import nbext
from nbext import profiles
from nbext.exchange import LocalExchange

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange of its own for a test."""
    with LocalExchange() as exchange:
        yield exchange


def raw(exchange: LocalExchange, method: str, path: str, **params: str) -> Any:
    """Ask the exchange without any of our client: http.client, and HMAC by hand."""
    query = urlencode({**params, "timestamp": time.time_ns() // 1_000_000})
    signature = hmac.digest(exchange.secret_key.encode(), query.encode(), "sha256").hex()
    connection = http.client.HTTPConnection(exchange.url.removeprefix("http://"))
    connection.request(method, f"{path}?{query}&signature={signature}", headers={"X-MBX-APIKEY": exchange.api_key})
    answer = connection.getresponse()
    document = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, document
    return document


def place_thirty(exchange: LocalExchange) -> set[int]:
    """Place a mixture of 30 live orders on BTCUSDT, and give their ids."""
    ids: list[int] = []

    def order(**params: str) -> None:
        ids.append(raw(exchange, "POST", "/api/v3/order", symbol="BTCUSDT", **params)["orderId"])

    def order_list(kind: str, **params: str) -> None:
        placed = raw(exchange, "POST", f"/api/v3/orderList/{kind}", symbol="BTCUSDT", **params)
        ids.extend(leg["orderId"] for leg in placed["orders"])

    for n in range(8):
        order(side="BUY", type="LIMIT", timeInForce="GTC", quantity="0.01", price=f"{50_000 - n * 100}")
    for n in range(3):
        order(side="SELL", type="LIMIT_MAKER", quantity="0.01", price=f"{70_000 + n * 100}")
    order(side="SELL", type="LIMIT", timeInForce="GTC", quantity="0.1", price="71000", icebergQty="0.01")
    order(side="SELL", type="STOP_LOSS_LIMIT", timeInForce="GTC", quantity="0.01", price="49000", stopPrice="49500")
    order(side="SELL", type="STOP_LOSS", quantity="0.01", trailingDelta="500")
    oco = {"side": "SELL", "quantity": "0.01", "abovePrice": "72000", "belowStopPrice": "48000"}
    for _ in range(4):
        order_list("oco", aboveType="LIMIT_MAKER", belowType="STOP_LOSS", **oco)
    working = {"workingType": "LIMIT", "workingTimeInForce": "GTC", "workingSide": "BUY", "workingPrice": "47000"}
    pending = {"workingQuantity": "0.01", "pendingSide": "SELL", "pendingQuantity": "0.01"}
    order_list("oto", **working, **pending, pendingType="MARKET")
    for _ in range(2):
        order_list(
            "otoco",
            **working,
            **pending,
            pendingAboveType="LIMIT_MAKER",
            pendingAbovePrice="73000",
            pendingBelowType="STOP_LOSS",
            pendingBelowStopPrice="46000",
        )
    assert len(set(ids)) == len(ids) == 30
    return set(ids)


def test_every_live_leg_comes_back_once_and_nothing_else_goes(exchange: LocalExchange) -> None:
    """Thirty orders, lists among them, placed by another client: canceled, expanded, and ETHUSDT left alone."""
    client = nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key)
    placed = place_thirty(exchange)
    elsewhere = raw(
        exchange,
        "POST",
        "/api/v3/order",
        symbol="ETHUSDT",
        side="BUY",
        type="LIMIT",
        timeInForce="GTC",
        quantity="1",
        price="2000",
    )
    before = nbext.open_orders("BTCUSDT", client=client)
    assert set(before["orderId"]) == placed
    assert set(before["outcome"]) == {"open"}

    frame = nbext.cancel_all("BTCUSDT", client=client)
    assert sorted(frame["orderId"]) == sorted(placed)
    assert set(frame["outcome"]) == set(frame["status"].str.lower()) == {"canceled"}
    assert frame["contingencyType"].value_counts().to_dict() == {"OCO": 8, "OTO": 8}
    assert frame.loc[frame["orderListId"] == -1, "orderId"].size == 14
    assert frame["trailingDelta"].dropna().tolist() == [500]
    assert frame["icebergQty"].dropna().tolist() == [0.01]

    again = nbext.open_orders("BTCUSDT", client=client)
    assert again.empty
    assert nbext.open_orders(client=client)["orderId"].tolist() == [elsewhere["orderId"]]

    nothing = nbext.cancel_all("BTCUSDT", client=client)
    assert nothing.empty
    pd.testing.assert_series_equal(nothing.dtypes, frame.dtypes[list(nothing.columns)])
    assert list(nothing.columns) == list(frame.columns)[:24]
    client.close()


def test_all_means_every_symbol_with_open_orders(exchange: LocalExchange) -> None:
    """`all=True` finds the symbols by itself, and no symbol never means all."""
    exchange.seed_orders()
    client = nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key)
    with pytest.raises(nbext.ConfigurationError, match="no symbol"):
        nbext.cancel_all(client=client)
    seen = nbext.open_orders(client=client)
    frame = nbext.cancel_all(all=True, client=client)
    assert set(frame["symbol"]) == {"BTCUSDT", "ETHUSDT"}
    assert sorted(frame["orderId"]) == sorted(seen["orderId"])
    assert nbext.open_orders(client=client).empty
    assert nbext.cancel_all(all=True, client=client).empty
    client.close()


def test_what_had_traded_is_in_the_row_and_the_summary(exchange: LocalExchange) -> None:
    """A partly filled order is canceled with its fill on record."""
    exchange.seed_orders()
    client = nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key)
    said: list[str] = []
    frame = make_job(["BTCUSDT"], client=client, say=said.append).run(check=True)
    traded = frame[frame["executedQty"] > 0]
    assert traded[["executedQty", "origQty", "outcome"]].to_numpy().tolist() == [[0.4, 1.0, "canceled"]]
    assert "1 was partly filled (0.4 of 1.0)" in said[0]
    assert "nothing is listed as open" in said[1]
    client.close()


PRIVATE_KEYS: dict[str, rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey] = {
    "RSA": rsa.generate_private_key(public_exponent=65537, key_size=2048),
    "Ed25519": ed25519.Ed25519PrivateKey.generate(),
}


@pytest.mark.parametrize("passphrase", [None, "correct horse"])
@pytest.mark.parametrize("kind", PRIVATE_KEYS)
def test_rsa_and_ed25519_keys_cancel_too(
    exchange: LocalExchange, tmp_path: Path, kind: str, passphrase: str | None
) -> None:
    """A key of either kind, plain or encrypted, is read from its file and signs what the exchange verifies."""
    key = PRIVATE_KEYS[kind]
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    pem = tmp_path / "key.pem"
    pem.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    api_key = exchange.add_key(public_key=public).api_key
    with nbext.connect(base_url=exchange.url, api_key=api_key, private_key=str(pem), passphrase=passphrase) as client:
        assert client.key_kind == kind
        exchange.seed_orders()
        assert len(nbext.cancel_all("BTCUSDT", client=client)) == 13
        exchange.place("１２３４５６", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="0.1")
        assert nbext.cancel_all("１２３４５６", client=client)["symbol"].tolist() == ["１２３４５６"]


def test_mistakes_are_one_line_that_says_what_to_do(exchange: LocalExchange) -> None:
    """A wrong key, a wrong secret, an unknown symbol and an exchange that is gone each say what to believe."""
    good: dict[str, Any] = {"base_url": exchange.url, "api_key": exchange.api_key, "secret_key": exchange.secret_key}
    for change, code, said in (
        ({"api_key": "x" * 64}, -2015, "Check that the API key is for this host"),
        ({"api_key": "x y"}, None, "contains a blank"),
        ({"secret_key": "x" * 64}, -1022, "The secret key does not match this API key"),
    ):
        with pytest.raises((nbext.RejectedError, nbext.ConfigurationError)) as wrong:
            nbext.cancel_all("BTCUSDT", client=nbext.connect(**{**good, **change}))
        assert getattr(wrong.value, "code", None) == code
        assert said in str(wrong.value)
        assert "no orders were changed" in str(wrong.value) or "nothing was sent" in str(wrong.value)
        assert exchange.secret_key not in str(wrong.value)
    client = nbext.connect(**good)
    with pytest.raises(nbext.RejectedError, match=r"\(-1121 Invalid symbol\); no orders were changed\. Unknown symbol"):
        nbext.cancel_all("NOSUCH", client=client)
    exchange.seed_orders()
    assert len(nbext.cancel_all("btcusdt ", client=client)) == 13
    exchange.reset()
    exchange.seed_orders()
    assert len(nbext.cancel_all("BTC/USDT", client=client)) == 13
    exchange.stop()
    client.close()
    with pytest.raises(
        nbext.NotSentError, match="not sent, because the connection was refused; no orders were changed"
    ):
        nbext.cancel_all("BTCUSDT", client=client, yes=True)


def test_the_local_profile_needs_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """No key, no network, proxies set to nonsense, even live keys in the environment: local uses its own."""
    for name in ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://192.0.2.1:9")
    monkeypatch.setenv("BINANCE_API_KEY", "someone")
    monkeypatch.setenv("BINANCE_API_SECRET", "else")
    local = nbext.local()
    assert nbext.local() is local
    local.reset()
    local.seed_orders()
    assert len(nbext.cancel_all("BTCUSDT")) == 13
    assert not profiles.is_live(local.url)
    local.reset()


def test_an_order_that_filled_behind_the_preview_keeps_its_row(exchange: LocalExchange) -> None:
    """What was seen open and is not in the reply is looked up: its row says that it was filled."""
    from nbext.cancel import job as cancel

    client = nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key)
    filled = exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="55000")["orderId"]
    kept = exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")["orderId"]

    def ask(preview: pd.DataFrame, question: str) -> str:
        if len(preview) == 1:
            assert "all 1 open order on BTCUSDT" in question
            return "1"
        assert preview["orderId"].tolist() == [filled, kept]
        assert "all 2 open orders on BTCUSDT, worth 1,050 [custom" in question
        exchange.set_price("BTCUSDT", "54000")
        return "2"

    frame = cancel.perform(make_job(["BTCUSDT"], client=client), ask=ask, confirm="always")
    assert dict(zip(frame["orderId"], frame["outcome"], strict=True)) == {kept: "canceled", filled: "filled"}
    client.close()


def test_an_old_preview_is_made_again(exchange: LocalExchange) -> None:
    """A yes to what was open long ago is no yes to what is open now."""
    client = nbext.connect(base_url=exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key)
    exchange.seed_orders()
    asked: list[int] = []

    def ask(preview: pd.DataFrame, question: str) -> str:
        asked.append(len(preview))
        assert f"Type {len(preview)} to cancel" in question
        time.sleep(0.3 if len(asked) == 1 else 0)
        return str(len(preview))

    said: list[str] = []
    job = make_job(["BTCUSDT", "BNBUSDT"], client=client, say=said.append)
    job.obtain_consent(ask, preview_seconds=0.2)
    assert asked == [13, 13]
    assert said == ["The preview was too old; here is a new one."]
    unseen = exchange.place("BNBUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="300")["orderId"]
    assert len(job.run()) == 13
    assert nbext.open_orders("BNBUSDT", client=client)["orderId"].tolist() == [unseen]
    client.close()


def test_the_program_shows_the_main_job() -> None:
    """`python -m nbext` prints each input and output of the main job, and leaves the user's home alone."""
    child = subprocess.run([sys.executable, "-m", "nbext"], capture_output=True, text=True, check=True, timeout=60)
    prompts = [line for line in child.stdout.splitlines() if line.startswith("In [")]
    assert prompts[0] == "In [1]: %load_ext nbext"
    assert "In [5]: %cancel_all BTCUSDT" in prompts
    assert (
        "BTCUSDT: 13 orders canceled (6 single, 1 OCO list, 2 OTO lists), 1 was partly filled (0.4 of 1.0)"
        in child.stdout
    )
    assert "all symbols: 5 open orders (3 single, 1 OCO list) [local]" in child.stdout
    assert "all: symbol ETHUSDT, filled 0 %" in child.stdout
    assert child.stderr == ""


def test_the_readme_shows_what_the_program_prints() -> None:
    """The README's transcript is the program's own output, but for the port."""

    def settled(text: str) -> list[str]:
        return [re.sub(r"127\.0\.0\.1:\d+", "127.0.0.1:8080", line).strip() for line in text.splitlines()]

    readme = (Path(__file__).parents[1] / "README.md").read_text("utf-8")
    transcript = readme.split("```text\n")[1].split("```")[0]
    child = subprocess.run(
        [sys.executable, "-m", "nbext"],
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
        env={**os.environ, "COLUMNS": "100"},
    )
    assert set(settled(transcript)) <= set(settled(child.stdout))
