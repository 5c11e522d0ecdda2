"""The dissector that ships with the lab: it reads what tshark does not know, in the captures that the lab makes."""

import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet6 import IPv6, IPv6ExtHdrFragment, fragment6
from scapy.layers.l2 import CookedLinuxV2
from scapy.packet import Raw
from scapy.utils import PcapNgWriter, PcapWriter

from common.contexts import BindingState, fragment
from common.mh.code_points import CodePoints
from common.mh.codec import PROTOCOL, encode, use, with_checksum
from common.mh.messages import (
    ContextContinuation,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoverAck,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateFlag,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    Status,
)
from tests.test_tshark import LMA, MAG, complaints, dissect, fields, leaves, read, without_what_cannot_be_helped
from tests.test_tshark import expected as expected_by_tshark
from tests.wire import FULL_CR, FULL_FAST_PBU, FULL_PBA, FULL_PBU, LINK_LOCAL, NMAG, VECTORS, vector

SCRIPT = "-Xlua_script:" + str(Path(__file__).parents[1] / "testbed" / "context_reflector.lua")
STATE = BindingState(sequence=6, timestamp=None, lifetime=300)
PARTS = fragment(FULL_CR, (ContextData(0xFF00, bytes(range(256)) * 10), ContextData(3, STATE.to_bytes()), NMAG))
MESSAGES: list[Message] = [
    *VECTORS.values(),
    PARTS[0],
    *PARTS[1],
    replace(FULL_FAST_PBU, link_local=LINK_LOCAL),
    replace(FULL_CR, acknowledge=False, mn_id=None, hnps=(), mn_ll_id=None, contexts=()),
    *(replace(FULL_PBU, contexts=(ContextData(feature, b"?"),)) for feature in [*range(1, 9), 0xFEFF, 0xFFFE]),
    replace(FULL_PBA, contexts=(ContextData(3, b""),)),
    *(
        ContextReflectionAck(status=status, sequence=1, lifetime=units / 10)
        for units, status in zip((0, 1, 7, 99, 300, 65535), Status, strict=False)
    ),
]


def own(layers: dict[str, Any]) -> list[tuple[str, str]]:
    """The fields of the dissector, in order; a heading has no value."""
    return [(name, value) for name, value in leaves(layers.get("cr", {})) if name.startswith("cr.") and value]


def expected(message: Message) -> list[tuple[str, str]]:
    found: list[tuple[str, object]] = []
    match message:
        case ProxyBindingUpdate() | ProxyBindingAck():
            flag = bool(message.flags & type(message.flags).CONTEXT)
            found += [("cr.context", int(flag))] if flag or message.contexts else []
        case ContextReflection():
            found += [("cr.subtype", 1), ("cr.acknowledge", int(message.acknowledge)), ("cr.seq", message.sequence)]
        case ContextReflectionAck():
            found += [("cr.subtype", 2), ("cr.status", int(message.status)), ("cr.seq", message.sequence)]
        case ContextContinuation():
            found += [("cr.subtype", 7), ("cr.seq", message.sequence)]
        case FastProxyBindingUpdate() | ReverseProxyBindingUpdate():
            found += [("cr.subtype", 3 if isinstance(message, FastProxyBindingUpdate) else 5), *registration(message)]
            found += [("cr.nmag", message.nmag)] if isinstance(message, FastProxyBindingUpdate) and message.nmag else []
            found += [("cr.pmag", message.pmag)] if isinstance(message, ReverseProxyBindingUpdate) else []
        case FastProxyBindingAck() | ReverseProxyBindingAck():
            found += [("cr.subtype", 4 if isinstance(message, FastProxyBindingAck) else 6)]
            found += [("cr.status", int(message.status)), *registration(message)]
        case HandoverInitiate() | HandoverAck():
            flags = HandoverInitiateFlag if isinstance(message, HandoverInitiate) else HandoverAckFlag
            found += [("cr.proxy", int(bool(message.flags & flags.PROXY)))]
            found += [("cr.forwarding", int(bool(message.flags & flags.FORWARDING)))]
            found += [("cr.interface_id", message.interface_id.hex(":"))] if message.interface_id else []
        case _:
            return []
    if isinstance(message, ContextReflection | ContextReflectionAck | ContextContinuation):
        found.append(("cr.lifetime", f"{message.lifetime:g}"))
        if isinstance(message, ContextContinuation):
            found += [("cr.part", message.part), ("cr.parts", message.parts)]
        found += [("cr.mn_id", message.mn_id)] if message.mn_id else []
        for hnp in message.hnps:
            found += [("cr.hnp", hnp.network_address), ("cr.hnp_length", hnp.prefixlen)]
        found += [("cr.ll_id", message.mn_ll_id.hex(":"))] if message.mn_ll_id else []
    for context in getattr(message, "contexts", ()):
        found += context_fields(context)
    return [(name, str(value)) for name, value in found]


