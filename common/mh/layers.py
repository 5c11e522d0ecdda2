"""The octets of Proxy Mobile IPv6 as scapy layers: the one definition of the format of RFC 5213.

What scapy has right is used as it is (PadN, Binding Refresh Advice, Alternate Care-of Address, MN-ID, Binding Error);
what it lacks or has only in part is defined here in its own notation and entered in its tables, so that scapy
dissects a captured PBU too. `x` and `y` are an option's alignment, x * n + y octets from the start of the message.
scapy is a notation, not a validator: `codec.py` decides what is a message.
Sources: RFC 6275 sections 6.1 and 6.2, RFC 5213 section 8, RFC 4283 section 3, IANA "Mobility Parameters" (flags).
What is beyond RFC 5213 has a file for each specification: `revocation.py`, `context_reflection.py`,
`fast_handover.py`, `handover_initiate.py`.
"""
# ruff: noqa: RUF012  # `fields_desc = [...]` is how scapy is written

from math import gcd
from typing import Any

from scapy.fields import (
    ByteEnumField,
    ByteField,
    Field,
    FieldLenField,
    FlagsField,
    IP6Field,
    LongField,
    ShortField,
    StrLenField,
    XShortField,
)
from scapy.layers import inet6
from scapy.layers.inet6 import MIP6MH_BA, MIP6MH_BU, LifetimeField, ipv6nh
from scapy.packet import Packet

UPDATE_FLAGS = ["0x1", "0x2", "0x4", "C", "D", "S", "B", "T", "F", "P", "R", "M", "K", "L", "H", "A"]
ACK_FLAGS = ["C", "D", "S", "B", "T", "P", "R", "K"]
_HANDOFF_INDICATORS = {
    1: "new interface",
    2: "between interfaces",
    3: "between MAGs",
    4: "unknown",
    5: "not changed",
    6: "new interface sharing prefixes",
}
_ACCESS_TECHNOLOGIES = {
    1: "Virtual",
    2: "PPP",
    3: "IEEE 802.3",
    4: "IEEE 802.11a/b/g",
    5: "IEEE 802.16e",
    6: "GERAN",
    7: "UTRAN",
    8: "E-UTRAN",
    9: "eHRPD",
    10: "HRPD",
    11: "cdma2000 1xRTT",
    12: "UMB",
    13: "NB-IoT",
}
_PROXY_STATUS = {
    152: "PROXY_REG_NOT_ENABLED",
    153: "NOT_LMA_FOR_THIS_MOBILE_NODE",
    154: "MAG_NOT_AUTHORIZED_FOR_PROXY_REG",
    155: "NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX",
    156: "TIMESTAMP_MISMATCH",
    157: "TIMESTAMP_LOWER_THAN_PREV_ACCEPTED",
    158: "MISSING_HOME_NETWORK_PREFIX_OPTION",
    159: "BCE_PBU_PREFIX_SET_DO_NOT_MATCH",
    160: "MISSING_MN_IDENTIFIER_OPTION",
    161: "MISSING_HANDOFF_INDICATOR_OPTION",
    162: "MISSING_ACCESS_TECH_TYPE_OPTION",
}
_OPTION_NAMES = {
    22: "Home Network Prefix (RFC5213)",
    23: "Handoff Indicator (RFC5213)",
    24: "Access Technology Type (RFC5213)",
    25: "Mobile Node Link-layer Identifier (RFC5213)",
    26: "Link-local Address (RFC5213)",
    27: "Timestamp (RFC5213)",
}
inet6._mobopttypes.update(_OPTION_NAMES)
inet6.bastatus.update(_PROXY_STATUS)


class MIP6OptHomeNetworkPrefix(inet6._MIP6OptAlign):
    """RFC 5213 section 8.3."""

    name = "PMIPv6 Option - Home Network Prefix"
    fields_desc = [
        ByteEnumField("otype", 22, inet6._mobopttypes),
        ByteField("olen", 18),
        ByteField("reserved", 0),
        ByteField("plen", 64),
        IP6Field("prefix", "::"),
    ]
    x, y = 8, 4


class MIP6OptHandoffIndicator(inet6._MIP6OptAlign):
    """RFC 5213 section 8.4."""

    name = "PMIPv6 Option - Handoff Indicator"
    fields_desc = [
        ByteEnumField("otype", 23, inet6._mobopttypes),
        ByteField("olen", 2),
        ByteField("reserved", 0),
        ByteEnumField("hi", 4, _HANDOFF_INDICATORS),
    ]
    x, y = 0, 0


