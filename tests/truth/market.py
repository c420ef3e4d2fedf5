"""Who trades in a round: orders of all kinds, prices that move over them, and somebody else who changes them."""

from __future__ import annotations

from contextlib import suppress
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from .rounds import QUANTITY, SYMBOLS

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from nbext.exchange import LocalExchange

GTC = {"timeInForce": "GTC"}
STP = ("EXPIRE_TAKER", "EXPIRE_MAKER", "EXPIRE_BOTH", "DECREMENT")


def place(exchange: LocalExchange, count: int, chance: random.Random) -> None:
    """Place orders of all kinds, lists among them."""
    for _ in range(count):
        with suppress(Exception):  # whatever a full book or purse refuses, is not placed
            place_one(exchange, chance.choice(SYMBOLS), chance.choice(OFTEN), chance)


def place_one(exchange: LocalExchange, symbol: str, kind: str, chance: random.Random) -> None:
    """Place an order, or an order list, of one of `KINDS`."""
    KINDS[kind](Stall(exchange, symbol, chance))


class Stall:
    """Where orders on one symbol are placed: around its last price, in amounts that are usual for it."""

    def __init__(self, exchange: LocalExchange, symbol: str, chance: random.Random) -> None:
        self.exchange, self.symbol, self.chance = exchange, symbol, chance
        self.quantity = QUANTITY[symbol]
        self._last = float(exchange.last_price(symbol))

    def at(self, share: float) -> str:
        """Return the price so far from the last one."""
        return str(round(self._last * (1 + share)))

    def some(self, share: float) -> str:
        """Return so many times the usual amount."""
        return f"{Decimal(self.quantity) * Decimal(str(share)):f}"

    def order(self, side: str, type: str, **params: Any) -> Any:
        """Place an order with an id of its owner's."""
        own = f"{self.chance.choice(['bot', 'me'])}-{self.chance.randrange(10**9)}"
        amount = {} if "quoteOrderQty" in params else {"quantity": self.quantity}
        asked: dict[str, Any] = {"newClientOrderId": own, **amount, **params}
        return self.exchange.place(self.symbol, side, type, **asked)

    def limit(self, share: float, **params: Any) -> Any:
        """Place a limit order that rests below or above the market."""
        side, price = self.chance.choice([("BUY", self.at(-share)), ("SELL", self.at(share))])
        return self.order(side, "LIMIT", price=price, **GTC, **params)

    def list(self, kind: str, **params: Any) -> Any:
        """Place an order list."""
        return self.exchange.place_list(kind, self.symbol, **params)

    def working(self, **more: Any) -> dict[str, Any]:
        """Return the order that others wait for, and those under names of their own."""
        near = {"Type": "LIMIT", "Side": "BUY", "TimeInForce": "GTC", "Price": self.at(-0.01)}
        named = {f"working{name}": each for name, each in near.items()}
        return {**named, "workingQuantity": self.quantity, **more}

    def pair(self) -> dict[str, Any]:
        """Return two orders that wait, of which one executes."""
        above = {"pendingAboveType": "LIMIT_MAKER", "pendingAbovePrice": self.at(0.05)}
        below = {"pendingBelowType": "STOP_LOSS", "pendingBelowStopPrice": self.at(-0.1)}
        return {"pendingSide": "SELL", **above, **below}

    def after(self) -> dict[str, Any]:
        """Return an order that waits."""
        waits = {"pendingType": "LIMIT", "pendingTimeInForce": "GTC", "pendingPrice": self.at(0.05)}
        return {"pendingSide": "SELL", **waits}


def _stop(at: Stall) -> None:
    kind, far = at.chance.choice([("STOP_LOSS", 0.04), ("TAKE_PROFIT", -0.04)])
    side, sign = at.chance.choice([("SELL", -1), ("BUY", 1)])
    stop = {"stopPrice": at.at(sign * far)}
    if at.chance.random() < 0.5:
        at.order(side, kind, **stop)
    else:
        at.order(side, f"{kind}_LIMIT", **stop, price=at.at(sign * (far + 0.01)), **GTC)


def _trailing(at: Stall) -> None:
    side = at.chance.choice(["SELL", "BUY"])
    begins = {"stopPrice": at.at(0.02 if side == "SELL" else -0.02)} if at.chance.random() < 0.3 else {}
    kind = "TAKE_PROFIT" if begins else "STOP_LOSS"
    at.order(side, kind, trailingDelta=at.chance.choice([90, 900]), **begins)


def _partly(at: Stall) -> None:
    """Let somebody sell some of what is bought at the best price."""
    bid = str(at.exchange.last_price(at.symbol))
    at.order("BUY", "LIMIT", price=bid, **GTC)
    sold: dict[str, Any] = {"quantity": at.some(0.4), "price": bid, "timeInForce": "IOC"}
    at.exchange.place(at.symbol, "SELL", "LIMIT", account="market", **sold)


def _pegged(at: Stall) -> None:
    level = {"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": at.chance.randint(1, 3)}
    peg = {"pegPriceType": "PRIMARY_PEG", **(level if at.chance.random() < 0.7 else {})}
    if at.chance.random() < 0.3:
        at.order("SELL", "STOP_LOSS_LIMIT", stopPrice=at.at(-0.01), **peg, **GTC)
    else:
        at.order(at.chance.choice(["BUY", "SELL"]), "LIMIT", **peg, **GTC)


def _amended(at: Stall) -> None:
    lower_one(at.exchange, at.symbol, int(at.limit(at.chance.choice([0.01, 0.05]))["orderId"]), at.chance)


