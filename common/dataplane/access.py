"""Access links of a MAG: the same link-layer and link-local address on all of them (RFC 6543, RFC 5213 6.9.3)."""

import errno
import fcntl
import socket
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import NamedTuple

from pyroute2 import IPRoute

from common.dataplane import bpf
from common.dataplane.forwardings import OnLink
from common.dataplane.hold import Session
from common.dataplane.netlink import HEADER as NLMSGHDR
from common.dataplane.netlink import (
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_REPLACE,
    NLM_F_REQUEST,
    RouteSocket,
    attribute,
    attributes,
)
from common.dataplane.router import RouterAddresses
from common.dataplane.tunnels import IN6_ADDR_GEN_MODE_NONE, address_generation
from common.errors import DataPlaneError

IFA_F_NODAD = 0x02
RTMGRP_LINK = 1
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_DELADDR = 16, 17, 20, 21
IFADDRMSG = struct.Struct("=BBBBI")  # family, prefix length, flags, scope, interface
IFA_ADDRESS, RT_SCOPE_LINK = 1, 253
NOT_THERE = frozenset({errno.EADDRNOTAVAIL, errno.ENODEV})
IFLA_IFNAME = 3
IFF_RUNNING, IFF_LOWER_UP = 0x40, 0x10000
SIOCGIFFLAGS, SIOCGIFHWADDR = 0x8913, 0x8927
HEADER = struct.Struct("=IHHIIBxHiII")  # nlmsghdr, ifinfomsg


@dataclass(frozen=True)
class Before:
    """What an interface had; with `had_address` a link-local address that the kernel had made by this `mode`."""

    mac: str
    mode: int
    had_address: bool
    settings: tuple[tuple[str, str], ...] = ()  # of /proc/sys/net/ipv6/conf


class AccessLinks:
    """Gives the interfaces their fixed addresses and, at the end, back what they had.

    Where `router` has no link-local address for all, `serve` gives and takes each MN's; `wanted` are those
    of the MNs that are served already. With `give_back` a route over an interface counts only while
    there is a carrier. `memory` is, by interface, what it had before an earlier life of the daemon that came to no end.
    """

    def __init__(
        self,
        ipr: IPRoute,
        interfaces: tuple[str, ...],
        *,
        route_socket: RouteSocket,
        router: RouterAddresses,
        wanted: Collection[OnLink] = (),
        give_back: bool = False,
        memory: MutableMapping[str, Before] | None = None,
    ) -> None:
        self._ipr = ipr
        self._route_socket = route_socket  # pyroute2's own cannot be used where an event loop runs
        self._router = router
        self._wanted = frozenset(wanted)
        self._served: dict[Session, OnLink] = {}
        self._users: Counter[OnLink] = Counter()
        self._before: MutableMapping[str, Before] = {} if memory is None else memory
        self._indexes: dict[str, int] = {}
        for name in interfaces:
            found = ipr.link_lookup(ifname=name)
            if not found:
                raise DataPlaneError(f"access interface {name} does not exist")
            self._claim(found[0], name, {"ignore_routes_with_linkdown": "1"} if give_back else {})

    def _claim(self, index: int, name: str, settings: Mapping[str, str]) -> None:
        link = self._ipr.get_links(index)[0]
        mac = link.get_attr("IFLA_ADDRESS")
        addresses = [
            address
            for address in self._ipr.get_addr(index=index, family=socket.AF_INET6)
            if (own := IPv6Address(address.get_attr("IFA_ADDRESS"))).is_link_local
            and own != self._router.link_local
            and (name, own) not in self._wanted
        ]
        # With its own MAC, where that is not what is wanted, it is as nobody has left it.
        if name not in self._before or (self._router.mac and mac != self._router.mac):
            self._before[name] = Before(
                mac,
                link.get_nested("IFLA_AF_SPEC", "AF_INET6", "IFLA_INET6_ADDR_GEN_MODE"),
                bool(addresses),
                # Without the newline: some settings take one octet at a time, and then the newline for a number.
                tuple((setting, _setting(name, setting).read_text().strip()) for setting in settings),
            )
        self._indexes[name] = index
        for setting, value in settings.items():
            _setting(name, setting).write_text(value)
        self._ipr.link("set", index=index, IFLA_AF_SPEC=address_generation(IN6_ADDR_GEN_MODE_NONE))
        if self._router.mac and mac != self._router.mac:
            self._ipr.link("set", index=index, address=self._router.mac)
        for address in addresses:
            text = address.get_attr("IFA_ADDRESS")
            self._ipr.addr("del", index=index, address=text, prefixlen=address["prefixlen"])
        if self._router.link_local:
            self._add(index, self._router.link_local)

    def serve(self, session: Session, router: OnLink | None) -> None:
        """From now on the session's MN finds its router there. Raises DataPlaneError, and then nothing has changed."""
        before = self._served.get(session)
        if router == before:
            return
        if router:
            self._add(self._indexes[router[0]], router[1])
            self._served[session] = router
            self._users[router] += 1
        if before:
            if router is None:
                del self._served[session]
            self._users[before] -= 1
            if not self._users[before]:
                del self._users[before]
                self._delete(self._indexes[before[0]], before[1])

    def _add(self, index: int, address: IPv6Address) -> None:
        """Every MAG has it on its own links; duplicate detection would only delay the MN (RFC 6543 section 3)."""
        self._route_socket.request([_address(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, index, address)])

    def _delete(self, index: int, address: IPv6Address) -> None:
        """If it is there: somebody may have removed it, or the interface."""
        self._route_socket.request([_address(RTM_DELADDR, 0, index, address)], NOT_THERE)

    def release(self) -> None:
        for name, index in self._indexes.items():
            before = self._before.pop(name)
            if not self._ipr.link_lookup(index=index):
                continue  # the interface itself has gone, and its addresses with it
            here = {address for interface, address in self._users if interface == name}
            for address in {*here, *([self._router.link_local] if self._router.link_local else [])}:
                self._delete(index, address)
            if self._router.mac and before.mac != self._router.mac:
                self._ipr.link("set", index=index, address=before.mac)
            if before.had_address:  # the kernel makes it again, if it is told to by this setting
                _setting(name, "addr_gen_mode").write_text(str(before.mode))
            else:
                self._ipr.link("set", index=index, IFLA_AF_SPEC=address_generation(before.mode))
            for setting, value in before.settings:
                _setting(name, setting).write_text(value)


