"""What lies between this machine and an exchange: proxy, certificates, name, addresses. Nothing signed is sent."""

from __future__ import annotations

import importlib.util
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from nbext.base_url import is_loopback
from nbext.spot.causes import BUNDLES, require_bundle, shown, without_pysocks
from nbext.spot.connections import CONNECT_SECONDS
from nbext.spot.dialing import dial, look_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nbext.spot.dialing import Address


def proxy(base_url: str) -> str:
    """Return the URL of the proxy in use, without name and password; empty without one.

    Raises
    ------
    SetUpError
        It takes a package that is not installed.
    """
    if is_loopback(urlsplit(base_url).hostname or ""):
        return ""
    url = requests.utils.select_proxy(base_url, requests.utils.get_environ_proxies(base_url)) or ""
    if url.lower().startswith("socks") and importlib.util.find_spec("socks") is None:
        raise without_pysocks(url)
    return shown(url) if url else ""


def bundle(base_url: str) -> str:
    """Return which certificates a connection to the host is checked against, by file and variable.

    Raises
    ------
    SetUpError
        It cannot be used.
    """
    if not base_url.startswith("https"):
        return "none needed, over plain HTTP to this machine"
    name = next(filter(os.environ.get, BUNDLES), "")
    if not name:
        return "those of certifi, as requests has them"
    require_bundle(os.environ[name])
    return f"{os.environ[name]}, from {name}"


def addresses(base_url: str) -> Sequence[Address]:
    """Return the addresses of a host.

    Raises
    ------
    OSError, UnicodeError
        There is no such name, or no answer in time.
    """
    parts = urlsplit(base_url)
    port = parts.port or (443 if parts.scheme == "https" else 80)
    return look_up(parts.hostname or "", port, time.monotonic() + CONNECT_SECONDS)


def connect_seconds(address: Address) -> float:
    """Return how long it takes to connect to an address.

    Raises
    ------
    OSError
        It refuses connections, or none is made in time.
    """
    began = time.monotonic()
    dial([address], began + CONNECT_SECONDS, ()).close()
    return time.monotonic() - began
