"""Messages that are nearly right: every type of them, whole at first, then bent in ways that a parser may trip over."""

import dataclasses
import enum
import random
import types
import typing
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv6Address, IPv6Network

from common.mh.codec import encode
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    ContextRequest,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoverAck,
    HandoverInitiate,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    Timestamp,
)

ANSWERS: dict[type[Message], type[Message]] = {
    ProxyBindingUpdate: ProxyBindingAck,
    FastProxyBindingUpdate: FastProxyBindingAck,
    ReverseProxyBindingUpdate: ReverseProxyBindingAck,
    ContextReflection: ContextReflectionAck,
    BindingRevocationIndication: BindingRevocationAck,
    HandoverInitiate: HandoverAck,
}
OPTIONS_FROM = 12  # where a registration's begin; elsewhere it bends what stands there
KNOWN_OPTIONS = (0, 1, 2, 3, 5, 8, 18, 19, 22, 23, 24, 25, 26, 27, 28, 33, 40, 41, 42, 58)
HEADER = 8


class World(typing.Protocol):
    """What a message may be about, so that many reach the depths of a core."""

    mn_ids: Sequence[MnId]
    hnps: Sequence[IPv6Network]
    addresses: Sequence[IPv6Address]
    ll_ids: Sequence[bytes]

    def timestamp(self) -> Timestamp: ...
    def sequence(self) -> int: ...


class Messages:
    """Random whole messages of every type, by the annotations of their fields: a new type needs nothing here."""

    TYPES: typing.ClassVar[tuple[type[Message], ...]] = typing.get_args(Message)

    def __init__(self, chance: random.Random, world: World) -> None:
        self._chance = chance
        self._world = world
        self._about = 0
        self._makers: dict[object, Callable[[], object]] = {
            Timestamp: lambda: world.timestamp() if chance.random() < 0.9 else Timestamp(chance.getrandbits(64)),
            MnId: lambda: chance.choice(world.mn_ids),
            IPv6Network: lambda: chance.choice((ALL_ZERO_PREFIX, *world.hnps)),
            IPv6Address: lambda: chance.choice(world.addresses),
            bytes: lambda: chance.choice((*world.ll_ids, chance.randbytes(chance.randrange(20)))),
            ContextData: self._context,
            ContextRequest: lambda: ContextRequest(chance.choice((18, 22)), chance.randbytes(chance.randrange(3))),
            bool: lambda: chance.random() < 0.5,
            float: lambda: chance.choice((0.0, 0.1, 1.0, 10.0)),
        }
        self._hints = {kind: typing.get_type_hints(kind) for kind in self.TYPES}

    def one(self) -> Message:
        kind = self._chance.choice((*self.TYPES, *6 * (ProxyBindingUpdate,)))  # what a daemon has most of
        return kind(**{each.name: self._field(kind, each) for each in dataclasses.fields(kind)})

    def answer(self, request: Message) -> Message | None:
        """One that a peer could give to what a daemon has sent; None where none is due."""
        kind = ANSWERS.get(type(request))
        if kind is None:
            return None
        asked = {each.name for each in dataclasses.fields(request)} - {"flags", "hnps", "contexts", "code"}
        answer = {
            each.name: getattr(request, each.name) if each.name in asked else self._field(kind, each)
            for each in dataclasses.fields(kind)
        }
        verdict = "code" if kind is HandoverAck else "status"
        if self._chance.random() < 0.7:
            answer[verdict] = type(answer[verdict])(0)
        return kind(**answer)

    def _field(self, kind: type[Message], field: "dataclasses.Field[typing.Any]") -> typing.Any:
        if field.name == "flags" and self._chance.random() < 0.8:
            return field.default
        if self._chance.random() < 0.8:  # most are about one MN, and ask for what it has or for something
            number = self._chance.randrange(len(self._world.ll_ids))
            self._about = self._about if field.name != "mn_id" else number
            match field.name:
                case "mn_id":
                    return self._world.mn_ids[self._about]
                case "mn_ll_id":
                    return self._world.ll_ids[self._about]
                case "hnps":
                    return (self._chance.choice((ALL_ZERO_PREFIX, self._world.hnps[self._about])),)
        return self._value(self._hints[kind][field.name], field.name)

    def _value(self, hint: typing.Any, name: str) -> typing.Any:
        chance = self._chance
        arguments = typing.get_args(hint)
        if isinstance(hint, types.UnionType):
            inner = [each for each in arguments if each is not type(None)]
            return None if len(inner) < len(arguments) and chance.random() < 0.15 else self._value(inner[0], name)
        if typing.get_origin(hint) is tuple:
            values = [self._value(arguments[0], name) for _ in range(chance.choice((0, 1, 1, 1, 2, 5)))]
            return tuple(value for value in values if value is not None)
        if isinstance(hint, enum.EnumType):
            members: list[enum.Enum] = list(hint)
            chosen = {chance.choice(members).value for _ in range(3)}
            return hint(sum(chosen)) if issubclass(hint, enum.IntFlag) else chance.choice(members)
        make = self._makers.get(hint)
        return make() if make else self._number(name) if hint is int else None  # what has no maker is optional

    def _number(self, name: str) -> int:
        match name:
            case "sequence":
                return self._world.sequence()
            case "lifetime" | "refresh_advice":
                return self._chance.choice((0, 4, 300, 3600))
        return self._chance.randrange(1, 4)

    def _context(self) -> ContextData:
        chance = self._chance
        feature = chance.choice((1, 2, 3, 4, 5, 6, 7, 0xFF00, 0xFF01))
        nested = b"[" * chance.choice((1, 500))
        data = chance.choice((chance.choice(self._world.addresses).packed, nested, chance.randbytes(14), b"{}", b""))
        return ContextData(feature, data)


