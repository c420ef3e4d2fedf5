"""What was asked and what came back, in SQLite, written before sending.

One row per request that may change orders, an `Intent`. Those of a call are committed in one transaction before the
first byte goes out, and the answers with their outcomes in one more. What stands here survives the process and the
power: rollback journal (network homes have no WAL), and ``synchronous=EXTRA``, since FULL alone may bring a rollback
journal back after a power cut, and with it take back an intent that has been sent.

A journal that cannot be written stops nothing: `Journal.intend` and `Journal.conclude` say why, and the next call tries
again. A file that is damaged, newer or somebody else's is left exactly as it is.
"""

from __future__ import annotations

import json
import os
import stat
import threading
import time
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from nbext.errors import ConfigurationError

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Callable, Iterable, Mapping, Sequence

T = TypeVar("T")
_Row = tuple[Any, ...]

PATIENCE_SECONDS = 0.2
_POLL_SECONDS = 0.0002
_INTENT_COLUMNS = 10
GRACE_MS = 60_000
CLAIM_MS = 300_000

_APPLICATION = int.from_bytes(b"nbxt", "big")
_VERSION = 1
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
        method TEXT NOT NULL,
        path TEXT NOT NULL,
        params TEXT NOT NULL,
        seen TEXT NOT NULL,
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
    f"PRAGMA application_id = {_APPLICATION}",
    f"PRAGMA user_version = {_VERSION}",
)
_INTEND = """
    INSERT INTO intents (id, call_id, sent_at, deadline, profile, host, method, path, params, seen)
    VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
"""
_CONCLUDE = """
    UPDATE intents
    SET concluded_at = ?, http_status = coalesce(?, http_status), error = ?, outcomes = ?, answer = coalesce(?, answer)
    WHERE id = ?
"""
# A claim from the future is as dead as an old one: somebody's clock was wrong.
_CLAIM = """
    UPDATE intents SET claimed_by = :by, claimed_at = :now
    WHERE id = :id AND concluded_at IS NULL
      AND (claimed_by IS NULL OR claimed_by = :by OR abs(:now - claimed_at) > :good_for)
"""
_ENTRIES = """
    SELECT id, call_id, sent_at, deadline, profile, host, method, path, params, seen,
           concluded_at, http_status, error, outcomes, answer IS NOT NULL, claimed_by
    FROM intents
"""
_FLAWS = {  # by the first word of SQLite's error names
    "BUSY": f"has been locked by another program for {PATIENCE_SECONDS * 1000:.0f} ms",
    "CANTOPEN": "cannot be opened",
    "CORRUPT": "is damaged: move it away",
    "FULL": "is on a disk that is full",
    "IOERR": "is on a disk that is full or fails",
    "NOTADB": "is damaged: move it away",
    "READONLY": "cannot be written, only read",
}
# They are made when a request is signed, after its intent is recorded: who passes them passes what must not be kept.
_NEVER_KEPT = frozenset({"signature", "timestamp"})

# One lock for all journals of the process. SQLite's locks on a file belong to the process and go when any descriptor
# of that file is closed, so that no file may be looked into while a transaction is under way. A fork waits for the lock
# as well: the child would inherit half a transaction, and what SQLite remembers of its locks.
_lock = threading.RLock()
_inherited: list[sqlite3.Connection] = []


def _lock_anew() -> None:
    global _lock  # noqa: PLW0603 - the child's copy is held by a thread of the parent
    _lock = threading.RLock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=lambda: _lock.acquire(),  # noqa: PLW0108 - the lock of that time: a child may fork, too
        after_in_parent=lambda: _lock.release(),  # noqa: PLW0108
        after_in_child=_lock_anew,
    )


