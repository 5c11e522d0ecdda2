"""Numbered UDP packets in the lab's network: sent, received, and what is wrong with what has arrived."""

import os
import select
import socket
import struct
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from ctypes import c_uint64
from ipaddress import IPv6Address
from multiprocessing.sharedctypes import RawValue
from typing import Self

from testbed.lab.node import Node, wait_until

PORT = 5000
SLEEP_S = 0.001  # what is shorter is waited for without sleeping
SO_RCVBUFFORCE = 33
NUMBER = struct.Struct("!I")
IN_FLIGHT = 5_000  # packets: far fewer than a hold, a processor's backlog or a receiver's buffer keeps


class Sender:
    """Numbered UDP packets from a node to an address; a context manager."""

    def __init__(self, node: Node, source: IPv6Address | str, target: IPv6Address) -> None:
        self.sent = 0
        self.source = IPv6Address(source)
        with node.inside():
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.bind((str(source), 0))
        self._socket.connect((str(target), PORT))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send(self, count: int = 1, octets: int = 0) -> None:
        """Packets with so many octets more than the number."""
        for _ in range(count):
            self._socket.send(NUMBER.pack(self.sent) + bytes(octets))
            self.sent += 1

    def send_to(self, target: IPv6Address, count: int) -> None:
        """To another address than its own; these are not counted."""
        for number in range(count):
            self._socket.sendto(NUMBER.pack(number), (str(target), PORT))

    @contextmanager
    def streaming(self, rate_pps: int, receiver: "Receiver") -> Iterator[None]:
        """Meanwhile a child sends at most so many a second: it never makes up for lost time by a burst.

        It waits where many are still to be read: on a machine whose processors differ in speed it would flood them.
        """
        leave_read, leave_write = os.pipe()
        report_read, report_write = os.pipe()
        child = os.fork()
        if child == 0:
            os.close(leave_write)
            os.sched_setaffinity(0, range(os.cpu_count() or 1))
            self._stream(rate_pps, receiver, leave_read)
            os.write(report_write, NUMBER.pack(self.sent))
            os._exit(0)
        os.close(report_write)
        try:
            yield
        finally:
            os.close(leave_write)
            os.waitpid(child, 0)
            self.sent = NUMBER.unpack(os.read(report_read, NUMBER.size))[0]
            os.close(leave_read)
            os.close(report_read)

    def _stream(self, rate_pps: int, receiver: "Receiver", leave: int) -> None:
        poll = select.poll()
        poll.register(leave, select.POLLHUP)
        due = time.monotonic()
        while not poll.poll(0):
            while (left := due - time.monotonic()) > 0:
                time.sleep(left if left > SLEEP_S else 0)
            if self.sent - receiver.total() < IN_FLIGHT:
                self.send()
            due = max(due, time.monotonic() - 1 / rate_pps) + 1 / rate_pps


class Receiver:
    """What has arrived, in order, of each source; a context manager."""

    def __init__(self, node: Node) -> None:
        self.numbers: dict[str, list[int]] = {}
        self._total = RawValue(c_uint64)  # shared with whoever sends
        with node.inside():
            self._socket = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 256 << 20)
        self._socket.bind(("::", PORT))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def read(self) -> None:
        """What has come; not what keeps coming meanwhile."""
        for _ in range(IN_FLIGHT):
            try:
                data, source = self._socket.recvfrom(NUMBER.size)
            except BlockingIOError:
                break
            self.numbers.setdefault(source[0], []).append(NUMBER.unpack(data)[0])
        self._total.value = sum(map(len, self.numbers.values()))

    def total(self) -> int:
        """How many have been read, as any process knows it."""
        return self._total.value

    def count(self) -> int:
        self.read()
        return self.total()

    def wait_for(self, count: int) -> None:
        while (before := self.count()) < count:
            wait_until(lambda before=before: self.count() > before, f"packet {before + 1} of {count}")  # type: ignore[misc]

    def of(self, source: IPv6Address) -> list[int]:
        self.read()
        return self.numbers.get(str(source), [])


def trouble(numbers: Sequence[int], sent: int) -> dict[str, int]:
    """Lost, duplicated, reordered (below the highest before); empty when all is well."""
    highest, late = -1, 0
    for number in numbers:
        late += number < highest
        highest = max(highest, number)
    found = {"lost": sent - len(set(numbers)), "duplicated": len(numbers) - len(set(numbers)), "reordered": late}
    return {name: count for name, count in found.items() if count}
