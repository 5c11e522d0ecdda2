"""The messages of Context Reflector as rows."""

from typing import Any

from common.errors import MalformedMessage
from common.mh import options
from common.mh.code_points import CodePoints
from common.mh.context_reflection import MIP6MH_CC, MIP6MH_CR, MIP6MH_CRAck
from common.mh.formats.row import Format
from common.mh.layout import Layout
from common.mh.messages import ContextContinuation, ContextReflection, ContextReflectionAck, Status
from common.mh.options import Option

_ACKNOWLEDGE = 0x80  # of a Context Reflection
_TENTHS_MAX = 0xFFFF


def extension(points: CodePoints, context_data: Option) -> dict[int, Format]:
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
