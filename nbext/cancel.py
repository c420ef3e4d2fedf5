"""The main job: select, confirm, send, and say what became of each order.

Everything that a notebook, a panel or a script does goes through here. The faces hand in how to ask (``ask``) and
how to speak (``say``); this module knows no notebook. pandas is imported after the last DELETE has been answered.
"""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, Any, Literal, Protocol
from weakref import WeakKeyDictionary

from nbext import profiles
from nbext.errors import (
    ConfigurationError,
    IncompleteError,
    NbextError,
    NotSentError,
    OutcomeUnknownError,
    RejectedError,
)
from nbext.spot import SpotClient, parse_recv_window, parse_symbol

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from pandas import DataFrame

    from nbext.frames import Row
    from nbext.spot import Report

Confirm = Literal["live", "always", "never"]

last: DataFrame | None = None
"""The last frame that any call made, also of calls that raised."""

PREVIEW_SECONDS = 60.0

_clients: dict[profiles.Endpoint, SpotClient] = {}
_always_ask: WeakKeyDictionary[SpotClient, bool] = WeakKeyDictionary()


class Ask(Protocol):
    """Shows a preview and gives back what was typed, or raises ConfigurationError where nobody can answer."""

    def __call__(self, preview: DataFrame, question: str) -> str: ...  # noqa: D102


def connect(
    profile: str | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    secret_key: str | None = None,
    private_key: str | bytes | os.PathLike[str] | None = None,
    passphrase: str | None = None,
) -> SpotClient:
    """Make a client for an exchange.

    Parameters
    ----------
    profile : str, optional
        ``local``, ``testnet``, ``demo``, ``live``, or one from ``profiles.toml``. Else the one chosen with ``%nbext``,
        else ``NBEXT_PROFILE``, else ``custom`` where ``NBEXT_BASE_URL`` is set, else ``local``.
    base_url : str, optional
        Base endpoint of any other exchange; makes the profile ``custom``.
    api_key, secret_key : str, optional
        An API key and its HMAC secret key; else the profile's entry, else ``BINANCE_API_KEY`` and
        ``BINANCE_API_SECRET``.
    private_key : str, bytes or path, optional
        RSA or Ed25519 private key (PEM, PKCS#8) or the path of one, in place of `secret_key`; else
        ``BINANCE_PRIVATE_KEY``.
    passphrase : str, optional
        For an encrypted private key; else ``BINANCE_PRIVATE_KEY_PASSPHRASE``.

    Returns
    -------
    SpotClient

    Raises
    ------
    ConfigurationError
        The choice is ambiguous, or the credential is not whole or cannot be one. Nothing was sent.
    """
    return _open(
        profiles.resolve(
            profile,
            base_url=base_url,
            api_key=api_key,
            secret_key=secret_key,
            private_key=private_key,
            passphrase=passphrase,
        )
    )


def _open(endpoint: profiles.Endpoint) -> SpotClient:
    if (credential := endpoint.credential) is None:
        client = SpotClient(endpoint.base_url, profile=endpoint.profile)
    else:
        client = SpotClient(
            endpoint.base_url,
            profile=endpoint.profile,
            api_key=credential.api_key,
            secret_key=credential.secret_key,
            private_key=credential.private_key,
            passphrase=credential.passphrase,
        )
    _always_ask[client] = endpoint.always_ask
    return client


def client_for(profile: str | None = None) -> SpotClient:
    """Give the client that this process keeps for a profile, with its connection and its measured clock.

    Raises
    ------
    ConfigurationError
        As `connect`.
    """
    endpoint = profiles.resolve(profile)
    client = _clients.get(endpoint)
    if client is None:
        client = _clients[endpoint] = _open(endpoint)
    return client


def close() -> None:
    """Close the connections of all kept clients, and forget the last frame."""
    global last  # noqa: PLW0603 - the one frame that unloading the extension has to let go of
    while _clients:
        _clients.popitem()[1].close()
    last = None


