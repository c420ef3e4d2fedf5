"""A whole rehearsal: it holds against the practice exchange, fails against one that lies, and leaves nothing behind."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest
from support.server import answer

from nbext import profiles
from nbext.credentials import Credential, Secret
from nbext.exchange import Dialect, LocalExchange
from nbext.profiles import Endpoint
from nbext.rehearsal import report
from nbext.rehearsal.findings import Difference
from nbext.rehearsal.hands import KINDS, Hands
from nbext.rehearsal.probes_rules import NOT_SEEN, NOT_SEEN_VALUES
from nbext.rehearsal.rehearse import rehearse
from nbext.rehearsal.report import Scrubber
from nbext.spot.client import SpotClient

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import PlainServer, Request

    Change = Callable[[Request, Any], Any]


def found(path: Path) -> dict[str, Any]:
    """Read what a rehearsal has written."""
    document: dict[str, Any] = json.loads(path.read_text("utf-8"))
    return document


def test_every_claim_holds_and_nothing_is_left(tmp_path: Path) -> None:
    """On a fresh exchange every kind of order and every way to cancel is played, and all values agree."""
    import nbext

    lines: list[str] = []
    assert rehearse("local", None, tmp_path / "found.json", say=lines.append) == 0
    document = found(tmp_path / "found.json")
    assert all(claim["held"] and claim["compared"] > 0 for claim in document["claims"])
    assert sum(claim["compared"] for claim in document["claims"]) > 3000
    assert (document["not_played"], document["problem"], document["left_open"]) == ({}, "", [])
    assert nbext.local().open_orders() == []
    placed = {request["path"] for request in nbext.local().requests("POST")}
    assert placed == {"/api/v3/order", *(f"/api/v3/orderList/{kind.lower()}" for kind in KINDS if kind[0] == "O")}
    unseen = document["rules_not_asked"]
    assert unseen.keys() == NOT_SEEN.keys() | {"empty-memory"}
    assert all(unseen.values())
    assert len(document["values_not_seen"]) == len(NOT_SEEN_VALUES)
    assert any(line.startswith(f"{len(unseen)} ") for line in lines)
    ways = [line.partition(":")[0] for line in lines]
    for way in ("cancel all", "nothing open", "wrong symbol", "filters", "a frame", "a list", "a leg", "clock off"):
        assert way in ways


def test_orders_of_others_stay(custom: LocalExchange, tmp_path: Path) -> None:
    """Where the symbol has some, a prefix stands in for the plain cancel-all, and that is said.

    Those of an earlier rehearsal, which was killed, are pointed out, with how to cancel them.
    """
    with Hands(profiles.resolve("custom"), "BTCUSDT") as hands:
        hands.look_around()
        hands.place("OCO")
    before = custom.open_orders()
    lines: list[str] = []
    assert rehearse("custom", "BTCUSDT", tmp_path / "found.json", say=lines.append) == 0
    assert custom.open_orders() == before
    assert list(found(tmp_path / "found.json")["not_played"]) == ["plain cancel-all"]
    assert custom.requests("DELETE", "openOrders", "BTCUSDT") == []
    assert "%cancel_all BTCUSDT --profile custom --prefix nbext-rehearsal-" in lines[0]


def test_a_symbol_without_orders_of_others_is_chosen(custom: LocalExchange, tmp_path: Path) -> None:
    """So that the plain cancel-all can be played."""
    before = custom.open_orders()
    assert {row["symbol"] for row in before} == {"BTCUSDT", "ETHUSDT"}
    assert rehearse("custom", None, tmp_path / "found.json", say=lambda _: None) == 0
    assert found(tmp_path / "found.json")["symbol"] == "BNBUSDT"
    assert custom.open_orders() == before


@pytest.mark.parametrize("profile", ["live", "desk"])
def test_what_is_live_is_refused_before_anything_is_sent(
    profile: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The built-in profile, and one of the user's own for a host that is not known to be for practice."""
    monkeypatch.setattr(SpotClient, "request", lambda *_, **__: pytest.fail("something was sent"))
    path = profiles._path()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('[desk]\nbase_url = "https://api1.binance.com"\napi_key = "k"\nsecret_key = "s"\n', "utf-8")
    path.chmod(0o600)
    lines: list[str] = []
    assert rehearse(profile, None, tmp_path / "found.json", say=lines.append) == 2
    assert len(lines) == 1
    assert "live" in lines[0]
    assert not (tmp_path / "found.json").exists()


