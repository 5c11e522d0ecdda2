"""Home network prefixes: which are given, which are free (RFC 5213 section 5.3.2).

A prefix that was given back waits behind all that were never used: its owner, who may come back with the addresses that
it made of it, finds it free, and stale routes and caches have forgotten it before another one comes.
"""

from collections.abc import Iterable, Iterator
from ipaddress import IPv6Network

from common.mh.messages import MnId
from common.records import Recorded


class HnpPool:
    """Prefixes of one length out of configured pools; memory grows with what is in use only."""

    def __init__(self, pools: Iterable[IPv6Network], length: int, reserved: Iterable[IPv6Network] = ()) -> None:
        self.pools = tuple(pools)
        self._reserved = frozenset(reserved)
        self._length = length
        self._fresh = self._unused()
        self._returned: dict[IPv6Network, MnId] = {}  # oldest first
        self.last: Recorded[MnId, IPv6Network] = Recorded()  # what an MN had until it gave it back
        self._given: dict[IPv6Network, MnId] = {}

    def reserve(self, prefixes: Iterable[IPv6Network]) -> None:
        """These are given to nobody from now on, those that were reserved before may be; who has one keeps it."""
        self._reserved = frozenset(prefixes)
        for prefix in self._reserved & self._returned.keys():
            self.last.pop(self._returned.pop(prefix), None)
        self._fresh = self._unused()

    def allocate(self, owner: MnId) -> IPv6Network | None:
        """The prefix that this MN had last, else one that nobody has, or None when all are given."""
        prefix = self.last.get(owner)
        if prefix not in self._returned:
            prefix = next(self._fresh, None) or next(iter(self._returned), None)
        if prefix is None:
            return None
        former = self._returned.pop(prefix, owner)
        if self.last.get(former) == prefix:
            del self.last[former]
        self._given[prefix] = owner
        return prefix

    def release(self, prefix: IPv6Network) -> None:
        """Take a prefix back; one that is not of the pools (a subscriber's own) is none of our business."""
        owner = self._given.pop(prefix, None)
        if owner and prefix not in self._reserved:
            self.last[owner] = prefix
            self._returned[prefix] = owner

    def adopt(self, prefix: IPv6Network, owner: MnId) -> None:
        """In an earlier life it was given to this MN."""
        if self.is_ours(prefix):
            self._given[prefix] = owner

    def adopt_last(self, prefix: IPv6Network, owner: MnId) -> None:
        """In an earlier life the MN gave it back."""
        if self.is_ours(prefix) and prefix not in self._given:
            self._returned[prefix] = owner
            self.last[owner] = prefix

    def is_ours(self, prefix: IPv6Network) -> bool:
        return prefix not in self._reserved and any(prefix.subnet_of(pool) for pool in self.pools)

    def _unused(self) -> Iterator[IPv6Network]:
        for pool in self.pools:
            step = 1 << (128 - self._length)
            for number in range(1 << (self._length - pool.prefixlen)):
                prefix = IPv6Network((int(pool.network_address) + number * step, self._length))
                if not (prefix in self._reserved or prefix in self._given or prefix in self._returned):
                    yield prefix
