"""What each Proxy Binding Acknowledgement leads to (RFC 5213 section 6.9.1.2)."""

from collections.abc import Collection, Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from itertools import count
from math import inf

from common.actions import Note
from common.dataplane.router import MAG_LINK_LOCAL
from common.mh.messages import (
    ALL_ZERO_ADDRESS,
    ALL_ZERO_PREFIX,
    FastProxyBindingUpdate,
    HandoffIndicator,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
)
from magd.binding_update_list import LAST_TIMEOUT, MAX_BINDACK_TIMEOUT, BindingUpdateListEntry, State, unserved
from magd.handover.pmipv6 import Pmipv6
from magd.numbering import SEQUENCE_SPACE
from magd.profiles import Profile
from magd.steps import Announcement, Farewell, Request, Step

MAX_UPDATE_INTERVAL = 1 / 3  # RFC 6275 section 12: MAX_UPDATE_RATE, seconds between updates for one MN
REFRESH_MARGIN = 40  # RFC 8127 section 4.1: ten units of 4 s before the lifetime ends
MAX_ADVERTISE_INTERVAL = 600  # RFC 4861 section 6.2.1: MaxRtrAdvInterval, seconds


def answers(entry: BindingUpdateListEntry, pba: ProxyBindingAck) -> bool:
    """Whether this is the answer to what is outstanding; any other is ignored.

    An LMA that does not like a sequence number says in its place which one it has (RFC 6275 section 9.5.1).
    """
    if entry.outstanding is None:
        return False
    pbu = entry.outstanding.pbu
    if pba.status == Status.SEQUENCE_OUT_OF_WINDOW:
        return pbu.timestamp is None
    return pbu.sequence == pba.sequence


def consequences(
    entry: BindingUpdateListEntry,
    pba: ProxyBindingAck,
    scheme: Pmipv6,
    profile: Profile | None,
    now: float,
    *,
    taken: Collection[IPv6Address] = (),
) -> Iterator[Step]:
    """What follows from an answer to the entry's outstanding PBU; `taken` are addresses that the MN has."""
    assert entry.outstanding is not None
    hnps = tuple(prefix for prefix in pba.hnps if prefix != ALL_ZERO_PREFIX)
    if not _echoes(entry.outstanding.pbu, pba):
        # Ignored, and not asked again: a de-registration ends by itself, a binding that there is lasts its time.
        yield Note("pba-options-differ", pba.mn_id, entry.lma)
        if entry.state is State.REGISTERING:
            yield from _refused(entry, scheme)
        elif entry.state is State.REFRESHING:
            yield replace(entry, state=State.REGISTERED, outstanding=None, halted=True)
    elif entry.state is State.DEREGISTERING:
        timeout = entry.outstanding.timeout
        if entry.outstanding.was_late(pba, now) and timeout < LAST_TIMEOUT:
            yield Request(entry, HandoffIndicator.UNKNOWN, lifetime=0, timeout=2 * timeout)
        else:
            yield from scheme.deregistered(entry, pba, now)
    elif pba.status >= Status.REASON_UNSPECIFIED:
        yield Note(f"pbu-refused-{int(pba.status)}", entry.mn_id, entry.lma)
        yield from _rejected(entry, pba, scheme, now)
    elif not hnps or not pba.lifetime:
        yield Note("pba-without-binding", entry.mn_id, entry.lma)
        yield from _refused(entry, scheme)
    elif profile and not profile.allows(hnps):
        yield Note("prefix-not-allowed", entry.mn_id, entry.lma, ", ".join(map(str, hnps)))
        yield from _refused(entry, scheme)
        yield Farewell(entry, hnps)
    else:
        yield from _registered(entry, hnps, pba, scheme, now, taken=taken)


def _echoes(pbu: ProxyBindingUpdate | FastProxyBindingUpdate, pba: ProxyBindingAck) -> bool:
    """Section 6.9.1.2, 6."""
    return (pba.handoff_indicator, pba.access_technology, pba.mn_ll_id) == (
        pbu.handoff_indicator,
        pbu.access_technology,
        pbu.mn_ll_id,
    )


