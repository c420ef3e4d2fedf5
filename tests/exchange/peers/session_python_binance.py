"""A session of python-binance, unmodified, connected as the README says; out goes what it saw."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from binance.exceptions import BinanceAPIException  # type: ignore[import-not-found]

given = {name: os.environ[f"EXCHANGE_{name.upper()}"] for name in ("url", "api_key", "secret_key")}
client = runpy.run_path(os.environ["EXCHANGE_README"], given)["client"]

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


def holding() -> float:
    """Return how much of the coin the account has."""
    return sum(float(client.get_asset_balance("BTC")[part]) for part in ("free", "locked"))


seen: dict[str, Any] = {"guard": Path(sys.modules["sitecustomize"].__file__ or "").parent.name}
seen["filters"] = [each["filterType"] for each in client.get_symbol_info(symbol)["filters"]]
candles = client.get_klines(symbol=symbol, interval="1m", limit=3)
seen["candles"] = [len(candles), float(candles[-1][4]) == last]
held = holding()
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
    seen["nothing"] = [error.code, error.message]
client.order_market_buy(symbol=symbol, quantity="0.01")
seen["trades"] = sum(float(trade["qty"]) for trade in client.get_my_trades(symbol=symbol))
seen["bought"] = round(holding() - held, 8)
seen["account"] = sorted(set(client.get_account()) & {"balances", "canTrade", "commissionRates", "uid"})
seen["left"] = client.get_open_orders()
json.dump(seen, sys.stdout)
