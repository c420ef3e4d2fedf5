"""What each value of the dialect of refusals, cancels and reports looks like over HTTP."""

from __future__ import annotations

from dataclasses import fields
from random import Random
from typing import TYPE_CHECKING, Any

import pytest
from support.exchange_client import OPEN_ORDERS as OPEN
from support.exchange_client import ORDER, Client, now

from nbext.exchange import Dialect, LocalExchange

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

LIST = "/api/v3/orderList"
SYMBOL = "BTCUSDT"
OCO = {"side": "SELL", "quantity": "0.5", "aboveType": "LIMIT_MAKER", "abovePrice": "63000"}
OCO |= {"belowType": "STOP_LOSS", "belowStopPrice": "57000"}
WORKING = {"workingType": "LIMIT", "workingSide": "BUY", "workingTimeInForce": "GTC", "workingPrice": "58000"}
WORKING |= {"workingQuantity": "0.1"}
PENDING = {"pendingType": "LIMIT", "pendingSide": "SELL", "pendingTimeInForce": "GTC", "pendingPrice": "62000"}
OTO = WORKING | PENDING | {"pendingQuantity": "0.1"}
LISTS = {"oco": OCO, "oto": OTO, "opo": WORKING | PENDING}
DAY = 24 * 3600


class Stage:
    """A client at a fresh exchange, with the few things that the scenes below do."""

    def __init__(self, client: Client, exchange: LocalExchange) -> None:
        self.client = client
        self.exchange = exchange
        self._ahead = 0

    def advance(self, seconds: int) -> None:
        """Advance the clock."""
        self.exchange.advance(seconds)
        self._ahead += seconds * 1000

    def ask(self, method: str, path: str, **params: object) -> Any:
        """Send a signed request and return the reply, or the code and text of the refusal."""
        answer = self.client.signed(method, path, headers=None, timestamp=now() + self._ahead, **params)
        return answer.body if answer.status == 200 else answer.refusal

    def cancel_all(self) -> Any:
        """Cancel everything."""
        return self.ask("DELETE", OPEN, symbol=SYMBOL)

    def cancel(self, **ids: object) -> Any:
        """Cancel one order."""
        return self.ask("DELETE", ORDER, symbol=SYMBOL, **ids)

    def query(self, **ids: object) -> Any:
        """Query one order."""
        return self.ask("GET", ORDER, symbol=SYMBOL, **ids)

    def limit(self, client_id: str, price: int = 50_000) -> int:
        """Place a bid and return its id."""
        more = {"newClientOrderId": client_id, "timestamp": now() + self._ahead}
        order_id: int = self.client.limit("BUY", price, **more).body["orderId"]
        return order_id

    def order_list(self, kind: str) -> Any:
        """Place an order list."""
        return self.exchange.place_list(kind, SYMBOL, listClientOrderId=kind, **LISTS[kind])

    def left(self) -> list[str]:
        """Return the own ids of what the engine has open."""
        return [row["clientOrderId"] for row in self.exchange.open_orders()]


def or_code(told: Any, otherwise: object) -> object:
    """Return the code of a refusal, or something else for a reply."""
    return told[0] if isinstance(told, tuple) else otherwise


def nothing_open(stage: Stage) -> object:
    """Cancel nothing."""
    return stage.cancel_all()


def unknown_order(stage: Stage) -> object:
    """Cancel an unknown order."""
    return stage.cancel(orderId=7)


def unknown_list(stage: Stage) -> object:
    """Cancel an unknown list."""
    return stage.ask("DELETE", LIST, symbol=SYMBOL, orderListId=7)


def all_unknown(stage: Stage) -> object:
    """Return the codes of the three."""
    return [refusal(stage)[0] for refusal in (nothing_open, unknown_order, unknown_list)]  # type: ignore[index]


