"""Credentials of every type and shape: taken or refused, and shown nowhere."""

from __future__ import annotations

import copy
import io
import os
import pickle
import re
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
)
from IPython.core.ultratb import AutoFormattedTB
from support.server import answer

import nbext
from nbext import profiles, session
from nbext.credentials import Credential, Secret
from nbext.errors import ConfigurationError
from nbext.spot.client import SpotClient

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer

URL = "http://127.0.0.1:9"
API_KEY = "kT7zPq2mVw9XcR4bNs8LhJ3gFd6YtA1eKuQ5iZoWxB0vCyMnDpErSaGjHlTfUkIq"
SECRET = "sR5nKd8WqT2vXz7LbHm4PcJy9GfA3eUo6IiQ1tYwVrN0sBxMkZpDhCgFjElSaOuT"
PASSPHRASE = "correct-horse-battery"
ED25519, RSA = ed25519.Ed25519PrivateKey.generate(), rsa.generate_private_key(65537, 2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


def pem(key: Any, layout: PrivateFormat = PrivateFormat.PKCS8, passphrase: str = "") -> str:
    """Write a private key as PEM."""
    encryption = BestAvailableEncryption(passphrase.encode()) if passphrase else NoEncryption()
    return str(key.private_bytes(Encoding.PEM, layout, encryption).decode())


PEMS = {
    "Ed25519": pem(ED25519),
    "RSA": pem(RSA),
    "RSA, PKCS#1": pem(RSA, PrivateFormat.TraditionalOpenSSL),
    "encrypted": pem(ED25519, passphrase=PASSPHRASE),
    "RSA, PKCS#1, encrypted": pem(RSA, PrivateFormat.TraditionalOpenSSL, PASSPHRASE),
}
WRONG_PEMS = {
    "another curve": pem(CURVE),
    "a public key": RSA.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    "cut off": pem(ED25519)[:60],
    "garbage": f"-----BEGIN PRIVATE KEY-----\nAAAA{SECRET}\n-----END PRIVATE KEY-----\n",
}


class Silent:
    """Like pydantic's SecretStr: shows nothing by itself."""

    def __init__(self, value: object) -> None:
        self._value = value

    def get_secret_value(self) -> object:
        """Return the value."""
        return self._value

    def __repr__(self) -> str:
        return "Silent('**')"


class Hostile:
    """Says a secret whenever it is asked for anything."""

    def __repr__(self) -> str:
        return SECRET

    def __fspath__(self) -> str:
        raise ValueError(SECRET)

    def get_secret_value(self) -> str:
        """Quote the value."""
        raise ValueError(SECRET)

    def __eq__(self, other: object) -> bool:
        raise ValueError(SECRET)

    def __hash__(self) -> int:
        raise ValueError(SECRET)

    def __bool__(self) -> bool:
        raise ValueError(SECRET)


class Chatty(str):
    """A text with opinions."""

    __slots__ = ()

    def __str__(self) -> str:
        return "something else"

    def strip(self, _: str | None = None) -> str:
        """Quote the value."""
        raise ValueError(SECRET)


def shown(error: BaseException) -> str:
    """Return all that tracebacks show of our frames, with local variables and their attributes."""
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename == __file__:
        trace = trace.tb_next  # this file's frames hold the secrets themselves
    error.__traceback__ = trace
    given = type(error), error, error.__traceback__
    texts = [str(error), repr(error), repr(error.args), repr(vars(error)), "".join(traceback.format_exception(error))]
    texts.append("".join(traceback.TracebackException.from_exception(error, capture_locals=True).format()))
    texts += [AutoFormattedTB(mode=mode).text(*given) for mode in ("Plain", "Context", "Verbose")]
    rest: list[BaseException | None] = [error]
    while rest:
        if (each := rest.pop()) is None:
            continue
        rest += [each.__cause__, each.__context__]
        for frame, _ in traceback.walk_tb(each.__traceback__):
            for value in frame.f_locals.values():
                texts += [repr(value), str(value), f"{value}", repr(getattr(value, "__dict__", ""))]
    return "\n".join(texts)


def pieces(*secrets: str) -> Iterator[str]:
    """Yield what must not be found anywhere."""
    for secret in secrets:
        lines = [line for line in secret.splitlines() if line and "-----" not in line and ":" not in line]
        for line in lines[1:] if len(lines) > 1 else lines:  # keys of a kind begin alike
            yield from (line[:20], line[-20:])


def doors(**given: Any) -> Iterator[Callable[[], SpotClient]]:
    """Yield the ways to come in with a credential."""
    yield lambda: nbext.connect(base_url=URL, **given)
    yield lambda: SpotClient(URL, **given)
    yield lambda: nbext.connect("testnet", **given)


def refused(call: Callable[[], object], *secrets: str) -> str:
    """Return the message of a refusal that shows nothing."""
    with pytest.raises(ConfigurationError, match="nothing was sent") as caught:
        call()
    assert len(str(caught.value).splitlines()) == 1
    text = shown(caught.value)
    for piece in pieces(API_KEY[:-4], SECRET, PASSPHRASE, *secrets):
        assert piece not in text
    return str(caught.value)


@pytest.mark.parametrize(
    "form", [str, str.encode, lambda text: bytearray(text.encode()), lambda text: memoryview(text.encode()), Silent,
             lambda text: Silent(text.encode()), Chatty, Secret, lambda text: f" {text}\r\n"]
)  # fmt: skip
def test_text_of_any_type_is_taken(form: Callable[[str], Any], serve: Callable[..., PlainServer]) -> None:
    """A key, its secret, a PEM and its passphrase, each in any type that holds text."""
    server = serve(lambda _: answer([]))
    for given in (
        {"secret_key": form(SECRET)},
        {"private_key": form(PEMS["Ed25519"])},
        {"private_key": form(PEMS["encrypted"]), "passphrase": Silent(PASSPHRASE)},
    ):
        client = nbext.connect(base_url=server.url, api_key=form(API_KEY), **given)
        assert client.cancel_open_orders("BTCUSDT") == []
        assert server.requests[-1].headers["X-MBX-APIKEY"] == API_KEY
        for way in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match="cannot be pickled"):
                way(client)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (5, "is int, not text"),
        (True, "is bool, not text"),
        ([SECRET], "is list, not text"),
        ((SECRET,), "is tuple, not text"),
        ({"secret": SECRET}, "is dict, not text"),
        (ED25519, "is .*PrivateKey, not text"),
        (Silent([SECRET]), "is Silent, not text"),
        (Hostile(), "is Hostile, not text"),
        (Path(SECRET), "is PosixPath, not text"),
        (lambda: SECRET, "is function, not text"),
        (f"{SECRET}\n{SECRET}", "contains a blank"),
        (f"{SECRET}é", "contains a blank"),
        (f"{SECRET}\ud800", "contains a blank"),
        (SECRET.encode() + b"\xff", "contains a blank"),
        ("", "is empty"),
        (b" ", "is empty"),
        (f'"{SECRET}"', "is in quotes"),
        (PEMS["Ed25519"], "is a PEM"),
        (f"/home/{SECRET}.pem", "is the name of a file"),
    ],
)
def test_what_is_no_key_is_refused_unseen(given: Any, words: str) -> None:
    """The type is named, and what is in it is not; the traceback has none of it either."""
    for door in doors(api_key=API_KEY, secret_key=given):
        assert re.search(words, refused(door, PEMS["Ed25519"]))
    if words != "is the name of a file":  # which an API key may look like
        for door in doors(api_key=given, secret_key=SECRET):
            assert re.search(words, refused(door, PEMS["Ed25519"]))
    for door in doors(api_key=API_KEY, private_key=PEMS["encrypted"], passphrase=given):
        if not isinstance(given, str | bytes):
            refused(door, PEMS["encrypted"])


