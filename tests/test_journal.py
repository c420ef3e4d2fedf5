"""The journal, on real files and with real processes: what is said to be recorded is on disk, and nothing else is."""

from __future__ import annotations

import os
import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nbext.errors import ConfigurationError
from nbext.journal import CLAIM_MS, GRACE_MS, Conclusion, Entry, Intent, Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

NOW = 1_700_000_000_000
OUTCOME = {"symbol": "BTCUSDT", "orderId": 2**63 - 1, "outcome": "canceled"}
PRELUDE = """
import os, sys, threading, time
from pathlib import Path
from nbext.journal import Intent, Journal

def intent(name, call="c"):
    return Intent(name, call, 1, 2, "local", "localhost", "DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"})

def put(name):
    # A busy machine may keep a lock for longer than anybody waits; that is said, and no other reason is good.
    while reason := journal.intend([intent(name)]):
        assert reason.endswith("200 ms"), reason

path = Path(sys.argv[1])
journal = Journal(path)
"""

posix = pytest.mark.skipif(os.name != "posix", reason="owners, modes and signals as POSIX has them")
root = pytest.mark.skipif(os.name != "posix" or os.geteuid() != 0, reason="only root can give a file away")


def intent(name: str = "one", *, call: str = "call", deadline: int = NOW) -> Intent:
    """Make an intent like those of a cancel-all."""
    return Intent(
        name, call, NOW, deadline, "local", "127.0.0.1:1", "DELETE", "/api/v3/openOrders", {"symbol": "BTCUSDT"}
    )


def conclude(journal: Journal, name: str = "one", *, answer: bytes | None = b"[]") -> str:
    """Conclude an intent with a cancel of one order."""
    return journal.conclude(name, http_status=200, answer=answer, outcomes=[OUTCOME])