def mismatch(stage: Stage) -> object:
    """Cancel by two ids that do not belong together."""
    order_id, told = stage.limit("a"), stage.order_list("oco")
    codes = [stage.cancel(orderId=order_id, origClientOrderId="b")[0]]
    codes += [stage.ask("DELETE", LIST, symbol=SYMBOL, orderListId=told["orderListId"], listClientOrderId="b")[0]]
    assert len(stage.left()) == 3
    # Amended meanwhile, it has another client id than it was seen with.
    renamed = stage.exchange.amend(SYMBOL, order_id, "0.05")
    codes += [stage.cancel(orderId=order_id, origClientOrderId="a")[0]]
    assert stage.cancel(orderId=order_id, origClientOrderId=renamed)["origQty"] == "0.05000000"
    return codes


def neither_id(stage: Stage) -> object:
    """Cancel and query without any id."""
    told = [stage.ask(method, path, symbol=SYMBOL) for method in ("DELETE", "GET") for path in (ORDER,)]
    return [each[0] for each in (*told, stage.ask("DELETE", LIST, symbol=SYMBOL), stage.ask("GET", LIST))]


def unknown_list_query(stage: Stage) -> object:
    """Query an unknown list."""
    return stage.ask("GET", LIST, orderListId=7)


def lower_case(stage: Stage) -> object:
    """Send a symbol in lower case."""
    return stage.ask("GET", OPEN, symbol="btcusdt")[0]


def closed(stage: Stage) -> object:
    """Cancel while nothing trades."""
    stage.limit("a")
    stage.exchange.set_status(SYMBOL, "CANCEL_ONLY")
    assert len(stage.cancel_all()) == 1
    stage.exchange.set_status(SYMBOL, "TRADING")
    stage.limit("a")
    stage.exchange.set_status(SYMBOL, "HALT")
    told = stage.cancel_all()
    return told if isinstance(told, tuple) else len(told)


def refusal_status(stage: Stage) -> object:
    """Be refused by the engine, and before it."""
    calls = ({"symbol": SYMBOL, "orderId": 7}, {"symbol": "NOSUCH", "orderId": 7})
    return [stage.client.signed("DELETE", ORDER, headers=None, **params).status for params in calls]


def bad_key(stage: Stage) -> object:
    """Send an unknown key, and none."""
    return [stage.client.send("DELETE", OPEN, headers={"X-MBX-APIKEY": key}).status for key in ("A" * 64, "")]


def server_errors(stage: Stage) -> object:
    """Meet three faults on the exchange's side."""
    statuses = []
    for code in (-1000, -1007, -1008):
        stage.exchange.faults.fail("GET", "openOrders", code=code)
        statuses.append(stage.client.signed("GET", OPEN).status)
    return statuses


def from_id_and_times(stage: Stage) -> object:
    """Send parameters that exclude each other."""
    stage.order_list("oco")
    told = stage.ask("GET", "/api/v3/allOrderList", fromId=10**9, startTime=1)
    return or_code(told, len(told))


def own_trade(stage: Stage) -> object:
    """Sell to oneself without a mode: the statuses of bid and offer."""
    told = stage.client.public("/api/v3/exchangeInfo", symbol=SYMBOL).body["symbols"][0]
    bid = stage.client.limit("BUY", "60000").body["orderId"]
    offer = stage.client.limit("SELL", "60000").body["orderId"]
    statuses = [stage.query(orderId=each)["status"] for each in (bid, offer)]
    return told["defaultSelfTradePreventionMode"], statuses


def trailing_start(stage: Stage) -> object:
    """Return whether a trailing stop tracks as soon as it is placed."""
    stage.exchange.place(SYMBOL, "SELL", "STOP_LOSS", quantity="0.1", trailingDelta=500)
    return stage.ask("GET", OPEN)[0]["trailingTime"] > 0


def trigger_sequence(stage: Stage) -> object:
    """Trigger two stops with one trade, and return which is filled at the better price."""
    orders = [
        stage.exchange.place(SYMBOL, "SELL", "STOP_LOSS", quantity="1.5", stopPrice="59000")["orderId"]
        for _ in range(2)
    ]
    stage.exchange.set_price(SYMBOL, 59_000)
    spent = [float(stage.query(orderId=each)["cummulativeQuoteQty"]) for each in orders]
    return spent[0] > spent[1]


