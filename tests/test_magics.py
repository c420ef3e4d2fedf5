"""The magics, in a real IPython shell, against servers on loopback."""

from __future__ import annotations

import atexit
import contextlib
import io
import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output
from support.documents import fixture_body
from support.server import answer

import nbext
from nbext.notebook import progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pandas import DataFrame
    from support.server import PlainServer, Request

API_KEY, SECRET_KEY = "K" * 60 + "last", "S" * 64


class Shell:
    """An IPython shell whose every cell tells what it showed."""

    def __init__(self) -> None:
        InteractiveShell.clear_instance()
        self.ip = InteractiveShell.instance()
        self.ip.colors = "nocolor"
        self.out = ""
        self.last: Any = None

    def close(self) -> None:
        """End the shell now rather than at exit."""
        atexit.unregister(self.ip.atexit_operations)
        self.ip.atexit_operations()
        InteractiveShell.clear_instance()

    def run(self, cell: str) -> Any:
        """Run a cell that must go well, and give its value."""
        error = self.fails(cell, expected=False)
        assert error is None, self.out
        return self.last

    def fails(self, cell: str, *, expected: bool = True) -> BaseException | None:
        """Run a cell that must fail, and give its error."""
        with capture_output(display=False) as captured:
            result = self.ip.run_cell(cell, store_history=True)
        self.out, self.last = captured.stdout + captured.stderr, result.result
        error: BaseException | None = result.error_before_exec or result.error_in_exec
        assert (error is not None) is expected, self.out
        return error


@pytest.fixture
def shell() -> Iterator[Shell]:
    """Yield a shell with the extension loaded."""
    shell = Shell()
    shell.run("%load_ext nbext")
    yield shell
    shell.run("%unload_ext nbext")
    shell.close()


@pytest.fixture
def sample(serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch) -> PlainServer:
    """Serve the documented bodies, as a custom exchange with a key in the environment."""

    def respond(request: Request) -> bytes:
        bodies = {
            ("DELETE", "/api/v3/openOrders"): "cancel_all_open_orders",
            ("GET", "/api/v3/openOrders"): "constructed_open_orders_mixed",
            ("GET", "/api/v3/openOrderList"): "open_order_list",
        }
        symbol = request.params.get("symbol", "BTCUSDT")
        if request.path == "/api/v3/order":
            mixed = fixture_body("constructed_open_orders_mixed")
            (order,) = (order for order in mixed if order["orderId"] == int(request.params["orderId"]))
            return answer(order | {"symbol": symbol, "status": "FILLED", "executedQty": order["origQty"]})
        if request.path == "/api/v3/allOrders":
            return answer([])
        body = json.dumps(fixture_body(bodies[request.method, request.path]))
        return answer(re.sub('"symbol": "[A-Z]+"', f'"symbol": "{symbol}"', body))

    server = serve(respond)
    monkeypatch.setenv("NBEXT_BASE_URL", server.url)
    monkeypatch.setenv("BINANCE_API_KEY", API_KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET_KEY)
    return server


def deletes(server: PlainServer) -> list[str]:
    """Name the symbols of the DELETEs that a server has seen."""
    return [request.params["symbol"] for request in server.requests if request.method == "DELETE"]


def one_line(shell: Shell) -> str:
    """Check that a failed cell showed one line and no secret, and give that line."""
    lines = [line for line in shell.out.splitlines() if line.strip()]
    assert len(lines) == 1, shell.out
    assert "Traceback" not in shell.out
    assert "signature" not in shell.out
    assert API_KEY not in shell.out
    assert SECRET_KEY not in shell.out
    return lines[0]


