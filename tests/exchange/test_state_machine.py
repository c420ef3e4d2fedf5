"""Random placements of every kind, cancels, replacements and price moves: what must hold after every step.

Set ``NBEXT_LONG_TESTS`` for a run of many more and longer sequences.
"""

from __future__ import annotations

import os
from collections import defaultdict
from contextlib import contextmanager
from decimal import Decimal
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from nbext.exchange import Dialect, LocalExchange, Refusal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange.engine.orders import Order, OrderList

SYMBOLS = ("BTCUSDT", "ETHUSDT")
ASSETS = ("USDT", "BTC", "ETH", "BNB")
TERMINAL = {"FILLED", "CANCELED", "EXPIRED", "EXPIRED_IN_MATCH"}
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
stp_modes = st.sampled_from(["NONE", "NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT"])
accounts = st.sampled_from(["main", "main", "partner"])
# Without a level, without funds, beyond a filter, or on the wrong side of the market: all of that may be.
REFUSED = (-1013, -1014, -2010, -2011)


@contextmanager
def may_be_refused(*codes: int) -> Iterator[None]:
    """Ignore refusals with these codes."""
    try:
        yield
    except Refusal as refusal:
        if refusal.code not in codes:
            raise


class Trading(RuleBasedStateMachine):
    """Drives an exchange whose main account is short of money, so that refusals occur.

    It pays commission, and shares a trade group with a partner, who pays in BNB.
    """

    def __init__(self) -> None:
        super().__init__()
        self.exchange = LocalExchange(max_num_orders=40)
        self.main = self.exchange._engine.account("main")
        for asset, amount in {"USDT": 400_000, "BTC": 8, "ETH": 60}.items():
            self.main.balances[asset].free = Decimal(amount)
        self.exchange.set_commission(maker="0.001", taker="0.0015", buyer="0.0001")
        self.exchange.set_commission(maker="0.001", taker="0.001", bnb_discount="0.25", account="partner")
        for account in ("main", "partner"):
            self.exchange.set_trade_group(7, account)
        self.exchange.start_market("ETHUSDT", every=1, swing=0.01)
        self.funds = self.money()
        self.pegs: dict[tuple[str, int], Decimal] = {}

    def money(self) -> dict[str, Decimal]:
        """Return what all accounts have of each asset, and what commission has taken out."""
        total: defaultdict[str, Decimal] = defaultdict(Decimal)
        for account in self.exchange._engine.accounts.values():
            for asset in ASSETS:
                total[asset] += account.balances[asset].free + account.balances[asset].locked
            for fills in account.fills.values():
                for fill in fills:
                    total[fill.commission_asset] += fill.commission
        return dict(total)

    def price(self, symbol: str, share: int) -> str:
        """Return a whole price this many tenths of a percent from the last."""
        return str((self.exchange.last_price(symbol) * (1000 + share) / 1000).quantize(Decimal(1)))

    def attempt(self, symbol: str, side: str, type_: str, *, account: str = "main", **params: object) -> None:
        """Place an order that may be refused."""
        with may_be_refused(*REFUSED):
            self.exchange.place(symbol, side, type_, account=account, **params)

    @rule(symbol=symbols, side=sides, share=shares, size=sizes, how=times_in_force, mode=stp_modes, account=accounts)
    def limit(self, symbol: str, side: str, share: int, *, size: str, how: str, mode: str, account: str) -> None:
        """Place a limit order, which may meet the account's own ones."""
        params = {"timeInForce": how, "quantity": size, "price": self.price(symbol, share)}
        self.attempt(symbol, side, "LIMIT", account=account, selfTradePreventionMode=mode, **params)

    @rule(symbol=symbols, side=sides, tick=st.integers(-4, 4), mode=stp_modes, account=accounts, size=sizes)
    def quarrel(self, symbol: str, side: str, tick: int, *, mode: str, account: str, size: str) -> None:
        """Place an order between the market's quotes, where an account mostly meets itself."""
        price = self.exchange.last_price(symbol) + tick * Decimal("0.01")
        params: dict[str, object] = {"timeInForce": "GTC", "quantity": size, "price": price}
        if size == "3":
            params["icebergQty"] = "0.7"
        self.attempt(symbol, side, "LIMIT", account=account, selfTradePreventionMode=mode, **params)

    @rule(symbol=symbols, side=sides, is_primary=st.booleans(), depth=st.integers(0, 12), bound=st.booleans())
    def pegged(self, symbol: str, side: str, depth: int, *, is_primary: bool, bound: bool) -> None:
        """Place a pegged order, which may find no level."""
        params: dict[str, object] = {"pegPriceType": "PRIMARY_PEG" if is_primary else "MARKET_PEG"}
        if depth:
            params |= {"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": depth}
        if bound:
            params["price"] = self.price(symbol, 3)
        self.attempt(symbol, side, "LIMIT", account="main", timeInForce="GTC", quantity="0.5", **params)

    @rule(symbol=symbols, side=sides, share=shares, is_profit=st.booleans(), depth=st.integers(1, 12))
    def pegged_stop(self, symbol: str, side: str, share: int, depth: int, *, is_profit: bool) -> None:
        """Place a stop whose limit is pegged when it triggers."""
        kind = "TAKE_PROFIT_LIMIT" if is_profit else "STOP_LOSS_LIMIT"
        params: dict[str, object] = {"pegPriceType": "PRIMARY_PEG"}
        params |= {"pegOffsetType": "PRICE_LEVEL", "pegOffsetValue": depth}
        params |= {"timeInForce": "GTC", "quantity": "0.5", "stopPrice": self.price(symbol, share)}
        self.attempt(symbol, side, kind, account="main", **params)

    @rule(symbol=symbols, side=sides, share=shares)
    def iceberg(self, symbol: str, side: str, share: int) -> None:
        """Place an iceberg order."""
        price = self.price(symbol, share)
        self.attempt(symbol, side, "LIMIT", timeInForce="GTC", quantity="1", icebergQty="0.3", price=price)

    @rule(symbol=symbols, side=sides, size=sizes, by_money=st.booleans(), mode=stp_modes, account=accounts)
    def market(self, symbol: str, side: str, size: str, *, mode: str, account: str, by_money: bool) -> None:
        """Place a market order by quantity or by quote amount."""
        amount = {"quoteOrderQty": "7777"} if by_money else {"quantity": size}
        self.attempt(symbol, side, "MARKET", account=account, selfTradePreventionMode=mode, **amount)

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

    @rule(
        symbol=symbols,
        near=st.integers(1, 40),
        far=st.integers(1, 40),
        kind=st.sampled_from(["oco", "otoco", "opoco"]),
        peg=st.booleans(),
    )
    def pair(self, symbol: str, near: int, far: int, kind: str, *, peg: bool) -> None:
        """Place an OCO, or an OTOCO or OPOCO around it."""
        prefix = "" if kind == "oco" else "pending"
        above, below = ("pendingAbove", "pendingBelow") if prefix else ("above", "below")
        params: dict[str, object] = {
            f"{above}Type": "LIMIT_MAKER",
            f"{above}Price": self.price(symbol, near),
            f"{below}Type": "STOP_LOSS",
            f"{below}StopPrice": self.price(symbol, -far),
        }
        if peg:
            del params[f"{above}Price"]
            params |= {f"{above}PegPriceType": "PRIMARY_PEG"}
        if prefix:
            params |= self.working(symbol, 5 - far // 2) | {"pendingSide": "SELL"}
            if kind == "otoco":
                params["pendingQuantity"] = "0.3"
        else:
            params |= {"side": "SELL", "quantity": "0.3"}
        self.attempt_list(kind, symbol, params)

    @rule(symbol=symbols, share=shares, kind=st.sampled_from(["LIMIT", "MARKET"]), fixed=st.booleans())
    def oto(self, symbol: str, share: int, kind: str, *, fixed: bool) -> None:
        """Place an OTO or OPO whose pending leg sells what the working one bought."""
        params = self.working(symbol, share) | {"pendingType": kind, "pendingSide": "SELL"}
        if fixed:
            params["pendingQuantity"] = "0.3"
        if kind == "LIMIT":
            params |= {"pendingTimeInForce": "GTC", "pendingPrice": self.price(symbol, share + 5)}
        self.attempt_list("oto" if fixed else "opo", symbol, params)

    def working(self, symbol: str, share: int) -> dict[str, object]:
        """Return the parameters of a working BUY."""
        return {
            "workingType": "LIMIT",
            "workingSide": "BUY",
            "workingTimeInForce": "GTC",
            "workingPrice": self.price(symbol, share),
            "workingQuantity": "0.3",
            "selfTradePreventionMode": "EXPIRE_MAKER" if share % 2 else "DECREMENT",
        }

    def attempt_list(self, kind: str, symbol: str, params: dict[str, object]) -> None:
        """Place a list that may be refused."""
        with may_be_refused(*REFUSED):
            self.exchange.place_list(kind, symbol, account="main", **params)

    @rule(symbol=symbols, share=shares)
    def move(self, symbol: str, share: int) -> None:
        """Move the market."""
        self.exchange.set_price(symbol, self.price(symbol, share))

    @rule(seconds=st.integers(1, 5))
    def wait(self, seconds: int) -> None:
        """Advance the clock while one of the symbols walks."""
        self.exchange.advance(seconds)

    @rule(symbol=symbols, side=sides, share=st.integers(-20, 20), size=sizes)
    def counterparty(self, symbol: str, side: str, share: int, size: str) -> None:
        """Trade into the book from the market account."""
        price = self.price(symbol, share)
        self.attempt(symbol, side, "LIMIT", account="market", timeInForce="IOC", quantity=size, price=price)

    @rule(
        number=st.integers(0, 30),
        size=st.sampled_from(["0.1", "0.2"]),
        mode=stp_modes,
        account=accounts | st.just("market"),
    )
    def nibble(self, number: int, size: str, mode: str, account: str) -> None:
        """Take a part of some order that rests in the book; its own account may be the one that does."""
        orders = [order for name in SYMBOLS for order in self.main.open[name].values() if order.is_working]
        if orders:
            order = orders[number % len(orders)]
            side = "SELL" if order.side == "BUY" else "BUY"
            params = {"timeInForce": "IOC", "quantity": size, "price": order.limit, "selfTradePreventionMode": mode}
            maker = self.exchange._app.maker
            maker.withdraw(order.symbol)  # so that no better quote is in the way
            self.attempt(order.symbol.name, side, "LIMIT", account=account, **params)
            maker.lay(order.symbol, self.exchange.last_price(order.symbol.name))

    @rule(number=st.integers(0, 30))
    def cancel_one(self, number: int) -> None:
        """Cancel some open order, and with it its list."""
        rows = self.exchange.open_orders()
        if rows:
            row: Any = rows[number % len(rows)]
            engine = self.exchange._engine
            engine.cancel(self.main, engine.symbol(row["symbol"]), row["orderId"], None)

    @rule(number=st.integers(0, 5))
    def cancel_list(self, number: int) -> None:
        """Cancel some open list by its id: none of its legs is live after."""
        lists = list(self.main.open_lists.values())
        if lists:
            order_list = lists[number % len(lists)]
            engine = self.exchange._engine
            engine.cancel_list(self.main, order_list.symbol, order_list.order_list_id, None)
            assert order_list.is_done
            assert not any(leg.is_live for leg in order_list.legs)

    @rule(number=st.integers(0, 30), share=shares, goes_on=st.booleans(), only=st.sampled_from([None, "NEW"]))
    def replace(self, number: int, share: int, *, goes_on: bool, only: str | None) -> None:
        """Replace some open order, of which either half may fail."""
        rows = self.exchange.open_orders()
        if not rows:
            return
        row: Any = rows[number % len(rows)]
        params = {"symbol": row["symbol"], "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.5"}
        params |= {"price": self.price(row["symbol"], share), "cancelOrderId": row["orderId"]}
        params |= {"cancelReplaceMode": "ALLOW_FAILURE" if goes_on else "STOP_ON_FAILURE"}
        if only:
            params["cancelRestrictions"] = f"ONLY_{only}"
        with may_be_refused(-1013, -2010, -2021, -2022):
            self.exchange._direct("cancelReplace", "main", params)

    @rule(number=st.integers(0, 30), left=st.sampled_from(["0.9", "0.5", "0.1"]))
    def amend(self, number: int, left: str) -> None:
        """Lower the quantity of some open order, which may not allow it."""
        rows = self.exchange.open_orders()
        if rows:
            row: Any = rows[number % len(rows)]
            quantity = (Decimal(row.get("origQty", 1)) * Decimal(left)).quantize(Decimal("0.01"))
            with may_be_refused(-1013, -2038):
                self.exchange.amend(row["symbol"], row["orderId"], quantity)

    @rule(number=st.integers(0, 30))
    def withdraw(self, number: int) -> None:
        """Have the exchange end some open order."""
        rows = self.exchange.open_orders()
        if rows:
            row: Any = rows[number % len(rows)]
            self.exchange.withdraw(row["symbol"], row["orderId"])

    @rule(symbol=symbols, number=st.integers(0, 30))
    def halt(self, symbol: str, number: int) -> None:
        """Halt a symbol for a moment: placements are refused, cancels go through."""
        self.exchange.set_status(symbol, "HALT")
        with pytest.raises(Refusal, match="Market is closed"):
            self.exchange.place(symbol, "BUY", "MARKET", quantity="1")
        self.cancel_one(number)
        self.exchange.set_status(symbol, "TRADING")

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
        """Trading creates and destroys nothing but the commission."""
        assert self.money() == self.funds

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
        for account in self.accounts():
            for name in SYMBOLS:
                for order in account.orders[name].values():
                    self.check_life(order)
                    assert order.is_live == (order.order_id in account.open[name])
        for order_list in self.main.lists.values():
            assert order_list.is_done == order_list.has_finished(Dialect())
            assert order_list.is_done != (order_list.order_list_id in self.main.open_lists)
            check_legs(order_list)

    def accounts(self) -> list[Any]:
        """Return the accounts whose orders are watched."""
        return [self.main, self.exchange._engine.account("partner")]

    def check_life(self, order: Order) -> None:
        """Check one order's events, amounts and price."""
        assert order.history[0].status in {"NEW", "PENDING_NEW"}
        for earlier, later in pairwise(order.history):
            if later.cause == "amend":
                assert later.status == {"TRIGGERED": "NEW"}.get(earlier.status, earlier.status)
            elif later.cause == "prevent" and later.status not in TERMINAL:
                assert later.status in {"NEW", "PARTIALLY_FILLED"}
            else:
                assert later.status in FOLLOWS[earlier.status] | (
                    {"TRIGGERED"} if earlier.cause == "prevent" else set()
                )
        assert order.executed == sum(fill.quantity for fill in order.fills or ())
        assert order.remaining >= 0
        if order.is_live:
            assert order.remaining or order.awaits_quantity
        if order.status in {"FILLED", "EXPIRED_IN_MATCH"}:
            assert not order.remaining
        assert (order.expiry_reason is not None) == (order.status == "EXPIRED")
        assert (order.prevented > 0) <= (order.prevented_match_id is not None)
        if not order.is_live:
            assert not order.locked
        if order.is_pegged and order.is_working:
            # Fixed from the moment it works (rule: pegged-orders).
            assert (
                order.limit
                == order.pegged_price
                == self.pegs.setdefault((order.symbol.name, order.order_id), order.limit)
            )


def check_legs(order_list: OrderList) -> None:
    """Check that the legs of a list agree with each other (rule: oco, oto)."""
    working, pair = order_list.working, order_list.pair
    others = [leg for leg in order_list.legs if leg is not working]
    if working is not None:
        assert working.status != "PENDING_NEW"
        is_waiting = [leg.status == "PENDING_NEW" for leg in others]
        assert all(is_waiting) if working.is_live else not any(is_waiting)
        for leg in others:
            if working.status in {"EXPIRED", "EXPIRED_IN_MATCH"}:
                assert leg.expiry_reason == "OTO_PHASE_ONE_EXPIRED"
            if leg.awaits_quantity and leg.is_live:
                assert leg.received <= working.executed
                assert (leg.received > 0) == (working.executed > 0)
    if pair is not None:
        if order_list.decided:
            assert sum(leg.expiry_reason == "OCO_TRIGGER" for leg in pair) == 1
        else:
            assert pair[0].status == pair[1].status
            assert not pair[0].executed
            assert not pair[1].executed


LONG = "NBEXT_LONG_TESTS" in os.environ
TestTrading = Trading.TestCase
TestTrading.settings = settings(
    max_examples=2000 if LONG else 200,
    stateful_step_count=80 if LONG else 50,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
if LONG:
    TestTrading = pytest.mark.timeout(3600)(TestTrading)
