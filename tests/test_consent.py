"""What a cancel reaches is what was meant and agreed to, and it says where it goes further."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

import pytest
from support.jobs import make_job

import nbext
from nbext.cancel.selection import orders_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from pandas import DataFrame

    from nbext.cancel import job as cancel
    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient

ALONG = "only because a list is canceled as a whole"


def buy(exchange: LocalExchange, price: str) -> int:
    """Place another order."""
    return int(exchange.place("BTCUSDT", "BUY", "LIMIT", timeInForce="GTC", quantity="0.01", price=price)["orderId"])


def still_open(exchange: LocalExchange) -> set[int]:
    """Return the ids of what is open."""
    return {order["orderId"] for order in exchange.open_orders("BTCUSDT")}


@pytest.mark.parametrize("exact", [False, True])
def test_a_comparison_of_prices_cancels_no_order_without_a_price(
    exchange: LocalExchange, client: SpotClient, exact: bool
) -> None:
    """Stops that trade at market stay: they have no price, whatever the comparison."""
    frame = nbext.open_orders("BTCUSDT", client=client, exact=exact)
    at_market = frame[frame["type"] == "STOP_LOSS"]
    trailing = at_market[at_market["orderListId"] == -1]
    assert len(at_market) == 2
    below = frame[(frame["price"] < 100_000) | (frame["stopPrice"] < 1) | (frame["icebergQty"] < 0.1)]
    assert set(below["orderId"]).isdisjoint(at_market["orderId"])
    nbext.cancel_orders(below, client=client, exact=exact)
    assert still_open(exchange) == set(trailing["orderId"])


def test_a_cancel_of_rows_says_that_it_goes_beyond_them(client: SpotClient, caplog: pytest.LogCaptureFixture) -> None:
    """One leg of three is given; the call says, before and after, that two more go, and counts them."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    cheap = frame[frame["price"] < 56_000]
    assert len(cheap) == 1
    said: list[str] = []
    typist = Typist(typed="no")
    job = make_job(orders=orders_of(cheap, client), client=client, say=said.append)
    with pytest.raises(nbext.ConfigurationError):
        job.obtain_consent(typist)
    assert f"Cancel 3 open orders on BTCUSDT (1 OTO list), 2 of them {ALONG}" in typist.questions[0]
    job.rehearse()
    assert f"3 orders would be canceled (1 OTO list), 2 of them {ALONG}" in said[-1]
    with caplog.at_level(logging.WARNING, "nbext"):
        done = nbext.cancel_orders(cheap, client=client)
    assert len(done) == 3
    assert [f"3 orders canceled (1 OTO list), 2 of them {ALONG}" in line for line in caplog.messages] == [True]
    assert done.attrs["nbext"]["beyond"] == 2


@pytest.mark.parametrize(
    ("chosen", "beyond"), [({"side": "BUY"}, 3), ({"type": "LIMIT_MAKER"}, 1), ({"prefix": "nobody"}, 0), ({}, 0)]
)
def test_a_filter_says_that_it_goes_beyond_what_matches(
    client: SpotClient, caplog: pytest.LogCaptureFixture, chosen: dict[str, Any], beyond: int
) -> None:
    """Legs on the other side go with their list, which the summary says; nothing is said where nothing did."""
    said: list[str] = []
    frame = make_job(["BTCUSDT"], client=client, say=said.append, **chosen).run()
    assert (f"{beyond} of them {ALONG}" in said[-1]) is bool(beyond)
    assert (ALONG in said[-1]) is bool(beyond)
    assert frame.attrs["nbext"]["beyond"] == beyond
    assert caplog.messages == []  # it was said already


def test_a_whole_list_that_was_given_is_not_beyond(client: SpotClient, caplog: pytest.LogCaptureFixture) -> None:
    """Rows of all legs are what was given."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    done = nbext.cancel_orders(frame[frame["orderListId"] != -1], client=client)
    assert len(done) == 7
    assert done.attrs["nbext"]["beyond"] == 0
    assert caplog.messages == []


def test_a_frame_with_a_filter_tells_of_the_orders_that_match_only(exchange: LocalExchange, client: SpotClient) -> None:
    """Given orders that the filter leaves out are neither canceled nor reported as left open."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    single = frame[frame["orderListId"] == -1]
    done = nbext.cancel_orders(single, client=client, side="BUY")
    assert set(done["orderId"]) == set(single.loc[single["side"] == "BUY", "orderId"])
    assert set(done["outcome"]) == {"canceled"}
    assert len(still_open(exchange)) == 13 - len(done)


