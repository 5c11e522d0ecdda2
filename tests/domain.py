"""One LMA and several MAG cores in virtual time, joined by the real codec and a network that a test can spoil.

No socket, no kernel: what a core asks for is done by this domain, and what the kernel would forward is remembered per
node in `kernel`, so that a test can ask where a packet would go.
"""

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from ipaddress import IPv6Address, IPv6Network
from itertools import count
from typing import Self

from common.actions import Action, Advertise, Forward, Forwarding, HoldUplink, Note, Send, Solicit
from common.config import LinkLayerId
from common.core import Core
from common.errors import DataPlaneError
from common.mh.codec import decode, encode
from common.mh.messages import Message, MnId
from lmad.config import ContextReflector as LmadReflector
from lmad.config import Lma, LmadConfig
from lmad.config import Mag as LmadMag
from lmad.config import MobileNode as Subscriber
from lmad.lma import LocalMobilityAnchor
from magd.config import ContextReflector as MagdReflector
from magd.config import FastHandover, Fpmipv6, Mag, MagdConfig, MobileNode
from magd.mag import MobileAccessGateway

LMAA = IPv6Address("2001:db8:0:ff::1")
POOL = IPv6Network("2001:db8:1000::/36")
UTC_AT_ZERO = 1_800_000_000.0
ONE_WAY = 0.005  # seconds


def mag_address(number: int) -> IPv6Address:
    return IPv6Address(f"2001:db8:0:{number}::1")


def mn_id(number: int) -> MnId:
    return MnId.nai(f"mn{number}@example.net")


def mac(number: int) -> bytes:
    return bytes((2, 0, 0, 0, 0, number))


def utc(now: float) -> float:
    return UTC_AT_ZERO + now


def lma_config(mags: int = 2, mns: int = 1, reflector: LmadReflector | None = None, **options: object) -> LmadConfig:
    return LmadConfig(
        lma=Lma(address=LMAA, **{"prefix_pools": (POOL,), **options}),  # type: ignore[arg-type]
        context_reflector=reflector or LmadReflector(),
        mag=tuple(LmadMag(address=mag_address(number)) for number in range(1, mags + 1)),
        mobile_node=tuple(Subscriber(mn_id=str(mn_id(number))) for number in range(1, mns + 1)),
    )


def mag_config(
    number: int,
    mns: int = 1,
    neighbours: tuple[IPv6Address, ...] = (),
    wait: float = 5.0,
    fpmipv6: Fpmipv6 | None = None,
    **options: object,
) -> MagdConfig:
    interfaces = tuple(f"acc{mn}" for mn in range(1, mns + 1))
    return MagdConfig(
        mag=Mag(address=mag_address(number), lma=LMAA, access_interfaces=interfaces, **options),  # type: ignore[arg-type]
        context_reflector=MagdReflector(neighbours=neighbours),
        fast_handover=FastHandover(neighbours=neighbours, wait=wait),
        fpmipv6=fpmipv6 or Fpmipv6(),
        mobile_node=tuple(
            MobileNode(mn_id=str(mn_id(mn)), ll_id=LinkLayerId(mac(mn)), interface=f"acc{mn}")
            for mn in range(1, mns + 1)
        ),
    )


