"""The panel: what is open on one exchange, in one table, and buttons that cancel it once a question was answered.

A panel talks to one exchange for all its life, the one that its badge names. The script beside this file shows what it
is given and sends what was clicked: the keys of the orders that were selected and shown. What a click means is decided
here, by the last look. Requests run on threads of their own, so that the kernel stays free; the traits that they set
still reach the browser. Nothing is printed, since the output of a click shows nowhere.
"""

from __future__ import annotations

import atexit
import secrets
import threading
import time
from contextlib import suppress
from functools import partial
from html import escape
from importlib import resources
from typing import TYPE_CHECKING, Any

from anywidget import AnyWidget
from IPython.core.getipython import get_ipython
from traitlets import Bool, Dict, List, Unicode

from nbext import messages, session
from nbext.cancel import job as cancel
from nbext.cancel import reads, unfinished
from nbext.cancel.selection import Selection
from nbext.errors import NbextError
from nbext.notebook import channel, panel_view
from nbext.notebook.clicks import ANSWER, Clicks, turns
from nbext.notebook.question import ChangedError, Ids, Question, ids_of
from nbext.notebook.workers import Started, workers
from nbext.orders import identity, unit_of, units
from nbext.spot.parameters import parse_symbol
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from pandas import DataFrame

    from nbext.cancel.consent import Confirm
    from nbext.cancel.reads import OpenOrders
    from nbext.orders import Row
    from nbext.spot.client import SpotClient

_CALLS = 8
"""The most recent cancels that are shown."""
_LOG = 200
"""The requests of the journal among which they are looked for."""
_BESIDE = resources.files(__package__)


