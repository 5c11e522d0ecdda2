"""The traffic of a measured run: a ping and a stream each way for every MN, each at its own point of the interval.

A gap is seen in steps of the packets' interval: where in it an MN leaves decides whether the same handover shows one
packet more or less. So an MN leaves a quarter of an interval after a downlink packet has reached it (the beat). Half
way would be no good: with L2 and RTT whole numbers of intervals, half an interval of processing would make the
difference. For the same reason uplink packets leave where neither detach nor attach, nor what follows them, is near.
"""

from collections.abc import Iterator
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
# By the name under which it is measured: an MN's node, and its address out of one of its prefixes; first: as the MN.
Flows = dict[str, tuple[str, IPv6Interface]]


class Traffic:
    """A ping of every MN and iperf3 under every prefix; nothing is sent before `start`."""

    def __init__(self, lab: Lab, load: Load, files: Path, flows: Flows) -> None:
        self._lab = lab
        self._load = load
        self._files = files
        nodes = lab.nodes
        self._flows = flows
        # Where an MN has several addresses, both ends must be told which one to use.
        self._own = {name: address.ip if lab.spec.prefixes > 1 else None for name, (_, address) in flows.items()}
        self._pings: dict[str, Ping] = {}
        self.downlinks: dict[str, Stream] = {}
        self.uplinks: dict[str, Stream] = {}
        for number, (name, (mn, _)) in enumerate(flows.items()):
            downlink, uplink = stream_ports(number)
            self.downlinks[name] = Stream(nodes["cn"], nodes[mn], downlink, files, at=self._own[name])
            self.uplinks[name] = Stream(nodes[mn], nodes["cn"], uplink, files)

    def start(self) -> tuple[Rhythm, int]:
        """Everything sends when this returns: the beats, at which MNs may leave, and the number of the latest."""
        nodes, cn = self._lab.nodes, self._lab.topology.addresses["cn"]
        for stream in self.streams():
            wait_until(stream.listening, "iperf3 does not listen")
        for name, (mn, address) in self._flows.items():
            if name == mn:
                self._pings[mn] = Ping(nodes[mn], cn, self._lab.topology.rtt_s, self._files)
            self.downlinks[name].start(address.ip, self._load)
            self.uplinks[name].start(cn, self._load, self._own[name])
        for stream in self.streams():
            wait_until(stream.answered, "iperf3 does not start")
        return self._go()

    def _go(self) -> tuple[Rhythm, int]:
        interval_ns, first = self._load.interval_ns, next(iter(self._flows))
        start_ns = next_round_ns()
        self.downlinks[first].go(start_ns)
        port = self.downlinks[first].port
        with Tap(self._lab.nodes["cn"], udp_to(port), outgoing=True) as tap:
            departures = tap.rhythm(interval_ns)
        with Tap(self._lab.nodes[first], udp_to(port), outgoing=False) as tap:
            one_way_s = self._lab.topology.rtt_s / 2
            beat = tap.rhythm(interval_ns, one_way_s).shifted(_BEAT * interval_ns)
        # From going on to packet 1: iperf3 sets its timer when it has read what it was told.
        reaction_ns = departures.at(1) - start_ns
        step_ns = interval_ns / (2 * len(self._flows))
        uplinks = beat.shifted(_UPLINK * interval_ns)
        plan: list[tuple[Stream | Ping, Rhythm]] = []
        for number, name in enumerate(self._flows):
            if number:
                plan.append((self.downlinks[name], departures.shifted(number * step_ns - reaction_ns)))
            plan.append((self.uplinks[name], uplinks.shifted(number * step_ns - reaction_ns)))
            if name in self._pings:
                plan.append((self._pings[name], beat))
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
            name: {"downlink": self.downlinks[name].result(), "uplink": self.uplinks[name].result()}
            for name in self._flows
        }
        return iperf3, {mn: ping.stop() for mn, ping in self._pings.items()}

    def streams(self) -> Iterator[Stream]:
        yield from self.downlinks.values()
        yield from self.uplinks.values()
