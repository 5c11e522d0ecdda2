"""What a Proxy Binding Update leads to (RFC 5213 sections 5.3 and 5.4).

The checks and the lookup decide what kind of request it is; the four handlers bear the names of sections 5.3.2 to
5.3.5; what another MAG must say something to first is in `waiting`.
"""

from collections.abc import Callable, Iterator
from ipaddress import IPv6Address
from math import inf

from common.actions import Action, Forward, Note, Send
from common.errors import DataPlaneError
from common.frozen import replace
from common.heartbeat import Heartbeats
from common.mh.messages import Message, ProxyBindingUpdate, Status, Timestamp
from lmad import answers
from lmad.binding_cache import BindingCacheEntry, State
from lmad.checks import ADMINISTRATIVE, Domain, Refusal, Request, is_of_another_clock, last_sequence, verdict
from lmad.config import Lma
from lmad.handover.pmipv6 import Pmipv6
from lmad.lookup import Found, Unsure, find_session
from lmad.revoking import Revoking
from lmad.sessions import Sessions
from lmad.waiting import Parked, Waiting


class Registration:
    """`utc` turns the core's `now` into seconds since 1970."""

    def __init__(
        self,
        *,
        lma: Lma,
        domain: Domain,
        scheme: Pmipv6,
        sessions: Sessions,
        waiting: Waiting,
        revoking: Revoking,
        heartbeats: Heartbeats,
        utc: Callable[[float], float],
    ) -> None:
        self._cache = sessions.cache
        self._scheme = scheme
        self._sessions = sessions
        self._waiting = waiting
        self._revoking = revoking
        self._heartbeats = heartbeats
        self._utc = utc
        self._last_change: tuple[Request, BindingCacheEntry | None, BindingCacheEntry] | None = None
        self.follow(lma, domain)

    def follow(self, lma: Lma, domain: Domain) -> None:
        """Go on by another configuration."""
        self.domain = domain
        self._max_lifetime = lma.max_lifetime
        self._waits = lma.max_delay_before_new_bce_assign > 0
        self._revoke_on_unknown_handoff = lma.revoke_on_unknown_handoff

    def forget_last_change(self) -> None:
        """What is done from now on no MAG waits for."""
        self._last_change = None

    def forwarding_failed(self, forward: Forward, error: DataPlaneError) -> list[Action]:
        """The kernel refused what the last call asked for: less is asked for, if the scheme can do with less.

        Else the change is taken back and the MAG hears of it.
        """
        last, self._last_change = self._last_change, None
        session = last[2] if last else self._cache.owner(forward.hnps[0])
        less = self._scheme.with_less(session) if session and forward.forwarding else None
        if less is not None:
            note = Note("served-with-less", less.mn_id, less.proxy_coa, str(error))
            return [note, *(self._accepted(*last[:2], less) if last else self._sessions.renew(less))]
        if last is None:
            note = Note("data-plane-refused", forward.mn_id, detail=str(error))
            if forward.forwarding is None or session is None:  # a removal; the next start reconciles
                return [note]
            return [note, *self._sessions.end(session)]
        request, before, after = last
        return [
            Note("data-plane-refused", after.mn_id, request.source, str(error)),
            self._sessions.take_back(before, after),
            self._refusal(request, Status.INSUFFICIENT_RESOURCES),
        ]

    def update(self, source: IPv6Address, pbu: ProxyBindingUpdate, now: float) -> Iterator[Action]:
        """Section 5.3.1."""
        request = Request(source, pbu, self._utc(now))
        status = verdict(request, self.domain, self._cache)
        if status is not None:
            yield from self._refused(request, Refusal.of(status))
            return
        yield from self._decide(request, find_session(pbu, request.coa, self._cache), now)

    def requested(self, source: IPv6Address, message: Message, pbu: ProxyBindingUpdate, now: float) -> Iterator[Action]:
        """A request of the scheme's own, which amounts to this PBU: the same checks, then the scheme decides."""
        request = Request(source, pbu, self._utc(now), message)
        status = verdict(request, self.domain, self._cache)
        found = find_session(pbu, source, self._cache) if status is None else status
        session = found.session if isinstance(found, Unsure) else found
        if isinstance(session, Status):
            yield from self._refused(request, Refusal.of(session))
            return
        after = self._scheme.requested(source, message, session, now)
        if after is None:
            yield Note(f"ignored-{message.name}", pbu.mn_id, source)
        elif isinstance(after, Refusal):
            yield from self._refused(request, after)
        else:
            yield from self._accepted(request, session, after)

    def _decide(self, request: Request, found: Found, now: float) -> Iterator[Action]:
        """Section 5.3.1 point 13: what kind of request it is."""
        if isinstance(found, Status):
            yield from self._refused(request, Refusal.of(found))
        elif isinstance(found, Unsure):
            yield from self._wait(request, found.session, now)
        elif request.pbu.lifetime == 0:
            yield from self._deregistration(request, found, now)
        elif found is None:
            yield from self._initial_registration(request, now)
        elif self._revoking.ends(found, request.coa):
            yield from self._refused(request, Refusal(Status.ADMINISTRATIVELY_PROHIBITED, "revocation-in-progress"))
        elif found.proxy_coa == request.coa and found.state is State.REGISTERED:
            yield from self._binding_lifetime_extension(request, found, now)
        else:
            yield from self._binding_lifetime_extension_after_handoff(request, found, now)

    def _wait(self, request: Request, session: BindingCacheEntry, now: float) -> Iterator[Action]:
        """Sections 5.4.1.2 point 4 and 5.4.1.3 point 3, as RFC 5846 section 8.1 amends them: ask instead of waiting."""
        asks = self._revoke_on_unknown_handoff
        if self._heartbeats.failed(session.proxy_coa):  # nothing is to be heard from that MAG
            yield from self._binding_lifetime_extension_after_handoff(request, session, now)
        elif not asks and not self._waits:
            yield from self._initial_registration(request, now)
        elif self._waiting.park(request, now, asked=asks):
            yield Note("waits-for-deregistration", request.pbu.mn_id, session.proxy_coa)
            if asks:
                yield from self._revoking.ask(session, now)

    def resume(self, parked: Parked, now: float) -> Iterator[Action]:
        """Something was heard of the session that a request waits for, or the wait is over."""
        request = parked.request
        found = find_session(request.pbu, request.coa, self._cache)
        status = verdict(request, self.domain, self._cache, ADMINISTRATIVE)
        if status is not None:  # the configuration is another by now
            yield from self._refused(request, Refusal.of(status))
        elif not isinstance(found, Unsure):
            yield from self._decide(request, found, now)
        elif parked.until <= now:
            yield from self._initial_registration(request, now)
        else:
            self._waiting.park_again(parked)
            if parked.until == inf:  # who was asked may not be who can tell, or was asked something else
                yield from self._revoking.ask(found.session, now)

    def _initial_registration(self, request: Request, now: float) -> Iterator[Action]:
        """Section 5.3.2."""
        pbu = request.pbu
        assert pbu.mn_id is not None
        assert pbu.access_technology is not None
        hnps = self._sessions.assignment.assign(pbu.mn_id, self.domain.mobile_nodes[pbu.mn_id], pbu.hnps)
        if isinstance(hnps, Refusal):
            yield from self._refused(request, hnps)
            return
        lifetime = min(pbu.lifetime, self._max_lifetime)
        bce = BindingCacheEntry(
            mn_id=pbu.mn_id,
            hnps=hnps,
            proxy_coa=request.coa,
            access_technology=pbu.access_technology,
            mn_ll_id=pbu.mn_ll_id,
            lifetime=lifetime,
            expires=now + lifetime,
            sequence=pbu.sequence,
            timestamp=pbu.timestamp,
            link_local=answers.link_local(pbu, None),
        )
        yield from self._registered(request, None, bce, now)

    def _binding_lifetime_extension(self, request: Request, bce: BindingCacheEntry, now: float) -> Iterator[Action]:
        """Section 5.3.3: the serving MAG refreshes."""
        yield from self._registered(request, bce, self._renewed(request, bce, now), now)

    def _binding_lifetime_extension_after_handoff(
        self, request: Request, bce: BindingCacheEntry, now: float
    ) -> Iterator[Action]:
        """Section 5.3.4: the MN is at another MAG, or has come back after a de-registration."""
        yield from self._registered(request, bce, self._renewed(request, bce, now), now)

    def _deregistration(self, request: Request, bce: BindingCacheEntry | None, now: float) -> Iterator[Action]:
        """Section 5.3.5: only the serving MAG ends a session; to anybody else there is not even an answer."""
        pbu = request.pbu
        self._waiting.withdraw(request)
        if bce is None or bce.proxy_coa != request.coa:
            yield Note("deregistration-ignored", pbu.mn_id, request.source)
            if bce is not None:
                late, actions = self._scheme.late(bce, pbu, request.coa, now)
                yield from self._sessions.put(bce, late) if late else ()
                yield from actions
            return
        heard = replace(bce, sequence=pbu.sequence, timestamp=self._latest(pbu, bce, now))
        after = self._scheme.deregistered(heard, pbu, now) if bce.state is State.REGISTERED else heard
        if isinstance(after, Refusal):
            yield from self._refused(request, after)
        else:
            yield from self._accepted(request, bce, after)

    def _registered(
        self, request: Request, before: BindingCacheEntry | None, bce: BindingCacheEntry, now: float
    ) -> Iterator[Action]:
        self._heartbeats.watch(request.coa, now)
        yield from self._accepted(request, before, self._scheme.registered(before, bce, now))

    def _accepted(
        self, request: Request, before: BindingCacheEntry | None, after: BindingCacheEntry
    ) -> Iterator[Action]:
        """The path first, then the answer: an accepted PBU has what it asked for."""
        self._last_change = request, before, after
        yield from self._sessions.put(before, after)
        pba = self._scheme.acknowledge(answers.accepted(request, after), request.pbu, before, after)
        yield Send(request.source, self._scheme.answer(pba, request.asked))
        yield from self._scheme.follow_up(before, after, request.pbu)

    def _renewed(self, request: Request, bce: BindingCacheEntry, now: float) -> BindingCacheEntry:
        pbu = request.pbu
        lifetime = min(pbu.lifetime, self._max_lifetime)
        assert pbu.access_technology is not None
        return replace(
            bce,
            sequence=pbu.sequence,
            timestamp=self._latest(pbu, bce, now),
            state=State.REGISTERED,
            proxy_coa=request.coa,
            access_technology=pbu.access_technology,
            mn_ll_id=pbu.mn_ll_id,
            lifetime=lifetime,
            expires=now + lifetime,
            link_local=answers.link_local(pbu, bce),
        )

    def _refused(self, request: Request, refusal: Refusal) -> Iterator[Action]:
        yield Note(f"refused-{refusal.reason}", request.pbu.mn_id, request.source)
        yield self._refusal(request, refusal.status)

    def _refusal(self, request: Request, status: Status) -> Send:
        late = status is Status.SEQUENCE_OUT_OF_WINDOW
        pba = answers.refused(request, status, last_sequence(request, self._cache) if late else None)
        return Send(request.source, self._scheme.answer(pba, request.asked))

    def _latest(self, pbu: ProxyBindingUpdate, bce: BindingCacheEntry, now: float) -> Timestamp | None:
        """A request that waited may be older than what it waited for."""
        known, asked = bce.timestamp, pbu.timestamp
        if known is None or asked is None:
            return asked or known
        return asked if is_of_another_clock(known, self._utc(now), self.domain) else max(asked, known)
