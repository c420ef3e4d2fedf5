"""What a journal may never do: stop a cancel, take long, or be believed beyond what it knows."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import time
import tracemalloc
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from support.jobs import make_job

import nbext
from nbext import session
from nbext.cancel import unfinished
from nbext.cancel.job import SENDING_SECONDS
from nbext.cancel.selection import Latency
from nbext.entries import Conclusion, Intent
from nbext.journal import GRACE_MS, Journal

if TYPE_CHECKING:
    from pathlib import Path

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient

PATH = "/api/v3/openOrders"


@pytest.fixture
def kept(exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> SpotClient:
    """Connect to it as the profile `custom`, which a later reconciliation uses, too."""
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url)
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    return session.client_for()


def alter(path: Path, statement: str, *values: object) -> None:
    """Change the journal behind its back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement, values)


def make_overdue(path: Path) -> None:
    """Let an hour pass for every deadline, but for no cancel."""
    alter(path, "UPDATE intents SET deadline = deadline - 3600000")


def still_open(exchange: LocalExchange) -> int:
    """Count what is open on BTCUSDT."""
    return len(exchange.open_orders("BTCUSDT"))


def test_a_relative_path_in_a_deleted_folder_stops_nothing(
    exchange: LocalExchange, client: SpotClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The cancel goes out, says that it was not recorded, and what to do."""
    folder = tmp_path / "gone"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv("NBEXT_JOURNAL", "journal.sqlite3")
    folder.rmdir()
    said: list[str] = []
    assert len(make_job(["BTCUSDT"], client=client, say=said.append).run()) == 13
    assert [line for line in said if "Not recorded in the journal" in line] == [
        "Not recorded in the journal: journal.sqlite3 is relative to a deleted folder: use an absolute path"
    ]
    assert still_open(exchange) == 0


@pytest.mark.skipif(not hasattr(os, "setuid") or os.geteuid() != 0, reason="takes on the id of a user without a home")
@pytest.mark.parametrize("named", ["", "~/journal.sqlite3"])
def test_a_user_without_a_home_directory_can_cancel(named: str) -> None:
    """Nobody has to have a home: the journal says that it has no place, and does not raise."""
    code = f"""
        import os, platformdirs, sqlite3
        from nbext.entries import Intent
        from nbext.journal import Journal
        for name in ("HOME", "XDG_DATA_HOME"):
            os.environ.pop(name, None)
        os.environ["NBEXT_JOURNAL"] = {named!r}
        os.setuid(54321)
        journal = Journal.from_environment()
        print(journal.intend([Intent("a", "b", 1, 2, "live", "h", "DELETE", "/", {{}})]))
        """
    out = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True)
    assert "set NBEXT_JOURNAL to a file" in out.stdout, out.stdout


def test_what_cannot_be_recorded_is_a_reason(path: Path) -> None:
    """A value that has no form in JSON, or a fingerprint that fails, is said and does not raise."""
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    seen = [{"symbol": deep}]
    journal = Journal(path)
    assert "recursion" in journal.intend([Intent("a", "b", 1, 2, "live", "h", "DELETE", "/", {}, seen)])
    assert "division" in journal.intend([Intent("c", "b", 1, 2, "live", "h", "DELETE", "/", {})], lambda _: str(1 / 0))
    assert journal.intend([Intent("d", "b", 1, 2, "live", "h", "DELETE", "/", {})]) == ""
    journal.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("params", b"\xff\xfe"),
        ("params", "[1]"),
        ("seen", "{"),
        ("outcomes", '["canceled"]'),
        ("outcomes", 7),
        ("sent_at", "yesterday"),
        ("deadline", b"\x00"),
        ("profile", 3.5),
        ("http_status", "teapot"),
        ("error", b"\x80"),
        ("error", b"\xc3("),  # a text that is not UTF-8
        ("left_at", 1 << 62),
    ],
)
def test_one_bad_row_does_not_spoil_the_rest(path: Path, kept: SpotClient, column: str, value: object) -> None:
    """The other rows are shown as they were recorded, and the bad one as damaged, if it is."""
    nbext.cancel_all("BTCUSDT", client=kept)
    nbext.cancel_all("ETHUSDT", client=kept)
    put = "CAST(? AS TEXT)" if value == b"\xc3(" else "?"
    alter(path, f"UPDATE intents SET {column} = {put} WHERE number = 1", value)  # noqa: S608 - from the list above
    frame = nbext.cancel_log()
    assert frame["request"].iloc[1] == "cancel all on ETHUSDT"
    assert frame["canceled"].iloc[1] == 5
    assert frame["state"].iloc[1] == "concluded"
    assert frame["state"].iloc[0] == (
        "concluded" if column in {"profile", "left_at"} or value == b"\xc3(" else "damaged"
    )
    alter(path, "UPDATE intents SET concluded_at = NULL, deadline = 2 WHERE number = 1")
    frame = unfinished.reconcile_open(seconds=5, say=lambda _: None)
    if column in {"params", "seen"}:  # what was asked is not known, so no read may conclude it
        assert frame["state"].iloc[0] == "damaged"
        assert Journal(path).count_open() == 1


def test_a_recv_window_that_is_damaged_ends_no_reconciling(
    exchange: LocalExchange, kept: SpotClient, path: Path
) -> None:
    """A request whose recv window cannot be read stays open, and those after it are reconciled."""
    lose(exchange, kept, path)
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000")
    lose(exchange, kept, path)
    alter(path, 'UPDATE intents SET params = \'{"symbol":"BTCUSDT","recvWindow":"abc"}\' WHERE number = 1')
    said: list[str] = []
    frame = unfinished.reconcile_open(say=said.append)
    assert "not reconciled, since its record is damaged" in said[0]
    assert frame["state"].tolist() == ["not concluded", "concluded"]


def test_a_long_journal_is_read_in_pages(path: Path) -> None:
    """Of 100,000 requests without a conclusion, the log shows the last 1,000, and reconciling holds few at a time."""
    journal = Journal(path)
    long_ago = Intent("0", "c", 1, 2, "testnet", "h", "DELETE", PATH, {"symbol": "BTCUSDT"})
    assert journal.intend([long_ago]) == ""
    alter(
        path,
        """
        WITH RECURSIVE count(n) AS (SELECT 2 UNION ALL SELECT n + 1 FROM count WHERE n < 100000)
        INSERT INTO intents (id, call_id, sent_at, deadline, profile, host, key, account, method, path, params, seen)
        SELECT n, call_id, n, n, profile, host, key, account, method, path, params, seen FROM count, intents
        WHERE number = 1
        """,
    )
    assert (journal.count(), journal.count_open()) == (100_000, 100_000)
    tracemalloc.start()
    frame = nbext.cancel_log()
    said = unfinished.shown_of(unfinished.LAST)
    unfinished.reconcile_open(seconds=0.3, say=lambda _: None)  # there is no key, so each takes no time
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(frame) == 1000
    assert frame["id"].iloc[-1] == "100000"
    assert said == "The last 1,000 of 100,000 requests. Use --last N to see more."
    assert peak < 20e6
    assert len(nbext.cancel_log(None)) == 100_000
    journal.close()


def lose(exchange: LocalExchange, client: SpotClient, path: Path) -> None:
    """Cancel everything, lose the answer, and end before what became of it is known."""
    exchange.faults.lose_answer("DELETE", PATH)
    with pytest.raises(nbext.OutcomeUnknownError):
        make_job(["BTCUSDT"], client=client, reconcile=0.0).run()
    assert still_open(exchange) == 0
    make_overdue(path)


def test_another_key_concludes_nothing(
    exchange: LocalExchange, kept: SpotClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another account sees none of the orders: its key may not say what became of them; the right one may, later."""
    lose(exchange, kept, path)
    other = exchange.add_key(account="other")
    monkeypatch.setenv("BINANCE_API_KEY", other.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", str(other.secret_key))
    said: list[str] = []
    unfinished.reconcile_open(say=said.append)
    assert f"sent with the key ...{exchange.api_key[-4:]}" in said[0]
    assert f"has the key ...{other.api_key[-4:]} now" in said[0]
    assert nbext.cancel_log()["state"].tolist() == ["not concluded"]
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    assert unfinished.reconcile_open(say=said.append)["canceled"].tolist() == [13]
    assert exchange.api_key.encode() not in path.read_bytes()


def test_absence_concludes_nothing(exchange: LocalExchange, kept: SpotClient, path: Path) -> None:
    """A journal whose times are far from the truth finds no order, and does not say that none was open."""
    lose(exchange, kept, path)
    day = 86_400_000
    alter(
        path, "UPDATE intents SET left_at = left_at - ?, sent_at = sent_at - ?, deadline = deadline - ?", day, day, day
    )
    said: list[str] = []
    frame = unfinished.reconcile_open(say=said.append)
    assert "whether anything was open is not known" in said[0]
    assert "nothing was open" not in said[0]
    assert frame["error"].iloc[0] == (
        "found no order that this cancel can have ended; whether anything was open is not known"
    )


def test_a_deadline_covers_all_that_a_cancel_may_take(kept: SpotClient, path: Path) -> None:
    """Until then it may wait, be on its way for the recv window, and take effect in the engine."""
    make_job(["BTCUSDT"], client=kept, recv_window=60_000, max_wait=10.0).run()
    intent = Journal(path).entries()[0].intent
    most = (SENDING_SECONDS + 10 + 60 + Latency().engine) * 1000
    assert most - 5000 < intent.deadline - intent.sent_at <= most  # less what this machine took to get there


def test_what_was_not_proven_in_time_stays_open(exchange: LocalExchange, kept: SpotClient, path: Path) -> None:
    """An exchange that answers nothing but the time leaves the request for later."""
    lose(exchange, kept, path)
    for name in ("openOrders", "openOrderList", "allOrders", "order"):
        exchange.faults.unavailable("GET", f"/api/v3/{name}", times=None)
    said: list[str] = []
    assert unfinished.reconcile_open(seconds=2, say=said.append)["state"].tolist() == ["not concluded"]
    assert "not reconciled within" in "".join(said)
    exchange.faults.clear()
    assert unfinished.reconcile_open(say=said.append)["canceled"].tolist() == [13]


def test_another_host_concludes_nothing(
    exchange: LocalExchange, kept: SpotClient, path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The profile's host was changed after the cancel: the new one is not asked, and the old one may be, later."""
    lose(exchange, kept, path)
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url.replace("127.0.0.1", "localhost"))
    asked, said = len(exchange.requests()), list[str]()
    assert unfinished.reconcile_open(say=said.append)["state"].tolist() == ["not concluded"]
    assert "now has the host localhost:" in said[0]
    assert len(exchange.requests()) == asked


def test_a_local_exchange_that_has_ended_tells_nothing_more(path: Path) -> None:
    """Its orders went with it: the request is concluded for good, and nobody is asked."""
    local = nbext.local()
    local.seed_orders()
    local.faults.lose_answer("DELETE", PATH)
    with pytest.raises(nbext.OutcomeUnknownError):
        nbext.cancel_all("BTCUSDT", profile="local", reconcile=0)
    local.stop()
    make_overdue(path)
    said: list[str] = []
    assert unfinished.reconcile_open(say=said.append)["state"].tolist() != ["not concluded"]
    assert "the local exchange that it went to has ended" in said[0]
    assert [request["method"] for request in nbext.local().requests()] == ["DELETE"]


def test_each_request_has_its_own_time(exchange: LocalExchange, kept: SpotClient, path: Path) -> None:
    """A request that left seconds after its call began, by a clock that was off, has the exchange's time of leaving."""
    exchange.faults.skew = 30.0
    kept.measure_clock_offset()
    exchange.faults.limit("DELETE", PATH, retry_after=1)
    began = time.time() * 1000 + 30_000
    exchange.faults.lose_answer("DELETE", PATH)
    with pytest.raises(nbext.OutcomeUnknownError):
        make_job(["BTCUSDT"], client=kept, reconcile=0.0).run()
    entry = Journal(path).entries()[0]
    assert entry.left_at is not None
    assert abs(entry.intent.sent_at - began) < 900
    assert 1000 <= entry.left_at - entry.intent.sent_at < 9000
    assert entry.intent.deadline - entry.left_at >= 15_000
    assert entry.concluded_at is None
    assert [order["outcome"] for order in entry.outcomes].count("unknown") == len(entry.outcomes)
    exchange.faults.skew = 0.0
    kept.measure_clock_offset()
    make_overdue(path)
    exchange.faults.skew = 30.0
    session.reset()
    assert unfinished.reconcile_open(say=lambda _: None)["canceled"].tolist() == [13]


@pytest.mark.parametrize("left", ["recorded", "never recorded"])
def test_a_request_that_left_a_minute_after_its_call_began_is_found(
    exchange: LocalExchange, kept: SpotClient, path: Path, left: str
) -> None:
    """By the time at which it left; after a kill, which records none, by the last one at which it can have left."""
    exchange.faults.skew = -300.0  # so that its deadline is long over by this machine's clock
    kept.measure_clock_offset()
    exchange.faults.lose_answer("DELETE", PATH)
    with pytest.raises(nbext.OutcomeUnknownError):
        make_job(["BTCUSDT"], client=kept, reconcile=0.0).run()
    alter(path, "UPDATE intents SET sent_at = sent_at - 60000")
    if left == "never recorded":
        alter(path, "UPDATE intents SET left_at = NULL")
    session.reset()
    assert unfinished.reconcile_open(say=lambda _: None)["canceled"].tolist() == [13]


def test_a_fingerprint_tells_nothing_beyond_its_journal(
    kept: SpotClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each journal has a salt of its own: the same key has another fingerprint in each, and the same within one."""
    accounts: list[str] = []
    for name in ("one", "other"):
        monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / name))
        for symbol in ("BTCUSDT", "ETHUSDT"):
            nbext.cancel_all(symbol, client=kept)
        accounts += [entry.intent.account for entry in Journal(tmp_path / name).entries()]
    assert accounts[0] == accounts[1] != accounts[2] == accounts[3]
    assert all(len(account) == 32 for account in accounts)


def test_a_conclusion_that_is_not_final_stays_open(path: Path) -> None:
    """What is known so far is shown, and the request is still to be reconciled."""
    journal = Journal(path)
    journal.intend([Intent("a", "b", 1, 2, "live", "h", "DELETE", PATH, {"symbol": "BTCUSDT"})])
    unknown = [{"symbol": "BTCUSDT", "orderId": 7, "outcome": "unknown"}]
    assert journal.conclude_all([Conclusion("a", 504, b"{}", unknown, "lost", left_at=5, is_final=False)]) == ""
    frame = nbext.cancel_log()
    assert frame[["state", "httpStatus", "unknown", "error"]].values.tolist() == [["not concluded", 504, 1, "lost"]]
    assert journal.count_open(before=3 + GRACE_MS) == 1
    assert journal.conclude("a", http_status=None, answer=None, outcomes=[], error="reconciled later") == ""
    entry = journal.entries()[0]
    assert (entry.left_at, entry.http_status, entry.has_answer) == (5, 504, True)
    assert journal.count_open() == 0
    journal.close()


def test_a_request_is_overdue_a_minute_after_its_deadline(path: Path) -> None:
    """Not before: the exchange's clock and this one may differ."""
    journal = Journal(path)
    journal.intend([Intent("a", "b", 1, 1_000_000, "live", "h", "DELETE", PATH, {"symbol": "BTCUSDT"})])
    assert journal.overdue(1_000_000 + 59_000) == []
    assert journal.count_open(before=1_000_000 + 59_000) == 0
    assert len(journal.overdue(1_000_000 + 61_000)) == 1
    journal.close()


def test_a_request_is_under_way_until_its_call_ends(path: Path) -> None:
    """Before its deadline a request is waited for; a call that gave up, or a deadline that passed, ends that."""
    journal = Journal(path)
    ends = time.time_ns() // 1_000_000 + 60_000
    for name in ("waited for", "given up"):
        journal.intend([Intent(name, "b", 1, ends, "live", "h", "DELETE", PATH, {"symbol": "BTCUSDT"})])
    journal.intend([Intent("killed", "b", 1, 2, "live", "h", "DELETE", PATH, {"symbol": "BTCUSDT"})])
    assert nbext.cancel_log()["state"].tolist() == ["under way", "under way", "not concluded"]
    journal.conclude_all([Conclusion("given up", None, None, [], "lost", left_at=1, is_final=False)])
    assert nbext.cancel_log()["state"].tolist() == ["under way", "not concluded", "not concluded"]
    journal.close()
