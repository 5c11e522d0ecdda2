"""Every message: the layout of its fixed part, what its fields mean, the options it may carry.

A message is a row here; `codec.py` needs to know nothing else of it. The format itself is in the scapy layers.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import cache
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import MIP6MH_BE

from common.errors import MalformedMessage
from common.mh import options
from common.mh.code_points import DEFAULT, CodePoints
from common.mh.context_reflection import MIP6MH_CC, MIP6MH_CR, MIP6MH_CRAck
from common.mh.fast_handover import MIP6MH_FastPBA, MIP6MH_FastPBU, MIP6MH_ReversePBA, MIP6MH_ReversePBU
from common.mh.handover_initiate import HACK_TYPE, HI_TYPE, MIP6MH_HI, MIP6MH_HAck
from common.mh.heartbeat import MIP6MH_HB, RESPONSE, UNSOLICITED
from common.mh.layers import MIP6MH_PBA, MIP6MH_PBU
from common.mh.layout import Layout
from common.mh.messages import (
    AckFlag,
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextReflection,
    ContextReflectionAck,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
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
from common.mh.options import Option, seconds, units
from common.mh.revocation import MIP6MH_BRA, MIP6MH_BRI

_ACKNOWLEDGE = 0x80  # of a Context Reflection
_TENTHS_MAX = 0xFFFF


@dataclass(frozen=True, slots=True)
class Format:
    """`to_fields` gives the varying fields of `layout`; of these `from_fields` makes attributes of the message.

    `from_fields` raises MalformedMessage for what is no such message.
    """

    message: type[Message]
    layout: Layout
    options: dict[int, Option]
    to_fields: Callable[[Any], tuple[int | bytes, ...]]
    from_fields: Callable[..., dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Formats:
    """All of them. `by_mh_type` has those that have an MH type to themselves.

    In `by_subtype` are, by MH type, the formats that the octet behind the header tells apart, and the name of the
    refusal when it is none of them.
    """

    by_message: dict[type[Message], Format] = field(default_factory=dict)
    by_mh_type: dict[int, Format] = field(default_factory=dict)
    by_subtype: dict[int, tuple[str, dict[int, Format]]] = field(default_factory=dict)


def formats(points: CodePoints) -> Formats:
    """The formats under these code points."""
    context_data = options.context_data(points.context_data_option)
    registration, revocation = _registration(points, context_data), _revocation()
    handover, heartbeat = _handover(context_data), _heartbeat()
    extension = _extension(points, context_data) | _fast_handover(points)
    tables = (registration, handover, revocation, heartbeat, extension)
    return Formats(
        {row.message: row for table in tables for row in table.values()},
        registration | handover | heartbeat,
        {
            16: ("unknown-revocation-type", revocation),
            points.mh_type: ("unknown-experimental-subtype", extension),
        },
    )


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


def _registration(points: CodePoints, context_data: Option) -> dict[int, Format]:
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


def _revocation() -> dict[int, Format]:
    """RFC 5846 section 5."""
    return {
        1: Format(
            BindingRevocationIndication,
            Layout(MIP6MH_BRI, "trigger", "seq", "flags"),
            options.by_type((options.MN_ID, options.HOME_NETWORK_PREFIX, options.ALTERNATE_CARE_OF_ADDRESS)),
            lambda bri: (bri.trigger, bri.sequence, bri.flags),
            lambda trigger, sequence, bits: {
                "trigger": RevocationTrigger(trigger),
                "sequence": sequence,
                "flags": RevocationFlag(bits),
            },
        ),
        2: Format(
            BindingRevocationAck,
            Layout(MIP6MH_BRA, "status", "seq", "flags"),
            options.by_type((options.REPEATED_MN_ID, options.HOME_NETWORK_PREFIX)),
            lambda bra: (bra.status, bra.sequence, bra.flags),
            lambda status, sequence, bits: {
                "status": RevocationStatus(status),
                "sequence": sequence,
                "flags": RevocationFlag(bits),
            },
        ),
    }


def _heartbeat() -> dict[int, Format]:
    """RFC 5847 section 3.3."""
    return {
        13: Format(
            Heartbeat,
            Layout(MIP6MH_HB, "flags", "seq"),
            options.by_type((options.RESTART_COUNTER,)),
            lambda beat: (beat.response * RESPONSE | beat.unsolicited * UNSOLICITED, beat.sequence),
            lambda bits, sequence: {
                "sequence": sequence,
                "response": bool(bits & RESPONSE),
                "unsolicited": bool(bits & UNSOLICITED),
            },
        )
    }


def _handover(context_data: Option) -> dict[int, Format]:
    """RFC 5949 section 6, with Context Data."""
    of_the_mn = (
        options.HOME_NETWORK_PREFIX,
        options.MN_LINK_LAYER_IDENTIFIER,
        options.LINK_LOCAL_ADDRESS,
        options.LMA_ADDRESS,
        options.INTERFACE_ID,
    )

    def initiate(sequence: int, bits: int, code: int) -> dict[str, Any]:
        flags = HandoverInitiateFlag(bits)
        if HandoverInitiateFlag.PROXY not in flags:
            raise MalformedMessage("not-a-proxy-handover-initiate")
        return {"sequence": sequence, "flags": flags, "code": HandoverInitiateCode(code)}

    def acknowledge(sequence: int, bits: int, code: int) -> dict[str, Any]:
        flags = HandoverAckFlag(bits)
        if HandoverAckFlag.PROXY not in flags:
            raise MalformedMessage("not-a-proxy-handover-ack")
        return {"sequence": sequence, "flags": flags, "code": HandoverAckCode(code)}

    return {
        HI_TYPE: Format(
            HandoverInitiate,
            Layout(MIP6MH_HI, "seq", "flags", "code"),
            options.by_type((options.MN_ID, *of_the_mn, options.CONTEXT_REQUEST, context_data)),
            lambda hi: (hi.sequence, hi.flags, hi.code),
            initiate,
        ),
        HACK_TYPE: Format(
            HandoverAck,
            Layout(MIP6MH_HAck, "seq", "flags", "code"),
            options.by_type((options.REPEATED_MN_ID, *of_the_mn, context_data)),
            lambda hack: (hack.sequence, hack.flags, hack.code),
            acknowledge,
        ),
    }


def _extension(points: CodePoints, context_data: Option) -> dict[int, Format]:
    """docs/protocol.md."""
    of_the_mn = (options.HOME_NETWORK_PREFIX, options.MN_LINK_LAYER_IDENTIFIER)

    def layout(layer: type, subtype: int, *varying: str) -> Layout:
        return Layout(layer, *varying, mhtype=points.mh_type, subtype=subtype)

    return {
        points.context_reflection: Format(
            ContextReflection,
            layout(MIP6MH_CR, points.context_reflection, "flags", "seq", "mhtime"),
            options.by_type((options.MN_ID, *of_the_mn, context_data)),
            lambda cr: (_ACKNOWLEDGE * cr.acknowledge, cr.sequence, _tenths(cr.lifetime)),
            lambda bits, sequence, lifetime: {
                "acknowledge": bool(bits & _ACKNOWLEDGE),
                "sequence": sequence,
                "lifetime": lifetime / 10,
            },
        ),
        points.context_reflection_ack: Format(
            ContextReflectionAck,
            layout(MIP6MH_CRAck, points.context_reflection_ack, "status", "seq", "mhtime"),
            options.by_type((options.REPEATED_MN_ID, *of_the_mn)),
            lambda ack: (ack.status, ack.sequence, _tenths(ack.lifetime)),
            lambda status, sequence, lifetime: {
                "status": Status(status),
                "sequence": sequence,
                "lifetime": lifetime / 10,
            },
        ),
        points.context_continuation: Format(
            ContextContinuation,
            layout(MIP6MH_CC, points.context_continuation, "seq", "mhtime", "part", "parts"),
            options.by_type((options.MN_ID, *of_the_mn, context_data)),
            lambda cc: (cc.sequence, _tenths(cc.lifetime), *_part(cc.part, cc.parts)),
            _continuation,
        ),
    }


def _fast_handover(points: CodePoints) -> dict[int, Format]:
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


def _continuation(sequence: int, lifetime: int, part: int, parts: int) -> dict[str, Any]:
    if not 1 <= part < parts:
        raise MalformedMessage("bad-part-number", f"{part} of {parts}")
    return {"sequence": sequence, "lifetime": lifetime / 10, "part": part, "parts": parts}


def _part(part: int, parts: int) -> tuple[int, int]:
    if not 1 <= part < parts:
        raise ValueError(f"part {part} of {parts}: part 0 is the PBU, PBA or CR")
    return part, parts


def _tenths(lifetime: float) -> int:
    """Seconds as the extension counts them, in units of 100 ms; ValueError if it cannot say that."""
    if not 0 <= lifetime <= _TENTHS_MAX / 10:
        raise ValueError(f"{lifetime} s is not from 0 to {_TENTHS_MAX / 10} s")
    count = round(lifetime * 10)
    if abs(lifetime * 10 - count) > 1e-6:
        raise ValueError(f"{lifetime} s is not a multiple of 0.1 s")
    return count


def _exchange(first: int, second: int) -> Callable[[int], int]:
    """Bits with these two exchanged, so that none is lost; the function is its own reverse."""
    if first == second:
        return int
    return lambda bits: bits ^ (first | second) if bool(bits & first) != bool(bits & second) else int(bits)
