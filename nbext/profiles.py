"""Which exchange, and which key.

A profile names an exchange. Four are built in: ``local`` (the built-in practice exchange, and the default),
``testnet``, ``demo`` and ``live``. ``custom`` is the base URL that the caller or ``NBEXT_BASE_URL`` gives. Users add
their own in ``profiles.toml`` in their configuration folder::

    [desk]
    base_url = "https://api.binance.com"
    api_key = "..."
    private_key = "~/keys/desk.pem"     # or secret_key = "..."
    always_ask = true

A credential comes from one source: the arguments, else the profile's entry, else the environment.
"""

from __future__ import annotations

import os
import re
import sys
import tomllib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol
from urllib.parse import urlsplit

from nbext import private_files
from nbext.base_url import parse_base_url
from nbext.credentials import Credential, Secret, quoted, sealed
from nbext.errors import ConfigurationError
from nbext.signals import let_through
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from nbext.exchange import LocalExchange

DEFAULT = "local"


class Exchange(Protocol):
    """Anything that says which profile it is of, such as a client."""

    profile: str


_BASE_URLS = {
    "testnet": "https://testnet.binance.vision",
    "demo": "https://demo-api.binance.com",
    "live": "https://api.binance.com",
}
_BUILT_IN = ("local", *_BASE_URLS, "custom")
PRACTICE_HOSTS = {urlsplit(_BASE_URLS[name]).netloc: name for name in ("testnet", "demo")}
"""The exchange's own hosts without real money, and the built-in profile of each."""
_FIELDS = frozenset({"base_url", "api_key", "secret_key", "private_key", "passphrase", "always_ask"})


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a profile sends, and with which key.

    Attributes
    ----------
    profile, base_url : str
    credential : Credential or None
        None if no source has one; public endpoints work without.
    always_ask : bool
        Whether to ask before canceling, even with `yes`.
    """

    profile: str
    base_url: str
    credential: Credential | None = None
    always_ask: bool = False


_selected: str | None = None
_local: LocalExchange | None = None


def select(profile: str | None) -> None:
    """Choose the profile that is used when none is named; None undoes that.

    Raises
    ------
    ConfigurationError
        The profile is unknown.
    """
    global _selected  # noqa: PLW0603 - one choice per kernel is what %nbext makes
    if profile is not None:
        _require_known(profile)
    _selected = profile


def names() -> list[str]:
    """Return the names of all profiles, built-in ones first."""
    return [*_BUILT_IN, *(name for name in _entries() if name not in _BUILT_IN)]


@sealed
def resolve(
    profile: str | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    secret_key: str | None = None,
    private_key: str | bytes | os.PathLike[str] | None = None,
    passphrase: str | None = None,
) -> Endpoint:
    """Return where to send, and with which key. Sends nothing; starts the local exchange if it is chosen.

    Parameters and errors as in `nbext.connect`.
    """
    name, url = _choose(profile, base_url)
    given = Credential.taken(
        "the arguments", api_key=api_key, secret_key=secret_key, private_key=private_key, passphrase=passphrase
    )
    if name == "local":
        if given is not None:
            raise ConfigurationError(
                "the local profile uses its own exchange's keys and no others; nothing was sent. "
                "Leave the key out, or use another profile."
            )
        exchange = _local_exchange()
        return Endpoint("local", exchange.url, Credential(Secret(exchange.api_key), Secret(exchange.secret_key)))
    entry = {} if name == "custom" else _entries().get(name, {})
    own = Credential.taken(
        f"profile {quoted(name)}",
        **{key: _text(entry, name, key) for key in ("api_key", "secret_key", "private_key", "passphrase")},
    )
    what = f"the base_url of profile {quoted(name)}"
    if url is not None:
        what = "the base URL" if base_url is not None else "NBEXT_BASE_URL"
    return Endpoint(
        name,
        parse_base_url(url or _BASE_URLS.get(name) or _text(entry, name, "base_url") or "", what),
        given or own or _environment_credential(),
        always_ask=entry.get("always_ask") is True,
    )


def chosen(profile: str | None = None) -> tuple[str, str]:
    """Return the profile in use, and what chose it.

    Raises
    ------
    ConfigurationError
        The choice is ambiguous.
    """
    name, url = _choose(profile, None)
    if profile is not None:
        return name, "named"
    if _selected is not None:
        return name, "chosen with %nbext"
    if _environment("NBEXT_PROFILE") is not None:
        return name, "from NBEXT_PROFILE"
    return name, "the default" if url is None else "from NBEXT_BASE_URL"


def file_in_use() -> Path | None:
    """Return the path of profiles.toml, where there is one that can be used.

    Raises
    ------
    ConfigurationError
        It cannot be used, and why.
    """
    return _path() if _entries() else None


def is_live(base_url: str) -> bool:
    """Return whether real money may be at stake.

    True for every host except testnet, demo, and exchanges started by this process.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.netloc in PRACTICE_HOSTS:
        return False
    return not ends_with_this_process(base_url)


