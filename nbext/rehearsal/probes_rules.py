"""What the probes know of the dialects of `nbext/exchange/RULES.md`: each rule, and what each of its values means.

The practice exchange has the same values in a table of its own, which this one is compared with by a test.
"""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    Value = str | float

_TEXT = "the text of the refusal"
_TEXTS = ("Unknown order sent.", "UNKNOWN_ORDER", "CANCEL_REJECTED", "Order was canceled or expired.")
_LATE = "seconds until reads"

MEANINGS: Mapping[str, Mapping[Value, str]] = MappingProxyType(
    {
        # Refusals.
        "unknown-order-text": dict.fromkeys(_TEXTS, _TEXT),
        "unknown-list-text": dict.fromkeys((*_TEXTS[:1], "Unknown order list sent.", *_TEXTS[1:]), _TEXT),
        "nothing-open-text": dict.fromkeys(_TEXTS, _TEXT),
        "nothing-open": {"refused": "a cancel-all with nothing open is refused", "empty": "it is answered with []"},
        "unknown-code": dict.fromkeys((-2011, -1013), "the code for an unknown order or list in a cancel"),
        "neither-id-code": dict.fromkeys((-1102, -1128), "the code for a cancel or query without any id"),
        "mismatch-code": dict.fromkeys((-2011, -2039, -1102), "the code for two ids that do not belong together"),
        "unknown-list-code": dict.fromkeys((-2013, -2011), "the code for a query of an unknown order list"),
        "lower-case-symbol": dict.fromkeys((-1100, -1121), "the code for a symbol in lower case"),
        "refusal-status": dict.fromkeys((400, 404, 422), "the HTTP status of a refusal"),
        "key-status": dict.fromkeys((401, 400), "the HTTP status for an unknown key"),
        "list-from-id": {
            "refused": "fromId together with times is refused",
            "from_id_ignored": "fromId is ignored where times are sent",
        },
        # What the market does.
        "default-stp": dict.fromkeys(
            ("NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT"), "the symbol's mode by default"
        ),
        "trailing-start": {
            "last_price": "a trailing stop begins to follow when it is placed",
            "next_trade": "a trailing stop does not begin to follow when it is placed",
        },
        "list-response": dict.fromkeys(("RESULT", "ACK", "FULL"), "the form of the reply to the placement of a list"),
        # What a cancel does.
        "cancel-ids": {
            "one": "all reports of a cancel-all have the same cancel id",
            "each_row": "each single order and each list of a cancel-all has a cancel id of its own",
            "each_report": "each report of a cancel-all has a cancel id of its own",
        },
        "pending-ends": dict.fromkeys(("CANCELED", "EXPIRED"), "the status of a canceled leg that was pending"),
        "atomicity": {
            "one_step": "nothing happens to orders during a cancel-all",
            "fill_between": "an order was filled during a cancel-all",
        },
        "partial-refusal": {
            "all_or_nothing": "a cancel-all that is refused has canceled nothing",
            "after_some": "a cancel-all canceled some orders and was then refused as rejected",
            "unknown_after_some": "a cancel-all canceled some orders and was then refused as if nothing were open",
        },
        "uncancelable": {
            "none": "every open order can be canceled",
            "left_out": "a cancel-all leaves out an order that stays open",
            "reported_open": "a cancel reports an order that stays open",
            "call_refused": "a cancel-all is refused as a whole, and all orders stay open",
        },
        # How a cancel is reported.
        "row-order": {
            "ascending": "the rows of a cancel-all ascend by order id",
            "descending": "the rows of a cancel-all descend by order id",
            "lists_first": "a cancel-all reports order lists before single orders",
            "shuffled": "the rows of a cancel-all are in no sequence",
        },
        "list-time": dict.fromkeys(("cancel", "placement"), "what transactionTime of a canceled list is the time of"),
        "order-reports": {
            "canceled_now": "a canceled list has a report for each leg that was canceled",
            "first_leg": "a canceled list lacks the report of a leg that was canceled",
        },
        "leg-cancel-reply": {
            "list": "the cancel of a leg is answered with its list",
            "leg": "the cancel of a leg is answered with a report of this leg only",
        },
        "duplicate-report": {
            "once": "a cancel-all reports each order once",
            "flat_too": "a cancel-all reports a leg in its list and beside it",
            "flat_only": "a cancel-all reports legs as single orders, without their list",
        },
        "list-cancel-form": {
            "rest": "legs of a canceled list have origClientOrderId and the cancel's id",
            "websocket": "legs of a canceled list have no origClientOrderId",
            "list_id_replaced": "a canceled list has another listClientOrderId than before",
        },
        "zero-fields": {
            "absent": "the cancel report of a plain order has no fields of stops and icebergs",
            "zero": "the cancel report of a plain order has stopPrice or icebergQty",
            "neutral": "the cancel report of a plain order has trailingDelta or trailingTime",
        },
        "older-fields": {"present": "fields added over the years are there", "absent": "some of them are missing"},
        "opo-pending-quantity": dict.fromkeys(("absent", "zero", "null"), "origQty of an OPO's pending leg"),
        "quoted-ids": {
            "numbers": "ids and times are JSON integers",
            "ids": "ids are strings of digits",
            "ids_and_times": "ids and times are strings of digits",
        },
        "extra-fields": {
            "none": "there are no undocumented fields",
            "flat": "there are undocumented fields",
            "nested": "there are undocumented fields with a structure of their own",
        },
        "decimals": {
            "eight": "amounts have eight decimals",
            "six": "amounts have six decimals where that loses nothing",
            "trimmed": "amounts have no trailing zeros",
        },
        "list-ids": {"seeded": "list ids do not begin at zero", "from_zero": "list ids begin at zero"},
        "order-ids": {"seeded": "order ids do not begin at zero", "from_zero": "order ids begin at zero"},
        # What queries show.
        "cancel-id-in-queries": dict.fromkeys(("cancel_id", "own_id"), "clientOrderId of a canceled order in queries"),
        "old-id-lookup": dict.fromkeys(("found", "not_found"), "a canceled order asked for by its own client id"),
        "list-order-ids": dict.fromkeys(("own_id", "cancel_id"), "client ids in `orders` of a canceled list"),
        "open-rows": {
            "ascending": "open orders ascend by order id",
            "newest_first": "open orders descend by order id",
            "shuffled": "open orders are in no sequence",
        },
        "open-status": {
            "documented": "open orders are queried as NEW",
            "PENDING_CANCEL": "open orders are queried with this status",
            "made_up": "open orders are queried with a status that is not documented",
        },
        "pending-listed": {
            "at_once": "pending legs are listed as open orders",
            "when_released": "pending legs are not listed as open orders",
        },
        "archive-from": {
            "ending": "orders are archived by the time of their end",
            "live": "an open order is called archived",
        },
        "list-expiry-reason": {
            "absent": "the legs in a queried list have no expiryReason",
            "in_orders": "the legs in a queried list have an expiryReason",
        },
        "exchange-filters": dict.fromkeys(("empty", "listed"), "exchangeFilters of exchangeInfo"),
        # How reads lag and clocks differ.
        "engine-clock": {0: "seconds by which transactTime is ahead of GET /api/v3/time"},
        "lag-memory": {0: f"{_LATE} of open orders show a placement"},
        "lag-database": {0: f"{_LATE} of all orders show a cancel"},
        "empty-memory": {
            "empty": "no open orders are shown after all were canceled",
            "database": "when none is open, older open orders are shown",
        },
        "replicas": {0: f"{_LATE} agree; until then a later one may show what is older"},
        "forgetting": {0: "seconds for which queries do not find an order that is open"},
        "all-orders-time": dict.fromkeys(("update", "creation"), "the time that startTime is compared with"),
        "all-orders-sort": dict.fromkeys(("order_id", "update_time"), "what allOrders is sorted by"),
        "start-only-span": {
            "unlimited": "startTime alone reaches until now",
            "day": "startTime alone reaches a day",
            "refused": "startTime alone is refused if it is more than a day ago",
        },
        # Keys and limits.
        "key-reads": {
            "allowed": "a key that may trade may read",
            "refused": "a key that may trade may not read",
        },
        "weight-refund": {
            "before_answer": "the used weight in the answer to a placement does not contain the placement",
            "after_answer": "the used weight in the answer to a placement still contains the placement",
        },
    }
)
"""By rule, the words for each value that can be seen. The first value is the default of the practice exchange."""

