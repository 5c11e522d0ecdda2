"""The shape of what `testbed compare --json` writes; `docs/compare.md` says what each field means.

Everything has a name in JSON as it has here. Microseconds are from the radio's detach unless a comment says otherwise.
"""

from collections.abc import Sequence
from statistics import mean, stdev
from typing import Any, Self

import msgspec

SCHEMA = 1


class Statistic(msgspec.Struct, frozen=True):
    """Of `n` values; `sd` is the sample's, None for a single value."""

    mean: float
    sd: float | None
    n: int
    min: float
    max: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Self | None:
        """None of nothing: what was not measured is not zero."""
        if not values:
            return None
        sd = stdev(values) if len(values) > 1 else None
        return cls(mean(values), sd, len(values), min(values), max(values))


class Point(msgspec.Struct, frozen=True, order=True):
    """Where in the sweep a run is."""

    mode: str = "reactive"
    rtt_ms: float = 10.0
    l2_ms: float = 50.0
    rate_pps: float = 200.0
    context_bytes: int = 64


class Environment(msgspec.Struct, frozen=True):
    kernel: str
    backend: str
    clock: str
    commit: str
    date: str
    versions: dict[str, str]


class Association(msgspec.Struct, frozen=True):
    """Two nodes, by role, that exchanged mobility headers: how many, and octets of IPv6 packets."""

    nodes: tuple[str, str]
    messages: int
    octets: int


class Held(msgspec.Struct, frozen=True):
    """Packets that a node kept longer than it kept any outside handovers."""

    node: str
    direction: str
    packets: int
    longest_us: float


class Redirected(msgspec.Struct, frozen=True):
    """Packets that left a node by another way than any did outside handovers."""

    node: str
    direction: str
    packets: int


class Way(msgspec.Struct, frozen=True):
    """Nodes, by role, that packets sent in a handover passed; `usual` when outside handovers they pass the same."""

    direction: str
    path: tuple[str, ...]
    packets: int
    usual: bool


class Extra(msgspec.Struct, frozen=True):
    """Of packets sent in a handover that arrived, beyond the mean of those outside: links, octets on them, delay."""

    hops: Statistic | None
    core_octets: Statistic | None
    delay_us: Statistic | None


class Jitter(msgspec.Struct, frozen=True):
    """Mean of the absolute difference of neighbours' delays, µs (RFC 3393)."""

    inside: float | None
    outside: float | None


class Observed(msgspec.Struct, frozen=True):
    """What was seen of a run beyond `testbed handover --json`; `messages` and `octets` per handover and MN;
    `contexts_stored` counts the handovers whose nMAG noted that the MN's context had come."""

    associations: list[Association]
    held: list[Held]
    redirected: list[Redirected]
    paths: list[Way]
    extra: dict[str, Extra]
    jitter_us: dict[str, Jitter]
    messages: Statistic | None
    octets: Statistic | None
    contexts_stored: int = 0


class Run(msgspec.Struct, frozen=True):
    """`handover` is the object of `testbed handover --json`; the paths are relative to the JSON's directory."""

    key: str
    base: bool
    scheme: str
    mode: str
    rtt_ms: float
    l2_ms: float
    rate_pps: float
    context_bytes: int
    handover: dict[str, Any]
    observed: Observed
    packets: str
    captures: str


class Skipped(msgspec.Struct, frozen=True):
    scheme: str
    mode: str
    rtt_ms: float
    l2_ms: float
    rate_pps: float
    context_bytes: int
    reason: str


class Cell(msgspec.Struct, frozen=True, omit_defaults=True):
    """One scheme's measured entry of a row."""

    text: str
    value: float | None = None
    unit: str | None = None
    run: str | None = None


class Row(msgspec.Struct, frozen=True):
    """`source` is where the paper claims it, None if it does not; the dictionaries are by scheme."""

    key: str
    row: str
    source: str | None
    paper: dict[str, str]
    measured: dict[str, Cell]
    supported: dict[str, bool | None]
    remark: str


class MomentSeen(msgspec.Struct, frozen=True):
    letter: str
    meaning: str
    role: str
    t_us: Statistic | None


class PhaseSeen(msgspec.Struct, frozen=True):
    """From one moment to the next."""

    name: str
    us: Statistic | None


class ProcessingSeen(msgspec.Struct, frozen=True):
    """An interval in which the node of that role computes."""

    name: str
    node: str
    us: Statistic | None
    paper_us: float | None


class ProcessingInAll(msgspec.Struct, frozen=True):
    us: Statistic | None
    paper_us: float | None


class FigureSeen(msgspec.Struct, frozen=True):
    """A figure of the paper (or one like it: `figure` is None), measured."""

    figure: int | None
    scheme: str
    mode: str
    run: str
    handovers: int
    moments: list[MomentSeen]
    phases: list[PhaseSeen]
    processing: list[ProcessingSeen]
    processing_in_all: ProcessingInAll
    note: str


class Part(msgspec.Struct, frozen=True, omit_defaults=True):
    """Of a gap: `kind` is "radio", "travel", "processing" or "other"."""

    name: str
    kind: str
    us: Statistic | None
    paper_us: float | None = None


class Decomposition(msgspec.Struct, frozen=True):
    """Of the downlink's gap at the base point; `lost` and `lost_on_air` per handover."""

    scheme: str
    mode: str
    run: str
    formula: str
    paper: str | None
    parts: list[Part]
    sum_us: Statistic | None
    gap_us: Statistic | None
    lost: Statistic | None
    lost_on_air: Statistic | None


class Sweep(msgspec.Struct, frozen=True):
    """What was asked for; `base_count` handovers at the base point, `count` at every other."""

    base: Point
    schemes: list[str]
    modes: list[str]
    rtt_ms: list[float]
    l2_ms: list[float]
    rate_pps: list[float]
    context_bytes: list[int]
    base_count: int = 20
    count: int = 3
    seed: int = 0
    mags: int = 2
    mns: int = 1
    packet_size: int = 200


class Document(msgspec.Struct, frozen=True):
    schema: int
    command: str
    environment: Environment
    sweep: Sweep
    runs: list[Run]
    skipped: list[Skipped]
    table1: list[Row]
    figure13: FigureSeen | None
    figure14: FigureSeen | None
    other_figures: list[FigureSeen]
    drop_period: list[Decomposition]
