"""What a Proxy Binding Acknowledgement holds (RFC 5213 section 5.3.6)."""

from ipaddress import IPv6Address, IPv6Network

from common.dataplane.router import MAG_LINK_LOCAL
from common.mh.messages import (
    ALL_ZERO_ADDRESS,
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    HandoffIndicator,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
)
from lmad.binding_cache import BindingCacheEntry
from lmad.checks import Request

_OF_MY_CLOCK = frozenset({Status.TIMESTAMP_MISMATCH, Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED})


def accepted(request: Request, bce: BindingCacheEntry) -> ProxyBindingAck:
    """The session is as the request wants it."""
    return _answer(request, Status.ACCEPTED, bce.lifetime, bce.hnps, bce.link_local)


def refused(request: Request, status: Status, last_sequence: int | None = None) -> ProxyBindingAck:
    """A refusal for the order of sequence numbers tells the last (RFC 6275 section 9.5.1)."""
    hnps = request.pbu.hnps or (ALL_ZERO_PREFIX,)
    return _answer(request, status, 0, hnps, request.pbu.link_local, sequence=last_sequence)


def link_local(pbu: ProxyBindingUpdate, bce: BindingCacheEntry | None) -> IPv6Address | None:
    """What the MAG names is kept; ALL_ZERO asks for the session's, or for a new one.

    That is the address which RFC 6543 reserves: no MN has it, and a link of its own is all that it is to be unique on.
    """
    known = bce.link_local if bce else None
    if pbu.link_local is None:
        return known
    return pbu.link_local if pbu.link_local != ALL_ZERO_ADDRESS else known or MAG_LINK_LOCAL


def _answer(
    request: Request,
    status: Status,
    lifetime: int,
    hnps: tuple[IPv6Network, ...],
    link_local: IPv6Address | None,
    *,
    sequence: int | None = None,
) -> ProxyBindingAck:
    """What is echoed, and what only a request that had it gets back."""
    pbu = request.pbu
    timestamp = pbu.timestamp
    if timestamp is not None and status in _OF_MY_CLOCK:
        timestamp = Timestamp.from_utc(request.utc)
    handoff = HandoffIndicator.RESERVED if pbu.handoff_indicator is None else pbu.handoff_indicator
    technology = AccessTechnologyType.RESERVED if pbu.access_technology is None else pbu.access_technology
    return ProxyBindingAck(
        status=status,
        sequence=pbu.sequence if sequence is None else sequence,
        lifetime=lifetime,
        mn_id=pbu.mn_id or MnId(1, b""),
        hnps=hnps,
        handoff_indicator=handoff,
        access_technology=technology,
        mn_ll_id=pbu.mn_ll_id,
        link_local=None if pbu.link_local is None else link_local,
        timestamp=timestamp,
    )
