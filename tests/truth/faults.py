"""What goes wrong in a round: the exchange's repertoire, and the proxy's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .proxy import LISTINGS, MANGLING, Mishap

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from nbext.exchange.api.faults import Faults

HALF = 0.5


def _answers(faults: Faults, chance: Random, which: dict[str, Any], name: str) -> None:
    """Make answers break off, drip, or say that nothing was let in."""
    if name == "truncate":
        faults.truncate(**which, size=chance.choice([0, 20, 200]))
    elif name == "drip":
        faults.drip(**which, seconds=0.1, size=chance.choice([100, 300, 1000]))
    elif name == "firewall":
        faults.firewall(**which, echo=chance.random() < HALF)
    else:
        faults.unavailable(**which)


def _waits(faults: Faults, chance: Random, which: dict[str, Any], name: str) -> None:
    which["times"] = 1
    if name == "limit":
        faults.limit(**which, retry_after=chance.choice([1, 11, None]))
    else:
        faults.ban(**which, retry_after=chance.choice([1, 120, None]))


def _late(faults: Faults, chance: Random, which: dict[str, Any], name: str) -> None:
    call = faults.answer_late if name == "answer_late" else faults.execute_late
    call(**which, seconds=chance.choice([0.1, 0.45, 0.55, 0.7]))


def _lost(faults: Faults, chance: Random, which: dict[str, Any], name: str) -> None:
    after = chance.random() < HALF
    if name == "lose_answer":
        faults.lose_answer(**which, late=chance.choice([0.0, 0.0, 0.1, 0.5]))
    elif name == "reset":
        faults.lose_answer(**which, reset=True, after_executing=after, delay=chance.choice([0.0, 0.3]))
    else:
        faults.lose_answer(**which, after_executing=after and name != "lose_answer_before")


def _failed(faults: Faults, chance: Random, which: dict[str, Any], name: str) -> None:
    """Answer 5XX: with a code of the exchange, having executed or not, or with something else."""
    after = chance.random() < HALF
    if name == "fail before":
        faults.fail(**which, code=chance.choice([-1000, -1001, -1006, -1007, -1008]), after_executing=False)
    elif name.startswith("fail"):
        faults.fail(**which, code=int(name.removeprefix("fail ")), late=chance.choice([0.0, 0.2]))
    else:
        page = "" if name == "500 empty" else "<html>bad gateway</html>"
        faults.fail(**which, code=-1000, status=int(name[:3]), body=page, after_executing=after)


def _reads(faults: Faults, chance: Random, which: dict[str, Any], name: str) -> None:
    """Lose answers, and let what is read afterwards fail or lag, too."""
    if name.startswith("lag"):
        faults.lag = chance.choice([0.1, 0.2])
    if name == "lag":
        return
    if name == "many losses":
        for _ in range(6):
            lose = faults.lose_answer if chance.random() < HALF else faults.fail
            lose("DELETE", "*", after_executing=chance.random() < HALF)
        return
    faults.lose_answer(**which, after_executing=chance.random() < HALF)
    if name == "loss and reads":
        spoil_read = faults.fail if chance.random() < HALF else faults.truncate
        spoil_read("GET", "*", times=chance.choice([1, 3, None]))


_MAKERS: dict[str, Callable[[Faults, Random, dict[str, Any], str], None]] = {
    **dict.fromkeys(["lose_answer", "lose_answer_before", "reset", "skew and loss"], _lost),
    **dict.fromkeys(["fail -1006", "fail -1007", "fail -1008", "fail before", "502", "500 empty"], _failed),
    **dict.fromkeys(["truncate", "drip", "firewall", "unavailable"], _answers),
    **dict.fromkeys(["limit", "ban"], _waits),
    **dict.fromkeys(["answer_late", "execute_late"], _late),
    **dict.fromkeys(["lag", "lag and loss", "loss and reads", "many losses"], _reads),
    "skew": lambda *_: None,  # set before the orders are placed
}
FAULTS = (*_MAKERS, "limit", "ban")  # these two oftener: most of them end in what others end in, too
MISHAPS: tuple[str, ...] = (
    *("proxy_drops_request", "proxy_cuts_request", "proxy_delays_request", "proxy_cuts_reply", "proxy_delays_reply"),
    *("proxy_drips_reply", "proxy_page_before", "proxy_page_after", "proxy_interim", "proxy_interim"),
    *("proxy_doubles_reply", "proxy_doubles_later", *MANGLING),
)


def spoil(faults: Faults, name: str, chance: Random) -> None:
    """Let something go wrong at the exchange."""
    if name in _MAKERS:
        _MAKERS[name](faults, chance, {"method": "DELETE", "path": "*", "times": chance.choice([1, 1, 1, 2, 5])}, name)


def mishap(name: str, chance: Random) -> Mishap:
    """Make up what the proxy does."""
    seconds = {
        "proxy_doubles_later": chance.choice([0.0, 0.005, 0.05]),
        "proxy_delays_request": chance.choice([0.1, 0.45, 0.55, 0.7]),
        "proxy_drips_reply": 0.1,
    }
    method = chance.choice(["DELETE", "DELETE", "DELETE", "*"])
    made = Mishap(
        name,
        "GET" if name in LISTINGS else method,
        share=chance.choice([0.0, 0.02, 0.3, 0.7, 0.99]),
        seconds=seconds.get(name, chance.choice([0.1, 0.6])),
        reset=chance.random() < HALF,
        times=chance.choice([1, 1, 1, 2, 5]),
        executes=chance.random() < HALF,
        count=chance.randrange(4),
    )
    if name in LISTINGS:  # a call reads several lists, of which one alone may matter
        made.times, made.count = 5, max(made.count, 1)
    return made
