"""Arguments of any numeric type mean what they show; what is no number, or no flag, is refused."""

from __future__ import annotations

import functools
from decimal import Decimal
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest
from support.server import answer

import nbext

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import PlainServer, Request

    from nbext.exchange import LocalExchange
    from nbext.spot.client import SpotClient

    Serve = Callable[[Callable[[Request], bytes]], PlainServer]
    Connect = Callable[[str], SpotClient]


@pytest.mark.parametrize(
    "given", [np.int64(10), np.float32(10), Decimal(10), 10.0, 10], ids=lambda given: type(given).__name__
)
def test_seconds_may_be_any_number(exchange: LocalExchange, client: SpotClient, given: Any) -> None:
    """Numpy's and Decimal too, in both places that take seconds."""
    assert len(nbext.cancel_all("BTCUSDT", client=client, max_wait=given, reconcile=given)) > 0
    assert len(exchange.requests("DELETE")) == 1


@pytest.mark.parametrize(
    "given",
    [
        True,
        np.True_,
        "10",
        None,
        float("nan"),
        float("inf"),
        Decimal("sNaN"),
        -1,
        np.float64(-0.5),
        Fraction(1, 3),
        pd.NA,
    ],
    ids=repr,
)
def test_what_is_no_number_of_seconds_is_refused(exchange: LocalExchange, client: SpotClient, given: Any) -> None:
    """With an error of ours, and before anything is sent."""
    for name in ("max_wait", "reconcile"):
        with pytest.raises(nbext.ConfigurationError, match=f"invalid {name} .*nothing was sent"):
            nbext.cancel_all("BTCUSDT", client=client, **{name: given})
    assert exchange.requests() == []


@pytest.mark.parametrize("name", ["all", "dry_run", "yes", "check", "exact"])
@pytest.mark.parametrize("given", ["no", "False", "", None, 2, pd.NA, [True]], ids=repr)
def test_a_word_is_no_flag(exchange: LocalExchange, client: SpotClient, name: str, given: Any) -> None:
    """``yes="no"`` is not a yes."""
    symbols = [] if name == "all" else ["BTCUSDT"]
    with pytest.raises(nbext.ConfigurationError, match=f"{name} must be True or False.*nothing was sent"):
        nbext.cancel_all(*symbols, client=client, **{name: given})
    assert exchange.requests() == []


@pytest.mark.parametrize("given", [True, np.True_, 1, np.int8(1)], ids=repr)
def test_numpy_flags_and_one_are_flags(exchange: LocalExchange, client: SpotClient, given: Any) -> None:
    """As they come out of a frame."""
    assert len(nbext.cancel_all(all=given, yes=given, dry_run=given, client=client)) > 0
    assert exchange.requests("DELETE") == []


@pytest.mark.parametrize("name", ["side", "type", "prefix"])
@pytest.mark.parametrize("given", [5, b"BUY", ["BUY"], pd.NA], ids=repr)
def test_a_filter_that_is_no_text_is_refused(
    exchange: LocalExchange, client: SpotClient, name: str, given: Any
) -> None:
    """With an error of ours."""
    with pytest.raises(nbext.ConfigurationError, match=f"{name} must be text.*nothing was sent"):
        nbext.cancel_all("BTCUSDT", client=client, **{name: given})
    assert exchange.requests() == []


@pytest.mark.parametrize("given", [np.int64(7), 7, "7", Decimal(7)], ids=repr)
def test_an_answer_about_another_order_is_seen_whatever_the_type_of_the_id(
    serve: Serve, connect: Connect, given: Any
) -> None:
    """The id is compared as it was sent."""
    other = {"symbol": "BTCUSDT", "orderId": 8, "status": "CANCELED", "clientOrderId": "a", "origClientOrderId": "b"}
    server = serve(lambda _: answer(other))
    with pytest.raises(nbext.OutcomeUnknownError):
        connect(server.url).request("DELETE", "/api/v3/order", {"symbol": "BTCUSDT", "orderId": given})
    assert "orderId=7&" in server.requests[0].target


@pytest.mark.parametrize(
    "given", [Decimal("1E+999999999"), Decimal("1E-999999999"), 10**5000], ids=["large", "small", "int"]
)
def test_a_number_too_long_to_send_is_refused(serve: Serve, connect: Connect, given: Any) -> None:
    """And not written out, which would take a gigabyte, or be refused by Python."""
    server = serve(lambda _: answer({}))
    with pytest.raises(nbext.ConfigurationError, match="nothing was sent"):
        connect(server.url).request("POST", "/api/v3/order/test", {"quantity": given})
    assert server.connections == 0


@pytest.mark.parametrize("given", [0, -1, 1.5, "10", True, float("nan"), pd.NA], ids=repr)
def test_what_counts_no_requests_is_refused(given: Any) -> None:
    """And the journal is not blamed for it; any kind of number will do."""
    with pytest.raises(nbext.ConfigurationError, match=r"invalid last .*Use a number from 1 on"):
        nbext.cancel_log(given)
    numbers: list[Any] = [np.int64(3), 3.0, Decimal(3), None]
    for number in numbers:
        assert nbext.cancel_log(number).empty


def test_what_cannot_be_sent_is_refused_in_a_line(exchange: LocalExchange, client: SpotClient) -> None:
    """Whatever its type, with an error of ours that says so, and before anything is sent."""
    frame = nbext.open_orders("BTCUSDT", client=client)
    sent = len(exchange.requests())
    wrong: Any = "live"
    calls: list[tuple[str, Callable[[], object]]] = [
        ("a symbol must be text, not bytes", lambda: nbext.cancel_all(wrong.encode(), client=client)),
        ("Unpack what holds several", lambda: nbext.cancel_all(["BTCUSDT"], client=client)),  # type: ignore[arg-type]
        ("Write the symbols of a list as", lambda: nbext.cancel_all("['BTCUSDT', 'ETHUSDT']", client=client)),
        ("client must be one that nbext.connect made, not str", lambda: nbext.cancel_all("BTCUSDT", client=wrong)),
        ("client must be", lambda: nbext.cancel_orders(frame, client=wrong)),
        ("client must be", lambda: nbext.guard("BTCUSDT", client=wrong)),
        ("client must be", lambda: nbext.ladder(frame, client=wrong)),
        ("outlive must be True or False", lambda: nbext.guard("BTCUSDT", client=client, outlive=wrong)),
        ("unknown age", lambda: nbext.open_orders("BTCUSDT", client=client, older_than="99999999999999d")),
        ("params must be a dict", lambda: client.request("GET", "/api/v3/order", wrong)),
        ("params must be a dict", lambda: client.request("GET", "/api/v3/order", {3: 4})),  # type: ignore[dict-item]
        ("'NONE' is not a method", lambda: client.request(None, "/api/v3/order")),  # type: ignore[arg-type]
        ("is not a path", lambda: client.request("GET", b"/api/v3/order")),  # type: ignore[arg-type]
    ]
    things: list[Any] = [None, wrong, [frame], frame.iloc[0], frame["price"]]
    calls += [("was not made by nbext", functools.partial(nbext.ladder, thing)) for thing in things]
    for words, call in calls:
        with pytest.raises(nbext.ConfigurationError, match=words):
            call()
    assert len(exchange.requests()) == sent
