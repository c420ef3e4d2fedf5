"""Is everything there that a cancel needs? One line per check, in the order in which things go wrong.

It reads, and sends one test order (``POST /api/v3/order/test``), which never reaches the matching engine. It cancels
nothing.
"""

from __future__ import annotations

import importlib.metadata
import re
import statistics
import sys
import time
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import urlsplit

from nbext import messages, profiles, session
from nbext.errors import DOCTOR, ConfigurationError, NbextError, RejectedError
from nbext.frames import checks as table
from nbext.signals import let_through
from nbext.spot import surroundings
from nbext.spot.causes import SetUpError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from pandas import DataFrame

    from nbext.spot.client import SpotClient
    from nbext.spot.dialing import Address

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
        return table.line(*self)


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


def frame(checks: Sequence[Check]) -> DataFrame:
    """Return checks as a DataFrame."""
    return table.frame([(each.check, each.state, each.found) for each in checks])


def summary(checks: Sequence[Check]) -> str:
    """Return how many checks were made, and which of them are not ok."""
    found = {
        said: [check.check for check in checks if check.state == state]
        for state, said in (("fail", "failed"), ("warn", "to look at"))
    }
    parts = [f"{len(names)} {said} ({', '.join(dict.fromkeys(names))})" for said, names in found.items() if names]
    return f"{messages.count(len(checks), 'check')}: {', '.join(parts) or 'all ok'}"


def _said(error: NbextError) -> str:
    """Return what an error says, without what it has in common with all others here."""
    said = re.sub(r"^([A-Z]+ )?\S+ on \S+ \(\S+\): ", "", str(error))
    for known in (DOCTOR, "; no orders were changed", "; nothing was sent"):
        said = said.replace(known, "")
    return said


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
        return Check("warn", "journal", "off, so cancels are not recorded. Unset NBEXT_JOURNAL to record them.")
    if flaw := journal.flaw():
        return Check("warn", "journal", f"{flaw}. Until that is fixed, cancels work but are not recorded.")
    return Check("ok", "journal", str(journal.path))


def _profile(profile: str | None) -> Iterator[tuple[Check, SpotClient | None]]:
    flaw = ""
    try:
        path = profiles.file_in_use()
        own = "no profiles.toml, so only the built-in ones" if path is None else f"{path}, which others cannot read"
        yield Check("ok", "profiles", own), None
    except ConfigurationError as error:
        flaw = _said(error)
        yield Check("fail", "profiles", flaw), None
    try:
        name, how = profiles.chosen(profile)
        client = session.client_for(profile)
    except ConfigurationError as error:
        if _said(error) != flaw:
            yield Check("fail", "profile", _said(error)), None
        return
    kind = "LIVE" if profiles.is_live(client.base_url) else "not live"
    yield Check("ok", "profile", f"{name}, {how}: {client.base_url} ({kind})"), client
    if client.key_kind:
        source = f" from {client.key_source}" if client.key_source else ""
        yield Check("ok", "key", f"...{client.key_hint} ({client.key_kind}){source}, can sign"), client
    else:
        advice = "Set BINANCE_API_KEY with BINANCE_API_SECRET or BINANCE_PRIVATE_KEY."
        yield Check("fail", "key", f"none for this profile. {advice}"), client


def _way(client: SpotClient) -> Iterator[Check]:
    """Follow the way to the host, up to its first answer."""
    try:
        proxy = surroundings.proxy(client.base_url)
        yield Check("ok", "proxy", proxy or "none")
    except SetUpError as error:
        yield Check("fail", "proxy", f"{error.reason}. {error.advice}")
        return
    try:
        yield Check("ok", "certificates", surroundings.bundle(client.base_url))
    except SetUpError as error:
        yield Check("fail", "certificates", f"{error.reason}. {error.advice}")
        return
    if not proxy:  # which looks the name up itself, or hides the addresses
        found = list(_addresses(client))
        yield from found
        if found[-1].check == "name" or all(check.state == "fail" for check in found[1:]):
            return
    began = time.monotonic()
    try:
        client.request("GET", "/api/v3/ping", signed=False)
    except NbextError as error:
        yield Check("fail", "answer", _said(error))
        return
    secure = "over TLS" if client.base_url.startswith("https") else "over plain HTTP to this machine"
    yield Check("ok", "answer", f"{secure}, the first after {(time.monotonic() - began) * 1000:.0f} ms")


