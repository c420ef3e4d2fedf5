"""A session of python-binance, unmodified. Endpoint and keys come through the environment; out goes what it saw."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from binance.client import Client  # type: ignore[import-not-found]
from binance.exceptions import BinanceAPIException  # type: ignore[import-not-found]

# The documented way to another endpoint: the class attribute, before the first client is made.
Client.API_URL = os.environ["EXCHANGE_URL"] + "/api"
client = Client(os.environ["EXCHANGE_API_KEY"], os.environ["EXCHANGE_SECRET_KEY"])

symbol = "BTCUSDT"
last = float(client.get_symbol_ticker(symbol=symbol)["price"])


def at(share: float) -> str:
    """Return the price this far from the last one."""
    return str(round(last * (1 + share)))


def place(side: str, share: float) -> dict[str, Any]:
    """Place a limit order."""
    order: dict[str, Any] = client.create_order(
        symbol=symbol, side=side, type="LIMIT", timeInForce="GTC", quantity="0.1", price=at(share), recvWindow=5000
    )
    return order


seen: dict[str, Any] = {"guard": Path(sys.modules["sitecustomize"].__file__ or "").parent.name}
seen["filters"] = [each["filterType"] for each in client.get_symbol_info(symbol)["filters"]]
first, second = place("BUY", -0.05), place("SELL", 0.05)
seen["placed"] = [first["status"], second["status"]]
seen["listed"] = [order["orderId"] for order in client.get_open_orders(symbol=symbol)] == [
    first["orderId"],
    second["orderId"],
]
seen["queried"] = client.get_order(symbol=symbol, orderId=first["orderId"])["price"] == first["price"]
seen["canceled"] = client.cancel_order(symbol=symbol, orderId=first["orderId"])["status"]
oco = client.create_oco_order(
    symbol=symbol,
    side="SELL",
    quantity="0.2",
    aboveType="LIMIT_MAKER",
    abovePrice=at(0.06),
    belowType="STOP_LOSS_LIMIT",
    belowStopPrice=at(-0.06),
    belowPrice=at(-0.062),
    belowTimeInForce="GTC",
)
seen["oco"] = [oco["contingencyType"], oco["listOrderStatus"], len(oco["orderReports"])]
seen["rows"] = sorted(
    "list" if "orderReports" in row else "order" for row in client.cancel_all_open_orders(symbol=symbol)
)
try:
    client.cancel_all_open_orders(symbol=symbol)
except BinanceAPIException as error:
    seen["nothing"] = [error.status_code, error.code, error.message]
client.order_market_buy(symbol=symbol, quantity="0.01")
seen["trades"] = sum(float(trade["qty"]) for trade in client.get_my_trades(symbol=symbol))
seen["account"] = sorted(set(client.get_account()) & {"balances", "canTrade", "commissionRates", "uid"})
seen["left"] = client.get_open_orders()
json.dump(seen, sys.stdout)
