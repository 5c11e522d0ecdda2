"""A lab whose daemons are configured, ended and started again at will, and packets made by hand in it."""

import re
import socket
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address
from pathlib import Path
from signal import SIGKILL, SIGTERM
from typing import Any

from scapy.layers.inet6 import ICMPv6ND_RS, IPv6

from common.control import ask
from testbed.lab.lab import Lab
from testbed.lab.node import Node, wait_until
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec

ETH_P_IPV6 = 0x86DD
IPV6_HEADER = 40
ALL_ROUTERS_MAC = "33:33:00:00:00:02"
EVENT_TIMEOUT_S = 30.0  # what is waited for comes in milliseconds; an emulated and loaded machine is forgiven much

# The kernel's own, for every interface that ever had an address: it stays until the interface goes down.
KERNELS_OWN = re.compile(r"multicast ff00::/8 dev acc-\w+ table local proto kernel")

# What a peer has left of what it may say: counted anew all the time (common/dataplane/guard.py).
BUDGETS = re.compile(r"elements = \{[^}]*limit rate over[^}]*\}")

Edits = Mapping[str, Sequence[tuple[str, str]]]


class SystemLab(Lab):
    """A Lab; `edits` replaces texts in configuration files, by node.

    Daemons that are `persistent` have a state directory each. In a lab that is `traced`, `before` is what a node has
    without its daemon.
    """

    def __init__(
        self, spec: LabSpec | None = None, edits: Edits | None = None, *, persistent: bool = False, traced: bool = False
    ) -> None:
        super().__init__(spec or LabSpec())
        self._edits = edits or {}
        self._persistent = persistent
        self._traced = traced
        self.before: dict[str, dict[str, str]] = {}

    def __exit__(self, *raised: object) -> None:
        if raised[0]:  # pytest shows it with the failure
            for log in sorted([*(self.records / "logs").glob("*.log"), *(self.records / "journals").glob("*.jsonl")]):
                print(f"-- {log.name}", *log.read_text().splitlines()[-40:], sep="\n")
        self.down()

    def _configuration(self, node: str) -> str:
        text = super()._configuration(node)
        for old, new in self._edits.get(node, ()):
            assert old in text, (old, text)
            text = text.replace(old, new)
        if self._persistent:
            text = text.replace("\njournal =", f'\nstate_directory = "{self.directory / node}"\njournal =', 1)
        return text

    def _start_daemons(self) -> None:
        for node in ("lma", *self.topology.mags) if self._traced else ():
            self._wait_for_rest(node)
            self.before[node] = traces(self.nodes[node])
        super()._start_daemons()

    def _wait_for_rest(self, node: str) -> None:
        """Until duplicate address detection has passed on the wires, so that the kernel adds nothing more by itself."""
        wires = sum(1 for end in self.topology.ends_of(node) if end.address)
        show = ["ip", "-6", "-o", "address", "show", "scope", "link", "-tentative"]
        eventually(lambda: len(self.nodes[node].run(show).splitlines()) == wires, f"{node} is not at rest")

    def end(self, node: str, how: int = SIGTERM) -> int:
        """End the daemon of that node and return its exit code; what it gave away to be kept is kept."""
        daemon = self.daemons.pop(node)
        if how == SIGKILL:
            daemon.kill()
            assert daemon.returncode is not None
            return daemon.returncode
        return daemon.stop()

    def start(self, node: str) -> None:
        """Start the daemon of that node again and return when it serves."""
        self._start_daemon(node)
        self.readiness[node].wait(self.daemons[node])

    def show(self, node: str, subject: str) -> Any:
        return ask(self.control_socket(node), "show", subject=subject)

    def command(self, node: str, command: str, **arguments: object) -> object:
        return ask(self.control_socket(node), command, **arguments)

    def counters(self, node: str) -> Counter[str]:
        return Counter(self.show(node, "counters"))

    def serving(self) -> dict[str, str]:
        """MN-ID to the name of the MAG that the LMA has in its binding, of those that are registered."""
        names = {str(self.topology.addresses[mag]): mag for mag in self.topology.mags}
        bindings = self.show("lma", "bindings")
        return {each["mn_id"]: names[each["proxy_coa"]] for each in bindings if each["state"] == "registered"}

    def states(self, mag: str) -> dict[str, str]:
        return {each["mn_id"]: each["state"] for each in self.show(mag, "mobile-nodes")}

    def air_only(self, mn: str, mag: str) -> None:
        """Put the MN on the link of that MAG; nothing is waited for."""
        self.move(mn, mag, 0.0)

    def settle(self, mn: str, mag: str) -> IPv6Address:
        """Move the MN there; its address, once the LMA has it there and it has service."""
        self.air_only(mn, mag)
        mn_id = self.topology.mn(mn).mn_id
        eventually(lambda: self.serving().get(mn_id) == mag, f"the LMA does not see {mn} at {mag}")
        return self.wait_for_service(mn).ip


def eventually(condition: Callable[[], Any], what: str) -> Any:
    return wait_until(condition, what, EVENT_TIMEOUT_S)


