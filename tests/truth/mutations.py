"""``python -m tests.truth.mutations``: break a rule on purpose, and see that the campaign finds it.

Each mutation is made in a copy of the package, where it has to apply; the campaign then has so many rounds to object.
Where two rules guard the same thing, as unread bytes on a connection and what an answer is about, one of them alone can
be broken without anything becoming untrue: such mutations are not here.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True)
class Mutation:
    """A rule broken.

    Attributes
    ----------
    name, what : str
    file : str
        In the package.
    old, new : str
        What stands there once, and what in its place.
    objection : str
        What a lie that it leads to says, as a regular expression.
    """

    name: str
    what: str
    file: str
    old: str
    new: str
    objection: str


MUTATIONS: tuple[Mutation, ...] = (
    Mutation(
        "A1 ids",
        "a reconciled row has the cancel's id as the order's own",
        "cancel/reconciliation.py",
        "told = as_reported(order, known.order)",
        'told = {**order, "origClientOrderId": order.get("clientOrderId")}',
        "has origClientOrderId",
    ),
    Mutation(
        "A1 lists",
        "a reconciled row has its list as the look had shown it",
        "orders.py",
        "return {name: value for name, value in order_list.items() if name not in _PASSING_OF_LISTS}",
        "return dict(order_list)",
        "has (listStatusType|listOrderStatus)",
    ),
    Mutation(
        "A2",
        "a row repeats the look, once an answer has put it in doubt",
        "cancel/reconciliation.py",
        "_Known({**bare.order, **executed}, bare.order_list)",
        '_Known({**row.order, **executed}, bare.order_list, "open")',
        "is said to be open",
    ),
    Mutation(
        "A3 interim",
        "102 and 103 are taken for the final answer",
        "spot/connections.py",
        "if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK:",
        "if status != HTTPStatus.CONTINUE:",
        "proxy_interim.*(was reported, and has no row|is written down|lacks|has \\d+ rows)",
    ),
    Mutation(
        "A3 request",
        "an answer about something else is believed",
        "spot/client.py",
        "if answer.status == HTTPStatus.OK and (astray",
        "if answer.status == HTTPStatus.IM_USED and (astray",
        "proxy_(foreign|previous)_reply.*(there is no such order|has \\d+ rows|is on none of|is said to be)",
    ),
    Mutation(
        "A3 status",
        "a body that contradicts its status is not noticed",
        "spot/answers.py",
        "if contradicts_status(status, document, code):",
        "if status == HTTPStatus.IM_USED and contradicts_status(status, document, code):",
        "proxy_(report_refused|error_200).*(by this call|is said to be|and the call has canceled it|sent again)",
    ),
    Mutation(
        "A4",
        "a forked child goes on with its parent's connections",
        "forks.py",
        "lambda: _complete(_in_child)",
        "lambda: _complete([])",
        "fork.*(has a row, and is on none of|was reported, and has no row|is written down)",
    ),
    Mutation(
        "A5",
        "Retry-After: 0 means at once",
        "spot/answers.py",
        "SHORTEST_WAIT = 1.0",
        "SHORTEST_WAIT = 0.0",
        "after HTTP 4(29|18)|sent [0-9]+ times",
    ),
    Mutation(
        "A6",
        "only an interrupt ends the sending",
        "cancel/job.py",
        "except BaseException as error:  # noqa: BLE001 - an interrupt, an alarm, a callback's error: one way out",
        "except KeyboardInterrupt as error:  # one way out",
        "(Alarm|Callback): .*(there is no frame|was sent .* after the end)",
    ),
    Mutation(
        "A7",
        "an order that a read lists twice is sent for twice",
        "cancel/reads.py",
        "told[ids if known else number] = whole",
        "told[number] = whole",
        "proxy_lists_twice.*(sent again|has [0-9]+ rows)",
    ),
)


def require(mutation: Mutation, package: Path) -> str:
    """Return the text that a mutation changes.

    Raises
    ------
    ValueError
        What is to be changed does not stand there, or more than once.
    """
    text = (package / mutation.file).read_text("utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: stands {text.count(mutation.old)} times in {mutation.file}: {mutation.old!r}"
        )
    return text


def apply(mutation: Mutation, package: Path) -> None:
    """Break a rule in a copy of the package."""
    changed = require(mutation, package).replace(mutation.old, mutation.new)
    (package / mutation.file).write_text(changed, "utf-8")


def main() -> int:
    """Try the mutations, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, such as A3")
    parser.add_argument("--rounds", type=int, default=1000, help="so many rounds at most for each")
    parser.add_argument("--jobs", type=int, default=4)
    args = parser.parse_args()
    chosen = [each for each in MUTATIONS if not args.names or any(map(each.name.startswith, args.names))]
    for mutation in chosen:  # one whose target is gone ends all of it, before an hour has gone by
        require(mutation, ROOT / "nbext")
    missed = 0 if chosen else 1
    for mutation in chosen:
        began = time.monotonic()
        with tempfile.TemporaryDirectory(prefix="nbext-mutation-") as name:
            folder = Path(name)
            for part in ("nbext", "tests/truth"):
                shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
            apply(mutation, folder / "nbext")
            command = [sys.executable, "-m", "tests.truth", "--rounds", str(args.rounds), "--jobs", str(args.jobs)]
            told = subprocess.run(
                [*command, "--seed", "1000", "--until", mutation.objection],
                cwd=folder,
                env={**os.environ, "PYTHONPATH": str(folder)},
                capture_output=True,
                text=True,
                check=False,
            )
        found = [line for line in told.stdout.splitlines() if re.search(mutation.objection, line) and ":" in line[:12]]
        after = re.search(r"^(\d+) rounds", told.stdout, re.MULTILINE)
        missed += not found
        seen = f"found within {after[1] if after else '?'} rounds" if found else f"NOT FOUND {told.stderr[-500:]}"
        sys.stdout.write(f"{mutation.name} {mutation.what}: {seen}, {time.monotonic() - began:.0f} s\n")
        sys.stdout.writelines(f"    {line[:300]}\n" for line in found[:1])
        sys.stdout.flush()
    return 1 if missed else 0


if __name__ == "__main__":
    sys.exit(main())
