from __future__ import annotations

import os
import sys
import traceback
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pytest
from support.server import answer

from nbext import profiles
from nbext.credentials import Credential, Secret
from nbext.errors import ConfigurationError
from nbext.exchange import LocalExchange
from nbext.profiles import Endpoint, is_live, resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import PlainServer

LIVE = "https://api.binance.com"
PEM = """-----BEGIN PRIVATE KEY-----
MC4CAQAwBQYDK2VwBCIEIIJEYWtGBrhACmb9Dvy+qa8WEf0lQOl1s4CLIAB9m89u
-----END PRIVATE KEY-----
"""


@pytest.fixture
def profile_file() -> Callable[..., Path]:
    """Write profiles.toml where a user has it."""

    def write(text: str | bytes, mode: int = 0o600) -> Path:
        path = Path(os.environ["XDG_CONFIG_HOME"]) / "nbext" / "profiles.toml"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        path.chmod(mode)
        return path

    return write


def credential(
    api_key: str, secret_key: str | None = None, private_key: str | None = None, passphrase: str | None = None
) -> Credential:
    """Make what a credential should come to."""
    secret, pem, words = (None if text is None else Secret(text) for text in (secret_key, private_key, passphrase))
    return Credential(Secret(api_key), secret, pem, words)


def refusal(*args: Any, **kwargs: Any) -> str:
    """Return the message of a refusal: one line that says that nothing was sent, with no cause that says more."""
    with pytest.raises(ConfigurationError, match="nothing was sent") as caught:
        resolve(*args, **kwargs)
    assert len(str(caught.value).splitlines()) == 1
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert "sTest" not in "".join(traceback.format_exception(caught.value))
    return str(caught.value)


# Which exchange


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("testnet", "https://testnet.binance.vision"),
        ("demo", "https://demo-api.binance.com"),
        ("live", "https://api.binance.com"),
    ],
)
def test_built_in_profiles_have_the_documented_hosts(monkeypatch: pytest.MonkeyPatch, name: str, url: str) -> None:
    """They are chosen by argument, by selection or by NBEXT_PROFILE, in this order."""
    assert resolve(name) == Endpoint(name, url)
    monkeypatch.setenv("NBEXT_PROFILE", name)
    assert resolve() == Endpoint(name, url)
    monkeypatch.setenv("NBEXT_PROFILE", "demo" if name == "live" else "live")
    profiles.select(name)
    assert resolve() == Endpoint(name, url)
    profiles.select("demo" if name == "live" else "live")
    assert resolve(name) == Endpoint(name, url)
    profiles.select(None)
    assert resolve().profile != name


def test_the_default_is_the_local_exchange() -> None:
    """Without any setting the profile is local: one exchange, with its own keys."""
    first, again = resolve(), resolve("local")
    assert first == again
    assert first.profile == "local"
    assert first.base_url == profiles.local().url
    assert first.base_url.startswith("http://127.0.0.1:")
    assert first.credential == credential(profiles.local().api_key, profiles.local().secret_key)
    assert profiles.local() is profiles.local()
    assert not is_live(first.base_url)


def test_the_local_profile_takes_no_keys_but_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keys as arguments are refused, and keys in the environment are not looked at."""
    for given in (
        {"api_key": "kTest", "secret_key": "sTest"},
        {"api_key": "kTest", "private_key": PEM},
    ):
        assert "its own exchange's keys" in refusal("local", **given)
        assert "its own exchange's keys" in refusal(**given)
    monkeypatch.setenv("BINANCE_API_KEY", "kTest")
    monkeypatch.setenv("BINANCE_API_SECRET", "sTest")
    assert resolve().credential == credential(profiles.local().api_key, profiles.local().secret_key)


def test_a_base_url_makes_the_profile_custom(monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes from the argument or, when no profile is named, from NBEXT_BASE_URL."""
    assert resolve(base_url="https://a.example") == Endpoint("custom", "https://a.example")
    assert resolve("custom", base_url="https://a.example") == Endpoint("custom", "https://a.example")
    assert "'custom' has no base URL" in refusal("custom")
    monkeypatch.setenv("NBEXT_BASE_URL", " https://b.example\n")
    assert resolve() == resolve("custom") == Endpoint("custom", "https://b.example")
    assert resolve(base_url="https://a.example").base_url == "https://a.example"
    monkeypatch.setenv("NBEXT_PROFILE", "custom")
    assert resolve().base_url == "https://b.example"
    monkeypatch.setenv("NBEXT_BASE_URL", "")
    monkeypatch.delenv("NBEXT_PROFILE")
    assert resolve().profile == "local"


