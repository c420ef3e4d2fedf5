"""Which orders go, what is recorded of it, and what an interrupt leaves behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pandas as pd
import pyarrow as pa
import pytest
from support.jobs import make_job

import nbext
from nbext import session
from nbext.cancel import job as cancel
from nbext.cancel import unfinished
from nbext.exchange import LocalExchange
from nbext.exchange.engine.symbols import LISTINGS
from nbext.frames import columns
from nbext.orders import Row

if TYPE_CHECKING:
    from pathlib import Path

    from nbext.spot.client import SpotClient

PATH = "/api/v3/openOrders"


def still_open(exchange: LocalExchange, symbol: str = "BTCUSDT") -> set[Any]:
    """Ask the exchange itself what is open."""
    return {order["orderId"] for order in exchange.open_orders(symbol)}


@pytest.mark.parametrize(
    ("chosen", "means"),
    [
        ({"side": "buy"}, lambda order: order["side"] == "BUY"),
        ({"type": "limit_maker"}, lambda order: order["type"] == "LIMIT_MAKER"),
        ({"side": "SELL", "type": "STOP_LOSS"}, lambda order: (order["side"], order["type"]) == ("SELL", "STOP_LOSS")),
        ({"older_than": "0s"}, lambda _: True),
        ({"older_than": timedelta(hours=1)}, lambda _: False),
    ],
)
def test_a_filter_cancels_what_matches_and_whole_lists(
    exchange: LocalExchange,
    client: SpotClient,
    chosen: dict[str, Any],
    means: Any,
) -> None:
    """Single orders that match go, lists with a leg that matches go whole, and everything else stays."""
    before = exchange.open_orders("BTCUSDT")
    lists = {order["orderListId"] for order in before if means(order)} - {-1}
    expected = {order["orderId"] for order in before if means(order) or order["orderListId"] in lists}
    said: list[str] = []
    frame = make_job(["BTCUSDT"], client=client, say=said.append, **chosen).run()
    assert set(frame["orderId"]) == expected
    assert set(frame["outcome"]) <= {"canceled"}
    assert still_open(exchange) == {order["orderId"] for order in before} - expected
    assert all(request["path"] != PATH for request in exchange.requests("DELETE"))


@pytest.mark.parametrize(
    ("age", "said"),
    [("50m", "50 min"), ("90m", "90 min"), ("2h", "2 h"), ("48h", "2 d"), ("1.5s", "1.5 s"), ("0s", "0 s")],
)
def test_an_age_is_said_in_the_largest_unit_that_leaves_no_rest(
    exchange: LocalExchange, client: SpotClient, age: str, said: str
) -> None:
    """And not as 0:50:00."""
    exchange.advance(3 * 86400)
    lines: list[str] = []
    make_job(["BTCUSDT"], client=client, say=lines.append, older_than=age).rehearse()
    assert f" matching older than {said} would be canceled" in lines[-1]


def test_a_prefix_cancels_only_ones_own(exchange: LocalExchange, client: SpotClient) -> None:
    """Orders whose client order id begins otherwise are somebody else's."""
    mine = [
        exchange.place(
            "BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price="50000", newClientOrderId=f"run7-{n}"
        )["orderId"]
        for n in range(3)
    ]
    others = still_open(exchange) - set(mine)
    preview = nbext.cancel_all("BTCUSDT", client=client, prefix="run7-", dry_run=True)
    assert preview["orderId"].tolist() == mine
    assert still_open(exchange) == others | set(mine)
    assert nbext.cancel_all("BTCUSDT", client=client, prefix="run7-")["orderId"].tolist() == mine
    assert still_open(exchange) == others


def test_a_filtered_question_never_says_all(exchange: LocalExchange, client: SpotClient) -> None:
    """The question counts what matches, and says which orders go only because a list goes whole."""
    asked: list[str] = []

    def ask(preview: pd.DataFrame, question: str) -> str:
        asked.append(question)
        return str(len(preview))

    job = make_job(["BTCUSDT"], client=client, type="LIMIT_MAKER")
    frame = cancel.perform(job, ask=ask, confirm="always")
    assert len(frame) == 2
    assert asked[0].startswith(
        "Cancel 2 open orders matching LIMIT_MAKER on BTCUSDT (1 OCO list), 1 of them only because a list"
    )
    assert "all" not in asked[0].partition("(")[0].split()
    assert len(still_open(exchange)) == 11


