"""Attachment by Router Solicitation: an MN that comes asks for a router (RFC 4861 section 6.3.7)."""

import asyncio
import ctypes
import socket
import struct
from collections.abc import Callable

from scapy.layers.inet6 import IPv6

ETH_P_IPV6 = 0x86DD
ICMPV6, ROUTER_SOLICITATION = 58, 133
NEXT_HEADER, HOP_LIMIT, TYPE, CODE = 6, 7, 40, 41  # octets of an IPv6 packet with ICMPv6 right behind the header
SO_ATTACH_FILTER = 26

# Classic BPF: let through ICMPv6 Router Solicitations only, the daemon never sees the MN's traffic.
LOAD_OCTET, JUMP_EQUAL, RETURN = 0x30, 0x15, 0x06
PROGRAM = (
    (LOAD_OCTET, 0, 0, NEXT_HEADER),
    (JUMP_EQUAL, 0, 3, ICMPV6),
    (LOAD_OCTET, 0, 0, TYPE),
    (JUMP_EQUAL, 0, 1, ROUTER_SOLICITATION),
    (RETURN, 0, 0, 2048),
    (RETURN, 0, 0, 0),
)


class RouterSolicitationSource:
    """Calls `solicited(interface, source MAC)` for each valid solicitation on an access interface."""

    def __init__(self, interfaces: tuple[str, ...], solicited: Callable[[str, bytes], None]) -> None:
        self._interfaces = frozenset(interfaces)
        self._solicited = solicited
        kind = socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_PACKET, kind, socket.htons(ETH_P_IPV6))
        code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in PROGRAM))
        program = struct.pack("HP", len(PROGRAM), ctypes.addressof(code))
        self._socket.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, program)

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._readable)

    def close(self) -> None:
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        while True:
            try:
                packet, (interface, _protocol, kind, _hardware, mac) = self._socket.recvfrom(2048)
            except BlockingIOError:
                return
            if interface in self._interfaces and kind != socket.PACKET_OUTGOING and is_valid(packet):
                self._solicited(interface, mac)


def is_valid(packet: bytes) -> bool:
    """RFC 4861 section 6.1.1; hop limit 255 proves that it comes from this link.

    The type is looked at again, for a packet may have come before the filter was in place.
    """
    if len(packet) < TYPE + 8 or (packet[NEXT_HEADER], packet[TYPE]) != (ICMPV6, ROUTER_SOLICITATION):
        return False
    if packet[HOP_LIMIT] != 255 or packet[CODE] != 0:
        return False
    solicitation = IPv6(packet)
    received = solicitation.payload.cksum
    del solicitation.payload.cksum
    return bool(IPv6(bytes(solicitation)).payload.cksum == received)
