"""Binding revocation at the anchor (RFC 5846 section 8): what it revokes, what MAGs revoke.

Whether a session ends or is de-registered is the core's to carry out: `end` and `release` are its.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv6Address, IPv6Network

from common.actions import Action, Note, Send
from common.mh.messages import (
    BindingRevocationAck,
    BindingRevocationIndication,
    MnId,
    RevocationFlag,
    RevocationStatus,
    RevocationTrigger,
)
from common.revocation import Outstanding, Revocations, unsupported
from lmad.binding_cache import BindingCache, BindingCacheEntry, State
from lmad.waiting import Waiting

GLOBAL = RevocationFlag.PROXY | RevocationFlag.GLOBAL
_ECHOED = RevocationFlag.PROXY | RevocationFlag.IPV4_HOA_ONLY | RevocationFlag.GLOBAL
_NOT_THERE = RevocationStatus.BINDING_DOES_NOT_EXIST


class Purpose(Enum):
    """Why the anchor revokes, and so what an answer means."""

    END = "end"  # the operator's word: the sessions end, whatever the MAG says
    MOVED = "moved"  # the MN may have left that MAG: it says so, or that the MN is attached there
    VERIFY = "verify"  # the MAG may have forgotten the session


@dataclass(frozen=True, slots=True)
class Revoked:
    """What an outstanding BRI is about: these sessions at that MAG."""

    purpose: Purpose
    mag: IPv6Address
    keys: tuple[IPv6Network, ...]


@dataclass(frozen=True, slots=True)
class Judgement:
    """On a MAG's indication: the answer's status, what ends, what could not be found."""

    status: RevocationStatus
    doomed: tuple[BindingCacheEntry, ...] = ()
    missing: tuple[IPv6Network, ...] = ()


class Revoking:
    """`identities`: the MN-ID under which a MAG may revoke everything of its own (section 13)."""

    def __init__(
        self,
        *,
        revocations: Revocations[Revoked],
        cache: BindingCache,
        waiting: Waiting,
        holders: Callable[[BindingCacheEntry], frozenset[IPv6Address]],
        end: Callable[[BindingCacheEntry], Iterator[Action]],
        release: Callable[[BindingCacheEntry, float], Iterator[Action]],
        identities: dict[IPv6Address, MnId],
    ) -> None:
        self._revocations = revocations
        self._cache = cache
        self._waiting = waiting
        self._holders = holders
        self._end = end
        self._release = release
        self.identities = identities
        self._in_progress: dict[IPv6Network, tuple[IPv6Address, Purpose]] = {}

    # What the anchor revokes.

    def sessions_of(self, mn_id: MnId, now: float) -> Iterator[Action]:
        """Every session of the MN, by the operator's word."""
        for bce in self._cache.of(mn_id):
            yield from self._one(bce, Purpose.END, RevocationTrigger.ADMINISTRATIVE, now)

    def sessions_at(self, mag: IPv6Address, realm: str | None, now: float) -> Iterator[Action]:
        """Every session at the MAG, or those of a realm (the part of an MN-ID behind `@`), with one indication."""
        keys = tuple(bce.key for bce in self._cache.at(mag) if realm is None or _realm(bce.mn_id) == realm)
        trigger = RevocationTrigger.PER_PEER_POLICY if realm is None else RevocationTrigger.REVOKING_NODE_POLICY
        bri = BindingRevocationIndication(
            trigger=trigger, sequence=0, flags=GLOBAL, mn_id=None if realm is None else MnId.nai(f"@{realm}")
        )
        yield Note("global-revocation", peer=mag, detail=f"{len(keys)} sessions")
        yield self._begin(mag, bri, Revoked(Purpose.END, mag, keys), now)

    def ask(self, bce: BindingCacheEntry, now: float) -> Iterator[Action]:
        """Section 8.1: has the MN left? Asked once while there is no answer."""
        if bce.key not in self._in_progress:
            yield from self._one(bce, Purpose.MOVED, RevocationTrigger.HANDOVER_UNKNOWN, now)

    def verify(self, bce: BindingCacheEntry, now: float) -> Iterator[Action]:
        """Its MAG has restarted: does it know this session?"""
        if bce.key not in self._in_progress:
            yield from self._one(bce, Purpose.VERIFY, RevocationTrigger.OUT_OF_SYNC, now)

    def ends(self, bce: BindingCacheEntry, coa: IPv6Address) -> bool:
        """Whether the session is being ended at that MAG, which had not heard of it when it asked for more."""
        return self._in_progress.get(bce.key) == (coa, Purpose.END)

    def in_progress(self, bce: BindingCacheEntry) -> bool:
        """Section 8.1: the flag of an entry that revocation is in progress."""
        return bce.key in self._in_progress

    def acknowledged(self, source: IPv6Address, bra: BindingRevocationAck, now: float) -> Iterator[Action] | None:
        """What the answer to a BRI of ours leads to; None: it answers none of them."""
        found = self._revocations.acknowledged(source, bra)
        return None if found is None else self._concluded(found, bra.status, now)

    def not_recognized(self, mag: IPv6Address, now: float) -> Iterator[Action]:
        """A Binding Error of status 2: no answer will come to what is outstanding there."""
        for found in self._revocations.not_recognized(mag):
            yield from self._concluded(found, RevocationStatus.FUNCTION_NOT_SUPPORTED, now)

    def expire(self, now: float) -> Iterator[Action]:
        for step in self._revocations.expire(now):
            if isinstance(step, Send):
                yield step
            else:
                yield Note("revocation-unanswered", step.indication.mn_id, step.peer)
                yield from self._concluded(step, None, now)

    # What a MAG revokes.

    def indicated(self, source: IPv6Address, bri: BindingRevocationIndication) -> Iterator[Action]:
        """Section 8.2."""
        judgement = self._judge(source, bri)
        if judgement.status >= _NOT_THERE:
            yield Note(f"revocation-refused-{int(judgement.status)}", bri.mn_id, source)
        bra = BindingRevocationAck(
            status=judgement.status,
            sequence=bri.sequence,
            flags=bri.flags & _ECHOED,
            mn_id=bri.mn_id,
            hnps=judgement.missing,
        )
        yield Send(source, bra)
        for bce in judgement.doomed:
            yield from self._end(bce)
            yield Note("revoked-by-mag", bce.mn_id, source)

    def _judge(self, source: IPv6Address, bri: BindingRevocationIndication) -> Judgement:
        if (refusal := unsupported(bri)) is not None:
            return Judgement(refusal)
        if bri.flags & RevocationFlag.GLOBAL:
            return self._judge_global(source, bri)
        here = [bce for bce in self._cache.of(bri.mn_id) if bce.proxy_coa == source] if bri.mn_id else []
        if bri.hnps:
            missing = set(bri.hnps) - {hnp for bce in here for hnp in bce.hnps}
            here = [bce for bce in here if set(bce.hnps) & set(bri.hnps)]
        else:
            missing = set()
        if not here:
            return Judgement(_NOT_THERE)
        status = RevocationStatus.PARTIAL_SUCCESS if missing else RevocationStatus.SUCCESS
        return Judgement(status, tuple(here), tuple(sorted(missing)))

    def _judge_global(self, source: IPv6Address, bri: BindingRevocationIndication) -> Judgement:
        if bri.trigger != RevocationTrigger.PER_PEER_POLICY:  # a realm is the anchor's to revoke (section 8.1)
            return Judgement(RevocationStatus.FUNCTION_NOT_SUPPORTED)
        coa = bri.alternate_coa or source
        identity = self.identities.get(source)
        if identity is None or bri.mn_id != identity or self.identities.get(coa) != identity:
            return Judgement(RevocationStatus.GLOBAL_REVOCATION_NOT_AUTHORIZED)
        return Judgement(RevocationStatus.SUCCESS, tuple(self._cache.at(coa)))

    def _one(
        self, bce: BindingCacheEntry, purpose: Purpose, trigger: RevocationTrigger, now: float
    ) -> Iterator[Action]:
        """A BRI about one session to every MAG that may hold something of it."""
        if bce.state is not State.DEREGISTERED:
            bri = BindingRevocationIndication(trigger=trigger, sequence=0, mn_id=bce.mn_id, hnps=bce.hnps)
            for mag in sorted(self._holders(bce)):
                yield self._begin(mag, bri, Revoked(purpose, mag, (bce.key,)), now)
        if bce.state is not State.REGISTERED:  # no MAG serves it: there is nothing to wait for
            yield from self._end(bce)
            yield Note("revoked", bce.mn_id)

    def _begin(self, mag: IPv6Address, bri: BindingRevocationIndication, subject: Revoked, now: float) -> Send:
        for key in subject.keys:
            self._in_progress[key] = mag, subject.purpose
        return self._revocations.begin(mag, bri, subject, now)

    def _concluded(self, found: Outstanding[Revoked], status: RevocationStatus | None, now: float) -> Iterator[Action]:
        """The answer, or that there is none (status None)."""
        subject = found.subject
        if status is not None and status >= _NOT_THERE:
            yield Note(f"revocation-refused-{int(status)}", found.indication.mn_id, found.peer)
        for key in subject.keys:
            if self._in_progress.get(key) == (subject.mag, subject.purpose):
                del self._in_progress[key]
        for bce in self._still_there(subject):
            match subject.purpose:
                case Purpose.END if _gone(status) or bce.registered_at <= found.begun:  # else it is a new one
                    yield from self._end(bce)
                    yield Note("revoked", bce.mn_id, subject.mag)
                case Purpose.VERIFY if _gone(status) and bce.registered_at <= found.begun:
                    yield from self._release(bce, now)
                case Purpose.MOVED if _gone(status):
                    yield from self._release(bce, now)
                case Purpose.MOVED if status in (None, RevocationStatus.MN_IS_ATTACHED):
                    self._waiting.deny(bce.mn_id, now)
                case Purpose.MOVED:
                    self._waiting.fall_back(bce.mn_id)
        for entry in map(self._cache.session, subject.keys):
            if entry:  # nobody is being asked about it any more: who waits for that is to ask again
                self._waiting.ripen(entry.mn_id)

    def _still_there(self, subject: Revoked) -> Iterable[BindingCacheEntry]:
        """The sessions that are registered by that MAG still: what has moved on is no more concerned."""
        entries = (self._cache.session(key) for key in subject.keys)
        return [bce for bce in entries if bce and (bce.proxy_coa, bce.state) == (subject.mag, State.REGISTERED)]


def _gone(status: RevocationStatus | None) -> bool:
    return status is not None and status <= _NOT_THERE


def _realm(mn_id: MnId) -> str | None:
    _user, at, realm = str(mn_id).rpartition("@")
    return realm if at else None
