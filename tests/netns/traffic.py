"""Numbered packets both ways, and what became of each: arrived, lost, or lost on the air where nobody listened."""

import socket
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Self

from testbed.lab.node import Node, wait_until
from testbed.run.mirror import COPIES, mirror, unmirror
from tests.netns.system import SystemLab

INTERVAL_S = 0.01
PATIENCE_S = 60.0
PORT = 7000
ETH_P_ALL = 3
HEADERS = 48  # octets of IPv6 and UDP


@dataclass
class Flow:
    """Numbered packets from one socket to an address; `received` as they came."""

    sender: socket.socket
    receiver: socket.socket
    target: tuple[str, int]
    uplink: bool
    sent: int = 0
    received: list[int] = field(default_factory=list)
    at_mag: set[int] = field(default_factory=set)  # what a MAG heard from the MN, or put on its access link for it

    def send(self) -> None:
        self.sender.sendto(self.sent.to_bytes(4), self.target)
        self.sent += 1

    def read(self) -> None:
        while True:
            try:
                self.received.append(int.from_bytes(self.receiver.recv(64)))
            except BlockingIOError:
                return

    def report(self) -> dict[str, int]:
        """A frame that was on its way over an access link when nobody was there any more, or yet, is lost on air."""
        different = set(self.received)
        behind_mag = len(self.at_mag - different)
        before_mag = self.sent - len(self.at_mag | different)
        lost, on_air = (behind_mag, before_mag) if self.uplink else (before_mag, behind_mag)
        return {
            "sent": self.sent,
            "lost": lost,
            "lost_on_air": on_air,
            "duplicated": len(self.received) - len(different),
            "reordered": sum(later < earlier for earlier, later in zip(self.received, self.received[1:], strict=False)),
        }


class Traffic:
    """Both ways, a packet each `INTERVAL_S` for each MN; the uplink pauses while its MN is on no link."""

    def __init__(self, lab: SystemLab, addresses: dict[str, IPv6Address]) -> None:
        self._undo = ExitStack()
        self.off_air: set[str] = set()
        self.downlink: dict[str, Flow] = {}
        self.uplink: dict[str, Flow] = {}
        for number, (mn, address) in enumerate(addresses.items()):
            cn, here = self._udp(lab.nodes["cn"], PORT + number), self._udp(lab.nodes[mn], PORT)
            self.downlink[mn] = Flow(cn, here, (str(address), PORT), uplink=False)
            self.uplink[mn] = Flow(here, cn, (str(lab.topology.addresses["cn"]), PORT + number), uplink=True)
        self._to = {address.packed: self.downlink[mn] for mn, address in addresses.items()}
        self._from = {address.packed: self.uplink[mn] for mn, address in addresses.items()}
        access = [lab.topology.mn(mn).access_interface for mn in addresses]
        self._taps = [tap for mag in lab.topology.mags for tap in self._listen(lab.nodes[mag], access)]
        self._next = time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def until(self, moment: float) -> None:
        while (now := time.monotonic()) < moment:
            if now < self._next:
                time.sleep(min(self._next, moment) - now)
                continue
            self._next = now + INTERVAL_S
            for mn, flow in self.downlink.items():
                flow.send()
                if mn not in self.off_air:
                    self.uplink[mn].send()
            self._read()

    def wait_until(self, condition: Callable[[], Any], what: str) -> None:
        """Go on until this is true. Raises LabError when it is not in time."""
        wait_until(condition, what, PATIENCE_S, INTERVAL_S, pause=lambda poll_s: self.until(time.monotonic() + poll_s))

    def drain(self) -> None:
        """Nothing more is sent; what is under way arrives."""
        end = time.monotonic() + 1.0
        while time.monotonic() < end:
            time.sleep(INTERVAL_S)
            self._read()

    def reports(self) -> dict[str, dict[str, int]]:
        ways = {"downlink": self.downlink, "uplink": self.uplink}
        return {f"{way} {mn}": flow.report() for way, flows in ways.items() for mn, flow in flows.items()}

    def _read(self) -> None:
        for each in (*self.downlink.values(), *self.uplink.values()):
            each.read()
        for tap in self._taps:
            while frame := _next(tap):
                packet, (interface, _, direction, *_) = frame
                if packet[6] != socket.IPPROTO_UDP or len(packet) != HEADERS + 4:
                    continue
                copied = interface == COPIES
                flow = self._to.get(packet[24:40]) if copied else self._from.get(packet[8:24])
                if flow and copied == (direction == socket.PACKET_OUTGOING):
                    flow.at_mag.add(int.from_bytes(packet[HEADERS:]))

    def _listen(self, node: Node, access: list[str]) -> list[socket.socket]:
        """Sockets that see what comes from the access links of a MAG, and copies of all that it puts on them.

        Copies, for what is put on a link without carrier reaches no socket that watches the link.
        """
        mirror(node, access)
        self._undo.callback(unmirror, node)
        taps = []
        for interface in (COPIES, *access):
            with node.inside():
                tap = socket.socket(socket.AF_PACKET, socket.SOCK_DGRAM, socket.htons(ETH_P_ALL))
            self._undo.enter_context(tap)
            tap.bind((interface, ETH_P_ALL))
            tap.setblocking(False)
            taps.append(tap)
        return taps

    def _udp(self, node: Node, port: int) -> socket.socket:
        with node.inside():
            made = self._undo.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
        made.bind(("::", port))
        made.setblocking(False)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
        return made


def _next(tap: socket.socket) -> Any:
    try:
        return tap.recvfrom(2048)
    except BlockingIOError:
        return None
