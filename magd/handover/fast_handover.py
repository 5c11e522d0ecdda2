"""The Fast Handover Scheme (the paper's section 4.2), the gateway's half.

As pMAG: instead of a de-registration a Fast PBU says where the MN is about to be (predictive), or where it has gone
(reactive); an MN that is still here keeps its path down. As nMAG: a Reverse PBU makes the MN's path, on which what
comes for it waits until it attaches. Without a known nMAG, and with an anchor that lacks it, plain PMIPv6.

Flow management is the anchor's and the nMAG's, and of the downlink only (Table 1): a pMAG gives nothing back, and what
an MN sends before it has a path here is not kept.
"""

from dataclasses import replace
from ipaddress import IPv6Address

from common.actions import Action, Forwarding, Note, Send, ToAccess
from common.mh.bodies import body_of
from common.mh.messages import (
    AccessTechnologyType,
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
from magd.binding_update_list import (
    GONE,
    INITIAL_BINDACK_TIMEOUT,
    LAST_TIMEOUT,
    SERVED,
    BindingUpdateListEntry,
    Outstanding,
    State,
    unserved,
)
from magd.config import MagdConfig
from magd.handover.pmipv6 import Pmipv6
from magd.numbering import Numbering
from magd.profiles import Profile, Profiles
from magd.steps import Removal, Request, Step

# The anchor has heard something newer of the MN than the Fast PBU: that, or a copy of the Fast PBU itself.
DISORDERED = frozenset({Status.TIMESTAMP_LOWER_THAN_PREV_ACCEPTED, Status.SEQUENCE_OUT_OF_WINDOW})


class FastHandover(Pmipv6):
    """Whether the anchor speaks it is learnt: not from a Binding Error on, until it says something of the scheme."""

    predictive = True
    states = Pmipv6.states | {State.LEFT, State.AWAITED}

    def __init__(self, config: MagdConfig, numbering: Numbering) -> None:
        super().__init__(config, numbering)
        self._access_technology = AccessTechnologyType(config.mag.access_technology)
        self._spoken = True

    def follow(self, config: MagdConfig) -> None:
        links = config.mag.access_interfaces
        self._only_link = links[0] if len(links) == 1 else ""
        self._profiles = Profiles(config)
        neighbours = config.fast_handover.neighbours
        self._only_neighbour = neighbours[0] if len(neighbours) == 1 else None
        self._wait = config.fast_handover.wait

    @staticmethod
    def hold_packets(config: MagdConfig) -> int | None:
        return config.fast_handover.hold_packets

    def forwarding(self, entry: BindingUpdateListEntry) -> Forwarding | None:
        """An MN that left has no path any more once all that ran down the old one has come: what comes for it then
        comes ahead of a Reverse PBU, and waits."""
        if not entry.hnps or not entry.interface or (not entry.present and self._is_old_path_empty(entry)):
            return None
        if entry.state in SERVED | GONE or entry.restored:
            held = entry.state is State.AWAITED
            return Forwarding(ToAccess(entry.interface, entry.mac, entry.link_local), held=held, uplink_to=entry.lma)
        return None

    @staticmethod
    def _is_old_path_empty(entry: BindingUpdateListEntry) -> bool:
        """The Fast PBA ran behind the last packet of the old path; without it, a time-out is longer than any path."""
        asked_again = entry.outstanding is not None and entry.outstanding.timeout > INITIAL_BINDACK_TIMEOUT
        return entry.state is State.LEFT or (entry.state is State.DEREGISTERING and asked_again)

    def announced(self, entry: BindingUpdateListEntry, nmag: IPv6Address | None) -> BindingUpdateListEntry | None:
        """Without an nMAG there is nothing to ask the anchor for while the MN is here."""
        going = super().announced(entry, nmag or self._only_neighbour)
        return going if going and going.nmag and self._spoken else None

    def request(
        self, entry: BindingUpdateListEntry, pbu: ProxyBindingUpdate
    ) -> tuple[ProxyBindingUpdate | FastProxyBindingUpdate, list[Action]]:
        """A de-registration becomes a Fast PBU when it is known where the MN goes."""
        nmag = entry.nmag or self._only_neighbour
        if pbu.lifetime or nmag is None or not entry.hnps or not entry.lifetime or not self._spoken:
            return pbu, []
        return FastProxyBindingUpdate(**{**body_of(pbu), "lifetime": entry.lifetime}, nmag=nmag), []

    def resumed(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry | None:
        """Awaited, or back where it left while its path is still here."""
        return replace(entry, restored=True) if entry.state in GONE | {State.AWAITED} and entry.hnps else None

    def deregistered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck | None, now: float) -> list[Step]:
        """The answer to a plain de-registration, or none in time to that or to a Fast PBU."""
        outstanding = entry.outstanding
        if pba or outstanding is None or not isinstance(outstanding.pbu, FastProxyBindingUpdate):
            return [Removal(entry)]
        if not self._spoken or outstanding.timeout >= LAST_TIMEOUT:
            return [Note("fast-pbu-unanswered", entry.mn_id, entry.lma), *self._plainly(entry, now)]
        timestamp = self.numbering.timestamp(now, entry.timestamp)
        pbu = replace(outstanding.pbu, sequence=self.numbering.sequence(), timestamp=timestamp)
        again = Outstanding(pbu=pbu, sent=now, timeout=2 * outstanding.timeout)
        return [Send(entry.lma, pbu), replace(entry, outstanding=again, timestamp=timestamp)]

    def received(
        self, source: IPv6Address, message: Message, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step] | None:
        match message:
            case FastProxyBindingAck():
                self._spoken = True
                return self._answered(source, message, entry, now)
            case ReverseProxyBindingUpdate(mn_id=MnId()):
                self._spoken = True
                return self._told(source, message, entry, now)
            case BindingError():
                self._spoken = False  # what is outstanding goes on as plain PMIPv6 when its time is up
                return [Note("fast-handover-not-supported", peer=source)]
        return None

    def unprepared(self, entry: BindingUpdateListEntry) -> list[Action]:
        """The kernel cannot hold for this MN: the anchor is told, be it after it was told otherwise."""
        refusal = ReverseProxyBindingAck(
            status=Status.INSUFFICIENT_RESOURCES,
            sequence=entry.context_sequence or 0,
            lifetime=0,
            mn_id=entry.mn_id,
            hnps=entry.hnps,
            mn_ll_id=entry.mn_ll_id,
        )
        return [Send(entry.lma, refusal)]

    def _answered(
        self, source: IPv6Address, answer: FastProxyBindingAck, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step]:
        outstanding = entry.outstanding if entry else None
        refused = answer.status >= Status.REASON_UNSPECIFIED
        if (
            entry
            and outstanding
            and isinstance(outstanding.pbu, FastProxyBindingUpdate)
            and outstanding.pbu.sequence == answer.sequence
        ):
            if outstanding.was_late(answer, now):
                return self.deregistered(entry, None, now)
            if not refused or (answer.status in DISORDERED and not entry.present):
                left = replace(entry, state=State.LEFT, outstanding=None, expires=now + self._wait)
                return [replace(left, context_sequence=answer.sequence)]
        elif not (
            # The nMAG has refused after the anchor had accepted. (What came of a copy is no word on the first one.)
            entry
            and refused
            and answer.status not in DISORDERED
            and (entry.state, entry.context_sequence) == (State.LEFT, answer.sequence)
        ):
            return [Note("fast-pba-without-fast-pbu", answer.mn_id, source)]
        return [Note(f"fast-pbu-refused-{int(answer.status)}", entry.mn_id, source), *self._plainly(entry, now)]

    def _plainly(self, entry: BindingUpdateListEntry, now: float) -> list[Step]:
        """As plain PMIPv6 has it: an MN that is here is served, one that has left is de-registered."""
        if entry.present:
            stays = replace(unserved(entry, State.REGISTERING), lifetime=entry.lifetime, nmag=None, restored=True)
            return [Request(stays, HandoffIndicator.UNKNOWN)]
        timestamp = self.numbering.timestamp(now, entry.timestamp)
        pbu = ProxyBindingUpdate(
            sequence=self.numbering.sequence(),
            lifetime=0,
            mn_id=entry.mn_id,
            hnps=entry.hnps,
            handoff_indicator=HandoffIndicator.UNKNOWN,
            access_technology=self._access_technology,
            mn_ll_id=entry.mn_ll_id,
            timestamp=timestamp,
        )
        gone = replace(unserved(entry, State.DEREGISTERING), outstanding=Outstanding(pbu=pbu, sent=now))
        return [Send(entry.lma, pbu), replace(gone, timestamp=timestamp)]

    def _told(
        self,
        source: IPv6Address,
        message: ReverseProxyBindingUpdate,
        entry: BindingUpdateListEntry | None,
        now: float,
    ) -> list[Step]:
        """An MN will come, or will not after all."""
        assert message.mn_id is not None
        if message.lifetime == 0:
            ends = entry and (entry.state, entry.context_sequence) == (State.AWAITED, message.sequence)
            removals: list[Step] = [Removal(entry)] if entry and ends else []
            return [*removals, _acknowledge(source, message)]
        profile = self._profiles.of(message.mn_id, ll_id=message.mn_ll_id)
        if profile is None or not message.hnps:
            return [
                Note("refused-unknown-mobile-node", message.mn_id, source),
                _acknowledge(source, message, Status.ADMINISTRATIVELY_PROHIBITED),
            ]
        told = self._expected(message, profile, entry, source, now)
        self.numbering.continue_from(message.sequence)
        note = Note("context-stored", message.mn_id, source)
        steps: list[Step] = [told, note] if told else []
        # The answer last: should the kernel refuse the path, it is never said that the MN can come.
        return [*steps, _acknowledge(source, message)]

    def _expected(
        self,
        message: ReverseProxyBindingUpdate,
        profile: Profile,
        entry: BindingUpdateListEntry | None,
        source: IPv6Address,
        now: float,
    ) -> BindingUpdateListEntry | None:
        """The MN's entry with what is now known of it; None: nothing that matters any more."""
        if entry and entry.state is State.REGISTERING:
            # The MN was faster: it need not wait for the answer to its PBU.
            known = replace(entry, hnps=message.hnps, lifetime=message.lifetime, restored=True)
            return None if entry.hnps else known
        newest = entry.timestamp if entry else None
        stale = newest is not None and message.timestamp is not None and message.timestamp <= newest
        if entry and (stale or entry.state in SERVED | {State.REFUSED}):
            return None
        return BindingUpdateListEntry(
            mn_id=profile.mn_id,
            mn_ll_id=profile.ll_id or message.mn_ll_id,
            interface=profile.interface or self._only_link,
            lma=source,
            state=State.AWAITED,
            present=False,
            restored=True,
            context_sequence=message.sequence,
            timestamp=message.timestamp,
            hnps=message.hnps,
            lifetime=message.lifetime,
            expires=now + self._wait,
        )


def _acknowledge(source: IPv6Address, message: ReverseProxyBindingUpdate, status: Status = Status.ACCEPTED) -> Send:
    answer = ReverseProxyBindingAck(
        status=status,
        sequence=message.sequence,
        lifetime=message.lifetime if status < Status.REASON_UNSPECIFIED else 0,
        mn_id=message.mn_id,
        hnps=message.hnps,
        handoff_indicator=message.handoff_indicator,
        access_technology=message.access_technology,
        mn_ll_id=message.mn_ll_id,
        timestamp=message.timestamp,
    )
    return Send(source, answer)
