"""A process that forks another for each job it is given, to be interrupted or killed while it cancels.

One job is a line of JSON on standard input. The answers are the process id, and its end.
"""

from __future__ import annotations

import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import pickle
import signal
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbext
from nbext.cancel import job as cancel
from nbext.cancel import unfinished
from nbext.cancel.selection import Latency, Options, Selection
from nbext.errors import NbextError
from nbext.frames import build
from nbext.notebook import magics

from .case import identity
from .told import Told, rows_of

LOADED = build.COLUMNS, magics.NBExt  # loaded here once, not in every child


def play(job: dict[str, Any]) -> list[Told]:
    """Cancel, or settle, and say what came of it."""
    os.environ.update(job["environment"])
    if job["way"] == "settle":
        told = Told()
        reconcile = unfinished.reconcile_open
        Latency.__init__.__defaults__ = (job["limits"]["engine"], job["limits"]["lag"])
        reconcile(say=told.said.append, seconds=300.0)
        return [told]
    if job["way"] == "magic":
        return [_by_magic(job)]
    key = {"api_key": job["key"], "secret_key": job["secret"]}
    client = nbext.SpotClient(job["url"], answer_timeout=job["timeout"], **key)
    if job["way"] == "fork":
        return _forked(job, client)
    return [_cancel(job, client, job["symbols"])]


def _cancel(job: dict[str, Any], client: nbext.SpotClient, symbols: list[str]) -> Told:
    told, frame = Told(began=time.time()), None
    try:
        options = Options.parse(job["recv_window"], latency=Latency(**job["limits"]), **job["patience"])
        call = cancel.Job(client, Selection.parse(symbols), options, say=told.said.append)
        if job["way"] == "all, seen":

            def ask(preview: Any, question: str) -> str:  # noqa: ARG001 - as the faces do
                told.seen = [identity(row) for row in rows_of(preview)]
                return str(len(preview))

            call.obtain_consent(ask)
        frame = call.run()
    except (NbextError, KeyboardInterrupt) as failed:
        told.take_error(failed)
        frame = getattr(failed, "frame", None)
        if frame is None and isinstance(failed, KeyboardInterrupt):
            told.said += traceback.format_exc().splitlines()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    told.returned = time.time()
    told.take_frame(frame, frame if frame is None else nbext.last)
    return told


def _forked(job: dict[str, Any], client: nbext.SpotClient) -> list[Told]:
    """Cancel here on the first symbol, and in a forked child on the others, with one client that has been used."""
    with suppress(NbextError):
        client.request("GET", "/api/v3/openOrders", {"symbol": job["symbols"][0]})
    context = multiprocessing.get_context("fork")
    ours, theirs = context.Pipe()

    def cancel_others() -> None:
        theirs.send(_cancel(job, client, job["symbols"][1:]))

    child = context.Process(target=cancel_others)
    child.start()
    told = _cancel(job, client, job["symbols"][:1])
    heard = ours.recv() if ours.poll(30) else Told(error="killed", said=["the forked child hung"])
    child.join(1)
    return [told, heard]


def _by_magic(job: dict[str, Any]) -> Told:
    """Cancel as a reader does, in a shell."""
    from IPython.core.interactiveshell import InteractiveShell

    told, spoken = Told(began=time.time()), io.StringIO()
    patient = Options(latency=Latency(**job["limits"]), **job["patience"])
    Options.__init__.__defaults__ = tuple(getattr(patient, each.name) for each in dataclasses.fields(Options))
    shell = InteractiveShell.instance()
    shell.run_line_magic("load_ext", "nbext")
    with contextlib.redirect_stdout(spoken):
        try:
            shell.run_line_magic(
                "cancel_all", " ".join([*job["symbols"], "--yes", "--recv-window", str(job["recv_window"])])
            )
        except (NbextError, KeyboardInterrupt) as failed:
            told.take_error(failed)
    told.returned = time.time()
    told.said = [line for line in spoken.getvalue().splitlines() if line]
    told.take_frame(nbext.last, nbext.last)
    return told


def main() -> None:
    """Fork for each job."""
    # A shell starts what runs in the background deaf to interrupts, and then no round would be interrupted.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with suppress(KeyboardInterrupt):
                _write(Path(job["result"]), play(job))
            os._exit(0)
        _answer(pid)
        _answer(os.waitpid(pid, 0)[1])


def _write(path: Path, result: list[Told]) -> None:
    path.with_suffix(".part").write_bytes(pickle.dumps([vars(each) for each in result]))
    path.with_suffix(".part").replace(path)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
