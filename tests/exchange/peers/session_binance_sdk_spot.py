"""A session of binance-sdk-spot, unmodified, connected as the README says; out goes what it saw.

Every answer has to fit the model that the SDK has for it, and to say nothing that the model does not know.
"""

from __future__ import annotations

import json
import logging
import os
import runpy
import sys
from pathlib import Path
from typing import Any

from binance_common.errors import BadRequestError  # type: ignore[import-not-found]

given = {name: os.environ[f"EXCHANGE_{name.upper()}"] for name in ("url", "api_key", "secret_key")}
client = runpy.run_path(os.environ["EXCHANGE_README"], given)["client"].rest_api
answers: list[Any] = []
client._session.hooks["response"].append(lambda response, **_: answers.append(response.json()))


class Strict(logging.Handler):
    """What the SDK warns of (an answer that fits no model is passed on as it came) is an error here."""

    def emit(self, record: logging.LogRecord) -> None:
        """Raise what would have been a line of the log."""
        raise AssertionError(record.getMessage())


logging.getLogger().addHandler(Strict())


def modeled(value: Any) -> Any:
    """Return what the SDK's models hold, as a document with the wire's names."""
    if isinstance(value, list):
        return [modeled(each) for each in value]
    if getattr(value, "actual_instance", None) is not None:  # one of several forms
        return modeled(value.actual_instance)
    if not hasattr(value, "model_fields_set"):
        return value
    fields = {field.alias or name: getattr(value, name) for name, field in type(value).model_fields.items()}
    return {name: modeled(each) for name, each in fields.items() if each not in (None, {})}


def ask(call: str, **params: Any) -> Any:
    """Make a call and return the model of its answer, once it is seen to hold all of it."""
    answer = getattr(client, call)(**params).data()
    assert modeled(answer) == answers[-1], f"{call}: {modeled(answer)} holds not all of {answers[-1]}"
    return answer


symbol = "BTCUSDT"
last = float(ask("ticker_price", symbol=symbol).actual_instance.price)


def at(share: float) -> str:
    """Return the price this far from the last one."""
    return str(round(last * (1 + share)))


def place(side: str, share: float) -> Any:
    """Place a limit order."""
    order = {"side": side, "type": "LIMIT", "time_in_force": "GTC", "quantity": "0.1", "price": at(share)}
    ask("order_test", symbol=symbol, **order, compute_commission_rates=True)
    return ask("new_order", symbol=symbol, **order)


def holding() -> float:
    """Return how much of the coin the account has."""
    (balance,) = (row for row in ask("get_account").balances if row.asset == "BTC")
    return float(balance.free) + float(balance.locked)


seen: dict[str, Any] = {"guard": Path(sys.modules["sitecustomize"].__file__ or "").parent.name}
for call in ("time", "ticker_price", "ticker24hr", "ticker_book_ticker", "exchange_info", "rate_limit_order"):
    ask(call)
for call in ("depth", "get_trades", "agg_trades", "historical_trades", "avg_price", "ticker", "ticker_trading_day"):
    ask(call, symbol=symbol)
for call in ("ui_klines", "account_commission", "my_filters"):
    ask(call, symbol=symbol, **({"interval": "1h"} if call == "ui_klines" else {}))
info = ask("exchange_info", symbol=symbol)
seen["filters"] = [each.actual_instance.filter_type for each in info.symbols[0].filters]
candles = ask("klines", symbol=symbol, interval="1m", limit=3)
seen["candles"] = [len(candles), float(candles[-1][4]) == last]
held = holding()
first, second = place("BUY", -0.05), place("SELL", 0.05)
seen["placed"] = [first.status, second.status]
seen["listed"] = [order.order_id for order in ask("get_open_orders", symbol=symbol)] == [
    first.order_id,
    second.order_id,
]
seen["queried"] = ask("get_order", symbol=symbol, order_id=first.order_id).price == first.price
seen["canceled"] = ask("delete_order", symbol=symbol, order_id=first.order_id).status
oco = ask(
    "order_list_oco",
    symbol=symbol,
    side="SELL",
    quantity="0.2",
    above_type="LIMIT_MAKER",
    above_price=at(0.06),
    below_type="STOP_LOSS_LIMIT",
    below_stop_price=at(-0.06),
    below_price=at(-0.062),
    below_time_in_force="GTC",
)
seen["oco"] = [oco.contingency_type, oco.list_order_status, len(oco.order_reports)]
ask("open_order_list")
# The SDK knows no order list in this answer: of a list its model keeps the id and the symbol.
client.delete_open_orders(symbol=symbol).data()
seen["rows"] = sorted("list" if "orderReports" in row else "order" for row in answers[-1])
try:
    client.delete_open_orders(symbol=symbol)
except BadRequestError as error:
    seen["nothing"] = [error.status_code, error.error_message]
ask("new_order", symbol=symbol, side="BUY", type="MARKET", quantity="0.01")
seen["trades"] = sum(float(trade.qty) for trade in ask("my_trades", symbol=symbol))
seen["bought"] = round(holding() - held, 8)
ask("all_orders", symbol=symbol)
ask("all_order_list")
seen["account"] = sorted(set(modeled(ask("get_account"))) & {"balances", "canTrade", "commissionRates", "uid"})
seen["left"] = ask("get_open_orders")
json.dump(seen, sys.stdout)
