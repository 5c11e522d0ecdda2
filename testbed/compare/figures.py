"""Figures 13 and 14 as measured, and what the downlink's silence consists of.

The parts of a silence are found backwards on a handover's timeline, the same way for every scheme: from the first
packet that reached the MN to what let it through (packets released, else the nMAG forwarding), from there to the
message that this node had waited for, along it to the node that sent it, and so on to the nMAG noticing the MN. So a
scheme needs no entry here, and a part is either a node computing or something travelling.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

from testbed.compare.document import (
    Decomposition,
    FigureSeen,
    MomentSeen,
    Part,
    PhaseSeen,
    ProcessingInAll,
    ProcessingSeen,
    Run,
    Statistic,
)
from testbed.measurement.observations import LMA
from testbed.measurement.phases import FIGURES

_PAPER = {
    "pmipv6": "L2 + RTT + 1677.6 µs, in which packets are dropped",
    "context-reflector": "L2: packets are dropped for no longer than the L2 handover takes",
}
_NOTE_13 = (
    "The formula printed in the paper names the processing one letter early (e-f, g-h, i-j); its own text and the RTT "
    "in it fit only the reading used here: f-g, h-i, j-k."
)
_WITH_PAPER = ("pmipv6",)
_PMIPV6_FIGURE = 13
RADIO, TRAVEL, PROCESSING, OTHER = "radio", "travel", "processing", "other"
_LAST_LEG = "first packet to the MN"

Event = dict[str, Any]


def figure_of(run: Run) -> FigureSeen | None:
    """None for a scheme without letters (`testbed/measurement/phases.py`)."""
    figure = FIGURES.get(run.scheme)
    if figure is None:
        return None
    handovers = run.handover["handovers"]

    def of(key: str, name: str) -> Statistic | None:
        return Statistic.of([one[key][name] for one in handovers if name in one[key]])

    roles = {moment.letter: moment.role for moment in figure.moments}
    intervals = {part.name for part in figure.processing}
    whole = [one["processing"] for one in handovers if intervals and intervals == set(one["processing"])]
    paper_us = [part.paper_us for part in figure.processing if part.paper_us is not None]
    return FigureSeen(
        figure=figure.number,
        scheme=run.scheme,
        mode=run.mode,
        run=run.key,
        handovers=len(handovers),
        moments=[
            MomentSeen(moment.letter, moment.meaning, moment.role, of("phase_t_us", moment.letter))
            for moment in figure.moments
        ],
        phases=[
            PhaseSeen(f"{before}-{letter}", Statistic.of(_between(handovers, before, letter)))
            for before, letter in pairwise(roles)
        ],
        processing=[
            ProcessingSeen(part.name, roles[part.begins], of("processing", part.name), part.paper_us)
            for part in figure.processing
        ],
        processing_in_all=ProcessingInAll(
            Statistic.of([sum(one.values()) for one in whole]), sum(paper_us) if paper_us else None
        ),
        note=_NOTE_13 if figure.number == _PMIPV6_FIGURE else "",
    )


def _between(handovers: Sequence[dict[str, Any]], before: str, letter: str) -> list[float]:
    moments = [one["phase_t_us"] for one in handovers]
    return [one[letter] - one[before] for one in moments if before in one and letter in one]


class _Span(NamedTuple):
    """A part of one handover's silence, µs."""

    name: str
    kind: str
    us: float


def decomposition_of(run: Run) -> Decomposition:
    """Of the handovers whose silence consists of the same parts as most do."""
    handovers = run.handover["handovers"]
    spans = [(one, list(_spans(one))) for one in handovers]
    kinds = Counter(tuple(span.name for span in some) for _, some in spans if some)
    names = kinds.most_common(1)[0][0] if kinds else ()
    alike = [some for _, some in spans if some and tuple(span.name for span in some) == names]
    paper_us = iter(part.paper_us for part in FIGURES[run.scheme].processing) if run.scheme in _WITH_PAPER else iter(())
    parts = []
    for column in zip(*alike, strict=True):
        kind = column[0].kind
        paper = next(paper_us, None) if kind == PROCESSING else None
        parts.append(Part(column[0].name, kind, Statistic.of([span.us for span in column]), paper))
    downlinks = [one["downlink"] for one in handovers]
    return Decomposition(
        scheme=run.scheme,
        mode=run.mode,
        run=run.key,
        formula=_formula(parts),
        paper=_PAPER.get(run.scheme),
        parts=parts,
        sum_us=Statistic.of([sum(span.us for span in some) for some in alike]),
        gap_us=Statistic.of([one["gap_ms"] * 1000 for one in downlinks]),
        lost=Statistic.of([one["lost"] for one in downlinks]),
        lost_on_air=Statistic.of([one["lost_on_air"] for one in downlinks]),
    )


