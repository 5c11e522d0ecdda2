"""Fast Handovers for Proxy Mobile IPv6 (RFC 5949): two MAGs settle the handover between themselves.

They exchange Handover Initiate (HI) and Handover Acknowledge (HAck), either ahead of the move (predictive: pMAG asks
nMAG) or after it (reactive: nMAG asks pMAG). Then pMAG, which stays registered at the LMA, sends the MN's downlink on
through the tunnel between them, nMAG keeps it until the MN is there, and the uplink takes the same way back, until the
LMA has accepted nMAG's registration. An MN that leaves is not de-registered: its downlink waits here until its nMAG
asks, or until `handover_lifetime` has passed. The LMA runs plain RFC 5213.

docs/fpmipv6.md says what the RFC leaves open and how it is settled here.
"""

from dataclasses import replace
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Forwarding, HoldUplink, Note, Send, ToAccess, ToPeer
from common.contexts import ContextRefused, fragment
from common.mh.messages import (
    ContextRequest,
    HandoffIndicator,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
    Message,
    MnId,
    ProxyBindingAck,
)
from magd.binding_update_list import (
    SERVED,
    Announcement,
    BindingUpdateListEntry,
    Removal,
    Request,
    State,
    Step,
    unserved,
)
from magd.config import MagdConfig
from magd.context.transfer import carried, configured, restored, with_part
from magd.handover.inter_mag import (
    REFUSED,
    Exchange,
    Handover,
    Parts,
    answer_to,
    asked_part,
    bringing,
    forwarded,
    handover_of,
)
from magd.handover.pmipv6 import Pmipv6
from magd.numbering import SEQUENCE_SPACE, Numbering
from magd.profiles import Profiles

HI_RETRIES = 3  # RFC 5568 section 9
HNP_OPTION, LL_ID_OPTION, LMA_OPTION = 22, 25, 41
FORWARDING = HandoverInitiateFlag.PROXY | HandoverInitiateFlag.FORWARDING
CONTEXT_ONLY = HandoverInitiateFlag.PROXY
_COMPLETED = HandoverInitiateCode.FORWARDING_COMPLETED


