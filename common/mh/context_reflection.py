"""The octets of Context Reflector as scapy layers, with the default code points; docs/protocol.md draws them.

One MH type, told apart by the octet behind the header, and one mobility option. Subtypes 3 to 6 are in
`fast_handover.py`.
"""
# ruff: noqa: RUF012  # `fields_desc = [...]` is how scapy is written

from typing import Any

from scapy.fields import (
    ByteEnumField,
    ByteField,
    Field,
    FieldLenField,
    FlagsField,
    ShortEnumField,
    ShortField,
    StrLenField,
    XShortField,
    _FieldContainer,
)
from scapy.layers import inet6
from scapy.packet import Packet

from common.mh.code_points import DEFAULT
from common.mh.layers import mobility_header, mobility_options

SUBTYPE_NAMES = {
    DEFAULT.context_reflection: "Context Reflection",
    DEFAULT.context_reflection_ack: "Context Reflection Acknowledgement",
    DEFAULT.fast_pbu: "Fast PBU",
    DEFAULT.fast_pba: "Fast PBA",
    DEFAULT.reverse_pbu: "Reverse PBU",
    DEFAULT.reverse_pba: "Reverse PBA",
    DEFAULT.context_continuation: "Context Continuation",
}
_FEATURES = {
    1: "nMAG address",
    2: "policy profile",
    3: "binding state",
    4: "AAA",
    5: "QoS",
    6: "ROHC",
    7: "accounting",
}
_CR_FLAGS = ["0x1", "0x2", "0x4", "0x8", "0x10", "0x20", "0x40", "A"]
inet6._mobopttypes[DEFAULT.context_data_option] = "Context Data"


class MIP6OptContextData(inet6._MIP6OptAlign):
    """A feature's context, or 253 octets of it; no alignment."""

    name = "Context Reflector Option - Context Data"
    fields_desc = [
        ByteEnumField("otype", DEFAULT.context_data_option, inet6._mobopttypes),
        FieldLenField("olen", None, length_of="data", fmt="B", adjust=lambda _packet, length: length + 2),
        ShortEnumField("ftp", 0, _FEATURES),
        StrLenField("data", b"", length_from=lambda packet: packet.olen - 2),
    ]
    x, y = 0, 0


def _reflected(
    subtype: int, second: Field[Any, Any], *last: Field[Any, Any]
) -> list[Field[Any, Any] | _FieldContainer]:
    """What the messages have in common: `second` follows the subtype, `last` are two octets before the options."""
    return [
        *mobility_header(DEFAULT.mh_type),
        ByteEnumField("subtype", subtype, SUBTYPE_NAMES),
        second,
        XShortField("seq", 0),
        ShortField("mhtime", 0),  # units of 100 ms
        *last,
        *mobility_options(14),
    ]


class MIP6MH_Experimental(inet6._MobilityHeader):
    """RFC 5096, and the octet that says which message of ours it is."""

    name = "IPv6 Mobility Header - Experimental"
    fields_desc = _reflected(0, ByteField("reserved", 0), ShortField("reserved2", 0))

    @classmethod
    def dispatch_hook(cls, _pkt: bytes = b"", *_args: Any, **_kargs: Any) -> type[Packet]:
        return BY_SUBTYPE.get(_pkt[6], inet6.MIP6MH_Generic) if len(_pkt) > 6 else cls


class MIP6MH_CR(MIP6MH_Experimental):
    """Context Reflection."""

    name = "IPv6 Mobility Header - Context Reflection"
    fields_desc = _reflected(
        DEFAULT.context_reflection, FlagsField("flags", 0, 8, _CR_FLAGS), ShortField("reserved", 0)
    )


class MIP6MH_CRAck(MIP6MH_Experimental):
    """Context Reflection Acknowledgement."""

    name = "IPv6 Mobility Header - Context Reflection Acknowledgement"
    fields_desc = _reflected(
        DEFAULT.context_reflection_ack, ByteEnumField("status", 0, inet6.bastatus), ShortField("reserved", 0)
    )

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_CR) and bool(other.flags.A) and self.seq == other.seq)


class MIP6MH_CC(MIP6MH_Experimental):
    """Context Continuation."""

    name = "IPv6 Mobility Header - Context Continuation"
    fields_desc = _reflected(
        DEFAULT.context_continuation, ByteField("reserved", 0), ByteField("part", 1), ByteField("parts", 2)
    )


BY_SUBTYPE: dict[int, type[Packet]] = {
    DEFAULT.context_reflection: MIP6MH_CR,
    DEFAULT.context_reflection_ack: MIP6MH_CRAck,
    DEFAULT.context_continuation: MIP6MH_CC,
}
inet6.moboptcls[DEFAULT.context_data_option] = MIP6OptContextData
inet6._mip6_mhtype2cls[DEFAULT.mh_type] = MIP6MH_Experimental
