"""The clients that this process keeps, each with its connection and its measured clock."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary

from nbext import profiles
from nbext.credentials import sealed
from nbext.errors import ConfigurationError
from nbext.spot.client import SpotClient

if TYPE_CHECKING:
    import os

_clients: dict[profiles.Endpoint, SpotClient] = {}
_always_ask: WeakKeyDictionary[SpotClient, bool] = WeakKeyDictionary()


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
    client = SpotClient(endpoint.base_url, profile=endpoint.profile, credential=endpoint.credential)
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


def given(client: SpotClient | None, profile: str | None) -> SpotClient:
    """Take the client that was given, or the one that is kept for the profile.

    Raises
    ------
    ConfigurationError
        Both were given, or as `connect`.
    """
    if client is None:
        return client_for(profile)
    if profile is not None:
        raise ConfigurationError("a client and a profile were both given; nothing was sent. Give one of them.")
    return client


def always_asks(client: SpotClient) -> bool:
    """Whether the profile that a client was made for wants to be asked about, whatever the caller says."""
    return _always_ask.get(client, False)


def close() -> None:
    """Close the connections of all kept clients."""
    while _clients:
        _clients.popitem()[1].close()
