"""What a table shows of a frame: the columns that answer the question, all that the user added, and each thing once."""

from __future__ import annotations

import atexit
import os
import re
import subprocess
import sys
from decimal import Decimal
from html.parser import HTMLParser
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

import nbext
from nbext import profiles
from nbext.frames import columns
from nbext.frames.html import as_html
from nbext.frames.text import as_text

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient


@pytest.fixture
def opened(client: SpotClient) -> pd.DataFrame:
    """Return the open orders."""
    return nbext.open_orders("BTCUSDT", client=client)


def shown(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the cells of each column that a table shows."""
    return {column.name: column.cells for column in columns.table(frame).columns}


def note(frame: pd.DataFrame) -> str:
    """Return what stands below the table, which text and HTML share."""
    said = columns.table(frame).note()
    assert said in as_text(frame, 400)
    assert said.replace("<", "&lt;") in as_html(frame, searchable=False)
    return said


# Which columns, by the question.


def test_open_orders_show_what_they_wait_for(opened: pd.DataFrame) -> None:
    """No outcome, since all are open; how far filled, what triggers, which are icebergs; what all share goes below."""
    table = shown(opened)
    assert list(table) == ["orderId", "list", "side", "type", "price", "trigger", "origQty", "filled", "status"]
    assert table["filled"][:2] == ["40 %", "0 %"]
    assert table["trigger"][4:6] == ["5 % trailing", "56361.0"]
    assert table["type"][3] == "LIMIT iceberg"
    assert note(opened) == "all: age < 1 min; 9 of 30 columns"
    assert columns.caption(opened).startswith("BTCUSDT: 13 orders, 13 open [")


def test_results_show_the_outcome_first(client: SpotClient, opened: pd.DataFrame) -> None:
    """Also where all outcomes are the same: they are the answer. The status says no more than they do."""
    result = nbext.cancel_orders(opened, client=client)
    table = shown(result)
    assert next(iter(table)) == "outcome"
    assert "status" not in table
    assert table["executedQty"][0] == "0.4"
    assert set(shown(result.head(2))["outcome"]) == {"canceled"}


def test_a_status_that_tells_more_than_the_outcome_is_shown(opened: pd.DataFrame) -> None:
    """A pending order is open and not working yet."""
    assert shown(opened)["status"].count("PENDING_NEW") == 3
    assert "status" not in shown(opened[opened["orderListId"] == -1])
    odd = opened.assign(outcome="expired", status="EXPIRED_IN_MATCH").astype({"outcome": "str", "status": "str"})
    odd.attrs["nbext"] = {"call": "cancel_all"}
    assert note(odd).startswith("all: ")
    assert "status EXPIRED_IN_MATCH" in note(odd)


def test_what_is_the_same_in_every_row_is_said_once(opened: pd.DataFrame) -> None:
    """It moves to the note with its value; order and price stay, and so does everything of a single row."""
    alike = opened[(opened["side"] == "SELL") & (opened["type"] == "LIMIT")]
    assert len(alike) == 2
    assert {"side", "type", "filled"}.isdisjoint(shown(alike))
    assert note(alike).startswith("all: side SELL, type LIMIT, filled 0 %, age < 1 min; ")
    single = shown(opened.head(1))
    assert (single["side"], single["type"], single["filled"]) == (["BUY"], ["LIMIT"], ["40 %"])
    same_price = opened.head(2).assign(price=1.5)
    assert shown(same_price)["price"] == ["1.5", "1.5"]


def test_client_ids_that_somebody_chose_are_shown(exchange: LocalExchange, client: SpotClient) -> None:
    """Those that the exchange made up say nothing, and are cut short beside others."""
    exchange.place(
        "BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="50000", newClientOrderId="grid-run7-000001"
    )
    frame = nbext.open_orders("BTCUSDT", client=client)
    ids = shown(frame)["origClientOrderId"]
    assert ids[-1] == "grid-run7-000001"
    assert all(len(each) == 7 and each.endswith("…") for each in ids[:-1])
    assert [each[:6] for each in ids] == [each[:6] for each in frame["origClientOrderId"]]


def test_ages_are_those_at_the_time_of_reading(exchange: LocalExchange, client: SpotClient) -> None:
    """By the exchange's clock, and the same however late they are shown."""
    exchange.advance(3 * 3600 + 125)
    exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="1", price="50000")
    client.measure_clock_offset()
    frame = nbext.open_orders("BTCUSDT", client=client)
    exchange.advance(86400)
    assert shown(frame)["age"][0] == "3 h 2 min"
    assert shown(frame)["age"][-1] == "< 1 min"
    frame.attrs.clear()
    assert "age" not in shown(frame)


