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
        if self._file:
            self._entries.append((time.time_ns(), event, fields))
            if len(self._entries) >= FLUSH_AT:
                self.flush()

    def flush(self) -> None:
        if self._file and self._entries:
            lines = ({"t_ns": t_ns, "event": event, **fields} for t_ns, event, fields in self._entries)
            self._file.write(b"".join(msgspec.json.encode(line, enc_hook=str) + b"\n" for line in lines))
            self._file.flush()
            self._entries.clear()

    def close(self) -> None:
        if self._file:
            self.flush()
            self._file.close()
