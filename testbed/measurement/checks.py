"""Whether the captures are whole: what they say against what iperf3 and ping counted themselves."""

from collections.abc import Iterable
from typing import Any

from testbed.measurement.observations import DIRECTIONS, Arrival, Echoes, Flow, Observations
from testbed.run.run_directory import RunDirectory

_IPERF3_COUNTS = ("packets_sent", "packets", "lost_packets", "out_of_order")


def iperf3_of(run: RunDirectory, seen: Observations, notes: list[str]) -> dict[str, dict[str, Any]]:
    """By direction, summed over the MNs: what iperf3 counted, and as "captured" what it should have counted."""
    result: dict[str, dict[str, Any]] = {direction: {} for direction in DIRECTIONS}
    for (mn, direction), flow in seen.flows.items():
        counts = run.iperf3.get(mn, {}).get(direction, {})
        reported = {name: counts[name] for name in _IPERF3_COUNTS if name in counts}
        captured = dict(zip(_IPERF3_COUNTS, (len(flow.sent), *_as_iperf3_counts(flow.arrivals)), strict=True))
        if not reported:
            notes.append(f"{mn} {direction}: iperf3 reported no counts")
        for name, count in reported.items():
            if count != captured[name]:
                notes.append(f"{mn} {direction}: iperf3 says {name} {count}, the captures {captured[name]}")
        _add(result[direction], reported)
        _add(result[direction].setdefault("captured", {}), captured)
        _check_flow(f"{mn} {direction}", flow, notes)
    return result


def ping_of(run: RunDirectory, seen: Observations, notes: list[str]) -> dict[str, Any]:
    """Summed over the MNs: ping's counts, and as "captured" those of the echo packets at the MNs' interfaces."""
    result: dict[str, Any] = {"sent": 0, "received": 0, "captured": {"sent": 0, "received": 0}}
    for mn, echoes in seen.echoes.items():
        captured = _main_ping(echoes)
        reported = {name: run.ping[mn][name] for name in captured} if mn in run.ping else {}
        if not reported:
            notes.append(f"{mn}: ping reported no counts")
        elif reported != captured:
            notes.append(f"{mn}: ping says {reported}, the captures {captured}")
        _add(result, reported)
        _add(result["captured"], captured)
    return result


def _check_flow(name: str, flow: Flow, notes: list[str]) -> None:
    if not flow.sent:
        notes.append(f"{name}: no test packet was captured at the sender")
        return
    unseen = {arrival.number for arrival in flow.arrivals} - flow.sent.keys()
    if unseen:
        notes.append(f"{name}: {len(unseen)} packets arrived that were not captured leaving")
    unsent = max(flow.sent) - len(flow.sent) - len(unseen)
    if unsent > 0:
        notes.append(f"{name}: {unsent} packets iperf3 counted were never captured leaving nor arriving")


def _as_iperf3_counts(arrivals: Iterable[Arrival]) -> tuple[int, int, int]:
    """Packets, lost and out of order by iperf3's own rule (`iperf_udp_recv`), where a duplicate is out of order too."""
    highest = lost = out_of_order = 0
    for _, number in arrivals:
        if number > highest:
            lost += number - highest - 1
            highest = number
        else:
            out_of_order += 1
            lost = max(lost - 1, 0)
    return highest, lost, out_of_order


def _main_ping(echoes: Echoes) -> dict[str, int]:
    """Of the identifier with the most requests (shorter pings are somebody's warming up), as `traffic.Ping` counts: up
    to the last request that was answered."""
    identifier = max(echoes.requests, key=lambda one: len(echoes.requests[one]), default=0)
    requests = echoes.requests.get(identifier, set())
    answered = requests & echoes.replies.get(identifier, set())
    return {"sent": sum(sequence <= max(answered, default=0) for sequence in requests), "received": len(answered)}


def _add(total: dict[str, Any], part: dict[str, int]) -> None:
    for name, count in part.items():
        total[name] = total.get(name, 0) + count
