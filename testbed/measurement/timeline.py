"""A handover's events in the order of time, and what its signalling cost in octets."""

from collections import Counter
from collections.abc import Iterable
from typing import Any

from testbed.measurement.accounting import Window
from testbed.measurement.observations import CN, DOWNLINK, Signal

_NS_PER_US = 1000

# What a daemon notes, and what the timeline calls it: the plain "detached" and "attached" are the radio's.
_NOTED = {
    "detached": "detach-noticed",
    "attached": "attach-noticed",
    "forwarding": "forwarding",
    "hold-started": "hold-started",
    "hold-released": "hold-released",
}


def timeline_of(
    window: Window, signals: Iterable[Signal], journals: dict[str, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    """Events {"t_us" from the detach, "node", "event"} of one handover; some have a "peer" or other detail.

    `signals` and `journals` (by node) are those about its MN.
    """
    move = window.move
    events: list[tuple[int, str, str, dict[str, Any]]] = [
        (move.detach_ns, move.mn, "detached", {"mag": move.pmag}),
        (move.attach_ns, move.mn, "attached", {"mag": move.nmag}),
    ]
    for direction, first in window.first.items():
        if first:
            receiver = move.mn if direction == DOWNLINK else CN
            events.append((first.t_ns, receiver, "first-packet", {"direction": direction}))
    for signal in signals:
        if window.holds(signal.t_ns):
            name = f"{signal.name} {'sent' if signal.sent else 'received'}"
            events.append((signal.t_ns, signal.node, name, {"peer": signal.peer}))
    for node, journal in journals.items():
        for event in journal:
            if event["event"] in _NOTED and window.holds(event["t_ns"]):
                detail = {key: event[key] for key in ("downlink",) if key in event}
                events.append((event["t_ns"], node, _NOTED[event["event"]], detail))
    events.sort(key=lambda event: event[0])
    return [
        {"t_us": (t_ns - move.detach_ns) / _NS_PER_US, "node": node, "event": event, **detail}
        for t_ns, node, event, detail in events
    ]


def bytes_signalled(window: Window, signals: Iterable[Signal]) -> dict[str, int]:
    """Octets of IPv6 packets by message name, each as often as the node it comes from sent it."""
    octets: Counter[str] = Counter()
    for signal in signals:
        if signal.sent and window.holds(signal.t_ns):
            octets[signal.name] += signal.octets
    return dict(octets)
