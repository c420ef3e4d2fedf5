"""The journal's file: when it cannot be written, and when it is not fit to be used."""

from __future__ import annotations

import os
import sqlite3
import threading
import time
from contextlib import closing, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import pytest
from support.journals import NOW, conclude, content, ids, intent, posix, root, run, start, unsettled

from nbext.errors import ConfigurationError
from nbext.journal import Journal

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
            assert write() == f"{path} was locked by another program for 200 ms"
            assert 0.2 <= time.monotonic() - began < 4
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
        assert not any(path.with_name(path.name + "-journal").read_bytes()[:28])  # nothing to roll back
        assert [entry.concluded_at for entry in journal.entries()] == [None]
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        print([journal.conclude("a", http_status=200, answer=blob, outcomes=[]), journal.intend([intent("b")])])
        assert journal.answer("a") == blob
        """,
        path,
    )
    full = f"{path} is on a full or failing disk"
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
    assert said.splitlines() == [f"{path} is on a full or failing disk", "['']"]


def test_no_more_pages(journal: Journal, path: Path) -> None:
    """SQLite's own word for a full disk."""
    journal.intend([intent()])
    assert journal._connection is not None
    pages = journal._connection.execute("PRAGMA page_count").fetchone()[0]
    journal._connection.execute(f"PRAGMA max_page_count = {pages}")
    before = path.read_bytes()
    assert conclude(journal, answer=os.urandom(50_000)) == f"{path} is on a full disk"
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
        (make_text, "is not an nbext journal"),
        (make_short, "is not an nbext journal"),
        (make_foreign, "is not an nbext journal"),
        (make_foreign_wal, "is not an nbext journal"),
        (make_newer, "has version 3, not 2, from another nbext"),
        (make_truncated, "is damaged: move it"),
        (make_rotten, "is damaged: move it"),
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
    reason = f"{path} is a symbolic link: use the file that it points to"
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
    assert journal.intend([intent()]) == f"{path.parent} is writable by others: chmod o-w it"
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
    assert ids(journal) == ["new"]  # the rollback journal that stayed has brought nothing back
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
    assert {file.name for file in path.parent.iterdir()} == {path.name, f"{path.name}-journal"}
