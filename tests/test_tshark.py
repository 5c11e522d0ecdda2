"""Somebody else's eyes: tshark dissects every message the codec writes, field by field, and complains of nothing.

tshark comes with `make test`; where it is missing these tests fail.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import pytest
from scapy.layers.inet6 import IPv6
from scapy.layers.l2 import Ether
from scapy.utils import wrpcap

from common.mh.codec import PROTOCOL, encode, with_checksum
from common.mh.messages import (
    AccessTechnologyType,
    AckFlag,
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoffIndicator,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
    Heartbeat,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
    Status,
    UpdateFlag,
)
from tests.wire import FOREIGN_VECTORS, FULL_BRA, FULL_BRI, FULL_HACK, FULL_HI, FULL_PBA, FULL_PBU, VECTORS, vector

MAG, LMA = IPv6Address("2001:db8:0:1::1"), IPv6Address("2001:db8:0:ff::1")
MESSAGES: list[Message] = [
    *VECTORS.values(),
    *(replace(FULL_PBU, flags=UpdateFlag.PROXY | flag) for flag in UpdateFlag),
    *(replace(FULL_PBA, flags=AckFlag.PROXY | flag) for flag in AckFlag),
    *(replace(FULL_PBU, handoff_indicator=number) for number in HandoffIndicator),
    *(replace(FULL_PBU, access_technology=number) for number in AccessTechnologyType),
    *(replace(FULL_PBA, status=status) for status in Status),
    # Every padding there is in front of what follows the link-layer identifier and the prefixes.
    *(replace(FULL_PBU, mn_ll_id=bytes(range(1, 1 + octets))) for octets in range(1, 18)),
    *(
        replace(FULL_PBA, hnps=tuple(IPv6Network((0x2001_0DB8 << 96 | n << 64, 64)) for n in range(1, 1 + count)))
        for count in range(1, 9)
    ),
    BindingError(status=2),
    *(replace(FULL_PBU, contexts=(ContextData(0xFF00, bytes(octets)),)) for octets in (0, 1, 252, 253, 254, 1800)),
    *(replace(FULL_BRI, trigger=trigger) for trigger in RevocationTrigger),
    *(replace(FULL_BRI, flags=flag) for flag in [*RevocationFlag, RevocationFlag(0x1FFF)]),
    *(replace(FULL_BRA, status=status) for status in RevocationStatus),
    *(replace(FULL_BRA, flags=flag) for flag in [*RevocationFlag, RevocationFlag(0x1FFF)]),
    *(replace(FULL_HI, code=code) for code in HandoverInitiateCode),
    *(replace(FULL_HI, flags=HandoverInitiateFlag.PROXY | flag) for flag in HandoverInitiateFlag),
    *(replace(FULL_HACK, code=code) for code in HandoverAckCode),
    *(replace(FULL_HACK, flags=HandoverAckFlag.PROXY | flag) for flag in HandoverAckFlag),
]


def dissect(directory: Path, datagrams: list[bytes], *options: str) -> list[dict[str, Any]]:
    """What tshark makes of each Mobility Header: its tree of layers. The checksums are filled in before."""
    capture = directory / "messages.pcap"
    header = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02") / IPv6(src=str(MAG), dst=str(LMA), nh=PROTOCOL)
    wrpcap(str(capture), [header / with_checksum(datagram, MAG, LMA) for datagram in datagrams])
    return read(capture, *options)


def read(capture: Path, *options: str) -> list[dict[str, Any]]:
    """What tshark makes of each packet of a capture: its tree of layers."""
    command = ["tshark", "-n", "-r", str(capture), "-T", "json", "--no-duplicate-keys", *options]
    result = subprocess.run(command, env=os.environ | {"TZ": "UTC"}, capture_output=True, check=True)
    return [packet["_source"]["layers"] for packet in json.loads(result.stdout)]


def leaves(tree: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every field of a tree and its value, in order."""
    for name, value in tree.items():
        for item in value if isinstance(value, list) else [value]:
            if isinstance(item, dict):
                yield name, ""
                yield from leaves(item)
            else:
                yield name, item


