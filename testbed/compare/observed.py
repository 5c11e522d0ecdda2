"""What a run's captures show beyond `testbed handover --json`: who talks to whom, what becomes of packets on the way.

"In a handover" is a packet that was sent, or was on its way to a MAG, between the moment when the network could first
know of the move and the nMAG passing on the first one; the rest of the run is what it is compared with.
"""

import csv
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import mean
from typing import NamedTuple

from testbed.compare.document import Association, Extra, Held, Jitter, Observed, Redirected, Statistic, Way
from testbed.compare.passages import CORE, Journey, Passage, Sighting, journeys
from testbed.measurement.accounting import Fates, Noticed, Window, fates_of, windows_of
from testbed.measurement.observations import CN, DIRECTIONS, DOWNLINK, LMA, Flow, Observations, Signal, observe
from testbed.run.run_directory import Move, RunDirectory

_NS_PER_US = 1000
_HELD_BEYOND_NS = 1_000_000  # what a processor that is busy with signalling may cost is not holding
_PMAG, _NMAG, _MAG = "pmag", "nmag", "mag"
_COLUMNS = ("handover", "mn", "direction", "sequence", "sent_us", "delay_us", "fate", "copies", "path", "within")


class Packet(NamedTuple):
    """A test packet: the window it belongs to or follows, whether it was sent in it, and whether in its handover."""

    number: int
    sent_ns: int
    delay_ns: int | None
    journey: Journey
    window: Window
    within: bool
    affected: bool


def observed_of(directory: Path) -> Observed:
    """Of the run in that directory. Raises MeasurementError or CaptureError."""
    seen = _Seen(RunDirectory.load(directory))
    packets = {key: list(seen.packets(*key)) for key in seen.flows}
    usual = _Usual(seen, packets)
    by_direction = {
        direction: [packet for (_, way), some in packets.items() if way == direction for packet in some]
        for direction in DIRECTIONS
    }
    held: dict[tuple[str, str], list[int]] = defaultdict(list)
    redirected: Counter[tuple[str, str]] = Counter()
    paths: Counter[tuple[str, tuple[str, ...], bool]] = Counter()
    for direction, some in by_direction.items():
        for packet in some:
            if packet.affected:
                roles = _roles(packet.window.move)
                path = tuple(roles.get(node, node) for node in packet.journey.path)
                if packet.delay_ns is not None:
                    paths[direction, path, usual.is_way(direction, path)] += 1
                for node, kept_ns in usual.kept(packet):
                    held[roles.get(node, node), direction].append(kept_ns)
                for node in usual.diverted(direction, packet):
                    redirected[roles.get(node, node), direction] += 1
    messages, octets = seen.signalling()
    return Observed(
        associations=seen.associations(),
        held=[Held(*key, len(kept), max(kept) / _NS_PER_US) for key, kept in sorted(held.items())],
        redirected=[Redirected(*key, count) for key, count in sorted(redirected.items())],
        paths=[Way(way, path, count, as_ever) for (way, path, as_ever), count in paths.most_common()],
        extra={direction: _extra(some) for direction, some in by_direction.items()},
        jitter_us={
            direction: Jitter(
                _jitter(packets, direction, inside=True),
                _jitter(packets, direction, inside=False),
            )
            for direction in DIRECTIONS
        },
        messages=messages,
        octets=octets,
        contexts_stored=seen.contexts_stored(),
    )


def write_packets(directory: Path, file: Path) -> None:
    """Every test packet of the run in that directory, as `docs/compare.md` says."""
    seen = _Seen(RunDirectory.load(directory))
    with file.open("w", newline="") as out:
        table = csv.writer(out, lineterminator="\n")
        table.writerow(_COLUMNS)
        for mn, direction in seen.flows:
            fates = seen.fates[mn, direction]
            copies = Counter(fates.duplicated)
            for packet in seen.packets(mn, direction):
                move, delay_ns = packet.window.move, packet.delay_ns
                row: list[object] = [move.index, mn, direction, packet.number]
                row.append((packet.sent_ns - move.detach_ns) / _NS_PER_US)
                if delay_ns is None:
                    row += ["", "lost_on_air" if packet.number in fates.lost_on_air else "lost", 0]
                else:
                    row += [delay_ns / _NS_PER_US, "received", 1 + copies[packet.number]]
                table.writerow([*row, ">".join(packet.journey.path), int(packet.within)])


