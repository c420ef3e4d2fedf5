"""The panel: what is open on one exchange, and two buttons that cancel it, each confirmed by a second click.

A panel talks to one exchange for all its life, the one that its badge names. Requests run on threads of their own, so
that the kernel stays free; the traits that they set still reach the browser. Nothing is printed, since the output of a
click shows nowhere.
"""

from __future__ import annotations

import atexit
import threading
import time
from concurrent.futures import wait
from contextlib import suppress
from functools import partial
from html import escape
from typing import TYPE_CHECKING, Any

from IPython.core.getipython import get_ipython

from nbext import messages, session
from nbext.cancel import job as cancel
from nbext.cancel import reads, unfinished
from nbext.cancel.selection import Selection
from nbext.errors import NbextError
from nbext.frames.html import as_html
from nbext.notebook import panel_view
from nbext.notebook.clicks import Arming, Trigger
from nbext.notebook.panel_view import PanelView
from nbext.notebook.workers import workers
from nbext.orders import unit_of, units
from nbext.spot.parameters import parse_symbol
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from concurrent.futures import Future

    from ipywidgets import Button
    from pandas import DataFrame

    from nbext.cancel.consent import Confirm
    from nbext.cancel.reads import OpenOrders
    from nbext.spot.client import SpotClient

ARMED = 5.0
"""Seconds for which a first click arms a button."""
ARMED_LIVE = 60.0
"""The same where the number of orders has to be typed."""

_CALLS = 5


