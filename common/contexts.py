"""A mobile node's context as a whole: what its first features say, and how it is cut into messages and joined again.

A Mobility Header has at most 2,048 octets. What a PBU, CR or PBA has no room for follows in Context Continuation
messages; docs/protocol.md, "Continuation", has the rules. Nothing here knows a clock or a peer: who waits for what, and
for how long, is decided by the handover scheme.
"""

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from ipaddress import IPv6Address
from itertools import chain, repeat
from typing import TypeVar

from common.config import ContextLimits
from common.mh.codec import encode
from common.mh.messages import (
    ContextContinuation,
    ContextData,
    ContextReflection,
    Feature,
    HandoverAck,
    HandoverInitiate,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Timestamp,
)
from common.mh.options import CONTEXT_OPTION_HEADER, MAX_CONTEXT_OPTION, MAX_OCTETS, seconds, units

CONTEXT_OCTETS = 1900  # of Context Data options in a message: leaves room for what an answer repeats
MAX_PARTS = 255
_LEAST_OCTETS = 64  # nMAG address and binding state are never cut
_FIRST = (Feature.NMAG_ADDRESS, Feature.BINDING_STATE)
Carrier = TypeVar(
    "Carrier", bound=ProxyBindingUpdate | ProxyBindingAck | ContextReflection | HandoverInitiate | HandoverAck
)


class ContextRefused(ValueError):
    """A context, or a feature of it, is not taken; `reason` is a short stable name that is logged and counted.

    The reasons, all of them: context-too-large, context-features-too-many, context-parts-too-many,
    context-parts-differ, binding-state-missing, binding-state-malformed, nmag-address-malformed.
    """

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason


@dataclass(frozen=True, slots=True)
class Limits:
    """How large a context may be: octets of data in all, features, and messages that it comes in."""

    octets: int
    features: int
    parts: int

    @classmethod
    def of(cls, section: ContextLimits) -> "Limits":
        return cls(section.max_context_size, section.max_context_features, section.max_context_parts)

    def check(self, contexts: Iterable[ContextData], parts: int = 1) -> None:
        """Raises ContextRefused."""
        octets, features = 0, set()
        for context in contexts:
            octets += len(context.data)
            features.add(context.feature)
        if octets > self.octets:
            raise ContextRefused("context-too-large", f"{octets} octets")
        if len(features) > self.features:
            raise ContextRefused("context-features-too-many", str(len(features)))
        if parts > self.parts:
            raise ContextRefused("context-parts-too-many", str(parts))


DEFAULT_LIMITS = Limits.of(ContextLimits())


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingState:
    """Feature 3: with what nMAG continues as pMAG would have, and how many messages the context came in.

    `sequence` and `timestamp` are of the PBU that carries this; `lifetime` in seconds, a multiple of 4, is the one
    that the LMA granted.
    """

    sequence: int
    timestamp: Timestamp | None
    lifetime: int
    parts: int = 1

    _LAYOUT = struct.Struct("!HHQBx")

    def to_bytes(self) -> bytes:
        """ValueError for what the format cannot say."""
        try:
            return self._LAYOUT.pack(self.sequence, units(self.lifetime), self.timestamp or 0, self.parts)
        except struct.error as error:
            raise ValueError(f"{self}: {error}") from error

    @classmethod
    def from_bytes(cls, data: bytes) -> "BindingState":
        """Raises ContextRefused for what is no binding state."""
        if len(data) != cls._LAYOUT.size:
            raise ContextRefused("binding-state-malformed", f"{len(data)} octets")
        sequence, lifetime, ticks, parts = cls._LAYOUT.unpack(data)
        if not parts:
            raise ContextRefused("binding-state-malformed", "of no parts")
        timestamp = Timestamp(ticks) if ticks else None
        return cls(sequence=sequence, timestamp=timestamp, lifetime=seconds(lifetime), parts=parts)


def find(contexts: Iterable[ContextData], feature: int) -> bytes | None:
    """The data of a feature, None if it is not there."""
    return next((context.data for context in contexts if context.feature == feature), None)


def binding_state(contexts: Iterable[ContextData]) -> BindingState | None:
    """Feature 3. Raises ContextRefused if it is there and malformed."""
    data = find(contexts, Feature.BINDING_STATE)
    return None if data is None else BindingState.from_bytes(data)


def nmag_address(contexts: Iterable[ContextData]) -> IPv6Address | None:
    """Feature 1, sixteen octets. Raises ContextRefused if it is there and malformed."""
    data = find(contexts, Feature.NMAG_ADDRESS)
    if data is None:
        return None
    if len(data) != 16:
        raise ContextRefused("nmag-address-malformed", f"{len(data)} octets")
    return IPv6Address(data)


