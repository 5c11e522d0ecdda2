"""The octets of Handover Initiate and Handover Acknowledge as scapy layers (RFC 5568 6.2.1, RFC 5949 section 6)."""
# ruff: noqa: RUF012  # `fields_desc = [...]` is how scapy is written

from scapy.fields import (
    ByteEnumField,
    ByteField,
    FieldLenField,
    FlagsField,
    ShortField,
    StrLenField,
    XLongField,
    XShortField,
)
from scapy.layers import inet6
from scapy.packet import Packet

from common.mh.layers import mobility_header, mobility_options

HI_TYPE, HACK_TYPE = 14, 15
CONTEXT_REQUEST, LMA_ADDRESS, INTERFACE_ID = 40, 41, 42
_HI_FLAGS = ["0x1", "0x2", "0x4", "0x8", "F", "P", "U", "S"]
_HACK_FLAGS = ["0x1", "0x2", "0x4", "0x8", "0x10", "F", "P", "U"]
_HI_CODES = {0: "default", 2: "forwarding completed", 3: "all available context transferred"}
_HACK_CODES = {
    0: "handover accepted",
    5: "context transfer accepted",
    6: "all available context transferred",
    128: "handover not accepted",
    129: "administratively prohibited",
    130: "insufficient resources",
    131: "requested context not available",
    132: "forwarding not available",
}
inet6._mobopttypes.update(
    {
        CONTEXT_REQUEST: "Context Request (RFC5949)",
        LMA_ADDRESS: "Local Mobility Anchor Address (RFC5949)",
        INTERFACE_ID: "Mobile Node Link-local Address Interface Identifier (RFC5949)",
    }
)


class MIP6OptContextRequest(inet6._MIP6OptAlign):
    """RFC 5949 section 6.2.1: `requests` are types, lengths and data one after the other."""

    name = "FPMIPv6 Option - Context Request"
    fields_desc = [
        ByteEnumField("otype", CONTEXT_REQUEST, inet6._mobopttypes),
        FieldLenField("olen", None, length_of="requests", fmt="B", adjust=lambda _packet, length: length + 2),
        ShortField("reserved", 0),
        StrLenField("requests", b"", length_from=lambda packet: packet.olen - 2),
    ]
    x, y = 0, 0


class MIP6OptLMAAddress(inet6._MIP6OptAlign):
    """RFC 5949 section 6.2.2: 16 octets of IPv6 (code 1) or 4 of IPv4 (code 2)."""

    name = "FPMIPv6 Option - Local Mobility Anchor Address"
    fields_desc = [
        ByteEnumField("otype", LMA_ADDRESS, inet6._mobopttypes),
        FieldLenField("olen", None, length_of="address", fmt="B", adjust=lambda _packet, length: length + 2),
        ByteEnumField("code", 1, {1: "IPv6", 2: "IPv4"}),
        ByteField("reserved", 0),
        StrLenField("address", b"", length_from=lambda packet: packet.olen - 2),
    ]
    x, y = 0, 0


class MIP6OptInterfaceId(inet6._MIP6OptAlign):
    """RFC 5949 section 6.2.3: of the MN's link-local address."""

    name = "FPMIPv6 Option - Mobile Node Link-local Address Interface Identifier"
    fields_desc = [
        ByteEnumField("otype", INTERFACE_ID, inet6._mobopttypes),
        ByteField("olen", 10),
        ShortField("reserved", 0),
        XLongField("iid", 0),
    ]
    x, y = 0, 0


class MIP6MH_HI(inet6._MobilityHeader):
    """Handover Initiate (RFC 5949 section 6.1.1); P is set by default."""

    name = "IPv6 Mobility Header - Handover Initiate"
    fields_desc = [
        *mobility_header(HI_TYPE),
        XShortField("seq", 0),
        FlagsField("flags", 0x20, 8, _HI_FLAGS),
        ByteEnumField("code", 0, _HI_CODES),
        *mobility_options(10),
    ]


class MIP6MH_HAck(inet6._MobilityHeader):
    """Handover Acknowledge (RFC 5949 section 6.1.2); P is set by default."""

    name = "IPv6 Mobility Header - Handover Acknowledge"
    fields_desc = [
        *mobility_header(HACK_TYPE),
        XShortField("seq", 0),
        FlagsField("flags", 0x40, 8, _HACK_FLAGS),
        ByteEnumField("code", 0, _HACK_CODES),
        *mobility_options(10),
    ]

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_HI) and self.seq == other.seq)


inet6.moboptcls.update(
    {
        CONTEXT_REQUEST: MIP6OptContextRequest,
        LMA_ADDRESS: MIP6OptLMAAddress,
        INTERFACE_ID: MIP6OptInterfaceId,
    }
)
inet6._mip6_mhtype2cls.update({HI_TYPE: MIP6MH_HI, HACK_TYPE: MIP6MH_HAck})
