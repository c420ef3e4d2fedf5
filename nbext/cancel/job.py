"""The main job: select, consent, record, send, reconcile, report.

Everything that a notebook, a panel or a script does goes through here. Callers pass in how to ask (``ask``) and how to
show messages (``say``) and progress; this module knows nothing of notebooks. pandas is imported after the last DELETE
has been answered, unless the user was shown what is open before.
"""

from __future__ import annotations

import math
import secrets
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from nbext import messages
from nbext.cancel import consent, report, searches
from nbext.cancel.call import Call, Voice
from nbext.cancel.reads import WIDTH
from nbext.cancel.recording import Recorder
from nbext.cancel.selection import LOOK_SECONDS, Options, Selection
from nbext.cancel.sending import Attempt, Sending
from nbext.errors import Interrupted, NbextError
from nbext.orders import from_reports, identity
from nbext.spot.connections import ANSWER_SECONDS, CONNECT_SECONDS
from nbext.spot.parameters import parse_flag
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pandas import DataFrame

    from nbext.cancel.consent import Ask, Confirm, DeclinedError
    from nbext.cancel.reads import OpenOrders
    from nbext.orders import Row
    from nbext.spot.client import SpotClient

SENDING_SECONDS = 15.0
"""Sending takes at most this long, not counting waits and the time for the last answers."""


def perform(
    job: Job,
    *,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    ask: Ask | None = None,
    confirm: Confirm = "live",
) -> DataFrame:
    """Run a job from consent to frame.

    Parameters
    ----------
    job : Job
    dry_run, yes, check : bool
        As in `nbext.cancel_all`.
    ask : callable, optional
        How to ask; None if there is no prompt.
    confirm : {"live", "always", "never"}
        When to ask. A profile with ``always_ask`` always asks.
    """
    for name, flag in (("dry_run", dry_run), ("yes", yes), ("check", check)):
        parse_flag(name, flag)
    if dry_run:
        return job.rehearse()
    job.agree(ask, yes=yes, confirm=confirm)
    return job.run(check=check)