def iceberg_refill(stage: Stage) -> object:
    """Fill an iceberg's visible part and a little more, and return what the order behind it gets."""
    stage.client.limit("BUY", "60000", "0.3", icebergQty="0.1")
    behind = stage.client.limit("BUY", "60000", "0.1").body["orderId"]
    best = {"timeInForce": "IOC", "quantity": "0.2", "price": "60000"}
    stage.exchange.place(SYMBOL, "SELL", "LIMIT", account="market", **best)
    return stage.query(orderId=behind)["status"]


def closed_placement(stage: Stage) -> object:
    """Place an order while nothing trades."""
    stage.exchange.set_status(SYMBOL, "HALT")
    return stage.client.limit("BUY", "50000").refusal


def list_response(stage: Stage) -> object:
    """Return what the reply to a list contains for its legs."""
    legs = stage.ask("POST", f"{LIST}/oco", symbol=SYMBOL, **OCO)["orderReports"]
    return ["status" in legs[0], "fills" in legs[0]]


def cancel_ids(stage: Stage) -> object:
    """Return which of the reports of two orders and a list share a cancel id."""
    stage.limit("a")
    stage.limit("b")
    stage.order_list("oco")
    single, other, pair = stage.cancel_all()
    ids = [report["clientOrderId"] for report in (single, other, *pair["orderReports"])]
    assert [stage.query(orderId=row["orderId"])["clientOrderId"] for row in (single, other)] == ids[:2]
    return [ids.index(each) for each in ids]


def pending_leg(stage: Stage) -> object:
    """Cancel a list with a pending leg."""
    stage.order_list("oto")
    legs = stage.cancel_all()[0]["orderReports"]
    assert legs[0]["clientOrderId"] == legs[1]["clientOrderId"]
    return [leg["status"] for leg in legs] + [stage.query(orderId=legs[1]["orderId"])["status"]]


def half_filled_oco(stage: Stage) -> Any:
    """Fill a part of an OCO's limit leg, which ends the other one."""
    legs = stage.order_list("oco")["orders"]
    best = {"timeInForce": "IOC", "quantity": "0.1", "price": "63000"}
    stage.exchange.place(SYMBOL, "BUY", "LIMIT", account="market", **best)
    return legs


def decided_oco(stage: Stage) -> object:
    """Query whether a decided OCO is open, and cancel its survivor."""
    half_filled_oco(stage)
    return len(stage.ask("GET", "/api/v3/openOrderList")), "orderReports" in stage.cancel_all()[0]


def survivor(stage: Stage) -> object:
    """Cancel the survivor of a decided OCO, both ways."""
    half_filled_oco(stage)
    row = stage.cancel_all()[0]
    stage.exchange.set_price(SYMBOL, 60_000)
    half_filled_oco(stage)
    alone = stage.cancel(origClientOrderId=stage.left()[0])
    assert row.keys() == alone.keys()
    return row["status"] if "status" in row else [leg["executedQty"] for leg in row["orderReports"]]


def released_oto(stage: Stage) -> object:
    """Fill the working leg of an OTO, and cancel the other."""
    stage.order_list("oto")
    stage.exchange.set_price(SYMBOL, 57_500)
    return len(stage.ask("GET", "/api/v3/openOrderList")), "orderReports" in stage.cancel_all()[0]


def between(stage: Stage) -> object:
    """Cancel three, and return what happened to them."""
    ids = [stage.limit(name, price) for name, price in (("a", 50_000), ("b", 51_000), ("c", 52_000))]
    reported = [row["orderId"] for row in stage.cancel_all()]
    told = [(order_id in reported, stage.query(orderId=order_id)["status"]) for order_id in ids]
    # A leg that is released in between goes with the rest.
    stage.exchange.set_price(SYMBOL, 60_000)
    stage.limit("a")
    stage.order_list("oto")
    assert len(stage.cancel_all()) == 2
    assert not stage.left()
    return told