class Typist:
    """Somebody who types the number that the preview shows, while things happen."""

    def __init__(self, *meanwhile: Callable[[], object], typed: str | None = None) -> None:
        self._meanwhile, self._typed = list(meanwhile), typed
        self.shown: list[set[int]] = []
        self.questions: list[str] = []

    def __call__(self, preview: DataFrame, question: str) -> str:
        """Look, let things happen, type."""
        self.shown.append(set(preview["orderId"]))
        self.questions.append(question)
        if self._meanwhile:
            self._meanwhile.pop(0)()
        return self._typed or str(len(preview))


def agree(client: SpotClient, typist: Typist, **chosen: Any) -> tuple[cancel.Job, list[str]]:
    """Ask about BTCUSDT."""
    said: list[str] = []
    job = make_job(() if "orders" in chosen else ["BTCUSDT"], client=client, say=said.append, **chosen)
    job.obtain_consent(typist)
    return job, said


def test_an_order_that_arrives_during_the_question_is_asked_about(exchange: LocalExchange, client: SpotClient) -> None:
    """13 is typed when a 14th has come: that is no error and no yes, but a new question."""
    before = still_open(exchange)
    typist = Typist(lambda: buy(exchange, "50000"))
    job, said = agree(client, typist)
    after = still_open(exchange)
    assert typist.shown == [before, after]
    assert "Type 14 to cancel" in typist.questions[1]
    assert said == ["BTCUSDT: 1 order is new since you looked."]
    assert exchange.requests("DELETE") == []
    assert set(job.run()["orderId"]) == after


def test_an_order_that_ends_during_the_question_is_asked_about(exchange: LocalExchange, client: SpotClient) -> None:
    """What was filled is not counted any more; what came and what went are both said."""

    def fill_and_place() -> None:
        exchange.set_price("BTCUSDT", "59900")
        buy(exchange, "50000")
        buy(exchange, "50001")

    typist = Typist(lambda: exchange.set_price("BTCUSDT", "59900"))
    job, said = agree(client, typist)
    assert [len(shown) for shown in typist.shown] == [13, 12]
    assert said == ["BTCUSDT: 1 order is no longer open."]
    assert job.run()["outcome"].tolist() == ["canceled"] * 12 + ["filled"]
    exchange.reset()
    exchange.seed_orders()
    typist = Typist(fill_and_place)
    _, said = agree(client, typist)
    assert said == ["BTCUSDT: 2 orders are new since you looked, 1 is no longer open."]


def test_a_number_typed_for_what_came_meanwhile_is_no_yes_yet(exchange: LocalExchange, client: SpotClient) -> None:
    """14 is typed by somebody who knows of the 14th, which no preview has shown: the next one shows it."""
    typist = Typist(lambda: buy(exchange, "50000"), typed="14")
    _, said = agree(client, typist)
    assert [len(shown) for shown in typist.shown] == [13, 14]
    assert said == ["BTCUSDT: 1 order is new since you looked."]


def test_orders_that_the_filter_leaves_out_may_come_and_go(exchange: LocalExchange, client: SpotClient) -> None:
    """Only what is meant counts."""
    typist = Typist(lambda: buy(exchange, "50000"))
    job, said = agree(client, typist, type="LIMIT_MAKER")
    assert len(typist.shown) == 1
    assert said == []
    assert len(job.run()) == 2


def test_everything_ends_during_the_question(exchange: LocalExchange, client: SpotClient) -> None:
    """Nothing is left to ask about, and nothing is sent."""
    orders = orders_of(nbext.open_orders("BTCUSDT", client=client).head(1), client)
    typist = Typist(lambda: exchange.set_price("BTCUSDT", "59900"))
    job, said = agree(client, typist, orders=orders)
    assert len(typist.shown) == 1
    assert said == ["BTCUSDT: 1 order is no longer open."]
    assert job.run()["outcome"].tolist() == ["filled"]
    assert exchange.requests("DELETE") == []


@pytest.mark.parametrize("typed", ["", "n", "no", "y", "yes"])
def test_declining_ends_it_whatever_came(exchange: LocalExchange, client: SpotClient, typed: str) -> None:
    """A word is no number: there is no second question, and no second look."""
    typist = Typist(lambda: buy(exchange, "50000"), typed=typed or " ")
    with pytest.raises(nbext.ConfigurationError, match="not confirmed; nothing was sent"):
        agree(client, typist)
    assert len(typist.shown) == 1
    assert exchange.requests("DELETE") == []


def test_a_wrong_number_for_what_has_not_changed_is_no_yes(exchange: LocalExchange, client: SpotClient) -> None:
    """It is said, and nothing is sent."""
    typist = Typist(typed="12")
    with pytest.raises(nbext.ConfigurationError, match="Type the number of orders, 13, to cancel"):
        agree(client, typist)
    assert exchange.requests("DELETE") == []