def _addresses(client: SpotClient) -> Iterator[Check]:
    try:
        found = surroundings.addresses(client.base_url)
    except (OSError, UnicodeError) as error:
        said = "took too long" if isinstance(error, TimeoutError) else "failed"
        advice = "Check that the host is spelled correctly and that this machine is online."
        yield Check("fail", "name", f"looking up {client.host} {said}. {advice}")
        return
    hosts = [str(address[4][0]) for address in found]
    many = f"{client.host} has {len(found)} address{'' if len(found) == 1 else 'es'}"
    yield Check("ok", "name", "none to look up" if hosts == [urlsplit(client.base_url).hostname] else many)
    took = [(host, *_connected(address)) for host, address in zip(hosts, found, strict=True)]
    reached = any(was_reached for *_, was_reached in took)
    others = (
        "Others can be reached; this one costs time."
        if reached
        else "Check the base URL, the network and its firewall."
    )
    for where, said, was_reached in took:
        state = "ok" if was_reached else "warn" if reached else "fail"
        yield Check(state, "address", f"{where} {said}{'' if was_reached else f'. {others}'}")


def _connected(address: Address) -> tuple[str, bool]:
    """Return how connecting to an address went, and whether it was reached."""
    try:
        return f"connected in {surroundings.connect_seconds(address) * 1000:.0f} ms", True
    except OSError as error:
        let_through(error)
        return "refuses connections" if isinstance(error, ConnectionRefusedError) else "does not answer", False


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
        off = abs(offset) >= _OFF_MS
        advice = ". nbext corrects it for each request; other programs may not, so set the clock." if off else ""
        said = "in step with" if abs(offset) < 1 else messages.clock(offset)
        yield Check("warn" if off else "ok", "clock", f"{said} the exchange's{advice}")
    except NbextError as error:
        yield Check("fail", "answer", _said(error))
        return
    if client.key_kind:
        account, was_answered = _account(client)
        yield account
        if was_answered:
            yield _may_trade(client)
    if client.held_for:
        yield Check(
            "fail", "limits", f"the exchange asked to wait {client.held_for:.0f} s. Nothing is sent until then."
        )
    elif client.used_weight is None:
        yield Check("warn", "limits", "the exchange does not say how much weight is used.")
    else:
        much = client.used_weight > _WEIGHT_PER_MINUTE / 2
        said = f"weight {client.used_weight} of {_WEIGHT_PER_MINUTE} used in this minute"
        advice = ". Something else uses the limit of this address: stop it, or wait a minute." if much else ""
        yield Check("warn" if much else "ok", "limits", f"{said}{advice}")


def _account(client: SpotClient) -> tuple[Check, bool]:
    """Look at the account, and return whether it could be seen."""
    try:
        account = client.request("GET", "/api/v3/account", {"omitZeroBalances": "true"})
    except NbextError as error:
        return Check("fail", "account", _said(error)), False
    if isinstance(account, dict) and account.get("canTrade") is False:
        said = "the exchange says that it may not trade. Check it on the exchange's website."
        return Check("fail", "account", said), True
    return Check("ok", "account", "key and address accepted, may trade"), True


def _may_trade(client: SpotClient) -> Check:
    """Send a test order, which needs the right to trade, as a cancel does."""
    try:
        price = client.request("GET", "/api/v3/ticker/price", {"symbol": _TEST_ORDER["symbol"]}, signed=False)["price"]
        client.request("POST", "/api/v3/order/test", {**_TEST_ORDER, "price": price})
    except RejectedError as error:
        if error.code is None or error.code in _OF_KEYS:
            return Check("fail", "trading", _said(error))
        return Check("ok", "trading", f"allowed: of a test order, only the values were refused ({error.code})")
    except (NbextError, LookupError, TypeError) as error:
        return Check("warn", "trading", f"a test order got no clear answer ({type(error).__name__}). Try again.")
    return Check("ok", "trading", "allowed: a test order was accepted, and not placed")
