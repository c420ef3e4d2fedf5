"""Rounds of canceling with something going wrong, and what is true of what was told afterwards."""

from __future__ import annotations

import json
import os
import pickle
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from contextlib import ExitStack, closing, suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pandas as pd

import nbext
from nbext import session
from nbext.cancel.job import Job
from nbext.cancel.selection import Filter, Latency, Options, Selection, orders_of
from nbext.errors import NbextError
from nbext.exchange import LocalExchange

from . import dialects, judge, market
from . import record as truth
from .case import ALL, CUT_SHORT, OPEN_LISTS, Case, identity
from .faults import MISHAPS, mishap, spoil
from .judge_wire import journal_is_true
from .proxy import MANGLING, Proxy, Talk
from .pulse import Pulse
from .rounds import (
    ANSWER_SECONDS,
    BEYOND,
    ENGINE,
    GRACE,
    KILLS,
    LAG,
    MOST_KILLS,
    QUANTITY,
    RECONCILE_SECONDS,
    RECV_WINDOW,
    SYMBOLS,
    Plan,
    Report,
    Round,
    draw,
)
from .told import Told, rows_of
from .troubles import AlarmError, CallbackError, Trouble

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pandas import DataFrame

    from nbext.spot.client import SpotClient

    from .record import Id


class Campaign:
    """Plays rounds, one after the other, on an exchange of its own.

    Parameters
    ----------
    seed : int
    patient : bool
        Whether to wait, after a kill, for as long as nbext does; else the journal is made a minute older.
    """

    def __init__(self, seed: int, *, patient: bool = True) -> None:
        self.seed = seed
        self._patient = patient
        self.report = Report()
        self._random = random.Random(seed)  # noqa: S311 - a program of rounds, no secret
        self._stack = ExitStack()
        self._pulse = Pulse()

    def __enter__(self) -> Self:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nbext-truth-")))
        folder.chmod(0o700)
        self._folder = folder
        self._journal = folder / "journal.sqlite3"
        self._kills_journal = folder / "kills.sqlite3"
        before = os.environ.get("NBEXT_JOURNAL")
        os.environ["NBEXT_JOURNAL"] = str(self._journal)
        self._stack.callback(_put_back, "NBEXT_JOURNAL", before)
        self._stack.enter_context(self._pulse)
        self._exchange = self._open_exchange()
        self._graveyard = self._open_exchange()
        self._grave_proxy = Proxy(int(self._graveyard.url.rpartition(":")[2])).start()
        grave = Plan(self.seed, 0, child=True, way="settle", fault="kill -9", trouble="", dialect={})
        self._settling = Round(grave, self._graveyard, self._grave_proxy, Told(error="killed"))
        self._grave_proxy.on_delete = lambda talk: self._require_intent(talk, self._kills_journal, self._settling)
        self._stack.callback(self._grave_proxy.stop)
        self._graves = 0
        self._children: subprocess.Popen[str] | None = None
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open_exchange(self) -> LocalExchange:
        return self._stack.enter_context(
            LocalExchange(
                weight_limit=10**9,
                raw_request_limit=10**9,
                order_limits=(10**6, 10**7),
                max_num_orders=2000,
                keeps_past=True,  # an amended order was another before
            )
        )

    def _start_children(self) -> subprocess.Popen[str]:
        root = Path(nbext.__file__).parents[1]
        here = Path(__file__).parents[1]
        path = os.pathsep.join(filter(None, [str(root), str(here), os.environ.get("PYTHONPATH")]))
        children = subprocess.Popen(
            [sys.executable, "-m", "truth.child"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"},
        )

        def end() -> None:
            children.communicate()

        self._stack.callback(end)
        return children

    # A campaign.

    def play(self, rounds: int) -> Report:
        """Play so many rounds; what is killed is settled at the end, when nbext does so at the earliest."""
        kills = min(round(rounds * KILLS), MOST_KILLS)
        for number in range(kills):
            self._kill(number)
        for number in range(1, rounds - kills + 1):
            self.play_one(draw(self.seed, number))
        self._settle_graves()
        self.report.rounds += rounds
        return self.report

    def play_one(self, plan: Plan) -> list[str]:
        """Play one round, and say what was untrue in it."""
        before = len(self.report.lies)
        self.report.dialects.update(f"{name}={value}" for name, value in plan.dialect.items())
        self.report.dialects["the usual one"] += not plan.dialect
        self.report.ways[plan.way] += 1
        self.report.faults[plan.fault] += 1
        if plan.trouble:
            self.report.faults[plan.trouble] += 1
        try:
            self._play_in_child(plan) if plan.child else self._play(plan)
        except Exception as error:  # noqa: BLE001 - the next round is played all the same, and this one counts
            where = error.__traceback__
            while where is not None and where.tb_next is not None:
                where = where.tb_next
            line = "" if where is None else f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}"
            self._lie(str(plan), f"the round broke down: {error!r} at {line}")
        return self.report.lies[before:]

    def _lie(self, where: str, what: str) -> None:
        self.report.lies.append(f"{where}: {what}")
        self.report.lied.append(where.partition(" ")[0])

    # One round in this process.

    def _play(self, plan: Plan) -> None:
        this = self._prepare(plan)
        chance = plan.chance("call")
        key = this.exchange.api_key, this.exchange.secret_key
        api_key, secret_key = (None, None) if plan.fault == "no key" else key
        if plan.fault == "down":
            this.proxy.stop()
        told, trouble = this.told, Trouble(plan.trouble, plan.chance("trouble"), self._journal, this.exchange.faults)
        meddler = self._meddler(this)
        last = nbext.last
        frame: DataFrame | None = None
        url = f"http://localhost:{this.proxy.port}" if trouble.name.startswith("dead address") else this.proxy.url
        this.host = url.partition("//")[2]
        client = nbext.SpotClient(url, api_key=api_key, secret_key=secret_key, answer_timeout=ANSWER_SECONDS)
        with trouble.around(this.proxy), client:
            told.began = time.time()
            try:
                call = self._call(this, client, trouble)
                if chance.random() < 0.3 and plan.others:
                    this.meddled = True
                    market.fill(this.exchange, chance)
                meddler.start()
                with trouble.during():
                    frame = call()
            except NbextError as error:
                told.take_error(error)
                frame = error.frame
            except (AlarmError, CallbackError) as error:
                told.take_error(error)
                told.error = told.error.removesuffix("Error")
                frame = nbext.last if nbext.last is not last else None
            except Exception as error:  # noqa: BLE001 - what is raised raw, is a finding
                told.take_error(error)
                self._lie(this.name, f"raised raw: {error!r}")
                frame = nbext.last if nbext.last is not last else None
            this.returned, told.returned = time.monotonic(), time.time()
            if meddler.ident is not None:
                meddler.join()
            if told.error in {"Alarm", "Callback"}:
                time.sleep(0.25)  # what is still sent now, is sent too late
            this.proxy.wait_until_idle()
        told.take_frame(frame, frame if frame is None else nbext.last)
        if told.attrs.get("call") in {"open_orders", "preview"}:  # of a look before the call
            told.rows, told.attrs = None, {}
        self._judge(this, self._journal, recorded="journal" not in plan.trouble)
        this.proxy.stop()

    def _prepare(self, plan: Plan) -> Round:
        exchange = self._exchange
        exchange.reset(dialect=dialects.made(plan.dialect))
        session.reset()
        proxy = Proxy(int(exchange.url.rpartition(":")[2]), skew=lambda: exchange.faults.skew).start()
        this = Round(plan, exchange, proxy, way=plan.way, host=proxy.host, since=latest_number(self._journal))
        proxy.on_delete = lambda talk: self._require_intent(talk, self._journal, this)
        chance = plan.chance("orders")
        if plan.fault.startswith("skew"):
            exchange.faults.skew = chance.choice([-90, 90, -5, 5, -0.8, 0.4])
        market.place(exchange, chance.randint(1, 6), chance)
        self._spoil(this)
        return this

    @staticmethod
    def _spoil(this: Round) -> None:
        fault, chance = this.plan.fault, this.plan.chance("fault")
        if fault in MISHAPS:
            this.proxy.spoil(mishap(fault, chance))
        elif fault == "beyond":
            this.exchange.faults.lag = BEYOND
            this.exchange.faults.lose_answer("DELETE", "*")
        else:
            spoil(this.exchange.faults, fault, chance)

    def _call(self, this: Round, client: SpotClient, trouble: Trouble) -> Any:
        """Make the call in its way, up to its consent, and note what it has seen."""
        chance = this.plan.chance("job")
        slow = this.lag_allowed > LAG or this.engine_allowed > ENGINE
        this.exact = chance.random() < 0.2
        hasty = not slow and chance.random() < 0.25
        this.reconcile = 2 * RECONCILE_SECONDS if slow else 0.3 if hasty else RECONCILE_SECONDS
        options = Options.parse(
            RECV_WINDOW,
            reconcile=this.reconcile,
            latency=Latency(engine=this.engine_allowed, lag=this.lag_allowed),
            max_wait=chance.choice([1.5, 3.5]),
            exact=this.exact,
        )

        def make_job(selection: Selection) -> Job:
            return Job(client, selection, options, say=trouble.say(this.told.said), progress=trouble.progress)

        most = 1 if this.plan.fault in {"limit", "ban"} else len(SYMBOLS)  # of several, one failure is another error
        symbols = chance.sample(SYMBOLS, chance.randint(1, most))
        check = chance.random() < 0.2
        if this.way in {"orders", "one order", "concat"}:
            looks = symbols[:2] if this.way == "concat" else [None]
            frames = [nbext.open_orders(*filter(None, [symbol]), client=client) for symbol in looks]
            frame = pd.concat(frames, ignore_index=True) if this.way == "concat" else frames[0]
            chosen = frame.iloc[[number for number in range(len(frame)) if chance.random() < 0.7]]
            chosen = chosen.head(1) if this.way == "one order" else chosen
            this.seen = {identity(row) for row in rows_of(chosen)}
            this.symbols = list(dict.fromkeys(symbol for symbol, _ in this.seen))
            job = make_job(Selection.parse(orders=orders_of(chosen, client)))
            this.symbols = list(job.symbols)
            return lambda: job.run(check=check)
        if this.way == "everything":
            job = make_job(Selection.parse(all_symbols=True))
            return lambda: job.run(check=check)
        this.symbols = list(symbols)
        if this.way == "filter":
            this.wanted = chance.choice([{"side": "SELL"}, {"side": "BUY"}, {"prefix": "bot"}, {"type": "LIMIT"}])
            job = make_job(Selection.parse(symbols, Filter.parse(**this.wanted)))
            return lambda: job.run(check=check)
        job = make_job(Selection.parse(symbols))
        if this.way == "all, seen":

            def ask(preview: DataFrame, question: str) -> str:  # noqa: ARG001 - as the faces do
                this.seen = {identity(row) for row in rows_of(preview)}
                return str(len(preview))

            job.obtain_consent(ask)
        if this.way == "guard":
            return lambda: _guarded(job, chance)
        return lambda: job.run(check=check)

    def _meddler(self, this: Round) -> threading.Thread:
        """Make somebody else who trades, cancels and places orders on the same symbols meanwhile."""
        chance, exchange = this.plan.chance("others"), this.exchange
        count = chance.choice([0, 0, 1, 2]) if this.plan.others else 0
        acts = chance.sample(["fill", "fill", "cancel", "place", "amend", "withdraw", "halt"], count)
        this.meddled = this.meddled or bool(acts)
        waits = [chance.choice([0.0, 0.005, 0.05, 0.3, 0.7]) for _ in acts]

        def meddle() -> None:
            for act, wait in zip(acts, waits, strict=True):
                time.sleep(wait)
                self.report.facts[f"others {act}"] += 1
                symbol = chance.choice(SYMBOLS)
                with suppress(Exception):
                    if act == "fill":
                        market.fill(exchange, chance)
                    elif act == "place":
                        price = round(float(exchange.last_price(symbol)) * 0.95)
                        exchange.place(
                            symbol, "BUY", "LIMIT", timeInForce="GTC", quantity=QUANTITY[symbol], price=price
                        )
                    elif act == "amend":
                        market.amend_as_another(exchange, chance)
                    elif act == "withdraw":
                        market.withdraw(exchange, chance)
                    elif act == "halt":
                        exchange.set_status(symbol, "HALT")
                    else:
                        market.cancel_as_another(exchange, chance)

        return threading.Thread(target=meddle, daemon=True)

    # What is true.

    def _judge(self, this: Round, path: Path, *, recorded: bool = True) -> None:
        """Compare what nbext said with what the exchange knows."""
        case = self._case(this, path)
        said = any("Not recorded in the journal" in line for line in this.told.said)
        if said or not recorded or case.entries is None:
            self.report.facts["journal could not be written"] += 1
            case.entries = None
            if not said and this.unrecorded and this.told.error not in CUT_SHORT:
                self._lie(this.name, "the journal could not be written, and that was not said")
        else:
            for unrecorded in this.unrecorded:
                self._lie(this.name, unrecorded)
        for lie in judge.judge(case):
            self._lie(this.name, lie)
        self._take_down(case)

    def _take_down(self, case: Case) -> None:
        self.report.errors[case.told.error or "none"] += 1
        given = {identity(row) for row in case.rows}
        self.report.orders.update(trait for order in given & set(case.record) for trait in case.record[order].traits)
        for what, count in case.facts.items():
            if what.startswith("row "):
                self.report.rows[what[4:]] += count
            else:
                self.report.facts[what] += count

    def _case(self, this: Round, path: Path) -> Case:
        exchange, talks, plan = this.exchange, this.proxy.talks, this.plan
        deletes = [number for number, talk in enumerate(talks) if talk.method == "DELETE"]
        seen = this.seen
        if this.way in {"filter", "everything"} and this.told.rows is not None:
            seen = _seen_on_the_wire(this, talks[: deletes[0]] if deletes else _first_look(talks))
        calm = plan.fault == "none" and not plan.trouble and not plan.dialect and not this.meddled and not plan.child
        in_time = all(talk.done_at is not None and talk.done_at - talk.at < ANSWER_SECONDS / 2 for talk in talks)
        case = Case(
            way=this.way,
            told=this.told,
            record=truth.read(exchange),
            talks=talks,
            symbols=this.symbols,
            host=this.host,
            key=exchange.api_key,
            profile=this.profile,
            exact=this.exact,
            seen=seen,
            numbers={int(str(each["number"])) for each in exchange.requests("DELETE") if each["executed"]},
            lag=exchange.faults.lag + max(plan.dialect.get(name, 0) for name in ("lag_memory", "lag_database")),
            beyond=this.is_beyond,
            clock_moves="clock" in plan.trouble or bool(dialects.CLOCKS & set(plan.dialect)),
            doubtful=any(talk.mangled for talk in talks) or plan.fault in {*MANGLING, "proxy_doubles_later"},
            reconcile=this.reconcile,
            lag_allowed=this.lag_allowed,
            cancel_lasts=RECV_WINDOW / 1000 + this.engine_allowed,
            dialect=plan.dialect,
            answer_seconds=ANSWER_SECONDS,
            returned=this.returned,
            late=self._pulse.late,
            entries=self._entries(this, path),
        )
        case.lossless = calm and in_time and case.hold_up < ANSWER_SECONDS / 8
        return case

    def _entries(self, this: Round, path: Path) -> list[dict[str, Any]] | None:
        """Read the journal as it stands on disk; None where it cannot be read."""
        try:
            return [each for each in read_journal(path, 40) if each["number"] > this.since]
        except (sqlite3.Error, ValueError):
            return None

    def _require_intent(self, talk: Talk, path: Path, this: Round) -> None:
        """Require that what arrives here stands in the journal by now."""
        self.report.facts["DELETEs"] += 1
        named = [value for name, value in talk.params.items() if name in {"orderId", "orderListId"}]
        found: list[tuple[str]] = []
        patience = 0.05 if "journal" in this.plan.trouble else 5.0  # a busy disk may be long about another's commit
        with (
            suppress(sqlite3.Error),
            closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=patience)) as file,
        ):
            query = "SELECT params FROM intents WHERE path = ? ORDER BY number DESC LIMIT 100"
            found = file.execute(query, (talk.path,)).fetchall()
        for (text,) in found:
            params: dict[str, str] = json.loads(text)
            if params.get("symbol") == talk.params["symbol"] and all(value in params.values() for value in named):
                return
        this.unrecorded.append(f"{talk.method} {talk.path} {talk.params['symbol']} arrived, and no intent was on disk")

    # Rounds in which another process makes the call.

    def _start(self, this: Round, path: Path, symbols: list[str], **more: object) -> tuple[int, Path]:
        result = self._folder / f"result-{this.plan.number}-{self._graves}.pickle"
        job = {
            "url": this.proxy.url,
            "key": this.exchange.api_key,
            "secret": this.exchange.secret_key,
            "timeout": ANSWER_SECONDS,
            "recv_window": RECV_WINDOW,
            "patience": {"reconcile": RECONCILE_SECONDS},
            "limits": {"engine": this.engine_allowed, "lag": this.lag_allowed},
            "way": this.plan.way,
            "symbols": symbols,
            "result": str(result),
            "environment": {
                "NBEXT_JOURNAL": str(path),
                "NBEXT_BASE_URL": this.proxy.url,
                "BINANCE_API_KEY": this.exchange.api_key,
                "BINANCE_API_SECRET": this.exchange.secret_key,
            },
            **more,
        }
        if self._children is None:
            self._children = self._start_children()
        pipe = self._children.stdin
        if pipe is not None:
            pipe.write(json.dumps(job) + "\n")
            pipe.flush()
        return self._hear(), result

    def _hear(self) -> int:
        pipe = self._children.stdout if self._children is not None else None
        return int(pipe.readline()) if pipe is not None else 0

    def _play_in_child(self, plan: Plan) -> None:
        """Let a process cancel; interrupt it once or twice, at any moment, or let it fork, or use the magics."""
        chance = plan.chance("child")
        this = self._prepare(plan)
        least = 2 if plan.way == "fork" else 1
        symbols = chance.sample(SYMBOLS, chance.randint(least, 3))
        this.told.began = time.time()
        pid, path = self._start(this, self._journal, symbols)
        if plan.way not in {"fork", "magic"}:
            self._interrupt(this, pid, chance)
        self._hear()
        # Where an interrupt has kept the child from saying when it began and ended, it was between these.
        this.returned, this.told.returned = time.monotonic(), time.time()
        this.proxy.wait_until_idle()
        calls = _result(path)
        if calls is None:
            this.told.error, this.symbols = "KeyboardInterrupt", symbols
            if this.proxy.deleting.is_set():
                self.report.facts["interrupted without a frame"] += 1
            self._judge(this, self._journal)
        elif plan.way == "fork":
            for told, asked in zip(calls, (symbols[:1], symbols[1:]), strict=True):
                self._judge_half(this, told, asked)
        else:
            this.told, this.symbols, this.seen = calls[0], symbols, set(calls[0].seen)
            this.way = "all" if plan.way == "magic" else plan.way
            self._judge(this, self._journal)
        this.proxy.stop()

    @staticmethod
    def _interrupt(this: Round, pid: int, chance: random.Random) -> None:
        early = chance.random() < 0.2
        if not early:
            this.proxy.deleting.wait(3)
        for wait in chance.choice([[0.0], [0.02], [0.2], [0.6], [0.0, 0.05], [0.1, 0.1]]):
            time.sleep(chance.uniform(0, 0.03) if early else wait)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)

    def _judge_half(self, this: Round, told: Told, symbols: list[str]) -> None:
        """Judge what one of two processes was told, that canceled with one client at a time."""
        half = replace(this, told=told, symbols=symbols, way="all", unrecorded=[])
        case = self._case(half, self._journal)
        theirs = {talk.connection for talk in case.talks if talk.params.get("symbol", symbols[0]) not in symbols}
        own = {talk.connection for talk in case.talks if talk.params.get("symbol") in symbols}
        case.talks = [
            talk
            for talk in case.talks
            if talk.params.get("symbol") in symbols
            or ("symbol" not in talk.params and (talk.connection in own or talk.connection not in theirs))
        ]
        while case.talks and case.talks[0].method != "DELETE":  # what was read before is none of the call's
            case.talks.pop(0)
        case.numbers = {
            int(str(each["number"])) for each in this.exchange.requests("DELETE") if each["symbol"] in symbols
        }
        if any("Not recorded in the journal" in line for line in told.said):
            case.entries = None
        if case.entries is not None:
            case.entries = [each for each in case.entries if each["params"].get("symbol") in symbols]
        for lie in judge.judge(case):
            self._lie(half.name, lie)
        self._take_down(case)

    def _kill(self, number: int) -> None:
        """Kill a process that cancels, at any moment."""
        chance = self._random
        exchange, proxy = self._graveyard, self._grave_proxy
        way = chance.choice(["all", "all, seen"])
        plan = Plan(self.seed, -number, child=True, way=way, fault="kill -9", trouble="", dialect={})
        this = Round(plan, exchange, proxy)
        self.report.faults["kill -9"] += 1
        market.place(exchange, chance.randint(2, 5), chance)
        if chance.random() < 0.3:
            exchange.faults.lose_answer("DELETE", "*", after_executing=chance.random() < 0.5)
        elif chance.random() < 0.5:
            exchange.faults.answer_late("DELETE", "*", seconds=0.1)
        proxy.deleting.clear()
        pid, path = self._start(this, self._kills_journal, chance.sample(SYMBOLS, chance.randint(1, 3)))
        if chance.random() < 0.7:
            proxy.deleting.wait(3)
        time.sleep(chance.choice([0.0, 0.002, 0.01, 0.05, 0.2]))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._hear()
        proxy.wait_until_idle()
        exchange.faults.clear()
        self.report.errors["none" if path.exists() else "killed"] += 1
        self._graves += 1

    def _make_overdue(self) -> None:
        """Let some minutes pass for what was killed. A transaction that a kill broke off may still be rolled back."""
        for last_try in [False] * 20 + [True]:
            try:
                with closing(sqlite3.connect(self._kills_journal)) as file, file:
                    file.execute("UPDATE intents SET deadline = deadline - ?", (4 * GRACE * 1000,))
            except sqlite3.OperationalError:
                if last_try:
                    raise
                time.sleep(0.1)
            else:
                return

    def _settle_graves(self) -> None:
        """Settle what was killed, and judge the journal that is left of it."""
        if not self._graves:
            return
        this = self._settling
        this.way, this.host = "settle", self._grave_proxy.host
        entries = read_journal(self._kills_journal) if self._kills_journal.exists() else []
        left = [each for each in entries if each["concluded_at"] is None]
        self.report.facts["intents left by kill -9"] += len(left)
        last = max((each["deadline"] for each in left), default=0) / 1000 + GRACE - time.time()
        if self._patient or not left:
            time.sleep(max(0.0, last if left else 0.0))
        else:
            self._make_overdue()
        for unrecorded in this.unrecorded:
            self._lie("kills", unrecorded)
        _, path = self._start(this, self._kills_journal, [])
        self._hear()
        calls = _result(path)
        said = calls[0].said if calls else []
        self._grave_proxy.wait_until_idle()
        case = self._case(this, self._kills_journal)
        case.entries = read_journal(self._kills_journal) if entries else []
        settled = {each["id"] for each in left}
        for entry in case.entries:
            if entry["concluded_at"] is None:
                self._lie(f"{self.seed}:kills", f"not settled: {entry['params']}, {said}")
            entry["answer_counts"] = entry["id"] not in settled
        for lie in journal_is_true(case):
            self._lie(f"{self.seed}:kills", lie)


