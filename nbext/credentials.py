"""Keys and secrets, kept so that nothing shows them.

Functions that take secrets are `sealed`; they turn them into a `Credential`, or refuse them, and pass that along.
"""

from __future__ import annotations

import functools
import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Never, ParamSpec, TypeVar

from nbext.errors import ConfigurationError
from nbext.untrusted import printable

if TYPE_CHECKING:
    from collections.abc import Callable

_P = ParamSpec("_P")
_T = TypeVar("_T")

_KINDS = {"api_key": "API key", "secret_key": "secret key", "private_key": "private key", "passphrase": "passphrase"}
# Longer than any name of a profile or a field, and shorter than any key: longer text is not quoted.
_LONGEST_NAME = 32
_LEAST_SECRET = 40
_LEAST_KEY = 8
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----(.*?)-----END \1-----", re.DOTALL)


def sealed(function: Callable[_P, _T]) -> Callable[_P, _T]:
    """Remove from the errors of a function the frames whose local variables are its arguments.

    IPython's verbose tracebacks, rich and ``capture_locals`` show local variables, with their attributes.
    """

    @functools.wraps(function)
    def door(*args: _P.args, **kwargs: _P.kwargs) -> _T:
        try:
            return function(*args, **kwargs)
        except BaseException as error:  # noqa: BLE001 - whatever it is, its frames hold the arguments
            failure = error.with_traceback(None)
            failure.__cause__ = failure.__context__ = None
        del args, kwargs  # this frame is shown
        try:
            raise failure
        finally:
            del failure  # which holds this frame

    return door


class Secret:
    """A text that only `reveal` returns: no repr, format, pickle, ``vars`` or attribute shows it."""

    __slots__ = ("_reveal",)
    _reveal: Callable[[], str]

    def __init__(self, text: str) -> None:
        self._reveal = lambda: text  # nothing that shows an object looks into a closure

    def reveal(self) -> str:
        """Return the text. Call it where the text is sent, and do not keep the result."""
        return self._reveal()

    def __repr__(self) -> str:
        return "<hidden>"

    def __format__(self, _: str) -> str:
        return "<hidden>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and self._reveal() == other._reveal()

    def __hash__(self) -> int:
        return hash(self._reveal())

    def __reduce__(self) -> Never:
        raise TypeError("a secret cannot be pickled")


@dataclass(frozen=True, slots=True, repr=False)
class Credential:
    """An API key with its one secret.

    Attributes
    ----------
    api_key : Secret
    secret_key : Secret or None
        Of an HMAC key.
    private_key : Secret or None
        PEM of an RSA or Ed25519 key, in place of the secret key.
    passphrase : Secret or None
        Of an encrypted private key.
    source : str
        Where it was given, for messages.
    """

    api_key: Secret
    secret_key: Secret | None = None
    private_key: Secret | None = None
    passphrase: Secret | None = None
    source: str = field(default="", compare=False)

    def __repr__(self) -> str:
        return "<credential>"

    @classmethod
    @sealed
    def taken(
        cls,
        source: str,
        *,
        api_key: object = None,
        secret_key: object = None,
        private_key: object = None,
        passphrase: object = None,
    ) -> Credential | None:
        """Return the credential that was given, complete or not at all.

        Text may be ``str``, ``bytes``, or an object with ``get_secret_value``, such as pydantic's. Blanks and line ends
        around keys are dropped; those in a PEM are repaired.

        Parameters
        ----------
        source : str
            Where it was given, for messages.
        api_key, secret_key, passphrase
            Text.
        private_key
            A PEM, or the path of one.

        Returns
        -------
        Credential or None
            None when nothing was given.

        Raises
        ------
        ConfigurationError
            It is incomplete, or cannot be a key. The message never quotes it.
        """
        given = {
            "api_key": _text(source, "api_key", api_key),
            "secret_key": _text(source, "secret_key", secret_key),
            "private_key": _pem(source, private_key),
            "passphrase": _text(source, "passphrase", passphrase),
        }
        key, secret, pem = given["api_key"], given["secret_key"], given["private_key"]
        if key is None and secret is None and pem is None:
            return None
        flaw = ""
        if secret is not None and pem is not None:
            flaw = "has both a secret key and a private key"
        elif key is None:
            flaw = "has a secret but no API key"
        elif secret is None and pem is None:
            flaw = "has an API key but neither a secret key nor a private key"
        if flaw or key is None:
            raise ConfigurationError(
                f"the credential of {source} {flaw}; nothing was sent. Set all of it in one place."
            )
        for what, text in (("api_key", key), ("secret_key", secret)):
            if text is not None and (misplaced := _misplaced(what, text)):
                raise _refused(source, what, misplaced)
        if key == secret and len(key) > _LEAST_KEY:
            raise _refused(source, "secret_key", ("is the same as the API key", "Paste each in its own place."))
        return cls(
            Secret(key),
            None if secret is None else Secret(secret),
            None if pem is None else Secret(pem),
            None if pem is None or given["passphrase"] is None else Secret(given["passphrase"]),
            source,
        )