class Job:
    """One call to cancel, in separate steps: selection, consent, canceling.

    Parameters
    ----------
    client : SpotClient
    selection : Selection
        Which orders are meant.
    options : Options
        How to cancel them.
    say : callable, optional
        Takes each message.
    progress : callable, optional
        Takes the number of requests done, and the number of all, again and again until all are done.
    """

    def __init__(
        self,
        client: SpotClient,
        selection: Selection,
        options: Options = Options(),
        *,
        say: Callable[[str], None] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self._client = client
        self._selection = selection
        self._options = options
        self._say = Voice(None if say is None else lambda line: say(printable(line)))
        self._progress = progress
        self._agreed: OpenOrders | None = None

    @property
    def symbols(self) -> list[str]:
        """The symbols that were named, as the exchange spells them; empty for all."""
        return self._selection.symbols

    @property
    def client(self) -> SpotClient:
        """The exchange and the key that it uses."""
        return self._client

    @property
    def terms(self) -> dict[str, Any]:
        """The arguments that make the same job in another process, as far as a guard takes them."""
        return {
            "symbols": self._selection.symbols,
            "prefix": self._selection.filter.prefix,
            "recv_window": self._options.recv_window,
        }

    def must_ask(self, *, yes: bool, confirm: Confirm) -> bool:
        """Return whether this cancel may only go out after the user has agreed to it."""
        return consent.must_ask(self._client, yes=yes, confirm=confirm)

    def rehearse(self) -> DataFrame:
        """Show what would be canceled. Sends no DELETE."""
        began = time.monotonic()
        with _nothing_sent(self._selection, self._client):
            seen = self._selection.read(self._client, self._say)
        rows = seen.rows(dry_run=True)
        where = messages.place(self._client)
        counted = f"{messages.count(len(rows), 'order')}{self._selection.matching} would be canceled"
        said = f"{counted}{consent.details(seen, rows)}; nothing was sent {where}"
        if not rows:
            said = report.with_invitation(f"{self._selection.nothing}; nothing was sent", self._client)
        self._say(f"{self._selection.subject}: dry run, {said}")
        return report.keep(
            rows, self._client, call="dry_run", requested=self.symbols, began=began, exact=self._options.exact
        )

    def agree(self, ask: Ask | None, *, yes: bool, confirm: Confirm = "live", before_cell: bool = False) -> None:
        """Obtain consent, if it is needed."""
        if self.must_ask(yes=yes, confirm=confirm):
            self.obtain_consent(ask, before_cell=before_cell)

    def obtain_consent(
        self, ask: Ask | None, *, before_cell: bool = False, preview_seconds: float = consent.PREVIEW_SECONDS
    ) -> None:
        """Show what would be canceled, and ask for consent; see `consent.obtain`."""
        with _nothing_sent(self._selection, self._client):
            self._agreed = consent.obtain(
                self._selection,
                self._options,
                self._client,
                ask,
                before_cell=before_cell,
                preview_seconds=preview_seconds,
                say=self._say,
            )

    def renew_consent(self, shown: Sequence[Row], holds: Callable[[Sequence[Row]], object]) -> None:
        """Look again once the user has agreed to what a caller has shown; see `consent.renew`."""
        with _nothing_sent(self._selection, self._client):
            lag = self._options.latency.lag
            self._agreed = consent.renew(self._selection, self._client, shown, holds, lag=lag, say=self._say)

    def keep(self, declined: DeclinedError) -> DataFrame:
        """Say that everything was kept, and return what was open."""
        self._say(declined.said)
        return report.keep(
            declined.rows,
            self._client,
            call="preview",
            requested=self.symbols,
            began=time.monotonic(),
            exact=self._options.exact,
        )

    def run(self, *, check: bool = False) -> DataFrame:
        """Record, send, reconcile lost answers, and report the outcome of each order.

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
            By the user. It says what had been sent.
        """
        began = time.monotonic()
        with _nothing_sent(self._selection, self._client):
            call = self._record(self._select(), began)  # with the consent that `agree` has obtained
        try:
            _send(call)
            interrupted = _reconcile(call)
            report.conclude(call)
            outcome = report.ending(call, KeyboardInterrupt() if interrupted else None)
            if check and not isinstance(outcome, BaseException):
                _look_again(call)
        except BaseException as error:  # noqa: BLE001 - an interrupt, an alarm, a callback's error: one way out for all
            outcome = _leave(call, error)
        finally:
            call.sending.stopped = True  # nothing is sent after the call has ended
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    def finds_anything(self) -> bool:
        """Return whether anything that is meant is open; where nothing is, it is read twice, as a read may lag.

        Raises
        ------
        NotSentError, RejectedError, RateLimitedError
            It could not be read.
        """
        seen = self._selection.read(self._client, self._say)
        lag = self._options.latency.lag
        return bool(self._selection.read_again_if_empty(seen, self._client, self._say, lag=lag).orders)

    def settle(self, *, until: float) -> Call:
        """Record, send, reconcile and record as `run` does, without a frame: in a process that has no user.

        Parameters
        ----------
        until : float
            Monotonic time at which all of it ends.

        Returns
        -------
        Call
            With the outcome of each order; `report.shortfall` says what is not done.

        Raises
        ------
        NbextError
            Nothing could be read, where something had to be.
        """
        began = time.monotonic()
        call = self._record(self._select(), began, until - ANSWER_SECONDS - CONNECT_SECONDS)
        _send(call)
        _reconcile(call, until)
        report.tell(call)
        return call

    def run_at_exit(self) -> None:
        """Send the cancels when the process is about to end: no threads, no pandas, no time for reconciling.

        Raises
        ------
        NbextError
            Nothing could be read, where something had to be.
        """
        began = time.monotonic()
        call = self._record(self._select(), began)
        call.sending.run_here()
        results = call.sending.results()
        known = [(attempt, from_reports(attempt.reply or ())) for attempt in results]
        ended = searches.ended_orders(results)
        call.recorder.conclude(  # what is left can be reconciled by another process
            (attempt, rows)
            for attempt, rows in known
            if attempt.error is None
            and all(identity(row.order) in ended for row in (*rows, *(attempt.request.seen or ())))
        )
        for attempt, rows in known:
            if attempt.error is None:
                self._say(f"{attempt.request.symbol}: {report.counted(rows)} {call.place}")
            else:
                self._say(f"{type(attempt.error).__name__}: {attempt.error}")

    def _select(self) -> OpenOrders | None:
        """Return the orders that were agreed to, or else are open and meant; None where whatever is open is meant."""
        selection = self._selection
        if self._agreed is not None or not (selection.chooses or not selection.symbols):
            return self._agreed
        self._client.connect_ahead(len(selection.orders or ()) or WIDTH)  # how many it will be, the look tells
        seen = selection.read(self._client, self._say)
        return selection.read_again_if_empty(seen, self._client, self._say, lag=self._options.latency.lag)

    def _record(self, seen: OpenOrders | None, began: float, last_moment: float = math.inf) -> Call:
        """Write into the journal what is to be sent. Nothing is sent yet, nor after the last moment."""
        selection, options, client = self._selection, self._options, self._client
        requests = selection.requests(seen)
        call_id = secrets.token_hex(8)
        last_moment = min(last_moment, time.monotonic() + SENDING_SECONDS + options.max_wait)
        recorder = Recorder(client, call_id, requests, options, last_moment=last_moment)
        sending = Sending(client, requests, options, last_moment=last_moment, say=self._say, progress=self._progress)
        return Call(
            call_id,
            client,
            selection,
            options,
            self._say,
            requested=selection.symbols or list(dict.fromkeys(request.symbol for request in requests)),
            sending=sending,
            recorder=recorder,
            meant=selection.meant(seen),
            vanished=[
                Attempt(request, reply=[], at=time.monotonic(), stamp=client.now())
                for request in selection.vanished(seen)
            ],
            began=began,
        )


@contextmanager
def _nothing_sent(selection: Selection, client: SpotClient) -> Iterator[None]:
    """Let an interrupt say that nothing was sent, in one line."""
    try:
        yield
    except KeyboardInterrupt:
        said = f"{selection.subject} {messages.place(client)}: interrupted; nothing was sent."
        raise Interrupted(said, frame=None, failures={}) from None


def _send(call: Call) -> None:
    """Send the cancels, and take the outcome of each."""
    call.sending.run()
    call.end_sending()


def _reconcile(call: Call, until: float = math.inf) -> bool:
    """Find out what no answer told, until a moment; return whether the user interrupted."""
    call.options = replace(call.options, reconcile=max(0.0, min(call.options.reconcile, until - time.monotonic())))
    interrupted = searches.find_out(call, at_once=False)
    if call.sending.doubt():  # the reads showed that answers had come to the wrong requests
        call.end_sending()
        interrupted = searches.find_out(call, at_once=interrupted) or interrupted
    return interrupted


def _look_again(call: Call) -> None:
    """Say what is open now."""
    try:
        with call.client.until(time.monotonic() + LOOK_SECONDS):
            report.check(call)
    except NbextError as error:  # the cancels themselves are not affected
        call.say(f"{call.subject}: what is open now could not be read ({type(error).__name__}).")


def _leave(call: Call, error: BaseException) -> DataFrame | BaseException:
    """End an interrupted call: hold back what waits, wait for what is in flight, record, and report.

    A second exception means that the user insists: what is in flight is left behind, its intent open in the journal.
    """
    for wait in (True, False, False):
        try:
            call.sending.hold_back()
            if not call.results:
                if wait and isinstance(error, KeyboardInterrupt):
                    call.say(
                        "Interrupted: nothing more is sent; waiting for what was sent. Interrupt again to stop waiting."
                    )
                if wait:
                    call.sending.wait()
                call.end_sending()
            if not call.searches:
                searches.find_out(call, at_once=True)
            report.conclude(call)
            return report.ending(call, error)
        except BaseException as again:  # noqa: BLE001 - as above
            error = again
    return error


def open_orders(
    client: SpotClient, selection: Selection, *, exact: bool = False, say: Callable[[str], None] | None = None
) -> DataFrame:
    """Return what is open now and meant; see `nbext.open_orders`.

    Parameters
    ----------
    say : callable, optional
        Takes the summary line.
    """
    began = time.monotonic()
    voice = Voice(None if say is None else lambda line: say(printable(line)))
    with _nothing_sent(selection, client):
        seen = selection.read(client, voice)
    rows = seen.rows()
    said = report.with_invitation(selection.nothing, client)
    if rows:
        said = f"{messages.count(len(rows), 'open order')}{selection.matching}{messages.kinds(rows)}"
        said += f"{messages.beyond(len(seen.beyond))} {messages.place(client)}"
    voice(f"{selection.subject}: {said}")
    return report.keep(rows, client, call="open_orders", requested=selection.symbols, began=began, exact=exact)
