"""When a signalling message left its node: as soon as the daemon had given it to the kernel.

The lab's delays may sit on the sender's own interface, and the kernel shows a packet to a capture behind them: there
the capture of an outgoing message is late by one way. So the journal's "sent" counts where it is the earlier one.
(Without a delay it is the later one, because the daemon writes it when the system call has returned.)
"""

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

from testbed.measurement.observations import Signal
from testbed.run.run_directory import RunDirectory

_Key = tuple[str, str, str]  # node, peer, message name


def as_sent(signals: Sequence[Signal], run: RunDirectory, journals: dict[str, list[dict[str, Any]]]) -> list[Signal]:
    """The signals of one MN with the moments of those sent corrected, in the order of time; `journals` by node."""
    names = {str(node.address): name for name, node in run.nodes.items() if node.address}
    journaled: dict[_Key, list[int]] = defaultdict(list)
    for node, journal in journals.items():
        for event in journal:
            if event["event"] == "sent":
                journaled[node, names.get(event["peer"], event["peer"]), event["message"]].append(event["t_ns"])
    captured: dict[_Key, list[Signal]] = defaultdict(list)
    for signal in signals:
        if signal.sent:
            captured[signal.node, signal.peer, signal.name].append(signal)
    result = [signal for signal in signals if not signal.sent]
    for key, sent in captured.items():
        moments = _alongside([signal.t_ns for signal in sent], journaled[key])
        result += [signal._replace(t_ns=min(signal.t_ns, t_ns)) for signal, t_ns in zip(sent, moments, strict=True)]
    return sorted(result, key=lambda signal: signal.t_ns)


def _alongside(captured: Sequence[int], journaled: Sequence[int]) -> Sequence[int]:
    """Of each captured message the journal's moment.

    The journal begins before the capture and ends after it, and both have every message in between in the same order,
    so it is a matter of where the capture begins: where the two lie closest. A journal with less says nothing.
    """
    count = len(captured)
    slices = (journaled[start : start + count] for start in range(len(journaled) - count + 1))
    return min(slices, key=lambda some: sum(abs(a - b) for a, b in zip(captured, some, strict=True)), default=captured)
