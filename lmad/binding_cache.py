"""The binding cache (RFC 5213 section 5.1): one entry per mobility session, found by prefix or by MN-ID.

Entries are frozen; a change is `replace` and `put`. States and the moves between them are the table below.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, IPv6Network
from typing import Protocol, runtime_checkable

from common.deadlines import Deadlines
from common.mh.messages import AccessTechnologyType, MnId, Timestamp
from common.records import Moment, Recorded


class State(Enum):
    """What an entry is: a Proxy BCE in use, one that waits for its deletion after a de-registration, or a CCE."""

    REGISTERED = "registered"
    DEREGISTERED = "de-registered"
    CONTEXT = "context"


TRANSITIONS: dict[State | None, frozenset[State | None]] = {
    None: frozenset({State.REGISTERED}),
    State.REGISTERED: frozenset({State.REGISTERED, State.DEREGISTERED, State.CONTEXT, None}),
    State.DEREGISTERED: frozenset({State.DEREGISTERED, State.REGISTERED, None}),
    State.CONTEXT: frozenset({State.REGISTERED, State.CONTEXT, None}),
}


@runtime_checkable
class HandoverState(Protocol):
    """What a scheme remembers of a handover that is not over; the core only asks when it needs attention."""

    @property
    def deadline(self) -> float: ...

    def describe(self) -> dict[str, object]:
        """For people to read, JSON-ready."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BindingCacheEntry:
    """One mobility session. `expires` is the core's `now` at which it ends; `lifetime` in seconds."""

    mn_id: MnId
    hnps: tuple[IPv6Network, ...]
    proxy_coa: IPv6Address
    access_technology: AccessTechnologyType
    mn_ll_id: bytes | None
    lifetime: int
    expires: Moment
    state: State = State.REGISTERED
    sequence: int
    timestamp: Timestamp | None
    link_local: IPv6Address | None = None
    handover: HandoverState | None = None

    @property
    def deadline(self) -> float:
        """When this entry needs attention next."""
        return min(self.expires, self.handover.deadline) if self.handover else self.expires

    @property
    def registered_at(self) -> float:
        """When the serving MAG last asked for it; of a registered entry only."""
        return self.expires - self.lifetime

    @property
    def key(self) -> IPv6Network:
        """A prefix belongs to one session only, so the first names it."""
        return self.hnps[0]


class BindingCache:
    """All entries, and when the next one needs attention."""

    def __init__(self) -> None:
        self.entries: Recorded[IPv6Network, BindingCacheEntry] = Recorded()
        self._by_key = self.entries
        self._owner: dict[IPv6Network, IPv6Network] = {}
        self._of_mn: dict[MnId, list[IPv6Network]] = {}
        self._at_mag: dict[IPv6Address, dict[IPv6Network, None]] = {}
        self._deadlines: Deadlines[IPv6Network] = Deadlines()

    def __len__(self) -> int:
        return len(self._by_key)

    def __iter__(self) -> Iterator[BindingCacheEntry]:
        return iter(self._by_key.values())

    def of(self, mn_id: MnId) -> list[BindingCacheEntry]:
        """The sessions of one MN, oldest first."""
        return [self._by_key[key] for key in self._of_mn.get(mn_id, ())]

    def at(self, mag: IPv6Address) -> list[BindingCacheEntry]:
        """The sessions whose Proxy-CoA this is, oldest first."""
        return [self._by_key[key] for key in self._at_mag.get(mag, ())]

    def count_at(self, mag: IPv6Address) -> int:
        return len(self._at_mag.get(mag, ()))

    def session(self, key: IPv6Network) -> BindingCacheEntry | None:
        """The session that is named so."""
        return self._by_key.get(key)

    def owner(self, prefix: IPv6Network) -> BindingCacheEntry | None:
        key = self._owner.get(prefix)
        return None if key is None else self._by_key[key]

    def put(self, bce: BindingCacheEntry) -> None:
        """Add an entry, or replace the session's; refuses moves that the table does not have."""
        before = self._by_key.get(bce.key)
        assert bce.state in TRANSITIONS[before.state if before else None], (before, bce)
        self._put(before, bce)

    def adopt(self, bce: BindingCacheEntry) -> None:
        """Add an entry of an earlier life, in whatever state it was."""
        self._put(None, bce)

    def _put(self, before: BindingCacheEntry | None, bce: BindingCacheEntry) -> None:
        if before is None:
            self._of_mn.setdefault(bce.mn_id, []).append(bce.key)
            for prefix in bce.hnps:
                assert prefix not in self._owner, prefix
                self._owner[prefix] = bce.key
        self._place(before, bce)
        self._by_key[bce.key] = bce
        self._deadlines.set(bce.key, bce.deadline)

    def remove(self, bce: BindingCacheEntry) -> None:
        del self._by_key[bce.key]
        self._deadlines.discard(bce.key)
        for prefix in bce.hnps:
            del self._owner[prefix]
        self._place(bce, None)
        keys = self._of_mn[bce.mn_id]
        keys.remove(bce.key)
        if not keys:
            del self._of_mn[bce.mn_id]

    def restore(self, before: BindingCacheEntry | None, after: BindingCacheEntry) -> None:
        """Take back a `put` whose forwarding the kernel refused."""
        if before is None:
            self.remove(after)
        else:
            self._place(after, before)
            self._by_key[before.key] = before
            self._deadlines.set(before.key, before.deadline)

    def deadline(self) -> float:
        """When the next entry needs attention; inf: none does."""
        return self._deadlines.next()

    def due(self, now: float) -> Iterator[BindingCacheEntry]:
        """The entries that need attention by `now`; the caller removes or replaces each."""
        while (key := self._deadlines.due(now)) is not None:
            yield self._by_key[key]

    def _place(self, before: BindingCacheEntry | None, after: BindingCacheEntry | None) -> None:
        """Which MAG it is at."""
        if before and after and before.proxy_coa == after.proxy_coa:
            return
        if before:
            here = self._at_mag[before.proxy_coa]
            del here[before.key]
            if not here:
                del self._at_mag[before.proxy_coa]
        if after:
            self._at_mag.setdefault(after.proxy_coa, {})[after.key] = None
