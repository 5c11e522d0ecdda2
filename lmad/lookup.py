"""Which mobility session a Proxy Binding Update speaks of (RFC 5213 section 5.4.1).

A Handoff Indicator that asks for nothing special (1, 5, 6 without a session that fits, and those nobody knows) leads to
a new session with prefixes of its own, as "all other cases" do.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address

from common.mh.messages import ALL_ZERO_PREFIX, HandoffIndicator, ProxyBindingUpdate, Status
from lmad.binding_cache import BindingCache, BindingCacheEntry, State


@dataclass(frozen=True, slots=True)
class Unsure:
    """It may be the MN's only session, which has moved, or a new one beside it: its old MAG will tell."""

    session: BindingCacheEntry


Found = BindingCacheEntry | Unsure | Status | None


def find_session(pbu: ProxyBindingUpdate, coa: IPv6Address, cache: BindingCache) -> Found:
    """The session to update, the status of a refusal, or None: a new session, and nothing to de-register."""
    if any(prefix != ALL_ZERO_PREFIX for prefix in pbu.hnps):
        return _by_prefix(pbu, coa, cache)
    if pbu.mn_ll_id is not None:
        return _by_link_layer_identifier(pbu, cache)
    return _by_mn_identifier(pbu, cache)


def _by_prefix(pbu: ProxyBindingUpdate, coa: IPv6Address, cache: BindingCache) -> BindingCacheEntry | Status | None:
    """Section 5.4.1.1."""
    owners = {owner.key: owner for prefix in pbu.hnps if (owner := cache.owner(prefix))}
    if not owners:
        return None
    if any(owner.mn_id != pbu.mn_id for owner in owners.values()):
        return Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
    bce = next(iter(owners.values()))
    if len(owners) > 1 or len(bce.hnps) != len(pbu.hnps) or set(bce.hnps) != set(pbu.hnps):
        return Status.BCE_PBU_PREFIX_SET_DO_NOT_MATCH
    same_technology = bce.access_technology == pbu.access_technology
    same_identifier = bce.mn_ll_id == pbu.mn_ll_id
    if (
        (same_identifier and pbu.mn_ll_id is not None and same_technology)
        or pbu.handoff_indicator == HandoffIndicator.BETWEEN_INTERFACES
        or (
            same_identifier
            and pbu.mn_ll_id is None
            and same_technology
            and pbu.handoff_indicator == HandoffIndicator.BETWEEN_MAGS
        )
        or (bce.proxy_coa == coa and same_technology)
    ):
        return bce
    return None  # another interface, and it will not get what one session has already (section 5.4)


def _by_link_layer_identifier(pbu: ProxyBindingUpdate, cache: BindingCache) -> Found:
    """Section 5.4.1.2."""
    assert pbu.mn_id is not None
    sessions = cache.of(pbu.mn_id)
    for bce in sessions:
        if bce.mn_ll_id == pbu.mn_ll_id and bce.access_technology == pbu.access_technology:
            return bce
    if len(sessions) != 1:
        return None
    if pbu.handoff_indicator == HandoffIndicator.BETWEEN_INTERFACES:
        return sessions[0]
    return _unknown(pbu, sessions[0])


def _by_mn_identifier(pbu: ProxyBindingUpdate, cache: BindingCache) -> Found:
    """Section 5.4.1.3."""
    assert pbu.mn_id is not None
    sessions = cache.of(pbu.mn_id)
    if len(sessions) != 1:
        return None
    if pbu.handoff_indicator in (HandoffIndicator.BETWEEN_INTERFACES, HandoffIndicator.BETWEEN_MAGS):
        return sessions[0]
    if not pbu.lifetime:  # what has only one session can only mean that one
        return sessions[0]
    return _unknown(pbu, sessions[0])


def _unknown(pbu: ProxyBindingUpdate, only: BindingCacheEntry) -> Found:
    """Sections 5.4.1.2 point 4 and 5.4.1.3 point 3: the session is updated once its old MAG has de-registered it."""
    if pbu.handoff_indicator != HandoffIndicator.UNKNOWN or not pbu.lifetime:
        return None
    return Unsure(only) if only.state is State.REGISTERED else only
