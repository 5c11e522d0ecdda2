"""The filter's table is made anew when somebody deletes it: `systemctl restart nftables` deletes whatever there is.

The kernel tells at once of a table that goes. It tells of every change, and most are elements of sets, our own: these
do not get here. That it has a listener costs 2 µs for each of them, and to look before a session changes 1 µs.
"""

import errno
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator

from common.actions import Note
from common.dataplane import bpf
from common.dataplane.bpf import ALL, JUMP_EQUAL, LOAD_HALF, RETURN
from common.dataplane.elements import MSG_DELSETELEM, MSG_DELTABLE, MSG_NEWSETELEM, NFNL_SUBSYS_NFTABLES, TABLE_NAME
from common.dataplane.filter import Filter
from common.dataplane.netlink import GENERIC, HEADER, NETLINK_NETFILTER, attributes
from common.token_bucket import TokenBucket

MSG_NEWGEN = NFNL_SUBSYS_NFTABLES << 8 | 15
NFNLGRP_NFTABLES = 7
RATE, BURST = 1.0, 5.0  # a restart of nftables deletes twice; who does so all the time is not to have all our time
AGAIN_S = 5.0  # after the kernel has refused it


class Upkeep:
    """Of `table`, which `filter` makes; `refill` puts into its sets what is to be there, `notes` get what was done."""

    def __init__(self, table: str, filter: Filter, refill: Callable[[], None], notes: deque[Note]) -> None:
        self._table = table
        self._filter = filter
        self._refill = refill
        self._notes = notes
        self._budget = TokenBucket(RATE, BURST)
        self._due: float | None = None
        self.socket = socket.socket(
            socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK, NETLINK_NETFILTER
        )
        _keep_elements_out(self.socket)
        self.socket.bind((0, 1 << NFNLGRP_NFTABLES - 1))

    def look(self) -> None:
        """Make it anew, now or soon, if it was deleted since the last call. Raises DataPlaneError."""
        # What we replace ourselves is there, and so is known from what somebody restores that was saved before.
        if self._may_be_gone() and not self._filter.is_there():
            self._mend(time.monotonic())

    def deadline(self) -> float | None:
        return self._due

    def expire(self, now: float) -> None:
        if self._due is not None and self._due <= now:
            self._mend(now)

    def close(self) -> None:
        self.socket.close()

    def _mend(self, now: float) -> None:
        if not self._budget.take(now):
            self._due = now + 1 / RATE
            return
        self._due = now + AGAIN_S
        self._filter.remake(self._refill)
        self._due = None
        self._notes.append(Note("table-mended", detail=f"somebody had deleted {self._table}"))

    def _may_be_gone(self) -> bool:
        may_be = False
        while True:
            try:
                data = self.socket.recv(1 << 16)
            except BlockingIOError:
                return may_be
            except OSError as error:
                if error.errno != errno.ENOBUFS:  # the kernel had more to say than the socket could hold
                    raise
                may_be = True
            else:
                may_be |= self._table in _deleted(data)


def _deleted(data: bytes) -> Iterator[str]:
    """The IPv6 tables whose end is told of: a transaction's messages come in few datagrams, in order."""
    offset = 0
    while offset + HEADER.size <= len(data):
        length, kind, *_ = HEADER.unpack_from(data, offset)
        body = offset + HEADER.size
        if kind == MSG_DELTABLE and GENERIC.unpack_from(data, body)[0] == socket.AF_INET6:
            for part, start, end in attributes(data, body + GENERIC.size, offset + length):
                if part == TABLE_NAME:
                    yield data[start:end].rstrip(b"\0").decode()
        offset += (length + 3) & ~3


def _keep_elements_out(netlink: socket.socket) -> None:
    """What begins with an element has nothing but elements in it; that a transaction is over is told by itself."""
    kinds = [socket.htons(kind) for kind in (MSG_NEWSETELEM, MSG_DELSETELEM, MSG_NEWGEN)]
    jumps = [(JUMP_EQUAL, len(kinds) - number, 0, kind) for number, kind in enumerate(kinds)]
    bpf.attach(netlink, ((LOAD_HALF, 0, 0, 4), *jumps, (RETURN, 0, 0, ALL), (RETURN, 0, 0, 0)))
