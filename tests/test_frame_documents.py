"""Any document, however odd or hostile: nothing is lost, and nothing raises."""

from __future__ import annotations

import copy
import json
from decimal import Decimal
from html.parser import HTMLParser
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.frame_rules import (
    COLUMNS,
    FLAGS,
    IDS,
    NUMBERS,
    TEXTS,
    TIMES,
    build,
    flattened,
    report,
    require_columns,
    require_everything,
)

from nbext.frames import build as frames
from nbext.frames import columns
from nbext.frames.html import as_html
from nbext.frames.text import as_text
from nbext.orders import Row

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6)
    | st.sampled_from(["\ud800", "9" * 400, "0." + "1" * 30, "1e5", "-1", "NaN"]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2),
    max_leaves=4,
)
DECIMALS = st.builds(
    lambda sign, whole, part: f"{sign}{whole}{part}",
    st.sampled_from(["", "", "-"]),
    st.integers(0, 10**22),
    st.just("") | st.integers(0, 10**20).map(".{}".format),
)
USUAL: dict[str, st.SearchStrategy[Any]] = {
    **{name: st.sampled_from(["BTCUSDT", "OCO", "CANCELED", "NEW", "x"]) for name in sorted(TEXTS - {"outcome"})},
    **{name: st.integers(-1, 2**63 - 1) for name in sorted(IDS - {"orderId"})},
    **dict.fromkeys(sorted(NUMBERS), DECIMALS),
    **dict.fromkeys(sorted(TIMES), st.sampled_from([-1, 0, 1752500000000, 1752500000000123, 1752500000000000])),
    **dict.fromkeys(sorted(FLAGS), st.booleans()),
}
STRANGE = st.sampled_from(
    ["outcome", "wire.price", "list.symbol", "wire.list.x", "list.orders.side", "a", "b", "é", ""]
)


@st.composite
def fields(draw: st.DrawFn, names: list[str]) -> dict[str, Any]:
    """Draw some of the named fields, with usual values or any others, and some fields of other names."""
    known = draw(st.lists(st.sampled_from(names), max_size=7, unique=True))
    other = draw(st.lists(STRANGE, max_size=2, unique=True))
    return {**{name: draw(USUAL[name] | JSON) for name in known}, **{name: draw(JSON) for name in other}}


@st.composite
def documents(draw: st.DrawFn) -> list[dict[str, Any]]:
    """Draw what a cancel-all could answer: single orders and lists mixed, each order id once."""
    ids = draw(
        st.lists(
            st.integers(0, 2**63 - 1) | st.integers(2**53, 2**53 + 9) | st.integers(2**63, 2**66),
            unique=True,
            max_size=6,
        )
    )
    orders = [{**draw(fields(sorted(USUAL))), "orderId": number} for number in ids]
    document: list[dict[str, Any]] = []
    while orders:
        size = draw(st.integers(0, 3))
        if size == 0:
            document.append(orders.pop(0))
            continue
        legs, orders = orders[:size], orders[size:]
        lists = [
            "orderListId",
            "contingencyType",
            "listStatusType",
            "listClientOrderId",
            "transactionTime",
            "symbol",
            "side",
        ]
        named = [{**draw(fields(["symbol", "clientOrderId"])), "orderId": leg["orderId"]} for leg in legs]
        document.append({**draw(fields(lists)), "orders": named, "orderReports": legs})
    return document


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents(), st.booleans())
def test_no_document_loses_a_field(document: list[dict[str, Any]], exact: bool) -> None:
    """Each order id appears once with its own values, in the documented columns and dtypes, whatever was sent."""
    sent = copy.deepcopy(document)
    table = build(document, exact=exact)
    assert document == sent
    require_columns(table, exact=exact)
    require_everything(document, table, exact=exact)
    wired = table["wire.orderId"].tolist() if "wire.orderId" in table else [None] * len(table)
    shown = [beside if pd.isna(number) else number for number, beside in zip(table["orderId"], wired, strict=True)]
    assert shown == [order["orderId"] for order, _ in flattened(document)]


HOSTILE: list[Any] = [
    *(None, True, False, 0, -1, 2**53, 2**63, -(2**63) - 1, 10**4000, 1.5, -0.0, 1e308, float("inf"), float("nan")),
    *("", "NaN", "Infinity", "-1", "1e999", "\ud800", "\x00", "\x1b[31m", "\u202e", "<b>", "\u0663", "1_0", " 1"),
    *("9" * 400, "0." + "9" * 400, "-" + "1" * 5000 + "." + "1" * 5000),
    *([], [[]], [1, 2], {}, {"a": {"orderId": 1}}, [{"orderId": [1]}], ["\ud800"], json.loads("[" * 900 + "]" * 900)),
]
NAMES = [
    *COLUMNS,
    *("orders", "orderReports", "outcome", "wire.price", "list.symbol", "list.orders.side", "wire.wire.price"),
    *("\ud800", "\\ud800", "", "index", "level_0", "a b", "<b>", "\x1b[31m", "__class__", "columns", "values"),
]


