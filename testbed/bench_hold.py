"""Benchmarks of the data plane: holding and releasing, and what the rules for it cost a packet that is not held.

One LMA and one MAG, a tunnel between them, nothing emulated: packets come from the kernel's generator (pktgen) into the
receive path of the LMA or the MAG, and end in a device that only counts.
"""

import json
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Network
from pathlib import Path

from common.actions import Forward, Forwarding, ToAccess, ToPeer
from common.dataplane.hold import HoldLimits
from common.dataplane.keeping import Keep
from common.dataplane.linux import LinuxDataPlane
from common.dataplane.roles import LMA, MAG
from common.mh.messages import MnId
from testbed.bench_row import Progress, Row
from testbed.node import Node, run, wait_until

LMAA, PROXY_COA = IPv6Address("2001:db8:0:ff::1"), IPv6Address("2001:db8:0:1::1")
POOL = IPv6Network("2001:db8:1000::/36")
CN = "2001:db8:cc::2"
MN_MAC = bytes.fromhex("020000000001")
LONGEST = 65535
SESSIONS, PACKETS_EACH = 1000, 65
ROUNDS = 9
FORWARDED = 20_000
FRAME_OCTETS = 142  # 128 of IPv6
GENERATOR = "/proc/net/pktgen"


def hold_rows(progress: Progress) -> list[Row]:
    """How fast packets are taken in and let go: 65,535 of one MN, and those of 1,000 MNs held at once."""
    with _pair(
        Keep(HoldLimits(packets=LONGEST, octets=1 << 30, packets_in_all=1 << 27, octets_in_all=1 << 41))
    ) as pair:
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
    with _pair(Keep()) as pair:
        progress("forwarding with and without the rules")
        pair.serve(SESSIONS)
        for number in range(SESSIONS):
            pair.serve(number, held=True)
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
        return str(IPv6Address(int(POOL.network_address) + (number + 1 << 64) + 1))

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
        """Until every queue is ready for its next use."""
        plane = self.planes["lma"]
        while (due := plane.deadline()) is not None:
            time.sleep(max(0.0, due - time.monotonic()))
            with self.nodes["lma"].inside():
                plane.expire(time.monotonic())

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
    hnp = IPv6Network((int(POOL.network_address) + (number + 1 << 64), 64))
    return Forward(MnId.nai(f"mn{number}@example.net"), (hnp,), forwarding)


@contextmanager
def _pair(keep: Keep) -> Iterator[_Pair]:
    nodes = {"lma": Node("lma"), "mag": Node("mag")}
    planes: dict[str, LinuxDataPlane] = {}
    try:
        run(["modprobe", "pktgen"])
        _connect(nodes)
        with nodes["lma"].inside():
            planes["lma"] = LinuxDataPlane(LMA, pools=[POOL], keep=keep)
            planes["lma"].start(LMAA, [PROXY_COA])
        with nodes["mag"].inside():
            planes["mag"] = LinuxDataPlane(MAG, access_interfaces=("acc0",), keep=Keep(uplink=True))
            planes["mag"].start(PROXY_COA, [LMAA])
            path = Forwarding(ToAccess("acc0", MN_MAC), uplink_to=LMAA, give_back=True)
            planes["mag"].apply(_forward(SESSIONS, path))
        nodes["lma"].run(["ping", "-6", "-c", "1", "-w", "5", str(PROXY_COA)])
        yield _Pair(nodes, planes)
    finally:
        for name, plane in planes.items():
            with nodes[name].inside():
                plane.close()
        for node in nodes.values():
            node.close()


def _connect(nodes: dict[str, Node]) -> None:
    """A wire between the two, and a device on the other side of each that takes what is sent, and counts it."""
    lma, mag = nodes.values()
    lma.run(["ip", "link", "add", "core0", "type", "veth", "peer", "core0", "netns", mag.path])
    for node, address, other, device in ((lma, LMAA, PROXY_COA, "inet0"), (mag, PROXY_COA, LMAA, "acc0")):
        with node.inside():
            Path("/proc/sys/net/ipv6/conf/all/forwarding").write_text("1")
            Path("/proc/sys/net/ipv6/conf/default/accept_dad").write_text("0")
        commands = f"""
            link add {device} type dummy
            link set lo up
            link set {device} up
            link set core0 up
            address add {address}/128 dev lo
            address add {"fe80::1" if node is lma else "fe80::2"}/64 dev core0 nodad
            route add {other} via {"fe80::2" if node is lma else "fe80::1"} dev core0 src {address}
        """
        node.run(["ip", "-6", "-batch", "-"], commands)
    lma.run(
        ["ip", "-6", "-batch", "-"],
        "route add default via fe80::9 dev inet0\n"
        "neighbour add fe80::9 lladdr 02:00:00:00:00:09 dev inet0 nud permanent\n",
    )
    wait_until(lambda: "tentative" not in lma.run(["ip", "-6", "address"]), "addresses that can be used")
