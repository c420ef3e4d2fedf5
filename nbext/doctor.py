"""Is everything there that a cancel needs? One line per check, in the order in which things go wrong.

It reads, and sends one test order (``POST /api/v3/order/test``), which never reaches the matching engine. It cancels
nothing.
"""

from __future__ import annotations

import importlib.metadata
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple

from nbext import profiles, session
from nbext.errors import ConfigurationError, NbextError, RejectedError
from nbext.spot import surroundings
from nbext.spot.causes import SetUpError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from pandas import DataFrame

    from nbext.spot.client import SpotClient

NEEDED = {"pandas": "3", "IPython": "8.18", "ipywidgets": "8.1.5"}
"""The packages whose version matters once a kernel has loaded them, and the oldest that will do."""

_SLOW_MS = 1000.0
_OFF_MS = 1000.0
_PINGS = 3
_WEIGHT_PER_MINUTE = 6000
# Refusals of the request itself or of its key; any other refusal of a test order is about the order.
_OF_KEYS = frozenset({-1002, -1021, -1022, -2008, -2014, -2015, -2017})
_TEST_ORDER = {"symbol": "BTCUSDT", "side": "BUY", "type": "LIMIT", "timeInForce": "GTC", "quantity": "0.001"}


class Check(NamedTuple):
    """What one check found.

    Attributes
    ----------
    state : {"ok", "warn", "fail"}
    check : str
        What was checked.
    found : str
        What was found, and where it is not ok, what to do.
    """

    state: str
    check: str
    found: str

    def __str__(self) -> str:
        return f"{self.state:<5} {self.check:<12} {self.found}"


def examine(profile: str | None = None) -> Iterator[Check]:
    """Check everything that a cancel needs, one thing after the other. Later checks are left out where they cannot be.

    Parameters
    ----------
    profile : str, optional
        As for `nbext.cancel_all`.
    """
    yield from _to_the_exchange(profile)
    yield _journal()
    yield from _versions()


def _to_the_exchange(profile: str | None) -> Iterator[Check]:
    client = None  # the last one, or none
    for check, made in _profile(profile):
        yield check
        client = made
    if client is None:
        return
    reached = True
    for check in _way(client):
        reached = reached and check.state != "fail"
        yield check
    if reached:
        yield from _exchange(client)


def frame(checks: list[Check]) -> DataFrame:
    """Return checks as a DataFrame."""
    from nbext.frames import checks as table

    return table.frame(("check", "state", "found"), [(each.check, each.state, each.found) for each in checks])


def _versions() -> Iterator[Check]:
    for name, least in NEEDED.items():
        loaded = getattr(sys.modules.get(name), "__version__", None)
        try:
            installed = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            yield Check("fail", name, f"not installed. Run %pip install '{name}>={least}', then restart the kernel.")
            continue
        if _number(installed) < _number(least):
            advice = f"Run %pip install -U {name}, then restart the kernel."
            yield Check("fail", name, f"{installed}, and {least} or newer is needed. {advice}")
        elif loaded is not None and _number(loaded) < _number(least):
            said = f"{loaded} is loaded in this kernel, and {least} or newer is needed"
            yield Check("fail", name, f"{said}. Restart the kernel: {installed} is installed.")
        else:
            yield Check("ok", name, f"{loaded or installed}{'' if loaded else ', not loaded yet'}")


def _number(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:3] if part.isdecimal())


def _journal() -> Check:
    journal = session.journal()
    if journal.path is None:
        return Check("warn", "journal", "off, so that no cancel is recorded. Unset NBEXT_JOURNAL to have one.")
    if flaw := journal.flaw():
        return Check("warn", "journal", f"{flaw}. Cancels work, but are not recorded.")
    return Check("ok", "journal", str(journal.path))


def _profile(profile: str | None) -> Iterator[tuple[Check, SpotClient | None]]:
    try:
        path = profiles.file_in_use()
        yield Check("ok", "profiles", "none of your own" if path is None else f"{path}, yours alone"), None
        name, how = profiles.chosen(profile)
        client = session.client_for(profile)
    except ConfigurationError as error:
        yield Check("fail", "profile", str(error)), None
        return
    kind = "LIVE: real orders" if profiles.is_live(client.base_url) else "no real money"
    yield Check("ok", "profile", f"{name}, {how}: {client.base_url} ({kind})"), client
    if client.key_kind:
        yield Check("ok", "key", f"...{client.key_hint} ({client.key_kind}), can sign"), client
    else:
        advice = "Set BINANCE_API_KEY with BINANCE_API_SECRET or BINANCE_PRIVATE_KEY."
        yield Check("fail", "key", f"there is none for this profile. {advice}"), client


