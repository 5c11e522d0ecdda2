"""Holds at the LMA on the kernel: packets wait and go in order while more keep coming."""

from collections.abc import Iterator
from itertools import pairwise

import pytest

from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from testbed.lab.node import wait_until
from tests.netns.hold_rig import Rig
from tests.netns.numbered import trouble

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(lma=Keep(HoldLimits(packets=65535)), mag=Keep()) as made:
        made.serve(1, "mag1")
        yield made


def hold_drops(rig: Rig) -> dict[str, int]:
    return {reason: count for reason, count in rig.lma.drops().items() if reason.startswith("hold")}


def contested(rig: Rig) -> int:
    assert rig.lma.plane._keeping
    return rig.lma.plane._keeping.gates.contested


def test_what_is_held_goes_in_order_by_the_new_path(rig: Rig) -> None:
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = rig.downlink()
    with sender, receiver:
        sender.send(10)
        receiver.wait_for(10)
        rig.lma.apply(1, rig.at("mag1", held=True))
        sender.send(100)
        wait_until(lambda: rig.lma.holds()[0]["packets"] == 100, "a hundred packets held")
        assert receiver.count() == 10
        rig.detach(1)
        rig.serve(1, "mag2")
        rig.lma.apply(1, rig.at("mag2"))
        sender.send(10)
        receiver.wait_for(120)
        rig.lma.settle()
        sender.send(10)
        receiver.wait_for(130)
        assert trouble(receiver.of(rig.cn), sender.sent) == {}
    assert rig.lma.holds() == []
    assert hold_drops(rig) == {}


@pytest.mark.parametrize("rate_pps", [1_000, 5_000, 20_000])
def test_no_packet_of_a_stream_is_lost_doubled_or_overtaken(rig: Rig, rate_pps: int) -> None:
    for mag in ("mag1", "mag2"):  # the MN hears both: only the LMA decides
        rig.serve(1, mag)
    rig.lma.apply(1, rig.at("mag1"))
    places = ["mag2", "mag1"] * 25
    before = contested(rig)
    sender, receiver = rig.downlink()
    with sender, receiver:
        with sender.streaming(rate_pps, receiver):
            for old, new in pairwise(["mag1", *places]):
                rig.lma.apply(1, rig.at(old, held=True, returned_from=rig.mags[old]))
                rig.lma.run(0.01)
                rig.lma.apply(1, rig.at(new))
                rig.lma.run(0.015)
                receiver.read()
        receiver.wait_for(sender.sent)
        found = trouble(receiver.of(rig.cn), sender.sent)
    if contested(rig) > before:  # a processor that is emulated may stand still between two instructions
        found.pop("reordered", None)
    assert found == {}
    assert contested(rig) - before <= len(places) / 25
    assert hold_drops(rig) == {}
