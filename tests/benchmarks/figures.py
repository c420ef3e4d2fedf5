"""The table of figures, and the fixtures that fill it.

A time always stands beside that of its floor, taken by turns with it in the same run, and counts as the ratio of the
two medians. What is over its bar says so; since machines are noisy, only a gross slip fails. A count is exact, and
fails when it is over.
"""

from __future__ import annotations

import os
import platform
import statistics
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from contenders import CLIENTS
from serving import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from pytest_benchmark.fixture import BenchmarkFixture
    from serving import Server
    from support.far_host import FarHost

    Call = Callable[[], object]
    Clock = Callable[[], float]

GROSS = 2.0
"""So many times its bar is more than the noise of any machine."""

_SHORTER = 4
_LEAST_ROUNDS = 5
_HEADINGS = ("what", "size", "ours", "floor", "ratio", "bar", "")
# Read before a fixture clears NBEXT_*. Each lives in an environment of its own.
PEERS = {
    peer: python
    for peer in ("python_binance", "binance_connector", "ccxt", "binance_sdk_spot")
    if (python := os.environ.get(f"NBEXT_PEER_{peer.upper()}"))
}
NEAR_PEERS = [peer for peer in PEERS if peer in CLIENTS]
"""Who talks to a server that knows cancels only."""


