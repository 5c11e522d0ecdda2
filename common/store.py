"""Where a daemon's state outlives it. An embedded database by default; what else can do the same fits behind `Store`.

SQLite holds the state, and a commit costs more than a registration may. So what changed is first written ahead, into
shared memory of a file (ahead.py), and settled in the database a little later, many changes at once. What `save`
returned from survives the end of the process, however it comes; the end of the machine may take the last moments with
it, never the rest: the database is written with a write-ahead log of its own (journal mode WAL, synchronous NORMAL).
"""

import logging
import os
import sqlite3
import time
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from typing import NamedTuple, Protocol

import msgspec

from common.ahead import Ahead
from common.errors import ConfigError, StoreError
from common.records import Change

Row = tuple[str, bytes, bytes]

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_STATEMENTS = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = NORMAL",
    "PRAGMA wal_autocheckpoint = 0",  # it would wait for the disk
    "CREATE TABLE IF NOT EXISTS state (name TEXT, key BLOB, value BLOB, PRIMARY KEY (name, key)) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS about (id INTEGER PRIMARY KEY, settled INT, boot_id TEXT, utc_offset REAL, born INT)",
)
_SYNC_AFTER = 4096  # changed rows

log = logging.getLogger(__name__)


class Store(Protocol):
    """`restart_counter` rises whenever state was lost, and only then (RFC 5847 section 4.1); 32 bits.

    `shift` is what is to be added to a moment of the monotonic clock that was stored, for it to mean the same today: 0
    unless the machine was started anew meanwhile.
    """

    restart_counter: int
    shift: float

    def load(self) -> list[Row]:
        """All that is there; asked once, before anything is saved."""

    def save(self, changes: Iterable[Change]) -> None:
        """Safe from the end of this process when it returns. After a StoreError the next call tries these again."""

    @property
    def unsettled(self) -> bool:
        """Whether `settle` has something to do."""

    def settle(self) -> bool:
        """At leisure: put what was saved where it belongs. Raises StoreError, and can then be called again.

        True: `sync` is due, which waits for the disk and is therefore called by another thread.
        """

    def sync(self) -> None:
        """See settle. Raises StoreError."""

    def close(self) -> None: ...


class MemoryStore:
    """Keeps nothing beyond this process; tests give it to the next life of a core."""

    def __init__(self) -> None:
        self.restart_counter = birth()
        self.shift = 0.0
        self.unsettled = False
        self._rows: dict[tuple[str, bytes], bytes] = {}

    def load(self) -> list[Row]:
        return [(name, key, value) for (name, key), value in self._rows.items()]

    def save(self, changes: Iterable[Change]) -> None:
        _apply(changes, self._rows)

    def settle(self) -> bool:
        return False

    def sync(self) -> None: ...

    def close(self) -> None: ...


class SqliteStore:
    """`<directory>/<name>.sqlite3`, and `<name>.ahead` beside it."""

    def __init__(self, directory: Path, name: str) -> None:
        """Raises ConfigError when the directory cannot be used. A database that cannot be read is set aside."""
        self._path = directory / f"{name}.sqlite3"
        self._pending: dict[tuple[str, bytes], bytes | None] = {}
        self._is_current = False  # whether what is stored is in terms of this boot's clock
        self._unsynced = 0
        try:
            directory.mkdir(parents=True, exist_ok=True)
            try:
                self._database, about = _open(self._path)
            except sqlite3.OperationalError:
                raise
            except sqlite3.DatabaseError as error:
                self._set_aside(error)
                self._database, about = _open(self._path)
            self._ahead = Ahead(self._path.with_suffix(".ahead"), about.settled)
        except OSError as error:
            raise ConfigError(f"state directory {directory}: {error.strerror}") from error
        except sqlite3.Error as error:
            raise ConfigError(f"state directory {directory}: {self._path.name}: {error}") from error
        self.restart_counter = about.born
        self.shift = 0.0 if about.boot_id == _boot_id() else about.utc_offset - _utc_offset()

    def load(self) -> list[Row]:
        rows = {(name, key): value for name, key, value in self._database.execute("SELECT * FROM state")}
        for entry in self._ahead.entries():
            changes = msgspec.msgpack.decode(entry, type=list[Change])
            self._pending.update({(name, key): value for name, key, value in changes})
            _apply(changes, rows)
        return [(*key, value) for key, value in rows.items()]

    def save(self, changes: Iterable[Change]) -> None:
        changes = list(changes)
        entry = msgspec.msgpack.encode(changes)
        ahead = self._is_current and self._ahead.append(entry)
        self._pending.update({(name, key): value for name, key, value in changes})
        if not ahead:
            self.settle()

    @property
    def unsettled(self) -> bool:
        return bool(self._pending)

    def settle(self) -> bool:
        gone = [key for key, value in self._pending.items() if value is None]
        there = [(*key, value) for key, value in self._pending.items() if value is not None]
        about = About(self._ahead.number, _boot_id(), _utc_offset(), self.restart_counter)
        try:
            with self._database:
                self._database.execute("BEGIN")
                self._database.executemany("DELETE FROM state WHERE name = ? AND key = ?", gone)
                self._database.executemany("INSERT OR REPLACE INTO state VALUES (?, ?, ?)", there)
                self._database.execute("INSERT OR REPLACE INTO about VALUES (0, ?, ?, ?, ?)", about)
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error
        self._unsynced += len(self._pending)
        self._is_current = True
        self._pending.clear()
        self._ahead.rewind()
        return self._unsynced > _SYNC_AFTER

    def sync(self) -> None:
        self._unsynced = 0
        try:
            with closing(sqlite3.connect(self._path)) as database:
                database.execute("PRAGMA wal_checkpoint(PASSIVE)")
        except sqlite3.Error as error:
            raise StoreError(f"{self._path}: {error}") from error

    def close(self) -> None:
        try:
            if self._pending:
                self.settle()
        finally:
            self._ahead.close()
            self._database.close()

    def _set_aside(self, error: Exception) -> None:
        aside = self._path.with_suffix(".unreadable")
        log.error("%s cannot be read (%s): it is now %s, and nothing is remembered", self._path, error, aside.name)
        self._path.rename(aside)
        for leftover in (f"{self._path.name}-wal", f"{self._path.name}-shm", f"{self._path.stem}.ahead"):
            self._path.with_name(leftover).unlink(missing_ok=True)


class About(NamedTuple):
    """The one row of `about`: last settled entry of the log ahead, the boot whose clock moments are of, that clock's
    zero in seconds since 1970, and when this state began."""

    settled: int
    boot_id: str
    utc_offset: float
    born: int


def _open(path: Path) -> tuple[sqlite3.Connection, About]:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, isolation_level=None)
    try:
        for statement in _STATEMENTS:
            database.execute(statement)
        if (said := database.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
            raise sqlite3.DatabaseError(said)
        row = database.execute("SELECT settled, boot_id, utc_offset, born FROM about").fetchone()
    except BaseException:
        database.close()
        raise
    return database, About(*row) if row else About(0, _boot_id(), _utc_offset(), birth())


def _apply(changes: Iterable[Change], rows: dict[tuple[str, bytes], bytes]) -> None:
    for name, key, value in changes:
        if value is None:
            rows.pop((name, key), None)
        else:
            rows[name, key] = value


def _utc_offset() -> float:
    """Seconds since 1970 at the monotonic clock's zero."""
    return time.time() - time.monotonic()


def _boot_id() -> str:
    return _BOOT_ID.read_text().strip()


def birth() -> int:
    """A restart counter that is larger than any before: when it began."""
    return int(time.time()) & 0xFFFFFFFF
