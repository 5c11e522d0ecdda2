"""Daemons that are killed at every step of registrations and handovers and start again from their stores."""

import pytest

from common.actions import Forwarding, ToAccess, ToPeer
from common.schemes import SCHEMES
from lmad.binding_cache import State
from lmad.config import ContextReflector
from magd.binding_update_list import SERVED
from tests.domain import LMAA, mac, mag_address, mn_id
from tests.lives import MortalDomain
from tests.packets import HNP

LAST = 3


def history(domain: MortalDomain) -> None:
    """Arrives at mag1, goes to mag2, then to mag3, with packets both ways; then nothing for a long time."""
    domain.traffic(0.02, 13.0)
    for mag in (1, 2, LAST):
        domain.run(domain.now + 0.1)
        if domain.here:
            domain.served_after = domain.served_after or domain.actions
            domain.leave()
            domain.run(domain.now + 0.05)
        domain.arrive(mag)
        domain.run(domain.now + 4.0)  # longer than the second retransmission takes
    domain.run(60.0)


def check_all_is_well(domain: MortalDomain, victim: object = None) -> None:
    """The MN is served where it is, and nothing of it is anywhere else."""
    last = mag_address(LAST)
    [bce] = domain.lma.binding_cache.of(mn_id(1))
    assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, last, None), victim
    assert domain.in_kernel(LMAA) == Forwarding(ToPeer(last)), victim
    for number in range(1, LAST + 1):
        entries = domain.mags[mag_address(number)].binding_update_list
        if number == LAST:
            assert entries[mn_id(1)].state in SERVED, victim
            assert domain.kernel[last][HNP].downlink == ToAccess("acc1", mac(1)), victim
        else:
            assert not entries, victim
            assert domain.in_kernel(mag_address(number)) is None, victim
    assert not any(domain.held.values()), victim
    assert not domain.returned, victim


VARIANTS = [
    *((scheme, ContextReflector()) for scheme in SCHEMES),
    ("context-reflector", ContextReflector(downlink="forward", acknowledge=True)),
]


@pytest.mark.parametrize("downtime", [0.0, 0.4, 1.5])
@pytest.mark.parametrize(("scheme", "reflector"), VARIANTS)
def test_killed_at_any_step_a_daemon_goes_on(scheme: str, reflector: ContextReflector, downtime: float) -> None:
    """Whoever is about to act is killed instead, at every action of the history in turn."""
    undisturbed = MortalDomain.with_lives(scheme, reflector)
    history(undisturbed)
    check_all_is_well(undisturbed)
    assert undisturbed.actions > 25
    for step in range(undisturbed.actions):
        domain = MortalDomain.with_lives(scheme, reflector)
        domain.fatal, domain.downtime = step, downtime
        history(domain)
        victim = (step, domain.died)
        assert domain.died is not None
        check_all_is_well(domain, victim)
        if scheme == "context-reflector" and step >= undisturbed.served_after:
            # Before there is a binding packets have nowhere to wait; from then on nothing is lost, whoever dies.
            assert set(domain.lost) <= {"no binding"}, victim
            assert domain.downlink == list(range(len(domain.lost["no binding"]), domain.downlink_sent)), victim
            assert domain.uplink == list(range(domain.uplink_sent)), victim


@pytest.mark.parametrize("scheme", sorted(SCHEMES))
def test_an_mn_that_was_elsewhere_while_nobody_looked_is_registered_anew(scheme: str) -> None:
    """Its first registration is not answered yet when mag1 is killed; it visits mag2 for a moment, and comes back."""
    domain = MortalDomain.with_lives(scheme)
    domain.downtime = 0.003
    domain.attach(1, 1)
    domain.run(0.002)
    domain.kill(mag_address(1))
    domain.detach(1, 1)
    domain.attach(1, 2)
    domain.run(0.003)
    domain.detach(1, 2)
    domain.run(0.004)
    domain.attach(1, 1)
    domain.run(60.0)
    [bce] = domain.lma.binding_cache.of(mn_id(1))
    assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, mag_address(1), None)
    assert domain.mags[mag_address(1)].binding_update_list[mn_id(1)].state in SERVED