def ids(journal: Journal) -> list[str]:
    """Names of the intents in a journal."""
    return [entry.intent.id for entry in journal.entries()]


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    """Start a process that has the journal of its first argument."""
    program = [sys.executable, "-c", PRELUDE + textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def run(code: str, *arguments: object) -> str:
    """Give what such a process says until it has ended well."""
    process = start(code, *arguments)
    said, _ = process.communicate()
    assert process.returncode == 0
    return said


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    """Give all that stands in a folder, to the byte."""
    return {
        path.name: (path.read_bytes(), path.stat().st_mtime_ns) for path in sorted(folder.iterdir()) if path.is_file()
    }


def commits(path: Path) -> int:
    """Give the file change counter of a database, which every transaction that changes it makes one larger."""
    return int.from_bytes(path.read_bytes()[24:28], "big")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Name a journal that is not there yet, nor is its folder."""
    return tmp_path / "data" / "journal.sqlite3"


@pytest.fixture
def journal(path: Path) -> Iterator[Journal]:
    """Give a journal that nothing has been written into."""
    journal = Journal(path)
    yield journal
    journal.close()


# Where it is, and what it costs before it is used.


def unsettled(journal: Journal, now: int) -> list[Entry]:
    """Read what is overdue, without the numbers."""
    return [entry for _, entry in journal.overdue(now)]


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


def test_full_sync(journal: Journal) -> None:
    """Rollback journal, and EXTRA: a rollback journal that comes back after a power cut would undo a commit."""
    journal.intend([intent()])
    assert journal._connection is not None
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    assert journal._connection.execute("PRAGMA synchronous").fetchone() == (3,)


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


# When it cannot be written, it says why, and the next call tries again.


@contextmanager
def locked(path: Path, how: str) -> Iterator[None]:
    """Have another process hold a lock on the file."""
    holder = start(
        """
        import sqlite3
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute(sys.argv[2])
        connection.execute("SELECT * FROM intents").fetchone()
        print("locked", flush=True)
        sys.stdin.read()
        """,
        path,
        how,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "locked\n"
    try:
        yield
    finally:
        holder.communicate()


@pytest.mark.parametrize("how", ["BEGIN", "BEGIN IMMEDIATE", "BEGIN EXCLUSIVE"])
def test_locked_by_another(journal: Journal, path: Path, how: str) -> None:
    """Another program's lock, a reader's too, is waited for during 200 ms; nothing half remains of it."""
    journal.intend([intent()])
    with locked(path, how):
        writes: list[Callable[[], str]] = [lambda: journal.intend([intent("two")]), lambda: conclude(journal)]
        for write in writes:
            began = time.monotonic()
            assert write() == f"{path} has been locked by another program for 200 ms"
            assert 0.2 <= time.monotonic() - began < 0.9
        assert not journal.claim("one", "me", NOW)
        if how == "BEGIN EXCLUSIVE":
            with pytest.raises(ConfigurationError, match="200 ms"):
                journal.entries()
        else:
            assert ids(journal) == ["one"]
    assert journal.intend([intent("two")]) == ""
    assert [entry.concluded_at for entry in journal.entries()] == [None, None]


def test_lock_that_goes_away_in_time(journal: Journal, path: Path) -> None:
    """A lock that another holds for less than 200 ms costs nothing but the time."""
    journal.intend([intent()])
    other = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    other.execute("BEGIN EXCLUSIVE")
    timer = threading.Timer(0.05, lambda: other.execute("COMMIT"))
    timer.start()
    assert journal.intend([intent("two")]) == ""
    timer.join()
    other.close()
    assert ids(journal) == ["one", "two"]


@posix
def test_disk_full(path: Path) -> None:
    """No room in the middle of a transaction: it is said, nothing half remains, and with room it goes on."""
    said = run(
        """
        import resource
        assert journal.intend([intent("a")]) == ""
        before = path.read_bytes()
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(before), hard))
        blob = os.urandom(300_000)
        print(journal.conclude("a", http_status=200, answer=blob, outcomes=[]))
        print(journal.intend([intent(f"{n}" * 400) for n in range(200)]))
        assert path.read_bytes() == before
        assert [path.name for path in path.parent.iterdir()] == [path.name]
        assert [entry.concluded_at for entry in journal.entries()] == [None]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print([journal.conclude("a", http_status=200, answer=blob, outcomes=[]), journal.intend([intent("b")])])
        assert journal.answer("a") == blob
        """,
        path,
    )
    full = f"{path} is on a disk that is full or fails"
    assert said.splitlines() == [full, full, "['', '']"]


@posix
def test_disk_full_at_first(path: Path) -> None:
    """No room for a new journal: it is said, and with room it is made."""
    said = run(
        """
        import resource
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
        print(journal.intend([intent("a")]))
        assert journal.entries() == []
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print([journal.intend([intent("a")])])
        """,
        path,
    )
    assert said.splitlines() == [f"{path} is on a disk that is full or fails", "['']"]


def test_no_more_pages(journal: Journal, path: Path) -> None:
    """SQLite's own word for a full disk."""
    journal.intend([intent()])
    assert journal._connection is not None
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    before = path.read_bytes()
    assert conclude(journal, answer=os.urandom(50_000)) == f"{path} is on a disk that is full"
    assert path.read_bytes() == before
    assert conclude(journal, answer=os.urandom(50_000)) == ""  # on a new connection, which has no such limit


def test_no_folder(tmp_path: Path) -> None:
    """A folder that cannot be made, since a file has its name."""
    (tmp_path / "data").touch()
    journal = Journal(tmp_path / "data" / "deeper" / "journal.sqlite3")
    assert "cannot be used (Not a directory)" in journal.intend([intent()])
    (tmp_path / "data").unlink()
    assert journal.intend([intent()]) == ""
    journal.close()


@root
def test_no_permission() -> None:
    """A folder in which one may not write: said; one may not look: said as well, and not taken for an empty journal."""
    code = """
        import sqlite3  # while it may be found
        os.setuid(65534)
        print(journal.intend([intent("a")]))
        try:
            print(journal.entries())
        except Exception as error:
            print(type(error).__name__)
        """
    with TemporaryDirectory() as folder:  # pytest's own ones lie where nobody else gets to
        path = Path(folder) / "journal.sqlite3"
        for mode, read in [(0o755, "[]"), (0o700, "ConfigurationError")]:
            path.parent.chmod(mode)
            assert run(code, path).splitlines() == [f"{path} cannot be used (Permission denied)", read]


# Nobody else reads it, and nobody else's file is touched.


@posix
def test_modes(path: Path) -> None:
    """Folder 0700 and file 0600, whatever the umask, before SQLite sees either; the rollback journal as well."""
    said = run(
        """
        def mode(path):
            return oct(path.stat().st_mode & 0o777)
        def hook(event, arguments):
            if event == "sqlite3.connect":
                print(mode(path.parent), mode(path), path.stat().st_size)
        sys.addaudithook(hook)
        os.umask(0)
        journal.intend([intent("a")])
        journal._connection.set_trace_callback(
            lambda statement: statement == "COMMIT" and print(*(f"{p.suffix} {mode(p)}" for p in path.parent.iterdir()))
        )
        journal.intend([intent("b")])
        """,
        path,
    ).splitlines()
    assert said[0] == "0o700 0o600 0"
    assert set(said[1].split()) == {".sqlite3", ".sqlite3-journal", "0o600"}


