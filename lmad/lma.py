"""The local mobility anchor, RFC 5213 section 5, without sockets, clocks or kernel.

State lies in `binding_cache`, whose only writer is `sessions`; `registration` decides what a Proxy Binding Update leads
to, `revoking` and `heartbeats` have what RFC 5846 and RFC 5847 add; the scheme in `lmad/handover` decides what a
handover does to packets. Handlers are generators, so that they read as the protocol; what leaves the class is a list.
"""

from collections.abc import Callable, Iterable, Iterator
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Forward, Note, unexpected
from common.errors import DataPlaneError
from common.heartbeat import Fate, Heartbeats, PeerEvent
from common.mh.messages import (
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    Heartbeat,
    Message,
    MnId,
    ProxyBindingUpdate,
)
from lmad.assignment import Assignment
from lmad.binding_cache import BindingCache, State
from lmad.checks import Domain
from lmad.config import LmadConfig
from lmad.handover import SCHEMES
from lmad.handover.pmipv6 import Pmipv6
from lmad.hnp_pool import HnpPool
from lmad.registration import Registration
from lmad.revoking import Revoking
from lmad.sessions import Sessions
from lmad.waiting import Waiting

UNRECOGNIZED_MH_TYPE = 2  # status of a Binding Error, RFC 6275 section 6.1.9