def ends_with_this_process(base_url: str) -> bool:
    """Return whether this process started the exchange."""
    # Not imported, or not whole yet while a thread imports it: this process has started none.
    is_ours = getattr(sys.modules.get("nbext.exchange"), "is_ours", None)
    return is_ours is not None and bool(is_ours(base_url))


def local() -> LocalExchange:
    """Return the exchange behind the ``local`` profile, started on first use.

    Returns
    -------
    LocalExchange
        One per process; it ends with the process.

    Raises
    ------
    ConfigurationError
        This process was forked from the one that started it. The profile works anyway.
    """
    exchange = _local_exchange()
    if exchange.is_inherited:
        raise ConfigurationError(
            "nbext.local() belongs to the parent of this process; nothing was sent. "
            "Call it there; the profile 'local' works here, too."
        )
    return exchange


def is_untouched(exchange: Exchange) -> bool:
    """Whether this is the exchange behind the ``local`` profile, of this process, before any order was placed on it."""
    return exchange.profile == DEFAULT and _local is not None and not _local.is_inherited and _local.is_untouched


def _local_exchange() -> LocalExchange:
    """Return the exchange of this process; in a forked child the parent's, if it was started before the fork."""
    global _local  # noqa: PLW0603 - one exchange per process is what the profile promises
    from nbext.exchange import LocalExchange

    if _local is not None and _local.is_inherited:
        return _local
    if _local is None or _local.pid != os.getpid():
        _local = LocalExchange()
    return _local.start()  # again, if it was stopped


def _choose(profile: str | None, base_url: str | None) -> tuple[str, str | None]:
    """Return the profile, and its base URL if that is not the profile's own."""
    _require_name(profile)
    environment_url = _environment("NBEXT_BASE_URL")
    if base_url is not None:
        if profile not in {None, "custom"}:
            raise ConfigurationError(
                f"a base URL and the profile {quoted(profile)} were both given; nothing was sent. Use one of them."
            )
        return "custom", base_url
    named = profile or _selected or _environment("NBEXT_PROFILE")
    if named in {None, "custom"}:
        if environment_url is None and named == "custom":
            raise ConfigurationError("the profile 'custom' has no base URL; nothing was sent. Set NBEXT_BASE_URL.")
        return (DEFAULT, None) if environment_url is None else ("custom", environment_url)
    if environment_url is not None:
        raise ConfigurationError(
            f"NBEXT_BASE_URL is set, and the profile {quoted(named)} is named as well; nothing was sent. "
            "Unset one of them."
        )
    _require_known(str(named))
    return str(named), None


def _require_name(profile: object) -> None:
    if profile is not None and not isinstance(profile, str):
        raise ConfigurationError(
            f"a profile name must be text, not {quoted(profile)}; nothing was sent. Use one of {', '.join(names())}."
        )


def _require_known(profile: str) -> None:
    if profile not in _BUILT_IN and profile not in _entries():
        raise ConfigurationError(
            f"unknown profile {quoted(profile)}; nothing was sent. Use one of {', '.join(names())}, "
            f"or add your own in {_path()}."
        )


def _environment(name: str) -> str | None:
    """Return a variable; an empty one counts as unset, the usual way to unset one for a single command."""
    return os.environ.get(name, "").strip() or None


def _environment_credential() -> Credential | None:
    read = {"BINANCE_API_KEY", "BINANCE_API_SECRET", "BINANCE_PRIVATE_KEY", "BINANCE_PRIVATE_KEY_PASSPHRASE"}
    if {name for name in read if _environment(name)} == {"BINANCE_API_KEY"}:
        strays = sorted(name for name in os.environ if name.startswith("BINANCE_") and "SECRET" in name)
        if strays := [name for name in strays if name not in read]:
            raise ConfigurationError(
                f"{printable(strays[0])} is set, but never read; nothing was sent. Rename it BINANCE_API_SECRET."
            )
    return Credential.taken(
        "the environment",
        api_key=_environment("BINANCE_API_KEY"),
        secret_key=_environment("BINANCE_API_SECRET"),
        private_key=_environment("BINANCE_PRIVATE_KEY"),
        passphrase=_environment("BINANCE_PRIVATE_KEY_PASSPHRASE"),
    )


