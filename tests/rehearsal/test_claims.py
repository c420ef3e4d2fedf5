"""Claims can fail: where an exchange contradicts itself, and where a frame is not what was answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbext import profiles
from nbext.errors import RejectedError
from nbext.rehearsal import claims
from nbext.rehearsal.claims import Claims
from nbext.rehearsal.hands import Hands
from nbext.rehearsal.play import Told, play
from nbext.rehearsal.rehearse import rehearse

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.server import PlainServer, Request

    from nbext.exchange import LocalExchange

    Change = Callable[[Request, Any], Any]


def failed(hands: Claims) -> set[str]:
    """Return the claims that did not hold."""
    return {claim.name for claim in hands.results() if claim.held is False}


def with_another(name: str, value: object, method: str, path: str) -> Change:
    """Return a lie about one field of orders or lists that have it."""

    def change(request: Request, body: Any) -> Any:
        if (request.method, request.path) == (method, f"/api/v3/{path}"):
            for entry in body if isinstance(body, list) else [body]:
                if name in entry:
                    entry[name] = value
        return body

    return change


def without_the_first(request: Request, body: Any) -> Any:
    """Leave a canceled order out of the answer."""
    return body[1:] if request.method == "DELETE" and isinstance(body, list) else body


def with_a_stranger(request: Request, body: Any) -> Any:
    """Name another order in the answer."""
    if request.method == "DELETE" and isinstance(body, list):
        return [*body, {**body[0], "orderId": 77, "origClientOrderId": "mine"}]
    return body


class WithTheEnded:
    """List as open what was listed before."""

    def __init__(self) -> None:
        self.listed: dict[int, Any] = {}

    def __call__(self, request: Request, body: Any) -> Any:
        """Answer a request."""
        if (request.method, request.path) != ("GET", "/api/v3/openOrders"):
            return body
        self.listed |= {row["orderId"]: row for row in body if isinstance(body, list)}
        return list(self.listed.values())


@pytest.mark.parametrize(
    ("lie", "broken"),
    [
        (with_another("price", "1.5", "GET", "order"), claims.ORDER),
        (with_another("status", "FILLED", "GET", "order"), claims.ORDER),
        (with_another("updateTime", 1, "GET", "order"), claims.ORDER),
        (with_another("side", "HOLD", "GET", "allOrders"), claims.ALL_ORDERS),
        (with_another("origQty", "7", "GET", "openOrders"), claims.ORDER),
        (with_another("listOrderStatus", "REJECT", "GET", "orderList"), claims.LISTS),
        (with_another("contingencyType", "OUO", "GET", "openOrderList"), claims.LISTS),
        (with_another("executedQty", "1", "DELETE", "openOrders"), claims.ORDER),
        (without_the_first, claims.COMPLETE),
        (with_a_stranger, claims.OTHERS),
        (WithTheEnded(), claims.OPEN_ORDERS),
    ],
)
def test_an_exchange_that_contradicts_itself_breaks_a_claim(
    relay: Callable[[Change], PlainServer], lie: Change, broken: str
) -> None:
    """The claim says where, and what it was instead of what."""
    relay(lie)
    with Hands(profiles.resolve("custom"), "BNBUSDT") as hands:
        hands.look_around()
        checked = Claims(hands, 0.2)
        for told in play(hands):
            checked.check(told)
    assert broken in failed(checked)
    assert next(" instead of " in claim.detail for claim in checked.results() if claim.name == broken)


def test_a_broken_claim_is_shown_and_is_a_failure(relay: Callable[[Change], PlainServer], tmp_path: Path) -> None:
    """The program says which, shows an example, and exits with 1."""
    lines: list[str] = []
    relay(with_another("side", "HOLD", "GET", "allOrders"))
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", say=lines.append, patience=0.2) == 1
    number = lines.index(next(line for line in lines if line.startswith("NO ")))
    assert lines[number].endswith(claims.ALL_ORDERS)
    assert " instead of HOLD" in lines[number + 1]


def test_without_a_lie_the_relay_breaks_nothing(relay: Callable[[Change], PlainServer], tmp_path: Path) -> None:
    """So that it is the lies that the other tests are about."""
    relay(lambda _, body: body)
    assert rehearse("custom", "BNBUSDT", tmp_path / "found.json", say=lambda _: None) == 0


def canceled(hands: Hands) -> Told:
    """Play until some orders have been canceled, and return what was said of it."""
    return next(told for told in play(hands) if told.way == "cancel all")


def without_a_row(told: Told) -> Told:
    """Lose a row."""
    assert told.frame is not None
    return told._replace(frame=told.frame.iloc[1:])


def with_a_row_twice(told: Told) -> Told:
    """Repeat a row."""
    assert told.frame is not None
    return told._replace(frame=told.frame.iloc[[0, *range(len(told.frame))]])


def with_other_prices(told: Told) -> Told:
    """Be off by little."""
    assert told.frame is not None
    return told._replace(frame=told.frame.assign(price=told.frame["price"] + 0.01))


def with_other_ids(told: Told) -> Told:
    """Mix up the order's id with the cancel's."""
    assert told.frame is not None
    return told._replace(frame=told.frame.assign(origClientOrderId=told.frame["clientOrderId"]))


def with_texts(told: Told) -> Told:
    """Have ids as text."""
    assert told.frame is not None
    return told._replace(frame=told.frame.astype({"orderListId": "str"}))


def sent_twice(told: Told) -> Told:
    """Send a cancel again after an answer."""
    return told._replace(answers=[*told.answers, *(each for each in told.answers if each.request[0] == "DELETE")])


def said_to_be_unchanged(told: Told) -> Told:
    """Say that nothing was changed."""
    return told._replace(frame=None, error=RejectedError("refused; no orders were changed"))


@pytest.mark.parametrize(
    ("breaking", "broken"),
    [
        (without_a_row, {claims.ROWS, claims.COMPLETE, claims.ANSWERS}),
        (with_a_row_twice, {claims.ROWS}),
        (with_other_prices, {claims.ANSWERS, claims.ORDER, claims.ALL_ORDERS}),
        (with_other_ids, {claims.OWN_IDS, claims.ANSWERS}),
        (with_texts, {claims.COLUMNS}),
        (sent_twice, {claims.ONCE}),
        (said_to_be_unchanged, {claims.REFUSED, claims.ANSWERS}),
    ],
)
def test_a_frame_that_is_not_what_was_answered_breaks_a_claim(
    exchange: LocalExchange, hands: Hands, breaking: Callable[[Told], Told], broken: set[str]
) -> None:
    """Each of these claims, and no other."""
    assert exchange.url
    told = canceled(hands)
    honest, checked = Claims(hands, 0), Claims(hands, 0)
    honest.check(told)
    assert failed(honest) == set()
    checked.check(breaking(told))
    assert failed(checked) == broken
