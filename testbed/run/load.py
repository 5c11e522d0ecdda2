"""The traffic of a measured run: a ping and a stream each way for every MN, each at its own point of the interval.

A gap is seen in steps of the packets' interval: where in it an MN leaves decides whether the same handover shows one
packet more or less. So an MN leaves a quarter of an interval after a downlink packet has reached it (the beat). Half
way would be no good: with L2 and RTT whole numbers of intervals, half an interval of processing would make the
difference. For the same reason uplink packets leave where neither detach nor attach, nor what follows them, is near.
"""

from collections.abc import Iterator
from ipaddress import IPv6Interface
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

from testbed.lab.lab import Lab
from testbed.lab.node import now_ns, sleep_until, wait_until
from testbed.run.rhythm import SAMPLE, Rhythm, Tap, next_round_ns, udp_to
from testbed.run.traffic import Load, Ping, Stream, stream_ports
from testbed.tcp.stream import TcpLoad, TcpStream, send_single_segments, tcp_ports

_BEAT = 0.25  # of an interval, from a downlink packet's arrival at the first MN
_UPLINK = 0.65  # of an interval, from the beat
_TCP = 0.125  # of an interval, from the UDP packet of the same direction
# TCP's timer doubles with each of its attempts that is lost.
_DRAIN_TIMEOUT_S = 90.0
_LEAD_S = 0.020  # from one thing to do to the next: doing it takes less, by emulation too
# By the name under which it is measured: an MN's node, and its address out of one of its prefixes; first: as the MN.
Flows = dict[str, tuple[str, IPv6Interface]]
S = TypeVar("S", bound=Stream)


class Pair(NamedTuple, Generic[S]):
    """The streams to and from an MN."""

    downlink: S
    uplink: S

    def results(self) -> dict[str, Any]:
        return {"downlink": self.downlink.result(), "uplink": self.uplink.result()}


class Traffic:
    """A ping of every MN and iperf3 under every prefix, with `tcp_load` by TCP too; nothing is sent before `start`."""

    def __init__(self, lab: Lab, load: Load, files: Path, flows: Flows, tcp_load: TcpLoad | None = None) -> None:
        self._lab = lab
        self._load = load
        self._tcp_load = tcp_load
        self._files = files
        self._flows = flows
        # Where an MN has several addresses, both ends must be told which one to use.
        self._own = {name: address.ip if lab.spec.prefixes > 1 else None for name, (_, address) in flows.items()}
        self._pings: dict[str, Ping] = {}
        self._udp: dict[str, Pair[Stream]] = {}
        self._tcp: dict[str, Pair[TcpStream]] = {}
        for number, (name, (mn, _)) in enumerate(flows.items()):
            self._udp[name] = self._pair(Stream, name, mn, stream_ports(number))
            if tcp_load:
                self._tcp[name] = self._pair(TcpStream, name, mn, tcp_ports(number))

    def _pair(self, kind: type[S], name: str, mn: str, ports: tuple[int, int]) -> "Pair[S]":
        mn_node, cn = self._lab.nodes[mn], self._lab.nodes["cn"]
        downlink = kind(cn, mn_node, ports[0], self._files, at=self._own[name])
        return Pair(downlink, kind(mn_node, cn, ports[1], self._files))

    def start(self) -> tuple[Rhythm, int]:
        """Everything sends when this returns: the beats, at which MNs may leave, and the number of the latest."""
        nodes, cn = self._lab.nodes, self._lab.topology.addresses["cn"]
        if self._tcp:
            for node in ("cn", *dict.fromkeys(mn for mn, _ in self._flows.values())):
                for end in self._lab.topology.ends_of(node):
                    send_single_segments(nodes[node], end.interface)
        for stream in self._streams():
            wait_until(stream.listening, "iperf3 does not listen")
        for name, (mn, address) in self._flows.items():
            if name == mn:
                self._pings[mn] = Ping(nodes[mn], cn, self._lab.topology.rtt_s, self._files)
            self._udp[name].downlink.start(address.ip, self._load)
            self._udp[name].uplink.start(cn, self._load, self._own[name])
            if self._tcp_load:
                self._tcp[name].downlink.start(address.ip, self._tcp_load)
                self._tcp[name].uplink.start(cn, self._tcp_load, self._own[name])
        for stream in self._streams():
            wait_until(stream.answered, "iperf3 does not start")
        return self._go()

    def _go(self) -> tuple[Rhythm, int]:
        interval_ns, first = self._load.interval_ns, next(iter(self._flows))
        start_ns = next_round_ns()
        self._udp[first].downlink.go(start_ns)
        port = self._udp[first].downlink.port
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
            down, up = (rhythm.shifted(number * step_ns - reaction_ns) for rhythm in (departures, uplinks))
            plan += [(self._udp[name].downlink, down)] if number else []
            plan.append((self._udp[name].uplink, up))
            if name in self._tcp:
                plan.append((self._tcp[name].downlink, down.shifted(_TCP * interval_ns)))
                plan.append((self._tcp[name].uplink, up.shifted(_TCP * interval_ns)))
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
        for stream in self._streams():
            stream.require_alive()

    def pause(self, at_ns: int) -> int:
        """Send nothing more from that moment on; when it was."""
        sleep_until(at_ns)
        for stream in self._streams():
            stream.pause()
        return now_ns()

    def end(self) -> dict[str, Any]:
        """After `pause`, when nothing is under way any more: what iperf3 (UDP, TCP) and ping counted, by MN."""
        for pair in self._tcp.values():
            for stream in pair:
                wait_until(stream.drained, "TCP does not get its last segments through", _DRAIN_TIMEOUT_S)
        for each in self._streams():
            each.end()
        return {
            "iperf3": {name: pair.results() for name, pair in self._udp.items()},
            "tcp": {name: pair.results() for name, pair in self._tcp.items()},
            "ping": {mn: ping.stop() for mn, ping in self._pings.items()},
        }

    def ports(self, name: str) -> dict[str, Any]:
        """Where what is measured under that name is received, as run.json has it."""
        udp, tcp = self._udp[name], self._tcp.get(name)
        return {
            "downlink_port": udp.downlink.port,
            "uplink_port": udp.uplink.port,
            **({"tcp_ports": {"downlink": tcp.downlink.port, "uplink": tcp.uplink.port}} if tcp else {}),
        }

    def _streams(self) -> Iterator[Stream]:
        for udp in self._udp.values():
            yield from udp
        for tcp in self._tcp.values():
            yield from tcp
