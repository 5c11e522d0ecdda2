"""`nft flush ruleset`, as a restart of Debian's nftables does it: the daemon's table is soon as it was."""

import json
import select
from collections.abc import Iterator

import pytest

from common.dataplane import nfqueue
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.roles import MAG
from testbed.lab.node import wait_until
from tests.netns.hold_rig import Plane, Rig
from tests.netns.numbered import Receiver, Sender

pytestmark = pytest.mark.netns

FLUSH = ["nft", "flush", "ruleset"]
PATIENCE_S = 3.0


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    keep = Keep(HoldLimits(packets=65535, sessions=4), patience=PATIENCE_S, uplink=True)
    with Rig(mns=2, lma=keep, mag=keep) as made:
        made.serve(1, "mag1")
        yield made


@pytest.fixture(autouse=True)
def _from_nothing(rig: Rig) -> Iterator[None]:
    yield
    rig.detach(2)
    rig.lma.apply(1, None)
    for plane in rig.planes.values():
        plane.apply(2, None)
        plane.settle()
        plane.plane.notes.clear()


def table(plane: Plane) -> str:
    """With the elements of its sets, without its counters."""
    return plane.node.run(["nft", "-s", "list", "table", "ip6", plane.plane._table])


def mended(plane: Plane) -> list[str]:
    return [note.event for note in plane.plane.notes]


@pytest.mark.parametrize("name", ["lma", "mag2"])
def test_the_table_is_as_it_was(rig: Rig, name: str) -> None:
    rig.lma.apply(
        1, rig.at("mag1", held=True, returned_from=rig.mags["mag2"], uplink_from=frozenset({rig.mags["mag2"]}))
    )
    rig.lma.apply(2, rig.at("mag1"))
    rig.planes["mag2"].apply(2, rig.to_access(2, held=True))  # and its other link has nobody
    plane = rig.planes[name]
    plane.settle()
    before = table(plane)
    wanted = ["uplink_from", "held", "full", "queue_of"] if name == "lma" else ["served", "held", "queue_of_link"]
    listing = json.loads(plane.node.run(["nft", "-j", "list", "table", "ip6", plane.plane._table]))["nftables"]
    sets = {each["name"]: each for item in listing for kind, each in item.items() if kind in ("set", "map")}
    assert all(sets[each].get("elem") for each in wanted)
    for _ in range(2):
        plane.node.run(FLUSH)
        plane.turn(1.0)
        assert table(plane) == before
    plane.turn()  # what was done itself is no news
    assert mended(plane) == ["table-mended"] * 2


def test_a_copy_that_was_saved_before_is_not_taken_for_the_table(rig: Rig) -> None:
    """As with `nft list ruleset >/etc/nftables.conf`: it has the elements of long ago."""
    rig.lma.apply(1, rig.at("mag1", uplink_from=frozenset({rig.mags["mag2"]})))
    saved = rig.lma.node.run(["nft", "list", "ruleset"])
    rig.lma.apply(1, rig.at("mag1", held=True))
    now = table(rig.lma)
    rig.lma.node.run(["nft", "-f", "-"], f"flush ruleset\n{saved}")
    assert table(rig.lma) != now
    rig.lma.turn(1.0)
    assert table(rig.lma) == now


def test_what_a_daemon_does_itself_does_not_wake_it(rig: Rig) -> None:
    rig.lma.turn()
    for _ in range(3):
        rig.lma.apply(1, rig.at("mag1", held=True))
        rig.lma.apply(1, rig.at("mag1"))
        rig.lma.settle()
    assert select.select([rig.lma.plane._upkeep.socket], [], [], 0.0)[0] == []
    rig.lma.node.run(["nft", "add", "table", "ip6", "other"])  # this is heard, and is none of its business
    rig.lma.node.run(["nft", "delete", "table", "ip6", "other"])
    assert select.select([rig.lma.plane._upkeep.socket], [], [], 0.0)[0] != []
    rig.lma.turn()
    assert mended(rig.lma) == []


