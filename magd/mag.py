"""The mobile access gateway, RFC 5213 section 6, without sockets, clocks or kernel.

`attached`, `detached` and `solicited` come from the attachment sources, `receive` from the LMA. State lies in the
binding update list; `_judge` decides what a Proxy Binding Acknowledgement leads to (section 6.9.1.2). The scheme in
`magd/handover` decides what a handover does to packets.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from math import inf

from common.actions import Action, Advertise, Forward, Note, Send
from common.errors import DataPlaneError
from common.mh.messages import (
    ALL_ZERO_PREFIX,
    AccessTechnologyType,
    BindingError,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    Timestamp,
)
from magd.binding_update_list import (
    INITIAL_BINDACK_TIMEOUT,
    MAX_BINDACK_TIMEOUT,
    SERVED,
    TRANSITIONS,
    BindingUpdateListEntry,
    Outstanding,
    State,
)
from magd.config import MagdConfig
from magd.handover import SCHEMES

MAX_UPDATE_INTERVAL = 1 / 3  # RFC 6275 section 12: MAX_UPDATE_RATE, seconds between updates for one MN
REFRESH_MARGIN = 40  # RFC 8127 section 4.1: ten units of 4 s before the lifetime ends
MAX_ADVERTISE_INTERVAL = 600  # RFC 4861 section 6.2.1: MaxRtrAdvInterval, seconds
ADVERTISED_MTU = 1460  # of the tunnel, over a link of 1500 octets


class MobileAccessGateway:
    """The core. `now` is any clock that only rises, in seconds; `utc` turns it into seconds since 1970."""

    def __init__(self, config: MagdConfig, utc: Callable[[float], float], sequence: int = 0) -> None:
        self.binding_update_list: dict[MnId, BindingUpdateListEntry] = {}
        self.mtu = ADVERTISED_MTU
        self._mag = config.mag
        self._utc = utc
        self._sequence = sequence
        self._last_timestamp = Timestamp(0)
        self._scheme = SCHEMES[config.mag.scheme]()
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
        return [action for mn_id in gone for action in self.detached(mn_id, now)]

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

    # What the LMA, the clock and the kernel say.

    def receive(self, source: IPv6Address, message: Message, now: float) -> list[Action]:
        match message:
            case ProxyBindingAck():
                return list(self._acknowledged(source, message, now))
            case BindingError():
                return [Note("binding-error", peer=source, detail=f"status {message.status}")]
            case _:
                return [Note("unexpected-message", peer=source, detail=message.name)]

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
        self.binding_update_list[entry.mn_id] = replace(_unserved(entry, State.REFUSED), hnps=())
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
        new = BindingUpdateListEntry(
            mn_id=mn_id, mn_ll_id=self._ll_ids[mn_id], interface=interface, lma=self._mag.lma, hnps=()
        )
        yield from self._request(entry, new, self._mag.lifetime, HandoffIndicator.UNKNOWN, now)

    def _detached(self, mn_id: MnId, now: float) -> Iterator[Action]:
        entry = self.binding_update_list.get(mn_id)
        if entry is None or entry.state is State.DEREGISTERING:
            return
        yield Note("detached", mn_id, detail=entry.interface)
        if entry.state is State.REFUSED:
            yield from self._remove(entry)
            return
        gone = _unserved(entry, State.DEREGISTERING)
        yield from self._request(entry, gone, 0, HandoffIndicator.UNKNOWN, now)

    def _acknowledged(self, source: IPv6Address, pba: ProxyBindingAck, now: float) -> Iterator[Action]:
        """Section 6.9.1.2: an answer counts only when a PBU waits for it and what must be echoed is echoed."""
        entry = self.binding_update_list.get(pba.mn_id) if pba.mn_id else None
        outstanding = entry.outstanding if entry else None
        if entry is None or outstanding is None or source != entry.lma or pba.sequence != outstanding.pbu.sequence:
            yield Note("pba-without-pbu", pba.mn_id, source)
            return
        pbu = outstanding.pbu
        if entry.state is State.DEREGISTERING:
            yield from self._remove(entry)
        elif (pba.handoff_indicator, pba.access_technology, pba.mn_ll_id) != (
            pbu.handoff_indicator,
            pbu.access_technology,
            pbu.mn_ll_id,
        ):
            yield Note("pba-options-differ", pba.mn_id, source)
            yield from self._refused(entry)
        else:
            yield from self._judge(entry, pbu, pba, now)

    def _judge(
        self, entry: BindingUpdateListEntry, pbu: ProxyBindingUpdate, pba: ProxyBindingAck, now: float
    ) -> Iterator[Action]:
        """What each status leads to."""
        hnps = tuple(prefix for prefix in pba.hnps if prefix != ALL_ZERO_PREFIX)
        if pba.status < Status.REASON_UNSPECIFIED and hnps:
            yield from self._registered(entry, hnps, pba, now)
            return
        yield Note(f"pbu-refused-{int(pba.status)}", entry.mn_id, entry.lma)
        if pba.status == Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED:
            # Somebody's newer word arrived first; ours is said again, as often as the rate limit allows.
            assert entry.outstanding is not None
            again = replace(entry.outstanding, timeout=MAX_UPDATE_INTERVAL)
            yield from self._store(entry, replace(entry, outstanding=again))
        elif pba.status == Status.TIMESTAMP_MISMATCH:
            # A clock that differs must be set by somebody, and the LMA's is not the one to follow; a PBU that was only
            # late on its way must not end the service for good. Both are served by a late retry with a new timestamp.
            assert entry.outstanding is not None
            later = replace(entry.outstanding, timeout=MAX_BINDACK_TIMEOUT)
            yield from self._store(entry, _unserved(entry, State.REGISTERING, later))
        elif pba.status == Status.NOT_AUTHORIZED_FOR_HOME_NETWORK_PREFIX and pbu.hnps != (ALL_ZERO_PREFIX,):
            without = replace(_unserved(entry, State.REGISTERING), hnps=())
            yield from self._request(entry, without, self._mag.lifetime, HandoffIndicator.UNKNOWN, now)
        else:
            yield from self._refused(entry)

    def _registered(
        self, entry: BindingUpdateListEntry, hnps: tuple[IPv6Network, ...], pba: ProxyBindingAck, now: float
    ) -> Iterator[Action]:
        refresh_in = max(pba.lifetime - REFRESH_MARGIN, pba.lifetime / 2)
        if pba.refresh_advice and pba.refresh_advice < pba.lifetime:
            refresh_in = pba.refresh_advice
        served = replace(
            entry,
            state=State.REGISTERED,
            hnps=hnps,
            outstanding=None,
            lifetime=pba.lifetime,
            expires=now + pba.lifetime,
            refresh_at=now + refresh_in,
            advertise_at=now + min(MAX_ADVERTISE_INTERVAL, pba.lifetime / 3),
        )
        yield from self._store(entry, served)
        yield self._advertisement(served)

    def _refused(self, entry: BindingUpdateListEntry) -> Iterator[Action]:
        yield from self._store(entry, _unserved(entry, State.REFUSED))

    def _expired(self, entry: BindingUpdateListEntry, now: float) -> Iterator[Action]:
        if entry.state is State.DEREGISTERING:  # 6.9.1.4: the answer is not waited for longer than this
            yield Note("deregistration-unanswered", entry.mn_id, entry.lma)
            yield from self._remove(entry)
        elif entry.expires <= now:
            yield Note("registration-expired", entry.mn_id, entry.lma)
            without = _unserved(entry, State.REGISTERING)
            yield from self._request(entry, without, self._mag.lifetime, HandoffIndicator.UNKNOWN, now)
        elif entry.outstanding and entry.outstanding.resend_at <= now:
            yield from self._retransmit(entry, entry.outstanding, now)
        elif entry.refresh_at <= now:
            refreshing = replace(entry, state=State.REFRESHING, refresh_at=inf)
            yield from self._request(entry, refreshing, self._mag.lifetime, HandoffIndicator.NOT_CHANGED, now)
        else:
            later = now + min(MAX_ADVERTISE_INTERVAL, entry.lifetime / 3)
            yield from self._store(entry, replace(entry, advertise_at=later))
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
        if lifetime == 0:
            pbu = self._scheme.deregistration(entry, pbu)
        yield Send(entry.lma, pbu)
        yield from self._store(before, replace(entry, outstanding=Outstanding(pbu=pbu, sent=now)))

    def _retransmit(self, entry: BindingUpdateListEntry, outstanding: Outstanding, now: float) -> Iterator[Action]:
        """Section 6.9.4: the same request with a new sequence number and timestamp."""
        pbu = replace(outstanding.pbu, sequence=self._next_sequence(), timestamp=self._timestamp(now))
        timeout = min(max(outstanding.timeout * 2, INITIAL_BINDACK_TIMEOUT), MAX_BINDACK_TIMEOUT)
        again = Outstanding(pbu=pbu, sent=now, timeout=timeout)
        yield Send(entry.lma, pbu)
        yield from self._store(entry, replace(entry, outstanding=again))

    def _pbu(
        self, entry: BindingUpdateListEntry, lifetime: int, handoff: HandoffIndicator, now: float
    ) -> ProxyBindingUpdate:
        """Section 6.9.1.1; with fixed link-local addresses (RFC 6543) there is no Link-local Address option."""
        return ProxyBindingUpdate(
            sequence=self._next_sequence(),
            lifetime=lifetime,
            mn_id=entry.mn_id,
            hnps=entry.hnps or (ALL_ZERO_PREFIX,),
            handoff_indicator=handoff,
            access_technology=AccessTechnologyType(self._mag.access_technology),
            mn_ll_id=entry.mn_ll_id,
            timestamp=self._timestamp(now),
        )

    def _timestamp(self, now: float) -> Timestamp:
        """Later than every one before: two requests of one moment still have an order (section 5.5)."""
        self._last_timestamp = Timestamp(max(Timestamp.from_utc(self._utc(now)), self._last_timestamp + 1))
        return self._last_timestamp

    def _next_sequence(self) -> int:
        self._sequence = (self._sequence + 1) % (1 << 16)
        return self._sequence

    def _store(self, before: BindingUpdateListEntry | None, entry: BindingUpdateListEntry) -> Iterator[Action]:
        """The only writer: forwarding follows from the entry, so that no branch can forget it."""
        assert entry.state in TRANSITIONS[before.state if before else None], (before, entry)
        self.binding_update_list[entry.mn_id] = entry
        yield from self._reforward(before, entry)

    def _remove(self, entry: BindingUpdateListEntry) -> Iterator[Action]:
        assert None in TRANSITIONS[entry.state], entry
        del self.binding_update_list[entry.mn_id]
        yield from self._reforward(entry, None)
        yield Note("removed", entry.mn_id)

    def _reforward(
        self, before: BindingUpdateListEntry | None, after: BindingUpdateListEntry | None
    ) -> Iterator[Forward]:
        old = self._scheme.forwarding(before) if before else None
        new = self._scheme.forwarding(after) if after else None
        if before and old and (not after or not new or after.hnps != before.hnps):
            yield Forward(before.mn_id, before.hnps, None)
            old = None
        if after and new and new != old:
            yield Forward(after.mn_id, after.hnps, new)

    def _advertisement(self, entry: BindingUpdateListEntry) -> Advertise:
        return Advertise(entry.interface, entry.mn_ll_id, entry.hnps, entry.lifetime, self.mtu)


def _unserved(
    entry: BindingUpdateListEntry, state: State, outstanding: Outstanding | None = None
) -> BindingUpdateListEntry:
    """The entry in a state without service: nothing to refresh, to advertise or to run out."""
    return replace(
        entry, state=state, outstanding=outstanding, expires=inf, refresh_at=inf, advertise_at=inf, lifetime=0
    )
