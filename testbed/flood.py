"""What floods of signalling cost somebody else's handover: mn1 moves between mag1 and mag2 while mag3, which is
authorised, floods the anchor, or somebody from the Internet who pretends to be mag3.

Measured is the registration at the new gateway, from its Proxy Binding Update to the answer, in its own journal.
"""

import json
import socket
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from ipaddress import IPv6Address
from typing import Any

from scapy.layers.inet6 import IPv6
from scapy.packet import Raw

from common.control import ask
from common.mh.codec import encode, with_checksum
from common.mh.messages import ALL_ZERO_PREFIX, AccessTechnologyType, HandoffIndicator, MnId, ProxyBindingUpdate
from testbed.lab.lab import Lab
from testbed.lab.node import Process, wait_until
from testbed.lab.topology import LMAA
from testbed.lab.visit import LabSpec

MOBILITY = 135
ETH_P_IPV6 = 0x86DD
FLOODS = ("none", "of an authorised MAG", "of a pretended MAG", "of strangers")
DIFFERENT = 64  # requests of the flood, over and over


def measure(handovers: int, progress: Callable[[str], Any] = lambda _: None) -> list[dict[str, Any]]:
    """One row a flood: messages sent a second, and the registrations that it met, in milliseconds."""
    rows = []
    with Lab(LabSpec(mags=3, rtt_s=0.0)) as lab:
        _settle(lab, "mag1")
        known = 1
        for kind in FLOODS:
            progress(f"flood: {kind}")
            read = _counters(lab)
            with _flood(lab, kind) as sent:
                began_s = time.monotonic()
                for number in range(handovers):
                    _settle(lab, ("mag2", "mag1")[number % 2])
                took_s = time.monotonic() - began_s
                rate = sent(took_s)
            times_ms = [1000 * took for took in _registrations(lab, known + handovers)[known:]]
            known += handovers
            after = _counters(lab)
            rows.append(
                {
                    "flood": kind,
                    "sent_per_s": round(rate),
                    "read": after["received"] - read["received"],
                    "dropped_by_kernel": after["dropped"] - read["dropped"],
                    "registrations": len(times_ms),
                    "median_ms": round(statistics.median(times_ms), 2),
                    "longest_ms": round(max(times_ms), 2),
                }
            )
    return rows


def _settle(lab: Lab, mag: str) -> None:
    """mn1 leaves where it is and is registered there."""
    lab.move("mn", mag, 0.05)
    here = str(lab.topology.addresses[mag])

    def registered() -> bool:
        bindings: Any = ask(lab.control_socket("lma"), "show", subject="bindings")
        return any(each["proxy_coa"] == here and each["state"] == "registered" for each in bindings)

    wait_until(registered, f"the MN is not registered at {mag}", 60.0)


def _registrations(lab: Lab, number: int) -> list[float]:
    """The first so many, once the gateways' journals, which are written with delay, tell of them."""
    return wait_until(
        lambda: found if len(found := _in_journals(lab)) >= number else [], "the journals do not tell of everything"
    )


def _in_journals(lab: Lab) -> list[float]:
    """Seconds from each PBU of a registration to the next PBA for the same MN, in order."""
    found = []
    for mag in ("mag1", "mag2"):
        asked_ns = None
        for entry in _journal(lab, mag):
            name = entry.get("message")
            if entry["event"] == "sent" and name == "PBU":
                asked_ns = asked_ns or entry["t_ns"]
            elif entry["event"] == "sent" and name == "PBU-dereg":
                asked_ns = None
            elif entry["event"] == "received" and name == "PBA" and asked_ns:
                found.append((asked_ns, (entry["t_ns"] - asked_ns) / 1e9))
                asked_ns = None
    return [took for _, took in sorted(found)]


def _journal(lab: Lab, mag: str) -> Iterator[dict[str, Any]]:
    for line in (lab.records / "journals" / f"{mag}.jsonl").read_text().splitlines():
        yield json.loads(line)


def _counters(lab: Lab) -> dict[str, int]:
    counters: Any = ask(lab.control_socket("lma"), "show", subject="counters")
    received = sum(count for name, count in counters.items() if name.startswith("received-"))
    dropped = sum(count for name, count in counters.items() if name.startswith("kernel-dropped-signalling"))
    return {"received": received, "dropped": dropped}


@contextmanager
def _flood(lab: Lab, kind: str) -> Iterator[Callable[[float], float]]:
    """A process that sends as fast as it can; yields what says how many a second that were."""
    if kind == "none":
        yield lambda _: 0.0
        return
    node = "mag3" if kind == "of an authorised MAG" else "inet"
    source = IPv6Address("2001:db8:ee::1") if kind == "of strangers" else lab.topology.addresses["mag3"]
    counted = lab.directory / "flood.count"
    mac = json.loads(lab.run("lma", ["ip", "-j", "link", "show", "inet"]))[0]["address"]
    target = None if node == "mag3" else ("lma", bytes.fromhex(mac.replace(":", "")))
    flooder: Process = lab.nodes[node].fork(
        "flood", lambda: _send_forever(source, target, str(counted)), lab.records / "logs" / "flood.log"
    )
    wait_until(counted.exists, "the flood does not begin")
    first = int(counted.read_text() or 0)
    try:
        yield lambda took_s: (int(counted.read_text() or 0) - first) / took_s
    finally:
        flooder.kill()
        counted.unlink(missing_ok=True)


def _send_forever(source: IPv6Address, link: tuple[str, bytes] | None, counted: str) -> None:
    """By a raw socket, or past routing by this interface to that MAC."""
    messages = _messages(source, LMAA)
    kind, protocol = (socket.SOCK_RAW, MOBILITY) if link is None else (socket.SOCK_DGRAM, 0)
    family = socket.AF_INET6 if link is None else socket.AF_PACKET
    target: Any = (str(LMAA), 0) if link is None else (link[0], ETH_P_IPV6, 0, 0, link[1])
    packets = messages if link is None else [_packet(source, message) for message in messages]
    sent = 0
    with socket.socket(family, kind, protocol) as out, open(counted, "w") as file:  # noqa: PTH123 - stays open
        while True:
            for packet in packets:
                try:
                    out.sendto(packet, target)
                except OSError:  # the device's queue is full
                    continue
                sent += 1
            file.seek(0)
            file.write(str(sent))
            file.flush()


def _messages(source: IPv6Address, target: IPv6Address) -> Sequence[bytes]:
    """Registrations of MNs that are nobody's here: each costs the anchor a look and a refusal."""
    requests = (
        ProxyBindingUpdate(
            sequence=number,
            lifetime=3600,
            mn_id=MnId.nai(f"nobody{number}@example.net"),
            hnps=(ALL_ZERO_PREFIX,),
            handoff_indicator=HandoffIndicator.UNKNOWN,
            access_technology=AccessTechnologyType.IEEE_802_11,
        )
        for number in range(DIFFERENT)
    )
    return [with_checksum(encode(request), source, target) for request in requests]


def _packet(source: IPv6Address, message: bytes) -> bytes:
    return bytes(IPv6(src=str(source), dst=str(LMAA), nh=MOBILITY, hlim=64) / Raw(message))
