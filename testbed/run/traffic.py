"""What the MNs do while they are moved: ping and iperf3 processes.

Each is stopped at its first packet and goes on when it is told to, so that who sends when is no matter of how long a
program takes to start; and each ends when it is told to, so that no stream can run out in the middle of a handover.
"""

import json
import os
import re
import signal
import time
from dataclasses import dataclass
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any, Protocol

from testbed.lab.node import LabError, Node, Process, wait_until
from testbed.lab.processor import uninterrupted
from testbed.run.rhythm import PacketFilter, Tap, echo_request, udp_to

_PING_INTERVAL_S = 0.05
_FIRST_PORT = 5201
_FOREVER_S = 86400  # the longest iperf3 takes
_TAIL_OCTETS = 4096
_LAST_WORDS_OCTETS = 2
_TCP_ESTABLISHED, _TCP_LISTEN = "01", "0A"  # include/net/tcp_states.h
_REPLY = re.compile(r"^\[(\d+\.\d+)\] \d+ bytes from .*time=([\d.]+) ms", re.MULTILINE)
_PING_SUMMARY = re.compile(r"^(\d+) packets transmitted, (\d+) received", re.MULTILINE)


class Ping:
    """`ping` from a MN to an address, several times a second but never with two requests under way at a time.

    It has sent its first request when it is made, and sends nothing more before `go`.
    """

    def __init__(self, node: Node, target: IPv6Address, rtt_s: float, files: Path) -> None:
        self._replies = files / f"{node.name}-ping.txt"
        interval_s = max(_PING_INTERVAL_S, 2 * rtt_s)
        argv = ["ping", "-6", "-n", "-D", "-i", f"{interval_s:g}", str(target)]
        with uninterrupted(), Tap(node, echo_request, outgoing=True) as tap:
            self._process = node.spawn(argv, output=self._replies, errors=files / f"{node.name}-ping.err")
            tap.wait("ping does not start", self._process.require_alive)
            self._process.signal(signal.SIGSTOP)

    def go(self, at_ns: int) -> None:
        """Have it go on at that moment."""
        self._process.resume(at_ns)

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


class Paced(Protocol):
    """What a stream carries: iperf3's options for it."""

    @property
    def options(self) -> list[str]: ...


@dataclass(frozen=True, slots=True)
class Load:
    """What a stream carries: UDP payloads of `packet_size` octets, `rate_pps` a second."""

    rate_pps: float
    packet_size: int

    @property
    def interval_ns(self) -> int:
        """iperf3 looks at its rate whenever its pacing timer fires, which has microseconds.

        At the interval of the packets this is one packet each time, evenly spaced; its default of 1 ms costs a thousand
        wake-ups a second.
        """
        return round(1e6 / self.rate_pps) * 1000

    @property
    def options(self) -> list[str]:
        return [
            *("--udp", "--bitrate", f"{self.rate_pps * self.packet_size * 8:.0f}", "--length", str(self.packet_size)),
            *("--pacing-timer", str(self.interval_ns // 1000)),
        ]


class Stream:
    """One iperf3 UDP stream: the sender is the client, so that ending it ends the receiver behind its last packet.

    `at` is the one address of the receiver's that it is to answer from, where it has several.
    """

    def __init__(self, sender: Node, receiver: Node, port: int, files: Path, *, at: IPv6Address | None = None) -> None:
        self.port = port
        self._name = f"{sender.name}-{receiver.name}-{port}"
        self._files = files
        self._sender_node = sender
        argv = ["iperf3", "--server", "--one-off", "--json", "--interval", "0", "--port", str(port)]
        argv += ["--bind", str(at)] if at else []
        self._receiver = self._spawn(receiver, argv, "receiver")
        self._sender: Process | None = None

    def _spawn(self, node: Node, argv: list[str], side: str) -> Process:
        # Its buffer is a file that it makes right before it sends: in /tmp, maybe on a disk, that would take its time.
        environment = {"TMPDIR": str(self._files)}
        return node.spawn(
            argv, output=self._file(f"{side}.json"), errors=self._file(f"{side}.err"), environment=environment
        )

    def listening(self) -> bool:
        self.require_alive()
        return any(socket[3] == _TCP_LISTEN for socket in self._control_sockets(self._receiver, remote=False))

    def start(self, receiver: IPv6Address, load: Paced, source: IPv6Address | None = None) -> None:
        """Start the sender, once `listening`; it sends nothing but its request to connect before `go`.

        `source` is the address that it sends from; else the kernel chooses.
        """
        argv = [
            *("iperf3", "--client", str(receiver), "--port", str(self.port), "-6", "--json", *load.options),
            *("--time", str(_FOREVER_S), "--interval", "0"),
            *(("--bind", str(source)) if source else ()),
        ]
        with uninterrupted(), Tap(self._sender_node, self._first_packet(), outgoing=True) as tap:
            self._sender = self._spawn(self._sender_node, argv, "sender")
            tap.wait("iperf3 does not connect", self.require_alive)
            self._sender.signal(signal.SIGSTOP)

    def _first_packet(self) -> PacketFilter:
        """The one behind which the sender only waits for words of the receiver: its request to connect."""
        return udp_to(self.port)

    def answered(self) -> bool:
        """Whether all that the sender has still to hear lies in its sockets.

        That is the answer to its request to connect, and behind it two octets on the control connection: TEST_START,
        TEST_RUNNING (`iperf_api.h`).
        """
        self.require_alive()
        assert self._sender is not None
        for socket in self._control_sockets(self._sender, remote=True):
            state, queues = socket[3], socket[4]
            if state == _TCP_ESTABLISHED and int(queues.partition(":")[2], 16) >= _LAST_WORDS_OCTETS:
                return True
        return False

    def go(self, at_ns: int) -> None:
        """Have the sender go on at that moment, once `answered`: it starts its pacing timer and sends."""
        assert self._sender is not None
        self._sender.resume(at_ns)

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
        self._wait_for_ends()
        received, sent = (self._counted(side) for side in ("receiver", "sender"))
        # The rest of the receiver's figures (seconds, rates) are meaningless in iperf3 3.12 when the sender is stopped.
        return {
            **{key: received[key] for key in ("packets", "lost_packets", "out_of_order", "jitter_ms")},
            "packets_sent": sent["packets"],
        }

    def _wait_for_ends(self) -> None:
        assert self._sender is not None
        for process in (self._sender, self._receiver):
            if not process.wait(30.0):
                raise LabError(f"{process.name} did not end: its control connection is broken")

    def _control_sockets(self, process: Process, *, remote: bool) -> list[list[str]]:
        """Lines of /proc/net/tcp6 with this port at that end, split."""
        lines = Path(f"/proc/{process.pid}/net/tcp6").read_text().splitlines()[1:]
        sockets = map(str.split, lines)
        return [socket for socket in sockets if socket[2 if remote else 1].endswith(f":{self.port:04X}")]

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


def stream_ports(number: int) -> tuple[int, int]:
    """UDP ports of the downlink's and the uplink's receiver for the MN of that number, counted from 0."""
    return _FIRST_PORT + 2 * number, _FIRST_PORT + 2 * number + 1
