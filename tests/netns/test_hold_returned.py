"""What a MAG gives back because the MN has left: delivered, ahead of what is held, and never in a circle."""

import json
from collections.abc import Iterator

import pytest

from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from testbed.lab.node import wait_until
from tests.netns.hold_rig import Rig
from tests.netns.numbered import Receiver, Sender, trouble

pytestmark = pytest.mark.netns

RTT_S = 0.010
PATIENCE_S = 3.0  # an emulated machine may be slow


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(
        mns=2, rtt_s=RTT_S, lma=Keep(HoldLimits(packets=65535), patience=PATIENCE_S), mag=Keep(HoldLimits(sessions=4))
    ) as made:
        yield made


def end_marker(rig: Rig, mag: str) -> None:
    """Goes down behind the last packet for the MN, and comes back behind the last that was given back."""
    rig.nodes["lma"].run(["ping", "-6", "-c", "1", "-w", "5", str(rig.mags[mag])])


def hand_over(rig: Rig, number: int, old: str, new: str, *, early: bool) -> None:
    """The MN moves; with `early` it is back before all has been given back."""
    lma, pmag, nmag = rig.lma, rig.mags[old], rig.mags[new]
    both = frozenset({pmag, nmag})
    rig.detach(number)
    lma.run(RTT_S / 2)  # packets come back, nobody knows why
    lma.apply(number, rig.at(old, held=True, returned_from=pmag, uplink_from=both))
    if not early:
        end_marker(rig, old)
        lma.run(RTT_S)
    rig.planes[new].apply(number, rig.to_access(number))
    rig.attach(number, new)
    if early:
        lma.apply(number, rig.at(new, held=True, returned_from=pmag, uplink_from=frozenset({pmag})))
        lma.run(RTT_S / 2)
        end_marker(rig, old)
    lma.apply(number, rig.at(new, uplink_from=frozenset({pmag})))
    lma.run(RTT_S)
    lma.apply(number, rig.at(new))
    rig.planes[old].apply(number, None)
    rig.planes[old].settle()
    lma.run(RTT_S)


ORDERS = pytest.mark.parametrize("early", [False, True], ids=["after all came back", "before all came back"])


def roam(rig: Rig, sender: Sender, receiver: Receiver, rate_pps: int, *, early: bool) -> None:
    """MN 1 goes to and fro. Every packet is put on its access links once, in order: what is lost, is lost there.

    When a link loses its carrier, the kernel takes a while to know it, and then to let its routes know: on a loaded
    machine that emulates two processors dozens of milliseconds.
    """
    before = rig.put_on_access_links(1)
    with sender.streaming(rate_pps, receiver):
        for old, new in [("mag1", "mag2"), ("mag2", "mag1")] * 5:
            hand_over(rig, 1, old, new, early=early)
            receiver.read()
    wait_until(lambda: rig.put_on_access_links(1) - before >= sender.sent, "every packet on an access link")
    found = trouble(receiver.of(sender.source), sender.sent)
    found.pop("lost", None)
    assert found == {}
    assert rig.put_on_access_links(1) - before == sender.sent
    assert rig.lma.drops() == {}


@ORDERS
@pytest.mark.parametrize("rate_pps", [200, 2000])
def test_what_was_in_flight_comes_first(rig: Rig, rate_pps: int, early: bool) -> None:
    rig.serve(1, "mag1")
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = rig.downlink()
    with sender, receiver:
        roam(rig, sender, receiver, rate_pps, early=early)


@ORDERS
def test_a_neighbour_at_the_old_mag_is_served_as_well(rig: Rig, early: bool) -> None:
    """Its packets come up the very tunnel by which they are given back."""
    for number in (1, 2):
        rig.serve(number, "mag1")
        rig.lma.apply(number, rig.at("mag1"))
    source = rig.mn_address(2)
    with Sender(rig.nodes["mn2"], source, rig.mn_address(1)) as sender, Receiver(rig.nodes["mn1"]) as receiver:
        roam(rig, sender, receiver, 1000, early=early)


def test_what_comes_back_without_a_handover_is_dropped_after_a_while_and_counted(rig: Rig) -> None:
    for number in (1, 2):
        rig.serve(number, "mag1")
        rig.lma.apply(number, rig.at("mag1"))
    before = _sent_down(rig)
    rig.detach(1)
    monitor_quiet(rig)
    with (
        rig.sender() as sender,
        Sender(rig.nodes["mn2"], rig.mn_address(2), rig.mn_address(1)) as neighbour,
    ):
        sender.send(30)
        neighbour.send(30)
        wait_until(lambda: _sent_down(rig) - before == 60, "each packet once down the tunnel")
        rig.lma.run(RTT_S * 3)
        assert rig.lma.drops() == {}
        rig.lma.run_until(lambda: sum(rig.lma.drops().values()) >= 60, "sixty drops")
        assert rig.lma.drops() == {"returned-without-context": 60}
    assert _sent_down(rig) - before == 60
    assert rig.lma.plane.deadline() is None


def monitor_quiet(rig: Rig) -> None:
    """Until the MAG's kernel routes nothing over the link any more."""
    address = str(rig.mn_address(1))
    wait_until(lambda: "dev pmg" in rig.nodes["mag1"].run(["ip", "-6", "route", "get", address]), "way back")


def _sent_down(rig: Rig) -> int:
    """Packets that the LMA has sent into the tunnel to mag1."""
    links = json.loads(rig.nodes["lma"].run(["ip", "-6", "-s", "-j", "-d", "link", "show", "type", "ip6tnl"]))
    return sum(link["stats64"]["tx"]["packets"] for link in links)
