"""The binding update list's only writer: what is stored, requested, advertised and looked for follows from here.

Forwarding and withdrawals follow from an entry's change, so that no branch of the core can forget them.
"""

from collections.abc import Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network

from common.actions import Action, Advertise, Forward, Forwarding, Note, Send, Solicit
from common.mh.messages import HandoffIndicator
from magd.acknowledgement import advertise_in
from magd.binding_update_list import (
    INITIAL_BINDACK_TIMEOUT,
    SERVED,
    TRANSITIONS,
    BindingUpdateList,
    BindingUpdateListEntry,
    Deferred,
    Outstanding,
    Probe,
    State,
)
from magd.config import MagdConfig
from magd.handover.pmipv6 import Pmipv6
from magd.numbering import Numbering
from magd.presence import MAX_UNICAST_SOLICIT, Presence, interval
from magd.profiles import Profiles
from magd.requests import Requests
from magd.steps import Announcement, Farewell, Removal, Request, Step

DEFAULT_MTU = 1460  # of a tunnel, over a link of 1500 octets
WITHOUT_SERVICE = frozenset({State.REFUSED, State.REGISTERING})  # on the link, but not served


class Sessions:
    """`tunnel_mtu` and `link_mtu` are what the shell has found out: octets, by LMA and by access interface."""

    def __init__(self, config: MagdConfig, profiles: Profiles, scheme: Pmipv6, numbering: Numbering) -> None:
        self.list = BindingUpdateList()
        self.tunnel_mtu: dict[IPv6Address, int] = {}
        self.link_mtu: dict[str, int] = {}
        self._mag = config.mag
        self._scheme = scheme
        self._requests = Requests(config, profiles, numbering)
        self._presence = Presence()

    def follow(self, config: MagdConfig) -> None:
        """Go on by another configuration."""
        self._mag = config.mag

    # Requests to the LMA.

    def request(
        self,
        before: BindingUpdateListEntry | None,
        entry: BindingUpdateListEntry,
        lifetime: int,
        handoff: HandoffIndicator,
        now: float,
        *,
        timeout: float = INITIAL_BINDACK_TIMEOUT,
    ) -> Iterator[Action]:
        """Store the entry with a PBU outstanding, and send it; later, if three have gone out within a second."""
        if (at := self._requests.pace.earliest(entry, now)) > now:
            yield Note("request-deferred", entry.mn_id, entry.lma)
            yield from self.store(before, replace(entry, outstanding=None, deferred=Deferred(lifetime, handoff, at)))
            return
        self._requests.pace.sent(entry, now)
        pbu = self._requests.make(entry, lifetime, handoff, now)
        request, behind = self._scheme.request(entry, pbu)
        yield Send(entry.lma, request)
        yield from behind
        outstanding = Outstanding(pbu=request, sent=now, timeout=timeout)
        entry = replace(entry, timestamp=pbu.timestamp or entry.timestamp, sequence=pbu.sequence)
        yield from self.store(before, replace(entry, outstanding=outstanding, deferred=None, halted=False))

    def retransmit(self, entry: BindingUpdateListEntry, outstanding: Outstanding, now: float) -> Iterator[Action]:
        if (at := self._requests.pace.earliest(entry, now)) > now:
            put_off = replace(outstanding, sent=at - outstanding.timeout)
            yield from self.store(entry, replace(entry, outstanding=put_off))
            return
        self._requests.pace.sent(entry, now)
        again = self._requests.again(entry, outstanding, now)
        yield Send(entry.lma, again.pbu)
        timestamp = again.pbu.timestamp or entry.timestamp
        yield from self.store(
            entry, replace(entry, outstanding=again, timestamp=timestamp, sequence=again.pbu.sequence)
        )

    def farewell(self, entry: BindingUpdateListEntry, hnps: tuple[IPv6Network, ...], now: float) -> Iterator[Action]:
        """Tell the LMA that these prefixes are not used here; it answers, but nobody waits for that."""
        self._requests.pace.sent(entry, now)
        pbu = self._requests.make(replace(entry, hnps=hnps), 0, HandoffIndicator.UNKNOWN, now)
        yield Send(entry.lma, pbu)

    # Signs of life (section 6.13).

    def heard(
        self, entry: BindingUpdateListEntry | None, ll_id: bytes, address: IPv6Address | None, now: float
    ) -> Iterator[Action]:
        """The interface came, or said something; `entry` is what it has here. What waited for it goes on."""
        self._presence.heard(ll_id, address, now)
        if entry and entry.probe:
            yield from self.store(entry, replace(entry, probe=None))

    def addresses_of(self, entry: BindingUpdateListEntry) -> tuple[IPv6Address, ...]:
        """What addresses the MN has, as far as it has said so."""
        return self._presence.said(entry.mac) if entry.mac else ()

    def can_be_asked(self, entry: BindingUpdateListEntry) -> bool:
        return self._mag.verify_presence and entry.mac is not None

    def is_there(self, entry: BindingUpdateListEntry, now: float) -> bool:
        """Whether nothing more need be known of it: it was heard from, or cannot or shall not be asked."""
        if not self.can_be_asked(entry) or entry.mac is None:
            return True
        return self._presence.is_fresh(entry.mac, entry.lifetime, now)

    def lose(self, ll_id: bytes | None) -> None:
        """It was asked often enough: should it speak again, it comes anew."""
        if ll_id is not None:
            self._presence.lost.add(ll_id)

    def was_lost(self, ll_id: bytes) -> bool:
        return ll_id in self._presence.lost

    def probe(self, entry: BindingUpdateListEntry, now: float) -> list[Action] | None:
        """Ask it once more; None when it has been asked often enough."""
        asked = entry.probe.sent if entry.probe else 0
        if asked == MAX_UNICAST_SOLICIT or entry.mac is None:
            return None
        next_step = Probe(asked + 1, now + interval(entry.lifetime))
        addresses = self._presence.addresses(entry.mac, entry.hnps)
        ask = Solicit(entry.interface, entry.mac, addresses, entry.link_local)
        return [ask, *self.store(entry, replace(entry, probe=next_step))]

    # Advertisements.

    def advertisement(self, entry: BindingUpdateListEntry) -> Advertise:
        lifetime = entry.lifetime or self._mag.lifetime
        return Advertise(entry.interface, entry.mac, entry.hnps, lifetime, self._mtu(entry), router=entry.link_local)

    def advertise(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        """The next unsolicited one."""
        yield from self.store(entry, replace(entry, advertise_at=now + advertise_in(entry.lifetime)))
        yield self.advertisement(entry)

    def _withdrawal(
        self, before: BindingUpdateListEntry | None, after: BindingUpdateListEntry | None
    ) -> Iterator[Advertise]:
        """Section 6.12: an MN that is still here learns at once which prefixes are not its any more."""
        if before is None or before.state not in SERVED or not before.present:
            return
        if after is not None and (after.state not in SERVED | WITHOUT_SERVICE or not after.present):
            return
        kept = after.hnps if after and after.state in SERVED else ()
        lost = tuple(hnp for hnp in before.hnps if hnp not in kept)
        if lost:
            lifetime = after.lifetime if after and kept else 0
            yield Advertise(
                before.interface,
                before.mac,
                kept,
                lifetime,
                self._mtu(before),
                withdrawn=lost,
                router=before.link_local,
            )

    def _mtu(self, entry: BindingUpdateListEntry) -> int:
        """Section 6.9.5: the tunnel's, or the access link's if that is lower."""
        tunnel = self.tunnel_mtu.get(entry.lma, DEFAULT_MTU)
        return min(tunnel, self.link_mtu.get(entry.interface, tunnel))

    # The list itself.

    def steps(self, steps: Iterable[Step], now: float) -> Iterator[Action]:
        for step in steps:
            match step:
                case BindingUpdateListEntry():
                    yield from self.store(self.list.get(step.mn_id, step.mn_ll_id), step)
                case Removal(entry):
                    yield from self.remove(entry)
                case Request(entry, handoff, lifetime, timeout):
                    before = self.list.get(entry.mn_id, entry.mn_ll_id)
                    lifetime = self._mag.lifetime if lifetime is None else lifetime
                    yield from self.request(before, entry, lifetime, handoff, now, timeout=timeout)
                case Announcement(entry):
                    yield self.advertisement(entry)
                case Farewell(entry, hnps):
                    yield from self.farewell(entry, hnps, now)
                case _:
                    yield step

    def store(self, before: BindingUpdateListEntry | None, entry: BindingUpdateListEntry) -> Iterator[Action]:
        assert entry.state in TRANSITIONS[before.state if before else None], (before, entry)
        if before and before.mn_ll_id != entry.mn_ll_id:
            self.list.remove(before)
        self.list.store(entry)
        yield from self._reforward(before, entry)

    def remove(self, entry: BindingUpdateListEntry) -> Iterator[Action]:
        assert None in TRANSITIONS[entry.state], entry
        before = self.list.get(entry.mn_id, entry.mn_ll_id)
        assert before is not None
        self.list.remove(before)
        yield from self._reforward(before, None)
        yield Note("removed", entry.mn_id)

    def forwarding(self, entry: BindingUpdateListEntry) -> Forwarding | None:
        """How the kernel treats the MN's packets.

        However long a scheme keeps the path of an MN that left: its neighbours reach it by way of the LMA from then on.
        """
        forwarding = self._scheme.forwarding(entry)
        if forwarding and entry.present and self._mag.enable_mag_local_routing:
            return replace(forwarding, direct=True)
        return forwarding

    def _reforward(
        self, before: BindingUpdateListEntry | None, after: BindingUpdateListEntry | None
    ) -> Iterator[Action]:
        old = self.forwarding(before) if before else None
        new = self.forwarding(after) if after else None
        was_held = old is not None and old.held
        if before and old and (not after or not new or after.hnps != before.hnps):
            yield Forward(before.mn_id, before.hnps, None)
            old = None
        if after and new and new != old:
            yield Forward(after.mn_id, after.hnps, new)
            if new.held != was_held:
                yield Note("hold-started" if new.held else "hold-released", after.mn_id)
        yield from self._withdrawal(before, after)