@pytest.mark.parametrize(
    "wrong",
    [
        {"side": " "},
        {"side": "HOLD"},
        {"type": ""},
        {"type": "a b"},
        {"prefix": ""},
        {"older_than": "soon"},
        {"older_than": ""},
    ],
)
def test_a_blank_or_wrong_filter_is_refused(exchange: LocalExchange, client: SpotClient, wrong: dict[str, Any]) -> None:
    """A filter that filters nothing by mistake must not cancel everything."""
    with pytest.raises(nbext.ConfigurationError, match="nothing was sent"):
        nbext.cancel_all("BTCUSDT", client=client, **wrong)
    assert exchange.requests() == []


def test_a_frame_cancels_its_orders(exchange: LocalExchange, client: SpotClient) -> None:
    """Rows of open orders go singly, by both ids; what had ended meanwhile has its row as well."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    chosen = frame[(frame["orderListId"] == -1) & (frame["type"] == "LIMIT")]
    exchange.set_price("BTCUSDT", "59900")  # the highest bid fills
    result = nbext.cancel_orders(chosen, client=client).set_index("orderId")["outcome"]
    assert set(result.index) == set(chosen["orderId"])
    assert result.value_counts().to_dict() == {"canceled": len(chosen) - 1, "filled": 1}
    assert still_open(exchange).isdisjoint(chosen["orderId"])
    again = nbext.cancel_orders(chosen, client=client)
    assert set(again["outcome"]) == {"canceled", "filled"}


def test_rows_of_ours_are_taken_in_whatever_shape(exchange: LocalExchange, client: SpotClient) -> None:
    """Put together, cut down, of other dtypes, one row alone: what this process showed is known by its ids."""
    bitcoin, ether = (nbext.open_orders(symbol, client=client) for symbol in ("BTCUSDT", "ETHUSDT"))
    both = pd.concat([bitcoin, ether], ignore_index=True)
    assert both.attrs == {}
    single = both[both["orderListId"] == -1]
    ids = ["symbol", "orderId", "origClientOrderId"]
    shapes: list[Any] = [
        both,
        single,
        single[ids],
        single[[*reversed(ids), "side"]],
        single.assign(orderId=single["orderId"].astype(float)),
        single.astype(object),
        single.astype({"orderId": "int32", "symbol": "category"}),
        single.assign(note="x").sample(frac=1).reset_index(),
        single.merge(single[["orderId"]].assign(why="old"), on="orderId"),
        pd.read_csv(io.StringIO(single.to_csv(index=False))),
        pd.concat([single, single]),
        pd.concat([bitcoin.head(0), ether.head(0)]),
        single.iloc[0],
        single.set_index("orderId", drop=False).loc[single["orderId"].iloc[1]],
        bitcoin.iloc[3],
        bitcoin.set_index("orderId").reset_index(),
    ]
    for shape in shapes:
        wanted = {shape["orderId"]} if isinstance(shape, pd.Series) else set(shape["orderId"])
        shown = nbext.cancel_orders(shape, client=client, dry_run=True)
        lists = set(both.loc[both["orderId"].isin(wanted) & (both["orderListId"] != -1), "orderListId"])
        assert set(shown["orderId"]) == wanted | set(both.loc[both["orderListId"].isin(lists), "orderId"])
    result = nbext.cancel_orders(single, client=client)
    assert set(result["outcome"]) == {"canceled"}
    assert set(result["orderId"]) == set(single["orderId"])
    assert still_open(exchange).isdisjoint(single["orderId"])


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_a_frame_of_elsewhere_is_refused(exchange: LocalExchange, client: SpotClient) -> None:
    """Of another profile or host, of two, or nothing that names orders of ours: one line, and nothing is sent."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    with LocalExchange() as other:
        other.seed_orders()
        stranger = nbext.connect(base_url=other.url, api_key=other.api_key, secret_key=other.secret_key)
        theirs = nbext.open_orders("ETHUSDT", client=stranger)
        stranger.close()
    sent = len(exchange.requests())
    elsewhere = frame.copy()
    elsewhere.attrs = {"nbext": {**frame.attrs["nbext"], "host": "127.0.0.1:1"}}
    unheard = frame.assign(origClientOrderId="nobodys")
    unheard.attrs = {}
    missing = frame.assign(orderId=pd.array([pd.NA, *frame["orderId"][1:]], "Int64"))
    missing.attrs = {}
    refused: list[tuple[Any, str]] = [
        (elsewhere, "has orders of custom"),
        (theirs, "has orders of custom"),
        (pd.concat([frame, theirs]), "has orders of custom"),
        (theirs.iloc[0], "has orders of custom"),
        (unheard, "not every row of this frame names an order that nbext showed"),
        (missing, "not every row"),
        (frame.reindex(range(len(frame) + 1)), "not every row"),
        (frame.assign(orderId=pd.array([pd.NA, *frame["orderId"][1:]], "Int64")), "not every row"),
        (frame.merge(pd.DataFrame({"symbol": ["ETHUSDT"]}), how="outer"), "not every row"),
        (
            frame.assign(orderId=frame["orderId"].astype(str))[["symbol", "orderId", "origClientOrderId"]],
            "not every row",
        ),
        (pd.DataFrame({"orderId": [1]}), "not a DataFrame without the columns"),
        (frame[["orderId", "symbol"]], "not a DataFrame without the columns"),
        (frame.rename(columns={"orderId": "id"}), "not a DataFrame without the columns"),
        (frame["orderId"], "not a Series without the columns"),
        (pd.concat([frame, frame], axis=1), "not a DataFrame without the columns"),
        (pd.DataFrame(), "not a DataFrame without the columns"),
        (frame.to_dict("records"), "not list"),
        (frame.to_dict(), "not dict"),
        (frame["orderId"].tolist(), "not list"),
        ([frame, frame], "not list"),
        (None, "not NoneType"),
        ("BTCUSDT", "not str"),
        (11, "not int"),
        (frame["orderId"].to_numpy(), "not ndarray"),
        (pa.Table.from_pandas(frame), "not a pyarrow Table, whose to_pandas() may be one"),
    ]
    for wrong, words in refused:
        with pytest.raises(nbext.ConfigurationError, match=rf"{re.escape(words)}.*nothing was sent\.") as caught:
            nbext.cancel_orders(wrong, client=client)
        assert len(str(caught.value).splitlines()) == 1
    assert nbext.cancel_orders(frame[frame["price"] < 0], client=client).empty
    assert len(exchange.requests()) == sent


