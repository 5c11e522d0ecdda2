"""Limits of holds on the kernel, and what happens when something is refused or a daemon dies."""

import json
from collections.abc import Iterator
from typing import Any

import pytest

from common.actions import Forwarding
from common.dataplane.elements import ElementSocket
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.netlink import RouteSocket
from common.errors import DataPlaneError
from testbed.lab.node import wait_until
from tests.netns.hold_rig import Rig
from tests.netns.numbered import Receiver, Sender, trouble

pytestmark = pytest.mark.netns

LONGEST = 65535
SMALL = HoldLimits(packets=100, octets=8000, sessions=2)
PACKET_OCTETS = 40 + 8 + 4


@pytest.fixture(scope="module")
def rig() -> Iterator[Rig]:
    with Rig(lma=Keep(SMALL), mag=Keep(SMALL, uplink=True)) as made:
        made.serve(1, "mag1")
        yield made


@pytest.fixture(autouse=True)
def _from_nothing(rig: Rig) -> Iterator[None]:
    yield
    for number in (1, 2, 3):
        rig.lma.apply(number, None)
    rig.lma.settle()


@pytest.fixture
def large() -> Iterator[Rig]:
    with Rig(
        lma=Keep(HoldLimits(packets=LONGEST, octets=1 << 30, packets_in_all=1 << 27, octets_in_all=1 << 40))
    ) as made:
        made.planes["mag1"].apply(1, made.to_access(1, give_back=False))
        made.attach(1, "mag1")
        yield made


def held(rig: Rig) -> int:
    return sum(int(str(row["packets"])) for row in rig.lma.holds())


def drops_of(rig: Rig, before: dict[str, int]) -> dict[str, int]:
    counts = {reason: count - before.get(reason, 0) for reason, count in rig.lma.drops().items()}
    return {reason: count for reason, count in counts.items() if count}


def sent_down(rig: Rig) -> int:
    links = json.loads(rig.nodes["lma"].run(["ip", "-s", "-j", "link", "show", "type", "ip6tnl"]))
    return sum(link["stats64"]["tx"]["packets"] for link in links)


def installed(rig: Rig, name: str) -> dict[str, Any]:
    """What the kernel has of us, as text."""
    node = rig.nodes[name]
    commands = {
        "routes": ["ip", "-6", "route", "show", "table", "all"],
        "rules": ["ip", "-6", "rule"],
        "table": ["nft", "-s", "list", "table", "ip6", f"context_reflector_{'lmad' if name == 'lma' else 'magd'}"],
        "queues": ["sh", "-c", "cut -c1-5 /proc/net/netfilter/nfnetlink_queue"],
    }
    return {what: node.run(command) for what, command in commands.items()}


def test_packets_beyond_the_limit_are_dropped_and_counted(rig: Rig) -> None:
    before = rig.lma.drops()
    rig.lma.apply(1, rig.at("mag1", held=True))
    sender, receiver = rig.downlink()
    with sender, receiver:
        sender.send(120)
        wait_until(lambda: drops_of(rig, before) == {"hold-full": 20}, "twenty packets dropped")
        (row,) = rig.lma.holds()
        assert (row["mn_id"], row["packets"], row["dropped"]) == ("mn1@example.net", 100, {"hold-full": 20})
        rig.lma.apply(1, rig.at("mag1"))
        receiver.wait_for(100)
        rig.lma.settle()
        assert receiver.of(rig.cn) == list(range(100))
    assert drops_of(rig, before) == {"hold-full": 20}


def test_octets_beyond_the_limit_are_dropped_and_counted(rig: Rig) -> None:
    before = rig.lma.drops()
    rig.lma.apply(1, rig.at("mag1"))
    with rig.sender() as sender, Receiver(rig.nodes["mn"]) as receiver:
        for total in (8, 16):  # the second hold has its full share again
            rig.lma.apply(1, rig.at("mag1", held=True))
            sender.send(16, octets=1000 - PACKET_OCTETS)
            wait_until(lambda: held(rig) == 8, "eight packets held")
            rig.lma.apply(1, rig.at("mag1"))
            receiver.wait_for(total)
        assert receiver.of(rig.cn) == [*range(8), *range(16, 24)]
    assert drops_of(rig, before) == {"hold-bytes": 16}


def test_what_waits_for_a_context_that_ends_is_dropped_and_counted(rig: Rig) -> None:
    before = rig.lma.drops()
    rig.lma.apply(1, rig.at("mag1", held=True, returned_from=rig.mags["mag1"]))
    with rig.sender() as sender:
        sender.send(30)
        wait_until(lambda: held(rig) == 30, "thirty packets held")
        rig.lma.apply(1, None)
        assert drops_of(rig, before) == {"hold-expired": 30}
        rig.lma.settle()
    assert drops_of(rig, before) == {"hold-expired": 30}


def test_a_hold_that_begins_again_at_once(rig: Rig) -> None:
    """Before the first has settled: the same queue, which counts on."""
    before = rig.lma.drops()
    rig.lma.apply(1, rig.at("mag1"))
    sender, receiver = rig.downlink()
    with sender, receiver:
        for _ in range(3):
            rig.lma.apply(1, rig.at("mag1", held=True))
            sender.send(10)
            wait_until(lambda: held(rig) == 10, "ten packets held")
            rig.lma.apply(1, rig.at("mag1"))
        receiver.wait_for(30)
        rig.lma.apply(1, rig.at("mag1", held=True))
        sender.send(10)
        wait_until(lambda: held(rig) == 10, "ten packets held")
        rig.lma.apply(1, None)
        rig.lma.settle()
        assert trouble(receiver.of(rig.cn), 30) == {}
    assert drops_of(rig, before) == {"hold-expired": 10}


