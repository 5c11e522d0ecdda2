"""How long the phases of handovers take, as one daemon sees them: from one event of its journal to another.

A table of phases per daemon (LMA_PHASES, MAG_PHASES) and one histogram each. The letters are those of the paper's
figures 13 and 14 as testbed/measurement/phases.py reads them, which measures the same on captured packets.
"""

from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from common.mh.messages import Message

BOUNDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
MOST_MOBILE_NODES = 1 << 16  # whose phases are under way: names that anybody can make up must not fill the memory
OVER = frozenset({"binding-deleted", "registered-binding-expired", "context-binding-expired", "removed"})


@dataclass(frozen=True, slots=True)
class Phase:
    """`begin` and `end` are events, with the message's name behind it if there is one: `received PBU`."""

    name: str
    begin: str
    end: str
    meaning: str


LMA_PHASES = (
    Phase("deregistration", "received PBU-dereg", "sent PBA", "c to d: a de-registration, until it is answered"),
    Phase("reflection", "received PBU-dereg", "sent CR", "c to e: a de-registration, until its context is on its way"),
    Phase("away", "received PBU-dereg", "received PBU", "c to i: from the old MAG's word to the new MAG's"),
    Phase("registration", "received PBU", "sent PBA", "h to i, or i to j: a registration, until it is answered"),
    Phase("hold", "hold-started", "hold-released", "how long packets of an MN were kept"),
)
MAG_PHASES = (
    Phase("leaving", "detached", "sent PBU-dereg", "a to b: an MN has left, until the LMA is told"),
    Phase("deregistration", "sent PBU-dereg", "received PBA", "b to e: until the LMA has answered"),
    Phase("arriving", "attached", "sent PBU", "f to g, or g to h: an MN has come, until the LMA is told"),
    Phase("registration", "sent PBU", "received PBA", "g to j, or h to k: until the LMA has answered"),
    Phase("service", "attached", "forwarding access", "f to k: an MN has come, until its packets are forwarded"),
)


class Histogram:
    """Counts of durations in seconds; the last count is of those above every bound."""

    def __init__(self) -> None:
        self.counts = [0] * (len(BOUNDS) + 1)
        self.total = 0.0

    def observe(self, seconds: float) -> None:
        self.counts[bisect_left(BOUNDS, seconds)] += 1
        self.total += seconds

    def copy(self) -> "Histogram":
        other = Histogram()
        other.counts, other.total = list(self.counts), self.total
        return other


class _Step(NamedTuple):
    """What an event is to the phases: the end of some, under this name, and the beginning of these (end, name)."""

    ends: str
    begins: list[tuple[str, str]]


class Phases:
    """Listens to a journal; `clock` in seconds. Every message passes here, so what is no step must cost little."""

    def __init__(self, phases: Sequence[Phase], clock: Callable[[], float]) -> None:
        self.histograms = {phase.name: Histogram() for phase in phases}
        self._clock = clock
        self._steps: dict[str, dict[str, _Step]] = {}  # by event, then by what it is about
        for key in dict.fromkeys(key for phase in phases for key in (phase.begin, phase.end)):
            event, _, about = key.partition(" ")
            begins = [(phase.end, phase.name) for phase in phases if phase.begin == key]
            self._steps.setdefault(event, {})[about] = _Step(key, begins)
        # What ends each MN's phases that are under way; of two with the same end the later one counts.
        self._under_way: dict[object, dict[str, tuple[str, float]]] = {}

    def hear(self, event: str, message: Message | None, said: dict[str, object]) -> None:
        steps = self._steps.get(event)
        if steps is None:
            if event in OVER:
                self._under_way.pop(said.get("mn_id"), None)
            return
        step = steps.get(message.name if message else str(said.get("downlink", "")))
        if step is None:
            return
        now, mn_id = self._clock(), said.get("mn_id")
        under_way = self._under_way.get(mn_id)
        if under_way is None:
            if not step.begins:
                return
            self._under_way[mn_id] = under_way = {}
            if len(self._under_way) > MOST_MOBILE_NODES:
                del self._under_way[next(iter(self._under_way))]
        if (begun := under_way.pop(step.ends, None)) is not None:
            name, moment = begun
            self.histograms[name].observe(now - moment)
        for end, name in step.begins:
            under_way[end] = (name, now)
