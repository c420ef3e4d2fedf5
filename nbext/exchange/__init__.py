"""An exchange that fits into a notebook: Binance Spot's API on loopback, with a matching engine behind it.

A request comes in at the `listener` (HTTP) and goes through the `venue`, which shows it to the `gate` (keys,
signatures, timing, limits, parameters) and takes it to the `desk` (one call per endpoint) and so to the `engine`,
whose `market` of each symbol matches, triggers and ends orders. What can be made to go wrong on the way is in
`faults`; a second process asks for faults and truth `backstage`. Where the documentation is silent, a `dialect` says
what is done.
"""

from nbext.exchange.dialect import Dialect
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.local import ApiKey, LocalExchange, is_ours

__all__ = ["ApiKey", "Dialect", "LocalExchange", "Refusal", "is_ours"]
