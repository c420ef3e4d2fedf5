"""What the judge says of what was not told: an objection, unless time was up or reads failed."""

from __future__ import annotations

import copy
import time
from functools import partial
from typing import TYPE_CHECKING

import pytest
from support.jobs import make_job

import nbext
from nbext import session
from nbext.cancel.selection import Latency
from nbext.exchange import LocalExchange

from . import judge
from . import record as truth
from .case import TIME, Case, identity
from .proxy import Proxy
from .told import Told, rows_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pandas import DataFrame

    from .record import Id

AMOUNTS = ("executedQty", "cummulativeQuoteQty")
RECONCILE, LAG = 3.0, 0.2


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Yield a call whose answer got lost, and that read what had become of two orders."""
    patch = pytest.MonkeyPatch()
    patch.setenv("NBEXT_JOURNAL", str(tmp_path_factory.mktemp("judge") / "journal.sqlite3"))
    session.reset()
    with LocalExchange() as exchange:
        for price in ("50000", "51000"):
            exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.1", price=price)
        exchange.faults.lose_answer("DELETE", "*")
        proxy, told = Proxy(int(exchange.url.rpartition(":")[2])).start(), Told()
        seen: set[Id] = set()
        with nbext.SpotClient(proxy.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
            job = make_job(
                ["BTCUSDT"],
                client=client,
                say=told.said.append,
                recv_window=500,
                reconcile=RECONCILE,
                latency=Latency(engine=0.2, lag=LAG),
            )

            def ask(preview: DataFrame, question: str) -> str:  # noqa: ARG001 - as the faces do
                seen.update(identity(row) for row in rows_of(preview))
                return str(len(seen))

            told.began = time.time()
            job.obtain_consent(ask)
            frame = job.run()
            told.returned = time.time()
        told.take_frame(frame, nbext.last)
        yield Case(
            way="all, seen",
            told=told,
            record=truth.read(exchange),
            talks=proxy.talks,
            symbols=["BTCUSDT"],
            host=proxy.host,
            key=exchange.api_key,
            seen=seen,
            numbers={int(str(each["number"])) for each in exchange.requests("DELETE")},
            reconcile=RECONCILE,
            lag_allowed=LAG,
            cancel_lasts=0.7,
            answer_seconds=12.0,
            returned=time.monotonic(),
        )
        proxy.stop()
    session.reset()
    patch.undo()


def changed(case: Case, *changes: Callable[[Case], object]) -> tuple[list[str], int]:
    """Judge a call in which something has been changed: the objections, and what was counted apart."""
    another = copy.deepcopy(case)
    for change in changes:
        change(another)
    another.facts.clear()
    lies = judge.judge(another)
    return lies, sum(count for fact, count in another.facts.items() if "time or reads did not allow" in fact)


def lacks_amounts(case: Case) -> None:
    """Take the amounts away."""
    case.rows[0].update(dict.fromkeys(AMOUNTS))


def is_unknown(case: Case) -> None:
    """Call an order unknown, and say so everywhere."""
    passing = dict.fromkeys(("status", "clientOrderId", "transactTime", "updateTime", *AMOUNTS))
    case.rows[0].update(passing, outcome="unknown")
    case.told.error = "OutcomeUnknownError"
    case.told.said = [line.replace("2 orders canceled", "1 order canceled; 1 unknown") for line in case.told.said]


def time_was_up(case: Case) -> None:
    """Let the call's time have been up when its reads began, however long a busy machine took to begin them."""
    case.reconcile = -10.0


def a_read_failed(case: Case) -> None:
    """Let the last read have had no answer."""
    case.talks[-1].status = case.talks[-1].line = case.talks[-1].body = case.talks[-1].done_at = None


def was_limited(case: Case) -> None:
    """Let the last read have been refused by a rate limit."""
    case.talks[-1].status = case.talks[-1].line = 429


