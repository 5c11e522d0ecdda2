"""What a measured run leaves behind: `run.json`, `captures/NODE.pcap`, `journals/NODE.jsonl`.

`measured_run.py` writes it, `testbed/measurement/measure.py` reads it. All moments are nanoseconds of
CLOCK_REALTIME, which every node shares because they are namespaces of one kernel.
"""

from ipaddress import IPv6Address, IPv6Network
from pathlib import Path
from typing import Any

import msgspec

PREFIX_OCTETS = 8  # every home network prefix of the lab is a /64


class MeasurementError(Exception):
    """The run directory does not allow a measurement; the text is one line."""


class Spec(msgspec.Struct, frozen=True):
    """What was asked for; the fields are those of `testbed handover`."""

    scheme: str
    mode: str
    rtt_ms: float
    l2_ms: float
    rate_pps: float
    clock: str
    seed: int | None = None
    tcp_mbps: float | None = None


class Node(msgspec.Struct, frozen=True):
    """`interfaces` maps an index to a name; `address` is LMAA, Proxy-CoA or the CN's."""

    interfaces: dict[int, str] = {}
    address: IPv6Address | None = None

    def index(self, interface: str) -> int:
        for index, name in self.interfaces.items():
            if name == interface:
                return index
        raise MeasurementError(f"run.json: no interface {interface!r} among {sorted(self.interfaces.values())}")


class MobileNode(msgspec.Struct, frozen=True):
    """An MN under one of its prefixes; `node` is its node where that is not what it is called here.

    `access` maps a MAG to its access interface for this MN; the ports are those of the iperf3 servers: of two for UDP
    and, by direction, of those for TCP.
    """

    mn_id: str
    hnp: str
    interface: str
    access: dict[str, str]
    downlink_port: int
    uplink_port: int
    node: str = ""
    tcp_ports: dict[str, int] = {}

    @property
    def prefix(self) -> bytes:
        """The first octets of every address of this MN, temporary ones (RFC 8981) included."""
        network = IPv6Network(self.hnp)
        if network.prefixlen != PREFIX_OCTETS * 8:
            raise MeasurementError(f"run.json: {self.hnp} is not a /64")
        return network.network_address.packed[:PREFIX_OCTETS]


class Move(msgspec.Struct, frozen=True):
    """One L2 handover, as the radio did it: `detach_ns` and `attach_ns` are when it began to take and to give carrier,
    `attach_done_ns` when all that moved at once had been given it; `announced_ns` when pMAG was told beforehand."""

    index: int
    mn: str
    pmag: str = msgspec.field(name="from")
    nmag: str = msgspec.field(name="to")
    detach_ns: int
    attach_ns: int
    attach_done_ns: int = 0
    announced_ns: int | None = None

    @property
    def begin_ns(self) -> int:
        """When the network could first know of it."""
        return self.detach_ns if self.announced_ns is None else min(self.detach_ns, self.announced_ns)


class RunDirectory(msgspec.Struct, frozen=True):
    """`run.json`; `path` is where it lies."""

    spec: Spec
    backend: str
    kernel: str
    nodes: dict[str, Node]
    mns: dict[str, MobileNode]
    moves: list[Move]
    ping: dict[str, dict[str, int]] = {}
    iperf3: dict[str, dict[str, Any]] = {}
    tcp: dict[str, dict[str, Any]] = {}
    path: Path = Path()

    @classmethod
    def load(cls, path: Path) -> "RunDirectory":
        """Read `path/run.json`. Raises MeasurementError in one line."""
        file = path / "run.json"
        try:
            run = msgspec.json.decode(file.read_bytes(), type=cls, dec_hook=_convert)
        except OSError as error:
            raise MeasurementError(f"{file}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise MeasurementError(f"{file}: {error}") from error
        return msgspec.structs.replace(run, path=path)

    def node_of(self, mn: str) -> str:
        return self.mns[mn].node or mn

    def moves_of(self, mn: str) -> list[Move]:
        """In the order of time."""
        node = self.node_of(mn)
        return sorted((move for move in self.moves if move.mn == node), key=lambda move: move.detach_ns)

    def mags(self) -> set[str]:
        return {mag for mn in self.mns.values() for mag in mn.access}

    def capture(self, node: str) -> Path:
        return self.path / "captures" / f"{node}.pcap"

    def journal(self, node: str) -> list[dict[str, Any]]:
        """The node's events in the order of time. Raises MeasurementError for a line that is no event."""
        file = self.path / "journals" / f"{node}.jsonl"
        try:
            events = [msgspec.json.decode(line, type=dict[str, Any]) for line in file.read_bytes().splitlines()]
        except OSError as error:
            raise MeasurementError(f"{file}: {error.strerror}") from error
        except msgspec.DecodeError as error:
            raise MeasurementError(f"{file}: {error}") from error
        return sorted(events, key=lambda event: int(event["t_ns"]))


def _convert(kind: type, value: Any) -> Any:
    if kind in (IPv6Address, Path):
        return kind(value)
    raise NotImplementedError(kind)
