"""When a signalling message left its node: as soon as the daemon had given it to the kernel.

The lab's delays may sit on the sender's own interface, and the kernel shows a packet to a capture behind them: there
the capture of an outgoing message is late by one way. So the journal's "sent" counts where it is the earlier one.
(Without a delay it is the later one, because the daemon writes it when the system call has returned.)
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from typing import Any

from testbed.accounting import in_flight_ns
from testbed.observations import Signal
from testbed.run_directory import RunDirectory


def as_sent(signals: list[Signal], run: RunDirectory, journals: dict[str, list[dict[str, Any]]]) -> list[Signal]:
    """The signals of one MN with the moments of those sent corrected, in the order of time; `journals` by node."""
    names = {str(node.address): name for name, node in run.nodes.items() if node.address}
    journaled: dict[tuple[str, str, str], list[int]] = defaultdict(list)  # node, peer, message -> moments in order
    for node, journal in journals.items():
        for event in journal:
            if event["event"] == "sent":
                journaled[node, names.get(event["peer"], event["peer"]), event["message"]].append(event["t_ns"])

    def corrected(signal: Signal) -> Signal:
        moments = journaled[signal.node, signal.peer, signal.name] if signal.sent else []
        earliest = bisect_left(moments, signal.t_ns - in_flight_ns(run.spec.rtt_ms))
        latest = bisect_right(moments, signal.t_ns)
        return signal._replace(t_ns=moments[latest - 1]) if earliest < latest else signal

    return sorted(map(corrected, signals), key=lambda signal: signal.t_ns)
