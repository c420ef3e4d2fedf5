"""The probes name exactly the rules of RULES.md by which an exchange differs, whichever these are."""

from __future__ import annotations

import re
import zlib
from contextlib import contextmanager
from dataclasses import fields
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING, Any

import pytest

import nbext.exchange
from nbext.credentials import Credential, Secret
from nbext.exchange import Dialect, LocalExchange
from nbext.profiles import Endpoint
from nbext.rehearsal.findings import Unplayable
from nbext.rehearsal.hands import Hands
from nbext.rehearsal.probes import Probes
from nbext.rehearsal.probes_rules import MEANINGS, NOT_SEEN, NOT_SEEN_VALUES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nbext.rehearsal.findings import Difference

FIELDS = {each.name: each for each in fields(Dialect)}
RULES = {each.metadata["rule"]: each for each in FIELDS.values()}
SYMBOL = "BTCUSDT"
SHORT = 0.3  # seconds; fields that take seconds take any number


@contextmanager
def laid_on(exchange: LocalExchange, **key: str) -> Iterator[Hands]:
    """Lay hands on an exchange."""
    credential = Credential(
        Secret(key.get("api_key", exchange.api_key)), Secret(key.get("secret_key", exchange.secret_key))
    )
    with Hands(Endpoint("custom", exchange.url, credential), SYMBOL) as hands:
        try:
            hands.look_around()
        except Unplayable:
            assert exchange.dialect.key_reads == "refused"
        yield hands


def probe(dialect: Dialect) -> tuple[dict[str, Difference], dict[str, str], LocalExchange]:
    """Return what the probes find on an exchange of this dialect, and what they could not ask for."""
    # Ids begin low only where no earlier exchange of the process had the seed.
    seed = zlib.crc32(repr(dialect.settings).encode())
    with LocalExchange(seed=seed, dialect=dialect) as exchange, laid_on(exchange) as hands:
        probes = Probes(hands, patience=5.0)
        found = list(probes.differences())
        by_rule = {each.rule: each for each in found}
        assert len(by_rule) == len(found)
        assert dialect.uncancelable != "none" or exchange.open_orders() == []
        return by_rule, probes.not_asked, exchange


def cases() -> Iterator[Any]:
    """Yield every value of every field that is not the default."""
    for name, each in FIELDS.items():
        values = each.metadata["values"][1:]
        if "seconds" in each.metadata:
            values = tuple(SHORT if value > 0 else -SHORT for value in values)
        for value in dict.fromkeys(values):
            yield pytest.param(name, value, id=f"{name}={value}")


def visible(name: str, value: object) -> bool:
    """Return whether a value can be seen from outside."""
    rule = FIELDS[name].metadata["rule"]
    return rule not in NOT_SEEN and (rule, value) not in NOT_SEEN_VALUES


def test_the_default_dialect_yields_no_difference() -> None:
    """And everything that can be seen was asked for."""
    found, not_asked, _ = probe(Dialect())
    assert found == {}
    assert not_asked.keys() == {"empty-memory"}


@pytest.mark.parametrize(("name", "value"), list(cases()))
def test_each_value_is_named_and_nothing_else(name: str, value: str | float) -> None:
    """A difference names its rule and its value, with the answer that shows it; what cannot be seen names nothing."""
    choice: dict[str, Any] = {name: value}
    found, _, _ = probe(Dialect(**choice))
    rule = FIELDS[name].metadata["rule"]
    assert found.keys() == ({rule} if visible(name, value) else set())
    for each in found.values():
        said = re.match(r"about (-?[0-9.]+) ", each.found)
        if "seconds" in FIELDS[name].metadata:
            assert said is not None
            told = float(said[1]) if float(value) > 0 else -float(said[1])
            assert 0.4 * SHORT <= told < 2  # a busy machine takes longer
        else:
            assert each.found.startswith(str(value))
        assert each.usual.startswith(str(FIELDS[name].default))
        assert each.raw


@pytest.mark.parametrize("name", ["lag_memory", "lag_database", "forgetting"])
def test_reads_that_stay_behind(name: str) -> None:
    """The rule is named, and what cannot be told then is not asked for."""
    choice: dict[str, Any] = {name: 1_800}
    with LocalExchange(dialect=Dialect(**choice)) as exchange, laid_on(exchange) as hands:
        found = list(Probes(hands, patience=0.5).differences())
    assert [(each.rule, each.found[:9]) for each in found] == [(FIELDS[name].metadata["rule"], "more than")]


