"""However a call ends, nothing leaves after it has, and what was sent has its word, its record and its frame."""

from __future__ import annotations

import itertools
import json
import os
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job
from support.server import Request, answer

import nbext
from nbext.cancel import unfinished
from nbext.errors import Interrupted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path
    from types import FrameType

    from support.server import PlainServer

SYMBOLS = [f"V{number}USDT" for number in range(24)]
ANSWERED_AFTER = 0.05
LEAST_LINES = 150

pytestmark = pytest.mark.usefixtures("journal_path")


def report(symbol: str, order_id: int = 1) -> dict[str, Any]:
    """Make the report of a canceled order."""
    return {
        "symbol": symbol,
        "orderId": order_id,
        "orderListId": -1,
        "origClientOrderId": f"own-{order_id}",
        "clientOrderId": "cancel",
        "transactTime": 1700000000000,
        "price": "1.0",
        "origQty": "1.0",
        "executedQty": "0.0",
        "status": "CANCELED",
        "side": "BUY",
        "type": "LIMIT",
    }


def cancels(request: Request) -> bytes:
    """Answer a cancel-all after a moment."""
    time.sleep(ANSWERED_AFTER)
    return answer([report(request.params["symbol"])])


@pytest.fixture
def server(serve: Callable[..., PlainServer]) -> PlainServer:
    """Serve an exchange with one order on each symbol."""
    return serve(cancels)


@pytest.fixture
def client(server: PlainServer) -> Iterator[nbext.SpotClient]:
    """Connect to it."""
    with nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        yield client


def fails_at(number: int, error: type[BaseException]) -> Callable[..., None]:
    """Make a callback that fails when it is called for that time."""
    calls = 0

    def callback(*_: object) -> None:
        nonlocal calls
        calls += 1
        if calls == number:
            raise error("the callback's own")

    return callback


def require_the_way_out(server: PlainServer, caught: BaseException) -> None:
    """Nothing leaves any more; the frame is kept, and the journal knows the end of each request that was sent."""
    ended = time.monotonic()
    sent = len(server.requests)
    time.sleep(4 * ANSWERED_AFTER)
    assert [request for request in server.requests if request.at > ended] == []
    assert sent > 0
    frame = nbext.last
    assert frame is not None
    assert len(frame) == sent
    assert set(frame["outcome"]) == {"canceled"}
    table = unfinished.cancel_log()
    assert table["canceled"].sum() == sent
    if sent < len(SYMBOLS):
        assert frame.attrs["nbext"]["complete"] is False
    if not isinstance(caught, KeyboardInterrupt):
        assert f"{sent} order{'' if sent == 1 else 's'} canceled" in " ".join(caught.__notes__)


@pytest.mark.parametrize("error", [ValueError, BrokenPipeError, MemoryError, SystemExit, GeneratorExit])
@pytest.mark.parametrize("callback", ["progress", "say"])
def test_a_callback_that_fails_ends_the_call_in_good_order(
    server: PlainServer, client: nbext.SpotClient, callback: str, error: type[BaseException]
) -> None:
    """Its own error comes out, after what was under way has been waited for, recorded and kept."""
    if callback == "progress":
        job = make_job(SYMBOLS, client=client, progress=fails_at(1, error))
    else:
        job = make_job(SYMBOLS, client=client, say=fails_at(1, error))
    with pytest.raises(error, match="the callback's own") as caught:
        job.run()
    require_the_way_out(server, caught.value)


def test_a_callback_that_has_failed_is_not_called_again(client: nbext.SpotClient) -> None:
    """What it raised once comes out once; the way out says nothing more through it."""
    heard: list[str] = []

    def say(line: str) -> None:
        heard.append(line)
        raise ValueError("the callback's own")

    with pytest.raises(ValueError, match="the callback's own"):
        make_job(SYMBOLS, client=client, say=say).run(check=True)
    assert len(heard) == 1


@pytest.mark.parametrize("field", ["executedQty", "origQty"])
def test_an_amount_that_no_machine_can_write_out_costs_no_word(serve: Callable[..., PlainServer], field: str) -> None:
    """The summary leaves it out, or has a question mark in its place."""
    amounts = {"executedQty": "1", "origQty": "1"} | {field: "1e999999999999999999"}
    said: list[str] = []
    server = serve(lambda request: answer([report(request.params["symbol"]) | amounts]))
    with nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        make_job(["BTCUSDT"], client=client, say=said.append).run()
    assert said[0].startswith("BTCUSDT: 1 order canceled")