def test_one_session_too_many_is_refused_and_stays_as_it_was(rig: Rig) -> None:
    for number in (1, 2, 3):
        rig.lma.apply(number, rig.at("mag1"))
    for number in (1, 2):
        rig.lma.apply(number, rig.at("mag1", held=True))
    before = installed(rig, "lma")
    with pytest.raises(DataPlaneError, match="2 sessions are held already"):
        rig.lma.apply(3, rig.at("mag1", held=True, uplink_from=frozenset(rig.mags.values())))
    assert installed(rig, "lma") == before
    rig.lma.apply(1, rig.at("mag1"))
    rig.lma.settle()
    rig.lma.apply(3, rig.at("mag1", held=True))
    assert len(rig.lma.holds()) == 2


@pytest.mark.parametrize("what", ["a tunnel that is not there", "a route", "a set element"])
def test_what_the_kernel_refuses_is_taken_back(rig: Rig, what: str, monkeypatch: pytest.MonkeyPatch) -> None:
    rig.lma.apply(1, rig.at("mag1"))
    before = installed(rig, "lma")
    wanted: Forwarding = rig.at("mag2", held=True, uplink_from=frozenset(rig.mags.values()))
    with monkeypatch.context() as patch:
        if what == "a route":
            _fail_once(patch, RouteSocket, "request")
        elif what == "a set element":
            _fail_once(patch, ElementSocket, "change")
        else:
            wanted = Forwarding(wanted.downlink, held=True, uplink_from=frozenset({rig.cn}))
        with pytest.raises(DataPlaneError):
            rig.lma.apply(1, wanted)
    rig.lma.settle()
    assert installed(rig, "lma") == before
    sender, receiver = rig.downlink()
    with sender, receiver:
        sender.send(10)
        receiver.wait_for(10)


def _fail_once(patch: pytest.MonkeyPatch, owner: type, name: str) -> None:
    real = getattr(owner, name)
    calls = []

    def fail(self: object, *arguments: object, **more: object) -> object:
        calls.append(name)
        if len(calls) == 1:
            raise DataPlaneError("refused for a test")
        return real(self, *arguments, **more)

    patch.setattr(owner, name, fail)


def test_uplink_is_accepted_from_whom_it_is_to_be_and_nobody_else(rig: Rig) -> None:
    before = rig.lma.drops()
    rig.planes["mag2"].apply(1, rig.to_access(1))
    rig.attach(1, "mag2")  # the MN is heard by both
    both = frozenset(rig.mags.values())
    with (
        Sender(rig.nodes["mn"], rig.mn_address(1), rig.cn) as sender,
        Receiver(rig.nodes["cn"]) as receiver,
    ):
        rig.lma.apply(1, rig.at("mag1", uplink_from=both))
        sender.send(10)
        receiver.wait_for(20)
        assert drops_of(rig, before) == {}
        rig.lma.apply(1, rig.at("mag2"))
        sender.send(10)
        receiver.wait_for(30)
        wait_until(
            lambda: drops_of(rig, before).get("uplink-not-from-serving-mag", 0) >= 10, "the other's packets dropped"
        )
        assert receiver.count() == 30
    rig.detach(1)
    rig.planes["mag2"].apply(1, None)
    rig.planes["mag2"].settle()
    rig.attach(1, "mag1")


@pytest.mark.parametrize("name", ["lma", "mag1"])
def test_after_a_kill_nothing_is_left(rig: Rig, name: str) -> None:
    fresh = {}
    with Rig(lma=Keep(SMALL), mag=Keep(SMALL, uplink=True)) as other:
        # Else a route of the kernel's, to an address that it has made sure of meanwhile, would be one more.
        addresses = ["ip", "-6", "address"]
        wait_until(lambda: "tentative" not in other.nodes[name].run(addresses), "addresses that can be used")
        fresh = installed(other, name)
        path = other.at("mag1", held=True, uplink_from=frozenset(other.mags.values()))
        other.planes[name].apply(1, path if name == "lma" else other.to_access(1, held=True))
        assert installed(other, name) != fresh
        other.restart(name)
        assert installed(other, name) == fresh
        bare = other.nodes[name].run(["nft", "list", "tables"])
        other.planes[name].close()
        del other.planes[name]
        assert "context_reflector" not in other.nodes[name].run(["nft", "list", "tables"]) != bare
        assert other.nodes[name].run(["sh", "-c", "cat /proc/net/netfilter/nfnetlink_queue"]) == ""


def test_a_thousand_sessions_are_held_at_once_and_released_alone() -> None:
    with Rig(mags=1, lma=Keep()) as rig:
        numbers = range(1, 1001)
        for number in numbers:
            rig.lma.apply(number, rig.at("mag1", held=True))
        with rig.sender() as sender:
            for number in numbers:
                sender.send_to(rig.mn_address(number), 3)
        wait_until(lambda: held(rig) == 3000, "3,000 packets held")
        before = sent_down(rig)
        rig.lma.apply(500, rig.at("mag1"))
        assert sent_down(rig) - before == 3
        assert len(rig.lma.holds()) == 999
        for number in numbers:
            rig.lma.apply(number, rig.at("mag1"))
        assert sent_down(rig) - before == 3000
        rig.lma.settle()
        assert rig.lma.drops() == {}


def test_the_longest_queue(large: Rig) -> None:
    large.lma.apply(1, large.at("mag1", held=True))
    sender, receiver = large.downlink()
    with sender, receiver:
        sender.send(LONGEST + 5)
        wait_until(lambda: large.lma.drops() == {"hold-full": 5}, "five packets dropped")
        assert held(large) == LONGEST
        large.lma.apply(1, large.at("mag1"))
        receiver.wait_for(LONGEST)
        assert trouble(receiver.of(large.cn), LONGEST) == {}