def overwrite(path: Path, offset: int, content: bytes) -> None:
    """Change some bytes of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(content)


def make_text(path: Path) -> None:
    """Write something that is no database, and longer than a header."""
    path.write_text("shopping list\n" * 20)


def make_short(path: Path) -> None:
    """Cut a journal off within its header."""
    make_journal(path)
    os.truncate(path, 50)


def make_journal(path: Path) -> None:
    """Write a good journal of several pages."""
    with closing(Journal(path)) as journal:
        journal.intend([intent(f"old {number}") for number in range(100)])


def make_truncated(path: Path) -> None:
    """Cut a journal off after its first page."""
    make_journal(path)
    os.truncate(path, 4096)


def make_rotten(path: Path) -> None:
    """Overwrite everything behind the first page of a journal."""
    make_journal(path)
    overwrite(path, 4096, b"\xa5" * (path.stat().st_size - 4096))


def make_foreign(path: Path) -> None:
    """Write somebody else's database."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE intents (id, answer)")
        connection.execute("PRAGMA user_version = 1")


def make_foreign_wal(path: Path) -> None:
    """Write somebody else's database that has been left with a write-ahead log: opening it would change both."""
    run(
        """
        import sqlite3
        connection = sqlite3.connect(path)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("CREATE TABLE intents (id)")
        connection.commit()
        os._exit(0)
        """,
        path,
    )
    assert path.with_name(f"{path.name}-wal").stat().st_size
    for file in path.parent.iterdir():
        file.chmod(0o600)


def make_newer(path: Path) -> None:
    """Write a journal of a later nbext under our name, with a write-ahead log, which we would take from it."""
    make_journal(path)
    overwrite(path, 18, b"\2\2")
    overwrite(path, 60, (3).to_bytes(4, "big"))


@pytest.mark.parametrize(
    ("make", "flaw"),
    [
        (make_text, "is not a journal of nbext"),
        (make_short, "is not a journal of nbext"),
        (make_foreign, "is not a journal of nbext"),
        (make_foreign_wal, "is not a journal of nbext"),
        (make_newer, "has version 3, of another nbext, and not 2"),
        (make_truncated, "is damaged: move it away"),
        (make_rotten, "is damaged: move it away"),
    ],
)
def test_unfit_file_is_left_alone(journal: Journal, path: Path, make: Callable[[Path], None], flaw: str) -> None:
    """A file that is foreign, newer or damaged is not written, moved or deleted, and reading it is an error."""
    path.parent.mkdir()
    make(path)
    path.chmod(0o600)
    before = content(path.parent)
    for reason in (journal.intend([intent()]), conclude(journal), journal.intend([intent()])):
        assert flaw in reason
        assert "\n" not in reason
    assert not journal.claim("one", "me", NOW)
    for read in (journal.entries, lambda: unsettled(journal, NOW), lambda: journal.answer("old 1")):
        with pytest.raises(ConfigurationError, match=flaw):
            read()
    journal.close()
    assert content(path.parent) == before
    path.unlink()
    path.with_name(f"{path.name}-wal").unlink(missing_ok=True)
    path.with_name(f"{path.name}-shm").unlink(missing_ok=True)
    assert journal.intend([intent()]) == ""


def test_damaged_answer(journal: Journal, path: Path) -> None:
    """An answer that cannot have been written by us is an error of the journal's, not of zlib."""
    journal.intend([intent()])
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("UPDATE intents SET answer = ?", (b"not zlib",))
    with pytest.raises(ConfigurationError, match="is damaged"):
        journal.answer("one")


@posix
@pytest.mark.parametrize("mode", [0o644, 0o640, 0o606, 0o620, 0o601])
def test_others_can_read(journal: Journal, path: Path, mode: int) -> None:
    """A file that is open to others is refused, also when it becomes so later; chmod 600 mends it."""
    journal.intend([intent()])
    path.chmod(mode)
    for refused in (journal, Journal(path)):
        assert refused.intend([intent("two")]) == f"{path} can be read or written by others: chmod 600 it"
        with pytest.raises(ConfigurationError, match="chmod 600"):
            refused.entries()
    path.chmod(0o600)
    assert journal.intend([intent("two")]) == ""


