"""A context on its way: what of an MN is sent, the parts that have come so far, and what an entry becomes with them."""

from collections.abc import Iterable
from dataclasses import replace

from common.contexts import DEFAULT_LIMITS, BindingState, ContextRefused, Limits, Reassembly
from common.mh.messages import ContextData, Feature, MnId, Timestamp
from magd import context
from magd.binding_update_list import BindingUpdateListEntry
from magd.config import MagdConfig
from magd.numbering import Numbering

Opaque = dict[MnId, tuple[ContextData, ...]]


def configured(config: MagdConfig) -> Opaque:
    """The opaque data of each MN, of all its interfaces together."""
    opaque: Opaque = {}
    for node in config.mobile_node:
        pieces = tuple(ContextData(item.feature, item.octets()) for item in node.opaque_context)
        mn_id = MnId.nai(node.mn_id)
        opaque[mn_id] = opaque.get(mn_id, ()) + pieces
    return opaque


def carried(
    entry: BindingUpdateListEntry, sequence: int, timestamp: Timestamp | None, opaque: Opaque
) -> tuple[ContextData, ...]:
    """All that is known of the MN, and how its requests go on; it brought its opaque data or has the configured."""
    state = BindingState(sequence=sequence, timestamp=timestamp, lifetime=entry.lifetime, parts=1)
    features = context.export(replace(entry, opaque=entry.opaque or opaque.get(entry.mn_id, ())))
    return (ContextData(Feature.BINDING_STATE, state.to_bytes()), *features)


def with_part(
    parts: Iterable[tuple[int, tuple[ContextData, ...]]], number: int, pieces: tuple[ContextData, ...]
) -> tuple[tuple[int, tuple[ContextData, ...]], ...]:
    """The parts with one more; a repeated one takes the place of the first."""
    return (*(known for known in parts if known[0] != number), (number, pieces))


def restored(
    entry: BindingUpdateListEntry, numbering: Numbering, limits: Limits = DEFAULT_LIMITS
) -> BindingUpdateListEntry:
    """The entry with every feature that has come whole."""
    reassembly = Reassembly(limits)
    try:
        for number, pieces in entry.parts:
            reassembly.add(number, pieces)
        whole = reassembly.contexts()
    except ContextRefused:  # the sender lets through what its own limits allow: the MN then starts from nothing
        whole = ()
    entry, _failed = context.restore(entry, whole)
    for piece in whole:
        if piece.feature == Feature.BINDING_STATE:
            entry = _continue(entry, piece.data, numbering)
    return replace(entry, restored=bool(entry.hnps))


def _continue(entry: BindingUpdateListEntry, data: bytes, numbering: Numbering) -> BindingUpdateListEntry:
    """Section 5.5 of RFC 5213: sequence numbers and timestamps go on where pMAG ended."""
    try:
        state = BindingState.from_bytes(data)
    except ValueError:
        return entry
    numbering.continue_from(state.sequence)
    return replace(
        entry,
        lifetime=entry.lifetime or state.lifetime,
        sequence=state.sequence,
        context_sequence=state.sequence,
        timestamp=max(filter(None, (entry.timestamp, state.timestamp)), default=None),
    )