class CancelPanel(AnyWidget):
    """Open orders in a table, and buttons that cancel them.

    Parameters
    ----------
    symbol : str, optional
        The symbol to start with; by default all that have open orders.
    profile : str, optional
        As in `nbext.connect`; not together with `client`.
    client : SpotClient, optional
    confirm : callable, optional
        Returns when the number of orders has to be typed: ``"live"``, ``"always"`` or ``"never"``, as `NBExt.confirm`.
    clock : callable, optional
        Returns seconds, to measure the time between clicks.

    Attributes
    ----------
    symbol : str
        The symbol that is shown; empty for all.
    auto_refresh, ladder : bool
        Whether to read again by itself, and whether to show the ladder.
    rows : list of dict
        The units of the table, as `panel_view.shown` returns them.
    picked : list of str
        The keys of the units that are selected.
    filters : dict
        What the table is narrowed to: ``side``, ``type``, ``client`` and ``age`` in seconds.
    status : dict
        Everything else that is shown in words.
    recent : list of list
        Recent cancels on this exchange.
    picture : str
        The ladder, as HTML.
    address : str
        Where `channel` takes what is for this panel.
    frame : DataFrame or None
        The result of the last cancel.
    error : NbextError or None
        Its error.

    Raises
    ------
    ConfigurationError
        As `nbext.connect`.
    """

    _esm = Unicode("".join(_BESIDE.joinpath(f).read_text("utf-8") for f in ("channel.js", "panel.js"))).tag(sync=True)
    _css = Unicode(_BESIDE.joinpath("panel.css").read_text("utf-8")).tag(sync=True)
    symbol = Unicode().tag(sync=True)
    auto_refresh = Bool().tag(sync=True)
    ladder = Bool().tag(sync=True)
    rows: Any = List().tag(sync=True)
    picked = List(Unicode()).tag(sync=True)
    filters = Dict().tag(sync=True)
    status = Dict().tag(sync=True)
    recent: Any = List().tag(sync=True)
    picture = Unicode().tag(sync=True)
    address = Unicode().tag(sync=True)
    _is_open = False

    def __init__(
        self,
        symbol: str = "",
        *,
        profile: str | None = None,
        client: SpotClient | None = None,
        confirm: Callable[[], Confirm] = lambda: "live",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._client = session.given(client, profile)
        symbol = "".join(_symbols_of(symbol))
        self._confirm = confirm
        self._clicks = Clicks(clock)
        self._question: Question | None = None
        self._answered = threading.Event()
        self._said: list[str] = []
        self.frame: DataFrame | None = None
        self.error: NbextError | None = None
        self._state = threading.RLock()
        self._working = threading.Lock()
        self._started = Started()
        self._under_way: set[str] = set()
        self._surveyed = False
        self._fresh_from = 0.0
        self._read_at = ""
        self._open: list[Row] = []
        self._ended: panel_view.Ended = {}
        self._easel = threading.Lock()
        self._stop = threading.Event()
        address, status = secrets.token_hex(8), panel_view.unread(self._client, _symbols_of(symbol))
        super().__init__(symbol=symbol, status=status, address=address)
        channel.listen(self, address, partial(self._watched, self._take))
        self.observe(self._turn_to, "symbol")
        self.observe(self._switch_auto_refresh, "auto_refresh")
        self.observe(lambda _: self._start(self._draw), "ladder")
        self.observe(lambda _: self._withdraw(), ["picked", "filters"])
        if (shell := get_ipython()) is not None:
            shell.events.register("pre_run_cell", self._cell_begins)
            shell.events.register("post_run_cell", self._clicks.cell_ends)
        atexit.register(self.close)
        self._is_open = True
        self.refresh()
        self._start(self._show_calls)

    def __repr__(self) -> str:
        return f"<CancelPanel {messages.subject(self._symbols)} {messages.place(self._client)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        whose = escape(f"{messages.subject(self._symbols)} {messages.place(self._client)}")
        data: Any = bundle[0] if isinstance(bundle, tuple) else bundle
        data["text/html"] = f"<p>The panel for {whose} lives in a running kernel: run %cancel_panel again.</p>"
        return bundle

    @property
    def place(self) -> tuple[str, str]:
        """The profile and the host of its exchange."""
        return self._client.profile, self._client.host

    def close(self) -> None:
        """Close the panel: it starts nothing more, and finishes what was sent."""
        if not self._is_open:  # the garbage collector closes widgets, too, even half-made ones
            return
        self._is_open = False
        atexit.unregister(self.close)
        channel.stop_listening(self.address)
        self._stop.set()
        self._withdraw()
        if (shell := get_ipython()) is not None:
            for event, hook in (("pre_run_cell", self._cell_begins), ("post_run_cell", self._clicks.cell_ends)):
                with suppress(ValueError):
                    shell.events.unregister(event, hook)
        layout = self.layout
        super().close()
        layout.close()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until all that was started is done."""
        self._started.wait(seconds)

    # What is open.

    def refresh(self) -> None:
        """Read again what is open, unless a read is under way."""
        symbol = self.symbol
        with self._state:
            if symbol in self._under_way:
                return
            self._under_way.add(symbol)
        self._start(self._read, symbol)

    def _read_again(self) -> None:
        """Read again, and let go of what has ended."""
        with self._state:
            self._ended = {}
        self.refresh()

    def _read(self, symbol: str) -> bool:
        """Read and show what is open, and return whether that succeeded."""
        if not self._is_open:
            return False
        began = time.monotonic()
        try:
            wanted = _symbols_of(symbol)
            # The first look goes over all symbols, so that there is something to suggest.
            seen = reads.look(self._client, wanted if self._surveyed else ())
            self._surveyed = True
            prices = reads.last_prices(self._client, wanted or seen.symbols())
        except NbextError as error:
            stale = f" The table is as of {self._read_at}." if self._read_at else ""
            with self._state:
                if symbol == self.symbol and began >= self._fresh_from:
                    problem = printable(f"{type(error).__name__}: {error}{stale}")
                    self._publish(exchange=panel_view.exchange(self._client), problem=problem, ready=False)
            return False
        finally:
            with self._state:
                self._under_way.discard(symbol)
        with self._state:
            if symbol != self.symbol or began < self._fresh_from:
                return True
            self._fresh_from = began
            self._show(seen, wanted, prices)
        self._draw()
        return True

    def _show(self, seen: OpenOrders, wanted: Sequence[str], prices: Mapping[str, Any]) -> None:
        """Show what was read, with one message to the browser."""
        self._open = seen.only(lambda order: not wanted or order.get("symbol") in wanted).rows()
        self._read_at = time.strftime("%H:%M:%S UTC", time.gmtime())
        ended = {which: row for which, row in self._ended.items() if not wanted or which[0] in wanted}
        with self.hold_sync():
            self.rows = panel_view.shown(self._open, ended, self.rows, prices, seen.placed())
            self._publish(
                exchange=panel_view.exchange(self._client),
                symbols=list(dict.fromkeys([*self.status["symbols"], *map(printable, seen.symbols())])),
                read=self._read_at,
                clock=round(self._client.now()),
                summary=panel_view.summary(self._open, wanted),
                problem="",
                ready=True,
            )

    def _draw(self) -> None:
        """Draw what is open, and what the last cancels ended."""
        if not self.ladder or not self._is_open:
            self.picture = ""
            return
        with self._easel:
            self.picture = panel_view.picture(self._open, self._ended, self._client)

    def _turn_to(self, change: Mapping[str, Any]) -> None:
        spelled = "".join(self._symbols)
        if spelled and spelled != change["new"]:
            self.symbol = spelled  # which comes here again
            return
        with self._state:
            self._withdraw()
            with self.hold_sync():
                self.picked, self.rows, self._open = [], [], []
                subject = messages.subject(self._symbols)
                self._publish(subject=subject, summary="Reading …", problem="", ready=False, notes=[])
        self._read_again()

    def _switch_auto_refresh(self, change: Mapping[str, Any]) -> None:
        self._stop.set()
        if change["new"] and self._is_open:
            self._stop = threading.Event()
            workers.start(partial(self._watched, self._keep_reading, self._stop))
        else:
            self._publish(pace="")

    def _keep_reading(self, stop: threading.Event) -> None:
        """Read repeatedly, within a small share of the request weight; an error ends it."""
        while True:
            pause = panel_view.pause(self._client, everything=not self.symbol)
            self._publish(pace=f"every {pause:.0f} s")
            if stop.wait(pause):
                return
            if not self._working.locked() and not self._read(self.symbol):
                self.auto_refresh = False
                return

    # Clicks: one asks, and one that answers the question cancels.

    def _take(self, message: Mapping[str, Any]) -> None:
        """Take what was clicked."""
        if not self._is_open:
            return
        what = message.get("do")
        if what == "refresh":
            self._read_again()
        elif what in ("keep", "greet"):  # a page that has just come cannot tell how old a question is
            self._withdraw()
        elif what == "confirm":
            self._answer(message.get("question"), str(message.get("typed", "")), message.get("after"))
        elif what == "ask":
            self._ask(frozenset(map(str, message.get("keys", ()))), everything=message.get("everything") is True)
        self.send({"do": "hear"})  # without an answer, the script takes the kernel for busy or gone

    def _ask(self, keys: frozenset[str], *, everything: bool) -> None:
        with self._state:
            if self._clicks.are_queued:
                self._tell("info", "Click ignored: it came while a cell was running. Click again.")
            elif not self._working.acquire(blocking=False):
                self._tell("info", *self._said, "Click ignored: the panel is still busy.")
            else:
                self._withdraw()
                self._publish(busy="Looking …", notes=[])
                before = ids_of(row.order for row in self._open if panel_view.key(unit_of(row)) in keys)
                self._start(self._look_and_ask, keys, everything, before)

    def _look_and_ask(self, keys: frozenset[str], everything: bool, before: Ids, note: str = "") -> None:
        """Count afresh, and ask."""
        try:
            if self._read(self.symbol):
                self._put(keys, everything=everything, before=before, note=note)
        finally:
            self._working.release()
            self._publish(busy="")

    def _put(self, keys: frozenset[str], *, everything: bool, before: Ids, note: str) -> None:
        """Ask whether to cancel what was selected and shown, as far as it is still open, or all of a symbol.

        Parameters
        ----------
        before : Counter
            What the user was looking at: the question says what has changed since.
        """
        with self._state:
            symbols, final = self._symbols, panel_view.final(self._ended)
            opened = [row for row in self._open if identity(row.order) not in final]
            found = {panel_view.key(unit): legs for unit, legs in units(opened).items()}
            chosen = set(found) if everything else keys & found.keys()
            rows = [row for each, legs in found.items() if each in chosen for row in legs]
            if everything and not symbols:
                return
            if not rows:
                self._tell("info", note, "Nothing of this is open any more; nothing was canceled.")
                return
            try:
                job = cancel.Job(
                    self._client,
                    Selection.parse(symbols) if everything else Selection.parse(orders=[row.order for row in rows]),
                    say=self._say,
                    progress=self._show_progress,
                )
            except NbextError as error:
                self._tell("error", f"{type(error).__name__}: {error}")
                return
            typed = job.must_ask(yes=False, confirm=self._confirm())
            number = self._clicks.ask()
            turns.shorten(self)
            self._question = Question(number, everything, frozenset(chosen), job, rows, typed)
            self._publish(question=self._question.shown(self._client, before, note), notes=[])
            self._answered.set()
            self._answered = threading.Event()
            requests = 1 if everything else len(chosen)
            workers.start(partial(self._watched, self._time_out, number, requests, self._answered))

    def _time_out(self, number: int, requests: int, answered: threading.Event) -> None:
        with self._client.kept_connected(requests):
            is_answered = answered.wait(ANSWER)
        if not is_answered and self._clicks.question == number:
            self._withdraw("Timed out; nothing was canceled.")

    def _withdraw(self, *why: str, busy: str = "") -> None:
        """Close the question, if there is one."""
        with self._state:
            self._answered.set()
            self._clicks.close()
            turns.restore(self)
            if self._question is None:
                return
            self._question = None
            self._publish(question=None, notes=list(why), mood="info", busy=busy or self.status["busy"])

    def _answer(self, number: object, typed: str, after: object) -> None:
        with self._state:
            asked = self._question
            if self._clicks.are_queued:
                self._tell("info", "Click ignored: it came while a cell was running. Click again.")
                return
            if asked is None or number != asked.number or self._working.locked():
                return
            right = not asked.typed or typed.strip() == str(len(asked.rows))
            if right and (verdict := self._clicks.answer(number, after)) != "fire":
                if verdict == "late":
                    self._tell("info", "Click ignored: it reached the kernel late. Click again.")
                return
            self._working.acquire()
            self._said = []
            if right:
                turns.shorten(asked.job)  # until it is sent
                self._start(self._cancel, asked)  # first of all, since each message to the browser takes time
                self._withdraw(busy="Canceling …")
            else:  # perhaps the number is right, and the question is not
                self._withdraw(busy="Looking …")
                note = f"{typed.strip()[:20]!r} is not the number of orders." if typed.strip() else ""
                self._start(self._look_and_ask, asked.keys, asked.everything, asked.ids, printable(note))

    def _cancel(self, asked: Question) -> None:
        """Look once more, and cancel unless other orders are open than those that were asked about."""
        self.frame, self.error = None, None
        changed = False
        try:
            asked.job.renew_consent(asked.rows, asked.still_holds)
            self.frame = asked.job.run()
            self._tell("done", *self._said)
        except ChangedError:
            changed = True
        except NbextError as error:
            self.frame, self.error = error.frame, error
            self._tell("error", *self._said, f"{type(error).__name__}: {error}")
        finally:
            self._fresh_from = time.monotonic()  # an earlier read is outdated
            with self._state:
                turns.restore(asked.job)
                if self.frame is not None:
                    known = {which: row for row in self._open if (which := identity(row.order)) is not None}
                    self._ended |= panel_view.told(self.frame, {**self._ended, **known})
            if not changed:
                self._working.release()
                self._publish(busy="")
        if changed:
            self._look_and_ask(asked.keys, asked.everything, asked.ids)
            return
        if not self._read(self.symbol):
            self._show_ended()
        self._show_calls()

    def _show_ended(self) -> None:
        """Show what a cancel ended even where nothing can be read: it is known anyway."""
        with self._state:
            self.rows = panel_view.shown(self._open, self._ended, self.rows, {}, {})
        self._draw()

    def _say(self, line: str) -> None:
        self._said.append(line)
        self._tell("info", *self._said)

    def _tell(self, mood: str, *lines: str) -> None:
        self._publish(mood=mood, notes=[printable(line) for line in lines if line])

    def _show_progress(self, done: int, total: int) -> None:
        busy = f"Canceling … request {done} of {total}" if total > 1 else "Canceling …"
        if busy != self.status["busy"]:
            self._publish(busy=busy)

    def _publish(self, **news: Any) -> None:
        """Send the browser what is new."""
        with self._state:
            self.status = {**self.status, **news}

    def _show_calls(self) -> None:
        """Show the last calls of the journal."""
        try:
            self.recent = panel_view.calls(unfinished.cancel_log(_LOG), self._client, _CALLS)
        except NbextError as error:
            self.recent = [["", "", "", printable(f"{type(error).__name__}: {error}")]]

    def _cell_begins(self, _: object) -> None:
        self._clicks.cell_begins()
        self._withdraw("You ran a cell, so the confirmation was reset; the panel canceled nothing.")

    @property
    def _symbols(self) -> list[str]:
        """The symbol that is named, as the exchange spells it; empty for all symbols and for bad ones."""
        with suppress(NbextError):
            return _symbols_of(self.symbol)
        return []

    def _start(self, work: Callable[..., object], *args: object) -> None:
        if self._is_open:
            self._started.start(partial(self._watched, work, *args))

    def _watched(self, work: Callable[..., object], *args: object) -> None:
        """Show unexpected errors, too: those of clicks and threads show nowhere else."""
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001 - its text may hold anything, so only its name is shown
            self._tell("error", f"Unexpected error ({type(error).__name__}). Check %open_orders first.")


def _symbols_of(text: str) -> list[str]:
    return [parse_symbol(text)] if text.strip() else []
