"""Hands on an exchange: send anything and keep each answer, place small orders far from the market, and clean up.

Everything goes through one `SpotClient`, also what nbext's own functions send, so `Hands.answers` has it all.
"""

from __future__ import annotations

import json
import secrets
import time
from decimal import Decimal
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, NamedTuple, Self

from nbext.errors import NbextError, RejectedError
from nbext.orders import is_open, outcome, plain
from nbext.rehearsal.findings import Answer, Unplayable
from nbext.rehearsal.sizes import Sizes, text
from nbext.spot.answers import OUTCOME_UNKNOWN, identifier
from nbext.spot.client import SpotClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from nbext.profiles import Endpoint
    from nbext.spot.parameters import Value

PREFIX = "nbext-rehearsal-"
"""Every client id of a rehearsal begins with this."""
KINDS = ("LIMIT", "STOP_LOSS_LIMIT", "trailing stop", "iceberg", "OCO", "OTO", "OTOCO", "OPO")
_FLAGS = {
    "trailing stop": ("allowTrailingStop",),
    "iceberg": ("icebergAllowed",),
    "OCO": ("ocoAllowed",),
    "OTO": ("otoAllowed",),
    "OTOCO": ("otoAllowed", "ocoAllowed"),
    "OPO": ("opoAllowed", "otoAllowed"),
}
_TYPES = {
    "STOP_LOSS_LIMIT": ("STOP_LOSS_LIMIT",),
    "trailing stop": ("STOP_LOSS_LIMIT",),
    "OCO": ("LIMIT_MAKER", "STOP_LOSS_LIMIT"),
    "OTOCO": ("LIMIT_MAKER", "STOP_LOSS_LIMIT"),
}
_LONGEST_WAIT = 125.0
_LONGEST_LAG = 60.0  # reads that lag by 36 s have been reported
_MAY_ARRIVE = 16.0  # the usual recv window, and what the exchange takes at most (API docs, "General API Information")
_SHARE = 2  # of each limit, one part in so many is used at most


class Placed(NamedTuple):
    """An order of this rehearsal, as it was asked for.

    Attributes
    ----------
    kind : str
        One of `KINDS`.
    number : int
        Its order id.
    own_id : str
        Its client order id.
    list_number : int
        Its order list's id; -1 for a single order.
    list_id : str
        Its order list's client id.
    """

    kind: str
    number: int
    own_id: str
    list_number: int = -1
    list_id: str = ""

    @property
    def is_pending(self) -> bool:
        """Whether it waits for another order to be filled."""
        return self.kind in {"OTO", "OTOCO", "OPO"} and not self.own_id.endswith("-a")


class _Recording(SpotClient):
    """A client that keeps every answer, whoever asked."""

    answers: list[Answer]

    def request(self, method: str, path: str, params: Mapping[str, Value] | None = None, *, signed: bool = True) -> Any:
        sent_at, refused = self.now(), ""
        try:
            return super().request(method, path, params, signed=signed)
        except NbextError as error:
            refused = str(error)
            raise
        finally:
            heard = self._heard.answer
            raw = refused if heard is None or heard.body is None else heard.body.decode("utf-8", "replace")
            status, headers = (0, {}) if heard is None else (heard.status, heard.headers)
            asked = {name: value for name, value in (params or {}).items() if value is not None}
            self.answers.append(Answer(status, headers, _parsed(raw), raw, sent_at, self.now(), (method, path, asked)))


