"""What the gateway and its LMAs say of each other beside registrations: heartbeats (RFC 5847), revocation (RFC 5846).

Pure: decides which steps follow; the core carries them out. Who may say what the core has checked before.
"""

from collections.abc import Callable, Iterable
from dataclasses import replace
from ipaddress import IPv6Address, IPv6Network
from math import inf

from common.actions import Note, Send
from common.heartbeat import Fate, Heartbeats, PeerEvent
from common.mh.messages import (
    BindingError,
    BindingRevocationAck,
    BindingRevocationIndication,
    HandoffIndicator,
    Heartbeat,
    Message,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
)
from common.revocation import unsupported
from magd.binding_update_list import SERVED, BindingUpdateListEntry, State
from magd.config import Mag
from magd.handover.pmipv6 import Pmipv6
from magd.steps import Request, Step

UNRECOGNIZED_MH_TYPE = 2  # status of a Binding Error, RFC 6275 section 6.1.9
# The MN is thought not to be here any more; whoever has it says so (RFC 5846 section 9.1).
_GONE_TRIGGERS = frozenset(
    {
        RevocationTrigger.HANDOVER_SAME_ACCESS,
        RevocationTrigger.HANDOVER_DIFFERENT_ACCESS,
        RevocationTrigger.HANDOVER_UNKNOWN,
        RevocationTrigger.OUT_OF_SYNC,
    }
)
_ECHOED = RevocationFlag.PROXY | RevocationFlag.IPV4_HOA_ONLY | RevocationFlag.GLOBAL

Entries = Callable[[], Iterable[BindingUpdateListEntry]]


class Anchors:
    """`restart_counter` is the gateway's own."""

    def __init__(self, mag: Mag, scheme: Pmipv6, restart_counter: int) -> None:
        self.heartbeats = Heartbeats(mag.heartbeat_interval, mag.missing_heartbeats_allowed, restart_counter)
        self._scheme = scheme

    def received(self, source: IPv6Address, message: Message, entries: Entries, now: float) -> list[Step] | None:
        """From an LMA, with the whole binding update list; None: it is something else."""
        match message:
            case Heartbeat():
                actions, events = self.heartbeats.received(source, message, now)
                return [*actions, *self._changed(events, entries)]
            case BindingError(status=status) if status == UNRECOGNIZED_MH_TYPE:
                unknown = self.heartbeats.not_recognized(source)
                return [Note("heartbeat-not-supported", peer=source)] if unknown else None
            case BindingRevocationIndication():
                return self._indicated(source, message, [each for each in entries() if each.lma == source])
        return None

    def expire(self, now: float, entries: Entries) -> list[Step]:
        def shares_session(lma: IPv6Address) -> bool:
            return any(entry.lma == lma and entry.state in SERVED for entry in entries())

        actions, events = self.heartbeats.expire(now, shares_session)
        return [*actions, *self._changed(events, entries)]

    @staticmethod
    def _changed(events: Iterable[PeerEvent], entries: Entries) -> list[Step]:
        """An LMA that has lost its sessions hears of them again, under the prefixes that they had."""
        restarted = {event.peer for event in events if event.fate is Fate.RESTARTED}
        return [
            Request(replace(entry, state=State.REFRESHING, refresh_at=inf), HandoffIndicator.NOT_CHANGED)
            for entry in (entries() if restarted else ())
            if entry.lma in restarted and entry.state in SERVED
        ]

    def _indicated(
        self, source: IPv6Address, bri: BindingRevocationIndication, entries: list[BindingUpdateListEntry]
    ) -> list[Step]:
        """Sections 6.2.1 and 9.1. What is held for an MN that went elsewhere goes back before the answer."""
        status, meant = _meant(bri, entries)
        steps: list[Step] = []
        here: list[BindingUpdateListEntry] = []
        for entry in meant:
            ended = self._scheme.revoked(entry, moved=bri.trigger in _GONE_TRIGGERS)
            if ended is None:
                here.append(entry)
            else:
                steps += ended
        hnps = bri.hnps
        if here:
            partial = len(here) < len(meant)
            status = RevocationStatus.PARTIAL_SUCCESS if partial else RevocationStatus.MN_IS_ATTACHED
            hnps = tuple(hnp for entry in here for hnp in entry.hnps) if partial else hnps
        elif meant and (missing := _missing(bri, meant)):
            status, hnps = RevocationStatus.PARTIAL_SUCCESS, missing
        if status >= RevocationStatus.BINDING_DOES_NOT_EXIST:
            steps.append(Note(f"revocation-refused-{int(status)}", bri.mn_id, source))
        bra = BindingRevocationAck(
            status=status, sequence=bri.sequence, flags=bri.flags & _ECHOED, mn_id=bri.mn_id, hnps=hnps
        )
        return [*steps, Send(source, bra)]


def _meant(
    bri: BindingRevocationIndication, entries: list[BindingUpdateListEntry]
) -> tuple[RevocationStatus, list[BindingUpdateListEntry]]:
    """The status, as long as no MN objects, and the entries; one that is refused service has nothing to revoke."""
    if (refusal := unsupported(bri)) is not None:
        return refusal, []
    there = [entry for entry in entries if entry.state is not State.REFUSED]
    if bri.trigger == RevocationTrigger.PER_PEER_POLICY:
        if bri.mn_id or bri.hnps or bri.alternate_coa:
            return RevocationStatus.FUNCTION_NOT_SUPPORTED, []
        return RevocationStatus.SUCCESS, there
    if bri.trigger == RevocationTrigger.REVOKING_NODE_POLICY:
        name = str(bri.mn_id) if bri.mn_id and bri.mn_id.subtype == 1 else ""
        of_realm = [entry for entry in there if name.startswith("@") and str(entry.mn_id).endswith(name)]
        return RevocationStatus.SUCCESS if of_realm else RevocationStatus.REVOKED_IDENTITY_REQUIRED, of_realm
    wanted = set(bri.hnps)
    of_mn = [
        # One whose prefixes are not known yet can be no other.
        entry
        for entry in there
        if entry.mn_id == bri.mn_id and (not wanted or not entry.hnps or wanted & set(entry.hnps))
    ]
    return RevocationStatus.SUCCESS if of_mn else RevocationStatus.BINDING_DOES_NOT_EXIST, of_mn


def _missing(bri: BindingRevocationIndication, meant: list[BindingUpdateListEntry]) -> tuple[IPv6Network, ...]:
    known = {hnp for entry in meant for hnp in entry.hnps}
    return tuple(hnp for hnp in bri.hnps if hnp not in known) if known else ()
