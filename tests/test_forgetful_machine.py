"""Roaming as in test_state_machine.py, with sessions that are revoked, and daemons restarted with nothing remembered.

A revocation ends with the MN's stay at that MAG. What a daemon has forgotten its peers tell it, or give up (RFC 5847).
"""

from collections.abc import Callable

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.actions import Forwarding, ToAccess, ToPeer
from common.schemes import SCHEMES
from lmad.binding_cache import State
from lmad.config import ContextReflector
from lmad.handover.context_reflector import Handover
from magd.binding_update_list import SERVED
from tests.domain import LMAA, ONE_WAY, Domain, mac, mag_address, mn_id
from tests.test_domain import check_invariants

MNS, MAGS = range(1, 4), range(1, 4)
# A daemon that forgets everything while a handover of these schemes is under way is not among what they recover from.
NOT_FORGETFUL = {"fast-handover", "fpmipv6"}
fates = st.lists(st.lists(st.sampled_from([0.001, 0.005, 0.02, 0.15, 0.35]), max_size=2), max_size=6)


class Forgetting(RuleBasedStateMachine):
    domain: Domain
    where: dict[int, int]
    remaining: list[list[float]]

    @initialize(
        scheme=st.sampled_from(sorted(SCHEMES)),
        downlink=st.sampled_from(["hold", "forward"]),
        order=st.sampled_from(["strict", "fast"]),
        acknowledge=st.booleans(),
        known=st.booleans(),
    )
    def build(self, *, scheme: str, downlink: str, order: str, acknowledge: bool, known: bool) -> None:
        reflector = ContextReflector(downlink=downlink, order=order, acknowledge=acknowledge)  # type: ignore[arg-type]
        self.fresh: Callable[[], Domain] = lambda: Domain.make(len(MAGS), len(MNS), scheme, known, reflector)
        self.domain = self.fresh()
        self.revoked: dict[int, float] = {}
        self.lives = 0
        self.forgetful = scheme not in NOT_FORGETFUL
        self.domain.deliver = lambda *_: self.remaining.pop() if self.remaining else (ONE_WAY,)
        self.where = {}
        self.remaining = []

    @rule(fates=fates)
    def spoil(self, fates: list[list[float]]) -> None:
        """What becomes of the next messages: lost, doubled, late, overtaken."""
        self.remaining = list(fates)

    @rule(mn=st.sampled_from(MNS), mag=st.sampled_from(MAGS))
    def come(self, mn: int, mag: int) -> None:
        if mn not in self.where:
            self.domain.run(self.domain.now + 0.001)  # no MN is on two links in the same moment
            self.where[mn] = mag
            self.comes_after_a_revocation(mn)
            self.domain.attach(mn, mag)

    @precondition(lambda self: self.where)
    @rule(data=st.data())
    def go(self, data: st.DataObject) -> None:
        mn = data.draw(st.sampled_from(sorted(self.where)))
        self.domain.detach(mn, self.where.pop(mn))

    @precondition(lambda self: self.where)
    @rule(data=st.data(), nmag=st.sampled_from([None, *MAGS]))
    def announce(self, data: st.DataObject, nmag: int | None) -> None:
        mn = data.draw(st.sampled_from(sorted(self.where)))
        here = mag_address(self.where[mn])
        target = mag_address(nmag) if nmag else None
        self.domain.perform(here, self.domain.mags[here].handover(mn_id(mn), target, self.domain.now))

    @rule(seconds=st.sampled_from([0.001, 0.006, 0.012, 0.1, 1.1, 11.0, 400.0]))
    def time_passes(self, seconds: float) -> None:
        self.domain.run(self.domain.now + seconds)

    @invariant()
    def kernels_hold_what_cores_want(self) -> None:
        if hasattr(self, "domain"):
            check_invariants(self.domain)

    def comes_after_a_revocation(self, mn: int) -> None:
        """It is served again unless the revocation is not yet over, with its one retransmission."""
        if self.domain.now - self.revoked.get(mn, self.domain.now) > 4.0:
            del self.revoked[mn]

    @rule(mn=st.sampled_from(MNS))
    def revoke(self, mn: int) -> None:
        """By the operator's word; it ends with the stay at this MAG."""
        self.revoked[mn] = self.domain.now
        self.domain.perform(LMAA, self.domain.lma.revoke(mn_id(mn), self.domain.now))

    @precondition(lambda self: self.forgetful)
    @rule()
    def lma_restarts(self) -> None:
        """In a quiet moment: an anchor that remembers nothing gives to one MN what another one has not yet claimed."""
        self.lives += 1
        self.remaining.clear()
        self.domain.run(self.domain.now + 40.0)
        lma = self.domain.lma = self.fresh().lma
        lma.heartbeats.restart_counter = self.lives
        self.domain.kernel[LMAA] = {}
        self.domain.perform(LMAA, lma.started(sessions_lost=True, now=self.domain.now))
        self.domain.run(self.domain.now + 1.0)

    @precondition(lambda self: self.forgetful)
    @rule(number=st.sampled_from(MAGS))
    def mag_restarts(self, number: int) -> None:
        """It takes longer than what its last life sent is under way: a late heartbeat would be news of a restart."""
        self.lives += 1
        self.remaining.clear()
        self.domain.run(self.domain.now + 4 * ONE_WAY)
        address = mag_address(number)
        mag = self.domain.mags[address] = self.fresh().mags[address]
        mag.anchors.heartbeats.restart_counter = self.lives
        self.domain.kernel[address] = {}
        self.domain.perform(address, mag.started(sessions_lost=True, now=self.domain.now))
        for mn in [mn for mn, where in self.where.items() if where == number]:
            self.comes_after_a_revocation(mn)
            self.domain.attach(mn, number)

    @invariant()
    def paths_lead_to_proxy_coas_only(self) -> None:
        for bce in self.domain.lma.binding_cache if hasattr(self, "domain") else ():
            known = {bce.proxy_coa}
            if isinstance(handover := bce.handover, Handover):
                known |= {handover.pmag, *([handover.nmag] if handover.nmag else [])}
            forwarding = self.domain.kernel[LMAA][bce.key]
            reached = {forwarding.downlink.peer} if isinstance(forwarding.downlink, ToPeer) else set()
            assert reached | forwarding.uplink_from <= known

    def teardown(self) -> None:
        if not hasattr(self, "domain"):
            return
        self.remaining.clear()
        self.domain.run(self.domain.now + 120.0)
        check_invariants(self.domain)
        for mn, mag in self.where.items():
            if mn in self.revoked:
                continue
            [bce] = self.domain.lma.binding_cache.of(mn_id(mn))
            here = mag_address(mag)
            assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, here, None)
            assert self.domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(here))
            assert self.domain.kernel[here][bce.key].downlink == ToAccess(f"acc{mn}", mac(mn))
        for number in MAGS:
            entries = self.domain.mags[mag_address(number)].binding_update_list
            revoked = {mn_id(mn) for mn in self.revoked}
            present = {mn_id(mn) for mn, mag in self.where.items() if mag == number}
            assert present - revoked <= set(entries) <= present
            assert all(entry.state in SERVED for entry in entries.values() if entry.mn_id not in revoked)


Forgetting.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestForgetting = Forgetting.TestCase
