"""The frame: one row per order, its columns and their names, what goes with it, and which outcome a status proves."""

from __future__ import annotations

import copy
import io
import json
import pickle
from typing import Any

import numpy as np
import pandas as pd
import pytest
from support.documents import fixture_body
from support.frame_rules import CANCELS, COLUMNS, OPENS, build, report, require_columns, require_everything

from nbext import orders as rows
from nbext.frames import build as frames

# Documents


def test_the_documented_sample_gives_four_rows() -> None:
    """Two single orders and an OCO: ids, lists, prices and times stand where they belong."""
    table = build(fixture_body("cancel_all_open_orders"))
    require_columns(table)
    assert table.shape == (4, 24)
    assert table["orderId"].tolist() == [11, 13, 20, 21]
    assert table["orderListId"].tolist() == [-1, -1, 1929, 1929]
    assert table["stopPrice"].fillna(-1).tolist() == [-1, -1, 0.378131, -1]
    assert table["icebergQty"].fillna(-1).tolist() == [-1, -1, 0.017083, 0.639962]
    assert table["price"].tolist() == [0.089853, 0.090430, 0.668611, 0.008791]
    assert table["contingencyType"].fillna("").tolist() == ["", "", "OCO", "OCO"]
    assert table["listClientOrderId"].fillna("").tolist() == ["", "", *["2inzWQdDvZLHbbAmAozX2N"] * 2]
    assert table["listStatusType"].fillna("").tolist() == ["", "", "ALL_DONE", "ALL_DONE"]
    assert table["origClientOrderId"].tolist()[2:] == ["CwOOIPHSmYywx6jZX77TdL", "461cPg51vQjV3zIMOXNz39"]
    assert table["clientOrderId"].unique().tolist() == ["pXLV6Hz6mprAcVYpVMTGgx"]
    assert table["transactionTime"].isna().tolist() == [True, True, False, False]
    assert table["transactionTime"].dt.date.astype(str).tolist()[2:] == ["2020-03-26"] * 2
    assert table["transactionTime"][2] == pd.Timestamp("2020-03-26T13:55:48.299Z")
    assert table["transactTime"][1] - table["transactTime"][0] == pd.Timedelta(1, "ms")
    assert table["outcome"].tolist() == ["canceled"] * 4
    assert table.attrs == {"nbext": {"inexact": {}}}


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("name", CANCELS)
def test_every_cancel_body_is_kept_whole(name: str, exact: bool) -> None:
    """Each order of each documented or constructed body has its row, and every field can be named again."""
    body = fixture_body(name)
    reports = body if isinstance(body, list) else [body]
    table = build(reports, exact=exact)
    require_columns(table, exact=exact)
    require_everything(reports, table, exact=exact)


def test_there_are_bodies_to_read() -> None:
    """The fixtures are found by their names, and none was overlooked."""
    assert len(CANCELS) == 28
    assert len(OPENS) == 3


@pytest.mark.parametrize(
    ("name", "ids", "more"),
    [
        ("constructed_cancel_all_iceberg", [101, 102, 103], []),
        ("constructed_cancel_all_trailing_stop", [111, 112, 113], ["trailingDelta", "trailingTime"]),
        ("constructed_cancel_all_strategy", [131, 132, 133], ["strategyId", "strategyType"]),
        ("constructed_cancel_all_oto_pending_new", [151, 152], []),
        ("constructed_cancel_all_oto_pending_expired", [153, 154], []),
        ("constructed_cancel_all_opoco", [171, 172, 173], []),
        (
            "constructed_cancel_all_unknown_fields",
            [181, 182, 183, 184],
            ["futureFlag", "futureObject", "futureNull", "futureLegField", "futureListField"],
        ),
        (
            "constructed_cancel_all_microseconds",
            [191, 192, 193, 194, 195],
            ["trailingDelta", "trailingTime", "wire.transactTime", "wire.transactionTime", "wire.trailingTime"],
        ),
        ("constructed_cancel_all_mixed", [201, 202, 203, 204, 205, 206, 207], ["strategyId", "strategyType"]),
        ("constructed_cancel_all_surviving_leg", [211], []),
        ("constructed_cancel_all_stp_decrement", [221], ["preventedQuantity"]),
        ("constructed_cancel_all_zero_ids", [0, 1, 2], []),
        ("constructed_cancel_all_distinct_cancel_ids", [241, 242], []),
        ("constructed_cancel_all_empty_array", [], []),
        (
            "constructed_cancel_all_large_ids",
            [9007199254740993, 9007199254740997, 9007199254740999],
            [],
        ),
        ("constructed_cancel_all_unicode_symbol", [231], []),
    ],
)
def test_constructed_bodies_have_these_orders_and_columns(name: str, ids: list[int], more: list[str]) -> None:
    """Ids come in the order sent; conditional and unknown fields follow the 24 columns."""
    table = build(fixture_body(name))
    assert table["orderId"].tolist() == ids
    assert list(table.columns[24:]) == more