def half_refused(stage: Stage) -> object:
    """Cancel three, and see what is left."""
    for name in ("a", "b", "c"):
        stage.limit(name)
    told = stage.cancel_all()
    return told if isinstance(told, tuple) else len(told), stage.left()


def stuck(stage: Stage) -> object:
    """Cancel orders of which one cannot be canceled, then that one."""
    while stage.limit("x") % 3 != 2:
        stage.cancel(origClientOrderId="x")
    stage.cancel(origClientOrderId="x")
    ids = [stage.limit("stuck"), stage.limit("free")]
    told = stage.cancel_all()
    told = told if isinstance(told, tuple) else {ids.index(row["orderId"]): row["status"] for row in told}
    left = stage.left()
    again = stage.cancel(orderId=ids[0])
    return told, left, again[0] if isinstance(again, tuple) else again["status"]


def row_order(stage: Stage) -> object:
    """Cancel two orders around a list."""
    ids = [stage.limit("a"), stage.order_list("oco")["orders"][0]["orderId"], stage.limit("b")]
    rows = stage.cancel_all()
    legs = next(row["orderReports"] for row in rows if "orderReports" in row)
    found = [ids.index(row.get("orderId") or row["orders"][0]["orderId"]) for row in rows]
    return found, legs[0]["orderId"] < legs[1]["orderId"]


def list_time(stage: Stage) -> object:
    """Return which time a canceled list has."""
    placed = stage.order_list("oco")["transactionTime"]
    stage.advance(1)
    row = stage.cancel_all()[0]
    return {placed: "placement", row["orderReports"][0]["transactTime"]: "cancel"}[row["transactionTime"]]


def order_reports(stage: Stage) -> object:
    """Cancel an OTO whose working leg is filled."""
    stage.order_list("oto")
    stage.exchange.set_price(SYMBOL, 57_500)
    one = [leg["status"] for leg in stage.cancel_all()[0]["orderReports"]]
    stage.exchange.set_price(SYMBOL, 60_000)
    stage.order_list("oco")
    return one, len(stage.cancel_all()[0]["orderReports"])


def leg_cancel_reply(stage: Stage) -> object:
    """Cancel the second leg of a list."""
    leg = stage.order_list("oco")["orders"][1]["orderId"]
    told = stage.cancel(orderId=leg)
    assert not stage.left()
    return len(told["orderReports"]) if "orderReports" in told else told["orderId"] == leg


def list_order_ids(stage: Stage) -> object:
    """Return whether a query of a canceled list has the ids that its legs were placed with."""
    own = stage.order_list("oco")["orders"]
    stage.cancel_all()
    return stage.ask("GET", LIST, origClientOrderId="oco")["orders"] == own


def open_rows(stage: Stage) -> object:
    """Return the order of three open orders."""
    ids = [stage.limit(name) for name in ("a", "b", "c")]
    return [ids.index(row["orderId"]) for row in stage.ask("GET", OPEN)]


def duplicates(stage: Stage) -> object:
    """Return the rows of a canceled list: how many reports in each, None for a flat one."""
    stage.order_list("oco")
    return [len(row["orderReports"]) if "orderReports" in row else None for row in stage.cancel_all()]


def list_form(stage: Stage) -> object:
    """Cancel a list; return which field has the own id, and whether its old id finds it."""
    own = stage.order_list("oco")["orders"][0]["clientOrderId"]
    leg = stage.cancel_all()[0]["orderReports"][0]
    found = stage.ask("GET", LIST, origClientOrderId="oco")
    return [name for name, value in leg.items() if value == own], found[0] if isinstance(found, tuple) else found[
        "listClientOrderId"
    ]


def neutral_fields(stage: Stage) -> object:
    """Return the conditional fields of a report on an order that has none."""
    stage.limit("a")
    report = stage.cancel_all()[0]
    return {name: report.get(name) for name in ("stopPrice", "icebergQty", "trailingDelta", "trailingTime")}


