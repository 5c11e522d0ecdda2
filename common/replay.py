"""The journal as a regression test: what a core was told and what it said, fit to be told to another one.

With `journal_inputs` a Recorder stands between shell and core. Its lines in the journal: a `life` has all that a core
began with; an `input` is one call of the core, the moments that it read off the clock of day meanwhile, and its answer
as text. `replay` makes the same calls to a core of today's program and compares what that says. Inputs are those
methods of a core that are told a moment or return actions: one that is added is recorded and replayed like the rest.
"""

import inspect
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any, Generic, Self, TypeVar, cast, get_type_hints

import msgspec

from common.actions import Action
from common.config import Section, dump, parse
from common.core import Core
from common.errors import ConfigError, DataPlaneError, MalformedMessage
from common.journal import Journal
from common.mh.codec import decode, encode
from common.mh.messages import Message, MnId
from common.records import Read, Reader, Table

T = TypeVar("T", bound=Core)
C = TypeVar("C", bound=Section)
Utc = Callable[[float], float]
Tables = Iterable[Table[Any, Any]]
Rows = Mapping[str, Mapping[Any, Any]]


class Life(msgspec.Struct, Generic[C]):
    """What a core began with: `numbers` as its constructor wants them, the rows that an earlier life had stored."""

    core: str
    configuration: C
    numbers: dict[str, int]
    now: float
    stored: list[tuple[str, bytes, bytes]]

    @classmethod
    def of(
        cls, core: Core, config: C, numbers: dict[str, int], now: float, *, tables: Tables, loaded: Rows | None
    ) -> Self:
        """Of a core that goes on with what was `loaded`, if anything was."""
        rows = [(table, loaded[table.name]) for table in tables] if loaded else []
        changes = [change for table, known in rows for change in table.encode(known, known)]
        stored = [(name, key, value) for name, key, value in changes if value is not None]
        return cls(type(core).__name__, config, numbers, now, stored)

    def loaded(self, tables: Tables) -> dict[str, dict[Any, Any]]:
        """The rows by table, as a Persistence has them."""
        known = {table.name: table for table in tables}
        rows: dict[str, dict[Any, Any]] = {name: {} for name in known}
        for name, key, value in self.stored:
            found, row = known[name].decode(key, value, 0.0)
            rows[name][found] = row
        return rows


class Input(msgspec.Struct, omit_defaults=True):
    """The `number`th call of a life. `deadline`: before it the core was asked what it waits for, which sorts that."""

    number: int
    call: str
    given: dict[str, Any]
    said: list[str]
    utc: list[float] = []
    deadline: bool = False

    def __str__(self) -> str:
        return f"input {self.number}, {self.call} {msgspec.json.encode(self.given).decode()}"


@dataclass(frozen=True, slots=True)
class _Call:
    """An input as the shell made it, to be written when there is time."""

    number: int
    kind: type[Core]
    name: str
    given: tuple[Any, ...]
    named: dict[str, Any]
    answer: tuple[Action, ...] | Exception
    utc: tuple[float, ...]
    deadline: bool

    def fields(self) -> dict[str, object]:
        given = zip(inputs(self.kind)[self.name], self.given, strict=False)
        told = {name: _plain(value) for name, value in (*given, *self.named.items())}
        said = Input(self.number, self.name, told, _said(self.answer), list(self.utc), self.deadline)
        fields: dict[str, object] = dump(said)
        return fields


