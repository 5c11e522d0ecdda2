"""What the random histories of MNs have in common: how they roam a domain on a bad network, and what must be true.

Kernels hold what the cores want, a prefix has one owner, and no path leads to a MAG that is not a Proxy-CoA of the
session. When the network heals, every MN is served where it is, and nothing of it is left elsewhere.
"""

from abc import abstractmethod
from ipaddress import IPv6Address

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from common.actions import Forwarding, ToAccess, ToPeer
from common.mh.messages import MnId
from common.schemes import SCHEMES
from lmad.binding_cache import State
from lmad.config import ContextReflector
from lmad.handover.cce import Handover
from magd.binding_update_list import SERVED
from tests.domain import LMAA, ONE_WAY, Domain, mac, mag_address, mn_id
from tests.test_domain import check_invariants

MNS, MAGS = range(1, 4), range(1, 4)
fates = st.lists(st.lists(st.sampled_from([0.001, 0.005, 0.02, 0.15, 0.35]), max_size=2), max_size=6)


class RoamingMachine(RuleBasedStateMachine):
    """`where` each MN is, or was `before`; `remaining`: what becomes of the next messages, the last one first."""

    domain: Domain
    where: dict[int, int]
    before: dict[int, int]
    remaining: list[list[float]]

    @abstractmethod
    def begin(self, scheme: str, reflector: ContextReflector, known: bool) -> Domain:
        """A domain in which nothing has happened."""

    @initialize(
        scheme=st.sampled_from(sorted(SCHEMES)),
        downlink=st.sampled_from(["hold", "forward"]),
        order=st.sampled_from(["strict", "fast"]),
        acknowledge=st.booleans(),
        known=st.booleans(),
    )
    def build(self, *, scheme: str, downlink: str, order: str, acknowledge: bool, known: bool) -> None:
        reflector = ContextReflector(downlink=downlink, order=order, acknowledge=acknowledge)  # type: ignore[arg-type]
        self.domain = self.begin(scheme, reflector, known)
        self.domain.deliver = lambda *_: self.remaining.pop() if self.remaining else (ONE_WAY,)
        self.where, self.before = {}, {}
        self.remaining = []

    @rule(fates=fates)
    def spoil(self, fates: list[list[float]]) -> None:
        """What becomes of the next messages: lost, doubled, late, overtaken."""
        self.remaining = list(fates)

    @rule(mn=st.sampled_from(MNS), mag=st.sampled_from(MAGS), said=st.booleans())
    def come(self, *, mn: int, mag: int, said: bool) -> None:
        """`said`: the link layer tells whence."""
        if mn not in self.where:
            self.domain.run(self.domain.now + 0.001)  # no MN is on two links in the same moment
            here = mag_address(mag)
            if said and mn in self.before and here in self.domain.cores():
                actions = self.domain.mags[here].expected(mn_id(mn), mag_address(self.before[mn]))
                self.domain.perform(here, actions)
            self.where[mn] = self.before[mn] = mag
            self.comes(mn)
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

    def comes(self, mn: int) -> None:
        """An MN is about to attach."""

    def heal(self) -> None:
        """Nothing bad happens from now on."""
        self.remaining.clear()

    def is_alive(self) -> bool:
        """Whether there is something to look at."""
        return hasattr(self, "domain")

    def unserved(self) -> set[MnId]:
        """The MNs that need not be served where they are."""
        return set()

    @invariant()
    def kernels_hold_what_cores_want(self) -> None:
        if self.is_alive():
            check_invariants(self.domain)

    @invariant()
    def paths_lead_to_proxy_coas_only(self) -> None:
        for bce in self.domain.lma.binding_cache if self.is_alive() else ():
            known = {bce.proxy_coa}
            silent: frozenset[IPv6Address] = frozenset()  # those whose context is not known to have ended
            if isinstance(handover := bce.handover, Handover):
                known |= {handover.pmag, *([handover.nmag] if handover.nmag else [])}
                silent = handover.closing
            forwarding = self.domain.kernel[LMAA][bce.key]
            reached = {forwarding.downlink.peer} if isinstance(forwarding.downlink, ToPeer) else set()
            assert reached <= known
            assert forwarding.uplink_from <= known | silent

    def teardown(self) -> None:
        if not hasattr(self, "domain"):
            return
        self.heal()
        self.domain.run(self.domain.now + 120.0)
        check_invariants(self.domain)
        unserved = self.unserved()
        for mn, mag in self.where.items():
            if mn_id(mn) in unserved:
                continue
            [bce] = self.domain.lma.binding_cache.of(mn_id(mn))
            here = mag_address(mag)
            assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, here, None)
            assert self.domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(here))
            assert self.domain.kernel[here][bce.key].downlink == ToAccess(f"acc{mn}", mac(mn))
        for number in MAGS:
            entries = self.domain.mags[mag_address(number)].binding_update_list
            present = {mn_id(mn) for mn, mag in self.where.items() if mag == number}
            assert present - unserved <= set(entries) <= present
            assert all(entry.state in SERVED for entry in entries.values() if entry.mn_id not in unserved)
