"""``python -m tests.truth --rounds 10000``: play the campaign at length, and print what came of it."""

from __future__ import annotations

import argparse
import re
import sys
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

from .campaign import play
from .replay import replay
from .rounds import Report

CHUNK = 500
SIDE_BY_SIDE = 2
"""Campaigns of one job: each of them waits, most of its time."""


def main() -> int:
    """Play, several campaigns side by side, and tell."""
    parser = argparse.ArgumentParser(prog="python -m tests.truth", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first campaign; each has 500 rounds and a seed of its own"
    )
    parser.add_argument("--jobs", type=int, default=4, help="two campaigns at a time for each")
    parser.add_argument("--replay", metavar="SEED:ROUND", help="play one round again, and find out what it takes")
    parser.add_argument("--until", metavar="REGEX", help="end with the first lie like this; waits for no journal")
    args = parser.parse_args()
    if args.replay:
        seed, _, number = args.replay.partition(":")
        sys.stdout.writelines(f"{line}\n" for line in replay(int(seed), int(number)))
        return 0
    began, total = time.monotonic(), Report()
    chunk = CHUNK if args.until is None else 20
    sizes = [min(chunk, args.rounds - start) for start in range(0, args.rounds, chunk)]
    patient = args.until is None
    with ProcessPoolExecutor(SIDE_BY_SIDE * args.jobs, mp_context=get_context("spawn")) as pool:
        parts = [pool.submit(play, args.seed + number, size, patient=patient) for number, size in enumerate(sizes)]
        for done in as_completed(parts):
            known = len(total.lies)
            try:
                total.add(done.result())
            except Exception as error:  # noqa: BLE001 - the others go on, and this one counts
                total.lies.append(f"a campaign broke down: {error!r}")
            sys.stderr.writelines(f"{lie}\n" for lie in total.lies[known:])  # now, not after the other rounds
            if args.until is not None and any(re.search(args.until, lie) for lie in total.lies[known:]):
                pool.shutdown(wait=False, cancel_futures=True)
                break
            sys.stderr.write(f"{total.rounds} rounds, {time.monotonic() - began:.0f} s, {len(total.lies)} lies\n")
    sys.stdout.write(f"{total}\n")
    if total.lied:
        sys.stdout.write(f"python -m tests.truth --replay {total.lied[0]}\n")
    return 1 if total.lies else 0


if __name__ == "__main__":
    sys.exit(main())
