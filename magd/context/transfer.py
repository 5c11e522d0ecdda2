"""A context on its way: the parts that have come so far, and what an entry becomes with them."""

from collections.abc import Iterable
from dataclasses import replace

from common.contexts import BindingState, ContextRefused, Reassembly
from common.mh.messages import ContextData, Feature
from magd import context
from magd.binding_update_list import BindingUpdateListEntry
from magd.numbering import Numbering


def with_part(
    parts: Iterable[tuple[int, tuple[ContextData, ...]]], number: int, pieces: tuple[ContextData, ...]
) -> tuple[tuple[int, tuple[ContextData, ...]], ...]:
    """The parts with one more; a repeated one takes the place of the first."""
    return (*(known for known in parts if known[0] != number), (number, pieces))


def restored(entry: BindingUpdateListEntry, numbering: Numbering) -> BindingUpdateListEntry:
    """The entry with every feature that has come whole."""
    reassembly = Reassembly()
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