def test_particular_values_of_constructed_bodies() -> None:
    """What is hard to keep is kept: large ids, missing quantities, -1 times, objects, expired legs."""
    large = build(fixture_body("constructed_cancel_all_large_ids"))
    assert large["orderListId"].tolist() == [-1, 9007199254740995, 9007199254740995]
    opoco = build(fixture_body("constructed_cancel_all_opoco"))
    assert opoco["origQty"].isna().tolist() == [False, True, True]
    assert opoco["contingencyType"].tolist() == ["OTO"] * 3
    trailing = build(fixture_body("constructed_cancel_all_trailing_stop"))
    assert trailing["trailingTime"].isna().tolist() == [True, False, False]
    assert trailing["trailingDelta"].tolist() == [250, 175, 500]
    assert trailing["stopPrice"].fillna(-1).tolist() == [58000, 65000, -1]
    expired = build(fixture_body("constructed_cancel_all_oto_pending_expired"))
    assert expired["outcome"].tolist() == ["canceled", "expired"]
    strategy = build(fixture_body("constructed_cancel_all_strategy"))
    assert strategy["strategyId"].tolist()[:2] == [37463720, 9007199254740993]
    assert strategy["strategyType"].isna().tolist() == [False, True, True]
    unknown = build(fixture_body("constructed_cancel_all_unknown_fields"))
    assert unknown["futureObject"].tolist() == [{"a": [1, 2]}, None, None, None]
    assert unknown["futureListField"].tolist() == [None, None, [], []]
    assert unknown["contingencyType"].tolist()[2:] == ["FUTURE_CONTINGENCY"] * 2
    assert str(unknown["futureFlag"].dtype) == "boolean"
    micro = build(fixture_body("constructed_cancel_all_microseconds"))
    assert micro["transactTime"].tolist() == [pd.Timestamp(1752500000000, unit="ms", tz="UTC")] * 5
    assert micro["wire.transactTime"].tolist() == [1752500000000123] * 5
    assert micro["trailingTime"].isna().tolist() == [True, True, False, True, True]
    leg = build(fixture_body("constructed_cancel_all_surviving_leg"))
    assert leg["orderListId"].tolist() == [29]
    assert leg["contingencyType"].isna().all()


def test_an_empty_result_has_the_same_columns_and_dtypes() -> None:
    """Empty and full, exact or not."""
    for exact in (False, True):
        empty, full = build([], exact=exact), build(fixture_body("cancel_all_open_orders"), exact=exact)
        require_columns(empty, exact=exact)
        assert empty.shape == (0, 24)
        assert empty.dtypes.equals(full.dtypes)
        joined = pd.concat([empty, full])
        assert joined.dtypes.equals(full.dtypes)


# Names