def quoted(name: object) -> str:
    """Return a name for a message; long text in its place may be a key, and is not quoted."""
    if isinstance(name, str) and len(name) <= _LONGEST_NAME:
        return printable(repr(name))
    return f"<{len(name)} characters>" if isinstance(name, str) else f"<{type(name).__name__}>"


def _refused(source: str, what: str, flaw: tuple[str, str]) -> ConfigurationError:
    said, advice = flaw
    return ConfigurationError(f"the {_KINDS[what]} of {source} {said}; nothing was sent. {advice}")


def _text(source: str, what: str, value: object) -> str | None:
    """Return the text of any of the supported types."""
    if value is None:
        return None
    text = _plain(value)
    if text is None:
        kind = type(value).__name__
        raise _refused(source, what, (f"is {printable(kind)[:_LONGEST_NAME]}, not text", "Pass it as text."))
    return text if what == "passphrase" else text.strip()


def _plain(value: object) -> str | None:
    """Return a value as text; None if it is not text."""
    # Only by its type: asking the object would run its own code.
    kind = type(value)
    if issubclass(kind, Secret):
        return Secret.reveal(value)  # type: ignore[arg-type] # it is one
    if issubclass(kind, str):
        return str.__str__(value)  # a subclass may return something else
    if callable(getattr(kind, "get_secret_value", None)):
        try:
            return _plain_bytes(value.get_secret_value())  # type: ignore[attr-defined] # as pydantic's secrets have it
        except Exception:  # noqa: BLE001 - foreign code, whose message may quote the secret
            return None
    return _plain_bytes(value)


def _plain_bytes(value: object) -> str | None:
    if type(value) is str:
        return value
    if not isinstance(value, bytes | bytearray | memoryview):
        return None
    raw = bytes(value)
    wide = raw.startswith((b"\xff\xfe", b"\xfe\xff"))  # as PowerShell's ``>`` writes it
    return raw.decode("utf-16" if wide else "utf-8-sig", "replace")


def _pem(source: str, value: object) -> str | None:
    """Read a private key: a PEM, or the path of one."""
    if value is None:
        return None
    text = _plain(value)
    if text is None and issubclass(type(value), os.PathLike):
        try:
            text = _plain_bytes(os.fspath(value))  # type: ignore[call-overload] # it is a path
        except Exception:  # noqa: BLE001 - foreign code, whose message may quote the key
            text = None
    if text is None:
        kind = printable(type(value).__name__)[:_LONGEST_NAME]
        flaw = f"is {kind}, neither a PEM nor a path"
        raise _refused(source, "private_key", (flaw, "Pass the PEM as text, or the path of its file."))
    if "-----BEGIN " in text or not isinstance(value, str | os.PathLike | Secret):
        return _tidy(text)
    path = text.strip().strip("\"'")
    try:
        raw = Path(path).expanduser().read_bytes()
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
    else:
        return _tidy(_plain_bytes(raw) or "")
    # The message does not quote the path, which may be the key itself by mistake.
    advice = "Check its path."
    if re.fullmatch(r"[A-Za-z0-9+/=]+", path) and len(path) >= _LEAST_SECRET:
        advice = "It looks like a secret key: pass it as one (secret_key, BINANCE_API_SECRET)."
    elif re.search(r"[\t\n\r\f\x08\x07\x0b]", path):
        advice = r"It contains control characters, such as \t in double quotes: put a Windows path in single quotes."
    raise ConfigurationError(f"the private key file of {source} cannot be read ({reason}); nothing was sent. {advice}")


def _tidy(text: str) -> str:
    r"""Repair a PEM: quotes around it, ``\n`` written out, missing line ends."""
    pem = _PEM.search(re.sub(r"(\\r)?\\n", "\n", text))
    if pem is None:
        return text
    kind, body = pem[1], pem[2]
    if ":" in body:  # the old form of encryption, which has headers
        return "\n".join(line.strip() for line in pem[0].splitlines()) + "\n"
    letters = "".join(body.split())
    lines = [letters[start : start + 64] for start in range(0, len(letters), 64)]
    return "\n".join([f"-----BEGIN {kind}-----", *lines, f"-----END {kind}-----", ""])


def _misplaced(what: str, text: str) -> tuple[str, str] | None:
    """Return what was pasted in the wrong place, and what to do; None if nothing was."""
    if "-----BEGIN " in text:
        advice = "Set it as private_key, here or in the profile, or in BINANCE_PRIVATE_KEY."
        return "is a PEM", advice if what == "secret_key" else "Use the key that the exchange shows next to its name."
    if len(text) > 1 and text[0] in "\"'" and text[-1] == text[0]:
        return "is in quotes", "Remove the quotes."
    if what == "secret_key" and text.endswith((".pem", ".key", ".prv")):
        return "is the name of a file", "Set a private key as private_key or in BINANCE_PRIVATE_KEY."
    return None