class _Seen:
    """A run, read once."""

    def __init__(self, run: RunDirectory) -> None:
        self.run = run
        self._observations: Observations = observe(run)
        self.flows: dict[tuple[str, str], Flow] = self._observations.flows
        self._journeys = journeys(run)
        self.windows: dict[str, list[Window]] = {}
        self.fates: dict[tuple[str, str], Fates] = {}
        for mn in run.mns:
            flows = {direction: self.flows[mn, direction] for direction in DIRECTIONS}
            self.windows[mn] = windows_of(run.moves_of(mn), flows, run.spec.rtt_ms)
            noticed = Noticed.of({mag: run.journal(mag) for mag in run.mags()}, run.mns[mn].mn_id)
            for direction, flow in flows.items():
                self.fates[mn, direction] = fates_of(flow, direction, run.moves_of(mn), noticed)

    @property
    def one_way_ns(self) -> int:
        return round(self.run.spec.rtt_ms / 2 * 1e6)

    def left_ns(self, departure: Sighting) -> int:
        """When the packet left that node: a capture shows it behind the link's delay, which is on the sender's side."""
        return departure.t_ns - (self.one_way_ns if departure.link == CORE else 0)

    def packets(self, mn: str, direction: str) -> Iterator[Packet]:
        """Of one flow, in the order in which they were sent."""
        windows, fates = self.windows[mn], self.fates[mn, direction]
        starts = [window.start_ns for window in windows]
        over_ns = {id(window): self._over_ns(mn, direction, window) for window in windows}
        for number, sent_ns in sorted(self.flows[mn, direction].sent.items()):
            journey = self._journeys[mn, direction][number]
            window = windows[max(bisect_right(starts, sent_ns) - 1, 0)]
            arrived_ns = fates.first_arrivals.get(number)
            yield Packet(
                number,
                sent_ns,
                None if arrived_ns is None else arrived_ns - sent_ns,
                journey,
                window,
                window.holds(sent_ns),
                window.move.begin_ns - self.one_way_ns <= sent_ns < over_ns[id(window)],
            )

    def _over_ns(self, mn: str, direction: str, window: Window) -> int:
        """When the nMAG passed on the first packet. By its arrival no count would be the same twice: where the way is
        as long as the packets' interval, another one is sent in that very moment."""
        first = window.first.get(direction)
        if first is None:
            return window.end_ns
        for seen in self._journeys[mn, direction][first.number].sightings:
            if seen.outgoing and seen.node == window.move.nmag:
                return self.left_ns(seen)
        return first.t_ns

    def associations(self) -> list[Association]:
        found: dict[tuple[str, str], list[Signal]] = defaultdict(list)
        for signal, window in self._signals_in_handovers():
            roles = _roles(window.move)
            pair = sorted((roles.get(signal.node, signal.node), roles.get(signal.peer, signal.peer)))
            found[pair[0], pair[1]].append(signal)
        return [Association(pair, len(some), sum(one.octets for one in some)) for pair, some in sorted(found.items())]

    def signalling(self) -> tuple[Statistic | None, Statistic | None]:
        """Messages and octets, per handover and MN."""
        windows = [window for some in self.windows.values() for window in some]
        counts, octets = dict.fromkeys(map(id, windows), 0), dict.fromkeys(map(id, windows), 0)
        for signal, window in self._signals_in_handovers():
            counts[id(window)] += 1
            octets[id(window)] += signal.octets
        return Statistic.of(list(counts.values())), Statistic.of(list(octets.values()))

    def contexts_stored(self) -> int:
        """Handovers in which the nMAG noted that it has the MN's context."""
        return sum(
            any(
                event["event"] == "context-stored"
                and event.get("mn_id") == self.run.mns[mn].mn_id
                and window.holds(event["t_ns"])
                for event in self.run.journal(window.move.nmag)
            )
            for mn, windows in self.windows.items()
            for window in windows
        )

    def _signals_in_handovers(self) -> Iterator[tuple[Signal, Window]]:
        """Each message where it was sent, with the handover of its MN that it belongs to."""
        for mn, windows in self.windows.items():
            for signal in self._observations.signals_about(self.run.mns[mn].mn_id):
                if signal.sent:
                    yield from ((signal, window) for window in windows if window.holds(signal.t_ns))


