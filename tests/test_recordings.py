"""Bodies that the real service or its testnet sent, as other projects published them, and what each must come to.

Each file of ``recordings`` names its year, the kind of its source and what it teaches; ids and names are replaced. A
frame is given column by column, times in milliseconds: a column that is not named there has to be missing, and no
other column may be there.
"""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from support.frame_rules import COLUMNS, TIMES
from support.server import answer

import nbext
from nbext import messages
from nbext.frames import build
from nbext.orders import from_open_orders, from_reports

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import PlainServer, Request

RECORDINGS = {
    path.stem: json.loads(path.read_text("utf-8")) for path in (Path(__file__).parent / "recordings").glob("*.json")
}
WITH_FRAMES = sorted(name for name, recording in RECORDINGS.items() if "frame" in recording)
FAILING = sorted(name for name, recording in RECORDINGS.items() if "error" in recording)
REFUSED = sorted(name for name, recording in RECORDINGS.items() if recording.get("outcome") == "filled")
ORDER: dict[str, Any] = {"symbol": "BTCUSDT", "orderId": 5, "orderListId": -1, "clientOrderId": "own", "price": "50000"}
ORDER |= {"origQty": "1", "executedQty": "0", "cummulativeQuoteQty": "0", "status": "NEW", "timeInForce": "GTC"}
ORDER |= {"type": "LIMIT", "side": "BUY", "time": 1, "updateTime": 1, "isWorking": True, "workingTime": 1}


def columns_of(table: pd.DataFrame) -> dict[str, list[Any]]:
    """Return a frame as a recording has it: columns that hold anything, None for missing, times in milliseconds."""
    found = {}
    for name in table.columns:
        cells = [None if pd.api.types.is_scalar(cell) and pd.isna(cell) else cell for cell in table[name]]
        if name in TIMES:
            cells = [cell and round(cell.timestamp() * 1000) for cell in cells]
        if any(cell is not None for cell in cells) or name not in COLUMNS:
            found[name] = cells
    return found


def respond(recording: dict[str, Any]) -> bytes:
    """Write the answer that was recorded; ends of bans are where they were seen from then."""
    body = recording["body"]
    text = body if isinstance(body, str) else json.dumps(body)
    text = text.replace("{in two minutes}", str(round(time.time() * 1000) + 120_000))
    return answer(text, recording["status"], recording.get("headers"))


def connect(server: PlainServer) -> nbext.SpotClient:
    """Connect to a scripted server."""
    return nbext.connect(base_url=server.url, api_key="k" * 64, secret_key="s" * 64)


def test_recordings_say_what_they_are() -> None:
    """Each has a year, a kind of source and what it teaches, and names nobody."""
    assert len(RECORDINGS) > 25
    for name, recording in RECORDINGS.items():
        assert 2017 <= recording["recorded"] <= 2026, name
        assert recording["source"].startswith(("live service", "testnet")), name
        assert recording["teaches"], name
        assert {"frame", "error", "outcome"} & recording.keys(), name


@pytest.mark.parametrize("name", WITH_FRAMES)
def test_a_recorded_body_gives_this_frame(name: str) -> None:
    """Every column is what was sent, or missing."""
    recording = RECORDINGS[name]
    body = recording["body"] if isinstance(recording["body"], list) else [recording["body"]]
    rows = from_open_orders(body) if recording["request"].startswith("GET") else from_reports(body)
    table = build.frame(rows)
    assert columns_of(table) == recording["frame"]
    assert build.is_frame(table)
    assert table.attrs["nbext"]["inexact"] == {}
    assert recording.get("said", "") in messages.outcomes(rows) + messages.kinds(rows)


@pytest.mark.parametrize("name", [name for name in WITH_FRAMES if RECORDINGS[name]["request"].endswith("/openOrders")])
def test_a_recorded_answer_gives_this_frame_in_a_call(serve: Callable[..., PlainServer], name: str) -> None:
    """The whole call makes the same frame of it."""
    recording = RECORDINGS[name]

    def script(request: Request) -> bytes:
        return answer([]) if request.path.endswith("openOrderList") else respond(recording)

    server = serve(script)
    symbol = recording["frame"]["symbol"][0]
    with connect(server) as client:
        if recording["request"].startswith("GET"):
            table = nbext.open_orders(symbol, client=client)
        else:
            table = nbext.cancel_all(symbol, client=client, yes=True)
            assert [request.method for request in server.requests] == ["DELETE"]
    assert columns_of(table) == recording["frame"]


@pytest.mark.parametrize("name", FAILING)
def test_a_recorded_failure_raises_this_error(serve: Callable[..., PlainServer], name: str) -> None:
    """What may be believed follows from the status; the cancel is sent once."""
    recording = RECORDINGS[name]
    server = serve(lambda request: respond(recording) if request.method == "DELETE" else answer([]))
    with connect(server) as client:
        with pytest.raises(nbext.NbextError) as raised:
            nbext.cancel_all("BTCUSDT", client=client, yes=True, reconcile=0.5)
        assert type(raised.value).__name__ == recording["error"]
        assert sum(request.method == "DELETE" for request in server.requests) == 1
        assert "<" not in str(raised.value)
        if "wait" in recording:
            assert isinstance(raised.value, nbext.RateLimitedError)
            assert raised.value.retry_after == pytest.approx(recording["wait"], abs=3)
            count = len(server.requests)
            with pytest.raises(nbext.RateLimitedError):
                nbext.open_orders("BTCUSDT", client=client)
            assert len(server.requests) == count
        if recording["error"] == "RejectedError":
            assert isinstance(raised.value, nbext.RejectedError)
            assert raised.value.http_status == recording["status"]


def test_nothing_open_is_no_error(serve: Callable[..., PlainServer]) -> None:
    """The documented text means an empty frame."""
    server = serve(lambda _: respond(RECORDINGS["nothing_open"]))
    with connect(server) as client:
        assert len(nbext.cancel_all("BTCUSDT", client=client, yes=True)) == 0


@pytest.mark.parametrize("name", REFUSED)
def test_whatever_a_refused_cancel_says_the_order_is_read_again(serve: Callable[..., PlainServer], name: str) -> None:
    """The order was filled in the meantime: that is its row, and not what was seen before."""
    filled = {**ORDER, "status": "FILLED", "executedQty": "1", "cummulativeQuoteQty": "50000", "isWorking": False}
    refused = False

    def script(request: Request) -> bytes:
        nonlocal refused
        if request.method == "DELETE":
            refused = True
            return respond(RECORDINGS[name])
        if request.path == "/api/v3/order":
            return answer(filled if refused else ORDER)
        if request.path == "/api/v3/allOrders":
            return answer([filled if refused else ORDER])
        return answer([] if refused or request.path.endswith("List") else [ORDER])

    server = serve(script)
    with connect(server) as client:
        table = nbext.cancel_all("BTCUSDT", side="BUY", client=client, yes=True, reconcile=5)
    assert table["outcome"].tolist() == ["filled"]
    assert table["executedQty"].tolist() == [1.0]
    assert table["origClientOrderId"].tolist() == ["own"]
    assert sum(request.method == "DELETE" for request in server.requests) == 1
