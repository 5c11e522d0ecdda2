"""What each Proxy Binding Acknowledgement leads to (RFC 5213 section 6.9.1.2)."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Network

from common.actions import Note
from common.mh.messages import ALL_ZERO_PREFIX, HandoffIndicator, ProxyBindingAck, Status
from magd.binding_update_list import (
    MAX_BINDACK_TIMEOUT,
    Announcement,
    BindingUpdateListEntry,
    Request,
    State,
    Step,
    unserved,
)
from magd.handover.pmipv6 import Pmipv6

MAX_UPDATE_INTERVAL = 1 / 3  # RFC 6275 section 12: MAX_UPDATE_RATE, seconds between updates for one MN
REFRESH_MARGIN = 40  # RFC 8127 section 4.1: ten units of 4 s before the lifetime ends
MAX_ADVERTISE_INTERVAL = 600  # RFC 4861 section 6.2.1: MaxRtrAdvInterval, seconds


def answers(entry: BindingUpdateListEntry, pba: ProxyBindingAck) -> bool:
    """Whether this is the answer to what is outstanding; any other is ignored."""
    return entry.outstanding is not None and entry.outstanding.pbu.sequence == pba.sequence


def consequences(entry: BindingUpdateListEntry, pba: ProxyBindingAck, scheme: Pmipv6, now: float) -> Iterator[Step]:
    """What follows from an answer to the entry's outstanding PBU."""
    assert entry.outstanding is not None
    pbu = entry.outstanding.pbu
    hnps = tuple(prefix for prefix in pba.hnps if prefix != ALL_ZERO_PREFIX)
    if entry.state is State.DEREGISTERING:
        yield from scheme.deregistered(entry, pba, now)
        return
    if (pba.handoff_indicator, pba.access_technology, pba.mn_ll_id) != (
        pbu.handoff_indicator,
        pbu.access_technology,
        pbu.mn_ll_id,
    ):
        yield Note("pba-options-differ", pba.mn_id, entry.lma)
        yield from _refused(entry, scheme)
    elif pba.status < Status.REASON_UNSPECIFIED and hnps:
        yield from _registered(entry, hnps, pba, scheme, now)
    else:
        yield Note(f"pbu-refused-{int(pba.status)}", entry.mn_id, entry.lma)
        yield from _rejected(entry, pba.status, scheme)


def _rejected(entry: BindingUpdateListEntry, status: Status, scheme: Pmipv6) -> Iterator[Step]:
    assert entry.outstanding is not None
    match status:
        case Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED:
            # Somebody's newer word arrived first; ours is said again, as often as the rate limit allows.
            again = replace(entry.outstanding, timeout=MAX_UPDATE_INTERVAL)
            yield replace(entry, outstanding=again)
        case Status.TIMESTAMP_MISMATCH:
            # A clock that differs must be set by somebody, and the LMA's is not the one to follow; a PBU that was only
            # late on its way must not end the service for good. Both are served by a late retry with a new timestamp.
            later = replace(entry.outstanding, timeout=MAX_BINDACK_TIMEOUT)
            yield unserved(entry, State.REGISTERING, later)
        case Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX if entry.hnps:
            without = replace(unserved(entry, State.REGISTERING), hnps=(), restored=False)
            yield Request(without, HandoffIndicator.UNKNOWN)
        case _:
            yield from _refused(entry, scheme)


def _registered(
    entry: BindingUpdateListEntry, hnps: tuple[IPv6Network, ...], pba: ProxyBindingAck, scheme: Pmipv6, now: float
) -> Iterator[Step]:
    refresh_in = max(pba.lifetime - REFRESH_MARGIN, pba.lifetime / 2)
    if pba.refresh_advice and pba.refresh_advice < pba.lifetime:
        refresh_in = pba.refresh_advice
    served = replace(
        entry,
        state=State.REGISTERED,
        hnps=hnps,
        outstanding=None,
        lifetime=pba.lifetime,
        expires=now + pba.lifetime,
        refresh_at=now + refresh_in,
        advertise_at=now + advertise_in(pba.lifetime),
    )
    served = scheme.registered(served, pba)
    yield served
    yield Announcement(served)


def advertise_in(lifetime: int) -> float:
    """Seconds until the next Router Advertisement for an MN whose prefixes are good for `lifetime` seconds."""
    return min(MAX_ADVERTISE_INTERVAL, lifetime / 3)


def _refused(entry: BindingUpdateListEntry, scheme: Pmipv6) -> Iterator[Step]:
    yield replace(unserved(entry, State.REFUSED), restored=False)
    yield from scheme.refused(entry.interface)