class _Usual:
    """How packets fare outside handovers: which ways they take, and how long nodes keep them."""

    def __init__(self, seen: _Seen, packets: Mapping[tuple[str, str], Sequence[Packet]]) -> None:
        self._ends = {CN, *seen.run.mns}
        self._mags = seen.run.mags()
        self._left_ns = seen.left_ns
        self._ways: set[tuple[str, tuple[str, ...]]] = set()
        self._kinds: set[tuple[str, str, tuple[str, str, str | None]]] = set()
        self._longest_ns: dict[str, int] = defaultdict(int)
        for (_, direction), some in packets.items():
            for packet in some:
                if packet.within or packet.delay_ns is None:
                    continue
                self._ways.add((direction, tuple(self._plain(node) for node in packet.journey.path)))
                for passage in packet.journey.passages(self._ends):
                    node = self._plain(passage.arrival.node)
                    self._kinds.add((direction, node, self._kind(passage)))
                    self._longest_ns[node] = max(self._longest_ns[node], self._kept_ns(passage) or 0)

    def is_way(self, direction: str, path: tuple[str, ...]) -> bool:
        """Whether packets go this way, by roles, outside handovers too."""
        return (direction, tuple(_MAG if node in (_PMAG, _NMAG) else node for node in path)) in self._ways

    def kept(self, packet: Packet) -> Iterator[tuple[str, int]]:
        """Nodes that kept it much longer than any packet outside handovers, and for how long, ns."""
        for passage in packet.journey.passages(self._ends):
            node, kept_ns = passage.arrival.node, self._kept_ns(passage)
            if kept_ns is not None and kept_ns > self._longest_ns[self._plain(node)] + _HELD_BEYOND_NS:
                yield node, kept_ns

    def diverted(self, direction: str, packet: Packet) -> Iterator[str]:
        """Nodes that sent it on as no packet is sent on outside handovers.

        At the LMA that is also to the nMAG before the MN is there.
        """
        move = packet.window.move
        for passage in packet.journey.passages(self._ends):
            node = passage.arrival.node
            if passage.departure is None or passage.in_transit:
                continue
            if (direction, self._plain(node), self._kind(passage)) not in self._kinds or (
                node == LMA
                and direction == DOWNLINK
                and passage.departure.towards == move.nmag
                and self._left_ns(passage.departure) < move.attach_ns
            ):
                yield node

    def _plain(self, node: str) -> str:
        return _MAG if node in self._mags else node

    def _kind(self, passage: Passage) -> tuple[str, str, str | None]:
        link_in, link_out, towards = passage.kind()
        return link_in, link_out, towards and self._plain(towards)

    def _kept_ns(self, passage: Passage) -> int | None:
        """From its arrival to its departure; None: it did not leave."""
        if passage.departure is None:
            return None
        return self._left_ns(passage.departure) - passage.arrival.t_ns


def _roles(move: Move) -> dict[str, str]:
    return {move.pmag: _PMAG, move.nmag: _NMAG}


def _extra(packets: Sequence[Packet]) -> Extra:
    """Of those in handovers that arrived, beyond the mean of those outside."""
    arrived = [packet for packet in packets if packet.delay_ns is not None]
    usual = [packet for packet in arrived if not packet.within]
    during = [packet for packet in arrived if packet.affected]
    if not usual:
        return Extra(None, None, None)

    def beyond(values: Sequence[float], ordinary: Sequence[float]) -> Statistic | None:
        ordinarily = mean(ordinary)
        return Statistic.of([value - ordinarily for value in values])

    return Extra(
        hops=beyond([one.journey.hops for one in during], [one.journey.hops for one in usual]),
        core_octets=beyond([one.journey.core_octets for one in during], [one.journey.core_octets for one in usual]),
        delay_us=beyond(*([(one.delay_ns or 0) / _NS_PER_US for one in some] for some in (during, usual))),
    )


def _jitter(packets: Mapping[tuple[str, str], Sequence[Packet]], direction: str, *, inside: bool) -> float | None:
    """RFC 3393's delay variation of packets that follow each other and arrived, as a mean of its absolute value."""
    variations = [
        abs(one.delay_ns - other.delay_ns) / _NS_PER_US
        for (_, way), some in packets.items()
        if way == direction
        for one, other in pairwise(some)
        if one.within == other.within == inside and one.delay_ns is not None and other.delay_ns is not None
    ]
    return mean(variations) if variations else None