def _formula(parts: Sequence[Part]) -> str:
    names = {RADIO: "L2", PROCESSING: "processing", OTHER: "wait for a packet"}
    travels = sum(part.kind == TRAVEL and not part.name.endswith(_LAST_LEG) for part in parts)
    last = any(part.name.endswith(_LAST_LEG) and part.kind == TRAVEL for part in parts)
    terms = [names[RADIO]]
    terms += [f"{travels} one-way {'trip' if travels == 1 else 'trips'}"] if travels else []
    terms += [names[PROCESSING]] + ([_LAST_LEG] if last else []) + ([names[OTHER]] if _has(parts, OTHER) else [])
    return " + ".join(terms)


def _has(parts: Sequence[Part], kind: str) -> bool:
    return any(part.kind == kind for part in parts)


def _spans(handover: dict[str, Any]) -> Iterator[_Span]:
    """The parts of the downlink's silence from the detach on, in the order of time; none if it never ended."""
    events: list[Event] = handover["timeline"]
    nmag = handover["to"]
    arrival = _last(events, "first-packet", lambda event: event.get("direction") == "downlink")
    attach = _last(events, "attach-noticed", lambda event: event["node"] == nmag)
    if arrival is None or attach is None:
        return
    until = [event for event in events if event["t_us"] <= arrival["t_us"]]
    released = _last(until, "hold-released", lambda event: event["t_us"] >= attach["t_us"])
    opened = released or _last(
        until, "forwarding", lambda event: event["node"] == nmag and event["t_us"] >= attach["t_us"]
    )
    if opened is None:  # all was ready when the MN came
        yield _Span("L2", RADIO, attach["t_us"])
        yield _Span(f"nMAG: {_LAST_LEG}", PROCESSING, arrival["t_us"] - attach["t_us"])
        return
    roles = {handover["from"]: "pMAG", nmag: "nMAG", LMA: "LMA"}
    way = _Span(f"{roles[opened['node']]}: {_LAST_LEG}", TRAVEL, arrival["t_us"] - opened["t_us"])
    if released is None:
        way = way._replace(name=f"{roles[opened['node']]}: the next packet", kind=OTHER)
    backwards = [way]
    here = opened
    while True:
        role = roles[here["node"]]
        received = _last(
            until,
            "",
            lambda event, here=here: (
                event["event"].endswith(" received")  # type: ignore[misc]
                and event["node"] == here["node"]
                and attach["t_us"] <= event["t_us"] <= here["t_us"]
            ),
        )
        if received is None:
            break
        message = received["event"].removesuffix(" received")
        backwards.append(_Span(f"{role}: {message} to {_what(here)}", PROCESSING, here["t_us"] - received["t_us"]))
        sent = _last(
            until,
            f"{message} sent",
            lambda event, received=received: (
                event["node"] == received["peer"]  # type: ignore[misc]
                and event["t_us"] <= received["t_us"]
            ),
        )
        if sent is None or sent["t_us"] < attach["t_us"]:
            break
        backwards.append(_Span(f"{message} {roles[sent['node']]} to {role}", TRAVEL, received["t_us"] - sent["t_us"]))
        here = sent
    if here["node"] == nmag:
        backwards.append(_Span(f"nMAG: attach to {_what(here)}", PROCESSING, here["t_us"] - attach["t_us"]))
        yield _Span("L2", RADIO, attach["t_us"])
        yield from reversed(backwards)


def _what(event: Event) -> str:
    name = str(event["event"])
    return {"hold-released": "release", "forwarding": "forwarding"}.get(name, name)


def _last(events: Sequence[Event], name: str, wanted: Callable[[Event], bool]) -> Event | None:
    return next((event for event in reversed(events) if name in ("", event["event"]) and wanted(event)), None)
