"""Rounds of canceling with something going wrong, and what is true of it afterwards."""

from __future__ import annotations

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import nbext
from nbext import cancel, clients, journal, record
from nbext.errors import NbextError
from nbext.exchange import LocalExchange
from nbext.settle import Limits

from .faults import FAULTS, MISHAPS, mishap, spoil
from .proxy import Proxy, Talk

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pandas import DataFrame

    from nbext.spot import SpotClient

Id = tuple[str, int]

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
QUANTITY = {"BTCUSDT": "0.05", "ETHUSDT": "0.5", "BNBUSDT": "2"}
ALL = "/api/v3/openOrders"
LISTS = "/api/v3/openOrderList"
RECV_WINDOW = 600
ANSWER_SECONDS = 0.4
LIMITS = {"engine": 0.2, "lag": 0.25}
SETTLE_SECONDS = 3.0
BEYOND = 1.5
GRACE = 62.0
KILLS, INTERRUPTS = 0.1, 0.1

ENDED = {
    "CANCELED": "canceled",
    "FILLED": "filled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "rejected",
}
OPEN = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})
WAYS = ("all", "all", "all, seen", "all, seen", "everything", "filter", "orders")
OTHERS = ("none", "beyond", "down", "no key")


@dataclass
class Report:
    """What a campaign came to."""

    rounds: int = 0
    rows: Counter[str] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    lines: Counter[str] = field(default_factory=Counter)
    facts: Counter[str] = field(default_factory=Counter)
    lies: list[str] = field(default_factory=list)

    def add(self, other: Report) -> None:
        """Add what another campaign came to."""
        self.rounds += other.rounds
        for name in ("rows", "errors", "faults", "ways", "lines", "facts"):
            getattr(self, name).update(getattr(other, name))
        self.lies += other.lies

    def __str__(self) -> str:
        told = [f"{self.rounds} rounds, {sum(self.rows.values())} rows, {len(self.lies)} lies"]
        for name in ("rows", "errors", "ways", "faults", "lines", "facts"):
            counts = sorted(getattr(self, name).items(), key=lambda item: (-item[1], item[0]))
            told.append(f"{name:7}" + ", ".join(f"{what} {count}" for what, count in counts))
        return "\n".join(told + self.lies)


@dataclass
class Round:
    """What one call did, said, and was told."""

    number: int
    way: str
    fault: str
    exchange: LocalExchange
    proxy: Proxy
    seen: set[Id] = field(default_factory=set)
    rows: list[tuple[str, int, str]] | None = None
    error: str = ""
    complete: bool = False
    wanted: dict[str, str] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)
    unrecorded: list[str] = field(default_factory=list)
    returned: float = 0.0
    foreign: set[Id] = field(default_factory=set)

    @property
    def name(self) -> str:
        """How lies name it."""
        return f"round {self.number} ({self.way}; {self.fault}; {self.error or 'no error'})"


