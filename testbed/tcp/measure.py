"""What `testbed handover --tcp` adds to the measurement: "tcp" of each handover, and "tcp" of the run.

Each direction has its data segments counted as test packets are, and "retransmitted": how many were sent again, in all
and by cause (`accounting.py` beside this).
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from testbed.measurement.accounting import Noticed, Window
from testbed.measurement.observations import DIRECTIONS
from testbed.run.run_directory import RunDirectory
from testbed.tcp.accounting import TcpCounts, account_tcp
from testbed.tcp.observations import TcpFlow, observe_tcp


class Moves(NamedTuple):
    """What is known already of an MN: the windows of its handovers, the JSON of each, and what MAGs noticed."""

    mn: str
    windows: Sequence[Window]
    handovers: Sequence[dict[str, Any]]
    noticed: Noticed


def measure_tcp(run: RunDirectory, everybody: Iterable[Moves], notes: list[str]) -> dict[str, Any]:
    """Put "tcp" into every handover; the run's own, with notes on whatever iperf3 counted otherwise."""
    flows = observe_tcp(run)
    outside, totals = dict.fromkeys(DIRECTIONS, TcpCounts()), dict.fromkeys(DIRECTIONS, TcpCounts())
    iperf3 = {direction: {"retransmits": 0, "captured": {"retransmits": 0}} for direction in DIRECTIONS}
    for one in everybody:
        for direction in DIRECTIONS:
            flow = flows[one.mn, direction]
            by_window, rest = account_tcp(flow, direction, one.windows, one.noticed)
            for handover, counts in zip(one.handovers, by_window, strict=True):
                handover.setdefault("tcp", {})[direction] = counts.as_json()
            total = sum(by_window, rest)
            outside[direction] += rest
            totals[direction] += total
            said = run.tcp.get(one.mn, {}).get(direction, {}).get("retransmits")
            notes += _notes(f"{one.mn} {direction}", flow, total, said)
            _add(iperf3[direction], said or 0, total)
    return {
        "mbit_s": run.spec.tcp_mbps,
        "outside_handovers": {direction: counts.as_json() for direction, counts in outside.items()},
        "totals": {direction: counts.as_json() for direction, counts in totals.items()},
        "iperf3": iperf3,
    }


def _add(iperf3: dict[str, Any], retransmits: int, captured: TcpCounts) -> None:
    iperf3["retransmits"] += retransmits
    iperf3["captured"]["retransmits"] += captured.again.total()


def _notes(name: str, flow: TcpFlow, captured: TcpCounts, said: int | None) -> list[str]:
    notes = []
    if said is None:
        notes.append(f"{name}: iperf3 reported no retransmits by TCP")
    elif said != captured.again.total():
        notes.append(f"{name}: iperf3 says retransmits {said}, the captures {captured.again.total()}")
    if flow.strays:
        notes.append(f"{name}: {flow.strays} TCP packets were captured on their way, but not leaving")
    return notes
