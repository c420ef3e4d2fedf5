"""The built-in practice exchange: Binance Spot's API on loopback, with a matching engine behind it.

A request arrives at `http.server` and passes through `api.app`, where `api.admission` checks it (key, signature,
timing, limits, parameters) and `api.handlers` take it to the `engine`, whose `matching` trades, triggers and ends the
orders of a symbol. `api.faults` are what can be made to go wrong on the way; `http.control` lets a second process set
faults and read the truth. Where the API's documentation is silent, a `dialect` decides; RULES.md explains each choice.
"""

from nbext.exchange.dialect import Dialect
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.local import ApiKey, LocalExchange, is_ours

__all__ = ["ApiKey", "Dialect", "LocalExchange", "Refusal", "is_ours"]