def test_a_base_url_beside_a_named_profile_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which of the two is meant cannot be known, however the profile was named."""
    for name in ("local", "testnet", "demo", "live"):
        assert f"the profile {name!r} were both given" in refusal(name, base_url="https://a.example")
    monkeypatch.setenv("NBEXT_BASE_URL", "https://b.example")
    for name in ("local", "testnet", "demo", "live"):
        assert f"NBEXT_BASE_URL is set, and the profile {name!r}" in refusal(name)
        monkeypatch.setenv("NBEXT_PROFILE", name)
        assert f"NBEXT_BASE_URL is set, and the profile {name!r}" in refusal()
        monkeypatch.delenv("NBEXT_PROFILE")
        profiles.select(name)
        assert f"NBEXT_BASE_URL is set, and the profile {name!r}" in refusal()
        profiles.select(None)


def test_a_profile_that_does_not_exist_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message names it, those that exist, and the file for more."""
    for name in ("Live", "desk", "https://api.binance.com"):
        message = refusal(name)
        assert repr(name) in message
        assert "local, testnet, demo, live, custom" in message
        assert "profiles.toml" in message
        with pytest.raises(ConfigurationError, match="unknown profile"):
            profiles.select(name)
    monkeypatch.setenv("NBEXT_PROFILE", "desk")
    assert "'desk'" in refusal()


# Which key


ARGUMENTS = {"api_key": "kArgument", "secret_key": "sArgument"}


def test_a_credential_comes_from_the_first_source_that_has_one(
    monkeypatch: pytest.MonkeyPatch, profile_file: Callable[..., Path]
) -> None:
    """Arguments come before the profile's own entry, and that before the environment; each is taken whole."""
    assert resolve("live").credential is None
    monkeypatch.setenv("BINANCE_API_KEY", " kEnvironment\n")
    monkeypatch.setenv("BINANCE_API_SECRET", "sEnvironment")
    assert resolve("live").credential == credential("kEnvironment", "sEnvironment")
    assert resolve(base_url=LIVE).credential == credential("kEnvironment", "sEnvironment")
    profile_file('[live]\napi_key = "kEntry"\nsecret_key = "sEntry"\n')
    assert resolve("live").credential == credential("kEntry", "sEntry")
    assert resolve("demo").credential == credential("kEnvironment", "sEnvironment")
    assert resolve("live", **ARGUMENTS).credential == credential("kArgument", "sArgument")
    assert resolve(base_url=LIVE, **ARGUMENTS).credential == credential("kArgument", "sArgument")