def test_the_documented_sample_gives_all_four_orders(shell: Shell, sample: PlainServer) -> None:
    """`%cancel_all BTCUSDT` expands the order list of the documented body and loses nothing."""
    frame: DataFrame = shell.run("%cancel_all BTCUSDT --yes")
    assert frame["orderId"].tolist() == [11, 13, 20, 21]
    assert frame["orderListId"].tolist() == [-1, -1, 1929, 1929]
    assert frame.loc[frame["stopPrice"].notna(), ["orderId", "stopPrice"]].to_numpy().tolist() == [[20, 0.378131]]
    assert frame["icebergQty"].dropna().tolist() == [0.017083, 0.639962]
    assert frame["transactionTime"].dt.date.astype("str").tolist()[2:] == ["2020-03-26"] * 2
    assert frame["transactionTime"].isna().tolist() == [True, True, False, False]
    assert frame["outcome"].tolist() == ["canceled"] * 4
    assert "BTCUSDT: 4 orders canceled (2 single, 1 OCO list) [custom, 127.0.0.1:" in shell.out
    assert deletes(sample) == ["BTCUSDT"]
    assert len(sample.requests) == 1


@pytest.mark.parametrize(
    "cell",
    [
        "df = %cancel_all BTCUSDT -y",
        "df = %cancel_all BTCUSDT -y;",
        "df = %cancel_all BTCUSDT -y ;  # a note",
        "df = %cancel_all 'BTCUSDT' -y # what's this",
        'df = %cancel_all " btc/usdt " --yes',
        "s = 'BTCUSDT'\ndf = %cancel_all {s} -y",
        "s = 'BTCUSDT'\ndf = %cancel_all $s -y",
        "for s in ['BTCUSDT']:\n    df = %cancel_all {s} -y",
        "def f(s):\n    d = %cancel_all {s} -y\n    return d\ndf = f('BTCUSDT')",
        "df = get_ipython().run_line_magic('cancel_all', 'BTCUSDT -y')",
    ],
)
def test_a_line_is_read_as_a_shell_would(shell: Shell, sample: PlainServer, cell: str) -> None:
    """Assignment, variables, quotes, comments and semicolons, in loops and functions too, mean what they look like."""
    shell.run(cell)
    assert len(shell.run("df")) == 4
    assert deletes(sample) == ["BTCUSDT"]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("", "name a symbol"),
        ("# BTCUSDT", "name a symbol"),
        (";", "name a symbol"),
        ("''", " is empty"),
        ("{nope} -y", "variable 'nope' is not defined"),
        ("$nope -y", "variable 'nope' is not defined"),
        ("{['BTCUSDT', 'ETHUSDT']} -y", "Write the symbols of a list as {' '.join(symbols)}"),
        ("('BTCUSDT') -y", "Write the symbols of a list as"),
        ("BTC#USDT -y", "symbol 'BTC#USDT' contains '#'"),
        ("BTCUSDT -y#", "#"),
        ("BTC&USDT -y", "contains '&'"),
        ("ETHUSDT BTC?USDT -y", "contains '?'"),
        ("'BTCUSDT", "no closing quotation"),
        ("BTCUSDT --all", "not both"),
        ("BTCUSDT --al", "Unknown option --al. Did you mean --all? Nothing was sent."),
        ("BTCUSDT --dry", "Unknown option --dry. Did you mean --dry-run? Nothing was sent."),
        ("BTCUSDT --dryrun", "Unknown option --dryrun. Did you mean --dry-run? Nothing was sent."),
        ("BTCUSDT --dry_run --yes", "Unknown option --dry_run. Did you mean --dry-run? Nothing was sent."),
        ("BTCUSDT -dry-run", "Unknown option -dry-run. Did you mean --dry-run? Nothing was sent."),
        ("BTCUSDT \N{EM DASH}dry-run", "Did you mean --dry-run? Nothing was sent."),
        ("BTCUSDT \N{EN DASH}yes", "Did you mean --yes? Nothing was sent."),
        ("BTCUSDT --YES", "Unknown option --YES. Did you mean --yes? Nothing was sent."),
        ("BTCUSDT --recvwindow=5000", "Unknown option --recvwindow. Did you mean --recv-window? Nothing was sent."),
        ("--help", "%cancel_all? shows the options. Nothing was sent."),
        ("BTCUSDT -h", "%cancel_all? shows the options. Nothing was sent."),
        ("BTCUSDT -y --older-than 99999999999999d", "unknown age '99999999999999d'"),
        ("BTCUSDT --xyzzy", "Unknown option --xyzzy. Nothing was sent."),
        ("BTCUSDT -y --recv-window 60000.001", "invalid recv window '60000.001'"),
        ("BTCUSDT -y --recv-window 1.2345", "invalid recv window '1.2345'"),
        ("BTCUSDT -y --recv-window abc", "invalid recv window 'abc'"),
        ("BTCUSDT -y --recv-window 0", "invalid recv window '0'"),
        ("BTCUSDT -y --profile testnet", "NBEXT_BASE_URL is set"),
        ("BTCUSDT -y --profile ''", "--profile is blank"),
    ],
)
def test_what_cannot_be_meant_is_refused_before_anything_is_sent(
    shell: Shell, sample: PlainServer, line: str, said: str
) -> None:
    """A mistake on the line is one line of error that says what was typed, and no request."""
    shell.fails(f"%cancel_all {line}")
    assert said in one_line(shell)
    assert sample.requests == []


