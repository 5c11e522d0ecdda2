"""The journal's inputs: what a core was told and what it said, fit to be told to another one (replay.py).

With `journal_inputs` a Recorder stands between shell and core. Its lines in the journal: a `life` has all that a core
began with; an `input` is one call of the core, the moments that it read off the clock of day meanwhile, and its answer
as text. Inputs are those methods of a core that are told a moment or return actions: one that is added is recorded and
replayed like the rest.
"""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, fields, is_dataclass
from functools import cache, partial
from ipaddress import IPv6Address, IPv6Network
from typing import Any, Generic, Self, TypeVar, cast, get_type_hints

import msgspec

from common.actions import Action
from common.config import Section, dump
from common.core import Core
from common.errors import DataPlaneError
from common.journal import Journal
from common.mh.codec import encode
from common.mh.messages import Message, MnId
from common.records import Table

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
        said = Input(self.number, self.name, told, as_text(self.answer), list(self.utc), self.deadline)
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


def as_text(answer: Iterable[Action] | Exception) -> list[str]:
    """What a core answered: a line for each action, or one for an error of the program's own."""
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
