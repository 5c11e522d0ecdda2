"""The moments a, b, c, … of a handover as the paper's figures letter them, and what each phase took.

The moments of a scheme are data (`FIGURES`): a journal's word, or a step of the exchange of a request and its answer as
the captures show it. A phase is named by the letter it ends with and begins with the letter before, the first one with
the radio's detach, so the sum over all letters is the time from the detach to the last moment. A moment that was not
seen has no letter; the phase after it then begins with the last one that was.

Where signalling is repeated, the attempt that got furthest counts, of several such attempts the last that was answered
before the forwarding was in place; and of an attempt's copies the first one at each place, because every later one is
refused by its timestamp or sequence number (RFC 5213 section 5.5).
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from common.mh.messages import ProxyBindingAck, ProxyBindingUpdate
from testbed.measurement.accounting import Window
from testbed.measurement.observations import LMA, Signal

PMAG, NMAG = "pMAG", "nMAG"
_REFUSED = 128  # RFC 6275 6.1.8: from this status on
_NS_PER_US = 1000


class Noted(NamedTuple):
    """The first such journal event at the node of this role, with these fields, not before the moment `after`."""

    role: str
    event: str
    fields: tuple[tuple[str, str], ...] = ()
    after: str = ""


class Step(NamedTuple):
    """A step of the exchange of the MAG of this role with the LMA; `before` is the moment that its answer led to."""

    role: str
    request: str
    step: str
    before: str = ""


class Sent(NamedTuple):
    """The first such message that leaves the LMA."""

    message: str


class Moment(NamedTuple):
    letter: str
    meaning: str
    source: Noted | Step | Sent

    @property
    def role(self) -> str:
        """Whose moment it is."""
        match self.source:
            case Noted(role=role):
                return role
            case Step(role=role, step="request sent" | "answer received"):
                return role
            case _:
                return "LMA"


class Processing(NamedTuple):
    """An interval in which a node computes, and what the paper measured of it in microseconds, where it says so."""

    begins: str
    ends: str
    paper_us: float | None = None

    @property
    def name(self) -> str:
        return f"{self.begins}-{self.ends}"


class Figure(NamedTuple):
    number: int
    moments: tuple[Moment, ...]
    processing: tuple[Processing, ...]


FIGURES = {
    "pmipv6": Figure(
        13,
        (
            Moment("a", "pMAG notices the detach", Noted(PMAG, "detached")),
            Moment("b", "pMAG sent PBU-dereg", Step(PMAG, "PBU-dereg", "request sent")),
            Moment("c", "LMA has it", Step(PMAG, "PBU-dereg", "request received")),
            Moment("d", "LMA sent PBA", Step(PMAG, "PBU-dereg", "answer sent")),
            Moment("e", "pMAG has it", Step(PMAG, "PBU-dereg", "answer received")),
            Moment("f", "nMAG notices the attach", Noted(NMAG, "attached")),
            Moment("g", "nMAG sent PBU", Step(NMAG, "PBU", "request sent", before="k")),
            Moment("h", "LMA has it", Step(NMAG, "PBU", "request received", before="k")),
            Moment("i", "LMA sent PBA", Step(NMAG, "PBU", "answer sent", before="k")),
            Moment("j", "nMAG has it", Step(NMAG, "PBU", "answer received", before="k")),
            Moment("k", "nMAG forwards", Noted(NMAG, "forwarding", (("downlink", "access"),), after="f")),
        ),
        (Processing("f", "g", 276.7), Processing("h", "i", 597.8), Processing("j", "k", 803.1)),
    ),
    "context-reflector": Figure(
        14,
        (
            Moment("a", "pMAG notices the detach", Noted(PMAG, "detached")),
            Moment("b", "pMAG sent PBU-dereg", Step(PMAG, "PBU-dereg", "request sent")),
            Moment("c", "LMA has it", Step(PMAG, "PBU-dereg", "request received")),
            Moment("d", "LMA sent PBA", Step(PMAG, "PBU-dereg", "answer sent")),
            Moment("e", "LMA sent CR", Sent("CR")),
            Moment("f", "nMAG has stored the context", Noted(NMAG, "context-stored")),
            Moment("g", "nMAG notices the attach", Noted(NMAG, "attached")),
            Moment("h", "nMAG sent PBU", Step(NMAG, "PBU", "request sent")),
            Moment("i", "LMA has it", Step(NMAG, "PBU", "request received")),
            Moment("j", "LMA sent PBA", Step(NMAG, "PBU", "answer sent")),
            Moment("k", "nMAG has it", Step(NMAG, "PBU", "answer received")),
        ),
        (Processing("c", "d"), Processing("d", "e"), Processing("g", "h"), Processing("i", "j")),
    ),
}


@dataclass(frozen=True, slots=True)
class Phases:
    """Moments in nanoseconds by letter, and for each letter without one the reason."""

    figure: Figure | None
    detach_ns: int
    moments_ns: dict[str, int]
    missing: dict[str, str]

    def as_json(self) -> dict[str, Any]:
        """`processing_us` by letter, `phase_t_us` from the detach, `processing` of the paper's intervals."""
        phases, before_ns = {}, self.detach_ns
        for letter, t_ns in self.moments_ns.items():
            phases[letter], before_ns = (t_ns - before_ns) / _NS_PER_US, t_ns
        return {
            "processing_us": phases,
            "phase_t_us": {letter: (t_ns - self.detach_ns) / _NS_PER_US for letter, t_ns in self.moments_ns.items()},
            "processing": {
                interval.name: (self.moments_ns[interval.ends] - self.moments_ns[interval.begins]) / _NS_PER_US
                for interval in (self.figure.processing if self.figure else ())
                if interval.begins in self.moments_ns and interval.ends in self.moments_ns
            },
            "phases_missing": self.missing,
        }