_FILLS = "orders of a rehearsal stay far from the market, so they are not filled"
_CLOSED = "the symbol trades"
_LIMITS = "limits are never exhausted, and bans never provoked"

NOT_SEEN: Mapping[str, str] = MappingProxyType(
    {
        "closed-cancel": _CLOSED,
        "closed-placement-code": _CLOSED,
        "server-error-status": "errors on the exchange's side cannot be asked for",
        "trigger-sequence": f"{_FILLS} or triggered",
        "iceberg-refill": _FILLS,
        "oco-done": _FILLS,
        "oto-done": _FILLS,
        "done-list-leg": _FILLS,
        "released-time": _FILLS,
        "torn-read": _FILLS,
        "engine-tail": "it shows only when an answer is lost",
        "answer-ids": "no row depends on a header",
        "limit-order": _LIMITS,
        "ban-status": _LIMITS,
        "retry-after": _LIMITS,
        "ban-end": _LIMITS,
    }
)
"""Rules that cannot be seen from outside, and why."""

NOT_SEEN_VALUES: Mapping[tuple[str, Value], str] = MappingProxyType(
    {
        ("order-reports", "all_legs"): _FILLS,
        ("archive-from", "creation"): "orders of a rehearsal are not 90 days old",
        ("weight-refund", "never_counted"): _LIMITS,
        ("empty-memory", "database"): "it shows only where all orders lag behind open ones (lag-database)",
    }
)
"""Values that cannot be seen, or not alone, of rules that can, and why."""
