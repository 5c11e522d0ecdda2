"""The Fast Handover Scheme between pure cores in virtual time, with packets: what it saves and what it does not.

The downlink waits at the nMAG; what an MN sends through pMAG behind the Fast PBU is refused by the LMA, as specified.
"""

from ipaddress import IPv6Address

import pytest

from common.actions import Forwarding, Send, ToAccess, ToPeer
from common.mh.messages import FastProxyBindingAck, FastProxyBindingUpdate, Message, MnId, ReverseProxyBindingUpdate
from lmad.binding_cache import State
from magd.binding_update_list import State as MagState
from tests.domain import LMAA, mac, mag_address, mn_id
from tests.packets import HNP, PacketDomain

MN: MnId = mn_id(1)
PMAG, NMAG, THIRD = mag_address(1), mag_address(2), mag_address(3)
LATE_UPLINK = "uplink not accepted"
ON_OLD_PATH = f"{PMAG}: MN gone"


def begin(mags: int = 2, known: bool = True, rtt: float = 0.01) -> PacketDomain:
    domain = PacketDomain.make(mags, scheme="fast-handover", neighbours_known=known)
    domain.one_way = rtt / 2
    domain.arrive(1)
    domain.run(1.0)
    return domain


def announce(domain: PacketDomain, nmag: IPv6Address | None = NMAG) -> None:
    assert domain.here
    here = mag_address(domain.here)
    domain.perform(here, domain.mags[here].handover(MN, nmag, domain.now))


def messages(domain: PacketDomain) -> list[str]:
    return [action.message.name for _, _, action in domain.log if isinstance(action, Send)]


def assert_served_at(domain: PacketDomain, mag: int) -> None:
    """By that MAG alone, and nothing is left of a handover."""
    [bce] = domain.lma.binding_cache.of(MN)
    assert (bce.state, bce.proxy_coa, bce.handover) == (State.REGISTERED, mag_address(mag), None)
    assert domain.kernel[LMAA] == {HNP: Forwarding(ToPeer(mag_address(mag)))}
    for number, (address, gateway) in enumerate(domain.mags.items(), 1):
        assert (MN in gateway.binding_update_list) == (number == mag), address
    path = domain.kernel[mag_address(mag)][HNP]
    assert path == Forwarding(ToAccess("acc1", mac(1)), uplink_to=LMAA)


def test_messages_go_as_in_the_figure() -> None:
    domain = begin()
    domain.log.clear()
    announce(domain)
    domain.run(1.02)
    [bce] = domain.lma.binding_cache.of(MN)
    assert bce.proxy_coa == NMAG
    assert bce.handover
    assert bce.handover.describe() == {"pmag": str(PMAG), "nmag": str(NMAG), "stage": "awaited"}
    assert domain.kernel[NMAG][HNP].held
    assert domain.mags[NMAG].binding_update_list[MN].state is MagState.AWAITED
    domain.leave()
    domain.run(1.07)
    domain.arrive(2)
    domain.run(1.2)
    assert messages(domain) == ["Fast PBU", "Fast PBA", "Reverse PBU", "Reverse PBA", "PBU", "PBA"]
    assert domain.notes().count("hold-started") == domain.notes().count("hold-released") == 1
    [fast], [reverse] = domain.sent(FastProxyBindingUpdate), domain.sent(ReverseProxyBindingUpdate)
    assert isinstance(fast, FastProxyBindingUpdate)
    assert isinstance(reverse, ReverseProxyBindingUpdate)
    assert (fast.nmag, reverse.pmag, reverse.hnps, reverse.mn_ll_id) == (NMAG, PMAG, (HNP,), mac(1))
    assert (reverse.sequence, reverse.timestamp) == (fast.sequence, fast.timestamp)
    domain.run(20.0)
    assert_served_at(domain, 2)


