"""The binding update list (RFC 5213 section 6.1): one frozen entry per attached interface of a mobile node."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from itertools import count
from math import inf
from typing import Protocol

from common.mh.messages import (
    ContextData,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoffIndicator,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
)
from common.records import Moment, Recorded

INITIAL_BINDACK_TIMEOUT = 1.0  # RFC 6275 section 12, seconds
LAST_TIMEOUT = 4 * INITIAL_BINDACK_TIMEOUT  # of the farewells that are said three times: at once, 1 s and 2 s later
MAX_BINDACK_TIMEOUT = 32.0
MAC_LENGTH = 6


class State(Enum):
    """Where an MN stands with its LMA."""

    REGISTERING = "registering"  # attached, its first PBA has not come
    REGISTERED = "registered"
    REFRESHING = "refreshing"  # registered, and the lifetime is being extended
    DEREGISTERING = "de-registering"  # gone, the LMA's answer has not come
    REFUSED = "refused"  # attached, but the LMA said no
    LEFT = "left"  # de-registered, its context is kept until it is revoked or has run out
    AWAITED = "awaited"  # not here yet, its context is
    FORWARDED = "forwarded"  # registered, but gone: what comes for it waits, or goes on to the MAG where it is now


TRANSITIONS: dict[State | None, frozenset[State | None]] = {
    None: frozenset({State.REGISTERING, State.AWAITED}),
    State.REGISTERING: frozenset(
        {State.REGISTERING, State.REGISTERED, State.DEREGISTERING, State.REFUSED, State.FORWARDED}
    ),
    State.REGISTERED: frozenset(
        {State.REGISTERED, State.REFRESHING, State.DEREGISTERING, State.REFUSED, State.FORWARDED}
    ),
    State.REFRESHING: frozenset(
        {
            State.REFRESHING,
            State.REGISTERED,
            State.REGISTERING,
            State.DEREGISTERING,
            State.REFUSED,
            State.FORWARDED,
        }
    ),
    State.DEREGISTERING: frozenset({State.DEREGISTERING, State.REGISTERING, State.LEFT, State.AWAITED, None}),
    State.REFUSED: frozenset({State.REFUSED, State.REGISTERING, None}),
    State.LEFT: frozenset({State.LEFT, State.REGISTERING, State.DEREGISTERING, State.AWAITED, None}),
    State.AWAITED: frozenset({State.AWAITED, State.REGISTERING, State.LEFT, State.FORWARDED, None}),
    State.FORWARDED: frozenset({State.FORWARDED, State.REGISTERING, State.DEREGISTERING, State.AWAITED, None}),
}
SERVED = frozenset({State.REGISTERED, State.REFRESHING})
GONE = frozenset({State.DEREGISTERING, State.LEFT})


@dataclass(frozen=True, slots=True, kw_only=True)
class Outstanding:
    """A PBU, or what a scheme sends in its place, without an answer.

    `timeout` in seconds doubles with each retransmission (RFC 6275 section 11.8).
    """

    pbu: ProxyBindingUpdate | FastProxyBindingUpdate
    sent: Moment
    timeout: float = INITIAL_BINDACK_TIMEOUT

    @property
    def resend_at(self) -> float:
        return self.sent + self.timeout

    def was_late(self, answer: ProxyBindingAck | FastProxyBindingAck, now: float) -> bool:
        """Whether the LMA refuses the timestamp only because this came late: its clock does not differ from ours.

        It says what its clock was (section 5.5): right between the departure and now, it can be the same clock.
        """
        sent, theirs = self.pbu.timestamp, answer.timestamp
        if answer.status != Status.TIMESTAMP_MISMATCH or sent is None or theirs is None:
            return False
        return 0 < theirs.utc - sent.utc <= now - self.sent


@dataclass(frozen=True, slots=True)
class Deferred:
    """A request that the rate limit lets out `at` that moment, and not before."""

    lifetime: int
    handoff_indicator: HandoffIndicator
    at: Moment


@dataclass(frozen=True, slots=True)
class Probe:
    """The MN is being looked for: `sent` solicitations so far, the next step is due `at` that moment."""

    sent: int
    at: Moment


class HandoverState(Protocol):
    """What a scheme remembers of a handover that is not over."""

    @property
    def deadline(self) -> float: ...

    def as_row(self) -> dict[str, object]:
        """For people to read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingUpdateListEntry:
    """One interface of an MN. Moments are the core's `now`, `lifetime` is the granted one in seconds.

    `interface` is empty while nobody knows where an awaited MN will come; `present` is whether it is on the link.
    `restored`: a context says what it takes to serve the MN before the LMA has answered. `parts` are the pieces of that
    context, by their number; `opaque` what is carried on for others. `timestamp` and `sequence` are the last request's.
    `prefixes_refused`: what the profile asks for was, so whatever the LMA assigns is asked for.
    `link_local` is the gateway's address on the MN's link, where that is not fixed (section 6.9.1.2, 15).
    `halted`: the LMA's answers make no sense, nothing is asked of it until an operator says so (section 6.9.1.2, 6).
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
    sequence: int | None = None
    prefixes_refused: bool = False
    halted: bool = False
    link_local: IPv6Address | None = None
    state: State = State.REGISTERING
    hnps: tuple[IPv6Network, ...] = ()
    outstanding: Outstanding | None = None
    deferred: Deferred | None = None
    probe: Probe | None = None
    lifetime: int = 0
    expires: Moment = inf
    refresh_at: Moment = inf
    advertise_at: Moment = inf
    handover: HandoverState | None = None

    @property
    def mac(self) -> bytes | None:
        """The link-layer identifier where it is a MAC address; what a peer says it is may be something else."""
        return self.mn_ll_id if self.mn_ll_id is not None and len(self.mn_ll_id) == MAC_LENGTH else None

    @property
    def deadline(self) -> float:
        """When this entry needs attention next; while the MN is looked for, nothing is said to the LMA."""
        handover = self.handover.deadline if self.handover else inf
        if self.probe:
            return min(self.probe.at, self.expires, self.advertise_at, handover)
        resend_at = self.outstanding.resend_at if self.outstanding else inf
        deferred = self.deferred.at if self.deferred else inf
        return min(resend_at, deferred, self.expires, self.refresh_at, self.advertise_at, handover)


class BindingUpdateList:
    """The entries, by MN-ID and link-layer identifier, and by when they need attention."""

    def __init__(self) -> None:
        self._of_mn: dict[MnId, dict[bytes | None, BindingUpdateListEntry]] = {}
        self.entries: Recorded[tuple[MnId, bytes | None], BindingUpdateListEntry] = Recorded()
        self._timers: list[tuple[float, int, BindingUpdateListEntry]] = []  # a heap; what was replaced stays until due
        self._order = count()

    def get(self, mn_id: MnId, ll_id: bytes | None = None) -> BindingUpdateListEntry | None:
        """The entry of that interface; without `ll_id` the MN's only one; None if there is none such."""
        entries = self._of_mn.get(mn_id, {})
        if ll_id in entries:
            return entries[ll_id]
        return next(iter(entries.values())) if ll_id is None and len(entries) == 1 else entries.get(None)

    def of(self, mn_id: MnId) -> list[BindingUpdateListEntry]:
        """The entries of all interfaces of the MN."""
        return list(self._of_mn.get(mn_id, {}).values())

    def holding(self, mn_id: MnId, hnps: tuple[IPv6Network, ...]) -> BindingUpdateListEntry | None:
        """The MN's entry that has exactly these prefixes."""
        return next((entry for entry in self.of(mn_id) if entry.hnps == hnps), None)

    def store(self, entry: BindingUpdateListEntry) -> None:
        self._of_mn.setdefault(entry.mn_id, {})[entry.mn_ll_id] = entry
        self.entries[entry.mn_id, entry.mn_ll_id] = entry
        if entry.deadline < inf:
            heapq.heappush(self._timers, (entry.deadline, next(self._order), entry))
        if len(self._timers) > 4 * len(self) + 64:
            self._timers = [timer for timer in self._timers if self._is_current(timer[2])]
            heapq.heapify(self._timers)

    def remove(self, entry: BindingUpdateListEntry) -> None:
        entries = self._of_mn[entry.mn_id]
        del entries[entry.mn_ll_id]
        del self.entries[entry.mn_id, entry.mn_ll_id]
        if not entries:
            del self._of_mn[entry.mn_id]

    def deadline(self) -> float | None:
        """When the first entry needs attention."""
        while self._timers and not self._is_current(self._timers[0][2]):
            heapq.heappop(self._timers)
        return self._timers[0][0] if self._timers else None

    def due(self, now: float) -> list[BindingUpdateListEntry]:
        """The entries whose moment has come, the longest due first."""
        due: dict[int, BindingUpdateListEntry] = {}
        while (moment := self.deadline()) is not None and moment <= now:
            entry = heapq.heappop(self._timers)[2]
            due[id(entry)] = entry
        for entry in due.values():  # until it is replaced it stays due
            heapq.heappush(self._timers, (entry.deadline, next(self._order), entry))
        return list(due.values())

    def values(self) -> Iterator[BindingUpdateListEntry]:
        return (entry for entries in self._of_mn.values() for entry in entries.values())

    def __iter__(self) -> Iterator[MnId]:
        return iter(self._of_mn)

    def __contains__(self, mn_id: MnId) -> bool:
        return mn_id in self._of_mn

    def __getitem__(self, mn_id: MnId) -> BindingUpdateListEntry:
        entry = self.get(mn_id)
        if entry is None:
            raise KeyError(mn_id)
        return entry

    def __len__(self) -> int:
        return sum(map(len, self._of_mn.values()))

    def _is_current(self, entry: BindingUpdateListEntry) -> bool:
        return self._of_mn.get(entry.mn_id, {}).get(entry.mn_ll_id) is entry


def unserved(
    entry: BindingUpdateListEntry, state: State, outstanding: Outstanding | None = None
) -> BindingUpdateListEntry:
    """The entry in a state without registration: nothing to refresh, to advertise or to run out."""
    return replace(
        entry,
        state=state,
        outstanding=outstanding,
        deferred=None,
        probe=None,
        expires=inf,
        refresh_at=inf,
        advertise_at=inf,
        lifetime=0,
    )
