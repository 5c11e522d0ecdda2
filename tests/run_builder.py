"""A run directory made up in a test: packets at interfaces and journal events at given moments, written as a run is."""

import json
import struct
from collections import defaultdict
from ipaddress import IPv6Address
from pathlib import Path
from typing import Any

from common.mh.codec import encode
from common.mh.messages import Message

T0 = 1_700_000_000_000_000_000
MS = 1_000_000  # nanoseconds
ADDRESSES = {
    "lma": IPv6Address("2001:db8:0:ff::1"),
    "mag1": IPv6Address("2001:db8:0:1::1"),
    "mag2": IPv6Address("2001:db8:0:2::1"),
    "mag3": IPv6Address("2001:db8:0:3::1"),
    "cn": IPv6Address("2001:db8:0:cc::1"),
}
INTERFACES = {
    "lma": {1: "lo", 2: "core", 9: "pm1"},
    "mag1": {1: "lo", 2: "core", 9: "pm1", 21: "acc-mn", 22: "acc-mn2", 23: "copies"},
    "mag2": {1: "lo", 2: "core", 9: "pm1", 21: "acc-mn", 22: "acc-mn2", 23: "copies"},
    "mag3": {1: "lo", 2: "core", 9: "pm1", 21: "acc-mn", 22: "acc-mn2", 23: "copies"},
    "cn": {1: "lo", 2: "eth0"},
    "mn": {1: "lo", 31: "eth0", 32: "port1"},
    "mn2": {1: "lo", 31: "eth0", 32: "port1"},
}
CORE, TUNNEL, COPIES, ETH0 = 2, 9, 23, 31
ACCESS = {"mn": 21, "mn2": 22}
PORTS = {"mn": (5201, 5202), "mn2": (5203, 5204)}  # downlink, uplink
TCP_PORTS = {"mn": {"downlink": 20001, "uplink": 20002}, "mn2": {"downlink": 20003, "uplink": 20004}}
HNP = {"mn": "2001:db8:1000::/64", "mn2": "2001:db8:1000:1::/64"}
ADDRESS_OF_MN = {"mn": IPv6Address("2001:db8:1000::5"), "mn2": IPv6Address("2001:db8:1000:1::5")}
CLIENT_PORT = 40000


def ipv6(source: IPv6Address, destination: IPv6Address, next_header: int, payload: bytes) -> bytes:
    header = struct.pack("!IHBB", 6 << 28, len(payload), next_header, 64)
    return header + source.packed + destination.packed + payload


def iperf3_packet(
    mn: str, direction: str, number: int, *, wide: bool = False, source: IPv6Address | None = None
) -> bytes:
    """As iperf3 sends it; `wide` with --udp-counters-64bit. Downlink comes from the server's port (iperf3 -R)."""
    numbers = struct.pack("!IIQ" if wide else "!III", 17, 4711, number)
    payload = numbers + bytes(range(1, 41))
    downlink_port, uplink_port = PORTS[mn]
    own = source or ADDRESS_OF_MN[mn]
    if direction == "downlink":
        ends, addresses = (downlink_port, CLIENT_PORT), (ADDRESSES["cn"], own)
    else:
        ends, addresses = (CLIENT_PORT, uplink_port), (own, ADDRESSES["cn"])
    return ipv6(*addresses, 17, struct.pack("!HHHH", *ends, 8 + len(payload), 0) + payload)