class Recorder:
    """`utc` is the clock that the core is to have: what it reads there is part of its input."""

    def __init__(self, journal: Journal, utc: Utc) -> None:
        self._journal = journal
        self._clock = utc
        self._read: list[float] = []
        self._number = 0
        self._deadline = False

    def utc(self, now: float) -> float:
        moment = self._clock(now)
        self._read.append(moment)
        return moment

    def watch(self, core: T, life: Life[Any]) -> T:
        """The core as the shell is to have it from the beginning of its life."""
        self._journal.enter("life", partial(dump, life))
        return cast(T, _Watched(core, self))

    def ask(self, core: Core, name: str, *given: Any, **named: Any) -> list[Action] | None:
        """Make the call and note it; an error of the program's own is an answer, too."""
        self._read.clear()
        answer: tuple[Action, ...] | Exception = ()
        try:
            actions: list[Action] | None = getattr(core, name)(*given, **named)
            answer = tuple(actions or ())
        except Exception as error:
            answer = error
            raise
        finally:
            self._number += 1
            read, deadline, self._deadline = tuple(self._read), self._deadline, False
            call = _Call(self._number, type(core), name, given, named, answer, read, deadline)
            self._journal.enter("input", call.fields)
        return actions

    def deadline(self, core: Core) -> float | None:
        self._deadline = True
        return core.deadline()


class _Watched:
    """In front of a core."""

    def __init__(self, core: Core, recorder: Recorder) -> None:
        self._core = core
        self.deadline = partial(recorder.deadline, core)
        for name in inputs(type(core)):
            setattr(self, name, partial(recorder.ask, core, name))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._core, name)


@cache
def inputs(kind: type) -> dict[str, dict[str, Any]]:
    """The methods of a core that may change it, each with what its arguments are."""
    found = {}
    for name, method in inspect.getmembers(kind, inspect.isfunction):
        hints = {} if name.startswith("_") else get_type_hints(method)
        if hints.pop("return", None) == list[Action] or "now" in hints:
            found[name] = hints
    return found


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
            said = _said(call() or ())
        except Exception as error:
            said = _said(error)
        if said == told.said:
            self.answered += 1
            return None
        return "\n".join((str(told), "it was answered:", *_listed(told.said), "and is now:", *_listed(said)))

    def _utc(self, now: float) -> float:
        if self._read:
            self._offset = self._read.popleft() - now
        return now + self._offset


class _Given(Reader):
    """Reads what `_plain` writes."""

    def _make(self, hint: Any) -> Read:
        if hint == Message:
            return lambda value: decode(bytes.fromhex(value))
        if isinstance(hint, type) and issubclass(hint, Section):
            return lambda value: parse(value, hint)
        if hint is bytes:
            return bytes.fromhex
        return hint if hint in (IPv6Network, DataPlaneError) else super()._make(hint)


def _plain(value: Any) -> Any:
    """What JSON can hold."""
    if isinstance(value, Section):
        return dump(value)
    if isinstance(value, Message | bytes):
        return (value if isinstance(value, bytes) else encode(value)).hex()
    if isinstance(value, tuple | frozenset):
        return [_plain(each) for each in value]
    if is_dataclass(value):
        return {field.name: _plain(getattr(value, field.name)) for field in fields(value)}
    return str(value) if isinstance(value, IPv6Address | IPv6Network | DataPlaneError) else value


def _said(answer: Iterable[Action] | Exception) -> list[str]:
    return [f"raised {answer!r}"] if isinstance(answer, Exception) else [_text(action) for action in answer]


def _text(value: Any) -> str:
    """Stable: sets in order, and no field that has its default, so that a new one changes nothing."""
    match value:
        case MnId() | IPv6Address() | IPv6Network():
            return str(value)
        case bytes():
            return value.hex()
        case tuple():
            return f"({', '.join(map(_text, value))})"
        case frozenset():
            return f"{{{', '.join(sorted(map(_text, value)))}}}"
    kind = type(value)
    if not is_dataclass(kind):
        return repr(value)
    said = ((name, getattr(value, name), default) for name, default in _defaults(kind))
    told = ", ".join(f"{name}={_text(each)}" for name, each, default in said if each is not default and each != default)
    return f"{kind.__name__}({told})"


@cache
def _defaults(kind: Any) -> tuple[tuple[str, Any], ...]:
    return tuple((field.name, field.default) for field in fields(kind))


def _listed(said: list[str]) -> list[str]:
    return [f"    {each}" for each in said or ["nothing"]]