class Mutator:
    """Bends octets. Most of what it makes still passes the outermost checks, so that the inner ones are met."""

    def __init__(self, chance: random.Random) -> None:
        self._chance = chance
        self._ways: tuple[Callable[[bytearray], None], ...] = (
            self._flip,
            self._overwrite,
            self._truncate,
            self._lengthen,
            self._header,
            self._option_length,
            self._duplicate_option,
            self._drop_option,
            self._insert_option,
            self._checksum,
        )

    def bend(self, data: bytes) -> bytes:
        bent = bytearray(data)
        for _ in range(self._chance.choice((0, 1, 1, 1, 2, 3))):
            self._chance.choice(self._ways)(bent)
        if (
            self._chance.random() < 0.7 and len(bent) >= HEADER
        ):  # the length of what came out, and nothing else, is right
            bent += bytes(-len(bent) % 8)
            bent[1] = min(len(bent) // 8 - 1, 255)
        return bytes(bent)

    def _somewhere(self, bent: bytearray) -> int | None:
        return self._chance.randrange(len(bent)) if bent else None

    def _flip(self, bent: bytearray) -> None:
        if (at := self._somewhere(bent)) is not None:
            bent[at] ^= 1 << self._chance.randrange(8)

    def _overwrite(self, bent: bytearray) -> None:
        if (at := self._somewhere(bent)) is not None:
            bent[at] = self._chance.choice((0, 1, 0x7F, 0x80, 0xFF, self._chance.randrange(256)))

    def _truncate(self, bent: bytearray) -> None:
        if (at := self._somewhere(bent)) is not None:
            del bent[at:]

    def _lengthen(self, bent: bytearray) -> None:
        bent += self._chance.randbytes(self._chance.choice((1, 7, 8, 64)))

    def _header(self, bent: bytearray) -> None:
        if len(bent) >= HEADER:
            bent[self._chance.choice((0, 1, 2, 3, 6))] = self._chance.choice((0, 5, 6, 11, 14, 16, 59, 255))

    def _checksum(self, bent: bytearray) -> None:
        if len(bent) >= HEADER:
            bent[4:6] = self._chance.randbytes(2)

    def _options(self, bent: bytearray) -> Iterator[tuple[int, int]]:
        """Where options begin and end, if they are whole."""
        at = OPTIONS_FROM
        while at + 1 < len(bent):
            end = at + 1 if bent[at] == 0 else at + 2 + bent[at + 1]
            if end > len(bent):
                return
            yield at, end
            at = end

    def _option(self, bent: bytearray) -> tuple[int, int] | None:
        options = list(self._options(bent))
        return self._chance.choice(options) if options else None

    def _option_length(self, bent: bytearray) -> None:
        if (option := self._option(bent)) and option[0] + 1 < len(bent):
            bent[option[0] + 1] = self._chance.choice((0, 1, 2, bent[option[0] + 1] ^ 1, 255))

    def _duplicate_option(self, bent: bytearray) -> None:
        if option := self._option(bent):
            bent[option[1] : option[1]] = bent[option[0] : option[1]] * self._chance.choice((1, 2, 30))

    def _drop_option(self, bent: bytearray) -> None:
        if option := self._option(bent):
            del bent[option[0] : option[1]]

    def _insert_option(self, bent: bytearray) -> None:
        at = option[0] if (option := self._option(bent)) else len(bent)
        value = self._chance.randbytes(self._chance.choice((0, 1, 2, 16, 18, 40)))
        bent[at:at] = bytes((self._chance.choice(KNOWN_OPTIONS), len(value))) + value


def whole(messages: Messages, request: Message | None = None) -> bytes:
    """The octets of a random message that the format can say; an answer to `request`, if one is due to that."""
    while True:
        try:
            return encode((messages.answer(request) if request else None) or messages.one())
        except ValueError:  # for example a part that is beyond the parts
            continue
