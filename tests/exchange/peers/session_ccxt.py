"""A session of ccxt, unmodified, connected as the README says; out goes what it saw."""

from __future__ import annotations

import json
import os
import runpy
import sys
from pathlib import Path
from typing import Any

import ccxt  # type: ignore[import-not-found]

given = {name: os.environ[f"EXCHANGE_{name.upper()}"] for name in ("url", "api_key", "secret_key")}
client = runpy.run_path(os.environ["EXCHANGE_README"], given)["client"]

symbol = "BTC/USDT"
markets = client.load_markets()
last = client.fetch_ticker(symbol)["last"]


def at(share: float) -> float:
    """Return the price this far from the last one."""
    return float(round(last * (1 + share)))


def place(side: str, share: float) -> dict[str, Any]:
    """Place a limit order."""
    order: dict[str, Any] = client.create_order(symbol, "limit", side, 0.1, at(share))
    return order


def holding() -> float:
    """Return how much of the coin the account has."""
    return float(client.fetch_balance()["BTC"]["total"])


seen: dict[str, Any] = {"guard": Path(sys.modules["sitecustomize"].__file__ or "").parent.name}
seen["filters"] = [each["filterType"] for each in markets[symbol]["info"]["filters"]]
candles = client.fetch_ohlcv(symbol, "1m", limit=3)
seen["candles"] = [len(candles), candles[-1][4] == last]
held = holding()
first, second = place("buy", -0.05), place("sell", 0.05)
seen["placed"] = [order["info"]["status"] for order in (first, second)]
seen["listed"] = [order["id"] for order in client.fetch_open_orders(symbol)] == [first["id"], second["id"]]
seen["queried"] = client.fetch_order(first["id"], symbol)["price"] == first["price"]
seen["canceled"] = client.cancel_order(first["id"], symbol)["info"]["status"]
# ccxt has no OCO of its own for spot: the endpoint goes by its name.
above, stop, below = (client.price_to_precision(symbol, at(share)) for share in (0.06, -0.06, -0.062))
oco = client.private_post_orderlist_oco(
    {
        "symbol": client.market_id(symbol),
        "side": "SELL",
        "quantity": "0.2",
        "aboveType": "LIMIT_MAKER",
        "abovePrice": above,
        "belowType": "STOP_LOSS_LIMIT",
        "belowStopPrice": stop,
        "belowPrice": below,
        "belowTimeInForce": "GTC",
    }
)
seen["oco"] = [oco["contingencyType"], oco["listOrderStatus"], len(oco["orderReports"])]
seen["rows"] = sorted("list" if "orderReports" in row["info"] else "order" for row in client.cancel_all_orders(symbol))
try:
    client.cancel_all_orders(symbol)
except ccxt.OrderNotFound as error:
    answer = json.loads(str(error).removeprefix("binance "))
    seen["nothing"] = [answer["code"], answer["msg"]]
client.create_order(symbol, "market", "buy", 0.01)
seen["trades"] = sum(trade["amount"] for trade in client.fetch_my_trades(symbol))
seen["bought"] = round(holding() - held, 8)
seen["account"] = sorted(set(client.fetch_balance()["info"]) & {"balances", "canTrade", "commissionRates", "uid"})
seen["left"] = client.fetch_open_orders(symbol)
assert client.fetch_trading_fee(symbol)["taker"] is not None  # from /sapi
json.dump(seen, sys.stdout)
