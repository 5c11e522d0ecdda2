"""One LMA, three MAGs and three MNs through random histories on a bad network; invariants after every step.

Any of the daemons may be killed, at any action, and starts again from its store.

Kernels hold what the cores want, a prefix has one owner, and no path leads to a MAG that is not a Proxy-CoA of the
session. When the network heals, every MN is served where it is, and nothing of it is left elsewhere.
"""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.actions import Forwarding, ToAccess, ToPeer
from common.schemes import SCHEMES
from lmad.binding_cache import State
from lmad.config import ContextReflector
from lmad.handover.context_reflector import Handover
from magd.binding_update_list import SERVED
from tests.domain import LMAA, ONE_WAY, mac, mag_address, mn_id
from tests.lives import MortalDomain
from tests.test_domain import check_invariants

MNS, MAGS = range(1, 4), range(1, 4)
fates = st.lists(st.lists(st.sampled_from([0.001, 0.005, 0.02, 0.15, 0.35]), max_size=2), max_size=6)


class Roaming(RuleBasedStateMachine):
    domain: MortalDomain
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
        self.domain = MortalDomain.with_lives(scheme, reflector, len(MAGS), len(MNS), known)
        self.domain.deliver = lambda *_: self.remaining.pop() if self.remaining else (ONE_WAY,)
        self.where = {}
        self.remaining = []

    @rule(fates=fates)
    def spoil(self, fates: list[list[float]]) -> None:
        """What becomes of the next messages: lost, doubled, late, overtaken."""
        self.remaining = list(fates)

    @rule(actions=st.integers(0, 5), downtime=st.sampled_from([0.0, 0.006, 0.4, 2.5]))
    def doom(self, actions: int, downtime: float) -> None:
        """Whoever is about to do the next but so many actions is killed, for a while."""
        if not self.domain.dead:
            self.domain.fatal, self.domain.downtime = self.domain.actions + actions, downtime

    @rule(mn=st.sampled_from(MNS), mag=st.sampled_from(MAGS))
    def come(self, mn: int, mag: int) -> None:
        if mn not in self.where:
            self.domain.run(self.domain.now + 0.001)  # no MN is on two links in the same moment
            self.where[mn] = mag
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
        if hasattr(self, "domain") and not self.domain.dead:
            check_invariants(self.domain)

    @invariant()
    def paths_lead_to_proxy_coas_only(self) -> None:
        for bce in self.domain.lma.binding_cache if hasattr(self, "domain") and not self.domain.dead else ():
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
        self.domain.fatal = None
        self.domain.run(self.domain.now + 120.0)
        check_invariants(self.domain)
        for mn, mag in self.where.items():
            [bce] = self.domain.lma.binding_cache.of(mn_id(mn))
            here = mag_address(mag)
            assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, here, None)
            assert self.domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(here))
            assert self.domain.kernel[here][bce.key].downlink == ToAccess(f"acc{mn}", mac(mn))
        for number in MAGS:
            entries = self.domain.mags[mag_address(number)].binding_update_list
            assert set(entries) == {mn_id(mn) for mn, mag in self.where.items() if mag == number}
            assert all(entry.state in SERVED for entry in entries.values())


Roaming.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestRoaming = Roaming.TestCase
