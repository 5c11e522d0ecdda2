"""Who may send for whom: what comes from elsewhere than the MN is dropped in the kernel, and counted there."""

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from common.dataplane.router import MAG_LINK_LOCAL, MAG_MAC
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec
from tests.netns.system import IPV6_HEADER, SystemLab, captured, deaf, eventually, packets, raw, stranger, udp

pytestmark = pytest.mark.netns

IPV6_IN_IPV6 = 41
PORT = 7000
AT_LMA, AT_MAG = "kernel-dropped-uplink-not-from-serving-mag", "kernel-dropped-uplink-without-binding"


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    with SystemLab(LabSpec(mns=2)) as up:
        for mn in ("mn1", "mn2"):
            up.settle(mn, "mag1")
        yield up


@pytest.fixture
def address(lab: SystemLab) -> IPv6Address:
    return lab.settle("mn1", "mag1")


def datagram(source: object, target: object, text: str) -> bytes:
    return bytes(IPv6(src=str(source), dst=str(target), hlim=64) / UDP(sport=PORT, dport=PORT) / Raw(text.encode()))


def into_the_tunnel(lab: SystemLab, mag: str, *inner: bytes) -> None:
    """What a router that is `mag`, or pretends to be, sends to the LMA."""
    with raw(lab.nodes[mag], IPV6_IN_IPV6, lab.topology.addresses[mag]) as tunnel:
        for packet in inner:
            tunnel.sendto(packet, (str(LMAA), 0))


def from_the_access_link(lab: SystemLab, mn: str, *sent: bytes) -> None:
    """What an MN's own software would never send."""
    mac = bytes.fromhex(MAG_MAC.replace(":", ""))
    with packets(lab.nodes[mn], "eth0") as link:
        for packet in sent:
            link.sendto(packet, ("eth0", 0x86DD, 0, 0, mac))


def test_only_the_serving_mags_tunnel_is_heard(lab: SystemLab, address: IPv6Address) -> None:
    cn = lab.topology.addresses["cn"]
    before = lab.counters("lma")[AT_LMA]
    with udp(lab.nodes["cn"], cn, PORT) as far:
        into_the_tunnel(lab, "mag2", *(datagram(address, cn, f"not from mag2 {i}") for i in range(5)))
        into_the_tunnel(lab, "mag2", datagram("2001:db8:1fff::1", cn, "from a prefix of the pool that nobody has"))
        into_the_tunnel(lab, "mag2", datagram("2001:db8:cc::2", cn, "from CN itself"))
        eventually(lambda: lab.counters("lma")[AT_LMA] == before + 7, "the LMA has not dropped seven packets")
        into_the_tunnel(lab, "mag1", datagram(address, cn, "from mag1"))
        assert far.recv(100) == b"from mag1"
        # The MN moves, and with it who is believed.
        assert lab.settle("mn1", "mag2") == address
        into_the_tunnel(lab, "mag1", datagram(address, cn, "no more from mag1"))
        eventually(lambda: lab.counters("lma")[AT_LMA] == before + 8, "the LMA still hears mag1")
        into_the_tunnel(lab, "mag2", datagram(address, cn, "now from mag2"))
        assert far.recv(100) == b"now from mag2"
    assert lab.counters("lma")[AT_LMA] == before + 8


def test_a_tunnel_of_a_stranger_leads_nowhere(lab: SystemLab, address: IPv6Address) -> None:
    cn = lab.topology.addresses["cn"]
    with udp(lab.nodes["cn"], cn, PORT) as far, stranger(lab) as node, raw(node, IPV6_IN_IPV6) as tunnel:
        tunnel.sendto(datagram(address, cn, "from a stranger"), (str(LMAA), 0))
        into_the_tunnel(lab, "mag1", datagram(address, cn, "from mag1"))
        assert far.recv(100) == b"from mag1"


def test_an_mn_sends_with_its_own_prefix_only(lab: SystemLab, address: IPv6Address) -> None:
    cn = lab.topology.addresses["cn"]
    neighbour = lab.address("mn2")
    assert neighbour is not None
    before = lab.counters("mag1")[AT_MAG]
    foreign = (neighbour.ip, "2001:db8:cc::2", "2001:db8:1fff::1")
    with udp(lab.nodes["cn"], cn, PORT) as far:
        from_the_access_link(lab, "mn1", *(datagram(source, cn, f"from {source}") for source in foreign))
        eventually(lambda: lab.counters("mag1")[AT_MAG] == before + 3, "the MAG has not dropped three packets")
        other = IPv6Address(int(address) ^ 0xFFFF)  # any address of the prefix is the MN's
        from_the_access_link(lab, "mn1", datagram(other, cn, "its own"))
        assert far.recvfrom(100)[0] == b"its own"
    assert lab.counters("mag1")[AT_MAG] == before + 3


def test_link_local_packets_stay_on_the_link(lab: SystemLab, address: IPv6Address) -> None:
    """RFC 5213 section 6.10.5."""
    cn = lab.topology.addresses["cn"]
    with ExitStack() as stack:
        far = stack.enter_context(udp(lab.nodes["cn"], cn, PORT))
        sniffer = stack.enter_context(packets(lab.nodes["lma"], "mag1"))
        from_the_access_link(lab, "mn1", datagram("fe80::ff:fe00:1", cn, "beyond the link"))
        from_the_access_link(lab, "mn1", datagram(address, cn, "last"))
        assert far.recv(100) == b"last"
        texts = [packet[2 * IPV6_HEADER + 8 :] for packet in captured(sniffer) if packet[6] == IPV6_IN_IPV6]
    assert b"last" in texts
    assert b"beyond the link" not in texts


def test_before_its_registration_an_mn_reaches_nobody(lab: SystemLab, address: IPv6Address) -> None:
    """RFC 5213 section 6.10.5: uplink only with a binding; none can come, for the MAG hears no answer."""
    cn = lab.topology.addresses["cn"]
    with deaf(lab.nodes["mag2"]):
        lab.air_only("mn1", "mag2")
        eventually(lambda: lab.states("mag2").get("mn1@example.net") == "registering", "mag2 does not register mn1")
        before = lab.counters("mag2")[AT_MAG]
        with packets(lab.nodes["lma"], "mag2") as sniffer:
            from_the_access_link(lab, "mn1", datagram(address, cn, "too early"))
            eventually(lambda: lab.counters("mag2")[AT_MAG] > before, "mag2 has not dropped the packet")
            assert not [packet for packet in captured(sniffer) if packet[6] in (IPV6_IN_IPV6, socket.IPPROTO_UDP)]
    assert lab.settle("mn1", "mag2") == address


def test_a_mag_and_the_router_of_an_mn_have_the_fixed_addresses(lab: SystemLab, address: IPv6Address) -> None:
    """RFC 6543: the MN's default router stays what it is wherever the MN goes."""
    for mag in ("mag2", "mag1"):
        lab.settle("mn1", mag)
        routes = lab.nodes["mn1"].run(["ip", "-6", "route", "show", "default"])
        assert f"via {MAG_LINK_LOCAL} dev eth0" in routes
        assert MAG_MAC in lab.nodes[mag].run(["ip", "link", "show", "acc-mn1"])