@pytest.mark.parametrize(
    ("executed", "share"),
    [(0, "0 %"), (1, "33.33 %"), (3, "100 %"), (0.00001, "< 0.01 %"), (2.99999999, "99.99 %"), (1.5, "50 %")],
)
def test_a_share_is_never_0_or_100_of_what_is_in_between(opened: pd.DataFrame, executed: float, share: str) -> None:
    """An order that is not filled to the end never reads as if it was."""
    assert shown(opened.head(1).assign(origQty=3.0, executedQty=float(executed)))["filled"] == [share]


# What the user added.


def test_added_columns_and_indexes_always_show(opened: pd.DataFrame) -> None:
    """After `assign`, `merge`, `head`, `iloc`, `concat`, masks and `set_index`; and the note counts them."""
    assert "index" not in shown(opened)
    assert shown(opened.assign(mine=range(13), why=None))["mine"] == [str(n) for n in range(13)]
    assert shown(opened.assign(why=None))["why"] == [""] * 13
    assert note(opened.assign(same="x")) == "all: age < 1 min; 10 of 31 columns"
    notes = pd.DataFrame({"orderId": opened["orderId"][:2], "note": ["first", "second"]})
    merged = opened.merge(notes, on="orderId")
    assert shown(merged)["note"] == ["first", "second"]
    assert "index" not in shown(opened.head(3))
    assert shown(opened.iloc[3:5])["index"] == ["3", "4"]
    assert shown(opened.iloc[[4, 3]])["index"] == ["4", "3"]
    assert shown(opened[opened["price"] < 56_000])["index"] == ["10"]
    assert shown(pd.concat([opened.head(2), opened.head(1)]))["index"] == ["0", "1", "0"]
    assert "index" not in shown(pd.concat([opened.head(2), opened.head(1)], ignore_index=True))
    assert shown(opened.set_index("orderId", drop=False).head(1))["orderId"]
    named = shown(opened.set_index(pd.Index(list("abcdefghijklm"), name="letter")))
    assert named["letter"] == list("abcdefghijklm")
    twice = opened.set_index([opened["side"].rename("of"), opened["type"].rename("kind")])
    assert list(shown(twice))[:2] == ["of", "kind"]
    for frame in (merged, opened.iloc[3:5], twice):
        text, html = as_text(frame, 400), as_html(frame)
        for name in list(shown(frame))[:1]:
            assert name in text.splitlines()[0].split()
            assert f">{name}</th>" in html


def test_added_columns_stay_in_a_narrow_terminal(opened: pd.DataFrame) -> None:
    """Ours are given up first."""
    header = as_text(opened.assign(distance=0.5)[::-1], 44).splitlines()[0].split()
    assert header == ["index", "orderId", "price", "filled", "distance"]


def test_values_of_any_kind_show(opened: pd.DataFrame) -> None:
    """Floats with no more digits than pandas shows, times, objects that cannot be shown, and markup as text."""

    class Broken:
        def __str__(self) -> str:
            raise ValueError

    few = opened.head(3)
    values: dict[str, tuple[list[Any], list[str]]] = {
        "a": ([0.1 + 0.2, float("inf"), None], ["0.3", "Infinity", ""]),
        "b": ([pd.Timestamp("2026-01-02"), pd.NaT, pd.NaT], ["2026-01-02 00:00:00", "", ""]),
        "c": ([Broken(), ["<b>"], {1}], ["<Broken>", "['<b>']", "{1}"]),
        "d": ([1 / 3, -2 / 3, 1e-9], ["0.3333333", "-0.6666667", "0.000000001"]),
        "e": ([True, pd.NA, False], ["True", "", "False"]),
        "f": ([Decimal("1.50"), 2**70, "\x1b[2J"], ["1.5", str(2**70), r"\x1b[2J"]),
    }
    for name, (given, wanted) in values.items():
        assert shown(few.assign(**{name: given}))[name] == wanted, name
        assert "<b>" not in as_html(few.assign(**{name: given}))