@dataclass(frozen=True, slots=True)
class Intent:
    """A request that is about to be sent.

    Attributes
    ----------
    id : str
        Unique, made by the caller.
    call_id : str
        The same for all requests of a call.
    sent_at : int
        Milliseconds UTC by this machine's clock.
    deadline : int
        Milliseconds UTC; after that the exchange can no longer carry it out.
    profile, host, method, path : str
        Where it goes.
    params : mapping of str to str
        Wire parameters, without timestamp and signature.
    seen : sequence of mappings
        Orders known to be open before: ``symbol``, ``orderId``, ``origClientOrderId``.
    """

    id: str
    call_id: str
    sent_at: int
    deadline: int
    profile: str
    host: str
    method: str
    path: str
    params: Mapping[str, str]
    seen: Sequence[Mapping[str, object]] = ()


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What came of a request.

    Attributes
    ----------
    intent_id : str
    http_status : int or None
        None where no answer came.
    answer : bytes or None
        The raw body, scrubbed.
    outcomes : sequence of mappings
        ``symbol``, ``orderId`` and ``outcome``.
    error : str
        What went wrong; empty where nothing did.
    """

    intent_id: str
    http_status: int | None
    answer: bytes | None
    outcomes: Sequence[Mapping[str, object]]
    error: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """An intent, and what became of it.

    Attributes
    ----------
    intent : Intent
    concluded_at : int or None
        Milliseconds UTC; None while nothing is known.
    http_status : int or None
        None where no answer came.
    error : str
        Empty when there was none.
    outcomes : sequence of mappings
        ``symbol``, ``orderId`` and ``outcome``.
    has_answer : bool
        Whether `Journal.answer` has the raw answer.
    claimed_by : str or None
        Who is settling it, or has tried to.
    """

    intent: Intent
    concluded_at: int | None
    http_status: int | None
    error: str
    outcomes: Sequence[Mapping[str, object]]
    has_answer: bool
    claimed_by: str | None


class Journal:
    """The journal in a file, which is made when the first intent is written.

    For any number of threads, and for any number of processes on the same file; a forked child may use it, too.

    Parameters
    ----------
    path : Path or None
        None for a journal that is off: it records nothing and holds nothing.

    Attributes
    ----------
    path : Path or None
    """

    def __init__(self, path: Path | None) -> None:
        self.path = None if path is None else path.absolute()
        self._connection: sqlite3.Connection | None = None
        self._opened = (0, 0, 0)  # process, device, inode

    @classmethod
    def from_environment(cls) -> Journal:
        """Make the journal that ``NBEXT_JOURNAL`` names: a path, or ``off``; else the one in the user's data folder."""
        named = os.environ.get("NBEXT_JOURNAL", "").strip()
        if named.lower() == "off":
            return cls(None)
        if named:
            # Path.expanduser raises for a user that there is not, and no cancel may fail for that.
            return cls(Path(os.path.expanduser(named)))  # noqa: PTH111
        import platformdirs

        # The version is in the name, so that an older nbext goes on with its own file beside a newer one.
        return cls(platformdirs.user_data_path("nbext", appauthor=False) / f"journal-{_VERSION}.sqlite3")

    def intend(self, intents: Sequence[Intent]) -> str:
        """Put on disk what is about to be sent: all of it, or nothing.

        Parameters
        ----------
        intents : sequence of Intent
            Those of one call.

        Returns
        -------
        str
            Empty when they are on disk; else why they were not recorded.

        Raises
        ------
        ValueError
            A parameter is one that must never be kept; a mistake of the caller.
        """
        for intent in intents:
            if kept := sorted(name for name in intent.params if name.lower() in _NEVER_KEPT):
                raise ValueError(f"the journal must not hold the parameter {kept[0]!r}")
        rows = [
            (
                intent.id,
                intent.call_id,
                intent.sent_at,
                intent.deadline,
                intent.profile,
                intent.host,
                intent.method,
                intent.path,
                _json(intent.params),
                _json(intent.seen),
            )
            for intent in intents
        ]
        return self._write(_INTEND, rows)[1] if rows else ""

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
        """Record what came back and what became of the orders: all of it, or nothing.

        A later conclusion takes the place of an earlier one, whose status and answer stay where it brings none.

        Returns
        -------
        str
            Empty when they are on disk; else why they were not recorded.
        """
        now = time.time_ns() // 1_000_000
        rows = [
            (
                now,
                conclusion.http_status,
                # An exchange's text may hold half a surrogate pair, which UTF-8 and hence SQLite has no room for.
                conclusion.error.encode("utf-8", "backslashreplace").decode(),
                _json(conclusion.outcomes),
                # Level 1: an answer is JSON and shrinks to a tenth either way, and somebody waits for the frame.
                None if conclusion.answer is None else zlib.compress(conclusion.answer, 1),
                conclusion.intent_id,
            )
            for conclusion in conclusions
        ]
        changed, reason = self._write(_CONCLUDE, rows) if rows else (0, "")
        return reason or ("" if changed == len(rows) else f"{self.path} does not hold what was sent")

    def entries(self, last: int | None = None) -> list[Entry]:
        """Read what is recorded, oldest first.

        Parameters
        ----------
        last : int, optional
            Only so many, the latest.

        Returns
        -------
        list of Entry
            Empty where there is no journal yet, or it is off.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        newest_first = self._entries(f"{_ENTRIES} ORDER BY number DESC LIMIT ?", (-1 if last is None else last,))
        return newest_first[::-1]

    def unsettled(self, now: int) -> list[Entry]:
        """Give the intents that have no conclusion and are past their deadline by more than a minute, oldest first.

        Parameters
        ----------
        now : int
            Milliseconds UTC.

        Raises
        ------
        ConfigurationError
            It cannot be read.
        """
        overdue = f"{_ENTRIES} WHERE concluded_at IS NULL AND deadline < ? ORDER BY number"
        return self._entries(overdue, (now - GRACE_MS,))

    def answer(self, intent_id: str) -> bytes | None:
        """Give the raw answer to a request; None when there is none.

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

    def claim(self, intent_id: str, by: str, now: int) -> bool:
        """Take it upon oneself to settle an intent, which nobody else may then do for five minutes.

        Parameters
        ----------
        intent_id : str
        by : str
            Who: one name for each kernel. Whoever has it may claim again, to have it for longer.
        now : int
            Milliseconds UTC.

        Returns
        -------
        bool
            False when somebody else has it, it is concluded, or the journal cannot be written.
        """
        return self._write(_CLAIM, [{"id": intent_id, "by": by, "now": now, "good_for": CLAIM_MS}])[0] == 1

    def close(self) -> None:
        """Let go of the file. A later call opens it again."""
        with _lock:
            self._disconnect()

    def _write(self, statement: str, rows: Iterable[Sequence[object] | Mapping[str, object]]) -> tuple[int, str]:
        """Do one thing in a transaction; give the number of rows it changed, and why it could not be done."""
        if self.path is None:
            return 0, "the journal is off"

        def transact(connection: sqlite3.Connection) -> int:
            connection.execute("PRAGMA journal_mode = DELETE")  # costs nothing, unless somebody has changed it
            # EXCLUSIVE at once: whoever else reads or writes is waited for here, and COMMIT waits for nobody.
            connection.execute("BEGIN EXCLUSIVE")
            if not _is_laid_out(connection):
                for part in _SCHEMA:
                    connection.execute(part)
            changed = connection.executemany(statement, rows).rowcount
            connection.execute("COMMIT")
            return changed

        try:
            return self._attempt(self.path, transact, create=True), ""
        except _UnfitError as error:
            return 0, str(error)

    def _read(self, query: str, parameters: Sequence[object]) -> list[_Row]:
        if self.path is None:
            return []

        def select(connection: sqlite3.Connection) -> list[_Row]:
            return connection.execute(query, parameters).fetchall() if _is_laid_out(connection) else []

        try:
            return self._attempt(self.path, select)
        except _UnfitError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                return []
            raise self._unreadable(str(error)) from None

    def _attempt(self, path: Path, work: Callable[[sqlite3.Connection], T], *, create: bool = False) -> T:
        """Do some work on the open file, all or nothing, and wait a moment for others who have it locked.

        Raises
        ------
        _UnfitError
            It could not be done, for whatever reason.
        """
        import sqlite3

        give_up = time.monotonic() + PATIENCE_SECONDS
        with _lock:
            while True:
                try:
                    return work(self._connect(path, create=create))
                except BaseException as error:
                    if _flaw_word(error) == "BUSY" and time.monotonic() < give_up:
                        # Nothing has begun. SQLite's own waiting grows to steps of 100 ms, in which others who write
                        # one entry after the other overtake for good.
                        time.sleep(_POLL_SECONDS)
                        continue
                    self._disconnect()  # also after an interrupt; takes back what has begun
                    if isinstance(error, (sqlite3.Error, OSError, ValueError, OverflowError)):
                        raise _UnfitError(_reason(path, error)) from error
                    raise

    def _entries(self, query: str, parameters: Sequence[object]) -> list[Entry]:
        rows = self._read(query, parameters)
        try:
            return [_entry(row) for row in rows]
        except (ValueError, TypeError):
            raise self._unreadable(f"{self.path} {_FLAWS['CORRUPT']}") from None

    @staticmethod
    def _unreadable(reason: str) -> ConfigurationError:
        return ConfigurationError(
            f"the journal {reason}; it cannot be read, and nothing was sent. "
            "Mend that, or name another file in NBEXT_JOURNAL."
        )

    def _connect(self, path: Path, *, create: bool = False) -> sqlite3.Connection:
        """Open the file, unless this process has, and it is still the one that the path names."""
        import sqlite3

        try:
            facts = _inspect(path)
        except FileNotFoundError:
            if not create:
                raise
            _create(path)
            facts = _inspect(path)
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
        self._connection, self._opened = connection, opened
        connection.execute("PRAGMA synchronous = EXTRA")
        return connection

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._opened[0] != os.getpid():
            _inherited.append(connection)  # SQLite: a connection from before a fork is not to be used, nor closed
            return
        import sqlite3

        with suppress(sqlite3.Error):
            connection.rollback()
        with suppress(sqlite3.Error):
            connection.close()


