"""One iperf3 TCP stream, started and ended as the UDP ones are (`traffic.py`).

What is sent is paced by iperf3 (`--bitrate`): a segment at a time as long as the path carries it. After a silence it
catches up with its rate, as fast as TCP lets it.
"""

import json
import socket
from dataclasses import dataclass
from typing import Any

from testbed.lab.node import LabError, Node
from testbed.run.rhythm import PacketFilter
from testbed.run.traffic import Stream

DEFAULT_MBPS = 4.0
# With headers and timestamps below any path MTU of the lab: each write is a segment, none is found too big on its way.
SEGMENT_OCTETS = 1250
_FIRST_PORT = 20001  # behind those of the UDP streams
_IPV6_OCTETS = 40


@dataclass(frozen=True, slots=True)
class TcpLoad:
    """What a TCP stream carries; `iperf3 --bitrate` counts payload."""

    mbps: float

    @property
    def interval_ns(self) -> int:
        """From segment to segment: whole microseconds, as the pacing timer has them."""
        return round(SEGMENT_OCTETS * 8 / self.mbps) * 1000

    @property
    def options(self) -> list[str]:
        return [
            *("--no-delay", "--bitrate", f"{self.mbps * 1e6:.0f}", "--length", str(SEGMENT_OCTETS)),
            *("--pacing-timer", str(self.interval_ns // 1000)),
        ]


class TcpStream(Stream):
    """The sender is the client and is stopped when its data connection is there."""

    def _first_packet(self) -> PacketFilter:
        """That of the second connection which has data: its cookie. Behind it the sender waits for TEST_START."""
        port, control = self.port.to_bytes(2), bytearray()

        def wanted(packet: bytes) -> bool:
            if packet[6:7] != bytes([socket.IPPROTO_TCP]) or packet[42:44] != port:
                return False
            header_octets = (packet[52] >> 4) * 4
            if int.from_bytes(packet[4:6]) <= header_octets:
                return False
            if not control:
                control.extend(packet[_IPV6_OCTETS:42])
            return packet[_IPV6_OCTETS:42] != control

        return wanted

    def drained(self) -> bool:
        """Whether the receiver's kernel has acknowledged all that was written."""
        self.require_alive()
        assert self._sender is not None
        sockets = self._control_sockets(self._sender, remote=True)
        return all(int(queues.partition(":")[0], 16) == 0 for queues in (socket[4] for socket in sockets))

    def result(self) -> dict[str, Any]:
        """What the sender counted, once both ends have ended."""
        self._wait_for_ends()
        report = json.loads(self._file("sender.json").read_text())
        try:
            sent = report["end"]["sum_sent"]
            return {"octets_sent": sent["bytes"], "retransmits": sent["retransmits"]}
        except KeyError:
            raise LabError(f"iperf3 {self._name}: no result: {report.get('error', 'nothing was said')}") from None


def send_single_segments(node: Node, interface: str) -> None:
    """Have the kernel cut what TCP sends there into segments of a packet each before it is captured.

    Else several would leave as one large frame, which is cut somewhere on its way, and a packet has no identity.
    """
    node.run(["ip", "link", "set", "dev", interface, "gso_max_segs", "1"])


def tcp_ports(number: int) -> tuple[int, int]:
    """TCP ports of the downlink's and the uplink's receiver for the MN of that number, counted from 0."""
    return _FIRST_PORT + 2 * number, _FIRST_PORT + 2 * number + 1
