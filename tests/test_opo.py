"""The pending orders of an OPO have no quantity until the working order has bought some."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from support.reconciling import Quick, require_truth

import nbext
from nbext.exchange import Dialect, LocalExchange
from nbext.frames import columns
from nbext.notebook.panel import CancelPanel

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.spot.client import SpotClient


def place_lists(exchange: LocalExchange) -> None:
    """Place an OPO list and an OPOCO list."""
    working = {"workingType": "LIMIT", "workingSide": "BUY", "workingPrice": "50000", "workingTimeInForce": "GTC"}
    one = {"pendingType": "LIMIT", "pendingPrice": "70000", "pendingTimeInForce": "GTC"}
    two = {"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": "70000"}
    two |= {"pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": "40000"}
    exchange.set_price("BTCUSDT", 60000)
    exchange.place_list("opo", "BTCUSDT", workingQuantity="0.1", pendingSide="SELL", **working, **one)
    exchange.place_list("opoco", "BTCUSDT", workingQuantity="0.1", pendingSide="SELL", **working, **two)


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange with an OPO list and an OPOCO list."""
    with LocalExchange() as exchange:
        place_lists(exchange)
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


@pytest.mark.parametrize("before", ["absent", "zero", "null"])
def test_what_gets_its_quantity_after_the_look_keeps_its_id(
    exchange: LocalExchange, client: SpotClient, before: str
) -> None:
    """An amendment, which may change the id, lowers the quantity that there was; here there was none."""
    exchange.reset(dialect=Dialect(opo_pending_quantity=before))
    place_lists(exchange)
    call = Quick(client, seen=True)
    own = {order["orderId"]: order["clientOrderId"] for order in exchange.open_orders("BTCUSDT")}
    exchange.set_price("BTCUSDT", 49000)
    exchange.faults.lose_answer("DELETE", "/api/v3/openOrders", times=None)
    frame = call.run()
    require_truth(exchange, frame)
    assert sorted(frame["outcome"]) == ["canceled"] * 3 + ["filled"] * 2
    assert dict(zip(frame["orderId"], frame["origClientOrderId"], strict=True)) == own