def _prevented(at: Stall) -> None:
    """Meet an order of one's own: one or both of them end, or lose what they would have traded."""
    bid = str(at.exchange.last_price(at.symbol))
    at.order("BUY", "LIMIT", price=bid, **GTC)
    mode = {"selfTradePreventionMode": at.chance.choice(STP)}
    at.order("SELL", "LIMIT", quantity=at.some(at.chance.choice([0.4, 1, 2])), price=bid, **GTC, **mode)


def _maker(at: Stall) -> None:
    side, price = at.chance.choice([("BUY", at.at(-0.01)), ("SELL", at.at(0.01))])
    more = {"icebergQty": at.some(0.5)} if at.chance.random() < 0.3 else {}
    at.order(side, "LIMIT_MAKER", price=price, strategyId=7, strategyType=1_000_000, **more)


def _market(at: Stall) -> None:
    if at.chance.random() < 0.5:
        at.order("BUY", "MARKET", quoteOrderQty="1000.01")
    else:
        at.order(at.chance.choice(["BUY", "SELL"]), "MARKET")


def _at_once(at: Stall) -> None:
    at.order("BUY", "LIMIT", price=at.at(at.chance.choice([-0.05, 0.01])), timeInForce=at.chance.choice(["IOC", "FOK"]))


def _oco(at: Stall) -> None:
    if at.chance.random() < 0.6:
        legs = {"aboveType": "LIMIT_MAKER", "abovePrice": at.at(0.01), "belowType": "STOP_LOSS"}
        at.list("oco", side="SELL", quantity=at.quantity, belowStopPrice=at.at(-0.06), **legs)
    else:
        above = {"aboveType": "STOP_LOSS_LIMIT", "aboveStopPrice": at.at(0.05), "abovePrice": at.at(0.06)}
        below = {"belowType": "TAKE_PROFIT_LIMIT", "belowStopPrice": at.at(-0.01), "belowPrice": at.at(-0.01)}
        kept = {"aboveTimeInForce": "GTC", "belowTimeInForce": "GTC"}
        at.list("oco", side="BUY", quantity=at.quantity, **above, **below, **kept)


def _amended_oco(at: Stall) -> None:
    legs = {"aboveType": "LIMIT_MAKER", "abovePrice": at.at(0.01), "belowType": "STOP_LOSS"}
    placed = at.list("oco", side="SELL", quantity=at.quantity, belowStopPrice=at.at(-0.06), **legs)
    lower_one(at.exchange, at.symbol, int(at.chance.choice(placed["orders"])["orderId"]), at.chance)


KINDS: dict[str, Callable[[Stall], Any]] = {
    "far": lambda at: at.limit(0.05),
    "near": lambda at: at.limit(0.01),
    "big": lambda at: at.limit(0.01, quantity=at.some(1000)),  # more than the market takes at once
    "iceberg": lambda at: at.limit(0.05, icebergQty=at.some(0.5)),
    "maker": _maker,
    "stop": _stop,
    "trailing": _trailing,
    "partly": _partly,
    "pegged": _pegged,
    "amended": _amended,
    "prevented": _prevented,
    "market": _market,
    "at once": _at_once,
    "oco": _oco,
    "amended oco": _amended_oco,
    "oto": lambda at: at.list("oto", **at.working(pendingQuantity=at.quantity), **at.after()),
    "oto market": lambda at: at.list(
        "oto", **at.working(pendingQuantity=at.quantity, pendingType="MARKET", pendingSide="SELL")
    ),
    "otoco": lambda at: at.list("otoco", **at.working(pendingQuantity=at.quantity), **at.pair()),
    "opo": lambda at: at.list("opo", **at.working(), **at.after()),
    "opoco": lambda at: at.list("opoco", **at.working(), **at.pair()),
}
OFTEN = (*KINDS, *("near", "near", "oco", "oto", "otoco", "partly"))


def fill(exchange: LocalExchange, chance: random.Random) -> None:
    """Move prices over what is near them."""
    for symbol in SYMBOLS:
        exchange.set_price(symbol, round(float(exchange.last_price(symbol)) * chance.choice([0.985, 1.015])))


def cancel_as_another(exchange: LocalExchange, chance: random.Random) -> None:
    """Cancel an order without a request, so that every request that cancels is the call's."""
    with exchange._step("another"):
        engine = exchange._engine
        symbol, number = _any_open(exchange, chance)
        engine.cancel(engine.account("main"), engine.symbol(symbol), number, None)


def amend_as_another(exchange: LocalExchange, chance: random.Random) -> None:
    """Lower the quantity of an order, which gets a new id of its owner's."""
    lower_one(exchange, *_any_open(exchange, chance), chance)


def withdraw(exchange: LocalExchange, chance: random.Random) -> None:
    """Let the exchange end an order for reasons of its own."""
    exchange.withdraw(*_any_open(exchange, chance))


def lower_one(exchange: LocalExchange, symbol: str, number: int, chance: random.Random) -> None:
    """Lower the quantity of an order by half, or by a fifth."""
    order = next(each for each in exchange.orders(symbol) if each["orderId"] == number)
    quantity = Decimal(str(order["origQty"])) * Decimal(chance.choice(["0.5", "0.8"]))
    same, new = str(order["origClientOrderId"]), f"bot-amended-{chance.randrange(10**9)}"
    exchange.amend(symbol, number, quantity, client_order_id=chance.choice([None, same, new]))


def _any_open(exchange: LocalExchange, chance: random.Random) -> tuple[str, int]:
    return chance.choice([(str(each["symbol"]), int(each["orderId"])) for each in exchange.open_orders()])
