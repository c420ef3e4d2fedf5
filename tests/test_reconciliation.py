"""What reads prove of one order, read by read, at a server that answers each exactly as told."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.server import answer

import nbext
from nbext.cancel.reconciliation import Reconciliation
from nbext.cancel.searches import reconcile
from nbext.cancel.selection import CANCEL_ALL, CancelRequest, Latency
from nbext.cancel.sending import Attempt
from nbext.orders import Row

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer, Request

    from nbext.spot.client import SpotClient

    Documents = Callable[[Request], object]
    Start = Callable[[Documents], SpotClient]

DAY = 86_400.0
QUICK = Latency(engine=0.1, lag=0.1)


def order(number: int = 1, status: str = "NEW", executed: str = "0.0", **more: Any) -> dict[str, Any]:
    """Show an order as a query does."""
    shown = {"symbol": "BTCUSDT", "orderId": number, "orderListId": -1, "clientOrderId": f"own-{number}"}
    return {**shown, "status": status, "origQty": "1.0", "executedQty": executed, **more}


@pytest.fixture
def start(serve: Callable[..., PlainServer]) -> Iterator[Start]:
    """Connect to a server that answers questions with these documents."""
    clients: list[SpotClient] = []

    def begin(documents: Documents) -> SpotClient:
        def respond(request: Request) -> bytes:
            document = documents(request)
            refused = isinstance(document, dict) and "code" in document
            return answer(document, 400 if refused else 200)

        clients.append(nbext.SpotClient(serve(respond).url, api_key="k" * 64, secret_key="s" * 64))
        return clients[-1]

    yield begin
    for client in clients:
        client.close()


def search(client: SpotClient, *, ago: float = 0.0, seen: bool = True, **more: Any) -> Reconciliation:
    """Search for what a cancel-all that was sent some seconds ago has left."""
    rows = [Row(order(1, origClientOrderId="own-1"), None, "open")] if seen else None
    request = CancelRequest("BTCUSDT", CANCEL_ALL, {"symbol": "BTCUSDT"}, rows)
    attempt = Attempt(request, at=time.monotonic() - ago, stamp=client.now() - round(ago * 1000))
    return Reconciliation(client, attempt, "100", QUICK, **more)


def found(each: Reconciliation, seconds: float = 0.6) -> list[tuple[Any, str, Any]]:
    """Read for a while, and return id, outcome and executed quantity of each order."""
    reconcile([each], seconds=seconds, say=lambda _: None)
    return [(row.order.get("orderId"), row.outcome, row.order.get("executedQty")) for row in each.rows()]


@pytest.mark.parametrize(("days", "outcome"), [(100, "archived"), (80, "unknown")])
def test_an_order_is_archived_only_after_90_days(start: Start, days: int, outcome: str) -> None:
    """-2026 of an order that was open more recently than the exchange archives says nothing."""
    client = start(lambda request: {"code": -2026, "msg": "archived"} if request.path.endswith("/order") else [])
    assert [state for _, state, _ in found(search(client, ago=days * DAY))] == [outcome]


def test_a_filled_order_has_executed_something(start: Start) -> None:
    """FILLED beside an executed quantity of zero is a torn read, however late: the quantity is missing."""
    client = start(lambda request: order(status="FILLED") if request.path.endswith("/order") else [])
    assert found(search(client)) == [(1, "filled", None)]


def test_a_list_that_shows_an_ended_order_is_old(start: Start) -> None:
    """An answer has told that order 2 has ended, so a list with it proves nothing of order 1 either."""
    listed: list[object] = [order(1), order(2)]
    client = start(lambda request: listed if request.path == CANCEL_ALL else [])
    stale = search(client, ago=60, ended=frozenset({("BTCUSDT", 2)}))
    stale._read_open(time.monotonic() + 1)
    assert [row.outcome for row in stale.rows()] == ["unknown"]
    listed.pop()
    stale._read_open(time.monotonic() + 1)
    assert [row.outcome for row in stale.rows()] == ["open"]


def test_an_order_that_was_placed_later_is_not_concerned(start: Start) -> None:
    """Without a look before, an open order may have come after the cancel: then it is none of its rows."""
    now = time.time_ns() // 1_000_000
    listed = [order(1, time=now - 120_000), order(2, time=now)]
    client = start(lambda request: listed if request.path == CANCEL_ALL else [])
    late = search(client, ago=60, seen=False)
    late._read_open(time.monotonic() + 1, adopt=True)
    assert [(row.order["orderId"], row.outcome) for row in late.rows()] == [(1, "open")]


def test_what_has_been_executed_never_shrinks_and_an_end_is_final(start: Start) -> None:
    """Reads that go back in time: more had been executed, and the order had ended."""
    shown = [order(executed="0.4"), order(1, "CANCELED", "0.6"), order(executed="0.2"), order(1, "CANCELED", "0.2")]
    reads = iter(shown)
    client = start(lambda request: next(reads) if request.path.endswith("/order") else [])
    each = search(client)
    told = []
    for _ in shown:
        each._query(1, time.monotonic() + 1)
        known = each._known[1]
        told.append((known.state, known.order["status"], known.order["executedQty"]))
    assert told == [("unknown", "NEW", "0.4"), *[("canceled", "CANCELED", "0.6")] * 3]


def test_slow_reads_do_not_outlast_the_time_for_reconciling(start: Start) -> None:
    """One read under way at the end is ended with the rest."""

    def slow(_: Request) -> object:
        over.wait(30)
        return []

    over = threading.Event()
    client, began = start(slow), time.monotonic()
    assert [state for _, state, _ in found(search(client), 0.4)] == ["unknown"]
    assert time.monotonic() - began < 15
    over.set()
