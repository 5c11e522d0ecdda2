"""What can be done with a lab that is up, by its own process and by any other that knows its id."""

import json
import os
import re
import select
import shutil
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import IPv6Address, IPv6Interface
from pathlib import Path

from testbed.lab.network import Air, Moment
from testbed.lab.node import LabError, enter_namespace, run, wait_until
from testbed.lab.topology import AIR, HNP_POOL, Impairment, Topology, build

LABS = Path("/run/context-reflector-lab")
STATE_FILE = "lab.json"
STOP_TIMEOUT_S = 30.0
DEFAULT_L2_S = 0.050
DEFAULT_HOLD_PACKETS = 1024  # the daemons' own
_TEMPORARY, _DEPRECATED, _DAD_FAILED, _TENTATIVE = 0x01, 0x20, 0x08, 0x40  # IFA_F_*, linux/if_addr.h


@dataclass(frozen=True, slots=True)
class LabSpec:
    """What a lab is made from; `downlink` to `context_octets` matter to context-reflector only, the context is per MN.

    `hold_packets` are kept of a session at most, by whichever daemon the scheme has keep them.
    Every MN has `prefixes` home network prefixes; the last `fixed` MNs have theirs for good, the others of the pool.
    """

    mags: int = 2
    mns: int = 1
    rtt_s: float = 0.010
    scheme: str = "pmipv6"
    impairment: Impairment | None = None
    downlink: str = "hold"
    order: str = "strict"
    context_octets: int = 64
    prefixes: int = 1
    fixed: int = 0
    hold_packets: int = DEFAULT_HOLD_PACKETS

    def topology(self) -> Topology:
        return build(self.mags, self.mns, self.rtt_s, self.impairment)


class View:
    """What the lab's own process and a visitor can do. `namespaces` maps node names to paths of their namespaces."""

    def __init__(self, lab_id: str, spec: LabSpec) -> None:
        if not re.fullmatch(r"[a-z0-9-]{1,32}", lab_id):
            raise LabError(f"a lab's id has up to 32 letters, digits and dashes, not {lab_id!r}")
        self.id = lab_id
        self.spec = spec
        self.topology = spec.topology()
        self.directory = LABS / lab_id
        self.namespaces: dict[str, str] = {}

    def shell(self, node: str) -> tuple[list[str], dict[str, str]]:
        """The command line and the environment of a shell in that node."""
        environment = {
            **os.environ,
            "PATH": f"{Path(sys.prefix, 'bin')}:{os.environ.get('PATH', os.defpath)}",
            "PS1": rf"{node}:\w\$ ",
            "LMACTL_SOCKET": str(self.control_socket("lma")),
            **{name.upper(): str(address) for name, address in self.topology.addresses.items()},  # ping $CN
        }
        if node in self.topology.mags:
            environment["MAGCTL_SOCKET"] = str(self.control_socket(node))
        return ["nsenter", f"--net={self._namespace(node)}", "bash", "--norc", "-i"], environment

    def run(self, node: str, argv: Sequence[str]) -> str:
        """Run to the end in that node; the standard output. Raises LabError with what it complained about."""
        with self._inside(node):
            return run(argv, where=f"{node}: ")

    def move(self, mn: str, mag: str, l2_s: float = DEFAULT_L2_S) -> tuple[Moment, Moment]:
        """L2 handover of one MN: it leaves where it is and arrives at `mag` after `l2_s` seconds."""
        return self.move_all({mn: mag}, l2_s)

    def move_all(
        self, places: Mapping[str, str], l2_s: float = DEFAULT_L2_S, at_ns: int | None = None
    ) -> tuple[Moment, Moment]:
        """The same of several MNs at the same moment: now, or `at_ns` by CLOCK_REALTIME."""
        names, mags = [mn.name for mn in self.topology.mns], self.topology.mags
        for mn, mag in places.items():
            if mn not in names:
                raise LabError(f"there is no mobile node {mn} in lab {self.id}, only {', '.join(names)}")
            if mag not in mags:
                raise LabError(f"there is no access router {mag} in lab {self.id}, only {', '.join(mags)}")
        return self._air().move(places, l2_s, at_ns)

    def addresses(self, mn: str) -> list[IPv6Interface]:
        """The MN's stable addresses out of its home network prefixes, as soon as it may use one of each."""
        found = []
        with self._inside(mn):
            lines = Path("/proc/thread-self/net/if_inet6").read_text().splitlines()
        for digits, _, length, _, flags, _ in map(str.split, lines):
            address = IPv6Address(bytes.fromhex(digits))
            unusable = int(flags, 16) & (_TEMPORARY | _DEPRECATED | _DAD_FAILED | _TENTATIVE)
            if address in HNP_POOL and not unusable:
                found.append(IPv6Interface((address, int(length, 16))))
        if len(found) < self.spec.prefixes:
            return []
        return sorted(found)[: self.spec.prefixes] if self.spec.prefixes > 1 else found[:1]

    def address(self, mn: str) -> IPv6Interface | None:
        """The first of them."""
        return next(iter(self.addresses(mn)), None)

    def wait_for_service(self, mn: str, timeout_s: float = 30.0) -> IPv6Interface:
        """Return the MN's first address once pings from all to CN have come back.

        Raises LabError when that takes too long.
        """
        addresses = wait_until(lambda: self.addresses(mn), f"{mn} has no address", timeout_s)
        cn = str(self.topology.addresses["cn"])
        ping = ["ping", "-6", "-n", "-q", "-c", "1", "-i", "0.2", "-w", f"{timeout_s:.0f}"]
        for address in addresses:
            source = ["-I", str(address.ip)] if len(addresses) > 1 else []
            try:
                self.run(mn, [*ping, *source, cn])
            except LabError:
                raise LabError(f"{mn} ({address.ip}) does not reach cn ({cn})") from None
        return addresses[0]

    def control_socket(self, node: str) -> Path:
        return self.directory / f"{node}.sock"

    def _namespace(self, node: str) -> str:
        try:
            return self.namespaces[node]
        except KeyError:
            visible = ", ".join(node.name for node in self.topology.nodes if not node.hidden)
            raise LabError(f"there is no node {node} in lab {self.id}, only {visible}") from None

    @contextmanager
    def _inside(self, node: str) -> Iterator[None]:
        fd = os.open(self._namespace(node), os.O_RDONLY)
        try:
            with enter_namespace(fd):
                yield
        finally:
            os.close(fd)

    def _air(self) -> Air:
        raise NotImplementedError


