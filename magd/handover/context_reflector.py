"""Context Reflector (the paper's section 3), the gateway's half.

As pMAG: the de-registration carries the MN's context and, when known, the nMAG's address; the context stays here until
it is revoked or has run out, and what still arrives for the MN goes back to the LMA by itself. As nMAG: a reflected
context prepares the MN's path, so that it is served from the moment it comes.
"""

from dataclasses import replace
from ipaddress import IPv6Address

from common.actions import Action, Forwarding, HoldUplink, Note, Send, ToAccess
from common.contexts import ContextRefused, Limits, fragment
from common.mh.messages import (
    AckFlag,
    ContextContinuation,
    ContextData,
    ContextReflection,
    ContextReflectionAck,
    Feature,
    HandoffIndicator,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
    Status,
    UpdateFlag,
)
from magd.binding_update_list import GONE, SERVED, BindingUpdateListEntry, State, unserved
from magd.config import MagdConfig
from magd.context import SCHEME_FEATURES
from magd.context.transfer import carried, configured, restored, with_part
from magd.handover.pmipv6 import Pmipv6
from magd.profiles import Profiles
from magd.steps import Removal, Request, Step


class ContextReflector(Pmipv6):
    predictive = True
    keeps_uplink = True
    gives_back = True
    states = Pmipv6.states | {State.LEFT, State.AWAITED}

    def follow(self, config: MagdConfig) -> None:
        self._profiles = Profiles(config)
        self._opaque = configured(config)
        neighbours = config.context_reflector.neighbours
        self._only_neighbour = neighbours[0] if len(neighbours) == 1 else None
        self._lma = config.mag.lma
        self._lifetime = config.context_reflector.context_lifetime
        self._limits = Limits.of(config.context_reflector)

    @staticmethod
    def hold_packets(config: MagdConfig) -> int | None:
        return config.context_reflector.hold_packets

    def forwarding(self, entry: BindingUpdateListEntry) -> Forwarding | None:
        if not entry.hnps or not entry.interface:
            return None
        if entry.state in SERVED | GONE or entry.restored:
            downlink = ToAccess(entry.interface, entry.mac, entry.link_local)
            held = entry.state is State.AWAITED
            return Forwarding(downlink, held=held, uplink_to=entry.lma, give_back=True)
        return None

    def request(
        self, entry: BindingUpdateListEntry, pbu: ProxyBindingUpdate
    ) -> tuple[ProxyBindingUpdate, list[Action]]:
        """The flag on a de-registration says that it carries a context, on a registration that one is wanted.

        Of a context that is too large only that travels which the handover itself needs.
        """
        if pbu.lifetime:
            wanted = entry.state is State.REGISTERING and not entry.restored
            return (replace(pbu, flags=pbu.flags | UpdateFlag.CONTEXT) if wanted else pbu), []
        nmag = entry.nmag or self._only_neighbour
        pieces = (
            *([ContextData(Feature.NMAG_ADDRESS, nmag.packed)] if nmag else []),
            *carried(entry, pbu.sequence, pbu.timestamp, self._opaque),
        )
        flagged = replace(pbu, flags=pbu.flags | UpdateFlag.CONTEXT)
        try:
            first, rest = fragment(flagged, pieces, limits=self._limits)
        except ContextRefused as refused:
            first, _ = fragment(flagged, (piece for piece in pieces if piece.feature in SCHEME_FEATURES))
            return first, [Note(f"refused-{refused.reason}", entry.mn_id, entry.lma)]
        return first, [Send(entry.lma, part) for part in rest]

    def heard(self, pba: ProxyBindingAck, entry: BindingUpdateListEntry | None) -> list[Step]:
        """The end marker: the PBA ran behind the last packet for the MN, this runs behind the last one given back.

        Or the MN left before its registration was answered: what waits here for its prefixes can now go back.
        """
        if pba.status >= Status.REASON_UNSPECIFIED:
            return []
        if pba.lifetime:
            left_early = entry and entry.state in GONE and not entry.hnps
            return [replace(entry, hnps=pba.hnps)] if entry and left_early else []
        if not pba.flags & AckFlag.CONTEXT:
            return []
        end_marker = ContextReflectionAck(
            status=Status.ACCEPTED,
            sequence=pba.sequence,
            lifetime=round(self._lifetime, 1),
            mn_id=pba.mn_id,
            hnps=pba.hnps,
            mn_ll_id=pba.mn_ll_id,
        )
        profile = self._profiles.of(pba.mn_id, ll_id=pba.mn_ll_id) if pba.mn_id else None
        return [Send(profile.lma if profile else self._lma, end_marker)]

    def resumed(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry | None:
        """Awaited, or back where it left: in both cases the context is here."""
        if entry.state is State.AWAITED:
            return self._restored(entry)
        return replace(entry, restored=True) if entry.state in GONE and entry.hnps else None

    def registered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck) -> BindingUpdateListEntry:
        """The LMA has accepted it; a context that had not come before may have come with the answer."""
        if not pba.contexts:
            return entry
        return self._restored(replace(entry, parts=with_part(entry.parts, 0, pba.contexts)))

    def deregistered(self, entry: BindingUpdateListEntry, pba: ProxyBindingAck | None, now: float) -> list[Step]:
        """The context stays for a while: the MN may come back, and packets for it may still come down."""
        left = replace(entry, state=State.LEFT, outstanding=None, expires=now + self._lifetime)
        if pba is None:
            return [left]
        if pba.status >= Status.REASON_UNSPECIFIED:
            note = Note(f"context-refused-{int(pba.status)}", entry.mn_id, entry.lma)
            # An MN that is still here goes on being served. One that left may have what the LMA sends after it; what
            # the LMA did accept (an earlier copy of the request, or the nMAG's) it will revoke.
            stays = Request(unserved(replace(entry, nmag=None), State.REGISTERING), HandoffIndicator.UNKNOWN)
            return [note, stays if entry.present else left]
        # An LMA without the extension has made a plain de-registration of it.
        return [left if pba.flags & AckFlag.CONTEXT else Removal(entry)]

    def received(
        self, source: IPv6Address, message: Message, entry: BindingUpdateListEntry | None, now: float
    ) -> list[Step] | None:
        match message:
            case ContextReflection(mn_id=MnId()):
                return self._reflected(source, message, 0, entry, now)
            case ContextContinuation(mn_id=MnId(), part=part):
                return self._reflected(source, message, part, entry, now)
        return None

    def refused(self, interface: str) -> list[Action]:
        return [HoldUplink(interface, keep=False)]

    def idle(self, interface: str) -> list[Action]:
        return [HoldUplink(interface, keep=True)]

    def _restored(self, entry: BindingUpdateListEntry) -> BindingUpdateListEntry:
        return restored(entry, self.numbering, self._limits)

    def _reflected(
        self,
        source: IPv6Address,
        message: ContextReflection | ContextContinuation,
        part: int,
        entry: BindingUpdateListEntry | None,
        now: float,
    ) -> list[Step]:
        """A context, or a part of one; it may come before the MN, or while the MN registers."""
        assert message.mn_id is not None
        steps: list[Step] = []
        if isinstance(message, ContextReflection) and message.acknowledge:
            answer = ContextReflectionAck(
                status=Status.ACCEPTED,
                sequence=message.sequence,
                lifetime=message.lifetime,
                mn_id=message.mn_id,
                hnps=message.hnps,
                mn_ll_id=message.mn_ll_id,
            )
            steps.append(Send(source, answer))
        if entry and entry.state in SERVED | {State.REFUSED}:
            return self._late(entry, message, part, steps)
        fresh = entry is None or entry.context_sequence != message.sequence
        if entry is None or (fresh and entry.state is not State.REGISTERING):
            profile = self._profiles.of(message.mn_id, ll_id=message.mn_ll_id)
            entry = BindingUpdateListEntry(
                mn_id=message.mn_id,
                mn_ll_id=(profile and profile.ll_id) or message.mn_ll_id,
                interface=(profile and profile.interface) or "",
                lma=source,
                state=State.AWAITED,
                present=False,
            )
        parts = with_part(() if fresh else entry.parts, part, message.contexts)
        entry = replace(entry, context_sequence=message.sequence, parts=parts, hnps=entry.hnps or message.hnps)
        if entry.state is State.AWAITED:
            awaited = replace(entry, restored=True, expires=now + message.lifetime)
            return [*steps, awaited, Note("context-stored", entry.mn_id, source)]
        # The MN was faster than its context.
        return [*steps, self._restored(entry), Note("context-stored", entry.mn_id, source)]

    def _late(
        self,
        entry: BindingUpdateListEntry,
        message: ContextReflection | ContextContinuation,
        part: int,
        steps: list[Step],
    ) -> list[Step]:
        """Served already: a part that completes what came with the PBA is of use, anything else is stale."""
        other = entry.context_sequence not in (None, message.sequence)
        if other or not entry.parts or entry.state is State.REFUSED:
            return [*steps, Note("context-stale", entry.mn_id)]
        return [*steps, self._restored(replace(entry, parts=with_part(entry.parts, part, message.contexts)))]
