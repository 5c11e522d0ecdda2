"""Elements of nftables sets as ready netlink messages: one batch is one change, seen by packets all at once.

libnftables makes the table (filter.py); an element by way of it costs twice as much as one encoded here.
"""

import errno
import os
import socket
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from common.dataplane.netlink import (
    ERROR,
    GENERIC,
    HEADER,
    NESTED,
    NETLINK_NETFILTER,
    NLM_F_ACK,
    NLM_F_CREATE,
    NLM_F_DUMP,
    NLM_F_REQUEST,
    NLMSG_DONE,
    NLMSG_ERROR,
    attribute,
    attributes,
)
from common.errors import DataPlaneError

NFNL_SUBSYS_NFTABLES = 10
BATCH_BEGIN, BATCH_END = 0x10, 0x11
MSG_GETTABLE, MSG_DELTABLE = (NFNL_SUBSYS_NFTABLES << 8 | number for number in (1, 2))
MSG_NEWSETELEM, MSG_GETSETELEM, MSG_DELSETELEM = (NFNL_SUBSYS_NFTABLES << 8 | number for number in (12, 13, 14))
TABLE_NAME, TABLE_HANDLE = 1, 4
LIST_TABLE, LIST_SET, LIST_ELEMENTS = 1, 2, 3
LIST_ELEM = 1
ELEM_KEY, ELEM_DATA = 1, 2
DATA_VALUE = 1
PRIVILEGED_SEND_BUFFER = 32  # SO_SNDBUFFORCE
SEND_BUFFER = 256 << 20  # octets, a limit only: at a start one batch has the elements of every session


@dataclass(frozen=True, slots=True)
class Element:
    """`key` as the kernel loads it into registers: each part of a concatenation filled up to 4 octets."""

    set: str
    key: bytes
    data: bytes | None = None