def open_orders(
    *symbols: str,
    client: SpotClient | None = None,
    profile: str | None = None,
    exact: bool = False,
    say: Callable[[str], None] | None = None,
) -> DataFrame:
    """Show what is open now.

    ``GET /api/v3/openOrders`` (API docs, "Current open orders"; weight 6 a symbol, 80 for all), and
    ``GET /api/v3/openOrderList`` (weight 6) where an order belongs to a list.

    Parameters
    ----------
    *symbols : str
        None means all symbols: looking is free.
    client, profile, exact
        As in `cancel_all`.
    say : callable, optional
        Takes the summary line.

    Returns
    -------
    DataFrame
        The columns of `cancel_all`, with ``outcome`` ``open``, then ``time``, ``updateTime``, ``isWorking`` and
        ``workingTime``.

    Raises
    ------
    ConfigurationError, NotSentError, RejectedError, RateLimitedError
        Looking failed. The orders are untouched.
    """
    began = time.monotonic()
    wanted = _parse_symbols(symbols)
    client = _given(client, profile)
    look = _look(client, wanted)
    rows = look.rows()
    if say:
        said = f"{_count(len(rows), 'open order')}{_kinds(rows)}" if rows else "nothing is open"
        say(f"{_subject(wanted)}: {said} {_place(client)}")
    return _keep(rows, client, call="open_orders", requested=wanted, began=began, exact=exact)


def cancel_all(
    *symbols: str,
    all: bool = False,  # noqa: A002 - reads as what it does
    client: SpotClient | None = None,
    profile: str | None = None,
    recv_window: str | int | Decimal | None = None,
    exact: bool = False,
    dry_run: bool = False,
    yes: bool = False,
    check: bool = False,
    ask: Ask | None = None,
    say: Callable[[str], None] | None = None,
    confirm: Confirm = "live",
) -> DataFrame:
    """Cancel every open order on the symbols; see `nbext.cancel_all`.

    Parameters
    ----------
    ask : callable, optional
        How to ask; None where nobody can be asked.
    say : callable, optional
        Takes each line worth reading beside the frame.
    confirm : {"live", "always", "never"}
        When to ask. A profile with ``always_ask`` is asked about in any case.
    """
    job = CancelAll(
        symbols, everything=all, client=_given(client, profile), recv_window=recv_window, exact=exact, say=say
    )
    if dry_run:
        return job.rehearse()
    if job.must_ask(yes=yes, confirm=confirm):
        job.obtain_consent(ask)
    return job.run(check=check)


