"""Send cancels side by side, on workers, while the main thread waits and can be interrupted."""

from __future__ import annotations

import _thread
import math
import queue
import threading
import time
from collections import deque
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from nbext import messages
from nbext.cancel.reads import ATTEMPTS, WIDTH
from nbext.cancel.selection import CANCEL_ALL
from nbext.errors import (
    ConfigurationError,
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.spot.answers import CLOCK_IS_OFF, TOO_MANY, of_the_engine, refuses_all

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from nbext.cancel.selection import CancelRequest, Options
    from nbext.spot.client import SpotClient

# An interrupt just before a wait does not end it, so no wait is longer than this, in seconds.
_SLICE = 0.2
# Seconds beyond its own time limits after which a worker counts as hanging.
_GRACE = 2.0


@dataclass(slots=True)
class Attempt:
    """One request and its result.

    Attributes
    ----------
    request : CancelRequest
    reply : list of report, or None
        The reports, if there was an answer in the documented form.
    error : NbextError or None
        What went wrong otherwise.
    at : float
        Monotonic time at which it was last sent, or would have been.
    stamp : int
        Milliseconds by the exchange's clock, as far as known, at that moment.
    http_status : int or None
    answer : bytes or None
        The answer, secrets hidden.
    done : bool
    connections : list of int or None
        The connection of each answer; after all but the last it was sent again.
    """

    request: CancelRequest
    reply: list[Any] | None = None
    error: NbextError | None = None
    at: float = 0.0
    stamp: int = 0
    http_status: int | None = None
    answer: bytes | None = None
    done: bool = False
    connections: list[int | None] = field(default_factory=list)
    _decided: dict[str, bool] = field(default_factory=dict, repr=False)

    def is_doubtful(self, doubted: set[int]) -> bool:
        """Return whether the answer may belong to another request, since others on its connection were out of step.

        A report that names what was asked for proves itself; an empty answer or an error could be about anything.
        """
        unproven = self.connections[:-1] if self.reply else self.connections
        return not doubted.isdisjoint(unproven) and not isinstance(self.error, OutcomeUnknownError)

    @property
    def has_left(self) -> bool:
        """Whether it was sent the last time: it was answered, or the answer was lost."""
        return self.http_status is not None or isinstance(self.error, OutcomeUnknownError)

    def goes(self, *, otherwise: bool) -> bool:
        """Return whether it is sent. The first thread that asks decides, once.

        Not with a lock, since an interrupt could leave it locked.
        """
        return self._decided.setdefault("goes", otherwise)


class _StoppedError(Exception):
    """The user interrupted, so nothing more may be sent: a message between threads."""


class Sending:
    """The cancels of one call.

    Parameters
    ----------
    client : SpotClient
    requests : sequence of CancelRequest
    options : Options
    say : callable
        Takes messages, on the thread that calls `run`.
    last_moment : float, optional
        Monotonic time after which nothing is sent.
    progress : callable or None
        Takes the number of requests done and in all, on the thread that calls `run`.
    """

    def __init__(
        self,
        client: SpotClient,
        requests: Sequence[CancelRequest],
        options: Options,
        *,
        say: Callable[[str], None],
        last_moment: float = math.inf,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        self.attempts = [Attempt(request) for request in requests]
        self.stopped = False
        self._client = client
        self._ends = last_moment + client.connect_timeout + client.answer_timeout + _GRACE
        self._options = options
        self._say = say
        self._progress = progress
        self._refusals: list[tuple[Attempt, RejectedError]] = []
        self._alone = threading.Lock()
        self._waited = 0.0
        self._last_moment = last_moment
        self._waiting = deque(self.attempts)
        self._news: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._clock = threading.Lock()

    def run(self) -> None:
        """Send everything, and return when each request has its reply or its error, or cannot get one any more.

        An interrupt is raised while workers still run: then `hold_back`, and `wait` for them.
        """
        threads = 0
        # A worker may hang for good, in a log handler that blocks or at a lock that a fork or an interrupt left locked.
        while not all(attempt.done for attempt in self.attempts) and time.monotonic() < self._ends:
            while threads < min(WIDTH, len(self.attempts)):
                threads += 1
                # Unlike an executor's threads, not joined at exit, so that a second interrupt can leave them behind.
                # Thread.start() would wait, and breaks (RuntimeError) when it is interrupted meanwhile.
                try:
                    _thread.start_new_thread(self._work, ())
                except RuntimeError:  # no threads left, or the interpreter is ending
                    threads = WIDTH
                    self._work()
            for news in self._heard() or [None]:  # nothing new for a moment: the time goes on, too
                self._tell(news)
        while not self._news.empty():
            self._tell(self._news.get())

    def run_here(self) -> None:
        """Send everything in sequence on this thread: an ending process cannot start others."""
        self._work()

    def hold_back(self) -> None:
        """Send nothing more: what has not been started never will be."""
        self.stopped = True

    def wait(self) -> None:
        """Wait, after `hold_back`, for the answers to requests in flight, while they can come."""
        ends = time.monotonic() + self._client.connect_timeout + self._client.answer_timeout + 1.0
        while (left := ends - time.monotonic()) > 0 and any(
            not attempt.done and attempt.goes(otherwise=False) for attempt in self.attempts
        ):
            self._heard(left)

    def results(self) -> list[Attempt]:
        """Return the result of each request.

        After an interrupted `run`, what has not been started is not sent, and requests in flight count as lost: their
        answers may still come, but are ignored.
        """
        self.hold_back()
        self.doubt()
        return [
            attempt
            if attempt.done
            else replace(
                attempt,
                reply=None,
                error=self._left(attempt.request) if attempt.goes(otherwise=False) else self._not_sent(attempt.request),
            )
            for attempt in self.attempts
        ]

    def doubt(self) -> bool:
        """Mark outcomes unknown whose answers came on a connection that was out of step; return whether any did.

        Later reads on the same connections may reveal more.
        """
        doubtful = [attempt for attempt in self.attempts if attempt.done and attempt.is_doubtful(self._client.doubted)]
        for attempt in doubtful:
            attempt.reply = None
            attempt.error = OutcomeUnknownError(
                f"{self._where(attempt.request)}: sent, but answers were mixed up, perhaps also this one; "
                "the outcome is not known. Check %open_orders first."
            )
        return bool(doubtful)

    def name_unsendable(self, results: Iterable[Attempt]) -> None:
        """Let what no request can name be the failure of its own symbol: others were sent."""
        for attempt in results:
            if isinstance(attempt.error, ConfigurationError):
                reason = str(attempt.error).partition("; nothing was sent")[0]
                attempt.error = NotSentError(
                    f"{self._where(attempt.request)}: not sent, because {reason}; none of its orders were changed. "
                    "Check %open_orders."
                )

    def _left(self, request: CancelRequest) -> OutcomeUnknownError:
        return OutcomeUnknownError(
            f"{self._where(request)}: sent, but the call ended before the answer; the outcome is not known. "
            "Check %open_orders first."
        )

    def _not_sent(self, request: CancelRequest) -> NotSentError:
        return NotSentError(
            f"{self._where(request)}: not sent before the call ended; no orders were changed. Cancel again."
        )

    def _heard(self, left: float = _SLICE) -> list[str | None]:
        """Return news that arrives within a moment."""
        try:
            return [self._news.get(timeout=min(left, _SLICE))]
        except queue.Empty:
            return []

    def _tell(self, news: str | None) -> None:
        if news is not None:
            self._say(news)
        elif self._progress:
            self._progress(sum(attempt.done for attempt in self.attempts), len(self.attempts))

    def _work(self) -> None:
        while True:
            try:
                attempt = self._waiting.popleft()
            except IndexError:
                return
            try:
                self._cancel(attempt)
            except _StoppedError:
                attempt.error = self._not_sent(attempt.request)
            except NbextError as error:
                attempt.error = error
                if isinstance(error, RejectedError):
                    self._refusals.append((attempt, error))
            except Exception as error:  # noqa: BLE001 - a mistake of ours must not look like an answer, nor hang the call
                attempt.error = OutcomeUnknownError(
                    f"{self._where(attempt.request)}: {type(error).__name__} in nbext itself; the outcome is not "
                    "known. Check %open_orders first."
                )
            if attempt.at:  # otherwise the last answer on this thread is another request's
                attempt.http_status, attempt.answer = self._client.heard()
            attempt.done = True
            self._news.put(None)

    def _cancel(self, attempt: Attempt) -> None:
        """Send one cancel; retry only after an answer that proves that the engine never saw it."""
        attempts, corrected = 0, False
        while True:
            with self._turn(attempt), self._client.unless(self._is_over):
                self._begin(attempt)
                attempts += 1
                try:
                    attempt.reply = send(self._client, attempt.request, self._options.recv_window)
                except RateLimitedError as refused:
                    if refused.http_status != TOO_MANY or attempts == ATTEMPTS or not self._can_wait():
                        raise
                except RejectedError as refused:
                    if refused.code != CLOCK_IS_OFF or corrected:
                        raise
                    corrected = True
                    self._correct_clock()
                else:
                    return
                finally:
                    attempt.connections.append(self._client.heard_on)

    @contextmanager
    def _turn(self, attempt: Attempt) -> Iterator[None]:
        """After a pause that the host asked for, let one request go alone, then the others."""
        if not self._client.held_for:
            yield
            return
        with ExitStack() as gate:
            gate.enter_context(self._alone)
            if self._client.held_for:
                if self._can_wait():
                    wait = self._client.held_for
                    self._waited += wait
                    self._news.put(f"{self._where(attempt.request)}: 429, waiting {wait:.0f} s as the exchange asks.")
                    self._pause(wait + 0.01)
            else:
                gate.close()
            yield

    def _pause(self, seconds: float) -> None:
        """Wait, in steps, unless the call is stopped: an event has a lock, which an interrupt could leave locked."""
        until = time.monotonic() + seconds
        while not self.stopped and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, _SLICE))

    def _can_wait(self) -> bool:
        """Return whether the call has time for the pause that the host asked for."""
        wait = self._client.held_for
        in_time = self._waited + wait <= self._options.max_wait and time.monotonic() + wait < self._last_moment
        return in_time and not self._client.is_banned

    def _is_over(self) -> bool:
        return self.stopped or time.monotonic() > self._last_moment

    def _begin(self, attempt: Attempt) -> None:
        """Note that a request is sent now, unless it is too late."""
        if time.monotonic() > self._last_moment:
            raise NotSentError(
                f"{self._where(attempt.request)}: not sent, because time ran out; no orders were changed. Cancel again."
            )
        if self._refusals:
            self._require_use(attempt)
        if self.stopped or not attempt.goes(otherwise=True):
            raise _StoppedError
        attempt.at, attempt.stamp = time.monotonic(), self._client.now()

    def _require_use(self, attempt: Attempt) -> None:
        """Raise if refusals show that this request would be refused, too; not if any of the call has been let through.

        Raises
        ------
        NotSentError
            From the refusal that shows it.
        """
        refused = [error for _, error in self._refusals]
        let_through = any(each.reply is not None for each in self.attempts) or any(
            of_the_engine(error.code) for error in refused
        )
        if let_through or not refuses_all(refused):
            return
        first, why = next((each, error) for each, error in self._refusals if refuses_all([error, error]))
        other = (
            f"{first.request.symbol} was" if first.request.symbol != attempt.request.symbol else "another cancel was"
        )
        reason = str(why).partition(": ")[2]
        raise NotSentError(f"{self._where(attempt.request)}: not sent, because {other} {reason}") from why

    def _correct_clock(self) -> None:
        """Measure the clock once, even if several workers found it wrong."""
        before = self._client.clock_offset
        with self._clock:
            if self._client.clock_offset == before:
                offset = self._client.measure_clock_offset()
                last = "" if before is None else f", {messages.clock(before).removesuffix(' of')} when last measured"
                self._news.put(
                    f"This machine's clock is {messages.clock(offset)} the exchange's{last}; corrected, sending again."
                )

    def _where(self, request: CancelRequest) -> str:
        return f"{request.symbol} on {self._client.profile} ({self._client.host})"


def send(client: SpotClient, request: CancelRequest, recv_window: str | None) -> list[Any]:
    """Send one cancel, once.

    Returns
    -------
    list
        Cancel reports and order lists, as cancel-all documents them; empty when there was nothing to cancel.

    Raises
    ------
    NbextError
        As `SpotClient.request`.
    """
    if request.path == CANCEL_ALL:
        return client.cancel_open_orders(request.symbol, recv_window=recv_window)
    return client.cancel(request.path, request.params, recv_window=recv_window)
