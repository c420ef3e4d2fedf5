"""Cancel every open order on a Binance Spot symbol from a notebook, and get a DataFrame in which every row is true.

In a notebook or an IPython shell::

    %load_ext nbext
    %cancel_all BTCUSDT

works at once, without an account or a network, on the exchange that nbext brings along; other profiles reach the
testnet, the demo and the live exchange. The same as Python calls: `cancel_all`, `open_orders`, `connect`,
`SpotClient`, `local`, `LocalExchange`, and `last`, the last frame.
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

if TYPE_CHECKING:
    from decimal import Decimal

    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

    from nbext.cancel import Ask, connect
    from nbext.exchange import LocalExchange
    from nbext.profiles import local
    from nbext.spot import SpotClient

    last: DataFrame | None

__version__ = "0.1.0"

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
    "connect",
    "last",
    "local",
    "open_orders",
]

# Found when first asked for, so that `import nbext` costs nothing but this file and the errors.
_ELSEWHERE = {
    "LocalExchange": "nbext.exchange",
    "SpotClient": "nbext.spot",
    "connect": "nbext.cancel",
    "last": "nbext.cancel",
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
    recv_window: str | int | Decimal | None = None,
    exact: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
) -> DataFrame:
    """Cancel every open order on the symbols, order lists included, each symbol with one request.

    ``DELETE /api/v3/openOrders`` (API docs, "Cancel All Open Orders on a Symbol"; weight 1, TRADE). Sent once per
    symbol, never again.

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
        The exchange refused. The orders are untouched.
    IncompleteError
        All is known, and some orders are still open or some symbols failed. Has ``frame`` and ``failures``.
    OutcomeUnknownError
        Sent, and what became of it is not known. Has ``frame`` and ``failures``.
    """
    from nbext import cancel

    return cancel.cancel_all(
        *symbols,
        all=all,
        client=client,
        profile=profile,
        recv_window=recv_window,
        exact=exact,
        dry_run=dry_run,
        yes=yes,
        check=check,
        ask=_ask(),
    )


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
    from nbext import cancel

    return cancel.open_orders(*symbols, client=client, profile=profile, exact=exact)


def _ask() -> Ask | None:
    """Ask in IPython, where somebody may sit; a plain script has nobody to ask."""
    if "IPython" not in sys.modules:
        return None
    from nbext import magics

    return magics.ask_if_possible()


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext nbext``."""
    from nbext import magics

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext nbext``: leave the shell as it was found, and close what was opened."""
    from nbext import magics

    magics.unload(shell)
