"""What hosts on the access side, and routers that pretend to be others, can do to a domain: nothing to another MN."""

import json
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address

import pytest
from scapy.layers.inet import UDP
from scapy.layers.inet6 import (
    ICMPv6ND_NA,
    ICMPv6ND_RA,
    ICMPv6ND_Redirect,
    ICMPv6NDOptDstLLAddr,
    ICMPv6NDOptPrefixInfo,
    ICMPv6PacketTooBig,
    IPv6,
)
from scapy.packet import Raw

from common.dataplane.router import MAG_LINK_LOCAL, MAG_MAC
from common.mh.codec import encode, with_checksum
from common.mh.messages import ALL_ZERO_PREFIX, AccessTechnologyType, HandoffIndicator, MnId, ProxyBindingUpdate
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec
from tests.netns.system import Edits, SystemLab, captured, eventually, flush, packets, raw, send, solicit, udp

pytestmark = pytest.mark.netns

MOBILITY, IPV6_IN_IPV6 = 135, 41
# At mag1 the links of mn1 and mn2 are anybody's: they are told by their MACs.
SHARED: Edits = {"mag1": [('interface = "acc-mn1"\n', ""), ('interface = "acc-mn2"\n', "")]}
STOLEN = ProxyBindingUpdate(
    sequence=1,
    lifetime=0,
    mn_id=MnId.nai("mn1@example.net"),
    hnps=(ALL_ZERO_PREFIX,),
    handoff_indicator=HandoffIndicator.UNKNOWN,
    access_technology=AccessTechnologyType.IEEE_802_11,
)


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    with SystemLab(LabSpec(mns=2), SHARED) as up:
        for mn in ("mn1", "mn2"):
            up.air_only(mn, "mag1")
            solicit(up.nodes[mn])
            up.settle(mn, "mag1")
        yield up


@pytest.fixture
def addresses(lab: SystemLab) -> dict[str, IPv6Address]:
    return {mn: lab.settle(mn, "mag1") for mn in ("mn1", "mn2")}


@contextmanager
def counted(lab: SystemLab, node: str, name: str, at_least: int = 1) -> Iterator[None]:
    """So many packets are dropped meanwhile in that node's kernel for this reason, and mn1 has its service after it."""
    before = lab.counters(node)[f"kernel-dropped-{name}"]
    yield
    eventually(
        lambda: lab.counters(node)[f"kernel-dropped-{name}"] - before >= at_least, f"{node} has not dropped by {name}"
    )
    lab.wait_for_service("mn1")


def mobility(source: object, target: IPv6Address) -> bytes:
    """A de-registration of mn1, with a right checksum."""
    octets = with_checksum(encode(STOLEN), IPv6Address(str(source)), target)
    return bytes(IPv6(src=str(source), dst=str(target), nh=MOBILITY, hlim=64) / Raw(octets))


def received(lab: SystemLab, node: str) -> int:
    """Signalling messages about MNs that its daemon has read; heartbeats come when they like."""
    counters = lab.counters(node).items()
    return sum(count for name, count in counters if name.startswith("received-") and "-HB-" not in name)


def test_an_mn_cannot_signal(lab: SystemLab, addresses: dict[str, IPv6Address]) -> None:
    """Neither to the anchor nor to its gateway, in its own name or in another's, nor by a tunnel of its own."""
    before = {node: received(lab, node) for node in ("lma", "mag1")}
    mag = lab.topology.addresses["mag1"]
    inner = mobility(mag, LMAA)
    with counted(lab, "mag1", "infrastructure-from-access", 4):
        sent = [mobility(addresses["mn2"], target) for target in (LMAA, mag)]
        sent += [
            bytes(IPv6(src=str(addresses["mn2"]), dst=str(target), nh=IPV6_IN_IPV6) / Raw(inner))
            for target in (LMAA, mag)
        ]
        send(lab.nodes["mn2"], "eth0", MAG_MAC, *sent)
    with counted(lab, "mag1", "uplink-without-binding"):
        send(lab.nodes["mn2"], "eth0", MAG_MAC, bytes(IPv6(src=str(mag), dst="2001:db8:cc::2") / UDP()))
    assert lab.serving()["mn1@example.net"] == "mag1"
    assert {node: received(lab, node) for node in before} == before


