"""The stage on which documented bodies come about: an exchange with the symbols, ids and amounts of an example."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from nbext.exchange.engine.accounts import Balance
from nbext.exchange.engine.filters import Filters
from nbext.exchange.engine.matching import Market
from nbext.exchange.engine.symbols import Listing, Symbol
from support.exchange_client import ORDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange import LocalExchange
    from support.exchange_client import Answer, Client

LIST = "/api/v3/orderList"
WEALTH = Decimal(10**9)


class Stage:
    """An exchange whose symbols, ids and empty books are those of an example."""

    def __init__(self, exchange: LocalExchange, client: Client) -> None:
        self.exchange = exchange
        self.client = client
        self.engine = exchange._engine

    def symbol(self, base: str, quote: str, *, last: str | None = None, first_trade: int = 0) -> Symbol:
        """List a symbol without filters and with an empty book."""
        symbol = Symbol(Listing(base, quote, "1", "0.00000001", "0.00000001", "0", "1"), 200)
        symbol.filters = Filters([])
        engine = self.engine
        engine.symbols[symbol.name] = symbol
        engine.markets[symbol.name] = Market(symbol, first_trade, lambda asset: engine.worth("BNB", asset))
        engine.markets[symbol.name].last_price = None if last is None else Decimal(last)
        engine._next_order_id[symbol.name] = 0
        engine._given_out.clear()
        for name in ("main", "other"):
            account = engine.account(name)
            for asset in (base, quote):
                account.balances[asset] = Balance(WEALTH)
        return symbol

    def next_ids(self, symbol: str, order_id: int, list_id: int = 0) -> None:
        """Set which ids come next."""
        self.engine._next_order_id[symbol] = order_id
        self.engine._next_list_id = list_id
        self.engine._given_out.clear()

    def rest(self, symbol: str, side: str, price: str, quantity: str, account: str = "other", **more: str) -> None:
        """Place an order that rests in the book."""
        params = {"timeInForce": "GTC", "price": price, "quantity": quantity, **more}
        self.exchange.place(symbol, side, "LIMIT", account=account, **params)

    def signed(self, method: str, path: str, **params: object) -> Answer:
        """Send a signed request of the main account."""
        return self.client.signed(method, path, headers=None, **params)

    def order(self, symbol: str, side: str, kind: str, **params: object) -> Answer:
        """Place an order of the main account over HTTP."""
        return self.signed("POST", ORDER, symbol=symbol, side=side, type=kind, **params)

    def limit(self, symbol: str, side: str, price: str, quantity: str, **params: object) -> Answer:
        """Place a LIMIT order of the main account over HTTP."""
        params = {"timeInForce": "GTC", "price": price, "quantity": quantity, "newOrderRespType": "FULL", **params}
        return self.order(symbol, side, "LIMIT", **params)

    def list(self, kind: str, symbol: str, **params: object) -> Answer:
        """Place an order list over HTTP."""
        path = "/api/v3/order/oco" if kind == "deprecated" else f"{LIST}/{kind}"
        return self.signed("POST", path, symbol=symbol, **params)


SCENES: dict[str, Callable[[Stage], Answer]] = {}


def scene(*names: str) -> Callable[[Callable[[Stage], Answer]], Callable[[Stage], Answer]]:
    """Enter a scene under the names of the bodies that it leads to."""

    def enter(play: Callable[[Stage], Answer]) -> Callable[[Stage], Answer]:
        SCENES.update(dict.fromkeys(names, play))
        return play

    return enter


def leg_ids(*names_and_ids: str) -> dict[str, str]:
    """Pair names of legs with client ids."""
    names, ids = names_and_ids[::2], names_and_ids[1::2]
    return {f"{name}ClientOrderId": each for name, each in zip(names, ids, strict=True)}