def test_what_answers_on_loopback_and_is_no_practice_exchange_gets_no_order(
    serve: Callable[..., PlainServer], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may pass orders on to a live exchange. It is asked once, without a key."""
    server = serve(lambda _: answer({"code": -1000, "msg": "?"}, 404))
    monkeypatch.setenv("NBEXT_BASE_URL", server.url)
    monkeypatch.setenv("BINANCE_API_KEY", "k" * 64)
    monkeypatch.setenv("BINANCE_API_SECRET", "s" * 64)
    lines: list[str] = []
    assert rehearse("custom", None, tmp_path / "found.json", say=lines.append) == 2
    assert "no orders were placed" in lines[0]
    assert [(request.method, "signature" in request.target) for request in server.requests] == [("GET", False)]
    assert "X-MBX-APIKEY" not in server.requests[0].headers


def test_an_own_profile_of_a_practice_exchange_is_played(exchange: LocalExchange, tmp_path: Path) -> None:
    """One that another process may have started; unless the profile wants a question before each cancel."""
    path = profiles._path()
    path.parent.mkdir(parents=True, exist_ok=True)
    entry = (
        f'[desk]\nbase_url = "{exchange.url}"\napi_key = "{exchange.api_key}"\nsecret_key = "{exchange.secret_key}"\n'
    )
    path.write_text(entry, "utf-8")
    path.chmod(0o600)
    assert rehearse("desk", None, tmp_path / "found.json", say=lambda _: None) == 0
    count = len(exchange.requests())
    path.write_text(f"{entry}always_ask = true\n", "utf-8")
    assert rehearse("desk", None, tmp_path / "found.json", say=lambda _: None) == 2
    assert len(exchange.requests()) == count


@pytest.mark.parametrize(
    ("moment", "number"),
    [
        ("while it places", signal.SIGTERM),
        ("before an order arrives", signal.SIGINT),
        ("while it cancels", signal.SIGINT),
        ("while it cancels", signal.SIGTERM),
    ],
)
def test_what_ends_the_program_has_it_clean_up_first(
    custom: LocalExchange, tmp_path: Path, moment: str, number: signal.Signals
) -> None:
    """Ctrl-C or a request to end: what was placed is canceled, and what was found so far is written."""
    before = custom.open_orders()
    method, path = ("DELETE", "/api/v3/openOrders") if "cancels" in moment else ("POST", "/api/v3/orderList/oto")
    command = [sys.executable, "-m", "nbext", "rehearse", "--profile", "custom", "--symbol", "BNBUSDT"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        next(line for line in program.stdout if line.startswith("rehearsing"))
        slow = custom.faults.on(method, path)
        if moment == "before an order arrives":
            slow.execute_late(seconds=4)
        else:
            slow.answer_late(seconds=1)
        placed = len(custom.requests(method, path))
        while len(custom.requests(method, path)) == placed:
            time.sleep(0.01)
        program.send_signal(number)
        output = program.stdout.read()
    assert program.returncode == 2, output
    assert "cleaned up: no order of this rehearsal is open" in output
    until = time.monotonic() + 10
    while not custom.requests(method, path)[-1]["executed"] and time.monotonic() < until:
        time.sleep(0.1)
    assert custom.requests(method, path)[-1]["executed"]
    assert custom.open_orders() == before
    assert found(tmp_path / "rehearsal.json")["problem"] == "interrupted"


def test_a_second_interrupt_stops_the_cleaning_up_and_says_so(custom: LocalExchange, tmp_path: Path) -> None:
    """What may be open is named, with how to cancel it, and what was found is written anyway."""
    custom.reset(dialect=Dialect(uncancelable="left_out"))
    command = [sys.executable, "-m", "nbext", "rehearse", "--profile", "custom", "--symbol", "BNBUSDT"]
    with subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, text=True) as program:
        assert program.stdout is not None
        for line in program.stdout:
            if line.startswith("placed iceberg"):
                program.send_signal(signal.SIGINT)
            if line.startswith("Interrupted"):
                break
        sent = len(custom.requests("DELETE"))
        while len(custom.requests("DELETE")) == sent:
            time.sleep(0.01)
        program.send_signal(signal.SIGINT)
        output = program.stdout.read()
    assert program.returncode == 2, output
    assert "Cancel with: %cancel_all BNBUSDT --profile custom --prefix nbext-rehearsal-" in output
    assert found(tmp_path / "rehearsal.json")["left_open"]


def test_what_cannot_be_canceled_is_named(custom: LocalExchange) -> None:
    """By client id and order id."""
    custom.reset(dialect=Dialect(uncancelable="left_out"))
    lines: list[str] = []
    with Hands(profiles.resolve("custom"), "BNBUSDT", lines.append) as hands:
        hands.look_around()
        placed = [each for kind in KINDS for each in hands.place(kind)]
        left = hands.clean_up(seconds=1)
    assert 0 < len(left) < len(placed)
    assert len(left) == len(custom.open_orders())
    assert all(any(row["clientOrderId"] in each for each in left) for row in custom.open_orders())


def test_no_secret_is_shown_or_written(
    relay: Callable[[Change], PlainServer], custom: LocalExchange, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Even where an exchange echoes the key, the signature and the number of the account."""
    sent: list[str] = []

    def echo(request: Request, body: Any) -> Any:
        sent.append(request.params.get("signature", ""))
        if isinstance(body, dict) and request.path == "/api/v3/order":
            where = {"url": request.target, "key": request.headers.get("X-MBX-APIKEY"), "uid": 4711}
            return {**body, "status": "REJECTED", "price": sent[-1], "msg": str(where), **where}
        return body

    relay(echo)
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", patience=0.1) == 1
    shown = capsys.readouterr().out
    for text in (shown, (tmp_path / "found.json").read_text("utf-8")):
        assert "instead of" in text
        for secret in (custom.api_key, custom.secret_key, *filter(None, sent)):
            assert secret not in text
            assert secret[8:24] not in text


def test_nothing_is_played_without_the_right_to_read(custom: LocalExchange, tmp_path: Path) -> None:
    """The program says so, and exits with 2."""
    custom.reset(dialect=Dialect(key_reads="refused"))
    assert rehearse("custom", None, tmp_path / "found.json", say=lambda _: None) == 2
    assert "-2015" in found(tmp_path / "found.json")["problem"]
    assert custom.requests("POST") == []


def test_it_waits_where_the_exchange_asks_to(custom: LocalExchange, tmp_path: Path) -> None:
    """And sends again what was refused for that, its own requests as well as nbext's."""
    custom.faults.on("POST", "/api/v3/order").limit(retry_after=1)
    custom.faults.on("DELETE", "/api/v3/openOrders").limit(retry_after=1)
    lines: list[str] = []
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", say=lines.append) == 0
    assert "waiting 1 s, because the exchange asks to" in lines
    assert found(tmp_path / "found.json")["not_played"] == {}


def test_what_is_written_has_no_secret_in_any_answer(tmp_path: Path) -> None:
    """Key, secret key, signature and the numbers of accounts are taken out of raw answers, and of their escapes."""
    key, secret, signature = "k9" * 32, "s7" * 32, "ab" * 32
    raw = json.dumps({"uid": 354937868, "url": f"/api/v3/order?signature={signature}", "k": key, "s": secret})
    difference = Difference("key-status", "401", f"400, {secret}", raw)
    clean = Scrubber(Credential(Secret(key), Secret(secret)))
    document = report.document(
        {"problem": key}, claims=[], not_played={"LIMIT": raw}, differences=[difference], not_asked={}, left_open=[key]
    )
    report.write(document, tmp_path / "found.json", clean)
    for text in ((tmp_path / "found.json").read_text("utf-8"), "\n".join(report.table(document, clean))):
        assert "key-status" in text
        for each in (key, secret, signature, "354937868"):
            assert each not in text
    assert [path.name for path in tmp_path.iterdir()] == ["found.json"]


def test_half_of_a_limit_is_not_passed() -> None:
    """Where half of the orders of ten seconds are placed, it waits for the next ten."""
    with LocalExchange(order_limits=(6, 1000)) as exchange:
        credential = Credential(Secret(exchange.api_key), Secret(exchange.secret_key))
        lines: list[str] = []
        with Hands(Endpoint("custom", exchange.url, credential), "BNBUSDT", lines.append) as hands:
            hands.look_around()
            assert all(hands.place(kind) for kind in ("LIMIT", "OCO", "LIMIT"))
            counts = [int(each.headers.get("X-MBX-ORDER-COUNT-10S", 0)) for each in hands.answers]
        assert max(counts) <= 3
        assert 429 not in {each.status for each in hands.answers}


def test_a_file_that_cannot_be_written_is_said(custom: LocalExchange, tmp_path: Path) -> None:
    """After everything else, which is shown anyway."""
    assert custom.url
    lines: list[str] = []
    assert rehearse("custom", None, tmp_path / "nowhere" / "found.json", say=lines.append) == 2
    assert "could not be written" in lines[-1]


def test_what_a_refused_cancel_leaves_open_hides_no_difference(custom: LocalExchange, tmp_path: Path) -> None:
    """The rule is named though each cancel-all of the play is carried out by half."""
    custom.reset(dialect=Dialect(partial_refusal="after_some"))
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", say=lambda _: None) == 0
    assert [each["rule"] for each in found(tmp_path / "found.json")["differences"]] == ["partial-refusal"]


@pytest.mark.parametrize("dialect", [Dialect(archive_from="live"), Dialect(replicas=0.2)])
def test_reads_that_show_less_or_older_break_no_claim(custom: LocalExchange, tmp_path: Path, dialect: Dialect) -> None:
    """Where queries call open orders archived, and where copies of the records are behind."""
    custom.reset(dialect=dialect)
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", say=lambda _: None, patience=5.0) == 0
    assert all(claim["held"] for claim in found(tmp_path / "found.json")["claims"])


def test_differences_are_written_and_are_no_failures(custom: LocalExchange, tmp_path: Path) -> None:
    """By rule, with what is usual, what was found, and the answer that shows it."""
    custom.reset(dialect=Dialect(nothing_open="empty", decimals="trimmed"))
    lines: list[str] = []
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", say=lines.append) == 0
    written = {each["rule"]: each for each in found(tmp_path / "found.json")["differences"]}
    assert written.keys() == {"nothing-open", "decimals"}
    assert written["nothing-open"]["raw"] == "[]"
    assert all(each["usual"] and each["found"] and each["usual"] != each["found"] for each in written.values())
    assert "2 differences from RULES.md:" in lines
