"""The binding update list (RFC 5213 section 6.1): one frozen entry per attached mobile node, its states and timers."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from math import inf

from common.mh.messages import MnId, ProxyBindingUpdate

INITIAL_BINDACK_TIMEOUT = 1.0  # RFC 6275 section 12, seconds
MAX_BINDACK_TIMEOUT = 32.0


class State(Enum):
    """Where an MN stands with its LMA."""

    REGISTERING = "registering"  # attached, its first PBA has not come
    REGISTERED = "registered"
    REFRESHING = "refreshing"  # registered, and the lifetime is being extended
    DEREGISTERING = "de-registering"  # gone, the LMA's answer has not come
    REFUSED = "refused"  # attached, but the LMA said no


TRANSITIONS: dict[State | None, frozenset[State | None]] = {
    None: frozenset({State.REGISTERING}),
    State.REGISTERING: frozenset({State.REGISTERING, State.REGISTERED, State.DEREGISTERING, State.REFUSED}),
    State.REGISTERED: frozenset({State.REGISTERED, State.REFRESHING, State.DEREGISTERING, State.REFUSED}),
    State.REFRESHING: frozenset(set(State)),
    State.DEREGISTERING: frozenset({State.REGISTERING, None}),
    State.REFUSED: frozenset({State.REGISTERING, None}),
}
SERVED = frozenset({State.REGISTERED, State.REFRESHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """A PBU without an answer; `timeout` in seconds doubles with each retransmission (RFC 6275 section 11.8)."""

    pbu: ProxyBindingUpdate
    sent: float
    timeout: float = INITIAL_BINDACK_TIMEOUT

    @property
    def resend_at(self) -> float:
        return self.sent + self.timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingUpdateListEntry:
    """One MN. Moments are the core's `now`, `lifetime` is the granted one in seconds."""

    mn_id: MnId
    mn_ll_id: bytes | None
    interface: str
    lma: IPv6Address
    state: State = State.REGISTERING
    hnps: tuple[IPv6Network, ...] = ()
    outstanding: Outstanding | None = None
    lifetime: int = 0
    expires: float = inf
    refresh_at: float = inf
    advertise_at: float = inf

    @property
    def deadline(self) -> float:
        """When this entry needs attention next."""
        resend_at = self.outstanding.resend_at if self.outstanding else inf
        return min(resend_at, self.expires, self.refresh_at, self.advertise_at)