class _UnfitError(Exception):
    """The file is not one to write into, or to believe."""


def _inspect(path: Path) -> os.stat_result:
    """Look at a file from outside: it has to be ours, and ours alone."""
    facts = path.lstat()
    flaw = ""
    if stat.S_ISLNK(facts.st_mode):
        flaw = "is a symbolic link: name the file that it leads to"
    elif not stat.S_ISREG(facts.st_mode):
        flaw = "is not a file"
    elif os.name == "posix" and facts.st_uid != os.geteuid():
        flaw = "belongs to somebody else"
    elif os.name == "posix" and facts.st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        flaw = "can be read or written by others: chmod 600 it"
    if flaw:
        raise _UnfitError(f"{path} {flaw}")
    return facts


def _inspect_surroundings(path: Path) -> None:
    """Look at what SQLite would believe, before SQLite does.

    Opening a database may change it and the files beside it, so that a foreign one is to be told by its header alone.
    """
    folder = path.parent.stat()
    if os.name == "posix" and folder.st_mode & stat.S_IWOTH and not folder.st_mode & stat.S_ISVTX:
        raise _UnfitError(f"{path.parent} can be written by others: chmod o-w it")
    for suffix in ("-journal", "-wal"):
        # Whoever can put one of them there decides what stands in the database.
        with suppress(FileNotFoundError):
            _inspect(path.with_name(path.name + suffix))
    with path.open("rb") as file:
        header = file.read(100)
    if not header:
        return
    if not header.startswith(b"SQLite format 3\0") or int.from_bytes(header[68:72], "big") != _APPLICATION:
        raise _UnfitError(f"{path} is not a journal of nbext: name another file")
    _check_version(int.from_bytes(header[60:64], "big"))


