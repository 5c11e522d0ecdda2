"""What a service manager is to a daemon of the lab: it hears that it is ready, and keeps descriptors for the next."""

import os
import select
import socket
import time
from pathlib import Path

from testbed.lab.node import LabError, Process


class Readiness:
    """A NOTIFY_SOCKET: what `sd_notify` of a daemon's start is sent to.

    `kept` are the descriptors that it gave away to be kept (FDSTORE), by name.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.kept: dict[str, int] = {}
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))

    def wait(self, process: Process, timeout_s: float = 60.0) -> None:
        """Return once `process` said READY=1. Raises LabError with its last words when it ends before, or is late."""
        deadline = time.monotonic() + timeout_s
        while (left := deadline - time.monotonic()) > 0:
            readable, _, _ = select.select([self._socket.fileno(), process.fileno()], [], [], left)
            if self._socket.fileno() in readable and self.read():
                return
            if process.fileno() in readable:
                process.require_alive()
        raise LabError(f"{process.name} was not ready within {timeout_s:g} s{process.last_words()}")

    def pending(self) -> bool:
        """Whether there is a message."""
        return bool(select.select([self._socket], [], [], 0)[0])

    def read(self) -> bool:
        """Take one message in; whether it says READY=1."""
        data, descriptors, _, _ = socket.recv_fds(self._socket, 4096, 16)
        said = data.decode().split("\n")
        names = [line.removeprefix("FDNAME=") for line in said if line.startswith("FDNAME=")]
        if "FDSTORE=1" in said:
            self.kept.update(zip(names, descriptors, strict=True))
        if "FDSTOREREMOVE=1" in said:
            for name in names:
                os.close(self.kept.pop(name))
        return "READY=1" in said

    def close(self) -> None:
        for descriptor in self.kept.values():
            os.close(descriptor)
        self._socket.close()
        self.path.unlink(missing_ok=True)