class Hands:
    """What a rehearsal does to an exchange on one symbol.

    Parameters
    ----------
    endpoint : Endpoint
        Where, and with which key.
    symbol : str
    say : callable
        Takes each line for the user.

    Attributes
    ----------
    client : SpotClient
        For nbext's own functions; what it sends is in `answers`, too.
    answers : list of Answer
        Every answer so far, in the order in which they came.
    info : Mapping
        The symbol's entry in ``GET /api/v3/exchangeInfo``.
    placed : dict of int to Placed
        The orders of this rehearsal, by order id.
    not_played : dict of str to str
        Kinds of orders that could not be placed, and why.
    """

    def __init__(self, endpoint: Endpoint, symbol: str, say: Callable[[str], None] = lambda _: None) -> None:
        self.symbol, self._say = symbol, say
        self.answers: list[Answer] = []
        self.client = self._client(endpoint)
        self._endpoint = endpoint
        self.info: Mapping[str, Any] = {}
        self.placed: dict[int, Placed] = {}
        self.not_played: dict[str, str] = {}
        self.prefix = f"{PREFIX}{secrets.token_hex(3)}-"
        self._sizes = Sizes({"filters": []}, Decimal(1), Decimal(1))
        self._free: dict[str, Decimal] = {}
        self._limits: list[Mapping[str, Any]] = []
        self._numbers = 0
        # Client ids of orders that may have been placed, and until when that may still happen.
        self._unsure: dict[str, float] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()

    def _client(self, endpoint: Endpoint, key: str | None = None) -> SpotClient:
        url, profile = endpoint.base_url, endpoint.profile
        if key is None:
            client = _Recording(url, profile=profile, credential=endpoint.credential)
        else:
            client = _Recording(url, profile=profile, api_key=key, secret_key=secrets.token_hex(32))
        client.answers = self.answers
        return client

    def send(self, method: str, path: str, *, signed: bool = True, key: str | None = None, **parameters: Any) -> Answer:
        """Send a request to any endpoint, and return its answer, whatever it is.

        Waits while the exchange asks to wait, and sends again what it refused for that reason.

        Parameters
        ----------
        method, path : str
        signed : bool
        key : str, optional
            Another API key, which the exchange is to refuse.
        **parameters
            By wire name.

        Raises
        ------
        Unplayable
            The exchange asks to wait for longer than two minutes.
        """
        client = self.client if key is None else self._client(self._endpoint, key)
        client.clock_offset = self.client.clock_offset
        for _ in range(3):
            self._wait()
            try:
                client.request(method, path, parameters, signed=signed)
            except NbextError as error:
                if isinstance(error, RejectedError) and client.held_for:
                    continue
            break
        if client is not self.client:
            client.close()
        return self.answers[-1]

    def read(self, path: str, *, signed: bool = True, **parameters: Any) -> Any:
        """Return the body of a GET that has to succeed.

        Raises
        ------
        Unplayable
            It did not.
        """
        answer = self.send("GET", path, signed=signed, **parameters)
        if answer.status != HTTPStatus.OK or answer.body is None:
            raise Unplayable(f"GET {path} did not succeed: {answer.raw[:200] or f'HTTP {answer.status}'}")
        return answer.body

    def _wait(self) -> None:
        """Stay far below every limit, and wait for as long as the exchange asks to."""
        if (held := self.client.held_for) > _LONGEST_WAIT:
            raise Unplayable(f"the exchange asks to wait for {held:.0f} s. Try again after that.")
        if held:
            self._say(f"waiting {held:.0f} s, because the exchange asks to")
            time.sleep(held)
        used = self.answers[-1].headers if self.answers else {}
        for limit in self._limits:
            unit, seconds = {"SECOND": ("S", 1), "MINUTE": ("M", 60)}.get(limit["interval"], ("", 0))
            name = "X-MBX-USED-WEIGHT" if limit["rateLimitType"] == "REQUEST_WEIGHT" else "X-MBX-ORDER-COUNT"
            count, span = used.get(f"{name}-{limit['intervalNum']}{unit}", ""), limit["intervalNum"] * seconds
            if span and count.isdecimal() and int(count) >= limit["limit"] // _SHARE:
                rest = span - self.client.now() / 1000 % span
                self._say(f"waiting {rest:.0f} s, to stay below half of the exchange's limits")
                time.sleep(rest)

    def look_around(self) -> None:
        """Measure the clock, and read the symbol's filters, the market and the balances.

        Raises
        ------
        Unplayable
            The exchange did not tell, or the symbol does not trade.
        """
        try:
            self.client.measure_clock_offset()
        except NbextError as error:
            raise Unplayable(str(error)) from None
        info = self.read("/api/v3/exchangeInfo", signed=False, symbol=self.symbol)
        self.info = info["symbols"][0]
        self._limits = [each for each in info.get("rateLimits", ()) if each["rateLimitType"] != "RAW_REQUESTS"]
        if self.info.get("status") != "TRADING":
            raise Unplayable(f"{self.symbol} does not trade now ({self.info.get('status')}). Name another symbol.")
        book = self.read("/api/v3/ticker/bookTicker", signed=False, symbol=self.symbol)
        found = [
            self.read("/api/v3/ticker/price", signed=False, symbol=self.symbol)["price"],
            self.read("/api/v3/avgPrice", signed=False, symbol=self.symbol)["price"],
            book["bidPrice"],
            book["askPrice"],
        ]
        prices = [price for each in found if (price := Decimal(each))]
        if not prices:
            raise Unplayable(f"{self.symbol} has no price yet. Name another symbol.")
        self._sizes = Sizes(self.info, min(prices), max(prices))
        account = self.read("/api/v3/account", omitZeroBalances="true")
        self._free = {each["asset"]: Decimal(each["free"]) for each in account["balances"]}

    def open_rows(self) -> list[dict[str, Any]]:
        """Return the account's open orders on the symbol, others' than this rehearsal's included."""
        return [dict(plain(row)) for row in self.read("/api/v3/openOrders", symbol=self.symbol)]

    def foreign(self) -> list[dict[str, Any]]:
        """Return the open orders on the symbol that are not this rehearsal's."""
        return [row for row in self.open_rows() if not self._is_mine(row)]

    def await_listed(self, placed: list[Placed], seconds: float = _LONGEST_LAG) -> None:
        """Wait until orders are listed as open, since reads may lag. Legs that wait for another need not be."""
        until, pause = time.monotonic() + seconds, 0.1
        wanted = {each.number for each in placed if not each.is_pending}
        while wanted - {row["orderId"] for row in self.open_rows()} and time.monotonic() < until:
            time.sleep(pause)
            pause = min(2 * pause, 5.0)

    def _is_mine(self, row: Mapping[str, Any]) -> bool:
        return row["orderId"] in self.placed or str(row.get("clientOrderId")).startswith(self.prefix)

    def place(self, kind: str, **changes: Any) -> list[Placed]:
        """Place one order or order list far from the market, as small as allowed.

        Parameters
        ----------
        kind : str
            One of `KINDS`.
        **changes
            Parameters to send besides the usual ones, or instead of them, by wire name; None leaves one out.

        Returns
        -------
        list of Placed
            Its orders; none if it could not be placed, and then `not_played` has the reason.
        """
        if reason := self._not_allowed(kind):
            self.not_played[kind] = reason
            return []
        self._numbers += 1
        # Either side in turn, as far as there is money for it.
        sides = ("BUY", "SELL") if self._numbers % 2 else ("SELL", "BUY")
        for side in sides if kind != "OPO" else ("BUY",):
            path, parameters, cost, asset = self._draw(kind, side)
            if self._free.get(asset, Decimal(0)) < cost:
                continue
            placed = self._carry_out(kind, path, parameters, changes)
            if placed:
                self._free[asset] -= cost
                self._say(f"placed {kind}: {', '.join(str(each.number) for each in placed)}")
            return placed
        assets = [self.info["quoteAsset"], *([] if kind == "OPO" else [self.info["baseAsset"]])]
        self.not_played[kind] = f"there is too little free {' and '.join(assets)}"
        return []

    def _not_allowed(self, kind: str) -> str:
        if missing := [flag for flag in _FLAGS.get(kind, ()) if not self.info.get(flag)]:
            return f"{self.symbol} does not allow it ({missing[0]})"
        types = self.info.get("orderTypes", ())
        if missing := [each for each in ("LIMIT", *_TYPES.get(kind, ())) if each not in types]:
            return f"{self.symbol} does not have {missing[0]} orders"
        return ""

    def _draw(self, kind: str, side: str) -> tuple[str, dict[str, Any], Decimal, str]:
        """Return path and parameters of a placement, what it costs, and in which asset."""
        sizes, number = self._sizes, self._numbers
        rising = side == "SELL"  # a limit order far from the market is above it
        limit = sizes.price(side, above=rising, number=number)
        stop = sizes.price(side, above=not rising, number=number)
        parts = 2 if kind == "iceberg" else 1
        # A trailing stop that triggers becomes a limit order far from the market.
        prices = {"STOP_LOSS_LIMIT": [stop], "OCO": [limit, stop], "OTOCO": [limit, stop]}.get(kind, [limit])
        quantity = sizes.quantity(min(prices), parts)
        paid = quantity if rising else quantity * max(prices)
        asset = self.info["baseAsset" if rising else "quoteAsset"]
        single: dict[str, Any] = {"side": side, "type": "LIMIT", **_priced("", limit), "quantity": text(quantity)}
        working: dict[str, Any] = {"workingType": "LIMIT", "workingSide": side, **_priced("working", limit)}
        working |= {"workingQuantity": text(quantity), "pendingSide": side}
        pair = "otoco" if kind == "OTOCO" else "oco"
        if kind == "iceberg":
            single["icebergQty"] = text(quantity / parts)
        elif kind == "STOP_LOSS_LIMIT":
            single |= {"type": kind, "stopPrice": text(stop), **_priced("", stop)}
        elif kind == "trailing stop":
            single |= {"type": "STOP_LOSS_LIMIT", "trailingDelta": sizes.trailing_delta(above=not rising)}
        elif kind == "OCO":
            single = {"side": side, "quantity": text(quantity), **self._pair("", limit, stop, rising=rising)}
        elif kind == "OTO":
            single = {**working, "pendingType": "LIMIT", **_priced("pending", limit), "pendingQuantity": text(quantity)}
        elif kind == "OTOCO":
            single = {**working, **self._pair("pending", limit, stop, rising=rising), "pendingQuantity": text(quantity)}
        elif kind == "OPO":  # what the working order buys is sold
            sold = sizes.price("SELL", above=True, number=number)
            single = {**working, "pendingSide": "SELL", "pendingType": "LIMIT", **_priced("pending", sold)}
        path = f"/api/v3/orderList/{pair if kind == 'OTOCO' else kind.lower()}" if kind.startswith("O") else ""
        return path or "/api/v3/order", single, paid * (2 if kind in {"OTO", "OTOCO"} else 1), asset

    @staticmethod
    def _pair(prefix: str, limit: Decimal, stop: Decimal, *, rising: bool) -> dict[str, Any]:
        """Return the two legs of which only one may execute."""
        above, below = (f"{prefix}Above", f"{prefix}Below") if prefix else ("above", "below")
        maker, stopping = (above, below) if rising else (below, above)
        return {
            f"{maker}Type": "LIMIT_MAKER",
            f"{maker}Price": text(limit),
            f"{stopping}Type": "STOP_LOSS_LIMIT",
            f"{stopping}StopPrice": text(stop),
            **_priced(stopping, stop),
        }

    def _carry_out(self, kind: str, path: str, parameters: dict[str, Any], changes: Mapping[str, Any]) -> list[Placed]:
        """Send a placement, each of its orders with a client id of this rehearsal."""
        heads = [name.removesuffix("Type") for name in parameters if name.endswith("Type")]
        names = [f"{head}ClientOrderId" for head in heads] if path.startswith("/api/v3/orderList") else []
        names = [*names, "listClientOrderId"] if names else ["newClientOrderId"]
        base = f"{self.prefix}{self._numbers}"
        ids: dict[str, Any] = {name: f"{base}-{letter}" for name, letter in zip(names, "abcd", strict=False)}
        ids |= {name: changes[name] for name in ids if name in changes}
        own = [each for name, each in ids.items() if each is not None and name != "listClientOrderId"]
        self._unsure |= dict.fromkeys(own, time.monotonic() + _MAY_ARRIVE)
        answer = self.send("POST", path, symbol=self.symbol, **{**parameters, **ids, **changes})
        body = plain(answer.body) if isinstance(answer.body, dict) else {}
        if answer.code is not None or answer.status == HTTPStatus.NOT_FOUND:
            self.not_played[kind] = f"refused: {answer.code} {body.get('msg', '')}".strip()
            if answer.status < HTTPStatus.INTERNAL_SERVER_ERROR and answer.code not in OUTCOME_UNKNOWN:
                self._unsure = {each: until for each, until in self._unsure.items() if each not in own}
            return []
        number_of_list = identifier(body.get("orderListId", -1))
        of_list = -1 if number_of_list is None else number_of_list, ids.get("listClientOrderId") or ""
        placed = []
        for order in body["orders"] if names[1:] and isinstance(body.get("orders"), list) else [body]:
            number = identifier(order.get("orderId")) if isinstance(order, dict) else None
            if number is None or (own and order.get("clientOrderId") not in own):
                self.not_played[kind] = f"a placement got no clear answer: {answer.raw[:200]}"
                continue
            placed.append(Placed(kind, number, str(order.get("clientOrderId")), *of_list))
            if own:
                del self._unsure[order["clientOrderId"]]
        self.placed |= {each.number: each for each in placed}
        return placed

    @property
    def has_placed(self) -> bool:
        """Whether any order of this rehearsal may have been placed."""
        return bool(self.placed or self._unsure)

    def clean_up(self, seconds: float = _LONGEST_LAG) -> list[str]:
        """Cancel every open order of this rehearsal, and nothing else, until reads show that none is left.

        Parameters
        ----------
        seconds : float
            Longest time for that.

        Returns
        -------
        list of str
            What could not be canceled, or not be seen to be.
        """
        until, pause = time.monotonic() + seconds, 0.1
        while True:
            left = list(self._left())
            if not left or time.monotonic() > until:
                break
            for row in left:
                self._end(row)
            time.sleep(pause)
            pause = min(2 * pause, 5.0)
        return [f"{row.get('clientOrderId')} (order {row.get('orderId', 'id unknown')})" for row in left]

    def _left(self) -> Iterator[dict[str, Any]]:
        """Find the orders of this rehearsal that are not known to have ended."""
        ended = self.ended()
        listed = {row["orderId"]: row for row in self.open_rows() if self._is_mine(row) and row["orderId"] not in ended}
        yield from listed.values()
        for each in self.placed.values():
            if each.number not in ended and each.number not in listed:
                asked = {"orderId": each.number}
                row = self._query(asked)
                if row is None or is_open(row) or outcome(row) == "unknown":
                    yield row or {"orderId": each.number, "clientOrderId": each.own_id, "orderListId": each.list_number}
        for own_id, until in self._unsure.items():  # placements without an answer
            row = self._query({"origClientOrderId": own_id})
            if is_open(row or {}) or (row is None and time.monotonic() < until):
                yield row or {"clientOrderId": own_id}

    def ended(self) -> set[int]:
        """Return the orders that a query showed in a final state."""
        rows = [
            row
            for answer in self.answers
            if answer.request[0] == "GET" and answer.request[1] in {"/api/v3/order", "/api/v3/allOrders"}
            for row in (answer.body if isinstance(answer.body, list) else [answer.body])
        ]
        return {
            number
            for row in rows
            if isinstance(row, dict) and outcome(row) != "unknown" and (number := identifier(row.get("orderId")))
        }

    def _query(self, asked: dict[str, Any]) -> dict[str, Any] | None:
        answer = self.send("GET", "/api/v3/order", symbol=self.symbol, **asked)
        return dict(plain(answer.body)) if answer.status == HTTPStatus.OK and isinstance(answer.body, dict) else None

    def _end(self, row: Mapping[str, Any]) -> None:
        """Cancel one order of this rehearsal, or its list."""
        if "orderId" not in row:
            return  # it has not been seen
        placed = self.placed.get(row["orderId"])
        if placed is not None and placed.list_number >= 0:
            answer = self.send("DELETE", "/api/v3/orderList", symbol=self.symbol, orderListId=placed.list_number)
            if answer.status == HTTPStatus.OK:
                return
        self.send("DELETE", "/api/v3/order", symbol=self.symbol, orderId=row["orderId"])


def _priced(prefix: str, price: Decimal) -> dict[str, Any]:
    """Return a limit price that is good until canceled, for an order or a leg."""
    if not prefix:
        return {"timeInForce": "GTC", "price": text(price)}
    return {f"{prefix}TimeInForce": "GTC", f"{prefix}Price": text(price)}


def _parsed(raw: str) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        return None
