"""Cores that die and live again from their stores, in a PacketDomain whose kernels live on.

A core is killed in front of any action that it is about to carry out: what it decided is stored then, and nothing that
follows from it is done. The packets that a kernel holds outlive the core, as they do with a descriptor keeper.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from ipaddress import IPv6Address
from typing import Any, Self, TypeVar

from common.actions import Action, Forward
from common.core import Core
from common.persistence import Persistence
from common.recording import Life
from common.store import MemoryStore
from lmad import adoption as lma_adoption
from lmad.config import ContextReflector, LmadConfig
from lmad.lma import LocalMobilityAnchor
from magd import adoption as mag_adoption
from magd.config import Fpmipv6, MagdConfig
from magd.mag import MobileAccessGateway
from tests.domain import LMAA, lma_config, mag_address, mag_config, utc
from tests.packets import HNP, PacketDomain

T = TypeVar("T", bound=Core)


@dataclass
class MortalDomain(PacketDomain):
    """`fatal` is the number of the action, counted from 0, in front of which its node dies for `downtime` seconds."""

    scheme: str = "pmipv6"
    fatal: int | None = None
    downtime: float = 0.0
    actions: int = 0
    served_after: int = 0  # so many of them, the MN has its first service
    died: tuple[IPv6Address, Action] | None = None
    dead: set[IPv6Address] = field(default_factory=set)
    stores: dict[IPv6Address, MemoryStore] = field(default_factory=dict)
    persistences: dict[IPv6Address, Persistence] = field(default_factory=dict)
    configs: dict[IPv6Address, LmadConfig | MagdConfig] = field(default_factory=dict)
    places: dict[int, int] = field(default_factory=dict)  # the MAG on whose link an MN is

    @classmethod
    def with_lives(
        cls,
        scheme: str,
        reflector: ContextReflector | None = None,
        mags: int = 3,
        mns: int = 1,
        neighbours_known: bool = False,
    ) -> Self:
        """As `make`, of the same parameters."""
        configs: dict[IPv6Address, LmadConfig | MagdConfig] = {LMAA: lma_config(mags, mns, reflector, scheme=scheme)}
        for number in range(1, mags + 1):
            neighbours = (mag_address(number % mags + 1),) if neighbours_known else ()
            peers = tuple(mag_address(other) for other in range(1, mags + 1) if other != number)
            fast = Fpmipv6(peers=peers)
            configs[mag_address(number)] = mag_config(number, mns, neighbours, fpmipv6=fast, scheme=scheme)
        domain = cls(None, {}, scheme=scheme, configs=configs)  # type: ignore[arg-type]
        for node in configs:
            domain.stores[node] = MemoryStore()
            domain.live(node)
        return domain

    def live(self, node: IPv6Address) -> None:
        """A new core goes on with what the store and the kernel have, as the daemons' start does."""
        match self.configs[node]:
            case LmadConfig() as config:
                lma = LocalMobilityAnchor(config, self.clock(node))
                self.persistences[node] = one = Persistence(self.stores[node], lma_adoption.tables(lma, self.scheme))
                forwards = lma_adoption.adopt(lma, one.loaded, self.scheme)
                self.lma = self.watched(node, lma, lma_adoption.life(lma, one.loaded, config, self.now))
            case MagdConfig() as config:
                mag = MobileAccessGateway(config, self.clock(node), sequence=int(self.now * 1000) & 0xFFFF)
                self.persistences[node] = one = Persistence(self.stores[node], mag_adoption.tables(mag, self.scheme))
                forwards = mag_adoption.adopt(mag, one.loaded, config, self.now)
                self.mags[node] = self.watched(node, mag, mag_adoption.life(mag, one.loaded, config, self.now))
        one.watch()
        for hnp in set(self.kernel.get(node, {})) - {hnp for forward in forwards for hnp in forward.hnps}:
            self.apply(node, Forward(None, (hnp,), None))  # type: ignore[arg-type]
        for forward in forwards:
            self.apply(node, forward)
        self.dead.discard(node)
        if node in self.mags:
            self._look_at_links(node)

    def clock(self, _node: IPv6Address) -> Callable[[float], float]:
        """Of a node's next life."""
        return utc

    def watched(self, _node: IPv6Address, core: T, _life: Life[Any]) -> T:
        """What takes the place of a core whose life begins."""
        return core

    def kill(self, node: IPv6Address) -> None:
        """Between two events, for `downtime` seconds."""
        self.dead.add(node)
        self.at(self.now + self.downtime, lambda: self.live(node))

    def attach(self, mn: int, mag: int) -> None:
        self.places[mn] = mag
        if mag_address(mag) not in self.dead:
            super().attach(mn, mag)

    def detach(self, mn: int, mag: int) -> None:
        self.places.pop(mn)
        if mag_address(mag) not in self.dead:
            super().detach(mn, mag)

    def cores(self) -> dict[IPv6Address, Core]:
        return {node: core for node, core in super().cores().items() if node not in self.dead}

    def perform(self, node: IPv6Address, actions: Sequence[Action]) -> None:
        self.persistences[node].save()
        for action in actions:
            if self.actions == self.fatal:
                self.fatal, self.died = None, (node, action)
                self.kill(node)
                return
            self.actions += 1
            super().perform(node, [action])

    def _arrive(self, source: IPv6Address, destination: IPv6Address, data: bytes) -> None:
        if destination not in self.dead:
            super()._arrive(source, destination, data)

    def _look_at_links(self, node: IPv6Address) -> None:
        config = self.configs[node]
        assert isinstance(config, MagdConfig)
        occupied = mag_adoption.occupied(self.mags[node])
        here = {f"acc{mn}" for mn, mag in self.places.items() if mag_address(mag) == node}
        for interface in config.mag.access_interfaces:
            if (interface in here) != (interface in occupied):
                change = self.mags[node].link_up if interface in here else self.mags[node].link_down
                self.perform(node, change(interface, self.now))

    def in_kernel(self, node: IPv6Address) -> object:
        return self.kernel.get(node, {}).get(HNP)
