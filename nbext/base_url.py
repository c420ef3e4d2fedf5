"""Where requests go: one scheme, host and port, checked before anything is sent there."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from nbext.errors import ConfigurationError


def parse_base_url(text: str, what: str = "the base URL") -> str:
    """Check a base URL and return it without a trailing slash.

    Parameters
    ----------
    text : str
    what : str
        Where it was given, for messages.

    Raises
    ------
    ConfigurationError
        It has user info, a path or a query, or is plain ``http`` to another machine.
    """
    flaw = ""
    if not isinstance(text, str):
        raise ConfigurationError(f"{what} is {type(text).__name__}, not text; nothing was sent. Pass it as text.")
    try:
        parts = urlsplit(text.strip())
        port = f":{parts.port}" if parts.port is not None else ""
    except ValueError:
        flaw = "it cannot be read"
    else:
        host = parts.hostname or ""
        if parts.scheme not in {"http", "https"} or not host:
            flaw = "it is not like https://api.binance.com"
        elif "@" in parts.netloc:
            flaw = "it contains user info"
        elif parts.path not in {"", "/"} or "?" in text or "#" in text:
            flaw = "it has more than a scheme, a host and a port"
        elif not re.fullmatch(r"[A-Za-z0-9._:\-]+", host):
            flaw = "its host is invalid"
        elif parts.scheme == "http" and not is_loopback(host):
            flaw = "plain http is for this machine only, use https"
    if flaw:  # not quoted, since it may contain a password
        raise ConfigurationError(f"{what} cannot be used: {flaw}; nothing was sent. Correct it.")
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}{port}"


def is_loopback(host: str) -> bool:
    """Return whether a host name or address is this machine's loopback."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
