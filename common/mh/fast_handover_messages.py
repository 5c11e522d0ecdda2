"""The messages of the Fast Handover Scheme (the paper's section 4.2, docs/protocol.md) as the cores see them.

MH type 11, subtypes 3 to 6; their bodies are those of a PBU and a PBA (RFC 5213 sections 8.1 and 8.2).
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

from common.mh.bodies import AckBody, UpdateBody


@dataclass(frozen=True, slots=True, kw_only=True)
class FastProxyBindingUpdate(UpdateBody):
    """Fast PBU, from pMAG to the LMA: the MN is about to be at `nmag`, or has left for it."""

    nmag: IPv6Address | None = None

    @property
    def name(self) -> str:
        return "Fast PBU"


@dataclass(frozen=True, slots=True, kw_only=True)
class FastProxyBindingAck(AckBody):
    """Fast PBA, the LMA's answer; one with a refusal may also follow one without, when the nMAG has refused."""

    @property
    def name(self) -> str:
        return "Fast PBA"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseProxyBindingUpdate(UpdateBody):
    """Reverse PBU, from the LMA to nMAG: the MN will come from `pmag`. `sequence` is that of the Fast PBU.

    `lifetime` is that of the binding; 0: the MN will not come any more.
    """

    pmag: IPv6Address | None = None

    @property
    def name(self) -> str:
        return "Reverse PBU"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReverseProxyBindingAck(AckBody):
    """Reverse PBA, the nMAG's answer."""

    @property
    def name(self) -> str:
        return "Reverse PBA"
