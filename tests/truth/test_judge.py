"""The judge itself: it objects to each thing that is not so, and to nothing that is."""

from __future__ import annotations

import copy
import json
import time
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job

import nbext
from nbext import session
from nbext.exchange import LocalExchange

from . import judge
from . import record as truth
from .campaign import read_journal
from .case import COLUMNS, Case, identity
from .proxy import Proxy
from .rounds import ANSWER_SECONDS
from .told import Told

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SELL = {"side": "SELL", "quantity": "0.1"}


@pytest.fixture(scope="module")
def call(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Case]:
    """Yield a call in which nothing has gone wrong: two orders, one of them traded in part, and a list."""
    journal = tmp_path_factory.mktemp("judge") / "journal.sqlite3"
    patch = pytest.MonkeyPatch()
    patch.setenv("NBEXT_JOURNAL", str(journal))
    session.reset()
    with LocalExchange() as exchange:
        exchange.seed_orders()
        exchange.place_list(
            "oco",
            "BTCUSDT",
            **SELL,
            aboveType="LIMIT_MAKER",
            abovePrice=70000,
            belowType="STOP_LOSS",
            belowStopPrice=50000,
        )
        proxy = Proxy(int(exchange.url.rpartition(":")[2])).start()
        told = Told()
        with nbext.SpotClient(proxy.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as client:
            job = make_job(["BTCUSDT"], client=client, say=told.said.append)
            began = time.time()
            frame = job.run()
            told.began, told.returned = began, time.time()
        told.take_frame(frame, nbext.last)
        yield Case(
            way="all",
            told=told,
            record=truth.read(exchange),
            talks=proxy.talks,
            symbols=["BTCUSDT"],
            host=proxy.host,
            key=exchange.api_key,
            numbers={int(str(each["number"])) for each in exchange.requests("DELETE")},
            lossless=True,
            answer_seconds=ANSWER_SECONDS * 10,
            returned=time.monotonic(),
            entries=read_journal(journal),
        )
        proxy.stop()
    session.reset()
    patch.undo()


def changed(case: Case, change: Callable[[Case], object]) -> list[str]:
    """Judge a call in which something has been changed."""
    another = copy.deepcopy(case)
    change(another)
    return judge.judge(another)


def _set_error(case: Case, error: str) -> None:
    case.told.error = error


def _set_outcome(case: Case, at: int, change: dict[str, Any]) -> None:
    (case.entries or [])[0]["outcomes"][at].update(change)


def falsified(value: Any) -> Any:
    """Make another value of the same kind."""
    if isinstance(value, str):
        return f"{value}X"
    return value + (Decimal(1) if isinstance(value, Decimal) else 1)


def test_what_is_true_is_not_objected_to(call: Case) -> None:
    """The judge lets pass what is so."""
    assert judge.judge(call) == []
    assert len(call.rows) >= 4


@pytest.mark.parametrize("name", COLUMNS)
def test_a_cell_that_is_not_so_is_seen_in_each_row(call: Case, name: str) -> None:
    """Another value in any cell of any row; and a missing one, where the exchange has told it."""
    for at, row in enumerate(call.rows):
        if row[name] is not None:
            assert changed(call, lambda case, at=at: case.rows[at].update({name: falsified(case.rows[at][name])}))  # type: ignore[misc]
            assert changed(call, lambda case, at=at: case.rows[at].update({name: None}))  # type: ignore[misc]


@pytest.mark.parametrize("name", ["price", "stopPrice", "icebergQty", "origQuoteOrderQty"])
def test_a_zero_that_means_nothing_is_seen(call: Case, name: str) -> None:
    """Zero, where the order has no such thing."""
    at = next(at for at, row in enumerate(call.rows) if call.record[identity(row)].lasting[name] is None)
    assert changed(call, lambda case: case.rows[at].update({name: 0.0}))


@pytest.mark.parametrize("name", ["profile", "host", "call_id", "requested", "inexact", "elapsed", "complete"])
def test_an_entry_of_attrs_that_is_not_so_is_seen(call: Case, name: str) -> None:
    """None, for any of what stands beside the frame."""
    assert changed(call, lambda case: case.told.attrs.update({name: None}))


def test_each_number_of_the_summary_counts(call: Case) -> None:
    """Another digit anywhere in the summary line."""
    line = next(line for line in call.told.said if "canceled" in line)
    said = line[line.index(":") : line.index(" [")]
    places = [at for at, letter in enumerate(line) if letter.isdigit() and line.index(":") < at < line.index(" [")]
    assert len(places) >= 4, said
    for at in places:
        other = line[:at] + str((int(line[at]) + 1) % 10) + line[at + 1 :]
        assert changed(call, lambda case, other=other: case.told.said.__setitem__(slice(None), [other])), other  # type: ignore[misc]


@pytest.mark.parametrize(
    "name", ["call_id", "sent_at", "deadline", "profile", "host", "method", "params", "concluded_at", "http_status"]
)
def test_a_field_of_the_journal_that_is_not_so_is_seen(call: Case, name: str) -> None:
    """Another value in any field of the journal."""
    values = {
        "sent_at": 1,
        "deadline": 1,
        "concluded_at": 1,
        "http_status": 418,
        "params": {"symbol": "BTCUSDT", "a": "b"},
    }
    assert changed(call, lambda case: (case.entries or [])[0].update({name: values.get(name, "another")}))


def test_an_outcome_of_the_journal_that_is_not_so_is_seen(call: Case) -> None:
    """Another order, id or outcome in the journal."""
    for at, each in enumerate((call.entries or [])[0]["outcomes"]):
        for name in each:
            value = each[name] + 1 if isinstance(each[name], int) else "filled" if name == "outcome" else "another"
            assert changed(call, partial(_set_outcome, at=at, change={name: value}))


def test_errors_that_do_not_fit_are_seen(call: Case) -> None:
    """An error, where there should be none, and a frame that is not that of the orders."""
    for error in ("IncompleteError", "OutcomeUnknownError", "NotSentError", "RejectedError"):
        assert changed(call, partial(_set_error, error=error))
    assert changed(call, lambda case: setattr(case.told, "is_last", False))
    assert changed(call, lambda case: case.talks.append(case.talks[-1]))
    assert changed(call, lambda case: case.rows.append(case.rows[0]))
    assert changed(call, lambda case: case.rows.pop())


def test_a_request_that_never_left_has_no_such_moment_in_the_journal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where nobody listens, and where there is no key, nothing leaves."""
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    session.reset()
    with LocalExchange() as exchange:
        url, key, secret = exchange.url, exchange.api_key, exchange.secret_key
        with nbext.SpotClient(url) as nobody, pytest.raises(nbext.errors.ConfigurationError):
            make_job(["BTCUSDT"], client=nobody).run()
    with nbext.SpotClient(url, api_key=key, secret_key=secret) as client, pytest.raises(nbext.errors.NotSentError):
        make_job(["BTCUSDT"], client=client).run()
    session.reset()
    assert [entry["left_at"] for entry in read_journal(tmp_path / "journal.sqlite3")] == [None, None]


def test_what_was_told_of_an_order_that_was_still_open_is_not_told_of_its_end(call: Case) -> None:
    """A cancel may report an order as open; once that has ended, the moment of the report is not that of the end."""

    def told(case: Case, status: str) -> None:
        report = next(each for each in json.loads(case.deletes[0].body or b"") if "orderReports" not in each)
        row = next(row for row in case.rows if row["orderId"] == report["orderId"])
        row["transactTime"] = None
        body = (case.deletes[0].body or b"").decode()
        was = json.dumps(report, separators=(",", ":"))
        assert was in body
        now = json.dumps({**report, "status": status}, separators=(",", ":"))
        case.deletes[0].body = body.replace(was, now).encode()

    for status, objections in (("CANCELED", 1), ("NEW", 0), ("PARTIALLY_FILLED", 0)):
        lies = changed(call, partial(told, status=status))
        assert sum("lacks transactTime, which was told" in lie for lie in lies) == objections


def test_the_id_of_an_order_that_was_amended_after_the_look_may_be_missing(call: Case) -> None:
    """The amendment may have changed it; where the quantity is the same there was none, and the id has been told."""

    def looked(case: Case, quantity: str) -> None:
        row, read = case.rows[0], copy.copy(case.deletes[0])
        shown = {"symbol": row["symbol"], "orderId": row["orderId"], "status": "NEW", "origQty": quantity}
        read.method, read.body = "GET", json.dumps([{**shown, "clientOrderId": row["origClientOrderId"]}]).encode()
        case.talks.insert(0, read)
        report = (case.deletes[0].body or b"").replace(
            b'"origClientOrderId":"%b",' % row["origClientOrderId"].encode(), b""
        )
        case.deletes[0].body = report
        row["origClientOrderId"] = None

    same = str(call.record[identity(call.rows[0])].lasting["origQty"])
    for quantity, objections in ((same, 1), ("1000", 0)):
        lies = changed(call, partial(looked, quantity=quantity))
        assert sum("lacks origClientOrderId, which was told" in lie for lie in lies) == objections
