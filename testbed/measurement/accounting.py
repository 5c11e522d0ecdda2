"""What became of every test packet, and to which handover it belongs.

A packet belongs to the handover in whose window it left its sender, else to what happened outside handovers. The
windows of one MN do not overlap. A window runs from IN_FLIGHT_MARGIN and one way before the detach, or before its
announcement (what left later can still be on its way then), to SETTLE after both receivers got their first packet
through the nMAG, or to the next handover's window, whichever comes first.

- lost on air: put where no one could hear it. Uplink: it left the MN while no MAG had it, and no MAG's access interface
  saw it. Downlink: it left the access interface of a MAG that no longer had the MN, or was given to that one before
  the MAG noticed.
- lost: every other packet that never arrived.
- duplicated: arrivals of a packet after its first one.
- reordered: first arrivals behind one with a higher number (RFC 4737, Type-P-Reordered).
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from itertools import pairwise, zip_longest
from statistics import median
from typing import Any, NamedTuple, Self

from testbed.measurement.observations import DOWNLINK, Arrival, Flow
from testbed.run.run_directory import Move

IN_FLIGHT_MARGIN_NS = 20_000_000  # on top of half the round trip: nodes, CN's link, emulated processors
SETTLE_NS = 101_300_000  # no multiple of a usual packet interval: a window does not end where a packet may just be sent
_NEVER_NS = 1 << 63
_NS_PER_MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Window:
    """One handover's time: `start_ns` belongs to it, `end_ns` does not. `first` is each direction's first packet
    through the nMAG as it reached its receiver, None if there was none before the MN left again."""

    move: Move
    start_ns: int
    end_ns: int
    first: dict[str, Arrival | None]

    def holds(self, t_ns: int) -> bool:
        return self.start_ns <= t_ns < self.end_ns


@dataclass(slots=True)
class Counts:
    """Test packets of one direction; `latencies_ns` are one way, first copies only."""

    sent: int = 0
    received: int = 0
    lost: int = 0
    duplicated: int = 0
    reordered: int = 0
    lost_on_air: int = 0
    latencies_ns: list[int] = field(default_factory=list)

    def __add__(self, other: "Counts") -> "Counts":
        return Counts(*(getattr(self, one.name) + getattr(other, one.name) for one in fields(self)))

    def as_json(self) -> dict[str, object]:
        """As in the schema; `latency_ms` has min, median and max, and is absent if nothing arrived."""
        counts: dict[str, object] = {one.name: getattr(self, one.name) for one in fields(self)[:-1]}
        if self.latencies_ns:
            low, middle, high = min(self.latencies_ns), median(self.latencies_ns), max(self.latencies_ns)
            counts["latency_ms"] = {"min": low / _NS_PER_MS, "median": middle / _NS_PER_MS, "max": high / _NS_PER_MS}
        return counts


def in_flight_ns(rtt_ms: float) -> int:
    """The longest that a packet is expected to be on its way."""
    return int(rtt_ms / 2 * _NS_PER_MS) + IN_FLIGHT_MARGIN_NS


def windows_of(moves: Sequence[Move], flows: dict[str, Flow], rtt_ms: float) -> list[Window]:
    """The windows of one MN's handovers; `moves` in the order of time, `flows` by direction."""
    margin_ns = in_flight_ns(rtt_ms)
    starts: list[int] = []
    for move in moves:  # detaches closer than what is in flight: the later window begins with the earlier one's end
        starts.append(max(move.begin_ns - margin_ns, starts[-1] if starts else 0))
    windows: list[Window] = []
    for place, (move, start_ns) in enumerate(zip(moves, starts, strict=True)):
        last = place + 1 == len(moves)
        next_start_ns, next_detach_ns = (
            (_NEVER_NS, _NEVER_NS) if last else (starts[place + 1], moves[place + 1].detach_ns)
        )
        first = {
            direction: _first_through(flow, move.nmag, move.detach_ns, next_detach_ns)
            for direction, flow in flows.items()
            if flow.sent
        }
        settled_ns = [arrival.t_ns + SETTLE_NS if arrival else _NEVER_NS for arrival in first.values()]
        # With no test packets at all only the radio can say when it was over.
        end_ns = max(settled_ns, default=move.attach_ns + margin_ns + SETTLE_NS)
        windows.append(Window(move, start_ns, min(end_ns, next_start_ns), first))
    return windows


def _first_through(flow: Flow, mag: str, since_ns: int, until_ns: int) -> Arrival | None:
    """The first arrival of a packet that crossed this MAG's access link in that time."""
    crossed = flow.access[bisect_left(flow.access, (since_ns,)) : bisect_left(flow.access, (until_ns,))]
    numbers = {packet.number for packet in crossed if packet.mag == mag}
    arrivals = flow.arrivals_in_time
    start, end = bisect_left(arrivals, (since_ns,)), bisect_left(arrivals, (until_ns,))
    return next((arrival for arrival in arrivals[start:end] if arrival.number in numbers), None)


class Fates(NamedTuple):
    """Of one flow: when each packet first arrived, the number of each further copy, the late ones,
    those no one heard."""

    first_arrivals: dict[int, int]
    duplicated: list[int]
    reordered: list[int]
    lost_on_air: set[int]