def test_only_so_many_orders_are_remembered(exchange: LocalExchange, client: SpotClient) -> None:
    """The latest are; and unloading forgets them all."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    frame.attrs = {}
    order = {"symbol": "BTCUSDT", "orderId": 0, "origClientOrderId": ""}
    rows = [Row({**order, "orderId": -number}, None, "open") for number in range(1, session.MOST_SHOWN)]
    session.note_shown((row.order for row in rows), client)
    assert len(session._shown_at) == session.MOST_SHOWN
    with pytest.raises(nbext.ConfigurationError, match="not every row"):
        nbext.cancel_orders(frame, client=client, dry_run=True)
    session.note_shown([{"symbol": [], "orderId": {}}], client)
    session.reset()
    assert not session._shown_at
    assert exchange.requests()


def test_a_pandas_that_is_too_old_is_named_before_anything_is_sent(tmp_path: Path, exchange: LocalExchange) -> None:
    """Colab has one loaded before anything is installed: the kernel has to be restarted."""
    (tmp_path / "pandas.py").write_text("__version__ = '2.2.3'")
    script = """
    import pandas, nbext
    with nbext.connect(base_url=URL, api_key=KEY, secret_key=SECRET) as client:
        for call in (nbext.cancel_all, nbext.open_orders, lambda *_, **more: nbext.cancel_orders(None, client=client)):
            try: call("BTCUSDT", client=client)
            except nbext.ConfigurationError as error: print(error)
    """
    for name, value in {"URL": exchange.url, "KEY": exchange.api_key, "SECRET": exchange.secret_key}.items():
        script = script.replace(name, repr(value))
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": path},
    )
    lines = ran.stdout.splitlines()
    assert len(lines) == 3, ran.stderr
    for line in lines:
        assert "pandas 2.2.3" in line
        assert "nothing was sent. Restart the kernel" in line
    assert exchange.requests() == []


def test_a_strangers_order_with_the_same_id_stays(exchange: LocalExchange, client: SpotClient) -> None:
    """An order is named by both its ids, so that one that only shares the number is left alone."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    frame["origClientOrderId"] = "somebody-elses"
    before = still_open(exchange)
    with pytest.raises(nbext.NbextError):
        nbext.cancel_orders(frame.head(1), client=client, reconcile=3)
    assert still_open(exchange) == before