def test_undocumented_fields_are_no_columns_of_the_users(serve: Any) -> None:
    """What an exchange adds to its orders widens no table; a column that the user adds does."""
    from support.server import answer

    order = {"symbol": "BTCUSDT", "orderId": 7, "orderListId": -1, "status": "NEW", "clientOrderId": "mine", "new": 1}
    server = serve(lambda _: answer([{**order, "list.odd": 1, "outcome": 3}]))
    with nbext.SpotClient(server.url, api_key="k" * 64, secret_key="s" * 64) as client:
        frame = nbext.open_orders("BTCUSDT", client=client)
    assert {"new", "wire.outcome"} <= set(frame.columns)
    assert set(shown(frame.assign(mine=1))) == {"orderId", "origClientOrderId", "mine"}


# Attributes and styles for where the style sheet does not survive.


class Cells(HTMLParser):
    """The cells of an HTML table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.cells: list[dict[str, str | None]] = []
        self.fonts: list[dict[str, str | None]] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a cell."""
        if tag in {"td", "th"}:
            self.cells.append(dict(attrs))
        if tag == "font":
            self.fonts.append(dict(attrs))


def test_every_cell_is_set_by_attribute_and_by_style(opened: pd.DataFrame) -> None:
    """GitHub keeps the one, an untrusted notebook the other; the color of a word likewise."""
    parsed = Cells(as_html(opened.assign(mine=1.5)))
    for cell in parsed.cells:
        style = dict(part.split(":") for part in str(cell["style"]).split(";"))
        assert style["text-align"] == cell["align"]
        assert style["white-space"] == "nowrap"
        assert "nowrap" in cell
    assert {cell["align"] for cell in parsed.cells} == {"left", "right"}
    assert len(parsed.fonts) == 13
    assert all(font["style"] == f"color:{font['color']}" for font in parsed.fonts)


def test_scripts_sort_ids_beyond_53_bits_and_keep_lists_together(opened: pd.DataFrame) -> None:
    """What they sort by is no number for ids, and one and the same for all legs of a list."""
    long = pd.concat([opened] * 3, ignore_index=True)
    long["orderId"] = pd.array([2**53 + n for n in range(39)], "Int64")
    html = as_html(long, carries=False)
    keys = [str(cell["data-order"]) for cell in Cells(html).cells if cell.get("scope") == "row"]
    assert len(set(keys)) == 39
    assert keys == sorted(keys)
    assert not any(key.isdigit() for key in keys)
    lists = [str(cell["data-order"]) for cell in Cells(html).cells if str(cell.get("class", "")).startswith("l")]
    by_id: dict[object, set[str]] = {}
    for key, list_id in zip(lists, long["orderListId"], strict=True):
        by_id.setdefault(list_id, set()).add(key)
    assert sorted(map(len, by_id.values())) == [1, 1, 1, 1]
    assert "data-order" not in as_html(opened)


# Everything once.


