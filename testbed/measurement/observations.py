"""What the captures say: where each test packet, signalling message and ping was seen, and when.

A test packet is a UDP datagram of iperf3 with its number in front (`iperf_udp.c`: seconds, microseconds, number; that
has 64 bits with --udp-counters-64bit). Its identity is (MN, direction, number): a flow holds one MN and direction.
"""

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import cache, cached_property
from ipaddress import IPv6Address
from typing import Literal, NamedTuple

from common.errors import MalformedMessage
from common.mh.messages import Message
from testbed.measurement.fragments import Fragments
from testbed.measurement.pcap import ipv6_frames
from testbed.run.mirror import COPIES
from testbed.run.run_directory import PREFIX_OCTETS, MeasurementError, RunDirectory

CN, LMA = "cn", "lma"
DOWNLINK, UPLINK = "downlink", "uplink"
DIRECTIONS = (DOWNLINK, UPLINK)

_IPV6_OCTETS = 40
_UDP, _FRAGMENT, _ICMPV6, _MOBILITY_HEADER = 17, 44, 58, 135
_ECHO_REQUEST, _ECHO_REPLY = 128, 129
# UDP header, seconds, microseconds, then either a 32-bit number and data or a number of 64 bits
_TEST_PACKET = struct.Struct("!HHHHIIII")
_ECHO = struct.Struct("!BBHHH")  # type, code, checksum, identifier, sequence
_SOURCE = slice(8, 8 + PREFIX_OCTETS)
_DESTINATION = slice(24, 24 + PREFIX_OCTETS)


class Arrival(NamedTuple):
    t_ns: int
    number: int


class OnAccessLink(NamedTuple):
    """Seen at a MAG's access interface: downlink as it leaves, uplink as it comes in."""

    t_ns: int
    number: int
    mag: str


@dataclass
class Flow:
    """One MN's test packets in one direction, by their number; `arrivals` has every copy, in the receiver's order.

    `offered` has what a MAG gave to its access link, whether or not the link took it (`mirror.py`).
    """

    port: int
    sent: dict[int, int] = field(default_factory=dict)  # number -> when it left the sender's interface, ns
    access: list[OnAccessLink] = field(default_factory=list)
    offered: list[OnAccessLink] = field(default_factory=list)
    arrivals: list[Arrival] = field(default_factory=list)
    stream: tuple[int, int] | None = None  # source and destination port

    @cached_property
    def arrivals_in_time(self) -> list[Arrival]:
        return sorted(self.arrivals)

    @cached_property
    def arrival_times(self) -> list[int]:
        return [arrival.t_ns for arrival in self.arrivals_in_time]

    @cached_property
    def sending_ns(self) -> tuple[int, int]:
        """When the first and the last packet left."""
        return min(self.sent.values()), max(self.sent.values())

    def leave(self, t_ns: int, number: int, stream: tuple[int, int], _: str) -> None:
        if self.stream not in (None, stream) or number in self.sent:
            raise MeasurementError(f"more than one iperf3 stream on UDP port {self.port}: packets have no identity")
        self.stream = stream
        self.sent[number] = t_ns

    def cross(self, t_ns: int, number: int, _: tuple[int, int], mag: str) -> None:
        self.access.append(OnAccessLink(t_ns, number, mag))

    def offer(self, t_ns: int, number: int, _: tuple[int, int], mag: str) -> None:
        self.offered.append(OnAccessLink(t_ns, number, mag))

    def arrive(self, t_ns: int, number: int, _: tuple[int, int], __: str) -> None:
        self.arrivals.append(Arrival(t_ns, number))


class Signal(NamedTuple):
    """A Mobility Header packet at the node that sent it or the one it is for. `octets` counts the IPv6 packet."""

    t_ns: int
    node: str
    sent: bool
    peer: str
    octets: int
    message: Message | None  # None: not decodable

    @property
    def name(self) -> str:
        return self.message.name if self.message else "malformed"

    @property
    def mn_id(self) -> str | None:
        mn_id = getattr(self.message, "mn_id", None)
        return None if mn_id is None else str(mn_id)


@dataclass(slots=True)
class Echoes:
    """Sequence numbers of an MN's echo requests and of the replies it got, by identifier (one for each `ping`)."""

    requests: dict[int, set[int]] = field(default_factory=dict)
    replies: dict[int, set[int]] = field(default_factory=dict)


@dataclass(slots=True)
class Observations:
    flows: dict[tuple[str, str], Flow]  # (MN, direction)
    echoes: dict[str, Echoes]
    signals: list[Signal]  # in the order of time

    def signals_about(self, mn_id: str) -> list[Signal]:
        return [signal for signal in self.signals if signal.mn_id == mn_id]


def observe(run: RunDirectory) -> Observations:
    """Read every capture of the run. Raises CaptureError or MeasurementError."""
    seen = Observations(
        flows={
            (name, direction): Flow(mn.downlink_port if direction == DOWNLINK else mn.uplink_port)
            for name, mn in run.mns.items()
            for direction in DIRECTIONS
        },
        echoes={run.node_of(name): Echoes() for name in run.mns},
        signals=[],
    )
    for node in [CN, LMA, *sorted(run.mags()), *seen.echoes]:
        _observe_node(run, node, seen)
    seen.signals.sort(key=lambda signal: signal.t_ns)
    for flow in seen.flows.values():
        flow.access.sort()
        flow.offered.sort()
    return seen


_Record = Callable[[int, int, tuple[int, int], str], None]


