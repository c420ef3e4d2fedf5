"""Pegged orders stand at the price that was taken from the book, wherever they are shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

import nbext
from nbext import messages
from nbext.exchange import LocalExchange
from nbext.frames import columns
from nbext.notebook.panel import CancelPanel
from nbext.orders import from_open_orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd

    from nbext.spot.client import SpotClient

PEG = {"quantity": "0.1", "timeInForce": "GTC", "pegPriceType": "PRIMARY_PEG"}


@pytest.fixture
def exchange() -> Iterator[LocalExchange]:
    """Start an exchange with four orders: three pegged, of which one waits for its trigger and one has a limit."""
    with LocalExchange() as exchange:
        exchange.set_price("BTCUSDT", 60000)
        exchange.place("BTCUSDT", "BUY", "LIMIT", price="50000", quantity="0.1", timeInForce="GTC")
        exchange.place("BTCUSDT", "BUY", "LIMIT", **PEG)
        exchange.place("BTCUSDT", "BUY", "LIMIT", price="59000", **PEG)
        exchange.place("BTCUSDT", "SELL", "STOP_LOSS_LIMIT", stopPrice="40000", **PEG)
        yield exchange


def shown(frame: pd.DataFrame) -> list[tuple[str, ...]]:
    """Return the type and price of each order as a table shows them."""
    cells = {column.name: column.cells for column in columns.table(frame).columns}
    return list(zip(cells["type"], cells["price"], strict=True))


def test_a_table_shows_the_price_at_which_an_order_stands(client: SpotClient) -> None:
    """Before a cancel and after it, whatever limit it was placed with; the frame has the exchange's own fields."""
    pegged = [
        ("LIMIT", "50000.0"),
        ("LIMIT pegged", "59999.95"),
        ("LIMIT pegged", "59999.95"),
        ("STOP_LOSS_LIMIT pegged", ""),
    ]
    before = nbext.open_orders("BTCUSDT", client=client)
    assert shown(before) == pegged
    assert before["price"].dropna().tolist() == [50000, 59000]
    assert before["peggedPrice"].dropna().tolist() == [59999.95, 59999.95]
    assert shown(nbext.cancel_all("BTCUSDT", client=client, yes=True)) == pegged


def test_a_ladder_draws_it_there(client: SpotClient) -> None:
    """A pegged stop stands at its trigger."""
    drawn = repr(nbext.ladder(nbext.open_orders("BTCUSDT", client=client), last=60000))
    lines = [line.split()[0] for line in drawn.splitlines() if " BUY " in line or " SELL " in line]
    assert lines == ["59999.95", "59999.95", "50000.0", "40000.0"]
    assert drawn.count("LIMIT pe") == 3
    assert "no price" not in drawn


def test_a_panel_says_that_it_is_pegged_not_at_market(client: SpotClient) -> None:
    """With its price, once there is one, and how far away that is."""
    panel = CancelPanel("BTCUSDT", client=client)
    panel.wait()
    orders = [order for row in panel.rows for order in row["orders"]]
    panel.close()
    panel.wait()
    assert [order["price"] for order in orders] == ["50,000", "59,999.95, pegged", "59,999.95, pegged", "pegged"]
    assert [order["distance"][-6:] for order in orders[1:3]] == [orders[1]["distance"][-6:]] * 2 != ["", ""]


def test_a_question_counts_its_worth(client: SpotClient) -> None:
    """By the price at which it would trade; a stop whose price is still to be taken has none."""
    rows = from_open_orders(client.request("GET", "/api/v3/openOrders", {"symbol": "BTCUSDT"}))
    assert messages.notional(rows) == ", worth 16,999.99"
