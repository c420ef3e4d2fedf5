"""What an exchange that gives ids again cannot make of a call: another order's row, or a cancel of another symbol's."""

from __future__ import annotations

import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job
from support.server import PlainServer, answer

import nbext
from nbext.cancel.selection import Latency

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from support.server import Request

    from nbext.spot.client import SpotClient

PLACED = int(time.time() * 1000) - 60_000
ID = 7


def queried(**more: Any) -> dict[str, Any]:
    """Return an order as a query shows it."""
    return {
        "symbol": "BTCUSDT",
        "orderId": ID,
        "orderListId": -1,
        "clientOrderId": "own",
        "price": "50000.0",
        "origQty": "1.0",
        "executedQty": "0.0",
        "cummulativeQuoteQty": "0.0",
        "status": "NEW",
        "timeInForce": "GTC",
        "type": "LIMIT",
        "side": "BUY",
        "time": PLACED,
        "updateTime": PLACED,
        "isWorking": True,
        **more,
    }


class Renewed:
    """An exchange that loses the answer to a cancel, and then shows another state of the order, or another order."""

    def __init__(self, then: Mapping[str, Any]) -> None:
        self._then = queried(**then)
        self._lost = False

    def __call__(self, request: Request) -> Any:
        """Answer."""
        path = request.target.partition("?")[0]
        if request.method == "DELETE":
            self._lost = True
            return answer(b"", status=500)
        if path.endswith("/time"):
            return answer({"serverTime": int(time.time() * 1000)})
        if path.endswith("/order"):
            return answer(self._then)
        shown = [self._then] if path.endswith("/allOrders") else []
        return answer(shown if self._lost else [queried()])


@pytest.fixture
def serve() -> Iterator[Callable[[Any], SpotClient]]:
    """Serve, and connect."""
    servers: list[PlainServer] = []

    def start(respond: Any) -> SpotClient:
        servers.append(PlainServer(respond))
        return nbext.SpotClient(servers[-1].url, api_key="k" * 64, secret_key="s" * 64)

    yield start
    for server in servers:
        server.close()


def reconciled(client: SpotClient) -> dict[str, Any]:
    """Cancel what a look has shown, and return its row."""
    job = make_job(["BTCUSDT"], client=client, recv_window=300, reconcile=1.5, latency=Latency(engine=0.2, lag=0.2))
    job.obtain_consent(lambda preview, _: str(len(preview)))
    with suppress(nbext.NbextError):
        job.run()
    assert nbext.last is not None
    return {str(name): value for name, value in nbext.last.iloc[0].items()}


TRADED = {"status": "FILLED", "executedQty": "1.0", "cummulativeQuoteQty": "50000.0"}
OTHERS: dict[str, dict[str, Any]] = {
    "placed after the cancel": {**TRADED, "clientOrderId": "fresh", "time": PLACED + 90_000},
    "placed after the cancel, the id reused": {**TRADED, "time": PLACED + 90_000},
    "placed after the cancel, and canceled": {"status": "CANCELED", "time": PLACED + 90_000},
    "placed after the look": {**TRADED, "clientOrderId": "fresh", "time": PLACED + 30_000},
    "of another id": {**TRADED, "clientOrderId": "fresh"},
    "of another id, larger": {**TRADED, "clientOrderId": "fresh", "origQty": "2.0", "executedQty": "2.0"},
    "rejected, of another id": {"status": "REJECTED", "clientOrderId": "fresh"},
    "of another side": {**TRADED, "side": "SELL"},
}
THE_SAME: dict[str, tuple[dict[str, Any], str]] = {
    "filled": (TRADED, "filled"),
    "amended, then filled": ({**TRADED, "clientOrderId": "new", "origQty": "0.5", "executedQty": "0.5"}, "filled"),
    "canceled": ({"status": "CANCELED"}, "canceled"),
    "canceled, with the cancel's id": ({"status": "CANCELED", "clientOrderId": "cancel"}, "canceled"),
    "a leg released later": ({**TRADED, "orderListId": 5, "time": PLACED + 90_000}, "filled"),
}


@pytest.mark.parametrize("then", OTHERS.values(), ids=OTHERS)
def test_another_order_under_the_same_id_says_nothing_of_the_one_seen(
    serve: Callable[[Any], SpotClient], then: Mapping[str, Any]
) -> None:
    """Testnets begin anew each month: what has the id then was not there when the cancel was sent."""
    row = reconciled(serve(Renewed(then)))
    assert row["outcome"] == "unknown"
    assert row["origClientOrderId"] == "own"


@pytest.mark.parametrize(("then", "outcome"), THE_SAME.values(), ids=THE_SAME)
def test_the_order_itself_is_known_again(
    serve: Callable[[Any], SpotClient], then: Mapping[str, Any], outcome: str
) -> None:
    """What may change of an order, its id by an amendment among it, makes no other of it."""
    assert reconciled(serve(Renewed(then)))["outcome"] == outcome


def listed(symbol: str) -> dict[str, Any]:
    """Return an order list of two legs."""
    return {
        "orderListId": 5,
        "contingencyType": "OCO",
        "listStatusType": "EXEC_STARTED",
        "listOrderStatus": "EXECUTING",
        "listClientOrderId": f"list-{symbol}",
        "transactionTime": PLACED,
        "symbol": symbol,
        "orders": [{"symbol": symbol, "orderId": number, "clientOrderId": f"{symbol}-{number}"} for number in (1, 2)],
    }


def numbered_by_symbol(request: Request) -> Any:
    """Answer as an exchange does that numbers lists by symbol; only on BTCUSDT a leg sells."""
    path, _, query = request.target.partition("?")
    symbol = query.partition("symbol=")[2].partition("&")[0]
    leg = {"symbol": symbol, "orderListId": 5}
    named = [{**leg, "orderId": number, "clientOrderId": f"{symbol}-{number}"} for number in (1, 2)]
    if path.endswith("/openOrderList"):
        return answer([listed("BTCUSDT"), listed("ETHUSDT")])
    if request.method == "DELETE":
        reports = [{**queried(**each), "status": "CANCELED", "transactTime": PLACED} for each in named]
        reports = [{**each, "origClientOrderId": each["clientOrderId"], "clientOrderId": "cancel"} for each in reports]
        return answer({**listed(symbol), "orderReports": reports})
    sides = ("SELL", "BUY") if symbol == "BTCUSDT" else ("BUY", "BUY")
    return answer([queried(**each, side=side) for each, side in zip(named, sides, strict=True)])


def test_a_list_is_one_symbols(serve: Callable[[Any], SpotClient]) -> None:
    """A filter takes the whole list of a matching leg, and none of another symbol with the same list id."""
    client = serve(numbered_by_symbol)
    seen = nbext.open_orders("BTCUSDT", "ETHUSDT", client=client)
    assert seen["listClientOrderId"].tolist() == ["list-BTCUSDT"] * 2 + ["list-ETHUSDT"] * 2
    frame = nbext.cancel_all("BTCUSDT", "ETHUSDT", client=client, side="SELL", yes=True)
    assert frame["symbol"].tolist() == ["BTCUSDT"] * 2
