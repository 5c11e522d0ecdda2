"""What happened: events and messages, each with its moment, for a file and for whoever listens.

In the file it is one JSON line each, with nanoseconds of CLOCK_REALTIME. The moment is taken at once, the line is
written when the daemon has time: nothing on the packet path waits for a file, and none that cannot be written ends a
service. What recording.py notes, to play it again, is for the file alone.
"""

import time
from collections import deque
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import IO

import msgspec

from common.actions import Note
from common.mh.messages import Message

FLUSH_AT = 256  # lines
Fields = Callable[[], dict[str, object]]  # what a line has besides, asked when it is written
Listener = Callable[[str, Message | None, dict[str, object]], None]  # event, the message it is about, other fields


class Journal:
    """Appends to a file, if it has a path, and tells `listeners`.

    `notes` are what is to be said, once lines begin to be missing and once that is over, until somebody has taken them.
    """

    def __init__(self, path: Path | None) -> None:
        self.listeners: list[Listener] = []
        self.notes: deque[Note] = deque()
        self._file: IO[bytes] | None = path.open("ab", buffering=0) if path else None
        self._missing = 0  # lines
        self._entries: list[tuple[int, str, Fields]] = []

    @property
    def pending(self) -> bool:
        return bool(self._entries)

    def write(self, event: str, message: Message | None = None, **fields: object) -> None:
        """Note an event; fields are written as text, those that are None not at all; of a message its name."""
        self.enter(event, partial(_said, message, fields))
        for listener in tuple(self.listeners):
            listener(event, message, fields)

    def enter(self, event: str, fields: Fields) -> None:
        """Note something for the file alone."""
        if self._file:
            self._entries.append((time.time_ns(), event, fields))
            if len(self._entries) >= FLUSH_AT:
                self.flush()

    def flush(self) -> None:
        if self._file and self._entries:
            entries, self._entries = self._entries, []
            try:
                _write(self._file, (b"\n" if self._missing else b"") + b"".join(map(_line, entries)))
            except OSError as error:
                if not self._missing:
                    self.notes.append(Note("journal-not-written", detail=str(error)))
                self._missing += len(entries)
            else:
                if self._missing:
                    self.notes.append(Note("journal-written-again", detail=f"{self._missing} lines are missing"))
                self._missing = 0

    def close(self) -> None:
        if self._file:
            self.flush()
            self._file.close()


def _said(message: Message | None, fields: dict[str, object]) -> dict[str, object]:
    said: dict[str, object] = {name: str(value) for name, value in fields.items() if value is not None}
    return {"message": message.name, **said} if message else said


def _line(entry: tuple[int, str, Fields]) -> bytes:
    t_ns, event, fields = entry
    return msgspec.json.encode({"t_ns": t_ns, "event": event, **fields()}) + b"\n"


def _write(file: IO[bytes], octets: bytes) -> None:
    """All of them: a disk with room for some takes these first. Raises OSError."""
    while octets:
        octets = octets[file.write(octets) :]
