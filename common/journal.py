"""What happened: events and messages, each with its moment, for a file and for whoever listens.

In the file it is one JSON line each, with nanoseconds of CLOCK_REALTIME. The moment is taken at once, the line is
written when the daemon has time: nothing on the packet path waits for a file.
"""

import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

import msgspec

from common.mh.messages import Message

FLUSH_AT = 256  # lines
Listener = Callable[[str, Message | None, dict[str, object]], None]  # event, the message it is about, other fields


class Journal:
    """Appends to a file, if it has a path, and tells `listeners`."""

    def __init__(self, path: Path | None) -> None:
        self.listeners: list[Listener] = []
        self._file: IO[bytes] | None = path.open("ab") if path else None
        self._entries: list[tuple[int, str, Message | None, dict[str, object]]] = []

    @property
    def pending(self) -> bool:
        return bool(self._entries)

    def write(self, event: str, message: Message | None = None, **fields: object) -> None:
        """Note an event; fields are written as text, those that are None not at all; of a message its name."""
        if self._file:
            self._entries.append((time.time_ns(), event, message, fields))
            if len(self._entries) >= FLUSH_AT:
                self.flush()
        for listener in tuple(self.listeners):
            listener(event, message, fields)

    def flush(self) -> None:
        if self._file and self._entries:
            for t_ns, event, message, fields in self._entries:
                said = {name: str(value) for name, value in fields.items() if value is not None}
                name = {"message": message.name} if message else {}
                self._file.write(msgspec.json.encode({"t_ns": t_ns, "event": event, **name, **said}) + b"\n")
            self._file.flush()
            self._entries.clear()

    def close(self) -> None:
        if self._file:
            self.flush()
            self._file.close()
