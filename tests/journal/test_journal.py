"""The journal, on real files and with real processes: what is said to be recorded is on disk, and nothing else is."""

from __future__ import annotations

import os
import random
import sqlite3
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.journals import NOW, OUTCOME, commits, conclude, ids, intent, posix, run, start, unsettled

from nbext.entries import Conclusion, Intent
from nbext.journal import CLAIM_MS, GRACE_MS, Journal

# Where it is, and what it costs before it is used.


@pytest.mark.parametrize("off", ["off", "OFF", " Off "])
def test_off_records_nothing(monkeypatch: pytest.MonkeyPatch, off: str) -> None:
    """NBEXT_JOURNAL=off, in any case, is a journal that says so, holds nothing and opens nothing."""
    monkeypatch.setenv("NBEXT_JOURNAL", off)
    journal = Journal.from_environment()
    assert journal.path is None
    assert journal.intend([intent()]) == conclude(journal) == "the journal is off"
    assert journal.entries() == unsettled(journal, NOW * 2) == []
    assert journal.answer("one") is None
    assert not journal.claim("one", "me", NOW)
    journal.close()


def test_path_from_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A path is taken as it is, from the folder in which the journal was made; ~ is the user's home."""
    monkeypatch.chdir(tmp_path)
    for named, expected in [
        (str(tmp_path / "j"), tmp_path / "j"),
        ("j", tmp_path / "j"),
        ("~/j", Path.home() / "j"),
        ("~nobody-of-that-name/j", Path("~nobody-of-that-name/j")),
    ]:
        monkeypatch.setenv("NBEXT_JOURNAL", named)
        assert Journal.from_environment().path == expected


