"""Why there was no answer: which side failed, and what to do about it.

Never in the error's own words, which may quote the URL and its signature.
"""

from __future__ import annotations

import http.client
import os
import re
import socket
import ssl
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nbext.errors import DOCTOR

if TYPE_CHECKING:
    from collections.abc import Iterator

NETWORK = f"Check the host and the network{DOCTOR}."
AGAIN = "Try again."
BUNDLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
# OpenSSL's numbers, which Python has no names for.
_UNKNOWN_AUTHORITY = frozenset({2, 18, 19, 20, 21, 27})
_OUT_OF_DATE = frozenset({9, 10})
_OTHER_NAME = frozenset({62, 63, 64})


class LateError(TimeoutError):
    """The deadline of the call has passed."""


class MixedUpError(OSError):
    """What arrived may be the answer to another request."""


class SetUpError(OSError):
    """A setting prevents connections.

    Attributes
    ----------
    reason, advice : str
    """

    def __init__(self, reason: str, advice: str) -> None:
        super().__init__(reason)
        self.reason, self.advice = reason, advice


def explain(error: BaseException, stage: str, host: str, proxy: str, tunnel_status: int) -> tuple[str, str]:
    """Return why a request got no answer, and what to do.

    Parameters
    ----------
    error : BaseException
    stage : str
        How far it got: ``name``, ``connection``, ``proxy TLS``, ``tunnel``, ``socks``, ``TLS`` or ``request``.
    host : str
        The host it was for.
    proxy : str
        The proxy's URL, empty without one.
    tunnel_status : int
        The proxy's answer to CONNECT; 0 if there was none.

    Returns
    -------
    reason, advice : str
        The reason follows "not sent, because" or "sent, but"; the advice is a sentence.
    """
    causes = list(_chain(error))
    for cause in causes:
        if isinstance(cause, SetUpError):
            return cause.reason, cause.advice
        if isinstance(cause, MixedUpError):
            return "its answer may belong to another request", AGAIN
    told = f"Check the proxy's address in {_variables(proxy)}." if proxy else NETWORK
    return _OF_STAGE.get(stage, _answer)(_Way(causes, host, shown(proxy) if proxy else "", told, tunnel_status))


def set_up(error: BaseException, proxy: str) -> SetUpError:
    """Return why no connection could be set up, given the error."""
    where = _variables(proxy)
    words = "".join(str(cause) for cause in _chain(error))
    # What GNOME calls socks:// is a scheme that neither requests nor PySocks knows.
    if "SOCKS support" in words and not proxy.lower().startswith("socks:"):
        return without_pysocks(proxy)
    return SetUpError(
        f"the proxy URL in {where} cannot be used",
        f"Set {where} to http://host:port, https://host:port or socks5h://host:port.",
    )


def without_pysocks(proxy: str) -> SetUpError:
    """Return the error for a SOCKS proxy where the package for it is missing."""
    return SetUpError(
        f"the proxy {shown(proxy)} is a SOCKS proxy, and PySocks is not installed",
        "Run %pip install pysocks, then restart the kernel.",
    )


def require_bundle(path: str) -> None:
    """Raise if a certificate file does not exist or cannot be read."""
    if not os.access(path, os.F_OK):
        raise SetUpError(*_bundle("does not exist"))
    if not os.access(path, os.R_OK):
        raise SetUpError(*_bundle("cannot be read"))


def shown(proxy: str) -> str:
    """Return a proxy's URL without user name and password."""
    try:
        parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
        return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"
    except ValueError:
        return "in the environment"


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the errors it wraps, outermost first."""
    seen: list[BaseException] = [error]
    for cause in seen:
        yield cause
        links = (getattr(cause, "reason", None), getattr(cause, "socket_err", None), cause.__cause__, cause.__context__)
        seen += [link for link in (*links, *cause.args) if isinstance(link, BaseException) and link not in seen]


def _variables(proxy: str) -> str:
    """Return the variable that sets a proxy; HTTPS_PROXY if it comes from elsewhere."""
    names = [name for name in os.environ if name.lower() in {"https_proxy", "http_proxy", "all_proxy"}]
    return next((name for name in sorted(names, key=_precedence) if os.environ[name] == proxy), "HTTPS_PROXY")


def _precedence(name: str) -> tuple[bool, bool]:
    return not name.lower().startswith("https"), name.isupper()


def _bundle(flaw: str) -> tuple[str, str]:
    variable = next((name for name in BUNDLES if os.environ.get(name)), BUNDLES[0])
    return (
        f"the certificate file in {variable} {flaw}",
        f"Fix {variable}, or unset it to use the default certificates.",
    )


@dataclass(frozen=True, slots=True)
class _Way:
    """How a request failed."""

    causes: list[BaseException]
    host: str
    proxy: str
    told: str
    tunnel_status: int

    def has(self, *kinds: type[BaseException]) -> bool:
        return any(isinstance(cause, kinds) for cause in self.causes)

    @property
    def refused_certificate(self) -> int | None:
        """OpenSSL's number for why a certificate was refused, if one was."""
        refusals = (cause.verify_code for cause in self.causes if isinstance(cause, ssl.SSLCertVerificationError))
        return next(refusals, None)


def _name(way: _Way) -> tuple[str, str]:
    whose = f"the name of the proxy {way.proxy}" if way.proxy else "the host name"
    if way.has(TimeoutError):
        return f"looking up {whose} took too long", way.told
    return f"{whose} could not be resolved", way.told


