"""Context Reflector between pure cores in virtual time, with packets: nothing lost, nothing doubled, nothing late."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from common.actions import Forwarding, ToPeer
from common.mh.messages import MnId
from lmad.binding_cache import State
from lmad.config import ContextReflector
from tests.domain import LMAA, mag_address, mn_id
from tests.packets import PacketDomain
from tests.test_domain import check_invariants

MN: MnId = mn_id(1)


def begin(mags: int = 2, known: bool = True, rtt: float = 0.01, **options: object) -> PacketDomain:
    domain = PacketDomain.make(
        mags,
        scheme="context-reflector",
        neighbours_known=known,
        reflector=ContextReflector(**options),  # type: ignore[arg-type]
    )
    domain.one_way = rtt / 2
    domain.arrive(1)
    domain.run(1.0)
    return domain


def assert_nothing_wrong(domain: PacketDomain) -> None:
    assert dict(domain.lost) == {}
    assert domain.downlink == list(range(domain.downlink_sent))
    assert domain.uplink == list(range(domain.uplink_sent))


def longest_gap(domain: PacketDomain) -> float:
    return max(after - before for before, after in pairwise(domain.downlink_times))


@pytest.mark.parametrize("rtt", [0.001, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("l2", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("interval", [0.02, 0.002])
@pytest.mark.parametrize("mode", ["reactive", "predictive"])
@pytest.mark.parametrize(("downlink", "known"), [("hold", True), ("hold", False), ("forward", True)])
def test_handover_loses_nothing(
    *, rtt: float, l2: float, interval: float, mode: str, downlink: str, known: bool
) -> None:
    domain = begin(rtt=rtt, known=known, downlink=downlink)
    domain.traffic(interval, until=5.0)
    domain.run(2.0)
    if mode == "predictive":
        nmag = mag_address(2) if known else None
        domain.perform(mag_address(1), domain.mags[mag_address(1)].handover(MN, nmag, domain.now))
        domain.run(2.02)
    domain.leave()
    domain.run(domain.now + l2)
    domain.arrive(2)
    domain.run(6.0)
    assert_nothing_wrong(domain)
    bound = l2 + rtt if downlink == "hold" else max(l2, rtt)
    if mode == "reactive":
        assert longest_gap(domain) <= bound + interval + 1e-6
    assert not domain.lma.binding_cache.of(MN)[0].handover


def test_two_hundred_handovers_over_three_mags() -> None:
    domain = begin(mags=3, known=False)
    domain.traffic(0.005, until=120.0)
    here = 1
    for step in range(200):
        domain.run(domain.now + 0.4)
        domain.leave()
        domain.run(domain.now + 0.05)
        here = (here + step * 7 % 2) % 3 + 1
        domain.arrive(here)
    domain.run(130.0)
    assert_nothing_wrong(domain)


def test_other_mag_than_predicted() -> None:
    for downlink in ("hold", "forward"):
        domain = begin(mags=3, known=True, downlink=downlink)
        domain.traffic(0.002, until=4.0)
        domain.run(2.0)
        domain.leave()
        domain.run(2.05)
        domain.arrive(3)
        domain.run(5.0)
        assert_nothing_wrong(domain)
        assert MN not in domain.mags[mag_address(2)].binding_update_list


@pytest.mark.parametrize(("downlink", "known"), [("hold", True), ("hold", False), ("forward", True)])
@pytest.mark.parametrize("rtt", [0.05, 0.2])
@pytest.mark.parametrize("stay", [0.005, 0.03, 0.08, 0.15, 0.25])
def test_two_handovers_in_flight_lose_nothing(*, downlink: str, known: bool, rtt: float, stay: float) -> None:
    """The second MAG is left before, while or after what the first one gave back comes through it."""
    domain = begin(mags=3, known=known, rtt=rtt, downlink=downlink)
    domain.traffic(0.002, until=5.0)
    domain.run(2.0)
    for mag, pause in ((2, stay), (3, 6.0)):
        domain.leave()
        domain.run(domain.now + 0.01)
        domain.arrive(mag)
        domain.run(domain.now + pause)
    assert dict(domain.lost) == {}
    assert sorted(domain.downlink) == list(range(domain.downlink_sent))
    assert domain.uplink == list(range(domain.uplink_sent))
    # Packets of the first handover that come back from two MAGs at a time may pass each other, once.
    assert sum(later < earlier for earlier, later in pairwise(domain.downlink)) <= 1


@pytest.mark.parametrize("l2", [0.001, 0.05])
def test_back_to_where_it_left(l2: float) -> None:
    domain = begin(known=True)
    domain.traffic(0.002, until=4.0)
    domain.run(2.0)
    domain.leave()
    domain.run(2.0 + l2)
    domain.arrive(1)
    domain.run(5.0)
    assert_nothing_wrong(domain)


def test_announced_handover_that_does_not_happen_restores_the_service() -> None:
    domain = begin(known=True, context_lifetime=1.0)
    domain.perform(mag_address(1), domain.mags[mag_address(1)].handover(MN, mag_address(2), domain.now))
    domain.run(30.0)
    [bce] = domain.lma.binding_cache.of(MN)
    assert bce.proxy_coa == mag_address(1)
    domain.traffic(0.01, until=32.0)
    domain.run(33.0)
    assert_nothing_wrong(domain)


delays = st.lists(st.sampled_from([0.001, 0.005, 0.02, 0.15]), max_size=2)
moves = st.lists(
    st.tuples(
        st.integers(1, 3),
        st.sampled_from([0.0, 0.004, 0.05, 0.6]),
        st.sampled_from([0.0, 0.01, 0.1, 1.5, 12.0]),
        st.sampled_from([None, 1, 2, 3]),
    ),
    max_size=8,
)


@pytest.mark.parametrize("downlink", ["hold", "forward"])
@settings(max_examples=200, deadline=None)
@given(moves, st.lists(delays, max_size=40))
def test_any_history_on_a_bad_network_ends_where_the_mn_is(
    downlink: str, history: list[tuple[int, float, float, int | None]], fates: list[list[float]]
) -> None:
    """Messages lost, doubled, late, reordered; (where to, time in the air, pause, MAG announced before leaving)."""
    domain = begin(mags=3, known=False, downlink=downlink)
    remaining = list(fates)
    domain.deliver = lambda *_: remaining.pop() if remaining else (domain.one_way,)
    for mag, away, pause, announced in history:
        if announced and domain.here:
            here = mag_address(domain.here)
            domain.perform(here, domain.mags[here].handover(MN, mag_address(announced), domain.now))
        domain.leave()
        domain.run(domain.now + away)
        domain.arrive(mag)
        domain.run(domain.now + pause)
        check_invariants(domain)
    remaining.clear()
    domain.run(domain.now + 80.0)
    check_invariants(domain)
    assert domain.here is not None
    here = mag_address(domain.here)
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, here, None)
    assert domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(here))
    for number in (1, 2, 3):
        assert (MN in domain.mags[mag_address(number)].binding_update_list) == (number == domain.here)