def test_signalling_by_another_way_than_its_sender_has_is_not_heard(
    lab: SystemLab, addresses: dict[str, IPv6Address]
) -> None:
    before = received(lab, "lma")
    mag = lab.topology.addresses["mag1"]
    link = json.loads(lab.nodes["lma"].run(["ip", "-j", "link", "show", "inet"]))[0]
    with counted(lab, "lma", "signalling-by-another-way"):  # from the Internet, as if from mag1
        send(lab.nodes["inet"], "lma", link["address"], mobility(mag, LMAA))
    with (
        counted(lab, "lma", "signalling-through-tunnel"),
        raw(lab.nodes["mag1"], IPV6_IN_IPV6, mag) as tunnel,
    ):
        tunnel.sendto(mobility(addresses["mn1"], LMAA), (str(LMAA), 0))
    assert received(lab, "lma") == before
    assert lab.serving()["mn1@example.net"] == "mag1"


def test_routers_that_are_none_and_neighbours_that_are_others(
    lab: SystemLab, addresses: dict[str, IPv6Address]
) -> None:
    """A Router Advertisement and a Redirect of a host; a Neighbor Advertisement for an address of another MN."""
    mag, cn = lab.nodes["mag1"], lab.topology.addresses["cn"]
    routes = mag.run(["ip", "-6", "route", "show", "table", "all", "proto", "214"])
    rogue = (
        IPv6(src="fe80::bad", dst="ff02::1", hlim=255)
        / ICMPv6ND_RA(routerlifetime=9000)
        / ICMPv6NDOptPrefixInfo(prefix="2001:db8:bad::", prefixlen=64, L=1, A=1)
    )
    redirect = (
        IPv6(src=str(MAG_LINK_LOCAL), dst=str(addresses["mn1"]), hlim=255)
        / ICMPv6ND_Redirect(tgt="fe80::bad", dst=str(cn))
        / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:02")
    )
    with packets(lab.nodes["mn1"], "eth0") as heard:
        with counted(lab, "mag1", "routing-from-access", 2):
            send(lab.nodes["mn2"], "eth0", MAG_MAC, bytes(rogue), bytes(redirect))
        assert not [
            packet
            for data in captured(heard)
            if ICMPv6ND_Redirect in (packet := IPv6(data)) or packet.src == "fe80::bad"
        ]
    stolen = [addresses["mn1"], IPv6Address("fe80::ff:fe00:1")]  # the address to which mn1's prefix is routed
    sent = [
        bytes(
            IPv6(src=str(each), dst=str(MAG_LINK_LOCAL), hlim=255)
            / ICMPv6ND_NA(tgt=str(each), S=1, O=1)
            / ICMPv6NDOptDstLLAddr(lladdr="02:00:00:00:00:02")
        )
        for each in stolen
    ]
    send(lab.nodes["mn2"], "eth0", MAG_MAC, *sent)
    with udp(lab.nodes["mn1"], addresses["mn1"], 7000) as near, udp(lab.nodes["cn"]) as far:
        far.sendto(b"still mine", (str(addresses["mn1"]), 7000))
        assert near.recv(100) == b"still mine"
    assert mag.run(["ip", "-6", "route", "show", "table", "all", "proto", "214"]) == routes


def too_big(source: IPv6Address, target: IPv6Address, outer: tuple[IPv6Address, IPv6Address]) -> bytes:
    """What an MN says of a packet of the tunnel between these two, which it cannot have seen."""
    inner = IPv6(src=str(outer[0]), dst=str(outer[1]), nh=IPV6_IN_IPV6) / IPv6(dst=str(source)) / Raw(bytes(1100))
    return bytes(IPv6(src=str(source), dst=str(target)) / ICMPv6PacketTooBig(mtu=1280) / inner)


