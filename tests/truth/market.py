"""Who trades in a round: orders of all kinds, prices that move over them, and somebody else who cancels."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from .rounds import QUANTITY, SYMBOLS

if TYPE_CHECKING:
    import random

    from nbext.exchange import LocalExchange


def place(exchange: LocalExchange, count: int, chance: random.Random) -> None:
    """Place orders of all kinds, lists among them."""
    for _ in range(count):
        with suppress(Exception):  # whatever a full book or purse refuses, is not placed
            _place_one(exchange, chance.choice(SYMBOLS), chance)


def _place_one(exchange: LocalExchange, symbol: str, chance: random.Random) -> None:
    last = float(exchange.last_price(symbol))
    quantity, gtc = QUANTITY[symbol], {"timeInForce": "GTC"}

    def at(share: float) -> str:
        return str(round(last * (1 + share)))

    kind = chance.choice(["far", "near", "near", "stop", "trailing", "iceberg", "big", "oco", "oco", "oto", "otoco"])
    below, above = (-0.01, 0.01) if kind in {"near", "oco", "big"} else (-0.05, 0.05)
    own = {"newClientOrderId": f"{chance.choice(['bot', 'me'])}-{chance.randrange(10**9)}"}
    if kind in {"far", "near", "iceberg", "big"}:
        side, share = chance.choice([("BUY", below), ("SELL", above)])
        more = {"icebergQty": str(float(quantity) / 2)} if kind == "iceberg" else {}
        quantity = str(float(quantity) * 1000) if kind == "big" else quantity  # more than the market takes at once
        exchange.place(symbol, side, "LIMIT", quantity=quantity, price=at(share), **gtc, **own, **more)
    elif kind == "stop":
        stop = {"stopPrice": at(-0.04), "price": at(-0.05)}
        exchange.place(symbol, "SELL", "STOP_LOSS_LIMIT", quantity=quantity, **stop, **gtc, **own)
    elif kind == "trailing":
        exchange.place(symbol, "SELL", "STOP_LOSS", quantity=quantity, trailingDelta=chance.choice([90, 900]), **own)
    elif kind == "oco":
        legs = {"aboveType": "LIMIT_MAKER", "abovePrice": at(above), "belowType": "STOP_LOSS"}
        exchange.place_list("oco", symbol, side="SELL", quantity=quantity, belowStopPrice=at(-0.06), **legs)
    else:
        working = {"Type": "LIMIT", "Side": "BUY", "TimeInForce": "GTC", "Price": at(-0.01), "Quantity": quantity}
        pending = {"Side": "SELL", "Quantity": quantity}
        if kind == "oto":
            pending |= {"Type": "LIMIT", "TimeInForce": "GTC", "Price": at(0.05)}
        else:
            pending |= {"AboveType": "LIMIT_MAKER", "AbovePrice": at(0.05)}
            pending |= {"BelowType": "STOP_LOSS", "BelowStopPrice": at(-0.1)}
        named = {f"working{name}": each for name, each in working.items()}
        named |= {f"pending{name}": each for name, each in pending.items()}
        exchange.place_list(kind, symbol, **named)


def fill(exchange: LocalExchange, chance: random.Random) -> None:
    """Move prices over what is near them."""
    for symbol in SYMBOLS:
        exchange.set_price(symbol, round(float(exchange.last_price(symbol)) * chance.choice([0.985, 1.015])))


def cancel_as_another(exchange: LocalExchange, chance: random.Random) -> None:
    """Cancel an order without a request, so that every request that cancels is the call's."""
    with exchange._step("another"):
        engine = exchange._engine
        account = engine.account("main")
        ids = [(symbol, number) for symbol in SYMBOLS for number in account.open[symbol]]
        symbol, number = chance.choice(ids)
        engine.cancel(account, engine.symbol(symbol), number, None)
