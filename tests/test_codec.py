"""The wire format against octets written by hand, against scapy's own build and dissection, and against anything."""

from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from scapy.layers.inet6 import IPv6, MIP6OptAltCoA, MIP6OptNonceIndices

from common.errors import MalformedMessage, UnknownMhType
from common.mh.codec import ParameterProblem, decode, encode, with_checksum
from common.mh.layers import MIP6MH_PBA, MIP6MH_PBU, MIP6OptHomeNetworkPrefix
from common.mh.layout import Layout, OptionLayout
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    MAX_HOME_NETWORK_PREFIXES,
    BindingError,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
)
from tests.wire import FOREIGN_VECTORS, FULL_PBA, FULL_PBU, HNP, VECTORS, vector
from tests.wire_scapy import in_scapy
from tests.wire_strategies import acks, messages, updates

REASONS = {
    "truncated",
    "unknown-mh-type",
    "payload-proto",
    "header-too-short",
    "trailing-octets",
    "unknown-experimental-subtype",
    "unknown-revocation-type",
    "not-a-proxy-binding-update",
    "not-a-proxy-binding-ack",
    "not-a-proxy-handover-initiate",
    "not-a-proxy-handover-ack",
    "bad-lma-address",
    "bad-context-request",
    "bad-part-number",
    "option-overrun",
    "bad-option-length",
    "bad-prefix-length",
    "duplicate-option",
    "too-many-options",
    "empty-mn-id",
}
MAG, LMA = IPv6Address("2001:db8:0:1::1"), IPv6Address("2001:db8:0:ff::1")


def pbu(options: str) -> bytes:
    """A PBU with these options, in hexadecimal, and the Header Len they need; they must fill a multiple of 8 and 4."""
    area = bytes.fromhex(options)
    assert len(area) % 8 == 4
    return bytes((59, (len(area) + 4) // 8, 5, 0, 0, 0)) + bytes.fromhex("0001 8200 004b") + area


@pytest.mark.parametrize("name", VECTORS)
def test_vector_is_written(name: str) -> None:
    assert encode(VECTORS[name]).hex() == vector(name).hex()


@pytest.mark.parametrize(("name", "message"), [*VECTORS.items(), *FOREIGN_VECTORS.items()])
def test_vector_is_read(name: str, message: Message) -> None:
    assert decode(vector(name)) == message


def test_checksum() -> None:
    # The sum of the pseudo-header and of pbu-bare, made by hand: 5d0b + c34f = 1205a, folded 205b, inverted dfa4.
    octets = with_checksum(vector("pbu-bare"), MAG, LMA)
    assert octets[4:6].hex() == "dfa4"
    assert with_checksum(octets, MAG, LMA) == octets
    assert octets[:4] + bytes(2) + octets[6:] == vector("pbu-bare")


@given(messages)
def test_round_trip(message: Message) -> None:
    assert decode(encode(message)) == message


@given(messages)
def test_scapy_builds_the_same_octets(message: Message) -> None:
    octets = encode(message)
    assert bytes(in_scapy(message)).hex() == octets.hex()
    packet = in_scapy(message)
    del packet.cksum
    with_ours = with_checksum(octets, MAG, LMA)
    assert bytes(IPv6(src=str(MAG), dst=str(LMA)) / packet)[40:].hex() == with_ours.hex()


@given(messages)
def test_scapy_dissects_the_same_fields(message: Message) -> None:
    octets = encode(message)
    told, dissected = in_scapy(message), IPv6(bytes(IPv6(nh=135) / octets)).payload
    assert type(dissected) is type(told)
    options = [option for option in dissected.options if option.otype not in {0, 1}]
    for ours, scapys in [(told, dissected), *zip(told.options, options, strict=True)]:
        assert {name: scapys.getfieldval(name) for name in ours.fields if name != "options"} == {
            name: ours.getfieldval(name) for name in ours.fields if name != "options"
        }
    assert bytes(dissected) == octets


def test_scapy_matches_request_and_answer() -> None:
    assert MIP6MH_PBA(seq=5).answers(MIP6MH_PBU(seq=5))
    assert not MIP6MH_PBA(seq=5).answers(MIP6MH_PBU(seq=6))
    assert not MIP6MH_PBA(seq=5).answers(MIP6MH_PBU(seq=5, flags="P"))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "truncated"),
        (vector("pbu-full")[:7], "truncated"),
        (vector("pbu-full")[:-8], "truncated"),
        (vector("pbu-full")[:-1], "truncated"),
        (vector("pbu-full") + bytes(1), "trailing-octets"),
        (vector("pbu-full") + bytes(8), "trailing-octets"),
        (bytes.fromhex("3b00 0500 0000 0001"), "header-too-short"),
        (bytes.fromhex("3b00 0600 0000 0000"), "header-too-short"),
        (bytes.fromhex("3b01 0700 0000 0200") + bytes(8), "header-too-short"),
        (bytes.fromhex("3a01 0500 0000 0001 8200 004b 0102 0000"), "payload-proto"),
        (bytes.fromhex("3b01 0500 0000 0001 8000 004b 0102 0000"), "not-a-proxy-binding-update"),
        (bytes.fromhex("3b01 0600 0000 0080 0001 004b 0102 0000"), "not-a-proxy-binding-ack"),
        (bytes.fromhex("3b03 0700 0000 0200") + bytes(16) + bytes.fromhex("08ff 0000 0000 0000"), "option-overrun"),
        (pbu("00 00 00 17"), "option-overrun"),  # a type and no length
        (pbu("01 03 00 00"), "option-overrun"),  # one octet more than there is
        (pbu("08 ff 01 61"), "option-overrun"),
        (pbu("08 00 01 00"), "bad-option-length"),  # an MN-ID without even a subtype
        (pbu("08 01 01 00"), "empty-mn-id"),
        (pbu("17 01 00 00"), "bad-option-length"),
        (pbu("17 03 00 01 00 0105 0000000000"), "bad-option-length"),
        (pbu("18 00 00 00"), "bad-option-length"),
        (pbu("19 02 00 00"), "bad-option-length"),  # a link-layer identifier of no octets
        (pbu("19 01 00 00"), "bad-option-length"),
        (pbu("1b 02 00 00"), "bad-option-length"),
        (pbu("16 11 00 40" + "00" * 16), "bad-option-length"),
        (pbu("1a 11 " + "00" * 18), "bad-option-length"),
        (pbu("03 0f " + "00" * 18), "bad-option-length"),
        (pbu("16 12 00 81" + "00" * 16), "bad-prefix-length"),
        (pbu("16 12 00 00 20010db8" + "00" * 12), "bad-prefix-length"),  # not ALL_ZERO, but 0 bits long
        (pbu("17 02 00 01 17 02 00 01 00000000"), "duplicate-option"),
        (pbu("08 02 01 61 08 02 01 62 00000000"), "duplicate-option"),
    ],
)
def test_refused(data: bytes, reason: str) -> None:
    with pytest.raises(MalformedMessage) as refusal:
        decode(data)
    assert refusal.value.reason == reason
    assert reason in REASONS