def test_a_value_that_its_column_cannot_hold_stands_beside_it() -> None:
    """The column has it missing; wire.NAME has it as sent, and nothing for the other rows."""
    table = build(
        [
            report(price="1.5", orderListId=2, isWorking=True, transactTime=0),
            report(orderId=2**63, price="abc", orderListId="x", isWorking="yes", transactTime="soon", type=5),
            report(orderId=2**63 - 1, price=True, orderListId=True, isWorking=1, transactTime=-2, side="\ud800"),
            report(orderId=-(2**63), price=[], orderListId=1.0, isWorking=None, transactTime=True),
            report(orderId=5, price="1e5", transactTime=10**18),
            report(orderId=6, price=" 1", transactTime=-1.0),
            report(orderId=7, price="\u0661", transactTime=1.5),
            report(orderId=8, price="1" * 400, transactTime=10**14 * 17),
            report(orderId=9, price="1" + "0" * 400),
        ]
    )
    require_columns(table)
    assert table["orderId"].isna().tolist() == [i == 1 for i in range(9)]
    assert table["wire.orderId"].tolist() == [None, 2**63, *[None] * 7]
    assert table["price"].isna().tolist() == [False, *[True] * 8]
    wired: list[object] = [None, "abc", True, [], "1e5", " 1", "\u0661", "1" * 400, "1" + "0" * 400]
    assert table["wire.price"].tolist() == wired
    assert table["wire.orderListId"].tolist()[1:4] == ["x", True, 1.0]
    assert table["wire.isWorking"].tolist()[1:3] == ["yes", 1]
    assert table["wire.transactTime"].tolist()[:8] == [None, "soon", -2, True, 10**18, -1.0, 1.5, None]
    assert table["transactTime"].notna().tolist() == [True, *[False] * 6, True, False]
    assert table["transactTime"][0] == pd.Timestamp(0, tz="UTC")
    assert table["wire.type"].tolist()[1] == 5
    assert table["wire.side"].tolist()[2] == "\ud800"


def test_names_that_would_clash_get_a_prefix() -> None:
    """A field named like nbext's own column, or like a prefixed one, moves to wire.NAME."""
    table = build(
        [report(outcome="theirs", **{"wire.price": "x", "list.symbol": "y", "wire.wire.price": "z"}, price=[])]
    )
    assert table["outcome"].tolist() == ["canceled"]
    assert table["wire.outcome"].tolist() == ["theirs"]
    assert table["wire.wire.price"].tolist() == ["x"]
    assert table["wire.list.symbol"].tolist() == ["y"]
    assert table["wire.wire.wire.price"].tolist() == ["z"]
    assert table["wire.price"].tolist() == [[]]


def test_what_a_list_says_otherwise_than_its_order_stands_beside_it() -> None:
    """list.NAME holds the list's word, list.orders.NAME that of its entry for the leg; equal words are not repeated."""
    table = build(
        [
            {
                "orderListId": 7,
                "symbol": "ETHUSDT",
                "outcome": "o",
                "list.x": 1,
                "contingencyType": "OCO",
                "extra": 1,
                "orders": [
                    {"symbol": "BTCUSDT", "orderId": 1, "clientOrderId": "a"},
                    {"symbol": "XRPUSDT", "orderId": 2, "clientOrderId": "c", "outcome": "p", "more": 5},
                ],
                "orderReports": [
                    report(orderListId=7, origClientOrderId="a", extra=True),
                    report(orderId=2, origClientOrderId="b", contingencyType=None),
                ],
            },
            report(orderId=3),
        ]
    )
    require_columns(table)
    assert table["symbol"].tolist() == ["BTCUSDT"] * 3
    assert table["list.symbol"].tolist()[:2] == ["ETHUSDT"] * 2
    assert table["list.outcome"].tolist()[:2] == ["o"] * 2
    assert table["list.list.x"].tolist()[:2] == [1, 1]
    assert table["orderListId"].tolist()[:2] == [7, 7]
    assert "list.orderListId" not in table
    assert table["contingencyType"].fillna("").tolist() == ["OCO", "", ""]
    assert table["list.contingencyType"].fillna("").tolist() == ["", "OCO", ""]
    assert table["extra"].tolist() == [True, 1, None]
    assert table["list.extra"].tolist()[0] == 1
    assert table["list.orders.symbol"].fillna("").tolist() == ["", "XRPUSDT", ""]
    assert table["list.orders.clientOrderId"].fillna("").tolist() == ["", "c", ""]
    assert table["origClientOrderId"].fillna("").tolist() == ["a", "b", ""]
    assert table["list.orders.outcome"].fillna("").tolist() == ["", "p", ""]
    assert table["more"].fillna(0).tolist() == [0, 5, 0]


