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
        self.returned: Recorded[IPv6Network, MnId] = Recorded()  # whose it was until it was given back; oldest first
        self._last: dict[MnId, dict[IPv6Network, None]] = {}  # the same by MN
        self._given: dict[IPv6Network, MnId] = {}

    def reserve(self, prefixes: Iterable[IPv6Network]) -> frozenset[IPv6Network]:
        """These are given to nobody from now on, and who has one keeps it; those that were reserved and are no more.

        Whoever has one of those still is to be told by `adopt`.
        """
        before, self._reserved = self._reserved, frozenset(prefixes)
        for prefix in self._reserved & self.returned.keys():
            self._forget(prefix)
        self._fresh = self._unused()
        return before - self._reserved

    def allocate(self, owner: MnId, count: int = 1) -> tuple[IPv6Network, ...]:
        """Up to so many: what this MN had last, else what nobody has; fewer when no more are left."""
        found: list[IPv6Network] = []
        while len(found) < count and (prefix := self._free(owner)):
            self._give(prefix, owner)
            found.append(prefix)
        return tuple(found)

    def claim(self, prefix: IPv6Network, owner: MnId) -> bool:
        """Give this very prefix, if it is of the pools and nobody else has it or had it last."""
        if prefix.prefixlen != self._length or not self.is_ours(prefix) or prefix in self._given:
            return False
        if self.returned.get(prefix, owner) != owner:
            return False
        self._give(prefix, owner)
        return True

    def release(self, prefix: IPv6Network) -> None:
        """Take a prefix back; one that is not of the pools (a subscriber's own) is none of our business."""
        owner = self._given.pop(prefix, None)
        if owner and prefix not in self._reserved:
            self._return(prefix, owner)

    def adopt(self, prefix: IPv6Network, owner: MnId) -> None:
        """In an earlier life, or by another configuration, it was given to this MN."""
        if self.is_ours(prefix):
            self._given[prefix] = owner

    def adopt_last(self, prefix: IPv6Network, owner: MnId) -> None:
        """In an earlier life the MN gave it back."""
        if self.is_ours(prefix) and prefix not in self._given:
            self._return(prefix, owner)

    def is_ours(self, prefix: IPv6Network) -> bool:
        return prefix not in self._reserved and any(prefix.subnet_of(pool) for pool in self.pools)

    def _free(self, owner: MnId) -> IPv6Network | None:
        had = self._last.get(owner)
        return next(iter(had)) if had else next(self._fresh, None) or next(iter(self.returned), None)

    def _give(self, prefix: IPv6Network, owner: MnId) -> None:
        self._forget(prefix)
        self._given[prefix] = owner

    def _return(self, prefix: IPv6Network, owner: MnId) -> None:
        self._last.setdefault(owner, {})[prefix] = None
        self.returned[prefix] = owner

    def _forget(self, prefix: IPv6Network) -> None:
        """Whose it was last, if it was anybody's."""
        if prefix in self.returned:
            former = self.returned.pop(prefix)
            del self._last[former][prefix]
            if not self._last[former]:
                del self._last[former]

    def _unused(self) -> Iterator[IPv6Network]:
        for pool in self.pools:
            step = 1 << (128 - self._length)
            for number in range(1 << (self._length - pool.prefixlen)):
                prefix = IPv6Network((int(pool.network_address) + number * step, self._length))
                # What was claimed by its name, or given in an earlier life, is no more unused.
                if not (prefix in self._reserved or prefix in self._given or prefix in self.returned):
                    yield prefix
