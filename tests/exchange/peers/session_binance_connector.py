"""A session of binance-connector, unmodified, connected as the README says; out goes what it saw."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from binance.error import ClientError  # type: ignore[import-not-found]

given = {name: os.environ[f"EXCHANGE_{name.upper()}"] for name in ("url", "api_key", "secret_key")}
client = runpy.run_path(os.environ["EXCHANGE_README"], given)["client"]

symbol = "BTCUSDT"
last = float(client.ticker_price(symbol)["price"])


def at(share: float) -> str:
    """Return the price this far from the last one."""
    return str(round(last * (1 + share)))


def place(side: str, share: float) -> dict[str, Any]:
    """Place a limit order."""
    order: dict[str, Any] = client.new_order(
        symbol, side, "LIMIT", timeInForce="GTC", quantity="0.1", price=at(share), recvWindow=5000
    )
    return order


def holding() -> float:
    """Return how much of the coin the account has."""
    (balance,) = (row for row in client.account()["balances"] if row["asset"] == "BTC")
    return float(balance["free"]) + float(balance["locked"])


seen: dict[str, Any] = {"guard": Path(sys.modules["sitecustomize"].__file__ or "").parent.name}
seen["filters"] = [each["filterType"] for each in client.exchange_info(symbol)["symbols"][0]["filters"]]
candles = client.klines(symbol, "1m", limit=3)
seen["candles"] = [len(candles), float(candles[-1][4]) == last]
held = holding()
first, second = place("BUY", -0.05), place("SELL", 0.05)
seen["placed"] = [first["status"], second["status"]]
seen["listed"] = [order["orderId"] for order in client.get_open_orders(symbol)] == [first["orderId"], second["orderId"]]
seen["queried"] = client.get_order(symbol, orderId=first["orderId"])["price"] == first["price"]
seen["canceled"] = client.cancel_order(symbol, orderId=first["orderId"])["status"]
oco = client.new_oco_order(
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
seen["rows"] = sorted("list" if "orderReports" in row else "order" for row in client.cancel_open_orders(symbol))
try:
    client.cancel_open_orders(symbol)
except ClientError as error:
    seen["nothing"] = [error.error_code, error.error_message]
client.new_order(symbol, "BUY", "MARKET", quantity="0.01")
seen["trades"] = sum(float(trade["qty"]) for trade in client.my_trades(symbol))
seen["bought"] = round(holding() - held, 8)
seen["account"] = sorted(set(client.account()) & {"balances", "canTrade", "commissionRates", "uid"})
seen["left"] = client.get_open_orders()
json.dump(seen, sys.stdout)
