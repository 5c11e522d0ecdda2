"""Home network prefixes: which are given, which are free (RFC 5213 section 5.3.2).

A prefix that was given back waits behind all that were never used, so that stale routes and caches out in the network
have forgotten it before its next owner comes.
"""

from collections import deque
from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network


class HnpPool:
    """Prefixes of one length out of configured pools; memory grows with what is in use only."""

    def __init__(self, pools: Iterable[IPv6Network], length: int, reserved: Iterable[IPv6Network] = ()) -> None:
        self.pools = tuple(pools)
        self._reserved = frozenset(reserved)
        self._length = length
        self._fresh = self._unused()
        self._returned: deque[IPv6Network] = deque()
        self._given: set[IPv6Network] = set()

    def allocate(self) -> IPv6Network | None:
        """A prefix that nobody has, or None when all are given."""
        prefix = next(self._fresh, None) or (self._returned.popleft() if self._returned else None)
        if prefix is not None:
            self._given.add(prefix)
        return prefix

    def release(self, prefix: IPv6Network) -> None:
        """Take a prefix back; one that is not of the pools (a subscriber's own) is none of our business."""
        if prefix in self._given:
            self._given.remove(prefix)
            self._returned.append(prefix)

    def _unused(self) -> Iterator[IPv6Network]:
        for pool in self.pools:
            step = 1 << (128 - self._length)
            for number in range(1 << (self._length - pool.prefixlen)):
                prefix = IPv6Network((int(pool.network_address) + number * step, self._length))
                if prefix not in self._reserved:
                    yield prefix