def test_a_word_that_is_no_parameter_shows_nothing() -> None:
    """A misspelled parameter is Python's own error, without the values of the others."""
    with pytest.raises(TypeError, match="unexpected keyword argument 'secret'") as caught:
        nbext.connect(base_url=URL, api_key=API_KEY, secret=SECRET)  # type: ignore[call-arg] # wrong on purpose
    text = shown(caught.value)
    assert not any(piece in text for piece in pieces(API_KEY, SECRET))


@pytest.mark.parametrize("kind", PEMS)
def test_a_private_key_is_taken_in_every_shape(kind: str, tmp_path: Path) -> None:
    """As text, bytes or a file; with its line ends written out, lost or foreign; in quotes, indented, in UTF-16."""
    text, key = PEMS[kind], {"passphrase": PASSPHRASE} if "encrypted" in kind else {}
    path = tmp_path / "key.pem"
    path.write_text(text)
    files = [text.encode().replace(b"\n", b"\r\n"), b"\xef\xbb\xbf" + text.encode(), text.encode("utf-16")]
    files.append(b"Bag Attributes\n    localKeyID: 01\n" + text.encode())
    shapes: list[Any] = [text, text.encode(), path, str(path), f'"{path}"', f"\n{text}", Silent(text)]
    shapes += [text.strip().replace("\n", "\\n"), '"' + text.replace("\n", "\\n") + '"', text.replace("\n", "\\r\\n")]
    shapes += ["\n".join(f"    {line}" for line in text.splitlines())]
    if ":" not in text:  # headers of the old form need their lines
        shapes += [text.replace("\n", ""), text.replace("\n", " ")]
    for number, content in enumerate(files):
        (tmp_path / f"{number}.pem").write_bytes(content)
        shapes.append(tmp_path / f"{number}.pem")
    for shape in shapes:
        client = nbext.connect(base_url=URL, api_key=API_KEY, private_key=shape, **key)
        assert client.key_kind == ("RSA" if "RSA" in kind else "Ed25519")


