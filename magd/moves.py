"""An MN comes, goes, or is about to go (RFC 5213 sections 6.9.1.1 and 6.9.1.4): what the scheme says, or RFC 5213."""

from collections.abc import Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Note
from common.mh.messages import HandoffIndicator, MnId
from magd.binding_update_list import GONE, SERVED, BindingUpdateListEntry, State, unserved
from magd.config import MagdConfig
from magd.handover.pmipv6 import Pmipv6
from magd.profiles import Profile, Profiles
from magd.sessions import Sessions


class Moves:
    """`previous_mags`: whence an MN comes that is to come, as far as a link layer said so."""

    def __init__(self, config: MagdConfig, scheme: Pmipv6, sessions: Sessions, profiles: Profiles) -> None:
        self.previous_mags: dict[MnId, IPv6Address] = {}
        self._scheme = scheme
        self._sessions = sessions
        self._profiles = profiles
        self.follow(config)

    def follow(self, config: MagdConfig) -> None:
        """Go on by another configuration."""
        self._lifetime = config.mag.lifetime

    def attached(self, profile: Profile, interface: str, now: float, *, anew: bool = False) -> Iterator[Action]:
        """`anew`: it has come in this moment, and may have been elsewhere before, whatever is known of it here."""
        mn_id = profile.mn_id
        entry = self._sessions.list.get(mn_id, profile.ll_id)
        if entry and entry.state in SERVED:
            here = replace(entry, interface=interface, probe=None)
            if entry.interface != interface:  # another access link of this MAG
                yield from self._sessions.store(entry, here)
            if anew and not entry.halted:
                refreshing = replace(here, state=State.REFRESHING, refresh_at=inf)
                yield from self._sessions.request(here, refreshing, self._lifetime, HandoffIndicator.UNKNOWN, now)
            yield self._sessions.advertisement(here)
            return
        if entry and entry.state is State.REGISTERING and entry.interface == interface:
            return
        announced = GONE | {State.FORWARDED}
        if entry and entry.state in announced and entry.present and entry.interface == interface and not anew:
            return  # it has not left yet
        yield Note("attached", mn_id, detail=interface)
        if profile.ll_id:
            yield from self._sessions.heard(None, profile.ll_id, None, now)
        previous_mag = self.previous_mags.pop(mn_id, None)
        new = BindingUpdateListEntry(
            mn_id=mn_id,
            mn_ll_id=profile.ll_id,
            interface=interface,
            lma=profile.lma,
            timestamp=entry.timestamp if entry else None,
            sequence=entry.sequence if entry else None,
        )
        if (steps := self._scheme.arrived(entry, new, previous_mag, now)) is not None:
            yield from self._sessions.steps(steps, now)
            return
        if entry and (known := self._scheme.resumed(entry)):
            back = replace(
                unserved(known, State.REGISTERING),
                interface=interface,
                present=True,
                nmag=None,
                lifetime=known.lifetime,
            )
            handoff = HandoffIndicator.BETWEEN_MAGS if entry.state is State.AWAITED else HandoffIndicator.UNKNOWN
            yield from self._sessions.request(entry, back, self._lifetime, handoff, now)
            yield self._sessions.advertisement(back)
            return
        yield from self._sessions.request(entry, new, self._lifetime, HandoffIndicator.UNKNOWN, now)

    def detached(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        if not entry.present:
            return
        yield Note("detached", entry.mn_id, detail=entry.interface)
        if entry.state in (State.DEREGISTERING, State.LEFT, State.FORWARDED):  # announced, and now it has happened
            yield from self._sessions.store(entry, replace(entry, present=False))
            return
        if entry.state is State.REFUSED:
            yield from self._sessions.remove(entry)
            return
        if (steps := self._scheme.left(entry, now)) is not None:
            yield from self._sessions.steps(steps, now)
            return
        gone = replace(unserved(entry, State.DEREGISTERING), present=False, lifetime=entry.lifetime, handover=None)
        yield from self._sessions.request(entry, gone, 0, HandoffIndicator.UNKNOWN, now)

    def expired(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        """Its context has. An MN that was to leave and is still here goes on being served; where no carrier tells, it
        is asked whether it is."""
        can_tell = self._profiles.carrier_tells(entry.interface) or not self._sessions.can_be_asked(entry)
        if entry.present and not can_tell:
            if (look := self._sessions.probe(replace(entry, expires=inf), now)) is not None:
                yield from look
                return
            self._sessions.lose(entry.mac)
        yield Note("context-expired", entry.mn_id)
        profile = self._profiles.of(entry.mn_id, ll_id=entry.mn_ll_id, interface=entry.interface)
        if entry.present and can_tell and profile:
            yield from self.attached(profile, entry.interface, now, anew=True)
        else:
            yield from self._sessions.remove(entry)

    def can_announce(self, mn_id: MnId, nmag: IPv6Address | None) -> bool:
        """Whether `announce` would do anything."""
        return any(True for _ in self._announced(mn_id, nmag))

    def announce(self, mn_id: MnId, nmag: IPv6Address | None, now: float) -> list[Action]:
        """The MN is about to leave for that MAG: it is de-registered while it is still served."""
        actions: list[Action] = []
        for entry in self._sessions.list.of(mn_id):
            if entry.state in SERVED and (steps := self._scheme.prepared(entry, nmag, now)) is not None:
                actions += [Note("handover-announced", mn_id, nmag), *self._sessions.steps(steps, now)]
        if actions:
            return actions
        for entry, going in self._announced(mn_id, nmag):
            actions.append(Note("handover-announced", mn_id, going.nmag))
            actions += self._sessions.request(entry, going, 0, HandoffIndicator.UNKNOWN, now)
        return actions or [Note("handover-not-announced", mn_id)]

    def _announced(
        self, mn_id: MnId, nmag: IPv6Address | None
    ) -> Iterator[tuple[BindingUpdateListEntry, BindingUpdateListEntry]]:
        """Each interface's entry that is served, and what becomes of it when the MN is said to leave."""
        for entry in self._sessions.list.of(mn_id):
            if entry.state in SERVED and (going := self._scheme.announced(entry, nmag)):
                yield entry, going
