"""How large a packet may be on its way to each LMA (RFC 5213 section 6.9.5), as the kernel learns it.

The kernel does the discovery (RFC 8201): the tunnel obeys it by itself. Here is only noticed that it learnt something:
a Packet Too Big wakes us, and as the kernel forgets after a while, everything is looked at from time to time.
"""

import asyncio
import fcntl
import socket
import struct
from collections.abc import Callable, Iterable
from contextlib import suppress
from ipaddress import IPv6Address

ICMP6_FILTER = 1
PACKET_TOO_BIG = 2
IPV6_MTU = 24
SIOCGIFMTU = 0x8921
OUTER_HEADER = 40  # octets
MIN_MTU = 1280  # RFC 8200 section 5: what is larger on the outside is fragmented there
LOOK_EVERY, LOOK_AT_MOST_EVERY = 10.0, 0.1  # seconds
DISCARD_PORT = 9
ONE_TURN = 64  # packets


class PathMtu:
    """Calls `tunnel(lma, MTU)` and `link(interface, MTU)` with what is true now: when started, and ever again.

    `device` says what the tunnel device to an LMA is called.
    """

    def __init__(
        self,
        lmas: Iterable[IPv6Address],
        interfaces: Iterable[str],
        device: Callable[[IPv6Address], str],
        tunnel: Callable[[IPv6Address, int], None],
        link: Callable[[str, int], None],
    ) -> None:
        self._lmas, self._interfaces = tuple(lmas), tuple(interfaces)
        self._device, self._tunnel, self._link = device, tunnel, link
        self._timer: asyncio.TimerHandle | None = None
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_INET6, kind, socket.IPPROTO_ICMPV6)
        blocked = [0xFFFFFFFF] * 8
        blocked[PACKET_TOO_BIG >> 5] &= ~(1 << (PACKET_TOO_BIG & 31))
        self._socket.setsockopt(socket.IPPROTO_ICMPV6, ICMP6_FILTER, struct.pack("=8I", *blocked))

    def start(self) -> None:
        asyncio.get_running_loop().add_reader(self._socket, self._readable)
        self._look()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()
        asyncio.get_running_loop().remove_reader(self._socket)
        self._socket.close()

    def _readable(self) -> None:
        """One is as good as many: what comes within a moment is one look."""
        with suppress(OSError):  # no more, or an error that concerns some other socket
            for _ in range(ONE_TURN):
                self._socket.recv(1)
        if self._timer and self._timer.when() > (soon := asyncio.get_running_loop().time() + LOOK_AT_MOST_EVERY):
            self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_at(soon, self._look)

    def _look(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(LOOK_EVERY, self._look)
        for lma in self._lmas:
            path, device = path_mtu(lma), link_mtu(self._device(lma))
            mtus = [*([max(path - OUTER_HEADER, MIN_MTU)] if path else []), *([device] if device else [])]
            if mtus:
                self._tunnel(lma, min(mtus))
        for interface in self._interfaces:
            if (mtu := link_mtu(interface)) is not None:
                self._link(interface, mtu)


def path_mtu(destination: IPv6Address) -> int | None:
    """What the kernel believes of the path now, in octets; None while there is no route."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as probe:  # it sends nothing
        try:
            probe.connect((str(destination), DISCARD_PORT))
            return probe.getsockopt(socket.IPPROTO_IPV6, IPV6_MTU)
        except OSError:
            return None


def link_mtu(interface: str) -> int | None:
    """Of an interface, in octets; None when it has gone."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, SIOCGIFMTU, struct.pack("16si20x", interface.encode(), 0))
        except OSError:
            return None
    return int(struct.unpack_from("i", answer, 16)[0])
