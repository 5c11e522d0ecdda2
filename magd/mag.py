"""The mobile access gateway, RFC 5213 section 6, without sockets, clocks or kernel.

`attached`, `detached`, `solicited` and `heard` come from the attachment sources, `receive` from an LMA. State lies in
the binding update list, whose only writer is `sessions.py`; `moves.py` decides what follows when an MN comes or goes,
`acknowledgement.py` what an answer of the LMA leads to. The scheme in `magd/handover` decides what a handover does to
packets.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Forward, Note, unexpected
from common.errors import DataPlaneError
from common.mh.messages import HandoffIndicator, Message, MnId, ProxyBindingAck, ProxyBindingUpdate
from magd.acknowledgement import answers, consequences
from magd.anchors import Anchors
from magd.binding_update_list import GONE, SERVED, BindingUpdateListEntry, State, unserved
from magd.config import MagdConfig
from magd.handover import SCHEMES
from magd.handover.pmipv6 import Pmipv6
from magd.moves import Moves
from magd.numbering import Numbering
from magd.profiles import Profiles
from magd.sessions import Sessions


class MobileAccessGateway:
    """The core. `now` is any clock that only rises, in seconds; `utc` turns it into seconds since 1970."""

    def __init__(
        self, config: MagdConfig, utc: Callable[[float], float], sequence: int = 0, restart_counter: int = 0
    ) -> None:
        self.numbering = Numbering(utc, sequence, config.mag.timestamp_based_approach_in_use)
        self.profiles = Profiles(config)
        self._scheme = SCHEMES[config.mag.scheme](config, self.numbering)
        self.sessions = Sessions(config, self.profiles, self._scheme, self.numbering)
        self.binding_update_list = self.sessions.list
        self._mag = config.mag
        self._lmas = frozenset(config.lmas)
        self.anchors = Anchors(config.mag, self._scheme, restart_counter)
        self._moves = Moves(config, self._scheme, self.sessions, self.profiles)

    def follow(self, config: MagdConfig, now: float) -> list[Action]:
        """Go on by another configuration; only what config.RELOADABLE lists may differ, and no new LMA.

        Who has no profile any more is de-registered; whoever has got one is served once its link is reported up.
        """
        known = Profiles(config)
        entries = self.binding_update_list.values()
        gone = [entry for entry in entries if entry.present and not known.has(entry.mn_id, entry.mn_ll_id)]
        actions = [action for entry in gone for action in self._moves.detached(entry, now)]
        self._mag = config.mag
        self.numbering.timestamps = config.mag.timestamp_based_approach_in_use
        self.anchors.heartbeats.follow(config.mag.heartbeat_interval, config.mag.missing_heartbeats_allowed, now)
        self.profiles.follow(config)
        self.sessions.follow(config)
        self._moves.follow(config)
        self._scheme.follow(config)
        return actions

    @property
    def scheme(self) -> Pmipv6:
        return self._scheme

    def has_profile(self, mn_id: MnId, ll_id: bytes | None) -> bool:
        return self.profiles.has(mn_id, ll_id)

    # What the attachment sources report.

    def link_up(self, interface: str, now: float) -> list[Action]:
        """The carrier came on an access link; on a link that belongs to one MN this is its attachment."""
        profile = self.profiles.on_link(interface)
        return list(self._moves.attached(profile, interface, now)) if profile else []

    def link_down(self, interface: str, now: float) -> list[Action]:
        """The carrier went: whoever was on this link has left."""
        self.profiles.forget_strangers(interface)
        gone = [entry for entry in self.binding_update_list.values() if entry.interface == interface]
        actions = [action for entry in gone for action in self._moves.detached(entry, now)]
        return actions + self._scheme.idle(interface)

    def solicited(
        self, interface: str, ll_id: bytes, attach: bool, now: float, source: IPv6Address | None = None
    ) -> list[Action]:
        """A Router Solicitation; with `attach` it also announces an MN that was not known to be here."""
        profile = self.profiles.on_link(interface, ll_id)
        if profile is None:
            return [self._stranger(ll_id.hex(":"), interface)]
        actions = self.heard(interface, ll_id, source, now)
        entry = self.binding_update_list.get(profile.mn_id, profile.ll_id)
        # Where no carrier tells who comes, this does, also of one that was thought to be here all the time.
        anew = attach and not self.profiles.carrier_tells(interface)
        if entry and entry.state in SERVED and entry.interface == interface and not anew:
            return [*actions, self.sessions.advertisement(entry)]
        if entry and entry.state in (State.REGISTERING, State.REFUSED) and entry.interface == interface:
            return actions  # 6.9.2: answered once registered
        return [*actions, *self._moves.attached(profile, interface, now, anew=anew)] if attach else actions

    def heard(self, interface: str, ll_id: bytes, address: IPv6Address | None, now: float) -> list[Action]:
        """An MN said something on an access link: it is there (section 6.13)."""
        profile = self.profiles.on_link(interface, ll_id)
        if profile is None or profile.ll_id != ll_id:
            return []
        entry = self.binding_update_list.get(profile.mn_id, ll_id)
        here = entry if entry and entry.present and entry.interface == interface else None
        # One that was lost; or that was to leave, and is asked whether it has.
        lost = entry is None and self.sessions.was_lost(ll_id)
        back = lost or bool(here and here.probe and here.state is State.LEFT)
        actions = list(self.sessions.heard(here, ll_id, address, now))
        return [*actions, *self._moves.attached(profile, interface, now, anew=True)] if back else actions

    def attached(
        self, mn_id: MnId, interface: str, now: float, previous_mag: IPv6Address | None = None
    ) -> list[Action]:
        """The MN is on this access link (section 6.9.1.1), and came from that MAG if the link layer can tell."""
        profile = self.profiles.of(mn_id, interface=interface)
        if profile is None:
            return [self._stranger(mn_id, interface)]
        if previous_mag:
            self._moves.previous_mags[mn_id] = previous_mag
        return list(self._moves.attached(profile, interface, now, anew=True))

    def expected(self, mn_id: MnId, previous_mag: IPv6Address) -> list[Action]:
        """Should the MN come, it comes from that MAG: what a link layer may tell ahead of its carrier."""
        self._moves.previous_mags[mn_id] = previous_mag
        return [Note("expected", mn_id, previous_mag)]

    def detached(self, mn_id: MnId, now: float) -> list[Action]:
        """The MN has left, with all its interfaces (section 6.9.1.4)."""
        return [action for entry in self.binding_update_list.of(mn_id) for action in self._moves.detached(entry, now)]

    @property
    def predictive(self) -> bool:
        """Whether `handover` does anything under this scheme."""
        return self._scheme.predictive

    def can_announce(self, mn_id: MnId, nmag: IPv6Address | None) -> bool:
        """Whether `handover` would do anything."""
        return self._moves.can_announce(mn_id, nmag)

    def handover(self, mn_id: MnId, nmag: IPv6Address | None, now: float) -> list[Action]:
        """The MN is about to leave for that MAG: it is de-registered while it is still served."""
        return self._moves.announce(mn_id, nmag, now)

    # What the LMA, the clock and the kernel say.

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]:
        mn_id: MnId | None = getattr(message, "mn_id", None)
        entry = self._meant(message, mn_id)
        from_peer = source in self._scheme.peers and not isinstance(message, ProxyBindingAck)
        if not from_peer and not self._is_lma_of(source, entry, mn_id):
            return [Note("unauthorized-source", mn_id, source, message.name)]
        match message:
            case ProxyBindingAck():
                return list(self._acknowledged(source, message, entry, now))
            case _:
                return list(self._other(source, message, entry, now))

    def deadline(self) -> float | None:
        beats = self.anchors.heartbeats.deadline()
        moment = self.binding_update_list.deadline()
        return moment if beats == inf else min(beats, beats if moment is None else moment)

    def expire(self, now: float) -> list[Action]:
        actions = [action for entry in self.binding_update_list.due(now) for action in self._expired(entry, now)]
        return [*actions, *self.sessions.steps(self.anchors.expire(now, self.binding_update_list.values), now)]

    def started(self, sessions_lost: bool, now: float) -> list[Action]:
        """The first thing to do: tell the LMAs when the sessions of the last life are gone (RFC 5847 section 3.2)."""
        for entry in self.binding_update_list.values():
            if entry.state in SERVED:
                self.anchors.heartbeats.watch(entry.lma, now)
        return self.anchors.heartbeats.announce(sorted(self._lmas)) if sessions_lost else []

    def path_mtu(self, lma: IPv6Address, mtu: int) -> list[Action]:
        """The tunnel to this LMA takes packets of up to `mtu` octets now: who uses it is told (section 6.9.5)."""
        if self.sessions.tunnel_mtu.get(lma) == mtu:
            return []
        known = lma in self.sessions.tunnel_mtu
        self.sessions.tunnel_mtu[lma] = mtu
        served = [each for each in self.binding_update_list.values() if each.lma == lma and each.state in SERVED]
        note = [Note("tunnel-mtu-changed", peer=lma, detail=f"{mtu} octets")] if known else []
        return [*note, *map(self.sessions.advertisement, served)]

    def link_mtu(self, interface: str, mtu: int) -> list[Action]:
        """The access link takes packets of up to `mtu` octets now."""
        if self.sessions.link_mtu.get(interface) == mtu:
            return []
        self.sessions.link_mtu[interface] = mtu
        entries = self.binding_update_list.values()
        served = [each for each in entries if each.interface == interface and each.state in SERVED]
        return [self.sessions.advertisement(entry) for entry in served]

    def forwarding_failed(self, forward: Forward, error: DataPlaneError, now: float) -> list[Action]:
        """The kernel refused what the last call asked for: the MN is not served and the LMA hears of it."""
        note = Note("data-plane-refused", forward.mn_id, detail=str(error))
        entry = self.binding_update_list.holding(forward.mn_id, forward.hnps)
        if entry is None or forward.forwarding is None:
            return [note]
        if entry.state is State.AWAITED:
            return [note, *self.sessions.remove(entry), *self._scheme.unprepared(entry)]
        # One that has left and was de-registered has nothing more to take back.
        farewell = [] if entry.state in GONE else self.sessions.farewell(entry, entry.hnps, now)
        if not entry.present:
            return [note, *self.sessions.remove(entry), *farewell]
        self.binding_update_list.store(replace(unserved(entry, State.REFUSED), hnps=(), handover=None))
        return [note, Forward(entry.mn_id, entry.hnps, None), *farewell]

    def _acknowledged(
        self, source: IPv6Address, pba: ProxyBindingAck, entry: BindingUpdateListEntry | None, now: float
    ) -> Iterator[Action]:
        yield from self.sessions.steps(self._scheme.heard(pba, entry), now)
        entry = self._meant(pba, pba.mn_id)
        if entry is None or not answers(entry, pba):
            yield Note("pba-without-pbu", pba.mn_id, source)
        else:
            profile = self.profiles.of(entry.mn_id, ll_id=entry.mn_ll_id, interface=entry.interface)
            taken = self.sessions.addresses_of(entry)
            yield from self.sessions.steps(consequences(entry, pba, self._scheme, profile, now, taken=taken), now)
            after = self.binding_update_list.get(entry.mn_id, entry.mn_ll_id)
            if after and after.state in SERVED:
                self.anchors.heartbeats.watch(source, now)

    def _expired(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        if entry.handover and entry.handover.deadline <= now:
            yield from self.sessions.steps(self._scheme.expired(entry, now), now)
        elif entry.deferred and entry.deferred.at <= now:
            waited = replace(entry, deferred=None)
            deferred = entry.deferred
            yield from self.sessions.request(entry, waited, deferred.lifetime, deferred.handoff_indicator, now)
        elif entry.state is State.DEREGISTERING:  # 6.9.1.4: the answer is not waited for longer than this
            if entry.outstanding and isinstance(entry.outstanding.pbu, ProxyBindingUpdate):
                yield Note("deregistration-unanswered", entry.mn_id, entry.lma)
            yield from self.sessions.steps(self._scheme.deregistered(entry, None, now), now)
        elif entry.state in (State.LEFT, State.AWAITED):
            yield from self._moves.expired(entry, now)
        elif entry.expires <= now:
            yield Note("registration-expired", entry.mn_id, entry.lma)
            if entry.halted:
                yield from self.sessions.store(entry, unserved(entry, State.REFUSED))
                return
            without = unserved(entry, State.REGISTERING)
            yield from self.sessions.request(entry, without, self._mag.lifetime, HandoffIndicator.UNKNOWN, now)
        else:
            yield from self._due(entry, now)

    def _due(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        """Something is to be said to the MN, or to the LMA of one that is there (section 6.13)."""
        if entry.probe and entry.probe.at <= now:
            if (again := self.sessions.probe(entry, now)) is not None:
                yield from again
                return
            yield Note("unreachable", entry.mn_id, detail=f"{entry.interface}: no answer to neighbour solicitations")
            self.sessions.lose(entry.mac)
            yield from self._moves.detached(entry, now)
        elif entry.advertise_at <= now:
            yield from self.sessions.advertise(entry, now)
        elif not self.sessions.is_there(entry, now) and (look := self.sessions.probe(entry, now)) is not None:
            yield from look
        elif entry.outstanding and entry.outstanding.resend_at <= now:
            yield from self.sessions.retransmit(entry, entry.outstanding, now)
        else:
            refreshing = replace(entry, state=State.REFRESHING, refresh_at=float("inf"))
            handoff = HandoffIndicator.NOT_CHANGED
            yield from self.sessions.request(entry, refreshing, self._mag.lifetime, handoff, now)

    def _other(
        self, source: IPv6Address, message: Message, entry: BindingUpdateListEntry | None, now: float
    ) -> Iterator[Action]:
        """What is no PBA: the scheme's own messages, from an LMA of ours or a MAG that the scheme works with."""
        steps = None
        if source not in self._scheme.peers:
            steps = self.anchors.received(source, message, self.binding_update_list.values, now)
        if steps is None:
            steps = self._scheme.received(source, message, entry, now)
        if steps is None:
            yield from unexpected(source, message)
        else:
            yield from self.sessions.steps(steps, now)

    def _meant(self, message: Message, mn_id: MnId | None) -> BindingUpdateListEntry | None:
        """The entry that a message is about: of that interface, or with those prefixes, or the MN's only one."""
        if mn_id is None:
            return None
        ll_id, hnps = getattr(message, "mn_ll_id", None), getattr(message, "hnps", ())
        if ll_id and (entry := self.binding_update_list.get(mn_id, ll_id)):
            return entry
        if hnps and (entry := self.binding_update_list.holding(mn_id, hnps)):
            return entry
        profile = self.profiles.of(mn_id, ll_id=ll_id)
        return self.binding_update_list.get(mn_id, profile.ll_id if profile else None)

    def _is_lma_of(self, source: IPv6Address, entry: BindingUpdateListEntry | None, mn_id: MnId | None) -> bool:
        """Whether this MN's word is that LMA's; what is about no MN may come from any of ours."""
        if entry is not None:
            return source == entry.lma
        profile = self.profiles.of(mn_id) if mn_id else None
        return source == profile.lma if profile else source in self._lmas

    def _stranger(self, who: object, interface: str) -> Note:
        new = self.profiles.is_new_stranger(who, interface)
        return Note("unknown-mobile-node", detail=f"{who} on {interface} has no policy profile", logged=new)