class CancelAll:
    """One call to cancel every open order on some symbols, consent and cancel apart from each other.

    Parameters
    ----------
    symbols : sequence of str
    everything : bool
        Every symbol that has open orders, in place of `symbols`.
    client : SpotClient
    recv_window, exact, say
        As in `cancel_all`.

    Raises
    ------
    ConfigurationError
        An argument is at fault. Nothing was sent.
    """

    def __init__(
        self,
        symbols: Sequence[str],
        *,
        everything: bool,
        client: SpotClient,
        recv_window: str | int | Decimal | None = None,
        exact: bool = False,
        say: Callable[[str], None] | None = None,
    ) -> None:
        if everything and symbols:
            raise ConfigurationError("symbols were named, and all as well; nothing was sent. Give one of them.")
        if not everything and not symbols:
            raise ConfigurationError("no symbol was named; nothing was sent. Name some, or ask for all.")
        self._symbols = _parse_symbols(symbols)
        self._recv_window = None if recv_window is None else parse_recv_window(recv_window)
        self._client = client
        self._exact = exact
        self._say = say or _say_nothing
        self._look: _Look | None = None

    def must_ask(self, *, yes: bool, confirm: Confirm) -> bool:
        """Say whether this cancel may only go out after somebody has agreed to it."""
        if _always_ask.get(self._client, False):
            return True
        asked = confirm == "always" or (confirm == "live" and profiles.is_live(self._client.base_url))
        return asked and not yes

    def rehearse(self) -> DataFrame:
        """Show what would go. Sends no DELETE."""
        began = time.monotonic()
        look = _look(self._client, self._symbols)
        rows = look.rows(dry_run=True)
        said = (
            f"{_count(len(rows), 'order')} would be canceled{_kinds(rows)}{_traded(rows)}"
            if rows
            else "nothing is open"
        )
        self._say(f"{_subject(self._symbols)}: dry run, {said}; no DELETE was sent {_place(self._client)}")
        return _keep(rows, self._client, call="dry_run", requested=self._symbols, began=began, exact=self._exact)

    def obtain_consent(
        self, ask: Ask | None, *, before_cell: bool = False, preview_seconds: float = PREVIEW_SECONDS
    ) -> None:
        """Show what would go, and want the number of orders typed.

        Parameters
        ----------
        ask : callable, optional
            None where nobody can be asked.
        before_cell : bool, default False
            Whether a cell runs first: then the consent is for whatever is open after it, and is wanted even when
            nothing is open now.
        preview_seconds : float, default 60
            For so long a preview counts as what was agreed to; after that it is made again, and asked about again.

        Raises
        ------
        ConfigurationError
            It was not given, or nobody can give it. Nothing was canceled.
        """
        from nbext import frames

        if ask is None:
            raise ConfigurationError(
                f"{_subject(self._symbols)} {_place(self._client)}: this needs a yes, and nobody can be asked here; "
                "nothing was sent. Give --yes (yes=True) to cancel without being asked."
            )
        while True:
            look = _look(self._client, self._symbols)
            rows = look.rows()
            if not rows and not before_cell:
                self._look = look
                return
            count = len(rows)
            live = "LIVE exchange: cancel" if profiles.is_live(self._client.base_url) else "Cancel"
            what = f"all {_count(count, 'open order')}{_kinds(rows)}{_traded(rows)}"
            what += ", and whatever the cell leaves open," if before_cell else ""
            question = f"{live} {what} on {_subject(self._symbols)} {_place(self._client)}? Type {count} to cancel: "
            preview = frames.frame(rows, exact=self._exact, summary=_summary(self._client, call="preview"))
            typed = ask(preview, question)
            if typed.strip() != str(count):
                raise ConfigurationError(
                    f"{_subject(self._symbols)} {_place(self._client)}: not confirmed; nothing was canceled. "
                    f"Type the number of orders, {count}, to cancel."
                )
            if before_cell:
                return
            if time.monotonic() - look.taken <= preview_seconds:
                self._look = look
                return
            self._say("The preview had grown old, so here is a new one.")

    def run(self, *, check: bool = False) -> DataFrame:
        """Send the cancels, one symbol after the other, and say what became of each order.

        Parameters
        ----------
        check : bool, default False
            Read again afterwards, and say what is open then.

        Returns
        -------
        DataFrame

        Raises
        ------
        NbextError
            As `nbext.cancel_all`.
        """
        began = time.monotonic()
        if self._look is None and not self._symbols:
            self._look = _look(self._client, [])
        look = self._look
        requested = symbols = self._symbols
        if look is not None:  # where nothing was open, nothing was agreed to
            open_symbols = look.symbols()
            symbols = [symbol for symbol in symbols or open_symbols if symbol in open_symbols]
            requested = requested or symbols
        replies: dict[str, list[Report]] = {}
        failures: dict[str, NbextError] = {}
        for symbol in symbols:
            self._cancel(symbol, replies, failures)
        return self._conclude(requested, replies, failures, began=began, check=check)

    def _cancel(self, symbol: str, replies: dict[str, list[Report]], failures: dict[str, NbextError]) -> None:
        where = f"{symbol} on {self._client.profile} ({self._client.host})"
        if any(isinstance(failure, _InterruptedError) for failure in failures.values()):
            failures[symbol] = NotSentError(
                f"{where}: not sent, since the call was interrupted; orders untouched. Cancel again."
            )
            return
        try:
            replies[symbol] = self._client.cancel_open_orders(symbol, recv_window=self._recv_window)
        except ConfigurationError:
            raise  # there is no usable key, which is so for every symbol
        except RejectedError as refused:
            if refused.code == -2011 and self._nothing_is_open(symbol):  # noqa: PLR2004 - CANCEL_REJECTED
                replies[symbol] = []
            else:
                failures[symbol] = refused
        except NbextError as error:
            failures[symbol] = error
        except KeyboardInterrupt:
            failures[symbol] = _InterruptedError(
                f"{where}: interrupted while it was being sent; what became of the orders is not known. "
                "Look with %open_orders before anything else."
            )

    def _nothing_is_open(self, symbol: str) -> bool:
        try:
            return not _look(self._client, [symbol]).orders
        except NbextError:
            return False

    def _conclude(
        self,
        symbols: list[str],
        replies: Mapping[str, list[Report]],
        failures: Mapping[str, NbextError],
        *,
        began: float,
        check: bool,
    ) -> DataFrame:
        from nbext import frames  # pandas: only now, when nothing is waiting to be sent any more

        rows: list[Row] = []
        for symbol in symbols:
            answered = frames.from_reports(replies.get(symbol, ()))
            rows += answered
            if self._look is not None:
                reported = {row.order.get("orderId") for row in answered}
                rows += [
                    self._look_up(row, symbol, failures.get(symbol))
                    for row in self._look.rows(symbol)
                    if row.order.get("orderId") not in reported
                ]
        table = _keep(
            rows,
            self._client,
            call="cancel_all",
            requested=symbols,
            began=began,
            exact=self._exact,
            complete=not failures,
            legs_without_report=sum(frames.legs_without_report(reports) for reports in replies.values()),
        )
        subject = _subject(self._symbols)
        if rows or not failures:
            self._say(f"{subject}: {_outcomes(rows)} {_place(self._client)}{_inexact(table)}")
        _raise_unless_done(subject, self._client, table=table, rows=rows, symbols=symbols, failures=failures)
        if check:
            left = _look(self._client, symbols).rows() if symbols else []
            now = f"{_count(len(left), 'order')} open now{_kinds(left)}" if left else "nothing is open now"
            self._say(f"{subject}: read again, {now} {_place(self._client)}")
        return table

    def _look_up(self, row: Row, symbol: str, failure: NbextError | None) -> Row:
        """Find out about an order that was seen open before and is not in the answer."""
        from nbext import frames

        if failure is not None:
            untouched = isinstance(failure, NotSentError | RejectedError)
            return frames.Row(row.order, row.order_list, "open" if untouched else "unknown")
        try:
            found = self._client.request(
                "GET", "/api/v3/order", {"symbol": symbol, "orderId": row.order.get("orderId")}
            )
        except RejectedError as refused:
            archived = refused.code == -2026  # noqa: PLR2004 - ORDER_ARCHIVED: it ended long ago without a fill
            return frames.Row(row.order, row.order_list, "gone" if archived else "unknown")
        except NbextError:
            return frames.Row(row.order, row.order_list, "unknown")
        if not isinstance(found, dict):
            return frames.Row(row.order, row.order_list, "unknown")
        now = frames.from_open_orders([found])[0]
        return frames.Row(now.order, row.order_list, "unknown" if now.outcome == "open" else now.outcome)