class Visit(View):
    """A lab that another process of this machine keeps up. Raises LabError when there is none of that id."""

    def __init__(self, lab_id: str) -> None:
        try:
            state = json.loads((LABS / lab_id / STATE_FILE).read_text())
        except FileNotFoundError:
            raise LabError(f"there is no lab {lab_id}") from None
        spec = state["spec"]
        impairment = Impairment(**spec["impairment"]) if spec["impairment"] else None
        super().__init__(lab_id, LabSpec(**{**spec, "impairment": impairment}))
        self.namespaces = state["namespaces"]
        self._pid, self._started = state["pid"], state["started"]

    def alive(self) -> bool:
        """Whether the process that keeps the lab up is still there."""
        return bool(start_time(self._pid) == self._started)

    def down(self) -> None:
        """End the lab; what a killed lab left is removed."""
        if self.alive():
            keeper = os.pidfd_open(self._pid)
            try:
                os.kill(self._pid, signal.SIGTERM)
                if not select.select([keeper], [], [], STOP_TIMEOUT_S)[0]:
                    raise LabError(f"lab {self.id} (process {self._pid}) does not end")
            finally:
                os.close(keeper)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _air(self) -> Air:
        fd = os.open(self._namespace(AIR), os.O_RDONLY)
        try:
            return Air(self.topology, fd)
        finally:
            os.close(fd)


def labs() -> list[str]:
    """The ids of the labs on this machine, those of which only the directory is left included."""
    return sorted(path.parent.name for path in LABS.glob(f"*/{STATE_FILE}"))


def start_time(pid: int) -> int | None:
    """When a process started, in clock ticks since boot: with its id what tells it from all others; None if gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] == "Z" else int(fields[19])