class Noticed(NamedTuple):
    """When each MAG noticed that the MN had come, and that it had left, in the order of time."""

    came_ns: Mapping[str, Sequence[int]]
    left_ns: Mapping[str, Sequence[int]]

    @classmethod
    def of(cls, journals: Mapping[str, Sequence[Mapping[str, Any]]], mn_id: str) -> Self:
        """From what every MAG noted."""

        def moments(name: str) -> dict[str, list[int]]:
            return {
                node: [event["t_ns"] for event in journal if event["event"] == name and event.get("mn_id") == mn_id]
                for node, journal in journals.items()
            }

        return cls(moments("attached"), moments("detached"))


def fates_of(flow: Flow, direction: str, moves: Sequence[Move], noticed: Noticed) -> Fates:
    first_arrivals: dict[int, int] = {}
    duplicated: list[int] = []
    reordered: list[int] = []
    highest = 0
    for t_ns, number in flow.arrivals:
        if number not in flow.sent:
            continue  # the capture at the sender is not whole: `checks.py` says so
        if number in first_arrivals:
            duplicated.append(number)
            continue
        first_arrivals[number] = t_ns
        if number < highest:
            reordered.append(number)
        highest = max(highest, number)
    missing = flow.sent.keys() - first_arrivals
    heard_by_none = (
        _sent_to_no_mn(flow, moves, noticed, missing)
        if direction == DOWNLINK
        else _sent_to_no_mag(flow, moves, noticed, missing)
    )
    return Fates(first_arrivals, duplicated, reordered, heard_by_none)


def account(flow: Flow, fates: Fates, windows: Sequence[Window]) -> tuple[list[Counts], Counts, Counts]:
    """One MN's packets in one direction: by window, outside all windows, and in all."""
    by_window, outside = [Counts() for _ in windows], Counts()
    starts = [window.start_ns for window in windows]

    def of(number: int) -> Counts:
        sent_ns = flow.sent[number]
        place = bisect_right(starts, sent_ns) - 1
        return by_window[place] if place >= 0 and windows[place].holds(sent_ns) else outside

    for number, sent_ns in flow.sent.items():
        counts = of(number)
        counts.sent += 1
        if number in fates.first_arrivals:
            counts.received += 1
            counts.latencies_ns.append(fates.first_arrivals[number] - sent_ns)
        elif number in fates.lost_on_air:
            counts.lost_on_air += 1
        else:
            counts.lost += 1
    for number in fates.duplicated:
        of(number).duplicated += 1
    for number in fates.reordered:
        of(number).reordered += 1

    total = sum(by_window, Counts()) + outside
    assert total.sent == len(flow.sent)
    assert total.received == len(fates.first_arrivals)
    assert total.lost == total.sent - total.received - len(fates.lost_on_air)
    assert (total.duplicated, total.reordered) == (len(fates.duplicated), len(fates.reordered))
    return by_window, outside, total


def _sent_to_no_mn(flow: Flow, moves: Sequence[Move], noticed: Noticed, missing: set[int]) -> set[int]:
    """What a MAG's access interface sent after the MN had gone, or was given before the MAG noticed.

    From a link without carrier nothing leaves any more. Until that is noticed, it is the link's doing; then the MAG's.
    """
    left = {
        packet.number for packet in flow.access if packet.number in missing and _gone(moves, packet.mag, packet.t_ns)
    }
    for move in moves:
        unnoticed_ns = next((t_ns for t_ns in noticed.left_ns.get(move.pmag, ()) if t_ns >= move.detach_ns), 0)
        given = flow.offered[bisect_left(flow.offered, (move.detach_ns,)) : bisect_left(flow.offered, (unnoticed_ns,))]
        left |= {packet.number for packet in given if packet.mag == move.pmag and packet.number in missing}
    return left


def _sent_to_no_mag(flow: Flow, moves: Sequence[Move], noticed: Noticed, missing: set[int]) -> set[int]:
    """What left the MN between a detach and the moment when the nMAG had carrier, and was heard nowhere.

    The kernel gives carrier a little after the radio has asked for it, so the nMAG's notice counts where it is later.
    """
    absences = []
    for move, following in zip_longest(moves, moves[1:]):
        until_ns = following.detach_ns if following else _NEVER_NS
        came = (t_ns for t_ns in noticed.came_ns.get(move.nmag, ()) if move.detach_ns <= t_ns < until_ns)
        absences.append((move.detach_ns, max(move.attach_ns, move.attach_done_ns, next(came, 0))))
    unheard = missing - {packet.number for packet in flow.access}
    return {
        number for number in unheard if any(start_ns <= flow.sent[number] < end_ns for start_ns, end_ns in absences)
    }


def _gone(moves: Iterable[Move], mag: str, t_ns: int) -> bool:
    """Whether the last handover that this MAG had a part in, up to then, took the MN away from it."""
    parts = [move for move in moves if move.detach_ns <= t_ns and mag in (move.pmag, move.nmag)]
    return bool(parts) and parts[-1].pmag == mag


def longest_silence_ns(flow: Flow, window: Window, served: bool) -> int:
    """From arrival to arrival at the receiver, of those silences that reach into the window.

    Where there is no arrival before it, or none after it because the MN was not served again, the silence lasts from
    the first or to the last packet sent.
    """
    if not flow.sent:
        return 0
    times = flow.arrival_times
    around = times[max(bisect_right(times, window.start_ns) - 1, 0) : bisect_left(times, window.end_ns) + 1]
    first_sent_ns, last_sent_ns = flow.sending_ns
    if not around or around[0] > window.start_ns:
        around.insert(0, first_sent_ns)
    if not served and around[-1] < window.end_ns:
        around.append(max(around[-1], last_sent_ns))
    return max((later - earlier for earlier, later in pairwise(around)), default=0)