def _way(client: SpotClient) -> Iterator[Check]:
    """Follow the way to the host, up to its first answer."""
    try:
        proxy = surroundings.proxy(client.base_url)
        yield Check("ok", "proxy", proxy or "none")
    except SetUpError as error:
        yield Check("fail", "proxy", f"{error.reason}. {error.advice}")
        return
    try:
        yield Check("ok", "certificates", surroundings.bundle() or "those that requests trusts")
    except SetUpError as error:
        yield Check("fail", "certificates", f"{error.reason}. {error.advice}")
        return
    if not proxy:  # which looks the name up itself, or hides the addresses
        yield from _addresses(client)
    began = time.monotonic()
    try:
        client.request("GET", "/api/v3/ping", signed=False)
    except NbextError as error:
        yield Check("fail", "answer", str(error))
        return
    secure = "over TLS" if client.base_url.startswith("https") else "over plain HTTP to this machine"
    yield Check("ok", "answer", f"{secure}, the first after {(time.monotonic() - began) * 1000:.0f} ms")


def _addresses(client: SpotClient) -> Iterator[Check]:
    try:
        found = surroundings.addresses(client.base_url)
    except (OSError, UnicodeError) as error:
        said = "took too long" if isinstance(error, TimeoutError) else "failed"
        yield Check("fail", "name", f"looking up {client.host} {said}. Check the host and the network.")
        return
    yield Check("ok", "name", f"{client.host} has {len(found)} address{'' if len(found) == 1 else 'es'}")
    took = [(str(address[4][0]), surroundings.connect_seconds(address)) for address in found]
    reached = sum(seconds is not None for _, seconds in took)
    for where, seconds in took:
        if seconds is not None:
            yield Check("ok", "address", f"{where}, connected in {seconds * 1000:.0f} ms")
        else:
            others = "The others will do; this one costs time." if reached else "Check the network and its firewall."
            yield Check("warn" if reached else "fail", "address", f"{where} does not answer. {others}")


def _exchange(client: SpotClient) -> Iterator[Check]:
    """Ask the exchange itself."""
    try:
        took = []
        for _ in range(_PINGS):
            began = time.monotonic()
            client.request("GET", "/api/v3/ping", signed=False)
            took.append((time.monotonic() - began) * 1000)
        median = statistics.median(took)
        slow = "" if median < _SLOW_MS else ". Cancels will be as slow: use a machine nearer to the exchange."
        yield Check("warn" if slow else "ok", "latency", f"{median:.0f} ms{slow}")
        offset = client.measure_clock_offset()
        said = f"{abs(offset):.0f} ms {'behind' if offset > 0 else 'ahead of'} the exchange's"
        off = abs(offset) >= _OFF_MS
        advice = ". It is corrected for each request, but set the clock." if off else ""
        yield Check("warn" if off else "ok", "clock", f"{said}{advice}")
    except NbextError as error:
        yield Check("fail", "answer", str(error))
        return
    if client.key_kind:
        yield _account(client)
        yield _may_trade(client)
    if client.held_for:
        yield Check("fail", "limits", f"the exchange asked to wait {client.held_for:.0f} s. Nothing is sent before.")
    elif client.used_weight is None:
        yield Check("warn", "limits", "the exchange does not tell the weight used.")
    else:
        much = client.used_weight > _WEIGHT_PER_MINUTE / 2
        said = f"weight {client.used_weight} of {_WEIGHT_PER_MINUTE} used in this minute"
        advice = ". Something else at this address uses the rest: stop it, or wait." if much else ""
        yield Check("warn" if much else "ok", "limits", f"{said}{advice}")


def _account(client: SpotClient) -> Check:
    try:
        account = client.request("GET", "/api/v3/account", {"omitZeroBalances": "true"})
    except NbextError as error:
        return Check("fail", "account", str(error))
    if isinstance(account, dict) and account.get("canTrade") is False:
        return Check("fail", "account", "it may not trade, says the exchange. Check it on the exchange's website.")
    return Check("ok", "account", "key and address accepted, may trade")


def _may_trade(client: SpotClient) -> Check:
    """Have a test order checked, which needs the right to trade, as a cancel does."""
    try:
        price = client.request("GET", "/api/v3/ticker/price", {"symbol": _TEST_ORDER["symbol"]}, signed=False)["price"]
        client.request("POST", "/api/v3/order/test", {**_TEST_ORDER, "price": price})
    except RejectedError as error:
        if error.code is None or error.code in _OF_KEYS:
            return Check("fail", "trading", str(error))
        return Check("ok", "trading", f"allowed: a test order was refused only for itself ({error.code})")
    except (NbextError, LookupError, TypeError) as error:
        return Check("warn", "trading", f"a test order got no clear answer ({type(error).__name__}). Try again.")
    return Check("ok", "trading", "allowed: a test order was accepted, and not placed")