class MIP6OptAccessTechnologyType(inet6._MIP6OptAlign):
    """RFC 5213 section 8.5."""

    name = "PMIPv6 Option - Access Technology Type"
    fields_desc = [
        ByteEnumField("otype", 24, inet6._mobopttypes),
        ByteField("olen", 2),
        ByteField("reserved", 0),
        ByteEnumField("att", 4, _ACCESS_TECHNOLOGIES),
    ]
    x, y = 0, 0


class MIP6OptMNLinkLayerIdentifier(inet6._MIP6OptAlign):
    """RFC 5213 section 8.6."""

    name = "PMIPv6 Option - Mobile Node Link-layer Identifier"
    fields_desc = [
        ByteEnumField("otype", 25, inet6._mobopttypes),
        FieldLenField("olen", None, length_of="lla", fmt="B", adjust=lambda _packet, length: length + 2),
        ShortField("reserved", 0),
        StrLenField("lla", b"", length_from=lambda packet: packet.olen - 2),
    ]

    def alignment_delta(self, curpos: int) -> int:
        # "Based on the size of the identifier": a field of n octets lies on a multiple of n (RFC 6275 section 6.2.1),
        # and `reserved` alone already asks for 2n. The identifier begins 4 octets into the option.
        multiple = max(2, gcd(len(self.lla), 8))
        return int(4 - curpos) % multiple


class MIP6OptLinkLocalAddress(inet6._MIP6OptAlign):
    """RFC 5213 section 8.7: the link-local address of the MAG."""

    name = "PMIPv6 Option - Link-local Address"
    fields_desc = [
        ByteEnumField("otype", 26, inet6._mobopttypes),
        ByteField("olen", 16),
        IP6Field("address", "::"),
    ]
    x, y = 8, 6


class MIP6OptTimestamp(inet6._MIP6OptAlign):
    """RFC 5213 section 8.8: 48 bits of seconds and 16 bits of 1/65536 s since 1970 UTC."""

    name = "PMIPv6 Option - Timestamp"
    fields_desc = [
        ByteEnumField("otype", 27, inet6._mobopttypes),
        ByteField("olen", 8),
        LongField("timestamp", 0),
    ]
    x, y = 8, 2


def mobility_header(mh_type: int) -> list[Field[Any, Any]]:
    """The six octets every mobility message begins with (RFC 6275 section 6.1.1)."""
    return [
        ByteEnumField("nh", 59, ipv6nh),
        ByteField("len", None),
        ByteEnumField("mhtype", mh_type, inet6.mhtypes),
        ByteField("res", 0),
        XShortField("cksum", None),
    ]


def mobility_options(start: int) -> list[Field[Any, Any]]:
    """The options of a message whose fixed part ends `start` octets into it, padded as they ask and to 8n."""
    return [
        inet6._PhantomAutoPadField("autopad", 1),
        inet6._OptionsField(  # type: ignore[no-untyped-call]  # scapy's types have gaps
            "options", [], inet6.MIP6OptUnknown, start, length_from=lambda packet: 8 * (packet.len + 1) - start
        ),
    ]


class MIP6MH_PBU(MIP6MH_BU):
    """Binding Update with every flag that is assigned (RFC 5213 section 8.1, IANA); A and P are set by default."""

    name = "IPv6 Mobility Header - Proxy Binding Update"
    fields_desc = [
        *mobility_header(5),
        XShortField("seq", 0),
        FlagsField("flags", 0x8200, 16, UPDATE_FLAGS),
        LifetimeField("mhtime", 0),  # units of 4 s
        *mobility_options(12),
    ]


class MIP6MH_PBA(MIP6MH_BA):
    """Binding Acknowledgement with every flag that is assigned (RFC 5213 section 8.2, IANA); P is set by default."""

    name = "IPv6 Mobility Header - Proxy Binding Acknowledgement"
    fields_desc = [
        *mobility_header(6),
        ByteEnumField("status", 0, inet6.bastatus),
        FlagsField("flags", 0x20, 8, ACK_FLAGS),
        XShortField("seq", 0),
        LifetimeField("mhtime", 0),  # units of 4 s
        *mobility_options(12),
    ]

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_PBU) and bool(other.flags.A) and self.seq == other.seq)


inet6.moboptcls.update(
    {
        22: MIP6OptHomeNetworkPrefix,
        23: MIP6OptHandoffIndicator,
        24: MIP6OptAccessTechnologyType,
        25: MIP6OptMNLinkLayerIdentifier,
        26: MIP6OptLinkLocalAddress,
        27: MIP6OptTimestamp,
    }
)
inet6._mip6_mhtype2cls.update({5: MIP6MH_PBU, 6: MIP6MH_PBA})
