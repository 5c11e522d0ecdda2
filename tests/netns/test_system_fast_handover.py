"""The Fast Handover Scheme with real daemons and real packets: where they wait, where they are refused."""

import socket
from collections.abc import Iterator

import pytest

from testbed.lab.visit import LabSpec
from tests.netns.system import SystemLab, eventually, udp

pytestmark = pytest.mark.netns

HELD, REFUSED = 20, 3  # packets
UPLINK_REFUSED = "kernel-dropped-uplink-not-from-serving-mag"


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    longer = [("[fast_handover]\n", "[fast_handover]\nwait = 15.0\n")]
    with SystemLab(LabSpec(scheme="fast-handover"), dict.fromkeys(("mag1", "mag2"), longer)) as up:
        yield up


def announce(lab: SystemLab, pmag: str, nmag: str) -> None:
    """And wait until the downlink goes to nMAG and waits there."""
    mn_id = lab.topology.mn("mn").mn_id
    lab.command(pmag, "handover", mn_id=mn_id, nmag=str(lab.topology.addresses[nmag]))
    eventually(lambda: lab.states(nmag).get(mn_id) == "awaited", f"{nmag} does not await the MN")
    [binding] = lab.show("lma", "bindings")
    assert binding["proxy_coa"] == str(lab.topology.addresses[nmag])
    eventually(lambda: stage(lab) == "awaited", "the LMA has no Reverse PBA")
    assert lab.states(pmag)[mn_id] == "left"


def stage(lab: SystemLab) -> str | None:
    [binding] = lab.show("lma", "bindings")
    handover = binding["handover"]
    return str(handover["stage"]) if handover else None


def held(lab: SystemLab, mag: str) -> int:
    return sum(row["held_packets"] for row in lab.show(mag, "contexts"))


def send(sender: socket.socket, count: int) -> None:
    for number in range(count):
        sender.send(number.to_bytes(2))


def test_downlink_waits_at_the_nmag_and_uplink_of_the_old_path_is_refused(lab: SystemLab) -> None:
    address = lab.settle("mn", "mag1")
    with udp(lab.nodes["mn"], address, 7000) as near, udp(lab.nodes["cn"], port=7000) as far:
        far.connect((str(address), 7000))
        near.connect((str(lab.topology.addresses["cn"]), 7000))
        announce(lab, "mag1", "mag2")

        send(far, HELD)
        eventually(lambda: held(lab, "mag2") == HELD, "not every packet waits at mag2")
        before = lab.counters("lma")[UPLINK_REFUSED]
        send(near, REFUSED)
        eventually(lambda: lab.counters("lma")[UPLINK_REFUSED] == before + REFUSED, "the LMA took them from mag1")

        lab.air_only("mn", "mag2")
        assert [int.from_bytes(near.recv(100)) for _ in range(HELD)] == list(range(HELD))
        lab.settle("mn", "mag2")
        eventually(lambda: stage(lab) is None, "mag2's PBU has not come")
        near.send(b"again")
        assert far.recv(100) == b"again"


def test_mn_that_comes_back_takes_back_what_was_said(lab: SystemLab) -> None:
    """What waits at the MAG that was named is dropped there, counted, and nothing of the MN stays."""
    address = lab.settle("mn", "mag2")
    with udp(lab.nodes["cn"], port=7000) as far:
        far.connect((str(address), 7000))
        announce(lab, "mag2", "mag1")
        send(far, HELD)
        eventually(lambda: held(lab, "mag1") == HELD, "not every packet waits at mag1")
        lab.settle("mn", "mag2")
        eventually(lambda: not lab.states("mag1"), "mag1 still awaits the MN")
        eventually(lambda: stage(lab) is None, "the LMA has not heard of it")
        assert lab.counters("mag1")["kernel-dropped-hold-expired"] == HELD
