"""Octets to messages and back. `decode` lets through what RFC 6275 and RFC 5213 call a message, and nothing else.

The format itself is in `layers.py`. The checks of RFC 6275 section 9.2 are made in its order, except for the checksum:
a raw socket of protocol 135 fills it in and verifies it in the kernel.
"""

import struct
from collections.abc import Callable
from ipaddress import IPv6Address

from scapy.layers.inet6 import MIP6MH_BE, IPv6, MIP6MH_Generic, in6_chksum

from common.errors import MalformedMessage, UnknownMhType
from common.mh import options
from common.mh.layers import MIP6MH_PBA, MIP6MH_PBU
from common.mh.layout import Layout
from common.mh.messages import (
    AckFlag,
    BindingError,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    UpdateFlag,
)

PROTOCOL = 135  # the next header value of the Mobility Header
MAX_OCTETS = 8 * 256  # Header Len is one octet

_HEADER = Layout(MIP6MH_Generic, "mhtype", "msg")
_UPDATE = Layout(MIP6MH_PBU, "seq", "flags", "mhtime")
_ACK = Layout(MIP6MH_PBA, "status", "flags", "seq", "mhtime")
_ERROR = Layout(MIP6MH_BE, "status", "ha")

_SHARED_OPTIONS = (
    options.MN_ID,
    options.HOME_NETWORK_PREFIX,
    options.HANDOFF_INDICATOR,
    options.ACCESS_TECHNOLOGY_TYPE,
    options.MN_LINK_LAYER_IDENTIFIER,
    options.LINK_LOCAL_ADDRESS,
    options.TIMESTAMP,
)
_UPDATE_OPTIONS = options.by_type((*_SHARED_OPTIONS, options.ALTERNATE_CARE_OF_ADDRESS))
_ACK_OPTIONS = options.by_type((*_SHARED_OPTIONS, options.BINDING_REFRESH_ADVICE))


class ParameterProblem(MalformedMessage):
    """RFC 6275 section 9.2 answers it with an ICMPv6 Parameter Problem, code 0.

    `pointer` is the offending octet's offset in the Mobility Header, which an IPv6 header (and others) precedes.
    """

    def __init__(self, reason: str, pointer: int, detail: str) -> None:
        super().__init__(reason, detail)
        self.pointer = pointer


def decode(data: bytes) -> Message:
    """The message that `data`, a whole Mobility Header, holds.

    Raises UnknownMhType (answered with a Binding Error), ParameterProblem (answered with ICMP) or MalformedMessage
    (dropped). The reasons, all of them: truncated, unknown-mh-type, payload-proto, header-too-short, trailing-octets,
    not-a-proxy-binding-update, not-a-proxy-binding-ack, option-overrun, bad-option-length, bad-prefix-length,
    duplicate-option, too-many-options, empty-mn-id.
    """
    if len(data) < 8:
        raise MalformedMessage("truncated", f"{len(data)} octets")
    (mh_type,) = _HEADER.unpack(data)
    if mh_type not in _DECODERS:
        raise UnknownMhType(mh_type)
    layout, read = _DECODERS[mh_type]
    if data[0] != _HEADER.first:
        raise ParameterProblem("payload-proto", 0, str(data[0]))
    size = 8 + 8 * data[1]
    if size < layout.size:
        raise ParameterProblem("header-too-short", 1, f"{size} octets of MH type {mh_type}")
    if size != len(data):
        # A payload of type "none" has no octets; what follows all the same is in no length and nobody's.
        reason = "truncated" if len(data) < size else "trailing-octets"
        raise MalformedMessage(reason, f"{len(data)} octets, header says {size}")
    return read(data)


def encode(message: Message) -> bytes:
    """The octets of a message, the checksum field 0. ValueError for what the format cannot say."""
    try:
        match message:
            case ProxyBindingUpdate():
                area = options.encode(message, _UPDATE_OPTIONS, _UPDATE.size)
                lifetime = options.units(message.lifetime)
                return _build(_UPDATE, area, message.sequence, message.flags, lifetime)
            case ProxyBindingAck():
                area = options.encode(message, _ACK_OPTIONS, _ACK.size)
                lifetime = options.units(message.lifetime)
                return _build(_ACK, area, message.status, message.flags, message.sequence, lifetime)
            case BindingError():
                return _build(_ERROR, b"", message.status, message.home_address.packed)
    except struct.error as error:
        raise ValueError(f"{message.name}: {error}") from error


def with_checksum(data: bytes, source: IPv6Address, destination: IPv6Address) -> bytes:
    """An encoded message with the checksum (RFC 6275 section 6.1.1) that the kernel would have put in."""
    pseudo_header = IPv6(src=str(source), dst=str(destination))
    checksum = in6_chksum(  # type: ignore[no-untyped-call]  # scapy's types have gaps
        PROTOCOL, pseudo_header, data[:4] + bytes(2) + data[6:]
    )
    return data[:4] + struct.pack("!H", checksum) + data[6:]


def _build(layout: Layout, options_area: bytes, *values: int | bytes) -> bytes:
    octets = layout.size + len(options_area)
    if octets > MAX_OCTETS:
        raise ValueError(f"{octets} octets do not fit into a Mobility Header")
    return layout.pack(octets // 8 - 1, *values) + options_area


def _decode_update(data: bytes) -> ProxyBindingUpdate:
    sequence, bits, lifetime = _UPDATE.unpack(data)
    flags = UpdateFlag(bits)
    if UpdateFlag.PROXY not in flags:
        raise MalformedMessage("not-a-proxy-binding-update")
    found = options.decode(data, _UPDATE.size, _UPDATE_OPTIONS)
    if "mn_id" in found and not found["mn_id"].value:
        raise MalformedMessage("empty-mn-id")
    return ProxyBindingUpdate(sequence=sequence, lifetime=options.seconds(lifetime), flags=flags, **found)


def _decode_ack(data: bytes) -> ProxyBindingAck:
    """The MN-ID may be empty here: it answers a PBU that had none (RFC 5213 section 5.3.6)."""
    status, bits, sequence, lifetime = _ACK.unpack(data)
    flags = AckFlag(bits)
    if AckFlag.PROXY not in flags:
        raise MalformedMessage("not-a-proxy-binding-ack")
    found = options.decode(data, _ACK.size, _ACK_OPTIONS)
    return ProxyBindingAck(
        status=Status(status), sequence=sequence, lifetime=options.seconds(lifetime), flags=flags, **found
    )


def _decode_error(data: bytes) -> BindingError:
    """RFC 6275 section 6.1.9 knows no option that is valid here, but they must be well-formed to be skipped."""
    status, home_address = _ERROR.unpack(data)
    options.decode(data, _ERROR.size, {})
    return BindingError(status=status, home_address=IPv6Address(home_address))


_DECODERS: dict[int, tuple[Layout, Callable[[bytes], Message]]] = {
    5: (_UPDATE, _decode_update),
    6: (_ACK, _decode_ack),
    7: (_ERROR, _decode_error),
}
