"""A realistic mixture of open orders on two symbols."""

from __future__ import annotations

from decimal import Decimal
from typing import Protocol


class Exchange(Protocol):
    """What seeding needs of a `LocalExchange`."""

    def last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade."""

    def place(self, symbol: str, side: str, type: str, *, account: str = "main", **params: object) -> object:
        """Place an order."""

    def place_list(self, kind: str, symbol: str, *, account: str = "main", **params: object) -> object:
        """Place an order list."""


def seed_orders(exchange: Exchange) -> None:
    """Place the mixture around the last price: about 12 orders on BTCUSDT, 5 on ETHUSDT."""
    _seed_btc(exchange)
    _seed_eth(exchange)


class _Ruler:
    """Prices of one symbol as distances from its last price."""

    def __init__(self, exchange: Exchange, symbol: str) -> None:
        self._last = exchange.last_price(symbol)

    def at(self, share: str) -> str:
        """Return the price this far from the last one, in whole units."""
        return str((self._last * (1 + Decimal(share))).quantize(Decimal(1)))


def _seed_btc(exchange: Exchange) -> None:
    symbol = "BTCUSDT"
    at = _Ruler(exchange, symbol).at
    gtc = {"timeInForce": "GTC"}

    # Partly filled, really traded: 0.4 of 1.0. The counterparty sells into the best bid.
    bid = str(exchange.last_price(symbol))
    exchange.place(symbol, "BUY", "LIMIT", quantity="1.0", price=bid, **gtc)
    exchange.place(symbol, "SELL", "LIMIT", account="market", quantity="0.4", price=bid, timeInForce="IOC")

    exchange.place(symbol, "BUY", "LIMIT", quantity="0.05", price=at("-0.02"), **gtc)
    exchange.place(symbol, "SELL", "LIMIT", quantity="0.08", price=at("0.03"), **gtc)
    exchange.place(symbol, "BUY", "LIMIT", quantity="2", icebergQty="0.25", price=at("-0.035"), **gtc)
    exchange.place(symbol, "SELL", "STOP_LOSS", quantity="0.3", trailingDelta=500)
    exchange.place(symbol, "SELL", "STOP_LOSS_LIMIT", quantity="0.2", price=at("-0.062"), stopPrice=at("-0.06"), **gtc)
    exchange.place_list(
        "oco",
        symbol,
        side="SELL",
        quantity="0.5",
        aboveType="LIMIT_MAKER",
        abovePrice=at("0.06"),
        belowType="STOP_LOSS_LIMIT",
        belowStopPrice=at("-0.05"),
        belowPrice=at("-0.052"),
        belowTimeInForce="GTC",
    )
    exchange.place_list(
        "oto",
        symbol,
        workingType="LIMIT",
        workingSide="BUY",
        workingTimeInForce="GTC",
        workingPrice=at("-0.045"),
        workingQuantity="0.1",
        pendingType="LIMIT",
        pendingSide="SELL",
        pendingTimeInForce="GTC",
        pendingPrice=at("0.045"),
        pendingQuantity="0.1",
    )
    exchange.place_list(
        "otoco",
        symbol,
        workingType="LIMIT",
        workingSide="BUY",
        workingTimeInForce="GTC",
        workingPrice=at("-0.07"),
        workingQuantity="0.25",
        pendingSide="SELL",
        pendingQuantity="0.25",
        pendingAboveType="TAKE_PROFIT_LIMIT",
        pendingAboveStopPrice=at("0.08"),
        pendingAbovePrice=at("0.079"),
        pendingAboveTimeInForce="GTC",
        pendingBelowType="STOP_LOSS",
        pendingBelowStopPrice=at("-0.12"),
    )


def _seed_eth(exchange: Exchange) -> None:
    symbol = "ETHUSDT"
    at = _Ruler(exchange, symbol).at
    gtc = {"timeInForce": "GTC"}
    exchange.place(symbol, "BUY", "LIMIT", quantity="1.5", price=at("-0.02"), **gtc)
    exchange.place(symbol, "SELL", "LIMIT", quantity="3", icebergQty="0.5", price=at("0.03"), **gtc)
    exchange.place(symbol, "BUY", "TAKE_PROFIT", quantity="0.8", stopPrice=at("-0.05"))
    exchange.place_list(
        "oco",
        symbol,
        side="BUY",
        quantity="2",
        aboveType="STOP_LOSS_LIMIT",
        aboveStopPrice=at("0.05"),
        abovePrice=at("0.052"),
        aboveTimeInForce="GTC",
        belowType="LIMIT_MAKER",
        belowPrice=at("-0.06"),
    )