@pytest.mark.skipif(sys.platform != "linux", reason="the data folder as Linux has it")
@pytest.mark.parametrize("value", [None, "", " "])
def test_default_path(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, value: str | None) -> None:
    """Else it is in the user's data folder, with its version in the name."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    if value is not None:
        monkeypatch.setenv("NBEXT_JOURNAL", value)
    assert Journal.from_environment().path == tmp_path / "nbext" / "journal-2.sqlite3"


def test_nothing_before_the_first_write(path: Path) -> None:
    """`import nbext` leaves the journal alone, and the journal leaves SQLite and the disk alone until it is written."""
    said = run(
        """
        import subprocess
        print([name for name in ("sqlite3", "platformdirs") if name in sys.modules], path.parent.exists())
        os.environ["NBEXT_JOURNAL"] = str(path)
        Journal.from_environment()
        print("sqlite3" in sys.modules, path.parent.exists())
        journal.intend([intent("a")])
        print("sqlite3" in sys.modules, path.exists())
        bare = "import sys, nbext; print('nbext.journal' in sys.modules)"
        print(subprocess.run([sys.executable, "-c", bare], stdout=subprocess.PIPE, text=True).stdout)
        """,
        path,
    )
    assert said.split() == ["[]", "False", "False", "False", "True", "True", "False"]


def test_reading_makes_nothing(journal: Journal, path: Path) -> None:
    """Where there is no journal, there is nothing to read; looking does not make one."""
    assert journal.entries() == unsettled(journal, NOW * 2) == []
    assert journal.answer("one") is None
    assert not path.parent.exists()


# What goes in comes out.

_text = st.text(max_size=20)
_integers = st.integers(-(2**63), 2**63 - 1)
_documents = st.dictionaries(_text, _integers | _text | st.booleans() | st.none(), max_size=4)
_intents = st.builds(
    Intent,
    id=_text,
    call_id=_text,
    sent_at=_integers,
    deadline=_integers,
    profile=_text,
    host=_text,
    method=_text,
    path=_text,
    params=st.dictionaries(_text.filter(lambda name: name.lower() not in {"signature", "timestamp"}), _text),
    seen=st.lists(_documents, max_size=3).map(tuple),
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    intents=st.lists(_intents, max_size=4, unique_by=lambda intent: intent.id),
    outcomes=st.lists(_documents, max_size=3).map(tuple),
    answer=st.none() | st.binary(),
    status_and_error=st.tuples(st.none() | st.integers(100, 999), _text),
)
def test_round_trip(
    tmp_path: Path,
    intents: list[Intent],
    outcomes: tuple[dict[str, object], ...],
    answer: bytes | None,
    status_and_error: tuple[int | None, str],
) -> None:
    """Intents, outcomes and answers come back as they went in, to the last digit of a 64-bit id."""
    status, error = status_and_error
    path = tmp_path / f"{time.monotonic_ns()}.sqlite3"
    with closing(Journal(path)) as journal:
        assert journal.intend(intents) == ""
        assert [entry.intent for entry in journal.entries()] == intents
        for one in intents:
            assert journal.conclude(one.id, http_status=status, answer=answer, outcomes=outcomes, error=error) == ""
            assert journal.answer(one.id) == answer
        with closing(Journal(path)) as other:
            for entry, one in zip(other.entries(), intents, strict=True):
                assert entry.intent == one
                assert (entry.http_status, entry.error, entry.outcomes) == (status, error, outcomes)
                assert entry.has_answer is (answer is not None)
                assert entry.claimed_by is None
                assert abs(time.time() * 1000 - (entry.concluded_at or 0)) < 60_000


def test_entries_oldest_first(journal: Journal) -> None:
    """Entries come in the order in which they were written, whatever their clocks said; `last` takes the latest."""
    for number in range(4):
        journal.intend([replace(intent(str(number)), sent_at=-number)])
    assert ids(journal) == ["0", "1", "2", "3"]
    assert [entry.intent.id for entry in journal.entries(last=2)] == ["2", "3"]
    assert journal.entries(last=0) == []


@pytest.mark.parametrize("name", ["signature", "timestamp", "Signature"])
def test_no_signature(journal: Journal, path: Path, name: str) -> None:
    """Parameters that must never be kept are refused as the mistake that they are, and nothing is written."""
    with pytest.raises(ValueError, match=name):
        journal.intend([intent("a"), replace(intent("b"), params={name: "0123abcd"})])
    assert not path.exists()


def test_big_answer_is_packed(journal: Journal, path: Path) -> None:
    """10 MB of reports take up a tenth, come back to the byte, and do not slow down a look at the entries."""
    answer = b"".join(b'{"symbol":"BTCUSDT","orderId":%d,"status":"CANCELED"},' % number for number in range(190_000))
    assert len(answer) > 10_000_000
    journal.intend([intent()])
    assert conclude(journal, answer=answer) == ""
    assert path.stat().st_size < len(answer) / 5
    assert journal.entries()[0].has_answer
    assert journal.answer("one") == answer


def test_later_conclusion(journal: Journal) -> None:
    """A second conclusion, from settling, brings its outcomes and keeps the status and the answer of the first."""
    journal.intend([intent()])
    journal.conclude("one", http_status=504, answer=b"<html>", outcomes=[], error="timeout")
    assert journal.conclude("one", http_status=None, answer=None, outcomes=[OUTCOME]) == ""
    (entry,) = journal.entries()
    assert (entry.http_status, entry.error, entry.outcomes) == (504, "", (OUTCOME,))
    assert journal.answer("one") == b"<html>"


def test_conclusion_without_intent(journal: Journal, path: Path) -> None:
    """What was not recorded before it was sent cannot be concluded, and that is said."""
    assert conclude(journal) == f"{path} does not hold what was sent"
    assert journal.entries() == []


def test_text_without_utf8(journal: Journal) -> None:
    """Half a surrogate pair in an exchange's text, which JSON allows and UTF-8 does not, costs no record."""
    broken = "\ud83d"
    assert journal.intend([replace(intent(), params={"newClientOrderId": broken}, seen=({"x": broken},))]) == ""
    assert journal.conclude("one", http_status=400, answer=None, outcomes=[{"x": broken}], error=f"msg {broken}") == ""
    (entry,) = journal.entries()
    assert entry.intent.params == {"newClientOrderId": broken}
    assert entry.error == "msg \\ud83d"


