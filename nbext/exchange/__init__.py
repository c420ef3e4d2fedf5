"""An exchange that fits into a notebook: Binance Spot's API on loopback, with a matching engine behind it.

A request passes `server` (HTTP), `gate` (keys, signatures, timing, limits, parameters) and `desk` (one call
per endpoint) on its way to the `engine`, whose `market` of each symbol matches, triggers and ends orders.
"""

from nbext.exchange.refusals import Refusal
from nbext.exchange.server import ApiKey, LocalExchange, is_ours

__all__ = ["ApiKey", "LocalExchange", "Refusal", "is_ours"]
