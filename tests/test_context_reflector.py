"""Context Reflector between pure cores in virtual time, with packets: nothing lost, nothing doubled, nothing late."""

from collections.abc import Callable
from ipaddress import IPv6Address
from itertools import pairwise

import pytest

from common.actions import Send
from common.mh.messages import (
    BindingRevocationAck,
    BindingRevocationIndication,
    ContextReflection,
    ContextReflectionAck,
    Message,
    MnId,
    ProxyBindingAck,
    ProxyBindingUpdate,
)
from lmad.config import ContextReflector
from lmad.lma import LocalMobilityAnchor
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, lma_config, mag_address, mag_config, mn_id, utc
from tests.packets import PacketDomain

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


@pytest.mark.parametrize("noticed_at", [2.0, 8.0])
def test_back_to_a_mag_that_was_cut_off(noticed_at: float) -> None:
    """It has heard no revocation, and may have seen only later that the MN was gone: its context must not deceive."""
    domain = begin(known=False)

    def deliver(source: IPv6Address, destination: IPv6Address, _message: Message) -> tuple[float, ...]:
        cut_off = mag_address(1) in (source, destination) and 2.0 <= domain.now < 8.0
        return () if cut_off else (domain.one_way + 0.05,)  # packets do not wait for a daemon that is busy

    domain.deliver = deliver
    domain.traffic(0.002, until=12.0)
    domain.run(2.0)
    domain.here = None
    domain.at(noticed_at, lambda: domain.detach(1, 1))
    domain.run(2.05)
    domain.arrive(2)
    domain.run(9.0)
    domain.leave()
    domain.run(9.05)
    domain.arrive(1)
    domain.run(30.0)
    assert_nothing_wrong(domain)
    [bce] = domain.lma.binding_cache.of(MN)
    assert bce.handover is None


def test_announced_handover_that_does_not_happen_restores_the_service() -> None:
    domain = begin(known=True, context_lifetime=1.0)
    domain.perform(mag_address(1), domain.mags[mag_address(1)].handover(MN, mag_address(2), domain.now))
    domain.run(30.0)
    [bce] = domain.lma.binding_cache.of(MN)
    assert bce.proxy_coa == mag_address(1)
    domain.traffic(0.01, until=32.0)
    domain.run(33.0)
    assert_nothing_wrong(domain)


def test_context_that_nobody_comes_for_ends_with_its_lifetime() -> None:
    domain = begin(context_lifetime=2.0)
    domain.traffic(0.01, until=5.0)
    domain.run(2.0)
    domain.leave()
    domain.run(10.0)
    assert len(domain.lma.binding_cache) == 0
    held = next(iter(packets for where, packets in domain.lost.items() if "path removed" in where))
    assert len(held) > 150  # what was held for two seconds is dropped, and known to be
    assert "context-binding-expired" in domain.notes()


@pytest.mark.parametrize(
    "lost", [ContextReflection, ContextReflectionAck, BindingRevocationIndication, BindingRevocationAck]
)
@pytest.mark.parametrize("downlink", ["hold", "forward"])
@pytest.mark.parametrize("l2", [0.002, 0.05])
def test_a_lost_message_loses_no_packet(lost: type[Message], downlink: str, l2: float) -> None:
    domain = begin(known=True, downlink=downlink)
    domain.deliver = lambda _source, _destination, message: () if isinstance(message, lost) else (domain.one_way,)
    domain.traffic(0.002, until=8.0)
    domain.run(2.0)
    domain.leave()
    domain.run(2.0 + l2)
    domain.arrive(2)
    domain.run(12.0)
    assert_nothing_wrong(domain)


