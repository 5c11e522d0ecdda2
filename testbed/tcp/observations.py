"""What the captures say of the TCP streams: where each segment and each acknowledgement was seen, and when.

A stream is the one connection to its receiver's port that carries the data; the other one is iperf3's control. What is
sent again bears the same sequence number, so identity is what a sender changes from sending to sending: the whole TCP
header, timestamps (RFC 7323) among it, but not the checksum, which the kernel leaves to the device. At the end of a
tunnel the kernel may merge segments that come close together (GRO) and send them on as one frame: its header is the
first one's, with the last one's push flag. They are told apart again.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from testbed.measurement.observations import (
    CN,
    DIRECTIONS,
    DOWNLINK,
    UPLINK,
    Arrival,
    Flow,
    OnAccessLink,
    Place,
    places,
)
from testbed.measurement.pcap import ipv6_frames
from testbed.run.run_directory import RunDirectory

_TCP = 6
_IPV6_OCTETS, _TCP_OCTETS = 40, 20
_PUSH, _ACK = 0x08, 0x10
_NO_OPERATION, _SACK = 1, 5
_ENCLOSING = 1 << 32


class Segment(NamedTuple):
    """Sequence numbers of a segment's data, from `start` up to `end`; they go on where 32 bits end."""

    start: int
    end: int


class Acknowledgement(NamedTuple):
    """What a receiver says that it has: all before `next`, and these blocks (RFC 2018, RFC 2883)."""

    next: int
    blocks: tuple[Segment, ...]

    def has(self, end: int) -> bool:
        """Whether the data before `end` is there."""
        return self.next >= end or any(block.start < end <= block.end for block in self.blocks)


@dataclass(frozen=True, slots=True)
class TcpFlow:
    """One stream. `data` and `acks` number what left its sender from 1, whatever was in it; `strays` counts packets
    that were captured on their way but not leaving."""

    data: Flow
    acks: Flow
    segments: dict[int, Segment]
    acknowledged: dict[int, Acknowledgement]
    strays: int


def observe_tcp(run: RunDirectory) -> dict[tuple[str, str], TcpFlow]:
    """Every stream of the run, by MN and direction. Raises CaptureError or MeasurementError."""
    connections: _Connections = defaultdict(_Connection)
    nodes = [CN, *sorted(run.mags()), *dict.fromkeys(map(run.node_of, run.mns))]
    for node in nodes:
        _observe_node(run, node, connections)
    flows = {}
    for name, mn in run.mns.items():
        for direction in DIRECTIONS:
            mine = [one for key, one in connections.items() if key[:2] == (name, direction)]
            busiest = max(mine, key=lambda one: one.octets, default=_Connection())
            flows[name, direction] = busiest.flow(mn.tcp_ports.get(direction, 0))
    return flows


class _Sighting(NamedTuple):
    t_ns: int
    header: bytes  # of TCP, without checksum and push flag
    octets: int  # of data


@dataclass(slots=True)
class _Way:
    """One way of a connection."""

    left: list[_Sighting] = field(default_factory=list)
    offered: list[tuple[_Sighting, str]] = field(default_factory=list)
    crossed: list[tuple[_Sighting, str]] = field(default_factory=list)
    arrived: list[_Sighting] = field(default_factory=list)

    def add(self, place: Place, node: str, seen: _Sighting) -> None:
        match place.step:
            case "leave":
                self.left.append(seen)
            case "offer":
                self.offered.append((seen, node))
            case "cross":
                self.crossed.append((seen, node))
            case "arrive":
                self.arrived.append(seen)

    def flow(self, port: int) -> tuple[Flow, int]:
        """As a flow of numbered packets, and how many sightings are of none of them."""
        flow, strays = Flow(port), 0
        numbers: defaultdict[bytes, list[int]] = defaultdict(list)
        for own, seen in enumerate(self.left, 1):
            flow.sent[own] = seen.t_ns
            numbers[seen.header].append(own)
        for seen_at_mags, found in ((self.offered, flow.offered), (self.crossed, flow.access)):
            for mag in {mag for _, mag in seen_at_mags}:
                for t_ns, number in self._numbered((seen for seen, where in seen_at_mags if where == mag), numbers):
                    found.extend([OnAccessLink(t_ns, number, mag)] if number else [])
                    strays += not number
            found.sort()
        for t_ns, number in self._numbered(self.arrived, numbers):
            flow.arrivals += [Arrival(t_ns, number)] if number else []
            strays += not number
        return flow, strays

    def _numbered(
        self, sightings: Iterable[_Sighting], numbers: Mapping[bytes, list[int]]
    ) -> Iterator[tuple[int, int | None]]:
        """When each was seen, and which one it is, None if none. Where several that left are the same (acknowledgements
        within a millisecond), their order tells them apart, and it does not matter."""
        times: defaultdict[bytes, int] = defaultdict(int)
        for t_ns, first_header, octets in sightings:
            header, left = first_header, octets
            while same := numbers.get(header):
                number = same[min(times[header], len(same) - 1)]
                if (left := left - self.left[number - 1].octets) < 0:
                    break
                times[header] += 1
                yield t_ns, number
                if not left:
                    break
                header = _header_behind(first_header, octets - left)
            if not same or left:
                yield t_ns, None