@root
def test_owned_by_somebody_else(journal: Journal, path: Path) -> None:
    """A file of somebody else's is refused, and so is a rollback journal, which could put anything into ours."""
    journal.intend([intent()])
    os.chown(path, 65534, -1)
    assert journal.intend([intent("two")]) == f"{path} belongs to another user"
    os.chown(path, 0, -1)
    journal.close()
    for suffix in ("-journal", "-wal"):
        beside = path.with_name(path.name + suffix)
        beside.touch(0o600)
        os.chown(beside, 65534, -1)
        assert journal.intend([intent("two")]) == f"{beside} belongs to another user"
        beside.unlink()
    assert journal.intend([intent("two")]) == ""


@posix
def test_symbolic_link(journal: Journal, path: Path, tmp_path: Path) -> None:
    """A link in place of the file is refused, and nothing is made or changed where it leads."""
    path.parent.mkdir()
    target = tmp_path / "target"
    path.symlink_to(target)
    reason = f"{path} is a symbolic link: name the file that it leads to"
    assert journal.intend([intent()]) == reason
    assert not target.exists()
    target.touch(0o600)
    assert journal.intend([intent()]) == reason
    with pytest.raises(ConfigurationError, match="symbolic link"):
        journal.entries()
    assert target.read_bytes() == b""


@posix
def test_symbolic_link_at_the_last_moment(path: Path, tmp_path: Path) -> None:
    """A link that appears between looking and making leads nowhere."""
    said = run(
        """
        target = Path(sys.argv[2])
        def hook(event, arguments):
            if event == "open" and str(arguments[0]) == str(path) and not path.is_symlink():
                path.symlink_to(target)
        sys.addaudithook(hook)
        print(journal.intend([intent("a")]))
        """,
        path,
        tmp_path / "target",
    )
    assert "is a symbolic link" in said
    assert not (tmp_path / "target").exists()


@posix
def test_folder_behind_link(path: Path, tmp_path: Path) -> None:
    """A link on the way to it is the user's own business."""
    path.parent.mkdir()
    (tmp_path / "link").symlink_to(path.parent)
    with closing(Journal(tmp_path / "link" / path.name)) as journal:
        assert journal.intend([intent()]) == ""
    assert path.exists()


@posix
def test_not_a_file(journal: Journal, path: Path) -> None:
    """A folder or a pipe in its place is refused, and a pipe is not waited for."""
    path.mkdir(parents=True)
    assert journal.intend([intent()]) == f"{path} is not a file"
    path.rmdir()
    os.mkfifo(path, 0o600)
    assert journal.intend([intent()]) == f"{path} is not a file"


@posix
def test_open_folder(journal: Journal, path: Path) -> None:
    """A folder in which anybody may swap the file is refused; /tmp, where nobody may, is not."""
    path.parent.mkdir()
    path.parent.chmod(0o777)
    assert journal.intend([intent()]) == f"{path.parent} can be written by others: chmod o-w it"
    path.parent.chmod(0o1777)
    assert journal.intend([intent()]) == ""


def test_empty_file(journal: Journal, path: Path) -> None:
    """What a process leaves that is killed between making the file and writing it: an empty journal."""
    path.parent.mkdir()
    path.touch(0o600)
    assert journal.entries() == []
    assert journal.intend([intent()]) == ""


@posix
def test_file_goes_away(journal: Journal, path: Path) -> None:
    """A journal that is deleted or replaced under an open connection is not written into nowhere."""
    journal.intend([intent("lost")])
    path.unlink()
    assert journal.entries() == []
    assert journal.intend([intent("new")]) == ""
    other = path.with_name("other")
    make_journal(other)
    other.rename(path)
    assert journal.intend([intent("newer")]) == ""
    with closing(Journal(path)) as newcomer:
        assert ids(newcomer)[-2:] == ["old 99", "newer"]


def test_write_ahead_log_is_undone(journal: Journal, path: Path) -> None:
    """A journal that a tool has set to WAL goes back to the rollback journal."""
    make_journal(path)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
    assert journal.intend([intent()]) == ""
    assert path.read_bytes()[18:20] == b"\1\1"
    assert [file.name for file in path.parent.iterdir()] == [path.name]


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
