"""A handover's message sequence chart as data: who sent what to whom and when, as the captures saw it.

Made of `timeline` and `phase_t_us` in `testbed handover --json`; `sequence_svg.py` draws it. Times are microseconds
from the radio's detach.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from testbed.compare.document import Document, FigureSeen, Run

MN, PMAG, LMA, NMAG, CN = "MN", "pMAG", "LMA", "nMAG", "CN"
_FIRST_LANES = (MN, PMAG, LMA, NMAG)
_NODES = {"lma": LMA, "cn": CN}
_US_PER_MS = 1000


class Message(NamedTuple):
    """`received_us` is None for one that never arrived."""

    name: str
    sender: str
    receiver: str
    sent_us: float
    received_us: float | None


class Mark(NamedTuple):
    lane: str
    t_us: float
    text: str


class Span(NamedTuple):
    """A time on a lane: `kind` is "away" (the MN has no link) or "hold" (the node keeps packets)."""

    lane: str
    kind: str
    begin_us: float
    end_us: float


class Letter(NamedTuple):
    letter: str
    meaning: str
    lane: str
    t_us: float


@dataclass(frozen=True)
class Chart:
    """`lanes` from left to right; `nodes` is what each is called in the lab."""

    lanes: list[str]
    nodes: dict[str, str]
    messages: list[Message]
    marks: list[Mark]
    spans: list[Span]
    letters: list[Letter]

    @property
    def range_us(self) -> tuple[float, float]:
        times = [0.0, *(mark.t_us for mark in self.marks), *(letter.t_us for letter in self.letters)]
        for message in self.messages:
            times += [message.sent_us, message.received_us or message.sent_us]
        return min(times), max(times)


def typical(run: Run) -> dict[str, Any]:
    """The handover of the run with the median downlink silence (the lower one of two)."""
    handovers: list[dict[str, Any]] = sorted(
        run.handover["handovers"], key=lambda one: (one["downlink"]["gap_ms"], one["index"])
    )
    return handovers[(len(handovers) - 1) // 2]


def figure_of(document: Document, run: Run) -> FigureSeen | None:
    """The figure whose letters are this run's."""
    figures = [document.figure13, document.figure14, *document.other_figures]
    seen = [figure for figure in figures if figure and figure.scheme == run.scheme]
    return next((figure for figure in seen if figure.mode == run.mode), seen[0] if seen else None)


def chart_of(handover: Mapping[str, Any], rtt_ms: float, figure: FigureSeen | None) -> Chart:
    """The chart of one handover."""
    lane_of = {**_NODES, handover["mn"]: MN, handover["from"]: PMAG, handover["to"]: NMAG}
    timeline: list[dict[str, Any]] = handover["timeline"]
    messages = _messages(timeline, lane_of, rtt_ms)
    others = {lane for message in messages for lane in (message.sender, message.receiver)} - {*_FIRST_LANES, CN}
    lanes = [*_FIRST_LANES, *sorted(others), CN]
    letters = [
        Letter(moment.letter, moment.meaning, moment.role, handover["phase_t_us"][moment.letter])
        for moment in (figure.moments if figure else ())
        if moment.letter in handover.get("phase_t_us", {})
    ]
    return Chart(
        lanes=lanes,
        nodes={lane: node for node, lane in lane_of.items()} | {lane: lane for lane in others},
        messages=messages,
        marks=list(_marks(timeline, lane_of)),
        spans=list(_spans(timeline, lane_of)),
        letters=letters,
    )


def _messages(timeline: Iterable[Mapping[str, Any]], lane_of: Mapping[str, str], rtt_ms: float) -> list[Message]:
    """Each that was received belongs to the one sent whose way took closest to half a round trip."""
    sent: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    received: dict[tuple[str, str, str], list[float]] = defaultdict(list)
    for event in timeline:
        name, _, what = event["event"].rpartition(" ")
        if what == "sent":
            sent[event["node"], event["peer"], name].append(event["t_us"])
        elif what == "received":
            received[event["peer"], event["node"], name].append(event["t_us"])
    messages = []
    for (sender, receiver, name), moments in sent.items():
        arrivals: dict[float, float] = {}
        for t_us in received[sender, receiver, name]:
            candidates = [moment for moment in moments if moment <= t_us and moment not in arrivals]
            if candidates:
                way_us = rtt_ms / 2 * _US_PER_MS
                best = min(candidates, key=lambda moment, t_us=t_us: abs(t_us - moment - way_us))  # type: ignore[misc]
                arrivals[best] = t_us
        ends = lane_of.get(sender, sender), lane_of.get(receiver, receiver)
        messages += [Message(name, *ends, t_us, arrivals.get(t_us)) for t_us in moments]
    return sorted(messages, key=lambda message: message.sent_us)


def _marks(timeline: Iterable[Mapping[str, Any]], lane_of: Mapping[str, str]) -> Iterable[Mark]:
    for event in timeline:
        lane = lane_of.get(event["node"], event["node"])
        match event["event"]:
            case "detached":
                yield Mark(lane, event["t_us"], "leaves")
            case "attached":
                yield Mark(lane, event["t_us"], "arrives")
            case "first-packet":
                yield Mark(lane, event["t_us"], "first packet")


def _spans(timeline: Sequence[Mapping[str, Any]], lane_of: Mapping[str, str]) -> Iterable[Span]:
    kinds = {"detached": ("away", "attached"), "hold-started": ("hold", "hold-released")}
    for place, event in enumerate(timeline):
        if event["event"] in kinds:
            kind, ending = kinds[event["event"]]
            ends = (one["t_us"] for one in timeline[place:] if (one["event"], one["node"]) == (ending, event["node"]))
            lane = lane_of.get(event["node"], event["node"])
            if (end_us := next(ends, None)) is not None:
                yield Span(lane, kind, event["t_us"], end_us)
