"""``python -m tests.truth.mutations``: break a rule on purpose, and see that the campaign finds it.

Each mutation is made in a copy of the package, where it has to apply; the campaign then has so many rounds to object.
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
        "A3 interim",
        "102 and 103 are taken for the final answer",
        "wire.py",
        "if not HTTPStatus.CONTINUE <= status < HTTPStatus.OK:",
        "if status != HTTPStatus.CONTINUE:",
        "was reported, and has no row|is written down|lacks",
    ),
    Mutation(
        "A3 unread",
        "a connection with unread bytes is used again",
        "wire.py",
        "self._spoiled = self._spoiled or followed",
        "self._spoiled = self._spoiled and followed",
        "was reported, and has no row|is written down|lacks|has 2 rows|nothing was open",
    ),
    Mutation(
        "A4",
        "a forked child goes on with its parent's connections",
        "wire.py",
        "os.register_at_fork(after_in_child=_disown)",
        "os.register_at_fork(after_in_child=_wires.copy)",
        "fork.*(has a row, and is on none of|was reported, and has no row|is written down)",
    ),
    Mutation(
        "A6",
        "only an interrupt ends the sending",
        "cancel.py",
        "except BaseException as error:  # noqa: BLE001 - an interrupt, an alarm",
        "except KeyboardInterrupt as error:",
        "(Alarm|Callback): .*(there is no frame|was sent .* after the end)",
    ),
)


def apply(mutation: Mutation, package: Path) -> None:
    """Break a rule in a copy of the package.

    Raises
    ------
    ValueError
        What is to be changed does not stand there, or more than once.
    """
    path = package / mutation.file
    text = path.read_text("utf-8")
    if text.count(mutation.old) != 1:
        raise ValueError(
            f"{mutation.name}: stands {text.count(mutation.old)} times in {mutation.file}: {mutation.old!r}"
        )
    path.write_text(text.replace(mutation.old, mutation.new), "utf-8")


def main() -> int:
    """Try the mutations, one after the other."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth.mutations", description=__doc__)
    parser.add_argument("names", nargs="*", help="only these, such as A3")
    parser.add_argument("--rounds", type=int, default=1000, help="so many rounds at most for each")
    parser.add_argument("--jobs", type=int, default=4)
    args = parser.parse_args()
    missed = 0
    for mutation in MUTATIONS:
        if args.names and not any(mutation.name.startswith(name) for name in args.names):
            continue
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
