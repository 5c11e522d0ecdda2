"""Any history of an MN on a bad network, under each scheme: in the end it is served where it is, and nowhere else."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.actions import Forwarding, ToPeer
from lmad.binding_cache import State
from tests import test_context_reflector as context_reflector
from tests import test_fast_handover as fast_handover
from tests import test_fpmipv6 as fpmipv6
from tests.domain import LMAA, mag_address, mn_id
from tests.packets import PacketDomain
from tests.test_domain import check_invariants

MN = mn_id(1)
AWAY = (0.001, 0.004, 0.05, 0.6)
Move = tuple[int, float, float, int | None, bool]
# Of each message in turn: it comes so often, after so long.
fates = st.lists(st.lists(st.sampled_from([0.001, 0.005, 0.02, 0.15]), max_size=2), max_size=40)


def moves(*away: float, said: st.SearchStrategy[bool]) -> st.SearchStrategy[list[Move]]:
    """(where to, time in the air, pause, MAG announced before leaving, whether nMAG knows whence it comes)."""
    pause = st.sampled_from([0.001, 0.01, 0.1, 1.5, 12.0])
    announced = st.sampled_from([None, 1, 2, 3])
    return st.lists(st.tuples(st.integers(1, 3), st.sampled_from(away), pause, announced, said), max_size=8)


def wander(domain: PacketDomain, history: list[Move], fates: list[list[float]]) -> int:
    """Messages are lost, doubled, late, reordered; afterwards they are not, and there is time. Where the MN is then."""
    remaining = list(fates)
    domain.deliver = lambda source, destination, _: (
        remaining.pop() if remaining else (domain.delay(source, destination),)
    )
    for mag, away, pause, announced, said in history:
        assert domain.here is not None
        pmag, nmag = mag_address(domain.here), mag_address(mag)
        if announced:
            domain.perform(pmag, domain.mags[pmag].handover(MN, mag_address(announced), domain.now))
        domain.leave()
        domain.run(domain.now + away)
        if said:
            domain.perform(nmag, domain.mags[nmag].expected(MN, pmag))
        domain.arrive(mag)
        domain.run(domain.now + pause)
        check_invariants(domain)
    remaining.clear()
    domain.run(domain.now + 80.0)
    check_invariants(domain)
    assert domain.here is not None
    return domain.here


@pytest.mark.parametrize("downlink", ["hold", "forward"])
@settings(max_examples=200, deadline=None)
@given(moves(*AWAY, said=st.just(False)), fates)
def test_context_reflector(downlink: str, history: list[Move], fates: list[list[float]]) -> None:
    domain = context_reflector.begin(mags=3, known=False, downlink=downlink)
    end = wander(domain, history, fates)
    here = mag_address(end)
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, here, None)
    assert domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(here))
    for number in (1, 2, 3):
        assert (MN in domain.mags[mag_address(number)].binding_update_list) == (number == end)


@settings(max_examples=200, deadline=None)
@given(moves(*AWAY, said=st.just(False)), st.booleans(), fates)
def test_fast_handover(history: list[Move], known: bool, fates: list[list[float]]) -> None:
    domain = fast_handover.begin(mags=3, known=known)
    fast_handover.assert_served_at(domain, wander(domain, history, fates))


@settings(max_examples=200, deadline=None)
@given(moves(*AWAY, 4.0, said=st.booleans()), fates)
def test_fpmipv6(history: list[Move], fates: list[list[float]]) -> None:
    domain = fpmipv6.begin(mags=3)
    fpmipv6.assert_at(domain, wander(domain, history, fates))
