"""Fast Handovers for Proxy Mobile IPv6 (RFC 5949): two MAGs settle the handover between themselves.

They exchange Handover Initiate (HI) and Handover Acknowledge (HAck), either ahead of the move (predictive: pMAG asks
nMAG) or after it (reactive: nMAG asks pMAG). Then pMAG, which stays registered at the LMA, sends the MN's downlink on
through the tunnel between them, nMAG keeps it until the MN is there, and the uplink takes the same way back, until the
LMA has accepted nMAG's registration. An MN that leaves is not de-registered: its downlink waits here until its nMAG
asks, or until `handover_lifetime` has passed. The LMA runs plain RFC 5213.

Here a hook of the core is given to the role that it concerns, in `pmag` or `nmag`, and packets are told their way.
What both MAGs remember of a handover is in `state`, how an HI gets its HAck in `exchanges`. docs/fpmipv6.md says what
the RFC leaves open and how it is settled here.
"""

from dataclasses import replace
from ipaddress import IPv6Address

from common.actions import Action, Forwarding, HoldUplink, Note, Send, ToAccess, ToPeer
from common.mh.messages import HandoverAck, HandoverAckCode, HandoverInitiate, Message, MnId, ProxyBindingAck
from magd.binding_update_list import BindingUpdateListEntry, State
from magd.config import MagdConfig
from magd.handover.fpmipv6.exchanges import Exchanges
from magd.handover.fpmipv6.nmag import NewMag
from magd.handover.fpmipv6.pmag import PreviousMag
from magd.handover.fpmipv6.state import COMPLETED, Handover, answer_to, handover_of
from magd.handover.pmipv6 import Pmipv6
from magd.numbering import Numbering
from magd.steps import Removal, Step