class _InterruptedError(OutcomeUnknownError):
    """The reader pressed Ctrl-C while a cancel was under way."""


def _raise_unless_done(
    subject: str,
    client: SpotClient,
    *,
    table: DataFrame,
    rows: Sequence[Row],
    symbols: Sequence[str],
    failures: Mapping[str, NbextError],
) -> None:
    """Raise what the reader may believe, when that is not simply that all is done."""
    unknown = sum(row.outcome == "unknown" for row in rows)
    still_open = sum(row.outcome == "open" for row in rows)
    told = " ".join(dict.fromkeys(str(failure) for failure in failures.values()))
    if unknown or any(isinstance(failure, OutcomeUnknownError) for failure in failures.values()):
        told = told or (
            f"{subject} {_place(client)}: what became of {_count(unknown, 'order')} is not known. "
            "Look with %open_orders before anything else."
        )
        raise OutcomeUnknownError(told, frame=table, failures=failures)
    if len(symbols) == 1 and failures:
        error = failures[symbols[0]]
        error.frame = table
        raise error
    if failures or still_open:
        told = told or f"{subject} {_place(client)}: {_count(still_open, 'order')} still open. Cancel again."
        raise IncompleteError(told, frame=table, failures=failures)


@dataclass(slots=True)
class _Look:
    """What was open when it was looked at."""

    orders: list[Mapping[str, Any]]
    order_lists: list[Mapping[str, Any]]
    taken: float = field(default_factory=time.monotonic)

    def rows(self, symbol: str | None = None, *, dry_run: bool = False) -> list[Row]:
        from nbext import frames

        orders = [order for order in self.orders if symbol in {None, order.get("symbol")}]
        return frames.from_open_orders(orders, self.order_lists, dry_run=dry_run)

    def symbols(self) -> list[str]:
        return list(dict.fromkeys(order["symbol"] for order in self.orders))


def _look(client: SpotClient, symbols: Sequence[str]) -> _Look:
    """Read what is open, on all symbols when none is named."""
    orders: list[Mapping[str, Any]] = []
    for params in [{"symbol": symbol} for symbol in symbols] or [{}]:
        orders += _objects(client, client.request("GET", "/api/v3/openOrders", params))
    in_a_list = any(order.get("orderListId", -1) != -1 for order in orders)
    order_lists = _objects(client, client.request("GET", "/api/v3/openOrderList")) if in_a_list else []
    return _Look(orders, order_lists)


def _objects(client: SpotClient, document: object) -> list[Mapping[str, Any]]:
    if isinstance(document, list) and all(isinstance(entry, dict) for entry in document):
        return document
    raise RejectedError(
        f"{client.host} did not answer with a list of orders; orders untouched. Check the base URL.", http_status=200
    )


