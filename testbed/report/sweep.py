"""The runs of a comparison as series: one parameter varies, the others stay at the base point."""

from collections.abc import Iterator, Sequence
from statistics import mean
from typing import Any, NamedTuple

import msgspec

from testbed.compare.document import Document, Run
from testbed.measurement.observations import DIRECTIONS

MODES = ("reactive", "predictive")


class Parameter(NamedTuple):
    """`field` is of Point; `name` is short enough for a narrow axis."""

    field: str
    name: str
    label: str
    unit: str


RTT = Parameter("rtt_ms", "RTT", "RTT between MAG and LMA", "ms")
L2 = Parameter("l2_ms", "L2", "L2 handover time", "ms")
RATE = Parameter("rate_pps", "packets", "rate of packets each way", "1/s")
CONTEXT = Parameter("context_bytes", "context", "size of the context", "octets")
PARAMETERS = (RTT, L2, RATE, CONTEXT)


class Measure(NamedTuple):
    """A figure of every handover; `direction` is empty for one that has none."""

    direction: str
    key: str
    label: str
    unit: str


LOST = tuple(Measure(direction, "lost", f"lost, {direction}", "packets per handover") for direction in DIRECTIONS)
GAP = tuple(Measure(direction, "gap_ms", f"longest silence, {direction}", "ms") for direction in DIRECTIONS)
SIGNALLED = Measure("", "bytes_signalled", "signalling", "octets per handover")


class Seen(NamedTuple):
    """Of the handovers of one run."""

    mean: float
    low: float
    high: float
    handovers: int


class Series(NamedTuple):
    """One scheme in one mode: a run for each value of the parameter, in their order."""

    scheme: str
    mode: str
    values: list[float]
    runs: list[Run]

    def of(self, measure: Measure) -> list[Seen]:
        return [seen(run, measure) for run in self.runs]


def seen(run: Run, measure: Measure) -> Seen:
    figures = [_figure(handover, measure) for handover in run.handover["handovers"]]
    return Seen(mean(figures), min(figures), max(figures), len(figures))


def _figure(handover: dict[str, Any], measure: Measure) -> float:
    if measure is SIGNALLED:
        return float(sum(handover["bytes_signalled"].values()))
    return float(handover[measure.direction][measure.key])


def base_runs(document: Document) -> list[Run]:
    """One for each scheme and mode, schemes in the order asked for."""
    order = {scheme: place for place, scheme in enumerate(document.sweep.schemes)}
    runs = [run for run in document.runs if run.base]
    return sorted(runs, key=lambda run: (order.get(run.scheme, len(order)), _mode_place(run.mode)))


def series_over(document: Document, parameter: Parameter) -> list[Series]:
    """Every scheme and mode with two values of it at least."""
    return [series for series in _series(document, parameter) if len(set(series.values)) > 1]


def modes_of(series: Sequence[Series]) -> list[str]:
    return sorted({one.mode for one in series}, key=_mode_place)


def _mode_place(mode: str) -> tuple[int, str]:
    return (MODES.index(mode) if mode in MODES else len(MODES), mode)


def _series(document: Document, parameter: Parameter) -> Iterator[Series]:
    others = [other.field for other in PARAMETERS if other != parameter]
    at_base = msgspec.structs.asdict(document.sweep.base)
    for base in base_runs(document):
        runs = [
            run
            for run in document.runs
            if (run.scheme, run.mode) == (base.scheme, base.mode)
            and all(getattr(run, other) == at_base[other] for other in others)
        ]
        runs.sort(key=lambda run: float(getattr(run, parameter.field)))
        yield Series(base.scheme, base.mode, [float(getattr(run, parameter.field)) for run in runs], runs)
