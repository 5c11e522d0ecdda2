"""Contexts as a whole: cut into messages and joined again, whatever comes, in whatever order, and what is refused."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.contexts import (
    DEFAULT_LIMITS,
    BindingState,
    ContextRefused,
    Limits,
    Reassembly,
    binding_state,
    fragment,
    nmag_address,
)
from common.mh.codec import decode, encode
from common.mh.messages import ContextContinuation, ContextData, ContextReflection, Feature, Message, MnId, Timestamp
from tests.wire import FULL_CR, FULL_PBA, FULL_PBU, NMAG, NOON

STATE = BindingState(sequence=6, timestamp=Timestamp(NOON), lifetime=300)
STATE_DATA = ContextData(Feature.BINDING_STATE, STATE.to_bytes())
WIDE = Limits(octets=1 << 20, features=1 << 16, parts=255)
Parts = dict[int, tuple[ContextData, ...]]


def numbered(octets: int) -> bytes:
    """No two places look alike."""
    return b"".join(number.to_bytes(2) for number in range(octets // 2 + 1))[:octets]


def with_state(contexts: tuple[ContextData, ...], parts: int) -> dict[int, bytes]:
    """By feature, the binding state as it comes out of so many parts."""
    found = {context.feature: context.data for context in contexts}
    return found | {Feature.BINDING_STATE: replace(STATE, parts=parts).to_bytes()}


def sent(contexts: tuple[ContextData, ...], **options: int) -> tuple[Parts, int]:
    """The parts as they are on the other side of the wire, and how many there are."""
    first, rest = fragment(FULL_CR, contexts, limits=WIDE, **options)
    parts: Parts = {}
    messages: list[Message] = [first, *rest]
    for number, message in enumerate(messages):
        received = decode(encode(message))
        assert isinstance(received, ContextReflection if not number else ContextContinuation)
        parts[number] = received.contexts
        if isinstance(received, ContextContinuation):
            assert (received.part, received.parts, received.sequence) == (number, 1 + len(rest), FULL_CR.sequence)
            assert (received.lifetime, received.mn_id, received.hnps) == (10.0, FULL_CR.mn_id, FULL_CR.hnps)
    return parts, 1 + len(rest)


_features = st.dictionaries(
    st.integers(1, 0xFFFE).filter(lambda number: number not in {1, 3}),
    st.integers(0, 600).map(numbered),
    max_size=8,
).map(lambda found: tuple(ContextData(feature, data) for feature, data in found.items()))


@given(_features, st.integers(64, 700), st.data())
def test_whole_context_in_any_order(features: tuple[ContextData, ...], limit: int, data: st.DataObject) -> None:
    contexts = (*features, STATE_DATA, NMAG)
    parts, count = sent(contexts, limit=limit)
    order = data.draw(st.permutations(list(parts)))
    repeated = data.draw(st.lists(st.sampled_from(order), max_size=3))
    reassembly = Reassembly(WIDE)
    for step, number in enumerate([*order, *repeated]):
        assert reassembly.complete == (step >= count)
        reassembly.add(number, parts[number], count if number else None)
    assert reassembly.complete
    assert {context.feature: context.data for context in reassembly.contexts()} == with_state(contexts, count)
    assert [context.feature for context in reassembly.contexts()][:2] == [1, 3]


@given(_features, st.integers(64, 700), st.data())
def test_what_was_cut_by_a_lost_part_is_not_given(
    features: tuple[ContextData, ...], limit: int, data: st.DataObject
) -> None:
    contexts = (*features, STATE_DATA, NMAG)
    parts, count = sent(contexts, limit=limit)
    arrived = data.draw(st.sets(st.sampled_from(list(parts))))
    reassembly = Reassembly(WIDE)
    for number in arrived:
        reassembly.add(number, parts[number], count if number else None)
    assert reassembly.complete == (arrived == parts.keys())
    whole = with_state(contexts, count)
    for context in reassembly.contexts():
        assert context.data == whole[context.feature]
    # Nothing is kept back that surely is whole: it lies between two others of the parts that have come.
    given_features = {context.feature for context in reassembly.contexts()}
    for number in arrived:
        inner = [context.feature for context in parts[number]][1:-1]
        assert given_features.issuperset(inner)


@pytest.mark.parametrize("octets", [64, 1800, 6000])
@pytest.mark.parametrize("message", [FULL_PBU, FULL_PBA, FULL_CR])
def test_messages_are_filled(message: ContextReflection, octets: int) -> None:
    local = ContextData(0xFF00, numbered(octets))
    first, rest = fragment(message, (local, STATE_DATA, NMAG))
    assert len(rest) == (3 if octets > 1800 else 0)
    assert first.contexts[0] == NMAG
    state = binding_state(first.contexts)
    assert state is not None
    assert state.parts == 1 + len(rest)
    contents = [first.contexts, *(part.contexts for part in rest)]
    for contexts in contents[:-1]:
        assert 1890 < sum(len(context.data) + 4 * -(-len(context.data) // 253) for context in contexts) <= 1900
    assert b"".join(contexts[-1].data for contexts in contents) == local.data


def test_lost_continuations_are_missed() -> None:
    """All that came says that more was to come: the half feature is not given, the whole one before it is."""
    profile = ContextData(Feature.POLICY_PROFILE, b"{}")
    first, rest = fragment(FULL_PBU, (profile, ContextData(0xFF00, numbered(6000)), STATE_DATA, NMAG))
    assert len(rest) == 3
    reassembly = Reassembly()
    reassembly.add(0, first.contexts)
    assert not reassembly.complete
    assert [context.feature for context in reassembly.contexts()] == [1, 3, 2]


def test_a_long_identity_leaves_less_room() -> None:
    hnps = tuple(IPv6Network((0x2001_0DB8 << 96 | n << 64, 64)) for n in range(1, 33))
    message = replace(FULL_PBU, mn_id=MnId(1, b"m" * 254), mn_ll_id=bytes(253), hnps=hnps)
    first, rest = fragment(message, (STATE_DATA, ContextData(0xFF00, numbered(4000))))
    assert len(rest) > 3
    full: list[Message] = [first, *rest[:-1]]
    assert all(2040 < len(encode(message)) <= 2048 for message in full)


def test_continuations_of_an_update_have_no_lifetime() -> None:
    """The LMA gives the context its lifetime."""
    _, rest = fragment(FULL_PBU, (STATE_DATA, ContextData(0xFF00, bytes(4000))))
    assert {part.lifetime for part in rest} == {0.0}


def test_sequence_number_is_that_of_the_update_that_carried_the_context() -> None:
    contexts = (STATE_DATA, ContextData(0xFF00, bytes(4000)))
    assert {part.sequence for part in fragment(FULL_PBU, contexts)[1]} == {FULL_PBU.sequence}
    assert {part.sequence for part in fragment(FULL_CR, contexts)[1]} == {FULL_CR.sequence}
    assert {part.sequence for part in fragment(FULL_PBA, contexts)[1]} == {STATE.sequence}


def test_a_message_that_has_contexts_gets_others() -> None:
    message, rest = fragment(FULL_CR, ())
    assert (message.contexts, rest) == ((), ())


@pytest.mark.parametrize(
    ("contexts", "limits", "reason"),
    [
        ((STATE_DATA, ContextData(7, bytes(16_371))), DEFAULT_LIMITS, "context-too-large"),
        (tuple(ContextData(n, b"") for n in range(4, 37)), DEFAULT_LIMITS, "context-features-too-many"),
        ((STATE_DATA, ContextData(7, bytes(4000))), replace(DEFAULT_LIMITS, parts=2), "context-parts-too-many"),
        (
            (STATE_DATA, ContextData(7, bytes(500_000))),
            replace(DEFAULT_LIMITS, octets=1 << 20, parts=1000),
            "context-parts-too-many",
        ),
        ((ContextData(7, bytes(2000)),), DEFAULT_LIMITS, "binding-state-missing"),
        ((ContextData(3, bytes(13)),), DEFAULT_LIMITS, "binding-state-malformed"),
        ((ContextData(3, bytes(14)),), DEFAULT_LIMITS, "binding-state-malformed"),
    ],
)
def test_refused_to_send(contexts: tuple[ContextData, ...], limits: Limits, reason: str) -> None:
    with pytest.raises(ContextRefused) as refusal:
        fragment(FULL_CR, contexts, limits=limits)
    assert refusal.value.reason == reason


def test_the_largest_context_is_taken() -> None:
    first, rest = fragment(FULL_PBU, (STATE_DATA, ContextData(7, numbered(16_370))))
    reassembly = Reassembly()
    reassembly.add(0, first.contexts)
    for message in rest:
        reassembly.add(message.part, message.contexts, message.parts)
    assert reassembly.complete
    assert sum(len(context.data) for context in reassembly.contexts()) == 16_384


def test_refused_parts_are_not_taken() -> None:
    two = ContextData(3, replace(STATE, parts=2).to_bytes())
    reassembly = Reassembly(Limits(octets=100, features=3, parts=3))
    for part, contexts, parts, reason in [
        (0, (ContextData(3, b"?"),), None, "binding-state-malformed"),
        (0, (ContextData(3, replace(STATE, parts=4).to_bytes()),), None, "context-parts-too-many"),
        (1, (), 4, "context-parts-too-many"),
        (3, (), None, "context-parts-too-many"),
        (2, (), 2, "context-parts-differ"),
        (1, (ContextData(7, bytes(101)),), 2, "context-too-large"),
        (1, tuple(ContextData(n, b"") for n in range(4, 8)), 2, "context-features-too-many"),
    ]:
        with pytest.raises(ContextRefused) as refusal:
            reassembly.add(part, contexts, parts)
        assert refusal.value.reason == reason
        assert reassembly.contexts() == ()
    reassembly.add(1, (ContextData(7, bytes(50)),), 2)
    for part, contexts, parts, reason in [
        (2, (), 3, "context-parts-differ"),
        (0, (ContextData(3, replace(STATE, parts=3).to_bytes()),), None, "context-parts-differ"),
        (0, (two, ContextData(7, bytes(50))), None, "context-too-large"),
        (0, (two, ContextData(8, b""), ContextData(9, b"")), None, "context-features-too-many"),
    ]:
        with pytest.raises(ContextRefused) as refusal:
            reassembly.add(part, contexts, parts)
        assert refusal.value.reason == reason
    reassembly.add(0, (two,))
    assert reassembly.contexts() == (two, ContextData(7, bytes(50)))


def test_a_context_whose_number_of_parts_nobody_tells() -> None:
    whole = (ContextData(7, b"a"), ContextData(8, b"b"))
    reassembly = Reassembly()
    assert not reassembly.complete
    reassembly.add(0, whole)
    assert reassembly.complete
    assert reassembly.contexts() == whole
    reassembly.add(1, (ContextData(8, b"c"), ContextData(9, b"d")))
    assert not reassembly.complete  # who knows whether 9 goes on
    assert reassembly.contexts() == (ContextData(7, b"a"), ContextData(8, b"bc"))
    reassembly.add(2, (ContextData(9, b"e"),), 3)
    assert reassembly.complete
    assert reassembly.contexts()[2] == ContextData(9, b"de")


def test_a_part_without_data_is_no_border() -> None:
    reassembly = Reassembly()
    reassembly.add(0, (ContextData(7, b"a"),), 4)
    reassembly.add(1, (), 4)
    reassembly.add(3, (ContextData(7, b"c"), ContextData(8, b"d")), 4)
    assert reassembly.contexts() == (ContextData(8, b"d"),)
    reassembly.add(2, (ContextData(7, b"b"),), 4)
    assert reassembly.contexts() == (ContextData(7, b"abc"), ContextData(8, b"d"))


def test_binding_state() -> None:
    assert STATE.to_bytes().hex(" ") == "00 06 00 4b 00 00 65 53 f1 00 00 00 01 00"
    for state in (STATE, replace(STATE, timestamp=None), replace(STATE, sequence=0xFFFF, lifetime=262_140, parts=255)):
        assert BindingState.from_bytes(state.to_bytes()) == state
    assert BindingState.from_bytes(STATE.to_bytes()[:-1] + b"\xff") == STATE  # reserved: ignored
    for wrong in (replace(STATE, lifetime=5), replace(STATE, sequence=65536), replace(STATE, parts=256)):
        with pytest.raises(ValueError, match=r"multiple of 4|format requires"):
            wrong.to_bytes()
    with pytest.raises(ContextRefused, match="binding-state-malformed: 15 octets"):
        BindingState.from_bytes(bytes(15))


def test_nmag_address() -> None:
    assert nmag_address((STATE_DATA, NMAG)) == IPv6Address("2001:db8:0:2::1")
    assert nmag_address((STATE_DATA,)) is None
    assert binding_state((NMAG,)) is None
    with pytest.raises(ContextRefused, match="nmag-address-malformed: 4 octets"):
        nmag_address((ContextData(1, bytes(4)),))


def test_a_limit_that_leaves_no_room() -> None:
    with pytest.raises(ValueError, match="no room"):
        fragment(FULL_CR, (STATE_DATA,), limit=63)
