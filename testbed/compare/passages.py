"""Where each test packet was seen on its way, tunnelled or not: every link that it crossed, in the order of time."""

from collections import defaultdict
from collections.abc import Container, Iterator
from typing import NamedTuple

from common.dataplane import roles
from testbed.measurement.observations import DOWNLINK, LMA, UPLINK
from testbed.measurement.pcap import ipv6_frames
from testbed.run.mirror import COPIES
from testbed.run.run_directory import RunDirectory

_IPV6_OCTETS, _UDP_OCTETS = 40, 8
_IPV6_IN_IPV6, _UDP = 41, 17
_NUMBER = slice(_UDP_OCTETS + 8, _UDP_OCTETS + 12)  # behind seconds and microseconds (`observations.py`)
CORE, ACCESS, WIRE = "core", "access", "wire"
_TUNNELS = (roles.LMA.device_prefix, roles.MAG.device_prefix)

FlowKey = tuple[str, str]  # MN, direction


class Sighting(NamedTuple):
    """A packet on a link, at one of its ends; `octets` counts the IPv6 packet, `towards` is the outermost destination
    (a node's name) of a tunnelled one."""

    t_ns: int
    outgoing: bool
    node: str
    link: str  # CORE: between LMA and MAGs, with half the RTT; ACCESS: an MN's; WIRE: any other
    octets: int
    towards: str | None


class Passage(NamedTuple):
    """Through one node: what came in and what went out for it, None when nothing did."""

    arrival: Sighting
    departure: Sighting | None

    @property
    def in_transit(self) -> bool:
        """Whether the node only routed somebody else's tunnel, not looking inside."""
        return self.arrival.towards not in (None, self.arrival.node)

    def kind(self) -> tuple[str, str, str | None]:
        """By which link it came and left, and in whose tunnel it left."""
        out = self.departure
        return self.arrival.link, out.link if out else "", out.towards if out else None


class Journey(NamedTuple):
    """A packet's sightings from its sender on."""

    sightings: list[Sighting]

    @property
    def path(self) -> tuple[str, ...]:
        """The nodes that it came to, its sender first."""
        return (self.sightings[0].node, *(seen.node for seen in self.sightings if not seen.outgoing))

    @property
    def hops(self) -> int:
        return sum(not seen.outgoing for seen in self.sightings)

    @property
    def core_octets(self) -> int:
        return sum(seen.octets for seen in self.sightings if not seen.outgoing and seen.link == CORE)

    def passages(self, ends: Container[str]) -> Iterator[Passage]:
        """Through every node but the ends."""
        for place, seen in enumerate(self.sightings):
            if not seen.outgoing and seen.node not in ends:
                later = self.sightings[place + 1 :]
                yield Passage(seen, next((one for one in later if one.outgoing and one.node == seen.node), None))


def journeys(run: RunDirectory) -> dict[FlowKey, dict[int, Journey]]:
    """By flow and packet number. Raises CaptureError."""
    wanted = _Wanted(run)
    seen: dict[FlowKey, dict[int, list[Sighting]]] = defaultdict(lambda: defaultdict(list))
    for node in run.nodes:
        links = {index: _link(run, node, name) for index, name in run.nodes[node].interfaces.items()}
        for t_ns, interface, outgoing, packet in ipv6_frames(run.capture(node)):
            link = links.get(interface)
            if link is not None and (found := wanted.identify(packet)):
                flow, number, towards = found
                seen[flow][number].append(Sighting(t_ns, outgoing, node, link, len(packet), towards))
    return {
        flow: {number: Journey(sorted(sightings)) for number, sightings in packets.items()}
        for flow, packets in seen.items()
    }


class _Wanted:
    """The test packets of a run."""

    def __init__(self, run: RunDirectory) -> None:
        self._names = {node.address.packed: name for name, node in run.nodes.items() if node.address}
        self._flows: dict[tuple[str, bytes, int], FlowKey] = {}
        for name, mn in run.mns.items():
            self._flows[DOWNLINK, mn.prefix, mn.downlink_port] = (name, DOWNLINK)
            self._flows[UPLINK, mn.prefix, mn.uplink_port] = (name, UPLINK)

    def identify(self, packet: bytes) -> tuple[FlowKey, int, str | None] | None:
        """Its flow, its number, and whose tunnel it is in."""
        towards, start = None, 0
        while packet[start + 6] == _IPV6_IN_IPV6 and len(packet) >= start + 2 * _IPV6_OCTETS:
            if towards is None:
                towards = self._names.get(packet[start + 24 : start + 40], "?")
            start += _IPV6_OCTETS
        payload = packet[start + _IPV6_OCTETS :]
        if packet[start + 6] != _UDP or len(payload) < _NUMBER.stop:
            return None
        source, destination = packet[start + 8 : start + 16], packet[start + 24 : start + 32]
        number = int.from_bytes(payload[_NUMBER])
        if not 0 < number < 1 << 31:
            return None
        for port in (int.from_bytes(payload[2:4]), int.from_bytes(payload[:2])):
            flow = self._flows.get((DOWNLINK, destination, port)) or self._flows.get((UPLINK, source, port))
            if flow:
                return flow, number, towards
        return None


def _link(run: RunDirectory, node: str, interface: str) -> str | None:
    """What kind of link the interface is at; None for tunnels and the loopback interface."""
    if interface in ("lo", COPIES) or interface.startswith(_TUNNELS):
        return None
    if node in run.mns or any(mn.access.get(node) == interface for mn in run.mns.values()):
        return ACCESS
    mags = run.mags()
    if (node == LMA and interface in mags) or (node in mags):
        return CORE
    return WIRE
