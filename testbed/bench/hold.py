"""Benchmarks of the data plane: holding and releasing, and what the rules for it cost a packet that is not held.

One LMA and one MAG with the rules of the daemons, a tunnel between them, nothing emulated: packets come from the
kernel's generator (pktgen) into the receive path of the LMA or the MAG, and end in a device that only counts. What is
released at the LMA ends in such a device behind its tunnel: the MAG takes no part.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Network

from common.actions import Forward, Forwarding, ToAccess, ToPeer
from common.dataplane.guard import Guard
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.linux import LinuxDataPlane
from common.dataplane.roles import LMA, MAG
from common.dataplane.routes import HNP_METRIC
from testbed.bench.core import LMAA, MAGS, POOL, mn_id
from testbed.bench.nodes import two_nodes
from testbed.bench.row import Progress, Row
from testbed.lab.node import Node, run

PROXY_COA = MAGS[0]
CN = "2001:db8:cc::2"
MN_MAC = bytes.fromhex("020000000001")
LONGEST = 65535
SESSIONS, PACKETS_EACH = 1000, 65
BINDINGS = 100_000
ROUNDS = 5
FORWARDED = 4000
FRAME_OCTETS = 142  # 128 of IPv6
RATE = 2000, 4000  # messages of a peer, a second and at once
GENERATOR = "/proc/net/pktgen"


def hold_rows(progress: Progress) -> list[Row]:
    """How fast packets are taken in and let go: 65,535 of one MN, and those of 1,000 MNs held at once."""
    with _pair(
        Keep(HoldLimits(packets=LONGEST, octets=1 << 30, packets_in_all=1 << 27, octets_in_all=1 << 41))
    ) as pair:
        pair.end_behind_the_tunnel()
        progress(f"holding {LONGEST} packets for one mobile node")
        pair.serve(0, held=True)
        hold_pps = pair.generate("lma", pair.address(0), LONGEST)
        held = pair.held()
        before = pair.sent_down()
        began_s = time.perf_counter()
        pair.serve(0)
        one_s = time.perf_counter() - began_s
        released = pair.sent_down() - before
        pair.settle()
        progress(f"holding {SESSIONS} mobile nodes at once")
        for number in range(SESSIONS):
            pair.serve(number, held=True)
        for number in range(SESSIONS):
            pair.generate("lma", pair.address(number), PACKETS_EACH)
        sessions = pair.sessions_held()
        before = pair.sent_down()
        began_s = time.perf_counter()
        for number in range(SESSIONS):
            pair.serve(number)
        all_s = time.perf_counter() - began_s
        released_all = pair.sent_down() - before
    return [
        Row("hold-packets-one-mn", held, "packets", LONGEST),
        Row("hold-rate", hold_pps, "packets/s", None),
        Row("release-rate-one-mn", released / one_s, "packets/s", 200_000),
        Row("hold-mns-at-once", sessions, "MNs", SESSIONS),
        Row(f"release-rate-{SESSIONS}-mns", released_all / all_s, "packets/s", 200_000),
        Row(f"release-time-each-of-{SESSIONS}-mns", all_s / SESSIONS * 1e6, "us", None, higher_is_better=False),
    ]


def forwarding_rows(progress: Progress) -> list[Row]:
    """What a packet that is not held takes with our rules at LMA and MAG, 1,000 MNs being held, and without them."""
    with _pair(Keep()) as pair, pair.other_bindings(range(SESSIONS + 1, BINDINGS)):
        progress(f"forwarding with and without the rules, {BINDINGS} bindings being installed")
        pair.serve(SESSIONS)
        for number in range(SESSIONS):
            pair.serve(number, held=True)
        pair.settle()
        ways: dict[str, Callable[[], float]] = {
            "downlink": lambda: pair.generate("lma", pair.address(SESSIONS), FORWARDED),
            "uplink": lambda: pair.generate("mag", CN, FORWARDED, source=pair.address(SESSIONS)),
        }
        with_rules: dict[str, list[float]] = {way: [] for way in ways}
        bare: dict[str, list[float]] = {way: [] for way in ways}
        for _ in range(ROUNDS):
            for way, measure in ways.items():
                with_rules[way].append(measure())
                with pair.without_rules():
                    bare[way].append(measure())
    rates = [Row(f"forwarding-{way}", statistics.median(with_rules[way]), "packets/s", None) for way in ways]
    ratios = [
        Row(
            f"forwarding-{way}-against-bare-ip6tnl",
            statistics.median(with_rules[way]) / statistics.median(bare[way]),
            "",
            0.95,
        )
        for way in ways
    ]
    return [*rates, *ratios]


@dataclass(frozen=True, slots=True)
class _Pair:
    """The LMA and the MAG. MNs are numbered from 0; all of them are at the MAG."""

    nodes: dict[str, Node]
    planes: dict[str, LinuxDataPlane]

    def address(self, number: int) -> str:
        return str(_hnp(number)[1])

    def serve(self, number: int, *, held: bool = False) -> None:
        """The MN's path at the LMA."""
        with self.nodes["lma"].inside():
            self.planes["lma"].apply(_forward(number, Forwarding(ToPeer(PROXY_COA), held=held)))

    def held(self) -> int:
        return sum(int(str(row["packets"])) for row in self._holds())

    def sessions_held(self) -> int:
        return sum(bool(row["packets"]) for row in self._holds())

    def _holds(self) -> list[dict[str, object]]:
        with self.nodes["lma"].inside():
            return self.planes["lma"].holds()

    def settle(self) -> None:
        """Until every queue is ready for its next use, and no packet is led to one that is not held."""
        for name, plane in self.planes.items():
            while (due := plane.deadline()) is not None:
                time.sleep(max(0.0, due - time.monotonic()))
                with self.nodes[name].inside():
                    plane.expire(time.monotonic())

    def end_behind_the_tunnel(self) -> None:
        """From now on what the LMA sends through the tunnel is counted there, and goes to nobody."""
        commands = f"""
            link add sink0 type dummy
            link set sink0 up
            neighbour add fe80::2 lladdr 02:00:00:00:00:02 dev sink0 nud permanent
            route replace {PROXY_COA} via fe80::2 dev sink0 src {LMAA}
        """
        self.nodes["lma"].run(["ip", "-6", "-batch", "-"], commands)

    @contextmanager
    def other_bindings(self, numbers: Iterable[int]) -> Iterator[None]:
        """All that the LMA's kernel has of an MN that is not in a handover: its route into the tunnel."""
        lma, device = self.nodes["lma"], self.planes["lma"].tunnel_device(PROXY_COA)
        routes = (
            f"route add {_hnp(number)} dev {device} metric {HNP_METRIC} protocol {LMA.protocol}" for number in numbers
        )
        lma.run(["ip", "-6", "-batch", "-"], "\n".join(routes))
        try:
            yield
        finally:
            lma.run(["ip", "link", "delete", device])  # with all of them at once

    def sent_down(self) -> int:
        """Packets that the LMA's end of the tunnel has taken."""
        links = json.loads(self.nodes["lma"].run(["ip", "-s", "-j", "link", "show", "type", "ip6tnl"]))
        return sum(int(link["stats64"]["tx"]["packets"]) for link in links)

    def generate(self, node: str, target: str, count: int, source: str = CN) -> float:
        """Packets into the receive path of that node, one after the other; how many a second it took."""
        device = {"lma": "inet0", "mag": "acc0"}[node]
        mac = json.loads(self.nodes[node].run(["ip", "-j", "link", "show", device]))[0]["address"]
        settings = [
            *(f"count {count}", "clone_skb 0", f"pkt_size {FRAME_OCTETS}", "delay 0", "xmit_mode netif_receive"),
            *(f"dst6 {target}", f"src6 {source}", f"dst_mac {mac}", f"src_mac {MN_MAC.hex(':')}"),
        ]
        script = [
            f"echo rem_device_all >{GENERATOR}/kpktgend_0",
            f"echo add_device {device} >{GENERATOR}/kpktgend_0",
            *(f"echo {setting} >{GENERATOR}/{device}" for setting in settings),
            f"echo start >{GENERATOR}/pgctrl",
            f"grep -o '[0-9]*pps' {GENERATOR}/{device}",
        ]
        return float(self.nodes[node].run(["sh", "-ec", "\n".join(script)]).removesuffix("pps\n"))

    @contextmanager
    def without_rules(self) -> Iterator[None]:
        """Meanwhile there is no rule of ours: a bare tunnel and its routes."""
        for name, node in self.nodes.items():
            node.run(["nft", "add", "table", "ip6", f"context_reflector_{name}d", "{ flags dormant; }"])
        try:
            yield
        finally:
            for name, node in self.nodes.items():
                node.run(["nft", "add", "table", "ip6", f"context_reflector_{name}d"])


