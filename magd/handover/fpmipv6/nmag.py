"""The MAG that the MN comes to (nMAG; RFC 5949 section 4.1): it is told of it or asks for it, and registers it.

Predictive: `announced` (HI and HAck), `come`. Reactive: `arrived` (HI), `_adopted` (HAck). Both: `completed` (HI,
code 2, and HAck).
"""

from dataclasses import replace
from ipaddress import IPv6Address

from common.actions import Note, Send
from common.contexts import DEFAULT_LIMITS
from common.mh.messages import (
    ContextRequest,
    HandoffIndicator,
    HandoverAck,
    HandoverAckCode,
    HandoverAckFlag,
    HandoverInitiate,
    HandoverInitiateFlag,
)
from magd.binding_update_list import BindingUpdateListEntry, State
from magd.config import MagdConfig
from magd.context.transfer import restored, with_part
from magd.handover.fpmipv6.exchanges import Exchanges
from magd.handover.fpmipv6.state import CONTEXT_ONLY, FORWARDING, Exchange, Handover, answer_to, handover_of, refuses
from magd.numbering import Numbering
from magd.profiles import Profiles
from magd.steps import Announcement, Removal, Request, Step

HNP_OPTION, LL_ID_OPTION, LMA_OPTION = 22, 25, 41


class NewMag:
    def __init__(self, config: MagdConfig, numbering: Numbering, exchanges: Exchanges) -> None:
        self._numbering = numbering
        self._exchanges = exchanges
        self._own = config.mag.address
        self._context_option = config.extension.code_points().context_data_option

    def follow(self, config: MagdConfig) -> None:
        self._profiles = Profiles(config)
        self._lifetime = config.fpmipv6.handover_lifetime

    # The MN comes.

    def arrived(
        self,
        entry: BindingUpdateListEntry | None,
        new: BindingUpdateListEntry,
        previous_mag: IPv6Address | None,
        now: float,
    ) -> list[Step] | None:
        """Reactive, steps (b) and (c), unless pMAG was faster or is unknown."""
        handover = handover_of(entry)
        if entry and entry.state is State.AWAITED:
            return None
        if entry and entry.state is State.FORWARDED and handover:
            previous_mag = previous_mag or (handover.peer if handover.tunnel else self._own)
        previous_mag = previous_mag or self._exchanges.only_peer
        if previous_mag is None or previous_mag == self._own:
            return None
        if previous_mag not in self._exchanges.peers:
            # Plain registration.
            return [Note("previous-mag-unknown", new.mn_id, previous_mag), Request(new, HandoffIndicator.UNKNOWN)]
        requests = tuple(map(ContextRequest, (HNP_OPTION, LL_ID_OPTION, LMA_OPTION)))
        hi = HandoverInitiate(
            sequence=self._numbering.sequence(),
            flags=FORWARDING,
            mn_id=new.mn_id,
            mn_ll_id=new.mn_ll_id,
            requests=requests,
        )
        exchange = self._exchanges.begun(previous_mag, hi, now)
        asking = Handover(peer=previous_mag, leaving=False, exchange=exchange)
        return [Send(previous_mag, hi), replace(new, handover=asking)]

    def come(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry:
        """It was awaited."""
        return replace(restored(entry, self._numbering), restored=bool(entry.hnps))

    # pMAG announces it.

    def announced(
        self, source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        """Predictive, step (d)."""
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

    # pMAG has answered, or has not.

    def answered(
        self, entry: BindingUpdateListEntry, handover: Handover, exchange: Exchange, hack: HandoverAck, now: float
    ) -> list[Step]:
        """`handover` without the exchange that this is the end of."""
        if refuses(hack):
            return [Note(f"handover-refused-{int(hack.code)}", entry.mn_id, exchange.peer), self._alone(entry)]
        return self._adopted(entry, handover, hack, now)

    def waiting(self, entry: BindingUpdateListEntry) -> Step:
        """The HAck is late: an MN that has come is registered all the same."""
        waits = entry.state is State.REGISTERING and not entry.outstanding and not entry.hnps
        return Request(entry, HandoffIndicator.UNKNOWN) if waits else entry

    @staticmethod
    def unanswered(entry: BindingUpdateListEntry, handover: Handover, exchange: Exchange) -> list[Step]:
        return [replace(entry, handover=handover if handover.tunnel else None)]

    def _adopted(self, entry: BindingUpdateListEntry, handover: Handover, hack: HandoverAck, now: float) -> list[Step]:
        """Reactive, steps (e) to (g): the MN can be served, and is registered."""
        steps: list[Step] = []
        first = handover.part == 0
        entry = replace(entry, parts=with_part(entry.parts, handover.part, hack.contexts))
        more = hack.code is HandoverAckCode.CONTEXT_TRANSFER_ACCEPTED and hack.contexts
        if more and handover.peer and handover.part + 1 < DEFAULT_LIMITS.parts:
            # Section 6.1.2: there is more.
            request = ContextRequest(self._context_option, bytes((handover.part + 1,)))
            hi = HandoverInitiate(
                sequence=self._numbering.sequence(),
                flags=CONTEXT_ONLY,
                mn_id=entry.mn_id,
                mn_ll_id=entry.mn_ll_id,
                requests=(request,),
            )
            steps = [Send(handover.peer, hi)]
            exchange = self._exchanges.begun(handover.peer, hi, now)
            handover = replace(handover, exchange=exchange, part=handover.part + 1)
        if first:
            tunnel = bool(hack.flags & HandoverAckFlag.FORWARDING)
            handover = replace(handover, tunnel=tunnel, ends=now + 2 * self._lifetime)
        entry = replace(restored(entry, self._numbering), handover=handover)
        if entry.state is not State.REGISTERING or not first:
            return [entry, *steps]
        entry = replace(entry, hnps=hack.hnps, restored=handover.tunnel, mn_ll_id=entry.mn_ll_id or hack.mn_ll_id)
        # Appendix A.1: the same link-layer identifier is the same interface.
        same = hack.mn_ll_id in (None, entry.mn_ll_id)
        handoff = HandoffIndicator.BETWEEN_MAGS if same else HandoffIndicator.BETWEEN_INTERFACES
        serve: list[Step] = [entry if entry.outstanding else Request(entry, handoff), Announcement(entry)]
        return [*serve, *steps]

    @staticmethod
    def _alone(entry: BindingUpdateListEntry) -> Step:
        """Reactive: nothing comes of it; the MN is registered as in RFC 5213."""
        plain = replace(entry, handover=None)
        if entry.state is State.REGISTERING and not entry.outstanding:
            return Request(plain, HandoffIndicator.UNKNOWN)
        return plain

    # The end.

    @staticmethod
    def completed(source: IPv6Address, hi: HandoverInitiate, entry: BindingUpdateListEntry | None) -> list[Step]:
        """pMAG forwards no more. The answer says whether the MN has come."""
        handover = handover_of(entry)
        if entry is None or entry.state is State.AWAITED:
            gone: list[Step] = [Removal(entry)] if entry and handover and handover.peer == source else []
            return [*gone, Send(source, answer_to(hi, HandoverAckCode.REASON_UNSPECIFIED))]
        accept = Send(source, answer_to(hi, HandoverAckCode.ACCEPTED))
        if handover and not handover.leaving and handover.peer == source:
            return [replace(entry, handover=None), accept]
        return [accept]

    @staticmethod
    def ended(entry: BindingUpdateListEntry, handover: Handover, now: float) -> list[Step]:
        """pMAG has not said so, but it must have ceased to forward by now."""
        return [replace(entry, handover=None)]
