"""A rehearsal from start to end: refuse what is live, play, compare, clean up, report."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from nbext import profiles
from nbext.base_url import is_loopback
from nbext.errors import NbextError
from nbext.rehearsal import report
from nbext.rehearsal.claims import PATIENCE, Claims
from nbext.rehearsal.findings import Unplayable
from nbext.rehearsal.hands import PREFIX, Hands
from nbext.rehearsal.play import play
from nbext.rehearsal.probes import Probes
from nbext.rehearsal.probes_rules import NOT_SEEN
from nbext.spot.client import SpotClient
from nbext.untrusted import encodable, printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from nbext.profiles import Endpoint
    from nbext.rehearsal.findings import Difference

SYMBOLS = ("BTCUSDT", "ETHUSDT", "BNBUSDT")
"""Where no symbol is named: the first of these that trades, and has no open orders of the account."""
FILE = "rehearsal.json"
_PRINT = partial(print, flush=True)
# What only the practice exchange answers to a path that it does not have (nbext/exchange/RULES.md, unserved-paths).
_UNSERVED = "/api/v3/rehearsal"
_SAYS_SO = b"This practice exchange does not serve"
# What comes of an answer that has another form than documented.
_NOT_UNDERSTOOD = (LookupError, TypeError, ValueError, ArithmeticError, AttributeError)


def rehearse(
    profile: str | None = None,
    symbol: str | None = None,
    path: str | Path = FILE,
    *,
    say: Callable[[str], None] = _PRINT,
    patience: float = PATIENCE,
) -> int:
    """Play everything that nbext promises against a practice exchange, compare, and clean up.

    Parameters
    ----------
    profile : str, optional
        As for `nbext.cancel_all`, but nothing that is live.
    symbol : str, optional
        By default one of `SYMBOLS`.
    path : str or Path
        Where to write what was found, as JSON.
    say : callable
        Takes each line for the user.
    patience : float
        For how many seconds the exchange's records are read again, where they contradict.

    Returns
    -------
    int
        0 if all claims held, 1 if one did not, 2 if not everything could be played.
    """
    try:
        endpoint = profiles.resolve(profile)
        _refuse_live(endpoint)
    except (NbextError, Unplayable) as error:
        say(encodable(printable(f"Cannot be played: {error}")))
        return 2
    clean = report.Scrubber(endpoint.credential)

    def say_clean(line: str) -> None:
        say(encodable(printable(clean(line))))

    with Hands(endpoint, symbol or SYMBOLS[0], say_clean) as hands, _terminated_as_interrupted():
        rehearsal = _Rehearsal(hands, Claims(hands, patience), say_clean)
        rehearsal.run([symbol] if symbol else SYMBOLS)
        return rehearsal.conclude(Path(path), clean)


class _Rehearsal:
    """One rehearsal, and what it has found so far."""

    def __init__(self, hands: Hands, claims: Claims, say: Callable[[str], None]) -> None:
        self._hands, self._claims, self._say = hands, claims, say
        self._probes = Probes(hands)
        self._differences: list[Difference] = []
        self._left: list[str] = []
        self._problem = ""

    def run(self, symbols: Sequence[str]) -> None:
        """Play, look for differences, and clean up, however that ends."""
        try:
            try:
                self._step(self._play, symbols)
                if self._hands.info.get("status") == "TRADING":
                    self._step(self._look_for_differences)
            except KeyboardInterrupt:
                self._say("Interrupted: canceling what was placed. Interrupt again to stop that.")
                raise
            finally:
                if self._hands.has_placed:
                    self._left = [f"orders whose client id begins with {self._hands.prefix}"]
                    self._clean_up()
        except KeyboardInterrupt:
            self._problem = "interrupted"

    def _step(self, step: Callable[..., None], *arguments: object) -> None:
        """Take a step; what keeps it from its end does not keep the next from being taken."""
        try:
            step(*arguments)
        except (Unplayable, NbextError) as error:
            self._problem = self._problem or str(error)
        except _NOT_UNDERSTOOD as error:
            self._problem = self._problem or f"an answer was not understood ({type(error).__name__}: {error})"

    def _play(self, symbols: Sequence[str]) -> None:
        hands, client = self._hands, self._hands.client
        self._choose(symbols)
        self._note(self._probes.first())
        self._say(f"rehearsing on {hands.symbol}, {client.profile} ({client.host}), as {hands.prefix}…")
        for told in play(hands):
            self._say(str(told))
            self._claims.check(told)

    def _choose(self, symbols: Sequence[str]) -> None:
        """Take the first symbol that can be played without others' orders on it, else the first that can be played."""
        hands = self._hands
        problem: Unplayable | None = None
        playable = []
        for symbol in symbols:
            hands.symbol = symbol
            try:
                hands.look_around()
            except Unplayable as error:
                problem = problem or error
                continue
            foreign = hands.foreign()
            if not foreign:
                return
            if any(str(row.get("clientOrderId")).startswith(PREFIX) for row in foreign):
                where = f"{symbol} --profile {hands.client.profile}"
                self._say(f"An earlier rehearsal has left orders; cancel with: %cancel_all {where} --prefix {PREFIX}")
            playable.append(symbol)
        if not playable:
            raise problem or Unplayable("there is no symbol to play on")
        hands.symbol = playable[0]
        hands.look_around()

    def _look_for_differences(self) -> None:
        self._say("looking for differences from RULES.md")
        self._note(self._probes.differences())

    def _note(self, differences: Iterator[Difference]) -> None:
        for difference in differences:
            self._say(f"different: {difference.rule}")
            self._differences.append(difference)

    def _clean_up(self) -> None:
        """Cancel what is left, and say what could not be canceled."""
        hands = self._hands
        try:
            self._left = hands.clean_up()
        except (Unplayable, NbextError) as error:
            self._say(f"cleaning up failed: {error}")
        finally:
            if self._left:
                where = f"{hands.symbol} --profile {hands.client.profile}"
                self._say(f"STILL OPEN, as far as is known, on {hands.symbol}: {', '.join(self._left)}")
                self._say(f"Cancel with: %cancel_all {where} --prefix {hands.prefix}")
            else:
                self._say("cleaned up: no order of this rehearsal is open")

    def conclude(self, path: Path, clean: report.Scrubber) -> int:
        """Show and write what was found, and return how the program is to exit."""
        say, hands, claims = self._say, self._hands, self._claims.results()
        found = report.document(
            {
                "at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
                "profile": hands.client.profile,
                "exchange": hands.client.host,
                "symbol": hands.symbol,
                "problem": self._problem,
            },
            claims=claims,
            not_played=hands.not_played,
            differences=self._differences,
            not_asked={**NOT_SEEN, **self._probes.not_asked},
            left_open=self._left,
        )
        say("")
        for line in report.table(found, clean):
            say(line)
        say("")
        if self._problem:
            say(f"Could not be played to the end: {self._problem}")
        try:
            report.write(found, path, clean)
            say(f"Written to {path}: without keys and signatures, ready to be sent to the project.")
        except OSError as error:
            self._problem = f"{path} could not be written ({error.strerror})"
            say(self._problem)
        if any(each.held is False for each in claims):
            return 1
        return 2 if self._problem or self._left or any(each.held is None for each in claims) else 0