def _parse_symbols(symbols: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(map(parse_symbol, symbols)))


def _given(client: SpotClient | None, profile: str | None) -> SpotClient:
    if client is None:
        return client_for(profile)
    if profile is not None:
        raise ConfigurationError("a client and a profile were both given; nothing was sent. Give one of them.")
    return client


def _keep(  # what every call ends with
    rows: Sequence[Row],
    client: SpotClient,
    *,
    call: str,
    requested: Sequence[str],
    began: float,
    exact: bool,
    complete: bool = True,
    legs_without_report: int = 0,
) -> DataFrame:
    """Build the frame of a call, and keep it as the last one."""
    global last  # noqa: PLW0603 - nbext.last is there for the reader who forgot to assign
    from nbext import frames

    last = frames.frame(
        rows,
        exact=exact,
        summary=_summary(
            client,
            call=call,
            requested=list(requested),
            elapsed=round(time.monotonic() - began, 3),
            complete=complete,
            legs_without_report=legs_without_report,
        ),
    )
    return last


def _summary(client: SpotClient, **facts: object) -> dict[str, object]:
    return {"profile": client.profile, "host": client.host, "call_id": secrets.token_hex(8), **facts}


def _say_nothing(_: str) -> None:
    pass


# Wording. Amounts are reckoned in Decimal, from what the exchange sent.


def _subject(symbols: Sequence[str]) -> str:
    return ", ".join(symbols) or "all symbols"


def _place(client: SpotClient) -> str:
    return f"[{client.profile}, {client.host}]"


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


def _kinds(rows: Sequence[Row]) -> str:
    """Tell single orders from order lists, each list counted once: `` (2 single, 1 OCO list)``."""
    single = 0
    lists: dict[tuple[object, object], str] = {}
    for row in rows:
        list_id = row.order.get("orderListId", -1)
        if row.order_list is not None:
            kind = row.order_list.get("contingencyType")
            lists[row.order.get("symbol"), list_id] = f"{kind} list" if isinstance(kind, str) else "order list"
        else:
            single += 1
    parts = [f"{single} single"] if single or not lists else []
    parts += [_count(number, kind) for kind, number in _tally(lists.values()).items()]
    return f" ({', '.join(parts)})"


def _tally(items: Iterable[str]) -> dict[str, int]:
    tally: dict[str, int] = {}
    for item in items:
        tally[item] = tally.get(item, 0) + 1
    return tally


_FEW = 3


def _traded(rows: Sequence[Row]) -> str:
    """Name what had traded before: `` , 1 had traded 0.4 of 1.0 first``."""
    traded = [
        f"{_short(executed)} of {_short(row.order.get('origQty'))}"
        for row in rows
        if (executed := _decimal(row.order.get("executedQty"))) is not None and executed > 0
    ]
    if not traded:
        return ""
    if len(traded) == 1:
        return f", 1 had traded {traded[0]} first"
    some = f" ({', '.join(traded)})" if len(traded) <= _FEW else ""
    return f", {len(traded)} had traded first{some}"


def _outcomes(rows: Sequence[Row]) -> str:
    if not rows:
        return "nothing was open"
    by_outcome: dict[str, list[Row]] = {}
    for row in rows:
        by_outcome.setdefault(row.outcome, []).append(row)
    canceled = by_outcome.pop("canceled", [])
    said = f"{_count(len(canceled), 'order')} canceled"
    if canceled:
        said += _kinds(canceled) + _traded(canceled)
    words = {"filled": "filled", "gone": "gone without being canceled", "open": "still open", "unknown": "unknown"}
    others = [f"{len(found)} {words.get(state, state)}" for state, found in by_outcome.items()]
    return "; ".join([said, *others])


def _inexact(table: DataFrame) -> str:
    inexact = table.attrs["nbext"]["inexact"]
    if not inexact:
        return ""
    return f"; not exact as floats: {', '.join(f'{number} in {name}' for name, number in inexact.items())}, see --exact"


def _decimal(value: object) -> Decimal | None:
    try:
        number = Decimal(value) if isinstance(value, str) else None
    except InvalidOperation:
        return None
    return number if number is not None and number.is_finite() else None


def _short(value: object) -> str:
    """Write an amount with its digits and no more: 0.4, 1.0."""
    number = value if isinstance(value, Decimal) else _decimal(value)
    if number is None:
        return "?"
    whole, _, decimals = format(number, "f").partition(".")
    return f"{whole}.{decimals.rstrip('0') or '0'}"
