"""The listed symbols with their filters, and the funds of a new account."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING

from nbext.exchange.engine.filters import Filters
from nbext.exchange.engine.refusals import Refusal
from nbext.exchange.engine.tickets import ORDER_TYPES, PRECISION

if TYPE_CHECKING:
    from collections.abc import Mapping

    from nbext.exchange.engine.tickets import Ticket

STATUSES = ("TRADING", "END_OF_DAY", "HALT", "BREAK", "CANCEL_ONLY")
# All but TRANSFER, which both sides must ask for. The first is the default (rule: default-stp).
STP_MODES = ("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT")
# What a symbol may allow, by the flag of exchangeInfo that says so.
FEATURES = {
    "icebergAllowed": "iceberg",
    "ocoAllowed": "oco",
    "otoAllowed": "oto",
    "opoAllowed": "opo",
    "quoteOrderQtyMarketAllowed": "quoteOrderQty",
    "allowTrailingStop": "trailing",
    "cancelReplaceAllowed": "cancelReplace",
    "amendAllowed": "amend",
    "pegInstructionsAllowed": "peg",
}
# Which of them each kind of list builds on (rule: list-parameters).
_LIST_FEATURES = {
    "OCO": ("oco",),
    "OTO": ("oto",),
    "OTOCO": ("oto", "oco"),
    "OPO": ("opo", "oto"),
    "OPOCO": ("opo", "oto", "oco"),
}
_UNSUPPORTED_LISTS = {
    "oco": "OCO orders are not supported for this symbol",  # the documented text has no full stop
    "oto": "OTO orders are not supported for this symbol.",
    "opo": "OPO orders are not supported for this symbol.",
}
_UNSUPPORTED_TYPES = {
    "MARKET": "Market orders are not supported for this symbol.",
    "STOP_LOSS": "Stop loss orders are not supported for this symbol.",
    "STOP_LOSS_LIMIT": "Stop loss limit orders are not supported for this symbol.",
    "TAKE_PROFIT": "Take profit orders are not supported for this symbol.",
    "TAKE_PROFIT_LIMIT": "Take profit limit orders are not supported for this symbol.",
}
PRICE_CEILING = 1000  # maxPrice as a multiple of the listing price


def text(amount: Decimal) -> str:
    """Write an amount as replies do: all decimals of the asset."""
    return f"{amount:.8f}"


@dataclass(frozen=True, slots=True)
class Listing:
    """The few numbers that define a symbol; tick x step stays within eight decimals."""

    base: str
    quote: str
    price: str
    tick: str
    step: str
    least_money: str
    room: str  # how much of the base asset the market offers at its best prices
    has_older_filters: bool = False  # PERCENT_PRICE, MIN_NOTIONAL and MAX_POSITION, as some symbols still have


LISTINGS = (
    Listing("BTC", "USDT", "60000", "0.01", "0.00001", "5", "2"),
    Listing("ETH", "USDT", "2500", "0.01", "0.0001", "5", "40"),
    Listing("BNB", "USDT", "600", "0.01", "0.001", "5", "150"),
    Listing("ETH", "BTC", "0.04166", "0.00001", "0.001", "0.0001", "40"),
    Listing("SOL", "USDT", "150", "0.01", "0.001", "5", "600"),
    Listing("DOGE", "USDT", "0.2", "0.00001", "1", "1", "500000", has_older_filters=True),
    # Symbols may hold non-ASCII characters since December 2025; this one is the documented example.
    Listing("１２３", "４５６", "0.15", "0.0001", "0.01", "0.01", "100000"),
)

# What every account starts with: enough for ten thousand orders.
FUNDS: Mapping[str, Decimal] = {
    asset: Decimal(amount)
    for asset, amount in {
        "BTC": 10_000,
        "ETH": 100_000,
        "BNB": 100_000,
        "SOL": 1_000_000,
        "DOGE": 500_000_000,
        "USDT": 1_000_000_000,
        "１２３": 100_000_000,
        "４５６": 100_000_000,
    }.items()
}


class Symbol:
    """A listed symbol.

    Parameters
    ----------
    listing : Listing
        Its numbers.
    max_num_orders : int
        MAX_NUM_ORDERS, documented as 200; the other counting filters keep their proportion to it.
    """

    def __init__(self, listing: Listing, max_num_orders: int) -> None:
        self.name = listing.base + listing.quote
        self.base = listing.base
        self.quote = listing.quote
        self.listing_price = Decimal(listing.price)
        self.tick = Decimal(listing.tick)
        self.room = Decimal(listing.room)
        self.status = "TRADING"
        self.order_types: tuple[str, ...] = ORDER_TYPES
        self.features = frozenset(FEATURES.values()) - {"amend"}
        self.stp_modes: tuple[str, ...] = STP_MODES
        self.permissions: tuple[str, ...] = ("SPOT",)
        self.filters = Filters(_symbol_filters(listing, max_num_orders))

    def info(self) -> dict[str, object]:
        """Return the symbol's entry in ``exchangeInfo`` (rule: public-replies)."""
        return {
            "symbol": self.name,
            "status": self.status,
            "baseAsset": self.base,
            "baseAssetPrecision": PRECISION,
            "quoteAsset": self.quote,
            "quotePrecision": PRECISION,
            "quoteAssetPrecision": PRECISION,
            "baseCommissionPrecision": PRECISION,
            "quoteCommissionPrecision": PRECISION,
            "orderTypes": list(self.order_types),
            **{flag: feature in self.features for flag, feature in FEATURES.items()},
            "isSpotTradingAllowed": True,
            "isMarginTradingAllowed": "MARGIN" in self.permissions,
            "filters": self.filters.wire,
            "permissions": [],
            "permissionSets": [list(self.permissions)],
            "defaultSelfTradePreventionMode": self.stp_modes[0],
            "allowedSelfTradePreventionModes": list(self.stp_modes),
        }

    def check_features(self, ticket: Ticket) -> None:
        """Refuse an order of a kind that the symbol does not have."""
        if ticket.type not in self.order_types:
            raise Refusal(-1013, _UNSUPPORTED_TYPES.get(ticket.type, "Unsupported order combination"))
        for feature, is_used, says in (
            ("iceberg", ticket.iceberg_quantity, "Iceberg orders are not supported for this symbol."),
            ("quoteOrderQty", ticket.quote_quantity, "Quote order qty market orders are not support for this symbol."),
            ("trailing", ticket.trailing_delta, "Trailing stop orders are not supported for this symbol."),
            ("peg", ticket.is_pegged, "Pegged orders are not supported for this symbol."),
        ):
            if is_used and feature not in self.features:
                raise Refusal(-1013, says)

    def check_list(self, kind: str) -> None:
        """Refuse a kind of order list that the symbol does not have."""
        for feature in _LIST_FEATURES[kind]:
            if feature not in self.features:
                raise Refusal(-1013, _UNSUPPORTED_LISTS[feature])


