"""What was asked and what came back, in SQLite, written before sending.

One row per request that may change orders, an `Intent`. Those of a call are committed in one transaction before the
first byte is sent, and the answers with their outcomes in one more. It survives a crash and a power cut: rollback
journal (network homes have no WAL), and ``synchronous=EXTRA``, since with FULL alone a deleted rollback journal may
reappear after a power cut and undo an intent that has been sent. Ours stays: each commit zeroes its header on disk
(``journal_mode=PERSIST``), which is as safe, and takes a third less time than making and deleting a file.

A journal that cannot be written stops nothing: `Journal.intend` and `Journal.conclude` say why, and the next call tries
again. A file that is damaged, newer or another user's is never changed.
"""

from __future__ import annotations

import os
import stat
import threading
import time
import zlib
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from nbext import private_files
from nbext.entries import CONCLUDE, ENTRIES, INTEND, NEVER_KEPT, Conclusion, Entry, Intent, Row
from nbext.errors import ConfigurationError
from nbext.forks import in_child, records
from nbext.private_files import UnfitError
from nbext.signals import from_a_signal, let_through

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Mapping, Sequence

T = TypeVar("T")

PATIENCE_SECONDS = 0.2
_POLL_SECONDS = 0.0002
GRACE_MS = 60_000
CLAIM_MS = 300_000