@pytest.mark.parametrize("which", ["de-registration", "its PBA", "registration", "its PBA at nMAG"])
def test_a_lost_request_or_answer_loses_no_packet(which: str) -> None:
    domain = begin(known=True)
    victims: dict[str, Callable[[Message, IPv6Address], bool]] = {
        "de-registration": lambda m, d: isinstance(m, ProxyBindingUpdate) and not m.lifetime,
        "its PBA": lambda m, d: isinstance(m, ProxyBindingAck) and d == mag_address(1),
        "registration": lambda m, d: isinstance(m, ProxyBindingUpdate) and m.lifetime > 0,
        "its PBA at nMAG": lambda m, d: isinstance(m, ProxyBindingAck) and d == mag_address(2),
    }
    losses = [1]

    def spoil(_source: IPv6Address, destination: IPv6Address, message: Message) -> tuple[float, ...]:
        if losses and victims[which](message, destination):
            losses.pop()
            return ()
        return (domain.one_way,)

    domain.deliver = spoil
    domain.traffic(0.01, until=8.0)
    domain.run(2.0)
    domain.leave()
    domain.run(2.05)
    domain.arrive(2)
    domain.run(12.0)
    assert not losses
    assert_nothing_wrong(domain)


def test_an_lma_or_a_mag_without_the_extension_is_served_as_plain_pmipv6() -> None:
    for plain in ("lma", "mag1", "mag2"):
        domain = begin(known=True)
        if plain == "lma":
            domain.lma = LocalMobilityAnchor(lma_config(2, 1, scheme="pmipv6"), utc)
        else:
            number = int(plain[-1])
            gateway = MobileAccessGateway(mag_config(number, 1, scheme="pmipv6"), utc, sequence=9000)
            domain.mags[mag_address(number)] = gateway
        domain.kernel.clear()
        domain.here = None
        domain.arrive(1)
        domain.run(domain.now + 2.0)
        domain.leave()
        domain.run(domain.now + 0.05)
        domain.arrive(2)
        domain.run(domain.now + 20.0)
        [bce] = domain.lma.binding_cache.of(MN)
        assert (bce.proxy_coa, bce.handover) == (mag_address(2), None)
        assert set(domain.mags[mag_address(2)].binding_update_list) == {MN}
        assert not list(domain.mags[mag_address(1)].binding_update_list)


def reflections(domain: PacketDomain) -> list[float]:
    """When the LMA sent one."""
    return [
        moment
        for moment, node, action in domain.log
        if node == LMAA and isinstance(action, Send) and isinstance(action.message, ContextReflection)
    ]


def test_a_reflection_to_be_acknowledged_is_repeated_until_it_is() -> None:
    domain = begin(known=True, acknowledge=True)
    deaf_until = 1.0 + 4.0
    domain.deliver = lambda _source, _destination, message: (
        () if isinstance(message, ContextReflection) and domain.now < deaf_until else (domain.one_way,)
    )
    domain.leave()
    domain.run(9.0)
    assert reflections(domain) == pytest.approx([1.005, 2.005, 4.005, 6.005])
    assert domain.notes().count("context-unacknowledged") == 1


def test_a_reflection_that_is_never_acknowledged_ends_with_the_context() -> None:
    domain = begin(known=True, acknowledge=True, context_lifetime=6553.5)
    domain.deliver = lambda _source, _destination, message: (
        () if isinstance(message, ContextReflection) else (domain.one_way,)
    )
    domain.leave()
    domain.run(7000.0)
    assert len(domain.lma.binding_cache) == 0
    assert 6550.0 < max(reflections(domain)) < 6555.0


def test_a_mag_without_the_extension_is_sent_one_reflection_until_it_has_learnt_it() -> None:
    domain = begin(known=True, acknowledge=True)
    speaker = domain.mags[mag_address(2)]
    domain.mags[mag_address(2)] = MobileAccessGateway(mag_config(2, 1, scheme="pmipv6"), utc, sequence=9000)

    def there_and_back() -> None:
        for mag in (2, 1):
            domain.leave()
            domain.run(domain.now + 0.05)
            domain.arrive(mag)
            domain.run(domain.now + 20.0)

    there_and_back()
    there_and_back()
    assert len(reflections(domain)) == 1
    domain.mags[mag_address(2)] = speaker  # it asks for a context, for none has come
    there_and_back()
    there_and_back()
    assert len(reflections(domain)) == 1 + 3  # back, there and back