@pytest.mark.parametrize("kind", [*PEMS, *WRONG_PEMS])
def test_a_private_key_that_cannot_be_used_is_refused_unseen(kind: str) -> None:
    """The passphrase is missing, wrong or for nothing, or it is another kind of key."""
    text = {**PEMS, **WRONG_PEMS}[kind]
    passphrases: list[Any] = ["wrong-" + PASSPHRASE, PASSPHRASE * 100, b"wrong"]
    if kind in WRONG_PEMS:
        passphrases += [None, PASSPHRASE]
    elif "encrypted" in kind:
        passphrases += [None, ""]
    for passphrase in passphrases:
        for shape in (text, text.encode(), bytearray(text.encode())):
            for door in doors(api_key=API_KEY, private_key=shape, passphrase=passphrase):
                refused(door, text)
    for door in doors(api_key=API_KEY, private_key=[text]):
        assert "is list, neither a PEM nor a path" in refused(door, text)
    bare = "".join(text.splitlines()[1:-1])
    for door in doors(api_key=API_KEY, private_key=bare):
        assert "looks like a secret key" in refused(door, text) or ":" in bare or kind == "cut off"


@pytest.mark.parametrize("given", [ED25519, RSA, Hostile(), 5, {"a": PEMS["RSA"]}, Silent(5)])
def test_a_private_key_of_another_type_is_refused_unseen(given: Any) -> None:
    """Key objects of cryptography, too: a PEM is what is taken."""
    for door in doors(api_key=API_KEY, private_key=given):
        assert "neither a PEM nor a path" in refused(door, PEMS["RSA"], PEMS["Ed25519"])


def test_a_secret_in_another_place_is_named_by_its_place() -> None:
    """The secret as path, as profile, as base URL; twice the same text."""
    given = {"base_url": URL, "api_key": API_KEY, "private_key": SECRET}
    assert "looks like a secret key" in refused(lambda: nbext.connect(**given))
    assert "<64 characters>" in refused(lambda: nbext.connect(SECRET, api_key=API_KEY, secret_key=SECRET))
    assert "not like https" in refused(lambda: nbext.connect(base_url=SECRET, api_key=API_KEY, secret_key=SECRET))
    assert "is the same as" in refused(lambda: nbext.connect(base_url=URL, api_key=SECRET, secret_key=SECRET))
    for profile in (["live"], 5, b"live", Hostile()):
        assert "a profile name must be text" in refused(lambda profile=profile: nbext.connect(profile))  # type: ignore[misc]
    for value in (5, URL.encode(), [SECRET]):
        assert ", not text" in refused(lambda value=value: nbext.connect(base_url=value))  # type: ignore[misc]


@pytest.mark.parametrize(
    "url",
    [
        f"https://user:{SECRET}@api.example",
        f"https://{SECRET}@api.example/",
        f"https://api.example/?apiKey={SECRET}",
        f"https://api.example:{SECRET}",
        f"https://[{SECRET}",
        f"ftp://user:{SECRET}@api.example",
    ],
)
def test_a_base_url_with_a_password_is_refused_unseen(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From an argument, the environment or the file: its place is named, and nothing of it is quoted."""
    assert refused(lambda: nbext.connect(base_url=url)).startswith("the base URL cannot be used")
    assert refused(lambda: SpotClient(url)).startswith("the base URL cannot be used")
    path = Path(os.environ["XDG_CONFIG_HOME"]) / "nbext" / "profiles.toml"
    path.parent.mkdir()
    path.write_text(f'[desk]\nbase_url = "{url}"\n')
    path.chmod(0o600)
    assert refused(lambda: nbext.connect("desk")).startswith("the base_url of profile 'desk' cannot be used")
    monkeypatch.setenv("NBEXT_BASE_URL", url)
    assert refused(lambda: nbext.open_orders("BTCUSDT")).startswith("NBEXT_BASE_URL cannot be used")
    assert refused(profiles.resolve).startswith("NBEXT_BASE_URL cannot be used")


def test_no_form_of_a_credential_shows_it() -> None:
    """Neither repr, str, format, vars, rich's printing nor pickle; equality and hash go by the value."""
    credential = Credential(Secret(API_KEY), Secret(SECRET), Secret(PEMS["RSA"]), Secret(PASSPHRASE))
    twin = Credential(Secret(API_KEY), Secret(SECRET), Secret(PEMS["RSA"]), Secret(PASSPHRASE))
    assert credential == twin
    assert hash(credential) == hash(twin)
    assert credential.api_key != API_KEY
    client = SpotClient(URL, credential=Credential(Secret(API_KEY), Secret(SECRET)))
    session._clients[profiles.Endpoint("x", URL, credential)] = client
    texts: list[str] = []
    for thing in (credential, credential.api_key, [credential.secret_key], client, vars(client), session._clients):
        texts += [repr(thing), str(thing), f"{thing}", f"{thing:>5}" if isinstance(thing, Secret) else ""]
        texts.append(" ".join(repr(getattr(thing, name, "")) for name in dir(thing) if name != "reveal"))
        with pytest.raises((TypeError, AttributeError)):
            pickle.dumps(thing)
    assert not any(piece in text for piece in pieces(API_KEY, SECRET, PASSPHRASE, PEMS["RSA"]) for text in texts)
    stream = io.StringIO()
    print(credential, client, file=stream)
    assert stream.getvalue() == f"<credential> <SpotClient custom 127.0.0.1:9, key ...{API_KEY[-4:]}>\n"