def list_symbols(max_num_orders: int) -> dict[str, Symbol]:
    """Return the seeded symbols by name."""
    symbols = [Symbol(listing, max_num_orders) for listing in LISTINGS]
    return {symbol.name: symbol for symbol in symbols}


def exchange_filters(max_num_orders: int) -> Filters:
    """Return the filters that count over all symbols: five times what one symbol allows."""
    return Filters(
        {**each, "filterType": f"EXCHANGE_{each['filterType']}"} for each in _counting_filters(5 * max_num_orders)
    )


def _counting_filters(max_num_orders: int) -> list[dict[str, str | int | bool]]:
    return [
        {"filterType": "MAX_NUM_ORDERS", "maxNumOrders": max_num_orders},
        {"filterType": "MAX_NUM_ORDER_LISTS", "maxNumOrderLists": max_num_orders // 10},
        {"filterType": "MAX_NUM_ALGO_ORDERS", "maxNumAlgoOrders": max_num_orders // 2},
        {"filterType": "MAX_NUM_ICEBERG_ORDERS", "maxNumIcebergOrders": max_num_orders // 2},
    ]


def _symbol_filters(listing: Listing, max_num_orders: int) -> list[dict[str, str | int | bool]]:
    tick, step = Decimal(listing.tick), Decimal(listing.step)
    lots = {"minQty": text(step), "maxQty": text(step * 10**9), "stepSize": text(step)}
    ceiling = Decimal(listing.price) * PRICE_CEILING
    return [
        {
            "filterType": "PRICE_FILTER",
            "minPrice": text(tick),
            "maxPrice": text(ceiling),
            "tickSize": text(tick),
        },
        {"filterType": "LOT_SIZE", **lots},
        {"filterType": "ICEBERG_PARTS", "limit": 100},
        {
            "filterType": "MARKET_LOT_SIZE",
            "minQty": text(step * 0),
            "maxQty": lots["maxQty"],
            "stepSize": text(step * 0),
        },
        {
            "filterType": "TRAILING_DELTA",
            "minTrailingAboveDelta": 10,
            "maxTrailingAboveDelta": 2000,
            "minTrailingBelowDelta": 10,
            "maxTrailingBelowDelta": 2000,
        },
        *(_older_filters(listing) if listing.has_older_filters else _price_and_money_filters(listing)),
        *_counting_filters(max_num_orders),
    ]


# Zero minutes in these filters: the reference is the last price, since prices set by hand jump.


def _price_and_money_filters(listing: Listing) -> list[dict[str, str | int | bool]]:
    return [
        {
            "filterType": "PERCENT_PRICE_BY_SIDE",
            "bidMultiplierUp": "10",
            "bidMultiplierDown": "0.1",
            "askMultiplierUp": "10",
            "askMultiplierDown": "0.1",
            "avgPriceMins": 0,
        },
        {
            "filterType": "NOTIONAL",
            "minNotional": text(Decimal(listing.least_money)),
            "applyMinToMarket": True,
            "maxNotional": text(FUNDS[listing.quote]),
            "applyMaxToMarket": False,
            "avgPriceMins": 0,
        },
    ]


def _older_filters(listing: Listing) -> list[dict[str, str | int | bool]]:
    return [
        {"filterType": "PERCENT_PRICE", "multiplierUp": "10", "multiplierDown": "0.1", "avgPriceMins": 0},
        {
            "filterType": "MIN_NOTIONAL",
            "minNotional": text(Decimal(listing.least_money)),
            "applyToMarket": True,
            "avgPriceMins": 0,
        },
        {"filterType": "MAX_POSITION", "maxPosition": text(FUNDS[listing.base] * 2)},
    ]
