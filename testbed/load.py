"""The traffic of a measured run: a ping and a stream each way for every MN, each at its own point of the interval.

A gap is seen in steps of the packets' interval: where in it an MN leaves decides whether the same handover shows one
packet more or less. So an MN leaves a quarter of an interval after a downlink packet has reached it (the beat). Half
way would be no good: with L2 and RTT whole numbers of intervals, half an interval of processing would make the
difference. For the same reason uplink packets leave where neither detach nor attach, nor what follows them, is near.
"""

from collections.abc import Iterator, Mapping
from ipaddress import IPv6Interface
from pathlib import Path
from typing import Any

from testbed.lab import Lab
from testbed.node import now_ns, sleep_until, wait_until
from testbed.rhythm import SAMPLE, Rhythm, Tap, next_round_ns, udp_to
from testbed.traffic import Load, Ping, Stream, stream_ports

_BEAT = 0.25  # of an interval, from a downlink packet's arrival at the first MN
_UPLINK = 0.65  # of an interval, from the beat
_LEAD_S = 0.020  # from one thing to do to the next: doing it takes less, by emulation too


class Traffic:
    """Ping and iperf3 of every MN; nothing is sent before `start`."""

    def __init__(self, lab: Lab, load: Load, files: Path) -> None:
        self._lab = lab
        self._load = load
        self._files = files
        nodes = lab.nodes
        self._mns = [mn.name for mn in lab.topology.mns]
        self._pings: dict[str, Ping] = {}
        self.downlinks: dict[str, Stream] = {}
        self.uplinks: dict[str, Stream] = {}
        for number, mn in enumerate(self._mns):
            downlink, uplink = stream_ports(number)
            self.downlinks[mn] = Stream(nodes["cn"], nodes[mn], downlink, files)
            self.uplinks[mn] = Stream(nodes[mn], nodes["cn"], uplink, files)

    def start(self, addresses: Mapping[str, IPv6Interface]) -> tuple[Rhythm, int]:
        """Everything sends when this returns: the beats, at which MNs may leave, and the number of the latest."""
        nodes, cn = self._lab.nodes, self._lab.topology.addresses["cn"]
        for stream in self.streams():
            wait_until(stream.listening, "iperf3 does not listen")
        for mn in self._mns:
            self._pings[mn] = Ping(nodes[mn], cn, self._lab.topology.rtt_s, self._files)
            self.downlinks[mn].start(addresses[mn].ip, self._load)
            self.uplinks[mn].start(cn, self._load)
        for stream in self.streams():
            wait_until(stream.answered, "iperf3 does not start")
        return self._go()

    def _go(self) -> tuple[Rhythm, int]:
        interval_ns, first = self._load.interval_ns, self._mns[0]
        start_ns = next_round_ns()
        self.downlinks[first].go(start_ns)
        port = self.downlinks[first].port
        with Tap(self._lab.nodes["cn"], udp_to(port), outgoing=True) as tap:
            departures = tap.rhythm(interval_ns)
        with Tap(self._lab.nodes[first], udp_to(port), outgoing=False) as tap:
            beat = tap.rhythm(interval_ns).shifted(_BEAT * interval_ns)
        # From going on to packet 1: iperf3 sets its timer when it has read what it was told.
        reaction_ns = departures.at(1) - start_ns
        step_ns = interval_ns / (2 * len(self._mns))
        uplinks = beat.shifted(_UPLINK * interval_ns)
        plan: list[tuple[Stream | Ping, Rhythm]] = []
        for number, mn in enumerate(self._mns):
            if number:
                plan.append((self.downlinks[mn], departures.shifted(number * step_ns - reaction_ns)))
            plan.append((self.uplinks[mn], uplinks.shifted(number * step_ns - reaction_ns)))
            plan.append((self._pings[mn], beat))
        # At the same packet's time in every run, unless this process has been slower than ever.
        watched_s = 2 * (SAMPLE + 2) * interval_ns / 1e9 + self._lab.topology.rtt_s
        for place, (who, rhythm) in enumerate(plan, 1):
            number = max(rhythm.beats(watched_s + place * _LEAD_S), rhythm.first_after(now_ns()))
            who.go(rhythm.at(number))
        return beat, number

    def answered_since(self, mn: str, moment_ns: int) -> bool:
        """Whether a ping that the MN sent after that moment (CLOCK_REALTIME) has been answered."""
        return self._pings[mn].answered_since(moment_ns)

    def require_alive(self) -> None:
        """Raises LabError when a stream has ended early."""
        for stream in self.streams():
            stream.require_alive()

    def pause(self, at_ns: int) -> int:
        """Send nothing more from that moment on; when it was."""
        sleep_until(at_ns)
        for stream in self.streams():
            stream.pause()
        return now_ns()

    def end(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """After `pause`, when nothing is under way any more: what iperf3 and ping counted, by MN."""
        for stream in self.streams():
            stream.end()
        iperf3 = {
            mn: {"downlink": self.downlinks[mn].result(), "uplink": self.uplinks[mn].result()} for mn in self._mns
        }
        return iperf3, {mn: ping.stop() for mn, ping in self._pings.items()}

    def streams(self) -> Iterator[Stream]:
        yield from self.downlinks.values()
        yield from self.uplinks.values()