def _connection(way: _Way) -> tuple[str, str]:
    if way.has(ConnectionRefusedError):
        reason = f"the proxy {way.proxy} refused the connection" if way.proxy else "the connection was refused"
    elif way.has(TimeoutError):
        reason = f"the proxy {way.proxy} did not answer in time" if way.proxy else "the connection timed out"
    else:
        reason = f"{f'the proxy {way.proxy}' if way.proxy else 'the host'} could not be reached"
    return reason, way.told


def _proxy_tls(way: _Way) -> tuple[str, str]:
    if (refused := way.refused_certificate) is not None:
        reason, flaw = f"the certificate of the proxy {way.proxy} could not be verified", _flaw(refused)
        if refused in _UNKNOWN_AUTHORITY:
            return reason + flaw, f"Point {_IN_BUNDLE}."
        return reason + flaw, _CHECK_DATE if refused in _OUT_OF_DATE else way.told
    if way.has(TimeoutError):
        reason = f"the proxy {way.proxy} did not answer in TLS in time; without TLS, use http://"
    else:
        reason = f"the proxy {way.proxy} does not use TLS, so its URL should begin with http://"
    return reason, way.told


def _tunnel(way: _Way) -> tuple[str, str]:
    status = way.tunnel_status
    if status == HTTPStatus.PROXY_AUTHENTICATION_REQUIRED:
        wanted = "http://name:password@host:port"
        return f"the proxy {way.proxy} requires a valid user name and password (407)", f"{way.told[:-1]}: {wanted}."
    if status and status != HTTPStatus.OK:
        return f"the proxy {way.proxy} refused to connect to {way.host} ({status}), or is not a proxy", way.told
    if way.has(TimeoutError):
        return f"the proxy {way.proxy} did not connect to {way.host} in time", way.told
    return f"the server at {way.proxy} does not answer like a proxy", way.told


def _socks(way: _Way) -> tuple[str, str]:
    names = {type(cause).__name__ for cause in way.causes}  # of PySocks, which may not be installed
    if "SOCKS5AuthError" in names:
        return f"the proxy {way.proxy} requires a valid user name and password", way.told
    if names & {"SOCKS5Error", "SOCKS4Error"}:
        return f"the proxy {way.proxy} could not connect to {way.host}", way.told
    if way.has(socket.gaierror):
        return f"the name of the proxy {way.proxy}, or of {way.host}, could not be resolved", way.told
    if way.has(TimeoutError, ConnectionRefusedError) or "ProxyConnectionError" in names:
        return _connection(way)
    return f"the server at {way.proxy} does not answer like a SOCKS proxy", way.told


def _tls(way: _Way) -> tuple[str, str]:
    words = " ".join(str(cause) for cause in way.causes if isinstance(cause, ssl.SSLError))
    if (refused := way.refused_certificate) is not None:
        return _certificate(refused)
    if _NO_CERTIFICATES.search(words):
        return _bundle("contains no certificates")
    if way.has(TimeoutError):
        reason = "the TLS handshake timed out"
    elif "WRONG_VERSION_NUMBER" in words or "HTTP_REQUEST" in words:
        reason = "the server there does not use TLS"
    elif way.has(ConnectionError, ssl.SSLEOFError):
        reason = "the connection broke during the TLS handshake"
    else:
        reason = "TLS failed"
    return reason, NETWORK


_NO_CERTIFICATES = re.compile("NO_CERTIFICATE_OR_CRL_FOUND|NO_START_LINE|BAD_BASE64|BAD_END_LINE")


_IN_BUNDLE = f"{BUNDLES[0]} at a file with its authority's certificate, in PEM"
_CHECK_DATE = "Check this machine's date."


def _certificate(code: int) -> tuple[str, str]:
    reason = f"the host's certificate could not be verified{_flaw(code)}"
    if code in _UNKNOWN_AUTHORITY:
        return f"{reason}, as behind a proxy or firewall that inspects TLS", f"If yours does, point {_IN_BUNDLE}."
    if code in _OUT_OF_DATE:
        return reason, _CHECK_DATE
    return reason, f"Check the host and the proxy{DOCTOR}." if code in _OTHER_NAME else NETWORK


def _flaw(code: int) -> str:
    """Return what is wrong with a certificate, to follow a statement; nothing if it is something rare."""
    if code in _UNKNOWN_AUTHORITY:
        return ": its issuer is not known here"
    if code in _OUT_OF_DATE:
        return ": it is out of date, or this machine's clock is off"
    return ": it is for another host" if code in _OTHER_NAME else ""


_ANSWERS: tuple[tuple[type[BaseException], str], ...] = (
    (LateError, "time ran out"),
    (ssl.SSLError, "TLS failed"),
    (TimeoutError, "no answer came in time"),
    (ConnectionError, "the connection broke"),
    (http.client.HTTPException, "the answer was not HTTP"),
)


def _answer(way: _Way) -> tuple[str, str]:
    found = "the network failed"
    for cause in way.causes:  # the innermost known one
        found = next((words for kind, words in _ANSWERS if isinstance(cause, kind)), found)
    return found, AGAIN if way.has(LateError) else NETWORK


_OF_STAGE = {
    "name": _name,
    "connection": _connection,
    "proxy TLS": _proxy_tls,
    "tunnel": _tunnel,
    "socks": _socks,
    "TLS": _tls,
}