def test_the_intent_is_on_disk_before_the_request_leaves(
    exchange: LocalExchange, client: SpotClient, journal_path: Path
) -> None:
    """While the exchange works on the DELETE, the journal holds what was asked; afterwards, what came of it."""
    exchange.faults.answer_late("DELETE", PATH, seconds=0.5)
    seen: list[tuple[Any, ...]] = []

    def read() -> None:
        time.sleep(0.25)
        with sqlite3.connect(journal_path) as connection:
            seen.extend(connection.execute("SELECT params, concluded_at FROM intents"))
        connection.close()

    reader = threading.Thread(target=read)
    reader.start()
    frame = nbext.cancel_all("BTCUSDT", client=client, recv_window="4000.5")
    reader.join()
    expected = {"symbol": "BTCUSDT", "recvWindow": "4000.5"}
    assert [(json.loads(params), end) for params, end in seen] == [(expected, None)]
    entry = nbext.cancel_log()
    assert entry["canceled"].tolist() == [len(frame)]
    assert entry["state"].tolist() == ["concluded"]
    assert entry["callId"].tolist() == [frame.attrs["nbext"]["call_id"]]
    raw = unfinished.raw_answer(entry["id"].iloc[0])
    assert '"orderReports"' in raw
    assert exchange.secret_key not in journal_path.read_bytes().decode("latin-1")
    assert "signature" not in journal_path.read_bytes().decode("latin-1")


def test_a_journal_that_cannot_be_written_stops_nothing(
    exchange: LocalExchange, client: SpotClient, journal_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The cancel goes out all the same, and says that it was not recorded."""
    journal_path.write_bytes(b"not a database at all, but long enough to be looked at" * 10)
    said: list[str] = []
    assert len(make_job(["BTCUSDT"], client=client, say=said.append).run()) == 13
    assert any(line.startswith("Not recorded in the journal:") for line in said)
    assert still_open(exchange) == set()
    assert caplog.messages == []


def test_a_function_warns_that_it_was_not_recorded(
    client: SpotClient, journal_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing else of a function's is printed, but who relies on the journal has to know; not if it is off."""
    journal_path.write_bytes(b"not a database at all, but long enough to be looked at" * 10)
    assert len(nbext.cancel_all("BTCUSDT", client=client)) == 13
    (line,) = caplog.messages
    assert line.startswith("Not recorded in the journal:")
    assert line.endswith(f"[custom, {client.host}]")
    monkeypatch.setenv("NBEXT_JOURNAL", "off")
    assert len(nbext.cancel_all("ETHUSDT", client=client)) == 5
    assert caplog.messages == [line]


@pytest.mark.parametrize("seconds", [-1, float("nan"), float("inf"), "10"])
@pytest.mark.parametrize("name", ["max_wait", "reconcile"])
def test_seconds_are_checked_before_anything_is_sent(
    exchange: LocalExchange, client: SpotClient, name: str, seconds: Any
) -> None:
    """A limit that is not a number of seconds is refused, in the same way by every function that takes it."""
    settings = {"client": client, name: seconds}
    with pytest.raises(nbext.ConfigurationError, match=f"invalid {name}"):
        nbext.cancel_all("BTCUSDT", **settings)
    with pytest.raises(nbext.ConfigurationError, match=f"invalid {name}"):
        nbext.cancel_orders(nbext.open_orders("BTCUSDT", client=client), **settings)
    assert not exchange.requests("DELETE", PATH)


SCRIPT = """
import sys, nbext
from nbext.cancel.job import Job
from nbext.cancel.selection import Latency, Selection
client = nbext.connect(base_url=sys.argv[1])
job = Job(client, Selection.parse(sys.argv[2].split(",")), say=lambda line: print(line, flush=True))
print("begin", flush=True)
try:
    job.run()
except BaseException as error:
    frame = getattr(error, "frame", None)
    print(type(error).__name__, isinstance(error, KeyboardInterrupt), 0 if frame is None else len(frame), flush=True)
    for name, failure in getattr(error, "failures", {}).items():
        print(name, type(failure).__name__, flush=True)
"""


def interruptible(exchange: LocalExchange, symbols: str, journal_path: Path) -> subprocess.Popen[str]:
    """Start a process that cancels, and that a signal can interrupt."""
    environment = {
        **os.environ,
        "BINANCE_API_KEY": exchange.api_key,
        "BINANCE_API_SECRET": exchange.secret_key,
        "NBEXT_JOURNAL": str(journal_path),
    }
    child = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(SCRIPT), exchange.url, symbols],
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )
    assert child.stdout is not None
    assert child.stdout.readline() == "begin\n"
    return child