class Fpmipv6(Pmipv6):
    predictive = True
    keeps_uplink = True
    handover_kind = Handover
    states = Pmipv6.states | {State.AWAITED, State.FORWARDED}

    def __init__(self, config: MagdConfig, numbering: Numbering) -> None:
        self._exchanges = Exchanges(config)
        self._pmag = PreviousMag(config, numbering, self._exchanges)
        self._nmag = NewMag(config, numbering, self._exchanges)
        self.peers = self._exchanges.peers
        super().__init__(config, numbering)

    def follow(self, config: MagdConfig) -> None:
        self._uplink_waits = config.fpmipv6.uplink == "hold"
        self._exchanges.follow(config)
        self._pmag.follow(config)
        self._nmag.follow(config)

    @staticmethod
    def hold_packets(config: MagdConfig) -> int | None:
        return config.fpmipv6.hold_packets

    @staticmethod
    def tunnels(config: MagdConfig) -> tuple[IPv6Address, ...]:
        return config.fpmipv6.peers

    def forwarding(self, entry: BindingUpdateListEntry) -> Forwarding | None:
        handover = handover_of(entry)
        if not entry.hnps or not entry.interface:
            return None
        access = ToAccess(entry.interface, entry.mac, entry.link_local)
        peer = handover.peer if handover and handover.tunnel else None
        from_peer = frozenset({peer} if peer else ())
        # nMAG may send uplink as soon as it has accepted, and its word of that may be late.
        asked = handover.peer if handover and handover.leaving else None
        upwards = frozenset({asked} if asked else ())
        match entry.state:
            case State.FORWARDED if peer:
                still_on = entry.interface if entry.present else None
                way = Forwarding(ToPeer(peer), uplink_to=entry.lma, uplink_from=upwards, still_on=still_on)
            case State.FORWARDED:
                way = Forwarding(access, held=True, uplink_to=entry.lma, uplink_from=upwards)
            case State.AWAITED:
                way = Forwarding(access, held=True, uplink_to=peer, downlink_from=from_peer)
            case State.REGISTERING if entry.restored and peer:  # section 4.1, step (j): by way of pMAG until the PBA
                uplink_to = None if self._uplink_waits else peer
                way = Forwarding(access, uplink_to=uplink_to, downlink_from=from_peer)
            case State.REGISTERING if entry.restored:  # back where it never ceased to be registered
                way = Forwarding(access, uplink_to=entry.lma)
            case State.REGISTERED | State.REFRESHING | State.DEREGISTERING:
                way = Forwarding(access, uplink_to=entry.lma, uplink_from=upwards, downlink_from=from_peer)
            case _:
                return None
        return way

    # The MN moves.

    def announced(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None) -> BindingUpdateListEntry | None:
        """Only whether it can be; `prepared` does it."""
        return super().announced(entry, nmag) if (nmag or self._exchanges.only_peer) in self.peers else None

    def prepared(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None, now: float) -> list[Step]:
        return self._pmag.prepared(entry, nmag, now)

    def left(self, entry: BindingUpdateListEntry, now: float) -> list[Step] | None:
        return self._pmag.left(entry, now)

    def arrived(
        self,
        entry: BindingUpdateListEntry | None,
        new: BindingUpdateListEntry,
        previous_mag: IPv6Address | None,
        now: float,
    ) -> list[Step] | None:
        return self._nmag.arrived(entry, new, previous_mag, now)

    def resumed(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry | None:
        """Awaited; or back where it left before anybody asked for it."""
        handover = handover_of(entry)
        if entry.state is State.AWAITED:
            return self._nmag.come(entry)
        if entry.state is State.FORWARDED and handover and not handover.tunnel:
            return replace(entry, restored=True, handover=None)
        return None

    def registered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck) -> BindingUpdateListEntry:
        return replace(entry, restored=False)

    # The clock and the kernel.

    def expired(self, entry: BindingUpdateListEntry, now: float) -> list[Step]:
        handover = handover_of(entry)
        assert handover is not None
        role = self._pmag if handover.leaving else self._nmag
        if not handover.exchange or handover.exchange.resend_at > now:
            return role.ended(entry, handover, now)
        if again := self._exchanges.again(handover.exchange, now):
            entry = replace(entry, handover=replace(handover, exchange=again))
            return [Send(again.peer, again.hi), entry if handover.leaving else self._nmag.waiting(entry)]
        note = Note("handover-initiate-unanswered", entry.mn_id, handover.exchange.peer)
        return [note, *role.unanswered(entry, replace(handover, exchange=None), handover.exchange)]

    def unprepared(self, entry: BindingUpdateListEntry) -> list[Action]:
        """nMAG has no room for the MN's packets (section 4.2)."""
        handover = handover_of(entry)
        if handover is None or handover.peer is None:
            return []
        code = HandoverAckCode.INSUFFICIENT_RESOURCES
        refusal = HandoverAck(sequence=handover.last, code=code, mn_id=entry.mn_id, mn_ll_id=entry.mn_ll_id)
        return [Send(handover.peer, refusal)]

    def refused(self, interface: str) -> list[Action]:
        return [HoldUplink(interface, keep=False)]

    def idle(self, interface: str) -> list[Action]:
        return [HoldUplink(interface, keep=True)]

    def revoked(self, entry: BindingUpdateListEntry, moved: bool) -> list[Step] | None:
        """An MN that is handed over is registered elsewhere now; what is still on its way to it goes on."""
        handover = handover_of(entry)
        if entry.state is not State.FORWARDED or handover is None:
            return super().revoked(replace(entry, handover=None), moved)
        if moved and handover.tunnel:
            return [replace(entry, handover=replace(handover, registered=False))]
        return [Removal(entry)]

    # The other MAG.

    def received(
        self, source: IPv6Address, message: Message, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step] | None:
        if source not in self.peers:
            return None
        match message:
            case HandoverInitiate(mn_id=MnId()):
                return self._initiated(source, message, entry, now)
            case HandoverAck(mn_id=MnId()):
                return self._answered(source, message, entry, now)
        return None

    def _initiated(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        """Section 4.1: with prefixes it is pMAG's and announces the MN, without it is nMAG's and asks for it."""
        if self._exchanges.is_late(source, hi, entry, now):
            note = Note("handover-initiate-late", hi.mn_id, source)
            return [note, Send(source, answer_to(hi, HandoverAckCode.REASON_UNSPECIFIED))]
        if hi.code is COMPLETED:
            return self._nmag.completed(source, hi, entry)
        return self._nmag.announced(source, hi, entry, now) if hi.hnps else self._pmag.asked(source, hi, entry, now)

    def _answered(
        self, source: IPv6Address, hack: HandoverAck, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        handover = handover_of(entry)
        exchange = handover.exchange if handover else None
        if not entry or not handover or not exchange or not exchange.is_answered_by(source, hack):
            return [Note("hack-without-hi", hack.mn_id, source)]
        self._exchanges.over(exchange, now)
        role = self._pmag if handover.leaving else self._nmag
        return role.answered(entry, replace(handover, exchange=None), exchange, hack, now)
