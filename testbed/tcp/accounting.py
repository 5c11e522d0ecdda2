"""TCP segments that were sent again, and why.

A segment is one that was sent again if any of its data had been sent before. The cause is what became of the sending
before it of the same data, and of what the receiver said about it until then:

- by network: the network lost, overtook or duplicated that sending, or lost or duplicated an acknowledgement of it.
- lost on air: that sending, or an acknowledgement of it, was put where no one could hear it (`accounting.py`).
- spurious: it arrived, or was still being kept, and nothing happened to what acknowledged it. The sender did not wait
  long enough (RFC 6298), or probed (RFC 8985).

Where several of these hold, the first one in this order counts. What was sent again belongs to the handover in whose
window its data was first sent.
"""

from bisect import bisect_left, insort
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from testbed.measurement.accounting import Counts, Fates, Noticed, Window, account, fates_of
from testbed.measurement.observations import DOWNLINK, UPLINK
from testbed.tcp.observations import Segment, TcpFlow


class Cause(IntEnum):
    """By whom to blame first."""

    BY_NETWORK = 0
    LOST_ON_AIR = 1
    SPURIOUS = 2


class Repetition(NamedTuple):
    """A segment sent again: its number, that of the first sending of its data, and why."""

    number: int
    first: int
    cause: Cause


@dataclass(frozen=True, slots=True)
class TcpCounts:
    """One direction's data segments, and how many of them were sent again for which cause."""

    segments: Counts = field(default_factory=Counts)
    again: Counter[Cause] = field(default_factory=Counter)

    def __add__(self, other: "TcpCounts") -> "TcpCounts":
        return TcpCounts(self.segments + other.segments, self.again + other.again)

    def as_json(self) -> dict[str, object]:
        causes = {cause.name.lower(): self.again[cause] for cause in Cause}
        return {**self.segments.as_json(), "retransmitted": {"all": self.again.total(), **causes}}


def account_tcp(
    flow: TcpFlow, direction: str, windows: Sequence[Window], noticed: Noticed
) -> tuple[list[TcpCounts], TcpCounts]:
    """One MN's segments in one direction: by window, and outside all windows. Arguments as of `fates_of`."""
    moves = [window.move for window in windows]
    data = fates_of(flow.data, direction, moves, noticed)
    by_window, outside, _ = account(flow.data, data, windows)
    counts, rest = [TcpCounts(each) for each in by_window], TcpCounts(outside)
    acks = fates_of(flow.acks, UPLINK if direction == DOWNLINK else DOWNLINK, moves, noticed)
    for repetition in repetitions(flow, data, acks):
        sent_ns = flow.data.sent[repetition.first]
        place = next((place for place, window in enumerate(windows) if window.holds(sent_ns)), None)
        (rest if place is None else counts[place]).again[repetition.cause] += 1
    return counts, rest


def repetitions(flow: TcpFlow, data: Fates, acks: Fates) -> Iterator[Repetition]:
    """All that was sent again. `data` and `acks` say what became of segments and of acknowledgements."""
    by_start: list[tuple[Segment, int]] = []  # every sending so far
    longest, highest = 0, 0
    judge = _Judge(flow, data, acks)
    for number, segment in flow.segments.items():
        earlier = []
        if by_start and segment.start < highest:
            since = bisect_left(by_start, (Segment(segment.start - longest, 0), 0))
            until = bisect_left(by_start, (Segment(segment.end, 0), 0))
            earlier = [(one, own) for one, own in by_start[since:until] if one.end > segment.start]
        if earlier:
            # Piece by piece, as the data was cut when it was first sent.
            pieces = {(max(one.start, segment.start), min(one.end, segment.end)) for one, _ in earlier}
            cause = min(judge.cause(number, Segment(*piece), earlier) for piece in pieces)
            yield Repetition(number, min(own for _, own in earlier), cause)
        insort(by_start, (segment, number))
        longest, highest = max(longest, segment.end - segment.start), max(highest, segment.end)


class _Judge:
    def __init__(self, flow: TcpFlow, data: Fates, acks: Fates) -> None:
        self._flow = flow
        self._data = data
        self._acks = acks
        self._duplicated_data, self._duplicated_acks = set(data.duplicated), set(acks.duplicated)
        self._ack_times = [(sent_ns, number) for number, sent_ns in flow.acks.sent.items()]

    def cause(self, number: int, piece: Segment, earlier: list[tuple[Segment, int]]) -> Cause:
        """Why segment `number` repeats a piece of what `earlier` ones carried."""
        before = sorted(own for one, own in earlier if one.start < piece.end and piece.start < one.end)
        arrivals = self._data.first_arrivals
        if not (arrived := [own for own in before if own in arrivals]):
            return Cause.LOST_ON_AIR if before[-1] in self._data.lost_on_air else Cause.BY_NETWORK
        if any(self._disturbed(own, number) for own in arrived):
            return Cause.BY_NETWORK
        since_ns = min(arrivals[own] for own in arrived)
        return min(self._word(each) for each in (None, *self._words(piece, since_ns, self._flow.data.sent[number])))

    def _disturbed(self, number: int, until: int) -> bool:
        """Whether the network made the receiver complain about a segment: something sent between this and the other one
        was there earlier, or came twice."""
        arrivals = self._data.first_arrivals
        overtaken = any(arrivals.get(later, arrivals[number]) < arrivals[number] for later in range(number + 1, until))
        return overtaken or not self._duplicated_data.isdisjoint(range(number, until))

    def _words(self, piece: Segment, since_ns: int, until_ns: int) -> Iterator[int]:
        """The acknowledgements of a piece that its receiver sent in that time."""
        times = self._ack_times
        for _, ack in times[bisect_left(times, (since_ns, 0)) : bisect_left(times, (until_ns, 0))]:
            if self._flow.acknowledged[ack].has(piece.end):
                yield ack

    def _word(self, ack: int | None) -> Cause:
        if ack is None or (ack in self._acks.first_arrivals and ack not in self._duplicated_acks):
            return Cause.SPURIOUS
        return Cause.LOST_ON_AIR if ack in self._acks.lost_on_air else Cause.BY_NETWORK