def send(node: Node, interface: str, mac: str, *sent: bytes) -> None:
    """IPv6 packets in frames to that MAC."""
    with packets(node, interface) as link:
        for packet in sent:
            link.sendto(packet, (interface, ETH_P_IPV6, 0, 0, bytes.fromhex(mac.replace(":", ""))))


def solicit(node: Node, source: str = "::", count: int = 1) -> None:
    """Router Solicitations of an MN; its kernel sends them, too, but more and more seldom since the lab was made."""
    solicitation = bytes(IPv6(src=source, dst="ff02::2", hlim=255) / ICMPv6ND_RS())
    send(node, "eth0", ALL_ROUTERS_MAC, *[solicitation] * count)


def served(lab: SystemLab, where: Mapping[str, str]) -> bool:
    """Every MN is registered where it is, at both ends."""
    ids = {lab.topology.mn(mn).mn_id: mag for mn, mag in where.items()}
    return lab.serving() == ids and all(lab.states(mag).get(mn_id) == "registered" for mn_id, mag in ids.items())


def settled(lab: SystemLab, where: Mapping[str, str]) -> bool:
    """And no handover is open any more."""
    return served(lab, where) and not lab.show("lma", "contexts") and not lab.show("lma", "holds")


def flush(lab: SystemLab, node: str) -> None:
    """As a restart of Debian's nftables does; returns when the daemon says that it has its rules again."""
    before = lab.counters(node)["table-mended"]
    lab.nodes[node].run(["nft", "flush", "ruleset"])
    eventually(lambda: lab.counters(node)["table-mended"] > before, "the table is not made anew")


def traces(node: Node) -> dict[str, str]:
    """What a daemon could leave in a node, as the tools print it; neighbours that the kernel found itself apart."""
    shown = {
        " ".join(argv): node.run(argv)
        for argv in (
            ["ip", "-d", "link"],
            ["ip", "-6", "address", "show", "up"],
            ["ip", "-6", "route", "show", "table", "all"],
            ["ip", "-6", "rule"],
            ["ip", "-6", "neigh", "show", "nud", "permanent"],
            ["nft", "list", "ruleset"],
        )
    }
    with node.inside():
        settings = sorted(Path("/proc/sys/net/ipv6/conf").glob("*/*"))
        # A secret that is not set cannot be read.
        values = {str(path): path.read_text() for path in settings if path.name != "stable_secret"}
    shown["nft list ruleset"] = BUDGETS.sub("", shown["nft list ruleset"])
    return shown | values


def differences(before: dict[str, str], after: dict[str, str]) -> dict[str, list[str]]:
    """By what shows it: the lines that are gone (-) and those that are new (+)."""
    found = {}
    for what in {*before, *after}:
        old, new = before.get(what, "").splitlines(), after.get(what, "").splitlines()
        lines = [f"-{line}" for line in old if line not in new]
        lines += [f"+{line}" for line in new if line not in old and not KERNELS_OWN.match(line)]
        if lines:
            found[what] = lines
    return found


@contextmanager
def packets(node: Node, interface: str) -> Iterator[socket.socket]:
    """A non-blocking packet socket on an interface: what comes in there; IPv6 packets without link-layer headers."""
    with (
        node.inside(),
        socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK, socket.htons(ETH_P_IPV6)) as sniffer,
    ):
        sniffer.bind((interface, ETH_P_IPV6))
        yield sniffer


def captured(sniffer: socket.socket) -> Iterator[bytes]:
    """What has come since the last call."""
    while True:
        try:
            yield sniffer.recv(65536)
        except BlockingIOError:
            return


@contextmanager
def udp(node: Node, address: object = "::", port: int = 0) -> Iterator[socket.socket]:
    with node.inside(), socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as made:
        made.bind((str(address), port))
        made.settimeout(EVENT_TIMEOUT_S)
        yield made


@contextmanager
def raw(node: Node, protocol: int, address: object = "::") -> Iterator[socket.socket]:
    """A raw socket: what is sent through it goes behind an IPv6 header of the kernel's."""
    with node.inside(), socket.socket(socket.AF_INET6, socket.SOCK_RAW, protocol) as made:
        made.bind((str(address), 0))
        made.settimeout(EVENT_TIMEOUT_S)
        yield made


@contextmanager
def deaf(node: Node) -> Iterator[None]:
    """The node hears no signalling meanwhile."""
    rule = "table ip6 deaf { chain in { type filter hook input priority 0; ip6 nexthdr 135 drop; }; }"
    node.run(["nft", "-f", "-"], rule)
    try:
        yield
    finally:
        node.run(["nft", "delete", "table", "ip6", "deaf"])


@contextmanager
def stranger(lab: SystemLab) -> Iterator[Node]:
    """A router beyond the domain that can reach the LMA."""
    node = lab.nodes["inet"]
    route = [str(LMAA), "via", "2001:db8:ee::2"]
    node.run(["ip", "-6", "route", "add", *route])
    try:
        yield node
    finally:
        node.run(["ip", "-6", "route", "del", *route])
