"""What Tab offers on the lines of our magics."""

from __future__ import annotations

import atexit
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.completer import provisionalcompleter
from IPython.core.interactiveshell import InteractiveShell
from jupyter_client.manager import start_new_kernel
from support.server import answer

import nbext
from nbext import session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from IPython.core.completer import Completion
    from support.server import PlainServer

FILTERS = ["--side", "--type", "--prefix", "--older-than"]


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """Yield a shell with the extension loaded."""
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell.instance()
    assert run(shell, "%load_ext nbext")
    yield shell
    assert run(shell, "%unload_ext nbext")
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


def run(shell: Any, cell: str) -> bool:
    """Run a cell, and say whether it went well."""
    return bool(shell.run_cell(cell, store_history=True).success)


def offers(shell: InteractiveShell, cell: str) -> list[Completion]:
    """Press Tab at the ``|`` in a cell."""
    before, _, after = cell.partition("|")
    with provisionalcompleter():
        return list(shell.Completer.completions(before + after, len(before)))


def texts(shell: InteractiveShell, cell: str) -> list[str]:
    """Name what Tab offers."""
    return [each.text for each in offers(shell, cell)]


@pytest.mark.parametrize(
    "cell",
    [
        "%cancel_all BTCUSDT --d|",
        "%%cancel_all BTCUSDT --d|\nx = 1",
        "x = %cancel_all BTCUSDT --d|",
        "for s in ['A']:\n    %cancel_all {s} --d|",
        "for s in ['A']:\n    x = %cancel_all {s} --d|\n    y = 1",
        "%time %cancel_all --d|",
        "x=%cancel_all --d| --yes",
    ],
)
def test_options_are_offered_wherever_a_magic_can_stand(shell: InteractiveShell, cell: str) -> None:
    """In lines, cells, assignments, loops and behind other magics, the whole option replaces what was typed of it."""
    (found,) = offers(shell, cell)
    typed = cell.partition("|")[0]
    assert found.text == "--dry-run"
    assert typed[found.start : found.end] == "--d"


@pytest.mark.parametrize(
    ("cell", "wanted"),
    [
        ("%cancel_all --side |", ["BUY", "SELL"]),
        ("%cancel_all --side s|", ["SELL"]),
        ("%cancel_all --side=B|", ["BUY"]),
        ("x = %cancel_all BTCUSDT --side=|", ["BUY", "SELL"]),
        ("%cancel_all --type STOP|", ["STOP_LOSS", "STOP_LOSS_LIMIT"]),
        ("%cancel_all --older-than 1|", ["15m", "1d"]),
        ("%cancel_all --profile |", ["local", "testnet", "demo", "live", "custom"]),
        ("%open_orders --profile te|", ["testnet"]),
        ("%nbext |", ["local", "testnet", "demo", "live", "custom", "--doctor", "--profile"]),
        ("%nbext_guard --o|", ["--off"]),
        ("%cancel_log -|", ["--last", "--raw", "--reconcile"]),
        ("%open_orders -|", ["--profile", "--exact", *FILTERS]),
        ("%open_orders --exact --|", ["--profile", *FILTERS]),
    ],
)
def test_each_place_has_its_own_offers(shell: InteractiveShell, cell: str, wanted: list[str]) -> None:
    """Values of an option come after it, options once only, and nothing else is mixed in."""
    assert texts(shell, cell) == wanted


def test_symbols_come_from_calls_and_from_the_lines_typed(shell: InteractiveShell) -> None:
    """Symbols that calls asked for or found, in loops, too, and symbols typed; in upper case, none twice on a line."""
    assert texts(shell, "%cancel_all BT|") == []
    nbext.local().reset()
    nbext.local().seed_orders()
    run(shell, "for pair in ['eth/usdt']:\n    %open_orders {pair}")
    assert texts(shell, "%cancel_all |")[0] == "ETHUSDT"
    run(shell, "found = %open_orders")
    run(shell, "if False:\n    x = %cancel_all btcfdusd --prefix BTCNO --yes;  # BTCNOTHING")
    assert texts(shell, "%cancel_all bt|") == ["BTCFDUSD", "BTCUSDT"]
    assert texts(shell, "%cancel_panel bt|") == ["BTCFDUSD", "BTCUSDT"]
    assert texts(shell, "%open_orders BTCUSDT BT|") == ["BTCFDUSD"]
    session.symbols_met.update({"BTC\x1b[31m", "BTC USDT", "<b>", ""})  # an exchange may call a symbol anything
    assert texts(shell, "%open_orders BTCUSDT BT|") == ["BTCFDUSD"]


def test_the_panel_is_completed(shell: InteractiveShell) -> None:
    """Its options and profiles, as those of the other magics."""
    assert texts(shell, "%cancel_panel --p|") == ["--profile"]
    assert texts(shell, "x = %cancel_panel BTCUSDT --profile te|") == ["testnet"]


@pytest.mark.parametrize(
    "cell", ["%nbext testnet |", "%cancel_log --last |", "%cancel_all --dry-run -n|", "%cancel_all --prefix |"]
)
def test_where_anything_may_stand_nothing_is_made_up(shell: InteractiveShell, cell: str) -> None:
    """A free value, or a place where nothing more may come, gets no option and no symbol."""
    run(shell, "%cancel_all BTCUSDT --nope")
    assert not {"--dry-run", "--yes", "BTCUSDT", "local"} & set(texts(shell, cell))


@pytest.mark.parametrize(
    "cell", ["%cancel_all {de|", "%cancel_all BTCUSDT # --d|", "cancel_all --d|", "%time --d|", "10 %cancel_allx --d|"]
)
def test_everything_else_is_left_to_others(shell: InteractiveShell, cell: str) -> None:
    """Variables, comments and lines that are not ours get what they got before."""
    assert "--dry-run" not in texts(shell, cell)
    if "{de" in cell:
        assert "delattr" in [text.strip("{") for text in texts(shell, cell)]


def test_reloading_adds_nothing_and_unloading_takes_all_away(shell: InteractiveShell) -> None:
    """There is one matcher while the extension is loaded, and none after."""
    before = len(shell.Completer.custom_matchers)
    run(shell, "%reload_ext nbext")
    assert len(shell.Completer.custom_matchers) == before
    run(shell, "%unload_ext nbext")
    assert len(shell.Completer.custom_matchers) == before - 1
    assert "--dry-run" not in texts(shell, "%cancel_all --d|")
    run(shell, "%load_ext nbext")


def test_tab_sends_no_request(
    shell: InteractiveShell, serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is completed, the exchange hears nothing of it."""
    server = serve(lambda _: answer([]))
    monkeypatch.setenv("NBEXT_BASE_URL", server.url)
    for cell in ("%cancel_all |", "%open_orders |", "%nbext |", "%cancel_all --profile |"):
        texts(shell, cell)
    assert server.requests == []


def test_a_kernel_completes() -> None:
    """A real kernel answers a front end's complete_request with the option and where it goes."""
    manager, client = start_new_kernel()
    try:
        client.execute_interactive("%load_ext nbext", timeout=60)
        code = "df = %cancel_all BTCUSDT --dr"
        content = client.complete(code, reply=True, timeout=60)["content"]
        assert content["matches"] == ["--dry-run"]
        assert code[content["cursor_start"] : content["cursor_end"]] == "--dr"
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