@pytest.mark.parametrize("error", [TimeoutError, KeyboardInterrupt, SystemExit])
def test_an_alarm_ends_the_call_in_good_order(serve: Callable[..., PlainServer], error: type[BaseException]) -> None:
    """A time limit, as test runners and schedulers set it with a signal, is no way to lose what was done."""

    def ring(*_: object) -> None:
        rung.set()
        raise error("time is up")

    rung = threading.Event()

    def respond(request: Request) -> bytes:
        if len(slow.requests) == 9:  # one of the second eight
            signal.setitimer(signal.ITIMER_REAL, 0.02)
        if len(slow.requests) > 8:
            rung.wait(20)
        return cancels(request)

    slow = serve(respond)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with (
            nbext.SpotClient(slow.url, api_key="k" * 64, secret_key="s" * 64) as client,
            pytest.raises(error) as caught,
        ):
            make_job(SYMBOLS, client=client).run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    if error is KeyboardInterrupt:
        assert isinstance(caught.value, Interrupted)
        assert caught.value.frame is nbext.last
    require_the_way_out(slow, caught.value)
    assert len(slow.requests) < len(SYMBOLS)


@pytest.mark.timeout(120, method="thread")  # the usual one is an alarm, too
def test_an_alarm_gets_through_whatever_it_interrupts(server: PlainServer, journal_path: Path) -> None:
    """A TimeoutError is an OSError too, and must not be taken for a journal, a read or a table that failed."""
    rings = 0

    def ring(_: int, frame: FrameType | None) -> None:
        nonlocal rings
        if frame is not None and frame.f_code.co_name in {"_remove", "remove", "__del__"}:
            signal.setitimer(signal.ITIMER_REAL, 0.0005)  # there Python itself swallows what a handler raises
            return
        rings += 1
        raise TimeoutError("time is up")

    before = signal.signal(signal.SIGALRM, ring)
    lost = 0
    try:
        for step in range(40):
            rings = 0
            with nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64) as client:
                job = make_job(["BTCUSDT"], client=client)
                signal.setitimer(signal.ITIMER_REAL, 0.0005 + step * 0.002)
                try:
                    job.run(check=True)
                except TimeoutError:
                    rings = 0
                finally:
                    signal.setitimer(signal.ITIMER_REAL, 0)
                lost += rings
    finally:
        signal.signal(signal.SIGALRM, before)
    assert lost == 0
    assert journal_path.exists()


def test_what_is_still_connecting_when_the_call_is_left_never_goes_out() -> None:
    """Interrupted twice while the host does not accept the connection: when it does, no request comes."""
    rings = 0

    def ring(*_: object) -> None:
        nonlocal rings
        rings += 1
        if rings == 2:
            signal.setitimer(signal.ITIMER_REAL, 0)
        raise KeyboardInterrupt

    with socket.create_server(("127.0.0.1", 0), backlog=0) as crowded:
        address = crowded.getsockname()
        first = socket.create_connection(address)  # fills the queue, so that the next one waits until this is accepted
        client = nbext.SpotClient(f"http://127.0.0.1:{address[1]}", api_key="k" * 64, secret_key="s" * 64)
        before = signal.signal(signal.SIGALRM, ring)
        signal.setitimer(signal.ITIMER_REAL, 0.2, 0.2)
        try:
            with pytest.raises(Interrupted) as interrupted:
                make_job(["BTCUSDT"], client=client).run()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        assert set(interrupted.value.failures) == {"BTCUSDT"}
        crowded.settimeout(3)
        accepted = [crowded.accept()[0], crowded.accept()[0]]
        accepted[1].settimeout(0.5)
        came = b""
        with suppress(TimeoutError, ConnectionError):
            came = accepted[1].recv(4096)
        for each in (*accepted, first):
            each.close()
        assert came == b""


def open_order(symbol: str, order_id: int) -> dict[str, Any]:
    """Make an order as ``GET /api/v3/openOrders`` lists it."""
    order = {**report(symbol, order_id), "clientOrderId": f"own-{order_id}", "status": "NEW", "time": 1700000000000}
    del order["origClientOrderId"], order["transactTime"]
    return order


def interrupted_singly(serve: Callable[..., PlainServer], times: int) -> tuple[Interrupted, list[str]]:
    """Cancel twelve orders of one symbol one by one, and interrupt that so many times while eight are in flight."""
    arrived, rings, rung = itertools.count(1), 0, threading.Event()

    def respond(request: Request) -> bytes:
        if request.method == "GET":
            return answer([open_order("BTCUSDT", number) for number in range(1, 13)])
        if next(arrived) == 8:
            signal.setitimer(signal.ITIMER_REAL, 0.1, 0.2)
        rung.wait(20)
        time.sleep(0.5)
        return answer(report("BTCUSDT", int(request.params["orderId"])))

    def ring(*_: object) -> None:
        nonlocal rings
        rings += 1
        if rings == times:
            signal.setitimer(signal.ITIMER_REAL, 0)
            rung.set()
        raise KeyboardInterrupt

    said: list[str] = []
    client = nbext.SpotClient(serve(respond).url, api_key="k" * 64, secret_key="s" * 64)
    before = signal.signal(signal.SIGALRM, ring)
    try:
        with pytest.raises(Interrupted) as interrupted:
            make_job(["BTCUSDT"], client=client, side="BUY", say=said.append).run()
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    return interrupted.value, said


