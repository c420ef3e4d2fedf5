"""The rules of the frame, written out here so that a change of them is seen, and how to check a frame by them."""

from __future__ import annotations

import json
import math
import re
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from nbext import orders as rows
from nbext.frames import build as frames
from support.documents import FIXTURES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

IDS = {"orderId", "orderListId", "trailingDelta", "strategyId", "strategyType", "preventedMatchId", "tradeGroupId"}
IDS |= {"pegOffsetValue"}
NUMBERS = {"price", "stopPrice", "origQty", "executedQty", "cummulativeQuoteQty", "origQuoteOrderQty", "icebergQty"}
NUMBERS |= {"preventedQuantity", "peggedPrice"}
TIMES = {"transactTime", "transactionTime", "time", "updateTime", "workingTime", "trailingTime"}
FLAGS = {"isWorking", "usedSor"}
NONE_AT_ZERO = {"price", "stopPrice", "origQty", "origQuoteOrderQty", "icebergQty"}
COLUMNS = [
    *("symbol", "orderId", "orderListId", "contingencyType", "side", "type", "timeInForce", "price", "stopPrice"),
    *("origQty", "executedQty", "cummulativeQuoteQty", "origQuoteOrderQty", "icebergQty", "status"),
    *("origClientOrderId", "clientOrderId", "listClientOrderId", "listStatusType", "listOrderStatus", "transactTime"),
    *("transactionTime", "selfTradePreventionMode", "outcome"),
]
CONDITIONAL = [
    *("time", "updateTime", "isWorking", "workingTime", "trailingDelta", "trailingTime", "strategyId", "strategyType"),
    *("preventedMatchId", "preventedQuantity", "tradeGroupId", "pegPriceType", "pegOffsetType", "pegOffsetValue"),
    *("peggedPrice", "usedSor", "workingFloor", "expiryReason"),
]
TEXTS = {*COLUMNS, *CONDITIONAL} - IDS - NUMBERS - TIMES - FLAGS
CANCELS = sorted(
    path.stem
    for path in FIXTURES.rglob("*.json")
    if re.search(r"cancel_all_|cancel_order_l|ws_cancel_order_leg", path.stem)
)
OPENS = sorted(
    path.stem
    for path in FIXTURES.rglob("*.json")
    if path.stem.endswith(("open_orders", "orders_mixed", "open_orders_result"))
    and "cancel" not in path.stem
    and "error" not in path.stem
)


def build(reports: Iterable[Mapping[str, Any]], **arguments: Any) -> pd.DataFrame:
    """Make the frame of a cancel's answer."""
    return frames.frame(rows.from_reports(reports), **arguments)


def dtype_of(name: str, *, exact: bool = False) -> str:
    """Return the dtype that a documented column has to have."""
    if name in NUMBERS:
        return "object" if exact else "float64"
    return "Int64" if name in IDS else "datetime64[ms, UTC]" if name in TIMES else "boolean" if name in FLAGS else "str"


def require_columns(table: pd.DataFrame, *, exact: bool = False) -> None:
    """Check columns, their order, dtypes and index."""
    assert list(table.columns[:24]) == COLUMNS
    rest = list(table.columns[24:])
    documented = [name for name in rest if name in CONDITIONAL]
    assert documented == [name for name in CONDITIONAL if name in rest]
    assert rest[: len(documented)] == documented
    assert table.columns.is_unique
    for name in [*COLUMNS, *documented]:
        assert str(table[name].dtype) == dtype_of(name, exact=exact), name
    assert isinstance(table.index, pd.RangeIndex)
    assert frames.is_frame(table)
    json.dumps(table.attrs)


def flattened(reports: Iterable[Mapping[str, Any]]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any] | None]]:
    """Yield each order with its list, in the order sent; what is reported in a list and again by itself, once."""
    told = []
    for report in reports:
        for leg in report.get("orderReports", [report]):
            ids = [leg.get(name) for name in ("symbol", "orderId", "origClientOrderId")]
            if None not in ids and ids in told:
                continue
            told.append(ids)
            yield leg, report if "orderReports" in report else None