def test_every_rule_has_a_probe_or_a_reason() -> None:
    """The probes know the rules, values and defaults of the practice exchange, and RULES.md explains them."""
    text = (Path(nbext.exchange.__file__).parent / "RULES.md").read_text(encoding="utf-8")
    dialects = text[text.index("\n# 2.") : text.index("\n# 3.")]
    assert MEANINGS.keys() | NOT_SEEN.keys() == RULES.keys() == set(re.findall(r"^### (.+)$", dialects, re.MULTILINE))
    assert not MEANINGS.keys() & NOT_SEEN.keys()
    for rule, meanings in MEANINGS.items():
        values = RULES[rule].metadata["values"]
        unseen = [value for of, value in NOT_SEEN_VALUES if of == rule]
        if "seconds" in RULES[rule].metadata:
            assert list(meanings) == [RULES[rule].default] == [0]
        else:
            assert [each for each in values if each in meanings or each not in unseen] == list(meanings)
            assert next(iter(meanings)) == RULES[rule].default


# What hides what: rules that may not be told where another field has this value (None: any but the default).
_NEEDS_THE_REPLY = {"row-order", "cancel-ids", "duplicate-report", "atomicity", "partial-refusal", "uncancelable"}
_NEEDS_ITS_ORDERS = {"all-orders-sort", "pending-ends", "order-reports", "leg-cancel-reply"}
_NEEDS_ITS_ORDERS |= {"list-cancel-form", "list-time", "list-order-ids"}
_WITHOUT_READS = {
    "unknown-order-text",
    "unknown-list-text",
    "unknown-code",
    "neither-id-code",
    "refusal-status",
    "key-status",
    "key-reads",
    "lower-case-symbol",
    "exchange-filters",
    "default-stp",
}
MASKS: list[tuple[str, object, set[str]]] = [
    # Without reads no order is placed, and nothing is canceled that may be of others.
    ("key_reads", "refused", set(RULES) - _WITHOUT_READS),
    # The cancel-all is not answered with its rows, or some are missing.
    ("partial_refusal", None, _NEEDS_THE_REPLY),
    # One order of three, by its id: which one a scene has to do without is chance.
    ("uncancelable", None, _NEEDS_THE_REPLY | _NEEDS_ITS_ORDERS),
    ("nothing_open", "empty", {"nothing-open-text"}),
    ("cancel_id_in_queries", "own_id", {"old-id-lookup"}),
    # Reads that are behind by chance look like any other lag.
    ("replicas", None, {"lag-memory", "lag-database", "empty-memory", "forgetting"}),
    # The report of a leg looks as if it had a cancel id of its own, or has none.
    ("list_cancel_form", "websocket", {"cancel-ids"}),
    ("duplicate_report", "flat_only", {"order-reports"}),
]


def some_dialect(seed: int) -> dict[str, Any]:
    """Choose three or four fields and another value for each."""
    chance = Random(seed)  # noqa: S311 - no secret
    settings = {}
    for name in chance.sample(
        [each for each in FIELDS if FIELDS[each].metadata["rule"] not in NOT_SEEN], chance.choice([3, 4])
    ):
        value = chance.choice(FIELDS[name].metadata["values"][1:])
        settings[name] = value if "seconds" not in FIELDS[name].metadata else SHORT if value > 0 else -SHORT
    return settings


@pytest.mark.parametrize("seed", range(24))
def test_any_mixture_is_told_apart(seed: int) -> None:
    """Of several differences each is named, unless another one hides it, and nothing else is."""
    settings = some_dialect(seed)
    found, _, _ = probe(Dialect(**settings))
    shown = {FIELDS[name].metadata["rule"] for name, value in settings.items() if visible(name, value)}
    hidden = [
        rules for name, value, rules in MASKS if settings.get(name) is not None and value in {None, settings[name]}
    ]
    if "lag_database" in settings and "empty_memory" in settings:
        shown.add("empty-memory")
    assert shown - set().union(*hidden) <= found.keys() <= shown, settings
