"""Calls to an exchange without HTTP: place and change orders, move the market, set faults, read the truth."""

from __future__ import annotations

import os
from contextlib import contextmanager
from decimal import Decimal
from typing import TYPE_CHECKING, cast

from nbext.exchange.api import replies
from nbext.exchange.api.admission import Call, read
from nbext.exchange.api.endpoints import BY_NAME
from nbext.exchange.engine.limits import SECOND
from nbext.exchange.engine.symbols import STATUSES
from nbext.exchange.seeding import seed_orders

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange.api.app import App
    from nbext.exchange.api.faults import Faults
    from nbext.exchange.api.handlers import Handlers
    from nbext.exchange.api.replies import Report
    from nbext.exchange.dialect import Dialect
    from nbext.exchange.engine.engine import Engine

LEAST_PACE = 0.001  # seconds between two steps of a market
MAX_COMMISSION = Decimal("0.1")


class DirectCalls:
    """The calls of a `LocalExchange` that need no server.

    Parameters
    ----------
    app : App
        The exchange itself.
    """

    def __init__(self, app: App) -> None:
        self._app = app
        self._first_dialect = app.dialect
        self.pid = os.getpid()

    def place(self, symbol: str, side: str, type: str, *, account: str = "main", **params: object) -> Report:
        """Place an order without HTTP: same checks and reply as ``POST /api/v3/order``.

        Parameters
        ----------
        symbol, side, type : str
            As on the wire.
        account : str
            ``main``, or ``market`` for the counterparty, whose quotes step aside.
        **params
            Further parameters under their wire names, except times.

        Raises
        ------
        Refusal
            With the documented code and text.
        """
        return self._direct("order", account, {"symbol": symbol, "side": side, "type": type, **params})

    def place_list(self, kind: str, symbol: str, *, account: str = "main", **params: object) -> Report:
        """Place an order list without HTTP: same checks and reply as ``POST /api/v3/orderList/...``.

        Parameters
        ----------
        kind : str
            ``oco``, ``oto``, ``otoco``, ``opo`` or ``opoco``.
        symbol : str
            As on the wire.
        account : str
            Account to place it for.
        **params
            Further parameters under their wire names.
        """
        if kind not in {"oco", "oto", "otoco", "opo", "opoco"}:
            raise ValueError("kind must be oco, oto, otoco, opo or opoco")
        return self._direct(kind, account, {"symbol": symbol, **params})

    def amend(
        self,
        symbol: str,
        order_id: int,
        quantity: Decimal | str | float,
        *,
        client_order_id: str | None = None,
        account: str = "main",
    ) -> str:
        """Lower the quantity of an open order, and return its new client id.

        The order keeps its id and its place in the book (rule: amendments); of an OCO both orders
        shrink. The endpoint itself is not served, and ``amendAllowed`` says so.

        Parameters
        ----------
        symbol, order_id : str, int
            Which order.
        quantity : Decimal, str or float
            The new quantity: less than before, and more than what is filled.
        client_order_id : str, optional
            The new client id, which may be the present one; generated if left out.
        account : str
            Account it belongs to.

        Raises
        ------
        Refusal
            If it is not open, or cannot be amended like this.
        """
        with self._step("amend()"):
            engine = self._engine
            amount = Decimal(str(quantity))
            order = engine.amend(engine.account(account), engine.symbol(symbol), order_id, amount, client_order_id)
            return order.own_id

    def withdraw(self, symbol: str, order_id: int, *, account: str = "main") -> None:
        """End an open order as the exchange may for its own reasons: EXPIRED, with EXCHANGE_CANCELED.

        The other order of an OCO expires too (OCO_TRIGGER), and so do orders waiting for it (OTO_PHASE_ONE_EXPIRED), or
        the one it waits for.

        Parameters
        ----------
        symbol, order_id : str, int
            Which order.
        account : str
            Account it belongs to.

        Raises
        ------
        Refusal
            If it is not open.
        """
        with self._step("withdraw()"):
            engine = self._engine
            engine.withdraw(engine.account(account), engine.symbol(symbol), order_id)

    def seed_orders(self) -> None:
        """Place a realistic mixture of orders on BTCUSDT and ETHUSDT, one of them partly filled."""
        with self._step("seed_orders()"):
            seed_orders(self)

    def set_price(self, symbol: str, price: Decimal | str | float) -> None:
        """Move the market to a price: it fills the orders in between, and triggers follow."""
        with self._step("set_price()"):
            wanted = Decimal(str(price))
            if wanted <= 0 or wanted % self._engine.symbol(symbol).tick:
                raise ValueError(
                    f"the price of {symbol} must be a positive multiple of {self._engine.symbol(symbol).tick}"
                )
            self._app.maker.set_price(self._engine.symbol(symbol), wanted)

    def start_market(self, symbol: str, *, every: float = 1.0, swing: float = 0.001, realtime: bool = False) -> None:
        """Start a random walk of a price, which `advance` then follows; the same seed gives the same walk.

        Parameters
        ----------
        symbol : str
            Symbol that moves.
        every : float
            Seconds between two steps.
        swing : float
            Typical size of a step, as a share of the price.
        realtime : bool
            Move by itself as time passes, while the exchange is served: limit orders fill and stops trigger.
        """
        with self._step("start_market()"):
            if not (every >= LEAST_PACE and 0 < swing <= 1):
                raise ValueError(f"every must be at least {LEAST_PACE} (seconds), and swing between 0 and 1")
            share = Decimal(str(swing))
            self._app.maker.start(
                self._engine.symbol(symbol), every=round(every * SECOND), swing=share, realtime=realtime
            )

    def stop_market(self, symbol: str) -> None:
        """Stop the random walk of a price where it is."""
        with self._step("stop_market()"):
            self._app.maker.stop(self._engine.symbol(symbol))

    def advance(self, seconds: float) -> None:
        """Move the exchange's clock forward, and with it every market that was started."""
        if seconds < 0:
            raise ValueError("seconds must not be negative")
        with self._step("advance()"):
            engine = self._engine
            until = engine.now() + round(seconds * SECOND)
            self._app.maker.walk(until, lambda moment: self._app.advance(max(0, moment - engine.now())))

    def set_status(self, symbol: str, status: str) -> None:
        """Open or halt a symbol: nothing trades unless it is ``TRADING``; cancels always work.

        Parameters
        ----------
        symbol : str
            As on the wire.
        status : str
            ``TRADING``, ``HALT``, ``BREAK``, ``CANCEL_ONLY`` or ``END_OF_DAY``.
        """
        if status not in STATUSES:
            raise ValueError(f"status must be one of {', '.join(STATUSES)}")
        with self._step("set_status()"):
            self._engine.symbol(symbol).status = status

    def set_commission(
        self,
        *,
        maker: Decimal | str | float = 0,
        taker: Decimal | str | float = 0,
        buyer: Decimal | str | float = 0,
        seller: Decimal | str | float = 0,
        bnb_discount: Decimal | str | float | None = None,
        account: str = "main",
    ) -> None:
        """Charge commission from now on. Without this call there is none.

        Parameters
        ----------
        maker, taker, buyer, seller : Decimal, str or float
            Shares of what a fill brings; one of the first two is added to one of the last two.
        bnb_discount : Decimal, str or float, optional
            Pay in BNB while there is enough, at this discount; None for the asset received.
        account : str
            Account that pays.
        """
        rates = [Decimal(str(rate)) for rate in (maker, taker, buyer, seller)]
        discount = None if bnb_discount is None else Decimal(str(bnb_discount))
        if not all(0 <= rate <= MAX_COMMISSION for rate in rates) or not 0 <= (discount or 0) <= 1:
            raise ValueError(f"rates must be between 0 and {MAX_COMMISSION}, and the discount between 0 and 1")
        with self._step("set_commission()"):
            charged = self._engine.account(account)
            charged.maker_rate, charged.taker_rate, charged.buyer_rate, charged.seller_rate = rates
            charged.bnb_discount = discount

    def set_trade_group(self, group: int, account: str = "main") -> None:
        """Put an account into a trade group, which self-trade prevention treats as one account; -1 for none."""
        with self._step("set_trade_group()"):
            self._engine.account(account).trade_group_id = group

    def reset(self, *, dialect: Dialect | None = None) -> None:
        """Go back to the seeded start: same prices, no orders, no faults. Keys and their accounts stay.

        Order ids begin again, too. Generated client ids are new, and an order with a client id of the caller's gets an
        order id that was never given out. So no order has both ids of an earlier one, and ids kept from before cancel
        nothing.

        Parameters
        ----------
        dialect : Dialect, optional
            The dialect from now on; the original one if left out.
        """
        with self._step("reset()"):
            self._app.open(dialect or self._first_dialect)

    def last_price(self, symbol: str) -> Decimal:
        """Return the price of the last trade."""
        with self._step():
            return self._engine.last_price(symbol)

    def open_orders(self, symbol: str | None = None) -> list[Report]:
        """Return the main account's open orders as the engine knows them."""
        with self._step():
            params = {} if symbol is None else {"symbol": symbol}
            call = Call(BY_NAME["openOrders"], dict(params), "main", can_trade=True, unit=replies.MILLISECOND, weight=0)
            rows = self._handlers.answer(call)
            return cast("list[Report]", rows)

    @property
    def dialect(self) -> Dialect:
        """What the exchange does where the API's documentation is silent."""
        return self._app.dialect

    @property
    def faults(self) -> Faults:
        """Faults to inject; see `Faults`."""
        self._require_own()
        return self._app.faults

    @property
    def is_untouched(self) -> bool:
        """Whether no order has been placed on the main account since the start, or since `reset`."""
        return not any(list(self._engine.account("main").orders.values()))

    def history(self, order_id: int, symbol: str) -> list[dict[str, object]]:
        """Return what happened to an order, in sequence, regardless of the answers.

        Each event has ``time`` (milliseconds, by the engine's clock), ``at`` (seconds of true time),
        ``status``, ``executedQty``, ``cause`` (place, release, fill, prevent, trigger, amend, cancel or expire), ``by``
        (the call that led to it) and ``request`` (that call's number in `requests`, None for a direct one).

        Raises
        ------
        LookupError
            If no account has such an order.
        """
        self._report_errors()
        return self._app.history(order_id, symbol)

    def orders(
        self, symbol: str | None = None, *, at: float | None = None, account: str = "main"
    ) -> list[dict[str, object]]:
        """Return the exchange's own record of every order, regardless of the replies.

        One dict for each order, by symbol and id, with every field that a reply can carry under its wire name, in one
        spelling for all dialects: numbers of eight decimals as text, times in milliseconds by the engine's clock, None
        for what the order does not have. ``origClientOrderId`` is the id that its owner gave it, ``clientOrderId`` that
        of the cancel, None if there was none. ``list`` has ``orderListId``, ``listClientOrderId``, ``contingencyType``,
        ``isDone``, ``transactionTime`` and ``orderIds``; ``history`` is that of `history`.

        Parameters
        ----------
        symbol : str, optional
            Only its orders.
        at : float, optional
            As they were at this moment: `time.time`, plus what `advance` has added. Orders placed later are left out.
            Only for an exchange made with ``keeps_past=True``. The exchange's clocks may be off (`Faults.skew`,
            `Dialect.engine_clock`); this moment is not.
        account : str
            Whose orders.

        Raises
        ------
        ValueError
            If the past has not been kept.
        """
        self._report_errors()
        return self._app.orders(symbol, at, account)

    def requests(
        self, method: str | None = None, path: str | None = None, symbol: str | None = None
    ) -> list[dict[str, object]]:
        """Return the requests that arrived below ``/api``, oldest first; of very many, the latest 100,000.

        Each has ``number``, ``time`` (milliseconds), ``method``, ``path``, ``symbol``, ``status`` (None: no answer was
        sent, or not yet), ``executed`` (whether the engine carried it out) and ``fault`` (the kind it met).

        Parameters
        ----------
        method, path, symbol : str, optional
            Only requests like this; ``"openOrders"`` is short for its whole path.
        """
        self._report_errors()
        return self._app.requests(method, path, symbol)

    @contextmanager
    def _step(self, cause: str = "a direct call") -> Iterator[None]:
        """Hold the engine for one direct call, and raise the errors of earlier requests."""
        self._report_errors()
        with self._app.step(cause):
            yield

    def _direct(self, name: str, account: str, params: dict[str, object]) -> Report:
        endpoint = BY_NAME[name]
        with self._step(f"place_list({name})" if endpoint.orders > 1 else "place()"):
            if account not in self._engine.accounts:
                raise ValueError(f"there is no account {account!r}; add_key(account=...) opens one")
            texts = {key: _wire_text(value) for key, value in params.items()}
            call = Call(
                endpoint,
                read(endpoint, texts, is_signed=False),
                account,
                can_trade=True,
                unit=replies.MILLISECOND,
                weight=0,
            )
            reply = self._handlers.answer(call)
        return cast("Report", reply)

    def _require_own(self) -> None:
        if self.pid != os.getpid():
            raise RuntimeError(
                f"this exchange belongs to process {self.pid}, and this process is a fork: a call here would change "
                "only its copy. Make the call in that process, or send requests to the exchange's url."
            )

    def _report_errors(self) -> None:
        self._require_own()
        errors = self._app.errors
        if errors:
            first = errors[0]
            errors.clear()
            raise RuntimeError("a request met an error of the exchange itself") from first

    @property
    def _engine(self) -> Engine:
        return self._app.engine

    @property
    def _handlers(self) -> Handlers:
        return self._app.handlers


def _wire_text(value: object) -> str:
    """Write a parameter as it would be sent; numbers never in scientific notation."""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{Decimal(str(value)):f}" if isinstance(value, (float, Decimal)) else str(value)
