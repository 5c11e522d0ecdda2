"""Test packets through a Domain: what the kernels would do with them, by the meaning of `Forwarding`.

CN sends to the MN and the MN to CN, numbered; a path between an LMA and a MAG keeps the order, messages and packets
alike. Every packet that ends somewhere else than at its destination is in `lost`, with the place.
"""

from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address, IPv6Network

from common.actions import Forward, Forwarding, ToPeer
from common.mh.messages import Message
from tests.domain import LMAA, Domain, mag_address

HNP = IPv6Network("2001:db8:1000::/64")


@dataclass
class PacketDomain(Domain):
    """One MN; `one_way` in seconds between LMA and each MAG."""

    one_way: float = 0.005
    here: int | None = None  # the MAG whose link the MN is on
    downlink: list[int] = field(default_factory=list)
    downlink_times: list[float] = field(default_factory=list)
    uplink: list[int] = field(default_factory=list)
    uplink_sent: int = 0
    downlink_sent: int = 0
    lost: dict[str, list[int]] = field(default_factory=lambda: defaultdict(list))
    held: dict[IPv6Address, deque[int]] = field(default_factory=lambda: defaultdict(deque))
    returned: deque[tuple[int, IPv6Address]] = field(default_factory=deque)
    early: dict[IPv6Address, deque[tuple[int, IPv6Address]]] = field(default_factory=lambda: defaultdict(deque))
    waiting_uplink: dict[IPv6Address, deque[int]] = field(default_factory=lambda: defaultdict(deque))

    def __post_init__(self) -> None:
        self.deliver = self._along_the_path

    def traffic(self, interval: float, until: float) -> None:
        """Both directions, from now on."""
        moment = self.now + interval
        while moment < until:
            self.at(moment, self._cn_sends)
            self.at(moment + interval / 3, self._mn_sends)
            moment += interval

    def arrive(self, mag: int) -> None:
        self.here = mag
        self.attach(1, mag)

    def leave(self) -> None:
        assert self.here is not None
        mag, self.here = self.here, None
        self.detach(1, mag)

    def apply(self, node: IPv6Address, forward: Forward) -> None:
        before = self.kernel.get(node, {}).get(HNP)
        super().apply(node, forward)
        after = self.kernel[node].get(HNP)
        if after is None:
            self._lose(f"{node}: path removed", self.held[node])
            if node == LMAA:
                self._lose("returned", deque(number for number, _ in self.returned))
                self.returned.clear()
            return
        if node == LMAA:
            closed = before is not None and before.returned_from is not None and after.returned_from is None
            for number, giver in [self.returned.popleft() for _ in self.returned.copy()]:
                if closed or not _gone_from_there(after, giver):
                    self._from_lma(number, after)
                else:
                    self.returned.append((number, giver))
        else:
            early = [self.early[node].popleft() for _ in range(len(self.early[node]))]
            for number, source in early:
                self._at_mag(node, number, source)
            while after.uplink_to and self.waiting_uplink[node]:
                self._up(node, self.waiting_uplink[node].popleft(), after)
        if before and before.held and not after.held:
            while self.held[node]:
                self._route(node, self.held[node].popleft(), after)

    def _along_the_path(self, source: IPv6Address, destination: IPv6Address, _message: Message) -> Sequence[float]:
        return (self.delay(source, destination),)

    def delay(self, source: IPv6Address, destination: IPv6Address) -> float:
        """Between two MAGs all goes by where the LMA is."""
        return self.one_way if LMAA in (source, destination) else 2 * self.one_way

    def _cn_sends(self) -> None:
        number = self.downlink_sent
        self.downlink_sent += 1
        forwarding = self.kernel.get(LMAA, {}).get(HNP)
        if forwarding is None:
            self.lost["no binding"].append(number)
        else:
            self._arrived(LMAA, number, forwarding)

    def _arrived(self, node: IPv6Address, number: int, forwarding: Forwarding) -> None:
        if forwarding.held:
            self.held[node].append(number)
        else:
            self._route(node, number, forwarding)

    def _route(self, node: IPv6Address, number: int, forwarding: Forwarding) -> None:
        if node == LMAA:
            self._from_lma(number, forwarding)
        elif isinstance(forwarding.downlink, ToPeer):
            peer = forwarding.downlink.peer
            self.at(self.now + self.delay(node, peer), lambda: self._at_mag(peer, number, node))
        elif self.here is not None and mag_address(self.here) == node:
            self.downlink.append(number)
            self.downlink_times.append(self.now)
        elif forwarding.give_back:
            self.at(self.now + self.one_way, lambda: self._given_back(node, number))
        else:
            self.lost[f"{node}: MN gone"].append(number)

    def _from_lma(self, number: int, forwarding: Forwarding) -> None:
        if isinstance(forwarding.downlink, ToPeer):
            peer = forwarding.downlink.peer
            self.at(self.now + self.one_way, lambda: self._at_mag(peer, number, LMAA))
        else:
            self.lost["dropped by the LMA"].append(number)

    def _at_mag(self, mag: IPv6Address, number: int, source: IPv6Address) -> None:
        forwarding = self.kernel.get(mag, {}).get(HNP)
        if forwarding is None or (source != LMAA and source not in forwarding.downlink_from):
            self.early[mag].append((number, source))  # the message that makes the path may be right behind it
        else:
            self._arrived(mag, number, forwarding)

    def _given_back(self, mag: IPv6Address, number: int) -> None:
        forwarding = self.kernel.get(LMAA, {}).get(HNP)
        if forwarding is None:
            self.lost["given back without binding"].append(number)
        elif _gone_from_there(forwarding, mag):
            self.returned.append((number, mag))  # kept, handover known or not
        else:
            self._from_lma(number, forwarding)

    def _mn_sends(self) -> None:
        if self.here is None:
            return  # in the air
        number = self.uplink_sent
        self.uplink_sent += 1
        mag = mag_address(self.here)
        forwarding = self.kernel.get(mag, {}).get(HNP)
        if forwarding and forwarding.uplink_to:
            self._up(mag, number, forwarding)
        else:
            self.waiting_uplink[mag].append(number)

    def _up(self, mag: IPv6Address, number: int, forwarding: Forwarding) -> None:
        """Into the tunnel to the LMA, or to another MAG, which sends it on."""
        upstream = forwarding.uplink_to
        assert upstream is not None
        if upstream == LMAA:
            self._to_lma(mag, number)
        else:
            self.at(self.now + self.delay(mag, upstream), lambda: self._uplink_at_mag(upstream, number, mag))

    def _uplink_at_mag(self, mag: IPv6Address, number: int, source: IPv6Address) -> None:
        forwarding = self.kernel.get(mag, {}).get(HNP)
        if forwarding and source in forwarding.uplink_from:
            self._up(mag, number, forwarding)
        else:
            self.lost[f"{mag}: uplink not from {source}"].append(number)

    def _to_lma(self, mag: IPv6Address, number: int) -> None:
        self.at(self.now + self.one_way, lambda: self._uplink_at_lma(mag, number))

    def _uplink_at_lma(self, mag: IPv6Address, number: int) -> None:
        forwarding = self.kernel.get(LMAA, {}).get(HNP)
        if forwarding and (forwarding.downlink == ToPeer(mag) or mag in forwarding.uplink_from):
            self.uplink.append(number)
        else:
            self.lost["uplink not accepted"].append(number)

    def _lose(self, where: str, packets: deque[int]) -> None:
        if packets:
            self.lost[where].extend(packets)
            packets.clear()


def _gone_from_there(forwarding: Forwarding, giver: IPv6Address) -> bool:
    """Whether the MN is not where the LMA sends its packets: it is known to have left, or they come back from there."""
    left = forwarding.returned_from is not None and forwarding.downlink == ToPeer(forwarding.returned_from)
    return left or forwarding.downlink == ToPeer(giver)
