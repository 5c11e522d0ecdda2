"""Whole handovers between pure cores in virtual time, on good networks and on bad ones."""

from collections.abc import Sequence
from ipaddress import IPv6Address, IPv6Network

from hypothesis import given, settings
from hypothesis import strategies as st

from common.actions import Forwarding, ToAccess, ToPeer
from common.mh.messages import Message, ProxyBindingAck
from lmad.binding_cache import State
from magd.binding_update_list import SERVED
from tests.domain import LMAA, ONE_WAY, Domain, mac, mag_address, mn_id

HNP = IPv6Network("2001:db8:1000::/64")


def test_handover_restores_the_path_one_round_trip_after_the_attachment() -> None:
    domain = Domain.make()
    domain.attach(1, 1)
    domain.run(1.0)
    assert domain.kernel[LMAA][HNP] == Forwarding(ToPeer(mag_address(1)))
    domain.detach(1, 1)
    domain.run(1.05)
    domain.attach(1, 2)
    domain.run(1.05 + 2 * ONE_WAY)
    assert domain.kernel[LMAA][HNP] == Forwarding(ToPeer(mag_address(2)))
    assert domain.kernel[mag_address(2)][HNP] == Forwarding(ToAccess("acc1", mac(1)), uplink_to=LMAA)
    assert HNP not in domain.kernel[mag_address(1)]


def test_two_hundred_moves_keep_the_prefix() -> None:
    domain = Domain.make(mags=3)
    here = 1
    domain.attach(1, here)
    for step in range(200):
        domain.run(domain.now + 1.0)
        domain.detach(1, here)
        domain.run(domain.now + 0.05)
        here = (here + step % 2) % 3 + 1
        domain.attach(1, here)
    domain.run(domain.now + 1.0)
    assert {hnp for pba in domain.sent(ProxyBindingAck) for hnp in pba.hnps} == {HNP}  # type: ignore[union-attr]
    assert domain.kernel[LMAA] == {HNP: Forwarding(ToPeer(mag_address(here)))}


def test_kernel_of_the_lma_that_refuses_leaves_nothing_anywhere() -> None:
    domain = Domain.make()
    domain.kernel_refuses = lambda node, forward: node == LMAA and forward.forwarding is not None
    domain.attach(1, 1)
    domain.run(5.0)
    assert domain.kernel == {LMAA: {}}
    assert len(domain.lma.binding_cache) == 0


delays = st.lists(st.sampled_from([0.001, 0.005, 0.02, 0.3]), max_size=2)
moves = st.lists(
    st.tuples(st.integers(1, 2), st.integers(1, 3), st.sampled_from([0.002, 0.004, 0.05, 0.6, 12.0])), max_size=12
)


@settings(max_examples=150, deadline=None)
@given(moves, st.lists(delays, max_size=40))
def test_any_history_on_a_bad_network_ends_where_the_mn_is(
    history: list[tuple[int, int, float]], fates: list[list[float]]
) -> None:
    """Lost, doubled, late and reordered messages; afterwards, on a good network, everything is as it should be."""
    domain = Domain.make(mags=3, mns=2)
    remaining = list(fates)

    def spoil(_source: IPv6Address, _destination: IPv6Address, _message: Message) -> Sequence[float]:
        return remaining.pop() if remaining else (ONE_WAY,)

    domain.deliver = spoil
    where: dict[int, int] = {}
    for mn, mag, pause in history:
        if mn in where:
            domain.detach(mn, where[mn])
            domain.run(domain.now + pause / 2)
        domain.attach(mn, mag)
        where[mn] = mag
        domain.run(domain.now + pause)
        check_invariants(domain)
    remaining.clear()
    domain.run(domain.now + 60.0)
    check_invariants(domain)
    for mn, mag in where.items():
        [bce] = domain.lma.binding_cache.of(mn_id(mn))
        assert (bce.state, bce.proxy_coa) == (State.REGISTERED, mag_address(mag))
        assert domain.kernel[LMAA][bce.key] == Forwarding(ToPeer(mag_address(mag)))
        assert domain.kernel[mag_address(mag)][bce.key] == Forwarding(ToAccess(f"acc{mn}", mac(mn)), uplink_to=LMAA)
    for number in (1, 2, 3):
        served = domain.mags[mag_address(number)].binding_update_list
        assert set(served) == {mn_id(mn) for mn, mag in where.items() if mag == number}


def check_invariants(domain: Domain) -> None:
    """The kernels hold what the cores want, and a prefix has one owner."""
    cache = domain.lma.binding_cache
    scheme = domain.lma._scheme
    wanted = {hnp: scheme.forwarding(bce) for bce in cache for hnp in bce.hnps}
    assert domain.kernel.get(LMAA, {}) == wanted
    owners = [hnp for bce in cache for hnp in bce.hnps]
    assert len(owners) == len(set(owners))
    for address, mag in domain.mags.items():
        served = {
            hnp: mag._scheme.forwarding(entry)
            for entry in mag.binding_update_list.values()
            for hnp in entry.hnps
            if mag._scheme.forwarding(entry)
        }
        assert domain.kernel.get(address, {}) == served
        assert all(entry.hnps for entry in mag.binding_update_list.values() if entry.state in SERVED)
