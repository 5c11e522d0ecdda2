"""The checks that every Proxy Binding Update passes before anything else, in the order that is a MUST.

RFC 5213 section 5.3.1, points 4 to 12; each check returns the status of the refusal, or None.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Self

from common.mh.messages import Message, MnId, ProxyBindingUpdate, Status, Timestamp
from lmad.binding_cache import BindingCache, BindingCacheEntry
from lmad.config import MobileNode
from lmad.lookup import Unsure, find_session

SEQUENCE_SPACE = 1 << 16


@dataclass(frozen=True, slots=True)
class Request:
    """A PBU with what it is judged by. `utc` is this LMA's clock, seconds since 1970.

    `asked`: the request of a scheme's own that is judged as this PBU.
    """

    source: IPv6Address
    pbu: ProxyBindingUpdate
    utc: float
    asked: Message | None = None

    @property
    def coa(self) -> IPv6Address:
        """An Alternate Care-of Address takes the source's place as Proxy-CoA; the answer goes to the source (5.3.6)."""
        return self.pbu.alternate_coa or self.source


@dataclass(frozen=True, slots=True)
class Refusal:
    """A status to answer with, and the reason by which it is logged and counted."""

    status: Status
    reason: str

    @classmethod
    def of(cls, status: Status) -> Self:
        """Where the status says all there is to say."""
        return cls(status, status.name.lower().replace("_", "-"))


@dataclass(frozen=True, slots=True)
class Domain:
    """Who may do what here; `mags_of` has the MNs that not all MAGs may register."""

    mags: frozenset[IPv6Address]
    mobile_nodes: Mapping[MnId, MobileNode]
    timestamp_validity_window: float
    timestamp_based_approach_in_use: bool = True
    mobile_node_generated_timestamp_in_use: bool = False
    mags_of: Mapping[MnId, frozenset[IPv6Address]] = field(default_factory=dict)


Check = Callable[[Request, Domain, BindingCache], Status | None]


def mn_identifier(request: Request, _domain: Domain, _cache: BindingCache) -> Status | None:
    return None if request.pbu.mn_id and request.pbu.mn_id.value else Status.MISSING_MN_IDENTIFIER_OPTION


def mag_authorized(request: Request, domain: Domain, _cache: BindingCache) -> Status | None:
    """Points 5 and 6; a Proxy-CoA that is not the source must be one that the MN may be reached at, too."""
    pbu = request.pbu
    permitted = domain.mags
    if domain.mags_of and pbu.mn_id:
        permitted = domain.mags_of.get(pbu.mn_id, permitted)
    there = request.source in permitted and (pbu.alternate_coa is None or pbu.alternate_coa in permitted)
    return None if there else Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG


def mobile_node_known(request: Request, domain: Domain, _cache: BindingCache) -> Status | None:
    return None if request.pbu.mn_id in domain.mobile_nodes else Status.NOT_LMA_FOR_THIS_MOBILE_NODE


def mobile_node_entitled(request: Request, domain: Domain, _cache: BindingCache) -> Status | None:
    mn_id = request.pbu.mn_id
    assert mn_id is not None
    return None if domain.mobile_nodes[mn_id].enabled else Status.PROXY_REG_NOT_ENABLED


def in_order(request: Request, domain: Domain, cache: BindingCache) -> Status | None:
    """Section 5.5: by timestamp if there is one and they are in use, else by sequence number (RFC 6275 9.5.1)."""
    pbu = request.pbu
    assert pbu.mn_id is not None
    if pbu.timestamp is not None and domain.timestamp_based_approach_in_use:
        accepted = (bce.timestamp for bce in cache.of(pbu.mn_id))
        if any(
            pbu.timestamp <= each for each in accepted if each and not is_of_another_clock(each, request.utc, domain)
        ):
            return Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED
        # A mobile node's clock is its own: only the order of its timestamps counts.
        own_clock = not domain.mobile_node_generated_timestamp_in_use
        if own_clock and abs(pbu.timestamp.utc - request.utc) > domain.timestamp_validity_window:
            return Status.TIMESTAMP_MISMATCH
        return None
    last = last_sequence(request, cache)
    return None if last is None or is_newer(pbu.sequence, last) else Status.SEQUENCE_OUT_OF_WINDOW


def is_of_another_clock(accepted: Timestamp, utc: float, domain: Domain) -> bool:
    """Whether this anchor's clock was set back since it accepted that: it says nothing of the order of what comes now.

    Else nobody would be served until the clock has come there once more.
    """
    own_clock = not domain.mobile_node_generated_timestamp_in_use
    return own_clock and accepted.utc > utc + domain.timestamp_validity_window


def home_network_prefix(request: Request, _domain: Domain, _cache: BindingCache) -> Status | None:
    return None if request.pbu.hnps else Status.MISSING_HOME_NETWORK_PREFIX_OPTION


def handoff_indicator(request: Request, _domain: Domain, _cache: BindingCache) -> Status | None:
    return Status.MISSING_HANDOFF_INDICATOR_OPTION if request.pbu.handoff_indicator is None else None


def access_technology(request: Request, _domain: Domain, _cache: BindingCache) -> Status | None:
    return Status.MISSING_ACCESS_TECH_TYPE_OPTION if request.pbu.access_technology is None else None


ADMINISTRATIVE: tuple[Check, ...] = (mag_authorized, mobile_node_known, mobile_node_entitled)
CHECKS: tuple[Check, ...] = (
    mn_identifier,
    *ADMINISTRATIVE,
    in_order,
    home_network_prefix,
    handoff_indicator,
    access_technology,
)


def last_sequence(request: Request, cache: BindingCache) -> int | None:
    """The number that the session's last accepted request had, whichever MAG sent it; None: there is no session."""
    found = find_session(request.pbu, request.coa, cache)
    session = found.session if isinstance(found, Unsure) else found
    return session.sequence if isinstance(session, BindingCacheEntry) else None


def is_newer(sequence: int, last: int) -> bool:
    """Modulo 2^16, `last` and the 32768 values before it are old (RFC 6275 section 9.5.1)."""
    return 0 < (sequence - last) % SEQUENCE_SPACE < SEQUENCE_SPACE // 2


def verdict(request: Request, domain: Domain, cache: BindingCache, checks: tuple[Check, ...] = CHECKS) -> Status | None:
    """The first refusal, or None."""
    for check in checks:
        if (status := check(request, domain, cache)) is not None:
            return status
    return None
