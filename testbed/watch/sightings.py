"""Where each test packet of one MN was seen on its way, node by node, in the captures of a run.

A packet is seen where it comes in at a node, where it leaves its sender, and where it leaves a MAG for the access link:
behind a tunnel's other headers it is not looked for, there it is on its way.
"""

import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

from testbed.measurement.observations import CN, DIRECTIONS, DOWNLINK, UPLINK
from testbed.measurement.pcap import ipv6_frames
from testbed.run.run_directory import MobileNode, RunDirectory

_UDP, _IPV6_OCTETS = 17, 40
_TEST_PACKET = struct.Struct("!HHHHIIII")  # see observations.py
ON_AIR = "air"


class Sighting(NamedTuple):
    """`place` is a node, or "air" for what a MAG has put on the access link."""

    t_ns: int
    place: str


class Journey(NamedTuple):
    """A test packet; `seen` in the order of time, its sender first."""

    direction: str
    number: int
    seen: list[Sighting]


def journeys(run: RunDirectory, mn: str, begin_ns: int, end_ns: int) -> list[Journey]:
    """The packets that left their sender in that time, in the order in which they did. Raises CaptureError."""
    seen: dict[tuple[str, int], list[Sighting]] = defaultdict(list)
    for node in run.nodes:
        for direction, number, sighting in _at(run, mn, node):
            seen[direction, number].append(sighting)
    senders = {DOWNLINK: CN, UPLINK: mn}
    found = []
    for (direction, number), sightings in seen.items():
        sightings.sort(key=lambda one: one.t_ns)
        first = sightings[0]
        if first.place == senders[direction] and begin_ns <= first.t_ns < end_ns:
            found.append(Journey(direction, number, sightings))
    return sorted(found, key=lambda journey: journey.seen[0].t_ns)


def _at(run: RunDirectory, mn: str, node: str) -> Iterator[tuple[str, int, Sighting]]:
    own, file = run.mns[mn], run.capture(node)
    if not file.exists():
        return
    access = {index for index, name in run.nodes[node].interfaces.items() if name == own.access.get(node)}
    own_interface = run.nodes[mn].index(own.interface)
    ports = dict(zip((own.downlink_port, own.uplink_port), DIRECTIONS, strict=True))
    for t_ns, interface, outgoing, packet in ipv6_frames(file):
        if node == mn and interface != own_interface:
            continue  # ports of a bridge, say, where it is seen a second time
        if packet[6] != _UDP or len(packet) < _IPV6_OCTETS + _TEST_PACKET.size:
            continue
        source, destination, _, _, _, _, high, low = _TEST_PACKET.unpack_from(packet, _IPV6_OCTETS)
        direction = ports.get(destination) or ports.get(source)
        number = high or low
        if direction is None or not 0 < number < 1 << 31 or not _is_of(packet, direction, own):
            continue
        if not outgoing or node == (CN if direction == DOWNLINK else mn):
            yield direction, number, Sighting(t_ns, node)
        elif direction == DOWNLINK and interface in access:
            yield direction, number, Sighting(t_ns, ON_AIR)


def _is_of(packet: bytes, direction: str, mn: MobileNode) -> bool:
    address = packet[24:40] if direction == DOWNLINK else packet[8:24]
    return address.startswith(mn.prefix)