def _is_laid_out(connection: sqlite3.Connection) -> bool:
    """Whether the tables are there; they are not in a new file, nor where their making was cut short."""
    version = connection.execute("PRAGMA user_version").fetchone()[0]
    if version:
        _check_version(version)
    return bool(version)


def _check_version(version: int) -> None:
    if version != _VERSION:
        raise _UnfitError(f"the journal has version {version}, of another nbext, and not {_VERSION}: name another file")


def _create(path: Path) -> None:
    """Make an empty file that nobody else could ever read."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with suppress(FileExistsError):  # another process was quicker
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))


def _flaw_word(error: BaseException) -> str:
    """Give BUSY for SQLITE_BUSY_RECOVERY, and so on; empty for an error that is not SQLite's."""
    name: str = getattr(error, "sqlite_errorname", "")
    return name.removeprefix("SQLITE_").partition("_")[0]


def _reason(path: Path, error: Exception) -> str:
    said = error.strerror if isinstance(error, OSError) else error
    return f"{path} {_FLAWS.get(_flaw_word(error), f'cannot be used ({said})')}"


def _json(document: object) -> str:
    # Whatever has no form in JSON is kept as text: better than a cancel without a record.
    return json.dumps(document, default=str, separators=(",", ":"))


def _entry(row: _Row) -> Entry:
    *sent, params, seen = row[:_INTENT_COLUMNS]
    concluded_at, http_status, error, outcomes, has_answer, claimed_by = row[_INTENT_COLUMNS:]
    intent = (*sent, json.loads(params), tuple(json.loads(seen)))
    return Entry(
        Intent(*intent),
        concluded_at,
        http_status,
        error,
        tuple(json.loads(outcomes)),
        bool(has_answer),
        claimed_by,
    )
