"""The octets of binding revocation as scapy layers (RFC 5846 section 5, status numbers of IANA)."""

from typing import Any

from scapy.fields import ByteEnumField, ByteField, Field, FlagsField, XShortField, _FieldContainer
from scapy.layers import inet6
from scapy.packet import Packet

from common.mh.layers import mobility_header, mobility_options

_TYPES = {1: "Indication", 2: "Acknowledgement"}
_FLAGS = [*(f"{1 << bit:#x}" for bit in range(13)), "G", "V", "P"]
_TRIGGERS = {
    0: "unspecified",
    1: "administrative reason",
    2: "inter-MAG handover, same access type",
    3: "inter-MAG handover, different access type",
    4: "inter-MAG handover, unknown",
    5: "user-initiated session(s) termination",
    6: "access network session(s) termination",
    7: "possible out-of-sync BCE state",
    128: "per-peer policy",
    129: "revoking mobility node local policy",
}
_STATUS = {
    0: "success",
    1: "partial success",
    128: "binding does not exist",
    129: "IPv4 home address option required",
    130: "global revocation not authorized",
    131: "revoked mobile nodes identity required",
    132: "revocation failed, MN is attached",
    133: "revocation trigger not supported",
    134: "revocation function not supported",
    135: "proxy binding revocation not supported",
}


def _revocation(br_type: int, second: Field[Any, Any]) -> list[Field[Any, Any] | _FieldContainer]:
    """What both messages have in common; `second` follows the type."""
    return [
        *mobility_header(16),
        ByteEnumField("brtype", br_type, _TYPES),
        second,
        XShortField("seq", 0),
        FlagsField("flags", 0x8000, 16, _FLAGS),
        *mobility_options(12),
    ]


class MIP6MH_BR(inet6._MobilityHeader):
    """Binding Revocation (RFC 5846 section 5), of whatever type."""

    name = "IPv6 Mobility Header - Binding Revocation"
    fields_desc = _revocation(0, ByteField("reserved", 0))

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *_args: Any, **_kargs: Any) -> type[Packet]:
        return _BY_TYPE.get(_pkt[6], inet6.MIP6MH_Generic) if len(_pkt) > 6 else cls


class MIP6MH_BRI(MIP6MH_BR):
    """Binding Revocation Indication (RFC 5846 section 5.1); P is set by default."""

    name = "IPv6 Mobility Header - Binding Revocation Indication"
    fields_desc = _revocation(1, ByteEnumField("trigger", 0, _TRIGGERS))


class MIP6MH_BRA(MIP6MH_BR):
    """Binding Revocation Acknowledgement (RFC 5846 section 5.2); P is set by default."""

    name = "IPv6 Mobility Header - Binding Revocation Acknowledgement"
    fields_desc = _revocation(2, ByteEnumField("status", 0, _STATUS))

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_BRI) and self.seq == other.seq)


_BY_TYPE: dict[int, type[Packet]] = {1: MIP6MH_BRI, 2: MIP6MH_BRA}
inet6._mip6_mhtype2cls[16] = MIP6MH_BR