_APPLICATION = int.from_bytes(b"nbxt", "big")
_VERSION = 2
_SCHEMA = (
    """
    CREATE TABLE intents (
        number INTEGER PRIMARY KEY,
        id TEXT NOT NULL UNIQUE,
        call_id TEXT NOT NULL,
        sent_at INTEGER NOT NULL,
        deadline INTEGER NOT NULL,
        profile TEXT NOT NULL,
        host TEXT NOT NULL,
        key TEXT NOT NULL,
        account TEXT NOT NULL,
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        params TEXT NOT NULL,
        seen TEXT NOT NULL,
        left_at INTEGER,
        claimed_by TEXT,
        claimed_at INTEGER,
        concluded_at INTEGER,
        http_status INTEGER,
        error TEXT NOT NULL DEFAULT '',
        outcomes TEXT NOT NULL DEFAULT '[]',
        answer BLOB
    )
    """,
    "CREATE INDEX unconcluded ON intents (deadline) WHERE concluded_at IS NULL",
    # Accounts are compared by fingerprint. Salted, one does not tell whether two journals are of the same account.
    "CREATE TABLE salt (salt BLOB NOT NULL)",
    "INSERT INTO salt VALUES (randomblob(16))",
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
# A claim from the future is as void as an old one: a clock was wrong.
_CLAIM = """
    UPDATE intents SET claimed_by = :by, claimed_at = :now
    WHERE id = :id AND concluded_at IS NULL
      AND (claimed_by IS NULL OR claimed_by IN (:by, :ended) OR abs(:now - claimed_at) > :good_for)
"""
_RELEASE = (
    "UPDATE intents SET claimed_by = NULL, claimed_at = NULL WHERE id = ? AND claimed_by = ? AND concluded_at IS NULL"
)
_COUNT = "SELECT count(*) FROM intents"
_OVERDUE = "WHERE concluded_at IS NULL AND deadline < ?"  # is served by the index of that name
_LATEST = (1 << 63) - 1
_FLAWS = {  # by the first word of SQLite's error names
    "BUSY": f"was locked by another program for {PATIENCE_SECONDS * 1000:.0f} ms",
    "CANTOPEN": "cannot be opened",
    "CORRUPT": "is damaged: move it",
    "FULL": "is on a full disk",
    "IOERR": "is on a full or failing disk",
    "NOTADB": "is damaged: move it",
    "READONLY": "is read-only",
}
# One lock for all journals of the process. SQLite's locks on a file belong to the process and go when any descriptor
# of that file is closed, so that no file may be looked into while a transaction is under way.
_lock = threading.RLock()
_inherited: list[sqlite3.Connection] = []


def _new_lock() -> None:
    global _lock  # noqa: PLW0603 - the child's copy is held by a thread of the parent
    _lock = threading.RLock()


in_child(_new_lock)


class Journal:
    """A journal in a file, created when the first intent is written.

    Threads, processes and forked children may share it.

    Parameters
    ----------
    path : Path or None
        None for a journal that is off.

    Attributes
    ----------
    path : Path or None
    """

    def __init__(self, path: Path | None) -> None:
        self.path, self._flaw = path, ""
        if path is not None:
            try:
                self.path = path.absolute()
            except (
                OSError,
                RuntimeError,
            ) as error:  # it is relative, and starts from a folder that was deleted
                let_through(error)
                self._flaw = f"{path} is relative to a deleted folder: use an absolute path"
        self._salt = b""
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0, 0)  # process, device, inode

    @classmethod
    def from_environment(cls) -> Journal:
        """Return the journal that ``NBEXT_JOURNAL`` names (a path or ``off``), else that in the user's data folder."""
        named = os.environ.get("NBEXT_JOURNAL", "").strip()
        if named.lower() == "off":
            return cls(None)
        # Path.expanduser raises for an unknown user, and no cancel may fail for that.
        path = Path(os.path.expanduser(named))  # noqa: PTH111
        if not named:
            try:
                import platformdirs

                # The version is in the name, so that an older nbext keeps using its own file.
                path = platformdirs.user_data_path("nbext", appauthor=False) / f"journal-{_VERSION}.sqlite3"
            except Exception as error:  # noqa: BLE001 - cancels go out even where no data folder can be found
                let_through(error)
                path = Path(f"journal-{_VERSION}.sqlite3")
                return cls._unfit(path, f"has no usable folder ({type(error).__name__}): set NBEXT_JOURNAL to a file")
        if str(path).startswith("~"):
            return cls._unfit(path, "is in a home directory that does not exist: set NBEXT_JOURNAL to a file")
        return cls(path)

    @classmethod
    def _unfit(cls, path: Path, flaw: str) -> Journal:
        journal = cls(None)
        journal.path, journal._flaw = path, f"{path} {flaw}"
        return journal

    def intend(self, intents: Sequence[Intent], fingerprint: Callable[[bytes], str] | None = None) -> str:
        """Record what is about to be sent: all of it, or nothing.

        Parameters
        ----------
        intents : sequence of Intent
            Those of one call.
        fingerprint : callable, optional
            Takes this journal's salt and returns the fingerprint of the API key that the call uses, the ``account`` of
            each intent. Only that key may reconcile them later.

        Returns
        -------
        str
            Empty once they are on disk; otherwise why they were not recorded.

        Raises
        ------
        ValueError
            A parameter must never be kept. A bug in the caller.
        """
        for intent in intents:
            if kept := sorted(name for name in intent.params if name.lower() in NEVER_KEPT):
                raise ValueError(f"the journal must not hold the parameter {kept[0]!r}")

        def rows(salt: bytes) -> list[Row]:
            account = fingerprint(salt) if fingerprint else ""
            return [intent.row(account) for intent in intents]

        return self._write(INTEND, rows)[1] if intents else ""

    def conclude(
        self,
        intent_id: str,
        *,
        http_status: int | None,
        answer: bytes | None,
        outcomes: Sequence[Mapping[str, object]],
        error: str = "",
    ) -> str:
        """Record one `Conclusion`; as `conclude_all`."""
        return self.conclude_all([Conclusion(intent_id, http_status, answer, outcomes, error)])

    def conclude_all(self, conclusions: Sequence[Conclusion]) -> str:
        """Record the answers and the outcomes: all of it, or nothing.

        A later conclusion replaces an earlier one, but keeps its status and answer if it has none itself.

        Returns
        -------
        str
            Empty once they are on disk; otherwise why they were not recorded.
        """
        now = time.time_ns() // 1_000_000

        def rows(_: bytes) -> list[Row]:
            return [each.row(now) for each in conclusions]

        changed, reason = self._write(CONCLUDE, rows) if conclusions else (0, "")
        return reason or ("" if changed == len(conclusions) else f"{self.path} does not hold what was sent")

    def flaw(self) -> str:
        """Return why nothing can be recorded; empty where it can. Writes nothing but an empty journal."""
        return self._write("UPDATE intents SET id = id WHERE number = ?", lambda _: [(-1,)])[1]

    def entries(self, last: int | None = None) -> list[Entry]:
        """Read what is recorded, oldest first.

        Parameters
        ----------
        last : int, optional
            Only this many, the latest.

        Returns
        -------
        list of Entry
            Empty if there is no journal yet, or it is off.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        most = _LATEST if last is None else min(last, _LATEST)
        return [Entry.from_row(row[1:]) for row in self._read(f"{ENTRIES} ORDER BY number DESC LIMIT ?", (most,))][::-1]

    def count(self) -> int:
        """Return how many requests are recorded.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        # No row is ever deleted, and counting a million of them would read the whole file.
        return _number(self._read("SELECT max(number) FROM intents", ()))

    def count_open(self, before: int | None = None) -> int:
        """Return how many requests have no conclusion.

        Parameters
        ----------
        before : int, optional
            Only those whose deadline was over a minute before this moment, in milliseconds UTC.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        latest = _LATEST if before is None else before - GRACE_MS
        return _number(self._read(f"{_COUNT} {_OVERDUE}", (latest,)))

    def overdue(self, now: int, *, after: int = 0, most: int = 100) -> list[tuple[int, Entry]]:
        """Return the requests without a conclusion whose deadline was over a minute ago, oldest first.

        Parameters
        ----------
        now : int
            Milliseconds UTC.
        after : int
            Only those with a higher number; for the next page, the number of the last one.
        most : int
            At most this many.

        Returns
        -------
        list of tuple
            Number and entry of each.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        query = f"{ENTRIES} {_OVERDUE} AND number > ? ORDER BY number LIMIT ?"
        return [(row[0], Entry.from_row(row[1:])) for row in self._read(query, (now - GRACE_MS, after, most))]

    def salt(self) -> bytes:
        """Return the salt of this journal's fingerprints; empty if there is no journal yet.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        rows = self._read("SELECT salt FROM salt", ())
        return bytes(rows[0][0]) if rows and isinstance(rows[0][0], bytes) else b""

    def answer(self, intent_id: str) -> bytes | None:
        """Return the raw answer to a request; None if there is none.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        rows = self._read("SELECT answer FROM intents WHERE id = ?", (intent_id,))
        packed = rows[0][0] if rows else None
        try:
            return None if packed is None else zlib.decompress(packed)
        except (zlib.error, TypeError):
            raise self._unreadable(f"{self.path} {_FLAWS['CORRUPT']}") from None

    def claim(self, intent_id: str, by: str, now: int, *, ended: str | None = None) -> bool:
        """Reserve an intent for reconciling; for five minutes no other process can.

        Parameters
        ----------
        intent_id : str
        by : str
            One name per kernel. The holder may claim again, to keep it longer.
        now : int
            Milliseconds UTC.
        ended : str, optional
            A kernel that has ended, so that its claim is void.

        Returns
        -------
        bool
            False if another kernel has it, it is concluded, or the journal cannot be written.
        """
        claim = {"id": intent_id, "by": by, "ended": ended, "now": now, "good_for": CLAIM_MS}
        return self._write(_CLAIM, lambda _: [claim])[0] == 1

    def release(self, intent_id: str, by: str) -> None:
        """Give up a claim on an intent that has no conclusion; another kernel may claim it at once."""
        self._write(_RELEASE, lambda _: [(intent_id, by)])

    def close(self) -> None:
        """Close the file. A later call opens it again."""
        with records, _lock:
            self._disconnect()

    def _write(
        self, statement: str, rows: Callable[[bytes], Sequence[Sequence[object] | Mapping[str, object]]]
    ) -> tuple[int, str]:
        """Execute a statement in a transaction; return the number of rows changed, and why it failed.

        `rows` takes the salt. It is called inside, so that data that cannot be recorded is a reason, not an error.
        """
        if self.path is None:
            return 0, "the journal is off"

        def transact(connection: sqlite3.Connection) -> int:
            connection.execute("PRAGMA journal_mode = PERSIST")  # costs next to nothing, also where it was set before
            # EXCLUSIVE at once: other readers and writers are waited for here, so COMMIT never waits.
            connection.execute("BEGIN EXCLUSIVE")
            if not _is_laid_out(connection):
                for part in _SCHEMA:
                    connection.execute(part)
            if not self._salt:
                self._salt = connection.execute("SELECT salt FROM salt").fetchone()[0]
            changed = connection.executemany(statement, rows(self._salt)).rowcount
            connection.execute("COMMIT")
            return changed

        try:
            return self._attempt(self.path, transact, create=True), ""
        except UnfitError as error:
            return 0, str(error)

    def _read(self, query: str, parameters: Sequence[object]) -> list[Row]:
        if self.path is None:
            return []

        def select(connection: sqlite3.Connection) -> list[Row]:
            return connection.execute(query, parameters).fetchall() if _is_laid_out(connection) else []

        try:
            return self._attempt(self.path, select)
        except UnfitError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise self._unreadable(str(error)) from None

    def _attempt(self, path: Path, work: Callable[[sqlite3.Connection], T], *, create: bool = False) -> T:
        """Do some work on the open file, all or nothing, and wait briefly while others have it locked.

        Raises
        ------
        UnfitError
            It failed.
        """
        if self._flaw:
            raise UnfitError(self._flaw)
        give_up = time.monotonic() + PATIENCE_SECONDS
        with records, _lock:
            while True:
                try:
                    return work(self._connect(path, create=create))
                except BaseException as error:
                    if _flaw_word(error) == "BUSY" and time.monotonic() < give_up:
                        # Nothing has begun. SQLite's own waiting grows to steps of 100 ms, in which others who write
                        # one entry after the other always overtake.
                        time.sleep(_POLL_SECONDS)
                        continue
                    self._disconnect()  # also after an interrupt; rolls back
                    if isinstance(error, UnfitError):
                        raise
                    if (
                        isinstance(error, Exception) and from_a_signal(error) is None
                    ):  # even our own bugs stop no cancel
                        raise UnfitError(_reason(path, error)) from error
                    raise

    @staticmethod
    def _unreadable(reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"the journal {reason}; it cannot be read, and nothing was sent. "
            "Fix that, or set NBEXT_JOURNAL to another file."
        )

    def _connect(self, path: Path, *, create: bool = False) -> sqlite3.Connection:
        """Open the file, unless this process has it open and the path still names it."""
        import sqlite3

        try:
            facts = private_files.inspect(path)
        except FileNotFoundError:
            if not create:
                raise
            private_files.create(path)
            facts = private_files.inspect(path)
        opened = (os.getpid(), facts.st_dev, facts.st_ino)
        if self._connection is not None and self._opened == opened:
            return self._connection
        self._disconnect()
        _inspect_surroundings(path)
        # Not "rwc": were the file gone by now, SQLite would make one that others can read.
        connection = sqlite3.connect(
            f"{path.as_uri()}?mode=rw",
            uri=True,
            timeout=0,
            isolation_level=None,
            check_same_thread=False,
        )
        self._connection, self._opened, self._salt = connection, opened, b""
        # One text that is not UTF-8 must not spoil the rows beside it.
        connection.text_factory = _text
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._opened[0] != os.getpid():
            _inherited.append(connection)  # SQLite: never use or close a connection from before a fork
            return
        import sqlite3

        with suppress(sqlite3.Error):
            connection.rollback()
        with suppress(sqlite3.Error):
            connection.close()


