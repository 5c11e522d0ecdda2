"""What a person reads of a running daemon: lines on standard error, or entries of the journal of systemd.

Under systemd each entry has the event's priority and fields to ask for: `journalctl EVENT=attached`, `MN_ID=…`,
`PEER=…`, `DETAIL=…`. What the events mean is in events.py.
"""

import logging
import os
import sys
from collections import Counter
from dataclasses import replace
from math import inf

from common.actions import Note
from common.events import Kind, event

PROVOKED = frozenset({Kind.REFUSED, Kind.IGNORED})
FORMAT = "%(levelname)s %(message)s"
log = logging.getLogger("context_reflector")


def start(program: str) -> None:
    """Log to where standard error goes; what is less than the level in LOG_LEVEL (INFO) is not said."""
    logging.basicConfig(level=os.environ.get("LOG_LEVEL", "INFO"), handlers=[_handler(program)])


def log_note(note: Note) -> None:
    level = event(note.event).level
    if log.isEnabledFor(level):
        fields = {"EVENT": note.event, "MN_ID": note.mn_id, "PEER": note.peer, "DETAIL": note.detail}
        said = {name: str(value) for name, value in fields.items() if value}
        words = (
            f"{name.lower().removesuffix('_id')}={value}" for name, value in said.items() if name in ("MN_ID", "PEER")
        )
        log.log(level, "%s", " ".join([note.event, *words, *([note.detail] if note.detail else [])]), extra=said)


class NoteLog:
    """Logs notes. Of what others can bring about at will each event gets a line a second, which counts the rest."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}
        self._unsaid: Counter[str] = Counter()

    def note(self, note: Note, now: float) -> None:
        if event(note.event).kind in PROVOKED:
            if now < self._last.get(note.event, -inf) + 1.0:
                self._unsaid[note.event] += 1
                return
            self._last[note.event] = now
            if unsaid := self._unsaid.pop(note.event, 0):
                note = replace(note, detail=f"{note.detail} (and {unsaid} more since the last line)".lstrip())
        log_note(note)


def _handler(program: str) -> logging.Handler:
    if _is_journal(sys.stderr.fileno()):
        try:
            from systemd.journal import JournalHandler  # noqa: PLC0415 - takes a while, and Debian's python3 has it
        except ModuleNotFoundError:  # then there are no fields: journald reads lines
            pass
        else:
            return JournalHandler(SYSLOG_IDENTIFIER=program)  # type: ignore[no-any-return]
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter(FORMAT))
    return handler


def _is_journal(descriptor: int) -> bool:
    """Whether the service manager has connected it to its journal: JOURNAL_STREAM names device and inode."""
    file = os.fstat(descriptor)
    return os.environ.get("JOURNAL_STREAM") == f"{file.st_dev}:{file.st_ino}"
