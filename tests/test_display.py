"""How frames of ours are shown, and that others are shown as ever."""

from __future__ import annotations

import atexit
import json
import os
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from support.documents import fixture_body

import nbext
from nbext.frames import build, columns
from nbext.frames.html import as_html
from nbext.frames.text import as_text
from nbext.notebook import formatters
from nbext.orders import Row, from_open_orders, from_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

FIGURE_SPACE = "\N{FIGURE SPACE}"
SUMMARY = {"profile": "local", "host": "127.0.0.1:8080", "call": "cancel_all"}


@pytest.fixture
def canceled() -> pd.DataFrame:
    """Return the frame of the documented sample: two single orders and an OCO list."""
    return build.frame(from_reports(fixture_body("cancel_all_open_orders")), summary=SUMMARY)


@pytest.fixture
def shell() -> Iterator[Any]:
    """Yield a shell that formats for a notebook."""
    InteractiveShell.clear_instance()
    shell: Any = InteractiveShell.instance()
    shell.display_formatter.active_types = ["text/plain", "text/html"]
    yield shell
    formatters.unregister(shell)
    atexit.unregister(shell.atexit_operations)
    shell.atexit_operations()
    InteractiveShell.clear_instance()


def order(**fields: object) -> Row:
    """Make a row of one single order."""
    return Row({"symbol": "BTCUSDT", "orderId": 1, "side": "BUY", "price": "1.0", **fields}, None, "open")


class Table(HTMLParser):
    """What a reader without styles and scripts gets of an HTML table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: dict[str, list[str]] = {"caption": [], "th": [], "td": [], "p": []}
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._into: list[str] | None = None
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))
        if tag in self.texts:
            self._into = self.texts[tag]
            self._into.append("")

    def handle_endtag(self, tag: str) -> None:
        """Note its end."""
        if tag in self.texts:
            self._into = None

    def handle_data(self, data: str) -> None:
        """Note what stands in it."""
        if self._into is not None:
            self._into[-1] += data.replace("\xa0", " ")

    def named(self, tag: str) -> list[dict[str, str | None]]:
        """Return the attributes of all tags of a name."""
        return [attrs for name, attrs in self.tags if name == tag]


def shown(frame: pd.DataFrame) -> dict[str, list[str]]:
    """Return the cells of each column that a table shows."""
    return {column.name: column.cells for column in columns.table(frame).columns}


def note(frame: pd.DataFrame) -> str:
    """Return what stands below the table."""
    return columns.table(frame).note()


def test_a_terminal_gets_a_plain_table_with_lists_held_together(canceled: pd.DataFrame) -> None:
    """Words stand to the left, numbers point below point, and the legs of a list are bracketed."""
    assert as_text(canceled, 200).splitlines() == [
        "outcome  orderId list       type                       price  trigger  origQty",
        "canceled      11            LIMIT                   0.089853          0.178622",
        "canceled      13            LIMIT                   0.09043           0.178622",
        "canceled      20 ┌ OCO 1929 STOP_LOSS_LIMIT iceberg 0.668611 0.378131 0.690354",
        "canceled      21 └ OCO 1929 LIMIT_MAKER iceberg     0.008791          0.690354",
        "BTCUSDT: 4 orders, 4 canceled [local]; all: side BUY, executedQty 0.0; 7 of 24 columns",
    ]


@pytest.mark.parametrize("width", [40, 60, 80, 120])
def test_the_table_fits_the_terminal(canceled: pd.DataFrame, width: int) -> None:
    """Columns are given up until the rest fits; the order, its outcome, its price and what has traded always stay."""
    canceled["executedQty"] = [0.1, 0.0, 0.0, 0.0]
    *table, last = as_text(canceled, width).splitlines()
    assert max(map(len, table)) <= width
    assert {"outcome", "orderId", "price", "executedQty"} <= set(table[0].split())
    assert f"{len(table[0].split())} of 24 columns" in last


def test_fullwidth_symbols_keep_the_columns_straight() -> None:
    """A symbol of fullwidth digits takes two places for each."""
    frame = build.frame([order(symbol="１２３４５６", orderId=2), order()])
    header, first, second, _ = as_text(frame, 200).splitlines()
    assert header.index("orderId") == 21
    assert first.startswith("open    １２３４５６       2 ")
    assert second.startswith("open    BTCUSDT            1 ")


def test_what_an_exchange_sends_moves_no_cursor() -> None:
    """Control characters in a text are shown, not obeyed."""
    frame = build.frame([order(type="\x1b[2JLIMIT\n")])
    assert r"\x1b[2JLIMIT\n" in as_text(frame, 200)
    assert "\x1b" not in as_html(frame)


@pytest.mark.parametrize("exact", [True, False])
def test_numbers_are_exact_and_fixed_point(*, exact: bool) -> None:
    """Floats and Decimals show the exchange's digits, never an exponent."""
    sent = ["0.00000001", "8446744073709.5", "12345678.12345678", "1000.00000000", "0.10000000"]
    frame = build.frame([order(origQty=text) for text in sent], exact=exact)
    wanted = ["0.00000001", "8446744073709.5", "12345678.12345678", "1000.0", "0.1"]
    assert shown(frame)["origQty"] == wanted
    cells = [text.rstrip(FIGURE_SPACE) for text in Table(as_html(frame)).texts["td"]]
    assert [text for text in cells if text in wanted] == wanted


