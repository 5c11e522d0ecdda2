"""Moments that things wait for: the next one, and what is due, at a cost that does not grow with their number."""

import heapq
from collections.abc import Hashable
from itertools import count
from math import inf
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Deadlines(Generic[K]):
    """Each key waits for one moment, in the core's `now`."""

    def __init__(self) -> None:
        self._moments: dict[K, tuple[float, int]] = {}
        self._heap: list[tuple[float, int, K]] = []
        self._order = count()  # keys need not be comparable

    def set(self, key: K, moment: float) -> None:
        """The key waits for this moment, whatever it waited for before."""
        order = next(self._order)
        self._moments[key] = moment, order
        heapq.heappush(self._heap, (moment, order, key))

    def discard(self, key: K) -> None:
        self._moments.pop(key, None)

    def __contains__(self, key: K) -> bool:
        return key in self._moments

    def next(self) -> float:
        """The moment that comes first; inf: nothing waits."""
        while self._heap:
            moment, order, key = self._heap[0]
            if self._moments.get(key) == (moment, order):
                return moment
            heapq.heappop(self._heap)
        return inf

    def due(self, now: float) -> K | None:
        """The key whose moment came first, if it has come; it waits no more."""
        if self.next() > now:
            return None
        key = heapq.heappop(self._heap)[2]
        del self._moments[key]
        return key
