"""Holds at the LMA on the kernel: packets wait and go in order while more keep coming."""

from collections.abc import Iterator

import pytest

from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from tests.netns.hold_rig import Receiver, Rig, Sender, trouble

pytestmark = pytest.mark.netns


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(lma=Keep(HoldLimits(packets=65535)), mag=Keep()) as made:
        made.serve(1, "mag1")
        yield made


def test_what_is_held_goes_in_order_by_the_new_path(rig: Rig) -> None:
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = Sender(rig.nodes["cn"], rig.cn, rig.mn_address(1)), Receiver(rig.nodes["mn"])
    sender.send(10)
    receiver.wait_for(10)
    rig.lma.apply(1, rig.at("mag1", held=True))
    sender.send(100)
    assert rig.lma.holds()[0]["packets"] == 100
    assert receiver.count() == 10
    rig.network.air.detach([rig.mn_name(1)], but={})
    rig.serve(1, "mag2")
    rig.lma.apply(1, rig.at("mag2"))
    sender.send(10)
    receiver.wait_for(120)
    rig.lma.settle()
    sender.send(10)
    receiver.wait_for(130)
    assert trouble(receiver.of(rig.cn), sender.sent) == {}
    assert rig.lma.holds() == []
    assert rig.lma.drops() == {}