def test_what_an_interrupt_kept_from_leaving_is_told_from_what_was_sent(serve: Callable[..., PlainServer]) -> None:
    """That nothing was changed is said of the cancels that never left, and these have an end in the journal."""
    error, said = interrupted_singly(serve, 1)
    assert "8 orders canceled; 4 unknown" in said[-1]
    assert "4 of 12 cancels on BTCUSDT on custom" in str(error)
    assert "not sent before the call ended; no orders were changed" in str(error)
    assert nbext.cancel_log()["state"].tolist() == ["concluded"] * 12


def test_an_answer_that_was_not_waited_for_is_not_called_lost(serve: Callable[..., PlainServer]) -> None:
    """Nor does the line speak of records that nobody has read, and what never left is told from what has."""
    error, said = interrupted_singly(serve, 2)
    assert "answers on BTCUSDT were not waited for" in said[-1]
    assert "records" not in said[-1]
    assert "8 of 12 cancels on BTCUSDT on custom" in str(error)
    assert "the outcome is not known" in str(error)
    assert "4 of 12 cancels on BTCUSDT on custom" in str(error)
    assert isinstance(error.failures["BTCUSDT"], nbext.OutcomeUnknownError)
    assert nbext.cancel_log()["state"].tolist() == ["not concluded"] * 8 + ["concluded"] * 4


BROKEN = {
    "an import that fails": "raise ImportError('numpy is too old')",
    "an import that breaks": "raise SyntaxError('half an installation')",
}


@pytest.mark.parametrize("how", BROKEN)
def test_without_pandas_the_word_and_the_record_are_there(
    server: PlainServer, tmp_path: Path, journal_path: Path, how: str
) -> None:
    """Whatever is wrong with pandas, the reader learns first what became of each order."""
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "pandas.py").write_text(BROKEN[how], "utf-8")
    code = f"""
        import sys
        sys.path.insert(0, {str(tmp_path / "broken")!r})
        import nbext
        from nbext import session
        session.last = "the frame of an earlier call"
        from nbext.cancel.job import Job
        from nbext.cancel.selection import Selection
        client = nbext.SpotClient({server.url!r}, api_key="k" * 64, secret_key="s" * 64)
        try:
            Job(client, Selection.parse(["BTCUSDT", "ETHUSDT"]), say=print).run()
        except Exception as error:
            print("raised", type(error).__name__, error)
            print("last", session.last)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)],
        env={**os.environ, "NBEXT_JOURNAL": str(journal_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    lines = done.stdout.splitlines()
    assert lines[0].startswith("BTCUSDT, ETHUSDT: 2 orders canceled [custom,")
    assert any("BTCUSDT canceled: 1" in line for line in lines)
    raised = next(line for line in lines if line.startswith("raised"))
    assert raised.startswith("raised NbextError BTCUSDT, ETHUSDT: 2 orders canceled")
    assert "cannot be built" in raised
    assert "last None" in lines
    assert done.stderr == ""
    assert unfinished.cancel_log()["canceled"].sum() == 2


LINE_BY_LINE = """
import json, signal, sys, threading
from pathlib import Path
import nbext
from nbext import session
from nbext.cancel import call, job, reconciliation, recording, report, searches, sending, unfinished
from nbext.cancel.selection import Selection
from nbext.frames import build

url, at, how = sys.argv[1], int(sys.argv[2]), sys.argv[3]
ours = {module.__file__ for module in (job, call, sending, searches, report)}
if how == "alarm":
    package = Path(nbext.__file__).parent
    ours = {str(path) for path in package.rglob("*.py") if path.parent.name in {"cancel", "spot", "nbext"}}
lines, rung, where = 0, set(), ""

def ring(*_):
    raise TimeoutError("time is up")

signal.signal(signal.SIGALRM, ring)

def in_finalizer(frame):  # what is raised there, Python shows and drops, whoever has raised it
    while frame is not None and not frame.f_code.co_filename.endswith("weakref.py"):
        frame = frame.f_back
    return frame is not None

