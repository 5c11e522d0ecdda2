"""Context Reflector (the paper's section 3), the anchor's half.

A de-registration with a context turns the Proxy BCE into a CCE: the context is reflected to the nMAG, the downlink is
held, the uplink accepted from both MAGs. The nMAG's registration overwrites the CCE; then what pMAG gave back goes out,
then what was held, and pMAG's context is revoked (RFC 5846).

The order of packets hangs on the end marker: a message from the old MAG that runs behind the last packet it gave back.
It is the old MAG's answer (CR-ack) to the PBA of its de-registration, or its BRA, whichever comes first.
"""

from ipaddress import IPv6Address
from math import inf
from typing import Any

from common.actions import UNRECOGNIZED_MH_TYPE, Action, Forwarding, Note, Send, ToPeer
from common.contexts import ContextRefused, Limits, nmag_address
from common.frozen import replace
from common.mh.messages import (
    AckFlag,
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextContinuation,
    ContextReflection,
    ContextReflectionAck,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    RevocationTrigger,
    Status,
    UpdateFlag,
)
from common.records import Recorded, Table
from lmad.binding_cache import BindingCache, BindingCacheEntry, State
from lmad.checks import Refusal
from lmad.config import LmadConfig
from lmad.handover.cce import Handover, handover_of
from lmad.handover.pmipv6 import Pmipv6

Change = tuple[BindingCacheEntry | None, list[Action]]