class ElementSocket:
    """Adds elements to, and removes them from, the sets of the IPv6 table `table`."""

    def __init__(self, table: str) -> None:
        self._table = attribute(LIST_TABLE, table.encode() + b"\0")
        self._socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        self._socket.setsockopt(socket.SOL_SOCKET, PRIVILEGED_SEND_BUFFER, SEND_BUFFER)
        self._socket.bind((0, 0))
        self._sequence = 0

    def change(self, add: Sequence[Element] = (), remove: Sequence[Element] = ()) -> None:
        """All or nothing. Raises DataPlaneError; to remove what is not there is an error, to add it again is none."""
        if not add and not remove:
            return
        changes = [(MSG_DELSETELEM, 0, element) for element in remove]
        changes += [(MSG_NEWSETELEM, NLM_F_CREATE, element) for element in add]
        *others, (kind, flags, last) = changes
        # An error is told in any case; the answers to all of a large batch would have no room in the socket.
        batch = [*(self._message(*change) for change in others), self._message(kind, flags | NLM_F_ACK, last)]
        try:
            self._carry_out(batch)
        except OSError as error:
            raise DataPlaneError(f"the kernel does not take set elements: {error.strerror}") from error

    def _carry_out(self, batch: Sequence[bytes]) -> None:
        self._socket.send(b"".join([self._border(BATCH_BEGIN), *batch, self._border(BATCH_END)]))
        failure = unsaid = 0
        while True:  # what the kernel says is all there when `send` returns
            try:
                data = self._socket.recv(1 << 16)
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno != errno.ENOBUFS:
                    raise
                unsaid = errno.ENOBUFS  # so many were refused that not all answers had room
                continue
            kind = HEADER.unpack_from(data)[1]
            if kind == NLMSG_ERROR:
                failure = failure or -int(ERROR.unpack_from(data, HEADER.size)[0])
        if failure := failure or unsaid:
            raise DataPlaneError(f"the kernel refused a set element: {os.strerror(failure)}")

    def listed(self, name: str) -> frozenset[Element]:
        """What is in a set now; nothing is in one that does not exist. Raises DataPlaneError.

        Of a large one the kernel tells in parts, and goes on after as many as it has told. If it makes the set's table
        larger meanwhile, which it does a moment after many came, their order changes and it leaves some out: so it is
        asked until it says the same twice.
        """
        told = frozenset(self._told(name))
        while (again := frozenset(self._told(name))) != told:
            told = again
        return told

    def _told(self, name: str) -> Iterator[Element]:
        body = GENERIC.pack(socket.AF_INET6, 0, 0) + self._table + attribute(LIST_SET, name.encode() + b"\0")
        self._socket.send(self._header(MSG_GETSETELEM, NLM_F_DUMP, len(body)) + body)
        self._socket.setblocking(True)  # the kernel goes on with a list as it is read
        try:
            while True:
                data, offset = self._socket.recv(1 << 16), 0
                while offset < len(data):
                    length, kind, *_ = HEADER.unpack_from(data, offset)
                    if kind == NLMSG_DONE:
                        return
                    if kind == NLMSG_ERROR:
                        error = -int(ERROR.unpack_from(data, offset + HEADER.size)[0])
                        if error == errno.ENOENT:
                            return
                        raise DataPlaneError(f"the kernel does not list set {name}: {os.strerror(error)}")
                    yield from _parse(name, data, offset + HEADER.size + GENERIC.size, offset + length)
                    offset += (length + 3) & ~3
        finally:
            self._socket.setblocking(False)

    def close(self) -> None:
        self._socket.close()

    def _message(self, kind: int, flags: int, element: Element) -> bytes:
        parts = [attribute(ELEM_KEY | NESTED, attribute(DATA_VALUE, element.key))]
        if element.data is not None and kind == MSG_NEWSETELEM:
            parts.append(attribute(ELEM_DATA | NESTED, attribute(DATA_VALUE, element.data)))
        listed = attribute(LIST_ELEM | NESTED, b"".join(parts))
        body = (
            GENERIC.pack(socket.AF_INET6, 0, 0)
            + self._table
            + attribute(LIST_SET, element.set.encode() + b"\0")
            + attribute(LIST_ELEMENTS | NESTED, listed)
        )
        return self._header(kind, flags, len(body)) + body

    def _border(self, kind: int) -> bytes:
        body = GENERIC.pack(socket.AF_UNSPEC, 0, NFNL_SUBSYS_NFTABLES)
        return self._header(kind, 0, len(body)) + body

    def _header(self, kind: int, flags: int, length: int) -> bytes:
        self._sequence = (self._sequence + 1) & 0xFFFFFFFF
        return HEADER.pack(HEADER.size + length, kind, NLM_F_REQUEST | flags, self._sequence, 0)


def handle_of(table: str) -> int | None:
    """The kernel's number of the IPv6 table, another one whenever it is made; None if it is not there."""
    body = GENERIC.pack(socket.AF_INET6, 0, 0) + attribute(TABLE_NAME, table.encode() + b"\0")
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, NETLINK_NETFILTER) as asking:
        asking.send(HEADER.pack(HEADER.size + len(body), MSG_GETTABLE, NLM_F_REQUEST, 0, 0) + body)
        data = asking.recv(1 << 16)
    length, kind, *_ = HEADER.unpack_from(data)
    if kind == NLMSG_ERROR:
        return None
    parts = attributes(data, HEADER.size + GENERIC.size, length)
    return next(int.from_bytes(data[start:end]) for part, start, end in parts if part == TABLE_HANDLE)


def _parse(name: str, data: bytes, start: int, end: int) -> Iterator[Element]:
    for kind, first, last in attributes(data, start, end):
        if kind != LIST_ELEMENTS:
            continue
        for _, here, there in attributes(data, first, last):
            values = {
                part: data[value_start:value_end]
                for part, inner, outer in attributes(data, here, there)
                if part in (ELEM_KEY, ELEM_DATA)
                for value, value_start, value_end in attributes(data, inner, outer)
                if value == DATA_VALUE
            }
            yield Element(name, values[ELEM_KEY], values.get(ELEM_DATA))
