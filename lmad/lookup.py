"""Which mobility session a Proxy Binding Update speaks of (RFC 5213 section 5.4.1)."""

from ipaddress import IPv6Address

from common.mh.messages import ALL_ZERO_PREFIX, HandoffIndicator, ProxyBindingUpdate, Status
from lmad.binding_cache import BindingCache, BindingCacheEntry


def find_session(pbu: ProxyBindingUpdate, coa: IPv6Address, cache: BindingCache) -> BindingCacheEntry | Status | None:
    """The session to update, the status of a refusal, or None: a new session."""
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
    if len(owners) > 1 or set(bce.hnps) != set(pbu.hnps):
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
    # Another interface asks for prefixes that one session has already; a prefix is in one session only (5.4).
    return Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX


def _by_link_layer_identifier(pbu: ProxyBindingUpdate, cache: BindingCache) -> BindingCacheEntry | None:
    """Section 5.4.1.2."""
    assert pbu.mn_id is not None
    sessions = cache.of(pbu.mn_id)
    for bce in sessions:
        if bce.mn_ll_id == pbu.mn_ll_id and bce.access_technology == pbu.access_technology:
            return bce
    if pbu.handoff_indicator == HandoffIndicator.BETWEEN_INTERFACES and len(sessions) == 1:
        return sessions[0]
    return None


def _by_mn_identifier(pbu: ProxyBindingUpdate, cache: BindingCache) -> BindingCacheEntry | None:
    """Section 5.4.1.3."""
    assert pbu.mn_id is not None
    sessions = cache.of(pbu.mn_id)
    moved = pbu.handoff_indicator in (HandoffIndicator.BETWEEN_INTERFACES, HandoffIndicator.BETWEEN_MAGS)
    # UNKNOWN with a de-registered session is what MaxDelayBeforeNewBCEAssign waits for: it has happened already.
    if len(sessions) == 1 and (moved or pbu.handoff_indicator == HandoffIndicator.UNKNOWN):
        return sessions[0]
    return None
