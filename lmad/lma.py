"""The local mobility anchor, RFC 5213 section 5, without sockets, clocks or kernel.

State lies in `binding_cache`; `checks` and `lookup` decide what a Proxy Binding Update means; the four handlers bear
the names of sections 5.3.2 to 5.3.5; the scheme in `lmad/handover` decides what a handover does to packets. Handlers
are generators, so that they read as the protocol; what leaves the class is a list of actions.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from common.actions import Action, Forward, Note, Send, unexpected
from common.errors import DataPlaneError
from common.mh.messages import (
    ALL_ZERO_ADDRESS,
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
)
from lmad.binding_cache import BindingCache, BindingCacheEntry, State
from lmad.checks import Domain, Refusal, Request, verdict
from lmad.config import HNP_LENGTH, LmadConfig
from lmad.handover import SCHEMES
from lmad.handover.pmipv6 import Pmipv6
from lmad.hnp_pool import HnpPool
from lmad.lookup import find_session

MAG_LINK_LOCAL = IPv6Address("fe80::200:5eff:fe00:5213")  # RFC 6543: the same on every access link


class LocalMobilityAnchor:
    """The core. `now` is any clock that only rises, in seconds; `utc` turns it into seconds since 1970."""

    def __init__(self, config: LmadConfig, utc: Callable[[float], float]) -> None:
        lma = config.lma
        self.binding_cache = BindingCache()
        self._utc = utc
        self._scheme = SCHEMES[lma.scheme](config)
        self._pool = HnpPool(lma.prefix_pools, HNP_LENGTH)
        self._know(config)
        self._last_change: tuple[Request, BindingCacheEntry | None, BindingCacheEntry] | None = None

    def follow(self, config: LmadConfig) -> None:
        """Go on by another configuration; only what config.RELOADABLE lists may differ. Sessions stay as they are."""
        self._scheme.follow(config)
        self._know(config)

    def _know(self, config: LmadConfig) -> None:
        lma = config.lma
        self.domain = Domain(
            frozenset(mag.address for mag in config.mag),
            {MnId.nai(node.mn_id): node for node in config.mobile_node},
            lma.timestamp_validity_window,
            lma.timestamp_based_approach_in_use,
            lma.mobile_node_generated_timestamp_in_use,
        )
        self._max_lifetime = lma.max_lifetime
        self._pool.reserve(prefix for node in config.mobile_node for prefix in node.prefixes)

    @property
    def scheme(self) -> Pmipv6:
        return self._scheme

    @property
    def pool(self) -> HnpPool:
        return self._pool

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]:
        """A message from a MAG."""
        self._last_change = None
        match message:
            case ProxyBindingUpdate():
                return list(self._update(source, message, now))
            case _:
                return list(self._other(source, message, now))

    def deadline(self) -> float | None:
        return self.binding_cache.deadline()

    def expire(self, now: float) -> list[Action]:
        """End what has run out: lifetimes, and waits after a de-registration."""
        self._last_change = None
        actions: list[Action] = []
        for bce in self.binding_cache.due(now):
            if bce.expires <= now:
                self._remove(bce)
                reason = "binding-deleted" if bce.state is State.DEREGISTERED else f"{bce.state.value}-binding-expired"
                actions += [Forward(bce.mn_id, bce.hnps, None), Note(reason, bce.mn_id, bce.proxy_coa)]
            else:
                after, extra = self._scheme.expired(bce, now)
                actions += [*self._put(bce, after), *extra]
        return actions

    def forwarding_failed(self, forward: Forward, error: DataPlaneError, _now: float) -> list[Action]:
        """The kernel refused what the last call asked for: the change is taken back and the MAG hears of it."""
        if self._last_change is None:  # a removal, which nobody waits for; the next start reconciles
            return [Note("data-plane-refused", forward.mn_id, detail=str(error))]
        request, before, after = self._last_change
        self._last_change = None
        self.binding_cache.restore(before, after)
        if before is None:
            self._release(after)
        return [
            Note("data-plane-refused", after.mn_id, request.source, str(error)),
            Forward(after.mn_id, after.hnps, self._scheme.forwarding(before) if before else None),
            self._refuse(request, Status.INSUFFICIENT_RESOURCES),
        ]

    def _other(self, source: IPv6Address, message: Message, now: float) -> Iterator[Action]:
        """What is no PBU: the scheme's own messages."""
        if source not in self.domain.mags:
            yield Note("unauthorized-source", peer=source, detail=message.name)
            return
        if (pbu := self._scheme.as_update(message)) is not None:
            yield from self._requested(source, message, pbu, now)
            return
        answer = self._scheme.received(source, message, self.binding_cache, now)
        if answer is None:
            yield from unexpected(source, message)
            return
        after, extra = answer
        if after is not None:
            before = self.binding_cache.owner(after.key)
            assert before is not None
            yield from self._put(before, after)
        yield from extra

    def _requested(
        self, source: IPv6Address, message: Message, pbu: ProxyBindingUpdate, now: float
    ) -> Iterator[Action]:
        """A request of the scheme's own, which amounts to this PBU: the same checks, then the scheme decides."""
        request = Request(source, pbu, self._utc(now), message)
        status = verdict(request, self.domain, self.binding_cache)
        session = find_session(pbu, source, self.binding_cache) if status is None else status
        if isinstance(session, Status):
            yield from self._refused(request, session)
            return
        after = self._scheme.requested(source, message, session, now)
        if after is None:
            yield Note(f"ignored-{message.name}", pbu.mn_id, source)
        elif isinstance(after, Refusal):
            yield from self._refused(request, after.status, after.reason)
        else:
            yield from self._accepted(request, session, after)

    def _update(self, source: IPv6Address, pbu: ProxyBindingUpdate, now: float) -> Iterator[Action]:
        """Section 5.3.1."""
        request = Request(source, pbu, self._utc(now))
        status = verdict(request, self.domain, self.binding_cache)
        if status is not None:
            yield from self._refused(request, status)
            return
        # An Alternate Care-of Address takes the source's place as Proxy-CoA; the answer goes to the source (5.3.6).
        coa = pbu.alternate_coa or source
        if coa not in self.domain.mags:
            yield from self._refused(request, Status.MAG_NOT_AUTHORIZED_FOR_PROXY_REG)
            return
        session = find_session(pbu, coa, self.binding_cache)
        if pbu.lifetime == 0:
            yield from self._deregistration(request, coa, session, now)
        elif isinstance(session, Status):
            yield from self._refused(request, session)
        elif session is None:
            yield from self._initial_registration(request, coa, now)
        elif session.proxy_coa == coa and session.state is State.REGISTERED:
            yield from self._binding_lifetime_extension(request, session, now)
        else:
            yield from self._binding_lifetime_extension_after_handoff(request, coa, session, now)

    def _initial_registration(self, request: Request, coa: IPv6Address, now: float) -> Iterator[Action]:
        """Section 5.3.2."""
        pbu = request.pbu
        assert pbu.mn_id is not None
        hnps = self._assign(pbu.mn_id, pbu.hnps)
        if isinstance(hnps, Status):
            yield from self._refused(request, hnps)
            return
        assert pbu.access_technology is not None
        lifetime = min(pbu.lifetime, self._max_lifetime)
        bce = BindingCacheEntry(
            mn_id=pbu.mn_id,
            hnps=hnps,
            proxy_coa=coa,
            access_technology=pbu.access_technology,
            mn_ll_id=pbu.mn_ll_id,
            lifetime=lifetime,
            expires=now + lifetime,
            sequence=pbu.sequence,
            timestamp=pbu.timestamp,
            link_local=self._link_local(pbu, None),
        )
        yield from self._registered(request, None, bce, now)

    def _binding_lifetime_extension(self, request: Request, bce: BindingCacheEntry, now: float) -> Iterator[Action]:
        """Section 5.3.3: the serving MAG refreshes."""
        yield from self._registered(request, bce, self._renewed(request.pbu, bce, bce.proxy_coa, now), now)

    def _binding_lifetime_extension_after_handoff(
        self, request: Request, coa: IPv6Address, bce: BindingCacheEntry, now: float
    ) -> Iterator[Action]:
        """Section 5.3.4: the MN is at another MAG, or has come back after a de-registration."""
        yield from self._registered(request, bce, self._renewed(request.pbu, bce, coa, now), now)

    def _deregistration(
        self, request: Request, coa: IPv6Address, bce: BindingCacheEntry | Status | None, now: float
    ) -> Iterator[Action]:
        """Section 5.3.5: only the serving MAG ends a session; to anybody else there is not even an answer."""
        pbu = request.pbu
        if not isinstance(bce, BindingCacheEntry) or bce.proxy_coa != coa:
            yield Note("deregistration-ignored", pbu.mn_id, request.source)
            return
        heard = self._heard(pbu, bce)
        after = self._scheme.deregistered(heard, pbu, now) if bce.state is State.REGISTERED else heard
        if isinstance(after, Refusal):
            yield from self._refused(request, after.status, after.reason)
        else:
            yield from self._accepted(request, bce, after)

    def _registered(
        self, request: Request, before: BindingCacheEntry | None, bce: BindingCacheEntry, now: float
    ) -> Iterator[Action]:
        yield from self._accepted(request, before, self._scheme.registered(before, bce, now))

    def _accepted(
        self, request: Request, before: BindingCacheEntry | None, after: BindingCacheEntry
    ) -> Iterator[Action]:
        """The path first, then the answer: an accepted PBU has what it asked for."""
        self._last_change = request, before, after
        yield from self._put(before, after)
        pba = self._answer(request, Status.ACCEPTED, after.lifetime, after.hnps, after.link_local)
        pba = self._scheme.acknowledge(pba, request.pbu, before, after)
        yield Send(request.source, self._scheme.answer(pba, request.asked))
        yield from self._scheme.follow_up(before, after, request.pbu)

    def _put(self, before: BindingCacheEntry | None, bce: BindingCacheEntry) -> Iterator[Action]:
        """The only writer: forwarding follows from the entry, so that no branch can forget it."""
        self.binding_cache.put(bce)
        old, new = self._scheme.forwarding(before) if before else None, self._scheme.forwarding(bce)
        if old != new:
            yield Forward(bce.mn_id, bce.hnps, new)
        if new.held != bool(old and old.held):
            yield Note("hold-started" if new.held else "hold-released", bce.mn_id)

    def _renewed(
        self, pbu: ProxyBindingUpdate, bce: BindingCacheEntry, coa: IPv6Address, now: float
    ) -> BindingCacheEntry:
        lifetime = min(pbu.lifetime, self._max_lifetime)
        assert pbu.access_technology is not None
        return replace(
            self._heard(pbu, bce),
            state=State.REGISTERED,
            proxy_coa=coa,
            access_technology=pbu.access_technology,
            mn_ll_id=pbu.mn_ll_id,
            lifetime=lifetime,
            expires=now + lifetime,
            link_local=self._link_local(pbu, bce),
        )

    @staticmethod
    def _heard(pbu: ProxyBindingUpdate, bce: BindingCacheEntry) -> BindingCacheEntry:
        return replace(bce, sequence=pbu.sequence, timestamp=pbu.timestamp or bce.timestamp)

    def _assign(self, mn_id: MnId, requested: tuple[IPv6Network, ...]) -> tuple[IPv6Network, ...] | Status:
        """The prefixes of a new session (section 5.3.2, points 1 and 2)."""
        fixed = self.domain.mobile_nodes[mn_id].prefixes
        wanted = tuple(prefix for prefix in requested if prefix != ALL_ZERO_PREFIX)
        if wanted and not set(wanted) <= set(fixed):
            return Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX
        if fixed:
            free = tuple(prefix for prefix in wanted or fixed if self.binding_cache.owner(prefix) is None)
            return free or Status.INSUFFICIENT_RESOURCES
        prefix = self._pool.allocate(mn_id)
        return (prefix,) if prefix else Status.INSUFFICIENT_RESOURCES

    def _remove(self, bce: BindingCacheEntry) -> None:
        self.binding_cache.remove(bce)
        self._release(bce)

    def _release(self, bce: BindingCacheEntry) -> None:
        for prefix in bce.hnps:
            self._pool.release(prefix)

    @staticmethod
    def _link_local(pbu: ProxyBindingUpdate, bce: BindingCacheEntry | None) -> IPv6Address | None:
        """Section 5.3.6: what the MAG names is kept; ALL_ZERO asks for the session's, or for a new one."""
        known = bce.link_local if bce else None
        if pbu.link_local is None:
            return known
        return pbu.link_local if pbu.link_local != ALL_ZERO_ADDRESS else known or MAG_LINK_LOCAL

    def _refused(self, request: Request, status: Status, reason: str = "") -> Iterator[Action]:
        reason = reason or status.name.lower().replace("_", "-")
        yield Note(f"refused-{reason}", request.pbu.mn_id, request.source)
        yield self._refuse(request, status)

    def _refuse(self, request: Request, status: Status) -> Send:
        hnps = request.pbu.hnps or (ALL_ZERO_PREFIX,)
        pba = self._answer(request, status, 0, hnps, request.pbu.link_local)
        return Send(request.source, self._scheme.answer(pba, request.asked))

    def _answer(
        self,
        request: Request,
        status: Status,
        lifetime: int,
        hnps: tuple[IPv6Network, ...],
        link_local: IPv6Address | None,
    ) -> ProxyBindingAck:
        """Section 5.3.6: what is echoed, and what only a request that had it gets back."""
        pbu = request.pbu
        disordered = status in (Status.TIMESTAMP_MISMATCH, Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED)
        timestamp = Timestamp.from_utc(request.utc) if disordered else pbu.timestamp
        handoff = HandoffIndicator.RESERVED if pbu.handoff_indicator is None else pbu.handoff_indicator
        technology = AccessTechnologyType.RESERVED if pbu.access_technology is None else pbu.access_technology
        return ProxyBindingAck(
            status=status,
            sequence=pbu.sequence,
            lifetime=lifetime,
            mn_id=pbu.mn_id or MnId(1, b""),
            hnps=hnps,
            handoff_indicator=handoff,
            access_technology=technology,
            mn_ll_id=pbu.mn_ll_id,
            link_local=None if pbu.link_local is None else link_local,
            timestamp=timestamp,
        )
