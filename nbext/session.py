"""State that this process keeps between calls, and the one reset for it.

Clients with their connections and measured clocks, journals, the last frame, symbols seen, and where each order was
shown. The profile chosen with ``%nbext`` is kept in `nbext.profiles`, but reset here.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from nbext import profiles
from nbext.credentials import sealed
from nbext.errors import ConfigurationError
from nbext.spot.client import SpotClient

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from pandas import DataFrame

    from nbext.journal import Journal

last: DataFrame | None = None
"""The last frame that a call made, even if the call raised."""
symbols_met: set[str] = set()
"""Symbols that calls have named or found, for completion."""
unfinished_reported = False
"""Whether the user has been told, once, about earlier cancels without a recorded outcome."""
has_user = True
"""Whether a user sees messages of this process; a watchdog has none, and leaves them to the next kernel."""

_clients: dict[profiles.Endpoint, SpotClient] = {}
# By client, while it lives. It survives a reset, so that `yes` is not enough afterwards either.
_always_ask: WeakKeyDictionary[SpotClient, bool] = WeakKeyDictionary()
_journals: dict[str, Journal] = {}
# On which profile and host each order was shown, by symbol, id and client order id; the latest last.
_shown_at: dict[tuple[object, object, object], tuple[str, str]] = {}
SEVERAL = ("", "")
"""The place of an order that was shown on more than one exchange."""
MOST_SHOWN = 100_000


@sealed
def connect(
    profile: str | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    secret_key: str | None = None,
    private_key: str | bytes | os.PathLike[str] | None = None,
    passphrase: str | None = None,
) -> SpotClient:
    """Return a client for an exchange.

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
        The choice is ambiguous, or the credential is incomplete or invalid. Nothing was sent.
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
    client = SpotClient(endpoint.base_url, profile=endpoint.profile, credential=endpoint.credential)
    _always_ask[client] = endpoint.always_ask
    return client


def client_for(profile: str | None = None) -> SpotClient:
    """Return the client that this process keeps for a profile, with its connection and its measured clock.

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


def given(client: SpotClient | None, profile: str | None) -> SpotClient:
    """Return the given client, or the one that is kept for the profile.

    Raises
    ------
    ConfigurationError
        Both were given, or the client is none; or as `connect`.
    """
    if client is None:
        return client_for(profile)
    if not isinstance(client, SpotClient):
        raise ConfigurationError(
            f"client must be one that nbext.connect made, not {type(client).__name__}; nothing was sent. "
            "To name a profile, use profile."
        )
    if profile is not None:
        raise ConfigurationError("a client and a profile were both given; nothing was sent. Use one of them.")
    return client


def always_asks(client: SpotClient) -> bool:
    """Return whether the profile of a client always asks, even with `yes`."""
    return _always_ask.get(client, False)


def journal() -> Journal:
    """Return the journal that the environment names now."""
    from nbext.journal import Journal

    named = os.environ.get("NBEXT_JOURNAL", "")
    if named not in _journals:
        _journals[named] = Journal.from_environment()
    return _journals[named]


def note_shown(orders: Iterable[Mapping[str, object]], client: SpotClient) -> None:
    """Remember on which profile and host orders were shown."""
    place = client.profile, client.host
    for order in orders:
        identity = order.get("symbol"), order.get("orderId"), order.get("origClientOrderId")
        try:
            known = _shown_at.pop(identity, place)
            _shown_at[identity] = place if known == place else SEVERAL
        except TypeError:  # a malformed report may hold a list there
            continue
    while len(_shown_at) > MOST_SHOWN:
        del _shown_at[next(iter(_shown_at))]


def shown_at(order: Mapping[str, object]) -> tuple[str, str] | None:
    """Return the profile and host on which an order was shown: `SEVERAL` for more than one, None if it never was."""
    return _shown_at.get((order["symbol"], order["orderId"], order["origClientOrderId"]))


def reset() -> None:
    """Close all clients and journals, and forget everything else that is kept, except that a host wants no requests."""
    global last, unfinished_reported
    while _clients:
        _clients.popitem()[1].close()
    while _journals:
        _journals.popitem()[1].close()
    last, unfinished_reported = None, False
    symbols_met.clear()
    _shown_at.clear()
    profiles.select(None)
