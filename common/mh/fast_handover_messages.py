"""The messages of the Fast Handover Scheme (the paper's section 4.2, docs/protocol.md) as the cores see them.

MH type 11, subtypes 3 to 6; their bodies are those of a PBU and a PBA (RFC 5213 sections 8.1 and 8.2).
"""

from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network

from common.mh.values import AccessTechnologyType, AckFlag, HandoffIndicator, MnId, Status, Timestamp, UpdateFlag


@dataclass(frozen=True, slots=True, kw_only=True)
class _Update:
    """The body of a PBU. `lifetime` in seconds, a multiple of 4."""

    sequence: int
    lifetime: int
    flags: UpdateFlag = UpdateFlag.ACKNOWLEDGE | UpdateFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    handoff_indicator: HandoffIndicator | None = None
    access_technology: AccessTechnologyType | None = None
    mn_ll_id: bytes | None = None
    link_local: IPv6Address | None = None
    timestamp: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Ack:
    """The body of a PBA. `lifetime` in seconds, a multiple of 4."""

    status: Status
    sequence: int
    lifetime: int
    flags: AckFlag = AckFlag.PROXY
    mn_id: MnId | None = None
    hnps: tuple[IPv6Network, ...] = ()
    handoff_indicator: HandoffIndicator | None = None
    access_technology: AccessTechnologyType | None = None
    mn_ll_id: bytes | None = None
    link_local: IPv6Address | None = None
    timestamp: Timestamp | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class FastProxyBindingUpdate(_Update):
    """Fast PBU, from pMAG to the LMA: the MN is about to be at `nmag`, or has left for it."""

    nmag: IPv6Address | None = None

    @property
    def name(self) -> str:
        return "Fast PBU"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastProxyBindingAck(_Ack):
    """Fast PBA, the LMA's answer; one with a refusal may also follow one without, when the nMAG has refused."""

    @property
    def name(self) -> str:
        return "Fast PBA"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseProxyBindingUpdate(_Update):
    """Reverse PBU, from the LMA to nMAG: the MN will come from `pmag`. `sequence` is that of the Fast PBU.

    `lifetime` is that of the binding; 0: the MN will not come any more.
    """

    pmag: IPv6Address | None = None

    @property
    def name(self) -> str:
        return "Reverse PBU"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseProxyBindingAck(_Ack):
    """Reverse PBA, the nMAG's answer."""

    @property
    def name(self) -> str:
        return "Reverse PBA"
