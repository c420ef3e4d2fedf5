"""Every documented body that can arise: the scenario is played over HTTP, and the answer compared field for field.

The stage is set with the symbols, ids and amounts of the documentation, so that the values agree as well: amounts as
numbers, times by their type and by which of them are equal.
"""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from support import scenes_market, scenes_placing, scenes_querying, scenes_refusing
from support.exchange_client import Client
from support.stage import SCENES, Stage

from nbext.exchange import LocalExchange
from nbext.exchange.engine.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Iterator

MODULES = (scenes_market, scenes_placing, scenes_querying, scenes_refusing)  # these fill SCENES
FIXTURES = Path(__file__).parents[1] / "fixtures"
EIGHT_DECIMALS = re.compile(r"[0-9]+\.[0-9]{8}")
NUMBER = re.compile(r"[0-9]+(\.[0-9]+)?")
TIMES = {
    "transactTime",
    "transactionTime",
    "workingTime",
    "time",
    "updateTime",
    "serverTime",
    "openTime",
    "closeTime",
    "T",
}
# Fields that came to the API after the example was written (rule: placement-replies, conditional-fields).
NEWER = {"origQuoteOrderQty", "expiryReason", "makerSymbol"}
MANY = {"count", "volume", "quoteVolume", "weightedAvgPrice"}
# Values that the documentation itself has wrong or makes up, so that no scenario leads to them.
DIFFERENT = {
    "new_order_result": {"cummulativeQuoteQty"},  # ten units at about 4000 do not cost 10
    "new_order_full": {"cummulativeQuoteQty"},
    "account": {"canWithdraw", "canDeposit", "uid"},  # nothing comes into or goes out of this exchange
    # Special and tax commissions exist on the live exchange only, and so does the account that would pay them.
    "test_order_commission_rates": {"maker", "taker", "discount"},
    "commission_rates": {"maker", "taker", "buyer", "seller"},
    "my_filters": {"assetFilters"},
    # More trades than are kept; and -83.13 of 26304.8 are -0.316 %, not -0.317.
    **{
        name: MANY | {"priceChangePercent"}
        for name in ("ticker_trading_day_full_single", "ticker_trading_day_full_multiple")
    },
    **dict.fromkeys(("ticker_trading_day_mini_single", "ticker_trading_day_mini_multiple"), MANY),
    "ticker_window_full_multiple": MANY,
    "depth": {"lastUpdateId"},
    "exchange_info": {"rateLimits", "sors"},  # a placeholder, and smart order routing: see the tests below
    "ws_open_orders_result": {"cummulativeQuoteQty"},  # filled at several prices that the example does not tell
}
# Bodies that cannot arise here, and why.
CANNOT_ARISE = {
    "new_order_full_stp_transfer": "TRANSFER is not offered (rule: self-trade-prevention)",
    "ws_cancel_order_result": "a slip: neutral conditional fields on a LIMIT order (rule: zero-fields)",
    "ws_cancel_all_open_orders_result": "a slip: the same, and one id for two orders (rule: duplicate-report)",
    "ws_cancel_order_list_result": "a slip: no origClientOrderId in the reports (rule: list-cancel-form)",
    "ws_query_order_result": "shows every optional field at once, trailing ones on a LIMIT order",
    "ws_exchange_info_result": "its CONNECTIONS limiter and its sors exist in the WebSocket API only",
    "error_ip_banned_ws": "its data member exists in the WebSocket API only",
    "filter_max_asset": "no account has one (rule: own-filters)",
    "rate_limit_orders": "an illustration of the shape, compared below",
    "rate_limit_raw_requests": "an illustration of the shape, compared below",
    "rate_limit_request_weight": "an illustration of the shape, compared below",
}


@pytest.fixture
def stage() -> Iterator[Stage]:
    """Set the stage."""
    with LocalExchange(order_limits=(50, 160_000)) as exchange:
        exchange.add_key(account="other")
        with Client(exchange.url, exchange.api_key, exchange.secret_key) as client:
            yield Stage(exchange, client)


def documented(name: str) -> Any:
    """Read a documented body."""
    return json.loads((FIXTURES / f"{name}.json").read_text("utf-8"))


