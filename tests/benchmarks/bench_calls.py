"""Calls of a process that is warm: the client's, and the whole of a cancel-all with its journal and its frame."""

from __future__ import annotations

import json
import subprocess
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests
from figures import NEAR_PEERS, PEERS
from floors import API_KEY, OPEN_ORDERS, SECRET_KEY, HandSigned, signed, table

import nbext
from nbext.frames.build import COLUMNS

if TYPE_CHECKING:
    from figures import Figures, Race
    from pandas import DataFrame
    from serving import Server

CONTENDERS = Path(__file__).with_name("contenders.py")
SIZES = (0, 4, 200)


@pytest.mark.parametrize("orders", SIZES)
def test_a_warm_client_takes_at_most_twice_the_floor(race: Race, canned: Server, orders: int) -> None:
    """`SpotClient.cancel_open_orders` beside a hand-signed `http.client` that keeps its connection."""
    symbol = f"N{orders}USDT"
    with (
        HandSigned(canned.url) as floor,
        nbext.SpotClient(canned.url, api_key=API_KEY, secret_key=SECRET_KEY) as client,
    ):
        assert client.cancel_open_orders(symbol) == (floor.cancel(symbol) if orders else [])
        race(
            "warm `SpotClient.cancel_open_orders`, floor `http.client`",
            f"{orders:,}",
            partial(client.cancel_open_orders, symbol),
            partial(floor.cancel, symbol),
            2.0,
            rounds=2000 if orders < SIZES[-1] else 500,
        )


@pytest.mark.parametrize("orders", SIZES[1:])
@pytest.mark.parametrize("peer", NEAR_PEERS)
def test_a_warm_peer(figures: Figures, canned: Server, peer: str, orders: int) -> None:
    """The same job through somebody else's client, unmodified, in its own environment."""
    rounds = figures.rounds(300)
    command = [PEERS[peer], str(CONTENDERS), "warm", peer, canned.url, f"N{orders}USDT", str(rounds)]
    done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
    theirs, floor = json.loads(done.stdout)
    assert len(theirs) == rounds
    figures.time(f"warm {peer}, floor `http.client`", f"{orders:,}", theirs, floor)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Name the journal that calls write into."""
    path = tmp_path / "journal.sqlite3"
    monkeypatch.setenv("NBEXT_JOURNAL", str(path))
    return path


@pytest.mark.parametrize("orders", [4, 200, 20_000])
def test_the_whole_of_a_cancel_all(race: Race, figures: Figures, canned: Server, journal: Path, orders: int) -> None:
    """Select, journal, send, frame: beside a requests session, flattening and a DataFrame of the same dtypes."""
    session, symbol = requests.Session(), f"N{orders}USDT"
    client = nbext.connect(base_url=canned.url, api_key=canned.api_key, secret_key=canned.secret_key)

    def ours() -> DataFrame:
        return nbext.cancel_all(symbol, client=client, yes=True)

    def floor() -> DataFrame:
        reply = session.delete(
            canned.url + signed(OPEN_ORDERS, f"symbol={symbol}"), headers={"X-MBX-APIKEY": API_KEY}, timeout=10
        )
        return table(reply.json(), COLUMNS)

    def commits() -> int:
        """Read the file change counter, which every transaction that changes the file makes one larger."""
        return int.from_bytes(journal.read_bytes()[24:28], "big")

    with session, client:
        assert ours().equals(floor())
        before = commits()
        ours()
        figures.count("commits of a `cancel_all`", f"{orders:,}", commits() - before, 2)
        what = "whole `cancel_all`, journal included, floor `requests` and a DataFrame"
        # The bar is for 200 orders; the others show how it grows.
        bar = {200: 1.05}.get(orders)
        race(what, f"{orders:,}", ours, floor, bar, rounds=100 if orders < 20_000 else 6)
