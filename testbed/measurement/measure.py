"""A run directory to the object that `testbed handover --json` writes (`handover.schema.json`).

Beyond the schema: "spec" fields as given, per handover "phase_t_us", "processing" and "phases_missing" (`phases.py`),
"latency_ms" of each direction, "totals" over the whole run, and "captures", which says whether they agree with what
iperf3 and ping counted; "tcp", where there was any (`tcp/measure.py`). How packets are counted is in `accounting.py`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from testbed.measurement.accounting import Counts, Noticed, account, fates_of, longest_silence_ns, windows_of
from testbed.measurement.checks import iperf3_of, ping_of
from testbed.measurement.observations import DIRECTIONS, LMA, Observations, observe
from testbed.measurement.phases import phases_of
from testbed.measurement.signalling import as_sent
from testbed.measurement.timeline import bytes_signalled, timeline_of
from testbed.run.run_directory import RunDirectory
from testbed.tcp.measure import Moves, measure_tcp

SCHEMA = 1
_NS_PER_MS = 1_000_000


def measure(run_directory: Path) -> dict[str, Any]:
    """The measurement of one run. Raises MeasurementError or CaptureError, in one line, if there can be none."""
    run = RunDirectory.load(run_directory)
    seen = observe(run)
    journals = {node: run.journal(node) for node in [LMA, *sorted(run.mags())]}
    measured = [_of_mobile_node(run, seen, journals, mn) for mn in run.mns]
    notes: list[str] = []
    iperf3, ping = iperf3_of(run, seen, notes), ping_of(run, seen, notes)
    tcp = {"tcp": measure_tcp(run, (one.moves for one in measured), notes)} if run.spec.tcp_mbps else {}
    undecodable = sum(signal.message is None for signal in seen.signals)
    if undecodable:
        notes.append(f"{undecodable} signalling packets could not be decoded")
    spec = run.spec
    return {
        "schema": SCHEMA,
        "scheme": spec.scheme,
        "mode": spec.mode,
        "backend": run.backend,
        "kernel": run.kernel,
        "clock": spec.clock,
        "rtt_ms": spec.rtt_ms,
        "l2_ms": spec.l2_ms,
        "rate_pps": spec.rate_pps,
        **({} if spec.seed is None else {"seed": spec.seed}),
        "handovers": sorted((one for mn in measured for one in mn.moves.handovers), key=lambda one: int(one["index"])),
        "outside_handovers": _sum_as_json(mn.outside for mn in measured),
        "totals": _sum_as_json(mn.totals for mn in measured),
        "ping": ping,
        "iperf3": iperf3,
        **tcp,
        "captures": {"whole": not notes, "notes": notes},
    }


class _Measured(NamedTuple):
    """One MN's handovers, and by direction the packets that belong to none of them, and all."""

    moves: Moves
    outside: dict[str, Counts]
    totals: dict[str, Counts]


def _of_mobile_node(
    run: RunDirectory, seen: Observations, journals: dict[str, list[dict[str, Any]]], mn: str
) -> _Measured:
    mn_id = run.mns[mn].mn_id
    flows = {direction: seen.flows[mn, direction] for direction in DIRECTIONS}
    windows = windows_of(run.moves_of(mn), flows, run.spec.rtt_ms)
    own_journals = {
        node: [event for event in journal if event.get("mn_id") == mn_id] for node, journal in journals.items()
    }
    noticed = Noticed.of(own_journals, mn_id)
    signals = as_sent(seen.signals_about(mn_id), run, own_journals)
    handovers: list[dict[str, Any]] = [
        {
            "index": window.move.index,
            "mn": mn,
            "hnp": run.mns[mn].hnp,
            "from": window.move.pmag,
            "to": window.move.nmag,
            # What is signalled for an MN is for all of its prefixes, and told with the first.
            "bytes_signalled": bytes_signalled(window, signals) if run.node_of(mn) == mn else {},
            "timeline": timeline_of(window, signals, own_journals),
            **phases_of(run.spec.scheme, window, signals, own_journals).as_json(),
        }
        for window in windows
    ]
    measured = _Measured(Moves(mn, windows, handovers, noticed), {}, {})
    for direction, flow in flows.items():
        fates = fates_of(flow, direction, run.moves_of(mn), noticed)
        by_window, outside, total = account(flow, fates, windows)
        measured.outside[direction], measured.totals[direction] = outside, total
        for handover, window, counts in zip(handovers, windows, by_window, strict=True):
            served = window.first.get(direction) is not None
            gap_ms = longest_silence_ns(flow, window, served) / _NS_PER_MS
            handover[direction] = {**counts.as_json(), "gap_ms": gap_ms, "served_again": served}
    return measured


def _sum_as_json(parts: Iterable[dict[str, Counts]]) -> dict[str, Any]:
    by_direction = list(parts)
    return {direction: sum((part[direction] for part in by_direction), Counts()).as_json() for direction in DIRECTIONS}
