"""Context Reflector at its edges: late or refused words, contexts that run out, peers without the extension."""

from dataclasses import replace
from ipaddress import IPv6Address
from itertools import pairwise

import pytest

from common.actions import Advertise, Forward, Forwarding, Note, Send, ToAccess, ToPeer
from common.mh.messages import (
    BindingError,
    ContextReflection,
    Message,
    ProxyBindingUpdate,
)
from lmad.binding_cache import State
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, mac, mag_address, mag_config, utc
from tests.packets import HNP, PacketDomain
from tests.test_context_reflector import MN, assert_nothing_wrong, begin

PMAG, NMAG = mag_address(1), mag_address(2)


def move(domain: PacketDomain, mag: int, l2: float = 0.05) -> None:
    domain.leave()
    domain.run(domain.now + l2)
    domain.arrive(mag)


def moments(domain: PacketDomain, event: str) -> list[float]:
    """When the LMA noted it."""
    return [
        at for at, node, action in domain.log if node == LMAA and isinstance(action, Note) and action.event == event
    ]


def assert_served_at(domain: PacketDomain, mag: int) -> None:
    """There, and nothing of the MN is anywhere else."""
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, mag_address(mag), None)
    assert [address for address, each in domain.mags.items() if MN in each.binding_update_list] == [mag_address(mag)]


@pytest.mark.parametrize(("order", "released"), [("strict", 2.3), ("fast", 2.11)])
def test_order_says_whether_stragglers_are_waited_for(order: str, released: float) -> None:
    """L2 10 ms, RTT 200 ms: nMAG's PBU is there 110 ms after the MN has left, the end marker after 300 ms."""
    domain = begin(rtt=0.2, order=order)
    domain.traffic(0.002, until=4.0)
    domain.run(2.0)
    move(domain, 2, 0.01)
    domain.run(5.0)
    assert moments(domain, "hold-released") == [pytest.approx(released)]
    assert not domain.lost
    assert sorted(domain.downlink) == list(range(domain.downlink_sent))
    assert domain.uplink == list(range(domain.uplink_sent))
    assert (domain.downlink == sorted(domain.downlink)) == (order == "strict")


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("path", [(2,), (2, 3)], ids=["", "from a MAG that had its context unasked"])
def test_a_deregistration_that_comes_after_the_nmags_pbu_loses_nothing(known: bool, path: tuple[int, ...]) -> None:
    domain = begin(mags=3, known=known)

    def deliver(_source: IPv6Address, _destination: IPv6Address, message: Message) -> tuple[float, ...]:
        late = isinstance(message, ProxyBindingUpdate) and not message.lifetime
        return (0.3 if late else domain.one_way,)

    domain.traffic(0.002, until=4.0)
    domain.run(2.0)
    *before, last = path
    for mag in before:
        move(domain, mag)
        domain.run(domain.now + 0.5)
    domain.deliver = deliver
    move(domain, last)
    domain.run(domain.now + 0.15)
    assert domain.lma.binding_cache.of(MN)[0].proxy_coa == mag_address(last)
    domain.run(6.0)
    assert "refused-timestamp-lower-than-prev-accepted" in domain.notes()
    assert_nothing_wrong(domain)
    domain.run(20.0)
    assert_served_at(domain, last)


def test_back_where_it_left_before_the_lma_could_know_what_is_under_way_overtakes_what_was_given_back_once() -> None:
    """Away for 50 ms, with an anchor 100 ms away: nothing is lost, and only there the order is not kept."""
    domain = begin(known=True, rtt=0.2)
    domain.traffic(0.002, until=4.0)
    domain.run(2.0)
    move(domain, 1)
    domain.run(6.0)
    assert not domain.lost
    assert sorted(domain.downlink) == list(range(domain.downlink_sent))
    assert domain.uplink == list(range(domain.uplink_sent))
    [step_back] = [step for step in pairwise(domain.downlink) if step[1] < step[0]]
    given_back = domain.downlink[domain.downlink.index(step_back[1]) :][:25]
    assert given_back == list(range(step_back[1], step_back[1] + 25))


@pytest.mark.parametrize("away", [2.002, 2.5])
def test_a_context_that_runs_out_ends_the_binding_but_not_the_mns_prefix(away: float) -> None:
    """In the first case even in mid-handover: the MN is back, and its PBU on the way."""
    domain = begin(context_lifetime=2.0)
    domain.run(2.0)
    move(domain, 2, away)
    domain.run(20.0)
    assert "context-binding-expired" in domain.notes()
    assert_served_at(domain, 2)
    assert domain.lma.binding_cache.of(MN)[0].hnps == (HNP,)
    domain.traffic(0.01, until=22.0)
    domain.run(23.0)
    assert_nothing_wrong(domain)


def test_a_hold_that_the_kernel_refuses_is_no_cce() -> None:
    """As many sessions are held as may be: pMAG hears of it, and the MN is served where it comes."""
    domain = begin(known=True)
    refused: list[Forward] = []

    def refuses(node: IPv6Address, forward: Forward) -> bool:
        held = node == LMAA and forward.forwarding is not None and forward.forwarding.held
        if held and not refused:
            refused.append(forward)
            return True
        return False

    domain.kernel_refuses = refuses
    domain.run(2.0)
    domain.leave()
    domain.run(2.02)
    assert refused
    assert {"data-plane-refused", "context-refused-130"} <= set(domain.notes())
    assert domain.lma.binding_cache.of(MN)[0].state is State.REGISTERED
    domain.run(2.05)
    domain.arrive(2)
    domain.run(20.0)
    assert_served_at(domain, 2)


