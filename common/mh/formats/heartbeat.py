"""The heartbeat as a row."""

from common.mh import options
from common.mh.formats.row import Format
from common.mh.heartbeat import MIP6MH_HB, RESPONSE, UNSOLICITED
from common.mh.layout import Layout
from common.mh.messages import Heartbeat


def heartbeat() -> dict[int, Format]:
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
