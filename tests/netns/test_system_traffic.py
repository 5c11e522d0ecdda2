"""What an MN's traffic goes through with the daemons of today's scheme: moves, large packets, congestion marks."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

import pytest

from testbed.lab.node import LabError
from tests.netns.system import EVENT_TIMEOUT_S, IPV6_HEADER, SystemLab, captured, eventually, packets, udp

pytestmark = pytest.mark.netns

TUNNEL_MTU = 1460  # 1,500 less the outer IPv6 header (RFC 2473 section 7.1)
IPV6_IN_IPV6 = 41
NOT_ECT, ECT_1, ECT_0, CE = range(4)  # RFC 3168 section 5
_TEMPORARY, _TENTATIVE = 0x01, 0x40  # IFA_F_*, linux/if_addr.h


@pytest.fixture(scope="module")
def lab() -> Iterator[SystemLab]:
    with SystemLab() as up:
        set_ipv6(up, "use_tempaddr", 2)
        up.settle("mn", "mag1")
        yield up


@pytest.fixture
def address(lab: SystemLab) -> IPv6Address:
    return lab.settle("mn", "mag1")


def set_ipv6(lab: SystemLab, name: str, value: int) -> None:
    with lab.nodes["mn"].inside():
        Path(f"/proc/sys/net/ipv6/conf/eth0/{name}").write_text(str(value))


def temporary_addresses(lab: SystemLab, hnp: IPv6Network) -> list[IPv6Address]:
    with lab.nodes["mn"].inside():
        lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
    found = [(IPv6Address(bytes.fromhex(line.split()[0])), int(line.split()[4], 16)) for line in lines]
    return [each for each, flags in found if each in hnp and flags & _TEMPORARY and not flags & _TENTATIVE]


def connection(lab: SystemLab, port: int, stack: ExitStack) -> tuple[socket.socket, socket.socket]:
    """TCP from the MN to CN: its two ends."""
    cn = str(lab.topology.addresses["cn"])
    with lab.nodes["cn"].inside():
        server = stack.enter_context(socket.create_server((cn, port), family=socket.AF_INET6))
    with lab.nodes["mn"].inside():
        near = stack.enter_context(socket.create_connection((cn, port), timeout=EVENT_TIMEOUT_S))
    far = stack.enter_context(server.accept()[0])
    far.settimeout(EVENT_TIMEOUT_S)
    return near, far


def test_a_temporary_address_keeps_ping_udp_and_tcp_through_a_handover(lab: SystemLab, address: IPv6Address) -> None:
    """RFC 8981: an address that no daemon has ever heard of, chosen by the MN for whatever it starts."""
    hnp = IPv6Network((address, 64), strict=False)
    temporary = eventually(lambda: temporary_addresses(lab, hnp), "no temporary address")[0]
    assert temporary != address
    cn = str(lab.topology.addresses["cn"])
    nodes = lab.nodes
    with ExitStack() as stack:
        far = stack.enter_context(udp(nodes["cn"], port=7000))
        near = stack.enter_context(udp(nodes["mn"]))
        near.connect((cn, 7000))
        assert near.getsockname()[0] == str(temporary)  # the MN prefers it by itself
        client, accepted = connection(lab, 7000, stack)
        assert accepted.getpeername()[0] == str(temporary)
        for mag in ("mag1", "mag2", "mag1"):
            lab.settle("mn", mag)
            near.send(mag.encode())
            heard, (source, *_) = far.recvfrom(100)
            assert (heard, source) == (mag.encode(), str(temporary))
            far.sendto(b"and back", (source, near.getsockname()[1]))
            assert near.recv(100) == b"and back"
            client.sendall(mag.encode())
            assert accepted.recv(100) == mag.encode()
            accepted.sendall(b"and back")
            assert client.recv(100) == b"and back"
            assert temporary_addresses(lab, hnp) == [temporary]
            nodes["mn"].run(["ping", "-6", "-n", "-c", "1", "-w", "5", "-I", str(temporary), cn])


def test_the_mn_takes_the_mtu_of_the_tunnel(lab: SystemLab, address: IPv6Address) -> None:
    with lab.nodes["mn"].inside():
        assert int(Path("/proc/sys/net/ipv6/conf/eth0/mtu").read_text()) == TUNNEL_MTU
    assert lab.show("mag1", "lmas")[0]["tunnel_mtu"] == TUNNEL_MTU


def forget_path_mtus(lab: SystemLab) -> None:
    for node in ("cn", "mn"):
        lab.nodes[node].run(["ip", "-6", "route", "flush", "cache"])


def ping_of(lab: SystemLab, node: str, target: object, octets: int, *options: str) -> str:
    """What `ping` of one packet of so many octets says; it must not be fragmented."""
    argv = ["ping", "-6", "-n", "-c", "1", "-w", "5", "-s", str(octets - IPV6_HEADER - 8), *options, str(target)]
    try:
        return lab.nodes[node].run(argv)
    except LabError as error:
        return str(error)


@pytest.mark.parametrize("octets", [TUNNEL_MTU, TUNNEL_MTU + 1, 1492, 1500])
def test_a_large_packet_passes_or_is_answered_with_the_tunnels_mtu(
    lab: SystemLab, address: IPv6Address, octets: int
) -> None:
    cn = lab.topology.addresses["cn"]
    forget_path_mtus(lab)
    set_ipv6(lab, "mtu", 1500)  # an MN that does not heed the advertised MTU
    try:
        for node, target in (("cn", address), ("mn", cn)):
            said = ping_of(lab, node, target, octets, "-M", "do")
            if octets <= TUNNEL_MTU:
                assert "1 received" in said
            else:
                assert "1 received" not in said
                # Once the answer has come, the path's MTU is known, and packets are cut to it.
                eventually(
                    lambda node=node, target=target: (  # type: ignore[misc]
                        f"mtu {TUNNEL_MTU}" in lab.nodes[node].run(["ip", "-6", "route", "get", str(target)])
                    ),
                    f"{node} heard of no Packet Too Big of {TUNNEL_MTU}",
                )
                assert "1 received" in ping_of(lab, node, target, octets, "-M", "want")
    finally:
        set_ipv6(lab, "mtu", TUNNEL_MTU)


@pytest.mark.parametrize("mtu", [TUNNEL_MTU, 1500])
def test_tcp_in_bulk_both_ways(lab: SystemLab, address: IPv6Address, mtu: int) -> None:
    """With the advertised MTU, and by path MTU discovery with an MN that does not heed it."""
    content = bytes(range(256)) * 2000
    set_ipv6(lab, "mtu", mtu)
    forget_path_mtus(lab)
    try:
        with ExitStack() as stack:
            client, accepted = connection(lab, 7001, stack)
            for sender, receiver in ((client, accepted), (accepted, client)):
                sending = threading.Thread(target=sender.sendall, args=(content,), daemon=True)
                sending.start()
                heard = bytearray()
                while len(heard) < len(content):
                    heard += receiver.recv(65536)
                sending.join()
                assert heard == content
    finally:
        set_ipv6(lab, "mtu", TUNNEL_MTU)


def congestion_marks(packet: bytes) -> int:
    """The ECN field of an IPv6 header, the last two bits of its Traffic Class."""
    return (packet[1] >> 4) & 0b11


def send_marked(sender: socket.socket, target: tuple[str, int], mark: int) -> None:
    sender.sendmsg([bytes([mark])], [(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, struct.pack("i", mark))], 0, target)


def receive_mark(receiver: socket.socket) -> tuple[int, int]:
    """What was sent and the mark that it came with."""
    data, ancillary, *_ = receiver.recvmsg(100, socket.CMSG_SPACE(4))
    return data[0], struct.unpack("i", ancillary[0][2])[0]


@pytest.mark.parametrize("direction", ["uplink", "downlink"])
def test_congestion_marks_survive_the_tunnel(lab: SystemLab, address: IPv6Address, direction: str) -> None:
    """RFC 5213 section 5.6.3: the outer header starts with the inner mark (full functionality of RFC 3168 9.1.1: CE as
    ECT(0)), and what happened to it on the way is in the inner one afterwards."""
    cn = str(lab.topology.addresses["cn"])
    nodes = lab.nodes
    ends = [(nodes["mn"], str(address)), (nodes["cn"], cn)]
    (here, source), (there, target) = ends if direction == "uplink" else reversed(ends)
    tunnel_end = nodes["lma" if direction == "uplink" else "mag1"]
    entry, core = ("lma", "mag1") if direction == "uplink" else ("mag1", "core")
    marked = (NOT_ECT, ECT_1, ECT_0, CE)
    with ExitStack() as stack:
        receiver = stack.enter_context(udp(there, target, 7002))
        receiver.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVTCLASS, 1)
        sender = stack.enter_context(udp(here, source))
        sniffer = stack.enter_context(packets(nodes[entry], core))
        for mark in marked:
            send_marked(sender, (target, 7002), mark)
            assert receive_mark(receiver) == (mark, mark)
        outer = [
            congestion_marks(packet)
            for packet in captured(sniffer)
            if packet[6] == IPV6_IN_IPV6 and packet[IPV6_HEADER + 6] == socket.IPPROTO_UDP
        ]
        assert outer == [NOT_ECT, ECT_1, ECT_0, ECT_0]
        # A congested router between the tunnel's ends.
        tunnel_end.run(
            ["nft", "-f", "-"],
            f"""table ip6 congested {{ chain congest {{ type filter hook prerouting priority -400;
                iifname {core} ip6 nexthdr {IPV6_IN_IPV6} ip6 ecn set ce; }}; }}""",
        )
        try:
            for mark in marked:
                send_marked(sender, (target, 7002), mark)
            # What cannot say that it met congestion had to be lost there (RFC 6040 section 4.2).
            assert [receive_mark(receiver) for _ in range(3)] == [(ECT_1, CE), (ECT_0, CE), (CE, CE)]
        finally:
            tunnel_end.run(["nft", "delete", "table", "ip6", "congested"])
