"""Moments that things wait for: the next one, and what is due, at a cost that does not grow with their number.

What waits for a later moment than before, as a lifetime that is extended does, stays in its place in the heap until the
earlier moment comes: so the heap does not grow with every change, and most changes do not touch it.
"""

import heapq
from collections.abc import Hashable
from itertools import count
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class _Wait(Generic[K]):
    """What a key waits for: `moment`, None for nothing any more. `place` is its first one in the heap."""

    __slots__ = ("key", "moment", "place")

    def __init__(self, key: K) -> None:
        self.key = key
        self.moment: float | None = None
        self.place: _Place[K] | None = None  # for that moment or an earlier one


# A place's moment, a number so that nothing else is compared, who waits, and its place behind this one, if any.
_Place = tuple[float, int, _Wait[K], "_Place[K] | None"]


class Deadlines(Generic[K]):
    """Each key waits for one moment, in the core's `now`."""

    def __init__(self) -> None:
        self._waits: dict[K, _Wait[K]] = {}
        self._heap: list[_Place[K]] = []
        self._order = count()

    def set(self, key: K, moment: float) -> None:
        """The key waits for this moment, whatever it waited for before."""
        wait = self._waits.get(key)
        if wait is None:
            wait = self._waits[key] = _Wait(key)
        wait.moment = moment
        self._take_place(wait, moment)

    def discard(self, key: K) -> None:
        if wait := self._waits.pop(key, None):
            wait.moment = None

    def __contains__(self, key: K) -> bool:
        return key in self._waits

    def next(self) -> float:
        """The moment that comes first; inf: nothing waits."""
        heap = self._heap
        while heap:
            moment, _, wait, behind = heap[0]
            if wait.moment == moment:
                return moment
            heapq.heappop(heap)
            wait.place = behind
            if wait.moment is not None:
                self._take_place(wait, wait.moment)
        return inf

    def due(self, now: float) -> K | None:
        """The key whose moment came first, if it has come; it waits no more."""
        if self.next() > now:
            return None
        key = heapq.heappop(self._heap)[2].key
        self.discard(key)
        return key

    def _take_place(self, wait: _Wait[K], moment: float) -> None:
        """Unless it has one that is early enough."""
        place = wait.place
        if place is None or moment < place[0]:
            wait.place = (moment, next(self._order), wait, place)
            heapq.heappush(self._heap, wait.place)
