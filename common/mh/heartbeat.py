"""The octets of the heartbeat as scapy layers (RFC 5847 sections 3.3 and 3.4)."""
# ruff: noqa: RUF012  # `fields_desc = [...]` is how scapy is written

from scapy.fields import ByteEnumField, ByteField, FlagsField, IntField
from scapy.layers import inet6
from scapy.packet import Packet

from common.mh.layers import mobility_header, mobility_options

RESPONSE, UNSOLICITED = 0x0001, 0x0002
_FLAGS = ["R", "U", *(f"{1 << bit:#x}" for bit in range(2, 16))]
inet6.mhtypes[13] = "Heartbeat"
inet6._mobopttypes[28] = "Restart Counter (RFC5847)"


class MIP6OptRestartCounter(inet6._MIP6OptAlign):
    """RFC 5847 section 3.4."""

    name = "PMIPv6 Option - Restart Counter"
    fields_desc = [
        ByteEnumField("otype", 28, inet6._mobopttypes),
        ByteField("olen", 4),
        IntField("counter", 0),
    ]
    x, y = 4, 2


class MIP6MH_HB(inet6._MobilityHeader):
    """Heartbeat (RFC 5847 section 3.3): a request, or with R a response, or with R and U one nobody asked for."""

    name = "IPv6 Mobility Header - Heartbeat"
    fields_desc = [
        *mobility_header(13),
        FlagsField("flags", 0, 16, _FLAGS),
        IntField("seq", 0),
        *mobility_options(12),
    ]

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_HB) and bool(self.flags.R) and not other.flags.R and self.seq == other.seq)


inet6.moboptcls[28] = MIP6OptRestartCounter
inet6._mip6_mhtype2cls[13] = MIP6MH_HB