def play(seed: int, rounds: int, *, patient: bool = True) -> Report:
    """Play one campaign."""
    with Campaign(seed, patient=patient) as campaign:
        return campaign.play(rounds)


def latest_number(path: Path) -> int:
    """Return the number of the journal's latest line; 0 where there is none."""
    return max((each["number"] for each in read_journal(path, 1)), default=0) if path.exists() else 0


def read_journal(path: Path, last: int | None = None) -> list[dict[str, Any]]:
    """Read the journal's lines, by SQLite and nothing else, the latest first.

    Whoever reads first, after a kill amid a commit, has to undo that, and so be allowed to write.
    """
    with closing(sqlite3.connect(f"{path.as_uri()}?mode=rw", uri=True, timeout=1)) as file:
        file.row_factory = sqlite3.Row
        if not file.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
            return []  # whoever was to lay it out, was killed before
        found = file.execute("SELECT * FROM intents ORDER BY number DESC LIMIT ?", (-1 if last is None else last,))
        entries = [dict(row) for row in found]
    for entry in entries:
        for name in ("params", "seen", "outcomes"):
            entry[name] = json.loads(entry[name])
        entry["answer"] = entry["answer"] and zlib.decompress(entry["answer"])
    return entries


class _BlockError(Exception):
    """What a guarded block raises."""