def test_refusals_that_are_answered() -> None:
    """RFC 6275 section 9.2: a Binding Error, or an ICMP Parameter Problem that points at the field."""
    with pytest.raises(UnknownMhType) as unknown:
        decode(bytes.fromhex("3a00 0c00 0000 0001"))  # the type comes first, whatever else is wrong
    assert (unknown.value.reason, unknown.value.mh_type) == ("unknown-mh-type", 12)
    with pytest.raises(ParameterProblem) as payload:
        decode(bytes.fromhex("0600 0500 0000 0001"))
    assert (payload.value.reason, payload.value.pointer) == ("payload-proto", 0)
    with pytest.raises(ParameterProblem) as length:
        decode(bytes.fromhex("3b00 0500 0000 0001"))
    assert (length.value.reason, length.value.pointer) == ("header-too-short", 1)


@pytest.mark.parametrize(
    ("option", "prefix"),
    [
        ("16 12 00 00" + "00" * 16, ALL_ZERO_PREFIX),
        ("16 12 00 40" + "00" * 16, ALL_ZERO_PREFIX),  # "0 in all of the 16 bytes", whatever the length beside them
        ("16 12 00 40 20010db8 10000000 ffffffff ffffffff", HNP),
        ("16 12 00 80 20010db8 10000000 00000000 00000001", IPv6Network("2001:db8:1000::1/128")),
    ],
)
def test_home_network_prefix(option: str, prefix: IPv6Network) -> None:
    message = decode(pbu(option))
    assert isinstance(message, ProxyBindingUpdate)
    assert message.hnps == (prefix,)


def test_numbers_without_a_name_are_kept() -> None:
    ack = decode(encode(replace(FULL_PBA, status=Status(174))))
    assert isinstance(ack, ProxyBindingAck)
    assert (ack.status, ack.status.name) == (174, "UNNAMED_174")
    with pytest.raises(ValueError, match="256"):
        Status(256)


