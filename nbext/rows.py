"""What the exchange sent, order by order, before pandas is anywhere near."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OUTCOMES = ("canceled", "filled", "expired", "rejected", "archived", "open", "unknown")
"""What became of an order, as last proven. Before a cancel there is ``would_cancel``, too."""
FINAL = frozenset({"canceled", "filled", "expired", "rejected", "archived"})
"""The outcomes that nothing changes any more. An archived order was canceled or has expired; which, is not told."""

_ENDED = {
    "CANCELED": "canceled",
    "FILLED": "filled",
    "EXPIRED": "expired",
    "EXPIRED_IN_MATCH": "expired",
    "REJECTED": "rejected",
}
_OPEN = frozenset({"NEW", "PARTIALLY_FILLED", "PENDING_NEW"})


class Row(NamedTuple):
    """One order on its way into a frame.

    Attributes
    ----------
    order : Mapping
        The order's own fields, by wire name.
    order_list : Mapping or None
        The list it belongs to, as sent, where one was sent.
    outcome : str
        The order's state as last proven.
    """

    order: Mapping[str, Any]
    order_list: Mapping[str, Any] | None
    outcome: str


def from_reports(reports: Iterable[Mapping[str, Any]]) -> list[Row]:
    """Make rows of what a cancel answered, order lists expanded.

    Parameters
    ----------
    reports : iterable of Mapping
        Cancel reports, and order lists with ``orderReports``, in any mixture. Only the presence of ``orderReports``
        tells them apart (API docs, "Cancel All Open Orders on a Symbol").
    """
    rows = []
    for report in reports:
        if (legs := report.get("orderReports")) is None:
            rows.append(Row(report, None, outcome(report)))
        else:
            rows += [Row(leg, report, outcome(leg)) for leg in legs]
    return rows


def from_open_orders(
    orders: Iterable[Mapping[str, Any]], order_lists: Iterable[Mapping[str, Any]] = (), *, dry_run: bool = False
) -> list[Row]:
    """Make rows of orders as a query shows them, in the columns of a cancel.

    ``origClientOrderId`` is the order's own id, as in a cancel report; there is no cancel, so ``clientOrderId`` is
    missing.

    Parameters
    ----------
    orders : iterable of Mapping
        ``GET /api/v3/openOrders`` or ``GET /api/v3/order``.
    order_lists : iterable of Mapping
        ``GET /api/v3/openOrderList``; a list that is not among them leaves its columns missing.
    dry_run : bool
        Whether the outcome of what is open is ``would_cancel`` rather than ``open``.
    """
    by_id = {entry.get("orderListId"): entry for entry in order_lists}
    rows = []
    for order in orders:
        own = {"origClientOrderId" if name == "clientOrderId" else name: value for name, value in order.items()}
        state = "open" if order.get("status") in _OPEN else outcome(order)
        state = "would_cancel" if dry_run and state == "open" else state
        list_id = order.get("orderListId", -1)
        rows.append(Row(own, by_id.get(list_id) if isinstance(list_id, int) else None, state))
    return rows


def outcome(order: Mapping[str, Any]) -> str:
    """Say what an order's status proves: ``canceled``, ``filled``, ``expired``, ``rejected``, or ``unknown``.

    An open status proves nothing here: whether an order is still open after a cancel depends on when it was read.
    """
    status = order.get("status")
    return _ENDED.get(status, "unknown") if isinstance(status, str) else "unknown"


def legs_without_report(reports: Iterable[Mapping[str, Any]]) -> int:
    """Count the orders that lists name without reporting on them: they had ended before the cancel."""
    count = 0
    for report in reports:
        if (reports_of_legs := report.get("orderReports")) is not None:
            reported = [leg.get("orderId") for leg in reports_of_legs]
            count += sum(leg.get("orderId") not in reported for leg in named_legs(report))
    return count


def named_legs(order_list: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Give the ``orders`` of a list, each with its ids; empty where there are none of that form."""
    legs = order_list.get("orders")
    return [leg for leg in legs if isinstance(leg, dict)] if isinstance(legs, list) else []