def _guarded(job: Job, chance: random.Random) -> DataFrame | None:
    """Cancel on the way out of a block, which fails in its turn."""
    from nbext.cancel.guard import Guard

    guard = Guard(job, yes=True, ask=None)
    with suppress(_BlockError), guard:
        if chance.random() < 0.5:
            raise _BlockError
    return guard.frame


def _result(path: Path) -> list[Told] | None:
    try:
        told = [Told(**each) for each in pickle.loads(path.read_bytes())]  # noqa: S301 - our own child's
    except FileNotFoundError:
        return None
    path.unlink()
    return told


def _seen_on_the_wire(this: Round, talks: list[Talk]) -> set[Id]:
    """Return which orders the call was shown, and should have chosen, before it sent anything."""
    shown: dict[str, list[dict[str, Any]]] = {ALL: [], OPEN_LISTS: []}
    for talk in talks:
        known = {"symbol": talk.params["symbol"]} if "symbol" in talk.params else {}
        shown.get(talk.path, []).extend({**known, **entry} for entry in _entries_of(talk.document()))
    orders, lists = shown[ALL], {each.get("orderListId") for each in shown[OPEN_LISTS]}
    chosen = [order for order in orders if _matches(order, this.wanted)]
    lists &= {order["orderListId"] for order in chosen}
    return {(each["symbol"], int(each["orderId"])) for each in orders if each in chosen or each["orderListId"] in lists}


def _entries_of(document: object) -> Iterator[dict[str, Any]]:
    for entry in document if isinstance(document, list) else []:
        if isinstance(entry, dict) and "orderListId" in entry:
            yield entry


def _first_look(talks: list[Talk]) -> list[Talk]:
    """Leave out what was read again after nothing was found to cancel: an order that came meanwhile was not seen."""
    asked: set[tuple[str, str | None]] = set()
    for number, talk in enumerate(talks):
        question = talk.path, talk.params.get("symbol")
        if question in asked:
            return talks[:number]
        asked.add(question)
    return talks


def _matches(order: Mapping[str, Any], wanted: Mapping[str, str]) -> bool:
    """Return whether a filter means an order."""
    prefix = order["clientOrderId"].startswith(wanted.get("prefix", ""))
    return prefix and all(order[name] == value for name, value in wanted.items() if name != "prefix")


def _put_back(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