def phases_of(
    scheme: str, window: Window, signals: Iterable[Signal], journals: dict[str, list[dict[str, Any]]]
) -> Phases:
    """Of one handover; `signals` and `journals` (by node) are those about its MN, in the order of time."""
    move = window.move
    figure = FIGURES.get(scheme)
    if figure is None:
        return Phases(None, move.detach_ns, {}, {"all": f"no figure of the paper has phases of {scheme}"})
    nodes = {PMAG: move.pmag, NMAG: move.nmag}
    within = [signal for signal in signals if window.holds(signal.t_ns)]
    found: dict[str, int] = {}
    for letter, _, source in figure.moments:
        if isinstance(source, Noted):
            since_ns = found.get(source.after, window.start_ns)
            events = (event for event in journals[nodes[source.role]] if since_ns <= event["t_ns"] < window.end_ns)
            wanted = {"event": source.event, **dict(source.fields)}
            event = next((event for event in events if wanted.items() <= event.items()), None)
            found |= {letter: event["t_ns"]} if event else {}
    for letter, _, source in figure.moments:
        if isinstance(source, Step):
            steps = _decisive_attempt(within, nodes[source.role], source.request, found.get(source.before))
            found |= {letter: steps[source.step]} if source.step in steps else {}
        elif isinstance(source, Sent):
            moments = (s.t_ns for s in within if s.sent and s.node == LMA and s.name == source.message)
            found |= {letter: first} if (first := next(moments, None)) is not None else {}
    missing = {moment.letter: _reason(moment.source, nodes) for moment in figure.moments if moment.letter not in found}
    in_order = {moment.letter: found[moment.letter] for moment in figure.moments if moment.letter in found}
    return Phases(figure, move.detach_ns, in_order, missing)


def _reason(source: Noted | Step | Sent, nodes: dict[str, str]) -> str:
    if isinstance(source, Sent):
        return f"no {source.message} leaves the LMA in this handover"
    node = nodes[source.role]
    if isinstance(source, Step):
        return f"{source.request} of {node}: {source.step} is in no capture of this handover"
    return f"the journal of {node} has no {' '.join([source.event, *dict(source.fields).values()])} in this handover"


def _decisive_attempt(signals: Sequence[Signal], mag: str, request: str, before_ns: int | None) -> dict[str, int]:
    """When each step of the attempt that led to the result was first seen, by the step's name."""
    attempts: dict[tuple[int, int | None], dict[str, int]] = {}
    for signal in signals:
        message, (asking, answering) = signal.message, ((mag, LMA), (LMA, mag))
        way = (signal.node, signal.peer) if signal.sent else (signal.peer, signal.node)
        deregistration = request == "PBU-dereg"
        if isinstance(message, ProxyBindingUpdate) and message.name == request and way == asking:
            step = "request sent" if signal.sent else "request received"
        elif isinstance(message, ProxyBindingAck) and _answers(message, deregistration) and way == answering:
            step = "answer sent" if signal.sent else "answer received"
        else:
            continue
        # 5.5: an accepted PBA echoes the sequence number and the timestamp of its PBU
        attempts.setdefault((message.sequence, message.timestamp), {}).setdefault(step, signal.t_ns)
    in_time = [
        steps
        for steps in attempts.values()
        if "request sent" in steps and (before_ns is None or steps.get("answer received", 0) <= before_ns)
    ]
    furthest = max((len(steps) for steps in in_time), default=0)
    return next((steps for steps in reversed(in_time) if len(steps) == furthest), {})


def _answers(message: ProxyBindingAck, deregistration: bool) -> bool:
    return message.status < _REFUSED and (message.lifetime == 0) == deregistration