@pytest.fixture
def shell(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Yield a shell that has imported nbext, on an untouched local exchange."""
    monkeypatch.setattr(profiles, "_local", None)
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell.instance()
    shell.run_cell("%load_ext nbext\nimport nbext")
    yield shell
    shell.run_cell("%unload_ext nbext\nnbext.local().stop()")
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


def run(shell: Any, cell: str) -> list[str]:
    """Run a cell and give the lines that it shows."""
    with capture_output(display=False) as captured:
        assert shell.run_cell(cell, store_history=True).success
    return [line for line in captured.stdout.splitlines() if line.strip()]


@pytest.mark.parametrize("line", ["%open_orders BTCUSDT", "%cancel_all BTCUSDT", "%cancel_all BTCUSDT --dry-run"])
def test_a_table_repeats_no_line_of_its_cell(shell: Any, line: str) -> None:
    """The summary names symbol, count and exchange; the table below does not, until it is shown elsewhere."""
    run(shell, "nbext.local().seed_orders()")
    together = run(shell, line)
    assert together[0].startswith("BTCUSDT: ")
    assert sum("BTCUSDT" in each for each in together) == 1
    assert sum("[local" in each for each in together) == 1
    assert "127.0.0.1" not in "".join(together)
    later = run(shell, "nbext.last")
    assert "BTCUSDT: 13 " in later[-1]


def test_rows_of_a_result_have_a_caption_of_their_own(shell: Any) -> None:
    """In the same cell, a table of other rows than the summary counted says how many it has."""
    run(shell, "nbext.local().seed_orders()")
    lines = run(shell, "df = %open_orders BTCUSDT\ndf[df['side'] == 'BUY']")
    assert lines[0].startswith("BTCUSDT: 13 open orders")
    assert lines[-1].startswith("BTCUSDT: 5 orders, 5 open [local]")
    assert not run(shell, "df = %open_orders BTCUSDT\ndf")[-1].startswith("BTCUSDT")


@pytest.mark.parametrize(
    "line", ["%open_orders", "%open_orders BTCUSDT", "%cancel_all BTCUSDT", "%cancel_all BTCUSDT -n"]
)
def test_nothing_open_is_one_line(shell: Any, line: str) -> None:
    """It names the way to orders on a local exchange that never had any, and only there."""
    invitation = "nbext.local().seed_orders()"
    (only,) = [each for each in run(shell, line) if not each.startswith("Out[")]
    assert invitation in only
    run(shell, "nbext.local().seed_orders(); _ = nbext.cancel_all(all=True)")
    (only,) = [each for each in run(shell, line) if not each.startswith("Out[")]
    assert invitation not in only


def test_a_terminal_has_no_empty_output() -> None:
    """IPython writes ``Out[2]:`` there before it asks what comes next, so a few words follow."""
    lines = "%load_ext nbext\n%cancel_all BTCUSDT\n%open_orders BTCUSDT\nexit\n"
    ran = subprocess.run(
        [sys.executable, "-m", "IPython", "--simple-prompt", "--no-banner", "--colors=NoColor"],
        input=lines,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    for number in (2, 3):
        assert f"Out[{number}]: no orders [local]\n" in ran.stdout, ran.stdout


def test_kinds_are_told_apart_only_where_there_are_lists(shell: Any) -> None:
    """How many are single says something beside lists, and nothing without."""
    run(shell, "nbext.local().seed_orders()")
    assert "(6 single, 1 OCO list, 2 OTO lists)" in run(shell, "df = %open_orders BTCUSDT")[0]
    assert "single" not in run(shell, "df = %open_orders BTCUSDT --type STOP_LOSS_LIMIT --prefix none")[0]
    assert run(shell, "df = %cancel_all ETHUSDT --side SELL")[0].count("single") <= 1


def test_open_orders_take_the_filters_of_cancel_all(shell: Any) -> None:
    """What they show is what the same filters would cancel, and they say what comes only with its list."""
    run(shell, "nbext.local().seed_orders()")
    for options in ("--side BUY", "--type LIMIT_MAKER", "--prefix nobody", "--older-than 1h"):
        run(shell, f"a = %open_orders BTCUSDT {options}\nb = %cancel_all BTCUSDT -n {options}")
        assert shell.user_ns["a"]["orderId"].tolist() == shell.user_ns["b"]["orderId"].tolist()
    said = run(shell, "df = %open_orders BTCUSDT --type LIMIT_MAKER")
    assert len(said) == 1
    assert said[0].startswith("BTCUSDT: 2 open orders matching LIMIT_MAKER (1 OCO list), 1 of them only because a list")
    assert len(nbext.open_orders("BTCUSDT", type="LIMIT_MAKER")) == 2
    with pytest.raises(nbext.ConfigurationError, match="unknown side"):
        nbext.open_orders("BTCUSDT", side="LONG")


# The display without the magics, and the journal.


def test_importing_nbext_is_enough_for_the_display(exchange: LocalExchange, tmp_path: Any) -> None:
    """In IPython; outside it the import loads none of IPython, and nothing that shows tables."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
        f"shell.run_cell('''import nbext, sys\n{{'pandas', 'nbext.frames'}} & set(sys.modules)\n"
        f"client = nbext.connect(base_url={exchange.url!r}, api_key={exchange.api_key!r}, "
        f"secret_key={exchange.secret_key!r})\nnbext.open_orders('BTCUSDT', client=client)''')"
    )
    environment = {**os.environ, "COLUMNS": "100", "IPYTHONDIR": str(tmp_path)}
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert "5 % trailing" in child.stdout
    assert "[13 rows x" not in child.stdout
    code = "import nbext, sys; print(sorted({'IPython', 'pandas', 'nbext.notebook'} & set(sys.modules)))"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert child.stdout.strip() == "[]"