class Figures:
    """The lines of the table.

    Parameters
    ----------
    short : bool
        Whether a quarter of the rounds will do.
    """

    def __init__(self, *, short: bool) -> None:
        self.short = short
        self.lines: list[tuple[str, ...]] = []
        self.distant: dict[tuple[str, str], _Distant] = {}

    def rounds(self, wanted: int) -> int:
        """Return how many rounds of so many are taken."""
        return max(_LEAST_ROUNDS, wanted // _SHORTER) if self.short else wanted

    def time(
        self, what: str, size: str, ours: Sequence[float], floor: Sequence[float], bar: float | None = None
    ) -> None:
        """Write down seconds that were taken by turns."""
        self._compare(what, size, statistics.median(ours), statistics.median(floor), bar=bar, tell=_duration)

    def memory(self, what: str, size: str, ours: int, floor: int, bar: float) -> None:
        """Write down bytes."""
        self._compare(what, size, ours, floor, bar=bar, tell=lambda size: f"{size / 1e6:.1f} MB")

    def _compare(
        self, what: str, size: str, ours: float, floor: float, *, bar: float | None, tell: Callable[[float], str]
    ) -> None:
        ratio = ours / floor
        cells = what, size, tell(ours), tell(floor), f"{ratio:.2f}"
        if bar is None:
            self.lines.append((*cells, "", ""))
            return
        self.lines.append((*cells, f"{bar:.2f}", _verdict(is_over=ratio > bar)))
        assert ratio <= bar * GROSS, f"{what}, {size}: {ratio:.2f}, and the bar is {bar:.2f}"

    def count(self, what: str, size: str, counted: int, bar: int) -> None:
        """Write down a count."""
        self.lines.append((what, size, f"{counted:,}", "", "", f"{bar:,}", _verdict(is_over=counted > bar)))
        assert counted <= bar, f"{what}, {size}: {counted}, and the bar is {bar}"

    def far(self, what: str, who: str, host: FarHost, seconds: float, bars: tuple[float, float] | None = None) -> None:
        """Write down what a call at a far host has cost; `bars`, in round trips, for what is counted and for the time.

        Parameters
        ----------
        what, who : str
        host : FarHost
            Which has counted since the call began.
        seconds : float
        bars : tuple of float, optional
        """
        line = self.distant.setdefault((what, who), _Distant(bars))
        line.counted.append(host.counted().round_trips)
        line.seconds.setdefault(host.round_trip, []).append(seconds)
        if bars is not None:  # how well workers keep step depends on the machine; tests/test_far_host.py counts exactly
            counted = line.counted[-1]
            assert counted <= bars[0] * GROSS, f"{what}, {who}: {counted} round trips, and the bar is {bars[0]}"

    def table(self) -> Iterator[str]:
        """Yield the lines as a table in Markdown."""
        if self.lines:
            yield from _table(_HEADINGS, self.lines)
        if self.distant:
            yield ""
            lengths = sorted({each for line in self.distant.values() for each in line.seconds})
            times = [f"at {_duration(each)}" for each in lengths]
            headings = ("at a far host", "who", "round trips", *times, "bar", "")
            lines = [(*key, *line.cells(lengths)) for key, line in sorted(self.distant.items(), key=_apart)]
            yield from _table(headings, lines)


@dataclass
class _Distant:
    """A line about a far host."""

    bars: tuple[float, float] | None
    counted: list[int] = field(default_factory=list)
    seconds: dict[float, list[float]] = field(default_factory=dict)

    def cells(self, lengths: Sequence[float]) -> Iterator[str]:
        """Write what was counted, and the times by the length of a round trip, also in round trips."""
        yield "-".join(map(str, sorted({min(self.counted), max(self.counted)})))
        ratios = []
        for length in lengths:
            if length not in self.seconds:
                yield ""
                continue
            middle = statistics.median(self.seconds[length])
            ratios.append(middle / length)
            yield f"{_duration(middle)} ({ratios[-1]:.1f})"
        if self.bars is None:
            yield from ("", "")
            return
        counted, timed = self.bars
        yield f"{counted:g}" if counted == timed else f"{counted:g}; {timed:g}"
        # Where a round trip is short, the rest of a call weighs more than half of one.
        yield _verdict(is_over=statistics.median(self.counted) > counted or ratios[-1] > timed)


def _apart(entry: tuple[tuple[str, str], _Distant]) -> bool:
    """Sort other people's clients after ours."""
    return entry[0][1] != "nbext"


def _table(headings: tuple[str, ...], lines: Sequence[tuple[str, ...]]) -> Iterator[str]:
    widths = [max(map(len, column)) for column in zip(headings, *lines, strict=True)]
    rule = tuple("-" * width for width in widths)
    for row in (headings, rule, *lines):
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        yield f"| {' | '.join(cells)} |"


def _verdict(*, is_over: bool) -> str:
    return "over" if is_over else "ok"


def _duration(seconds: float) -> str:
    for unit, size in (("s", 1.0), ("ms", 1e-3)):
        if seconds >= size:
            return f"{seconds / size:.3g} {unit}"
    return f"{seconds * 1e6:.3g} us"


def timed(call: Call, clock: Clock = time.perf_counter) -> float:
    """Return the seconds that a call takes."""
    began = clock()
    call()
    return clock() - began


def by_turns(rounds: int, *clocks: Clock) -> list[list[float]]:
    """Let clocks that tell seconds take turns, once unheard and then for so many rounds; return what each told."""
    told: list[list[float]] = [[] for _ in clocks]
    for turn in range(rounds + 1):
        for clock, seconds in zip(clocks, told, strict=True):
            second = clock()
            if turn:
                seconds.append(second)
    return told


class Race:
    """Times a call within this process, by turns with its floor, through pytest-benchmark."""

    def __init__(self, benchmark: BenchmarkFixture, figures: Figures, clock: Clock) -> None:
        self._benchmark = benchmark
        self._figures = figures
        self._clock = clock

    def __call__(
        self,
        what: str,
        size: str,
        ours: Call,
        floor: Call,
        bar: float | None = None,
        *,
        rounds: int,
        prepare: tuple[Call, Call] | None = None,
    ) -> None:
        """Take so many rounds and write the figure down; `prepare`, for ours and for the floor, is not timed."""
        least: list[float] = []

        def before() -> None:
            if prepare:
                prepare[1]()
            least.append(timed(floor, self._clock))
            if prepare:
                prepare[0]()

        rounds = self._figures.rounds(rounds)
        self._benchmark.pedantic(ours, setup=before, rounds=rounds, warmup_rounds=rounds // 10 + 1)  # type: ignore[no-untyped-call]
        assert self._benchmark.stats is not None
        del least[:-rounds]  # the warm-up's
        self._benchmark.extra_info["floor"] = least
        self._figures.time(what, size, self._benchmark.stats.stats.data, least, bar)


@pytest.fixture
def race(benchmark: BenchmarkFixture, figures: Figures, request: pytest.FixtureRequest) -> Race:
    """Return what times a call in this process; ``pytest.mark.benchmark(timer=...)`` names another clock."""
    marker = request.node.get_closest_marker("benchmark")
    return Race(benchmark, figures, marker.kwargs["timer"] if marker else time.perf_counter)


@pytest.fixture(scope="session")
def figures(pytestconfig: pytest.Config) -> Figures:
    """Return the table of this run."""
    return pytestconfig.stash[_FIGURES]


@pytest.fixture(scope="session")
def canned() -> Iterator[Server]:
    """Yield a server, in another process, that answers with prepared bytes at once."""
    with serving("canned") as server:
        yield server


@pytest.fixture
def places(tmp_path: Path) -> Iterator[dict[str, Path]]:
    """Yield two folders for a journal: what stands in memory is synced at once, however busy the disks are."""
    memory = Path("/", "dev", "shm")
    with tempfile.TemporaryDirectory(dir=memory if os.access(memory, os.W_OK) else tmp_path) as folder:
        yield {"in memory": Path(folder), "on disk": tmp_path}


@pytest.fixture(scope="session")
def bytecode(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Name a folder for the bytecode of fresh processes."""
    return str(tmp_path_factory.mktemp("bytecode"))


@pytest.fixture(autouse=True)
def compiled_once(monkeypatch: pytest.MonkeyPatch, bytecode: str) -> None:
    """Let fresh processes find bytecode, as after an installation, and leave none in this folder."""
    monkeypatch.delenv("PYTHONDONTWRITEBYTECODE", raising=False)
    monkeypatch.setenv("PYTHONPYCACHEPREFIX", bytecode)


# What pytest calls. `python tests/benchmarks` loads this module as a plugin.

_FIGURES = pytest.StashKey[Figures]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the short form."""
    parser.addoption("--short", action="store_true", help="a quarter of the rounds")


def pytest_configure(config: pytest.Config) -> None:
    """Begin the table."""
    config.stash[_FIGURES] = Figures(short=config.getoption("--short"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Allow each benchmark more time than a test may take."""
    for item in items:
        item.add_marker(pytest.mark.timeout(600))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Print the table, and how it was made."""
    figures = config.stash[_FIGURES]
    if not (figures.lines or figures.distant):
        return
    command = "python tests/benchmarks --short" if figures.short else "python tests/benchmarks"
    machine = f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
    terminalreporter.write_line(f"\nMade by `{command}` on {machine}; medians, each by turns with its floor.\n")
    for line in figures.table():
        terminalreporter.write_line(line)
