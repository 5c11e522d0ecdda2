"""The MAG that the MN leaves (pMAG; RFC 5949 section 4.1): announces it or is asked for it, forwards, ends that.

Predictive: `prepared` (HI), `_agreed` (HAck). Reactive: `left`, `asked` (HI and HAck). Both: `ended` (HI, code 2),
`_is_over` (HAck).
"""

from dataclasses import replace
from ipaddress import IPv6Address
from math import inf

from common.actions import Note, Send
from common.contexts import ContextRefused, fragment
from common.mh.messages import (
    HandoffIndicator,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateCode,
    HandoverInitiateFlag,
)
from magd.binding_update_list import SERVED, BindingUpdateListEntry, State, unserved
from magd.config import MagdConfig
from magd.context.transfer import carried, configured
from magd.handover.fpmipv6.exchanges import Exchanges
from magd.handover.fpmipv6.state import (
    COMPLETED,
    CONTEXT_ONLY,
    FORWARDING,
    REFUSED,
    Exchange,
    Handover,
    Parts,
    answer_to,
    handover_of,
    refuses,
)
from magd.numbering import Numbering
from magd.steps import Announcement, Removal, Request, Step


class PreviousMag:
    def __init__(self, config: MagdConfig, numbering: Numbering, exchanges: Exchanges) -> None:
        self._numbering = numbering
        self._exchanges = exchanges
        self._context_option = config.extension.code_points().context_data_option

    def follow(self, config: MagdConfig) -> None:
        self._opaque = configured(config)
        self._lifetime = config.fpmipv6.handover_lifetime

    def prepared(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None, now: float) -> list[Step]:
        """Predictive, steps (b) and (c)."""
        nmag = nmag or self._exchanges.only_peer
        if nmag not in self._exchanges.peers:
            return [Note("handover-refused-unknown-mag", entry.mn_id, nmag)]
        assert nmag is not None
        hi = self._about(entry, FORWARDING)
        parts = self._parts(hi, entry)
        hi = bringing(hi, parts)
        handover = Handover(peer=nmag, leaving=True, exchange=self._exchanges.begun(nmag, hi, now), parts=parts[1:])
        return [Send(nmag, hi), replace(entry, handover=handover)]

    def left(self, entry: BindingUpdateListEntry, now: float) -> list[Step] | None:
        """What comes for it waits here (section 4.1 requires buffers of every MAG): its nMAG may ask for it."""
        if not self._exchanges.peers or not entry.hnps or not (entry.state in SERVED or entry.restored):
            return None
        handover = handover_of(entry)
        if handover and handover.leaving:  # announced, and faster than the nMAG's answer
            gone = replace(handover, ends=now + self._lifetime)
        else:
            gone = Handover(peer=None, leaving=True, ends=now + self._lifetime)
        return [forwarded(entry, gone, present=False)]

    # nMAG asks.

    def asked(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        """Reactive, step (d)."""
        if entry is None or not entry.hnps:
            note = Note("handover-refused-unknown-mobile-node", hi.mn_id, source)
            return [note, Send(source, answer_to(hi, HandoverAckCode.CONTEXT_NOT_AVAILABLE))]
        answer = self._bringing_part(hi, entry)
        if not hi.flags & (HandoverInitiateFlag.FORWARDING | HandoverInitiateFlag.BUFFER):
            return [Send(source, answer)]
        if entry.state in (State.DEREGISTERING, State.LEFT, State.REFUSED):
            note = Note("handover-refused-not-registered", hi.mn_id, source)
            code = HandoverAckCode.FORWARDING_NOT_AVAILABLE
            return [note, Send(source, replace(answer, code=code, flags=HandoverAckFlag.PROXY))]
        at_once = bool(hi.flags & HandoverInitiateFlag.FORWARDING)
        return [*self._forward(entry, source, at_once, now), Send(source, answer)]

    def _bringing_part(self, hi: HandoverInitiate, entry: BindingUpdateListEntry) -> HandoverAck:
        """The answer, with that part of the context that the HI asks for (section 6.1.2)."""
        part = asked_part(hi, self._context_option)
        answer = replace(
            answer_to(hi, HandoverAckCode.ALL_CONTEXT_TRANSFERRED),
            hnps=entry.hnps,
            mn_ll_id=entry.mn_ll_id,
            lma_addresses=(entry.lma,),
        )
        parts = self._parts(replace(answer, contexts=()), entry)
        if part >= len(parts):
            return answer
        if part + 1 < len(parts):
            answer = replace(answer, code=HandoverAckCode.CONTEXT_TRANSFER_ACCEPTED)
        return replace(answer, contexts=parts[part])

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
            gone = replace(gone, exchange=self._exchanges.begun(before.peer, hi, now))
            steps = [Note("handover-elsewhere", entry.mn_id, before.peer), Send(before.peer, hi)]
        # Its link may still have a carrier: then it has left unseen (appendix A.2), or has come back in the meantime.
        return [*steps, forwarded(entry, gone, present=entry.present)]

    # nMAG has answered, or has not.

    def answered(
        self, entry: BindingUpdateListEntry, handover: Handover, exchange: Exchange, hack: HandoverAck, now: float
    ) -> list[Step]:
        """`handover` without the exchange that this is the end of."""
        if exchange.hi.code is COMPLETED:
            return self._is_over(entry, handover, exchange.peer, hack.code < REFUSED)
        if entry.state not in SERVED | {State.FORWARDED}:
            return [replace(entry, handover=None)]  # revoked or refused meanwhile: there is nothing to forward
        if refuses(hack):
            note = Note(f"handover-refused-{int(hack.code)}", entry.mn_id, exchange.peer)
            return [note, *self._not_handed_over(entry, handover)]
        return self._agreed(entry, handover, now)

    def unanswered(self, entry: BindingUpdateListEntry, handover: Handover, exchange: Exchange) -> list[Step]:
        if exchange.hi.code is COMPLETED:
            return self._is_over(entry, handover, exchange.peer, False)
        return self._not_handed_over(entry, handover)

    def _agreed(self, entry: BindingUpdateListEntry, handover: Handover, now: float) -> list[Step]:
        """Predictive, step (f): nMAG is ready for what comes for the MN. The rest of the context follows."""
        assert handover.peer is not None
        steps: list[Step] = []
        if handover.parts:
            hi = bringing(self._about(entry, CONTEXT_ONLY), handover.parts)
            steps = [Send(handover.peer, hi)]
            exchange = self._exchanges.begun(handover.peer, hi, now)
            handover = replace(handover, exchange=exchange, parts=handover.parts[1:])
        if entry.state is State.FORWARDED and handover.tunnel:
            return [replace(entry, handover=handover), *steps]
        forwarding = replace(handover, tunnel=True, ends=now + self._lifetime)
        return [forwarded(entry, forwarding, present=entry.present), *steps]

    def _not_handed_over(self, entry: BindingUpdateListEntry, handover: Handover) -> list[Step]:
        """Predictive: nMAG does not take it; an MN that has left may still turn up somewhere."""
        if handover.tunnel:  # a later part of the context was refused
            return [replace(entry, handover=replace(handover, parts=()))]
        waiting = replace(handover, peer=None, parts=()) if entry.state is State.FORWARDED else None
        return [replace(entry, handover=waiting)]

    # The end.

    def ended(self, entry: BindingUpdateListEntry, handover: Handover, now: float) -> list[Step]:
        """`handover_lifetime` has passed: forwarding is completed (section 4.1), or nobody has asked for the MN."""
        if entry.state is not State.FORWARDED:
            return [replace(entry, handover=None)]  # there is nothing left to hand over
        if not handover.tunnel:
            return self._given_up(entry, handover)
        assert handover.peer is not None
        hi = self._completion(entry)
        over = replace(handover, exchange=self._exchanges.begun(handover.peer, hi, now), ends=inf, parts=())
        return [Send(handover.peer, hi), replace(entry, handover=over)]

    def _is_over(
        self, entry: BindingUpdateListEntry, handover: Handover, peer: IPv6Address, accepted: bool
    ) -> list[Step]:
        """The completion has been answered, or never will be."""
        if entry.state is not State.FORWARDED:
            return [replace(entry, handover=None)]
        if handover.peer != peer:  # of a MAG where the MN did not go; the handover to another one goes on
            return [replace(entry, handover=handover)]
        if accepted:
            return [Removal(entry)]
        return self._given_up(entry, handover)

    def _given_up(self, entry: BindingUpdateListEntry, handover: Handover) -> list[Step]:
        """The MN is nowhere that we know of, unless it never left. If another MAG has registered it, the LMA ignores
        this."""
        note = Note("handover-not-followed", entry.mn_id, handover.peer)
        if not handover.registered:
            return [note, Removal(entry)]
        if entry.present:
            stays = replace(unserved(entry, State.REGISTERING), restored=True, handover=None)
            return [note, Request(stays, HandoffIndicator.UNKNOWN), Announcement(stays)]
        gone = replace(unserved(entry, State.DEREGISTERING), lifetime=entry.lifetime, handover=None)
        return [note, Request(gone, HandoffIndicator.UNKNOWN, lifetime=0)]

    # Messages.

    def _about(self, entry: BindingUpdateListEntry, flags: HandoverInitiateFlag) -> HandoverInitiate:
        return HandoverInitiate(
            sequence=self._numbering.sequence(),
            flags=flags,
            mn_id=entry.mn_id,
            hnps=entry.hnps,
            mn_ll_id=entry.mn_ll_id,
            lma_addresses=(entry.lma,),
        )

    def _completion(self, entry: BindingUpdateListEntry) -> HandoverInitiate:
        return HandoverInitiate(
            sequence=self._numbering.sequence(),
            flags=FORWARDING,
            code=COMPLETED,
            mn_id=entry.mn_id,
            mn_ll_id=entry.mn_ll_id,
        )

    def _parts(self, message: HandoverInitiate | HandoverAck, entry: BindingUpdateListEntry) -> Parts:
        """The MN's context in pieces that fit into such messages; nothing of one that is too large."""
        try:
            first, rest = fragment(message, carried(entry, self._numbering.last, entry.timestamp, self._opaque))
        except ContextRefused:
            return ((),)
        return (first.contexts, *(part.contexts for part in rest))


def forwarded(entry: BindingUpdateListEntry, handover: Handover, present: bool) -> BindingUpdateListEntry:
    gone = unserved(entry, State.FORWARDED)
    return replace(gone, lifetime=entry.lifetime, present=present, restored=False, handover=handover)


def bringing(hi: HandoverInitiate, parts: Parts) -> HandoverInitiate:
    """The HI with the first of these parts of the context."""
    code = HandoverInitiateCode.DEFAULT if len(parts) > 1 else HandoverInitiateCode.ALL_CONTEXT_TRANSFERRED
    return replace(hi, code=code, contexts=parts[0])


def asked_part(hi: HandoverInitiate, option: int) -> int:
    """Which part of the context a Context Request asks for: its data, one octet; without it the first."""
    return next((request.data[0] for request in hi.requests or () if request.option == option and request.data), 0)