def differences(told: Any, got: Any, different: set[str], where: str = "") -> list[str]:
    """Return where an answer differs from a documented body."""
    name = re.sub(r"\[[0-9]+\]$", "", where).rpartition(".")[2]
    if isinstance(told, dict) and isinstance(got, dict):
        missing = set(told) - set(got) - different
        strange = set(got) - set(told) - NEWER
        found = [f"{where}: missing {missing}"] if missing else []
        found += [f"{where}: strange {strange}"] if strange else []
        shared = [key for key in told if key in got]
        return found + [
            line for key in shared for line in differences(told[key], got[key], different, f"{where}.{key}")
        ]
    if name in different:
        return [] if type(told) is type(got) else [f"{where}: {told!r} is not of the type of {got!r}"]
    if isinstance(told, list) and isinstance(got, list):
        if len(told) != len(got):
            return [f"{where}: {len(got)} items"]
        pairs = enumerate(zip(told, got, strict=True))
        return [line for index, pair in pairs for line in differences(*pair, different, f"{where}[{index}]")]
    return [] if _agree(name, told, got) else [f"{where}: {told!r} became {got!r}"]


def _agree(name: str, told: object, got: object) -> bool:
    if type(told) is not type(got):
        return False
    if name == "priceChangePercent" or told == "0":  # the last member of a candle
        return told == got
    if isinstance(told, str) and isinstance(got, str) and NUMBER.fullmatch(told):
        # Eight decimals everywhere; the documentation has six to eight.
        return EIGHT_DECIMALS.fullmatch(got) is not None and Decimal(told) == Decimal(got)
    if name in TIMES and told != -1:
        return isinstance(got, int) and len(str(got)) >= len(str(told)) and got != -1
    return told == got


def moments(body: Any, found: dict[str, int] | None = None, where: str = "") -> dict[str, int]:
    """Return all times in a body."""
    found = {} if found is None else found
    if isinstance(body, dict):
        for name, value in body.items():
            if name in TIMES:
                found[f"{where}.{name}"] = value
            moments(value, found, f"{where}.{name}")
    elif isinstance(body, list):
        for index, value in enumerate(body):
            moments(value, found, f"{where}[{index}]")
    return found


@pytest.mark.parametrize("name", sorted(SCENES))
def test_a_documented_body_is_reproduced(stage: Stage, name: str) -> None:
    """The scenario of an example ends in the example: names, order of legs, types, formats and values."""
    got, told = SCENES[name](stage).body, documented(name)
    assert differences(told, got, DIFFERENT.get(name, set())) == []
    # What happened at one moment in the example did so here.
    times, here = moments(told), moments(got)
    for first in times:
        for second in times:
            if times[first] == times[second]:
                assert here[first] == here[second]


FILTERS = sorted(path.stem for path in FIXTURES.glob("filter_*.json") if path.stem not in CANNOT_ARISE)


@pytest.mark.parametrize("name", FILTERS)
def test_a_documented_filter_is_shown_as_it_is(stage: Stage, name: str) -> None:
    """A symbol that has a documented filter shows it in exchangeInfo; the exchange shows its own in myFilters."""
    told = documented(name)
    symbol = stage.symbol("LTC", "BTC")
    symbol.filters = stage.engine.filters = Filters([told])
    if told["filterType"].startswith("EXCHANGE_"):
        shown = stage.signed("GET", "/api/v3/myFilters", symbol="LTCBTC").body["exchangeFilters"]
    else:
        shown = stage.client.public("/api/v3/exchangeInfo", symbol="LTCBTC").body["symbols"][0]["filters"]
    assert shown == [told]
    assert list(shown[0]) == list(told)


@pytest.mark.parametrize("name", ["request_weight", "orders", "raw_requests"])
def test_a_limiter_has_the_documented_members(stage: Stage, name: str) -> None:
    """Each kind of limiter is listed with the documented members."""
    told = documented(f"rate_limit_{name}")
    rows = stage.client.public("/api/v3/exchangeInfo").body["rateLimits"]
    assert list(next(row for row in rows if row["rateLimitType"] == told["rateLimitType"])) == list(told)


def test_no_documented_body_is_forgotten() -> None:
    """Every fixture has a scene, is a filter, or has a reason why it cannot arise."""
    names = {path.stem for path in FIXTURES.glob("*.json")}
    assert names == set(SCENES) | set(CANNOT_ARISE) | set(FILTERS)
    assert not set(SCENES) & set(CANNOT_ARISE)
