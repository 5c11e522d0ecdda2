"""The messages of Context Reflector and of binding revocation: what is refused, what cannot be said, other numbers."""

from collections.abc import Iterator
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from common.errors import MalformedMessage, UnknownMhType
from common.mh.code_points import CodePoints
from common.mh.codec import ParameterProblem, decode, encode, use
from common.mh.context_reflection import MIP6MH_CR, MIP6MH_CRAck
from common.mh.fast_handover import MIP6MH_FastPBA, MIP6MH_FastPBU, MIP6MH_ReversePBA, MIP6MH_ReversePBU
from common.mh.formats import formats
from common.mh.layers import MIP6MH_PBU
from common.mh.messages import (
    AckFlag,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    RevocationStatus,
    RevocationTrigger,
    Status,
    UpdateFlag,
)
from common.mh.revocation import MIP6MH_BRA, MIP6MH_BRI
from tests.test_codec import REASONS, refused_or_sound
from tests.wire import FULL_BRI, FULL_CR, FULL_PBA, FULL_PBU, VECTORS, vector
from tests.wire_strategies import messages, reflections


def mh(start: str, options: str = "") -> bytes:
    """A message of MH type and what follows, in hexadecimal; the length is filled in, and Pad1 to a multiple of 8."""
    octets = bytes.fromhex(f"3b 00 {start} {options}")
    octets += bytes(-len(octets) % 8)
    return octets[:1] + bytes((len(octets) // 8 - 1,)) + octets[2:]


CR, CR_ACK, CC = "0b00 0000 0100 0001 0064 0000", "0b00 0000 0200 0001 0064 0000", "0b00 0000 0700 0001 0064"
BRI, BRA = "1000 0000 0102 0001 8000", "1000 0000 0200 0001 8000"


def test_every_message_has_a_format() -> None:
    assert set(formats(CodePoints()).by_message) == set(get_args(Message))
    assert {type(message) for message in VECTORS.values()} == set(get_args(Message))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (mh("0b00 0000 0000 0001 0064 0000 0100"), "unknown-experimental-subtype"),
        *(
            (mh(f"0b00 0000 {subtype:02x}00 0001 8208 0000 0100"), "unknown-experimental-subtype")
            for subtype in (8, 255)
        ),
        (mh("0b00 0000 0900"), "unknown-experimental-subtype"),
        *((mh(f"0b00 0000 {subtype:02x}00"), "header-too-short") for subtype in (3, 4, 5, 6)),
        (mh("0b00 0000 0300 0001 8000 0000 0100"), "not-a-proxy-binding-update"),
        (mh("0b00 0000 0500 0001 8000 0000 0100"), "not-a-proxy-binding-update"),
        (mh("0b00 0000 0400 0000 0001 0000 0100"), "not-a-proxy-binding-ack"),
        (mh("0b00 0000 0600 0000 0001 0000 0100"), "not-a-proxy-binding-ack"),
        (mh("0b00 0000 0300 0001 8200 004b", "030f 20010db8 00000000 00000000 000000"), "bad-option-length"),
        (mh("0b00 0000 0300 0001 8200 004b", "0801 01 00"), "empty-mn-id"),
        (mh("1000 0000 0002 0001 8000 0102 0000"), "unknown-revocation-type"),
        (mh("1000 0000 0302 0001 8000 0102 0000"), "unknown-revocation-type"),
        (mh("0b00 0000 0100"), "header-too-short"),
        (mh("0b00 0000 0200"), "header-too-short"),
        (mh("0b00 0000 0700"), "header-too-short"),
        (mh("1000 0000 0102"), "header-too-short"),
        (mh("1000 0000 0200"), "header-too-short"),
        (vector("cr")[:-8], "truncated"),
        (vector("cr") + bytes(8), "trailing-octets"),
        (mh(f"{CC} 0003", "0100"), "bad-part-number"),
        (mh(f"{CC} 0303", "0100"), "bad-part-number"),
        (mh(f"{CC} 0101", "0100"), "bad-part-number"),
        (mh(f"{CC} 0100", "0100"), "bad-part-number"),
        (mh(CR, "1200"), "bad-option-length"),  # a Context Data option without a Feature Profile Type
        (mh(CR, "1201 ff 1202 ff00 00"), "bad-option-length"),
        (mh(CR, "12ff ff00 00000000 0000"), "option-overrun"),
        (mh(CR, "1200 1200 1200 1200 1200"), "bad-option-length"),
        (mh(CR, "0801 01 00000000 000000"), "empty-mn-id"),
        (mh(f"{CC} 0103", "0801 01 00000000 000000"), "empty-mn-id"),
        (mh(BRI, "0801 01 00"), "empty-mn-id"),
        (mh(BRI, "0802 0161 0802 0162 0000 0000"), "duplicate-option"),
        (mh(BRA, "1601 0000"), "bad-option-length"),
        (mh(CR, "1902 0000 0000 0000 0000"), "bad-option-length"),
        (mh("0e00 0000 0001"), "header-too-short"),
        (mh("0e00 0000 0001 1000", "0102 0000"), "not-a-proxy-handover-initiate"),  # of RFC 5568
        (mh("0f00 0000 0001 2000", "0102 0000"), "not-a-proxy-handover-ack"),
        (mh("0e00 0000 0001 2000", "0801 01 00"), "empty-mn-id"),
        (mh("0e00 0000 0001 2000", "2806 0000 1600 1901"), "bad-context-request"),
        (mh("0e00 0000 0001 2000", "2801 00"), "bad-option-length"),
        (mh("0e00 0000 0001 2000", "2906 0100 c000 0201"), "bad-lma-address"),
        (mh("0e00 0000 0001 2000", "2906 0300 c000 0201"), "bad-lma-address"),
        (mh("0e00 0000 0001 2000", "2a08 0000 0000 0000 0001"), "bad-option-length"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage) as refusal:
        decode(data)
    assert refusal.value.reason == reason
    assert reason in REASONS


def test_header_is_checked_before_the_subtype() -> None:
    """RFC 6275 section 9.2: what is wrong with the header is answered, and comes first."""
    with pytest.raises(ParameterProblem, match="payload-proto"):
        decode(bytes.fromhex("3a00 0b00 0000 0900"))
    with pytest.raises(ParameterProblem, match="header-too-short"):
        decode(bytes.fromhex("3b00 1000 0000 0100 0000 0000 0000 0000"))


def test_acknowledgement_of_what_had_no_identifier() -> None:
    for start, options in [(CR_ACK, "0801 01 00000000 000000"), (BRA, "0801 01 00")]:
        message = decode(mh(start, options))
        assert isinstance(message, ContextReflectionAck | BindingRevocationAck)
        assert message.mn_id == MnId(1, b"")


@given(
    st.sampled_from([(11, subtype) for subtype in range(9)] + [(16, br_type) for br_type in range(4)]),
    st.binary(min_size=7, max_size=7),
    st.lists(
        st.sampled_from([0, 1, 8, 18, 22, 25, 200]).flatmap(
            lambda kind: st.tuples(st.just(kind), st.binary(max_size=24))
        )
    ),
    st.integers(-1, 1),
)
def test_any_options(which: tuple[int, int], fixed: bytes, found: list[tuple[int, bytes]], lie: int) -> None:
    """The header is right and the options look like such, but for a length or two."""
    area = b"".join(
        bytes((kind, max(len(data) + (lie if not n else 0), 0))) + data for n, (kind, data) in enumerate(found)
    )
    octets = bytes((59, 0, which[0], 0, 0, 0, which[1])) + fixed + area
    octets += bytes(-len(octets) % 8)
    refused_or_sound(octets[:1] + bytes((len(octets) // 8 - 1,)) + octets[2:])


@pytest.mark.parametrize(
    ("message", "why"),
    [
        (replace(FULL_CR, contexts=(ContextData(7, b"a"), ContextData(7, b"b"))), "there twice"),
        (replace(FULL_CR, contexts=(ContextData(0, b""),)), "reserved"),
        (replace(FULL_CR, contexts=(ContextData(0xFFFF, b""),)), "reserved"),
        (replace(FULL_CR, contexts=(ContextData(0x10000, b""),)), "format requires"),
        (replace(FULL_CR, contexts=(ContextData(7, bytes(2000)),)), "do not fit"),
        (replace(FULL_PBU, contexts=(ContextData(7, bytes(2000)),)), "do not fit"),
        (replace(FULL_PBA, contexts=tuple(ContextData(n, b"") for n in range(1, 600))), "do not fit"),
        (replace(FULL_CR, lifetime=0.05), "not a multiple of 0.1"),
        (replace(FULL_CR, lifetime=-0.1), "not from 0 to 6553.5"),
        (replace(FULL_CR, lifetime=6553.6), "not from 0 to 6553.5"),
        (replace(FULL_CR, lifetime=float("nan")), "not from 0 to 6553.5"),
        (replace(FULL_CR, lifetime=float("inf")), "not from 0 to 6553.5"),
        (replace(FULL_CR, sequence=65536), "format requires"),
        (ContextContinuation(sequence=1, lifetime=1.0, part=0, parts=2), "part 0 of 2"),
        (ContextContinuation(sequence=1, lifetime=1.0, part=2, parts=2), "part 2 of 2"),
        (ContextContinuation(sequence=1, lifetime=1.0, part=2, parts=256), "format requires"),
        (replace(FULL_BRI, sequence=65536), "format requires"),
    ],
)
def test_what_the_format_cannot_say(message: Message, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        encode(message)


def test_every_lifetime_is_exact() -> None:
    for units in range(0x10000):
        octets = bytes.fromhex("3b01 0b00 0000 0100 0001") + units.to_bytes(2) + bytes.fromhex("0000 0100")
        message = decode(octets)
        assert isinstance(message, ContextReflection)
        assert message.lifetime == float(f"{units // 10}.{units % 10}")
        assert encode(message) == octets


@pytest.mark.parametrize("octets", [0, 1, 252, 253, 254, 506, 507, 1900])
def test_a_long_feature_takes_as_few_options_as_it_can(octets: int) -> None:
    message = replace(FULL_CR, contexts=(ContextData(0xFF00, bytes(octets)), ContextData(0xFF01, b"next")))
    options = max(1, -(-octets // 253)) + 1
    without = len(encode(replace(FULL_CR, contexts=())))
    assert 0 <= len(encode(message)) - without - (octets + 4 + 4 * options) + 6 < 8  # 66 octets, padded to 72
    assert decode(encode(message)) == message


def test_many_options_of_no_data() -> None:
    """The most that fit: time must not grow with their square, nor may one be lost."""
    most = tuple(ContextData(feature, b"") for feature in range(1, 509))
    message = ContextReflection(sequence=1, lifetime=1.0, contexts=most)
    assert len(encode(message)) == 2048
    assert decode(encode(message)) == message


@given(reflections)
def test_every_reflection_can_be_acknowledged(reflection: ContextReflection) -> None:
    answer = ContextReflectionAck(
        status=Status.ACCEPTED,
        sequence=reflection.sequence,
        lifetime=reflection.lifetime,
        mn_id=reflection.mn_id,
        hnps=reflection.hnps,
        mn_ll_id=reflection.mn_ll_id,
    )
    assert decode(encode(answer)) == answer


def test_numbers_without_a_name_are_kept() -> None:
    bri = BindingRevocationIndication(trigger=RevocationTrigger(250), sequence=1)
    bra = BindingRevocationAck(status=RevocationStatus(200), sequence=1)
    assert decode(encode(bri)) == bri
    assert decode(encode(bra)) == bra
    assert str(RevocationTrigger(250).name) == "UNNAMED_250"


def test_scapy_matches_request_and_answer() -> None:
    assert MIP6MH_BRA(seq=5).answers(MIP6MH_BRI(seq=5))
    assert not MIP6MH_BRA(seq=5).answers(MIP6MH_BRI(seq=6))
    assert not MIP6MH_BRA(seq=5).answers(MIP6MH_PBU(seq=5))
    assert MIP6MH_CRAck(seq=5).answers(MIP6MH_CR(seq=5, flags="A"))
    assert not MIP6MH_CRAck(seq=5).answers(MIP6MH_CR(seq=5))
    assert MIP6MH_FastPBA(seq=5).answers(MIP6MH_FastPBU(seq=5))
    assert not MIP6MH_FastPBA(seq=5).answers(MIP6MH_ReversePBU(seq=5))
    assert MIP6MH_ReversePBA(seq=5).answers(MIP6MH_ReversePBU(seq=5))


OTHERS = CodePoints(
    mh_type=200,
    context_data_option=100,
    update_flag=0x0001,
    ack_flag=0x80,
    context_reflection=7,
    context_reflection_ack=0,
    fast_pbu=20,
    fast_pba=21,
    reverse_pbu=22,
    reverse_pba=23,
    context_continuation=1,
)


@pytest.fixture
def other_numbers() -> Iterator[None]:
    use(OTHERS)
    yield
    use(CodePoints())


@pytest.mark.usefixtures("other_numbers")
def test_other_code_points() -> None:
    octets = encode(FULL_CR)
    assert octets == vector("cr").replace(bytes.fromhex("0b0b00"), bytes.fromhex("0bc800")).replace(
        bytes.fromhex("0180 1234"), bytes.fromhex("0780 1234")
    ).replace(bytes.fromhex("1212 0001"), bytes.fromhex("6412 0001")).replace(
        bytes.fromhex("1206 ff00"), bytes.fromhex("6406 ff00")
    )
    assert decode(octets) == FULL_CR
    with pytest.raises(UnknownMhType):
        decode(vector("cr"))
    with pytest.raises(MalformedMessage, match="unknown-experimental-subtype"):
        decode(octets[:6] + bytes((2,)) + octets[7:])
    pbu, pba = VECTORS["pbu-context"], VECTORS["pba-context"]
    assert encode(pbu)[8:10].hex() == "8201"
    assert encode(pba)[7] == 0xA0
    known_by_its_old_number = decode(vector("pbu-context"))
    assert isinstance(known_by_its_old_number, ProxyBindingUpdate)
    assert known_by_its_old_number.contexts == ()  # an option that nobody knows
    assert known_by_its_old_number.flags == UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY | UpdateFlag(0x0001)
    k = decode(encode(replace(FULL_PBA, flags=AckFlag.PROXY | AckFlag.KEY_MANAGEMENT)))
    assert isinstance(k, ProxyBindingAck)
    assert k.flags == AckFlag.PROXY | AckFlag.KEY_MANAGEMENT


@pytest.mark.usefixtures("other_numbers")
@given(messages)
def test_round_trip_with_other_code_points(message: Message) -> None:
    assert decode(encode(message)) == message


@pytest.mark.parametrize(
    ("numbers", "why"),
    [
        ({"mh_type": 5}, "mh_type 5 is neither"),
        ({"mh_type": 16}, "mh_type 16 is neither"),
        ({"mh_type": 256}, "256"),
        ({"context_data_option": 22}, "context_data_option 22 is neither"),
        ({"context_data_option": 1}, "context_data_option 1 is neither"),
        ({"update_flag": 0}, "not one bit"),
        ({"update_flag": 3}, "not one bit"),
        ({"update_flag": 0x10000}, "not one bit"),
        ({"update_flag": 0x0200}, "is a flag of RFC 5213"),
        ({"ack_flag": 0x20}, "is a flag of RFC 5213"),
        ({"ack_flag": 0x100}, "not one bit"),
        ({"context_reflection": 2}, "context_reflection_ack 2 is context_reflection already"),
        ({"context_continuation": 256}, "not an octet"),
    ],
)
def test_code_points_that_cannot_be_told_apart(numbers: dict[str, int], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        CodePoints(**numbers)
