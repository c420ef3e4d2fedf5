"""Dialects: what the exchange does where the API's documentation is silent or contradicts itself.

Each choice is a field of `Dialect`, whose values are all behaviours that a client may meet. RULES.md beside this file
says under the field's rule what is documented, what each value does, and why the default is what it is.
"""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass, field, fields
from functools import cached_property
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


MAX_SECONDS = 86_400
Field = Any  # to type checkers, what `dataclasses.field` returns is the field's value


def _choice(rule_name: str, *values: str | int) -> Field:
    return field(default=values[0], metadata={"rule": rule_name, "values": values})


def _seconds(rule_name: str, *values: float) -> Field:
    """Return a field that takes any number of seconds; `values` are examples, and a negative one allows negatives."""
    most = MAX_SECONDS if min(values) < 0 else 0
    return field(default=values[0], metadata={"rule": rule_name, "values": values, "seconds": (-most, MAX_SECONDS)})


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """One way for the exchange to behave: a value for each choice, by default the first.

    ``dataclasses.fields(Dialect)`` gives all of them: ``metadata["values"]`` are the behaviours of a field, and
    ``metadata["rule"]`` is its heading in RULES.md. A field with ``metadata["seconds"]`` takes any number between those
    two, so that tests need not wait long.

    Raises
    ------
    ValueError
        If a value is not one of its field's.
    """

    # Refusals.
    unknown_order_text: str = _choice(
        "unknown-order-text",
        "Unknown order sent.",
        "UNKNOWN_ORDER",
        "CANCEL_REJECTED",
        "Order was canceled or expired.",
    )
    unknown_list_text: str = _choice(
        "unknown-list-text",
        "Unknown order sent.",
        "Unknown order list sent.",
        "UNKNOWN_ORDER",
        "CANCEL_REJECTED",
        "Order was canceled or expired.",
    )
    nothing_open_text: str = _choice(
        "nothing-open-text",
        "Unknown order sent.",
        "UNKNOWN_ORDER",
        "CANCEL_REJECTED",
        "Order was canceled or expired.",
    )
    nothing_open: str = _choice("nothing-open", "refused", "empty")
    unknown_code: int = _choice("unknown-code", -2011, -1013)
    neither_id_code: int = _choice("neither-id-code", -1102, -1128)
    mismatch_code: int = _choice("mismatch-code", -2011, -2039, -1102)
    unknown_list_code: int = _choice("unknown-list-code", -2013, -2011)
    lower_case_symbol: int = _choice("lower-case-symbol", -1100, -1121)
    closed_cancel: str = _choice("closed-cancel", "accepted", "-1013", "-2011")
    refusal_status: int = _choice("refusal-status", 400, 404, 422)
    key_status: int = _choice("key-status", 401, 400)
    server_error_status: str = _choice("server-error-status", "split", "500", "503", "400")
    list_from_id: str = _choice("list-from-id", "refused", "from_id_ignored")

    # What the market does.
    default_stp: str = _choice("default-stp", "NONE", "EXPIRE_MAKER", "EXPIRE_TAKER", "EXPIRE_BOTH", "DECREMENT")
    trailing_start: str = _choice("trailing-start", "last_price", "next_trade")
    trigger_sequence: str = _choice("trigger-sequence", "ascending", "descending")
    iceberg_refill: str = _choice("iceberg-refill", "queues_again", "keeps_place")
    closed_placement_code: int = _choice("closed-placement-code", -1013, -2010)
    list_response: str = _choice("list-response", "RESULT", "ACK", "FULL")

    # What a cancel does.
    cancel_ids: str = _choice("cancel-ids", "one", "each_row", "each_report")
    pending_ends: str = _choice("pending-ends", "CANCELED", "EXPIRED")
    oco_done: str = _choice("oco-done", "decided", "ended")
    oto_done: str = _choice("oto-done", "ended", "released")
    atomicity: str = _choice("atomicity", "one_step", "fill_between")
    partial_refusal: str = _choice("partial-refusal", "all_or_nothing", "after_some", "unknown_after_some")
    uncancelable: str = _choice("uncancelable", "none", "left_out", "reported_open", "call_refused")

    # How a cancel is reported.
    row_order: str = _choice("row-order", "ascending", "descending", "lists_first", "shuffled")
    list_time: str = _choice("list-time", "cancel", "placement")
    order_reports: str = _choice("order-reports", "canceled_now", "all_legs", "first_leg")
    done_list_leg: str = _choice("done-list-leg", "flat", "in_list")
    leg_cancel_reply: str = _choice("leg-cancel-reply", "list", "leg")
    duplicate_report: str = _choice("duplicate-report", "once", "flat_too", "flat_only")
    list_cancel_form: str = _choice("list-cancel-form", "rest", "websocket", "list_id_replaced")
    zero_fields: str = _choice("zero-fields", "absent", "zero", "neutral")
    older_fields: str = _choice("older-fields", "present", "absent")
    opo_pending_quantity: str = _choice("opo-pending-quantity", "absent", "zero", "null")
    answer_ids: str = _choice("answer-ids", "each", "absent")
    quoted_ids: str = _choice("quoted-ids", "numbers", "ids", "ids_and_times")
    extra_fields: str = _choice("extra-fields", "none", "flat", "nested")
    decimals: str = _choice("decimals", "eight", "six", "trimmed")
    list_ids: str = _choice("list-ids", "seeded", "from_zero")
    order_ids: str = _choice("order-ids", "seeded", "from_zero")

    # What queries show.
    cancel_id_in_queries: str = _choice("cancel-id-in-queries", "cancel_id", "own_id")
    old_id_lookup: str = _choice("old-id-lookup", "found", "not_found")
    list_order_ids: str = _choice("list-order-ids", "own_id", "cancel_id")
    open_rows: str = _choice("open-rows", "ascending", "newest_first", "shuffled")
    open_status: str = _choice("open-status", "documented", "PENDING_CANCEL", "made_up")
    pending_listed: str = _choice("pending-listed", "at_once", "when_released")
    released_time: str = _choice("released-time", "placement", "release")
    archive_from: str = _choice("archive-from", "ending", "creation", "live")
    list_expiry_reason: str = _choice("list-expiry-reason", "absent", "in_orders")
    exchange_filters: str = _choice("exchange-filters", "empty", "listed")

    # When reads and clocks are right.
    engine_tail: float = _seconds("engine-tail", 0, 2, 60)
    engine_clock: float = _seconds("engine-clock", 0, 3, -3)
    lag_memory: float = _seconds("lag-memory", 0, 1, 36)
    lag_database: float = _seconds("lag-database", 0, 5, 36)
    empty_memory: str = _choice("empty-memory", "empty", "database")
    replicas: float = _seconds("replicas", 0, 2, 36)
    torn_read: float = _seconds("torn-read", 0, 2, 36)
    forgetting: float = _seconds("forgetting", 0, 2, 1_800)
    all_orders_time: str = _choice("all-orders-time", "update", "creation")
    all_orders_sort: str = _choice("all-orders-sort", "order_id", "update_time")
    start_only_span: str = _choice("start-only-span", "unlimited", "day", "refused")

    # Keys and limits.
    key_reads: str = _choice("key-reads", "allowed", "refused")
    weight_refund: str = _choice("weight-refund", "before_answer", "after_answer", "never_counted")
    limit_order: str = _choice("limit-order", "limit_first", "ban_at_once")
    ban_status: int = _choice("ban-status", 418, 429)
    retry_after: str = _choice(
        "retry-after", "seconds", "zero", "fraction", "date", "missing", "negative", "absurd", "words"
    )
    ban_end: str = _choice("ban-end", "header_and_text", "header", "text")

    def __post_init__(self) -> None:
        for each in fields(self):
            allowed, value = each.metadata["values"], getattr(self, each.name)
            span = each.metadata.get("seconds")
            if value in allowed or (span and isinstance(value, (int, float)) and span[0] <= value <= span[1]):
                continue
            known = ", ".join(repr(value) for value in allowed)
            other = f", or another number of seconds from {span[0]} to {span[1]}" if span else ""
            raise ValueError(f"{each.name} must be one of {known}{other}")

    @classmethod
    def read(cls, settings: Iterable[str]) -> Dialect:
        """Return the dialect that differs from the default by these settings, each ``NAME=VALUE``.

        Raises
        ------
        ValueError
            If a name is unknown, or a value is not one of its field's.
        """
        known = {each.name: each.metadata for each in fields(cls)}
        chosen: dict[str, Any] = {}
        for setting in settings:
            name, _, word = setting.partition("=")
            if name not in known:
                raise ValueError(f"{setting}: write a dialect as NAME=VALUE, with NAME one of {', '.join(known)}")
            # An unknown word is passed on, so that the error names the values.
            chosen[name] = next((value for value in known[name]["values"] if str(value) == word), word)
            if "seconds" in known[name] and chosen[name] is word:
                with suppress(ValueError):
                    chosen[name] = float(word)
        return cls(**chosen)

    @cached_property
    def settings(self) -> dict[str, str | float]:
        """What differs from the default."""
        return {each.name: value for each in fields(self) if (value := getattr(self, each.name)) != each.default}
