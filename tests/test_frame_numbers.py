"""Numbers, ids and times: which value a cell has, and what is missing."""

from __future__ import annotations

from decimal import Decimal

import pandas as pd
import pytest
from support.frame_rules import build, report, require_columns

from nbext import orders
from nbext.frames import build as frames


@pytest.mark.parametrize(
    ("text", "inexact"),
    [
        ("0.1", False),
        ("123456.78901234", False),
        ("-1.5", False),
        ("1000000000000000000000000", False),
        ("999999999999999", False),
        ("9007199254740992", False),
        ("9007199254740993", True),
        ("9007199254740993.0", True),
        ("9007199254740993000", False),
        ("92233720368.54775807", True),
        ("0.123456789012345678", True),
        ("123456789.123456789", True),
        ("0.123456789012345", False),
        ("0.100000000000000000", False),
        ("0." + "0" * 400 + "1", True),
    ],
)
def test_values_that_a_float_does_not_give_back_are_counted(text: str, inexact: bool) -> None:
    """The exchange's number is compared with what the float prints as, per column, each value once."""
    table = build([report(price=text, origQty="1"), report(orderId=2, price=text), report(orderId=3, price="1")])
    assert table["price"][0] == float(text)
    assert table.attrs["nbext"]["inexact"] == ({"price": 2} if inexact else {})
    exact = build([report(price=text)], exact=True)
    assert exact["price"][0] == Decimal(text)
    assert exact["price"][0].as_tuple() == Decimal(text).as_tuple()
    assert exact.attrs["nbext"]["inexact"] == {}


def test_exact_numbers_can_be_reckoned_with() -> None:
    """Decimals add up and multiply without a rounding, and what is missing is None."""
    table = build([report(price="0.1", origQty="3"), report(orderId=2, price="0.2", origQty="7")], exact=True)
    assert table["price"].sum() == Decimal("0.3")
    assert (table["price"] * table["origQty"]).tolist() == [Decimal("0.3"), Decimal("1.4")]
    assert table["stopPrice"].tolist() == [None, None]
    assert all(type(value) is Decimal for value in table["price"])


def test_negative_quote_quantities_are_not_known() -> None:
    """A negative cummulativeQuoteQty is missing; other columns keep their sign, and zero is zero."""
    for exact in (False, True):
        table = build(
            [
                report(cummulativeQuoteQty="-1.00000000", price="-1"),
                report(orderId=2, cummulativeQuoteQty="0.00"),
                report(orderId=3, cummulativeQuoteQty="2.5"),
            ],
            exact=exact,
        )
        assert table["cummulativeQuoteQty"].isna().tolist() == [True, False, False]
        assert table["cummulativeQuoteQty"].tolist()[1:] == [0, 2.5]
        assert table["price"][0] == -1
        assert "wire.cummulativeQuoteQty" not in table


def test_json_numbers_where_text_is_documented_are_numbers() -> None:
    """An exchange that sends 1.5 rather than "1.5" is understood, up to what is absurd."""
    table = build([report(price=1.5), report(orderId=2, price=3), report(orderId=3, price=1e300)])
    assert table["price"].fillna(-1).tolist() == [1.5, 3, -1]
    assert table["wire.price"].tolist() == [None, None, 1e300]
    assert build([report(price=0.1)], exact=True)["price"][0] == Decimal("0.1")


def test_times_are_told_by_their_size() -> None:
    """13 digits are milliseconds, 16 are microseconds; whole milliseconds leave nothing beside."""
    table = build([report(transactTime=1752500000000), report(orderId=2, transactTime=1752500000000000)])
    assert table["transactTime"][0] == table["transactTime"][1] == pd.Timestamp(1752500000000, unit="ms", tz="UTC")
    assert "wire.transactTime" not in table
    assert table["transactTime"].dt.unit == "ms"
    assert build([report(transactTime=-1)])["transactTime"].isna().all()
    assert "wire.transactTime" not in build([report(transactTime=-1)])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("none", ["0.00000000", "0", "0.0", "-0.00", 0, 0.0, None])
