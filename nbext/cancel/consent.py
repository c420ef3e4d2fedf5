"""Consent: when to ask before a cancel, what is shown, and what counts as a yes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol

from nbext import messages, profiles, session
from nbext.cancel import report
from nbext.errors import ConfigurationError
from nbext.orders import identity
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pandas import DataFrame

    from nbext.cancel.reads import OpenOrders
    from nbext.cancel.selection import Options, Selection
    from nbext.orders import Row
    from nbext.spot.client import SpotClient

Confirm = Literal["live", "always", "never"]

PREVIEW_SECONDS = 60.0


class DeclinedError(ConfigurationError):
    """The user was asked, and did not agree. Magics say that as a line; a program has to be told.

    Attributes
    ----------
    said : str
        The line.
    rows : sequence of Row
        What was open when it was asked about.
    """

    def __init__(self, message: str, said: str, rows: Sequence[Row]) -> None:
        super().__init__(message)
        self.said = said
        self.rows = rows


class Ask(Protocol):
    """Show a preview and return what was typed, or None if there is no prompt."""

    def __call__(self, preview: DataFrame, question: str) -> str | None:
        """Ask."""


def must_ask(client: SpotClient, *, yes: bool, confirm: Confirm) -> bool:
    """Return whether the user has to agree before a cancel is sent."""
    if session.always_asks(client):
        return True
    return not yes and (confirm == "always" or (confirm == "live" and profiles.is_live(client.base_url)))


def obtain(
    selection: Selection,
    options: Options,
    client: SpotClient,
    ask: Ask | None,
    *,
    before_cell: bool,
    preview_seconds: float,
    say: Callable[[str], None],
) -> OpenOrders | None:
    """Show what would be canceled, and ask the user to type the number of orders.

    Parameters
    ----------
    ask : callable, optional
        None if there is no prompt.
    before_cell : bool
        Whether a cell or a block runs first. The consent then covers everything open after it, and is needed even when
        nothing is open now.
    preview_seconds : float
        How long a preview is valid; after that the user sees a new one and is asked again.

    Returns
    -------
    OpenOrders or None
        What was agreed to; None for everything open later.

    Raises
    ------
    ConfigurationError
        Consent was not given (`DeclinedError`), or there is no prompt. Nothing was canceled.
    """
    where = f"{selection.subject} {messages.place(client)}"
    if ask is None:
        raise _no_prompt(where, client)
    seen = selection.read(client, say)
    if not before_cell:
        seen = selection.read_again_if_empty(seen, client, say, lag=options.latency.lag)
    while seen.orders or before_cell:
        rows = seen.rows()
        preview = report.frame_of(rows, client, exact=options.exact, call="preview")
        with client.kept_connected(len(selection.requests(seen))):
            typed = ask(preview, printable(_question(selection, client, seen, before_cell=before_cell)))
        if typed is None:
            raise _no_prompt(where, client)
        # A wrong number may be due to orders that have come or gone since; anything else is a refusal.
        looked = selection.read(client, say) if not before_cell and typed.strip().isdecimal() else seen
        changed = _changed(seen, looked)
        if not changed and typed.strip() != str(len(rows)):
            raise _declined(selection, client, typed.strip(), rows)
        if before_cell:
            return None
        is_old = time.monotonic() - seen.taken > preview_seconds
        seen = _with_all_shown(looked, rows + seen.gone)
        if not changed and not is_old:
            break
        say(f"{selection.subject}: {changed}." if changed else "The preview was too old; here is a new one.")
    return seen


def renew(
    selection: Selection,
    client: SpotClient,
    shown: Sequence[Row],
    holds: Callable[[Sequence[Row]], object],
    *,
    lag: float,
    say: Callable[[str], None],
) -> OpenOrders:
    """Look again once the user has agreed to what was shown, which `holds` compares with the rows of what is open.

    It raises what keeps the cancel from being sent. Orders that were shown and are no longer open get a row, too.
    """
    seen = selection.read_again_if_empty(selection.read(client, say), client, say, lag=lag)
    if seen.orders:
        holds(seen.rows())
    return _with_all_shown(seen, shown)


def _no_prompt(where: str, client: SpotClient) -> ConfigurationError:
    way_out = "Use --yes (yes=True) to cancel without asking."
    if session.always_asks(client):
        way_out = f"Profile {client.profile!r} always asks: cancel where you can be prompted."
    return ConfigurationError(
        f"{where}: confirmation needed, but this session cannot prompt; nothing was canceled. {way_out}"
    )


def _declined(selection: Selection, client: SpotClient, typed: str, rows: Sequence[Row]) -> DeclinedError:
    place = messages.place(client, is_live=profiles.is_live(client.base_url))
    kept = f"{messages.count(len(rows), 'order')} kept; nothing was sent"
    wrong = f"{typed[:20]} is not the number of orders; " if typed.isdecimal() else ""
    return DeclinedError(
        f"{selection.subject} {place}: not confirmed; nothing was sent. "
        f"Type the number of orders, {len(rows)}, to cancel.",
        f"{selection.subject}: {wrong}{kept} {place}",
        rows,
    )


def _question(selection: Selection, client: SpotClient, seen: OpenOrders, *, before_cell: bool) -> str:
    rows = seen.rows()
    is_live = profiles.is_live(client.base_url)
    live = "LIVE exchange: cancel" if is_live else "Cancel"
    every = "" if selection.chooses else "all "
    what = f"{every}{messages.count(len(rows), 'open order')}{selection.matching} on {selection.subject}"
    what += f"{details(seen, rows)}{messages.notional(rows)}"
    what += ", and whatever is open afterwards" if before_cell else ""
    return f"{live} {what} {messages.place(client, is_live=is_live)}? Type {len(rows)} to cancel: "


def _changed(shown: OpenOrders, now: OpenOrders) -> str:
    """Return how many orders have come and gone; empty if none has."""
    before, after = ({identity(order) for order in seen.orders} for seen in (shown, now))
    return messages.changes(len(after - before), len(before - after))


def _with_all_shown(now: OpenOrders, shown: Sequence[Row]) -> OpenOrders:
    """Add the orders that the user was shown and that are no longer open: they get a row, too."""
    listed = {identity(order) for order in now.orders}
    now.gone = [row for row in shown if identity(row.order) not in listed]
    return now


def details(seen: OpenOrders, rows: Sequence[Row]) -> str:
    """Return what to know about orders before they are canceled, to follow their number."""
    return f"{messages.kinds(rows)}{messages.beyond(len(seen.beyond))}{messages.traded(rows)}"