def test_many_orders_are_cut_in_a_terminal_and_counted_all_the_same() -> None:
    """Of more than 200 rows the first and the last hundred are shown, and how many are not."""
    text = as_text(build.frame([order(orderId=n) for n in range(1234)]), 200).splitlines()
    assert len(text) == 203
    assert text[101] == "... 1034 more ..."
    assert text[-1].startswith("BTCUSDT: 1234 orders, 1234 open; ")


def test_where_the_terminal_has_no_lines_letters_draw_them() -> None:
    """Output in an encoding without box characters is plain ASCII, and prints."""
    code = (
        "import json, sys\nfrom nbext.frames import build\nfrom nbext.frames.text import as_text\n"
        "from nbext.orders import from_reports\n"
        "print(as_text(build.frame(from_reports(json.load(sys.stdin))), 200))"
    )
    body = json.dumps(fixture_body("cancel_all_open_orders"))
    environment = {**os.environ, "PYTHONIOENCODING": "cp1252"}
    child = subprocess.run(
        [sys.executable, "-c", code], input=body, capture_output=True, text=True, check=True, env=environment
    )
    assert "/ OCO 1929" in child.stdout
    assert "\\ OCO 1929" in child.stdout


def test_html_needs_no_script_and_says_all_in_words(canceled: pd.DataFrame) -> None:
    """Without styles and scripts there are the rows, a caption, headers with scope, and outcomes and sides in words."""
    table = Table(as_html(canceled))
    assert table.texts["caption"] == ["BTCUSDT: 4 orders, 4 canceled [local]"]
    assert table.texts["th"][-4:] == ["11", "13", "20", "21"]
    assert {each["scope"] for each in table.named("th")} == {"col", "row"}
    assert table.texts["td"].count("✓ canceled") == 4
    assert "all: side BUY" in table.texts["p"][-1]
    assert shown(canceled[:1])["side"] == ["BUY"]
    assert "▲ BUY" in Table(as_html(canceled[:1])).texts["td"]
    assert [text for text in table.texts["td"] if "OCO" in text] == ["┌ OCO 1929", "└ OCO 1929"]
    assert table.named("script") == []


def test_html_is_escaped() -> None:
    """Nothing that an exchange or a profile is called becomes markup."""
    evil = "<img src=x onerror=alert(1)>\"'"
    summary = {"profile": evil, "host": evil}
    row = Row(dict.fromkeys(("symbol", "side", "type", "status"), evil), {"contingencyType": evil}, evil)
    frame = build.frame([row, order()], summary=summary)
    table = Table(as_html(frame))
    assert table.named("img") == []
    assert sum(evil in text for text in table.texts["td"]) == 6
    assert table.texts["caption"][0].count(evil) == 4


def test_what_a_script_sorts_by_is_escaped() -> None:
    """In a long table lists have a key to sort by, made of what the exchange calls them: it stays within its quotes."""
    evil = "<img src=x onerror=alert(1)>\"'><img src=y>"
    row = Row({"symbol": evil, "orderId": 1, "orderListId": 7}, {"orderListId": 7, "contingencyType": evil}, "canceled")
    frame = build.frame([row, *(order(orderId=number) for number in range(2, 60))])
    html = as_html(frame, carries=False)
    assert "data-order" in html
    assert Table(html).named("img") == []


def test_the_caption_counts_the_rows_that_are_shown(canceled: pd.DataFrame) -> None:
    """Rows taken out are not counted, and what attrs say about counts is not believed."""
    canceled.attrs["nbext"]["canceled"] = 99
    assert columns.caption(canceled[canceled["orderListId"] > 0]) == ("BTCUSDT: 2 orders, 2 canceled [local]")
    assert columns.caption(canceled[:0]) == "no orders [local]"
    canceled.attrs["nbext"]["profile"] = "desk"
    assert columns.caption(canceled[:1]) == "BTCUSDT: 1 order, 1 canceled [desk, 127.0.0.1:8080]"
    canceled.attrs["nbext"] = "nonsense"
    assert columns.caption(canceled[:1]) == "BTCUSDT: 1 order, 1 canceled"