def _path() -> Path:
    import platformdirs

    return platformdirs.user_config_path("nbext", appauthor=False) / "profiles.toml"


@sealed
def _entries() -> Mapping[str, Mapping[str, object]]:
    """Read the profile file, if there is one and only its owner can read or write it."""
    path = _path()
    try:
        with path.open("rb") as file:
            if flaw := private_files.flaw(os.fstat(file.fileno())):
                raise _unusable(path, flaw)
            raw = file.read()
    except FileNotFoundError:
        return {}
    except OSError as error:
        let_through(error)
        raise _unusable(path, f"cannot be read ({error.strerror})") from None
    entries, flaw = _parsed(raw)
    if flaw:
        raise _unusable(path, flaw)
    return entries


def _parsed(raw: bytes) -> tuple[dict[str, dict[str, object]], str]:
    """Return the profiles, or what is wrong with them; tomllib's message could quote the line with the secret."""
    if raw.startswith((b"\xff\xfe", b"\xfe\xff")) or b"\0" in raw:
        return {}, "is UTF-16, as some Windows programs write: save it as UTF-8"
    try:
        text = raw.decode("utf-8-sig")  # Windows editors write a byte order mark
        entries = tomllib.loads(text)
    except UnicodeDecodeError as error:
        number = raw.count(b"\n", 0, error.start) + 1
        return {}, f"is not UTF-8 at line {number}: save it as UTF-8"
    except tomllib.TOMLDecodeError as error:
        found = re.search(r"at line ([0-9]+)", str(error))
        return {}, _syntax_flaw(text, int(found[1]) if found else _unclosed(text))
    except RecursionError:
        return {}, "is not TOML: its values are nested too deeply"
    return entries, next(filter(None, (_entry_flaw(name, entry) for name, entry in entries.items())), "")


def _unusable(path: Path, flaw: str) -> ConfigurationError:
    return ConfigurationError(f"{path} {flaw}; nothing was sent. Fix the file, or move it.")


def _unclosed(text: str) -> int:
    """Return the number of the line where an unclosed value most likely begins."""
    lines = text.rstrip().split("\n")
    odd = (number for number, line in enumerate(lines, 1) if line.count("'") % 2 or line.count('"') % 2)
    return next(odd, len(lines))


def _syntax_flaw(text: str, number: int) -> str:
    """Return what is wrong with a line, without quoting it."""
    line = [*text.split("\n"), ""][number - 1]
    where = f"is not TOML at line {number}"
    if re.search(r'=\s*"[^"]*\\', line):
        return rf"{where}: a backslash in double quotes begins an escape; put a Windows path in single quotes"
    if re.match(r"\s*[A-Za-z_-]+\s*=\s*[^\s\"'\[{]", line):
        return f"{where}: text needs quotes"
    if re.match(r"\s*\[", line):
        return f"{where}: a profile's name goes in brackets on a line of its own, once"
    return where


def _entry_flaw(name: str, entry: object) -> str:
    flaw, named = "", quoted(name)
    if not isinstance(entry, dict):
        flaw = f"has {named} outside any profile"
    elif name in {"local", "custom"}:
        flaw = f"configures {named}, which is built in and cannot be changed"
    elif strange := sorted(set(entry) - _FIELDS):
        flaw = f"has {quoted(strange[0])} in profile {named}, which is not one of {', '.join(sorted(_FIELDS))}"
    elif name in _BASE_URLS and "base_url" in entry:
        flaw = f"changes the base URL of the built-in profile {named}"
    elif name not in _BASE_URLS and not entry.get("base_url"):
        flaw = f"sets no base_url for profile {named}"
    elif not isinstance(entry.get("always_ask", False), bool):
        flaw = f"sets always_ask of profile {named} to neither true nor false"
    return flaw


def _text(entry: Mapping[str, object], profile: str, field: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(
            f"{field} of profile {quoted(profile)} is not text; nothing was sent. Fix profiles.toml."
        )
    return value or None
