"""Netlink without waiting: messages are encoded by pyroute2 once, filled in and sent when the moment comes.

A change to the kernel's routing is done when `sendmsg` returns, and its answer lies in the socket. pyroute2's own
round trip costs 300 µs, ten times that under emulation; an encoded message costs 7 µs.
"""

import os
import socket
import struct
from collections.abc import Iterator, Sequence

from pyroute2.netlink import nlmsg

from common.errors import DataPlaneError

NETLINK_NETFILTER = 12  # the socket module has no name for it
HEADER = struct.Struct("=IHHII")  # length, type, flags, sequence number, port
ATTRIBUTE = struct.Struct("=HH")  # length, type
NESTED = 0x8000
GENERIC = struct.Struct("!BBH")  # nfgenmsg, of netfilter's messages: family, version, resource
ERROR = struct.Struct("=i")
NLMSG_ERROR, NLMSG_DONE = 2, 3
NLM_F_REQUEST, NLM_F_ACK = 0x001, 0x004
NLM_F_DUMP = 0x300
NLM_F_REPLACE, NLM_F_EXCL, NLM_F_CREATE = 0x100, 0x200, 0x400
AT_ONCE = 64  # messages whose answers have room in a socket as it is made


def attribute(kind: int, payload: bytes) -> bytes:
    """A netlink attribute, filled up to 4 octets."""
    return ATTRIBUTE.pack(ATTRIBUTE.size + len(payload), kind) + payload + bytes(-len(payload) % 4)


class Template:
    """One message with holes. `holes` are the octets that were encoded in their place, each unique in the message."""

    def __init__(self, message: nlmsg, message_type: int, flags: int, **holes: bytes) -> None:
        message["header"]["type"] = message_type
        message["header"]["flags"] = NLM_F_REQUEST | NLM_F_ACK | flags
        message.encode()
        self._data = bytes(message.data)
        self._holes = {name: (self._find(octets), len(octets)) for name, octets in holes.items()}

    def fill(self, **values: bytes) -> bytearray:
        """The message with every hole filled; a value must be as long as its hole."""
        data = bytearray(self._data)
        for name, (offset, length) in self._holes.items():
            assert len(values[name]) == length, name
            data[offset : offset + length] = values[name]
        return data

    def _find(self, octets: bytes) -> int:
        assert self._data.count(octets) == 1, octets.hex()
        return self._data.index(octets)


class RouteSocket:
    """A NETLINK_ROUTE socket for changes; each is acknowledged before `request` returns."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, socket.NETLINK_ROUTE)
        self._socket.bind((0, 0))
        self._sequence = 0

    def request(self, messages: Sequence[bytearray], ignore: frozenset[int] = frozenset()) -> None:
        """Send all, in order. Raises DataPlaneError with the first errno that is not in `ignore`."""
        failures: list[int] = []
        try:
            for start in range(0, len(messages), AT_ONCE):
                failures += self._outcome(messages[start : start + AT_ONCE])
        except OSError as error:
            raise DataPlaneError(f"the kernel does not take a route change: {error.strerror}") from error
        if failed := [errno for errno in failures if errno and errno not in ignore]:
            raise DataPlaneError(f"the kernel refused a route change: {os.strerror(failed[0])}")

    def _outcome(self, messages: Sequence[bytearray]) -> list[int]:
        """Send these in one go; the errno of each, as they are acknowledged."""
        awaited = set()
        for message in messages:
            self._sequence = (self._sequence + 1) & 0xFFFFFFFF
            awaited.add(self._sequence)
            HEADER.pack_into(message, 0, len(message), *HEADER.unpack_from(message)[1:3], self._sequence, 0)
        self._socket.send(b"".join(messages))
        outcome: list[int] = []
        while awaited:
            data = self._socket.recv(1 << 16)
            offset = 0
            while offset < len(data):
                length, kind, _flags, sequence, _port = HEADER.unpack_from(data, offset)
                if kind == NLMSG_ERROR and sequence in awaited:
                    awaited.remove(sequence)
                    outcome.append(-ERROR.unpack_from(data, offset + HEADER.size)[0])
                offset += (length + 3) & ~3
        return outcome

    def close(self) -> None:
        self._socket.close()


def attributes(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Kind, and where the payload starts and ends, of each attribute; nested ones are named by their kind alone."""
    while start + ATTRIBUTE.size <= end:
        length, kind = ATTRIBUTE.unpack_from(data, start)
        yield kind & ~NESTED, start + ATTRIBUTE.size, start + length
        start += max((length + 3) & ~3, ATTRIBUTE.size)