def older_fields(stage: Stage) -> object:
    """Return which of the newer fields are there, in a query and in a report."""
    newer = ("orderListId", "origQuoteOrderQty", "selfTradePreventionMode", "transactTime", "workingTime")
    stage.limit("a")
    row, report = stage.ask("GET", OPEN, symbol=SYMBOL)[0], stage.cancel_all()[0]
    return [sum(name in each for name in newer) for each in (row, report)]


def opo_quantity(stage: Stage) -> object:
    """Return the quantity of an OPO's pending leg, in each kind of reply."""
    legs = stage.ask("POST", f"{LIST}/opo", symbol=SYMBOL, **LISTS["opo"])["orderReports"]
    rows = [legs[1], stage.ask("GET", OPEN)[1], stage.cancel_all()[0]["orderReports"][1]]
    return [row.get("origQty", "absent") for row in rows]


def quoted(stage: Stage) -> object:
    """Return the types of ids and times."""
    order_id = stage.limit("a")
    row = stage.ask("GET", OPEN)[0]
    report = stage.cancel(orderId=order_id)
    assert {int(row["orderId"]), int(report["orderId"])} == {int(order_id)}
    return type(row["orderId"]), type(report["orderListId"]), type(report["transactTime"])


def extra_fields(stage: Stage) -> object:
    """Return the undocumented fields of reports, lists and queries."""
    stage.order_list("oco")
    row, report = stage.ask("GET", OPEN)[0], stage.cancel_all()[0]
    unknown = [each.keys() & {"rebateRate", "routing"} for each in (row, report, *report["orderReports"])]
    return [sorted(names) for names in unknown]


def decimals(stage: Stage) -> object:
    """Return two amounts, one of which needs all its digits, and a zero."""
    stage.exchange.place("ETHBTC", "BUY", "LIMIT", timeInForce="GTC", quantity="12.345", price="0.03001")
    stage.exchange.place("ETHBTC", "SELL", "LIMIT", account="market", timeInForce="IOC", quantity="1", price="0.03001")
    row = stage.ask("GET", OPEN)[0]
    return [row[name] for name in ("origQty", "price", "stopPrice")]


def ids(stage: Stage) -> object:
    """Return whether ids start low."""
    # Without ids of one's own: those go with numbers that were never given out.
    order_id = stage.client.limit("BUY", "50000").body["orderId"]
    told = stage.exchange.place_list("oco", SYMBOL, **LISTS["oco"])
    return order_id < 1000, told["orderListId"] == 0  # quotes take order ids too


def canceled_query(stage: Stage) -> object:
    """Return which id a query of a canceled order shows, and which ones find it."""
    order_id = stage.limit("own")
    stage.cancel(orderId=order_id, newClientOrderId="cancel")
    by = [stage.query(origClientOrderId=each) for each in ("own", "cancel")]
    both = [stage.query(orderId=order_id, origClientOrderId=each) for each in ("own", "cancel")]
    finds = [or_code(each, "found") for each in (*by, *both)]
    return stage.query(orderId=order_id)["clientOrderId"], finds


def open_status(stage: Stage) -> object:
    """Return the status of an open order."""
    order_id = stage.limit("a")
    assert [row["status"] for row in stage.exchange.open_orders()] == ["NEW"]
    return stage.ask("GET", OPEN)[0]["status"], stage.query(orderId=order_id)["status"]


def pending_listed(stage: Stage) -> object:
    """Return the statuses of an OTO's legs among the open orders, before its release and after."""
    stage.order_list("oto")
    before = [row["status"] for row in stage.ask("GET", OPEN)]
    stage.exchange.set_price(SYMBOL, 57_500)
    return before, [row["status"] for row in stage.ask("GET", OPEN)]


def released_time(stage: Stage) -> object:
    """Return whether a released leg has the time of its release."""
    stage.order_list("oto")
    stage.advance(5)
    stage.exchange.set_price(SYMBOL, 57_500)
    row = stage.ask("GET", OPEN)[0]
    return row["time"] == row["updateTime"]