def test_a_dry_run_is_marked_wherever_it_is_shown() -> None:
    """Text and HTML say that nothing was canceled, also when nothing was open."""
    rows = from_open_orders(fixture_body("constructed_open_orders_mixed"), dry_run=True)
    for frame in (build.frame(rows), build.frame([], summary={**SUMMARY, "call": "dry_run"})):
        assert "nothing was canceled" in as_text(frame, 100)
        assert "Dry run: nothing was canceled" in as_html(frame)
    caption = Table(as_html(build.frame(rows))).texts["caption"][0]
    assert "7 would be canceled" in caption
    mixed = build.frame([*rows, order(orderId=999)])
    assert Table(as_html(mixed)).texts["td"].count("▷ would cancel") == len(rows)


def test_a_list_is_bracketed_only_where_its_legs_stand_together(canceled: pd.DataFrame) -> None:
    """After sorting or picking rows no bracket holds what does not belong together."""
    mixed = canceled.iloc[[2, 0, 3]]
    text = as_text(mixed, 200)
    assert text.count("OCO 1929") == 2
    assert not set("┌├└") & set(text)
    again = pd.concat([canceled.assign(symbol=pd.array([name] * 4, dtype="str")) for name in ("A", "B")])
    assert "├" not in as_text(again.iloc[[3, 6]], 200)


def test_a_long_frame_brings_its_search_along_and_needs_nothing_else() -> None:
    """From 31 rows on the output holds a script and its library, names no other host, and has the rows without it."""
    short, long = (build.frame([order(orderId=n) for n in range(count)]) for count in (30, 31))
    assert "<script" not in as_html(short)
    assert "<script" not in as_html(long, searchable=False)
    html = as_html(long)
    assert html.count("<script") == 1
    assert "://" not in html
    assert len(html) < 400_000
    assert Table(html).texts["th"][-1] == "30"


def test_a_very_long_frame_says_what_it_leaves_out() -> None:
    """The HTML holds a thousand rows, and says so; the caption counts all."""
    table = Table(as_html(build.frame([order(orderId=n) for n in range(1500)])))
    assert len(table.named("tr")) == 1001
    assert table.texts["caption"] == ["BTCUSDT: 1500 orders, 1500 open"]
    assert table.texts["p"][-1].startswith("the first 1000 of 1500 orders are shown; ")


def test_frames_of_others_look_as_ever(shell: Any, canceled: pd.DataFrame) -> None:
    """A column less, another dtype, a column twice: not ours, and shown as pandas shows it."""
    others = [
        pd.DataFrame({"a": [1]}),
        canceled.drop(columns="icebergQty"),
        canceled.astype({"orderId": "float64"}),
        pd.concat([canceled, canceled[["price"]]], axis=1),
    ]
    before = [shell.display_formatter.format(frame)[0] for frame in others]
    formatters.register(shell)
    assert [shell.display_formatter.format(frame)[0] for frame in others] == before
    assert "nbext-table" in shell.display_formatter.format(canceled)[0]["text/html"]
    assert "nbext-table" in shell.display_formatter.format(canceled.iloc[::-1])[0]["text/html"]


def test_a_formatter_that_was_there_before_is_used_and_comes_back(shell: Any, canceled: pd.DataFrame) -> None:
    """What somebody had registered for frames shows theirs while we are loaded, and all after."""
    html = shell.display_formatter.formatters["text/html"]
    html.for_type(pd.DataFrame, lambda frame: f"mine {len(frame)}")
    formatters.register(shell)
    formatters.register(shell)
    assert html(pd.DataFrame({"a": [1]})) == "mine 1"
    assert "nbext-table" in html(canceled)
    formatters.unregister(shell)
    assert html(canceled) == "mine 4"


def test_one_that_came_later_stays(shell: Any, canceled: pd.DataFrame) -> None:
    """Unregistering takes away ours and nobody else's."""
    formatters.register(shell)
    html = shell.display_formatter.formatters["text/html"]
    html.for_type(pd.DataFrame, lambda _: "later")
    assert html(canceled) == "later"
    formatters.unregister(shell)
    assert html(canceled) == "later"


@pytest.mark.parametrize("path", sorted(Path(nbext.__file__).parent.rglob("*.js")), ids=lambda path: path.name)
def test_scripts_are_well_formed_modules(path: Path) -> None:
    """Node parses each script that goes into a page; where there is no node, nothing can be said."""
    if (node := shutil.which("node")) is None:
        pytest.skip("needs node")
    subprocess.run([node, "--input-type=module", "--check"], input=path.read_bytes(), check=True)
