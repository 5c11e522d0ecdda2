"""PBU, PBA and Binding Error (RFC 5213 sections 8.1 and 8.2, RFC 6275 section 6.1.9) as rows.

The messages of the Fast Handover Scheme (docs/protocol.md) have the bodies of PBU and PBA.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import MIP6MH_BE

from common.errors import MalformedMessage
from common.mh import options
from common.mh.code_points import DEFAULT, CodePoints
from common.mh.fast_handover import MIP6MH_FastPBA, MIP6MH_FastPBU, MIP6MH_ReversePBA, MIP6MH_ReversePBU
from common.mh.formats.row import Format
from common.mh.layers import MIP6MH_PBA, MIP6MH_PBU
from common.mh.layout import Layout
from common.mh.messages import (
    AckFlag,
    BindingError,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    Message,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    Status,
    UpdateFlag,
)
from common.mh.options import Option, seconds, units

_Fields = tuple[Callable[[Any], tuple[int | bytes, ...]], Callable[..., dict[str, Any]]]
_OF_A_REGISTRATION = (
    options.HOME_NETWORK_PREFIX,
    options.HANDOFF_INDICATOR,
    options.ACCESS_TECHNOLOGY_TYPE,
    options.MN_LINK_LAYER_IDENTIFIER,
    options.LINK_LOCAL_ADDRESS,
    options.TIMESTAMP,
)


def _update_fields(points: CodePoints) -> _Fields:
    """RFC 5213 section 8.1: sequence number, flags, lifetime; to the wire and from it."""
    exchanged = _exchange(points.update_flag, DEFAULT.update_flag)

    @cache  # of at most 65,536; an IntFlag takes long to make
    def flags(bits: int) -> UpdateFlag:
        found = UpdateFlag(exchanged(bits))
        if UpdateFlag.PROXY not in found:
            raise MalformedMessage("not-a-proxy-binding-update")
        return found

    return (
        lambda pbu: (pbu.sequence, exchanged(pbu.flags), units(pbu.lifetime)),
        lambda sequence, bits, lifetime: {"sequence": sequence, "flags": flags(bits), "lifetime": seconds(lifetime)},
    )


def _ack_fields(points: CodePoints) -> _Fields:
    """RFC 5213 section 8.2: status, flags, sequence number, lifetime; to the wire and from it."""
    exchanged = _exchange(points.ack_flag, DEFAULT.ack_flag)

    @cache
    def flags(bits: int) -> AckFlag:
        found = AckFlag(exchanged(bits))
        if AckFlag.PROXY not in found:
            raise MalformedMessage("not-a-proxy-binding-ack")
        return found

    return (
        lambda pba: (pba.status, exchanged(pba.flags), pba.sequence, units(pba.lifetime)),
        lambda status, bits, sequence, lifetime: {
            "status": Status(status),
            "flags": flags(bits),
            "sequence": sequence,
            "lifetime": seconds(lifetime),
        },
    )


def registration(points: CodePoints, context_data: Option) -> dict[int, Format]:
    """RFC 5213 section 8.1, 8.2 and RFC 6275 section 6.1.9, with the context flag and Context Data."""
    return {
        5: Format(
            ProxyBindingUpdate,
            Layout(MIP6MH_PBU, "seq", "flags", "mhtime"),
            options.by_type((options.MN_ID, *_OF_A_REGISTRATION, options.ALTERNATE_CARE_OF_ADDRESS, context_data)),
            *_update_fields(points),
        ),
        6: Format(
            ProxyBindingAck,
            Layout(MIP6MH_PBA, "status", "flags", "seq", "mhtime"),
            options.by_type(
                (options.REPEATED_MN_ID, *_OF_A_REGISTRATION, options.BINDING_REFRESH_ADVICE, context_data)
            ),
            *_ack_fields(points),
        ),
        # RFC 6275 6.1.9 knows no option that is valid here, but they must be well-formed to be skipped.
        7: Format(
            BindingError,
            Layout(MIP6MH_BE, "status", "ha"),
            {},
            lambda error: (error.status, error.home_address.packed),
            lambda status, address: {"status": status, "home_address": IPv6Address(address)},
        ),
    }


def fast_handover(points: CodePoints) -> dict[int, Format]:
    """docs/protocol.md: who comes next, or came from where, is in the place of the Alternate Care-of Address."""
    update, ack = ("seq", "flags", "mhtime"), ("status", "flags", "seq", "mhtime")
    rows: tuple[tuple[int, type[Message], type, str | None], ...] = (
        (points.fast_pbu, FastProxyBindingUpdate, MIP6MH_FastPBU, "nmag"),
        (points.fast_pba, FastProxyBindingAck, MIP6MH_FastPBA, None),
        (points.reverse_pbu, ReverseProxyBindingUpdate, MIP6MH_ReversePBU, "pmag"),
        (points.reverse_pba, ReverseProxyBindingAck, MIP6MH_ReversePBA, None),
    )
    return {
        subtype: Format(
            message,
            Layout(layer, *(update if other_mag else ack), mhtype=points.mh_type, subtype=subtype),
            options.by_type(
                (options.MN_ID, *_OF_A_REGISTRATION, replace(options.ALTERNATE_CARE_OF_ADDRESS, attribute=other_mag))
                if other_mag
                else (options.REPEATED_MN_ID, *_OF_A_REGISTRATION)
            ),
            *(_update_fields(points) if other_mag else _ack_fields(points)),
        )
        for subtype, message, layer, other_mag in rows
    }


def _exchange(first: int, second: int) -> Callable[[int], int]:
    """Bits with these two exchanged, so that none is lost; the function is its own reverse."""
    if first == second:
        return int
    return lambda bits: bits ^ (first | second) if bool(bits & first) != bool(bits & second) else int(bits)