def registration(
    message: FastProxyBindingUpdate | FastProxyBindingAck | ReverseProxyBindingUpdate | ReverseProxyBindingAck,
) -> Iterator[tuple[str, object]]:
    """What has the body of a PBU or PBA."""
    update = isinstance(message, FastProxyBindingUpdate | ReverseProxyBindingUpdate)
    flags = ("cr.flags", f"0x{int(message.flags):04x}")
    yield from [("cr.seq", message.sequence), flags] if update else [flags, ("cr.seq", message.sequence)]
    yield "cr.lifetime", message.lifetime
    assert message.mn_id
    yield "cr.mn_id", message.mn_id
    for hnp in message.hnps:
        yield from [("cr.hnp", hnp.network_address), ("cr.hnp_length", hnp.prefixlen)]
    assert message.handoff_indicator is not None
    assert message.access_technology is not None
    assert message.mn_ll_id
    yield from [("cr.handoff", int(message.handoff_indicator)), ("cr.access", int(message.access_technology))]
    yield "cr.ll_id", message.mn_ll_id.hex(":")
    if message.link_local:
        yield "cr.link_local", message.link_local
    if message.timestamp:
        moment = datetime.fromtimestamp(message.timestamp.utc, UTC)
        yield "cr.timestamp", f"{moment:%b %e, %Y %H:%M:%S.%f}000 UTC"


def context_fields(context: ContextData) -> Iterator[tuple[str, object]]:
    for start in range(0, len(context.data) or 1, 253):
        data = context.data[start : start + 253]
        yield from [("cr.option.length", 2 + len(data)), ("cr.feature", context.feature)]
        if (context.feature, len(data)) == (1, 16):
            yield "cr.nmag", "2001:db8:0:2::1"
        elif (context.feature, len(data)) == (3, 14):
            state = BindingState.from_bytes(data)
            moment = datetime.fromtimestamp(state.timestamp.utc if state.timestamp else 0, UTC)
            yield from [("cr.state.seq", state.sequence), ("cr.state.lifetime", state.lifetime)]
            yield "cr.state.timestamp", f"{moment:%b %e, %Y %H:%M:%S.%f}000 UTC"
            yield "cr.state.parts", state.parts
        elif data:
            yield "cr.data", data.hex(":")


def test_dissector_reads_every_message(tmp_path: Path) -> None:
    """And what tshark reads by itself it still reads."""
    packets = dissect(tmp_path, [encode(message) for message in MESSAGES], SCRIPT)
    for message, layers in zip(MESSAGES, packets, strict=True):
        assert own(layers) == expected(message)
        assert fields(layers) == expected_by_tshark(message)
        words = [word for word in complaints(layers) if not word.startswith("_ws.lua")]
        assert without_what_cannot_be_helped(message, words) == []


@pytest.mark.parametrize("writer", [PcapWriter, PcapNgWriter])
def test_dissector_reads_the_captures_of_the_lab(writer: Any, tmp_path: Path) -> None:
    """`tcpdump -i any`: LINUX_SLL2 instead of Ethernet."""
    capture = tmp_path / "lma.pcap"
    packets = [
        CookedLinuxV2(proto=0x86DD, ifindex=3)
        / IPv6(src=str(MAG), dst=str(LMA), nh=PROTOCOL)
        / with_checksum(encode(message), MAG, LMA)
        for message in MESSAGES
    ]
    with writer(str(capture), **({"linktype": 276} if writer is PcapWriter else {})) as file:
        for packet in packets:
            file.write(packet)
    for message, layers in zip(MESSAGES, read(capture, SCRIPT), strict=True):
        assert own(layers) == expected(message)