def complaints(layers: dict[str, Any]) -> list[str]:
    """What tshark has against a packet: malformed, cut short, an expert's word, a length that cannot be."""
    signs = ("_ws.", "mip6.opt.len.invalid", "mip6.bogus", "mip6.unknown", "mip6.ie_not")
    return [f"{name}: {value}" for name, value in leaves(layers) if name.startswith(signs)]


def fields(layers: dict[str, Any]) -> dict[str, list[str]]:
    """The values of every mip6 field, but for padding, and for headings, which repeat an option as a whole.

    The MN-ID is taken from its heading: tshark shows every identifier as text, one that is none as well. So is what is
    experimental: of such an option's data tshark 4.0 shows two octets less than there are.
    """
    found: dict[str, list[str]] = {}
    left_out = (
        "mip6.options.",
        "mip6.mobility_opt",
        "mip6.padn",
        "mip6.opt.len.invalid",
        "mip6.mnid.identifier",
        "mip6.ie_not",
    )
    headings = ("mip6.options.mnid", "mip6.options.em")
    for name, value in leaves(layers):
        if name.startswith("mip6.") and (not name.startswith(left_out) or (name in headings and value)):
            found.setdefault(name, []).append(value)
    if "mip6.options.em" in found:
        del found["mip6.em.data"]
    return found


def expected(message: Message) -> dict[str, list[str]]:
    """The fields that a message should have in the words of tshark."""
    octets = with_checksum(encode(message), MAG, LMA)
    found: dict[str, object] = {
        "mip6.proto": 59,
        "mip6.hlen": len(octets) // 8 - 1,
        "mip6.reserved": "0x00",
        "mip6.csum": f"0x{octets[4:6].hex()}",
    }
    several: dict[str, list[str]] = {}
    match message:
        case BindingError():
            found |= {"mip6.mhtype": 7, "mip6.be.status": message.status, "mip6.be.haddr": message.home_address}
        case (
            ContextReflection()
            | ContextReflectionAck()
            | ContextContinuation()
            | FastProxyBindingUpdate()
            | FastProxyBindingAck()
            | ReverseProxyBindingUpdate()
            | ReverseProxyBindingAck()
        ):
            found |= {"mip6.mhtype": 11, "mip6.em.data": octets[6:].hex(":")}
        case ProxyBindingUpdate():
            bits = {f"mip6.{'nemo.' * (flag == 'r')}bu.{flag}_flag": 0x8000 >> i for i, flag in enumerate("ahlkmrpftb")}
            found |= {name: int(bool(message.flags & bit)) for name, bit in bits.items()}
            found |= {
                "mip6.mhtype": 5,
                "mip6.bu.seqnr": message.sequence,
                "mip6.bu.lifetime": message.lifetime // 4,
                "mip6.acoa.acoa": message.alternate_coa,
            }
            found |= identity(message) | registration(message)
            several = prefixes(message) | experimental(message)
        case ProxyBindingAck():
            bits = {f"mip6.{'nemo.' * (flag == 'r')}ba.{flag}_flag": 0x80 >> i for i, flag in enumerate("krptb")}
            found |= {name: int(bool(message.flags & bit)) for name, bit in bits.items()}
            found |= {
                "mip6.mhtype": 6,
                "mip6.ba.status": int(message.status),
                "mip6.ba.seqnr": message.sequence,
                "mip6.ba.lifetime": message.lifetime // 4,
                "mip6.bra.interval": None if message.refresh_advice is None else message.refresh_advice // 4,
            }
            found |= identity(message) | registration(message)
            several = prefixes(message) | experimental(message)
        case Heartbeat():
            found |= {
                "mip6.mhtype": 13,
                "mip6.hb.u_flag": int(message.unsolicited),
                "mip6.hb.r_flag": int(message.response),
                "mip6.hb.seqnr": message.sequence,
                "mip6.rc": message.restart_counter,
            }
        case BindingRevocationIndication() | BindingRevocationAck():
            indication = isinstance(message, BindingRevocationIndication)
            for bit, flag in zip((0x8000, 0x4000, 0x2000), "pvg", strict=True):
                found[f"mip6.bri_{'i' if indication else 'a'}{flag}"] = int(bool(message.flags & bit))
            found |= {
                "mip6.mhtype": 16,
                "mip6.bri_br.type": 1 if indication else 2,
                "mip6.bri_seqnr": message.sequence,
                "mip6.bri_res": f"0x{message.flags & 0x1FFF:04x}",
            }
            if isinstance(message, BindingRevocationIndication):
                found["mip6.bri_r.trigger"] = int(message.trigger)
                found["mip6.acoa.acoa"] = message.alternate_coa
            else:
                found["mip6.bri_status"] = int(message.status)  # as text tshark 4.0 has the numbers of a draft
            found |= identity(message)
            several = prefixes(message)
        case HandoverInitiate() | HandoverAck():
            initiate = isinstance(message, HandoverInitiate)
            kind = "hi" if initiate else "hack"
            found |= {"mip6.mhtype": 14 if initiate else 15, f"mip6.{kind}.code": int(message.code)}
            found[f"mip6.{kind}.seqnr"] = message.sequence
            if isinstance(message, HandoverInitiate):  # P and F it does not show, testbed/context_reflector.lua does
                found["mip6.hi.s_flag"] = int(bool(message.flags & HandoverInitiateFlag.ASSIGNED_ADDRESS))
                found["mip6.hi.u_flag"] = int(bool(message.flags & HandoverInitiateFlag.BUFFER))
            found |= identity(message) | {"mip6.lila_lla": message.link_local}
            if message.mn_ll_id is not None:
                found |= {"mip6.mnlli.reserved": 0, "mip6.mnlli.lli": message.mn_ll_id.hex(":")}
            several = prefixes(message) | experimental(message) | handed_over(message)
    return {name: [str(value)] for name, value in found.items() if value is not None} | several