def archived(stage: Stage) -> object:
    """Query an order canceled after 80 days, 20 days later, and one that is open."""
    old = stage.limit("old")
    stage.advance(80 * DAY)
    stage.cancel(orderId=old)
    stage.advance(20 * DAY)
    found = [stage.query(orderId=each) for each in (old, stage.limit("new"))]
    return [each[0] if isinstance(each, tuple) else each["status"] for each in found]


def list_expiry_reason(stage: Stage) -> object:
    """Return the reasons of a decided OCO's legs, as queries of the list show them."""
    half_filled_oco(stage)
    shown = stage.ask("GET", LIST, origClientOrderId="oco"), stage.ask("GET", "/api/v3/allOrderList")[0]
    assert shown[0] == shown[1]
    return [leg.get("expiryReason") for leg in shown[0]["orders"]]


def exchange_filters(stage: Stage) -> object:
    """Return whether the exchange's filters are listed."""
    return bool(stage.client.public("/api/v3/exchangeInfo").body["exchangeFilters"])


UNKNOWN = "Unknown order sent."
REJECTED = (-2011, "CANCEL_REJECTED")
TEXTS = {
    text: (-2011, text) for text in (UNKNOWN, "UNKNOWN_ORDER", "CANCEL_REJECTED", "Order was canceled or expired.")
}
OPENED, ENDED = (True, "CANCELED"), (False, "FILLED")
NEUTRAL = {"stopPrice": "0.00000000", "icebergQty": "0.00000000", "trailingDelta": None, "trailingTime": None}
SCENES: dict[str, tuple[Callable[[Stage], object], Mapping[Any, object]]] = {
    "unknown_order_text": (unknown_order, TEXTS),
    "unknown_list_text": (unknown_list, TEXTS | {"Unknown order list sent.": (-2011, "Unknown order list sent.")}),
    "nothing_open_text": (nothing_open, TEXTS),
    "nothing_open": (nothing_open, {"refused": (-2011, UNKNOWN), "empty": []}),
    "unknown_code": (all_unknown, {-2011: [-2011] * 3, -1013: [-1013] * 3}),
    "mismatch_code": (mismatch, {code: [code] * 3 for code in (-2011, -2039, -1102)}),
    "neither_id_code": (neither_id, {code: [code] * 4 for code in (-1102, -1128)}),
    "unknown_list_code": (unknown_list_query, {code: (code, "Order list does not exist.") for code in (-2013, -2011)}),
    "lower_case_symbol": (lower_case, {-1100: -1100, -1121: -1121}),
    "closed_cancel": (
        closed,
        {"accepted": 1, "-1013": (-1013, "Market is closed."), "-2011": (-2011, "Market is closed.")},
    ),
    "refusal_status": (refusal_status, {status: [status] * 2 for status in (400, 404, 422)}),
    "key_status": (bad_key, {401: [400, 401], 400: [400, 400]}),
    "server_error_status": (
        server_errors,
        {"split": [500, 504, 503], "500": [500] * 3, "503": [503] * 3, "400": [400] * 3},
    ),
    "list_from_id": (from_id_and_times, {"refused": -1128, "from_id_ignored": 1}),
    "default_stp": (
        own_trade,
        {
            "NONE": ("NONE", ["FILLED", "FILLED"]),
            "EXPIRE_MAKER": ("EXPIRE_MAKER", ["EXPIRED_IN_MATCH", "NEW"]),
            "EXPIRE_TAKER": ("EXPIRE_TAKER", ["NEW", "EXPIRED_IN_MATCH"]),
            "EXPIRE_BOTH": ("EXPIRE_BOTH", ["EXPIRED_IN_MATCH"] * 2),
            "DECREMENT": ("DECREMENT", ["EXPIRED_IN_MATCH"] * 2),
        },
    ),
    "trailing_start": (trailing_start, {"last_price": True, "next_trade": False}),
    "trigger_sequence": (trigger_sequence, {"ascending": True, "descending": False}),
    "iceberg_refill": (iceberg_refill, {"queues_again": "FILLED", "keeps_place": "NEW"}),
    "closed_placement_code": (closed_placement, {code: (code, "Market is closed.") for code in (-1013, -2010)}),
    "list_response": (list_response, {"RESULT": [True, False], "ACK": [False, False], "FULL": [True, True]}),
    "cancel_ids": (cancel_ids, {"one": [0, 0, 0, 0], "each_row": [0, 1, 2, 2], "each_report": [0, 1, 2, 3]}),
    "pending_ends": (pending_leg, {each: ["CANCELED", each, each] for each in ("CANCELED", "EXPIRED")}),
    "oco_done": (decided_oco, {"decided": (0, False), "ended": (1, True)}),
    "oto_done": (released_oto, {"ended": (1, True), "released": (0, False)}),
    "atomicity": (between, {"one_step": [OPENED] * 3, "fill_between": [OPENED, OPENED, ENDED]}),
    "partial_refusal": (
        half_refused,
        {
            "all_or_nothing": (3, []),
            "after_some": (REJECTED, ["c"]),
            "unknown_after_some": ((-2011, UNKNOWN), ["c"]),
        },
    ),
    "uncancelable": (
        stuck,
        {
            "none": ({0: "CANCELED", 1: "CANCELED"}, [], -2011),
            "left_out": ({1: "CANCELED"}, ["stuck"], -2011),
            "reported_open": ({0: "NEW", 1: "CANCELED"}, ["stuck"], "NEW"),
            "call_refused": (REJECTED, ["stuck", "free"], -2011),
        },
    ),
    "row_order": (
        row_order,
        {
            "ascending": ([0, 1, 2], True),
            "descending": ([2, 1, 0], True),
            "lists_first": ([1, 0, 2], True),
            "shuffled": ([1, 2, 0], False),
        },
    ),
    "list_time": (list_time, {"cancel": "cancel", "placement": "placement"}),
    "order_reports": (
        order_reports,
        {
            "canceled_now": (["CANCELED"], 2),
            "all_legs": (["FILLED", "CANCELED"], 2),
            "first_leg": (["CANCELED"], 1),
        },
    ),
    "done_list_leg": (survivor, {"flat": "CANCELED", "in_list": ["0.10000000"]}),
    "leg_cancel_reply": (leg_cancel_reply, {"list": 2, "leg": True}),
    "duplicate_report": (duplicates, {"once": [2], "flat_too": [2, None], "flat_only": [None, None]}),
    "list_cancel_form": (
        list_form,
        {
            "rest": (["origClientOrderId"], "oco"),
            "websocket": (["clientOrderId"], "oco"),
            "list_id_replaced": (["origClientOrderId"], -2013),
        },
    ),
    "zero_fields": (
        neutral_fields,
        {
            "absent": dict.fromkeys(NEUTRAL),
            "zero": NEUTRAL,
            "neutral": NEUTRAL | {"trailingDelta": 0, "trailingTime": -1},
        },
    ),
    "older_fields": (older_fields, {"present": [4, 4], "absent": [0, 0]}),
    "opo_pending_quantity": (
        opo_quantity,
        {"absent": ["absent"] * 3, "zero": ["0.00000000"] * 3, "null": [None] * 3},
    ),
    "quoted_ids": (quoted, {"numbers": (int, int, int), "ids": (str, str, int), "ids_and_times": (str, str, str)}),
    "extra_fields": (
        extra_fields,
        {"none": [[]] * 4, "flat": [["rebateRate"]] * 4, "nested": [["routing"]] * 4},
    ),
    "decimals": (
        decimals,
        {
            "eight": ["12.34500000", "0.03001000", "0.00000000"],
            "six": ["12.345000", "0.030010", "0.000000"],
            "trimmed": ["12.345", "0.03001", "0"],
        },
    ),
    "list_ids": (ids, {"seeded": (False, False), "from_zero": (False, True)}),
    "order_ids": (ids, {"seeded": (False, False), "from_zero": (True, False)}),
    "cancel_id_in_queries": (
        canceled_query,
        {"cancel_id": ("cancel", ["found"] * 4), "own_id": ("own", ["found", -2013, "found", -2039])},
    ),
    "old_id_lookup": (
        canceled_query,
        {"found": ("cancel", ["found"] * 4), "not_found": ("cancel", [-2013, "found", -2039, "found"])},
    ),
    "list_order_ids": (list_order_ids, {"own_id": True, "cancel_id": False}),
    "open_rows": (open_rows, {"ascending": [0, 1, 2], "newest_first": [2, 1, 0], "shuffled": [1, 2, 0]}),
    "open_status": (
        open_status,
        {
            "documented": ("NEW", "NEW"),
            "PENDING_CANCEL": ("PENDING_CANCEL", "PENDING_CANCEL"),
            "made_up": ("PARKED", "PARKED"),
        },
    ),
    "pending_listed": (
        pending_listed,
        {"at_once": (["NEW", "PENDING_NEW"], ["NEW"]), "when_released": (["NEW"], ["NEW"])},
    ),
    "released_time": (released_time, {"placement": False, "release": True}),
    "archive_from": (
        archived,
        {"ending": ["CANCELED", "NEW"], "creation": [-2026, "NEW"], "live": ["CANCELED", -2026]},
    ),
    "list_expiry_reason": (list_expiry_reason, {"absent": [None, None], "in_orders": ["OCO_TRIGGER", None]}),
    "exchange_filters": (exchange_filters, {"listed": True, "empty": False}),
    "answer_ids": (
        lambda stage: "X-MBX-UUID" in stage.client.public("/api/v3/time").headers,
        {"each": True, "absent": False},
    ),
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, (_, expected) in SCENES.items() for value in expected]
)
def test_each_value_makes_its_difference(client: Client, exchange: LocalExchange, name: str, value: str | int) -> None:
    """The scene of a field has the result of this value."""
    choice: dict[str, Any] = {name: value}
    exchange.reset(dialect=Dialect(**choice))
    exchange.set_price(SYMBOL, 60_000)
    scene, expected = SCENES[name]
    assert scene(Stage(client, exchange)) == expected[value]