@pytest.mark.parametrize("leaves", [True, False])
@pytest.mark.parametrize("what", ["held", "held or uplink_from"])
def test_where_nothing_can_be_held_the_mn_is_served_all_the_same(*, leaves: bool, what: str) -> None:
    """As when a MAG dies with more MNs than may be held: each of them comes elsewhere in the same moment."""
    domain = begin(known=True)

    def refuses(node: IPv6Address, forward: Forward) -> bool:
        wanted = forward.forwarding
        return bool(node == LMAA and wanted and (wanted.held or (wanted.uplink_from and "uplink_from" in what)))

    domain.kernel_refuses = refuses
    domain.run(2.0)
    if leaves:
        domain.leave()
    domain.run(2.05)
    domain.arrive(2)
    domain.run(2.2)
    assert "served-with-less" in domain.notes()
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa, bce.hnps) == (State.REGISTERED, NMAG, (HNP,))
    assert domain.kernel[LMAA][HNP].downlink == ToPeer(NMAG)
    if leaves:
        domain.traffic(0.01, until=22.0)
        domain.run(23.0)
        assert_nothing_wrong(domain)
        assert_served_at(domain, 2)


@pytest.mark.parametrize("downlink", ["hold", "forward"])
@pytest.mark.parametrize("mode", ["reactive", "predictive"])
@pytest.mark.parametrize("l2", [0.01, 0.5])
@pytest.mark.parametrize("rtt", [0.001, 0.2])
def test_two_thousand_packets_a_second(*, rtt: float, l2: float, mode: str, downlink: str) -> None:
    domain = begin(rtt=rtt, known=True, downlink=downlink)
    domain.run(1.9)
    domain.traffic(0.0005, until=2.0 + l2 + 4 * rtt + 0.1)
    domain.run(2.0)
    if mode == "predictive":
        domain.perform(PMAG, domain.mags[PMAG].handover(MN, NMAG, domain.now))
        domain.run(2.02)
    move(domain, 2, l2)
    domain.run(5.0)
    assert_nothing_wrong(domain)


def test_the_path_is_there_before_the_mn_and_it_hears_of_its_router_at_once() -> None:
    domain = begin(known=True)
    domain.leave()
    domain.run(domain.now + 0.05)
    awaited = domain.kernel[NMAG][HNP]
    assert awaited == Forwarding(ToAccess("acc1", mac(1)), held=True, uplink_to=LMAA, give_back=True)
    actions = domain.mags[NMAG].link_up("acc1", domain.now)
    [pbu] = [each.message for each in actions if isinstance(each, Send)]
    [advertisement] = [each for each in actions if isinstance(each, Advertise)]
    assert isinstance(pbu, ProxyBindingUpdate)
    assert (pbu.hnps, advertisement.hnps) == ((HNP,), (HNP,))
    assert Forward(MN, (HNP,), replace(awaited, held=False)) in actions


@pytest.mark.parametrize("downlink", ["hold", "forward"])
def test_a_mag_that_answers_a_cr_with_a_binding_error_gets_none_again(downlink: str) -> None:
    domain = begin(known=True, downlink=downlink)
    domain.mags[NMAG] = MobileAccessGateway(mag_config(2, 1, scheme="pmipv6"), utc, sequence=9000)
    for mag in (2, 1, 2):
        move(domain, mag)
        domain.run(domain.now + 20.0)
        assert_served_at(domain, mag)
    asked = [
        a.destination for _, _, a in domain.log if isinstance(a, Send) and isinstance(a.message, ContextReflection)
    ]
    assert asked == [NMAG]
    assert len(domain.sent(BindingError)) == 1
    # What waits for the MN waits at the anchor, for that MAG would drop it.
    move(domain, 1)
    domain.run(domain.now + 20.0)
    domain.traffic(0.002, until=domain.now + 2.0)
    domain.run(domain.now + 0.5)
    move(domain, 2)
    domain.run(domain.now + 5.0)
    assert domain.downlink[-domain.downlink_sent :] == list(range(domain.downlink_sent))


def test_a_path_that_is_refused_for_an_mn_that_left_early_leaves_nothing_behind() -> None:
    """It left before its registration was answered: the path is only for what goes back."""
    domain = PacketDomain.make(2, scheme="context-reflector", neighbours_known=True)
    domain.kernel_refuses = lambda node, forward: node == PMAG and forward.forwarding is not None
    domain.arrive(1)
    domain.run(0.001)
    domain.leave()
    domain.run(0.02)
    assert "data-plane-refused" in domain.notes()
    assert not domain.mags[PMAG].binding_update_list
    assert [message.name for message in domain.sent(ProxyBindingUpdate)] == ["PBU", "PBU-dereg"]
    domain.run(30.0)
    assert not domain.lma.binding_cache.of(MN)
