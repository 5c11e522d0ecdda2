"""The Fast Handover Scheme (the paper's section 4.2), the anchor's half.

pMAG's Fast PBU names the MAG where the MN is going to be: the Proxy-CoA changes to it in that moment, so that the
downlink goes there, where it waits for the MN, and what still comes up from pMAG is refused (section 4.3.2). A Reverse
PBU tells nMAG of the MN. nMAG's own PBU, once the MN is there, makes the binding definite; until then it is one that
ends as a de-registered one does. Nothing is ever held here.
"""

from dataclasses import dataclass
from ipaddress import IPv6Address
from math import inf
from typing import Any

from common.actions import Action, Note, Send
from common.frozen import replace
from common.mh.bodies import body_of
from common.mh.messages import (
    BindingError,
    FastProxyBindingAck,
    FastProxyBindingUpdate,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    ReverseProxyBindingAck,
    ReverseProxyBindingUpdate,
    Status,
)
from common.records import Moment, Recorded, Table
from lmad.binding_cache import BindingCache, BindingCacheEntry, State
from lmad.checks import Refusal
from lmad.config import LmadConfig
from lmad.handover.pmipv6 import Pmipv6

INITIAL_TIMEOUT = 1.0  # RFC 6275 section 12: INITIAL_BINDACK_TIMEOUT, seconds; doubles with each Reverse PBU
MAX_RETRIES = 2
Change = tuple[BindingCacheEntry | None, list[Action]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Handover:
    """What is remembered of a Fast PBU until nMAG has registered the MN.

    `expires`: when the binding would have ended without it. `cancelled`: another MAG has registered the MN, and nMAG is
    being told that it does not come.
    """

    pmag: IPv6Address
    nmag: IPv6Address
    asked: FastProxyBindingUpdate
    expires: Moment
    cancelled: bool = False
    resend_at: Moment
    retries: int = 0

    @property
    def deadline(self) -> float:
        return self.resend_at

    def describe(self) -> dict[str, object]:
        stage = "cancelled" if self.cancelled else "announced" if self.resend_at < inf else "awaited"
        return {"pmag": str(self.pmag), "nmag": str(self.nmag), "stage": stage}


class FastHandover(Pmipv6):
    """Which MAGs do not speak it is learnt: whoever answers a Binding Error, until it says something of the scheme."""

    handover_kind = Handover

    def __init__(self, config: LmadConfig) -> None:
        super().__init__(config)
        self._lacking: Recorded[IPv6Address, bool] = Recorded()

    def follow(self, config: LmadConfig) -> None:
        super().follow(config)
        self._max_lifetime = config.lma.max_lifetime

    def tables(self) -> tuple[Table[Any, Any], ...]:
        return (Table("lacks-fast-handover", self._lacking, IPv6Address, bool),)

    def as_update(self, message: Message) -> ProxyBindingUpdate | None:
        """A Fast PBU is judged as a PBU is (RFC 5213 section 5.3.1)."""
        if not isinstance(message, FastProxyBindingUpdate):
            return None
        return ProxyBindingUpdate(**body_of(message), alternate_coa=message.nmag)

    def requested(
        self, source: IPv6Address, message: Message, bce: BindingCacheEntry | None, now: float
    ) -> BindingCacheEntry | Refusal | None:
        """A Fast PBU that passed the checks; as with a de-registration only the serving MAG is answered (5.3.5)."""
        assert isinstance(message, FastProxyBindingUpdate)
        self._lacking.pop(source, None)
        nmag = message.nmag
        if bce is None or bce.state is not State.REGISTERED:
            return None
        if bce.proxy_coa != source:
            # Said once more to where the MN is by now: its answer was lost, or nMAG was faster.
            return bce if bce.proxy_coa == nmag else None
        if objection := self._objection(source, message):
            return objection
        assert nmag is not None
        return replace(
            bce,
            proxy_coa=nmag,
            sequence=message.sequence,
            timestamp=message.timestamp or bce.timestamp,
            lifetime=min(message.lifetime, self._max_lifetime),
            expires=now + self._min_delay_before_bce_delete,
            handover=Handover(
                pmag=source, nmag=nmag, asked=message, expires=bce.expires, resend_at=now + INITIAL_TIMEOUT
            ),
        )

    def _objection(self, pmag: IPv6Address, message: FastProxyBindingUpdate) -> Refusal | None:
        objections = (
            (message.nmag is None, Status.REASON_UNSPECIFIED, "missing-nmag"),
            (message.lifetime == 0, Status.REASON_UNSPECIFIED, "fast-pbu-without-lifetime"),
            (message.nmag == pmag, Status.REASON_UNSPECIFIED, "nmag-is-pmag"),
            (message.nmag in self._lacking, Status.ADMINISTRATIVELY_PROHIBITED, "nmag-without-fast-handover"),
        )
        return next((Refusal(status, reason) for holds, status, reason in objections if holds), None)

    def answer(self, pba: ProxyBindingAck, asked: Message | None) -> Message:
        return FastProxyBindingAck(**body_of(pba)) if isinstance(asked, FastProxyBindingUpdate) else pba

    def deregistered(self, bce: BindingCacheEntry, pbu: ProxyBindingUpdate, now: float) -> BindingCacheEntry | Refusal:
        return super().deregistered(replace(bce, handover=None), pbu, now)

    def registered(self, before: BindingCacheEntry | None, after: BindingCacheEntry, now: float) -> BindingCacheEntry:
        """nMAG's PBU is what was waited for; another MAG's means that the MN does not come to nMAG."""
        handover = _handover(before)
        if handover is None or after.proxy_coa == handover.nmag:
            return replace(after, handover=None)
        if handover.cancelled:
            return after
        cancelled = replace(handover, cancelled=True, resend_at=now + INITIAL_TIMEOUT, retries=0)
        return replace(after, handover=cancelled)

    def follow_up(
        self, before: BindingCacheEntry | None, after: BindingCacheEntry, pbu: ProxyBindingUpdate
    ) -> list[Action]:
        handover, old = _handover(after), _handover(before)
        if handover is None or (old and old.asked == handover.asked and old.cancelled == handover.cancelled):
            return []
        return [self._reverse(after, handover)]

    def received(self, source: IPv6Address, message: Message, cache: BindingCache, now: float) -> Change | None:
        match message:
            case ReverseProxyBindingAck(mn_id=MnId() as mn_id):
                self._lacking.pop(source, None)
                for bce in cache.of(mn_id):
                    handover = _handover(bce)
                    if handover and (handover.nmag, handover.asked.sequence) == (source, message.sequence):
                        return self._acknowledged(bce, handover, message)
                return None, [Note("reverse-pba-without-reverse-pbu", mn_id, source)]
            case BindingError():
                return self._not_supported(source, cache)
        return None

    def expired(self, bce: BindingCacheEntry, now: float) -> tuple[BindingCacheEntry, list[Action]]:
        """The Reverse PBU has had no answer."""
        handover = _handover(bce)
        assert handover is not None
        if handover.retries < MAX_RETRIES:
            retries = handover.retries + 1
            again = replace(handover, retries=retries, resend_at=now + INITIAL_TIMEOUT * 2**retries)
            return replace(bce, handover=again), [self._reverse(bce, again)]
        # An nMAG that is not heard of has not got the MN either: then the binding ends by itself.
        silent = None if handover.cancelled else replace(handover, resend_at=inf)
        return replace(bce, handover=silent), [Note("reverse-pbu-unanswered", bce.mn_id, handover.nmag)]

    def _reverse(self, bce: BindingCacheEntry, handover: Handover) -> Send:
        """The context of the MN (section 4.3.3): policy profile and Proxy-CoA, and with what the numbering goes on."""
        return Send(
            handover.nmag,
            ReverseProxyBindingUpdate(
                sequence=handover.asked.sequence,
                lifetime=0 if handover.cancelled else bce.lifetime,
                mn_id=bce.mn_id,
                hnps=bce.hnps,
                handoff_indicator=HandoffIndicator.BETWEEN_MAGS,
                access_technology=bce.access_technology,
                mn_ll_id=bce.mn_ll_id,
                link_local=bce.link_local,
                timestamp=handover.asked.timestamp,
                pmag=handover.pmag,
            ),
        )

    def _acknowledged(self, bce: BindingCacheEntry, handover: Handover, message: ReverseProxyBindingAck) -> Change:
        if handover.cancelled:
            if message.lifetime:  # of the announcement, on its way when that was taken back
                return None, []
            return replace(bce, handover=None), []
        if message.status >= Status.REASON_UNSPECIFIED:
            return self._taken_back(bce, handover, message.status)
        return replace(bce, handover=replace(handover, resend_at=inf)), []

    def _not_supported(self, source: IPv6Address, cache: BindingCache) -> Change:
        """A MAG that does not know the message: it gets none again, and plain PMIPv6 does what was asked."""
        self._lacking[source] = True
        note = Note("fast-handover-not-supported", peer=source)
        for bce in cache:
            handover = _handover(bce)
            if handover and handover.nmag == source:
                if handover.cancelled:
                    return replace(bce, handover=None), [note]
                after, actions = self._taken_back(bce, handover, Status.ADMINISTRATIVELY_PROHIBITED)
                return after, [note, *actions]
        return None, [note]

    def _taken_back(self, bce: BindingCacheEntry, handover: Handover, status: Status) -> Change:
        """nMAG will not have the MN: it is pMAG's again, which hears of it and goes on as plain PMIPv6 would."""
        back = replace(bce, proxy_coa=handover.pmag, expires=handover.expires, handover=None)
        asked = handover.asked
        refusal = FastProxyBindingAck(
            status=status,
            sequence=asked.sequence,
            lifetime=0,
            mn_id=asked.mn_id,
            hnps=asked.hnps,
            handoff_indicator=asked.handoff_indicator,
            access_technology=asked.access_technology,
            mn_ll_id=asked.mn_ll_id,
            timestamp=asked.timestamp,
        )
        note = Note(f"refused-by-nmag-{int(status)}", bce.mn_id, handover.nmag)
        return back, [note, Send(handover.pmag, refusal)]


def _handover(bce: BindingCacheEntry | None) -> Handover | None:
    return bce.handover if bce and isinstance(bce.handover, Handover) else None