def test_an_mn_cannot_shrink_the_tunnel(lab: SystemLab, addresses: dict[str, IPv6Address]) -> None:
    mag, mn2 = lab.topology.addresses["mag1"], addresses["mn2"]
    with counted(lab, "mag1", "error-from-access", 2):
        send(lab.nodes["mn2"], "eth0", MAG_MAC, too_big(mn2, mag, (mag, LMAA)), too_big(mn2, LMAA, (LMAA, mag)))
    with counted(lab, "lma", "error-through-tunnel"), raw(lab.nodes["mag1"], IPV6_IN_IPV6, mag) as tunnel:
        tunnel.sendto(too_big(mn2, LMAA, (LMAA, mag)), (str(LMAA), 0))
    for node, peer in (("mag1", LMAA), ("lma", mag)):
        assert "mtu 1280" not in lab.nodes[node].run(["ip", "-6", "route", "get", str(peer)])


@pytest.mark.parametrize("flushed", [False, True], ids=["", "after a flush"])
def test_on_a_shared_link_an_mns_source_goes_with_its_mac(
    lab: SystemLab, addresses: dict[str, IPv6Address], *, flushed: bool
) -> None:
    if flushed:
        flush(lab, "mag1")
    cn = lab.topology.addresses["cn"]

    def datagram(text: bytes) -> bytes:
        return bytes(IPv6(src=str(addresses["mn1"]), dst=str(cn)) / UDP(sport=7000, dport=7000) / Raw(text))

    def frame(mac: str, text: bytes) -> bytes:
        return bytes.fromhex((MAG_MAC + mac + "86dd").replace(":", "")) + datagram(text)

    with udp(lab.nodes["cn"], cn, 7000) as far:
        with (
            counted(lab, "mag1", "sender-of-another"),
            lab.nodes["mn1"].inside(),
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as link,
        ):
            link.bind(("eth0", 0))
            link.send(frame("02:00:00:00:00:99", b"of another"))
            link.send(frame("02:00:00:00:00:01", b"its own"))
        assert far.recv(100) == b"its own"


def test_a_flood_of_solicitations_of_one_mn_is_not_read() -> None:
    """mn2 floods; mn1 comes, goes and is served meanwhile."""
    with SystemLab(LabSpec(mns=2)) as lab:
        lab.settle("mn2", "mag1")
        for mag in ("mag1", "mag2", "mag1"):
            solicit(lab.nodes["mn2"], "fe80::ff:fe00:2", 5000)
            lab.settle("mn1", mag)
        eventually(lambda: lab.counters("mag1")["solicitations-flood"], "mag1 has read it all")


@pytest.mark.parametrize("local_routing", [False, True])
def test_two_mns_of_one_mag_talk_by_way_of_the_anchor_or_directly(local_routing: bool) -> None:
    """RFC 5213 section 6.10.3, EnableMAGLocalRouting."""
    setting = f"[mag]\nenable_mag_local_routing = {str(local_routing).lower()}\n"
    with SystemLab(LabSpec(mns=2), {mag: [("[mag]\n", setting)] for mag in ("mag1", "mag2")}) as lab:
        where = {mn: lab.settle(mn, "mag1") for mn in ("mn1", "mn2")}

        def tunnelled(text: bytes) -> bool:
            """Whether the anchor saw it on its way from mn1 to mn2."""
            with (
                packets(lab.nodes["lma"], "mag1") as core,
                udp(lab.nodes["mn2"], where["mn2"], 7000) as near,
                udp(lab.nodes["mn1"]) as far,
            ):
                far.sendto(text, (str(where["mn2"]), 7000))
                assert near.recv(100) == text
                return any(text in packet for packet in captured(core))

        assert tunnelled(b"first") is not local_routing
        # mag1 has not heard of it when mn2 goes: the LMA, which knows it at mag2 by then, does not answer mag1.
        mn2 = lab.topology.mn("mn2").mn_id
        lab.command("mag2", "attach", mn_id=mn2, interface="acc-mn2")
        eventually(lambda: lab.serving()[mn2] == "mag2", "the LMA does not see mn2 at mag2")
        lab.settle("mn2", "mag2")
        eventually(lambda: lab.states("mag1").get(mn2) != "registered", "mag1 does not notice that mn2 left")
        assert tunnelled(b"apart")  # there is no other way
        lab.settle("mn2", "mag1")
        assert tunnelled(b"together again") is not local_routing