def _forward(number: int, forwarding: Forwarding) -> Forward:
    return Forward(mn_id(number), (_hnp(number),), forwarding)


def _hnp(number: int) -> IPv6Network:
    return IPv6Network((int(POOL.network_address) + (number + 1 << 64), 64))


@contextmanager
def _pair(keep: Keep) -> Iterator[_Pair]:
    run(["modprobe", "pktgen"])
    planes: dict[str, LinuxDataPlane] = {}
    with two_nodes() as (lma, mag):
        nodes = {"lma": lma, "mag": mag}
        try:
            with lma.inside():
                planes["lma"] = LinuxDataPlane(LMA, pools=[POOL], keep=keep, guard=Guard((PROXY_COA,), *RATE))
                planes["lma"].start(LMAA, [PROXY_COA])
            with mag.inside():
                planes["mag"] = LinuxDataPlane(
                    MAG,
                    access_interfaces=("acc0",),
                    keep=Keep(uplink=True),
                    guard=Guard((LMAA,), *RATE, access=("acc0",)),
                )
                planes["mag"].start(PROXY_COA, [LMAA])
                path = Forwarding(ToAccess("acc0", MN_MAC), uplink_to=LMAA, give_back=True)
                planes["mag"].apply(_forward(SESSIONS, path))
            yield _Pair(nodes, planes)
        finally:
            for name, plane in planes.items():
                with nodes[name].inside():
                    plane.close()
