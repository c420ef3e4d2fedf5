"""The doctor: each fault of a set-up is named in its own line, and nothing is ever canceled or placed."""

from __future__ import annotations

import contextlib
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from IPython.core.error import UsageError
from IPython.core.interactiveshell import InteractiveShell
from support.networking import TLSServer, dead_address
from support.server import answer

from nbext import doctor, profiles

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from support.server import PlainServer

    from nbext.exchange import LocalExchange

IN_ORDER = (
    *("profiles", "profile", "key", "proxy", "certificates", "name", "address", "answer"),
    *("latency", "clock", "account", "trading", "limits", "journal", "pandas", "IPython", "ipywidgets"),
)


@pytest.fixture
def custom(exchange: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> LocalExchange:
    """Make an exchange the profile `custom`, as another process would."""
    monkeypatch.setenv("NBEXT_BASE_URL", exchange.url)
    monkeypatch.setenv("BINANCE_API_KEY", exchange.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", exchange.secret_key)
    return exchange


def states(profile: str | None = None) -> dict[str, str]:
    """Examine, and return the state of each check."""
    return {check.check: check.state for check in doctor.examine(profile)}


def found(name: str, profile: str | None = None) -> doctor.Check:
    """Examine, and return one check."""
    (check,) = (check for check in doctor.examine(profile) if check.check == name)
    return check


def test_a_good_set_up_is_ok_in_every_line_and_nothing_is_changed(custom: LocalExchange) -> None:
    """The checks come in the order in which things go wrong; no order is canceled or placed."""
    before = custom.open_orders()
    assert states() == dict.fromkeys(IN_ORDER, "ok")
    assert tuple(states()) == IN_ORDER
    assert custom.open_orders() == before
    assert custom.requests("DELETE") == []
    assert {request["path"] for request in custom.requests("POST")} == {"/api/v3/order/test"}


def test_what_chose_the_profile_is_said(custom: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """Named, from the environment, chosen in this kernel, or the default."""
    assert custom.url in found("profile").found
    assert profiles.chosen() == ("custom", "from NBEXT_BASE_URL")
    assert profiles.chosen("custom") == ("custom", "named")
    monkeypatch.delenv("NBEXT_BASE_URL")
    assert profiles.chosen() == ("local", "the default")
    monkeypatch.setenv("NBEXT_PROFILE", "testnet")
    assert profiles.chosen() == ("testnet", "from NBEXT_PROFILE")
    profiles.select("demo")
    assert profiles.chosen() == ("demo", "chosen with %nbext")


def test_a_profile_or_a_file_that_cannot_be_used_fails_and_the_rest_goes_on(custom: LocalExchange) -> None:
    """What does not need the exchange is checked all the same."""
    assert states("nowhere") == {
        "profiles": "ok",
        "profile": "fail",
        **dict.fromkeys(("journal", "pandas", "IPython", "ipywidgets"), "ok"),
    }
    path = profiles._path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('[desk]\nbase_url = "https://exchange.invalid"\n', "utf-8")
    path.chmod(0o644)
    assert custom.requests() == []
    told = {check.check: check for check in doctor.examine()}
    assert told["profiles"].state == "fail"
    assert "chmod 600" in told["profiles"].found
    assert told["trading"].state == "ok", "a profile that is not in the file works without it"
    told = {check.check: check for check in doctor.examine("desk")}
    assert told["profiles"].state == "fail"
    assert "key" not in told


@pytest.mark.parametrize(
    ("variable", "value", "failing"),
    [
        ("BINANCE_API_KEY", "k" * 64, {"account"}),
        ("BINANCE_API_SECRET", "s" * 64, {"account"}),
        ("BINANCE_API_SECRET", "", {"profile"}),
    ],
)
def test_a_key_that_is_not_accepted_fails_once(
    custom: LocalExchange, monkeypatch: pytest.MonkeyPatch, variable: str, value: str, failing: set[str]
) -> None:
    """An unknown key, a secret of another key, half a credential: in one line, and no test order repeats it."""
    assert custom.url
    monkeypatch.setenv(variable, value)
    assert {name for name, state in states().items() if state == "fail"} == failing


def test_no_line_sends_the_reader_to_the_doctor_or_speaks_of_orders(
    custom: LocalExchange, monkeypatch: pytest.MonkeyPatch, serve: Callable[..., PlainServer]
) -> None:
    """Whose lines these are, and which touches no orders: what all messages have in common is left out."""

    def told() -> str:
        return "".join(check.found for check in doctor.examine() if check.state == "fail")

    codes = (-1021, -1022, -2008, -2015)
    pages = []
    for code in codes:
        custom.faults.on("GET", "/api/v3/account").fail(code=code, text="Refused.")
        pages.append(told())
        custom.faults.clear()
    monkeypatch.setenv("NBEXT_BASE_URL", serve(lambda _: b"").url)
    pages.append(told())
    for page in pages:
        assert page
        for unwanted in ("--doctor", "no orders were changed", "/api/v3/", custom.url.partition("//")[2]):
            assert unwanted not in page


def test_the_key_is_told_by_where_it_came_from(custom: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment or a profile: of two keys, it is the wrong one that is used unnoticed."""
    assert f"...{custom.api_key[-4:]} (HMAC) from the environment" in found("key").found
    path = profiles._path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch(0o600)
    keys = f'api_key = "{"k" * 64}"\nsecret_key = "{custom.secret_key}"'
    path.write_text(f'[desk]\nbase_url = "{custom.url}"\n{keys}\n', "utf-8")
    monkeypatch.delenv("NBEXT_BASE_URL")
    assert "...kkkk (HMAC) from profile 'desk'" in found("key", "desk").found


def test_certificates_do_not_matter_over_plain_http(custom: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is not there hinders no connection to this machine."""
    assert custom.url
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/nowhere/ca.pem")
    assert states() == dict.fromkeys(IN_ORDER, "ok")


def test_a_key_that_may_only_read_may_not_trade(custom: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """The account can be read; the test order tells."""
    key = custom.add_key(trade=False)
    monkeypatch.setenv("BINANCE_API_KEY", key.api_key)
    monkeypatch.setenv("BINANCE_API_SECRET", str(key.secret_key))
    assert found("trading").state == "fail"


def test_without_a_key_it_says_so(custom: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """And looks at all that needs none."""
    assert custom.url
    monkeypatch.delenv("BINANCE_API_KEY")
    monkeypatch.delenv("BINANCE_API_SECRET")
    told = states()
    assert told["key"] == "fail"
    assert told["clock"] == told["limits"] == "ok"
    assert "account" not in told


@pytest.mark.parametrize("skew", [-30, 30])
def test_a_clock_that_is_off_is_a_warning(custom: LocalExchange, skew: int) -> None:
    """It is corrected, so that the rest is ok."""
    custom.faults.skew = skew
    assert {name for name, state in states().items() if state != "ok"} == {"clock"}
    assert ("behind" if skew > 0 else "ahead of") in found("clock").found


def test_a_ban_is_named(custom: LocalExchange) -> None:
    """Where the exchange asks to wait, that is what has to be done."""
    custom.faults.on("GET", "/api/v3/account").ban(retry_after=120)
    told = states()
    assert (told["account"], told["limits"]) == ("fail", "fail")


def test_a_journal_that_cannot_be_written_is_a_warning(
    custom: LocalExchange, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancels go out all the same."""
    assert custom.url
    (tmp_path / "journal").write_text("no journal at all", "utf-8")
    for value in ("off", str(tmp_path / "journal")):
        monkeypatch.setenv("NBEXT_JOURNAL", value)
        assert found("journal").state == "warn"
    assert (tmp_path / "journal").read_text("utf-8") == "no journal at all"


def test_faults_of_the_way_are_told_apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A name that nobody knows, certificates, a proxy that is not there, TLS that somebody inspects."""

    def failing() -> list[str]:
        return [check.check for check in doctor.examine() if check.state == "fail" and check.check != "key"]

    def nobody_knows(host: str, *_: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, f"no {host}")

    monkeypatch.setenv("NBEXT_BASE_URL", "https://exchange.invalid")
    with monkeypatch.context() as patch:
        patch.setattr(socket, "getaddrinfo", nobody_knows)
        assert failing() == ["name"]
    with socket.socket() as nobody, monkeypatch.context() as patch:  # bound, and not listening
        nobody.bind(("127.0.0.1", 0))
        patch.setenv("NBEXT_BASE_URL", f"https://127.0.0.1:{nobody.getsockname()[1]}")
        assert failing() == ["address"]
        assert "refuses connections" in found("address").found
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(tmp_path / "missing.pem"))
    assert failing() == ["certificates"]
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    monkeypatch.setenv("HTTPS_PROXY", "http://me:secret@127.0.0.1:9")
    told = list(doctor.examine())
    assert [check.check for check in told if check.state == "fail"] == ["key", "answer"]
    assert "secret" not in "".join(map(str, told))
    monkeypatch.delenv("HTTPS_PROXY")
    with contextlib.closing(TLSServer(lambda _: answer({}), tmp_path)) as server:
        monkeypatch.setenv("NBEXT_BASE_URL", server.url)
        assert failing() == ["answer"]
        assert "inspects TLS" in found("answer").found


def test_a_socks_proxy_without_pysocks_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before anything is tried."""
    monkeypatch.setenv("NBEXT_BASE_URL", "https://exchange.invalid")
    monkeypatch.setenv("ALL_PROXY", "socks5h://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "socks", None)
    assert "PySocks" in found("proxy").found


def test_each_address_is_tried(custom: LocalExchange, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of two that does not answer is a warning."""
    monkeypatch.setattr("nbext.spot.surroundings.CONNECT_SECONDS", 0.3)
    live = ("127.0.0.1", int(custom.url.rpartition(":")[2]))
    with dead_address() as dead:
        rows = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", address) for address in (dead, live)]
        monkeypatch.setattr("nbext.spot.surroundings.look_up", lambda *_: rows)
        told = [check.state for check in doctor.examine() if check.check == "address"]
    assert told == ["warn", "ok"]


def test_an_exchange_that_answers_nonsense_fails(
    serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever it is that answers there."""
    server = serve(lambda _: answer(b"<html>", 404))
    monkeypatch.setenv("NBEXT_BASE_URL", server.url)
    for server.pong in (answer(b"<html>", 404), answer({})):  # also one that nothing but pings get through to
        assert [check.state for check in doctor.examine(None) if check.check == "answer"][-1] == "fail"


def test_an_old_package_in_the_kernel_is_named() -> None:
    """Though a newer one is installed: the kernel has to be restarted."""
    program = """
import sys, types
sys.modules["pandas"] = types.ModuleType("pandas")
sys.modules["pandas"].__version__ = "2.2.3"
from nbext import doctor
print(*(check for check in doctor.examine() if check.check == "pandas"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("fail")
    assert "Restart the kernel" in done.stdout


def test_the_versions_needed_are_those_of_the_package() -> None:
    """The doctor has its own list, as nbext may not be installed where it is used."""
    project = tomllib.loads((Path(__file__).parents[1] / "pyproject.toml").read_text("utf-8"))["project"]
    bounds = dict(each.split(">=") for each in project["dependencies"])
    assert {name: bounds[name.lower()] for name in doctor.NEEDED} == doctor.NEEDED


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """Start a shell with nbext."""
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbext")
    yield shell
    shell.run_line_magic("unload_ext", "nbext")
    InteractiveShell.clear_instance()


def test_the_magic_prints_the_lines_and_returns_a_frame(
    custom: LocalExchange, shell: InteractiveShell, capsys: pytest.CaptureFixture[str]
) -> None:
    """And switches no profile."""
    assert custom.url
    frame = shell.run_line_magic("nbext", "--doctor --profile custom")
    lines = capsys.readouterr().out.splitlines()
    assert frame.columns.tolist() == ["check", "state", "found"]
    assert tuple(frame["check"]) == IN_ORDER
    assert [line.split()[0] for line in lines[:-1]] == frame["state"].tolist()
    assert lines[-1] == "17 checks: all ok"
    assert profiles.chosen() == ("custom", "from NBEXT_BASE_URL")
    for wrong in ("custom --doctor", "--profile custom"):
        with pytest.raises(UsageError):
            shell.run_line_magic("nbext", wrong)


def test_its_frame_is_not_shown_again_below_its_lines(custom: LocalExchange, shell: InteractiveShell) -> None:
    """In another cell it is a table with all of each text, in which a state is a word and a color."""
    assert custom.url
    frame = shell.run_line_magic("nbext", "--doctor")
    assert shell.display_formatter
    html, text = (shell.display_formatter.formatters[kind] for kind in ("text/html", "text/plain"))
    assert html(frame) is None
    shell.execution_count += 1
    frame.loc[0, "found"] = "<b>" + "long " * 50
    assert "&lt;b&gt;" + "long " * 50 in html(frame)
    assert html(frame).count("<tr") == len(IN_ORDER)
    assert 'class="canceled"' in html(frame), "its color"
    assert text(frame[frame["check"] == "proxy"]) == "ok    proxy        none"
    assert "<th" in html(frame[["check", "found"]]), "a part of it is a frame like any other"


@pytest.mark.parametrize(("profile", "code"), [([], 0), (["--profile", "nowhere"], 1)])
def test_the_command_exits_with_what_it_found(profile: list[str], code: int) -> None:
    """0 when nothing fails."""
    command = [sys.executable, "-m", "nbext", "doctor", *profile]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == code, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert ("fail" in {line.split()[0] for line in lines}) is bool(code)
    assert lines[-1] == ("6 checks: 1 failed (profile)" if code else "17 checks: all ok")