Registration = ProxyBindingUpdate | ProxyBindingAck
Revocation = BindingRevocationIndication | BindingRevocationAck


Handover = HandoverInitiate | HandoverAck


def handed_over(message: Handover) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    if message.lma_addresses:
        found["mip6.lmaa.opt_code"] = [str({6: 1, 4: 2}[address.version]) for address in message.lma_addresses]
        found["mip6.lmaa.reserved"] = ["0"] * len(message.lma_addresses)
    for address in message.lma_addresses:
        found[f"mip6.lmaa.ipv{address.version}"] = [str(address)]
    if isinstance(message, HandoverInitiate) and message.requests is not None:
        found["mip6.cr.reserved"] = ["0"]
        found["mip6.cr.req_type"] = [str(request.option) for request in message.requests]
        found["mip6.cr.req_length"] = [str(len(request.data)) for request in message.requests]
        for request in message.requests:
            if request.option == 19:  # Vendor Specific (RFC 5094)
                found["mip6.vsm.vendorId"] = [str(int.from_bytes(request.data[:4]))]
                found["mip6.vsm.subtype"] = [str(request.data[4])]
    return found


def identity(message: Registration | Revocation | Handover) -> dict[str, object]:
    if message.mn_id is None:
        return {}
    data = bytes((message.mn_id.subtype,)) + message.mn_id.value
    return {
        "mip6.mnid.subtype": message.mn_id.subtype,
        "mip6.options.mnid": (bytes((8, len(data))) + data).hex(":"),
    }


def prefixes(message: Registration | Revocation | Handover) -> dict[str, list[str]]:
    if not message.hnps:
        return {}
    return {
        "mip6.nemo.mnp.pfl": [str(hnp.prefixlen) for hnp in message.hnps],
        "mip6.nemo.mnp.mnp": [str(hnp.network_address) for hnp in message.hnps],
    }