def _address(kind: int, flags: int, index: int, address: IPv6Address) -> bytearray:
    body = IFADDRMSG.pack(socket.AF_INET6, 64, IFA_F_NODAD, RT_SCOPE_LINK, index)
    body += attribute(IFA_ADDRESS, address.packed)
    return bytearray(NLMSGHDR.pack(NLMSGHDR.size + len(body), kind, NLM_F_REQUEST | NLM_F_ACK | flags, 0, 0) + body)


def _setting(interface: str, name: str) -> Path:
    return Path("/proc/sys/net/ipv6/conf", interface, name)


class Carrier(NamedTuple):
    """The kernel's word on an interface: whether it has a carrier; one that is deleted has none."""

    interface: str
    device: int  # its index
    on: bool


class LinkMonitor:
    """The kernel's word on each change of any interface; or, with `gone`, only on those that are deleted, so that who
    asks for no more is not woken by a carrier."""

    def __init__(self, *, gone: bool = False) -> None:
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, socket.NETLINK_ROUTE
        )
        if gone:
            bpf.attach(self.socket, bpf.netlink(RTM_DELLINK))
        self.socket.bind((0, RTMGRP_LINK))

    def events(self) -> Iterator[Carrier]:
        """What has come since the last call; raises OSError (ENOBUFS) when the kernel had to drop some."""
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return
            yield from _parse(data)

    def close(self) -> None:
        self.socket.close()


def has_carrier(interface: str) -> bool:
    """Whether it is up with a carrier now; one that does not exist has none."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        try:
            answer = fcntl.ioctl(any_socket, SIOCGIFFLAGS, struct.pack("16sH22x", interface.encode(), 0))
        except OSError:
            return False
    return bool(struct.unpack_from("H", answer, 16)[0] & IFF_RUNNING)


def mac_of(interface: str) -> str:
    """Its link-layer address. Raises OSError when it has gone."""
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as any_socket:
        answer = fcntl.ioctl(any_socket, SIOCGIFHWADDR, struct.pack("16s24x", interface.encode()))
    return answer[18:24].hex(":")


def _parse(data: bytes) -> Iterator[Carrier]:
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_rest, index, flags, _change = HEADER.unpack_from(data, offset)
        if kind in (RTM_NEWLINK, RTM_DELLINK):
            parts = attributes(data, offset + HEADER.size, offset + length)
            names = (data[start:end].rstrip(b"\0").decode() for part, start, end in parts if part == IFLA_IFNAME)
            name = next(names, "")
            yield Carrier(name, index, kind == RTM_NEWLINK and bool(flags & IFF_LOWER_UP))
        offset += (length + 3) & ~3
