"""What the MNs do while they are moved, and what is seen of it: ping, iperf3 and tcpdump processes.

Each ends when it is told to, not by its clock, so that no stream can run out in the middle of a handover.
"""

import json
import os
import re
import secrets
import signal
import socket
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from testbed.node import LabError, Node, Process, wait_until

_PING_INTERVAL_S = 0.05
_FIRST_PORT = 5201
_FOREVER_S = 86400  # the longest iperf3 takes
_TAIL_OCTETS = 4096
_DISCARD_PORT = 9
_MN_KIB = 4096
_FIXED_KIB = 16384  # carry the traffic of all MNs, and see each packet twice or thrice
_TCP_ESTABLISHED, _TCP_LISTEN = "01", "0A"  # include/net/tcp_states.h
_ETH_P_IPV6 = 0x86DD
_SO_TIMESTAMPNS = 35
_TIMESPEC = struct.Struct("@qq")
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*time=([\d.]+) ms", re.MULTILINE)
_PING_SUMMARY = re.compile(r"^(\d+) packets transmitted, (\d+) received", re.MULTILINE)


class Ping:
    """`ping` from a MN to an address, several times a second but never with two requests under way at a time."""

    def __init__(self, node: Node, target: IPv6Address, rtt_s: float, files: Path) -> None:
        self._replies = files / f"{node.name}-ping.txt"
        interval_s = max(_PING_INTERVAL_S, 2 * rtt_s)
        argv = ["ping", "-6", "-n", "-D", "-i", f"{interval_s:g}", str(target)]
        self._process = node.spawn(argv, output=self._replies, errors=files / f"{node.name}-ping.err")

    def answered_since(self, moment_ns: int) -> bool:
        """Whether a request sent after that moment (CLOCK_REALTIME) has been answered: both ways work again."""
        self._process.require_alive()
        with self._replies.open("rb") as replies:
            size = replies.seek(0, os.SEEK_END)
            replies.seek(max(0, size - _TAIL_OCTETS))
            tail = replies.read().decode(errors="replace")
        return any(
            float(received_s) - float(rtt_ms) / 1e3 > moment_ns / 1e9 for received_s, rtt_ms in _REPLY.findall(tail)
        )

    def stop(self) -> dict[str, int]:
        """Stop it while no request is under way; `sent` and `received` as it says."""
        now_ns = time.clock_gettime_ns(time.CLOCK_REALTIME)
        wait_until(lambda: self.answered_since(now_ns), "ping gets no answer any more", poll_s=0.005)
        self._process.stop(signal.SIGINT)
        counts = _PING_SUMMARY.search(self._replies.read_text())
        if not counts:
            raise LabError(f"{self._process.name} gave no summary{self._process.last_words()}")
        return {"sent": int(counts[1]), "received": int(counts[2])}


@dataclass(frozen=True, slots=True)
class Load:
    """What a stream carries: UDP payloads of `packet_size` octets, `rate_pps` a second."""

    rate_pps: float
    packet_size: int


