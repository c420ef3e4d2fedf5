"""A process that forks another for each job it is given, to be interrupted or killed while it cancels.

One job is a line of JSON on standard input. The answers are the process id, and its end.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Any

import nbext
from nbext import cancel, frames, log
from nbext.errors import NbextError
from nbext.settle import Limits

LOADED = frames.COLUMNS  # loaded here once, not in every child


def play(job: dict[str, Any]) -> dict[str, Any]:
    """Cancel, or settle, and say what came of it."""
    os.environ.update(job["environment"])
    said: list[str] = []
    if job["way"] == "settle":
        log.settle_open(say=said.append)
        return {"said": said}
    frame, error = None, ""
    previews: list[Any] = []
    try:
        key = {"api_key": job["key"], "secret_key": job["secret"]}
        client = nbext.SpotClient(job["url"], answer_timeout=job["timeout"], **key)
        call = cancel.Job(
            job["symbols"],
            client=client,
            say=said.append,
            recv_window=job["recv_window"],
            settle_seconds=job["settle"],
            delays=Limits(**job["limits"]),
        )
        if job["way"] == "all, seen":

            def ask(preview: Any, question: str) -> str:  # noqa: ANN401, ARG001 - as the faces do
                previews.append(preview)
                return str(len(preview))

            call.obtain_consent(ask)
        frame = call.run()
    except (NbextError, KeyboardInterrupt) as failed:
        error = type(failed).__name__
        frame = getattr(failed, "frame", None)
        if frame is None and isinstance(failed, KeyboardInterrupt):
            said += traceback.format_exc().splitlines()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    return {
        "error": error,
        "said": said,
        "kept": frame is nbext.last,
        "rows": _rows(frame),
        "complete": frame is not None and frame.attrs["nbext"]["complete"],
        "seen": [row[:2] for shown in previews for row in _rows(shown) or ()],
    }


def _rows(frame: Any) -> list[list[Any]] | None:  # noqa: ANN401 - a DataFrame or None
    if frame is None:
        return None
    return [list(row) for row in zip(*(frame[name].tolist() for name in ("symbol", "orderId", "outcome")), strict=True)]


def main() -> None:
    """Fork for each job."""
    for line in sys.stdin:
        job = json.loads(line)
        pid = os.fork()
        if pid == 0:
            with suppress(KeyboardInterrupt):
                _write(Path(job["result"]), play(job))
            os._exit(0)
        _answer(pid)
        _answer(os.waitpid(pid, 0)[1])


def _write(path: Path, result: dict[str, Any]) -> None:
    path.with_suffix(".part").write_text(json.dumps(result), "utf-8")
    path.with_suffix(".part").replace(path)


def _answer(number: int) -> None:
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