def test_a_hold_goes_on_with_what_comes_after(rig: Rig) -> None:
    """The kernel itself drops what waits when a chain that has a hook goes."""
    rig.lma.apply(1, rig.at("mag1"))
    before = rig.lma.drops().get("hold-flushed", 0)
    sender, receiver = rig.downlink()
    with sender, receiver:
        rig.lma.apply(1, rig.at("mag1", held=True))
        sender.send(10)
        wait_until(lambda: rig.lma.holds()[0]["packets"] == 10, "ten packets held")
        rig.lma.node.run(FLUSH)
        rig.lma.turn(1.0)
        sender.send(20)
        wait_until(lambda: rig.lma.holds()[0]["packets"] == 20, "twenty packets held")
        assert receiver.count() == 0
        rig.lma.apply(1, rig.at("mag1"))
        receiver.wait_for(20)
        rig.lma.settle()
        rig.lma.apply(1, rig.at("mag1", held=True))  # the next handover
        sender.send(30)
        wait_until(lambda: rig.lma.holds()[0]["packets"] == 30, "thirty packets held")
        rig.lma.apply(1, rig.at("mag1"))
        receiver.wait_for(50)
        rig.lma.settle()
        assert receiver.of(rig.cn) == list(range(10, 60))
    assert rig.lma.drops()["hold-flushed"] - before == 10


def test_what_waits_is_lost_with_a_chain_of_anybodys(rig: Rig) -> None:
    """docs/operating.md warns of it: so the kernel is, and nothing tells of it."""
    chain = "table ip6 other { chain input { type filter hook input priority 0; }; }"
    rig.lma.apply(1, rig.at("mag1", held=True))
    with rig.sender() as sender:
        sender.send(10)
        wait_until(lambda: rig.lma.holds()[0]["packets"] == 10, "ten packets held")
        rig.lma.node.run(["nft", "-f", "-"], chain)
        assert rig.lma.holds()[0]["packets"] == 10
        rig.lma.node.run(["nft", "delete", "table", "ip6", "other"])
        assert rig.lma.holds()[0]["packets"] == 0


def test_a_hold_that_begins_before_it_was_noticed_holds(rig: Rig) -> None:
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = rig.downlink()
    with sender, receiver:
        rig.lma.node.run(FLUSH)
        rig.lma.apply(1, rig.at("mag1", held=True))
        sender.send(10)
        wait_until(lambda: rig.lma.holds()[0]["packets"] == 10, "ten packets held")
        rig.lma.apply(1, rig.at("mag1"))
        rig.lma.node.run(FLUSH)  # while packets pass through the queue yet
        rig.lma.settle()
        receiver.wait_for(10)
        sender.send(10)
        receiver.wait_for(20)
        assert receiver.of(rig.cn) == list(range(20))
    assert mended(rig.lma) == ["table-mended"] * 2


def test_at_a_mag_uplink_waits_and_is_judged(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    rig.lma.apply(1, rig.at("mag1"))
    mag.node.run(FLUSH)
    mag.turn(1.0)
    foreign = "2001:db8:bad::1"
    rig.nodes["mn1"].run(["ip", "-6", "address", "replace", f"{foreign}/128", "dev", "lo", "nodad"])
    with (
        Sender(rig.nodes["mn1"], foreign, rig.cn) as forged,
        Sender(rig.nodes["mn1"], rig.mn_address(1), rig.cn) as own,
        Receiver(rig.nodes["cn"]) as receiver,
    ):
        forged.send(10)
        wait_until(lambda: mag.drops().get("uplink-without-binding", 0) >= 10, "ten packets dropped")
        own.send(10)
        receiver.wait_for(10)
        assert set(receiver.numbers) == {str(rig.mn_address(1))}
        rig.attach(2, "mag1")  # who has no path yet
        with Sender(rig.nodes["mn2"], rig.mn_address(2), rig.cn) as early:
            early.send(10)
            mag.run(0.05)
            rig.lma.apply(2, rig.at("mag1"))
            mag.apply(2, rig.to_access(2))
            receiver.wait_for(20)
        assert receiver.of(rig.mn_address(2)) == list(range(10))


def test_at_a_mag_what_waited_for_a_path_is_lost_and_counted(rig: Rig) -> None:
    mag = rig.planes["mag1"]
    rig.lma.apply(2, rig.at("mag1"))
    rig.attach(2, "mag1")
    before = mag.drops().get("downlink-without-binding-flushed", 0)
    sender, receiver = rig.downlink(2)
    with sender, receiver:
        sender.send(5)
        wait_until(lambda: strays(mag) == 5, "five packets wait")
        mag.turn()  # it knows of these, and not of the next
        sender.send(5)
        wait_until(lambda: strays(mag) == 10, "ten packets wait")
        mag.node.run(FLUSH)
        mag.turn(1.0)
        assert strays(mag) == 0
        sender.send(10)
        wait_until(lambda: strays(mag) == 10, "ten more packets wait")
        mag.apply(2, rig.to_access(2))
        receiver.wait_for(10)
        assert receiver.of(rig.cn) == list(range(10, 20))
    assert mag.drops()["downlink-without-binding-flushed"] - before == 10


def strays(plane: Plane) -> int:
    with plane.node.inside():
        return nfqueue.states()[MAG.first_queue].kept
