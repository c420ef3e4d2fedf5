"""Random placements, cancels and price moves: what must hold after every step."""

from __future__ import annotations

from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nbext.exchange import LocalExchange, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

SYMBOLS = ("BTCUSDT", "ETHUSDT")
TERMINAL = {"FILLED", "CANCELED", "EXPIRED"}
FOLLOWS = {
    "PENDING_NEW": {"NEW", "CANCELED", "EXPIRED"},
    "NEW": {"TRIGGERED", "PARTIALLY_FILLED"} | TERMINAL,
    "TRIGGERED": {"PARTIALLY_FILLED"} | TERMINAL,
    "PARTIALLY_FILLED": {"PARTIALLY_FILLED"} | TERMINAL,
}

symbols = st.sampled_from(SYMBOLS)
sides = st.sampled_from(["BUY", "SELL"])
shares = st.integers(-80, 80)
sizes = st.sampled_from(["0.1", "0.5", "3"])
times_in_force = st.sampled_from(["GTC", "GTC", "IOC", "FOK"])


@contextmanager
def may_be_refused(*codes: int) -> Iterator[None]:
    """Let refusals with these codes pass."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code not in codes:
            raise


class Trading(RuleBasedStateMachine):
    """Drives an exchange whose main account is short of money, so that refusals occur."""

    def __init__(self) -> None:
        super().__init__()
        self.exchange = LocalExchange(max_num_orders=40)
        self.main = self.exchange._engine.account("main")
        for asset, amount in {"USDT": 400_000, "BTC": 8, "ETH": 60}.items():
            self.main.balances[asset].free = Decimal(amount)

    def price(self, symbol: str, share: int) -> str:
        """Return a whole price so many tenths of a percent from the last."""
        return str((self.exchange.last_price(symbol) * (1000 + share) / 1000).quantize(Decimal(1)))

    def attempt(self, symbol: str, side: str, type_: str, *, account: str = "main", **params: object) -> None:
        """Place an order that may be refused."""
        with may_be_refused(-1013, -2010):
            self.exchange.place(symbol, side, type_, account=account, **params)

    @rule(symbol=symbols, side=sides, share=shares, size=sizes, how=times_in_force)
    def limit(self, symbol: str, side: str, share: int, size: str, how: str) -> None:
        """Place a limit order."""
        self.attempt(symbol, side, "LIMIT", timeInForce=how, quantity=size, price=self.price(symbol, share))

    @rule(symbol=symbols, side=sides, share=shares)
    def iceberg(self, symbol: str, side: str, share: int) -> None:
        """Place an iceberg order."""
        price = self.price(symbol, share)
        self.attempt(symbol, side, "LIMIT", timeInForce="GTC", quantity="1", icebergQty="0.3", price=price)

    @rule(symbol=symbols, side=sides, size=sizes, by_money=st.booleans())
    def market(self, symbol: str, side: str, size: str, *, by_money: bool) -> None:
        """Place a market order by quantity or by quote amount."""
        amount = {"quoteOrderQty": "7777"} if by_money else {"quantity": size}
        self.attempt(symbol, side, "MARKET", **amount)

    @rule(symbol=symbols, side=sides, share=shares, size=sizes, is_profit=st.booleans(), is_limit=st.booleans())
    def stop(self, symbol: str, side: str, share: int, size: str, *, is_profit: bool, is_limit: bool) -> None:
        """Place a stop or take-profit order, market-type or limit-type."""
        kind = ("TAKE_PROFIT" if is_profit else "STOP_LOSS") + ("_LIMIT" if is_limit else "")
        params: dict[str, object] = {"quantity": size, "stopPrice": self.price(symbol, share)}
        if is_limit:
            params |= {"timeInForce": "GTC", "price": self.price(symbol, share + 2)}
        self.attempt(symbol, side, kind, account="main", **params)

    @rule(symbol=symbols, side=sides, delta=st.integers(10, 500))
    def trailing(self, symbol: str, side: str, delta: int) -> None:
        """Place a trailing stop."""
        self.attempt(symbol, side, "STOP_LOSS", quantity="0.2", trailingDelta=delta)

    @rule(symbol=symbols, near=st.integers(1, 40), far=st.integers(1, 40), kind=st.sampled_from(["oco", "otoco"]))
    def pair(self, symbol: str, near: int, far: int, kind: str) -> None:
        """Place an OCO, or an OTOCO around it."""
        prefix = "pending" if kind == "otoco" else ""
        above, below = ("pendingAbove", "pendingBelow") if prefix else ("above", "below")
        params: dict[str, object] = {
            f"{above}Type": "LIMIT_MAKER",
            f"{above}Price": self.price(symbol, near),
            f"{below}Type": "STOP_LOSS",
            f"{below}StopPrice": self.price(symbol, -far),
        }
        if prefix:
            params |= self.working(symbol, -(far // 2)) | {"pendingSide": "SELL", "pendingQuantity": "0.3"}
        else:
            params |= {"side": "SELL", "quantity": "0.3"}
        self.attempt_list(kind, symbol, params)

    @rule(symbol=symbols, share=shares, kind=st.sampled_from(["LIMIT", "MARKET"]))
    def oto(self, symbol: str, share: int, kind: str) -> None:
        """Place an OTO whose pending leg sells what the working one bought."""
        params = self.working(symbol, share) | {"pendingType": kind, "pendingSide": "SELL", "pendingQuantity": "0.3"}
        if kind == "LIMIT":
            params |= {"pendingTimeInForce": "GTC", "pendingPrice": self.price(symbol, share + 5)}
        self.attempt_list("oto", symbol, params)

    def working(self, symbol: str, share: int) -> dict[str, object]:
        """Return the parameters of a working BUY."""
        return {
            "workingType": "LIMIT",
            "workingSide": "BUY",
            "workingTimeInForce": "GTC",
            "workingPrice": self.price(symbol, share),
            "workingQuantity": "0.3",
        }

    def attempt_list(self, kind: str, symbol: str, params: dict[str, object]) -> None:
        """Place a list that may be refused."""
        with may_be_refused(-1013, -2010):
            self.exchange.place_list(kind, symbol, account="main", **params)

    @rule(symbol=symbols, share=shares)
    def move(self, symbol: str, share: int) -> None:
        """Move the market."""
        self.exchange.set_price(symbol, self.price(symbol, share))

    @rule(symbol=symbols, side=sides, share=st.integers(-20, 20), size=sizes)
    def counterparty(self, symbol: str, side: str, share: int, size: str) -> None:
        """Let the market trade into the book."""
        price = self.price(symbol, share)
        self.attempt(symbol, side, "LIMIT", account="market", timeInForce="IOC", quantity=size, price=price)

    @rule(number=st.integers(0, 30))
    def cancel_one(self, number: int) -> None:
        """Cancel some open order, and with it its list."""
        rows = self.exchange.open_orders()
        if rows:
            row: Any = rows[number % len(rows)]
            engine = self.exchange._engine
            engine.cancel(self.main, engine.symbol(row["symbol"]), row["orderId"], None)

    @rule(symbol=symbols)
    def cancel_all(self, symbol: str) -> None:
        """Cancel all on a symbol: nothing is open there after, and nothing changed elsewhere."""
        other = next(name for name in SYMBOLS if name != symbol)
        before = self.exchange.open_orders(other)
        engine = self.exchange._engine
        with may_be_refused(-2011):
            engine.cancel_all(self.main, engine.symbol(symbol))
        assert self.exchange.open_orders(symbol) == []
        assert self.exchange.open_orders(other) == before

    @invariant()
    def balances_hold(self) -> None:
        """No balance is negative, and what is locked is what open orders need."""
        for account in self.exchange._engine.accounts.values():
            needs = dict.fromkeys(account.balances, Decimal(0))
            for orders in account.open.values():
                for order in orders.values():
                    partner = order.order_list.partner(order) if order.order_list else None
                    if partner and (order.need, order.order_id) < (partner.need, partner.order_id):
                        continue
                    needs[order.lock_asset] += order.need
            for asset, balance in account.balances.items():
                assert balance.free >= 0
                assert balance.locked == needs[asset]

    @invariant()
    def money_is_conserved(self) -> None:
        """Trading creates and destroys nothing."""
        total = {asset: Decimal(0) for asset in ("USDT", "BTC", "ETH")}
        for account in self.exchange._engine.accounts.values():
            for asset in total:
                total[asset] += account.balances[asset].free + account.balances[asset].locked
        if not hasattr(self, "total"):
            self.total = total
        assert total == self.total

    @invariant()
    def books_are_not_crossed(self) -> None:
        """Best bids are below best asks, and the book holds exactly the working limit orders."""
        for name in SYMBOLS:
            book = self.exchange._engine.markets[name].book
            bid, ask = (book.sides[side].best_price() for side in ("BUY", "SELL"))
            assert bid is None or ask is None or bid < ask
            resting = {order.order_id for side in book.sides.values() for order in side}
            accounts = self.exchange._engine.accounts.values()
            orders = [order for account in accounts for order in account.open[name].values()]
            assert resting == {order.order_id for order in orders if order.is_working}
            assert all(0 < order.visible <= order.remaining for side in book.sides.values() for order in side)

    @invariant()
    def lives_follow_the_documented_states(self) -> None:
        """Each order goes from state to state as documented, and lists agree with their legs."""
        for name in SYMBOLS:
            for order in self.main.orders[name].values():
                states = [status for _, status, _ in order.history]
                assert states[0] in {"NEW", "PENDING_NEW"}
                for earlier, later in pairwise(states):
                    assert later in FOLLOWS[earlier]
                assert order.is_live == (order.order_id in self.main.open[name])
                assert order.executed == sum(fill.quantity for fill in order.fills)
        for order_list in self.main.lists.values():
            assert order_list.is_done == order_list.has_finished()
            assert order_list.is_done != (order_list.order_list_id in self.main.open_lists)


TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=100, stateful_step_count=50, deadline=None, suppress_health_check=list(HealthCheck)
)