@dataclass
class Domain:
    """`deliver(source, destination, message)` says after which delays a message arrives: () loses it."""

    lma: LocalMobilityAnchor
    mags: dict[IPv6Address, MobileAccessGateway]
    deliver: Callable[[IPv6Address, IPv6Address, Message], Sequence[float]] = lambda *_: (ONE_WAY,)
    kernel_refuses: Callable[[IPv6Address, Forward], bool] = lambda *_: False
    now: float = 0.0
    places: dict[int, int] = field(default_factory=dict)  # MN to the MAG it is at
    kernel: dict[IPv6Address, dict[IPv6Network, Forwarding]] = field(default_factory=dict)
    log: list[tuple[float, IPv6Address, Action]] = field(default_factory=list)
    _pending: list[tuple[float, int, Callable[[], None]]] = field(default_factory=list)
    _order: "count[int]" = field(default_factory=count)

    @classmethod
    def make(
        cls,
        mags: int = 2,
        mns: int = 1,
        scheme: str = "pmipv6",
        neighbours_known: bool = False,
        reflector: LmadReflector | None = None,
        **fpmipv6: object,
    ) -> Self:
        """With `neighbours_known` each MAG has one neighbour, the next one, and takes it for every MN's nMAG.

        For RFC 5949 every MAG has all the others for peers; `fpmipv6` are its further options.
        """
        gateways = {}
        for number in range(1, mags + 1):
            neighbours = (mag_address(number % mags + 1),) if neighbours_known else ()
            peers = tuple(mag_address(other) for other in range(1, mags + 1) if other != number)
            fast = Fpmipv6(peers=peers, **fpmipv6)  # type: ignore[arg-type]
            config = mag_config(number, mns, neighbours, fpmipv6=fast, scheme=scheme)
            gateways[mag_address(number)] = MobileAccessGateway(config, utc, sequence=1000 * number)
        return cls(LocalMobilityAnchor(lma_config(mags, mns, reflector, scheme=scheme), utc), gateways)

    def attach(self, mn: int, mag: int) -> None:
        gateway = self.mags[mag_address(mag)]
        self.places[mn] = mag
        self.perform(mag_address(mag), gateway.link_up(f"acc{mn}", self.now))

    def detach(self, mn: int, mag: int) -> None:
        gateway = self.mags[mag_address(mag)]
        if self.places.get(mn) == mag:
            del self.places[mn]
        self.perform(mag_address(mag), gateway.link_down(f"acc{mn}", self.now))

    def run(self, until: float) -> None:
        """Let everything happen that is due by then."""
        while True:
            deadlines = [(core.deadline(), address) for address, core in self.cores().items()]
            timer = min(((when, address) for when, address in deadlines if when is not None), default=None)
            arrival = self._pending[0][0] if self._pending else None
            moment = min((when for when in (timer and timer[0], arrival) if when is not None), default=None)
            if moment is None or moment > until:
                self.now = until
                return
            self.now = max(self.now, moment)
            if arrival is not None and arrival <= self.now:
                heapq.heappop(self._pending)[2]()
            else:
                assert timer is not None
                self.perform(timer[1], self.cores()[timer[1]].expire(self.now))

    def cores(self) -> dict[IPv6Address, Core]:
        return {LMAA: self.lma, **self.mags}

    def perform(self, node: IPv6Address, actions: Sequence[Action]) -> None:
        for action in actions:
            self.log.append((self.now, node, action))
            match action:
                case Send(destination, message):
                    self._send(node, destination, message)
                case Forward():
                    if self.kernel_refuses(node, action):
                        error = DataPlaneError("refused for the test")
                        undoing = self.cores()[node].forwarding_failed(action, error, self.now)
                        self.perform(node, undoing)
                        if any(isinstance(each, Send) for each in undoing):
                            return
                        continue
                    self.apply(node, action)
                case Solicit(interface, mn_ll_id):
                    if mag_address(self.places.get(mn_ll_id[-1], 0)) == node:
                        self.at(self.now, partial(self._answer, node, interface, mn_ll_id))
                case Advertise() | Note() | HoldUplink():
                    pass

    def _answer(self, node: IPv6Address, interface: str, mn_ll_id: bytes) -> None:
        """An MN that was solicited is there."""
        self.perform(node, self.mags[node].heard(interface, mn_ll_id, None, self.now))

    def apply(self, node: IPv6Address, forward: Forward) -> None:
        for hnp in forward.hnps:
            self.kernel.setdefault(node, {}).pop(hnp, None)
            if forward.forwarding is not None:
                self.kernel[node][hnp] = forward.forwarding

    def sent(self, kind: type[Message]) -> list[Message]:
        return [a.message for _, _, a in self.log if isinstance(a, Send) and isinstance(a.message, kind)]

    def notes(self) -> list[str]:
        return [action.event for _, _, action in self.log if isinstance(action, Note)]

    def _send(self, source: IPv6Address, destination: IPv6Address, message: Message) -> None:
        data = encode(message)
        for delay in self.deliver(source, destination, message):
            self.at(self.now + delay, lambda: self._arrive(source, destination, data))

    def at(self, when: float, what: Callable[[], None]) -> None:
        """Do this then; what is due at the same moment happens in the order in which it was said."""
        heapq.heappush(self._pending, (when, next(self._order), what))

    def _arrive(self, source: IPv6Address, destination: IPv6Address, data: bytes) -> None:
        self.perform(destination, self.cores()[destination].receive(source, decode(data), self.now))