class ContextReflector(Pmipv6):
    """Which MAGs speak the extension is learnt: who sends the context flag does, who answers a Binding Error not."""

    holds = True
    states = frozenset(State)
    handover_kind = Handover

    def __init__(self, config: LmadConfig) -> None:
        super().__init__(config)
        self._speaks: Recorded[IPv6Address, bool] = Recorded()

    def follow(self, config: LmadConfig) -> None:
        super().follow(config)
        self._options = config.context_reflector
        self._limits = Limits.of(self._options)
        self._mags = frozenset(mag.address for mag in config.mag)
        self._strict = self._options.order == "strict"

    def tables(self) -> tuple[Table[Any, Any], ...]:
        return (Table("speaker", self._speaks, IPv6Address, bool),)

    def forwarding(self, bce: BindingCacheEntry) -> Forwarding:
        handover = handover_of(bce)
        if handover is None:
            return super().forwarding(bce)
        if bce.state is State.REGISTERED:
            # Back at the giver, what it gave back is kept until all has come, and goes out before what is held.
            open_ended = handover.returning or handover.giver != bce.proxy_coa
            return Forwarding(
                ToPeer(bce.proxy_coa),
                held=handover.returning,
                uplink_from=handover.closing,
                returned_from=handover.giver if open_ended else None,
            )
        both = handover.closing | {handover.pmag, *([handover.nmag] if handover.nmag else [])}
        if self._forwards_to(handover):
            assert handover.nmag is not None
            return Forwarding(
                ToPeer(handover.nmag), held=handover.returning, uplink_from=both, returned_from=handover.pmag
            )
        return Forwarding(ToPeer(handover.pmag), held=True, uplink_from=both, returned_from=handover.pmag)

    def holders(self, bce: BindingCacheEntry) -> frozenset[IPv6Address]:
        handover = handover_of(bce)
        if handover is None or bce.state is not State.CONTEXT:
            return super().holders(bce)
        return frozenset({handover.pmag, *([handover.nmag] if handover.nmag else [])})

    def deregistered(self, bce: BindingCacheEntry, pbu: ProxyBindingUpdate, now: float) -> BindingCacheEntry | Refusal:
        """Section 3.3: the Proxy BCE becomes a CCE."""
        if UpdateFlag.CONTEXT not in pbu.flags:
            return self.released(bce, now)
        self._speaks[bce.proxy_coa] = True
        try:
            self._limits.check(pbu.contexts)
            nmag = nmag_address(pbu.contexts)
        except ContextRefused as refused:
            return Refusal(Status.ADMINISTRATIVELY_PROHIBITED, refused.reason)
        if nmag is not None and nmag not in self._mags:
            return Refusal(Status.ADMINISTRATIVELY_PROHIBITED, "unknown-nmag")
        if nmag and (nmag == bce.proxy_coa or not self._speaks.get(nmag, True)):
            nmag = None
        before = handover_of(bce)
        handover = Handover(
            pmag=bce.proxy_coa,
            nmag=nmag,
            sequence=pbu.sequence,
            lifetime=round(self._options.context_lifetime, 1),
            contexts=pbu.contexts,
            giver=bce.proxy_coa,
            returning=self._strict,
            closing=before.closing if before else frozenset(),
            resend_at=now + self.revocations.initial_delay if self._options.acknowledge and nmag else inf,
        )
        expires = now + handover.lifetime
        return replace(bce, state=State.CONTEXT, lifetime=0, expires=expires, handover=handover)

    def registered(self, before: BindingCacheEntry | None, after: BindingCacheEntry, now: float) -> BindingCacheEntry:
        """Section 3.3: the nMAG's PBU overwrites the CCE; what is old is closed."""
        if before is None or before.state is State.DEREGISTERED:
            return after
        coa, old = after.proxy_coa, handover_of(before)
        resend_at = now + self.revocations.initial_delay
        if before.state is State.CONTEXT:
            assert old is not None
            if coa == old.nmag and coa not in self._speaks:  # it was sent the context, and did not say no
                self._speaks[coa] = True
            closing = (old.closing | {old.pmag, *([old.nmag] if old.nmag else [])}) - {coa}
            # Another MAG than predicted came, and the predicted one has packets: it gives them back when revoked.
            strayed = self._forwards_to(old) and old.nmag in closing
            giver = old.nmag if strayed and old.nmag else old.pmag
            returning = self._strict and (old.returning or strayed)
            if not closing and not returning:
                return replace(after, handover=None)
            handover = replace(old, giver=giver, returning=returning, closing=closing, resend_at=resend_at, retries=0)
        elif before.proxy_coa != coa and self._speaks.get(before.proxy_coa):
            # No de-registration came before the nMAG's PBU. What is on its way to pMAG comes back all the same.
            pmag = before.proxy_coa
            handover = Handover(
                pmag=pmag, giver=pmag, returning=self._strict, closing=frozenset({pmag}), resend_at=resend_at
            )
        else:
            return after
        return replace(after, handover=handover)

    def with_less(self, bce: BindingCacheEntry) -> BindingCacheEntry | None:
        """First without an order of packets, which takes a hold; then as RFC 5213 serves it."""
        handover = handover_of(bce)
        if handover is None or bce.state is not State.REGISTERED:
            return None
        return (
            self._settled(bce, replace(handover, returning=False))
            if handover.returning
            else replace(bce, handover=None)
        )

    def acknowledge(
        self, pba: ProxyBindingAck, pbu: ProxyBindingUpdate, before: BindingCacheEntry | None, after: BindingCacheEntry
    ) -> ProxyBindingAck:
        """The flag is echoed; an nMAG that sets it has no context yet, and gets what there is."""
        if UpdateFlag.CONTEXT not in pbu.flags:
            return pba
        old = handover_of(before)
        contexts = old.contexts if old and before and before.state is State.CONTEXT and pbu.lifetime else ()
        return replace(pba, flags=pba.flags | AckFlag.CONTEXT, contexts=contexts)

    def follow_up(
        self, before: BindingCacheEntry | None, after: BindingCacheEntry, pbu: ProxyBindingUpdate
    ) -> list[Action]:
        if UpdateFlag.CONTEXT in pbu.flags:
            self._speaks[after.proxy_coa] = True
        handover, old = handover_of(after), handover_of(before)
        if handover is None or before is None or (handover is old and after.state is before.state):
            return []
        if after.state is State.CONTEXT:
            return self._reflect(after, handover)
        actions: list[Action] = []
        if UpdateFlag.CONTEXT in pbu.flags and old and before.state is State.CONTEXT:
            actions += [Send(after.proxy_coa, part) for part in old.continuations]
        return actions + self._revoke(after, handover)

    def received(self, source: IPv6Address, message: Message, cache: BindingCache, now: float) -> Change | None:
        match message:
            case ContextContinuation():
                return self._continued(source, message, cache)
            case ContextReflectionAck(mn_id=MnId() as mn_id, sequence=sequence):
                return self._acknowledged(source, mn_id, sequence, cache)
            case BindingRevocationAck(mn_id=MnId() as mn_id):
                return self._revoked(source, mn_id, cache)
            case BindingError(status=status) if status == UNRECOGNIZED_MH_TYPE:
                return self._not_supported(source, cache)
        return None

    def expired(self, bce: BindingCacheEntry, now: float) -> tuple[BindingCacheEntry, list[Action]]:
        """The CR has had no answer: it is repeated as long as the CCE lives. Or the BRI: RFC 5846 section 6.3."""
        handover = handover_of(bce)
        assert handover is not None
        delay = self.revocations.delay(handover.retries + 1)
        again = replace(handover, retries=handover.retries + 1, resend_at=now + delay)
        if bce.state is State.CONTEXT:
            often = handover.retries == self.revocations.max_retries
            notes = [Note("context-unacknowledged", bce.mn_id, handover.nmag)] if often else []
            return replace(bce, handover=again), [*notes, *self._reflect(bce, again)]
        if handover.retries < self.revocations.max_retries:
            return replace(bce, handover=again), self._revoke(bce, again)
        if handover.retries > self.revocations.max_retries:
            return replace(bce, handover=None), []
        # Whoever has not answered by now has nothing to give back any more. But its context lives on, and should the MN
        # come back to it, it sends the uplink before it has asked us.
        silent = replace(
            handover,
            returning=False,
            retries=handover.retries + 1,
            resend_at=now + self._options.context_lifetime,
        )
        return replace(bce, handover=silent), [
            Note("revocation-unanswered", bce.mn_id, mag) for mag in sorted(handover.closing)
        ]

    def late(self, bce: BindingCacheEntry, pbu: ProxyBindingUpdate, source: IPv6Address, now: float) -> Change:
        """That MAG keeps a context that nobody will ask for: it is revoked."""
        if UpdateFlag.CONTEXT not in pbu.flags:
            return None, []
        self._speaks[source] = True
        if bce.state is not State.REGISTERED:
            return None, []
        old = handover_of(bce) or Handover(pmag=source, giver=source, returning=False)
        resend_at = now + self.revocations.initial_delay
        handover = replace(old, closing=old.closing | {source}, resend_at=resend_at, retries=0)
        return replace(bce, handover=handover), self._revoke(bce, replace(handover, closing=frozenset({source})))

    def _forwards_to(self, handover: Handover) -> bool:
        return self._options.downlink == "forward" and handover.nmag is not None

    def _reflect(self, bce: BindingCacheEntry, handover: Handover) -> list[Action]:
        if handover.nmag is None:
            return []
        reflection = ContextReflection(
            sequence=handover.sequence,
            lifetime=handover.lifetime,
            acknowledge=self._options.acknowledge,
            mn_id=bce.mn_id,
            hnps=bce.hnps,
            mn_ll_id=bce.mn_ll_id,
            contexts=handover.contexts,
        )
        return [Send(handover.nmag, reflection), *(Send(handover.nmag, part) for part in handover.lasting)]

    def _revoke(self, bce: BindingCacheEntry, handover: Handover) -> list[Action]:
        actions: list[Action] = []
        for mag in sorted(handover.closing):
            indication = BindingRevocationIndication(
                trigger=RevocationTrigger.HANDOVER_SAME_ACCESS,
                sequence=self.revocations.number(),
                mn_id=bce.mn_id,
                hnps=bce.hnps,
            )
            actions.append(Send(mag, indication))
        return actions

    def _continued(self, source: IPv6Address, part: ContextContinuation, cache: BindingCache) -> Change:
        """A part of the context that had no room in the PBU: it follows the rest to the nMAG."""
        for bce in cache.of(part.mn_id) if part.mn_id else ():
            handover = handover_of(bce)
            if handover is None or (handover.pmag, handover.sequence) != (source, part.sequence):
                continue
            if any(known.part == part.part for known in handover.continuations):
                return None, [Note("context-part-repeated", bce.mn_id, source)]
            longer = replace(handover, continuations=(*handover.continuations, part))
            try:
                self._limits.check(longer.pieces, part.parts)
            except ContextRefused as refused:
                return None, [Note(f"refused-{refused.reason}", bce.mn_id, source)]
            behind_cr = bce.state is State.CONTEXT
            target, passed = (handover.nmag, longer.lasting[-1]) if behind_cr else (bce.proxy_coa, part)
            return replace(bce, handover=longer), [Send(target, passed)] if target else []
        return None, [Note("context-part-without-context", part.mn_id, source)]

    def _acknowledged(self, source: IPv6Address, mn_id: MnId, sequence: int, cache: BindingCache) -> Change:
        """From the old MAG it is the end marker, from the nMAG it acknowledges the CR."""
        for bce in cache.of(mn_id):
            handover = handover_of(bce)
            if handover is None or handover.sequence != sequence:
                continue
            if source == handover.giver:
                return self._settled(bce, replace(handover, returning=False)), []
            if source == handover.nmag and bce.state is State.CONTEXT:
                return replace(bce, handover=replace(handover, resend_at=inf)), []
        return None, [Note("acknowledgement-without-context", mn_id, source)]

    def _revoked(self, source: IPv6Address, mn_id: MnId, cache: BindingCache) -> Change:
        """What the old MAG gave back before its BRA has come before it."""
        for bce in cache.of(mn_id):
            handover = handover_of(bce)
            if handover and source in handover.closing:
                returning = handover.returning and source != handover.giver
                return self._settled(
                    bce, replace(handover, closing=handover.closing - {source}, returning=returning)
                ), []
        return None, [Note("bra-without-bri", mn_id, source)]

    def _not_supported(self, source: IPv6Address, cache: BindingCache) -> Change:
        """That MAG keeps nothing for an MN that is to come: it is held here, as where nobody knows the nMAG."""
        self._speaks[source] = False
        note = Note("context-not-supported", peer=source)
        for bce in cache:
            handover = handover_of(bce)
            if handover and handover.nmag == source and bce.state is State.CONTEXT:
                return replace(bce, handover=replace(handover, nmag=None, resend_at=inf)), [note]
        return None, [note]

    @staticmethod
    def _settled(bce: BindingCacheEntry, handover: Handover) -> BindingCacheEntry:
        """Forget the handover once nothing of it is open."""
        over = bce.state is State.REGISTERED and not handover.closing and not handover.returning
        return replace(bce, handover=None if over else handover)
