"""Which home network prefixes a new mobility session gets (RFC 5213 section 5.3.2, points 1 to 3)."""

from ipaddress import IPv6Network

from common.mh.messages import ALL_ZERO_PREFIX, MnId, Status
from lmad.binding_cache import BindingCache
from lmad.checks import Refusal
from lmad.config import HNP_LENGTH, LmadConfig, MobileNode
from lmad.hnp_pool import HnpPool


class Assignment:
    """A subscriber's own prefixes, else those of the pools; a prefix is in one session only (section 5.4)."""

    def __init__(self, config: LmadConfig, cache: BindingCache) -> None:
        self._cache = cache
        self.pool = HnpPool(config.lma.prefix_pools, HNP_LENGTH)
        self.follow(config)

    def follow(self, config: LmadConfig) -> None:
        """Go on by another configuration: other limits, other subscribers have prefixes of their own."""
        lma = config.lma
        self._count = lma.prefix_count
        self._max_bindings = lma.max_bindings
        self._max_sessions = lma.max_sessions_per_mobile_node
        for prefix in self.pool.reserve(prefix for node in config.mobile_node for prefix in node.prefixes):
            if session := self._cache.owner(prefix):
                self.pool.adopt(prefix, session.mn_id)

    def assign(
        self, mn_id: MnId, node: MobileNode, requested: tuple[IPv6Network, ...]
    ) -> tuple[IPv6Network, ...] | Refusal:
        """The prefixes, which are given from now on, or why there are none."""
        if len(self._cache) >= self._max_bindings:
            return Refusal(Status.INSUFFICIENT_RESOURCES, "too-many-bindings")
        if len(self._cache.of(mn_id)) >= self._max_sessions:
            return Refusal(Status.INSUFFICIENT_RESOURCES, "too-many-sessions")
        wanted = tuple(prefix for prefix in requested if prefix != ALL_ZERO_PREFIX)
        if wanted:
            return self._named(mn_id, node, wanted)
        free = tuple(prefix for prefix in node.prefixes if self._cache.owner(prefix) is None)
        prefixes = free or self.pool.allocate(mn_id, self._prefix_count(node))
        return prefixes or Refusal(Status.INSUFFICIENT_RESOURCES, "no-prefix-left")

    def release(self, prefixes: tuple[IPv6Network, ...]) -> None:
        """The session has ended."""
        for prefix in prefixes:
            self.pool.release(prefix)

    def _named(
        self, mn_id: MnId, node: MobileNode, wanted: tuple[IPv6Network, ...]
    ) -> tuple[IPv6Network, ...] | Refusal:
        """Prefixes that the MAG asks for by name: the MN's own, or such of the pools as nobody else has or had.

        So a session that this anchor has forgotten, but its MAG has not, is the same again.
        """
        refusal = Refusal(Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX, "prefix-not-permitted")
        at_most = max(len(node.prefixes), self._prefix_count(node))
        if len(set(wanted)) != len(wanted) or len(wanted) > at_most:
            return refusal
        if any(self._cache.owner(prefix) for prefix in wanted):
            return refusal
        claimed: list[IPv6Network] = []
        for prefix in wanted:
            if prefix in node.prefixes:
                continue
            if not self.pool.claim(prefix, mn_id):
                self.release(tuple(claimed))
                return refusal
            claimed.append(prefix)
        return wanted

    def _prefix_count(self, node: MobileNode) -> int:
        return node.prefix_count or self._count