def test_the_frame_is_shown_once_and_the_summary_beside_it(shell: Shell, sample: PlainServer) -> None:
    """A loop shows one summary line for each call, and the frames stay with whoever takes them."""
    shell.run("for s in ['BTCUSDT', 'ETHUSDT']:\n    %cancel_all {s} -y")
    assert [line.split(":")[0] for line in shell.out.splitlines()] == ["BTCUSDT", "ETHUSDT"]
    assert deletes(sample) == ["BTCUSDT", "ETHUSDT"]


def test_several_symbols_go_with_one_request_each(shell: Shell, sample: PlainServer) -> None:
    """One request for each symbol, named twice or not, and one summary for all."""
    frame: DataFrame = shell.run("%cancel_all ETHUSDT BTCUSDT eth/usdt -y")
    assert sorted(deletes(sample)) == ["BTCUSDT", "ETHUSDT"]
    assert len(frame) == 8
    assert shell.out.startswith("ETHUSDT, BTCUSDT: 8 orders canceled (4 single, 2 OCO lists)")


@pytest.mark.parametrize("typed", ["BTCUSDT,ETHUSDT", "BTCUSDT, ETHUSDT", "btc/usdt ,eth/usdt,", "BTCUSDT ,, ETHUSDT"])
def test_commas_separate_symbols(shell: Shell, sample: PlainServer, typed: str) -> None:
    """On a line as in a call, with blanks or without."""
    shell.run(f"%cancel_all {typed} -y")
    assert sorted(deletes(sample)) == ["BTCUSDT", "ETHUSDT"]
    nbext.cancel_all(typed, yes=True)
    assert sorted(deletes(sample)) == ["BTCUSDT", "BTCUSDT", "ETHUSDT", "ETHUSDT"]
    shell.run(f"%nbext_guard {typed} -y\n%nbext_guard --off")
    assert "Guard removed: BTCUSDT" in shell.out
    shell.fails("%cancel_all , -y")
    assert "name a symbol" in one_line(shell)


def test_recv_window_is_sent_as_written(shell: Shell, sample: PlainServer) -> None:
    """Digits are not rounded, cut or dressed up on the way."""
    shell.run("%cancel_all BTCUSDT -y --recv-window 6000.340")
    assert sample.requests[0].params["recvWindow"] == "6000.340"


@pytest.mark.usefixtures("sample")
def test_exact_gives_decimals(shell: Shell) -> None:
    """With --exact the prices are the exchange's own digits."""
    shell.run("df = %cancel_all BTCUSDT -y --exact")
    assert [str(price) for price in shell.run("df['price']")] == ["0.089853", "0.090430", "0.668611", "0.008791"]


def test_a_dry_run_sends_no_delete_even_with_yes(shell: Shell, sample: PlainServer) -> None:
    """--dry-run beats --yes, shows what would go, and says that nothing was sent."""
    frame: DataFrame = shell.run("%cancel_all BTCUSDT --dry-run --yes")
    assert set(frame["outcome"]) == {"would_cancel"}
    assert "dry run, 7 orders would be canceled" in shell.out
    assert "nothing was sent" in shell.out
    assert deletes(sample) == []


def test_a_live_cancel_without_anybody_to_ask_is_refused(shell: Shell, sample: PlainServer) -> None:
    """A host that this process did not start is live; with no standard input, the refusal names --yes."""
    error = shell.fails("%cancel_all BTCUSDT")
    assert isinstance(error, nbext.ConfigurationError)
    assert "--yes" in shell.out
    assert "nothing was canceled" in shell.out
    assert deletes(sample) == []