def same(cell: Any, value: Any) -> bool:
    """Whether a cell holds a JSON value, type and all."""
    if isinstance(value, bool):
        return isinstance(cell, bool | np.bool_) and bool(cell) is value
    if isinstance(value, int):
        return isinstance(cell, int | np.integer) and not isinstance(cell, bool) and int(cell) == value
    return type(cell) is type(value) and bool(cell == value)


def holds(name: str, cell: Any, value: Any, *, exact: bool) -> bool:  # noqa: PLR0911 - any JSON value, a rule each
    """Whether a cell of the column NAME shows the value, by the rules of that column."""
    if name not in {*COLUMNS, *CONDITIONAL}:
        return same(cell, value)
    if name in NUMBERS and not isinstance(value, bool) and isinstance(value, str | int | float):
        text = value if isinstance(value, str) else format(Decimal(repr(value)), "f")
        if not re.fullmatch(r"-?\d+(\.\d+)?", text, re.ASCII):
            return False
        if (name == "cummulativeQuoteQty" and Decimal(text) < 0) or (name in NONE_AT_ZERO and not Decimal(text)):
            return bool(pd.isna(cell))
        return same(cell, Decimal(text)) if exact else same(cell, float(text)) and not math.isinf(cell)
    if name in IDS | TIMES and isinstance(value, str) and re.fullmatch(r"0|-?[1-9]\d{0,18}", value, re.ASCII):
        value = int(value)
    if name in TIMES and type(value) is int:
        if value == -1:
            return cell is pd.NaT
        milliseconds = value if value < 10**14 else value // 1000
        return cell is not pd.NaT and (cell - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(1, "ms") == milliseconds
    return same(cell, value)


def require_everything(reports: list[dict[str, Any]], table: pd.DataFrame, *, exact: bool = False) -> None:
    """Check that each order has one row, and that every field of every report can be found by the written rules."""
    orders = list(flattened(reports))
    assert len(table) == len(orders)
    columns = {name: table[name].tolist() for name in table.columns}

    def found(row: int, value: object, *names: str) -> bool:
        if value is None:
            return True
        return any(name in columns and holds(name, columns[name][row], value, exact=exact) for name in names)

    for row, (order, order_list) in enumerate(orders):
        for name, value in order.items():
            plain = [] if name == "outcome" or name.startswith(("list.", "wire.")) else [name]
            perhaps_own = ["origClientOrderId", "wire.wire.clientOrderId"]
            plain += perhaps_own * (name == "clientOrderId" and "origClientOrderId" not in order)
            assert found(row, value, *plain, f"wire.{name}"), (name, value)
        for name, value in (order_list or {}).items():
            if name not in {"orders", "orderReports"}:
                assert found(row, value, name, f"wire.{name}", f"list.{name}"), (name, value)
        for leg in (order_list or {}).get("orders", []):
            if leg["orderId"] == order["orderId"]:
                for name, value in leg.items():
                    column = "origClientOrderId" if name == "clientOrderId" else name
                    assert found(row, value, column, f"wire.{column}", f"wire.{name}", f"list.orders.{name}"), (
                        name,
                        value,
                    )
    require_counts(orders, table, exact=exact)


def require_counts(
    orders: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]], table: pd.DataFrame, *, exact: bool
) -> None:
    """Check how many values of each column a float does not give back."""
    for name in NUMBERS & set(table.columns):
        values = [order.get(name) for order, _ in orders]
        texts = [str(value) if type(value) is int and abs(value) < 10**30 else value for value in values]
        counted = sum(
            Decimal(repr(float(text))) != Decimal(text)
            for text in texts
            if isinstance(text, str) and re.fullmatch(r"-?\d{1,300}(\.\d+)?", text, re.ASCII)
        )
        assert table.attrs["nbext"]["inexact"].get(name, 0) == (0 if exact else counted), name


def report(**fields: Any) -> dict[str, Any]:
    """Write a report with the fields that matter to a test."""
    return {"symbol": "BTCUSDT", "orderId": 1, "status": "CANCELED", **fields}