def test_a_passphrase_goes_with_the_key_of_its_own_source(
    monkeypatch: pytest.MonkeyPatch, profile_file: Callable[..., Path], tmp_path: Path
) -> None:
    """Neither half of a credential is ever completed from another source."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    monkeypatch.setenv("BINANCE_PRIVATE_KEY_PASSPHRASE", "sTestEnvironment")
    monkeypatch.setenv("BINANCE_API_KEY", "kEnvironment")
    monkeypatch.setenv("BINANCE_PRIVATE_KEY", str(path))
    assert resolve("live").credential == credential("kEnvironment", None, PEM, "sTestEnvironment")
    assert resolve("live", api_key="k", private_key=PEM).credential == credential("k", None, PEM, None)
    profile_file(f'[live]\napi_key = "kEntry"\nprivate_key = "{path}"\n[demo]\napi_key = "kEntry"\n')
    assert resolve("live").credential == credential("kEntry", None, PEM, None)
    assert "profile 'demo' has an API key but neither" in refusal("demo")
    assert "the arguments has an API key but neither" in refusal("live", api_key="kArgument")
    assert "the arguments has a secret but no API key" in refusal("live", secret_key="sTestArgument")
    assert "the arguments has a secret but no API key" in refusal("live", private_key=path)


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"KEY": "k", "SECRET": "sTest", "PEM": PEM}, "has both a secret key and a private key"),
        ({"KEY": "k"}, "has an API key but neither a secret key nor a private key"),
        ({"SECRET": "sTest"}, "has a secret but no API key"),
        ({"PEM": PEM}, "has a secret but no API key"),
        ({"SECRET": "sTest", "PEM": PEM}, "has both a secret key and a private key"),
    ],
)
def test_a_credential_that_is_not_whole_is_refused_from_any_source(
    monkeypatch: pytest.MonkeyPatch, profile_file: Callable[..., Path], variables: dict[str, str], words: str
) -> None:
    """Secret and PEM both, or one half alone, is an error that names its source and shows no secret."""
    names = {"KEY": "api_key", "SECRET": "secret_key", "PEM": "private_key"}
    given: dict[str, Any] = {names[name]: value for name, value in variables.items()}
    assert f"the arguments {words}" in refusal("live", **given)
    assert f"the arguments {words}" in refusal(base_url=LIVE, **given)
    profile_file("[live]\n" + "".join(f"{name} = '''{value}'''\n" for name, value in given.items()))
    assert f"profile 'live' {words}" in refusal("live")
    variable_names = {"KEY": "BINANCE_API_KEY", "SECRET": "BINANCE_API_SECRET", "PEM": "BINANCE_PRIVATE_KEY"}
    for name, value in variables.items():
        monkeypatch.setenv(variable_names[name], value)
    assert f"the environment {words}" in refusal("demo")


def test_a_private_key_is_a_path_or_the_pem_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Text that begins like a PEM is one; other text is a path, in which ~ is the user's home."""
    path = tmp_path / "key.pem"
    path.write_text(PEM)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in (PEM, "\n " + PEM, PEM.encode(), str(path), path, "~/key.pem"):
        assert resolve("live", api_key="k", private_key=given).credential == credential("k", None, PEM)


@pytest.mark.parametrize("given", ["/nowhere/sTest.pem", "/", "sTestSecretKey", "sTest\x00", "sTest" * 2000])
def test_a_key_file_that_cannot_be_read_is_refused_unseen(given: str) -> None:
    """The path is not shown, since it may be the key itself, put in the wrong place."""
    message = refusal("live", api_key="k", private_key=given)
    assert "the private key file of the arguments cannot be read (" in message
    assert "nowhere" not in message


def test_nothing_shows_a_credential() -> None:
    """The repr of a credential, and of an endpoint that has one, shows none of it."""
    endpoint = Endpoint("live", LIVE, credential("kTest", "sTest", "pTest", "wTest"))
    assert repr(endpoint.credential) == str(endpoint.credential) == "<credential>"
    assert not any(text in f"{endpoint!r} {endpoint}" for text in ("kTest", "sTest", "pTest", "wTest"))


# The profile file