# On disk before a byte is sent.


def test_two_commits(journal: Journal, path: Path) -> None:
    """A cancel is one commit before it goes out, however many requests and even when the file is new, and one after."""
    statements: list[str] = []
    journal.intend([intent(name, call="first") for name in "abc"])
    assert commits(path) == 1
    assert journal._connection is not None
    journal._connection.set_trace_callback(statements.append)
    journal.intend([intent()])
    conclude(journal)
    assert commits(path) == 3
    assert statements.count("COMMIT") == 2
    assert sum(statement.lstrip().startswith("PRAGMA") for statement in statements) == 4
    assert len(statements) == 10, statements
    journal.intend([])
    journal.conclude_all([])
    journal.entries()
    assert commits(path) == 3


def test_two_commits_for_eight_requests(journal: Journal, path: Path) -> None:
    """However many requests a call has, their conclusions are one commit, each with its own answer and outcomes."""
    names = [f"{number}" for number in range(8)]
    journal.intend([intent(name) for name in names])
    concluded = [Conclusion(name, 200, name.encode(), [{**OUTCOME, "orderId": name}]) for name in names]
    assert journal.conclude_all(concluded) == ""
    assert commits(path) == 2
    assert [entry.outcomes[0]["orderId"] for entry in journal.entries()] == names
    assert [journal.answer(name) for name in names] == [name.encode() for name in names]


def test_one_conclusion_without_intent(journal: Journal, path: Path) -> None:
    """Where one of several was not recorded before it was sent, that is said, and the others are concluded."""
    journal.intend([intent("a"), intent("b")])
    concluded = [Conclusion(name, 200, None, [OUTCOME]) for name in ("a", "lost", "b")]
    assert journal.conclude_all(concluded) == f"{path} does not hold what was sent"
    assert all(entry.concluded_at for entry in journal.entries())


def test_full_sync(journal: Journal, path: Path) -> None:
    """A commit zeroes the rollback journal's header, on disk: one that stayed would undo it after a power cut."""
    journal.intend([intent("a")])
    assert journal._connection is not None
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("persist",)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (3,)
    rollback = path.with_name(f"{path.name}-journal")
    for name in ("b", "c"):
        assert journal.intend([intent(name)]) == ""
        kept = rollback.read_bytes()
        assert len(kept) > 4096  # a page as it was
        assert not any(kept[:28])
    assert ids(Journal(path)) == ["a", "b", "c"]


def test_marks(journal: Journal, path: Path) -> None:
    """The file says whose it is and which version."""
    journal.intend([intent()])
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (int.from_bytes(b"nbxt", "big"),)
        assert connection.execute("PRAGMA user_version").fetchone() == (2,)


def test_all_or_nothing(journal: Journal) -> None:
    """The intents of a call are recorded together or not at all, and the next call is none the worse for it."""
    journal.intend([intent("a")])
    reason = journal.intend([intent("b"), intent("a")])
    assert "UNIQUE" in reason
    assert "\n" not in reason
    assert ids(journal) == ["a"]
    assert journal.intend([replace(intent("c"), sent_at=2**63)])
    assert journal.intend([replace(intent("c"), host="\ud83d")])
    assert journal.intend([intent("b")]) == ""
    assert ids(journal) == ["a", "b"]


KILLED = """
for number in range(10**6):
    names = [f"{sys.argv[2]}-{number}-{part}" for part in "ab"]
    reason = journal.intend([intent(name, str(number)) for name in names])
    os.write(1, f"{reason or names[0]}\\n".encode())
    reason = journal.conclude(names[0], http_status=200, answer=os.urandom(9000), outcomes=[{"of": names[0]}])
    os.write(1, f"{reason or 'concluded ' + names[0]}\\n".encode())
"""