def test_no_value_is_left_out() -> None:
    """Each value of these fields has its scene."""
    for field in fields(Dialect):
        if field.name in SCENES:
            assert set(SCENES[field.name][1]) == set(field.metadata["values"])


@pytest.mark.parametrize("seed", range(20))
def test_any_mixture_of_values_is_served(client: Client, exchange: LocalExchange, seed: int) -> None:
    """Whatever the values of all fields: no call causes an error in the exchange, and nothing stays locked."""
    chance = Random(seed)  # noqa: S311 - no secret
    exchange.reset(dialect=Dialect(**{each.name: chance.choice(each.metadata["values"]) for each in fields(Dialect)}))
    exchange.seed_orders()
    stage = Stage(client, exchange)
    for kind in LISTS:
        stage.order_list(kind)
    stage.exchange.set_price(SYMBOL, stage.exchange.last_price(SYMBOL) // 100 * 96)
    leg = chance.choice(exchange.open_orders(SYMBOL))
    calls = [("DELETE", ORDER, {"symbol": SYMBOL, "orderId": leg["orderId"]})]
    calls += [("DELETE", LIST, {"symbol": SYMBOL, "listClientOrderId": kind}) for kind in LISTS]
    calls += [("GET", ORDER, {"symbol": SYMBOL, "orderId": row["orderId"]}) for row in exchange.open_orders(SYMBOL)]
    calls += [("GET", OPEN, {}), ("GET", "/api/v3/allOrders", {"symbol": SYMBOL}), ("GET", "/api/v3/allOrderList", {})]
    chance.shuffle(calls)
    for method, path, params in [*calls, *[("DELETE", OPEN, {"symbol": SYMBOL})] * 5, *calls]:
        assert client.signed(method, path, headers=None, **params).status < 500
    left = exchange.open_orders(SYMBOL)
    locked = {name: balance.locked for name, balance in exchange._engine.account("main").balances.items()}
    assert left or not locked["BTC"]
    assert exchange.dialect.uncancelable != "none" or not left
