"""Which exchange, and which key.

A profile names an exchange. Four are built in: ``local`` (the exchange that nbext brings along, and the default),
``testnet``, ``demo`` and ``live``. ``custom`` is whatever base URL the caller or ``NBEXT_BASE_URL`` gives. More may
stand in ``profiles.toml`` in the user's configuration folder::

    [desk]
    base_url = "https://api.binance.com"
    api_key = "..."
    private_key = "~/keys/desk.pem"     # or secret_key = "..."
    always_ask = true

A credential is taken whole from one source: the arguments; else the profile's own entry; else the environment.
"""

from __future__ import annotations

import os
import stat
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nbext.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange import LocalExchange

DEFAULT = "local"
_BASE_URLS = {
    "testnet": "https://testnet.binance.vision",
    "demo": "https://demo-api.binance.com",
    "live": "https://api.binance.com",
}
_BUILT_IN = ("local", *_BASE_URLS, "custom")
_PRACTICE_HOSTS = frozenset({"testnet.binance.vision", "demo-api.binance.com"})
_FIELDS = frozenset({"base_url", "api_key", "secret_key", "private_key", "passphrase", "always_ask"})


@dataclass(frozen=True, repr=False, slots=True)
class Credential:
    """An API key with its one secret. Its repr shows nothing."""

    api_key: str
    secret_key: str | None = None
    private_key: bytes | None = None
    passphrase: str | None = None

    def __repr__(self) -> str:
        return "<credential>"


