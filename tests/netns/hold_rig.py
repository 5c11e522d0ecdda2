"""The lab's network with data planes in it but no daemons: tests play the cores, and count packets."""

import json
import select
import time
from collections.abc import Callable
from contextlib import ExitStack
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from common.actions import Forward, Forwarding, ToAccess, ToPeer
from common.dataplane.access import LinkMonitor, has_carrier
from common.dataplane.keeping import Keep
from common.dataplane.linux import LinuxDataPlane
from common.dataplane.roles import LMA, MAG
from common.mh.messages import MnId
from testbed.lab.network import Network
from testbed.lab.node import Node, wait_until
from testbed.lab.processor import one_processor
from testbed.lab.topology import HNP_POOL, LMAA, build
from tests.netns.numbered import PORT, Receiver, Sender

BACKLOG = Path("/proc/sys/net/core/netdev_max_backlog")


def hnp_of(number: int) -> IPv6Network:
    """The prefix of MN `number`, from 1."""
    return IPv6Network((int(HNP_POOL.network_address) + (number << 64), 64))


def session_of(number: int) -> tuple[IPv6Network, ...]:
    return (hnp_of(number),)


class Plane:
    """A LinuxDataPlane in the namespace of a node; `run` is its event loop for a while."""

    def __init__(self, node: Node, plane: LinuxDataPlane) -> None:
        self.node = node
        self.plane = plane

    def apply(self, number: int, forwarding: Forwarding | None) -> None:
        with self.node.inside():
            self.plane.apply(Forward(MnId.nai(f"mn{number}@example.net"), session_of(number), forwarding))

    def hold_uplink(self, interface: str, keep: bool) -> None:
        with self.node.inside():
            self.plane.hold_uplink(interface, keep)

    def turn(self, timeout_s: float = 0.0) -> None:
        """One turn of an event loop, which waits at most so long.

        As in asyncio, a turn ends nothing that came in it, however long the turn takes.
        """
        with self.node.inside():
            watched = self.plane.sockets()
            deadline = self.plane.deadline()
            wait_s = timeout_s if deadline is None else max(0.0, min(timeout_s, deadline - time.monotonic()))
            readable = select.select([s for s, _ in watched], [], [], wait_s)[0]
            now = time.monotonic()
            for watch, callback in watched:
                if watch in readable:
                    callback()
            self.plane.expire(now)

    def run(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            self.turn(left)

    def run_until(self, condition: Callable[[], Any], what: str) -> None:
        """Raises LabError when it does not become true."""
        wait_until(condition, what, pause=self.turn)

    def settle(self) -> None:
        """Until nothing is due any more."""
        while (deadline := self.plane.deadline()) is not None:
            self.turn(max(0.0, deadline - time.monotonic()))

    def drops(self) -> dict[str, int]:
        with self.node.inside():
            return {reason: count for reason, count in self.plane.drops().items() if count}

    def early(self, number: int) -> int:
        """How many packets for that MN wait for a path."""
        assert self.plane._keeping
        return self.plane._keeping.strays.waiting(session_of(number))

    def holds(self) -> list[dict[str, object]]:
        with self.node.inside():
            return self.plane.holds()

    def close(self) -> None:
        with self.node.inside():
            self.plane.close()


class Rig:
    """`mags` MAGs and `mns` MNs, each with the address ::1 of its prefix on lo; a context manager."""

    def __init__(
        self, *, mags: int = 2, mns: int = 1, rtt_s: float = 0.0, lma: Keep | None = None, mag: Keep | None = None
    ) -> None:
        self.network = Network(build(mags=mags, mns=mns, rtt_s=rtt_s), steered=True)
        self._keep = {LMA: lma, MAG: mag}
        self.planes: dict[str, Plane] = {}
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as undo:
            undo.enter_context(one_processor())
            undo.enter_context(self.network)
            self.nodes = self.network.nodes
            self.mags = {name: self._address(name) for name in self.network.topology.mags}
            self.cn = self._address("cn")
            _set_backlog(undo)
            for number, mn in enumerate(self.network.topology.mns, 1):
                self._make_mn(self.nodes[mn.name], number)
            self._start("lma")
            for name in self.mags:
                self._start(name)
                self.nodes[name].run(["nft", "-f", "-"], self._counters())
            undo.callback(self._close)
            for mag in self.mags.values():  # who is next on the way there is then known, as signalling makes it
                self.nodes["lma"].run(["ping", "-6", "-c", "1", "-w", "5", str(mag)])
            self._undo = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._undo.close()

    @property
    def lma(self) -> Plane:
        return self.planes["lma"]

    def mn_name(self, number: int) -> str:
        return self.network.topology.mns[number - 1].name

    def downlink(self, number: int = 1) -> tuple[Sender, Receiver]:
        """From CN to the MN."""
        return self.sender(number), Receiver(self.nodes[self.mn_name(number)])

    def sender(self, number: int = 1) -> Sender:
        """From CN to the MN."""
        return Sender(self.nodes["cn"], self.cn, self.mn_address(number))

    def put_on_access_links(self, number: int) -> int:
        """Numbered packets that the MAGs have sent over the MN's links, heard or not."""
        counters = (
            json.loads(self.nodes[mag].run(["nft", "-j", "list", "counter", "ip6", "rig", f"to_{number}"]))
            for mag in self.mags
        )
        return sum(counter["nftables"][1]["counter"]["packets"] for counter in counters)

    def mn_address(self, number: int) -> IPv6Address:
        return hnp_of(number)[1]

    def interface(self, number: int) -> str:
        return self.network.topology.mns[number - 1].access_interface

    def to_access(self, number: int, *, held: bool = False, give_back: bool = True) -> Forwarding:
        """The path of an MN at a MAG."""
        mac = bytes.fromhex(self.network.topology.mns[number - 1].mac.replace(":", ""))
        downlink = ToAccess(self.interface(number), mac)
        return Forwarding(downlink, held=held, uplink_to=LMAA, give_back=give_back)

    def serve(self, number: int, mag: str) -> None:
        """The MN is on that MAG's link, which has its path."""
        self.planes[mag].apply(number, self.to_access(number))
        self.attach(number, mag)

    def attach(self, number: int, mag: str) -> None:
        """The MN comes to that MAG's link; returns when the MAG's kernel has told of it, as magd would learn it."""
        with self.nodes[mag].inside():
            if has_carrier(self.interface(number)):
                return
            monitor = LinkMonitor()
        self.network.air.attach({self.mn_name(number): mag})
        wait_until(
            lambda: (self.interface(number), True) in {(name, on) for name, _, on in monitor.events()},
            "carrier",
            5.0,
            0.001,
        )
        monitor.close()
        show = ["ip", "-d", "-j", "link", "show", f"{self.mn_name(number)}-{mag}"]
        wait_until(lambda: '"state":"forwarding"' in self.nodes["air"].run(show), "a port that forwards", 5.0, 0.001)

    def detach(self, number: int) -> None:
        """The MN leaves whatever link it is on; returns when the MAGs' kernels know it."""
        self.network.air.detach([self.mn_name(number)], but={})
        for mag in self.mags:
            with self.nodes[mag].inside():
                wait_until(lambda: not has_carrier(self.interface(number)), "loss of carrier", 5.0, 0.001)

    def at(self, mag: str, **more: object) -> Forwarding:
        """The path of an MN at the LMA."""
        return Forwarding(ToPeer(self.mags[mag]), **more)  # type: ignore[arg-type]

    def restart(self, name: str) -> None:
        """As after kill -9: what was installed is there, but no socket is."""
        plane = self.planes[name].plane
        assert plane._keeping
        plane._keeping.end()
        self._start(name)

    def _start(self, name: str) -> None:
        node = self.nodes[name]
        with node.inside():
            if name == "lma":
                plane = LinuxDataPlane(LMA, pools=[HNP_POOL], keep=self._keep[LMA])
                plane.start(LMAA, list(self.mags.values()))
            else:
                links = tuple(mn.access_interface for mn in self.network.topology.mns)
                plane = LinuxDataPlane(MAG, access_interfaces=links, keep=self._keep[MAG])
                plane.start(self.mags[name], [LMAA])
        self.planes[name] = Plane(node, plane)

    def _counters(self) -> str:
        numbers = range(1, len(self.network.topology.mns) + 1)
        counters = "".join(f"counter to_{number} {{}}\n" for number in numbers)
        rules = (f'oifname "{self.interface(n)}" udp dport {PORT} counter name to_{n}\n' for n in numbers)
        hook = "type filter hook postrouting priority 0; policy accept;"
        return f"table ip6 rig {{\n{counters} chain postrouting {{ {hook}\n {''.join(rules)} }}\n}}"

    def _close(self) -> None:
        for plane in self.planes.values():
            plane.close()

    def _make_mn(self, node: Node, number: int) -> None:
        node.run(
            ["ip", "-6", "-batch", "-"],
            f"address add {self.mn_address(number)}/64 dev eth0 nodad\n"
            "route add default via fe80::200:5eff:fe00:5213 dev eth0\n"
            "neighbour replace fe80::200:5eff:fe00:5213 lladdr 00:00:5e:00:52:13 dev eth0 nud permanent\n",
        )

    def _address(self, name: str) -> IPv6Address:
        return self.network.topology.addresses[name]


def _set_backlog(undo: ExitStack) -> None:
    """What a processor has received and not yet looked at: in the lab it stands for a wire, which drops nothing."""
    before = BACKLOG.read_text()
    undo.callback(BACKLOG.write_text, before)
    BACKLOG.write_text("100000")