class RunBuilder:
    """Times are nanoseconds after T0."""

    def __init__(self, mns: tuple[str, ...] = ("mn",), *, rtt_ms: float = 10, l2_ms: float = 50) -> None:
        self.mns = mns
        self.spec: dict[str, Any] = {
            "scheme": "pmipv6",
            "mode": "reactive",
            "count": 1,
            "rtt_ms": rtt_ms,
            "l2_ms": l2_ms,
            "rate_pps": 200,
            "packet_size": 64,
            "mags": 2,
            "mns": len(mns),
            "path": None,
            "seed": 1,
            "clock": "virtual",
            "impair": None,
        }
        self.frames: dict[str, list[tuple[int, int, int, bytes]]] = defaultdict(list)
        self.events: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self.moves: list[dict[str, Any]] = []
        self.iperf3: dict[str, Any] = {}
        self.ping: dict[str, Any] = {}
        self.tcp: dict[str, Any] = {}

    def frame(self, node: str, t: int, interface: int, packet: bytes, *, outgoing: bool) -> None:
        self.frames[node].append((t, interface, 4 if outgoing else 0, packet))

    def move(self, mn: str, pmag: str, nmag: str, detach: int, attach: int) -> None:
        self.moves.append(
            {
                "index": len(self.moves),
                "mn": mn,
                "from": pmag,
                "to": nmag,
                "detach_ns": T0 + detach,
                "attach_ns": T0 + attach,
            }
        )

    def downlink(
        self,
        number: int,
        sent: int,
        *,
        mag: str = "",
        offered: int = 0,
        crossed: int = 0,
        arrived: int = 0,
        mn: str = "mn",
    ) -> None:
        """A packet of CN; it gets as far as moments are given. What crossed an access link was offered to it."""
        packet = iperf3_packet(mn, "downlink", number)
        if sent:
            self.frame("cn", sent, CORE, packet, outgoing=True)
        if offered or crossed:
            self.frame(mag, (offered or crossed) - 1000, TUNNEL, packet, outgoing=False)
            self.frame(mag, offered or crossed, COPIES, packet, outgoing=True)
        if crossed:
            self.frame(mag, crossed, ACCESS[mn], packet, outgoing=True)
        if arrived:
            self.frame(mn, arrived - 500, 32, packet, outgoing=False)  # at the port of a bridge, which must not count
            self.frame(mn, arrived, ETH0, packet, outgoing=False)

    def uplink(
        self, number: int, sent: int, *, mag: str = "", crossed: int = 0, arrived: int = 0, mn: str = "mn"
    ) -> None:
        packet = iperf3_packet(mn, "uplink", number)
        if sent:
            self.frame(mn, sent, ETH0, packet, outgoing=True)
        if crossed:
            self.frame(mag, crossed, ACCESS[mn], packet, outgoing=False)
            self.frame(mag, crossed + 1000, TUNNEL, packet, outgoing=True)
        if arrived:
            self.frame("cn", arrived, CORE, packet, outgoing=False)

    def signal(self, message: Message, source: str, destination: str, sent: int = 0, received: int = 0) -> int:
        """A message on the wire, seen at either end or at one; its octets as an IPv6 packet."""
        packet = ipv6(ADDRESSES[source], ADDRESSES[destination], 135, encode(message))
        if sent:
            self.frame(source, sent, CORE, packet, outgoing=True)
        if received:
            self.frame(destination, received, CORE, packet, outgoing=False)
        return len(packet)

    def note(self, node: str, t: int, event: str, mn: str = "mn", **fields: str) -> None:
        self.events[node].append({"t_ns": T0 + t, "event": event, "mn_id": f"{mn}@example.net", **fields})

    def write(self, path: Path) -> Path:
        (path / "captures").mkdir(parents=True)
        (path / "journals").mkdir()
        for node in [*ADDRESSES, *self.mns]:
            write_pcap(path / "captures" / f"{node}.pcap", sorted(self.frames[node]))
        for node in ADDRESSES:
            lines = [json.dumps(event) + "\n" for event in self.events[node]]
            (path / "journals" / f"{node}.jsonl").write_text("".join(lines))
        (path / "run.json").write_text(json.dumps(self._run()))
        return path

    def _run(self) -> dict[str, Any]:
        nodes = {
            node: {
                "interfaces": {str(index): name for index, name in INTERFACES[node].items()},
                **({"address": str(ADDRESSES[node])} if node in ADDRESSES else {}),
            }
            for node in [*ADDRESSES, *self.mns]
        }
        mns = {
            mn: {
                "mn_id": f"{mn}@example.net",
                "hnp": HNP[mn],
                "address": str(ADDRESS_OF_MN[mn]),
                "interface": "eth0",
                "access": {mag: INTERFACES[mag][ACCESS[mn]] for mag in ("mag1", "mag2", "mag3")},
                "downlink_port": PORTS[mn][0],
                "uplink_port": PORTS[mn][1],
                "tcp_ports": TCP_PORTS[mn],
            }
            for mn in self.mns
        }
        return {
            "spec": self.spec,
            "backend": "vm",
            "kernel": "6.1.0-56-amd64",
            "nodes": nodes,
            "mns": mns,
            "moves": self.moves,
            "traffic": {"start_ns": T0, "stop_ns": T0 + 10**10},
            "ping": self.ping,
            "iperf3": self.iperf3,
            "tcp": self.tcp,
        }


def write_pcap(path: Path, frames: list[tuple[int, int, int, bytes]], *, order: str = "<") -> None:
    """`frames`: nanoseconds after T0, interface index, packet type, IPv6 packet."""
    octets = [struct.pack(f"{order}IHHiIII", 0xA1B23C4D, 2, 4, 0, 0, 262144, 276)]
    for t, interface, packet_type, packet in frames:
        frame = struct.pack("!HHIHBB8x", 0x86DD, 0, interface, 1, packet_type, 6) + packet
        seconds, nanoseconds = divmod(T0 + t, 10**9)
        octets += [struct.pack(f"{order}IIII", seconds, nanoseconds, len(frame), len(frame)), frame]
    path.write_bytes(b"".join(octets))
