"""A whole rehearsal: it holds against the practice exchange, fails against one that lies, and leaves nothing behind."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from nbext.rehearsal.hands import KINDS
from nbext.rehearsal.rehearse import rehearse

if TYPE_CHECKING:
    from pathlib import Path

    from nbext.exchange import LocalExchange


@pytest.fixture
def custom(exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> LocalExchange:
    """Make an exchange with orders of somebody else's the profile `custom`, as another process would."""
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url)
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    return exchange


def found(path: Path) -> dict[str, Any]:
    """Read what a rehearsal has written."""
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def test_every_claim_holds_and_nothing_is_left(tmp_path: Path) -> None:
    """On a fresh exchange every kind of order and every way to cancel is played, and all values agree."""
    import nbext

    lines: list[str] = []
    assert rehearse("local", None, tmp_path / "found.json", say=lines.append) == 0
    document = found(tmp_path / "found.json")
    assert all(claim["held"] and claim["compared"] > 0 for claim in document["claims"])
    assert sum(claim["compared"] for claim in document["claims"]) > 3000
    assert (document["not_played"], document["problem"], document["left_open"]) == ({}, "", [])
    assert nbext.local().open_orders() == []
    placed = {request["path"] for request in nbext.local().requests("POST")}
    assert placed == {"/api/v3/order", *(f"/api/v3/orderList/{kind.lower()}" for kind in KINDS if kind[0] == "O")}
    ways = [line.partition(":")[0] for line in lines]
    for way in ("cancel all", "nothing open", "wrong symbol", "filters", "a frame", "a list", "a leg", "clock off"):
        assert way in ways


def test_orders_of_others_stay(custom: LocalExchange, tmp_path: Path) -> None:
    """Where the symbol has some, a prefix stands in for the plain cancel-all, and that is said."""
    before = custom.open_orders()
    assert rehearse("custom", "BTCUSDT", tmp_path / "found.json", say=lambda _: None) == 0
    assert custom.open_orders() == before
    assert list(found(tmp_path / "found.json")["not_played"]) == ["plain cancel-all"]
    assert custom.requests("DELETE", "openOrders", "BTCUSDT") == []


def test_a_symbol_without_orders_of_others_is_chosen(custom: LocalExchange, tmp_path: Path) -> None:
    """So that the plain cancel-all can be played."""
    before = custom.open_orders()
    assert {row["symbol"] for row in before} == {"BTCUSDT", "ETHUSDT"}
    assert rehearse("custom", None, tmp_path / "found.json", say=lambda _: None) == 0
    assert found(tmp_path / "found.json")["symbol"] == "BNBUSDT"
    assert custom.open_orders() == before
