"""The journal as a regression test: the calls of a recorded core (recording.py) are made to one of today's program.

What that says is compared with what the journal says.
"""

from collections import deque
from collections.abc import Callable
from functools import partial
from ipaddress import IPv6Network
from pathlib import Path
from typing import Any, Generic, TypeVar

import msgspec

from common.config import Section, parse
from common.core import Core
from common.errors import ConfigError, DataPlaneError, MalformedMessage
from common.mh.codec import decode
from common.mh.messages import Message
from common.recording import Input, Life, Utc, as_text, inputs
from common.records import Read, Reader

T = TypeVar("T", bound=Core)
C = TypeVar("C", bound=Section)


def replay(path: Path, core: type[T], config: type[C], begin: Callable[[Life[C], Utc], T]) -> tuple[int, str | None]:
    """How many inputs a new core answers as the journal says, and the first that it does not. Raises ConfigError."""
    player = _Player(core, config, begin)
    try:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    difference = player.play(line)
                except ConfigError as error:
                    raise ConfigError(f"{path}, line {number}: {error}") from error
                if difference:
                    return player.answered, f"{path}, line {number}: {difference}"
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from error
    if player.core is None:
        raise ConfigError(f"{path}: no inputs in it; they are there with journal_inputs = true")
    return player.answered, None


class _Player(Generic[T, C]):
    """Plays a journal line by line; `core` is the one whose life it is in."""

    def __init__(self, kind: type[T], config: type[C], begin: Callable[[Life[C], Utc], T]) -> None:
        self.core: T | None = None
        self.answered = 0
        self._kind, self._config, self._begin = kind, config, begin
        self._reader = _Given({})
        self._number = 0
        self._read: deque[float] = deque()
        self._offset = 0.0  # of the clock of day, should the core look at it more often than it did

    def play(self, line: bytes) -> str | None:
        """What is unlike now, if anything is. Raises ConfigError."""
        try:
            entry = msgspec.json.decode(line) if line.strip() else {}
            event = entry.get("event")
        except (msgspec.DecodeError, UnicodeDecodeError, AttributeError):
            raise ConfigError("not a line of a journal") from None
        if event == "life":
            self._live(entry)
        elif event == "input":
            return self._tell(parse(entry, Input))
        return None

    def _live(self, entry: dict[str, object]) -> None:
        if (whose := entry.get("core")) != self._kind.__name__:
            raise ConfigError(f"the life of a {whose}, not of a {self._kind.__name__}")
        life = parse(entry, Life[self._config])  # type: ignore[name-defined]
        self._number = 0
        try:
            self.core = self._begin(life, self._utc)
        except (KeyError, IndexError, ValueError, TypeError, msgspec.DecodeError) as error:
            raise ConfigError(f"this version cannot begin a life with that: {error!r}") from error

    def _tell(self, told: Input) -> str | None:
        if self.core is None:
            raise ConfigError(f"{told.call} before any life: the journal's beginning is missing")
        if told.number != self._number + 1:
            raise ConfigError(f"input {told.number} after input {self._number}: what is between them is missing")
        self._number = told.number
        try:
            hints = inputs(self._kind)[told.call]
            given = {name: self._reader.of(hints[name])(value) for name, value in told.given.items()}
            call = partial(getattr(self.core, told.call), **given)
        except (KeyError, ValueError, TypeError, MalformedMessage) as error:
            raise ConfigError(f"{told}: this version has no such input: {error!r}") from error
        self._read = deque(told.utc)
        if told.deadline:
            self.core.deadline()
        try:
            said = as_text(call() or ())
        except Exception as error:
            said = as_text(error)
        if said == told.said:
            self.answered += 1
            return None
        return "\n".join((str(told), "it was answered:", *_listed(told.said), "and is now:", *_listed(said)))

    def _utc(self, now: float) -> float:
        if self._read:
            self._offset = self._read.popleft() - now
        return now + self._offset


class _Given(Reader):
    """Reads what a recorder has made fit for JSON."""

    def _make(self, hint: Any) -> Read:
        if hint == Message:
            return lambda value: decode(bytes.fromhex(value))
        if isinstance(hint, type) and issubclass(hint, Section):
            return lambda value: parse(value, hint)
        if hint is bytes:
            return bytes.fromhex
        return hint if hint in (IPv6Network, DataPlaneError) else super()._make(hint)


def _listed(said: list[str]) -> list[str]:
    return [f"    {each}" for each in said or ["nothing"]]
