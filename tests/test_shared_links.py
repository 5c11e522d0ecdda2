"""MNs on access links that they share, where no carrier tells who goes: any history, and each is served where it is.

An MN comes by its Router Solicitation. Whether the MAG that it leaves hears of that is a matter of luck; if not, it
finds out when the binding is to be refreshed (RFC 5213 section 6.13), and takes nothing away from the next MAG.
"""

from dataclasses import dataclass

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from common.actions import Forwarding, ToAccess, ToPeer
from common.schemes import SCHEMES
from lmad.binding_cache import State
from lmad.lma import LocalMobilityAnchor
from magd.binding_update_list import SERVED
from magd.config import Fpmipv6
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, Domain, lma_config, mac, mag_address, mag_config, mn_id, utc
from tests.roaming import MAGS, MNS
from tests.test_domain import check_invariants

LINK = "acc1"


@dataclass
class SharedLinks(Domain):
    """All MNs of a MAG are on one access link."""

    @classmethod
    def of(cls, scheme: str) -> "SharedLinks":
        gateways = {}
        for number in MAGS:
            fast = Fpmipv6(peers=tuple(mag_address(other) for other in MAGS if other != number))
            config = mag_config(number, len(MNS), fpmipv6=fast, scheme=scheme)
            nodes = tuple(msgspec.structs.replace(node, interface=None) for node in config.mobile_node)
            config = msgspec.structs.replace(config, mobile_node=nodes)
            gateways[mag_address(number)] = MobileAccessGateway(config, utc, sequence=1000 * number)
        return cls(LocalMobilityAnchor(lma_config(len(MAGS), len(MNS), scheme=scheme), utc), gateways)

    def attach(self, mn: int, mag: int) -> None:
        self.places[mn] = mag
        here = mag_address(mag)
        self.perform(here, self.mags[here].solicited(LINK, mac(mn), True, self.now))

    def detach(self, mn: int, mag: int) -> None:
        here = mag_address(mag)
        self.perform(here, self.mags[here].detached(mn_id(mn), self.now))


class Sharing(RuleBasedStateMachine):
    domain: SharedLinks

    @initialize(scheme=st.sampled_from(sorted(SCHEMES)))
    def build(self, scheme: str) -> None:
        self.domain = SharedLinks.of(scheme)

    @rule(mn=st.sampled_from(MNS), mag=st.sampled_from(MAGS), said=st.booleans())
    def move(self, *, mn: int, mag: int, said: bool) -> None:
        """It is somewhere else from now on, or back; not so fast that a MAG speaks of it when it has left unseen."""
        self.domain.run(self.domain.now + 0.5)
        before = self.domain.places.get(mn)
        if said and before and before != mag:
            nmag = mag_address(mag)
            self.domain.perform(nmag, self.domain.mags[nmag].expected(mn_id(mn), mag_address(before)))
        self.domain.attach(mn, mag)

    @rule(mn=st.sampled_from(MNS), mag=st.sampled_from(MAGS))
    def notice(self, mn: int, mag: int) -> None:
        """A MAG hears that an MN has left it, sooner or later."""
        if self.domain.places.get(mn) != mag:
            self.domain.detach(mn, mag)

    @rule(seconds=st.sampled_from([0.001, 0.006, 0.012, 0.1, 1.1, 11.0, 400.0, 4000.0]))
    def time_passes(self, seconds: float) -> None:
        self.domain.run(self.domain.now + seconds)

    def teardown(self) -> None:
        if not hasattr(self, "domain"):
            return
        self.domain.run(self.domain.now + 120.0)
        self.check_served()
        self.domain.run(self.domain.now + 4000.0)
        self.check_served()
        for number in MAGS:
            present = {mn_id(mn) for mn, mag in self.domain.places.items() if mag == number}
            assert set(self.domain.mags[mag_address(number)].binding_update_list) == present

    def check_served(self) -> None:
        check_invariants(self.domain)
        for mn, mag in self.domain.places.items():
            here = mag_address(mag)
            [bce] = self.domain.lma.binding_cache.of(mn_id(mn))
            assert (bce.state, bce.proxy_coa) == (State.REGISTERED, here)
            assert self.domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(here))
            assert self.domain.kernel[here][bce.key].downlink == ToAccess(LINK, mac(mn))
            assert self.domain.mags[here].binding_update_list[mn_id(mn)].state in SERVED


@pytest.mark.parametrize("scheme", ["context-reflector", "fast-handover"])
@pytest.mark.parametrize("where", [1, 2, 3])
def test_an_announced_mn_of_whom_nobody_says_that_it_left_is_left_where_it_is(scheme: str, where: int) -> None:
    """Announced for mag2, it goes there, elsewhere, or nowhere: mag1 takes it back only if it answers there."""
    domain = SharedLinks.of(scheme)
    domain.attach(1, 1)
    domain.run(5.0)
    pmag = mag_address(1)
    domain.perform(pmag, domain.mags[pmag].handover(mn_id(1), mag_address(2), domain.now))
    domain.run(5.1)
    if where != 1:
        domain.attach(1, where)
    domain.run(30.0)
    [bce] = domain.lma.binding_cache.of(mn_id(1))
    assert (bce.state, bce.proxy_coa) == (State.REGISTERED, mag_address(where))
    for number in MAGS:
        assert (mn_id(1) in domain.mags[mag_address(number)].binding_update_list) == (number == where)


Sharing.TestCase.settings = settings(max_examples=100, stateful_step_count=30, deadline=None)
TestSharing = Sharing.TestCase
