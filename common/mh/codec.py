"""Octets to messages and back. `decode` lets through what the RFCs and docs/protocol.md call a message, nothing else.

What messages there are is in `formats`. The checks of RFC 6275 section 9.2 are made in its order, except for the
checksum: a raw socket of protocol 135 fills it in and verifies it in the kernel.
"""

import struct
from ipaddress import IPv6Address

from scapy.layers.inet6 import IPv6, MIP6MH_Generic, in6_chksum

from common.errors import MalformedMessage, UnknownMhType
from common.mh import options
from common.mh.code_points import DEFAULT, CodePoints
from common.mh.formats import formats
from common.mh.formats.row import Format
from common.mh.layout import Layout
from common.mh.messages import Message

PROTOCOL = 135  # the next header value of the Mobility Header

_SUBTYPE = 6  # where a message has one: right behind the header
_HEADER = Layout(MIP6MH_Generic, "mhtype", "msg")
_formats = formats(DEFAULT)


class ParameterProblem(MalformedMessage):
    """RFC 6275 section 9.2 answers it with an ICMPv6 Parameter Problem, code 0.

    `pointer` is the offending octet's offset in the Mobility Header, which an IPv6 header (and others) precedes.
    """

    def __init__(self, reason: str, pointer: int, detail: str) -> None:
        super().__init__(reason, detail)
        self.pointer = pointer


def use(points: CodePoints) -> None:
    """Speak the extension with these code points from now on; to be said before the first message."""
    global _formats  # noqa: PLW0603 - a process is in one domain, and every message is read and written here
    _formats = formats(points)


def decode(data: bytes) -> Message:
    """The message that `data`, a whole Mobility Header, holds.

    Raises UnknownMhType (answered with a Binding Error), ParameterProblem (answered with ICMP) or MalformedMessage
    (dropped). The reasons, all of them: truncated, unknown-mh-type, payload-proto, header-too-short, trailing-octets,
    unknown-experimental-subtype, unknown-revocation-type, not-a-proxy-binding-update, not-a-proxy-binding-ack,
    not-a-proxy-handover-initiate, not-a-proxy-handover-ack, bad-part-number, option-overrun, bad-option-length,
    bad-prefix-length, bad-lma-address, bad-context-request, duplicate-option, too-many-options, empty-mn-id.
    """
    if len(data) < 8:
        raise MalformedMessage("truncated", f"{len(data)} octets")
    (mh_type,) = _HEADER.unpack(data)
    row = _formats.by_mh_type.get(mh_type)
    if row is None and mh_type not in _formats.by_subtype:
        raise UnknownMhType(mh_type)
    if data[0] != _HEADER.first:
        raise ParameterProblem("payload-proto", 0, str(data[0]))
    if row is None:
        row = _of_subtype(mh_type, data)
    layout = row.layout
    size = 8 + 8 * data[1]
    if size < layout.size:
        raise ParameterProblem("header-too-short", 1, f"{size} octets of MH type {mh_type}")
    if size != len(data):
        # A payload of type "none" has no octets; what follows all the same is in no length and nobody's.
        reason = "truncated" if len(data) < size else "trailing-octets"
        raise MalformedMessage(reason, f"{len(data)} octets, header says {size}")
    attributes = row.from_fields(*layout.unpack(data))
    return row.message(**options.decode(data, layout.size, row.options, attributes))


def encode(message: Message) -> bytes:
    """The octets of a message, the checksum field 0. ValueError for what the format cannot say."""
    row = _formats.by_message[type(message)]
    layout = row.layout
    try:
        area = options.encode(message, row.options, layout.size)
        octets = layout.size + len(area)
        if octets > options.MAX_OCTETS:
            raise ValueError(f"{octets} octets do not fit into a Mobility Header")
        return layout.pack(octets // 8 - 1, *row.to_fields(message)) + area
    except struct.error as error:
        raise ValueError(f"{message.name}: {error}") from error


def with_checksum(data: bytes, source: IPv6Address, destination: IPv6Address) -> bytes:
    """An encoded message with the checksum (RFC 6275 section 6.1.1) that the kernel would have put in."""
    pseudo_header = IPv6(src=str(source), dst=str(destination))
    checksum = in6_chksum(  # type: ignore[no-untyped-call]  # scapy's types have gaps
        PROTOCOL, pseudo_header, data[:4] + bytes(2) + data[6:]
    )
    return data[:4] + struct.pack("!H", checksum) + data[6:]


def _of_subtype(mh_type: int, data: bytes) -> Format:
    refusal, rows = _formats.by_subtype[mh_type]
    subtype = data[_SUBTYPE]
    if subtype not in rows:
        raise MalformedMessage(refusal, str(subtype))
    return rows[subtype]