@dataclass(frozen=True, repr=False, slots=True)
class Given:
    """What somebody gave as a credential, whole or not. Its repr shows nothing."""

    api_key: str | None = None
    secret_key: str | None = None
    private_key: str | bytes | os.PathLike[str] | None = None
    passphrase: str | None = None

    def __repr__(self) -> str:
        return "<given credential>"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What a profile comes to: where to send, and with which key.

    Attributes
    ----------
    profile, base_url : str
    credential : Credential or None
        None when there is none anywhere; public endpoints work without.
    always_ask : bool
        Whether to ask before canceling, whatever the caller says.
    """

    profile: str
    base_url: str
    credential: Credential | None = None
    always_ask: bool = False


_selected: str | None = None
_local: LocalExchange | None = None


def select(profile: str | None) -> None:
    """Make a profile the one that is used when none is named; None undoes it.

    Raises
    ------
    ConfigurationError
        There is no such profile.
    """
    global _selected  # noqa: PLW0603 - one choice per kernel is what %nbext makes
    if profile is not None:
        _require_known(profile)
    _selected = profile


def names() -> list[str]:
    """Names of all profiles, built-in ones first."""
    return [*_BUILT_IN, *(name for name in _entries() if name not in _BUILT_IN)]


def resolve(
    profile: str | None = None,
    *,
    base_url: str | None = None,
    api_key: str | None = None,
    secret_key: str | None = None,
    private_key: str | bytes | os.PathLike[str] | None = None,
    passphrase: str | None = None,
) -> Endpoint:
    """Find out where to send, and with which key. Sends nothing; starts the local exchange when it is meant.

    Parameters
    ----------
    profile : str, optional
        Else the one chosen with ``%nbext``, else ``NBEXT_PROFILE``, else ``custom`` where there is a base URL, else
        ``local``.
    base_url : str, optional
        Makes the profile ``custom``.
    api_key, secret_key, passphrase : str, optional
        A credential, to be given whole.
    private_key : str, bytes or path, optional
        Path of a PEM file, or the PEM itself.

    Raises
    ------
    ConfigurationError
        The choice is ambiguous, the credential is not whole, or a file cannot be used.
    """
    given = Given(api_key, secret_key, private_key, passphrase)
    # A traceback that shows local variables shows none of these.
    del api_key, secret_key, private_key, passphrase
    return resolve_given(profile, base_url, given)


def resolve_given(profile: str | None, base_url: str | None, credential: Given) -> Endpoint:
    """Do as `resolve` does, with a credential that no traceback shows.

    Raises
    ------
    ConfigurationError
        As `resolve`.
    """
    try:
        return _resolve(profile, base_url, credential)
    except ConfigurationError as error:
        refused = error.with_traceback(None)  # its frames hold keys, and the profile file
    refused.__context__ = None
    raise refused


def _resolve(profile: str | None, base_url: str | None, arguments: Given) -> Endpoint:
    name, url = _choose(profile, base_url)
    given = _credential(
        "the arguments", arguments.api_key, arguments.secret_key, arguments.private_key, arguments.passphrase
    )
    if name == "local":
        if given is not None:
            raise ConfigurationError(
                "the local profile uses its own exchange's keys and no others; nothing was sent. "
                "Leave the key out, or name another profile."
            )
        exchange = local()
        return Endpoint("local", exchange.url, Credential(exchange.api_key, exchange.secret_key))
    entry = {} if name == "custom" else _entries().get(name, {})
    own = _credential(
        f"profile {name!r}",
        *(_text(entry, name, key) for key in ("api_key", "secret_key", "private_key", "passphrase")),
    )
    return Endpoint(
        name,
        url or _BASE_URLS.get(name) or _text(entry, name, "base_url") or "",
        given or own or _environment_credential(),
        always_ask=entry.get("always_ask") is True,
    )


def is_live(base_url: str) -> bool:
    """Whether real money may be at stake.

    That is so for every host but testnet, demo, and an exchange that this process started.
    """
    parts = urlsplit(base_url)
    if parts.scheme == "https" and parts.netloc in _PRACTICE_HOSTS:
        return False
    exchange = sys.modules.get("nbext.exchange")  # what nobody has imported, this process has not started
    return exchange is None or not exchange.is_ours(base_url)


def local() -> LocalExchange:
    """Give the exchange behind the ``local`` profile, started when it is first needed.

    Returns
    -------
    LocalExchange
        One per process; it ends with the process.
    """
    global _local  # noqa: PLW0603 - one exchange per process is what the profile promises
    if _local is None:
        from nbext.exchange import LocalExchange

        _local = LocalExchange()
    return _local.start()  # again, where it was stopped meanwhile


def _choose(profile: str | None, base_url: str | None) -> tuple[str, str | None]:
    """Name the profile, and the base URL where it is not the profile's own."""
    environment_url = _environment("NBEXT_BASE_URL")
    if base_url is not None:
        if profile not in {None, "custom"}:
            raise ConfigurationError(
                f"a base URL and the profile {profile!r} were both given; nothing was sent. Give one of them."
            )
        return "custom", base_url
    named = profile or _selected or _environment("NBEXT_PROFILE")
    if named in {None, "custom"}:
        if environment_url is None and named == "custom":
            raise ConfigurationError("the profile 'custom' has no base URL; nothing was sent. Set NBEXT_BASE_URL.")
        return (DEFAULT, None) if environment_url is None else ("custom", environment_url)
    if environment_url is not None:
        raise ConfigurationError(
            f"NBEXT_BASE_URL is set, and the profile {named!r} is named as well; nothing was sent. Unset one of them."
        )
    _require_known(str(named))
    return str(named), None


def _require_known(profile: str) -> None:
    if profile not in _BUILT_IN and profile not in _entries():
        raise ConfigurationError(
            f"there is no profile {profile!r}; nothing was sent. There are {', '.join(names())}; "
            f"more can be written into {_path()}."
        )


def _environment(name: str) -> str | None:
    """Read a variable; an empty one counts as unset, as shells have no better way to unset one for a command."""
    return os.environ.get(name, "").strip() or None


def _environment_credential() -> Credential | None:
    names_ = ("BINANCE_API_KEY", "BINANCE_API_SECRET", "BINANCE_PRIVATE_KEY", "BINANCE_PRIVATE_KEY_PASSPHRASE")
    return _credential("the environment", *(_environment(name) for name in names_))


