"""The figures of `testbed bench`, by name."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from functools import cached_property
from typing import Any

from testbed.backend import Backend, open_backend
from testbed.bench import core as bench_core
from testbed.bench import store as bench_store
from testbed.bench.row import Progress, Row
from testbed.measurement.phases import FIGURES
from testbed.table import table

PHASE_HANDOVERS = 20


class Place:
    """Where the benchmarks that need a kernel run: natively if this one has what it takes, else in the virtual machine
    with its virtual clock, where an instruction is a nanosecond. It comes up when it is first used."""

    def __init__(self, stack: ExitStack, progress: Progress) -> None:
        self._stack = stack
        self.progress = progress

    @cached_property
    def backend(self) -> Backend:
        return self._stack.enter_context(open_backend(None, None, self.progress))


def _on_a_kernel(function: str) -> Callable[[Place], Iterable[Row]]:
    def measured(place: Place) -> Iterable[Row]:
        note = "" if place.backend.clock == "real" else "an emulated processor, one instruction a nanosecond"
        for row in place.backend.call(function, {}, place.progress):
            yield Row(*row)._replace(note=note)

    return measured


def _phases(place: Place) -> Iterable[Row]:
    """What the nodes compute in the intervals of Figures 13 and 14; the goals are the paper's figures."""
    for scheme, figure in FIGURES.items():
        result = place.backend.run({"scheme": scheme, "count": PHASE_HANDOVERS}, place.progress)
        handovers = [handover["processing"] for handover in result["handovers"]]
        means = {part.name: sum(one[part.name] for one in handovers) / len(handovers) for part in figure.processing}
        for part in figure.processing:
            yield Row(
                f"phase-{scheme}-{part.name}", means[part.name], "us", part.paper_us, False, f"Figure {figure.number}"
            )
        known_us = [part.paper_us for part in figure.processing if part.paper_us is not None]
        in_all_us = sum(known_us) if known_us else None
        yield Row(f"phases-{scheme}", sum(means.values()), "us", in_all_us, False, f"Figure {figure.number}")


BENCHMARKS: dict[str, Callable[[Place], Iterable[Row]]] = {
    "codec": lambda _: bench_core.codec(),
    "handovers": lambda _: bench_core.handovers(),
    "memory": lambda _: bench_core.memory(),
    "store": lambda _: bench_store.store(),
    "lmad": _on_a_kernel("testbed.bench.daemon:lmad_rows"),
    "hold": _on_a_kernel("testbed.bench.hold:hold_rows"),
    "forwarding": _on_a_kernel("testbed.bench.hold:forwarding_rows"),
    "phases": _phases,
}


def measure(names: Sequence[str], progress: Progress) -> list[Row]:
    """Run these, or all."""
    rows: list[Row] = []
    with ExitStack() as stack:
        place = Place(stack, progress)
        for name in names or BENCHMARKS:
            progress(f"measuring {name}")
            rows += BENCHMARKS[name](place)
    return rows


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The object of `testbed bench --json`."""
    return {"schema": 1, "benchmarks": [row._asdict() for row in rows]}


def render(rows: Sequence[Row]) -> str:
    """A table for people, with whether each goal is reached."""
    lines = []
    for row in rows:
        reached = ""
        if row.goal is not None:
            good = row.value >= row.goal if row.higher_is_better else row.value <= row.goal
            reached = "reached" if good else "missed"
        goal = "-" if row.goal is None else f"{row.goal:g}"
        lines.append([row.name, f"{row.value:.4g}", row.unit, goal, reached, row.note])
    return table(["figure", "value", "unit", "goal", "", ""], lines)