@dataclass(slots=True)
class _Connection:
    data: _Way = field(default_factory=_Way)
    acks: _Way = field(default_factory=_Way)

    @property
    def octets(self) -> int:
        return sum(seen.octets for seen in self.data.left)

    def flow(self, port: int) -> TcpFlow:
        data, stray_data = self.data.flow(port)
        acks, stray_acks = self.acks.flow(port)
        near = _sequence_number(self.data.left[0].header) if self.data.left else 0
        segments, acknowledged = {}, {}
        for number, seen in enumerate(self.data.left, 1):
            near = _nearest(_sequence_number(seen.header), near)
            segments[number] = Segment(near, near + seen.octets)
        near = segments[1].start if segments else 0
        for number, seen in enumerate(self.acks.left, 1):
            near = _nearest(int.from_bytes(seen.header[8:12]), near)
            acknowledged[number] = Acknowledgement(near, tuple(_blocks(seen.header, near)))
        return TcpFlow(data, acks, segments, acknowledged, stray_data + stray_acks)


_Connections = defaultdict[tuple[str, str, int], _Connection]  # MN, direction, client's port


def _observe_node(run: RunDirectory, node: str, connections: _Connections) -> None:
    points: dict[tuple[int, bool], dict[bytes, Place]] = defaultdict(dict)
    for look in places(run, node):
        points[look.where][run.mns[look.mn].prefix] = look
    for t_ns, interface, outgoing, packet in ipv6_frames(run.capture(node)):
        if packet[6] != _TCP or not (point := points.get((interface, outgoing))):
            continue
        place = point.get(packet[next(iter(point.values())).prefix])
        if place is None:
            continue
        ports = run.mns[place.mn].tcp_ports
        source, destination = int.from_bytes(packet[40:42]), int.from_bytes(packet[42:44])
        header_octets = (packet[52] >> 4) * 4
        seen = _Sighting(
            t_ns,
            packet[_IPV6_OCTETS:53]
            + bytes([packet[53] & ~_PUSH])
            + packet[54:56]
            + packet[58 : _IPV6_OCTETS + header_octets],
            len(packet) - _IPV6_OCTETS - header_octets,
        )
        other = UPLINK if place.direction == DOWNLINK else DOWNLINK
        if destination == ports.get(place.direction):
            if seen.octets:
                connections[place.mn, place.direction, source].data.add(place, node, seen)
        elif source == ports.get(other) and packet[53] & _ACK:
            connections[place.mn, other, destination].acks.add(place, node, seen)


def _sequence_number(header: bytes) -> int:
    return int.from_bytes(header[4:8])


def _header_behind(header: bytes, octets: int) -> bytes:
    """That of a segment so much further on."""
    return header[:4] + ((_sequence_number(header) + octets) % _ENCLOSING).to_bytes(4) + header[8:]


def _nearest(number: int, near: int) -> int:
    """The number that has these 32 bits, nearest to another one."""
    half = _ENCLOSING // 2
    return near + (number - near + half) % _ENCLOSING - half


def _blocks(header: bytes, near: int) -> Iterator[Segment]:
    options, at = header[_TCP_OCTETS - 2 :], 0
    while at < len(options) and options[at]:
        if options[at] == _NO_OPERATION:
            at += 1
            continue
        octets = options[at + 1]
        if options[at] == _SACK:
            for start in range(at + 2, at + octets, 8):
                left, right = (int.from_bytes(options[edge : edge + 4]) for edge in (start, start + 4))
                yield Segment(_nearest(left, near), _nearest(right, near))
        at += octets
