"""What a core remembers, as octets and back, following the dataclasses: a field that is added is stored with the rest.

A table is a dict that knows what changed in it since somebody asked. Moments (the core's `now`) are marked in the
dataclasses, for they must be moved to another clock when the machine was started anew.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping
from enum import Enum
from functools import cache
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from types import NoneType, UnionType
from typing import Annotated, Any, Generic, TypeVar, Union, get_args, get_origin, get_type_hints

import msgspec

K = TypeVar("K")
V = TypeVar("V")
Change = tuple[str, bytes, bytes | None]  # table, key, and value or None for what is not there any more

Read = Callable[[Any], Any]

_MOMENT = "a moment of the core's clock"
Moment = Annotated[float, _MOMENT]
_PREFIX_LENGTH_AT = 16  # a prefix is its sixteen octets and its length


class Recorded(dict[K, V]):
    """A dict; once it is watched, `changed` are the keys that were set or removed since somebody took them."""

    def __init__(self) -> None:
        super().__init__()
        self.changed: set[K] | None = None

    def watch(self) -> set[K]:
        """What changed so far, which from now on starts anew."""
        changed, self.changed = self.changed or set(), set()
        return changed

    def __setitem__(self, key: K, value: V) -> None:
        if self.changed is not None:
            self.changed.add(key)
        super().__setitem__(key, value)

    def __delitem__(self, key: K) -> None:
        super().__delitem__(key)
        if self.changed is not None:
            self.changed.add(key)

    def pop(self, key: K, *default: Any) -> Any:
        if self.changed is not None:
            self.changed.add(key)
        return super().pop(key, *default)


class Table(Generic[K, V]):
    """A recorded dict by name; `kinds` are the classes behind what the dataclasses only know as a protocol.

    NoneType: there is none.
    """

    def __init__(
        self, name: str, rows: Recorded[K, V], key: Any, value: Any, kinds: Mapping[Any, type] | None = None
    ) -> None:
        self.name = name
        self.rows = rows
        self._encode = msgspec.msgpack.Encoder(enc_hook=_plain).encode
        reader = Reader(kinds or {})
        self._read_key, self._read_value = reader.of(key), reader.of(value)

    def encode(self, keys: Iterable[K], rows: Mapping[K, V] | None = None) -> list[Change]:
        """Rows, the table's own or others, as octets; None for what is not there any more."""
        rows, encode = self.rows if rows is None else rows, self._encode
        return [(self.name, encode(key), encode(rows[key]) if key in rows else None) for key in keys]

    def decode(self, key: bytes, value: bytes, shift: float) -> tuple[K, V]:
        """Octets to a row, its moments moved by `shift` seconds. Raises what `persistence` catches."""
        row: V = self._read_value(msgspec.msgpack.decode(value))
        return self._read_key(msgspec.msgpack.decode(key)), shifted(row, shift) if shift else row


class Reader:
    """Functions that make what an annotation says of what MessagePack has; made once for each annotation."""

    def __init__(self, kinds: Mapping[Any, type]) -> None:
        self._kinds = kinds
        self._made: dict[Any, Read] = {}

    def of(self, hint: Any) -> Read:
        if hint not in self._made:
            self._made[hint] = self._make(hint)
        return self._made[hint]

    def _make(self, hint: Any) -> Read:
        origin, arguments = get_origin(hint), get_args(hint)
        if origin is Annotated:
            return self.of(arguments[0])
        if origin in (Union, UnionType):
            return self._one_of([argument for argument in arguments if argument is not NoneType])
        if origin in (tuple, frozenset, list):
            return self._many(origin, arguments)
        if hint in self._kinds:
            return self.of(self._kinds[hint])
        return self._dataclass(hint) if dataclasses.is_dataclass(hint) else _scalar(hint)

    def _many(self, origin: Any, arguments: tuple[Any, ...]) -> Read:
        if origin is tuple and Ellipsis not in arguments:
            places = [self.of(argument) for argument in arguments]
            return lambda value: tuple(read(each) for read, each in zip(places, value, strict=True))
        read = self.of(arguments[0])
        return lambda value: origin(map(read, value))

    def _one_of(self, hints: list[Any]) -> Read:
        """None, or what is left; of several dataclasses the one that has just these fields."""
        if len(hints) == 1:
            read = self.of(hints[0])
            return lambda value: None if value is None else read(value)
        if set(hints) == {IPv4Address, IPv6Address}:
            return lambda value: None if value is None else ip_address(value)
        by_fields = {frozenset(field.name for field in dataclasses.fields(hint)): self.of(hint) for hint in hints}
        assert len(by_fields) == len(hints), hints
        return lambda value: None if value is None else by_fields[frozenset(value)](value)

    def _dataclass(self, kind: Any) -> Read:
        hints = get_type_hints(kind, include_extras=True)
        reads = {field.name: self.of(hints[field.name]) for field in dataclasses.fields(kind)}

        def read(value: Any) -> Any:
            if not isinstance(value, dict):
                raise TypeError(f"{value!r} is no {kind.__name__}")
            return kind(**{name: reads[name](each) for name, each in value.items() if name in reads})

        return read


def _scalar(hint: Any) -> Read:
    if hint is IPv6Network:
        return lambda value: IPv6Network((value[:_PREFIX_LENGTH_AT], value[_PREFIX_LENGTH_AT]))
    if hint in (bool, int, float, str, bytes, NoneType):
        return lambda value: _checked(hint, value)
    if isinstance(hint, type) and issubclass(hint, IPv6Address | int | Enum):
        return hint
    raise TypeError(f"{hint} cannot be stored")


def _checked(kind: type, value: Any) -> Any:
    if not isinstance(value, float | int if kind is float else kind):
        raise TypeError(f"{value!r} is no {kind.__name__}")
    return value


def _plain(value: Any) -> Any:
    if isinstance(value, IPv4Address | IPv6Address):
        return value.packed
    if isinstance(value, IPv6Network):
        return value.network_address.packed + bytes((value.prefixlen,))
    for plain in (int, bytes):  # of which value's class is a subclass
        if isinstance(value, plain):
            return plain(value)
    raise NotImplementedError(type(value))


def shifted(value: Any, seconds: float) -> Any:
    """The dataclass with every moment in it moved."""
    if isinstance(value, tuple):
        return tuple(shifted(item, seconds) for item in value)
    if not dataclasses.is_dataclass(value) or isinstance(value, type):
        return value
    moments = _moments(type(value))
    changes = {}
    for field in dataclasses.fields(value):
        before = getattr(value, field.name)
        after = before + seconds if field.name in moments else shifted(before, seconds)
        if after is not before:
            changes[field.name] = after
    return dataclasses.replace(value, **changes) if changes else value


@cache
def _moments(kind: type) -> frozenset[str]:
    hints = get_type_hints(kind, include_extras=True)
    return frozenset(name for name, hint in hints.items() if _is_moment(hint))


def _is_moment(hint: Any) -> bool:
    return get_origin(hint) is Annotated and _MOMENT in get_args(hint)
