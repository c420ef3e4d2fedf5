"""Cancel every open order on a Binance Spot symbol from a notebook, and get a DataFrame in which every row is true.

In a notebook or an IPython shell::

    %load_ext nbext
    %cancel_all BTCUSDT

works at once, without an account or a network, on the built-in practice exchange; other profiles reach the testnet, the
demo and the live exchange. The same as Python calls: `cancel_all`, `cancel_orders`, `open_orders`, `guard`, `alive`,
`cancel_log`, `connect`, `ladder`, `SpotClient`, `local`, `LocalExchange`, and `last`, the last frame. Modules other
than `nbext.errors`, `nbext.exchange` and `nbext.exchange.testing` are private.
"""

from __future__ import annotations

import importlib
import sys
from typing import TYPE_CHECKING, Any

from nbext.errors import (
    ConfigurationError,
    IncompleteError,
    Interrupted,
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RateLimitedError,
    RejectedError,
)
from nbext.version import __version__ as __version__

if TYPE_CHECKING:
    from IPython.core.interactiveshell import InteractiveShell
    from pandas import DataFrame

    from nbext.api import alive, cancel_all, cancel_log, cancel_orders, guard, ladder, open_orders
    from nbext.exchange import LocalExchange
    from nbext.profiles import local
    from nbext.session import connect
    from nbext.spot.client import SpotClient

    last: DataFrame | None

__all__ = [
    "ConfigurationError",
    "IncompleteError",
    "Interrupted",
    "LocalExchange",
    "NbextError",
    "NotSentError",
    "OutcomeUnknownError",
    "RateLimitedError",
    "RejectedError",
    "SpotClient",
    "__version__",
    "alive",
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

# Imported when first used, so that `import nbext` costs nothing but this file and the errors.
_ELSEWHERE = {
    "LocalExchange": "nbext.exchange",
    "SpotClient": "nbext.spot.client",
    "alive": "nbext.api",
    "cancel_all": "nbext.api",
    "cancel_log": "nbext.api",
    "cancel_orders": "nbext.api",
    "connect": "nbext.session",
    "guard": "nbext.api",
    "ladder": "nbext.api",
    "last": "nbext.session",
    "local": "nbext.profiles",
    "open_orders": "nbext.api",
}


def __getattr__(name: str) -> Any:
    if name not in _ELSEWHERE:
        raise AttributeError(f"module 'nbext' has no attribute {name!r}")
    return getattr(importlib.import_module(_ELSEWHERE[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def load_ipython_extension(shell: InteractiveShell) -> None:
    """``%load_ext nbext``."""
    from nbext.notebook import magics

    magics.load(shell)


def unload_ipython_extension(shell: InteractiveShell) -> None:
    """``%unload_ext nbext``: restore the shell, and close what was opened."""
    from nbext.notebook import magics

    magics.unload(shell)


def _show_frames_in_ipython() -> None:
    """Register how IPython shows our frames, from the import on; the magics want ``%load_ext nbext``."""
    core = sys.modules.get("IPython.core.getipython")
    if core is not None and (shell := core.get_ipython()) is not None:
        from nbext.notebook import formatters

        formatters.register(shell)


_show_frames_in_ipython()
