"""One handover of a measured run as something that can be looked at, at any of its moments.

Times are microseconds from the radio's detach; places are roles (MN, pMAG, LMA, nMAG, CN), another node's own name.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from testbed.measurement.accounting import in_flight_ns
from testbed.measurement.measure import measure
from testbed.measurement.observations import DOWNLINK
from testbed.report.sequence_chart import CN, LMA, MN, NMAG, PMAG, Message, Span, chart_of
from testbed.run.run_directory import MeasurementError, Move, RunDirectory
from testbed.watch.sightings import ON_AIR, Journey, journeys

ARRIVED, LOST, LOST_ON_AIR = "arrived", "lost", "lost on air"
_US = 1000  # nanoseconds
_AFTERWARDS_US = 15_000.0  # shown after the last that belongs to the handover
_LEAST_WAIT_US = 300.0  # less is not worth a word


class Stage(NamedTuple):
    """A packet waits at `origin`, or is on its way from there to `target`."""

    begin_us: float
    end_us: float
    origin: str
    target: str

    @property
    def waits(self) -> bool:
        return self.origin == self.target


class Packet(NamedTuple):
    """`stages` follow each other without a gap; `fate` is how it ended, at `place`."""

    direction: str
    number: int
    sent_us: float
    stages: list[Stage]
    end_us: float
    fate: str
    place: str


class Entry(NamedTuple):
    """A line of the log."""

    t_us: float
    place: str
    text: str


class State(NamedTuple):
    """From this moment on a node does this with the MN's packets, or keeps its context."""

    t_us: float
    place: str
    key: str  # "downlink" or "context"
    value: str


@dataclass(frozen=True)
class Recording:
    """`begin_us` to `end_us` is what there is to see; `nodes` maps a role to the lab's name."""

    scheme: str
    mode: str
    rtt_ms: float
    l2_ms: float
    rate_pps: float
    index: int
    of: int
    nodes: dict[str, str]
    begin_us: float
    end_us: float
    attach_us: float
    messages: list[Message]
    holds: list[Span]
    packets: list[Packet]
    states: list[State]
    log: list[Entry]


def load(directory: Path, index: int = 0) -> Recording:
    """Handover `index` of the run that was kept there. Raises MeasurementError or CaptureError, in one line."""
    run = RunDirectory.load(directory)
    result = measure(directory)
    handovers: list[dict[str, Any]] = result["handovers"]
    chosen = next((one for one in handovers if one["index"] == index), None)
    if chosen is None:
        raise MeasurementError(f"{directory}: no handover {index}, only 0 to {max(one['index'] for one in handovers)}")
    return of_run(run, chosen, 1 + max(one["index"] for one in handovers))


def of_run(run: RunDirectory, handover: dict[str, Any], count: int) -> Recording:
    """`handover` is an element of what `measure` made of that run, `count` the number of handovers."""
    move = next(one for one in run.moves_of(handover["mn"]) if one.index == handover["index"])
    chart = chart_of(handover, run.spec.rtt_ms, None)
    roles = {node: role for role, node in chart.nodes.items()}
    begin_us = (move.begin_ns - move.detach_ns - in_flight_ns(run.spec.rtt_ms)) / _US
    end_us = chart.range_us[1] + _AFTERWARDS_US
    begin_ns, end_ns = (move.detach_ns + round(t_us * _US) for t_us in (begin_us, end_us))
    packets = _packets(journeys(run, move.mn, begin_ns, end_ns), move, roles)
    states = list(_states(run, move, roles))
    return Recording(
        scheme=run.spec.scheme,
        mode=run.spec.mode,
        rtt_ms=run.spec.rtt_ms,
        l2_ms=run.spec.l2_ms,
        rate_pps=run.spec.rate_pps,
        index=move.index,
        of=count,
        nodes=chart.nodes,
        begin_us=begin_us,
        end_us=end_us,
        attach_us=(move.attach_ns - move.detach_ns) / _US,
        messages=chart.messages,
        holds=[span for span in chart.spans if span.kind == "hold"],
        packets=packets,
        states=states,
        log=_log(handover["timeline"], roles, (begin_us, end_us), states),
    )