def _rejected(entry: BindingUpdateListEntry, pba: ProxyBindingAck, scheme: Pmipv6, now: float) -> Iterator[Step]:
    assert entry.outstanding is not None
    match pba.status:
        case Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED:
            # Somebody's newer word arrived first; ours is said again, as often as the rate limit allows.
            again = replace(entry.outstanding, timeout=MAX_UPDATE_INTERVAL)
            yield replace(entry, outstanding=again)
        case Status.SEQUENCE_OUT_OF_WINDOW:
            # RFC 6275 section 11.7.3: go on behind the number that the LMA has.
            again = replace(entry.outstanding, timeout=MAX_UPDATE_INTERVAL)
            yield replace(entry, outstanding=again, sequence=pba.sequence % SEQUENCE_SPACE)
        case Status.TIMESTAMP_MISMATCH if entry.outstanding.was_late(pba, now):
            pass  # as if it had been lost: it is sent again when that is due, with a new timestamp
        case Status.TIMESTAMP_MISMATCH:
            # A clock that differs must be set by somebody, and the LMA's is not the one to follow. By a late retry with
            # a new timestamp it is seen when that has been done.
            later = replace(entry.outstanding, timeout=MAX_BINDACK_TIMEOUT)
            yield unserved(entry, State.REGISTERING, later)
        case Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX | Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH if (
            entry.outstanding.pbu.hnps != (ALL_ZERO_PREFIX,)
        ):
            without = replace(unserved(entry, State.REGISTERING), hnps=(), restored=False, prefixes_refused=True)
            yield Request(without, HandoffIndicator.UNKNOWN)
        case _:
            yield from _refused(entry, scheme)


def _registered(
    entry: BindingUpdateListEntry,
    hnps: tuple[IPv6Network, ...],
    pba: ProxyBindingAck,
    scheme: Pmipv6,
    now: float,
    *,
    taken: Collection[IPv6Address],
) -> Iterator[Step]:
    link_local, known = _router(entry, pba, taken)
    refresh_in = max(pba.lifetime - REFRESH_MARGIN, pba.lifetime / 2)
    if pba.refresh_advice and pba.refresh_advice < pba.lifetime:
        refresh_in = pba.refresh_advice
    served = replace(
        entry,
        state=State.REGISTERED,
        hnps=hnps,
        link_local=link_local,
        outstanding=None,
        lifetime=pba.lifetime,
        expires=now + pba.lifetime,
        refresh_at=now + refresh_in,
        advertise_at=now + advertise_in(pba.lifetime),
    )
    served = scheme.registered(served, pba)
    yield served
    yield Announcement(served)
    if not known:
        yield Note("link-local-address-made-up", entry.mn_id, entry.lma, str(link_local))
        yield Request(replace(served, state=State.REFRESHING, refresh_at=inf), HandoffIndicator.NOT_CHANGED)


def _router(
    entry: BindingUpdateListEntry, pba: ProxyBindingAck, taken: Collection[IPv6Address]
) -> tuple[IPv6Address | None, bool]:
    """Section 6.9.1.2, 15: the router's address on the MN's link, and whether the LMA knows of it.

    That is what the LMA was told, or has made up. But the MN goes before: what it has itself cannot be its router's.
    """
    assert entry.outstanding is not None
    asked = entry.outstanding.pbu.link_local
    if asked is None:  # it is fixed
        return entry.link_local, True
    known = asked if asked != ALL_ZERO_ADDRESS else pba.link_local or ALL_ZERO_ADDRESS
    if known != ALL_ZERO_ADDRESS and known not in taken:
        return known, True
    return next(each for each in (MAG_LINK_LOCAL + number for number in count()) if each not in taken), False


def advertise_in(lifetime: int) -> float:
    """Seconds until the next Router Advertisement for an MN whose prefixes are good for `lifetime` seconds."""
    return min(MAX_ADVERTISE_INTERVAL, lifetime / 3)


def _refused(entry: BindingUpdateListEntry, scheme: Pmipv6) -> Iterator[Step]:
    yield replace(unserved(entry, State.REFUSED), restored=False)
    yield from scheme.refused(entry.interface)
