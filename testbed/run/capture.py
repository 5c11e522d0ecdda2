"""tcpdump in the nodes of a lab: whole captures, or an error."""

import os
import re
import secrets
import signal
import socket
from collections.abc import Mapping
from pathlib import Path

from testbed.lab.node import LabError, Node, wait_until

_TAIL_OCTETS = 65536
_DISCARD_PORT = 9
# Of the kernel's ring. A block of it has 256 KiB and is tcpdump's when it is full or a second old: where little happens
# 4 MiB last for 16 s. Where several virtual machines share a processor that was too short: a few MNs have more.
_MN_KIB = 4096
_FIXED_KIB = 16384  # carry the traffic of all MNs, and see each packet twice or thrice


class Capture:
    """tcpdump in a node: all interfaces, whole packets, nanoseconds; with `only`, a filter, of what it lets through."""

    def __init__(self, node: Node, file: Path, errors: Path, buffer_kib: int, only: str = "") -> None:
        self._node = node
        self._file = file
        self._errors = errors
        self._marker = f"end of capture {secrets.token_hex(8)}".encode()
        argv = [
            # -U: each packet is in the file once it is written. To have it flushed when wanted (SIGUSR2) is no good:
            # that is done in the signal's handler, be it in the middle of a packet, which is broken then.
            *("tcpdump", "-i", "any", "-y", "LINUX_SLL2", "--time-stamp-precision=nano", "-n", "-U"),
            # The buffer is the kernel's: what arrives while tcpdump does not get the processor.
            *("-B", str(buffer_kib), "-Z", "root", "-w", str(file)),
            *([f"({only}) or udp dst port {_DISCARD_PORT}"] if only else []),
        ]
        # It has the processor when nobody else wants it: the ring holds seconds, and who is captured, or the kernel's
        # own threads, shall not wait for it (which for a nice process they do, three quarters of a millisecond).
        self._process = node.spawn(argv, output=errors, errors=errors, policy=os.SCHED_IDLE)

    def listening(self) -> bool:
        self._process.require_alive()
        return b"listening on any" in self._errors.read_bytes()

    def mark(self) -> None:
        """Put a packet behind everything there is to see: once it is in the file, all is."""
        with self._node.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(self._marker, ("::1", _DISCARD_PORT))

    def complete(self) -> bool:
        """Whether the marker has reached the file. The kernel hands blocks over when they are full or a second old."""
        self._process.require_alive()
        with self._file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - _TAIL_OCTETS))
            return self._marker in file.read()

    def stop(self) -> None:
        """Raises LabError when the kernel had to drop packets for want of buffer."""
        self._process.stop(signal.SIGINT)
        said = self._errors.read_text()
        dropped = re.search(r"(\d+) packets? dropped by kernel", said)
        if not dropped or int(dropped[1]):
            raise LabError(f"the capture in {self._node.name} is not complete: {dropped[0] if dropped else said}")


def capture_all(
    nodes: Mapping[str, Node], mns: set[str], directory: Path, logs: Path, only: Mapping[str, str]
) -> list[Capture]:
    """A capture in each node, listening; of some nodes `only` what a filter lets through."""
    captures = []
    for name, node in nodes.items():
        buffer_kib = max(_MN_KIB, _FIXED_KIB // len(mns)) if name in mns else _FIXED_KIB
        file, errors = directory / f"{name}.pcap", logs / f"{name}-tcpdump.txt"
        captures.append(Capture(node, file, errors, buffer_kib, only.get(name, "")))
    for capture in captures:
        wait_until(capture.listening, "tcpdump is not listening")
    return captures


def stop_all(captures: list[Capture]) -> None:
    """End them when all that has happened so far is in the files."""
    for capture in captures:
        capture.mark()
    for capture in captures:
        wait_until(capture.complete, "tcpdump does not write what it saw", poll_s=0.1)
    for capture in captures:
        capture.stop()