def _packets(seen: Sequence[Journey], move: Move, roles: dict[str, str]) -> list[Packet]:
    """What a hop takes at least is the way; whatever it takes longer the packet has waited at its beginning."""
    hops: dict[tuple[str, str], int] = {}
    for journey in seen:
        for here, there in pairwise(journey.seen):
            key = (here.place, there.place)
            hops[key] = min(hops.get(key, there.t_ns - here.t_ns), there.t_ns - here.t_ns)
    packets = []
    for journey in seen:
        stages: list[Stage] = []
        for here, there in pairwise(journey.seen):
            begin_us, end_us = ((one.t_ns - move.detach_ns) / _US for one in (here, there))
            origin, target = (roles.get(one.place, one.place) for one in (here, there))
            leaves_us = max(begin_us, end_us - hops[here.place, there.place] / _US)
            if leaves_us - begin_us > _LEAST_WAIT_US:
                stages.append(Stage(begin_us, leaves_us, origin, origin))
                begin_us = leaves_us
            stages.append(Stage(begin_us, end_us, origin, target))
        last = journey.seen[-1]
        place, end_us = roles.get(last.place, last.place), (last.t_ns - move.detach_ns) / _US
        sent_us = (journey.seen[0].t_ns - move.detach_ns) / _US
        fate = _fate(journey.direction, place)
        packets.append(Packet(journey.direction, journey.number, sent_us, stages, end_us, fate, place))
    return packets


def _fate(direction: str, place: str) -> str:
    """By where a packet was seen last."""
    if place == (MN if direction == DOWNLINK else CN):
        return ARRIVED
    return LOST_ON_AIR if place == (ON_AIR if direction == DOWNLINK else MN) else LOST


def _states(run: RunDirectory, move: Move, roles: dict[str, str]) -> Iterable[State]:
    """From the journals of the anchor and the two routers, those before this handover included."""
    names = {str(node.address): name for name, node in run.nodes.items() if node.address}
    mn_id = run.mns[move.mn].mn_id
    for role in (PMAG, LMA, NMAG):
        (node,) = (node for node, one in roles.items() if one == role)
        for event in run.journal(node):
            if event.get("mn_id") != mn_id:
                continue
            t_us = (event["t_ns"] - move.detach_ns) / _US
            match event["event"]:
                case "forwarding":
                    target = names.get(event["downlink"], event["downlink"])
                    yield State(t_us, role, "downlink", roles.get(target, target))
                case "context-stored":
                    yield State(t_us, role, "context", "stored")
                case "removed":
                    yield State(t_us, role, "context", "")


_WORDS = {
    "detached": "leaves",
    "attached": "arrives",
    "first-packet": "first packet by the nMAG",
    "detach-noticed": "notices that the MN has gone",
    "attach-noticed": "notices that the MN is there",
    "hold-started": "holds what comes for the MN",
    "hold-released": "releases what it held, in order",
}


def _log(
    timeline: Iterable[dict[str, Any]],
    roles: dict[str, str],
    within_us: tuple[float, float],
    states: Iterable[State],
) -> list[Entry]:
    entries = []
    for event in timeline:
        place = roles.get(event["node"], event["node"])
        name, _, what = event["event"].rpartition(" ")
        if what in ("sent", "received"):
            other = roles.get(event["peer"], event["peer"])
            entries.append(Entry(event["t_us"], place, f"{name} {'to' if what == 'sent' else 'from'} {other}"))
        elif event["event"] in _WORDS:
            entries.append(Entry(event["t_us"], place, _WORDS[event["event"]]))
    entries += [
        Entry(state.t_us, state.place, "stores the context")
        for state in states
        if state.value == "stored" and within_us[0] <= state.t_us < within_us[1]
    ]
    return sorted(entries, key=lambda entry: entry.t_us)
