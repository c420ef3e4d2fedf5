"""The main job: select, confirm, record, send, settle, and say what became of each order.

Everything that a notebook, a panel or a script does goes through here. The faces hand in how to ask (``ask``), how to
speak (``say``) and how to show progress; this module knows no notebook. pandas is imported after the last DELETE has
been answered, unless somebody was shown what is open before.
"""

from __future__ import annotations

import _thread
import importlib
import os
import secrets
import sys
import time
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Any, Literal, Protocol, cast

from nbext import messages, profiles, session
from nbext.cancel.call import Call, Voice
from nbext.cancel.reconciliation import Latency, Reconciliation, is_unseen, reconcile
from nbext.cancel.recording import Recorder
from nbext.cancel.selection import (
    CANCEL_ALL,
    CancelRequest,
    OpenOrders,
    by_symbol,
    list_of,
    look,
    one_by_one,
    parse_filter,
)
from nbext.cancel.sending import Attempt, Sending
from nbext.errors import (
    ConfigurationError,
    IncompleteError,
    NbextError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.orders import FINAL, Row, from_reports, identity, outcome, unique
from nbext.signals import from_a_signal
from nbext.spot.answers import of_the_engine
from nbext.spot.parameters import parse_recv_window, parse_symbols
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import timedelta
    from decimal import Decimal

    from pandas import DataFrame

    from nbext.spot.client import SpotClient

Confirm = Literal["live", "always", "never"]

_OLDEST_PANDAS = 3
PREVIEW_SECONDS = 60.0
MAX_WAIT = 10.0
LOOK_SECONDS = 15.0
"""Reading what is open takes at most this long, all symbols together."""
SENDING_SECONDS = 15.0
"""Sending takes at most this long beside the waits, and then the time that the last answers may take."""
RECONCILE_SECONDS = 20.0
LATENCY = Latency()

_SAMPLES = 3
# How the engine refuses a cancel-all, also when nothing is open (API docs, "Error codes").
_NOTHING_TO_CANCEL = frozenset({-2011, -1013})
# So it may refuse ids that do not belong together, as after an amendment.
_WRONG_PARAMETER = -1102


class Ask(Protocol):
    """Shows a preview and gives back what was typed, or None where nobody can answer."""

    def __call__(self, preview: DataFrame, question: str) -> str | None: ...  # noqa: D102


class Interrupted(KeyboardInterrupt):
    """The reader interrupted a call that had begun to send.

    A `KeyboardInterrupt`, so that a loop that handles `NbextError` ends all the same.

    Attributes
    ----------
    frame : DataFrame or None
        What is known of each order so far.
    failures : dict of str to NbextError
        What was not sent, or is not known, by symbol.
    """

    def __init__(self, message: str, frame: DataFrame | None, failures: Mapping[str, NbextError]) -> None:
        super().__init__(printable(message))
        self.frame = frame
        self.failures = dict(failures)

    def _render_traceback_(self) -> list[str]:
        return [f"Interrupted: {self}"]


def open_orders(
    *symbols: str,
    client: SpotClient | None = None,
    profile: str | None = None,
    exact: bool = False,
    say: Callable[[str], None] | None = None,
) -> DataFrame:
    """Show what is open now; see `nbext.open_orders`.

    Parameters
    ----------
    say : callable, optional
        Takes the summary line.
    """
    _refuse_old_pandas()
    began = time.monotonic()
    wanted = parse_symbols(symbols)
    client = session.given(client, profile)
    rows = look(client, wanted, say=say).rows()
    if say:
        said = (
            f"{messages.count(len(rows), 'open order')}{messages.kinds(rows)}" if rows else "nothing is listed as open"
        )
        say(printable(f"{messages.subject(wanted)}: {said} {messages.place(client)}"))
    return _keep(rows, client, call="open_orders", requested=wanted, began=began, exact=exact)


def frame_of(rows: Sequence[Row], client: SpotClient, *, exact: bool = False, **facts: object) -> DataFrame:
    """Build the frame of orders that were read through a client.

    Parameters
    ----------
    **facts
        What else its ``attrs["nbext"]`` says.
    """
    from nbext.frames import build

    session.note_shown((row.order for row in rows), client)
    return build.frame(rows, exact=exact, summary={"profile": client.profile, "host": client.host, **facts})


def _refuse_old_pandas() -> None:
    """Refuse a pandas that is loaded and too old: Colab has one before anything is installed.

    Raises
    ------
    ConfigurationError
        It is.
    """
    version = str(getattr(sys.modules.get("pandas"), "__version__", ""))
    if version.partition(".")[0].isdecimal() and int(version.partition(".")[0]) < _OLDEST_PANDAS:
        raise ConfigurationError(
            f"this kernel has pandas {version} loaded, and nbext needs 3 or newer; nothing was sent. "
            "Restart the kernel, after pip install -U pandas where needed."
        )


def perform(
    job: Job,
    *,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    ask: Ask | None = None,
    confirm: Confirm = "live",
) -> DataFrame:
    """Do a job from consent to frame.

    Parameters
    ----------
    job : Job
    dry_run, yes, check : bool
        As in `nbext.cancel_all`.
    ask : callable, optional
        How to ask; None where nobody can be asked.
    confirm : {"live", "always", "never"}
        When to ask. A profile with ``always_ask`` is asked about in any case.
    """
    if dry_run:
        return job.rehearse()
    if job.must_ask(yes=yes, confirm=confirm):
        job.obtain_consent(ask)
    return job.run(check=check)


def orders_of(frame: object, client: SpotClient) -> list[Mapping[str, Any]]:
    """Read from a frame which orders to cancel: those that it does not show as ended.

    A frame of ours says what profile and host it is of. Where that got lost, as in ``pd.concat``, every order of it has
    to be one that this process showed, of this profile and host and no other.

    Raises
    ------
    ConfigurationError
        The frame is not one of ours, or was made for another profile or host. Nothing was sent.
    """
    _refuse_old_pandas()
    from nbext.frames import build

    here = client.profile, client.host
    orders = build.orders_of(frame)
    if orders is None:
        raise ConfigurationError(
            f"cancel_orders takes rows of a frame that nbext made, not {_described(frame)}; nothing was sent. "
            "Pass rows of %open_orders, as in df[df['price'] > 65000]."
        )
    places = {session.shown_at(order) for order in orders}
    made = getattr(frame, "attrs", {}).get("nbext")
    if isinstance(made, dict) and getattr(frame, "ndim", 0) > 1 and build.is_frame(cast("DataFrame", frame)):
        places = {(str(made.get("profile")), str(made.get("host")))}
    if None in places:
        raise ConfigurationError(
            "not every row of this frame names an order that nbext showed in this kernel; nothing was sent. "
            "Pass rows of %open_orders with their symbol, orderId and origClientOrderId."
        )
    strange = sorted(place for place in places if place and place != here)
    if strange:
        where = " and ".join("several exchanges" if at == session.SEVERAL else f"{at[0]} ({at[1]})" for at in strange)
        raise ConfigurationError(
            f"this frame has orders of {where}, and the call goes to {here[0]} ({here[1]}); nothing was sent. "
            "Name the profile that the frame is of, and pass orders of one exchange at a time."
        )
    live = [order for order in orders if order.pop("outcome") not in FINAL]
    return list({(order["symbol"], order["orderId"]): order for order in live}.values())


def _described(thing: object) -> str:
    kind = type(thing).__name__
    return f"a {kind} without the columns that name an order" if kind in {"DataFrame", "Series"} else f"{kind}"


class Job:
    """One call to cancel: what is meant, the consent to it, and the canceling, apart from each other.

    Parameters
    ----------
    symbols : sequence of str
    all_symbols : bool
        Every symbol that has open orders, in place of `symbols`.
    client : SpotClient
    orders : sequence of Mapping, optional
        Only these, in place of `symbols`: ``symbol``, ``orderId`` and ``origClientOrderId`` of each.
    side, type, prefix, older_than
        Only the open orders that match; see `nbext.cancel_all`.
    recv_window, exact, max_wait, settle_seconds
        As in `nbext.cancel_all`.
    latency : Latency
        What is known about the exchange's delays.
    say : callable, optional
        Takes each line worth reading beside the frame.
    progress : callable, optional
        Takes the number of requests done, and the number of all.

    Raises
    ------
    ConfigurationError
        An argument is at fault. Nothing was sent.
    """

    def __init__(
        self,
        symbols: Sequence[str] = (),
        *,
        client: SpotClient,
        all_symbols: bool = False,
        orders: Sequence[Mapping[str, Any]] | None = None,
        side: str | None = None,
        type: str | None = None,  # noqa: A002 - the wire's word
        prefix: str | None = None,
        older_than: str | timedelta | None = None,
        recv_window: str | int | Decimal | None = None,
        exact: bool = False,
        max_wait: float = MAX_WAIT,
        reconcile: float = RECONCILE_SECONDS,
        latency: Latency = LATENCY,
        say: Callable[[str], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if all_symbols and symbols:
            raise ConfigurationError("symbols were named, and all as well; nothing was sent. Give one of them.")
        if not all_symbols and not symbols and orders is None:
            raise ConfigurationError("no symbol was named; nothing was sent. Name some, or ask for all.")
        _refuse_old_pandas()
        self._client = client
        self._symbols = parse_symbols(symbols)
        self._filter = parse_filter(side, type, prefix, older_than)
        self._orders = None if orders is None else {_identity(order): order for order in orders}
        if self._orders is not None:
            self._symbols = list(dict.fromkeys(symbol for symbol, _, _ in self._orders))
        self._recv_window = None if recv_window is None else parse_recv_window(recv_window)
        self._exact = exact
        self._max_wait = max_wait
        self._reconcile_seconds = reconcile
        self._latency = latency
        self._say: Callable[[str], None] = Voice(_say_nothing if say is None else lambda line: say(printable(line)))
        self._progress = progress
        self._agreed: OpenOrders | None = None
        self._lists_placed: Mapping[int, int] = {}
        self._only_read: set[str] = set()

    @property
    def symbols(self) -> list[str]:
        """The symbols that were named, as the exchange spells them; empty for all."""
        return self._symbols

    @property
    def _chooses(self) -> bool:
        """Whether not all open orders of the symbols are meant, but some."""
        return self._orders is not None or bool(self._filter)

    def must_ask(self, *, yes: bool, confirm: Confirm) -> bool:
        """Say whether this cancel may only go out after somebody has agreed to it."""
        if session.always_asks(self._client):
            return True
        return not yes and (confirm == "always" or (confirm == "live" and profiles.is_live(self._client.base_url)))

    def rehearse(self) -> DataFrame:
        """Show what would go. Sends no DELETE."""
        began = time.monotonic()
        rows = self._look().rows(dry_run=True)
        counted = f"{messages.count(len(rows), 'order')}{self._matching} would be canceled"
        said = f"{counted}{self._details(rows)}" if rows else self._nothing
        self._say(f"{self._subject}: dry run, {said}; no DELETE was sent {messages.place(self._client)}")
        return _keep(rows, self._client, call="dry_run", requested=self._symbols, began=began, exact=self._exact)

    def obtain_consent(
        self, ask: Ask | None, *, before_cell: bool = False, preview_seconds: float = PREVIEW_SECONDS
    ) -> None:
        """Show what would go, and want the number of orders typed.

        Parameters
        ----------
        ask : callable, optional
            None where nobody can be asked.
        before_cell : bool, default False
            Whether a cell, or a block, runs first: then the consent is for whatever is open after it, and is wanted
            even when nothing is open now.
        preview_seconds : float, default 60
            For so long a preview counts as what was agreed to; after that it is made again, and asked about again.

        Raises
        ------
        ConfigurationError
            It was not given, or nobody can give it. Nothing was canceled.
        """
        where = f"{self._subject} {messages.place(self._client)}"
        way_out = "Give --yes (yes=True) to cancel without being asked."
        if session.always_asks(self._client):
            way_out = f"Profile {self._client.profile!r} always asks: cancel where somebody can answer."
        nobody = ConfigurationError(
            f"{where}: this needs a yes, and nobody can be asked here; nothing was canceled. {way_out}"
        )
        if ask is None:
            raise nobody
        while True:
            seen = self._look()
            if not before_cell:
                seen = self._again_if_empty(seen)
            rows = seen.rows()
            if not rows and not before_cell:
                self._agreed = seen
                return
            live = "LIVE exchange: cancel" if profiles.is_live(self._client.base_url) else "Cancel"
            every = "" if self._chooses else "all "
            what = f"{every}{messages.count(len(rows), 'open order')}{self._matching} on {self._subject}"
            what += f"{self._details(rows)}{messages.notional(rows)}"
            what += ", and whatever is open afterwards" if before_cell else ""
            question = f"{live} {what} {messages.place(self._client)}? Type {len(rows)} to cancel: "
            preview = frame_of(rows, self._client, exact=self._exact, call="preview")
            typed = ask(preview, printable(question))
            if typed is None:
                raise nobody
            if typed.strip() != str(len(rows)):
                raise ConfigurationError(
                    f"{where}: not confirmed; nothing was canceled. Type the number of orders, {len(rows)}, to cancel."
                )
            if before_cell:
                return
            if time.monotonic() - seen.taken <= preview_seconds:
                self._agreed = seen
                return
            self._say("The preview had grown old, so here is a new one.")

    def run(self, *, check: bool = False) -> DataFrame:
        """Send the cancels, settle what got lost, and say what became of each order.

        Parameters
        ----------
        check : bool, default False
            Read again afterwards, and say what is open then.

        Returns
        -------
        DataFrame

        Raises
        ------
        NbextError
            As `nbext.cancel_all`.
        Interrupted
            By the reader, after something had been sent.
        """
        call = self._prepare()
        try:
            outcome = self._complete(call, check=check)
        except BaseException as error:  # noqa: BLE001 - an interrupt, an alarm, a callback's error: one way out for all
            outcome = self._leave(call, error)
        finally:
            call.sending.stopped = True  # whatever happens, nothing leaves after the call has
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def _prepare(self) -> Call:
        """Find out what to send, and write it into the journal. Nothing is sent yet."""
        began = time.monotonic()
        seen = self._select()
        requests = one_by_one(seen) if self._chooses and seen is not None else by_symbol(self._symbols, seen)
        call_id = secrets.token_hex(8)
        last_moment = time.monotonic() + SENDING_SECONDS + self._max_wait
        return Call(
            call_id,
            self._symbols or list(dict.fromkeys(request.symbol for request in requests)),
            sending=self._sending(requests, last_moment),
            recorder=Recorder(
                self._client, call_id, requests, self._recv_window, self._latency, last_moment=last_moment
            ),
            vanished=self._vanished(seen),
            began=began,
        )

    def _complete(self, call: Call, *, check: bool) -> DataFrame | BaseException:
        """Send, settle, and say what became of each order: the frame, or the error that the reader has to see."""
        call.sending.run()
        call.end_sending()
        interrupted = self._reconcile(call, at_once=False)
        if call.sending.doubt():  # the reads showed that answers had come to the wrong requests
            call.end_sending()
            interrupted = self._reconcile(call, at_once=interrupted) or interrupted
        self._conclude(call)
        outcome = self._outcome(call, KeyboardInterrupt() if interrupted else None)
        if check and not isinstance(outcome, BaseException):
            try:
                with self._client.until(time.monotonic() + LOOK_SECONDS):
                    self._check(call.requested, call.rows)
            except NbextError as error:  # which says nothing of the cancels, and takes nothing away from them
                self._say(f"{self._subject}: what is open now could not be read ({type(error).__name__}).")
        return outcome

    def _leave(self, call: Call, error: BaseException) -> DataFrame | BaseException:
        """End a call that was broken off: hold back what waits, wait for what is under way, record, and tell.

        Whatever comes in between is taken as insisting: then what is under way is left to itself, its intent open in
        the journal.
        """
        for wait in (True, False, False):
            try:
                call.sending.hold_back()
                if not call.results:
                    if wait and isinstance(error, KeyboardInterrupt):
                        self._say(
                            "Interrupted: nothing more is sent; waiting for what is under way. "
                            "Interrupt again to leave it."
                        )
                    if wait:
                        call.sending.wait()
                    call.end_sending()
                if not call.searches:
                    self._reconcile(call, at_once=True)
                self._conclude(call)
                return self._outcome(call, error)
            except BaseException as again:  # noqa: BLE001 - as above
                error = again
        return error

    def _reconcile(self, call: Call, *, at_once: bool) -> bool:
        """Find out what no answer told, or only note what that is; say whether the reader interrupted."""
        if call.no_key is not None:
            call.searches = [None] * len(call.results)
            return False
        call.searches, interrupted = self._ask_reads(call.results, interrupted=at_once)
        call.only_read = bool(self._only_read)
        return interrupted and not at_once

    def _conclude(self, call: Call) -> None:
        """Record the outcomes and say them, and only then build the frame: nothing can take the word away."""
        if not call.recorded:
            self._assess(call)
            if call.no_key:
                call.recorder.conclude((each, ()) for each in call.results)
            else:
                call.recorder.conclude(call.known, call.unknown)
            call.recorded = True
        if not call.told and not call.no_key:
            if call.rows or not call.failures:
                self._say(self._word(call))
            call.recorder.report(self._say)
            call.told = True
        if call.table is None and not call.no_key:
            self._build(call)

    def _word(self, call: Call) -> str:
        """Sum up what became of the orders; in bare numbers where their fields hold what nobody foresaw."""
        try:
            return self._summary(call.rows, call.results)
        except Exception:  # noqa: BLE001 - nothing that an exchange sends may take the word away
            return f"{self._subject}: {_counted(call.rows)} {messages.place(self._client)}"

    def _assess(self, call: Call) -> None:
        """Gather the rows, what went wrong, and which requests are known to their end."""
        call.rows, call.known, call.unknown, call.failures = [], [], [], {}
        for attempt, search in zip(call.results, call.searches, strict=True):
            found = _found(attempt, search)
            is_lost = _is_lost(attempt, search)
            if attempt.error is not None and (is_lost or not isinstance(attempt.error, OutcomeUnknownError)):
                call.failures.setdefault(attempt.request.symbol, attempt.error)
            is_known = not is_lost and all(row.outcome != "unknown" for row in found)
            (call.known if is_known else call.unknown).append((attempt, found))
            call.rows += found
        call.rows = unique(call.rows)

    def _build(self, call: Call) -> None:
        """Build the frame, and keep it as the last one; if that fails, name each order with its outcome instead."""
        try:
            _load_frames()
            call.table = _keep(
                call.rows,
                self._client,
                call="cancel_all" if self._orders is None else "cancel_orders",
                requested=call.requested,
                began=call.began,
                exact=self._exact,
                **call.facts,
            )
        except Exception as error:  # a broken pandas, a lack of memory, a value that nobody foresaw
            if from_a_signal(error) is not None:
                raise
            session.last = None  # another call's frame would be taken for this one's
            call.no_table = error
            for line in messages.each(call.rows):
                self._say(f"{self._subject}: {line} {messages.place(self._client)}")
            return
        if said := messages.inexact(call.table.attrs["nbext"]["inexact"]):
            self._say(f"{self._subject}: {said} {messages.place(self._client)}")

    def _outcome(self, call: Call, cause: BaseException | None) -> DataFrame | BaseException:
        """Choose what the call ends with: its frame, or the error that says what may be believed."""
        if call.no_key is not None:
            return call.no_key
        where = f"{self._subject} {messages.place(self._client)}"
        told = " ".join(dict.fromkeys(str(failure) for failure in call.failures.values()))
        if isinstance(cause, KeyboardInterrupt):
            told = told or "all that was sent is known, and nothing more was."
            return Interrupted(f"{where}: {told}", call.table, call.failures)
        if cause is not None:
            cause.add_note(f"nbext: {self._word(call)} {told}".rstrip())
            return cause
        try:
            self._raise_unless_done(call.table, call.rows, call.results, call.failures, told)
        except NbextError as error:
            return error
        if call.table is None:
            return self._without_table(call)
        return call.table

    def _without_table(self, call: Call) -> NbextError:
        reason = call.no_table
        error = NbextError(
            f"{self._word(call)}. Only the table is missing: it cannot be built "
            f"({type(reason).__name__}: {_first_line(reason)}). %cancel_log shows the outcomes; restart the kernel, "
            "or reinstall pandas, to get tables again."
        )
        error.__cause__ = reason
        return error

    def run_at_exit(self) -> None:
        """Send the cancels when the process is about to end: no threads, no pandas, no time for settling.

        Raises
        ------
        NbextError
            Nothing could be read, where something had to be.
        """
        seen = self._select()
        requests = one_by_one(seen) if self._chooses and seen is not None else by_symbol(self._symbols, seen)
        last_moment = time.monotonic() + SENDING_SECONDS + self._max_wait
        call_id = secrets.token_hex(8)
        recorder = Recorder(self._client, call_id, requests, self._recv_window, self._latency, last_moment=last_moment)
        sending = self._sending(requests, last_moment)
        sending.run_here()
        results = sending.results()
        known = [(attempt, from_reports(attempt.reply or ())) for attempt in results]
        ended = _ended(results)
        recorder.conclude(  # what is left can be reconciled by another process
            (attempt, rows)
            for attempt, rows in known
            if attempt.error is None
            and all(identity(row.order) in ended for row in (*rows, *(attempt.request.seen or ())))
        )
        for attempt, rows in known:
            if attempt.error is None:
                self._say(f"{attempt.request.symbol}: {_counted(rows)} {messages.place(self._client)}")
            else:
                self._say(f"{type(attempt.error).__name__}: {attempt.error}")

    def _select(self) -> OpenOrders | None:
        """Read what is open, unless that was agreed to before, or need not be known."""
        if self._agreed is None and (self._chooses or not self._symbols):
            return self._again_if_empty(self._look())
        return self._agreed

    def _again_if_empty(self, seen: OpenOrders) -> OpenOrders:
        """Look again where nothing was open: the first look may have lagged behind what had just been placed."""
        if seen.orders or self._orders is not None:
            return seen
        time.sleep(max(0.0, seen.taken + self._latency.lag - time.monotonic()))
        return self._look()

    def _sending(self, requests: Sequence[CancelRequest], last_moment: float) -> Sending:
        return Sending(
            self._client,
            requests,
            recv_window=self._recv_window,
            max_wait=self._max_wait,
            last_moment=last_moment,
            say=self._say,
            progress=self._progress,
        )

    @property
    def _subject(self) -> str:
        return messages.subject(self._symbols)

    @property
    def _nothing(self) -> str:
        return "nothing open matches" if self._chooses else "nothing is listed as open"

    @property
    def _matching(self) -> str:
        return f" matching {self._filter}" if self._filter else ""

    def _details(self, rows: Sequence[Row]) -> str:
        dragged = sum(not self._wanted(row) for row in rows) if self._chooses else 0
        along = f", {dragged} only because a list goes as a whole" if dragged else ""
        return f"{messages.kinds(rows)}{along}{messages.traded(rows)}"

    def _wanted(self, row: Row) -> bool:
        return self._means({**row.order, "clientOrderId": row.order.get("origClientOrderId")})

    def _means(self, order: Mapping[str, Any]) -> bool:
        """Say whether an open order, as a query shows it, is meant."""
        if self._orders is not None:
            named = order.get("symbol"), order.get("orderId"), order.get("clientOrderId")
            if not all(isinstance(part, (str, int)) for part in named) or named not in self._orders:
                return False
        list_id = list_of(order)
        return self._filter.matches(
            order, self._client.now(), None if list_id is None else self._lists_placed.get(list_id)
        )

    def _look(self) -> OpenOrders:
        """Read what is open and meant."""
        if self._orders is not None and not self._orders:
            return OpenOrders([], [])
        with self._client.until(time.monotonic() + LOOK_SECONDS):
            if self._filter.older_than is not None:
                # Ages are reckoned by the exchange's clock, and this machine's may have been set since it was measured.
                self._client.measure_clock_offset(samples=_SAMPLES)
            seen = look(self._client, self._symbols, say=self._say)
        self._lists_placed = seen.placed() if self._filter.older_than is not None else {}
        return seen.only(self._means) if self._chooses else seen

    def _vanished(self, seen: OpenOrders | None) -> list[Attempt]:
        """Find the given orders that are not open any more: there is nothing to send, but something to tell."""
        if not self._orders or seen is None:
            return []
        still = {_identity(row.order) for row in seen.rows()}
        return [
            Attempt(
                CancelRequest(order["symbol"], "", {}, [Row(order, None, "unknown")]),
                reply=[],
                at=time.monotonic(),
                stamp=self._client.now(),
            )
            for identity, order in self._orders.items()
            if identity not in still
        ]

    def _ask_reads(self, results: Sequence[Attempt], *, interrupted: bool) -> tuple[list[Reconciliation | None], bool]:
        """Find out about the orders that no answer tells of, unless the reader interrupted or does so now."""
        self._only_read.clear()
        if all(map(_is_clear, results)):  # as in nearly every call
            return [None] * len(results), interrupted
        ends = time.monotonic() + self._reconcile_seconds
        lost = [attempt.request.symbol for attempt in results if isinstance(attempt.error, OutcomeUnknownError)]
        ended = _ended(results)
        searches = [self._search(attempt, ended) for attempt in results]
        if interrupted:
            return searches, True
        try:
            with self._client.until(ends):
                self._disprove([attempt for attempt in results if _may_mean_nothing_open(attempt)], ends)
                if lost:
                    subject = messages.subject(list(dict.fromkeys(lost)))
                    self._say(f"{subject}: outcome unknown, checking {messages.place(self._client)}")
                    with suppress(NbextError):
                        self._client.measure_clock_offset()
                    searches = [self._search(attempt, ended) for attempt in results]  # which reckon by the clock
            left = ends - time.monotonic()
            reconcile([each for each in searches if each is not None], seconds=left, say=self._say)
        except KeyboardInterrupt:
            interrupted = True
        for attempt, search in zip(results, searches, strict=True):
            if search is not None and _is_about_orders(attempt.error) and search.ended:
                attempt.reply, attempt.error = attempt.reply or [], None  # there was nothing left to cancel, as it says
                if attempt.request.path == CANCEL_ALL:
                    self._only_read.add(attempt.request.symbol)
        return searches, interrupted

    def _search(self, attempt: Attempt, ended: frozenset[tuple[str, int]]) -> Reconciliation | None:
        """Search for what became of the orders that were seen open, and of which no answer says that they ended."""
        search = partial(Reconciliation, self._client, attempt, self._recv_window, self._latency, ended=ended)
        if isinstance(attempt.error, OutcomeUnknownError):
            return search()
        rows = [] if attempt.error is not None else from_reports(attempt.reply or ())
        left = [row for row in (*rows, *(attempt.request.seen or ())) if identity(row.order) not in ended]
        if not left:
            return None
        return search(missing=unique(left), unseen=not attempt.request.path or is_unseen(attempt.error))

    def _disprove(self, refused: Sequence[Attempt], ends: float) -> None:
        """Take back refusals of cancel-all that only mean, in other words, that nothing was open.

        Reads have to prove that, the second of them begun when all that was open at the refusal had to be seen. Where
        somebody looked before, each order is searched for instead.
        """
        late_enough = time.monotonic() + self._latency.lag
        if late_enough > ends:
            return
        left = [attempt for attempt in refused if self._lists_nothing(attempt.request.symbol)]
        if left:
            time.sleep(max(0.0, late_enough - time.monotonic()))
        for attempt in left:
            if self._lists_nothing(attempt.request.symbol):
                attempt.reply, attempt.error = [], None
                self._only_read.add(attempt.request.symbol)

    def _lists_nothing(self, symbol: str) -> bool:
        try:
            return not look(self._client, [symbol]).orders
        except NbextError:
            return False

    def _summary(self, rows: Sequence[Row], results: Sequence[Attempt]) -> str:
        said = messages.outcomes(rows) if rows or not self._chooses else f"{self._nothing}; nothing was canceled"
        if self._only_read:
            refused = f"a cancel on {', '.join(sorted(self._only_read))} was refused, "
            said = f"{said}; {refused}so this is what reads show" if rows else f"{refused}and reads list nothing open"
        lost = dict.fromkeys(
            attempt.request.symbol for attempt in results if isinstance(attempt.error, OutcomeUnknownError)
        )
        found = {str(row.order.get("symbol")) for row in rows}
        if shown := [symbol for symbol in lost if symbol in found]:
            which = "an answer was" if len(results) == 1 else f"answers on {', '.join(shown)} were"
            said += f"; {which} lost, so this is what the exchange's own records show"
        if unknown := [symbol for symbol in lost if symbol not in found]:
            said = (
                f"{said}; what was open on {', '.join(unknown)} is not known" if rows else "what was open is not known"
            )
        return f"{self._subject}: {said} {messages.place(self._client)}"

    def _raise_unless_done(
        self,
        table: DataFrame | None,
        rows: Sequence[Row],
        results: Sequence[Attempt],
        failures: Mapping[str, NbextError],
        told: str,
    ) -> None:
        """Raise what the reader may believe, when that is not simply that all is done."""
        where = f"{self._subject} {messages.place(self._client)}"
        unknown = sum(row.outcome == "unknown" for row in rows)
        still_open = sum(row.outcome == "open" for row in rows)
        lost = any(isinstance(failure, OutcomeUnknownError) for failure in failures.values())
        refused = _refused_in_one(results)
        if lost or (unknown and not is_unseen(refused)):
            not_known = f"{where}: what became of {messages.count(unknown, 'order')} is not known. "
            raise OutcomeUnknownError(
                told if lost else f"{told} {not_known}Look with %open_orders before anything else.".lstrip(),
                frame=table,
                failures=failures,
            )
        if refused is not None:
            refused.frame = table
            raise refused
        if failures or still_open:
            left = f"{where}: {messages.count(still_open, 'order')} still open{messages.as_of(rows)}. Cancel again."
            raise IncompleteError(
                f"{told} {left}".lstrip() if still_open else told,
                frame=table,
                failures=failures,
            )

    def _check(self, symbols: Sequence[str], rows: Sequence[Row]) -> None:
        """Read again, and name the symbols on which there is something new."""
        ended = {identity(row.order) for row in rows if row.outcome in FINAL}  # a read may lag
        now = look(self._client, symbols, say=self._say) if symbols else OpenOrders([], [])
        left = now.only(lambda order: identity(order) not in ended)
        said = "nothing is listed as open"
        if left.orders:
            fresh = messages.count(len(left.orders), "order")
            said = f"{fresh} open now{messages.kinds(left.rows())}, on {messages.subject(left.symbols())}"
        self._say(f"{self._subject}: read again, {said} {messages.place(self._client)}")


def _found(attempt: Attempt, search: Reconciliation | None) -> list[Row]:
    """Give what is known of one request's orders: as answered, or else as found out."""
    rows = from_reports(attempt.reply or (), attempt.request.seen or ())
    return rows if search is None else unique(rows + search.rows())


def _is_lost(attempt: Attempt, search: Reconciliation | None) -> bool:
    """Whether an answer got lost, and what became of the orders is not all known."""
    return isinstance(attempt.error, OutcomeUnknownError) and not (search is not None and search.proven)


def _is_clear(attempt: Attempt) -> bool:
    """Whether an answer leaves nothing to find out."""
    return (
        attempt.error is None
        and attempt.request.seen is None
        and all(
            outcome(order) in FINAL for report in attempt.reply or () for order in report.get("orderReports", (report,))
        )
    )


def _may_mean_nothing_open(attempt: Attempt) -> bool:
    refused = isinstance(attempt.error, RejectedError) and attempt.error.code in _NOTHING_TO_CANCEL
    return refused and attempt.request.path == CANCEL_ALL and not attempt.request.seen


def _is_about_orders(error: NbextError | None) -> bool:
    """Whether a refusal says that an order is not there as asked, or not to be canceled, whatever its text."""
    return (
        isinstance(error, RejectedError)
        and not isinstance(error, RateLimitedError)
        and (error.code == _WRONG_PARAMETER or of_the_engine(error.code))
    )


def _refused_in_one(results: Sequence[Attempt]) -> NbextError | None:
    """Give the error of a call for one symbol of which every request was refused, or not sent."""
    errors = [attempt.error for attempt in results]
    if len({attempt.request.symbol for attempt in results}) != 1 or len({type(error) for error in errors}) != 1:
        return None
    return None if isinstance(errors[0], OutcomeUnknownError) else errors[0]


def _ended(results: Iterable[Attempt]) -> frozenset[tuple[str, int]]:
    """Name the orders of which answers say that they have ended, whichever request they answer."""
    rows = (row for attempt in results for row in from_reports(attempt.reply or ()) if row.outcome in FINAL)
    return frozenset(ident for row in rows if (ident := identity(row.order)) is not None)


def _identity(order: Mapping[str, Any]) -> tuple[str, int, str]:
    return order["symbol"], order["orderId"], order["origClientOrderId"]


def _keep(
    rows: Sequence[Row],
    client: SpotClient,
    *,
    call: str,
    requested: Sequence[str],
    began: float,
    exact: bool,
    **facts: object,
) -> DataFrame:
    """Build the frame of a call, and keep it as the last one."""
    session.symbols_met.update(requested, (met for row in rows if isinstance(met := row.order.get("symbol"), str)))
    session.last = table = frame_of(
        rows,
        client,
        exact=exact,
        **{
            "call": call,
            "call_id": secrets.token_hex(8),
            "requested": list(requested),
            "elapsed": round(time.monotonic() - began, 3),
            "complete": True,
            "legs_without_report": 0,
            **facts,
        },
    )
    return table


_loading: list[_thread.LockType] = []
_FORK_SECONDS = 5.0  # no longer, lest the import wait for what the forking thread holds


def _load_frames() -> None:
    """Import pandas on a thread of its own: an interrupt in the middle of it would spoil it for the whole process."""
    loading = _loading[:1]
    if not loading:
        if "nbext.frames.build" in sys.modules:
            return
        loading = [_thread.allocate_lock()]
        loading[0].acquire()
        try:
            _thread.start_new_thread(_import_frames, (loading[0],))
        except RuntimeError:  # there is none left
            return
        _loading[:] = loading
    with loading[0]:
        pass


def _await_frames() -> None:
    """Let a fork wait while pandas is being imported: a child that is forked meanwhile would wait for it for ever."""
    for loading in _loading[:]:
        if loading.acquire(timeout=_FORK_SECONDS):
            loading.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_await_frames, after_in_child=_loading.clear)


def _import_frames(at_work: _thread.LockType) -> None:
    try:
        # It wants to hear of forks, and had better not begin to while one waits (see above).
        importlib.import_module("concurrent.futures.thread")
        with suppress(Exception):  # whoever needs it meets the same error again, and can tell of it
            importlib.import_module("nbext.frames.build")
    finally:
        _loading.clear()
        at_work.release()


def _counted(rows: Sequence[Row]) -> str:
    """Count the orders by outcome; in bare numbers where their fields hold what nobody foresaw."""
    try:
        return messages.outcomes(rows)
    except Exception:  # noqa: BLE001 - nothing that an exchange sends may take the word away
        outcomes = [row.outcome for row in rows]
        return ", ".join(f"{outcomes.count(outcome)} {outcome}" for outcome in dict.fromkeys(outcomes))


def _first_line(error: BaseException | None) -> str:
    return (str(error).strip().splitlines() or [""])[0][:200]


def _say_nothing(_: str) -> None:
    pass
