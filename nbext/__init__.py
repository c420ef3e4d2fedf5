"""Cancel every open order on a Binance Spot symbol from a notebook, and get a DataFrame in which every row is true.

In a notebook or an IPython shell::

    %load_ext nbext
    %cancel_all BTCUSDT

works at once, without an account or a network, on the exchange that nbext brings along; other profiles reach the
testnet, the demo and the live exchange. The same as Python calls: `cancel_all`, `cancel_orders`, `open_orders`,
`connect`, `SpotClient`, `local`, `LocalExchange`, and `last`, the last frame.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from nbext.errors import (
    ConfigurationError,
    IncompleteError,
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.version import __version__ as __version__

if TYPE_CHECKING:
    from datetime import timedelta
    from decimal import Decimal

    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

    from nbext.cancel.guard import Guard
    from nbext.cancel.job import Ask
    from nbext.exchange import LocalExchange
    from nbext.frames.ladder import ladder
    from nbext.profiles import local
    from nbext.session import connect
    from nbext.spot.client import SpotClient

    last: DataFrame | None

__all__ = [
    "ConfigurationError",
    "IncompleteError",
    "LocalExchange",
    "NbextError",
    "NotSentError",
    "OutcomeUnknownError",
    "RateLimitedError",
    "RejectedError",
    "SpotClient",
    "cancel_all",
    "cancel_log",
    "cancel_orders",
    "connect",
    "guard",
    "ladder",
    "last",
    "local",
    "open_orders",
]

# Found when first asked for, so that `import nbext` costs nothing but this file and the errors.
_ELSEWHERE = {
    "LocalExchange": "nbext.exchange",
    "SpotClient": "nbext.spot.client",
    "connect": "nbext.session",
    "ladder": "nbext.frames.ladder",
    "last": "nbext.session",
    "local": "nbext.profiles",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - whatever stands behind the name
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'nbext' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def cancel_all(
    *symbols: str,
    all: bool = False,  # noqa: A002 - reads as what it does
    client: SpotClient | None = None,
    profile: str | None = None,
    side: str | None = None,
    type: str | None = None,  # noqa: A002 - the wire's word
    prefix: str | None = None,
    older_than: str | timedelta | None = None,
    recv_window: str | int | Decimal | None = None,
    exact: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    max_wait: float = 10,
    reconcile: float = 20,
) -> DataFrame:
    """Cancel every open order on the symbols, order lists included.

    Without `side`, `type`, `prefix` and `older_than`: ``DELETE /api/v3/openOrders`` (API docs, "Cancel All Open Orders
    on a Symbol"; weight 1, TRADE), one for each symbol. With any of them: the open orders are read, and those that
    match are canceled singly, an order list as a whole. Each request is sent once; again only after an answer that
    proves that the matching engine never saw it (-1021, after the clock has been measured, and 429).

    Parameters
    ----------
    *symbols : str
        Such as ``"BTCUSDT"`` or ``"BTC/USDT"``.
    all : bool, default False
        Every symbol that has open orders; not together with symbols.
    client : SpotClient, optional
        From `connect`; else the one that is kept for the profile.
    profile : str, optional
        As in `connect`; not together with `client`.
    side : {"BUY", "SELL"}, optional
        Only orders of this side.
    type : str, optional
        Only orders of this type, such as ``"LIMIT"``.
    prefix : str, optional
        Only orders whose client order id begins so.
    older_than : str or timedelta, optional
        Only orders placed so long ago by the exchange's clock: ``"90s"``, ``"15m"``, ``"2h"``, ``"1d"``.
    recv_window : str, int or Decimal, optional
        Milliseconds for which the request is good, at most 60000, at most three decimals. The exchange's default is
        5000.
    exact : bool, default False
        Prices and quantities as Decimal rather than float64.
    dry_run : bool, default False
        Show what would go; sends no DELETE, whatever `yes` says.
    yes : bool, default False
        Do not ask. Needed for a live exchange outside IPython, where nobody can be asked.
    check : bool, default False
        Read again afterwards, and say what is open then.
    max_wait : float, default 10
        Seconds that a 429 may ask to wait, in all, before the cancel is given up. A wait is at least 1 s; where the
        exchange does not say how long, it is 60 s.
    reconcile : float, default 20
        Seconds for finding out what became of orders that no answer tells of. An order is said to be open only of a
        moment at which the cancel could no longer arrive: its recv window, 10 s for the exchange and 2 s for reads that
        lag have passed by then. No document bounds the latter two.

    Returns
    -------
    DataFrame
        Shape (number of orders, 24 or more), one row per order, lists expanded. Wire names; ids ``Int64``, times
        ``datetime64[ms, UTC]``, text ``str``, prices and quantities ``float64`` (with `exact` Decimal). ``outcome`` is
        the order's state as last proven. The same columns and dtypes when nothing was open.

    Raises
    ------
    ConfigurationError
        An argument, a key or an endpoint is at fault, or consent was not given. Nothing was sent.
    NotSentError
        No connection. The orders are untouched.
    RejectedError
        The exchange refused. The message says whether the orders are untouched.
    IncompleteError
        All is known, and some orders are still open or some requests failed. Has ``frame`` and ``failures``.
    OutcomeUnknownError
        Sent, and not everything could be proven. Has ``frame`` and ``failures``.
    KeyboardInterrupt
        Interrupted; what had been sent was waited for, and `last` is the frame so far. Any other exception, of a
        signal's handler, say, ends the call in the same way, and has what became of the orders as a note.

    Notes
    -----
    A call has an end, however slow the exchange is, and however many symbols there are. Reading what is open, where
    that is needed, takes at most 15 s, and so does `check`. Requests leave for at most 15 s and `max_wait`; what has
    waited until then is not sent (`NotSentError`). The last answers may take 12 s, and finding out what became of the
    rest, `reconcile`.
    """
    from nbext import session
    from nbext.cancel import job as cancel

    return cancel.perform(
        cancel.Job(
            symbols,
            everything=all,
            client=session.given(client, profile),
            side=side,
            type=type,
            prefix=prefix,
            older_than=older_than,
            recv_window=recv_window,
            exact=exact,
            max_wait=max_wait,
            settle_seconds=reconcile,
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
    type: str | None = None,  # noqa: A002 - the wire's word
    prefix: str | None = None,
    older_than: str | timedelta | None = None,
    recv_window: str | int | Decimal | None = None,
    exact: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    max_wait: float = 10,
    reconcile: float = 20,
) -> DataFrame:
    """Cancel the orders of a frame: ``nbext.cancel_orders(df[df["price"] > 65000])``.

    Each order singly, named by its id **and** its client order id, an order list as a whole. An empty frame cancels
    nothing.

    Parameters
    ----------
    frame : DataFrame
        Rows of a frame that nbext made for the same profile and host.
    client, profile, side, type, prefix, older_than, recv_window, exact, dry_run, yes, check, max_wait, reconcile
        As in `cancel_all`.

    Returns
    -------
    DataFrame
        As `cancel_all` returns; orders of the frame that were not open any more have their row, too.

    Raises
    ------
    ConfigurationError
        As `cancel_all`; also for a frame that is not one of ours, or of another profile or host. Nothing was sent.
    NotSentError, RejectedError, IncompleteError, OutcomeUnknownError, KeyboardInterrupt
        As `cancel_all`.
    """
    from nbext import session
    from nbext.cancel import job as cancel

    chosen = session.given(client, profile)
    return cancel.perform(
        cancel.Job(
            client=chosen,
            orders=cancel.orders_of(frame, chosen),
            side=side,
            type=type,
            prefix=prefix,
            older_than=older_than,
            recv_window=recv_window,
            exact=exact,
            max_wait=max_wait,
            settle_seconds=reconcile,
        ),
        dry_run=dry_run,
        yes=yes,
        check=check,
        ask=_ask(),
    )


def guard(
    *symbols: str,
    all: bool = False,  # noqa: A002 - reads as what it does
    client: SpotClient | None = None,
    profile: str | None = None,
    prefix: str | None = None,
    recv_window: str | int | Decimal | None = None,
    exact: bool = False,
    yes: bool = False,
) -> Guard:
    """Cancel on the way out of a block: ``with nbext.guard("BTCUSDT"): ...``.

    Whatever happens inside, its end, an error, an interrupt or ``sys.exit``, what is open then is canceled. Consent is
    taken when the block begins. If the cancel fails as well, its error is raised from that of the block.

    Parameters
    ----------
    *symbols, all, client, profile, prefix, recv_window, exact, yes
        As in `cancel_all`.

    Returns
    -------
    Guard
        A context manager; its ``frame`` is the result once the block has ended.

    Raises
    ------
    NbextError
        As `cancel_all`, when the block begins or ends.
    """
    from nbext import session
    from nbext.cancel import job as cancel
    from nbext.cancel.guard import Guard

    job = cancel.Job(
        symbols,
        everything=all,
        client=session.given(client, profile),
        prefix=prefix,
        recv_window=recv_window,
        exact=exact,
    )
    return Guard(job, yes=yes, ask=_ask())


def cancel_log(last: int | None = 1000) -> DataFrame:
    """Return the journal: what was asked and what came back, oldest first.

    Parameters
    ----------
    last : int or None, default 1000
        How many requests, the latest ones; None for all.

    Returns
    -------
    DataFrame
        Shape (number of requests, 17): ``id``, ``sentAt`` (``datetime64[ms, UTC]``, when it left for the last time by
        the exchange's clock), ``profile``, ``host``, ``key`` (the last characters of the API key), ``request``,
        ``state``, ``httpStatus`` (``Int64``), the number of orders by outcome (``Int64``), ``error``, ``callId``.

    Raises
    ------
    ConfigurationError
        The journal cannot be read.
    """
    from nbext.cancel import unfinished

    return unfinished.cancel_log(last)


def open_orders(
    *symbols: str, client: SpotClient | None = None, profile: str | None = None, exact: bool = False
) -> DataFrame:
    """Show what is open now.

    ``GET /api/v3/openOrders`` (API docs, "Current open orders"; weight 6 a symbol, 80 for all symbols).

    Parameters
    ----------
    *symbols : str
        None means all symbols: looking changes nothing.
    client, profile, exact
        As in `cancel_all`.

    Returns
    -------
    DataFrame
        The columns of `cancel_all`, then ``time``, ``updateTime``, ``isWorking`` and ``workingTime``.

    Raises
    ------
    ConfigurationError, NotSentError, RejectedError, RateLimitedError
        Looking failed. The orders are untouched.
    """
    from nbext.cancel import job as cancel

    return cancel.open_orders(*symbols, client=client, profile=profile, exact=exact)


def _ask() -> Ask | None:
    """Ask in IPython, where somebody may sit; a plain script has nobody to ask."""
    if "IPython" not in sys.modules:
        return None
    from nbext.notebook import magics

    return magics.ask_if_possible()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext nbext``."""
    from nbext.notebook import magics

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext nbext``: leave the shell as it was found, and close what was opened."""
    from nbext.notebook import magics

    magics.unload(shell)
