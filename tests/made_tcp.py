"""TCP segments and acknowledgements made up in a test, on their way through one handover at given milliseconds."""

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from testbed.measurement.measure import measure
from tests.run_builder import (
    ACCESS,
    ADDRESS_OF_MN,
    ADDRESSES,
    COPIES,
    CORE,
    ETH0,
    MS,
    TCP_PORTS,
    RunBuilder,
    ipv6,
)

DETACH, ATTACH, WINDOW_END = 1000.0, 1050.0, 1176.0
OCTETS = 1000
DATA_CLIENT, CONTROL_CLIENT = 40001, 40000


def at_sequence(place: int) -> int:
    """A sequence number: that of the segment counted from 0, in a stream that passes the end of 32 bits behind two."""
    return ((1 << 32) - 2 * OCTETS + place * OCTETS) % (1 << 32)


@dataclass
class MadeTcp:
    """One MN that moves from mag1 to mag2 at 1000 ms, and its TCP stream in one direction."""

    direction: str
    run: RunBuilder = field(default_factory=RunBuilder)

    def __post_init__(self) -> None:
        self.run.spec["tcp_mbps"] = 4.0
        self.run.move("mn", "mag1", "mag2", round(DETACH * MS), round(ATTACH * MS))

    def segment(
        self, place: float, sent: float, *, octets: int = OCTETS, client: int = DATA_CLIENT, **way: Any
    ) -> None:
        """Data from that segment on, sent at that moment; `way` as of `_frames`."""
        packet = self._data(place, sent, octets, client)
        self._frames(packet, sent, downlink=self.direction == "downlink", **way)

    def seen(self, place: float, sent: float, *, arrived: float, octets: int, push: bool = False) -> None:
        """A frame at the receiver that is no segment as it was sent."""
        packet = bytearray(self._data(place, sent, octets, DATA_CLIENT))
        packet[53] |= 0x08 if push else 0
        self._frames(bytes(packet), 0, downlink=self.direction == "downlink", arrived=arrived)

    def _data(self, place: float, sent: float, octets: int, client: int) -> bytes:
        ends = client, TCP_PORTS["mn"][self.direction]
        return _tcp(ends, (at_sequence(0) + round(place * OCTETS), 1), sent, (), bytes(octets))

    def ack(self, place: int, sent: float, *, block: tuple[int, int] | None = None, **way: Any) -> None:
        """What is before that segment is there, and the segments of `block`, from the first up to the second."""
        ends = TCP_PORTS["mn"][self.direction], DATA_CLIENT
        packet = _tcp(ends, (1, at_sequence(place)), sent, block or (), b"")
        self._frames(packet, sent, downlink=self.direction == "uplink", **way)

    def measured(self, path: Path) -> dict[str, Any]:
        return measure(self.run.write(path / "run"))

    def again(self, path: Path) -> dict[str, int]:
        """What the measurement says was sent again in the handover, by cause; only what there was."""
        (handover,) = self.measured(path)["handovers"]
        retransmitted = handover["tcp"][self.direction]["retransmitted"]
        causes = {cause: count for cause, count in retransmitted.items() if count and cause != "all"}
        assert retransmitted["all"] == sum(causes.values())
        return causes

    def _frames(
        self,
        packet: bytes,
        sent: float,
        *,
        downlink: bool,
        mag: str = "",
        offered: float = 0,
        crossed: float = 0,
        arrived: float = 0,
        copy: float = 0,
    ) -> None:
        """Sent, offered to a MAG's access link, over it, arrived, once more: those that are given, in milliseconds."""
        first, last = (("cn", CORE), ("mn", ETH0)) if downlink else (("mn", ETH0), ("cn", CORE))
        if sent:
            self._frame(*first, sent, packet, outgoing=True)
        if downlink and (offered or crossed):
            self._frame(mag, COPIES, offered or crossed, packet, outgoing=True)
        if crossed:
            self._frame(mag, ACCESS["mn"], crossed, packet, outgoing=downlink)
        for moment in (arrived, copy):
            if moment:
                self._frame(*last, moment, packet, outgoing=False)

    def _frame(self, node: str, interface: int, moment: float, packet: bytes, *, outgoing: bool) -> None:
        # The kernel leaves the checksum to the device: it differs from place to place.
        self.run.frame(node, round(moment * MS), interface, _with_checksum(packet, interface), outgoing=outgoing)


def _tcp(ends: tuple[int, int], numbers: tuple[int, int], sent_ms: float, block: tuple[int, ...], data: bytes) -> bytes:
    options = struct.pack("!BBBBII", 1, 1, 8, 10, int(sent_ms), 4711)
    if block:
        options += struct.pack("!BBBBII", 1, 1, 5, 10, *map(at_sequence, block))
    sequence, ack = (number % (1 << 32) for number in numbers)
    header = struct.pack("!HHIIBBHHH", *ends, sequence, ack, (20 + len(options)) // 4 << 4, 0x10, 500, 0, 0)
    own, cn = ADDRESS_OF_MN["mn"], ADDRESSES["cn"]
    # The client is the sender: the downlink's is CN.
    to_mn = ends[1] == TCP_PORTS["mn"]["downlink"] or ends[0] == TCP_PORTS["mn"]["uplink"]
    return ipv6(*((cn, own) if to_mn else (own, cn)), 6, header + options + data)


def _with_checksum(packet: bytes, checksum: int) -> bytes:
    return packet[:56] + checksum.to_bytes(2) + packet[58:]