def fragment(
    message: Carrier,
    contexts: Iterable[ContextData],
    limit: int = CONTEXT_OCTETS,
    limits: Limits = DEFAULT_LIMITS,
) -> tuple[Carrier, tuple[ContextContinuation, ...]]:
    """The message with what it has room for, and what is to be sent right after it.

    At most `limit` octets (64 at least) of a message are Context Data. nMAG address and binding state come first, into
    the message itself; the binding state is told the number of parts. Raises ContextRefused beyond `limits`, and when
    there are several parts and no binding state to tell it.
    """
    if limit < _LEAST_OCTETS:
        raise ValueError(f"{limit} octets have no room for what must not be cut")
    contexts = tuple(sorted(contexts, key=_place))
    state = binding_state(contexts)
    empty = ContextContinuation(
        # What a PBA carries was carried by another PBU than the one it answers.
        sequence=state.sequence if state and isinstance(message, ProxyBindingAck) else message.sequence,
        lifetime=message.lifetime if isinstance(message, ContextReflection) else 0.0,
        part=1,
        parts=2,
        mn_id=message.mn_id,
        hnps=message.hnps,
        mn_ll_id=message.mn_ll_id,
    )
    parts = _cut(contexts, _rooms(replace(message, contexts=()), empty, limit))
    limits.check(contexts, len(parts))
    if len(parts) > MAX_PARTS:
        raise ContextRefused("context-parts-too-many", str(len(parts)))
    if state is not None:
        told = ContextData(Feature.BINDING_STATE, replace(state, parts=len(parts)).to_bytes())
        parts[0] = tuple(told if context.feature == told.feature else context for context in parts[0])
    elif len(parts) > 1:
        raise ContextRefused("binding-state-missing", f"{len(parts)} parts")
    rest = enumerate(parts[1:], 1)
    return (
        replace(message, contexts=parts[0]),
        tuple(replace(empty, part=part, parts=len(parts), contexts=data) for part, data in rest),
    )


class Reassembly:
    """The parts of one context, as they come: of one mobile node, one sender, one sequence number."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self._limits = limits
        self._received: dict[int, tuple[ContextData, ...]] = {}
        self._parts: int | None = None  # None: nobody has said

    def add(self, part: int, contexts: tuple[ContextData, ...], parts: int | None = None) -> None:
        """What part `part` of `parts` brings, in whatever order. Of part 0 the binding state knows `parts`.

        A part that is here already changes nothing. Raises ContextRefused, and has then not taken it.
        """
        if part in self._received:
            return
        if part == 0 and (state := binding_state(contexts)):
            parts = state.parts
        parts = parts or self._parts
        least = max(part, *self._received) + 1 if self._received else part + 1
        if self._parts not in (None, parts) or (parts and parts < least):
            raise ContextRefused("context-parts-differ", f"{parts}, not {self._parts or least}")
        self._limits.check(chain(contexts, *self._received.values()), parts or least)
        self._received[part] = contexts
        self._parts = parts

    @property
    def complete(self) -> bool:
        return len(self._received) == self._total

    def contexts(self) -> tuple[ContextData, ...]:
        """The features that are here whole.

        A missing part may end the feature that the part before it ends with, and begin the one that the part after it
        begins with: of these two nothing is given.
        """
        found: dict[int, bytes] = {}
        cut: set[int] = set()
        last: int | None = None
        missing = False
        for part in range(self._total):
            if part not in self._received:
                cut |= {last} if last is not None else set()
                last, missing = None, True
            for context in self._received.get(part, ()):
                if missing:
                    cut.add(context.feature)
                    missing = False
                found[context.feature] = found.get(context.feature, b"") + context.data
                last = context.feature
        return tuple(ContextData(feature, data) for feature, data in found.items() if feature not in cut)

    @property
    def _total(self) -> int:
        """How many parts there are. If nobody has said, a part 0 is all there is, and others are not the last ones."""
        if self._parts or not self._received:
            return self._parts or 1
        last = max(self._received)
        return last + 2 if last else 1


def _rooms(message: Message, continuation: Message, limit: int) -> Iterator[int]:
    """Octets for Context Data in the message, and in each that continues it; both have none yet."""
    yield min(limit, MAX_OCTETS - len(encode(message)))
    yield from repeat(min(limit, MAX_OCTETS - len(encode(continuation))))


def _place(context: ContextData) -> int:
    return _FIRST.index(context.feature) if context.feature in _FIRST else len(_FIRST)


def _cut(contexts: tuple[ContextData, ...], rooms: Iterator[int]) -> list[tuple[ContextData, ...]]:
    """The contexts in pieces that fit into `rooms`, one room after the other; there is always a first."""
    parts: list[list[ContextData]] = [[]]
    room = next(rooms)
    for context in contexts:
        data = context.data
        while True:
            fits = _data_octets(room)
            if fits > 0 or (fits == 0 and not data):
                piece, data = data[:fits], data[fits:]
                parts[-1].append(ContextData(context.feature, piece))
                room -= len(piece) + CONTEXT_OPTION_HEADER * (-(-len(piece) // MAX_CONTEXT_OPTION) or 1)
                if not data:
                    break
            parts.append([])
            room = next(rooms)
    return [tuple(part) for part in parts]


def _data_octets(room: int) -> int:
    """How much data of one feature fits into the options that have room; below 0: not even an empty one."""
    full, rest = divmod(room, CONTEXT_OPTION_HEADER + MAX_CONTEXT_OPTION)
    return full * MAX_CONTEXT_OPTION + (max(rest - CONTEXT_OPTION_HEADER, 0) if full else rest - CONTEXT_OPTION_HEADER)