def wait_for_deletes(exchange: LocalExchange, number: int) -> None:
    """Wait until so many DELETEs have arrived."""
    for _ in range(1000):
        if len(exchange.requests("DELETE", PATH)) >= number:
            return
        time.sleep(0.02)
    raise AssertionError("the DELETE never came")


def test_an_interrupt_waits_for_what_is_under_way_and_sends_nothing_more(
    exchange: LocalExchange, journal_path: Path
) -> None:
    """Of ten symbols the first eight are under way: they are waited for, and the other two are not sent."""
    symbols = ["BTCUSDT", "ETHUSDT", *(f"NO{n}" for n in range(8))]
    exchange.faults.answer_late("DELETE", PATH, seconds=1.0, times=None)
    child = interruptible(exchange, ",".join(symbols), journal_path)
    wait_for_deletes(exchange, 8)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert "Interrupted: nothing more is sent" in out
    assert "Interrupted True 18" in out  # a KeyboardInterrupt, with the frame of BTCUSDT and ETHUSDT
    assert "NO6 NotSentError\nNO7 NotSentError" in out
    assert len(exchange.requests("DELETE", PATH)) == 8
    assert still_open(exchange) == set()


def test_eight_symbols_are_two_commits(exchange: LocalExchange, client: SpotClient, journal_path: Path) -> None:
    """The intents of a call are one commit, before the first DELETE; its conclusions, refusals too, are another one."""

    def commits() -> int:
        """Read the file change counter, which every transaction that changes the file makes one larger."""
        return int.from_bytes(journal_path.read_bytes()[24:28], "big")

    symbols = [*(listing.base + listing.quote for listing in LISTINGS), "NOSUCH"]
    assert len(symbols) == 8
    nbext.cancel_all("BTCUSDT", client=client)
    assert commits() == 2
    with pytest.raises(nbext.IncompleteError) as incomplete:
        nbext.cancel_all(*symbols, client=client)
    assert list(incomplete.value.failures) == ["NOSUCH"]
    assert commits() == 4
    unfinished = nbext.cancel_log(last=8)
    assert unfinished["request"].tolist() == [f"cancel all on {symbol}" for symbol in symbols]
    assert unfinished["state"].tolist() == ["concluded"] * 8
    assert unfinished["httpStatus"].tolist() == [400, 200, *[400] * 6]  # nothing is open any more on BTCUSDT
    assert still_open(exchange, "ETHUSDT") == set()


def test_a_second_interrupt_leaves_the_intent_open(exchange: LocalExchange, journal_path: Path) -> None:
    """Whoever insists is let go, and the journal knows that the cancel has no known end."""
    exchange.faults.answer_late("DELETE", PATH, seconds=30.0)
    child = interruptible(exchange, "BTCUSDT", journal_path)
    wait_for_deletes(exchange, 1)
    child.send_signal(signal.SIGINT)
    assert child.stdout is not None
    assert "Interrupt again" in child.stdout.readline()
    child.send_signal(signal.SIGINT)
    began = time.monotonic()
    out, _ = child.communicate(timeout=20)
    assert time.monotonic() - began < 9
    assert "True" in out
    with sqlite3.connect(journal_path) as connection:
        rows = connection.execute("SELECT concluded_at FROM intents").fetchall()
    connection.close()
    assert rows == [(None,)]


