"""What the kernel knows of the neighbours on a link, and how sure it is (RFC 4861 section 7.3.2).

Without pyroute2, whose calls cannot be made while an event loop runs.
"""

import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv6Address

from common.dataplane.netlink import ERROR, HEADER, NLM_F_DUMP, NLM_F_REQUEST, NLMSG_DONE, NLMSG_ERROR, attributes

RTM_NEWNEIGH, RTM_GETNEIGH = 28, 30
NDA_DST, NDA_LLADDR = 1, 2
NUD_REACHABLE, NUD_PERMANENT = 0x02, 0x80
NDMSG = struct.Struct("=BxxxiHBB")  # family, device index, state, flags, type


@dataclass(frozen=True, slots=True)
class Neighbour:
    """`permanent`: somebody put it there, the kernel has not found it out."""

    address: IPv6Address
    mac: bytes
    reachable: bool
    permanent: bool


def neighbours(interface: str) -> list[Neighbour]:
    """Those on this interface whose link-layer address is known. Raises OSError when there is no such interface."""
    index = socket.if_nametoindex(interface)
    kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
    with socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE) as kernel:
        kernel.bind((0, 0))
        body = NDMSG.pack(socket.AF_INET6, 0, 0, 0, 0)
        kernel.send(HEADER.pack(HEADER.size + len(body), RTM_GETNEIGH, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + body)
        return list(_parse(kernel, index))


def _parse(kernel: socket.socket, index: int) -> Iterator[Neighbour]:
    while True:
        data = kernel.recv(1 << 16)
        offset = 0
        while offset < len(data):
            length, kind, *_ = HEADER.unpack_from(data, offset)
            if kind == NLMSG_DONE:
                return
            if kind == NLMSG_ERROR:
                error = -ERROR.unpack_from(data, offset + HEADER.size)[0]
                raise OSError(error, os.strerror(error))
            _family, device, state, _flags, _type = NDMSG.unpack_from(data, offset + HEADER.size)
            if kind == RTM_NEWNEIGH and device == index:
                parts = attributes(data, offset + HEADER.size + NDMSG.size, offset + length)
                found = {part: data[start:end] for part, start, end in parts}
                if NDA_DST in found and NDA_LLADDR in found:
                    address = IPv6Address(found[NDA_DST])
                    reachable, permanent = bool(state & NUD_REACHABLE), bool(state & NUD_PERMANENT)
                    yield Neighbour(address, found[NDA_LLADDR], reachable, permanent)
            offset += (length + 3) & ~3