def check_survivor(path: Path, said: list[str]) -> None:
    """Compare a journal with what its writer had been told before it was killed."""
    with closing(Journal(path)) as journal:
        found = {entry.intent.id: entry for entry in journal.entries()}
        assert journal.intend([intent(f"after {len(found)}")]) == ""
        for line in said:
            name = line.removeprefix("concluded ")
            assert {name, f"{name[:-1]}b"} <= found.keys(), line
            if line.startswith("concluded "):
                assert found[name].outcomes == ({"of": name},)
                assert len(journal.answer(name) or b"") == 9000
        halves = [name for name in found if name.endswith("a") and f"{name[:-1]}b" not in found]
        assert not halves
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@posix
def test_kill_9(path: Path, tmp_path: Path) -> None:
    """A process is killed at random points: all that it was told to be recorded is there, whole, and writing goes on.

    Half of the rounds kill it around the making of a file, the others in a file that goes from one to the next.
    """
    chance = random.Random(4)  # noqa: S311 - moments to kill at
    said: dict[Path, list[str]] = {}
    for number in range(12):
        fresh = number % 2 == 0
        where = tmp_path / f"{number}" / "journal.sqlite3" if fresh else path
        process = start(f"os.write(1, b'ready\\n')\n{KILLED}", where, number)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        lines = [] if fresh else [process.stdout.readline().rstrip("\n") for _ in range(5)]
        time.sleep(chance.uniform(0, 0.012 if fresh else 0.1))
        process.kill()
        lines += process.communicate()[0].split("\n")[:-1]  # the last may be cut
        check_survivor(where, said.setdefault(where, []) + lines)
        said[where] += lines
    assert len(said[path]) >= 30


@posix
def test_interrupts(path: Path) -> None:
    """Ctrl-C at random points leaves no half, no lock and nothing that stops the next call."""
    said = run(
        """
        import random, signal
        signal.signal(signal.SIGALRM, signal.default_int_handler)
        chance, told, number = random.Random(5), set(), 0
        while number < 150 or len(told) < 20:
            number += 1
            try:
                signal.setitimer(signal.ITIMER_REAL, chance.uniform(0.0001, 0.002 + number * 0.00001))
                for part in range(100):
                    name = f"{number}-{part}"
                    if journal.intend([intent(name + "a"), intent(name + "b")]) == "":
                        told.add(name)
            except KeyboardInterrupt:
                pass
            signal.setitimer(signal.ITIMER_REAL, 0)
            reason = journal.intend([intent(f"{number}-afterwards")])
            assert not reason, reason
        found = {entry.intent.id for entry in journal.entries()}
        assert {name + part for name in told for part in "ab"} <= found
        assert not {name for name in found if name[-1] == "a" and name[:-1] + "b" not in found}
        print("all there")
        """,
        path,
    )
    assert said == "all there\n"


# Several threads, several processes, and forks.


def test_threads(journal: Journal) -> None:
    """Eight workers, which conclude at the same time, lose nothing."""
    reasons = []

    def work(number: int) -> None:
        for step in range(10):
            name = f"{number}-{step}"
            reasons.extend([journal.intend([intent(name)]), conclude(journal, name)])

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert reasons == [""] * 160
    assert len(journal.entries()) == 80
    assert all(entry.concluded_at for entry in journal.entries())


