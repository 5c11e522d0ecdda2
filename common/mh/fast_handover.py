"""The octets of the Fast Handover Scheme as scapy layers, with the default code points; docs/protocol.md draws them.

The bodies of a PBU and a PBA (RFC 5213 sections 8.1 and 8.2) behind the subtype of an MH of the experimental type.
"""
# `fields_desc = [...]` is how scapy is written

from typing import Any

from scapy.fields import ByteEnumField, ByteField, Field, FlagsField, XShortField, _FieldContainer
from scapy.layers import inet6
from scapy.layers.inet6 import LifetimeField
from scapy.packet import Packet

from common.mh.code_points import DEFAULT
from common.mh.context_reflection import BY_SUBTYPE, SUBTYPE_NAMES, MIP6MH_Experimental
from common.mh.layers import ACK_FLAGS, UPDATE_FLAGS, mobility_header, mobility_options


def _behind_subtype(subtype: int, *body: Field[Any, Any]) -> list[Field[Any, Any] | _FieldContainer]:
    return [
        *mobility_header(DEFAULT.mh_type),
        ByteEnumField("subtype", subtype, SUBTYPE_NAMES),
        ByteField("reserved", 0),
        *body,
        *mobility_options(14),
    ]


def _update(subtype: int) -> list[Field[Any, Any] | _FieldContainer]:
    return _behind_subtype(
        subtype,
        XShortField("seq", 0),
        FlagsField("flags", 0x8200, 16, UPDATE_FLAGS),
        LifetimeField("mhtime", 0),  # units of 4 s
    )


def _ack(subtype: int) -> list[Field[Any, Any] | _FieldContainer]:
    return _behind_subtype(
        subtype,
        ByteEnumField("status", 0, inet6.bastatus),
        FlagsField("flags", 0x20, 8, ACK_FLAGS),
        XShortField("seq", 0),
        LifetimeField("mhtime", 0),  # units of 4 s
    )


class MIP6MH_FastPBU(MIP6MH_Experimental):
    """Fast Proxy Binding Update."""

    name = "IPv6 Mobility Header - Fast Proxy Binding Update"
    fields_desc = _update(DEFAULT.fast_pbu)


class MIP6MH_FastPBA(MIP6MH_Experimental):
    """Fast Proxy Binding Acknowledgement."""

    name = "IPv6 Mobility Header - Fast Proxy Binding Acknowledgement"
    fields_desc = _ack(DEFAULT.fast_pba)

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_FastPBU) and self.seq == other.seq)


class MIP6MH_ReversePBU(MIP6MH_Experimental):
    """Reverse Proxy Binding Update."""

    name = "IPv6 Mobility Header - Reverse Proxy Binding Update"
    fields_desc = _update(DEFAULT.reverse_pbu)


class MIP6MH_ReversePBA(MIP6MH_Experimental):
    """Reverse Proxy Binding Acknowledgement."""

    name = "IPv6 Mobility Header - Reverse Proxy Binding Acknowledgement"
    fields_desc = _ack(DEFAULT.reverse_pba)

    def answers(self, other: Packet) -> int:
        return int(isinstance(other, MIP6MH_ReversePBU) and self.seq == other.seq)


BY_SUBTYPE.update(
    {
        DEFAULT.fast_pbu: MIP6MH_FastPBU,
        DEFAULT.fast_pba: MIP6MH_FastPBA,
        DEFAULT.reverse_pbu: MIP6MH_ReversePBU,
        DEFAULT.reverse_pba: MIP6MH_ReversePBA,
    }
)
