"""HI and HAck as rows."""

from typing import Any

from common.errors import MalformedMessage
from common.mh import options
from common.mh.formats.row import Format
from common.mh.handover_initiate import HACK_TYPE, HI_TYPE, MIP6MH_HI, MIP6MH_HAck
from common.mh.layout import Layout
from common.mh.messages import (
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
)
from common.mh.options import Option


def handover(context_data: Option) -> dict[int, Format]:
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
