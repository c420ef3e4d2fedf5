"""From the JSON of a cancel-all to the typed frame: time and memory, and how they grow."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from figures import by_turns, timed
from floors import body, flatten

from nbext.frames.build import frame
from nbext.frames.html import as_html
from nbext.orders import from_reports

if TYPE_CHECKING:
    from collections.abc import Iterator

    from figures import Figures, Race
    from pandas import DataFrame

# Nothing here waits for anything. Processor time does not count what other processes take meanwhile.
CLOCK = time.process_time
pytestmark = pytest.mark.benchmark(timer=CLOCK)

SIZES = (4, 200, 2_000, 20_000)
# Bytes of the parsed JSON, and of everything at the worst moment on the way to the frame.
MEMORY = """
import json, sys, tracemalloc
sys.path.insert(0, sys.argv[1])
from floors import body
from nbext.frames.build import frame
from nbext.orders import from_reports
text = body(int(sys.argv[2]))
frame(from_reports(json.loads(body(4))))
tracemalloc.start()
parsed = json.loads(text)
held = tracemalloc.get_traced_memory()[0]
table = frame(from_reports(parsed))
print(json.dumps([held, tracemalloc.get_traced_memory()[1]]))
"""


@pytest.fixture
def uncollected() -> Iterator[None]:
    """Hold garbage collection back, as `timeit` does: which side meets a full one would decide the ratio."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def typed(text: bytes) -> DataFrame:
    """Do what nbext does with an answer."""
    return frame(from_reports(json.loads(text)))


@pytest.mark.usefixtures("uncollected")
@pytest.mark.parametrize("orders", SIZES)
def test_the_frame_takes_at_most_two_and_a_half_times_the_parsing(race: Race, orders: int) -> None:
    """JSON to typed frame, beside `json.loads` and flattening; the bar is for 20,000 orders."""
    text = body(orders)
    assert len(typed(text)) == len(flatten(json.loads(text))) == orders
    race(
        "JSON to typed frame, floor `json.loads` and flattening",
        f"{orders:,}",
        lambda: typed(text),
        lambda: flatten(json.loads(text)),
        2.5 if orders == SIZES[-1] else None,
        rounds=min(400, 240_000 // orders),
    )


@pytest.mark.usefixtures("uncollected")
def test_the_frame_grows_with_the_orders_and_no_faster(figures: Figures) -> None:
    """An order among 20,000 takes about as long as one among 2,000."""
    few, many = SIZES[-2:]
    texts = {orders: body(orders) for orders in (few, many)}
    ours, floor = by_turns(
        figures.rounds(12), *(partial(timed, partial(typed, texts[orders]), CLOCK) for orders in (many, few))
    )
    each, least = ([second / orders for second in seconds] for seconds, orders in ((ours, many), (floor, few)))
    figures.time(f"typed frame, for one order, floor one of {few:,}", f"{many:,}", each, least, 1.5)


@pytest.mark.parametrize("orders", SIZES[2:])
def test_the_frame_needs_little_beside_what_was_parsed(figures: Figures, orders: int) -> None:
    """At its worst moment everything together is at most three times the parsed JSON."""
    command = [sys.executable, "-c", MEMORY, str(Path(__file__).parent), str(orders)]
    held, peak = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    figures.memory("peak memory of the frame, floor the parsed JSON", f"{orders:,}", peak, held, 3.0)


def test_a_table_takes_at_most_three_times_pandas_own(race: Race) -> None:
    """The HTML of 200 orders, beside `DataFrame.to_html`."""
    table = typed(body(200))
    race(
        "HTML of a frame, floor `DataFrame.to_html`",
        "200",
        lambda: as_html(table, carries=False),
        table.to_html,
        3.0,
        rounds=40,
    )
