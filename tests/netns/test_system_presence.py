"""A gateway looks whether its MNs are there, and tells them what packets the way to the anchor takes."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from scapy.layers.inet6 import ICMPv6ND_RA, ICMPv6NDOptMTU, ICMPv6PacketTooBig, IPv6
from scapy.packet import Raw

from testbed.lab.topology import LMAA
from tests.netns.system import Edits, SystemLab, captured, eventually, packets, raw

pytestmark = pytest.mark.netns

MN_ID = "mn1@example.net"
# Twelve seconds are three solicitations a second apart, from when half of it has passed.
SHORT: Edits = {"mag1": [("[mag]\n", "[mag]\nlifetime = 12\n")]}
ICMPV6, IPV6_IN_IPV6 = 58, 41


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    with SystemLab(edits=SHORT) as up:
        yield up


def test_a_silent_mn_is_asked_then_deregistered_and_comes_back_by_a_word(lab: SystemLab) -> None:
    """RFC 5213 section 6.13. The link keeps its carrier throughout."""
    address = lab.settle("mn", "mag1")
    # It answers for its address, so its binding outlives its lifetime.
    before = lab.counters("mag1")["sent-PBU"]
    eventually(lambda: lab.counters("mag1")["sent-PBU"] >= before + 2, "the binding is not extended")
    assert lab.counters("mag1")["unreachable"] == 0
    # It is there no more, and nothing on the link tells.
    lab.nodes["mn"].run(["ip", "link", "set", "eth0", "down"])
    eventually(lambda: lab.counters("mag1")["unreachable"] == 1, "mag1 does not notice")
    eventually(lambda: lab.serving() == {}, "the LMA still has the MN")
    eventually(lambda: lab.states("mag1") == {}, "mag1 does not let it go")
    lab.nodes["mn"].run(["ip", "link", "set", "eth0", "up"])
    eventually(lambda: lab.states("mag1") == {MN_ID: "registered"}, "mag1 does not take it back")
    assert lab.wait_for_service("mn").ip == address


def too_big(lab: SystemLab, mtu: int) -> None:
    """What a router on the way says to mag1 of a packet of its tunnel."""
    mag = lab.topology.addresses["mag1"]
    inner = bytes(IPv6(src="2001:db8:1000::1", dst="2001:db8:cc::2") / Raw(bytes(1400)))
    outer = bytes(IPv6(src=str(mag), dst=str(LMAA), nh=IPV6_IN_IPV6) / Raw(inner))[:1200]
    message = bytes(IPv6(src=str(LMAA), dst=str(mag)) / ICMPv6PacketTooBig(mtu=mtu) / Raw(outer))[40:]
    with raw(lab.nodes["lma"], ICMPV6, LMAA) as router:
        router.sendto(message, (str(mag), 0))


def test_a_change_of_the_paths_mtu_reaches_the_mn(lab: SystemLab) -> None:
    """RFC 5213 section 6.9.5."""
    lab.settle("mn", "mag1")

    def told(link_packets: Iterator[bytes]) -> int:
        mtus = [packet[ICMPv6NDOptMTU].mtu for data in link_packets if ICMPv6ND_RA in (packet := IPv6(data))]
        return mtus[-1] if mtus else 0

    with packets(lab.nodes["mn"], "eth0") as link:
        too_big(lab, 1400)
        eventually(lambda: told(captured(link)) == 1360, "the MN is not told")
    (row,) = lab.show("mag1", "lmas")
    wanted = {"address": str(LMAA), "mobile_nodes": 1, "tunnel_mtu": 1360}
    assert {name: row[name] for name in wanted} == wanted  # the rest is of the heartbeats
    with lab.nodes["mn"].inside():
        assert int(Path("/proc/sys/net/ipv6/conf/eth0/mtu").read_text()) == 1360