def test_what_two_reads_have_confirmed_is_not_objected_to(call: Case) -> None:
    """The call itself: amounts are there, and nothing is counted apart."""
    assert changed(call) == ([], 0)
    assert [row[name] for row in call.rows for name in AMOUNTS] == [0.0] * 4


def test_missing_amounts_are_objected_to_where_time_was_left(call: Case) -> None:
    """Both of them, by the facts of the round, whatever error the call has raised."""
    lies, apart = changed(call, lacks_amounts)
    assert len(lies) == 2
    assert all(name in lie and "left to confirm it" in lie for name, lie in zip(sorted(AMOUNTS), lies, strict=True))
    assert apart == 0
    lies, apart = changed(call, lacks_amounts, lambda case: setattr(case.told, "error", "IncompleteError"))
    assert sum("left to confirm it" in lie for lie in lies) == 2


@pytest.mark.parametrize("excuse", [time_was_up, a_read_failed, was_limited])
def test_missing_amounts_are_counted_apart_where_nothing_could_be_done(
    call: Case, excuse: Callable[[Case], None]
) -> None:
    """The time was up, or a read failed: missing is true."""
    lies, apart = changed(call, lacks_amounts, excuse)
    assert not any("lacks" in lie for lie in lies)
    assert apart == 2


def test_reads_that_stop_early_excuse_nothing(call: Case) -> None:
    """A call that has not made the second read, and has slept into the end of its time, is objected to."""

    def read_once(case: Case) -> None:
        first = next(number for number, talk in enumerate(case.talks) if b"CANCELED" in (talk.body or b""))
        del case.talks[first + 1 :]

    lies, apart = changed(call, read_once, lacks_amounts)
    assert sum("left to confirm it" in lie for lie in lies) == 2
    assert apart == 0


def test_needlessly_unknown_is_objected_to(call: Case) -> None:
    """An order that reads would have shown as canceled, and time was left; not where it was up, or a read failed."""
    lies, apart = changed(call, is_unknown)
    assert sum("left to find it canceled" in lie for lie in lies) == 1
    assert apart == 0
    for excuse in (time_was_up, a_read_failed, was_limited):
        lies, apart = changed(call, is_unknown, excuse)
        assert not any("left to find it" in lie for lie in lies)
        assert apart == 1


def test_a_read_that_was_answered_at_the_end_of_the_time_proves_nothing(call: Case) -> None:
    """A call may give up a read when its time is up, and not before."""

    def ended_later(case: Case, seconds: float) -> None:
        number = next(n for n, talk in enumerate(case.talks) if b"CANCELED" in (talk.body or b""))
        del case.talks[number + 1 :]
        case.reconcile = (case.talks[-1].done_at or 0.0) - case.reads[0].at + seconds

    for seconds, objections in ((0.02, 0), (0.5, 1)):
        lies, _ = changed(call, is_unknown, partial(ended_later, seconds=seconds))
        assert sum("a read had shown" in lie for lie in lies) == objections


def test_a_clock_that_another_process_has_read_is_not_read(call: Case) -> None:
    """A request for the time names no symbol: its connection tells whose it is."""

    def is_open(case: Case) -> None:
        del case.record[identity(case.rows[0])].steps[1:]
        for talk in case.talks:
            talk.body = (talk.body or b"").replace(b"CANCELED", b"NEW")

    def took_for_long(case: Case) -> None:
        case.reconcile = 1.6  # of which 0.7 s and a lag of 0.2 s pass before a read proves that an order is open

    def is_of_another(case: Case) -> None:
        for talk in case.talks:
            talk.connection = 1 if talk.path == TIME else 2

    assert any(talk.path == TIME for talk in call.talks)
    lies, apart = changed(call, is_unknown, is_open, took_for_long)
    assert sum("left to find it open" in lie for lie in lies) == 1
    lies, apart = changed(call, is_unknown, is_open, took_for_long, is_of_another)
    assert not any("left to find it" in lie for lie in lies)
    assert apart == 1