def test_dissector_reads_what_ip_had_to_fragment(tmp_path: Path) -> None:
    capture = tmp_path / "lma.pcap"
    octets = with_checksum(encode(PARTS[0]), MAG, LMA)
    datagram = IPv6(src=str(MAG), dst=str(LMA)) / IPv6ExtHdrFragment(nh=PROTOCOL, id=1) / Raw(octets)
    with PcapWriter(str(capture), linktype=276) as file:
        for fragment_of_it in fragment6(datagram, 1280):  # type: ignore[no-untyped-call]  # scapy's types have gaps
            file.write(CookedLinuxV2(proto=0x86DD, ifindex=3) / fragment_of_it)
    first, last = read(capture, SCRIPT)
    assert own(first) == []
    assert own(last) == expected(PARTS[0])


@pytest.mark.parametrize(
    ("octets", "name", "signs"),
    [
        (vector("cr").replace(bytes.fromhex("1206ff00"), bytes.fromhex("12ffff00")), "1", ["cr.expert.length"]),
        (vector("cr").replace(bytes.fromhex("1206ff00"), bytes.fromhex("1201ff00")), "1", ["cr.expert.length"] * 2),
        (bytes.fromhex("3b00 0b00 0000 0100"), "1", ["cr.expert.length"]),
        (bytes.fromhex("3b00 0b00 0000 6300"), "99", ["cr.expert.subtype"]),
        *(
            (bytes.fromhex(f"3b00 0b00 0000 {subtype:02x}00"), str(subtype), ["cr.expert.length"])
            for subtype in (3, 4, 5, 6)
        ),
        (vector("fast-pbu").replace(bytes.fromhex("03102001"), bytes.fromhex("03ff2001")), "3", ["cr.expert.length"]),
        (vector("cr")[:40], "1", ["cr.expert.length"]),
        (vector("cr")[:7], "", []),
    ],
)
def test_dissector_survives(octets: bytes, name: str, signs: list[str], tmp_path: Path) -> None:
    (layers,) = dissect(tmp_path, [octets], SCRIPT)
    assert dict(own(layers)).get("cr.subtype", "") == name
    assert [field for field, _ in leaves(layers) if field.startswith("cr.expert")] == signs
    assert "Lua Error" not in str(layers)


def test_names_of_the_messages(tmp_path: Path) -> None:
    messages = ["pbu-context", "pba-context", "cr", "cr-ack", "cc", "pbu-full"]
    messages += ["fast-pbu", "fast-pba", "reverse-pbu", "reverse-pba"]
    dissect(tmp_path, [*(vector(name) for name in messages), bytes.fromhex("3b00 0b00 0000 6300")])
    command = ["tshark", "-n", "-r", str(tmp_path / "messages.pcap"), SCRIPT, "-T", "fields", "-e", "_ws.col.Info"]
    text = subprocess.run(command, capture_output=True, check=True, text=True).stdout
    assert text.splitlines() == [
        "Binding Update [context]",
        "Binding Acknowledgement [context]",
        "Context Reflection",
        "Context Reflection Acknowledgement",
        "Context Continuation 2 of 3",
        "Binding Update",
        "Fast PBU",
        "Fast PBA",
        "Reverse PBU",
        "Reverse PBA",
        "Experimental Mobility Header, subtype 99",
    ]


def test_other_code_points(tmp_path: Path) -> None:
    use(CodePoints(mh_type=200, context_data_option=100, update_flag=0x0001, ack_flag=0x80))
    try:
        octets = [encode(VECTORS[name]) for name in ("cr", "pbu-context", "pba-context")]
    finally:
        use(CodePoints())
    numbers = ["cr.mh_type:200", "cr.option:100", "cr.update_flag:1", "cr.ack_flag:128"]
    packets = dissect(tmp_path, octets, SCRIPT, *(f"-o{number}" for number in numbers))
    for name, layers in zip(("cr", "pbu-context", "pba-context"), packets, strict=True):
        assert own(layers) == expected(VECTORS[name])