def experimental(message: Registration | Handover) -> dict[str, list[str]]:
    """Every Context Data option, as a whole."""
    found = []
    for context in message.contexts:
        for start in range(0, len(context.data) or 1, 253):
            data = context.data[start : start + 253]
            found.append((bytes((18, 2 + len(data))) + context.feature.to_bytes(2) + data).hex(":"))
    return {"mip6.options.em": found} if found else {}


def registration(message: Registration) -> dict[str, object]:
    found: dict[str, object] = {"mip6.lila_lla": message.link_local}
    if message.handoff_indicator is not None:
        found |= {"mip6.hi.reserved": 0, "mip6.hi": int(message.handoff_indicator)}
    if message.access_technology is not None:
        found |= {"mip6.att.reserved": 0, "mip6.att": int(message.access_technology)}
    if message.mn_ll_id is not None:
        found |= {"mip6.mnlli.reserved": 0, "mip6.mnlli.lli": message.mn_ll_id.hex(":")}
    if message.timestamp is not None:
        moment = datetime.fromtimestamp(int(message.timestamp.utc), UTC)
        nanoseconds = message.timestamp % 65536 * 10**9 // 65536
        found |= {"mip6.timestamp_tmp": f"{moment:%b %e, %Y %H:%M:%S}.{nanoseconds:09} UTC"}
    return found


def without_what_cannot_be_helped(message: Message, words: list[str]) -> list[str]:
    """tshark 4.0 knows the interface identifier of RFC 5949 but does not show it, and it wants an identifier of an
    octet at least, RFC 5213 section 5.3.6 one of none where none came."""
    if isinstance(message, Handover) and message.interface_id is not None:
        assert {word for word in words if word.startswith("_ws.expert.message")} == {
            "_ws.expert.message: IE data not dissected yet"
        }
        return [word for word in words if not word.startswith(("_ws.expert", "mip6.ie_not_dissected"))]
    if not isinstance(message, ProxyBindingAck | BindingRevocationAck) or message.mn_id is None or message.mn_id.value:
        return words
    expert = "Mobile Node Identifier (with option length = 1 byte; should be >= 2)"
    assert {word for word in words if word.startswith("_ws.expert.message")} <= {f"_ws.expert.message: {expert}"}
    return [word for word in words if not word.startswith(("_ws.expert", "mip6.opt.len.invalid"))]


def test_tshark_reads_every_message(tmp_path: Path) -> None:
    packets = dissect(tmp_path, [encode(message) for message in MESSAGES])
    assert len(packets) == len(MESSAGES)
    for message, layers in zip(MESSAGES, packets, strict=True):
        assert without_what_cannot_be_helped(message, complaints(layers)) == []
        assert fields(layers) == expected(message)


def test_tshark_reads_every_vector(tmp_path: Path) -> None:
    """So the vectors are right, too, and not just of one mind with the codec."""
    vectors = VECTORS | FOREIGN_VECTORS
    packets = dissect(tmp_path, [vector(name) for name in vectors])
    for message, layers in zip(vectors.values(), packets, strict=True):
        assert without_what_cannot_be_helped(message, complaints(layers)) == []


@pytest.mark.parametrize(
    "octets",
    [
        vector("pbu-full").replace(bytes.fromhex("1a10fe80"), bytes.fromhex("1a0ffe80")),
        vector("pbu-full").replace(bytes.fromhex("17020003"), bytes.fromhex("17ff0003")),
        vector("pbu-full")[:-8],
        vector("pbu-context").replace(bytes.fromhex("12020004"), bytes.fromhex("12ff0004")),
        vector("bri")[:-8],
    ],
)
def test_tshark_would_have_complained(octets: bytes, tmp_path: Path) -> None:
    (layers,) = dissect(tmp_path, [octets])
    assert complaints(layers) != []