def test_an_order_id_that_a_report_lacks_comes_from_the_list() -> None:
    """The WebSocket list cancel reports no origClientOrderId, and its list names it."""
    body = fixture_body("ws_cancel_order_list_result")
    table = build([body])
    assert table["origClientOrderId"].tolist() == [leg["clientOrderId"] for leg in body["orders"]]


def test_a_name_that_no_column_can_have_is_escaped() -> None:
    """Half of a surrogate pair in a field's name is written as its escape."""
    assert build([report(**{"\ud800": 1, "é": 2})]).columns[24:].tolist() == [r"\ud800", "é"]


def test_many_orders_are_kept_whole() -> None:
    """Fields that few of 1,200 orders have stand in the rows of those orders, of their lists, and nowhere else."""
    document: list[dict[str, Any]] = []
    for number in range(0, 1200, 3):
        legs = [report(orderId=number + place, orderListId=number, price=f"{number}.5") for place in (1, 2)]
        named = [{"symbol": "BTCUSDT", "orderId": leg["orderId"], "clientOrderId": f"c{number}"} for leg in legs]
        order_list = {"orderListId": number, "symbol": "BTCUSDT", "orders": named, "orderReports": legs}
        document += [report(orderId=number), order_list]
    document[0]["early"] = document[400]["middle"] = document[-2]["late"] = 5
    document[401]["symbol"] = document[-1]["symbol"] = "ETHUSDT"
    table = build(document)
    require_columns(table)
    require_everything(document, table)
    assert list(table.columns[24:]) == ["early", "middle", "list.symbol", "late"]
    assert [np.flatnonzero(table[name].notna()).tolist() for name in table.columns[24:]] == [
        [0],
        [600],
        [601, 602, 1198, 1199],
        [1197],
    ]


# Attributes


def test_the_summary_stays_with_the_frame() -> None:
    """Attrs hold only what JSON can, and survive copying, pickling, filtering and sorting."""
    summary = {"profile": "local", "requested": ["BTCUSDT"], "elapsed": 0.5}
    table = build([report(price="9007199254740993")], summary=summary)
    wanted = {"nbext": {**summary, "inexact": {"price": 1}}}
    assert table.attrs == json.loads(json.dumps(table.attrs)) == wanted
    written = io.BytesIO(pickle.dumps(table))
    for twin in (
        pickle.load(written),  # noqa: S301 - written here
        copy.copy(table),
        copy.deepcopy(table),
        table.head(1),
        table.sort_values("price"),
    ):
        assert twin.attrs == wanted
        assert twin.dtypes.equals(table.dtypes)
    assert summary == {"profile": "local", "requested": ["BTCUSDT"], "elapsed": 0.5}


def test_only_a_whole_frame_is_ours() -> None:
    """A frame without a column, or with one in another dtype, is not."""
    table = build(fixture_body("cancel_all_open_orders"))
    assert frames.is_frame(table)
    assert frames.is_frame(build([], exact=True))
    assert frames.is_frame(table.assign(note="x"))
    assert frames.is_frame(table.head(0))
    for name in COLUMNS:
        assert not frames.is_frame(table.drop(columns=name)), name
    assert not frames.is_frame(table.astype({"orderId": "int64"}))
    assert not frames.is_frame(table.astype({"orderId": "float64"}))
    assert not frames.is_frame(table.astype({"price": "str"}))
    assert not frames.is_frame(table.astype({"transactTime": "datetime64[ns, UTC]"}))
    assert not frames.is_frame(table.astype({"symbol": "object"}))
    assert not frames.is_frame(pd.DataFrame())


# Outcomes and open orders


@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("CANCELED", "canceled"),
        ("FILLED", "filled"),
        ("EXPIRED", "expired"),
        ("EXPIRED_IN_MATCH", "expired"),
        ("REJECTED", "rejected"),
        ("NEW", "unknown"),
        ("PARTIALLY_FILLED", "unknown"),
        ("PENDING_NEW", "unknown"),
        ("PENDING_CANCEL", "unknown"),
        ("canceled", "unknown"),
        ("", "unknown"),
        ("FUTURE", "unknown"),
        (None, "unknown"),
        (5, "unknown"),
        (["CANCELED"], "unknown"),
        ({}, "unknown"),
    ],
)
def test_a_status_proves_this_outcome(status: Any, outcome: str) -> None:
    """A row says canceled only where the exchange said CANCELED."""
    assert rows.outcome({"status": status}) == outcome
    assert build([report(status=status)])["outcome"].tolist() == [outcome]
    assert rows.outcome({}) == "unknown"