class Place(NamedTuple):
    """An interface and way at which a node sees one MN's packets of a direction, and what they do there: leave their
    sender, are offered to an access link, cross it, arrive."""

    interface: int
    outgoing: bool
    mn: str
    direction: str
    step: Literal["leave", "offer", "cross", "arrive"]

    @property
    def where(self) -> tuple[int, bool]:
        return self.interface, self.outgoing

    @property
    def prefix(self) -> slice:
        """Where in a packet the MN's home network prefix is."""
        return _DESTINATION if self.direction == DOWNLINK else _SOURCE


def places(run: RunDirectory, node: str) -> Iterator[Place]:
    """What to look for at a node. Raises MeasurementError if it is not known."""
    if node not in run.nodes:
        raise MeasurementError(f"run.json: no node {node!r}")
    interfaces = run.nodes[node]
    for name, mn in run.mns.items():
        if node == CN:
            for index in (index for index, interface in interfaces.interfaces.items() if interface != "lo"):
                yield Place(index, True, name, DOWNLINK, "leave")
                yield Place(index, False, name, UPLINK, "arrive")
        elif node == run.node_of(name):
            yield Place(interfaces.index(mn.interface), True, name, UPLINK, "leave")
            yield Place(interfaces.index(mn.interface), False, name, DOWNLINK, "arrive")
        elif node in mn.access:
            yield Place(interfaces.index(mn.access[node]), True, name, DOWNLINK, "cross")
            yield Place(interfaces.index(mn.access[node]), False, name, UPLINK, "cross")
            yield Place(interfaces.index(COPIES), True, name, DOWNLINK, "offer")


class _Point(NamedTuple):
    """An interface and way at which test packets are looked for: those of the flow that this prefix belongs to."""

    prefix: slice
    recorders: dict[bytes, tuple[int, _Record]]  # home network prefix -> the flow's port, what to do with a packet


def _points(run: RunDirectory, node: str, seen: Observations) -> dict[tuple[int, bool], _Point]:
    """For a node's (interface index, outgoing): what to look for there."""
    points: dict[tuple[int, bool], _Point] = {}
    for place in places(run, node):
        flow = seen.flows[place.mn, place.direction]
        records: dict[str, _Record] = {
            "leave": flow.leave,
            "offer": flow.offer,
            "cross": flow.cross,
            "arrive": flow.arrive,
        }
        point = points.setdefault(place.where, _Point(place.prefix, {}))
        point.recorders[run.mns[place.mn].prefix] = (flow.port, records[place.step])
    return points


def _observe_node(run: RunDirectory, node: str, seen: Observations) -> None:
    points = _points(run, node, seen)
    names = {other.address: name for name, other in run.nodes.items() if other.address}
    address = run.nodes[node].address
    octets_of_address = address.packed if address else b""
    fragments = Fragments()

    def signal(t_ns: int, where: tuple[int, bool], packet: bytes, header: bytes, octets: int) -> None:
        interface, outgoing = where
        own = packet[8:24] if outgoing else packet[24:40]
        if own == octets_of_address and run.nodes[node].interfaces.get(interface) != "lo":
            peer = IPv6Address(packet[24:40] if outgoing else packet[8:24])
            seen.signals.append(Signal(t_ns, node, outgoing, names.get(peer, str(peer)), octets, _decoded(header)))

    for t_ns, interface, outgoing, packet in ipv6_frames(run.capture(node)):
        next_header = packet[6]
        if next_header == _UDP:
            point = points.get((interface, outgoing))
            if point is None or len(packet) < _IPV6_OCTETS + _TEST_PACKET.size:
                continue  # iperf3's first datagrams are of four octets, its smallest test packets of 16
            port, record = point.recorders.get(packet[point.prefix], (0, None))
            source, destination, _, _, _, _, high, low = _TEST_PACKET.unpack_from(packet, _IPV6_OCTETS)
            number = high or low  # it starts with 1, so a zero here is the upper half of 64 bits
            if record and port in (source, destination) and 0 < number < 1 << 31:  # a negative one says "the end"
                record(t_ns, number, (source, destination), node)
        elif next_header == _MOBILITY_HEADER:
            signal(t_ns, (interface, outgoing), packet, packet[_IPV6_OCTETS:], len(packet))
        elif next_header == _ICMPV6:
            point = points.get((interface, outgoing))
            if point is not None and node in seen.echoes and packet[point.prefix] in point.recorders:
                _observe_echo(seen.echoes[node], outgoing, packet)
        elif next_header == _FRAGMENT and packet[_IPV6_OCTETS] == _MOBILITY_HEADER:
            if whole := fragments.add(t_ns, (interface, outgoing), packet):
                seen_ns = whole.began_ns if outgoing else whole.done_ns
                signal(seen_ns, (interface, outgoing), packet, whole.payload, whole.octets)
        elif next_header == _FRAGMENT:
            point = points.get((interface, outgoing))
            if point is not None and packet[point.prefix] in point.recorders and packet[_IPV6_OCTETS] == _UDP:
                raise MeasurementError(f"{node}: test packets are fragmented: choose a smaller packet size")


def _observe_echo(echoes: Echoes, outgoing: bool, packet: bytes) -> None:
    kind, _, _, identifier, sequence = _ECHO.unpack_from(packet, _IPV6_OCTETS)
    if kind == _ECHO_REQUEST and outgoing:
        echoes.requests.setdefault(identifier, set()).add(sequence)
    elif kind == _ECHO_REPLY and not outgoing:
        echoes.replies.setdefault(identifier, set()).add(sequence)


@cache  # the same octets are seen at both ends
def _decoded(octets: bytes) -> Message | None:
    from common.mh.codec import decode  # noqa: PLC0415 - scapy takes seconds to load in the emulated guest

    try:
        return decode(octets)
    except MalformedMessage:
        return None
