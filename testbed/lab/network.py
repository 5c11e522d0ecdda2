"""Makes a topology real: namespaces, veth pairs, bridges, addresses, routes, delays; and moves mobile nodes.

The state lives in the kernel alone and goes with the namespaces, which `Network` holds on an ExitStack. Commands go in
batches, one process a namespace at most: a process costs 20 ms in an emulated machine.
"""

import os
import socket
import struct
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from pyroute2.netlink import NLM_F_REQUEST
from pyroute2.netlink.rtnl import RTM_NEWLINK
from pyroute2.netlink.rtnl.ifinfmsg import IFF_UP, ifinfmsg

from testbed.lab.node import LabError, Node, enter_namespace, now_ns, run, sleep_until
from testbed.lab.processor import uninterrupted
from testbed.lab.topology import AIR, Bridge, Egress, Topology

# Links take so much longer than they are said to. Where the delay is a whole number of packet intervals, as 5 ms is, a
# packet would leave them 20 µs after a later one was sent: just when iperf3 has read the clock, and is about to sleep
# for what is left by it. What is passed on in between would come on top, and the packet after that be 60 µs late.
_APART_US = 20
# A netem queue never drops for its length: 100,000 packets are 50 s of 2,000 packets/s.
_NETEM_LIMIT = 100_000
_SIGNALLING = "u32 match u8 135 0xff at 6"  # the Next Header octet of the IPv6 header
_NETLINK_HEADER_SIZE = 16
_ERROR = struct.Struct("=i")  # struct nlmsgerr begins with it


@dataclass(frozen=True, slots=True)
class Moment:
    """A link change: CLOCK_REALTIME in ns right before and right after it."""

    began_ns: int
    done_ns: int


class Network:
    """The realised topology; a context manager. `nodes` maps names to running namespaces.

    With `steered`, whoever sends, the packets are passed on by the processor that this process has.
    """

    def __init__(self, topology: Topology, *, steered: bool = False) -> None:
        self.topology = topology
        self._steered = steered
        self.nodes: dict[str, Node] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            for spec in self.topology.nodes:
                self.nodes[spec.name] = Node(spec.name)
                undo.callback(self.nodes[spec.name].close)
            self._set_sysctls()
            run(["ip", "-batch", "-"], "\n".join(self._links()))
            for name, node in self.nodes.items():
                node.run(["ip", "-6", "-batch", "-"], "\n".join(self._addressing(name)))
                if lines := list(self._queueing(name)):
                    node.run(["tc", "-batch", "-"], "\n".join(lines))
                if self._steered:
                    node.run(["unshare", "--mount", "sh", "-ec", _steering()])
            self.air = undo.enter_context(Air(self.topology, self.nodes[AIR].fd))
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    def interfaces(self, node: str) -> dict[int, str]:
        """Interface index to name, of all that the node has now."""
        with self.nodes[node].inside():
            return dict(socket.if_nameindex())

    def _set_sysctls(self) -> None:
        for node in self.topology.nodes:
            with self.nodes[node.name].inside():
                for name, value in node.sysctls.items():
                    Path("/proc/sys", name).write_text(value)

    def _links(self) -> Iterator[str]:
        for link in self.topology.links:
            a, b = (
                f"name {end.interface} index {end.index} {f'address {end.mac}' if end.mac else ''} "
                f"netns {self.nodes[end.node].path}"
                for end in (link.a, link.b)
            )
            yield f"link add {a} type veth peer {b}"

    def _addressing(self, node: str) -> Iterator[str]:
        spec = next(spec for spec in self.topology.nodes if spec.name == node)
        yield "link set lo up"
        for address in spec.addresses:
            yield f"address add {address} dev lo"
        for bridge in self.topology.bridges:
            if bridge.node == node:
                yield from _bridge(bridge)
        for end in self.topology.ends_of(node):
            if end.up:
                yield f"link set {end.interface} up"
            if end.address:  # the two of us are alone on this wire: nothing to detect, usable at once
                yield f"address add {end.address} dev {end.interface} nodad"
        for route in spec.routes:
            yield f"route add {route}"

    def _queueing(self, node: str) -> Iterator[str]:
        for end in self.topology.ends_of(node):
            yield from _egress(end.interface, end.egress)


