"""The lines beside a frame."""

from __future__ import annotations

from decimal import Decimal

import pytest

from nbext import messages
from nbext.orders import Row


@pytest.mark.parametrize("list_id", [-1, None, "-1", -2, [], 7.0, True, False])
def test_what_is_no_list_id_makes_no_list(list_id: object) -> None:
    """An order whose list id is missing, or nothing that could be one, is a single order."""
    assert messages.kinds([Row({"symbol": "BTCUSDT", "orderListId": list_id}, None, "canceled")]) == ""


@pytest.mark.parametrize("list_id", [7, 0])
def test_a_list_that_nobody_described_is_a_list_all_the_same(list_id: int) -> None:
    """Orders that were found after a lost answer name their list by its id only; it is counted once."""
    legs = [Row({"symbol": "BTCUSDT", "orderListId": list_id}, None, "canceled") for _ in range(2)]
    single = Row({"symbol": "BTCUSDT", "orderListId": -1}, None, "open")
    described = Row({"symbol": "BTCUSDT"}, {"orderListId": 8, "contingencyType": "OCO"}, "canceled")
    assert messages.kinds([*legs, single, described]) == " (1 single, 1 order list, 1 OCO list)"
    assert messages.outcomes([*legs, single]) == "2 orders canceled (1 order list); 1 still open"


def test_what_has_changed_is_said_once() -> None:
    """The magic's question and the panel's say in the same words how many orders have come and gone."""
    assert messages.changes(0, 0) == ""
    assert messages.changes(1, 0) == "1 order is new since you looked"
    assert messages.changes(0, 2) == "2 orders are no longer open"
    assert messages.changes(2, 1) == "2 orders are new since you looked, 1 is no longer open"


@pytest.mark.parametrize(
    ("price", "last", "said"),
    [
        ("90", "100", "\N{MINUS SIGN}10.00 %"),
        ("100", "100", "+0.00 %"),
        ("99.9999", "100", "+0.00 %"),
        ("0.00000002", "0.00000001", "+100.00 %"),
        ("1" + "0" * 38, "0.00000001", f"+{10**48}.00 %"),
    ],
)
def test_one_distance_for_panel_and_ladder(price: str, last: str, said: str) -> None:
    """Below the last price stands a minus sign, what rounds to zero has a plus, and no number is too large."""
    assert messages.distance(Decimal(price), Decimal(last)) == said
