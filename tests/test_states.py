"""What a gauge says of sessions: each state that a scheme is said to have occurs, and no other."""

from dataclasses import replace

import pytest

from common.schemes import SCHEMES
from lmad.handover import SCHEMES as AT_THE_ANCHOR
from magd.config import Fpmipv6
from magd.handover import SCHEMES as AT_THE_GATEWAY
from tests.domain import LMAA, Domain, mag_address, mn_id
from tests.test_lma import PMAG, pbu

STEP = 0.004  # seconds: what waits for an answer waits longer
HANDOVER_LIFETIME = Fpmipv6().handover_lifetime
FROM, TO = mag_address(1), mag_address(2)


class Watched:
    """MN 1 and what states its sessions were seen in, at the anchor and at the gateways."""

    def __init__(self, scheme: str) -> None:
        self.domain = Domain.make(scheme=scheme, neighbours_known=True)
        self.at_anchor: set[object] = set()
        self.at_gateways: set[object] = set()

    def run(self, seconds: float) -> None:
        end = self.domain.now + seconds
        while self.domain.now < end:
            self.look()
            self.domain.run(self.domain.now + STEP)

    def look(self) -> None:
        self.at_anchor |= {bce.state for bce in self.domain.lma.binding_cache}
        for mag in self.domain.mags.values():
            self.at_gateways |= {entry.state for entry in mag.binding_update_list.values()}


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_state_of_a_scheme_occurs(scheme: str) -> None:
    watched = Watched(scheme)
    domain = watched.domain
    domain.attach(1, 1)
    watched.run(0.02)
    domain.run(3559.99)
    watched.run(0.06)  # it is refreshed
    for left, came, nmag in ((1, 2, TO), (2, 1, FROM)):
        if domain.mags[mag_address(left)].predictive:
            domain.perform(mag_address(left), domain.mags[mag_address(left)].handover(mn_id(1), nmag, domain.now))
            watched.run(0.04)
        domain.detach(1, left)
        watched.run(0.04)
        domain.attach(1, came)
        watched.run(0.04)
        domain.run(domain.now + 1.0)
    domain.perform(LMAA, domain.lma.revoke(mn_id(1), domain.now))
    watched.run(0.02)
    domain.detach(1, 1)
    domain.attach(1, 1)
    domain.run(domain.now + 1.0)
    domain.detach(1, 1)  # and comes nowhere
    watched.run(0.02)
    domain.run(domain.now + HANDOVER_LIFETIME - 0.04)
    watched.run(0.04)
    # A gateway without the scheme has it, and lets it go.
    domain.run(domain.now + 30.0)
    domain.lma.receive(PMAG, pbu(domain.now), domain.now)
    [bce] = domain.lma.binding_cache
    farewell = replace(pbu(domain.now + 0.1, hnps=bce.hnps), lifetime=0)
    domain.lma.receive(PMAG, farewell, domain.now + 0.1)
    watched.look()
    assert watched.at_anchor == AT_THE_ANCHOR[scheme].states
    assert watched.at_gateways == AT_THE_GATEWAY[scheme].states
