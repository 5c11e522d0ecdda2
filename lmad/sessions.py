"""The only writer of the binding cache: forwarding follows from an entry, so that no branch can forget it."""

from collections.abc import Iterator

from common.actions import Action, Forward, Note
from lmad.assignment import Assignment
from lmad.binding_cache import BindingCache, BindingCacheEntry
from lmad.handover.pmipv6 import Pmipv6
from lmad.waiting import Waiting


class Sessions:
    """What becomes of mobility sessions; requests that wait for one are looked at again."""

    def __init__(self, cache: BindingCache, scheme: Pmipv6, assignment: Assignment, waiting: Waiting) -> None:
        self.cache = cache
        self.assignment = assignment
        self._scheme = scheme
        self._waiting = waiting

    def put(self, before: BindingCacheEntry | None, bce: BindingCacheEntry) -> Iterator[Action]:
        """A session begins or changes."""
        self.cache.put(bce)
        if self._waiting:
            self._waiting.ripen(bce.mn_id)
        old, new = self._scheme.forwarding(before) if before else None, self._scheme.forwarding(bce)
        if old != new:
            yield Forward(bce.mn_id, bce.hnps, new)
        if new.held != bool(old and old.held):
            yield Note("hold-started" if new.held else "hold-released", bce.mn_id)

    def renew(self, bce: BindingCacheEntry) -> Iterator[Action]:
        """A session changes, whatever of it the kernel has."""
        self.cache.put(bce)
        yield Forward(bce.mn_id, bce.hnps, self._scheme.forwarding(bce))

    def release(self, bce: BindingCacheEntry, now: float) -> Iterator[Action]:
        """Its MAG has it no more: as if it had been de-registered."""
        yield Note("session-given-up", bce.mn_id, bce.proxy_coa)
        yield from self.put(bce, self._scheme.released(bce, now))

    def end(self, bce: BindingCacheEntry) -> Iterator[Action]:
        """The session is no more; its prefixes are free."""
        self.cache.remove(bce)
        self.assignment.release(bce.hnps)
        if self._waiting:
            self._waiting.ripen(bce.mn_id)
        yield Forward(bce.mn_id, bce.hnps, None)

    def take_back(self, before: BindingCacheEntry | None, after: BindingCacheEntry) -> Forward:
        """The kernel refused what `put` asked for."""
        self.cache.restore(before, after)
        if before is None:
            self.assignment.release(after.hnps)
        return Forward(after.mn_id, after.hnps, self._scheme.forwarding(before) if before else None)
