"""The lines beside a frame."""

from __future__ import annotations

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
