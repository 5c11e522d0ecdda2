"""What two MAGs have under way with each other about one MN under RFC 5949, and what HI and HAck say of it."""

from dataclasses import dataclass
from ipaddress import IPv6Address
from math import inf

from common.mh.messages import (
    ContextData,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
)
from common.records import Moment
from magd.binding_update_list import BindingUpdateListEntry

REFUSED = 128  # RFC 5949 section 6.1.2: codes from here on
FORWARDING = HandoverInitiateFlag.PROXY | HandoverInitiateFlag.FORWARDING
CONTEXT_ONLY = HandoverInitiateFlag.PROXY
COMPLETED = HandoverInitiateCode.FORWARDING_COMPLETED
Parts = tuple[tuple[ContextData, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Exchange:
    """An HI without its HAck; `timeout` in seconds doubles with each retransmission (RFC 5568 section 6.2.1.1)."""

    peer: IPv6Address
    hi: HandoverInitiate
    sent: Moment
    timeout: float
    retries: int = 0

    @property
    def resend_at(self) -> float:
        return self.sent + self.timeout

    def is_answered_by(self, source: IPv6Address, hack: HandoverAck) -> bool:
        return (self.peer, self.hi.sequence) == (source, hack.sequence)


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """`peer`: the other MAG, None while nobody has asked for an MN that left. `leaving`: we are pMAG.

    `tunnel`: both agreed to forward. `ends` is when that is over. `parts` of the context are still to be sent (pMAG) or
    the next one to be asked for is `part` (nMAG); `last` is the sequence number of the last HI that brought some.
    """

    peer: IPv6Address | None
    leaving: bool
    tunnel: bool = False
    ends: Moment = inf
    exchange: Exchange | None = None
    parts: Parts = ()
    part: int = 0
    last: int = 0
    registered: bool = True

    @property
    def deadline(self) -> float:
        return min(self.ends, self.exchange.resend_at if self.exchange else inf)

    def as_row(self) -> dict[str, object]:
        return {
            "role": "pMAG" if self.leaving else "nMAG",
            "peer": str(self.peer) if self.peer else None,
            "forwarding": self.tunnel,
            "unanswered": self.exchange.hi.name if self.exchange else None,
        }


def handover_of(entry: BindingUpdateListEntry | None) -> Handover | None:
    return entry.handover if entry and isinstance(entry.handover, Handover) else None


def answer_to(hi: HandoverInitiate, code: HandoverAckCode) -> HandoverAck:
    flags = HandoverAckFlag.PROXY
    if code < REFUSED:
        flags |= HandoverAckFlag.FORWARDING if hi.flags & HandoverInitiateFlag.FORWARDING else 0
        flags |= HandoverAckFlag.BUFFER if hi.flags & HandoverInitiateFlag.BUFFER else 0
    return HandoverAck(sequence=hi.sequence, code=code, flags=flags, mn_id=hi.mn_id, mn_ll_id=hi.mn_ll_id)


def refuses(hack: HandoverAck) -> bool:
    """One that has the prefixes has what it takes to serve the MN all the same."""
    return hack.code >= REFUSED and not hack.hnps