def _inspect_surroundings(path: Path) -> None:
    """Check what SQLite would trust, before SQLite opens it.

    Opening a database may change it and the files beside it, so a foreign one is recognized by its header alone.
    """
    folder = path.parent.stat()
    if os.name == "posix" and folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise UnfitError(f"{path.parent} is writable by others: chmod o-w it")
    for suffix in ("-journal", "-wal"):
        # Such a file can put anything into the database.
        with suppress(FileNotFoundError):
            private_files.inspect(path.with_name(path.name + suffix))
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        return
    if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[68:72], "big") != _APPLICATION:
        raise UnfitError(f"{path} is not an nbext journal: use another file")
    _check_version(int.from_bytes(header[60:64], "big"))


def _is_laid_out(connection: sqlite3.Connection) -> bool:
    """Return whether the tables exist; not in a new file, nor where creating them was cut short."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version:
        _check_version(version)
    return bool(version)


def _check_version(version: int) -> None:
    if version != _VERSION:
        raise UnfitError(f"the journal has version {version}, not {_VERSION}, from another nbext: use another file")


def _flaw_word(error: BaseException) -> str:
    """Return BUSY for SQLITE_BUSY_RECOVERY, and so on; empty for an error that is not SQLite's."""
    name: str = getattr(error, "sqlite_errorname", "")
    return name.removeprefix("SQLITE_").partition("_")[0]


def _reason(path: Path, error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else error
    return f"{path} {_FLAWS.get(_flaw_word(error), f'cannot be used ({said})')}"


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "replace")


def _number(rows: list[Row]) -> int:
    return int(rows[0][0] or 0) if rows else 0