def test_what_an_order_does_not_have_has_one_spelling(none: object, exact: bool) -> None:
    """A zero where an order has none is missing, and no comparison finds it; zeros that are amounts stay."""
    amounts = ("executedQty", "cummulativeQuoteQty")
    absent = ("price", "stopPrice", "origQty", "origQuoteOrderQty", "icebergQty")
    sent = [
        report(type="STOP_LOSS", trailingDelta=500, **dict.fromkeys(absent, none), **dict.fromkeys(amounts, "0.000")),
        report(orderId=2, type="LIMIT", **dict.fromkeys(absent, "55000.00"), **dict.fromkeys(amounts, "1.5")),
        report(orderId=3, type="LIMIT"),
    ]
    table = build(sent, exact=exact)
    require_columns(table, exact=exact)
    for name in absent:
        assert table[name].isna().tolist() == [True, False, True], name
        assert f"wire.{name}" not in table
        assert all(value is None for value in table[name][[0, 2]]) or not exact
    for name in amounts:
        assert table[name].isna().tolist() == [False, False, True], name
        assert table[name][0] == 0
    priced = table[table["price"].notna()] if exact else table
    assert priced[priced["price"] < 56000]["orderId"].tolist() == [2]
    assert table["price"].mean() == 55000 if not exact else table["price"].dropna().tolist() == [Decimal("55000.00")]
    assert (table["price"] * table["origQty"]).isna().tolist() == [True, False, True] if not exact else True


def test_a_number_too_small_for_a_float_is_no_absence() -> None:
    """It is counted as inexact, and its column holds zero."""
    table = build([report(price="0." + "0" * 400 + "1", stopPrice="0." + "0" * 400)])
    assert table["price"].tolist() == [0.0]
    assert table["stopPrice"].isna().tolist() == [True]
    assert table.attrs["nbext"]["inexact"] == {"price": 1}


def test_ids_and_times_that_were_sent_as_text_are_numbers() -> None:
    """Text of digits is the number; what is not quite that stands beside, as it was sent."""
    table = build(
        [
            report(orderId="9780331417", orderListId="-1", trailingDelta="500", transactTime="1737635557417"),
            report(orderId="9223372036854775807", orderListId="0", transactTime="-1", workingTime="1737635557417000"),
            report(orderId="0", orderListId=0),
            *[report(orderId=odd) for odd in ("007", "+1", " 1", "1_0", "\u0661", "1.0", "", "9" * 10**6)],
        ]
    )
    require_columns(table)
    assert table["orderId"].tolist()[:3] == [9780331417, 2**63 - 1, 0]
    assert table["orderId"].isna().tolist() == [False] * 3 + [True] * 8
    assert table["wire.orderId"].fillna("-").tolist() == [
        *["-"] * 3,
        *("007", "+1", " 1", "1_0", "\u0661", "1.0", "", "9" * 10**6),
    ]
    assert table["orderListId"].tolist()[:3] == [-1, 0, 0]
    assert table["trailingDelta"].tolist()[0] == 500
    assert table["transactTime"][0] == pd.Timestamp(1737635557417, unit="ms", tz="UTC")
    assert table["transactTime"].isna().tolist() == [False, *[True] * 10]
    assert table["workingTime"][1] == pd.Timestamp(1737635557417, unit="ms", tz="UTC")
    assert [name for name in table.columns if name.startswith("wire.")] == ["wire.orderId"]


def test_a_list_id_of_zero_is_a_list_and_minus_one_is_none() -> None:
    """Both stay as they were sent; only the fields of a list tell that an order is in one."""
    order_list = {"orderListId": 0, "contingencyType": "OCO", "orderReports": [report(orderListId=0)]}
    table = build([order_list, report(orderId=2, orderListId=-1), report(orderId=3)])
    assert table["orderListId"].tolist() == [0, -1, pd.NA]
    assert table["contingencyType"].fillna("").tolist() == ["OCO", "", ""]
    opened = [{"symbol": "BTCUSDT", "orderId": 1, "orderListId": 0, "status": "NEW"}]
    found = frames.frame(orders.from_open_orders(opened, [{**opened[0], "contingencyType": "OCO"}]))
    assert found["contingencyType"].tolist() == ["OCO"]