def test_a_killed_cancel_is_settled_later(
    exchange: LocalExchange, journal_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kill -9 between the DELETE and its answer: the journal knows of it, and `reconcile_open` finds its outcome."""
    exchange.faults.answer_late("DELETE", PATH, seconds=5.0)
    child = interruptible(exchange, "BTCUSDT", journal_path)
    wait_for_deletes(exchange, 1)
    child.kill()
    child.communicate()
    early: list[str] = []
    monkeypatch.setenv("NBEXT_JOURNAL", str(journal_path))
    unfinished.reconcile_open(say=early.append)
    assert early[0].startswith("1 request left: ")
    with sqlite3.connect(journal_path) as connection:  # as if it had been an hour ago
        connection.execute("UPDATE intents SET deadline = deadline - 3600000")
    connection.close()
    exchange.faults.clear()
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url)
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    said: list[str] = []
    session.unfinished_reported = False
    make_job(["ETHUSDT"], client=session.client_for(), say=said.append).run()
    assert any("1 earlier cancel has no recorded outcome" in line for line in said)
    said.clear()
    frame = unfinished.reconcile_open(say=said.append)
    assert "13 orders canceled" in said[0]
    assert frame["canceled"].tolist() == [13, 5]
    assert frame["error"].tolist()[0] == "reconciled later"
    said.clear()
    unfinished.reconcile_open(say=said.append)
    assert said == ["Every request has a recorded outcome."]


@pytest.mark.parametrize("how", ["end", "error", "exit", "interrupt"])
def test_a_guard_cancels_whatever_happened_inside(exchange: LocalExchange, client: SpotClient, how: str) -> None:
    """The block's own error comes out, and what was open is gone."""
    errors = {"error": ZeroDivisionError, "exit": SystemExit, "interrupt": KeyboardInterrupt}
    guard = nbext.guard("BTCUSDT", client=client)
    expected = pytest.raises(errors[how]) if how in errors else nullcontext()
    with expected, guard:
        assert still_open(exchange) != set()
        if how in errors:
            raise errors[how]
    assert still_open(exchange) == set()
    assert guard.frame is not None
    assert len(guard.frame) == 13


def test_a_guard_that_fails_raises_from_the_blocks_error(exchange: LocalExchange, client: SpotClient) -> None:
    """When both fail, the cancel's error counts, and the block's is its cause."""
    exchange.faults.firewall("DELETE", PATH)
    with pytest.raises(nbext.RejectedError) as refused, nbext.guard("BTCUSDT", client=client):
        raise ZeroDivisionError
    assert isinstance(refused.value.__cause__, ZeroDivisionError)


def test_a_guard_takes_consent_when_it_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """On live, outside IPython, the block does not even begin without `yes=True`."""
    monkeypatch.setenv("NBEXT_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("BINANCE_API_KEY", "k")
    monkeypatch.setenv("BINANCE_API_SECRET", "s")
    began = False
    with pytest.raises(nbext.ConfigurationError, match="yes=True"), nbext.guard("BTCUSDT"):
        began = True
    assert not began


def test_guards_of_two_runs_stand_beside_each_other(exchange: LocalExchange) -> None:
    """Another prefix on the same symbol is guarded as well; both are named, and `--off` takes both back."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_cell('%load_ext nbext')\n"
        "for prefix in ('run7-', 'other-', 'run7-'):\n"
        "    assert shell.run_cell(f'%nbext_guard BTCUSDT --yes --prefix {prefix}').success\n"
        "shell.run_cell('%nbext_guard')\n"
    )
    order = {"timeInForce": "GTC", "quantity": "0.1", "price": "50000"}
    mine = [
        exchange.place("BTCUSDT", "BUY", "LIMIT", newClientOrderId=name, **order)["orderId"]
        for name in ("run7-1", "other-1")
    ]
    keys = {"BINANCE_API_KEY": exchange.api_key, "BINANCE_API_SECRET": exchange.secret_key, "NBEXT_JOURNAL": "off"}
    environment = {**os.environ, **keys, "NBEXT_BASE_URL": exchange.url}
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    said = child.stdout + child.stderr
    place = f" [custom, {exchange.url.partition('//')[2]}]\n"
    assert f"\nBTCUSDT other-*{place}BTCUSDT run7-*{place}watchdog: process " in said
    assert not still_open(exchange) & set(mine)
    assert len(still_open(exchange)) == 13


def test_a_filter_that_nothing_matches_says_so(exchange: LocalExchange, client: SpotClient) -> None:
    """Orders that are open are not denied because none of them was meant."""
    said: list[str] = []
    frame = make_job(["BTCUSDT"], client=client, prefix="nobody-", say=said.append).run()
    assert frame.empty
    assert said[-1].startswith("BTCUSDT: nothing open matches; nothing was canceled [")
    assert len(still_open(exchange)) == 13


def test_what_was_open_is_not_known_without_a_look(exchange: LocalExchange, client: SpotClient) -> None:
    """A cancel-all that got lost, with nobody to ask: the frame without rows does not read like nothing open."""
    exchange.faults.lose_answer("DELETE", PATH)
    exchange.faults.fail("GET", "*", times=None)
    said: list[str] = []
    with pytest.raises(nbext.OutcomeUnknownError) as unknown:
        make_job(["BTCUSDT"], client=client, reconcile=0.5, say=said.append).run()
    assert unknown.value.frame is not None
    assert columns.caption(unknown.value.frame).startswith("what was open is not known [")
    assert not any("nothing was open" in line for line in said)


def test_the_guard_of_a_kernel_cancels_when_it_ends(exchange: LocalExchange) -> None:
    """A process that ends normally cancels what `%nbext_guard` was told to."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "for cell in ('%load_ext nbext', '%nbext_guard BTCUSDT ETHUSDT --yes', '%nbext_guard --off ETHUSDT'):\n"
        "    assert shell.run_cell(cell).success\n"
    )
    environment = {
        **os.environ,
        "NBEXT_BASE_URL": exchange.url,
        "BINANCE_API_KEY": exchange.api_key,
        "BINANCE_API_SECRET": exchange.secret_key,
        "NBEXT_JOURNAL": "off",
    }
    child = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert "are canceled when this kernel ends, however it ends (watchdog: process " in child.stdout
    assert still_open(exchange) == set()
    assert len(still_open(exchange, "ETHUSDT")) == 5
    assert child.stderr == ""


MAGIC_SCRIPT = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.run_cell("%load_ext nbext")
result = shell.run_cell(sys.stdin.read())
print("END", type(result.error_in_exec).__name__, shell.run_cell("import nbext; len(nbext.last)").result, flush=True)
"""


@pytest.mark.parametrize("cell", ["%cancel_all BTCUSDT -y", "%%cancel_all BTCUSDT -y\nx = 1"])
def test_an_interrupted_magic_shows_one_line_and_keeps_the_frame(exchange: LocalExchange, cell: str) -> None:
    """Ctrl-C in a notebook: what was sent is waited for, its frame is shown and kept, and no traceback."""
    exchange.faults.answer_late("DELETE", PATH, seconds=1.0)
    environment = {
        **os.environ,
        "NBEXT_BASE_URL": exchange.url,
        "BINANCE_API_KEY": exchange.api_key,
        "BINANCE_API_SECRET": exchange.secret_key,
        "NBEXT_JOURNAL": "off",
    }
    child = subprocess.Popen(
        [sys.executable, "-c", MAGIC_SCRIPT],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=environment,
    )
    assert child.stdin is not None
    child.stdin.write(cell)
    child.stdin.close()
    child.stdin = None
    wait_for_deletes(exchange, 1)
    child.send_signal(signal.SIGINT)
    out, _ = child.communicate(timeout=20)
    assert "END Interrupted 13" in out
    assert "Interrupted: BTCUSDT [custom," in out
    assert "BTCUSDT: 13 orders canceled (6 single, 1 OCO list, 2 OTO lists)" in out
    assert len(re.findall(r"^canceled +\d+ ", out, re.MULTILINE)) == 13
    assert "Traceback" not in out
    assert "most recent call" not in out
