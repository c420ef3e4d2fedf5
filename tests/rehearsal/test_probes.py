"""The probes survive answers in any form, clean up, and name what they could not ask for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from nbext.credentials import Credential, Secret
from nbext.exchange import Dialect, LocalExchange
from nbext.profiles import Endpoint
from nbext.rehearsal.hands import Hands
from nbext.rehearsal.probes import Probes
from nbext.rehearsal.probes_rules import MEANINGS
from nbext.rehearsal.probes_stage import NOT_UNDERSTOOD

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.server import PlainServer, Request

    Change = Callable[[Request, Any], Any]

BODIES = {
    "a page": "<html><title>502</title></html>",
    "nothing": "",
    "an empty object": {},
    "an empty list": [],
    "lists for objects": [[1], ["x"]],
    "numbers for objects": [1, 2],
    "other types": {"code": "x", "msg": [], "orderId": [], "orders": 3, "orderReports": {"a": 1}, "symbols": 4},
}


@pytest.mark.parametrize("body", BODIES.values(), ids=BODIES)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", ""])
def test_answers_in_any_form_are_survived(
    custom: LocalExchange, relay: Callable[[Change], PlainServer], method: str, body: Any
) -> None:
    """Every rule is told, not understood with the raw answer, or not asked for with a reason; no order is left."""
    is_odd = False

    def change(request: Request, told: Any) -> Any:
        return body if is_odd and request.method.startswith(method) else told

    custom.reset()
    server = relay(change)
    credential = Credential(Secret(custom.api_key), Secret(custom.secret_key))
    with Hands(Endpoint("custom", server.url, credential), "BTCUSDT") as hands:
        hands.look_around()
        is_odd = True
        probes = Probes(hands, patience=0.2)
        found = list(probes.differences())
        is_odd = False
        assert hands.clean_up(5) == []
    odd = [each for each in found if each.found == NOT_UNDERSTOOD]
    assert odd or probes.not_asked.keys() - {"empty-memory"}
    assert all(each.raw or not body for each in odd)
    assert not {each.rule for each in found} & probes.not_asked.keys()
    assert {each.rule for each in found} | probes.not_asked.keys() <= MEANINGS.keys()
    assert all(probes.not_asked.values())
    assert custom.open_orders() == []


def test_a_key_that_may_only_read_places_nothing() -> None:
    """What needs no order is asked for anyway, and the rest has the reason."""
    with LocalExchange(dialect=Dialect(list_from_id="from_id_ignored", row_order="shuffled")) as exchange:
        key = exchange.add_key(trade=False)
        credential = Credential(Secret(key.api_key), Secret(key.secret_key or ""))
        with Hands(Endpoint("custom", exchange.url, credential), "BTCUSDT") as hands:
            hands.look_around()
            probes = Probes(hands)
            assert [each.rule for each in probes.differences()] == ["list-from-id"]
            assert exchange.requests("POST") == []
    assert probes.not_asked["row-order"] == "the key may not trade"
    asked = MEANINGS.keys() - probes.not_asked.keys()
    assert asked == {
        "key-status",
        "lower-case-symbol",
        "unknown-list-code",
        "list-from-id",
        "exchange-filters",
        "default-stp",
    }


@pytest.mark.parametrize("missing", ["oco", "oto", "opo", "trailing"])
def test_a_symbol_without_some_orders_is_asked_for_the_rest(missing: str) -> None:
    """What needs them is named with the reason, and nothing else is."""
    needs = {
        "oco": {"list-response", "leg-cancel-reply"},
        "oto": {"list-ids", "list-expiry-reason", "pending-listed", "pending-ends", "opo-pending-quantity"},
        "opo": {"opo-pending-quantity"},
        "trailing": {"trailing-start"},
    }
    with LocalExchange() as exchange:
        exchange._engine.symbols["BTCUSDT"].features -= {missing}
        credential = Credential(Secret(exchange.api_key), Secret(exchange.secret_key))
        with Hands(Endpoint("custom", exchange.url, credential), "BTCUSDT") as hands:
            hands.look_around()
            probes = Probes(hands)
            assert list(probes.differences()) == []
    assert probes.not_asked.keys() == needs[missing] | {"empty-memory"}
    assert all("BTCUSDT does not allow it" in probes.not_asked[rule] for rule in needs[missing])


def test_orders_of_others_stay() -> None:
    """There is no cancel-all where others have open orders on the symbol."""
    with LocalExchange() as exchange:
        exchange.seed_orders()
        before = exchange.open_orders()
        credential = Credential(Secret(exchange.api_key), Secret(exchange.secret_key))
        with Hands(Endpoint("custom", exchange.url, credential), "BTCUSDT") as hands:
            hands.look_around()
            probes = Probes(hands)
            assert list(probes.differences()) == []
        assert exchange.open_orders() == before
        assert exchange.requests("DELETE", "openOrders") == []
    assert {"row-order", "nothing-open", "cancel-ids"} <= probes.not_asked.keys()
