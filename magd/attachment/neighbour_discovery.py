"""What MNs say of themselves on their access links: Router Solicitations, and what proves that they are there.

A Router Solicitation announces an MN (RFC 4861 section 6.3.7). Neighbor Solicitations and Advertisements of its are
signs of life, and tell the addresses it has. Each access link has a socket and a budget of its own: who floods one is
not read for a moment, and nobody on another link waits for that.
"""

import asyncio
import socket
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from ipaddress import IPv6Address

from common.dataplane import bpf
from common.dataplane.bpf import JUMP_EQUAL, LOAD_OCTET, RETURN
from common.token_bucket import TokenBucket

ETH_P_IPV6 = 0x86DD
ICMPV6 = 58
ROUTER_SOLICITATION, NEIGHBOUR_SOLICITATION, NEIGHBOUR_ADVERTISEMENT = 133, 135, 136
# Octets of an IPv6 packet with ICMPv6 right behind the header.
LENGTH, NEXT_HEADER, HOP_LIMIT, SOURCE, ADDRESSES, TYPE, CODE, TARGET = 4, 6, 7, 8, slice(8, 40), 40, 41, 48
SMALLEST = {ROUTER_SOLICITATION: 8, NEIGHBOUR_SOLICITATION: 24, NEIGHBOUR_ADVERTISEMENT: 24}

# Classic BPF: lets those three through, so that the daemon never sees the MNs' traffic.
PROGRAM = (
    (LOAD_OCTET, 0, 0, NEXT_HEADER),
    (JUMP_EQUAL, 0, 5, ICMPV6),
    (LOAD_OCTET, 0, 0, TYPE),
    (JUMP_EQUAL, 2, 0, ROUTER_SOLICITATION),
    (JUMP_EQUAL, 1, 0, NEIGHBOUR_SOLICITATION),
    (JUMP_EQUAL, 0, 1, NEIGHBOUR_ADVERTISEMENT),
    (RETURN, 0, 0, 2048),
    (RETURN, 0, 0, 0),
)
ONE_TURN = 16  # packets
RATE, BURST = 100, 300  # packets a second of one link, and at once: some hundred MNs that come together
PAUSE = 0.1  # seconds


@dataclass(frozen=True, slots=True)
class Said:
    """One message; `address` is one that its sender has or is about to have."""

    type: int
    address: IPv6Address


@dataclass
class _Link:
    interface: str
    socket: socket.socket
    budget: TokenBucket = field(default_factory=lambda: TokenBucket(RATE, BURST))


class NeighbourDiscoverySource:
    """Calls `solicited(interface, MAC, address)` for each valid Router Solicitation, `heard(…)` for the others.

    `flooded(interface)` says that a link's budget is used up; what comes meanwhile is dropped in the kernel.
    """

    def __init__(
        self,
        interfaces: tuple[str, ...],
        solicited: Callable[[str, bytes, IPv6Address], None],
        heard: Callable[[str, bytes, IPv6Address], None],
        flooded: Callable[[str], None],
    ) -> None:
        self._solicited, self._heard, self._flooded = solicited, heard, flooded
        self._links = [_Link(interface, _open(interface)) for interface in interfaces]
        self._paused: dict[str, asyncio.TimerHandle] = {}

    def start(self) -> None:
        for link in self._links:
            self._read(link)

    def close(self) -> None:
        for timer in self._paused.values():
            timer.cancel()
        for link in self._links:
            asyncio.get_running_loop().remove_reader(link.socket)
            link.socket.close()

    def _read(self, link: _Link) -> None:
        self._paused.pop(link.interface, None)
        asyncio.get_running_loop().add_reader(link.socket, self._readable, link)

    def _readable(self, link: _Link) -> None:
        for _ in range(ONE_TURN):
            if not link.budget.take(time.monotonic()):
                loop = asyncio.get_running_loop()
                loop.remove_reader(link.socket)
                self._paused[link.interface] = loop.call_later(PAUSE, self._read, link)
                self._flooded(link.interface)
                return
            try:
                packet, (interface, _protocol, kind, _hardware, mac) = link.socket.recvfrom(2048)
            except OSError:  # nothing more, or the interface went down
                return
            if kind != socket.PACKET_OUTGOING and (said := parse(packet)):
                tell = self._solicited if said.type == ROUTER_SOLICITATION else self._heard
                tell(interface, mac, said.address)


def parse(packet: bytes) -> Said | None:
    """None for what RFC 4861 sections 6.1.1, 7.1.1 and 7.1.2 call invalid; hop limit 255: it comes from this link."""
    if len(packet) <= TYPE or packet[NEXT_HEADER] != ICMPV6 or packet[TYPE] not in SMALLEST:
        return None
    (length,) = struct.unpack_from("!H", packet, LENGTH)
    kind = packet[TYPE]
    message = packet[TYPE : TYPE + length]
    if len(message) != length or length < SMALLEST[kind] or packet[HOP_LIMIT] != 255 or packet[CODE] != 0:
        return None
    if _sum(packet[ADDRESSES] + struct.pack("!II", length, ICMPV6) + message) != 0xFFFF:
        return None
    source = IPv6Address(packet[SOURCE : SOURCE + 16])
    target = IPv6Address(packet[TARGET : TARGET + 16]) if kind != ROUTER_SOLICITATION else source
    # Who advertises an address has it; who solicits from the unspecified address is about to have it.
    return Said(kind, target if kind == NEIGHBOUR_ADVERTISEMENT or source.is_unspecified else source)


def _sum(octets: bytes) -> int:
    """The ones' complement sum of 16-bit words (RFC 1071): all ones when the checksum that it includes is right."""
    total: int = sum(struct.unpack(f"!{(len(octets) + 1) // 2}H", octets + bytes(len(octets) % 2)))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return total


def _open(interface: str) -> socket.socket:
    kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
    opened = socket.socket(socket.AF_PACKET, kind, 0)  # protocol 0: nothing is heard before the filter is in place
    bpf.attach(opened, PROGRAM)
    opened.bind((interface, ETH_P_IPV6))
    return opened