@pytest.mark.parametrize(
    "message",
    [
        replace(FULL_PBU, lifetime=5),
        replace(FULL_PBU, lifetime=4 * 65536),
        replace(FULL_PBU, sequence=65536),
        replace(FULL_PBU, mn_id=MnId(1, bytes(255))),
        replace(FULL_PBU, mn_ll_id=bytes(254)),
        replace(FULL_PBU, hnps=(HNP,) * 100),
        replace(FULL_PBA, refresh_advice=3),
        BindingError(status=256),
    ],
)
def test_what_the_format_cannot_say(message: Message) -> None:
    with pytest.raises(ValueError, match=r"not a multiple of 4|format requires|do not fit"):
        encode(message)


def refused_or_sound(data: bytes) -> None:
    """Any octets give a message that can be sent again as it is, or one of the named refusals."""
    try:
        message = decode(data)
    except MalformedMessage as refusal:
        reason = refusal.reason
    else:
        assert decode(encode(message)) == message
        return
    assert reason in REASONS


@given(st.binary(max_size=2100))
@example(bytes(8))
def test_any_octets(data: bytes) -> None:
    refused_or_sound(data)


@given(st.sampled_from([5, 6, 7]), st.binary(max_size=300), st.integers(0, 0xFF), st.integers(0, 0xFFFF))
def test_any_options(mh_type: int, area: bytes, status: int, flags: int) -> None:
    """The header is right, so that the octets get as far as the options."""
    fixed = bytes((status, 0x20, flags >> 8 | 2, flags & 0xFF, 0, 1))
    area = area[: len(area) // 8 * 8 + 4] if len(area) % 8 >= 4 else area + bytes(4 - len(area) % 8)
    refused_or_sound(bytes((59, (len(area) + 4) // 8, mh_type, 0, 0, 0)) + fixed + area)


@given(
    messages.map(encode), st.lists(st.tuples(st.integers(0, 2047), st.integers(0, 255)), max_size=4), st.integers(-9, 9)
)
def test_mutated_message(octets: bytes, changes: list[tuple[int, int]], more: int) -> None:
    mutated = bytearray(octets + bytes(max(more, 0)))[: len(octets) + more]
    for position, value in changes:
        if mutated:
            mutated[position % len(mutated)] = value
    refused_or_sound(bytes(mutated))


@given(messages.map(encode), st.data())
def test_truncated_message(octets: bytes, data: st.DataObject) -> None:
    cut = octets[: data.draw(st.integers(0, len(octets) - 1))]
    refused_or_sound(cut)
    if len(cut) % 8 == 0 and cut:
        refused_or_sound(cut[:1] + bytes((len(cut) // 8 - 1,)) + cut[2:])


def test_every_octet_changed_to_everything() -> None:
    for name in VECTORS.keys() - {"pba-context"}:  # nearly all of which is data
        octets = vector(name)
        for position in range(len(octets)):
            for value in range(256):
                refused_or_sound(octets[:position] + bytes((value,)) + octets[position + 1 :])


@given(updates, acks)
def test_every_request_can_be_answered(update: ProxyBindingUpdate, ack: ProxyBindingAck) -> None:
    """What an acknowledgement repeats (RFC 5213 section 5.3.6) fits, however large the request."""
    answer = replace(ack, mn_id=update.mn_id, hnps=update.hnps, mn_ll_id=update.mn_ll_id, link_local=update.link_local)
    assert decode(encode(answer)) == answer


def test_largest_request_can_be_answered() -> None:
    prefix = "161200402001 0db8 1000 0000 0000 0000 0000 0000"
    area = f"08ff01{'61' * 254} 19ff0000{'02' * 253}" + prefix * MAX_HOME_NETWORK_PREFIXES
    octets = bytes.fromhex(area)
    update = decode(pbu(area + "00" * ((4 - len(octets)) % 8)))
    assert isinstance(update, ProxyBindingUpdate)
    answer = replace(FULL_PBA, mn_id=update.mn_id, hnps=update.hnps, mn_ll_id=update.mn_ll_id)
    assert decode(encode(answer)) == answer
    with pytest.raises(MalformedMessage, match="too-many-options"):
        decode(pbu(prefix * (MAX_HOME_NETWORK_PREFIXES + 1) + "00" * ((4 - 20 * (MAX_HOME_NETWORK_PREFIXES + 1)) % 8)))


def test_layout_refuses_a_layer_that_it_does_not_understand() -> None:
    with pytest.raises(TypeError, match="nothing"):
        Layout(MIP6OptHomeNetworkPrefix, "nothing")
    with pytest.raises(TypeError, match="16 octets of data and has 4"):  # scapy's own mistake
        OptionLayout(MIP6OptNonceIndices, "hni", "coni")
    assert OptionLayout(MIP6OptAltCoA, "acoa").size == 18
