"""What waits at a MAG on the kernel: downlink for an MN that is not there or not known yet, uplink before its path."""

from collections.abc import Iterator

import pytest

from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from testbed.lab.node import wait_until
from tests.netns.hold_rig import Rig
from tests.netns.numbered import Receiver, Sender, trouble

pytestmark = pytest.mark.netns

PATIENCE_S = 3.0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    mag = Keep(HoldLimits(packets=65535, sessions=4), patience=PATIENCE_S, uplink=True)
    with Rig(lma=Keep(HoldLimits(packets=65535), patience=PATIENCE_S), mag=mag) as made:
        yield made


@pytest.fixture(autouse=True)
def _from_nothing(rig: Rig) -> Iterator[None]:
    """Nobody is anywhere, and what has been dropped before is of no interest."""
    yield
    rig.detach(1)
    for plane in rig.planes.values():
        plane.apply(1, None)
        plane.settle()


def drops_of(rig: Rig, name: str, before: dict[str, int]) -> dict[str, int]:
    """Since `before`."""
    counts = {reason: count - before.get(reason, 0) for reason, count in rig.planes[name].drops().items()}
    return {reason: count for reason, count in counts.items() if count}


def test_what_comes_for_an_awaited_mn_waits_for_it(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    before = mag.drops()
    sender, receiver = rig.downlink()
    with sender, receiver:
        for turn in range(5):
            mag.apply(1, rig.to_access(1, held=True))  # there is no carrier
            rig.lma.apply(1, rig.at("mag1"))
            with sender.streaming(1000, receiver):
                mag.run(0.1)
                assert receiver.count() == sender.sent * bool(turn)
                rig.attach(1, "mag1")
                mag.run(0.02)
                mag.apply(1, rig.to_access(1))
                mag.run(0.1)
            receiver.wait_for(sender.sent)
            rig.detach(1)
            mag.apply(1, None)
            mag.settle()
        assert trouble(receiver.of(rig.cn), sender.sent) == {}
    assert drops_of(rig, "mag1", before) == {}


def test_what_comes_before_the_path_is_known_goes_first(rig: Rig) -> None:
    """The LMA accepts the PBU, sends what it held, and then the PBA: packets are ahead of what makes the path."""
    mag = rig.planes["mag1"]
    before = mag.drops()
    rig.attach(1, "mag1")
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = rig.downlink()
    with sender, receiver:
        for _ in range(5):
            with sender.streaming(1000, receiver):
                mag.run(0.05)
                mag.apply(1, rig.to_access(1))
                mag.run(0.05)
            receiver.wait_for(sender.sent)
            mag.apply(1, None)
            mag.settle()
        assert trouble(receiver.of(rig.cn), sender.sent) == {}
    assert drops_of(rig, "mag1", before) == {}


def test_what_comes_before_the_context_waits_with_the_rest(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = rig.downlink()
    with sender, receiver:
        with sender.streaming(1000, receiver):
            mag.run_until(lambda: mag.early(1), "something before the path")
            mag.apply(1, rig.to_access(1, held=True))
            mag.run(0.03)
            (row,) = mag.holds()
            assert row["ahead"]
            rig.attach(1, "mag1")
            mag.apply(1, rig.to_access(1))
            mag.run(0.03)
        receiver.wait_for(sender.sent)
        assert trouble(receiver.of(rig.cn), sender.sent) == {}


def test_what_is_for_nobody_is_dropped_after_a_while_and_counted(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    before = mag.drops()
    rig.lma.apply(1, rig.at("mag1"))
    with rig.sender() as sender:
        sender.send(20)
        mag.run_until(lambda: sum(drops_of(rig, "mag1", before).values()) >= 20, "twenty drops")
    assert drops_of(rig, "mag1", before) == {"downlink-without-binding": 20}


def test_what_an_awaited_mn_does_not_fetch_goes_back_with_the_path(rig: Rig) -> None:
    """The context is revoked: what waits goes to the LMA, which may know better."""
    mag = rig.planes["mag1"]
    mag.apply(1, rig.to_access(1, held=True))
    rig.lma.apply(1, rig.at("mag1"))
    with rig.sender() as sender:
        sender.send(20)
        wait_until(lambda: mag.holds()[0]["packets"] == 20, "twenty packets held")
        mag.apply(1, rig.to_access(1))
        mag.apply(1, None)
        rig.serve(1, "mag2")
        receiver = Receiver(rig.nodes["mn"])
        with receiver:
            rig.lma.run(0.05)
            rig.lma.apply(1, rig.at("mag2", returned_from=rig.mags["mag1"]))
            receiver.wait_for(20)
            assert trouble(receiver.of(rig.cn), sender.sent) == {}
    rig.planes["mag2"].apply(1, None)


def test_uplink_waits_for_the_path(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    before = mag.drops()
    with (
        Sender(rig.nodes["mn"], rig.mn_address(1), rig.cn) as sender,
        Receiver(rig.nodes["cn"]) as receiver,
    ):
        for _ in range(5):
            rig.attach(1, "mag1")
            with sender.streaming(1000, receiver):
                mag.run(0.05)
                rig.lma.apply(1, rig.at("mag1"))
                mag.apply(1, rig.to_access(1))
                mag.run(0.05)
            receiver.wait_for(sender.sent)
            rig.detach(1)
            mag.apply(1, None)
            rig.lma.apply(1, None)
        assert trouble(receiver.of(rig.mn_address(1)), sender.sent) == {}
    assert drops_of(rig, "mag1", before) == {}


def test_uplink_of_an_mn_that_is_refused_is_dropped_and_counted(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    before = mag.drops()
    rig.attach(1, "mag1")
    with (
        Sender(rig.nodes["mn"], rig.mn_address(1), rig.cn) as sender,
        Receiver(rig.nodes["cn"]) as receiver,
    ):
        sender.send(10)
        mag.run(0.05)
        mag.hold_uplink(rig.interface(1), keep=False)
        mag.settle()
        assert drops_of(rig, "mag1", before)["uplink-refused"] >= 10  # there is also what the MN says by itself
        sender.send(10)
        wait_until(
            lambda: drops_of(rig, "mag1", before).get("uplink-without-binding", 0) >= 10, "ten more packets dropped"
        )
        rig.detach(1)
        mag.hold_uplink(rig.interface(1), keep=True)
        rig.attach(1, "mag1")
        sender.send(10)
        mag.run(0.05)
        rig.lma.apply(1, rig.at("mag1"))
        mag.apply(1, rig.to_access(1))
        receiver.wait_for(10)
        assert receiver.of(rig.mn_address(1)) == list(range(20, 30))


def test_uplink_with_a_foreign_source_does_not_get_by_with_the_rest(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    before = mag.drops()
    rig.attach(1, "mag1")
    foreign = "2001:db8:bad::1"
    rig.nodes["mn"].run(["ip", "-6", "address", "replace", f"{foreign}/128", "dev", "lo", "nodad"])
    with Sender(rig.nodes["mn"], foreign, rig.cn) as sender:
        sender.send(10)
        mag.run(0.05)
        rig.lma.apply(1, rig.at("mag1"))
        mag.apply(1, rig.to_access(1))
    wait_until(lambda: drops_of(rig, "mag1", before).get("uplink-without-binding", 0) >= 10, "ten packets dropped")
    assert "uplink-not-from-serving-mag" not in rig.lma.drops()