class Fpmipv6(Pmipv6):
    predictive = True
    keeps_uplink = True
    handover_kind = Handover

    def __init__(self, config: MagdConfig, numbering: Numbering) -> None:
        super().__init__(config, numbering)
        self.peers = frozenset(config.fpmipv6.peers)
        self._only_peer = config.fpmipv6.peers[0] if len(config.fpmipv6.peers) == 1 else None
        self._own = config.mag.address
        self._context_option = config.extension.code_points().context_data_option
        self._round_trips: dict[IPv6Address, float] = {}
        self._heard: dict[tuple[IPv6Address, MnId], tuple[int, float]] = {}  # the last HI: sequence number, moment

    def follow(self, config: MagdConfig) -> None:
        self._profiles = Profiles(config)
        self._opaque = configured(config)
        self._lifetime = config.fpmipv6.handover_lifetime
        self._timeout = config.fpmipv6.hi_timeout
        self._uplink_waits = config.fpmipv6.uplink == "hold"

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
        access = ToAccess(entry.interface, entry.mac)
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
        return super().announced(entry, nmag) if (nmag or self._only_peer) in self.peers else None

    def prepared(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None, now: float) -> list[Step]:
        """Section 4.1, predictive, steps (b) and (c)."""
        nmag = nmag or self._only_peer
        if nmag not in self.peers:
            return [Note("handover-refused-unknown-mag", entry.mn_id, nmag)]
        assert nmag is not None
        hi = HandoverInitiate(
            sequence=self.numbering.sequence(),
            flags=FORWARDING,
            mn_id=entry.mn_id,
            hnps=entry.hnps,
            mn_ll_id=entry.mn_ll_id,
            lma_addresses=(entry.lma,),
        )
        parts = self._parts(hi, entry)
        hi = bringing(hi, parts)
        handover = Handover(peer=nmag, leaving=True, exchange=self._exchange(nmag, hi, now), parts=parts[1:])
        return [Send(nmag, hi), replace(entry, handover=handover)]

    def left(self, entry: BindingUpdateListEntry, now: float) -> list[Step] | None:
        """What comes for it waits here (section 4.1 requires buffers of every MAG): its nMAG may ask for it."""
        if not self.peers or not entry.hnps or not (entry.state in SERVED or entry.restored):
            return None
        handover = handover_of(entry)
        if handover and handover.leaving:  # announced, and faster than the nMAG's answer
            gone = replace(handover, ends=now + self._lifetime)
        else:
            gone = Handover(peer=None, leaving=True, ends=now + self._lifetime)
        return [forwarded(entry, gone, present=False)]

    def arrived(
        self,
        entry: BindingUpdateListEntry | None,
        new: BindingUpdateListEntry,
        previous_mag: IPv6Address | None,
        now: float,
    ) -> list[Step] | None:
        """Section 4.1, reactive, steps (b) and (c), unless pMAG was faster or is unknown."""
        handover = handover_of(entry)
        if entry and entry.state is State.AWAITED:
            return None
        if entry and entry.state is State.FORWARDED and handover:
            previous_mag = previous_mag or (handover.peer if handover.tunnel else self._own)
        previous_mag = previous_mag or self._only_peer
        if previous_mag is None or previous_mag == self._own:
            return None
        if previous_mag not in self.peers:
            # Plain registration.
            return [Note("previous-mag-unknown", new.mn_id, previous_mag), Request(new, HandoffIndicator.UNKNOWN)]
        requests = tuple(map(ContextRequest, (HNP_OPTION, LL_ID_OPTION, LMA_OPTION)))
        hi = HandoverInitiate(
            sequence=self.numbering.sequence(),
            flags=FORWARDING,
            mn_id=new.mn_id,
            mn_ll_id=new.mn_ll_id,
            requests=requests,
        )
        asking = Handover(peer=previous_mag, leaving=False, exchange=self._exchange(previous_mag, hi, now))
        return [Send(previous_mag, hi), replace(new, handover=asking)]

    def resumed(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry | None:
        """Awaited; or back where it left before anybody asked for it."""
        handover = handover_of(entry)
        if entry.state is State.AWAITED:
            return replace(restored(entry, self.numbering), restored=bool(entry.hnps))
        if entry.state is State.FORWARDED and handover and not handover.tunnel:
            return replace(entry, restored=True, handover=None)
        return None

    def registered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck) -> BindingUpdateListEntry:
        return replace(entry, restored=False)

    # The clock and the kernel.

    def expired(self, entry: BindingUpdateListEntry, now: float) -> list[Step]:
        handover = handover_of(entry)
        assert handover is not None
        if handover.exchange and handover.exchange.resend_at <= now:
            return self._unanswered(entry, handover, handover.exchange, now)
        if not handover.leaving or entry.state is not State.FORWARDED:
            # pMAG has not said so, but it must have ceased to forward by now; or there is nothing left to hand over.
            return [replace(entry, handover=None)]
        if not handover.tunnel:
            return self._given_up(entry, handover)
        return self._complete(entry, handover, now)

    def unprepared(self, entry: BindingUpdateListEntry) -> list[Action]:
        """nMAG has no room for the MN's packets (section 4.2)."""
        handover = handover_of(entry)
        if handover is None or handover.peer is None:
            return []
        code = HandoverAckCode.INSUFFICIENT_RESOURCES
        return [Send(handover.peer, HandoverAck(sequence=handover.last, code=code, mn_id=entry.mn_id))]

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
        if self._is_late(source, hi, entry, now):
            note = Note("handover-initiate-late", hi.mn_id, source)
            return [note, Send(source, answer_to(hi, HandoverAckCode.REASON_UNSPECIFIED))]
        if hi.code is _COMPLETED:
            return self._completed(source, hi, entry)
        return (self._predicted if hi.hnps else self._asked)(source, hi, entry, now)

    def _is_late(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> bool:
        """Older than another about the same MN, or a copy of one that has had its effect: an MN that has moved on since
        is not called back."""
        assert hi.mn_id is not None
        last, heard_at = self._heard.get((source, hi.mn_id), (hi.sequence, -inf))
        age = (last - hi.sequence) % SEQUENCE_SPACE
        if heard_at + self._lifetime > now and age == 0:
            moved_on = SERVED if not hi.hnps else {State.FORWARDED, State.DEREGISTERING}
            return entry is not None and entry.state in moved_on and hi.code is not _COMPLETED
        if heard_at + self._lifetime > now and age < SEQUENCE_SPACE // 2:
            return True
        self._heard[source, hi.mn_id] = hi.sequence, now
        return False

    def _predicted(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        """nMAG, predictive, step (d)."""
        assert hi.mn_id is not None
        profile = self._profiles.of(hi.mn_id, ll_id=hi.mn_ll_id)
        if profile is None or profile.lma not in hi.lma_addresses or not profile.allows(hi.hnps):
            reason = "unknown-mobile-node" if profile is None else "other-lma-or-prefix"
            note = Note(f"handover-refused-{reason}", hi.mn_id, source)
            return [note, Send(source, answer_to(hi, HandoverAckCode.ADMINISTRATIVELY_PROHIBITED))]
        accept = Send(source, answer_to(hi, HandoverAckCode.CONTEXT_TRANSFER_ACCEPTED))
        handover = handover_of(entry)
        if entry and entry.state is State.AWAITED and handover and handover.peer == source:
            if hi.sequence == handover.last:
                return [accept]
            if not hi.flags & HandoverInitiateFlag.FORWARDING:  # section 6.1.1: a further piece of the context
                part = handover.part + 1
                parts = with_part(entry.parts, part, hi.contexts)
                return [replace(entry, parts=parts, handover=replace(handover, part=part, last=hi.sequence)), accept]
        coming = Handover(peer=source, leaving=False, tunnel=True, ends=now + 2 * self._lifetime, last=hi.sequence)
        if entry and entry.present and entry.state is not State.FORWARDED:  # the MN was faster
            return [entry if handover else replace(entry, handover=coming), accept]
        awaited = BindingUpdateListEntry(
            mn_id=hi.mn_id,
            mn_ll_id=profile.ll_id or hi.mn_ll_id,
            interface=profile.interface or "",
            lma=profile.lma,
            present=False,
            timestamp=entry.timestamp if entry else None,
            state=State.AWAITED,
            hnps=hi.hnps,
            parts=with_part((), 0, hi.contexts),
            expires=now + self._lifetime,
            handover=coming,
        )
        return [awaited, Note("context-stored", hi.mn_id, source), accept]

    def _asked(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        """pMAG, reactive, step (d)."""
        if entry is None or not entry.hnps:
            note = Note("handover-refused-unknown-mobile-node", hi.mn_id, source)
            return [note, Send(source, answer_to(hi, HandoverAckCode.CONTEXT_NOT_AVAILABLE))]
        part = asked_part(hi, self._context_option)
        answer = replace(
            answer_to(hi, HandoverAckCode.ALL_CONTEXT_TRANSFERRED),
            hnps=entry.hnps,
            mn_ll_id=entry.mn_ll_id,
            lma_addresses=(entry.lma,),
        )
        parts = self._parts(replace(answer, contexts=()), entry)
        if part < len(parts):
            code = HandoverAckCode.ALL_CONTEXT_TRANSFERRED
            if part + 1 < len(parts):
                code = HandoverAckCode.CONTEXT_TRANSFER_ACCEPTED
            answer = replace(answer, code=code, contexts=parts[part])
        if not hi.flags & (HandoverInitiateFlag.FORWARDING | HandoverInitiateFlag.BUFFER):
            return [Send(source, answer)]
        if entry.state in (State.DEREGISTERING, State.LEFT, State.REFUSED):
            note = Note("handover-refused-not-registered", hi.mn_id, source)
            return [
                note,
                Send(
                    source, replace(answer, code=HandoverAckCode.FORWARDING_NOT_AVAILABLE, flags=HandoverAckFlag.PROXY)
                ),
            ]
        return [
            *self._forward(entry, source, bool(hi.flags & HandoverInitiateFlag.FORWARDING), now),
            Send(source, answer),
        ]

    def _forward(self, entry: BindingUpdateListEntry, nmag: IPv6Address, at_once: bool, now: float) -> list[Step]:
        """What comes for the MN goes on to nMAG, or is kept for it."""
        before = handover_of(entry)
        if entry.state is State.FORWARDED and before and before.tunnel and before.peer == nmag:
            return []  # that HI came twice
        gone = Handover(
            peer=nmag,
            leaving=True,
            tunnel=at_once,
            ends=now + self._lifetime,
            registered=entry.state is not State.AWAITED,
        )
        steps: list[Step] = []
        if before and before.leaving and before.peer not in (None, nmag):  # another one was predicted
            assert before.peer is not None
            hi = self._completion(entry)
            gone = replace(gone, exchange=self._exchange(before.peer, hi, now))
            steps = [Note("handover-elsewhere", entry.mn_id, before.peer), Send(before.peer, hi)]
        # Its link may still have a carrier: then it has left unseen (appendix A.2), or has come back in the meantime.
        return [*steps, forwarded(entry, gone, present=entry.present)]

    def _answered(
        self, source: IPv6Address, hack: HandoverAck, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        handover = handover_of(entry)
        exchange = handover.exchange if handover else None
        if (
            not entry
            or not handover
            or not exchange
            or (exchange.peer, exchange.hi.sequence) != (source, hack.sequence)
        ):
            return [Note("hack-without-hi", hack.mn_id, source)]
        if not exchange.retries:
            self._round_trips[source] = now - exchange.sent
        done = replace(handover, exchange=None)
        if exchange.hi.code is _COMPLETED:
            return self._is_over(entry, done, source, hack.code < REFUSED)
        if handover.leaving and entry.state not in SERVED | {State.FORWARDED}:
            return [replace(entry, handover=None)]  # revoked or refused meanwhile: there is nothing to forward
        if hack.code >= REFUSED and not hack.hnps:
            note = Note(f"handover-refused-{int(hack.code)}", entry.mn_id, source)
            return [note, *(self._not_handed_over(entry, done) if handover.leaving else self._alone(entry))]
        return self._agreed(entry, done, now) if handover.leaving else self._adopted(entry, done, hack, now)

    def _agreed(self, entry: BindingUpdateListEntry, handover: Handover, now: float) -> list[Step]:
        """pMAG, predictive, step (f): nMAG is ready for what comes for the MN. The rest of the context follows."""
        assert handover.peer is not None
        steps: list[Step] = []
        if handover.parts:
            hi = HandoverInitiate(
                sequence=self.numbering.sequence(),
                flags=CONTEXT_ONLY,
                mn_id=entry.mn_id,
                hnps=entry.hnps,
                lma_addresses=(entry.lma,),
            )
            hi = bringing(hi, handover.parts)
            steps = [Send(handover.peer, hi)]
            handover = replace(handover, exchange=self._exchange(handover.peer, hi, now), parts=handover.parts[1:])
        if entry.state is State.FORWARDED and handover.tunnel:
            return [replace(entry, handover=handover), *steps]
        forwarding = replace(handover, tunnel=True, ends=now + self._lifetime)
        return [forwarded(entry, forwarding, present=entry.present), *steps]

    def _adopted(self, entry: BindingUpdateListEntry, handover: Handover, hack: HandoverAck, now: float) -> list[Step]:
        """nMAG, reactive, steps (e) to (g): the MN can be served, and is registered."""
        steps: list[Step] = []
        first = handover.part == 0
        entry = replace(entry, parts=with_part(entry.parts, handover.part, hack.contexts))
        if hack.code is HandoverAckCode.CONTEXT_TRANSFER_ACCEPTED and handover.peer:
            # Section 6.1.2: there is more.
            request = ContextRequest(self._context_option, bytes((handover.part + 1,)))
            hi = HandoverInitiate(
                sequence=self.numbering.sequence(), flags=CONTEXT_ONLY, mn_id=entry.mn_id, requests=(request,)
            )
            steps = [Send(handover.peer, hi)]
            handover = replace(handover, exchange=self._exchange(handover.peer, hi, now), part=handover.part + 1)
        if first:
            tunnel = bool(hack.flags & HandoverAckFlag.FORWARDING)
            handover = replace(handover, tunnel=tunnel, ends=now + 2 * self._lifetime)
        entry = replace(restored(entry, self.numbering), handover=handover)
        if entry.state is not State.REGISTERING or not first:
            return [entry, *steps]
        entry = replace(entry, hnps=hack.hnps, restored=handover.tunnel, mn_ll_id=entry.mn_ll_id or hack.mn_ll_id)
        # Appendix A.1: the same link-layer identifier is the same interface.
        same = hack.mn_ll_id in (None, entry.mn_ll_id)
        handoff = HandoffIndicator.BETWEEN_MAGS if same else HandoffIndicator.BETWEEN_INTERFACES
        serve: list[Step] = [entry if entry.outstanding else Request(entry, handoff), Announcement(entry)]
        return [*serve, *steps]

    def _alone(self, entry: BindingUpdateListEntry) -> list[Step]:
        """nMAG, reactive: nothing comes of it; the MN is registered as in RFC 5213."""
        plain = replace(entry, handover=None)
        if entry.state is State.REGISTERING and not entry.outstanding:
            return [Request(plain, HandoffIndicator.UNKNOWN)]
        return [plain]

    def _not_handed_over(self, entry: BindingUpdateListEntry, handover: Handover) -> list[Step]:
        """pMAG, predictive: nMAG does not take it; an MN that has left may still turn up somewhere."""
        if handover.tunnel:  # a later part of the context was refused
            return [replace(entry, handover=replace(handover, parts=()))]
        waiting = replace(handover, peer=None, parts=()) if entry.state is State.FORWARDED else None
        return [replace(entry, handover=waiting)]

    def _unanswered(
        self, entry: BindingUpdateListEntry, handover: Handover, exchange: Exchange, now: float
    ) -> list[Step]:
        """RFC 5568 section 6.2.1.1. Meanwhile an MN that has come is registered all the same."""
        if exchange.retries < HI_RETRIES:
            again = replace(exchange, sent=now, timeout=2 * exchange.timeout, retries=exchange.retries + 1)
            entry = replace(entry, handover=replace(handover, exchange=again))
            waits = not handover.leaving and entry.state is State.REGISTERING and not entry.outstanding
            store: Step = Request(entry, HandoffIndicator.UNKNOWN) if waits and not entry.hnps else entry
            return [Send(exchange.peer, exchange.hi), store]
        note = Note("handover-initiate-unanswered", entry.mn_id, exchange.peer)
        done = replace(handover, exchange=None)
        if exchange.hi.code is _COMPLETED:
            return [note, *self._is_over(entry, done, exchange.peer, False)]
        if not handover.leaving:
            kept = done if handover.tunnel else None
            return [note, replace(entry, handover=kept)]
        return [note, *self._not_handed_over(entry, done)]

    # The end.

    def _complete(self, entry: BindingUpdateListEntry, handover: Handover, now: float) -> list[Step]:
        """pMAG: forwarding is completed (section 4.1)."""
        assert handover.peer is not None
        hi = self._completion(entry)
        over = replace(handover, exchange=self._exchange(handover.peer, hi, now), ends=inf, parts=())
        return [Send(handover.peer, hi), replace(entry, handover=over)]

    def _completed(self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None) -> list[Step]:
        """nMAG: pMAG forwards no more. The answer says whether the MN has come."""
        handover = handover_of(entry)
        if entry is None or entry.state is State.AWAITED:
            gone: list[Step] = [Removal(entry)] if entry and handover and handover.peer == source else []
            return [*gone, Send(source, answer_to(hi, HandoverAckCode.REASON_UNSPECIFIED))]
        accept = Send(source, answer_to(hi, HandoverAckCode.ACCEPTED))
        if handover and not handover.leaving and handover.peer == source:
            return [replace(entry, handover=None), accept]
        return [accept]

    def _is_over(
        self, entry: BindingUpdateListEntry, handover: Handover, peer: IPv6Address, accepted: bool
    ) -> list[Step]:
        """pMAG: the completion has been answered, or never will be."""
        if entry.state is not State.FORWARDED:
            return [replace(entry, handover=None)]
        if handover.peer != peer:  # of a MAG where the MN did not go; the handover to another one goes on
            return [replace(entry, handover=handover)]
        if accepted:
            return [Removal(entry)]
        return self._given_up(entry, handover)

    def _given_up(self, entry: BindingUpdateListEntry, handover: Handover) -> list[Step]:
        """pMAG: the MN is nowhere that we know of, unless it never left. If another MAG has registered it, the LMA
        ignores this."""
        note = Note("handover-not-followed", entry.mn_id, handover.peer)
        if not handover.registered:
            return [note, Removal(entry)]
        if entry.present:
            stays = replace(unserved(entry, State.REGISTERING), restored=True, handover=None)
            return [note, Request(stays, HandoffIndicator.UNKNOWN), Announcement(stays)]
        gone = replace(unserved(entry, State.DEREGISTERING), lifetime=entry.lifetime, handover=None)
        return [note, Request(gone, HandoffIndicator.UNKNOWN, lifetime=0)]

    def _completion(self, entry: BindingUpdateListEntry) -> HandoverInitiate:
        code = _COMPLETED
        return HandoverInitiate(sequence=self.numbering.sequence(), flags=FORWARDING, code=code, mn_id=entry.mn_id)

    def _exchange(self, peer: IPv6Address, hi: HandoverInitiate, now: float) -> Exchange:
        timeout = max(self._timeout, 2 * self._round_trips.get(peer, 0.0))
        return Exchange(peer=peer, hi=hi, sent=now, timeout=timeout)

    def _parts(self, message: HandoverInitiate | HandoverAck, entry: BindingUpdateListEntry) -> Parts:
        """The MN's context in pieces that fit into such messages; nothing of one that is too large."""
        try:
            first, rest = fragment(message, carried(entry, self.numbering.last, entry.timestamp, self._opaque))
        except ContextRefused:
            return ((),)
        return (first.contexts, *(part.contexts for part in rest))