def test_a_cancel_that_was_refused_or_not_sent_is_not_said_to_have_met_no_orders(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any
) -> None:
    """Whoever cleans up later may believe that nothing was open."""
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    client = "nbext.connect(base_url='http://127.0.0.1:9', api_key='k' * 64, secret_key='s' * 64)"
    for line in ("'NOSUCH', yes=True", f"'BTCUSDT', yes=True, client={client}"):
        run(shell, f"import contextlib\nwith contextlib.suppress(nbext.NbextError): nbext.cancel_all({line})")
    run(shell, "df = %cancel_log\ndf")
    assert shell.user_ns["df"]["outcome"].tolist() == ["refused", "not sent"]


@pytest.mark.parametrize("width", [80, 200])
def test_the_log_says_first_what_was_asked_and_what_came_of_it(
    shell: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Any, width: int
) -> None:
    """Requests and outcomes come first, ids to look an answer up are there, and nothing is cut short."""
    monkeypatch.setenv("NBEXT_JOURNAL", str(tmp_path / "journal.sqlite3"))
    monkeypatch.setenv("COLUMNS", str(width))
    run(shell, "nbext.local().seed_orders(); _ = nbext.cancel_all(all=True, yes=True); _ = nbext.cancel_all('BNBUSDT')")
    _, header, *rows, last = run(shell, "df = %cancel_log\ndf")
    assert header.split() == ["request", "outcome", "sentAt", "id"]
    assert rows[0].startswith("cancel all on BTCUSDT 13 canceled ")
    assert rows[2].startswith("cancel all on BNBUSDT no orders ")
    assert all(id_ in row for id_, row in zip(shell.user_ns["df"]["id"], rows, strict=True))
    assert max(map(len, rows)) <= width
    assert last.startswith("3 requests; times in UTC; all: state concluded, profile local; 4 of 18 columns")
    assert list(shell.user_ns["df"])[:2] == ["request", "outcome"]
    html = shell.display_formatter.formatters["text/html"](shell.user_ns["df"])
    assert html.index("cancel&nbsp;all&nbsp;on&nbsp;BTCUSDT") < html.index("13 canceled")
    assert "times in UTC</caption>" in html
    assert "1 request; " in run(shell, "df.tail(1)")[-1]
    assert "0 requests; times in UTC" in run(shell, "df[:0]")[-1]


def test_terminals_get_color_and_files_do_not(opened: pd.DataFrame, client: SpotClient) -> None:
    """Outcomes and sides are painted, which moves no column."""
    colored = as_text(opened, 200, colored=True)
    plain = as_text(opened, 200)
    assert "\x1b[32mBUY\x1b[0m" in colored
    assert "\x1b[31mSELL\x1b[0m" in colored
    assert re.sub(r"\x1b\[\d+m", "", colored) == plain
    result = as_text(nbext.cancel_orders(opened.head(2), client=client), 200, colored=True)
    assert result.count("\x1b[32mcanceled\x1b[0m") == 2


def test_a_terminal_is_told_by_what_it_is(exchange: LocalExchange) -> None:
    """A pseudo terminal gets color, unless NO_COLOR is set; a pipe gets none."""
    code = (
        "from IPython.core.interactiveshell import InteractiveShell\nshell = InteractiveShell.instance()\n"
        f"shell.run_cell('''import nbext\nclient = nbext.connect(base_url={exchange.url!r}, "
        f"api_key={exchange.api_key!r}, secret_key={exchange.secret_key!r})\n"
        "nbext.open_orders('BTCUSDT', client=client)''')"
    )
    painted = {}
    for name, setting in (("color", {"TERM": "xterm"}), ("none", {"TERM": "xterm", "NO_COLOR": "1"})):
        ours, theirs = os.openpty()
        subprocess.run([sys.executable, "-c", code], stdout=theirs, check=True, env={**os.environ, **setting})
        os.close(theirs)
        painted[name] = os.read(ours, 65536)
        os.close(ours)
    assert b"\x1b[32mBUY" in painted["color"]
    assert b"BUY" in painted["none"]
    assert b"\x1b[32m" not in painted["none"]
    assert (
        "\x1b[32m"
        not in subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    )
