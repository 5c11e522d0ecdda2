"""The mobile access gateway, RFC 5213 section 6, without sockets, clocks or kernel.

`attached`, `detached` and `solicited` come from the attachment sources, `receive` from the LMA. State lies in the
binding update list; `acknowledgement.py` decides what an answer of the LMA leads to. The scheme in `magd/handover`
decides what a handover does to packets.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Advertise, Forward, Note, Send, unexpected
from common.errors import DataPlaneError
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
)
from magd.acknowledgement import advertise_in, answers, consequences
from magd.binding_update_list import (
    INITIAL_BINDACK_TIMEOUT,
    MAX_BINDACK_TIMEOUT,
    SERVED,
    TRANSITIONS,
    Announcement,
    BindingUpdateListEntry,
    Outstanding,
    Removal,
    Request,
    State,
    Step,
    unserved,
)
from magd.config import MagdConfig
from magd.handover import SCHEMES
from magd.numbering import Numbering

ADVERTISED_MTU = 1460  # of the tunnel, over a link of 1500 octets


class MobileAccessGateway:
    """The core. `now` is any clock that only rises, in seconds; `utc` turns it into seconds since 1970."""

    def __init__(self, config: MagdConfig, utc: Callable[[float], float], sequence: int = 0) -> None:
        self.binding_update_list: dict[MnId, BindingUpdateListEntry] = {}
        self.mtu = ADVERTISED_MTU
        self._mag = config.mag
        self.numbering = Numbering(utc, sequence, config.mag.timestamp_based_approach_in_use)
        self._scheme = SCHEMES[config.mag.scheme](config, self.numbering)
        self._ll_ids = {MnId.nai(node.mn_id): node.ll_id for node in config.mobile_node}
        self._by_ll_id: dict[bytes, MnId] = {
            node.ll_id: MnId.nai(node.mn_id) for node in config.mobile_node if node.ll_id
        }
        self._by_interface = {node.interface: MnId.nai(node.mn_id) for node in config.mobile_node if node.interface}

    # What the attachment sources report.

    def link_up(self, interface: str, now: float) -> list[Action]:
        """The carrier came on an access link; on a link that belongs to one MN this is its attachment."""
        mn_id = self._by_interface.get(interface)
        return self.attached(mn_id, interface, now) if mn_id else []

    def link_down(self, interface: str, now: float) -> list[Action]:
        """The carrier went: whoever was on this link has left."""
        gone = [entry.mn_id for entry in self.binding_update_list.values() if entry.interface == interface]
        actions = [action for mn_id in gone for action in self.detached(mn_id, now)]
        return actions + self._scheme.idle(interface)

    def solicited(self, interface: str, ll_id: bytes, attach: bool, now: float) -> list[Action]:
        """A Router Solicitation; with `attach` it also announces an MN that was not known to be here."""
        mn_id = self._by_ll_id.get(ll_id) or self._by_interface.get(interface)
        if mn_id is None:
            return [Note("unknown-mobile-node", detail=f"{ll_id.hex(':')} on {interface} has no policy profile")]
        entry = self.binding_update_list.get(mn_id)
        if entry and entry.state in SERVED and entry.interface == interface:
            return [self._advertisement(entry)]
        if entry and entry.state in (State.REGISTERING, State.REFUSED) and entry.interface == interface:
            return []  # 6.9.2: answered once registered
        return self.attached(mn_id, interface, now) if attach else []

    def attached(self, mn_id: MnId, interface: str, now: float) -> list[Action]:
        """The MN is on this access link (section 6.9.1.1)."""
        if mn_id not in self._ll_ids:
            return [Note("unknown-mobile-node", mn_id, detail=f"on {interface} has no policy profile")]
        return list(self._attached(mn_id, interface, now))

    def detached(self, mn_id: MnId, now: float) -> list[Action]:
        """The MN has left (section 6.9.1.4)."""
        return list(self._detached(mn_id, now))

    @property
    def predictive(self) -> bool:
        """Whether `handover` does anything under this scheme."""
        return self._scheme.predictive

    def can_announce(self, mn_id: MnId, nmag: IPv6Address | None) -> bool:
        """Whether `handover` would do anything."""
        entry = self.binding_update_list.get(mn_id)
        return entry is not None and entry.state in SERVED and self._scheme.announced(entry, nmag) is not None

    def handover(self, mn_id: MnId, nmag: IPv6Address | None, now: float) -> list[Action]:
        """The MN is about to leave for that MAG: it is de-registered while it is still served."""
        entry = self.binding_update_list.get(mn_id)
        going = self._scheme.announced(entry, nmag) if entry and entry.state in SERVED else None
        if going is None:
            return [Note("handover-not-announced", mn_id)]
        note = Note("handover-announced", mn_id, going.nmag)
        return [note, *self._request(entry, going, 0, HandoffIndicator.UNKNOWN, now)]

    # What the LMA, the clock and the kernel say.

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]:
        match message:
            case ProxyBindingAck():
                return list(self._acknowledged(source, message, now))
            case _:
                return list(self._other(source, message, now))

    def deadline(self) -> float | None:
        moment = min((entry.deadline for entry in self.binding_update_list.values()), default=inf)
        return None if moment == inf else moment

    def expire(self, now: float) -> list[Action]:
        due = [entry for entry in self.binding_update_list.values() if entry.deadline <= now]
        return [action for entry in due for action in self._expired(entry, now)]

    def forwarding_failed(self, forward: Forward, error: DataPlaneError, now: float) -> list[Action]:
        """The kernel refused what the last call asked for: the MN is not served and the LMA hears of it."""
        note = Note("data-plane-refused", forward.mn_id, detail=str(error))
        entry = self.binding_update_list.get(forward.mn_id)
        if entry is None or forward.forwarding is None:
            return [note]
        if entry.state is State.AWAITED:
            return [note, *self._remove(entry), *self._scheme.unprepared(entry)]
        self.binding_update_list[entry.mn_id] = replace(unserved(entry, State.REFUSED), hnps=())
        pbu = self._pbu(entry, 0, HandoffIndicator.UNKNOWN, now)
        return [note, Forward(entry.mn_id, entry.hnps, None), Send(entry.lma, pbu)]

    def _attached(self, mn_id: MnId, interface: str, now: float) -> Iterator[Action]:
        entry = self.binding_update_list.get(mn_id)
        if entry and entry.state in SERVED:
            if entry.interface != interface:  # another access link of this MAG: nothing that the LMA need know
                yield from self._store(entry, replace(entry, interface=interface))
            yield self._advertisement(entry)
            return
        if entry and entry.state is State.REGISTERING and entry.interface == interface:
            return
        yield Note("attached", mn_id, detail=interface)
        if entry and (known := self._scheme.resumed(entry)):
            back = replace(
                unserved(known, State.REGISTERING),
                interface=interface,
                present=True,
                nmag=None,
                lifetime=known.lifetime,
            )
            handoff = HandoffIndicator.BETWEEN_MAGS if entry.state is State.AWAITED else HandoffIndicator.UNKNOWN
            yield from self._request(entry, back, self._mag.lifetime, handoff, now)
            yield self._advertisement(back)
            return
        new = BindingUpdateListEntry(
            mn_id=mn_id,
            mn_ll_id=self._ll_ids.get(mn_id),
            interface=interface,
            lma=self._mag.lma,
            timestamp=entry.timestamp if entry else None,
        )
        yield from self._request(entry, new, self._mag.lifetime, HandoffIndicator.UNKNOWN, now)

    def _detached(self, mn_id: MnId, now: float) -> Iterator[Action]:
        entry = self.binding_update_list.get(mn_id)
        if entry is None or not entry.present:
            return
        yield Note("detached", mn_id, detail=entry.interface)
        if entry.state in (State.DEREGISTERING, State.LEFT):  # announced, and now it has happened
            yield from self._store(entry, replace(entry, present=False))
            return
        if entry.state is State.REFUSED:
            yield from self._remove(entry)
            return
        gone = replace(unserved(entry, State.DEREGISTERING), present=False, lifetime=entry.lifetime)
        yield from self._request(entry, gone, 0, HandoffIndicator.UNKNOWN, now)

    def _acknowledged(self, source: IPv6Address, pba: ProxyBindingAck, now: float) -> Iterator[Action]:
        entry = self.binding_update_list.get(pba.mn_id) if pba.mn_id else None
        if source != self._mag.lma:
            yield Note("unauthorized-source", pba.mn_id, source, pba.name)
            return
        yield from self._steps(self._scheme.heard(pba, entry), now)
        entry = self.binding_update_list.get(pba.mn_id) if pba.mn_id else None
        if entry is None or not answers(entry, pba):
            yield Note("pba-without-pbu", pba.mn_id, source)
        else:
            yield from self._steps(consequences(entry, pba, self._scheme, now), now)

    def _expired(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        if entry.state is State.DEREGISTERING:  # 6.9.1.4: the answer is not waited for longer than this
            if entry.outstanding and isinstance(entry.outstanding.pbu, ProxyBindingUpdate):
                yield Note("deregistration-unanswered", entry.mn_id, entry.lma)
            yield from self._steps(self._scheme.deregistered(entry, None, now), now)
        elif entry.state in (State.LEFT, State.AWAITED):
            yield Note("context-expired", entry.mn_id)
            if entry.present:  # the announced handover did not happen
                yield from self._attached(entry.mn_id, entry.interface, now)
            else:
                yield from self._remove(entry)
        elif entry.expires <= now:
            yield Note("registration-expired", entry.mn_id, entry.lma)
            without = unserved(entry, State.REGISTERING)
            yield from self._request(entry, without, self._mag.lifetime, HandoffIndicator.UNKNOWN, now)
        elif entry.outstanding and entry.outstanding.resend_at <= now:
            yield from self._retransmit(entry, entry.outstanding, now)
        elif entry.refresh_at <= now:
            refreshing = replace(entry, state=State.REFRESHING, refresh_at=inf)
            yield from self._request(entry, refreshing, self._mag.lifetime, HandoffIndicator.NOT_CHANGED, now)
        else:
            yield from self._store(entry, replace(entry, advertise_at=now + advertise_in(entry.lifetime)))
            yield self._advertisement(entry)

    def _request(
        self,
        before: BindingUpdateListEntry | None,
        entry: BindingUpdateListEntry,
        lifetime: int,
        handoff: HandoffIndicator,
        now: float,
    ) -> Iterator[Action]:
        """Store the entry with a PBU outstanding, and send it."""
        pbu = self._pbu(entry, lifetime, handoff, now)
        request, behind = self._scheme.request(entry, pbu)
        yield Send(entry.lma, request)
        yield from behind
        outstanding = Outstanding(pbu=request, sent=now)
        yield from self._store(before, replace(entry, outstanding=outstanding, timestamp=pbu.timestamp))

    def _retransmit(self, entry: BindingUpdateListEntry, outstanding: Outstanding, now: float) -> Iterator[Action]:
        """Section 6.9.4: the same request with a new sequence number and timestamp."""
        timestamp = self.numbering.timestamp(now, entry.timestamp)
        pbu = replace(outstanding.pbu, sequence=self.numbering.sequence(), timestamp=timestamp)
        timeout = min(max(outstanding.timeout * 2, INITIAL_BINDACK_TIMEOUT), MAX_BINDACK_TIMEOUT)
        again = Outstanding(pbu=pbu, sent=now, timeout=timeout)
        yield Send(entry.lma, pbu)
        yield from self._store(entry, replace(entry, outstanding=again, timestamp=timestamp))

    def _pbu(
        self, entry: BindingUpdateListEntry, lifetime: int, handoff: HandoffIndicator, now: float
    ) -> ProxyBindingUpdate:
        """Section 6.9.1.1; with fixed link-local addresses (RFC 6543) there is no Link-local Address option."""
        return ProxyBindingUpdate(
            sequence=self.numbering.sequence(),
            lifetime=lifetime,
            mn_id=entry.mn_id,
            hnps=entry.hnps or (ALL_ZERO_PREFIX,),
            handoff_indicator=handoff,
            access_technology=AccessTechnologyType(self._mag.access_technology),
            mn_ll_id=entry.mn_ll_id,
            timestamp=self.numbering.timestamp(now, entry.timestamp),
        )

    def _other(self, source: IPv6Address, message: Message, now: float) -> Iterator[Action]:
        """What is no PBA: the scheme's own messages, from our LMA only."""
        if source != self._mag.lma:
            yield Note("unauthorized-source", peer=source, detail=message.name)
            return
        mn_id = getattr(message, "mn_id", None)
        entry = self.binding_update_list.get(mn_id) if mn_id else None
        steps = self._scheme.received(source, message, entry, now)
        if steps is None:
            yield from unexpected(source, message)
        else:
            yield from self._steps(steps, now)

    def _steps(self, steps: Iterable[Step], now: float) -> Iterator[Action]:
        for step in steps:
            match step:
                case BindingUpdateListEntry():
                    yield from self._store(self.binding_update_list.get(step.mn_id), step)
                case Removal(entry):
                    yield from self._remove(entry)
                case Request(entry, handoff):
                    before = self.binding_update_list.get(entry.mn_id)
                    yield from self._request(before, entry, self._mag.lifetime, handoff, now)
                case Announcement(entry):
                    yield self._advertisement(entry)
                case _:
                    yield step

    def _store(self, before: BindingUpdateListEntry | None, entry: BindingUpdateListEntry) -> Iterator[Action]:
        """The only writer: forwarding follows from the entry, so that no branch can forget it."""
        assert entry.state in TRANSITIONS[before.state if before else None], (before, entry)
        self.binding_update_list[entry.mn_id] = entry
        yield from self._reforward(before, entry)

    def _remove(self, entry: BindingUpdateListEntry) -> Iterator[Action]:
        assert None in TRANSITIONS[entry.state], entry
        before = self.binding_update_list.pop(entry.mn_id)
        yield from self._reforward(before, None)
        yield Note("removed", entry.mn_id)

    def _reforward(
        self, before: BindingUpdateListEntry | None, after: BindingUpdateListEntry | None
    ) -> Iterator[Action]:
        old = self._scheme.forwarding(before) if before else None
        new = self._scheme.forwarding(after) if after else None
        was_held = old is not None and old.held
        if before and old and (not after or not new or after.hnps != before.hnps):
            yield Forward(before.mn_id, before.hnps, None)
            old = None
        if after and new and new != old:
            yield Forward(after.mn_id, after.hnps, new)
            if new.held != was_held:
                yield Note("hold-started" if new.held else "hold-released", after.mn_id)

    def _advertisement(self, entry: BindingUpdateListEntry) -> Advertise:
        lifetime = entry.lifetime or self._mag.lifetime
        return Advertise(entry.interface, entry.mn_ll_id, entry.hnps, lifetime, self.mtu)
