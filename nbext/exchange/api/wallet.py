"""What clients ask for outside ``/api`` when they start: coins, fees, rights, margin (rule: wallet-replies)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nbext.exchange.engine.symbols import text
from nbext.exchange.engine.tickets import ZERO

if TYPE_CHECKING:
    from collections.abc import Callable

    from nbext.exchange.api.admission import Call
    from nbext.exchange.api.replies import Report
    from nbext.exchange.engine.engine import Engine

NOTHING = text(ZERO)
# What a key may be allowed elsewhere. Here are no withdrawals, no margin, no futures and no FIX.
MISSING_RIGHTS = (
    "enableWithdrawals",
    "enableInternalTransfer",
    "enableMargin",
    "enableFutures",
    "permitsUniversalTransfer",
    "enableVanillaOptions",
    "enableFixApiTrade",
    "enableFixReadOnly",
    "enablePortfolioMarginTrading",
)


class Wallet:
    """Answers them truthfully: nothing comes in or goes out, and there is no margin.

    Parameters
    ----------
    engine : Engine
        The engine behind it.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.calls: dict[str, Callable[[Call], Report | list[Report]]] = {
            "coins": self._coins,
            "tradeFee": self._fees,
            "marginPairs": lambda _: [],
            "isolatedPairs": lambda _: [],
            "delistSchedule": lambda _: [],
            "systemStatus": lambda _: {"status": 0, "msg": "normal"},
            "keyRights": _rights,
        }

    def _coins(self, call: Call) -> list[Report]:
        return [
            {
                "coin": asset,
                "depositAllEnable": False,
                "withdrawAllEnable": False,
                "name": asset,
                "free": text(balance.free),
                "locked": text(balance.locked),
                "freeze": NOTHING,
                "withdrawing": NOTHING,
                "ipoing": NOTHING,
                "ipoable": NOTHING,
                "storage": NOTHING,
                "isLegalMoney": False,
                "trading": True,
                "networkList": [],
            }
            for asset, balance in self._engine.account(call.account).balances.items()
        ]

    def _fees(self, call: Call) -> list[Report]:
        account = self._engine.account(call.account)
        named = call.params.get("symbol")
        symbols = list(self._engine.symbols) if named is None else [self._engine.symbol(str(named)).name]
        rates = {"makerCommission": text(account.maker_rate), "takerCommission": text(account.taker_rate)}
        return [{"symbol": symbol, **rates} for symbol in symbols]


def _rights(call: Call) -> Report:
    return {
        "ipRestrict": False,
        "enableReading": True,
        "enableSpotAndMarginTrading": call.can_trade,
        **dict.fromkeys(MISSING_RIGHTS, False),
    }