class Stream:
    """One iperf3 UDP stream: the sender is the client, so that ending it ends the receiver behind its last packet."""

    def __init__(self, sender: Node, receiver: Node, port: int, files: Path) -> None:
        self.port = port
        self._name = f"{sender.name}-{receiver.name}-{port}"
        self._files = files
        self._sender_node = sender
        argv = ["iperf3", "--server", "--one-off", "--json", "--interval", "0", "--port", str(port)]
        self._receiver = receiver.spawn(argv, output=self._file("receiver.json"), errors=self._file("receiver.err"))
        self._sender: Process | None = None

    def listening(self) -> bool:
        return self._has_control_socket(_TCP_LISTEN)

    def start(self, receiver: IPv6Address, load: Load) -> None:
        """Start the sender, once `listening`; it sends nothing before `release`."""
        self._receiver.signal(signal.SIGSTOP)
        # iperf3 looks at its rate whenever its pacing timer fires: at the interval of the packets this is one packet
        # each time, evenly spaced; its default of 1 ms costs a thousand wake-ups a second.
        interval_us = round(1e6 / load.rate_pps)
        rate = load.rate_pps * load.packet_size * 8
        self._sender = self._sender_node.spawn(
            [
                *("iperf3", "--client", str(receiver), "--port", str(self.port), "-6", "--udp", "--json"),
                *("--bitrate", f"{rate:.0f}", "--length", str(load.packet_size), "--pacing-timer", str(interval_us)),
                *("--time", str(_FOREVER_S), "--interval", "0"),
            ],
            output=self._file("sender.json"),
            errors=self._file("sender.err"),
        )

    def calling(self) -> bool:
        """Whether the sender waits for the receiver's first word."""
        return self._has_control_socket(_TCP_ESTABLISHED)

    def release(self) -> None:
        """Have the receiver answer, once the sender is `calling`.

        From here on it is a fixed exchange of messages to the first packet; starting a program is not so punctual.
        """
        self._receiver.signal(signal.SIGCONT)

    def connected(self) -> bool:
        """Whether the sender has its UDP socket, which it opens last of all."""
        self.require_alive()
        assert self._sender is not None
        sockets = Path(f"/proc/{self._sender.pid}/net/udp6").read_text().splitlines()[1:]
        return any(line.split()[2].endswith(f":{self.port:04X}") for line in sockets)

    def require_alive(self) -> None:
        """Raises LabError with iperf3's own words when an end of the stream has gone."""
        for process, side in ((self._receiver, "receiver"), (self._sender, "sender")):
            if process and process.ended():
                complaint = _load(self._file(f"{side}.json")).get("error", "")
                raise LabError(
                    f"{process.name} ended early with {process.returncode}: {complaint}{process.last_words()}"
                )

    def pause(self) -> None:
        """Have the sender send nothing more."""
        assert self._sender is not None
        self._sender.signal(signal.SIGSTOP)

    def end(self) -> None:
        """After `pause`, when nothing is under way any more: have the sender tell the receiver that this was all.

        A receiver that hears of the end leaves unread what has arrived but not been counted.
        """
        assert self._sender is not None
        self._sender.signal(signal.SIGTERM)
        self._sender.signal(signal.SIGCONT)

    def result(self) -> dict[str, Any]:
        """What iperf3 counted, once both ends have ended: of the receiver, and `packets_sent` of the sender."""
        assert self._sender is not None
        for process in (self._sender, self._receiver):
            if not process.wait(30.0):
                raise LabError(f"{process.name} did not end: its control connection is broken")
        received, sent = (self._counted(side) for side in ("receiver", "sender"))
        # The rest of the receiver's figures (seconds, rates) are meaningless in iperf3 3.12 when the sender is stopped.
        return {
            **{key: received[key] for key in ("packets", "lost_packets", "out_of_order", "jitter_ms")},
            "packets_sent": sent["packets"],
        }

    def _has_control_socket(self, state: str) -> bool:
        self.require_alive()
        sockets = Path(f"/proc/{self._receiver.pid}/net/tcp6").read_text().splitlines()[1:]
        return any(fields[1].endswith(f":{self.port:04X}") and fields[3] == state for fields in map(str.split, sockets))

    def _counted(self, side: str) -> dict[str, Any]:
        report = _load(self._file(f"{side}.json"))
        try:
            counted: dict[str, Any] = report["end"]["streams"][0]["udp"]
        except (KeyError, IndexError):
            raise LabError(f"iperf3 {self._name}: no result: {report.get('error', 'nothing was said')}") from None
        return counted

    def _file(self, suffix: str) -> Path:
        return self._files / f"{self._name}-{suffix}"


def _load(path: Path) -> dict[str, Any]:
    text = path.read_text()
    report: dict[str, Any] = json.loads(text) if text else {}
    return report


def next_arrival_ns(receiver: Node, port: int, timeout_s: float = 30.0) -> int:
    """When (CLOCK_REALTIME) the next packet of the stream to that port reaches its receiver."""
    with receiver.inside():
        tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(_ETH_P_IPV6))
    with tap:
        tap.settimeout(timeout_s)
        tap.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        while True:
            packet, ancillary, _, (_, _, direction, *_) = tap.recvmsg(_TAIL_OCTETS, socket.CMSG_SPACE(_TIMESPEC.size))
            if (
                direction == socket.PACKET_HOST
                and packet[6] == socket.IPPROTO_UDP
                and packet[42:44] == port.to_bytes(2)
            ):
                seconds, nanoseconds = _TIMESPEC.unpack(ancillary[0][2])
                return int(seconds * 1_000_000_000 + nanoseconds)


def stream_ports(number: int) -> tuple[int, int]:
    """UDP ports of the downlink's and the uplink's receiver for the MN of that number, counted from 0."""
    return _FIRST_PORT + 2 * number, _FIRST_PORT + 2 * number + 1


class Capture:
    """tcpdump in a node: all interfaces, whole packets, nanoseconds; with `only`, a filter, of what it lets through."""

    def __init__(self, node: Node, file: Path, errors: Path, buffer_kib: int, only: str = "") -> None:
        self._node = node
        self._file = file
        self._errors = errors
        self._marker = f"end of capture {secrets.token_hex(8)}".encode()
        argv = [
            *("tcpdump", "-i", "any", "-y", "LINUX_SLL2", "--time-stamp-precision=nano", "-n"),
            # The buffer is the kernel's: what arrives while tcpdump does not get the processor.
            *("-B", str(buffer_kib), "-Z", "root", "-w", str(file)),
            *([f"({only}) or udp dst port {_DISCARD_PORT}"] if only else []),
        ]
        # Last in line for the processor: the ring holds seconds, and who is captured shall not wait for it.
        self._process = node.spawn(argv, output=errors, errors=errors, niceness=19)

    def listening(self) -> bool:
        self._process.require_alive()
        return b"listening on any" in self._errors.read_bytes()

    def mark(self) -> None:
        """Put a packet behind everything there is to see: once it is in the file, all is."""
        with self._node.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as sender:
            sender.sendto(self._marker, ("::1", _DISCARD_PORT))

    def complete(self) -> bool:
        """Whether the marker has reached the file. The kernel hands blocks over when they are full or a second old."""
        self._process.signal(signal.SIGUSR2)  # "flush to the file"
        with self._file.open("rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - 16 * _TAIL_OCTETS))
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
        buffer_kib = _MN_KIB if name in mns else _FIXED_KIB
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