def _refuse_live(endpoint: Endpoint) -> None:
    """Let only exchanges pass that are known to be for practice."""
    url, profile = endpoint.base_url, endpoint.profile
    if profiles.is_live(url):
        what = f"profile {profile!r} ({urlsplit(url).netloc})"
        if not is_loopback(urlsplit(url).hostname or ""):
            raise Unplayable(
                f"{what} is live, and a rehearsal places orders; nothing was sent. Use testnet, demo or local."
            )
        with SpotClient(url, profile=profile) as client:  # without a key
            with suppress(NbextError):
                client.request("GET", _UNSERVED, signed=False)
            if _SAYS_SO not in (client.heard()[1] or b""):
                raise Unplayable(
                    f"{what} is not a practice exchange of nbext, so it may pass orders on to a live one; "
                    "no orders were placed. Use testnet, demo or local."
                )
    if endpoint.credential is None:
        raise Unplayable(f"profile {profile!r} has no key; nothing was sent. See %nbext --doctor.")
    if endpoint.always_ask:
        raise Unplayable(f"profile {profile!r} always asks, and a rehearsal cancels without; nothing was sent.")


@contextmanager
def _terminated_as_interrupted() -> Iterator[None]:
    """Treat a request to end this process as Ctrl-C, so that it is cleaned up before."""
    names = [name for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
    before = {}
    try:
        for name in names:
            number = getattr(signal, name)
            before[number] = signal.signal(number, signal.default_int_handler)
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