def trace(frame, event, argument):
    global lines, where
    if frame.f_code.co_filename not in ours:
        return None
    if event == "line":
        lines += 1
        if how == "alarm":  # at each line once for each caller: how many lines a call takes depends on its threads
            step = frame.f_code.co_filename, frame.f_lineno, frame.f_back.f_code, frame.f_back.f_lineno
            if step not in rung and not in_finalizer(frame):
                rung.add(step)
                where = f"{step[0]}:{step[1]}"
                sys.settrace(None)
                signal.raise_signal(signal.SIGALRM)
        elif lines == at:
            sys.settrace(None)
            raise KeyboardInterrupt
    return trace

while True:
    lines, where = 0, ""
    client = nbext.SpotClient(url, api_key="k" * 64, secret_key="s" * 64)
    selection = Selection.parse([f"{name}AT{at}" for name in "ABC"])
    job_of_three = job.Job(client, selection, say=len, progress=max)
    session.last = None
    result = {"at": at, "frame": None}
    sys.settrace(trace)
    try:
        job_of_three.run(check=how == "alarm")
        sys.settrace(None)
        result["error"] = None
    except BaseException as error:
        sys.settrace(None)
        result["error"] = type(error).__name__
        result["frame"] = None if error.__dict__.get("frame") is None else len(error.frame)
    result["last"] = None if session.last is None else len(session.last)
    if not where if how == "alarm" else lines < at:
        break
    client.close()
    print(json.dumps({**result, "where": where}), flush=True)
    at += 1
print(json.dumps({"at": at, "end": lines}), flush=True)
"""


@pytest.mark.timeout(400)  # a thousand calls, each with threads that wait for a turn
def test_an_interrupt_between_any_two_lines_keeps_the_frame(serve: Callable[..., PlainServer]) -> None:
    """Wherever in the call it comes: nothing was sent, or the frame is in the error, and is the last one."""
    server = serve(lambda request: answer([report(request.params["symbol"])]))
    command = [sys.executable, "-c", LINE_BY_LINE, server.url, "1", "interrupt"]
    environment = {**os.environ, "NBEXT_JOURNAL": "off"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as child:
        results = [json.loads(line) for line in child.stdout or ()]
    assert child.returncode == 0
    assert results.pop()["at"] > LEAST_LINES
    bare = []
    for result in results:
        arrived = sum(request.params["symbol"].endswith(f"AT{result['at']}") for request in server.requests)
        if result["error"] == "Interrupted":
            assert (result["frame"] or 0) == (result["last"] or 0) == arrived, result
        else:
            assert result["error"] == "KeyboardInterrupt"
            assert result["last"] == (arrived or None), result
            bare += [result] if arrived else []
    # In the last lines of the call it is bare, but by then the frame is built, told, recorded and the last one.
    assert len(bare) <= 6, bare


@pytest.mark.timeout(400)  # a thousand calls, each with threads that wait for a turn
def test_an_alarm_between_any_two_lines_gets_through(serve: Callable[..., PlainServer]) -> None:
    """A time limit's TimeoutError is an OSError, and no step that survives failures may take it for one of its own."""

    def respond(request: Request) -> bytes:
        return answer([report(request.params["symbol"])] if request.method == "DELETE" else [])

    command = [sys.executable, "-c", LINE_BY_LINE, serve(respond).url, "1", "alarm"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        results = [json.loads(line) for line in child.stdout or ()]
    assert child.returncode == 0
    assert results.pop()["at"] > LEAST_LINES
    assert [result["where"] for result in results if result["error"] != "TimeoutError"] == []


LEFT_LOCKED = {
    "import": "import _imp; _imp.acquire_lock()",
    "signature": "from nbext.forks import encryption; encryption.__enter__(); encryption.forking.append(0)",
}


@pytest.mark.parametrize("lock", LEFT_LOCKED)
def test_a_lock_that_an_interrupt_left_locked_does_not_hang_a_cancel(server: PlainServer, lock: str) -> None:
    """Workers sign, and pandas is imported on a thread, while the main thread still holds what it let go of."""
    code = f"""
        import nbext
        client = nbext.SpotClient({server.url!r}, api_key="k" * 64, secret_key="s" * 64)
        {LEFT_LOCKED[lock]}
        print(len(nbext.cancel_all("BTCUSDT", "ETHUSDT", client=client, yes=True)))
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True, timeout=30
    )
    assert done.stdout == "2\n"


def test_a_display_that_fails_takes_no_errors_place(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], client: nbext.SpotClient
) -> None:
    """The frame beside an error cannot be shown, and the error still says what became of the orders."""
    from nbext.notebook import magics

    def refuse(*_: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr(magics, "display", refuse)
    frame = make_job(["BTCUSDT"], client=client).run()
    with pytest.raises(nbext.IncompleteError, match="1 order still open"), magics._shown_frames():
        raise nbext.IncompleteError("1 order still open", frame=frame)
    assert "cannot be shown" in capsys.readouterr().out