class CancelPanel(PanelView):
    """Open orders, and buttons that cancel them.

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
    badge, symbol, refresh_button, auto_refresh, ladder, reading, table, orders, cancel_selected, cancel_all, number,
    progress, message, result, picture, calls : Widget
    frame : DataFrame or None
        The result of the last cancel.
    error : NbextError or None
        Its error.

    Raises
    ------
    ConfigurationError
        As `nbext.connect`.
    """

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
        self._trigger = Trigger(clock)
        self._job: cancel.Job | None = None
        self._said: list[str] = []
        self.frame: DataFrame | None = None
        self.error: NbextError | None = None
        self._state = threading.RLock()
        self._working = threading.Lock()
        self._started: set[Future[None]] = set()
        self._under_way: set[str] = set()
        self._surveyed = False
        self._fresh_from = 0.0
        self._read_at = ""
        self._just_gone: DataFrame | None = None
        self._easel = threading.Lock()
        self._stop = threading.Event()
        self._disarmed = threading.Event()
        super().__init__(symbol)
        self._show_exchange(self._client)
        self._label()
        self._listen()
        if (shell := get_ipython()) is not None:
            shell.events.register("pre_run_cell", self._cell_begins)
            shell.events.register("post_run_cell", self._cell_ends)
        atexit.register(self.close)
        self._is_open = True
        self.refresh()
        self._start(self._show_calls)

    def _listen(self) -> None:
        """Connect the widgets with what they do."""
        self.refresh_button.on_click(lambda _: self._read_again())
        for button in self._buttons:
            button.on_click(lambda clicked: self._watched(self._take_click, clicked))
        self.symbol.observe(self._symbol_changed, "value")
        self.auto_refresh.observe(self._auto_refresh_changed, "value")
        self.ladder.observe(lambda _: self._start(self._draw), "value")
        self.orders.observe(self._orders_selected, "value")
        if self._has_rows_to_click:
            self.table.observe(self._rows_clicked, "selected_rows")

    @property
    def _buttons(self) -> tuple[Button, Button]:
        return self.cancel_selected, self.cancel_all

    def __repr__(self) -> str:
        return f"<CancelPanel {messages.subject(self._symbols)} {messages.place(self._client)}>"

    def _repr_mimebundle_(self, **kwargs: Any) -> Any:
        bundle = super()._repr_mimebundle_(**kwargs)
        said = (
            f"The panel for {messages.subject(self._symbols)} {messages.place(self._client)} lives in a running kernel"
        )
        bundle["text/html"] = f"<p>{escape(said)}: run %cancel_panel again.</p>"
        return bundle

    def close(self) -> None:
        """Close the panel and every widget in it: it starts nothing more, and finishes what was sent."""
        if not self._is_open:  # the garbage collector closes widgets, too, even half-made ones
            return
        self._is_open = False
        atexit.unregister(self.close)
        self._stop.set()
        self._disarm()
        if (shell := get_ipython()) is not None:
            for event, hook in (("pre_run_cell", self._cell_begins), ("post_run_cell", self._cell_ends)):
                with suppress(ValueError):
                    shell.events.unregister(event, hook)
        parts = panel_view.parts(self)
        super().close()
        for part in parts:
            part.close()

    def wait(self, seconds: float = 60.0) -> None:
        """Wait until all that was started is done."""
        end = time.monotonic() + seconds
        while self._started:  # work that is done may have started more
            if wait(list(self._started), max(0.0, end - time.monotonic())).not_done:
                raise TimeoutError("the panel is still busy")
            self._started = {each for each in self._started if not each.done()}

    # What is open.

    def refresh(self) -> None:
        """Read again what is open, unless a read is under way."""
        symbol = self.symbol.value
        with self._state:
            if symbol in self._under_way:
                return
            self._under_way.add(symbol)
        self._start(self._read, symbol)

    def _read_again(self) -> None:
        self._just_gone = None
        self.refresh()

    def _read(self, symbol: str) -> bool:
        """Read and show what is open, and return whether that succeeded."""
        if not self._is_open:
            return False
        began = time.monotonic()
        self._show_exchange(self._client)
        try:
            wanted = _symbols_of(symbol)
            # The first look goes over all symbols, so that there is something to suggest.
            seen = reads.look(self._client, wanted if self._surveyed else ())
            self._surveyed = True
        except NbextError as error:
            stale = f" The table is as of {self._read_at}." if self._read_at else ""
            if symbol == self.symbol.value and began >= self._fresh_from:
                self.reading.value = panel_view.note("error", f"{type(error).__name__}: {error}{stale}", alert=True)
            return False
        finally:
            with self._state:
                self._under_way.discard(symbol)
        with self._state:
            if symbol == self.symbol.value and began >= self._fresh_from:
                self._fresh_from = began
                self._show(seen, wanted)
        self._draw()
        return True

    def _draw(self) -> None:
        """Draw what is open, and what the last cancel ended."""
        if not self.ladder.value or not self._is_open:
            self.picture.value = ""
            return
        with self._easel:
            picture = panel_view.picture(self._rows, self._just_gone, self._client)
            self.picture.value = picture if self.ladder.value else ""

    def _show(self, seen: OpenOrders, wanted: Sequence[str]) -> None:
        known = dict.fromkeys([*self.symbol.options, *map(printable, seen.symbols())])
        if tuple(known) != self.symbol.options:
            self.symbol.options = tuple(known)
        rows = seen.only(lambda order: not wanted or order.get("symbol") in wanted).rows()
        self._read_at = time.strftime("%H:%M:%S")
        said = f"{messages.count(len(rows), 'open order')}{messages.kinds(rows)}" if rows else "nothing is open"
        self.reading.value = panel_view.note("info", f"{messages.subject(wanted)}: {said}, read at {self._read_at}")
        grouped = units(rows)
        rows = [row for legs in grouped.values() for row in legs]
        if rows == self._rows and self.orders.options:
            return  # an unchanged table keeps its place and its sorting
        self._show_orders(rows, grouped)
        self._disarm_unless_meant()
        self._label()

    def _rows_clicked(self, change: Mapping[str, Any]) -> None:
        """Select what was clicked; a click on one leg of a list means the list."""
        with self._state:
            if self._drawing:
                return
            before = set(self._places(self.orders.value))
            after = {place for place in change["new"] if place < len(self._rows)}
            if before == after:
                return
            added, removed = (
                {unit_of(self._rows[place]) for place in places} for places in (after - before, before - after)
            )
            chosen = (set(self.orders.value) | added) - (removed - added)
            self.orders.value = [unit for _, unit in self.orders.options if unit in chosen]
            self._mark_rows()

    def _orders_selected(self, _: object) -> None:
        with self._state:
            if not self._drawing:
                self._mark_rows()
                self._disarm_unless_meant()
                self._label()

    def _symbol_changed(self, change: Mapping[str, Any]) -> None:
        spelled = "".join(self._symbols)
        if spelled and spelled != change["new"]:
            self.symbol.value = spelled  # which comes here again
            return
        with self._state:
            self._disarm()
            self._label()
        self._read_again()

    def _auto_refresh_changed(self, change: Mapping[str, Any]) -> None:
        self._stop.set()
        if change["new"] and self._is_open:
            self._stop = threading.Event()
            workers.start(partial(self._watched, self._keep_reading, self._stop))
        else:
            self.auto_refresh.description = "Auto-refresh"

    def _keep_reading(self, stop: threading.Event) -> None:
        """Read repeatedly, within a small share of the request weight; an error ends it."""
        while True:
            pause = panel_view.pause(self._client, everything=not self.symbol.value, price=self.ladder.value)
            self.auto_refresh.description = f"Auto-refresh, every {pause:.0f} s"
            if stop.wait(pause):
                return
            if not self._working.locked() and not self._read(self.symbol.value):
                self.auto_refresh.value = False
                return

    # Clicks: the first one arms, the second one fires.

    def _take_click(self, button: Button) -> None:
        with self._state:
            if not self._is_open:
                return
            if self._working.locked():
                self._tell("info", *self._said, "Click ignored: the panel is still busy.")
                return
            job, typed = self._job, self.number.value
            verdict = self._trigger.click(self._meant(button))
            if verdict == "after cell":
                self._tell("info", "Click ignored: it came while a cell was running. Click again.")
            elif verdict == "arm":
                self._arm(button)
            elif verdict == "again" and self._trigger.armed is not None:
                self._expire_later(self._trigger.armed)
            elif verdict == "fire" and job is not None:
                self._disarm()
                self._fire(job, typed)

    def _meant(self, button: Button) -> tuple[Button, object]:
        return button, self.symbol.value if button is self.cancel_all else self.orders.value

    def _arm(self, button: Button) -> None:
        self._disarm()
        self._show_exchange(self._client)
        everything, symbols, chosen = button is self.cancel_all, self._symbols, self.orders.value
        rows = [
            row for row in self._rows if (row.order.get("symbol") in symbols if everything else unit_of(row) in chosen)
        ]
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
        self._job = job
        asks = job.must_ask(yes=False, confirm=self._confirm())
        count = messages.count(len(rows), "open order")
        button.description = f"{'Type the number, then click' if asks else 'Click again'} to cancel {count}"
        button.button_style = "danger"
        self.number.layout.display = None if asks else "none"
        lasts = ARMED_LIVE if asks else ARMED
        how = f"{f'Type {len(rows)} and click' if asks else 'Click'} again within {lasts:.0f} s"
        labels = None if everything else [label for label, unit in self.orders.options if unit in chosen]
        self._tell("armed", panel_view.invitation(rows, labels, job, self._client, how))
        self._expire_later(self._trigger.arm(self._meant(button), lasts))

    def _expire_later(self, armed: Arming) -> None:
        self._disarmed.set()
        self._disarmed = threading.Event()
        workers.start(partial(self._watched, self._expire, armed, self._disarmed))

    def _expire(self, armed: Arming, disarmed: threading.Event) -> None:
        if disarmed.wait(armed.lasts):
            return
        with self._state:
            if self._trigger.armed is armed:
                self._disarm()
                self._tell("info", "Timed out; nothing was canceled.")

    def _disarm(self) -> None:
        with self._state:
            self._disarmed.set()
            if self._job is None:
                return
            self._job = self._trigger.armed = None
            self.cancel_all.button_style = self.cancel_selected.button_style = ""
            self.number.value = ""
            self.number.layout.display = "none"
            self.message.value = ""
            self._label()

    def _disarm_unless_meant(self) -> None:
        armed = self._trigger.armed
        if armed is not None and all(armed.meant != self._meant(button) for button in self._buttons):
            self._disarm()

    def _label(self) -> None:
        """Label the buttons with what they cancel, and disable those without anything to cancel."""
        symbol, chosen = messages.subject(self._symbols), len(self.orders.value)
        if self._job is None:
            self.cancel_selected.description = f"Cancel selected ({chosen})" if chosen else "Cancel selected"
            self.cancel_all.description = f"Cancel all on {symbol}" if self._symbols else "Cancel all: name a symbol"
        at_work = self._working.locked()
        self.cancel_selected.disabled = at_work or not chosen
        self.cancel_all.disabled = at_work or not self._symbols

    @property
    def _symbols(self) -> list[str]:
        """The symbol that is named, as the exchange spells it; empty for all symbols and for bad ones."""
        with suppress(NbextError):
            return _symbols_of(self.symbol.value)
        return []

    def _fire(self, job: cancel.Job, typed: str) -> None:
        if not self._working.acquire(blocking=False):
            return
        self._said = []
        self._label()
        self.progress.value = 0
        self.progress.layout.display = None
        self._tell("info", "Canceling ...")
        self._start(self._cancel, job, typed)

    def _cancel(self, job: cancel.Job, typed: str) -> None:
        self.frame, self.error = None, None
        try:
            self.frame = cancel.perform(job, ask=lambda _preview, _question: typed, confirm=self._confirm())
            self._tell("done", *self._said)
        except NbextError as error:
            self.frame, self.error = error.frame, error
            self._tell("error", *self._said, f"{type(error).__name__}: {error}")
        finally:
            self._fresh_from = time.monotonic()  # an earlier read is outdated
            self._just_gone = panel_view.ended(self.frame)
            self.result.value = "" if self.frame is None else panel_view.scrolling(as_html(self.frame))
            self.progress.layout.display = "none"
            self._working.release()
            with self._state:
                self._label()
        self._show_calls()
        if not self._read(self.symbol.value):
            self._draw()  # what was canceled is known anyway

    def _say(self, line: str) -> None:
        self._said.append(line)
        self._tell("info", *self._said)

    def _show_calls(self) -> None:
        """Show the last calls of the journal."""
        try:
            calls = unfinished.cancel_log(_CALLS)
        except NbextError as error:
            self.calls.value = panel_view.note("error", f"{type(error).__name__}: {error}")
            return
        self.calls.value = panel_view.calls_html(calls)

    def _cell_begins(self, _: object) -> None:
        self._trigger.cell_begins()
        if self._job is not None:
            self._disarm()
            self._tell("info", "You ran a cell, so the confirmation was reset. Nothing was canceled.")

    def _cell_ends(self, _: object) -> None:
        self._trigger.cell_ends()

    def _start(self, work: Callable[..., object], *args: object) -> None:
        if self._is_open:
            running = {each for each in self._started if not each.done()}
            self._started = running | {workers.start(partial(self._watched, work, *args))}

    def _watched(self, work: Callable[..., object], *args: object) -> None:
        """Show unexpected errors, too: those of clicks and threads show nowhere else."""
        try:
            work(*args)
        except Exception as error:  # noqa: BLE001 - its text may hold anything, so only its name is shown
            self._tell("error", f"Unexpected error ({type(error).__name__}). Check %open_orders first.")


def _symbols_of(text: str) -> list[str]:
    return [parse_symbol(text)] if text.strip() else []