@pytest.mark.parametrize("name", OPENS)
def test_open_orders_fill_the_same_columns(name: str) -> None:
    """The order's own id is origClientOrderId; the cancel's id and time are missing; the query's fields follow."""
    orders = fixture_body(name)
    table = frames.frame(rows.from_open_orders(orders))
    require_columns(table)
    assert table["orderId"].tolist() == [order["orderId"] for order in orders]
    assert table["origClientOrderId"].tolist() == [order["clientOrderId"] for order in orders]
    assert table["clientOrderId"].isna().all()
    assert table["transactTime"].isna().all()
    assert table["outcome"].unique().tolist() == ["open"]
    assert list(table.columns[24:28]) == ["time", "updateTime", "isWorking", "workingTime"]
    assert table["isWorking"].tolist() == [order["isWorking"] for order in orders]
    assert table["contingencyType"].isna().all()
    renamed = [
        {("origClientOrderId" if field == "clientOrderId" else field): value for field, value in order.items()}
        for order in orders
    ]
    require_everything(renamed, table)
    dry = frames.frame(rows.from_open_orders(orders, dry_run=True))
    assert dry["outcome"].unique().tolist() == ["would_cancel"]
    assert dry.drop(columns="outcome").equals(table.drop(columns="outcome"))


def test_open_orders_take_their_lists_columns() -> None:
    """A list that is known fills the list columns of its orders, and no others."""
    orders = fixture_body("constructed_open_orders_mixed")
    known = {
        "orderListId": 27,
        "contingencyType": "OCO",
        "listStatusType": "EXEC_STARTED",
        "listOrderStatus": "EXECUTING",
        "listClientOrderId": "mix-oco",
        "transactionTime": 1752500000000,
        "symbol": "BTCUSDT",
        "orders": [
            {"symbol": "BTCUSDT", "orderId": 202, "clientOrderId": "mix-sl"},
            {"symbol": "BTCUSDT", "orderId": 203, "clientOrderId": "mix-lm"},
        ],
    }
    table = frames.frame(rows.from_open_orders(orders, [known, {**known, "orderListId": 99}]))
    require_columns(table)
    listed = table["orderId"].isin([202, 203])
    for name in ("contingencyType", "listStatusType", "listOrderStatus", "listClientOrderId"):
        assert (table.loc[listed, name] == known[name]).all()
        assert table.loc[~listed, name].isna().all()
    assert table.loc[listed, "transactionTime"].notna().all()
    assert not [name for name in table.columns if name.startswith("list.")]
    assert table["workingTime"].isna().tolist() == [order["workingTime"] == -1 for order in orders]


def test_an_order_that_ended_is_neither_open_nor_would_it_be_canceled() -> None:
    """A query may show terminal states, which keep their outcome in a dry run too."""
    orders = [{"orderId": 1, "status": "FILLED"}, {"orderId": 2, "status": "NEW"}, {"orderId": 3, "status": "X"}]
    for dry_run, open_ in ((False, "open"), (True, "would_cancel")):
        found = rows.from_open_orders(orders, dry_run=dry_run)
        assert [row.outcome for row in found] == ["filled", open_, "unknown"]


def test_legs_that_have_no_report_are_counted() -> None:
    """A leg that a list names only gets no row."""
    body = copy.deepcopy(fixture_body("constructed_cancel_all_mixed"))
    assert rows.legs_without_report(body) == 0
    del body[1]["orderReports"][0]
    del body[3]["orderReports"][1:]
    assert rows.legs_without_report(body) == 3
    assert build(body)["orderId"].tolist() == [201, 203, 204, 205]
    assert rows.legs_without_report([{"orderListId": 1, "orderReports": [], "orders": None}, {"orderId": 5}]) == 0