def _steering() -> str:
    """Receive packet steering of all the node's interfaces (Documentation/networking/scaling.rst in the kernel)."""
    processor = min(os.sched_getaffinity(0))
    mask = f"{1 << processor % 32:x}" + ",00000000" * (processor // 32)
    queues = "/sys/class/net/*/queues/rx-*/rps_cpus"  # of the namespace in which /sys was mounted
    return f"mount -t sysfs none /sys; for queue in {queues}; do echo {mask} >$queue; done"


def _bridge(bridge: Bridge) -> Iterator[str]:
    # All MAGs have the same MAC (RFC 6543): what is learnt is wrong after the next move, so nothing is learnt. A frame
    # goes to all ports that are up, which is one. Without spanning tree a port forwards as soon as it has carrier.
    yield f"link add {bridge.name} type bridge stp_state 0 forward_delay 0 mcast_snooping 0"
    yield f"link set {bridge.name} up"
    for port in bridge.ports:
        yield f"link set {port} master {bridge.name}"
        yield f"link set {port} type bridge_slave learning off"


def _egress(interface: str, egress: Egress) -> Iterator[str]:
    data, signalling = _netem(egress.delay_s), _netem(egress.signalling_delay_s)
    if mishaps := egress.impairment:
        signalling += f" loss {mishaps.loss:.4%} duplicate {mishaps.duplicate:.4%}"
        if mishaps.reorder:
            signalling += f" reorder {mishaps.reorder:.4%}"
    if data == signalling:
        if egress.delay_s:
            yield f"qdisc add dev {interface} root {data}"
        return
    yield f"qdisc add dev {interface} root handle 1: prio bands 2 priomap {' '.join(16 * '0')}"
    yield f"filter add dev {interface} parent 1: protocol ipv6 prio 1 {_SIGNALLING} flowid 1:2"
    if egress.delay_s:
        yield f"qdisc add dev {interface} parent 1:1 {data}"
    if egress.signalling_delay_s or egress.impairment:
        yield f"qdisc add dev {interface} parent 1:2 {signalling}"


def _netem(delay_s: float) -> str:
    delay_us = delay_s * 1e6 + (_APART_US if delay_s else 0)
    return f"netem limit {_NETEM_LIMIT} delay {delay_us:.0f}us"


class Air:
    """Who hears whom: takes carrier from, and gives it to, MN and MAG pairs; a context manager.

    What a change takes is one system call: the netlink messages are encoded beforehand.
    """

    def __init__(self, topology: Topology, namespace: int) -> None:
        self._up: dict[tuple[str, str], bytes] = {}
        self._down: dict[tuple[str, str], bytes] = {}
        self._mags = topology.mags
        for mn in topology.mns:
            for mag in topology.mags:
                port = topology.access_port(mn.name, mag).index
                self._up[mn.name, mag] = _link_message(port, up=True)
                self._down[mn.name, mag] = _link_message(port, up=False)
        with enter_namespace(namespace):
            self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
            self._socket.bind((0, 0))
        self._socket.setblocking(False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def detach(self, mns: Iterable[str], but: Mapping[str, str]) -> Moment:
        """Take carrier from the links of all `mns` at once, except the one to the MAG that `but` names for an MN."""
        return self._change(self._leave(mns, but))

    def attach(self, places: Mapping[str, str]) -> Moment:
        """Give every MN its link to the MAG named, all at once."""
        return self._change([self._up[place] for place in places.items()])

    def move(self, places: Mapping[str, str], l2_s: float, at_ns: int | None = None) -> tuple[Moment, Moment]:
        """L2 handover of every MN to the MAG named: all leave at the same moment and arrive `l2_s` seconds later.

        That moment is now, or `at_ns` by CLOCK_REALTIME.
        """
        leave = self._leave(places, but=places)
        arrive = [self._up[place] for place in places.items()]
        with uninterrupted():
            sleep_until(at_ns or 0)
            detached = self._change(leave)
            sleep_until(detached.began_ns + round(l2_s * 1e9))
            return detached, self._change(arrive)

    def _leave(self, mns: Iterable[str], but: Mapping[str, str]) -> list[bytes]:
        return [self._down[mn, mag] for mn in mns for mag in self._mags if mag != but.get(mn)]

    def _change(self, messages: list[bytes]) -> Moment:
        began_ns = now_ns()
        self._socket.send(b"".join(messages))
        done_ns = now_ns()
        # The kernel has carried everything out when send returns; without NLM_F_ACK it answers errors alone.
        with suppress(BlockingIOError):
            error = -int(_ERROR.unpack_from(self._socket.recv(4096), _NETLINK_HEADER_SIZE)[0])
            raise LabError(f"moving a mobile node: {os.strerror(error)}")
        return Moment(began_ns, done_ns)


def _link_message(index: int, *, up: bool) -> bytes:
    message = ifinfmsg()
    message["index"] = index
    message["flags"] = IFF_UP if up else 0
    message["change"] = IFF_UP
    message["header"]["type"] = RTM_NEWLINK
    message["header"]["flags"] = NLM_F_REQUEST
    message.encode()
    return bytes(message.data)