def _credential(
    source: str,
    api_key: str | None,
    secret_key: str | None,
    private_key: str | bytes | os.PathLike[str] | None,
    passphrase: str | None,
) -> Credential | None:
    if api_key is None and secret_key is None and private_key is None:
        return None
    flaw = ""
    if secret_key is not None and private_key is not None:
        flaw = "holds a secret key and a private key; an API key has one of them"
    elif api_key is None:
        flaw = "has no API key beside the secret"
    elif secret_key is None and private_key is None:
        flaw = "has neither a secret key nor a private key beside the API key"
    if flaw or api_key is None:
        raise ConfigurationError(f"the credential of {source} {flaw}; nothing was sent. Give it whole, from one place.")
    if private_key is None:
        return Credential(api_key, secret_key)
    return Credential(api_key, None, _pem(source, private_key), passphrase)


def _pem(source: str, private_key: str | bytes | os.PathLike[str]) -> bytes:
    if isinstance(private_key, bytes):
        return private_key
    if isinstance(private_key, str) and private_key.lstrip().startswith("-----BEGIN "):
        return private_key.encode()
    try:
        return Path(private_key).expanduser().read_bytes()
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
    # The path stays out of it: somebody may have put the key itself where its path belongs.
    raise ConfigurationError(
        f"the private key file of {source} cannot be read ({reason}); nothing was sent. Check its path."
    )


def _path() -> Path:
    import platformdirs

    return platformdirs.user_config_path("nbext", appauthor=False) / "profiles.toml"


def _entries() -> Mapping[str, Mapping[str, object]]:
    """Read the profile file, if there is one and nobody else can read or could have written it."""
    path = _path()
    entries, flaw = _read(path)
    if flaw:
        del entries  # a traceback that shows local variables shows no key
        raise ConfigurationError(f"{path} {flaw}; nothing was sent. Mend the file, or move it away.")
    return entries


def _read(path: Path) -> tuple[Mapping[str, Mapping[str, object]], str]:
    """Read profiles, and say what is wrong with them, if anything is."""
    flaw = ""
    try:
        with path.open("rb") as file:
            if os.name == "posix":
                facts = os.fstat(file.fileno())
                if facts.st_uid != os.geteuid():
                    flaw = "belongs to somebody else"
                elif facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                    flaw = "can be read or written by others: chmod 600 it"
            entries = {} if flaw else tomllib.load(file)
    except FileNotFoundError:
        return {}, ""
    except OSError as error:
        entries, flaw = {}, f"cannot be read ({error.strerror})"
    except ValueError:
        # tomllib's own words can quote the line, which may be the one with the secret.
        entries, flaw = {}, "is not TOML"
    for name, entry in entries.items():
        flaw = flaw or _entry_flaw(name, entry)
    return entries, flaw


def _entry_flaw(name: str, entry: object) -> str:
    flaw = ""
    if not isinstance(entry, dict):
        flaw = f"holds {name!r} outside any profile"
    elif name in {"local", "custom"}:
        flaw = f"describes {name!r}, which is built in and takes nothing from a file"
    elif strange := sorted(set(entry) - _FIELDS):
        flaw = f"holds {strange[0]!r} in profile {name!r}, which is none of {', '.join(sorted(_FIELDS))}"
    elif name in _BASE_URLS and "base_url" in entry:
        flaw = f"gives the built-in profile {name!r} another base URL"
    elif name not in _BASE_URLS and not entry.get("base_url"):
        flaw = f"gives profile {name!r} no base_url"
    elif not isinstance(entry.get("always_ask", False), bool):
        flaw = f"gives profile {name!r} an always_ask that is neither true nor false"
    return flaw


def _text(entry: Mapping[str, object], profile: str, field: str) -> str | None:
    value = entry.get(field)
    if value is not None and not isinstance(value, str):
        raise ConfigurationError(f"{field} of profile {profile!r} is not text; nothing was sent. Mend profiles.toml.")
    return value or None