@pytest.mark.parametrize("rtt", [0.001, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("l2", [0.01, 0.05, 0.5])
@pytest.mark.parametrize("interval", [0.02, 0.002])
def test_predictive_loses_only_what_comes_up_behind_the_fast_pbu(rtt: float, l2: float, interval: float) -> None:
    """Announced a round trip before the MN leaves: the old path is empty by then."""
    domain = begin(rtt=rtt)
    domain.traffic(interval, until=5.0)
    domain.run(2.0 + interval / 2)
    sent_before = domain.uplink_sent
    announce(domain)
    domain.run(domain.now + rtt)
    sent_after = domain.uplink_sent
    domain.leave()
    domain.run(domain.now + l2)
    domain.arrive(2)
    domain.run(8.0)
    assert domain.downlink == list(range(domain.downlink_sent))
    assert domain.lost.pop(LATE_UPLINK, []) == list(range(sent_before, sent_after))
    assert dict(domain.lost) == {}
    assert domain.uplink == sorted(domain.uplink)
    gaps = [b - a for a, b in zip(domain.downlink_times, domain.downlink_times[1:], strict=False)]
    assert max(gaps) <= l2 + rtt + interval + 1e-6  # from the announcement on nothing is sent down the old path


@pytest.mark.parametrize("rtt", [0.001, 0.01, 0.05, 0.2])
@pytest.mark.parametrize("l2", [0.01, 0.05, 0.5])
def test_reactive_loses_only_what_was_on_the_old_path(rtt: float, l2: float) -> None:
    domain = begin(rtt=rtt)
    interval = 0.002
    domain.traffic(interval, until=5.0)
    domain.run(2.0)
    domain.leave()
    left_at = domain.now
    domain.run(left_at + l2)
    domain.arrive(2)
    domain.run(8.0)
    lost = domain.lost.pop(ON_OLD_PATH, [])
    assert len(lost) == pytest.approx(rtt / interval, abs=1)
    assert domain.downlink == [number for number in range(domain.downlink_sent) if number not in lost]
    # What the MN sends before its PBU is answered, if it was faster than the Reverse PBU, waits in this model.
    assert dict(domain.lost) == {}
    assert domain.uplink == list(range(domain.uplink_sent))
    assert_served_at(domain, 2)


def test_without_a_known_nmag_it_is_plain_pmipv6() -> None:
    domain = begin(mags=3, known=False)
    announce(domain, None)
    assert domain.notes()[-1] == "handover-not-announced"
    domain.leave()
    domain.run(1.05)
    domain.arrive(3)
    domain.run(12.0)
    assert not domain.sent(FastProxyBindingUpdate)
    assert_served_at(domain, 3)


def test_two_hundred_handovers_over_three_mags() -> None:
    domain = begin(mags=3, known=False)
    domain.traffic(0.005, until=120.0)
    here = 1
    for step in range(200):
        domain.run(domain.now + 0.4)
        here = (here + step * 7 % 2) % 3 + 1
        announce(domain, mag_address(here))
        domain.run(domain.now + 0.015)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(here)
    domain.run(130.0)
    assert domain.downlink == list(range(domain.downlink_sent))
    assert set(domain.lost) == {LATE_UPLINK}
    assert domain.uplink == sorted(domain.uplink)
    assert_served_at(domain, here)


def test_packets_that_overtake_the_reverse_pbu_wait_for_it() -> None:
    """On the first visit of that MAG and, shortly after, on the second."""
    domain = begin()
    domain.deliver = lambda _source, _destination, message: (
        (domain.one_way + 0.003 * isinstance(message, ReverseProxyBindingUpdate)),
    )
    domain.traffic(0.001, until=4.0)
    for mag in (2, 1, 2):
        announce(domain, mag_address(mag))
        domain.run(domain.now + 0.01)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(mag)
        domain.run(domain.now + 0.5)
    domain.run(12.0)
    assert domain.downlink == list(range(domain.downlink_sent))
    assert set(domain.lost) == {LATE_UPLINK}


def test_a_lost_answer_costs_at_most_what_comes_ahead_of_the_next_reverse_pbu() -> None:
    """The Fast PBA to the first MAG is lost, the MN comes back by two others, and that Reverse PBU is lost, too."""
    domain = begin(mags=3)
    losses: list[tuple[type[Message], IPv6Address]] = [
        (FastProxyBindingAck, PMAG),
        (ReverseProxyBindingUpdate, PMAG),
    ]

    def spoil(_source: IPv6Address, destination: IPv6Address, message: Message) -> tuple[float, ...]:
        if (type(message), destination) in losses:
            losses.remove((type(message), destination))
            return ()
        return (domain.one_way,)

    domain.deliver = spoil
    domain.traffic(0.005, until=6.0)
    for mag in (3, 2, 1):
        announce(domain, mag_address(mag))
        domain.run(domain.now + 0.01)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(mag)
        domain.run(domain.now + 0.4)
    domain.run(20.0)
    assert not losses
    # Until the Fast PBU is sent again, the old path is there for what may still be on it.
    lost = domain.lost.pop(ON_OLD_PATH)
    assert len(lost) * 0.005 <= 0.05
    assert domain.downlink == [number for number in range(domain.downlink_sent) if number not in lost]
    assert set(domain.lost) == {LATE_UPLINK}


def test_mn_comes_elsewhere_than_said() -> None:
    """What waits at the MAG that was named is lost; it is told that the MN does not come."""
    domain = begin(mags=3)
    domain.traffic(0.002, until=4.0)
    announce(domain)
    domain.run(1.02)
    domain.leave()
    domain.run(1.07)
    domain.arrive(3)
    domain.run(1.2)
    [_, cancellation] = domain.sent(ReverseProxyBindingUpdate)
    assert isinstance(cancellation, ReverseProxyBindingUpdate)
    assert cancellation.lifetime == 0
    assert MN not in domain.mags[NMAG].binding_update_list
    held = domain.lost.pop(f"{NMAG}: path removed")
    domain.run(12.0)
    # What reached the wrong MAG behind the cancellation had left the LMA before the MN was registered elsewhere.
    assert domain.downlink == [
        number for number in range(domain.downlink_sent) if number not in {*held, *domain.early[NMAG]}
    ]
    assert_served_at(domain, 3)


@pytest.mark.parametrize("away", [0.001, 0.05, 1.5])
def test_mn_returns_to_pmag(away: float) -> None:
    domain = begin()
    domain.traffic(0.002, until=8.0)
    announce(domain)
    domain.run(1.02)
    domain.leave()
    domain.run(domain.now + away)
    domain.arrive(1)
    domain.run(domain.now + 0.05)
    assert domain.kernel[LMAA][HNP] == Forwarding(ToPeer(PMAG))
    received = len(domain.downlink)
    domain.run(20.0)
    assert domain.downlink[received:] == list(range(domain.downlink[received], domain.downlink_sent))
    assert_served_at(domain, 1)


def test_announced_handover_that_does_not_happen_restores_the_service() -> None:
    domain = begin()
    announce(domain)
    domain.run(3.0)
    assert domain.kernel[PMAG][HNP] == Forwarding(ToAccess("acc1", mac(1)), uplink_to=LMAA)
    domain.run(7.0)
    assert "binding-deleted" not in domain.notes()
    domain.traffic(0.01, until=9.0)
    domain.run(10.0)
    assert domain.downlink == list(range(domain.downlink_sent))
    assert domain.uplink == list(range(domain.uplink_sent))
    assert_served_at(domain, 1)


def test_mn_that_comes_nowhere_is_forgotten_everywhere() -> None:
    domain = begin()
    announce(domain)
    domain.run(1.02)
    domain.leave()
    domain.run(30.0)
    assert len(domain.lma.binding_cache) == 0
    assert "registered-binding-expired" in domain.notes()
    assert domain.kernel == {LMAA: {}, PMAG: {}, NMAG: {}}
