"""The binding update list (RFC 5213 section 6.1): one frozen entry per attached mobile node, its states and timers."""

from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from math import inf

from common.actions import Action
from common.mh.messages import (
    ContextData,
    FastProxyBindingUpdate,
    HandoffIndicator,
    MnId,
    ProxyBindingUpdate,
    Timestamp,
)

INITIAL_BINDACK_TIMEOUT = 1.0  # RFC 6275 section 12, seconds
MAX_BINDACK_TIMEOUT = 32.0


class State(Enum):
    """Where an MN stands with its LMA."""

    REGISTERING = "registering"  # attached, its first PBA has not come
    REGISTERED = "registered"
    REFRESHING = "refreshing"  # registered, and the lifetime is being extended
    DEREGISTERING = "de-registering"  # gone, the LMA's answer has not come
    REFUSED = "refused"  # attached, but the LMA said no
    LEFT = "left"  # de-registered, its context is kept until it is revoked or has run out
    AWAITED = "awaited"  # not here yet, its context is


TRANSITIONS: dict[State | None, frozenset[State | None]] = {
    None: frozenset({State.REGISTERING, State.AWAITED}),
    State.REGISTERING: frozenset({State.REGISTERING, State.REGISTERED, State.DEREGISTERING, State.REFUSED}),
    State.REGISTERED: frozenset({State.REGISTERED, State.REFRESHING, State.DEREGISTERING, State.REFUSED}),
    State.REFRESHING: frozenset(
        {State.REFRESHING, State.REGISTERED, State.REGISTERING, State.DEREGISTERING, State.REFUSED}
    ),
    State.DEREGISTERING: frozenset({State.DEREGISTERING, State.REGISTERING, State.LEFT, State.AWAITED, None}),
    State.REFUSED: frozenset({State.REGISTERING, None}),
    State.LEFT: frozenset({State.LEFT, State.REGISTERING, State.DEREGISTERING, State.AWAITED, None}),
    State.AWAITED: frozenset({State.AWAITED, State.REGISTERING, State.LEFT, None}),
}
SERVED = frozenset({State.REGISTERED, State.REFRESHING})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """A PBU, or what a scheme sends in its place, without an answer.

    `timeout` in seconds doubles with each retransmission (RFC 6275 section 11.8).
    """

    pbu: ProxyBindingUpdate | FastProxyBindingUpdate
    sent: float
    timeout: float = INITIAL_BINDACK_TIMEOUT

    @property
    def resend_at(self) -> float:
        return self.sent + self.timeout


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingUpdateListEntry:
    """One MN. Moments are the core's `now`, `lifetime` is the granted one in seconds.

    `interface` is empty while nobody knows where an awaited MN will come; `present` is whether it is on the link.
    `restored`: a context says what it takes to serve the MN before the LMA has answered. `parts` are the pieces of that
    context, by their number; `opaque` what is carried on for others. `timestamp` is of the last request.
    """

    mn_id: MnId
    mn_ll_id: bytes | None
    interface: str
    lma: IPv6Address
    present: bool = True
    restored: bool = False
    context_sequence: int | None = None
    parts: tuple[tuple[int, tuple[ContextData, ...]], ...] = ()
    opaque: tuple[ContextData, ...] = ()
    nmag: IPv6Address | None = None
    timestamp: Timestamp | None = None
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


def unserved(
    entry: BindingUpdateListEntry, state: State, outstanding: Outstanding | None = None
) -> BindingUpdateListEntry:
    """The entry in a state without registration: nothing to refresh, to advertise or to run out."""
    return replace(
        entry, state=state, outstanding=outstanding, expires=inf, refresh_at=inf, advertise_at=inf, lifetime=0
    )


@dataclass(frozen=True, slots=True)
class Removal:
    """An entry ends."""

    entry: BindingUpdateListEntry


@dataclass(frozen=True, slots=True)
class Request:
    """An entry that is stored with a new registration outstanding."""

    entry: BindingUpdateListEntry
    handoff_indicator: HandoffIndicator


@dataclass(frozen=True, slots=True)
class Announcement:
    """A Router Advertisement for the entry's MN."""

    entry: BindingUpdateListEntry


# What a decision consists of: an action, an entry to store, or one of the above; carried out in order.
Step = Action | BindingUpdateListEntry | Removal | Request | Announcement