class Campaign:
    """Plays rounds, one after the other, on an exchange of its own.

    Parameters
    ----------
    seed : int
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.report = Report()
        self._random = random.Random(seed)  # noqa: S311 - a program of rounds, no secret
        self._stack = ExitStack()
        self._number = 0
        self._judged: set[str] = set()

    def __enter__(self) -> Self:
        folder = Path(self._stack.enter_context(tempfile.TemporaryDirectory(prefix="nbext-truth-")))
        folder.chmod(0o700)
        self._folder = folder
        self._journal = folder / "journal.sqlite3"
        self._kills_journal = folder / "kills.sqlite3"
        before = os.environ.get("NBEXT_JOURNAL")
        os.environ["NBEXT_JOURNAL"] = str(self._journal)
        self._stack.callback(_put_back, "NBEXT_JOURNAL", before)
        self._exchange = self._open_exchange()
        self._graveyard = self._open_exchange()
        self._grave_proxy = Proxy(int(self._graveyard.url.rpartition(":")[2])).start()
        self._settling = Round(0, "settle", "kill -9", self._graveyard, self._grave_proxy, error="killed")
        self._grave_proxy.on_delete = lambda talk: self._require_intent(talk, self._kills_journal, self._settling)
        self._stack.callback(self._grave_proxy.stop)
        self._graves: list[Round] = []
        self._buried_at = 0.0
        self._children = self._start_children()
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def _open_exchange(self) -> LocalExchange:
        return self._stack.enter_context(
            LocalExchange(weight_limit=10**9, raw_request_limit=10**9, order_limits=(10**6, 10**7), max_num_orders=2000)
        )

    def _start_children(self) -> subprocess.Popen[str]:
        root = Path(nbext.__file__).parents[1]
        path = os.pathsep.join(filter(None, [str(root), os.environ.get("PYTHONPATH")]))
        children = subprocess.Popen(
            [sys.executable, str(Path(__file__).with_name("child.py"))],
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
        kills = round(rounds * KILLS)
        for _ in range(kills):
            self._kill()
        for _ in range(rounds - kills):
            if self._random.random() < INTERRUPTS:
                self._interrupt()
            else:
                self._play()
        self._settle_graves()
        self.report.rounds += rounds
        return self.report

    def _lie(self, where: str, what: str) -> None:
        self.report.lies.append(f"seed {self.seed}, {where}: {what}")

    # One round in this process.

    def _play(self) -> None:
        this = self._prepare(self._random.choice(WAYS))
        beyond = this.fault == "beyond"
        key = this.exchange.api_key, this.exchange.secret_key
        api_key, secret_key = (None, None) if this.fault == "no key" else key
        if this.fault == "down":
            this.proxy.stop()
        meddler = self._meddler(this)
        frame: DataFrame | None = None
        with nbext.SpotClient(
            this.proxy.url, api_key=api_key, secret_key=secret_key, answer_timeout=ANSWER_SECONDS
        ) as client:
            try:
                job = self._job(this, client)
                if self._random.random() < 0.3:
                    self._fill(this.exchange, self._random)
                meddler.start()
                frame = job.run(check=self._random.random() < 0.2)
            except NbextError as error:
                this.error = type(error).__name__
                frame = error.frame
                if frame is not None and frame is not nbext.last:
                    self._lie(this.name, "the error's frame is not nbext.last")
            this.returned = time.monotonic()
            if meddler.ident is not None:
                meddler.join()
            this.proxy.wait_until_idle()
        if frame is not None:
            columns = (frame[name].tolist() for name in ("symbol", "orderId", "outcome"))
            this.rows = list(zip(*columns, strict=True))
            this.complete = frame.attrs["nbext"]["complete"]
        self._judge(this, beyond=beyond)
        this.proxy.stop()

    def _prepare(self, way: str) -> Round:
        chance, exchange = self._random, self._exchange
        exchange.reset()
        clients.close()
        record.close()
        self._number += 1
        kinds = (FAULTS, FAULTS, FAULTS, MISHAPS, MISHAPS, OTHERS)
        proxy = Proxy(int(exchange.url.rpartition(":")[2])).start()
        this = Round(self._number, way, chance.choice(chance.choice(kinds)), exchange, proxy)
        proxy.on_delete = lambda talk: self._require_intent(talk, self._journal, this)
        if this.fault.startswith("skew"):
            exchange.faults.skew = chance.choice([-90, 90, -5, 5, -0.8, 0.4])
        self._place(exchange, chance.randint(1, 6))
        self._spoil(this)
        return this

    def _place(self, exchange: LocalExchange, count: int, symbols: tuple[str, ...] = SYMBOLS) -> None:
        for _ in range(count):
            with suppress(Exception):  # whatever a full book or purse refuses, is not placed
                self._place_one(exchange, self._random.choice(symbols))

    def _place_one(self, exchange: LocalExchange, symbol: str) -> None:
        chance = self._random
        last = float(exchange.last_price(symbol))
        quantity, gtc = QUANTITY[symbol], {"timeInForce": "GTC"}

        def at(share: float) -> str:
            return str(round(last * (1 + share)))

        kind = chance.choice(["far", "near", "near", "stop", "oco", "oco", "oto", "otoco"])
        below, above = (-0.01, 0.01) if kind in {"near", "oco"} else (-0.05, 0.05)
        own = {"newClientOrderId": f"{chance.choice(['bot', 'me'])}-{chance.randrange(10**9)}"}
        if kind in {"far", "near"}:
            side, share = chance.choice([("BUY", below), ("SELL", above)])
            exchange.place(symbol, side, "LIMIT", quantity=quantity, price=at(share), **gtc, **own)
        elif kind == "stop":
            stop = {"stopPrice": at(-0.04), "price": at(-0.05)}
            exchange.place(symbol, "SELL", "STOP_LOSS_LIMIT", quantity=quantity, **stop, **gtc, **own)
        elif kind == "oco":
            legs = {"aboveType": "LIMIT_MAKER", "abovePrice": at(above), "belowType": "STOP_LOSS"}
            exchange.place_list("oco", symbol, side="SELL", quantity=quantity, belowStopPrice=at(-0.06), **legs)
        else:
            working = {"Type": "LIMIT", "Side": "BUY", "TimeInForce": "GTC", "Price": at(-0.01), "Quantity": quantity}
            pending = {"Side": "SELL", "Quantity": quantity}
            if kind == "oto":
                pending |= {"Type": "LIMIT", "TimeInForce": "GTC", "Price": at(0.05)}
            else:
                pending |= {"AboveType": "LIMIT_MAKER", "AbovePrice": at(0.05)}
                pending |= {"BelowType": "STOP_LOSS", "BelowStopPrice": at(-0.1)}
            named = {f"working{name}": each for name, each in working.items()}
            named |= {f"pending{name}": each for name, each in pending.items()}
            exchange.place_list(kind, symbol, **named)

    def _spoil(self, this: Round) -> None:
        self.report.faults[this.fault] += 1
        if this.fault in MISHAPS:
            this.proxy.spoil(mishap(this.fault, self._random))
        elif this.fault == "beyond":
            this.exchange.faults.lag = BEYOND
            this.exchange.faults.lose_answer("DELETE", "*")
        else:
            spoil(this.exchange.faults, this.fault, self._random)

    def _job(self, this: Round, client: SpotClient) -> cancel.Job:
        """Make the call in its way, and note what it has seen."""
        chance = self._random
        settings: dict[str, Any] = {
            "client": client,
            "say": this.said.append,
            "recv_window": RECV_WINDOW,
            "settle_seconds": chance.choice([SETTLE_SECONDS, SETTLE_SECONDS, SETTLE_SECONDS, 0.3]),
            "delays": Limits(**LIMITS),
            "max_wait": 1.5,
            "exact": chance.random() < 0.2,
        }
        most = 1 if this.fault in {"limit", "ban"} else len(SYMBOLS)  # of several, one failure is another error
        symbols = chance.sample(SYMBOLS, chance.randint(1, most))
        self.report.ways[this.way] += 1
        if this.way == "orders":
            frame = cancel.open_orders(client=client)
            chosen = frame[[chance.random() < 0.7 for _ in range(len(frame))]]
            this.seen = set(zip(chosen["symbol"].tolist(), chosen["orderId"].tolist(), strict=True))
            return cancel.Job(orders=cancel.orders_of(chosen, client), **settings)
        if this.way == "filter":
            this.wanted = chance.choice([{"side": "SELL"}, {"side": "BUY"}, {"prefix": "bot"}, {"type": "LIMIT"}])
            return cancel.Job(symbols, **settings | this.wanted)
        if this.way == "everything":
            return cancel.Job(everything=True, **settings)
        job = cancel.Job(symbols, **settings)
        if this.way == "all, seen":

            def ask(preview: DataFrame, question: str) -> str:  # noqa: ARG001 - as the faces do
                this.seen = set(zip(preview["symbol"].tolist(), preview["orderId"].tolist(), strict=True))
                return str(len(preview))

            job.obtain_consent(ask)
        return job

    def _meddler(self, this: Round) -> threading.Thread:
        """Make somebody else who trades, cancels and places orders on the same symbols meanwhile."""
        chance, exchange = self._random, this.exchange
        acts = chance.sample(["fill", "fill", "cancel", "place"], chance.choice([0, 0, 1, 2]))
        waits = [chance.choice([0.0, 0.005, 0.05, 0.3, 0.7]) for _ in acts]
        seed = chance.random()

        def meddle() -> None:
            own = random.Random(seed)  # noqa: S311 - as above
            for act, wait in zip(acts, waits, strict=True):
                time.sleep(wait)
                self.report.facts[f"others {act}"] += 1
                symbol = own.choice(SYMBOLS)
                with suppress(Exception):
                    if act == "fill":
                        self._fill(exchange, own)
                    elif act == "place":
                        price = round(float(exchange.last_price(symbol)) * 0.95)
                        exchange.place(
                            symbol, "BUY", "LIMIT", timeInForce="GTC", quantity=QUANTITY[symbol], price=price
                        )
                    else:
                        self._cancel_as_another(this, own)

        return threading.Thread(target=meddle, daemon=True)

    def _fill(self, exchange: LocalExchange, chance: random.Random) -> None:
        """Move prices over what is near them."""
        self.report.facts["prices moved"] += 1
        for symbol in SYMBOLS:
            exchange.set_price(symbol, round(float(exchange.last_price(symbol)) * chance.choice([0.985, 1.015])))

    @staticmethod
    def _cancel_as_another(this: Round, own: random.Random) -> None:
        order = own.choice(this.exchange.open_orders())
        exchange = this.exchange
        with nbext.SpotClient(exchange.url, api_key=exchange.api_key, secret_key=exchange.secret_key) as other:
            other.measure_clock_offset(1)
            reports = other.cancel("/api/v3/order", {"symbol": order["symbol"], "orderId": order["orderId"]})
        this.foreign |= {(symbol, order_id) for symbol, order_id, _ in _told(reports)}

    # What is true.

    def _judge(self, this: Round, *, beyond: bool = False) -> None:
        """Compare what nbext said with what the exchange knows."""
        self.report.errors[this.error or "none"] += 1
        talks = this.proxy.talks
        deletes = [number for number, talk in enumerate(talks) if talk.method == "DELETE"]
        if this.rows is None:
            if deletes and this.error not in {"KeyboardInterrupt", "killed"}:
                self._lie(this.name, "something was sent, and there is no frame")
        else:
            if this.way in {"filter", "everything"}:
                this.seen = self._seen_on_the_wire(this, talks[: deletes[0]] if deletes else _first_look(talks))
            self._judge_rows(this, this.rows, talks[deletes[0] :] if deletes else [], beyond=beyond)
        self._judge_sending(this, [talks[number] for number in deletes])
        if this.error != "killed":
            self._judge_journal(this, self._journal, beyond=beyond)

    def _seen_on_the_wire(self, this: Round, talks: list[Talk]) -> set[Id]:
        """Say which orders the call was shown, and should have chosen, before it sent anything."""
        shown = {path: [talk.document() or [] for talk in talks if talk.path == path] for path in (ALL, LISTS)}
        orders = [order for document in shown[ALL] if isinstance(document, list) for order in document]
        lists = {each["orderListId"] for document in shown[LISTS] if isinstance(document, list) for each in document}
        chosen = [order for order in orders if _matches(order, this.wanted)]
        lists &= {order["orderListId"] for order in chosen}
        return {(each["symbol"], each["orderId"]) for each in orders if each in chosen or each["orderListId"] in lists}

    def _judge_rows(self, this: Round, rows: list[tuple[str, int, str]], talks: list[Talk], *, beyond: bool) -> None:
        told = self._told_in_time(this, talks)
        given = {(symbol, order_id) for symbol, order_id, _ in rows}
        if len(given) < len(rows):
            self._lie(this.name, "an order has two rows")
        for missing in this.seen - given:
            self._lie(this.name, f"{missing} had been seen, and has no row")
        reported = {(s, i) for talk in talks if talk.method == "DELETE" for s, i, _ in _told(_heard(talk, this))}
        for missing in reported - given:
            self._lie(this.name, f"{missing} was reported, and has no row")
        for symbol, order_id, state in rows:
            self.report.rows[state] += 1
            self._judge_row(this, (symbol, order_id), state, told.get((symbol, order_id)), beyond=beyond)
        self._judge_error(this, {state for _, _, state in rows})
        # After a look, an order that it did not show may be canceled along, and go unnamed if the answer is lost.
        if this.complete and not beyond and this.way == "all":
            for ended in set(self._ended_by_the_call(this)) - given:
                self._lie(this.name, f"{ended} was canceled by the call, which calls its frame complete without it")

    def _told_in_time(self, this: Round, talks: list[Talk]) -> dict[Id, str]:
        """Say of which orders the client must have heard that they have ended, and how."""
        told: dict[Id, str] = {}
        for talk in talks:
            # What was passed on so late may have found nobody there any more.
            took = ANSWER_SECONDS if talk.done_at is None else talk.done_at - talk.at
            if took < ANSWER_SECONDS / 4 and talk.at + took < this.returned:
                told |= {(symbol, order_id): state for symbol, order_id, state in _told(talk.document()) if state}
        return told

    def _judge_error(self, this: Round, states: set[str]) -> None:
        if not this.error and states & {"open", "unknown"}:
            self._lie(this.name, f"no error, and rows that are {states}")
        if this.error == "IncompleteError" and "unknown" in states:
            self._lie(this.name, "IncompleteError with unknown rows")

    def _judge_row(self, this: Round, order: Id, state: str, told: str | None, *, beyond: bool) -> None:
        truth, ended = self._truth(this, order)
        if state in ENDED.values():
            if truth != state:
                self._lie(this.name, f"{order} is said to be {state}, and is {truth}")
        elif state == "unknown":
            if told is not None and this.error not in {"Interrupted", "KeyboardInterrupt"}:
                self._lie(this.name, f"{order} is said to be unknown, and a read had shown that it is {told}")
        elif state != "open":
            self._lie(this.name, f"{order} has the outcome {state!r}")
        elif beyond:
            self.report.facts["untrue open beyond the allowance"] += truth != "open"
        elif told is not None:
            self._lie(this.name, f"{order} is said to be open, and a read had shown that it is {told}")
        elif truth == "canceled" and order not in this.foreign:
            self._lie(this.name, f"{order} is said to be open, and the call has canceled it")
        elif truth != "open":
            # Somebody else ended it: after the last look at it, or the look showed what was no more.
            self.report.facts["open, ended by another"] += 1
            self._judge_open(this, order, ended)

    @staticmethod
    def _truth(this: Round, order: Id) -> tuple[str, int]:
        """Say what became of an order, and when that was."""
        try:
            last = this.exchange.history(order[1], order[0])[-1]
        except LookupError:
            return "no order at all", 0
        return ENDED.get(str(last["status"]), "open"), int(str(last["time"]))

    def _judge_open(self, this: Round, order: Id, ended: int) -> None:
        """Require a read that showed the order open, and was no older than reads may be."""
        lag = this.exchange.faults.lag * 1000
        skew = this.exchange.faults.skew * 1000
        for talk in this.proxy.talks:
            document = talk.document() if talk.method == "GET" else None
            for each in [document] if isinstance(document, dict) else document or []:
                shows = (each.get("symbol"), each.get("orderId")) == order and each.get("status") in OPEN
                if shows and _wall(talk.at) + skew - lag <= ended + 5:
                    return
        self._lie(this.name, f"{order} is said to be open, and no read had shown that")

    def _ended_by_the_call(self, this: Round) -> Iterator[Id]:
        numbers = {request["number"] for request in this.exchange.requests("DELETE", ALL)}
        for symbol in SYMBOLS:
            for order_id in self._orders_of(this.exchange, symbol):
                last = this.exchange.history(order_id, symbol)[-1]
                if last["request"] in numbers:
                    yield symbol, order_id

    @staticmethod
    def _orders_of(exchange: LocalExchange, symbol: str) -> list[int]:
        return list(exchange._engine.accounts["main"].orders[symbol])

    def _judge_sending(self, this: Round, deletes: list[Talk]) -> None:
        """Require that each cancel was sent once, and again only after an answer that proves it unseen."""
        by_target: dict[str, list[Talk]] = {}
        for talk in deletes:
            named = {name: value for name, value in talk.params.items() if name not in {"timestamp", "signature"}}
            by_target.setdefault(f"{talk.path} {json.dumps(named)}", []).append(talk)
        for target, talks in by_target.items():
            for talk in talks[:-1]:
                document = talk.document()
                code = document.get("code") if isinstance(document, dict) else None
                if talk.status == 429 or (talk.status == 400 and code == -1021):
                    self.report.facts[f"sent again after {code}"] += 1
                else:
                    self._lie(this.name, f"sent again after {talk.status} {code}: {target}")

    def _require_intent(self, talk: Talk, path: Path, this: Round) -> None:
        """Require that what arrives here stands in the journal by now."""
        self.report.facts["DELETEs"] += 1
        named = [value for name, value in talk.params.items() if name in {"orderId", "orderListId"}]
        found: list[tuple[str]] = []
        with suppress(sqlite3.Error), closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=1)) as file:
            query = "SELECT params FROM intents WHERE path = ? ORDER BY number DESC LIMIT 100"
            found = file.execute(query, (talk.path,)).fetchall()
        for (text,) in found:
            params: dict[str, str] = json.loads(text)
            if params.get("symbol") == talk.params["symbol"] and all(value in params.values() for value in named):
                return
        this.unrecorded.append(f"{talk.method} {talk.path} {talk.params['symbol']} arrived, and no intent was on disk")

    def _judge_journal(self, this: Round, path: Path, *, beyond: bool) -> None:
        """Require that each line of the journal is true, and that none is missing."""
        if any("Not recorded in the journal" in line for line in this.said):
            self.report.facts["journal could not be written, and that was said"] += 1
            return
        for unrecorded in this.unrecorded:
            self._lie(this.name, unrecorded)
        with closing(journal.Journal(path)) as file:
            latest = file.entries(40)
        # A port may come again, so that the host alone does not tell one round from another.
        entries = [
            each for each in latest if each.intent.host == this.proxy.host and each.intent.id not in self._judged
        ]
        self._judged |= {entry.intent.id for entry in entries}
        deletes = [talk for talk in this.proxy.talks if talk.method == "DELETE"]
        for entry in entries:
            of_it = [talk for talk in deletes if _is_of(talk, entry.intent)]
            self._judge_entry(this, entry, of_it, beyond=beyond)
        for talk in deletes:
            if not any(_is_of(talk, entry.intent) for entry in entries):
                self._lie(this.name, f"the intent of {talk.method} {talk.path} {talk.params['symbol']} is lost")

    def _judge_entry(self, this: Round, entry: journal.Entry, talks: list[Talk], *, beyond: bool) -> None:
        where = f"{this.name}, journal"
        self.report.lines["concluded" if entry.concluded_at is not None else "open"] += 1
        given = {(str(each["symbol"]), int(str(each["orderId"]))) for each in entry.outcomes}
        if entry.concluded_at is None:
            if entry.outcomes or this.error in {"", "IncompleteError", "ConfigurationError"}:
                self._lie(where, f"all is known, and {entry.intent.params} has no conclusion")
            return
        for seen in entry.intent.seen:
            if (seen["symbol"], seen["orderId"]) not in given:
                self._lie(where, f"{seen} had been seen, and is missing")
        for each in entry.outcomes:
            if each["outcome"] == "unknown":
                self._lie(where, f"concluded with {each}")
            order = str(each["symbol"]), int(str(each["orderId"]))
            if not (beyond and each["outcome"] == "open"):
                self._judge_row(this, order, str(each["outcome"]), None, beyond=False)
        if this.way != "settle":
            self._judge_answer(this, entry, talks)

    def _judge_answer(self, this: Round, entry: journal.Entry, talks: list[Talk]) -> None:
        """Require that the answer in the journal is the one that came."""
        where = f"{this.name}, journal"
        if not talks and (entry.http_status is not None or entry.has_answer):
            self._lie(where, f"nothing was sent, and HTTP {entry.http_status} is written down")
        if talks and _heard(talks[-1], this) is not None and b"signature" not in (talks[-1].body or b""):
            with closing(journal.Journal(self._journal)) as file:
                answer = file.answer(entry.intent.id)
            if (entry.http_status, answer) != (talks[-1].status, talks[-1].body):
                self._lie(
                    where, f"HTTP {talks[-1].status} was answered, {entry.http_status} is written down: {answer!r}"
                )

    # Processes that are interrupted, or killed.

    def _start(self, this: Round, path: Path) -> tuple[int, Path]:
        result = self._folder / f"result-{this.number}-{len(self._graves)}.json"
        job = {
            "url": this.proxy.url,
            "key": this.exchange.api_key,
            "secret": this.exchange.secret_key,
            "timeout": ANSWER_SECONDS,
            "recv_window": RECV_WINDOW,
            "settle": SETTLE_SECONDS,
            "limits": LIMITS,
            "way": this.way,
            "symbols": self._random.sample(SYMBOLS, self._random.randint(1, 3)),
            "result": str(result),
            "environment": {
                "NBEXT_JOURNAL": str(path),
                "NBEXT_BASE_URL": this.proxy.url,
                "BINANCE_API_KEY": this.exchange.api_key,
                "BINANCE_API_SECRET": this.exchange.secret_key,
            },
        }
        pipe = self._children.stdin
        if pipe is not None:
            pipe.write(json.dumps(job) + "\n")
            pipe.flush()
        return self._hear(), result

    def _hear(self) -> int:
        pipe = self._children.stdout
        return int(pipe.readline()) if pipe is not None else 0

    def _interrupt(self) -> None:
        """Interrupt a process that cancels, once or twice, at any moment."""
        chance = self._random
        this = self._prepare(chance.choice(["all", "all, seen"]))
        this.fault += ", interrupted"
        pid, path = self._start(this, self._journal)
        early = chance.random() < 0.2
        if not early:
            this.proxy.deleting.wait(3)
        for wait in chance.choice([[0.0], [0.02], [0.2], [0.6], [0.0, 0.05], [0.1, 0.1]]):
            time.sleep(chance.uniform(0, 0.03) if early else wait)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGINT)
        self._hear()
        this.returned = time.monotonic()
        this.proxy.wait_until_idle()
        told = _result(path)
        this.error = "KeyboardInterrupt" if told is None else told["error"]
        if told is not None:
            self._take_in(this, told)
        if this.error == "KeyboardInterrupt" and this.rows is None and this.proxy.deleting.is_set():
            self.report.facts["interrupted without a frame"] += 1
        self._judge(this, beyond="beyond" in this.fault)
        this.proxy.stop()

    def _take_in(self, this: Round, told: Mapping[str, Any]) -> None:
        this.seen = {(symbol, order_id) for symbol, order_id in told["seen"]}
        this.complete = told["complete"]
        this.said = told["said"]
        if told["rows"] is not None:
            this.rows = [(symbol, order_id, state) for symbol, order_id, state in told["rows"]]
            if not told["kept"]:
                self._lie(this.name, "the error's frame is not nbext.last")

    def _kill(self) -> None:
        """Kill a process that cancels, at any moment."""
        chance = self._random
        self._number += 1
        exchange, proxy = self._graveyard, self._grave_proxy
        this = Round(self._number, chance.choice(["all", "all, seen"]), "kill -9", exchange, proxy, error="killed")
        self.report.faults["kill -9"] += 1
        self._place(exchange, chance.randint(2, 5))
        if chance.random() < 0.3:
            exchange.faults.lose_answer("DELETE", "*", after_executing=chance.random() < 0.5)
        elif chance.random() < 0.5:
            exchange.faults.answer_late("DELETE", "*", seconds=0.1)
        proxy.deleting.clear()
        pid, path = self._start(this, self._kills_journal)
        if chance.random() < 0.7:
            proxy.deleting.wait(3)
        time.sleep(chance.choice([0.0, 0.002, 0.01, 0.05, 0.2]))
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        self._hear()
        proxy.wait_until_idle()
        exchange.faults.clear()
        self.report.errors["none" if path.exists() else "killed"] += 1
        self._graves.append(this)
        self._buried_at = time.monotonic()

    def _settle_graves(self) -> None:
        """Settle what was killed, and judge the journal that is left of it."""
        if not self._graves:
            return
        with closing(journal.Journal(self._kills_journal)) as file:
            deletes = [talk for talk in self._grave_proxy.talks if talk.method == "DELETE"]
            left = [entry for entry in file.entries() if entry.concluded_at is None]
            self.report.facts["intents left by kill -9"] += len(left)
            for talk in deletes:
                if not any(_is_of(talk, entry.intent) for entry in file.entries()):
                    self._lie("kills", f"the intent of {talk.path} {talk.params['symbol']} is lost")
            last = max((entry.intent.deadline for entry in left), default=0) / 1000 + GRACE - time.time()
            time.sleep(max(0.0, last if left else 0.0))
            this = self._settling
            for unrecorded in this.unrecorded:
                self._lie("kills", unrecorded)
            _, path = self._start(this, self._kills_journal)
            self._hear()
            told = _result(path)
            this.error = ""
            self._grave_proxy.wait_until_idle()
            for entry in file.entries():
                if entry.concluded_at is None:
                    self._lie("kills", f"not settled: {entry.intent.params}, {told}")
                else:
                    self._judge_entry(this, entry, [], beyond=False)


def play(seed: int, rounds: int) -> Report:
    """Play one campaign."""
    with Campaign(seed) as campaign:
        return campaign.play(rounds)


def _result(path: Path) -> dict[str, Any] | None:
    try:
        told: dict[str, Any] = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None
    path.unlink()
    return told


def _heard(talk: Talk, this: Round) -> Any:  # noqa: ANN401 - a JSON document
    """Give the answer, where it was passed on so early that the client must have heard it."""
    if talk.done_at is None or talk.done_at - talk.at > ANSWER_SECONDS / 4 or talk.done_at > this.returned:
        return None
    return talk.document() if this.error not in {"Interrupted", "KeyboardInterrupt"} else None


def _told(document: object) -> Iterator[tuple[str, int, str | None]]:
    """Say of each order in an answer how it has ended, None if it has not."""
    for entry in [document] if isinstance(document, dict) else document if isinstance(document, list) else []:
        for order in entry.get("orderReports", [entry]) if isinstance(entry, dict) else []:
            if "orderId" in order and "status" in order:
                yield order["symbol"], order["orderId"], ENDED.get(order["status"])


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
    """Say whether a filter means an order."""
    prefix = order["clientOrderId"].startswith(wanted.get("prefix", ""))
    return prefix and all(order[name] == value for name, value in wanted.items() if name != "prefix")


def _is_of(talk: Talk, intent: journal.Intent) -> bool:
    names = ("symbol", "orderId", "orderListId")
    return talk.path == intent.path and all(talk.params.get(name) == intent.params.get(name) for name in names)


def _wall(monotonic: float) -> float:
    """Give a moment of the monotonic clock in milliseconds UTC."""
    return (time.time() - (time.monotonic() - monotonic)) * 1000


def _put_back(name: str, value: str | None) -> None:
    if value is None:
        os.environ.pop(name, None)
    else:
        os.environ[name] = value
