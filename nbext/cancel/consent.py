"""Consent: when to ask before a cancel, what is shown, and what counts as a yes."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Literal, Protocol

from nbext import messages, profiles, session
from nbext.cancel import report
from nbext.errors import ConfigurationError
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


class Ask(Protocol):
    """Show a preview and return what was typed, or None where there is no prompt."""

    def __call__(self, preview: DataFrame, question: str) -> str | None:
        """Ask."""


def must_ask(client: SpotClient, *, yes: bool, confirm: Confirm) -> bool:
    """Return whether a cancel may only go out after the user has agreed to it."""
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
    """Show what would be canceled, and want the number of orders typed.

    Parameters
    ----------
    ask : callable, optional
        None where there is no prompt.
    before_cell : bool
        Whether a cell, or a block, runs first. The consent is then for whatever is open after it, and is wanted even
        when nothing is open now.
    preview_seconds : float
        How long a preview counts as what was agreed to; after that it is made, and asked about, again.

    Returns
    -------
    OpenOrders or None
        What was agreed to; None for whatever is open later.

    Raises
    ------
    ConfigurationError
        Consent was not given, or there is no prompt. Nothing was canceled.
    """
    where = f"{selection.subject} {messages.place(client)}"
    way_out = "Use --yes (yes=True) to cancel without asking."
    if session.always_asks(client):
        way_out = f"Profile {client.profile!r} always asks: cancel where you can be prompted."
    no_prompt = ConfigurationError(
        f"{where}: confirmation needed, but this session cannot prompt; nothing was canceled. {way_out}"
    )
    if ask is None:
        raise no_prompt
    while True:
        seen = selection.read(client, say)
        if not before_cell:
            seen = selection.read_again_if_empty(seen, client, say, lag=options.latency.lag)
        rows = seen.rows()
        if not rows and not before_cell:
            return seen
        live = "LIVE exchange: cancel" if profiles.is_live(client.base_url) else "Cancel"
        every = "" if selection.chooses else "all "
        what = f"{every}{messages.count(len(rows), 'open order')}{selection.matching} on {selection.subject}"
        what += f"{details(seen, rows)}{messages.notional(rows)}"
        what += ", and whatever is open afterwards" if before_cell else ""
        question = f"{live} {what} {messages.place(client)}? Type {len(rows)} to cancel: "
        typed = ask(report.frame_of(rows, client, exact=options.exact, call="preview"), printable(question))
        if typed is None:
            raise no_prompt
        if typed.strip() != str(len(rows)):
            raise ConfigurationError(
                f"{where}: not confirmed; nothing was canceled. Type the number of orders, {len(rows)}, to cancel."
            )
        if before_cell:
            return None
        if time.monotonic() - seen.taken <= preview_seconds:
            return seen
        say("The preview was too old; here is a new one.")


def details(seen: OpenOrders, rows: Sequence[Row]) -> str:
    """Return what is worth knowing of orders before they are canceled, to go behind their number."""
    along = f", {seen.dragged} only because a list goes as a whole" if seen.dragged else ""
    return f"{messages.kinds(rows)}{along}{messages.traded(rows)}"