class LocalMobilityAnchor:
    """The core. `now` is any clock that only rises, in seconds; `utc` turns it into seconds since 1970."""

    def __init__(self, config: LmadConfig, utc: Callable[[float], float], restart_counter: int = 0) -> None:
        lma = config.lma
        self.binding_cache = BindingCache()
        self.domain = _domain(config)
        self._scheme = SCHEMES[lma.scheme](config)
        self._waiting = Waiting(lma.max_delay_before_new_bce_assign)
        self._assignment = Assignment(config, self.binding_cache)
        self._sessions = Sessions(self.binding_cache, self._scheme, self._assignment, self._waiting)
        self.heartbeats = Heartbeats(lma.heartbeat_interval, lma.missing_heartbeats_allowed, restart_counter)
        self.revoking = Revoking(
            revocations=self._scheme.revocations,
            cache=self.binding_cache,
            waiting=self._waiting,
            holders=self._scheme.holders,
            end=self._sessions.end,
            release=self._sessions.release,
            identities=_identities(config),
        )
        self._registration = Registration(
            lma=lma,
            domain=self.domain,
            scheme=self._scheme,
            sessions=self._sessions,
            waiting=self._waiting,
            revoking=self.revoking,
            heartbeats=self.heartbeats,
            utc=utc,
        )

    def follow(self, config: LmadConfig, now: float) -> None:
        """Go on by another configuration; only what config.RELOADABLE lists may differ. Sessions stay as they are."""
        lma = config.lma
        self._scheme.follow(config)
        self._waiting.max_delay = lma.max_delay_before_new_bce_assign
        self.heartbeats.follow(lma.heartbeat_interval, lma.missing_heartbeats_allowed, now)
        self._assignment.follow(config)
        self.domain = _domain(config)
        self.revoking.identities = _identities(config)
        self._registration.follow(lma, self.domain)

    def started(self, sessions_lost: bool, now: float) -> list[Action]:
        """The first thing to do: tell every MAG when the sessions of the last life are gone (RFC 5847 section 3.2)."""
        for mag in sorted(self.domain.mags):
            if self.binding_cache.count_at(mag):
                self.heartbeats.watch(mag, now)
        return self.heartbeats.announce(sorted(self.domain.mags)) if sessions_lost else []

    @property
    def scheme(self) -> Pmipv6:
        return self._scheme

    @property
    def pool(self) -> HnpPool:
        return self._assignment.pool

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]:
        """A message from a MAG."""
        self._registration.forget_last_change()
        match message:
            case ProxyBindingUpdate():
                return list(self._registration.update(source, message, now))
            case _ if source not in self.domain.mags:
                return [Note("unauthorized-source", peer=source, detail=message.name)]
            case Heartbeat():
                actions, events = self.heartbeats.received(source, message, now)
                return [*actions, *self._peers_changed(events, now)]
            case BindingRevocationIndication():
                return list(self.revoking.indicated(source, message))
            case _:
                return list(self._other(source, message, now))

    def revoke(self, mn_id: MnId, now: float) -> list[Action]:
        """End every session of the MN (RFC 5846 section 8.1)."""
        self._registration.forget_last_change()
        return list(self.revoking.sessions_of(mn_id, now))

    def revoke_at(self, mag: IPv6Address, realm: str | None, now: float) -> list[Action]:
        """End every session at this MAG, or those of a realm."""
        self._registration.forget_last_change()
        return list(self.revoking.sessions_at(mag, realm, now))

    def deadline(self) -> float | None:
        moment = min(
            self.binding_cache.deadline(),
            self._waiting.deadline(),
            self._scheme.revocations.deadline(),
            self.heartbeats.deadline(),
        )
        return None if moment == inf else moment

    def expire(self, now: float) -> list[Action]:
        """End what has run out: lifetimes, waits, patience with peers."""
        self._registration.forget_last_change()
        if parked := self._waiting.due(now):  # by itself, for the kernel may refuse what it asks for
            return list(self._registration.resume(parked, now))
        actions: list[Action] = []
        for bce in self.binding_cache.due(now):
            if bce.expires <= now:
                deleted = bce.state is State.DEREGISTERED
                reason = "binding-deleted" if deleted else f"{bce.state.value}-binding-expired"
                actions += [*self._sessions.end(bce), Note(reason, bce.mn_id, bce.proxy_coa)]
            else:
                after, extra = self._scheme.expired(bce, now)
                actions += [*self._sessions.put(bce, after), *extra]
        actions += self.revoking.expire(now)
        beats, events = self.heartbeats.expire(now, lambda mag: self.binding_cache.count_at(mag) > 0)
        return [*actions, *beats, *self._peers_changed(events, now)]

    def forwarding_failed(self, forward: Forward, error: DataPlaneError, _now: float) -> list[Action]:
        return self._registration.forwarding_failed(forward, error)

    def _other(self, source: IPv6Address, message: Message, now: float) -> Iterator[Action]:
        """Answers to what this anchor asked, and the scheme's own messages."""
        if isinstance(message, BindingRevocationAck) and (
            concluded := self.revoking.acknowledged(source, message, now)
        ):
            yield from concluded
            return
        if (pbu := self._scheme.as_update(message)) is not None:
            yield from self._registration.requested(source, message, pbu, now)
            return
        if isinstance(message, BindingError) and message.status == UNRECOGNIZED_MH_TYPE:
            if self.heartbeats.not_recognized(source):
                yield Note("heartbeat-not-supported", peer=source)
                return
            yield from self.revoking.not_recognized(source, now)
        answer = self._scheme.received(source, message, self.binding_cache, now)
        if answer is None:
            if isinstance(message, BindingRevocationAck):  # RFC 5846 section 6.2.2: silently discarded
                yield Note("bra-without-bri", message.mn_id, source)
            else:
                yield from unexpected(source, message)
            return
        after, extra = answer
        if after is not None:
            before = self.binding_cache.owner(after.key)
            assert before is not None
            yield from self._sessions.put(before, after)
        yield from extra

    def _peers_changed(self, events: Iterable[PeerEvent], now: float) -> Iterator[Action]:
        """A MAG that restarted has forgotten what it registered before (RFC 5847 section 3)."""
        for event in events:
            if event.fate is not Fate.RESTARTED:
                continue
            for bce in self.binding_cache.at(event.peer):
                if bce.state is not State.REGISTERED:
                    continue
                if bce.registered_at <= event.known_until:
                    yield from self._sessions.release(bce, now)
                else:  # before or after the restart: the MAG will say
                    yield from self.revoking.verify(bce, now)


def _domain(config: LmadConfig) -> Domain:
    lma = config.lma
    return Domain(
        frozenset(mag.address for mag in config.mag),
        {MnId.nai(node.mn_id): node for node in config.mobile_node},
        lma.timestamp_validity_window,
        lma.timestamp_based_approach_in_use,
        lma.mobile_node_generated_timestamp_in_use,
        {MnId.nai(node.mn_id): frozenset(node.mags) for node in config.mobile_node if node.mags},
    )


def _identities(config: LmadConfig) -> dict[IPv6Address, MnId]:
    return {mag.address: MnId.nai(mag.identity) for mag in config.mag if mag.identity}
