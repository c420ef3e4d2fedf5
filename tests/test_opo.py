"""The pending orders of an OPO have no quantity until the working order has bought some."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import nbext
from nbext.exchange import LocalExchange
from nbext.frames import columns
from nbext.notebook.panel import CancelPanel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.spot.client import SpotClient


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange with an OPO list and an OPOCO list."""
    working = {"workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "50000", "workingTimeInForce": "GTC"}
    one = {"pendingType": "LIMIT", "pendingPrice": "70000", "pendingTimeInForce": "GTC"}
    two = {"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "70000"}
    two |= {"pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "40000"}
    with LocalExchange() as exchange:
        exchange.set_price("BTCUSDT", 60000)
        exchange.place_list("opo", "BTCUSDT", workingQuantity="0.1", pendingSide="SELL", **working, **one)
        exchange.place_list("opoco", "BTCUSDT", workingQuantity="0.1", pendingSide="SELL", **working, **two)
        yield exchange


def test_no_quantity_is_made_up(client: SpotClient) -> None:
    """Neither in the table nor in the ladder nor in the panel, whose lists are told in words."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    cells = {column.name: column.cells for column in columns.table(frame).columns}
    assert cells["origQty"] == ["0.1", "", "0.1", "", ""]
    drawn = repr(nbext.ladder(frame, last=60000))
    assert " 0.0 " not in drawn
    assert "SELL LIMIT pending" in drawn
    panel = CancelPanel("BTCUSDT", client=client)
    panel.wait()
    told = [row["about"] for row in panel.rows]
    panel.close()
    panel.wait()
    assert told == ["BUY 0.1, then SELL"] * 2


def test_what_has_not_traded_is_filled_by_0_percent(client: SpotClient) -> None:
    """Of whatever quantity: the column is the same for all, and stands below the table."""
    assert "filled 0 %" in columns.table(nbext.open_orders("BTCUSDT", client=client)).note()
