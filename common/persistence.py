"""Joins the tables of a core to a store: what changed is saved before anything is done that follows from it.

So the store is never behind the kernel or the peers: killed at any moment, a daemon starts with what it had decided,
and makes the rest agree with it.
"""

import logging
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar

import msgspec

from common.actions import Note
from common.errors import StoreError
from common.records import Change, Table
from common.store import SqliteStore, Store, birth

T = TypeVar("T")
UNREADABLE = (KeyError, IndexError, ValueError, TypeError, msgspec.DecodeError)  # of another version, or no such thing

log = logging.getLogger(__name__)


class Persistence:
    """The shell calls `save` before it acts, and `settle` when there is time.

    `loaded` are the rows that an earlier life left, by table; the core puts into its tables what it can go on with.
    `notes` are what is to be said, once it begins to fail and once that is over, until somebody has taken them.
    `unreadable` is how many this version could not read or has no table for. `lost`: there was nothing to load, or a
    row of these tables could not be read; then the restart counter has risen.
    """

    def __init__(self, store: Store, tables: Sequence[Table[Any, Any]]) -> None:
        self._store = store
        self._tables = {table.name: table for table in tables}
        self.loaded: dict[str, dict[Any, Any]] = {table.name: {} for table in tables}
        self._unread: list[Change] = []
        for name, key, value in store.load():
            try:
                found, row = self._tables[name].decode(key, value, store.shift)
            except UNREADABLE as error:
                self._unread.append((name, key, None))
                log.warning("a stored %s cannot be read: %s", name, error)
            else:
                self.loaded[name][found] = row
        self.unreadable = len(self._unread)
        missing = any(name in self._tables for name, _, _ in self._unread)
        if missing:
            store.restart_counter = birth()
        self.lost = missing or not any(self.loaded.values())
        self.notes: deque[Note] = deque()
        self._failing = False

    @classmethod
    def open(cls, directory: Path | None, daemon: str, tables: Sequence[Table[Any, Any]]) -> Self | None:
        """In this directory, or nowhere. Raises ConfigError."""
        return cls(SqliteStore(directory, daemon), tables) if directory else None

    def watch(self) -> int:
        """From now on changes are saved; rows that are in no table by now are forgotten. How many that were."""
        changes, left = self._unread, 0
        for name, table in self._tables.items():
            loaded, rows = self.loaded[name], table.rows
            left += sum(key not in rows for key in loaded)
            moved = bool(self._store.shift)  # then every moment reads differently
            unlike = {key for key in {*loaded, *rows} if moved or loaded.get(key) != rows.get(key)}
            rows.watch()
            changes += table.encode(unlike)
            loaded.clear()
        self._save(changes)
        return left

    def save(self) -> None:
        """From here on what the core has decided is not forgotten."""
        changes: list[Change] = []
        for table in self._tables.values():
            if table.rows.changed:
                changes += table.encode(table.rows.watch())
        if changes:
            self._save(changes)

    @property
    def restart_counter(self) -> int:
        """Of RFC 5847: it rises when state was lost."""
        return self._store.restart_counter

    @property
    def unsettled(self) -> bool:
        return self._store.unsettled

    def settle(self) -> bool:
        """Whether `sync` is to be called, by another thread."""
        return bool(self._try(self._store.settle))

    def sync(self) -> None:
        self._try(self._store.sync)

    def close(self) -> None:
        self.save()
        self._try(self._store.close)

    def _save(self, changes: Sequence[Change]) -> None:
        self._try(lambda: self._store.save(changes))

    def _try(self, step: Callable[[], T]) -> T | None:
        """The daemon serves on without: said once when it begins, and once when it ends."""
        try:
            done = step()
        except StoreError as error:
            if not self._failing:
                self.notes.append(Note("state-not-stored", detail=str(error)))
            self._failing = True
            return None
        if self._failing:
            self.notes.append(Note("state-stored-again"))
        self._failing = False
        return done