class Tags(HTMLParser):
    """The tags that a page would have."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: set[str] = set()
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag, and that no attribute runs anything."""
        self.found.add(tag)
        assert not [name for name, _ in attrs if name.startswith("on")]


def require_showing(table: pd.DataFrame) -> None:
    """Check that a frame can be shown, and that what it shows neither moves a cursor nor is markup."""
    shown = columns.table(table)
    texts = [as_text(table, 200), columns.caption(table), shown.note()]
    texts += [text for column in shown.columns for text in (column.name, *column.cells)]
    html = as_html(table, searchable=False)
    for text in texts:
        assert all(character.isprintable() or character == "\n" for character in text)
    html.encode()
    assert Tags(html).found <= {
        "style",
        "div",
        "p",
        "b",
        "table",
        *("caption", "thead", "tbody", "tr", "th", "td"),
        *("span", "font"),
    }


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data(), st.booleans())
def test_any_json_in_any_field_gives_a_frame(data: st.DataObject, exact: bool) -> None:
    """Orders of every form, lists of every form, entries for legs of every form: a frame that can be shown."""
    fields = st.dictionaries(st.sampled_from(NAMES), st.sampled_from(HOSTILE) | JSON, max_size=6)
    found = []
    for _ in range(data.draw(st.integers(0, 5))):
        order, order_list = data.draw(fields), data.draw(st.none() | fields)
        found.append(Row(order, order_list, data.draw(st.sampled_from(["canceled", "open", "unknown", "\x1b<b>"]))))
        if order_list is not None and data.draw(st.booleans()):
            found.append(Row(data.draw(fields), order_list, "unknown"))
    table = frames.frame(found, exact=exact)
    assert len(table) == len(found)
    require_columns(table, exact=exact)
    assert table["outcome"].tolist() == [row.outcome for row in found]
    require_showing(table)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("exact", [False, True])
def test_each_odd_value_in_each_field_gives_a_frame(name: str, exact: bool) -> None:
    """One after the other, and all in one column, alike and not: the other columns stay what they are."""
    ids = range(1, 2 * len(HOSTILE), 2)
    one_by_one = [
        report(**{"orderId": number, "side": "BUY", name: odd}) for number, odd in zip(ids, HOSTILE, strict=True)
    ]
    found = [
        Row(order, {"orderListId": 5, name: odd}, "open") for order, odd in zip(one_by_one, HOSTILE[::-1], strict=True)
    ]
    for sample in ([Row(order, None, "open") for order in one_by_one], found, found[-2:-1] * 3):
        table = frames.frame(sample, exact=exact)
        assert len(table) == len(sample)
        require_columns(table, exact=exact)
        if name != "side":
            assert table["side"].tolist() == ["BUY"] * len(sample)
        require_showing(table)


@pytest.mark.parametrize("exact", [False, True])
def test_numbers_of_a_million_digits_give_a_frame(exact: bool) -> None:
    """Each goes into its column or stands beside it, whole."""
    whole, part = "9" * 10**6, "0." + "9" * 10**6
    fields = dict.fromkeys(("price", "executedQty", "orderListId", "transactTime"), whole)
    table = build([report(**fields), report(orderId=2, price=part, executedQty=part)], exact=exact)
    require_columns(table, exact=exact)
    if exact:
        assert table["price"].tolist() == [Decimal(whole), Decimal(part)]
    else:
        assert table["wire.price"][0] == whole
        assert table["price"][1] == 1.0
        assert table.attrs["nbext"]["inexact"] == {"price": 1, "executedQty": 1}
    assert table["wire.orderListId"][0] == table["wire.transactTime"][0] == whole
    require_showing(table)


def test_lists_of_one_length_stay_lists() -> None:
    """An undocumented field whose values are lists holds them, each in its row."""
    table = build([report(orderId=number, extra=[number, number]) for number in (1, 2, 3)])
    assert table["extra"].tolist() == [[1, 1], [2, 2], [3, 3]]


def test_a_field_twice_in_one_report_has_the_last_word() -> None:
    """JSON lets a name come twice; what Python's parser keeps is shown, once."""
    table = build(json.loads('[{"symbol": "A", "orderId": 1, "price": "1", "price": "2", "status": "CANCELED"}]'))
    assert table["price"].tolist() == [2.0]
    assert table.columns.is_unique
