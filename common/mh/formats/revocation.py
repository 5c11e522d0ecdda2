"""BRI and BRA as rows."""

from common.mh import options
from common.mh.formats.row import Format
from common.mh.layout import Layout
from common.mh.messages import (
    BindingRevocationAck,
    BindingRevocationIndication,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
)
from common.mh.revocation import MIP6MH_BRA, MIP6MH_BRI


def revocation() -> dict[int, Format]:
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
