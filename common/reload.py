"""SIGHUP: the configuration file is read again; what can change at once does, what cannot is named, all or nothing.

Each daemon's config.py lists what it can change (RELOADABLE), as `table.key`, or as `table` for a whole one.
"""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from common.actions import Note
from common.config import load
from common.errors import ConfigError, DataPlaneError

T = TypeVar("T", bound=msgspec.Struct)


class Reloading(Generic[T]):
    """The configuration in force. `apply` makes a daemon follow another one, or raises and has changed nothing."""

    def __init__(self, path: Path, config: T, reloadable: frozenset[str], apply: Callable[[T], None]) -> None:
        self.config = config
        self._path = path
        self._reloadable = reloadable
        self._apply = apply
        self._last = "never"
        self._needs_restart: list[str] = []

    def reload(self) -> Note:
        """Read the file and follow it as far as may be; what came of it."""
        try:
            wanted = load(self._path, type(self.config))
            changed = list(differences(self.config, wanted))
            now = [key for key in changed if key in self._reloadable]
            config = _with(self.config, wanted, now)
            self._apply(config)
        except (ConfigError, DataPlaneError) as error:
            self._last = f"refused: {error}"
            return Note("reload-refused", detail=str(error))
        self.config = config
        self._needs_restart = [key for key in changed if key not in now]
        self._last = "changed " + (", ".join(now) or "nothing")
        waits = f"; needs a restart: {', '.join(self._needs_restart)}" if self._needs_restart else ""
        return Note("reloaded", detail=self._last + waits)

    def show(self) -> dict[str, object]:
        return {"file": str(self._path), "last_reload": self._last, "needs_restart": self._needs_restart}


def differences(old: msgspec.Struct, new: msgspec.Struct) -> Iterator[str]:
    """What differs: `table.key`, or the name of an array of tables."""
    for table in msgspec.structs.fields(old):
        before, after = getattr(old, table.name), getattr(new, table.name)
        if isinstance(before, msgspec.Struct):
            for key in msgspec.structs.fields(before):
                if getattr(before, key.name) != getattr(after, key.name):
                    yield f"{table.name}.{key.name}"
        elif before != after:
            yield table.name


def _with(config: T, wanted: T, keys: list[str]) -> T:
    """The configuration with these keys as wanted. Raises ConfigError when they do not go with those that stay."""
    tables: dict[str, Any] = {}
    for each in keys:
        table, _, key = each.partition(".")
        value = getattr(wanted, table)
        if key:
            running = tables.get(table, getattr(config, table))
            value = msgspec.structs.replace(running, **{key: getattr(value, key)})
        tables[table] = value
    try:
        return msgspec.structs.replace(config, **tables)
    except ConfigError as error:
        raise ConfigError(f"not without a restart: {error}") from error
