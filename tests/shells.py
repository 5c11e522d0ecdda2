"""Both daemons' shells in one process, without kernel: a socket and a data plane of the tests' own."""

import asyncio
import os
import signal
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from typing import cast

from common.actions import Forward, Note
from common.core import Core
from common.daemon import Shell
from common.dataplane.interface import DataPlane
from common.errors import DataPlaneError
from common.journal import Journal
from common.mh.raw_socket import SO_TIMESTAMPNS, MhSockets
from common.persistence import Persistence


class Wire:
    """In place of raw sockets: what is put in is received, what is sent lies in `sent`."""

    def __init__(self, peer: IPv6Address | None = None) -> None:
        self.peer = peer
        self.sent: list[tuple[bytes, IPv6Address]] = []
        self.broken = False
        self.lost = 0
        self._coming: list[tuple[bytes, IPv6Address]] = []
        self._reader, self._writer = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)

    def put(self, data: bytes, source: IPv6Address) -> None:
        self._coming.append((data, source))
        self._writer.send(b"!")

    def fileno(self) -> int:
        return self._reader.fileno()

    def recvmsg(self, _size: int, _room: int) -> tuple[bytes, list[tuple[int, int, bytes]], int, tuple[str, int]]:
        self._reader.recv(1)
        data, source = self._coming.pop(0)
        now = struct.pack("@qq", *divmod(time.time_ns(), 10**9))
        return data, [(socket.SOL_SOCKET, SO_TIMESTAMPNS, now)], 0, (str(source), 0)

    def sockets(self) -> "list[Wire]":
        return [self]

    def unread(self) -> int:
        return self.lost

    def sendto(self, data: bytes, address: tuple[str, int]) -> None:
        if self.broken:
            raise OSError(101, "Network is unreachable")
        self.sent.append((data, IPv6Address(address[0])))

    def close(self) -> None:
        self._reader.close()
        self._writer.close()


class NoKernel:
    """In place of the kernel: does nothing, refuses the next change if told to, has dropped and holds what is said."""

    def __init__(self) -> None:
        self.refuses = False
        self.dropped: dict[str, int] = {}
        self.held: list[dict[str, object]] = []
        self.notes: deque[Note] = deque()

    def apply(self, _forward: Forward) -> None:
        if self.refuses:
            self.refuses = False
            raise DataPlaneError("refused for the test")

    def hold_uplink(self, interface: str, keep: bool) -> None:
        pass

    def sockets(self) -> list[object]:
        return []

    def deadline(self) -> float | None:
        return None

    def expire(self, now: float) -> None:
        pass

    def drops(self) -> dict[str, int]:
        return self.dropped

    def holds(self) -> list[dict[str, object]]:
        return self.held


@contextmanager
def shell(
    core: Core, journal: Path | None = None, persistence: Persistence | None = None
) -> Iterator[tuple[Shell, Wire, NoKernel]]:
    wire, kernel = Wire(), NoKernel()
    try:
        sockets = cast(DataPlane, kernel), cast(MhSockets, wire)
        yield Shell(core, *sockets, Journal(journal), persistence=persistence), wire, kernel
    finally:
        wire.close()


async def serving(
    shell: Shell, test: Callable[[], None], reload: Callable[[], Note] = lambda: Note("reloaded")
) -> None:
    """Serve while `test` runs in a thread of its own, which may wait for what it likes; then end as on SIGTERM."""
    ready = asyncio.Event()

    async def run() -> None:
        await ready.wait()
        try:
            await asyncio.to_thread(test)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run())
        await shell.serve(ready.set, reload)


def until(condition: Callable[[], bool]) -> None:
    """The shell's loop has taken what was put in: it is another thread's, so there is nothing to wait on but this."""
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.001)
