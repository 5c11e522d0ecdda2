"""What happened, one JSON line per event and action, with the moment in nanoseconds (CLOCK_REALTIME).

The moment is taken at once, the line is written when the daemon has time: nothing on the packet path waits for a file.
"""

import time
from pathlib import Path
from typing import IO

import msgspec

FLUSH_AT = 256  # lines


class Journal:
    """Appends to a file; without a path it does nothing."""

    def __init__(self, path: Path | None) -> None:
        self._file: IO[bytes] | None = path.open("ab") if path else None
        self._entries: list[tuple[int, str, dict[str, object]]] = []

    @property
    def pending(self) -> bool:
        return bool(self._entries)

    def write(self, event: str, **fields: object) -> None:
        """Note an event; fields are written as text, those that are None not at all."""
        if self._file:
            self._entries.append((time.time_ns(), event, fields))
            if len(self._entries) >= FLUSH_AT:
                self.flush()

    def flush(self) -> None:
        if self._file and self._entries:
            for t_ns, event, fields in self._entries:
                said = {name: str(value) for name, value in fields.items() if value is not None}
                self._file.write(msgspec.json.encode({"t_ns": t_ns, "event": event, **said}) + b"\n")
            self._file.flush()
            self._entries.clear()

    def close(self) -> None:
        if self._file:
            self.flush()
            self._file.close()