def test_profiles_of_the_users_own_come_from_the_file(profile_file: Callable[..., Path]) -> None:
    """They have a base URL, a key and always_ask; built-in ones may be given a key and always_ask."""
    profile_file(
        '[desk]\nbase_url = "https://desk.example"\napi_key = "kDesk"\nsecret_key = "sDesk"\nalways_ask = true\n'
        '[bare]\nbase_url = "https://bare.example"\nalways_ask = false\n'
        "[live]\nalways_ask = true\n"
    )
    assert resolve("desk") == Endpoint("desk", "https://desk.example", credential("kDesk", "sDesk"), always_ask=True)
    assert resolve("bare") == Endpoint("bare", "https://bare.example")
    assert resolve("live") == Endpoint("live", LIVE, always_ask=True)
    assert not resolve("demo").always_ask
    assert profiles.names() == ["local", "testnet", "demo", "live", "custom", "desk", "bare"]
    profiles.select("desk")
    assert resolve().profile == "desk"


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o602, 0o610, 0o644, 0o666, 0o777])
def test_a_file_that_others_can_read_or_write_is_refused(profile_file: Callable[..., Path], mode: int) -> None:
    """The message names the file and what to do, and holds nothing of it."""
    path = profile_file('[live]\napi_key = "kTest"\nsecret_key = "sTest"\n', mode)
    message = refusal("live")
    assert message.startswith(f"{path} can be read or written by others: chmod 600 it")
    for good in (0o600, 0o400, 0o700):
        path.chmod(good)
        assert resolve("live").credential == credential("kTest", "sTest")


@pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_somebody_else_is_refused(profile_file: Callable[..., Path]) -> None:
    """What another account wrote is not trusted, even when it can be read."""
    os.chown(profile_file('[live]\napi_key = "kTest"\nsecret_key = "sTest"\n'), 12345, 12345)
    assert "belongs to another user" in refusal("live")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[live]\nsecret_key = sTest\n", "is not TOML"),
        ("[live\n", "is not TOML"),
        (b'[live]\nsecret_key = "sTest\xff"\n', "is not UTF-8 at line 2"),
        ('secret_key = "sTest"\n', "has 'secret_key' outside any profile"),
        ('[live]\nsecret = "sTest"\n', "has 'secret' in profile 'live', which is not one of"),
        ('[local]\nsecret_key = "sTest"\n', "configures 'local'"),
        ('[custom]\nbase_url = "https://a.example"\n', "configures 'custom'"),
        ('[live]\nbase_url = "https://a.example"\n', "changes the base URL"),
        ('[desk]\nsecret_key = "sTest"\n', "sets no base_url for profile 'desk'"),
        ('[desk]\nbase_url = ""\n', "sets no base_url for profile 'desk'"),
        ('[live]\nalways_ask = "yes"\n', "neither true nor false"),
        ("[live]\nalways_ask = 1\n", "neither true nor false"),
        ("[live]\nsecret_key = 5\n", "secret_key of profile 'live' is not text"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(profile_file: Callable[..., Path], text: str, words: str) -> None:
    """One flaw anywhere refuses the file, and no message holds a secret of it."""
    profile_file(text)
    assert words in refusal("live")


GOOD = '[desk]\nbase_url = "https://desk.example"\napi_key = "kDesk"\nsecret_key = "sTestDesk"\n'


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n"])
def test_a_file_is_read_as_editors_save_it(profile_file: Callable[..., Path], encoding: str, line_end: str) -> None:
    """With a byte order mark first, and with the line ends of Windows."""
    profile_file(GOOD.replace("\n", line_end).encode(encoding))
    assert resolve("desk").credential == credential("kDesk", "sTestDesk")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (GOOD.encode("utf-16"), "is UTF-16"),
        (GOOD.encode("utf-16-be"), "is UTF-16"),
        (GOOD.encode() + b"# \xe9\n", "is not UTF-8 at line 5"),
        (GOOD.replace('secret_key = "', 'private_key = "C:\\Users\\'), "at line 4: a backslash in double quotes"),
        (GOOD.replace('"kDesk"', "kDesk"), "at line 3: text needs quotes"),
        (GOOD.replace('"kDesk"', "'kDesk"), "is not TOML at line 3"),
        (GOOD + GOOD, "at line 5: a profile's name goes in brackets on a line of its own, once"),
        (GOOD + "[other", "is not TOML at line 5"),
        (GOOD + "api_key = \n", "is not TOML at line 5"),
        (GOOD + 'z = """', "is not TOML at line 5"),
        (GOOD + "z = " + "[" * 9000, "is not TOML"),
        (GOOD + f'"{"sTest" * 10}" = 1\n', "has <50 characters> in profile 'desk'"),
        (f'"{"sTest" * 10}" = 1\n' + GOOD, "has <50 characters> outside any profile"),
    ],
)
def test_a_fault_in_the_file_is_named_by_its_line(
    profile_file: Callable[..., Path], text: str | bytes, words: str
) -> None:
    """With what to do about it, and without quoting it."""
    profile_file(text)
    assert words in refusal("desk")


