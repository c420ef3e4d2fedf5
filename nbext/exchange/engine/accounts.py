"""Accounts: balances, orders, and everything an account may query later."""

from __future__ import annotations

from collections import defaultdict, deque
from copy import copy
from dataclasses import dataclass
from decimal import ROUND_HALF_UP, Decimal
from functools import partial
from typing import TYPE_CHECKING

from nbext.exchange.engine import refusals
from nbext.exchange.engine.orders import Fill, Order, OrderList
from nbext.exchange.engine.tickets import ZERO

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from nbext.exchange.engine.limits import OrderCount


KEPT_ORDERS = 100_000
KEPT_STATES = 1_000  # of an account whose past is kept
COMMISSION_GRID = Decimal("0.00000001")  # the commission precision of every asset


@dataclass(slots=True)
class Balance:
    """What an account has of one asset."""

    free: Decimal = ZERO
    locked: Decimal = ZERO


class OpenOrders(dict[int, Order]):
    """Open orders of an account on one symbol by id, ascending, with the counts that filters need."""

    def __init__(self) -> None:
        super().__init__()
        self.algo = 0
        self.iceberg = 0
        self.lists = 0

    def add(self, order: Order) -> None:
        """Add an order that has just been accepted."""
        self[order.order_id] = order
        self.algo += order.is_stop
        self.iceberg += order.iceberg_quantity is not None

    def drop(self, order: Order) -> None:
        """Remove an order that has ended."""
        del self[order.order_id]
        self.algo -= order.is_stop
        self.iceberg -= order.iceberg_quantity is not None


