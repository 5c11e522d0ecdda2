"""Every message: the layout of its fixed part, what its fields mean, the options it may carry.

A message is a row, in the file of its specification; `codec.py` needs to know nothing else of it. The format itself is
in the scapy layers.
"""

from dataclasses import dataclass, field

from common.mh import options
from common.mh.code_points import CodePoints
from common.mh.formats.extension import extension
from common.mh.formats.handover import handover
from common.mh.formats.heartbeat import heartbeat
from common.mh.formats.registration import fast_handover, registration
from common.mh.formats.revocation import revocation
from common.mh.formats.row import Format
from common.mh.messages import Message


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
    by_mh_type = registration(points, context_data) | handover(context_data) | heartbeat()
    revoking = revocation()
    experimental = extension(points, context_data) | fast_handover(points)
    return Formats(
        {row.message: row for table in (by_mh_type, revoking, experimental) for row in table.values()},
        by_mh_type,
        {
            16: ("unknown-revocation-type", revoking),
            points.mh_type: ("unknown-experimental-subtype", experimental),
        },
    )