def test_a_windows_path_whose_escapes_mean_something_is_told_apart(profile_file: Callable[..., Path]) -> None:
    r"""In double quotes ``C:\temp`` holds a tab, which no path has."""
    profile_file(GOOD.replace('secret_key = "sTest', 'private_key = "C:\\temp\\new'))
    assert "put a Windows path in single quotes" in refusal("desk")


def test_a_secret_under_another_name_is_pointed_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many programs call the variable otherwise."""
    monkeypatch.setenv("BINANCE_API_KEY", "kTest")
    monkeypatch.setenv("BINANCE_SECRET_KEY", "sTest")
    assert "BINANCE_SECRET_KEY is set, but never read" in refusal("live")
    monkeypatch.setenv("BINANCE_API_SECRET", "sTestRight")
    assert resolve("live").credential == credential("kTest", "sTestRight")


def test_a_base_url_in_the_file_is_text(profile_file: Callable[..., Path]) -> None:
    """A number is no base URL."""
    profile_file("[desk]\nbase_url = 5\n")
    assert "base_url of profile 'desk' is not text" in refusal("desk")


def test_a_file_that_cannot_be_opened_is_refused(profile_file: Callable[..., Path]) -> None:
    """A folder in its place is named; no file at all is no error."""
    path = profile_file("")
    path.unlink()
    assert resolve("live").credential is None
    path.mkdir()
    assert "profiles.toml cannot be read (" in refusal("live")


# Live or not


@pytest.mark.parametrize(
    ("url", "live"),
    [
        ("https://testnet.binance.vision", False),
        ("https://demo-api.binance.com", False),
        ("https://api.binance.com", True),
        ("https://api1.binance.com", True),
        ("https://data-api.binance.vision", True),
        ("https://api1.testnet.binance.vision", True),
        ("https://testnet.binance.vision.example", True),
        ("https://xtestnet.binance.vision", True),
        ("https://testnet.binance.vision:8443", True),
        ("https://testnet.binance.vision@a.example", True),
        ("http://testnet.binance.vision", True),
        ("https://a.example", True),
        ("http://127.0.0.1", True),
        ("http://localhost:8000", True),
        ("", True),
    ],
)
def test_everything_is_live_but_the_exact_practice_hosts(url: str, live: bool) -> None:
    """Only testnet and demo are not, to the letter."""
    assert is_live(url) is live


def test_only_an_exchange_of_this_process_is_not_live(serve: Callable[..., PlainServer]) -> None:
    """Another server on loopback may lead anywhere, and an exchange that has stopped is nobody's."""
    assert is_live(serve(lambda _: answer([])).url)
    exchange = LocalExchange().start()
    try:
        url = exchange.url
        assert not is_live(url)
        assert is_live(url.replace("http", "https"))
        assert is_live(url + "0")
    finally:
        exchange.stop()
    assert is_live(url)


def test_an_exchange_that_a_thread_is_still_importing_has_started_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel imports it in the background, and a cancel does not wait for that."""
    monkeypatch.setitem(sys.modules, "nbext.exchange", ModuleType("nbext.exchange"))
    assert is_live("http://127.0.0.1:9")
