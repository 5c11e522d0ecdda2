"""The figures of `testbed bench`, by name."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from testbed import bench_core, bench_store
from testbed.bench_row import Row
from testbed.table import table

BENCHMARKS: dict[str, Callable[[], Iterable[Row]]] = {
    "codec": bench_core.codec,
    "handovers": bench_core.handovers,
    "store": bench_store.store,
}


def measure(names: Sequence[str], progress: Callable[[str], Any]) -> list[Row]:
    """Run these, or all."""
    rows: list[Row] = []
    for name in names or BENCHMARKS:
        progress(f"measuring {name}")
        rows += BENCHMARKS[name]()
    return rows


def as_json(rows: Sequence[Row]) -> dict[str, Any]:
    """The object of `testbed bench --json`."""
    return {
        "schema": 1,
        "benchmarks": [
            {
                "name": row.name,
                "value": row.value,
                "unit": row.unit,
                "goal": row.goal,
                "higher_is_better": row.higher_is_better,
            }
            for row in rows
        ],
    }


def render(rows: Sequence[Row]) -> str:
    """A table for people, with whether each goal is reached."""
    lines = []
    for row in rows:
        reached = ""
        if row.goal is not None:
            good = row.value >= row.goal if row.higher_is_better else row.value <= row.goal
            reached = "reached" if good else "missed"
        goal = "-" if row.goal is None else f"{row.goal:g}"
        lines.append([row.name, f"{row.value:.4g}", row.unit, goal, reached])
    return table(["figure", "value", "unit", "goal", ""], lines)
