"""What lies between this machine and an exchange: proxy, certificates, name, addresses. Nothing signed is sent."""

from __future__ import annotations

import importlib.util
import os
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import requests

from nbext.base_url import is_loopback
from nbext.spot.causes import BUNDLES, SetUpError, require_bundle, shown
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
        raise SetUpError(
            f"the proxy {shown(url)} is a SOCKS proxy, and PySocks, which it takes, is not installed",
            "Run %pip install pysocks, then restart the kernel.",
        )
    return shown(url) if url else ""


def bundle() -> str:
    """Return which file of certificates the environment names, with its variable; empty for none.

    Raises
    ------
    SetUpError
        It cannot be used.
    """
    name = next(filter(os.environ.get, BUNDLES), "")
    if name:
        require_bundle(os.environ[name])
    return f"{name}: {os.environ[name]}" if name else ""


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


def connect_seconds(address: Address) -> float | None:
    """Return how long it takes to connect to an address; None where that does not come about in time."""
    began = time.monotonic()
    try:
        dial([address], began + CONNECT_SECONDS, ()).close()
    except OSError:
        return None
    return time.monotonic() - began