@pytest.fixture
def typing(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put lines on the shell's standard input."""
    return lambda typed: monkeypatch.setattr(sys, "stdin", io.StringIO(typed))


def test_the_number_of_orders_is_what_has_to_be_typed(
    shell: Shell, sample: PlainServer, typing: Callable[[str], None]
) -> None:
    """The preview is shown, and the right number lets the cancel go; every order seen before gets its row."""
    typing("7\n")
    frame: DataFrame = shell.run("%cancel_all BTCUSDT")
    assert "LIVE exchange: cancel all 7 open orders" in shell.out
    assert "[custom, 127.0.0.1:" in shell.out
    assert deletes(sample) == ["BTCUSDT"]
    assert frame["outcome"].tolist() == ["canceled"] * 4 + ["filled"] * 7
    assert "4 orders canceled (2 single, 1 OCO list); 7 filled" in shell.out


@pytest.mark.parametrize("typed", ["y\n", "yes\n", "6\n", "77\n", "\n"])
@pytest.mark.parametrize("line", ["%cancel_all BTCUSDT", "%%cancel_all BTCUSDT\nran = True"])
def test_anything_else_keeps_everything_and_is_no_error(
    shell: Shell, sample: PlainServer, typing: Callable[[str], None], typed: str, line: str
) -> None:
    """A wrong number or a word is not a yes: a line, and what is open; the cell below the magic does not run."""
    typing(typed)
    frame: DataFrame = shell.run(line)
    assert deletes(sample) == []
    assert "7 orders kept; nothing was sent [custom, 127.0.0.1:" in shell.out
    assert ("is not the number of orders" in shell.out) is typed.strip().isdecimal()
    assert frame["outcome"].tolist() == ["open"] * 7
    shell.run("import nbext")
    assert shell.run("nbext.last") is frame
    assert shell.run("'ran' in globals()") is False


def test_the_end_of_input_is_nobody_to_ask(shell: Shell, sample: PlainServer, typing: Callable[[str], None]) -> None:
    """That is an error: a question without an answer must not pass for one."""
    typing("")
    shell.fails("%cancel_all BTCUSDT")
    assert deletes(sample) == []
    assert "nothing was canceled" in shell.out


def test_a_program_that_goes_on_without_an_error_has_canceled(
    shell: Shell, sample: PlainServer, typing: Callable[[str], None]
) -> None:
    """So the function raises where the magic says a line; and a block is not entered."""
    shell.run("import nbext")
    for code in ("nbext.cancel_all('BTCUSDT')", "with nbext.guard('BTCUSDT'): ran = True"):
        typing("no\n")
        assert isinstance(shell.fails(code), nbext.ConfigurationError)
        assert "not confirmed; nothing was sent. Type the number of orders, 7, to cancel." in shell.out
    assert shell.run("'ran' in globals()") is False
    assert deletes(sample) == []


@pytest.mark.parametrize(
    "code", ["%cancel_all BTCUSDT", "nbext.cancel_all('BTCUSDT')", "%%cancel_all BTCUSDT\nran = 1"]
)
def test_an_interrupt_at_the_question_ends_more_than_the_question(
    shell: Shell, sample: PlainServer, monkeypatch: pytest.MonkeyPatch, code: str
) -> None:
    """Ctrl-C is no answer: the cell ends, in one line, so that a loop asks no next question."""

    class Interrupted(io.StringIO):
        def readline(self, *_: Any) -> Any:
            raise KeyboardInterrupt

    monkeypatch.setattr(sys, "stdin", Interrupted())
    shell.run("import nbext")
    error = shell.fails(code)
    assert isinstance(error, KeyboardInterrupt)
    assert "Interrupted: BTCUSDT [custom, 127.0.0.1:" in shell.out
    assert "interrupted; nothing was sent." in shell.out
    assert "Traceback" not in shell.out
    assert shell.run("'ran' in globals()") is False
    assert deletes(sample) == []


def test_confirm_can_be_always_or_never(shell: Shell, sample: PlainServer) -> None:
    """The trait decides when the magic asks; --yes still means yes."""
    shell.run("%config NBExt.confirm = 'never'")
    assert len(shell.run("%cancel_all BTCUSDT")) == 4
    shell.run("%config NBExt.confirm = 'always'")
    shell.fails("%cancel_all BTCUSDT")
    assert len(shell.run("%cancel_all BTCUSDT -y")) == 4
    assert deletes(sample) == ["BTCUSDT"] * 2


def test_python_calls_ask_in_ipython_too(shell: Shell, sample: PlainServer) -> None:
    """`nbext.cancel_all` in a cell asks like the magic does."""
    shell.run("import nbext")
    shell.fails("nbext.cancel_all('BTCUSDT')")
    assert "--yes (yes=True)" in shell.out
    assert len(shell.run("nbext.cancel_all('BTCUSDT', yes=True)")) == 4
    assert deletes(sample) == ["BTCUSDT"]


def test_outside_ipython_a_live_cancel_needs_yes(sample: PlainServer) -> None:
    """A plain script has nobody to ask, whatever its standard input is."""
    code = "import nbext\ntry: nbext.cancel_all('BTCUSDT')\nexcept nbext.ConfigurationError as e: print(e)"
    child = subprocess.run([sys.executable, "-c", code], input="7\n", capture_output=True, text=True, check=True)
    assert "yes=True" in child.stdout
    assert "Traceback" not in child.stderr
    assert sample.requests == []


@pytest.mark.usefixtures("sample")
def test_a_cell_runs_first_and_its_value_is_shown(shell: Shell) -> None:
    """`%%cancel_all` gives the frame, after showing the cell's own last value."""
    frame: DataFrame = shell.run("%%cancel_all BTCUSDT -y\nx = 1\nx + 41")
    assert len(frame) == 4
    assert shell.out.index("42") < shell.out.index("BTCUSDT: 4 orders canceled")
    assert shell.run("x") == 1


@pytest.mark.parametrize(
    ("cell", "kind"),
    [
        ("1/0", ZeroDivisionError),
        ("raise KeyboardInterrupt", KeyboardInterrupt),
        ("raise SystemExit(3)", SystemExit),
        ("%run does_not_exist.py", Exception),
    ],
)
@pytest.mark.filterwarnings("ignore:To exit")
def test_a_cell_that_fails_cancels_all_the_same(
    shell: Shell, sample: PlainServer, cell: str, kind: type[BaseException]
) -> None:
    """The cell's own error comes out, once, after the orders are gone and shown."""
    error = shell.fails(f"%%cancel_all BTCUSDT -y\n{cell}")
    assert isinstance(error, kind)
    assert deletes(sample) == ["BTCUSDT"]
    assert "BTCUSDT: 4 orders canceled" in shell.out
    assert "STOP_LOSS_LIMIT" in shell.out
    assert shell.out.count("division by zero") == (kind is ZeroDivisionError)
    assert nbext.last is not None


@pytest.mark.parametrize("cell", ["await f()", "x = (", "for x in y:\n    await x"])
def test_a_cell_that_cannot_run_cancels_nothing(shell: Shell, sample: PlainServer, cell: str) -> None:
    """A top-level await or a syntax error is refused before the cell runs and before anything is sent."""
    shell.fails(f"%%cancel_all BTCUSDT -y\ny = 1\n{cell}")
    assert sample.requests == []
    assert "y" not in shell.ip.user_ns


def test_consent_for_a_cell_is_taken_before_it_runs(
    shell: Shell, sample: PlainServer, typing: Callable[[str], None]
) -> None:
    """Without consent the cell does not run; with it, nothing more is asked."""
    shell.fails("%%cancel_all BTCUSDT\nran = True")
    assert "ran" not in shell.ip.user_ns
    assert deletes(sample) == []
    typing("7\n")
    assert len(shell.run("%%cancel_all BTCUSDT\nran = True")) == 4
    assert "and whatever is open afterwards" in shell.out
    assert shell.ip.user_ns["ran"] is True


def test_a_failing_cancel_is_raised_from_the_cells_error(
    shell: Shell, serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """When both fail, the cancel's error is what counts, and the cell's is its cause."""
    server = serve(lambda _: answer({"code": -2015, "msg": "Invalid API-key, IP, or permissions for action."}, 401))
    monkeypatch.setenv("NBEXT_BASE_URL", server.url)
    monkeypatch.setenv("BINANCE_API_KEY", API_KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET_KEY)
    error = shell.fails("%%cancel_all BTCUSDT -y\n1/0")
    assert isinstance(error, nbext.RejectedError)
    assert isinstance(error.__cause__, ZeroDivisionError)
    assert deletes(server) == ["BTCUSDT"]


def test_one_symbol_that_fails_does_not_hide_the_others(
    shell: Shell, serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The frame of those that went is on the error, in `nbext.last`, and shown before the one line."""

    def respond(request: Request) -> bytes:
        if request.params["symbol"] == "ETHUSDT":
            return answer({"code": -1121, "msg": "Invalid symbol."}, 400)
        return answer(fixture_body("cancel_all_open_orders"))

    server = serve(respond)
    monkeypatch.setenv("NBEXT_BASE_URL", server.url)
    monkeypatch.setenv("BINANCE_API_KEY", API_KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET_KEY)
    error = shell.fails("%cancel_all ETHUSDT BTCUSDT -y")
    assert isinstance(error, nbext.IncompleteError)
    assert isinstance(error.failures["ETHUSDT"], nbext.RejectedError)
    assert error.frame is nbext.last
    assert nbext.last is not None
    assert nbext.last["orderId"].tolist() == [11, 13, 20, 21]
    assert shell.out.index("STOP_LOSS_LIMIT") < shell.out.index("IncompleteError: ETHUSDT on custom")


def test_a_wrong_setting_does_not_keep_the_extension_from_loading() -> None:
    """A bad value in the configuration is reported, and the default used."""
    shell = Shell()
    shell.ip.config.NBExt.confirm = "sometimes"
    shell.run("%load_ext nbext")
    assert "reset to its default" in shell.out
    assert shell.run("get_ipython().magics_manager.registry['NBExt'].confirm") == "live"
    shell.run("%unload_ext nbext")
    shell.close()


def test_load_reload_and_unload_leave_nothing_behind() -> None:
    """After unloading, the shell has the magics, configurables and formatters that it had before."""
    shell = Shell()

    def state() -> object:
        assert shell.ip.display_formatter is not None
        formatters = shell.ip.display_formatter.formatters
        return (
            {kind: sorted(magics) for kind, magics in shell.ip.magics_manager.magics.items()},
            sorted(shell.ip.magics_manager.registry),
            [type(each).__name__ for each in shell.ip.configurables],
            {kind: sorted(map(str, [*f.type_printers, *f.deferred_printers])) for kind, f in formatters.items()},
        )

    shell.run("%load_ext autoreload")  # IPython registers the magics for extensions when first used
    shell.run("import pandas as pd\npd.DataFrame({'a': [1]})")
    before = state()
    shell.run("%load_ext nbext")
    loaded = state()
    shell.run("pd.DataFrame({'a': [1]})")
    shell.run("%reload_ext nbext")
    shell.run("%reload_ext nbext")
    assert [type(each).__name__ for each in shell.ip.configurables].count("NBExt") == 1
    assert loaded != before
    shell.run("%unload_ext nbext")
    assert state() == before
    shell.close()


def test_help_shows_every_option(shell: Shell) -> None:
    """`%cancel_all?` documents itself."""
    shell.run("%cancel_all?")
    for option in ("--all", "--profile", "--recv-window", "--exact", "--dry-run", "--yes", "--check"):
        assert option in shell.out


def test_loading_imports_nothing_slow() -> None:
    """`import nbext` and `%load_ext nbext` pull in neither requests nor pandas, nor anything else that is slow."""
    code = (
        "import sys\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\nbefore = set(sys.modules)\n"
        "import nbext\nassert shell.run_cell('%load_ext nbext').success\n"
        "print(sorted({name.split('.')[0] for name in set(sys.modules) - before}))"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = set(re.findall(r"'(\w+)'", child.stdout.splitlines()[-1]))
    assert "nbext" in loaded
    assert not loaded & {"requests", "pandas", "ipywidgets", "itables", "cryptography", "tornado", "numpy"}


def test_the_delete_leaves_before_pandas_is_imported(sample: PlainServer) -> None:
    """The first cancel is one request on one connection, sent while pandas is not yet there."""
    code = (
        "import sys, time\nfrom IPython.core.interactiveshell import InteractiveShell\n"
        "class Watch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'pandas':\n            print('pandas', time.monotonic())\n"
        "sys.meta_path.insert(0, Watch())\n"
        "shell = InteractiveShell.instance()\nshell.run_cell('%load_ext nbext')\n"
        "assert shell.run_cell('%cancel_all BTCUSDT --yes').success"
    )
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    pandas = [float(line.split()[1]) for line in child.stdout.splitlines() if line.startswith("pandas ")]
    assert len(pandas) == len(sample.requests) == sample.connections == 1
    assert sample.requests[0].at < pandas[0]


def test_progress_is_one_line_of_a_terminal_that_goes_again(
    serve: Callable[..., PlainServer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes after a second, says how many requests are answered, and is wiped out before the summary."""

    def respond(request: Request) -> bytes:
        time.sleep(3.0 if request.params["symbol"] in {"S8USDT", "S9USDT"} else 0.0)
        return answer([])

    monkeypatch.setenv("NBEXT_BASE_URL", serve(respond).url)
    monkeypatch.setenv("BINANCE_API_KEY", API_KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET_KEY)
    line = "%cancel_all " + " ".join(f"S{n}USDT" for n in range(10)) + " -y"
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
        f"shell.run_cell('%load_ext nbext')\nassert shell.run_cell({line!r} + ';').success"
    )
    ours, theirs = os.openpty()
    subprocess.run([sys.executable, "-c", code], stdout=theirs, check=True)
    os.close(theirs)
    written = b""
    with contextlib.suppress(OSError):  # how the end of it looks
        while piece := os.read(ours, 65536):
            written += piece
    os.close(ours)
    first, *lines = written.decode().replace("\r\n", "\n").split("\n")
    said = [part.partition("\x1b[K")[0] for part in re.split("\r", first)]
    counted = [int(part.split()[1]) for part in said if part.startswith("Canceling")]
    assert counted == sorted(counted)
    assert counted[0] == 8
    assert "of 10 requests answered" in said[1]
    assert first.rpartition("\r\x1b[K")[2].startswith("S0USDT, S1USDT")
    assert "Canceling" not in "".join(lines)


def test_quick_calls_show_no_progress(shell: Shell, sample: PlainServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Within the time after which it comes there is nothing to wait for."""
    monkeypatch.setattr(progress, "_AFTER", 20.0)
    shell.run("%cancel_all " + " ".join(f"S{n}USDT" for n in range(40)) + " -y")
    assert len(deletes(sample)) == 40
    assert "of 40" not in shell.out


def test_the_journal_is_shown_as_a_frame(shell: Shell, sample: PlainServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """`%cancel_log` lists the requests, `--raw` one answer as it came, and an unknown id says so."""
    monkeypatch.setenv("NBEXT_JOURNAL", str(Path(shell.ip.ipython_dir) / "j.sqlite3"))
    for symbol in ("BTCUSDT", "ETHUSDT"):
        shell.run(f"%cancel_all {symbol} -y")
    frame: DataFrame = shell.run("%cancel_log")
    assert frame["request"].tolist() == ["cancel all on BTCUSDT", "cancel all on ETHUSDT"]
    assert frame["canceled"].tolist() == [4, 4]
    assert frame["httpStatus"].tolist() == [200, 200]
    assert shell.run("%cancel_log --last 1")["request"].tolist() == ["cancel all on ETHUSDT"]
    shell.run(f"%cancel_log --raw {frame['id'].iloc[0]}")
    assert json.loads(shell.out) == fixture_body("cancel_all_open_orders")
    shell.run("%cancel_log --reconcile")
    assert "Every request has a recorded outcome" in shell.out
    shell.fails("%cancel_log --raw nope")
    assert "holds no answer" in one_line(shell)
    shell.fails("%cancel_log --last 0")
    assert len(sample.requests) == 2