def test_processes(journal: Journal, path: Path) -> None:
    """Four kernels that start on a new file at once, and write without a pause, lose nothing without saying so."""
    processes = [
        start(
            """
            sys.stdin.readline()
            for number in range(25):
                name = f"{sys.argv[2]}-{number}"
                put(name)
                while journal.conclude(name, http_status=200, answer=b"[]", outcomes=[{"of": name}]):
                    pass
                print(name)
            """,
            path,
            kernel,
        )
        for kernel in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    said = [line for process in processes for line in process.communicate()[0].split("\n")[:-1]]
    assert sorted(said) == sorted(f"{kernel}-{number}" for kernel in range(4) for number in range(25))
    assert sorted(ids(journal)) == sorted(said)
    assert all(entry.outcomes == ({"of": entry.intent.id},) for entry in journal.entries())


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork")
def test_fork(path: Path) -> None:
    """A child, also one forked while a thread writes, opens the file anew; neither side loses anything or hangs."""
    said = run(
        """
        import signal, warnings
        warnings.simplefilter("ignore")  # Python's own, about forks beside threads
        names, stop = [], threading.Event()
        def write():
            while not stop.is_set():
                names.append(f"thread-{len(names)}")
                put(names[-1])
                time.sleep(0.001)
        journal.intend([intent("first")])
        before = journal._connection
        thread = threading.Thread(target=write)
        thread.start()
        children = 15
        for number in range(children):
            child = os.fork()
            if not child:
                signal.alarm(10)  # ends it, should it hang
                put(f"child-{number}")
                own = journal._connection is not before
                worse = []
                def fork_again():
                    grandchild = os.fork()
                    if not grandchild:
                        signal.alarm(10)
                        put(f"grandchild-{number}")
                        os._exit(0)
                    worse.append(os.waitpid(grandchild, 0)[1])
                again = threading.Thread(target=fork_again)
                again.start()
                again.join()
                journal.close()
                os._exit(0 if own and worse == [0] else 1)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        thread.join()
        found = {entry.intent.id for entry in journal.entries()}
        expected = {*names, "first"}
        expected |= {f"{kin}-{n}" for n in range(children) for kin in ("child", "grandchild")}
        print(found == expected)
        """,
        path,
    )
    assert said == "True\n"
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


# What nobody has concluded.


def test_unsettled(journal: Journal) -> None:
    """Unsettled is what has no conclusion and is past its own deadline by more than a minute."""
    journal.intend([intent("a"), intent("b"), intent("c", deadline=NOW + 1)])
    conclude(journal, "b")
    assert unsettled(journal, NOW + GRACE_MS) == []
    assert [entry.intent.id for entry in unsettled(journal, NOW + GRACE_MS + 1)] == ["a"]
    assert [entry.intent.id for entry in unsettled(journal, NOW + GRACE_MS + 2)] == ["a", "c"]


def test_claim(journal: Journal) -> None:
    """One at a time; it may be renewed, and is taken over when older than five minutes, or from a wrong clock."""
    journal.intend([intent()])
    assert journal.claim("one", "me", NOW)
    assert unsettled(journal, NOW * 2)[0].claimed_by == "me"
    assert not journal.claim("one", "you", NOW + CLAIM_MS)
    assert journal.claim("one", "me", NOW + 1)
    assert not journal.claim("one", "you", NOW + 1 + CLAIM_MS)
    assert journal.claim("one", "you", NOW + 2 + CLAIM_MS)
    assert not journal.claim("one", "me", NOW + 3 + CLAIM_MS)
    assert journal.claim("one", "me", NOW - CLAIM_MS)
    assert not journal.claim("another", "me", NOW)
    conclude(journal)
    assert not journal.claim("one", "me", NOW)
    assert journal.entries()[0].claimed_by == "me"


def test_claim_by_one_kernel_only(journal: Journal, path: Path) -> None:
    """Of several kernels that want an intent at the same time, one gets it."""
    journal.intend([intent(str(number)) for number in range(20)])
    journal.close()
    code = """
        sys.stdin.readline()
        print(*(number for number in range(20) if journal.claim(str(number), sys.argv[2], 1)))
        """
    processes = [start(code, path, kernel) for kernel in range(4)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    claimed = [(number, str(k)) for k, process in enumerate(processes) for number in process.communicate()[0].split()]
    assert claimed
    assert sorted(claimed) == sorted(
        (entry.intent.id, entry.claimed_by) for entry in journal.entries() if entry.claimed_by
    )


def test_closed_and_used_again(journal: Journal) -> None:
    """Closing lets go of the file, not of the journal."""
    journal.close()
    journal.intend([intent()])
    journal.close()
    assert journal._connection is None
    assert conclude(journal) == ""
