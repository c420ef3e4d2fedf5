"""The public functions: what `import nbext` offers, with their signatures spelled out and documented.

`nbext` re-exports them, and `connect` and `local` from where they are.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from nbext import session
from nbext.cancel import job
from nbext.cancel.selection import Filter, Options, Selection, orders_of
from nbext.errors import NbextError
from nbext.spot.parameters import parse_flag

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import timedelta
    from decimal import Decimal

    from pandas import DataFrame

    from nbext.cancel.consent import Ask
    from nbext.cancel.guard import Guard
    from nbext.frames.ladder import Ladder, Price
    from nbext.spot.client import SpotClient


def cancel_all(
    *symbols: str,
    all: bool = False,
    client: SpotClient | None = None,
    profile: str | None = None,
    side: str | None = None,
    type: str | None = None,
    prefix: str | None = None,
    older_than: str | timedelta | None = None,
    recv_window: str | float | Decimal | None = None,
    exact: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    max_wait: float = 10,
    reconcile: float = 20,
) -> DataFrame:
    """Cancel every open order on the symbols, order lists included.

    Without `side`, `type`, `prefix` and `older_than`: one ``DELETE /api/v3/openOrders`` (API docs, "Cancel All Open
    Orders on a Symbol"; weight 1, TRADE) for each symbol. With any of them, the open orders are read, and those that
    match are canceled one by one, order lists as a whole. Each request is sent once; again only after an answer that
    proves that the matching engine never saw it (-1021, once the clock has been measured, and 429).

    Parameters
    ----------
    *symbols : str
        Such as ``"BTCUSDT"`` or ``"BTC/USDT"``.
    all : bool, default False
        Every symbol that has open orders; not together with symbols.
    client : SpotClient, optional
        From `connect`. By default the one this process keeps for the profile.
    profile : str, optional
        As in `connect`; not together with `client`.
    side : {"BUY", "SELL"}, optional
        Only orders of this side.
    type : str, optional
        Only orders of this type, such as ``"LIMIT"``.
    prefix : str, optional
        Only orders whose client order id begins with this.
    older_than : str or timedelta, optional
        Only orders at least this old by the exchange's clock: ``"90s"``, ``"15m"``, ``"2h"``, ``"1d"``.
    recv_window : str, int, float or Decimal, optional
        How long the request stays valid, in milliseconds: at most 60000, at most three decimals. The exchange's default
        is 5000.
    exact : bool, default False
        Prices and quantities as Decimal rather than float64.
    dry_run : bool, default False
        Show what would be canceled, and send no DELETE. Overrides `yes`.
    yes : bool, default False
        Do not ask. Needed for a live exchange outside IPython, where there is no prompt.
    check : bool, default False
        Read again afterwards, and say what is open then.
    max_wait : float, default 10
        Longest total wait for rate limits (429), in seconds. A wait is at least 1 s; where the exchange does not say
        how long, it is 60 s.
    reconcile : float, default 20
        Longest time for reconciling orders whose outcome no answer tells, in seconds. An order is reported as open only
        as of a moment at which the cancel could no longer arrive: after its recv window, 10 s for the exchange and 2 s
        for reads that lag. No document bounds the latter two.

    Returns
    -------
    DataFrame
        Shape (number of orders, 24 or more), one row per order, lists expanded. Wire names; ids ``Int64``, times
        ``datetime64[ms, UTC]``, text ``str``, prices and quantities ``float64`` (with `exact` Decimal). ``outcome`` is
        the order's state as last proven. The same columns and dtypes when nothing was open.

    Raises
    ------
    ConfigurationError
        An argument, a key or an endpoint is invalid, or the user did not agree. Nothing was sent.
    NotSentError
        No connection. No orders were changed.
    RejectedError
        The exchange refused. The message says whether any orders were changed.
    IncompleteError
        Everything is known; some orders are still open or some requests failed. Has ``frame`` and ``failures``.
    OutcomeUnknownError
        Sent, and not everything could be proven. Has ``frame`` and ``failures``.
    KeyboardInterrupt
        Interrupted. The call waited for what had been sent, and `last` is the frame so far. Any other exception, such
        as one from a signal handler, ends the call in the same way and carries the outcomes as a note.

    Notes
    -----
    Every call ends, however slow the exchange is and however many symbols there are. Reading what is open, where
    needed, takes at most 15 s, and so does `check`. Requests leave within 15 s plus `max_wait`; what is still waiting
    then is not sent (`NotSentError`). The last answers may take 12 s, and reconciling the rest, `reconcile`.
    """
    return job.perform(
        job.Job(
            session.given(client, profile),
            Selection.parse(symbols, Filter.parse(side, type, prefix, older_than), all_symbols=all),
            Options.parse(recv_window, exact=exact, max_wait=max_wait, reconcile=reconcile),
        ),
        dry_run=dry_run,
        yes=yes,
        check=check,
        ask=_ask(),
    )


def cancel_orders(
    frame: DataFrame,
    *,
    client: SpotClient | None = None,
    profile: str | None = None,
    side: str | None = None,
    type: str | None = None,
    prefix: str | None = None,
    older_than: str | timedelta | None = None,
    recv_window: str | float | Decimal | None = None,
    exact: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    max_wait: float = 10,
    reconcile: float = 20,
) -> DataFrame:
    """Cancel the orders of a frame: ``nbext.cancel_orders(df[df["price"] > 65000])``.

    Each order is canceled by itself, named by its id **and** its client order id; order lists as a whole. An empty
    frame cancels nothing.

    Parameters
    ----------
    frame : DataFrame
        Rows of a frame that nbext made for the same profile and host.
    client, profile, side, type, prefix, older_than, recv_window, exact, dry_run, yes, check, max_wait, reconcile
        As in `cancel_all`.

    Returns
    -------
    DataFrame
        As `cancel_all` returns. Orders of the frame that are no longer open have a row, too.

    Raises
    ------
    ConfigurationError
        As `cancel_all`; also for a frame that nbext did not make, or made for another profile or host. Nothing was
        sent.
    NotSentError, RejectedError, IncompleteError, OutcomeUnknownError, KeyboardInterrupt
        As `cancel_all`.
    """
    chosen = session.given(client, profile)
    return job.perform(
        job.Job(
            chosen,
            Selection.parse(only=Filter.parse(side, type, prefix, older_than), orders=orders_of(frame, chosen)),
            Options.parse(recv_window, exact=exact, max_wait=max_wait, reconcile=reconcile),
        ),
        dry_run=dry_run,
        yes=yes,
        check=check,
        ask=_ask(),
    )


def guard(
    *symbols: str,
    all: bool = False,
    client: SpotClient | None = None,
    profile: str | None = None,
    prefix: str | None = None,
    recv_window: str | float | Decimal | None = None,
    exact: bool = False,
    yes: bool = False,
    outlive: bool = False,
) -> Guard:
    """Cancel on the way out of a block: ``with nbext.guard("BTCUSDT"): ...``.

    However the block ends (normally, with an error, an interrupt or ``sys.exit``), what is open then is canceled.
    Consent is given when the block begins. If the cancel fails as well, its error is raised from the block's.

    Parameters
    ----------
    *symbols, all, client, profile, prefix, recv_window, exact, yes
        As in `cancel_all`.
    outlive : bool, default False
        Cancel also when this process ends within the block, however it ends: a second process, the watchdog, waits for
        that. On an exchange that this process started, there is nothing to outlive.

    Returns
    -------
    Guard
        A context manager; its ``frame`` is the result once the block has ended.

    Raises
    ------
    NbextError
        As `cancel_all`, when the block begins or ends.
    """
    from nbext.cancel.guard import Guard

    canceling = job.Job(
        session.given(client, profile),
        Selection.parse(symbols, Filter.parse(prefix=prefix), all_symbols=all),
        Options.parse(recv_window, exact=exact),
    )
    return Guard(canceling, yes=yes, ask=_ask(), outlive=parse_flag("outlive", outlive))


def alive() -> bool:
    """Show a sign of life, for ``%nbext_guard SYMBOL --after 60s``.

    Unless one comes within each 60 s, what is guarded is canceled. Every finished cell counts as one as well; a cell
    that runs for long has to call this.

    Returns
    -------
    bool
        False once a guard has run for lack of signs. It does not stand any more until it is set again.
    """
    from nbext.cancel.guard import keeper

    return keeper.alive()


def cancel_log(last: int | None = 1000) -> DataFrame:
    """Return the journal: what was asked and what came back, oldest first.

    Parameters
    ----------
    last : int or None, default 1000
        How many of the latest requests; None for all.

    Returns
    -------
    DataFrame
        Shape (number of requests, 18): ``request``, ``outcome`` (in words, ``13 canceled``; missing until it is
        known), ``sentAt`` (``datetime64[ms, UTC]``, when it last left, by the exchange's clock), ``state``, ``error``,
        ``profile``, ``host``, ``key`` (the last characters of the API key), ``httpStatus`` (``Int64``), the number of
        orders by outcome (``Int64``), ``id``, ``callId``.

    Raises
    ------
    ConfigurationError
        The journal cannot be read.
    """
    from nbext.cancel import unfinished

    return unfinished.cancel_log(last)


def open_orders(
    *symbols: str,
    client: SpotClient | None = None,
    profile: str | None = None,
    side: str | None = None,
    type: str | None = None,
    prefix: str | None = None,
    older_than: str | timedelta | None = None,
    exact: bool = False,
) -> DataFrame:
    """Return what is open now.

    ``GET /api/v3/openOrders`` (API docs, "Current open orders"; weight 6 a symbol, 80 for all symbols).

    Parameters
    ----------
    *symbols : str
        None means all symbols, since reading changes nothing.
    client, profile, exact
        As in `cancel_all`.
    side, type, prefix, older_than
        Only what `cancel_all` would cancel with them: orders that match, and the rest of their lists.

    Returns
    -------
    DataFrame
        The columns of `cancel_all`, then ``time``, ``updateTime``, ``isWorking`` and ``workingTime``.

    Raises
    ------
    ConfigurationError, NotSentError, RejectedError, RateLimitedError
        Reading failed. No orders were changed.
    """
    return job.open_orders(
        session.given(client, profile),
        Selection.parse(symbols, Filter.parse(side, type, prefix, older_than), all_symbols=not symbols),
        exact=exact,
    )


def ladder(
    *frames: DataFrame, last: Price | Mapping[str, Price] | None = None, client: SpotClient | None = None
) -> Ladder:
    """Show the orders of one or more frames as a ladder of prices, beside the last price.

    The highest price is on top, buys extend to the left, sells to the right, the legs of a list are joined, and what
    was canceled is struck through. An order that waits for its trigger is outlined and stands at that trigger. More
    than 40 orders are added up by levels of the price, with the depth from the last price outward.

    Parameters
    ----------
    *frames : DataFrame
        Frames that nbext made, such as those of `open_orders` and `cancel_all`, or rows of them. An order that is in
        several is drawn as the last one has it: ``ladder(before, canceled)`` shows what was open, with what was
        canceled struck through.
    last : Decimal, float, str or Mapping, optional
        The last price, or last prices by symbol. By default the exchange that the frame is from is asked
        (``GET /api/v3/ticker/price``, weight 4 at most); if it does not answer, the line is left out.
    client : SpotClient, optional
        Whom to ask for the last price. By default the one this process keeps for the frame's profile.

    Returns
    -------
    Ladder
        A notebook shows it in its own theme, a terminal as text; ``print`` gives the text, too.

    Raises
    ------
    ConfigurationError
        A frame is not one of ours, or from another exchange than the rest; or `last` is not a price.
    """
    from nbext.frames import ladder as drawing

    if client is not None:
        session.given(client, None)
    frame = drawing.merged(*frames)
    return drawing.Ladder(frame, _last_prices(frame, client) if last is None else last)


def _last_prices(frame: DataFrame, client: SpotClient | None) -> Mapping[str, Decimal]:
    """Ask the exchange that a frame is from; without an answer, a picture lacks that line only."""
    from nbext.cancel import reads
    from nbext.frames import ladder as drawing

    profile, host = drawing.origin(frame)
    try:
        client = client or session.client_for(str(profile))
    except NbextError:
        return {}
    return reads.last_prices(client, drawing.symbols_of(frame)) if client.host == host else {}


def _ask() -> Ask | None:
    """Return how to ask: with a prompt in IPython; a plain script has none."""
    if "IPython" not in sys.modules:
        return None
    from nbext.notebook import magics

    return magics.ask_if_possible()
