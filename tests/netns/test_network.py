"""The lab's network without the daemons, on the kernel: links, delays, carrier, moves."""

import json
import multiprocessing
import os
import time
from collections.abc import Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pytest

from testbed.lab.network import Network
from testbed.lab.node import LabError, Node, wait_until
from testbed.lab.processor import one_processor
from testbed.lab.topology import LMAA, Impairment, build

pytestmark = pytest.mark.netns

MAG_MAC = "00:00:5e:00:52:13"  # RFC 6543
MAG_LINK_LOCAL = "fe80::200:5eff:fe00:5213"
DEFERRED_S = 1.0  # what the kernel would put off a carrier event for


@pytest.fixture(scope="module")
def network() -> Iterator[Network]:
    with Network(build(mags=2, mns=2, rtt_s=0.010)) as made:
        for mag in made.topology.mags:
            commands = [
                line
                for mn in made.topology.mns
                for line in (
                    f"link set {mn.access_interface} address {MAG_MAC} addrgenmode none",
                    f"address add {MAG_LINK_LOCAL}/64 dev {mn.access_interface} nodad",
                )
            ]
            made.nodes[mag].run(["ip", "-batch", "-"], "\n".join(commands))
        for mn in made.topology.mns:  # a host, which looks for duplicates before it uses its link-local address
            tentative = ["ip", "-6", "address", "show", "dev", mn.interface, "tentative"]
            wait_until(lambda node=made.nodes[mn.name], ask=tentative: not node.run(ask), "its address")  # type: ignore[misc]
        yield made


def _round_trip_ms(node: Node, *target: str) -> float:
    """The shortest of five. Else ping waits two round trips for the last: a machine may stand still for longer."""
    said = node.run(["ping", "-6", "-n", "-c", "5", "-i", "0.1", "-W", "10", *target])
    times = [float(line.split("time=")[1].split()[0]) for line in said.splitlines() if "time=" in line]
    assert len(times) == 5
    return min(times)


def _has_carrier(network: Network, mn: str, mag: str) -> bool:
    link: list[dict[str, Any]] = json.loads(network.nodes[mag].run(["ip", "-j", "link", "show", f"acc-{mn}"]))
    return "LOWER_UP" in link[0]["flags"] and link[0]["operstate"] == "UP"


def test_core_links_delay_half_the_rtt_each_way(network: Network) -> None:
    assert 10.0 <= _round_trip_ms(network.nodes["mag1"], str(LMAA)) < 20.0


def test_a_mag_reaches_no_one_but_the_lma(network: Network) -> None:
    with pytest.raises(LabError, match="unreachable"):
        network.nodes["mag1"].run(["ping", "-6", "-c", "1", str(network.topology.addresses["cn"])])


def test_the_lma_reaches_cn(network: Network) -> None:
    network.nodes["lma"].run(["ping", "-6", "-c", "1", "-w", "5", str(network.topology.addresses["cn"])])


def test_moves_are_seen_at_once_and_carry_frames_at_once(network: Network) -> None:
    places = {"mn1": "mag1", "mn2": "mag2"}
    network.air.attach(places)
    for _ in range(4):
        for mn, mag in places.items():
            other = "mag2" if mag == "mag1" else "mag1"
            wait_until(lambda mn=mn, mag=mag: _has_carrier(network, mn, mag), "carrier", DEFERRED_S / 2)  # type: ignore[misc]
            assert not _has_carrier(network, mn, other)
            network.nodes[mn].run(["ping", "-6", "-c", "2", "-i", "0.1", f"{MAG_LINK_LOCAL}%eth0"])
        places = {"mn1": places["mn2"], "mn2": places["mn1"]}
        network.air.move(places, 0.02)


def test_the_carrier_of_the_mn_stays(network: Network) -> None:
    network.air.move({"mn1": "mag1"}, 0.0)
    before = network.nodes["mn1"].run(["ip", "-j", "-s", "link", "show", "eth0"])
    network.air.detach(["mn1"], but={})
    wait_until(lambda: not _has_carrier(network, "mn1", "mag1"), "loss of carrier", DEFERRED_S / 2)
    link = json.loads(network.nodes["mn1"].run(["ip", "-j", "link", "show", "eth0"]))[0]
    assert "LOWER_UP" in link["flags"]
    assert link["address"] == "02:00:00:00:00:01" == json.loads(before)[0]["address"]


def test_what_is_sent_in_the_air_reaches_no_one(network: Network) -> None:
    network.air.detach(["mn1", "mn2"], but={})
    with pytest.raises(LabError):
        network.nodes["mn1"].run(["ping", "-6", "-c", "3", "-i", "0.1", "-W", "0.2", f"{MAG_LINK_LOCAL}%eth0"])


def test_the_moments_of_a_move_are_l2_apart(network: Network) -> None:
    network.air.move({"mn1": "mag1"}, 0.0)
    detached, attached = network.air.move({"mn1": "mag2"}, 0.05)
    assert detached.began_ns < detached.done_ns < attached.began_ns < attached.done_ns
    assert attached.began_ns - detached.began_ns >= 50_000_000


def test_impairment_is_on_signalling_only() -> None:
    with Network(build(mags=1, rtt_s=0.010, impairment=Impairment(0.5, 0.25, 0.25))) as network:
        assert 10.0 <= _round_trip_ms(network.nodes["mag1"], str(LMAA)) < 20.0
        queues = network.nodes["wire"].run(["tc", "qdisc", "show"])
        assert queues.count("loss 50% duplicate 25% reorder 25%") == 2


def test_a_killed_lab_leaves_no_process(tmp_path: Path) -> None:
    def lab(say: Connection) -> None:
        with Network(build()) as network:
            node = network.nodes["mn"]
            program = node.spawn(["sleep", "1000"], output=tmp_path / "out", errors=tmp_path / "errors")
            function = node.fork("child", lambda: time.sleep(1000), tmp_path / "log")
            say.send([program.pid, function.pid])
            time.sleep(1000)

    fork = multiprocessing.get_context("fork")
    hear, say = fork.Pipe(duplex=False)
    keeper = fork.Process(target=lab, args=(say,))
    keeper.start()
    children = hear.recv()
    assert len(children) == 2
    keeper.kill()
    keeper.join()
    wait_until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children), "the end of the children", 5.0)


def test_steered_packets_are_passed_on_by_the_processor_of_the_lab() -> None:
    masks = "mount -t sysfs none /sys; cat /sys/class/net/*/queues/rx-*/rps_cpus"
    with one_processor(), Network(build(mags=2, mns=1, rtt_s=0.010), steered=True) as network:
        [processor] = os.sched_getaffinity(0)
        for node in network.nodes.values():
            said = node.run(["unshare", "--mount", "sh", "-ec", masks]).split()
            assert {int(mask.replace(",", ""), 16) for mask in said} == {1 << processor}


def test_two_networks_live_side_by_side(network: Network) -> None:
    with Network(build()) as other:
        other.nodes["lma"].run(["ping", "-6", "-c", "1", "-w", "5", str(other.topology.addresses["cn"])])
    network.nodes["lma"].run(["ping", "-6", "-c", "1", "-w", "5", str(network.topology.addresses["cn"])])