class Account:
    """One account: several API keys may act for it.

    Parameters
    ----------
    name : str
        Name inside this exchange, for example ``main``.
    uid : int
        Number shown by ``GET /account``.
    funds : Mapping of str to Decimal
        Free balances at the start.
    order_count : OrderCount
        The account's unfilled order count (rule: order-count).
    kept_orders : int
        How many orders that have ended can still be looked up, and how many trades on each symbol.
    """

    def __init__(
        self,
        name: str,
        uid: int,
        funds: Mapping[str, Decimal],
        order_count: OrderCount,
        kept_orders: int = KEPT_ORDERS,
    ) -> None:
        self.name = name
        self.uid = uid
        self.order_count = order_count
        self.update_time = -1
        self.maker_rate = ZERO
        self.taker_rate = ZERO
        self.buyer_rate = ZERO
        self.seller_rate = ZERO
        self.bnb_discount: Decimal | None = None  # share taken off for paying in BNB; None when that is off
        self.trade_group_id = -1
        self.balances = {asset: Balance(amount) for asset, amount in funds.items()}
        self.touched: set[Order] | None = None  # orders changed in this step, while the past is kept
        self.past: deque[tuple[int, Account]] = deque(maxlen=KEPT_STATES)
        self._kept_orders = kept_orders
        self._start_records()

    def _start_records(self) -> None:
        self.open: defaultdict[str, OpenOrders] = defaultdict(OpenOrders)
        self.orders: defaultdict[str, dict[int, Order]] = defaultdict(dict)
        self.fills: defaultdict[str, deque[Fill]] = defaultdict(partial(deque, maxlen=self._kept_orders))
        self.lists: dict[int, OrderList] = {}
        self.open_lists: dict[int, OrderList] = {}
        self._ended: deque[Order] = deque()  # those that can still be looked up
        self._by_client_id: dict[tuple[str, str], Order] = {}
        self._open_client_ids: dict[tuple[str, str], Order] = {}
        self._lists_by_client_id: dict[str, OrderList] = {}

    def without_records(self) -> Account:
        """Return the account with the balances of this moment, and without orders, lists and trades."""
        bare = copy(self)
        bare.balances = {asset: copy(balance) for asset, balance in self.balances.items()}
        bare.touched = None
        bare._start_records()  # noqa: SLF001 - its own class
        return bare

    def check_funds(self, orders: Iterable[Order]) -> None:
        """Refuse orders that need more than what is free."""
        needs: defaultdict[str, Decimal] = defaultdict(Decimal)
        for order in orders:
            needs[order.lock_asset] += order.need
        for asset, total in needs.items():
            if self.balances[asset].free < total:
                raise refusals.insufficient_balance()

    def hold(self, orders: Collection[Order]) -> None:
        """Lock what these orders need, all or nothing."""
        self.check_funds(orders)
        for order in orders:
            self.lock(order, order.lock_asset, order.need)

    def rehold(self, orders: Sequence[Order]) -> None:
        """Lock again what an order needs now, or the dearer one of a pair; on refusal nothing stays locked."""
        for order in orders:
            self.release(order)
        if orders:
            self.hold([max(orders, key=lambda order: order.need)])

    def lock(self, order: Order, asset: str, amount: Decimal) -> None:
        """Move free funds into an order's hold."""
        balance = self.balances[asset]
        balance.free -= amount
        balance.locked += amount
        order.locked += amount

    def release(self, order: Order) -> None:
        """Release the funds that an order still locks."""
        if order.locked:
            balance = self.balances[order.lock_asset]
            balance.free += order.locked
            balance.locked -= order.locked
            order.locked = ZERO

    def give_back(self, order: Order, quantity: Decimal) -> None:
        """Free what an order held for a quantity that it will not trade."""
        amount = min(order.locked, order.lock_price * quantity if order.side == "BUY" else quantity)
        self.lock(order, order.lock_asset, -amount)

    def trades_as(self, other: Account) -> bool:
        """Return whether a trade with the other account would be a self-trade (rule: self-trade-prevention)."""
        return self is other or -1 != self.trade_group_id == other.trade_group_id

    def commission(
        self,
        received: Decimal,
        asset: str,
        bnb_price: Callable[[str], Decimal | None],
        *,
        is_maker: bool,
        is_buyer: bool,
    ) -> tuple[Decimal, str]:
        """Return the commission on a fill and the asset it is paid in (rule: commission)."""
        rate = self.maker_rate if is_maker else self.taker_rate
        rate += self.buyer_rate if is_buyer else self.seller_rate
        if not rate:
            return ZERO, asset
        if self.bnb_discount is not None and (price := bnb_price(asset)):
            in_bnb = (received * rate * (1 - self.bnb_discount) / price).quantize(COMMISSION_GRID, ROUND_HALF_UP)
            if self.balances["BNB"].free >= in_bnb:
                return in_bnb, "BNB"
        return (received * rate).quantize(COMMISSION_GRID, ROUND_HALF_UP), asset

    def pay(self, order: Order, price: Decimal, quantity: Decimal) -> None:
        """Pay for a fill out of the order's hold, and free what a better price saved."""
        symbol = order.symbol
        if order.side == "BUY":
            spent = price * quantity
            held = order.lock_price * quantity if order.lock_price else spent
            got = quantity
            gain = symbol.base
        else:
            spent = held = quantity
            got = price * quantity
            gain = symbol.quote
        balance = self.balances[order.lock_asset]
        balance.locked -= held
        balance.free += held - spent
        order.locked -= held
        self.balances[gain].free += got

    def admit(self, order: Order) -> None:
        """Enter an accepted order into the account's records."""
        name = order.symbol.name
        self.open[name].add(order)
        self.orders[name][order.order_id] = order
        self._open_client_ids[name, order.own_id] = order
        self._by_client_id[name, order.own_id] = order

    def rename(self, order: Order, client_order_id: str) -> None:
        """Change the client id of an open order, and free the old one."""
        name = order.symbol.name
        del self._open_client_ids[name, order.own_id]
        if self._by_client_id.get((name, order.own_id)) is order:
            del self._by_client_id[name, order.own_id]
        order.own_id = client_order_id
        self._open_client_ids[name, client_order_id] = self._by_client_id[name, client_order_id] = order

    def admit_list(self, order_list: OrderList) -> None:
        """Enter an accepted order list into the account's records."""
        self.lists[order_list.order_list_id] = order_list
        self.open_lists[order_list.order_list_id] = order_list
        self._lists_by_client_id[order_list.client_order_id] = order_list
        self.open[order_list.symbol.name].lists += 1

    def show(self, order: Order) -> None:
        """Enter an order as it was at some moment, open or ended, into records of the past."""
        if order.is_live:
            self.admit(order)
            return
        name = order.symbol.name
        self.orders[name][order.order_id] = order
        for client_id in {order.own_id, order.current_id}:
            self._by_client_id[name, client_id] = order

    def show_list(self, order_list: OrderList) -> None:
        """Enter an order list as it was at some moment, open or ended, into records of the past."""
        self.admit_list(order_list)
        if order_list.is_done:
            self.dismiss_list(order_list)

    def dismiss(self, order: Order) -> None:
        """Remove an ended order from the open ones; it can still be looked up."""
        name = order.symbol.name
        self.open[name].drop(order)
        del self._open_client_ids[name, order.own_id]
        if order.is_quote:
            del self.orders[name][order.order_id], self._by_client_id[name, order.own_id]
            return
        if order.cancel_id is not None:
            self._by_client_id[name, order.cancel_id] = order
        self._ended.append(order)
        if len(self._ended) > self._kept_orders:
            self._forget(self._ended.popleft())

    def _forget(self, order: Order) -> None:
        """Forget an order, and a list with its last order: a bot may run all day."""
        name = order.symbol.name
        del self.orders[name][order.order_id]
        for client_id in {order.own_id, order.current_id}:
            if self._by_client_id.get((name, client_id)) is order:
                del self._by_client_id[name, client_id]
        order.prevented_matches = None  # which hold the orders of others
        order_list = order.order_list
        if order_list is not None and not any(leg.order_id in self.orders[name] for leg in order_list.legs):
            del self.lists[order_list.order_list_id]
            if self._lists_by_client_id.get(order_list.client_order_id) is order_list:
                del self._lists_by_client_id[order_list.client_order_id]

    def rename_list(self, order_list: OrderList, client_order_id: str) -> None:
        """Change the client id of a list, and free the old one."""
        if self._lists_by_client_id.get(order_list.client_order_id) is order_list:
            del self._lists_by_client_id[order_list.client_order_id]
        order_list.client_order_id = client_order_id
        self._lists_by_client_id[client_order_id] = order_list

    def dismiss_list(self, order_list: OrderList) -> None:
        """Remove a finished list from the open ones."""
        del self.open_lists[order_list.order_list_id]
        self.open[order_list.symbol.name].lists -= 1

    def is_open_id(self, symbol: str, client_order_id: str) -> bool:
        """Return whether an open order on the symbol uses this client id (rule: client-ids)."""
        return (symbol, client_order_id) in self._open_client_ids

    def is_open_list_id(self, client_order_id: str) -> bool:
        """Return whether an open order list uses this client id."""
        known = self._lists_by_client_id.get(client_order_id)
        return known is not None and not known.is_done

    def find(self, symbol: str, order_id: int | None, client_order_id: str | None) -> Order | None:
        """Find an order by its id, else by a client id that it has or had."""
        if order_id is not None:
            return self.orders[symbol].get(order_id)
        key = (symbol, client_order_id or "")
        # The id an order had before its cancel counts while no open order uses it (rule: old-id-lookup).
        return self._open_client_ids.get(key) or self._by_client_id.get(key)

    def find_list(self, order_list_id: int | None, client_order_id: str | None) -> OrderList | None:
        """Find an order list by its id, else by its client id."""
        if order_list_id is not None:
            return self.lists.get(order_list_id)
        return self._lists_by_client_id.get(client_order_id or "")
